/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device.h - a virtio device, as the transport sees it (virtio 1.2, without legacy).
 *
 * A device has a thread for each of its queues, made with the device by the operator's thread and
 * ended with it, never by what a guest does. A queue's thread waits for its doorbell, an eventfd:
 * the guest's notifications, the end of asynchronous I/O and the wishes of the functions below all
 * arrive there. Between virtio_start() and the rest that follows virtio_stop(), the queue is its
 * own: there is no lock on the way of a request.
 *
 * A device is at rest, or it has been started. At rest no thread of it touches guest memory. A
 * device whose back end hangs in a system call does not come to rest, and nothing waits for it.
 */
#ifndef PAPRIKA_VIRTIO_DEVICE_H
#define PAPRIKA_VIRTIO_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "virtio/queue.h"

enum { VIRTIO_QUEUES_MAX = 16 };

struct virtio_device;

/* What a kind of device is called. Each model has one. */
struct virtio_kind {
	uint16_t id;          /* virtio 1.2, section 5 */
	const char *driver;   /* as QMP's device_add names it */
	uint32_t pci_class;   /* of the function, for lspci: drivers ignore it */
	const char *of_class; /* the class in Open Firmware's words, for the node's name */
};

/* The transport. Called by a queue's thread, without a lock: the functions must not wait. */
struct virtio_listener {
	void *context;
	/* There are used buffers in the queue, and the driver wants to know. */
	void (*interrupt)(void *context, unsigned queue);
	/* The driver has broken the rules: DEVICE_NEEDS_RESET. Once for each queue and start. */
	void (*broken)(void *context);
	/* Where used buffers of a queue can be signalled without interrupt() being called: an
	 * eventfd that stays the same from virtio_start() to the rest after virtio_stop(); -1: the
	 * driver wants no interrupts. Only asked in virtio_start(). */
	int (*call)(void *context, unsigned queue);
	/* After virtio_stop(): the last queue has come to rest. The device may have been started
	 * again meanwhile, so ask virtio_at_rest(). */
	void (*at_rest)(void *context);
	/* The configuration has changed. Also called by the operator's thread; may be NULL. */
	void (*changed)(void *context);
};

/* Operator's thread, at rest. Takes NULL. */
void virtio_destroy(struct virtio_device *device);

/* Have each queue's thread call confine, and wait for all of them: a filter for system calls, say.
 * Operator's thread, once, before the guest can reach the device. False with *err filled by the one
 * that failed: the device is only good to be destroyed then. */
bool virtio_confine(struct virtio_device *device, bool (*confine)(void *context, struct err *err),
    void *context, struct err *err);

/* Operator's thread, once, before the first start. */
void virtio_listen(struct virtio_device *device, const struct virtio_listener *listener);

/* --- Constant, any thread ------------------------------------------------------------------- */

const struct virtio_kind *virtio_kind(const struct virtio_device *device);
/* Offered. None, once a back end that served the queues is lost. */
uint64_t virtio_features(const struct virtio_device *device);
unsigned virtio_queues(const struct virtio_device *device);
/* The eventfd to write to, or to be written to by KVM, when the guest notifies the queue. */
int virtio_doorbell(const struct virtio_device *device, unsigned queue);

/* --- The configuration space: any thread ----------------------------------------------------- */

/* Bytes of it; zeros past its end. */
void virtio_read_config(struct virtio_device *device, uint32_t offset, void *to, size_t length);
/* A number that is another one after each change (virtio 1.2, section 2.5.1). */
uint8_t virtio_config_generation(struct virtio_device *device);

/* --- The driver's acts: any thread, without waiting, one at a time --------------------------- */

/* DRIVER_OK: serve the enabled ones of virtio_queues() rings. Not before the device is at rest.
 * False if it is not, if the features are not a subset of those offered or lack VIRTIO_F_VERSION_1,
 * or if rings do not pass virtqueue_start(): the device needs a reset then, and stays at rest. */
bool virtio_start(
    struct virtio_device *device, uint64_t features, const struct virtio_rings *rings);

/* Reset: take no more requests, and answer those in flight. Returns at once. If the device is not
 * at rest then, at_rest() follows. */
void virtio_stop(struct virtio_device *device);

/* --- Any thread ------------------------------------------------------------------------------- */

bool virtio_at_rest(const struct virtio_device *device);

/* Answer requests with an error from now on, without that they reach the back end; or serve them
 * again. Those that have reached it are waited for, as its system calls use the guest's memory. Not
 * all models can: what they are asked they answer at once. */
void virtio_cut_off(struct virtio_device *device, bool off);

struct virtio_progress {
	uint64_t in_flight; /* requests taken and not answered */
	uint64_t done;      /* answered since the last start */
	uint64_t refused;   /* of them, because it is cut off; since it was last cut off */
};
struct virtio_progress virtio_progress(const struct virtio_device *device);

#endif
