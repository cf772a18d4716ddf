/* SPDX-License-Identifier: Apache-2.0 */
/*
 * irq_xive.c - see irq_xive.h.
 *
 * There are two kinds of sources. Those for interrupts between processors, one for each server, and
 * those of PCI devices have pages that the guest loads from and stores to; KVM and the hardware do
 * the rest. Those of the platform have none: the guest manages them by H_INT_ESB, so their state
 * bits are here. A source drops what is sent to it while it is masked, and a guest with pages
 * unmasks it unseen. So it would miss what happens before it knows the source, and could not be
 * told when to look.
 *
 * The bits: 00 ready, 10 an interrupt is on its way or being handled, 11 the same and another one
 * has come, 01 off. An edge that cannot be sent is owed, and sent as soon as the guest has aimed
 * the source and switched it on. If the guest leaves 11 for something else it takes over the first
 * interrupt; the other is owed. Each edge finds an event (event.c), and no interrupt comes without.
 *
 * What is aimed at a queue that is not set makes KVM print a warning. So queues are known here, and
 * nothing is asked of KVM that it would refuse.
 */
#include "spapr/irq_xive.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "spapr/irq.h"

enum { PQ_READY = 0, PQ_OFF = 1, PQ_PENDING = 2, PQ_QUEUED = 3 };

/* Offsets in the page that manages a source. */
enum {
	ESB_END = 0x000, /* load: end of interrupt */
	ESB_STORE_END = 0x400,
	ESB_GET = 0x800,
	ESB_SET = 0xc00, /* and 0xd00, 0xe00, 0xf00: set the bits to 00, 01, 10, 11 */
	ESB_FUNCTION = 0xf00,
	ESB_SET_SHIFT = 8,
};

struct xive_queue {
	bool set;      /* sources may be aimed at it */
	bool held;     /* KVM may have one; without `set`: a call has failed, perhaps half way */
	uint32_t aims; /* since the machine was made: KVM does not count down */
};

struct xive {
	struct kvm_vm *vm;
	uint32_t servers;
	pthread_mutex_t lock;
	/* Under lock. */
	struct xive_queue *queues;   /* KVM_XIVE_PRIORITIES for each server */
	struct xive_source *between; /* sources 0 .. servers-1 */
	struct xive_source *devices; /* from IRQ_DEVICES on; NULL: there are none */
	struct xive_source platform[IRQ_COUNT];
};

bool xive_by_call(uint64_t number)
{
	return number >= IRQ_FIRST && number - IRQ_FIRST < IRQ_COUNT;
}

/* NULL: there is no such source. */
static struct xive_source *xive_find(struct xive *xive, uint64_t number)
{
	if (number < xive->servers)
		return &xive->between[number];
	if (number >= IRQ_FIRST && number - IRQ_FIRST < IRQ_COUNT)
		return &xive->platform[number - IRQ_FIRST];
	if (xive->devices != NULL && number >= IRQ_DEVICES &&
	    number - IRQ_DEVICES < IRQ_DEVICES_ALL)
		return &xive->devices[number - IRQ_DEVICES];
	return NULL;
}

static struct xive_queue *xive_queue(struct xive *xive, uint32_t server, uint32_t priority)
{
	return &xive->queues[server * KVM_XIVE_PRIORITIES + priority];
}

/* --- Made, and reset ---------------------------------------------------------------------------
 */

static bool xive_reset_one(struct xive *xive, uint32_t irq, struct err *err)
{
	*xive_find(xive, irq) =
	    (struct xive_source){.number = irq, .priority = XIVE_NEVER, .pq = PQ_OFF};
	return kvm_irq_reset(xive->vm, irq, 0, err);
}

static bool xive_reset_platform(struct xive *xive, struct err *err)
{
	bool done = true;

	for (uint32_t i = 0; done && i < IRQ_COUNT; i++)
		done = xive_reset_one(xive, IRQ_FIRST + i, err);
	return done;
}

static bool xive_reset_source(struct irqchip *irqchip, uint32_t irq, struct err *err)
{
	bool done;

	pthread_mutex_lock(&irqchip->xive->lock);
	done = xive_reset_one(irqchip->xive, irq, err);
	pthread_mutex_unlock(&irqchip->xive->lock);
	return done;
}

/* Those of devices that the guest has aimed somewhere. The others are as they were made. */
static bool xive_reset_devices(struct xive *xive, struct err *err)
{
	bool done = true;

	for (uint32_t i = 0; done && xive->devices != NULL && i < IRQ_DEVICES_ALL; i++)
		if (xive->devices[i].aimed || xive->devices[i].priority != XIVE_NEVER)
			done = xive_reset_one(xive, IRQ_DEVICES + i, err);
	return done;
}

