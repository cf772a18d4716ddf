/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_hcall.c - hypervisor calls, but those of the console (test_vty.c). Expectations are LoPAPR
 * chapter 14 and what Linux relies on, not the table in hcall.c.
 */
#include "machine_fixture.h"

#include <sched.h>
#include <string.h>

enum { GET_TERM_CHAR = 0x54, PUT_TERM_CHAR = 0x58, CHARACTERISTICS = 0x1c8 };
enum { SET_MODE = 0x31c, REGISTER_PROC_TBL = 0x37c };
enum { AIL = 3, LE = 4 };

#define CALL(vcpu, nr, ...) fake_hcall(vcpu, nr, (uint64_t[9]){__VA_ARGS__}, NULL)

/* --- What is not there ----------------------------------------------------------------------- */

static void an_unknown_hcall_is_answered_h_function(void **state)
{
	/* Nothing, a neighbour of something, one Linux probes, one only firmware makes, rows
	 * that are KVM's to answer and reached user space after all, and nonsense. */
	static const uint64_t unknown[] = {0, 0x50, 0x55, 0x5c, 0x398, 0xf001, 0xf002, 0xf004, 0xe0,
	    0xe4, 0xdc, 0x28, 0x2c, 0x64, 0xf001f000, UINT64_C(0x10000f000), UINT64_C(0x100000058),
	    UINT64_MAX};
	struct fixture *f = *state;
	const uint64_t args[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
	uint64_t ret[9];

	power_on(f);
	for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
		assert_int_equal(fake_hcall(0, unknown[i], args, ret), -2);
		assert_memory_equal(ret, args, sizeof args);
	}
	assert_int_equal(counter(f, "hcalls-unknown"), sizeof unknown / sizeof unknown[0]);
	assert_int_equal(counter(f, "hcalls"), sizeof unknown / sizeof unknown[0]);
}

static void kvm_is_asked_to_answer_what_it_can(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	for (size_t i = 0; i < hcall_table_rows; i++)
		assert_int_equal(fake_hcall_enabled(hcall_table[i].number), hcall_table[i].enable);
	assert_true(fake_hcall_enabled(SET_MODE));
}

/* What `paprika check --papr` prints: every call once, with all that is to be said of it. */
static void every_call_is_documented(void **state)
{
	struct spapr_call call;
	size_t count = 0, kvm = 0;

	(void)state;
	for (; spapr_call_info(count, &call); count++) {
		assert_int_equal(call.rtas, count >= hcall_table_rows);
		assert_true(call.number != 0 && call.name[0] != '\0' && call.about[0] != '\0');
		assert_true(strcmp(call.section, "-") == 0 || strchr(call.section, '.') != NULL);
		assert_true(
		    strcmp(call.answerer, "paprika") == 0 || strcmp(call.answerer, "KVM") == 0);
		kvm += strcmp(call.answerer, "KVM") == 0;
	}
	assert_int_equal(count, hcall_table_rows + rtas_table_rows);
	assert_true(kvm > 0 && kvm < count);
}

static void a_kvm_that_answers_nothing_itself_is_no_reason_to_fail(void **state)
{
	struct fixture *f = *state;

	fake_fail_next(FAKE_ENABLE_HCALL, 1000);
	power_on(f);
	assert_false(fake_hcall_enabled(SET_MODE));
	assert_int_equal(CALL(0, SET_MODE, 1, LE), H_SUCCESS);
}

static void memory_that_is_not_there_lets_the_guest_go_on(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	fake_mmio(0, 256 * MIB, 4, false);
	fake_mmio(0, UINT64_C(0xf000000000), 8, true);
	assert_int_equal(counter(f, "stray-accesses"), 2);
	assert_true(spapr_take_news(f->machine) == 0);
}

static void every_return_of_the_guest_is_counted(void **state)
{
	struct fixture *f = *state;
	uint64_t args[9] = {0}, ret[9], before;

	power_on(f);
	fake_hcall(0, 0x6000, args, ret); /* what the start had to do is done after it */
	before = counter(f, "guest-exits");
	fake_hcall(0, 0x6000, args, ret);
	fake_mmio(0, 256 * MIB, 4, false);
	fake_hcall(0, 0x6000, args, ret);
	assert_int_equal(counter(f, "guest-exits"), before + 3);
}

/* --- H_SET_MODE ------------------------------------------------------------------------------ */

static void expect_modes(uint32_t vcpu, bool little_endian, uint8_t ail)
{
	struct kvm_modes modes;

	fake_wait_running(vcpu);
	modes = fake_vcpu_modes(vcpu);
	assert_int_equal(modes.little_endian_interrupts, little_endian);
	assert_int_equal(modes.ail, ail);
}

