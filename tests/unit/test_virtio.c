/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_virtio.c - the life of a virtio device and the threads of its queues, with a model that
 * answers when the test tells it to.
 */
#include "virtio_driver.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "virtio/model.h"

#define MIB (UINT64_C(1) << 20)

enum { QUEUES = 3, SIZE = 8, BUFFER = 0x60000 };

/* --- The model -------------------------------------------------------------------------------- */

/* A request with something to read is held until the lane's `release` says how many to answer. The
 * others are answered at once; those without any buffer are rejected. Two readable bytes are
 * answered, too, but first the device is stopped. */
struct test_lane {
	struct test_model *model;
	struct virtio_worker *worker;
	struct virtio_chain chain;
	uint16_t held[SIZE];
	unsigned held_count;
	_Atomic unsigned release, submitted;
};

struct test_model {
	unsigned fail_open; /* of the n-th lane */
	unsigned opened, closed;
	struct test_lane lanes[QUEUES];
	uint8_t config[5];
	struct virtio_device *device;
};

static unsigned destroyed;

static void *test_open(void *model, struct virtio_worker *worker, int doorbell, struct err *err)
{
	struct test_model *test = model;
	struct test_lane *lane = &test->lanes[test->opened];

	if (++test->opened == test->fail_open) {
		err_set(err, ERR_HOST, NULL, "no more lanes");
		test->opened--;
		return NULL;
	}
	lane->model = test;
	lane->worker = worker;
	return lane;
}

static void test_close(void *lane)
{
	((struct test_lane *)lane)->model->closed++;
}

static void test_destroy(void *model)
{
	struct test_model *test = model;

	assert_int_equal(test->closed, test->opened);
	destroyed++;
	free(test);
}

static struct virtio_chain *test_room(void *lane)
{
	return &((struct test_lane *)lane)->chain;
}

static void test_request(void *to, struct virtio_chain *chain)
{
	struct test_lane *lane = to;

	if (chain->readable.bytes == 2) {
		virtio_stop(lane->model->device);
		virtio_answer(lane->worker, chain->head, 5);
	} else if (chain->readable.count > 0)
		lane->held[lane->held_count++] = chain->head;
	else if (chain->writable.count > 0)
		virtio_answer(lane->worker, chain->head, 7);
	else
		virtio_reject(lane->worker, chain->head, "a request without buffers");
}

static void test_submit(void *lane)
{
	atomic_fetch_add(&((struct test_lane *)lane)->submitted, 1);
}

static void test_collect(void *from)
{
	struct test_lane *lane = from;
	unsigned count = atomic_exchange(&lane->release, 0);

	while (count-- > 0 && lane->held_count > 0)
		virtio_answer(lane->worker, lane->held[--lane->held_count], 9);
}

static const struct virtio_model_ops test_ops = {
    .kind = {.id = 42, .driver = "virtio-test-pci"},
    .open = test_open,
    .close = test_close,
    .destroy = test_destroy,
    .room = test_room,
    .request = test_request,
    .submit = test_submit,
    .collect = test_collect,
};

/* --- The fixture ------------------------------------------------------------------------------ */

struct fixture {
	struct gmem gmem;
	struct test_model *model;
	struct virtio_device *device;
	struct driver_transport transport;
	struct driver_queue queues[QUEUES];
	struct virtio_rings rings[QUEUES];
};

#define FEATURES (VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC | 3)

static struct virtio_device *make(
    struct test_model *model, const struct gmem *gmem, struct err *err)
{
	for (size_t i = 0; i < sizeof model->config; i++)
		model->config[i] = (uint8_t)(i + 1);
	return virtio_create(&(struct virtio_model){.ops = &test_ops,
	                         .self = model,
	                         .name = "a device with a long name",
	                         .features = 3,
	                         .queues = QUEUES,
	                         .config = model->config,
	                         .config_bytes = sizeof model->config},
	    gmem, err);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct err err = {0};

	log_level = LOG_ERROR; /* the guest's faults are warnings */
	if (f == NULL || !gmem_init(&f->gmem, MIB, MIB, &err) ||
	    (f->model = calloc(1, sizeof *f->model)) == NULL ||
	    (f->device = make(f->model, &f->gmem, &err)) == NULL)
		return -1;
	f->model->device = f->device;
	transport_init(&f->transport, f->device);
	for (unsigned i = 0; i < QUEUES; i++) {
		driver_init(&f->queues[i], &f->gmem, 0x10000 * (i + 1), SIZE);
		f->rings[i] = f->queues[i].rings;
	}
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	transport_stop(&f->transport, f->device);
	destroyed = 0;
	virtio_destroy(f->device);
	assert_int_equal(destroyed, 1);
	transport_finish(&f->transport);
	gmem_finish(&f->gmem);
	free(f);
	return 0;
}

