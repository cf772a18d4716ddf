/* SPDX-License-Identifier: Apache-2.0 */
/* vhost_user.c - see vhost_user.h. */
#include "virtio/vhost_user.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

/* What is sent behind a header. */
struct user_vring {
	uint32_t index, number;
};
struct user_address {
	uint32_t index, flags;
	uint64_t descriptors, used, available, log;
};
struct user_memory {
	uint32_t regions, padding;
	uint64_t guest_address, bytes, user_address, offset;
};
struct user_config {
	uint32_t offset, size, flags;
	uint8_t bytes[VHOST_CONFIG_MAX];
};
struct user_inflight {
	uint64_t bytes, offset;
	uint16_t queues, queue_size;
};
union user_payload {
	uint64_t number;
	struct user_vring vring;
	struct user_address address;
	struct user_memory memory;
	struct user_config config;
};
enum { CONFIG_HEADER = 12, NO_DESCRIPTOR = 1 << 8 };

struct vhost_user {
	int socket; /* -1: cut off */
	char what[64];
	uint64_t features, protocol, queues;
	/* Its record of requests in flight, or one that it has inherited; -1: none. */
	int record;
	struct user_inflight record_is;
	bool inherits;
};

static bool user_fail(const struct vhost_user *user, struct err *err, const char *reason)
{
	return err_set(
	    err, ERR_STATE, "look at its log, and start it again", "%s %s", user->what, reason);
}

/* --- Messages --------------------------------------------------------------------------------- */

/* Until the socket can be read, or written to. */
static bool user_wait(
    const struct vhost_user *user, short events, uint64_t deadline_ms, struct err *err)
{
	struct pollfd socket = {.fd = user->socket, .events = events};
	uint64_t now_ms = clock_ms();
	int count;

	do {
		count = poll(&socket, 1, now_ms < deadline_ms ? (int)(deadline_ms - now_ms) : 0);
		now_ms = clock_ms();
	} while (count < 0 && errno == EINTR);
	if (count <= 0)
		return user_fail(user, err, "does not answer in time");
	return true;
}

static bool user_send_bytes(const struct vhost_user *user, const struct msghdr *message,
    uint64_t deadline_ms, struct err *err)
{
	ssize_t sent;

	/* A message is small: the socket takes all of it or nothing, unless somebody has made its
	 * buffer tiny. */
	do {
		if (!user_wait(user, POLLOUT, deadline_ms, err))
			return false;
		sent = sendmsg(user->socket, message, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (sent < 0 && (errno == EINTR || errno == EAGAIN));
	return sent == (ssize_t)(message->msg_iov[0].iov_len + message->msg_iov[1].iov_len) ||
	       user_fail(user, err, sent < 0 ? "has closed the connection" : "takes no message");
}

static bool user_send(const struct vhost_user *user, uint32_t request, uint32_t flags,
    const void *payload, size_t size, int fd, uint64_t deadline_ms, struct err *err)
{
	struct vhost_user_header header = {
	    .request = request, .flags = VHOST_USER_VERSION | flags, .size = (uint32_t)size};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.bytes = {0}};
	struct iovec parts[2] = {{&header, sizeof header}, {(void *)(uintptr_t)payload, size}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

	if (fd >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof control.bytes;
		control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof fd),
		    .cmsg_level = SOL_SOCKET,
		    .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
	}
	return user_send_bytes(user, &message, deadline_ms, err);
}

/* Descriptors that come with the bytes are closed by the kernel. */
static bool user_read(
    const struct vhost_user *user, void *to, size_t length, uint64_t deadline_ms, struct err *err)
{
	size_t have = 0;

	while (have < length) {
		ssize_t more;

		if (!user_wait(user, POLLIN, deadline_ms, err))
			return false;
		more = read(user->socket, (uint8_t *)to + have, length - have);
		if (more == 0 || (more < 0 && errno != EINTR && errno != EAGAIN))
			return user_fail(user, err, "has closed the connection");
		have += more > 0 ? (size_t)more : 0;
	}
	return true;
}

/* The reply to a request, of exactly this size. */
static bool user_read_reply(const struct vhost_user *user, uint32_t request, void *payload,
    size_t size, uint64_t deadline_ms, struct err *err)
{
	struct vhost_user_header header;

	if (!user_read(user, &header, sizeof header, deadline_ms, err))
		return false;
	if (header.request != request || header.size != size ||
	    (header.flags & ~(uint32_t)VHOST_USER_NEED_REPLY) !=
	        (VHOST_USER_VERSION | VHOST_USER_REPLY))
		return user_fail(user, err, "breaks the rules of vhost-user");
	return user_read(user, payload, size, deadline_ms, err);
}

/* A request that has a reply of its own. */
static bool user_ask(const struct vhost_user *user, uint32_t request, const void *payload,
    size_t size, void *reply, size_t reply_size, uint64_t deadline_ms, struct err *err)
{
	return user_send(user, request, 0, payload, size, -1, deadline_ms, err) &&
	       user_read_reply(user, request, reply, reply_size, deadline_ms, err);
}

/* One that has none: if the back end can, it says whether it has been done. */
static bool user_tell(const struct vhost_user *user, uint32_t request, const void *payload,
    size_t size, int fd, uint64_t deadline_ms, struct err *err)
{
	bool acknowledged = (user->protocol & VHOST_USER_PROTOCOL_F_REPLY_ACK) != 0;
	uint64_t result = 0;

	if (!user_send(user, request, acknowledged ? VHOST_USER_NEED_REPLY : 0, payload, size, fd,
	        deadline_ms, err))
		return false;
	if (acknowledged &&
	    !user_read_reply(user, request, &result, sizeof result, deadline_ms, err))
		return false;
	return result == 0 || user_fail(user, err, "refuses a request");
}

static bool user_tell_number(const struct vhost_user *user, uint32_t request, uint64_t number,
    int fd, uint64_t deadline_ms, struct err *err)
{
	return user_tell(user, request, &number, sizeof number, fd, deadline_ms, err);
}

/* --- Made ------------------------------------------------------------------------------------- */

int vhost_user_connect(const char *path, struct err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof address.sun_path) {
		err_set(err, ERR_USAGE, "give a shorter one",
		    "the path of a socket is too long: %.64s", path);
		return -1;
	}
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
		return fd;
	err_system(err, errno, "start the back end first: it makes the socket",
	    "cannot connect to %s", path);
	if (fd >= 0)
		close(fd);
	return -1;
}

