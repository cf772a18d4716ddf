/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_core_machine.c - cores that are added and removed while something else goes on: a deadline
 * passes, a vCPU is in the guest or in a handler, the machine is stopped, reset or ends.
 */
#include "machine_fixture.h"
#include "base/log.h"
#include "spapr/hcall.h"
#include "spapr/rtas.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

/* --- Deadlines ------------------------------------------------------------------------------- */

static void a_deadline_is_said_and_changes_nothing_else(void **state)
{
	struct fixture *f = *state;
	uint64_t id;

	f->config.unplug_deadline_ms = 0;
	power_on_cpus(f, 2, 2, 1);
	assert_int_equal(spapr_check_deadline(f->machine), -1);
	id = take_away(f, 1);
	assert_int_equal(spapr_check_deadline(f->machine), -1);
	expect_steps(f, id, "requested notified unresolved");
	assert_true(operation_of(f, id).unresolved);
	assert_int_equal(operation_of(f, id).outcome, OP_PENDING);
	assert_int_equal(core_info(f, 1).connector.remove_operation, id);
	/* Asked again, the second silence is said too. */
	assert_int_equal(take_away(f, 1), id);
	assert_false(operation_of(f, id).unresolved);
	expect_event(0, 1, 2);
	spapr_check_deadline(f->machine);
	expect_steps(f, id, "notified fetched unresolved");
	assert_string_equal(
	    op_stuck_text(&(struct operation){.phase = OP_FETCHED}, (char[OP_STUCK_MAX]){0}),
	    op_stuck_text(
	        &(struct operation){.phase = operation_of(f, id).phase}, (char[OP_STUCK_MAX]){0}));
	/* A late answer counts. */
	linux_release(0, 1);
	expect_steps(f, id, "isolated released ended");
	expect_end(f, id, OP_DONE, OP_BY_GUEST, OP_RELEASED);
}

static void before_the_deadline_it_is_known_when_to_look_again(void **state)
{
	struct fixture *f = *state;
	int64_t due_ms;

	power_on_cpus(f, 2, 2, 1);
	take_away(f, 1);
	due_ms = spapr_check_deadline(f->machine);
	assert_true(due_ms > 0 && due_ms <= 3600 * 1000);
	assert_false(operation_of(f, 1).unresolved);
}

/* --- What a vCPU is doing at the moment ------------------------------------------------------ */

static void a_vcpu_that_still_runs_is_stopping_until_it_has_left(void **state)
{
	struct fixture *f = *state;
	struct gate gate;
	uint64_t id;

	power_on(f);
	add_in_use(f, 1);
	id = take_away(f, 1);
	keep_in_handler(f, &gate, 1);
	expect_event(0, 1, 2);
	linux_release(0, 1);
	EVIDENCE(f, id, .source = OP_BY_GUEST, .call = "set-indicator", .indicator = 9003,
	    .phase = OP_RELEASED, .parts_used = 1);
	expect_core(f, 1, DRC_UNUSABLE, SPAPR_VCPU_STOPPING);
	assert_int_equal(cpu_stopped_state(0, 1), 1);
	assert_int_equal(start_cpu(0, 1), -3);
	/* Even if the core returns meanwhile. */
	add(f, 1);
	linux_take(0, 1);
	expect_core(f, 1, DRC_CONFIGURED, SPAPR_VCPU_STOPPING);
	assert_int_equal(start_cpu(0, 1), -1);
	open_gate(&gate);
	wait_vcpu(f, 1, SPAPR_VCPU_STOPPED);
	assert_int_equal(fake_vcpu_parks(1), 1);
	linux_online(f, 0, 1);
}

static void a_vcpu_in_the_guest_is_made_to_leave(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	add_in_use(f, 1);
	take_away(f, 1);
	expect_event(0, 1, 2);
	linux_release(0, 1);
	fake_wait_parks(1, 1);
	wait_vcpu(f, 1, SPAPR_VCPU_ABSENT);
	assert_false(fake_vcpu_running(1));
	assert_true(fake_vcpu_parked(1));
	assert_int_equal(cpu_stopped_state(0, 1), 0);
}

