/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue.h - one split virtqueue (virtio 1.2, section 2.7), the device's side. The only code that
 * reads rings.
 *
 * A queue is used by one thread, without a lock. Whatever is in guest memory may be wrong, and may
 * change while it is read. Each descriptor is copied once; a chain has at most
 * VIRTIO_QUEUE_SIZE_MAX of them, direct and indirect ones together.
 *
 * There is one rule for all errors of the driver: the queue is `broken`. Nothing is popped from it
 * any more, and the device asks for a reset. What was popped before is pushed as ever. So each head
 * that is popped is pushed exactly once.
 */
#ifndef PAPRIKA_VIRTIO_QUEUE_H
#define PAPRIKA_VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem/gmem.h"

enum {
	VIRTIO_QUEUE_SIZE_MAX = 256,
	/* Buffers of one chain: 128 for data, the rest for a header and a status byte cut in an
	 * unusual way. A longer chain breaks the queue. */
	VIRTIO_BUFFERS_MAX = 160,
};

#define VIRTIO_F_INDIRECT_DESC (UINT64_C(1) << 28)
#define VIRTIO_F_EVENT_IDX (UINT64_C(1) << 29)
#define VIRTIO_F_VERSION_1 (UINT64_C(1) << 32)

/* Where the driver has put a queue; checked by virtqueue_start(). */
struct virtio_rings {
	bool enabled;
	uint16_t size;                        /* descriptors */
	uint64_t descriptors, driver, device; /* guest addresses */
};

/* Buffers of one direction; bytes is their sum. */
struct virtio_buffers {
	struct iovec *list;
	unsigned count;
	uint64_t bytes;
};

/* A request of the driver: what the device reads, and what it writes. */
struct virtio_chain {
	uint16_t head;
	struct virtio_buffers readable, writable; /* parts of list, in this order */
	struct iovec list[VIRTIO_BUFFERS_MAX];
};

struct virtqueue {
	const struct gmem *gmem;
	uint64_t descriptors, available, used; /* guest addresses */
	uint16_t size;
	bool event_index, indirect;       /* features that the driver has accepted */
	bool broken;                      /* the driver has broken the rules */
	const char *reason;               /* ... of which this is the first */
	uint16_t next;                    /* position in the available ring */
	uint16_t seen;                    /* the available index, as last read */
	uint16_t pushed;                  /* position in the used ring */
	uint16_t told;                    /* ... when virtqueue_wants_interrupt() was last asked */
	uint16_t in_flight;               /* popped and not pushed */
	bool busy[VIRTIO_QUEUE_SIZE_MAX]; /* heads in flight */
};

/* Begin with empty rings. False if the size is 0, no power of two or too large, or a ring is not
 * aligned or not RAM (section 2.7): then *queue is as before. */
bool virtqueue_start(struct virtqueue *queue, const struct gmem *gmem, uint64_t features,
    const struct virtio_rings *rings);

/* The next request; false if there is none, or the queue is broken. */
bool virtqueue_pop(struct virtqueue *queue, struct virtio_chain *ret_chain);

/* The driver has broken the rules, of which `reason` says the first. Returns false. */
bool virtqueue_break(struct virtqueue *queue, const char *reason);

/* A popped head is done, the first `written` bytes of its writable buffers are filled. */
void virtqueue_push(struct virtqueue *queue, uint16_t head, uint32_t written);

/* Does the driver want an interrupt for what was pushed since this was last asked? */
bool virtqueue_wants_interrupt(struct virtqueue *queue);

/* While requests are taken no notification is needed: tell the driver (a wish). Then, before
 * waiting, ask for one again; true if there are requests that it may not notify of. */
void virtqueue_quiet(struct virtqueue *queue);
bool virtqueue_listen(struct virtqueue *queue);

/* Take bytes off the front of buffers: copied, or passed over if `to` is NULL. False if there are
 * not as many: then nothing is taken. The bytes of guest memory are read once. */
bool virtio_buffers_read(struct virtio_buffers *buffers, void *to, size_t length);
bool virtio_buffers_write(struct virtio_buffers *buffers, const void *from, size_t length);

/* Take the last byte off, such as a status; NULL if there is none. */
uint8_t *virtio_buffers_take_last(struct virtio_buffers *buffers);

#endif
