/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk_request.h - a block device's requests: what the driver asks, what the disk is asked, and the
 * answer. For blk.c, which makes the device.
 */
#ifndef PAPRIKA_VIRTIO_BLK_REQUEST_H
#define PAPRIKA_VIRTIO_BLK_REQUEST_H

#include "virtio/blk.h"
#include "virtio/model.h"

/* In one discard or write of zeroes, a call of fallocate() that is not to take for ever: 1 GiB. */
enum { RANGE_SECTORS_MAX = 1 << 21 };

struct blk_request {
	struct disk_request disk; /* first: engines return it */
	struct virtio_chain chain;
	uint8_t *status;
	uint64_t bytes; /* of data */
};

/* All that the driver can have in flight, and one to pop into. */
enum { REQUESTS = VIRTIO_QUEUE_SIZE_MAX + 1 };

/* Free requests are a stack, so that memory is touched for as many only as have ever been in flight
 * at once. */
struct blk_lane {
	struct blk *blk;
	struct virtio_worker *worker;
	const struct disk_engine *ops;
	void *engine;
	struct blk_request *requests;
	unsigned free_count;
	uint16_t free[REQUESTS];
};

struct blk {
	struct disk disk;
	const struct disk_engine *engine; /* that was asked for; NULL: io_uring if there is one */
	char serial[VIRTIO_BLK_SERIAL_BYTES];
	void (*error)(void *context, const struct virtio_blk_error *error);
	void *context;
};

/* struct virtio_model_ops; `lane` is a struct blk_lane. */
struct virtio_chain *blk_room(void *lane);
void blk_request(void *lane, struct virtio_chain *chain);
void blk_refuse(void *lane, struct virtio_chain *chain);
void blk_submit(void *lane);
void blk_collect(void *lane);

#endif
