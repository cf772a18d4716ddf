/* SPDX-License-Identifier: Apache-2.0 */
/* device_fence.c - see device_fence.h. */
#include "spapr/device_fence.h"

#include "spapr/device_parts.h"

/* A fence without an answer is replaced after this time, if another request needs one: it may be
 * lost, or the guest may be at work on something before it. */
#define FENCE_LOST_MS 10000

/* The guest has read the connector's event, and no fence has come behind it. (For a physical
 * connector a tool in the guest acts, some time after the kernel has handled the event: a fence
 * proves nothing.) */
static bool fence_covers_not(const struct devices *devices, const struct connector *connector)
{
	return !connector->type->physical && device_has_heard(devices, connector) &&
	       connector->fetched > devices->fence->proven;
}

/* When a fence is due behind this connector's event; UINT64_MAX: it needs none. */
static uint64_t fence_due_ms(const struct devices *devices, const struct connector *connector)
{
	const struct fence *fence = devices->fence;
	uint64_t due_ms = connector->fence_due_ms;

	if (!fence_covers_not(devices, connector) || fence->state == FENCE_QUEUED)
		return UINT64_MAX;
	if (fence->state == FENCE_FETCHED) {
		if (connector->fetched < fence->fetched)
			return UINT64_MAX; /* it is on its way */
		if (due_ms < fence->fetched_ms + FENCE_LOST_MS)
			due_ms = fence->fetched_ms + FENCE_LOST_MS;
	}
	return due_ms;
}

static uint64_t fence_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

int64_t devices_check_fence(struct devices *devices, uint64_t now_ms)
{
	uint64_t due_ms = UINT64_MAX;

	for (uint32_t i = 0; i < devices->count; i++) {
		const struct device *device = &devices->list[i];

		if (!device_is_asked(device))
			continue;
		for (uint32_t c = 0; c < device->count; c++)
			due_ms = fence_min(due_ms, fence_due_ms(devices, &device->connectors[c]));
	}
	if (due_ms > now_ms)
		return due_ms == UINT64_MAX ? -1 : (int64_t)(due_ms - now_ms);
	fence_send(devices->fence);
	return -1;
}

/* The guest has handled the connector's event to the end. */
static void fence_prove(
    struct devices *devices, struct connector *connector, const struct op_evidence *by)
{
	bool isolated = connector->drc.state == DRC_AVAILABLE;

	device_apply(devices, connector, DRC_IN_FENCE, by);
	/* A refused removal has brought it back to configured: so its add has ended, too. */
	if (isolated && connector->drc.adding && connector->drc.state == DRC_CONFIGURED &&
	    device_has_heard(devices, connector))
		device_apply(devices, connector, DRC_IN_FENCE, by);
}

void devices_fence_answered(struct devices *devices, uint32_t vcpu)
{
	const struct op_evidence by = {
	    .source = OP_BY_FENCE, .call = "get-sensor-state", .vcpu = vcpu};

	for (uint32_t i = 0; i < devices->count; i++) {
		const struct device *device = &devices->list[i];

		if (!device_is_asked(device))
			continue;
		/* What an end queues for other connectors of the device is not judged: they are
		 * not fetched. */
		for (uint32_t c = 0; c < device->count; c++) {
			struct connector *connector = &device->connectors[c];

			if (device_has_heard(devices, connector) &&
			    connector->fetched < devices->fence->proven)
				fence_prove(devices, connector, &by);
		}
	}
	/* Another may be due. */
	news_tell(devices->news, SPAPR_NEWS_OPERATION);
}

/* Of all that is pending, the connector whose event the guest fetched first, of those that no fence
 * covers. NULL if there is none. */
static const struct connector *fence_first_uncovered(const struct devices *devices)
{
	const struct connector *first = NULL;

	for (uint32_t i = 0; i < devices->count; i++) {
		const struct device *device = &devices->list[i];

		if (!device_is_asked(device))
			continue;
		for (uint32_t c = 0; c < device->count; c++) {
			const struct connector *connector = &device->connectors[c];

			if (fence_covers_not(devices, connector) &&
			    (first == NULL || connector->fetched < first->fetched))
				first = connector;
		}
	}
	return first;
}

/* The first connector that the operation waits for. */
static const struct connector *fence_awaited(
    const struct device *device, const struct operation *op)
{
	unsigned awaited = op->kind == OP_ADD ? AWAITED_BY_ADD : AWAITED_BY_REMOVE;

	for (uint32_t c = 0; c < device->count; c++)
		if ((device->connectors[c].awaited & awaited) != 0)
			return &device->connectors[c];
	return NULL;
}

void device_look_into(struct devices *devices, struct operation *copy)
{
	const struct fence *fence = devices->fence;
	const struct device *device;
	const struct connector *connector, *first;

	if (copy->outcome != OP_PENDING)
		return;
	device = device_of_operation(devices, copy);
	if (device->type->look != NULL) {
		device->type->look(device, copy);
		return;
	}
	connector = fence_awaited(device, copy);
	if (connector == NULL || !device_has_heard(devices, connector))
		return;
	if (connector->fetched < fence->proven)
		copy->handling = OP_HANDLING_OVER;
	else if (fence->state == FENCE_FETCHED && connector->fetched < fence->fetched)
		copy->handling = fence->answers ? OP_HANDLING_STILL : OP_HANDLING_NO_FENCE;
	first = fence_first_uncovered(devices);
	if (first != NULL && first->device != device && first->fetched < connector->fetched)
		copy->behind = first->device->remove.operation != 0
		                   ? first->device->remove.operation
		                   : first->device->add.operation;
}
