/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_event.c - events: their logs, compared byte by byte with those LoPAPR 10.3.2 and 13.5.4
 * describe; check-exception; and what is queued. Every interrupt must find an event: Linux ignores
 * check-exception's status, and would carry out its last event again.
 */
#include "machine_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CORES 8

/* --- The log --------------------------------------------------------------------------------- */

/* Everything but date and time (32 to 39), the log's number (64 to 67) and the last section. */
static void build_log(uint8_t log[EVENT_BYTES], const uint8_t type[2], uint8_t number)
{
	static const uint8_t head[] = {0x06, 0x34, 0, 0, 0, 0, 0, 108,  /* */
	    0x86, 0, 0x8e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 'I', 'B', 'M', 0, /* */
	    'P', 'H', 0, 48, 0, 0, 0, 0};
	static const uint8_t user_header[] = {'U', 'H', 0, 24};

	memset(log, 0, EVENT_BYTES);
	memcpy(log, head, sizeof head);
	log[2] = type[0];
	log[3] = type[1];
	log[48] = 'H';
	log[51] = 3;
	log[67] = number;
	memcpy(log + 72, user_header, sizeof user_header);
}

static void build_hotplug(uint8_t log[EVENT_BYTES], uint8_t number, uint8_t action, uint8_t core_id)
{
	const uint8_t section[20] = {
	    'H', 'P', 0, 20, 1, 0, 0, 0, 1, action, 2, 0, 0x10, 0, 0, core_id};

	build_log(log, (uint8_t[]){0x60, 0xe5}, number);
	log[80] = 0x80;
	memcpy(log + 96, section, sizeof section);
}

static void build_shutdown(uint8_t log[EVENT_BYTES], uint8_t number)
{
	static const uint8_t section[20] = {'E', 'P', 0, 20, 2, 0, 0, 0, 3, 1, 1};

	build_log(log, (uint8_t[]){0x00, 0x40}, number);
	log[80] = 0xa0;
	log[83] = 0xd0;
	memcpy(log + 96, section, sizeof section);
}

static void expect_log(const uint8_t got[EVENT_BYTES], const uint8_t expected[EVENT_BYTES])
{
	for (size_t i = 0; i < EVENT_BYTES; i++)
		if ((i < 32 || i > 39) && got[i] != expected[i])
			fail_msg("byte %zu is %#x, not %#x", i, got[i], expected[i]);
}

static void logs_are_those_of_the_standard_byte_by_byte(void **state)
{
	struct fixture *f = *state;
	uint8_t log[EVENT_BYTES], expected[EVENT_BYTES];

	power_on_cpus(f, 4, 16, 2);
	add(f, 12);
	assert_true(fetch_event(0, MASK_HOTPLUG, log));
	build_hotplug(expected, 1, 1, 12);
	expect_log(log, expected);
	take_away(f, 2);
	assert_true(fetch_event(0, MASK_HOTPLUG, log));
	build_hotplug(expected, 2, 2, 2);
	expect_log(log, expected);
	spapr_powerdown(f->machine);
	assert_true(fetch_event(0, MASK_EPOW, log));
	build_shutdown(expected, 3);
	expect_log(log, expected);
}

static void a_log_has_the_guest_s_date_in_decimal_digits(void **state)
{
	static const uint8_t date[4] = {0x20, 0x31, 0x12, 0x29};
	struct fixture *f = *state;
	uint8_t log[EVENT_BYTES];

	power_on(f);
	assert_int_equal(RTAS(0, "set-time-of-day", 2031, 12, 29, 17, 8, 9, 0), 0);
	add(f, 1);
	assert_true(fetch_event(0, MASK_HOTPLUG, log));
	assert_memory_equal(log + 32, date, sizeof date);
	assert_int_equal(log[36], 0x17);
	for (size_t i = 37; i < 39; i++)
		assert_true(log[i] >> 4 < 6 && (log[i] & 15) < 10);
	assert_int_equal(log[39], 0);
}

/* --- check-exception ------------------------------------------------------------------------- */

static int32_t check_exception(uint32_t mask, uint64_t buffer, uint32_t length)
{
	return RTAS(0, "check-exception", 0x500, IRQ_HOTPLUG, mask, 0, (uint32_t)buffer, length);
}

static void fill_buffer(uint8_t with)
{
	uint8_t bytes[256];

	memset(bytes, with, sizeof bytes);
	poke(BUFFER(0), bytes, sizeof bytes);
}

