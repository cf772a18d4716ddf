/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_uring.c - the engine that leaves requests to the host's kernel: io_uring.
 *
 * A ring can do no more than the sync engine does: it is restricted to these operations on the one
 * registered file before it is enabled, so whoever has taken over a queue's thread cannot open
 * anything with it. (Another file is registered by the operator's thread only: those of queues lack
 * the system call.) The end of a request rings the queue's doorbell.
 */
#include "virtio/disk_sync.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

struct uring_lane {
	const struct disk *disk;
	struct io_uring *ring;
	void *bounce;
	bool failed; /* the ring does not take requests any more: they are executed here */
	struct disk_request *ended;
};

/* --- Rings -------------------------------------------------------------------------------------
 */

/* A stack. */
struct disk_rings {
	unsigned count;
	struct io_uring *list[DISK_RINGS_MAX];
};

static const int no_file = -1;

/* 0 or a negative errno. What may still be registered is the file and the doorbell. */
static int ring_restrict(struct io_uring *ring)
{
	struct io_uring_restriction rules[] = {
	    {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READV},
	    {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITEV},
	    {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FSYNC},
	    {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FALLOCATE},
	    {.opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED, .sqe_flags = IOSQE_FIXED_FILE},
	    {.opcode = IORING_RESTRICTION_REGISTER_OP, .register_op = IORING_REGISTER_FILES_UPDATE},
	    {.opcode = IORING_RESTRICTION_REGISTER_OP, .register_op = IORING_REGISTER_EVENTFD},
	    {.opcode = IORING_RESTRICTION_REGISTER_OP, .register_op = IORING_UNREGISTER_EVENTFD},
	};

	return io_uring_register_restrictions(ring, rules, sizeof rules / sizeof rules[0]);
}

static void ring_destroy(struct io_uring *ring)
{
	io_uring_queue_exit(ring);
	free(ring);
}

/* A ring without a file; NULL, and errno. */
static struct io_uring *ring_create(void)
{
	struct io_uring_params params = {.flags = IORING_SETUP_R_DISABLED};
	struct io_uring *ring = calloc(1, sizeof *ring);
	int error = ring == NULL ? -ENOMEM
	                         : io_uring_queue_init_params(VIRTIO_QUEUE_SIZE_MAX, ring, &params);

	if (error < 0) {
		free(ring);
		errno = -error;
		return NULL;
	}
	error = io_uring_register_files(ring, &no_file, 1);
	if (error >= 0)
		error = ring_restrict(ring);
	if (error >= 0)
		error = io_uring_enable_rings(ring);
	if (error >= 0)
		return ring;
	ring_destroy(ring);
	errno = -error;
	return NULL;
}

static struct io_uring *rings_take(struct disk_rings *rings)
{
	errno = EAGAIN;
	return rings->count > 0 ? rings->list[--rings->count] : NULL;
}

/* A ring that does not let go of its file is not used again. Nothing is in it. */
static void rings_give(struct disk_rings *rings, struct io_uring *ring)
{
	if (rings != NULL && io_uring_unregister_eventfd(ring) >= 0 &&
	    io_uring_register_files_update(ring, 0, &no_file, 1) >= 0)
		rings->list[rings->count++] = ring;
	else
		ring_destroy(ring);
}

struct disk_rings *disk_rings_create(unsigned count)
{
	struct disk_rings *rings = calloc(1, sizeof *rings);
	struct io_uring *ring;

	while (rings != NULL && rings->count < count && (ring = ring_create()) != NULL)
		rings->list[rings->count++] = ring;
	if (rings != NULL && rings->count > 0)
		return rings;
	free(rings);
	return NULL;
}

void disk_rings_destroy(struct disk_rings *rings)
{
	while (rings != NULL && rings->count > 0)
		ring_destroy(rings->list[--rings->count]);
	free(rings);
}

/* --- Making ------------------------------------------------------------------------------------
 */

/* 0 or an errno. */
static int uring_set_up(struct uring_lane *lane, int doorbell)
{
	struct disk_rings *rings = lane->disk->rings;
	int error;

	lane->ring = rings != NULL ? rings_take(rings) : ring_create();
	if (lane->ring == NULL)
		return errno;
	error = io_uring_register_files_update(lane->ring, 0, &lane->disk->fd, 1);
	if (error >= 0)
		error = io_uring_register_eventfd(lane->ring, doorbell);
	if (error >= 0)
		return 0;
	ring_destroy(lane->ring);
	return -error;
}

static void *uring_open(const struct disk *disk, int doorbell, struct err *err)
{
	struct uring_lane *lane = calloc(1, sizeof *lane);
	int error;

	if (lane == NULL) {
		err_system(err, ENOMEM, NULL, "cannot prepare a disk");
		return NULL;
	}
	lane->disk = disk;
	if (disk_bounce_create(disk, &lane->bounce, err)) {
		error = uring_set_up(lane, doorbell);
		if (error == 0)
			return lane;
		err_system(err, error, "allow it (kernel.io_uring_disabled, seccomp)",
		    "cannot use io_uring");
		err->class = ERR_HOST;
	}
	free(lane->bounce);
	free(lane);
	return NULL;
}

