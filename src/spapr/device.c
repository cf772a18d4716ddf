/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device.c - see device.h.
 *
 * Every input to a connector, from guest or operator, goes through device_apply(): one step of its
 * table, then what follows from it, in the same order each time.
 */
#include "spapr/device_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct op_evidence by_operator = {.source = OP_BY_OPERATOR};
static const struct op_evidence by_reset = {.source = OP_BY_RESET};

bool devices_init(struct devices *devices, uint32_t room, struct connectors *connectors,
    struct fence *fence, struct news *news)
{
	devices->news = news;
	devices->connectors = connectors;
	devices->fence = fence;
	devices->room = room;
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
	struct device *device = NULL;

	for (uint32_t i = 0; i < devices->count && device == NULL; i++)
		if (devices->list[i].type == NULL)
			device = &devices->list[i];
	if (device == NULL && devices->count < devices->room)
		device = &devices->list[devices->count++];
	if (device == NULL)
		return NULL;
	*device = (struct device){.type = type, .context = context, .unit = unit, .count = count};
	for (uint32_t i = 0; i < count; i++) {
		struct connector *connector =
		    connector_claim(devices->connectors, type->connector, id + i, device);

		if (i == 0)
			device->connectors = connector;
	}
	return device;
}

void device_destroy(struct device *device)
{
	for (uint32_t i = 0; i < device->count; i++)
		connector_disclaim(&device->connectors[i]);
	*device = (struct device){0};
}

struct device *device_find(struct devices *devices, const char *name)
{
	for (uint32_t i = 0; i < devices->count; i++)
		if (strcmp(devices->list[i].name, name) == 0 && device_is_here(&devices->list[i]))
			return &devices->list[i];
	return NULL;
}

bool device_describe(
    struct connectors *connectors, const struct connector *connector, struct err *err)
{
	const struct device *device = connector->device;
	struct node_writer writer;

	if (connectors->node_of == connector)
		return true;
	connectors->node_of = NULL;
	node_begin_tree(&writer, connectors->node, sizeof connectors->node, 0, 0);
	device->type->describe(device, connector, true, &writer);
	node_end_tree(&writer);
	if (!node_check(&writer, err))
		return false;
	connectors->node_of = connector;
	return true;
}

/* A description is checked here once: all connectors of a device have one of the same length. */
bool device_make(struct devices *devices, struct device *device, struct err *err)
{
	devices->connectors->node_of = NULL;
	return device_describe(devices->connectors, &device->connectors[0], err) &&
	       (device->type->attach == NULL || device->type->attach(device, err));
}

void device_unmake(struct device *device)
{
	for (uint32_t i = 0; device->type->release != NULL && i < device->count; i++)
		device->type->release(device, &device->connectors[i]);
}

static void device_set_attached(
    struct devices *devices, struct device *device, struct connector *connector)
{
	device->attached++;
	/* It is given back before its resources have been released. */
	if (connector->leaving && --device->leaving == 0)
		devices->leaving--;
	connector->leaving = false;
	if (device->type->attached != NULL)
		device->type->attached(device, connector);
}

static void device_set_detached(
    struct devices *devices, struct device *device, struct connector *connector)
{
	device->attached--;
	if (device->type->detach != NULL)
		device->type->detach(device, connector);
	if (device->type->release == NULL)
		return;
	connector->leaving = true;
	if (device->leaving++ == 0)
		devices->leaving++;
}

bool device_boot(struct devices *devices, struct device *device, const char *name, struct err *err)
{
	if (device_find(devices, name) != NULL)
		return err_set(
		    err, ERR_USAGE, "give it another id", "Duplicate device ID '%s'", name);
	if (!device_make(devices, device, err))
		return false;
	snprintf(device->name, sizeof device->name, "%s", name);
	for (uint32_t i = 0; i < device->count; i++) {
		device->connectors[i].drc = (struct drc){.attached = true, .state = DRC_CONFIGURED};
		device_set_attached(devices, device, &device->connectors[i]);
	}
	return true;
}

/* --- Operations --------------------------------------------------------------------------- */

static struct op_evidence device_evidence(
    const struct connector *connector, const struct op_evidence *by)
{
	const struct device *device = connector->device;
	struct op_evidence evidence = *by;

	evidence.drc_index = connector->drc_index;
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
    enum op_kind kind, enum op_step step, bool device_left, const struct op_evidence *by)
{
	const struct device *device = connector->device;
	const struct op_subject subject = {
	    connector->drc_index, device->type->noun, device->unit, device->name};
	struct op_evidence evidence = device_evidence(connector, by);

