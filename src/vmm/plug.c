/* SPDX-License-Identifier: Apache-2.0 */
/* plug.c - see plug.h. */
#include "vmm/plug.h"

#include "virtio/blk.h"
#include "virtio/rng.h"

/* A device that has been made, or NULL with *err filled. */
static bool plug(
    struct spapr *machine, const char *name, struct virtio_device *device, struct err *err)
{
	if (device == NULL)
		return false;
	if (spapr_plug(machine, name, device, err))
		return true;
	virtio_destroy(device);
	return false;
}

/* The name in option lives as long as the machine. */
static bool plug_disk(struct spapr *machine, const struct option_disk *option, struct err *err)
{
	struct virtio_blk_config config = {.name = option->id,
	    .serial = option->serial,
	    .queues = option->queues};

	if (!disk_open(&config.disk, option->file, option->readonly, option->direct, err))
		return false;
	return plug(
	    machine, option->id, virtio_blk_create(&config, spapr_memory(machine), err), err);
}

bool plug_devices(struct spapr *machine, const struct options *options, struct err *err)
{
	for (size_t i = 0; i < options->disk_count; i++)
		if (!plug_disk(machine, &options->disks[i], err))
			return false;
	return !options->rng ||
	       plug(machine, "rng0", virtio_rng_create("rng0", spapr_memory(machine), err), err);
}
