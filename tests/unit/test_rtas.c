/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_rtas.c - how an RTAS call is read and answered, whatever the guest put into its block,
 * the services about the machine as a whole, and several vCPUs that call whatever comes to
 * their minds while the operator adds, removes, cancels and resets.
 *
 * What the services about processors, connectors and events do is in test_core.c, test_tree.c
 * and test_event.c.
 */
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

/* --- The block -------------------------------------------------------------------------- */

/* A word no service answers, in and behind a block. */
#define POISON 0xa5a5a5a5u

static void poison(uint64_t address, size_t words)
{
	struct be32 word = be32(POISON);

	for (size_t i = 0; i < words; i++)
		poke(address + i * sizeof word, &word, sizeof word);
}

static uint32_t word_at(uint64_t address)
{
	struct be32 word;

	peek(address, &word, sizeof word);
	return from_be32(word);
}

static void expect_poison(uint64_t address, size_t words)
{
	for (size_t i = 0; i < words; i++)
		assert_int_equal(word_at(address + i * 4), POISON);
}

/* A block of so many words that asks for a service that is not there; all words poisoned. */
static int64_t call_nothing(uint64_t address, uint32_t nargs, uint32_t nret)
{
	put_block(address, TOKEN_END, nargs, nret, NULL);
	return call_block(0, address);
}

static void a_block_holds_16_words(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	for (uint32_t nargs = 0; nargs <= 16; nargs++) {
		uint64_t results = BLOCK(0) + HEAD_BYTES + nargs * 4;

		poison(BLOCK(0), 32);
		assert_int_equal(call_nothing(BLOCK(0), nargs, 16 - nargs), H_SUCCESS);
		expect_poison(BLOCK(0) + HEAD_BYTES, nargs);
		if (nargs < 16)
			assert_int_equal(word_at(results), (uint32_t)-3);
		for (uint32_t i = 1; i < 16 - nargs; i++)
			assert_int_equal(word_at(results + i * 4), 0);
		expect_poison(BLOCK(0) + HEAD_BYTES + 16 * 4, 4);
	}
}

static void a_block_of_more_words_is_no_block(void **state)
{
	static const uint32_t counts[][2] = {{17, 0}, {0, 17}, {16, 1}, {1, 16}, {9, 8},
	    {UINT32_MAX, 0}, {0, UINT32_MAX}, {UINT32_MAX, 1}, {1, UINT32_MAX}, {UINT32_MAX, 17},
	    {UINT32_MAX, UINT32_MAX}, {0x80000000, 0x80000000}, {0x80000000, 0x80000010},
	    {0x40000000, 1}, {1, 0x40000000}, {0x40000003, 1}, {UINT32_MAX - 2, 3}};
	struct fixture *f = *state;

	power_on(f);
	for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
		poison(BLOCK(0), 32);
		put_block(BLOCK(0), rtas_token_of("query-cpu-stopped-state"), counts[i][0],
		    counts[i][1], NULL);
		assert_int_equal(call_block(0, BLOCK(0)), H_PARAMETER);
		expect_poison(BLOCK(0) + HEAD_BYTES, 29);
	}
	assert_int_equal(counter(f, "rtas-calls"), 0);
}

static void a_block_may_end_where_ram_ends(void **state)
{
	struct fixture *f = *state;
	uint64_t block = RAM - HEAD_BYTES - 3 * 4;

	power_on(f);
	put_block(block, rtas_token_of("query-cpu-stopped-state"), 1, 2, (uint32_t[]){0});
	assert_int_equal(call_block(0, block), H_SUCCESS);
	assert_int_equal(word_at(block + 16), 0);
	assert_int_equal(word_at(block + 20), 2);
	put_block(RAM - HEAD_BYTES, TOKEN_END, 0, 0, NULL);
	assert_int_equal(call_block(0, RAM - HEAD_BYTES), H_SUCCESS);
}

