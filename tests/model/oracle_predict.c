/* SPDX-License-Identifier: Apache-2.0 */
/* oracle_predict.c - see oracle.c: what a move leads to. */
#include <string.h>

#include "oracle.h"

/* The last operation of this kind that the guest made on a core. */
static const struct operation *last_made(
    const struct view *view, enum op_kind kind, uint32_t number)
{
	const struct operation *last = NULL;

	for (size_t i = 0; i < WORLD_SLOTS; i++) {
		const struct operation *op = &view->operations[i];

		if (op->id != 0 && op->kind == kind && op->unit == number * world.config->threads &&
		    (last == NULL || op->id > last->id))
			last = op;
	}
	return last;
}

static bool has_room(const struct view *view, bool guest)
{
	size_t of_guest = 0, unused = 0, old = 0;

	for (size_t i = 0; i < world.config->slots; i++) {
		const struct operation *op = &view->operations[i];

		unused += op->id == 0;
		of_guest += op->id != 0 && oracle_by_guest(op);
		old += op->id != 0 && op->outcome != OP_PENDING && oracle_by_guest(op) == guest &&
		       oracle_all_reported(op);
	}
	return old > 0 || (unused > 0 && (!guest || of_guest < world.config->slots / 4));
}

static bool is_block(uint32_t number)
{
	return world.config->group != 0 && number > 0;
}

static void predict_threads(struct prediction *to, uint32_t core, bool attached)
{
	if (is_block(core))
		return;
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
	if (input == DRC_IN_UNUSABLE && drc->state >= DRC_UNISOLATED && !is_block(number))
		to->status = RTAS_PARAMETER_ERROR;
	if (input == DRC_IN_UNUSABLE &&
	    (drc->state == DRC_AVAILABLE || (is_block(number) && drc->state >= DRC_UNISOLATED))) {
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
	to->status = world.config->whole_walks ? 0 : begins ? 2 : 3;
	to->status_too = begins ? to->status : 0;
	/* A block that is configured again was not given up. */
	if (is_block(move.core) && drc->state == DRC_CONFIGURED && drc->removing &&
	    move.kind == GUEST_CONFIGURE_FIRST && from->ghost.heard[move.core] != HEARD_NOT) {
		to->cores[move.core].removing = false;
		to->cores[move.core].remove = OP_REJECTED;
	}
	to->rewinds[move.core] = status == 0;
	if (status != 0 || drc->state == DRC_CONFIGURED)
		return;
	to->cores[move.core].state = DRC_CONFIGURED;
	to->due[move.core] = is_block(move.core) && drc->adding;
	if (!drc->adding)
		unasked(to, from, OP_TAKE, move.core);
}

/* The section "The fence". */
static void predict_fence(struct prediction *to, const struct view *from, struct move move)
{
	to->proves = from->ghost.fence == FENCE_FETCHED && move.argument == BLOCK_OF_FENCE;
	to->source = OP_BY_FENCE;
	for (uint32_t i = 0; to->proves && i < world.config->cores; i++) {
		const struct drc *drc = &from->cores[i].drc;
		enum drc_state restored = (enum drc_state)from->ghost.asked_from[i];
		typeof(to->cores[0]) *core = &to->cores[i];

		if (from->ghost.heard[i] != HEARD_FENCED && from->ghost.heard[i] != HEARD_PROVEN)
			continue;
		if (drc->removing) {
			core->removing = false;
			core->remove = OP_REJECTED;
			core->state = drc->state == DRC_AVAILABLE ? restored : drc->state;
		}
		if (drc->adding && core->state == DRC_CONFIGURED) {
			core->adding = false;
			core->add = OP_DONE;
		}
		if (drc->adding && drc->state == DRC_UNUSABLE) {
			core->add = OP_REJECTED;
			leaves(to, i);
		}
	}
}

/* A kernel begins: what is pending is announced to it. */
static void predict_kernel(struct prediction *to, const struct view *from)
{
	for (uint32_t i = 0; i < world.config->cores; i++)
		to->requeues[i] = from->cores[i].drc.adding || from->cores[i].drc.removing;
}

/* A fence is sent behind an event that the guest has fetched, if none is on its way; or if that one
 * may be lost, and another event was fetched after it. */
static void predict_time(struct prediction *to, const struct view *from, struct move move)
{
	for (uint32_t i = 0; i < world.config->cores; i++)
		if (from->ghost.heard[i] == HEARD_ALONE && !world.machine->cpus.stopped &&
		    ((from->ghost.fence == FENCE_IDLE &&
		         (from->ghost.due[i] ||
		             (move.kind == TIME_PASSES && move.argument >= DELAY_SECOND))) ||
		        (from->ghost.fence == FENCE_FETCHED && move.kind == TIME_PASSES &&
		            move.argument == DELAY_LOST)))
			to->sends_fence = true;
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
	if (is_block(core) || !to->cores[core].adding || to->cores[core].state != DRC_CONFIGURED ||
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
	case GUEST_FENCE: predict_fence(to, from, move); break;
	case GUEST_NEW_KERNEL: predict_kernel(to, from); break;
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
		to->cores[i].state =
		    stays && !(is_block(i) && world.config->offers) ? DRC_CONFIGURED : DRC_UNUSABLE;
		to->requeues[i] = stays && is_block(i) && world.config->offers && !settles;
		if (!stays)
			leaves(to, i);
		to->cores[i].adding = to->cores[i].removing = false;
		to->rewinds[i] = true;
		for (uint32_t t = 0; !settles && !is_block(i) && t < world.config->threads; t++)
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
	case DEADLINE_PASSES:
	case TIME_PASSES: predict_time(to, from, move); break;
	case OPERATOR_ADD_TWIN:
	case OPERATOR_ADD_FAILS:
	case OPERATOR_REMOVE_NOTHING:
	case OPERATOR_CANCEL_ENDED: to->accepted = false; break;
	default: break;
	}
	if (move.kind == OPERATOR_RESET)
		to->vcpus[0] = SPAPR_VCPU_RUNNING;
}

void oracle_predict(
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
