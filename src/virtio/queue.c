/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue.c - see queue.h. Sections are those of virtio 1.2.
 *
 * The driver's index and the device's are free-running; positions in the rings are indices modulo
 * the size. The available ring ends with used_event, the used ring with avail_event.
 */
#include "virtio/queue.h"

#include <string.h>

/* Section 2.7.5. */
struct descriptor {
	struct le64 address;
	struct le32 length;
	struct le16 flags;
	struct le16 next;
};
_Static_assert(sizeof(struct descriptor) == 16, "as in guest memory");

struct used_element {
	struct le32 head;
	struct le32 written;
};

enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };
enum { AVAIL_NO_INTERRUPT = 1, USED_NO_NOTIFY = 1 };
/* Both rings: flags, index, the elements, and behind the last one the event
 * (sections 2.7.6, 2.7.8).
 */
enum { RING_FLAGS = 0, RING_INDEX = 2, RING_ELEMENTS = 4, EVENT_BYTES = 2 };

static uint64_t avail_element(unsigned n)
{
	return RING_ELEMENTS + (uint64_t)n * sizeof(struct le16);
}

static uint64_t used_element(unsigned n)
{
	return RING_ELEMENTS + (uint64_t)n * sizeof(struct used_element);
}

bool virtqueue_break(struct virtqueue *queue, const char *reason)
{
	if (!queue->broken)
		queue->reason = reason;
	queue->broken = true;
	return false;
}

static bool ring_fits(const struct gmem *gmem, uint64_t address, uint64_t align, uint64_t length)
{
	return address % align == 0 && gmem_contains(gmem, address, length);
}

bool virtqueue_start(struct virtqueue *queue, const struct gmem *gmem, uint64_t features,
    const struct virtio_rings *rings)
{
	uint16_t size = rings->size;

	if (size == 0 || size > VIRTIO_QUEUE_SIZE_MAX || (size & (size - 1)) != 0)
		return false;
	if (!ring_fits(gmem, rings->descriptors, 16, sizeof(struct descriptor) * size) ||
	    !ring_fits(gmem, rings->driver, 2, avail_element(size) + EVENT_BYTES) ||
	    !ring_fits(gmem, rings->device, 4, used_element(size) + EVENT_BYTES))
		return false;
	*queue = (struct virtqueue){
	    .gmem = gmem,
	    .descriptors = rings->descriptors,
	    .available = rings->driver,
	    .used = rings->device,
	    .size = size,
	    .event_index = (features & VIRTIO_F_EVENT_IDX) != 0,
	    .indirect = (features & VIRTIO_F_INDIRECT_DESC) != 0,
	};
	return true;
}

/* --- Taking requests ----------------------------------------------------------------------- */

/* Is there a request? Asks the driver only if what it told the last time has been taken. */
static bool virtqueue_has_more(struct virtqueue *queue)
{
	struct le16 index;

	if (queue->broken)
		return false;
	if (queue->seen != queue->next)
		return true;
	if (!gmem_load16(queue->gmem, queue->available + RING_INDEX, &index))
		return virtqueue_break(queue, "the available ring is no memory any more");
	if ((uint16_t)(from_le16(index) - queue->next) > queue->size)
		return virtqueue_break(queue, "more available than the queue has entries");
	queue->seen = from_le16(index);
	return queue->seen != queue->next;
}

static void buffers_append(struct virtio_buffers *buffers, const struct iovec *buffer)
{
	buffers->count++;
	buffers->bytes += buffer->iov_len;
}

/* Readable buffers come first, section 2.7.4.2. */
static bool chain_add(
    struct virtqueue *queue, struct virtio_chain *chain, const struct descriptor *descriptor)
{
	uint32_t length = from_le32(descriptor->length);
	bool writable = (from_le16(descriptor->flags) & DESC_WRITE) != 0;
	unsigned count = chain->readable.count + chain->writable.count;
	struct iovec *buffer = &chain->list[count];