static void a_block_must_not_leave_ram(void **state)
{
	static const uint64_t outside[] = {RAM - 11, RAM - 1, RAM, RAM + 1, 2 * RAM, 0x7ffffffc,
	    0x80000000, 0xfffffff0, 0xfffffffc, UINT32_MAX};
	struct fixture *f = *state;
	uint64_t block = RAM - HEAD_BYTES - 2 * 4;

	power_on(f);
	/* The head is inside, the words are not; then the arguments are, the results are not. */
	poison(block, 5);
	put_block(block, rtas_token_of("query-cpu-stopped-state"), 1, 2, NULL);
	assert_int_equal(call_block(0, block), H_PARAMETER);
	expect_poison(block + HEAD_BYTES, 2);
	put_block(block, TOKEN_END, 2, 1, NULL);
	assert_int_equal(call_block(0, block), H_PARAMETER);
	expect_poison(block + HEAD_BYTES, 2);
	for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++)
		assert_int_equal(call_block(0, outside[i]), H_PARAMETER);
	assert_int_equal(counter(f, "rtas-calls"), 0);
}

static void rtas_knows_only_the_lower_half_of_an_address(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	put_block(BLOCK(0), TOKEN_END, 0, 1, NULL);
	assert_int_equal(call_block(0, UINT64_C(0xc000000000000000) | BLOCK(0)), H_SUCCESS);
	assert_int_equal(word_at(BLOCK(0) + HEAD_BYTES), (uint32_t)-3);
	poison(BLOCK(0) + HEAD_BYTES, 1);
	assert_int_equal(call_block(0, UINT64_C(0xffffffff00000000) | BLOCK(0)), H_SUCCESS);
	assert_int_equal(word_at(BLOCK(0) + HEAD_BYTES), (uint32_t)-3);
}

static void a_block_must_not_cross_4_gib(void **state)
{
	struct fixture *f = *state;
	const uint64_t crossing = 4 * GIB - HEAD_BYTES;

	f->config.memory_bytes = 5 * GIB;
	power_on(f);
	poison(crossing, 32);
	put_block(crossing, TOKEN_END, 0, 4, NULL);
	assert_int_equal(call_block(0, crossing), H_PARAMETER);
	expect_poison(4 * GIB, 4);
	/* What is above has no address of its own. */
	poison(4 * GIB + BLOCK(0), 4);
	put_block(4 * GIB + BLOCK(0), TOKEN_END, 0, 1, NULL);
	put_block(BLOCK(0), TOKEN_END, 0, 1, NULL);
	assert_int_equal(call_block(0, 4 * GIB + BLOCK(0)), H_SUCCESS);
	expect_poison(4 * GIB + BLOCK(0) + HEAD_BYTES, 1);
	assert_int_equal(word_at(BLOCK(0) + HEAD_BYTES), (uint32_t)-3);
	/* Buffers named in arguments are 32-bit too, and may lie right below. */
	assert_int_equal(RTAS(0, "check-exception", 0x500, 0, UINT32_MAX, 0, UINT32_MAX, 1), 1);
}

static void without_results_nothing_is_written(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	for (uint32_t token = rtas_token(0); token <= TOKEN_END; token++) {
		poison(BLOCK(0), 32);
		put_block(BLOCK(0), token, 3, 0, NULL);
		assert_int_equal(call_block(0, BLOCK(0)), H_SUCCESS);
		assert_int_equal(word_at(BLOCK(0)), token);
		assert_int_equal(word_at(BLOCK(0) + 4), 3);
		assert_int_equal(word_at(BLOCK(0) + 8), 0);
		expect_poison(BLOCK(0) + HEAD_BYTES, 29);
	}
}

/* --- The table -------------------------------------------------------------------------- */