static void a_vcpu_may_release_the_core_it_runs_on(void **state)
{
	struct fixture *f = *state;
	uint64_t id;

	power_on(f);
	add_in_use(f, 1);
	id = take_away(f, 1);
	assert_int_equal(isolate(1, 1), 0);
	rtas_noreturn(1, "set-indicator", 3, (uint32_t[]){9003, DRC(1), 0});
	fake_wait_parks(1, 1);
	wait_vcpu(f, 1, SPAPR_VCPU_ABSENT);
	EVIDENCE(f, id, .source = OP_BY_GUEST, .call = "set-indicator", .indicator = 9003,
	    .vcpu = 1, .phase = OP_RELEASED, .parts_used = 1);
	add_in_use(f, 1);
}

static void stop_vcpu_1(struct fixture *f)
{
	(void)f;
	fake_hcall_noreturn(1, HCALL_RTAS, (uint64_t[9]){BLOCK(1)});
}

/* vCPU 1 has left the guest to stop itself, and waits for the lock the release holds. */
static void a_vcpu_that_stops_while_its_core_is_released_is_absent(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	add_in_use(f, 1);
	take_away(f, 1);
	isolate(0, 1);
	put_block(BLOCK(1), rtas_token_of("stop-self"), 0, 1, NULL);
	spapr_take_news(f->machine);
	f->on_wake = stop_vcpu_1;
	assert_int_equal(set_unusable(0, 1), 0);
	assert_null(f->on_wake);
	fake_wait_parks(1, 1);
	spapr_stop(f->machine);
	expect_core(f, 1, DRC_UNUSABLE, SPAPR_VCPU_ABSENT);
	spapr_cont(f->machine);
	add_in_use(f, 1);
}

static void a_vcpu_started_right_after_it_stopped_has_parked(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	add_in_use(f, 1);
	for (uint64_t i = 1; i <= 100; i++) {
		linux_offline(f, 0, 1);
		assert_int_equal(RTAS(0, "start-cpu", 1, 0x1000 + (uint32_t)i, 77), 0);
		fake_wait_running(1);
		assert_int_equal(fake_vcpu_parks(1), i);
		assert_int_equal(fake_vcpu_enters(1), i + 1);
		assert_int_equal(fake_vcpu_pc(1), 0x1000 + i);
		assert_int_equal(fake_vcpu_r3(1), 77);
	}
}

static void only_a_stopped_cpu_of_a_usable_core_can_be_started(void **state)
{
	struct fixture *f = *state;
	uint32_t value = UINT32_MAX;

	power_on_cpus(f, 2, 4, 1);
	assert_int_equal(start_cpu(0, 4), -3);
	assert_int_equal(start_cpu(0, UINT32_MAX), -3);
	assert_int_equal(start_cpu(0, 0x80000001), -3);
	assert_int_equal(start_cpu(0, 0), -1);
	assert_int_equal(start_cpu(0, 2), -3);
	add(f, 2);
	assert_int_equal(start_cpu(0, 2), -3);
	set_usable(0, 2);
	assert_int_equal(start_cpu(0, 2), 0);
	assert_int_equal(start_cpu(0, 2), -1);
	assert_int_equal(start_cpu(0, 1), 0);
	assert_int_equal(rtas(0, "query-cpu-stopped-state", 1, (uint32_t[]){4}, 2, &value), -3);
	assert_int_equal(value, 0);
	assert_int_equal(cpu_stopped_state(0, 3), 0);
	fake_wait_running(1);
	fake_wait_running(2);
	assert_int_equal(fake_vcpu_enters(0), 1);
	assert_false(fake_vcpu_created(3));
}

/* A huge page is 2 MiB, and a stack that had one would be resident as a whole. */
static void a_stack_has_no_room_for_a_huge_page(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	assert_in_range(fake_vcpu_stack_bytes(0), 128 << 10, (2 << 20) - 1);
}

