/* SPDX-License-Identifier: Apache-2.0 */
/* vhost_devices.c - see vhost_devices.h. */
#include "virtio/vhost_devices.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "virtio/blk.h"
#include "virtio/vhost_kernel.h"
#include "virtio/vhost_user.h"

#define RING_FEATURES (VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC)

static struct vhost_config device_config(const struct vhost_device_config *config)
{
	return (struct vhost_config){.name = config->name,
	    .answer_ms = config->answer_ms,
	    .lost = config->lost,
	    .context = config->context};
}

static struct vhost_user *device_connect(
    const struct vhost_device_config *config, int socket, const struct gmem *gmem, struct err *err)
{
	char what[64];

	if (!gmem->shared) {
		err_set(err, ERR_STATE, "start the guest with --memory size=SIZE,shared",
		    "%s: the guest's memory is not shared with back ends", config->name);
		close(socket);
		return NULL;
	}
	snprintf(what, sizeof what, "%.40s: the back end", config->name);
	return vhost_user_create(socket, what, config->ask_ms, err);
}

/* --- Block (5.2) ------------------------------------------------------------------------------ */

static const struct virtio_kind blk_kind = {
    .id = VIRTIO_BLK_ID, .driver = "vhost-user-blk-pci", .pci_class = 0x010000, .of_class = "scsi"};

/* The configuration space, of which this reads and changes one field. */
enum { BLK_SPACE_BYTES = 60, BLK_NUM_QUEUES = 34 };

/* Features that need nothing of us: the space that the back end tells has their fields. */
#define BLK_FEATURES                                                                               \
	(VIRTIO_BLK_F_SIZE_MAX | VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_GEOMETRY | VIRTIO_BLK_F_RO |  \
	    VIRTIO_BLK_F_BLK_SIZE | VIRTIO_BLK_F_FLUSH | VIRTIO_BLK_F_TOPOLOGY | VIRTIO_BLK_F_MQ | \
	    VIRTIO_BLK_F_DISCARD | VIRTIO_BLK_F_WRITE_ZEROES)

/* As the driver reads it: with the number of queues that the device has. */
static bool blk_read_space(struct vhost_user *user, const struct vhost_device_config *config,
    unsigned queues, uint8_t space[BLK_SPACE_BYTES], struct err *err)
{
	if (!vhost_user_read_config(user, space, BLK_SPACE_BYTES, config->ask_ms, err))
		return false;
	if (queues > 1 &&
	    ((vhost_user_features(user) & VIRTIO_BLK_F_MQ) == 0 ||
	        le_load(space + BLK_NUM_QUEUES, 2) < queues || vhost_user_queues(user) < queues))
		return err_set(err, ERR_USAGE, "ask for fewer, or give the back end more",
		    "%s: the back end has no %u queues", config->name, queues);
	le_store(space + BLK_NUM_QUEUES, 2, queues);
	return true;
}

struct virtio_device *vhost_blk_create(const struct vhost_device_config *config, int socket,
    unsigned queues, const struct gmem *gmem, struct err *err)
{
	struct vhost_config vhost = device_config(config);
	struct vhost_user *user = device_connect(config, socket, gmem, err);
	uint8_t space[BLK_SPACE_BYTES];

	if (user == NULL)
		return NULL;
	if (!blk_read_space(user, config, queues, space, err)) {
		vhost_user_destroy(user);
		return NULL;
	}
	vhost.features = vhost_user_features(user) & (BLK_FEATURES | RING_FEATURES);
	vhost.kind = &blk_kind;
	vhost.drains = true;
	vhost.ops = &vhost_user_ops;
	vhost.backend = user;
	vhost.tracks = vhost_user_can_track(user);
	vhost.queues = vhost.served = queues;
	vhost.config = space;
	vhost.config_bytes = sizeof space;
	return vhost_create(&vhost, gmem, err);
}

/* --- File system (5.11) ----------------------------------------------------------------------- */

static const struct virtio_kind fs_kind = {
    .id = 26, .driver = "vhost-user-fs-pci", .pci_class = 0x018000, .of_class = "mass-storage"};

enum { FS_REQUEST_QUEUES = 1, FS_QUEUES = FS_REQUEST_QUEUES + 1 }; /* and one for what is urgent */

struct fs_space {
	char tag[VHOST_TAG_MAX]; /* without a NUL if it is as long */
	struct le32 num_request_queues;
};

