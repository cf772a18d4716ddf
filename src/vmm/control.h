/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.h - the control socket: a UNIX socket speaking newline-delimited JSON in QMP's wire
 * form to several clients at once (docs/protocol.md).
 *
 * This room's two files: control.c moves lines (listening, framing, limits, greeting, events),
 * command.c knows what the lines mean (one table row per command). Loop thread only.
 */
#ifndef PAPRIKA_CONTROL_H
#define PAPRIKA_CONTROL_H

#include <ev.h>
#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "drc/operation.h"
#include "vmm/parse.h"

struct vmm;
struct control;

/* Longest request; most clients at once; most bytes of events a client may leave unread before it
 * is disconnected. */
#define CONTROL_REQUEST_MAX REQUEST_BYTES_MAX
#define CONTROL_CLIENTS_MAX 16
#define CONTROL_BACKLOG_MAX (1u << 20)

/*
 * Listen on path, mode 0600. A stale socket file is replaced; one with a live server behind
 * it, or a file of another kind, is an error. The path LISTEN_SYSTEMD (listen.h) stands for a
 * socket that systemd made and keeps. Only clients of our own uid, or root, get in.
 */
struct control *control_create(
    struct ev_loop *loop, const char *path, struct vmm *vmm, struct err *err);

/* Write what is buffered, as far as clients take it without waiting, close, remove the socket.
 * NULL is allowed. */
void control_destroy(struct control *control);

/* Send an event to every client that has negotiated, without what is not QMP's to those that have
 * not subscribed; those that cannot be sent it are disconnected. data is stolen: an object, empty
 * if the event has none; NULL says that memory is out. control may be NULL. */
void control_event(struct control *control, const char *name, json_t *data);

/* Report one step of an operation: OPERATION, and QMP's own event where it has one
 * (DEVICE_DELETED, DEVICE_UNPLUG_GUEST_ERROR). control may be NULL. */
void control_report(struct control *control, const struct operation *operation, enum op_step step);

#endif
