/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_hcall_pr.c - a hash guest, and the hypervisor calls that kvm-pr leaves to user space.
 * Expectations are LoPAPR chapter 14 and what Linux relies on.
 */
#include "machine_fixture.h"

#include <libfdt.h>
#include <stdlib.h>
#include <string.h>

enum { H_READ = 0xc, REGISTER_VPA = 0xdc, CONFER = 0xe4, PROD = 0xe8, REGISTER_PROC_TBL = 0x37c };

#define CALL(vcpu, nr, ...) fake_hcall(vcpu, nr, (uint64_t[9]){__VA_ARGS__}, NULL)

static void on_kvm_pr(void)
{
	fake_facts()->hv = fake_facts()->radix = fake_facts()->nested = false;
	fake_facts()->hash = true;
}

static void on_hash(void)
{
	fake_facts()->radix = false;
	fake_facts()->hash = true;
}

/* --- What the guest finds ------------------------------------------------------------------------
 */

/* Is this one of the strings of /rtas ibm,hypertas-functions? */
static bool has_function(struct fixture *f, const char *name)
{
	int length, node;
	void *blob = device_tree(f, &(size_t){0});
	const char *list;
	bool found;

	node = fdt_path_offset(blob, "/rtas");
	list = fdt_getprop(blob, node, "ibm,hypertas-functions", &length);
	found = list != NULL && fdt_stringlist_contains(list, length, name);
	free(blob);
	return found;
}

static void the_tree_of_a_guest_on_kvm_pr_offers_what_is_answered(void **state)
{
	struct fixture *f = *state;

	on_kvm_pr();
	power_on(f);
	assert_true(has_function(f, "hcall-pft"));
	assert_true(has_function(f, "hcall-bulk"));
	assert_true(has_function(f, "hcall-term"));
	/* Linux would register areas for all processors, and give time away. */
	assert_false(has_function(f, "hcall-splpar"));
	assert_false(has_function(f, "hcall-dabr"));
}

static void kvm_pr_is_asked_to_answer_only_what_it_can(void **state)
{
	on_kvm_pr();
	power_on(*state);
	assert_false(fake_hcall_enabled(0x2c)); /* H_PAGE_INIT */
	assert_true(fake_hcall_enabled(0x31c)); /* H_SET_MODE */
}

static void the_tree_of_a_hash_guest_on_kvm_hv_offers_what_is_answered(void **state)
{
	struct fixture *f = *state;

	on_hash();
	power_on(f);
	assert_true(has_function(f, "hcall-pft"));
	assert_true(has_function(f, "hcall-bulk"));
	assert_true(has_function(f, "hcall-splpar"));
}

static void the_tree_of_a_radix_guest_has_no_hash_table(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	assert_false(has_function(f, "hcall-pft"));
	assert_false(has_function(f, "hcall-bulk"));
	assert_true(has_function(f, "hcall-splpar"));
}

/* RTAS is called through the instruction that KVM takes for a hypervisor call. */
static void the_rtas_blob_has_the_instruction_of_the_mode(void **state)
{
	struct fixture *f = *state;
	int length, node;
	const struct be32 *base;
	struct be32 instruction;
	void *blob;

	on_kvm_pr();
	power_on(f);
	blob = device_tree(f, &(size_t){0});
	node = fdt_path_offset(blob, "/rtas");
	base = fdt_getprop(blob, node, "linux,rtas-entry", &length);
	assert_non_null(base);
	peek(from_be32(*base) + 12, &instruction, sizeof instruction);
	assert_int_equal(from_be32(instruction), 0x7c000268);
	free(blob);
}

/* --- H_REGISTER_PROC_TBL -------------------------------------------------------------------------
 */