struct virtio_device *vhost_fs_create(const struct vhost_device_config *config, int socket,
    const char *tag, const struct gmem *gmem, struct err *err)
{
	struct vhost_config vhost = device_config(config);
	struct vhost_user *user = device_connect(config, socket, gmem, err);
	struct fs_space space = {.num_request_queues = le32(FS_REQUEST_QUEUES)};

	if (user == NULL)
		return NULL;
	memcpy(space.tag, tag, strnlen(tag, sizeof space.tag));
	vhost.kind = &fs_kind;
	vhost.ops = &vhost_user_ops;
	vhost.backend = user;
	vhost.tracks = vhost_user_can_track(user);
	vhost.features = vhost_user_features(user) & RING_FEATURES;
	vhost.queues = vhost.served = FS_QUEUES;
	vhost.config = &space;
	vhost.config_bytes = sizeof space;
	return vhost_create(&vhost, gmem, err);
}

/* --- Socket (5.10) ---------------------------------------------------------------------------- */

static const struct virtio_kind vsock_kind = {
    .id = 19, .driver = "vhost-vsock-pci", .pci_class = 0x00ff00, .of_class = "legacy-device"};

#define VIRTIO_VSOCK_F_SEQPACKET (UINT64_C(1) << 1)

/* The third queue is for events of a guest that has been moved: there are none. */
enum { VSOCK_QUEUES = 3, VSOCK_SERVED = 2 };

struct virtio_device *vhost_vsock_create(const struct vhost_device_config *config, int fd,
    uint32_t cid, const struct gmem *gmem, struct err *err)
{
	struct vhost_config vhost = device_config(config);
	struct vhost_kernel *kernel = vhost_vsock_open(fd, cid, err);
	struct le64 space = le64(cid);

	if (kernel == NULL)
		return NULL;
	vhost.kind = &vsock_kind;
	vhost.ops = &vhost_vsock_ops;
	vhost.backend = kernel;
	vhost.features = vhost_kernel_features(kernel) & (RING_FEATURES | VIRTIO_VSOCK_F_SEQPACKET);
	vhost.queues = VSOCK_QUEUES;
	vhost.served = VSOCK_SERVED;
	vhost.config = &space;
	vhost.config_bytes = sizeof space;
	return vhost_create(&vhost, gmem, err);
}

/* --- Another back end ------------------------------------------------------------------------- */

bool vhost_user_offer(struct vhost_offer *offer, const struct vhost_device_config *config,
    const struct virtio_kind *kind, unsigned queues, int socket, const struct gmem *gmem,
    struct err *err)
{
	struct vhost_user *user;

	*offer = (struct vhost_offer){.backend = NULL};
	if (kind != &blk_kind && kind != &fs_kind) {
		close(socket);
		return err_set(err, ERR_STATE, NULL,
		    "no program serves the device '%s' by vhost-user", config->name);
	}
	user = device_connect(config, socket, gmem, err);
	if (user == NULL)
		return false;
	if (kind == &blk_kind && !blk_read_space(user, config, queues, offer->config, err)) {
		vhost_user_destroy(user);
		return false;
	}
	offer->config_bytes = kind == &blk_kind ? BLK_SPACE_BYTES : 0;
	offer->backend = user;
	offer->features = vhost_user_features(user);
	offer->tracks = vhost_user_can_track(user);
	return true;
}

/* --- Likenesses ------------------------------------------------------------------------------- */

static bool nobody_starts(void *backend, const struct gmem *gmem, uint64_t features,
    const struct vhost_ring *rings, unsigned count, uint64_t deadline_ms, struct err *err)
{
	return true;
}

static bool nobody_stops(void *backend, const struct vhost_ring *rings, unsigned count,
    uint64_t deadline_ms, struct err *err)
{
	return true;
}

static int nobody_is_watched(const void *backend)
{
	return -1;
}

static bool nobody_lives(void *backend, struct err *err)
{
	return true;
}

static void nobody_leaves(void *backend)
{
}

static const struct vhost_ops nobody_ops = {
    .start = nobody_starts,
    .stop = nobody_stops,
    .watch = nobody_is_watched,
    .alive = nobody_lives,
    .cut = nobody_leaves,
    .destroy = nobody_leaves,
};

static struct virtio_device *likeness(const char *name, const struct virtio_kind *kind,
    unsigned queues, const struct gmem *gmem, struct err *err)
{
	const struct vhost_config config = {.name = name,
	    .kind = kind,
	    .ops = &nobody_ops,
	    .features = RING_FEATURES,
	    .queues = queues,
	    .served = queues,
	    .config = ""};

	return vhost_create(&config, gmem, err);
}

struct virtio_device *vhost_fs_likeness(const char *name, const struct gmem *gmem, struct err *err)
{
	return likeness(name, &fs_kind, FS_QUEUES, gmem, err);
}

struct virtio_device *vhost_vsock_likeness(
    const char *name, const struct gmem *gmem, struct err *err)
{
	return likeness(name, &vsock_kind, VSOCK_QUEUES, gmem, err);
}
