/* SPDX-License-Identifier: Apache-2.0 */
/* phb_node.c - the PCI host bridge in the device tree (PCI Bus Binding to IEEE 1275; LoPAR,
 * "Properties of the Node of type PCI"). */
#include <stdio.h>

#include "spapr/phb.h"

/* What Linux divides among the devices; more than they have vectors. */
enum { PE_TOTAL_MSI = 2048 };

/* phys.hi of an address: space, device, register. */
enum { SPACE_MEMORY_64 = 0x03000000, PHYS_SLOT_SHIFT = 11 };

void phb_write_chosen(const struct phb *phb, struct node_writer *w)
{
	/* Linux assigns the BARs only if it is told so. */
	if (phb->present)
		node_cell(w, "linux,pci-probe-only", 0);
}

void phb_write_slot(const struct virtio_pci *function, const struct connector *connector,
    bool named, struct node_writer *w)
{
	const struct pci_identity *identity = virtio_pci_identity(function);
	uint32_t phys = connector->id << PHYS_SLOT_SHIFT;
	char text[48];

	snprintf(text, sizeof text, "%s@%x", identity->class_name, connector->id);
	node_begin(w, text);
	if (named)
		node_text(w, "name", text);
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
	node_cell(w, "ibm,my-drc-index", connector->drc_index);
	/* drmgr takes a node without one for no device. */
	snprintf(text, sizeof text, "C%u", connector->id);
	node_text(w, "ibm,loc-code", text);
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
