/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk_disk.c - see blk_request.h: what a block device's requests ask of the disk, and how that
 * ends.
 *
 * Of requests that come together, neighbours on the disk are one request of the disk's: a driver
 * may not merge its own, and for a disk of the host one long request is less work than many short
 * ones.
 */
#include "virtio/blk_request.h"
#include "virtio/disk_sync.h"

#include <errno.h>

/* --- Ends --------------------------------------------------------------------------------------
 */

/* The disk has done it or failed. */
static void blk_end_one(struct blk_lane *lane, struct blk_request *request)
{
	const struct disk_request *disk = &request->disk;
	const struct blk *blk = lane->blk;
	const struct virtio_blk_error error = {.operation = disk->operation,
	    .sector = disk->offset / DISK_SECTOR_BYTES,
	    .bytes = disk->data.bytes,
	    .error = disk->error};
	bool read = disk->operation == DISK_READ;

	if (disk->error == 0) {
		blk_answer(lane, request, BLK_OK, read ? request->bytes + 1 : 1);
		return;
	}
	if (disk->error == EOPNOTSUPP && disk->operation != DISK_FLUSH && !read &&
	    disk->operation != DISK_WRITE) {
		blk_answer(lane, request, BLK_UNSUPP, 1);
		return;
	}
	if (blk->error != NULL)
		blk->error(blk->context, &error);
	blk_answer(lane, request, BLK_IOERR, read ? 0 : 1);
}

/* With neighbours, the disk has failed somewhere in them. What it had done before counts; each of
 * the others is asked by itself, so that each has the answer that is true of it. */
static void blk_end_apart(struct blk_lane *lane, struct blk_request *first)
{
	uint64_t done = 0;

	for (const struct blk_request *one = first; one != NULL; one = one->more)
		done += one->bytes;
	done -= first->disk.data.bytes;
	for (struct blk_request *one = first, *next; one != NULL; one = next) {
		struct virtio_buffers *data = &one->disk.data;

		next = one->more;
		one->more = NULL;
		if (done >= one->bytes) {
			done -= one->bytes;
			one->disk.error = 0;
			blk_end_one(lane, one);
			continue;
		}
		if (one == first) {
			data->count = (unsigned)(one->end - data->list);
			data->bytes = one->bytes - done;
		}
		done = 0;
		lane->ops->begin(lane->engine, &one->disk);
	}
	lane->ops->submit(lane->engine);
}

static void blk_end(struct blk_lane *lane, struct blk_request *request)
{
	struct blk_request *next = request->more;

	if (next != NULL && request->disk.error != 0) {
		blk_end_apart(lane, request);
		return;
	}
	blk_end_one(lane, request);
	while ((request = next) != NULL) {
		next = request->more;
		request->disk.error = 0;
		blk_end_one(lane, request);
	}
}

void blk_collect(void *lane)
{
	struct blk_lane *blk = lane;
	struct disk_request *request;

	while ((request = blk->ops->collect(blk->engine)) != NULL)
		blk_end(blk, (struct blk_request *)(void *)request);
}

/* --- Beginnings --------------------------------------------------------------------------------
 */

static void blk_begin_held(struct blk_lane *lane)
{
	struct blk_request *held = lane->held;

	lane->held = NULL;
	if (held != NULL)
		lane->ops->begin(lane->engine, &held->disk);
}

/* Ask it with what is held, if it is the neighbour and there is room. */
static bool blk_join(struct blk_lane *lane, struct blk_request *request)
{
	struct disk_request *to = lane->held != NULL ? &lane->held->disk : NULL;
	const struct virtio_buffers *data = &request->disk.data;

	if (to == NULL || to->operation != request->disk.operation ||
	    to->offset + to->data.bytes != request->disk.offset ||
	    to->data.bytes + data->bytes > NEIGHBOURS_BYTES_MAX ||
	    to->data.list + to->data.count + data->count >
	        lane->held->chain.list + VIRTIO_BUFFERS_MAX)
		return false;
	/* Behind its data there is nothing any more: the status has been found. */
	for (unsigned i = 0; i < data->count; i++)
		to->data.list[to->data.count++] = data->list[i];
	to->data.bytes += data->bytes;
	lane->held_last->more = request;
	lane->held_last = request;
	return true;
}

void blk_begin(struct blk_lane *lane, struct blk_request *request, const struct disk_request *disk)
{
	bool transfer = disk->operation == DISK_READ || disk->operation == DISK_WRITE;

	request->disk = *disk;
	request->bytes = disk->data.bytes;
	request->more = NULL;
	/* What has to be copied to where the disk can take it is asked by itself. */
	if (!transfer || !disk_takes(&lane->blk->disk, disk)) {
		blk_begin_held(lane);
		lane->ops->begin(lane->engine, &request->disk);
	} else if (!blk_join(lane, request)) {
		blk_begin_held(lane);
		request->end = disk->data.list + disk->data.count;
		lane->held = lane->held_last = request;
	}
	blk_collect(lane);
}

void blk_submit(void *lane)
{
	struct blk_lane *blk = lane;

	blk_begin_held(blk);
	blk->ops->submit(blk->engine);
	blk_collect(blk);
}
