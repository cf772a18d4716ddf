/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest.h - a guest that does what it is asked: it takes a core that it is offered and starts
 * it, stops and releases it when it is asked back, and sends each letter that is typed back as a
 * capital. Written as a machine that makes one hypervisor call at each step, so that the same
 * lines drive a vCPU of the fake KVM and a real one.
 */
#ifndef PAPRIKA_FAULTS_GUEST_H
#define PAPRIKA_FAULTS_GUEST_H

#include <stdbool.h>
#include <stdint.h>

/* The tokens of the RTAS services it calls, from the program that plays the host. */
enum guest_service {
	GUEST_CHECK_EXCEPTION,
	GUEST_SET_INDICATOR,
	GUEST_CONFIGURE_CONNECTOR,
	GUEST_START_CPU,
	GUEST_STOPPED_STATE,
	GUEST_STOP_SELF,
	GUEST_SERVICES
};
static const char *const guest_services[GUEST_SERVICES] = {"check-exception", "set-indicator",
    "ibm,configure-connector", "start-cpu", "query-cpu-stopped-state", "stop-self"};

struct guest_hcall {
	uint64_t nr;
	uint64_t args[9]; /* r4 .. r12; outputs over inputs */
	uint64_t ret;     /* r3 */
};

struct guest {
	uint32_t tokens[GUEST_SERVICES];
	uint64_t secondary; /* where a second vCPU starts */
	uint8_t *ram;       /* guest-physical 0 */
	volatile uint32_t phase, core, stop_wanted;
};

/* From the beginning, as after a reset. */
void guest_restart(struct guest *guest);

/* It has nothing to do until it is interrupted. */
bool guest_is_idle(const struct guest *guest);

/* vCPU `cpu` has got the answer to its last call, in *call, and makes its next: true, and *call
 * is it; false: it has none. */
bool guest_step(struct guest *guest, uint32_t cpu, struct guest_hcall *call);

#endif