static bool xive_reset(struct irqchip *irqchip, struct err *err)
{
	struct xive *xive = irqchip->xive;
	bool done;

	pthread_mutex_lock(&xive->lock);
	/* The queues first: they are in memory that is about to be cleared. */
	done = kvm_irqchip_reset(xive->vm, err);
	for (uint32_t i = 0; done && i < xive->servers * KVM_XIVE_PRIORITIES; i++)
		xive->queues[i].set = xive->queues[i].held = false;
	for (uint32_t irq = 0; done && irq < xive->servers; irq++)
		done = xive_reset_one(xive, irq, err);
	done = done && xive_reset_platform(xive, err) && xive_reset_devices(xive, err);
	pthread_mutex_unlock(&xive->lock);
	return done;
}

static bool xive_begin(struct irqchip *irqchip, struct err *err)
{
	bool done;

	pthread_mutex_lock(&irqchip->xive->lock);
	done = xive_reset_platform(irqchip->xive, err);
	pthread_mutex_unlock(&irqchip->xive->lock);
	return done;
}

static void xive_destroy(struct irqchip *irqchip)
{
	struct xive *xive = irqchip->xive;

	if (xive == NULL)
		return;
	pthread_mutex_destroy(&xive->lock);
	free(xive->queues);
	free(xive->between);
	free(xive->devices);
	free(xive);
	irqchip->xive = NULL;
}

static bool xive_create(struct irqchip *irqchip, struct err *err)
{
	struct xive *xive = irqchip->xive = calloc(1, sizeof *xive);

	if (xive == NULL)
		return err_system(err, ENOMEM, NULL, "cannot create the interrupt controller");
	pthread_mutex_init(&xive->lock, NULL);
	xive->vm = irqchip->vm;
	xive->servers = irqchip->servers;
	xive->queues = calloc((size_t)xive->servers * KVM_XIVE_PRIORITIES, sizeof *xive->queues);
	xive->between = calloc(xive->servers, sizeof *xive->between);
	if (irqchip->devices)
		xive->devices = calloc(IRQ_DEVICES_ALL, sizeof *xive->devices);
	for (uint32_t i = 0; xive->devices != NULL && i < IRQ_DEVICES_ALL; i++)
		xive->devices[i] = (struct xive_source){
		    .number = IRQ_DEVICES + i, .priority = XIVE_NEVER, .pq = PQ_OFF};
	if (xive->queues == NULL || xive->between == NULL ||
	    (irqchip->devices && xive->devices == NULL))
		return err_system(err, ENOMEM, NULL, "cannot create the interrupt controller");
	/* This takes an interrupt of the host's for each source, and it may have too few. */
	return xive_reset(irqchip, err);
}

/* --- Sources of the platform -------------------------------------------------------------------
 */

/* Send what is owed, if the guest lets it through. */
static int xive_send_owed(struct xive *xive, struct xive_source *source)
{
	uint32_t irq = IRQ_FIRST + (uint32_t)(source - xive->platform);
	int result;

	if (!source->owed || source->pq == PQ_OFF)
		return 0;
	if (source->pq == PQ_READY) {
		if (source->masked || source->priority == XIVE_NEVER)
			return 0;
		result = kvm_irq_pulse(xive->vm, irq);
		if (result < 0)
			return result;
	}
	source->pq = source->pq == PQ_READY ? PQ_PENDING : PQ_QUEUED;
	source->owed = false;
	return 0;
}

static int xive_pulse(struct irqchip *irqchip, uint32_t irq)
{
	struct xive *xive = irqchip->xive;
	struct xive_source *source = xive_by_call(irq) ? xive_find(xive, irq) : NULL;
	int result;

	if (source == NULL)
		return -EINVAL;
	pthread_mutex_lock(&xive->lock);
	source->owed = true;
	result = xive_send_owed(xive, source);
	/* Then it is the caller's, who will try again. */
	if (result < 0)
		source->owed = false;
	pthread_mutex_unlock(&xive->lock);
	return result;
}

static uint64_t xive_end_interrupt(struct xive *xive, struct xive_source *source)
{
	uint64_t another = source->pq == PQ_QUEUED;

	if (source->pq == PQ_OFF)
		return 0;
	source->pq = PQ_READY;
	source->owed = source->owed || another;
	xive_send_owed(xive, source);
	return another;
}

static uint64_t xive_set_bits(struct xive *xive, struct xive_source *source, uint8_t pq)
{
	uint64_t old = source->pq;

	source->pq = pq;
	if (old == PQ_QUEUED && pq != PQ_QUEUED)
		source->owed = true;
	xive_send_owed(xive, source);
	return old;
}

