/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_pci_port.c - devices below a hot-plug port, with a guest that does what Linux' pciehp does
 * with the registers of the slot, and makes no call of the tools'. The slots of the bus are ports
 * here.
 */
#include "pci_fixture.h"

#include <libfdt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drc/operation.h"

/* Slot 1 is that of the device at boot. Below a port, see config_addr(). */
enum { PORT = 2, SLOT = BELOW | PORT, PORTS = 3 };
enum {
	HEADER_TYPE = 0x0e,
	BUS_NUMBERS = 0x18,
	PREFETCH_WINDOW = 0x24,
	LINK_STATUS = 0x52,
	SLOT_CAPABILITIES = 0x54,
	SLOT_CONTROL = 0x58,
	SLOT_STATUS = 0x5a,
};
enum { BUTTON = 0x001, PRESENT = 0x040, LINK_CHANGED = 0x100, LINK_ACTIVE = 0x2000 };
/* What pciehp writes: button, completion, interrupt and link, with each state of the indicator. */
enum { LISTENS = 0x1031, ON = 0x0100, BLINKS = 0x0200, OFF = 0x0300 };
enum { PORT_IRQ = 0x1100 + PORT * 32 + 31 };

static void power_on_with_ports(struct fixture *fixture)
{
	fixture->config.pci_ports = PORTS;
	toy_boot(fixture, 1);
}

static void indicator(uint32_t value)
{
	config_write(PORT, SLOT_CONTROL, 2, LISTENS | value);
}

/* pciehp begins: clears what is in the status, and listens. */
static void pciehp_begins(void)
{
	uint32_t ret[3];

	assert_int_equal(change_msi(PORT, 3, 1, ret), 0);
	assert_int_equal(ret[0], 1);
	assert_int_equal(query_source(PORT, 0, ret), 0);
	assert_int_equal(ret[0], PORT_IRQ);
	config_write(PORT, SLOT_STATUS, 2, 0x11f);
	config_write(
	    PORT, SLOT_CONTROL, 2, LISTENS | (config_read(PORT, SLOT_CONTROL, 2) & 0x0300));
}

static void kernel_begins(void)
{
	assert_int_equal(fake_hcall(0, 0x37c, (uint64_t[9]){0x1d, 0x20000, 0, 4}, NULL),
	    0); /* the process table */
}

/* There is this event, for which there was one more interrupt; it is taken note of. */
static void hear(uint32_t event, uint64_t pulses)
{
	assert_int_equal(fake_irq_pulses(PORT_IRQ), pulses);
	assert_int_equal(config_read(PORT, SLOT_STATUS, 2), event | PRESENT);
	config_write(PORT, SLOT_STATUS, 2, event);
	assert_int_equal(config_read(PORT, SLOT_STATUS, 2), PRESENT);
}

static bool visible(void)
{
	uint32_t value;

	return config_try(config_addr(SLOT, 0), PHB_BUID, 4, &value) == 0;
}

/* Added and in use; returns how many interrupts there were. */
static uint64_t taken_by_the_guest(struct fixture *fixture, struct driver_queue rings[TOY_QUEUES])
{
	uint64_t id, pulses = fake_irq_pulses(PORT_IRQ);

	toy_add(fixture, "data", &id);
	hear(LINK_CHANGED, pulses + 1);
	indicator(BLINKS);
	driver_up(fixture, SLOT, rings);
	indicator(ON);
	operate(fixture);
	drop_reports(fixture);
	expect_end(fixture, id, OP_DONE, OP_BY_GUEST, OP_STARTED);
	return pulses + 1;
}

static void expect_empty(struct fixture *fixture)
{
	assert_false(slot_filled(fixture, PORT));
	assert_false(visible());
	assert_int_equal(config_read(PORT, SLOT_STATUS, 2), 0);
	assert_int_equal(config_read(PORT, LINK_STATUS, 2) & LINK_ACTIVE, 0);
	assert_int_equal(toys, 1);
}

