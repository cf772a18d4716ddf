/* SPDX-License-Identifier: Apache-2.0 */
/* oracle_state.c - see oracle.c: looking at the machine, and what holds in every state. */
#include <string.h>

#include "oracle.h"
#include "spapr/device_fence.h"

/* Places among the fetched events only count up; what counts is which was before which. */
enum heard world_heard(const struct connector *connector)
{
	const struct spapr *machine = world.machine;
	const struct fence *fence = &machine->fence;

	if ((!connector->drc.adding && !connector->drc.removing) || connector->fetched == 0 ||
	    machine->events.queued[connector->number])
		return HEARD_NOT;
	if (connector->fetched < fence->proven)
		return HEARD_PROVEN;
	return fence->state == FENCE_FETCHED && connector->fetched < fence->fetched ? HEARD_FENCED
	                                                                            : HEARD_ALONE;
}

void oracle_look(struct view *view)
{
	const struct spapr *machine = world.machine;

	memset(view, 0, sizeof *view);
	for (uint32_t i = 0; i < world.config->cores; i++) {
		const struct connector *connector = &machine->connectors.list[i];
		const struct device *core = connector->device;

		view->cores[i].drc = connector->drc;
		memcpy(view->cores[i].device, core->name, sizeof core->name);
		view->cores[i].add = core->add.operation;
		view->cores[i].remove = core->remove.operation;
		view->cores[i].walk =
		    (uint32_t)(connector->node_offset << 8 | connector->node_depth);
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

const struct operation *oracle_find(const struct view *view, uint64_t id)
{
	for (size_t i = 0; id != 0 && i < WORLD_SLOTS; i++)
		if (view->operations[i].id == id)
			return &view->operations[i];
	return NULL;
}

bool oracle_by_guest(const struct operation *op)
{
	return op->kind == OP_RELEASE || op->kind == OP_TAKE;
}

bool oracle_all_reported(const struct operation *op)
{
	for (size_t i = 0; i < OP_STEP_COUNT; i++)
		if (op->steps[i].order != 0 && !op->steps[i].reported)
			return false;
	return true;
}

/* --- In every state ------------------------------------------------------------------------- */

static bool is_block(uint32_t number)
{
	return world.config->group != 0 && number > 0;
}

static void check_core(const struct view *view, uint32_t number)
{
	const struct drc *drc = &view->cores[number].drc;
	const struct operation *add = oracle_find(view, view->cores[number].add);
	const struct operation *remove = oracle_find(view, view->cores[number].remove);

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
	for (uint32_t i = 0; !is_block(number) && i < world.config->threads; i++) {
		const struct vcpu *vcpu =
		    &world.machine->cpus.list[number * world.config->threads + i];

		if (drc->attached && (vcpu->state == SPAPR_VCPU_ABSENT || !vcpu->has_thread))
			broken("vCPU %u is absent, and its core is there", vcpu->id);
		if (!drc->attached && vcpu->state != SPAPR_VCPU_ABSENT &&
		    vcpu->state != SPAPR_VCPU_STOPPING)
			broken("vCPU %u is there, and its core is not", vcpu->id);
	}
}

/* No wake-up is lost: a vCPU that has something to do has been told. */
static void check_vcpu(const struct vcpu *vcpu)
{
	const struct spapr *machine = world.machine;
	bool held = machine->cpus.stopped || machine->cpus.finished;

	if (vcpu->entry_set && vcpu->state != SPAPR_VCPU_RUNNING)
		broken("vCPU %u is to start, and was not started", vcpu->id);
	if (vcpu->attention || !vcpu->has_thread)
		return;
	if (vcpu->park_needed)
		broken("vCPU %u is to be parked, and was not told", vcpu->id);
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
	uint32_t number = op->unit / world.config->threads;

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
	if (!ended && !world.config->late_release &&
	    (!view->cores[number].drc.attached ||
	        (view->cores[number].add != op->id && view->cores[number].remove != op->id)))
		broken("operation %llu is pending for ever: nothing knows of it any more",
		    (unsigned long long)op->id);
	if (!ended && op_stuck_text(op, (char[OP_STUCK_MAX]){0})[0] == '\0')
		broken("operation %llu: nothing to say about where it is stuck",
		    (unsigned long long)op->id);
	if (!oracle_all_reported(op) && (world.machine->news.bits & SPAPR_NEWS_OPERATION) == 0)
		broken("operation %llu has news, and the operator was not told",
		    (unsigned long long)op->id);
}

static void check_events(const struct view *view)
{
	bool queued[WORLD_EVENTS] = {false};

	if (view->event_count > world.config->cores + 1)
		broken("more events than connectors");
	for (uint32_t i = 0; i < view->event_count; i++) {
		if (queued[view->events[i]])
			broken("core %u has two events", view->events[i]);
		queued[view->events[i]] = true;
	}
	for (uint32_t i = 0; i <= world.config->cores; i++)
		if (world.machine->events.queued[i] != queued[i])
			broken("core %u does not know whether it has an event", i);
	if (view->event_count > 0 && !world.machine->events.interrupt_owed &&
	    !view->ghost.signalled)
		broken("an event waits, and the guest was sent no interrupt");
}

/* What the operator is told of a pending operation: is the guest at work on it? */
static void check_handling(const struct view *view, const struct operation *op)
{
	static const enum op_handling told[2][4] = {
	    {[HEARD_FENCED] = OP_HANDLING_NO_FENCE, [HEARD_PROVEN] = OP_HANDLING_OVER},
	    {[HEARD_FENCED] = OP_HANDLING_STILL, [HEARD_PROVEN] = OP_HANDLING_OVER}};
	uint32_t number = op->unit / world.config->threads;
	struct operation copy = *op;

	device_look_into(&world.machine->devices, &copy);
	if (op->outcome == OP_PENDING && !world.config->late_release &&
	    copy.handling != told[view->ghost.answers][view->ghost.heard[number]])
		broken("operation %llu: what the guest does with it is told wrongly",
		    (unsigned long long)op->id);
	if (copy.behind != 0 && (copy.behind == op->id || oracle_find(view, copy.behind) == NULL ||
	                            oracle_find(view, copy.behind)->outcome != OP_PENDING))
		broken("operation %llu is said to be behind one that is not pending",
		    (unsigned long long)op->id);
}

static void check_fence(const struct view *view)
{
	const struct fence *fence = &world.machine->fence;

	if (fence->state != (enum fence_state)view->ghost.fence)
		broken("the fence is in another state than it has to be");
	if (world.machine->events.queued[world.machine->events.fence] !=
	    (fence->state == FENCE_QUEUED))
		broken("the fence does not know whether it is queued");
	for (uint32_t i = 0; i < world.config->cores; i++)
		if (world_heard(&world.machine->connectors.list[i]) !=
		    (enum heard)view->ghost.heard[i])
			broken("core %u: what its guest has handled is known wrongly", i);
}

void oracle_check_state(void)
{
	struct view view;

	oracle_look(&view);
	for (uint32_t i = 0; i < world.config->cores; i++)
		if (is_block(i))
			oracle_check_device(world.machine->connectors.list[i].device);
	for (uint32_t i = 0; i < world.config->cores; i++)
		if (!is_block(i) || !world.config->late_release)
			check_core(&view, i);
	for (uint32_t i = 0; i < world.machine->config.max_cpus; i++)
		check_vcpu(&world.machine->cpus.list[i]);
	for (size_t i = 0; i < WORLD_SLOTS; i++)
		if (view.operations[i].id != 0)
			check_operation(&view, &view.operations[i]);
	for (size_t i = 0; i < WORLD_SLOTS; i++)
		if (view.operations[i].id != 0)
			check_handling(&view, &view.operations[i]);
	check_events(&view);
	if (!world.config->late_release)
		check_fence(&view);
	if (world.machine->cpus.booting)
		broken("the machine boots for ever");
}