static void modes_reach_running_vcpus_and_those_started_later(void **state)
{
	struct fixture *f = *state;

	power_on_cpus(f, 3, 4, 1);
	linux_online(f, 0, 1);
	expect_modes(0, false, 0);
	expect_modes(1, false, 0);
	assert_int_equal(CALL(0, SET_MODE, 1, LE), H_SUCCESS);
	expect_modes(1, true, 0);
	expect_modes(0, true, 0);
	assert_int_equal(CALL(1, SET_MODE, 3, AIL), H_SUCCESS);
	expect_modes(0, true, 3);
	expect_modes(1, true, 3);
	linux_online(f, 0, 2);
	expect_modes(2, true, 3);
	add_in_use(f, 3);
	expect_modes(3, true, 3);
	assert_int_equal(CALL(3, SET_MODE, 0, LE), H_SUCCESS);
	for (uint32_t id = 0; id < 4; id++)
		expect_modes(id, false, 3);
	assert_int_equal(CALL(0, SET_MODE, 0, AIL), H_SUCCESS);
	for (uint32_t id = 0; id < 4; id++)
		expect_modes(id, false, 0);
	/* A change of modes is not a new start. */
	for (uint32_t id = 0; id < 4; id++)
		assert_int_equal(fake_vcpu_enters(id), 1);
}

static void modes_do_not_survive_a_reset(void **state)
{
	struct fixture *f = *state;

	power_on_cpus(f, 2, 2, 1);
	CALL(0, SET_MODE, 1, LE);
	CALL(0, SET_MODE, 3, AIL);
	reset(f);
	expect_modes(0, false, 0);
	linux_online(f, 0, 1);
	expect_modes(1, false, 0);
}

static void a_mode_that_cannot_be_is_refused_and_changes_nothing(void **state)
{
	static const struct {
		uint64_t args[4]; /* flags, resource, two values */
		int64_t status;
	} calls[] = {
	    {{2, LE}, H_UNSUPPORTED_FLAG},
	    {{3, LE}, H_UNSUPPORTED_FLAG},
	    {{UINT64_C(1) << 32, LE}, H_UNSUPPORTED_FLAG},
	    {{UINT64_C(1) << 32 | 1, LE}, H_UNSUPPORTED_FLAG},
	    {{1, AIL}, H_UNSUPPORTED_FLAG},
	    {{2, AIL}, H_UNSUPPORTED_FLAG},
	    {{4, AIL}, H_UNSUPPORTED_FLAG},
	    {{UINT64_C(1) << 32 | 3, AIL}, H_UNSUPPORTED_FLAG},
	    {{UINT64_MAX, AIL}, H_UNSUPPORTED_FLAG},
	    {{1, LE, 1}, H_P3},
	    {{1, LE, 0, 1}, H_P4},
	    {{3, AIL, UINT64_C(1) << 32}, H_P3},
	    {{3, AIL, 0, UINT64_C(1) << 32}, H_P4},
	    {{1, 0}, H_P2},
	    {{1, 1}, H_P2},
	    {{1, 2}, H_P2},
	    {{1, 5}, H_P2},
	    {{1, UINT64_C(1) << 32 | LE}, H_P2},
	};
	struct fixture *f = *state;

	power_on(f);
	for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
		uint64_t args[9] = {0};

		memcpy(args, calls[i].args, sizeof calls[i].args);
		assert_int_equal(fake_hcall(0, SET_MODE, args, NULL), calls[i].status);
		expect_modes(0, false, 0);
	}
}

static void without_the_host_there_is_no_ail(void **state)
{
	struct fixture *f = *state;

	fake_facts()->ail3 = false;
	power_on(f);
	assert_int_equal(CALL(0, SET_MODE, 3, AIL), H_UNSUPPORTED_FLAG);
	assert_int_equal(CALL(0, SET_MODE, 0, AIL), H_SUCCESS);
	expect_modes(0, false, 0);
}

/* --- H_SET_SPRG0, H_HOME_NODE_ASSOCIATIVITY -------------------------------------------------- */

enum { SET_SPRG0 = 0x24, HOME_NODE = 0x2ec };

static void sprg0_is_set_on_the_cpu_that_calls(void **state)
{
	struct fixture *f = *state;

	power_on_cpus(f, 2, 4, 1);
	assert_int_equal(start_cpu(0, 1), 0);
	assert_int_equal(CALL(1, SET_SPRG0, UINT64_C(0xcafebabedeadbeef)), H_SUCCESS);
	assert_int_equal(fake_vcpu_sprg0(1), UINT64_C(0xcafebabedeadbeef));
	assert_int_equal(fake_vcpu_sprg0(0), 0);
	fake_fail_next(FAKE_SET_SPRG0, 1);
	assert_int_equal(CALL(1, SET_SPRG0, 1), H_HARDWARE);
}

