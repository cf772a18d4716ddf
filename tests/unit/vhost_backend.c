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

enum { PAYLOAD_MAX = 512, NO_DESCRIPTOR = 1 << 8, RECORD_BYTES = 4096, RECORD_RING = 256 };

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

static uint8_t *ring_record(const struct backend *backend, const struct backend_ring *ring)
{
	return backend->record + RECORD_RING * (ring - backend->rings);
}

static void ring_answer(struct backend *backend, struct backend_ring *ring, uint16_t head)
{
	volatile struct le16 *used = backend_pointer(backend, ring->used);
	volatile uint32_t *elements = (volatile uint32_t *)(used + 2);
	uint16_t at = from_le16(used[1]) % (uint16_t)ring->size;

	elements[2 * at] = htole32(head);
	elements[2 * at + 1] = 0;
	if (backend->record != NULL)
		ring_record(backend, ring)[head] = false;
	__atomic_store_n(
	    &used[1].raw, le16((uint16_t)(from_le16(used[1]) + 1)).raw, __ATOMIC_RELEASE);
	backend->served++;
}

/* What the one before has begun, and not answered. */
static void ring_resubmit(struct backend *backend, struct backend_ring *ring)
{
	uint8_t *record = ring_record(backend, ring);

	for (uint16_t head = 0; head < ring->size; head++) {
		if (!record[head])
			continue;
		ring->next++; /* it lies before what nobody has begun */
		ring_answer(backend, ring, head);
	}
}

static void backend_serve(struct backend *backend, struct backend_ring *ring)
{
	volatile struct le16 *available = backend_pointer(backend, ring->available);
	eventfd_t kicks;
	uint32_t before = backend->served;

	eventfd_read(ring->kick, &kicks);
	if (backend->hangs || !ring->enabled)
		return;
	while (ring->next != from_le16(available[1])) {
		uint16_t head = from_le16(available[2 + ring->next++ % (uint16_t)ring->size]);

		if (backend->record != NULL)
			ring_record(backend, ring)[head] = true;
		if ((backend->keeps & 1u << head) == 0)
			ring_answer(backend, ring, head);
		backend->begun++;
	}
	if (backend->served != before && ring->call >= 0)
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

/* With the descriptor of the message, if there is one. */
static bool backend_send(const struct backend *backend, struct message *message, size_t length)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.bytes = {0}};
	struct iovec part = {&message->header, length};
	struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1};

	if (message->fd >= 0) {
		control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)),
		    .cmsg_level = SOL_SOCKET,
		    .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(&control.header), &message->fd, sizeof(int));
		head.msg_control = &control;
		head.msg_controllen = sizeof control.bytes;
	}
	return sendmsg(backend->socket, &head, MSG_NOSIGNAL) == (ssize_t)length;
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
		if (!backend_send(backend, message, length))
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

static void backend_map_record(struct backend *backend, int fd)
{
	if (backend->record != NULL)
		munmap(backend->record, RECORD_BYTES);
	backend->record = mmap(NULL, RECORD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (backend->record == MAP_FAILED)
		abort();
}

/* A new record; the reply takes its descriptor along. */
static void backend_make_record(struct backend *backend, struct message *message)
{
	if ((message->longs[2] & 0xffff) > BACKEND_QUEUES)
		abort();
	message->fd = memfd_create("record", MFD_CLOEXEC);
	if (message->fd < 0 || ftruncate(message->fd, RECORD_BYTES) != 0)
		abort();
	message->longs[0] = RECORD_BYTES;
	message->longs[1] = 0;
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
		message->bytes[12] = (uint8_t)(backend->sectors != 0 ? backend->sectors : 8);
		message->bytes[12 + 34] = BACKEND_QUEUES;
		return message->header.size;
	case VHOST_USER_SET_MEM_TABLE: backend_map(backend, message); return 0;
	case VHOST_USER_SET_VRING_NUM: ring->size = message->words[1]; return 0;
	case VHOST_USER_SET_VRING_BASE:
		ring->next = backend->base = (uint16_t)message->words[1];
		return 0;
	case VHOST_USER_SET_VRING_ADDR:
		ring->descriptors = message->longs[1];
		ring->used = message->longs[2];
		ring->available = message->longs[3];
		return 0;
	case VHOST_USER_SET_VRING_CALL: backend_set_fd(&ring->call, message); return 0;
	case VHOST_USER_SET_VRING_KICK: backend_set_fd(&ring->kick, message); return 0;
	case VHOST_USER_SET_VRING_ENABLE:
		ring->enabled = message->words[1] != 0;
		if (ring->enabled && backend->record != NULL)
			ring_resubmit(backend, ring);
		return 0;
	case VHOST_USER_GET_INFLIGHT_FD: backend_make_record(backend, message); return 24;
	case VHOST_USER_SET_INFLIGHT_FD:
		if (message->longs[0] != RECORD_BYTES || message->fd < 0)
			abort();
		backend_map_record(backend, message->fd);
		close(message->fd);
		return 0;
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
	bool wants, good;
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
	if (message.header.request != VHOST_USER_GET_INFLIGHT_FD)
		message.fd = -1; /* it is a request's */
	good = backend_reply(backend, &message, size);
	if (message.fd >= 0)
		close(message.fd);
	return good;
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
	if (backend->record != NULL)
		munmap(backend->record, RECORD_BYTES);
}
