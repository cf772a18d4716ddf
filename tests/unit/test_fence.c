/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fence.c - when a fence is sent, and what its answer ends. The devices are of a kind that
 * exists here only, with one connector each, of the families of cores and of memory blocks; time is
 * an argument.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "fake_kvm.h"
#include "spapr/device_fence.h"

enum { CORES = 3, BLOCKS = 2, BOOT_BLOCKS = 3, DEVICES = CORES + BLOCKS };
#define FIRST_FENCE 0x80000000u
#define NEVER (-1)

static void describe(const struct device *device, const struct connector *connector, bool named,
    struct node_writer *writer)
{
	node_begin(writer, "thing");
	node_end(writer);
}

static const struct device_type device_type_a = {
    .noun = "core", .connector = &drc_type_cpu, .describe = describe};
static const struct device_type device_type_b = {
    .noun = "memory", .connector = &drc_type_lmb, .describe = describe};

struct bench {
	struct news news;
	struct events events;
	struct kvm_vm *vm;
	struct irqchip irqchip;
	struct fence fence;
	struct connectors connectors;
	struct devices devices;
	struct device *things[DEVICES];
};

static void wake(void *context)
{
}

static int bench_setup(void **state)
{
	struct bench *bench = calloc(1, sizeof *bench);
	struct err err = {0};

	assert_non_null(bench);
	fake_reset();
	news_init(&bench->news, wake, bench);
	assert_true(events_init(&bench->events, DEVICES, &bench->news));
	bench->vm = kvm_vm_create(0, &(struct kvm_mode){KVM_ACCEL_AUTO}, &err);
	bench->events.irqchip = &bench->irqchip;
	assert_true(irqchip_create(
	    &bench->irqchip, bench->vm, 1, false, &(struct kvm_xics_tokens){1, 2, 3, 4}, &err));
	assert_true(irqchip_reset(&bench->irqchip, &err));
	assert_true(connectors_init(&bench->connectors, DEVICES, &bench->events));
	assert_true(devices_init(
	    &bench->devices, DEVICES, &bench->connectors, &bench->fence, &bench->news));
	fence_init(&bench->fence, &bench->events, BOOT_BLOCKS);
	connectors_add_range(&bench->connectors, &drc_type_cpu, 0, 1, CORES);
	connectors_add_range(&bench->connectors, &drc_type_lmb, BOOT_BLOCKS, 1, BLOCKS);
	for (uint32_t i = 0; i < DEVICES; i++)
		bench->things[i] =
		    i < CORES ? device_create(&bench->devices, &device_type_a, NULL, i, i, 1)
		              : device_create(&bench->devices, &device_type_b, NULL, i,
		                    BOOT_BLOCKS + i - CORES, 1);
	*state = bench;
	return 0;
}

static int bench_teardown(void **state)
{
	struct bench *bench = *state;

	devices_finish(&bench->devices);
	connectors_finish(&bench->connectors);
	irqchip_destroy(&bench->irqchip);
	kvm_vm_destroy(bench->vm);
	events_finish(&bench->events);
	free(bench);
	return 0;
}

/* --- The two parties ----------------------------------------------------------------------- */

static const char *name_of(uint32_t thing)
{
	static const char *const names[DEVICES] = {"a", "b", "c", "d", "e"};

	return names[thing];
}

static uint64_t add(struct bench *bench, uint32_t thing)
{
	struct err err = {0};
	uint64_t id = 0;

	assert_true(device_add(&bench->devices, bench->things[thing], name_of(thing), &id, &err));
	return id;
}

static uint64_t ask_back(struct bench *bench, uint32_t thing)
{
	struct err err = {0};
	uint64_t id = 0;

	assert_true(device_remove(&bench->devices, name_of(thing), &id, &err));
	return id;
}

static void call(struct bench *bench, uint32_t thing, enum drc_input input)
{
	const struct op_evidence by = {.source = OP_BY_GUEST, .call = "set-indicator"};

	assert_int_equal(
	    device_guest_input(&bench->devices, bench->things[thing]->connectors, input, &by), 0);
}

static void take(struct bench *bench, uint32_t thing)
{
	call(bench, thing, DRC_IN_USABLE);
	call(bench, thing, DRC_IN_UNISOLATE);
	call(bench, thing, DRC_IN_CONFIGURE_END);
}

