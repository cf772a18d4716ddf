/* SPDX-License-Identifier: Apache-2.0 */
/* test_configure.c - ibm,configure-connector: the walk through a core's description. */
#include "machine_fixture.h"

#include <libfdt.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/be.h"

#define RAM (256 * MIB)
#define CPUS_MAX 8

/* --- Reading a tree -------------------------------------------------------------------------- */

static uint32_t count_properties(const void *fdt, int offset)
{
	uint32_t count = 0;
	int property;

	fdt_for_each_property_offset(property, fdt, offset) count++;
	return count;
}

/* --- ibm,configure-connector ----------------------------------------------------------------- */

struct item {
	int32_t status;
	char name[64];
	uint8_t value[512];
	uint32_t length;
};

static struct item read_item(uint32_t vcpu, uint32_t core_id, bool first)
{
	struct item item = {.status = configure_once(vcpu, core_id, first)};
	struct be32 words[5];

	peek(WORK(vcpu), words, sizeof words);
	assert_int_equal(from_be32(words[0]), DRC(core_id));
	if (item.status != 2 && item.status != 3)
		return item;
	assert_int_equal(from_be32(words[2]), 20);
	peek(WORK(vcpu) + 20, item.name, sizeof item.name);
	assert_true(strlen(item.name) < sizeof item.name - 1);
	if (item.status == 3) {
		item.length = from_be32(words[3]);
		assert_true(item.length <= sizeof item.value);
		peek(WORK(vcpu) + from_be32(words[4]), item.value, item.length);
		assert_int_equal(from_be32(words[4]), 20 + strlen(item.name) + 1);
	}
	return item;
}

/* Added, and ready to be read. */
static void add_unisolated(struct fixture *f, uint32_t core_id)
{
	add(f, core_id);
	assert_int_equal(set_usable(0, core_id), 0);
	assert_int_equal(unisolate(0, core_id), 0);
}

/* The answer says the same as the core's node in the tree, and `name` besides. */
static void expect_item(const void *fdt, int cpu, const struct item *item)
{
	int length;
	const void *value = fdt_getprop(fdt, cpu, item->name, &length);

	assert_int_equal(item->status, 3);
	if (strcmp(item->name, "name") == 0) {
		value = fdt_get_name(fdt, cpu, &length);
		length++;
	}
	if (value == NULL || (uint32_t)length != item->length ||
	    memcmp(value, item->value, item->length) != 0)
		fail_msg("%s is not that of the tree", item->name);
}

static void check_walk(uint32_t threads)
{
	struct fixture *f;
	void *state = NULL, *blob;
	struct item item;
	uint32_t count = 0;
	size_t length;
	int cpu;

	fixture_setup(&state);
	f = state;
	power_on_cpus(f, threads, CPUS_MAX, threads);
	add_unisolated(f, threads);
	blob = device_tree(f, &length);
	item = read_item(0, threads, true);
	assert_int_equal(item.status, 2);
	cpu = fdt_subnode_offset(blob, fdt_path_offset(blob, "/cpus"), item.name);
	assert_true(cpu >= 0);
	assert_string_equal(fdt_get_name(blob, cpu, NULL), item.name);
	for (item = read_item(0, threads, false); item.status != 0;
	     item = read_item(0, threads, false), count++)
		expect_item(blob, cpu, &item);
	assert_int_equal(count, count_properties(blob, cpu) + 1);
	expect_core(f, threads, DRC_CONFIGURED, SPAPR_VCPU_STOPPED);
	free(blob);
	fixture_teardown(&state);
}

static void a_connector_describes_its_core_as_the_tree_would(void **state)
{
	(void)state;
	check_walk(1);
	check_walk(2);
	check_walk(4);
}

static void a_walk_starts_anew_when_word_1_is_zero(void **state)
{
	struct fixture *f = *state;
	struct item first;

	power_on(f);
	add_unisolated(f, 1);
	first = read_item(0, 1, true);
	for (int i = 0; i < 5; i++)
		assert_int_equal(configure_once(0, 1, false), 3);
	assert_string_equal(read_item(0, 1, true).name, first.name);
	assert_string_equal(read_item(0, 1, false).name, "name");
	/* Even before the last answer. */
	configure(0, 1);
	expect_core(f, 1, DRC_CONFIGURED, SPAPR_VCPU_STOPPED);
}

static void a_walk_starts_anew_when_the_connector_does(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	add_unisolated(f, 1);
	assert_int_equal(configure_once(0, 1, true), 2);
	assert_int_equal(configure_once(0, 1, false), 3);
	isolate(0, 1);
	assert_int_equal(unisolate(0, 1), 0);
	assert_int_equal(configure_once(0, 1, false), 2);
	assert_int_equal(configure_once(0, 1, false), 3);
	/* Given back, and another core in its place. */
	isolate(0, 1);
	set_unusable(0, 1);
	add_unisolated(f, 1);
	assert_int_equal(configure_once(0, 1, false), 2);
}

static void a_configured_core_may_be_read_again(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	for (int i = 0; i < 3; i++) {
		configure(0, 0);
		/* Without word 1 being cleared, the end is followed by the beginning. */
		assert_int_equal(configure_once(0, 0, false), 2);
		expect_core(f, 0, DRC_CONFIGURED, SPAPR_VCPU_RUNNING);
	}
	assert_int_equal(spapr_take_news(f->machine), 0);
}

