/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk.c - the commands for disks. A running VMM can open nothing: the file is opened here, and its
 * descriptor passed over the socket.
 */
#include "ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DISK_ID_MAX 64

bool connection_tell(struct ctl *ctl, const char *command, json_t *arguments)
{
	json_t *value = connection_ask(ctl, command, arguments);

	json_decref(value);
	return value != NULL;
}

bool list_has(const json_t *list, const char *key, const char *text)
{
	json_t *object;
	size_t i;

	json_array_foreach (list, i, object) {
		if (strcmp(member_text(object, key), text) == 0)
			return true;
	}
	return false;
}

/* --id, or the first of disk0, disk1, ... that neither a device nor a block node has. */
static bool disk_choose_id(struct ctl *ctl, char id[DISK_ID_MAX])
{
	json_t *nodes = connection_ask(ctl, "query-named-block-nodes", NULL);
	json_t *devices = nodes == NULL ? NULL
	                                : connection_ask(ctl, "query-connectors",
	                                      json_pack("{s:s}", "resource", "pci"));
	bool good = nodes != NULL && devices != NULL;

	snprintf(id, DISK_ID_MAX, "%s", ctl->device_id != NULL ? ctl->device_id : "disk0");
	for (unsigned n = 1; good && ctl->device_id == NULL &&
	                     (list_has(nodes, "node-name", id) || list_has(devices, "device", id));
	     n++)
		snprintf(id, DISK_ID_MAX, "disk%u", n);
	/* A node that was left by a device that has gone. */
	if (good && list_has(nodes, "node-name", id) && !list_has(devices, "device", id))
		good = connection_tell(ctl, "blockdev-del", json_pack("{s:s}", "node-name", id));
	json_decref(nodes);
	json_decref(devices);
	return good;
}

/* Pass the descriptor, and make a block node of it. */
static bool disk_make_node(struct ctl *ctl, int fd, const char *id)
{
	json_t *set;
	json_int_t number;
	char path[48];
	bool made;

	ctl->pass_fd = fd;
	set = connection_ask(ctl, "add-fd", NULL);
	if (set == NULL)
		return false;
	number = member_number(set, "fdset-id");
	json_decref(set);
	snprintf(path, sizeof path, "/dev/fdset/%lld", (long long)number);
	made = connection_tell(ctl, "blockdev-add",
	    json_pack("{s:s, s:s, s:s, s:b}", "driver", "file", "node-name", id, "filename", path,
	        "read-only", (int)ctl->readonly));
	return connection_tell(ctl, "remove-fd", json_pack("{s:I}", "fdset-id", number)) && made;
}

bool verb_check_file(struct ctl *ctl, char **arguments)
{
	struct stat file;

	ctl->file_is_socket = stat(arguments[0], &file) == 0 && S_ISSOCK(file.st_mode);
	if (ctl->file_is_socket)
		return verb_check_socket(ctl, arguments);
	ctl->file_fd = open(
	    arguments[0], (ctl->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (ctl->file_fd < 0)
		complain("cannot open %s: %s (give an image or a block device%s)", arguments[0],
		    strerror(errno), ctl->readonly ? "" : ", or --readonly");
	return ctl->file_fd >= 0;
}

enum exit_code verb_disk_add(struct ctl *ctl, char **arguments)
{
	char id[DISK_ID_MAX];
	enum exit_code code;

	/* The VMM knows the descriptor only. */
	ctl->subject = arguments[0];
	if (ctl->file_is_socket)
		return share_begin(ctl, "vhost-user-blk-pci", "disk", NULL);
	if (!disk_choose_id(ctl, id) || !disk_make_node(ctl, ctl->file_fd, id))
		return CTL_ERROR;
	code = operation_begin(ctl, "device_add",
	    json_pack("{s:s, s:s, s:s}", "driver", "virtio-blk-pci", "id", id, "drive", id));
	if (code == CTL_ERROR || code == CTL_REJECTED || code == CTL_CANCELLED)
		connection_tell(ctl, "blockdev-del", json_pack("{s:s}", "node-name", id));
	return code;
}

/* What a removal by force does to the guest; nothing, if the device has gone. */
static void disk_tell_cut_off(struct ctl *ctl, const char *device)
{
	json_t *devices =
	    connection_ask(ctl, "query-connectors", json_pack("{s:s}", "resource", "pci"));
	json_t *slot;
	size_t i;

	json_array_foreach (devices, i, slot) {
		/* Network devices answer at once what they are asked. */
		if (strcmp(member_text(slot, "device"), device) == 0 && !ctl->json &&
		    strcmp(member_text(slot, "driver"), "virtio-net-pci") != 0 &&
		    strncmp(member_text(slot, "driver"), "vhost-", 6) != 0)
			printf("%s: requests of the guest's are answered with an I/O error from "
			       "now on; %" PRId64
			       " that had been begun end as the host ends them\n",
			    device, member_number(slot, "requests-in-flight"));
	}
	fflush(stdout);
	json_decref(devices);
}

enum exit_code pci_remove(struct ctl *ctl, const char *device)
{
	json_int_t id;

	if (!operation_ask(ctl, "device_del",
	        json_pack("{s:s, s:o*}", "id", device, "force", ctl->force ? json_true() : NULL),
	        &id))
		return CTL_ERROR;
	if (ctl->force)
		disk_tell_cut_off(ctl, device);
	return ctl->wait ? operation_wait(ctl, id) : CTL_OK;
}

enum exit_code verb_disk_remove(struct ctl *ctl, char **arguments)
{
	enum exit_code code = pci_remove(ctl, arguments[0]);
	json_t *nodes;

	/* Without --wait the node is closed when another disk takes its name. */
	if (code != CTL_OK || !ctl->wait)
		return code;
	nodes = connection_ask(ctl, "query-named-block-nodes", NULL);
	if (list_has(nodes, "node-name", arguments[0]))
		connection_tell(ctl, "blockdev-del", json_pack("{s:s}", "node-name", arguments[0]));
	json_decref(nodes);
	share_forget(ctl, arguments[0]);
	return code;
}
