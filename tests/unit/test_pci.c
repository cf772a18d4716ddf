/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_pci.c - a virtio device on the PCI bus as its driver sees it: the configuration space,
 * interrupts, the registers of the transport, and what of all that a reset leaves.
 */
#include "pci_fixture.h"

#include <string.h>

enum { SLOT = 1 };

/* --- The configuration space ----------------------------------------------------------------- */

static void a_function_says_what_it_is(void **state)
{
	toy_boot(*state, 1);
	assert_int_equal(config_read(SLOT, PCI_VENDOR_ID, 2), 0x1af4);
	assert_int_equal(config_read(SLOT, PCI_DEVICE_ID, 2), 0x1040 + TOY_ID);
	assert_int_equal(config_read(SLOT, PCI_VENDOR_ID, 4), (0x1040 + TOY_ID) << 16 | 0x1af4);
	assert_int_equal(config_read(SLOT, PCI_REVISION_ID, 1), 1);
	assert_int_equal(config_read(SLOT, 0x0e, 1), 0); /* an ordinary function, one of one */
	assert_int_equal(config_read(SLOT, 0x3d, 1), 0); /* no INTx */
}

static void what_is_not_there_is_all_ones(void **state)
{
	static const uint32_t nowhere[] = {
	    2 << 11, SLOT << 11 | 1 << 8, 1 << 16 | SLOT << 11, 0, 31 << 11};
	uint32_t value;

	toy_boot(*state, 1);
	for (size_t i = 0; i < sizeof nowhere / sizeof nowhere[0]; i++) {
		assert_int_equal(config_try(nowhere[i], PHB_BUID, 4, &value), -1);
		assert_int_equal(value, UINT32_MAX);
	}
	assert_int_equal(config_try(config_addr(SLOT, 0), PHB_BUID + 1, 4, &value), -1);
	assert_int_equal(value, UINT32_MAX);
}

static void accesses_have_to_be_whole_and_aligned(void **state)
{
	static const struct {
		uint32_t offset, size;
	} wrong[] = {{0, 0}, {0, 3}, {0, 8}, {1, 2}, {2, 4}, {256, 1}, {0xffc, 4}};
	uint32_t value;

	toy_boot(*state, 1);
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		uint32_t address = config_addr(SLOT, wrong[i].offset);

		assert_int_equal(config_try(address, PHB_BUID, wrong[i].size, &value), -3);
		assert_int_equal(RTAS(0, "ibm,write-pci-config", address, PHB_BUID >> 32,
		                     (uint32_t)PHB_BUID, wrong[i].size, 0),
		    -3);
	}
	assert_int_equal(config_try(config_addr(SLOT, 252), PHB_BUID, 4, &value), 0);
}

/* The command register's bits, the BAR, and what software keeps there: nothing else. */
static void what_cannot_be_written_stays(void **state)
{
	uint32_t before[64];

	toy_boot(*state, 1);
	for (uint32_t i = 0; i < 16; i++)
		before[i] = config_read(SLOT, 4 * i, 4);
	for (uint32_t i = 0; i < 16; i++)
		config_write(SLOT, 4 * i, 4, UINT32_MAX);
	before[PCI_COMMAND / 4] |= 0x406;
	before[PCI_CACHE_LINE_SIZE / 4] |= 0xff;
	before[PCI_BAR0 / 4] = 0xffff0004;
	before[PCI_BAR0 / 4 + 1] = UINT32_MAX;
	before[PCI_INTERRUPT_LINE / 4] |= 0xff;
	for (uint32_t i = 0; i < 16; i++)
		assert_int_equal(config_read(SLOT, 4 * i, 4), before[i]);
}

