/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core.c - CPU cores: where connector (drc.c), operation (operation.c), event queue (event.c)
 * and vCPUs (cpu.c) meet.
 *
 * Every input to a connector, whoever makes it, goes through apply(): one drc_step(), then its
 * effects, one after the other. The operator's requests are at the end of the file, what the
 * guest does is in the middle.
 */
#include <stdio.h>
#include <string.h>

#include "spapr/machine.h"

/* A vCPU's id is a function of its core's id, never "the next free" one: so cores can come and
 * go in any order, and one that comes back finds the vCPU that KVM still has. */
void core_init(struct spapr *machine, struct core *core, uint32_t number)
{
	core->type = &drc_type_cpu;
	core->number = number;
	core->id = number * machine->config.threads;
	core->drc_index = drc_index(&drc_type_cpu, core->id);
	core->vcpus = &machine->vcpus[core->id];
	for (uint32_t i = 0; i < machine->config.threads; i++)
		cpu_init(machine, &core->vcpus[i], core, core->id + i);
}

struct core *core_find(struct spapr *machine, uint32_t index)
{
	uint32_t id = index - drc_index(&drc_type_cpu, 0);

	if (id % machine->config.threads != 0 ||
	    id / machine->config.threads >= machine->core_count)
		return NULL;
	return &machine->cores[id / machine->config.threads];
}

/* --- Effects ------------------------------------------------------------------------------ */

/* The machine's own conclusion why a removal was refused: it sees which vCPUs run. */
static const char *infer_no_removal(const struct spapr *machine, const struct core *core)
{
	uint32_t elsewhere = 0;

	if (core->drc.state != DRC_CONFIGURED)
		return "the guest had not configured this core";
	for (uint32_t i = 0; i < machine->core_count; i++)
		if (&machine->cores[i] != core)
			elsewhere += cpus_running(machine, &machine->cores[i]);
	return elsewhere == 0 ? "these are the last running CPUs of the guest" : NULL;
}

/* The same for an add: how far the guest got with it. */
static const char *infer_no_add(struct spapr *machine, const struct core *core)
{
	const struct operation *op = ops_find(&machine->ops, core->add_operation);

	return op != NULL && op->steps[OP_CONFIGURED].order != 0
	           ? "the guest gave the core back without having started a thread of it: it has "
	             "no "
	             "CPU number left for it, or could not bring it up"
	           : "the guest gave the core back without having configured it";
}

/* What a call of the guest rests on, with what the machine sees of the core. */
static struct op_evidence evidence_of(const struct spapr *machine, const struct core *core,
    const struct op_evidence *by, const char *inferred)
{
	struct op_evidence evidence = *by;

	evidence.threads = machine->config.threads;
	evidence.threads_running = cpus_running(machine, core);
	evidence.inferred = inferred;
	return evidence;
}

static void end_operation(struct spapr *machine, struct core *core, uint64_t *id,
    enum op_outcome outcome, const struct op_evidence *by, const char *inferred, uint64_t now_ms)
{
	struct op_evidence evidence = evidence_of(machine, core, by, inferred);

	op_end(&machine->ops, ops_find(&machine->ops, *id), outcome, &evidence, now_ms);
	*id = 0;
}

/* The guest did something nobody had asked for. */
static void note_guest_made(struct spapr *machine, struct core *core, enum op_kind kind,
    enum op_step step, const struct op_evidence *by, uint64_t now_ms)
{
	struct op_evidence evidence = evidence_of(machine, core, by, NULL);

	switch (ops_note_guest(&machine->ops, kind, core->drc_index, core->id, core->device, step,
	    &evidence, now_ms)) {
	case OP_NOTED: news_tell(&machine->news, SPAPR_NEWS_OPERATION); break;
	case OP_NOTED_MERGED: break;
	case OP_NOT_NOTED: news_count(&machine->news, COUNT_OPERATIONS_DROPPED, 1); break;
	}
}

/* The step tells which of the two pending operations passes it. */
static uint64_t operation_of(const struct core *core, enum op_step step)
{
	return op_step_of_removal(step) ? core->remove_operation : core->add_operation;
}

/* Note that an operation passed a step, and tell the operator if that is new. */
static void pass(struct spapr *machine, uint64_t id, enum op_step step)
{
	if (op_pass(&machine->ops, ops_find(&machine->ops, id), step, clock_ms()))
		news_tell(&machine->news, SPAPR_NEWS_OPERATION);
}

static struct drc_result apply(
    struct spapr *machine, struct core *core, enum drc_input input, const struct op_evidence *by)
{
	struct drc_result result = drc_step(core->type, &core->drc, input);
	uint64_t now_ms = clock_ms();