static void a_core_s_threads_come_and_go_together(void **state)
{
	struct fixture *f = *state;
	uint64_t id;

	power_on_cpus(f, 4, 12, 4);
	assert_int_equal(spapr_core_count(f->machine), 3);
	id = add(f, 8);
	assert_int_equal(core_info(f, 8).connector.drc_index, 0x10000008);
	expect_core(f, 8, DRC_UNUSABLE, SPAPR_VCPU_STOPPED);
	assert_int_equal(fake_live_vcpus(), 8);
	assert_false(fake_vcpu_created(4));
	linux_add(f, 0, 8);
	expect_steps(
	    f, id, "requested notified fetched allocated unisolated configured started ended");
	expect_core(f, 8, DRC_CONFIGURED, SPAPR_VCPU_RUNNING);
	id = take_away(f, 8);
	expect_event(0, 8, 2);
	stop_self(9);
	stop_self(8);
	stop_self(11);
	wait_vcpu(f, 11, SPAPR_VCPU_STOPPED);
	wait_vcpu(f, 9, SPAPR_VCPU_STOPPED);
	wait_vcpu(f, 8, SPAPR_VCPU_STOPPED);
	expect_steps(f, id, "requested notified fetched");
	unisolate(10, 8);
	/* The boot core has one running thread, so these are not the last. */
	EVIDENCE(f, id, .source = OP_BY_GUEST, .call = "set-indicator", .indicator = 9001,
	    .value = 1, .vcpu = 10, .phase = OP_FETCHED, .parts_used = 1);
	id = take_away(f, 8);
	stop_self(10);
	wait_vcpu(f, 10, SPAPR_VCPU_STOPPED);
	expect_steps(f, id, "requested notified stopped");
	assert_int_equal(start_cpu(0, 9), 0);
	linux_release(0, 8);
	EVIDENCE(f, id, .source = OP_BY_GUEST, .call = "set-indicator", .indicator = 9003,
	    .phase = OP_RELEASED, .parts_used = 1);
	for (uint32_t thread = 8; thread < 12; thread++)
		wait_vcpu(f, thread, SPAPR_VCPU_ABSENT);
}

/* --- The machine ----------------------------------------------------------------------------- */

static void a_reset_settles_what_is_pending(void **state)
{
	struct fixture *f = *state;
	uint64_t untaken, taken, removal;

	power_on_cpus(f, 2, 5, 1);
	linux_online(f, 0, 1);
	untaken = add(f, 2);
	expect_event(0, 2, 1);
	taken = add(f, 3);
	expect_event(0, 3, 1);
	set_usable(0, 3);
	add_in_use(f, 4);
	removal = take_away(f, 1);
	isolate(0, 1);
	reset(f);
	expect_end(f, untaken, OP_SUPERSEDED, OP_BY_RESET, OP_FETCHED);
	expect_end(f, taken, OP_SUPERSEDED, OP_BY_RESET, OP_ALLOCATED);
	expect_end(f, removal, OP_SUPERSEDED, OP_BY_RESET, OP_ISOLATED);
	/* What was to come is there, what was to go is gone, and all of it starts anew. */
	expect_core(f, 1, DRC_UNUSABLE, SPAPR_VCPU_ABSENT);
	for (uint32_t core_id = 2; core_id < 5; core_id++) {
		expect_core(f, core_id, DRC_CONFIGURED, SPAPR_VCPU_STOPPED);
		assert_int_equal(core_info(f, core_id).connector.add_operation, 0);
	}
	assert_int_equal(fake_vcpu_enters(0), 2);
	assert_int_equal(fake_parked_count(), 4);
	assert_int_equal(fake_live_vcpus(), 5);
	/* What runs now is no step of what ended with the reset. */
	linux_online(f, 0, 3);
	assert_int_equal(operation_of(f, taken).steps[OP_STARTED].order, 0);
	linux_online(f, 0, 4);
	add_in_use(f, 1);
}

struct caller {
	pthread_t thread;
	_Atomic bool over;
};

/* vCPU 1, whenever it runs: isolates its own core. */
static void *isolate_for_ever(void *argument)
{
	struct caller *caller = argument;
	int64_t r3;

	while (!caller->over) {
		put_block(
		    BLOCK(1), rtas_token_of("set-indicator"), 3, 1, (uint32_t[]){9001, DRC(1), 0});
		fake_try_hcall(1, HCALL_RTAS, (uint64_t[9]){BLOCK(1)}, NULL, &r3);
	}
	return NULL;
}

static void a_call_made_before_a_reset_does_not_reach_what_comes_after(void **state)
{
	struct fixture *f = *state;
	struct caller caller = {.over = false};

	power_on_cpus(f, 2, 2, 1);
	assert_int_equal(pthread_create(&caller.thread, NULL, isolate_for_ever, &caller), 0);
	for (int i = 0; i < 100; i++) {
		unisolate(0, 1);
		assert_int_equal(start_cpu(0, 1), 0);
		while (sense(0, 1) != DRC_SENSE_PRESENT ||
		       core_info(f, 1).connector.drc.state != DRC_AVAILABLE)
			sched_yield();
		if (i == 99)
			caller.over = true;
		reset(f);
		expect_core(f, 1, DRC_CONFIGURED, SPAPR_VCPU_STOPPED);
	}
	reset(f); /* so that its last call returns */
	pthread_join(caller.thread, NULL);
}

