/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_core.c - cores that come and go, from the operator's request to its end, with a guest
 * that makes the calls Linux makes, or others: each request ends in one definite answer with
 * evidence for it, a refusal leaves everything as it was, and what a vCPU is doing at the
 * moment never matters.
 */
#include "machine_fixture.h"
#include "base/log.h"
#include "spapr/hcall.h"
#include "spapr/rtas.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

/* --- Adding ----------------------------------------------------------------------------- */

static void an_add_is_done_when_the_guest_has_started_the_core(void **state)
{
	struct fixture *f = *state;
	uint64_t id;

	power_on(f);
	expect_core(f, 1, DRC_UNUSABLE, SPAPR_VCPU_ABSENT);
	id = add(f, 1);
	assert_true(spapr_take_news(f->machine) & SPAPR_NEWS_OPERATION);
	assert_string_equal(core_info(f, 1).device, "core1");
	assert_int_equal(core_info(f, 1).add_operation, id);
	assert_int_equal(core_info(f, 1).drc_index, 0x10000001);
	assert_int_not_equal(core_info(f, 1).vcpus[0].host_thread, 0);
	expect_core(f, 1, DRC_UNUSABLE, SPAPR_VCPU_STOPPED);
	expect_steps(f, id, "requested notified");
	linux_take(0, 1);
	expect_steps(f, id, "fetched allocated unisolated configured");
	assert_int_equal(operation_of(f, id).outcome, OP_PENDING);
	expect_core(f, 1, DRC_CONFIGURED, SPAPR_VCPU_STOPPED);
	linux_online(f, 0, 1);
	expect_steps(f, id, "started ended");
	expect_end(f, id, OP_DONE, OP_BY_GUEST, OP_STARTED);
	EVIDENCE(f, id, .source = OP_BY_GUEST, .call = "start-cpu", .phase = OP_STARTED,
	    .threads_running = 1);
	assert_int_equal(core_info(f, 1).add_operation, 0);
	expect_core(f, 1, DRC_CONFIGURED, SPAPR_VCPU_RUNNING);
	assert_int_equal(fake_vcpu_enters(1), 1);
	assert_int_equal(fake_vcpu_parks(1), 0);
}

/* Linux with nr_cpus=1: it has read all of the core before it finds that it has no number for it.
 */
static void an_add_given_back_when_it_was_configured_is_rejected(void **state)
{
	struct fixture *f = *state;
	uint64_t id;

	power_on(f);
	id = add(f, 1);
	linux_take(0, 1);
	linux_release(0, 1);
	expect_steps(f, id, "requested notified fetched allocated unisolated configured ended");
	EVIDENCE(f, id, .source = OP_BY_GUEST, .call = "set-indicator", .indicator = 9003,
	    .phase = OP_CONFIGURED,
	    .inferred = "the guest gave the core back without having started a thread");
	expect_core(f, 1, DRC_UNUSABLE, SPAPR_VCPU_ABSENT);
	/* The same add works when the guest has room. */
	add_in_use(f, 1);
}

/* No Linux does so. */
static void a_thread_started_before_its_core_is_configured_counts_then(void **state)
{
	struct fixture *f = *state;
	uint64_t id;

	power_on(f);
	id = add(f, 1);
	expect_event(0, 1, 1);
	set_usable(0, 1);
	unisolate(0, 1);
	assert_int_equal(start_cpu(0, 1), 0);
	expect_steps(f, id, "requested notified fetched allocated unisolated started");
	configure(0, 1);
	expect_steps(f, id, "configured ended");
	EVIDENCE(f, id, .source = OP_BY_GUEST, .call = "ibm,configure-connector",
	    .phase = OP_CONFIGURED, .threads_running = 1);
	assert_int_equal(core_info(f, 1).add_operation, 0);
}

