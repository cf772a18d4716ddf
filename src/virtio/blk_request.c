/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk_request.c - see blk_request.h. Sections are those of virtio 1.2.
 *
 * A request's first 16 readable bytes are its header, its last writable byte its status, whatever
 * buffers they lie in. Data is what is between.
 */
#include "virtio/blk_request.h"

/* Section 5.2.6. */
enum { BLK_IN = 0, BLK_OUT = 1, BLK_FLUSH = 4, BLK_GET_ID = 8, BLK_DISCARD = 11, BLK_ZEROES = 13 };
enum { ZEROES_UNMAP = 1 };

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

/* --- Answers ---------------------------------------------------------------------------------- */

void blk_answer(
    struct blk_lane *lane, struct blk_request *request, enum blk_status status, uint64_t written)
{
	*request->status = (uint8_t)status;
	lane->free[lane->free_count++] = (uint16_t)(request - lane->requests);
	virtio_answer(lane->worker, request->chain.head, (uint32_t)written);
}

/* --- Requests --------------------------------------------------------------------------------- */

/* Are the sectors within the disk, and whole blocks if it must be? */
static bool blk_has(const struct blk *blk, uint64_t sector, uint64_t bytes)
{
	uint64_t capacity = blk->disk.bytes / DISK_SECTOR_BYTES;
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
	        .data = *data});
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
	        .data = {.bytes = sectors * DISK_SECTOR_BYTES}});
	return;
refuse:
	blk_answer(lane, request, status, 1);
}

struct virtio_chain *blk_room(void *lane)
{
	struct blk_lane *blk = lane;

	return &blk->requests[blk->free[blk->free_count - 1]].chain;
}

/* What blk_room() has given, and its header; NULL: it has none, and has been rejected. */
static struct blk_request *blk_take(
    struct blk_lane *lane, struct virtio_chain *chain, struct blk_header *ret_header)
{
	struct blk_request *request = &lane->requests[lane->free[lane->free_count - 1]];

	if (!virtio_buffers_read(&chain->readable, ret_header, sizeof *ret_header) ||
	    (request->status = virtio_buffers_take_last(&chain->writable)) == NULL) {
		virtio_reject(lane->worker, chain->head, "a request without header or status");
		return NULL;
	}
	lane->free_count--;
	return request;
}

void blk_refuse(void *to, struct virtio_chain *chain)
{
	struct blk_lane *lane = to;
	struct blk_header header;
	struct blk_request *request = blk_take(lane, chain, &header);

	if (request != NULL)
		blk_answer(lane, request, BLK_IOERR, request->chain.writable.bytes == 0);
}

void blk_request(void *to, struct virtio_chain *chain)
{
	struct blk_lane *lane = to;
	struct blk_header header;
	struct blk_request *request = blk_take(lane, chain, &header);

	if (request == NULL)
		return;
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
