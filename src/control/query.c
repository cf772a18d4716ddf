/* SPDX-License-Identifier: Apache-2.0 */
/* query.c - see query.h. */
#include "control/query.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/json_out.h"

#define CORE_TYPE "host-spapr-cpu-core"

void listing_finish(struct listing *listing)
{
	free(listing->operations);
	listing->operations = NULL;
}

json_t *query_status(const struct guest *guest)
{
	static const char *const names[] = {
	    [RUN_STATE_RUNNING] = "running",
	    [RUN_STATE_PAUSED] = "paused",
	    [RUN_STATE_SHUTDOWN] = "shutdown",
	    [RUN_STATE_PANICKED] = "guest-panicked",
	    [RUN_STATE_FAILED] = "internal-error",
	};
	enum run_state state = guest->ops->run_state(guest->vmm);

	/* singlestep is always there in this dialect, and typed clients insist on it. */
	return json_pack("{s:b, s:b, s:s}", "running", state == RUN_STATE_RUNNING, "singlestep", 0,
	    "status", names[state]);
}

json_t *query_name(const struct guest *guest)
{
	return guest->name[0] != '\0' ? json_pack("{s:o}", "name", json_out_text(guest->name))
	                              : json_object();
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
	char path[sizeof JSON_DEVICE_PATH + OP_DEVICE_MAX + 16];
	struct spapr_core_info core;

	spapr_core_info(listing->machine, (uint32_t)(index / threads_of(listing->machine)), &core);
	if (!core.drc.attached)
		return json_null();
	snprintf(
	    path, sizeof path, JSON_DEVICE_PATH "%s/thread[%u]", core.device, (unsigned)thread);
	return json_pack("{s:I, s:s, s:i, s:{s:I}, s:s, s:s*}", "cpu-index",
	    (json_int_t)core.vcpus[thread].id, "qom-path", path, "thread-id",
	    core.vcpus[thread].host_thread, "props", "core-id", (json_int_t)core.core_id, "target",
	    "ppc64", "state",
	    listing->with_state ? vcpu_state_name(core.vcpus[thread].state) : NULL);
}

bool query_cpus_fast(struct listing *listing)
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

bool query_registers(struct listing *listing)
{
	listing->count = (size_t)spapr_core_count(listing->machine) * threads_of(listing->machine);
	listing->item = registers_item;
	return true;
}

/* The highest core comes first: clients made for QMP take the last one as the boot core. */
static json_t *hotpluggable_item(struct listing *listing, size_t index)
{
	char path[sizeof JSON_DEVICE_PATH + OP_DEVICE_MAX];
	struct spapr_core_info core;

	spapr_core_info(listing->machine, (uint32_t)(listing->count - 1 - index), &core);
	snprintf(path, sizeof path, JSON_DEVICE_PATH "%s", core.device);
	return json_pack("{s:{s:I}, s:I, s:s*, s:s}", "props", "core-id", (json_int_t)core.core_id,
	    "vcpus-count", (json_int_t)threads_of(listing->machine), "qom-path",
	    core.drc.attached ? path : NULL, "type", CORE_TYPE);
}

bool query_hotpluggable_cpus(struct listing *listing)
{
	listing->count = spapr_core_count(listing->machine);
	listing->item = hotpluggable_item;
	return true;
}

static json_t *connector_vcpus(struct spapr *machine, const struct spapr_core_info *core)
{
	json_t *list = json_array();

	for (uint32_t t = 0; list != NULL && t < threads_of(machine); t++)
		list = json_out_append(
		    list, json_pack("{s:I, s:s}", "id", (json_int_t)core->vcpus[t].id, "state",
		              vcpu_state_name(core->vcpus[t].state)));
	return list;
}

static json_t *connector_history(const struct spapr_core_info *core, uint64_t now_ms)
{
	const size_t max = sizeof core->history / sizeof core->history[0];
	json_t *list = json_array();

	for (size_t i = 0; list != NULL && i < core->history_count && i < max; i++)
		list = json_out_append(list,
		    json_pack("{s:o, s:s, s:I, s:i}", "ms-ago",
		        json_out_integer(now_ms - core->history[i].at_ms), "call",
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
	    "add-operation",
	    core->add_operation != 0 ? json_out_integer(core->add_operation) : NULL, "removing",
	    core->drc.removing, "remove-operation",
	    core->remove_operation != 0 ? json_out_integer(core->remove_operation) : NULL, "vcpus",
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

bool query_connectors(struct listing *listing)
{
	listing->count = spapr_core_count(listing->machine);
	listing->now_ms = clock_ms();
	listing->item = connector_item;
	return true;
}

/* --- Operations -------------------------------------------------------------------------- */

static json_t *operation_item(struct listing *listing, size_t index)
{
	const struct operation *operation = &listing->operations[index];

	return operation->id >= listing->start ? json_out_operation(operation) : json_null();
}

bool query_operations(struct listing *listing)
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
		if (json_object_set_new(
		        object, counters[i].name, json_out_integer(counters[i].value)) != 0) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}
