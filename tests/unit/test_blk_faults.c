/* SPDX-License-Identifier: Apache-2.0 */
/* test_blk_faults.c - the block device: disks that fail or wait, and queues beside each other. */
#include "blk_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

/* --- Errors ----------------------------------------------------------------------------------- */

static void errors_of_the_disk_reach_the_driver_and_the_operator(void **state)
{
	static const int errors[] = {EIO, ENOSPC, EDQUOT, EINVAL};
	struct fixture *f = *state;
	uint32_t written;

	begin(f, (struct disk){.discard = true, .zero = true}, &fake_engine);
	for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
		fake.error = errors[i];
		fake.done = 1024;
		assert_int_equal(ASK(.type = OUT, .sector = 8, .data = DATA, .bytes = 4096), IOERR);
		assert_int_equal(f->error.error, errors[i]);
		assert_int_equal(f->error.operation, DISK_WRITE);
		assert_int_equal(f->error.sector, 10);
		assert_int_equal(f->error.bytes, 3072);
		assert_int_equal(
		    ask(f, &(struct request){.type = IN, .data = DATA, .bytes = 4096}, &written),
		    IOERR);
		assert_int_equal(written, 0); /* nobody knows */
		assert_int_equal(f->error.operation, DISK_READ);
		fake.done = 0;
		assert_int_equal(ASK(.type = FLUSH), IOERR);
		assert_int_equal(f->error.operation, DISK_FLUSH);
		assert_int_equal(ask_range(f, DISCARD, 0, 8, 0), IOERR);
		assert_int_equal(ask_range(f, ZEROES, 0, 8, 0), IOERR);
		assert_int_equal(f->error.operation, DISK_ZERO);
	}
	assert_int_equal(f->errors, 20);
	fake.error = 0;
	assert_int_equal(ASK(.type = OUT, .data = DATA, .bytes = 4096), OK);
}

/* The file is full, or shorter than it was. */
static void a_file_that_fails_is_an_io_error(void **state)
{
	struct fixture *f = *state;

	begin(f, (struct disk){0}, &disk_engine_sync);
	assert_int_equal(ftruncate(f->fd, 8 * 512), 0);
	assert_int_equal(ASK(.type = IN, .sector = 6, .data = DATA, .bytes = 4096), IOERR);
	assert_int_equal(f->error.error, EIO);
	assert_int_equal(f->error.sector, 8);
	assert_int_equal(f->error.bytes, 3072);
	assert_int_equal(fcntl(f->fd, F_ADD_SEALS, F_SEAL_GROW), 0);
	assert_int_equal(ASK(.type = OUT, .sector = 9, .data = DATA, .bytes = 512), IOERR);
	assert_int_equal(f->error.error, EPERM);
}

static void a_request_without_header_or_status_breaks_the_queue(void **state)
{
	static const struct {
		unsigned count;
		struct driver_part parts[2];
	} cases[] = {
	    {1, {{HEADERS, 16, false}}},                  /* no status */
	    {1, {{DATA, 1, true}}},                       /* no header */
	    {2, {{HEADERS, 15, false}, {DATA, 1, true}}}, /* less than one */
	    {1, {{DATA, 0, true}}},
	};
	struct fixture *f = *state;
	uint16_t head;
	uint32_t written;

	begin(f, (struct disk){0}, &fake_engine);
	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		driver_offer(
		    &f->queues[0], driver_chain(&f->queues[0], cases[i].parts, cases[i].count, 0));
		driver_publish(&f->queues[0]);
		driver_ring(f->device, 0);
		transport_wait_broken(&f->transport, i + 1);
		assert_true(driver_collect(&f->queues[0], &head, &written));
		assert_int_equal(written, 0);
		transport_stop(&f->transport, f->device);
		start(f, 0);
		assert_int_equal(ASK(.type = IN, .data = DATA, .bytes = 512), OK);
	}
}

/* --- Cut off -----------------------------------------------------------------------------------
 */

static void a_device_that_is_cut_off_answers_all_with_an_error(void **state)
{
	static const uint32_t types[] = {IN, OUT, FLUSH, GET_ID, 99};
	struct fixture *f = *state;
	uint32_t written;
	unsigned begun;

	begin(f, (struct disk){.discard = true, .zero = true}, &fake_engine);
	assert_int_equal(ASK(.type = OUT, .data = DATA, .bytes = 4096), OK);
	begun = fake.begun;
	virtio_cut_off(f->device, true);
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
		assert_int_equal(ASK(.type = types[i], .data = DATA, .bytes = 512), IOERR);
	assert_int_equal(
	    ask(f, &(struct request){.type = IN, .data = DATA, .bytes = 4096}, &written), IOERR);
	assert_int_equal(written, 0);
	assert_int_equal(ask_range(f, DISCARD, 0, 8, 0), IOERR);
	assert_int_equal(fake.begun, begun);
	assert_int_equal(virtio_progress(f->device).refused, 7);
	assert_int_equal(virtio_progress(f->device).in_flight, 0);
	/* Not the disk's, which nobody is told of. */
	assert_int_equal(f->errors, 0);
	virtio_cut_off(f->device, false);
	assert_int_equal(ASK(.type = IN, .data = DATA, .bytes = 4096), OK);
	assert_int_equal(virtio_progress(f->device).refused, 7);
	/* Each time is counted by itself. */
	virtio_cut_off(f->device, true);
	assert_int_equal(virtio_progress(f->device).refused, 0);
}