/* Start with fresh rings. */
static void start(struct fixture *f, uint64_t features)
{
	for (unsigned i = 0; i < QUEUES; i++) {
		driver_init(&f->queues[i], &f->gmem, 0x10000 * (i + 1), SIZE);
		f->queues[i].event_index = (features & VIRTIO_F_EVENT_IDX) != 0;
	}
	assert_true(virtio_start(f->device, features, f->rings));
}

enum kind { HELD, ANSWERED, REJECTED };

static void send(struct fixture *f, unsigned queue, enum kind kind)
{
	const struct driver_part part = {BUFFER, kind == REJECTED ? 0 : 16, kind == ANSWERED};

	driver_offer(&f->queues[queue], driver_chain(&f->queues[queue], &part, 1, 0));
	driver_publish(&f->queues[queue]);
	driver_ring(f->device, queue);
}

static void expect_collected(struct fixture *f, unsigned queue, uint32_t written)
{
	uint16_t head;
	uint32_t length;

	transport_wait_used(
	    &f->transport, &f->queues[queue], (uint16_t)(f->queues[queue].used + 1));
	assert_true(driver_collect(&f->queues[queue], &head, &length));
	assert_int_equal(length, written);
}

/* Wait until the device has taken so many requests and not answered them. */
static void wait_in_flight(struct fixture *f, uint64_t count)
{
	while (virtio_progress(f->device).in_flight != count)
		sched_yield();
}

static void release(struct fixture *f, unsigned queue, unsigned count)
{
	atomic_store(&f->model->lanes[queue].release, count);
	driver_ring(f->device, queue);
}

/* --- Tests ------------------------------------------------------------------------------------ */

static void what_is_constant(void **state)
{
	struct fixture *f = *state;
	uint8_t config[8];

	assert_int_equal(virtio_kind(f->device)->id, 42);
	assert_int_equal(virtio_features(f->device), FEATURES);
	assert_int_equal(virtio_queues(f->device), QUEUES);
	assert_ptr_equal(virtio_model(f->device), f->model);
	virtio_read_config(f->device, 0, config, 5);
	assert_memory_equal(config, "\1\2\3\4\5", 5);
	virtio_read_config(f->device, 3, config, 8);
	assert_memory_equal(config, "\4\5\0\0\0\0\0\0", 8);
	virtio_read_config(f->device, 5, config, 1);
	assert_int_equal(config[0], 0);
	virtio_read_config(f->device, UINT32_MAX, config, 8);
	assert_memory_equal(config, "\0\0\0\0\0\0\0\0", 8);
	for (unsigned i = 0; i < QUEUES; i++)
		assert_true(virtio_doorbell(f->device, i) >= 0);
}

static void a_wrong_start_is_refused_and_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct virtio_rings wrong[QUEUES];

	memcpy(wrong, f->rings, sizeof wrong);
	wrong[2].size = 3;
	assert_false(virtio_start(f->device, FEATURES, wrong));
	assert_true(virtio_at_rest(f->device));
	assert_false(virtio_start(f->device, FEATURES | 4, f->rings));
	assert_false(virtio_start(f->device, FEATURES & ~VIRTIO_F_VERSION_1, f->rings));
	assert_true(virtio_at_rest(f->device));
	start(f, VIRTIO_F_VERSION_1);
	assert_false(virtio_at_rest(f->device));
	assert_false(virtio_start(f->device, FEATURES, f->rings));
	assert_int_equal(virtio_accepted(f->model->lanes[0].worker), VIRTIO_F_VERSION_1);
	send(f, 1, ANSWERED);
	expect_collected(f, 1, 7);
}

