/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_drc.c - the connector, all of it.
 *
 * A connector has few states, so nothing here is sampled. `specification` says for every state
 * that can be reached, and for every input, what must come out; it is written from LoPAPR
 * 7.3.5.4 and 13.5.3 and from the contract of a removal, not from the table in drc.c, and the
 * two are compared entry by entry. Then the space is walked to its end for the rules that hold
 * everywhere, and the calls Linux makes are played in its order.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "drc/drc.h"

#define CPU (&drc_type_cpu)

/* What comes out of a step. The ends of the pending add and removal are bits beside the effects,
 * so that one number says all that happens. */
enum {
	FX_NOTIFY = DRC_FX_NOTIFY,
	FX_REWIND = DRC_FX_REWIND,
	FX_ATTACH = DRC_FX_ATTACH,
	FX_DETACH = DRC_FX_DETACH,
	FX_GIVEN = DRC_FX_GIVEN,
	FX_TAKEN = DRC_FX_TAKEN,
	FX_ADD_DONE = 1 << 8,
	FX_ADD_REJECTED = 1 << 9,
	FX_ADD_SUPERSEDED = 1 << 10,
	FX_ADD_CANCELLED = 1 << 11,
	FX_REMOVE_DONE = 1 << 12,
	FX_REMOVE_REJECTED = 1 << 13,
	FX_REMOVE_SUPERSEDED = 1 << 14,
	FX_REMOVE_CANCELLED = 1 << 15,
};
#define FX(name) (unsigned)FX_##name

struct answer {
	enum rtas_status status;
	enum drc_refusal refusal;
	unsigned effects;
};

static unsigned end_bit(enum op_outcome outcome, unsigned done)
{
	return outcome == OP_PENDING ? 0 : done << (outcome - OP_DONE);
}

static struct answer step(struct drc *drc, enum drc_input input)
{
	struct drc_result result = drc_step(CPU, drc, input);

	return (struct answer){result.status, result.refusal,
	    result.effects | end_bit(result.add, FX_ADD_DONE) |
	        end_bit(result.remove, FX_REMOVE_DONE)};
}

/* --- The specification ------------------------------------------------------------------ */

/* Every state a connector can get into, by what is pending and where it was isolated from. */
enum spot {
	EMPTY,           /* nothing attached */
	PLUGGED,         /* attached, the guest has not touched it */
	GIVEN,           /* the guest gave it back unasked */
	AVA,             /* allocated, isolated */
	AVA_ADD,         /* ... on the way in */
	AVA_REM,         /* ... asked back, not isolated since */
	AVA_ADD_REM,     /* ... asked back while on the way in */
	AVA_REM_UNI,     /* ... asked back, and isolated since: from unisolated */
	AVA_REM_CON,     /* ... and isolated since: from configured */
	AVA_ADD_REM_UNI, /* ... asked back while on the way in, and isolated since */
	AVA_ADD_REM_CON, /* ... the same, from configured */
	UNI,
	UNI_ADD,
	UNI_REM,
	UNI_ADD_REM,
	CON,
	CON_ADD, /* ... no thread of it started yet */
	CON_REM,
	CON_ADD_REM,
	SPOTS,
	NOWHERE /* no such spot */
};

/* clang-format off */
static const struct drc spots[SPOTS] = {
/*                   state           attached adding removing isolated_from */
[EMPTY] =           {DRC_UNUSABLE,   false,   false, false,   DRC_UNUSABLE},
[PLUGGED] =         {DRC_UNUSABLE,   true,    true,  false,   DRC_UNUSABLE},
[GIVEN] =           {DRC_UNUSABLE,   true,    false, false,   DRC_UNUSABLE},
[AVA] =             {DRC_AVAILABLE,  true,    false, false,   DRC_UNUSABLE},
[AVA_ADD] =         {DRC_AVAILABLE,  true,    true,  false,   DRC_UNUSABLE},
[AVA_REM] =         {DRC_AVAILABLE,  true,    false, true,    DRC_UNUSABLE},
[AVA_ADD_REM] =     {DRC_AVAILABLE,  true,    true,  true,    DRC_UNUSABLE},
[AVA_REM_UNI] =     {DRC_AVAILABLE,  true,    false, true,    DRC_UNISOLATED},
[AVA_REM_CON] =     {DRC_AVAILABLE,  true,    false, true,    DRC_CONFIGURED},
[AVA_ADD_REM_UNI] = {DRC_AVAILABLE,  true,    true,  true,    DRC_UNISOLATED},
[AVA_ADD_REM_CON] = {DRC_AVAILABLE,  true,    true,  true,    DRC_CONFIGURED},
[UNI] =             {DRC_UNISOLATED, true,    false, false,   DRC_UNUSABLE},
[UNI_ADD] =         {DRC_UNISOLATED, true,    true,  false,   DRC_UNUSABLE},
[UNI_REM] =         {DRC_UNISOLATED, true,    false, true,    DRC_UNUSABLE},
[UNI_ADD_REM] =     {DRC_UNISOLATED, true,    true,  true,    DRC_UNUSABLE},
[CON] =             {DRC_CONFIGURED, true,    false, false,   DRC_UNUSABLE},
[CON_ADD] =         {DRC_CONFIGURED, true,    true,  false,   DRC_UNUSABLE},
[CON_REM] =         {DRC_CONFIGURED, true,    false, true,    DRC_UNUSABLE},
[CON_ADD_REM] =     {DRC_CONFIGURED, true,    true,  true,    DRC_UNUSABLE},
};
/* clang-format on */

struct expected {
	bool stated; /* so that a hole in the specification is noticed */
	enum spot next;
	struct answer result;
};

/* clang-format off */
#define TO(spot, fx) {true, spot, {RTAS_SUCCESS, DRC_ACCEPTED, fx}}
/* An error or a refusal: the first argument is the spot it happens in, and stays in. */
#define PARAMETER(spot) {true, spot, {RTAS_PARAMETER_ERROR, DRC_ACCEPTED, 0}}
#define NOT_CONFIGURABLE(spot) {true, spot, {RTAS_NOT_CONFIGURABLE, DRC_ACCEPTED, 0}}
#define REFUSED(spot, why) {true, spot, {RTAS_SUCCESS, DRC_##why, 0}}

