/* SPDX-License-Identifier: Apache-2.0 */
/* toys.c - see toys.h. */
#include "toys.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "virtio/model.h"

/* --- Threads ------------------------------------------------------------------------------------
 */

static struct {
	void *(*main)(void *);
	void *argument;
} threads[TOY_WORKERS];
static bool in_turn;

int __wrap_pthread_create(
    pthread_t *thread, const pthread_attr_t *attributes, void *(*main)(void *), void *argument);
int __wrap_pthread_join(pthread_t thread, void **ret);
int __wrap_pthread_setname_np(pthread_t thread, const char *name);
ssize_t __real_read(int fd, void *to, size_t length);
ssize_t __wrap_read(int fd, void *to, size_t length);

int __wrap_pthread_create(
    pthread_t *thread, const pthread_attr_t *attributes, void *(*main)(void *), void *argument)
{
	unsigned i = 0;

	while (i < TOY_WORKERS && threads[i].main != NULL)
		i++;
	FUZZ_CHECK(i < TOY_WORKERS);
	threads[i].main = main;
	threads[i].argument = argument;
	*thread = (pthread_t)(i + 1);
	return 0;
}

int __wrap_pthread_setname_np(pthread_t thread, const char *name)
{
	return 0;
}

/* Where the thread would wait, its turn ends. */
ssize_t __wrap_read(int fd, void *to, size_t length)
{
	struct pollfd ring = {.fd = fd, .events = POLLIN};

	if (in_turn && poll(&ring, 1, 0) == 0) {
		errno = EIO;
		return -1;
	}
	return __real_read(fd, to, length);
}

void toys_turn(unsigned worker)
{
	if (threads[worker % TOY_WORKERS].main == NULL)
		return;
	in_turn = true;
	threads[worker % TOY_WORKERS].main(threads[worker % TOY_WORKERS].argument);
	in_turn = false;
}

void toys_work(void)
{
	for (unsigned i = 0; i < TOY_WORKERS; i++)
		toys_turn(i);
}

/* It has been told to end. */
int __wrap_pthread_join(pthread_t thread, void **ret)
{
	unsigned number = (unsigned)thread - 1;

	FUZZ_CHECK(number < TOY_WORKERS && threads[number].main != NULL);
	toys_turn(number);
	threads[number].main = NULL;
	return 0;
}

/* --- Queues -------------------------------------------------------------------------------------
 */

static struct watched {
	const struct virtqueue *queue;
	unsigned in_flight;
	bool popped[VIRTIO_QUEUE_SIZE_MAX]; /* by head */
} watched[TOY_WORKERS];

bool __real_virtqueue_start(struct virtqueue *queue, const struct gmem *gmem, uint64_t features,
    const struct virtio_rings *rings);
bool __wrap_virtqueue_start(struct virtqueue *queue, const struct gmem *gmem, uint64_t features,
    const struct virtio_rings *rings);
bool __real_virtqueue_pop(struct virtqueue *queue, struct virtio_chain *ret_chain);
bool __wrap_virtqueue_pop(struct virtqueue *queue, struct virtio_chain *ret_chain);
void __real_virtqueue_push(struct virtqueue *queue, uint16_t head, uint32_t written);
void __wrap_virtqueue_push(struct virtqueue *queue, uint16_t head, uint32_t written);

static struct watched *watched_find(const struct virtqueue *queue)
{
	struct watched *place = NULL;

	for (unsigned i = 0; i < TOY_WORKERS; i++) {
		if (watched[i].queue == queue)
			return &watched[i];
		if (watched[i].queue == NULL)
			place = &watched[i];
	}
	FUZZ_CHECK(place != NULL);
	place->queue = queue;
	return place;
}

bool __wrap_virtqueue_start(struct virtqueue *queue, const struct gmem *gmem, uint64_t features,
    const struct virtio_rings *rings)
{
	FUZZ_CHECK(!in_turn && watched_find(queue)->in_flight == 0);
	return __real_virtqueue_start(queue, gmem, features, rings);
}

static uint64_t list_bytes(const struct gmem *gmem, const struct iovec *list, unsigned count)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < count; i++) {
		uint64_t at = (uint64_t)((uint8_t *)list[i].iov_base - gmem->host);

		FUZZ_CHECK(list[i].iov_len > 0 && gmem_contains(gmem, at, list[i].iov_len));
		bytes += list[i].iov_len;
	}
	return bytes;
}

