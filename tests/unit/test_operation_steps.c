/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_operation_steps.c - operations: every step is reported exactly once and in the order in
 * which things happened, and a deadline changes only what is reported. Time is a made-up number.
 */
#include "operation_book.h"

/* --- Steps and reports ----------------------------------------------------------------------- */

static void steps_are_reported_once_and_in_order(void **state)
{
	static const enum op_step way[] = {
	    OP_NOTIFIED, OP_FETCHED, OP_STOPPED, OP_ISOLATED, OP_RELEASED};
	struct book *book = *state;
	struct operation *op = begin(book, OP_REMOVE, 0);

	for (size_t i = 0; i < sizeof way / sizeof way[0]; i++) {
		op_pass(&book->ops, op, way[i], i + 1);
		assert_int_equal(op->phase, way[i]);
	}
	op_end(&book->ops, op, OP_DONE, &by_guest, 9);
	expect_report(book, op->id, OP_REQUESTED);
	for (size_t i = 0; i < sizeof way / sizeof way[0]; i++)
		expect_report(book, op->id, way[i]);
	expect_report(book, op->id, OP_ENDED);
	expect_no_report(book);
}

/* The guest may do things in any order; what is told is the order it did them in. */
static void steps_are_reported_in_the_order_they_happened(void **state)
{
	struct book *book = *state;
	struct operation *op = begin(book, OP_ADD, 0);

	op_pass(&book->ops, op, OP_CONFIGURED, 1);
	op_pass(&book->ops, op, OP_FETCHED, 2);
	op_pass(&book->ops, op, OP_ALLOCATED, 3);
	expect_report(book, op->id, OP_REQUESTED);
	expect_report(book, op->id, OP_CONFIGURED);
	expect_report(book, op->id, OP_FETCHED);
	expect_report(book, op->id, OP_ALLOCATED);
	expect_no_report(book);
}

static void reports_of_several_operations_interleave_as_they_happened(void **state)
{
	struct book *book = *state;
	struct operation *first = begin(book, OP_REMOVE, 10);
	struct operation *second = begin(book, OP_ADD, 10);

	op_pass(&book->ops, second, OP_NOTIFIED, 10);
	op_pass(&book->ops, first, OP_NOTIFIED, 10);
	op_end(&book->ops, second, OP_CANCELLED, &by_reset, 10);
	op_pass(&book->ops, first, OP_FETCHED, 10);
	expect_report(book, first->id, OP_REQUESTED);
	expect_report(book, second->id, OP_REQUESTED);
	expect_report(book, second->id, OP_NOTIFIED);
	expect_report(book, first->id, OP_NOTIFIED);
	expect_report(book, second->id, OP_ENDED);
	expect_report(book, first->id, OP_FETCHED);
	expect_no_report(book);
}

static void what_a_report_hands_out_is_a_copy(void **state)
{
	struct book *book = *state;
	struct operation *op = begin(book, OP_REMOVE, 5), copy;
	enum op_step step;

	assert_true(ops_next_report(&book->ops, true, &copy, &step));
	assert_int_equal(copy.id, op->id);
	assert_string_equal(copy.device, "core1");
	copy.outcome = OP_DONE;
	assert_int_equal(op->outcome, OP_PENDING);
}

static void a_guest_going_in_circles_makes_no_more_news(void **state)
{
	struct book *book = *state;
	struct operation *op = begin(book, OP_REMOVE, 0);

	for (unsigned i = 1; i < 1000; i++) {
		op_pass(&book->ops, op, OP_STOPPED, i);
		op_pass(&book->ops, op, OP_ISOLATED, i);
		op_pass(&book->ops, op, OP_STARTED, i);
	}
	expect_report(book, op->id, OP_REQUESTED);
	expect_report(book, op->id, OP_STOPPED);
	expect_report(book, op->id, OP_ISOLATED);
	expect_report(book, op->id, OP_STARTED);
	expect_no_report(book);
	assert_int_equal(op->steps[OP_STOPPED].at_ms, 1);
}

