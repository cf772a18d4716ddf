/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_virtqueue.c - a device and a driver that does anything with the memory they share.
 *
 * Input: the model (`models`) and whether memory changes behind each read; the size of the queue;
 * the features that the driver accepts; then a sequence of the driver's acts (enum act).
 *
 * The queue's thread is not made: step() calls its function, which serves the queue once and finds
 * no second ring at its doorbell.
 *
 * What must hold: each popped head is pushed exactly once; a pop reads no more descriptors than a
 * queue has; buffers lie in RAM, and what changes in memory is a used ring or a writable buffer;
 * the disk keeps its size, and its content if it is read-only; in the end the device comes to rest,
 * and serves an honest driver.
 */
#include "fuzz.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "virtio/blk.h"
#include "virtio/rng.h"

enum { RAM = 32768, GUARD = 1 << 20, SECTORS = 64, BLOCK = 256 };
/* Where an honest driver has its things: rings for any size, header and status, data. */
enum { DESCRIPTORS = 0, AVAILABLE = 0x1000, USED = 0x1400, HEADER = 0x2000, DATA = 0x3000 };
enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };

enum act { DESCRIBE, WRITE, OFFER, INDEX, RING, RELEASE, STOP, START, REQUEST, FAIL, ACTS };
enum model { BLK, BLK_SLOW, BLK_READONLY, RNG, MODELS };

static struct gmem gmem;
static int disk_fd;
static struct virtio_device *device;
static struct virtio_rings rings, running; /* as the driver has them; as it last started */
static uint64_t accepted;
static bool racing;

/* --- Promises --------------------------------------------------------------------------------- */

static unsigned popped[VIRTIO_QUEUE_SIZE_MAX]; /* by head: in flight */
static unsigned reads;                         /* of memory, since the pop began */
static uint8_t seen[RAM];                      /* memory before the step */
static bool may_change[RAM];

bool __real_virtqueue_pop(struct virtqueue *queue, struct virtio_chain *ret_chain);
bool __wrap_virtqueue_pop(struct virtqueue *queue, struct virtio_chain *ret_chain);
void __real_virtqueue_push(struct virtqueue *queue, uint16_t head, uint32_t written);
void __wrap_virtqueue_push(struct virtqueue *queue, uint16_t head, uint32_t written);
bool __real_gmem_read(const struct gmem *memory, uint64_t address, void *to, size_t length);
bool __wrap_gmem_read(const struct gmem *memory, uint64_t address, void *to, size_t length);

static uint64_t check_list(const struct iovec *list, unsigned count, bool writable)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < count; i++) {
		size_t at = (size_t)((uint8_t *)list[i].iov_base - gmem.host);

		FUZZ_CHECK(list[i].iov_len > 0);
		FUZZ_CHECK(at < RAM && list[i].iov_len <= RAM - at);
		bytes += list[i].iov_len;
		if (writable)
			memset(may_change + at, true, list[i].iov_len);
	}
	return bytes;
}

bool __wrap_virtqueue_pop(struct virtqueue *queue, struct virtio_chain *ret_chain)
{
	reads = 0;
	if (!__real_virtqueue_pop(queue, ret_chain)) {
		FUZZ_CHECK(reads <= VIRTIO_QUEUE_SIZE_MAX);
		return false;
	}
	FUZZ_CHECK(reads > 0 && reads <= VIRTIO_QUEUE_SIZE_MAX);
	FUZZ_CHECK(ret_chain->head < queue->size && popped[ret_chain->head]++ == 0);
	FUZZ_CHECK(ret_chain->readable.count + ret_chain->writable.count <= VIRTIO_BUFFERS_MAX);
	FUZZ_CHECK(ret_chain->readable.bytes ==
	           check_list(ret_chain->readable.list, ret_chain->readable.count, false));
	FUZZ_CHECK(ret_chain->writable.bytes ==
	           check_list(ret_chain->writable.list, ret_chain->writable.count, true));
	return true;
}