	/* First the step, so that an end comes after what led to it. */
	if (result.step != OP_REQUESTED)
		pass(machine, operation_of(core, result.step), result.step);
	if (result.effects & DRC_FX_REWIND)
		core->node_offset = core->node_depth = 0;
	if (result.effects & DRC_FX_GIVEN)
		note_guest_made(machine, core, OP_RELEASE, OP_RELEASED, by, now_ms);
	if (result.effects & DRC_FX_TAKEN)
		note_guest_made(machine, core, OP_TAKE, OP_CONFIGURED, by, now_ms);
	if (result.add != OP_PENDING)
		end_operation(machine, core, &core->add_operation, result.add, by,
		    result.add == OP_REJECTED ? infer_no_add(machine, core) : NULL, now_ms);
	if (result.remove != OP_PENDING)
		end_operation(machine, core, &core->remove_operation, result.remove, by,
		    result.remove == OP_REJECTED ? infer_no_removal(machine, core) : NULL, now_ms);
	if (result.effects & DRC_FX_ATTACH)
		for (uint32_t i = 0; i < machine->config.threads; i++)
			if (core->vcpus[i].state == SPAPR_VCPU_ABSENT)
				core->vcpus[i].state = SPAPR_VCPU_STOPPED;
	if (result.effects & DRC_FX_DETACH) {
		cpus_detach(machine, core);
		core->device[0] = '\0';
	}
	if (result.effects & DRC_FX_NOTIFY)
		event_queue(&machine->events, core->number);
	if (result.effects & (DRC_FX_ATTACH | DRC_FX_DETACH | DRC_FX_NOTIFY) ||
	    result.add != OP_PENDING || result.remove != OP_PENDING)
		news_tell(&machine->news, SPAPR_NEWS_OPERATION);
	return result;
}

/* --- The guest ---------------------------------------------------------------------------- */

enum rtas_status core_guest_input(struct spapr *machine, struct core *core, enum drc_input input,
    const struct vcpu *vcpu, const struct op_evidence *by)
{
	uint32_t slot = (uint32_t)(core->history_next % SPAPR_HISTORY);
	struct drc_result result;

	result = apply(machine, core, input, by);
	/* A thread that was started before the core was configured counts now. */
	if (core->drc.adding && core->drc.state == DRC_CONFIGURED &&
	    cpus_running(machine, core) > 0)
		apply(machine, core, DRC_IN_START, by);
	/* Each item of a walk is a call; only its end is worth remembering. */
	if (input != DRC_IN_CONFIGURE || result.status != RTAS_SUCCESS) {
		core->history[slot] =
		    (struct spapr_guest_call){clock_ms(), vcpu->id, input, result.status};
		core->history_next++;
	}
	return result.status;
}

void core_thread_stopped(struct spapr *machine, struct core *core)
{
	if (cpus_running(machine, core) == 0)
		pass(machine, core->remove_operation, OP_STOPPED);
}

bool core_event_fetched(struct spapr *machine, struct core *core)
{
	pass(
	    machine, core->drc.removing ? core->remove_operation : core->add_operation, OP_FETCHED);
	return core->drc.removing;
}

void cores_reset(struct spapr *machine)
{
	static const struct op_evidence by_reset = {.source = OP_BY_RESET};

	for (uint32_t i = 0; i < machine->core_count; i++)
		apply(machine, &machine->cores[i], DRC_IN_RESET, &by_reset);
}

/* --- The operator ------------------------------------------------------------------------- */

static struct core *find_device(struct spapr *machine, const char *device)
{
	for (uint32_t i = 0; i < machine->core_count; i++)
		if (machine->cores[i].drc.attached && strcmp(machine->cores[i].device, device) == 0)
			return &machine->cores[i];
	return NULL;
}

/* The wordings are those management tools know from QEMU. */
static bool check_add(struct spapr *machine, uint32_t core_id, const char *device, struct err *err)
{
	const struct core *core;

	if (core_id % machine->config.threads != 0)
		return err_set(err, ERR_STATE, NULL,
		    "invalid core id %u: it must be a multiple of %u, the threads per core",
		    core_id, machine->config.threads);
	if (core_id / machine->config.threads >= machine->core_count)
		return err_set(err, ERR_STATE, NULL,
		    "core id %u out of range: this machine has room for %u cores (--cpus max=)",
		    core_id, machine->core_count);
	core = &machine->cores[core_id / machine->config.threads];
	if (core->drc.attached)
		return err_set(err, ERR_STATE, "query-hotpluggable-cpus tells which are free",
		    "core %u already populated", core_id);
	if (strlen(device) >= sizeof core->device || device[0] == '\0')
		return err_set(err, ERR_STATE, NULL, "Device ID must have 1 to %zu characters",
		    sizeof core->device - 1);
	if (find_device(machine, device) != NULL)
		return err_set(err, ERR_STATE, NULL, "Duplicate device ID '%s'", device);
	return true;
}

