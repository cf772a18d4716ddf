/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_kvm.h - a KVM without a processor, for tests: the other half of src/kvm/kvm.h.
 *
 * Linked in place of src/kvm it lets everything above run on any machine. Its vCPUs execute
 * nothing. A vCPU that is run waits, like an idle guest, until it is kicked or until a test
 * plays the guest: fake_hcall() makes that vCPU leave the "guest" with an hcall and returns
 * what the guest would find in its registers when it goes on. So a test reads like a guest's
 * program, while the code under test sees the threads and the order of calls KVM would give it.
 *
 * One VM exists at a time, and the functions below speak of it; vCPUs go by their id. Any
 * thread may call them. Those that wait do so on a condition, for as long as it takes; if
 * nothing happens for FAKE_DEADLINE_S, or a rule of kvm.h is broken, the process says what it
 * waited for and aborts, because a thread is then somewhere a test cannot recover it from.
 */
#ifndef PAPRIKA_FAKE_KVM_H
#define PAPRIKA_FAKE_KVM_H

#include "kvm/kvm.h"

#define FAKE_DEADLINE_S 30

/* Forget everything: the setup of each test. A VM still there, which a failed test left
 * behind, is given up together with its threads. */
void fake_reset(void);

/* What kvm_timebase() returns from now on; 0 after fake_reset(). */
void fake_set_timebase(uint64_t ticks);

/* What the next kvm_vm_create() finds; a POWER9 host with radix guests unless changed. */
struct kvm_facts *fake_facts(void);

/* --- Playing the guest ------------------------------------------------------------------- */

/*
 * vCPU id makes hcall nr with args in r4 .. r12 (NULL: zeros). Waits until the vCPU can, and
 * until it is entered again. Returns r3; ret_args, unless NULL, gets r4 .. r12.
 */
int64_t fake_hcall(uint32_t id, uint64_t nr, const uint64_t args[9], uint64_t ret_args[9]);

/* The same, for an hcall that may not come back: false if the vCPU was set up anew, parked or
 * destroyed instead of being entered again. */
bool fake_try_hcall(
    uint32_t id, uint64_t nr, const uint64_t args[9], uint64_t ret_args[9], int64_t *ret_r3);

/* For an hcall that does not come back (stop-self, power-off): returns as soon as the vCPU has
 * left the guest with it. What becomes of the vCPU is for fake_wait_parks() and the like. */
void fake_hcall_noreturn(uint32_t id, uint64_t nr, const uint64_t args[9]);

/* vCPU id touches an address where nothing is; returns when it is entered again. */
void fake_mmio(uint32_t id, uint64_t address, uint32_t length, bool write);

/* vCPU id leaves the guest for good, for this reason; returns when it has. */
void fake_run_failure(uint32_t id, const char *failure);

/*
 * A guest that acts by itself, in place of one that is played. Called whenever vCPU id is in the
 * guest and has nothing else to do, on its thread and with the fake's lock held: it must not
 * call the fake. hcall holds the answer to its last call; fresh: its registers have been set
 * since. It puts its next hcall there and returns true, or false to wait until something has
 * changed; interrupts counts those sent so far. NULL: nobody, as after fake_reset().
 */
#define FAKE_NR_STORE (UINT64_MAX - 1) /* no hcall, but a store to the address in args[0] */
#define FAKE_NR_FAIL UINT64_MAX        /* it cannot go on */
typedef bool fake_guest(const struct gmem *memory, uint32_t id, bool fresh, uint64_t interrupts,
    struct kvm_hcall *hcall);
void fake_set_guest(fake_guest *guest);

/* A guest whose kernel is a text that tells what to do, see fake_script.c. */
fake_guest fake_script;

/* --- Waiting ----------------------------------------------------------------------------- */

/* Until vCPU id is in the guest, with nothing asked of it. */
void fake_wait_running(uint32_t id);
/* Until kvm_vcpu_enter_at() or kvm_vcpu_park() was called that often for vCPU id. */
void fake_wait_enters(uint32_t id, uint64_t count);
void fake_wait_parks(uint32_t id, uint64_t count);
void fake_wait_irq_pulses(uint32_t irq, uint64_t count);

/* Until holds(context), which may take locks of the code under test; gives way meanwhile. */
void fake_wait_until(bool (*holds)(void *context), void *context, const char *what);

/* --- Looking ----------------------------------------------------------------------------- */

bool fake_vcpu_created(uint32_t id);
bool fake_vcpu_running(uint32_t id);
bool fake_vcpu_parked(uint32_t id); /* parked, and not set up since */
uint64_t fake_vcpu_enters(uint32_t id);
uint64_t fake_vcpu_parks(uint32_t id);
size_t fake_vcpu_stack_bytes(uint32_t id); /* of its thread, which must live */
/* As of the last kvm_vcpu_enter_at(), which there must have been; modes as last set. */
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
const struct gmem *fake_memory(void); /* what kvm_vm_set_memory() was given, or NULL */

/* What has not been destroyed since fake_reset(). */
uint32_t fake_live_vms(void);
uint32_t fake_live_vcpus(void);

/* --- Failing ----------------------------------------------------------------------------- */

enum fake_call {
	FAKE_VM_CREATE,
	FAKE_SET_MEMORY,
	FAKE_SET_THREADS,
	FAKE_CREATE_IRQCHIP,
	FAKE_ENABLE_HCALL,
	FAKE_IRQ_RESET,
	FAKE_IRQ_PULSE,
	FAKE_SET_PROCESS_TABLE,
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

/* Asked at each call, with the fake's lock held: true makes it fail. NULL: nobody. */
typedef bool fake_fault(enum fake_call call);
void fake_set_fault(fake_fault *fault);

/* The next count calls of this kind fail. */
void fake_fail_next(enum fake_call call, uint32_t count);
/* The next `skip` calls of this kind succeed, the count after them fail. */
void fake_fail_after(enum fake_call call, uint32_t skip, uint32_t count);

#endif
