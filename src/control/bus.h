/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus.h - events on their way to clients, in the order in which they happened.
 *
 * vmm.c and bus_report() publish an event when it happens. The control socket takes what has
 * been published at the end of each turn of the loop, and after each reply: so the events that a
 * request has caused follow its reply. One turn publishes a bounded number of events (vmm.c), so
 * the queue is bounded.
 *
 * Loop thread only.
 */
#ifndef PAPRIKA_BUS_H
#define PAPRIKA_BUS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "drc/operation.h"

/* All zero: no events, no listeners. */
struct bus {
	/* Clients who get events, and those of them who get ours. What nobody gets is not made. */
	unsigned listeners, subscribers;
	json_t *queue; /* an array, or NULL: empty */
	bool lost;     /* memory was out for an event */
};

void bus_finish(struct bus *bus);

/* Publish an event of the table in bus.c. data is stolen: an object, empty if the event has none;
 * NULL if memory is out. */
void bus_publish(struct bus *bus, const char *name, json_t *data);

/* Publish one step of an operation: OPERATION, and QMP's own event where it has one
 * (DEVICE_DELETED, DEVICE_UNPLUG_GUEST_ERROR). */
void bus_report(struct bus *bus, const struct operation *operation, enum op_step step);

/* The array of events published since the last call, owned by the caller; NULL if there are none.
 * *ret_lost: there were more, for which there was no memory. */
json_t *bus_take(struct bus *bus, bool *ret_lost);

/* Leave of an event what QMP's documentation says of it; false if QMP has no such event. Allocates
 * nothing. */
bool bus_reduce(json_t *event);

/* The events for query-schema; NULL if memory is out. */
json_t *bus_schema(void);

#endif
