/* SPDX-License-Identifier: Apache-2.0 */
/* backing.c - see device.h and backing.h: a device's functions, whoever serves its queues. */
#include "virtio/backing.h"

#include <string.h>

void virtio_destroy(struct virtio_device *device)
{
	if (device != NULL)
		device->backing->destroy(device);
}

bool virtio_confine(struct virtio_device *device, bool (*confine)(void *context, struct err *err),
    void *context, struct err *err)
{
	return device->backing->confine(device, confine, context, err);
}

void virtio_listen(struct virtio_device *device, const struct virtio_listener *listener)
{
	pthread_mutex_lock(&device->lock);
	device->listener = *listener;
	pthread_mutex_unlock(&device->lock);
}

const struct virtio_kind *virtio_kind(const struct virtio_device *device)
{
	return device->kind;
}

uint64_t virtio_features(const struct virtio_device *device)
{
	return device->backing->features(device);
}

unsigned virtio_queues(const struct virtio_device *device)
{
	return device->queues;
}

void virtio_read_config(struct virtio_device *device, uint32_t offset, void *to, size_t length)
{
	size_t there = offset < device->config_bytes ? device->config_bytes - offset : 0;

	memset(to, 0, length);
	if (there == 0)
		return;
	pthread_mutex_lock(&device->lock);
	memcpy(to, (const uint8_t *)device->config + offset, there < length ? there : length);
	pthread_mutex_unlock(&device->lock);
}

uint8_t virtio_config_generation(struct virtio_device *device)
{
	uint8_t generation;

	pthread_mutex_lock(&device->lock);
	generation = device->generation;
	pthread_mutex_unlock(&device->lock);
	return generation;
}

int virtio_doorbell(const struct virtio_device *device, unsigned queue)
{
	return device->backing->doorbell(device, queue);
}

bool virtio_start(struct virtio_device *device, uint64_t features, const struct virtio_rings *rings)
{
	return virtio_at_rest(device) && (features & ~virtio_features(device)) == 0 &&
	       (features & VIRTIO_F_VERSION_1) != 0 &&
	       device->backing->start(device, features, rings);
}

void virtio_stop(struct virtio_device *device)
{
	device->backing->stop(device);
}

bool virtio_at_rest(const struct virtio_device *device)
{
	return device->backing->at_rest(device);
}

void virtio_cut_off(struct virtio_device *device, bool off)
{
	if (device->backing->cut_off != NULL)
		device->backing->cut_off(device, off);
}

struct virtio_progress virtio_progress(const struct virtio_device *device)
{
	return device->backing->progress(device);
}