/* Not an hcall, but the same register file. */
static void registers_are_told_of_a_cpu_that_runs_while_the_guest_stands(void **state)
{
	struct fixture *f = *state;
	struct kvm_registers registers;

	power_on_cpus(f, 2, 4, 1);
	assert_int_equal(start_cpu(0, 1), 0);
	assert_false(spapr_vcpu_registers(f->machine, 1, &registers)); /* the guest runs */
	spapr_stop(f->machine);
	assert_true(spapr_vcpu_registers(f->machine, 1, &registers));
	assert_int_equal(registers.pc, fake_vcpu_pc(1));
	assert_int_equal(registers.lr, fake_vcpu_pc(1) + 4);
	assert_int_equal(registers.ctr, 1);
	assert_true(spapr_vcpu_registers(f->machine, 0, &registers));
	assert_false(spapr_vcpu_registers(f->machine, 2, &registers)); /* not there */
	assert_false(spapr_vcpu_registers(f->machine, 4, &registers));
	fake_fail_next(FAKE_REGISTERS, 1);
	assert_false(spapr_vcpu_registers(f->machine, 1, &registers));
	assert_true(spapr_vcpu_registers(f->machine, 1, &registers));
	spapr_cont(f->machine);
	assert_false(spapr_vcpu_registers(f->machine, 1, &registers));
}

static void a_processor_there_is_has_no_domains_and_no_other_is_known(void **state)
{
	struct fixture *f = *state;
	uint64_t ret[9];

	power_on_cpus(f, 2, 4, 1);
	for (uint64_t id = 0; id < 2; id++) {
		assert_int_equal(fake_hcall(0, HOME_NODE, (uint64_t[9]){1, id}, ret), H_SUCCESS);
		for (size_t i = 0; i < 6; i++)
			assert_true(ret[i] == UINT64_MAX);
		assert_int_equal(ret[6], 0);
	}
	assert_int_equal(CALL(0, HOME_NODE, 1, 2), H_P2); /* its core is not there */
	assert_int_equal(CALL(0, HOME_NODE, 1, 4), H_P2);
	assert_int_equal(CALL(0, HOME_NODE, 1, UINT64_C(0x100000000)), H_P2);
	assert_int_equal(CALL(0, HOME_NODE, 0, 0), H_FUNCTION);
	assert_int_equal(CALL(0, HOME_NODE, 2, 0), H_FUNCTION);
	add_in_use(f, 2);
	assert_int_equal(CALL(0, HOME_NODE, 1, 2), H_SUCCESS);
}

/* --- H_REGISTER_PROC_TBL --------------------------------------------------------------------- */

enum { NEW_RADIX_GTSE = 0x1d, NEW_RADIX = 0x1c, DEREGISTER = 0x10 };

static void a_process_table_is_handed_to_kvm(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	assert_int_equal(CALL(0, REGISTER_PROC_TBL, NEW_RADIX_GTSE, 0x20000, 0, 4), H_SUCCESS);
	assert_int_equal(fake_process_table(), 0x20004);
	assert_true(fake_process_table_gtse());
	assert_int_equal(CALL(0, REGISTER_PROC_TBL, NEW_RADIX, 0x31000, 0, 0), H_SUCCESS);
	assert_int_equal(fake_process_table(), 0x31000);
	assert_false(fake_process_table_gtse());
	assert_int_equal(CALL(0, REGISTER_PROC_TBL, DEREGISTER, 0x31000, 0, 4), H_SUCCESS);
	assert_int_equal(fake_process_table(), 0);
}

static void a_process_table_may_end_where_ram_ends(void **state)
{
	struct fixture *f = *state;
	const uint64_t end = 256 * MIB;

	power_on(f);
	assert_int_equal(
	    CALL(0, REGISTER_PROC_TBL, NEW_RADIX_GTSE, end - 0x10000, 0, 4), H_SUCCESS);
	assert_int_equal(fake_process_table(), (end - 0x10000) | 4);
	assert_int_equal(CALL(0, REGISTER_PROC_TBL, NEW_RADIX_GTSE, end - 0xf000, 0, 4), H_P2);
	assert_int_equal(CALL(0, REGISTER_PROC_TBL, NEW_RADIX_GTSE, 0, 0, 16), H_SUCCESS);
	assert_int_equal(CALL(0, REGISTER_PROC_TBL, NEW_RADIX_GTSE, 0, 0, 17), H_P2);
}

