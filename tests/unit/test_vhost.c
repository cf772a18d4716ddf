/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_vhost.c - devices whose queues a back end serves: one that does so well, and one that does
 * something wrong at each point. Whatever it does, the device comes to rest.
 */
#include "virtio_driver.h"
#include "vhost_backend.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "virtio/vhost_devices.h"

#define MIB (UINT64_C(1) << 20)

enum { SIZE = 16, DATA = 0x100000, QUEUES = 2, LONG_MS = 60000, SHORT_MS = 200 };

struct fixture {
	struct gmem gmem;
	struct backend backend;
	struct virtio_device *device;
	struct driver_transport transport;
	struct driver_queue queues[QUEUES];
	int calls[QUEUES];
	_Atomic unsigned lost;
	char reason[160];
};

static void note_lost(void *context, const char *reason)
{
	struct fixture *f = context;

	snprintf(f->reason, sizeof f->reason, "%s", reason);
	f->lost++;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct err err = {0};

	log_level = LOG_ERROR;
	if (f == NULL || !gmem_init_shared(&f->gmem, 4 * MIB, 4 * MIB, &err))
		return -1;
	for (unsigned i = 0; i < QUEUES; i++)
		f->calls[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < QUEUES; i++)
		close(f->calls[i]);
	gmem_finish(&f->gmem);
	free(f);
	return 0;
}

/* A disk above the back end; false with err if it cannot be made. */
static bool make(struct fixture *f, uint32_t ask_ms, uint32_t answer_ms, struct err *err)
{
	struct vhost_device_config config = {.name = "disk",
	    .ask_ms = ask_ms,
	    .answer_ms = answer_ms,
	    .lost = note_lost,
	    .context = f};

	f->device = vhost_blk_create(&config, backend_begin(&f->backend), QUEUES, &f->gmem, err);
	if (f->device == NULL)
		return false;
	transport_init_calls(&f->transport, f->device, f->calls);
	return true;
}

static void unmake(struct fixture *f)
{
	if (f->device != NULL) {
		virtio_destroy(f->device);
		transport_finish(&f->transport);
	}
	f->device = NULL;
	backend_end(&f->backend);
}

static bool begin(struct fixture *f)
{
	struct virtio_rings rings[QUEUES];

	for (unsigned i = 0; i < QUEUES; i++) {
		driver_init(&f->queues[i], &f->gmem, 0x10000 + 0x10000 * i, SIZE);
		rings[i] = f->queues[i].rings;
	}
	return virtio_start(f->device, VIRTIO_F_VERSION_1, rings);
}

static void ask(struct fixture *f, unsigned queue)
{
	const struct driver_part part = {DATA, 512, true};

	driver_offer(&f->queues[queue], driver_chain(&f->queues[queue], &part, 1, 0));
	driver_publish(&f->queues[queue]);
	driver_ring(f->device, queue);
}

static void wait_call(struct fixture *f, unsigned queue)
{
	struct pollfd call = {.fd = f->calls[queue], .events = POLLIN};
	eventfd_t value;

	assert_int_equal(poll(&call, 1, LONG_MS), 1);
	eventfd_read(f->calls[queue], &value);
}

static size_t open_files(void)
{
	struct stat stat_of;
	size_t count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fstat(fd, &stat_of) == 0;
	return count;
}

/* --- A good one ------------------------------------------------------------------------------- */