static void release(struct bench *bench, uint32_t thing)
{
	call(bench, thing, DRC_IN_ISOLATE);
	call(bench, thing, DRC_IN_UNUSABLE);
}

/* The guest reads the next event: it is about this thing. */
static void fetch(struct bench *bench, uint32_t thing)
{
	uint32_t number = UINT32_MAX;

	assert_int_equal(event_fetch(&bench->events, EVENT_MASK_HOTPLUG, &number), EVENT_HOTPLUG);
	assert_int_equal(number, thing);
	device_event_fetched(&bench->devices, number);
}

/* It reads the next event: a fence. Returns its drc index. */
static uint32_t fetch_fence(struct bench *bench)
{
	uint32_t number;

	assert_int_equal(event_fetch(&bench->events, EVENT_MASK_HOTPLUG, &number), EVENT_FENCE);
	return fence_fetched(&bench->fence, clock_ms());
}

static void expect_nothing(struct bench *bench)
{
	uint32_t number;

	assert_int_equal(event_fetch(&bench->events, EVENT_MASK_HOTPLUG, &number), EVENT_NONE);
}

/* It asks for the state of a boot block, as rtas_get_sensor_state() has it. */
static bool sense_block(struct bench *bench, uint32_t drc_index)
{
	assert_true(fence_has_index(&bench->fence, drc_index));
	if (!fence_answered(&bench->fence, drc_index))
		return false;
	devices_fence_answered(&bench->devices, 1);
	return true;
}

/* Time passes: the milliseconds to wait. */
static int64_t after_ms(struct bench *bench, uint64_t ms)
{
	return devices_check_fence(&bench->devices, clock_ms() + ms);
}

static uint32_t fence_after_ms(struct bench *bench, uint64_t ms)
{
	after_ms(bench, ms);
	return fetch_fence(bench);
}

static struct operation look(struct bench *bench, uint64_t id)
{
	struct operation copy = *ops_find(&bench->devices.ops, id);

	device_look_into(&bench->devices, &copy);
	return copy;
}

static void expect_pending(struct bench *bench, uint64_t id, const char *stuck)
{
	struct operation op = look(bench, id);
	char text[OP_STUCK_MAX];

	assert_int_equal(op.outcome, OP_PENDING);
	assert_string_equal(op_stuck_text(&op, text), stuck);
}

static void expect_end(
    struct bench *bench, uint64_t id, enum op_outcome outcome, enum op_source source)
{
	struct operation op = look(bench, id);

	assert_string_equal(op_outcome_name(op.outcome), op_outcome_name(outcome));
	assert_string_equal(op_source_name(op.evidence.source), op_source_name(source));
}

/* Added, and in use. */
static void add_in_use(struct bench *bench, uint32_t thing)
{
	uint64_t id = add(bench, thing);

	fetch(bench, thing);
	take(bench, thing);
	if (thing < CORES)
		call(bench, thing, DRC_IN_START);
	else
		assert_true(sense_block(bench, fence_after_ms(bench, 0)));
	assert_int_equal(look(bench, id).outcome, OP_DONE);
}

/* --- When it is sent ---------------------------------------------------------------------------
 */

static void none_is_sent_without_a_request_that_needs_it(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(after_ms(bench, 1000000), NEVER);
	add_in_use(bench, 0);
	assert_int_equal(after_ms(bench, 1000000), NEVER);
	/* Not fetched: the guest has not begun. */
	ask_back(bench, 0);
	assert_int_equal(after_ms(bench, 1000000), NEVER);
	fetch(bench, 0);
	release(bench, 0);
	assert_int_equal(after_ms(bench, 1000000), NEVER);
	expect_nothing(bench);
}

static void one_is_sent_a_second_after_an_event_was_fetched(void **state)
{
	struct bench *bench = *state;
	int64_t wait_ms;

	add_in_use(bench, 0);
	ask_back(bench, 0);
	fetch(bench, 0);
	wait_ms = after_ms(bench, 0);
	assert_in_range(wait_ms, 1, 1000);
	expect_nothing(bench);
	assert_int_equal(after_ms(bench, 1001), NEVER);
	assert_int_equal(after_ms(bench, 2000), NEVER);
	fetch_fence(bench);
	expect_nothing(bench);
}