static void a_process_table_that_cannot_be_is_refused(void **state)
{
	static const struct {
		uint64_t flags, base, size;
		int64_t status;
	} calls[] = {
	    {NEW_RADIX_GTSE, 0x20001, 4, H_P2},
	    {NEW_RADIX_GTSE, 0x20800, 4, H_P2},
	    {NEW_RADIX_GTSE, 256 * MIB, 0, H_P2},
	    {NEW_RADIX_GTSE, UINT64_C(1) << 63, 0, H_P2},
	    {NEW_RADIX_GTSE, UINT64_MAX - 0xfff, 0, H_P2},
	    {NEW_RADIX_GTSE, 0x20000, 24, H_P2}, /* as a size good, but not for this RAM */
	    {NEW_RADIX_GTSE, 0x20000, 25, H_P4},
	    {NEW_RADIX_GTSE, 0x20000, 52, H_P4},
	    {NEW_RADIX_GTSE, 0x20000, 64, H_P4},
	    {NEW_RADIX_GTSE, 0x20000, UINT64_MAX, H_P4},
	    {0x18, 0, 0, H_PARAMETER},       /* hash */
	    {0x1a, 0x20000, 4, H_PARAMETER}, /* hash with a table */
	    {0x1e, 0x20000, 4, H_PARAMETER}, /* both */
	    {0, 0, 0, H_PARAMETER},          /* no operation */
	    {0x0c, 0x20000, 4, H_PARAMETER}, /* not a new one */
	    {0x3d, 0x20000, 4, H_PARAMETER}, /* unknown flags */
	    {NEW_RADIX_GTSE | UINT64_C(1) << 32, 0x20000, 4, H_PARAMETER},
	    {DEREGISTER | UINT64_C(1) << 63, 0, 0, H_PARAMETER},
	};
	struct fixture *f = *state;

	power_on(f);
	CALL(0, REGISTER_PROC_TBL, NEW_RADIX_GTSE, 0x10000, 0, 4);
	for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
		assert_int_equal(
		    CALL(0, REGISTER_PROC_TBL, calls[i].flags, calls[i].base, 0, calls[i].size),
		    calls[i].status);
		assert_int_equal(fake_process_table(), 0x10004);
	}
}

static void a_process_table_kvm_refuses_is_refused(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	fake_fail_next(FAKE_SET_PROCESS_TABLE, 1);
	assert_int_equal(CALL(0, REGISTER_PROC_TBL, NEW_RADIX_GTSE, 0x20000, 0, 4), H_PARAMETER);
}

static void a_reset_takes_the_process_table_away(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	CALL(0, REGISTER_PROC_TBL, NEW_RADIX, 0x20000, 0, 4);
	reset(f);
	assert_int_equal(fake_process_table(), 0);
	assert_true(fake_process_table_gtse());
}

/* --- H_GET_CPU_CHARACTERISTICS --------------------------------------------------------------- */

static void cpu_characteristics_are_those_kvm_vouches_for(void **state)
{
	struct fixture *f = *state;
	uint64_t ret[9];

	fake_facts()->cpu_character = 0x8123456789abcdef;
	fake_facts()->cpu_behaviour = 0x7edcba9876543210;
	power_on(f);
	assert_int_equal(fake_hcall(0, CHARACTERISTICS, NULL, ret), H_SUCCESS);
	assert_true(ret[0] == 0x8123456789abcdef);
	assert_true(ret[1] == 0x7edcba9876543210);
}

static void without_kvm_s_word_there_are_no_cpu_characteristics(void **state)
{
	struct fixture *f = *state;

	fake_facts()->cpu_char = false;
	power_on(f);
	assert_int_equal(CALL(0, CHARACTERISTICS, 0), H_FUNCTION);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(every_call_is_documented),
	    TEST(an_unknown_hcall_is_answered_h_function),
	    TEST(kvm_is_asked_to_answer_what_it_can),
	    TEST(a_kvm_that_answers_nothing_itself_is_no_reason_to_fail),
	    TEST(memory_that_is_not_there_lets_the_guest_go_on),
	    TEST(every_return_of_the_guest_is_counted),
	    TEST(modes_reach_running_vcpus_and_those_started_later),
	    TEST(modes_do_not_survive_a_reset),
	    TEST(a_mode_that_cannot_be_is_refused_and_changes_nothing),
	    TEST(without_the_host_there_is_no_ail),
	    TEST(sprg0_is_set_on_the_cpu_that_calls),
	    TEST(registers_are_told_of_a_cpu_that_runs_while_the_guest_stands),
	    TEST(a_processor_there_is_has_no_domains_and_no_other_is_known),
	    TEST(a_process_table_is_handed_to_kvm),
	    TEST(a_process_table_may_end_where_ram_ends),
	    TEST(a_process_table_that_cannot_be_is_refused),
	    TEST(a_process_table_kvm_refuses_is_refused),
	    TEST(a_reset_takes_the_process_table_away),
	    TEST(cpu_characteristics_are_those_kvm_vouches_for),
	    TEST(without_kvm_s_word_there_are_no_cpu_characteristics),
	};

	return cmocka_run_group_tests_name("hcall", tests, NULL, NULL);
}
