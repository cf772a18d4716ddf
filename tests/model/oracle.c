/* SPDX-License-Identifier: Apache-2.0 */
/*
 * oracle.c - what has to hold, whatever guest and operator do.
 *
 * Written from docs/connector-states.md and the promises of README.md, not from the code: a second
 * opinion on each move. For the connectors it foretells the whole outcome (predict()); for what
 * stands around them it says what may change, and what must never be.
 */
#include <string.h>

#include "oracle.h"

/* The machine is held: a thread that was in the guest has parked, one that had just been woken may
 * not have got so far. */
static bool still_stopping(
    struct move move, enum spapr_vcpu_state before, enum spapr_vcpu_state after)
{
	return (move.kind == OPERATOR_STOP || move.kind == OPERATOR_SETTLE) &&
	       before == SPAPR_VCPU_STOPPING && after == before;
}

static void check_connectors(const struct prediction *want, const struct view *before,
    const struct view *after, struct move move)
{
	for (uint32_t i = 0; i < world.config->cores; i++) {
		const struct drc *drc = &after->cores[i].drc;

		if (drc->state != want->cores[i].state)
			broken("core %u is %s, and has to be %s", i,
			    drc_state_name(&drc_type_cpu, drc->state),
			    drc_state_name(&drc_type_cpu, want->cores[i].state));
		if (drc->attached != want->cores[i].attached)
			broken("core %u %s", i,
			    drc->attached ? "is still there" : "is gone, unasked and ungiven");
		if (drc->adding != want->cores[i].adding ||
		    drc->removing != want->cores[i].removing)
			broken("core %u: something else is pending than has to be", i);
		if (want->rewinds[i] && after->cores[i].walk != 0)
			broken("core %u: its description is not read from the start", i);
	}
	for (uint32_t i = 0; i < world.machine->config.max_cpus; i++)
		if (after->vcpus[i] != want->vcpus[i] &&
		    !still_stopping(move, before->vcpus[i], after->vcpus[i]))
			broken("vCPU %u: state is %d, and has to be %d", i, after->vcpus[i],
			    want->vcpus[i]);
}

static void check_evidence(
    const struct operation *op, struct move move, enum op_source source, uint32_t vcpu)
{
	const struct world_indicator *row = &world_indicators[move.argument];
	const struct op_evidence *evidence = &op->evidence;

	if (evidence->source != source || evidence->phase != op->phase ||
	    evidence->parts !=
	        (world.config->group != 0 ? world.config->group : world.config->threads))
		broken("operation %llu: wrong evidence", (unsigned long long)op->id);
	if (source == OP_BY_FENCE && (evidence->call == NULL || evidence->inferred == NULL ||
	                                 strcmp(evidence->call, "get-sensor-state") != 0))
		broken("operation %llu: it is not told that a fence proved it",
		    (unsigned long long)op->id);
	if (source != OP_BY_GUEST && source != OP_BY_FENCE ? evidence->call != NULL
	                                                   : evidence->vcpu != vcpu)
		broken("operation %llu: the wrong caller", (unsigned long long)op->id);
	if (move.kind == GUEST_INDICATOR &&
	    (strcmp(evidence->call, "set-indicator") != 0 ||
	        evidence->indicator != row->indicator || evidence->value != row->value))
		broken("operation %llu: evidence names another call", (unsigned long long)op->id);
}

/* One that was known before the move: ended as foretold, or not at all. */
static void check_old_operation(const struct operation *old, const struct view *before,
    const struct view *after, const struct prediction *want, struct move move)
{
	const struct operation *now = oracle_find(after, old->id);
	uint32_t core = old->unit / world.config->threads;
	enum op_outcome outcome = old->outcome;

	if (old->id == before->cores[core].add)
		outcome = want->cores[core].add;
	else if (old->id == before->cores[core].remove)
		outcome = want->cores[core].remove;
	if (now == NULL) {
		if (old->outcome == OP_PENDING || !oracle_all_reported(old))
			broken("operation %llu is forgotten before its end was told",
			    (unsigned long long)old->id);
		return;
	}
	if (now->times != old->times + (old->id == want->merged))
		broken("operation %llu: it is not told how many times it happened",
		    (unsigned long long)old->id);
	if (old->id == want->merged) {
		if (now->outcome != OP_DONE || now->steps[OP_ENDED].reported)
			broken("operation %llu: that it happened again is not told",
			    (unsigned long long)old->id);
		check_evidence(now, move, OP_BY_GUEST, move.vcpu);
		return;
	}
	if (now->outcome != outcome)
		broken("operation %llu is %s, and has to be %s", (unsigned long long)old->id,
		    op_outcome_name(now->outcome), op_outcome_name(outcome));
	if (old->outcome != OP_PENDING &&
	    (memcmp(&old->evidence, &now->evidence, sizeof old->evidence) != 0 ||
	        old->steps[OP_ENDED].order != now->steps[OP_ENDED].order ||
	        (old->steps[OP_ENDED].reported && !now->steps[OP_ENDED].reported)))
		broken("operation %llu ends twice", (unsigned long long)old->id);
	if (old->outcome == OP_PENDING && outcome != OP_PENDING)
		check_evidence(now, move, want->source, move.vcpu);
}

