/* SPDX-License-Identifier: Apache-2.0 */
/* plug.c - see plug.h. */
#include "vmm/plug.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

/* Where a device reports to. There are as many places as slots of the bus. */
static struct device_report *plug_place(struct plug *plug, const char *name)
{
	return device_reports_place(&plug->reports, name, plug_is_gone, plug->machine);
}

/* --- What all devices of a kind have -------------------------------------------------------- */

/* The locks of an image tell that somebody has it, not that it is this guest. */
static bool plug_check_own(
    struct plug *plug, const char *name, const struct disk_identity *identity, struct err *err)
{
	const char *owner =
	    device_reports_owner(&plug->reports, identity, plug_is_gone, plug->machine);

	return owner == NULL ||
	       err_set(err, ERR_USAGE, "take another file, or make both read-only",
	           "disk %s is in use: it is this guest's own disk '%s'", name, owner);
}

static struct virtio_device *create_disk(struct plug *plug, struct virtio_blk_config *config,
    const struct disk_identity *identity, struct err *err)
{
	struct device_report *place = plug_place(plug, config->name);

	if (place != NULL) {
		place->identity = *identity;
		config->error = device_reports_error;
		config->context = place;
	}
	return virtio_blk_create(config, spapr_memory(plug->machine), err);
}

static struct virtio_device *create_net(
    struct plug *plug, struct virtio_net_config *config, const char *netdev, struct err *err)
{
	struct device_report *place = plug_place(plug, config->name);

	if (place != NULL) {
		if (config->port.is_stream)
			snprintf(place->netdev, sizeof place->netdev, "%s", netdev);
		config->ended = device_reports_link_lost;
		config->context = place;
	}
	return virtio_net_create(config, spapr_memory(plug->machine), err);
}

static struct vhost_device_config plug_vhost(struct plug *plug, const char *name)
{
	struct device_report *place = plug_place(plug, name);

	return (struct vhost_device_config){.name = name,
	    .ask_ms = VHOST_ASK_MS,
	    .answer_ms = VHOST_ANSWER_MS,
	    .lost = place != NULL ? device_reports_lost : NULL,
	    .context = place};
}

/* --- Added to a running machine ------------------------------------------------------------- */

static struct virtio_device *make_disk(
    struct plug *plug, const struct guest_device *device, struct err *err)
{
	struct virtio_blk_config config = {.name = device->name,
	    .serial = device->serial,
	    .queues = device->queues,
	    .engine = plug->rings == NULL ? &disk_engine_sync : NULL};
	struct disk_identity identity;
	struct stat status = {0};

	/* What cannot be looked at, disk_take() tells. */
	fstat(device->fds[0], &status);
	identity = disk_identity_of(&status, device->readonly);
	if (!plug_check_own(plug, device->name, &identity, err) ||
	    !disk_take(&config.disk, device->fds[0], device->name, device->readonly, err))
		return NULL;
	config.disk.lent = true;
	config.disk.rings = plug->rings;
	return create_disk(plug, &config, &identity, err);
}

static struct virtio_device *make_net(
    struct plug *plug, const struct guest_device *device, struct err *err)
{
	struct virtio_net_config config = {.name = device->name, .mtu = device->mtu};

	if (!options_have_net(plug->options)) {
		err_set(err, ERR_STATE, "start it with --pci, or with a --net",
		    "the guest was started without a network: its sandbox has no place for one");
		return NULL;
	}
	if (!net_port_take(&config.port, device->fds, device->fd_count, device->name, true, err))
		return NULL;
	options_mac(plug->options, device->name, config.mac);
	if (device->has_mac)
		memcpy(config.mac, device->mac, sizeof config.mac);
	return create_net(plug, &config, device->netdev, err);
}

static struct virtio_device *make_rng(
    struct plug *plug, const struct guest_device *device, struct err *err)
{
	return virtio_rng_create(device->name, spapr_memory(plug->machine), err);
}

/* What somebody else serves. The descriptor is taken over in any case. */
static bool check_vhost(const struct plug *plug, const struct guest_device *device, struct err *err)
{
	if (options_have_vhost(plug->options))
		return true;
	/* The sandbox would end us. */
	close(device->fds[0]);
	return err_set(err, ERR_STATE, "start the guest with --memory size=SIZE,shared",
	    "%s: this guest cannot get devices that somebody else serves", device->name);
}