static bool user_negotiate(struct vhost_user *user, uint64_t deadline_ms, struct err *err)
{
	static const uint64_t wanted = VHOST_USER_PROTOCOL_F_MQ | VHOST_USER_PROTOCOL_F_REPLY_ACK |
	                               VHOST_USER_PROTOCOL_F_CONFIG |
	                               VHOST_USER_PROTOCOL_F_INFLIGHT;
	uint64_t protocol;

	if (!user_ask(user, VHOST_USER_GET_FEATURES, NULL, 0, &user->features,
	        sizeof user->features, deadline_ms, err))
		return false;
	if ((user->features & VHOST_USER_F_PROTOCOL_FEATURES) == 0 ||
	    (user->features & VIRTIO_F_VERSION_1) == 0)
		return err_set(err, ERR_HOST, "use a newer one",
		    "%s has no virtio 1.0, or no protocol features", user->what);
	if (!user_ask(user, VHOST_USER_GET_PROTOCOL_FEATURES, NULL, 0, &protocol, sizeof protocol,
	        deadline_ms, err))
		return false;
	protocol &= wanted;
	if (!user_tell_number(
	        user, VHOST_USER_SET_PROTOCOL_FEATURES, protocol, -1, deadline_ms, err))
		return false;
	user->protocol = protocol;
	if ((protocol & VHOST_USER_PROTOCOL_F_MQ) != 0 &&
	    !user_ask(user, VHOST_USER_GET_QUEUE_NUM, NULL, 0, &user->queues, sizeof user->queues,
	        deadline_ms, err))
		return false;
	return user_tell(user, VHOST_USER_SET_OWNER, NULL, 0, -1, deadline_ms, err);
}

struct vhost_user *vhost_user_create(
    int socket, const char *what, uint32_t answer_ms, struct err *err)
{
	struct vhost_user *user = calloc(1, sizeof *user);

	if (user == NULL) {
		close(socket);
		err_system(err, ENOMEM, NULL, "cannot make a device");
		return NULL;
	}
	user->socket = socket;
	user->record = -1;
	snprintf(user->what, sizeof user->what, "%s", what);
	if (user_negotiate(user, clock_ms() + answer_ms, err))
		return user;
	vhost_user_destroy(user);
	return NULL;
}

void vhost_user_destroy(void *backend)
{
	struct vhost_user *user = backend;

	if (user == NULL)
		return;
	if (user->socket >= 0)
		close(user->socket);
	if (user->record >= 0)
		close(user->record);
	free(user);
}

uint64_t vhost_user_features(const struct vhost_user *user)
{
	return user->features;
}

uint64_t vhost_user_queues(const struct vhost_user *user)
{
	return user->queues;
}

