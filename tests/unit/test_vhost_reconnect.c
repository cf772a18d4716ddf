/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_vhost_reconnect.c - a device whose back end was lost gets another: requests that were in
 * flight are answered once if there is a record of them, and nothing is guessed if there is none.
 */
#include "virtio_driver.h"
#include "vhost_backend.h"

#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "virtio/vhost_devices.h"

#define MIB (UINT64_C(1) << 20)
#define TRACKING                                                                                   \
	(VHOST_USER_PROTOCOL_F_MQ | VHOST_USER_PROTOCOL_F_REPLY_ACK |                              \
	    VHOST_USER_PROTOCOL_F_CONFIG | VHOST_USER_PROTOCOL_F_INFLIGHT)

enum { SIZE = 16, DATA = 0x100000, LONG_MS = 60000, BACKENDS = 3 };

struct fixture {
	struct gmem gmem;
	struct backend backends[BACKENDS]; /* one after the other */
	unsigned used;
	bool ended[BACKENDS];
	struct virtio_device *device;
	struct driver_transport transport;
	struct driver_queue queue;
	int call;
	size_t files;
	_Atomic unsigned lost;
};

static void note_lost(void *context, const char *reason)
{
	((struct fixture *)context)->lost++;
}

static size_t open_files(void)
{
	struct stat stat_of;
	size_t count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fstat(fd, &stat_of) == 0;
	return count;
}

/* A disk above the first back end, which a driver has started. */
static struct fixture *make(uint64_t protocol)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct vhost_device_config config = {.name = "disk",
	    .ask_ms = LONG_MS,
	    .answer_ms = LONG_MS,
	    .lost = note_lost,
	    .context = f};
	struct err err = {0};

	log_level = LOG_ERROR;
	assert_non_null(f);
	f->files = open_files();
	assert_true(gmem_init_shared(&f->gmem, 4 * MIB, 4 * MIB, &err));
	f->call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	for (unsigned i = 0; i < BACKENDS; i++)
		f->backends[i].protocol = protocol;
	f->device =
	    vhost_blk_create(&config, backend_begin(&f->backends[f->used++]), 1, &f->gmem, &err);
	if (f->device == NULL)
		fail_msg("%s", err.message);
	transport_init_calls(&f->transport, f->device, &f->call);
	return f;
}

static void start(struct fixture *f)
{
	driver_init(&f->queue, &f->gmem, 0x10000, SIZE);
	assert_true(virtio_start(f->device, VIRTIO_F_VERSION_1, &f->queue.rings));
}

static void stop(struct fixture *f)
{
	unsigned before = f->transport.at_rest;

	virtio_stop(f->device);
	transport_wait_at_rest(&f->transport, before + 1);
}

/* What there was before is there again: no descriptor, no memory. */
static void unmake(struct fixture *f)
{
	virtio_destroy(f->device);
	transport_finish(&f->transport);
	for (unsigned i = 0; i < f->used; i++)
		if (!f->ended[i])
			backend_end(&f->backends[i]);
	close(f->call);
	gmem_finish(&f->gmem);
	assert_int_equal(open_files(), f->files);
	free(f);
}

/* A request; its head is its number. */
static void ask(struct fixture *f)
{
	const struct driver_part part = {DATA, 512, true};

	driver_offer(&f->queue, driver_chain(&f->queue, &part, 1, 0));
	driver_publish(&f->queue);
	driver_ring(f->device, 0);
}

static void wait_used(struct fixture *f, uint16_t index)
{
	while (driver_used_index(&f->queue) != index)
		sched_yield();
}

/* The heads that have been answered since, as bits; each once. */
static uint32_t collect(struct fixture *f)
{
	uint32_t heads = 0, written;
	uint16_t head;

	while (driver_collect(&f->queue, &head, &written)) {
		assert_int_equal(heads & 1u << head, 0);
		heads |= 1u << head;
	}
	return heads;
}

/* As with a process that dies, nothing of it is left. */
static void lose(struct fixture *f)
{
	unsigned before = f->lost;

	f->ended[f->used - 1] = true;
	backend_end(&f->backends[f->used - 1]);
	while (f->lost == before)
		sched_yield();
	assert_true(vhost_is_lost(f->device));
}

