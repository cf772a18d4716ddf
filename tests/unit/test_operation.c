/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_operation.c - operations: ids, slots, outcomes. An id means one operation for ever, an
 * operation ends once, and no guest can push the operator's own out. Time is a made-up number.
 */
#include "operation_book.h"

/* Begin, end and report one; returns its id. */
static uint64_t complete(struct book *book, enum op_kind kind, uint64_t now_ms)
{
	struct operation *op = begin(book, kind, now_ms);
	uint64_t id;

	assert_non_null(op);
	id = op->id;
	op_end(&book->ops, op, OP_DONE, &by_guest, now_ms);
	report_all(book);
	return id;
}

static size_t count_of(const struct book *book, enum op_kind kind)
{
	size_t count = 0;

	for (size_t i = 0; i < SLOTS; i++)
		count += book->slots[i].id != 0 && book->slots[i].kind == kind;
	return count;
}

/* --- Ids and slots --------------------------------------------------------------------------- */

static void an_id_is_never_used_again(void **state)
{
	struct book *book = *state;
	uint64_t last = 0;

	for (unsigned i = 0; i < 10 * SLOTS; i++) {
		uint64_t id = complete(book, i % 3 ? OP_REMOVE : OP_TAKE, i);

		assert_true(id > last);
		last = id;
	}
	assert_null(ops_find(&book->ops, 0));
	assert_null(ops_find(&book->ops, last + 1));
	assert_non_null(ops_find(&book->ops, last));
	assert_null(ops_find(&book->ops, 1)); /* long forgotten */
}

static void operations_are_met_in_the_order_they_began(void **state)
{
	struct book *book = *state;
	const struct operation *op = NULL;
	uint64_t last = 0;

	assert_null(ops_after(&book->ops, 0));
	for (unsigned i = 0; i < SLOTS + 3; i++)
		last = complete(book, OP_ADD, i);
	/* Three have made room: the slots are not in order any more. */
	for (uint64_t id = last - SLOTS + 1; id <= last; id++) {
		op = ops_after(&book->ops, op != NULL ? op->id : 0);
		assert_non_null(op);
		assert_int_equal(op->id, id);
	}
	assert_null(ops_after(&book->ops, last));
}

static void a_new_operation_says_what_was_asked_of_whom(void **state)
{
	struct book *book = *state;
	struct operation *op = ops_begin(
	    &book->ops, OP_REMOVE, &(struct op_subject){0x1000000c, "core", 12, "core3"}, 77);

	assert_int_equal(op->kind, OP_REMOVE);
	assert_int_equal(op->outcome, OP_PENDING);
	assert_int_equal(op->drc_index, 0x1000000c);
	assert_int_equal(op->unit, 12);
	assert_string_equal(op->device, "core3");
	assert_int_equal(op->phase, OP_REQUESTED);
	assert_int_equal(op->asked_ms, 77);
	assert_int_equal(op->notifications, 0);
	assert_false(op->unresolved);
	assert_int_equal(op->evidence.source, OP_BY_NOBODY);
	assert_ptr_equal(ops_find(&book->ops, op->id), op);
}

static void long_device_names_are_cut_and_terminated(void **state)
{
	struct book *book = *state;

	for (size_t length = OP_DEVICE_MAX - 2; length <= OP_DEVICE_MAX + 40; length++) {
		char name[OP_DEVICE_MAX + 41];
		struct operation *op;

		memset(name, 'x', length);
		name[length] = '\0';
		op = ops_begin(&book->ops, OP_ADD, &(struct op_subject){INDEX, "core", 8, name}, 0);
		assert_non_null(op);
		assert_int_equal(strnlen(op->device, OP_DEVICE_MAX),
		    length < OP_DEVICE_MAX ? length : OP_DEVICE_MAX - 1);
		assert_memory_equal(op->device, name, strlen(op->device));
		op_end(&book->ops, op, OP_DONE, &by_guest, 0);
		report_all(book);
	}
}

