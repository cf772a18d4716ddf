/* SPDX-License-Identifier: Apache-2.0 */
/* operation.c - see operation.h. The table is small, so every search is linear. */
#include "operation.h"

#include <stdio.h>
#include <string.h>

void ops_init(struct ops *ops, struct operation *slots, size_t count)
{
	*ops = (struct ops){.slots = slots, .count = count};
}

static bool op_all_reported(const struct operation *op)
{
	for (size_t i = 0; i < OP_STEP_COUNT; i++)
		if (op->steps[i].order != 0 && !op->steps[i].reported)
			return false;
	return true;
}

bool op_is_guest_made(enum op_kind kind)
{
	return kind == OP_RELEASE || kind == OP_TAKE;
}

/* A free slot, else that of the oldest operation that has ended and been reported. A guest-made one
 * replaces only guest-made ones. */
static struct operation *ops_find_slot(struct ops *ops, enum op_kind kind)
{
	struct operation *unused = NULL, *oldest = NULL;
	size_t of_guest = 0;

	for (size_t i = 0; i < ops->count; i++) {
		struct operation *op = &ops->slots[i];

		if (op->id == 0) {
			unused = unused ? unused : op;
			continue;
		}
		of_guest += op_is_guest_made(op->kind);
		if (op->outcome != OP_PENDING && op_all_reported(op) &&
		    op_is_guest_made(op->kind) == op_is_guest_made(kind) &&
		    (oldest == NULL || op->id < oldest->id))
			oldest = op;
	}
	if (unused != NULL && (!op_is_guest_made(kind) || of_guest < ops->count / 4))
		return unused;
	return oldest;
}

struct operation *ops_begin(
    struct ops *ops, enum op_kind kind, const struct op_subject *subject, uint64_t now_ms)
{
	struct operation *op = ops_find_slot(ops, kind);

	if (op == NULL)
		return NULL;
	*op = (struct operation){
	    .id = ++ops->last_id,
	    .kind = kind,
	    .drc_index = subject->drc_index,
	    .noun = subject->noun,
	    .unit = subject->unit,
	    .asked_ms = now_ms,
	};
	strncpy(op->device, subject->device, sizeof op->device - 1);
	op_pass(ops, op, OP_REQUESTED, now_ms);
	return op;
}

struct operation *ops_find(struct ops *ops, uint64_t id)
{
	for (size_t i = 0; id != 0 && i < ops->count; i++)
		if (ops->slots[i].id == id)
			return &ops->slots[i];
	return NULL;
}

const struct operation *ops_after(const struct ops *ops, uint64_t id)
{
	const struct operation *next = NULL;

	for (size_t i = 0; i < ops->count; i++)
		if (ops->slots[i].id > id && (next == NULL || ops->slots[i].id < next->id))
			next = &ops->slots[i];
	return next;
}

bool op_pass(struct ops *ops, struct operation *op, enum op_step step, uint64_t now_ms)
{
	if (op == NULL)
		return false;
	if (step == OP_NOTIFIED)
		op->notifications++;
	else if (op->steps[step].order != 0)
		return false;
	op->steps[step].order = ++ops->last_order;
	op->steps[step].at_ms = now_ms;
	op->steps[step].reported = false;
	if (step == OP_UNRESOLVED)
		op->unresolved = true;
	else if (step != OP_ENDED)
		op->phase = step;
	return true;
}

void op_ask_again(struct operation *op, uint64_t now_ms)
{
	op->asked_ms = now_ms;
	op->unresolved = false;
	/* The next deadline and the next fetch are reported again. A step that has not been
	 * reported yet keeps its place. */
	if (op->steps[OP_UNRESOLVED].reported)
		op->steps[OP_UNRESOLVED].order = 0;
	if (op->steps[OP_FETCHED].reported)
		op->steps[OP_FETCHED].order = 0;
}

