/* SPDX-License-Identifier: Apache-2.0 */
/* plug.c - see plug.h. */
#include "vmm/plug.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "virtio/blk.h"
#include "virtio/net.h"
#include "virtio/rng.h"
#include "virtio/vhost_devices.h"
#include "virtio/vhost_user.h"
#include "vmm/passt.h"
#include "vmm/virtiofsd.h"

static bool plug_is_gone(void *context, const char *device)
{
	return !spapr_has_device(context, device);
}

/* The locks of an image tell that somebody has it, not that it is this guest. */
static bool plug_check_own(struct disk_errors *errors, struct spapr *machine, const char *name,
    const struct disk_identity *identity, struct err *err)
{
	const char *owner = disk_errors_owner(errors, identity, plug_is_gone, machine);

	return owner == NULL ||
	       err_set(err, ERR_USAGE, "take another file, or make both read-only",
	           "disk %s is in use: it is this guest's own disk '%s'", name, owner);
}

/* Errors of the disk go there. There are as many places as slots of the bus. */
static void plug_watch(struct virtio_blk_config *config, const struct disk_identity *identity,
    struct disk_errors *errors, struct spapr *machine)
{
	config->context = disk_errors_place(errors, config->name, identity, plug_is_gone, machine);
	if (config->context != NULL)
		config->error = disk_errors_note;
}

struct virtio_device *plug_make_disk(struct spapr *machine, const struct guest_disk *disk,
    struct disk_rings *rings, struct disk_errors *errors, struct err *err)
{
	struct virtio_blk_config config = {.name = disk->name,
	    .serial = disk->serial,
	    .queues = disk->queues,
	    .engine = rings == NULL ? &disk_engine_sync : NULL};
	struct disk_identity identity;
	struct stat status = {0};

	/* What cannot be looked at, disk_take() tells. */
	fstat(disk->fd, &status);
	identity = disk_identity_of(&status, disk->readonly);
	if (!plug_check_own(errors, machine, disk->name, &identity, err) ||
	    !disk_take(&config.disk, disk->fd, disk->name, disk->readonly, err))
		return NULL;
	config.disk.lent = true;
	config.disk.rings = rings;
	plug_watch(&config, &identity, errors, machine);
	return virtio_blk_create(&config, spapr_memory(machine), err);
}

/* Its end goes there. */
static void plug_watch_port(struct virtio_net_config *config, const char *netdev,
    struct net_ends *ends, struct spapr *machine)
{
	config->context = net_ends_place(
	    ends, config->name, config->port.is_stream ? netdev : "", plug_is_gone, machine);
	if (config->context != NULL)
		config->ended = net_ends_note;
}

struct virtio_device *plug_make_net(struct spapr *machine, const struct options *options,
    const struct guest_net *net, struct net_ends *ends, struct err *err)
{
	struct virtio_net_config config = {.name = net->name, .mtu = net->mtu};

	if (!options_have_net(options)) {
		err_set(err, ERR_STATE, "start it with --pci, or with a --net",
		    "the guest was started without a network: its sandbox has no place for one");
		return NULL;
	}
	if (!net_port_take(&config.port, net->fds, net->fd_count, net->name, true, err))
		return NULL;
	options_mac(options, net->name, config.mac);
	if (net->has_mac)
		memcpy(config.mac, net->mac, sizeof config.mac);
	plug_watch_port(&config, net->netdev, ends, machine);
	return virtio_net_create(&config, spapr_memory(machine), err);
}

struct virtio_device *plug_make_rng(struct spapr *machine, const char *name, struct err *err)
{
	return virtio_rng_create(name, spapr_memory(machine), err);
}

/* That a back end is lost goes where errors of disks do. */
static struct vhost_device_config plug_vhost(
    const char *name, struct disk_errors *errors, struct spapr *machine)
{
	/* No file that another device could have. */
	static const struct disk_identity none = {.host = UINT64_MAX, .readonly = true};
	struct vhost_device_config config = {
	    .name = name, .ask_ms = VHOST_ASK_MS, .answer_ms = VHOST_ANSWER_MS};

	config.context = disk_errors_place(errors, name, &none, plug_is_gone, machine);
	if (config.context != NULL)
		config.lost = disk_errors_note_lost;
	return config;
}

struct virtio_device *plug_make_vhost(struct spapr *machine, const struct guest_vhost *vhost,
    struct disk_errors *errors, struct err *err)
{
	struct vhost_device_config config = plug_vhost(vhost->name, errors, machine);
	const struct gmem *memory = spapr_memory(machine);

	switch (vhost->kind) {
	case GUEST_VHOST_DISK:
		return vhost_blk_create(&config, vhost->fd, vhost->queues, memory, err);
	case GUEST_VHOST_SHARE: return vhost_fs_create(&config, vhost->fd, vhost->tag, memory, err);
	case GUEST_VHOST_VSOCK: break;
	}
	return vhost_vsock_create(&config, vhost->fd, vhost->cid, memory, err);
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

static bool plug_vhost_disk(struct spapr *machine, const struct option_disk *option,
    struct disk_errors *errors, struct err *err)
{
	struct vhost_device_config config = plug_vhost(option->id, errors, machine);
	int socket = vhost_user_connect(option->vhost, err);

