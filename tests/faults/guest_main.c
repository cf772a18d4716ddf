/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest_main.c - guest.c on a real vCPU: one step after the other, and a pause when there is
 * nothing to do. Everything lies at addresses that are known, because no code has set up a table
 * of contents.
 */
#include "guest.h"

#define TOKENS ((const volatile uint32_t *)0x40) /* guest_start.S */
#define SECONDARY 0x20
#define GUEST ((struct guest *)0x180000)
#define CALLS ((struct guest_hcall *)0x190000)
#define PAUSE 20000

void guest_hypervisor(struct guest_hcall *call);
void guest_main(uint64_t cpu);

void guest_main(uint64_t cpu)
{
	struct guest *guest = GUEST;
	struct guest_hcall *call = CALLS + cpu;

	if (cpu == 0) {
		for (int i = 0; i < GUEST_SERVICES; i++)
			guest->tokens[i] = TOKENS[i];
		guest->secondary = SECONDARY;
		guest->ram = 0;
		guest_restart(guest);
	}
	for (;;) {
		if (guest_step(guest, (uint32_t)cpu, call))
			guest_hypervisor(call);
		else
			for (volatile int i = 0; i < PAUSE; i++)
				continue;
	}
}
