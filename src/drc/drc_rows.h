/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drc_rows.h - short names for the columns of a transition table, so that a row fits a line. Only
 * for files that hold such a table.
 */
#ifndef PAPRIKA_DRC_ROWS_H
#define PAPRIKA_DRC_ROWS_H

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
#define ANSWERED DRC_IF_ANSWERED

/* drc_logical.c: what all logical connectors answer to dr-entity-sense. */
enum drc_sense drc_logical_sense(const struct drc *drc);

#define FX(name) DRC_FX_##name

/* An empty cell: no step is passed (none can be pending then, or it has passed it before), or
 * nothing ends. */
#define OP_ 0
#define DRC_TO_STAY DRC_STAY
#define DRC_TO_BACK DRC_BACK
#define GUEST(states, input, when, next, status, step, add, removal, effects)                      \
	{                                                                                          \
		states, DRC_IN_##input, when, DRC_TO_##next, RTAS_##status, 0, OP_##step,          \
		    OP_##add, OP_##removal, effects                                                \
	}
#define OPERATOR(states, input, when, next, refusal, add, removal, effects)                        \
	{                                                                                          \
		states, DRC_IN_##input, when, DRC_TO_##next, RTAS_SUCCESS, DRC_##refusal, 0,       \
		    OP_##add, OP_##removal, effects                                                \
	}

#endif
