/* SPDX-License-Identifier: Apache-2.0 */
/* core.c - see core.h. */
#include "spapr/core.h"

#include <stdio.h>

static struct cores *cores_of(const struct device *core)
{
	return core->context;
}

/* A vCPU's id is a function of its core's id, never "the next free" one. So cores can come and go
 * in any order, and one that comes back finds the vCPU that KVM still has. */
void cores_init(struct cores *cores, struct cpus *cpus, struct devices *devices, uint32_t threads)
{
	*cores = (struct cores){.cpus = cpus, .devices = devices, .threads = threads};
	connectors_add_range(devices->connectors, &drc_type_cpu, 0, threads, cpus->count / threads);
	for (uint32_t id = 0; id < cpus->count; id += threads) {
		struct device *core = device_create(devices, &device_type_core, cores, id, id, 1);
		if (cores->count++ == 0)
			cores->list = core;
	}
}

bool cores_boot(struct cores *cores, uint32_t count, struct err *err)
{
	char name[OP_DEVICE_MAX];

	if (!cpus_create(cores->cpus, 0, count * cores->threads, err))
		return false;
	for (uint32_t i = 0; i < count; i++) {
		snprintf(name, sizeof name, "core%u", cores->list[i].unit);
		if (!device_boot(cores->devices, &cores->list[i], name, err))
			return false;
	}
	return true;
}

struct device *core_with_id(struct cores *cores, uint32_t core_id, struct err *err)
{
	if (core_id % cores->threads != 0)
		err_set(err, ERR_STATE, NULL,
		    "invalid core id %u: it must be a multiple of %u, the threads per core",
		    core_id, cores->threads);
	else if (core_id / cores->threads >= cores->count)
		err_set(err, ERR_STATE, NULL,
		    "core id %u out of range: this machine has room for %u cores (--cpus max=)",
		    core_id, cores->count);
	else
		return &cores->list[core_id / cores->threads];
	return NULL;
}

struct device *core_of(struct cores *cores, const struct vcpu *vcpu)
{
	/* By its place: it has no id before it was made. */
	return &cores->list[(size_t)(vcpu - cores->cpus->list) / cores->threads];
}

/* --- A number as a target --------------------------------------------------------------------- */

/* The lowest free ones. */
static size_t cores_grow(
    struct cores *cores, uint32_t add, uint64_t *ret_operations, size_t max, struct err *err)
{
	size_t count = 0;

	for (uint32_t i = 0; i < cores->count && count < add && count < max; i++) {
		char name[OP_DEVICE_MAX];

		if (cores->list[i].attached > 0)
			continue;
		snprintf(name, sizeof name, "core%u", cores->list[i].unit);
		if (!device_add(cores->devices, &cores->list[i], name, &ret_operations[count], err))
			break;
		count++;
	}
	if (count < add && count < max && err->message[0] == '\0')
		err_set(err, ERR_STATE, "ask again when the pending removals have ended",
		    "there is no free core: those being removed do not count");
	return count;
}

/* The highest, without core 0: those that have been asked back already, which are asked again, or
 * the others. */
static size_t cores_shrink(struct cores *cores, bool asked, uint32_t remove,
    uint64_t *ret_operations, size_t max, struct err *err)
{
	size_t count = 0;

	for (uint32_t i = cores->count; i-- > 1 && count < remove && count < max;) {
		const struct device *core = &cores->list[i];

		if (core->attached == 0 || (core->remove.operation != 0) != asked)
			continue;
		if (!device_remove(cores->devices, core->name, &ret_operations[count], err))
			break;
		count++;
	}
	return count;
}

size_t cores_set(
    struct cores *cores, uint32_t count, uint64_t *ret_operations, size_t max, struct err *err)
{
	uint32_t attached = 0, staying = 0;
	size_t again;

	if (count == 0 || count > cores->count) {
		err_set(err, ERR_STATE, NULL, "count must be from 1 to %u", cores->count);
		return 0;
	}
	for (uint32_t i = 0; i < cores->count; i++) {
		attached += cores->list[i].attached;
		if (cores->list[i].remove.operation == 0)
			staying += cores->list[i].attached;
	}
	if (count > staying)
		return cores_grow(cores, count - staying, ret_operations, max, err);
	again = cores_shrink(cores, true, attached - staying, ret_operations, max, err);
	return again + cores_shrink(
	                   cores, false, staying - count, ret_operations + again, max - again, err);
}

/* --- The device type ---------------------------------------------------------------------- */

static uint32_t core_running(const struct device *core)
{
	return cpus_running(cores_of(core)->cpus, core->unit, cores_of(core)->threads);
}

static bool core_check_add(const struct device *core, struct err *err)
{
	return !core->connectors->drc.attached ||
	       err_set(err, ERR_STATE, "query-hotpluggable-cpus tells which are free",
	           "core %u already populated", core->unit);
}

static bool core_check_remove(const struct device *core, struct err *err)
{
	return core->unit != 0 ||
	       err_set(err, ERR_STATE, NULL, "Boot CPU core may not be unplugged");
}

static bool core_attach(struct device *core, struct err *err)
{
	return cpus_create(cores_of(core)->cpus, core->unit, cores_of(core)->threads, err);
}

static void core_attached(struct device *core, struct connector *connector)
{
	cpus_attach(cores_of(core)->cpus, core->unit, cores_of(core)->threads);
}

static void core_detach(struct device *core, struct connector *connector)
{
	cpus_detach(cores_of(core)->cpus, core->unit, cores_of(core)->threads);
}

static bool core_in_use(const struct device *core, const struct connector *connector)
{
	return core_running(core) > 0;
}

static void core_evidence(const struct device *core, struct op_evidence *evidence)
{
	evidence->parts = cores_of(core)->threads;
	evidence->parts_used = core_running(core);
}

/* The machine sees how far the guest got with an add, and which vCPUs run. */
static const char *core_infer(const struct device *core, const struct connector *connector,
    const struct operation *op, enum op_source source)
{
	const struct cpus *cpus = cores_of(core)->cpus;
	bool last = cpus_running(cpus, 0, cpus->count) == core_running(core);

	if (source == OP_BY_FENCE && op->kind == OP_ADD)
		return connector->drc.state == DRC_CONFIGURED
		           ? "the guest has taken the core, and started no thread of it"
		           : "the guest finished handling the request without taking the core";
	if (source == OP_BY_FENCE)
		return last ? "the guest finished handling the request without releasing the core: "
		              "these are its last running CPUs"
		            : "the guest finished handling the request without releasing the core";
	if (op->kind == OP_ADD)
		return op->steps[OP_CONFIGURED].order != 0
		           ? "the guest gave the core back without having started a thread of it: "
		             "it has no CPU number left for it, or could not bring it up"
		           : "the guest gave the core back without having configured it";
	if (connector->drc.state != DRC_CONFIGURED)
		return "the guest had not configured this core";
	return last ? "these are the last running CPUs of the guest" : NULL;
}

const struct device_type device_type_core = {
    .noun = "core",
    .connector = &drc_type_cpu,
    .check_add = core_check_add,
    .check_remove = core_check_remove,
    .attach = core_attach,
    .describe = core_describe,
    .attached = core_attached,
    .detach = core_detach,
    .in_use = core_in_use,
    .evidence = core_evidence,
    .infer = core_infer,
};
