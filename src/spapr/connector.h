/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connector.h - the machine's connectors: the state of each, its place in the event queue, the
 * ibm,configure-connector walk through its description, and the guest's last calls on it.
 *
 * A connector is what the guest sees of a device. What is plugged in, and what was asked for, is in
 * device.h. All functions are called with the machine's lock held.
 */
#ifndef PAPRIKA_SPAPR_CONNECTOR_H
#define PAPRIKA_SPAPR_CONNECTOR_H

#include "base/be.h"
#include "drc/drc.h"
#include "spapr/event.h"

struct connector {
	const struct drc_type *type; /* NULL, as all else: no device has it */
	struct device *device;
	uint32_t
	    number;  /* its index in the list of connectors, by which the event queue knows it */
	uint32_t id; /* unique in its type: ibm,drc-names has it */
	uint32_t drc_index;
	struct drc drc;
	bool without_events;   /* the guest is told in another way: device_type.notify */
	unsigned awaited;      /* device.c: which operations of its device wait for it */
	bool leaving;          /* device.c: detached, but its resources are still there */
	uint64_t fetched;      /* the place of its last event among all fetched; 0: none */
	uint64_t fence_due_ms; /* when a fence is to be sent behind it */
	/* ibm,configure-connector */
	int node_offset; /* position of the walk; 0: before the first node */
	int node_depth;
	/* The last guest calls, a ring. */
	struct spapr_guest_call history[SPAPR_HISTORY];
	uint64_t history_next;
};

/* Connectors of one type, with the ids first_id, first_id + step, ... */
struct connector_range {
	const struct drc_type *type;
	uint32_t first_id, step, count;
	uint32_t first_number;
};

/* The id of the n-th connector of a range. */
static inline uint32_t connector_range_id(const struct connector_range *range, uint32_t n)
{
	return range->first_id + n * range->step;
}

/* A description as ibm,configure-connector hands it out: a flattened tree with one node. */
#define CONNECTOR_NODE_MAX 4096

#define CONNECTOR_RANGES_MAX 4

struct connectors {
	struct events *events;
	/* All ranges, one behind the other. What no device has yet is zero and untouched: a machine
	 * can have room for thousands of memory blocks. */
	struct connector *list;
	uint32_t count;
	struct connector_range ranges[CONNECTOR_RANGES_MAX];
	uint32_t range_count;
	/* The description that was read last, and its connector; NULL: none. */
	_Alignas(8) uint8_t node[CONNECTOR_NODE_MAX]; /* libfdt wants it aligned */
	const struct connector *node_of;
};

/* Room for so many; false if memory is out. finish also after a failed init. */
bool connectors_init(struct connectors *connectors, uint32_t room, struct events *events);
void connectors_finish(struct connectors *connectors);

/* Append a range; there is room for it. */
void connectors_add_range(struct connectors *connectors, const struct drc_type *type,
    uint32_t first_id, uint32_t step, uint32_t count);

/* Give a device the connector with this id, which must be in a range of the type. */
struct connector *connector_claim(
    struct connectors *connectors, const struct drc_type *type, uint32_t id, struct device *device);

/* The device has gone: as if it had never been. */
void connector_disclaim(struct connector *connector);

/* NULL if no device has one with this index. */
struct connector *connector_find(struct connectors *connectors, uint32_t drc_index);

/* The drc index and the type of the connector with this number, whether or not a device has it. */
uint32_t connector_index(
    const struct connectors *connectors, uint32_t number, const struct drc_type **ret_type);

/* What dr-entity-sense says of a connector (LoPAR 13.5.3.3); false if there is none. */
bool connector_sense(struct connectors *connectors, uint32_t drc_index, enum drc_sense *ret_sense);

/* Apply an input. Of the effects only DRC_FX_REWIND and DRC_FX_NOTIFY are carried out here. */
struct drc_result connector_step(
    struct connectors *connectors, struct connector *connector, enum drc_input input);

/* Remember a call of the guest. */
void connector_note_call(struct connector *connector, uint64_t at_ms, uint32_t vcpu,
    enum drc_input input, enum rtas_status status);

/* The last calls, newest first, at most SPAPR_HISTORY; returns how many. */
uint32_t connector_history(const struct connector *connector, struct spapr_guest_call *ret_calls);

/*
 * ibm,configure-connector's work area (LoPAR 13.5.3.5). The second argument of the call, another
 * page or 0, is for nodes that do not fit one work area; no node here is so long. The guest keeps
 * the area between calls; the position of the walk is kept in the connector.
 */
enum { WORK_AREA_BYTES = 4096, WORK_DATA = 20 };

struct work_area {
	struct be32 index,
	    walking; /* walking: zero on the first call of a walk, set here afterwards */
	/* Written as a whole from `walking` on. Offsets are from the start of the area. */
	struct be32 name_offset, value_length, value_offset;
	uint8_t data[WORK_AREA_BYTES - WORK_DATA];
};

enum configure_answer {
	CONFIGURE_COMPLETE = 0,
	CONFIGURE_CHILD = 2, /* announces the first node too: nothing may precede it */
	CONFIGURE_PROPERTY = 3,
	CONFIGURE_PARENT = 4,
};

/* The next item of the description `node`, into the area; *ret_used bytes of its data are used. */
enum configure_answer connector_walk(
    struct connector *connector, const uint8_t *node, struct work_area *area, size_t *ret_used);

/* The next walk begins with the first node. */
void connector_rewind(struct connector *connector);

#endif
