/* SPDX-License-Identifier: Apache-2.0 */
/*
 * internal.h - the state of the fake KVM, shared by its files.
 *
 * One mutex guards all of it, and one condition is broadcast at every change. The mutex is a leaf:
 * code under test may call in with its own locks held.
 *
 * An exit that a test asks for has three phases: QUEUED until the vCPU's thread takes it, TAKEN
 * while the code under test handles it, IDLE when the answer has been carried back.
 *
 * The rules of kvm.h about threads and order are checked: a vCPU belongs to the thread that created
 * it, its registers are set before it runs, the interrupt controller is set once and before the
 * first vCPU, a memory slot only if it is not set.
 */
#ifndef PAPRIKA_FAKE_INTERNAL_H
#define PAPRIKA_FAKE_INTERNAL_H

#include "fake_kvm.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

enum { VCPU_IDS = 16384, IRQS = 2048, XIVE_SERVERS = 32, HCALL_MAX = 0x480 };

enum phase { PHASE_IDLE, PHASE_QUEUED, PHASE_TAKEN };

/* The state of a vCPU id. It outlives the vCPU, because KVM keeps the id. */
struct record {
	bool alive;
	bool aside; /* kvm_vcpu_set_aside() */
	pthread_t thread;
	bool kicked; /* until kvm_vcpu_unkick() */
	uint64_t kicks;
	bool inside; /* its thread is in kvm_vcpu_run() */
	bool entered, parked;
	uint64_t pc, r3, sprg0;
	struct kvm_modes modes;
	int64_t timebase_offset;
	uint64_t enters, parks;

	bool busy; /* a fake_hcall() or another such call uses it */
	enum phase phase;
	enum kvm_exit exit;
	struct kvm_exit_info info; /* of the exit; for an hcall, later its result */
	bool taken, dropped;       /* handed to kvm_vcpu_run(); will never be answered */

	bool fresh;             /* registers set since fake.guest was called */
	bool calling;           /* fake.guest waits for the result of an hcall */
	struct kvm_hcall hcall; /* the last hcall of fake.guest */
};

struct irq {
	uint32_t number, server;
	uint64_t resets, pulses, pulses_before; /* the last reset */
	uint64_t edges; /* sent by eventfds; those that have one count the last */
	/* XIVE. */
	bool aimed;
	struct kvm_xive_target target;
	uint64_t aims, loads;
};

/* Eventfds, each joined with an interrupt source or an address. */
enum { JOINTS = 1024 };
struct joints {
	struct {
		int eventfd;
		uint64_t what;
	} list[JOINTS];
	size_t count;
};

#define SLOT_STUCK 1u

struct kvm_vm {
	struct kvm_facts facts;
	struct kvm_mode mode;
	struct kvm_processor processor;
	uint32_t hpt_order; /* 0: kvm_vm_create_mmu() has not been called */
	uint64_t mmu_resets;
	uint64_t hpt[FAKE_HPT_ENTRIES][2];
	const struct gmem *memory;
	uint64_t slots[FAKE_SLOTS]; /* bytes; 0: not set. SLOT_STUCK: it could not be taken away */
	uint32_t threads, servers, vcpus;
	uint64_t process_table;
	bool gtse;
	bool hcalls[HCALL_MAX / 4];
	struct kvm_irqchip_config irqchip;
	uint64_t irqchip_resets;
	uint64_t queues[XIVE_SERVERS][KVM_XIVE_PRIORITIES]; /* XIVE: the address | 1; 0: none */
	struct irq irqs[IRQS];
	size_t irq_count;
	struct joints joined_irqs, doorbells;
	struct record *records[VCPU_IDS]; /* NULL: never created */
};

struct kvm_vcpu {
	struct kvm_vm *vm;
	struct record *record;
	uint32_t id;
};

struct fake {
	pthread_mutex_t lock;
	pthread_cond_t changed; /* timed by CLOCK_MONOTONIC */
	struct kvm_vm *vm;      /* NULL: none */
	struct kvm_facts facts; /* of the next VM */
	_Atomic uint64_t timebase;
	uint32_t live_vms, live_vcpus;
	struct {
		uint32_t skip, count;
	} failures[FAKE_CALL_COUNT];
	fake_fault *fault;
	fake_guest *guest;
};

extern struct fake fake;

/* Print a message and abort. */
void __attribute__((noreturn, format(printf, 1, 2))) fake_die(const char *format, ...);

/* FAKE_DEADLINE_S from now. */
struct timespec fake_deadline(void);

/* The rest is called with the lock held. */

/* The VM, which must exist. */
struct kvm_vm *fake_vm(void);

/* The record of a vCPU id; NULL if that vCPU was never created. */
struct record *record_find(uint32_t id);

/* The same; the vCPU must have been created. */
struct record *record_get(uint32_t id);

/* The interrupt, or NULL if it was never reset. */
struct irq *irq_find(struct kvm_vm *vm, uint32_t number);

/* A store to a doorbell; false: none is joined with this address. */
bool doorbell_ring(const struct kvm_vm *vm, uint64_t address);

/* Whether this call is to fail. Consumes a failure asked for by fake_fail_after(). */
bool fake_call_fails(enum fake_call call);

/* Fill err; always false. */
bool fake_call_fail(struct err *err, int error_number, const char *what);

/* The vCPU runs and has nothing to do; count is ignored. */
bool record_is_running(const struct record *record, uint64_t count);

#endif
