/* SPDX-License-Identifier: Apache-2.0 */
/*
 * oracle.c - what has to hold, whatever guest and operator do.
 *
 * Written from docs/connector-states.md and the promises of README.md, not from the code: a second
 * opinion on each move. For the connectors it foretells the whole outcome (predict()); for what
 * stands around them it says what may change, and what must never be.
 */
#include <string.h>

#include "world.h"

void oracle_look(struct view *view)
{
	const struct spapr *machine = world.machine;

	memset(view, 0, sizeof *view);
	for (uint32_t i = 0; i < machine->cores.count; i++) {
		const struct device *core = &machine->devices.list[i];

		view->cores[i].drc = core->connectors->drc;
		memcpy(view->cores[i].device, core->name, sizeof core->name);
		view->cores[i].add = core->add.operation;
		view->cores[i].remove = core->remove.operation;
		view->cores[i].walk =
		    (uint32_t)(core->connectors->node_offset << 8 | core->connectors->node_depth);
	}
	for (uint32_t i = 0; i < machine->config.max_cpus; i++)
		view->vcpus[i] = machine->cpus.list[i].state;
	memcpy(view->operations, machine->devices.operations,
	    world.config->slots * sizeof view->operations[0]);
	view->last_id = machine->devices.ops.last_id;
	view->event_count = machine->events.count;
	for (uint32_t i = 0; i < machine->events.count; i++)
		view->events[i] = machine->events.queue[i];
	view->epow_queued = machine->events.shutdown_queued;
	view->interrupt_owed = machine->events.interrupt_owed;
	view->ghost = world.ghost;
}

static const struct operation *find(const struct view *view, uint64_t id)
{
	for (size_t i = 0; id != 0 && i < WORLD_SLOTS; i++)
		if (view->operations[i].id == id)
			return &view->operations[i];
	return NULL;
}

static bool by_guest(const struct operation *op)
{
	return op->kind == OP_RELEASE || op->kind == OP_TAKE;
}

/* The last operation of this kind that the guest made on a core. */
static const struct operation *last_made(
    const struct view *view, enum op_kind kind, uint32_t number)
{
	const struct operation *last = NULL;

	for (size_t i = 0; i < WORLD_SLOTS; i++) {
		const struct operation *op = &view->operations[i];

		if (op->id != 0 && op->kind == kind &&
		    op->core_id == number * world.config->threads &&
		    (last == NULL || op->id > last->id))
			last = op;
	}
	return last;
}

static bool all_reported(const struct operation *op)
{
	for (size_t i = 0; i < OP_STEP_COUNT; i++)
		if (op->steps[i].order != 0 && !op->steps[i].reported)
			return false;
	return true;
}

/* --- In every state ------------------------------------------------------------------------- */

static void check_core(const struct view *view, uint32_t number)
{
	const struct drc *drc = &view->cores[number].drc;
	const struct operation *add = find(view, view->cores[number].add);
	const struct operation *remove = find(view, view->cores[number].remove);

	if (!drc_valid(drc))
		broken("core %u: its connector is in no state the standard knows", number);
	if (drc->attached != (view->cores[number].device[0] != '\0'))
		broken("core %u: its device name does not say whether it is there", number);
	if (drc->adding != (view->cores[number].add != 0) ||
	    drc->removing != (view->cores[number].remove != 0))
		broken("core %u: connector and operations differ on what is pending", number);
	if (drc->adding && (add == NULL || add->kind != OP_ADD || add->outcome != OP_PENDING))
		broken("core %u: its add is not a pending operation", number);
	if (drc->removing &&
	    (remove == NULL || remove->kind != OP_REMOVE || remove->outcome != OP_PENDING))
		broken("core %u: its removal is not a pending operation", number);
	for (uint32_t i = 0; i < world.config->threads; i++) {
		const struct vcpu *vcpu =
		    &world.machine->cpus.list[number * world.config->threads + i];

		if (drc->attached && (vcpu->state == SPAPR_VCPU_ABSENT || !vcpu->has_thread))
			broken("vCPU %u is absent, and its core is there", vcpu->id);
		if (!drc->attached && vcpu->state != SPAPR_VCPU_ABSENT &&
		    vcpu->state != SPAPR_VCPU_STOPPING)
			broken("vCPU %u is there, and its core is not", vcpu->id);
	}
}