	switch (ops_note_guest(
	    &devices->ops, kind, &subject, step, device_left, &evidence, clock_ms())) {
	case OP_NOTED: news_tell(devices->news, SPAPR_NEWS_OPERATION); break;
	case OP_NOTED_MERGED: break;
	case OP_NOT_NOTED: news_count(devices->news, COUNT_OPERATIONS_DROPPED, 1); break;
	}
}

void device_await(struct device_request *request, struct connector *connector, unsigned awaited)
{
	if ((connector->awaited & awaited) == 0)
		request->left++;
	connector->awaited |= awaited;
}

/* A connector has settled for a request. The first outcome that is not OP_DONE decides. */
void device_settle(struct devices *devices, struct connector *connector, unsigned awaited,
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
	request->evidence = device_evidence(connector, by);
	if ((outcome == OP_REJECTED || by->source == OP_BY_FENCE) && device->type->infer != NULL &&
	    op != NULL)
		request->evidence.inferred = device->type->infer(device, connector, op, by->source);
	if (outcome != OP_DONE)
		request->outcome = outcome;
}

/* What a step ends at a connector settles the request that waits for it: the one of that kind, or
 * else the other one, for which the connector was being brought back. */
static void device_settle_ends(struct devices *devices, struct connector *connector,
    const struct drc_result *result, const struct op_evidence *by)
{
	bool for_add = (connector->awaited & AWAITED_BY_ADD) != 0;
	bool for_remove = (connector->awaited & AWAITED_BY_REMOVE) != 0;

	/* If both end, each settles its own request only. */
	if (result->add != OP_PENDING && (for_add || result->remove == OP_PENDING))
		device_settle(devices, connector, for_add ? AWAITED_BY_ADD : AWAITED_BY_REMOVE,
		    result->add, by);
	if (result->remove != OP_PENDING && (for_remove || result->add == OP_PENDING))
		device_settle(devices, connector, for_remove ? AWAITED_BY_REMOVE : AWAITED_BY_ADD,
		    result->remove, by);
	/* A connector that is being brought back for a refused add, and that the operator has asked
	 * back too, settles both when nothing of it is pending any more. */
	if (connector->drc.adding || connector->drc.removing)
		return;
	device_settle(devices, connector, AWAITED_BY_ADD, OP_DONE, by);
	/* The same of one that is being given back for a removal that was given up. */
	if (connector->device->remove.outcome != OP_PENDING)
		device_settle(devices, connector, AWAITED_BY_REMOVE, OP_DONE, by);
}

static void device_request_finish(
    struct devices *devices, struct device *device, struct device_request *request)
{
	struct operation *op = ops_find(&devices->ops, request->operation);

	if (request->operation == 0 || request->left != 0)
		return;
	if (device->attached == 0 && device->name[0] != '\0') {
		op->device_left = true;
		device->name[0] = '\0';
	}
	op_end(&devices->ops, op, request->outcome != OP_PENDING ? request->outcome : OP_DONE,
	    &request->evidence, clock_ms());
	if (request->forced > 0 && device->attached > 0)
		device->type->force(device, false);
	*request = (struct device_request){0};
	if (request == &device->remove)
		for (uint32_t i = 0; i < device->count; i++)
			device->connectors[i].awaited &= ~(unsigned)RELEASED_FOR_REMOVE;
}

static void device_requests_finish(struct devices *devices, struct device *device)
{
	/* The resources of what leaves are released first: devices_release(). */
	if (device->leaving > 0)
		return;
	device_request_finish(devices, device, &device->add);
	device_request_finish(devices, device, &device->remove);
	if (device->attached == 0 && !device_is_asked(device))
		device->name[0] = '\0';
}

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
			else if (connector != kept) /* it has not been asked for */
				device_settle(devices, connector, AWAITED_BY_REMOVE, OP_CANCELLED,
				    &by_operator);
			continue;
		}
		if ((connector->awaited & RELEASED_FOR_REMOVE) == 0)
			continue; /* it was not there before the request either */
		device_await(&device->remove, connector, AWAITED_BY_REMOVE);
		device_apply(devices, connector, DRC_IN_ATTACH, &by_operator);
	}
	device->remove.left--;
}

struct drc_result device_apply(struct devices *devices, struct connector *connector,
    enum drc_input input, const struct op_evidence *by)
{
	struct device *device = connector->device;
	const enum op_outcome add_before = device->add.outcome;
	const enum op_outcome remove_before = device->remove.outcome;
	const enum drc_state state_before = connector->drc.state;
	struct drc_result result = connector_step(devices->connectors, connector, input);

