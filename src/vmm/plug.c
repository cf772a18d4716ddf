/* SPDX-License-Identifier: Apache-2.0 */
/* plug.c - see plug.h. */
#include "vmm/plug.h"

#include "virtio/blk.h"
#include "virtio/rng.h"

static bool plug_is_gone(void *context, const char *device)
{
	return !spapr_has_device(context, device);
}

/* Errors of the disk go there. There are as many places as slots of the bus. */
static void plug_watch(
    struct virtio_blk_config *config, struct disk_errors *errors, struct spapr *machine)
{
	config->context = disk_errors_place(errors, config->name, plug_is_gone, machine);
	if (config->context != NULL)
		config->error = disk_errors_note;
}

struct virtio_device *plug_make_disk(struct spapr *machine, const struct guest_disk *disk,
    struct disk_errors *errors, struct err *err)
{
	/* A ring of io_uring cannot be made once the sandbox has closed. */
	struct virtio_blk_config config = {.name = disk->name,
	    .serial = disk->serial,
	    .queues = disk->queues,
	    .engine = &disk_engine_sync};

	if (!disk_take(&config.disk, disk->fd, disk->name, disk->readonly, err))
		return NULL;
	config.disk.lent = true;
	plug_watch(&config, errors, machine);
	return virtio_blk_create(&config, spapr_memory(machine), err);
}

struct virtio_device *plug_make_rng(struct spapr *machine, const char *name, struct err *err)
{
	return virtio_rng_create(name, spapr_memory(machine), err);
}

bool plug_add(struct spapr *machine, const char *name, struct virtio_device *device,
    bool (*confine)(void *context, struct err *err), void *context, uint64_t *ret_operation,
    struct err *err)
{
	if (device == NULL)
		return false;
	if (virtio_confine(device, confine, context, err) &&
	    spapr_pci_add(machine, name, device, ret_operation, err))
		return true;
	virtio_destroy(device);
	return false;
}

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

static bool plug_disk(struct spapr *machine, const struct option_disk *option,
    struct disk_errors *errors, struct err *err)
{
	struct virtio_blk_config config = {
	    .name = option->id, .serial = option->serial, .queues = option->queues};

	if (!disk_open(&config.disk, option->file, option->readonly, option->direct, err))
		return false;
	plug_watch(&config, errors, machine);
	return plug(
	    machine, option->id, virtio_blk_create(&config, spapr_memory(machine), err), err);
}

bool plug_devices(struct spapr *machine, const struct options *options, struct disk_errors *errors,
    struct err *err)
{
	for (size_t i = 0; i < options->disk_count; i++)
		if (!plug_disk(machine, &options->disks[i], errors, err))
			return false;
	return !options->rng || plug(machine, "rng0", plug_make_rng(machine, "rng0", err), err);
}
