/* SPDX-License-Identifier: Apache-2.0 */
/* test_failures.c - configurations that are refused, and what happens when KVM fails. */
#include "machine_fixture.h"

#include <sched.h>
#include <string.h>

enum { GET_TERM_CHAR = 0x54, PUT_TERM_CHAR = 0x58, CHARACTERISTICS = 0x1c8 };
enum { SET_MODE = 0x31c, REGISTER_PROC_TBL = 0x37c };
enum { AIL = 3, LE = 4 };

/* --- What cannot be, and what KVM cannot do -------------------------------------------------- */

static void a_configuration_that_cannot_be_is_refused(void **state)
{
	static const struct {
		uint64_t memory_bytes;
		uint32_t threads, boot_cpus, max_cpus;
		bool good;
	} configs[] = {{256 * MIB, 1, 1, 1, true}, {512 * MIB, 8, 8, 2048, true},
	    {0, 1, 1, 1, false}, {128 * MIB, 1, 1, 1, false}, {257 * MIB, 1, 1, 1, false},
	    {256 * MIB, 0, 1, 1, false}, {256 * MIB, 3, 3, 3, false},
	    {256 * MIB, 16, 16, 16, false}, {256 * MIB, 1, 0, 1, false},
	    {256 * MIB, 1, 2, 1, false}, {256 * MIB, 2, 1, 2, false}, {256 * MIB, 2, 2, 3, false},
	    {256 * MIB, 1, 1, 2049, false}, {256 * MIB, 1, 1, UINT32_MAX, false}};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof configs / sizeof configs[0]; i++) {
		struct err err = {0};

		f->config.memory_bytes = configs[i].memory_bytes;
		f->config.threads = configs[i].threads;
		f->config.boot_cpus = configs[i].boot_cpus;
		f->config.max_cpus = configs[i].max_cpus;
		assert_int_equal(
		    spapr_check_config(&f->config, fake_facts(), &err), configs[i].good);
		if (!configs[i].good) {
			assert_int_equal(err.class, ERR_USAGE);
			assert_string_not_equal(err.hint, "");
			assert_null(spapr_create(&f->config, &err));
		}
	}
	f->config.max_cpus = 65536;
	assert_false(spapr_check_config(&f->config, NULL, &(struct err){0}));
}

static void a_failed_boot_is_told_and_the_next_one_works(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	for (int i = 0; i < 3; i++) {
		struct err err = {0};

		f->load_fails = i == 0;
		if (i == 1)
			fake_fail_next(FAKE_SET_PROCESS_TABLE, 1);
		if (i == 2)
			fake_fail_after(FAKE_IRQ_RESET, 2, 1);
		assert_false(spapr_boot(f->machine, &err));
		assert_int_not_equal(err.class, ERR_NONE);
		assert_string_not_equal(err.message, "");
		assert_false(fake_vcpu_running(0));
	}
	reset(f);
	assert_int_equal(fake_vcpu_enters(0), 2);
}

static void a_machine_that_cannot_be_made_leaves_nothing_behind(void **state)
{
	static const struct {
		enum fake_call call;
		uint32_t skip;
	} failures[] = {{FAKE_VM_CREATE, 0}, {FAKE_ADD_MEMORY, 0}, {FAKE_SET_THREADS, 0},
	    {FAKE_CREATE_IRQCHIP, 0}, {FAKE_VCPU_CREATE, 0}, {FAKE_VCPU_CREATE, 5}};
	struct fixture *f = *state;

	f->config.boot_cpus = f->config.max_cpus = 8;
	f->config.threads = 4;
	for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
		struct err err = {0};

		fake_fail_after(failures[i].call, failures[i].skip, 1);
		assert_null(spapr_create(&f->config, &err));
		assert_int_not_equal(err.class, ERR_NONE);
		assert_int_equal(fake_live_vcpus(), 0);
		assert_int_equal(fake_live_vms(), 0);
	}
	power_on(f);
}

static bool has_failed(void *context)
{
	const struct fixture *f = context;

	return (spapr_take_news(f->machine) & SPAPR_NEWS_FAILED) != 0;
}

