/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drc.c - the transition table of a logical connector, and the few lines that read it.
 *
 * Three places differ on purpose from what other machines answer:
 *
 *  - ISOLATE of an UNISOLATED connector is accepted. A guest whose add failed between
 *    UNISOLATE and the end of ibm,configure-connector gives the core back with ISOLATE and
 *    UNUSABLE; refusing the first, as QEMU does, wedges the connector until reset.
 *
 *  - UNISOLATE of an AVAILABLE connector whose removal is pending, and which the guest has
 *    isolated since it was asked, is the refusal too: Linux sends exactly that one call when
 *    freeing the connector fails. It restores the state the guest isolated it from, as if the
 *    removal had never been asked for; moving on to UNISOLATED would leave the request
 *    pending and the core half taken.
 *
 *  - An add is done when the guest has configured the core and started a thread of it. Linux
 *    configures a core that it then has no CPU number for, and gives it back. So a guest that
 *    gives a core back before it has started a thread has refused the add: the core leaves again
 *    and the add is reported rejected.
 *
 * Invariants (drc_valid, asserted by the tests on every reachable state):
 *    adding or removing implies attached; what is not attached is UNUSABLE; a pending removal
 *    implies that the guest owns the connector (else it is released at once); isolated_from
 *    is set only while removing and AVAILABLE.
 */
#include "drc.h"

#define IN(state) (uint8_t)(1u << (state))
#define UNU IN(DRC_UNUSABLE)
#define AVA IN(DRC_AVAILABLE)
#define UNI IN(DRC_UNISOLATED)
#define CON IN(DRC_CONFIGURED)
#define OWNED (AVA | UNI | CON)
#define ANY (UNU | OWNED)

#define ATTACHED DRC_IF_ATTACHED
#define ADDING DRC_IF_ADDING
#define REMOVING DRC_IF_REMOVING
#define ISOLATED DRC_IF_ISOLATED_SINCE
#define FX(name) DRC_FX_##name

