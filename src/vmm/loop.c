/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.c - see loop.h.
 *
 * libev asks for memory when it likes and aborts if there is none. What it keeps are arrays that
 * only grow, and none grows beyond the number of descriptors: so it gets a piece of memory of its
 * own, from which it takes and to which it gives nothing back. A loop of 2048 vCPUs and all
 * clients there can be takes less than a quarter of it, and what is not used is never touched.
 */
#include "vmm/loop.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/vmm.h"

#define MEMORY_BYTES ((size_t)1 << 20)
#define ALIGN_BYTES sizeof(max_align_t)

/* Seconds since 1970: the year 4000, give or take. */
#define FAR_OFF_S 64e9

/* Static, because libev's allocator and its complaints are the process's, and are given nothing. */
static struct {
	unsigned char *bytes; /* NULL: no loop */
	size_t used;
} memory;

/* In front of each block: what a larger one has to take over. */
struct block {
	_Alignas(max_align_t) size_t size;
};

/* Never comes; see loop_create(). */
static ev_periodic far_off;

static void *take(void *before, long size)
{
	const struct block *old = before != NULL ? (const struct block *)before - 1 : NULL;
	struct block *block = (struct block *)(void *)(memory.bytes + memory.used);
	size_t length = ((size_t)size + ALIGN_BYTES - 1) & ~(ALIGN_BYTES - 1);
	size_t left = MEMORY_BYTES - memory.used;

	if (size == 0)
		return NULL;
	if (old != NULL && old->size >= length)
		return before;
	if (memory.bytes == NULL || left < sizeof *block || length > left - sizeof *block)
		return NULL;
	memory.used += sizeof *block + length;
	block->size = length;
	if (old != NULL)
		memcpy(block + 1, old + 1, old->size);
	return block + 1;
}

/* libev would try for ever. That happens only while the loop is made: nothing has been taken
 * that would have to be given back. */
static void give_up(const char *what)
{
	struct err err = {0};

	err_system(&err, errno, "close some files, or raise ulimit -n", "%s", what);
	complain_error(&err);
	exit(EXIT_VMM_ERROR);
}

/* In the first round nothing can be pending but that the loop's own descriptor could not be
 * watched. */
static void look_at_pending(struct ev_loop *loop)
{
	int *refused = ev_userdata(loop);

	if (ev_pending_count(loop) > 0)
		*refused = errno;
	ev_invoke_pending(loop);
}

static bool try_out(struct ev_loop *loop, struct err *err)
{
	int refused = 0;

	ev_set_userdata(loop, &refused);
	ev_set_invoke_pending_cb(loop, look_at_pending);
	ev_run(loop, EVRUN_NOWAIT);
	ev_set_invoke_pending_cb(loop, ev_invoke_pending);
	ev_set_userdata(loop, NULL);
	return refused == 0 || err_system(err, refused, "see /proc/sys/fs/epoll/max_user_watches",
	                           "the event loop cannot watch what wakes it");
}

static void on_far_off(struct ev_loop *loop, ev_periodic *watcher, int events)
{
	(void)loop;
	(void)watcher;
	(void)events;
}

/*
 * libev never waits longer than a minute, to see whether the wall clock was set; but with a
 * periodic watcher it has the kernel tell it (timerfd), and waits until there is something to
 * do. So there is one, for a time that never comes: an idle guest costs no wake-up at all.
 */
struct ev_loop *loop_create(ev_async *wake, struct err *err)
{
	struct ev_loop *loop;

	memory.bytes = malloc(MEMORY_BYTES);
	memory.used = 0;
	if (memory.bytes == NULL) {
		err_system(err, ENOMEM, NULL, "cannot create the event loop");
		return NULL;
	}
	ev_set_allocator(take);
	ev_set_syserr_cb(give_up);
	loop = ev_loop_new(EVFLAG_NOENV | EVBACKEND_EPOLL);
	if (loop == NULL) {
		err_system(err, errno, NULL, "cannot create the event loop");
		loop_destroy(loop);
		return NULL;
	}
	ev_async_start(loop, wake);
	ev_periodic_init(&far_off, on_far_off, FAR_OFF_S, 0., NULL);
	ev_periodic_start(loop, &far_off);
	if (try_out(loop, err))
		return loop;
	ev_async_stop(loop, wake);
	loop_destroy(loop);
	return NULL;
}

void loop_destroy(struct ev_loop *loop)
{
	if (loop != NULL) {
		ev_periodic_stop(loop, &far_off);
		ev_loop_destroy(loop);
	}
	free(memory.bytes);
	memory.bytes = NULL;
}