static struct virtio_device *make_vhost_disk(
    struct plug *plug, const struct guest_device *device, struct err *err)
{
	struct vhost_device_config config = plug_vhost(plug, device->name);

	return vhost_blk_create(
	    &config, device->fds[0], device->queues, spapr_memory(plug->machine), err);
}

static struct virtio_device *make_share(
    struct plug *plug, const struct guest_device *device, struct err *err)
{
	struct vhost_device_config config = plug_vhost(plug, device->name);

	return vhost_fs_create(
	    &config, device->fds[0], device->tag, spapr_memory(plug->machine), err);
}

static struct virtio_device *make_vsock(
    struct plug *plug, const struct guest_device *device, struct err *err)
{
	struct vhost_device_config config = plug_vhost(plug, device->name);

	return vhost_vsock_create(
	    &config, device->fds[0], device->cid, spapr_memory(plug->machine), err);
}

bool plug_add(
    struct plug *plug, const struct guest_device *device, uint64_t *ret_operation, struct err *err)
{
	static const struct {
		struct virtio_device *(*make)(
		    struct plug *plug, const struct guest_device *device, struct err *err);
		bool served; /* by somebody else */
	} kinds[] = {
	    [GUEST_DISK] = {make_disk, false},
	    [GUEST_NET] = {make_net, false},
	    [GUEST_RNG] = {make_rng, false},
	    [GUEST_VHOST_DISK] = {make_vhost_disk, true},
	    [GUEST_SHARE] = {make_share, true},
	    [GUEST_VSOCK] = {make_vsock, true},
	};
	struct virtio_device *made;

	if (kinds[device->kind].served && !check_vhost(plug, device, err))
		return false;
	made = kinds[device->kind].make(plug, device, err);
	if (made == NULL)
		return false;
	if (virtio_confine(made, plug->confine, plug->context, err) &&
	    spapr_pci_add(plug->machine, device->name, made, ret_operation, err))
		return true;
	virtio_destroy(made);
	return false;
}

/* --- Another back end ----------------------------------------------------------------------- */

struct plug_look {
	const struct virtio_kind *kind;
	unsigned queues;
	bool lost;
};

/* These two have the machine's lock, under which nobody is waited for. */
static bool plug_look_at(struct virtio_device *device, void *context)
{
	struct plug_look *look = context;

	look->kind = virtio_kind(device);
	look->queues = virtio_queues(device);
	look->lost = vhost_is_lost(device);
	return true;
}

struct plug_exchange {
	const struct vhost_offer *offer;
	bool *ret_resumes, done;
	struct err *err;
};

static bool plug_exchange(struct virtio_device *device, void *context)
{
	struct plug_exchange *exchange = context;

	exchange->done =
	    vhost_reconnect(device, exchange->offer, exchange->ret_resumes, exchange->err);
	return true;
}

static bool plug_not_found(const char *device, struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, NULL, "Device '%s' not found", device);
}

bool plug_reconnect(
    struct plug *plug, const char *device, int fd, bool *ret_resumes, struct err *err)
{
	const struct vhost_device_config config = {.name = device, .ask_ms = VHOST_ASK_MS};
	struct vhost_offer offer = {.backend = NULL};
	struct plug_exchange exchange = {.offer = &offer, .ret_resumes = ret_resumes, .err = err};
	struct plug_look look;

	if (!spapr_with_pci_device(plug->machine, device, plug_look_at, &look)) {
		close(fd);
		return plug_not_found(device, err);
	}
	if (!look.lost) {
		close(fd);
		return err_set(err, ERR_STATE,
		    "this is for devices that DEVICE_BACKEND_LOST has told of",
		    "Device '%s' has lost no back end", device);
	}
	if (!vhost_user_offer(
	        &offer, &config, look.kind, look.queues, fd, spapr_memory(plug->machine), err))
		return false;
	/* The guest may have given it back while the new back end was asked. */
	if (!spapr_with_pci_device(plug->machine, device, plug_exchange, &exchange))
		plug_not_found(device, err);
	if (!exchange.done)
		vhost_user_destroy(offer.backend);
	return exchange.done;
}

/* --- Of the options ------------------------------------------------------------------------- */

/* A device that has been made, or NULL with *err filled. */
static bool plug_in(
    struct spapr *machine, const char *name, struct virtio_device *device, struct err *err)
{
	if (device == NULL)
		return false;
	if (spapr_plug(machine, name, device, err))
		return true;
	virtio_destroy(device);
	return false;
}

