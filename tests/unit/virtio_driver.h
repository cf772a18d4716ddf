/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_driver.h - the driver's side of a virtio device, for tests: guest memory, rings in it, and
 * what a driver does with them; and a transport that counts.
 *
 * A queue's rings lie in the guest's first pages, at `base`; its descriptors are handed out in
 * order, and are free again when the head they belong to has been collected.
 */
#ifndef PAPRIKA_VIRTIO_DRIVER_H
#define PAPRIKA_VIRTIO_DRIVER_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>

#include "virtio/device.h"

enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };

/* As in guest memory. */
struct driver_descriptor {
	struct le64 address;
	struct le32 length;
	struct le16 flags, next;
};

struct driver_queue {
	struct gmem *gmem;
	struct virtio_rings rings;
	bool event_index;
	uint16_t next_descriptor; /* free from here on */
	uint16_t available;       /* index */
	uint16_t used;            /* index, of what has been collected */
};

/* A part of a request. */
struct driver_part {
	uint64_t address;
	uint32_t length;
	bool writable;
};

/* Zeroed rings of `size` at `base`, a multiple of 64 KiB. */
void driver_init(struct driver_queue *queue, struct gmem *gmem, uint64_t base, uint16_t size);

/* Write a descriptor into a table at `table`. */
void driver_describe(struct driver_queue *queue, uint64_t table, unsigned index, uint64_t address,
    uint32_t length, unsigned flags, unsigned next);

/* Put a chain of parts into descriptors, and return its head. With a table: in that, which one
 * descriptor names. */
uint16_t driver_chain(
    struct driver_queue *queue, const struct driver_part *parts, unsigned count, uint64_t table);

/* Make heads available, and tell the index. */
void driver_offer(struct driver_queue *queue, uint16_t head);
void driver_publish(struct driver_queue *queue);

/* Does the device want to be notified of what has been published since `from`? */
bool driver_must_notify(const struct driver_queue *queue, uint16_t from);

/* Collect a used element; false if there is none. */
bool driver_collect(struct driver_queue *queue, uint16_t *ret_head, uint32_t *ret_written);
uint16_t driver_used_index(const struct driver_queue *queue);

/* With the event index: interrupt when the used index goes past this. Without: the flags. */
void driver_want_interrupt(struct driver_queue *queue, uint16_t event);

/* --- A transport ------------------------------------------------------------------------------ */

struct driver_transport {
	pthread_mutex_t lock;
	pthread_cond_t news;
	unsigned interrupts[VIRTIO_QUEUES_MAX], broken, at_rest, changed;
	const int *calls; /* eventfds in place of interrupts, one for each queue, or NULL */
};

void transport_init(struct driver_transport *transport, struct virtio_device *device);
/* The same with eventfds, which are the caller's. */
void transport_init_calls(
    struct driver_transport *transport, struct virtio_device *device, const int *calls);
void transport_finish(struct driver_transport *transport);
void driver_ring(const struct virtio_device *device, unsigned queue);

/* Wait for the event. The test's timeout is the limit. */
void transport_wait_used(
    struct driver_transport *transport, struct driver_queue *queue, uint16_t index);
void transport_wait_broken(struct driver_transport *transport, unsigned count);
/* Each comes after virtio_at_rest() is true. */
void transport_wait_at_rest(struct driver_transport *transport, unsigned count);
/* At least so many changes of the configuration. */
void transport_wait_changed(struct driver_transport *transport, unsigned count);
void transport_stop(struct driver_transport *transport, struct virtio_device *device);

#endif