void __wrap_virtqueue_push(struct virtqueue *queue, uint16_t head, uint32_t written)
{
	FUZZ_CHECK(head < VIRTIO_QUEUE_SIZE_MAX && popped[head]-- == 1);
	__real_virtqueue_push(queue, head, written);
}

/* A driver on another processor: whoever reads twice finds something else. */
bool __wrap_gmem_read(const struct gmem *memory, uint64_t address, void *to, size_t length)
{
	bool good = __real_gmem_read(memory, address, to, length);

	reads++;
	for (size_t i = 0; good && racing && i < length; i++) {
		gmem.host[address + i] ^= 0x55;
		seen[address + i] = gmem.host[address + i];
	}
	return good;
}

FUZZ_UNSEEN static void check_memory(void)
{
	for (size_t block = 0; block < RAM; block += BLOCK) {
		if (memcmp(seen + block, gmem.host + block, BLOCK) == 0)
			continue;
		for (size_t i = block; i < block + BLOCK; i++)
			FUZZ_CHECK(seen[i] == gmem.host[i] || may_change[i]);
	}
}

FUZZ_UNSEEN static void check_disk(bool readonly)
{
	static uint8_t content[SECTORS * 512];
	struct stat status;

	FUZZ_CHECK(fstat(disk_fd, &status) == 0 && status.st_size == SECTORS * 512);
	if (!readonly)
		return;
	FUZZ_CHECK(pread(disk_fd, content, sizeof content, 0) == sizeof content);
	for (size_t i = 0; i < sizeof content; i++)
		FUZZ_CHECK(content[i] == (uint8_t)(i / 512));
}

/* --- An engine that ends requests when it is told to -------------------------------------------
 */

static struct disk_request *slow_begun, *slow_ended;
static int slow_error;

static void *slow_open(const struct disk *disk, int doorbell, struct err *err)
{
	return &slow_begun;
}

static void slow_close(void *lane)
{
}

static void slow_begin(void *lane, struct disk_request *request)
{
	FUZZ_CHECK(request->offset % 512 == 0 && request->offset <= SECTORS * 512);
	FUZZ_CHECK(request->data.bytes % 512 == 0 &&
	           request->data.bytes <= SECTORS * 512 - request->offset);
	FUZZ_CHECK(request->operation == DISK_FLUSH || request->data.bytes > 0);
	if (request->operation == DISK_READ || request->operation == DISK_WRITE)
		FUZZ_CHECK(check_list(request->data.list, request->data.count, false) ==
		           request->data.bytes);
	request->next = slow_begun;
	slow_begun = request;
}

static void slow_submit(void *lane)
{
}

static void slow_release(unsigned count)
{
	while (count-- > 0 && slow_begun != NULL) {
		struct disk_request *request = slow_begun;

		slow_begun = request->next;
		request->next = slow_ended;
		request->error = slow_error;
		slow_ended = request;
	}
}

static struct disk_request *slow_collect(void *lane)
{
	struct disk_request *request = slow_ended;

	if (request != NULL)
		slow_ended = request->next;
	return request;
}

static const struct disk_engine slow_engine = {.name = "slow",
    .open = slow_open,
    .close = slow_close,
    .begin = slow_begin,
    .submit = slow_submit,
    .collect = slow_collect};

/* --- The queue's thread ------------------------------------------------------------------------
 */

static void *(*thread_main)(void *);
static void *thread_argument;
static bool doorbell_read;

int __wrap_pthread_create(
    pthread_t *thread, const pthread_attr_t *attributes, void *(*main)(void *), void *argument);
int __wrap_pthread_join(pthread_t thread, void **ret);
ssize_t __real_read(int fd, void *to, size_t length);
ssize_t __wrap_read(int fd, void *to, size_t length);

int __wrap_pthread_create(
    pthread_t *thread, const pthread_attr_t *attributes, void *(*main)(void *), void *argument)
{
	thread_main = main;
	thread_argument = argument;
	*thread = pthread_self();
	return 0;
}

int __wrap_pthread_join(pthread_t thread, void **ret)
{
	return 0;
}

