/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.h - the control socket: a UNIX socket speaking newline-delimited JSON in QMP's wire
 * form to several clients at once (docs/protocol.md). Loop thread only.
 */
#ifndef PAPRIKA_CONTROL_H
#define PAPRIKA_CONTROL_H

#include <ev.h>

#include "base/err.h"
#include "control/bus.h"
#include "control/framer.h"
#include "control/guest.h"

struct control;

/* Longest request; most clients at once; most bytes of events a client may leave unread before it
 * is disconnected. */
#define CONTROL_REQUEST_MAX REQUEST_BYTES_MAX
#define CONTROL_CLIENTS_MAX 16
#define CONTROL_BACKLOG_MAX (1u << 20)

/*
 * Listen on path, mode 0600. A stale socket file is replaced; one with a live server behind
 * it, or a file of another kind, is an error. The path LISTEN_SYSTEMD (listen.h) stands for a
 * socket that systemd made and keeps. Only clients of our own uid, or root, get in. guest and bus
 * are kept: what clients may ask of, and the events they are sent.
 */
struct control *control_create(struct ev_loop *loop, const char *path, const struct guest *guest,
    struct bus *bus, struct err *err);

/* Send the events that are left and write what is buffered, as far as clients take it without
 * waiting; close, remove the socket. NULL is allowed. */
void control_destroy(struct control *control);

/* Close the descriptors that clients have passed and devices have not taken over; those that are
 * lent to devices, too, so the devices are gone. At the end. */
void control_close_files(const struct guest *guest);

#endif