/* --- The port -------------------------------------------------------------------------------- */

static void a_port_is_a_bridge_with_a_slot(void **state)
{
	uint32_t ret[3], value;

	power_on_with_ports(*state);
	assert_int_equal(config_read(PORT, HEADER_TYPE, 1), 1);
	assert_int_equal(config_read(PORT, 0x08, 4) >> 8, 0x060400);
	assert_int_equal(config_read(PORT, BUS_NUMBERS, 4), PORT << 16 | PORT << 8);
	assert_int_equal(config_read(PORT, 0x34, 1), 0x40);
	assert_int_equal(config_read(PORT, 0x40, 1), 0x10);
	assert_int_equal(config_read(PORT, SLOT_CAPABILITIES, 4) >> 19, PORT);
	assert_int_equal(config_read(PORT, SLOT_CONTROL, 2), OFF);
	/* It has no BAR. Its windows can be written, the bus numbers are as the tree says. */
	for (uint32_t offset = 0x10; offset < PREFETCH_WINDOW + 12; offset += 4) {
		uint32_t before = config_read(PORT, offset, 4);

		config_write(PORT, offset, 4, UINT32_MAX);
		value = config_read(PORT, offset, 4);
		if (offset < 0x20)
			assert_int_equal(value, before);
		else if (offset == PREFETCH_WINDOW)
			assert_int_equal(value, 0xfff1fff1);
		else
			assert_int_equal(value, offset == 0x20 ? 0xfff0fff0 : UINT32_MAX);
	}
	/* One MSI, no MSI-X. */
	assert_int_equal(change_msi(PORT, 4, 1, ret), -3);
	assert_int_equal(change_msi(PORT, 3, 4, ret), 0);
	assert_int_equal(ret[0], 1);
	assert_int_equal(ret[2], 1);
	assert_int_equal(change_msi(PORT, 3, 0, ret), 0);
	assert_int_equal(ret[0], 0);
	assert_int_equal(query_source(PORT, 1, ret), -3);
	/* Nothing is below it, not even an interrupt pin; nor a second device, or a port that is
	 * not. */
	assert_false(visible());
	assert_int_equal(config_read(SLOT, 0x3c, 4), 0);
	assert_int_equal(config_try(config_addr(SLOT, 0x3c) | 1 << 11, PHB_BUID, 4, &value), -1);
	assert_int_equal(
	    config_try(config_addr(BELOW | (PORTS + 1), 0x3c), PHB_BUID, 4, &value), -1);
	assert_int_equal(config_try(config_addr(PORTS + 1, 0), PHB_BUID, 4, &value), -1);
	/* What is there from the start is below the first. */
	assert_int_equal(config_read(BELOW | 1, 0, 2), 0x1af4);
	assert_int_equal(config_read(1, SLOT_STATUS, 2), PRESENT);
	assert_int_equal(config_read(1, SLOT_CONTROL, 2), ON);
}

static void the_tree_has_a_place_for_what_will_come(void **state)
{
	struct fixture *fixture = *state;
	void *tree;
	char path[64];
	size_t tree_bytes;
	int length;

	power_on_with_ports(fixture);
	tree = device_tree(fixture, &tree_bytes);
	for (unsigned number = 1; number <= PORTS; number++) {
		const struct be32 *cells;
		int node;

		snprintf(path, sizeof path, "/pci@800000020000000/pci@%x", number);
		node = fdt_path_offset(tree, path);
		assert_true(node >= 0);
		cells = fdt_getprop(tree, node, "bus-range", &length);
		assert_int_equal(length, 8);
		assert_int_equal(from_be32(cells[0]), number);
		node = fdt_first_subnode(tree, node);
		assert_true(node >= 0);
		assert_true(fdt_next_subnode(tree, node) < 0);
		cells = fdt_getprop(tree, node, "reg", &length);
		assert_int_equal(from_be32(cells[0]), number << 16);
		/* 20 bytes: no BAR. */
		assert_int_equal(length, number == 1 ? 40 : 20);
		cells = fdt_getprop(tree, node, "ibm,req#msi-x", &length);
		assert_true(from_be32(*cells) >= TOY_VECTORS);
	}
	free(tree);
}