uint64_t xive_load(struct xive *xive, uint32_t irq, uint64_t offset)
{
	uint32_t function = (uint32_t)offset & ESB_FUNCTION;
	struct xive_source *source = xive_find(xive, irq);
	uint64_t value = UINT64_MAX;

	/* What else there is has no meaning. */
	if (function != ESB_END && function != ESB_GET && function < ESB_SET)
		return value;
	if (!xive_by_call(irq))
		return kvm_xive_load(xive->vm, irq, function);
	pthread_mutex_lock(&xive->lock);
	if (function == ESB_END)
		value = xive_end_interrupt(xive, source);
	else if (function == ESB_GET)
		value = source->pq;
	else
		value =
		    xive_set_bits(xive, source, (uint8_t)((function - ESB_SET) >> ESB_SET_SHIFT));
	pthread_mutex_unlock(&xive->lock);
	return value;
}

void xive_store(struct xive *xive, uint32_t irq, uint64_t offset)
{
	if (!xive_by_call(irq) || (offset & ESB_FUNCTION) != ESB_STORE_END)
		return;
	pthread_mutex_lock(&xive->lock);
	xive_end_interrupt(xive, xive_find(xive, irq));
	pthread_mutex_unlock(&xive->lock);
}

/* --- All sources, and queues -------------------------------------------------------------------
 */

bool xive_look(struct xive *xive, uint64_t number, struct xive_source *ret_source)
{
	const struct xive_source *source = xive_find(xive, number);

	if (source == NULL)
		return false;
	pthread_mutex_lock(&xive->lock);
	*ret_source = *source;
	pthread_mutex_unlock(&xive->lock);
	return true;
}

/* Make KVM's idea of the source that of the guest. */
static enum xive_result xive_tell_kvm(
    struct xive *xive, uint32_t irq, struct xive_source *source, bool masked)
{
	const struct kvm_xive_target target = {
	    .server = source->server, .priority = source->priority, .number = source->number};
	struct xive_queue *queue = xive_queue(xive, source->server, source->priority);

	if (masked) {
		if (source->aimed && kvm_xive_mask(xive->vm, irq, &source->target) < 0)
			return XIVE_REFUSED;
		source->aimed = false;
		return XIVE_DONE;
	}
	if (source->aimed && source->target.server == target.server &&
	    source->target.priority == target.priority && source->target.number == target.number)
		return XIVE_DONE;
	if (queue->aims >= KVM_XIVE_AIMS)
		return XIVE_FULL;
	queue->aims++;
	if (kvm_xive_aim(xive->vm, irq, &target) < 0)
		return XIVE_REFUSED;
	source->target = target;
	source->aimed = true;
	return XIVE_DONE;
}

enum xive_result xive_aim(
    struct xive *xive, uint32_t irq, const struct kvm_xive_target *target, bool masked)
{
	struct xive_source *source = xive_find(xive, irq);
	struct xive_source before;
	enum xive_result result = XIVE_NO_QUEUE;

	pthread_mutex_lock(&xive->lock);
	before = *source;
	if (xive_queue(xive, target->server, target->priority)->set) {
		source->server = target->server;
		source->priority = (uint8_t)target->priority;
		source->number = target->number;
		source->masked = masked;
		result = xive_tell_kvm(xive, irq, source, masked);
	}
	if (result != XIVE_DONE)
		*source = before;
	else if (xive_by_call(irq))
		xive_send_owed(xive, source);
	pthread_mutex_unlock(&xive->lock);
	return result;
}

/* KVM's part is left: a guest that takes a processor out and in again aims the same source at the
 * same queue. If it were aimed anew each time, KVM's count would fill up. */
void xive_aim_nowhere(struct xive *xive, uint32_t irq)
{
	pthread_mutex_lock(&xive->lock);
	xive_find(xive, irq)->priority = XIVE_NEVER;
	pthread_mutex_unlock(&xive->lock);
}

bool xive_sync(struct xive *xive, uint32_t irq)
{
	return kvm_xive_sync(xive->vm, irq) == 0;
}

static enum xive_result xive_set_queue_locked(
    struct xive *xive, uint32_t server, uint32_t priority, const uint64_t *address)
{
	struct xive_queue *queue = xive_queue(xive, server, priority);

	if (address == NULL && !queue->held)
		return XIVE_DONE;
	queue->set = false;
	queue->held = true;
	if (kvm_xive_set_queue(xive->vm, server, priority, address) < 0)
		return XIVE_REFUSED;
	queue->set = queue->held = address != NULL;
	return XIVE_DONE;
}

enum xive_result xive_set_queue(
    struct xive *xive, uint32_t server, uint32_t priority, const uint64_t *address)
{
	enum xive_result result;

	pthread_mutex_lock(&xive->lock);
	result = xive_set_queue_locked(xive, server, priority, address);
	pthread_mutex_unlock(&xive->lock);
	return result;
}