/* No wake-up is lost: whoever has something to do has been told. */
static void check_vcpu(const struct vcpu *vcpu)
{
	const struct spapr *machine = world.machine;
	bool held = machine->cpus.stopped || machine->cpus.finished;

	if (vcpu->entry_set && vcpu->state != SPAPR_VCPU_RUNNING)
		broken("vCPU %u is to start, and nobody has started it", vcpu->id);
	if (vcpu->attention || !vcpu->has_thread)
		return;
	if (vcpu->park_needed)
		broken("vCPU %u is to be parked, and nobody has told it", vcpu->id);
	if (vcpu->state == SPAPR_VCPU_STOPPING)
		broken("vCPU %u will be stopping for ever", vcpu->id);
	if (vcpu->state == SPAPR_VCPU_RUNNING && !held && vcpu->waiting)
		broken("vCPU %u may run, and waits for ever", vcpu->id);
	if (!vcpu->waiting && (vcpu->state != SPAPR_VCPU_RUNNING || held))
		broken("vCPU %u is in the guest, and must not be", vcpu->id);
}

static void check_operation(const struct view *view, const struct operation *op)
{
	bool ended = op->outcome != OP_PENDING;
	uint32_t number = op->core_id / world.config->threads;

	if (op->id > view->last_id)
		broken("operation %llu will be begun a second time", (unsigned long long)op->id);
	for (const struct operation *other = op + 1; other < view->operations + WORLD_SLOTS;
	     other++)
		if (other->id == op->id)
			broken("two operations have the id %llu", (unsigned long long)op->id);
	if (ended != (op->steps[OP_ENDED].order != 0) ||
	    ended != (op->evidence.source != OP_BY_NOBODY))
		broken("operation %llu: its end is without evidence, or the other way round",
		    (unsigned long long)op->id);
	if (!ended &&
	    (!view->cores[number].drc.attached ||
	        (view->cores[number].add != op->id && view->cores[number].remove != op->id)))
		broken("operation %llu is pending for ever: nothing knows of it any more",
		    (unsigned long long)op->id);
	if (!ended && op_stuck_text(op)[0] == '\0')
		broken("operation %llu: nothing to say about where it is stuck",
		    (unsigned long long)op->id);
	if (!all_reported(op) && (world.machine->news.bits & SPAPR_NEWS_OPERATION) == 0)
		broken("operation %llu has news, and nobody has told the operator",
		    (unsigned long long)op->id);
}

static void check_events(const struct view *view)
{
	bool queued[WORLD_CORES] = {false};

	if (view->event_count > world.machine->cores.count)
		broken("more events than connectors");
	for (uint32_t i = 0; i < view->event_count; i++) {
		if (queued[view->events[i]])
			broken("core %u has two events", view->events[i]);
		queued[view->events[i]] = true;
	}
	for (uint32_t i = 0; i < world.machine->cores.count; i++)
		if (world.machine->events.queued[i] != queued[i])
			broken("core %u does not know whether it has an event", i);
	if (view->event_count > 0 && !world.machine->events.interrupt_owed &&
	    !view->ghost.signalled)
		broken("an event waits, and the guest was sent no interrupt");
}

void oracle_check_state(void)
{
	struct view view;

	oracle_look(&view);
	for (uint32_t i = 0; i < world.machine->cores.count; i++)
		check_core(&view, i);
	for (uint32_t i = 0; i < world.machine->config.max_cpus; i++)
		check_vcpu(&world.machine->cpus.list[i]);
	for (size_t i = 0; i < WORLD_SLOTS; i++)
		if (view.operations[i].id != 0)
			check_operation(&view, &view.operations[i]);
	check_events(&view);
	if (world.machine->cpus.booting)
		broken("the machine boots for ever");
}