void op_end(struct ops *ops, struct operation *op, enum op_outcome outcome,
    const struct op_evidence *evidence, uint64_t now_ms)
{
	if (op == NULL || op->outcome != OP_PENDING)
		return;
	op->outcome = outcome;
	op->unresolved = false;
	op->evidence = *evidence;
	op->evidence.phase = op->phase;
	op->evidence.elapsed_ms = now_ms - op->steps[OP_REQUESTED].at_ms;
	op_pass(ops, op, OP_ENDED, now_ms);
}

int64_t ops_check_deadline(struct ops *ops, uint64_t deadline_ms, uint64_t now_ms)
{
	int64_t next = -1;

	for (size_t i = 0; i < ops->count; i++) {
		struct operation *op = &ops->slots[i];
		uint64_t due = op->asked_ms + deadline_ms;

		if (op->id == 0 || op->outcome != OP_PENDING || op->unresolved)
			continue;
		if (due <= now_ms)
			op_pass(ops, op, OP_UNRESOLVED, now_ms);
		else if (next < 0 || (int64_t)(due - now_ms) < next)
			next = (int64_t)(due - now_ms);
	}
	return next;
}

void ops_stood_still(struct ops *ops, uint64_t stood_ms, uint64_t now_ms)
{
	for (size_t i = 0; i < ops->count; i++) {
		struct operation *op = &ops->slots[i];

		op->asked_ms = op->asked_ms + stood_ms < now_ms ? op->asked_ms + stood_ms : now_ms;
	}
}

/* The last operation of this kind on this connector. */
static struct operation *ops_find_guest_made(struct ops *ops, enum op_kind kind, uint32_t drc_index)
{
	struct operation *last = NULL;

	for (size_t i = 0; i < ops->count; i++)
		if (ops->slots[i].id != 0 && ops->slots[i].kind == kind &&
		    ops->slots[i].drc_index == drc_index &&
		    (last == NULL || ops->slots[i].id > last->id))
			last = &ops->slots[i];
	return last;
}

enum op_noted ops_note_guest(struct ops *ops, enum op_kind kind, const struct op_subject *subject,
    enum op_step step, bool device_left, const struct op_evidence *evidence, uint64_t now_ms)
{
	struct operation *op = ops_find_guest_made(ops, kind, subject->drc_index);
	uint64_t before = ops->last_order;

	if (op == NULL || strcmp(op->device, subject->device) != 0)
		op = ops_begin(ops, kind, subject, now_ms);
	if (op == NULL)
		return OP_NOT_NOTED;
	op->times++;
	op_pass(ops, op, step, now_ms);
	/* The times become those of the last repetition. An end that is still to be reported covers
	 * this one. */
	op->steps[OP_REQUESTED].at_ms = op->steps[step].at_ms = now_ms;
	op->outcome = OP_PENDING;
	if (op->steps[OP_ENDED].reported) {
		op->steps[OP_ENDED].order = 0;
		op->device_left = false;
	}
	op->device_left |= device_left;
	op_end(ops, op, OP_DONE, evidence, now_ms);
	return ops->last_order != before ? OP_NOTED : OP_NOTED_MERGED;
}

bool ops_next_report(
    struct ops *ops, bool guest_made, struct operation *ret_op, enum op_step *ret_step)
{
	struct operation *found = NULL;
	size_t step = 0;

	for (size_t i = 0; i < ops->count; i++) {
		if (!guest_made && op_is_guest_made(ops->slots[i].kind))
			continue;
		for (size_t s = 0; ops->slots[i].id != 0 && s < OP_STEP_COUNT; s++) {
			uint64_t order = ops->slots[i].steps[s].order;

			if (order == 0 || ops->slots[i].steps[s].reported)
				continue;
			if (found == NULL || order < found->steps[step].order) {
				found = &ops->slots[i];
				step = s;
			}
		}
	}
	if (found == NULL)
		return false;
	found->steps[step].reported = true;
	*ret_op = *found;
	*ret_step = (enum op_step)step;
	return true;
}

bool op_step_of_removal(enum op_step step)
{
	return step >= OP_ANSWERED && step <= OP_RELEASED;
}

