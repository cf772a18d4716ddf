/* SPDX-License-Identifier: Apache-2.0 */
/* virtio_registers.c - see virtio_registers.h. */
#include "pci/virtio_registers.h"

/* Offsets. */
enum {
	DEVICE_FEATURE_SELECT = 0,
	DEVICE_FEATURE = 4,
	DRIVER_FEATURE_SELECT = 8,
	DRIVER_FEATURE = 12,
	CONFIG_VECTOR = 16,
	NUM_QUEUES = 18,
	DEVICE_STATUS = 20,
	CONFIG_GENERATION = 21,
	QUEUE_SELECT = 22,
	QUEUE_SIZE = 24,
	QUEUE_VECTOR = 26,
	QUEUE_ENABLE = 28,
	QUEUE_NOTIFY_OFFSET = 30,
	QUEUE_DESCRIPTORS = 32,
	QUEUE_DRIVER = 40,
	QUEUE_DEVICE = 48,
};

static void registers_clear(struct virtio_registers *registers)
{
	registers->status = 0;
	registers->resetting = false;
	registers->device_feature_select = registers->driver_feature_select = 0;
	registers->features = 0;
	registers->queue_select = 0;
	atomic_store(&registers->config_vector, (uint16_t)VIRTIO_NO_VECTOR);
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++) {
		registers->queues[i].rings = (struct virtio_rings){.size = VIRTIO_QUEUE_SIZE_MAX};
		atomic_store(&registers->queues[i].vector, (uint16_t)VIRTIO_NO_VECTOR);
	}
}

void virtio_registers_init(
    struct virtio_registers *registers, struct virtio_device *device, uint32_t vectors)
{
	registers->device = device;
	registers->vectors = vectors;
	registers_clear(registers);
}

/* --- Status --------------------------------------------------------------------------------- */

void virtio_registers_settle(struct virtio_registers *registers)
{
	if (registers->resetting && virtio_at_rest(registers->device))
		registers_clear(registers);
}

void virtio_registers_reset(struct virtio_registers *registers)
{
	if (!registers->resetting) {
		registers->resetting = true;
		virtio_stop(registers->device);
	}
	virtio_registers_settle(registers);
}

static bool registers_start(struct virtio_registers *registers)
{
	struct virtio_rings rings[VIRTIO_QUEUES_MAX];

	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
		rings[i] = registers->queues[i].rings;
	return (registers->status & VIRTIO_STATUS_FEATURES_OK) != 0 &&
	       virtio_start(registers->device, registers->features, rings);
}

/* A driver only ever adds bits, or writes 0. True: the device needs a reset. */
static bool registers_write_status(struct virtio_registers *registers, uint8_t status)
{
	uint8_t added = status & (uint8_t) ~(registers->status | VIRTIO_STATUS_NEEDS_RESET);

	if (status == 0)
		virtio_registers_reset(registers);
	if (status == 0 || registers->resetting)
		return false;
	/* Features that the device does not have are not accepted: the bit stays clear. */
	if ((registers->features & ~virtio_features(registers->device)) != 0 ||
	    (registers->features & VIRTIO_F_VERSION_1) == 0)
		added &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
	registers->status |= added;
	if ((added & VIRTIO_STATUS_DRIVER_OK) == 0 || registers_start(registers))
		return false;
	registers->status |= VIRTIO_STATUS_NEEDS_RESET;
	return true;
}

/* --- Registers ------------------------------------------------------------------------------ */

/* Is there a register of this width? */
static bool registers_have(uint32_t offset, uint32_t size)
{
	if (offset == DEVICE_STATUS || offset == CONFIG_GENERATION)
		return size == 1;
	if (offset < CONFIG_VECTOR ||
	    (offset >= QUEUE_DESCRIPTORS && offset < VIRTIO_REGISTERS_BYTES))
		return size == 4 && offset % 4 == 0;
	return offset < QUEUE_DESCRIPTORS && size == 2 && offset % 2 == 0;
}

/* A half of 64 feature bits; others are reserved. */
static uint32_t registers_feature_half(uint64_t features, uint32_t select)
{
	return select > 1 ? 0 : (uint32_t)(features >> (32 * select));
}

static uint64_t registers_read_queue(const struct virtio_registers *registers, uint32_t offset)
{
	const struct virtio_queue_registers *queue = &registers->queues[registers->queue_select];

	switch (offset) {
	case QUEUE_SIZE: return queue->rings.size;
	case QUEUE_VECTOR: return atomic_load(&queue->vector);
	case QUEUE_ENABLE: return queue->rings.enabled;
	case QUEUE_NOTIFY_OFFSET: return registers->queue_select;
	case QUEUE_DESCRIPTORS: return (uint32_t)queue->rings.descriptors;
	case QUEUE_DESCRIPTORS + 4: return queue->rings.descriptors >> 32;
	case QUEUE_DRIVER: return (uint32_t)queue->rings.driver;
	case QUEUE_DRIVER + 4: return queue->rings.driver >> 32;
	case QUEUE_DEVICE: return (uint32_t)queue->rings.device;
	case QUEUE_DEVICE + 4: return queue->rings.device >> 32;
	default: return 0;
	}
}

