/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk_request.h - a block device's requests: what the driver asks, what the disk is asked, and the
 * answer. For blk.c, which makes the device.
 */
#ifndef PAPRIKA_VIRTIO_BLK_REQUEST_H
#define PAPRIKA_VIRTIO_BLK_REQUEST_H

#include <stdatomic.h>

#include "virtio/blk.h"
#include "virtio/model.h"

/* In one discard or write of zeroes, a call of fallocate() that is not to take for ever: 1 GiB. */
enum { RANGE_SECTORS_MAX = 1 << 21 };

/* What a queue has done; written by its thread. */
struct blk_counts {
	_Atomic uint64_t requests, read_bytes, written_bytes, errors;
};

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
	struct blk_counts counts;
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
	unsigned lane_count;
	struct blk_lane *lanes[VIRTIO_QUEUES_MAX];
};

/* struct virtio_model_ops; `lane` is a struct blk_lane. */
struct virtio_chain *blk_room(void *lane);
void blk_request(void *lane, struct virtio_chain *chain);
void blk_refuse(void *lane, struct virtio_chain *chain);
void blk_submit(void *lane);
void blk_collect(void *lane);

#endif
