/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_queue.c - a split virtqueue over honest and hostile memory. Whatever is wrong breaks the
 * queue, and what was popped before can still be pushed.
 */
#include "virtio_driver.h"

#include <stdlib.h>
#include <string.h>

#include "virtio/queue.h"

#define MIB (UINT64_C(1) << 20)

enum { BASE = 0x10000, BUFFER = 0x40000, TABLE = 0x80000, SIZE = 8 };

struct fixture {
	struct gmem gmem;
	struct driver_queue driver;
	struct virtqueue queue;
	struct virtio_chain chain;
};

static void fixture_begin(struct fixture *f, uint16_t size, uint64_t features)
{
	driver_init(&f->driver, &f->gmem, BASE, size);
	f->driver.event_index = (features & VIRTIO_F_EVENT_IDX) != 0;
	assert_true(virtqueue_start(&f->queue, &f->gmem, features, &f->driver.rings));
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct err err = {0};

	if (f == NULL || !gmem_init(&f->gmem, MIB, MIB, &err))
		return -1;
	fixture_begin(f, SIZE, VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	gmem_finish(&f->gmem);
	free(f);
	return 0;
}

static void offer_head(struct fixture *f, uint16_t head)
{
	driver_offer(&f->driver, head);
	driver_publish(&f->driver);
}

static void offer(struct fixture *f, const struct driver_part *parts, unsigned count)
{
	offer_head(f, driver_chain(&f->driver, parts, count, 0));
}

static void expect_broken(struct fixture *f, const char *reason)
{
	uint16_t in_flight = f->queue.in_flight;

	assert_false(virtqueue_pop(&f->queue, &f->chain));
	assert_true(f->queue.broken);
	assert_string_equal(f->queue.reason, reason);
	assert_int_equal(f->queue.in_flight, in_flight);
	/* It stays so, and the first reason is kept. */
	assert_false(virtqueue_pop(&f->queue, &f->chain));
	assert_false(virtqueue_break(&f->queue, "another"));
	assert_false(virtqueue_listen(&f->queue));
	assert_string_equal(f->queue.reason, reason);
}

/* --- Starting --------------------------------------------------------------------------------- */

static void rings_are_checked_at_the_start(void **state)
{
	static const struct {
		struct virtio_rings rings;
		bool good;
	} cases[] = {
	    {{true, 8, 0x1000, 0x2000, 0x3000}, true},
	    {{true, 1, 0x1000, 0x2000, 0x3000}, true},
	    {{true, 256, 0x1000, 0x2000, 0x3000}, true},
	    {{true, 0, 0x1000, 0x2000, 0x3000}, false},
	    {{true, 3, 0x1000, 0x2000, 0x3000}, false},
	    {{true, 512, 0x1000, 0x2000, 0x3000}, false},
	    {{true, 32768, 0x1000, 0x2000, 0x3000}, false},
	    /* Alignment of 16, 2 and 4. */
	    {{true, 8, 0x1008, 0x2000, 0x3000}, false},
	    {{true, 8, 0x1010, 0x2000, 0x3000}, true},
	    {{true, 8, 0x1000, 0x2001, 0x3000}, false},
	    {{true, 8, 0x1000, 0x2002, 0x3000}, true},
	    {{true, 8, 0x1000, 0x2000, 0x3002}, false},
	    {{true, 8, 0x1000, 0x2000, 0x3004}, true},
	    /* The end of RAM: 128, 22 and 70 bytes with the events. */
	    {{true, 8, 0x100000 - 128, 0x2000, 0x3000}, true},
	    {{true, 8, 0x100000 - 112, 0x2000, 0x3000}, false},
	    {{true, 8, 0x1000, 0x100000 - 22, 0x3000}, true},
	    {{true, 8, 0x1000, 0x100000 - 20, 0x3000}, false},
	    {{true, 8, 0x1000, 0x2000, 0x100000 - 72}, true},
	    {{true, 8, 0x1000, 0x2000, 0x100000 - 68}, false},
	    {{true, 8, UINT64_MAX - 15, 0x2000, 0x3000}, false},
	    {{true, 8, 0x1000, UINT64_MAX - 1, 0x3000}, false},
	    {{true, 8, 0x1000, 0x2000, UINT64_MAX - 3}, false},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct virtqueue queue = {.size = 77}, before = queue;

		assert_int_equal(
		    virtqueue_start(&queue, &f->gmem, VIRTIO_F_VERSION_1, &cases[i].rings),
		    cases[i].good);
		if (!cases[i].good)
			assert_memory_equal(&queue, &before, sizeof queue);
	}
}

/* --- Chains ----------------------------------------------------------------------------------- */

static void expect_buffer(struct fixture *f, const struct iovec *buffer, uint64_t at, size_t length)
{
	assert_ptr_equal(buffer->iov_base, f->gmem.host + at);
	assert_int_equal(buffer->iov_len, length);
}

static void a_chain_has_readable_buffers_and_then_writable_ones(void **state)
{
	static const struct driver_part parts[] = {{BUFFER, 16, false},
	    {BUFFER + 0x1000, 512, false}, {BUFFER + 0x2000, 4096, true},
	    {BUFFER + 0x4000, 1, true}};
	struct fixture *f = *state;

	assert_false(virtqueue_pop(&f->queue, &f->chain));
	f->driver.next_descriptor = 5; /* so that it wraps */
	offer(f, parts, 4);
	assert_true(virtqueue_pop(&f->queue, &f->chain));
	assert_int_equal(f->chain.head, 5);
	assert_int_equal(f->chain.readable.count, 2);
	assert_int_equal(f->chain.readable.bytes, 528);
	assert_int_equal(f->chain.writable.count, 2);
	assert_int_equal(f->chain.writable.bytes, 4097);
	expect_buffer(f, &f->chain.readable.list[0], BUFFER, 16);
	expect_buffer(f, &f->chain.readable.list[1], BUFFER + 0x1000, 512);
	expect_buffer(f, &f->chain.writable.list[0], BUFFER + 0x2000, 4096);
	expect_buffer(f, &f->chain.writable.list[1], BUFFER + 0x4000, 1);
	assert_int_equal(f->queue.in_flight, 1);
	assert_false(virtqueue_pop(&f->queue, &f->chain));
	assert_false(f->queue.broken);
}

static void a_chain_may_end_in_an_indirect_table(void **state)
{
	static const struct driver_part parts[] = {
	    {BUFFER, 16, false}, {BUFFER + 0x1000, 512, true}, {BUFFER + 0x2000, 1, true}};
	struct fixture *f = *state;

	offer_head(f, driver_chain(&f->driver, parts, 3, TABLE));
	/* The flag "writable" of the descriptor that names the table says nothing. */
	driver_describe(
	    &f->driver, f->driver.rings.descriptors, 0, TABLE, 48, DESC_INDIRECT | DESC_WRITE, 7);
	assert_true(virtqueue_pop(&f->queue, &f->chain));
	assert_int_equal(f->chain.readable.bytes, 16);
	assert_int_equal(f->chain.writable.bytes, 513);
	/* A direct one in front of it. */
	driver_describe(
	    &f->driver, f->driver.rings.descriptors, 2, BUFFER + 0x8000, 100, DESC_NEXT, 3);
	driver_describe(&f->driver, f->driver.rings.descriptors, 3, TABLE, 48, DESC_INDIRECT, 0);
	offer_head(f, 2);
	assert_true(virtqueue_pop(&f->queue, &f->chain));
	assert_int_equal(f->chain.readable.count, 2);
	assert_int_equal(f->chain.readable.bytes, 116);
	assert_int_equal(f->chain.writable.bytes, 513);
	assert_int_equal(f->queue.in_flight, 2);
}

static void empty_buffers_are_passed_over(void **state)
{
	static const struct driver_part parts[] = {
	    {BUFFER, 0, true}, {UINT64_MAX, 0, false}, {BUFFER, 4, false}, {BUFFER, 0, true}};
	struct fixture *f = *state;

	offer(f, parts, 4);
	assert_true(virtqueue_pop(&f->queue, &f->chain));
	assert_int_equal(f->chain.readable.count, 1);
	assert_int_equal(f->chain.readable.bytes, 4);
	assert_int_equal(f->chain.writable.count, 0);
}

/* A table of `count` buffers of one byte; those from `empty` on are empty. */
static void long_table(struct fixture *f, unsigned count, unsigned empty)
{
	for (unsigned i = 0; i < count; i++)
		driver_describe(&f->driver, TABLE, i, BUFFER + i, i < empty,
		    i + 1 < count ? DESC_NEXT : 0, i + 1);
}

static void the_number_of_buffers_is_bounded(void **state)
{
	struct fixture *f = *state;

	long_table(f, VIRTIO_BUFFERS_MAX, VIRTIO_BUFFERS_MAX);
	driver_describe(&f->driver, f->driver.rings.descriptors, 0, TABLE, 16 * VIRTIO_BUFFERS_MAX,
	    DESC_INDIRECT, 0);
	offer_head(f, 0);
	assert_true(virtqueue_pop(&f->queue, &f->chain));
	assert_int_equal(f->chain.readable.count, VIRTIO_BUFFERS_MAX);
	/* One more, in front of the table. */
	driver_describe(&f->driver, f->driver.rings.descriptors, 1, BUFFER, 1, DESC_NEXT, 2);
	driver_describe(&f->driver, f->driver.rings.descriptors, 2, TABLE, 16 * VIRTIO_BUFFERS_MAX,
	    DESC_INDIRECT, 0);
	offer_head(f, 1);
	expect_broken(f, "too many buffers in one request");
	virtqueue_push(&f->queue, 0, 0);
	assert_int_equal(driver_used_index(&f->driver), 1);
}

static void the_number_of_descriptors_is_bounded(void **state)
{
	struct fixture *f = *state;

	long_table(f, 256, 8);
	driver_describe(
	    &f->driver, f->driver.rings.descriptors, 0, TABLE, 16 * 255, DESC_INDIRECT, 0);
	driver_describe(&f->driver, TABLE, 254, BUFFER, 1, 0, 0);
	offer_head(f, 0);
	assert_true(virtqueue_pop(&f->queue, &f->chain)); /* 256, with the one for the table */
	driver_describe(&f->driver, TABLE, 254, BUFFER, 1, DESC_NEXT, 255);
	driver_describe(
	    &f->driver, f->driver.rings.descriptors, 1, TABLE, 16 * 256, DESC_INDIRECT, 0);
	offer_head(f, 1);
	expect_broken(f, "a chain longer than a queue");
}

static void the_length_of_a_request_is_bounded(void **state)
{
	struct gmem large;
	struct err err = {0};
	struct fixture *f = *state;

	/* Addresses only: nothing of it is touched. */
	assert_true(gmem_init(&large, UINT64_C(5) << 30, UINT64_C(5) << 30, &err));
	driver_init(&f->driver, &large, BASE, SIZE);
	assert_true(virtqueue_start(&f->queue, &large, VIRTIO_F_VERSION_1, &f->driver.rings));
	offer(f, (struct driver_part[]){{0, UINT32_MAX - 1, false}, {0, 1, true}}, 2);
	assert_true(virtqueue_pop(&f->queue, &f->chain));
	assert_int_equal(f->chain.readable.bytes + f->chain.writable.bytes, UINT32_MAX);
	offer(f, (struct driver_part[]){{0, UINT32_MAX, false}, {0, 1, true}}, 2);
	expect_broken(f, "a request of 4 GiB or more");
	gmem_finish(&large);
}

/* --- What a driver can do wrong --------------------------------------------------------------- */

/* A descriptor: where, and what it is. Those at 8 and on are in the table, from its begin. */
struct row {
	unsigned at;
	uint64_t address;
	uint32_t length;
	unsigned flags, next;
};

static void what_a_driver_does_wrong_breaks_the_queue(void **state)
{
	static const struct {
		const char *reason;
		uint16_t head;
		struct row rows[3];
	} cases[] = {
	    {"a descriptor outside its table", 8, {{0}}},
	    {"a descriptor outside its table", 65535, {{0}}},
	    {"a descriptor outside its table", 0, {{0, BUFFER, 1, DESC_NEXT, 8}}},
	    {"a descriptor outside its table", 0,
	        {{0, TABLE, 16, DESC_INDIRECT, 0}, {8, BUFFER, 1, DESC_NEXT, 1}}},
	    {"a chain longer than a queue", 0, {{0, BUFFER, 0, DESC_NEXT, 0}}},
	    {"too many buffers in one request", 0,
	        {{0, BUFFER, 1, DESC_NEXT, 1}, {1, BUFFER, 1, DESC_NEXT, 0}}},
	    {"a chain longer than a queue", 0,
	        {{0, TABLE, 32, DESC_INDIRECT, 0}, {8, BUFFER, 0, DESC_NEXT, 1},
	            {9, BUFFER, 0, DESC_NEXT, 0}}},
	    {"a readable buffer behind a writable one", 0,
	        {{0, BUFFER, 1, DESC_NEXT | DESC_WRITE, 1}, {1, BUFFER, 1, 0, 0}}},
	    {"a buffer that is no memory", 0, {{0, 0x100000, 1, 0, 0}}},
	    {"a buffer that is no memory", 0, {{0, 0xfffff, 2, DESC_WRITE, 0}}},
	    {"a buffer that is no memory", 0, {{0, UINT64_MAX, 2, 0, 0}}},
	    {"an indirect table where none may be", 0,
	        {{0, TABLE, 16, DESC_INDIRECT | DESC_NEXT, 1}}},
	    {"an indirect table where none may be", 0,
	        {{0, TABLE, 16, DESC_INDIRECT, 0}, {8, TABLE, 16, DESC_INDIRECT, 0}}},
	    {"an indirect table of a wrong size", 0, {{0, TABLE, 0, DESC_INDIRECT, 0}}},
	    {"an indirect table of a wrong size", 0, {{0, TABLE, 24, DESC_INDIRECT, 0}}},
	    {"an indirect table of a wrong size", 0, {{0, TABLE, 16 * 257, DESC_INDIRECT, 0}}},
	    {"descriptors that are no memory", 0, {{0, 0x100000 - 16, 32, DESC_INDIRECT, 0}}},
	    {"descriptors that are no memory", 0, {{0, UINT64_MAX - 15, 16, DESC_INDIRECT, 0}}},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		uint16_t head;
		uint32_t written;

		fixture_begin(f, SIZE, VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC);
		driver_describe(&f->driver, BASE, 7, BUFFER, 1, 0, 0);
		offer_head(f, 7);
		assert_true(virtqueue_pop(&f->queue, &f->chain));
		for (size_t r = 0; r < 3 && cases[i].rows[r].address != 0; r++) {
			const struct row *row = &cases[i].rows[r];

			driver_describe(&f->driver, row->at < 8 ? BASE : TABLE, row->at % 8,
			    row->address, row->length, row->flags, row->next);
		}
		offer_head(f, cases[i].head);
		expect_broken(f, cases[i].reason);
		/* The one in flight is answered all the same. */
		virtqueue_push(&f->queue, 7, 3);
		assert_true(driver_collect(&f->driver, &head, &written));
		assert_int_equal(head, 7);
		assert_int_equal(written, 3);
		assert_false(driver_collect(&f->driver, &head, &written));
		assert_int_equal(f->queue.in_flight, 0);
	}
}

static void an_indirect_table_needs_the_feature(void **state)
{
	struct fixture *f = *state;

	fixture_begin(f, SIZE, VIRTIO_F_VERSION_1);
	offer_head(f, driver_chain(&f->driver, &(struct driver_part){BUFFER, 1, true}, 1, TABLE));
	expect_broken(f, "an indirect table where none may be");
}

static void the_available_index_may_be_a_queue_ahead_and_no_more(void **state)
{
	struct fixture *f = *state;

	for (uint16_t i = 0; i < SIZE; i++) {
		driver_describe(&f->driver, BASE, i, BUFFER, 1, 0, 0);
		driver_offer(&f->driver, i);
	}
	driver_publish(&f->driver);
	for (uint16_t i = 0; i < SIZE; i++) {
		assert_true(virtqueue_pop(&f->queue, &f->chain));
		assert_int_equal(f->chain.head, i);
	}
	assert_false(virtqueue_pop(&f->queue, &f->chain));
	assert_false(f->queue.broken);
	f->driver.available = (uint16_t)(f->driver.available + SIZE + 1);
	driver_publish(&f->driver);
	expect_broken(f, "more available than the queue has entries");
	fixture_begin(f, SIZE, VIRTIO_F_VERSION_1);
	f->driver.available = 65535; /* backwards */
	driver_publish(&f->driver);
	expect_broken(f, "more available than the queue has entries");
}

static void a_head_in_flight_is_not_taken_again(void **state)
{
	struct fixture *f = *state;

	offer(f, &(struct driver_part){BUFFER, 1, true}, 1);
	assert_true(virtqueue_pop(&f->queue, &f->chain));
	virtqueue_push(&f->queue, 0, 1);
	offer_head(f, 0); /* it was given back */
	assert_true(virtqueue_pop(&f->queue, &f->chain));
	offer_head(f, 0);
	expect_broken(f, "a request that is in flight, once more");
}

/* Memory that the operator has taken away: in front of each step of the device. */
static void rings_can_stop_being_memory(void **state)
{
	struct gmem *gmem;
	struct err err = {0};
	struct fixture *f = *state;
	uint64_t block = GMEM_BLOCK_BYTES;

	gmem_finish(&f->gmem);
	gmem = &f->gmem;
	assert_true(gmem_init(gmem, block, 2 * block, &err));
	for (int step = 0; step < 6; step++) {
		assert_true(gmem_add_block(gmem, block, &err));
		driver_init(&f->driver, gmem, block, SIZE);
		f->driver.event_index = step % 2 == 0;
		f->driver.rings.descriptors = BASE; /* these stay */
		assert_true(virtqueue_start(
		    &f->queue, gmem, step % 2 == 0 ? VIRTIO_F_EVENT_IDX : 0, &f->driver.rings));
		driver_describe(&f->driver, BASE, 0, BUFFER, 1, 0, 0);
		driver_describe(&f->driver, BASE, 1, BUFFER, 1, 0, 0);
		driver_offer(&f->driver, 0);
		driver_offer(&f->driver, 1);
		driver_publish(&f->driver);
		assert_true(virtqueue_pop(&f->queue, &f->chain));
		if (step == 5)
			virtqueue_push(&f->queue, 0, 0);
		gmem_remove_block(gmem, block);
		switch (step) {
		case 0: assert_false(virtqueue_pop(&f->queue, &f->chain)); break;
		case 1: virtqueue_quiet(&f->queue); break;
		case 2:
			f->queue.seen = f->queue.next;
			assert_false(virtqueue_pop(&f->queue, &f->chain));
			break;
		case 3: virtqueue_push(&f->queue, 0, 0); break;
		case 4: assert_false(virtqueue_listen(&f->queue)); break;
		case 5: assert_false(virtqueue_wants_interrupt(&f->queue)); break;
		}
		assert_true(f->queue.broken);
		assert_non_null(strstr(f->queue.reason, "no memory any more"));
		assert_false(virtqueue_pop(&f->queue, &f->chain));
	}
}

/* --- Answers ---------------------------------------------------------------------------------- */

static void indices_run_on_past_65535(void **state)
{
	struct fixture *f = *state;
	uint16_t head;
	uint32_t written;

	for (uint32_t i = 0; i < 70000; i++) {
		offer(f, &(struct driver_part){BUFFER, 4, true}, 1);
		assert_true(virtqueue_pop(&f->queue, &f->chain));
		assert_int_equal(f->chain.head, i % SIZE);
		virtqueue_push(&f->queue, f->chain.head, i);
		assert_true(driver_collect(&f->driver, &head, &written));
		assert_int_equal(head, i % SIZE);
		assert_int_equal(written, i);
	}
	assert_int_equal(f->queue.in_flight, 0);
}

static void requests_can_be_answered_in_any_order(void **state)
{
	static const uint16_t order[] = {2, 0, 3, 1};
	struct fixture *f = *state;
	uint16_t head;
	uint32_t written;

	for (int i = 0; i < 4; i++)
		offer(f, &(struct driver_part){BUFFER, 4, true}, 1);
	for (int i = 0; i < 4; i++)
		assert_true(virtqueue_pop(&f->queue, &f->chain));
	for (int i = 0; i < 4; i++)
		virtqueue_push(&f->queue, order[i], 10u + order[i]);
	for (int i = 0; i < 4; i++) {
		assert_true(driver_collect(&f->driver, &head, &written));
		assert_int_equal(head, order[i]);
		assert_int_equal(written, 10 + order[i]);
	}
}

static void push(struct fixture *f, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		offer(f, &(struct driver_part){BUFFER, 4, true}, 1);
		assert_true(virtqueue_pop(&f->queue, &f->chain));
		virtqueue_push(&f->queue, f->chain.head, 0);
	}
}

