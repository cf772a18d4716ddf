/* SPDX-License-Identifier: Apache-2.0 */
/* test_vty.c - the console: H_PUT_TERM_CHAR, H_GET_TERM_CHAR, and the operator's side. */
#include "machine_fixture.h"

#include <sched.h>
#include <string.h>

#define VTY 0x71000000u
#define OUT_BYTES 65536
#define IN_BYTES 4096

enum { GET_TERM_CHAR = 0x54, PUT_TERM_CHAR = 0x58, CHARACTERISTICS = 0x1c8 };
enum { SET_MODE = 0x31c, REGISTER_PROC_TBL = 0x37c };
enum { AIL = 3, LE = 4 };

#define CALL(vcpu, nr, ...) fake_hcall(vcpu, nr, (uint64_t[9]){__VA_ARGS__}, NULL)

/* --- The console ----------------------------------------------------------------------------- */

static int64_t put(uint64_t unit, uint64_t length, uint64_t first, uint64_t second)
{
	return CALL(0, PUT_TERM_CHAR, unit, length, first, second);
}

static void expect_printed(struct fixture *f, const char *text)
{
	char printed[64] = "";

	assert_int_equal(spapr_console_read(f->machine, printed, sizeof printed), strlen(text));
	assert_memory_equal(printed, text, strlen(text));
}

static void characters_are_packed_from_the_most_significant_byte(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	assert_int_equal(put(VTY, 2, 0x4142434445464748, 0x494a4b4c4d4e4f50), H_SUCCESS);
	expect_printed(f, "AB");
	assert_int_equal(put(VTY, 9, 0x4142434445464748, 0x494a4b4c4d4e4f50), H_SUCCESS);
	expect_printed(f, "ABCDEFGHI");
	assert_int_equal(put(VTY, 16, 0x4142434445464748, 0x494a4b4c4d4e4f50), H_SUCCESS);
	expect_printed(f, "ABCDEFGHIJKLMNOP");
	assert_int_equal(put(VTY, 0, 0x4142434445464748, 0), H_SUCCESS);
	expect_printed(f, "");
	assert_int_equal(counter(f, "console-bytes"), 27);
}

static void unit_0_is_the_first_console(void **state)
{
	struct fixture *f = *state;
	uint64_t ret[9];

	power_on(f);
	assert_int_equal(put(0, 1, 0x4100000000000000, 0), H_SUCCESS);
	expect_printed(f, "A");
	assert_int_equal(spapr_console_write(f->machine, "x", 1), 1);
	assert_int_equal(fake_hcall(0, GET_TERM_CHAR, (uint64_t[9]){0}, ret), H_SUCCESS);
	assert_int_equal(ret[0], 1);
	assert_int_equal(ret[1] >> 56, 'x');
}

static void a_wrong_unit_or_length_is_a_parameter_error(void **state)
{
	static const uint64_t units[] = {
	    1, VTY - 1, VTY + 1, 0x1000, VTY | UINT64_C(1) << 32, UINT64_C(1) << 32, UINT64_MAX};
	static const uint64_t lengths[] = {
	    17, 255, UINT32_MAX, UINT64_C(1) << 32, (UINT64_C(1) << 32) + 1, UINT64_MAX};
	struct fixture *f = *state;

	power_on(f);
	spapr_console_write(f->machine, "typed", 5);
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
		assert_int_equal(put(units[i], 1, 0x4100000000000000, 0), H_PARAMETER);
		assert_int_equal(CALL(0, GET_TERM_CHAR, units[i]), H_PARAMETER);
	}
	for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
		assert_int_equal(put(VTY, lengths[i], 0x4100000000000000, 0), H_PARAMETER);
	expect_printed(f, "");
	assert_true((spapr_take_news(f->machine) & SPAPR_NEWS_CONSOLE) == 0);
}

/* The bytes 0, 1, 2, ... as an argument, from number on. */
static uint64_t counted(uint32_t number)
{
	uint64_t word = 0;

	for (uint32_t i = 0; i < 8; i++)
		word = word << 8 | (uint8_t)(number + i);
	return word;
}

static int64_t put_counted(uint32_t number)
{
	return put(VTY, 16, counted(number), counted(number + 8));
}

static void a_full_ring_answers_busy_and_loses_nothing(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[OUT_BYTES];

	power_on(f);
	for (uint32_t at = 0; at < OUT_BYTES; at += 16)
		assert_int_equal(put_counted(at), H_SUCCESS);
	assert_int_equal(put_counted(OUT_BYTES), H_BUSY);
	assert_int_equal(put(VTY, 1, counted(OUT_BYTES), 0), H_BUSY);
	assert_int_equal(put(VTY, 0, 0, 0), H_SUCCESS);
	/* Room for 15 is no room for 16, and none of the 16 gets in. */
	assert_int_equal(spapr_console_read(f->machine, bytes, 15), 15);
	assert_int_equal(put_counted(OUT_BYTES), H_BUSY);
	assert_int_equal(spapr_console_read(f->machine, bytes + 15, 1), 1);
	assert_int_equal(put_counted(OUT_BYTES), H_SUCCESS);
	for (uint32_t i = 0; i < 16; i++)
		assert_int_equal(bytes[i], i);
	assert_int_equal(spapr_console_read(f->machine, bytes, sizeof bytes), OUT_BYTES);
	for (uint32_t i = 0; i < OUT_BYTES; i++)
		if (bytes[i] != (uint8_t)(16 + i))
			fail_msg("byte %u is %u", i, bytes[i]);
	assert_int_equal(spapr_console_read(f->machine, bytes, sizeof bytes), 0);
	assert_int_equal(counter(f, "console-bytes"), OUT_BYTES + 16);
}

