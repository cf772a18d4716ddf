/* SPDX-License-Identifier: Apache-2.0 */
/* plug.c - see plug.h. */
#include "vmm/plug.h"

#include "virtio/blk.h"

/* The name in option lives as long as the machine. */
static bool plug_disk(struct spapr *machine, const struct option_disk *option, struct err *err)
{
	struct virtio_blk_config config = {.name = option->id,
	    .serial = option->serial,
	    .queues = option->queues,
	    .engine = &disk_engine_sync};
	struct virtio_device *device;

	if (!disk_open(&config.disk, option->file, option->readonly, option->direct, err))
		return false;
	device = virtio_blk_create(&config, spapr_memory(machine), err);
	if (device == NULL)
		return false;
	if (spapr_plug(machine, option->id, device, err))
		return true;
	virtio_destroy(device);
	return false;
}

bool plug_devices(struct spapr *machine, const struct options *options, struct err *err)
{
	for (size_t i = 0; i < options->disk_count; i++)
		if (!plug_disk(machine, &options->disks[i], err))
			return false;
	return true;
}
