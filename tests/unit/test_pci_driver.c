/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_pci_driver.c - the driver's side of virtio over PCI: the status, the registers of queues,
 * notifications, and a reset, of the device and of the machine, with a request in flight.
 */
#include "pci_fixture.h"

#include <string.h>

enum { SLOT = 1 };

/* --- Status and features --------------------------------------------------------------------- */

static void features_are_those_that_are_offered(void **state)
{
	toy_boot(*state, 1);
	place_bar(SLOT);
	assert_int_equal(reg(SLOT, REG_DEVICE_FEATURES, 4),
	    (uint32_t)(VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC | 3));
	set_reg(SLOT, REG_DEVICE_SELECT, 4, 1);
	assert_int_equal(reg(SLOT, REG_DEVICE_FEATURES, 4), 1); /* VERSION_1 */
	set_reg(SLOT, REG_DEVICE_SELECT, 4, 2);
	assert_int_equal(reg(SLOT, REG_DEVICE_FEATURES, 4), 0);
	accept_features(SLOT, VIRTIO_F_VERSION_1 | 2);
	set_reg(SLOT, REG_DRIVER_SELECT, 4, 2);
	set_reg(SLOT, REG_DRIVER_FEATURES, 4, UINT32_MAX);
	assert_int_equal(reg(SLOT, REG_DRIVER_FEATURES, 4), 0);
	set_reg(SLOT, REG_DRIVER_SELECT, 4, 0);
	assert_int_equal(reg(SLOT, REG_DRIVER_FEATURES, 4), 2);
	set_status(SLOT, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	assert_int_equal(status_of(SLOT), ACKNOWLEDGE | DRIVER | FEATURES_OK);
	/* They are settled. */
	set_reg(SLOT, REG_DRIVER_FEATURES, 4, 1);
	assert_int_equal(reg(SLOT, REG_DRIVER_FEATURES, 4), 2);
}

static void features_that_do_not_fit_are_not_accepted(void **state)
{
	static const uint64_t wrong[] = {0, 3, VIRTIO_F_VERSION_1 | 4, VIRTIO_F_VERSION_1 << 1,
	    VIRTIO_F_VERSION_1 | UINT64_C(1) << 63};

	toy_boot(*state, 1);
	place_bar(SLOT);
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		accept_features(SLOT, wrong[i]);
		set_status(SLOT, ACKNOWLEDGE | DRIVER | FEATURES_OK);
		assert_int_equal(status_of(SLOT), ACKNOWLEDGE | DRIVER);
		/* Without them it cannot start. */
		set_status(SLOT, UP);
		assert_true(status_of(SLOT) & NEEDS_RESET);
		assert_false(status_of(SLOT) & FEATURES_OK);
		driver_reset(SLOT);
	}
}

static void bits_of_the_status_are_only_added(void **state)
{
	toy_boot(*state, 1);
	place_bar(SLOT);
	set_status(SLOT, ACKNOWLEDGE | DRIVER);
	set_status(SLOT, ACKNOWLEDGE);
	assert_int_equal(status_of(SLOT), ACKNOWLEDGE | DRIVER);
	set_status(SLOT, NEEDS_RESET); /* the device's own */
	assert_int_equal(status_of(SLOT), ACKNOWLEDGE | DRIVER);
	set_status(SLOT, FAILED);
	assert_int_equal(status_of(SLOT), ACKNOWLEDGE | DRIVER | FAILED);
	set_status(SLOT, 0);
	assert_int_equal(status_of(SLOT), 0);
}