static void an_unknown_token_is_a_parameter_error(void **state)
{
	const uint32_t tokens[] = {0, 1, 0xa, rtas_token(0) - 1, TOKEN_END, TOKEN_END + 1,
	    rtas_token(0) | 0x10000, 0x80000000 | rtas_token(0), UINT32_MAX};
	struct fixture *f = *state;

	power_on(f);
	for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
		poison(BLOCK(0), 32);
		put_block(BLOCK(0), tokens[i], 0, 2, NULL);
		assert_int_equal(call_block(0, BLOCK(0)), H_SUCCESS);
		assert_int_equal(word_at(BLOCK(0) + HEAD_BYTES), (uint32_t)-3);
		assert_int_equal(word_at(BLOCK(0) + HEAD_BYTES + 4), 0);
		expect_poison(BLOCK(0) + HEAD_BYTES + 8, 27);
	}
	assert_int_equal(cpu_stopped_state(0, 0), 2);
	assert_int_equal(counter(f, "rtas-calls"), 10);
	assert_int_equal(counter(f, "rtas-calls-refused"), 9);
}

static void tokens_are_distinct_and_positive(void **state)
{
	(void)state;
	for (size_t i = 0; i < rtas_table_rows; i++) {
		assert_int_equal(rtas_token_of(rtas_table[i].name), rtas_token(i));
		assert_true((int32_t)rtas_token(i) > 0);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(rtas_table[i].name, rtas_table[k].name);
	}
	assert_int_equal((int32_t)rtas_token_of("display-character"), -1);
}

/* What each service takes and gives, status included: LoPAPR chapter 7 and Linux' calls. */
static const struct {
	const char *name;
	uint32_t min_args, max_args, nret;
} services[] = {
    {"start-cpu", 3, 3, 1},
    {"stop-self", 0, 0, 1},
    {"query-cpu-stopped-state", 1, 1, 2},
    {"set-indicator", 3, 3, 1},
    {"get-sensor-state", 2, 2, 2},
    {"ibm,configure-connector", 2, 2, 1},
    {"check-exception", 6, 7, 1},
    {"event-scan", 4, 4, 1},
    {"get-time-of-day", 0, 0, 8},
    {"set-time-of-day", 7, 7, 1},
    {"power-off", 2, 2, 1},
    {"system-reboot", 0, 0, 1},
    {"ibm,os-term", 1, 1, 1},
    {"ibm,get-system-parameter", 3, 3, 1},
    {"ibm,set-system-parameter", 2, 2, 1},
    /* KVM's; what reaches user space all the same is refused. */
    {"ibm,set-xive", 17, 0, 1},
    {"ibm,get-xive", 17, 0, 3},
    {"ibm,int-off", 17, 0, 1},
    {"ibm,int-on", 17, 0, 1},
};
#define SERVICES (sizeof services / sizeof services[0])

static void a_call_with_other_counts_is_refused_and_has_no_effect(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	assert_int_equal(SERVICES, rtas_table_rows);
	for (size_t i = 0; i < SERVICES; i++) {
		uint32_t token = rtas_token_of(services[i].name);

		for (uint32_t words = 0; words <= 16 * 17; words++) {
			uint32_t nargs = words / 17, nret = words % 17;

			if (nargs + nret > 16 ||
			    (nargs >= services[i].min_args && nargs <= services[i].max_args &&
			        nret == services[i].nret))
				continue;
			poison(BLOCK(0), 32);
			put_block(BLOCK(0), token, nargs, nret, NULL);
			assert_int_equal(call_block(0, BLOCK(0)), H_SUCCESS);
			if (nret > 0)
				assert_int_equal(
				    word_at(BLOCK(0) + HEAD_BYTES + nargs * 4), (uint32_t)-3);
			expect_poison(BLOCK(0) + HEAD_BYTES + (nargs + nret) * 4, 4);
		}
	}
	assert_int_equal(spapr_take_news(f->machine), 0);
	assert_int_equal(counter(f, "rtas-calls"), counter(f, "rtas-calls-refused"));
	fake_wait_running(0);
}

static void kvm_knows_the_tokens_of_the_services_it_answers(void **state)
{
	struct fixture *f = *state;
	struct kvm_xics_tokens tokens;

	power_on(f);
	tokens = fake_xics_tokens();
	assert_int_equal(tokens.set_xive, rtas_token_of("ibm,set-xive"));
	assert_int_equal(tokens.get_xive, rtas_token_of("ibm,get-xive"));
	assert_int_equal(tokens.int_off, rtas_token_of("ibm,int-off"));
	assert_int_equal(tokens.int_on, rtas_token_of("ibm,int-on"));
	assert_int_equal(RTAS(0, "ibm,set-xive", IRQ_VTY, 0, 5), -3);
	assert_int_equal(RTAS(0, "ibm,int-on", IRQ_VTY), -3);
}