/* --- What a move leads to ------------------------------------------------------------------- */

/* What has to be afterwards. */
struct prediction {
	int32_t status;     /* of a guest's call */
	int32_t status_too; /* may be instead */
	bool accepted;      /* of an operator's request */
	struct {
		enum drc_state state;
		bool attached, adding, removing;
		enum op_outcome add, remove; /* how what was pending ends */
	} cores[WORLD_CORES];
	enum op_kind begins; /* ... this operation, if begun: */
	bool begun, begun_unasked;
	uint64_t merged;           /* the operation that happens one time more */
	bool rewinds[WORLD_CORES]; /* ibm,configure-connector begins anew */
	bool notifies;
	enum op_source source;
	enum spapr_vcpu_state vcpus[WORLD_VCPUS];
};

static bool has_room(const struct view *view, bool guest)
{
	size_t of_guest = 0, unused = 0, old = 0;

	for (size_t i = 0; i < world.config->slots; i++) {
		const struct operation *op = &view->operations[i];

		unused += op->id == 0;
		of_guest += op->id != 0 && by_guest(op);
		old += op->id != 0 && op->outcome != OP_PENDING && by_guest(op) == guest &&
		       all_reported(op);
	}
	return old > 0 || (unused > 0 && (!guest || of_guest < world.config->slots / 4));
}

static void predict_threads(struct prediction *to, uint32_t core, bool attached)
{
	for (uint32_t i = core * world.config->threads; i < (core + 1) * world.config->threads;
	     i++) {
		if (attached && to->vcpus[i] == SPAPR_VCPU_ABSENT)
			to->vcpus[i] = SPAPR_VCPU_STOPPED;
		if (!attached && to->vcpus[i] == SPAPR_VCPU_STOPPED)
			to->vcpus[i] = SPAPR_VCPU_ABSENT;
		if (!attached && to->vcpus[i] == SPAPR_VCPU_RUNNING)
			to->vcpus[i] = SPAPR_VCPU_STOPPING;
	}
}

static void leaves(struct prediction *to, uint32_t core)
{
	to->cores[core].attached = to->cores[core].adding = to->cores[core].removing = false;
	predict_threads(to, core, false);
}

static void unasked(
    struct prediction *to, const struct view *from, enum op_kind kind, uint32_t number)
{
	const struct operation *last = last_made(from, kind, number);

	if (last != NULL && strcmp(last->device, from->cores[number].device) == 0) {
		to->merged = last->id;
		return;
	}
	to->begins = kind;
	to->begun = to->begun_unasked = has_room(from, true);
}

/* The table "The guest's calls" of docs/connector-states.md, with its notes. */
static void predict_input(
    struct prediction *to, const struct view *from, uint32_t number, enum drc_input input)
{
	const struct drc *drc = &from->cores[number].drc;
	enum drc_state restored = (enum drc_state)from->ghost.asked_from[number];
	typeof(to->cores[0]) *core = &to->cores[number];

	to->source = OP_BY_GUEST;
	if (input == DRC_IN_ISOLATE && drc->state != DRC_UNUSABLE)
		core->state = DRC_AVAILABLE;
	if (input == DRC_IN_UNISOLATE && drc->state == DRC_UNUSABLE)
		to->status = RTAS_PARAMETER_ERROR;
	to->rewinds[number] = core->state == DRC_AVAILABLE && input == DRC_IN_UNISOLATE &&
	                      !(drc->removing && restored != DRC_AVAILABLE);
	if (input == DRC_IN_UNISOLATE && drc->state == DRC_AVAILABLE)
		core->state =
		    drc->removing && restored != DRC_AVAILABLE ? restored : DRC_UNISOLATED;
	if (input == DRC_IN_UNISOLATE && drc->removing &&
	    (drc->state != DRC_AVAILABLE || restored != DRC_AVAILABLE)) {
		core->removing = false;
		core->remove = OP_REJECTED;
	}
	if (input == DRC_IN_USABLE && drc->state == DRC_UNUSABLE) {
		to->status = drc->attached ? RTAS_SUCCESS : RTAS_PARAMETER_ERROR;
		core->state = drc->attached ? DRC_AVAILABLE : DRC_UNUSABLE;
	}
	if (input == DRC_IN_UNUSABLE && drc->state >= DRC_UNISOLATED)
		to->status = RTAS_PARAMETER_ERROR;
	if (input == DRC_IN_UNUSABLE && drc->state == DRC_AVAILABLE) {
		core->state = DRC_UNUSABLE;
		core->remove = drc->removing ? OP_DONE : OP_PENDING;
		core->add = drc->adding ? OP_REJECTED : OP_PENDING;
		if (drc->removing || drc->adding)
			leaves(to, number);
		else
			unasked(to, from, OP_RELEASE, number);
	}
}