static void a_back_end_serves_the_rings(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};
	size_t files = open_files();
	uint16_t head;
	uint32_t written;
	uint8_t sectors;

	assert_true(make(f, LONG_MS, LONG_MS, &err));
	assert_int_equal(virtio_kind(f->device)->id, 2);
	/* What the device does not know is not offered: packed rings. */
	assert_int_equal(virtio_features(f->device),
	    VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | UINT64_C(1) << 12);
	virtio_read_config(f->device, 0, &sectors, 1);
	assert_int_equal(sectors, 8);
	virtio_read_config(f->device, 34, &sectors, 1);
	assert_int_equal(sectors, QUEUES);
	for (unsigned round = 1; round <= 3; round++) {
		assert_true(begin(f));
		assert_false(virtio_at_rest(f->device));
		for (unsigned i = 0; i < QUEUES; i++) {
			ask(f, i);
			wait_call(f, i);
			assert_true(driver_collect(&f->queues[i], &head, &written));
		}
		assert_int_equal(virtio_progress(f->device).done, QUEUES);
		assert_int_equal(virtio_progress(f->device).in_flight, 0);
		virtio_stop(f->device);
		transport_wait_at_rest(&f->transport, round);
		assert_true(virtio_at_rest(f->device));
	}
	assert_int_equal(f->backend.acked, VIRTIO_F_VERSION_1 | VHOST_USER_F_PROTOCOL_FEATURES);
	assert_int_equal(f->backend.requests[VHOST_USER_GET_VRING_BASE], 3 * QUEUES);
	assert_int_equal(f->lost, 0);
	unmake(f);
	assert_int_equal(open_files(), files);
}

static void one_that_acknowledges_nothing_serves_too(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};

	f->backend.protocol = VHOST_USER_PROTOCOL_F_MQ | VHOST_USER_PROTOCOL_F_CONFIG;
	assert_true(make(f, LONG_MS, LONG_MS, &err));
	assert_true(begin(f));
	ask(f, 1);
	wait_call(f, 1);
	virtio_stop(f->device);
	transport_wait_at_rest(&f->transport, 1);
	unmake(f);
}

static void a_stop_may_overtake_the_start(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};

	assert_true(make(f, LONG_MS, LONG_MS, &err));
	for (unsigned round = 1; round <= 20; round++) {
		assert_true(begin(f));
		assert_false(begin(f));
		virtio_stop(f->device);
		virtio_stop(f->device);
		transport_wait_at_rest(&f->transport, round);
	}
	assert_int_equal(f->lost, 0);
	unmake(f);
}

/* Its answer to GET_VRING_BASE would come when the requests have ended. */
static void requests_that_hang_hold_nothing(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};

	f->backend.hangs = true;
	assert_true(make(f, LONG_MS, SHORT_MS, &err));
	assert_true(begin(f));
	ask(f, 0);
	/* The last thing that is asked at the start. */
	while (f->backend.requests[VHOST_USER_GET_FEATURES] < 2)
		sched_yield();
	virtio_stop(f->device);
	transport_wait_at_rest(&f->transport, 1);
	assert_string_equal(f->reason, "disk: the back end does not end its requests in time");
	assert_int_equal(f->backend.requests[VHOST_USER_GET_VRING_BASE], 0);
	unmake(f);
}

/* It may not say that it has stopped before the last is answered; nor is it asked. */
static void requests_end_before_the_device_rests(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};

	assert_true(make(f, LONG_MS, LONG_MS, &err));
	for (unsigned round = 1; round <= 10; round++) {
		const struct driver_part part = {DATA, 512, true};

		assert_true(begin(f));
		/* Not notified of: the back end is, when the device is stopped. */
		for (unsigned i = 0; i < 4; i++)
			driver_offer(&f->queues[1], driver_chain(&f->queues[1], &part, 1, 0));
		ask(f, 0);
		wait_call(f, 0);
		driver_publish(&f->queues[1]);
		virtio_stop(f->device);
		transport_wait_at_rest(&f->transport, round);
		assert_int_equal(driver_used_index(&f->queues[1]), 4);
	}
	assert_int_equal(f->lost, 0);
	unmake(f);
}

