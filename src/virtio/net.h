/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net.h - the network device (virtio 1.2, section 5.1), above a port of the host's.
 *
 * If the other end of the port closes, or sends what is no frame, the link goes down: the driver
 * sees it, its frames are dropped, and the operator is told. The device stays.
 */
#ifndef PAPRIKA_VIRTIO_NET_H
#define PAPRIKA_VIRTIO_NET_H

#include "virtio/device.h"
#include "virtio/net_port.h"

enum { VIRTIO_NET_ID = 1, VIRTIO_NET_MTU_MIN = 68, VIRTIO_NET_MTU_MAX = 65521 };

struct virtio_net_config {
	struct net_port port; /* is closed with the device */
	const char *name;     /* for messages and the threads' names */
	uint8_t mac[6];
	uint16_t mtu; /* 0: the driver is told none */
	/* The port has ended; `reason` is constant. Called by a queue's thread, so it must not
	 * wait. May be NULL. */
	void (*ended)(void *context, const char *reason);
	void *context;
};

/* A device at rest. If it cannot be made: NULL with *err filled, and the port is closed. */
struct virtio_device *virtio_net_create(
    const struct virtio_net_config *config, const struct gmem *gmem, struct err *err);

/* What the operator wants; a port that has ended stays down. Operator's thread. */
void virtio_net_set_link(struct virtio_device *device, bool up);

#endif
