/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_pci_force.c - a removal by force: the guest's requests are refused, and the device goes when
 * no driver uses it, with or without a tool in the guest.
 */
#include "pci_fixture.h"

#include <string.h>

#include "drc/operation.h"

enum { SLOT = 2 };

static uint64_t force(struct fixture *fixture, const char *name)
{
	struct err err = {0};
	uint64_t id = 0;

	if (!spapr_device_force(fixture->machine, name, &id, &err))
		fail_msg("%s", err.message);
	return id;
}

static void force_fails(struct fixture *fixture, const char *name, const char *text)
{
	struct err err = {0};
	uint64_t id = 0;

	assert_false(spapr_device_force(fixture->machine, name, &id, &err));
	if (strstr(err.message, text) == NULL)
		fail_msg("got '%s', expected '%s'", err.message, text);
}

/* A request is answered with an error, and has not been served. */
static void expect_refused(struct driver_queue *rings, unsigned queue)
{
	uint16_t used = driver_used_index(&rings[queue]), head;
	uint32_t written = 0;

	while (driver_collect(&rings[queue], &head, &written))
		; /* those from before */
	request(&rings[queue], SLOT, queue, true);
	wait_used(&rings[queue], (uint16_t)(used + 1));
	assert_true(driver_collect(&rings[queue], &head, &written));
	assert_int_equal(written, TOY_REFUSED);
}

static void expect_refusals(struct fixture *fixture, uint64_t id, uint64_t count)
{
	struct operation op = operation_of(fixture, id);

	assert_true(op.forced);
	assert_int_equal(op.evidence.refused, count);
}

static void expect_there(struct fixture *fixture)
{
	operate(fixture);
	assert_true(slot_filled(fixture, SLOT));
	assert_int_equal(config_read(SLOT, PCI_VENDOR_ID, 2), 0x1af4);
	assert_int_equal(slot_sense(SLOT), DRC_SENSE_PRESENT);
}

static void a_tool_at_work_is_waited_for(void **state)
{
	struct driver_queue rings[TOY_QUEUES];
	uint64_t id;

	toy_in_use(*state, rings);
	id = force(*state, "data");
	expect_refused(rings, 0);
	expect_slot_event(SLOT, 2);
	assert_int_equal(indicate(9002, SLOT, 1), 0);
	expect_refused(rings, 1);
	expect_passed(*state, id, "requested notified fetched answered");
	expect_stuck(*state, id, "its driver still uses the device");
	expect_stuck(*state, id, "by force: 2 answered with an I/O error, 0 begun");
	driver_down(SLOT);
	expect_there(*state);
	assert_int_equal(indicate(9001, SLOT, 0), 0);
	expect_passed(*state, id, "stopped isolated ended");
	expect_end(*state, id, OP_DONE, OP_BY_GUEST, OP_ISOLATED);
	expect_refusals(*state, id, 2);
	expect_gone(*state);
	/* Its slot has been given back. */
	toy_add(*state, "next", &id);
	assert_true(slot_filled(*state, SLOT));
}

static void without_a_tool_it_goes_when_the_driver_lets_go(void **state)
{
	struct driver_queue rings[TOY_QUEUES];
	uint64_t id;

	toy_in_use(*state, rings);
	id = force(*state, "data");
	expect_slot_event(SLOT, 2);
	expect_refused(rings, 0);
	/* Each step of the driver's, until the last. */
	expect_there(*state);
	driver_reset(SLOT);
	expect_there(*state);
	driver_leave(SLOT);
	expect_passed(*state, id, "requested notified fetched stopped released ended");
	expect_end(*state, id, OP_DONE, OP_BY_DRIVER, OP_RELEASED);
	expect_refusals(*state, id, 1);
	assert_true(operation_of(*state, id).device_left);
	expect_gone(*state);
	/* The guest still has it in its tree. */
	toy_add(*state, "next", &id);
	assert_true(slot_filled(*state, SLOT + 1));
	cancel(*state, id);
	reset(*state);
	toy_add(*state, "last", &id);
	assert_true(slot_filled(*state, SLOT));
}

static void what_no_driver_uses_goes_at_once(void **state)
{
	struct driver_queue rings[TOY_QUEUES];
	uint64_t id;

	toy_in_use(*state, rings);
	driver_down(SLOT);
	operate(*state);
	id = force(*state, "data");
	expect_passed(*state, id, "requested notified released ended");
	expect_gone(*state);
	/* The event finds nothing that is pending. */
	expect_slot_event(SLOT, 1);
}

static void what_the_guest_does_not_have_goes_at_once(void **state)
{
	uint64_t id;

	toy_boot(*state, 1);
	toy_add(*state, "data", &id);
	id = force(*state, "data");
	operate(*state);
	drop_reports(*state);
	expect_end(*state, id, OP_DONE, OP_BY_OPERATOR, OP_REQUESTED);
	assert_false(operation_of(*state, id).forced);
	expect_gone(*state);
}

