/* SPDX-License-Identifier: Apache-2.0 */
/* query.c - see query.h. A NULL that json_pack() or json_out_append() is given is passed on. */
#include "control/query.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/devices.h"
#include "control/json_out.h"

#define CORE_TYPE "host-spapr-cpu-core"

json_t *query_version(struct call *call)
{
	return json_out_version(call->session->subscribed);
}

/* The names of the devices that a reset waits for. */
static json_t *devices_in_use(struct spapr *machine)
{
	json_t *list = json_array();
	struct spapr_pci_info pci;

	for (uint64_t from = 0; spapr_pci_info(machine, (uint32_t)from, &pci); from = pci.slot + 1)
		if (!pci.at_rest)
			list = json_out_append(list, json_string(pci.connector.device));
	return list;
}

const char *run_state_name(enum run_state state)
{
	static const char *const names[] = {
	    [RUN_STATE_RUNNING] = "running",
	    [RUN_STATE_PAUSED] = "paused",
	    [RUN_STATE_SHUTDOWN] = "shutdown",
	    [RUN_STATE_PANICKED] = "guest-panicked",
	    [RUN_STATE_FAILED] = "internal-error",
	};

	return names[state];
}

json_t *query_status(struct call *call)
{
	enum run_state state = call->guest->ops->run_state(call->guest->vmm);

	/* QMP of this version always has singlestep, and typed clients require it. */
	return json_pack("{s:b, s:b, s:s, s:o*}", "running", state == RUN_STATE_RUNNING,
	    "singlestep", 0, "status", run_state_name(state), "reset-waits",
	    call->session->subscribed && call->guest->ops->reset_waits(call->guest->vmm)
	        ? devices_in_use(call->guest->machine)
	        : NULL);
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
		for (uint32_t t = 0; core.connector.drc.attached && t < threads_per_core(machine);
		     t++)
			call_item(call, item(call, &core, t));
	}
	return json_array();
}

