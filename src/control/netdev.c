/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netdev.c - see netdev.h. A netdev takes over the descriptors that it names, and keeps them until
 * netdev_del.
 */
#include "control/netdev.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control/json_out.h"

/* --- Descriptors ----------------------------------------------------------------------------- */

/* Each connection has names of its own. */
static struct named_fd *named_fd_find(const struct call *call, const char *name)
{
	struct named_fd *fds = call->guest->netdevs->fds;

	for (size_t i = 0; name[0] != '\0' && i < NETDEVS_MAX; i++)
		if (fds[i].owner == call->session && strcmp(fds[i].name, name) == 0)
			return &fds[i];
	return NULL;
}

static struct named_fd *named_fd_free_place(struct netdevs *netdevs)
{
	for (size_t i = 0; i < NETDEVS_MAX; i++)
		if (netdevs->fds[i].name[0] == '\0')
			return &netdevs->fds[i];
	return NULL;
}

/* As in QMP a name that is in use gets the new descriptor. */
json_t *run_getfd(struct call *call)
{
	const char *name = call_string(call, "fdname");
	struct named_fd *place = named_fd_find(call, name);

	if (place == NULL)
		place = named_fd_free_place(call->guest->netdevs);
	if (call->session->passed_fd == 0)
		call_fail(call, NULL, "No file descriptor supplied via SCM_RIGHTS");
	else if (!op_is_device_name(name))
		call_fail(
		    call, NULL, "Parameter 'fdname' expects a name not starting with a digit");
	else if (place == NULL)
		call_fail(call, NULL, "there can be no more than %d descriptors", NETDEVS_MAX);
	if (call->err.class != ERR_NONE)
		return NULL;
	if (place->name[0] != '\0')
		close(place->fd);
	place->owner = call->session;
	place->fd = call->session->passed_fd;
	snprintf(place->name, sizeof place->name, "%s", name);
	call->session->passed_fd = 0;
	return json_object();
}

int named_fd_take(struct call *call, const char *name)
{
	struct named_fd *named = named_fd_find(call, name);
	int fd;

	if (named == NULL) {
		call_fail(call, NULL, "File descriptor named '%s' not found", name);
		return -1;
	}
	fd = named->fd;
	*named = (struct named_fd){0};
	return fd;
}

json_t *run_closefd(struct call *call)
{
	int fd = named_fd_take(call, call_string(call, "fdname"));

	if (fd < 0)
		return NULL;
	close(fd);
	return json_object();
}

void named_fds_forget_session(struct netdevs *netdevs, const struct session *session)
{
	for (size_t i = 0; i < NETDEVS_MAX; i++) {
		struct named_fd *named = &netdevs->fds[i];

		if (named->name[0] != '\0' && named->owner == session) {
			close(named->fd);
			*named = (struct named_fd){0};
		}
	}
}

/* --- Netdevs --------------------------------------------------------------------------------- */

struct netdev *netdev_find(struct netdevs *netdevs, const char *id)
{
	for (size_t i = 0; i < NETDEVS_MAX; i++)
		if (strcmp(netdevs->list[i].id, id) == 0)
			return &netdevs->list[i];
	return NULL;
}

bool netdev_is_used(struct spapr *machine, const struct netdev *netdev)
{
	return netdev->device[0] != '\0' && spapr_has_device(machine, netdev->device);
}

void netdevs_forget_devices(const struct guest *guest)
{
	for (size_t i = 0; i < NETDEVS_MAX; i++)
		if (!netdev_is_used(guest->machine, &guest->netdevs->list[i]))
			guest->netdevs->list[i].device[0] = '\0';
}

/* Names with colons between them, each of a descriptor. */
static bool netdev_read_fds(struct call *call, const char *names,
    struct named_fd *ret_fds[GUEST_DEVICE_FDS], unsigned *ret_count)
{
	*ret_count = 0;
	for (;;) {
		size_t length = strcspn(names, ":");
		char name[OP_DEVICE_MAX] = "";

		if (length < sizeof name)
			memcpy(name, names, length);
		if (*ret_count == GUEST_DEVICE_FDS)
			return call_fail(
			    call, NULL, "there can be no more than %d queues", GUEST_DEVICE_FDS);
		ret_fds[*ret_count] = named_fd_find(call, name);
		for (unsigned i = 0; i < *ret_count; i++)
			if (ret_fds[i] == ret_fds[*ret_count])
				ret_fds[*ret_count] = NULL;
		if (ret_fds[(*ret_count)++] == NULL)
			return err_set(&call->err, ERR_STATE,
			    "open it, pass the descriptor with getfd, and give its name",
			    "File descriptor named '%.64s' has not been found", names);
		names += length;
		if (*names++ == '\0')
			return true;
	}
}

