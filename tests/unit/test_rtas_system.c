/* SPDX-License-Identifier: Apache-2.0 */
/* test_rtas_system.c - RTAS services about the machine: clock, end, system parameters, panic. */
#include "machine_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/be.h"

#define RAM (256 * MIB)
#define HEAD_BYTES 12
#define TOKEN_END (rtas_token(0) + (uint32_t)rtas_table_rows)

/* --- Services about the machine -------------------------------------------------------------- */

static time_t guest_time(uint32_t *ret_nanosecond)
{
	uint32_t now[7];
	struct tm tm;

	assert_int_equal(rtas(0, "get-time-of-day", 0, NULL, 8, now), 0);
	tm = (struct tm){.tm_year = (int)now[0] - 1900,
	    .tm_mon = (int)now[1] - 1,
	    .tm_mday = (int)now[2],
	    .tm_hour = (int)now[3],
	    .tm_min = (int)now[4],
	    .tm_sec = (int)now[5]};
	*ret_nanosecond = now[6];
	return timegm(&tm);
}

static void the_clock_is_the_host_s_until_the_guest_sets_it(void **state)
{
	struct fixture *f = *state;
	struct tm tm = {
	    .tm_year = 131, .tm_mon = 4, .tm_mday = 6, .tm_hour = 7, .tm_min = 8, .tm_sec = 9};
	uint32_t nanosecond;
	time_t before = time(NULL), seen;

	power_on(f);
	seen = guest_time(&nanosecond);
	assert_true(seen >= before && seen <= time(NULL) + 1);
	assert_true(nanosecond < 1000000000);
	for (unsigned i = 0; i < 10 && nanosecond == 0; i++)
		guest_time(&nanosecond);
	assert_int_not_equal(nanosecond, 0);
	assert_int_equal(RTAS(0, "set-time-of-day", 2031, 5, 6, 7, 8, 9, 0), 0);
	seen = guest_time(&nanosecond);
	assert_true(seen >= timegm(&tm) && seen <= timegm(&tm) + time(NULL) - before + 1);
}

static void a_time_that_cannot_be_is_refused(void **state)
{
	static const uint32_t times[][7] = {{1969, 12, 31, 23, 59, 59, 0},
	    {10000, 1, 1, 0, 0, 0, 0}, {UINT32_MAX, 1, 1, 0, 0, 0, 0}, {2031, 0, 1, 0, 0, 0, 0},
	    {2031, 13, 1, 0, 0, 0, 0}, {2031, 1, 0, 0, 0, 0, 0}, {2031, 1, 32, 0, 0, 0, 0},
	    {2031, 1, 1, 24, 0, 0, 0}, {2031, 1, 1, 0, 60, 0, 0}, {2031, 1, 1, 0, 0, 61, 0},
	    {2031, 1, 1, 0, 0, UINT32_MAX, 0}};
	struct fixture *f = *state;
	uint32_t nanosecond;
	time_t before = time(NULL), seen;

	power_on(f);
	for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
		assert_int_equal(rtas(0, "set-time-of-day", 7, times[i], 1, NULL), -3);
	seen = guest_time(&nanosecond);
	assert_true(seen >= before && seen <= time(NULL) + 1);
	assert_int_equal(RTAS(0, "set-time-of-day", 9999, 12, 31, 23, 59, 60, 0), 0);
	guest_time(&nanosecond);
	assert_int_equal(RTAS(0, "set-time-of-day", 1970, 1, 1, 0, 0, 0, 0), 0);
	assert_true(guest_time(&nanosecond) < 3600);
}

static void what_linux_asks_for_at_boot_gets_a_plain_no(void **state)
{
	struct fixture *f = *state;
	uint32_t value = UINT32_MAX;

	power_on(f);
	assert_int_equal(RTAS(0, "ibm,get-system-parameter", 44, (uint32_t)BUFFER(0), 4000), -3);
	assert_int_equal(RTAS(0, "ibm,set-system-parameter", 44, (uint32_t)BUFFER(0)), -9002);
	assert_int_equal(RTAS(0, "set-indicator", 6, 0, 0x1234), -3);
	assert_int_equal(RTAS(0, "event-scan", UINT32_MAX, 0, (uint32_t)BUFFER(0), 2048), 1);
	assert_int_equal(rtas(0, "get-sensor-state", 2, (uint32_t[]){9, 0}, 2, &value), 0);
	assert_int_equal(value, 0);
	assert_int_equal(rtas(0, "get-sensor-state", 2, (uint32_t[]){9, 1}, 2, &value), -3);
	assert_int_equal(rtas(0, "get-sensor-state", 2, (uint32_t[]){3, 0}, 2, &value), -3);
	assert_int_equal(rtas(0, "get-sensor-state", 2, (uint32_t[]){9002, DRC(0)}, 2, &value), -3);
}

