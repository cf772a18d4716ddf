/* SPDX-License-Identifier: Apache-2.0 */
/* connector.c - see connector.h. */
#include "spapr/connector.h"

#include <libfdt.h>
#include <stdlib.h>
#include <string.h>

bool connectors_init(struct connectors *connectors, uint32_t room, struct events *events)
{
	connectors->events = events;
	connectors->list = calloc(room, sizeof *connectors->list);
	return connectors->list != NULL;
}

void connectors_finish(struct connectors *connectors)
{
	free(connectors->list);
}

struct connector *connector_add(
    struct connectors *connectors, const struct drc_type *type, uint32_t id, struct device *device)
{
	struct connector *connector = &connectors->list[connectors->count];

	/* Field by field: the rest is zero already, and writing it would make its pages resident.
	 */
	connector->type = type;
	connector->device = device;
	connector->number = connectors->count++;
	connector->id = id;
	connector->drc_index = drc_index(type, id);
	return connector;
}

struct connector *connector_find(struct connectors *connectors, uint32_t index)
{
	uint32_t from = 0, to = connectors->count;

	while (from < to) {
		uint32_t middle = from + (to - from) / 2;
		struct connector *connector = &connectors->list[middle];

		if (connector->drc_index == index)
			return connector;
		if (connector->drc_index < index)
			from = middle + 1;
		else
			to = middle;
	}
	return NULL;
}

void connector_rewind(struct connector *connector)
{
	connector->node_offset = connector->node_depth = 0;
}

struct drc_result connector_step(
    struct connectors *connectors, struct connector *connector, enum drc_input input)
{
	struct drc_result result = drc_step(connector->type, &connector->drc, input);

	if (result.effects & DRC_FX_REWIND)
		connector_rewind(connector);
	if (result.effects & DRC_FX_NOTIFY)
		event_queue(connectors->events, connector->number);
	return result;
}

void connector_note_call(struct connector *connector, uint64_t at_ms, uint32_t vcpu,
    enum drc_input input, enum rtas_status status)
{
	connector->history[connector->history_next++ % SPAPR_HISTORY] =
	    (struct spapr_guest_call){at_ms, vcpu, input, status};
}

uint32_t connector_history(const struct connector *connector, struct spapr_guest_call *ret_calls)
{
	uint32_t count = 0;

	for (; count < SPAPR_HISTORY && count < connector->history_next; count++)
		ret_calls[count] =
		    connector->history[(connector->history_next - 1 - count) % SPAPR_HISTORY];
	return count;
}

void connectors_announce(struct connectors *connectors)
{
	/* An event that the previous kernel has fetched, and not answered, may have gone with it.
	 */
	for (uint32_t i = 0; i < connectors->count; i++)
		if (connectors->list[i].drc.adding || connectors->list[i].drc.removing)
			event_requeue(connectors->events, i);
	events_announce(connectors->events);
}

/* Put a name, and behind it a value; returns the bytes used. They fit: a whole description, its FDT
 * header included, is no longer than the work area. */
static size_t connector_put_item(
    struct work_area *area, const char *name, const void *value, size_t length)
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

enum configure_answer connector_walk(
    struct connector *connector, struct work_area *area, size_t *ret_used)
{
	if (connector->node_depth == 0)
		connector_rewind(connector);
	for (;;) {
		int next, length = 0;
		int at = connector->node_offset;
		uint32_t tag = fdt_next_tag(connector->node, at, &next);
		const char *name;
		const void *value;

		connector->node_offset = next;
		switch (tag) {
		case FDT_BEGIN_NODE:
			/* Depth 0 is the unnamed root around the node. */
			if (connector->node_depth++ == 0)
				continue;
			name = fdt_get_name(connector->node, at, &length);
			*ret_used = connector_put_item(area, name ? name : "", NULL, 0);
			return CONFIGURE_CHILD;
		case FDT_PROP:
			value = fdt_getprop_by_offset(connector->node, at, &name, &length);
			if (value == NULL)
				continue;
			*ret_used = connector_put_item(area, name, value, (size_t)length);
			return CONFIGURE_PROPERTY;
		case FDT_END_NODE:
			/* The end of the top node is the end of the walk. */
			if (--connector->node_depth == 1)
				return CONFIGURE_COMPLETE;
			return CONFIGURE_PARENT;
		case FDT_NOP: continue;
		default: return CONFIGURE_COMPLETE;
		}
	}
}