static void each_notification_counts_and_is_news(void **state)
{
	struct book *book = *state;
	struct operation *op = begin(book, OP_REMOVE, 0);

	expect_report(book, op->id, OP_REQUESTED);
	for (unsigned i = 1; i <= 3; i++) {
		op_pass(&book->ops, op, OP_NOTIFIED, 100 * i);
		assert_int_equal(op->notifications, i);
		assert_int_equal(op->steps[OP_NOTIFIED].at_ms, 100 * i);
		expect_report(book, op->id, OP_NOTIFIED);
		expect_no_report(book);
	}
}

/* --- Deadlines ------------------------------------------------------------------------------- */

static void past_the_deadline_it_is_unresolved_and_stays_pending(void **state)
{
	struct book *book = *state;
	struct operation *op = begin(book, OP_REMOVE, 1000);

	report_all(book);
	assert_int_equal(ops_check_deadline(&book->ops, DEADLINE_MS, 1000), DEADLINE_MS);
	assert_int_equal(ops_check_deadline(&book->ops, DEADLINE_MS, 15999), 1);
	assert_false(op->unresolved);
	expect_no_report(book);
	assert_int_equal(ops_check_deadline(&book->ops, DEADLINE_MS, 16000), -1);
	assert_true(op->unresolved);
	assert_int_equal(op->outcome, OP_PENDING);
	assert_int_equal(op->phase, OP_REQUESTED); /* where it is stuck */
	expect_report(book, op->id, OP_UNRESOLVED);
	/* Once is enough. */
	assert_int_equal(ops_check_deadline(&book->ops, DEADLINE_MS, 99000), -1);
	expect_no_report(book);
}

static void a_late_answer_still_counts(void **state)
{
	struct book *book = *state;
	struct operation *op = begin(book, OP_REMOVE, 0);

	ops_check_deadline(&book->ops, DEADLINE_MS, DEADLINE_MS);
	assert_true(op->unresolved);
	op_pass(&book->ops, op, OP_RELEASED, 3600000);
	op_end(&book->ops, op, OP_DONE, &by_guest, 3600000);
	assert_int_equal(op->outcome, OP_DONE);
	assert_false(op->unresolved);
	assert_int_equal(op->evidence.elapsed_ms, 3600000);
	expect_report(book, op->id, OP_REQUESTED);
	expect_report(book, op->id, OP_UNRESOLVED);
	expect_report(book, op->id, OP_RELEASED);
	expect_report(book, op->id, OP_ENDED);
}

static void the_deadline_counts_from_the_last_ask(void **state)
{
	struct book *book = *state;
	struct operation *op = begin(book, OP_REMOVE, 0);

	op_ask_again(op, 14000);
	assert_int_equal(ops_check_deadline(&book->ops, DEADLINE_MS, 15000), 14000);
	assert_false(op->unresolved);
	assert_int_equal(ops_check_deadline(&book->ops, DEADLINE_MS, 29000), -1);
	assert_true(op->unresolved);
}

static void a_second_silence_is_reported_again(void **state)
{
	struct book *book = *state;
	struct operation *op = begin(book, OP_REMOVE, 0);

	ops_check_deadline(&book->ops, DEADLINE_MS, 15000);
	report_all(book);
	op_ask_again(op, 20000);
	op_pass(&book->ops, op, OP_NOTIFIED, 20000);
	assert_false(op->unresolved);
	expect_report(book, op->id, OP_NOTIFIED);
	assert_int_equal(ops_check_deadline(&book->ops, DEADLINE_MS, 20001), DEADLINE_MS - 1);
	assert_int_equal(ops_check_deadline(&book->ops, DEADLINE_MS, 35000), -1);
	expect_report(book, op->id, OP_UNRESOLVED);
	assert_int_equal(op->steps[OP_UNRESOLVED].at_ms, 35000);
	expect_no_report(book);
}

static void the_guest_reading_a_second_event_is_news(void **state)
{
	struct book *book = *state;
	struct operation *op = begin(book, OP_REMOVE, 0);

	op_pass(&book->ops, op, OP_NOTIFIED, 1);
	op_pass(&book->ops, op, OP_FETCHED, 2);
	report_all(book);
	op_ask_again(op, 3);
	op_pass(&book->ops, op, OP_NOTIFIED, 3);
	assert_string_equal(
	    op_stuck_text(op, (char[OP_STUCK_MAX]){0}), "event not fetched by the guest yet");
	op_pass(&book->ops, op, OP_FETCHED, 4);
	expect_report(book, op->id, OP_NOTIFIED);
	expect_report(book, op->id, OP_FETCHED);
	expect_no_report(book);
}

