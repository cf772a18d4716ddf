/* SPDX-License-Identifier: Apache-2.0 */
/* blk.c - see blk.h: making a block device, and what it tells the driver of itself (virtio 1.2). */
#include "virtio/blk.h"
#include "virtio/blk_request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"

/* Buffers for data in one request: what fits into a chain, beside header and status. */
enum { SEGMENTS_MAX = 128 };
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

/* The model, and what the driver reads. */
struct blk_device {
	struct blk blk; /* first: a lane knows no more */
	struct blk_space space;
};

/* --- Making and ending ------------------------------------------------------------------------ */

static void blk_close(void *lane)
{
	struct blk_lane *blk = lane;

	if (blk->engine != NULL)
		blk->ops->close(blk->engine);
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

static bool blk_open_engine(struct blk_lane *lane, int doorbell, struct err *err)
{
	const struct blk *blk = lane->blk;
	struct err refusal = {0};

	lane->ops = blk->engine != NULL ? blk->engine : &disk_engine_uring;
	lane->engine = lane->ops->open(&blk->disk, doorbell, blk->engine != NULL ? err : &refusal);
	if (lane->engine != NULL || blk->engine != NULL)
		return lane->engine != NULL;
	log_line(LOG_INFO, "%s; its requests are done one after the other", refusal.message);
	lane->ops = &disk_engine_sync;
	lane->engine = lane->ops->open(&blk->disk, doorbell, err);
	return lane->engine != NULL;
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
	for (; lane->free_count < REQUESTS; lane->free_count++)
		lane->free[lane->free_count] = (uint16_t)lane->free_count;
	if (!blk_open_engine(lane, doorbell, err)) {
		blk_close(lane);
		return NULL;
	}
	return lane;
}

static void blk_destroy(void *model)
{
	struct blk *blk = model;

	disk_close(&blk->disk);
	free(blk);
}

static const struct virtio_model_ops blk_ops = {
    .kind = {.id = VIRTIO_BLK_ID,
        .driver = "virtio-blk-pci",
        .pci_class = 0x010000,
        .of_class = "scsi"},
    .open = blk_open,
    .close = blk_close,
    .destroy = blk_destroy,
    .room = blk_room,
    .request = blk_request,
    .refuse = blk_refuse,
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
	struct blk_device *device = calloc(1, sizeof *device);
	struct disk disk = config->disk;
	struct blk *blk;

	if (device == NULL) {
		disk_close(&disk);
		err_system(err, ENOMEM, NULL, "disk %s: cannot make the device", config->name);
		return NULL;
	}
	blk = &device->blk;
	blk->disk = disk;
	blk->engine = config->engine;
	blk->error = config->error;
	blk->context = config->context;
	if (config->serial != NULL)
		memcpy(blk->serial, config->serial, strnlen(config->serial, sizeof blk->serial));
	blk_fill_space(&device->space, config);
	return virtio_create(&(struct virtio_model){.ops = &blk_ops,
	                         .self = device,
	                         .name = config->name,
	                         .features = blk_features(&disk),
	                         .queues = config->queues,
	                         .config = &device->space,
	                         .config_bytes = sizeof device->space},
	    gmem, err);
}