	if (length == 0)
		return true;
	if (!writable && chain->writable.count > 0)
		return virtqueue_break(queue, "a readable buffer behind a writable one");
	if (count == VIRTIO_BUFFERS_MAX)
		return virtqueue_break(queue, "too many buffers in one request");
	if (chain->readable.bytes + chain->writable.bytes + length > UINT32_MAX)
		return virtqueue_break(queue, "a request of 4 GiB or more");
	if (!gmem_iovec(queue->gmem, from_le64(descriptor->address), length, buffer))
		return virtqueue_break(queue, "a buffer that is no memory");
	buffers_append(writable ? &chain->writable : &chain->readable, buffer);
	return true;
}

/* Walks one table from descriptor `at` on, and then the indirect table it may end in: *table and
 * *count become those. `left` bounds both walks. Section 2.7.5.3. */
static bool chain_walk(struct virtqueue *queue, struct virtio_chain *chain, uint64_t *table,
    uint32_t *count, uint16_t at, bool nested, unsigned *left)
{
	struct descriptor descriptor;
	uint16_t flags;

	do {
		if (at >= *count)
			return virtqueue_break(queue, "a descriptor outside its table");
		if ((*left)-- == 0)
			return virtqueue_break(queue, "a chain longer than a queue");
		if (!gmem_read(queue->gmem, *table + sizeof descriptor * at, &descriptor,
		        sizeof descriptor))
			return virtqueue_break(queue, "descriptors that are no memory");
		flags = from_le16(descriptor.flags);
		if (flags & DESC_INDIRECT) {
			uint32_t length = from_le32(descriptor.length);

			if (nested || !queue->indirect || (flags & DESC_NEXT) != 0)
				return virtqueue_break(
				    queue, "an indirect table where none may be");
			if (length == 0 || length % sizeof descriptor != 0 ||
			    length > sizeof descriptor * VIRTIO_QUEUE_SIZE_MAX)
				return virtqueue_break(queue, "an indirect table of a wrong size");
			*table = from_le64(descriptor.address);
			if (!gmem_contains(queue->gmem, *table, length))
				return virtqueue_break(queue, "descriptors that are no memory");
			*count = length / (uint32_t)sizeof descriptor;
			return true;
		}
		if (!chain_add(queue, chain, &descriptor))
			return false;
		at = from_le16(descriptor.next);
	} while (flags & DESC_NEXT);
	*count = 0;
	return true;
}

bool virtqueue_pop(struct virtqueue *queue, struct virtio_chain *ret_chain)
{
	unsigned left = VIRTIO_QUEUE_SIZE_MAX;
	uint64_t table = queue->descriptors;
	uint32_t count = queue->size;
	struct le16 head;

	if (!virtqueue_has_more(queue))
		return false;
	if (!gmem_load16(
	        queue->gmem, queue->available + avail_element(queue->next % queue->size), &head))
		return virtqueue_break(queue, "the available ring is no memory any more");
	ret_chain->head = from_le16(head);
	ret_chain->readable = ret_chain->writable = (struct virtio_buffers){0};
	if (ret_chain->head < queue->size && queue->busy[ret_chain->head])
		return virtqueue_break(queue, "a request that is in flight, once more");
	if (!chain_walk(queue, ret_chain, &table, &count, ret_chain->head, false, &left))
		return false;
	if (count > 0 && !chain_walk(queue, ret_chain, &table, &count, 0, true, &left))
		return false;
	ret_chain->readable.list = ret_chain->list;
	ret_chain->writable.list = ret_chain->list + ret_chain->readable.count;
	queue->busy[ret_chain->head] = true;
	queue->in_flight++;
	queue->next++;
	return true;
}

/* --- Answering ------------------------------------------------------------------------------- */