static void check_operations(const struct view *before, const struct view *after,
    const struct prediction *want, struct move move, const struct answer *answer)
{
	const struct operation *begun = oracle_find(after, before->last_id + 1);

	for (size_t i = 0; i < WORLD_SLOTS; i++)
		if (before->operations[i].id != 0)
			check_old_operation(&before->operations[i], before, after, want, move);
	if (after->last_id != before->last_id + want->begun || (begun != NULL) != want->begun)
		broken("%d operations begin, and have to be %d",
		    (int)(after->last_id - before->last_id), want->begun);
	if (begun != NULL && begun->kind != want->begins)
		broken("an operation begins as something else");
	if (begun != NULL && want->begun_unasked && begun->outcome != OP_DONE)
		broken("something is left pending that was not asked for");
	if (begun != NULL && !want->begun_unasked && answer->operation != begun->id)
		broken("the operator is told another operation");
	if (want->accepted && move.kind == OPERATOR_REMOVE && !want->begun &&
	    answer->operation != before->cores[move.core].remove)
		broken("asking twice is another operation");
	if (begun != NULL && begun->kind == OP_REMOVE &&
	    begun->outcome != (want->cores[move.core].removing ? OP_PENDING : OP_DONE))
		broken("the removal is %s", op_outcome_name(begun->outcome));
}

static bool is_core(uint32_t number)
{
	return number < world.config->cores;
}

static bool has_event(const struct view *view, uint32_t core)
{
	for (uint32_t i = 0; i < view->event_count; i++)
		if (view->events[i] == core)
			return true;
	return false;
}

/* Asked again, the guest is interrupted again, and may come once too often: for that there is a
 * spare event, which is of no consequence. */
static void check_spare(const struct view *before, const struct prediction *want, struct move move,
    const struct answer *answer)
{
	bool *spare = &world.ghost.spare;

	if (want->notifies && has_event(before, move.core) && !before->interrupt_owed) {
		if (world.pulses == 0 && !before->ghost.kvm_refuses)
			broken("asked again, and the guest is not interrupted again");
		*spare |= world.pulses > 0;
	}
	if ((want->source == OP_BY_RESET && move.kind != OPERATOR_SETTLE) ||
	    move.kind == GUEST_NEW_KERNEL)
		*spare = false;
	if (move.kind != GUEST_FETCH || before->event_count > 0 || !before->ghost.spare)
		return;
	*spare = false;
	if (answer->event_core != world.machine->connectors.list[0].drc_index ||
	    answer->event_action != 1)
		broken("the spare event is not an add of core 0");
}

/* The index that the event of this number names. */
static uint32_t event_index(uint32_t number)
{
	return is_core(number) ? world.machine->connectors.list[number].drc_index
	                       : world.machine->fence.index;
}

