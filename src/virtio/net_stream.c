/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_stream.c - frames over a stream socket (net_port.h): a frame is preceded by its length, 4
 * bytes, big-endian. passt, QEMU's -netdev stream and others speak it.
 */
#include "virtio/net_port.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/be.h"

#define REMEDY_CONNECT "start what listens there first, passt --socket for instance"

/* How many bytes: 0 if there are none now, and -1 with *ret_reason at the end. */
static ssize_t stream_fill(int fd, struct net_buffer *buffer, const char **ret_reason)
{
	ssize_t length;

	if (buffer->from == buffer->to)
		buffer->from = buffer->to = 0;
	/* The longest frame must fit behind what is there. */
	if (sizeof buffer->bytes - buffer->from < 4 + NET_FRAME_MAX) {
		memmove(buffer->bytes, buffer->bytes + buffer->from, buffer->to - buffer->from);
		buffer->to -= buffer->from;
		buffer->from = 0;
	}
	do {
		length = recv(fd, buffer->bytes + buffer->to, sizeof buffer->bytes - buffer->to,
		    MSG_DONTWAIT);
	} while (length < 0 && errno == EINTR);
	if (length > 0) {
		buffer->to += (size_t)length;
		return length;
	}
	if (length < 0 && errno == EAGAIN)
		return 0;
	*ret_reason = length == 0 ? "its other end has been closed" : strerrordesc_np(errno);
	return -1;
}

static enum net_result stream_receive(
    int fd, struct net_buffer *buffer, struct net_frame *ret_frame, const char **ret_reason)
{
	for (;;) {
		size_t there = buffer->to - buffer->from;
		struct be32 length;
		ssize_t more;

		if (there >= sizeof length) {
			memcpy(&length, buffer->bytes + buffer->from, sizeof length);
			if (from_be32(length) < NET_FRAME_MIN ||
			    from_be32(length) > NET_FRAME_MAX) {
				*ret_reason = "it has sent what is no frame";
				return NET_ENDED;
			}
			if (there - sizeof length >= from_be32(length)) {
				*ret_frame = (struct net_frame){
				    .data = buffer->bytes + buffer->from + sizeof length,
				    .length = from_be32(length)};
				buffer->from += sizeof length + from_be32(length);
				return NET_DONE;
			}
		}
		more = stream_fill(fd, buffer, ret_reason);
		if (more <= 0)
			return more == 0 ? NET_AGAIN : NET_ENDED;
	}
}

/* How many bytes were taken, or -1. */
static ssize_t stream_write(int fd, struct iovec *list, unsigned count)
{
	struct msghdr message = {.msg_iov = list, .msg_iovlen = count};
	ssize_t length;

	do {
		length = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (length < 0 && errno == EINTR);
	return length >= 0 ? length : errno == EAGAIN ? 0 : -1;
}

/* A frame must not be cut: what the socket does not take is kept, so that the guest's buffers can
 * be given back at once. */
static enum net_result stream_send(int fd, const struct net_header *header, struct iovec *list,
    unsigned count, size_t bytes, struct net_buffer *rest)
{
	struct be32 length = be32((uint32_t)bytes);
	ssize_t written;
	size_t taken;

	list[1] = (struct iovec){.iov_base = &length, .iov_len = sizeof length};
	written = stream_write(fd, list + 1, count - 1);
	if (written < 0)
		return NET_ENDED;
	taken = (size_t)written;
	if (taken == sizeof length + bytes)
		return NET_DONE;
	rest->from = rest->to = 0;
	for (unsigned i = 1; i < count; i++) {
		size_t skip = taken < list[i].iov_len ? taken : list[i].iov_len;

		memcpy(rest->bytes + rest->to, (const uint8_t *)list[i].iov_base + skip,
		    list[i].iov_len - skip);
		rest->to += list[i].iov_len - skip;
		taken -= skip;
	}
	return NET_AGAIN;
}

static enum net_result stream_send_rest(int fd, struct net_buffer *rest)
{
	struct iovec left = {rest->bytes + rest->from, rest->to - rest->from};
	ssize_t written = stream_write(fd, &left, 1);

	if (written < 0)
		return NET_ENDED;
	rest->from += (size_t)written;
	return rest->from == rest->to ? NET_DONE : NET_AGAIN;
}

static const struct net_port_ops stream_ops = {
    .receive = stream_receive,
    .send = stream_send,
    .send_rest = stream_send_rest,
};

bool net_stream_take(struct net_port *port, int fd, const char *name, bool lent, struct err *err)
{
	int type = 0;
	socklen_t length = sizeof type;

	*port = (struct net_port){
	    .ops = &stream_ops, .pairs = 1, .is_stream = true, .fds = {fd}, .lent = lent};
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM)
		return true;
	err_set(err, ERR_USAGE, "pass a connected stream socket, or a tap",
	    "net %s: the descriptor is no stream socket", name);
	net_port_close(port);
	return false;
}

bool net_stream_connect(struct net_port *port, const char *path, struct err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof address.sun_path)
		return err_set(err, ERR_USAGE, "give a path of at most 107 bytes",
		    "the path of the socket %.40s... is too long", path);
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
		err_system(err, errno, REMEDY_CONNECT, "cannot connect to the socket %s", path);
		if (fd >= 0)
			close(fd);
		return false;
	}
	return net_stream_take(port, fd, path, false, err);
}

void net_port_close(struct net_port *port)
{
	for (unsigned i = 0; i < port->pairs && !port->lent; i++)
		close(port->fds[i]);
	port->pairs = 0;
}