/* The host's kernel may write into the guest's memory until it has ended them. */
static void what_has_been_begun_is_waited_for(void **state)
{
	struct driver_queue rings[TOY_QUEUES];
	struct toy *toy = toy_in_use(*state, rings);
	uint64_t id;

	request(&rings[1], SLOT, 1, true);
	toy_wait_held(toy, 1);
	id = force(*state, "data");
	expect_refused(rings, 0);
	expect_stuck(*state, id, "1 answered with an I/O error, 1 begun that wait for the host");
	assert_int_equal(driver_used_index(&rings[1]), 0);
	set_status(SLOT, 0);
	driver_leave(SLOT);
	assert_int_not_equal(status_of(SLOT), 0);
	expect_there(*state);
	toy_release(toy);
	driver_reset(SLOT);
	assert_int_equal(driver_used_index(&rings[1]), 1);
	expect_passed(*state, id, "requested notified stopped released ended");
	expect_gone(*state);
}

/* It stays pending, and is reported so; the operator may give up. */
static void a_driver_that_never_lets_go_keeps_the_device(void **state)
{
	struct driver_queue rings[TOY_QUEUES];
	uint64_t id;

	toy_in_use(*state, rings);
	id = force(*state, "data");
	expect_slot_event(SLOT, 2);
	expect_refused(rings, 0);
	force(*state, "data");
	force(*state, "data");
	expect_there(*state);
	expect_refused(rings, 0);
	expect_stuck(*state, id, "by force: 2 answered");
	cancel(*state, id);
	expect_works(rings);
	expect_passed(*state, id, "requested notified fetched ended");
	expect_end(*state, id, OP_CANCELLED, OP_BY_OPERATOR, OP_FETCHED);
	expect_refusals(*state, id, 2);
	/* What comes after it begins anew. */
	id = ask_back(*state, "data");
	assert_false(operation_of(*state, id).forced);
	expect_works(rings);
}

static void a_pending_removal_is_forced_without_another_event(void **state)
{
	struct driver_queue rings[TOY_QUEUES];
	uint64_t id;

	toy_in_use(*state, rings);
	id = ask_back(*state, "data");
	expect_slot_event(SLOT, 2);
	expect_works(rings);
	assert_false(operation_of(*state, id).forced);
	assert_int_equal(force(*state, "data"), id);
	expect_no_event(0);
	assert_int_equal(operation_of(*state, id).notifications, 1);
	expect_refused(rings, 0);
	driver_down(SLOT);
	expect_passed(*state, id, "requested notified fetched stopped released ended");
	expect_gone(*state);
}

static void a_tool_that_stops_half_way_is_not_waited_for_twice(void **state)
{
	struct driver_queue rings[TOY_QUEUES];
	uint64_t id;

	toy_in_use(*state, rings);
	id = force(*state, "data");
	expect_slot_event(SLOT, 2);
	assert_int_equal(indicate(9002, SLOT, 1), 0);
	driver_down(SLOT);
	expect_there(*state);
	expect_stuck(*state, id, "let go of the device, connector not isolated");
	force(*state, "data");
	expect_passed(*state, id, "requested notified fetched answered stopped released ended");
	expect_gone(*state);
	/* The rest of the tool's calls. */
	assert_int_equal(indicate(9001, SLOT, 0), -3);
}

static void what_the_guest_refuses_it_is_served_again(void **state)
{
	struct driver_queue rings[TOY_QUEUES];
	uint64_t id;

	toy_in_use(*state, rings);
	id = force(*state, "data");
	expect_slot_event(SLOT, 2);
	assert_int_equal(indicate(9001, SLOT, 0), 0);
	expect_refused(rings, 0);
	assert_int_equal(indicate(9001, SLOT, 1), 0);
	operate(*state);
	drop_reports(*state);
	expect_end(*state, id, OP_REJECTED, OP_BY_GUEST, OP_ISOLATED);
	expect_works(rings);
}

static void a_reset_completes_it(void **state)
{
	struct driver_queue rings[TOY_QUEUES];
	uint64_t id;

	toy_in_use(*state, rings);
	id = force(*state, "data");
	expect_refused(rings, 0);
	while (!spapr_quiesce(((struct fixture *)*state)->machine))
		;
	reset(*state);
	drop_reports(*state);
	expect_end(*state, id, OP_SUPERSEDED, OP_BY_RESET, OP_NOTIFIED);
	assert_false(slot_filled(*state, SLOT));
	expect_refusals(*state, id, 1);
}

static void only_pci_devices_can_be_forced(void **state)
{
	struct driver_queue rings[TOY_QUEUES];

	toy_in_use(*state, rings);
	force_fails(*state, "core1", "'core1' cannot be removed by force");
	force_fails(*state, "nothing", "Device 'nothing' not found");
}

static int teardown(void **state)
{
	assert_int_equal(fixture_teardown(state), 0);
	assert_int_equal(toys, 0);
	return 0;
}

#define PCI_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    PCI_TEST(a_tool_at_work_is_waited_for),
	    PCI_TEST(without_a_tool_it_goes_when_the_driver_lets_go),
	    PCI_TEST(what_no_driver_uses_goes_at_once),
	    PCI_TEST(what_the_guest_does_not_have_goes_at_once),
	    PCI_TEST(what_has_been_begun_is_waited_for),
	    PCI_TEST(a_driver_that_never_lets_go_keeps_the_device),
	    PCI_TEST(a_pending_removal_is_forced_without_another_event),
	    PCI_TEST(a_tool_that_stops_half_way_is_not_waited_for_twice),
	    PCI_TEST(what_the_guest_refuses_it_is_served_again),
	    PCI_TEST(a_reset_completes_it),
	    PCI_TEST(only_pci_devices_can_be_forced),
	};

	return cmocka_run_group_tests_name("pci_force", tests, NULL, NULL);
}
