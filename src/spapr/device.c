/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device.c - see device.h.
 *
 * Every input to a connector, from guest or operator, goes through device_apply(): one step of its
 * table, then what follows from it, in the same order each time.
 */
#include "spapr/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bits of connector.awaited. The last: the pending removal awaited it, and has got it. */
enum { AWAITED_BY_ADD = 1, AWAITED_BY_REMOVE = 2, RELEASED_FOR_REMOVE = 4 };

static const struct op_evidence by_operator = {.source = OP_BY_OPERATOR};
static const struct op_evidence by_reset = {.source = OP_BY_RESET};

bool devices_init(
    struct devices *devices, uint32_t room, struct connectors *connectors, struct news *news)
{
	devices->news = news;
	devices->connectors = connectors;
	ops_init(&devices->ops, devices->operations, SPAPR_OPERATIONS);
	devices->list = calloc(room, sizeof *devices->list);
	return devices->list != NULL;
}

void devices_finish(struct devices *devices)
{
	free(devices->list);
}

struct device *device_create(struct devices *devices, const struct device_type *type, void *context,
    uint32_t unit, uint32_t id, uint32_t count)
{
	struct device *device = &devices->list[devices->count++];

	*device = (struct device){.type = type, .context = context, .unit = unit, .count = count};
	for (uint32_t i = 0; i < count; i++) {
		struct connector *connector =
		    connector_add(devices->connectors, type->connector, id + i, device);

		if (i == 0)
			device->connectors = connector;
	}
	return device;
}

static bool device_is_attached(const struct device *device)
{
	for (uint32_t i = 0; i < device->count; i++)
		if (device->connectors[i].drc.attached)
			return true;
	return false;
}

struct device *device_find(struct devices *devices, const char *name)
{
	for (uint32_t i = 0; i < devices->count; i++)
		if (strcmp(devices->list[i].name, name) == 0 &&
		    device_is_attached(&devices->list[i]))
			return &devices->list[i];
	return NULL;
}

/* Make what it needs, and the descriptions that ibm,configure-connector hands out. */
static bool device_make(struct device *device, struct err *err)
{
	if (device->type->attach != NULL && !device->type->attach(device, err))
		return false;
	for (uint32_t i = 0; i < device->count; i++) {
		struct connector *connector = &device->connectors[i];
		struct node_writer writer;

		node_begin_tree(&writer, connector->node, sizeof connector->node, 0, 0);
		device->type->describe(device, connector, true, &writer);
		node_end_tree(&writer);
		if (!node_check(&writer, err))
			return false;
	}
	return true;
}

static void device_set_attached(struct device *device, struct connector *connector)
{
	if (device->type->attached != NULL)
		device->type->attached(device, connector);
}

bool device_boot(struct device *device, const char *name, struct err *err)
{
	if (!device_make(device, err))
		return false;
	snprintf(device->name, sizeof device->name, "%s", name);
	for (uint32_t i = 0; i < device->count; i++) {
		device->connectors[i].drc = (struct drc){.attached = true, .state = DRC_CONFIGURED};
		device_set_attached(device, &device->connectors[i]);
	}
	return true;
}

/* --- Operations --------------------------------------------------------------------------- */

static struct op_evidence device_evidence(const struct device *device, const struct op_evidence *by)
{
	struct op_evidence evidence = *by;

	if (device->type->evidence != NULL)
		device->type->evidence(device, &evidence);
	return evidence;
}

/* Note that a pending operation passed a step, and tell the operator if that is new. */
static void device_pass_step(struct devices *devices, uint64_t operation, enum op_step step)
{
	if (op_pass(&devices->ops, ops_find(&devices->ops, operation), step, clock_ms()))
		news_tell(devices->news, SPAPR_NEWS_OPERATION);
}

void device_pass(struct devices *devices, const struct device *device, enum op_step step)
{
	device_pass_step(devices,
	    op_step_of_removal(step) ? device->remove.operation : device->add.operation, step);
}

/* The guest did something unasked. */
static void device_note_unasked(struct devices *devices, const struct connector *connector,
    enum op_kind kind, enum op_step step, const struct op_evidence *by)
{
	const struct device *device = connector->device;
	struct op_evidence evidence = device_evidence(device, by);

	switch (ops_note_guest(&devices->ops, kind, connector->drc_index, device->unit,
	    device->name, step, &evidence, clock_ms())) {
	case OP_NOTED: news_tell(devices->news, SPAPR_NEWS_OPERATION); break;
	case OP_NOTED_MERGED: break;
	case OP_NOT_NOTED: news_count(devices->news, COUNT_OPERATIONS_DROPPED, 1); break;
	}
}

/* The request waits for this connector. */
static void device_await(
    struct device_request *request, struct connector *connector, unsigned awaited)
{
	if ((connector->awaited & awaited) == 0)
		request->left++;
	connector->awaited |= awaited;
}

