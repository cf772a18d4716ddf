/* SPDX-License-Identifier: Apache-2.0 */
/*
 * event.c - see event.h.
 *
 * A hot-plug event tells the guest to look at a connector. What to do there is decided when the
 * guest fetches the event, from what is then pending. So the queue is bounded by the number of
 * connectors, repeated requests coalesce, and no event is out of date when it is read.
 *
 * Every interrupt must find an event: Linux ignores check-exception's status, and on an interrupt
 * without an event it carries out its last event again. So each queued event has one interrupt, and
 * a queued event is never withdrawn. If nothing is pending any more it reads as an add, which a
 * guest that has the device, or finds it gone, refuses by itself.
 *
 * An interrupt can get lost: a kernel started by kexec takes it before it knows the source, and
 * drops it. So when a kernel begins, the sources are reset, and what is pending is queued and
 * announced again (events_announce). A repeated request interrupts again too, although the first
 * interrupt may still arrive. The surplus one finds a spare event: an add of connector 0, whose
 * device every guest has.
 */
#include "spapr/event.h"

#include <stdlib.h>
#include <string.h>

bool events_init(struct events *events, uint32_t connectors, struct news *news)
{
	events->news = news;
	events->fence = connectors;
	events->queue = calloc(connectors + 1, sizeof *events->queue);
	events->queued = calloc(connectors + 1, sizeof *events->queued);
	return events->queue != NULL && events->queued != NULL;
}

void events_finish(struct events *events)
{
	free(events->queue);
	free(events->queued);
}

static bool event_interrupt(struct events *events, uint32_t irq)
{
	int result = irqchip_pulse(events->irqchip, irq);

	if (result < 0)
		log_guest(
		    &events->limit, LOG_ERROR, "KVM refuses interrupt %#x: error %d", irq, -result);
	return result == 0;
}

void event_requeue(struct events *events, uint32_t connector)
{
	if (!events->queued[connector])
		events->queue[events->count++] = connector;
	events->queued[connector] = true;
}

void event_queue(struct events *events, uint32_t connector)
{
	bool announced = events->queued[connector] && !events->interrupt_owed;
	bool sent;

	event_requeue(events, connector);
	sent = event_interrupt(events, IRQ_HOTPLUG);
	/* One interrupt is enough for all that are queued: each fetch sends the next. */
	if (announced)
		events->spare = events->spare || sent;
	else
		events->interrupt_owed = !sent;
}

void event_queue_fence(struct events *events)
{
	event_queue(events, events->fence);
}

void event_queue_shutdown(struct events *events)
{
	/* A repeated request interrupts again. It needs no spare event: Linux would carry out the
	 * same shutdown again. */
	bool announced = events->shutdown_queued && !events->shutdown_owed;

	events->shutdown_queued = true;
	events->shutdown_owed = !event_interrupt(events, IRQ_EPOW) && !announced;
}

/* An interrupt that KVM has refused is sent again by the operator's thread: events_retry(). */
static void event_tell_owed(struct events *events)
{
	if (events->interrupt_owed || events->shutdown_owed)
		news_tell(events->news, SPAPR_NEWS_OPERATION);
}

void events_announce(struct events *events)
{
	events->spare = false;
	events->interrupt_owed = events->count > 0 && !event_interrupt(events, IRQ_HOTPLUG);
	events->shutdown_owed = events->shutdown_queued && !event_interrupt(events, IRQ_EPOW);
	event_tell_owed(events);
}

bool events_retry(struct events *events)
{
	if (events->interrupt_owed)
		events->interrupt_owed = !event_interrupt(events, IRQ_HOTPLUG);
	if (events->shutdown_owed)
		events->shutdown_owed = !event_interrupt(events, IRQ_EPOW);
	return events->interrupt_owed || events->shutdown_owed;
}

void events_reset(struct events *events)
{
	for (uint32_t i = 0; i < events->count; i++)
		events->queued[events->queue[i]] = false;
	events->count = 0;
	events->interrupt_owed = events->spare = false;
	events->shutdown_queued = events->shutdown_owed = false;
}

static uint32_t event_take_first(struct events *events)
{
	uint32_t first = events->queue[0];

	events->count--;
	memmove(events->queue, events->queue + 1, events->count * sizeof events->queue[0]);
	events->queued[first] = false;
	events->interrupt_owed = events->count > 0 && !event_interrupt(events, IRQ_HOTPLUG);
	event_tell_owed(events);
	return first;
}

enum event_kind event_fetch(struct events *events, uint32_t mask, uint32_t *ret_connector)
{
	enum event_kind kind = EVENT_HOTPLUG;

	if ((mask & EVENT_MASK_EPOW) != 0 && events->shutdown_queued) {
		events->shutdown_queued = events->shutdown_owed = false;
		kind = EVENT_SHUTDOWN;
	} else if ((mask & EVENT_MASK_HOTPLUG) != 0 && events->count > 0) {
		*ret_connector = event_take_first(events);
		events->fetched++;
		if (*ret_connector == events->fence)
			kind = EVENT_FENCE;
	} else if ((mask & EVENT_MASK_HOTPLUG) != 0 && events->spare) {
		events->spare = false;
		*ret_connector = 0;
	} else {
		return EVENT_NONE;
	}
	news_count(events->news, COUNT_EVENTS_FETCHED, 1);
	return kind;
}
