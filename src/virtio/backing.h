/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backing.h - who serves the queues of a device: threads of ours (device.c), or somebody else to
 * whom rings and eventfds are given (vhost.c). The functions of device.h call these rows.
 */
#ifndef PAPRIKA_VIRTIO_BACKING_H
#define PAPRIKA_VIRTIO_BACKING_H

#include <pthread.h>

#include "virtio/device.h"

/* Each as the function of its name in device.h. */
struct virtio_backing {
	void (*destroy)(struct virtio_device *device);
	bool (*confine)(struct virtio_device *device,
	    bool (*confine)(void *context, struct err *err), void *context, struct err *err);
	uint64_t (*features)(const struct virtio_device *device);
	int (*doorbell)(const struct virtio_device *device, unsigned queue);
	bool (*start)(
	    struct virtio_device *device, uint64_t features, const struct virtio_rings *rings);
	void (*stop)(struct virtio_device *device);
	bool (*at_rest)(const struct virtio_device *device);
	void (*cut_off)(struct virtio_device *device, bool off); /* NULL: it cannot */
	struct virtio_progress (*progress)(const struct virtio_device *device);
};

/* The first member of what a backing makes. */
struct virtio_device {
	const struct virtio_backing *backing;
	/* Constant. */
	const struct virtio_kind *kind;
	unsigned queues;
	size_t config_bytes;
	pthread_mutex_t lock; /* made by the backing; of the following, and free for its own use */
	void *config;         /* as the driver reads it */
	uint8_t generation;   /* of the configuration */
	struct virtio_listener listener;
};

#endif