static void settling_ends_everything(void **state)
{
	struct fixture *f = *state;
	uint64_t addition, removal;

	power_on_cpus(f, 2, 3, 1);
	linux_online(f, 0, 1);
	addition = add(f, 2);
	removal = take_away(f, 1);
	spapr_settle(f->machine);
	expect_steps(f, addition, "requested notified ended");
	expect_end(f, addition, OP_SUPERSEDED, OP_BY_RESET, OP_NOTIFIED);
	expect_end(f, removal, OP_SUPERSEDED, OP_BY_RESET, OP_NOTIFIED);
	assert_false(fake_vcpu_running(0));
	assert_false(fake_vcpu_running(1));
	spapr_cont(f->machine);
	for (int i = 0; i < 200; i++) {
		sched_yield();
		assert_false(fake_vcpu_running(0));
	}
}

static void a_guest_does_not_see_the_time_it_was_stopped_for(void **state)
{
	struct fixture *f = *state;

	power_on_cpus(f, 2, 3, 1);
	linux_online(f, 0, 1);
	assert_int_equal(fake_vcpu_timebase_offset(0), 0);
	fake_set_timebase(1000);
	spapr_stop(f->machine);
	fake_set_timebase(4000);
	spapr_stop(f->machine); /* counts from the first time */
	fake_set_timebase(6000);
	spapr_cont(f->machine);
	fake_set_timebase(9000);
	spapr_cont(f->machine);
	for (uint32_t id = 0; id < 2; id++) {
		fake_wait_running(id);
		assert_int_equal(fake_vcpu_timebase_offset(id), -5000);
	}
	/* All stops together; also for a vCPU that is made later, and after a reset. */
	spapr_stop(f->machine);
	fake_set_timebase(9100);
	spapr_cont(f->machine);
	add_in_use(f, 2);
	assert_int_equal(fake_vcpu_timebase_offset(0), -5100);
	assert_int_equal(fake_vcpu_timebase_offset(2), -5100);
	reset(f);
	fake_wait_running(0);
	assert_int_equal(fake_vcpu_timebase_offset(0), -5100);
}

static void a_kvm_that_cannot_hold_the_time_lets_it_run(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	spapr_stop(f->machine);
	fake_set_timebase(5000);
	fake_fail_next(FAKE_SET_TIMEBASE, 1);
	spapr_cont(f->machine);
	fake_wait_running(0);
	assert_int_equal(fake_vcpu_timebase_offset(0), 0);
	add_in_use(f, 1);
}

static void wait_ms(uint64_t ms)
{
	for (uint64_t until = clock_ms() + ms; clock_ms() < until;)
		sched_yield();
}

static void deadlines_stand_still_with_the_machine(void **state)
{
	struct fixture *f = *state;
	uint64_t id;

	f->config.unplug_deadline_ms = 3;
	power_on(f);
	spapr_stop(f->machine);
	id = add(f, 1);
	wait_ms(10);
	assert_int_equal(spapr_check_deadline(f->machine), -1);
	assert_false(operation_of(f, id).unresolved);
	spapr_cont(f->machine);
	wait_ms(3);
	assert_int_equal(spapr_check_deadline(f->machine), -1);
	assert_true(operation_of(f, id).unresolved);
}

/* Until it has parked KVM and this program may still write to its memory; the model looks at what
 * other vCPUs are told meanwhile. */
static void a_vcpu_that_stops_writes_nothing_after_it_has_parked(void **state)
{
	static const uint32_t unanswered = UINT32_MAX;
	struct fixture *f = *state;
	uint32_t status;

	power_on_cpus(f, 2, 2, 1);
	linux_online(f, 0, 1);
	put_block(BLOCK(1), rtas_token_of("stop-self"), 0, 1, NULL);
	poke(BLOCK(1) + 12, &unanswered, sizeof unanswered);
	fake_hcall_noreturn(1, HCALL_RTAS, (uint64_t[9]){BLOCK(1)});
	wait_vcpu(f, 1, SPAPR_VCPU_STOPPED);
	assert_true(fake_vcpu_parked(1));
	peek(BLOCK(1) + 12, &status, sizeof status);
	assert_int_equal(status, 0);
}