static void an_add_the_guest_gives_back_is_rejected_and_the_core_is_gone(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	for (int items = 0; items < 3; items++) {
		uint64_t id = add(f, 1);

		expect_event(0, 1, 1);
		set_usable(0, 1);
		unisolate(0, 1);
		for (int i = 0; i < items; i++)
			assert_true(configure_once(0, 1, i == 0) > 0);
		linux_release(0, 1);
		expect_steps(f, id, "requested notified fetched allocated unisolated ended");
		expect_end(f, id, OP_REJECTED, OP_BY_GUEST, OP_UNISOLATED);
		EVIDENCE(f, id, .source = OP_BY_GUEST, .call = "set-indicator", .indicator = 9003,
		    .phase = OP_UNISOLATED, .inferred = "without having configured it");
		wait_vcpu(f, 1, SPAPR_VCPU_ABSENT);
		expect_core(f, 1, DRC_UNUSABLE, SPAPR_VCPU_ABSENT);
		assert_string_equal(core_info(f, 1).device, "");
		remove_fails(f, "core1", "Device 'core1' not found");
		assert_int_equal(sense(0, 1), DRC_SENSE_UNUSABLE);
		assert_int_equal(set_usable(0, 1), -3);
	}
	add_in_use(f, 1);
}

static void an_add_that_cannot_be_is_refused(void **state)
{
	char device[OP_DEVICE_MAX + 1];
	struct fixture *f = *state;

	power_on_cpus(f, 4, 8, 2);
	add_fails(f, 5, "x", "invalid core id 5");
	add_fails(f, 8, "x", "core id 8 out of range");
	add_fails(f, UINT32_MAX - 1, "x", "core id 4294967294 out of range");
	add_fails(f, 2, "x", "core 2 already populated");
	add_fails(f, 4, "core2", "Duplicate device ID 'core2'");
	add_fails(f, 4, "", "Device ID must have 1 to 63 characters");
	memset(device, 'x', OP_DEVICE_MAX);
	device[OP_DEVICE_MAX] = '\0';
	add_fails(f, 4, device, "Device ID must have 1 to 63 characters");
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), 0);
	expect_core(f, 4, DRC_UNUSABLE, SPAPR_VCPU_ABSENT);
	assert_false(fake_vcpu_created(4));
	assert_int_equal(spapr_take_news(f->machine), 0);
}

static void without_a_vcpu_nothing_is_added_and_the_next_try_works(void **state)
{
	struct fixture *f = *state;

	power_on_cpus(f, 4, 8, 4);
	for (uint32_t thread = 0; thread < 4; thread++) {
		fake_fail_next(FAKE_VCPU_CREATE, 1);
		add_fails(f, 4, "core4", "fake KVM: cannot create the vCPU");
		assert_false(fake_vcpu_created(4 + thread));
		expect_core(f, 4, DRC_UNUSABLE, SPAPR_VCPU_ABSENT);
		assert_string_equal(core_info(f, 4).device, "");
		/* One more exists each time, and is kept. */
		fake_fail_after(FAKE_VCPU_CREATE, 1, 1);
		if (thread < 3)
			add_fails(f, 4, "core4", "fake KVM: cannot create the vCPU");
		assert_int_equal(fake_live_vcpus(), 4 + (thread < 3 ? thread + 1 : 3));
	}
	fake_fail_next(FAKE_VCPU_CREATE, 0);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), 0);
	assert_int_equal(spapr_take_news(f->machine), 0);
	expect_no_event(0);
	add_in_use(f, 4);
}

static void an_add_can_be_cancelled_until_the_guest_takes_the_core(void **state)
{
	struct fixture *f = *state;
	uint64_t id;

	power_on(f);
	id = add(f, 1);
	cancel(f, id);
	expect_steps(f, id, "requested notified ended");
	expect_end(f, id, OP_CANCELLED, OP_BY_OPERATOR, OP_NOTIFIED);
	expect_core(f, 1, DRC_UNUSABLE, SPAPR_VCPU_ABSENT);
	cancel_fails(f, id, "operation 1 has ended: cancelled");
	cancel_fails(f, 4711, "operation 4711 not found");
	cancel_fails(f, 0, "operation 0 not found");
	id = add(f, 1);
	expect_event(0, 1, 1);
	set_usable(0, 1);
	cancel_fails(f, id, "operation 2: the guest has already taken the core");
	unisolate(0, 1);
	configure(0, 1);
	cancel_fails(f, id, "operation 2: the guest has already taken the core");
	linux_online(f, 0, 1);
	expect_end(f, id, OP_DONE, OP_BY_GUEST, OP_STARTED);
	cancel_fails(f, id, "operation 2 has ended: done");
}

/* --- Removing --------------------------------------------------------------------------- */

