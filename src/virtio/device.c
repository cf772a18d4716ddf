/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device.c - see device.h and model.h: the life of a device that serves its queues itself, and the
 * threads that do so.
 *
 * A worker's state says who owns its queue. At rest that is the thread that calls virtio_start();
 * the store of WORKER_RUNNING hands it to the worker, and `active` hands it back.
 */
#include "virtio/backing.h"
#include "virtio/model.h"
#include "virtio/thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"

enum worker_state {
	WORKER_AT_REST,
	WORKER_RUNNING,
	WORKER_STOPPING, /* answers what is in flight */
	WORKER_ENDING,   /* its thread returns */
};

struct virtio_worker {
	struct served *device;
	unsigned index;
	int doorbell;
	struct device_thread thread;
	void *lane;
	_Atomic int state; /* enum worker_state */
	/* Of the owner. */
	struct virtqueue queue;
	bool told_broken;
	bool fresh; /* since virtio_start() */
	/* For other threads to look at. */
	_Atomic uint64_t in_flight, done, refused;
};

struct served {
	struct virtio_device base;
	/* Constant. */
	struct virtio_model model;
	char name[32];
	const struct gmem *gmem;
	/* Of the owners of the queues. */
	uint64_t accepted;
	_Atomic unsigned active; /* workers that are not at rest */
	_Atomic bool cut_off;
	struct log_limit limit; /* guests that break the rules */
	struct virtio_worker workers[VIRTIO_QUEUES_MAX];
};

static struct served *served_of(struct virtio_device *base)
{
	return (struct served *)base;
}

static const struct served *served_look(const struct virtio_device *base)
{
	return (const struct served *)base;
}

static void worker_ring(struct virtio_worker *worker)
{
	static const uint64_t one = 1;

	/* It fails only if as many rings as a counter of 64 bits has are pending. */
	while (write(worker->doorbell, &one, sizeof one) < 0 && errno == EINTR)
		;
}

void virtio_wake(struct virtio_worker *worker)
{
	worker_ring(worker);
}

/* Wait for the doorbell, or what else the lane waits for. True: the doorbell has rung. */
static bool worker_poll(struct virtio_worker *worker)
{
	const struct virtio_model_ops *ops = worker->device->model.ops;
	bool serves = atomic_load(&worker->state) == WORKER_RUNNING;
	struct pollfd both[2] = {
	    {.fd = worker->doorbell, .events = POLLIN}, ops->wait(worker->lane, serves)};

	while (poll(both, 2, -1) < 0 && errno == EINTR)
		;
	if (both[1].revents != 0)
		ops->woken(worker->lane, both[1].revents);
	return both[0].revents != 0;
}

/* False if there can be no more rings. */
static bool worker_wait(struct virtio_worker *worker)
{
	uint64_t rings;
	ssize_t length;

	if (worker->device->model.ops->wait != NULL && !worker_poll(worker))
		return true;
	do {
		length = read(worker->doorbell, &rings, sizeof rings);
	} while (length < 0 && errno == EINTR);
	return length == (ssize_t)sizeof rings;
}

/* --- A queue's thread ------------------------------------------------------------------------- */

static void worker_show_in_flight(struct virtio_worker *worker)
{
	atomic_store_explicit(&worker->in_flight, worker->queue.in_flight, memory_order_release);
}

void virtio_answer(struct virtio_worker *worker, uint16_t head, uint32_t written)
{
	virtqueue_push(&worker->queue, head, written);
	atomic_fetch_add_explicit(&worker->done, 1, memory_order_relaxed);
	worker_show_in_flight(worker);
}

void virtio_reject(struct virtio_worker *worker, uint16_t head, const char *reason)
{
	virtio_answer(worker, head, 0);
	virtqueue_break(&worker->queue, reason);
}

struct virtio_device *virtio_worker_device(const struct virtio_worker *worker)
{
	return &worker->device->base;
}

uint64_t virtio_accepted(const struct virtio_worker *worker)
{
	return worker->device->accepted;
}

static void worker_tell(struct virtio_worker *worker)
{
	const struct virtio_listener *listener = &worker->device->base.listener;

	if (virtqueue_wants_interrupt(&worker->queue) && listener->interrupt != NULL)
		listener->interrupt(listener->context, worker->index);
}

static void worker_tell_broken(struct virtio_worker *worker)
{
	struct served *device = worker->device;

	if (!worker->queue.broken || worker->told_broken)
		return;
	worker->told_broken = true;
	log_guest(&device->limit, LOG_WARN,
	    "%s: queue %u has stopped until the driver resets it: %s", device->name, worker->index,
	    worker->queue.reason);
	if (device->base.listener.broken != NULL)
		device->base.listener.broken(device->base.listener.context);
}