	return socket >= 0 &&
	       plug(machine, option->id,
	           vhost_blk_create(&config, socket, option->queues, spapr_memory(machine), err),
	           err);
}

static bool plug_share(struct spapr *machine, const struct option_share *option,
    struct disk_errors *errors, struct err *err)
{
	struct vhost_device_config config = plug_vhost(option->id, errors, machine);
	int socket = option->dir[0] != '\0' ? virtiofsd_start(option->dir, option->readonly, err)
	                                    : vhost_user_connect(option->socket, err);

	return socket >= 0 &&
	       plug(machine, option->id,
	           vhost_fs_create(&config, socket, option->tag, spapr_memory(machine), err), err);
}

static bool plug_vsock(
    struct spapr *machine, uint32_t cid, struct disk_errors *errors, struct err *err)
{
	static const char path[] = "/dev/vhost-vsock";
	struct vhost_device_config config = plug_vhost("vsock0", errors, machine);
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return err_system(err, errno,
		    errno == EACCES ? "let the user write to it" : "load the module vhost_vsock",
		    "cannot open %s", path);
	return plug(machine, "vsock0",
	    vhost_vsock_create(&config, fd, cid, spapr_memory(machine), err), err);
}

static bool plug_disk(struct spapr *machine, const struct option_disk *option,
    struct disk_errors *errors, struct err *err)
{
	struct virtio_blk_config config = {
	    .name = option->id, .serial = option->serial, .queues = option->queues};
	struct disk_identity identity = {0};
	struct stat status;

	if (stat(option->file, &status) == 0)
		identity = disk_identity_of(&status, option->readonly);
	if (!plug_check_own(errors, machine, option->file, &identity, err) ||
	    !disk_open(&config.disk, option->file, option->readonly, option->direct, err))
		return false;
	plug_watch(&config, &identity, errors, machine);
	return plug(
	    machine, option->id, virtio_blk_create(&config, spapr_memory(machine), err), err);
}

static bool plug_rng(struct spapr *machine, const struct options *options, struct err *err)
{
	return !options->rng || plug(machine, "rng0", plug_make_rng(machine, "rng0", err), err);
}

/* What the guest's tree tells of a device does not depend on what is behind it. */
bool plug_likenesses(struct spapr *machine, const struct options *options, struct err *err)
{
	for (size_t i = 0; i < options->disk_count; i++) {
		const struct option_disk *option = &options->disks[i];
		const struct virtio_blk_config config = {.name = option->id,
		    .queues = option->queues,
		    .engine = &disk_engine_sync,
		    .disk = {
		        .fd = -1, .bytes = DISK_SECTOR_BYTES, .block_bytes = DISK_SECTOR_BYTES}};

		if (!plug(machine, option->id,
		        virtio_blk_create(&config, spapr_memory(machine), err), err))
			return false;
	}
	for (size_t i = 0; i < options->net_count; i++) {
		const struct option_net *option = &options->nets[i];
		struct virtio_net_config config = {
		    .name = option->id, .port = {.pairs = option->queues, .lent = true}};

		for (unsigned j = 0; j < option->queues; j++)
			config.port.fds[j] = -1;
		if (!plug(machine, option->id,
		        virtio_net_create(&config, spapr_memory(machine), err), err))
			return false;
	}
	return plug_rng(machine, options, err);
}

static bool plug_open_port(const struct option_net *option, struct net_port *port, struct err *err)
{
	int fd;

	switch (option->kind) {
	case NET_KIND_PASST:
		fd = passt_start(option->id, option->mtu, err);
		return fd >= 0 && net_stream_take(port, fd, option->id, false, err);
	case NET_KIND_UNIX: return net_stream_connect(port, option->path, err);
	case NET_KIND_FD:
		return net_port_take(port, option->fds, option->fd_count, option->id, false, err);
	case NET_KIND_TAP: break;
	}
	return net_tap_open(port, option->path, option->queues, err);
}

static bool plug_net(struct spapr *machine, const struct options *options,
    const struct option_net *option, struct net_ends *ends, struct err *err)
{
	struct virtio_net_config config = {.name = option->id, .mtu = option->mtu};

	options_mac(options, option->id, config.mac);
	if (!plug_open_port(option, &config.port, err))
		return false;
	plug_watch_port(&config, option->id, ends, machine);
	return plug(
	    machine, option->id, virtio_net_create(&config, spapr_memory(machine), err), err);
}

bool plug_devices(struct spapr *machine, const struct options *options, struct disk_errors *errors,
    struct net_ends *ends, struct err *err)
{
	for (size_t i = 0; i < options->disk_count; i++)
		if (options->disks[i].vhost[0] != '\0'
		        ? !plug_vhost_disk(machine, &options->disks[i], errors, err)
		        : !plug_disk(machine, &options->disks[i], errors, err))
			return false;
	for (size_t i = 0; i < options->net_count; i++)
		if (!plug_net(machine, options, &options->nets[i], ends, err))
			return false;
	for (size_t i = 0; i < options->share_count; i++)
		if (!plug_share(machine, &options->shares[i], errors, err))
			return false;
	if (options->vsock_cid != 0 && !plug_vsock(machine, options->vsock_cid, errors, err))
		return false;
	return plug_rng(machine, options, err);
}