static void a_removal_is_done_when_the_guest_releases_the_core(void **state)
{
	struct fixture *f = *state;
	uint64_t id;

	power_on_cpus(f, 2, 2, 1);
	linux_online(f, 0, 1);
	id = take_away(f, 1);
	assert_int_equal(core_info(f, 1).remove_operation, id);
	expect_steps(f, id, "requested notified");
	linux_remove(f, 0, 1);
	expect_steps(f, id, "fetched stopped isolated released ended");
	expect_end(f, id, OP_DONE, OP_BY_GUEST, OP_RELEASED);
	EVIDENCE(f, id, .source = OP_BY_GUEST, .call = "set-indicator", .indicator = 9003,
	    .phase = OP_RELEASED);
	fake_wait_parks(1, 1);
	expect_core(f, 1, DRC_UNUSABLE, SPAPR_VCPU_ABSENT);
	assert_string_equal(core_info(f, 1).device, "");
	assert_int_equal(core_info(f, 1).remove_operation, 0);
	assert_int_equal(sense(0, 1), DRC_SENSE_UNUSABLE);
	/* Linux may ask once more, and must get an answer. */
	assert_int_equal(cpu_stopped_state(0, 1), 0);
}

static bool operation_news(struct fixture *f)
{
	return (spapr_take_news(f->machine) & SPAPR_NEWS_OPERATION) != 0;
}

static void every_step_is_news(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	add(f, 1);
	assert_true(operation_news(f));
	expect_event(0, 1, 1);
	assert_true(operation_news(f));
	set_usable(0, 1);
	assert_true(operation_news(f));
	unisolate(0, 1);
	assert_true(operation_news(f));
	configure(0, 1);
	assert_true(operation_news(f));
	linux_online(f, 0, 1);
	assert_true(operation_news(f));
	take_away(f, 1);
	assert_true(operation_news(f));
	expect_event(0, 1, 2);
	assert_true(operation_news(f));
	linux_offline(f, 0, 1);
	assert_true(operation_news(f));
	isolate(0, 1);
	assert_true(operation_news(f));
	set_unusable(0, 1);
	assert_true(operation_news(f));
	assert_int_equal(cpu_stopped_state(0, 1), 0);
	assert_false(operation_news(f));
}

static void a_call_that_is_refused_is_no_step(void **state)
{
	struct fixture *f = *state;
	uint64_t id;

	power_on(f);
	id = add(f, 1);
	assert_int_equal(unisolate(0, 1), -3);
	assert_int_equal(configure_once(0, 1, true), -9003);
	expect_steps(f, id, "requested notified");
	expect_event(0, 1, 1);
	set_usable(0, 1);
	unisolate(0, 1);
	configure(0, 1);
	id = take_away(f, 1);
	assert_int_equal(set_unusable(0, 1), -3);
	expect_steps(f, id, "requested notified");
	assert_int_equal(operation_of(f, id).outcome, OP_PENDING);
}

static void a_core_that_returns_has_the_vcpu_it_had(void **state)
{
	struct fixture *f = *state;
	int host_thread;

	power_on(f);
	add_in_use(f, 1);
	host_thread = core_info(f, 1).vcpus[0].host_thread;
	for (uint64_t i = 1; i <= 20; i++) {
		take_away(f, 1);
		linux_remove(f, 0, 1);
		add_in_use(f, 1);
		assert_int_equal(fake_vcpu_enters(1), i + 1);
		assert_true(fake_vcpu_parks(1) >= i);
		assert_int_equal(fake_live_vcpus(), 2);
		assert_int_equal(core_info(f, 1).vcpus[0].host_thread, host_thread);
	}
}

static void a_refusal_leaves_everything_as_it_was(void **state)
{
	struct fixture *f = *state;
	struct spapr_core_info before, after;

	power_on(f);
	add_in_use(f, 1);
	stop_self(0);
	wait_vcpu(f, 0, SPAPR_VCPU_STOPPED);
	before = core_info(f, 1);
	for (int i = 0; i < 3; i++) {
		uint64_t id = take_away(f, 1);

		expect_event(1, 1, 2);
		assert_int_equal(sense(1, 1), DRC_SENSE_PRESENT);
		assert_int_equal(unisolate(1, 1), 0);
		expect_steps(f, id, "requested notified fetched ended");
		expect_end(f, id, OP_REJECTED, OP_BY_GUEST, OP_FETCHED);
		EVIDENCE(f, id, .source = OP_BY_GUEST, .call = "set-indicator", .indicator = 9001,
		    .value = 1, .vcpu = 1, .phase = OP_FETCHED, .threads_running = 1,
		    .inferred = "last running CPUs");
		after = core_info(f, 1);
		expect_same(&before, &after);
		assert_true(fake_vcpu_running(1));
	}
	/* The cause is gone, and the same request works. */
	assert_int_equal(start_cpu(1, 0), 0);
	take_away(f, 1);
	linux_remove(f, 0, 1);
	expect_core(f, 1, DRC_UNUSABLE, SPAPR_VCPU_ABSENT);
}

