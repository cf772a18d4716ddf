/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_drc_rules.c - the rules that hold in every state of a connector: the space is walked to its
 * end, and each rule is asked of each state and input.
 */
#include "drc_spots.h"

/* --- What the tests below share -------------------------------------------------------------- */

#define ADD_ENDS (FX(ADD_DONE) | FX(ADD_REJECTED) | FX(ADD_SUPERSEDED) | FX(ADD_CANCELLED))
#define REMOVE_ENDS                                                                                \
	(FX(REMOVE_DONE) | FX(REMOVE_REJECTED) | FX(REMOVE_SUPERSEDED) | FX(REMOVE_CANCELLED))

static bool is_one_bit(unsigned bits)
{
	return bits != 0 && (bits & (bits - 1)) == 0;
}

/* --- The walk -------------------------------------------------------------------------------- */

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
	for (enum drc_input input = 0; input < DRC_INPUT_LOGICAL; input++) {
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
	for (enum drc_input input = 0; input < DRC_INPUT_LOGICAL; input++) {
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
		for (enum drc_input input = 0; input < DRC_INPUT_LOGICAL; input++) {
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
		struct answer result = step(&drc, DRC_INPUT_LOGICAL);

		require_at(
		    drc_row_for(CPU, &drc, DRC_INPUT_LOGICAL) == NULL, spot, DRC_INPUT_LOGICAL);
		require_at(same(&drc, &spots[spot]), spot, DRC_INPUT_LOGICAL);
		require_at(result.effects == 0, spot, DRC_INPUT_LOGICAL);
		require_at(result.status != RTAS_SUCCESS, spot, DRC_INPUT_LOGICAL);
		require_at(result.refusal != DRC_ACCEPTED, spot, DRC_INPUT_LOGICAL);
	}
}

static void guests_get_rtas_status_and_operators_get_refusals(void **state)
{
	(void)state;
	for (enum spot spot = 0; spot < SPOTS; spot++) {
		for (enum drc_input input = 0; input < DRC_INPUT_LOGICAL; input++) {
			struct drc drc = spots[spot];
			struct answer result = step(&drc, input);

			if (of_guest(input))
				require_at(result.refusal == DRC_ACCEPTED, spot, input);
			else
				require_at(result.status == RTAS_SUCCESS, spot, input);
		}
	}
}

/* --- The contract ---------------------------------------------------------------------------- */

static void every_request_ends_in_exactly_one_outcome(void **state)
{
	(void)state;
	for (enum spot spot = 0; spot < SPOTS; spot++) {
		for (enum drc_input input = 0; input < DRC_INPUT_LOGICAL; input++) {
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
		for (enum drc_input input = 0; input < DRC_INPUT_LOGICAL; input++) {
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
		for (enum drc_input input = 0; input < DRC_INPUT_LOGICAL; input++) {
			const struct drc *before = &spots[spot];
			struct drc drc = *before;
			unsigned effects = step(&drc, input).effects;
			bool may = false;

			switch (input) {
			case DRC_IN_UNUSABLE: may = before->removing || before->adding; break;
			case DRC_IN_REMOVE: may = before->state == DRC_UNUSABLE; break;
			case DRC_IN_CANCEL_ADD: may = before->state == DRC_UNUSABLE; break;
			case DRC_IN_FENCE: may = before->state == DRC_UNUSABLE; break;
			case DRC_IN_RESET:
			case DRC_IN_RESET_OFFER: may = before->removing; break;
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
	for (enum drc_input input = 0; input < DRC_INPUT_LOGICAL; input++) {
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
		for (enum drc_input input = 0; input < DRC_INPUT_LOGICAL; input++) {
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

/* The first fence undoes the isolation, the second finds the core configured. */
static bool second_ends_the_add(enum spot spot, enum drc_input input)
{
	return input == DRC_IN_FENCE && spot == AVA_ADD_REM_CON;
}

static void repeating_an_input_does_no_harm(void **state)
{
	(void)state;
	for (enum spot spot = 0; spot < SPOTS; spot++) {
		for (enum drc_input input = 0; input < DRC_INPUT_LOGICAL; input++) {
			struct drc drc = spots[spot], once;
			unsigned effects;

			step(&drc, input);
			once = drc;
			effects = step(&drc, input).effects;
			if (second_is_an_answer(spot, input)) {
				require_at(effects == FX(REMOVE_REJECTED), spot, input);
				continue;
			}
			if (second_ends_the_add(spot, input)) {
				require_at(effects == FX(ADD_DONE), spot, input);
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
		if (input == DRC_IN_FENCE && !isolated)
			step(&pair.unasked, input);
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
		for (enum drc_input input = 0; input < DRC_INPUT_LOGICAL; input++)
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

int main(void)
{
	static const struct CMUnitTest tests[] = {
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
	};

	return cmocka_run_group_tests_name("drc", tests, NULL, NULL);
}