/* It is told with this text, and no vCPU runs on. */
static void expect_failed(struct fixture *f, const char *text)
{
	struct err err = {0};
	unsigned turns = 0;

	fake_wait_until(has_failed, f, "a failure is told");
	spapr_failure(f->machine, &err);
	if (strstr(err.message, text) == NULL)
		fail_msg("got '%s', expected '%s'", err.message, text);
	for (uint32_t id = 0; id < 2; id++)
		while (fake_vcpu_running(id) && turns++ < 100000)
			sched_yield();
	assert_false(fake_vcpu_running(0));
	assert_false(fake_vcpu_running(1));
}

static void a_vcpu_that_cannot_go_on_stops_the_machine(void **state)
{
	struct fixture *f = *state;

	power_on_cpus(f, 2, 2, 1);
	linux_online(f, 0, 1);
	fake_run_failure(1, "bad things happen");
	expect_failed(f, "vCPU 1: bad things happen");
	reset(f);
	linux_online(f, 0, 1);
}

static void a_vcpu_that_cannot_start_or_park_stops_the_machine(void **state)
{
	struct fixture *f = *state;

	power_on_cpus(f, 2, 2, 1);
	fake_fail_next(FAKE_ENTER_AT, 1);
	rtas_noreturn(0, "start-cpu", 3, (uint32_t[]){1, SECONDARY, 1});
	expect_failed(f, "cannot set registers");
	reset(f);
	linux_online(f, 0, 1);
	fake_fail_next(FAKE_PARK, 1);
	stop_self(1);
	expect_failed(f, "cannot park");
	reset(f);
	linux_online(f, 0, 1);
}

static void a_vcpu_that_cannot_take_the_modes_stops_the_machine(void **state)
{
	struct fixture *f = *state;

	power_on_cpus(f, 2, 2, 1);
	linux_online(f, 0, 1);
	fake_fail_next(FAKE_SET_MODES, 1);
	fake_hcall_noreturn(0, SET_MODE, (uint64_t[9]){1, LE});
	expect_failed(f, "cannot set LPCR");
}

static void a_failure_leaves_no_stopped_cpu_in_a_core_that_has_left(void **state)
{
	struct fixture *f = *state;

	power_on_cpus(f, 2, 2, 1);
	linux_online(f, 0, 1);
	take_away(f, 1);
	isolate(0, 1);
	fake_fail_next(FAKE_PARK, 1);
	rtas_noreturn(0, "set-indicator", 3, (uint32_t[]){9003, DRC(1), 0});
	expect_failed(f, "cannot park");
	expect_core(f, 1, DRC_UNUSABLE, SPAPR_VCPU_ABSENT);
}

static void a_machine_that_cannot_forget_its_last_life_does_not_start(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};

	power_on_cpus(f, 2, 2, 1);
	linux_online(f, 0, 1);
	fake_fail_next(FAKE_PARK, 1);
	assert_false(spapr_boot(f->machine, &err));
	/* The caller knows; and it is no reason to end the program. */
	assert_int_equal(spapr_take_news(f->machine) & SPAPR_NEWS_FAILED, 0);
	assert_non_null(strstr(err.message, "cannot park"));
	assert_false(fake_vcpu_running(0));
	reset(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_configuration_that_cannot_be_is_refused),
	    TEST(a_failed_boot_is_told_and_the_next_one_works),
	    TEST(a_machine_that_cannot_be_made_leaves_nothing_behind),
	    TEST(a_vcpu_that_cannot_go_on_stops_the_machine),
	    TEST(a_vcpu_that_cannot_start_or_park_stops_the_machine),
	    TEST(a_vcpu_that_cannot_take_the_modes_stops_the_machine),
	    TEST(a_failure_leaves_no_stopped_cpu_in_a_core_that_has_left),
	    TEST(a_machine_that_cannot_forget_its_last_life_does_not_start),
	};

	return cmocka_run_group_tests_name("hcall", tests, NULL, NULL);
}