static const char *op_phase_text(const struct operation *op)
{
	switch (op->phase) {
	case OP_REQUESTED:
	case OP_NOTIFIED:
		return op->unresolved ? "event never fetched by the guest: it does not hear events"
		                      : "event not fetched by the guest yet";
	case OP_FETCHED: return "event fetched, no answer since";
	case OP_ALLOCATED: return "connector allocated, not unisolated since";
	case OP_UNISOLATED: return "connector unisolated, description not read to the end";
	case OP_CONFIGURED: return "connector configured, not in use since";
	case OP_STARTED: return "a thread started, description not read to the end";
	case OP_ANSWERED: return "a tool in the guest is at work";
	case OP_STOPPED: return "threads stopped, connector not isolated since";
	case OP_ISOLATED: return "connector isolated, not released since";
	case OP_RELEASED: return "a connector released, the device has not left yet";
	default: return "";
	}
}

const char *op_stuck_text(const struct operation *op, char ret_text[OP_STUCK_MAX])
{
	static const char *const handling[] = {
	    [OP_HANDLING_UNKNOWN] = "",
	    [OP_HANDLING_STILL] = "; the guest is still at work on it",
	    [OP_HANDLING_NO_FENCE] = "; the guest has not answered the fence behind it either",
	    [OP_HANDLING_OVER] = "; the guest has finished handling the event",
	};
	int length = snprintf(ret_text, OP_STUCK_MAX, "%s%s",
	    op->stuck != NULL ? op->stuck : op_phase_text(op), handling[op->handling]);

	if (op->requests != 0)
		length += snprintf(ret_text + length, OP_STUCK_MAX - (size_t)length,
		    ", %llu requests since", (unsigned long long)op->requests);
	if (op->forced)
		length += snprintf(ret_text + length, OP_STUCK_MAX - (size_t)length,
		    ", by force: %llu answered with an I/O error, %llu begun that wait for the "
		    "host",
		    (unsigned long long)op->evidence.refused, (unsigned long long)op->in_flight);
	if (op->behind != 0)
		snprintf(ret_text + length, OP_STUCK_MAX - (size_t)length,
		    ", behind operation %llu, which it handles first",
		    (unsigned long long)op->behind);
	return ret_text;
}

const struct op_parts *op_parts(const struct operation *op)
{
	static const struct op_parts rows[] = {
	    {"core", "threads running", "threads-running", "threads"},
	    {"pci", "drivers active", "drivers-active", "drivers"},
	    {"memory", "blocks in use", "blocks-in-use", "blocks"},
	};
	size_t row = 0;

	/* The last is for devices of tests, too. */
	while (row < sizeof rows / sizeof rows[0] - 1 && strcmp(rows[row].noun, op->noun) != 0)
		row++;
	return &rows[row];
}

const char *op_kind_name(enum op_kind kind)
{
	static const char *const names[] = {"add", "remove", "guest-release", "guest-take"};

	return names[kind];
}

const char *op_outcome_name(enum op_outcome outcome)
{
	static const char *const names[] = {
	    "pending", "done", "rejected", "superseded", "cancelled"};

	return names[outcome];
}

const char *op_step_name(enum op_step step)
{
	static const char *const names[OP_STEP_COUNT] = {"requested", "notified", "fetched",
	    "allocated", "unisolated", "configured", "started", "answered", "stopped", "isolated",
	    "released", "unresolved", "ended"};

	return names[step];
}

const char *op_source_name(enum op_source source)
{
	static const char *const names[] = {
	    "none", "guest", "operator", "reset", "driver", "fence"};

	return names[source];
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool op_is_device_name(const char *name)
{
	size_t length = strlen(name);

	if (!is_letter(name[0]) || length >= OP_DEVICE_MAX)
		return false;
	for (size_t i = 1; i < length; i++)
		if (!is_letter(name[i]) && !(name[i] >= '0' && name[i] <= '9') &&
		    strchr("-._", name[i]) == NULL)
			return false;
	return true;
}