static bool worker_takes(const struct virtio_worker *worker)
{
	return atomic_load_explicit(&worker->state, memory_order_acquire) == WORKER_RUNNING;
}

bool virtio_is_stopping(const struct virtio_worker *worker)
{
	return !worker_takes(worker);
}

unsigned virtio_queue_size(const struct virtio_worker *worker)
{
	return worker->queue.size;
}

/* What is available now, and interrupts for what is answered at once. False: the lane takes no more
 * until it is woken, so that no notification is needed, either. */
static bool worker_take(struct virtio_worker *worker)
{
	const struct virtio_model_ops *ops = worker->device->model.ops;

	while (worker_takes(worker)) {
		struct virtio_chain *chain = ops->room(worker->lane);

		if (chain == NULL)
			return false;
		if (!virtqueue_pop(&worker->queue, chain))
			break;
		worker_show_in_flight(worker);
		if (ops->refuse != NULL && atomic_load(&worker->device->cut_off)) {
			atomic_fetch_add(&worker->refused, 1);
			ops->refuse(worker->lane, chain);
		} else {
			ops->request(worker->lane, chain);
		}
		worker_tell(worker);
	}
	return true;
}

static void worker_serve(struct virtio_worker *worker)
{
	const struct virtio_model_ops *ops = worker->device->model.ops;
	bool taken;

	if (worker->fresh && ops->started != NULL)
		ops->started(worker->lane);
	worker->fresh = false;
	do {
		if (ops->collect != NULL)
			ops->collect(worker->lane);
		worker_tell(worker);
		virtqueue_quiet(&worker->queue);
		taken = worker_take(worker);
		if (ops->submit != NULL)
			ops->submit(worker->lane);
		worker_tell(worker);
	} while (taken && virtqueue_listen(&worker->queue) && worker_takes(worker));
	worker_tell_broken(worker);
}

/* The queue is handed back with the last access to it. */
static void worker_rest(struct virtio_worker *worker)
{
	struct served *device = worker->device;
	struct virtio_listener listener = device->base.listener;
	int stopping = WORKER_STOPPING;

	/* It may have been told to end meanwhile. */
	if (!atomic_compare_exchange_strong(&worker->state, &stopping, WORKER_AT_REST))
		return;
	if (atomic_fetch_sub(&device->active, 1) == 1 && listener.at_rest != NULL)
		listener.at_rest(listener.context);
}

static void *worker_main(void *argument)
{
	struct virtio_worker *worker = argument;
	char name[16];

	snprintf(name, sizeof name, "%.12s.%u", worker->device->name, worker->index);
	pthread_setname_np(pthread_self(), name);
	while (worker_wait(worker)) {
		device_thread_heed(&worker->thread);
		switch (atomic_load(&worker->state)) {
		case WORKER_AT_REST: continue;
		case WORKER_ENDING: return NULL;
		case WORKER_RUNNING:
		case WORKER_STOPPING: break;
		}
		worker_serve(worker);
		if (atomic_load(&worker->state) == WORKER_STOPPING && worker->queue.in_flight == 0)
			worker_rest(worker);
	}
	return NULL;
}

/* --- Making and ending ------------------------------------------------------------------------ */

static bool worker_init(
    struct virtio_worker *worker, struct served *device, unsigned index, struct err *err)
{
	worker->device = device;
	worker->index = index;
	worker->doorbell = eventfd(0, EFD_CLOEXEC);
	if (worker->doorbell < 0)
		return err_system(
		    err, errno, "raise ulimit -n", "%s: cannot make an eventfd", device->name);
	worker->lane = device->model.ops->open(device->model.self, worker, worker->doorbell, err);
	if (worker->lane == NULL)
		return false;
	return device_thread_start(&worker->thread, device->name, worker_main, worker, err);
}

static void worker_finish(struct virtio_worker *worker)
{
	if (worker->thread.started) {
		atomic_store(&worker->state, WORKER_ENDING);
		worker_ring(worker);
	}
	device_thread_join(&worker->thread);
	if (worker->lane != NULL)
		worker->device->model.ops->close(worker->lane);
	if (worker->device != NULL && worker->doorbell >= 0)
		close(worker->doorbell);
}

static void served_destroy(struct virtio_device *base)
{
	struct served *device = served_of(base);

	for (unsigned i = 0; i < device->model.queues; i++)
		worker_finish(&device->workers[i]);
	device->model.ops->destroy(device->model.self);
	pthread_mutex_destroy(&device->base.lock);
	free(device);
}

static bool served_confine(struct virtio_device *base,
    bool (*confine)(void *context, struct err *err), void *context, struct err *err)
{
	struct served *device = served_of(base);
	bool good = true;

	for (unsigned i = 0; i < device->model.queues; i++) {
		device_thread_ask_confine(&device->workers[i].thread, confine, context);
		worker_ring(&device->workers[i]);
	}
	/* The first that has failed tells why; all have done it when this returns. */
	for (unsigned i = 0; i < device->model.queues; i++)
		good = device_thread_wait_confined(
		           &device->workers[i].thread, good ? err : &(struct err){0}) &&
		       good;
	return good;
}

