/* SPDX-License-Identifier: Apache-2.0 */
/* phb.c - see phb.h. */
#include "spapr/phb.h"

#include <stdio.h>
#include <string.h>

#include "spapr/irq.h"

/* Linux clears the table for DMA when it finds the bridge, so the window is small: no device uses
 * it. The number of the table has the bridge in bits 15..8. */
#define LIOBN 0x80000000u
#define DMA_WINDOW_BYTES (UINT64_C(64) << 20)

/* What Linux divides among the devices; more than they have vectors. */
enum { PE_TOTAL_MSI = 2048 };

/* config_addr: register bits 11..8 in 31..28, bus in 23..16, slot in 15..11, function in 10..8,
 * register bits 7..0. */
enum { ADDR_HIGH_SHIFT = 28, ADDR_BUS_SHIFT = 16, ADDR_SLOT_SHIFT = 11, ADDR_FUNCTION = 0x700 };

bool phb_init(
    struct phb *phb, struct kvm_vm *vm, struct irqchip *irqchip, struct news *news, struct err *err)
{
	*phb = (struct phb){.vm = vm, .irqchip = irqchip, .news = news, .present = true};
	return kvm_vm_create_tce_table(vm, LIOBN, DMA_WINDOW_BYTES, err);
}

void phb_finish(struct phb *phb)
{
	for (unsigned i = 0; i < PHB_SLOTS; i++) {
		virtio_pci_destroy(phb->slots[i].function);
		virtio_destroy(phb->slots[i].device);
	}
	*phb = (struct phb){0};
}

static void phb_on_rest(void *context)
{
	struct phb *phb = context;

	news_tell(phb->news, SPAPR_NEWS_AT_REST);
}

bool phb_plug(struct phb *phb, const char *name, struct virtio_device *device, struct err *err)
{
	unsigned number = PHB_FIRST_SLOT;
	struct phb_slot *slot;

	while (number < PHB_SLOTS && phb->slots[number].function != NULL)
		number++;
	if (number == PHB_SLOTS)
		return err_set(err, ERR_USAGE, "leave one out",
		    "there are more devices than the %d that the PCI bus has slots for",
		    PHB_SLOTS - PHB_FIRST_SLOT);
	slot = &phb->slots[number];
	slot->function = virtio_pci_create(device, phb->vm, phb_on_rest, phb, err);
	if (slot->function == NULL)
		return false;
	slot->device = device;
	snprintf(slot->name, sizeof slot->name, "%s", name);
	return true;
}

bool phb_confine(struct phb *phb, bool (*confine)(void *context, struct err *err), void *context,
    struct err *err)
{
	for (unsigned i = PHB_FIRST_SLOT; i < PHB_SLOTS; i++)
		if (phb->slots[i].device != NULL &&
		    !virtio_confine(phb->slots[i].device, confine, context, err))
			return false;
	return true;
}

struct virtio_pci *phb_function(
    struct phb *phb, uint64_t buid, uint32_t config_addr, uint32_t *ret_offset)
{
	uint32_t bus = config_addr >> ADDR_BUS_SHIFT & 0xff;
	uint32_t slot = config_addr >> ADDR_SLOT_SHIFT & (PHB_SLOTS - 1);

	*ret_offset = (config_addr >> ADDR_HIGH_SHIFT) << 8 | (config_addr & 0xff);
	if (!phb->present || buid != PHB_BUID || bus != 0 || (config_addr & ADDR_FUNCTION) != 0)
		return NULL;
	return phb->slots[slot].function;
}

static uint32_t phb_first_irq(const struct phb *phb, const struct virtio_pci *function)
{
	uint32_t slot = 0;

	while (phb->slots[slot].function != function)
		slot++;
	return IRQ_DEVICES + slot * IRQ_DEVICE_MAX;
}

/* What KVM or the guest's last driver has left of a source goes first. */
bool phb_set_irqs(struct phb *phb, struct virtio_pci *function, uint32_t count)
{
	uint32_t first = phb_first_irq(phb, function);
	struct err err = {0};

	virtio_pci_set_irqs(function, 0, 0);
	for (uint32_t i = 0; i < count; i++)
		if (!irqchip_reset_source(phb->irqchip, first + i, &err))
			return false;
	return virtio_pci_set_irqs(function, first, count) == 0;
}

bool phb_irq(struct phb *phb, struct virtio_pci *function, uint32_t vector, uint32_t *ret_irq)
{
	*ret_irq = phb_first_irq(phb, function) + vector;
	return vector < virtio_pci_irqs(function);
}

bool phb_access(struct phb *phb, uint64_t address, uint8_t *data, uint32_t length, bool write)
{
	if (!phb->present || address < PHB_WINDOW_ADDRESS ||
	    address - PHB_WINDOW_ADDRESS >= PHB_WINDOW_BYTES)
		return false;
	for (unsigned i = PHB_FIRST_SLOT; i < PHB_SLOTS; i++)
		if (phb->slots[i].function != NULL &&
		    virtio_pci_access(phb->slots[i].function, address, data, length, write))
			return true;
	if (!write)
		memset(data, 0, length);
	return true;
}

