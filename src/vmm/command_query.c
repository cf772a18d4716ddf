/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command_query.c - the state of the machine as JSON: cores, connectors, operations, counters.
 *
 * Nothing here changes anything. Each function takes a snapshot through spapr.h and writes it
 * down in the shape docs/protocol.md promises; where QMP has a shape for the same thing, it is
 * QMP's. Members that do not apply are left out rather than null. A function returns NULL only
 * if memory is out: json_pack() and the _new functions hand a failure on as NULL by themselves.
 */
#include "command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "vmm/options.h"
#include "vmm/vmm.h"

#define QMP_CORE_TYPE "host-spapr-cpu-core"
#define QMP_DEVICE_PATH "/machine/peripheral/"

json_t *command_append(json_t *array, json_t *value)
{
	if (json_array_append_new(array, value) == 0)
		return array;
	json_decref(array);
	return NULL;
}

static json_t *integer(uint64_t value)
{
	return json_integer((json_int_t)value);
}

json_t *command_version_json(void)
{
	/* "qemu" is the dialect of the protocol: the QMP that first had the event
	 * DEVICE_UNPLUG_GUEST_ERROR. Clients print it, and some decide by it what they may ask. */
	return json_pack("{s:{s:i, s:i, s:i}, s:s, s:{s:s, s:i}}", "qemu", "major", 6, "minor", 2,
	    "micro", 0, "package", "paprika " PAPRIKA_VERSION, "paprika", "version",
	    PAPRIKA_VERSION, "protocol", 1);
}

json_t *query_status(const struct vmm *vmm)
{
	static const char *const names[] = {
	    [VMM_RUNNING] = "running",
	    [VMM_PAUSED] = "paused",
	    [VMM_SHUTDOWN] = "shutdown",
	    [VMM_PANICKED] = "guest-panicked",
	    [VMM_FAILED] = "internal-error",
	};
	enum vmm_status status = vmm_status(vmm);

	/* singlestep is always there in this dialect, and typed clients insist on it. */
	return json_pack("{s:b, s:b, s:s}", "running", status == VMM_RUNNING, "singlestep", 0,
	    "status", names[status]);
}

json_t *query_name(const struct vmm *vmm)
{
	const char *name = vmm_options(vmm)->name;

	return name[0] != '\0' ? json_pack("{s:o}", "name", command_text(name)) : json_object();
}

/* --- Cores ------------------------------------------------------------------------------- */

static const char *vcpu_state_name(enum spapr_vcpu_state state)
{
	switch (state) {
	case SPAPR_VCPU_ABSENT: return "absent";
	case SPAPR_VCPU_STOPPED: return "stopped";
	case SPAPR_VCPU_RUNNING: return "running";
	case SPAPR_VCPU_STOPPING: return "stopping";
	}
	return "unknown";
}

static uint32_t threads_of(struct spapr *machine)
{
	uint32_t threads = spapr_get_config(machine)->threads;

	return threads < SPAPR_MAX_THREADS ? threads : SPAPR_MAX_THREADS;
}

json_t *query_cpus_fast(struct spapr *machine)
{
	json_t *list = json_array();
	struct spapr_core_info core;

	for (uint32_t i = 0; list != NULL && i < spapr_core_count(machine); i++) {
		spapr_core_info(machine, i, &core);
		if (!core.drc.attached)
			continue;
		for (uint32_t t = 0; list != NULL && t < threads_of(machine); t++) {
			char path[sizeof QMP_DEVICE_PATH + OP_DEVICE_MAX + 16];

			snprintf(path, sizeof path, QMP_DEVICE_PATH "%s/thread[%u]", core.device,
			    (unsigned)t);
			list = command_append(
			    list, json_pack("{s:I, s:s, s:i, s:{s:I}, s:s, s:s}", "cpu-index",
			              (json_int_t)core.vcpus[t].id, "qom-path", path, "thread-id",
			              core.vcpus[t].host_thread, "props", "core-id",
			              (json_int_t)core.core_id, "target", "ppc64", "state",
			              vcpu_state_name(core.vcpus[t].state)));
		}
	}
	return list;
}