	/* First the step, so that an end comes after what led to it. */
	if (result.step != OP_REQUESTED)
		device_pass(devices, device, result.step);
	if (result.effects & DRC_FX_NOTIFY && connector->without_events)
		device->type->notify(device, connector);
	/* A removal that the guest has not been told of, because it had isolated the connector. */
	if (result.effects & DRC_FX_NOTIFY && input == DRC_IN_UNISOLATE)
		device_pass_step(devices, device->remove.operation, OP_NOTIFIED);
	if (result.effects & DRC_FX_GIVEN)
		device_note_unasked(devices, connector, OP_RELEASE, OP_RELEASED, false, by);
	if (result.effects & DRC_FX_TAKEN)
		device_note_unasked(devices, connector, OP_TAKE, OP_CONFIGURED, false, by);
	device_settle_ends(devices, connector, &result, by);
	if (result.effects & DRC_FX_ATTACH)
		device_set_attached(devices, device, connector);
	/* What was to be taken back, and has been kept, leaves when nobody waits for it. */
	if (result.effects & DRC_FX_DETACH && !device_is_asked(device))
		device_note_unasked(
		    devices, connector, OP_RELEASE, OP_RELEASED, device->attached == 1, by);
	if (result.effects & DRC_FX_DETACH)
		device_set_detached(devices, device, connector);
	if (device->type->changed != NULL && connector->drc.state != state_before)
		device->type->changed(device, connector);
	if (result.effects & DRC_FX_FENCE) {
		connector->fence_due_ms = clock_ms();
		/* It needs another fence if one has found it half taken. */
		if (connector->fetched <= devices->fence->proven)
			connector->fetched = ++devices->connectors->events->fetched;
	}
	if (add_before == OP_PENDING && device->add.outcome == OP_REJECTED)
		device_take_back(devices, connector);
	if (remove_before == OP_PENDING &&
	    (device->remove.outcome == OP_REJECTED || device->remove.outcome == OP_CANCELLED))
		device_give_back(devices, connector);
	if (device->type->one_by_one && result.remove == OP_DONE && input != DRC_IN_REMOVE)
		device_ask(devices, device);
	device_requests_finish(devices, device);
	if (result.effects & (DRC_FX_ATTACH | DRC_FX_DETACH | DRC_FX_NOTIFY | DRC_FX_FENCE) ||
	    result.add != OP_PENDING || result.remove != OP_PENDING)
		news_tell(devices->news, SPAPR_NEWS_OPERATION);
	return result;
}

/* --- The guest ---------------------------------------------------------------------------- */

/* A connector that is being added, and that the guest uses. */
static void device_note_use(
    struct devices *devices, struct connector *connector, const struct op_evidence *by)
{
	const struct device_type *type = connector->device->type;

	if (connector->drc.adding && connector->drc.state == DRC_CONFIGURED &&
	    type->in_use != NULL && type->in_use(connector->device, connector))
		device_apply(devices, connector, DRC_IN_START, by);
}

/* A forced removal needs no answer of the guest's. If a tool is at work on it, it is left to
 * finish, unless the operator forces it once more. */
static bool device_is_taken_by_force(const struct device *device)
{
	const struct drc *drc = &device->connectors[0].drc;

	return drc->removing && device->remove.forced > (drc->answered ? 1 : 0);
}

/* What the driver of a device has done since it was last looked at. */
static void device_look_at_driver(struct devices *devices, struct device *device)
{
	static const struct op_evidence by_driver = {.source = OP_BY_DRIVER};
	struct connector *connector = &device->connectors[0];
	const struct drc *drc = &connector->drc;
	bool releasing, taking, was_held = device->held;

	device_note_use(devices, connector, &by_driver);
	releasing = drc->state == DRC_AVAILABLE;
	taking = !releasing && device_is_taken_by_force(device);
	device->held =
	    releasing || taking ? !device->type->take(device) : device->type->held(device);
	if (!device->held && (releasing || (drc->removing && was_held)))
		device_apply(devices, connector, DRC_IN_LET_GO, &by_driver);
	if (!device->held && taking) {
		device->type->taken_away(device);
		device_apply(devices, connector, DRC_IN_TAKE_AWAY, &by_driver);
	}
}

void devices_look_at_drivers(struct devices *devices)
{
	for (uint32_t i = 0; i < devices->count; i++)
		if (devices->list[i].type != NULL && devices->list[i].type->held != NULL)
			device_look_at_driver(devices, &devices->list[i]);
}

enum rtas_status device_guest_input(struct devices *devices, struct connector *connector,
    enum drc_input input, const struct op_evidence *by)
{
	const struct device_type *type = connector->device->type;
	enum rtas_status status;