static void a_refusal_after_isolating_leaves_everything_as_it_was(void **state)
{
	struct fixture *f = *state;
	struct spapr_core_info before, after;
	uint64_t id;

	power_on(f);
	add_in_use(f, 1);
	before = core_info(f, 1);
	id = take_away(f, 1);
	expect_event(0, 1, 2);
	isolate(0, 1);
	assert_int_equal(core_info(f, 1).drc.isolated_from, DRC_CONFIGURED);
	unisolate(0, 1);
	expect_steps(f, id, "requested notified fetched isolated ended");
	EVIDENCE(f, id, .source = OP_BY_GUEST, .call = "set-indicator", .indicator = 9001,
	    .value = 1, .phase = OP_ISOLATED, .threads_running = 1);
	assert_int_equal(operation_of(f, id).outcome, OP_REJECTED);
	after = core_info(f, 1);
	expect_same(&before, &after);
	/* No reading of the description is needed for what comes next. */
	take_away(f, 1);
	linux_remove(f, 0, 1);
	expect_core(f, 1, DRC_UNUSABLE, SPAPR_VCPU_ABSENT);
}

static void a_guest_that_has_only_half_of_a_core_refuses_with_that_reason(void **state)
{
	struct fixture *f = *state;
	uint64_t add_id, id;

	power_on(f);
	add_id = add(f, 1);
	set_usable(0, 1);
	unisolate(0, 1);
	id = take_away(f, 1);
	unisolate(0, 1);
	EVIDENCE(f, id, .source = OP_BY_GUEST, .call = "set-indicator", .indicator = 9001,
	    .value = 1, .phase = OP_NOTIFIED, .inferred = "had not configured this core");
	assert_int_equal(operation_of(f, add_id).outcome, OP_PENDING);
	/* Both at once are ended by one release. */
	id = take_away(f, 1);
	isolate(0, 1);
	set_unusable(0, 1);
	expect_end(f, id, OP_DONE, OP_BY_GUEST, OP_RELEASED);
	assert_int_equal(operation_of(f, add_id).outcome, OP_REJECTED);
	wait_vcpu(f, 1, SPAPR_VCPU_ABSENT);
}

static void asking_twice_is_the_same_operation(void **state)
{
	struct fixture *f = *state;
	uint64_t id;

	power_on(f);
	add_in_use(f, 1);
	id = take_away(f, 1);
	expect_event(0, 1, 2);
	assert_int_equal(take_away(f, 1), id);
	assert_int_equal(operation_of(f, id).notifications, 2);
	/* The first answer ends it; the second event finds nothing to be done. */
	linux_offline(f, 0, 1);
	linux_release(0, 1);
	expect_end(f, id, OP_DONE, OP_BY_GUEST, OP_RELEASED);
	expect_event(0, 1, 1);
	assert_int_equal(set_usable(0, 1), -3);
	remove_fails(f, "core1", "Device 'core1' not found");
}

static void what_the_guest_does_not_have_is_removed_at_once(void **state)
{
	struct fixture *f = *state;
	uint64_t add_id, id;

	power_on(f);
	add_id = add(f, 1);
	id = take_away(f, 1);
	expect_end(f, id, OP_DONE, OP_BY_OPERATOR, OP_REQUESTED);
	expect_end(f, add_id, OP_CANCELLED, OP_BY_OPERATOR, OP_NOTIFIED);
	expect_steps(f, id, "requested ended");
	expect_core(f, 1, DRC_UNUSABLE, SPAPR_VCPU_ABSENT);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), 1);
}

static void core_0_and_what_is_not_there_cannot_be_removed(void **state)
{
	struct fixture *f = *state;

	power_on_cpus(f, 2, 4, 1);
	remove_fails(f, "core0", "Boot CPU core may not be unplugged");
	remove_fails(f, "core2", "Device 'core2' not found");
	remove_fails(f, "", "Device '' not found");
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), 0);
}

