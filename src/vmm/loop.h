/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.h - the event loop, and the two ways in which libev ends a program without asking: when
 * memory is out, and when it cannot make what it needs to be woken. Both are settled here, when
 * the loop is made and an error can still be reported.
 */
#ifndef PAPRIKA_LOOP_H
#define PAPRIKA_LOOP_H

#include <ev.h>

#include "base/err.h"

/*
 * One at a time. wake is initialised by the caller and started here. All memory the loop will
 * ever use is set aside now, and that it can be woken is tried, so that nothing of this can fail
 * once a guest runs.
 */
struct ev_loop *loop_create(ev_async *wake, struct err *err);

/* NULL is allowed. No watcher is active any more. */
void loop_destroy(struct ev_loop *loop);

#endif