static void only_queues_that_are_enabled_are_served(void **state)
{
	struct fixture *f = *state;

	f->rings[0].enabled = f->rings[2].enabled = false;
	start(f, VIRTIO_F_VERSION_1);
	send(f, 0, ANSWERED);
	send(f, 2, ANSWERED);
	send(f, 1, ANSWERED);
	expect_collected(f, 1, 7);
	assert_int_equal(driver_used_index(&f->queues[0]), 0);
	assert_int_equal(driver_used_index(&f->queues[2]), 0);
	transport_stop(&f->transport, f->device);
	/* With none the device has nothing to come to rest from. */
	f->rings[1].enabled = false;
	start(f, VIRTIO_F_VERSION_1);
	assert_true(virtio_at_rest(f->device));
}

static void what_was_available_at_the_start_is_taken(void **state)
{
	struct fixture *f = *state;
	const struct driver_part part = {BUFFER, 16, true};

	driver_offer(&f->queues[0], driver_chain(&f->queues[0], &part, 1, 0));
	driver_publish(&f->queues[0]);
	assert_true(virtio_start(f->device, VIRTIO_F_VERSION_1, f->rings));
	expect_collected(f, 0, 7);
}

static void interrupts_come_as_the_driver_wants_them(void **state)
{
	struct fixture *f = *state;

	start(f, VIRTIO_F_VERSION_1);
	send(f, 0, ANSWERED);
	expect_collected(f, 0, 7);
	driver_want_interrupt(&f->queues[0], 1); /* NO_INTERRUPT */
	send(f, 0, ANSWERED);
	while (driver_used_index(&f->queues[0]) != 2)
		sched_yield();
	transport_stop(&f->transport, f->device);
	assert_int_equal(f->transport.interrupts[0], 1);
	assert_int_equal(f->transport.interrupts[1], 0);
}

static void requests_in_flight_are_answered_before_the_device_is_at_rest(void **state)
{
	struct fixture *f = *state;

	start(f, FEATURES);
	send(f, 0, HELD);
	send(f, 0, HELD);
	send(f, 1, HELD);
	wait_in_flight(f, 3);
	assert_int_equal(virtio_progress(f->device).done, 0);
	virtio_stop(f->device);
	virtio_stop(f->device); /* it may be asked twice */
	assert_false(virtio_at_rest(f->device));
	send(f, 2, ANSWERED); /* is not taken any more */
	release(f, 0, 1);
	wait_in_flight(f, 2);
	assert_false(virtio_at_rest(f->device));
	release(f, 1, 1);
	wait_in_flight(f, 1);
	assert_false(virtio_at_rest(f->device));
	assert_int_equal(f->transport.at_rest, 0);
	release(f, 0, 1);
	transport_stop(&f->transport, f->device);
	assert_int_equal(virtio_progress(f->device).in_flight, 0);
	assert_int_equal(virtio_progress(f->device).done, 3);
	assert_int_equal(driver_used_index(&f->queues[0]), 2);
	assert_int_equal(driver_used_index(&f->queues[2]), 0);
	/* And again; at_rest() came once. */
	start(f, FEATURES);
	assert_int_equal(virtio_progress(f->device).done, 0);
	send(f, 0, ANSWERED);
	expect_collected(f, 0, 7);
	transport_wait_at_rest(&f->transport, 1);
}

/* Of three that are available at once, the first stops the device: the others are not taken. */
static void a_reset_is_heard_between_two_requests(void **state)
{
	struct fixture *f = *state;
	const struct driver_part parts[] = {
	    {BUFFER, 2, false}, {BUFFER, 16, true}, {BUFFER, 16, true}};

	for (unsigned i = 0; i < 3; i++)
		driver_offer(&f->queues[0], driver_chain(&f->queues[0], &parts[i], 1, 0));
	driver_publish(&f->queues[0]);
	/* The others are not enabled, since a stop must not come before the end of the start. */
	f->rings[1].enabled = f->rings[2].enabled = false;
	assert_true(virtio_start(f->device, FEATURES, f->rings));
	transport_wait_at_rest(&f->transport, 1);
	assert_int_equal(driver_used_index(&f->queues[0]), 1);
	assert_int_equal(virtio_progress(f->device).done, 1);
}

static void a_device_at_rest_does_not_come_to_rest_again(void **state)
{
	struct fixture *f = *state;

	virtio_stop(f->device);
	assert_true(virtio_at_rest(f->device));
	start(f, FEATURES);
	transport_stop(&f->transport, f->device);
	virtio_stop(f->device);
	start(f, FEATURES);
	send(f, 0, ANSWERED);
	expect_collected(f, 0, 7);
	transport_stop(&f->transport, f->device);
	transport_wait_at_rest(&f->transport, 2);
}