/* The queue: what is told joins at its end, what is fetched leaves from its front. */
static void check_queue(const struct view *before, const struct view *after,
    const struct prediction *want, struct move move, const struct answer *answer)
{
	uint32_t events[WORLD_EVENTS + 1], count = before->event_count, fetched = 0;
	bool removal = count > 0 && is_core(before->events[0]) &&
	               before->cores[before->events[0]].drc.removing;
	const uint32_t fence = world.machine->events.fence;
	bool epow = before->epow_queued;

	memcpy(events, before->events, count * sizeof events[0]);
	if (want->notifies && !has_event(before, move.core))
		events[count++] = move.core;
	for (uint32_t i = 0; i < WORLD_CORES && move.kind == GUEST_NEW_KERNEL; i++)
		if (want->requeues[i] && !has_event(before, i))
			events[count++] = i;
	if (want->sends_fence)
		events[count++] = fence;
	if (move.kind == GUEST_FETCH && count > 0) {
		fetched = 1;
		if (answer->event_core != event_index(events[0]) ||
		    answer->event_action != (removal ? 2u : 1u))
			broken("the event fetched is another");
	}
	if (want->source == OP_BY_RESET && move.kind != OPERATOR_SETTLE)
		count = 0;
	for (uint32_t i = 0; i < WORLD_CORES && count == 0; i++)
		if (want->requeues[i] && want->source == OP_BY_RESET)
			events[count++] = i;
	if (count - fetched != after->event_count ||
	    memcmp(events + fetched, after->events, after->event_count * sizeof events[0]) != 0)
		broken("the queue of events is another than it has to be");
	if (want->notifies && !before->ghost.kvm_refuses && world.machine->events.interrupt_owed)
		broken("an interrupt is owed, and asking again does not send it");
	if (move.kind == OPERATOR_POWERDOWN)
		epow = epow || !before->ghost.kvm_refuses;
	if (move.kind == GUEST_FETCH_SHUTDOWN || want->source == OP_BY_RESET)
		epow = false;
	if (move.kind != OPERATOR_SETTLE && epow != after->epow_queued)
		broken("the power button is pressed, and has to be otherwise");
}

static uint64_t passed(const struct view *view, uint64_t id, enum op_step step)
{
	const struct operation *op = oracle_find(view, id);

	return op == NULL ? 0 : op->steps[step].order;
}

static void check_stopped(const struct view *before, const struct view *after, struct move move)
{
	uint64_t id = after->cores[move.core].remove;
	bool was = passed(before, id, OP_STOPPED) != 0, is = passed(after, id, OP_STOPPED) != 0;
	bool last = cpus_running(&world.machine->cpus, move.core * world.config->threads,
	                world.config->threads) == 0;

	if (id != 0 && is != (was || last))
		broken("operation %llu: whether all threads have stopped is told wrongly",
		    (unsigned long long)id);
}

/* The start of a thread belongs to the add of its core, as long as that is pending. */
static void check_started(const struct view *before, const struct view *after, struct move move,
    const struct answer *answer)
{
	for (size_t i = 0; i < WORLD_SLOTS; i++) {
		const struct operation *op = &after->operations[i];
		bool is = op->steps[OP_STARTED].order != passed(before, op->id, OP_STARTED);

		if (is && (move.kind != GUEST_START || answer->status != 0 ||
		              op->unit != move.core * world.config->threads ||
		              op->id != before->cores[move.core].add))
			broken("operation %llu: a thread's start that is not its own",
			    (unsigned long long)op->id);
	}
}

/* A call that was answered with success is a step of what is pending on its connector. */
static void check_call_noted(const struct view *before, const struct view *after, struct move move,
    const struct answer *answer)
{
	const uint64_t add = before->cores[move.core].add,
	               removal = before->cores[move.core].remove;
	uint64_t id = add;
	enum op_step step = OP_REQUESTED;

	if (move.kind == GUEST_INDICATOR) {
		switch (world_indicators[move.argument].input) {
		case DRC_IN_USABLE: step = OP_ALLOCATED; break;
		case DRC_IN_UNISOLATE: step = OP_UNISOLATED; break;
		case DRC_IN_ISOLATE: step = OP_ISOLATED, id = removal; break;
		case DRC_IN_UNUSABLE: step = OP_RELEASED, id = removal; break;
		default: return;
		}
	} else if (move.kind == GUEST_CONFIGURE_FIRST || move.kind == GUEST_CONFIGURE_NEXT) {
		step = OP_CONFIGURED;
	} else if (move.kind == GUEST_START) {
		step = OP_STARTED;
	}
	if (step != OP_REQUESTED && answer->status == 0 && id != 0 &&
	    oracle_find(after, id) != NULL && passed(after, id, step) == 0)
		broken("operation %llu: a call of the guest is not noted", (unsigned long long)id);
}

