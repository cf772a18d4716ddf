/* SPDX-License-Identifier: Apache-2.0 */
/* test_memory.c - memory blocks that come and go: the whole machine above a fake KVM, the operator
 * on one side, a guest's calls on the other. */
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine_fixture.h"

#define BLOCK_BYTES SPAPR_LMB_BYTES

/* The functions of machine_fixture.h make calls about memory block n with this core id. */
#define LMB(block) (0x70000000u + (block))

/* 512 MiB at boot, 2 GiB at most: blocks 2 to 7. */
static void power_on_memory(struct fixture *f)
{
	f->config.memory_bytes = 2 * BLOCK_BYTES;
	f->config.max_memory_bytes = 8 * BLOCK_BYTES;
	power_on(f);
}

static uint64_t add_blocks(struct fixture *f, uint64_t address, uint32_t blocks, const char *name)
{
	struct err err = {0};
	uint64_t id = 0;

	if (!spapr_memory_add(f->machine, address, blocks * BLOCK_BYTES, name, &id, &err))
		fail_msg("%s", err.message);
	return id;
}

static uint64_t ask_back(struct fixture *f, const char *name)
{
	struct err err = {0};
	uint64_t id = 0;

	if (!spapr_device_remove(f->machine, name, &id, &err))
		fail_msg("%s", err.message);
	return id;
}

static void add_is_refused(
    struct fixture *f, uint64_t address, uint64_t bytes, const char *name, const char *text)
{
	struct err err = {0};
	uint64_t id = 0;
	uint32_t slots = fake_memory_slots();

	assert_false(spapr_memory_add(f->machine, address, bytes, name, &id, &err));
	if (strncmp(err.message, text, strlen(text)) != 0)
		fail_msg("\"%s\" is not \"%s\"", err.message, text);
	assert_int_equal(fake_memory_slots(), slots);
}

/* The next event is a fence: an add of a block that boots. Returns its number. */
static uint32_t expect_fence(struct fixture *f)
{
	uint8_t log[EVENT_BYTES];
	struct be32 index;

	spapr_check_deadline(f->machine);
	assert_true(fetch_event(0, MASK_HOTPLUG, log));
	memcpy(&index, log + 108, sizeof index);
	assert_int_equal(log[104], 2);
	assert_int_equal(log[105], 1);
	assert_int_equal(log[106], 2);
	assert_in_range(from_be32(index), 0x80000000, 0x80000001);
	return from_be32(index) - 0x80000000;
}

/* Linux reads the event of a block, takes it, and answers the fence. */
static void linux_take_block(uint32_t block)
{
	linux_take(0, LMB(block));
}

static void linux_add_blocks(struct fixture *f, uint32_t first, uint32_t count)
{
	for (uint32_t n = 0; n < count; n++)
		linux_take_block(first + n);
	assert_int_equal(sense(0, LMB(expect_fence(f))), DRC_SENSE_PRESENT);
}

static void linux_remove_block(uint32_t block)
{
	expect_event(0, LMB(block), 2);
	linux_release(0, LMB(block));
}

static struct spapr_memory_info info_of(struct fixture *f, uint64_t from)
{
	struct spapr_memory_info info = {0};

	assert_true(spapr_memory_info(f->machine, from, &info));
	return info;
}

static bool is_memory(uint64_t address)
{
	return gmem_contains(fake_memory(), address, 8);
}

/* --- One block ------------------------------------------------------------------------------- */

static void a_block_is_added_when_the_fence_behind_it_is_answered(void **state)
{
	struct fixture *f = *state;
	struct spapr_memory_info info;
	uint64_t id;

	power_on_memory(f);
	assert_int_equal(fake_memory_slots(), 1);
	assert_false(is_memory(2 * BLOCK_BYTES));
	id = add_blocks(f, SPAPR_ANYWHERE, 1, "dimm1");
	/* It is there before the guest hears of it: what may fail has been done. */
	assert_int_equal(fake_memory_slots(), 2);
	assert_true(is_memory(2 * BLOCK_BYTES));
	linux_take_block(2);
	assert_int_equal(operation_of(f, id).outcome, OP_PENDING);
	assert_int_equal(sense(0, LMB(expect_fence(f))), DRC_SENSE_PRESENT);
	expect_end(f, id, OP_DONE, OP_BY_FENCE, OP_CONFIGURED);
	assert_int_equal(operation_of(f, id).evidence.parts, 1);
	assert_int_equal(operation_of(f, id).evidence.parts_used, 1);
	info = info_of(f, 0);
	assert_string_equal(info.connector.device, "dimm1");
	assert_int_equal(info.address, 2 * BLOCK_BYTES);
	assert_int_equal(info.bytes, BLOCK_BYTES);
	assert_int_equal(info.connector.drc_index, 0x80000002);
	assert_int_equal(spapr_memory_added(f->machine), BLOCK_BYTES);
	expect_no_event(0);
}