static void what_is_pending_is_never_forgotten(void **state)
{
	struct book *book = *state;

	for (unsigned i = 0; i < SLOTS; i++)
		assert_non_null(begin(book, OP_REMOVE, i));
	report_all(book);
	assert_null(begin(book, OP_REMOVE, SLOTS));
	for (uint64_t id = 1; id <= SLOTS; id++)
		assert_int_equal(ops_find(&book->ops, id)->outcome, OP_PENDING);
}

static void what_has_ended_but_was_not_reported_is_never_forgotten(void **state)
{
	struct book *book = *state;

	for (unsigned i = 0; i < SLOTS; i++)
		op_end(&book->ops, begin(book, OP_REMOVE, i), OP_DONE, &by_guest, i);
	assert_null(begin(book, OP_REMOVE, SLOTS));
	for (uint64_t id = 1; id <= SLOTS; id++)
		expect_report(book, id, OP_REQUESTED), expect_report(book, id, OP_ENDED);
	assert_non_null(begin(book, OP_REMOVE, SLOTS));
}

static void the_oldest_that_has_ended_makes_room(void **state)
{
	struct book *book = *state;
	uint64_t pending = begin(book, OP_REMOVE, 0)->id;

	for (unsigned i = 1; i < SLOTS; i++)
		complete(book, OP_REMOVE, i);
	assert_non_null(begin(book, OP_REMOVE, SLOTS));
	assert_non_null(ops_find(&book->ops, pending));
	assert_null(ops_find(&book->ops, pending + 1));
	assert_non_null(ops_find(&book->ops, pending + 2));
}

static void a_slot_starts_clean_when_it_is_used_again(void **state)
{
	struct book *book = *state;
	struct operation *op;

	for (unsigned i = 0; i < SLOTS; i++) {
		op = begin(book, OP_REMOVE, i);
		op_pass(&book->ops, op, OP_NOTIFIED, i);
		op_pass(&book->ops, op, OP_UNRESOLVED, i);
		op_end(&book->ops, op, OP_REJECTED, &by_guest, i);
		report_all(book);
	}
	op = begin(book, OP_ADD, 99);
	assert_int_equal(op->outcome, OP_PENDING);
	assert_int_equal(op->notifications, 0);
	assert_int_equal(op->evidence.source, OP_BY_NOBODY);
	for (size_t step = 0; step < OP_STEP_COUNT; step++)
		assert_int_equal(op->steps[step].order != 0, step == OP_REQUESTED);
}

static void a_guest_gets_a_quarter_of_the_slots(void **state)
{
	struct book *book = *state;

	for (unsigned i = 0; i < SLOTS / 4; i++)
		assert_non_null(begin(book, i % 2 ? OP_TAKE : OP_RELEASE, i));
	assert_null(begin(book, OP_RELEASE, 5));
	assert_null(begin(book, OP_TAKE, 6));
	/* The rest is the operator's. */
	for (unsigned i = 0; i < SLOTS - SLOTS / 4; i++)
		assert_non_null(begin(book, OP_REMOVE, i));
	assert_null(begin(book, OP_ADD, 7));
}

static void a_guest_cannot_push_the_operators_history_out(void **state)
{
	struct book *book = *state;

	for (unsigned i = 0; i < SLOTS; i++)
		complete(book, OP_REMOVE, i);
	for (unsigned i = 0; i < 100; i++)
		assert_null(begin(book, OP_RELEASE, i));
	assert_int_equal(count_of(book, OP_REMOVE), SLOTS);
}

static void the_operator_does_not_push_the_guests_history_out(void **state)
{
	struct book *book = *state;

	for (unsigned i = 0; i < 100; i++)
		complete(book, OP_RELEASE, i);
	for (unsigned i = 0; i < 100; i++)
		complete(book, OP_REMOVE, i);
	assert_int_equal(count_of(book, OP_RELEASE), SLOTS / 4);
	assert_int_equal(count_of(book, OP_REMOVE), SLOTS - SLOTS / 4);
}