/* From here to 256 the buffer is as it was. */
static void expect_untouched(size_t from, uint8_t with)
{
	uint8_t bytes[256];

	peek(BUFFER(0), bytes, sizeof bytes);
	for (size_t i = from; i < sizeof bytes; i++)
		assert_int_equal(bytes[i], with);
}

static void without_an_event_the_buffer_stays_as_it_is(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	fill_buffer(0xa5);
	assert_int_equal(check_exception(UINT32_MAX, BUFFER(0), 256), 1);
	expect_untouched(0, 0xa5);
	assert_int_equal(counter(f, "events-fetched"), 0);
}

static void only_events_of_the_classes_asked_for_are_given(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	add(f, 1);
	fill_buffer(0xa5);
	assert_int_equal(check_exception(0, BUFFER(0), 256), 1);
	assert_int_equal(check_exception(MASK_EPOW, BUFFER(0), 256), 1);
	assert_int_equal(check_exception(~(uint32_t)MASK_HOTPLUG, BUFFER(0), 256), 1);
	spapr_powerdown(f->machine);
	assert_int_equal(check_exception(0x80000000 | 0x08000000, BUFFER(0), 256), 1);
	expect_untouched(0, 0xa5);
	expect_event(0, 1, 1);
	assert_int_equal(check_exception(MASK_HOTPLUG, BUFFER(0), 256), 1);
	assert_int_equal(check_exception(MASK_EPOW, BUFFER(0), 256), 0);
	assert_int_equal(check_exception(UINT32_MAX, BUFFER(0), 256), 1);
	assert_int_equal(counter(f, "events-fetched"), 2);
}

static void never_more_is_written_than_there_is_room_for(void **state)
{
	static const uint32_t lengths[] = {1, 8, 20, 96, 107, 115, 116, 117, 2048, UINT32_MAX};
	struct fixture *f = *state;
	uint8_t log[EVENT_BYTES], expected[EVENT_BYTES];

	power_on_cpus(f, 2, 2, 1);
	for (uint8_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
		size_t written = lengths[i] < EVENT_BYTES ? lengths[i] : EVENT_BYTES;

		take_away(f, 1);
		fill_buffer(0x5a);
		assert_int_equal(check_exception(MASK_HOTPLUG, BUFFER(0), lengths[i]), 0);
		expect_untouched(written, 0x5a);
		memset(log, 0, sizeof log);
		peek(BUFFER(0), log, written);
		build_hotplug(expected, (uint8_t)(i + 1), 2, 1);
		memset(expected + written, 0, sizeof expected - written);
		expect_log(log, expected);
	}
}

static void a_bad_buffer_does_not_cost_the_event(void **state)
{
	static const uint64_t bad[] = {
	    256 * MIB, 256 * MIB - 115, 256 * MIB - 1, 0x80000000, UINT32_MAX - 100, UINT32_MAX};
	struct fixture *f = *state;
	uint64_t pulses;

	power_on(f);
	add(f, 1);
	pulses = fake_irq_pulses(IRQ_HOTPLUG);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(check_exception(MASK_HOTPLUG, bad[i], 2048), -3);
	/* The end of RAM is a good place for as much as fits. */
	assert_int_equal(check_exception(MASK_EPOW, 256 * MIB - 116, 2048), 1);
	assert_int_equal(check_exception(MASK_HOTPLUG, 256 * MIB - 20, 21), -3);
	assert_int_equal(check_exception(MASK_HOTPLUG, 256 * MIB - 20, 20), 0);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), pulses);
	expect_no_event(0);
}

static void a_seventh_argument_is_allowed(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	add(f, 1);
	assert_int_equal(RTAS(0, "check-exception", 0x500, IRQ_HOTPLUG, MASK_HOTPLUG, 0,
	                     (uint32_t)BUFFER(0), 2048, 0xffffffff),
	    0);
}

static void event_scan_takes_nothing_away(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	add(f, 1);
	fill_buffer(0xa5);
	for (int i = 0; i < 3; i++)
		assert_int_equal(
		    RTAS(0, "event-scan", UINT32_MAX, 0, (uint32_t)BUFFER(0), 2048), 1);
	expect_untouched(0, 0xa5);
	expect_event(0, 1, 1);
}

/* What an interrupt that was sent once more than there were events finds. */
static void expect_spare_event(uint32_t vcpu)
{
	expect_event(vcpu, 0, 1);
}

/* --- What is queued, and when it is decided -------------------------------------------------- */

