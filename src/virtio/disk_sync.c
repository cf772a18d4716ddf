/* SPDX-License-Identifier: Apache-2.0 */
/* disk_sync.c - the engine that does a request in the calling thread: preadv2, pwritev2. */
#include "virtio/disk_sync.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* What is done goes from the request's front. */
void disk_advance(struct disk_request *request, uint64_t bytes)
{
	request->offset += bytes;
	request->bytes -= bytes;
	while (bytes > 0) {
		struct iovec *first = request->list;
		size_t part = first->iov_len < bytes ? first->iov_len : (size_t)bytes;

		first->iov_base = (uint8_t *)first->iov_base + part;
		first->iov_len -= part;
		bytes -= part;
		if (first->iov_len == 0) {
			request->list++;
			request->count--;
		}
	}
}

/* Moves something of the rest: how much, or a negative errno. */
static ssize_t disk_move(const struct disk *disk, const struct disk_request *request)
{
	int count = (int)request->count;
	off_t offset = (off_t)request->offset;
	ssize_t moved;

	if (request->operation == DISK_READ)
		moved = preadv2(disk->fd, request->list, count, offset, 0);
	else
		moved = pwritev2(
		    disk->fd, request->list, count, offset, request->durable ? RWF_DSYNC : 0);
	if (moved < 0)
		return -errno;
	/* The file has been made shorter. */
	return moved > 0 ? moved : -EIO;
}

static int disk_transfer(const struct disk *disk, struct disk_request *request)
{
	while (request->bytes > 0) {
		ssize_t moved = disk_move(disk, request);

		if (moved < 0 && moved != -EINTR)
			return (int)-moved;
		if (moved > 0)
			disk_advance(request, (uint64_t)moved);
	}
	return 0;
}

/* Zeroing without unmap keeps the space. */
int disk_fallocate_mode(const struct disk_request *request)
{
	if (request->operation == DISK_ZERO && !request->unmap)
		return FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
	return FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
}

static int disk_change(const struct disk *disk, const struct disk_request *request)
{
	int result;

	do {
		if (request->operation == DISK_FLUSH)
			result = fdatasync(disk->fd);
		else
			result = fallocate(disk->fd, disk_fallocate_mode(request),
			    (off_t)request->offset, (off_t)request->bytes);
	} while (result < 0 && errno == EINTR);
	return result < 0 ? errno : 0;
}

void disk_execute(const struct disk *disk, struct disk_request *request)
{
	if (request->operation == DISK_READ || request->operation == DISK_WRITE)
		request->error = disk_transfer(disk, request);
	else
		request->error = disk_change(disk, request);
}

struct lane {
	const struct disk *disk;
	struct disk_request *ended;
};

static void *sync_open(const struct disk *disk, unsigned depth, int doorbell, struct err *err)
{
	struct lane *lane = calloc(1, sizeof *lane);

	if (lane == NULL)
		err_system(err, ENOMEM, NULL, "cannot prepare a disk");
	else
		lane->disk = disk;
	return lane;
}

static void sync_begin(void *lane, struct disk_request *request)
{
	struct lane *sync = lane;

	disk_execute(sync->disk, request);
	request->next = sync->ended;
	sync->ended = request;
}

static void sync_submit(void *lane)
{
}

static struct disk_request *sync_collect(void *lane)
{
	struct lane *sync = lane;
	struct disk_request *request = sync->ended;

	if (request != NULL)
		sync->ended = request->next;
	return request;
}

const struct disk_engine disk_engine_sync = {
    .name = "sync",
    .open = sync_open,
    .close = free,
    .begin = sync_begin,
    .submit = sync_submit,
    .collect = sync_collect,
};
