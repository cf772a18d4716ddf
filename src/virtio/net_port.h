/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_port.h - what a network device is connected to on the host: a socket that carries frames
 * (net_stream.c), or a tap (net_tap.c).
 *
 * No function waits. What comes from the other end may be anything.
 */
#ifndef PAPRIKA_VIRTIO_NET_PORT_H
#define PAPRIKA_VIRTIO_NET_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/le.h"

enum {
	NET_PAIRS_MAX = 7,            /* of queues: with one for control there are 15 */
	NET_FRAME_MIN = 14,           /* an Ethernet header */
	NET_FRAME_MAX = 65536 + 18,   /* an IP packet behind one, with a VLAN tag */
	NET_BUFFER_BYTES = 128 << 10, /* more than one of the longest frames */
};

/* Bits of the features, section 5.1.3. */
#define VIRTIO_NET_F_CSUM (UINT64_C(1) << 0)
#define VIRTIO_NET_F_GUEST_CSUM (UINT64_C(1) << 1)
#define VIRTIO_NET_F_MTU (UINT64_C(1) << 3)
#define VIRTIO_NET_F_MAC (UINT64_C(1) << 5)
#define VIRTIO_NET_F_GUEST_TSO4 (UINT64_C(1) << 7)
#define VIRTIO_NET_F_GUEST_TSO6 (UINT64_C(1) << 8)
#define VIRTIO_NET_F_GUEST_ECN (UINT64_C(1) << 9)
#define VIRTIO_NET_F_HOST_TSO4 (UINT64_C(1) << 11)
#define VIRTIO_NET_F_HOST_TSO6 (UINT64_C(1) << 12)
#define VIRTIO_NET_F_HOST_ECN (UINT64_C(1) << 13)
#define VIRTIO_NET_F_MRG_RXBUF (UINT64_C(1) << 15)
#define VIRTIO_NET_F_STATUS (UINT64_C(1) << 16)
#define VIRTIO_NET_F_CTRL_VQ (UINT64_C(1) << 17)
#define VIRTIO_NET_F_MQ (UINT64_C(1) << 22)

/* struct virtio_net_hdr, with num_buffers (virtio 1.2, section 5.1.6). */
struct net_header {
	uint8_t flags, gso_type;
	struct le16 hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};
_Static_assert(sizeof(struct net_header) == 12, "as the driver reads it");

/* Bytes on their way. */
struct net_buffer {
	size_t from, to; /* those in use */
	uint8_t bytes[NET_BUFFER_BYTES];
};

struct net_frame {
	struct net_header header;
	const uint8_t *data; /* in the buffer, until the next call */
	size_t length;       /* 0: there is no frame */
};

enum net_result {
	NET_DONE,
	NET_AGAIN, /* not before poll() says so */
	NET_ENDED, /* for good */
};

struct net_port;

struct net_port_ops {
	/* The next frame; at the end *ret_reason is a constant text. */
	enum net_result (*receive)(int fd, struct net_buffer *buffer, struct net_frame *ret_frame,
	    const char **ret_reason);
	/* Send a frame of `bytes` bytes. list[0] and list[1] are free for what comes before its
	 * data, which follow from there. What is not taken now is put into the rest, which is empty
	 * before. */
	enum net_result (*send)(int fd, const struct net_header *header, struct iovec *list,
	    unsigned count, size_t bytes, struct net_buffer *rest);
	/* Send what is in the rest. */
	enum net_result (*send_rest)(int fd, struct net_buffer *rest);
	/* The driver has accepted these features, and serves these pairs of queues; may be NULL. */
	void (*set_features)(const struct net_port *port, uint64_t features);
	void (*set_pairs)(const struct net_port *port, unsigned pairs);
};

struct net_port {
	const struct net_port_ops *ops;
	uint64_t features; /* that it can offer the driver */
	unsigned pairs;
	int fds[NET_PAIRS_MAX]; /* one for each pair */
	bool is_stream;         /* a socket */
	bool lent;              /* they are closed by somebody else */
};

/* A connected stream socket; in front of each frame is its length in 4 bytes, big-endian. On
 * failure *err is filled, and fd is closed unless it is lent. */
bool net_stream_take(struct net_port *port, int fd, const char *name, bool lent, struct err *err);
/* The same, connected to a socket in the file system. */
bool net_stream_connect(struct net_port *port, const char *path, struct err *err);

/* A tap that exists, by its name, with so many pairs of queues; or by descriptors, one for each
 * pair. It must have IFF_VNET_HDR and no packet information. */
bool net_tap_open(struct net_port *port, const char *name, unsigned queues, struct err *err);
bool net_tap_take(struct net_port *port, const int *fds, unsigned count, const char *name,
    bool lent, struct err *err);

/* Sockets, or taps: what they are is looked at. */
bool net_port_take(struct net_port *port, const int *fds, unsigned count, const char *name,
    bool lent, struct err *err);

void net_port_close(struct net_port *port);

#endif