static void the_capabilities_are_a_chain_that_ends(void **state)
{
	unsigned kinds[6] = {0}, msix = 0, count = 0;
	bool taken[256] = {false};

	toy_boot(*state, 1);
	assert_true(config_read(SLOT, PCI_STATUS, 2) & 0x10);
	for (uint32_t at = config_read(SLOT, PCI_CAPABILITY_POINTER, 1); at != 0;
	     at = config_read(SLOT, at + 1, 1)) {
		uint32_t id = config_read(SLOT, at, 1);
		uint32_t length = id == PCI_CAP_MSIX ? 12 : config_read(SLOT, at + 2, 1);

		assert_true(at >= 0x40 && at % 4 == 0 && at + length <= 256 && count++ < 16);
		for (uint32_t i = at; i < at + length; i++) {
			assert_false(taken[i]);
			taken[i] = true;
		}
		if (id == PCI_CAP_MSIX) {
			msix++;
			assert_int_equal(config_read(SLOT, at + 2, 2) & 0x7ff, TOY_VECTORS - 1);
			assert_int_equal(config_read(SLOT, at + 4, 4), AT_TABLE);
			assert_int_equal(config_read(SLOT, at + 8, 4), AT_PENDING);
			continue;
		}
		assert_int_equal(id, PCI_CAP_VENDOR);
		kinds[config_read(SLOT, at + 3, 1)]++;
		/* Each part lies in the BAR, and is found where the driver is told. */
		assert_int_equal(config_read(SLOT, at + 4, 1), 0);
		assert_true(
		    (uint64_t)config_read(SLOT, at + 8, 4) + config_read(SLOT, at + 12, 4) <=
		    VIRTIO_PCI_BAR_BYTES);
	}
	for (unsigned kind = 1; kind <= 5; kind++)
		assert_int_equal(kinds[kind], 1);
	assert_int_equal(msix, 1);
}

/* --- The BAR --------------------------------------------------------------------------------- */