/* The highest core comes first: clients made for QMP take the last one as the boot core. */
json_t *query_hotpluggable_cpus(struct spapr *machine)
{
	json_t *list = json_array();
	struct spapr_core_info core;

	for (uint32_t i = spapr_core_count(machine); list != NULL && i-- > 0;) {
		char path[sizeof QMP_DEVICE_PATH + OP_DEVICE_MAX];

		spapr_core_info(machine, i, &core);
		snprintf(path, sizeof path, QMP_DEVICE_PATH "%s", core.device);
		list = command_append(list,
		    json_pack("{s:{s:I}, s:I, s:s*, s:s}", "props", "core-id",
		        (json_int_t)core.core_id, "vcpus-count", (json_int_t)threads_of(machine),
		        "qom-path", core.drc.attached ? path : NULL, "type", QMP_CORE_TYPE));
	}
	return list;
}

static json_t *connector_vcpus(struct spapr *machine, const struct spapr_core_info *core)
{
	json_t *list = json_array();

	for (uint32_t t = 0; list != NULL && t < threads_of(machine); t++)
		list = command_append(
		    list, json_pack("{s:I, s:s}", "id", (json_int_t)core->vcpus[t].id, "state",
		              vcpu_state_name(core->vcpus[t].state)));
	return list;
}

static json_t *connector_history(const struct spapr_core_info *core, uint64_t now_ms)
{
	const size_t max = sizeof core->history / sizeof core->history[0];
	json_t *list = json_array();

	for (size_t i = 0; list != NULL && i < core->history_count && i < max; i++)
		list = command_append(list,
		    json_pack("{s:o, s:s, s:I, s:i}", "ms-ago",
		        integer(now_ms - core->history[i].at_ms), "call",
		        drc_input_name(core->history[i].input), "vcpu",
		        (json_int_t)core->history[i].vcpu, "status", (int)core->history[i].status));
	return list;
}

static json_t *connector_json(
    struct spapr *machine, const struct spapr_core_info *core, uint64_t now_ms)
{
	char name[32];

	snprintf(name, sizeof name, "%s%u", drc_type_cpu.name_prefix, (unsigned)core->core_id);
	return json_pack("{s:I, s:I, s:s, s:s, s:b, s:s*, s:b, s:o*, s:b, s:o*, s:o, s:o}",
	    "core-id", (json_int_t)core->core_id, "drc-index", (json_int_t)core->drc_index, "name",
	    name, "state", drc_state_name(core->drc.state), "attached", core->drc.attached,
	    "device", core->device[0] != '\0' ? core->device : NULL, "adding", core->drc.adding,
	    "add-operation", core->add_operation != 0 ? integer(core->add_operation) : NULL,
	    "removing", core->drc.removing, "remove-operation",
	    core->remove_operation != 0 ? integer(core->remove_operation) : NULL, "vcpus",
	    connector_vcpus(machine, core), "history", connector_history(core, now_ms));
}

json_t *query_connectors(struct spapr *machine, uint64_t start, uint64_t count)
{
	json_t *list = json_array();
	struct spapr_core_info core;
	uint64_t now_ms = clock_ms();

	for (uint32_t i = 0; list != NULL && i < spapr_core_count(machine); i++) {
		spapr_core_info(machine, i, &core);
		if (core.core_id >= start && json_array_size(list) < count)
			list = command_append(list, connector_json(machine, &core, now_ms));
	}
	return list;
}

/* --- Operations -------------------------------------------------------------------------- */