static void a_cancelled_removal_is_over_and_a_late_release_is_the_guest_s_own(void **state)
{
	struct fixture *f = *state;
	struct operation release;
	uint64_t id;

	power_on(f);
	add_in_use(f, 1);
	id = take_away(f, 1);
	expect_event(0, 1, 2);
	cancel(f, id);
	expect_steps(f, id, "requested notified fetched ended");
	expect_end(f, id, OP_CANCELLED, OP_BY_OPERATOR, OP_FETCHED);
	expect_core(f, 1, DRC_CONFIGURED, SPAPR_VCPU_RUNNING);
	assert_int_equal(unisolate(0, 1), 0); /* a late refusal is none */
	linux_offline(f, 0, 1);
	linux_release(0, 1);
	release = operation_of(f, id + 1);
	assert_string_equal(op_kind_name(release.kind), "guest-release");
	assert_int_equal(release.outcome, OP_DONE);
	assert_string_equal(release.device, "core1");
	expect_steps(f, id + 1, "requested released ended");
	assert_true(core_info(f, 1).drc.attached);
	/* It is the operator's without asking. */
	id = take_away(f, 1);
	expect_end(f, id, OP_DONE, OP_BY_OPERATOR, OP_REQUESTED);
	expect_core(f, 1, DRC_UNUSABLE, SPAPR_VCPU_ABSENT);
}

static void a_guest_may_give_a_core_back_and_take_it_again(void **state)
{
	struct fixture *f = *state;

	power_on_cpus(f, 2, 2, 1);
	linux_online(f, 0, 1);
	drop_reports(f);
	spapr_take_news(f->machine);
	linux_offline(f, 0, 1);
	assert_int_equal(spapr_take_news(f->machine), 0);
	linux_release(0, 1);
	expect_steps(f, 1, "requested released ended");
	assert_string_equal(op_kind_name(operation_of(f, 1).kind), "guest-release");
	EVIDENCE(f, 1, .source = OP_BY_GUEST, .call = "set-indicator", .indicator = 9003,
	    .phase = OP_RELEASED);
	expect_core(f, 1, DRC_UNUSABLE, SPAPR_VCPU_STOPPED);
	assert_int_equal(start_cpu(0, 1), -3);
	assert_int_equal(set_usable(0, 1), 0);
	assert_int_equal(unisolate(0, 1), 0);
	configure(0, 1);
	expect_steps(f, 2, "requested configured ended");
	assert_string_equal(op_kind_name(operation_of(f, 2).kind), "guest-take");
	linux_online(f, 0, 1);
	expect_core(f, 1, DRC_CONFIGURED, SPAPR_VCPU_RUNNING);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), 0);
}

static void the_last_calls_on_a_connector_are_kept_newest_first(void **state)
{
	struct fixture *f = *state;
	struct spapr_core_info info;

	power_on(f);
	add(f, 1);
	isolate(0, 1);
	linux_take(0, 1);
	info = core_info(f, 1);
	assert_int_equal(info.history_count, 4);
	assert_int_equal(info.history[0].input, DRC_IN_CONFIGURE_END);
	assert_int_equal(info.history[2].input, DRC_IN_USABLE);
	linux_online(f, 0, 1);
	for (int i = 0; i < 9; i++)
		set_unusable(1, 1);
	info = core_info(f, 1);
	assert_int_equal(info.history_count, 8);
	for (size_t i = 0; i < 8; i++) {
		assert_true(info.history[i].at_ms > 0);
		assert_int_equal(info.history[i].input, DRC_IN_UNUSABLE);
		assert_int_equal(info.history[i].status, -3);
		assert_int_equal(info.history[i].vcpu, 1);
	}
}

/* What has ended is kept until it has been reported. */
static void a_request_there_is_no_room_for_is_refused(void **state)
{
	struct fixture *f = *state;
	uint64_t id = 0;

	power_on_cpus(f, 2, 4, 1);
	for (size_t i = 0; i < SPAPR_OPERATIONS; i++) {
		id = add(f, 2);
		cancel(f, id);
	}
	add_fails(f, 2, "core2", "too many operations are pending");
	remove_fails(f, "core1", "too many operations are pending");
	expect_core(f, 2, DRC_UNUSABLE, SPAPR_VCPU_ABSENT);
	assert_false(core_info(f, 1).drc.removing);
	drop_reports(f);
	assert_int_equal(add(f, 2), id + 1);
	assert_int_equal(take_away(f, 1), id + 2);
}

