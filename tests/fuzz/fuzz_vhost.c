/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_vhost.c - what a back end may send to the front end's side of vhost-user.
 *
 * Input: for each message that has an answer a byte, which says what comes: one with the right
 * header and the following bytes in it; the following bytes alone; or nothing in time. Another byte
 * says how much is read at once. Behind the end of the input the connection is closed. A back end
 * is asked for its features and its configuration, started and stopped twice, until it
 * does something wrong.
 *
 * What must hold: nothing is read that is not due, so that a good answer is followed by the next;
 * and there is an error whenever something fails.
 */
#include "fuzz.h"

#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "virtio/vhost_user.h"

enum { ANSWER_MAX = 600, QUEUES = 3 };

static struct {
	struct input input;
	uint8_t answer[ANSWER_MAX];
	size_t length, at;
	bool silent, closed, good;
} backend;

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_read(int fd, void *to, size_t length);

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout)
{
	(void)count;
	(void)timeout;
	fds[0].revents = fds[0].events;
	return !backend.silent || fds[0].events == POLLOUT;
}

static uint32_t answer_size(const struct vhost_user_header *header)
{
	switch (header->request) {
	case VHOST_USER_GET_FEATURES:
	case VHOST_USER_GET_PROTOCOL_FEATURES:
	case VHOST_USER_GET_QUEUE_NUM:
	case VHOST_USER_GET_VRING_BASE: return 8;
	case VHOST_USER_GET_CONFIG: return header->size;
	default: return (header->flags & VHOST_USER_NEED_REPLY) != 0 ? 8 : 0;
	}
}

static void put(const void *from, size_t length)
{
	FUZZ_CHECK(backend.length + length <= ANSWER_MAX);
	memcpy(backend.answer + backend.length, from, length);
	backend.length += length;
}

static void put_input(size_t length)
{
	for (size_t i = 0; i < length; i++) {
		uint8_t byte = (uint8_t)input_take(&backend.input, 1);

		put(&byte, 1);
	}
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
	struct vhost_user_header header;
	uint8_t how;
	uint32_t size;

	(void)fd;
	(void)flags;
	memcpy(&header, message->msg_iov[0].iov_base, sizeof header);
	FUZZ_CHECK(message->msg_iov[0].iov_len == sizeof header &&
	           message->msg_iov[1].iov_len == header.size && header.size <= 300);
	/* All of the last answer was read, if there was nothing wrong with it. */
	FUZZ_CHECK(!backend.good || backend.at == backend.length);
	size = answer_size(&header);
	backend.at = backend.length = 0;
	backend.good = size != 0;
	if (size == 0)
		return (ssize_t)(sizeof header + header.size);
	backend.closed = backend.input.left == 0;
	backend.good = backend.good && !backend.closed;
	how = (uint8_t)input_take(&backend.input, 1);
	if (how < 0xe0) {
		header.flags = VHOST_USER_VERSION | VHOST_USER_REPLY;
		header.size = size;
		put(&header, sizeof header);
		/* The place in a configuration, or a ring's number, and what is acknowledged. */
		if (how < 0x80 && header.request == VHOST_USER_GET_CONFIG)
			put(message->msg_iov[1].iov_base, 12);
		else if (how < 0x80 && header.request == VHOST_USER_GET_VRING_BASE)
			put(message->msg_iov[1].iov_base, 8);
		else if (how < 0x80 && header.request > VHOST_USER_GET_FEATURES &&
		         header.request != VHOST_USER_GET_PROTOCOL_FEATURES &&
		         header.request != VHOST_USER_GET_QUEUE_NUM)
			put(&(uint64_t){0}, 8);
		put_input(sizeof header + size - backend.length);
	} else if (how < 0xf8) {
		backend.good = false;
		put_input(input_take(&backend.input, 1));
	} else {
		backend.good = false;
		backend.silent = true;
	}
	return (ssize_t)(sizeof header + message->msg_iov[1].iov_len);
}

ssize_t __wrap_read(int fd, void *to, size_t length)
{
	size_t left = backend.length - backend.at;
	size_t part = left > 1 ? 1 + input_take(&backend.input, 1) % left : left;

	(void)fd;
	if (backend.closed || left == 0)
		return 0;
	if (part < length)
		length = part;
	memcpy(to, backend.answer + backend.at, length);
	backend.at += length;
	return (ssize_t)length;
}

static bool is_right(bool good, struct err *err)
{
	FUZZ_CHECK(good == (err->class == ERR_NONE));
	*err = (struct err){0};
	return good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct gmem gmem;
	struct vhost_ring rings[QUEUES] = {
	    {.rings = {.enabled = true, .size = 16, .driver = 0x1000, .device = 0x2000},
	        .kick = STDIN_FILENO,
	        .call = STDOUT_FILENO},
	    {.kick = -1, .call = -1},
	    {.rings = {.enabled = true, .size = 16}, .kick = STDIN_FILENO, .call = -1}};
	const struct vhost_ops *ops = &vhost_user_ops;
	struct vhost_user *user;
	struct err err = {0};
	uint8_t space[60];
	bool good;

	if (gmem.host == NULL)
		FUZZ_CHECK(gmem_init_shared(&gmem, 1 << 20, 1 << 20, &err));
	memset(&backend, 0, sizeof backend);
	backend.input = (struct input){data, size};
	user = vhost_user_create(dup(STDERR_FILENO), "it", 1000, &err);
	is_right(user != NULL, &err);
	if (user == NULL)
		return 0;
	good = is_right(vhost_user_read_config(user, space, sizeof space, 1000, &err), &err);
	/* After the first failure it is told nothing more. */
	for (unsigned round = 0; good && round < 2; round++)
		good = is_right(ops->start(user, &gmem, VIRTIO_F_VERSION_1, rings, QUEUES,
		                    UINT64_MAX, &err),
		           &err) &&
		       is_right(ops->stop(user, rings, QUEUES, UINT64_MAX, &err), &err);
	is_right(ops->alive(user, &err), &err);
	ops->cut(user);
	ops->destroy(user);
	return 0;
}
