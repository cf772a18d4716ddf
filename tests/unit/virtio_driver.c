/* SPDX-License-Identifier: Apache-2.0 */
/* virtio_driver.c - see virtio_driver.h. */
#include "virtio_driver.h"

#include <string.h>
#include <unistd.h>

enum { DRIVER_OFFSET = 0x4000, DEVICE_OFFSET = 0x8000 };

void driver_init(struct driver_queue *queue, struct gmem *gmem, uint64_t base, uint16_t size)
{
	static const uint8_t zeros[0x10000];

	assert_true(gmem_write(gmem, base, zeros, sizeof zeros));
	*queue = (struct driver_queue){.gmem = gmem,
	    .rings = {.enabled = true,
	        .size = size,
	        .descriptors = base,
	        .driver = base + DRIVER_OFFSET,
	        .device = base + DEVICE_OFFSET}};
}

void driver_describe(struct driver_queue *queue, uint64_t table, unsigned index, uint64_t address,
    uint32_t length, unsigned flags, unsigned next)
{
	struct driver_descriptor descriptor = {.address = le64(address),
	    .length = le32(length),
	    .flags = le16((uint16_t)flags),
	    .next = le16((uint16_t)next)};

	assert_true(
	    gmem_write(queue->gmem, table + 16 * (uint64_t)index, &descriptor, sizeof descriptor));
}

uint16_t driver_chain(
    struct driver_queue *queue, const struct driver_part *parts, unsigned count, uint64_t table)
{
	unsigned head = queue->next_descriptor;
	unsigned first = table != 0 ? 0 : head;

	for (unsigned i = 0; i < count; i++)
		driver_describe(queue, table != 0 ? table : queue->rings.descriptors,
		    (first + i) % (table != 0 ? count : queue->rings.size), parts[i].address,
		    parts[i].length,
		    (parts[i].writable ? DESC_WRITE : 0) | (i + 1 < count ? DESC_NEXT : 0),
		    (first + i + 1) % (table != 0 ? count : queue->rings.size));
	if (table != 0)
		driver_describe(
		    queue, queue->rings.descriptors, head, table, 16 * count, DESC_INDIRECT, 0);
	queue->next_descriptor = (uint16_t)((head + (table != 0 ? 1 : count)) % queue->rings.size);
	return (uint16_t)head;
}

void driver_offer(struct driver_queue *queue, uint16_t head)
{
	struct le16 value = le16(head);

	assert_true(gmem_write(queue->gmem,
	    queue->rings.driver + 4 + 2 * (uint64_t)(queue->available % queue->rings.size), &value,
	    sizeof value));
	queue->available++;
}

void driver_publish(struct driver_queue *queue)
{
	assert_true(gmem_store16(queue->gmem, queue->rings.driver + 2, le16(queue->available)));
}

static uint16_t load(const struct driver_queue *queue, uint64_t address)
{
	struct le16 value;

	assert_true(gmem_load16(queue->gmem, address, &value));
	return from_le16(value);
}

bool driver_must_notify(const struct driver_queue *queue, uint16_t from)
{
	uint16_t event;

	if (!queue->event_index)
		return (load(queue, queue->rings.device) & 1) == 0;
	event = load(queue, queue->rings.device + 4 + 8 * (uint64_t)queue->rings.size);
	return (uint16_t)(queue->available - event - 1) < (uint16_t)(queue->available - from);
}

uint16_t driver_used_index(const struct driver_queue *queue)
{
	return load(queue, queue->rings.device + 2);
}

bool driver_collect(struct driver_queue *queue, uint16_t *ret_head, uint32_t *ret_written)
{
	struct {
		struct le32 head, written;
	} element;

	if (driver_used_index(queue) == queue->used)
		return false;
	assert_true(gmem_read(queue->gmem,
	    queue->rings.device + 4 + 8 * (uint64_t)(queue->used % queue->rings.size), &element,
	    sizeof element));
	queue->used++;
	*ret_head = (uint16_t)from_le32(element.head);
	*ret_written = from_le32(element.written);
	return true;
}