static void uring_close(void *from)
{
	struct uring_lane *lane = from;

	/* One that has failed has requests in it that the kernel did not take. */
	if (lane->failed)
		ring_destroy(lane->ring);
	else
		rings_give(lane->disk->rings, lane->ring);
	free(lane->bounce);
	free(lane);
}

/* --- Requests ----------------------------------------------------------------------------------
 */

static void uring_end(struct uring_lane *lane, struct disk_request *request)
{
	request->next = lane->ended;
	lane->ended = request;
}

static void uring_execute(struct uring_lane *lane, struct disk_request *request)
{
	disk_execute(lane->disk, request, lane->bounce);
	uring_end(lane, request);
}

/* The file is the first registered one. */
static void uring_describe(struct io_uring_sqe *sqe, const struct disk_request *request)
{
	const struct virtio_buffers *data = &request->data;

	switch (request->operation) {
	case DISK_READ:
		io_uring_prep_readv(sqe, 0, data->list, data->count, request->offset);
		break;
	case DISK_WRITE:
		io_uring_prep_writev2(sqe, 0, data->list, data->count, request->offset,
		    request->durable ? RWF_DSYNC : 0);
		break;
	case DISK_FLUSH: io_uring_prep_fsync(sqe, 0, IORING_FSYNC_DATASYNC); break;
	case DISK_DISCARD:
	case DISK_ZERO:
		io_uring_prep_fallocate(sqe, 0, disk_fallocate_mode(request),
		    (off_t)request->offset, (off_t)data->bytes);
		break;
	}
	sqe->flags |= IOSQE_FIXED_FILE;
}

static void uring_begin(void *to, struct disk_request *request)
{
	struct uring_lane *lane = to;
	struct io_uring_sqe *sqe = NULL;

	if (!lane->failed && disk_takes(lane->disk, request))
		sqe = io_uring_get_sqe(lane->ring);
	if (sqe == NULL) {
		uring_execute(lane, request);
		return;
	}
	uring_describe(sqe, request);
	io_uring_sqe_set_data(sqe, request);
}

/* The kernel takes requests in order. What it does not take stays in the ring for ever, because it
 * looks there only when asked to: it is executed here. */
static void uring_give_up(struct uring_lane *lane, int error)
{
	const struct io_uring_sq *sq = &lane->ring->sq;

	lane->failed = true;
	log_line(LOG_WARN, "io_uring takes no more requests: %s", strerror(error));
	for (unsigned at = *sq->khead; at != sq->sqe_tail; at++)
		uring_execute(lane, (void *)(uintptr_t)sq->sqes[at & sq->ring_mask].user_data);
}

static void uring_submit(void *to)
{
	struct uring_lane *lane = to;

	while (!lane->failed && io_uring_sq_ready(lane->ring) > 0) {
		int taken = io_uring_submit(lane->ring);

		if (taken <= 0 && taken != -EINTR)
			uring_give_up(lane, -taken);
	}
}

/* Has the request ended? If not, it has been begun again. */
static bool uring_finish(struct uring_lane *lane, struct disk_request *request, int result)
{
	bool transfer = request->operation == DISK_READ || request->operation == DISK_WRITE;

	if (result == -EAGAIN) {
		/* The file is O_NONBLOCK, or the kernel lacks what it would need to wait. */
		uring_execute(lane, request);
		return false;
	}
	if (result == -EINTR) {
		uring_begin(lane, request);
		return false;
	}
	request->error = result < 0 ? -result : 0;
	if (result < 0 || !transfer)
		return true;
	if (result == 0)
		request->error = EIO; /* the file has been made shorter */
	virtio_buffers_read(&request->data, NULL, (size_t)result);
	request->offset += (uint64_t)result;
	if (request->data.bytes == 0 || request->error != 0)
		return true;
	uring_begin(lane, request);
	return false;
}

static struct disk_request *uring_collect(void *from)
{
	struct uring_lane *lane = from;
	struct disk_request *request;
	struct io_uring_cqe *cqe;
	int result;

	while (lane->ended == NULL && io_uring_peek_cqe(lane->ring, &cqe) == 0) {
		request = io_uring_cqe_get_data(cqe);
		result = cqe->res;
		io_uring_cqe_seen(lane->ring, cqe);
		if (uring_finish(lane, request, result))
			return request;
		uring_submit(lane);
	}
	request = lane->ended;
	if (request != NULL)
		lane->ended = request->next;
	return request;
}

const struct disk_engine disk_engine_uring = {
    .name = "io_uring",
    .open = uring_open,
    .close = uring_close,
    .begin = uring_begin,
    .submit = uring_submit,
    .collect = uring_collect,
};