static void a_block_that_the_guest_gives_back_was_not_added(void **state)
{
	struct fixture *f = *state;
	struct spapr_memory_info info;
	uint64_t id;

	power_on_memory(f);
	id = add_blocks(f, SPAPR_ANYWHERE, 1, "dimm1");
	linux_take_block(2);
	assert_int_equal(isolate(0, LMB(2)), 0);
	assert_int_equal(set_unusable(0, LMB(2)), 0);
	/* The slot goes before the end is reported. */
	assert_int_equal(operation_of(f, id).outcome, OP_PENDING);
	assert_int_equal(fake_memory_slots(), 2);
	expect_steps(f, id, "requested notified fetched allocated unisolated configured ended");
	expect_end(f, id, OP_REJECTED, OP_BY_GUEST, OP_CONFIGURED);
	assert_non_null(strstr(operation_of(f, id).evidence.inferred, "bring it online"));
	assert_true(operation_of(f, id).device_left);
	assert_int_equal(fake_memory_slots(), 1);
	assert_false(is_memory(2 * BLOCK_BYTES));
	assert_false(spapr_memory_info(f->machine, 0, &info));
	/* The place is free. */
	add_blocks(f, SPAPR_ANYWHERE, 1, "dimm1");
}

static void an_add_that_the_guest_never_took_is_rejected_by_a_fence(void **state)
{
	struct fixture *f = *state;
	uint64_t first, second;

	power_on_memory(f);
	first = add_blocks(f, SPAPR_ANYWHERE, 1, "dimm1");
	second = add_blocks(f, SPAPR_ANYWHERE, 1, "dimm2");
	expect_event(0, LMB(2), 1); /* and drops it */
	linux_take_block(3);
	sense(0, LMB(expect_fence(f)));
	drop_reports(f);
	expect_end(f, first, OP_REJECTED, OP_BY_FENCE, OP_FETCHED);
	expect_end(f, second, OP_DONE, OP_BY_FENCE, OP_CONFIGURED);
	assert_int_equal(fake_memory_slots(), 2);
	assert_int_equal(info_of(f, 0).address, 3 * BLOCK_BYTES);
}

static void a_block_is_removed_when_the_guest_has_released_it(void **state)
{
	struct fixture *f = *state;
	uint64_t id, mark = 0x1122334455667788, again = 1;

	power_on_memory(f);
	add_blocks(f, SPAPR_ANYWHERE, 1, "dimm1");
	linux_add_blocks(f, 2, 1);
	poke(2 * BLOCK_BYTES, &mark, sizeof mark);
	drop_reports(f);
	id = ask_back(f, "dimm1");
	linux_remove_block(2);
	assert_int_equal(fake_memory_slots(), 2);
	expect_steps(f, id, "requested notified fetched isolated released ended");
	expect_end(f, id, OP_DONE, OP_BY_GUEST, OP_RELEASED);
	assert_true(operation_of(f, id).device_left);
	assert_int_equal(fake_memory_slots(), 1);
	assert_false(is_memory(2 * BLOCK_BYTES));
	/* What comes back is empty. */
	add_blocks(f, SPAPR_ANYWHERE, 1, "dimm1");
	peek(2 * BLOCK_BYTES, &again, sizeof again);
	assert_int_equal(again, 0);
}

