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
 * An end that the guest does not report is proven by a fence (device_fence.h).
 *
 * A kind of device is a struct device_type: what it is called, its family of connector, and what
 * happens to its resources. All functions are called with the machine's lock held.
 */
#ifndef PAPRIKA_SPAPR_DEVICE_H
#define PAPRIKA_SPAPR_DEVICE_H

#include "spapr/connector.h"
#include "spapr/fence.h"
#include "spapr/node.h"

/* A pending operation of a device; operation is 0 if there is none. */
struct device_request {
	uint64_t operation;
	uint32_t left;           /* connectors that have not settled */
	enum op_outcome outcome; /* OP_PENDING as long as nothing speaks against OP_DONE */
	unsigned forced;         /* how often the operator has forced it */
	struct op_evidence evidence;
};

struct device {
	const struct device_type *type; /* NULL: a free place */
	void *context;                  /* the type's own */
	uint32_t unit;                  /* which one of its type, as the operator counts them */
	struct connector *connectors;
	uint32_t count;
	uint32_t attached;        /* connectors that are */
	uint32_t leaving;         /* connectors whose resources wait for device_type.release */
	char name[OP_DEVICE_MAX]; /* empty if it is not attached */
	bool held;                /* device_type.held, when the driver was looked at last */
	struct device_request add, remove;
};

/* Hooks may be NULL unless it is said otherwise. */
struct device_type {
	const char *noun; /* what messages and the operator's protocol call it */
	const struct drc_type *connector;
	bool made_on_demand; /* its place is free again when it has left */
	/* A removal asks for the next connector, from the last to the first, when the one before
	 * has been released: what follows a refusal has not been asked for. */
	bool one_by_one;
	/* May it be added now? May it be removed? Called before anything is changed. */
	bool (*check_add)(const struct device *device, struct err *err);
	bool (*check_remove)(const struct device *device, struct err *err);
	/* Make what it needs. May fail; called before the operation begins. */
	bool (*attach)(struct device *device, struct err *err);
	/* After a reset, offer it by an event: it is not in the device tree. */
	bool (*by_event)(const struct device *device);
	/* Write the node of one connector. named: with a "name" property. Never NULL. */
	void (*describe)(const struct device *device, const struct connector *connector, bool named,
	    struct node_writer *writer);
	/* A connector is part of the machine now; it has left. Cannot fail. */
	void (*attached)(struct device *device, struct connector *connector);
	void (*detach)(struct device *device, struct connector *connector);
	/* Take away the resources of a detached connector: in the operator's thread, when no part
	 * of the device is asked for any more, and before the operation ends. Cannot fail. */
	void (*release)(struct device *device, struct connector *connector);
	/* The guest uses it: an add of a configured connector is done. */
	bool (*in_use)(const struct device *device, const struct connector *connector);
	/* A driver of the guest's holds it: an isolated connector waits until it has let go. */
	bool (*held)(const struct device *device);
	/* Put it out of the guest's reach, unless a driver holds it: then false, and nothing has
	 * changed. Between a look at `held` and this, a vCPU could start it. */
	bool (*take)(struct device *device);
	/* The operator forces its removal: answer the guest's requests with an error. Or serve them
	 * again, if the removal has ended and the device is still there. NULL: it cannot be forced.
	 */
	void (*force)(struct device *device, bool forced);
	/* It has been taken away by force, without that the guest has given its connector back. */
	void (*taken_away)(struct device *device);
	/* A connector is in another state. */
	void (*changed)(struct device *device, struct connector *connector);
	/* Tell the guest of what is pending on the connector, one without events. */
	void (*notify)(struct device *device, const struct connector *connector);
	/* The guest has read an event of the connector, from now on it may act on it. */
	void (*fetched)(struct device *device);
	/* Of a copy of a pending operation: where it is, in the words of this type. */
	void (*look)(const struct device *device, struct operation *copy);
	/* Add to the evidence what the machine sees of the device. */
	void (*evidence)(const struct device *device, struct op_evidence *evidence);
	/* What the machine concludes from a refusal of op, or from an end that the fence proves;
	 * static text, or NULL. */
	const char *(*infer)(const struct device *device, const struct connector *connector,
	    const struct operation *op, enum op_source source);
};

struct devices {
	struct news *news;
	struct connectors *connectors;
	struct fence *fence;
	struct device *list;
	uint32_t room;
	uint32_t count;   /* those behind have never been used */
	uint32_t leaving; /* devices with connectors that do */
	struct ops ops;
	struct operation operations[SPAPR_OPERATIONS];
};

/* Room for so many; false if memory is out. finish also after a failed init. */
bool devices_init(struct devices *devices, uint32_t room, struct connectors *connectors,
    struct fence *fence, struct news *news);
void devices_finish(struct devices *devices);

/* A place for a device of this type, with count connectors from that of this id on: they are
 * neighbours in a range of the type. NULL if there is no place. */
struct device *device_create(struct devices *devices, const struct device_type *type, void *context,
    uint32_t unit, uint32_t id, uint32_t count);

/* Part of the machine at its first boot: made, and configured in its device tree. */
bool device_boot(struct devices *devices, struct device *device, const char *name, struct err *err);

/* Write what ibm,configure-connector hands out of a connector into connectors->node. */
bool device_describe(
    struct connectors *connectors, const struct connector *connector, struct err *err);

/* The device that is attached under this name, or NULL. */
struct device *device_find(struct devices *devices, const char *name);

/* The operator's requests: spapr_core_add(), spapr_device_remove(), spapr_device_force(),
 * spapr_operation_cancel(). */
bool device_add(struct devices *devices, struct device *device, const char *name,
    uint64_t *ret_operation, struct err *err);
bool device_remove(
    struct devices *devices, const char *name, uint64_t *ret_operation, struct err *err);
bool device_force(
    struct devices *devices, const char *name, uint64_t *ret_operation, struct err *err);
bool device_cancel(struct devices *devices, uint64_t operation, struct err *err);

/* A guest's input on a connector; by says which call it was. Before DRC_IN_START the device has to
 * be in use (device_type.in_use). Returns the RTAS status. */
enum rtas_status device_guest_input(struct devices *devices, struct connector *connector,
    enum drc_input input, const struct op_evidence *by);

/* A driver may have started a device, or let go of one. */
void devices_look_at_drivers(struct devices *devices);

/* The pending operation that the step belongs to passes it. */
void device_pass(struct devices *devices, const struct device *device, enum op_step step);

/* The guest has read the event of the connector with this number; true if it is to be a removal.
 */
bool device_event_fetched(struct devices *devices, uint32_t number);

/* The guest has read the event of what is pending on this connector. */
bool device_has_heard(const struct devices *devices, const struct connector *connector);

/* A kernel begins, perhaps by kexec: queue what is pending, and interrupt for all that is queued.
 */
void devices_announce(struct devices *devices);

/* Release the resources of what has left. The operator's thread. */
void devices_release(struct devices *devices);

/* Reset: settle every connector; what is pending ends as superseded. What is attached is in the new
 * device tree, or is offered by an event later: devices_offer(). */
void devices_reset(struct devices *devices);
void devices_offer(struct devices *devices);

/* The device of a pending operation. */
struct device *device_of_operation(struct devices *devices, const struct operation *op);

/* Make a place that was made on demand, and whose device is not attached, free. */
void device_destroy(struct device *device);

#endif
