/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_pci.h - a virtio device as a PCI function (virtio 1.2, section 4.1): its configuration
 * space, and its BAR with the registers of the transport, the notifications and the table of MSI-X.
 * It is a modern device only: no I/O ports and no INTx.
 *
 * Each has a lock of its own, a leaf: the functions take it, and are for any thread, possibly with
 * the machine's lock held. A reset by the driver is complete when the device has come to rest;
 * nothing waits for that here: the driver reads a status that is not 0 until then.
 */
#ifndef PAPRIKA_PCI_VIRTIO_PCI_H
#define PAPRIKA_PCI_VIRTIO_PCI_H

#include "base/err.h"
#include "kvm/kvm.h"
#include "pci/config.h"
#include "virtio/device.h"

struct virtio_pci;

/* The size of the BAR: one page of a guest with pages of 64 KiB. */
#define VIRTIO_PCI_BAR_BYTES 0x10000u

/* For a device, which stays the caller's. news may be called by any thread, when a driver has
 * changed the status of the device, or when it has come to rest; it must not wait. */
struct virtio_pci *virtio_pci_create(struct virtio_device *device, struct kvm_vm *vm,
    void (*news)(void *context), void *context, struct err *err);
/* The device has never been started, or has been destroyed: its threads tell the function when they
 * come to rest. NULL is allowed. */
void virtio_pci_destroy(struct virtio_pci *function);

const struct pci_identity *virtio_pci_identity(const struct virtio_pci *function);
uint32_t virtio_pci_vectors(const struct virtio_pci *function); /* of MSI-X */

/* The guest's accesses to the configuration space: pci_config_has() holds. */
uint32_t virtio_pci_read_config(struct virtio_pci *function, uint32_t offset, uint32_t size);
void virtio_pci_write_config(
    struct virtio_pci *function, uint32_t offset, uint32_t size, uint32_t value);

/* The guest's load or store of length bytes at an address; false if that is not in the BAR. What is
 * not a register there reads 0. */
bool virtio_pci_access(
    struct virtio_pci *function, uint64_t address, uint8_t *data, uint32_t length, bool write);

/* Give it count sources from first_irq on for its vectors, in place of those it has. 0: none.
 * Negative errno, and none, if KVM refuses. */
int virtio_pci_set_irqs(struct virtio_pci *function, uint32_t first_irq, uint32_t count);

/* Take no more requests from the guest, and forget its driver: the first half of a reset of the
 * machine. False: news will tell when the requests in flight have ended. */
bool virtio_pci_stop(struct virtio_pci *function);

/* It is at rest: as it was made. */
void virtio_pci_reset(struct virtio_pci *function);

/* The same, unless a driver holds the device, as virtio_pci_use() tells: then false. In one step,
 * so that no vCPU starts it in between. */
bool virtio_pci_take(struct virtio_pci *function);

/* What the driver does with it, for the operator and for a removal. */
struct virtio_pci_use {
	uint8_t status; /* of the device, as the driver has set it */
	bool running;   /* the driver has started it */
	uint32_t irqs;  /* that it has */
	/* A driver has not let go of it: it says that it knows the device, or has interrupts, or
	 * has switched bus mastering on. Linux resets the device, notes that it has seen it
	 * (ACKNOWLEDGE), gives its interrupts back and switches bus mastering off when a driver
	 * leaves. */
	bool held;
};
struct virtio_pci_use virtio_pci_use(struct virtio_pci *function);

#endif
