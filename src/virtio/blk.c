/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk.c - see blk.h. Sections are those of virtio 1.2.
 *
 * A request's first 16 readable bytes are its header, its last writable byte its status, whatever
 * buffers they lie in. Data is what is between.
 */
#include "virtio/blk.h"
#include "virtio/model.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Section 5.2.6. */
enum { BLK_IN = 0, BLK_OUT = 1, BLK_FLUSH = 4, BLK_GET_ID = 8, BLK_DISCARD = 11, BLK_ZEROES = 13 };
enum blk_status { BLK_OK = 0, BLK_IOERR = 1, BLK_UNSUPP = 2 };
enum { ZEROES_UNMAP = 1 };

/* Buffers for data in one request: what fits into a chain, beside header and status. */
enum { SEGMENTS_MAX = 128 };
/* In one discard or write of zeroes, a call of fallocate() that is not to take for ever: 1 GiB. */
enum { RANGE_SECTORS_MAX = 1 << 21 };

struct blk_header {
	struct le32 type;
	struct le32 reserved;
	struct le64 sector;
};

struct blk_range {
	struct le64 sector;
	struct le32 sectors;
	struct le32 flags;
};

/* Section 5.2.4. */
struct blk_space {
	struct le64 capacity; /* sectors */
	struct le32 size_max, seg_max;
	struct le16 cylinders;
	uint8_t heads, sectors;
	struct le32 blk_size;
	uint8_t physical_block_exp, alignment_offset;
	struct le16 min_io_size;
	struct le32 opt_io_size;
	uint8_t writeback, unused;
	struct le16 num_queues;
	struct le32 max_discard_sectors, max_discard_seg, discard_sector_alignment;
	struct le32 max_write_zeroes_sectors, max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap, unused1[3];
	struct le32 max_secure_erase_sectors;
};
_Static_assert(sizeof(struct blk_space) == 64, "as the driver reads it");
_Static_assert(offsetof(struct blk_space, num_queues) == 34, "as the driver reads it");

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
	void *engine;
	struct blk_counts counts;
	struct blk_request *requests;
	unsigned free_count;
	uint16_t free[REQUESTS];
};

struct blk {
	struct disk disk;
	const struct disk_engine *engine;
	struct blk_space space;
	char serial[VIRTIO_BLK_SERIAL_BYTES];
	void (*error)(void *context, const struct virtio_blk_error *error);
	void *context;
	unsigned lane_count;
	struct blk_lane *lanes[VIRTIO_QUEUES_MAX];
};

/* --- Answers ---------------------------------------------------------------------------------- */

static void blk_count(_Atomic uint64_t *counter, uint64_t amount)
{
	atomic_fetch_add_explicit(counter, amount, memory_order_relaxed);
}

/* What was written is only said if it is known: a failed read may have filled anything. */
static void blk_answer(
    struct blk_lane *lane, struct blk_request *request, enum blk_status status, uint64_t written)
{
	*request->status = (uint8_t)status;
	blk_count(&lane->counts.requests, 1);
	lane->free[lane->free_count++] = (uint16_t)(request - lane->requests);
	virtio_answer(lane->worker, request->chain.head, (uint32_t)written);
}

/* The disk has done it or failed. */
static void blk_end(struct blk_lane *lane, struct blk_request *request)
{
	const struct disk_request *disk = &request->disk;
	const struct blk *blk = lane->blk;
	const struct virtio_blk_error error = {.operation = disk->operation,
	    .sector = disk->offset / DISK_SECTOR_BYTES,
	    .bytes = disk->bytes,
	    .error = disk->error};
	bool read = disk->operation == DISK_READ;

	if (disk->error == 0) {
		if (read)
			blk_count(&lane->counts.read_bytes, request->bytes);
		else if (disk->operation == DISK_WRITE)
			blk_count(&lane->counts.written_bytes, request->bytes);
		blk_answer(lane, request, BLK_OK, read ? request->bytes + 1 : 1);
		return;
	}
	if (disk->error == EOPNOTSUPP && disk->operation != DISK_FLUSH && !read &&
	    disk->operation != DISK_WRITE) {
		blk_answer(lane, request, BLK_UNSUPP, 1);
		return;
	}
	blk_count(&lane->counts.errors, 1);
	if (blk->error != NULL)
		blk->error(blk->context, &error);
	blk_answer(lane, request, BLK_IOERR, read ? 0 : 1);
}

static void blk_collect(void *lane)
{
	struct blk_lane *blk = lane;
	struct disk_request *request;

	while ((request = blk->blk->engine->collect(blk->engine)) != NULL)
		blk_end(blk, (struct blk_request *)(void *)request);
}

/* --- Requests --------------------------------------------------------------------------------- */

static void blk_begin(
    struct blk_lane *lane, struct blk_request *request, const struct disk_request *disk)
{
	request->disk = *disk;
	request->bytes = disk->bytes;
	lane->blk->engine->begin(lane->engine, &request->disk);
	blk_collect(lane);
}

