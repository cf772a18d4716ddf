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

void connectors_add_range(struct connectors *connectors, const struct drc_type *type,
    uint32_t first_id, uint32_t step, uint32_t count)
{
	connectors->ranges[connectors->range_count++] =
	    (struct connector_range){type, first_id, step, count, connectors->count};
	connectors->count += count;
}

/* The place of the connector with this index, or NULL. */
static struct connector *connector_place(
    struct connectors *connectors, uint32_t index, const struct drc_type **ret_type)
{
	for (uint32_t i = 0; i < connectors->range_count; i++) {
		const struct connector_range *range = &connectors->ranges[i];
		uint32_t first = drc_index(range->type, range->first_id);
		uint32_t number = (index - first) / range->step;

		if (index < first || (index - first) % range->step != 0 || number >= range->count)
			continue;
		*ret_type = range->type;
		return &connectors->list[range->first_number + number];
	}
	return NULL;
}

struct connector *connector_claim(
    struct connectors *connectors, const struct drc_type *type, uint32_t id, struct device *device)
{
	struct connector *connector = connector_place(connectors, drc_index(type, id), &type);

	*connector = (struct connector){.type = type,
	    .device = device,
	    .number = (uint32_t)(connector - connectors->list),
	    .id = id,
	    .drc_index = drc_index(type, id)};
	return connector;
}

void connector_disclaim(struct connector *connector)
{
	*connector = (struct connector){0};
}

struct connector *connector_find(struct connectors *connectors, uint32_t index)
{
	const struct drc_type *type;
	struct connector *connector = connector_place(connectors, index, &type);

	return connector != NULL && connector->type != NULL ? connector : NULL;
}

uint32_t connector_index(
    const struct connectors *connectors, uint32_t number, const struct drc_type **ret_type)
{
	const struct connector_range *range = connectors->ranges;

	while (number - range->first_number >= range->count)
		range++;
	*ret_type = range->type;
	return drc_index(range->type, connector_range_id(range, number - range->first_number));
}

bool connector_sense(struct connectors *connectors, uint32_t index, enum drc_sense *ret_sense)
{
	const struct drc_type *type = NULL;
	const struct connector *connector = connector_place(connectors, index, &type);

	if (connector != NULL)
		*ret_sense = type->sense(&connector->drc);
	return connector != NULL;
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
	if (result.effects & DRC_FX_NOTIFY && !connector->without_events)
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
    struct connector *connector, const uint8_t *node, struct work_area *area, size_t *ret_used)
{
	if (connector->node_depth == 0)
		connector_rewind(connector);
	for (;;) {
		int next, length = 0;
		int at = connector->node_offset;
		uint32_t tag = fdt_next_tag(node, at, &next);
		const char *name;
		const void *value;

		connector->node_offset = next;
		switch (tag) {
		case FDT_BEGIN_NODE:
			/* Depth 0 is the unnamed root around the node. */
			if (connector->node_depth++ == 0)
				continue;
			name = fdt_get_name(node, at, &length);
			*ret_used = connector_put_item(area, name ? name : "", NULL, 0);
			return CONFIGURE_CHILD;
		case FDT_PROP:
			value = fdt_getprop_by_offset(node, at, &name, &length);
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
