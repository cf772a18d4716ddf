/* SPDX-License-Identifier: Apache-2.0 */
/* test_blk_neighbours.c - requests that come together and are neighbours on the disk. */
#include "blk_fixture.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { PAGE = 4096, SECTORS_OF_PAGE = PAGE / 512 };

static uint64_t page(unsigned n)
{
	/* Not in the order of the disk, so that nothing lies side by side by chance. */
	return DATA + (uint64_t)PAGE * ((n * 37) % 256);
}

/* A page from or to the disk's n-th. */
static unsigned prepare_page(struct fixture *f, uint32_t type, unsigned n)
{
	return prepare(f, &(struct request){.type = type,
	                      .sector = (uint64_t)n * SECTORS_OF_PAGE,
	                      .data = page(n),
	                      .bytes = PAGE});
}

/* Make available what has been prepared, and wait for the answers. */
static void send(struct fixture *f, unsigned count)
{
	struct driver_queue *queue = &f->queues[0];
	uint16_t head;
	uint32_t written;

	driver_publish(queue);
	driver_ring(f->device, 0);
	transport_wait_used(&f->transport, queue, (uint16_t)(queue->used + count));
	for (unsigned i = 0; i < count; i++)
		assert_true(driver_collect(queue, &head, &written));
	assert_false(driver_collect(queue, &head, &written));
}

static void neighbours_are_one_request_of_the_disk(void **state)
{
	static const struct {
		struct {
			uint32_t type;
			unsigned n;
		} pages[6];
		unsigned count, begun;
	} cases[] = {
	    {{{IN, 8}, {IN, 9}, {IN, 10}, {IN, 11}}, 4, 1},
	    {{{OUT, 8}, {OUT, 9}, {OUT, 10}}, 3, 1},
	    {{{IN, 8}, {IN, 10}, {IN, 11}, {IN, 9}}, 4, 3},
	    {{{IN, 8}, {OUT, 9}, {OUT, 10}, {IN, 11}}, 4, 3},
	    {{{OUT, 8}, {FLUSH, 0}, {OUT, 9}, {OUT, 10}}, 4, 3},
	    {{{IN, 8}, {IN, 8}}, 2, 2},
	    {{{IN, 9}, {IN, 8}}, 2, 2},
	    {{{IN, 8}}, 1, 1},
	};
	struct fixture *f = *state;

	begin(f, (struct disk){0}, &fake_engine);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		unsigned before = fake.begun, last = 0;

		for (unsigned j = 0; j < cases[i].count; j++)
			last = cases[i].pages[j].type == FLUSH
			           ? prepare(f, &(struct request){.type = FLUSH})
			           : prepare_page(f, cases[i].pages[j].type, cases[i].pages[j].n);
		send(f, cases[i].count);
		assert_int_equal(fake.begun - before, cases[i].begun);
		for (unsigned j = 0; j < cases[i].count; j++)
			assert_int_equal(status_of(f, last - j), OK);
		assert_int_equal(virtio_progress(f->device).in_flight, 0);
	}
}

/* As many as there are buffers for, and not more data than the limit. */
static void a_request_of_the_disk_has_a_limit(void **state)
{
	struct fixture *f = *state;

	begin(f, (struct disk){0}, &fake_engine);
	for (unsigned i = 0; i < 65; i++)
		prepare_page(f, IN, i);
	send(f, 65);
	assert_int_equal(fake.begun, 2);
	fake.begun = 0;
	for (unsigned i = 0; i < 256; i++)
		prepare(f, &(struct request){
		               .type = OUT, .sector = i, .data = DATA + 1024 * i, .bytes = 512});
	send(f, 256);
	assert_in_range(fake.begun, 2, 3);
	/* One that is larger is what it is. */
	fake.begun = 0;
	prepare(f, &(struct request){.type = OUT, .data = DATA, .bytes = 512 << 10});
	prepare_page(f, OUT, 128);
	send(f, 2);
	assert_int_equal(fake.begun, 2);
}

