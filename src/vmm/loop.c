/* SPDX-License-Identifier: Apache-2.0 */
/* loop.c - see loop.h. */
#include "vmm/loop.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Seconds since 1970: about the year 4000. */
#define FAR_OFF_S 64e9

/* Never expires; see loop_create(). */
static ev_periodic far_off;

static void on_far_off(struct ev_loop *loop, ev_periodic *watcher, int events)
{
}

/* libev stops a watcher whose descriptor epoll refuses. */
static bool loop_watches(struct ev_loop *loop, ev_io *wake, struct err *err)
{
	ev_io_start(loop, wake);
	ev_run(loop, EVRUN_NOWAIT);
	return ev_is_active(wake) ||
	       err_system(err, errno, "see /proc/sys/fs/epoll/max_user_watches",
	           "the event loop cannot watch what wakes it");
}

/*
 * libev wakes up once a minute to see whether the wall clock was set. With a periodic watcher it
 * has the kernel tell it (timerfd), and waits for as long as there is nothing to do. So there is
 * one, for a time that never comes.
 */
struct ev_loop *loop_create(ev_io *wake, struct err *err)
{
	struct ev_loop *loop = ev_loop_new(EVFLAG_NOENV | EVBACKEND_EPOLL);
	int fd = loop == NULL ? -1 : eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	if (fd < 0) {
		err_system(err, errno, "close some files, or raise ulimit -n",
		    "cannot create the event loop");
		if (loop != NULL)
			ev_loop_destroy(loop);
		return NULL;
	}
	ev_periodic_init(&far_off, on_far_off, FAR_OFF_S, 0., NULL);
	ev_periodic_start(loop, &far_off);
	ev_io_set(wake, fd, EV_READ);
	if (loop_watches(loop, wake, err))
		return loop;
	loop_destroy(loop, wake);
	return NULL;
}

void loop_wake(const ev_io *wake)
{
	const uint64_t one = 1;
	int saved = errno;

	/* It fails only if the loop has been woken 2^64 - 2 times and has not run since. */
	while (write(wake->fd, &one, sizeof one) < 0 && errno == EINTR)
		continue;
	errno = saved;
}

void loop_woken(const ev_io *wake)
{
	uint64_t count;

	while (read(wake->fd, &count, sizeof count) < 0 && errno == EINTR)
		continue;
}

void loop_destroy(struct ev_loop *loop, ev_io *wake)
{
	if (loop == NULL)
		return;
	ev_periodic_stop(loop, &far_off);
	ev_io_stop(loop, wake);
	close(wake->fd);
	ev_loop_destroy(loop);
}