/* --- Add and remove -------------------------------------------------------------------------- */

static void the_kernel_adds_and_removes(void **state)
{
	struct fixture *fixture = *state;
	struct driver_queue rings[TOY_QUEUES];
	uint64_t id;

	power_on_with_ports(fixture);
	pciehp_begins();
	for (uint64_t pulses = 0; pulses < 6; pulses += 2) {
		toy_add(fixture, "data", &id);
		expect_passed(fixture, id, "requested notified");
		assert_true(config_read(PORT, LINK_STATUS, 2) & LINK_ACTIVE);
		assert_false(visible());
		hear(LINK_CHANGED, pulses + 1);
		expect_passed(fixture, id, "fetched");
		indicator(BLINKS);
		assert_true(visible());
		expect_passed(fixture, id, "unisolated");
		driver_up(fixture, SLOT, rings);
		indicator(ON);
		expect_passed(fixture, id, "configured started ended");
		expect_end(fixture, id, OP_DONE, OP_BY_GUEST, OP_STARTED);

		id = ask_back(fixture, "data");
		expect_passed(fixture, id, "requested notified");
		hear(BUTTON, pulses + 2);
		/* Asked again, it is not a second press, by which Linux would take the first one
		 * back. */
		assert_int_equal(ask_back(fixture, "data"), id);
		indicator(BLINKS);
		assert_int_equal(ask_back(fixture, "data"), id);
		assert_int_equal(config_read(PORT, SLOT_STATUS, 2), PRESENT);
		drop_reports(fixture);
		driver_down(SLOT);
		expect_passed(fixture, id, "stopped");
		indicator(OFF);
		expect_passed(fixture, id, "isolated ended");
		expect_end(fixture, id, OP_DONE, OP_BY_GUEST, OP_ISOLATED);
		assert_string_equal(
		    operation_of(fixture, id).evidence.call, "ibm,write-pci-config");
		expect_empty(fixture);
	}
	expect_no_event(0);
}

static void a_guest_that_cannot_add_it_refuses(void **state)
{
	struct fixture *fixture = *state;
	uint64_t id;

	power_on_with_ports(fixture);
	pciehp_begins();
	toy_add(fixture, "data", &id);
	hear(LINK_CHANGED, 1);
	indicator(BLINKS);
	indicator(OFF);
	expect_passed(fixture, id, "requested notified fetched unisolated ended");
	expect_end(fixture, id, OP_REJECTED, OP_BY_GUEST, OP_UNISOLATED);
	expect_empty(fixture);
}

static void a_guest_that_thinks_better_of_it_refuses(void **state)
{
	struct fixture *fixture = *state;
	struct driver_queue rings[TOY_QUEUES];
	uint64_t id, pulses;

	power_on_with_ports(fixture);
	pciehp_begins();
	pulses = taken_by_the_guest(fixture, rings);
	id = ask_back(fixture, "data");
	hear(BUTTON, pulses + 1);
	indicator(BLINKS);
	indicator(ON);
	expect_passed(fixture, id, "requested notified fetched answered ended");
	expect_end(fixture, id, OP_REJECTED, OP_BY_GUEST, OP_ANSWERED);
	/* And the next request is a press of the button again. */
	id = ask_back(fixture, "data");
	hear(BUTTON, pulses + 2);
	indicator(BLINKS);
	driver_down(SLOT);
	indicator(OFF);
	operate(fixture);
	drop_reports(fixture);
	expect_end(fixture, id, OP_DONE, OP_BY_GUEST, OP_ISOLATED);
	expect_empty(fixture);
}