/* The steps that a call or a request is worth noting for. */
static void check_steps(const struct view *before, const struct view *after, struct move move,
    const struct answer *answer)
{
	uint32_t first = before->event_count > 0 ? before->events[0] : 0;
	uint64_t id = !is_core(first)                     ? 0
	              : before->cores[first].drc.removing ? before->cores[first].remove
	                                                  : before->cores[first].add;

	if (move.kind == GUEST_FETCH && before->event_count > 0 && id != 0 &&
	    passed(after, id, OP_FETCHED) == 0)
		broken("operation %llu: that its event was fetched is not noted",
		    (unsigned long long)id);
	if (move.kind == GUEST_STOP_SELF)
		check_stopped(before, after, move);
	id = move.argument == 0 ? after->cores[move.core].add : after->cores[move.core].remove;
	/* For a machine that is stopped no time passes. */
	if (move.kind == DEADLINE_PASSES && world.machine->cpus.stopped) {
		if (oracle_find(after, id)->unresolved)
			broken("operation %llu is called unresolved while the machine is stopped",
			    (unsigned long long)id);
	} else if (move.kind == DEADLINE_PASSES &&
	           (!oracle_find(after, id)->unresolved ||
	               passed(after, id, OP_UNRESOLVED) <= passed(before, id, OP_UNRESOLVED)))
		broken("operation %llu is not called unresolved", (unsigned long long)id);
	id = answer->operation;
	if (id != 0 && oracle_find(after, id) != NULL &&
	    oracle_find(after, id)->outcome == OP_PENDING &&
	    (oracle_find(after, id)->unresolved ||
	        passed(after, id, OP_NOTIFIED) <= passed(before, id, OP_NOTIFIED)))
		broken(
		    "operation %llu was asked for, and that is not noted", (unsigned long long)id);
	check_started(before, after, move, answer);
	check_call_noted(before, after, move, answer);
}

static void check_answer(const struct view *before, const struct prediction *want, struct move move,
    const struct answer *answer)
{
	const struct drc *drc = &before->cores[move.core].drc;
	uint32_t id = move.core * world.config->threads + move.argument;
	uint32_t stopped_state = before->vcpus[id] == SPAPR_VCPU_RUNNING    ? 2
	                         : before->vcpus[id] == SPAPR_VCPU_STOPPING ? 1
	                                                                    : 0;

	if (move.kind < VCPU_ATTEND) {
		/* stop-self does not return. */
		if (move.kind != GUEST_STOP_SELF && answer->status != want->status &&
		    answer->status != want->status_too)
			broken("status %d, and has to be %d", answer->status, want->status);
		if (move.kind == GUEST_SENSE &&
		    answer->output != (drc->state == DRC_UNUSABLE ? 2 : 1))
			broken("dr-entity-sense is %u", answer->output);
		if (move.kind == GUEST_FENCE && answer->output != 1)
			broken("a boot block is not present");
		if (move.kind == GUEST_QUERY && answer->output != stopped_state)
			broken("query-cpu-stopped-state is %u", answer->output);
		return;
	}
	if (move.kind <= VCPU_ATTEND_FAILS)
		return;
	if (answer->accepted != want->accepted)
		broken("the request is %s: %s", answer->accepted ? "accepted" : "refused",
		    answer->err.message);
	if (!answer->accepted && (answer->err.class == ERR_NONE || answer->err.message[0] == '\0'))
		broken("a request is refused without a word");
}

/* What is refused changes nothing at all. */
static void check_refused(const struct view *before, const struct view *after, struct move move,
    const struct answer *answer)
{
	struct view now;
	bool refused = move.kind < VCPU_ATTEND ? answer->status < 0
	                                       : move.kind > VCPU_ATTEND_FAILS && !answer->accepted;

	if (!refused || move.kind == OPERATOR_RESET_FAILS || move.kind == GUEST_STOP_SELF)
		return;
	now = *after;
	memcpy(now.ghost.may_call, before->ghost.may_call, sizeof now.ghost.may_call);
	if (memcmp(before, &now, sizeof now) != 0)
		broken("what was refused has changed something");
}

/*
 * What a rejection restores: the state in which the operator asked, or that into which the guest
 * has brought the core since; but not that it has isolated it since.
 */
static void remember(const struct view *before, const struct view *after)
{
	for (uint32_t i = 0; i < world.config->cores; i++) {
		const struct drc *drc = &after->cores[i].drc;
		uint8_t *from = &world.ghost.asked_from[i];

		if (!drc->removing)
			*from = DRC_UNUSABLE;
		else if (!before->cores[i].drc.removing || drc->state != DRC_AVAILABLE)
			*from = (uint8_t)drc->state;
	}
}

