/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_pci_hotplug.c - devices that are added to the PCI bus of a machine that runs, and removed
 * again, by a guest that makes the calls of Linux' tools in their order.
 */
#include "pci_fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "drc/operation.h"

enum { FIRST = 1, SLOT = 2, SLOTS = 31 };

static void expect_proof(struct fixture *fixture, uint64_t id, struct op_evidence expected)
{
	struct op_evidence got = operation_of(fixture, id).evidence;

	assert_string_equal(op_source_name(got.source), op_source_name(expected.source));
	assert_string_equal(
	    got.call != NULL ? got.call : "-", expected.call != NULL ? expected.call : "-");
	assert_int_equal(got.indicator, expected.indicator);
	assert_int_equal(got.value, expected.value);
	assert_string_equal(op_step_name(got.phase), op_step_name(expected.phase));
	assert_int_equal(got.drc_index, SLOT_DRC(SLOT));
	assert_int_equal(got.parts, 1);
	assert_int_equal(got.parts_used, expected.parts_used);
}

#define PROOF(fixture, id, ...) expect_proof(fixture, id, (struct op_evidence){__VA_ARGS__})

/* --- Add and remove -------------------------------------------------------------------------- */

static void an_add_is_done_when_a_driver_has_started_the_device(void **state)
{
	struct driver_queue rings[TOY_QUEUES];
	uint64_t id;
	uint32_t value;

	toy_boot(*state, 1);
	assert_int_equal(slot_sense(SLOT), DRC_SENSE_EMPTY);
	toy_add(*state, "data", &id);
	expect_passed(*state, id, "requested notified");
	/* Not there before it is unisolated. */
	assert_int_equal(config_try(config_addr(SLOT, 0), PHB_BUID, 4, &value), -1);
	expect_slot_event(SLOT, 1);
	expect_passed(*state, id, "fetched");
	expect_stuck(*state, id, "no tool in the guest has acted on it");
	tool_takes(SLOT);
	expect_passed(*state, id, "unisolated configured");
	expect_stuck(*state, id, "no driver has started the device");
	driver_up(*state, SLOT, rings);
	expect_passed(*state, id, "started ended");
	PROOF(*state, id, .source = OP_BY_DRIVER, .phase = OP_STARTED, .parts_used = 1);
	expect_works(rings);
	expect_no_event(0);
}

static void a_removal_is_done_when_the_guest_has_isolated_it(void **state)
{
	struct driver_queue rings[TOY_QUEUES];
	uint64_t id;

	toy_in_use(*state, rings);
	id = ask_back(*state, "data");
	expect_passed(*state, id, "requested notified");
	expect_slot_event(SLOT, 2);
	expect_passed(*state, id, "fetched");
	expect_stuck(*state, id, "no tool in the guest has acted on it");
	assert_int_equal(indicate(9002, SLOT, 1), 0);
	expect_passed(*state, id, "answered");
	expect_stuck(*state, id, "its driver still uses the device");
	expect_works(rings);
	driver_down(SLOT);
	expect_passed(*state, id, "stopped");
	expect_stuck(*state, id, "has let go of the device, connector not isolated");
	assert_int_equal(indicate(9001, SLOT, 0), 0);
	assert_int_equal(toys, 2); /* its threads end in the operator's */
	expect_passed(*state, id, "isolated ended");
	/* First its threads end, which tell the function that they have come to rest: its
	 * interrupts are still there then. */
	assert_int_equal(toy_descriptors_left, TOY_VECTORS);
	PROOF(*state, id, .source = OP_BY_GUEST, .call = "set-indicator", .indicator = 9001,
	    .phase = OP_ISOLATED);
	assert_true(operation_of(*state, id).device_left);
	expect_gone(*state);
}

