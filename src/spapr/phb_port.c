/* SPDX-License-Identifier: Apache-2.0 */
/*
 * phb_port.c - slots below a port. The guest's kernel says by the port's power indicator what a
 * tool says by RTAS calls, and the connector gets the same inputs:
 *
 *  - it blinks: work on the slot begins (dr-indicator on). If the device is not the guest's it
 * becomes visible (UNISOLATE), or the guest could not look at it.
 *  - it is on: the device is configured. If it was to be removed the guest has thought better of
 * it.
 *  - it is off: the guest has given the slot up (ISOLATE), also if it could not add the device.
 */
#include "spapr/phb.h"

#include "spapr/irq.h"

/* The last of the slot's sources: a function has fewer vectors. */
enum { PORT_IRQ = IRQ_DEVICE_MAX - 1 };

static uint32_t phb_port_number(const struct phb *phb, const struct pci_port *port)
{
	uint32_t slot = PHB_FIRST_SLOT;

	while (&phb->slots[slot].port != port)
		slot++;
	return slot;
}

uint32_t phb_port_irq(const struct phb *phb, const struct pci_port *port)
{
	return IRQ_DEVICES + phb_port_number(phb, port) * IRQ_DEVICE_MAX + PORT_IRQ;
}

bool phb_reset_port_irq(struct phb *phb, const struct pci_port *port)
{
	struct err err = {0};

	return irqchip_reset_source(phb->irqchip, phb_port_irq(phb, port), &err);
}

/* The guest looks at all that has happened, so one interrupt more does no harm. */
static void phb_interrupt(struct phb *phb, const struct pci_port *port)
{
	int result = 0;

	if (pci_port_wants_interrupt(port))
		result = irqchip_pulse(phb->irqchip, phb_port_irq(phb, port));
	if (result < 0)
		log_guest(&phb->limit, LOG_ERROR, "KVM refuses interrupt %#x: error %d",
		    phb_port_irq(phb, port), -result);
}

void phb_tell_port(struct phb *phb, const struct connector *connector)
{
	struct pci_port *port = &phb->slots[connector->id].port;

	if (connector->drc.removing)
		pci_port_press(port);
	else
		pci_port_insert(port);
	phb_interrupt(phb, port);
}

void phb_eject(struct phb *phb, const struct connector *connector)
{
	struct pci_port *port = &phb->slots[connector->id].port;

	if (connector->id > phb->ports)
		return;
	/* What has been taken away by force the guest still has. It can be told here. */
	if (phb->slots[connector->id].known)
		pci_port_pull(port);
	else
		pci_port_eject(port);
	phb_interrupt(phb, port);
}

/* The connector of the slot's device; NULL if there is none. */
static struct connector *phb_connector(struct phb *phb, uint32_t slot)
{
	struct connector *connector =
	    connector_find(phb->devices->connectors, drc_index(&drc_type_pci, slot));

	return connector != NULL && connector->drc.attached ? connector : NULL;
}

bool phb_reset_ports(struct phb *phb)
{
	for (uint32_t slot = PHB_FIRST_SLOT; slot <= phb->ports; slot++) {
		struct pci_port *port = &phb->slots[slot].port;

		phb->slots[slot].in_tree = phb_connector(phb, slot) != NULL;
		pci_port_init(port, slot, phb->slots[slot].in_tree);
		if (!phb_reset_port_irq(phb, port))
			return false;
	}
	return true;
}

void phb_begin_ports(struct phb *phb)
{
	for (uint32_t slot = PHB_FIRST_SLOT; slot <= phb->ports; slot++) {
		const struct connector *connector = phb_connector(phb, slot);

		pci_port_begin(&phb->slots[slot].port, slot, connector != NULL,
		    phb->slots[slot].in_tree, connector != NULL && connector->drc.removing);
	}
}

static void phb_note_indicator(
    struct phb *phb, struct connector *connector, unsigned said, const struct op_evidence *by)
{
	const struct drc *drc = &connector->drc;
	/* Also one that was isolated in use, and waits for its driver. */
	bool isolated = drc->state == DRC_UNUSABLE || drc->state == DRC_AVAILABLE;

	if ((said & PCI_PORT_WORKS) != 0) {
		phb_note_act(phb, connector->drc_index, true);
		device_guest_input(phb->devices, connector, DRC_IN_TOOL_BEGINS, by);
		if (isolated)
			device_guest_input(phb->devices, connector, DRC_IN_UNISOLATE, by);
	}
	if ((said & PCI_PORT_ON) != 0 && drc->state == DRC_UNISOLATED)
		device_guest_input(phb->devices, connector, DRC_IN_CONFIGURE_END, by);
	else if ((said & PCI_PORT_ON) != 0)
		device_guest_input(phb->devices, connector, DRC_IN_TOOL_STOPS, by);
	if ((said & PCI_PORT_OFF) != 0 && !isolated)
		device_guest_input(phb->devices, connector, DRC_IN_ISOLATE, by);
}

void phb_write_port(struct phb *phb, struct pci_port *port, uint32_t offset, uint32_t size,
    uint32_t value, uint32_t vcpu)
{
	const struct op_evidence by = {
	    .source = OP_BY_GUEST, .call = "ibm,write-pci-config", .vcpu = vcpu};
	unsigned said = pci_port_write(port, offset, size, value);
	struct connector *connector = phb_connector(phb, phb_port_number(phb, port));

	if ((said & PCI_PORT_LISTENS) != 0)
		phb_interrupt(phb, port);
	/* It knows that there is nothing any more, and takes note of what comes after that. */
	if (connector == NULL && (said & PCI_PORT_HEARD) != 0)
		phb->slots[phb_port_number(phb, port)].known = false;
	if (connector == NULL)
		return;
	if ((said & PCI_PORT_HEARD) != 0)
		device_event_fetched(phb->devices, connector->number);
	phb_note_indicator(phb, connector, said, &by);
	/* A removal that was asked for while the guest was adding it. */
	if ((said & PCI_PORT_ON) != 0 && connector->drc.removing)
		phb_tell_port(phb, connector);
}