static json_t *vcpu_json(struct call *call, const struct spapr_core_info *core, uint32_t thread)
{
	char path[sizeof JSON_DEVICE_PATH + OP_DEVICE_MAX + 16];

	snprintf(path, sizeof path, JSON_DEVICE_PATH "%s/thread[%u]", core->connector.device,
	    (unsigned)thread);
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
		snprintf(path, sizeof path, JSON_DEVICE_PATH "%s", core.connector.device);
		call_item(call, json_pack("{s:{s:I}, s:I, s:s*, s:s}", "props", "core-id",
		                    (json_int_t)core.core_id, "vcpus-count",
		                    (json_int_t)threads_per_core(machine), "qom-path",
		                    core.connector.drc.attached ? path : NULL, "type", CORE_TYPE));
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

static json_t *connector_calls(const struct spapr_connector_info *connector, uint64_t now_ms)
{
	json_t *list = json_array();

	for (size_t i = 0; i < connector->history_count && i < SPAPR_HISTORY; i++) {
		const struct spapr_guest_call *call = &connector->history[i];

		list = json_out_append(list,
		    json_pack("{s:o, s:s, s:I, s:i}", "ms-ago",
		        json_out_integer(now_ms - call->at_ms), "call", drc_input_name(call->input),
		        "vcpu", (json_int_t)call->vcpu, "status", (int)call->status));
	}
	return list;
}

/* What the connectors of all families have. */
static json_t *connector_json(const struct drc_type *type, const char *resource, uint32_t unit,
    const struct spapr_connector_info *connector, uint64_t now_ms)
{
	const struct drc *drc = &connector->drc;
	uint64_t add = connector->add_operation, remove = connector->remove_operation;
	char name[32];

	snprintf(name, sizeof name, "%s%u", type->name_prefix,
	    (unsigned)(connector->drc_index & 0x0fffffff));
	return json_pack("{s:s, s:I, s:I, s:s, s:s, s:b, s:s*, s:b, s:o*, s:b, s:o*, s:o}",
	    "resource", resource, "unit", (json_int_t)unit, "drc-index",
	    (json_int_t)connector->drc_index, "name", name, "state",
	    drc_state_name(type, drc->state), "attached", drc->attached, "device",
	    connector->device[0] != '\0' ? connector->device : NULL, "adding", drc->adding,
	    "add-operation", add != 0 ? json_out_integer(add) : NULL, "removing", drc->removing,
	    "remove-operation", remove != 0 ? json_out_integer(remove) : NULL, "history",
	    connector_calls(connector, now_ms));
}

static json_t *with_member(json_t *object, const char *name, json_t *value)
{
	if (json_object_set_new(object, name, value) == 0)
		return object;
	json_decref(object);
	return NULL;
}

static json_t *connector_of_core(
    const struct spapr_core_info *core, uint32_t threads, uint64_t now_ms)
{
	json_t *connector =
	    connector_json(&drc_type_cpu, "core", core->core_id, &core->connector, now_ms);

	connector = with_member(connector, "core-id", json_integer(core->core_id));
	return with_member(connector, "vcpus", connector_vcpus(core, threads));
}

static json_t *connector_of_memory(const struct spapr_memory_info *memory, uint64_t now_ms)
{
	json_t *connector =
	    connector_json(&drc_type_lmb, "memory", memory->block, &memory->connector, now_ms);

	connector = with_member(connector, "blocks", json_integer(memory->blocks));
	return with_member(connector, "blocks-in-use", json_integer(memory->blocks_in_use));
}

static json_t *connector_of_pci(const struct spapr_pci_info *pci, uint64_t now_ms)
{
	json_t *connector =
	    connector_json(&drc_type_pci, "pci", pci->slot, &pci->connector, now_ms);

	connector = with_member(connector, "driver", json_string(pci->driver));
	connector = with_member(connector, "device-status", json_integer(pci->status));
	connector = with_member(connector, "requests", json_out_integer(pci->requests));
	if (pci->lost)
		connector = with_member(connector, "backend-lost", json_true());
	return with_member(connector, "requests-in-flight", json_out_integer(pci->in_flight));
}

json_t *query_connectors(struct call *call)
{
	uint64_t start = call_selection(call, "start", 0);
	uint64_t most = call_selection(call, "count", UINT64_MAX);
	const char *resource = call_string(call, "resource");
	bool cores = resource == NULL || strcmp(resource, "core") == 0;
	bool memories = resource == NULL || strcmp(resource, "memory") == 0;
	bool pcis = resource == NULL || strcmp(resource, "pci") == 0;
	struct spapr *machine = call->guest->machine;
	uint64_t now_ms = clock_ms();
	struct spapr_core_info core;
	struct spapr_memory_info memory;
	struct spapr_pci_info pci;

	if (!cores && !memories && !pcis) {
		call_fail(call, NULL, "Parameter 'resource' does not accept value '%s'", resource);
		return NULL;
	}
	for (uint32_t n = 0; cores && n < spapr_core_count(machine) && call->items < most; n++) {
		spapr_core_info(machine, n, &core);
		if (core.core_id >= start)
			call_item(
			    call, connector_of_core(&core, threads_per_core(machine), now_ms));
	}
	for (uint64_t from = 0;
	     memories && call->items < most && spapr_memory_info(machine, from, &memory);
	     from = memory.address + memory.bytes)
		if (memory.block >= start)
			call_item(call, connector_of_memory(&memory, now_ms));
	for (uint64_t from = start; pcis && call->items < most && from <= UINT32_MAX &&
	                            spapr_pci_info(machine, (uint32_t)from, &pci);
	     from = pci.slot + 1)
		call_item(call, connector_of_pci(&pci, now_ms));
	return json_array();
}

/* --- Memory ------------------------------------------------------------------------------ */

json_t *query_memory_devices(struct call *call)
{
	struct spapr *machine = call->guest->machine;
	struct spapr_memory_info memory;
	char path[sizeof "/objects/" + OP_DEVICE_MAX];

	for (uint64_t from = 0; spapr_memory_info(machine, from, &memory);
	     from = memory.address + memory.bytes) {
		snprintf(path, sizeof path, "/objects/%s",
		    backend_of_device(call->guest->backends, memory.connector.device));
		call_item(call,
		    json_pack("{s:s, s:{s:s, s:I, s:I, s:I, s:i, s:s, s:b, s:b}}", "type", "dimm",
		        "data", "id", memory.connector.device, "addr", (json_int_t)memory.address,
		        "size", (json_int_t)memory.bytes, "slot", (json_int_t)memory.block, "node",
		        0, "memdev", path, "hotplugged", 1, "hotpluggable", 1));
	}
	return json_array();
}

json_t *query_memory_size_summary(struct call *call)
{
	struct spapr *machine = call->guest->machine;
	const struct spapr_config *config = spapr_get_config(machine);
	bool more = config->max_memory_bytes > config->memory_bytes;

	return json_pack("{s:o, s:o, s:o*}", "base-memory", json_out_integer(config->memory_bytes),
	    "plugged-memory", json_out_integer(spapr_memory_added(machine)), "max-memory",
	    call->session->subscribed
	        ? json_out_integer(more ? config->max_memory_bytes : config->memory_bytes)
	        : NULL);
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