static void the_blob_makes_the_private_hcall(void **state)
{
	/* mr r4,r3; lis r3,0; ori r3,r3,0xf000; sc 1; blr */
	static const uint8_t blob[20] = {0x7c, 0x64, 0x1b, 0x78, 0x3c, 0x60, 0, 0, 0x60, 0x63, 0xf0,
	    0, 0x44, 0, 0, 0x22, 0x4e, 0x80, 0, 0x20};
	struct fixture *f = *state;
	uint8_t bytes[sizeof blob];

	power_on(f);
	peek(RAM - 0x10000, bytes, sizeof bytes);
	assert_memory_equal(bytes, blob, sizeof blob);
}

/* --- Services about the machine --------------------------------------------------------- */

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

/* --- System parameters ------------------------------------------------------------------ */

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

/* --- The last words --------------------------------------------------------------------- */

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

/* --- Whatever comes to their minds ------------------------------------------------------ */

#define VCPUS 4
#ifdef __SANITIZE_THREAD__
#define CALLS 30000 /* each takes much longer */
#else
#define CALLS 100000
#endif

/* xorshift; the seeds are fixed. */
static uint32_t next_random(uint32_t *random)
{
	*random ^= *random << 13;
	*random ^= *random >> 17;
	*random ^= *random << 5;
	return *random;
}

static uint32_t pick(uint32_t *random, const uint32_t *from, size_t count)
{
	return from[next_random(random) % count];
}
#define PICK(random, ...)                                                                          \
	pick(random, (uint32_t[]){__VA_ARGS__}, sizeof((uint32_t[]){__VA_ARGS__}) / 4)

struct crowd {
	_Atomic uint32_t calls, answered;
	_Atomic bool over;
	_Atomic int living;
};

struct guest {
	struct crowd *crowd;
	uint32_t id, random;
};

/* An address in the guest's own pages, at the end of RAM, or beyond. */
static uint32_t some_address(struct guest *guest)
{
	uint32_t own = (uint32_t)AREA(guest->id) + next_random(&guest->random) % 0x8000;

	return PICK(&guest->random, own, own, own, own, RAM, UINT32_MAX, 0x80000000 + own, RAM - 4);
}

static uint32_t some_word(struct guest *guest)
{
	uint32_t core = next_random(&guest->random) % VCPUS;

	return PICK(&guest->random, core, DRC(core), DRC(core), DRC(core), 0, 1, 9001, 9003, 9003,
	    some_address(guest), MASK_HOTPLUG, UINT32_MAX, next_random(&guest->random));
}

/* Calls that mean something are more likely than noise; those that end everything are not. */
static void put_rtas(struct guest *guest)
{
	static const char *const likely[] = {"set-indicator", "set-indicator", "set-indicator",
	    "ibm,configure-connector", "ibm,configure-connector", "check-exception",
	    "get-sensor-state", "start-cpu", "start-cpu", "start-cpu", "query-cpu-stopped-state"};
	uint32_t *random = &guest->random, args[RTAS_WORDS], row, nargs, nret;
	struct be32 work[2] = {
	    be32(DRC(next_random(random) % VCPUS)), be32(next_random(random) % 2)};

	for (row = 0; row < rtas_table_rows; row++)
		if (strcmp(rtas_table[row].name, likely[next_random(random) % 11]) == 0)
			break;
	if (row == rtas_table_rows || next_random(random) % 16 == 0)
		row = next_random(random) % (uint32_t)rtas_table_rows;
	nargs = rtas_table[row].max_args;
	nret = rtas_table[row].nret;
	for (uint32_t i = 0; i < RTAS_WORDS; i++)
		args[i] = some_word(guest);
	if (strcmp(rtas_table[row].name, "set-indicator") == 0) {
		args[0] = PICK(random, 9001, 9003);
		args[1] = DRC(next_random(random) % VCPUS);
		args[2] = next_random(random) % 2;
	} else if (strcmp(rtas_table[row].name, "ibm,configure-connector") == 0) {
		args[0] = PICK(random, (uint32_t)WORK(guest->id), some_address(guest));
	} else if (next_random(random) % 64 != 0 &&
	           (strcmp(rtas_table[row].name, "power-off") == 0 ||
	               strcmp(rtas_table[row].name, "system-reboot") == 0 ||
	               strcmp(rtas_table[row].name, "ibm,os-term") == 0 ||
	               strcmp(rtas_table[row].name, "stop-self") == 0)) {
		nargs = next_random(random) % 17;
	}
	if (next_random(random) % 32 == 0)
		nret = PICK(random, 0, 1, 2, 16, UINT32_MAX, next_random(random));
	poke(WORK(guest->id), work, sizeof work);
	put_block(BLOCK(guest->id), rtas_token(row), nargs, nret, args);
}

