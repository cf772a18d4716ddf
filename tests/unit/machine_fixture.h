/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine_fixture.h - a machine above the fake KVM, and both of its parties: the operator, which
 * calls spapr.h, and a guest, whose RTAS calls and hcalls are functions here.
 *
 * A guest's call goes the whole way: an argument block in guest memory, an hcall that makes
 * its vCPU leave the guest, and what the vCPU finds when it goes on. The sequences Linux makes
 * of them have functions of their own, in Linux' order. Each vCPU has a page range of its own
 * for blocks and buffers, so that vCPUs can be played by threads of their own.
 *
 * Nothing sleeps, and nothing looks at how long something took.
 */
#ifndef PAPRIKA_MACHINE_FIXTURE_H
#define PAPRIKA_MACHINE_FIXTURE_H

#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_kvm.h"
#include "spapr/hcall.h"
#include "spapr/rtas.h"
#include "spapr/spapr.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

#define IRQ_EPOW 0x1000
#define IRQ_HOTPLUG 0x1001
#define IRQ_VTY 0x1002

#define MASK_EPOW 0x40000000
#define MASK_HOTPLUG 0x10000000
#define EVENT_BYTES 116

#define ENTRY 0x400 /* where the "kernel" starts */
#define SECONDARY 0x60

/* Guest-physical places of a vCPU's own. */
#define AREA_BYTES 0x10000
#define AREA(vcpu) (MIB + (uint64_t)(vcpu)*AREA_BYTES)
#define BLOCK(vcpu) AREA(vcpu)
#define BUFFER(vcpu) (AREA(vcpu) + 0x1000)
#define WORK(vcpu) (AREA(vcpu) + 0x2000)

#define DRC(core_id) (0x10000000u + (core_id))

struct fixture {
	struct spapr *machine;
	struct spapr_config config; /* change before power_on(): else 256 MiB, 1 of 4 CPUs */
	struct spapr_image image;   /* what the loader says it has loaded */
	bool load_fails;
	unsigned loads;
	_Atomic unsigned wakes;
	/* Called once, by the next thread that has news, perhaps with the lock held. */
	void (*_Atomic on_wake)(struct fixture *fixture);
	void *context; /* on_wake's own */
};

int fixture_setup(void **state);
int fixture_teardown(void **state); /* destroys the machine, and nothing of it may be left */
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

/* --- The operator ----------------------------------------------------------------------- */

/* Create the machine and boot it; with so many CPUs. */
void power_on(struct fixture *fixture);
void power_on_cpus(struct fixture *fixture, uint32_t boot, uint32_t max, uint32_t threads);
void reset(struct fixture *fixture);

/* These must succeed; the operation's id. Devices are called core<id>. */
uint64_t add(struct fixture *fixture, uint32_t core_id);
uint64_t take_away(struct fixture *fixture, uint32_t core_id);
/* These must fail, with a message that begins like this. */
void add_fails(struct fixture *fixture, uint32_t core_id, const char *device, const char *text);
void remove_fails(struct fixture *fixture, const char *device, const char *text);
void cancel_fails(struct fixture *fixture, uint64_t id, const char *text);
void cancel(struct fixture *fixture, uint64_t id);

struct spapr_core_info core_info(struct fixture *fixture, uint32_t core_id);
struct operation operation_of(struct fixture *fixture, uint64_t id);
uint64_t counter(struct fixture *fixture, const char *name);

/* All that has not been reported, fetched now, must be: for this operation these steps, their
 * names separated by spaces, and no others of it. Steps of other operations are dropped. */
void expect_steps(struct fixture *fixture, uint64_t id, const char *steps);
void drop_reports(struct fixture *fixture);

/* How it ended: outcome, what it rests on, in what phase. */
void expect_end(struct fixture *fixture, uint64_t id, enum op_outcome outcome,
    enum op_source source, enum op_step phase);

/* All of the evidence. `inferred` needs to say only that much. */
void expect_evidence(struct fixture *fixture, uint64_t id, const struct op_evidence *expected);
#define EVIDENCE(fixture, id, ...) expect_evidence(fixture, id, &(struct op_evidence){__VA_ARGS__})

