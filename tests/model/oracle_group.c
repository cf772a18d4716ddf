/* SPDX-License-Identifier: Apache-2.0 */
/*
 * oracle_group.c - what holds of a device of several connectors, whose resources are released
 * later: its operations are never stuck, end once, and leave all or nothing.
 *
 * What a move leads to is foretold for the connector that it is about, not for its neighbours.
 */
#include <string.h>

#include "oracle.h"

static void check_request(const struct device *device, const struct device_request *request,
    unsigned awaited, const char *which)
{
	uint32_t left = 0;

	for (uint32_t i = 0; i < device->count; i++) {
		const struct connector *connector = &device->connectors[i];

		if ((connector->awaited & awaited) == 0)
			continue;
		left++;
		if (!connector->drc.adding && !connector->drc.removing)
			broken("the %s waits for block %u for ever", which, connector->number);
	}
	if (request->left != left)
		broken("the %s waits for %u connectors, and has to for %u", which, request->left,
		    left);
	if (request->operation == 0 && left != 0)
		broken("connectors are awaited, and no %s is pending", which);
	if (request->operation != 0 && left == 0 && device->leaving == 0)
		broken("the %s waits for nothing", which);
}

void oracle_check_device(const struct device *device)
{
	uint32_t attached = 0, leaving = 0;

	for (uint32_t i = 0; i < device->count; i++) {
		const struct connector *connector = &device->connectors[i];
		bool here = connector->drc.attached || connector->leaving;

		if (connector->drc.attached && connector->leaving)
			broken("block %u is attached and leaving", connector->number);
		if (world.ghost.present[connector->number] != here)
			broken("block %u: its resources are %s", connector->number,
			    here ? "gone" : "left behind");
		attached += connector->drc.attached;
		leaving += connector->leaving;
		if (!drc_valid(&connector->drc))
			broken("block %u is in no state the standard knows", connector->number);
	}
	if (device->attached != attached || device->leaving != leaving)
		broken("the device has counted its connectors wrongly");
	if ((device->name[0] != '\0') != (attached + leaving > 0))
		broken("the name of the device does not say whether it is there");
	if (leaving > 0 && (world.machine->news.bits & SPAPR_NEWS_OPERATION) == 0)
		broken("something has left, and the operator was not told");
	check_request(device, &device->add, 1, "add");
	check_request(device, &device->remove, 2, "removal");
}

/* What the operator is told at the end is how it is. */
static void check_end(const struct operation *op)
{
	const struct device *device =
	    connector_find(&world.machine->connectors, op->drc_index)->device;
	uint32_t attached = device->attached;

	/* Of two that end at once, one tells. */
	if (op->device_left && attached != 0)
		broken("operation %llu: whether the device has left is told wrongly",
		    (unsigned long long)op->id);
	if (op->outcome == OP_DONE && op->kind == OP_REMOVE && attached != 0)
		broken("operation %llu: the removal is done, and the device is there",
		    (unsigned long long)op->id);
	/* Not all of it: the guest can have released a block since its part was done. */
	if (op->outcome == OP_DONE && op->kind == OP_ADD && attached == 0)
		broken("operation %llu: the add is done, and the device is not there",
		    (unsigned long long)op->id);
	if (op->evidence.source == OP_BY_NOBODY)
		broken("operation %llu ends without evidence", (unsigned long long)op->id);
}

void oracle_check_group(const struct prediction *want, const struct view *before,
    const struct view *after, struct move move, const struct answer *answer)
{
	bool calls = move.kind == GUEST_INDICATOR || move.kind == GUEST_CONFIGURE_FIRST;

	if (calls && answer->status != want->status && answer->status != want->status_too)
		broken("status %d, and has to be %d", answer->status, want->status);
	if (calls && after->cores[move.core].drc.state != want->cores[move.core].state)
		broken("block %u is %s, and has to be %s", move.core,
		    drc_state_name(&drc_type_cpu, after->cores[move.core].drc.state),
		    drc_state_name(&drc_type_cpu, want->cores[move.core].state));
	for (size_t i = 0; i < WORLD_SLOTS; i++) {
		const struct operation *op = &after->operations[i];
		const struct operation *old = oracle_find(before, op->id);

		if (op->id == 0 || op_is_guest_made(op->kind))
			continue;
		if (old != NULL && old->outcome != OP_PENDING && old->outcome != op->outcome)
			broken("operation %llu ends twice", (unsigned long long)op->id);
		if (op->outcome != OP_PENDING && (old == NULL || old->outcome == OP_PENDING))
			check_end(op);
	}
}
