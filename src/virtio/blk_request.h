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

/* Neighbours that come together are one request of the disk's, up to so much data. */
enum { NEIGHBOURS_BYTES_MAX = 256 << 10 };

struct blk_request {
	struct disk_request disk; /* first: engines return it */
	struct virtio_chain chain;
	uint8_t *status;
	uint64_t bytes; /* of data */
	/* Those that are asked of the disk with it, by offset. Then disk.data is the data of all,
	 * in chain.list, and its own ends at `end`. */
	struct blk_request *more;
	const struct iovec *end;
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
	/* Not begun yet, because the next may be its neighbour; and the last of its neighbours. */
	struct blk_request *held, *held_last;
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

/* Section 5.2.6. */
enum blk_status { BLK_OK = 0, BLK_IOERR = 1, BLK_UNSUPP = 2 };

/* Answer it. What was written is only said if it is known: a failed read may have filled anything.
 */
void blk_answer(
    struct blk_lane *lane, struct blk_request *request, enum blk_status status, uint64_t written);

/* Ask the disk, at the latest in blk_submit(), and answer it when the disk has done it or failed.
 */
void blk_begin(struct blk_lane *lane, struct blk_request *request, const struct disk_request *disk);

/* struct virtio_model_ops; `lane` is a struct blk_lane. */
struct virtio_chain *blk_room(void *lane);
void blk_request(void *lane, struct virtio_chain *chain);
void blk_refuse(void *lane, struct virtio_chain *chain);
void blk_submit(void *lane);
void blk_collect(void *lane);

#endif