static void a_block_may_be_released_at_any_time(void **state)
{
	struct fixture *f = *state;

	power_on_memory(f);
	add_blocks(f, SPAPR_ANYWHERE, 1, "dimm1");
	linux_add_blocks(f, 2, 1);
	/* Linux has torn it down before it calls, and ignores the status. */
	assert_int_equal(set_unusable(0, LMB(2)), 0);
	drop_reports(f);
	assert_int_equal(fake_memory_slots(), 2);
	assert_int_equal(sense(0, LMB(2)), DRC_SENSE_UNUSABLE);
	/* It is still the guest's to take. */
	assert_int_equal(set_usable(0, LMB(2)), 0);
	assert_int_equal(unisolate(0, LMB(2)), 0);
	configure(0, LMB(2));
	assert_int_equal(sense(0, LMB(2)), DRC_SENSE_PRESENT);
	/* Released, it leaves as soon as it is asked for. */
	assert_int_equal(isolate(0, LMB(2)), 0);
	assert_int_equal(set_unusable(0, LMB(2)), 0);
	expect_end(f, ask_back(f, "dimm1"), OP_DONE, OP_BY_OPERATOR, OP_REQUESTED);
	assert_int_equal(fake_memory_slots(), 1);
}

static void blocks_of_the_boot_memory_are_never_handed_out(void **state)
{
	struct fixture *f = *state;

	power_on_memory(f);
	for (uint32_t block = 0; block < 2; block++) {
		assert_int_equal(sense(0, LMB(block)), DRC_SENSE_PRESENT);
		assert_int_equal(isolate(0, LMB(block)), RTAS_PARAMETER_ERROR);
		assert_int_equal(unisolate(0, LMB(block)), RTAS_PARAMETER_ERROR);
		assert_int_equal(set_usable(0, LMB(block)), RTAS_PARAMETER_ERROR);
		assert_int_equal(set_unusable(0, LMB(block)), RTAS_PARAMETER_ERROR);
		assert_int_equal(configure_once(0, LMB(block), true), RTAS_PARAMETER_ERROR);
	}
	/* One that can come, and is not there, can be looked at, and nothing else. */
	assert_int_equal(sense(0, LMB(2)), DRC_SENSE_UNUSABLE);
	assert_int_equal(set_usable(0, LMB(2)), RTAS_PARAMETER_ERROR);
	assert_int_equal(RTAS(0, "get-sensor-state", 9003, 0x80000008), RTAS_PARAMETER_ERROR);
}

/* --- Several blocks ----------------------------------------------------------------------------
 */

static void a_device_of_several_blocks_comes_as_a_whole(void **state)
{
	struct fixture *f = *state;
	uint64_t id;

	power_on_memory(f);
	id = add_blocks(f, SPAPR_ANYWHERE, 3, "dimm1");
	assert_int_equal(fake_memory_slots(), 4);
	linux_take_block(2);
	linux_take_block(3);
	linux_take_block(4);
	assert_int_equal(isolate(0, LMB(4)), 0);
	assert_int_equal(set_unusable(0, LMB(4)), 0);
	/* The others are asked back, and go. */
	linux_remove_block(2);
	linux_remove_block(3);
	drop_reports(f);
	expect_end(f, id, OP_REJECTED, OP_BY_GUEST, OP_CONFIGURED);
	assert_int_equal(operation_of(f, id).evidence.drc_index, 0x80000004);
	assert_int_equal(fake_memory_slots(), 1);
}

static void a_removal_asks_for_one_block_after_the_other(void **state)
{
	struct fixture *f = *state;
	uint64_t id;

	power_on_memory(f);
	add_blocks(f, SPAPR_ANYWHERE, 3, "dimm1");
	linux_add_blocks(f, 2, 3);
	drop_reports(f);
	id = ask_back(f, "dimm1");
	linux_remove_block(4);
	linux_remove_block(3);
	linux_remove_block(2);
	expect_no_event(0);
	drop_reports(f);
	expect_end(f, id, OP_DONE, OP_BY_GUEST, OP_RELEASED);
	assert_int_equal(fake_memory_slots(), 1);
}

static void a_refused_removal_gives_all_blocks_back(void **state)
{
	struct fixture *f = *state;
	uint64_t id;

	power_on_memory(f);
	add_blocks(f, SPAPR_ANYWHERE, 3, "dimm1");
	linux_add_blocks(f, 2, 3);
	drop_reports(f);
	id = ask_back(f, "dimm1");
	linux_remove_block(4);
	/* The second is refused: what was released is attached again, the third was not asked for.
	 */
	expect_event(0, LMB(3), 2);
	assert_int_equal(configure_once(0, LMB(3), true), 2);
	linux_take_block(4);
	sense(0, LMB(expect_fence(f)));
	expect_no_event(0);
	drop_reports(f);
	expect_end(f, id, OP_REJECTED, OP_BY_GUEST, OP_RELEASED);
	assert_int_equal(operation_of(f, id).evidence.drc_index, 0x80000003);
	assert_string_equal(operation_of(f, id).evidence.call, "ibm,configure-connector");
	assert_int_equal(info_of(f, 0).blocks_in_use, 3);
	assert_int_equal(fake_memory_slots(), 4);
	/* The same removal works later. */
	id = ask_back(f, "dimm1");
	for (uint32_t block = 4; block >= 2; block--)
		linux_remove_block(block);
	drop_reports(f);
	assert_int_equal(operation_of(f, id).outcome, OP_DONE);
}