static void operations_are_listed_oldest_first(void **state)
{
	static struct operation operations[SPAPR_OPERATIONS];
	struct fixture *f = *state;

	power_on(f);
	assert_int_equal(spapr_operations(f->machine, operations, SPAPR_OPERATIONS), 0);
	for (size_t i = 1; i <= SPAPR_OPERATIONS + 20; i++) {
		size_t count, expected = i < SPAPR_OPERATIONS ? i : SPAPR_OPERATIONS;

		cancel(f, add(f, 1));
		drop_reports(f);
		count = spapr_operations(f->machine, operations, SPAPR_OPERATIONS);
		assert_int_equal(count, expected);
		for (size_t k = 0; k < count; k++)
			assert_int_equal(operations[k].id, i - count + 1 + k);
	}
}

/* --- Deadlines -------------------------------------------------------------------------- */

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
	assert_int_equal(core_info(f, 1).remove_operation, id);
	/* Asked again, the second silence is said too. */
	assert_int_equal(take_away(f, 1), id);
	assert_false(operation_of(f, id).unresolved);
	expect_event(0, 1, 2);
	spapr_check_deadline(f->machine);
	expect_steps(f, id, "notified fetched unresolved");
	assert_string_equal(op_stuck_text(&(struct operation){.phase = OP_FETCHED}),
	    op_stuck_text(&(struct operation){.phase = operation_of(f, id).phase}));
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

/* --- What a vCPU is doing at the moment ------------------------------------------------- */

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
	    .phase = OP_RELEASED, .threads_running = 1);
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
	    .vcpu = 1, .phase = OP_RELEASED, .threads_running = 1);
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
	assert_int_equal(core_info(f, 8).drc_index, 0x10000008);
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
	    .value = 1, .vcpu = 10, .phase = OP_FETCHED, .threads_running = 1);
	id = take_away(f, 8);
	stop_self(10);
	wait_vcpu(f, 10, SPAPR_VCPU_STOPPED);
	expect_steps(f, id, "requested notified stopped");
	assert_int_equal(start_cpu(0, 9), 0);
	linux_release(0, 8);
	EVIDENCE(f, id, .source = OP_BY_GUEST, .call = "set-indicator", .indicator = 9003,
	    .phase = OP_RELEASED, .threads_running = 1);
	for (uint32_t thread = 8; thread < 12; thread++)
		wait_vcpu(f, thread, SPAPR_VCPU_ABSENT);
}

/* --- The machine ------------------------------------------------------------------------ */

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
		assert_int_equal(core_info(f, core_id).add_operation, 0);
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
		while (
		    sense(0, 1) != DRC_SENSE_PRESENT || core_info(f, 1).drc.state != DRC_AVAILABLE)
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(an_add_is_done_when_the_guest_has_started_the_core),
	    TEST(an_add_given_back_when_it_was_configured_is_rejected),
	    TEST(a_thread_started_before_its_core_is_configured_counts_then),
	    TEST(an_add_the_guest_gives_back_is_rejected_and_the_core_is_gone),
	    TEST(an_add_that_cannot_be_is_refused),
	    TEST(without_a_vcpu_nothing_is_added_and_the_next_try_works),
	    TEST(an_add_can_be_cancelled_until_the_guest_takes_the_core),
	    TEST(a_removal_is_done_when_the_guest_releases_the_core),
	    TEST(every_step_is_news),
	    TEST(a_call_that_is_refused_is_no_step),
	    TEST(a_core_that_returns_has_the_vcpu_it_had),
	    TEST(a_refusal_leaves_everything_as_it_was),
	    TEST(a_refusal_after_isolating_leaves_everything_as_it_was),
	    TEST(a_guest_that_has_only_half_of_a_core_refuses_with_that_reason),
	    TEST(asking_twice_is_the_same_operation),
	    TEST(what_the_guest_does_not_have_is_removed_at_once),
	    TEST(core_0_and_what_is_not_there_cannot_be_removed),
	    TEST(a_cancelled_removal_is_over_and_a_late_release_is_the_guest_s_own),
	    TEST(a_guest_may_give_a_core_back_and_take_it_again),
	    TEST(the_last_calls_on_a_connector_are_kept_newest_first),
	    TEST(a_request_there_is_no_room_for_is_refused),
	    TEST(operations_are_listed_oldest_first),
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
