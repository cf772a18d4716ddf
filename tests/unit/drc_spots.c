/* SPDX-License-Identifier: Apache-2.0 */
/* drc_spots.c - see drc_spots.h. */
#include "drc_spots.h"

static unsigned end_bit(enum op_outcome outcome, unsigned done)
{
	return outcome == OP_PENDING ? 0 : done << (outcome - OP_DONE);
}

struct answer step(struct drc *drc, enum drc_input input)
{
	struct drc_result result = drc_step(CPU, drc, input);

	return (struct answer){result.status, result.refusal,
	    result.effects | end_bit(result.add, FX_ADD_DONE) |
	        end_bit(result.remove, FX_REMOVE_DONE)};
}

/* clang-format off */
const struct drc spots[SPOTS] = {
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

bool same(const struct drc *a, const struct drc *b)
{
	return a->state == b->state && a->attached == b->attached && a->adding == b->adding &&
	       a->removing == b->removing && a->isolated_from == b->isolated_from;
}

enum spot spot_of(const struct drc *drc)
{
	for (enum spot spot = 0; spot < SPOTS; spot++)
		if (same(drc, &spots[spot]))
			return spot;
	return NOWHERE;
}

bool of_guest(enum drc_input input)
{
	return input < DRC_IN_ATTACH;
}

void require_at(bool holds, enum spot spot, enum drc_input input)
{
	const struct drc *drc = &spots[spot < SPOTS ? spot : EMPTY];

	if (holds)
		return;
	print_error("# at %s%s%s%s, isolated from %s, input %s\n",
	    drc_state_name(&drc_type_cpu, drc->state), drc->attached ? " attached" : "",
	    drc->adding ? " adding" : "", drc->removing ? " removing" : "",
	    drc_state_name(&drc_type_cpu, drc->isolated_from), drc_input_name(input));
	fail();
}