static const struct expected specification[SPOTS][DRC_INPUT_COUNT] = {
[EMPTY] = {
	[DRC_IN_ISOLATE]       = TO(EMPTY, 0),
	[DRC_IN_UNISOLATE]     = PARAMETER(EMPTY),
	[DRC_IN_UNUSABLE]      = TO(EMPTY, 0),
	[DRC_IN_USABLE]        = PARAMETER(EMPTY),
	[DRC_IN_CONFIGURE]     = NOT_CONFIGURABLE(EMPTY),
	[DRC_IN_CONFIGURE_END] = NOT_CONFIGURABLE(EMPTY),
	[DRC_IN_START]         = PARAMETER(EMPTY),
	[DRC_IN_ATTACH]        = TO(PLUGGED, FX(ATTACH) | FX(NOTIFY)),
	[DRC_IN_REMOVE]        = REFUSED(EMPTY, EMPTY),
	[DRC_IN_CANCEL_ADD]    = REFUSED(EMPTY, NOTHING),
	[DRC_IN_CANCEL_REMOVE] = REFUSED(EMPTY, NOTHING),
	[DRC_IN_RESET]         = TO(EMPTY, FX(REWIND)),
},
[PLUGGED] = {
	[DRC_IN_ISOLATE]       = TO(PLUGGED, 0),
	[DRC_IN_UNISOLATE]     = PARAMETER(PLUGGED),
	[DRC_IN_UNUSABLE]      = TO(PLUGGED, 0),
	[DRC_IN_USABLE]        = TO(AVA_ADD, 0),
	[DRC_IN_CONFIGURE]     = NOT_CONFIGURABLE(PLUGGED),
	[DRC_IN_CONFIGURE_END] = NOT_CONFIGURABLE(PLUGGED),
	[DRC_IN_START]         = PARAMETER(PLUGGED),
	[DRC_IN_ATTACH]        = REFUSED(PLUGGED, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(EMPTY, FX(DETACH) | FX(REMOVE_DONE) | FX(ADD_CANCELLED)),
	[DRC_IN_CANCEL_ADD]    = TO(EMPTY, FX(DETACH) | FX(ADD_CANCELLED)),
	[DRC_IN_CANCEL_REMOVE] = REFUSED(PLUGGED, NOTHING),
	[DRC_IN_RESET]         = TO(CON, FX(REWIND) | FX(ADD_SUPERSEDED)),
},
[GIVEN] = {
	[DRC_IN_ISOLATE]       = TO(GIVEN, 0),
	[DRC_IN_UNISOLATE]     = PARAMETER(GIVEN),
	[DRC_IN_UNUSABLE]      = TO(GIVEN, 0),
	[DRC_IN_USABLE]        = TO(AVA, 0),
	[DRC_IN_CONFIGURE]     = NOT_CONFIGURABLE(GIVEN),
	[DRC_IN_CONFIGURE_END] = NOT_CONFIGURABLE(GIVEN),
	[DRC_IN_START]         = PARAMETER(GIVEN),
	[DRC_IN_ATTACH]        = REFUSED(GIVEN, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(EMPTY, FX(DETACH) | FX(REMOVE_DONE)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(GIVEN, NOTHING),
	[DRC_IN_CANCEL_REMOVE] = REFUSED(GIVEN, NOTHING),
	[DRC_IN_RESET]         = TO(CON, FX(REWIND)),
},
[AVA] = {
	[DRC_IN_ISOLATE]       = TO(AVA, 0),
	[DRC_IN_UNISOLATE]     = TO(UNI, FX(REWIND)),
	[DRC_IN_UNUSABLE]      = TO(GIVEN, FX(GIVEN)),
	[DRC_IN_USABLE]        = TO(AVA, 0),
	[DRC_IN_CONFIGURE]     = NOT_CONFIGURABLE(AVA),
	[DRC_IN_CONFIGURE_END] = NOT_CONFIGURABLE(AVA),
	[DRC_IN_START]         = TO(AVA, 0),
	[DRC_IN_ATTACH]        = REFUSED(AVA, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(AVA_REM, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(AVA, NOTHING),
	[DRC_IN_CANCEL_REMOVE] = REFUSED(AVA, NOTHING),
	[DRC_IN_RESET]         = TO(CON, FX(REWIND)),
},
[AVA_ADD] = {
	[DRC_IN_ISOLATE]       = TO(AVA_ADD, 0),
	[DRC_IN_UNISOLATE]     = TO(UNI_ADD, FX(REWIND)),
	[DRC_IN_UNUSABLE]      = TO(EMPTY, FX(DETACH) | FX(ADD_REJECTED)),
	[DRC_IN_USABLE]        = TO(AVA_ADD, 0),
	[DRC_IN_CONFIGURE]     = NOT_CONFIGURABLE(AVA_ADD),
	[DRC_IN_CONFIGURE_END] = NOT_CONFIGURABLE(AVA_ADD),
	[DRC_IN_START]         = TO(AVA_ADD, 0),
	[DRC_IN_ATTACH]        = REFUSED(AVA_ADD, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(AVA_ADD_REM, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(AVA_ADD, GUEST_OWNS),
	[DRC_IN_CANCEL_REMOVE] = REFUSED(AVA_ADD, NOTHING),
	[DRC_IN_RESET]         = TO(CON, FX(REWIND) | FX(ADD_SUPERSEDED)),
},
/* The guest was between allocating and unisolating when the request came: its UNISOLATE goes
 * on with what it was doing, and says nothing about the request. */
[AVA_REM] = {
	[DRC_IN_ISOLATE]       = TO(AVA_REM, 0),
	[DRC_IN_UNISOLATE]     = TO(UNI_REM, FX(REWIND)),
	[DRC_IN_UNUSABLE]      = TO(EMPTY, FX(DETACH) | FX(REMOVE_DONE)),
	[DRC_IN_USABLE]        = TO(AVA_REM, 0),
	[DRC_IN_CONFIGURE]     = NOT_CONFIGURABLE(AVA_REM),
	[DRC_IN_CONFIGURE_END] = NOT_CONFIGURABLE(AVA_REM),
	[DRC_IN_START]         = TO(AVA_REM, 0),
	[DRC_IN_ATTACH]        = REFUSED(AVA_REM, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(AVA_REM, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(AVA_REM, NOTHING),
	[DRC_IN_CANCEL_REMOVE] = TO(AVA, FX(REMOVE_CANCELLED)),
	[DRC_IN_RESET]         = TO(EMPTY, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED)),
},
[AVA_ADD_REM] = {
	[DRC_IN_ISOLATE]       = TO(AVA_ADD_REM, 0),
	[DRC_IN_UNISOLATE]     = TO(UNI_ADD_REM, FX(REWIND)),
	[DRC_IN_UNUSABLE]      = TO(EMPTY, FX(DETACH) | FX(REMOVE_DONE) | FX(ADD_REJECTED)),
	[DRC_IN_USABLE]        = TO(AVA_ADD_REM, 0),
	[DRC_IN_CONFIGURE]     = NOT_CONFIGURABLE(AVA_ADD_REM),
	[DRC_IN_CONFIGURE_END] = NOT_CONFIGURABLE(AVA_ADD_REM),
	[DRC_IN_START]         = TO(AVA_ADD_REM, 0),
	[DRC_IN_ATTACH]        = REFUSED(AVA_ADD_REM, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(AVA_ADD_REM, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(AVA_ADD_REM, GUEST_OWNS),
	[DRC_IN_CANCEL_REMOVE] = TO(AVA_ADD, FX(REMOVE_CANCELLED)),
	[DRC_IN_RESET]         = TO(EMPTY, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED) |
				   FX(ADD_SUPERSEDED)),
},
[AVA_REM_UNI] = {
	[DRC_IN_ISOLATE]       = TO(AVA_REM_UNI, 0),
	[DRC_IN_UNISOLATE]     = TO(UNI, FX(REMOVE_REJECTED)),
	[DRC_IN_UNUSABLE]      = TO(EMPTY, FX(DETACH) | FX(REMOVE_DONE)),
	[DRC_IN_USABLE]        = TO(AVA_REM_UNI, 0),
	[DRC_IN_CONFIGURE]     = NOT_CONFIGURABLE(AVA_REM_UNI),
	[DRC_IN_CONFIGURE_END] = NOT_CONFIGURABLE(AVA_REM_UNI),
	[DRC_IN_START]         = TO(AVA_REM_UNI, 0),
	[DRC_IN_ATTACH]        = REFUSED(AVA_REM_UNI, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(AVA_REM_UNI, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(AVA_REM_UNI, NOTHING),
	[DRC_IN_CANCEL_REMOVE] = TO(AVA, FX(REMOVE_CANCELLED)),
	[DRC_IN_RESET]         = TO(EMPTY, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED)),
},
[AVA_REM_CON] = {
	[DRC_IN_ISOLATE]       = TO(AVA_REM_CON, 0),
	[DRC_IN_UNISOLATE]     = TO(CON, FX(REMOVE_REJECTED)),
	[DRC_IN_UNUSABLE]      = TO(EMPTY, FX(DETACH) | FX(REMOVE_DONE)),
	[DRC_IN_USABLE]        = TO(AVA_REM_CON, 0),
	[DRC_IN_CONFIGURE]     = NOT_CONFIGURABLE(AVA_REM_CON),
	[DRC_IN_CONFIGURE_END] = NOT_CONFIGURABLE(AVA_REM_CON),
	[DRC_IN_START]         = TO(AVA_REM_CON, 0),
	[DRC_IN_ATTACH]        = REFUSED(AVA_REM_CON, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(AVA_REM_CON, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(AVA_REM_CON, NOTHING),
	[DRC_IN_CANCEL_REMOVE] = TO(AVA, FX(REMOVE_CANCELLED)),
	[DRC_IN_RESET]         = TO(EMPTY, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED)),
},
[AVA_ADD_REM_UNI] = {
	[DRC_IN_ISOLATE]       = TO(AVA_ADD_REM_UNI, 0),
	[DRC_IN_UNISOLATE]     = TO(UNI_ADD, FX(REMOVE_REJECTED)),
	[DRC_IN_UNUSABLE]      = TO(EMPTY, FX(DETACH) | FX(REMOVE_DONE) | FX(ADD_REJECTED)),
	[DRC_IN_USABLE]        = TO(AVA_ADD_REM_UNI, 0),
	[DRC_IN_CONFIGURE]     = NOT_CONFIGURABLE(AVA_ADD_REM_UNI),
	[DRC_IN_CONFIGURE_END] = NOT_CONFIGURABLE(AVA_ADD_REM_UNI),
	[DRC_IN_START]         = TO(AVA_ADD_REM_UNI, 0),
	[DRC_IN_ATTACH]        = REFUSED(AVA_ADD_REM_UNI, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(AVA_ADD_REM_UNI, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(AVA_ADD_REM_UNI, GUEST_OWNS),
	[DRC_IN_CANCEL_REMOVE] = TO(AVA_ADD, FX(REMOVE_CANCELLED)),
	[DRC_IN_RESET]         = TO(EMPTY, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED) |
				   FX(ADD_SUPERSEDED)),
},
[AVA_ADD_REM_CON] = {
	[DRC_IN_ISOLATE]       = TO(AVA_ADD_REM_CON, 0),
	[DRC_IN_UNISOLATE]     = TO(CON_ADD, FX(REMOVE_REJECTED)),
	[DRC_IN_UNUSABLE]      = TO(EMPTY, FX(DETACH) | FX(REMOVE_DONE) | FX(ADD_REJECTED)),
	[DRC_IN_USABLE]        = TO(AVA_ADD_REM_CON, 0),
	[DRC_IN_CONFIGURE]     = NOT_CONFIGURABLE(AVA_ADD_REM_CON),
	[DRC_IN_CONFIGURE_END] = NOT_CONFIGURABLE(AVA_ADD_REM_CON),
	[DRC_IN_START]         = TO(AVA_ADD_REM_CON, 0),
	[DRC_IN_ATTACH]        = REFUSED(AVA_ADD_REM_CON, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(AVA_ADD_REM_CON, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(AVA_ADD_REM_CON, GUEST_OWNS),
	[DRC_IN_CANCEL_REMOVE] = TO(AVA_ADD, FX(REMOVE_CANCELLED)),
	[DRC_IN_RESET]         = TO(EMPTY, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED) |
				   FX(ADD_SUPERSEDED)),
},
[UNI] = {
	[DRC_IN_ISOLATE]       = TO(AVA, 0),
	[DRC_IN_UNISOLATE]     = TO(UNI, 0),
	[DRC_IN_UNUSABLE]      = PARAMETER(UNI),
	[DRC_IN_USABLE]        = TO(UNI, 0),
	[DRC_IN_CONFIGURE]     = TO(UNI, 0),
	[DRC_IN_CONFIGURE_END] = TO(CON, FX(REWIND) | FX(TAKEN)),
	[DRC_IN_START]         = TO(UNI, 0),
	[DRC_IN_ATTACH]        = REFUSED(UNI, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(UNI_REM, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(UNI, NOTHING),
	[DRC_IN_CANCEL_REMOVE] = REFUSED(UNI, NOTHING),
	[DRC_IN_RESET]         = TO(CON, FX(REWIND)),
},
[UNI_ADD] = {
	[DRC_IN_ISOLATE]       = TO(AVA_ADD, 0),
	[DRC_IN_UNISOLATE]     = TO(UNI_ADD, 0),
	[DRC_IN_UNUSABLE]      = PARAMETER(UNI_ADD),
	[DRC_IN_USABLE]        = TO(UNI_ADD, 0),
	[DRC_IN_CONFIGURE]     = TO(UNI_ADD, 0),
	[DRC_IN_CONFIGURE_END] = TO(CON_ADD, FX(REWIND)),
	[DRC_IN_START]         = TO(UNI_ADD, 0),
	[DRC_IN_ATTACH]        = REFUSED(UNI_ADD, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(UNI_ADD_REM, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(UNI_ADD, GUEST_OWNS),
	[DRC_IN_CANCEL_REMOVE] = REFUSED(UNI_ADD, NOTHING),
	[DRC_IN_RESET]         = TO(CON, FX(REWIND) | FX(ADD_SUPERSEDED)),
},
[UNI_REM] = {
	[DRC_IN_ISOLATE]       = TO(AVA_REM_UNI, 0),
	[DRC_IN_UNISOLATE]     = TO(UNI, FX(REMOVE_REJECTED)),
	[DRC_IN_UNUSABLE]      = PARAMETER(UNI_REM),
	[DRC_IN_USABLE]        = TO(UNI_REM, 0),
	[DRC_IN_CONFIGURE]     = TO(UNI_REM, 0),
	[DRC_IN_CONFIGURE_END] = TO(CON_REM, FX(REWIND) | FX(TAKEN)),
	[DRC_IN_START]         = TO(UNI_REM, 0),
	[DRC_IN_ATTACH]        = REFUSED(UNI_REM, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(UNI_REM, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(UNI_REM, NOTHING),
	[DRC_IN_CANCEL_REMOVE] = TO(UNI, FX(REMOVE_CANCELLED)),
	[DRC_IN_RESET]         = TO(EMPTY, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED)),
},
[UNI_ADD_REM] = {
	[DRC_IN_ISOLATE]       = TO(AVA_ADD_REM_UNI, 0),
	[DRC_IN_UNISOLATE]     = TO(UNI_ADD, FX(REMOVE_REJECTED)),
	[DRC_IN_UNUSABLE]      = PARAMETER(UNI_ADD_REM),
	[DRC_IN_USABLE]        = TO(UNI_ADD_REM, 0),
	[DRC_IN_CONFIGURE]     = TO(UNI_ADD_REM, 0),
	[DRC_IN_CONFIGURE_END] = TO(CON_ADD_REM, FX(REWIND)),
	[DRC_IN_START]         = TO(UNI_ADD_REM, 0),
	[DRC_IN_ATTACH]        = REFUSED(UNI_ADD_REM, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(UNI_ADD_REM, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(UNI_ADD_REM, GUEST_OWNS),
	[DRC_IN_CANCEL_REMOVE] = TO(UNI_ADD, FX(REMOVE_CANCELLED)),
	[DRC_IN_RESET]         = TO(EMPTY, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED) |
				   FX(ADD_SUPERSEDED)),
},
[CON] = {
	[DRC_IN_ISOLATE]       = TO(AVA, 0),
	[DRC_IN_UNISOLATE]     = TO(CON, 0),
	[DRC_IN_UNUSABLE]      = PARAMETER(CON),
	[DRC_IN_USABLE]        = TO(CON, 0),
	[DRC_IN_CONFIGURE]     = TO(CON, 0),
	[DRC_IN_CONFIGURE_END] = TO(CON, FX(REWIND)),
	[DRC_IN_START]         = TO(CON, 0),
	[DRC_IN_ATTACH]        = REFUSED(CON, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(CON_REM, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(CON, NOTHING),
	[DRC_IN_CANCEL_REMOVE] = REFUSED(CON, NOTHING),
	[DRC_IN_RESET]         = TO(CON, FX(REWIND)),
},
[CON_ADD] = {
	[DRC_IN_ISOLATE]       = TO(AVA_ADD, 0),
	[DRC_IN_UNISOLATE]     = TO(CON_ADD, 0),
	[DRC_IN_UNUSABLE]      = PARAMETER(CON_ADD),
	[DRC_IN_USABLE]        = TO(CON_ADD, 0),
	[DRC_IN_CONFIGURE]     = TO(CON_ADD, 0),
	[DRC_IN_CONFIGURE_END] = TO(CON_ADD, FX(REWIND)),
	[DRC_IN_START]         = TO(CON, FX(ADD_DONE)),
	[DRC_IN_ATTACH]        = REFUSED(CON_ADD, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(CON_ADD_REM, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(CON_ADD, GUEST_OWNS),
	[DRC_IN_CANCEL_REMOVE] = REFUSED(CON_ADD, NOTHING),
	[DRC_IN_RESET]         = TO(CON, FX(REWIND) | FX(ADD_SUPERSEDED)),
},
[CON_REM] = {
	[DRC_IN_ISOLATE]       = TO(AVA_REM_CON, 0),
	[DRC_IN_UNISOLATE]     = TO(CON, FX(REMOVE_REJECTED)),
	[DRC_IN_UNUSABLE]      = PARAMETER(CON_REM),
	[DRC_IN_USABLE]        = TO(CON_REM, 0),
	[DRC_IN_CONFIGURE]     = TO(CON_REM, 0),
	[DRC_IN_CONFIGURE_END] = TO(CON_REM, FX(REWIND)),
	[DRC_IN_START]         = TO(CON_REM, 0),
	[DRC_IN_ATTACH]        = REFUSED(CON_REM, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(CON_REM, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(CON_REM, NOTHING),
	[DRC_IN_CANCEL_REMOVE] = TO(CON, FX(REMOVE_CANCELLED)),
	[DRC_IN_RESET]         = TO(EMPTY, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED)),
},
[CON_ADD_REM] = {
	[DRC_IN_ISOLATE]       = TO(AVA_ADD_REM_CON, 0),
	[DRC_IN_UNISOLATE]     = TO(CON_ADD, FX(REMOVE_REJECTED)),
	[DRC_IN_UNUSABLE]      = PARAMETER(CON_ADD_REM),
	[DRC_IN_USABLE]        = TO(CON_ADD_REM, 0),
	[DRC_IN_CONFIGURE]     = TO(CON_ADD_REM, 0),
	[DRC_IN_CONFIGURE_END] = TO(CON_ADD_REM, FX(REWIND)),
	[DRC_IN_START]         = TO(CON_REM, FX(ADD_DONE)),
	[DRC_IN_ATTACH]        = REFUSED(CON_ADD_REM, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(CON_ADD_REM, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(CON_ADD_REM, GUEST_OWNS),
	[DRC_IN_CANCEL_REMOVE] = TO(CON_ADD, FX(REMOVE_CANCELLED)),
	[DRC_IN_RESET]         = TO(EMPTY, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED) |
				   FX(ADD_SUPERSEDED)),
},
};
/* clang-format on */

/* --- What the tests below share --------------------------------------------------------- */

#define ADD_ENDS (FX(ADD_DONE) | FX(ADD_REJECTED) | FX(ADD_SUPERSEDED) | FX(ADD_CANCELLED))
#define REMOVE_ENDS                                                                                \
	(FX(REMOVE_DONE) | FX(REMOVE_REJECTED) | FX(REMOVE_SUPERSEDED) | FX(REMOVE_CANCELLED))

static bool same(const struct drc *a, const struct drc *b)
{
	return a->state == b->state && a->attached == b->attached && a->adding == b->adding &&
	       a->removing == b->removing && a->isolated_from == b->isolated_from;
}

static enum spot spot_of(const struct drc *drc)
{
	for (enum spot spot = 0; spot < SPOTS; spot++)
		if (same(drc, &spots[spot]))
			return spot;
	return NOWHERE;
}

static bool of_guest(enum drc_input input)
{
	return input < DRC_IN_ATTACH;
}

static bool is_one_bit(unsigned bits)
{
	return bits != 0 && (bits & (bits - 1)) == 0;
}

/* Say which entry is meant before an assertion about it fails. */
static void require_at(bool holds, enum spot spot, enum drc_input input)
{
	const struct drc *drc = &spots[spot < SPOTS ? spot : EMPTY];

	if (holds)
		return;
	print_error("# at %s%s%s%s, isolated from %s, input %s\n", drc_state_name(drc->state),
	    drc->attached ? " attached" : "", drc->adding ? " adding" : "",
	    drc->removing ? " removing" : "", drc_state_name(drc->isolated_from),
	    drc_input_name(input));
	fail();
}

/* --- The table -------------------------------------------------------------------------- */

static void every_input_in_every_state_answers_as_specified(void **state)
{
	(void)state;
	for (enum spot spot = 0; spot < SPOTS; spot++) {
		for (enum drc_input input = 0; input < DRC_INPUT_COUNT; input++) {
			const struct expected *expected = &specification[spot][input];
			struct drc drc = spots[spot];
			struct answer result = step(&drc, input);

			require_at(expected->stated, spot, input);
			require_at(spot_of(&drc) == expected->next, spot, input);
			require_at(result.status == expected->result.status, spot, input);
			require_at(result.refusal == expected->result.refusal, spot, input);
			require_at(result.effects == expected->result.effects, spot, input);
		}
	}
}

static void the_sensor_reads_unusable_until_the_guest_has_allocated(void **state)
{
	(void)state;
	for (enum spot spot = 0; spot < SPOTS; spot++) {
		bool unusable = spot == EMPTY || spot == PLUGGED || spot == GIVEN;

		assert_int_equal(
		    CPU->sense(&spots[spot]), unusable ? DRC_SENSE_UNUSABLE : DRC_SENSE_PRESENT);
	}
	assert_int_equal(DRC_SENSE_PRESENT, 1);
	assert_int_equal(DRC_SENSE_UNUSABLE, 2);
}

static void an_index_is_the_type_and_the_id(void **state)
{
	(void)state;
	assert_int_equal(drc_index(&drc_type_cpu, 0), 0x10000000);
	assert_int_equal(drc_index(&drc_type_cpu, 8), 0x10000008);
	assert_int_equal(drc_index(&drc_type_cpu, 0xfffffff), 0x1fffffff);
	assert_int_equal(drc_index(&drc_type_cpu, 0xf0000001), 0x10000001);
	assert_string_equal(drc_type_cpu.name, "CPU");
	assert_int_equal(drc_type_cpu.hotplug_type, 1);
}

static void names_are_distinct_and_total(void **state)
{
	(void)state;
	for (enum drc_input input = 0; input < DRC_INPUT_COUNT; input++) {
		assert_string_not_equal(drc_input_name(input), "invalid");
		for (enum drc_input other = 0; other < input; other++)
			assert_string_not_equal(drc_input_name(input), drc_input_name(other));
	}
	assert_string_equal(drc_input_name(DRC_INPUT_COUNT), "invalid");
	assert_string_equal(drc_state_name(DRC_UNUSABLE), "unusable");
	assert_string_equal(drc_state_name(DRC_CONFIGURED), "configured");
	assert_string_equal(drc_state_name(DRC_STATE_COUNT), "invalid");
}

/* --- The walk --------------------------------------------------------------------------- */

/* Everything reachable from where connectors start: empty, or a boot core's. */
struct walk {
	bool seen[SPOTS];
	size_t states, transitions, refused, changes;
};

static void visit(struct walk *walk, enum spot spot)
{
	if (walk->seen[spot])
		return;
	walk->seen[spot] = true;
	walk->states++;
	for (enum drc_input input = 0; input < DRC_INPUT_COUNT; input++) {
		struct drc drc = spots[spot];
		struct answer result;

		require_at(drc_valid(&drc), spot, input);
		require_at(drc_row_for(CPU, &drc, input) != NULL, spot, input);
		result = step(&drc, input);
		require_at(spot_of(&drc) != NOWHERE, spot, input);
		walk->transitions++;
		walk->refused += result.status != RTAS_SUCCESS || result.refusal != DRC_ACCEPTED;
		walk->changes += !same(&drc, &spots[spot]);
		visit(walk, spot_of(&drc));
	}
}

static void every_reachable_state_is_valid_and_has_an_answer_to_everything(void **state)
{
	struct walk walk = {.states = 0};

	(void)state;
	visit(&walk, EMPTY);
	visit(&walk, CON);
	print_message("# %zu states, %zu transitions: %zu refused, %zu change the state\n",
	    walk.states, walk.transitions, walk.refused, walk.changes);
	assert_int_equal(walk.states, SPOTS); /* the specification names no other */
}

/* Call back for every combination of the fields that drc_valid() accepts. */
static size_t for_each_valid(void (*check)(const struct drc *drc))
{
	size_t count = 0;

	for (unsigned bits = 0; bits < DRC_STATE_COUNT * DRC_STATE_COUNT * 8; bits++) {
		struct drc drc = {.state = bits % DRC_STATE_COUNT,
		    .isolated_from = bits / DRC_STATE_COUNT % DRC_STATE_COUNT,
		    .attached = bits / 16 & 1,
		    .adding = bits / 32 & 1,
		    .removing = bits / 64 & 1};

		if (!drc_valid(&drc))
			continue;
		count++;
		check(&drc);
	}
	return count;
}

static void check_closed(const struct drc *drc)
{
	for (enum drc_input input = 0; input < DRC_INPUT_COUNT; input++) {
		struct drc after = *drc;

		step(&after, input);
		assert_non_null(drc_row_for(CPU, drc, input));
		assert_true(drc_valid(&after));
	}
}

static void from_what_is_valid_only_what_is_valid_can_be_reached(void **state)
{
	(void)state;
	print_message("# %zu valid states\n", for_each_valid(check_closed));
}

static void every_row_of_the_table_decides_somewhere(void **state)
{
	(void)state;
	for (size_t i = 0; i < CPU->row_count; i++) {
		bool decides = false;

		for (enum spot spot = 0; spot < SPOTS; spot++)
			decides = decides || drc_row_for(CPU, &spots[spot], CPU->rows[i].input) ==
			                         &CPU->rows[i];
		if (!decides)
			print_error("# row %zu (%s) never decides\n", i,
			    drc_input_name(CPU->rows[i].input));
		assert_true(decides);
	}
}

/* The documentation is drawn from the table: it must not say what never happens. */
static void rows_that_refuse_say_that_nothing_changes(void **state)
{
	(void)state;
	for (size_t i = 0; i < CPU->row_count; i++) {
		const struct drc_row *row = &CPU->rows[i];

		if (row->status == RTAS_SUCCESS && row->refusal == DRC_ACCEPTED)
			continue;
		assert_int_equal(row->next, DRC_STAY);
		assert_int_equal(row->effects, 0);
		assert_int_equal(row->step, OP_REQUESTED);
		assert_int_equal(row->add, OP_PENDING);
		assert_int_equal(row->remove, OP_PENDING);
	}
}

static void what_is_refused_leaves_the_state_bit_for_bit(void **state)
{
	(void)state;
	for (enum spot spot = 0; spot < SPOTS; spot++) {
		for (enum drc_input input = 0; input < DRC_INPUT_COUNT; input++) {
			struct drc drc, before;
			struct answer result;

			memcpy(&drc, &spots[spot], sizeof drc);
			memcpy(&before, &drc, sizeof drc);
			result = step(&drc, input);
			if (result.status == RTAS_SUCCESS && result.refusal == DRC_ACCEPTED)
				continue;
			require_at(memcmp(&drc, &before, sizeof drc) == 0, spot, input);
			require_at(result.effects == 0, spot, input);
		}
	}
}

static void an_input_that_does_not_exist_does_nothing(void **state)
{
	(void)state;
	for (enum spot spot = 0; spot < SPOTS; spot++) {
		struct drc drc = spots[spot];
		struct answer result = step(&drc, DRC_INPUT_COUNT);

		require_at(drc_row_for(CPU, &drc, DRC_INPUT_COUNT) == NULL, spot, DRC_INPUT_COUNT);
		require_at(same(&drc, &spots[spot]), spot, DRC_INPUT_COUNT);
		require_at(result.effects == 0, spot, DRC_INPUT_COUNT);
		require_at(result.status != RTAS_SUCCESS, spot, DRC_INPUT_COUNT);
		require_at(result.refusal != DRC_ACCEPTED, spot, DRC_INPUT_COUNT);
	}
}

static void guests_get_rtas_status_and_operators_get_refusals(void **state)
{
	(void)state;
	for (enum spot spot = 0; spot < SPOTS; spot++) {
		for (enum drc_input input = 0; input < DRC_INPUT_COUNT; input++) {
			struct drc drc = spots[spot];
			struct answer result = step(&drc, input);

			if (of_guest(input))
				require_at(result.refusal == DRC_ACCEPTED, spot, input);
			else
				require_at(result.status == RTAS_SUCCESS, spot, input);
		}
	}
}

/* --- The contract ----------------------------------------------------------------------- */

static void every_request_ends_in_exactly_one_outcome(void **state)
{
	(void)state;
	for (enum spot spot = 0; spot < SPOTS; spot++) {
		for (enum drc_input input = 0; input < DRC_INPUT_COUNT; input++) {
			struct drc drc = spots[spot];
			unsigned effects = step(&drc, input).effects;
			bool add_ended = spots[spot].adding && !drc.adding;
			bool remove_ended = spots[spot].removing && !drc.removing;

			/* A removal of what the guest does not own begins and ends at once. */
			if (input == DRC_IN_REMOVE && effects & FX(DETACH))
				remove_ended = true;
			require_at(add_ended == is_one_bit(effects & ADD_ENDS), spot, input);
			require_at(add_ended || (effects & ADD_ENDS) == 0, spot, input);
			require_at(remove_ended == is_one_bit(effects & REMOVE_ENDS), spot, input);
			require_at(remove_ended || (effects & REMOVE_ENDS) == 0, spot, input);
		}
	}
}

static void only_an_operators_input_begins_a_request(void **state)
{
	(void)state;
	for (enum spot spot = 0; spot < SPOTS; spot++) {
		for (enum drc_input input = 0; input < DRC_INPUT_COUNT; input++) {
			struct drc drc = spots[spot];
			unsigned effects = step(&drc, input).effects;

			require_at(!drc.adding || spots[spot].adding || input == DRC_IN_ATTACH,
			    spot, input);
			require_at(!drc.removing || spots[spot].removing || input == DRC_IN_REMOVE,
			    spot, input);
			require_at(!(effects & FX(NOTIFY)) || !of_guest(input), spot, input);
		}
	}
}

static void a_core_leaves_only_if_asked_for_refused_or_never_taken(void **state)
{
	(void)state;
	for (enum spot spot = 0; spot < SPOTS; spot++) {
		for (enum drc_input input = 0; input < DRC_INPUT_COUNT; input++) {
			const struct drc *before = &spots[spot];
			struct drc drc = *before;
			unsigned effects = step(&drc, input).effects;
			bool may = false;

			switch (input) {
			case DRC_IN_UNUSABLE: may = before->removing || before->adding; break;
			case DRC_IN_REMOVE: may = before->state == DRC_UNUSABLE; break;
			case DRC_IN_CANCEL_ADD: may = before->state == DRC_UNUSABLE; break;
			case DRC_IN_RESET: may = before->removing; break;
			default: break;
			}
			require_at(may || (effects & FX(DETACH)) == 0, spot, input);
			require_at(before->attached && !drc.attached ? effects & FX(DETACH)
			                                             : (effects & FX(DETACH)) == 0,
			    spot, input);
			require_at(drc.attached || drc.state == DRC_UNUSABLE, spot, input);
		}
	}
}

static void walk_as_guest(bool *seen, enum spot spot)
{
	if (seen[spot])
		return;
	seen[spot] = true;
	for (enum drc_input input = 0; input < DRC_INPUT_COUNT; input++) {
		struct drc drc = spots[spot];

		if (!of_guest(input))
			continue;
		require_at(step(&drc, input).effects == 0, spot, input);
		require_at(drc.state == DRC_UNUSABLE && !drc.attached, spot, input);
		walk_as_guest(seen, spot_of(&drc));
	}
}

static void what_has_left_is_out_of_the_guests_reach(void **state)
{
	bool seen[SPOTS] = {false};

	(void)state;
	for (enum spot spot = 0; spot < SPOTS; spot++) {
		for (enum drc_input input = 0; input < DRC_INPUT_COUNT; input++) {
			struct drc drc = spots[spot];

			if (step(&drc, input).effects & FX(DETACH))
				walk_as_guest(seen, spot_of(&drc));
		}
	}
	assert_true(seen[EMPTY]);
}

static void reset_settles_everything(void **state)
{
	(void)state;
	for (enum spot spot = 0; spot < SPOTS; spot++) {
		struct drc drc = spots[spot];
		unsigned effects = step(&drc, DRC_IN_RESET).effects;

		assert_false(drc.adding || drc.removing);
		assert_int_equal(drc.state, drc.attached ? DRC_CONFIGURED : DRC_UNUSABLE);
		assert_int_equal(drc.attached, spots[spot].attached && !spots[spot].removing);
		assert_int_equal(effects & ADD_ENDS, spots[spot].adding ? FX(ADD_SUPERSEDED) : 0);
		assert_int_equal(
		    effects & REMOVE_ENDS, spots[spot].removing ? FX(REMOVE_SUPERSEDED) : 0);
		assert_true(effects & FX(REWIND));
		assert_false(effects & FX(NOTIFY)); /* the new tree tells the guest */
	}
}

static void asking_twice_only_notifies_again(void **state)
{
	(void)state;
	for (enum spot spot = 0; spot < SPOTS; spot++) {
		struct drc drc = spots[spot], asked;

		step(&drc, DRC_IN_REMOVE);
		if (!drc.removing)
			continue;
		asked = drc;
		assert_int_equal(step(&drc, DRC_IN_REMOVE).effects, FX(NOTIFY));
		assert_true(same(&drc, &asked));
	}
}

/*
 * The one exception: a removal asked for between the guest's USABLE and its UNISOLATE. The
 * first UNISOLATE then belongs to the taking, the second is an answer to the request.
 */
static bool second_is_an_answer(enum spot spot, enum drc_input input)
{
	return input == DRC_IN_UNISOLATE && (spot == AVA_REM || spot == AVA_ADD_REM);
}

static void repeating_an_input_does_no_harm(void **state)
{
	(void)state;
	for (enum spot spot = 0; spot < SPOTS; spot++) {
		for (enum drc_input input = 0; input < DRC_INPUT_COUNT; input++) {
			struct drc drc = spots[spot], once;
			unsigned effects;

			step(&drc, input);
			once = drc;
			effects = step(&drc, input).effects;
			if (second_is_an_answer(spot, input)) {
				require_at(effects == FX(REMOVE_REJECTED), spot, input);
				continue;
			}
			require_at(same(&drc, &once), spot, input);
			require_at(
			    (effects & ~(unsigned)(FX(NOTIFY) | FX(REWIND))) == 0, spot, input);
		}
	}
}

/*
 * A removal that ends in a rejection must leave things as if it had never been asked for. Every
 * way from the request to the rejection is followed, next to a connector of which nothing was
 * asked. That one is given what the guest does, except for isolating and taking it back: those
 * are how the guest tries, and fails, to comply. When the rejection comes both must be equal.
 */
struct pair {
	struct drc asked, unasked;
};

struct pairs {
	struct pair list[SPOTS * SPOTS];
	size_t count, rejections;
};

static void note_pair(struct pairs *pairs, const struct pair *pair)
{
	for (size_t i = 0; i < pairs->count; i++)
		if (same(&pairs->list[i].asked, &pair->asked) &&
		    same(&pairs->list[i].unasked, &pair->unasked))
			return;
	assert_true(pairs->count < sizeof pairs->list / sizeof pairs->list[0]);
	pairs->list[pairs->count++] = *pair;
}

static void follow(struct pairs *pairs, struct pair pair, enum drc_input input)
{
	bool isolated = pair.asked.isolated_from != DRC_UNUSABLE;
	struct answer result = step(&pair.asked, input);

	if (result.effects & FX(REMOVE_REJECTED)) {
		pairs->rejections++;
		require_at(same(&pair.asked, &pair.unasked), spot_of(&pair.asked), input);
		return;
	}
	if (!pair.asked.removing)
		return; /* released */
	if (result.status == RTAS_SUCCESS && input != DRC_IN_ISOLATE && input != DRC_IN_REMOVE &&
	    !isolated)
		step(&pair.unasked, input);
	note_pair(pairs, &pair);
}

static void rejected_removal_is_as_if_never_asked_for(void **state)
{
	struct pairs pairs = {.count = 0};

	(void)state;
	for (enum spot spot = 0; spot < SPOTS; spot++) {
		struct pair pair = {spots[spot], spots[spot]};

		step(&pair.asked, DRC_IN_REMOVE);
		if (!spots[spot].removing && pair.asked.removing)
			note_pair(&pairs, &pair);
	}
	for (size_t i = 0; i < pairs.count; i++) {
		for (enum drc_input input = 0; input < DRC_INPUT_COUNT; input++)
			if (of_guest(input) || input == DRC_IN_REMOVE)
				follow(&pairs, pairs.list[i], input);
	}
	print_message("# %zu situations, %zu rejections\n", pairs.count, pairs.rejections);
	assert_true(pairs.rejections > 0);
}

/* The same in its simplest words: whatever mixture of isolating and failing calls precedes
 * the refusal, a core the guest has taken is back exactly where it was. */
static void rejected_removal_restores_the_exact_state(void **state)
{
	static const enum spot taken[] = {UNI, UNI_ADD, CON};
	static const enum drc_input calls[] = {DRC_IN_ISOLATE, DRC_IN_USABLE, DRC_IN_CONFIGURE};

	(void)state;
	for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
		for (unsigned sequence = 0; sequence < 3 * 3 * 3 * 3; sequence++) {
			struct drc drc = spots[taken[i]];

			step(&drc, DRC_IN_REMOVE);
			for (unsigned rest = sequence, n = 0; n < 4; n++, rest /= 3)
				step(&drc, calls[rest % 3]);
			assert_int_equal(step(&drc, DRC_IN_UNISOLATE).effects, FX(REMOVE_REJECTED));
			assert_true(same(&drc, &spots[taken[i]]));
		}
	}
}

static void cancelled_removal_keeps_the_core(void **state)
{
	(void)state;
	for (enum spot spot = 0; spot < SPOTS; spot++) {
		struct drc drc = spots[spot];
		struct answer result = step(&drc, DRC_IN_CANCEL_REMOVE);

		assert_int_equal(result.refusal == DRC_ACCEPTED, spots[spot].removing);
		assert_int_equal(drc.attached, spots[spot].attached);
		assert_int_equal(drc.state, spots[spot].state);
		assert_int_equal(drc.adding, spots[spot].adding);
		assert_false(drc.removing);
	}
}

/* --- Linux ------------------------------------------------------------------------------ */

/* A guest with Linux' order of calls (dlpar.c, hotplug-cpu.c), and what came of them. */
struct guest {
	struct drc drc;
	unsigned effects; /* since they were last taken */
	unsigned calls;   /* RTAS calls that change something, made so far */
};

static bool make(struct guest *guest, enum drc_input input)
{
	struct answer result = step(&guest->drc, input);

	guest->effects |= result.effects;
	guest->calls += of_guest(input);
	assert_true(drc_valid(&guest->drc));
	return result.status == RTAS_SUCCESS && result.refusal == DRC_ACCEPTED;
}

static unsigned take_effects(struct guest *guest)
{
	unsigned effects = guest->effects;

	guest->effects = 0;
	return effects;
}

static bool linux_acquire(struct guest *guest)
{
	if (CPU->sense(&guest->drc) != DRC_SENSE_UNUSABLE)
		return false;
	if (!make(guest, DRC_IN_USABLE))
		return false;
	if (make(guest, DRC_IN_UNISOLATE))
		return true;
	make(guest, DRC_IN_UNUSABLE);
	return false;
}

static bool linux_configure(struct guest *guest)
{
	for (unsigned i = 0; i < 30; i++) /* about as many properties as a core has */
		if (!make(guest, DRC_IN_CONFIGURE))
			return false;
	return make(guest, DRC_IN_CONFIGURE_END);
}

static bool linux_release(struct guest *guest)
{
	if (CPU->sense(&guest->drc) != DRC_SENSE_PRESENT)
		return false;
	if (!make(guest, DRC_IN_ISOLATE))
		return false;
	if (make(guest, DRC_IN_UNUSABLE))
		return true;
	make(guest, DRC_IN_UNISOLATE);
	return false;
}

/* dlpar_unisolate_drc: how Linux since 5.13 says that a removal failed. */
static void linux_say_no(struct guest *guest)
{
	if (CPU->sense(&guest->drc) == DRC_SENSE_PRESENT)
		make(guest, DRC_IN_UNISOLATE);
}

static struct guest guest_at(enum spot spot)
{
	return (struct guest){.drc = spots[spot]};
}

static void assert_at(const struct guest *guest, enum spot spot)
{
	assert_int_equal(spot_of(&guest->drc), spot);
}

static void linux_adds_a_core(void **state)
{
	struct guest guest = guest_at(EMPTY);

	(void)state;
	assert_true(make(&guest, DRC_IN_ATTACH));
	assert_int_equal(take_effects(&guest), FX(ATTACH) | FX(NOTIFY));
	assert_true(linux_acquire(&guest));
	assert_int_equal(take_effects(&guest), FX(REWIND));
	assert_true(linux_configure(&guest));
	assert_int_equal(take_effects(&guest), FX(REWIND));
	assert_at(&guest, CON_ADD);
	assert_true(make(&guest, DRC_IN_START));
	assert_int_equal(take_effects(&guest), FX(ADD_DONE));
	assert_at(&guest, CON);
}

static void linux_refuses_an_add_without_a_call_and_it_stays_cancellable(void **state)
{
	struct guest guest = guest_at(EMPTY);

	(void)state;
	make(&guest, DRC_IN_ATTACH);
	take_effects(&guest);
	assert_at(&guest, PLUGGED);
	assert_true(make(&guest, DRC_IN_CANCEL_ADD));
	assert_int_equal(take_effects(&guest), FX(DETACH) | FX(ADD_CANCELLED));
	/* It reads the event only now: the connector is empty, and harmless. */
	assert_false(linux_acquire(&guest));
	assert_int_equal(take_effects(&guest), 0);
	assert_at(&guest, EMPTY);
}

static void linux_does_not_acquire_what_it_owns(void **state)
{
	struct guest guest = guest_at(CON);

	(void)state;
	assert_false(linux_acquire(&guest));
	assert_int_equal(guest.calls, 0);
}

static void linux_fails_between_allocating_and_unisolating(void **state)
{
	struct guest guest = guest_at(EMPTY);

	(void)state;
	make(&guest, DRC_IN_ATTACH);
	take_effects(&guest);
	make(&guest, DRC_IN_USABLE);
	make(&guest, DRC_IN_UNUSABLE);
	assert_int_equal(take_effects(&guest), FX(DETACH) | FX(ADD_REJECTED));
	assert_at(&guest, EMPTY);
}

static void linux_fails_to_configure_and_gives_the_core_back(void **state)
{
	(void)state;
	for (unsigned items = 0; items < 3; items++) {
		struct guest guest = guest_at(EMPTY);

		make(&guest, DRC_IN_ATTACH);
		assert_true(linux_acquire(&guest));
		for (unsigned i = 0; i < items; i++)
			make(&guest, DRC_IN_CONFIGURE);
		take_effects(&guest);
		assert_true(linux_release(&guest));
		assert_int_equal(take_effects(&guest), FX(DETACH) | FX(ADD_REJECTED));
		assert_at(&guest, EMPTY);
		/* The connector is not wedged: the same add works now. */
		assert_true(make(&guest, DRC_IN_ATTACH));
		assert_true(
		    linux_acquire(&guest) && linux_configure(&guest) && make(&guest, DRC_IN_START));
		assert_true(take_effects(&guest) & FX(ADD_DONE));
	}
}

/* Linux with nr_cpus=2 and its third core: configured, and given back. */
static void linux_fails_to_attach_what_it_has_configured(void **state)
{
	struct guest guest = guest_at(EMPTY);

	(void)state;
	make(&guest, DRC_IN_ATTACH);
	assert_true(linux_acquire(&guest) && linux_configure(&guest));
	take_effects(&guest);
	assert_true(linux_release(&guest));
	assert_int_equal(take_effects(&guest), FX(DETACH) | FX(ADD_REJECTED));
	assert_at(&guest, EMPTY);
}

static void linux_gives_back_what_it_has_started(void **state)
{
	struct guest guest = guest_at(EMPTY);

	(void)state;
	make(&guest, DRC_IN_ATTACH);
	assert_true(linux_acquire(&guest) && linux_configure(&guest) && make(&guest, DRC_IN_START));
	take_effects(&guest);
	assert_true(linux_release(&guest));
	assert_int_equal(take_effects(&guest), FX(GIVEN));
	assert_at(&guest, GIVEN);
}

static void linux_removes_a_core(void **state)
{
	struct guest guest = guest_at(CON);

	(void)state;
	assert_true(make(&guest, DRC_IN_REMOVE));
	assert_int_equal(take_effects(&guest), FX(NOTIFY));
	assert_true(linux_release(&guest));
	assert_int_equal(take_effects(&guest), FX(DETACH) | FX(REMOVE_DONE));
	assert_at(&guest, EMPTY);
}

/* Row 0: no node of that index. Row 1: a thread cannot be taken offline. To us the same. */
static void linux_cannot_give_the_core_up(void **state)
{
	static const enum spot taken[] = {UNI, UNI_ADD, CON};

	(void)state;
	for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
		struct guest guest = guest_at(taken[i]);

		make(&guest, DRC_IN_REMOVE);
		take_effects(&guest);
		linux_say_no(&guest);
		assert_int_equal(guest.calls, 1);
		assert_int_equal(take_effects(&guest), FX(REMOVE_REJECTED));
		assert_at(&guest, taken[i]);
		/* And the retry works. */
		assert_true(make(&guest, DRC_IN_REMOVE));
		assert_true(linux_release(&guest));
		assert_true(take_effects(&guest) & FX(REMOVE_DONE));
	}
}

/* Row 0 again, for a core it never acquired: Linux makes no call; we need none. */
static void linux_is_not_asked_for_what_it_never_took(void **state)
{
	struct guest guest = guest_at(PLUGGED);

	(void)state;
	make(&guest, DRC_IN_REMOVE);
	assert_int_equal(take_effects(&guest), FX(DETACH) | FX(REMOVE_DONE) | FX(ADD_CANCELLED));
	linux_say_no(&guest);
	assert_int_equal(guest.calls, 0);
	assert_at(&guest, EMPTY);
}

/* Row 2: isolating fails; threads come back; one UNISOLATE. */
static void linux_cannot_isolate(void **state)
{
	struct guest guest = guest_at(CON);

	(void)state;
	make(&guest, DRC_IN_REMOVE);
	take_effects(&guest);
	linux_say_no(&guest);
	assert_int_equal(take_effects(&guest), FX(REMOVE_REJECTED));
	assert_at(&guest, CON);
}

/* Row 2: isolated, but freeing fails: UNISOLATE at once, and a second one as the notice. */
static void linux_cannot_free_what_it_has_isolated(void **state)
{
	struct guest guest = guest_at(CON);

	(void)state;
	make(&guest, DRC_IN_REMOVE);
	make(&guest, DRC_IN_ISOLATE);
	take_effects(&guest);
	make(&guest, DRC_IN_UNISOLATE);
	assert_int_equal(take_effects(&guest), FX(REMOVE_REJECTED));
	assert_at(&guest, CON);
	linux_say_no(&guest);
	assert_int_equal(take_effects(&guest), 0);
	assert_at(&guest, CON);
}

/* Row 3: the core has left, then detaching the node fails and Linux wants it back. */
static void linux_cannot_detach_the_node_of_a_core_that_left(void **state)
{
	struct guest guest = guest_at(CON);

	(void)state;
	make(&guest, DRC_IN_REMOVE);
	assert_true(linux_release(&guest));
	take_effects(&guest);
	assert_false(linux_acquire(&guest));
	linux_say_no(&guest);
	assert_int_equal(take_effects(&guest), 0);
	assert_at(&guest, EMPTY);
}

/* Before 5.13 a failure is silent; nothing but another event can move things on. */
static void old_linux_stays_silent_and_may_be_asked_again(void **state)
{
	struct guest guest = guest_at(CON);

	(void)state;
	make(&guest, DRC_IN_REMOVE);
	take_effects(&guest);
	for (unsigned i = 0; i < 5; i++) {
		assert_true(make(&guest, DRC_IN_REMOVE));
		assert_int_equal(take_effects(&guest), FX(NOTIFY));
		assert_at(&guest, CON_REM);
	}
	assert_true(linux_release(&guest));
	assert_int_equal(take_effects(&guest), FX(DETACH) | FX(REMOVE_DONE));
}

static void linux_gives_a_core_back_and_takes_it_again(void **state)
{
	struct guest guest = guest_at(CON);

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		assert_true(linux_release(&guest));
		assert_int_equal(take_effects(&guest), FX(GIVEN));
		assert_at(&guest, GIVEN);
		assert_false(linux_release(&guest));
		assert_true(linux_acquire(&guest));
		assert_true(linux_configure(&guest));
		assert_int_equal(take_effects(&guest), FX(REWIND) | FX(TAKEN));
		assert_at(&guest, CON);
	}
}

static void what_linux_gave_back_is_removed_at_once(void **state)
{
	struct guest guest = guest_at(CON);

	(void)state;
	assert_true(linux_release(&guest));
	take_effects(&guest);
	assert_true(make(&guest, DRC_IN_REMOVE));
	assert_int_equal(take_effects(&guest), FX(DETACH) | FX(REMOVE_DONE));
	assert_at(&guest, EMPTY);
}

/* Linux works events off one after the other: first the add to its end, then the removal. */
static void linux_is_asked_for_a_core_it_is_still_taking(void **state)
{
	(void)state;
	for (unsigned asked_after = 1; asked_after <= 3; asked_after++) {
		struct guest guest = guest_at(PLUGGED);
		unsigned step = 0;

		assert_true(make(&guest, DRC_IN_USABLE));
		if (++step == asked_after)
			make(&guest, DRC_IN_REMOVE);
		assert_true(make(&guest, DRC_IN_UNISOLATE));
		if (++step == asked_after)
			make(&guest, DRC_IN_REMOVE);
		make(&guest, DRC_IN_CONFIGURE);
		if (++step == asked_after)
			make(&guest, DRC_IN_REMOVE);
		assert_int_equal(take_effects(&guest), FX(NOTIFY) | FX(REWIND));
		assert_true(linux_configure(&guest));
		assert_int_equal(take_effects(&guest), FX(REWIND));
		assert_true(make(&guest, DRC_IN_START));
		assert_int_equal(take_effects(&guest), FX(ADD_DONE));
		assert_at(&guest, CON_REM);
		assert_true(linux_release(&guest));
		assert_int_equal(take_effects(&guest), FX(DETACH) | FX(REMOVE_DONE));
		assert_at(&guest, EMPTY);
	}
}

static void linux_fails_an_add_that_was_already_asked_back(void **state)
{
	struct guest guest = guest_at(PLUGGED);

	(void)state;
	assert_true(linux_acquire(&guest));
	make(&guest, DRC_IN_REMOVE);
	take_effects(&guest);
	assert_true(linux_release(&guest));
	assert_int_equal(take_effects(&guest), FX(DETACH) | FX(REMOVE_DONE) | FX(ADD_REJECTED));
	/* The removal's event comes next, and finds nothing. */
	linux_say_no(&guest);
	assert_int_equal(take_effects(&guest), 0);
	assert_at(&guest, EMPTY);
}

static void release_after_a_cancel_is_a_gift(void **state)
{
	struct guest guest = guest_at(CON);

	(void)state;
	make(&guest, DRC_IN_REMOVE);
	assert_true(make(&guest, DRC_IN_CANCEL_REMOVE));
	assert_int_equal(take_effects(&guest), FX(NOTIFY) | FX(REMOVE_CANCELLED));
	assert_true(linux_release(&guest));
	assert_int_equal(take_effects(&guest), FX(GIVEN));
	assert_true(make(&guest, DRC_IN_REMOVE));
	assert_int_equal(take_effects(&guest), FX(DETACH) | FX(REMOVE_DONE));
}

static void refusal_after_a_cancel_changes_nothing(void **state)
{
	struct guest guest = guest_at(CON);

	(void)state;
	make(&guest, DRC_IN_REMOVE);
	make(&guest, DRC_IN_CANCEL_REMOVE);
	take_effects(&guest);
	linux_say_no(&guest);
	assert_int_equal(take_effects(&guest), 0);
	assert_at(&guest, CON);
}

static void reset_in_the_middle_of_a_removal_completes_it(void **state)
{
	struct guest guest = guest_at(CON);

	(void)state;
	make(&guest, DRC_IN_REMOVE);
	make(&guest, DRC_IN_ISOLATE);
	take_effects(&guest);
	make(&guest, DRC_IN_RESET);
	assert_int_equal(take_effects(&guest), FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED));
	assert_at(&guest, EMPTY);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_input_in_every_state_answers_as_specified),
	    cmocka_unit_test(the_sensor_reads_unusable_until_the_guest_has_allocated),
	    cmocka_unit_test(an_index_is_the_type_and_the_id),
	    cmocka_unit_test(names_are_distinct_and_total),
	    cmocka_unit_test(every_reachable_state_is_valid_and_has_an_answer_to_everything),
	    cmocka_unit_test(from_what_is_valid_only_what_is_valid_can_be_reached),
	    cmocka_unit_test(every_row_of_the_table_decides_somewhere),
	    cmocka_unit_test(rows_that_refuse_say_that_nothing_changes),
	    cmocka_unit_test(what_is_refused_leaves_the_state_bit_for_bit),
	    cmocka_unit_test(an_input_that_does_not_exist_does_nothing),
	    cmocka_unit_test(guests_get_rtas_status_and_operators_get_refusals),
	    cmocka_unit_test(every_request_ends_in_exactly_one_outcome),
	    cmocka_unit_test(only_an_operators_input_begins_a_request),
	    cmocka_unit_test(a_core_leaves_only_if_asked_for_refused_or_never_taken),
	    cmocka_unit_test(what_has_left_is_out_of_the_guests_reach),
	    cmocka_unit_test(reset_settles_everything),
	    cmocka_unit_test(asking_twice_only_notifies_again),
	    cmocka_unit_test(repeating_an_input_does_no_harm),
	    cmocka_unit_test(rejected_removal_is_as_if_never_asked_for),
	    cmocka_unit_test(rejected_removal_restores_the_exact_state),
	    cmocka_unit_test(cancelled_removal_keeps_the_core),
	    cmocka_unit_test(linux_adds_a_core),
	    cmocka_unit_test(linux_refuses_an_add_without_a_call_and_it_stays_cancellable),
	    cmocka_unit_test(linux_does_not_acquire_what_it_owns),
	    cmocka_unit_test(linux_fails_between_allocating_and_unisolating),
	    cmocka_unit_test(linux_fails_to_configure_and_gives_the_core_back),
	    cmocka_unit_test(linux_fails_to_attach_what_it_has_configured),
	    cmocka_unit_test(linux_gives_back_what_it_has_started),
	    cmocka_unit_test(linux_removes_a_core),
	    cmocka_unit_test(linux_cannot_give_the_core_up),
	    cmocka_unit_test(linux_is_not_asked_for_what_it_never_took),
	    cmocka_unit_test(linux_cannot_isolate),
	    cmocka_unit_test(linux_cannot_free_what_it_has_isolated),
	    cmocka_unit_test(linux_cannot_detach_the_node_of_a_core_that_left),
	    cmocka_unit_test(old_linux_stays_silent_and_may_be_asked_again),
	    cmocka_unit_test(linux_gives_a_core_back_and_takes_it_again),
	    cmocka_unit_test(what_linux_gave_back_is_removed_at_once),
	    cmocka_unit_test(linux_is_asked_for_a_core_it_is_still_taking),
	    cmocka_unit_test(linux_fails_an_add_that_was_already_asked_back),
	    cmocka_unit_test(release_after_a_cancel_is_a_gift),
	    cmocka_unit_test(refusal_after_a_cancel_changes_nothing),
	    cmocka_unit_test(reset_in_the_middle_of_a_removal_completes_it),
	};

	return cmocka_run_group_tests_name("drc", tests, NULL, NULL);
}
