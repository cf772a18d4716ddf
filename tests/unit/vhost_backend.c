/* SPDX-License-Identifier: Apache-2.0 */
/* vhost_backend.c - see vhost_backend.h. */
#include "vhost_backend.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/le.h"

enum { PAYLOAD_MAX = 512, NO_DESCRIPTOR = 1 << 8 };

/* Header and content lie together. */
struct message {
	uint32_t padding;
	struct vhost_user_header header;
	union {
		uint8_t bytes[PAYLOAD_MAX];
		uint64_t number;
		uint32_t words[PAYLOAD_MAX / 4];
		uint64_t longs[PAYLOAD_MAX / 8];
	};
	int fd;
};

/* --- The rings -------------------------------------------------------------------------------- */

static void *backend_pointer(const struct backend *backend, uint64_t address)
{
	uint64_t offset = address - VHOST_USER_BASE;

	return offset < backend->memory_bytes ? backend->memory + offset : NULL;
}

static void backend_serve(struct backend *backend, struct backend_ring *ring)
{
	volatile struct le16 *available = backend_pointer(backend, ring->available);
	volatile struct le16 *used = backend_pointer(backend, ring->used);
	volatile uint32_t *elements = (volatile uint32_t *)(used + 2);
	eventfd_t kicks;
	bool more = false;

	eventfd_read(ring->kick, &kicks);
	if (backend->hangs || !ring->enabled)
		return;
	while (ring->next != from_le16(available[1])) {
		uint16_t slot = ring->next++ % (uint16_t)ring->size;
		uint16_t at = from_le16(used[1]) % (uint16_t)ring->size;

		elements[2 * at] = htole32(from_le16(available[2 + slot]));
		elements[2 * at + 1] = 0;
		__atomic_store_n(
		    &used[1].raw, le16((uint16_t)(from_le16(used[1]) + 1)).raw, __ATOMIC_RELEASE);
		backend->served++;
		more = true;
	}
	if (more && ring->call >= 0)
		eventfd_write(ring->call, 1);
}

/* --- Messages --------------------------------------------------------------------------------- */

/* False: the front end has closed. */
static bool backend_receive(struct backend *backend, struct message *message)
{
	char control[CMSG_SPACE(8 * sizeof(int))];
	struct iovec part = {&message->header, sizeof message->header};
	struct msghdr head = {.msg_iov = &part,
	    .msg_iovlen = 1,
	    .msg_control = control,
	    .msg_controllen = sizeof control};

	memset(message, 0, sizeof *message);
	message->fd = -1;
	if (recvmsg(backend->socket, &head, MSG_WAITALL) != (ssize_t)sizeof message->header)
		return false;
	if (CMSG_FIRSTHDR(&head) != NULL)
		memcpy(&message->fd, CMSG_DATA(CMSG_FIRSTHDR(&head)), sizeof(int));
	if (message->header.size > PAYLOAD_MAX)
		abort();
	return message->header.size == 0 ||
	       recv(backend->socket, message->bytes, message->header.size, MSG_WAITALL) ==
	           (ssize_t)message->header.size;
}

/* False: the connection is over. */
static bool backend_reply(struct backend *backend, struct message *message, uint32_t size)
{
	enum backend_fault fault =
	    message->header.request == backend->at ? backend->fault : BACKEND_GOOD;
	struct vhost_user_header *header = &message->header;
	size_t length = sizeof *header + size;

	header->flags = VHOST_USER_VERSION | VHOST_USER_REPLY;
	header->size = size;
	switch (fault) {
	case BACKEND_CLOSES: return false;
	case BACKEND_SILENT: backend->silent = true; return true;
	case BACKEND_REFUSES: message->number = 1; break;
	case BACKEND_OTHER: header->request++; break;
	case BACKEND_NO_REPLY_BIT: header->flags = VHOST_USER_VERSION; break;
	case BACKEND_VERSION: header->flags = VHOST_USER_REPLY | 2; break;
	case BACKEND_SHORT: header->size--; break;
	case BACKEND_LONG: header->size++; break;
	case BACKEND_HUGE: header->size = UINT32_MAX; break;
	case BACKEND_CUT: length -= 3; break;
	case BACKEND_INDEX: message->words[0]++; break;
	case BACKEND_GOOD:
	case BACKEND_TWICE:
	case BACKEND_FAULTS: break;
	}
	for (unsigned i = 0; i < (fault == BACKEND_TWICE ? 2u : 1u); i++)
		if (send(backend->socket, header, length, MSG_NOSIGNAL) != (ssize_t)length)
			return false;
	return fault != BACKEND_CUT;
}

static void backend_map(struct backend *backend, const struct message *message)
{
	if (backend->memory != NULL)
		munmap(backend->memory, backend->memory_bytes);
	if (message->words[0] != 1 || message->longs[1] != 0 ||
	    message->longs[3] != VHOST_USER_BASE || message->longs[4] != 0)
		abort();
	backend->memory_bytes = message->longs[2];
	backend->memory =
	    mmap(NULL, backend->memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, message->fd, 0);
	if (backend->memory == MAP_FAILED)
		abort();
	close(message->fd);
}