static void one_is_sent_at_once_when_a_block_has_been_configured(void **state)
{
	struct bench *bench = *state;
	uint64_t id = add(bench, CORES);

	fetch(bench, CORES);
	take(bench, CORES);
	expect_pending(bench, id, "connector configured, not in use since");
	assert_true(sense_block(bench, fence_after_ms(bench, 0)));
	expect_end(bench, id, OP_DONE, OP_BY_FENCE);
}

static void each_has_an_index_of_its_own_in_turn(void **state)
{
	struct bench *bench = *state;
	uint32_t before = bench->fence.index;

	add_in_use(bench, 0);
	for (unsigned n = 0; n < 300; n++) {
		struct operation op;
		enum op_step step;
		uint32_t index;

		while (ops_next_report(&bench->devices.ops, true, &op, &step))
			assert_int_not_equal(op.id, 0); /* a slot is free when its end is told */

		ask_back(bench, 0);
		fetch(bench, 0);
		index = fence_after_ms(bench, 1001);
		assert_int_equal(index, FIRST_FENCE + (before - FIRST_FENCE + 1) % BOOT_BLOCKS);
		before = index;
		assert_true(sense_block(bench, index));
	}
}

static void only_one_is_on_its_way(void **state)
{
	struct bench *bench = *state;
	uint32_t first, second;
	uint64_t early, late;

	add_in_use(bench, 0);
	add_in_use(bench, 1);
	early = ask_back(bench, 0);
	fetch(bench, 0);
	first = fence_after_ms(bench, 1001);
	late = ask_back(bench, 1);
	fetch(bench, 1);
	/* It is awaited first. */
	after_ms(bench, 1001);
	expect_nothing(bench);
	assert_true(sense_block(bench, first));
	expect_end(bench, early, OP_REJECTED, OP_BY_FENCE);
	expect_pending(bench, late, "event fetched, no answer since");
	second = fence_after_ms(bench, 1001);
	assert_true(sense_block(bench, second));
	expect_end(bench, late, OP_REJECTED, OP_BY_FENCE);
}

static void one_that_is_not_answered_is_replaced_if_another_request_needs_it(void **state)
{
	struct bench *bench = *state;
	uint32_t lost, next;
	uint64_t id;

	add_in_use(bench, 0);
	add_in_use(bench, 1);
	ask_back(bench, 0);
	fetch(bench, 0);
	lost = fence_after_ms(bench, 1001);
	/* Nothing new is behind it. */
	assert_int_equal(after_ms(bench, 1000000), NEVER);
	id = ask_back(bench, 1);
	fetch(bench, 1);
	next = fence_after_ms(bench, 10001);
	assert_int_not_equal(lost, next);
	assert_false(sense_block(bench, lost));
	assert_int_equal(look(bench, id).outcome, OP_PENDING);
	assert_true(sense_block(bench, next));
	expect_end(bench, id, OP_REJECTED, OP_BY_FENCE);
}

/* --- What counts as its answer --------------------------------------------------------------- */

static void a_block_that_is_sensed_unasked_answers_nothing(void **state)
{
	struct bench *bench = *state;
	uint64_t id;
	uint32_t index;

	for (uint32_t n = 0; n < BOOT_BLOCKS; n++)
		assert_false(sense_block(bench, FIRST_FENCE + n));
	add_in_use(bench, 0);
	id = ask_back(bench, 0);
	fetch(bench, 0);
	after_ms(bench, 1001);
	/* Queued, not fetched. */
	for (uint32_t n = 0; n < BOOT_BLOCKS; n++)
		assert_false(sense_block(bench, FIRST_FENCE + n));
	index = fetch_fence(bench);
	for (uint32_t n = 0; n < BOOT_BLOCKS; n++)
		if (FIRST_FENCE + n != index)
			assert_false(sense_block(bench, FIRST_FENCE + n));
	expect_pending(bench, id,
	    "event fetched, no answer since; the guest has not answered the fence behind it "
	    "either");
	assert_true(sense_block(bench, index));
	assert_false(sense_block(bench, index));
	expect_end(bench, id, OP_REJECTED, OP_BY_FENCE);
}