/* The next back end; the message of a refusal, empty if there is none. */
static const char *reconnect(struct fixture *f, bool *ret_resumes)
{
	const struct vhost_device_config config = {.name = "disk", .ask_ms = LONG_MS};
	struct vhost_offer offer;
	static struct err err;

	err = (struct err){0};
	if (vhost_user_offer(&offer, &config, virtio_kind(f->device), 1,
	        backend_begin(&f->backends[f->used++]), &f->gmem, &err) &&
	    !vhost_reconnect(f->device, &offer, ret_resumes, &err))
		vhost_user_destroy(offer.backend);
	return err.message;
}

/* --- It goes on ------------------------------------------------------------------------------- */

static void nothing_in_flight_is_gone_on_with(void **state)
{
	struct fixture *f = make(0);
	struct pollfd call = {.fd = f->call, .events = POLLIN};
	eventfd_t value;
	bool resumes;

	start(f);
	for (uint16_t i = 1; i <= 3; i++) {
		ask(f);
		wait_used(f, i);
	}
	assert_int_equal(collect(f), 7);
	lose(f);
	/* Made while nobody serves. */
	ask(f);
	eventfd_read(f->call, &value);
	assert_string_equal(reconnect(f, &resumes), "");
	assert_true(resumes);
	wait_used(f, 4);
	assert_int_equal(collect(f), 8);
	assert_int_equal(poll(&call, 1, LONG_MS), 1);
	assert_int_equal(f->backends[1].base, 3);
	assert_int_equal(f->transport.broken, 0);
	stop(f);
	/* From the beginning. */
	start(f);
	ask(f);
	wait_used(f, 1);
	assert_int_equal(f->backends[1].base, 0);
	stop(f);
	unmake(f);
}

/* Answered out of order: 0 and 2 are in flight, 1 and 3 are not. */
static void a_record_tells_what_is_in_flight(void **state)
{
	struct fixture *f = make(TRACKING);
	bool resumes;

	f->backends[0].keeps = 5;
	f->backends[1].keeps = 4;
	start(f);
	for (unsigned i = 0; i < 4; i++)
		ask(f);
	wait_used(f, 2);
	assert_int_equal(collect(f), 10);
	lose(f);
	ask(f);
	/* The second has the record of the first, and dies with what it takes up itself. */
	assert_string_equal(reconnect(f, &resumes), "");
	assert_true(resumes);
	wait_used(f, 5);
	assert_int_equal(collect(f), 21);
	assert_int_equal(f->backends[1].requests[VHOST_USER_GET_INFLIGHT_FD], 0);
	lose(f);
	assert_string_equal(reconnect(f, &resumes), "");
	ask(f);
	wait_used(f, 6);
	assert_int_equal(collect(f), 32);
	assert_int_equal(f->transport.broken, 0);
	stop(f);
	/* A driver that starts anew has nothing in flight. */
	start(f);
	ask(f);
	wait_used(f, 1);
	assert_int_equal(f->backends[2].requests[VHOST_USER_GET_INFLIGHT_FD], 1);
	stop(f);
	unmake(f);
}

static void one_that_was_at_rest(void **state)
{
	struct fixture *f = make(TRACKING);
	bool resumes;

	lose(f);
	assert_int_equal(virtio_features(f->device), 0);
	assert_string_equal(reconnect(f, &resumes), "");
	assert_true(resumes);
	while (virtio_features(f->device) == 0)
		sched_yield();
	start(f);
	ask(f);
	wait_used(f, 1);
	stop(f);
	unmake(f);
}

/* --- It does not ------------------------------------------------------------------------------ */

/* Without a record nobody knows which of the requests were begun. */
static void in_flight_without_a_record(void **state)
{
	struct fixture *f = make(0);
	bool resumes;

	f->backends[0].keeps = 1;
	start(f);
	ask(f);
	ask(f);
	wait_used(f, 1);
	lose(f);
	transport_wait_broken(&f->transport, 1);
	assert_string_equal(reconnect(f, &resumes), "");
	assert_false(resumes);
	while (virtio_features(f->device) == 0)
		sched_yield();
	/* Nothing of the old rings is touched. */
	stop(f);
	assert_int_equal(driver_used_index(&f->queue), 1);
	assert_int_equal(f->backends[1].requests[VHOST_USER_SET_VRING_BASE], 0);
	start(f);
	ask(f);
	wait_used(f, 1);
	stop(f);
	unmake(f);
}

