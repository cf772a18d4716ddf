/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client.h - the clients of the control socket: their requests, replies and events, and when one
 * is disconnected.
 *
 * The cost of a client is bounded: the length and nesting of a request, the number of clients, the
 * unread events. A reply is as long as its content, but while a client does not read its replies,
 * no more of its requests are read; so only events accumulate after the last reply, and a client
 * that leaves CONTROL_BACKLOG_MAX bytes of them unread is disconnected.
 */
#ifndef PAPRIKA_CLIENT_H
#define PAPRIKA_CLIENT_H

#include <ev.h>
#include <stdbool.h>

#include "base/log.h"
#include "control/bus.h"
#include "control/control.h"
#include "control/guest.h"
#include "control/parse.h"
#include "control/watch.h"

struct client;

struct clients {
	struct watch watch;
	const struct guest *guest;
	struct bus *bus;
	struct client *slots[CONTROL_CLIENTS_MAX];
	struct log_limit limit_dropped, limit_memory;
	bool worked; /* a request was carried out, or a client freed, since the last turn */
	/* A request that is being parsed, or an event that is being sent. */
	char scratch[PARSE_QMP_TEXT_MAX(CONTROL_REQUEST_MAX)];
};

/* clients is zeroed. */
void clients_init(
    struct clients *clients, struct ev_loop *loop, const struct guest *guest, struct bus *bus);

/* Send what clients take without waiting, and disconnect them. */
void clients_finish(struct clients *clients);

/* Greet a new client; fd becomes the callee's. False, and fd is left alone, if there are too many.
 */
bool clients_add(struct clients *clients, int fd);

/* At the end of each turn of the loop: send the events published in it, each client's together, go
 * on with clients that had to wait, free those that are gone. */
void clients_turn(struct clients *clients);

/* The process at the other end, for the log; 0 if unknown. */
int client_process(int fd);

#endif