static void requests_for_one_core_are_one_event(void **state)
{
	struct fixture *f = *state;

	power_on_cpus(f, 2, 4, 1);
	for (int i = 0; i < 5; i++)
		take_away(f, 1);
	expect_event(0, 1, 2);
	expect_spare_event(0);
	expect_no_event(0);
	take_away(f, 1);
	expect_event(0, 1, 2);
	expect_no_event(0);
	spapr_powerdown(f->machine);
	spapr_powerdown(f->machine);
	assert_int_equal(check_exception(MASK_EPOW, BUFFER(0), 256), 0);
	assert_int_equal(check_exception(MASK_EPOW, BUFFER(0), 256), 1);
	spapr_powerdown(f->machine);
	assert_int_equal(check_exception(MASK_EPOW, BUFFER(0), 256), 0);
}

static void asking_again_interrupts_again(void **state)
{
	struct fixture *f = *state;

	/* The first interrupt may have been dropped by a kernel that did not know it. */
	power_on_cpus(f, 2, 4, 1);
	for (uint64_t i = 1; i <= 3; i++) {
		take_away(f, 1);
		assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), i);
		spapr_powerdown(f->machine);
		assert_int_equal(fake_irq_pulses(IRQ_EPOW), i);
	}
	/* A request of its own for another core is one event with one interrupt. */
	add(f, 2);
	expect_event(0, 1, 2);
	expect_event(0, 2, 1);
	/* What is too many finds a spare event, once; and none where asking again went wrong. */
	expect_spare_event(0);
	assert_int_equal(check_exception(MASK_EPOW, BUFFER(0), 256), 0);
	expect_no_event(0);
	take_away(f, 1);
	fake_fail_next(FAKE_IRQ_PULSE, 1);
	take_away(f, 1);
	expect_event(0, 1, 2);
	expect_no_event(0);
	/* Nor after a reset: it takes the interrupts along. */
	take_away(f, 1);
	take_away(f, 1);
	reset(f);
	expect_no_event(0);
}

static void whether_to_add_or_remove_is_decided_when_the_event_is_read(void **state)
{
	struct fixture *f = *state;

	power_on_cpus(f, 2, 4, 1);
	/* Added, taken without its event being read, and wanted back: a removal. */
	add(f, 2);
	set_usable(0, 2);
	take_away(f, 2);
	expect_event(0, 2, 2);
	expect_spare_event(0);
	/* Wanted back and not any more: an add, which a guest that has the core ignores. */
	cancel(f, take_away(f, 1));
	expect_event(0, 1, 1);
	/* Added and not any more: nothing takes the event back, and the core is not there. */
	cancel(f, add(f, 3));
	expect_event(0, 3, 1);
	assert_int_equal(sense(0, 3), DRC_SENSE_UNUSABLE);
	assert_int_equal(set_usable(0, 3), -3);
	expect_no_event(0);
}

static void events_are_read_in_the_order_they_came(void **state)
{
	struct fixture *f = *state;

	power_on_cpus(f, 1, CORES, 1);
	add(f, 5);
	add(f, 2);
	spapr_powerdown(f->machine);
	add(f, 7);
	cancel(f, operation_of(f, 2).id);
	add(f, 2); /* its event is still queued, and keeps its place */
	add(f, 1);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), 5);
	for (size_t i = 0; i < 4; i++) {
		expect_event(0, (uint32_t[]){5, 2, 7, 1}[i], 1);
		/* One more as long as more are queued. */
		assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), i < 3 ? 6 + i : 8);
	}
	expect_spare_event(0);
	assert_int_equal(check_exception(MASK_HOTPLUG, BUFFER(0), 256), 1);
	assert_int_equal(check_exception(UINT32_MAX, BUFFER(0), 256), 0);
	expect_no_event(0);
}

static void a_reset_drops_what_is_queued_and_what_is_signalled(void **state)
{
	struct fixture *f = *state;

	power_on_cpus(f, 1, 4, 1);
	add(f, 1);
	add(f, 2);
	spapr_powerdown(f->machine);
	reset(f);
	for (uint32_t irq = IRQ_EPOW; irq <= IRQ_VTY; irq++) {
		assert_int_equal(fake_irq_resets(irq), 2);
		assert_int_equal(fake_irq_server(irq), 0);
	}
	expect_no_event(0);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), 2);
	/* And nothing of it is remembered as queued. */
	add(f, 3);
	take_away(f, 1);
	spapr_powerdown(f->machine);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), 4);
	assert_int_equal(fake_irq_pulses(IRQ_EPOW), 2);
	expect_event(0, 3, 1);
	expect_event(0, 1, 2);
}