static bool has_ended(void *context)
{
	const struct fixture *f = context;

	return (spapr_take_news(f->machine) & *(const unsigned *)f->context) != 0;
}

/* It leaves the guest, and does not go back. */
static void expect_out_of_the_guest(uint32_t id)
{
	for (unsigned i = 0; i < 100000 && fake_vcpu_running(id); i++)
		sched_yield();
	for (unsigned i = 0; i < 200; i++) {
		assert_false(fake_vcpu_running(id));
		sched_yield();
	}
}

static void expect_the_end(struct fixture *f, const char *service, uint32_t nargs, unsigned news)
{
	static const uint32_t args[2] = {UINT32_MAX, UINT32_MAX};

	linux_online(f, 0, 1);
	spapr_take_news(f->machine);
	f->context = &news;
	rtas_noreturn(1, service, nargs, args);
	fake_wait_until(has_ended, f, "the guest's end is told");
	expect_out_of_the_guest(0);
	expect_out_of_the_guest(1);
	/* Nor does it when it is stopped and continued. */
	spapr_stop(f->machine);
	spapr_cont(f->machine);
	expect_out_of_the_guest(0);
	assert_int_equal(spapr_take_news(f->machine), 0);
	reset(f);
	assert_int_equal(fake_vcpu_pc(0), ENTRY);
	assert_int_equal(cpu_stopped_state(0, 1), 0);
}

static void power_off_and_reboot_are_told_and_stop_every_vcpu(void **state)
{
	struct fixture *f = *state;

	power_on_cpus(f, 2, 2, 1);
	expect_the_end(f, "power-off", 2, SPAPR_NEWS_POWER_OFF);
	expect_the_end(f, "system-reboot", 0, SPAPR_NEWS_RESET);
	assert_int_equal(f->loads, 3);
	assert_int_equal(counter(f, "boots"), 3);
}

static void a_reset_forgets_how_the_last_run_ended(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	rtas_noreturn(0, "system-reboot", 0, NULL);
	spapr_stop(f->machine);
	spapr_cont(f->machine);
	reset(f);
	assert_int_equal(spapr_take_news(f->machine), 0);
}

/* --- System parameters ----------------------------------------------------------------------- */

static void expect_parameter(uint32_t parameter, const char *expected, size_t length)
{
	uint8_t bytes[64];

	poke(BUFFER(0), "################################################################", 64);
	assert_int_equal(
	    RTAS(0, "ibm,get-system-parameter", parameter, (uint32_t)BUFFER(0), 64), 0);
	peek(BUFFER(0), bytes, sizeof bytes);
	assert_int_equal(bytes[0] << 8 | bytes[1], length);
	assert_memory_equal(bytes + 2, expected, length);
	assert_int_equal(bytes[2 + length], '#');
}

static void system_parameters_tell_what_the_machine_was_made_with(void **state)
{
	static const char characteristics[] = "MaxEntCap=4,DesMem=256,DesProcs=1,MaxPlatProcs=4";
	struct fixture *f = *state;

	f->config.name = "web1";
	power_on(f);
	expect_parameter(20, characteristics, sizeof characteristics);
	expect_parameter(42, "", 1);
	expect_parameter(48, "", 0);
	expect_parameter(55, "web1", 5);
}

static void a_uuid_is_a_system_parameter(void **state)
{
	static const char bytes[] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, (char)0x88,
	    (char)0x99, (char)0xaa, (char)0xbb, (char)0xcc, (char)0xdd, (char)0xee, (char)0xff};
	struct fixture *f = *state;

	f->config.uuid = "00112233-4455-6677-8899-aabbccddeeff";
	power_on(f);
	expect_parameter(48, bytes, sizeof bytes);
}

static void a_system_parameter_fills_no_more_than_its_buffer(void **state)
{
	struct fixture *f = *state;
	char bytes[8];

	power_on(f);
	poke(BUFFER(0), "########", 8);
	assert_int_equal(RTAS(0, "ibm,get-system-parameter", 20, (uint32_t)BUFFER(0), 5), 0);
	peek(BUFFER(0), bytes, sizeof bytes);
	assert_memory_equal(bytes, "\0\x31Max###", 8);
	assert_int_equal(RTAS(0, "ibm,get-system-parameter", 20, (uint32_t)BUFFER(0), 1), -9999);
	assert_int_equal(RTAS(0, "ibm,get-system-parameter", 20, RAM, 64), -9999);
	assert_int_equal(RTAS(0, "ibm,get-system-parameter", 20, RAM - 50, 64), -9999);
	assert_int_equal(RTAS(0, "ibm,get-system-parameter", 20, RAM - 51, 64), 0);
	/* Without a name there is none. */
	assert_int_equal(RTAS(0, "ibm,get-system-parameter", 55, (uint32_t)BUFFER(0), 64), -3);
}

