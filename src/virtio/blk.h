/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk.h - the block device (virtio 1.2, section 5.2), above a disk.
 *
 * Whatever goes wrong is answered to the driver in the request's status. What the host's disk did
 * wrong is told to the operator as well.
 */
#ifndef PAPRIKA_VIRTIO_BLK_H
#define PAPRIKA_VIRTIO_BLK_H

#include "virtio/device.h"
#include "virtio/disk.h"

enum { VIRTIO_BLK_ID = 2, VIRTIO_BLK_SERIAL_BYTES = 20 };

/* A request that the disk has failed. */
struct virtio_blk_error {
	enum disk_operation operation;
	uint64_t sector; /* of 512 bytes; 0 for a flush */
	uint64_t bytes;  /* that were not done */
	int error;       /* an errno */
};

struct virtio_blk_config {
	struct disk disk;   /* is closed with the device */
	const char *name;   /* for messages and the threads' names */
	const char *serial; /* at most VIRTIO_BLK_SERIAL_BYTES characters; the rest is cut */
	unsigned queues;    /* 1 to VIRTIO_QUEUES_MAX */
	const struct disk_engine *engine; /* NULL: io_uring if the host lets us, else sync */
	/* Called by a queue's thread, so it must not wait. May be NULL. */
	void (*error)(void *context, const struct virtio_blk_error *error);
	void *context;
};

/* A device at rest. If it cannot be made: NULL with *err filled, and the disk is closed. */
struct virtio_device *virtio_blk_create(
    const struct virtio_blk_config *config, const struct gmem *gmem, struct err *err);

/* Bits of the features, section 5.2.3. */
#define VIRTIO_BLK_F_SIZE_MAX (UINT64_C(1) << 1)
#define VIRTIO_BLK_F_SEG_MAX (UINT64_C(1) << 2)
#define VIRTIO_BLK_F_GEOMETRY (UINT64_C(1) << 4)
#define VIRTIO_BLK_F_RO (UINT64_C(1) << 5)
#define VIRTIO_BLK_F_BLK_SIZE (UINT64_C(1) << 6)
#define VIRTIO_BLK_F_FLUSH (UINT64_C(1) << 9)
#define VIRTIO_BLK_F_TOPOLOGY (UINT64_C(1) << 10)
#define VIRTIO_BLK_F_MQ (UINT64_C(1) << 12)
#define VIRTIO_BLK_F_DISCARD (UINT64_C(1) << 13)
#define VIRTIO_BLK_F_WRITE_ZEROES (UINT64_C(1) << 14)

#endif