uint64_t virtio_registers_read(
    const struct virtio_registers *registers, uint32_t offset, uint32_t size)
{
	if (!registers_have(offset, size))
		return 0;
	switch (offset) {
	case DEVICE_FEATURE_SELECT: return registers->device_feature_select;
	case DEVICE_FEATURE:
		return registers_feature_half(
		    virtio_features(registers->device), registers->device_feature_select);
	case DRIVER_FEATURE_SELECT: return registers->driver_feature_select;
	case DRIVER_FEATURE:
		return registers_feature_half(
		    registers->features, registers->driver_feature_select);
	case CONFIG_VECTOR: return atomic_load(&registers->config_vector);
	case NUM_QUEUES: return virtio_queues(registers->device);
	case DEVICE_STATUS: return registers->status;
	case CONFIG_GENERATION: return virtio_config_generation(registers->device);
	case QUEUE_SELECT: return registers->queue_select;
	default:
		/* A queue that is not there has size 0. */
		return registers->queue_select < virtio_queues(registers->device)
		           ? registers_read_queue(registers, offset)
		           : 0;
	}
}

static void registers_set_half(uint64_t *value, bool high, uint32_t half)
{
	*value = high ? (*value & UINT32_MAX) | (uint64_t)half << 32
	              : (*value & ~(uint64_t)UINT32_MAX) | half;
}

/* The driver reads back whether it has got the vector. */
static uint16_t registers_vector(const struct virtio_registers *registers, uint32_t value)
{
	return value < registers->vectors ? (uint16_t)value : VIRTIO_NO_VECTOR;
}

/* Rings are set up between FEATURES_OK and DRIVER_OK, and not once they are enabled (3.1.1).
 * Vectors are set before DRIVER_OK: whoever serves the queue has got its eventfd then. */
static void registers_write_queue(
    struct virtio_registers *registers, uint32_t offset, uint32_t value)
{
	enum { BOTH = VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK };
	struct virtio_queue_registers *queue = &registers->queues[registers->queue_select];
	struct virtio_rings *rings = &queue->rings;

	if (offset == QUEUE_VECTOR && (registers->status & VIRTIO_STATUS_DRIVER_OK) == 0)
		atomic_store(&queue->vector, registers_vector(registers, value));
	if ((registers->status & BOTH) != VIRTIO_STATUS_FEATURES_OK || rings->enabled)
		return;
	switch (offset) {
	case QUEUE_SIZE: rings->size = (uint16_t)value; break;
	case QUEUE_ENABLE: rings->enabled = value == 1; break;
	case QUEUE_DESCRIPTORS:
	case QUEUE_DESCRIPTORS + 4:
		registers_set_half(&rings->descriptors, offset != QUEUE_DESCRIPTORS, value);
		break;
	case QUEUE_DRIVER:
	case QUEUE_DRIVER + 4:
		registers_set_half(&rings->driver, offset != QUEUE_DRIVER, value);
		break;
	case QUEUE_DEVICE:
	case QUEUE_DEVICE + 4:
		registers_set_half(&rings->device, offset != QUEUE_DEVICE, value);
		break;
	default: break;
	}
}

bool virtio_registers_write(
    struct virtio_registers *registers, uint32_t offset, uint32_t size, uint64_t value)
{
	uint32_t word = (uint32_t)value;

	if (!registers_have(offset, size))
		return false;
	switch (offset) {
	case DEVICE_FEATURE_SELECT: registers->device_feature_select = word; break;
	case DRIVER_FEATURE_SELECT: registers->driver_feature_select = word; break;
	case DRIVER_FEATURE:
		if ((registers->status & VIRTIO_STATUS_FEATURES_OK) == 0 &&
		    registers->driver_feature_select <= 1)
			registers_set_half(
			    &registers->features, registers->driver_feature_select == 1, word);
		break;
	case CONFIG_VECTOR:
		atomic_store(&registers->config_vector, registers_vector(registers, word));
		break;
	case DEVICE_STATUS: return registers_write_status(registers, (uint8_t)word);
	case QUEUE_SELECT: registers->queue_select = (uint16_t)word; break;
	default:
		if (registers->queue_select < virtio_queues(registers->device))
			registers_write_queue(registers, offset, word);
		break;
	}
	return false;
}