/* clang-format off */
const struct drc_row drc_table[] = {
/* The guest: set-indicator isolation-state, LoPAR "DR Architecture".
 * states      input                when                next               status                 refusal  effects */
{ UNU | AVA,   DRC_IN_ISOLATE,      0,                  DRC_STAY,          RTAS_SUCCESS,          0, 0 },
{ UNI | CON,   DRC_IN_ISOLATE,      0,                  DRC_TO_AVAILABLE,  RTAS_SUCCESS,          0, 0 },
{ UNU,         DRC_IN_UNISOLATE,    0,                  DRC_STAY,          RTAS_PARAMETER_ERROR,  0, 0 },
{ AVA,         DRC_IN_UNISOLATE,    REMOVING | ISOLATED, DRC_BACK,         RTAS_SUCCESS,          0, FX(REMOVE_REJECTED) },
{ AVA,         DRC_IN_UNISOLATE,    0,                  DRC_TO_UNISOLATED, RTAS_SUCCESS,          0, FX(REWIND) },
{ UNI | CON,   DRC_IN_UNISOLATE,    REMOVING,           DRC_STAY,          RTAS_SUCCESS,          0, FX(REMOVE_REJECTED) },
{ UNI | CON,   DRC_IN_UNISOLATE,    0,                  DRC_STAY,          RTAS_SUCCESS,          0, 0 },

/* The guest: set-indicator allocation-state. */
{ UNU,         DRC_IN_UNUSABLE,     0,                  DRC_STAY,          RTAS_SUCCESS,          0, 0 },
{ AVA,         DRC_IN_UNUSABLE,     REMOVING | ADDING,  DRC_TO_UNUSABLE,   RTAS_SUCCESS,          0, FX(DETACH) | FX(REMOVE_DONE) | FX(ADD_REJECTED) },
{ AVA,         DRC_IN_UNUSABLE,     REMOVING,           DRC_TO_UNUSABLE,   RTAS_SUCCESS,          0, FX(DETACH) | FX(REMOVE_DONE) },
{ AVA,         DRC_IN_UNUSABLE,     ADDING,             DRC_TO_UNUSABLE,   RTAS_SUCCESS,          0, FX(DETACH) | FX(ADD_REJECTED) },
{ AVA,         DRC_IN_UNUSABLE,     0,                  DRC_TO_UNUSABLE,   RTAS_SUCCESS,          0, FX(GIVEN) },
{ UNI | CON,   DRC_IN_UNUSABLE,     0,                  DRC_STAY,          RTAS_PARAMETER_ERROR,  0, 0 },
{ UNU,         DRC_IN_USABLE,       ATTACHED,           DRC_TO_AVAILABLE,  RTAS_SUCCESS,          0, 0 },
{ UNU,         DRC_IN_USABLE,       0,                  DRC_STAY,          RTAS_PARAMETER_ERROR,  0, 0 },
{ OWNED,       DRC_IN_USABLE,       0,                  DRC_STAY,          RTAS_SUCCESS,          0, 0 },

/* The guest: ibm,configure-connector. A configured one may be read again. */
{ UNU | AVA,   DRC_IN_CONFIGURE,    0,                  DRC_STAY,          RTAS_NOT_CONFIGURABLE, 0, 0 },
{ UNI | CON,   DRC_IN_CONFIGURE,    0,                  DRC_STAY,          RTAS_SUCCESS,          0, 0 },
{ UNU | AVA,   DRC_IN_CONFIGURE_END, 0,                 DRC_STAY,          RTAS_NOT_CONFIGURABLE, 0, 0 },
{ UNI,         DRC_IN_CONFIGURE_END, ADDING,            DRC_TO_CONFIGURED, RTAS_SUCCESS,          0, FX(REWIND) },
{ UNI,         DRC_IN_CONFIGURE_END, 0,                 DRC_TO_CONFIGURED, RTAS_SUCCESS,          0, FX(REWIND) | FX(TAKEN) },
{ CON,         DRC_IN_CONFIGURE_END, 0,                 DRC_STAY,          RTAS_SUCCESS,          0, FX(REWIND) },

/* The guest: start-cpu for a thread of the core. A thread that is started before the core is
 * configured counts when it is: core_guest_input() makes this input then. */
{ UNU,         DRC_IN_START,        0,                  DRC_STAY,          RTAS_PARAMETER_ERROR,  0, 0 },
{ CON,         DRC_IN_START,        ADDING,             DRC_STAY,          RTAS_SUCCESS,          0, FX(ADD_DONE) },
{ OWNED,       DRC_IN_START,        0,                  DRC_STAY,          RTAS_SUCCESS,          0, 0 },

/* The operator. */
{ ANY,         DRC_IN_ATTACH,       ATTACHED,           DRC_STAY,          0, DRC_OCCUPIED,   0 },
{ UNU,         DRC_IN_ATTACH,       0,                  DRC_STAY,          0, 0,              FX(ATTACH) | FX(NOTIFY) },
{ UNU,         DRC_IN_REMOVE,       ADDING,             DRC_STAY,          0, 0,              FX(DETACH) | FX(REMOVE_DONE) | FX(ADD_CANCELLED) },
{ UNU,         DRC_IN_REMOVE,       ATTACHED,           DRC_STAY,          0, 0,              FX(DETACH) | FX(REMOVE_DONE) },
{ UNU,         DRC_IN_REMOVE,       0,                  DRC_STAY,          0, DRC_EMPTY,      0 },
{ OWNED,       DRC_IN_REMOVE,       0,                  DRC_STAY,          0, 0,              FX(NOTIFY) },
{ UNU,         DRC_IN_CANCEL_ADD,   ADDING,             DRC_STAY,          0, 0,              FX(DETACH) | FX(ADD_CANCELLED) },
{ OWNED,       DRC_IN_CANCEL_ADD,   ADDING,             DRC_STAY,          0, DRC_GUEST_OWNS, 0 },
{ ANY,         DRC_IN_CANCEL_ADD,   0,                  DRC_STAY,          0, DRC_NOTHING,    0 },
{ OWNED,       DRC_IN_CANCEL_REMOVE, REMOVING,          DRC_STAY,          0, 0,              FX(REMOVE_CANCELLED) },
{ ANY,         DRC_IN_CANCEL_REMOVE, 0,                 DRC_STAY,          0, DRC_NOTHING,    0 },

/* Reset: what was asked for is settled, what stays is handed over configured in the new tree. */
{ OWNED,       DRC_IN_RESET,        REMOVING | ADDING,  DRC_TO_UNUSABLE,   0, 0, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED) | FX(ADD_SUPERSEDED) },
{ OWNED,       DRC_IN_RESET,        REMOVING,           DRC_TO_UNUSABLE,   0, 0, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED) },
{ ANY,         DRC_IN_RESET,        ADDING,             DRC_TO_CONFIGURED, 0, 0, FX(REWIND) | FX(ADD_SUPERSEDED) },
{ ANY,         DRC_IN_RESET,        ATTACHED,           DRC_TO_CONFIGURED, 0, 0, FX(REWIND) },
{ UNU,         DRC_IN_RESET,        0,                  DRC_STAY,          0, 0, FX(REWIND) },
};
/* clang-format on */

const size_t drc_table_rows = sizeof drc_table / sizeof drc_table[0];

/* LoPAR's DR connector types for the names; the index prefix is the one every pseries
 * guest has seen so far; resource type 1 of the hot-plug event section is a processor. */