static void without_the_event_index_flags_say_who_wants_what(void **state)
{
	struct fixture *f = *state;

	assert_false(virtqueue_wants_interrupt(&f->queue)); /* nothing was pushed */
	push(f, 2);
	assert_true(virtqueue_wants_interrupt(&f->queue));
	assert_false(virtqueue_wants_interrupt(&f->queue)); /* once */
	driver_want_interrupt(&f->driver, 1);               /* NO_INTERRUPT */
	push(f, 1);
	assert_false(virtqueue_wants_interrupt(&f->queue));
	driver_want_interrupt(&f->driver, 0);
	push(f, 1);
	assert_true(virtqueue_wants_interrupt(&f->queue));

	assert_true(driver_must_notify(&f->driver, 0));
	virtqueue_quiet(&f->queue);
	assert_false(driver_must_notify(&f->driver, 0));
	assert_false(virtqueue_listen(&f->queue));
	assert_true(driver_must_notify(&f->driver, 0));
	/* One came in between: it is seen, because there will be no notification. */
	virtqueue_quiet(&f->queue);
	offer(f, &(struct driver_part){BUFFER, 4, true}, 1);
	assert_true(virtqueue_listen(&f->queue));
}

static void the_event_index_says_for_which_request(void **state)
{
	static const struct {
		unsigned push;
		uint16_t event; /* relative to what was pushed before */
		bool wanted;
	} cases[] = {{1, 0, true}, {1, 1, false}, {1, 65535, false}, {3, 0, true}, {3, 2, true},
	    {3, 3, false}, {3, 65535, false}, {8, 7, true}, {8, 8, false}, {0, 0, false}};
	struct fixture *f = *state;

	fixture_begin(f, SIZE, VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX);
	/* Round the 65536 more than once. */
	for (uint32_t turn = 0; turn < 30000; turn++) {
		size_t i = turn % (sizeof cases / sizeof cases[0]);
		uint16_t before = f->driver.available;

		driver_want_interrupt(&f->driver, (uint16_t)(f->queue.pushed + cases[i].event));
		push(f, cases[i].push);
		assert_int_equal(virtqueue_wants_interrupt(&f->queue), cases[i].wanted);
		assert_false(virtqueue_wants_interrupt(&f->queue));
		/* Nothing asked for a notification since the last time, unless it was the first of
		 * these. */
		virtqueue_quiet(&f->queue);
		assert_int_equal(driver_must_notify(&f->driver, before), cases[i].push > 0);
		assert_false(virtqueue_listen(&f->queue));
		assert_false(driver_must_notify(&f->driver, before));
	}
}