void driver_want_interrupt(struct driver_queue *queue, uint16_t event)
{
	uint64_t at = queue->rings.driver;

	if (queue->event_index)
		at += 4 + 2 * (uint64_t)queue->rings.size;
	assert_true(gmem_store16(queue->gmem, at, le16(event)));
}

/* --- A transport ------------------------------------------------------------------------------ */

static void transport_note(struct driver_transport *transport, unsigned *counter)
{
	pthread_mutex_lock(&transport->lock);
	++*counter;
	pthread_cond_broadcast(&transport->news);
	pthread_mutex_unlock(&transport->lock);
}

static void transport_interrupt(void *context, unsigned queue)
{
	struct driver_transport *transport = context;

	transport_note(transport, &transport->interrupts[queue]);
}

static void transport_broken(void *context)
{
	struct driver_transport *transport = context;

	transport_note(transport, &transport->broken);
}

static void transport_at_rest(void *context)
{
	struct driver_transport *transport = context;

	transport_note(transport, &transport->at_rest);
}

static void transport_changed(void *context)
{
	struct driver_transport *transport = context;

	transport_note(transport, &transport->changed);
}

static int transport_call(void *context, unsigned queue)
{
	return ((struct driver_transport *)context)->calls[queue];
}

void transport_init(struct driver_transport *transport, struct virtio_device *device)
{
	transport_init_calls(transport, device, NULL);
}

void transport_init_calls(
    struct driver_transport *transport, struct virtio_device *device, const int *calls)
{
	*transport = (struct driver_transport){.calls = calls};
	pthread_mutex_init(&transport->lock, NULL);
	pthread_cond_init(&transport->news, NULL);
	virtio_listen(device, &(struct virtio_listener){.context = transport,
	                          .interrupt = calls == NULL ? transport_interrupt : NULL,
	                          .call = calls != NULL ? transport_call : NULL,
	                          .broken = transport_broken,
	                          .at_rest = transport_at_rest,
	                          .changed = transport_changed});
}

void transport_finish(struct driver_transport *transport)
{
	pthread_cond_destroy(&transport->news);
	pthread_mutex_destroy(&transport->lock);
}

void driver_ring(const struct virtio_device *device, unsigned queue)
{
	uint64_t one = 1;

	assert_int_equal(write(virtio_doorbell(device, queue), &one, sizeof one), sizeof one);
}

void transport_wait_used(
    struct driver_transport *transport, struct driver_queue *queue, uint16_t index)
{
	if (queue->event_index)
		driver_want_interrupt(queue, (uint16_t)(index - 1));
	pthread_mutex_lock(&transport->lock);
	while ((int16_t)(driver_used_index(queue) - index) < 0)
		pthread_cond_wait(&transport->news, &transport->lock);
	pthread_mutex_unlock(&transport->lock);
}

static void transport_wait(
    struct driver_transport *transport, const unsigned *counter, unsigned count)
{
	pthread_mutex_lock(&transport->lock);
	while (*counter < count)
		pthread_cond_wait(&transport->news, &transport->lock);
	assert_int_equal(*counter, count);
	pthread_mutex_unlock(&transport->lock);
}

void transport_wait_broken(struct driver_transport *transport, unsigned count)
{
	transport_wait(transport, &transport->broken, count);
}

void transport_wait_at_rest(struct driver_transport *transport, unsigned count)
{
	transport_wait(transport, &transport->at_rest, count);
}

void transport_wait_changed(struct driver_transport *transport, unsigned count)
{
	pthread_mutex_lock(&transport->lock);
	while (transport->changed < count)
		pthread_cond_wait(&transport->news, &transport->lock);
	pthread_mutex_unlock(&transport->lock);
}

void transport_stop(struct driver_transport *transport, struct virtio_device *device)
{
	virtio_stop(device);
	pthread_mutex_lock(&transport->lock);
	while (!virtio_at_rest(device))
		pthread_cond_wait(&transport->news, &transport->lock);
	pthread_mutex_unlock(&transport->lock);
}