static void a_hash_guest_keeps_the_table_it_does_not_have(void **state)
{
	struct fixture *f = *state;

	on_hash();
	power_on(f);
	assert_int_equal(CALL(0, REGISTER_PROC_TBL, 0, 0, 0, 0), H_SUCCESS);
	assert_int_equal(CALL(0, REGISTER_PROC_TBL, 0x10, 0, 0, 0), H_SUCCESS);
	/* Neither a radix table, nor a segment table, nor to keep one that is radix. */
	assert_int_equal(CALL(0, REGISTER_PROC_TBL, 0x1c, 0x10000, 0, 4), H_PARAMETER);
	assert_int_equal(CALL(0, REGISTER_PROC_TBL, 0x1a, 0x10000, 0, 4), H_PARAMETER);
	assert_int_equal(CALL(0, REGISTER_PROC_TBL, 0x18, 0x10000, 0, 4), H_PARAMETER);
	assert_int_equal(CALL(0, REGISTER_PROC_TBL, 0x04, 0, 0, 0), H_PARAMETER);
	assert_int_equal(CALL(0, REGISTER_PROC_TBL, 0x08, 0, 0, 0), H_PARAMETER);
	fake_fail_next(FAKE_SET_PROCESS_TABLE, 1);
	assert_int_equal(CALL(0, REGISTER_PROC_TBL, 0, 0, 0, 0), H_PARAMETER);
}

static void a_hash_kernel_that_begins_is_told_what_is_pending(void **state)
{
	struct fixture *f = *state;
	uint64_t pulses;

	on_hash();
	power_on_cpus(f, 1, 2, 1);
	add(f, 1);
	pulses = fake_irq_pulses(IRQ_HOTPLUG);
	assert_int_equal(CALL(0, REGISTER_PROC_TBL, 0, 0, 0, 0), H_SUCCESS);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), pulses + 1);
}

/* Before ISA 3.0 a kernel registers no table, and is known by the endianness it asks for. */
static void a_kernel_of_an_older_processor_that_begins_is_told_what_is_pending(void **state)
{
	enum { SET_MODE = 0x31c, LE = 4 };
	struct fixture *f = *state;
	uint64_t pulses;

	on_hash();
	f->config.mode.cpu = KVM_CPU_POWER8;
	power_on_cpus(f, 1, 2, 1);
	add(f, 1);
	pulses = fake_irq_pulses(IRQ_HOTPLUG);
	assert_int_equal(CALL(0, SET_MODE, 0, LE), H_SUCCESS);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), pulses);
	assert_int_equal(CALL(0, SET_MODE, 1, LE), H_SUCCESS);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), pulses + 1);
}

static void a_newer_kernel_is_not_taken_for_two(void **state)
{
	enum { SET_MODE = 0x31c, LE = 4 };
	struct fixture *f = *state;
	uint64_t pulses;

	on_hash();
	power_on_cpus(f, 1, 2, 1);
	add(f, 1);
	pulses = fake_irq_pulses(IRQ_HOTPLUG);
	assert_int_equal(CALL(0, SET_MODE, 1, LE), H_SUCCESS);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), pulses);
}

/* --- H_READ --------------------------------------------------------------------------------------
 */

#define FOUR (UINT64_C(1) << 37)

static void entries_of_the_hash_table_can_be_read(void **state)
{
	struct fixture *f = *state;
	uint64_t ret[9];

	on_kvm_pr();
	power_on(f);
	for (uint64_t i = 0; i < FAKE_HPT_ENTRIES; i++)
		fake_set_hpt(i, 0x100 + i, 0x200 + i);
	assert_int_equal(fake_hcall(0, H_READ, (uint64_t[9]){0, 5}, ret), H_SUCCESS);
	assert_int_equal(ret[0], 0x105);
	assert_int_equal(ret[1], 0x205);
	/* Four, from a multiple of four on. */
	assert_int_equal(
	    fake_hcall(0, H_READ, (uint64_t[9]){FOUR, FAKE_HPT_ENTRIES - 1}, ret), H_SUCCESS);
	for (uint64_t i = 0; i < 4; i++) {
		assert_int_equal(ret[2 * i], 0x100 + FAKE_HPT_ENTRIES - 4 + i);
		assert_int_equal(ret[2 * i + 1], 0x200 + FAKE_HPT_ENTRIES - 4 + i);
	}
	assert_int_equal(CALL(0, H_READ, 0, FAKE_HPT_ENTRIES), H_PARAMETER);
	assert_int_equal(CALL(0, H_READ, FOUR, FAKE_HPT_ENTRIES), H_PARAMETER);
	assert_int_equal(CALL(0, H_READ, 0, UINT64_MAX), H_PARAMETER);
	assert_int_equal(CALL(0, H_READ, FOUR, UINT64_MAX), H_PARAMETER);
}

