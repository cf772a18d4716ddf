/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk_fixture.h - a block device above a file in memory, a driver that asks it, and an engine that
 * fails or waits as the test says.
 */
#ifndef PAPRIKA_BLK_FIXTURE_H
#define PAPRIKA_BLK_FIXTURE_H

#include "virtio_driver.h"

#include <stdatomic.h>

#include "virtio/blk.h"

#define MIB (UINT64_C(1) << 20)

enum { IN = 0, OUT = 1, FLUSH = 4, GET_ID = 8, DISCARD = 11, ZEROES = 13 };
enum { OK = 0, IOERR = 1, UNSUPP = 2, UNTOUCHED = 0xee };
enum { SECTORS = 2048, SIZE = 256, QUEUES = 4 };
/* Guest memory: rings from 64 KiB on, a page for headers, one for status bytes, tables, and data.
 */
enum { HEADERS = 0x100000, STATUSES = 0x110000, TABLES = 0x120000, DATA = 0x400000 };

/* --- An engine of the test's own ---------------------------------------------------------------
 */

/* What it was asked to do, and what it answers. Guarded by its lock. */
struct fake_disk {
	pthread_mutex_t lock;
	bool hold;     /* nothing ends until it is released */
	int error;     /* of the next requests */
	uint64_t done; /* bytes done in front of the error */
	unsigned begun;
	_Atomic unsigned submitted;
	struct disk_request last; /* as it was begun */
	struct disk_request *held, *ended;
	bool fail_open;
	uint64_t bad; /* a transfer that contains this byte fails there, if it is not 0 */
};

extern struct fake_disk fake;
extern const struct disk_engine fake_engine;

struct fixture {
	struct gmem gmem;
	int fd; /* of the disk's file */
	struct virtio_device *device;
	struct driver_transport transport;
	struct driver_queue queues[QUEUES];
	unsigned requests; /* sent, for their places in memory */
	/* Of the error callback; read when the request has been answered. */
	struct virtio_blk_error error;
	_Atomic unsigned errors;
};

int set_up(void **state);
int tear_down(void **state);

/* A device above a disk that is like this one, but for its descriptor and size. */
struct virtio_device *make(struct fixture *f, struct disk disk, unsigned queues,
    const struct disk_engine *engine, struct err *err);

/* Let its driver begin, with all features but these. */
void start(struct fixture *f, uint64_t without);

/* Both, with one queue, in f->device. */
void begin(struct fixture *f, struct disk disk, const struct disk_engine *engine);

struct request {
	uint32_t type;
	uint64_t sector;
	uint64_t data; /* where, */
	uint32_t bytes;
	unsigned queue;
	uint32_t piece; /* header, data and status in descriptors of this length; 0: one each */
};

/* Put it where it can be made available, with others at once; its number is returned. */
unsigned prepare(struct fixture *f, const struct request *request);

/* Make it available; its number is returned. */
unsigned offer(struct fixture *f, const struct request *request);

uint8_t status_of(const struct fixture *f, unsigned n);

/* Send it and wait for its status. ret_written may be NULL. */
uint8_t ask(struct fixture *f, const struct request *request, uint32_t *ret_written);

#define ASK(...) ask(f, &(struct request){__VA_ARGS__}, NULL)

/* Discard or zero sectors. */
uint8_t ask_range(
    struct fixture *f, uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags);

/* Data that differs by seed. */
void fill(struct fixture *f, uint64_t at, uint32_t bytes, uint8_t seed);

#endif