static void a_removal_in_the_middle_of_an_add_comes_after_it(void **state)
{
	struct fixture *fixture = *state;
	struct driver_queue rings[TOY_QUEUES];
	uint64_t add, removal;

	power_on_with_ports(fixture);
	pciehp_begins();
	toy_add(fixture, "data", &add);
	hear(LINK_CHANGED, 1);
	indicator(BLINKS);
	removal = ask_back(fixture, "data");
	assert_int_equal(config_read(PORT, SLOT_STATUS, 2), PRESENT);
	driver_up(fixture, SLOT, rings);
	indicator(ON);
	hear(BUTTON, 2);
	indicator(BLINKS);
	driver_down(SLOT);
	indicator(OFF);
	operate(fixture);
	drop_reports(fixture);
	expect_end(fixture, add, OP_DONE, OP_BY_GUEST, OP_STARTED);
	expect_end(fixture, removal, OP_DONE, OP_BY_GUEST, OP_ISOLATED);
	expect_empty(fixture);
}

static void what_its_driver_uses_stays_alive(void **state)
{
	struct fixture *fixture = *state;
	struct driver_queue rings[TOY_QUEUES];
	uint64_t id;

	power_on_with_ports(fixture);
	pciehp_begins();
	taken_by_the_guest(fixture, rings);
	id = ask_back(fixture, "data");
	indicator(BLINKS);
	indicator(OFF);
	assert_int_equal(slot_info(fixture, PORT).connector.drc.state, DRC_AVAILABLE);
	assert_true(visible());
	driver_down(SLOT);
	operate(fixture);
	drop_reports(fixture);
	expect_end(fixture, id, OP_DONE, OP_BY_DRIVER, OP_RELEASED);
	expect_empty(fixture);
}

/* The guest cannot be told of that: a second press would be late, or a request of its own. */
static void a_removal_that_is_cancelled_is_carried_out(void **state)
{
	struct fixture *fixture = *state;
	struct driver_queue rings[TOY_QUEUES];
	struct err err = {0};
	uint64_t id, again;

	power_on_with_ports(fixture);
	pciehp_begins();
	taken_by_the_guest(fixture, rings);
	id = ask_back(fixture, "data");
	indicator(BLINKS);
	assert_true(spapr_operation_cancel(fixture->machine, id, &err));
	driver_down(SLOT);
	indicator(OFF);
	operate(fixture);
	drop_reports(fixture);
	expect_end(fixture, id, OP_CANCELLED, OP_BY_OPERATOR, OP_ANSWERED);
	assert_int_equal(slot_info(fixture, PORT).connector.drc.state, DRC_UNUSABLE);
	/* It is out of use, so that a request takes it at once. */
	again = ask_back(fixture, "data");
	operate(fixture);
	drop_reports(fixture);
	expect_end(fixture, again, OP_DONE, OP_BY_OPERATOR, OP_REQUESTED);
	expect_empty(fixture);
}

/* Without an answer of the guest's: then its kernel is told that the device has gone. */
static void what_is_taken_away_by_force_is_pulled_out(void **state)
{
	struct fixture *fixture = *state;
	struct driver_queue rings[TOY_QUEUES];
	struct err err = {0};
	uint64_t id, pulses;

	power_on_with_ports(fixture);
	pciehp_begins();
	pulses = taken_by_the_guest(fixture, rings);
	driver_down(SLOT);
	assert_true(spapr_device_force(fixture->machine, "data", &id, &err));
	operate(fixture);
	drop_reports(fixture);
	assert_int_equal(operation_of(fixture, id).outcome, OP_DONE);
	assert_false(visible());
	/* The press of the button, and the link. Until it has heard of that the slot is not used.
	 */
	assert_int_equal(fake_irq_pulses(PORT_IRQ), pulses + 2);
	assert_int_equal(config_read(PORT, SLOT_STATUS, 2), LINK_CHANGED);
	toy_add(fixture, "next", &id);
	assert_true(slot_filled(fixture, PORT + 1));
	config_write(PORT, SLOT_STATUS, 2, LINK_CHANGED);
	indicator(OFF);
	pulses = fake_irq_pulses(PORT_IRQ);
	toy_add(fixture, "data", &id);
	assert_true(slot_filled(fixture, PORT));
	hear(LINK_CHANGED, pulses + 1);
}

