/* SPDX-License-Identifier: Apache-2.0 */
/* config.c - see config.h. */
#include "pci/config.h"

#include "base/le.h"

enum { BAR_MEMORY_64 = 0x4, BAR_FLAGS = 0xf, STATUS_CAPABILITIES = 0x0010 };

void pci_config_init(
    struct pci_config *config, const struct pci_identity *identity, uint32_t bar_bytes)
{
	*config = (struct pci_config){.end = PCI_CAPABILITIES};
	pci_config_set(config, PCI_VENDOR_ID, 2, identity->vendor);
	pci_config_set(config, PCI_DEVICE_ID, 2, identity->device);
	pci_config_set(config, PCI_STATUS, 2, STATUS_CAPABILITIES);
	pci_config_set(config, PCI_REVISION_ID, 4, identity->class_code << 8 | identity->revision);
	pci_config_set(config, PCI_BAR0, 4, BAR_MEMORY_64);
	pci_config_set(config, PCI_SUBSYSTEM_VENDOR_ID, 2, identity->subsystem_vendor);
	pci_config_set(config, PCI_SUBSYSTEM_ID, 2, identity->subsystem);
	config->writable[PCI_COMMAND] = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	config->writable[PCI_COMMAND + 1] = PCI_COMMAND_NO_INTX >> 8;
	config->writable[PCI_CACHE_LINE_SIZE] = 0xff;
	config->writable[PCI_INTERRUPT_LINE] = 0xff;
	le_store(&config->writable[PCI_BAR0], 8, ~((uint64_t)bar_bytes - 1));
}

uint8_t pci_config_add_capability(struct pci_config *config, uint8_t id, uint8_t length)
{
	uint8_t offset = config->end;

	config->bytes[offset] = id;
	config->bytes[config->last_capability == 0 ? PCI_CAPABILITY_POINTER
	                                           : config->last_capability + 1] = offset;
	config->last_capability = offset;
	/* Each begins at a multiple of 4. */
	config->end = (uint8_t)(offset + ((length + 3u) & ~3u));
	return offset;
}

bool pci_config_has(uint32_t offset, uint32_t size)
{
	return (size == 1 || size == 2 || size == 4) && offset % size == 0 &&
	       offset < PCI_CONFIG_BYTES;
}

uint32_t pci_config_get(const struct pci_config *config, uint32_t offset, uint32_t size)
{
	return (uint32_t)le_load(&config->bytes[offset], size);
}

void pci_config_set(struct pci_config *config, uint32_t offset, uint32_t size, uint32_t value)
{
	le_store(&config->bytes[offset], size, value);
}

void pci_config_write(struct pci_config *config, uint32_t offset, uint32_t size, uint32_t value)
{
	for (uint32_t i = 0; i < size; i++) {
		uint8_t writable = config->writable[offset + i];

		config->bytes[offset + i] = (uint8_t)((config->bytes[offset + i] & ~writable) |
		                                      ((uint8_t)(value >> (8 * i)) & writable));
	}
}

uint64_t pci_config_bar(const struct pci_config *config)
{
	uint64_t low = pci_config_get(config, PCI_BAR0, 4) & ~(uint32_t)BAR_FLAGS;

	if ((pci_config_get(config, PCI_COMMAND, 2) & PCI_COMMAND_MEMORY) == 0)
		return 0;
	return (uint64_t)pci_config_get(config, PCI_BAR0 + 4, 4) << 32 | low;
}