static void registers_have_their_width(void **state)
{
	toy_boot(*state, 1);
	place_bar(SLOT);
	set_status(SLOT, ACKNOWLEDGE);
	assert_int_equal(reg(SLOT, REG_STATUS, 2), 0);
	assert_int_equal(reg(SLOT, REG_QUEUES, 4), 0);
	assert_int_equal(reg(SLOT, REG_QUEUES, 1), 0);
	assert_int_equal(reg(SLOT, REG_QUEUE_DESC, 8), 0);
	set_reg(SLOT, REG_STATUS, 4, 0);
	assert_int_equal(status_of(SLOT), ACKNOWLEDGE);
	set_reg(SLOT, REG_QUEUE_SELECT, 4, UINT32_MAX);
	assert_int_equal(reg(SLOT, REG_QUEUE_SELECT, 2), 0);
	assert_int_equal(reg(SLOT, 56, 4), 0);
	set_reg(SLOT, 56, 4, UINT32_MAX);
	set_reg(SLOT, 0xffc, 8, UINT64_MAX);
}

/* --- Queues ---------------------------------------------------------------------------------- */

static void expect_queue_frozen(void)
{
	static const struct {
		uint32_t offset, size;
	} registers[] = {{REG_QUEUE_SIZE, 2}, {REG_QUEUE_ENABLE, 2}, {REG_QUEUE_DESC, 4},
	    {REG_QUEUE_DESC + 4, 4}, {REG_QUEUE_DRIVER, 4}, {REG_QUEUE_DRIVER + 4, 4},
	    {REG_QUEUE_DEVICE, 4}, {REG_QUEUE_DEVICE + 4, 4}};

	for (size_t i = 0; i < sizeof registers / sizeof registers[0]; i++) {
		uint64_t before = reg(SLOT, registers[i].offset, registers[i].size);

		set_reg(SLOT, registers[i].offset, registers[i].size, 0x0404);
		assert_int_equal(reg(SLOT, registers[i].offset, registers[i].size), before);
	}
}