/* A walk is three items: the node, its property, the end. */
static void predict_configure(
    struct prediction *to, const struct view *from, struct move move, int32_t status)
{
	const struct drc *drc = &from->cores[move.core].drc;
	bool begins = move.kind == GUEST_CONFIGURE_FIRST || from->cores[move.core].walk == 0;

	to->source = OP_BY_GUEST;
	if (drc->state == DRC_UNUSABLE || drc->state == DRC_AVAILABLE) {
		to->status = to->status_too = RTAS_NOT_CONFIGURABLE;
		return;
	}
	to->status = begins ? 2 : 3;
	to->status_too = begins ? 2 : 0;
	to->rewinds[move.core] = status == 0;
	if (status != 0 || drc->state == DRC_CONFIGURED)
		return;
	to->cores[move.core].state = DRC_CONFIGURED;
	if (!drc->adding)
		unasked(to, from, OP_TAKE, move.core);
}

static void predict_start(struct prediction *to, const struct view *from, struct move move)
{
	uint32_t id = move.core * world.config->threads + move.argument;

	if (from->cores[move.core].drc.state == DRC_UNUSABLE)
		to->status = RTAS_PARAMETER_ERROR;
	else if (from->vcpus[id] != SPAPR_VCPU_STOPPED)
		to->status = RTAS_HARDWARE_ERROR;
	else
		to->vcpus[id] = SPAPR_VCPU_RUNNING;
}

static bool has_started(const enum spapr_vcpu_state *vcpus, uint32_t core)
{
	for (uint32_t i = 0; i < world.config->threads; i++)
		if (vcpus[core * world.config->threads + i] == SPAPR_VCPU_RUNNING)
			return true;
	return false;
}

/* An add is done when the core is configured and a thread of it has started. */
static void predict_done(struct prediction *to, uint32_t core)
{
	if (!to->cores[core].adding || to->cores[core].state != DRC_CONFIGURED ||
	    !has_started(to->vcpus, core))
		return;
	to->source = OP_BY_GUEST;
	to->cores[core].adding = false;
	to->cores[core].add = OP_DONE;
}

static enum spapr_vcpu_state rests(bool attached)
{
	return attached ? SPAPR_VCPU_STOPPED : SPAPR_VCPU_ABSENT;
}

static void predict_guest(
    struct prediction *to, const struct view *from, struct move move, const struct answer *answer)
{
	const struct world_indicator *row = &world_indicators[move.argument];

	switch ((enum move_kind)move.kind) {
	case GUEST_INDICATOR:
		if (row->input < 0)
			to->status = RTAS_PARAMETER_ERROR;
		else
			predict_input(to, from, move.core, (enum drc_input)row->input);
		break;
	case GUEST_CONFIGURE_FIRST:
	case GUEST_CONFIGURE_NEXT: predict_configure(to, from, move, answer->status); return;
	case GUEST_CONFIGURE_BAD:
	case GUEST_FETCH_BAD: to->status = RTAS_PARAMETER_ERROR; break;
	case GUEST_START: predict_start(to, from, move); break;
	case GUEST_STOP_SELF: to->vcpus[move.vcpu] = SPAPR_VCPU_STOPPING; break;
	case GUEST_FETCH:
		to->status = from->event_count > 0 || from->ghost.spare ? 0 : RTAS_NO_ERRORS_FOUND;
		break;
	case GUEST_FETCH_SHUTDOWN: to->status = from->epow_queued ? 0 : RTAS_NO_ERRORS_FOUND; break;
	default: break;
	}
	to->status_too = to->status;
}