void virtqueue_push(struct virtqueue *queue, uint16_t head, uint32_t written)
{
	struct used_element element = {.head = le32(head), .written = le32(written)};
	uint64_t at = queue->used + used_element(queue->pushed % queue->size);

	queue->busy[head] = false;
	queue->in_flight--;
	queue->pushed++;
	if (!gmem_write(queue->gmem, at, &element, sizeof element) ||
	    !gmem_store16(queue->gmem, queue->used + RING_INDEX, le16(queue->pushed)))
		virtqueue_break(queue, "the used ring is no memory any more");
}

/* Section 2.7.7. The load is not moved in front of the store of the index in virtqueue_push(). */
bool virtqueue_wants_interrupt(struct virtqueue *queue)
{
	uint16_t from = queue->told;
	uint64_t at =
	    queue->available + (queue->event_index ? avail_element(queue->size) : RING_FLAGS);
	struct le16 word;

	queue->told = queue->pushed;
	if (from == queue->pushed)
		return false;
	if (!gmem_load16(queue->gmem, at, &word))
		return virtqueue_break(queue, "the available ring is no memory any more");
	if (!queue->event_index)
		return (from_le16(word) & AVAIL_NO_INTERRUPT) == 0;
	/* Is used_event among those pushed since, all of it modulo 2^16? */
	return (uint16_t)(queue->pushed - from_le16(word) - 1) < (uint16_t)(queue->pushed - from);
}

/* Section 2.7.10. With the event index the driver notifies for the one request that avail_event
 * names, so it is quiet until that is written anew. */
void virtqueue_quiet(struct virtqueue *queue)
{
	if (!queue->event_index && !queue->broken &&
	    !gmem_store16(queue->gmem, queue->used + RING_FLAGS, le16(USED_NO_NOTIFY)))
		virtqueue_break(queue, "the used ring is no memory any more");
}

/* The driver writes its index, then reads the wish; here the order is reversed, so at least one of
 * the two sees the other. */
bool virtqueue_listen(struct virtqueue *queue)
{
	uint64_t at = queue->used + (queue->event_index ? used_element(queue->size) : RING_FLAGS);

	if (queue->broken)
		return false;
	if (!gmem_store16(queue->gmem, at, le16(queue->event_index ? queue->next : 0)))
		return virtqueue_break(queue, "the used ring is no memory any more");
	return virtqueue_has_more(queue);
}

/* --- Buffers --------------------------------------------------------------------------------- */

/* Copy the first bytes in one direction (the other is NULL), and take them off. */
static bool buffers_consume(
    struct virtio_buffers *buffers, uint8_t *to, const uint8_t *from, size_t length)
{
	if (buffers->bytes < length)
		return false;
	buffers->bytes -= length;
	while (length > 0) {
		struct iovec *first = buffers->list;
		size_t part = first->iov_len < length ? first->iov_len : length;

		if (to != NULL) {
			memcpy(to, first->iov_base, part);
			to += part;
		}
		if (from != NULL) {
			memcpy(first->iov_base, from, part);
			from += part;
		}
		first->iov_base = (uint8_t *)first->iov_base + part;
		first->iov_len -= part;
		length -= part;
		if (first->iov_len == 0) {
			buffers->list++;
			buffers->count--;
		}
	}
	return true;
}

bool virtio_buffers_read(struct virtio_buffers *buffers, void *to, size_t length)
{
	return buffers_consume(buffers, to, NULL, length);
}

bool virtio_buffers_write(struct virtio_buffers *buffers, const void *from, size_t length)
{
	return buffers_consume(buffers, NULL, from, length);
}

uint8_t *virtio_buffers_take_last(struct virtio_buffers *buffers)
{
	struct iovec *last;

	if (buffers->count == 0)
		return NULL;
	last = &buffers->list[buffers->count - 1];
	buffers->bytes--;
	if (--last->iov_len == 0)
		buffers->count--;
	return (uint8_t *)last->iov_base + last->iov_len;
}
