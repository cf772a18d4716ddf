/* SPDX-License-Identifier: Apache-2.0 */
/* disk_sync.c - the engine that does a request in the calling thread: preadv2, pwritev2. */
#include "virtio/disk_sync.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* --- One request -------------------------------------------------------------------------------
 */

bool disk_bounce_create(const struct disk *disk, void **ret_bounce, struct err *err)
{
	size_t align = disk->memory_align > 4096 ? disk->memory_align : 4096;
	int error = 0;

	*ret_bounce = NULL;
	if (disk->direct)
		error = posix_memalign(ret_bounce, align, DISK_BOUNCE_BYTES);
	return error == 0 || err_system(err, error, NULL, "cannot prepare a disk");
}

bool disk_takes(const struct disk *disk, const struct disk_request *request)
{
	uint64_t mask = disk->memory_align - 1;

	for (unsigned i = 0; disk->direct && i < request->data.count; i++) {
		const struct iovec *buffer = &request->data.list[i];

		if (((uintptr_t)buffer->iov_base & mask) != 0 ||
		    buffer->iov_len % disk->block_bytes != 0)
			return false;
	}
	return true;
}

/* How many bytes, or a negative errno. */
static ssize_t disk_move(const struct disk *disk, const struct disk_request *request,
    const struct iovec *list, unsigned count)
{
	off_t offset = (off_t)request->offset;
	ssize_t moved;

	do {
		if (request->operation == DISK_READ)
			moved = preadv2(disk->fd, list, (int)count, offset, 0);
		else
			moved = pwritev2(
			    disk->fd, list, (int)count, offset, request->durable ? RWF_DSYNC : 0);
	} while (moved < 0 && errno == EINTR);
	if (moved < 0)
		return -errno;
	/* 0: the file has been made shorter. */
	return moved > 0 ? moved : -EIO;
}

/* A part of the rest, through the bounce buffer. What a call did not write is still there. */
static ssize_t disk_bounce(const struct disk *disk, struct disk_request *request, uint8_t *bounce)
{
	uint64_t rest = request->data.bytes;
	size_t length = rest < DISK_BOUNCE_BYTES ? (size_t)rest : DISK_BOUNCE_BYTES;
	size_t done = 0;
	ssize_t moved = 0;

	if (request->operation == DISK_WRITE)
		virtio_buffers_read(&request->data, bounce, length);
	while (done < length) {
		struct iovec part = {.iov_base = bounce + done, .iov_len = length - done};

		moved = disk_move(disk, request, &part, 1);
		if (moved < 0)
			break;
		if (request->operation == DISK_READ)
			virtio_buffers_write(&request->data, part.iov_base, (size_t)moved);
		request->offset += (uint64_t)moved;
		done += (size_t)moved;
	}
	if (request->operation == DISK_WRITE)
		request->data.bytes += length - done; /* for the report of an error */
	return moved;
}

static int disk_transfer(const struct disk *disk, struct disk_request *request, uint8_t *bounce)
{
	bool takes = disk_takes(disk, request);

	while (request->data.bytes > 0) {
		ssize_t moved;

		if (takes)
			moved = disk_move(disk, request, request->data.list, request->data.count);
		else
			moved = disk_bounce(disk, request, bounce);
		if (moved < 0)
			return (int)-moved;
		if (takes) {
			virtio_buffers_read(&request->data, NULL, (size_t)moved);
			request->offset += (uint64_t)moved;
		}
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
			    (off_t)request->offset, (off_t)request->data.bytes);
	} while (result < 0 && errno == EINTR);
	return result < 0 ? errno : 0;
}

void disk_execute(const struct disk *disk, struct disk_request *request, void *bounce)
{
	if (request->operation == DISK_READ || request->operation == DISK_WRITE)
		request->error = disk_transfer(disk, request, bounce);
	else
		request->error = disk_change(disk, request);
}

/* --- The engine --------------------------------------------------------------------------------
 */

struct sync_lane {
	const struct disk *disk;
	void *bounce;
	struct disk_request *ended;
};

static void *sync_open(const struct disk *disk, int doorbell, struct err *err)
{
	struct sync_lane *lane = calloc(1, sizeof *lane);

	if (lane == NULL) {
		err_system(err, ENOMEM, NULL, "cannot prepare a disk");
		return NULL;
	}
	lane->disk = disk;
	if (disk_bounce_create(disk, &lane->bounce, err))
		return lane;
	free(lane);
	return NULL;
}

static void sync_close(void *lane)
{
	free(((struct sync_lane *)lane)->bounce);
	free(lane);
}

static void sync_begin(void *lane, struct disk_request *request)
{
	struct sync_lane *sync = lane;

	disk_execute(sync->disk, request, sync->bounce);
	request->next = sync->ended;
	sync->ended = request;
}

static void sync_submit(void *lane)
{
}

static struct disk_request *sync_collect(void *lane)
{
	struct sync_lane *sync = lane;
	struct disk_request *request = sync->ended;

	if (request != NULL)
		sync->ended = request->next;
	return request;
}

const struct disk_engine disk_engine_sync = {
    .name = "sync",
    .open = sync_open,
    .close = sync_close,
    .begin = sync_begin,
    .submit = sync_submit,
    .collect = sync_collect,
};
