/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device.h - what the operator adds and removes: a device with a name, one or more connectors, and
 * its pending operations.
 *
 * An operation spans all connectors of its device and counts them down. It is done when each of
 * them is done. If the guest refuses one of them the operation has been rejected, and the others
 * are brought back to where they were:
 *
 *  - a refused add takes back what the guest does not own yet, and asks for the rest back;
 *  - a refused or cancelled removal gives up asking for the rest, and attaches again what the
 *    guest has released already.
 *
 * The operation ends, with the evidence of the refusal, when the last connector has settled.
 *
 * A kind of device is a struct device_type: what it is called, its family of connector, and what
 * happens to its resources. All functions are called with the machine's lock held.
 */
#ifndef PAPRIKA_SPAPR_DEVICE_H
#define PAPRIKA_SPAPR_DEVICE_H

#include "spapr/connector.h"
#include "spapr/node.h"

/* A pending operation of a device; operation is 0 if there is none. */
struct device_request {
	uint64_t operation;
	uint32_t left;           /* connectors that have not settled */
	enum op_outcome outcome; /* OP_PENDING as long as nothing speaks against OP_DONE */
	struct op_evidence evidence;
};

struct device {
	const struct device_type *type;
	void *context; /* the type's own */
	uint32_t unit; /* which one of its type, as the operator counts them */
	struct connector *connectors;
	uint32_t count;
	char name[OP_DEVICE_MAX]; /* empty if it is not attached */
	struct device_request add, remove;
};

/* Hooks may be NULL unless it is said otherwise. */
struct device_type {
	const char *noun; /* what messages call it */
	const struct drc_type *connector;
	/* May it be added now? May it be removed? Called before anything is changed. */
	bool (*check_add)(const struct device *device, struct err *err);
	bool (*check_remove)(const struct device *device, struct err *err);
	/* Make what it needs. May fail; called before the operation begins. */
	bool (*attach)(struct device *device, struct err *err);
	/* Write the node of one connector. named: with a "name" property. Never NULL. */
	void (*describe)(const struct device *device, const struct connector *connector, bool named,
	    struct node_writer *writer);
	/* A connector is part of the machine now; it has left. Cannot fail. */
	void (*attached)(struct device *device, struct connector *connector);
	void (*detach)(struct device *device, struct connector *connector);
	/* The guest uses it: an add of a configured connector is done. */
	bool (*in_use)(const struct device *device, const struct connector *connector);
	/* Add to the evidence what the machine sees of the device. */
	void (*evidence)(const struct device *device, struct op_evidence *evidence);
	/* What the machine concludes from a refusal of op; static text, or NULL. */
	const char *(*infer)(const struct device *device, const struct connector *connector,
	    const struct operation *op);
};

struct devices {
	struct news *news;
	struct connectors *connectors;
	struct device *list;
	uint32_t count;
	struct ops ops;
	struct operation operations[SPAPR_OPERATIONS];
};

/* Room for so many; false if memory is out. finish also after a failed init. */
bool devices_init(
    struct devices *devices, uint32_t room, struct connectors *connectors, struct news *news);
void devices_finish(struct devices *devices);

/* A place for a device of this type, with count connectors of ids id, id + 1, ... */
struct device *device_create(struct devices *devices, const struct device_type *type, void *context,
    uint32_t unit, uint32_t id, uint32_t count);

/* Part of the machine at its first boot: made, and configured in its device tree. */
bool device_boot(struct device *device, const char *name, struct err *err);

/* The device of this name, or NULL. */
struct device *device_find(struct devices *devices, const char *name);

/* The operator's requests: spapr_core_add(), spapr_core_remove(), spapr_operation_cancel(). */
bool device_add(struct devices *devices, struct device *device, const char *name,
    uint64_t *ret_operation, struct err *err);
bool device_remove(
    struct devices *devices, const char *name, uint64_t *ret_operation, struct err *err);
bool device_cancel(struct devices *devices, uint64_t operation, struct err *err);

/* A guest's input on a connector; by says which call it was. Before DRC_IN_START the device has to
 * be in use (device_type.in_use). Returns the RTAS status. */
enum rtas_status device_guest_input(struct devices *devices, struct connector *connector,
    enum drc_input input, const struct op_evidence *by);

/* The pending operation that the step belongs to passes it. */
void device_pass(struct devices *devices, const struct device *device, enum op_step step);

/* The guest has read the event of this connector; true if it is to be a removal. */
bool device_event_fetched(struct devices *devices, const struct connector *connector);

/* Reset: settle every connector; what is pending ends as superseded. */
void devices_reset(struct devices *devices);

#endif
