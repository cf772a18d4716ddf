/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drc_spots.h - what the tests of the connector share: its states by name, and one step.
 *
 * A connector has few states, so nothing is sampled.
 */
#ifndef PAPRIKA_DRC_SPOTS_H
#define PAPRIKA_DRC_SPOTS_H

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

struct answer step(struct drc *drc, enum drc_input input);

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

extern const struct drc spots[SPOTS];

bool same(const struct drc *a, const struct drc *b);

enum spot spot_of(const struct drc *drc);

bool of_guest(enum drc_input input);

/* Say which entry is meant before an assertion about it fails. */
void require_at(bool holds, enum spot spot, enum drc_input input);

#endif