static void two_walks_do_not_disturb_each_other(void **state)
{
	struct fixture *f = *state;
	struct item one, two;

	power_on_cpus(f, 2, 4, 1);
	linux_online(f, 0, 1);
	add_unisolated(f, 2);
	add_unisolated(f, 3);
	one = read_item(0, 2, true);
	two = read_item(1, 3, true);
	assert_string_equal(one.name, "PowerPC,POWER9@2");
	assert_string_equal(two.name, "PowerPC,POWER9@3");
	while (one.status != 0) {
		one = read_item(0, 2, false);
		two = read_item(1, 3, false);
		assert_int_equal(one.status, two.status);
		assert_string_equal(one.name, two.name);
	}
	expect_core(f, 2, DRC_CONFIGURED, SPAPR_VCPU_STOPPED);
	expect_core(f, 3, DRC_CONFIGURED, SPAPR_VCPU_STOPPED);
}

static void only_an_unisolated_connector_can_be_read(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	assert_int_equal(configure_once(0, 1, true), -9003);
	add(f, 1);
	assert_int_equal(configure_once(0, 1, true), -9003);
	set_usable(0, 1);
	assert_int_equal(configure_once(0, 1, true), -9003);
	unisolate(0, 1);
	assert_int_equal(configure_once(0, 1, true), 2);
	isolate(0, 1);
	assert_int_equal(configure_once(0, 1, false), -9003);
}

static void an_unknown_connector_cannot_be_read(void **state)
{
	static const uint32_t indexes[] = {0, 2, 0x10000001, 0x10000003, 0x10000008, 0x1fffffff,
	    0x20000000, 0x80000002, UINT32_MAX};
	struct fixture *f = *state;
	uint32_t value;

	power_on_cpus(f, 8, 8, 2);
	for (size_t i = 0; i < sizeof indexes / sizeof indexes[0]; i++) {
		struct be32 head[2] = {be32(indexes[i]), be32(0)};

		poke(WORK(0), head, sizeof head);
		assert_int_equal(RTAS(0, "ibm,configure-connector", (uint32_t)WORK(0), 0), -3);
		/* Nor is there anything else to be done with it. */
		assert_int_equal(RTAS(0, "set-indicator", 9001, indexes[i], 0), -3);
		assert_int_equal(RTAS(0, "set-indicator", 9003, indexes[i], 1), -3);
		assert_int_equal(
		    rtas(0, "get-sensor-state", 2, (uint32_t[]){9003, indexes[i]}, 2, &value), -3);
		assert_int_equal(value, 0);
	}
}

static void the_work_area_must_be_ram_to_its_end(void **state)
{
	static const uint32_t bad[] = {
	    RAM - 4095, RAM - 20, RAM - 4, RAM, 0x80000000, UINT32_MAX - 4095, UINT32_MAX};
	struct fixture *f = *state;
	struct be32 head[2] = {be32(DRC(1)), be32(0)};

	power_on(f);
	add_unisolated(f, 1);
	poke(RAM - 4095, head, sizeof head);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(RTAS(0, "ibm,configure-connector", bad[i], 0), -3);
	poke(RAM - 4096, head, sizeof head);
	assert_int_equal(RTAS(0, "ibm,configure-connector", RAM - 4096, 0), 2);
	expect_core(f, 1, DRC_UNISOLATED, SPAPR_VCPU_STOPPED);
}

static void of_the_work_area_only_what_an_answer_needs_is_written(void **state)
{
	struct fixture *f = *state;
	struct be32 head[2] = {be32(DRC(1)), be32(0)};
	uint8_t area[4096], after[4096];
	size_t used = 20 + sizeof "PowerPC,POWER9@1";

	power_on(f);
	add_unisolated(f, 1);
	memset(area, 0xa5, sizeof area);
	memcpy(area, head, sizeof head);
	poke(WORK(0), area, sizeof area);
	/* The second argument, a page for more, is not needed and not looked at. */
	assert_int_equal(RTAS(0, "ibm,configure-connector", (uint32_t)WORK(0), UINT32_MAX), 2);
	peek(WORK(0), after, sizeof after);
	assert_memory_equal(after, area, 4);
	assert_memory_not_equal(after + 4, area + 4, 4);
	assert_string_equal((const char *)after + 20, "PowerPC,POWER9@1");
	assert_memory_equal(after + used, area + used, sizeof area - used);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_connector_describes_its_core_as_the_tree_would),
	    TEST(a_walk_starts_anew_when_word_1_is_zero),
	    TEST(a_walk_starts_anew_when_the_connector_does),
	    TEST(a_configured_core_may_be_read_again),
	    TEST(two_walks_do_not_disturb_each_other),
	    TEST(only_an_unisolated_connector_can_be_read),
	    TEST(an_unknown_connector_cannot_be_read),
	    TEST(the_work_area_must_be_ram_to_its_end),
	    TEST(of_the_work_area_only_what_an_answer_needs_is_written),
	};

	return cmocka_run_group_tests_name("tree", tests, NULL, NULL);
}