/* The names of descriptors, or NULL and an error. */
static const char *netdev_fd_names(struct call *call, const char *type)
{
	const json_t *address = json_object_get(call->arguments, "addr");
	const char *names = NULL, *kind;

	if (strcmp(type, "tap") == 0) {
		names = call_string(call, "fds");
		if (names == NULL)
			names = call_string(call, "fd");
		if (names == NULL)
			err_set(&call->err, ERR_STATE,
			    "a running guest's taps cannot be opened any more: open it, and pass "
			    "the descriptor with getfd",
			    "Parameter 'fd' is missing");
	} else if (strcmp(type, "stream") == 0) {
		kind = json_string_value(json_object_get(address, "type"));
		if (kind != NULL && strcmp(kind, "fd") == 0)
			names = json_string_value(json_object_get(address, "str"));
		if (names == NULL)
			err_set(&call->err, ERR_STATE,
			    "a running guest cannot connect any more: connect, pass the "
			    "descriptor with getfd, and name it: addr {type: fd, str: NAME}",
			    "Parameter 'addr' is not that of a descriptor");
	} else {
		call_fail(call, NULL, "Parameter 'type' does not accept value '%s'", type);
	}
	return names;
}

json_t *run_netdev_add(struct call *call)
{
	struct netdevs *netdevs = call->guest->netdevs;
	const char *type = call_string(call, "type"), *id = call_string(call, "id");
	const char *names = netdev_fd_names(call, type);
	bool is_tap = strcmp(type, "tap") == 0;
	struct netdev *netdev = netdev_find(netdevs, "");
	struct named_fd *fds[GUEST_DEVICE_FDS];
	unsigned count = 0;

	if (names == NULL)
		return NULL;
	if (!op_is_device_name(id))
		call_fail(call, NULL, "Parameter 'id' expects an identifier");
	else if (netdev_find(netdevs, id) != NULL)
		call_fail(call, NULL, "Duplicate ID '%s' for netdev", id);
	else if (netdev == NULL)
		call_fail(call, NULL, "there can be no more than %d netdevs", NETDEVS_MAX);
	else if (netdev_read_fds(call, names, fds, &count) && count > 1 && !is_tap)
		call_fail(call, NULL, "a stream has one descriptor");
	if (call->err.class != ERR_NONE)
		return NULL;
	*netdev = (struct netdev){.type = is_tap ? "tap" : "stream", .fd_count = count};
	snprintf(netdev->id, sizeof netdev->id, "%s", id);
	for (unsigned i = 0; i < count; i++) {
		netdev->fds[i] = fds[i]->fd;
		*fds[i] = (struct named_fd){0};
	}
	return json_object();
}

json_t *run_netdev_del(struct call *call)
{
	const char *id = call_string(call, "id");
	struct netdev *netdev = id[0] != '\0' ? netdev_find(call->guest->netdevs, id) : NULL;

	if (netdev == NULL) {
		call_fail(call, "DeviceNotFound", "Device '%s' not found", id);
		return NULL;
	}
	if (netdev_is_used(call->guest->machine, netdev)) {
		err_set(&call->err, ERR_STATE, "remove the device with device_del first",
		    "Device '%s' is in use by '%s'", id, netdev->device);
		return NULL;
	}
	for (unsigned i = 0; i < netdev->fd_count; i++)
		close(netdev->fds[i]);
	*netdev = (struct netdev){0};
	return json_object();
}

/* By the name of the device, or of its netdev. */
json_t *run_set_link(struct call *call)
{
	const char *name = call_string(call, "name");
	const struct netdev *netdev =
	    name[0] != '\0' ? netdev_find(call->guest->netdevs, name) : NULL;
	bool up = json_is_true(json_object_get(call->arguments, "up"));

	if (netdev != NULL && netdev_is_used(call->guest->machine, netdev))
		name = netdev->device;
	if (call->guest->ops->set_link(call->guest->vmm, name, up, &call->err))
		return json_object();
	if (call->err.class == ERR_NOT_FOUND)
		call->class = "DeviceNotFound";
	return NULL;
}

json_t *query_netdevs(struct call *call)
{
	const struct netdevs *netdevs = call->guest->netdevs;
	json_t *list = json_array();

	netdevs_forget_devices(call->guest);
	for (size_t i = 0; i < NETDEVS_MAX; i++) {
		const struct netdev *netdev = &netdevs->list[i];

		if (netdev->id[0] != '\0')
			list = json_out_append(list,
			    json_pack("{s:s, s:s, s:s*}", "id", netdev->id, "type", netdev->type,
			        "device", netdev->device[0] != '\0' ? netdev->device : NULL));
	}
	return list;
}
