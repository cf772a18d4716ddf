/* SPDX-License-Identifier: Apache-2.0 */
/* rng.h - the entropy device (virtio 1.2, section 5.4): random bytes of the host's kernel. */
#ifndef PAPRIKA_VIRTIO_RNG_H
#define PAPRIKA_VIRTIO_RNG_H

#include "virtio/device.h"

enum {
	VIRTIO_RNG_ID = 4,
	VIRTIO_RNG_BYTES_MAX = 65536, /* in one request; the driver may ask again */
};

/* A device at rest. If it cannot be made: NULL with *err filled. */
struct virtio_device *virtio_rng_create(const char *name, const struct gmem *gmem, struct err *err);

#endif
