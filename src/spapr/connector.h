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

/* A description as ibm,configure-connector hands it out: a flattened tree with one node. */
#define CONNECTOR_NODE_MAX 4096

struct connector {
	const struct drc_type *type;
	struct device *device;
	uint32_t
	    number;  /* its index in the list of connectors, by which the event queue knows it */
	uint32_t id; /* unique in its type: ibm,drc-names has it */
	uint32_t drc_index;
	struct drc drc;
	unsigned awaited; /* device.c: which operations of its device wait for it */
	/* ibm,configure-connector */
	int node_offset; /* position of the walk; 0: before the first node */
	int node_depth;
	_Alignas(8) uint8_t node[CONNECTOR_NODE_MAX]; /* libfdt wants it aligned */
	/* The last guest calls, a ring. */
	struct spapr_guest_call history[SPAPR_HISTORY];
	uint64_t history_next;
};

struct connectors {
	struct events *events;
	struct connector *list; /* by ascending drc index */
	uint32_t count;
};

/* Room for so many; false if memory is out. finish also after a failed init. */
bool connectors_init(struct connectors *connectors, uint32_t room, struct events *events);
void connectors_finish(struct connectors *connectors);

/* Append one. Its drc index must be greater than those before. */
struct connector *connector_add(
    struct connectors *connectors, const struct drc_type *type, uint32_t id, struct device *device);

/* NULL if there is none with this index. */
struct connector *connector_find(struct connectors *connectors, uint32_t drc_index);

/* Apply an input. Of the effects only DRC_FX_REWIND and DRC_FX_NOTIFY are carried out here. */
struct drc_result connector_step(
    struct connectors *connectors, struct connector *connector, enum drc_input input);

/* Remember a call of the guest. */
void connector_note_call(struct connector *connector, uint64_t at_ms, uint32_t vcpu,
    enum drc_input input, enum rtas_status status);

/* The last calls, newest first, at most SPAPR_HISTORY; returns how many. */
uint32_t connector_history(const struct connector *connector, struct spapr_guest_call *ret_calls);

/* A kernel begins, perhaps by kexec: queue what is pending, and interrupt for all that is queued.
 */
void connectors_announce(struct connectors *connectors);

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

/* The next item of the description, into the area; *ret_used bytes of its data are used. */
enum configure_answer connector_walk(
    struct connector *connector, struct work_area *area, size_t *ret_used);

/* The next walk begins with the first node. */
void connector_rewind(struct connector *connector);

#endif