/* What the guest has heard, and what a fence has proven of it. */
static void remember_fence(const struct prediction *want, struct move move,
    const struct view *before, const struct view *after)
{
	struct ghost *ghost = &world.ghost;
	bool fetched = move.kind == GUEST_FETCH && before->event_count > 0;
	bool fence = fetched && !is_core(before->events[0]);
	bool forgets = want->source == OP_BY_RESET && move.kind != OPERATOR_SETTLE;

	for (uint32_t i = 0; i < world.config->cores; i++) {
		uint8_t *heard = &ghost->heard[i];

		if (fetched && before->events[0] == i) {
			*heard = HEARD_ALONE;
			ghost->due[i] = false;
		}
		ghost->due[i] |= want->due[i];
		/* A fence has found it half taken: it needs another. */
		if (want->due[i] && *heard == HEARD_PROVEN)
			*heard = HEARD_ALONE;
		if (fence && *heard == HEARD_ALONE)
			*heard = HEARD_FENCED;
		if (*heard == HEARD_FENCED && want->proves)
			*heard = HEARD_PROVEN;
		if (*heard == HEARD_FENCED && want->sends_fence)
			*heard = HEARD_ALONE; /* the fence behind it has been given up */
		if (has_event(after, i) ||
		    (!after->cores[i].drc.adding && !after->cores[i].drc.removing))
			*heard = HEARD_NOT;
	}
	if (want->sends_fence)
		ghost->fence = FENCE_QUEUED;
	if (fence)
		ghost->fence = FENCE_FETCHED;
	if (want->proves || forgets ||
	    (move.kind == GUEST_NEW_KERNEL && ghost->fence == FENCE_FETCHED))
		ghost->fence = FENCE_IDLE;
	ghost->answers =
	    (ghost->answers || want->proves) && !forgets && move.kind != GUEST_NEW_KERNEL;
}

void oracle_check_move(struct move move, const struct view *before, const struct answer *answer)
{
	struct prediction want;
	struct view after;

	oracle_look(&after);
	oracle_predict(&want, before, move, answer);
	if (world.config->late_release) {
		oracle_check_group(&want, before, &after, move, answer);
		remember(before, &after);
		return;
	}
	check_answer(before, &want, move, answer);
	check_connectors(&want, before, &after, move);
	check_operations(before, &after, &want, move, answer);
	check_queue(before, &after, &want, move, answer);
	check_spare(before, &want, move, answer);
	check_steps(before, &after, move, answer);
	check_refused(before, &after, move, answer);
	remember(before, &after);
	remember_fence(&want, move, before, &after);
}

void oracle_check_repeat(struct move move, const struct view *before, const struct view *between)
{
	struct view after;
	bool walks = move.kind == GUEST_CONFIGURE_NEXT ||
	             (world.config->whole_walks && move.kind == GUEST_CONFIGURE_FIRST);
	/* Asked for while the guest had it isolated already: the first is a step, the second "no".
	 */
	bool refuses = move.kind == GUEST_INDICATOR &&
	               before->cores[move.core].drc.state == DRC_AVAILABLE &&
	               between->cores[move.core].drc.removing;

	if (world.config->late_release)
		return;
	oracle_look(&after);
	for (uint32_t i = 0; i < world.config->cores; i++)
		if (!refuses && !walks &&
		    memcmp(&after.cores[i].drc, &between->cores[i].drc, sizeof after.cores[i].drc))
			broken("made twice, it moves the connector of core %u twice", i);
	for (size_t i = 0; i < WORLD_SLOTS; i++) {
		const struct operation *now = oracle_find(&after, between->operations[i].id);

		if (!refuses && !walks && now != NULL &&
		    now->outcome != between->operations[i].outcome)
			broken("made twice, it ends operation %llu", (unsigned long long)now->id);
	}
	if (move.kind != OPERATOR_RESET && move.kind != GUEST_STOP_SELF &&
	    memcmp(after.vcpus, between->vcpus, sizeof after.vcpus) != 0)
		broken("made twice, it changes a vCPU twice");
	if (!walks && after.last_id != between->last_id)
		broken("made twice, it begins an operation");
}

/* --- Reports -------------------------------------------------------------------------------- */

void oracle_report(void)
{
	struct operation op;
	enum op_step step;
	uint64_t last_order = 0;

	/* A report releases what has left: here that is a move of its own. */
	bool late = world.config->late_release && world.machine->devices.leaving > 0;

	if (!late)
		spapr_take_news(world.machine);
	while (late ? ops_next_report(&world.machine->devices.ops, true, &op, &step)
	            : spapr_next_report(world.machine, true, &op, &step)) {
		if (op.steps[step].order <= last_order)
			broken("reports come out of order");
		last_order = op.steps[step].order;
		if (step == OP_ENDED && (op.outcome == OP_PENDING || !oracle_all_reported(&op)))
			broken("the end of operation %llu is reported too early",
			    (unsigned long long)op.id);
	}
	for (size_t i = 0; i < WORLD_SLOTS && i < world.config->slots; i++)
		if (!oracle_all_reported(&world.machine->devices.operations[i]))
			broken("a step is never reported");
}
