/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_devices.h - the kinds of devices whose queues somebody else serves (virtio 1.2, sections
 * 5.2, 5.10 and 5.11).
 */
#ifndef PAPRIKA_VIRTIO_VHOST_DEVICES_H
#define PAPRIKA_VIRTIO_VHOST_DEVICES_H

#include "virtio/vhost.h"

enum { VHOST_TAG_MAX = 36 }; /* bytes of a share's tag */
enum { VHOST_CID_MIN = 3 };  /* of a guest */
#define VHOST_CID_MAX (UINT32_MAX - 1)

/* What all of them have. */
struct vhost_device_config {
	const char *name;
	uint32_t ask_ms;    /* for what is asked to make the device: the caller waits */
	uint32_t answer_ms; /* as in struct vhost_config */
	void (*lost)(void *context, const char *reason);
	void *context;
};

/* For the first two guest memory must be shared, and the socket (vhost_user.h) is taken over. All
 * of them: a device at rest; NULL with *err filled. */
struct virtio_device *vhost_blk_create(const struct vhost_device_config *config, int socket,
    unsigned queues, const struct gmem *gmem, struct err *err);
struct virtio_device *vhost_fs_create(const struct vhost_device_config *config, int socket,
    const char *tag, const struct gmem *gmem, struct err *err);
/* fd: of /dev/vhost-vsock, is taken over. cid: the guest's address, no other's on this host. */
struct virtio_device *vhost_vsock_create(const struct vhost_device_config *config, int fd,
    uint32_t cid, const struct gmem *gmem, struct err *err);

/* Another back end at a socket, which is taken over, for vhost_reconnect() of a device of this
 * kind, with so many queues. config.lost is not used. A share's configuration, the tag, is not the
 * back end's: the caller copies it. False with *err filled. */
bool vhost_user_offer(struct vhost_offer *offer, const struct vhost_device_config *config,
    const struct virtio_kind *kind, unsigned queues, int socket, const struct gmem *gmem,
    struct err *err);

/* A share, or a vsock, that nobody serves: what a guest's device tree tells of it is the same. */
struct virtio_device *vhost_fs_likeness(const char *name, const struct gmem *gmem, struct err *err);
struct virtio_device *vhost_vsock_likeness(
    const char *name, const struct gmem *gmem, struct err *err);

#endif