/* It has given up the slot in use, and changes its mind. */
static void what_waits_for_its_driver_can_be_taken_again(void **state)
{
	struct fixture *fixture = *state;
	struct driver_queue rings[TOY_QUEUES];

	power_on_with_ports(fixture);
	pciehp_begins();
	taken_by_the_guest(fixture, rings);
	indicator(OFF);
	assert_int_equal(slot_info(fixture, PORT).connector.drc.state, DRC_AVAILABLE);
	indicator(BLINKS);
	assert_int_equal(slot_info(fixture, PORT).connector.drc.state, DRC_UNISOLATED);
	driver_down(SLOT);
	assert_true(visible());
	indicator(ON);
	assert_int_equal(slot_info(fixture, PORT).connector.drc.state, DRC_CONFIGURED);
}

/* By its own operator: the power file of the slot. */
static void the_guest_gives_it_back_and_takes_it_again(void **state)
{
	struct fixture *fixture = *state;
	struct driver_queue rings[TOY_QUEUES];

	power_on_with_ports(fixture);
	pciehp_begins();
	taken_by_the_guest(fixture, rings);
	driver_down(SLOT);
	indicator(OFF);
	assert_int_equal(slot_info(fixture, PORT).connector.drc.state, DRC_UNUSABLE);
	assert_false(visible());
	indicator(BLINKS);
	assert_true(visible());
	driver_up(fixture, SLOT, rings);
	indicator(ON);
	assert_int_equal(slot_info(fixture, PORT).connector.drc.state, DRC_CONFIGURED);
}

/* --- Who does not listen --------------------------------------------------------------------- */

static void what_came_before_the_guest_listens_is_told_then(void **state)
{
	struct fixture *fixture = *state;
	uint64_t id;

	power_on_with_ports(fixture);
	toy_add(fixture, "data", &id);
	assert_int_equal(fake_irq_pulses(PORT_IRQ), 0);
	expect_passed(fixture, id, "requested notified");
	pciehp_begins();
	expect_passed(fixture, id, "");
	hear(LINK_CHANGED, 1);
	expect_passed(fixture, id, "fetched");
}

static void an_add_that_is_cancelled_leaves_the_slot_empty(void **state)
{
	struct fixture *fixture = *state;
	struct err err = {0};
	uint64_t id;

	power_on_with_ports(fixture);
	toy_add(fixture, "data", &id);
	assert_true(spapr_operation_cancel(fixture->machine, id, &err));
	operate(fixture);
	drop_reports(fixture);
	expect_end(fixture, id, OP_CANCELLED, OP_BY_OPERATOR, OP_NOTIFIED);
	expect_empty(fixture);
	pciehp_begins();
	assert_int_equal(fake_irq_pulses(PORT_IRQ), 0);
}