static void a_stopped_machine_does_not_run_until_it_is_continued(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};
	uint64_t id;

	power_on_cpus(f, 2, 3, 1);
	linux_online(f, 0, 1);
	spapr_stop(f->machine);
	spapr_stop(f->machine);
	assert_false(fake_vcpu_running(0) || fake_vcpu_running(1));
	/* What is asked meanwhile waits. */
	id = add(f, 2);
	spapr_cont(f->machine);
	spapr_cont(f->machine);
	fake_wait_running(1);
	linux_add(f, 0, 2);
	expect_end(f, id, OP_DONE, OP_BY_GUEST, OP_STARTED);
	assert_int_equal(fake_vcpu_enters(1), 1);
	/* A reset does not continue it. */
	spapr_stop(f->machine);
	assert_true(spapr_boot(f->machine, &err));
	assert_int_equal(fake_vcpu_enters(0), 1);
	assert_false(fake_vcpu_running(0));
	spapr_cont(f->machine);
	fake_wait_running(0);
	assert_int_equal(fake_vcpu_enters(0), 2);
}

/* What no guest has touched is neither parked nor cleared; nor is a thread kicked that is not in
 * the guest. */
static void a_first_boot_finds_nothing_to_undo(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};
	uint8_t byte = 1;

	f->config.boot_cpus = f->config.max_cpus = 2;
	f->machine = spapr_create(&f->config, &err);
	assert_non_null(f->machine);
	assert_true(gmem_write(fake_memory(), 0x1000, &byte, 1));
	assert_true(spapr_boot(f->machine, &err));
	fake_wait_running(0);
	for (uint32_t id = 0; id < 2; id++) {
		assert_int_equal(fake_vcpu_parks(id), 0);
		assert_int_equal(fake_vcpu_kicks(id), 0);
	}
	assert_true(gmem_read(fake_memory(), 0x1000, &byte, 1));
	assert_int_equal(byte, 1);
	/* The next one does. vCPU 1 waits, and hears of it without a kick. */
	assert_true(spapr_boot(f->machine, &err));
	for (uint32_t id = 0; id < 2; id++)
		assert_int_equal(fake_vcpu_parks(id), 1);
	assert_true(fake_vcpu_kicks(0) > 0);
	assert_int_equal(fake_vcpu_kicks(1), 0);
	assert_true(gmem_read(fake_memory(), 0x1000, &byte, 1));
	assert_int_equal(byte, 0);
}

static void a_reset_that_failed_is_made_again_as_a_whole(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};

	power_on_cpus(f, 2, 2, 1);
	fake_fail_next(FAKE_PARK, 1);
	assert_false(spapr_boot(f->machine, &err));
	assert_true(spapr_boot(f->machine, &err));
	assert_true(fake_vcpu_parks(0) > 0 && fake_vcpu_parks(1) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_first_boot_finds_nothing_to_undo),
	    TEST(a_reset_that_failed_is_made_again_as_a_whole),
	    TEST(a_deadline_is_said_and_changes_nothing_else),
	    TEST(before_the_deadline_it_is_known_when_to_look_again),
	    TEST(a_vcpu_that_still_runs_is_stopping_until_it_has_left),
	    TEST(a_vcpu_in_the_guest_is_made_to_leave),
	    TEST(a_vcpu_may_release_the_core_it_runs_on),
	    TEST(a_vcpu_that_stops_while_its_core_is_released_is_absent),
	    TEST(a_vcpu_started_right_after_it_stopped_has_parked),
	    TEST(only_a_stopped_cpu_of_a_usable_core_can_be_started),
	    TEST(a_stack_has_no_room_for_a_huge_page),
	    TEST(a_core_s_threads_come_and_go_together),
	    TEST(a_reset_settles_what_is_pending),
	    TEST(a_call_made_before_a_reset_does_not_reach_what_comes_after),
	    TEST(settling_ends_everything),
	    TEST(a_vcpu_that_stops_writes_nothing_after_it_has_parked),
	    TEST(a_stopped_machine_does_not_run_until_it_is_continued),
	    TEST(a_guest_does_not_see_the_time_it_was_stopped_for),
	    TEST(a_kvm_that_cannot_hold_the_time_lets_it_run),
	    TEST(deadlines_stand_still_with_the_machine),
	};

	return cmocka_run_group_tests_name("core", tests, NULL, NULL);
}