/* It has answered all, but is there still: it may begin a request at any time. */
static void one_that_has_not_closed(void **state)
{
	struct fixture *f = make(0);
	bool resumes;

	start(f);
	ask(f);
	wait_used(f, 1);
	assert_int_equal(send(f->backends[0].socket, "?", 1, 0), 1);
	transport_wait_broken(&f->transport, 1);
	assert_string_equal(reconnect(f, &resumes), "");
	assert_false(resumes);
	stop(f);
	unmake(f);
}

static void what_is_refused(void **state)
{
	struct fixture *f = make(TRACKING);
	bool resumes;

	start(f);
	assert_non_null(strstr(reconnect(f, &resumes), "has its back end"));
	backend_end(&f->backends[--f->used]);
	lose(f);
	for (unsigned wrong = 0; wrong < 3; wrong++) {
		static const char *const texts[] = {
		    "configuration differs", "lacks features", "cannot go on"};
		struct backend *next = &f->backends[1];

		*next = (struct backend){.protocol = TRACKING};
		if (wrong == 0)
			next->sectors = 9;
		else if (wrong == 1)
			next->features = VHOST_USER_F_PROTOCOL_FEATURES | VIRTIO_F_VERSION_1;
		else
			next->protocol = 0;
		assert_non_null(strstr(reconnect(f, &resumes), texts[wrong]));
		assert_true(vhost_is_lost(f->device));
		backend_end(&f->backends[--f->used]);
	}
	/* The right one is taken nevertheless. */
	f->backends[1] = (struct backend){.protocol = TRACKING};
	assert_string_equal(reconnect(f, &resumes), "");
	assert_true(resumes);
	ask(f);
	wait_used(f, 1);
	stop(f);
	unmake(f);
}

/* A back end that fails while it takes over: the one after it still has the record. */
static void one_that_dies_as_it_takes_over(void **state)
{
	static const uint32_t at[] = {VHOST_USER_SET_FEATURES, VHOST_USER_SET_INFLIGHT_FD,
	    VHOST_USER_SET_VRING_BASE, VHOST_USER_SET_VRING_KICK};

	for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
		struct fixture *f = make(TRACKING);
		bool resumes;

		f->backends[0].keeps = 1;
		f->backends[1].fault = BACKEND_CLOSES;
		f->backends[1].at = at[i];
		start(f);
		ask(f);
		ask(f);
		wait_used(f, 1);
		lose(f);
		assert_string_equal(reconnect(f, &resumes), "");
		while (f->lost != 2)
			sched_yield();
		assert_string_equal(reconnect(f, &resumes), "");
		assert_true(resumes);
		wait_used(f, 2);
		assert_int_equal(collect(f), 3);
		assert_int_equal(f->transport.broken, 0);
		stop(f);
		unmake(f);
	}
}

/* A record that is none ends the start. */
static void a_wrong_record(void **state)
{
	static const enum backend_fault faults[] = {BACKEND_CLOSES, BACKEND_REFUSES, BACKEND_OTHER,
	    BACKEND_NO_REPLY_BIT, BACKEND_VERSION, BACKEND_SHORT, BACKEND_LONG, BACKEND_CUT};

	for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
		struct fixture *f = make(TRACKING);

		f->backends[0].fault = faults[i];
		f->backends[0].at = faults[i] == BACKEND_REFUSES ? VHOST_USER_SET_INFLIGHT_FD
		                                                 : VHOST_USER_GET_INFLIGHT_FD;
		start(f);
		while (f->lost == 0)
			sched_yield();
		stop(f);
		unmake(f);
	}
}

#define TEST(function)                                                                             \
	{                                                                                          \
#function, function, NULL, NULL, NULL                                              \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(nothing_in_flight_is_gone_on_with),
	    TEST(a_record_tells_what_is_in_flight),
	    TEST(one_that_was_at_rest),
	    TEST(in_flight_without_a_record),
	    TEST(one_that_has_not_closed),
	    TEST(what_is_refused),
	    TEST(one_that_dies_as_it_takes_over),
	    TEST(a_wrong_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