static enum op_noted note(struct book *book, enum op_kind kind, uint32_t core_id, uint64_t now_ms)
{
	const struct op_subject subject = {0x10000000 + core_id, "core", core_id, "core"};

	return ops_note_guest(&book->ops, kind, &subject,
	    kind == OP_TAKE ? OP_CONFIGURED : OP_RELEASED, false, &by_guest, now_ms);
}

static void without_a_slot_what_the_guest_made_is_not_noted(void **state)
{
	struct book *book = *state;

	while (begin(book, OP_REMOVE, 0) != NULL)
		;
	assert_int_equal(note(book, OP_TAKE, 0, 0), OP_NOT_NOTED);
}

static void what_a_guest_repeats_is_one_operation(void **state)
{
	struct book *book = *state;
	const struct operation *release, *take;

	assert_int_equal(note(book, OP_RELEASE, 1, 10), OP_NOTED);
	assert_int_equal(note(book, OP_TAKE, 1, 11), OP_NOTED);
	release = ops_find(&book->ops, 1);
	take = ops_find(&book->ops, 2);
	for (unsigned i = 1; i < 1000; i++) {
		assert_int_equal(note(book, OP_RELEASE, 1, 20 + i), OP_NOTED_MERGED);
		assert_int_equal(note(book, OP_TAKE, 1, 20 + i), OP_NOTED_MERGED);
	}
	assert_int_equal(release->times, 1000);
	assert_int_equal(take->times, 1000);
	assert_int_equal(take->outcome, OP_DONE);
	assert_int_equal(take->evidence.elapsed_ms, 0);
	assert_null(ops_find(&book->ops, 3));
	for (uint64_t id = 1; id <= 2; id++) {
		expect_report(book, id, OP_REQUESTED);
		expect_report(book, id, id == 1 ? OP_RELEASED : OP_CONFIGURED);
		expect_report(book, id, OP_ENDED);
	}
	expect_no_report(book);
	/* Once it was reported, one more time is news; for another connector it is another. */
	assert_int_equal(note(book, OP_RELEASE, 1, 2000), OP_NOTED);
	assert_int_equal(note(book, OP_RELEASE, 2, 2000), OP_NOTED);
	expect_report(book, 1, OP_ENDED);
	expect_report(book, 3, OP_REQUESTED);
	assert_int_equal(release->times, 1001);
}

static void what_the_guest_made_can_be_left_for_later(void **state)
{
	struct book *book = *state;
	struct operation op;
	enum op_step step;
	uint64_t id;

	note(book, OP_RELEASE, 1, 0);
	id = begin(book, OP_REMOVE, 1)->id;
	assert_true(ops_next_report(&book->ops, false, &op, &step));
	assert_int_equal(op.id, id);
	assert_false(ops_next_report(&book->ops, false, &op, &step));
	expect_report(book, 1, OP_REQUESTED);
}

static void time_does_not_run_while_the_machine_stands_still(void **state)
{
	struct book *book = *state;
	struct operation *early = begin(book, OP_REMOVE, 1000), *late;

	/* It stood still from 3000 to 63000, and something was asked for at 50000. */
	late = begin(book, OP_REMOVE, 50000);
	ops_stood_still(&book->ops, 60000, 63000);
	assert_int_equal(ops_check_deadline(&book->ops, 15000, 63000), 13000);
	assert_int_equal(ops_check_deadline(&book->ops, 15000, 76000), 2000);
	assert_true(early->unresolved);
	assert_false(late->unresolved);
	assert_int_equal(ops_check_deadline(&book->ops, 15000, 78000), -1);
	assert_true(late->unresolved);
}

/* --- Outcomes -------------------------------------------------------------------------------- */