static void on_kvm_hv_these_calls_are_kvm_s(void **state)
{
	struct fixture *f = *state;

	on_hash();
	power_on(f);
	assert_int_equal(CALL(0, H_READ, 0, 0), H_FUNCTION);
	assert_int_equal(CALL(0, REGISTER_VPA, 0, 0), H_FUNCTION);
	assert_int_equal(CALL(0, CONFER, 0, 0), H_FUNCTION);
	assert_int_equal(CALL(0, PROD, 0), H_FUNCTION);
}

/* --- H_REGISTER_VPA ------------------------------------------------------------------------------
 */

#define VPA (UINT64_C(1) << 45)
#define TRACE_LOG (UINT64_C(2) << 45)
#define SLB_SHADOW (UINT64_C(3) << 45)
#define UNREGISTER (UINT64_C(4) << 45)
#define PLACE UINT64_C(0x100000)

static void put_area(uint64_t address, uint32_t word)
{
	struct be32 words[2] = {be32(0), be32(word)};

	poke(address, words, sizeof words);
}

/* The length of a VPA is the half-word at 4, of the others the word there. */
#define VPA_LENGTH(bytes) ((uint32_t)(bytes) << 16)

static void areas_come_and_go_in_order(void **state)
{
	struct fixture *f = *state;

	on_kvm_pr();
	power_on(f);
	put_area(PLACE, VPA_LENGTH(640));
	put_area(PLACE + 0x1000, 48);
	put_area(PLACE + 0x2000, 8);
	/* stop-self takes the shadow back, whether or not there was one. */
	assert_int_equal(CALL(0, REGISTER_VPA, SLB_SHADOW | UNREGISTER, 0, 0), H_SUCCESS);
	assert_int_equal(CALL(0, REGISTER_VPA, TRACE_LOG, 0, PLACE + 0x1000), H_RESOURCE);
	assert_int_equal(CALL(0, REGISTER_VPA, SLB_SHADOW, 0, PLACE + 0x2000), H_RESOURCE);
	assert_int_equal(CALL(0, REGISTER_VPA, VPA, 0, PLACE), H_SUCCESS);
	assert_int_equal(CALL(0, REGISTER_VPA, TRACE_LOG, 0, PLACE + 0x1000), H_SUCCESS);
	assert_int_equal(CALL(0, REGISTER_VPA, SLB_SHADOW, 0, PLACE + 0x2000), H_SUCCESS);
	assert_int_equal(CALL(0, REGISTER_VPA, VPA | UNREGISTER, 0, 0), H_RESOURCE);
	assert_int_equal(CALL(0, REGISTER_VPA, TRACE_LOG | UNREGISTER, 0, 0), H_SUCCESS);
	assert_int_equal(CALL(0, REGISTER_VPA, VPA | UNREGISTER, 0, 0), H_RESOURCE);
	assert_int_equal(CALL(0, REGISTER_VPA, SLB_SHADOW | UNREGISTER, 0, 0), H_SUCCESS);
	assert_int_equal(CALL(0, REGISTER_VPA, VPA | UNREGISTER, 0, 0), H_SUCCESS);
}

static void areas_that_cannot_be_are_refused(void **state)
{
	static const struct {
		uint64_t flags, server, address;
		uint32_t word;
	} calls[] = {
	    {VPA, 0, 0, VPA_LENGTH(640)},
	    {VPA, 0, PLACE + 64, VPA_LENGTH(640)},           /* not aligned */
	    {VPA, 0, PLACE, VPA_LENGTH(639)},                /* too short */
	    {VPA, 0, PLACE + 0x1000 - 512, VPA_LENGTH(640)}, /* crosses a page */
	    {VPA, 1, PLACE, VPA_LENGTH(640)},                /* no such processor */
	    {VPA, UINT64_MAX, PLACE, VPA_LENGTH(640)},
	    {VPA, UINT64_C(1) << 32, PLACE, VPA_LENGTH(640)},
	    {TRACE_LOG, 0, PLACE, 47},
	    {SLB_SHADOW, 0, PLACE, 7},
	    {SLB_SHADOW, 0, PLACE, UINT32_MAX}, /* ends behind RAM */
	    {0, 0, PLACE, VPA_LENGTH(640)},     /* no function */
	    {UNREGISTER, 0, PLACE, VPA_LENGTH(640)},
	};
	struct fixture *f = *state;

	on_kvm_pr();
	power_on(f);
	put_area(PLACE + 0x8000, VPA_LENGTH(640));
	assert_int_equal(CALL(0, REGISTER_VPA, VPA, 0, PLACE + 0x8000), H_SUCCESS);
	for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
		if (calls[i].address != 0)
			put_area(calls[i].address, calls[i].word);
		assert_int_equal(
		    CALL(0, REGISTER_VPA, calls[i].flags, calls[i].server, calls[i].address),
		    H_PARAMETER);
	}
	assert_int_equal(CALL(0, REGISTER_VPA, VPA, 0, 256 * MIB), H_PARAMETER);
	assert_int_equal(CALL(0, REGISTER_VPA, VPA, 0, UINT64_MAX - 127), H_PARAMETER);
	assert_int_equal(CALL(0, REGISTER_VPA, VPA | UNREGISTER, 0, 0), H_SUCCESS);
}

