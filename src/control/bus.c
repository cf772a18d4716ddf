/* SPDX-License-Identifier: Apache-2.0 */
/* bus.c - see bus.h. */
#include "control/bus.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "control/json_out.h"

struct event {
	const char *name;
	const char *data; /* for query-schema */
	const char *doc;
	bool ours;            /* not QMP's; nor are */
	const char *extra[2]; /* these members of its data */
};

/* clang-format off */
static const struct event events[] = {
{ .name = "OPERATION", .data = "{operation, step}", .ours = true,
  .doc = "An operation passed a step; 'ended' tells how it ended." },
{ .name = "DEVICE_DELETED", .data = "{device, path}",
  .doc = "A device has left the machine." },
{ .name = "DEVICE_UNPLUG_GUEST_ERROR", .data = "{device, path, operation, evidence}",
  .extra = {"operation", "evidence"},
  .doc = "The guest refused to give a device back." },
{ .name = "STOP", .data = "", .doc = "The vCPUs have stopped." },
{ .name = "RESUME", .data = "", .doc = "The vCPUs run again." },
{ .name = "RESET", .data = "{guest, reason}", .doc = "The guest starts from the beginning." },
{ .name = "POWERDOWN", .data = "", .doc = "The guest has been asked to shut down." },
{ .name = "SHUTDOWN", .data = "{guest, reason}",
  .doc = "The guest has shut down, or is being ended." },
{ .name = "BLOCK_IO_ERROR", .data = "{qom-path, device, operation, action, nospace, reason}",
  .doc = "A request of a disk has failed on the host. At most one event of a disk in a second." },
{ .name = "NETDEV_STREAM_DISCONNECTED", .data = "{netdev-id}",
  .doc = "The other end of a network device's stream has closed it, or sent what is no frame." },
{ .name = "NET_LINK_LOST", .data = "{device, reason}", .ours = true,
  .doc = "What a network device is connected to has ended, and its link is down." },
{ .name = "DEVICE_BACKEND_LOST", .data = "{device, path, reason}", .ours = true,
  .doc = "Who served a device's queues has died, breaks the rules or does not answer." },
{ .name = "GUEST_PANICKED", .data = "{action}", .doc = "The guest has crashed and says so." },
};
/* clang-format on */

#define EVENTS (sizeof events / sizeof events[0])

json_t *bus_schema(void)
{
	json_t *list = json_array();

	for (size_t i = 0; i < EVENTS; i++)
		list = json_out_append(list, json_pack("{s:s, s:s, s:s}", "name", events[i].name,
		                                 "doc", events[i].doc, "data", events[i].data));
	return list;
}

bool bus_reduce(json_t *event)
{
	const char *name = json_string_value(json_object_get(event, "event"));
	json_t *data = json_object_get(event, "data");

	for (size_t i = 0; name != NULL && i < EVENTS; i++) {
		if (strcmp(events[i].name, name) != 0)
			continue;
		for (size_t j = 0; j < 2 && events[i].extra[j] != NULL; j++)
			json_object_del(data, events[i].extra[j]);
		return !events[i].ours;
	}
	return false;
}

/* {"timestamp", "event", "data"}; data is stolen, and left out if it is empty. */
static json_t *event_json(const char *name, json_t *data)
{
	struct timespec now;
	json_t *event = NULL;

	clock_gettime(CLOCK_REALTIME, &now);
	if (data != NULL)
		event = json_pack("{s:{s:I, s:I}, s:s, s:O*}", "timestamp", "seconds",
		    (json_int_t)now.tv_sec, "microseconds", (json_int_t)(now.tv_nsec / 1000),
		    "event", name, "data", json_object_size(data) > 0 ? data : NULL);
	json_decref(data);
	return event;
}

void bus_publish(struct bus *bus, const char *name, json_t *data)
{
	if (bus->listeners == 0) {
		json_decref(data);
		return;
	}
	if (bus->queue == NULL)
		bus->queue = json_array();
	if (json_array_append_new(bus->queue, event_json(name, data)) < 0)
		bus->lost = true;
}

json_t *bus_take(struct bus *bus, bool *ret_lost)
{
	json_t *queue = bus->queue;

	*ret_lost = bus->lost;
	bus->queue = NULL;
	bus->lost = false;
	return queue;
}

void bus_finish(struct bus *bus)
{
	json_decref(bus->queue);
	bus->queue = NULL;
}

/* --- Operations ---------------------------------------------------------------------------- */

void bus_report(struct bus *bus, const struct operation *operation, enum op_step step)
{
	char path[sizeof JSON_DEVICE_PATH + OP_DEVICE_MAX];

	if (bus->subscribers > 0)
		bus_publish(bus, "OPERATION",
		    json_pack("{s:o, s:s}", "operation", json_out_operation(operation), "step",
		        op_step_name(step)));
	if (step != OP_ENDED || bus->listeners == 0)
		return;

	snprintf(path, sizeof path, JSON_DEVICE_PATH "%s", operation->device);
	if (operation->device_left)
		bus_publish(bus, "DEVICE_DELETED",
		    json_pack("{s:s, s:s}", "device", operation->device, "path", path));
	else if (operation->kind == OP_REMOVE && operation->outcome == OP_REJECTED)
		bus_publish(bus, "DEVICE_UNPLUG_GUEST_ERROR",
		    json_pack("{s:s, s:s, s:I, s:o}", "device", operation->device, "path", path,
		        "operation", (json_int_t)operation->id, "evidence",
		        json_out_evidence(operation)));
}
