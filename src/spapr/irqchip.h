/* SPDX-License-Identifier: Apache-2.0 */
/*
 * irqchip.h - the guest's interrupt controller, whichever it is: sources by number (irq.h), what
 * becomes of them at a reset, and its part of the device tree. A kind is a row of operations
 * (irq_xics.c, irq_xive.c), chosen once.
 *
 * Any thread may call irqchip_pulse(), with or without the machine's lock. The others are called by
 * the operator's thread, or with the machine's lock held.
 */
#ifndef PAPRIKA_SPAPR_IRQCHIP_H
#define PAPRIKA_SPAPR_IRQCHIP_H

#include "kvm/kvm.h"
#include "spapr/node.h"

struct irqchip;
struct xive;

struct irqchip_ops {
	/* NULL: nothing to do. */
	bool (*create)(struct irqchip *irqchip, struct err *err);
	void (*destroy)(struct irqchip *irqchip);
	void (*detach)(struct irqchip *irqchip, uint32_t first, uint32_t count);
	void (*write_root)(const struct irqchip *irqchip, struct node_writer *w);
	/* Never NULL. */
	bool (*reset)(struct irqchip *irqchip, struct err *err);
	bool (*reset_source)(struct irqchip *irqchip, uint32_t irq, struct err *err);
	bool (*begin)(struct irqchip *irqchip, struct err *err);
	int (*pulse)(struct irqchip *irqchip, uint32_t irq);
	void (*write_node)(const struct irqchip *irqchip, struct node_writer *w);
};
extern const struct irqchip_ops irqchip_xics, irqchip_xive;

struct irqchip {
	struct kvm_vm *vm;
	const struct irqchip_ops *ops; /* NULL: not created */
	uint32_t servers;              /* vCPUs there can be, each a server of its number */
	bool devices;                  /* there are sources for PCI devices */
	struct xive *xive;             /* what irq_xive.c keeps */
};

/* Make it, in the VM's mode, before the first vCPU, with sources for PCI devices or without; a
 * reset follows. destroy also after a failure, or without. */
bool irqchip_create(struct irqchip *irqchip, struct kvm_vm *vm, uint32_t servers, bool devices,
    const struct kvm_xics_tokens *tokens, struct err *err);
void irqchip_destroy(struct irqchip *irqchip);

/* As it was made: nothing pending, nothing set up by the guest. All vCPUs are held. */
bool irqchip_reset(struct irqchip *irqchip, struct err *err);

/* A source of a device as it was made: masked, nothing pending. With the machine's lock held. */
bool irqchip_reset_source(struct irqchip *irqchip, uint32_t irq, struct err *err);

/* A kernel begins, perhaps by kexec: the sources of the platform as after a reset. */
bool irqchip_begin(struct irqchip *irqchip, struct err *err);

/* Send one edge on a source. One is remembered while the guest has the source masked. Negative
 * errno on failure: nothing has been sent. */
int irqchip_pulse(struct irqchip *irqchip, uint32_t irq);

/* Servers whose core leaves: nothing of them is used any more, whatever the guest has left set. */
void irqchip_detach(struct irqchip *irqchip, uint32_t first, uint32_t count);

/* Properties of the root node, and the controller's own node. */
void irqchip_write_root(const struct irqchip *irqchip, struct node_writer *w);
void irqchip_write_node(const struct irqchip *irqchip, struct node_writer *w);

#endif
