/* SPDX-License-Identifier: Apache-2.0 */
/*
 * event.h - the queue of events for the guest, and the interrupts that announce them (LoPAR,
 * "Error and Event Notification").
 *
 * The queue holds connectors by number, each at most once, and at most one fence (fence.h). Whether
 * an event is an add or a removal is decided when the guest fetches it. All functions are called
 * with the machine's lock held.
 */
#ifndef PAPRIKA_SPAPR_EVENT_H
#define PAPRIKA_SPAPR_EVENT_H

#include "base/log.h"
#include "spapr/irq.h"
#include "spapr/irqchip.h"
#include "spapr/news.h"

/* Event classes in check-exception's mask. */
#define EVENT_MASK_EPOW 0x40000000u
#define EVENT_MASK_HOTPLUG 0x10000000u

struct events {
	struct irqchip *irqchip;
	struct news *news;
	uint32_t *queue; /* connector numbers, or that of the fence; oldest first */
	bool *queued;    /* by number: it is in the queue */
	uint32_t count;
	uint32_t fence;      /* the number that stands for the fence: that of no connector */
	uint64_t fetched;    /* how many hot-plug events have been fetched */
	bool interrupt_owed; /* the queue is not empty, and KVM refused its interrupt */
	bool spare;          /* one surplus interrupt may arrive */
	/* A shutdown is queued; KVM refused its interrupt. */
	bool shutdown_queued, shutdown_owed;
	struct log_limit limit;
};

/* For so many connectors; false if memory is out. finish also after a failed init. */
bool events_init(struct events *events, uint32_t connectors, struct news *news);
void events_finish(struct events *events);

/* Queue an event for a connector and interrupt the guest, also if one is queued already. */
void event_queue(struct events *events, uint32_t connector);

/* Queue it without an interrupt: events_announce() follows. */
void event_requeue(struct events *events, uint32_t connector);

/* Queue the fence, which must not be queued, and interrupt the guest. */
void event_queue_fence(struct events *events);

/* Queue an EPOW event that asks for a shutdown. */
void event_queue_shutdown(struct events *events);

/* The sources have been reset for a kernel that begins: send one interrupt for each class that has
 * an event queued. */
void events_announce(struct events *events);

/* Send the interrupts that KVM has refused; true if it still refuses one. */
bool events_retry(struct events *events);

/* Forget all events. */
void events_reset(struct events *events);

/* Take the first event of the classes in mask. A hot-plug event is about *ret_connector. If more of
 * its class are queued, the guest is interrupted again. events->fetched counts up over hot-plug
 * events and fences: it tells which was fetched before which. */
enum event_kind { EVENT_NONE, EVENT_SHUTDOWN, EVENT_HOTPLUG, EVENT_FENCE };
enum event_kind event_fetch(struct events *events, uint32_t mask, uint32_t *ret_connector);

#endif