/* All of a core but its history. */
void expect_same(const struct spapr_core_info *a, const struct spapr_core_info *b);

/* The state of a core's connector and of all its vCPUs. */
void expect_core(
    struct fixture *fixture, uint32_t core_id, enum drc_state state, enum spapr_vcpu_state vcpus);

/* Until a vCPU is reported in this state. */
void wait_vcpu(struct fixture *fixture, uint32_t id, enum spapr_vcpu_state state);

/* vCPU id is kept in the middle of an hcall, without the machine's lock, until the gate opens:
 * a vCPU's thread that has news waits where it tells them. */
struct gate {
	sem_t reached, open;
};
void keep_in_handler(struct fixture *fixture, struct gate *gate, uint32_t id);
void open_gate(struct gate *gate);

/* --- The guest -------------------------------------------------------------------------- */

void poke(uint64_t address, const void *from, size_t length);
void peek(uint64_t address, void *to, size_t length);

/* An argument block at an address; a call with the block that is there: r3. */
void put_block(
    uint64_t address, uint32_t token, uint32_t nargs, uint32_t nret, const uint32_t *args);
int64_t call_block(uint32_t vcpu, uint64_t address);

/* A service by name: its status, and in ret the results behind it (may be NULL). */
int32_t rtas(uint32_t vcpu, const char *service, uint32_t nargs, const uint32_t *args,
    uint32_t nret, uint32_t *ret);
#define RTAS(vcpu, service, ...)                                                                   \
	rtas(vcpu, service, sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t),                  \
	    (uint32_t[]){__VA_ARGS__}, 1, NULL)

/* A call that does not come back, or not to this vCPU. */
void rtas_noreturn(uint32_t vcpu, const char *service, uint32_t nargs, const uint32_t *args);

int32_t isolate(uint32_t vcpu, uint32_t core_id);
int32_t unisolate(uint32_t vcpu, uint32_t core_id);
int32_t set_usable(uint32_t vcpu, uint32_t core_id);
int32_t set_unusable(uint32_t vcpu, uint32_t core_id);
/* dr-entity-sense; must succeed. */
uint32_t sense(uint32_t vcpu, uint32_t core_id);

/* Returns when the CPU runs, if the status is 0: what is asked of it sooner is dropped as it
 * enters. */
int32_t start_cpu(uint32_t vcpu, uint32_t id);
void stop_self(uint32_t id);
uint32_t cpu_stopped_state(uint32_t vcpu, uint32_t id);

/* check-exception into BUFFER(vcpu): true if there was an event. */
bool fetch_event(uint32_t vcpu, uint32_t mask, uint8_t ret_log[EVENT_BYTES]);
/* The next hot-plug event must be this one: 1 add, 2 remove. */
void expect_event(uint32_t vcpu, uint32_t core_id, uint8_t action);
void expect_no_event(uint32_t vcpu);

/* ibm,configure-connector: one call, with WORK(vcpu); and all of them, to the end. */
int32_t configure_once(uint32_t vcpu, uint32_t core_id, bool first);
void configure(uint32_t vcpu, uint32_t core_id);

/* Linux: fetch the event, acquire, configure; bring its threads up; all of it. Stop its threads
 * and wait for them as Linux does; release its connector; all of it. */
void linux_take(uint32_t vcpu, uint32_t core_id);
void linux_online(struct fixture *fixture, uint32_t vcpu, uint32_t core_id);
void linux_add(struct fixture *fixture, uint32_t vcpu, uint32_t core_id);
void linux_offline(struct fixture *fixture, uint32_t vcpu, uint32_t core_id);
void linux_release(uint32_t vcpu, uint32_t core_id);
void linux_remove(struct fixture *fixture, uint32_t vcpu, uint32_t core_id);

/* The operator adds a core and Linux takes it and starts it: a core in use. */
void add_in_use(struct fixture *fixture, uint32_t core_id);

/* The device tree, checked; to be freed. */
void *device_tree(struct fixture *fixture, size_t *ret_length);

#endif
