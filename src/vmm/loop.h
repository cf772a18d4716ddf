/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.h - the event loop, and how other threads and signal handlers wake it.
 */
#ifndef PAPRIKA_LOOP_H
#define PAPRIKA_LOOP_H

#include <ev.h>

#include "base/err.h"

/*
 * Create the loop and the eventfd that wakes it. The caller has initialised wake (ev_init); here
 * it gets its descriptor and is started. NULL with *err filled if the loop cannot be made, or if
 * the kernel refuses to watch the eventfd.
 */
struct ev_loop *loop_create(ev_io *wake, struct err *err);

/* Run wake's callback in the loop's thread. From any thread; async-signal-safe. */
void loop_wake(const ev_io *wake);

/* To be called in wake's callback: it is called again only after another loop_wake(). */
void loop_woken(const ev_io *wake);

/* Destroy the loop and close the eventfd. No watcher but wake is active any more; loop may be
 * NULL. */
void loop_destroy(struct ev_loop *loop, ev_io *wake);

#endif
