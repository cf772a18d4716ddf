/* SPDX-License-Identifier: Apache-2.0 */
/* query.c - see query.h. A NULL that json_pack() or json_out_append() is given is passed on. */
#include "control/query.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "control/json_out.h"

#define CORE_TYPE "host-spapr-cpu-core"

json_t *query_version(struct call *call)
{
	return json_out_version(call->session->subscribed);
}

json_t *query_status(struct call *call)
{
	static const char *const names[] = {
	    [RUN_STATE_RUNNING] = "running",
	    [RUN_STATE_PAUSED] = "paused",
	    [RUN_STATE_SHUTDOWN] = "shutdown",
	    [RUN_STATE_PANICKED] = "guest-panicked",
	    [RUN_STATE_FAILED] = "internal-error",
	};
	enum run_state state = call->guest->ops->run_state(call->guest->vmm);

	/* QMP of this version always has singlestep, and typed clients require it. */
	return json_pack("{s:b, s:b, s:s}", "running", state == RUN_STATE_RUNNING, "singlestep", 0,
	    "status", names[state]);
}

json_t *query_name(struct call *call)
{
	const char *name = call->guest->name;

	return name[0] != '\0' ? json_pack("{s:o}", "name", json_out_text(name)) : json_object();
}

json_t *query_uuid(struct call *call)
{
	const char *uuid = spapr_get_config(call->guest->machine)->uuid;

	/* QMP has a nil UUID for none. */
	return json_pack("{s:s}", "UUID",
	    uuid != NULL && uuid[0] != '\0' ? uuid : "00000000-0000-0000-0000-000000000000");
}

json_t *query_kvm(struct call *call)
{
	return json_pack("{s:b, s:b}", "enabled", 1, "present", 1);
}