/* The steps passed, in the order they were passed in. */
static json_t *steps_json(const struct operation *op)
{
	json_t *list = json_array();
	uint64_t last = 0;

	while (list != NULL) {
		size_t next = OP_STEP_COUNT;

		for (size_t i = 0; i < OP_STEP_COUNT; i++)
			if (op->steps[i].order > last &&
			    (next == OP_STEP_COUNT || op->steps[i].order < op->steps[next].order))
				next = i;
		if (next == OP_STEP_COUNT)
			break;
		last = op->steps[next].order;
		list = command_append(
		    list, json_pack("{s:s, s:o}", "step", op_step_name((enum op_step)next), "at-ms",
		              integer(op->steps[next].at_ms - op->steps[OP_REQUESTED].at_ms)));
	}
	return list;
}

/* The connector indicators of set-indicator by their names in LoPAR; NULL for any other. */
static const char *indicator_name(uint32_t indicator)
{
	switch (indicator) {
	case 9001: return "isolation-state";
	case 9002: return "dr-indicator";
	case 9003: return "allocation-state";
	default: return NULL;
	}
}

json_t *command_evidence_json(const struct operation *op)
{
	const struct op_evidence *evidence = &op->evidence;
	bool by_call = evidence->call != NULL;
	bool by_indicator = by_call && evidence->indicator != 0;

	return json_pack("{s:s, s:s*, s:o*, s:s*, s:o*, s:o*, s:s, s:o, s:I, s:I, s:s*}", "source",
	    op_source_name(evidence->source), "call", evidence->call, "indicator",
	    by_indicator ? integer(evidence->indicator) : NULL, "indicator-name",
	    by_indicator ? indicator_name(evidence->indicator) : NULL, "value",
	    by_indicator ? integer(evidence->value) : NULL, "vcpu",
	    by_call ? integer(evidence->vcpu) : NULL, "phase", op_step_name(evidence->phase),
	    "elapsed-ms", integer(evidence->elapsed_ms), "threads-running",
	    (json_int_t)evidence->threads_running, "threads", (json_int_t)evidence->threads,
	    "inferred", evidence->inferred);
}

json_t *command_operation_json(const struct operation *op)
{
	bool pending = op->outcome == OP_PENDING;
	uint64_t elapsed_ms =
	    pending ? clock_ms() - op->steps[OP_REQUESTED].at_ms : op->evidence.elapsed_ms;

	return json_pack(
	    "{s:o, s:s, s:s, s:I, s:I, s:s, s:s, s:b, s:I, s:o*, s:s*, s:o, s:o, s:o*}", "id",
	    integer(op->id), "kind", op_kind_name(op->kind), "device", op->device, "core-id",
	    (json_int_t)op->core_id, "drc-index", (json_int_t)op->drc_index, "outcome",
	    op_outcome_name(op->outcome), "phase", op_step_name(op->phase), "unresolved",
	    op->unresolved, "notifications", (json_int_t)op->notifications, "times",
	    op_is_guest_made(op->kind) ? integer(op->times) : NULL, "stuck",
	    pending ? op_stuck_text(op) : NULL, "elapsed-ms", integer(elapsed_ms), "steps",
	    steps_json(op), "evidence", pending ? NULL : command_evidence_json(op));
}

json_t *query_operations(struct spapr *machine, uint64_t start, uint64_t count)
{
	struct operation *operations = calloc(SPAPR_OPERATIONS, sizeof *operations);
	json_t *list = operations != NULL ? json_array() : NULL;
	size_t found = list != NULL ? spapr_operations(machine, operations, SPAPR_OPERATIONS) : 0;

	for (size_t i = 0; list != NULL && i < found; i++)
		if (operations[i].id >= start && json_array_size(list) < count)
			list = command_append(list, command_operation_json(&operations[i]));
	free(operations);
	return list;
}

json_t *query_metrics(struct spapr *machine)
{
	struct spapr_counter counters[128];
	size_t count = spapr_counters(machine, counters, sizeof counters / sizeof counters[0]);
	json_t *object = json_object();

	for (size_t i = 0; object != NULL && i < count; i++) {
		if (json_object_set_new(object, counters[i].name, integer(counters[i].value)) !=
		    0) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}
