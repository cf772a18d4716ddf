/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_registers.h - the registers by which a driver sets up a virtio device over PCI: the common
 * configuration structure (virtio 1.2, section 4.1.4.3), and the device status with its reset
 * (2.1).
 *
 * Registers are little-endian, and are accessed with the width they have, those of 64 bits in two
 * halves. Other accesses read 0 and change nothing. The caller has a lock, but for what is atomic.
 */
#ifndef PAPRIKA_PCI_VIRTIO_REGISTERS_H
#define PAPRIKA_PCI_VIRTIO_REGISTERS_H

#include <stdatomic.h>

#include "virtio/device.h"

enum { VIRTIO_REGISTERS_BYTES = 56 };

/* Bits of the status. */
enum {
	VIRTIO_STATUS_ACKNOWLEDGE = 1,
	VIRTIO_STATUS_DRIVER_OK = 4,
	VIRTIO_STATUS_FEATURES_OK = 8,
	VIRTIO_STATUS_NEEDS_RESET = 0x40,
	VIRTIO_STATUS_FAILED = 0x80,
};

enum { VIRTIO_NO_VECTOR = 0xffff };

struct virtio_queue_registers {
	struct virtio_rings rings;
	_Atomic uint16_t vector; /* fixed at DRIVER_OK; the queue's thread reads it */
};

struct virtio_registers {
	struct virtio_device *device;
	uint32_t vectors; /* that MSI-X has */
	uint8_t status;
	bool resetting; /* waits for the device to come to rest */
	uint32_t device_feature_select, driver_feature_select;
	uint64_t features; /* the driver's */
	_Atomic uint16_t config_vector;
	uint16_t queue_select;
	struct virtio_queue_registers queues[VIRTIO_QUEUES_MAX];
};

void virtio_registers_init(
    struct virtio_registers *registers, struct virtio_device *device, uint32_t vectors);

/* The guest's accesses, at an offset in the structure. After a write the driver has to be told, by
 * a configuration interrupt, if the result is true: the device needs a reset. */
uint64_t virtio_registers_read(
    const struct virtio_registers *registers, uint32_t offset, uint32_t size);
bool virtio_registers_write(
    struct virtio_registers *registers, uint32_t offset, uint32_t size, uint64_t value);

/* Stop the device, as a status of 0 written by the driver does. The status stays until it has come
 * to rest. */
void virtio_registers_reset(struct virtio_registers *registers);

/* Complete a reset if the device has come to rest: before anything else is looked at. */
void virtio_registers_settle(struct virtio_registers *registers);

/* May the driver notify the device? */
static inline bool virtio_registers_live(const struct virtio_registers *registers)
{
	return (registers->status & VIRTIO_STATUS_DRIVER_OK) != 0 && !registers->resetting;
}

#endif
