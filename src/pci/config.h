/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.h - the configuration space of one PCI function (PCI Local Bus 3.0, chapter 6): its bytes,
 * and which bits of them the guest can write. A base address register follows from that: the bits
 * below its size cannot be written, so that a write of all ones reads back as the size.
 *
 * A function here has no I/O ports, no INTx, and one BAR of 64 bits. The caller has a lock.
 */
#ifndef PAPRIKA_PCI_CONFIG_H
#define PAPRIKA_PCI_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

enum { PCI_CONFIG_BYTES = 256 };

/* Offsets, and bits of the command register. */
enum {
	PCI_VENDOR_ID = 0x00,
	PCI_DEVICE_ID = 0x02,
	PCI_COMMAND = 0x04,
	PCI_STATUS = 0x06,
	PCI_REVISION_ID = 0x08,
	PCI_CLASS_CODE = 0x09, /* three bytes */
	PCI_CACHE_LINE_SIZE = 0x0c,
	PCI_BAR0 = 0x10,
	PCI_SUBSYSTEM_VENDOR_ID = 0x2c,
	PCI_SUBSYSTEM_ID = 0x2e,
	PCI_CAPABILITY_POINTER = 0x34,
	PCI_INTERRUPT_LINE = 0x3c,
	PCI_CAPABILITIES = 0x40, /* the first of them is here */
};
enum { PCI_COMMAND_MEMORY = 1 << 1, PCI_COMMAND_MASTER = 1 << 2, PCI_COMMAND_NO_INTX = 1 << 10 };
enum { PCI_CAP_VENDOR = 0x09, PCI_CAP_MSIX = 0x11 };

struct pci_identity {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint8_t revision;
	uint32_t class_code;    /* 24 bits */
	const char *class_name; /* in Open Firmware's words; no node may be called "pci" */
};

struct pci_config {
	uint8_t bytes[PCI_CONFIG_BYTES];
	uint8_t writable[PCI_CONFIG_BYTES]; /* by the guest, a bit each */
	uint8_t last_capability;            /* 0: none yet */
	uint8_t end;                        /* of the capabilities */
};

/* As after a reset. bar_bytes is a power of two. */
void pci_config_init(
    struct pci_config *config, const struct pci_identity *identity, uint32_t bar_bytes);

/* Append a capability of so many bytes, its two first included, and return its offset. There is
 * room. */
uint8_t pci_config_add_capability(struct pci_config *config, uint8_t id, uint8_t length);

/* Little-endian fields of 1, 2 or 4 bytes that lie in the space. set ignores what is writable;
 * write is the guest's. */
uint32_t pci_config_get(const struct pci_config *config, uint32_t offset, uint32_t size);
void pci_config_set(struct pci_config *config, uint32_t offset, uint32_t size, uint32_t value);
void pci_config_write(struct pci_config *config, uint32_t offset, uint32_t size, uint32_t value);

/* Is it an access that a guest may make: aligned, of 1, 2 or 4 bytes, in the space? */
bool pci_config_has(uint32_t offset, uint32_t size);

/* Where the guest has put the BAR; 0 if memory accesses are off. */
uint64_t pci_config_bar(const struct pci_config *config);

#endif
