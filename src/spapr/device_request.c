/* SPDX-License-Identifier: Apache-2.0 */
/* device_request.c - what the operator asks of a device: see device.h. */
#include "spapr/device_parts.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* The wordings are those management tools know from QEMU. */
static bool device_check_add(
    struct devices *devices, const struct device *device, const char *name, struct err *err)
{
	if (device->type->check_add != NULL && !device->type->check_add(device, err))
		return false;
	if (device_is_here(device))
		return err_set(err, ERR_STATE, NULL, "%s %u already populated", device->type->noun,
		    device->unit);
	if (strlen(name) >= sizeof device->name || name[0] == '\0')
		return err_set(err, ERR_STATE, NULL, "Device ID must have 1 to %zu characters",
		    sizeof device->name - 1);
	if (device_find(devices, name) != NULL)
		return err_set(err, ERR_STATE, NULL, "Duplicate device ID '%s'", name);
	return true;
}

static struct operation *device_begin(struct devices *devices, const struct device *device,
    enum op_kind kind, const char *name, struct err *err)
{
	const struct op_subject subject = {
	    device->connectors[0].drc_index, device->type->noun, device->unit, name};
	struct operation *op = ops_begin(&devices->ops, kind, &subject, clock_ms());

	if (op == NULL)
		err_set(err, ERR_STATE, "wait until one has ended, or cancel one",
		    "too many operations are pending");
	return op;
}

bool device_add(struct devices *devices, struct device *device, const char *name,
    uint64_t *ret_operation, struct err *err)
{
	struct operation *op;

	/* What may fail is done before the operation begins. */
	if (!device_check_add(devices, device, name, err) || !device_make(devices, device, err))
		return false;
	op = device_begin(devices, device, OP_ADD, name, err);
	if (op == NULL) {
		device_unmake(device);
		return false;
	}
	*ret_operation = op->id;
	snprintf(device->name, sizeof device->name, "%s", name);
	device->add = (struct device_request){.operation = op->id};
	for (uint32_t i = 0; i < device->count; i++)
		device_await(&device->add, &device->connectors[i], AWAITED_BY_ADD);
	for (uint32_t i = 0; i < device->count; i++) {
		connector_rewind(&device->connectors[i]);
		device_apply(devices, &device->connectors[i], DRC_IN_ATTACH, &by_operator);
	}
	op_pass(&devices->ops, op, OP_NOTIFIED, clock_ms());
	return true;
}

/* One that has left already, or is being given back, is not asked for. */
bool device_ask(struct devices *devices, struct device *device)
{
	bool notified = false;

	for (uint32_t i = 0; i < device->count; i++) {
		bool one = device->type->one_by_one;
		struct connector *connector = &device->connectors[one ? device->count - 1 - i : i];
		struct drc_result result;

		if (device->remove.operation == 0 || device->remove.outcome != OP_PENDING)
			break;
		if (!connector->drc.attached || (connector->awaited & AWAITED_BY_REMOVE) == 0)
			continue;
		result = device_apply(devices, connector, DRC_IN_REMOVE, &by_operator);
		notified = notified || (result.effects & DRC_FX_NOTIFY) != 0;
		if (one && connector->drc.removing)
			break;
	}
	return notified;
}

static bool device_ask_back(
    struct devices *devices, struct device *device, uint64_t *ret_operation, struct err *err)
{
	struct operation *op = ops_find(&devices->ops, device->remove.operation);

	if (op != NULL) {
		op_ask_again(op, clock_ms());
	} else {
		op = device_begin(devices, device, OP_REMOVE, device->name, err);
		if (op == NULL)
			return false;
		device->remove = (struct device_request){.operation = op->id};
		for (uint32_t i = 0; i < device->count; i++)
			if (device->connectors[i].drc.attached)
				device_await(
				    &device->remove, &device->connectors[i], AWAITED_BY_REMOVE);
	}
	*ret_operation = op->id;
	if (device_ask(devices, device))
		op_pass(&devices->ops, op, OP_NOTIFIED, clock_ms());
	return true;
}