static void an_interrupt_kvm_refuses_is_sent_with_the_next_request(void **state)
{
	struct fixture *f = *state;

	power_on_cpus(f, 2, 4, 1);
	/* The event is there all the same, and asking again is enough. */
	fake_fail_next(FAKE_IRQ_PULSE, 2);
	take_away(f, 1);
	take_away(f, 1);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), 0);
	take_away(f, 1);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), 1);
	expect_event(0, 1, 2);
	expect_no_event(0);
	/* So it is when the one after a fetch is refused. */
	add(f, 2);
	add(f, 3);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), 3);
	fake_fail_next(FAKE_IRQ_PULSE, 1);
	expect_event(0, 2, 1);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), 3);
	take_away(f, 1);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), 4);
	expect_event(0, 3, 1);
	expect_event(0, 1, 2);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), 5);
	expect_no_event(0);
}

static void an_interrupt_kvm_refuses_after_a_fetch_wakes_the_operator_s_thread(void **state)
{
	struct fixture *f = *state;

	power_on_cpus(f, 2, 4, 1);
	take_away(f, 1);
	expect_event(0, 1, 2);
	take_away(f, 1);
	add(f, 2);
	spapr_take_news(f->machine);
	fake_fail_next(FAKE_IRQ_PULSE, 1);
	expect_event(0, 1, 2); /* fetched before: no step is passed */
	assert_true(spapr_take_news(f->machine) & SPAPR_NEWS_OPERATION);
}

static void an_interrupt_that_was_refused_is_not_owed_without_an_event(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	fake_fail_next(FAKE_IRQ_PULSE, 1);
	add(f, 1);
	expect_event(0, 1, 1);
	cancel(f, add(f, 2));
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), 1);
	add(f, 2);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), 2);
	fake_fail_next(FAKE_IRQ_PULSE, 1);
	add(f, 3);
	reset(f);
	take_away(f, 1);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), 3);
	expect_event(0, 1, 2);
	expect_no_event(0);
}

static void a_shutdown_kvm_refuses_to_signal_can_be_asked_for_again(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	fake_fail_next(FAKE_IRQ_PULSE, 1);
	spapr_powerdown(f->machine);
	assert_int_equal(fake_irq_pulses(IRQ_EPOW), 0);
	spapr_powerdown(f->machine);
	assert_int_equal(fake_irq_pulses(IRQ_EPOW), 1);
	assert_int_equal(check_exception(MASK_EPOW, BUFFER(0), 256), 0);
	expect_no_event(0);
}

static void what_kvm_has_refused_is_sent_again_before_long(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	fake_fail_next(FAKE_IRQ_PULSE, 3);
	add(f, 1);
	spapr_powerdown(f->machine);
	/* It says when to ask again, and does. The third refusal is of the first of the two. */
	assert_in_range(spapr_check_deadline(f->machine), 1, 1000);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), 0);
	assert_int_equal(fake_irq_pulses(IRQ_EPOW), 1);
	assert_true(spapr_check_deadline(f->machine) > 1000);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), 1);
	spapr_check_deadline(f->machine);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), 1);
	assert_int_equal(fake_irq_pulses(IRQ_EPOW), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(logs_are_those_of_the_standard_byte_by_byte),
	    TEST(a_log_has_the_guest_s_date_in_decimal_digits),
	    TEST(without_an_event_the_buffer_stays_as_it_is),
	    TEST(only_events_of_the_classes_asked_for_are_given),
	    TEST(never_more_is_written_than_there_is_room_for),
	    TEST(a_bad_buffer_does_not_cost_the_event),
	    TEST(a_seventh_argument_is_allowed),
	    TEST(event_scan_takes_nothing_away),
	    TEST(requests_for_one_core_are_one_event),
	    TEST(asking_again_interrupts_again),
	    TEST(whether_to_add_or_remove_is_decided_when_the_event_is_read),
	    TEST(events_are_read_in_the_order_they_came),
	    TEST(a_reset_drops_what_is_queued_and_what_is_signalled),
	    TEST(an_interrupt_kvm_refuses_is_sent_with_the_next_request),
	    TEST(an_interrupt_kvm_refuses_after_a_fetch_wakes_the_operator_s_thread),
	    TEST(an_interrupt_that_was_refused_is_not_owed_without_an_event),
	    TEST(a_shutdown_kvm_refuses_to_signal_can_be_asked_for_again),
	    TEST(what_kvm_has_refused_is_sent_again_before_long),
	};

	return cmocka_run_group_tests_name("event", tests, NULL, NULL);
}