ssize_t __wrap_read(int fd, void *to, size_t length)
{
	if (doorbell_read) {
		errno = EIO;
		return -1;
	}
	doorbell_read = true;
	return __real_read(fd, to, length);
}

static void step(void)
{
	uint64_t one = 1;

	FUZZ_CHECK(write(virtio_doorbell(device, 0), &one, sizeof one) == sizeof one);
	memcpy(seen, gmem.host, RAM);
	memset(may_change + running.device, true, 6 + 8u * running.size);
	doorbell_read = false;
	thread_main(thread_argument);
	check_memory();
}

/* --- A driver --------------------------------------------------------------------------------- */

static uint16_t available;

static void put(uint64_t at, uint64_t value, unsigned length)
{
	for (unsigned i = 0; i < length && at + i < RAM; i++)
		gmem.host[at + i] = (uint8_t)(value >> 8 * i);
}

static void describe(
    unsigned index, uint64_t address, uint64_t length, unsigned flags, unsigned next)
{
	uint64_t at = DESCRIPTORS + 16 * (uint64_t)index;

	put(at, address, 8);
	put(at + 8, length, 4);
	put(at + 12, flags, 2);
	put(at + 14, next, 2);
}

static void offer(uint16_t head)
{
	put(AVAILABLE + 4 + 2 * (uint64_t)(available % rings.size), head, 2);
	put(AVAILABLE + 2, ++available, 2);
}

/* An honest request of three descriptors from `index` on. */
static void request(unsigned index, uint32_t type, uint64_t sector, uint32_t bytes)
{
	/* Several may be on their way. */
	uint64_t header = HEADER + 16 * (uint64_t)(index % 16),
	         status = HEADER + 0x100 + index % 16;

	put(header, type, 4);
	put(header + 8, sector, 8);
	describe(index, header, 16, DESC_NEXT, (index + 1) % rings.size);
	describe((index + 1) % rings.size, DATA, bytes,
	    DESC_NEXT | (type == 0 || type == 8 ? DESC_WRITE : 0), (index + 2) % rings.size);
	describe((index + 2) % rings.size, status, 1, DESC_WRITE, 0);
	offer((uint16_t)index);
}

static void start(void)
{
	memset(gmem.host + USED, 0, 6 + 8 * 256);
	available = 0;
	put(AVAILABLE + 2, 0, 2);
	if (virtio_start(device, accepted, &rings))
		running = rings;
}

static void act(struct input *input)
{
	unsigned index, length;
	uint64_t at;

	switch (input_take(input, 1) % ACTS) {
	case DESCRIBE:
		index = (unsigned)input_take(input, 1);
		at = input_take(input, 2);
		length = (unsigned)input_take(input, 2);
		describe(index, at >= 0xff00 ? ~(0xffff - at) : at, length >= 0xff00 ? ~0u : length,
		    (unsigned)input_take(input, 1), (unsigned)input_take(input, 1));
		break;
	case WRITE:
		at = input_take(input, 2);
		for (length = (unsigned)input_take(input, 1) % 65; length > 0; length--)
			put(at++, input_take(input, 1), 1);
		break;
	case OFFER: offer((uint16_t)input_take(input, 1)); break;
	case INDEX:
		available = (uint16_t)input_take(input, 2);
		put(AVAILABLE + 2, available, 2);
		break;
	case RING: step(); break;
	case RELEASE:
		slow_release((unsigned)input_take(input, 1));
		step();
		break;
	case STOP:
		virtio_stop(device);
		step();
		break;
	case START:
		rings.descriptors = DESCRIPTORS + input_take(input, 1);
		rings.driver = AVAILABLE + input_take(input, 2);
		rings.device = USED + input_take(input, 2);
		start();
		break;
	case REQUEST:
		index = (unsigned)input_take(input, 1) % rings.size;
		at = input_take(input, 1);
		request(index, (uint32_t)at % 16, input_take(input, 1),
		    (uint32_t)input_take(input, 1) * 128);
		break;
	case FAIL: slow_error = (int)input_take(input, 1); break;
	}
}