static void a_reset_puts_it_into_the_tree(void **state)
{
	struct fixture *fixture = *state;
	struct driver_queue rings[TOY_QUEUES];
	size_t tree_bytes;
	void *tree;
	uint64_t id;

	power_on_with_ports(fixture);
	pciehp_begins();
	taken_by_the_guest(fixture, rings);
	id = ask_back(fixture, "data");
	while (!spapr_quiesce(fixture->machine))
		sched_yield();
	reset(fixture);
	drop_reports(fixture);
	expect_end(fixture, id, OP_SUPERSEDED, OP_BY_RESET, OP_NOTIFIED);
	expect_empty(fixture);
	toy_add(fixture, "data", &id);
	reset(fixture);
	drop_reports(fixture);
	expect_end(fixture, id, OP_SUPERSEDED, OP_BY_RESET, OP_NOTIFIED);
	assert_true(visible());
	assert_int_equal(config_read(PORT, SLOT_STATUS, 2), PRESENT);
	assert_int_equal(config_read(PORT, SLOT_CONTROL, 2), ON);
	tree = device_tree(fixture, &tree_bytes);
	assert_true(fdt_path_offset(tree, "/pci@800000020000000/pci@2/slot@0") < 0);
	assert_true(fdt_path_offset(tree, "/pci@800000020000000/pci@3/slot@0") > 0);
	free(tree);
}

/* By kexec: its tree is that of the boot, and has nothing in the slot. */
static void the_next_kernel_finds_what_has_come_since_the_boot(void **state)
{
	struct fixture *fixture = *state;
	struct driver_queue rings[TOY_QUEUES];
	uint64_t pulses;

	power_on_with_ports(fixture);
	pciehp_begins();
	pulses = taken_by_the_guest(fixture, rings);
	kernel_begins();
	assert_int_equal(config_read(PORT, SLOT_STATUS, 2), 0);
	assert_int_equal(config_read(1, SLOT_STATUS, 2), PRESENT);
	pciehp_begins();
	hear(LINK_CHANGED, pulses + 1);
	/* pciehp removes what the tree has in the slot; the last driver has not let go. */
	indicator(OFF);
	indicator(BLINKS);
	driver_down(SLOT);
	assert_true(visible());
	driver_up(fixture, SLOT, rings);
	indicator(ON);
	assert_int_equal(slot_info(fixture, PORT).connector.drc.state, DRC_CONFIGURED);
	assert_true(visible());
}

static void the_next_kernel_is_asked_for_what_the_last_one_was(void **state)
{
	struct fixture *fixture = *state;
	uint64_t id;

	power_on_with_ports(fixture);
	id = ask_back(fixture, "toy");
	kernel_begins();
	config_write(1, SLOT_CONTROL, 2, LISTENS | ON);
	assert_int_equal(fake_irq_pulses(PORT_IRQ - 32), 1);
	assert_int_equal(config_read(1, SLOT_STATUS, 2), BUTTON | PRESENT);
	config_write(1, SLOT_STATUS, 2, BUTTON);
	expect_passed(fixture, id, "requested notified fetched");
}

static int teardown(void **state)
{
	assert_int_equal(fixture_teardown(state), 0);
	assert_int_equal(toys, 0);
	return 0;
}

#define PORT_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    PORT_TEST(a_port_is_a_bridge_with_a_slot),
	    PORT_TEST(the_tree_has_a_place_for_what_will_come),
	    PORT_TEST(the_kernel_adds_and_removes),
	    PORT_TEST(a_guest_that_cannot_add_it_refuses),
	    PORT_TEST(a_guest_that_thinks_better_of_it_refuses),
	    PORT_TEST(a_removal_in_the_middle_of_an_add_comes_after_it),
	    PORT_TEST(what_its_driver_uses_stays_alive),
	    PORT_TEST(a_removal_that_is_cancelled_is_carried_out),
	    PORT_TEST(what_is_taken_away_by_force_is_pulled_out),
	    PORT_TEST(what_waits_for_its_driver_can_be_taken_again),
	    PORT_TEST(the_guest_gives_it_back_and_takes_it_again),
	    PORT_TEST(what_came_before_the_guest_listens_is_told_then),
	    PORT_TEST(an_add_that_is_cancelled_leaves_the_slot_empty),
	    PORT_TEST(a_reset_puts_it_into_the_tree),
	    PORT_TEST(the_next_kernel_finds_what_has_come_since_the_boot),
	    PORT_TEST(the_next_kernel_is_asked_for_what_the_last_one_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
