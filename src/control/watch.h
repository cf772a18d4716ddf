/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch.h - start watchers of descriptors so that a refusal is noticed at once.
 *
 * If epoll refuses a descriptor, libev calls the watcher with EV_ERROR, but only after it has
 * waited for events of all others. So the loop does not wait in the turn after a watcher was
 * started.
 */
#ifndef PAPRIKA_WATCH_H
#define PAPRIKA_WATCH_H

#include <ev.h>

struct watch {
	struct ev_loop *loop;
	ev_timer soon;
};

void watch_init(struct watch *watch, struct ev_loop *loop);
void watch_finish(struct watch *watch);

/* Start a watcher, unless it is active. */
void watch_start(struct watch *watch, ev_io *watcher);

/* In the next turn the loop does not wait. */
void watch_hurry(struct watch *watch);

#endif
