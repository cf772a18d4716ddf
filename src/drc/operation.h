/* SPDX-License-Identifier: Apache-2.0 */
/*
 * operation.h - what was asked of a connector, how far it got, and how it ended.
 *
 * Every add and every removal is an operation with an id that is never used again. It is
 * pending until it ends in exactly one outcome, with the evidence for it. On its way it
 * passes steps. Each step is stored once, with its time and a mark that says whether it has been
 * reported; ops_next_report() returns the oldest step without the mark. So no report is lost, and
 * a guest that repeats its calls adds none.
 *
 * A deadline changes what is reported of an operation ("unresolved"), never its state: it stays
 * pending, and what the guest does later still counts.
 *
 * There is no clock, allocation or lock here: the caller provides time and lock.
 */
#ifndef PAPRIKA_OPERATION_H
#define PAPRIKA_OPERATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum op_kind {
	OP_ADD,    /* asked for by the operator */
	OP_REMOVE, /* asked for by the operator */
	/* Made by the guest, unasked. They end as they begin. Those of one kind on one connector
	 * are a single operation with a count. */
	OP_RELEASE, /* the guest gave a core back */
	OP_TAKE,    /* the guest took a core */
};

enum op_outcome { OP_PENDING, OP_DONE, OP_REJECTED, OP_SUPERSEDED, OP_CANCELLED };

enum op_step {
	OP_REQUESTED,
	OP_NOTIFIED,   /* the guest was told (again): an event is queued */
	OP_FETCHED,    /* the guest has read the event */
	OP_ALLOCATED,  /* the guest made the connector usable */
	OP_UNISOLATED, /* ... unisolated it */
	OP_CONFIGURED, /* ... read its description to the end */
	OP_STARTED,    /* ... and started a thread of the core */
	OP_ANSWERED,   /* of a PCI device: a tool in the guest has begun to work on the removal */
	OP_STOPPED,    /* the last running thread of the core called stop-self; the driver let go */
	OP_ISOLATED,   /* the guest isolated the connector */
	OP_RELEASED,   /* ... and made it unusable, or its driver let go of the device then */
	OP_UNRESOLVED, /* the deadline passed without an answer */
	OP_ENDED,
	OP_STEP_COUNT
};

/* What decided the outcome. */
enum op_source {
	OP_BY_NOBODY,   /* not ended */
	OP_BY_GUEST,    /* a guest call: the fields below name it */
	OP_BY_OPERATOR, /* a request of the operator, without the guest */
	OP_BY_RESET,    /* the machine was reset, or powered off */
	OP_BY_DRIVER,   /* the guest's driver: the registers of the device */
	OP_BY_FENCE,    /* the guest's answer to a fence (spapr/fence.h): vcpu made the call */
};

struct op_evidence {
	enum op_source source;
	const char *call;    /* RTAS service name; static string; NULL unless by guest */
	uint32_t indicator;  /* set-indicator: its token ... */
	uint32_t value;      /* ... and the value it was set to */
	uint32_t vcpu;       /* the vCPU that made the call */
	enum op_step phase;  /* the last step before the end */
	uint64_t elapsed_ms; /* from the request to the end */
	uint32_t drc_index;  /* the connector that decided */
	/* How much of the device the guest used at the end, and how much there is: of a core, its
	 * threads; of memory, its blocks. */
	uint32_t parts_used, parts;
	uint64_t
	    refused; /* requests of the guest's answered with an error, because it was forced */
	const char *inferred; /* a conclusion of the machine's, not a fact; static, or NULL */
};

/* What is known of the guest that has fetched the event of a pending operation. */
enum op_handling {
	OP_HANDLING_UNKNOWN,  /* not fetched, or no fence sent yet */
	OP_HANDLING_STILL,    /* it answers fences, but not yet the one behind this event */
	OP_HANDLING_NO_FENCE, /* it has not answered any fence */
	OP_HANDLING_OVER,     /* it has handled the event, and left the connector between states */
};

#define OP_DEVICE_MAX 64

struct operation {
	uint64_t id; /* 0: slot is free */
	enum op_kind kind;
	enum op_outcome outcome;
	uint32_t drc_index; /* of the first connector */
	const char *noun;   /* what kind of device: "core", "memory"; static */
	uint32_t unit;      /* which one of that kind: core-id, number of the first memory block */
	char device[OP_DEVICE_MAX];
	bool device_left;   /* at the end of this operation the device had left the machine */
	enum op_step phase; /* the last step passed, not counting UNRESOLVED and ENDED */
	uint32_t notifications;
	uint64_t times; /* RELEASE and TAKE: how often the guest has done it */
	bool unresolved;
	bool forced; /* REMOVE: the guest's requests are answered with an error since then */
	/* Of a copy for the operator, while it is pending: what the guest does with the event. */
	enum op_handling handling;
	const char *stuck;  /* what its device says of where it is; static; NULL: see its phase */
	uint64_t requests;  /* ... that the device has served since it was asked for */
	uint64_t in_flight; /* ... that it has begun and not answered */
	uint64_t behind;    /* the operation that the guest has not handled before this, or 0 */
	uint64_t asked_ms;  /* when it was last asked for; the deadline counts from here */
	struct {
		uint64_t order; /* 0: not passed; else counts up over all operations */
		uint64_t at_ms;
		bool reported;
	} steps[OP_STEP_COUNT];
	struct op_evidence evidence; /* complete once outcome != OP_PENDING */
};

