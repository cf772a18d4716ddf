/* SPDX-License-Identifier: Apache-2.0 */
/*
 * share.c - the commands for devices that another program serves: shares, and disks behind a
 * socket. It is connected to here, and the connection passed over the control socket.
 */
#include "ctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

bool verb_check_socket(struct ctl *ctl, char **arguments)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (strlen(arguments[0]) >= sizeof address.sun_path) {
		complain("the path of a socket is too long: %s (give a shorter one)", arguments[0]);
		return false;
	}
	strcpy(address.sun_path, arguments[0]);
	ctl->file_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (ctl->file_fd >= 0 &&
	    connect(ctl->file_fd, (struct sockaddr *)&address, sizeof address) == 0)
		return true;
	complain("cannot connect to %s: %s (start the program that serves it first)", arguments[0],
	    strerror(errno));
	return false;
}

static bool share_ask(struct ctl *ctl, const char *command, json_t *arguments)
{
	json_t *value = connection_ask(ctl, command, arguments);

	json_decref(value);
	return value != NULL;
}

/* Is there a chardev, and does a device have it? */
static bool share_find_chardev(struct ctl *ctl, const char *id, bool *ret_used)
{
	json_t *list = connection_ask(ctl, "query-chardev", NULL);
	json_t *chardev;
	bool found = false;
	size_t i;

	json_array_foreach (list, i, chardev)
		if (strcmp(member_text(chardev, "label"), id) == 0) {
			found = true;
			*ret_used = member_true(chardev, "frontend-open");
		}
	json_decref(list);
	return found;
}

void share_forget(struct ctl *ctl, const char *id)
{
	bool used = true;

	if (share_find_chardev(ctl, id, &used) && !used)
		share_ask(ctl, "chardev-remove", json_pack("{s:s}", "id", id));
}

/* --id, or the first of PREFIX0, PREFIX1, ... that is free. */
static void share_choose_id(struct ctl *ctl, const char *prefix, char *id, size_t size)
{
	bool used = true;

	snprintf(id, size, "%s", ctl->device_id != NULL ? ctl->device_id : "");
	for (unsigned n = 0; ctl->device_id == NULL && (n == 0 || used); n++) {
		snprintf(id, size, "%s%u", prefix, n);
		if (!share_find_chardev(ctl, id, &used))
			used = false;
	}
	/* One that was left by a device that has gone. */
	share_forget(ctl, id);
}

/* A device of this driver above the connection; tag may be NULL. */
enum exit_code share_begin(struct ctl *ctl, const char *driver, const char *prefix, const char *tag)
{
	enum exit_code code;
	char id[64];

	share_choose_id(ctl, prefix, id, sizeof id);
	ctl->pass_fd = ctl->file_fd;
	if (!share_ask(ctl, "getfd", json_pack("{s:s}", "fdname", id)) ||
	    !share_ask(ctl, "chardev-add",
	        json_pack("{s:s, s:{s:s, s:{s:{s:s, s:{s:s}}, s:b}}}", "id", id, "backend", "type",
	            "socket", "data", "addr", "type", "fd", "data", "str", id, "server", 0)))
		return CTL_ERROR;
	code = operation_begin(ctl, "device_add",
	    json_pack(
	        "{s:s, s:s, s:s, s:s*}", "driver", driver, "id", id, "chardev", id, "tag", tag));
	if (code == CTL_ERROR || code == CTL_REJECTED || code == CTL_CANCELLED)
		share_ask(ctl, "chardev-remove", json_pack("{s:s}", "id", id));
	return code;
}

bool verb_check_second_socket(struct ctl *ctl, char **arguments)
{
	return verb_check_socket(ctl, arguments + 1);
}

enum exit_code verb_reconnect(struct ctl *ctl, char **arguments)
{
	static const char name[] = "reconnect";
	json_t *value = NULL;

	ctl->pass_fd = ctl->file_fd;
	if (share_ask(ctl, "getfd", json_pack("{s:s}", "fdname", name)))
		value = connection_ask(ctl, "device-reconnect",
		    json_pack("{s:s, s:s}", "id", arguments[0], "fd", name));
	if (value == NULL)
		return CTL_ERROR;
	if (ctl->json)
		value_print(value);
	else
		printf("%s: %s\n", arguments[0],
		    member_true(value, "resumes")
		        ? "the guest's requests are served again"
		        : "connected; the guest's driver has to reset the device first, as by a "
		          "reboot");
	json_decref(value);
	return CTL_OK;
}

enum exit_code verb_share_add(struct ctl *ctl, char **arguments)
{
	return share_begin(ctl, "vhost-user-fs-pci", "share", arguments[1]);
}