static void a_removal_of_several_blocks_is_cancelled_as_a_whole(void **state)
{
	struct fixture *f = *state;
	uint64_t id;

	power_on_memory(f);
	add_blocks(f, SPAPR_ANYWHERE, 3, "dimm1");
	linux_add_blocks(f, 2, 3);
	drop_reports(f);
	id = ask_back(f, "dimm1");
	linux_remove_block(4);
	cancel(f, id);
	expect_event(0, LMB(3), 1); /* nothing is pending there any more */
	linux_take_block(4);
	sense(0, LMB(expect_fence(f)));
	drop_reports(f);
	assert_int_equal(operation_of(f, id).outcome, OP_CANCELLED);
	assert_int_equal(info_of(f, 0).blocks_in_use, 3);
}

static void a_reset_completes_a_removal_of_several_blocks(void **state)
{
	struct fixture *f = *state;
	struct spapr_memory_info info;
	uint64_t id;

	power_on_memory(f);
	add_blocks(f, SPAPR_ANYWHERE, 3, "dimm1");
	linux_add_blocks(f, 2, 3);
	id = ask_back(f, "dimm1");
	linux_remove_block(4);
	reset(f);
	drop_reports(f);
	assert_int_equal(operation_of(f, id).outcome, OP_SUPERSEDED);
	assert_false(spapr_memory_info(f->machine, 0, &info));
	assert_int_equal(fake_memory_slots(), 1);
	expect_no_event(0);
}

/* --- Reset -------------------------------------------------------------------------------------
 */

static void expect_list(struct fixture *f, const uint32_t *cells, size_t count)
{
	size_t length;
	void *blob = device_tree(f, &length);
	int size, node = fdt_path_offset(blob, "/ibm,dynamic-reconfiguration-memory");
	const struct be32 *value = fdt_getprop(blob, node, "ibm,dynamic-memory-v2", &size);

	assert_non_null(value);
	assert_int_equal(size, count * sizeof *value);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(from_be32(value[i]), cells[i]);
	free(blob);
}
#define LIST(f, ...)                                                                               \
	expect_list(f, (uint32_t[]){__VA_ARGS__}, sizeof((uint32_t[]){__VA_ARGS__}) / 4)
#define NO_DOMAIN UINT32_MAX
#define BOOT_SET 2, 0, 0, 0x80000000, NO_DOMAIN, 0x88

static void after_a_reset_added_memory_is_in_the_tree(void **state)
{
	struct fixture *f = *state;
	uint64_t mark = 1;

	power_on_memory(f);
	LIST(f, 2, BOOT_SET, 6, 0, 0x20000000, 0x80000002, NO_DOMAIN, 0);
	add_blocks(f, 4 * BLOCK_BYTES, 2, "dimm1");
	linux_add_blocks(f, 4, 2);
	poke(4 * BLOCK_BYTES, &mark, sizeof mark);
	reset(f);
	LIST(f, 4, BOOT_SET, 2, 0, 0x20000000, 0x80000002, NO_DOMAIN, 0, 2, 0, 0x40000000,
	    0x80000004, 0, 0x108, 2, 0, 0x60000000, 0x80000006, NO_DOMAIN, 0);
	assert_int_equal(fake_memory_slots(), 3);
	assert_int_equal(sense(0, LMB(4)), DRC_SENSE_PRESENT);
	peek(4 * BLOCK_BYTES, &mark, sizeof mark);
	assert_int_equal(mark, 0);
	expect_no_event(0);
}

static void after_a_reset_added_memory_can_be_offered_by_event(void **state)
{
	struct fixture *f = *state;

	f->config.memory_by_event = true;
	power_on_memory(f);
	add_blocks(f, SPAPR_ANYWHERE, 2, "dimm1");
	linux_add_blocks(f, 2, 2);
	reset(f);
	drop_reports(f);
	LIST(f, 2, BOOT_SET, 6, 0, 0x20000000, 0x80000002, NO_DOMAIN, 0);
	linux_take_block(2);
	linux_take_block(3);
	assert_int_equal(info_of(f, 0).blocks_in_use, 2);
	expect_no_event(0);
}