bool phb_at_rest(const struct phb *phb)
{
	for (unsigned i = PHB_FIRST_SLOT; i < PHB_SLOTS; i++)
		if (phb->slots[i].device != NULL && !virtio_at_rest(phb->slots[i].device))
			return false;
	return true;
}

bool phb_stop(struct phb *phb)
{
	bool at_rest = true;

	for (unsigned i = PHB_FIRST_SLOT; i < PHB_SLOTS; i++)
		if (phb->slots[i].function != NULL)
			at_rest = virtio_pci_stop(phb->slots[i].function) && at_rest;
	return at_rest;
}

void phb_reset(struct phb *phb)
{
	for (unsigned i = PHB_FIRST_SLOT; i < PHB_SLOTS; i++)
		if (phb->slots[i].function != NULL)
			virtio_pci_reset(phb->slots[i].function);
}

/* --- The device tree (PCI Bus Binding to IEEE 1275) ---------------------------------------------
 */

/* phys.hi of an address: space, device, register. */
enum { SPACE_MEMORY_64 = 0x03000000, PHYS_SLOT_SHIFT = 11 };

void phb_write_chosen(const struct phb *phb, struct node_writer *w)
{
	/* Linux assigns the BARs only if it is told so. */
	if (phb->present)
		node_cell(w, "linux,pci-probe-only", 0);
}

/* What Open Firmware calls a function of this class. No node may be called "pci". */
static const char *phb_class_name(uint32_t class_code)
{
	switch (class_code >> 8) {
	case 0x0100: return "scsi";
	case 0x0200: return "ethernet";
	case 0x0780: return "communication-controller";
	case 0x00ff: return "legacy-device";
	default: return "unknown-legacy-device";
	}
}

static void phb_write_slot(const struct phb *phb, uint32_t number, struct node_writer *w)
{
	const struct virtio_pci *function = phb->slots[number].function;
	const struct pci_identity *identity = virtio_pci_identity(function);
	uint32_t phys = number << PHYS_SLOT_SHIFT;
	char text[96];

	snprintf(text, sizeof text, "%s@%x", phb_class_name(identity->class_code), number);
	node_begin(w, text);
	/* The configuration space, and the BAR with its size: Linux does not look for itself. */
	NODE_CELLS(w, "reg", phys, 0, 0, 0, 0, phys | SPACE_MEMORY_64 | PCI_BAR0, 0, 0, 0,
	    VIRTIO_PCI_BAR_BYTES);
	node_cell(w, "vendor-id", identity->vendor);
	node_cell(w, "device-id", identity->device);
	node_cell(w, "revision-id", identity->revision);
	node_cell(w, "class-code", identity->class_code);
	node_cell(w, "subsystem-id", identity->subsystem);
	node_cell(w, "subsystem-vendor-id", identity->subsystem_vendor);
	node_cell(w, "ibm,req#msi-x", virtio_pci_vectors(function));
	/* Without it drmgr does not see the device. */
	snprintf(text, sizeof text, "paprika_%s", phb->slots[number].name);
	node_text(w, "ibm,loc-code", text);
	node_end(w);
}

void phb_write_node(const struct phb *phb, struct node_writer *w)
{
	char text[96];

	if (!phb->present)
		return;
	snprintf(text, sizeof text, "pci@%llx", (unsigned long long)PHB_BUID);
	node_begin(w, text);
	node_text(w, "device_type", "pci");
	node_text(w, "compatible", "IBM,Logical_PHB");
	NODE_CELLS(w, "reg", (uint32_t)(PHB_BUID >> 32), (uint32_t)PHB_BUID, 0, 0);
	NODE_CELLS(w, "bus-range", 0, 0xff);
	node_cell(w, "#address-cells", 3);
	node_cell(w, "#size-cells", 2);
	node_cell(w, "#interrupt-cells", 1);
	NODE_CELLS(w, "ranges", SPACE_MEMORY_64, (uint32_t)(PHB_WINDOW_ADDRESS >> 32),
	    (uint32_t)PHB_WINDOW_ADDRESS, (uint32_t)(PHB_WINDOW_ADDRESS >> 32),
	    (uint32_t)PHB_WINDOW_ADDRESS, (uint32_t)(PHB_WINDOW_BYTES >> 32),
	    (uint32_t)PHB_WINDOW_BYTES);
	node_cell(w, "ibm,pci-config-space-type", 1);
	node_cell(w, "ibm,pe-total-#msi", PE_TOTAL_MSI);
	/* Its cells are counted by the next two. */
	NODE_CELLS(w, "ibm,dma-window", LIOBN, 0, 0, (uint32_t)(DMA_WINDOW_BYTES >> 32),
	    (uint32_t)DMA_WINDOW_BYTES);
	node_cell(w, "ibm,#dma-address-cells", 2);
	node_cell(w, "ibm,#dma-size-cells", 2);
	for (uint32_t i = PHB_FIRST_SLOT; i < PHB_SLOTS; i++)
		if (phb->slots[i].function != NULL)
			phb_write_slot(phb, i, w);
	node_end(w);
}