static void a_new_kernel_does_not_answer_for_its_predecessor(void **state)
{
	struct bench *bench = *state;
	uint64_t id;
	uint32_t index;

	add_in_use(bench, 0);
	id = ask_back(bench, 0);
	fetch(bench, 0);
	index = fence_after_ms(bench, 1001);
	devices_announce(&bench->devices);
	assert_false(sense_block(bench, index));
	/* It is asked again, and has not read that. */
	expect_pending(bench, id, "event fetched, no answer since");
	after_ms(bench, 1000000);
	fetch(bench, 0);
	index = fence_after_ms(bench, 1001);
	assert_true(sense_block(bench, index));
	expect_end(bench, id, OP_REJECTED, OP_BY_FENCE);
}

/* --- What it ends ------------------------------------------------------------------------------
 */

static void a_refusal_in_silence_leaves_everything_as_it_was(void **state)
{
	struct bench *bench = *state;
	const struct drc before = {.attached = true, .state = DRC_CONFIGURED};
	uint64_t id;

	add_in_use(bench, 0);
	id = ask_back(bench, 0);
	fetch(bench, 0);
	assert_true(sense_block(bench, fence_after_ms(bench, 1001)));
	expect_end(bench, id, OP_REJECTED, OP_BY_FENCE);
	assert_memory_equal(&bench->things[0]->connectors->drc, &before, sizeof before);
	assert_int_equal(bench->things[0]->remove.operation, 0);
	/* Asked again, it is another operation, which the guest can carry out. */
	assert_int_not_equal(ask_back(bench, 0), id);
	fetch(bench, 0);
	release(bench, 0);
	assert_false(bench->things[0]->connectors->drc.attached);
}

static void an_isolated_connector_goes_back_to_where_it_was(void **state)
{
	struct bench *bench = *state;
	uint64_t id;

	add_in_use(bench, 0);
	id = ask_back(bench, 0);
	fetch(bench, 0);
	call(bench, 0, DRC_IN_ISOLATE);
	assert_true(sense_block(bench, fence_after_ms(bench, 1001)));
	expect_end(bench, id, OP_REJECTED, OP_BY_FENCE);
	assert_int_equal(bench->things[0]->connectors->drc.state, DRC_CONFIGURED);
}

static void an_add_that_was_dropped_leaves(void **state)
{
	struct bench *bench = *state;

	for (uint32_t thing = 0; thing < DEVICES; thing += CORES) {
		uint64_t id = add(bench, thing);

		fetch(bench, thing);
		assert_true(sense_block(bench, fence_after_ms(bench, 1001)));
		expect_end(bench, id, OP_REJECTED, OP_BY_FENCE);
		assert_true(look(bench, id).device_left);
		assert_false(bench->things[thing]->connectors->drc.attached);
	}
}

static void an_add_that_is_half_taken_stays_pending(void **state)
{
	struct bench *bench = *state;
	uint64_t id = add(bench, 0);

	fetch(bench, 0);
	call(bench, 0, DRC_IN_USABLE);
	assert_true(sense_block(bench, fence_after_ms(bench, 1001)));
	assert_int_equal(look(bench, id).outcome, OP_PENDING);
	assert_int_equal(look(bench, id).handling, OP_HANDLING_OVER);
	/* No fence tells more. */
	assert_int_equal(after_ms(bench, 1000000), NEVER);
}

static void a_block_that_is_configured_after_its_fence_gets_another(void **state)
{
	struct bench *bench = *state;
	uint64_t id = add(bench, CORES);

	fetch(bench, CORES);
	call(bench, CORES, DRC_IN_USABLE);
	call(bench, CORES, DRC_IN_UNISOLATE);
	assert_true(sense_block(bench, fence_after_ms(bench, 1001)));
	assert_int_equal(look(bench, id).outcome, OP_PENDING);
	call(bench, CORES, DRC_IN_CONFIGURE_END);
	assert_true(sense_block(bench, fence_after_ms(bench, 0)));
	expect_end(bench, id, OP_DONE, OP_BY_FENCE);
}

static void a_request_that_was_asked_again_is_judged_by_a_later_fence(void **state)
{
	struct bench *bench = *state;
	uint64_t id;
	uint32_t index;

	add_in_use(bench, 0);
	id = ask_back(bench, 0);
	fetch(bench, 0);
	index = fence_after_ms(bench, 1001);
	assert_int_equal(ask_back(bench, 0), id);
	/* Queued: not judged. */
	assert_true(sense_block(bench, index));
	assert_int_equal(look(bench, id).outcome, OP_PENDING);
	fetch(bench, 0);
	index = fence_after_ms(bench, 1001);
	assert_true(sense_block(bench, index));
	expect_end(bench, id, OP_REJECTED, OP_BY_FENCE);
}

