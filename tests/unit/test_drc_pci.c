/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_drc_pci.c - the table of physical connectors, which slots of a PCI bus have. `specification`
 * says for each place that a connector can be in, for each input, and for what is pending, what
 * must come out. It is written from LoPAPR 13.5.3 and from what the tools of a Linux guest send,
 * not from the table in drc_pci.c; the two are compared entry by entry. Then the rules that hold
 * everywhere.
 */
#include "drc_spots.h"

#define PCI (&drc_type_pci)

/* --- The specification ----------------------------------------------------------------------- */

enum place { EMPTY_SLOT, ISOLATED, RELEASING, UNISOLATED, CONFIGURED, PLACES, BACK };
enum pending { IDLE, ADD, REM, BOTH, PENDINGS };

struct expected {
	bool stated; /* so that a hole in the specification is noticed */
	enum rtas_status status;
	enum drc_refusal refusal;
	enum op_step step;
	struct {
		enum place next;
		unsigned fx;
	} by[PENDINGS];
};

/* clang-format off */
/* The same whatever is pending, but for the ends of what is. */
#define TO(next, fx) {.stated = true, .by = {{next, fx}, {next, fx}, {next, fx}, {next, fx}}}
#define STEP(next, name, fx) {.stated = true, .step = OP_##name, .by = {{next, fx}, {next, fx}, {next, fx}, {next, fx}}}
#define KEEP(place) TO(place, 0)
#define ERROR(place, name) {.stated = true, .status = RTAS_##name, .by = {{place, 0}, {place, 0}, {place, 0}, {place, 0}}}
#define REFUSED(place, why) {.stated = true, .refusal = DRC_##why, .by = {{place, 0}, {place, 0}, {place, 0}, {place, 0}}}

/* The guest has let go, and the connector is isolated. Unasked: it stays plugged in, isolated. */
#define GONE(idle_fx) {.stated = true, .by = { \
	[IDLE] = {ISOLATED, idle_fx}, \
	[ADD] = {EMPTY_SLOT, FX(DETACH) | FX(ADD_REJECTED)}, \
	[REM] = {EMPTY_SLOT, FX(DETACH) | FX(REMOVE_DONE)}, \
	[BOTH] = {EMPTY_SLOT, FX(DETACH) | FX(ADD_REJECTED) | FX(REMOVE_DONE)}}}

/* What is asked back by force has gone, and nothing else has. */
#define TAKEN_AWAY(place) {.stated = true, .by = { \
	[IDLE] = {place, 0}, \
	[ADD] = {place, 0}, \
	[REM] = {EMPTY_SLOT, FX(DETACH) | FX(REMOVE_DONE)}, \
	[BOTH] = {EMPTY_SLOT, FX(DETACH) | FX(ADD_REJECTED) | FX(REMOVE_DONE)}}}

/* After a reset: what was asked back has gone, what stays is at `place`. */
#define RESET_TO(place) {.stated = true, .by = { \
	[IDLE] = {place, FX(REWIND)}, \
	[ADD] = {place, FX(REWIND) | FX(ADD_SUPERSEDED)}, \
	[REM] = {EMPTY_SLOT, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED)}, \
	[BOTH] = {EMPTY_SLOT, FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED) | FX(ADD_SUPERSEDED)}}}

/* Both kinds of cancelling, where the guest has the device. */
#define CANCEL_REMOVE(place) {.stated = true, .refusal = DRC_NOTHING, .by = { \
	[IDLE] = {place, 0}, [ADD] = {place, 0}, \
	[REM] = {place, FX(REMOVE_CANCELLED)}, [BOTH] = {place, FX(REMOVE_CANCELLED)}}}
#define CANCEL_ADD(place) {.stated = true, .refusal = DRC_NOTHING, .by = { \
	[IDLE] = {place, 0}, [ADD] = {place, 0}, [REM] = {place, 0}, [BOTH] = {place, 0}}}

