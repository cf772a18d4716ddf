/* SPDX-License-Identifier: Apache-2.0 */
/* test_rng.c - the entropy device, with a getrandom() that the test stands in front of. */
#include "virtio_driver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "virtio/rng.h"

#define MIB (UINT64_C(1) << 20)

enum { SIZE = 16, DATA = 0x100000 };

/* What the next calls do; the last goes on. Set while no request is under way. */
static struct {
	unsigned interrupted; /* so many fail with EINTR, */
	size_t most;          /* then so many bytes are given at once, if not 0, */
	size_t fail_after;    /* and after so many it fails, if not 0 */
	size_t given;
} source;

ssize_t getrandom(void *to, size_t length, unsigned flags)
{
	assert_int_equal(flags, 0);
	if (source.interrupted > 0) {
		source.interrupted--;
		errno = EINTR;
		return -1;
	}
	if (source.fail_after != 0 && source.given >= source.fail_after) {
		errno = EIO;
		return -1;
	}
	if (source.most != 0 && length > source.most)
		length = source.most;
	source.given += length;
	memset(to, 0xa5, length);
	return (ssize_t)length;
}

struct fixture {
	struct gmem gmem;
	struct virtio_device *device;
	struct driver_transport transport;
	struct driver_queue queue;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct err err = {0};

	log_level = LOG_ERROR;
	memset(&source, 0, sizeof source);
	if (f == NULL || !gmem_init(&f->gmem, 4 * MIB, 4 * MIB, &err) ||
	    (f->device = virtio_rng_create("rng", &f->gmem, &err)) == NULL)
		return -1;
	transport_init(&f->transport, f->device);
	driver_init(&f->queue, &f->gmem, 0x10000, SIZE);
	*state = f;
	return virtio_start(f->device, VIRTIO_F_VERSION_1, &f->queue.rings) ? 0 : -1;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	transport_stop(&f->transport, f->device);
	virtio_destroy(f->device);
	transport_finish(&f->transport);
	gmem_finish(&f->gmem);
	free(f);
	return 0;
}

/* How many bytes came. */
static uint32_t ask(struct fixture *f, const struct driver_part *parts, unsigned count)
{
	uint16_t head;
	uint32_t written;

	driver_offer(&f->queue, driver_chain(&f->queue, parts, count, 0));
	driver_publish(&f->queue);
	driver_ring(f->device, 0);
	transport_wait_used(&f->transport, &f->queue, (uint16_t)(f->queue.used + 1));
	assert_true(driver_collect(&f->queue, &head, &written));
	return written;
}

static void it_is_an_entropy_device(void **state)
{
	struct fixture *f = *state;
	uint8_t byte = 1;

	assert_int_equal(virtio_kind(f->device)->id, 4);
	assert_int_equal(virtio_queues(f->device), 1);
	assert_int_equal(virtio_features(f->device),
	    VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC);
	virtio_read_config(f->device, 0, &byte, 1);
	assert_int_equal(byte, 0);
}

static void writable_buffers_are_filled(void **state)
{
	struct fixture *f = *state;
	const struct driver_part parts[] = {
	    {DATA, 16, false}, {DATA + 0x100, 100, true}, {DATA + 0x200, 28, true}};

	assert_int_equal(ask(f, parts, 3), 128);
	assert_int_equal(f->gmem.host[DATA], 0);
	assert_int_equal(f->gmem.host[DATA + 0x100 - 1], 0);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(f->gmem.host[DATA + 0x100 + i], 0xa5);
	assert_int_equal(f->gmem.host[DATA + 0x100 + 100], 0);
	assert_int_equal(f->gmem.host[DATA + 0x200 + 27], 0xa5);
	assert_int_equal(f->gmem.host[DATA + 0x200 + 28], 0);
}

static void a_request_gets_a_bounded_number_of_bytes(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ask(f, &(struct driver_part){DATA, 65536, true}, 1), 65536);
	assert_int_equal(ask(f, &(struct driver_part){DATA, 2 * MIB, true}, 1), 65536);
	assert_int_equal(
	    ask(f, (struct driver_part[]){{DATA, 65535, true}, {DATA + MIB, 4096, true}}, 2),
	    65536);
	assert_int_equal(f->gmem.host[DATA + MIB], 0xa5);
	assert_int_equal(
	    ask(f, (struct driver_part[]){{DATA, 65536, true}, {DATA + MIB, 4096, true}}, 2),
	    65536);
	assert_int_equal(source.given, 4 * 65536);
}

static void a_request_without_room_gets_nothing(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ask(f, &(struct driver_part){DATA, 16, false}, 1), 0);
	assert_int_equal(ask(f, &(struct driver_part){DATA, 0, true}, 1), 0);
	assert_int_equal(source.given, 0);
	assert_int_equal(f->transport.broken, 0);
}

static void interruptions_and_short_answers_are_gone_over(void **state)
{
	struct fixture *f = *state;

	source.interrupted = 3;
	source.most = 7;
	assert_int_equal(ask(f, &(struct driver_part){DATA, 100, true}, 1), 100);
	assert_int_equal(f->gmem.host[DATA + 99], 0xa5);
}

static void what_a_failing_source_has_given_is_passed_on(void **state)
{
	struct fixture *f = *state;

	source.most = 10;
	source.fail_after = 30;
	assert_int_equal(
	    ask(f, (struct driver_part[]){{DATA, 25, true}, {DATA + 0x100, 25, true}}, 2), 35);
	assert_int_equal(ask(f, &(struct driver_part){DATA, 100, true}, 1), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(it_is_an_entropy_device),
	    TEST(writable_buffers_are_filled),
	    TEST(a_request_gets_a_bounded_number_of_bytes),
	    TEST(a_request_without_room_gets_nothing),
	    TEST(interruptions_and_short_answers_are_gone_over),
	    TEST(what_a_failing_source_has_given_is_passed_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