/* A connector has settled for a request. The first outcome that is not OP_DONE decides. */
static void device_settle(struct devices *devices, struct connector *connector, unsigned awaited,
    enum op_outcome outcome, const struct op_evidence *by)
{
	struct device *device = connector->device;
	struct device_request *request = awaited == AWAITED_BY_ADD ? &device->add : &device->remove;
	const struct operation *op = ops_find(&devices->ops, request->operation);

	if ((connector->awaited & awaited) == 0)
		return;
	connector->awaited &= ~awaited;
	request->left--;
	if (awaited == AWAITED_BY_REMOVE && outcome == OP_DONE)
		connector->awaited |= RELEASED_FOR_REMOVE;
	if (request->outcome != OP_PENDING)
		return;
	request->evidence = device_evidence(device, by);
	if (outcome == OP_REJECTED && device->type->infer != NULL && op != NULL)
		request->evidence.inferred = device->type->infer(device, connector, op);
	if (outcome != OP_DONE)
		request->outcome = outcome;
}

/* What a step ends at a connector settles the request that waits for it: the one of that kind, or
 * else the other one, for which the connector was being brought back. */
static void device_settle_ends(struct devices *devices, struct connector *connector,
    const struct drc_result *result, const struct op_evidence *by)
{
	if (result->add != OP_PENDING)
		device_settle(devices, connector,
		    connector->awaited & AWAITED_BY_ADD ? AWAITED_BY_ADD : AWAITED_BY_REMOVE,
		    result->add, by);
	if (result->remove != OP_PENDING)
		device_settle(devices, connector,
		    connector->awaited & AWAITED_BY_REMOVE ? AWAITED_BY_REMOVE : AWAITED_BY_ADD,
		    result->remove, by);
	/* A connector that is being brought back for a refused add, and that the operator has asked
	 * back too, settles both when nothing of it is pending any more. */
	if (!connector->drc.adding && !connector->drc.removing)
		device_settle(devices, connector, AWAITED_BY_ADD, OP_DONE, by);
}

static void device_request_finish(
    struct devices *devices, struct device *device, struct device_request *request)
{
	if (request->operation == 0 || request->left != 0)
		return;
	op_end(&devices->ops, ops_find(&devices->ops, request->operation),
	    request->outcome != OP_PENDING ? request->outcome : OP_DONE, &request->evidence,
	    clock_ms());
	*request = (struct device_request){0};
	if (request == &device->remove)
		for (uint32_t i = 0; i < device->count; i++)
			device->connectors[i].awaited &= ~(unsigned)RELEASED_FOR_REMOVE;
}

static struct drc_result device_apply(struct devices *devices, struct connector *connector,
    enum drc_input input, const struct op_evidence *by);

/* An add was refused at one connector: take the others back. */
static void device_take_back(struct devices *devices, const struct connector *refused)
{
	struct device *device = refused->device;

	device->add.left++; /* it must not end before all of them are counted */
	for (uint32_t i = 0; i < device->count; i++) {
		struct connector *connector = &device->connectors[i];
		bool untaken = connector->drc.adding && connector->drc.state == DRC_UNUSABLE;

		if (connector == refused || !connector->drc.attached)
			continue;
		device_await(&device->add, connector, AWAITED_BY_ADD);
		device_apply(
		    devices, connector, untaken ? DRC_IN_CANCEL_ADD : DRC_IN_REMOVE, &by_operator);
	}
	device->add.left--;
}

/* A removal ended without success at one connector: leave to the guest what it still has of the
 * others, and give it back what it has released. */
static void device_give_back(struct devices *devices, const struct connector *kept)
{
	struct device *device = kept->device;

	device->remove.left++;
	for (uint32_t i = 0; i < device->count; i++) {
		struct connector *connector = &device->connectors[i];

		if (connector->drc.attached) {
			if (connector != kept && connector->drc.removing)
				device_apply(
				    devices, connector, DRC_IN_CANCEL_REMOVE, &by_operator);
			continue;
		}
		if ((connector->awaited & RELEASED_FOR_REMOVE) == 0)
			continue; /* it was not there before the request either */
		device_await(&device->remove, connector, AWAITED_BY_REMOVE);
		device_apply(devices, connector, DRC_IN_ATTACH, &by_operator);
	}
	device->remove.left--;
}

static struct drc_result device_apply(struct devices *devices, struct connector *connector,
    enum drc_input input, const struct op_evidence *by)
{
	struct device *device = connector->device;
	const enum op_outcome add_before = device->add.outcome;
	const enum op_outcome remove_before = device->remove.outcome;
	struct drc_result result = connector_step(devices->connectors, connector, input);

