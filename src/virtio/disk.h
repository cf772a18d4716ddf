/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk.h - what is behind a block device: a raw image in a file, or a block device of the host, and
 * the engines that move data to and from it.
 *
 * An image is locked as QEMU locks its images: there is one writer, or there are readers. Who of
 * the two came second is refused, whichever program the first is.
 */
#ifndef PAPRIKA_VIRTIO_DISK_H
#define PAPRIKA_VIRTIO_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "virtio/queue.h"

enum { DISK_SECTOR_BYTES = 512 };

struct disk_rings;

struct disk {
	int fd;    /* owned */
	bool lent; /* not closed with the disk: it goes on being its owner's */
	bool readonly;
	bool direct;           /* past the host's page cache */
	uint64_t bytes;        /* a multiple of block_bytes */
	uint32_t block_bytes;  /* what offsets and lengths are multiples of; 512 or more */
	uint32_t memory_align; /* what addresses of buffers are multiples of, if direct */
	bool discard, zero;    /* it can */
	/* Where its rings come from; NULL: they are made. */
	struct disk_rings *rings;
};

/* Open a file or block device by its path, and lock it. The messages name the path, the hints
 * options of --disk. Operator's thread. */
bool disk_open(
    struct disk *ret_disk, const char *path, bool readonly, bool direct, struct err *err);

/* The same with a descriptor that something else has opened, which says whether it is read-only and
 * direct. `name` is for messages. On failure the descriptor stays the caller's. */
bool disk_take(struct disk *ret_disk, int fd, const char *name, bool readonly, struct err *err);

/* Close it, which ends the lock. */
void disk_close(struct disk *disk);

/* --- Engines ---------------------------------------------------------------------------------- */

enum disk_operation { DISK_READ, DISK_WRITE, DISK_FLUSH, DISK_DISCARD, DISK_ZERO };

/* A request is the engine's from begin() to collect(). */
struct disk_request {
	enum disk_operation operation;
	bool durable;    /* DISK_WRITE: on stable storage when it ends */
	bool unmap;      /* DISK_ZERO: the space may be given back */
	uint64_t offset; /* bytes; with those of data it is within the disk */
	/* What is left to do; of a discard or zeroes the bytes alone. */
	struct virtio_buffers data;
	int error;                 /* when it has ended: 0 or an errno */
	struct disk_request *next; /* the engine's */
};

/* Moves data. A lane serves one thread; only open and close may be called by another. */
struct disk_engine {
	const char *name;
	/* At most VIRTIO_QUEUE_SIZE_MAX requests will be begun and not collected. After submit(),
	 * if anything is to collect that was not there before, the doorbell is rung. The disk
	 * outlives the lane.
	 */
	void *(*open)(const struct disk *disk, int doorbell, struct err *err);
	void (*close)(void *lane); /* nothing is in flight */
	void (*begin)(void *lane, struct disk_request *request);
	void (*submit)(void *lane); /* let the host's kernel begin what has been begun */
	struct disk_request *(*collect)(void *lane); /* one that has ended, or NULL */
};

/* One after the other, in the calling thread: what has been begun has ended. */
extern const struct disk_engine disk_engine_sync;

/* By io_uring, restricted to these requests on the disk's descriptor. Not every host lets us have
 * it: then open() fails. */
extern const struct disk_engine disk_engine_uring;

/* Rings of io_uring that are made while the program may make some, for the queues of disks that
 * come later. Operator's thread. At most count of them; NULL if there are none. destroy takes NULL,
 * after the disks that have one. */
enum { DISK_RINGS_MAX = 16 };
struct disk_rings *disk_rings_create(unsigned count);
void disk_rings_destroy(struct disk_rings *rings);

#endif
