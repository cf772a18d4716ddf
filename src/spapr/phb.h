/* SPDX-License-Identifier: Apache-2.0 */
/*
 * phb.h - the PCI host bridge: one root bus with slots 1 to 31, each for one function without a
 * bridge, and one window of the guest's addresses for their BARs (LoPAR, "PCI Host Bridge").
 *
 * The first slots can have ports (pci/port.h): such a slot's function is on a bus of its own, below
 * the port, and the guest's kernel adds and removes it by itself. Its connector is the same; what
 * the guest says by the port's registers becomes the inputs that the RTAS calls of a tool would be
 * (phb_port.c).
 *
 * The guest assigns the BARs. There are no I/O ports and no INTx; interrupts are MSI-X, whose
 * sources ibm,change-msi hands out. Devices see guest addresses as they are: the window for DMA is
 * there because Linux wants one.
 *
 * A slot is a connector of its number, and a device for the operator, which can come and go. All
 * functions but phb_access() are called with the machine's lock held, or before anything runs.
 */
#ifndef PAPRIKA_SPAPR_PHB_H
#define PAPRIKA_SPAPR_PHB_H

#include <pthread.h>

#include "pci/port.h"
#include "pci/virtio_pci.h"
#include "spapr/device.h"

/* Above all memory and the pages of XIVE. PCI addresses are the guest's. */
#define PHB_WINDOW_ADDRESS (UINT64_C(32) << 40)
#define PHB_WINDOW_BYTES (UINT64_C(64) << 30)

/* Bus unit id: bits 63..32 and 31..0 are two arguments of the RTAS services. */
#define PHB_BUID UINT64_C(0x800000020000000)

/* Linux clears the table for DMA when it finds the bridge, so the window is small: no device uses
 * it. The number of the table has the bridge in bits 15..8. */
#define PHB_LIOBN 0x80000000u
#define PHB_DMA_WINDOW_BYTES (UINT64_C(64) << 20)

enum { PHB_SLOTS = 32, PHB_FIRST_SLOT = 1 };

struct phb_slot {
	struct virtio_pci *function; /* NULL: empty */
	struct virtio_device *device;
	struct pci_port port; /* if it has one; with the machine's lock */
	bool in_tree;         /* the device has been there since the guest was booted */
	/* Events that the guest has read and on which no tool has acted. One may still do so, and
	 * would then take away, or add, what is in the slot by that time. */
	uint32_t orders;
	/* The guest has in its tree what has been taken away: another device there would not be
	 * found. Until a reset. */
	bool known;
	uint64_t done_before; /* requests, when its removal was last asked for */
};

struct phb {
	struct kvm_vm *vm;
	struct irqchip *irqchip;
	struct devices *devices;
	struct news *news;
	bool present;
	uint32_t ports; /* the slots up to this one have a port */
	struct log_limit limit;
	/* Slots change with the machine's lock and this one held, and are read with either. vCPUs
	 * that load and store take this one, and share it. */
	pthread_rwlock_t lock;
	struct phb_slot slots[PHB_SLOTS];
};

/* finish also after a failed init, or without; all devices are at rest. */
bool phb_init(struct phb *phb, struct kvm_vm *vm, struct irqchip *irqchip, struct devices *devices,
    uint32_t ports, struct err *err);
void phb_finish(struct phb *phb);

/* Put a device into an empty slot, before the first boot, and take it over. Then the same of a
 * machine that has booted: an operation. On failure the device stays the caller's. */
bool phb_plug(struct phb *phb, const char *name, struct virtio_device *device, struct err *err);
bool phb_add(struct phb *phb, const char *name, struct virtio_device *device,
    uint64_t *ret_operation, struct err *err);

/* The device in the first filled slot from this one on; NULL if there is none. */
const struct device *phb_device(const struct phb *phb, uint32_t from);
/* Fill what concerns the virtio device in this slot. */
void phb_describe_use(const struct phb *phb, uint32_t slot, struct spapr_pci_info *info);

/* Have each thread of the devices call confine. */
bool phb_confine(struct phb *phb, bool (*confine)(void *context, struct err *err), void *context,
    struct err *err);

/* The function that the guest means by bus unit id and config_addr (LoPAR 7.3.4), or NULL; the
 * offset in its configuration space. One that is isolated is not there. */
struct virtio_pci *phb_function(
    struct phb *phb, uint64_t buid, uint32_t config_addr, uint32_t *ret_offset);

/* What they mean is an empty place below a port. */
bool phb_has_place(const struct phb *phb, uint64_t buid, uint32_t config_addr);

/* The same of a port. Its registers; vcpu is the one that writes. Then its interrupt: make the
 * source as new, and its number. */
struct pci_port *phb_port(
    struct phb *phb, uint64_t buid, uint32_t config_addr, uint32_t *ret_offset);
void phb_write_port(struct phb *phb, struct pci_port *port, uint32_t offset, uint32_t size,
    uint32_t value, uint32_t vcpu);
bool phb_reset_port_irq(struct phb *phb, const struct pci_port *port);
uint32_t phb_port_irq(const struct phb *phb, const struct pci_port *port);

/* For phb.c: what is pending on the connector of a slot with a port is told to the guest; the
 * device has left the slot; after a reset the device is there or not. */
void phb_tell_port(struct phb *phb, const struct connector *connector);
void phb_eject(struct phb *phb, const struct connector *connector);
bool phb_reset_ports(struct phb *phb);
void phb_begin_ports(struct phb *phb);

/* The guest makes an indicator call on the connector with this index: it acts on an event. */
void phb_note_act(struct phb *phb, uint32_t drc_index, bool tool_begins);
/* A kernel begins, perhaps by kexec: it acts on no event that was read before, and has the device
 * tree of the boot. */
void phb_begin_kernel(struct phb *phb);

/* Interrupt sources for the function: the first count vectors get one. False: the host refuses. */
bool phb_set_irqs(struct phb *phb, struct virtio_pci *function, uint32_t count);
/* The source of a vector; false if it has none. */
bool phb_irq(struct phb *phb, struct virtio_pci *function, uint32_t vector, uint32_t *ret_irq);

/* A load or store of the guest's: false if it is not in the window. A load where no device answers
 * reads 0, so that a driver whose device has gone finds it reset. Any thread. */
bool phb_access(struct phb *phb, uint64_t address, uint8_t *data, uint32_t length, bool write);

/* Two halves of a reset, see virtio_pci.h. phb_stop() false: news will tell when all are at rest.
 * phb_reset() false: the host refuses, *err is filled. */
bool phb_at_rest(const struct phb *phb);
bool phb_stop(struct phb *phb);
bool phb_reset(struct phb *phb, struct err *err);

/* Nothing, if there is no bridge. */
void phb_write_chosen(const struct phb *phb, struct node_writer *w);

/* The bridge's own properties; its node is left open. Then the node of one slot with a function, in
 * that of its port unless it is handed to the guest alone (named); and the ports of the other
 * slots. (phb_node.c) */
void phb_begin_node(struct node_writer *w);
void phb_write_slot(
    const struct phb *phb, const struct connector *connector, bool named, struct node_writer *w);
void phb_write_empty_ports(const struct phb *phb, struct node_writer *w);

#endif