/* --- One input -------------------------------------------------------------------------------- */

static struct virtio_device *make(enum model model)
{
	struct err err = {0};
	struct disk disk = {.fd = dup(disk_fd),
	    .readonly = model == BLK_READONLY,
	    .bytes = SECTORS * 512,
	    .block_bytes = 512,
	    .discard = true,
	    .zero = model == BLK_SLOW};

	if (model != RNG)
		return virtio_blk_create(
		    &(struct virtio_blk_config){.disk = disk,
		        .name = "fuzz",
		        .serial = "serial",
		        .queues = 1,
		        .engine = model == BLK_SLOW ? &slow_engine : &disk_engine_sync},
		    &gmem, &err);
	close(disk.fd);
	return virtio_rng_create("fuzz", &gmem, &err);
}

static void make_world(void)
{
	uint8_t content[SECTORS * 512];

	if (gmem.host == NULL) {
		uint8_t *map =
		    mmap(NULL, RAM + 2 * GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		FUZZ_CHECK(map != MAP_FAILED);
		FUZZ_CHECK(mprotect(map + GUARD, RAM, PROT_READ | PROT_WRITE) == 0);
		gmem = (struct gmem){.host = map + GUARD, .size_bytes = RAM, .max_bytes = RAM};
		disk_fd = memfd_create("disk", 0);
		log_level = LOG_ERROR;
	}
	for (size_t i = 0; i < sizeof content; i++)
		content[i] = (uint8_t)(i / 512);
	FUZZ_CHECK(pwrite(disk_fd, content, sizeof content, 0) == sizeof content);
	memset(gmem.host, 0, RAM);
	memset(may_change, 0, sizeof may_change);
	memset(popped, 0, sizeof popped);
	slow_begun = slow_ended = NULL;
	slow_error = 0;
}

/* Nothing that came before keeps an honest driver from being served. */
static void end_honestly(enum model model)
{
	racing = false;
	slow_error = 0;
	virtio_stop(device);
	slow_release(UINT32_MAX);
	step();
	FUZZ_CHECK(virtio_at_rest(device));
	FUZZ_CHECK(virtio_progress(device).in_flight == 0);
	for (size_t i = 0; i < sizeof popped / sizeof popped[0]; i++)
		FUZZ_CHECK(popped[i] == 0);
	check_disk(model == BLK_READONLY);
	rings = (struct virtio_rings){true, 4, DESCRIPTORS, AVAILABLE, USED};
	accepted = virtio_features(device);
	start();
	FUZZ_CHECK(!virtio_at_rest(device));
	gmem.host[HEADER + 0x100] = 0xff;
	request(0, 0, 3, 512);
	step();
	slow_release(1);
	step();
	FUZZ_CHECK(gmem.host[USED + 2] == 1);
	FUZZ_CHECK(model == RNG || gmem.host[HEADER + 0x100] == 0);
	virtio_stop(device);
	step();
	FUZZ_CHECK(virtio_at_rest(device));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	unsigned first = (unsigned)input_take(&input, 1), features;
	enum model model = (enum model)(first % MODELS);

	make_world();
	device = make(model);
	FUZZ_CHECK(device != NULL);
	racing = (first & 0x80) != 0;
	rings = (struct virtio_rings){
	    true, (uint16_t)(1u << input_take(&input, 1) % 9), DESCRIPTORS, AVAILABLE, USED};
	features = (unsigned)input_take(&input, 1);
	accepted = VIRTIO_F_VERSION_1 | ((features & 1) ? VIRTIO_F_EVENT_IDX : 0) |
	           ((features & 2) ? VIRTIO_F_INDIRECT_DESC : 0) |
	           ((features & 4) ? virtio_features(device) & VIRTIO_BLK_F_FLUSH : 0);
	start();
	while (input.left > 0)
		act(&input);
	end_honestly(model);
	virtio_destroy(device);
	return 0;
}