static void the_operator_is_told_once_until_everything_is_read(void **state)
{
	struct fixture *f = *state;
	char byte;

	power_on(f);
	spapr_take_news(f->machine);
	f->wakes = 0;
	put(VTY, 1, counted(0), 0);
	put(VTY, 1, counted(0), 0);
	assert_int_equal(f->wakes, 1);
	assert_int_equal(spapr_take_news(f->machine), SPAPR_NEWS_CONSOLE);
	put(VTY, 1, counted(0), 0);
	assert_int_equal(spapr_console_read(f->machine, &byte, 1), 1);
	put(VTY, 1, counted(0), 0);
	assert_int_equal(spapr_take_news(f->machine), 0);
	while (spapr_console_read(f->machine, &byte, 1) > 0)
		;
	put(VTY, 0, 0, 0);
	assert_int_equal(f->wakes, 1);
	put(VTY, 1, counted(0), 0);
	assert_int_equal(f->wakes, 2);
	assert_int_equal(spapr_take_news(f->machine), SPAPR_NEWS_CONSOLE);
}

static void expect_typed(const char *text)
{
	uint64_t ret[9];
	char typed[17] = "";

	assert_int_equal(fake_hcall(0, GET_TERM_CHAR, (uint64_t[9]){VTY}, ret), H_SUCCESS);
	assert_int_equal(ret[0], strlen(text));
	for (uint32_t i = 0; i < 16; i++)
		typed[i] = (char)(ret[1 + i / 8] >> (56 - i % 8 * 8));
	assert_string_equal(typed, text);
	for (size_t i = strlen(text); i < 16; i++)
		assert_int_equal(typed[i], 0);
}

static void what_is_typed_arrives_in_order_with_an_interrupt(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	expect_typed("");
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 0);
	assert_int_equal(spapr_console_write(f->machine, "twenty-three of these..", 23), 23);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 1);
	assert_int_equal(spapr_console_write(f->machine, "", 0), 0);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 1);
	/* Refused by KVM, it is sent when the loop comes round. */
	spapr_take_news(f->machine);
	fake_fail_next(FAKE_IRQ_PULSE, 1);
	assert_int_equal(spapr_console_write(f->machine, "?", 1), 1);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 1);
	assert_true(spapr_take_news(f->machine) & SPAPR_NEWS_OPERATION);
	assert_int_equal(spapr_check_deadline(f->machine), -1);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 2);
	expect_typed("twenty-three of ");
	assert_int_equal(spapr_console_write(f->machine, "!", 1), 1);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 3);
	expect_typed("these..?!");
	expect_typed("");
}

static void typing_is_taken_as_long_as_there_is_room(void **state)
{
	struct fixture *f = *state;
	char line[IN_BYTES];

	power_on(f);
	memset(line, 'x', sizeof line);
	assert_int_equal(spapr_console_write(f->machine, "sixteen letters:", 16), 16);
	assert_int_equal(spapr_console_write(f->machine, line, sizeof line), IN_BYTES - 16);
	assert_int_equal(spapr_console_write(f->machine, line, 1), 0);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 2);
	/* The operator hears that there is room again, once. */
	spapr_take_news(f->machine);
	expect_typed("sixteen letters:");
	assert_int_equal(spapr_take_news(f->machine), SPAPR_NEWS_CONSOLE);
	expect_typed("xxxxxxxxxxxxxxxx");
	assert_int_equal(spapr_take_news(f->machine), 0);
	assert_int_equal(spapr_console_write(f->machine, line, sizeof line), 32);
	expect_typed("xxxxxxxxxxxxxxxx");
	assert_int_equal(spapr_take_news(f->machine), SPAPR_NEWS_CONSOLE);
}

static void a_reset_keeps_what_was_printed_and_drops_what_was_typed(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	put(VTY, 1, 0x4100000000000000, 0);
	spapr_console_write(f->machine, "reboot\n", 7);
	reset(f);
	expect_printed(f, "A");
	expect_typed("");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(characters_are_packed_from_the_most_significant_byte),
	    TEST(unit_0_is_the_first_console),
	    TEST(a_wrong_unit_or_length_is_a_parameter_error),
	    TEST(a_full_ring_answers_busy_and_loses_nothing),
	    TEST(the_operator_is_told_once_until_everything_is_read),
	    TEST(what_is_typed_arrives_in_order_with_an_interrupt),
	    TEST(typing_is_taken_as_long_as_there_is_room),
	    TEST(a_reset_keeps_what_was_printed_and_drops_what_was_typed),
	};

	return cmocka_run_group_tests_name("hcall", tests, NULL, NULL);
}
