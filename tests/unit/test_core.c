/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_core.c - cores that are added and removed, from the operator's request to its end, with a
 * guest that makes the calls Linux makes, or others. Each request ends in one definite answer with
 * evidence for it, and a refusal leaves everything as it was.
 */
#include "machine_fixture.h"
#include "base/log.h"
#include "spapr/hcall.h"
#include "spapr/rtas.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

/* --- Adding ---------------------------------------------------------------------------------- */

static void an_add_is_done_when_the_guest_has_started_the_core(void **state)
{
	struct fixture *f = *state;
	uint64_t id;

	power_on(f);
	expect_core(f, 1, DRC_UNUSABLE, SPAPR_VCPU_ABSENT);
	id = add(f, 1);
	assert_true(spapr_take_news(f->machine) & SPAPR_NEWS_OPERATION);
	assert_string_equal(core_info(f, 1).connector.device, "core1");
	assert_int_equal(core_info(f, 1).connector.add_operation, id);
	assert_int_equal(core_info(f, 1).connector.drc_index, 0x10000001);
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
	    .parts_used = 1);
	assert_int_equal(core_info(f, 1).connector.add_operation, 0);
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
	    .phase = OP_CONFIGURED, .parts_used = 1);
	assert_int_equal(core_info(f, 1).connector.add_operation, 0);
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
		assert_string_equal(core_info(f, 1).connector.device, "");
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
	for (uint32_t fail = 4; fail > 0; fail--) {
		/* They are made side by side: any of those that are missing. What exists is kept.
		 */
		fake_fail_next(FAKE_VCPU_CREATE, fail);
		add_fails(f, 4, "core4", "fake KVM: cannot create the vCPU");
		assert_int_equal(fake_live_vcpus(), 4 + 4 - fail);
		expect_core(f, 4, DRC_UNUSABLE, SPAPR_VCPU_ABSENT);
		assert_string_equal(core_info(f, 4).connector.device, "");
	}
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

/* --- Removing -------------------------------------------------------------------------------- */

static void a_removal_is_done_when_the_guest_releases_the_core(void **state)
{
	struct fixture *f = *state;
	uint64_t id;

	power_on_cpus(f, 2, 2, 1);
	linux_online(f, 0, 1);
	id = take_away(f, 1);
	assert_int_equal(core_info(f, 1).connector.remove_operation, id);
	expect_steps(f, id, "requested notified");
	linux_remove(f, 0, 1);
	expect_steps(f, id, "fetched stopped isolated released ended");
	expect_end(f, id, OP_DONE, OP_BY_GUEST, OP_RELEASED);
	EVIDENCE(f, id, .source = OP_BY_GUEST, .call = "set-indicator", .indicator = 9003,
	    .phase = OP_RELEASED);
	fake_wait_parks(1, 1);
	expect_core(f, 1, DRC_UNUSABLE, SPAPR_VCPU_ABSENT);
	assert_string_equal(core_info(f, 1).connector.device, "");
	assert_int_equal(core_info(f, 1).connector.remove_operation, 0);
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
		    .value = 1, .vcpu = 1, .phase = OP_FETCHED, .parts_used = 1,
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
	assert_int_equal(core_info(f, 1).connector.drc.isolated_from, DRC_CONFIGURED);
	unisolate(0, 1);
	expect_steps(f, id, "requested notified fetched isolated ended");
	EVIDENCE(f, id, .source = OP_BY_GUEST, .call = "set-indicator", .indicator = 9001,
	    .value = 1, .phase = OP_ISOLATED, .parts_used = 1);
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
	assert_true(core_info(f, 1).connector.drc.attached);
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
	assert_int_equal(info.connector.history_count, 4);
	assert_int_equal(info.connector.history[0].input, DRC_IN_CONFIGURE_END);
	assert_int_equal(info.connector.history[2].input, DRC_IN_USABLE);
	linux_online(f, 0, 1);
	for (int i = 0; i < 9; i++)
		set_unusable(1, 1);
	info = core_info(f, 1);
	assert_int_equal(info.connector.history_count, 8);
	for (size_t i = 0; i < 8; i++) {
		assert_true(info.connector.history[i].at_ms > 0);
		assert_int_equal(info.connector.history[i].input, DRC_IN_UNUSABLE);
		assert_int_equal(info.connector.history[i].status, -3);
		assert_int_equal(info.connector.history[i].vcpu, 1);
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
	assert_false(core_info(f, 1).connector.drc.removing);
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
	};

	return cmocka_run_group_tests_name("core", tests, NULL, NULL);
}