struct ops {
	struct operation *slots;
	size_t count;
	uint64_t last_id;
	uint64_t last_order;
};

/* slots: the caller's array, zeroed; its size bounds how many ended operations are remembered. */
void ops_init(struct ops *ops, struct operation *slots, size_t count);

/*
 * Begin an operation at now_ms. If no slot is free, the oldest operation that has ended and been
 * reported gives up its slot; NULL if there is none. Guest-made operations get at most a quarter of
 * the slots, so that they cannot push out the operator's.
 */
struct op_subject {
	uint32_t drc_index;
	const char *noun;
	uint32_t unit;
	const char *device; /* its name */
};
struct operation *ops_begin(
    struct ops *ops, enum op_kind kind, const struct op_subject *subject, uint64_t now_ms);

/* The operation with this id, or NULL if there never was one or it is forgotten. */
struct operation *ops_find(struct ops *ops, uint64_t id);

/* The oldest operation that began after the one with this id (0: of all), or NULL. */
const struct operation *ops_after(const struct ops *ops, uint64_t id);

/* Note that op passed a step. A step passed before is not noted again, except NOTIFIED, which
 * counts. Returns whether there is something new to report. op may be NULL. */
bool op_pass(struct ops *ops, struct operation *op, enum op_step step, uint64_t now_ms);

/* The operator asked again: the deadline counts from now_ms. */
void op_ask_again(struct operation *op, uint64_t now_ms);

/* End a pending op; evidence->phase and ->elapsed_ms are filled in here. op may be NULL. */
void op_end(struct ops *ops, struct operation *op, enum op_outcome outcome,
    const struct op_evidence *evidence, uint64_t now_ms);

/*
 * Mark as unresolved what has been pending for deadline_ms since it was last asked for.
 * Returns the milliseconds until the next call is due, or -1 if none is.
 */
int64_t ops_check_deadline(struct ops *ops, uint64_t deadline_ms, uint64_t now_ms);

/* The machine was stopped for stood_ms: deadlines move by as much. For what was asked for meanwhile
 * the deadline counts from now_ms. */
void ops_stood_still(struct ops *ops, uint64_t stood_ms, uint64_t now_ms);

/*
 * The guest released or took something unasked: begin an operation that passes `step` and is done,
 * or count it in the last one of its kind on this connector. A repetition is reported by another
 * OP_ENDED. device_left: the device has left the machine with it.
 */
enum op_noted {
	OP_NOTED,        /* there is something new to report */
	OP_NOTED_MERGED, /* a report that is still due covers it */
	OP_NOT_NOTED,    /* no slot */
};
enum op_noted ops_note_guest(struct ops *ops, enum op_kind kind, const struct op_subject *subject,
    enum op_step step, bool device_left, const struct op_evidence *evidence, uint64_t now_ms);

/*
 * Find the oldest unreported step of all operations, copy its operation, and mark it reported.
 * Guest-made operations are skipped unless guest_made is true. False if there is no such step.
 */
bool ops_next_report(
    struct ops *ops, bool guest_made, struct operation *ret_op, enum op_step *ret_step);

/* The guest made it, unasked: OP_RELEASE or OP_TAKE. */
bool op_is_guest_made(enum op_kind kind);

/* The step is one of a removal, not of an add: OP_ANSWERED to OP_RELEASED. */
bool op_step_of_removal(enum op_step step);

/* Where a pending operation is stuck, for people: "event never fetched by the guest", ... */
#define OP_STUCK_MAX 320
const char *op_stuck_text(const struct operation *op, char ret_text[OP_STUCK_MAX]);

/* What the parts of a kind of device are called that evidence counts. */
struct op_parts {
	const char *noun; /* the kind of device */
	const char *text; /* for people: "threads running" */
	const char *used; /* in the protocol: "threads-running" */
	const char *all;  /* ... "threads" */
};
const struct op_parts *op_parts(const struct operation *op);

const char *op_kind_name(enum op_kind kind);
const char *op_outcome_name(enum op_outcome outcome);
const char *op_step_name(enum op_step step);
const char *op_source_name(enum op_source source);

/* May a device be called so: a letter, then letters, digits, '-', '.' and '_', shorter than
 * OP_DEVICE_MAX? */
bool op_is_device_name(const char *name);

#endif