/* --- Asynchronous engines --------------------------------------------------------------------- */

static void hold(void)
{
	pthread_mutex_lock(&fake.lock);
	fake.hold = true;
	pthread_mutex_unlock(&fake.lock);
}

/* End what is held, the last begun first, or in the order in which it was begun. What is in flight
 * but not begun yet will end at once. */
static void release(struct fixture *f, bool reverse)
{
	pthread_mutex_lock(&fake.lock);
	fake.hold = false;
	while (fake.held != NULL) {
		struct disk_request *request = fake.held, **at = &fake.ended;

		fake.held = request->next;
		while (reverse && *at != NULL)
			at = &(*at)->next;
		request->next = *at;
		*at = request;
	}
	pthread_mutex_unlock(&fake.lock);
	driver_ring(f->device, 0);
}

static void wait_in_flight(struct fixture *f, unsigned count)
{
	while (virtio_progress(f->device).in_flight != count)
		sched_yield();
}

static void a_whole_queue_can_be_in_flight(void **state)
{
	struct fixture *f = *state;
	bool seen[SIZE] = {0};
	uint16_t head;
	uint32_t written;

	begin(f, (struct disk){0}, &fake_engine);
	for (int turn = 0; turn < 4; turn++) {
		hold();
		memset(seen, 0, sizeof seen);
		for (unsigned i = 0; i < SIZE; i++)
			offer(
			    f, &(struct request){
			           .type = IN, .sector = i, .data = DATA + 512 * i, .bytes = 512});
		driver_ring(f->device, 0);
		wait_in_flight(f, SIZE);
		assert_int_equal(driver_used_index(&f->queues[0]), f->queues[0].used);
		release(f, turn % 2 == 0);
		transport_wait_used(
		    &f->transport, &f->queues[0], (uint16_t)(f->queues[0].used + SIZE));
		for (unsigned i = 0; i < SIZE; i++) {
			assert_true(driver_collect(&f->queues[0], &head, &written));
			assert_int_equal(written, 513);
			assert_false(seen[head]);
			seen[head] = true;
		}
	}
	assert_true(fake.submitted >= 4);
}

/* One more than the queue has is a head that is in flight: the queue is broken, and those in flight
 * are answered. */
static void more_than_a_queue_in_flight_breaks_it(void **state)
{
	struct fixture *f = *state;

	begin(f, (struct disk){0}, &fake_engine);
	hold();
	for (unsigned i = 0; i < SIZE; i++)
		offer(f, &(struct request){.type = IN, .data = DATA, .bytes = 512});
	driver_ring(f->device, 0);
	wait_in_flight(f, SIZE);
	driver_offer(&f->queues[0], 0);
	driver_publish(&f->queues[0]);
	driver_ring(f->device, 0);
	transport_wait_broken(&f->transport, 1);
	assert_int_equal(virtio_progress(f->device).in_flight, SIZE);
	release(f, false);
	transport_wait_used(&f->transport, &f->queues[0], SIZE);
}

static void a_reset_waits_for_the_disk(void **state)
{
	struct fixture *f = *state;

	begin(f, (struct disk){0}, &fake_engine);
	hold();
	for (unsigned i = 0; i < 3; i++)
		offer(f, &(struct request){.type = OUT, .data = DATA, .bytes = 512});
	driver_ring(f->device, 0);
	wait_in_flight(f, 3);
	virtio_stop(f->device);
	driver_ring(f->device, 0);
	assert_false(virtio_at_rest(f->device));
	release(f, false);
	transport_stop(&f->transport, f->device);
	assert_int_equal(virtio_progress(f->device).done, 3);
	assert_int_equal(driver_used_index(&f->queues[0]), 3);
}

/* --- Making, and queues beside each other ----------------------------------------------------- */

static void a_device_that_cannot_be_made_closes_its_disk(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};
	int next = dup(f->fd); /* the lowest that is free */

	close(next);
	fake.fail_open = true;
	assert_null(make(f, (struct disk){0}, 2, &fake_engine, &err));
	assert_string_equal(err.message, "no engine");
	assert_int_equal(dup(f->fd), next);
	close(next);
}

struct writer {
	struct fixture *f;
	unsigned queue;
};