static void what_breaks_the_rules_stops_one_queue_until_the_reset(void **state)
{
	struct fixture *f = *state;

	start(f, FEATURES);
	send(f, 0, HELD);
	wait_in_flight(f, 1);
	send(f, 0, REJECTED);
	transport_wait_broken(&f->transport, 1);
	expect_collected(f, 0, 0); /* the rejected one is handed back */
	send(f, 0, ANSWERED);      /* not taken */
	send(f, 1, ANSWERED);
	expect_collected(f, 1, 7);
	release(f, 0, 1);
	expect_collected(f, 0, 9);
	driver_ring(f->device, 0);
	driver_offer(&f->queues[2], 99);
	driver_publish(&f->queues[2]);
	driver_ring(f->device, 2);
	transport_wait_broken(&f->transport, 2);
	transport_stop(&f->transport, f->device);
	assert_int_equal(f->transport.broken, 2);
	assert_int_equal(driver_used_index(&f->queues[0]), 2);
	start(f, FEATURES);
	send(f, 0, ANSWERED);
	expect_collected(f, 0, 7);
	send(f, 0, REJECTED);
	transport_wait_broken(&f->transport, 3);
}

static void a_listener_need_not_listen(void **state)
{
	struct fixture *f = *state;

	virtio_listen(f->device, &(struct virtio_listener){0});
	start(f, VIRTIO_F_VERSION_1);
	send(f, 0, ANSWERED);
	send(f, 0, REJECTED);
	while (driver_used_index(&f->queues[0]) != 2)
		sched_yield();
	virtio_stop(f->device);
	while (!virtio_at_rest(f->device))
		sched_yield();
}

/* --- Confinement ------------------------------------------------------------------------------ */

struct confinement {
	pthread_mutex_t lock;
	pthread_t threads[QUEUES];
	unsigned count, fail;
};

static bool confine(void *context, struct err *err)
{
	struct confinement *confinement = context;
	unsigned count;

	pthread_mutex_lock(&confinement->lock);
	confinement->threads[confinement->count] = pthread_self();
	count = ++confinement->count;
	pthread_mutex_unlock(&confinement->lock);
	if (count == confinement->fail)
		return err_set(err, ERR_HOST, "remedy", "thread cannot be confined");
	return true;
}

static void each_thread_is_confined_once(void **state)
{
	struct fixture *f = *state;
	struct confinement confinement = {.lock = PTHREAD_MUTEX_INITIALIZER};
	struct err err = {0};

	assert_true(virtio_confine(f->device, confine, &confinement, &err));
	assert_int_equal(confinement.count, QUEUES);
	for (unsigned i = 0; i < QUEUES; i++) {
		assert_false(pthread_equal(confinement.threads[i], pthread_self()));
		for (unsigned j = 0; j < i; j++)
			assert_false(pthread_equal(confinement.threads[i], confinement.threads[j]));
	}
	start(f, FEATURES);
	send(f, 0, ANSWERED);
	expect_collected(f, 0, 7);
	assert_int_equal(confinement.count, QUEUES);
}

static void a_thread_that_cannot_be_confined_is_told_of(void **state)
{
	struct fixture *f = *state;
	struct confinement confinement = {.lock = PTHREAD_MUTEX_INITIALIZER, .fail = 2};
	struct err err = {0};

	assert_false(virtio_confine(f->device, confine, &confinement, &err));
	assert_string_equal(err.message, "thread cannot be confined");
	assert_int_equal(confinement.count, QUEUES);
}

/* --- Making ----------------------------------------------------------------------------------- */

static void a_device_that_cannot_be_made_leaves_nothing(void **state)
{
	struct fixture *f = *state;

	for (unsigned n = 1; n <= QUEUES; n++) {
		struct test_model *model = calloc(1, sizeof *model);
		struct err err = {0};

		model->fail_open = n;
		destroyed = 0;
		assert_null(make(model, &f->gmem, &err));
		assert_int_equal(destroyed, 1);
		assert_string_equal(err.message, "no more lanes");
	}
	virtio_destroy(NULL);
}