bool device_remove(
    struct devices *devices, const char *name, uint64_t *ret_operation, struct err *err)
{
	struct device *device;

	/* What the guest has released already has left. */
	devices_release(devices);
	device = device_find(devices, name);
	if (device == NULL)
		return err_set(err, ERR_NOT_FOUND, "query-connectors lists the devices",
		    "Device '%s' not found", name);
	if (device->type->check_remove != NULL && !device->type->check_remove(device, err))
		return false;
	return device_ask_back(devices, device, ret_operation, err);
}

bool device_force(
    struct devices *devices, const char *name, uint64_t *ret_operation, struct err *err)
{
	struct device *device;
	struct operation *op;

	devices_release(devices);
	device = device_find(devices, name);
	if (device != NULL && device->type->force == NULL)
		return err_set(err, ERR_USAGE, "remove it without force",
		    "'%s' cannot be removed by force: a guest cannot do without its %s", name,
		    device->type->noun);
	/* What is pending is not asked for again: the guest knows, or an event is queued. */
	if (device == NULL || device->remove.operation == 0) {
		if (!device_remove(devices, name, ret_operation, err))
			return false;
	}
	*ret_operation = device->remove.operation;
	op = ops_find(&devices->ops, device->remove.operation);
	/* One that the guest did not have has left with the request. */
	if (device->attached == 0 || device->remove.outcome != OP_PENDING)
		return true;
	op_ask_again(op, clock_ms());
	op->forced = true;
	if (device->remove.forced < UINT_MAX)
		device->remove.forced++;
	device->type->force(device, true);
	devices_look_at_drivers(devices);
	return true;
}

struct device *device_of_operation(struct devices *devices, const struct operation *op)
{
	return connector_find(devices->connectors, op->drc_index)->device;
}

/* What a connector would refuse this input with. */
static enum drc_refusal device_refusal(const struct connector *connector, enum drc_input input)
{
	struct drc copy = connector->drc;

	return drc_step(connector->type, &copy, input).refusal;
}

static bool device_cancel_pending(
    struct devices *devices, const struct operation *op, struct device *device, struct err *err)
{
	enum drc_input input = op->kind == OP_ADD ? DRC_IN_CANCEL_ADD : DRC_IN_CANCEL_REMOVE;
	unsigned awaited = op->kind == OP_ADD ? AWAITED_BY_ADD : AWAITED_BY_REMOVE;
	uint64_t id = op->id;

	/* All or none: no connector is changed before each has been asked. */
	for (uint32_t i = 0; i < device->count; i++) {
		const struct connector *connector = &device->connectors[i];
		enum drc_refusal refusal = device_refusal(connector, input);

		if (op->kind == OP_REMOVE && device_asks_later(device, connector))
			continue;
		if (refusal == DRC_GUEST_OWNS ||
		    (op->kind == OP_ADD && refusal == DRC_NOTHING && connector->drc.attached))
			return err_set(err, ERR_STATE, "use device_del",
			    "operation %llu: the guest has already taken the %s",
			    (unsigned long long)id, device->type->noun);
		if ((connector->awaited & awaited) != 0 && refusal != DRC_ACCEPTED)
			return err_set(err, ERR_STATE, NULL,
			    "operation %llu cannot be cancelled now", (unsigned long long)id);
	}
	for (uint32_t i = 0; i < device->count; i++)
		if (device_refusal(&device->connectors[i], input) == DRC_ACCEPTED)
			device_apply(devices, &device->connectors[i], input, &by_operator);
	return true;
}

bool device_cancel(struct devices *devices, uint64_t id, struct err *err)
{
	const struct operation *op;

	devices_release(devices);
	op = ops_find(&devices->ops, id);
	if (op == NULL)
		return err_set(err, ERR_NOT_FOUND, "query-operations lists those remembered",
		    "operation %llu not found", (unsigned long long)id);
	if (op->outcome != OP_PENDING)
		return err_set(err, ERR_STATE, NULL, "operation %llu has ended: %s",
		    (unsigned long long)id, op_outcome_name(op->outcome));
	return device_cancel_pending(devices, op, device_of_operation(devices, op), err);
}
