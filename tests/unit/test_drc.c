/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_drc.c - the connector's table. `specification` says for every state that can be reached, and
 * for every input, what must come out. It is written from LoPAPR 7.3.5.4 and 13.5.3 and from the
 * contract of an operation, not from the table in drc_logical.c; the two are compared entry by
 * entry.
 */
#include "drc_spots.h"

/* --- The specification ----------------------------------------------------------------------- */

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

static const struct expected specification[SPOTS][DRC_INPUT_LOGICAL] = {
[EMPTY] = {
	[DRC_IN_ISOLATE]       = TO(EMPTY, 0),
	[DRC_IN_UNISOLATE]     = PARAMETER(EMPTY),
	[DRC_IN_UNUSABLE]      = TO(EMPTY, 0),
	[DRC_IN_USABLE]        = PARAMETER(EMPTY),
	[DRC_IN_CONFIGURE]     = NOT_CONFIGURABLE(EMPTY),
	[DRC_IN_CONFIGURE_END] = NOT_CONFIGURABLE(EMPTY),
	[DRC_IN_RECONFIGURE]   = NOT_CONFIGURABLE(EMPTY),
	[DRC_IN_START]         = PARAMETER(EMPTY),
	[DRC_IN_FENCE]         = TO(EMPTY, 0),
	[DRC_IN_ATTACH]        = TO(PLUGGED, FX(ATTACH) | FX(NOTIFY)),
	[DRC_IN_REMOVE]        = REFUSED(EMPTY, EMPTY),
	[DRC_IN_CANCEL_ADD]    = REFUSED(EMPTY, NOTHING),
	[DRC_IN_CANCEL_REMOVE] = REFUSED(EMPTY, NOTHING),
	[DRC_IN_RESET]         = TO(EMPTY, FX(REWIND)),
	[DRC_IN_RESET_OFFER]   = TO(EMPTY, FX(REWIND)),
},
[PLUGGED] = {
	[DRC_IN_ISOLATE]       = TO(PLUGGED, 0),
	[DRC_IN_UNISOLATE]     = PARAMETER(PLUGGED),
	[DRC_IN_UNUSABLE]      = TO(PLUGGED, 0),
	[DRC_IN_USABLE]        = TO(AVA_ADD, 0),
	[DRC_IN_CONFIGURE]     = NOT_CONFIGURABLE(PLUGGED),
	[DRC_IN_CONFIGURE_END] = NOT_CONFIGURABLE(PLUGGED),
	[DRC_IN_RECONFIGURE]   = NOT_CONFIGURABLE(PLUGGED),
	[DRC_IN_START]         = PARAMETER(PLUGGED),
	[DRC_IN_FENCE]         = TO(EMPTY, FX(DETACH) | FX(ADD_REJECTED)),
	[DRC_IN_ATTACH]        = REFUSED(PLUGGED, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(EMPTY, FX(DETACH) | FX(REMOVE_DONE) | FX(ADD_CANCELLED)),
	[DRC_IN_CANCEL_ADD]    = TO(EMPTY, FX(DETACH) | FX(ADD_CANCELLED)),
	[DRC_IN_CANCEL_REMOVE] = REFUSED(PLUGGED, NOTHING),
	[DRC_IN_RESET]         = TO(CON, FX(REWIND) | FX(ADD_SUPERSEDED)),
	[DRC_IN_RESET_OFFER]   = TO(GIVEN, FX(REWIND) | FX(ADD_SUPERSEDED)),
},
[GIVEN] = {
	[DRC_IN_ISOLATE]       = TO(GIVEN, 0),
	[DRC_IN_UNISOLATE]     = PARAMETER(GIVEN),
	[DRC_IN_UNUSABLE]      = TO(GIVEN, 0),
	[DRC_IN_USABLE]        = TO(AVA, 0),
	[DRC_IN_CONFIGURE]     = NOT_CONFIGURABLE(GIVEN),
	[DRC_IN_CONFIGURE_END] = NOT_CONFIGURABLE(GIVEN),
	[DRC_IN_RECONFIGURE]   = NOT_CONFIGURABLE(GIVEN),
	[DRC_IN_START]         = PARAMETER(GIVEN),
	[DRC_IN_FENCE]         = TO(GIVEN, 0),
	[DRC_IN_ATTACH]        = REFUSED(GIVEN, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(EMPTY, FX(DETACH) | FX(REMOVE_DONE)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(GIVEN, NOTHING),
	[DRC_IN_CANCEL_REMOVE] = REFUSED(GIVEN, NOTHING),
	[DRC_IN_RESET]         = TO(CON, FX(REWIND)),
	[DRC_IN_RESET_OFFER]   = TO(GIVEN, FX(REWIND)),
},
[AVA] = {
	[DRC_IN_ISOLATE]       = TO(AVA, 0),
	[DRC_IN_UNISOLATE]     = TO(UNI, FX(REWIND)),
	[DRC_IN_UNUSABLE]      = TO(GIVEN, FX(GIVEN)),
	[DRC_IN_USABLE]        = TO(AVA, 0),
	[DRC_IN_CONFIGURE]     = NOT_CONFIGURABLE(AVA),
	[DRC_IN_CONFIGURE_END] = NOT_CONFIGURABLE(AVA),
	[DRC_IN_RECONFIGURE]   = NOT_CONFIGURABLE(AVA),
	[DRC_IN_START]         = TO(AVA, 0),
	[DRC_IN_FENCE]         = TO(AVA, 0),
	[DRC_IN_ATTACH]        = REFUSED(AVA, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(AVA_REM, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(AVA, NOTHING),
	[DRC_IN_CANCEL_REMOVE] = REFUSED(AVA, NOTHING),
	[DRC_IN_RESET]         = TO(CON, FX(REWIND)),
	[DRC_IN_RESET_OFFER]   = TO(GIVEN, FX(REWIND)),
},
[AVA_ADD] = {
	[DRC_IN_ISOLATE]       = TO(AVA_ADD, 0),
	[DRC_IN_UNISOLATE]     = TO(UNI_ADD, FX(REWIND)),
	[DRC_IN_UNUSABLE]      = TO(EMPTY, FX(DETACH) | FX(ADD_REJECTED)),
	[DRC_IN_USABLE]        = TO(AVA_ADD, 0),
	[DRC_IN_CONFIGURE]     = NOT_CONFIGURABLE(AVA_ADD),
	[DRC_IN_CONFIGURE_END] = NOT_CONFIGURABLE(AVA_ADD),
	[DRC_IN_RECONFIGURE]   = NOT_CONFIGURABLE(AVA_ADD),
	[DRC_IN_START]         = TO(AVA_ADD, 0),
	[DRC_IN_FENCE]         = TO(AVA_ADD, 0),
	[DRC_IN_ATTACH]        = REFUSED(AVA_ADD, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(AVA_ADD_REM, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(AVA_ADD, GUEST_OWNS),
	[DRC_IN_CANCEL_REMOVE] = REFUSED(AVA_ADD, NOTHING),
	[DRC_IN_RESET]         = TO(CON, FX(REWIND) | FX(ADD_SUPERSEDED)),
	[DRC_IN_RESET_OFFER]   = TO(GIVEN, FX(REWIND) | FX(ADD_SUPERSEDED)),
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
	[DRC_IN_RECONFIGURE]   = NOT_CONFIGURABLE(AVA_REM),
	[DRC_IN_START]         = TO(AVA_REM, 0),
	[DRC_IN_FENCE]         = TO(AVA, FX(REMOVE_REJECTED)),
	[DRC_IN_ATTACH]        = REFUSED(AVA_REM, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(AVA_REM, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(AVA_REM, NOTHING),
	[DRC_IN_CANCEL_REMOVE] = TO(AVA, FX(REMOVE_CANCELLED)),
	[DRC_IN_RESET]         = TO(EMPTY, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED)),
	[DRC_IN_RESET_OFFER]   = TO(EMPTY, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED)),
},
[AVA_ADD_REM] = {
	[DRC_IN_ISOLATE]       = TO(AVA_ADD_REM, 0),
	[DRC_IN_UNISOLATE]     = TO(UNI_ADD_REM, FX(REWIND)),
	[DRC_IN_UNUSABLE]      = TO(EMPTY, FX(DETACH) | FX(REMOVE_DONE) | FX(ADD_REJECTED)),
	[DRC_IN_USABLE]        = TO(AVA_ADD_REM, 0),
	[DRC_IN_CONFIGURE]     = NOT_CONFIGURABLE(AVA_ADD_REM),
	[DRC_IN_CONFIGURE_END] = NOT_CONFIGURABLE(AVA_ADD_REM),
	[DRC_IN_RECONFIGURE]   = NOT_CONFIGURABLE(AVA_ADD_REM),
	[DRC_IN_START]         = TO(AVA_ADD_REM, 0),
	[DRC_IN_FENCE]         = TO(AVA_ADD, FX(REMOVE_REJECTED)),
	[DRC_IN_ATTACH]        = REFUSED(AVA_ADD_REM, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(AVA_ADD_REM, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(AVA_ADD_REM, GUEST_OWNS),
	[DRC_IN_CANCEL_REMOVE] = TO(AVA_ADD, FX(REMOVE_CANCELLED)),
	[DRC_IN_RESET]         = TO(EMPTY, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED) |
				   FX(ADD_SUPERSEDED)),
	[DRC_IN_RESET_OFFER]   = TO(EMPTY, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED) |
				   FX(ADD_SUPERSEDED)),
},
[AVA_REM_UNI] = {
	[DRC_IN_ISOLATE]       = TO(AVA_REM_UNI, 0),
	[DRC_IN_UNISOLATE]     = TO(UNI, FX(REMOVE_REJECTED)),
	[DRC_IN_UNUSABLE]      = TO(EMPTY, FX(DETACH) | FX(REMOVE_DONE)),
	[DRC_IN_USABLE]        = TO(AVA_REM_UNI, 0),
	[DRC_IN_CONFIGURE]     = NOT_CONFIGURABLE(AVA_REM_UNI),
	[DRC_IN_CONFIGURE_END] = NOT_CONFIGURABLE(AVA_REM_UNI),
	[DRC_IN_RECONFIGURE]   = NOT_CONFIGURABLE(AVA_REM_UNI),
	[DRC_IN_START]         = TO(AVA_REM_UNI, 0),
	[DRC_IN_FENCE]         = TO(UNI, FX(REMOVE_REJECTED)),
	[DRC_IN_ATTACH]        = REFUSED(AVA_REM_UNI, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(AVA_REM_UNI, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(AVA_REM_UNI, NOTHING),
	[DRC_IN_CANCEL_REMOVE] = TO(AVA, FX(REMOVE_CANCELLED)),
	[DRC_IN_RESET]         = TO(EMPTY, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED)),
	[DRC_IN_RESET_OFFER]   = TO(EMPTY, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED)),
},
[AVA_REM_CON] = {
	[DRC_IN_ISOLATE]       = TO(AVA_REM_CON, 0),
	[DRC_IN_UNISOLATE]     = TO(CON, FX(REMOVE_REJECTED)),
	[DRC_IN_UNUSABLE]      = TO(EMPTY, FX(DETACH) | FX(REMOVE_DONE)),
	[DRC_IN_USABLE]        = TO(AVA_REM_CON, 0),
	[DRC_IN_CONFIGURE]     = NOT_CONFIGURABLE(AVA_REM_CON),
	[DRC_IN_CONFIGURE_END] = NOT_CONFIGURABLE(AVA_REM_CON),
	[DRC_IN_RECONFIGURE]   = NOT_CONFIGURABLE(AVA_REM_CON),
	[DRC_IN_START]         = TO(AVA_REM_CON, 0),
	[DRC_IN_FENCE]         = TO(CON, FX(REMOVE_REJECTED)),
	[DRC_IN_ATTACH]        = REFUSED(AVA_REM_CON, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(AVA_REM_CON, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(AVA_REM_CON, NOTHING),
	[DRC_IN_CANCEL_REMOVE] = TO(AVA, FX(REMOVE_CANCELLED)),
	[DRC_IN_RESET]         = TO(EMPTY, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED)),
	[DRC_IN_RESET_OFFER]   = TO(EMPTY, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED)),
},
[AVA_ADD_REM_UNI] = {
	[DRC_IN_ISOLATE]       = TO(AVA_ADD_REM_UNI, 0),
	[DRC_IN_UNISOLATE]     = TO(UNI_ADD, FX(REMOVE_REJECTED)),
	[DRC_IN_UNUSABLE]      = TO(EMPTY, FX(DETACH) | FX(REMOVE_DONE) | FX(ADD_REJECTED)),
	[DRC_IN_USABLE]        = TO(AVA_ADD_REM_UNI, 0),
	[DRC_IN_CONFIGURE]     = NOT_CONFIGURABLE(AVA_ADD_REM_UNI),
	[DRC_IN_CONFIGURE_END] = NOT_CONFIGURABLE(AVA_ADD_REM_UNI),
	[DRC_IN_RECONFIGURE]   = NOT_CONFIGURABLE(AVA_ADD_REM_UNI),
	[DRC_IN_START]         = TO(AVA_ADD_REM_UNI, 0),
	[DRC_IN_FENCE]         = TO(UNI_ADD, FX(REMOVE_REJECTED)),
	[DRC_IN_ATTACH]        = REFUSED(AVA_ADD_REM_UNI, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(AVA_ADD_REM_UNI, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(AVA_ADD_REM_UNI, GUEST_OWNS),
	[DRC_IN_CANCEL_REMOVE] = TO(AVA_ADD, FX(REMOVE_CANCELLED)),
	[DRC_IN_RESET]         = TO(EMPTY, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED) |
				   FX(ADD_SUPERSEDED)),
	[DRC_IN_RESET_OFFER]   = TO(EMPTY, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED) |
				   FX(ADD_SUPERSEDED)),
},
[AVA_ADD_REM_CON] = {
	[DRC_IN_ISOLATE]       = TO(AVA_ADD_REM_CON, 0),
	[DRC_IN_UNISOLATE]     = TO(CON_ADD, FX(REMOVE_REJECTED)),
	[DRC_IN_UNUSABLE]      = TO(EMPTY, FX(DETACH) | FX(REMOVE_DONE) | FX(ADD_REJECTED)),
	[DRC_IN_USABLE]        = TO(AVA_ADD_REM_CON, 0),
	[DRC_IN_CONFIGURE]     = NOT_CONFIGURABLE(AVA_ADD_REM_CON),
	[DRC_IN_CONFIGURE_END] = NOT_CONFIGURABLE(AVA_ADD_REM_CON),
	[DRC_IN_RECONFIGURE]   = NOT_CONFIGURABLE(AVA_ADD_REM_CON),
	[DRC_IN_START]         = TO(AVA_ADD_REM_CON, 0),
	[DRC_IN_FENCE]         = TO(CON_ADD, FX(REMOVE_REJECTED)),
	[DRC_IN_ATTACH]        = REFUSED(AVA_ADD_REM_CON, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(AVA_ADD_REM_CON, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(AVA_ADD_REM_CON, GUEST_OWNS),
	[DRC_IN_CANCEL_REMOVE] = TO(AVA_ADD, FX(REMOVE_CANCELLED)),
	[DRC_IN_RESET]         = TO(EMPTY, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED) |
				   FX(ADD_SUPERSEDED)),
	[DRC_IN_RESET_OFFER]   = TO(EMPTY, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED) |
				   FX(ADD_SUPERSEDED)),
},
[UNI] = {
	[DRC_IN_ISOLATE]       = TO(AVA, 0),
	[DRC_IN_UNISOLATE]     = TO(UNI, 0),
	[DRC_IN_UNUSABLE]      = PARAMETER(UNI),
	[DRC_IN_USABLE]        = TO(UNI, 0),
	[DRC_IN_CONFIGURE]     = TO(UNI, 0),
	[DRC_IN_CONFIGURE_END] = TO(CON, FX(REWIND) | FX(TAKEN)),
	[DRC_IN_RECONFIGURE]   = TO(UNI, 0),
	[DRC_IN_START]         = TO(UNI, 0),
	[DRC_IN_FENCE]         = TO(UNI, 0),
	[DRC_IN_ATTACH]        = REFUSED(UNI, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(UNI_REM, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(UNI, NOTHING),
	[DRC_IN_CANCEL_REMOVE] = REFUSED(UNI, NOTHING),
	[DRC_IN_RESET]         = TO(CON, FX(REWIND)),
	[DRC_IN_RESET_OFFER]   = TO(GIVEN, FX(REWIND)),
},
[UNI_ADD] = {
	[DRC_IN_ISOLATE]       = TO(AVA_ADD, 0),
	[DRC_IN_UNISOLATE]     = TO(UNI_ADD, 0),
	[DRC_IN_UNUSABLE]      = PARAMETER(UNI_ADD),
	[DRC_IN_USABLE]        = TO(UNI_ADD, 0),
	[DRC_IN_CONFIGURE]     = TO(UNI_ADD, 0),
	[DRC_IN_CONFIGURE_END] = TO(CON_ADD, FX(REWIND)),
	[DRC_IN_RECONFIGURE]   = TO(UNI_ADD, 0),
	[DRC_IN_START]         = TO(UNI_ADD, 0),
	[DRC_IN_FENCE]         = TO(UNI_ADD, 0),
	[DRC_IN_ATTACH]        = REFUSED(UNI_ADD, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(UNI_ADD_REM, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(UNI_ADD, GUEST_OWNS),
	[DRC_IN_CANCEL_REMOVE] = REFUSED(UNI_ADD, NOTHING),
	[DRC_IN_RESET]         = TO(CON, FX(REWIND) | FX(ADD_SUPERSEDED)),
	[DRC_IN_RESET_OFFER]   = TO(GIVEN, FX(REWIND) | FX(ADD_SUPERSEDED)),
},
[UNI_REM] = {
	[DRC_IN_ISOLATE]       = TO(AVA_REM_UNI, 0),
	[DRC_IN_UNISOLATE]     = TO(UNI, FX(REMOVE_REJECTED)),
	[DRC_IN_UNUSABLE]      = PARAMETER(UNI_REM),
	[DRC_IN_USABLE]        = TO(UNI_REM, 0),
	[DRC_IN_CONFIGURE]     = TO(UNI_REM, 0),
	[DRC_IN_CONFIGURE_END] = TO(CON_REM, FX(REWIND) | FX(TAKEN)),
	[DRC_IN_RECONFIGURE]   = TO(UNI_REM, 0),
	[DRC_IN_START]         = TO(UNI_REM, 0),
	[DRC_IN_FENCE]         = TO(UNI, FX(REMOVE_REJECTED)),
	[DRC_IN_ATTACH]        = REFUSED(UNI_REM, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(UNI_REM, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(UNI_REM, NOTHING),
	[DRC_IN_CANCEL_REMOVE] = TO(UNI, FX(REMOVE_CANCELLED)),
	[DRC_IN_RESET]         = TO(EMPTY, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED)),
	[DRC_IN_RESET_OFFER]   = TO(EMPTY, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED)),
},
[UNI_ADD_REM] = {
	[DRC_IN_ISOLATE]       = TO(AVA_ADD_REM_UNI, 0),
	[DRC_IN_UNISOLATE]     = TO(UNI_ADD, FX(REMOVE_REJECTED)),
	[DRC_IN_UNUSABLE]      = PARAMETER(UNI_ADD_REM),
	[DRC_IN_USABLE]        = TO(UNI_ADD_REM, 0),
	[DRC_IN_CONFIGURE]     = TO(UNI_ADD_REM, 0),
	[DRC_IN_CONFIGURE_END] = TO(CON_ADD_REM, FX(REWIND)),
	[DRC_IN_RECONFIGURE]   = TO(UNI_ADD_REM, 0),
	[DRC_IN_START]         = TO(UNI_ADD_REM, 0),
	[DRC_IN_FENCE]         = TO(UNI_ADD, FX(REMOVE_REJECTED)),
	[DRC_IN_ATTACH]        = REFUSED(UNI_ADD_REM, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(UNI_ADD_REM, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(UNI_ADD_REM, GUEST_OWNS),
	[DRC_IN_CANCEL_REMOVE] = TO(UNI_ADD, FX(REMOVE_CANCELLED)),
	[DRC_IN_RESET]         = TO(EMPTY, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED) |
				   FX(ADD_SUPERSEDED)),
	[DRC_IN_RESET_OFFER]   = TO(EMPTY, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED) |
				   FX(ADD_SUPERSEDED)),
},
[CON] = {
	[DRC_IN_ISOLATE]       = TO(AVA, 0),
	[DRC_IN_UNISOLATE]     = TO(CON, 0),
	[DRC_IN_UNUSABLE]      = PARAMETER(CON),
	[DRC_IN_USABLE]        = TO(CON, 0),
	[DRC_IN_CONFIGURE]     = TO(CON, 0),
	[DRC_IN_CONFIGURE_END] = TO(CON, FX(REWIND)),
	[DRC_IN_RECONFIGURE]   = TO(CON, 0),
	[DRC_IN_START]         = TO(CON, 0),
	[DRC_IN_FENCE]         = TO(CON, 0),
	[DRC_IN_ATTACH]        = REFUSED(CON, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(CON_REM, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(CON, NOTHING),
	[DRC_IN_CANCEL_REMOVE] = REFUSED(CON, NOTHING),
	[DRC_IN_RESET]         = TO(CON, FX(REWIND)),
	[DRC_IN_RESET_OFFER]   = TO(GIVEN, FX(REWIND)),
},
[CON_ADD] = {
	[DRC_IN_ISOLATE]       = TO(AVA_ADD, 0),
	[DRC_IN_UNISOLATE]     = TO(CON_ADD, 0),
	[DRC_IN_UNUSABLE]      = PARAMETER(CON_ADD),
	[DRC_IN_USABLE]        = TO(CON_ADD, 0),
	[DRC_IN_CONFIGURE]     = TO(CON_ADD, 0),
	[DRC_IN_CONFIGURE_END] = TO(CON_ADD, FX(REWIND)),
	[DRC_IN_RECONFIGURE]   = TO(CON_ADD, 0),
	[DRC_IN_START]         = TO(CON, FX(ADD_DONE)),
	[DRC_IN_FENCE]         = TO(CON, FX(ADD_DONE)),
	[DRC_IN_ATTACH]        = REFUSED(CON_ADD, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(CON_ADD_REM, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(CON_ADD, GUEST_OWNS),
	[DRC_IN_CANCEL_REMOVE] = REFUSED(CON_ADD, NOTHING),
	[DRC_IN_RESET]         = TO(CON, FX(REWIND) | FX(ADD_SUPERSEDED)),
	[DRC_IN_RESET_OFFER]   = TO(GIVEN, FX(REWIND) | FX(ADD_SUPERSEDED)),
},
[CON_REM] = {
	[DRC_IN_ISOLATE]       = TO(AVA_REM_CON, 0),
	[DRC_IN_UNISOLATE]     = TO(CON, FX(REMOVE_REJECTED)),
	[DRC_IN_UNUSABLE]      = PARAMETER(CON_REM),
	[DRC_IN_USABLE]        = TO(CON_REM, 0),
	[DRC_IN_CONFIGURE]     = TO(CON_REM, 0),
	[DRC_IN_CONFIGURE_END] = TO(CON_REM, FX(REWIND)),
	[DRC_IN_RECONFIGURE]   = TO(CON_REM, 0),
	[DRC_IN_START]         = TO(CON_REM, 0),
	[DRC_IN_FENCE]         = TO(CON, FX(REMOVE_REJECTED)),
	[DRC_IN_ATTACH]        = REFUSED(CON_REM, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(CON_REM, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(CON_REM, NOTHING),
	[DRC_IN_CANCEL_REMOVE] = TO(CON, FX(REMOVE_CANCELLED)),
	[DRC_IN_RESET]         = TO(EMPTY, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED)),
	[DRC_IN_RESET_OFFER]   = TO(EMPTY, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED)),
},
[CON_ADD_REM] = {
	[DRC_IN_ISOLATE]       = TO(AVA_ADD_REM_CON, 0),
	[DRC_IN_UNISOLATE]     = TO(CON_ADD, FX(REMOVE_REJECTED)),
	[DRC_IN_UNUSABLE]      = PARAMETER(CON_ADD_REM),
	[DRC_IN_USABLE]        = TO(CON_ADD_REM, 0),
	[DRC_IN_CONFIGURE]     = TO(CON_ADD_REM, 0),
	[DRC_IN_CONFIGURE_END] = TO(CON_ADD_REM, FX(REWIND)),
	[DRC_IN_RECONFIGURE]   = TO(CON_ADD_REM, 0),
	[DRC_IN_START]         = TO(CON_REM, FX(ADD_DONE)),
	[DRC_IN_FENCE]         = TO(CON, FX(ADD_DONE) | FX(REMOVE_REJECTED)),
	[DRC_IN_ATTACH]        = REFUSED(CON_ADD_REM, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(CON_ADD_REM, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = REFUSED(CON_ADD_REM, GUEST_OWNS),
	[DRC_IN_CANCEL_REMOVE] = TO(CON_ADD, FX(REMOVE_CANCELLED)),
	[DRC_IN_RESET]         = TO(EMPTY, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED) |
				   FX(ADD_SUPERSEDED)),
	[DRC_IN_RESET_OFFER]   = TO(EMPTY, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED) |
				   FX(ADD_SUPERSEDED)),
},
};
/* clang-format on */

/* --- The table ------------------------------------------------------------------------------- */

static void every_input_in_every_state_answers_as_specified(void **state)
{
	(void)state;
	for (enum spot spot = 0; spot < SPOTS; spot++) {
		for (enum drc_input input = 0; input < DRC_INPUT_LOGICAL; input++) {
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
	assert_string_equal(drc_state_name(&drc_type_cpu, DRC_UNUSABLE), "unusable");
	assert_string_equal(drc_state_name(&drc_type_cpu, DRC_CONFIGURED), "configured");
	assert_string_equal(drc_state_name(&drc_type_cpu, DRC_STATE_COUNT), "invalid");
	assert_string_equal(drc_indicator_name(DRC_ISOLATION_STATE), "isolation-state");
	assert_string_equal(drc_indicator_name(DRC_DR_INDICATOR), "dr-indicator");
	assert_string_equal(drc_indicator_name(DRC_ALLOCATION_STATE), "allocation-state");
	assert_null(drc_indicator_name(9004));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_input_in_every_state_answers_as_specified),
	    cmocka_unit_test(the_sensor_reads_unusable_until_the_guest_has_allocated),
	    cmocka_unit_test(an_index_is_the_type_and_the_id),
	    cmocka_unit_test(names_are_distinct_and_total),
	};

	return cmocka_run_group_tests_name("drc", tests, NULL, NULL);
}