bool vhost_user_can_track(const struct vhost_user *user)
{
	return (user->protocol & VHOST_USER_PROTOCOL_F_INFLIGHT) != 0;
}

bool vhost_user_read_config(
    struct vhost_user *user, void *to, size_t length, uint32_t answer_ms, struct err *err)
{
	struct user_config config = {.size = (uint32_t)length};
	size_t size = CONFIG_HEADER + length;

	if ((user->protocol & VHOST_USER_PROTOCOL_F_CONFIG) == 0 || length > sizeof config.bytes)
		return user_fail(user, err, "does not tell its configuration");
	if (!user_ask(user, VHOST_USER_GET_CONFIG, &config, size, &config, size,
	        clock_ms() + answer_ms, err))
		return false;
	if (config.offset != 0 || config.size != length)
		return user_fail(user, err, "breaks the rules of vhost-user");
	memcpy(to, config.bytes, length);
	return true;
}

/* --- Requests in flight ----------------------------------------------------------------------- */

/* The header of a reply that brings a descriptor; -1: it brings none. The kernel passes that on
 * with the first byte. */
static bool user_read_descriptor(const struct vhost_user *user, struct vhost_user_header *header,
    uint64_t deadline_ms, int *ret_fd, struct err *err)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec part = {header, sizeof *header};
	struct msghdr message = {.msg_iov = &part,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = sizeof control.bytes};
	const struct cmsghdr *first;
	ssize_t got;

	*ret_fd = -1;
	do {
		if (!user_wait(user, POLLIN, deadline_ms, err))
			return false;
		got = recvmsg(user->socket, &message, MSG_CMSG_CLOEXEC);
	} while (got < 0 && (errno == EINTR || errno == EAGAIN));
	first = got < 0 ? NULL : CMSG_FIRSTHDR(&message);
	if (first != NULL && first->cmsg_level == SOL_SOCKET && first->cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(first), sizeof *ret_fd);
	if (got <= 0)
		return user_fail(user, err, "has closed the connection");
	return user_read(
	    user, (uint8_t *)header + got, sizeof *header - (size_t)got, deadline_ms, err);
}

static void user_drop_record(struct vhost_user *user)
{
	if (user->record >= 0)
		close(user->record);
	user->record = -1;
}

/* A new record, which the back end makes. */
static bool user_make_record(struct vhost_user *user, const struct user_inflight *asked,
    uint64_t deadline_ms, struct err *err)
{
	struct vhost_user_header header;
	bool good;

	user_drop_record(user);
	good = user_send(user, VHOST_USER_GET_INFLIGHT_FD, 0, asked, sizeof *asked, -1, deadline_ms,
	           err) &&
	       user_read_descriptor(user, &header, deadline_ms, &user->record, err);
	if (!good)
		return false;
	if (user->record < 0 || header.request != VHOST_USER_GET_INFLIGHT_FD ||
	    header.size != sizeof user->record_is ||
	    header.flags != (VHOST_USER_VERSION | VHOST_USER_REPLY))
		return user_fail(user, err, "breaks the rules of vhost-user");
	return user_read(user, &user->record_is, sizeof user->record_is, deadline_ms, err);
}

/* The back end goes by the record of the one before, or begins one of its own. */
static bool user_set_record(struct vhost_user *user, const struct vhost_ring *rings, unsigned count,
    uint64_t deadline_ms, struct err *err)
{
	struct user_inflight asked = {.queues = (uint16_t)count};
	bool inherits = user->inherits && user->record >= 0;

	if (!vhost_user_can_track(user))
		return true;
	for (unsigned i = 0; i < count; i++)
		if (rings[i].rings.enabled && rings[i].rings.size > asked.queue_size)
			asked.queue_size = (uint16_t)rings[i].rings.size;
	user->inherits = false;
	if (!inherits && !user_make_record(user, &asked, deadline_ms, err))
		return false;
	asked.bytes = user->record_is.bytes;
	asked.offset = user->record_is.offset;
	return user_tell(
	    user, VHOST_USER_SET_INFLIGHT_FD, &asked, sizeof asked, user->record, deadline_ms, err);
}

static bool user_tracks(const void *backend)
{
	return ((const struct vhost_user *)backend)->record >= 0;
}

static void user_inherit(void *backend, void *lost)
{
	struct vhost_user *user = backend, *before = lost;

	user->record = before->record;
	user->record_is = before->record_is;
	user->inherits = true;
	before->record = -1;
}

/* --- The control thread's --------------------------------------------------------------------- */

