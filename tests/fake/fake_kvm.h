/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_kvm.h - a KVM without a processor: a second implementation of src/kvm/kvm.h, for tests.
 *
 * Linked in place of src/kvm it lets all code above run on any machine. Its vCPUs execute no
 * instructions. kvm_vcpu_run() waits, like an idle guest, until the vCPU is kicked or a test plays
 * the guest: fake_hcall() makes the vCPU exit with an hcall and returns the registers that the
 * guest would see afterwards. A test reads like a guest program, and the code under test sees the
 * threads and the order of calls of a real KVM.
 *
 * One VM exists at a time. The functions below refer to it, and to vCPUs by id. Any thread may call
 * them. If a wait takes longer than FAKE_DEADLINE_S, or a rule of kvm.h is broken, the process
 * prints the reason and aborts: the threads involved cannot be recovered by a test.
 */
#ifndef PAPRIKA_FAKE_KVM_H
#define PAPRIKA_FAKE_KVM_H

#include "kvm/kvm.h"

#define FAKE_DEADLINE_S 30

/* Reset all state; for the setup of a test. A VM left behind by a failed test is leaked together
 * with its threads. */
void fake_reset(void);

/* Set the value of kvm_timebase(); 0 after fake_reset(). */
void fake_set_timebase(uint64_t ticks);

/* Facts of the next kvm_vm_create(): by default a POWER9 host with radix guests. */
struct kvm_facts *fake_facts(void);

/* --- Playing the guest ------------------------------------------------------------------- */

/*
 * Make vCPU id exit with hcall nr and args in r4 .. r12 (NULL: zeros). Waits until the vCPU is in
 * the guest, and then until it is entered again. Returns r3; ret_args, unless NULL, gets r4 .. r12.
 */
int64_t fake_hcall(uint32_t id, uint64_t nr, const uint64_t args[9], uint64_t ret_args[9]);

/* The same for an hcall that may not return: false if the vCPU was set up anew, parked or destroyed
 * instead of being entered again. */
bool fake_try_hcall(
    uint32_t id, uint64_t nr, const uint64_t args[9], uint64_t ret_args[9], int64_t *ret_r3);

/* For an hcall that does not return (stop-self, power-off): returns when the vCPU has left the
 * guest. Use fake_wait_parks() and others to wait for the effect. */
void fake_hcall_noreturn(uint32_t id, uint64_t nr, const uint64_t args[9]);

/* vCPU id accesses an unmapped address; returns when it is entered again. */
void fake_mmio(uint32_t id, uint64_t address, uint32_t length, bool write);

/* The same, and what it loads or stores, as a number in little-endian order. */
uint64_t fake_load(uint32_t id, uint64_t address, uint32_t length);
void fake_store(uint32_t id, uint64_t address, uint32_t length, uint64_t value);

/* A store to a doorbell, which causes no exit; false: none is joined with this address. */
bool fake_ring(uint64_t address);

/* KVM_RUN of vCPU id fails with this reason; returns when the vCPU has left the guest. */
void fake_run_failure(uint32_t id, const char *failure);

/*
 * A callback that acts as the guest. It is called when vCPU id is in the guest and idle, on the
 * vCPU's thread and with the fake's lock held: it must not call the fake. hcall has the result of
 * the vCPU's last hcall; fresh means that registers have been set since; interrupts counts the
 * interrupts sent so far, if fresh those before they were reset. The callback stores the next hcall
 * and returns true, or returns false to wait for a change. NULL: no callback, as after
 * fake_reset().
 */
/* Not hcalls. A store: args are the address, a length in bytes, and the number that is stored. One
 * to a doorbell rings that, and the guest goes on. */
#define FAKE_NR_STORE (UINT64_MAX - 1)
#define FAKE_NR_FAIL UINT64_MAX /* KVM_RUN fails */
typedef bool fake_guest(const struct gmem *memory, uint32_t id, bool fresh, uint64_t interrupts,
    struct kvm_hcall *hcall);
void fake_set_guest(fake_guest *guest);

/* A guest that runs a script in place of its kernel, see fake_script.c. */
fake_guest fake_script;

/* --- Waiting ----------------------------------------------------------------------------- */

/* Until vCPU id is in the guest, not kicked and without a queued exit. */
void fake_wait_running(uint32_t id);
/* Until kvm_vcpu_enter_at() or kvm_vcpu_park() has succeeded `count` times for vCPU id. */
void fake_wait_enters(uint32_t id, uint64_t count);
void fake_wait_parks(uint32_t id, uint64_t count);
void fake_wait_irq_pulses(uint32_t irq, uint64_t count);

