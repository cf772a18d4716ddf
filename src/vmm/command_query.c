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

/* Of what docs/protocol.md describes. */
#define PROTOCOL_LEVEL 2

void listing_finish(struct listing *listing)
{
	free(listing->operations);
	listing->operations = NULL;
}

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

json_t *command_version_json(bool subscribed)
{
	/* "qemu" is the dialect of the protocol: the QMP that first had the event
	 * DEVICE_UNPLUG_GUEST_ERROR. Clients print it, and some decide by it what they may ask. */
	json_t *version = json_pack("{s:{s:i, s:i, s:i}, s:s}", "qemu", "major", 6, "minor", 2,
	    "micro", 0, "package", "paprika " PAPRIKA_VERSION);

	if (!subscribed || json_object_set_new(version, "paprika",
	                       json_pack("{s:s, s:i}", "version", PAPRIKA_VERSION, "protocol",
	                           PROTOCOL_LEVEL)) == 0)
		return version;
	json_decref(version);
	return NULL;
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

/* The index counts the threads of all cores. */
static json_t *cpu_item(struct listing *listing, size_t index)
{
	uint32_t thread = (uint32_t)(index % threads_of(listing->machine));
	char path[sizeof QMP_DEVICE_PATH + OP_DEVICE_MAX + 16];
	struct spapr_core_info core;

	spapr_core_info(listing->machine, (uint32_t)(index / threads_of(listing->machine)), &core);
	if (!core.drc.attached)
		return json_null();
	snprintf(path, sizeof path, QMP_DEVICE_PATH "%s/thread[%u]", core.device, (unsigned)thread);
	return json_pack("{s:I, s:s, s:i, s:{s:I}, s:s, s:s*}", "cpu-index",
	    (json_int_t)core.vcpus[thread].id, "qom-path", path, "thread-id",
	    core.vcpus[thread].host_thread, "props", "core-id", (json_int_t)core.core_id, "target",
	    "ppc64", "state",
	    listing->with_state ? vcpu_state_name(core.vcpus[thread].state) : NULL);
}

bool list_cpus_fast(struct listing *listing)
{
	listing->count = (size_t)spapr_core_count(listing->machine) * threads_of(listing->machine);
	listing->item = cpu_item;
	return true;
}

/* Registers as text: JSON's integers end where the addresses of a kernel begin. */
static json_t *registers_json(struct spapr *machine, uint32_t id, enum spapr_vcpu_state state)
{
	struct kvm_registers registers;
	json_t *vcpu =
	    json_pack("{s:I, s:s}", "cpu-index", (json_int_t)id, "state", vcpu_state_name(state));

	if (vcpu == NULL || !spapr_vcpu_registers(machine, id, &registers))
		return vcpu;
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {{"pc", registers.pc}, {"msr", registers.msr}, {"lr", registers.lr},
	    {"ctr", registers.ctr}, {"srr0", registers.srr0}, {"srr1", registers.srr1}};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char text[24];

		snprintf(text, sizeof text, "0x%016llx", (unsigned long long)rows[i].value);
		if (json_object_set_new(vcpu, rows[i].name, json_string(text)) < 0) {
			json_decref(vcpu);
			return NULL;
		}
	}
	return vcpu;
}

static json_t *registers_item(struct listing *listing, size_t index)
{
	uint32_t threads = threads_of(listing->machine), thread = (uint32_t)(index % threads);
	struct spapr_core_info core;

	spapr_core_info(listing->machine, (uint32_t)(index / threads), &core);
	if (!core.drc.attached)
		return json_null();
	return registers_json(listing->machine, core.vcpus[thread].id, core.vcpus[thread].state);
}

bool list_registers(struct listing *listing)
{
	listing->count = (size_t)spapr_core_count(listing->machine) * threads_of(listing->machine);
	listing->item = registers_item;
	return true;
}

/* The highest core comes first: clients made for QMP take the last one as the boot core. */
static json_t *hotpluggable_item(struct listing *listing, size_t index)
{
	char path[sizeof QMP_DEVICE_PATH + OP_DEVICE_MAX];
	struct spapr_core_info core;

	spapr_core_info(listing->machine, (uint32_t)(listing->count - 1 - index), &core);
	snprintf(path, sizeof path, QMP_DEVICE_PATH "%s", core.device);
	return json_pack("{s:{s:I}, s:I, s:s*, s:s}", "props", "core-id", (json_int_t)core.core_id,
	    "vcpus-count", (json_int_t)threads_of(listing->machine), "qom-path",
	    core.drc.attached ? path : NULL, "type", QMP_CORE_TYPE);
}

bool list_hotpluggable_cpus(struct listing *listing)
{
	listing->count = spapr_core_count(listing->machine);
	listing->item = hotpluggable_item;
	return true;
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

static json_t *connector_item(struct listing *listing, size_t index)
{
	struct spapr_core_info core;

	spapr_core_info(listing->machine, (uint32_t)index, &core);
	return core.core_id >= listing->start
	           ? connector_json(listing->machine, &core, listing->now_ms)
	           : json_null();
}

bool list_connectors(struct listing *listing)
{
	listing->count = spapr_core_count(listing->machine);
	listing->now_ms = clock_ms();
	listing->item = connector_item;
	return true;
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

static json_t *operation_item(struct listing *listing, size_t index)
{
	const struct operation *operation = &listing->operations[index];

	return operation->id >= listing->start ? command_operation_json(operation) : json_null();
}

bool list_operations(struct listing *listing)
{
	listing->operations = calloc(SPAPR_OPERATIONS, sizeof *listing->operations);
	if (listing->operations == NULL)
		return false;
	listing->count = spapr_operations(listing->machine, listing->operations, SPAPR_OPERATIONS);
	listing->item = operation_item;
	return true;
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
