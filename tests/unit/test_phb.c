/* SPDX-License-Identifier: Apache-2.0 */
/* test_phb.c - a device on the machine's PCI bus, and what a guest asks RTAS of it. */
#include "machine_fixture.h"

#include "virtio/model.h"
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

static uint32_t config(const char *service, uint32_t offset, uint32_t bytes, uint32_t value)
{
	const uint32_t args[] = {SLOT_ADDRESS | offset, BUID_HIGH, BUID_LOW, bytes, value};
	bool write = service[4] == 'w';
	uint32_t ret[2] = {0};

	assert_int_equal(rtas(0, service, write ? 5 : 4, args, write ? 1 : 2, ret), 0);
	return ret[0];
}

/* Place the BAR, unmask the vectors, and switch MSI-X on. */
static void open_vectors(void)
{
	static const char read[] = "ibm,read-pci-config", write[] = "ibm,write-pci-config";
	const uint64_t bar = UINT64_C(32) << 40;
	uint32_t capability = config(read, 0x34, 1, 0);

	config(write, 0x10, 4, (uint32_t)bar);
	config(write, 0x14, 4, (uint32_t)(bar >> 32));
	config(write, 0x04, 2, 2);
	for (uint32_t i = 0; i < VECTORS; i++)
		fake_store(0, bar + 0x8000 + 16 * i + 12, 4, 0);
	while (config(read, capability, 1, 0) != 0x11)
		capability = config(read, capability + 1, 1, 0);
	config(write, capability + 2, 2, 0x8000);
}

static const struct gmem *create_with_bus(struct fixture *f)
{
	struct err err = {0};

	f->config.pci = true;
	f->machine = spapr_create(&f->config, &err);
	assert_non_null(f->machine);
	return spapr_memory(f->machine);
}

static void power_on_with(struct fixture *f, struct virtio_device *device)
{
	struct err err = {0};

	assert_non_null(device);
	assert_true(spapr_plug(f->machine, "rng", device, &err));
	reset(f);
}

static void power_on_with_device(struct fixture *f)
{
	struct err err = {0};

	power_on_with(f, virtio_rng_create("rng", create_with_bus(f), &err));
}

/* An interrupt of the last guest would be presented to the next one, which does not know it. */
static void sources_are_reset_with_the_machine(void **state)
{
	struct fixture *f = *state;
	uint64_t resets[VECTORS];

	power_on_with_device(f);
	open_vectors();
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
	open_vectors();
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

/* --- A device that looks at the end of its thread whether its interrupts still exist -----------
 */

static size_t joined_at_close;

static void *watcher_open(void *model, struct virtio_worker *worker, int doorbell, struct err *err)
{
	return model;
}

static void watcher_close(void *lane)
{
	joined_at_close = fake_joined_irqs();
}

static void watcher_destroy(void *model)
{
}

/* Until its threads have ended a device may tell the function of answers and of being at rest. */
static void a_function_outlives_the_threads_of_its_device(void **state)
{
	static const struct virtio_model_ops ops = {.kind = {.id = 4},
	    .open = watcher_open,
	    .close = watcher_close,
	    .destroy = watcher_destroy};
	const struct virtio_model model = {
	    .ops = &ops, .self = &joined_at_close, .name = "watcher", .queues = 1};
	struct fixture *f = *state;
	struct err err = {0};

	power_on_with(f, virtio_create(&model, create_with_bus(f), &err));
	open_vectors();
	assert_int_equal(change_msi(VECTORS), VECTORS);
	joined_at_close = 0;
	spapr_destroy(f->machine);
	f->machine = NULL;
	assert_int_equal(joined_at_close, VECTORS);
}

static void a_name_is_given_once(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};
	struct virtio_device *second;

	power_on_with_device(f);
	second = virtio_rng_create("rng", spapr_memory(f->machine), &err);
	assert_false(spapr_plug(f->machine, "rng", second, &err));
	assert_string_equal(err.message, "Duplicate device ID 'rng'");
	err = (struct err){0};
	assert_false(spapr_plug(f->machine, "core0", second, &err));
	assert_string_equal(err.message, "Duplicate device ID 'core0'");
	virtio_destroy(second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(sources_are_reset_with_the_machine),
	    TEST(sources_are_reset_when_they_are_given_back),
	    TEST(a_name_is_given_once),
	    TEST(a_function_outlives_the_threads_of_its_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