static void add_and_remove_again_and_again(void **state)
{
	struct fixture *fixture = *state;
	uint64_t id;

	toy_boot(fixture, 1);
	for (unsigned round = 0; round < 20; round++) {
		struct driver_queue rings[TOY_QUEUES];

		toy_add(fixture, "data", &id);
		guest_adds(fixture, SLOT, rings);
		expect_end(fixture, id, OP_DONE, OP_BY_DRIVER, OP_STARTED);
		expect_works(rings);
		id = ask_back(fixture, "data");
		guest_removes(SLOT);
		expect_passed(
		    fixture, 0, ""); /* as the program does, which releases what has left */
		expect_end(fixture, id, OP_DONE, OP_BY_GUEST, OP_ISOLATED);
		expect_gone(fixture);
		assert_int_equal(fake_doorbells() + fake_joined_irqs(), 0);
	}
}

static void a_device_that_no_driver_uses_goes_at_once(void **state)
{
	uint64_t id;

	toy_boot(*state, 1);
	toy_add(*state, "data", &id);
	expect_slot_event(SLOT, 1);
	tool_takes(SLOT);
	place_bar(SLOT);
	config_write(SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	set_status(SLOT, ACKNOWLEDGE); /* seen by the bus, not by a driver */
	drop_reports(*state);
	id = ask_back(*state, "data");
	expect_slot_event(SLOT, 2);
	assert_int_equal(indicate(9002, SLOT, 1), 0);
	assert_int_equal(indicate(9001, SLOT, 0), 0);
	expect_passed(*state, id, "requested notified fetched answered isolated ended");
	expect_gone(*state);
}

/* A driver that has failed gives up the device without a reset. */
static void a_device_that_a_driver_has_given_up_is_not_in_use(void **state)
{
	uint64_t id;

	toy_boot(*state, 1);
	toy_add(*state, "data", &id);
	expect_slot_event(SLOT, 1);
	tool_takes(SLOT);
	place_bar(SLOT);
	set_status(SLOT, ACKNOWLEDGE | DRIVER);
	set_status(SLOT, ACKNOWLEDGE | DRIVER | FAILED);
	id = ask_back(*state, "data");
	expect_slot_event(SLOT, 2);
	assert_int_equal(indicate(9002, SLOT, 1), 0);
	config_write(SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(indicate(9001, SLOT, 0), 0);
	operate(*state);
	drop_reports(*state);
	expect_end(*state, id, OP_DONE, OP_BY_GUEST, OP_ISOLATED);
	expect_gone(*state);
}

/* A driver whose device could not start has not started it. */
static void a_device_that_fails_to_start_is_not_added(void **state)
{
	struct driver_queue rings[TOY_QUEUES];
	uint64_t id;

	toy_boot(*state, 1);
	toy_add(*state, "data", &id);
	expect_slot_event(SLOT, 1);
	tool_takes(SLOT);
	place_bar(SLOT);
	accept_features(SLOT, VIRTIO_F_VERSION_1);
	set_status(SLOT, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	set_reg(SLOT, REG_QUEUE_DESC + 4, 4, 0x1000);
	set_reg(SLOT, REG_QUEUE_ENABLE, 2, 1);
	set_status(SLOT, UP);
	expect_passed(*state, id, "requested notified fetched unisolated configured");
	driver_reset(SLOT);
	driver_up(*state, SLOT, rings);
	expect_passed(*state, id, "started ended");
}

/* --- In use ---------------------------------------------------------------------------------- */

static void what_is_isolated_in_use_stays_alive_until_its_driver_lets_go(void **state)
{
	struct driver_queue rings[TOY_QUEUES];
	struct toy *toy = toy_in_use(*state, rings);
	uint64_t id = ask_back(*state, "data");

	expect_slot_event(SLOT, 2);
	assert_int_equal(indicate(9002, SLOT, 1), 0);
	request(&rings[1], SLOT, 1, true);
	toy_wait_held(toy, 1);
	assert_int_equal(indicate(9001, SLOT, 0), 0);
	expect_passed(*state, id, "requested notified fetched answered isolated");
	expect_stuck(*state, id, "connector isolated, but the guest's driver still uses");
	assert_int_equal(slot_info(*state, SLOT).connector.drc.state, DRC_AVAILABLE);
	assert_int_equal(slot_sense(SLOT), DRC_SENSE_PRESENT);
	/* It works, and can be reached in all ways. */
	assert_int_equal(config_read(SLOT, PCI_VENDOR_ID, 2), 0x1af4);
	assert_int_equal(indicate(9001, SLOT, 0), 0);
	expect_works(rings);
	/* Each step of the driver's, until the last. */
	set_status(SLOT, 0);
	operate(*state);
	assert_int_equal(slot_info(*state, SLOT).connector.drc.state, DRC_AVAILABLE);
	toy_release(toy);
	driver_reset(SLOT);
	assert_int_equal(driver_used_index(&rings[1]), 1);
	operate(*state);
	assert_int_equal(slot_info(*state, SLOT).connector.drc.state, DRC_AVAILABLE);
	driver_leave(SLOT);
	expect_passed(*state, id, "released ended");
	PROOF(*state, id, .source = OP_BY_DRIVER, .phase = OP_RELEASED);
	expect_gone(*state);
}

static void a_device_taken_back_while_it_is_released_is_a_refusal(void **state)
{
	struct driver_queue rings[TOY_QUEUES];
	uint64_t id;

	toy_in_use(*state, rings);
	id = ask_back(*state, "data");
	expect_slot_event(SLOT, 2);
	assert_int_equal(indicate(9001, SLOT, 0), 0);
	assert_int_equal(indicate(9001, SLOT, 1), 0);
	expect_passed(*state, id, "requested notified fetched isolated ended");
	PROOF(*state, id, .source = OP_BY_GUEST, .call = "set-indicator", .indicator = 9001,
	    .value = 1, .phase = OP_ISOLATED, .parts_used = 1);
	expect_end(*state, id, OP_REJECTED, OP_BY_GUEST, OP_ISOLATED);
	assert_string_equal(
	    operation_of(*state, id).evidence.inferred, "the guest took the device back");
	assert_int_equal(slot_info(*state, SLOT).connector.drc.state, DRC_CONFIGURED);
	expect_works(rings);
}

static void a_tool_that_finds_no_device_says_no(void **state)
{
	struct driver_queue rings[TOY_QUEUES];
	uint64_t id;

	toy_in_use(*state, rings);
	/* Without a request the light says nothing. */
	assert_int_equal(indicate(9002, SLOT, 1), 0);
	assert_int_equal(indicate(9002, SLOT, 0), 0);
	id = ask_back(*state, "data");
	expect_slot_event(SLOT, 2);
	assert_int_equal(indicate(9002, SLOT, 0), 0); /* that it is off is no answer */
	expect_passed(*state, id, "requested notified fetched");
	assert_int_equal(indicate(9002, SLOT, 1), 0);
	assert_int_equal(indicate(9002, SLOT, 0), 0);
	expect_passed(*state, id, "answered ended");
	expect_end(*state, id, OP_REJECTED, OP_BY_GUEST, OP_ANSWERED);
	PROOF(*state, id, .source = OP_BY_GUEST, .call = "set-indicator", .indicator = 9002,
	    .phase = OP_ANSWERED, .parts_used = 1);
	assert_non_null(strstr(operation_of(*state, id).evidence.inferred, "did not remove it"));
	expect_works(rings);
}

static void a_device_that_was_isolated_before_is_asked_for_when_it_is_taken_back(void **state)
{
	struct driver_queue rings[TOY_QUEUES];
	uint64_t id;

	toy_in_use(*state, rings);
	assert_int_equal(indicate(9001, SLOT, 0), 0);
	id = ask_back(*state, "data");
	expect_passed(*state, id, "requested");
	expect_no_event(0);
	assert_int_equal(indicate(9001, SLOT, 1), 0);
	expect_passed(*state, id, "notified");
	guest_removes(SLOT);
	expect_passed(*state, id, "fetched answered stopped isolated ended");
	expect_gone(*state);
}

static void what_the_guest_gives_back_unasked_is_as_it_was_made(void **state)
{
	struct driver_queue rings[TOY_QUEUES];
	uint64_t id;
	uint32_t ret[3];

	toy_in_use(*state, rings);
	driver_down(SLOT);
	accept_features(SLOT, VIRTIO_F_VERSION_1 | 3);
	set_reg(SLOT, REG_QUEUE_SELECT, 2, 1);
	assert_int_equal(indicate(9001, SLOT, 0), 0);
	operate(*state);
	drop_reports(*state);
	assert_int_equal(slot_info(*state, SLOT).connector.drc.state, DRC_UNUSABLE);
	assert_int_equal(toys, 2);
	tool_takes(SLOT);
	assert_int_equal(config_read(SLOT, PCI_COMMAND, 2), 0);
	assert_int_equal(config_read(SLOT, PCI_BAR0, 4), 4);
	assert_int_equal(query_source(SLOT, 0, ret), -3);
	place_bar(SLOT);
	assert_int_equal(status_of(SLOT), 0);
	assert_int_equal(reg(SLOT, REG_QUEUE_SELECT, 2), 0);
	set_reg(SLOT, REG_DRIVER_SELECT, 4, 0);
	assert_int_equal(reg(SLOT, REG_DRIVER_FEATURES, 4), 0);
	driver_up(*state, SLOT, rings);
	expect_works(rings);
	id = ask_back(*state, "data");
	guest_removes(SLOT);
	operate(*state);
	drop_reports(*state);
	expect_end(*state, id, OP_DONE, OP_BY_GUEST, OP_ISOLATED);
}

static void an_add_that_the_guest_gives_back_is_rejected(void **state)
{
	uint64_t id;

	toy_boot(*state, 1);
	toy_add(*state, "data", &id);
	expect_slot_event(SLOT, 1);
	tool_takes(SLOT);
	assert_int_equal(indicate(9001, SLOT, 0), 0);
	operate(*state);
	drop_reports(*state);
	expect_end(*state, id, OP_REJECTED, OP_BY_GUEST, OP_CONFIGURED);
	assert_non_null(strstr(operation_of(*state, id).evidence.inferred, "no driver could use"));
	assert_true(operation_of(*state, id).device_left);
	expect_gone(*state);
}

/* --- Orders that the guest has not acted on -------------------------------------------------- */

static void a_slot_with_an_old_order_is_not_used(void **state)
{
	struct driver_queue rings[TOY_QUEUES];
	uint64_t id;

	toy_in_use(*state, rings);
	id = ask_back(*state, "data");
	expect_slot_event(SLOT, 2);
	cancel(*state, id);
	operate(*state);
	drop_reports(*state);
	expect_end(*state, id, OP_CANCELLED, OP_BY_OPERATOR, OP_FETCHED);
	/* Two orders, of which the tool carries out one. */
	id = ask_back(*state, "data");
	guest_removes(SLOT);
	operate(*state);
	drop_reports(*state);
	expect_end(*state, id, OP_DONE, OP_BY_GUEST, OP_ISOLATED);
	expect_gone(*state);
	toy_add(*state, "other", &id);
	assert_true(slot_filled(*state, SLOT + 1));
	cancel(*state, id);
	/* The other, in vain: what it would take away is not there. */
	assert_int_equal(indicate(9002, SLOT, 1), -3);
	toy_add(*state, "another", &id);
	assert_true(slot_filled(*state, SLOT));
}

static void a_reset_forgets_old_orders(void **state)
{
	uint64_t id;

	toy_boot(*state, 1);
	toy_add(*state, "data", &id);
	expect_slot_event(SLOT, 1);
	cancel(*state, id);
	drop_reports(*state);
	toy_add(*state, "data", &id);
	assert_true(slot_filled(*state, SLOT + 1));
	cancel(*state, id);
	drop_reports(*state);
	reset(*state);
	toy_add(*state, "data", &id);
	assert_true(slot_filled(*state, SLOT));
}

static void an_add_can_be_cancelled_until_the_guest_takes_it(void **state)
{
	uint64_t id;

	toy_boot(*state, 1);
	toy_add(*state, "data", &id);
	cancel(*state, id);
	expect_passed(*state, id, "requested notified ended");
	expect_end(*state, id, OP_CANCELLED, OP_BY_OPERATOR, OP_NOTIFIED);
	expect_gone(*state);
	/* The event is there still. A tool that begins on it finds nothing. */
	expect_slot_event(SLOT, 1);
	assert_int_equal(indicate(9001, SLOT, 0), -3);
	toy_add(*state, "data", &id);
	assert_true(slot_filled(*state, SLOT));
	expect_slot_event(SLOT, 1);
	tool_takes(SLOT);
	cancel_fails(*state, id, "operation 2: the guest has already taken the pci");
}

static void all_slots_can_be_filled(void **state)
{
	char name[16];
	uint64_t id;

	toy_boot(*state, 1);
	for (unsigned slot = 2; slot <= SLOTS; slot++) {
		snprintf(name, sizeof name, "toy%u", slot);
		toy_add(*state, name, &id);
		assert_true(slot_filled(*state, slot));
	}
	assert_int_equal(toys, SLOTS);
	toy_add_fails(*state, "more", "there are more devices than the 31");
	/* The guest fetches the events, and does nothing. */
	for (unsigned slot = 2; slot <= SLOTS; slot++)
		expect_slot_event(slot, 1);
	cancel(*state, id);
	drop_reports(*state);
	toy_add_fails(*state, "more", "the guest has not acted on earlier events");
	assert_int_equal(indicate(9001, SLOTS, 0), -3); /* a tool begins, and finds nothing */
	toy_add(*state, "more", &id);
	assert_true(slot_filled(*state, SLOTS));
	assert_int_equal(toys, SLOTS);
	toy_add_fails(*state, "toy2", "there are more devices");
	assert_int_equal(toys, SLOTS);
}

static void names_are_unique(void **state)
{
	toy_boot(*state, 1);
	toy_add_fails(*state, "toy", "Duplicate device ID 'toy'");
	toy_add_fails(*state, "", "Device ID must have");
	assert_int_equal(toys, 1);
	assert_false(slot_filled(*state, SLOT));
}

/* --- Resets ---------------------------------------------------------------------------------- */

static void a_reset_ends_what_is_pending(void **state)
{
	struct fixture *fixture = *state;
	struct driver_queue rings[TOY_QUEUES];
	struct toy *toy = toy_in_use(fixture, rings);
	uint64_t removal, add;

	toy_add(fixture, "late", &add);
	removal = ask_back(fixture, "data");
	expect_slot_event(SLOT + 1, 1);
	tool_takes(SLOT + 1);
	expect_slot_event(SLOT, 2);
	assert_int_equal(indicate(9001, SLOT, 0), 0);
	request(&rings[0], SLOT, 0, true);
	toy_wait_held(toy, 1);
	assert_false(spapr_quiesce(fixture->machine));
	toy_release(toy);
	while (!spapr_quiesce(fixture->machine))
		;
	reset(fixture);
	drop_reports(fixture);
	expect_end(fixture, removal, OP_SUPERSEDED, OP_BY_RESET, OP_ISOLATED);
	assert_true(operation_of(fixture, removal).device_left);
	expect_end(fixture, add, OP_SUPERSEDED, OP_BY_RESET, OP_CONFIGURED);
	assert_false(operation_of(fixture, add).device_left);
	assert_false(slot_filled(fixture, SLOT));
	assert_int_equal(toys, 2);
	/* What stays is in the new tree, as configured. */
	assert_int_equal(slot_info(fixture, SLOT + 1).connector.drc.state, DRC_CONFIGURED);
	assert_int_equal(config_read(SLOT + 1, PCI_VENDOR_ID, 2), 0x1af4);
	expect_no_event(0);
}

/* --- Threads --------------------------------------------------------------------------------- */

struct crowd {
	uint32_t vcpu;
	_Atomic bool end;
	unsigned accesses;
};

/* A vCPU of the guest's that loads and stores where the device is, and is no more. */
static void *crowd_main(void *argument)
{
	struct crowd *crowd = argument;

	while (!crowd->end) {
		fake_load(crowd->vcpu, BAR(SLOT) + REG_STATUS, 1);
		fake_store(crowd->vcpu, BAR(SLOT) + AT_NOTIFY + 4 * (crowd->vcpu - 1), 2, 0);
		fake_load(crowd->vcpu, BAR(SLOT) + AT_PENDING, 8);
		fake_load(crowd->vcpu, BAR(FIRST) + REG_STATUS, 1);
		crowd->accesses++;
	}
	return NULL;
}

static void vcpus_access_the_device_while_it_leaves(void **state)
{
	struct fixture *fixture = *state;
	struct crowd crowds[2] = {{.vcpu = 1}, {.vcpu = 2}};
	struct driver_queue rings[TOY_QUEUES];
	pthread_t threads[2];
	uint64_t id;

	toy_boot(fixture, 3);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(start_cpu(0, crowds[i].vcpu), 0);
		assert_int_equal(pthread_create(&threads[i], NULL, crowd_main, &crowds[i]), 0);
	}
	for (unsigned round = 0; round < 20; round++) {
		toy_add(fixture, "data", &id);
		guest_adds(fixture, SLOT, rings);
		expect_works(rings);
		id = ask_back(fixture, "data");
		guest_removes(SLOT);
		operate(fixture);
		drop_reports(fixture);
		expect_end(fixture, id, OP_DONE, OP_BY_GUEST, OP_ISOLATED);
		assert_int_equal(toys, 1);
	}
	for (unsigned i = 0; i < 2; i++) {
		crowds[i].end = true;
		pthread_join(threads[i], NULL);
		assert_true(crowds[i].accesses > 0);
	}
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
	    PCI_TEST(an_add_is_done_when_a_driver_has_started_the_device),
	    PCI_TEST(a_removal_is_done_when_the_guest_has_isolated_it),
	    PCI_TEST(add_and_remove_again_and_again),
	    PCI_TEST(a_device_that_no_driver_uses_goes_at_once),
	    PCI_TEST(a_device_that_a_driver_has_given_up_is_not_in_use),
	    PCI_TEST(a_device_that_fails_to_start_is_not_added),
	    PCI_TEST(what_is_isolated_in_use_stays_alive_until_its_driver_lets_go),
	    PCI_TEST(a_device_taken_back_while_it_is_released_is_a_refusal),
	    PCI_TEST(a_tool_that_finds_no_device_says_no),
	    PCI_TEST(a_device_that_was_isolated_before_is_asked_for_when_it_is_taken_back),
	    PCI_TEST(what_the_guest_gives_back_unasked_is_as_it_was_made),
	    PCI_TEST(an_add_that_the_guest_gives_back_is_rejected),
	    PCI_TEST(a_slot_with_an_old_order_is_not_used),
	    PCI_TEST(a_reset_forgets_old_orders),
	    PCI_TEST(an_add_can_be_cancelled_until_the_guest_takes_it),
	    PCI_TEST(all_slots_can_be_filled),
	    PCI_TEST(names_are_unique),
	    PCI_TEST(a_reset_ends_what_is_pending),
	    PCI_TEST(vcpus_access_the_device_while_it_leaves),
	};

	return cmocka_run_group_tests_name("pci_hotplug", tests, NULL, NULL);
}