static bool plug_vhost_disk(struct plug *plug, const struct option_disk *option, struct err *err)
{
	struct vhost_device_config config = plug_vhost(plug, option->id);
	int socket = vhost_user_connect(option->vhost, err);

	return socket >= 0 && plug_in(plug->machine, option->id,
	                          vhost_blk_create(&config, socket, option->queues,
	                              spapr_memory(plug->machine), err),
	                          err);
}

static bool plug_share(struct plug *plug, const struct option_share *option, struct err *err)
{
	struct vhost_device_config config = plug_vhost(plug, option->id);
	int socket = option->dir[0] != '\0' ? virtiofsd_start(option->dir, option->readonly, err)
	                                    : vhost_user_connect(option->socket, err);

	return socket >= 0 &&
	       plug_in(plug->machine, option->id,
	           vhost_fs_create(&config, socket, option->tag, spapr_memory(plug->machine), err),
	           err);
}

static bool plug_vsock(struct plug *plug, uint32_t cid, struct err *err)
{
	static const char path[] = "/dev/vhost-vsock";
	struct vhost_device_config config = plug_vhost(plug, "vsock0");
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return err_system(err, errno,
		    errno == EACCES ? "let the user write to it" : "load the module vhost_vsock",
		    "cannot open %s", path);
	return plug_in(plug->machine, "vsock0",
	    vhost_vsock_create(&config, fd, cid, spapr_memory(plug->machine), err), err);
}

static bool plug_disk(struct plug *plug, const struct option_disk *option, struct err *err)
{
	struct virtio_blk_config config = {
	    .name = option->id, .serial = option->serial, .queues = option->queues};
	struct disk_identity identity = {0};
	struct stat status;

	if (stat(option->file, &status) == 0)
		identity = disk_identity_of(&status, option->readonly);
	return plug_check_own(plug, option->file, &identity, err) &&
	       disk_open(&config.disk, option->file, option->readonly, option->direct, err) &&
	       plug_in(plug->machine, option->id, create_disk(plug, &config, &identity, err), err);
}

static bool plug_rng(struct spapr *machine, const struct options *options, struct err *err)
{
	return !options->rng ||
	       plug_in(machine, "rng0", virtio_rng_create("rng0", spapr_memory(machine), err), err);
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

		if (!plug_in(machine, option->id,
		        virtio_blk_create(&config, spapr_memory(machine), err), err))
			return false;
	}
	for (size_t i = 0; i < options->net_count; i++) {
		const struct option_net *option = &options->nets[i];
		struct virtio_net_config config = {
		    .name = option->id, .port = {.pairs = option->queues, .lent = true}};

		for (unsigned j = 0; j < option->queues; j++)
			config.port.fds[j] = -1;
		if (!plug_in(machine, option->id,
		        virtio_net_create(&config, spapr_memory(machine), err), err))
			return false;
	}
	for (size_t i = 0; i < options->share_count; i++)
		if (!plug_in(machine, options->shares[i].id,
		        vhost_fs_likeness(options->shares[i].id, spapr_memory(machine), err), err))
			return false;
	if (options->vsock_cid != 0 &&
	    !plug_in(
	        machine, "vsock0", vhost_vsock_likeness("vsock0", spapr_memory(machine), err), err))
		return false;
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

static bool plug_net(struct plug *plug, const struct option_net *option, struct err *err)
{
	struct virtio_net_config config = {.name = option->id, .mtu = option->mtu};

	options_mac(plug->options, option->id, config.mac);
	return plug_open_port(option, &config.port, err) &&
	       plug_in(plug->machine, option->id, create_net(plug, &config, option->id, err), err);
}

bool plug_devices(struct plug *plug, struct err *err)
{
	const struct options *options = plug->options;

	for (size_t i = 0; i < options->disk_count; i++)
		if (options->disks[i].vhost[0] != '\0'
		        ? !plug_vhost_disk(plug, &options->disks[i], err)
		        : !plug_disk(plug, &options->disks[i], err))
			return false;
	for (size_t i = 0; i < options->net_count; i++)
		if (!plug_net(plug, &options->nets[i], err))
			return false;
	for (size_t i = 0; i < options->share_count; i++)
		if (!plug_share(plug, &options->shares[i], err))
			return false;
	if (options->vsock_cid != 0 && !plug_vsock(plug, options->vsock_cid, err))
		return false;
	return plug_rng(plug->machine, options, err);
}