/* --- Targets -----------------------------------------------------------------------------------
 */

static size_t set_size(struct fixture *f, uint32_t blocks, uint64_t ids[8], const char *text)
{
	struct err err = {0};
	size_t count = spapr_set_memory(f->machine, blocks * BLOCK_BYTES, ids, 8, &err);

	assert_string_equal(err.message, text);
	return count;
}

static void a_size_is_a_target(void **state)
{
	struct fixture *f = *state;
	uint64_t ids[8], again[8];

	power_on_memory(f);
	assert_int_equal(set_size(f, 5, ids, ""), 3);
	assert_string_equal(operation_of(f, ids[0]).device, "memory2");
	assert_int_equal(set_size(f, 5, again, ""), 0);
	linux_add_blocks(f, 2, 3);
	assert_int_equal(set_size(f, 5, again, ""), 0);
	/* The highest first. */
	assert_int_equal(set_size(f, 3, ids, ""), 2);
	assert_string_equal(operation_of(f, ids[0]).device, "memory4");
	assert_string_equal(operation_of(f, ids[1]).device, "memory3");
	/* What is pending is asked again: the same operations. */
	assert_int_equal(set_size(f, 3, again, ""), 2);
	assert_memory_equal(ids, again, 2 * sizeof ids[0]);
	linux_remove_block(4);
	/* What is leaving does not count any more. */
	assert_int_equal(set_size(f, 4, again, ""), 1);
	assert_string_equal(operation_of(f, again[0]).device, "memory4");
}

static void a_target_counts_what_is_left_of_a_device(void **state)
{
	struct fixture *f = *state;
	uint64_t ids[8], again[8];

	power_on_memory(f);
	add_blocks(f, SPAPR_ANYWHERE, 2, "dimm1");
	linux_add_blocks(f, 2, 2);
	assert_int_equal(set_size(f, 2, ids, ""), 1);
	linux_remove_block(3);
	/* One block of two is left: the same request asks again. */
	assert_int_equal(set_size(f, 2, again, ""), 1);
	assert_int_equal(again[0], ids[0]);
}

static void a_target_counts_the_memory_that_is_being_removed(void **state)
{
	struct fixture *f = *state;
	uint64_t ids[8], removal;

	power_on_memory(f);
	assert_int_equal(set_size(f, 5, ids, ""), 3);
	linux_add_blocks(f, 2, 3);
	/* The removal of another block than the highest leads there. */
	removal = ask_back(f, "memory2");
	assert_int_equal(set_size(f, 4, ids, ""), 1);
	assert_int_equal(ids[0], removal);
	assert_int_equal(set_size(f, 3, ids, ""), 2);
	assert_int_equal(ids[0], removal);
	assert_string_equal(operation_of(f, ids[1]).device, "memory4");
}

static void what_is_being_removed_is_no_room(void **state)
{
	struct fixture *f = *state;
	uint64_t ids[8];

	power_on_memory(f);
	assert_int_equal(set_size(f, 8, ids, ""), 6);
	linux_add_blocks(f, 2, 6);
	drop_reports(f);
	ask_back(f, "memory7");
	assert_int_equal(
	    set_size(f, 8, ids, "there is no free block: those being removed do not count"), 0);
}

static void a_size_that_cannot_be_reached_changes_nothing(void **state)
{
	struct fixture *f = *state;
	uint64_t ids[8];

	power_on_memory(f);
	assert_int_equal(
	    set_size(f, 1, ids, "size must be a multiple of 256 MiB, from 512 to 2048 MiB"), 0);
	assert_int_equal(
	    set_size(f, 9, ids, "size must be a multiple of 256 MiB, from 512 to 2048 MiB"), 0);
	add_blocks(f, SPAPR_ANYWHERE, 4, "dimm1");
	linux_add_blocks(f, 2, 4);
	assert_int_equal(set_size(f, 5, ids,
	                     "this size cannot be reached exactly: a device of several blocks "
	                     "comes and goes as a whole"),
	    0);
	expect_no_event(0);
	assert_int_equal(set_size(f, 2, ids, ""), 1);
	assert_string_equal(operation_of(f, ids[0]).device, "dimm1");
}