static void queues_are_set_up_only_while_they_may_be(void **state)
{
	struct driver_queue rings[TOY_QUEUES];

	toy_boot(*state, 1);
	place_bar(SLOT);
	expect_queue_frozen(); /* before FEATURES_OK */
	accept_features(SLOT, VIRTIO_F_VERSION_1);
	set_status(SLOT, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	set_reg(SLOT, REG_QUEUE_ENABLE, 2, 2); /* only 1 enables */
	assert_int_equal(reg(SLOT, REG_QUEUE_ENABLE, 2), 0);
	set_up_queue(*state, SLOT, 0, &rings[0]);
	assert_int_equal(reg(SLOT, REG_QUEUE_SIZE, 2), RING_SIZE);
	assert_int_equal(reg(SLOT, REG_QUEUE_DESC, 4), RING(SLOT, 0));
	assert_int_equal(reg(SLOT, REG_QUEUE_ENABLE, 2), 1);
	expect_queue_frozen(); /* enabled */
	set_reg(SLOT, REG_QUEUE_SELECT, 2, 1);
	set_status(SLOT, UP);
	assert_int_equal(status_of(SLOT), UP);
	expect_queue_frozen(); /* never enabled, but the device runs */
	assert_int_equal(reg(SLOT, REG_QUEUE_NOTIFY, 2), 1);
	/* The vector, too: whoever serves the queue has its eventfd. */
	set_reg(SLOT, REG_QUEUE_VECTOR, 2, 2);
	assert_int_equal(reg(SLOT, REG_QUEUE_VECTOR, 2), 0xffff);
	/* A queue that does not exist has no size. */
	for (unsigned queue = TOY_QUEUES; queue < 0x10000; queue += 0x7fff) {
		set_reg(SLOT, REG_QUEUE_SELECT, 2, queue);
		set_reg(SLOT, REG_QUEUE_SIZE, 2, 4);
		assert_int_equal(reg(SLOT, REG_QUEUE_SIZE, 2), 0);
		assert_int_equal(reg(SLOT, REG_QUEUE_VECTOR, 2), 0);
	}
}

static void rings_that_cannot_be_need_a_reset(void **state)
{
	struct driver_queue rings[TOY_QUEUES];

	toy_boot(*state, 1);
	driver_up(*state, SLOT, rings);
	driver_reset(SLOT);
	accept_features(SLOT, VIRTIO_F_VERSION_1);
	set_status(SLOT, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	set_reg(SLOT, REG_CONFIG_VECTOR, 2, 0);
	set_reg(SLOT, REG_QUEUE_DESC + 4, 4, 0x1000); /* not the guest's memory */
	set_reg(SLOT, REG_QUEUE_ENABLE, 2, 1);
	set_status(SLOT, UP);
	assert_int_equal(status_of(SLOT), UP | NEEDS_RESET);
	/* The driver is told, by a configuration interrupt. */
	assert_int_equal(fake_take_edges(irq_of(SLOT, 0)), 1);
	assert_int_equal(reg(SLOT, AT_ISR, 1), 2);
	driver_reset(SLOT);
	driver_up(*state, SLOT, rings);
	request(&rings[1], SLOT, 1, false);
	wait_used(&rings[1], 1);
}

static bool needs_reset(void *context)
{
	return (status_of(SLOT) & NEEDS_RESET) != 0;
}

static void a_broken_queue_needs_a_reset(void **state)
{
	struct driver_queue rings[TOY_QUEUES];

	toy_boot(*state, 1);
	driver_up(*state, SLOT, rings);
	driver_offer(&rings[0], RING_SIZE); /* no such descriptor */
	driver_publish(&rings[0]);
	assert_true(fake_ring(BAR(SLOT) + AT_NOTIFY));
	fake_wait_until(needs_reset, NULL, "the device says that it needs a reset");
	driver_reset(SLOT);
	driver_up(*state, SLOT, rings);
	request(&rings[0], SLOT, 0, false);
	wait_used(&rings[0], 1);
}

/* --- Notifications --------------------------------------------------------------------------- */

static void doorbells_are_where_the_bar_is(void **state)
{
	struct driver_queue rings[TOY_QUEUES];
	uint64_t notify = BAR(SLOT) + AT_NOTIFY, moved = BAR(7) + AT_NOTIFY;

	toy_boot(*state, 1);
	place_bar(SLOT);
	assert_int_equal(fake_doorbells(), 0);
	driver_up(*state, SLOT, rings);
	assert_int_equal(fake_doorbells(), TOY_QUEUES);
	for (unsigned queue = 0; queue < TOY_QUEUES; queue++) {
		request(&rings[queue], SLOT, queue, false);
		wait_used(&rings[queue], 1);
	}
	config_write(SLOT, PCI_BAR0, 4, (uint32_t)BAR(7));
	assert_int_equal(fake_doorbells(), TOY_QUEUES);
	assert_false(fake_ring(notify) || fake_ring(notify + 4));
	driver_offer(
	    &rings[1], driver_chain(&rings[1], &(struct driver_part){24 * MIB, 16, true}, 1, 0));
	driver_publish(&rings[1]);
	assert_true(fake_ring(moved + 4));
	wait_used(&rings[1], 2);
	config_write(SLOT, PCI_COMMAND, 2, 0);
	assert_int_equal(fake_doorbells(), 0);
	place_bar(SLOT);
	assert_int_equal(fake_doorbells(), TOY_QUEUES);
	driver_reset(SLOT);
	assert_int_equal(fake_doorbells(), 0);
	assert_false(fake_ring(notify));
}

static bool no_doorbells(enum fake_call call)
{
	return call == FAKE_JOIN_DOORBELL;
}

/* What is made available meanwhile is served when it may access memory again. */
static void a_function_that_must_not_access_memory_takes_no_notifications(void **state)
{
	struct driver_queue rings[TOY_QUEUES];

	toy_boot(*state, 1);
	driver_up(*state, SLOT, rings);
	for (unsigned round = 1; round <= 2; round++) {
		/* KVM has a place for a doorbell, or none. */
		if (round == 2)
			fake_set_fault(no_doorbells);
		config_write(SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
		assert_int_equal(fake_doorbells(), 0);
		assert_int_equal(status_of(SLOT), UP);
		request(&rings[1], SLOT, 1, false);
		assert_int_equal(driver_used_index(&rings[1]), round - 1);
		config_write(SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
		wait_used(&rings[1], (uint16_t)round);
		assert_int_equal(fake_doorbells(), round == 1 ? TOY_QUEUES : 0);
	}
}

static void without_doorbells_the_store_is_enough(void **state)
{
	struct driver_queue rings[TOY_QUEUES];

	toy_boot(*state, 1);
	fake_set_fault(no_doorbells);
	driver_up(*state, SLOT, rings);
	assert_int_equal(fake_doorbells(), 0);
	for (unsigned queue = 0; queue < TOY_QUEUES; queue++) {
		request(&rings[queue], SLOT, queue, false); /* by a store */
		wait_used(&rings[queue], 1);
	}
	/* Queues that are not there, and a place that is of none. */
	fake_store(0, BAR(SLOT) + AT_NOTIFY + 4 * TOY_QUEUES, 2, TOY_QUEUES);
	fake_store(0, BAR(SLOT) + AT_NOTIFY + 0xffc, 4, 0);
	assert_int_equal(reg(SLOT, AT_NOTIFY, 2), 0);
	driver_down(SLOT);
}

/* --- Resets ---------------------------------------------------------------------------------- */

static void a_reset_waits_for_requests_in_flight(void **state)
{
	struct driver_queue rings[TOY_QUEUES];
	struct toy *toy = toy_boot(*state, 1);

	driver_up(*state, SLOT, rings);
	request(&rings[0], SLOT, 0, true);
	toy_wait_held(toy, 1);
	assert_int_equal(slot_info(*state, SLOT).in_flight, 1);
	set_status(SLOT, 0);
	assert_int_equal(status_of(SLOT), UP);
	/* What it does meanwhile has no effect. */
	set_status(SLOT, ACKNOWLEDGE);
	set_status(SLOT, 0);
	assert_int_equal(status_of(SLOT), UP);
	assert_int_equal(fake_doorbells(), 0);
	request(&rings[1], SLOT, 1, false);
	assert_int_equal(driver_used_index(&rings[0]), 0);
	toy_release(toy);
	driver_reset(SLOT);
	/* It has been answered, and nothing was taken after the reset. */
	assert_int_equal(driver_used_index(&rings[0]), 1);
	assert_int_equal(driver_used_index(&rings[1]), 0);
	assert_int_equal(reg(SLOT, REG_QUEUE_ENABLE, 2), 0);
	assert_int_equal(reg(SLOT, REG_QUEUE_DESC, 4), 0);
	assert_int_equal(reg(SLOT, REG_QUEUE_VECTOR, 2), 0xffff);
	assert_int_equal(reg(SLOT, REG_CONFIG_VECTOR, 2), 0xffff);
	driver_up(*state, SLOT, rings);
	request(&rings[1], SLOT, 1, false);
	wait_used(&rings[1], 1);
}

static bool quiet(void *machine)
{
	return spapr_quiesce(machine);
}

static void a_reset_of_the_machine_waits_too(void **state)
{
	struct fixture *fixture = *state;
	struct driver_queue rings[TOY_QUEUES];
	struct toy *toy = toy_boot(fixture, 1);
	struct err err = {0};
	uint32_t ret[3];

	driver_up(fixture, SLOT, rings);
	request(&rings[0], SLOT, 0, true);
	toy_wait_held(toy, 1);
	spapr_take_news(fixture->machine);
	assert_false(spapr_quiesce(fixture->machine));
	assert_false(spapr_quiesce(fixture->machine));
	assert_false(spapr_boot(fixture->machine, &err));
	assert_non_null(strstr(err.message, "in flight"));
	assert_false(spapr_take_news(fixture->machine) & SPAPR_NEWS_DRIVER);
	toy_release(toy);
	fake_wait_until(quiet, fixture->machine, "the devices come to rest");
	assert_int_equal(driver_used_index(&rings[0]), 1);
	reset(fixture);
	assert_int_equal(fake_doorbells(), 0);
	assert_int_equal(fake_joined_irqs(), 0);
	assert_int_equal(query_source(SLOT, 0, ret), -3);
	assert_int_equal(config_read(SLOT, PCI_COMMAND, 2), 0);
	assert_int_equal(config_read(SLOT, PCI_BAR0, 4), 4);
	assert_int_equal(reg(SLOT, REG_QUEUES, 2), 0);
	place_bar(SLOT);
	assert_int_equal(status_of(SLOT), 0);
	driver_up(fixture, SLOT, rings);
	request(&rings[1], SLOT, 1, false);
	wait_used(&rings[1], 1);
}

static bool told_of_driver(void *machine)
{
	return (spapr_take_news(machine) & SPAPR_NEWS_DRIVER) != 0;
}

static void news_tell_that_the_device_rests(void **state)
{
	struct fixture *fixture = *state;
	struct driver_queue rings[TOY_QUEUES];
	struct toy *toy = toy_boot(fixture, 1);

	driver_up(fixture, SLOT, rings);
	request(&rings[1], SLOT, 1, true);
	toy_wait_held(toy, 1);
	assert_true(told_of_driver(fixture->machine)); /* it has been started */
	assert_false(spapr_quiesce(fixture->machine));
	assert_false(told_of_driver(fixture->machine));
	toy_release(toy);
	fake_wait_until(told_of_driver, fixture->machine, "news of the device");
	assert_true(spapr_quiesce(fixture->machine));
}

/* The device has been left as it is after a machine that was reset. */
static void a_machine_ends_with_a_device_that_runs(void **state)
{
	struct driver_queue rings[TOY_QUEUES];
	struct toy *toy = toy_boot(*state, 1);

	driver_up(*state, SLOT, rings);
	request(&rings[0], SLOT, 0, true);
	toy_wait_held(toy, 1);
}

/* A status that the driver writes last, without a call of RTAS behind it, ends a removal. */
static void a_driver_that_never_started_the_device_lets_go_by_its_status(void **state)
{
	static const uint8_t last[] = {0, ACKNOWLEDGE | DRIVER | FAILED};
	uint64_t id = 0;

	toy_boot(*state, 1);
	for (size_t i = 0; i < sizeof last; i++) {
		if (i > 0) {
			toy_add(*state, "toy", &id);
			expect_slot_event(SLOT, 1);
			tool_takes(SLOT);
		}
		place_bar(SLOT);
		set_status(SLOT, ACKNOWLEDGE | DRIVER);
		id = ask_back(*state, "toy");
		expect_slot_event(SLOT, 2);
		assert_int_equal(indicate(9002, SLOT, 1), 0);
		assert_int_equal(indicate(9001, SLOT, 0), 0);
		config_write(SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
		operate(*state);
		assert_int_equal(slot_info(*state, SLOT).connector.drc.state, DRC_AVAILABLE);
		set_status(SLOT, last[i]);
		operate(*state);
		assert_false(slot_filled(*state, SLOT));
		expect_end(*state, id, OP_DONE, OP_BY_DRIVER, OP_RELEASED);
		drop_reports(*state);
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
	    PCI_TEST(features_are_those_that_are_offered),
	    PCI_TEST(features_that_do_not_fit_are_not_accepted),
	    PCI_TEST(bits_of_the_status_are_only_added),
	    PCI_TEST(registers_have_their_width),
	    PCI_TEST(queues_are_set_up_only_while_they_may_be),
	    PCI_TEST(rings_that_cannot_be_need_a_reset),
	    PCI_TEST(a_broken_queue_needs_a_reset),
	    PCI_TEST(doorbells_are_where_the_bar_is),
	    PCI_TEST(a_function_that_must_not_access_memory_takes_no_notifications),
	    PCI_TEST(without_doorbells_the_store_is_enough),
	    PCI_TEST(a_reset_waits_for_requests_in_flight),
	    PCI_TEST(a_reset_of_the_machine_waits_too),
	    PCI_TEST(news_tell_that_the_device_rests),
	    PCI_TEST(a_machine_ends_with_a_device_that_runs),
	    PCI_TEST(a_driver_that_never_started_the_device_lets_go_by_its_status),
	};

	return cmocka_run_group_tests_name("pci_driver", tests, NULL, NULL);
}
