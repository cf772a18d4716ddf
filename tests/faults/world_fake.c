/* SPDX-License-Identifier: Apache-2.0 */
/*
 * world_fake.c - see world.h. The fake KVM's calls are numbered among the others, and its vCPUs
 * are driven by the guest of guest.c.
 */
#include "world.h"

#include <sanitizer/common_interface_defs.h>
#include <stdio.h>
#include <string.h>

#include "fake_kvm.h"
#include "faults.h"
#include "guest.h"
#include "kernel.h"
#include "spapr/rtas.h"

static struct guest guest;

/* The guest looks once for each interrupt, and once at the beginning. */
static bool step(const struct gmem *memory, uint32_t id, bool fresh, uint64_t interrupts,
    struct kvm_hcall *hcall)
{
	static uint64_t seen;
	struct guest_hcall call = {.nr = hcall->nr, .ret = hcall->ret};
	bool calls;

	guest.ram = memory->host;
	if (id == 0 && fresh) {
		guest_restart(&guest);
		seen = 0;
	}
	if (id == 0 && guest_is_idle(&guest) && seen == interrupts)
		return false;
	if (id == 0 && guest_is_idle(&guest))
		seen = interrupts;
	memcpy(call.args, hcall->args, sizeof call.args);
	calls = guest_step(&guest, id, &call);
	hcall->nr = call.nr;
	memcpy(hcall->args, call.args, sizeof call.args);
	return calls;
}

static bool fault(enum fake_call call)
{
	static const char *const names[FAKE_CALL_COUNT] = {
	    [FAKE_VM_CREATE] = "kvm_vm_create",
	    [FAKE_ADD_MEMORY] = "kvm_vm_add_memory",
	    [FAKE_REMOVE_MEMORY] = "kvm_vm_remove_memory",
	    [FAKE_SET_THREADS] = "kvm_vm_set_threads",
	    [FAKE_CREATE_IRQCHIP] = "kvm_vm_create_irqchip",
	    [FAKE_ENABLE_HCALL] = "kvm_vm_enable_hcall",
	    [FAKE_IRQ_RESET] = "kvm_irq_reset",
	    [FAKE_IRQ_PULSE] = "kvm_irq_pulse",
	    [FAKE_IRQCHIP_RESET] = "kvm_irqchip_reset",
	    [FAKE_XIVE_AIM] = "kvm_xive_aim",
	    [FAKE_XIVE_MASK] = "kvm_xive_mask",
	    [FAKE_XIVE_QUEUE] = "kvm_xive_set_queue",
	    [FAKE_XIVE_SYNC] = "kvm_xive_sync",
	    [FAKE_CREATE_MMU] = "kvm_vm_create_mmu",
	    [FAKE_SET_PROCESS_TABLE] = "kvm_vm_set_process_table",
	    [FAKE_JOIN_IRQ] = "kvm_join_irq",
	    [FAKE_JOIN_DOORBELL] = "kvm_join_doorbell",
	    [FAKE_CREATE_TCE] = "kvm_vm_create_tce_table",
	    [FAKE_VCPU_CREATE] = "kvm_vcpu_create",
	    [FAKE_VCPU_RUN] = "kvm_vcpu_run",
	    [FAKE_ENTER_AT] = "kvm_vcpu_enter_at",
	    [FAKE_PARK] = "kvm_vcpu_park",
	    [FAKE_SET_MODES] = "kvm_vcpu_set_modes",
	    [FAKE_SET_TIMEBASE] = "kvm_vcpu_set_timebase_offset",
	    [FAKE_SET_SPRG0] = "kvm_vcpu_set_sprg0",
	    [FAKE_REGISTERS] = "kvm_vcpu_registers",
	};

	return fault_hits(names[call]);
}

void world_prepare(const char *directory)
{
	static const unsigned char branch_to_itself[] = {0x48, 0, 0, 0};
	static const char disk[4096];
	static const char config[] = "{\"kernel\": \"../kernel\", \"memory\": \"256M\", "
	                             "\"cpus\": {\"boot\": 1, \"max\": 2}}\n";

	write_kernel(directory, branch_to_itself, sizeof branch_to_itself);
	write_file(directory, "config", config, sizeof config - 1);
	write_file(directory, "disk", disk, sizeof disk);
	for (int i = 0; i < GUEST_SERVICES; i++)
		guest.tokens[i] = rtas_token_of(guest_services[i]);
}

void world_remove(const char *directory)
{
	remove_file(directory, "kernel");
	remove_file(directory, "config");
	remove_file(directory, "disk");
}

void world_begin(void)
{
	fake_set_guest(step);
	fake_set_fault(fault);
}

void world_explain(void *address)
{
	char text[512];

	__sanitizer_symbolize_pc(address, "%p in %f %S", text, sizeof text);
	printf("    %s\n", text);
}

/* Leaks are counted, and memory that is out is to be seen as such. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0:allocator_may_return_null=1:exitcode=99";
}