static void the_bar_tells_its_size_and_moves(void **state)
{
	uint64_t other = BAR(9);

	toy_boot(*state, 1);
	config_write(SLOT, PCI_BAR0, 4, UINT32_MAX);
	config_write(SLOT, PCI_BAR0 + 4, 4, UINT32_MAX);
	assert_int_equal(config_read(SLOT, PCI_BAR0, 4), ~(VIRTIO_PCI_BAR_BYTES - 1) | 4);
	assert_int_equal(config_read(SLOT, PCI_BAR0 + 4, 4), UINT32_MAX);
	place_bar(SLOT);
	assert_int_equal(reg(SLOT, REG_QUEUES, 2), TOY_QUEUES);
	config_write(SLOT, PCI_BAR0, 4, (uint32_t)other);
	assert_int_equal(reg(SLOT, REG_QUEUES, 2), 0);
	assert_int_equal(fake_load(0, other + REG_QUEUES, 2), TOY_QUEUES);
	/* At its last byte, and behind it. */
	assert_int_equal(fake_load(0, other + VIRTIO_PCI_BAR_BYTES - 1, 1), 0);
	assert_int_equal(fake_load(0, other + VIRTIO_PCI_BAR_BYTES, 8), 0);
	config_write(SLOT, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	assert_int_equal(fake_load(0, other + REG_QUEUES, 2), 0);
	config_write(SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(fake_load(0, other + REG_QUEUES, 2), TOY_QUEUES);
}

static void stray_accesses_read_0_in_the_window(void **state)
{
	uint64_t end = PHB_WINDOW_ADDRESS + PHB_WINDOW_BYTES;

	toy_boot(*state, 1);
	place_bar(SLOT);
	for (unsigned length = 1; length <= 8; length *= 2) {
		assert_int_equal(fake_load(0, PHB_WINDOW_ADDRESS, length), 0);
		assert_int_equal(fake_load(0, end - length, length), 0);
		fake_store(0, end - length, length, UINT64_MAX);
		/* Over the end of the BAR. */
		assert_int_equal(
		    fake_load(0, BAR(SLOT) + VIRTIO_PCI_BAR_BYTES - length / 2, length), 0);
	}
	/* Nobody answers outside of it. */
	assert_int_equal(fake_load(0, end, 4), UINT32_MAX);
	assert_int_equal(fake_load(0, PHB_WINDOW_ADDRESS - 4, 4), UINT32_MAX);
}

static void the_devices_configuration_is_read_from_the_bar(void **state)
{
	toy_boot(*state, 1);
	place_bar(SLOT);
	assert_int_equal(reg(SLOT, AT_CONFIG, 1), 1);
	assert_int_equal(reg(SLOT, AT_CONFIG, 4), 0x04030201);
	assert_int_equal(reg(SLOT, AT_CONFIG + 4, 8), 5);
	set_reg(SLOT, AT_CONFIG, 4, 0);
	assert_int_equal(reg(SLOT, AT_CONFIG, 4), 0x04030201);
	assert_int_equal(reg(SLOT, AT_CONFIG + 0xffc, 8), 0);
}

/* 4.1.4.9: a driver that cannot map the BAR reaches it by the configuration space. */
static void the_bar_is_reached_by_the_configuration_space(void **state)
{
	uint32_t at;

	toy_boot(*state, 1);
	for (at = config_read(SLOT, PCI_CAPABILITY_POINTER, 1); config_read(SLOT, at + 3, 1) != 5;
	     at = config_read(SLOT, at + 1, 1))
		;
	config_write(SLOT, at + 8, 4, REG_QUEUES);
	config_write(SLOT, at + 12, 4, 2);
	assert_int_equal(config_read(SLOT, at + 16, 4), TOY_QUEUES);
	config_write(SLOT, at + 8, 4, REG_STATUS);
	config_write(SLOT, at + 12, 4, 1);
	config_write(SLOT, at + 16, 4, ACKNOWLEDGE);
	assert_int_equal(config_read(SLOT, at + 16, 4), ACKNOWLEDGE);
	assert_int_equal(slot_info(*state, SLOT).status, ACKNOWLEDGE);
	/* What cannot be: another BAR, a length that is none, a place outside. */
	config_write(SLOT, at + 16, 4, 0x1234);
	config_write(SLOT, at + 4, 1, 1);
	assert_int_equal(config_read(SLOT, at + 16, 4), 0x1234);
	config_write(SLOT, at + 4, 1, 0);
	config_write(SLOT, at + 12, 4, 3);
	config_write(SLOT, at + 16, 4, 0x1234);
	assert_int_equal(config_read(SLOT, at + 16, 4), 0x1234);
	config_write(SLOT, at + 12, 4, 4);
	config_write(SLOT, at + 8, 4, VIRTIO_PCI_BAR_BYTES);
	assert_int_equal(config_read(SLOT, at + 16, 4), 0x1234);
}

/* --- Interrupts ------------------------------------------------------------------------------ */

static void sources_are_granted_given_back_and_granted_again(void **state)
{
	uint32_t ret[3];

	toy_boot(*state, 1);
	place_bar(SLOT);
	open_vectors(SLOT);
	assert_int_equal(query_source(SLOT, 0, ret), -3);
	/* More than the table has: none, and how many there are. */
	assert_int_equal(change_msi(SLOT, 4, TOY_VECTORS + 1, ret), 0);
	assert_int_equal(ret[0], TOY_VECTORS);
	assert_int_equal(ret[1], 2);
	assert_int_equal(fake_joined_irqs(), 0);
	for (unsigned round = 0; round < 3; round++) {
		assert_int_equal(change_msi(SLOT, round == 1 ? 6 : 4, TOY_VECTORS, ret), 0);
		assert_int_equal(ret[0], TOY_VECTORS);
		assert_int_equal(ret[2], 2);
		assert_int_equal(fake_joined_irqs(), TOY_VECTORS);
		for (uint32_t vector = 0; vector < TOY_VECTORS; vector++) {
			assert_int_equal(query_source(SLOT, vector, ret), 0);
			assert_int_equal(ret[0], 0x1100 + 32 * SLOT + vector);
			assert_int_equal(ret[1], 1);
		}
		assert_int_equal(query_source(SLOT, TOY_VECTORS, ret), -3);
		assert_int_equal(change_msi(SLOT, 4, 1, ret), 0); /* fewer, in their place */
		assert_int_equal(ret[0], 1);
		assert_int_equal(query_source(SLOT, 1, ret), -3);
		assert_int_equal(change_msi(SLOT, 3, 0, ret), 0);
		assert_int_equal(ret[0], 0);
		assert_int_equal(fake_joined_irqs(), 0);
		assert_int_equal(query_source(SLOT, 0, ret), -3);
	}
}

static void only_msi_x_can_be_had(void **state)
{
	static const struct {
		uint32_t function, count;
	} wrong[] = {{3, 1}, {1, 1}, {5, 1}, {2, 1}, {0, 0}, {7, 0}, {7, 1}, {UINT32_MAX, 0}};
	uint32_t ret[3];

	toy_boot(*state, 1);
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		assert_int_equal(change_msi(SLOT, wrong[i].function, wrong[i].count, ret), -3);
	assert_int_equal(change_msi(2, 4, 1, ret), -3);
	assert_int_equal(query_source(2, 0, ret), -3);
	assert_int_equal(fake_joined_irqs(), 0);
}

static void no_source_is_left_when_kvm_refuses_one(void **state)
{
	uint32_t ret[3];

	toy_boot(*state, 1);
	place_bar(SLOT);
	open_vectors(SLOT);
	for (unsigned good = 0; good < TOY_VECTORS; good++) {
		fake_fail_after(FAKE_JOIN_IRQ, good, 1);
		assert_int_equal(change_msi(SLOT, 4, TOY_VECTORS, ret), -1);
		assert_int_equal(fake_joined_irqs(), 0);
		assert_int_equal(query_source(SLOT, 0, ret), -3);
	}
	fake_fail_after(FAKE_IRQ_RESET, 1, 1);
	assert_int_equal(change_msi(SLOT, 4, TOY_VECTORS, ret), -1);
	assert_int_equal(fake_joined_irqs(), 0);
	assert_int_equal(change_msi(SLOT, 4, TOY_VECTORS, ret), 0);
	assert_int_equal(fake_joined_irqs(), TOY_VECTORS);
}

static bool is_pending(void *context)
{
	return reg(SLOT, AT_PENDING, 8) == *(uint64_t *)context;
}

/* The driver answers a request of queue 0, whose vector is 1. */
static void interrupt(struct driver_queue *rings)
{
	request(&rings[0], SLOT, 0, false);
	wait_used(&rings[0], rings[0].available);
}

struct edge {
	uint32_t irq;
	uint64_t count;
};

static bool edge_came(void *context)
{
	struct edge *edge = context;

	edge->count += fake_take_edges(edge->irq);
	return edge->count > 0;
}

static void wait_edge(uint32_t irq)
{
	struct edge edge = {irq, 0};

	fake_wait_until(edge_came, &edge, "an interrupt");
	assert_int_equal(edge.count, 1);
}

static void an_interrupt_waits_while_its_vector_is_masked(void **state)
{
	struct driver_queue rings[TOY_QUEUES];
	uint32_t capability, irq;

	toy_boot(*state, 1);
	driver_up(*state, SLOT, rings);
	capability = msix_capability(SLOT);
	irq = irq_of(SLOT, 1);
	interrupt(rings);
	wait_edge(irq);
	for (unsigned how = 0; how < 3; how++) {
		uint64_t bit = 1 << 1, none = 0;

		/* The vector, all of them, or MSI-X as a whole. */
		if (how == 0)
			set_reg(SLOT, AT_TABLE + 16 + 12, 4, 1);
		else
			config_write(SLOT, capability + 2, 2, how == 1 ? 0xc000 : 0);
		assert_true(is_pending(&none));
		interrupt(rings);
		interrupt(rings);
		fake_wait_until(is_pending, &bit, "a vector is pending");
		assert_int_equal(fake_take_edges(irq), 0);
		assert_int_equal(reg(SLOT, AT_PENDING, 4), 2);
		assert_int_equal(reg(SLOT, AT_PENDING + 4, 4), 0);
		set_reg(SLOT, AT_PENDING, 8, 0); /* cannot be written */
		assert_true(is_pending(&bit));
		if (how == 0)
			set_reg(SLOT, AT_TABLE + 16 + 12, 4, 0);
		else
			config_write(SLOT, capability + 2, 2, 0x8000);
		wait_edge(irq);
		assert_true(is_pending(&none));
	}
	/* The driver may look without an interrupt: reading clears it. */
	assert_int_equal(reg(SLOT, AT_ISR, 1), 1);
	assert_int_equal(reg(SLOT, AT_ISR, 1), 0);
}

/* KVM has those that can be sent, and no others. */
static void kvm_has_the_vectors_that_are_open(void **state)
{
	struct driver_queue rings[TOY_QUEUES];
	uint32_t ret[3];

	toy_boot(*state, 1);
	place_bar(SLOT);
	assert_int_equal(change_msi(SLOT, 4, TOY_VECTORS, ret), 0);
	assert_int_equal(fake_joined_irqs(), 0);
	driver_up(*state, SLOT, rings);
	assert_int_equal(fake_joined_irqs(), TOY_VECTORS);
	set_reg(SLOT, AT_TABLE + 16 + 12, 4, 1);
	assert_int_equal(fake_joined_irqs(), TOY_VECTORS - 1);
	/* What it refuses is tried again. */
	fake_fail_after(FAKE_JOIN_IRQ, 0, 1);
	set_reg(SLOT, AT_TABLE + 16 + 12, 4, 0);
	assert_int_equal(fake_joined_irqs(), TOY_VECTORS - 1);
	set_reg(SLOT, AT_TABLE + 16 + 12, 4, 0);
	assert_int_equal(fake_joined_irqs(), TOY_VECTORS);
	config_write(SLOT, msix_capability(SLOT) + 2, 2, 0xc000);
	assert_int_equal(fake_joined_irqs(), 0);
}

static void the_table_keeps_what_is_written(void **state)
{
	toy_boot(*state, 1);
	place_bar(SLOT);
	set_reg(SLOT, AT_TABLE, 8, 0x1122334455667788);
	set_reg(SLOT, AT_TABLE + 8, 4, 0x99aabbcc);
	set_reg(SLOT, AT_TABLE + 12, 4, UINT32_MAX);
	assert_int_equal(reg(SLOT, AT_TABLE, 4), 0x55667788);
	assert_int_equal(reg(SLOT, AT_TABLE + 4, 4), 0x11223344);
	assert_int_equal(reg(SLOT, AT_TABLE + 8, 8), UINT64_C(0x199aabbcc));
	set_reg(SLOT, AT_TABLE, 2, 0); /* no whole word */
	set_reg(SLOT, AT_TABLE + 4, 8, 0);
	assert_int_equal(reg(SLOT, AT_TABLE, 8), 0x1122334455667788);
	/* Behind the last vector. */
	set_reg(SLOT, AT_TABLE + 16 * TOY_VECTORS, 8, UINT64_MAX);
	assert_int_equal(reg(SLOT, AT_TABLE + 16 * TOY_VECTORS, 8), 0);
	assert_int_equal(reg(SLOT, AT_PENDING - 8, 8), 0);
	/* A vector that is not there is not taken. */
	set_reg(SLOT, REG_CONFIG_VECTOR, 2, TOY_VECTORS);
	assert_int_equal(reg(SLOT, REG_CONFIG_VECTOR, 2), 0xffff);
	set_reg(SLOT, REG_CONFIG_VECTOR, 2, TOY_VECTORS - 1);
	assert_int_equal(reg(SLOT, REG_CONFIG_VECTOR, 2), TOY_VECTORS - 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    TEST(a_function_says_what_it_is),
	    TEST(what_is_not_there_is_all_ones),
	    TEST(accesses_have_to_be_whole_and_aligned),
	    TEST(what_cannot_be_written_stays),
	    TEST(the_capabilities_are_a_chain_that_ends),
	    TEST(the_bar_tells_its_size_and_moves),
	    TEST(stray_accesses_read_0_in_the_window),
	    TEST(the_devices_configuration_is_read_from_the_bar),
	    TEST(the_bar_is_reached_by_the_configuration_space),
	    TEST(sources_are_granted_given_back_and_granted_again),
	    TEST(only_msi_x_can_be_had),
	    TEST(no_source_is_left_when_kvm_refuses_one),
	    TEST(an_interrupt_waits_while_its_vector_is_masked),
	    TEST(kvm_has_the_vectors_that_are_open),
	    TEST(the_table_keeps_what_is_written),
	};

	return cmocka_run_group_tests_name("pci", tests, NULL, NULL);
}
