/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtas_dr.c - the RTAS side of dynamic reconfiguration (LoPAR chapter "Dynamic
 * Reconfiguration (DR) Architecture"): the guest's
 * set-indicator, get-sensor-state and ibm,configure-connector become inputs to a connector.
 */
#include <libfdt.h>
#include <string.h>

#include "base/be.h"
#include "spapr/machine.h"
#include "spapr/rtas.h"

enum { INDICATOR_ISOLATION = 9001, INDICATOR_ALLOCATION = 9003 };
enum { SENSOR_EPOW = 9, SENSOR_ENTITY_SENSE = 9003 };

/* What an indicator value means to the connector. */
static const struct {
	uint32_t indicator, value;
	enum drc_input input;
} indicator_inputs[] = {
    {INDICATOR_ISOLATION, 0, DRC_IN_ISOLATE},
    {INDICATOR_ISOLATION, 1, DRC_IN_UNISOLATE},
    {INDICATOR_ALLOCATION, 0, DRC_IN_UNUSABLE},
    {INDICATOR_ALLOCATION, 1, DRC_IN_USABLE},
};

/* set-indicator: indicator, index, value. Others than a connector's (Linux tries the operator
 * panel's at boot) do not exist here. */
enum rtas_status rtas_set_indicator(struct rtas_call *call)
{
	struct core *core = core_find(call->machine, call->args[1]);
	struct op_evidence by = {.source = OP_BY_GUEST,
	    .call = "set-indicator",
	    .indicator = call->args[0],
	    .value = call->args[2],
	    .vcpu = call->vcpu->id};

	for (size_t i = 0; i < sizeof indicator_inputs / sizeof indicator_inputs[0]; i++)
		if (core != NULL && indicator_inputs[i].indicator == call->args[0] &&
		    indicator_inputs[i].value == call->args[2])
			return core_guest_input(
			    call->machine, core, indicator_inputs[i].input, call->vcpu, &by);
	return RTAS_PARAMETER_ERROR;
}

/* get-sensor-state: sensor, index -> state. */
enum rtas_status rtas_get_sensor_state(struct rtas_call *call)
{
	const struct core *core;

	/* Linux asks for the power sensor in its EPOW handler; 0 is "nothing urgent". */
	if (call->args[0] == SENSOR_EPOW && call->args[1] == 0)
		return RTAS_SUCCESS;
	core = core_find(call->machine, call->args[1]);
	if (call->args[0] != SENSOR_ENTITY_SENSE || core == NULL)
		return RTAS_PARAMETER_ERROR;
	call->outputs[0] = (uint32_t)core->type->sense(&core->drc);
	return RTAS_SUCCESS;
}

/* --- ibm,configure-connector --------------------------------------------------------------
 *
 * The second argument, another page or 0, is for nodes that do not fit one work area (answer 5);
 * ours do, so it is not looked at. The work area (4096 bytes): word 0 the drc index, word 1 zero on
 * the first call of a walk and from then on ours, words 2 to 4 what we found: offset of the name,
 * length and offset of the value; names and values from byte 20 on. The guest keeps the area
 * between calls, the walk itself is kept in the core.
 */
enum { WORK_AREA_BYTES = 4096, WORK_DATA = 20 };

enum configure_answer {
	CONFIGURE_COMPLETE = 0,
	CONFIGURE_CHILD = 2, /* also announces the first node: nothing may precede it */
	CONFIGURE_PROPERTY = 3,
	CONFIGURE_PARENT = 4,
};

struct work_area {
	struct be32 index, walking;
	/* Written as a whole from `walking` on. */
	struct be32 name_offset, value_length, value_offset;
	uint8_t data[WORK_AREA_BYTES - WORK_DATA];
};

/* Put a name, and behind it a value; returns the bytes used. Our own fit: a whole core's node,
 * its FDT header included, is no longer than the work area. */
static size_t put_item(struct work_area *area, const char *name, const void *value, size_t length)
{
	size_t name_bytes = strlen(name) + 1;

	if (name_bytes + length > sizeof area->data)
		return 0;
	memcpy(area->data, name, name_bytes);
	if (length > 0)
		memcpy(area->data + name_bytes, value, length);
	area->name_offset = be32(WORK_DATA);
	area->value_length = be32((uint32_t)length);
	area->value_offset = be32((uint32_t)(WORK_DATA + name_bytes));
	return name_bytes + length;
}

/* One step of the walk through core->node: the next tag the guest is told about. */
static enum configure_answer walk(struct core *core, struct work_area *area, size_t *ret_used)
{
	for (;;) {
		int next, length = 0;
		int at = core->node_offset;
		uint32_t tag = fdt_next_tag(core->node, at, &next);
		const char *name;
		const void *value;

		core->node_offset = next;
		switch (tag) {
		case FDT_BEGIN_NODE:
			/* Depth 0 is the unnamed root around the node. */
			if (core->node_depth++ == 0)
				continue;
			name = fdt_get_name(core->node, at, &length);
			*ret_used = put_item(area, name ? name : "", NULL, 0);
			return CONFIGURE_CHILD;
		case FDT_PROP:
			value = fdt_getprop_by_offset(core->node, at, &name, &length);
			if (value == NULL)
				continue;
			*ret_used = put_item(area, name, value, (size_t)length);
			return CONFIGURE_PROPERTY;
		case FDT_END_NODE:
			/* The end of the top node is the end of the walk. */
			if (--core->node_depth == 1)
				return CONFIGURE_COMPLETE;
			return CONFIGURE_PARENT;
		case FDT_NOP: continue;
		default: return CONFIGURE_COMPLETE;
		}
	}
}

enum rtas_status rtas_configure_connector(struct rtas_call *call)
{
	struct spapr *machine = call->machine;
	struct work_area area;
	struct op_evidence by = {
	    .source = OP_BY_GUEST, .call = "ibm,configure-connector", .vcpu = call->vcpu->id};
	struct core *core;
	enum rtas_status status;
	enum configure_answer answer;
	size_t used = 0;

	if (!gmem_contains(&machine->gmem, call->args[0], sizeof area) ||
	    !gmem_read(&machine->gmem, call->args[0], &area, WORK_DATA))
		return RTAS_PARAMETER_ERROR;
	core = core_find(machine, from_be32(area.index));
	if (core == NULL)
		return RTAS_PARAMETER_ERROR;
	status = core_guest_input(machine, core, DRC_IN_CONFIGURE, call->vcpu, &by);
	if (status != RTAS_SUCCESS)
		return status;
	if (from_be32(area.walking) == 0 || core->node_depth == 0)
		core->node_offset = core->node_depth = 0;
	answer = walk(core, &area, &used);
	area.walking = be32(1);
	if (!gmem_write(&machine->gmem, call->args[0] + offsetof(struct work_area, walking),
	        &area.walking, WORK_DATA - offsetof(struct work_area, walking) + used))
		return RTAS_PARAMETER_ERROR;
	if (answer == CONFIGURE_COMPLETE)
		return core_guest_input(machine, core, DRC_IN_CONFIGURE_END, call->vcpu, &by);
	return (enum rtas_status)answer;
}
