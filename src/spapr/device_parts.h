/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device_parts.h - what the files that carry out an addition or a removal share: device.c,
 * device_request.c, device_fence.c.
 */
#ifndef PAPRIKA_SPAPR_DEVICE_PARTS_H
#define PAPRIKA_SPAPR_DEVICE_PARTS_H

#include "spapr/device.h"

/* Bits of connector.awaited. The last: the pending removal awaited it, and has got it. */
enum { AWAITED_BY_ADD = 1, AWAITED_BY_REMOVE = 2, RELEASED_FOR_REMOVE = 4 };

extern const struct op_evidence by_operator;

/* How long the guest has to answer an event before a fence is sent behind it. */
#define FENCE_DELAY_MS 1000

/* It is part of the machine, or its resources are. */
static inline bool device_is_here(const struct device *device)
{
	return device->attached > 0 || device->leaving > 0;
}

/* A request of the operator is pending. */
static inline bool device_is_asked(const struct device *device)
{
	return device->add.operation != 0 || device->remove.operation != 0;
}

/* Make what the device needs. May fail. Then undo it. */
bool device_make(struct devices *devices, struct device *device, struct err *err);
void device_unmake(struct device *device);

/* The request waits for this connector. */
void device_await(struct device_request *request, struct connector *connector, unsigned awaited);

/* The pending removal asks for what it awaits; true if the guest is notified. */
bool device_ask(struct devices *devices, struct device *device);

/* A connector has settled for a request: AWAITED_BY_ADD or AWAITED_BY_REMOVE. */
void device_settle(struct devices *devices, struct connector *connector, unsigned awaited,
    enum op_outcome outcome, const struct op_evidence *by);

/* The pending removal of its device awaits the connector, and has not asked for it yet. */
static inline bool device_asks_later(const struct device *device, const struct connector *connector)
{
	return device->type->one_by_one && device->remove.outcome == OP_PENDING &&
	       connector->drc.attached && !connector->drc.removing &&
	       (connector->awaited & AWAITED_BY_REMOVE) != 0;
}

/* Apply an input, of any party, and carry out what follows from it. */
struct drc_result device_apply(struct devices *devices, struct connector *connector,
    enum drc_input input, const struct op_evidence *by);

#endif
