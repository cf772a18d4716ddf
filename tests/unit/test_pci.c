/* SPDX-License-Identifier: Apache-2.0 */
/* test_pci.c - a device on the machine's PCI bus, and what a guest asks RTAS of it. */
#include "machine_fixture.h"

#include "virtio/rng.h"

/* The first slot: its address in the configuration space, and the sources it has. */
enum { SLOT_ADDRESS = 1 << 11, SLOT_IRQ = 0x1120, VECTORS = 2 };
#define BUID_HIGH 0x08000000u
#define BUID_LOW 0x20000000u

/* ibm,change-msi for MSI-X: how many are granted. */
static uint32_t change_msi(uint32_t count)
{
	const uint32_t args[] = {SLOT_ADDRESS, BUID_HIGH, BUID_LOW, 4, count, 0};
	uint32_t ret[3];

	assert_int_equal(rtas(0, "ibm,change-msi", 6, args, 4, ret), 0);
	return ret[0];
}

static void power_on_with_device(struct fixture *f)
{
	struct err err = {0};
	struct virtio_device *device;

	f->config.pci = true;
	f->machine = spapr_create(&f->config, &err);
	assert_non_null(f->machine);
	device = virtio_rng_create("rng", spapr_memory(f->machine), &err);
	assert_non_null(device);
	assert_true(spapr_plug(f->machine, "rng", device, &err));
	reset(f);
}

/* An interrupt of the last guest would be presented to the next one, which does not know it. */
static void sources_are_reset_with_the_machine(void **state)
{
	struct fixture *f = *state;
	uint64_t resets[VECTORS];

	power_on_with_device(f);
	assert_int_equal(change_msi(VECTORS), VECTORS);
	assert_int_equal(fake_joined_irqs(), VECTORS);
	for (uint32_t i = 0; i < VECTORS; i++)
		resets[i] = fake_irq_resets(SLOT_IRQ + i);
	reset(f);
	assert_int_equal(fake_joined_irqs(), 0);
	for (uint32_t i = 0; i < VECTORS; i++)
		assert_int_equal(fake_irq_resets(SLOT_IRQ + i), resets[i] + 1);
}

static void sources_are_reset_when_they_are_given_back(void **state)
{
	uint64_t resets;

	power_on_with_device(*state);
	assert_int_equal(change_msi(VECTORS), VECTORS);
	resets = fake_irq_resets(SLOT_IRQ + 1);
	assert_int_equal(change_msi(1), 1);
	assert_int_equal(fake_joined_irqs(), 1);
	assert_int_equal(fake_irq_resets(SLOT_IRQ + 1), resets + 1);
	resets = fake_irq_resets(SLOT_IRQ);
	assert_int_equal(change_msi(0), 0);
	assert_int_equal(fake_joined_irqs(), 0);
	assert_int_equal(fake_irq_resets(SLOT_IRQ), resets + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(sources_are_reset_with_the_machine),
	    TEST(sources_are_reset_when_they_are_given_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