static void predict_remove(struct prediction *to, const struct view *from, uint32_t number)
{
	const struct drc *drc = &from->cores[number].drc;

	to->accepted = number != 0 && drc->attached && (drc->removing || has_room(from, false));
	if (!to->accepted)
		return;
	to->begun = !drc->removing;
	to->begins = OP_REMOVE;
	if (drc->state != DRC_UNUSABLE) {
		to->cores[number].removing = to->notifies = true;
		return;
	}
	to->cores[number].add = drc->adding ? OP_CANCELLED : OP_PENDING;
	leaves(to, number);
}

static void predict_cancel(struct prediction *to, const struct view *from, struct move move)
{
	to->accepted = move.argument == 1 || from->cores[move.core].drc.state == DRC_UNUSABLE;
	if (!to->accepted)
		return;
	if (move.argument == 1) {
		to->cores[move.core].removing = false;
		to->cores[move.core].remove = OP_CANCELLED;
	} else {
		to->cores[move.core].add = OP_CANCELLED;
		leaves(to, move.core);
	}
}

/* The table "Reset". */
static void predict_reset(struct prediction *to, const struct view *from, bool settles)
{
	to->source = OP_BY_RESET;
	for (uint32_t i = 0; i < world.config->cores; i++) {
		const struct drc *drc = &from->cores[i].drc;
		bool stays = drc->attached && !drc->removing;

		to->cores[i].add = drc->adding ? OP_SUPERSEDED : OP_PENDING;
		to->cores[i].remove = drc->removing ? OP_SUPERSEDED : OP_PENDING;
		to->cores[i].state = stays ? DRC_CONFIGURED : DRC_UNUSABLE;
		if (!stays)
			leaves(to, i);
		to->cores[i].adding = to->cores[i].removing = false;
		to->rewinds[i] = true;
		for (uint32_t t = 0; !settles && t < world.config->threads; t++)
			to->vcpus[i * world.config->threads + t] = rests(stays);
	}
}

static void predict_halt(struct prediction *to, const struct view *from)
{
	for (uint32_t i = 0; i < world.machine->config.max_cpus; i++)
		if (to->vcpus[i] == SPAPR_VCPU_STOPPING)
			to->vcpus[i] = rests(from->cores[i / world.config->threads].drc.attached);
}

static void predict_operator(struct prediction *to, const struct view *from, struct move move)
{
	to->source = OP_BY_OPERATOR;
	to->accepted = true;
	switch ((enum move_kind)move.kind) {
	case OPERATOR_ADD:
		to->accepted = !from->cores[move.core].drc.attached && has_room(from, false);
		if (!to->accepted)
			break;
		to->begun = to->notifies = true;
		to->begins = OP_ADD;
		to->cores[move.core].attached = to->cores[move.core].adding = true;
		predict_threads(to, move.core, true);
		break;
	case OPERATOR_REMOVE: predict_remove(to, from, move.core); break;
	case OPERATOR_CANCEL: predict_cancel(to, from, move); break;
	case OPERATOR_RESET: predict_reset(to, from, false); break;
	case OPERATOR_RESET_FAILS:
		predict_reset(to, from, false);
		to->accepted = false;
		break;
	case OPERATOR_SETTLE:
		predict_halt(to, from);
		predict_reset(to, from, true);
		break;
	case OPERATOR_STOP: predict_halt(to, from); break;
	case OPERATOR_ADD_TWIN:
	case OPERATOR_ADD_FAILS:
	case OPERATOR_REMOVE_NOTHING:
	case OPERATOR_CANCEL_ENDED: to->accepted = false; break;
	default: break;
	}
	if (move.kind == OPERATOR_RESET)
		to->vcpus[0] = SPAPR_VCPU_RUNNING;
}