static void asking_again_loses_no_news(void **state)
{
	struct book *book = *state;
	struct operation *op = begin(book, OP_REMOVE, 0);

	op_pass(&book->ops, op, OP_FETCHED, 2);
	op_ask_again(op, 3);
	expect_report(book, op->id, OP_REQUESTED);
	expect_report(book, op->id, OP_FETCHED);
}

static void the_nearest_deadline_is_what_to_wait_for(void **state)
{
	struct book *book = *state;
	struct operation *late, *early, *ended;

	assert_int_equal(ops_check_deadline(&book->ops, DEADLINE_MS, 0), -1);
	late = begin(book, OP_ADD, 9000);
	early = begin(book, OP_REMOVE, 4000);
	ended = begin(book, OP_REMOVE, 1000);
	op_end(&book->ops, ended, OP_DONE, &by_guest, 1500);
	assert_int_equal(ops_check_deadline(&book->ops, DEADLINE_MS, 10000), 9000);
	assert_int_equal(ops_check_deadline(&book->ops, DEADLINE_MS, 19000), 5000);
	assert_true(early->unresolved);
	assert_false(late->unresolved);
	assert_false(ended->unresolved);
	assert_int_equal(ops_check_deadline(&book->ops, DEADLINE_MS, 24000), -1);
	assert_true(late->unresolved);
}

/* --- Words ----------------------------------------------------------------------------------- */

static void everything_has_a_name(void **state)
{
	(void)state;
	assert_string_equal(op_kind_name(OP_ADD), "add");
	assert_string_equal(op_kind_name(OP_TAKE), "guest-take");
	assert_string_equal(op_outcome_name(OP_PENDING), "pending");
	assert_string_equal(op_outcome_name(OP_CANCELLED), "cancelled");
	assert_string_equal(op_source_name(OP_BY_NOBODY), "none");
	assert_string_equal(op_source_name(OP_BY_RESET), "reset");
	for (enum op_step step = 0; step < OP_STEP_COUNT; step++)
		for (enum op_step other = 0; other < step; other++)
			assert_string_not_equal(op_step_name(step), op_step_name(other));
}

static void each_phase_says_where_it_is_stuck(void **state)
{
	struct operation op = {.id = 1};

	(void)state;
	for (enum op_step step = OP_REQUESTED; step <= OP_RELEASED; step++) {
		op.phase = step;
		assert_string_not_equal(op_stuck_text(&op, (char[OP_STUCK_MAX]){0}), "");
	}
	op.phase = OP_FETCHED;
	assert_string_equal(
	    op_stuck_text(&op, (char[OP_STUCK_MAX]){0}), "event fetched, no answer since");
	/* What has ended is stuck in nothing. */
	op.phase = OP_ENDED;
	assert_string_equal(op_stuck_text(&op, (char[OP_STUCK_MAX]){0}), "");
}

#define TEST(name) cmocka_unit_test_setup(name, open_book)

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    TEST(steps_are_reported_once_and_in_order),
	    TEST(steps_are_reported_in_the_order_they_happened),
	    TEST(reports_of_several_operations_interleave_as_they_happened),
	    TEST(what_a_report_hands_out_is_a_copy),
	    TEST(a_guest_going_in_circles_makes_no_more_news),
	    TEST(each_notification_counts_and_is_news),
	    TEST(past_the_deadline_it_is_unresolved_and_stays_pending),
	    TEST(a_late_answer_still_counts),
	    TEST(the_deadline_counts_from_the_last_ask),
	    TEST(a_second_silence_is_reported_again),
	    TEST(the_guest_reading_a_second_event_is_news),
	    TEST(asking_again_loses_no_news),
	    TEST(the_nearest_deadline_is_what_to_wait_for),
	    TEST(everything_has_a_name),
	    TEST(each_phase_says_where_it_is_stuck),
	};

	return cmocka_run_group_tests_name("operation", tests, NULL, NULL);
}