static void a_request_that_comes_while_it_asks_for_notifications_is_seen(void **state)
{
	struct fixture *f = *state;

	fixture_begin(f, SIZE, VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX);
	offer(f, &(struct driver_part){BUFFER, 4, true}, 1);
	assert_true(virtqueue_pop(&f->queue, &f->chain));
	offer(f, &(struct driver_part){BUFFER, 4, true}, 1);
	assert_false(driver_must_notify(&f->driver, 1));
	assert_true(virtqueue_listen(&f->queue));
}

/* --- Buffers ---------------------------------------------------------------------------------- */

static void buffers_are_read_and_written_in_any_pieces(void **state)
{
	char memory[] = "abcdefghijkl", other[13] = "............";
	struct iovec parts[] = {{memory, 1}, {memory + 1, 4}, {memory + 5, 7}};
	struct virtio_buffers from = {parts, 3, 12};
	struct iovec target[] = {{other, 5}, {other + 5, 7}};
	struct virtio_buffers to = {target, 2, 12};
	char text[8] = "";

	(void)state;
	assert_false(virtio_buffers_read(&from, text, 13));
	assert_true(virtio_buffers_read(&from, text, 0));
	assert_true(virtio_buffers_read(&from, text, 3));
	assert_string_equal(text, "abc");
	assert_true(virtio_buffers_read(&from, NULL, 1));
	assert_true(virtio_buffers_read(&from, text, 4));
	assert_memory_equal(text, "efgh", 4);
	assert_int_equal(from.bytes, 4);
	assert_int_equal(from.count, 1);
	assert_false(virtio_buffers_read(&from, text, 5));
	assert_true(virtio_buffers_read(&from, text, 4));
	assert_memory_equal(text, "ijkl", 4);
	assert_int_equal(from.count, 0);
	assert_false(virtio_buffers_read(&from, text, 1));
	assert_null(virtio_buffers_take_last(&from));

	assert_true(virtio_buffers_write(&to, "12", 2));
	assert_ptr_equal(virtio_buffers_take_last(&to), other + 11);
	assert_true(virtio_buffers_write(&to, "3456", 4));
	assert_false(virtio_buffers_write(&to, "777777", 6));
	assert_int_equal(to.bytes, 5);
	assert_string_equal(other, "123456......");
}