/* Each has a part of the disk and of memory. */
static void *write_and_read(void *argument)
{
	struct writer *writer = argument;
	struct fixture *f = writer->f;
	struct driver_queue *queue = &f->queues[writer->queue];
	uint64_t data = DATA + MIB * writer->queue;

	for (unsigned turn = 0; turn < 20; turn++) {
		for (uint32_t type = OUT; type != UINT32_MAX; type--) { /* OUT, IN */
			unsigned first = turn * 16 * 2 + (type == IN ? 16 : 0);
			uint16_t head;
			uint32_t written;

			for (unsigned i = 0; i < 16; i++) {
				struct {
					struct le32 type, reserved;
					struct le64 sector;
				} header = {.type = le32(type),
				    .sector = le64(writer->queue * 512 + i * 8)};
				uint64_t at = data + 0x80000 + 16 * (uint64_t)((first + i) % 64);
				struct driver_part parts[] = {{at, 16, false},
				    {data + (type == IN ? 0x40000 : 0) + i * 4096, 4096,
				        type == IN},
				    {at + 0x1000, 1, true}};

				if (type == OUT)
					fill(f, parts[1].address, 4096,
					    (uint8_t)(turn + i + writer->queue));
				assert_true(gmem_write(&f->gmem, at, &header, sizeof header));
				driver_offer(queue, driver_chain(queue, parts, 3, 0));
			}
			driver_publish(queue);
			driver_ring(f->device, writer->queue);
			transport_wait_used(&f->transport, queue, (uint16_t)(queue->used + 16));
			while (driver_collect(queue, &head, &written))
				assert_int_equal(written, type == IN ? 4097 : 1);
		}
		assert_memory_equal(f->gmem.host + data, f->gmem.host + data + 0x40000, 16 * 4096);
	}
	return NULL;
}

/* io_uring as a host that does not let us have it answers. */
static bool refused;
static unsigned rings;

int __real_io_uring_queue_init_params(
    unsigned entries, struct io_uring *ring, struct io_uring_params *params);
int __wrap_io_uring_queue_init_params(
    unsigned entries, struct io_uring *ring, struct io_uring_params *params);
int __wrap_io_uring_queue_init_params(
    unsigned entries, struct io_uring *ring, struct io_uring_params *params)
{
	int error = refused ? -EPERM : __real_io_uring_queue_init_params(entries, ring, params);

	rings += error == 0;
	return error;
}

/* With one engine after the other, the last by choice of the device. */
static void queues_carry_data_beside_each_other(void **state)
{
	static const struct {
		const struct disk_engine *engine;
		bool refused;
	} cases[] = {{&disk_engine_sync, false}, {NULL, true}, {NULL, false}};
	struct fixture *f = *state;
	struct writer writers[QUEUES];
	pthread_t threads[QUEUES];

	for (unsigned turn = 0; turn < 3; turn++) {
		struct err err = {0};

		refused = cases[turn].refused;
		rings = 0;
		f->device = make(f, (struct disk){0}, QUEUES, cases[turn].engine, &err);
		assert_non_null(f->device);
		if (turn == 2 && rings != QUEUES)
			print_message("not run: no io_uring here\n");
		else
			assert_int_equal(rings, turn == 2 ? QUEUES : 0);
		transport_init(&f->transport, f->device);
		start(f, 0);
		for (unsigned i = 0; i < QUEUES; i++) {
			writers[i] = (struct writer){f, i};
			assert_int_equal(
			    pthread_create(&threads[i], NULL, write_and_read, &writers[i]), 0);
		}
		for (unsigned i = 0; i < QUEUES; i++)
			pthread_join(threads[i], NULL);
		transport_stop(&f->transport, f->device);
		assert_int_equal(virtio_progress(f->device).done, QUEUES * 20 * 2 * 16);
		virtio_destroy(f->device);
		transport_finish(&f->transport);
	}
	f->device = NULL;
}

/* It was asked for by name, so there is no other. */
static void an_engine_that_was_asked_for_is_not_replaced(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};

	refused = true;
	assert_null(make(f, (struct disk){0}, 1, &disk_engine_uring, &err));
	assert_string_equal(err.message, "cannot use io_uring: Operation not permitted");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(errors_of_the_disk_reach_the_driver_and_the_operator),
	    TEST(a_file_that_fails_is_an_io_error),
	    TEST(a_request_without_header_or_status_breaks_the_queue),
	    TEST(a_device_that_is_cut_off_answers_all_with_an_error),
	    TEST(a_whole_queue_can_be_in_flight),
	    TEST(more_than_a_queue_in_flight_breaks_it),
	    TEST(a_reset_waits_for_the_disk),
	    TEST(a_device_that_cannot_be_made_closes_its_disk),
	    TEST(queues_carry_data_beside_each_other),
	    TEST(an_engine_that_was_asked_for_is_not_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