const struct drc_type drc_type_cpu = {.name = "CPU",
    .name_prefix = "CPU ",
    .index_type = 1,
    .hotplug_type = 1,
    .id_kind = DRC_ID_INDEX};

uint32_t drc_index(const struct drc_type *type, uint32_t id)
{
	return type->index_type << 28 | (id & 0x0fffffff);
}

static unsigned conditions(const struct drc *drc)
{
	return (drc->attached ? ATTACHED : 0u) | (drc->adding ? ADDING : 0u) |
	       (drc->removing ? REMOVING : 0u) |
	       (drc->isolated_from != DRC_UNUSABLE ? ISOLATED : 0u);
}

const struct drc_row *drc_row_for(const struct drc *drc, enum drc_input input)
{
	unsigned holds = conditions(drc);

	for (size_t i = 0; i < drc_table_rows; i++) {
		const struct drc_row *row = &drc_table[i];

		if (row->input == input && (row->states & IN(drc->state)) != 0 &&
		    (row->when & ~holds) == 0)
			return row;
	}
	return NULL;
}

struct drc_result drc_step(struct drc *drc, enum drc_input input)
{
	static const unsigned add_ends =
	    DRC_FX_ADD_DONE | DRC_FX_ADD_REJECTED | DRC_FX_ADD_SUPERSEDED | DRC_FX_ADD_CANCELLED;
	static const unsigned remove_ends = DRC_FX_REMOVE_DONE | DRC_FX_REMOVE_REJECTED |
	                                    DRC_FX_REMOVE_SUPERSEDED | DRC_FX_REMOVE_CANCELLED;
	const struct drc_row *row = drc_row_for(drc, input);
	enum drc_state before = drc->state;

	if (row == NULL) /* the tests show that every state and input has a row */
		return (struct drc_result){.status = RTAS_HARDWARE_ERROR, .refusal = DRC_NOTHING};
	if (row->status != RTAS_SUCCESS || row->refusal != DRC_ACCEPTED)
		return (struct drc_result){.status = row->status, .refusal = row->refusal};

	if (row->next == DRC_BACK)
		drc->state = drc->isolated_from;
	else if (row->next != DRC_STAY)
		drc->state = (enum drc_state)row->next;

	if (input == DRC_IN_ATTACH)
		drc->attached = drc->adding = true;
	if (input == DRC_IN_REMOVE && (row->effects & DRC_FX_REMOVE_DONE) == 0)
		drc->removing = true;
	if (row->effects & add_ends)
		drc->adding = false;
	if (row->effects & remove_ends)
		drc->removing = false;
	if (row->effects & DRC_FX_DETACH)
		drc->attached = false;

	if (!drc->removing || drc->state != DRC_AVAILABLE)
		drc->isolated_from = DRC_UNUSABLE;
	else if (input == DRC_IN_ISOLATE && before != DRC_AVAILABLE)
		drc->isolated_from = before;
	return (struct drc_result){.effects = row->effects};
}

enum drc_sense drc_sense(const struct drc *drc)
{
	return drc->state == DRC_UNUSABLE ? DRC_SENSE_UNUSABLE : DRC_SENSE_PRESENT;
}

bool drc_valid(const struct drc *drc)
{
	if ((drc->adding || drc->removing) && !drc->attached)
		return false;
	if (!drc->attached && drc->state != DRC_UNUSABLE)
		return false;
	if (drc->removing && drc->state == DRC_UNUSABLE)
		return false;
	if (drc->isolated_from != DRC_UNUSABLE &&
	    (!drc->removing || drc->state != DRC_AVAILABLE || drc->isolated_from == DRC_AVAILABLE))
		return false;
	return true;
}

const char *drc_state_name(enum drc_state state)
{
	static const char *const names[DRC_STATE_COUNT] = {
	    "unusable", "available", "unisolated", "configured"};

	return (unsigned)state < DRC_STATE_COUNT ? names[state] : "invalid";
}

const char *drc_input_name(enum drc_input input)
{
	static const char *const names[DRC_INPUT_COUNT] = {
	    [DRC_IN_ISOLATE] = "isolate",
	    [DRC_IN_UNISOLATE] = "unisolate",
	    [DRC_IN_UNUSABLE] = "set-unusable",
	    [DRC_IN_USABLE] = "set-usable",
	    [DRC_IN_CONFIGURE] = "configure",
	    [DRC_IN_CONFIGURE_END] = "configure-end",
	    [DRC_IN_START] = "start",
	    [DRC_IN_ATTACH] = "attach",
	    [DRC_IN_REMOVE] = "remove",
	    [DRC_IN_CANCEL_ADD] = "cancel-add",
	    [DRC_IN_CANCEL_REMOVE] = "cancel-remove",
	    [DRC_IN_RESET] = "reset",
	};

	return (unsigned)input < DRC_INPUT_COUNT ? names[input] : "invalid";
}