static void predict(
    struct prediction *to, const struct view *from, struct move move, const struct answer *answer)
{
	bool attached = from->cores[move.core].drc.attached;

	memset(to, 0, sizeof *to);
	for (uint32_t i = 0; i < world.config->cores; i++) {
		to->cores[i].state = from->cores[i].drc.state;
		to->cores[i].attached = from->cores[i].drc.attached;
		to->cores[i].adding = from->cores[i].drc.adding;
		to->cores[i].removing = from->cores[i].drc.removing;
	}
	memcpy(to->vcpus, from->vcpus, sizeof to->vcpus);
	if (move.kind < VCPU_ATTEND) {
		predict_guest(to, from, move, answer);
		predict_done(to, move.core);
	} else if (move.kind > VCPU_ATTEND_FAILS) {
		predict_operator(to, from, move);
	} else if (to->vcpus[move.vcpu] == SPAPR_VCPU_STOPPING || move.kind == VCPU_ATTEND_FAILS) {
		to->vcpus[move.vcpu] = rests(attached);
	}
}

/* --- Comparing ------------------------------------------------------------------------------ */

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
			broken("core %u is %s, and has to be %s", i, drc_state_name(drc->state),
			    drc_state_name(want->cores[i].state));
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
	    evidence->threads != world.config->threads)
		broken("operation %llu: wrong evidence", (unsigned long long)op->id);
	if (source != OP_BY_GUEST ? evidence->call != NULL : evidence->vcpu != vcpu)
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
	const struct operation *now = find(after, old->id);
	uint32_t core = old->core_id / world.config->threads;
	enum op_outcome outcome = old->outcome;

	if (old->id == before->cores[core].add)
		outcome = want->cores[core].add;
	else if (old->id == before->cores[core].remove)
		outcome = want->cores[core].remove;
	if (now == NULL) {
		if (old->outcome == OP_PENDING || !all_reported(old))
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
	const struct operation *begun = find(after, before->last_id + 1);

	for (size_t i = 0; i < WORLD_SLOTS; i++)
		if (before->operations[i].id != 0)
			check_old_operation(&before->operations[i], before, after, want, move);
	if (after->last_id != before->last_id + want->begun || (begun != NULL) != want->begun)
		broken("%d operations begin, and have to be %d",
		    (int)(after->last_id - before->last_id), want->begun);
	if (begun != NULL && begun->kind != want->begins)
		broken("an operation begins as something else");
	if (begun != NULL && want->begun_unasked && begun->outcome != OP_DONE)
		broken("what nobody had asked for is left pending");
	if (begun != NULL && !want->begun_unasked && answer->operation != begun->id)
		broken("the operator is told another operation");
	if (want->accepted && move.kind == OPERATOR_REMOVE && !want->begun &&
	    answer->operation != before->cores[move.core].remove)
		broken("asking twice is another operation");
	if (begun != NULL && begun->kind == OP_REMOVE &&
	    begun->outcome != (want->cores[move.core].removing ? OP_PENDING : OP_DONE))
		broken("the removal is %s", op_outcome_name(begun->outcome));
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
	if (want->source == OP_BY_RESET && move.kind != OPERATOR_SETTLE)
		*spare = false;
	if (move.kind != GUEST_FETCH || before->event_count > 0 || !before->ghost.spare)
		return;
	*spare = false;
	if (answer->event_core != world.machine->connectors.list[0].drc_index ||
	    answer->event_action != 1)
		broken("the spare event is not an add of core 0");
}

