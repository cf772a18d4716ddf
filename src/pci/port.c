/* SPDX-License-Identifier: Apache-2.0 */
/* port.c - see port.h. */
#include "pci/port.h"

/* The header of a bridge, where it is not that of a device. */
enum {
	HEADER_TYPE = 0x0e,
	BUS_NUMBERS = 0x18, /* primary, secondary, the last one below: a byte each */
	MEMORY_WINDOW = 0x20,
	PREFETCH_WINDOW = 0x24, /* base and limit; then the upper halves of both */
	BRIDGE_CONTROL = 0x3e,
};
enum { HEADER_BRIDGE = 1, WINDOW_64 = 0x0001 };

/* The capability of PCI Express, at its fixed place here. */
enum {
	EXPRESS = PCI_CAPABILITIES,
	EXPRESS_BYTES = 0x3c,
	EXPRESS_FLAGS = EXPRESS + 0x02,
	DEVICE_CONTROL = EXPRESS + 0x08,
	LINK_CAPABILITIES = EXPRESS + 0x0c,
	LINK_CONTROL = EXPRESS + 0x10,
	LINK_STATUS = EXPRESS + 0x12,
	SLOT_CAPABILITIES = EXPRESS + 0x14,
	SLOT_CONTROL = EXPRESS + 0x18,
	SLOT_STATUS = EXPRESS + 0x1a,
	ROOT_CONTROL = EXPRESS + 0x1c,
};
enum {
	CAP_EXPRESS = 0x10,
	FLAGS = 2 | 4 << 4 | 1 << 8, /* version 2, root port, with a slot */
	LINK_SPEED_WIDTH = 1 | 1 << 4,
	LINK_TELLS_ACTIVE = 1 << 20, /* LINK_STATUS has the next one */
	LINK_ACTIVE = 1 << 13,
};
enum {
	SLOT_BUTTON = 1 << 0,
	SLOT_INDICATOR = 1 << 4, /* that of power */
	SLOT_HOT_PLUG = 1 << 6,
	SLOT_NOTHING_COMPLETES = 1 << 18, /* a command is carried out when it is written */
	SLOT_NUMBER_SHIFT = 19,
};
/* What can happen, in the status; a guest enables each by the same bit of the control. */
enum {
	EVENT_BUTTON = 1 << 0,
	EVENT_LINK_STATUS = 1 << 8,
	EVENT_LINK_CONTROL = 1 << 12, /* but for this one */
	EVENTS_ALL = 0x011f,          /* of the status: written with 1 they are cleared */
	SLOT_PRESENT = 1 << 6,
	CONTROL_INTERRUPT = 1 << 5,
	CONTROL_WRITABLE = 0x1fff,
	INDICATOR = 3 << 8,
	INDICATOR_ON = 1 << 8,
	INDICATOR_BLINKS = 2 << 8,
	INDICATOR_OFF = 3 << 8,
};

enum {
	CAP_MSI = 0x05,
	MSI_BYTES = 0x0e,
	MSI_ADDRESS = 4,
	MSI_DATA = 12,
	MSI_64 = 1 << 7,
	MSI_ON = 1
};

/* That of QEMU's generic root port, which guests know. */
const struct pci_identity *pci_port_identity(void)
{
	static const struct pci_identity identity = {
	    .vendor = 0x1b36, .device = 0x000c, .class_code = 0x060400};

	return &identity;
}

static uint32_t port_get(const struct pci_port *port, uint32_t offset)
{
	return pci_config_get(&port->config, offset, 2);
}

static void port_set(struct pci_port *port, uint32_t offset, uint32_t value)
{
	pci_config_set(&port->config, offset, 2, value);
}

static void port_let_write(struct pci_port *port, uint32_t offset, uint32_t mask)
{
	port->config.writable[offset] = (uint8_t)mask;
	port->config.writable[offset + 1] = (uint8_t)(mask >> 8);
}

static void port_init_header(struct pci_port *port, uint32_t number)
{
	struct pci_config *config = &port->config;

	pci_config_init(config, pci_port_identity(), 0);
	/* It has no BAR of its own, and no subsystem's id: other registers are there. */
	pci_config_set(config, PCI_BAR0, 4, 0);
	for (uint32_t i = PCI_BAR0; i < PCI_CAPABILITY_POINTER; i++)
		config->writable[i] = 0;
	pci_config_set(config, HEADER_TYPE, 1, HEADER_BRIDGE);
	pci_config_set(config, BUS_NUMBERS, 4, number << 16 | number << 8);
	port_let_write(port, MEMORY_WINDOW, 0xfff0);
	port_let_write(port, MEMORY_WINDOW + 2, 0xfff0);
	pci_config_set(config, PREFETCH_WINDOW, 4, WINDOW_64 << 16 | WINDOW_64);
	for (uint32_t i = PREFETCH_WINDOW; i < PREFETCH_WINDOW + 4; i += 2)
		port_let_write(port, i, 0xfff0);
	for (uint32_t i = PREFETCH_WINDOW + 4; i < PREFETCH_WINDOW + 12; i += 2)
		port_let_write(port, i, 0xffff);
	port_let_write(port, BRIDGE_CONTROL, 0xffff);
}

