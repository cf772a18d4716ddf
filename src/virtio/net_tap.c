/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_tap.c - frames through a tap of Linux (net_port.h), with the driver's header in front of
 * each, so that checksums and segmentation can be left to the host.
 */
#include "virtio/net_port.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define TUN_PATH "/dev/net/tun"
#define REMEDY_MAKE "make it: ip tuntap add NAME mode tap user USER vnet_hdr"

/* What is offered for what the tap can do. */
#define FEATURES_CSUM (VIRTIO_NET_F_CSUM | VIRTIO_NET_F_GUEST_CSUM)
#define FEATURES_TSO                                                                               \
	(VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_HOST_TSO6 | VIRTIO_NET_F_HOST_ECN |                 \
	    VIRTIO_NET_F_GUEST_TSO4 | VIRTIO_NET_F_GUEST_TSO6 | VIRTIO_NET_F_GUEST_ECN)

static enum net_result tap_receive(
    int fd, struct net_buffer *buffer, struct net_frame *ret_frame, const char **ret_reason)
{
	struct net_header *header = &ret_frame->header;
	ssize_t length;

	do {
		length = read(fd, buffer->bytes, sizeof buffer->bytes);
	} while (length < 0 && errno == EINTR);
	if (length < 0 && errno == EAGAIN)
		return NET_AGAIN;
	if (length <= 0) {
		*ret_reason =
		    length == 0 || errno == EBADFD ? "the tap is gone" : strerrordesc_np(errno);
		return NET_ENDED;
	}
	/* What is no frame is dropped. */
	*ret_frame = (struct net_frame){.data = buffer->bytes + sizeof *header};
	if ((size_t)length < sizeof *header + NET_FRAME_MIN)
		return NET_DONE;
	memcpy(header, buffer->bytes, sizeof *header);
	ret_frame->length = (size_t)length - sizeof *header;
	return NET_DONE;
}

/* A tap takes all of a frame, or nothing. */
static enum net_result tap_write(int fd, const struct iovec *list, unsigned count)
{
	ssize_t length;

	do {
		length = writev(fd, list, (int)count);
	} while (length < 0 && errno == EINTR);
	return length < 0 && errno == EAGAIN ? NET_AGAIN : length < 0 ? NET_ENDED : NET_DONE;
}

static enum net_result tap_send(int fd, const struct net_header *header, struct iovec *list,
    unsigned count, size_t bytes, struct net_buffer *rest)
{
	struct net_header copy = *header;
	enum net_result result;

	list[1] = (struct iovec){.iov_base = &copy, .iov_len = sizeof copy};
	result = tap_write(fd, list + 1, count - 1);
	if (result != NET_AGAIN)
		return result;
	rest->from = rest->to = 0;
	for (unsigned i = 1; i < count; i++) {
		memcpy(rest->bytes + rest->to, list[i].iov_base, list[i].iov_len);
		rest->to += list[i].iov_len;
	}
	return NET_AGAIN;
}

static enum net_result tap_send_rest(int fd, struct net_buffer *rest)
{
	struct iovec all = {rest->bytes + rest->from, rest->to - rest->from};

	return tap_write(fd, &all, 1);
}

/* It is what was tried when the tap was opened. */
static void tap_set_features(const struct net_port *port, uint64_t features)
{
	unsigned offload = 0;

	if ((features & VIRTIO_NET_F_GUEST_CSUM) != 0)
		offload |= TUN_F_CSUM;
	if (offload != 0 && (features & VIRTIO_NET_F_GUEST_TSO4) != 0)
		offload |= TUN_F_TSO4;
	if (offload != 0 && (features & VIRTIO_NET_F_GUEST_TSO6) != 0)
		offload |= TUN_F_TSO6;
	if (offload > TUN_F_CSUM && (features & VIRTIO_NET_F_GUEST_ECN) != 0)
		offload |= TUN_F_TSO_ECN;
	ioctl(port->fds[0], TUNSETOFFLOAD, offload);
}

/* The kernel spreads frames over the queues that are attached. One that already is as it should be
 * is refused. */