	/* First what happened before. */
	if (type->held != NULL)
		device_look_at_driver(devices, connector->device);
	if (input == DRC_IN_ISOLATE && type->take != NULL && !type->take(connector->device))
		input = DRC_IN_ISOLATE_USED;
	status = device_apply(devices, connector, input, by).status;

	/* Use that began before the connector was configured counts now. */
	device_note_use(devices, connector, by);
	/* Each item of a walk is a call; only its end is worth remembering. */
	if (input != DRC_IN_CONFIGURE || status != RTAS_SUCCESS)
		connector_note_call(connector, clock_ms(), by->vcpu, input, status);
	return status;
}

bool device_event_fetched(struct devices *devices, uint32_t number)
{
	struct connector *connector = &devices->connectors->list[number];
	const struct device *device = connector->device;
	bool removal = connector->drc.removing;

	if (device == NULL) /* it has left since the event was queued */
		return false;
	if (device->type->fetched != NULL)
		device->type->fetched(connector->device);
	connector->fetched = devices->connectors->events->fetched;
	connector->fence_due_ms = clock_ms() + FENCE_DELAY_MS;
	device_pass_step(
	    devices, removal ? device->remove.operation : device->add.operation, OP_FETCHED);
	/* A fence will be due. */
	if (removal || connector->drc.adding)
		news_tell(devices->news, SPAPR_NEWS_OPERATION);
	return removal;
}

bool device_has_heard(const struct devices *devices, const struct connector *connector)
{
	return (connector->drc.adding || connector->drc.removing) && connector->fetched != 0 &&
	       !devices->connectors->events->queued[connector->number];
}

/* --- The machine -------------------------------------------------------------------------- */

void devices_announce(struct devices *devices)
{
	/* An event that the previous kernel has fetched, and not answered, may have gone with it.
	 */
	for (uint32_t i = 0; i < devices->count; i++) {
		const struct device *device = &devices->list[i];

		for (uint32_t c = 0; c < device->count; c++)
			if (!device->connectors[c].without_events &&
			    (device->connectors[c].drc.adding ||
			        device->connectors[c].drc.removing))
				event_requeue(
				    devices->connectors->events, device->connectors[c].number);
	}
	fence_forget(devices->fence);
	events_announce(devices->connectors->events);
}

void devices_release(struct devices *devices)
{
	for (uint32_t i = 0; devices->leaving > 0 && i < devices->count; i++) {
		struct device *device = &devices->list[i];

		if (device->leaving == 0 || device->add.left > 0 || device->remove.left > 0)
			continue;
		for (uint32_t c = 0; c < device->count; c++)
			if (device->connectors[c].leaving)
				device->type->release(device, &device->connectors[c]);
		for (uint32_t c = 0; c < device->count; c++)
			device->connectors[c].leaving = false;
		device->leaving = 0;
		devices->leaving--;
		device_requests_finish(devices, device);
		if (device->attached == 0 && device->type->made_on_demand)
			device_destroy(device);
	}
}

static bool device_by_event(const struct device *device)
{
	return device->type->by_event != NULL && device->type->by_event(device);
}

/* A reset completes a removal as a whole, also at those connectors that it has not asked for. There
 * is no event: the guest is not going to read it. */
static void device_ask_for_reset(struct devices *devices, struct device *device)
{
	for (uint32_t c = 0; c < device->count; c++) {
		struct connector *connector = &device->connectors[c];

		if (!device_asks_later(device, connector))
			continue;
		if (connector->drc.state == DRC_UNUSABLE)
			device_apply(devices, connector, DRC_IN_REMOVE, &by_reset);
		else
			drc_step(connector->type, &connector->drc, DRC_IN_REMOVE);
	}
}

void devices_reset(struct devices *devices)
{
	for (uint32_t i = 0; i < devices->count; i++) {
		struct device *device = &devices->list[i];

		device_ask_for_reset(devices, device);
		for (uint32_t c = 0; c < device->count; c++) {
			device->connectors[c].fetched = 0;
			device_apply(devices, &device->connectors[c],
			    device_by_event(device) ? DRC_IN_RESET_OFFER : DRC_IN_RESET, &by_reset);
		}
	}
	devices_release(devices);
}

void devices_offer(struct devices *devices)
{
	for (uint32_t i = 0; i < devices->count; i++) {
		const struct device *device = &devices->list[i];

		for (uint32_t c = 0; c < device->count; c++)
			if (device->connectors[c].drc.attached && device_by_event(device))
				event_queue(
				    devices->connectors->events, device->connectors[c].number);
	}
}