bool xive_has_queue(struct xive *xive, uint32_t server, uint32_t priority)
{
	bool set;

	pthread_mutex_lock(&xive->lock);
	set = xive_queue(xive, server, priority)->set;
	pthread_mutex_unlock(&xive->lock);
	return set;
}

static bool xive_forget_queues(struct xive *xive, uint32_t first, uint32_t count)
{
	bool done = true;

	for (uint32_t server = first; server < first + count; server++)
		for (uint32_t priority = 0; priority < KVM_XIVE_PRIORITIES; priority++)
			done = xive_set_queue_locked(xive, server, priority, NULL) == XIVE_DONE &&
			       done;
	return done;
}

/* Sources that the guest still has aimed at servers which leave, and the queues there. The state of
 * a source of the platform stays: what is owed is sent when the guest aims it elsewhere. */
static void xive_detach(struct irqchip *irqchip, uint32_t first, uint32_t count)
{
	struct xive *xive = irqchip->xive;

	pthread_mutex_lock(&xive->lock);
	for (uint32_t irq = 0; irq < IRQ_DEVICES + IRQ_DEVICES_ALL; irq++) {
		struct xive_source *source = xive_find(xive, irq);

		if (source == NULL || source->priority == XIVE_NEVER ||
		    source->server - first >= count)
			continue;
		xive_tell_kvm(xive, irq, source, true);
		source->priority = XIVE_NEVER;
	}
	xive_forget_queues(xive, first, count);
	pthread_mutex_unlock(&xive->lock);
}

/* What the guest has not got yet is still owed to it. */
static bool xive_forget_platform(struct xive *xive, uint32_t irq, struct err *err)
{
	struct xive_source *source = xive_find(xive, irq);
	bool owed = source->owed || source->pq == PQ_QUEUED;
	bool done = xive_reset_one(xive, irq, err);

	source->owed = owed;
	return done;
}

/* Not KVM's own reset: it takes interrupts away that a vCPU in the guest may be about to use. */
bool xive_forget(struct xive *xive)
{
	struct err err = {0};
	bool done = true;

	pthread_mutex_lock(&xive->lock);
	for (uint32_t irq = 0; irq < xive->servers; irq++)
		if (xive->between[irq].aimed || xive->between[irq].priority != XIVE_NEVER)
			done = xive_reset_one(xive, irq, &err) && done;
	for (uint32_t i = 0; i < IRQ_COUNT; i++)
		done = xive_forget_platform(xive, IRQ_FIRST + i, &err) && done;
	done = xive_reset_devices(xive, &err) && done;
	done = xive_forget_queues(xive, 0, xive->servers) && done;
	pthread_mutex_unlock(&xive->lock);
	return done;
}

/* --- The device tree ---------------------------------------------------------------------------
 */

static void xive_write_root(const struct irqchip *irqchip, struct node_writer *w)
{
	/* Priorities that the guest has not got: the first, and how many. It takes the highest
	 * left. */
	NODE_CELLS(w, "ibm,plat-res-int-priorities", KVM_XIVE_PRIORITIES,
	    XIVE_NEVER - KVM_XIVE_PRIORITIES);
}

static void xive_write_node(const struct irqchip *irqchip, struct node_writer *w)
{
	const uint64_t user = XIVE_TIMA_ADDRESS + XIVE_TIMA_USER_PAGE * XIVE_PAGE_BYTES;
	const uint64_t os = XIVE_TIMA_ADDRESS + XIVE_TIMA_OS_PAGE * XIVE_PAGE_BYTES;
	char unit[48];

	snprintf(unit, sizeof unit, "interrupt-controller@%llx", (unsigned long long)user);
	node_begin(w, unit);
	node_text(w, "device_type", "power-ivpe");
	node_text(w, "compatible", "ibm,power-ivpe");
	node_flag(w, "interrupt-controller");
	node_cell(w, "#interrupt-cells", 2);
	NODE_CELLS(w, "reg", (uint32_t)(user >> 32), (uint32_t)user, 0, XIVE_PAGE_BYTES,
	    (uint32_t)(os >> 32), (uint32_t)os, 0, XIVE_PAGE_BYTES);
	/* log2 of the sizes a queue can have. A guest with small pages would take a small one. */
	node_cell(w, "ibm,xive-eq-sizes", 16);
	/* What the guest may use between its processors. */
	NODE_CELLS(w, "ibm,xive-lisn-ranges", 0, irqchip->servers);
	node_cell(w, "phandle", 1);
	node_end(w);
}

const struct irqchip_ops irqchip_xive = {
    .create = xive_create,
    .destroy = xive_destroy,
    .detach = xive_detach,
    .write_root = xive_write_root,
    .reset = xive_reset,
    .reset_source = xive_reset_source,
    .begin = xive_begin,
    .pulse = xive_pulse,
    .write_node = xive_write_node,
};
