/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model.h - what a device model (blk.c, rng.c) gives to device.c, and gets from it.
 *
 * A model has a lane for each queue, with what the queue's thread needs to serve it. All functions
 * with a lane, but open and close, are called by this thread alone.
 */
#ifndef PAPRIKA_VIRTIO_MODEL_H
#define PAPRIKA_VIRTIO_MODEL_H

#include <poll.h>

#include "virtio/device.h"

struct virtio_worker; /* a queue and its thread */

struct virtio_model_ops {
	struct virtio_kind kind;
	/* Make a lane; NULL with *err filled. The doorbell can be rung by asynchronous I/O. */
	void *(*open)(void *model, struct virtio_worker *worker, int doorbell, struct err *err);
	void (*close)(void *lane);
	void (*destroy)(void *model); /* after the lanes */
	/* The driver has started the device, with other features perhaps; may be NULL. */
	void (*started)(void *lane);
	/* What to wait for besides the doorbell, as poll() takes it; a negative fd: for nothing.
	 * POLLHUP and POLLERR come unasked, and also at rest, when `serves` is false. May be NULL.
	 */
	struct pollfd (*wait)(void *lane, bool serves);
	/* ... and it is there. */
	void (*woken)(void *lane, short events);
	/* Where the next request goes. There must be room for VIRTIO_QUEUE_SIZE_MAX of them, if
	 * request() does not answer at once. NULL: none is taken until the lane is woken. */
	struct virtio_chain *(*room)(void *lane);
	/* Answer it with virtio_answer(), now or later. What the driver asks wrongly is answered,
	 * too. */
	void (*request)(void *lane, struct virtio_chain *chain);
	/* The same with an error, at once: the device is cut off. NULL: as if it were not. */
	void (*refuse)(void *lane, struct virtio_chain *chain);
	/* The device is cut off, or is not any more, by the operator's thread; may be NULL. */
	void (*cut_off)(struct virtio_device *device, void *self, bool off);
	/* Nothing more to take for now, after some requests; may be NULL. */
	void (*submit)(void *lane);
	/* The doorbell has rung: answer what is done; may be NULL. */
	void (*collect)(void *lane);
};

struct virtio_model {
	const struct virtio_model_ops *ops;
	void *self;        /* for open and destroy */
	const char *name;  /* for threads and messages, is copied */
	uint64_t features; /* besides those of rings */
	unsigned queues;   /* 1 to VIRTIO_QUEUES_MAX */
	void *config;      /* as the driver reads it, part of self: see virtio_set_config() */
	size_t config_bytes;
};

/* A device at rest, which owns model->self from then on. If it cannot be made: NULL with *err
 * filled, and the model's destroy() has been called. */
struct virtio_device *virtio_create(
    const struct virtio_model *model, const struct gmem *gmem, struct err *err);

/* model->self. */
void *virtio_model(const struct virtio_device *device);

/* The request is done. `written` is as in virtqueue_push(). */
void virtio_answer(struct virtio_worker *worker, uint16_t head, uint32_t written);

/* The request does not have what every request of this kind has, so that the driver cannot be told
 * in the request: it is pushed with length 0, and the queue is broken (queue.h). */
void virtio_reject(struct virtio_worker *worker, uint16_t head, const char *reason);

/* The worker's device. */
struct virtio_device *virtio_worker_device(const struct virtio_worker *worker);

/* Have its thread look again at what it waits for. Any thread. */
void virtio_wake(struct virtio_worker *worker);

/* What the driver has accepted. */
uint64_t virtio_accepted(const struct virtio_worker *worker);

/* How many requests the driver can have in flight. */
unsigned virtio_queue_size(const struct virtio_worker *worker);

/* virtio_stop() has been called: what is in flight has to be answered now. */
bool virtio_is_stopping(const struct virtio_worker *worker);

/* Change bytes of the configuration space, and tell the driver. Any thread. */
void virtio_set_config(
    struct virtio_device *device, size_t offset, const void *from, size_t length);

#endif
