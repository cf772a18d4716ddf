/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost.h - a device whose queues somebody else serves: another process (vhost_user.c), or the
 * host's kernel (vhost_kernel.c). It is given the guest's memory, the rings, and for each queue two
 * eventfds: the doorbell, to which KVM writes, and the one of an interrupt, which KVM reads. So
 * nothing of a request passes through this process.
 *
 * A thread of the device, its control thread, is all that speaks to the back end. virtio_start()
 * and virtio_stop() leave it a wish. A back end that breaks its connection, breaks the rules, or
 * does not answer within `answer_ms` is lost: it is cut off, for good. The device is at rest then
 * as soon as it is stopped: what a process that has been cut off does to guest memory that it has
 * mapped nobody can know or prevent. A lost device offers no features, so that no driver starts it.
 *
 * It can get another back end, which goes on where the lost one was, if it is known which requests
 * that had begun: a back end can leave a record of them (vhost_ops.tracks); and where the lost one
 * has closed its end and all that the driver had asked was answered, there are none. Otherwise the
 * driver is told at the loss that the device needs a reset, and the new one begins with the next
 * start.
 */
#ifndef PAPRIKA_VIRTIO_VHOST_H
#define PAPRIKA_VIRTIO_VHOST_H

#include "virtio/device.h"

/* A queue, as the back end gets it. */
struct vhost_ring {
	struct virtio_rings rings;
	int kick, call; /* call: -1 if the driver wants no interrupts */
	uint16_t base;  /* index of the first request that nobody has begun */
};

/* A way to speak to back ends. All of them, but destroy, are called by the control thread; on false
 * *err is filled, and the back end is lost. */
struct vhost_ops {
	/* Serve those of the rings that are enabled. It must not take longer than until deadline_ms
	 * (clock_ms()). */
	bool (*start)(void *backend, const struct gmem *gmem, uint64_t features,
	    const struct vhost_ring *rings, unsigned count, uint64_t deadline_ms, struct err *err);
	/* Serve none, answer what is in flight. Not before that true. */
	bool (*stop)(void *backend, const struct vhost_ring *rings, unsigned count,
	    uint64_t deadline_ms, struct err *err);
	/* A descriptor that becomes readable if the back end has gone, or -1; and what that means.
	 */
	int (*watch)(const void *backend);
	bool (*alive)(void *backend, struct err *err);
	/* It is lost: tell it nothing more, take back what can be taken. */
	void (*cut)(void *backend);
	/* The rest is for back ends that can be replaced, else NULL. Has it closed its end? */
	bool (*gone)(const void *backend);
	/* Is there a record of the requests that it has begun, which the next can go by? */
	bool (*tracks)(const void *backend);
	/* Get that record from the one that is lost: the next start() is a continuation. */
	void (*inherit)(void *backend, void *lost);
	void (*destroy)(void *backend);
};

enum { VHOST_CONFIG_MAX = 256, VHOST_ASK_MS = 3000, VHOST_ANSWER_MS = 10000 };

struct vhost_config {
	const struct virtio_kind *kind;
	const char *name; /* for threads and messages, is copied */
	const struct vhost_ops *ops;
	void *backend;      /* argument of ops; the device's, also if it cannot be made */
	uint64_t features;  /* that back end and device have */
	unsigned queues;    /* at most VIRTIO_QUEUES_MAX */
	unsigned served;    /* the first of them are the back end's; nobody serves the others */
	const void *config; /* as the driver reads it, is copied: at most VHOST_CONFIG_MAX */
	size_t config_bytes;
	/* Each request is answered by itself, so that all can be waited for before the back end is
	 * stopped: there are some that say too early that they have ended. */
	bool drains;
	bool tracks; /* the back end can leave a record of its requests, see vhost_ops */
	uint32_t answer_ms;
	/* By the control thread, once: it must not wait. May be NULL. */
	void (*lost)(void *context, const char *reason);
	void *context;
};

/* A device at rest; NULL with *err filled. */
struct virtio_device *vhost_create(
    const struct vhost_config *config, const struct gmem *gmem, struct err *err);

/* Is it of this file, and is its back end lost? Any thread. */
bool vhost_is_lost(const struct virtio_device *device);

/* Another back end for a device. */
struct vhost_offer {
	void *backend; /* of the same vhost_ops */
	uint64_t features;
	bool tracks;                      /* it can leave a record, and go by one */
	size_t config_bytes;              /* of what follows, if the back end tells it, else 0 */
	uint8_t config[VHOST_CONFIG_MAX]; /* as the driver would read it */
};

/* Give a device whose back end is lost another one, which is taken over. *ret_resumes: requests
 * that the driver has made, and will make, are served; else it has to reset the device first. False
 * with *err filled, and nothing has changed: its back end is not lost, or this one is not as that
 * was. The operator's thread. */
bool vhost_reconnect(struct virtio_device *device, const struct vhost_offer *offer,
    bool *ret_resumes, struct err *err);

#endif