static void a_request_fetched_behind_the_fence_is_not_judged_by_it(void **state)
{
	struct bench *bench = *state;
	uint64_t first, second;

	add_in_use(bench, 0);
	add_in_use(bench, 1);
	first = ask_back(bench, 0);
	fetch(bench, 0);
	after_ms(bench, 1001);
	second = ask_back(bench, 1);
	fetch_fence(bench);
	fetch(bench, 1);
	assert_true(sense_block(bench, bench->fence.index));
	expect_end(bench, first, OP_REJECTED, OP_BY_FENCE);
	assert_int_equal(look(bench, second).outcome, OP_PENDING);
}

static void a_late_release_is_honoured_and_reported(void **state)
{
	struct bench *bench = *state;
	uint64_t id, last;

	add_in_use(bench, 0);
	id = ask_back(bench, 0);
	fetch(bench, 0);
	assert_true(sense_block(bench, fence_after_ms(bench, 1001)));
	expect_end(bench, id, OP_REJECTED, OP_BY_FENCE);
	last = bench->devices.ops.last_id;
	release(bench, 0);
	assert_int_equal(bench->devices.ops.last_id, last + 1);
	assert_int_equal(look(bench, last + 1).kind, OP_RELEASE);
	assert_int_equal(look(bench, last + 1).outcome, OP_DONE);
}

/* --- What a pending request is told to wait for
 * --------------------------------------------------- */

static void a_guest_at_work_and_one_that_answers_no_fence_are_told_apart(void **state)
{
	struct bench *bench = *state;
	uint64_t id;
	uint32_t index;

	add_in_use(bench, 0);
	id = ask_back(bench, 0);
	fetch(bench, 0);
	index = fence_after_ms(bench, 1001);
	assert_int_equal(look(bench, id).handling, OP_HANDLING_NO_FENCE);
	assert_true(sense_block(bench, index));
	/* Now it is known to answer them. */
	id = ask_back(bench, 0);
	fetch(bench, 0);
	fence_after_ms(bench, 1001);
	expect_pending(
	    bench, id, "event fetched, no answer since; the guest is still at work on it");
}

static void a_request_behind_another_names_it(void **state)
{
	struct bench *bench = *state;
	uint64_t first, second;
	char text[OP_STUCK_MAX];
	struct operation op;

	add_in_use(bench, CORES);
	add_in_use(bench, 0);
	first = ask_back(bench, CORES);
	second = ask_back(bench, 0);
	fetch(bench, CORES);
	fetch(bench, 0);
	fence_after_ms(bench, 1001);
	op = look(bench, second);
	assert_int_equal(op.behind, first);
	assert_non_null(strstr(op_stuck_text(&op, text), "behind operation"));
	assert_int_equal(look(bench, first).behind, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(none_is_sent_without_a_request_that_needs_it),
	    TEST(one_is_sent_a_second_after_an_event_was_fetched),
	    TEST(one_is_sent_at_once_when_a_block_has_been_configured),
	    TEST(each_has_an_index_of_its_own_in_turn),
	    TEST(only_one_is_on_its_way),
	    TEST(one_that_is_not_answered_is_replaced_if_another_request_needs_it),
	    TEST(a_block_that_is_sensed_unasked_answers_nothing),
	    TEST(a_new_kernel_does_not_answer_for_its_predecessor),
	    TEST(a_refusal_in_silence_leaves_everything_as_it_was),
	    TEST(an_isolated_connector_goes_back_to_where_it_was),
	    TEST(an_add_that_was_dropped_leaves),
	    TEST(an_add_that_is_half_taken_stays_pending),
	    TEST(a_block_that_is_configured_after_its_fence_gets_another),
	    TEST(a_request_that_was_asked_again_is_judged_by_a_later_fence),
	    TEST(a_request_fetched_behind_the_fence_is_not_judged_by_it),
	    TEST(a_late_release_is_honoured_and_reported),
	    TEST(a_guest_at_work_and_one_that_answers_no_fence_are_told_apart),
	    TEST(a_request_behind_another_names_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