static void a_reset_forgets_the_areas(void **state)
{
	struct fixture *f = *state;

	on_kvm_pr();
	power_on(f);
	put_area(PLACE, VPA_LENGTH(640));
	assert_int_equal(CALL(0, REGISTER_VPA, VPA, 0, PLACE), H_SUCCESS);
	reset(f);
	put_area(PLACE, 8);
	assert_int_equal(CALL(0, REGISTER_VPA, SLB_SHADOW, 0, PLACE), H_RESOURCE);
}

/* --- Giving the processor away -------------------------------------------------------------------
 */

static void a_processor_can_be_given_away_and_prodded(void **state)
{
	struct fixture *f = *state;

	on_kvm_pr();
	power_on_cpus(f, 2, 4, 1);
	assert_int_equal(CALL(0, CONFER, 1, 0), H_SUCCESS);
	assert_int_equal(CALL(0, CONFER, UINT64_MAX, 0), H_SUCCESS);
	assert_int_equal(CALL(0, CONFER, 2, 0), H_PARAMETER);
	assert_int_equal(CALL(0, PROD, 0), H_SUCCESS);
	assert_int_equal(CALL(0, PROD, 1), H_SUCCESS); /* stopped: nothing to wake */
	assert_int_equal(CALL(0, PROD, 2), H_PARAMETER);
	assert_int_equal(CALL(0, PROD, UINT64_MAX), H_PARAMETER);
	assert_int_equal(start_cpu(0, 1), 0);
	assert_int_equal(CALL(0, PROD, 1), H_SUCCESS);
	fake_wait_running(1);
	assert_int_equal(CALL(1, PROD, 0), H_SUCCESS);
}

static void cores_come_and_go_on_kvm_pr(void **state)
{
	struct fixture *f = *state;
	uint64_t operation;

	on_kvm_pr();
	power_on_cpus(f, 1, 2, 1);
	for (int i = 0; i < 3; i++) {
		add_in_use(f, 1);
		operation = take_away(f, 1);
		linux_remove(f, 0, 1);
		assert_int_equal(operation_of(f, operation).outcome, OP_DONE);
	}
}

static void a_machine_without_memory_for_the_table_is_no_machine(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};

	on_hash();
	fake_fail_next(FAKE_CREATE_MMU, 1);
	assert_null(spapr_create(&f->config, &err));
	assert_int_equal(err.class, ERR_SYSTEM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(the_tree_of_a_guest_on_kvm_pr_offers_what_is_answered),
	    TEST(kvm_pr_is_asked_to_answer_only_what_it_can),
	    TEST(the_tree_of_a_hash_guest_on_kvm_hv_offers_what_is_answered),
	    TEST(the_tree_of_a_radix_guest_has_no_hash_table),
	    TEST(the_rtas_blob_has_the_instruction_of_the_mode),
	    TEST(a_hash_guest_keeps_the_table_it_does_not_have),
	    TEST(a_hash_kernel_that_begins_is_told_what_is_pending),
	    TEST(a_kernel_of_an_older_processor_that_begins_is_told_what_is_pending),
	    TEST(a_newer_kernel_is_not_taken_for_two),
	    TEST(entries_of_the_hash_table_can_be_read),
	    TEST(on_kvm_hv_these_calls_are_kvm_s),
	    TEST(areas_come_and_go_in_order),
	    TEST(areas_that_cannot_be_are_refused),
	    TEST(a_reset_forgets_the_areas),
	    TEST(a_processor_can_be_given_away_and_prodded),
	    TEST(cores_come_and_go_on_kvm_pr),
	    TEST(a_machine_without_memory_for_the_table_is_no_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