static bool user_start_ring(const struct vhost_user *user, uint32_t index,
    const struct vhost_ring *ring, uint64_t deadline_ms, struct err *err)
{
	struct user_vring size = {index, ring->rings.size}, base = {index, ring->base},
	                  enable = {index, 1};
	struct user_address address = {.index = index,
	    .descriptors = VHOST_USER_BASE + ring->rings.descriptors,
	    .used = VHOST_USER_BASE + ring->rings.device,
	    .available = VHOST_USER_BASE + ring->rings.driver};

	return user_tell(
	           user, VHOST_USER_SET_VRING_NUM, &size, sizeof size, -1, deadline_ms, err) &&
	       user_tell(
	           user, VHOST_USER_SET_VRING_BASE, &base, sizeof base, -1, deadline_ms, err) &&
	       user_tell(user, VHOST_USER_SET_VRING_ADDR, &address, sizeof address, -1, deadline_ms,
	           err) &&
	       user_tell_number(user, VHOST_USER_SET_VRING_CALL,
	           ring->call < 0 ? index | NO_DESCRIPTOR : index, ring->call, deadline_ms, err) &&
	       user_tell_number(
	           user, VHOST_USER_SET_VRING_KICK, index, ring->kick, deadline_ms, err) &&
	       user_tell(
	           user, VHOST_USER_SET_VRING_ENABLE, &enable, sizeof enable, -1, deadline_ms, err);
}

static bool user_start(void *backend, const struct gmem *gmem, uint64_t features,
    const struct vhost_ring *rings, unsigned count, uint64_t deadline_ms, struct err *err)
{
	struct vhost_user *user = backend;
	struct user_memory memory = {
	    .regions = 1, .bytes = gmem->max_bytes, .user_address = VHOST_USER_BASE};
	uint64_t seen;

	if (!user_tell_number(user, VHOST_USER_SET_FEATURES,
	        features | VHOST_USER_F_PROTOCOL_FEATURES, -1, deadline_ms, err) ||
	    !user_tell(user, VHOST_USER_SET_MEM_TABLE, &memory, sizeof memory, gmem->fd,
	        deadline_ms, err) ||
	    !user_set_record(user, rings, count, deadline_ms, err))
		return false;
	for (unsigned i = 0; i < count; i++)
		if (rings[i].rings.enabled &&
		    !user_start_ring(user, i, &rings[i], deadline_ms, err))
			return false;
	/* One that acknowledges nothing has read all of it once it answers this. */
	return user_ask(
	    user, VHOST_USER_GET_FEATURES, NULL, 0, &seen, sizeof seen, deadline_ms, err);
}

/* The reply comes when the ring's requests have ended. */
static bool user_stop(void *backend, const struct vhost_ring *rings, unsigned count,
    uint64_t deadline_ms, struct err *err)
{
	struct vhost_user *user = backend;

	/* Of what begins after this it would tell nothing. */
	user_drop_record(user);
	for (unsigned i = 0; i < count; i++) {
		struct user_vring ring = {i, 0}, reply;

		if (!rings[i].rings.enabled)
			continue;
		if (!user_ask(user, VHOST_USER_GET_VRING_BASE, &ring, sizeof ring, &reply,
		        sizeof reply, deadline_ms, err))
			return false;
		if (reply.index != i)
			return user_fail(user, err, "breaks the rules of vhost-user");
	}
	return true;
}

static int user_watch(const void *backend)
{
	return ((const struct vhost_user *)backend)->socket;
}

/* It says nothing unasked, so what can be read is the end. */
static bool user_alive(void *backend, struct err *err)
{
	const struct vhost_user *user = backend;
	struct pollfd socket = {.fd = user->socket, .events = POLLIN};
	uint8_t byte;

	if (poll(&socket, 1, 0) <= 0)
		return true;
	return user_fail(user, err,
	    read(user->socket, &byte, sizeof byte) > 0 ? "breaks the rules of vhost-user"
	                                               : "has closed the connection");
}

static bool user_gone(const void *backend)
{
	struct pollfd socket = {.fd = ((const struct vhost_user *)backend)->socket};

	return poll(&socket, 1, 0) == 1 && (socket.revents & POLLHUP) != 0;
}

static void user_cut(void *backend)
{
	struct vhost_user *user = backend;

	if (user->socket >= 0)
		close(user->socket);
	user->socket = -1;
}

const struct vhost_ops vhost_user_ops = {
    .start = user_start,
    .stop = user_stop,
    .watch = user_watch,
    .alive = user_alive,
    .cut = user_cut,
    .gone = user_gone,
    .tracks = user_tracks,
    .inherit = user_inherit,
    .destroy = vhost_user_destroy,
};
