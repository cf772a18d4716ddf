/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_rx.c - receiving (net_lane.h). A frame that does not fit into one of the driver's buffers is
 * spread over several (MRG_RXBUF): these are answered together, when all of it is placed.
 */
#include "virtio/net_lane.h"

/* Frames dropped in one turn while the link is down. */
enum { DROPS_MAX = 64 };

/* Answer the buffers that have parts of the frame. */
static void rx_answer(struct net_lane *lane)
{
	for (unsigned i = 0; i < lane->part_count; i++)
		virtio_answer(lane->worker, lane->parts[i].head, lane->parts[i].written);
	lane->part_count = 0;
	lane->placed = 0;
}

void net_rx_drop(struct net_lane *lane)
{
	for (unsigned i = 0; i < lane->part_count; i++)
		lane->parts[i].written = 0;
	rx_answer(lane);
	lane->frame.length = 0;
}

/* What the driver has not accepted, from a tap that still had it. */
static bool rx_is_strange(const struct net_lane *lane)
{
	uint64_t accepted = virtio_accepted(lane->worker);
	const struct net_header *header = &lane->frame.header;

	return (header->flags != 0 && (accepted & VIRTIO_NET_F_GUEST_CSUM) == 0) ||
	       (header->gso_type != 0 &&
	           (accepted & (VIRTIO_NET_F_GUEST_TSO4 | VIRTIO_NET_F_GUEST_TSO6)) == 0);
}

bool net_rx_fetch(struct net_lane *lane)
{
	const char *reason = NULL;

	for (unsigned i = 0; i < DROPS_MAX && lane->frame.length == 0; i++) {
		enum net_result result = !net_lane_is_active(lane)
		                             ? NET_AGAIN
		                             : lane->net->port.ops->receive(
		                                   lane->fd, &lane->buffer, &lane->frame, &reason);

		if (result == NET_ENDED)
			net_end(lane, reason);
		if (result != NET_DONE)
			return false;
		if (!net_is_up(lane->net) || rx_is_strange(lane))
			lane->frame.length = 0;
	}
	return lane->frame.length != 0;
}

/* The number of buffers is known at the end: its two bytes may lie in two buffers. */
static bool rx_place_header(struct net_lane *lane, struct virtio_chain *chain)
{
	enum { BEFORE = offsetof(struct net_header, num_buffers) };
	struct virtio_buffers *buffers = &chain->writable;
	const struct net_header *header = &lane->frame.header;

	if (buffers->bytes < sizeof *header)
		return false;
	virtio_buffers_write(buffers, header, BEFORE);
	lane->num_buffers = (struct virtio_buffers){
	    .list = lane->num_buffers_at, .count = buffers->count < 2 ? 1 : 2};
	for (unsigned i = 0; i < lane->num_buffers.count; i++) {
		lane->num_buffers_at[i] = buffers->list[i];
		lane->num_buffers.bytes += buffers->list[i].iov_len;
	}
	return virtio_buffers_write(buffers, &header->num_buffers, sizeof header->num_buffers);
}

void net_rx_place(struct net_lane *lane, struct virtio_chain *chain)
{
	bool mergeable = (virtio_accepted(lane->worker) & VIRTIO_NET_F_MRG_RXBUF) != 0;
	unsigned most = mergeable ? virtio_queue_size(lane->worker) : 1;
	struct net_part *part = &lane->parts[lane->part_count];
	size_t left = lane->frame.length - lane->placed, fits;

	*part = (struct net_part){.head = chain->head};
	if (lane->part_count == 0 && !rx_place_header(lane, chain)) {
		virtio_reject(
		    lane->worker, chain->head, "a receive buffer has no room for a header");
		return;
	}
	part->written = lane->part_count == 0 ? sizeof(struct net_header) : 0;
	lane->part_count++;
	fits = left < chain->writable.bytes ? left : (size_t)chain->writable.bytes;
	virtio_buffers_write(&chain->writable, lane->frame.data + lane->placed, fits);
	part->written += (uint32_t)fits;
	lane->placed += fits;
	if (lane->placed == lane->frame.length) {
		struct le16 count = le16((uint16_t)lane->part_count);

		virtio_buffers_write(&lane->num_buffers, &count, sizeof count);
		lane->frame.length = 0;
		rx_answer(lane);
	} else if (lane->part_count == most) {
		net_rx_drop(lane);
	}
}