/* --- The last words -------------------------------------------------------------------------- */

static void expect_last_words(struct fixture *f, uint32_t address, const char *expected)
{
	char text[512];

	rtas_noreturn(0, "ibm,os-term", 1, &address);
	/* The call is over once its vCPU is out of it. */
	spapr_stop(f->machine);
	spapr_cont(f->machine);
	assert_int_equal(
	    spapr_take_news(f->machine) & ~(unsigned)SPAPR_NEWS_CONSOLE, SPAPR_NEWS_PANIC);
	spapr_panic_text(f->machine, text, sizeof text);
	assert_string_equal(text, expected);
	reset(f);
}

static void last_words_are_cleaned_and_cut(void **state)
{
	struct fixture *f = *state;
	char text[400], expected[256];

	power_on(f);
	poke(BUFFER(0), "OS panic: not syncing", 22);
	expect_last_words(f, (uint32_t)BUFFER(0), "OS panic: not syncing");
	poke(BUFFER(0), "a\nb\x1b[2Jc\x7f\xff\xc3\xa4\t~ ", 16);
	expect_last_words(f, (uint32_t)BUFFER(0), "a.b.[2Jc.....~ ");
	memset(text, 'x', sizeof text);
	memset(expected, 'x', sizeof expected);
	expected[sizeof expected - 1] = '\0';
	poke(BUFFER(0), text, sizeof text);
	expect_last_words(f, (uint32_t)BUFFER(0), expected);
	poke(BUFFER(0), "", 1);
	expect_last_words(f, (uint32_t)BUFFER(0), "it gave no reason");
}

static void last_words_outside_ram_are_none(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	expect_last_words(f, RAM, "it gave no reason");
	expect_last_words(f, UINT32_MAX, "it gave no reason");
}

static void print(const char *text)
{
	for (size_t i = 0; text[i] != '\0'; i++)
		assert_int_equal(fake_hcall(0, 0x58,
		                     (uint64_t[9]){0, 1, (uint64_t)(uint8_t)text[i] << 56}, NULL),
		    0);
}

/* Linux 6.12 gives the address 0. */
static void last_words_not_given_are_those_on_the_console(void **state)
{
	static const char *const long_ago = "[    1.0] Kernel panic - not syncing: old\r\n";
	struct fixture *f = *state;
	char expected[256] = "Kernel panic", text[300];

	power_on(f);
	print(long_ago);
	print("[    2.0] Kernel panic - not syncing: sysrq\ttriggered\r\nCPU: 0 panic\r\n");
	assert_true(spapr_console_read(f->machine, text, sizeof text) > 80);
	expect_last_words(f, 0, "Kernel panic - not syncing: sysrq");
	/* What another run has printed is not this one's. */
	expect_last_words(f, 0, "it gave no reason");
	print("Kernel pani");
	expect_last_words(f, 0, "it gave no reason");
	/* The line may be long, or not ended, and the ring may have been filled often. */
	memset(text, 'y', sizeof text);
	text[sizeof text - 1] = '\0';
	for (int i = 0; i < 300; i++) {
		print(text);
		spapr_console_read(f->machine, expected + 12, sizeof expected - 12);
		spapr_console_read(f->machine, expected + 12, sizeof expected - 12);
	}
	print("Kernel panic");
	print(text);
	memset(expected + 12, 'y', sizeof expected - 13);
	expected[sizeof expected - 1] = '\0';
	expect_last_words(f, 0, expected);
}

static void last_words_may_end_where_ram_ends(void **state)
{
	static const char text[] = "Kernel panic - not syncing: sysrq triggered crash";
	struct fixture *f = *state;

	power_on(f);
	poke(RAM - sizeof text, text, sizeof text);
	expect_last_words(f, (uint32_t)(RAM - sizeof text), text);
	/* And nothing of the last ones is among them. */
	poke(RAM - 1, "!", 1);
	expect_last_words(f, RAM - 1, "!");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(the_clock_is_the_host_s_until_the_guest_sets_it),
	    TEST(a_time_that_cannot_be_is_refused),
	    TEST(what_linux_asks_for_at_boot_gets_a_plain_no),
	    TEST(power_off_and_reboot_are_told_and_stop_every_vcpu),
	    TEST(a_reset_forgets_how_the_last_run_ended),
	    TEST(last_words_are_cleaned_and_cut),
	    TEST(last_words_outside_ram_are_none),
	    TEST(last_words_not_given_are_those_on_the_console),
	    TEST(system_parameters_tell_what_the_machine_was_made_with),
	    TEST(a_uuid_is_a_system_parameter),
	    TEST(a_system_parameter_fills_no_more_than_its_buffer),
	    TEST(last_words_may_end_where_ram_ends),
	};

	return cmocka_run_group_tests_name("rtas", tests, NULL, NULL);
}
