/* SPDX-License-Identifier: Apache-2.0 */
/* vhost_kernel.h - devices whose queues the host's kernel serves (linux/vhost.h). */
#ifndef PAPRIKA_VIRTIO_VHOST_KERNEL_H
#define PAPRIKA_VIRTIO_VHOST_KERNEL_H

#include "virtio/vhost.h"

struct vhost_kernel;

/* With a descriptor of /dev/vhost-vsock, which is taken over, for a guest with this address. NULL
 * with *err filled. */
struct vhost_kernel *vhost_vsock_open(int fd, uint32_t cid, struct err *err);

uint64_t vhost_kernel_features(const struct vhost_kernel *kernel);

extern const struct vhost_ops vhost_vsock_ops;

#endif