static void call_something(struct guest *guest)
{
	static const uint32_t hcalls[] = {0x54, 0x58, 0x58, 0x1c8, 0x31c, 0x31c, 0x37c, 0x398, 4};
	uint32_t *random = &guest->random;
	uint64_t nr = HCALL_RTAS, args[9] = {BLOCK(guest->id)};
	int64_t r3;

	put_rtas(guest);
	if (next_random(random) % 8 == 0)
		args[0] = some_address(guest);
	if (next_random(random) % 8 == 0) {
		nr = pick(random, hcalls, sizeof hcalls / sizeof hcalls[0]);
		for (size_t i = 0; i < 4; i++)
			args[i] = PICK(random, 0, 1, 3, 4, 16, 0x1d, 0x71000000, some_word(guest));
	}
	guest->crowd->answered += fake_try_hcall(guest->id, nr, args, NULL, &r3);
}

static void *guest_main(void *argument)
{
	struct guest *guest = argument;

	while (!guest->crowd->over) {
		call_something(guest);
		guest->crowd->calls++;
	}
	guest->crowd->living--;
	return NULL;
}

static void check_everything(struct fixture *f)
{
	for (uint32_t core = 0; core < VCPUS; core++) {
		struct spapr_core_info info = core_info(f, core); /* drc_valid() is seen to there */

		assert_int_equal(info.drc.adding, info.add_operation != 0);
		assert_int_equal(info.drc.removing, info.remove_operation != 0);
		assert_int_equal(info.drc.attached, info.device[0] != '\0');
		if (info.drc.attached)
			assert_int_not_equal(info.vcpus[0].state, SPAPR_VCPU_ABSENT);
		else
			assert_true(info.vcpus[0].state == SPAPR_VCPU_ABSENT ||
			            info.vcpus[0].state == SPAPR_VCPU_STOPPING);
	}
}

/* The operator does something; what is refused is fine. */
static void operate(struct fixture *f, uint32_t *random)
{
	static struct operation operations[SPAPR_OPERATIONS];
	struct err err = {0};
	uint64_t id;
	char bytes[512], device[OP_DEVICE_MAX];
	uint32_t core = next_random(random) % (VCPUS + 1);
	size_t count;

	snprintf(device, sizeof device, "core%u", core);
	switch (next_random(random) % 16) {
	case 0:
	case 1:
	case 2:
	case 3: spapr_core_add(f->machine, core, device, &id, &err); break;
	case 4:
	case 5:
	case 6:
	case 7: spapr_core_remove(f->machine, device, &id, &err); break;
	case 8:
		count = spapr_operations(f->machine, operations, SPAPR_OPERATIONS);
		if (count > 0)
			spapr_operation_cancel(
			    f->machine, operations[next_random(random) % count].id, &err);
		break;
	case 9:
		spapr_stop(f->machine);
		check_everything(f);
		spapr_cont(f->machine);
		break;
	case 10: spapr_powerdown(f->machine); break;
	case 11: spapr_console_write(f->machine, "typed", 5); break;
	default: check_everything(f); break;
	}
	while (spapr_console_read(f->machine, bytes, sizeof bytes) > 0)
		;
	drop_reports(f);
	spapr_check_deadline(f->machine);
	assert_int_equal(spapr_take_news(f->machine) & SPAPR_NEWS_FAILED, 0);
}

