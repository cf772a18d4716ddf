/* SPDX-License-Identifier: Apache-2.0 */
/* net_lane.h - a queue of a network device: what net.c and net_rx.c share. */
#ifndef PAPRIKA_VIRTIO_NET_LANE_H
#define PAPRIKA_VIRTIO_NET_LANE_H

#include <stdatomic.h>

#include "virtio/model.h"
#include "virtio/net.h"

/* Section 5.1.4. */
struct net_space {
	uint8_t mac[6];
	struct le16 status, max_virtqueue_pairs, mtu;
};

struct net {
	struct net_port port;
	struct net_space space;
	void (*ended)(void *context, const char *reason);
	void *context;
	/* The link: by the port, by the operator, by a removal that is forced. */
	_Atomic bool is_ended, is_off, is_cut;
	_Atomic unsigned pairs; /* those that the driver serves */
	unsigned lane_count;
	struct net_lane *lanes[VIRTIO_QUEUES_MAX];
};

/* A buffer of the driver's that has a part of a frame. */
struct net_part {
	uint16_t head;
	uint32_t written;
};

enum net_role { NET_RX, NET_TX, NET_CTRL };

struct net_lane {
	struct net *net;
	struct virtio_worker *worker;
	unsigned index;
	enum net_role role; /* depends on what the driver has accepted */
	int fd;
	struct virtio_chain chain;
	/* RX: a frame, and how much of it is placed where. */
	struct net_frame frame;
	size_t placed;
	unsigned part_count;
	struct net_part parts[VIRTIO_QUEUE_SIZE_MAX];
	struct virtio_buffers num_buffers; /* of the first part: a place in guest memory */
	struct iovec num_buffers_at[2];
	/* TX: data, with two places in front (net_port.h). */
	struct iovec list[VIRTIO_BUFFERS_MAX + 2];
	/* RX: what was received; TX: what is left of a frame. */
	struct net_buffer buffer;
};

static inline bool net_is_up(const struct net *net)
{
	return !atomic_load(&net->is_ended) && !atomic_load(&net->is_off) &&
	       !atomic_load(&net->is_cut);
}

/* Does the lane's pair of queues have its part of the port? */
static inline bool net_lane_is_active(const struct net_lane *lane)
{
	return lane->index / 2 < atomic_load(&lane->net->pairs) &&
	       !atomic_load(&lane->net->is_ended);
}

/* The port has ended: the link goes down. */
void net_end(struct net_lane *lane, const char *reason);

/* Is there a frame to be placed? (net_rx.c, as the next ones.) */
bool net_rx_fetch(struct net_lane *lane);

/* The next of the driver's buffers takes a part of the frame. */
void net_rx_place(struct net_lane *lane, struct virtio_chain *chain);

/* Give up a frame: its buffers are answered, empty. */
void net_rx_drop(struct net_lane *lane);

#endif
