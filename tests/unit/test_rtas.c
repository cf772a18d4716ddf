/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_rtas.c - how an RTAS call is read and answered, whatever the guest put into its block, and
 * the table of services.
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

/* --- The block ------------------------------------------------------------------------------- */

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

/* --- The table ------------------------------------------------------------------------------- */

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
    {"set-power-level", 2, 2, 2},
    {"get-power-level", 1, 1, 2},
    {"check-exception", 6, 7, 1},
    {"event-scan", 4, 4, 1},
    {"get-time-of-day", 0, 0, 8},
    {"set-time-of-day", 7, 7, 1},
    {"power-off", 2, 2, 1},
    {"system-reboot", 0, 0, 1},
    {"ibm,os-term", 1, 1, 1},
    {"ibm,get-system-parameter", 3, 3, 1},
    {"ibm,set-system-parameter", 2, 2, 1},
    {"ibm,read-pci-config", 4, 4, 2},
    {"ibm,write-pci-config", 5, 5, 1},
    {"ibm,change-msi", 6, 6, 4},
    {"ibm,query-interrupt-source-number", 4, 4, 3},
    {"ibm,set-eeh-option", 4, 4, 1},
    {"ibm,set-slot-reset", 4, 4, 1},
    {"ibm,read-slot-reset-state2", 3, 3, 4},
    {"ibm,get-config-addr-info2", 4, 4, 2},
    {"ibm,configure-pe", 3, 3, 1},
    {"ibm,slot-error-detail", 8, 8, 1},
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
	};

	return cmocka_run_group_tests_name("rtas", tests, NULL, NULL);
}
