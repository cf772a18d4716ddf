/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drc.h - one dynamic-reconfiguration connector (DRC): the slot that a CPU core, a block of memory
 * or a PCI device is plugged into (LoPAR chapter 13, "Dynamic
 * Reconfiguration (DR) Architecture"; the state diagram is in 13.4).
 *
 * Two parties that do not trust each other share a connector. The operator attaches something, or
 * asks for it back. The guest allocates, unisolates, configures, isolates and frees it through
 * RTAS, in any order. drc_step() takes one input of either party. It returns the RTAS status (or
 * the operator's refusal), the effects the machine has to carry out, the step that a pending
 * operation passes, and how pending operations end. It is a pure function over a table: no clock,
 * no memory, no I/O. Each family of connector has its table; struct drc_type names it.
 * tests/unit/test_drc.c enumerates every state and input.
 *
 * What is pending is part of the state. A pending request is ended by the guest (release, or
 * UNISOLATE as refusal), by a reset, or by the operator (cancel, or removing what the guest has
 * not taken yet). Time never ends one.
 */
#ifndef PAPRIKA_DRC_H
#define PAPRIKA_DRC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "operation.h"

/* RTAS status words (LoPAR, RTAS status word values); never mixed with errno. */
enum rtas_status {
	RTAS_SUCCESS = 0,
	RTAS_NO_ERRORS_FOUND = 1, /* check-exception, event-scan: nothing to report */
	RTAS_HARDWARE_ERROR = -1,
	RTAS_PARAMETER_ERROR = -3, /* also "no such indicator / sensor" */
	RTAS_NOT_AUTHORIZED = -9002,
	RTAS_BAD_PARAMETER_BUFFER = -9999, /* ibm,get-system-parameter */
	RTAS_NOT_CONFIGURABLE = -9003,     /* ibm,configure-connector in the wrong state */
};

/* The states of a connector. The order is that of a guest taking it. Of a physical connector: the
 * guest does not own it if it is isolated; AVAILABLE is isolated, too, but a driver of the guest's
 * still uses the device. */
enum drc_state {
	DRC_UNUSABLE,   /* the guest does not own it */
	DRC_AVAILABLE,  /* allocated to the guest, isolated */
	DRC_UNISOLATED, /* the guest may read its description */
	DRC_CONFIGURED, /* the guest has read its description to the end */
	DRC_STATE_COUNT
};

enum drc_input {
	/* set-indicator isolation-state (9001) and allocation-state (9003) */
	DRC_IN_ISOLATE,
	DRC_IN_UNISOLATE,
	DRC_IN_UNUSABLE,
	DRC_IN_USABLE,
	/* ibm,configure-connector: a call, and the call that reads the last item */
	DRC_IN_CONFIGURE,
	DRC_IN_CONFIGURE_END,
	/* ... the first call of a walk, after the guest has read the event of a pending removal */
	DRC_IN_RECONFIGURE,
	/* the guest uses it: of a core, start-cpu for one of its threads */
	DRC_IN_START,
	/* the guest has finished handling the event of the pending request (spapr/fence.h) */
	DRC_IN_FENCE,
	/* the operator */
	DRC_IN_ATTACH,
	DRC_IN_REMOVE,
	DRC_IN_CANCEL_ADD,
	DRC_IN_CANCEL_REMOVE,
	/* the machine starts again */
	DRC_IN_RESET,       /* ... with what is attached in its device tree */
	DRC_IN_RESET_OFFER, /* ... without: it is offered by an event */
	DRC_INPUT_LOGICAL,  /* logical connectors know those above */

	/* dr-indicator (9002): a tool in the guest begins to work on a request, or stops */
	DRC_IN_TOOL_BEGINS = DRC_INPUT_LOGICAL,
	DRC_IN_TOOL_STOPS,
	/* isolation-state: isolate, while a driver of the guest's uses the device */
	DRC_IN_ISOLATE_USED,
	/* the guest's driver has let go of the device */
	DRC_IN_LET_GO,
	/* the operator forces the removal, and no driver of the guest's uses the device */
	DRC_IN_TAKE_AWAY,
	DRC_INPUT_COUNT
};

/* What the operator's inputs can be refused with; the state is then unchanged. */
enum drc_refusal {
	DRC_ACCEPTED = 0,
	DRC_OCCUPIED,   /* attach: something is attached already */
	DRC_EMPTY,      /* remove: nothing is attached */
	DRC_NOTHING,    /* cancel: no such request is pending */
	DRC_GUEST_OWNS, /* cancel of an add: the guest has taken it; remove it instead */
};

/* Effects for the machine to carry out, a bit each. */
enum drc_effect {
	DRC_FX_NOTIFY = 1u << 0, /* queue a hot-plug event for this connector */
	DRC_FX_REWIND = 1u << 1, /* the next ibm,configure-connector starts from the first node */
	DRC_FX_ATTACH = 1u << 2, /* what was attached is now part of the machine */
	DRC_FX_DETACH = 1u << 3, /* what was attached leaves the machine */
	DRC_FX_GIVEN = 1u << 4,  /* the guest released it unasked; it stays attached */
	DRC_FX_TAKEN = 1u << 5,  /* the guest took it unasked */
	DRC_FX_FENCE = 1u << 6,  /* nothing but a fence will tell how this ends */
};

/* Indicators of set-indicator that concern a connector (LoPAR 13.5.3.4). */
enum drc_indicator {
	DRC_ISOLATION_STATE = 9001,
	DRC_DR_INDICATOR = 9002,
	DRC_ALLOCATION_STATE = 9003,
};

/* Values of get-sensor-state dr-entity-sense (9003), as LoPAR defines them. */
enum drc_sense { DRC_SENSE_EMPTY = 0, DRC_SENSE_PRESENT = 1, DRC_SENSE_UNUSABLE = 2 };

struct drc {
	enum drc_state state;
	bool attached; /* something is plugged in */
	bool adding;   /* an add by the operator has not ended */
	bool removing; /* a removal by the operator has not ended */
	/*
	 * While removing: the guest has isolated it since the request, from this state; an
	 * UNISOLATE now takes the isolation back and is a refusal. DRC_UNUSABLE: it has not.
	 */
	enum drc_state isolated_from;
	bool answered; /* while removing: a tool in the guest has begun to work on it */
};

struct drc_result {
	enum rtas_status status;  /* the answer to a guest's input */
	enum drc_refusal refusal; /* the answer to an operator's input */
	unsigned effects;         /* DRC_FX_... */
	enum op_step step;        /* the pending operation passes it; OP_REQUESTED: none */
	/* How the pending add and the pending removal end; OP_PENDING: they do not. */
	enum op_outcome add, remove;
};

/*
 * A family's transition table. A row applies to its states and input if all conditions in `when`
 * hold; the first that applies decides.
 */
enum drc_condition {
	DRC_IF_ATTACHED = 1u << 0,
	DRC_IF_ADDING = 1u << 1,
	DRC_IF_REMOVING = 1u << 2,
	DRC_IF_ISOLATED_SINCE = 1u << 3, /* isolated_from is set */
	DRC_IF_ANSWERED = 1u << 4,
};

enum drc_next {
	DRC_TO_UNUSABLE = DRC_UNUSABLE,
	DRC_TO_AVAILABLE = DRC_AVAILABLE,
	DRC_TO_UNISOLATED = DRC_UNISOLATED,
	DRC_TO_CONFIGURED = DRC_CONFIGURED,
	DRC_STAY,
	DRC_BACK, /* to isolated_from */
};

struct drc_row {
	uint8_t states; /* bit per enum drc_state */
	enum drc_input input;
	unsigned when; /* DRC_IF_... */
	enum drc_next next;
	enum rtas_status status;
	enum drc_refusal refusal;
	enum op_step step;
	enum op_outcome add, remove;
	unsigned effects;
};

/* What differs between families of connector. */
struct drc_type {
	const char *name;        /* "ibm,drc-types" */
	const char *name_prefix; /* "ibm,drc-names": this, at most 20 bytes, and the decimal id */
	bool physical;           /* the inputs from DRC_INPUT_LOGICAL on belong to it */
	uint32_t index_type;     /* bits 31..28 of the drc index */
	uint8_t hotplug_type;    /* resource type in the hot-plug event section */
	uint8_t id_kind;         /* how that section names the connector: DRC_ID_... */
	const struct drc_row *rows;
	size_t row_count;
	const struct drc_type
	    *rest; /* the type whose rows apply where none of these does, or NULL */
	enum drc_sense (*sense)(const struct drc *drc);
};

/* By drc index: the only kind by which Linux answers with a refusal. */
enum { DRC_ID_INDEX = 2 };

extern const struct drc_type drc_type_cpu; /* drc_logical.c */
extern const struct drc_type drc_type_lmb; /* drc_lmb.c: a logical memory block */
extern const struct drc_type drc_type_pci; /* drc_pci.c: a slot of a PCI bus */

/* The drc index of connector id of a type: type in bits 31..28, id in the rest. */
uint32_t drc_index(const struct drc_type *type, uint32_t id);

/* The row that decides for *drc and input, or NULL if none applies: test_drc.c shows that there
 * always is one. */
const struct drc_row *drc_row_for(
    const struct drc_type *type, const struct drc *drc, enum drc_input input);

/*
 * Apply one input. *drc changes only as the result says; a refused operator's input, and a
 * guest's input answered with an error, leave it exactly as it was.
 */
struct drc_result drc_step(const struct drc_type *type, struct drc *drc, enum drc_input input);

/* True if *drc satisfies every invariant named in drc.c; for tests. */
bool drc_valid(const struct drc *drc);

/* Names for people and for query-connectors: "unusable", "available", ...; of a physical connector
 * "isolated" and "releasing". */
const char *drc_state_name(const struct drc_type *type, enum drc_state state);
const char *drc_input_name(enum drc_input input);

/* An indicator by its name in LoPAR: "isolation-state"; NULL for a number that is none of
 * enum drc_indicator. */
const char *drc_indicator_name(uint32_t indicator);

#endif
