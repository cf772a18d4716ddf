/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notify.h - tells the service manager that started us how the guest is, by the protocol of
 * sd_notify(3): ready, the run state, stopping, and that the loop turns (the watchdog).
 */
#ifndef PAPRIKA_NOTIFY_H
#define PAPRIKA_NOTIFY_H

#include <ev.h>
#include <stdbool.h>

#include "base/err.h"

struct notify {
	int fd; /* 0: there is no manager that wants to know */
	double watchdog_s;
	struct ev_loop *loop;
	ev_timer watchdog;
};

/* Connect to what NOTIFY_SOCKET names, if it is set, and read WATCHDOG_USEC; both are removed from
 * the environment, so that no child uses them. *notify is zeroed before. False with *err filled:
 * the manager would wait in vain. */
bool notify_open(struct notify *notify, struct err *err);

/* The guest runs. From now on the watchdog is told, if there is one, from the loop. */
void notify_ready(struct notify *notify, struct ev_loop *loop);

/* What `systemctl status` shows; a name of query-status. Does not wait: a manager that does not
 * read misses it. */
void notify_state(const struct notify *notify, const char *state);

/* The guest has ended, and so will we. */
void notify_stopping(const struct notify *notify);

/* Also after a notify_open() that failed. */
void notify_close(struct notify *notify);

#endif