static void backend_set_fd(int *place, const struct message *message)
{
	if (*place >= 0)
		close(*place);
	*place = (message->number & NO_DESCRIPTOR) != 0 ? -1 : message->fd;
}

/* The size of the answer that is due in any case; 0: none is. */
static uint32_t backend_carry_out(struct backend *backend, struct message *message)
{
	struct backend_ring *ring =
	    &backend->rings[message->words[0] & 0xff & (BACKEND_QUEUES - 1)];

	switch (message->header.request) {
	case VHOST_USER_GET_FEATURES: message->number = backend->features; return 8;
	case VHOST_USER_SET_FEATURES: backend->acked = message->number; return 0;
	case VHOST_USER_GET_PROTOCOL_FEATURES: message->number = backend->protocol; return 8;
	case VHOST_USER_GET_QUEUE_NUM: message->number = BACKEND_QUEUES; return 8;
	case VHOST_USER_GET_CONFIG:
		memset(message->bytes + 12, 0, message->header.size - 12);
		message->bytes[12] = 8; /* sectors */
		message->bytes[12 + 34] = BACKEND_QUEUES;
		return message->header.size;
	case VHOST_USER_SET_MEM_TABLE: backend_map(backend, message); return 0;
	case VHOST_USER_SET_VRING_NUM: ring->size = message->words[1]; return 0;
	case VHOST_USER_SET_VRING_BASE: ring->next = (uint16_t)message->words[1]; return 0;
	case VHOST_USER_SET_VRING_ADDR:
		ring->descriptors = message->longs[1];
		ring->used = message->longs[2];
		ring->available = message->longs[3];
		return 0;
	case VHOST_USER_SET_VRING_CALL: backend_set_fd(&ring->call, message); return 0;
	case VHOST_USER_SET_VRING_KICK: backend_set_fd(&ring->kick, message); return 0;
	case VHOST_USER_SET_VRING_ENABLE: ring->enabled = message->words[1] != 0; return 0;
	case VHOST_USER_GET_VRING_BASE:
		ring->enabled = false;
		message->words[1] = ring->next;
		return 8;
	default: return 0;
	}
}

static bool backend_answer(struct backend *backend)
{
	struct message message;
	bool wants;
	uint32_t size;

	if (!backend_receive(backend, &message))
		return false;
	backend->requests[message.header.request & 63]++;
	if (backend->silent)
		return true;
	wants = (message.header.flags & VHOST_USER_NEED_REPLY) != 0;
	size = backend_carry_out(backend, &message);
	if (size == 0 && wants) {
		message.number = 0;
		size = 8;
	}
	if (size == 0)
		return message.header.request != backend->at || backend->fault != BACKEND_CLOSES;
	return backend_reply(backend, &message, size);
}

static void *backend_main(void *argument)
{
	struct backend *backend = argument;
	bool connected = true;

	while (connected) {
		struct pollfd fds[BACKEND_QUEUES + 1];

		for (unsigned i = 0; i < BACKEND_QUEUES; i++)
			fds[i] = (struct pollfd){
			    .fd = backend->rings[i].enabled ? backend->rings[i].kick : -1,
			    .events = POLLIN};
		fds[BACKEND_QUEUES] = (struct pollfd){.fd = backend->socket, .events = POLLIN};
		poll(fds, BACKEND_QUEUES + 1, -1);
		for (unsigned i = 0; i < BACKEND_QUEUES; i++)
			if (fds[i].revents != 0)
				backend_serve(backend, &backend->rings[i]);
		if (fds[BACKEND_QUEUES].revents != 0)
			connected = backend_answer(backend);
	}
	shutdown(backend->socket, SHUT_RDWR);
	return NULL;
}

int backend_begin(struct backend *backend)
{
	int sockets[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0)
		abort();
	if (backend->features == 0)
		backend->features = VHOST_USER_F_PROTOCOL_FEATURES | VIRTIO_F_VERSION_1 |
		                    VIRTIO_F_EVENT_IDX | 1u << 12 | UINT64_C(1) << 34;
	if (backend->protocol == 0)
		backend->protocol = VHOST_USER_PROTOCOL_F_MQ | VHOST_USER_PROTOCOL_F_REPLY_ACK |
		                    VHOST_USER_PROTOCOL_F_CONFIG;
	for (unsigned i = 0; i < BACKEND_QUEUES; i++)
		backend->rings[i] = (struct backend_ring){.kick = -1, .call = -1};
	backend->socket = sockets[0];
	if (pthread_create(&backend->thread, NULL, backend_main, backend) != 0)
		abort();
	return sockets[1];
}

void backend_end(struct backend *backend)
{
	shutdown(backend->socket, SHUT_RDWR);
	pthread_join(backend->thread, NULL);
	close(backend->socket);
	for (unsigned i = 0; i < BACKEND_QUEUES; i++) {
		if (backend->rings[i].kick >= 0)
			close(backend->rings[i].kick);
		if (backend->rings[i].call >= 0)
			close(backend->rings[i].call);
	}
	if (backend->memory != NULL)
		munmap(backend->memory, backend->memory_bytes);
}