json_t *query_metrics(struct call *call)
{
	struct spapr_counter counters[128];
	size_t count = spapr_counters(call->guest->machine, counters, 128);
	json_t *object = json_object();

	for (size_t i = 0; i < count; i++) {
		if (json_object_set_new(
		        object, counters[i].name, json_out_integer(counters[i].value)) < 0) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
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

static uint32_t threads_per_core(struct spapr *machine)
{
	uint32_t threads = spapr_get_config(machine)->threads;

	return threads < SPAPR_MAX_THREADS ? threads : SPAPR_MAX_THREADS;
}

/* A list with an item for each vCPU of the attached cores. */
static json_t *query_vcpus(struct call *call,
    json_t *(*item)(struct call *call, const struct spapr_core_info *core, uint32_t thread))
{
	struct spapr *machine = call->guest->machine;
	struct spapr_core_info core;

	for (uint32_t n = 0; n < spapr_core_count(machine); n++) {
		spapr_core_info(machine, n, &core);
		for (uint32_t t = 0; core.drc.attached && t < threads_per_core(machine); t++)
			call_item(call, item(call, &core, t));
	}
	return json_array();
}

static json_t *vcpu_json(struct call *call, const struct spapr_core_info *core, uint32_t thread)
{
	char path[sizeof JSON_DEVICE_PATH + OP_DEVICE_MAX + 16];

	snprintf(
	    path, sizeof path, JSON_DEVICE_PATH "%s/thread[%u]", core->device, (unsigned)thread);
	return json_pack("{s:I, s:s, s:i, s:{s:I}, s:s, s:s*}", "cpu-index",
	    (json_int_t)core->vcpus[thread].id, "qom-path", path, "thread-id",
	    core->vcpus[thread].host_thread, "props", "core-id", (json_int_t)core->core_id,
	    "target", "ppc64", "state",
	    call->session->subscribed ? vcpu_state_name(core->vcpus[thread].state) : NULL);
}

json_t *query_cpus_fast(struct call *call)
{
	return query_vcpus(call, vcpu_json);
}

/* A register as text: a kernel address does not fit into JSON's signed 64-bit integers. */
static json_t *register_json(uint64_t value)
{
	char text[24];

	snprintf(text, sizeof text, "0x%016llx", (unsigned long long)value);
	return json_string(text);
}

static json_t *registers_json(
    struct call *call, const struct spapr_core_info *core, uint32_t thread)
{
	uint32_t id = core->vcpus[thread].id;
	const char *state = vcpu_state_name(core->vcpus[thread].state);
	struct kvm_registers r;

	if (!spapr_vcpu_registers(call->guest->machine, id, &r))
		return json_pack("{s:I, s:s}", "cpu-index", (json_int_t)id, "state", state);
	return json_pack("{s:I, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "cpu-index", (json_int_t)id,
	    "state", state, "pc", register_json(r.pc), "msr", register_json(r.msr), "lr",
	    register_json(r.lr), "ctr", register_json(r.ctr), "srr0", register_json(r.srr0), "srr1",
	    register_json(r.srr1));
}

json_t *query_registers(struct call *call)
{
	if (call->guest->ops->run_state(call->guest->vmm) != RUN_STATE_RUNNING)
		return query_vcpus(call, registers_json);
	err_set(&call->err, ERR_STATE, "stop the guest first, and let it go on with cont",
	    "registers can be read only while the guest does not run");
	return NULL;
}

/* The highest core comes first: clients made for QMP take the last one as the boot core. */
json_t *query_hotpluggable_cpus(struct call *call)
{
	struct spapr *machine = call->guest->machine;
	char path[sizeof JSON_DEVICE_PATH + OP_DEVICE_MAX];
	struct spapr_core_info core;

	for (uint32_t n = spapr_core_count(machine); n-- > 0;) {
		spapr_core_info(machine, n, &core);
		snprintf(path, sizeof path, JSON_DEVICE_PATH "%s", core.device);
		call_item(call, json_pack("{s:{s:I}, s:I, s:s*, s:s}", "props", "core-id",
		                    (json_int_t)core.core_id, "vcpus-count",
		                    (json_int_t)threads_per_core(machine), "qom-path",
		                    core.drc.attached ? path : NULL, "type", CORE_TYPE));
	}
	return json_array();
}

static json_t *connector_vcpus(const struct spapr_core_info *core, uint32_t threads)
{
	json_t *list = json_array();

	for (uint32_t t = 0; t < threads; t++)
		list = json_out_append(
		    list, json_pack("{s:I, s:s}", "id", (json_int_t)core->vcpus[t].id, "state",
		              vcpu_state_name(core->vcpus[t].state)));
	return list;
}

static json_t *connector_history(const struct spapr_core_info *core, uint64_t now_ms)
{
	json_t *list = json_array();

	for (size_t i = 0; i < core->history_count && i < SPAPR_HISTORY; i++)
		list = json_out_append(list,
		    json_pack("{s:o, s:s, s:I, s:i}", "ms-ago",
		        json_out_integer(now_ms - core->history[i].at_ms), "call",
		        drc_input_name(core->history[i].input), "vcpu",
		        (json_int_t)core->history[i].vcpu, "status", (int)core->history[i].status));
	return list;
}

static json_t *connector_json(const struct spapr_core_info *core, uint32_t threads, uint64_t now_ms)
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
	    connector_vcpus(core, threads), "history", connector_history(core, now_ms));
}

json_t *query_connectors(struct call *call)
{
	uint64_t start = call_selection(call, "start", 0);
	uint64_t most = call_selection(call, "count", UINT64_MAX);
	struct spapr *machine = call->guest->machine;
	uint64_t now_ms = clock_ms();
	struct spapr_core_info core;

	for (uint32_t n = 0; n < spapr_core_count(machine) && call->items < most; n++) {
		spapr_core_info(machine, n, &core);
		if (core.core_id >= start)
			call_item(call, connector_json(&core, threads_per_core(machine), now_ms));
	}
	return json_array();
}

/* --- Operations -------------------------------------------------------------------------- */

json_t *query_operations(struct call *call)
{
	uint64_t start = call_selection(call, "start", 0);
	uint64_t most = call_selection(call, "count", UINT64_MAX);
	struct operation *operations = calloc(SPAPR_OPERATIONS, sizeof *operations);
	json_int_t id;
	bool one = call_integer(call, "id", &id);
	size_t count;

	if (operations == NULL)
		return NULL;
	count = spapr_operations(call->guest->machine, operations, SPAPR_OPERATIONS);
	for (size_t i = 0; i < count && (one || call->items < most); i++)
		if (one ? operations[i].id == (uint64_t)id : operations[i].id >= start)
			call_item(call, json_out_operation(&operations[i]));
	free(operations);
	if (!one || call->items > 0)
		return json_array();
	err_set(&call->err, ERR_NOT_FOUND, "query-operations without id lists those remembered",
	    "operation %lld not found", (long long)id);
	return NULL;
}