/* --- What is constant ------------------------------------------------------------------------- */

static uint64_t served_features(const struct virtio_device *base)
{
	return served_look(base)->model.features | VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX |
	       VIRTIO_F_INDIRECT_DESC;
}

static int served_doorbell(const struct virtio_device *base, unsigned queue)
{
	return served_look(base)->workers[queue].doorbell;
}

void *virtio_model(const struct virtio_device *device)
{
	return served_look(device)->model.self;
}

void virtio_set_config(struct virtio_device *device, size_t offset, const void *from, size_t length)
{
	struct virtio_listener listener;

	pthread_mutex_lock(&device->lock);
	memcpy((uint8_t *)device->config + offset, from, length);
	device->generation++;
	listener = device->listener;
	pthread_mutex_unlock(&device->lock);
	if (listener.changed != NULL)
		listener.changed(listener.context);
}

/* --- The driver's acts ------------------------------------------------------------------------ */

static bool served_start(
    struct virtio_device *base, uint64_t features, const struct virtio_rings *rings)
{
	struct served *device = served_of(base);
	unsigned enabled = 0;

	for (unsigned i = 0; i < device->model.queues; i++) {
		struct virtio_worker *worker = &device->workers[i];

		if (!rings[i].enabled)
			continue;
		if (!virtqueue_start(&worker->queue, device->gmem, features, &rings[i]))
			return false;
		enabled++;
	}
	device->accepted = features;
	atomic_store(&device->active, enabled);
	for (unsigned i = 0; i < device->model.queues; i++) {
		struct virtio_worker *worker = &device->workers[i];

		atomic_store(&worker->done, 0);
		if (!rings[i].enabled)
			continue;
		worker->told_broken = false;
		worker->fresh = true;
		atomic_store(&worker->state, WORKER_RUNNING);
		worker_ring(worker);
	}
	return true;
}

static void served_stop(struct virtio_device *base)
{
	struct served *device = served_of(base);

	for (unsigned i = 0; i < device->model.queues; i++) {
		struct virtio_worker *worker = &device->workers[i];
		int running = WORKER_RUNNING;

		if (atomic_compare_exchange_strong(&worker->state, &running, WORKER_STOPPING))
			worker_ring(worker);
	}
}

static bool served_at_rest(const struct virtio_device *base)
{
	return atomic_load(&served_look(base)->active) == 0;
}

static void served_cut_off(struct virtio_device *base, bool off)
{
	struct served *device = served_of(base);

	if (atomic_exchange(&device->cut_off, off) == off)
		return;
	if (device->model.ops->cut_off != NULL)
		device->model.ops->cut_off(base, device->model.self, off);
	for (unsigned i = 0; off && i < device->model.queues; i++)
		atomic_store(&device->workers[i].refused, 0);
}

static struct virtio_progress served_progress(const struct virtio_device *base)
{
	const struct served *device = served_look(base);
	struct virtio_progress progress = {0};

	for (unsigned i = 0; i < device->model.queues; i++) {
		progress.in_flight += atomic_load(&device->workers[i].in_flight);
		progress.done += atomic_load(&device->workers[i].done);
		progress.refused += atomic_load(&device->workers[i].refused);
	}
	return progress;
}

static const struct virtio_backing served_backing = {
    .destroy = served_destroy,
    .confine = served_confine,
    .features = served_features,
    .doorbell = served_doorbell,
    .start = served_start,
    .stop = served_stop,
    .at_rest = served_at_rest,
    .cut_off = served_cut_off,
    .progress = served_progress,
};

struct virtio_device *virtio_create(
    const struct virtio_model *model, const struct gmem *gmem, struct err *err)
{
	struct served *device = calloc(1, sizeof *device);
	bool good = true;

	if (device == NULL) {
		model->ops->destroy(model->self);
		err_system(err, ENOMEM, NULL, "%s: cannot make the device", model->name);
		return NULL;
	}
	device->base = (struct virtio_device){.backing = &served_backing,
	    .kind = &model->ops->kind,
	    .queues = model->queues,
	    .config = model->config,
	    .config_bytes = model->config_bytes};
	device->model = *model;
	snprintf(device->name, sizeof device->name, "%s", model->name);
	device->gmem = gmem;
	pthread_mutex_init(&device->base.lock, NULL);
	for (unsigned i = 0; good && i < model->queues; i++)
		good = worker_init(&device->workers[i], device, i, err);
	if (good)
		return &device->base;
	served_destroy(&device->base);
	return NULL;
}