/* Are the sectors within the disk, and whole blocks if it must be? */
static bool blk_has(const struct blk *blk, uint64_t sector, uint64_t bytes)
{
	uint64_t capacity = from_le64(blk->space.capacity);
	uint64_t unit = blk->disk.direct ? blk->disk.block_bytes : DISK_SECTOR_BYTES;

	return bytes % unit == 0 && sector <= capacity &&
	       bytes / DISK_SECTOR_BYTES <= capacity - sector &&
	       sector * DISK_SECTOR_BYTES % unit == 0;
}

static void blk_transfer(
    struct blk_lane *lane, struct blk_request *request, bool write, uint64_t sector)
{
	const struct blk *blk = lane->blk;
	const struct virtio_buffers *data =
	    write ? &request->chain.readable : &request->chain.writable;

	if ((write && blk->disk.readonly) || !blk_has(blk, sector, data->bytes)) {
		blk_answer(lane, request, BLK_IOERR, write ? 1 : 0);
		return;
	}
	if (data->bytes == 0) {
		blk_answer(lane, request, BLK_OK, 1);
		return;
	}
	blk_begin(lane, request,
	    &(struct disk_request){.operation = write ? DISK_WRITE : DISK_READ,
	        /* A driver that does not flush expects each write to last, section 5.2.6.2. */
	        .durable = write && !(virtio_accepted(lane->worker) & VIRTIO_BLK_F_FLUSH),
	        .offset = sector * DISK_SECTOR_BYTES,
	        .bytes = data->bytes,
	        .list = data->list,
	        .count = data->count});
}

static void blk_flush(struct blk_lane *lane, struct blk_request *request)
{
	if (lane->blk->disk.readonly)
		blk_answer(lane, request, BLK_OK, 1);
	else
		blk_begin(lane, request, &(struct disk_request){.operation = DISK_FLUSH});
}

static void blk_identify(struct blk_lane *lane, struct blk_request *request)
{
	struct virtio_buffers *to = &request->chain.writable;
	size_t length =
	    to->bytes < VIRTIO_BLK_SERIAL_BYTES ? (size_t)to->bytes : VIRTIO_BLK_SERIAL_BYTES;

	virtio_buffers_write(to, lane->blk->serial, length);
	blk_answer(lane, request, BLK_OK, length + (to->bytes == 0));
}

/* One range, as max_discard_seg and max_write_zeroes_seg say. Section 5.2.6.2. */
static void blk_change_range(struct blk_lane *lane, struct blk_request *request, bool zero)
{
	const struct blk *blk = lane->blk;
	struct virtio_buffers *data = &request->chain.readable;
	struct blk_range range;
	uint64_t sector, sectors, flags;
	enum blk_status status = BLK_IOERR;

	if (blk->disk.readonly || data->bytes != sizeof range)
		goto refuse;
	virtio_buffers_read(data, &range, sizeof range);
	sector = from_le64(range.sector);
	sectors = from_le32(range.sectors);
	flags = from_le32(range.flags);
	status = BLK_UNSUPP;
	if ((zero ? !blk->disk.zero : !blk->disk.discard) ||
	    (flags & ~(uint64_t)(zero ? ZEROES_UNMAP : 0)) != 0)
		goto refuse;
	status = BLK_IOERR;
	if (sectors == 0 || sectors > RANGE_SECTORS_MAX ||
	    !blk_has(blk, sector, sectors * DISK_SECTOR_BYTES))
		goto refuse;
	blk_begin(lane, request,
	    &(struct disk_request){.operation = zero ? DISK_ZERO : DISK_DISCARD,
	        .unmap = blk->disk.discard && (flags & ZEROES_UNMAP) != 0,
	        .offset = sector * DISK_SECTOR_BYTES,
	        .bytes = sectors * DISK_SECTOR_BYTES});
	return;
refuse:
	blk_answer(lane, request, status, 1);
}

static struct virtio_chain *blk_room(void *lane)
{
	struct blk_lane *blk = lane;

	return &blk->requests[blk->free[blk->free_count - 1]].chain;
}

static void blk_request(void *to, struct virtio_chain *chain)
{
	struct blk_lane *lane = to;
	struct blk_request *request = &lane->requests[lane->free[lane->free_count - 1]];
	struct blk_header header;

	if (!virtio_buffers_read(&chain->readable, &header, sizeof header) ||
	    (request->status = virtio_buffers_take_last(&chain->writable)) == NULL) {
		virtio_reject(lane->worker, chain->head, "a request without header or status");
		return;
	}
	lane->free_count--;
	switch (from_le32(header.type)) {
	case BLK_IN: blk_transfer(lane, request, false, from_le64(header.sector)); break;
	case BLK_OUT: blk_transfer(lane, request, true, from_le64(header.sector)); break;
	case BLK_FLUSH: blk_flush(lane, request); break;
	case BLK_GET_ID: blk_identify(lane, request); break;
	case BLK_DISCARD: blk_change_range(lane, request, false); break;
	case BLK_ZEROES: blk_change_range(lane, request, true); break;
	default: blk_answer(lane, request, BLK_UNSUPP, request->chain.writable.bytes == 0); break;
	}
}