/* The queue: what is told joins at its end, what is fetched leaves from its front. */
static void check_queue(const struct view *before, const struct view *after,
    const struct prediction *want, struct move move, const struct answer *answer)
{
	uint32_t events[WORLD_CORES + 1], count = before->event_count, fetched = 0;
	bool removal = count > 0 && before->cores[before->events[0]].drc.removing;
	bool epow = before->epow_queued;

	memcpy(events, before->events, count * sizeof events[0]);
	if (want->notifies && !has_event(before, move.core))
		events[count++] = move.core;
	if (move.kind == GUEST_FETCH && count > 0) {
		fetched = 1;
		if (answer->event_core != world.machine->connectors.list[events[0]].drc_index ||
		    answer->event_action != (removal ? 2u : 1u))
			broken("the event fetched is another");
	}
	if (want->source == OP_BY_RESET && move.kind != OPERATOR_SETTLE)
		count = 0;
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
	const struct operation *op = find(view, id);

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
		              op->core_id != move.core * world.config->threads ||
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
	if (step != OP_REQUESTED && answer->status == 0 && id != 0 && find(after, id) != NULL &&
	    passed(after, id, step) == 0)
		broken("operation %llu: a call of the guest is not noted", (unsigned long long)id);
}

/* The steps that a call or a request is worth noting for. */
static void check_steps(const struct view *before, const struct view *after, struct move move,
    const struct answer *answer)
{
	uint32_t first = before->event_count > 0 ? before->events[0] : 0;
	uint64_t id = before->cores[first].drc.removing ? before->cores[first].remove
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
		if (find(after, id)->unresolved)
			broken("operation %llu is called unresolved while the machine is stopped",
			    (unsigned long long)id);
	} else if (move.kind == DEADLINE_PASSES &&
	           (!find(after, id)->unresolved ||
	               passed(after, id, OP_UNRESOLVED) <= passed(before, id, OP_UNRESOLVED)))
		broken("operation %llu is not called unresolved", (unsigned long long)id);
	id = answer->operation;
	if (id != 0 && find(after, id) != NULL && find(after, id)->outcome == OP_PENDING &&
	    (find(after, id)->unresolved ||
	        passed(after, id, OP_NOTIFIED) <= passed(before, id, OP_NOTIFIED)))
		broken(
		    "operation %llu was asked for, and nobody would know", (unsigned long long)id);
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

void oracle_check_move(struct move move, const struct view *before, const struct answer *answer)
{
	struct prediction want;
	struct view after;

	oracle_look(&after);
	predict(&want, before, move, answer);
	check_answer(before, &want, move, answer);
	check_connectors(&want, before, &after, move);
	check_operations(before, &after, &want, move, answer);
	check_queue(before, &after, &want, move, answer);
	check_spare(before, &want, move, answer);
	check_steps(before, &after, move, answer);
	check_refused(before, &after, move, answer);
	remember(before, &after);
}

void oracle_check_repeat(struct move move, const struct view *before, const struct view *between)
{
	struct view after;
	bool walks = move.kind == GUEST_CONFIGURE_NEXT;
	/* Asked for while the guest had it isolated already: the first is a step, the second "no".
	 */
	bool refuses = move.kind == GUEST_INDICATOR &&
	               before->cores[move.core].drc.state == DRC_AVAILABLE &&
	               between->cores[move.core].drc.removing;

	oracle_look(&after);
	for (uint32_t i = 0; i < world.config->cores; i++)
		if (!refuses && !walks &&
		    memcmp(&after.cores[i].drc, &between->cores[i].drc, sizeof after.cores[i].drc))
			broken("made twice, it moves the connector of core %u twice", i);
	for (size_t i = 0; i < WORLD_SLOTS; i++) {
		const struct operation *now = find(&after, between->operations[i].id);

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

	spapr_take_news(world.machine);
	while (spapr_next_report(world.machine, true, &op, &step)) {
		if (op.steps[step].order <= last_order)
			broken("reports come out of order");
		last_order = op.steps[step].order;
		if (step == OP_ENDED && (op.outcome == OP_PENDING || !all_reported(&op)))
			broken("the end of operation %llu is reported too early",
			    (unsigned long long)op.id);
	}
	for (size_t i = 0; i < WORLD_SLOTS && i < world.config->slots; i++)
		if (!all_reported(&world.machine->devices.operations[i]))
			broken("a step is never reported");
}
