/* SPDX-License-Identifier: Apache-2.0 */
/* query.c - what the operator can look at: copies, taken with the lock held. And the console. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spapr/device_fence.h"
#include "spapr/hcall.h"
#include "spapr/machine.h"
#include "spapr/rtas.h"
#include "spapr/tree.h"

const struct spapr_config *spapr_get_config(const struct spapr *machine)
{
	return &machine->config;
}

uint32_t spapr_core_count(const struct spapr *machine)
{
	return machine->cores.count;
}

static struct spapr_connector_info query_connector(
    const struct device *device, const struct connector *connector)
{
	struct spapr_connector_info info = {.drc_index = connector->drc_index,
	    .drc = connector->drc,
	    .add_operation = device->add.operation,
	    .remove_operation = device->remove.operation};

	memcpy(info.device, device->name, sizeof info.device);
	info.history_count = connector_history(connector, info.history);
	return info;
}

void spapr_core_info(struct spapr *machine, uint32_t number, struct spapr_core_info *ret_info)
{
	const struct device *core = &machine->cores.list[number];

	pthread_mutex_lock(&machine->lock);
	*ret_info = (struct spapr_core_info){
	    .core_id = core->unit, .connector = query_connector(core, core->connectors)};
	for (uint32_t i = 0; i < machine->cores.threads; i++) {
		const struct vcpu *vcpu = cpu_find(&machine->cpus, core->unit + i);

		ret_info->vcpus[i].id = core->unit + i;
		ret_info->vcpus[i].state = vcpu->state;
		ret_info->vcpus[i].host_thread = vcpu->host_thread;
	}
	pthread_mutex_unlock(&machine->lock);
}

bool spapr_memory_info(struct spapr *machine, uint64_t from, struct spapr_memory_info *ret_info)
{
	const struct device *device;
	const struct connector *shown;

	pthread_mutex_lock(&machine->lock);
	device = memory_lowest(&machine->memory, from);
	if (device != NULL) {
		struct op_evidence evidence;

		shown = device->connectors;
		for (uint32_t i = device->count; i-- > 0;)
			if (device->connectors[i].drc.state != DRC_CONFIGURED)
				shown = &device->connectors[i];
		device->type->evidence(device, &evidence);
		*ret_info = (struct spapr_memory_info){.address = memory_address(device),
		    .bytes = device->count * SPAPR_LMB_BYTES,
		    .block = device->unit,
		    .blocks = device->count,
		    .blocks_in_use = evidence.parts_used,
		    .connector = query_connector(device, shown)};
	}
	pthread_mutex_unlock(&machine->lock);
	return device != NULL;
}

bool spapr_pci_info(struct spapr *machine, uint32_t from, struct spapr_pci_info *ret_info)
{
	const struct device *device;

	pthread_mutex_lock(&machine->lock);
	device = phb_device(&machine->phb, from);
	if (device != NULL) {
		*ret_info = (struct spapr_pci_info){
		    .slot = device->unit, .connector = query_connector(device, device->connectors)};
		phb_describe_use(&machine->phb, device->unit, ret_info);
	}
	pthread_mutex_unlock(&machine->lock);
	return device != NULL;
}

uint64_t spapr_memory_added(struct spapr *machine)
{
	uint32_t attached, staying;

	pthread_mutex_lock(&machine->lock);
	attached = memory_attached(&machine->memory, &staying);
	pthread_mutex_unlock(&machine->lock);
	return attached * SPAPR_LMB_BYTES;
}

bool spapr_vcpu_registers(struct spapr *machine, uint32_t vcpu, struct kvm_registers *ret_registers)
{
	struct vcpu *found;
	bool known;

	pthread_mutex_lock(&machine->lock);
	found = cpu_find(&machine->cpus, vcpu);
	known = found != NULL && cpu_registers(found, ret_registers);
	pthread_mutex_unlock(&machine->lock);
	return known;
}

size_t spapr_operations(struct spapr *machine, struct operation *ret_operations, size_t max)
{
	const struct operation *op = NULL;
	size_t count = 0;

	pthread_mutex_lock(&machine->lock);
	while (count < max &&
	       (op = ops_after(&machine->devices.ops, op != NULL ? op->id : 0)) != NULL) {
		ret_operations[count] = *op;
		device_look_into(&machine->devices, &ret_operations[count++]);
	}
	pthread_mutex_unlock(&machine->lock);
	return count;
}

size_t spapr_counters(struct spapr *machine, struct spapr_counter *ret_counters, size_t max)
{
	return news_counters(&machine->news, ret_counters, max);
}

bool spapr_call_info(size_t index, struct spapr_call *ret_call)
{
	if (index < hcall_table_rows) {
		const struct hcall_row *row = &hcall_table[index];

		*ret_call = (struct spapr_call){false, row->number, row->name, row->section,
		    row->function != NULL ? "paprika" : "KVM", row->modes, row->about};
	} else if (index - hcall_table_rows < rtas_table_rows) {
		const struct rtas_row *row = &rtas_table[index - hcall_table_rows];

		*ret_call = (struct spapr_call){true, rtas_token(index - hcall_table_rows),
		    row->name, row->section, row->function != NULL ? "paprika" : "KVM", row->modes,
		    row->about};
	} else {
		return false;
	}
	return true;
}

bool spapr_device_tree(struct spapr *machine, void **ret_blob, size_t *ret_length, struct err *err)
{
	pthread_mutex_lock(&machine->lock);
	*ret_blob = tree_build(machine, ret_length, err);
	pthread_mutex_unlock(&machine->lock);
	return *ret_blob != NULL;
}

bool spapr_next_report(
    struct spapr *machine, bool guest_made, struct operation *ret_operation, enum op_step *ret_step)
{
	bool found;

	pthread_mutex_lock(&machine->lock);
	devices_release(&machine->devices);
	found = ops_next_report(&machine->devices.ops, guest_made, ret_operation, ret_step);
	if (found)
		device_look_into(&machine->devices, ret_operation);
	pthread_mutex_unlock(&machine->lock);
	return found;
}

void spapr_panic_text(struct spapr *machine, char *ret_text, size_t size)
{
	pthread_mutex_lock(&machine->lock);
	snprintf(ret_text, size, "%s", machine->panic_text);
	pthread_mutex_unlock(&machine->lock);
}

void spapr_failure(struct spapr *machine, struct err *err)
{
	pthread_mutex_lock(&machine->lock);
	*err = machine->cpus.failure;
	pthread_mutex_unlock(&machine->lock);
}

unsigned spapr_take_news(struct spapr *machine)
{
	return news_take(&machine->news);
}

size_t spapr_console_read(struct spapr *machine, void *to, size_t size)
{
	return vty_read(&machine->vty, to, size);
}

size_t spapr_console_write(struct spapr *machine, const void *from, size_t size)
{
	return vty_write(&machine->vty, from, size);
}