void pci_port_init(struct pci_port *port, uint32_t number, bool present)
{
	struct pci_config *config = &port->config;
	uint8_t msi;

	*port = (struct pci_port){0};
	port_init_header(port, number);
	pci_config_add_capability(config, CAP_EXPRESS, EXPRESS_BYTES);
	port_set(port, EXPRESS_FLAGS, FLAGS);
	port_let_write(port, DEVICE_CONTROL, 0xffff);
	pci_config_set(config, LINK_CAPABILITIES, 4, LINK_SPEED_WIDTH | LINK_TELLS_ACTIVE);
	port_let_write(port, LINK_CONTROL, 0xffff);
	port_set(port, LINK_STATUS, LINK_SPEED_WIDTH | (present ? LINK_ACTIVE : 0));
	pci_config_set(config, SLOT_CAPABILITIES, 4,
	    SLOT_BUTTON | SLOT_INDICATOR | SLOT_HOT_PLUG | SLOT_NOTHING_COMPLETES |
	        number << SLOT_NUMBER_SHIFT);
	port_let_write(port, SLOT_CONTROL, CONTROL_WRITABLE);
	port_set(port, SLOT_CONTROL, present ? INDICATOR_ON : INDICATOR_OFF);
	port_set(port, SLOT_STATUS, present ? SLOT_PRESENT : 0);
	port_let_write(port, ROOT_CONTROL, 0xffff);
	msi = pci_config_add_capability(config, CAP_MSI, MSI_BYTES);
	/* The platform assigns the source, so the message is never used. Linux restores what it has
	 * read, and must not find nothing. */
	port_set(port, msi + 2u, MSI_64);
	port_let_write(port, msi + 2u, MSI_ON);
	pci_config_set(config, msi + MSI_ADDRESS, 4, 0x1000);
	port_set(port, msi + (uint32_t)MSI_DATA, 1);
}

void pci_port_begin(
    struct pci_port *port, uint32_t number, bool present, bool in_tree, bool removing)
{
	pci_port_init(port, number, present && in_tree);
	port->hidden = present && !in_tree;
	if (port->hidden)
		port->told = EVENT_LINK_STATUS;
	else if (present && removing)
		port->told = EVENT_BUTTON;
}

uint32_t pci_port_read(const struct pci_port *port, uint32_t offset, uint32_t size)
{
	return pci_config_get(&port->config, offset, size);
}

static unsigned port_note_control(const struct pci_port *port, uint32_t before)
{
	uint32_t control = port_get(port, SLOT_CONTROL);
	unsigned said = 0;

	if ((control & CONTROL_INTERRUPT) != 0 && (before & CONTROL_INTERRUPT) == 0)
		said |= PCI_PORT_LISTENS;
	if ((control & INDICATOR) == (before & INDICATOR))
		return said;
	switch (control & INDICATOR) {
	case INDICATOR_ON: return said | PCI_PORT_ON;
	case INDICATOR_BLINKS: return said | PCI_PORT_WORKS;
	case INDICATOR_OFF: return said | PCI_PORT_OFF;
	default: return said;
	}
}

static void port_set_present(struct pci_port *port)
{
	port_set(port, LINK_STATUS, LINK_SPEED_WIDTH | LINK_ACTIVE);
	port_set(port, SLOT_STATUS, port_get(port, SLOT_STATUS) | SLOT_PRESENT);
}

unsigned pci_port_write(struct pci_port *port, uint32_t offset, uint32_t size, uint32_t value)
{
	uint32_t control = port_get(port, SLOT_CONTROL);
	uint32_t status = port_get(port, SLOT_STATUS), clear = 0;
	unsigned said;

	pci_config_write(&port->config, offset, size, value);
	/* The status is the upper half of the word in which the control is the lower. */
	for (uint32_t i = 0; i < size; i++)
		if (offset + i == SLOT_STATUS || offset + i == SLOT_STATUS + 1)
			clear |= (value >> (8 * i) & 0xff) << (8 * (offset + i - SLOT_STATUS));
	port_set(port, SLOT_STATUS, status & ~(clear & EVENTS_ALL));
	said = port_note_control(port, control);
	if (said != 0)
		port->pressed = false;
	/* What a driver clears before it listens it has not looked at: it is told again. */
	if ((said & PCI_PORT_LISTENS) != 0) {
		if (port->hidden)
			port_set_present(port);
		port->hidden = false;
		port_set(port, SLOT_STATUS, port_get(port, SLOT_STATUS) | port->told);
	} else if ((control & CONTROL_INTERRUPT) != 0 && (port->told & clear) != 0) {
		port->told &= ~clear;
		said |= PCI_PORT_HEARD;
	}
	return said;
}

static void port_tell(struct pci_port *port, uint32_t event)
{
	port_set(port, SLOT_STATUS, port_get(port, SLOT_STATUS) | event);
	port->told |= event;
}

void pci_port_insert(struct pci_port *port)
{
	port_set_present(port);
	port_tell(port, EVENT_LINK_STATUS);
}

void pci_port_eject(struct pci_port *port)
{
	port_set(port, LINK_STATUS, LINK_SPEED_WIDTH);
	port_set(port, SLOT_STATUS, 0);
	port->told = 0;
	port->pressed = port->hidden = false;
}

/* Linux takes a link that goes down for a device that has been pulled out. */
void pci_port_pull(struct pci_port *port)
{
	pci_port_eject(port);
	port_tell(port, EVENT_LINK_STATUS);
}

void pci_port_press(struct pci_port *port)
{
	if (port->pressed || (port_get(port, SLOT_CONTROL) & INDICATOR) == INDICATOR_BLINKS)
		return;
	port->pressed = true;
	port_tell(port, EVENT_BUTTON);
}

bool pci_port_wants_interrupt(const struct pci_port *port)
{
	uint32_t control = port_get(port, SLOT_CONTROL), status = port_get(port, SLOT_STATUS);

	return (control & CONTROL_INTERRUPT) != 0 &&
	       (((status & EVENT_BUTTON) != 0 && (control & EVENT_BUTTON) != 0) ||
	           ((status & EVENT_LINK_STATUS) != 0 && (control & EVENT_LINK_CONTROL) != 0));
}
