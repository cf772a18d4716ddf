/* SPDX-License-Identifier: Apache-2.0 */
/* chardev.c - see chardev.h. */
#include "control/chardev.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control/json_out.h"
#include "control/netdev.h"

/* --- Character devices ------------------------------------------------------------------------ */

static struct chardev *chardev_find(struct chardevs *chardevs, const char *id)
{
	for (size_t i = 0; i < CHARDEVS_MAX; i++)
		if (strcmp(chardevs->list[i].id, id) == 0)
			return &chardevs->list[i];
	return NULL;
}

static bool chardev_is_used(const struct guest *guest, const struct chardev *chardev)
{
	return chardev->device[0] != '\0' && spapr_has_device(guest->machine, chardev->device);
}

/* The name of the descriptor in {type: "socket", data: {addr: {type: "fd", data: {str}}}}, with the
 * address also in the flat form that older clients know; NULL, and an error, if it is none. */
static const char *chardev_fd_name(struct call *call)
{
	const json_t *backend = json_object_get(call->arguments, "backend");
	const json_t *data = json_object_get(backend, "data");
	const json_t *address = json_object_get(data, "addr");
	const char *type = json_string_value(json_object_get(backend, "type"));
	const char *where = json_string_value(json_object_get(address, "type"));
	const char *name =
	    json_string_value(json_object_get(json_object_get(address, "data"), "str"));

	if (name == NULL)
		name = json_string_value(json_object_get(address, "str"));
	if (type == NULL || strcmp(type, "socket") != 0)
		err_set(&call->err, ERR_STATE, "give one of type socket",
		    "Parameter 'backend' does not accept this type");
	else if (where == NULL || strcmp(where, "fd") != 0 || name == NULL)
		err_set(&call->err, ERR_STATE,
		    "a running guest can open no file any more: connect, pass the descriptor "
		    "with getfd, and give an address of type fd",
		    "Parameter 'addr' does not accept this address");
	else
		return name;
	return NULL;
}

json_t *run_chardev_add(struct call *call)
{
	struct chardevs *chardevs = call->guest->chardevs;
	const char *id = call_string(call, "id"), *name = chardev_fd_name(call);
	struct chardev *chardev;
	int fd;

	if (name == NULL)
		return NULL;
	if (!op_is_device_name(id)) {
		call_fail(call, NULL, "Parameter 'id' expects an identifier");
		return NULL;
	}
	if (chardev_find(chardevs, id) != NULL) {
		call_fail(call, NULL, "Chardev with id '%s' already exists", id);
		return NULL;
	}
	chardev = chardev_find(chardevs, "");
	if (chardev == NULL) {
		call_fail(call, NULL, "there can be no more than %d chardevs", CHARDEVS_MAX);
		return NULL;
	}
	fd = named_fd_take(call, name);
	if (fd < 0)
		return NULL;
	*chardev = (struct chardev){.fd = fd};
	snprintf(chardev->id, sizeof chardev->id, "%s", id);
	return json_object();
}

int chardev_take(struct call *call, const char *id, const char *device)
{
	struct chardev *chardev = chardev_find(call->guest->chardevs, id);
	int fd;

	if (id[0] == '\0' || chardev == NULL) {
		call_fail(call, NULL, "Property 'chardev' can't find value '%s'", id);
		return -1;
	}
	if (chardev->fd < 0) {
		err_set(&call->err, ERR_STATE, "connect anew, and make another",
		    "Property 'chardev' can't take value '%s', it's in use", id);
		return -1;
	}
	fd = chardev->fd;
	chardev->fd = -1;
	snprintf(chardev->device, sizeof chardev->device, "%s", device);
	return fd;
}

json_t *run_chardev_remove(struct call *call)
{
	const char *id = call_string(call, "id");
	struct chardev *chardev = chardev_find(call->guest->chardevs, id);

	if (id[0] == '\0' || chardev == NULL) {
		call_fail(call, NULL, "Chardev '%s' not found", id);
		return NULL;
	}
	if (chardev_is_used(call->guest, chardev)) {
		err_set(&call->err, ERR_STATE, "remove the device with device_del first",
		    "Chardev '%s' is busy", id);
		return NULL;
	}
	if (chardev->fd >= 0)
		close(chardev->fd);
	*chardev = (struct chardev){.id = ""};
	return json_object();
}

json_t *query_chardev(struct call *call)
{
	const struct chardevs *chardevs = call->guest->chardevs;
	json_t *list = json_array();

	for (size_t i = 0; i < CHARDEVS_MAX; i++) {
		const struct chardev *chardev = &chardevs->list[i];

		if (chardev->id[0] != '\0')
			list = json_out_append(list,
			    json_pack("{s:s, s:s, s:b}", "label", chardev->id, "filename", "fd",
			        "frontend-open", (int)chardev_is_used(call->guest, chardev)));
	}
	return list;
}

/* The descriptor is used up in any case. */
json_t *run_device_reconnect(struct call *call)
{
	const struct guest *guest = call->guest;
	int fd = named_fd_take(call, call_string(call, "fd"));
	bool resumes = false;

	if (fd < 0)
		return NULL;
	if (guest->ops->reconnect(guest->vmm, call_string(call, "id"), fd, &resumes, &call->err))
		return json_pack("{s:b}", "resumes", (int)resumes);
	if (call->err.class == ERR_NOT_FOUND)
		call->class = "DeviceNotFound";
	return NULL;
}