static void without_descriptors_there_is_no_device(void **state)
{
	struct fixture *f = *state;
	struct test_model *model = calloc(1, sizeof *model);
	struct err err = {0};
	struct rlimit limit, none;

	getrlimit(RLIMIT_NOFILE, &limit);
	none = limit;
	none.rlim_cur = 0;
	setrlimit(RLIMIT_NOFILE, &none);
	destroyed = 0;
	assert_null(make(model, &f->gmem, &err));
	setrlimit(RLIMIT_NOFILE, &limit);
	assert_int_equal(destroyed, 1);
	assert_non_null(strstr(err.message, "cannot make an eventfd"));
	assert_string_equal(err.hint, "raise ulimit -n");
}

/* --- All at once ------------------------------------------------------------------------------ */

struct hammer {
	struct fixture *f;
	unsigned queue, requests;
};

static void *hammer_queue(void *argument)
{
	struct hammer *hammer = argument;
	struct driver_queue *queue = &hammer->f->queues[hammer->queue];
	unsigned sent = 0, collected = 0;
	uint16_t head;
	uint32_t written;

	while (collected < hammer->requests) {
		const struct driver_part part = {BUFFER, 16, true};
		uint16_t from = queue->available;

		while (sent < hammer->requests && sent - collected < SIZE) {
			driver_offer(queue, driver_chain(queue, &part, 1, 0));
			sent++;
		}
		driver_publish(queue);
		if (queue->available != from && driver_must_notify(queue, from))
			driver_ring(hammer->f->device, hammer->queue);
		transport_wait_used(&hammer->f->transport, queue, (uint16_t)(queue->used + 1));
		while (driver_collect(queue, &head, &written)) {
			assert_int_equal(written, 7);
			collected++;
		}
	}
	return NULL;
}

/* No request is lost and no notification or interrupt that is needed, or this never ends. */
static void queues_run_beside_each_other(void **state)
{
	struct fixture *f = *state;

	for (int turn = 0; turn < 6; turn++) {
		struct hammer hammers[QUEUES];
		pthread_t threads[QUEUES];

		start(f, turn % 2 == 0 ? FEATURES : VIRTIO_F_VERSION_1);
		for (unsigned i = 0; i < QUEUES; i++) {
			hammers[i] = (struct hammer){f, i, 2000};
			assert_int_equal(
			    pthread_create(&threads[i], NULL, hammer_queue, &hammers[i]), 0);
		}
		for (unsigned i = 0; i < QUEUES; i++)
			pthread_join(threads[i], NULL);
		transport_stop(&f->transport, f->device);
		assert_int_equal(virtio_progress(f->device).done, QUEUES * 2000);
	}
}

/* A reset at any moment: what was taken is answered, and nothing is written after the rest. */
static void a_reset_may_come_at_any_moment(void **state)
{
	struct fixture *f = *state;
	unsigned answered = 0;

	for (unsigned turn = 0; turn < 300; turn++) {
		start(f, turn % 2 == 0 ? FEATURES : VIRTIO_F_VERSION_1);
		for (unsigned i = 0; i < turn % 6; i++)
			send(f, i % QUEUES, ANSWERED);
		transport_stop(&f->transport, f->device);
		answered = 0;
		for (unsigned i = 0; i < QUEUES; i++)
			answered += driver_used_index(&f->queues[i]);
		assert_int_equal(virtio_progress(f->device).done, answered);
		assert_int_equal(virtio_progress(f->device).in_flight, 0);
		assert_true(answered <= turn % 6);
	}
	transport_wait_at_rest(&f->transport, 300);
	assert_int_equal(f->transport.broken, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(what_is_constant),
	    TEST(a_wrong_start_is_refused_and_changes_nothing),
	    TEST(only_queues_that_are_enabled_are_served),
	    TEST(what_was_available_at_the_start_is_taken),
	    TEST(interrupts_come_as_the_driver_wants_them),
	    TEST(requests_in_flight_are_answered_before_the_device_is_at_rest),
	    TEST(a_reset_is_heard_between_two_requests),
	    TEST(a_device_at_rest_does_not_come_to_rest_again),
	    TEST(what_breaks_the_rules_stops_one_queue_until_the_reset),
	    TEST(a_listener_need_not_listen),
	    TEST(each_thread_is_confined_once),
	    TEST(a_thread_that_cannot_be_confined_is_told_of),
	    TEST(a_device_that_cannot_be_made_leaves_nothing),
	    TEST(without_descriptors_there_is_no_device),
	    TEST(queues_run_beside_each_other),
	    TEST(a_reset_may_come_at_any_moment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