static void a_target_counts_the_cores_that_are_being_removed(void **state)
{
	struct fixture *f = *state;
	uint64_t ids[8], removal;
	struct err err = {0};

	power_on(f);
	assert_int_equal(spapr_set_cores(f->machine, 3, ids, 8, &err), 2);
	linux_add(f, 0, 1);
	linux_add(f, 0, 2);
	/* The removal of another core than the highest leads there. */
	removal = ask_back(f, "core1");
	assert_int_equal(spapr_set_cores(f->machine, 2, ids, 8, &err), 1);
	assert_int_equal(ids[0], removal);
	/* There is one free core, and not two. */
	assert_int_equal(spapr_set_cores(f->machine, 4, ids, 8, &err), 1);
	assert_string_equal(err.message, "there is no free core: those being removed do not count");
}

static void a_number_of_cores_is_a_target(void **state)
{
	struct fixture *f = *state;
	uint64_t ids[8];
	struct err err = {0};

	power_on(f);
	assert_int_equal(spapr_set_cores(f->machine, 3, ids, 8, &err), 2);
	assert_string_equal(operation_of(f, ids[0]).device, "core1");
	linux_add(f, 0, 1);
	linux_add(f, 0, 2);
	assert_int_equal(spapr_set_cores(f->machine, 3, ids, 8, &err), 0);
	assert_int_equal(spapr_set_cores(f->machine, 2, ids, 8, &err), 1);
	assert_string_equal(operation_of(f, ids[0]).device, "core2");
	assert_int_equal(spapr_set_cores(f->machine, 1, ids, 1, &err), 1);
	assert_string_equal(err.message, "");
	assert_int_equal(spapr_set_cores(f->machine, 0, ids, 8, &err), 0);
	assert_string_equal(err.message, "count must be from 1 to 4");
	err = (struct err){0};
	assert_int_equal(spapr_set_cores(f->machine, 5, ids, 8, &err), 0);
	assert_string_equal(err.message, "count must be from 1 to 4");
}

/* --- Refusals ------------------------------------------------------------------------------------
 */

static void what_cannot_be_added_changes_nothing(void **state)
{
	struct fixture *f = *state;

	power_on_memory(f);
	add_is_refused(f, SPAPR_ANYWHERE, 0, "d", "Hotplugged memory size must be a multiple");
	add_is_refused(f, SPAPR_ANYWHERE, MIB, "d", "Hotplugged memory size must be a multiple");
	add_is_refused(f, MIB, BLOCK_BYTES, "d", "address 0x100000 is not a multiple of 256 MiB");
	add_is_refused(f, 0, BLOCK_BYTES, "d", "256 MiB at address 0x0 are taken, or beyond");
	add_is_refused(f, 7 * BLOCK_BYTES, 2 * BLOCK_BYTES, "d", "512 MiB at address 0x70000000");
	add_is_refused(f, 8 * BLOCK_BYTES, BLOCK_BYTES, "d", "256 MiB at address 0x80000000");
	add_is_refused(f, UINT64_C(1) << 63, BLOCK_BYTES, "d", "256 MiB at address 0x80000000000");
	add_is_refused(f, SPAPR_ANYWHERE, 7 * BLOCK_BYTES, "d", "there is no room for 1792 MiB");
	add_is_refused(f, SPAPR_ANYWHERE, UINT64_C(1) << 62, "d", "there is no room for");
	add_is_refused(f, SPAPR_ANYWHERE, BLOCK_BYTES, "core0", "Duplicate device ID 'core0'");
	add_is_refused(f, SPAPR_ANYWHERE, BLOCK_BYTES, "", "Device ID must have 1 to 63");
	add_blocks(f, 3 * BLOCK_BYTES, 1, "d");
	add_is_refused(f, 3 * BLOCK_BYTES, BLOCK_BYTES, "e", "256 MiB at address 0x30000000");
	add_is_refused(f, 2 * BLOCK_BYTES, 2 * BLOCK_BYTES, "e", "512 MiB at address 0x20000000");
	/* Around it. */
	add_blocks(f, SPAPR_ANYWHERE, 4, "e");
	assert_int_equal(info_of(f, 4 * BLOCK_BYTES).blocks, 4);
}