static void an_operation_ends_once(void **state)
{
	struct book *book = *state;
	struct operation *op = begin(book, OP_REMOVE, 100);

	op_pass(&book->ops, op, OP_NOTIFIED, 101);
	op_pass(&book->ops, op, OP_FETCHED, 105);
	op_end(&book->ops, op, OP_REJECTED, &by_guest, 140);
	op_end(&book->ops, op, OP_SUPERSEDED, &by_reset, 150);
	assert_int_equal(op->outcome, OP_REJECTED);
	assert_int_equal(op->evidence.source, OP_BY_GUEST);
	assert_int_equal(op->evidence.elapsed_ms, 40);
	assert_int_equal(op->steps[OP_ENDED].at_ms, 140);
	report_all(book);
	op_end(&book->ops, op, OP_SUPERSEDED, &by_reset, 160);
	expect_no_report(book);
}

static void the_outcome_carries_its_evidence(void **state)
{
	struct book *book = *state;
	struct operation *op = begin(book, OP_REMOVE, 100);

	op_pass(&book->ops, op, OP_NOTIFIED, 101);
	op_pass(&book->ops, op, OP_FETCHED, 105);
	op_pass(&book->ops, op, OP_STOPPED, 120);
	op_pass(&book->ops, op, OP_UNRESOLVED, 130);
	op_end(&book->ops, op, OP_REJECTED, &by_guest, 1140);
	assert_int_equal(op->evidence.phase, OP_STOPPED);
	assert_int_equal(op->evidence.elapsed_ms, 1040);
	assert_string_equal(op->evidence.call, "set-indicator");
	assert_int_equal(op->evidence.indicator, 9001);
	assert_int_equal(op->evidence.value, 1);
	assert_int_equal(op->evidence.vcpu, 3);
	assert_int_equal(op->evidence.parts_used, 2);
	assert_int_equal(op->evidence.parts, 4);
	assert_false(op->unresolved);
}

static void elapsed_time_counts_from_the_request_not_from_the_last_ask(void **state)
{
	struct book *book = *state;
	struct operation *op = begin(book, OP_REMOVE, 1000);

	op_ask_again(op, 21000);
	op_end(&book->ops, op, OP_DONE, &by_guest, 21500);
	assert_int_equal(op->evidence.elapsed_ms, 20500);
}

static void news_for_no_operation_is_ignored(void **state)
{
	struct book *book = *state;

	op_pass(&book->ops, NULL, OP_ISOLATED, 1);
	op_end(&book->ops, NULL, OP_DONE, &by_guest, 2);
	expect_no_report(book);
}

/* --- Words ----------------------------------------------------------------------------------- */

#define TEST(name) cmocka_unit_test_setup(name, open_book)

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    TEST(an_id_is_never_used_again),
	    TEST(operations_are_met_in_the_order_they_began),
	    TEST(a_new_operation_says_what_was_asked_of_whom),
	    TEST(long_device_names_are_cut_and_terminated),
	    TEST(what_is_pending_is_never_forgotten),
	    TEST(what_has_ended_but_was_not_reported_is_never_forgotten),
	    TEST(the_oldest_that_has_ended_makes_room),
	    TEST(a_slot_starts_clean_when_it_is_used_again),
	    TEST(a_guest_gets_a_quarter_of_the_slots),
	    TEST(a_guest_cannot_push_the_operators_history_out),
	    TEST(the_operator_does_not_push_the_guests_history_out),
	    TEST(without_a_slot_what_the_guest_made_is_not_noted),
	    TEST(what_a_guest_repeats_is_one_operation),
	    TEST(what_the_guest_made_can_be_left_for_later),
	    TEST(time_does_not_run_while_the_machine_stands_still),
	    TEST(an_operation_ends_once),
	    TEST(the_outcome_carries_its_evidence),
	    TEST(elapsed_time_counts_from_the_request_not_from_the_last_ask),
	    TEST(news_for_no_operation_is_ignored),
	};

	return cmocka_run_group_tests_name("operation", tests, NULL, NULL);
}