static void tap_set_pairs(const struct net_port *port, unsigned pairs)
{
	for (unsigned i = 1; i < port->pairs; i++) {
		struct ifreq request = {
		    .ifr_flags = i < pairs ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE};

		ioctl(port->fds[i], TUNSETQUEUE, &request);
	}
}

static const struct net_port_ops tap_ops = {
    .receive = tap_receive,
    .send = tap_send,
    .send_rest = tap_send_rest,
    .set_features = tap_set_features,
    .set_pairs = tap_set_pairs,
};

static bool tap_fail(struct net_port *port, const char *name, const char *what, struct err *err)
{
	err_system(err, errno, "use a tap made with vnet_hdr", "net %s: cannot %s", name, what);
	net_port_close(port);
	return false;
}

bool net_tap_take(struct net_port *port, const int *fds, unsigned count, const char *name,
    bool lent, struct err *err)
{
	int header_bytes = sizeof(struct net_header), little = 1;

	*port = (struct net_port){.ops = &tap_ops, .pairs = count, .lent = lent};
	memcpy(port->fds, fds, count * sizeof *fds);
	for (unsigned i = 0; i < count; i++) {
		struct ifreq what = {0};
		int flags = fcntl(fds[i], F_GETFL);

		if (ioctl(fds[i], TUNGETIFF, &what) < 0)
			return tap_fail(port, name, "use the descriptor as a tap", err);
		errno = EINVAL;
		if ((what.ifr_flags & (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)) !=
		    (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
			return tap_fail(port, name,
			    "use a tap without vnet_hdr, or with packet information", err);
		if (flags < 0 || fcntl(fds[i], F_SETFL, flags | O_NONBLOCK) < 0 ||
		    ioctl(fds[i], TUNSETVNETHDRSZ, &header_bytes) < 0 ||
		    ioctl(fds[i], TUNSETVNETLE, &little) < 0)
			return tap_fail(port, name, "set the tap up", err);
	}
	if (ioctl(fds[0], TUNSETOFFLOAD, TUN_F_CSUM) == 0)
		port->features |= FEATURES_CSUM;
	if (ioctl(fds[0], TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN) == 0)
		port->features |= FEATURES_TSO;
	ioctl(fds[0], TUNSETOFFLOAD, 0);
	return true;
}

/* A descriptor of a queue of the tap, or -1. */
static int tap_open_queue(const char *name, short more_flags)
{
	struct ifreq request = {
	    .ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | more_flags)};
	int fd = open(TUN_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC), error;

	snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) == 0)
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

bool net_port_take(struct net_port *port, const int *fds, unsigned count, const char *name,
    bool lent, struct err *err)
{
	struct ifreq what;

	if (count > 1 || ioctl(fds[0], TUNGETIFF, &what) == 0)
		return net_tap_take(port, fds, count, name, lent, err);
	return net_stream_take(port, fds[0], name, lent, err);
}

bool net_tap_open(struct net_port *port, const char *name, unsigned queues, struct err *err)
{
	int fds[NET_PAIRS_MAX];

	if (if_nametoindex(name) == 0)
		return err_set(
		    err, ERR_HOST, REMEDY_MAKE, "there is no network interface %s", name);
	for (unsigned i = 0; i < queues; i++) {
		fds[i] = tap_open_queue(name, queues > 1 ? IFF_MULTI_QUEUE : 0);
		/* One that was made for several queues is opened as such. */
		if (fds[i] < 0 && errno == EINVAL && queues == 1)
			fds[i] = tap_open_queue(name, IFF_MULTI_QUEUE);
		if (fds[i] >= 0)
			continue;
		err_system(err, errno,
		    queues > 1 ? "make it for you, and with multi_queue: ip tuntap add NAME mode "
		                 "tap user USER vnet_hdr multi_queue"
		               : REMEDY_MAKE,
		    "cannot open the tap %s", name);
		while (i-- > 0)
			close(fds[i]);
		return false;
	}
	return net_tap_take(port, fds, queues, name, false, err);
}