/* Until holds(context), which may take locks of the code under test. Polls and yields. */
void fake_wait_until(bool (*holds)(void *context), void *context, const char *what);

/* --- Looking ----------------------------------------------------------------------------- */

bool fake_vcpu_created(uint32_t id);
bool fake_vcpu_running(uint32_t id);
bool fake_vcpu_parked(uint32_t id); /* parked, and not set up since */
uint64_t fake_vcpu_enters(uint32_t id);
uint64_t fake_vcpu_parks(uint32_t id);
uint64_t fake_vcpu_kicks(uint32_t id);
size_t fake_vcpu_stack_bytes(uint32_t id); /* of its thread, which must exist */
/* As set by the last kvm_vcpu_enter_at(), which must have been called; modes as last set. */
uint64_t fake_vcpu_pc(uint32_t id);
uint64_t fake_vcpu_r3(uint32_t id);
struct kvm_modes fake_vcpu_modes(uint32_t id);
int64_t fake_vcpu_timebase_offset(uint32_t id);
uint64_t fake_vcpu_sprg0(uint32_t id);

uint32_t fake_parked_count(void);
uint64_t fake_irq_pulses(uint32_t irq);
uint64_t fake_irq_resets(uint32_t irq);
uint32_t fake_irq_server(uint32_t irq);
uint64_t fake_process_table(void);
bool fake_process_table_gtse(void);
uint32_t fake_threads(void);
uint32_t fake_servers(void);
struct kvm_xics_tokens fake_xics_tokens(void);
bool fake_hcall_enabled(uint64_t nr);
const struct gmem *fake_memory(void); /* the argument of kvm_vm_add_memory(), or NULL */

/* XIVE. A source's target, or false: it is aimed nowhere. The address of a queue, or all ones. How
 * often a source has been aimed, and a queue been set or taken away; how often the controller was
 * reset. */
bool fake_xive_target(uint32_t irq, struct kvm_xive_target *ret_target);
uint64_t fake_xive_queue(uint32_t server, uint32_t priority);
uint64_t fake_xive_aims(uint32_t irq);
uint64_t fake_xive_loads(uint32_t irq);
uint64_t fake_irqchip_resets(void);
struct kvm_irqchip_config fake_irqchip(void);

/* Eventfds that are joined with sources, and with addresses. Edges that a joined source has got
 * since the last call. */
size_t fake_joined_irqs(void);
size_t fake_doorbells(void);
uint64_t fake_take_edges(uint32_t irq);

/* A guest's hash page table has so many entries of 16 bytes, whatever the guest is told. */
#define FAKE_HPT_ENTRIES 64
void fake_set_hpt(uint64_t index, uint64_t first, uint64_t second);

/* Memory slots that are set, the boot memory's included. */
#define FAKE_SLOTS 20000
uint32_t fake_memory_slots(void);

/* Created and not destroyed since fake_reset(). */
uint32_t fake_live_vms(void);
uint32_t fake_live_vcpus(void);

/* --- Failing ----------------------------------------------------------------------------- */

enum fake_call {
	FAKE_VM_CREATE,
	FAKE_ADD_MEMORY,
	FAKE_REMOVE_MEMORY,
	FAKE_SET_THREADS,
	FAKE_CREATE_MMU,
	FAKE_CREATE_IRQCHIP,
	FAKE_ENABLE_HCALL,
	FAKE_IRQ_RESET,
	FAKE_IRQ_PULSE,
	FAKE_IRQCHIP_RESET,
	FAKE_XIVE_AIM,
	FAKE_XIVE_MASK,
	FAKE_XIVE_QUEUE,
	FAKE_XIVE_SYNC,
	FAKE_SET_PROCESS_TABLE,
	FAKE_JOIN_IRQ,
	FAKE_JOIN_DOORBELL,
	FAKE_CREATE_TCE,
	FAKE_VCPU_CREATE,
	FAKE_VCPU_RUN,
	FAKE_ENTER_AT,
	FAKE_PARK,
	FAKE_SET_MODES,
	FAKE_SET_TIMEBASE,
	FAKE_SET_SPRG0,
	FAKE_REGISTERS,
	FAKE_CALL_COUNT
};

/* Called at each call, with the fake's lock held; returns true to make it fail. NULL: none. */
typedef bool fake_fault(enum fake_call call);
void fake_set_fault(fake_fault *fault);

/* The next count calls of this kind fail. */
void fake_fail_next(enum fake_call call, uint32_t count);
/* The next `skip` calls of this kind succeed, the count after them fail. */
void fake_fail_after(enum fake_call call, uint32_t skip, uint32_t count);

#endif