	/* First the step, so that an end comes after what led to it. */
	if (result.step != OP_REQUESTED)
		device_pass(devices, device, result.step);
	if (result.effects & DRC_FX_GIVEN)
		device_note_unasked(devices, connector, OP_RELEASE, OP_RELEASED, by);
	if (result.effects & DRC_FX_TAKEN)
		device_note_unasked(devices, connector, OP_TAKE, OP_CONFIGURED, by);
	device_settle_ends(devices, connector, &result, by);
	if (result.effects & DRC_FX_ATTACH)
		device_set_attached(device, connector);
	if (result.effects & DRC_FX_DETACH && device->type->detach != NULL)
		device->type->detach(device, connector);
	if (add_before == OP_PENDING && device->add.outcome == OP_REJECTED)
		device_take_back(devices, connector);
	if (remove_before == OP_PENDING &&
	    (device->remove.outcome == OP_REJECTED || device->remove.outcome == OP_CANCELLED))
		device_give_back(devices, connector);
	device_request_finish(devices, device, &device->add);
	device_request_finish(devices, device, &device->remove);
	if (!device_is_attached(device))
		device->name[0] = '\0';
	if (result.effects & (DRC_FX_ATTACH | DRC_FX_DETACH | DRC_FX_NOTIFY) ||
	    result.add != OP_PENDING || result.remove != OP_PENDING)
		news_tell(devices->news, SPAPR_NEWS_OPERATION);
	return result;
}

/* --- The guest ---------------------------------------------------------------------------- */

enum rtas_status device_guest_input(struct devices *devices, struct connector *connector,
    enum drc_input input, const struct op_evidence *by)
{
	const struct device_type *type = connector->device->type;
	enum rtas_status status = device_apply(devices, connector, input, by).status;

	/* Use that began before the connector was configured counts now. */
	if (connector->drc.adding && connector->drc.state == DRC_CONFIGURED &&
	    type->in_use != NULL && type->in_use(connector->device, connector))
		device_apply(devices, connector, DRC_IN_START, by);
	/* Each item of a walk is a call; only its end is worth remembering. */
	if (input != DRC_IN_CONFIGURE || status != RTAS_SUCCESS)
		connector_note_call(connector, clock_ms(), by->vcpu, input, status);
	return status;
}

bool device_event_fetched(struct devices *devices, const struct connector *connector)
{
	const struct device *device = connector->device;
	bool removal = connector->drc.removing;

	device_pass_step(
	    devices, removal ? device->remove.operation : device->add.operation, OP_FETCHED);
	return removal;
}

void devices_reset(struct devices *devices)
{
	for (uint32_t i = 0; i < devices->connectors->count; i++)
		device_apply(devices, &devices->connectors->list[i], DRC_IN_RESET, &by_reset);
}

/* --- The operator ------------------------------------------------------------------------- */

/* The wordings are those management tools know from QEMU. */
static bool device_check_add(
    struct devices *devices, const struct device *device, const char *name, struct err *err)
{
	if (device->type->check_add != NULL && !device->type->check_add(device, err))
		return false;
	if (device_is_attached(device))
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
	struct operation *op = ops_begin(
	    &devices->ops, kind, device->connectors[0].drc_index, device->unit, name, clock_ms());

	if (op == NULL)
		err_set(err, ERR_STATE, "wait until one has ended, or cancel one",
		    "too many operations are pending");
	return op;
}

bool device_add(struct devices *devices, struct device *device, const char *name,
    uint64_t *ret_operation, struct err *err)
{
	struct operation *op;

	if (!device_check_add(devices, device, name, err) || !device_make(device, err))
		return false;
	op = device_begin(devices, device, OP_ADD, name, err);
	if (op == NULL)
		return false;
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

static bool device_ask_back(
    struct devices *devices, struct device *device, uint64_t *ret_operation, struct err *err)
{
	struct operation *op = ops_find(&devices->ops, device->remove.operation);
	bool notified = false;

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
	for (uint32_t i = 0; i < device->count; i++) {
		struct connector *connector = &device->connectors[i];
		struct drc_result result;

		/* One that has left already, or is being given back, is not asked for. */
		if (!connector->drc.attached || device->remove.outcome != OP_PENDING)
			continue;
		result = device_apply(devices, connector, DRC_IN_REMOVE, &by_operator);
		notified = notified || (result.effects & DRC_FX_NOTIFY) != 0;
	}
	if (notified)
		op_pass(&devices->ops, op, OP_NOTIFIED, clock_ms());
	return true;
}

bool device_remove(
    struct devices *devices, const char *name, uint64_t *ret_operation, struct err *err)
{
	struct device *device = device_find(devices, name);

	if (device == NULL)
		return err_set(err, ERR_NOT_FOUND, "query-connectors lists the devices",
		    "Device '%s' not found", name);
	if (device->type->check_remove != NULL && !device->type->check_remove(device, err))
		return false;
	return device_ask_back(devices, device, ret_operation, err);
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
	const struct operation *op = ops_find(&devices->ops, id);

	if (op == NULL)
		return err_set(err, ERR_NOT_FOUND, "query-operations lists those remembered",
		    "operation %llu not found", (unsigned long long)id);
	if (op->outcome != OP_PENDING)
		return err_set(err, ERR_STATE, NULL, "operation %llu has ended: %s",
		    (unsigned long long)id, op_outcome_name(op->outcome));
	return device_cancel_pending(
	    devices, op, connector_find(devices->connectors, op->drc_index)->device, err);
}