static void rings_have_to_be_memory(void **state)
{
	struct fixture *f = *state;
	struct virtio_rings rings[QUEUES] = {{.enabled = true,
	    .size = SIZE,
	    .descriptors = 0x10000,
	    .driver = 0x20000,
	    .device = 5 * MIB}};
	struct err err = {0};

	assert_true(make(f, LONG_MS, LONG_MS, &err));
	assert_false(virtio_start(f->device, VIRTIO_F_VERSION_1, rings));
	rings[0].device = 0x30000;
	assert_false(virtio_start(f->device, 0, rings));
	assert_false(virtio_start(f->device, VIRTIO_F_VERSION_1 | 1, rings));
	assert_true(virtio_at_rest(f->device));
	assert_true(virtio_start(f->device, VIRTIO_F_VERSION_1, rings));
	virtio_stop(f->device);
	transport_wait_at_rest(&f->transport, 1);
	unmake(f);
}

/* --- Bad ones --------------------------------------------------------------------------------- */

static const uint32_t at_making[] = {VHOST_USER_GET_FEATURES, VHOST_USER_GET_PROTOCOL_FEATURES,
    VHOST_USER_GET_QUEUE_NUM, VHOST_USER_GET_CONFIG, VHOST_USER_SET_OWNER};
static const uint32_t at_start[] = {VHOST_USER_SET_FEATURES, VHOST_USER_SET_MEM_TABLE,
    VHOST_USER_SET_VRING_NUM, VHOST_USER_SET_VRING_BASE, VHOST_USER_SET_VRING_ADDR,
    VHOST_USER_SET_VRING_CALL, VHOST_USER_SET_VRING_KICK, VHOST_USER_SET_VRING_ENABLE};

/* Is it wrong as an answer to this request? An answer that is due twice is seen with the next; a
 * number that is asked for may be 1, and a number of queues or a ring's place, too. */
static bool is_wrong(enum backend_fault fault, uint32_t request)
{
	bool tells = request == VHOST_USER_SET_OWNER || request < 15 ||
	             request == VHOST_USER_SET_VRING_ENABLE;

	if (fault == BACKEND_REFUSES)
		return tells && request != VHOST_USER_GET_FEATURES &&
		       request != VHOST_USER_GET_VRING_BASE;
	if (fault == BACKEND_INDEX)
		return request == VHOST_USER_GET_VRING_BASE;
	return true;
}

static void a_device_is_not_made_of_a_bad_one(void **state)
{
	struct fixture *f = *state;
	size_t files = open_files();

	for (size_t i = 0; i < sizeof at_making / sizeof at_making[0]; i++)
		for (enum backend_fault fault = BACKEND_CLOSES; fault < BACKEND_FAULTS; fault++) {
			struct err err = {0};

			if (!is_wrong(fault, at_making[i]) || fault == BACKEND_TWICE)
				continue;
			f->backend = (struct backend){.fault = fault, .at = at_making[i]};
			assert_false(
			    make(f, fault == BACKEND_SILENT ? SHORT_MS : LONG_MS, LONG_MS, &err));
			assert_int_not_equal(err.class, ERR_NONE);
			assert_non_null(strstr(err.message, "disk: the back end"));
			unmake(f);
			assert_int_equal(open_files(), files);
		}
}

static void wrong_at(struct fixture *f, enum backend_fault fault, uint32_t request, bool at_stop)
{
	struct err err = {0};

	f->backend = (struct backend){.fault = fault, .at = request};
	f->lost = 0;
	assert_true(make(f, LONG_MS, fault == BACKEND_SILENT ? SHORT_MS : LONG_MS, &err));
	assert_true(begin(f));
	if (!at_stop) {
		/* One that has closed before a request was made has left nothing undone. */
		while (f->lost == 0)
			sched_yield();
		assert_int_equal(
		    f->transport.broken, fault != BACKEND_CLOSES && fault != BACKEND_CUT);
	} else {
		/* A stop that comes before the start is done is nothing to the back end. */
		ask(f, 0);
		wait_call(f, 0);
	}
	virtio_stop(f->device);
	transport_wait_at_rest(&f->transport, 1);
	/* What comes unasked is seen when it has come. */
	while (fault == BACKEND_TWICE && f->lost == 0)
		sched_yield();
	assert_int_equal(f->lost, 1);
	assert_true(vhost_is_lost(f->device));
	assert_int_equal(virtio_features(f->device), 0);
	assert_false(begin(f));
	virtio_stop(f->device);
	assert_true(virtio_at_rest(f->device));
	unmake(f);
}