/* Until CALLS have been made. A reset when nothing moves: all vCPUs may be stopped by then. */
static void operate_a_crowd(struct fixture *f, struct crowd *crowd)
{
	uint32_t random = 4711, seen = 0, still = 0;
	struct err err = {0};

	while (crowd->calls < CALLS) {
		operate(f, &random);
		for (unsigned i = 0; i < 20; i++)
			sched_yield();
		still = crowd->calls == seen ? still + 1 : 0;
		seen = crowd->calls;
		if (still > 20 || next_random(&random) % 200 == 0)
			assert_true(spapr_boot(f->machine, &err));
	}
	crowd->over = true;
	while (crowd->living > 0)
		assert_true(spapr_boot(f->machine, &err));
}

static void no_guest_can_break_the_machine(void **state)
{
	struct fixture *f = *state;
	struct crowd crowd = {.living = VCPUS};
	struct guest guests[VCPUS];
	pthread_t threads[VCPUS];

	power_on_cpus(f, 2, VCPUS, 1);
	for (uint32_t core = 2; core < VCPUS; core++)
		add(f, core); /* so that there are vCPUs to play */
	for (uint32_t i = 0; i < VCPUS; i++) {
		guests[i] = (struct guest){.crowd = &crowd, .id = i, .random = 12345 + i};
		assert_int_equal(pthread_create(&threads[i], NULL, guest_main, &guests[i]), 0);
	}
	operate_a_crowd(f, &crowd);
	for (uint32_t i = 0; i < VCPUS; i++)
		pthread_join(threads[i], NULL);
	assert_true(crowd.answered > CALLS / 2);
	/* And it works as before. */
	reset(f);
	check_everything(f);
	for (uint32_t core = 1; core < VCPUS; core++) {
		if (core_info(f, core).drc.attached)
			continue;
		add_in_use(f, core);
		take_away(f, core);
		linux_remove(f, 0, core);
		expect_core(f, core, DRC_UNUSABLE, SPAPR_VCPU_ABSENT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_block_holds_16_words),
	    TEST(a_block_of_more_words_is_no_block),
	    TEST(a_block_may_end_where_ram_ends),
	    TEST(a_block_must_not_leave_ram),
	    TEST(rtas_knows_only_the_lower_half_of_an_address),
	    TEST(a_block_must_not_cross_4_gib),
	    TEST(without_results_nothing_is_written),
	    TEST(an_unknown_token_is_a_parameter_error),
	    cmocka_unit_test(tokens_are_distinct_and_positive),
	    TEST(a_call_with_other_counts_is_refused_and_has_no_effect),
	    TEST(kvm_knows_the_tokens_of_the_services_it_answers),
	    TEST(the_blob_makes_the_private_hcall),
	    TEST(the_clock_is_the_host_s_until_the_guest_sets_it),
	    TEST(a_time_that_cannot_be_is_refused),
	    TEST(what_linux_asks_for_at_boot_gets_a_plain_no),
	    TEST(power_off_and_reboot_are_told_and_stop_every_vcpu),
	    TEST(a_reset_forgets_how_the_last_run_ended),
	    TEST(last_words_are_cleaned_and_cut),
	    TEST(last_words_outside_ram_are_none),
	    TEST(last_words_not_given_are_those_on_the_console),
	    TEST(system_parameters_tell_what_the_machine_was_made_with),
	    TEST(a_system_parameter_fills_no_more_than_its_buffer),
	    TEST(last_words_may_end_where_ram_ends),
	    TEST(no_guest_can_break_the_machine),
	};

	return cmocka_run_group_tests_name("rtas", tests, NULL, NULL);
}