static const struct expected specification[PLACES][DRC_INPUT_COUNT] = {
[EMPTY_SLOT] = {
	[DRC_IN_ISOLATE]       = KEEP(EMPTY_SLOT),
	[DRC_IN_UNISOLATE]     = ERROR(EMPTY_SLOT, PARAMETER_ERROR),
	[DRC_IN_UNUSABLE]      = ERROR(EMPTY_SLOT, PARAMETER_ERROR),
	[DRC_IN_USABLE]        = ERROR(EMPTY_SLOT, PARAMETER_ERROR),
	[DRC_IN_CONFIGURE]     = ERROR(EMPTY_SLOT, NOT_CONFIGURABLE),
	[DRC_IN_CONFIGURE_END] = ERROR(EMPTY_SLOT, NOT_CONFIGURABLE),
	[DRC_IN_RECONFIGURE]   = ERROR(EMPTY_SLOT, NOT_CONFIGURABLE),
	[DRC_IN_START]         = KEEP(EMPTY_SLOT),
	[DRC_IN_FENCE]         = KEEP(EMPTY_SLOT),
	[DRC_IN_ATTACH]        = TO(ISOLATED, FX(ATTACH) | FX(NOTIFY)),
	[DRC_IN_REMOVE]        = REFUSED(EMPTY_SLOT, EMPTY),
	[DRC_IN_CANCEL_ADD]    = REFUSED(EMPTY_SLOT, NOTHING),
	[DRC_IN_CANCEL_REMOVE] = REFUSED(EMPTY_SLOT, NOTHING),
	[DRC_IN_RESET]         = TO(EMPTY_SLOT, FX(REWIND)),
	[DRC_IN_RESET_OFFER]   = TO(EMPTY_SLOT, FX(REWIND)),
	[DRC_IN_TOOL_BEGINS]   = KEEP(EMPTY_SLOT),
	[DRC_IN_TOOL_STOPS]    = KEEP(EMPTY_SLOT),
	[DRC_IN_ISOLATE_USED]  = KEEP(EMPTY_SLOT),
	[DRC_IN_LET_GO]        = KEEP(EMPTY_SLOT),
	[DRC_IN_TAKE_AWAY]     = KEEP(EMPTY_SLOT),
},
/* The first call of a tool that adds is ISOLATE: it says nothing. */
[ISOLATED] = {
	[DRC_IN_ISOLATE]       = KEEP(ISOLATED),
	[DRC_IN_UNISOLATE]     = STEP(UNISOLATED, UNISOLATED, FX(REWIND)),
	[DRC_IN_UNUSABLE]      = ERROR(ISOLATED, PARAMETER_ERROR),
	[DRC_IN_USABLE]        = ERROR(ISOLATED, PARAMETER_ERROR),
	[DRC_IN_CONFIGURE]     = ERROR(ISOLATED, NOT_CONFIGURABLE),
	[DRC_IN_CONFIGURE_END] = ERROR(ISOLATED, NOT_CONFIGURABLE),
	[DRC_IN_RECONFIGURE]   = ERROR(ISOLATED, NOT_CONFIGURABLE),
	[DRC_IN_START]         = KEEP(ISOLATED),
	[DRC_IN_FENCE]         = KEEP(ISOLATED),
	[DRC_IN_ATTACH]        = REFUSED(ISOLATED, OCCUPIED),
	[DRC_IN_REMOVE]        = {.stated = true, .by = {
		[IDLE] = {EMPTY_SLOT, FX(DETACH) | FX(REMOVE_DONE)},
		[ADD] = {EMPTY_SLOT, FX(DETACH) | FX(REMOVE_DONE) | FX(ADD_CANCELLED)}}},
	[DRC_IN_CANCEL_ADD]    = {.stated = true, .refusal = DRC_NOTHING, .by = {
		[IDLE] = {ISOLATED, 0},
		[ADD] = {EMPTY_SLOT, FX(DETACH) | FX(ADD_CANCELLED)}}},
	[DRC_IN_CANCEL_REMOVE] = REFUSED(ISOLATED, NOTHING),
	[DRC_IN_RESET]         = RESET_TO(CONFIGURED),
	[DRC_IN_RESET_OFFER]   = RESET_TO(ISOLATED),
	[DRC_IN_TOOL_BEGINS]   = KEEP(ISOLATED),
	[DRC_IN_TOOL_STOPS]    = KEEP(ISOLATED),
	[DRC_IN_ISOLATE_USED]  = KEEP(ISOLATED),
	[DRC_IN_LET_GO]        = KEEP(ISOLATED),
	[DRC_IN_TAKE_AWAY]     = KEEP(ISOLATED),
},
/* Isolated in use. The guest may take it back: then a removal that it isolated it for is refused,
 * and of one that it has never been told of it is told now. */
[RELEASING] = {
	[DRC_IN_ISOLATE]       = GONE(FX(GIVEN)),
	[DRC_IN_UNISOLATE]     = {.stated = true, .by = {
		[IDLE] = {UNISOLATED, FX(REWIND)},
		[ADD] = {UNISOLATED, FX(REWIND)},
		[REM] = {UNISOLATED, FX(REWIND) | FX(NOTIFY)},
		[BOTH] = {UNISOLATED, FX(REWIND) | FX(NOTIFY)}}},
	[DRC_IN_UNUSABLE]      = ERROR(RELEASING, PARAMETER_ERROR),
	[DRC_IN_USABLE]        = ERROR(RELEASING, PARAMETER_ERROR),
	[DRC_IN_CONFIGURE]     = ERROR(RELEASING, NOT_CONFIGURABLE),
	[DRC_IN_CONFIGURE_END] = ERROR(RELEASING, NOT_CONFIGURABLE),
	[DRC_IN_RECONFIGURE]   = ERROR(RELEASING, NOT_CONFIGURABLE),
	[DRC_IN_START]         = KEEP(RELEASING),
	[DRC_IN_FENCE]         = KEEP(RELEASING),
	[DRC_IN_ATTACH]        = REFUSED(RELEASING, OCCUPIED),
	[DRC_IN_REMOVE]        = KEEP(RELEASING), /* the guest has done its part */
	[DRC_IN_CANCEL_ADD]    = CANCEL_ADD(RELEASING),
	[DRC_IN_CANCEL_REMOVE] = CANCEL_REMOVE(RELEASING),
	[DRC_IN_RESET]         = RESET_TO(CONFIGURED),
	[DRC_IN_RESET_OFFER]   = RESET_TO(ISOLATED),
	[DRC_IN_TOOL_BEGINS]   = KEEP(RELEASING),
	[DRC_IN_TOOL_STOPS]    = KEEP(RELEASING),
	[DRC_IN_ISOLATE_USED]  = KEEP(RELEASING),
	[DRC_IN_LET_GO]        = GONE(FX(GIVEN)),
	[DRC_IN_TAKE_AWAY]     = KEEP(RELEASING), /* the driver's letting go tells */
},
[UNISOLATED] = {
	[DRC_IN_ISOLATE]       = GONE(FX(GIVEN)),
	[DRC_IN_UNISOLATE]     = KEEP(UNISOLATED),
	[DRC_IN_UNUSABLE]      = ERROR(UNISOLATED, PARAMETER_ERROR),
	[DRC_IN_USABLE]        = ERROR(UNISOLATED, PARAMETER_ERROR),
	[DRC_IN_CONFIGURE]     = KEEP(UNISOLATED),
	[DRC_IN_CONFIGURE_END] = {.stated = true, .by = {
		[IDLE] = {CONFIGURED, FX(REWIND) | FX(TAKEN)},
		[ADD] = {CONFIGURED, FX(REWIND)},
		[REM] = {CONFIGURED, FX(REWIND) | FX(TAKEN)},
		[BOTH] = {CONFIGURED, FX(REWIND)}}},
	[DRC_IN_RECONFIGURE]   = KEEP(UNISOLATED),
	[DRC_IN_START]         = KEEP(UNISOLATED),
	[DRC_IN_FENCE]         = KEEP(UNISOLATED),
	[DRC_IN_ATTACH]        = REFUSED(UNISOLATED, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(UNISOLATED, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = CANCEL_ADD(UNISOLATED),
	[DRC_IN_CANCEL_REMOVE] = CANCEL_REMOVE(UNISOLATED),
	[DRC_IN_RESET]         = RESET_TO(CONFIGURED),
	[DRC_IN_RESET_OFFER]   = RESET_TO(ISOLATED),
	[DRC_IN_TOOL_BEGINS]   = KEEP(UNISOLATED),
	[DRC_IN_TOOL_STOPS]    = KEEP(UNISOLATED),
	[DRC_IN_ISOLATE_USED]  = STEP(RELEASING, ISOLATED, 0),
	[DRC_IN_LET_GO]        = KEEP(UNISOLATED),
	[DRC_IN_TAKE_AWAY]     = TAKEN_AWAY(UNISOLATED),
},
[CONFIGURED] = {
	[DRC_IN_ISOLATE]       = GONE(FX(GIVEN)),
	[DRC_IN_UNISOLATE]     = KEEP(CONFIGURED),
	[DRC_IN_UNUSABLE]      = ERROR(CONFIGURED, PARAMETER_ERROR),
	[DRC_IN_USABLE]        = ERROR(CONFIGURED, PARAMETER_ERROR),
	[DRC_IN_CONFIGURE]     = KEEP(CONFIGURED),
	[DRC_IN_CONFIGURE_END] = TO(CONFIGURED, FX(REWIND)),
	[DRC_IN_RECONFIGURE]   = KEEP(CONFIGURED),
	[DRC_IN_START]         = {.stated = true, .by = {
		[IDLE] = {CONFIGURED, 0},
		[ADD] = {CONFIGURED, FX(ADD_DONE)},
		[REM] = {CONFIGURED, 0},
		[BOTH] = {CONFIGURED, FX(ADD_DONE)}}},
	[DRC_IN_FENCE]         = KEEP(CONFIGURED),
	[DRC_IN_ATTACH]        = REFUSED(CONFIGURED, OCCUPIED),
	[DRC_IN_REMOVE]        = TO(CONFIGURED, FX(NOTIFY)),
	[DRC_IN_CANCEL_ADD]    = CANCEL_ADD(CONFIGURED),
	[DRC_IN_CANCEL_REMOVE] = CANCEL_REMOVE(CONFIGURED),
	[DRC_IN_RESET]         = RESET_TO(CONFIGURED),
	[DRC_IN_RESET_OFFER]   = RESET_TO(ISOLATED),
	[DRC_IN_TOOL_BEGINS]   = KEEP(CONFIGURED),
	[DRC_IN_TOOL_STOPS]    = KEEP(CONFIGURED),
	[DRC_IN_ISOLATE_USED]  = STEP(RELEASING, ISOLATED, 0),
	[DRC_IN_LET_GO]        = KEEP(CONFIGURED),
	[DRC_IN_TAKE_AWAY]     = TAKEN_AWAY(CONFIGURED),
},
};
/* clang-format on */

static enum place place_of(const struct drc *drc)
{
	switch (drc->state) {
	case DRC_UNUSABLE: return drc->attached ? ISOLATED : EMPTY_SLOT;
	case DRC_AVAILABLE: return RELEASING;
	case DRC_UNISOLATED: return UNISOLATED;
	default: return CONFIGURED;
	}
}

static bool is_here(const struct drc *drc)
{
	return drc->state == DRC_UNISOLATED || drc->state == DRC_CONFIGURED;
}

/* The entry, and what a removal that the guest has begun to work on changes of it. */
static struct expected expected_of(const struct drc *drc, enum drc_input input)
{
	static const enum place back[] = {
	    [DRC_UNISOLATED] = UNISOLATED, [DRC_CONFIGURED] = CONFIGURED};
	struct expected expected = specification[place_of(drc)][input];

	if (input == DRC_IN_UNISOLATE && drc->isolated_from != DRC_UNUSABLE)
		for (enum pending pending = REM; pending <= BOTH; pending++) {
			expected.by[pending].next = back[drc->isolated_from];
			expected.by[pending].fx = FX(REMOVE_REJECTED);
		}
	if (input == DRC_IN_TOOL_STOPS && is_here(drc) && drc->answered)
		for (enum pending pending = REM; pending <= BOTH; pending++)
			expected.by[pending].fx = FX(REMOVE_REJECTED);
	/* What "refused" says of nothing pending does not hold for what is. */
	if (input == DRC_IN_CANCEL_REMOVE && drc->removing)
		expected.refusal = DRC_ACCEPTED;
	if (input == DRC_IN_CANCEL_ADD && drc->adding)
		expected.refusal = drc->state == DRC_UNUSABLE ? DRC_ACCEPTED : DRC_GUEST_OWNS;
	return expected;
}

/* The step that the pending operation must pass besides. */
static enum op_step step_expected(
    const struct drc *drc, enum drc_input input, const struct expected *expected)
{
	switch (input) {
	case DRC_IN_ISOLATE: return drc->removing ? OP_ISOLATED : OP_REQUESTED;
	case DRC_IN_CONFIGURE_END:
		return drc->state == DRC_UNISOLATED && drc->adding ? OP_CONFIGURED : OP_REQUESTED;
	case DRC_IN_START:
		return drc->state == DRC_CONFIGURED && drc->adding ? OP_STARTED : OP_REQUESTED;
	case DRC_IN_TOOL_BEGINS: return drc->removing ? OP_ANSWERED : OP_REQUESTED;
	case DRC_IN_LET_GO:
		if (!drc->removing)
			return OP_REQUESTED;
		return drc->state == DRC_AVAILABLE ? OP_RELEASED : OP_STOPPED;
	case DRC_IN_TAKE_AWAY: return drc->removing && is_here(drc) ? OP_RELEASED : OP_REQUESTED;
	default: return expected->step;
	}
}

static unsigned end_bit(enum op_outcome outcome, unsigned done)
{
	return outcome == OP_PENDING ? 0 : done << (outcome - OP_DONE);
}

static struct answer pci_step(struct drc *drc, enum drc_input input)
{
	struct drc_result result = drc_step(PCI, drc, input);

	return (struct answer){result.status, result.refusal,
	    result.effects | end_bit(result.add, FX_ADD_DONE) |
	        end_bit(result.remove, FX_REMOVE_DONE)};
}

/* --- The walk -------------------------------------------------------------------------------- */

static bool equal(const struct drc *a, const struct drc *b)
{
	return a->state == b->state && a->attached == b->attached && a->adding == b->adding &&
	       a->removing == b->removing && a->isolated_from == b->isolated_from &&
	       a->answered == b->answered;
}

enum { STATES_MAX = 64 };
static struct {
	struct drc list[STATES_MAX];
	size_t count;
} reached;

static void reach(const struct drc *drc)
{
	for (size_t i = 0; i < reached.count; i++)
		if (equal(&reached.list[i], drc))
			return;
	assert_true(reached.count < STATES_MAX);
	reached.list[reached.count++] = *drc;
}

/* All that can be reached from where slots start: empty, or filled at boot. */
static int walk(void **state)
{
	(void)state;
	reached.count = 0;
	reach(&(struct drc){0});
	reach(&(struct drc){.state = DRC_CONFIGURED, .attached = true});
	for (size_t i = 0; i < reached.count; i++)
		for (enum drc_input input = 0; input < DRC_INPUT_COUNT; input++) {
			struct drc drc = reached.list[i];

			drc_step(PCI, &drc, input);
			reach(&drc);
		}
	return 0;
}

static void require(bool holds, const struct drc *drc, enum drc_input input)
{
	if (holds)
		return;
	print_error("# at %s%s%s%s%s, isolated from %s, input %s\n",
	    drc_state_name(PCI, drc->state), drc->attached ? " attached" : "",
	    drc->adding ? " adding" : "", drc->removing ? " removing" : "",
	    drc->answered ? " answered" : "", drc_state_name(PCI, drc->isolated_from),
	    drc_input_name(input));
	fail();
}

/* A rule is asked of each reachable state and each input. */
struct move {
	struct drc before, after;
	enum drc_input input;
	struct answer got;
	enum op_step step;
};

static void each_move(void (*rule)(const struct move *move))
{
	for (size_t i = 0; i < reached.count; i++)
		for (enum drc_input input = 0; input < DRC_INPUT_COUNT; input++) {
			struct move move = {
			    .before = reached.list[i], .after = reached.list[i], .input = input};
			struct drc copy = reached.list[i];

			move.step = drc_step(PCI, &copy, input).step;
			move.got = pci_step(&move.after, input);
			rule(&move);
		}
}

#define REQUIRE(condition) require(condition, &move->before, move->input)

static void answers_as_specified(const struct move *move)
{
	const struct drc *drc = &move->before;
	struct expected expected = expected_of(drc, move->input);
	enum pending pending = (drc->adding ? ADD : IDLE) + (drc->removing ? REM : IDLE);

	REQUIRE(expected.stated);
	REQUIRE(drc_row_for(PCI, drc, move->input) != NULL);
	REQUIRE(move->got.status == expected.status);
	REQUIRE(move->got.refusal == expected.refusal);
	REQUIRE(move->got.effects == expected.by[pending].fx);
	REQUIRE(place_of(&move->after) == expected.by[pending].next);
	REQUIRE(move->step == step_expected(drc, move->input, &expected));
}

static void every_input_in_every_state_answers_as_specified(void **state)
{
	(void)state;
	print_message("# %zu states\n", reached.count);
	each_move(answers_as_specified);
}

/* --- Rules ----------------------------------------------------------------------------------- */

#define ADD_ENDS (FX(ADD_DONE) | FX(ADD_REJECTED) | FX(ADD_SUPERSEDED) | FX(ADD_CANCELLED))
#define REMOVE_ENDS                                                                                \
	(FX(REMOVE_DONE) | FX(REMOVE_REJECTED) | FX(REMOVE_SUPERSEDED) | FX(REMOVE_CANCELLED))

static bool is_one_bit(unsigned bits)
{
	return bits != 0 && (bits & (bits - 1)) == 0;
}

static bool by_guest(enum drc_input input)
{
	return input < DRC_IN_ATTACH || input >= DRC_INPUT_LOGICAL;
}

static bool by_reset(enum drc_input input)
{
	return input == DRC_IN_RESET || input == DRC_IN_RESET_OFFER;
}

static void is_valid(const struct move *move)
{
	REQUIRE(drc_valid(&move->before));
	REQUIRE(drc_valid(&move->after));
}

static void every_reachable_state_is_valid(void **state)
{
	(void)state;
	each_move(is_valid);
}

static void is_refused_without_a_trace(const struct move *move)
{
	if (move->got.status == RTAS_SUCCESS && move->got.refusal == DRC_ACCEPTED)
		return;
	REQUIRE(equal(&move->before, &move->after));
	REQUIRE(move->got.effects == 0 && move->step == OP_REQUESTED);
	REQUIRE(by_guest(move->input) ? move->got.refusal == DRC_ACCEPTED
	                              : move->got.status == RTAS_SUCCESS);
}

static void what_is_refused_changes_nothing(void **state)
{
	(void)state;
	each_move(is_refused_without_a_trace);
}

static void ends_once(const struct move *move)
{
	bool add_ended = move->before.adding && !move->after.adding;
	bool remove_ended = move->before.removing && !move->after.removing;

	/* A removal of what the guest does not own begins and ends at once. */
	if (move->input == DRC_IN_REMOVE && move->got.effects & FX(DETACH))
		remove_ended = true;
	REQUIRE(add_ended == is_one_bit(move->got.effects & ADD_ENDS));
	REQUIRE(add_ended || (move->got.effects & ADD_ENDS) == 0);
	REQUIRE(remove_ended == is_one_bit(move->got.effects & REMOVE_ENDS));
	REQUIRE(remove_ended || (move->got.effects & REMOVE_ENDS) == 0);
	REQUIRE(!move->after.adding || move->before.adding || move->input == DRC_IN_ATTACH);
	REQUIRE(!move->after.removing || move->before.removing || move->input == DRC_IN_REMOVE);
}

static void an_add_or_removal_is_begun_by_the_operator_and_ends_once(void **state)
{
	(void)state;
	each_move(ends_once);
}

/* The connector itself knows of a driver only by ISOLATE_USED: in RELEASING there is one. Where the
 * guest has unisolated it there may be one; ISOLATE says that there is none. */
static void detaches_only_what_is_not_used(const struct move *move)
{
	bool detached = (move->got.effects & FX(DETACH)) != 0;

	REQUIRE(detached == (move->before.attached && !move->after.attached));
	REQUIRE(!detached || by_reset(move->input) || move->input == DRC_IN_ISOLATE ||
	        move->input == DRC_IN_LET_GO || move->input == DRC_IN_TAKE_AWAY ||
	        move->before.state == DRC_UNUSABLE);
	/* By force, where the machine has seen that no driver uses it: what is asked for, only. */
	REQUIRE(!detached || move->input != DRC_IN_TAKE_AWAY ||
	        (is_here(&move->before) && move->before.removing));
	REQUIRE(!detached || move->input != DRC_IN_ISOLATE_USED);
	/* LET_GO alone is no permission: the guest has to isolate it, too. */
	REQUIRE(!detached || move->input != DRC_IN_LET_GO || move->before.state == DRC_AVAILABLE);
	/* Nor does what is used become isolated, by which its registers would go. */
	if (move->input == DRC_IN_ISOLATE_USED)
		REQUIRE(place_of(&move->after) ==
		        (is_here(&move->before) ? RELEASING : place_of(&move->before)));
	/* And it leaves only if somebody has asked for it, or it had not arrived yet. */
	REQUIRE(!detached || move->before.adding || move->before.removing ||
	        move->input == DRC_IN_REMOVE);
}

static void what_is_used_is_never_detached_but_by_a_reset(void **state)
{
	(void)state;
	each_move(detaches_only_what_is_not_used);
}

static void rejection_keeps_the_device(const struct move *move)
{
	struct drc expected = move->before;

	if ((move->got.effects & FX(REMOVE_REJECTED)) == 0)
		return;
	if (move->before.isolated_from != DRC_UNUSABLE)
		expected.state = move->before.isolated_from;
	expected.isolated_from = DRC_UNUSABLE;
	expected.removing = expected.answered = false;
	REQUIRE(equal(&move->after, &expected));
	REQUIRE(move->got.effects == FX(REMOVE_REJECTED));
	/* No time, no fence and no UNISOLATE by itself is a "no". */
	REQUIRE(move->input == DRC_IN_UNISOLATE || move->input == DRC_IN_TOOL_STOPS);
	REQUIRE(move->before.isolated_from != DRC_UNUSABLE || move->before.answered);
}

static void a_rejected_removal_changes_nothing_else(void **state)
{
	(void)state;
	each_move(rejection_keeps_the_device);
}

static void cancelling_keeps_the_device(const struct move *move)
{
	struct drc expected = move->before;

	if (move->input != DRC_IN_CANCEL_REMOVE || !move->before.removing)
		return;
	expected.removing = expected.answered = false;
	expected.isolated_from = DRC_UNUSABLE;
	REQUIRE(equal(&move->after, &expected));
}

static void a_cancelled_removal_changes_nothing_else(void **state)
{
	(void)state;
	each_move(cancelling_keeps_the_device);
}

static void reset_settles(const struct move *move)
{
	if (!by_reset(move->input))
		return;
	REQUIRE(!move->after.adding && !move->after.removing && !move->after.answered);
	REQUIRE(move->after.attached == (move->before.attached && !move->before.removing));
	REQUIRE(place_of(&move->after) == (!move->after.attached            ? EMPTY_SLOT
	                                      : move->input == DRC_IN_RESET ? CONFIGURED
	                                                                    : ISOLATED));
	REQUIRE(move->got.effects & FX(REWIND) && !(move->got.effects & FX(NOTIFY)));
}

static void a_reset_settles_everything(void **state)
{
	(void)state;
	each_move(reset_settles);
}

/* A removal that is pending where the guest has it unisolated has been announced: else nothing
 * would ever come of it. So each way there notifies, or comes from where it was announced. */
static void is_announced(const struct move *move)
{
	if (!move->after.removing || !is_here(&move->after))
		return;
	REQUIRE(
	    (move->before.removing && is_here(&move->before)) || move->got.effects & FX(NOTIFY));
}

static void the_guest_hears_of_each_removal(void **state)
{
	(void)state;
	each_move(is_announced);
}

static void repeats_without_harm(const struct move *move)
{
	struct drc again = move->after;
	unsigned effects = pci_step(&again, move->input).effects;

	REQUIRE(equal(&again, &move->after));
	REQUIRE((effects & ~(unsigned)(FX(NOTIFY) | FX(REWIND))) == 0);
}

static void repeating_an_input_does_no_harm(void **state)
{
	(void)state;
	each_move(repeats_without_harm);
}

static void every_row_of_the_table_decides_somewhere(void **state)
{
	(void)state;
	for (size_t row = 0; row < PCI->row_count; row++) {
		bool decides = false;

		for (size_t i = 0; i < reached.count; i++)
			decides = decides || drc_row_for(PCI, &reached.list[i],
			                         PCI->rows[row].input) == &PCI->rows[row];
		if (!decides)
			print_error("# row %zu (%s) never decides\n", row,
			    drc_input_name(PCI->rows[row].input));
		assert_true(decides);
	}
}

static void the_sensor_says_whether_something_is_there(void **state)
{
	(void)state;
	for (size_t i = 0; i < reached.count; i++)
		assert_int_equal(PCI->sense(&reached.list[i]),
		    reached.list[i].attached ? DRC_SENSE_PRESENT : DRC_SENSE_EMPTY);
	assert_int_equal(drc_index(PCI, 3), 0x40000003);
	assert_string_equal(PCI->name, "28");
	assert_int_equal(PCI->hotplug_type, 5);
	assert_string_equal(drc_state_name(PCI, DRC_UNUSABLE), "isolated");
	assert_string_equal(drc_state_name(PCI, DRC_AVAILABLE), "releasing");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_input_in_every_state_answers_as_specified),
	    cmocka_unit_test(every_reachable_state_is_valid),
	    cmocka_unit_test(what_is_refused_changes_nothing),
	    cmocka_unit_test(an_add_or_removal_is_begun_by_the_operator_and_ends_once),
	    cmocka_unit_test(what_is_used_is_never_detached_but_by_a_reset),
	    cmocka_unit_test(a_rejected_removal_changes_nothing_else),
	    cmocka_unit_test(a_cancelled_removal_changes_nothing_else),
	    cmocka_unit_test(a_reset_settles_everything),
	    cmocka_unit_test(the_guest_hears_of_each_removal),
	    cmocka_unit_test(repeating_an_input_does_no_harm),
	    cmocka_unit_test(every_row_of_the_table_decides_somewhere),
	    cmocka_unit_test(the_sensor_says_whether_something_is_there),
	};

	return cmocka_run_group_tests_name("drc_pci", tests, walk, NULL);
}
