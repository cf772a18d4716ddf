/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model.h - what a device model (blk.c, rng.c) gives to device.c, and gets from it.
 *
 * A model has a lane for each queue, with what the queue's thread needs to serve it. All functions
 * with a lane, but open and close, are called by this thread alone.
 */
#ifndef PAPRIKA_VIRTIO_MODEL_H
#define PAPRIKA_VIRTIO_MODEL_H

#include "virtio/device.h"

struct virtio_worker; /* a queue and its thread */

struct virtio_model_ops {
	struct virtio_kind kind;
	/* Make a lane; NULL with *err filled. The doorbell can be rung by asynchronous I/O. */
	void *(*open)(void *model, struct virtio_worker *worker, int doorbell, struct err *err);
	void (*close)(void *lane);
	void (*destroy)(void *model); /* after the lanes */
	/* Where the next request goes. There must be room for VIRTIO_QUEUE_SIZE_MAX of them, if
	 * request() does not answer at once. */
	struct virtio_chain *(*room)(void *lane);
	/* Answer it with virtio_answer(), now or later. What the driver asks wrongly is answered,
	 * too. */
	void (*request)(void *lane, struct virtio_chain *chain);
	/* The same with an error, at once: the device is cut off. NULL: as if it were not. */
	void (*refuse)(void *lane, struct virtio_chain *chain);
	/* Nothing more to take for now, after some requests; may be NULL. */
	void (*submit)(void *lane);
	/* The doorbell has rung: answer what is done; may be NULL. */
	void (*collect)(void *lane);
};

struct virtio_model {
	const struct virtio_model_ops *ops;
	void *self;         /* for open and destroy */
	const char *name;   /* for threads and messages, is copied */
	uint64_t features;  /* besides those of rings */
	unsigned queues;    /* 1 to VIRTIO_QUEUES_MAX */
	const void *config; /* as the driver reads it; constant, part of self */
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

/* What the driver has accepted. */
uint64_t virtio_accepted(const struct virtio_worker *worker);

#endif
