/* SPDX-License-Identifier: Apache-2.0 */
/*
 * port.h - a PCI Express root port with a hot-plug slot below it (PCI Express Base 5.0, 6.7
 * and 7.5.3): the configuration space of a bridge, with the registers of the slot and one MSI. The
 * guest's kernel adds and removes the device of such a slot by itself, without a tool in user
 * space.
 *
 * The slot has a button and a power indicator, and neither a power switch nor a latch. A device
 * that comes is announced as a link that goes up, upon which Linux adds it at once. A removal is
 * asked for by the button; Linux waits five seconds in which a second press would take the first
 * one back. What the guest does then, it says by the indicator.
 *
 * There is no traffic to be bridged: the guest's devices are reached by their addresses, wherever
 * the guest thinks they are. The caller has a lock.
 */
#ifndef PAPRIKA_PCI_PORT_H
#define PAPRIKA_PCI_PORT_H

#include "pci/config.h"

struct pci_port {
	struct pci_config config;
	bool hidden;   /* there is a device, of which the guest is told when it listens */
	bool pressed;  /* the button, and the guest has not said anything since */
	uint32_t told; /* events of the slot's status that the guest has not taken note of */
};

/* What the guest has said by a write. More than one can be set. */
enum {
	PCI_PORT_HEARD = 1 << 0,   /* it has taken note of what it was told */
	PCI_PORT_LISTENS = 1 << 1, /* it wants to be told from now on */
	PCI_PORT_WORKS = 1 << 2,   /* the indicator blinks: it is at work on the slot */
	PCI_PORT_ON = 1 << 3,      /* the indicator is on: the device is in use */
	PCI_PORT_OFF = 1 << 4,     /* the indicator is off: the device may be taken away */
};

/* As after a reset: with a device in the slot or without. number is that of the slot, and of the
 * bus below the port. */
void pci_port_init(struct pci_port *port, uint32_t number, bool present);

/* A kernel begins, by kexec, with the device tree of the one before: as after a reset. A device
 * that is not in that tree, and a removal that is pending, are told of when the kernel listens. */
void pci_port_begin(
    struct pci_port *port, uint32_t number, bool present, bool in_tree, bool removing);

const struct pci_identity *pci_port_identity(void);

/* The guest's accesses: pci_config_has() holds. write returns what it says. */
uint32_t pci_port_read(const struct pci_port *port, uint32_t offset, uint32_t size);
unsigned pci_port_write(struct pci_port *port, uint32_t offset, uint32_t size, uint32_t value);

/* A device is in the slot now, and the guest is to be told; it leaves, and the guest knows that;
 * the button is pressed, unless the guest is at work on that already, and would take it as a second
 * one. */
void pci_port_insert(struct pci_port *port);
void pci_port_eject(struct pci_port *port);
void pci_port_pull(struct pci_port *port); /* it leaves, and the guest does not know yet */
void pci_port_press(struct pci_port *port);

/* There is something that the guest has not taken note of, and wants to be interrupted for. */
bool pci_port_wants_interrupt(const struct pci_port *port);

#endif