bool __wrap_virtqueue_pop(struct virtqueue *queue, struct virtio_chain *ret_chain)
{
	const struct virtio_buffers *readable = &ret_chain->readable;
	const struct virtio_buffers *writable = &ret_chain->writable;
	struct watched *place = watched_find(queue);

	FUZZ_CHECK(in_turn);
	if (!__real_virtqueue_pop(queue, ret_chain))
		return false;
	FUZZ_CHECK(ret_chain->head < queue->size && !place->popped[ret_chain->head]);
	FUZZ_CHECK(readable->bytes == list_bytes(queue->gmem, readable->list, readable->count) &&
	           writable->bytes == list_bytes(queue->gmem, writable->list, writable->count));
	place->popped[ret_chain->head] = true;
	place->in_flight++;
	return true;
}

void __wrap_virtqueue_push(struct virtqueue *queue, uint16_t head, uint32_t written)
{
	struct watched *place = watched_find(queue);

	FUZZ_CHECK(in_turn && head < VIRTIO_QUEUE_SIZE_MAX && place->popped[head]);
	place->popped[head] = false;
	place->in_flight--;
	__real_virtqueue_push(queue, head, written);
}

unsigned toys_in_flight(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < TOY_WORKERS; i++)
		count += watched[i].in_flight;
	return count;
}

/* --- The model ----------------------------------------------------------------------------------
 */

enum { TOY_ID = 42 };

struct lane {
	struct virtio_worker *worker;
	struct virtio_chain chain;
	uint16_t held[VIRTIO_QUEUE_SIZE_MAX];
	unsigned count;
	int doorbell;
	bool release;
};

static struct toy {
	bool used;
	unsigned opened;
	uint8_t config[5];
	struct lane lanes[TOY_QUEUES];
} toys[TOYS_MAX];

static void *toy_open(void *model, struct virtio_worker *worker, int doorbell, struct err *err)
{
	struct toy *toy = model;
	struct lane *lane = &toy->lanes[toy->opened++];

	lane->worker = worker;
	lane->doorbell = doorbell;
	return lane;
}

static void toy_close(void *closed)
{
	FUZZ_CHECK(((struct lane *)closed)->count == 0);
}

static void toy_destroy(void *model)
{
	struct toy *toy = model;

	toy->used = false;
	/* Its queues are gone, and others can come to lie where they were. */
	for (unsigned i = 0; i < TOY_WORKERS; i++)
		if (watched[i].in_flight == 0)
			watched[i].queue = NULL;
}

static struct virtio_chain *toy_room(void *lane)
{
	return &((struct lane *)lane)->chain;
}

static void toy_request(void *to, struct virtio_chain *chain)
{
	struct lane *lane = to;

	FUZZ_CHECK(lane->count < VIRTIO_QUEUE_SIZE_MAX);
	if (chain->readable.count > 0)
		lane->held[lane->count++] = chain->head;
	else
		virtio_answer(lane->worker, chain->head, (uint32_t)chain->writable.bytes);
}

static void toy_collect(void *from)
{
	struct lane *lane = from;

	for (; lane->release && lane->count > 0; lane->count--)
		virtio_answer(lane->worker, lane->held[lane->count - 1], 0);
	lane->release = false;
}

static void toy_refuse(void *to, struct virtio_chain *chain)
{
	virtio_answer(((struct lane *)to)->worker, chain->head, 0);
}

static const struct virtio_model_ops toy_ops = {
    .kind = {.id = TOY_ID, .driver = "toy", .of_class = "toy"},
    .open = toy_open,
    .close = toy_close,
    .destroy = toy_destroy,
    .room = toy_room,
    .request = toy_request,
    .refuse = toy_refuse,
    .collect = toy_collect};

struct virtio_device *toy_make(const struct gmem *gmem)
{
	struct virtio_device *device;
	struct err err = {0};
	unsigned i = 0;

	while (i < TOYS_MAX && toys[i].used)
		i++;
	FUZZ_CHECK(i < TOYS_MAX);
	toys[i] = (struct toy){.used = true, .config = {1, 2, 3, 4, 5}};
	device = virtio_create(&(struct virtio_model){.ops = &toy_ops,
	                           .self = &toys[i],
	                           .name = "toy",
	                           .features = 3,
	                           .queues = TOY_QUEUES,
	                           .config = toys[i].config,
	                           .config_bytes = sizeof toys[i].config},
	    gmem, &err);
	FUZZ_CHECK(device != NULL);
	return device;
}

unsigned toys_alive(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < TOYS_MAX; i++)
		count += toys[i].used;
	return count;
}

void toys_release(void)
{
	for (unsigned i = 0; i < TOYS_MAX; i++)
		for (unsigned lane = 0; toys[i].used && lane < TOY_QUEUES; lane++) {
			toys[i].lanes[lane].release = true;
			eventfd_write(toys[i].lanes[lane].doorbell, 1);
		}
}
