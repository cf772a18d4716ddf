/* SPDX-License-Identifier: Apache-2.0 */
/* watch.c - see watch.h. */
#include "control/watch.h"

static void on_soon(struct ev_loop *loop, ev_timer *watcher, int events)
{
}

void watch_init(struct watch *watch, struct ev_loop *loop)
{
	watch->loop = loop;
	ev_timer_init(&watch->soon, on_soon, 0., 0.);
}

void watch_finish(struct watch *watch)
{
	ev_timer_stop(watch->loop, &watch->soon);
}

void watch_hurry(struct watch *watch)
{
	ev_timer_stop(watch->loop, &watch->soon);
	ev_timer_set(&watch->soon, 0., 0.);
	ev_timer_start(watch->loop, &watch->soon);
}

void watch_start(struct watch *watch, ev_io *watcher)
{
	if (ev_is_active(watcher))
		return;
	ev_io_start(watch->loop, watcher);
	watch_hurry(watch);
}
