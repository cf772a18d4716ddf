/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drc.c - reads a family's transition table.
 *
 * Invariants (drc_valid(); the tests check them in every reachable state):
 *    adding or removing implies attached; what is not attached is UNUSABLE; a pending removal
 *    implies that the guest owns the connector (else it is released at once); isolated_from
 *    is set only while removing and AVAILABLE; answered only while removing.
 */
#include "drc.h"

uint32_t drc_index(const struct drc_type *type, uint32_t id)
{
	return type->index_type << 28 | (id & 0x0fffffff);
}

static unsigned drc_conditions(const struct drc *drc)
{
	return (drc->attached ? DRC_IF_ATTACHED : 0u) | (drc->adding ? DRC_IF_ADDING : 0u) |
	       (drc->removing ? DRC_IF_REMOVING : 0u) |
	       (drc->isolated_from != DRC_UNUSABLE ? DRC_IF_ISOLATED_SINCE : 0u) |
	       (drc->answered ? DRC_IF_ANSWERED : 0u);
}

const struct drc_row *drc_row_for(
    const struct drc_type *type, const struct drc *drc, enum drc_input input)
{
	unsigned holds = drc_conditions(drc);

	for (; type != NULL; type = type->rest)
		for (size_t i = 0; i < type->row_count; i++) {
			const struct drc_row *row = &type->rows[i];

			if (row->input == input && (row->states & 1u << drc->state) != 0 &&
			    (row->when & ~holds) == 0)
				return row;
		}
	return NULL;
}

struct drc_result drc_step(const struct drc_type *type, struct drc *drc, enum drc_input input)
{
	const struct drc_row *row = drc_row_for(type, drc, input);
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
	if (input == DRC_IN_REMOVE && row->remove == OP_PENDING)
		drc->removing = true;
	if (row->add != OP_PENDING)
		drc->adding = false;
	if (row->remove != OP_PENDING)
		drc->removing = false;
	if (row->effects & DRC_FX_DETACH)
		drc->attached = false;

	if (!drc->removing || drc->state != DRC_AVAILABLE)
		drc->isolated_from = DRC_UNUSABLE;
	else if ((input == DRC_IN_ISOLATE || input == DRC_IN_ISOLATE_USED) &&
	         before != DRC_AVAILABLE)
		drc->isolated_from = before;
	drc->answered = drc->removing && (drc->answered || input == DRC_IN_TOOL_BEGINS);
	return (struct drc_result){
	    .effects = row->effects, .step = row->step, .add = row->add, .remove = row->remove};
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
	return drc->removing || !drc->answered;
}

const char *drc_state_name(const struct drc_type *type, enum drc_state state)
{
	static const char *const logical[DRC_STATE_COUNT] = {
	    "unusable", "available", "unisolated", "configured"};
	static const char *const physical[DRC_STATE_COUNT] = {
	    "isolated", "releasing", "unisolated", "configured"};

	if ((unsigned)state >= DRC_STATE_COUNT)
		return "invalid";
	return type->physical ? physical[state] : logical[state];
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
	    [DRC_IN_RECONFIGURE] = "reconfigure",
	    [DRC_IN_START] = "start",
	    [DRC_IN_FENCE] = "fence",
	    [DRC_IN_ATTACH] = "attach",
	    [DRC_IN_REMOVE] = "remove",
	    [DRC_IN_CANCEL_ADD] = "cancel-add",
	    [DRC_IN_CANCEL_REMOVE] = "cancel-remove",
	    [DRC_IN_RESET] = "reset",
	    [DRC_IN_RESET_OFFER] = "reset-offer",
	    [DRC_IN_TOOL_BEGINS] = "tool-begins",
	    [DRC_IN_TOOL_STOPS] = "tool-stops",
	    [DRC_IN_ISOLATE_USED] = "isolate-in-use",
	    [DRC_IN_LET_GO] = "let-go",
	    [DRC_IN_TAKE_AWAY] = "take-away",
	};

	return (unsigned)input < DRC_INPUT_COUNT ? names[input] : "invalid";
}

const char *drc_indicator_name(uint32_t indicator)
{
	switch (indicator) {
	case DRC_ISOLATION_STATE: return "isolation-state";
	case DRC_DR_INDICATOR: return "dr-indicator";
	case DRC_ALLOCATION_STATE: return "allocation-state";
	default: return NULL;
	}
}