static void a_bad_one_is_lost_at_the_start(void **state)
{
	struct fixture *f = *state;
	size_t files = open_files();

	for (size_t i = 0; i < sizeof at_start / sizeof at_start[0]; i++)
		for (enum backend_fault fault = BACKEND_CLOSES; fault < BACKEND_FAULTS; fault++)
			if (is_wrong(fault, at_start[i])) {
				wrong_at(f, fault, at_start[i], false);
				assert_int_equal(open_files(), files);
			}
}

static void a_bad_one_is_lost_at_the_end(void **state)
{
	struct fixture *f = *state;

	for (enum backend_fault fault = BACKEND_CLOSES; fault < BACKEND_FAULTS; fault++)
		if (is_wrong(fault, VHOST_USER_GET_VRING_BASE))
			wrong_at(f, fault, VHOST_USER_GET_VRING_BASE, true);
}

static void one_that_dies_in_use_is_noticed(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};

	for (unsigned started = 0; started < 2; started++) {
		f->backend = (struct backend){.hangs = true};
		f->lost = 0;
		assert_true(make(f, LONG_MS, LONG_MS, &err));
		if (started) {
			assert_true(begin(f));
			ask(f, 0);
		}
		shutdown(f->backend.socket, SHUT_RDWR);
		if (started)
			transport_wait_broken(&f->transport, 1);
		while (f->lost == 0)
			sched_yield();
		assert_string_equal(f->reason, "disk: the back end has closed the connection");
		virtio_stop(f->device);
		if (started)
			transport_wait_at_rest(&f->transport, 1);
		assert_int_equal(virtio_features(f->device), 0);
		unmake(f);
	}
}

static void an_old_one_is_refused(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};

	f->backend.features = VHOST_USER_F_PROTOCOL_FEATURES;
	assert_false(make(f, LONG_MS, LONG_MS, &err));
	assert_non_null(strstr(err.message, "virtio 1.0"));
	unmake(f);
	f->backend = (struct backend){.protocol = VHOST_USER_PROTOCOL_F_MQ};
	err = (struct err){0};
	assert_false(make(f, LONG_MS, LONG_MS, &err));
	assert_non_null(strstr(err.message, "configuration"));
	unmake(f);
}

static void memory_has_to_be_shared(void **state)
{
	struct fixture *f = *state;
	struct vhost_device_config config = {.name = "files", .ask_ms = LONG_MS};
	struct gmem alone;
	struct err err = {0};

	assert_true(gmem_init(&alone, MIB, MIB, &err));
	assert_null(vhost_fs_create(&config, backend_begin(&f->backend), "tag", &alone, &err));
	assert_non_null(strstr(err.message, "not shared"));
	gmem_finish(&alone);
	unmake(f);
}

#define TEST(function)                                                                             \
	{                                                                                          \
#function, function, set_up, tear_down, NULL                                       \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_back_end_serves_the_rings),
	    TEST(one_that_acknowledges_nothing_serves_too),
	    TEST(a_stop_may_overtake_the_start),
	    TEST(requests_that_hang_hold_nothing),
	    TEST(requests_end_before_the_device_rests),
	    TEST(rings_have_to_be_memory),
	    TEST(a_device_is_not_made_of_a_bad_one),
	    TEST(a_bad_one_is_lost_at_the_start),
	    TEST(a_bad_one_is_lost_at_the_end),
	    TEST(one_that_dies_in_use_is_noticed),
	    TEST(an_old_one_is_refused),
	    TEST(memory_has_to_be_shared),
	};

	return cmocka_run_group_tests_name("vhost", tests, NULL, NULL);
}
