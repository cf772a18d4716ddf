/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_user.h - the front end's side of the vhost-user protocol: a back end in another process, at
 * the other end of a UNIX stream socket. QEMU's documentation specifies it
 * (docs/interop/vhost-user.rst); numbers in messages are in the byte order of the machine.
 *
 * Nothing that a back end sends is trusted: each reply must be the one that is due, whole, and in
 * time. The only descriptor that is taken from it is that of its record of requests in flight,
 * which is not read, but handed to the back end that comes after it. What it must have is protocol
 * features, and virtio 1.0; of the protocol's many messages only those are used without which there
 * is no device.
 *
 * A back end gets all of guest memory as one file. Memory that is added later is in it from the
 * beginning, so that nothing has to be said to a back end when memory comes and goes.
 */
#ifndef PAPRIKA_VIRTIO_VHOST_USER_H
#define PAPRIKA_VIRTIO_VHOST_USER_H

#include "virtio/vhost.h"

struct vhost_user;

/* Connected, or a socketpair's end: it is taken over. Ask the back end for its features, until
 * answer_ms have gone by. NULL with *err filled; `what` names it there. */
struct vhost_user *vhost_user_create(
    int socket, const char *what, uint32_t answer_ms, struct err *err);
void vhost_user_destroy(void *backend); /* NULL is allowed */

/* Connect to a socket of this path; -1 with *err filled. */
int vhost_user_connect(const char *path, struct err *err);

uint64_t vhost_user_features(const struct vhost_user *user);
/* How many queues it can serve; 0: it does not say. */
uint64_t vhost_user_queues(const struct vhost_user *user);
/* Whether it can record which requests are in flight, for the one after it. */
bool vhost_user_can_track(const struct vhost_user *user);
/* The device's configuration space, from its beginning. False with *err filled. */
bool vhost_user_read_config(
    struct vhost_user *user, void *to, size_t length, uint32_t answer_ms, struct err *err);

extern const struct vhost_ops vhost_user_ops;

/* For tests, and for a fuzz target: what is sent, and comes. */
enum vhost_user_request {
	VHOST_USER_GET_FEATURES = 1,
	VHOST_USER_SET_FEATURES = 2,
	VHOST_USER_SET_OWNER = 3,
	VHOST_USER_SET_MEM_TABLE = 5,
	VHOST_USER_SET_VRING_NUM = 8,
	VHOST_USER_SET_VRING_ADDR = 9,
	VHOST_USER_SET_VRING_BASE = 10,
	VHOST_USER_GET_VRING_BASE = 11,
	VHOST_USER_SET_VRING_KICK = 12,
	VHOST_USER_SET_VRING_CALL = 13,
	VHOST_USER_GET_PROTOCOL_FEATURES = 15,
	VHOST_USER_SET_PROTOCOL_FEATURES = 16,
	VHOST_USER_GET_QUEUE_NUM = 17,
	VHOST_USER_SET_VRING_ENABLE = 18,
	VHOST_USER_GET_CONFIG = 24,
	VHOST_USER_GET_INFLIGHT_FD = 31,
	VHOST_USER_SET_INFLIGHT_FD = 32,
};
enum { VHOST_USER_VERSION = 1, VHOST_USER_REPLY = 4, VHOST_USER_NEED_REPLY = 8 }; /* flags */
struct vhost_user_header {
	uint32_t request, flags, size; /* size: of what follows */
};
#define VHOST_USER_F_PROTOCOL_FEATURES (UINT64_C(1) << 30)
#define VHOST_USER_PROTOCOL_F_MQ (UINT64_C(1) << 0)
#define VHOST_USER_PROTOCOL_F_REPLY_ACK (UINT64_C(1) << 3)
#define VHOST_USER_PROTOCOL_F_CONFIG (UINT64_C(1) << 9)
#define VHOST_USER_PROTOCOL_F_INFLIGHT (UINT64_C(1) << 12)

/* Guest address 0, as messages call it. */
#define VHOST_USER_BASE (UINT64_C(1) << 40)

#endif
