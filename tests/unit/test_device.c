/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_device.c - operations that span several connectors, with a kind of device and a family of
 * connector that exist in tests only (pair_device.h). What an operation of a single connector does
 * is in test_core.c, and in the model.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_kvm.h"
#include "pair_device.h"
#include "spapr/event_log.h"

enum { PAIRS = 2, FIRST_INDEX = 0x90000000 };

struct bench {
	struct news news;
	struct events events;
	struct kvm_vm *vm;
	struct irqchip irqchip;
	struct fence fence;
	struct connectors connectors;
	struct devices devices;
	struct pair pairs[PAIRS];
	struct device *pair; /* the first one */
	unsigned wakes;
};

static void wake(void *context)
{
	((struct bench *)context)->wakes++;
}

static int bench_setup(void **state)
{
	struct bench *bench = calloc(1, sizeof *bench);
	struct err err = {0};

	assert_non_null(bench);
	fake_reset();
	news_init(&bench->news, wake, bench);
	assert_true(events_init(&bench->events, PAIRS * PAIR_HALVES, &bench->news));
	bench->vm = kvm_vm_create(0, &(struct kvm_mode){KVM_ACCEL_AUTO}, &err);
	assert_non_null(bench->vm);
	bench->events.irqchip = &bench->irqchip;
	assert_true(irqchip_create(
	    &bench->irqchip, bench->vm, 1, false, &(struct kvm_xics_tokens){1, 2, 3, 4}, &err));
	assert_true(irqchip_reset(&bench->irqchip, &err));
	assert_true(connectors_init(&bench->connectors, PAIRS * PAIR_HALVES, &bench->events));
	assert_true(
	    devices_init(&bench->devices, PAIRS, &bench->connectors, &bench->fence, &bench->news));
	fence_init(&bench->fence, &bench->events, 2);
	connectors_add_range(&bench->connectors, &drc_type_half, 0, 1, PAIRS * PAIR_HALVES);
	for (uint32_t i = 0; i < PAIRS; i++)
		device_create(&bench->devices, &device_type_pair, &bench->pairs[i], i,
		    i * PAIR_HALVES, PAIR_HALVES);
	bench->pair = &bench->devices.list[0];
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

static uint64_t add(struct bench *bench)
{
	struct err err = {0};
	uint64_t id = 0;

	assert_true(device_add(&bench->devices, bench->pair, "pair0", &id, &err));
	return id;
}

static uint64_t ask_back(struct bench *bench)
{
	struct err err = {0};
	uint64_t id = 0;

	assert_true(device_remove(&bench->devices, "pair0", &id, &err));
	return id;
}

static int32_t call(struct bench *bench, uint32_t half, enum drc_input input)
{
	const struct op_evidence by = {
	    .source = OP_BY_GUEST, .call = "set-indicator", .value = half, .vcpu = 5};

	return device_guest_input(&bench->devices, &bench->pair->connectors[half], input, &by);
}

static void take(struct bench *bench, uint32_t half)
{
	assert_int_equal(call(bench, half, DRC_IN_USABLE), RTAS_SUCCESS);
	assert_int_equal(call(bench, half, DRC_IN_UNISOLATE), RTAS_SUCCESS);
	assert_int_equal(call(bench, half, DRC_IN_CONFIGURE_END), RTAS_SUCCESS);
}

static void release(struct bench *bench, uint32_t half)
{
	assert_int_equal(call(bench, half, DRC_IN_ISOLATE), RTAS_SUCCESS);
	assert_int_equal(call(bench, half, DRC_IN_UNUSABLE), RTAS_SUCCESS);
}

/* Allocated, and given back: a refusal of the add. */
static void refuse_add(struct bench *bench, uint32_t half)
{
	assert_int_equal(call(bench, half, DRC_IN_USABLE), RTAS_SUCCESS);
	assert_int_equal(call(bench, half, DRC_IN_UNUSABLE), RTAS_SUCCESS);
}

static void add_in_use(struct bench *bench)
{
	add(bench);
	take(bench, 0);
	take(bench, 1);
	events_reset(&bench->events);
}

/* The next event is about this half: an add or a removal. */
static void expect_event(struct bench *bench, uint32_t half, bool removal)
{
	uint32_t number = UINT32_MAX;

	assert_int_equal(event_fetch(&bench->events, EVENT_MASK_HOTPLUG, &number), EVENT_HOTPLUG);
	assert_int_equal(number, half);
	assert_int_equal(device_event_fetched(&bench->devices, number), removal);
}

static const struct operation *expect(struct bench *bench, uint64_t id, enum op_outcome outcome)
{
	const struct operation *op = ops_find(&bench->devices.ops, id);

	assert_non_null(op);
	assert_string_equal(op_outcome_name(op->outcome), op_outcome_name(outcome));
	return op;
}

static void expect_refused(struct bench *bench, uint64_t id, uint32_t half, const char *inferred)
{
	const struct operation *op = expect(bench, id, OP_REJECTED);

	assert_int_equal(op->evidence.source, OP_BY_GUEST);
	assert_int_equal(op->evidence.value, half);
	assert_int_equal(op->evidence.vcpu, 5);
	assert_string_equal(op->evidence.inferred, inferred);
}

/* Both halves there and configured, or both gone; and nothing pending. */
static void expect_whole(struct bench *bench, bool there)
{
	for (uint32_t i = 0; i < PAIR_HALVES; i++) {
		const struct drc *drc = &bench->pair->connectors[i].drc;

		assert_int_equal(drc->attached, there);
		assert_int_equal(drc->state, there ? DRC_CONFIGURED : DRC_UNUSABLE);
		assert_false(drc->adding || drc->removing);
		assert_int_equal(bench->pair->connectors[i].awaited, 0);
		assert_int_equal(bench->pairs[0].here[i], there);
	}
	assert_string_equal(bench->pair->name, there ? "pair0" : "");
	assert_int_equal(bench->pair->add.operation, 0);
	assert_int_equal(bench->pair->remove.operation, 0);
}

/* --- Adding -------------------------------------------------------------------------------- */

static void an_add_is_done_when_both_halves_are(void **state)
{
	struct bench *bench = *state;
	uint64_t id = add(bench);

	assert_int_equal(bench->pairs[0].made, 1);
	expect_event(bench, 0, false);
	expect_event(bench, 1, false);
	take(bench, 1);
	expect(bench, id, OP_PENDING);
	take(bench, 0);
	expect(bench, id, OP_DONE);
	expect_whole(bench, true);
}

static void one_refusal_rejects_the_add_and_the_untouched_half_leaves(void **state)
{
	struct bench *bench = *state;
	uint64_t id = add(bench);

	refuse_add(bench, 1);
	expect_refused(bench, id, 1, "the second half");
	expect_whole(bench, false);
}

static void one_refusal_asks_the_configured_half_back(void **state)
{
	struct bench *bench = *state;
	uint64_t id = add(bench);

	expect_event(bench, 0, false);
	expect_event(bench, 1, false);
	take(bench, 0);
	refuse_add(bench, 1);
	expect(bench, id, OP_PENDING);
	expect_event(bench, 0, true);
	release(bench, 0);
	expect_refused(bench, id, 1, "the second half");
	expect_whole(bench, false);
	add_in_use(bench);
	expect_whole(bench, true);
}

static void one_refusal_asks_the_half_taken_half_back(void **state)
{
	struct bench *bench = *state;
	uint64_t id = add(bench);

	assert_int_equal(call(bench, 0, DRC_IN_USABLE), RTAS_SUCCESS);
	refuse_add(bench, 1);
	expect(bench, id, OP_PENDING);
	assert_int_equal(call(bench, 0, DRC_IN_UNUSABLE), RTAS_SUCCESS);
	expect_refused(bench, id, 1, "the second half");
	expect_whole(bench, false);
}

/* The guest refused one half, and does not give the other back: the operator can still ask. */
static void a_guest_that_keeps_a_half_ends_the_add_all_the_same(void **state)
{
	struct bench *bench = *state;
	uint64_t id = add(bench);

	take(bench, 0);
	refuse_add(bench, 1);
	assert_int_equal(call(bench, 0, DRC_IN_UNISOLATE), RTAS_SUCCESS);
	expect_refused(bench, id, 1, "the second half");
	assert_string_equal(bench->pair->name, "pair0");
	id = ask_back(bench);
	release(bench, 0);
	expect(bench, id, OP_DONE);
	expect_whole(bench, false);
}

static void an_add_is_cancelled_as_a_whole_or_not_at_all(void **state)
{
	struct bench *bench = *state;
	struct err err = {0};
	uint64_t id = add(bench);

	assert_int_equal(call(bench, 1, DRC_IN_USABLE), RTAS_SUCCESS);
	assert_false(device_cancel(&bench->devices, id, &err));
	assert_non_null(strstr(err.message, "the guest has already taken the pair"));
	assert_true(bench->pair->connectors[0].drc.adding);
	assert_int_equal(call(bench, 1, DRC_IN_UNUSABLE), RTAS_SUCCESS);
	expect_refused(bench, id, 1, "the second half");
	id = add(bench);
	assert_true(device_cancel(&bench->devices, id, &err));
	expect(bench, id, OP_CANCELLED);
	expect_whole(bench, false);
}

static void what_cannot_be_made_is_not_added(void **state)
{
	struct bench *bench = *state;
	struct err err = {0};
	uint64_t id = 0;

	bench->pairs[0].attach_fails = true;
	assert_false(device_add(&bench->devices, bench->pair, "pair0", &id, &err));
	assert_string_equal(err.message, "no pair today");
	assert_int_equal(id, 0);
	expect_whole(bench, false);
}

/* --- Removing ------------------------------------------------------------------------------ */

static void a_removal_is_done_when_both_halves_have_left(void **state)
{
	struct bench *bench = *state;
	uint64_t id;

	add_in_use(bench);
	id = ask_back(bench);
	expect_event(bench, 0, true);
	expect_event(bench, 1, true);
	release(bench, 1);
	expect(bench, id, OP_PENDING);
	assert_false(bench->pairs[0].here[1]);
	assert_int_equal(ask_back(bench), id);
	release(bench, 0);
	expect(bench, id, OP_DONE);
	expect_whole(bench, false);
}

static void one_refusal_rejects_the_removal(void **state)
{
	struct bench *bench = *state;
	uint64_t id;

	add_in_use(bench);
	id = ask_back(bench);
	assert_int_equal(call(bench, 0, DRC_IN_UNISOLATE), RTAS_SUCCESS);
	expect_refused(bench, id, 0, "the first half");
	expect_whole(bench, true);
	/* Without a request this family cannot be isolated. */
	assert_int_equal(call(bench, 1, DRC_IN_ISOLATE), RTAS_HARDWARE_ERROR);
}

static void one_refusal_gives_the_released_half_back(void **state)
{
	struct bench *bench = *state;
	uint64_t id;

	add_in_use(bench);
	id = ask_back(bench);
	expect_event(bench, 0, true);
	expect_event(bench, 1, true);
	release(bench, 0);
	assert_int_equal(call(bench, 1, DRC_IN_UNISOLATE), RTAS_SUCCESS);
	expect(bench, id, OP_PENDING);
	assert_true(bench->pairs[0].here[0]);
	expect_event(bench, 0, false);
	take(bench, 0);
	expect_refused(bench, id, 1, "the second half");
	expect_whole(bench, true);
}

static void a_cancelled_removal_gives_the_released_half_back(void **state)
{
	struct bench *bench = *state;
	struct err err = {0};
	uint64_t id;

	add_in_use(bench);
	id = ask_back(bench);
	release(bench, 1);
	assert_true(device_cancel(&bench->devices, id, &err));
	expect(bench, id, OP_PENDING);
	assert_false(device_cancel(&bench->devices, id, &err));
	take(bench, 1);
	expect(bench, id, OP_CANCELLED);
	expect_whole(bench, true);
}

static void a_removal_takes_an_untaken_add_with_it(void **state)
{
	struct bench *bench = *state;
	uint64_t added = add(bench), removed = ask_back(bench);

	expect(bench, added, OP_CANCELLED);
	expect(bench, removed, OP_DONE);
	expect_whole(bench, false);
}

static void a_type_can_refuse_a_removal(void **state)
{
	struct bench *bench = *state;
	struct err err = {0};
	uint64_t id = 0;

	add_in_use(bench);
	bench->pairs[0].busy = true;
	assert_false(device_remove(&bench->devices, "pair0", &id, &err));
	assert_string_equal(err.message, "pair 0 is busy");
	expect_whole(bench, true);
}

/* --- Both at once -------------------------------------------------------------------------- */

static void an_add_ends_when_the_half_asked_back_for_it_stays(void **state)
{
	struct bench *bench = *state;
	uint64_t addition = add(bench), removal;

	take(bench, 0);
	refuse_add(bench, 1);
	removal = ask_back(bench);
	/* The guest keeps half 0: that settles both. */
	assert_int_equal(call(bench, 0, DRC_IN_UNISOLATE), RTAS_SUCCESS);
	expect(bench, addition, OP_REJECTED);
	expect(bench, removal, OP_REJECTED);
	assert_int_equal(bench->pair->connectors[0].awaited, 0);
}

static void a_refused_removal_gives_back_what_it_took_and_no_more(void **state)
{
	struct bench *bench = *state;
	uint64_t removal;

	add(bench);
	take(bench, 0);
	refuse_add(bench, 1);
	assert_int_equal(call(bench, 0, DRC_IN_UNISOLATE), RTAS_SUCCESS);
	assert_true(bench->pairs[0].here[0] && !bench->pairs[0].here[1]);
	removal = ask_back(bench);
	assert_int_equal(call(bench, 0, DRC_IN_UNISOLATE), RTAS_SUCCESS);
	expect(bench, removal, OP_REJECTED);
	/* Half 1 was not there before the request. */
	assert_true(bench->pairs[0].here[0] && !bench->pairs[0].here[1]);
	assert_int_equal(bench->pair->remove.operation, 0);
}

static void what_is_there_is_not_added_again(void **state)
{
	struct bench *bench = *state;
	struct err err = {0};
	uint64_t id = 0;

	add_in_use(bench);
	assert_false(device_add(&bench->devices, bench->pair, "other", &id, &err));
	assert_string_equal(err.message, "pair 0 already populated");
	expect_whole(bench, true);
}

/* --- Reset --------------------------------------------------------------------------------- */

static void a_reset_completes_what_was_being_added(void **state)
{
	struct bench *bench = *state;
	uint64_t id = add(bench);

	take(bench, 1);
	devices_reset(&bench->devices);
	expect(bench, id, OP_SUPERSEDED);
	expect_whole(bench, true);
}

static void a_reset_completes_what_was_being_removed(void **state)
{
	struct bench *bench = *state;
	uint64_t id;

	add_in_use(bench);
	id = ask_back(bench);
	release(bench, 0);
	devices_reset(&bench->devices);
	expect(bench, id, OP_SUPERSEDED);
	expect_whole(bench, false);
}

static void a_reset_completes_what_was_being_brought_back(void **state)
{
	struct bench *bench = *state;
	uint64_t id = add(bench);

	take(bench, 0);
	refuse_add(bench, 1);
	devices_reset(&bench->devices);
	expect_refused(bench, id, 1, "the second half");
	expect_whole(bench, false);

	add_in_use(bench);
	id = ask_back(bench);
	release(bench, 0);
	assert_int_equal(call(bench, 1, DRC_IN_UNISOLATE), RTAS_SUCCESS);
	devices_reset(&bench->devices);
	expect_refused(bench, id, 1, "the second half");
	expect_whole(bench, true);
}

/* --- The joint ----------------------------------------------------------------------------- */

static void connectors_are_found_by_index(void **state)
{
	struct bench *bench = *state;

	for (uint32_t i = 0; i < PAIRS * PAIR_HALVES; i++)
		assert_ptr_equal(connector_find(&bench->connectors, FIRST_INDEX + i),
		    &bench->connectors.list[i]);
	assert_null(connector_find(&bench->connectors, FIRST_INDEX - 1));
	assert_null(connector_find(&bench->connectors, FIRST_INDEX + PAIRS * PAIR_HALVES));
	assert_null(connector_find(&bench->connectors, 0x10000000));
	assert_ptr_equal(bench->connectors.list[2].device, &bench->devices.list[1]);
}

static void the_family_decides_what_event_and_sensor_say(void **state)
{
	struct bench *bench = *state;
	struct event_log log;
	struct tm now = {0};

	assert_int_equal(drc_type_half.sense(&bench->pair->connectors[0].drc), DRC_SENSE_EMPTY);
	add(bench);
	assert_int_equal(drc_type_half.sense(&bench->pair->connectors[0].drc), DRC_SENSE_PRESENT);
	event_log_hotplug(&log, 1, &now, &drc_type_half, FIRST_INDEX, false);
	assert_int_equal(log.body.hotplug.type, 77);
	assert_int_equal(from_be32(log.body.hotplug.drc_index), FIRST_INDEX);
}

static void check_counts(const struct bench *bench)
{
	const struct device *pair = bench->pair;
	uint32_t for_add = 0, for_remove = 0, attached = 0;

	for (uint32_t i = 0; i < PAIR_HALVES; i++) {
		for_add += pair->connectors[i].awaited & 1;
		for_remove += pair->connectors[i].awaited >> 1 & 1;
		attached += pair->connectors[i].drc.attached;
		assert_true(drc_valid(&pair->connectors[i].drc));
		assert_int_equal(bench->pairs[0].here[i], pair->connectors[i].drc.attached);
	}
	assert_int_equal(pair->add.left, for_add);
	assert_int_equal(pair->remove.left, for_remove);
	assert_int_equal(pair->add.operation != 0, for_add > 0);
	assert_int_equal(pair->remove.operation != 0, for_remove > 0);
	assert_int_equal(pair->name[0] != '\0', attached > 0);
}

/* Whatever the two parties do in whatever order, an operation waits for exactly those connectors
 * that it counts, and ends. */
static void expect_nothing_pending_after_reset(struct bench *bench)
{
	devices_reset(&bench->devices);
	check_counts(bench);
	assert_int_equal(bench->pair->add.operation | bench->pair->remove.operation, 0);
}

/* Returns how many operations have ended. */
static uint64_t act_at_random(struct bench *bench, uint64_t random, unsigned turns)
{
	static const char *const names[] = {"pair0", "other"};
	uint64_t id = 0, ended = 0;
	struct operation op;
	enum op_step step;

	for (unsigned turn = 0; turn < turns; turn++) {
		struct err err = {0};
		const char *name;
		uint32_t half;

		random = random * 6364136223846793005u + 1442695040888963407u;
		half = (uint32_t)(random >> 40 & 1);
		name = names[random >> 41 & 1];
		switch (random >> 50 & 31) {
		case 0: device_add(&bench->devices, bench->pair, name, &id, &err); break;
		case 1: device_remove(&bench->devices, name, &id, &err); break;
		case 2: device_cancel(&bench->devices, bench->pair->add.operation, &err); break;
		case 3: device_cancel(&bench->devices, bench->pair->remove.operation, &err); break;
		case 4:
			if ((random >> 60) == 0)
				expect_nothing_pending_after_reset(bench);
			break;
		default: call(bench, half, (enum drc_input)(random >> 45 & 31) % DRC_IN_ATTACH);
		}
		check_counts(bench);
		while (ops_next_report(&bench->devices.ops, true, &op, &step))
			ended += step == OP_ENDED && op.kind <= OP_REMOVE;
	}
	expect_nothing_pending_after_reset(bench);
	return ended;
}

static void counts_hold_in_any_order(void **state)
{
	uint64_t ended = 0;

	/* Short runs, because a long one has few resets from unusual states. */
	for (uint64_t seed = 293000; seed < 293100; seed++)
		ended += act_at_random(*state, seed, 3000);
	print_message("# %llu operations ended\n", (unsigned long long)ended);
	assert_true(ended > 1000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(an_add_is_done_when_both_halves_are),
	    TEST(one_refusal_rejects_the_add_and_the_untouched_half_leaves),
	    TEST(one_refusal_asks_the_configured_half_back),
	    TEST(one_refusal_asks_the_half_taken_half_back),
	    TEST(a_guest_that_keeps_a_half_ends_the_add_all_the_same),
	    TEST(an_add_is_cancelled_as_a_whole_or_not_at_all),
	    TEST(what_cannot_be_made_is_not_added),
	    TEST(a_removal_is_done_when_both_halves_have_left),
	    TEST(one_refusal_rejects_the_removal),
	    TEST(one_refusal_gives_the_released_half_back),
	    TEST(a_cancelled_removal_gives_the_released_half_back),
	    TEST(a_removal_takes_an_untaken_add_with_it),
	    TEST(a_type_can_refuse_a_removal),
	    TEST(an_add_ends_when_the_half_asked_back_for_it_stays),
	    TEST(a_refused_removal_gives_back_what_it_took_and_no_more),
	    TEST(what_is_there_is_not_added_again),
	    TEST(a_reset_completes_what_was_being_added),
	    TEST(a_reset_completes_what_was_being_removed),
	    TEST(a_reset_completes_what_was_being_brought_back),
	    TEST(connectors_are_found_by_index),
	    TEST(the_family_decides_what_event_and_sensor_say),
	    TEST(counts_hold_in_any_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