static bool attach(struct spapr *machine, struct core *core, const char *device,
    uint64_t *ret_operation, struct err *err)
{
	static const struct op_evidence by_operator = {.source = OP_BY_OPERATOR};
	struct operation *op;

	if (!cpus_create(machine, core, err) || !tree_build_core(machine, core, err))
		return false;
	op = ops_begin(&machine->ops, OP_ADD, core->drc_index, core->id, device, clock_ms());
	if (op == NULL)
		return err_set(err, ERR_STATE, "wait until one has ended, or cancel one",
		    "too many operations are pending");
	*ret_operation = core->add_operation = op->id;
	snprintf(core->device, sizeof core->device, "%s", device);
	apply(machine, core, DRC_IN_ATTACH, &by_operator);
	op_pass(&machine->ops, op, OP_NOTIFIED, clock_ms());
	return true;
}

bool spapr_core_add(struct spapr *machine, uint32_t core_id, const char *device,
    uint64_t *ret_operation, struct err *err)
{
	bool added;

	pthread_mutex_lock(&machine->lock);
	added = check_add(machine, core_id, device, err) &&
	        attach(machine, &machine->cores[core_id / machine->config.threads], device,
	            ret_operation, err);
	pthread_mutex_unlock(&machine->lock);
	return added;
}

static bool request_removal(
    struct spapr *machine, struct core *core, uint64_t *ret_operation, struct err *err)
{
	static const struct op_evidence by_operator = {.source = OP_BY_OPERATOR};
	struct operation *op = ops_find(&machine->ops, core->remove_operation);
	struct drc_result result;

	if (op == NULL)
		op = ops_begin(
		    &machine->ops, OP_REMOVE, core->drc_index, core->id, core->device, clock_ms());
	else
		op_ask_again(op, clock_ms());
	if (op == NULL)
		return err_set(err, ERR_STATE, "wait until one has ended, or cancel one",
		    "too many operations are pending");
	*ret_operation = core->remove_operation = op->id;
	result = apply(machine, core, DRC_IN_REMOVE, &by_operator);
	if (result.effects & DRC_FX_NOTIFY)
		op_pass(&machine->ops, op, OP_NOTIFIED, clock_ms());
	return true;
}

bool spapr_core_remove(
    struct spapr *machine, const char *device, uint64_t *ret_operation, struct err *err)
{
	struct core *core;
	bool accepted;

	pthread_mutex_lock(&machine->lock);
	core = find_device(machine, device);
	if (core == NULL)
		accepted = err_set(err, ERR_NOT_FOUND, "query-connectors lists the devices",
		    "Device '%s' not found", device);
	else if (core->id == 0)
		accepted = err_set(err, ERR_STATE, NULL, "Boot CPU core may not be unplugged");
	else
		accepted = request_removal(machine, core, ret_operation, err);
	pthread_mutex_unlock(&machine->lock);
	return accepted;
}

static bool cancel(struct spapr *machine, const struct operation *op, uint64_t id, struct err *err)
{
	static const struct op_evidence by_operator = {.source = OP_BY_OPERATOR};
	struct drc_result result;

	if (op == NULL)
		return err_set(err, ERR_NOT_FOUND, "query-operations lists those remembered",
		    "operation %llu not found", (unsigned long long)id);
	if (op->outcome != OP_PENDING)
		return err_set(err, ERR_STATE, NULL, "operation %llu has ended: %s",
		    (unsigned long long)id, op_outcome_name(op->outcome));
	result = apply(machine, core_find(machine, op->drc_index),
	    op->kind == OP_ADD ? DRC_IN_CANCEL_ADD : DRC_IN_CANCEL_REMOVE, &by_operator);
	if (result.refusal == DRC_GUEST_OWNS)
		return err_set(err, ERR_STATE, "use device_del",
		    "operation %llu: the guest has already taken the core", (unsigned long long)id);
	return result.refusal == DRC_ACCEPTED ||
	       err_set(err, ERR_STATE, NULL, "operation %llu cannot be cancelled now",
	           (unsigned long long)id);
}

bool spapr_operation_cancel(struct spapr *machine, uint64_t id, struct err *err)
{
	bool cancelled;

	pthread_mutex_lock(&machine->lock);
	cancelled = cancel(machine, ops_find(&machine->ops, id), id, err);
	pthread_mutex_unlock(&machine->lock);
	return cancelled;
}
