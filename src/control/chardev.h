/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chardev.h - the commands that bring sockets of back ends: character devices (chardev-add) made of
 * descriptors with names (netdev.h), for a device of vhost-user to have. A device takes its
 * connection with it: a character device is good for one.
 */
#ifndef PAPRIKA_CHARDEV_H
#define PAPRIKA_CHARDEV_H

#include "control/command.h"

json_t *run_chardev_add(struct call *call);
json_t *run_chardev_remove(struct call *call);
json_t *query_chardev(struct call *call);
json_t *run_device_reconnect(struct call *call);

/* The connection of a character device, which is the caller's from then on: `device` is what gets
 * it. -1, and an error, if there is none. */
int chardev_take(struct call *call, const char *id, const char *device);

#endif