static void blk_submit(void *lane)
{
	struct blk_lane *blk = lane;

	blk->blk->engine->submit(blk->engine);
	blk_collect(blk);
}

/* --- Making and ending ------------------------------------------------------------------------ */

static void blk_close(void *lane)
{
	struct blk_lane *blk = lane;

	if (blk->engine != NULL)
		blk->blk->engine->close(blk->engine);
	if (blk->requests != NULL)
		munmap(blk->requests, REQUESTS * sizeof *blk->requests);
	free(blk);
}

/* Not from malloc: it would touch them, or a huge page might be made of them. */
static struct blk_request *blk_map_requests(void)
{
	size_t length = REQUESTS * sizeof(struct blk_request);
	void *map = mmap(NULL, length, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (map == MAP_FAILED)
		return NULL;
	madvise(map, length, MADV_NOHUGEPAGE);
	return map;
}

static void *blk_open(void *model, struct virtio_worker *worker, int doorbell, struct err *err)
{
	struct blk *blk = model;
	struct blk_lane *lane = calloc(1, sizeof *lane);

	if (lane == NULL || (lane->requests = blk_map_requests()) == NULL) {
		err_system(err, errno, NULL, "cannot make a disk's queue");
		free(lane);
		return NULL;
	}
	lane->blk = blk;
	lane->worker = worker;
	while (lane->free_count < REQUESTS) {
		lane->free[lane->free_count] = (uint16_t)(REQUESTS - 1 - lane->free_count);
		lane->free_count++;
	}
	lane->engine = blk->engine->open(&blk->disk, VIRTIO_QUEUE_SIZE_MAX, doorbell, err);
	if (lane->engine == NULL) {
		blk_close(lane);
		return NULL;
	}
	blk->lanes[blk->lane_count++] = lane;
	return lane;
}

static void blk_destroy(void *model)
{
	struct blk *blk = model;

	disk_close(&blk->disk);
	free(blk);
}

static const struct virtio_model_ops blk_ops = {
    .id = VIRTIO_BLK_ID,
    .open = blk_open,
    .close = blk_close,
    .destroy = blk_destroy,
    .room = blk_room,
    .request = blk_request,
    .submit = blk_submit,
    .collect = blk_collect,
};

static uint64_t blk_features(const struct disk *disk)
{
	return VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_BLK_SIZE | VIRTIO_BLK_F_FLUSH | VIRTIO_BLK_F_MQ |
	       (disk->readonly ? VIRTIO_BLK_F_RO : 0) | (disk->discard ? VIRTIO_BLK_F_DISCARD : 0) |
	       (disk->zero ? VIRTIO_BLK_F_WRITE_ZEROES : 0);
}

static void blk_fill_space(struct blk_space *space, const struct virtio_blk_config *config)
{
	const struct disk *disk = &config->disk;

	*space = (struct blk_space){
	    .capacity = le64(disk->bytes / DISK_SECTOR_BYTES),
	    .seg_max = le32(SEGMENTS_MAX),
	    .blk_size = le32(disk->block_bytes),
	    .num_queues = le16((uint16_t)config->queues),
	};
	if (disk->discard) {
		space->max_discard_sectors = le32(RANGE_SECTORS_MAX);
		space->max_discard_seg = le32(1);
		space->discard_sector_alignment = le32(disk->block_bytes / DISK_SECTOR_BYTES);
	}
	if (disk->zero) {
		space->max_write_zeroes_sectors = le32(RANGE_SECTORS_MAX);
		space->max_write_zeroes_seg = le32(1);
		space->write_zeroes_may_unmap = disk->discard;
	}
}

struct virtio_device *virtio_blk_create(
    const struct virtio_blk_config *config, const struct gmem *gmem, struct err *err)
{
	struct blk *blk = calloc(1, sizeof *blk);
	struct disk disk = config->disk;

	if (blk == NULL) {
		disk_close(&disk);
		err_system(err, ENOMEM, NULL, "disk %s: cannot make the device", config->name);
		return NULL;
	}
	blk->disk = disk;
	blk->engine = config->engine;
	blk->error = config->error;
	blk->context = config->context;
	if (config->serial != NULL)
		memcpy(blk->serial, config->serial, strnlen(config->serial, sizeof blk->serial));
	blk_fill_space(&blk->space, config);
	return virtio_create(&(struct virtio_model){.ops = &blk_ops,
	                         .self = blk,
	                         .name = config->name,
	                         .features = blk_features(&disk),
	                         .queues = config->queues,
	                         .config = &blk->space,
	                         .config_bytes = sizeof blk->space},
	    gmem, err);
}

struct virtio_blk_counters virtio_blk_counters(const struct virtio_device *device)
{
	const struct blk *blk = virtio_model(device);
	struct virtio_blk_counters sum = {0};

	for (unsigned i = 0; i < blk->lane_count; i++) {
		const struct blk_counts *counts = &blk->lanes[i]->counts;

		sum.requests += atomic_load(&counts->requests);
		sum.read_bytes += atomic_load(&counts->read_bytes);
		sum.written_bytes += atomic_load(&counts->written_bytes);
		sum.errors += atomic_load(&counts->errors);
	}
	return sum;
}