static void the_last_byte_can_be_a_buffer(void **state)
{
	char memory[] = "abc";
	struct iovec parts[] = {{memory, 2}, {memory + 2, 1}};
	struct virtio_buffers buffers = {parts, 2, 3};

	(void)state;
	assert_ptr_equal(virtio_buffers_take_last(&buffers), memory + 2);
	assert_int_equal(buffers.count, 1);
	assert_ptr_equal(virtio_buffers_take_last(&buffers), memory + 1);
	assert_int_equal(buffers.bytes, 1);
	assert_ptr_equal(virtio_buffers_take_last(&buffers), memory);
	assert_int_equal(buffers.count, 0);
	assert_int_equal(buffers.bytes, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(rings_are_checked_at_the_start),
	    TEST(a_chain_has_readable_buffers_and_then_writable_ones),
	    TEST(a_chain_may_end_in_an_indirect_table),
	    TEST(empty_buffers_are_passed_over),
	    TEST(the_number_of_buffers_is_bounded),
	    TEST(the_number_of_descriptors_is_bounded),
	    TEST(the_length_of_a_request_is_bounded),
	    TEST(what_a_driver_does_wrong_breaks_the_queue),
	    TEST(an_indirect_table_needs_the_feature),
	    TEST(the_available_index_may_be_a_queue_ahead_and_no_more),
	    TEST(a_head_in_flight_is_not_taken_again),
	    TEST(rings_can_stop_being_memory),
	    TEST(indices_run_on_past_65535),
	    TEST(requests_can_be_answered_in_any_order),
	    TEST(without_the_event_index_flags_say_who_wants_what),
	    TEST(the_event_index_says_for_which_request),
	    TEST(a_request_that_comes_while_it_asks_for_notifications_is_seen),
	    cmocka_unit_test(buffers_are_read_and_written_in_any_pieces),
	    cmocka_unit_test(the_last_byte_can_be_a_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