/* What has to be copied is not asked with what has not. */
static void a_place_that_the_disk_does_not_take_is_asked_by_itself(void **state)
{
	struct fixture *f = *state;

	begin(f, (struct disk){.direct = true, .memory_align = 512}, &fake_engine);
	prepare_page(f, IN, 0);
	prepare(f, &(struct request){
	               .type = IN, .sector = SECTORS_OF_PAGE, .data = DATA + 1, .bytes = PAGE});
	prepare_page(f, IN, 2);
	prepare_page(f, IN, 3);
	send(f, 4);
	assert_int_equal(fake.begun, 3);
}

/* Only the one with the bad byte has an error, and only that is told. */
static void each_has_the_answer_that_is_true_of_it(void **state)
{
	static const uint64_t within[] = {0, 1, 512, PAGE - 1};
	struct fixture *f = *state;

	begin(f, (struct disk){0}, &fake_engine);
	for (uint32_t type = IN; type <= OUT; type++) {
		for (unsigned bad = 0; bad < 4; bad++) {
			for (size_t i = 0; i < sizeof within / sizeof within[0]; i++) {
				unsigned errors = atomic_load(&f->errors), last = 0;

				fake.bad = (uint64_t)(8 + bad) * PAGE + within[i];
				for (unsigned n = 0; n < 4; n++)
					last = prepare_page(f, type, 8 + n);
				send(f, 4);
				for (unsigned n = 0; n < 4; n++)
					assert_int_equal(
					    status_of(f, last - 3 + n), n == bad ? IOERR : OK);
				assert_int_equal(atomic_load(&f->errors), errors + 1);
				assert_int_equal(f->error.error, EIO);
				assert_int_equal(f->error.sector, fake.bad / 512);
			}
		}
	}
	assert_int_equal(virtio_progress(f->device).in_flight, 0);
}

/* A file that ends in the middle of neighbours: what it has is read, the rest is an error. */
static void a_file_made_shorter(void **state)
{
	static const struct disk_engine *const engines[] = {&disk_engine_sync, NULL};
	struct fixture *f = *state;

	for (unsigned turn = 0; turn < 2; turn++) {
		unsigned last = 0, errors;

		if (turn > 0) {
			transport_stop(&f->transport, f->device);
			virtio_destroy(f->device);
			transport_finish(&f->transport);
		}
		assert_int_equal(ftruncate(f->fd, SECTORS * 512), 0);
		begin(f, (struct disk){0}, engines[turn]);
		for (unsigned n = 0; n < 4; n++) {
			fill(f, page(8 + n), PAGE, (uint8_t)n);
			prepare_page(f, OUT, 8 + n);
		}
		send(f, 4);
		memset(f->gmem.host + DATA, 0, 256 * PAGE);
		errors = atomic_load(&f->errors);
		assert_int_equal(ftruncate(f->fd, 10 * PAGE + 512), 0);
		for (unsigned n = 0; n < 4; n++)
			last = prepare_page(f, IN, 8 + n);
		send(f, 4);
		for (unsigned n = 0; n < 4; n++) {
			uint8_t expected[PAGE];

			assert_int_equal(status_of(f, last - 3 + n), n < 2 ? OK : IOERR);
			if (n >= 2)
				continue;
			for (unsigned i = 0; i < PAGE; i++)
				expected[i] = (uint8_t)(n + i * 7 + (i >> 8));
			assert_memory_equal(f->gmem.host + page(8 + n), expected, PAGE);
		}
		assert_int_equal(atomic_load(&f->errors) - errors, 2);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(neighbours_are_one_request_of_the_disk),
	    TEST(a_request_of_the_disk_has_a_limit),
	    TEST(a_place_that_the_disk_does_not_take_is_asked_by_itself),
	    TEST(each_has_the_answer_that_is_true_of_it),
	    TEST(a_file_made_shorter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