static void a_machine_without_room_says_so(void **state)
{
	struct fixture *f = *state;
	uint64_t ids[1];
	struct err err = {0};

	power_on(f);
	add_is_refused(f, SPAPR_ANYWHERE, BLOCK_BYTES, "d", "no memory can be added");
	assert_int_equal(spapr_set_memory(f->machine, BLOCK_BYTES, ids, 1, &err), 0);
	assert_string_equal(err.message, "");
}

static void what_kvm_refuses_is_undone(void **state)
{
	struct fixture *f = *state;

	power_on_memory(f);
	fake_fail_after(FAKE_ADD_MEMORY, 2, 1);
	add_is_refused(f, SPAPR_ANYWHERE, 3 * BLOCK_BYTES, "d", "fake KVM: cannot set the memory");
	assert_false(is_memory(2 * BLOCK_BYTES));
	add_blocks(f, SPAPR_ANYWHERE, 3, "d");
	assert_int_equal(fake_memory_slots(), 4);
}

static void sizes_that_cannot_be_are_refused(void **state)
{
	static const struct {
		uint64_t size, max;
		const char *message;
	} rows[] = {
	    {2 * BLOCK_BYTES, BLOCK_BYTES, "cannot boot 512 MiB of at most 256 MiB of memory"},
	    {BLOCK_BYTES, BLOCK_BYTES + MIB, "cannot boot 256 MiB of at most 257 MiB of memory"},
	    {BLOCK_BYTES, SPAPR_MAX_MEMORY + BLOCK_BYTES,
	        "room for 4194560 MiB of memory is more than a guest can have here"},
	    {SPAPR_MAX_MEMORY + BLOCK_BYTES, 0,
	        "room for 4194560 MiB of memory is more than a guest can have here"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct err err = {0};

		f->config.memory_bytes = rows[i].size;
		f->config.max_memory_bytes = rows[i].max;
		assert_false(spapr_check_config(&f->config, NULL, &err));
		assert_string_equal(err.message, rows[i].message);
	}
}

/* With room for 4 TiB, blocks at its end come and go, and the tree stays small. */
static void much_room_costs_nothing(void **state)
{
	struct fixture *f = *state;
	size_t small, large;

	power_on_memory(f);
	free(device_tree(f, &small));
	fixture_teardown(state);
	fixture_setup(state);
	f = *state;
	f->config.memory_bytes = 2 * BLOCK_BYTES;
	f->config.max_memory_bytes = SPAPR_MAX_MEMORY;
	power_on(f);
	free(device_tree(f, &large));
	assert_int_equal(large, small);
	add_blocks(f, SPAPR_MAX_MEMORY - BLOCK_BYTES, 1, "last");
	linux_add_blocks(f, 16383, 1);
	assert_int_equal(info_of(f, 0).connector.drc_index, 0x80003fff);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_block_is_added_when_the_fence_behind_it_is_answered),
	    TEST(a_block_that_the_guest_gives_back_was_not_added),
	    TEST(an_add_that_the_guest_never_took_is_rejected_by_a_fence),
	    TEST(a_block_is_removed_when_the_guest_has_released_it),
	    TEST(a_block_may_be_released_at_any_time),
	    TEST(blocks_of_the_boot_memory_are_never_handed_out),
	    TEST(a_device_of_several_blocks_comes_as_a_whole),
	    TEST(a_removal_asks_for_one_block_after_the_other),
	    TEST(a_refused_removal_gives_all_blocks_back),
	    TEST(a_removal_of_several_blocks_is_cancelled_as_a_whole),
	    TEST(a_reset_completes_a_removal_of_several_blocks),
	    TEST(after_a_reset_added_memory_is_in_the_tree),
	    TEST(after_a_reset_added_memory_can_be_offered_by_event),
	    TEST(a_size_is_a_target),
	    TEST(a_target_counts_what_is_left_of_a_device),
	    TEST(a_target_counts_the_memory_that_is_being_removed),
	    TEST(what_is_being_removed_is_no_room),
	    TEST(a_size_that_cannot_be_reached_changes_nothing),
	    TEST(a_target_counts_the_cores_that_are_being_removed),
	    TEST(a_number_of_cores_is_a_target),
	    TEST(what_cannot_be_added_changes_nothing),
	    TEST(a_machine_without_room_says_so),
	    TEST(what_kvm_refuses_is_undone),
	    TEST(sizes_that_cannot_be_are_refused),
	    TEST(much_room_costs_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
