/* SPDX-License-Identifier: Apache-2.0 */
/* phb_node.c - the PCI host bridge in the device tree (PCI Bus Binding to IEEE 1275; LoPAR,
 * "Properties of the Node of type PCI"). */
#include <stdio.h>

#include "spapr/phb.h"

/* What Linux divides among the devices; more than they have vectors. */
enum { PE_TOTAL_MSI = 2048 };

/* phys.hi of an address: space, device, register. */
enum { SPACE_MEMORY_64 = 0x03000000, PHYS_SLOT_SHIFT = 11, PHYS_BUS_SHIFT = 16 };

/* The guest's addresses below a port. The guest finds room on the bus itself between these. */
#define PORT_WINDOW_BYTES (UINT64_C(16) << 20)
#define PORT_WINDOWS (PHB_WINDOW_ADDRESS + PHB_WINDOW_BYTES / 2)

void phb_write_chosen(const struct phb *phb, struct node_writer *w)
{
	/* Linux assigns the BARs only if it is told so. */
	if (phb->present)
		node_cell(w, "linux,pci-probe-only", 0);
}

static void node_identity(const struct pci_identity *identity, struct node_writer *w)
{
	node_cell(w, "vendor-id", identity->vendor);
	node_cell(w, "device-id", identity->device);
	node_cell(w, "revision-id", identity->revision);
	node_cell(w, "class-code", identity->class_code);
}

/* Linux takes from here what is below the port, and where, instead of from its registers. */
static void phb_begin_port(uint32_t slot, struct node_writer *w)
{
	uint64_t window = PORT_WINDOWS + slot * PORT_WINDOW_BYTES;
	uint32_t high = (uint32_t)(window >> 32), low = (uint32_t)window;
	char text[48];

	snprintf(text, sizeof text, "pci@%x", slot);
	node_begin(w, text);
	node_text(w, "device_type", "pci");
	NODE_CELLS(w, "reg", slot << PHYS_SLOT_SHIFT, 0, 0, 0, 0);
	node_identity(pci_port_identity(), w);
	NODE_CELLS(w, "bus-range", slot, slot);
	node_cell(w, "#address-cells", 3);
	node_cell(w, "#size-cells", 2);
	NODE_CELLS(w, "ranges", SPACE_MEMORY_64, high, low, SPACE_MEMORY_64, high, low, 0,
	    (uint32_t)PORT_WINDOW_BYTES);
	node_cell(w, "ibm,req#msi", 1);
}

/* Linux reaches only a function for which there was a node when it started. So an empty slot has
 * one of something that is not there: Linux makes a device of it, and takes that away again when it
 * finds the slot empty. What comes is recognised by its registers; its interrupts are limited by
 * the node. */
void phb_write_empty_ports(const struct phb *phb, struct node_writer *w)
{
	static const struct pci_identity nothing = {
	    .vendor = UINT16_MAX, .device = UINT16_MAX, .class_code = 0xff0000};

	for (uint32_t slot = PHB_FIRST_SLOT; slot <= phb->ports; slot++) {
		const struct connector *connector =
		    connector_find(phb->devices->connectors, drc_index(&drc_type_pci, slot));

		if (connector != NULL && connector->drc.attached)
			continue;
		phb_begin_port(slot, w);
		node_begin(w, "slot@0");
		NODE_CELLS(w, "reg", slot << PHYS_BUS_SHIFT, 0, 0, 0, 0);
		node_identity(&nothing, w);
		node_cell(w, "ibm,req#msi-x", VIRTIO_QUEUES_MAX + 1);
		node_end(w);
		node_end(w);
	}
}

static void phb_write_function(const struct virtio_pci *function, const struct connector *connector,
    bool below, bool named, struct node_writer *w)
{
	const struct pci_identity *identity = virtio_pci_identity(function);
	uint32_t phys = connector->id << (below ? PHYS_BUS_SHIFT : PHYS_SLOT_SHIFT);
	char text[48];

	snprintf(text, sizeof text, "%s@%x", identity->class_name, below ? 0 : connector->id);
	node_begin(w, text);
	if (named)
		node_text(w, "name", text);
	/* The configuration space, and the BAR with its size: Linux does not look for itself. */
	NODE_CELLS(w, "reg", phys, 0, 0, 0, 0, phys | SPACE_MEMORY_64 | PCI_BAR0, 0, 0, 0,
	    VIRTIO_PCI_BAR_BYTES);
	node_identity(identity, w);
	node_cell(w, "subsystem-id", identity->subsystem);
	node_cell(w, "subsystem-vendor-id", identity->subsystem_vendor);
	node_cell(w, "ibm,req#msi-x", virtio_pci_vectors(function));
	node_cell(w, "ibm,my-drc-index", connector->drc_index);
	/* drmgr takes a node without one for no device. */
	snprintf(text, sizeof text, "C%u", connector->id);
	node_text(w, "ibm,loc-code", text);
	node_end(w);
}

void phb_write_slot(
    const struct phb *phb, const struct connector *connector, bool named, struct node_writer *w)
{
	bool below = connector->id <= phb->ports;

	if (below && !named)
		phb_begin_port(connector->id, w);
	phb_write_function(phb->slots[connector->id].function, connector, below, named, w);
	if (below && !named)
		node_end(w);
}

void phb_begin_node(struct node_writer *w)
{
	char text[48];

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
	NODE_CELLS(w, "ibm,dma-window", PHB_LIOBN, 0, 0, (uint32_t)(PHB_DMA_WINDOW_BYTES >> 32),
	    (uint32_t)PHB_DMA_WINDOW_BYTES);
	node_cell(w, "ibm,#dma-address-cells", 2);
	node_cell(w, "ibm,#dma-size-cells", 2);
}
