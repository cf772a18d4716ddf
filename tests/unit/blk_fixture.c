/* SPDX-License-Identifier: Apache-2.0 */
/* blk_fixture.c - see blk_fixture.h. */
#include "blk_fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"

struct fake_disk fake = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void *fake_open(const struct disk *disk, int doorbell, struct err *err)
{
	if (fake.fail_open) {
		err_set(err, ERR_HOST, NULL, "no engine");
		return NULL;
	}
	return &fake;
}

static void fake_close(void *lane)
{
	assert_ptr_equal(lane, &fake);
}

static void fake_begin(void *lane, struct disk_request *request)
{
	pthread_mutex_lock(&fake.lock);
	fake.begun++;
	fake.last = *request;
	request->error = fake.error;
	request->offset += fake.done;
	request->data.bytes -= request->data.bytes > 0 ? fake.done : 0;
	if (fake.bad >= request->offset && fake.bad - request->offset < request->data.bytes &&
	    fake.bad > 0) {
		size_t done = fake.bad - request->offset;

		virtio_buffers_read(&request->data, NULL, done);
		request->offset = fake.bad;
		request->error = EIO;
	}
	request->next = fake.hold ? fake.held : fake.ended;
	*(fake.hold ? &fake.held : &fake.ended) = request;
	pthread_mutex_unlock(&fake.lock);
}

static void fake_submit(void *lane)
{
	pthread_mutex_lock(&fake.lock);
	fake.submitted++;
	pthread_mutex_unlock(&fake.lock);
}

static struct disk_request *fake_collect(void *lane)
{
	struct disk_request *request;

	pthread_mutex_lock(&fake.lock);
	request = fake.ended;
	if (request != NULL)
		fake.ended = request->next;
	pthread_mutex_unlock(&fake.lock);
	return request;
}

const struct disk_engine fake_engine = {.name = "fake",
    .open = fake_open,
    .close = fake_close,
    .begin = fake_begin,
    .submit = fake_submit,
    .collect = fake_collect};

static void note_error(void *context, const struct virtio_blk_error *error)
{
	struct fixture *f = context;

	f->error = *error;
	atomic_fetch_add(&f->errors, 1);
}

int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct err err = {0};

	log_level = LOG_ERROR;
	if (f == NULL || !gmem_init(&f->gmem, 16 * MIB, 16 * MIB, &err))
		return -1;
	f->fd = memfd_create("disk", MFD_ALLOW_SEALING);
	*state = f;
	return ftruncate(f->fd, SECTORS * 512);
}

/* A device above a disk that is like this one, but for its descriptor and size. */
struct virtio_device *make(struct fixture *f, struct disk disk, unsigned queues,
    const struct disk_engine *engine, struct err *err)
{
	disk.fd = dup(f->fd);
	disk.bytes = SECTORS * 512;
	if (disk.block_bytes == 0)
		disk.block_bytes = 512;
	return virtio_blk_create(&(struct virtio_blk_config){.disk = disk,
	                             .name = "root",
	                             .serial = "SERIAL-1",
	                             .queues = queues,
	                             .engine = engine,
	                             .error = note_error,
	                             .context = f},
	    &f->gmem, err);
}

void start(struct fixture *f, uint64_t without)
{
	struct virtio_rings rings[QUEUES] = {0};
	uint64_t features = virtio_features(f->device) & ~without;

	for (unsigned i = 0; i < virtio_queues(f->device); i++) {
		driver_init(&f->queues[i], &f->gmem, 0x10000 * (i + 1), SIZE);
		f->queues[i].event_index = (features & VIRTIO_F_EVENT_IDX) != 0;
		rings[i] = f->queues[i].rings;
	}
	assert_true(virtio_start(f->device, features, rings));
}

void begin(struct fixture *f, struct disk disk, const struct disk_engine *engine)
{
	struct err err = {0};

	f->device = make(f, disk, 1, engine, &err);
	assert_non_null(f->device);
	transport_init(&f->transport, f->device);
	start(f, 0);
}

int tear_down(void **state)
{
	struct fixture *f = *state;

	if (f->device != NULL) {
		transport_stop(&f->transport, f->device);
		virtio_destroy(f->device);
		transport_finish(&f->transport);
	}
	memset((char *)&fake + sizeof fake.lock, 0, sizeof fake - sizeof fake.lock);
	close(f->fd);
	gmem_finish(&f->gmem);
	free(f);
	return 0;
}

/* --- A driver --------------------------------------------------------------------------------- */

/* What a request's n-th use of memory is. */
static uint64_t header_at(unsigned n)
{
	return HEADERS + 16 * (uint64_t)(n % 2048);
}

static uint64_t status_at(unsigned n)
{
	return STATUSES + n % 2048;
}

static unsigned append(struct driver_part *parts, unsigned count, uint64_t at, uint32_t bytes,
    uint32_t piece, bool writable)
{
	while (bytes > 0) {
		uint32_t length = piece == 0 || piece > bytes ? bytes : piece;

		parts[count++] = (struct driver_part){at, length, writable};
		at += length;
		bytes -= length;
	}
	return count;
}

unsigned prepare(struct fixture *f, const struct request *request)
{
	struct {
		struct le32 type, reserved;
		struct le64 sector;
	} header = {.type = le32(request->type), .sector = le64(request->sector)};
	struct driver_queue *queue = &f->queues[request->queue];
	struct driver_part parts[200];
	uint8_t untouched = UNTOUCHED;
	unsigned n = f->requests++, count;
	bool in = request->type == IN || request->type == GET_ID;

	assert_true(gmem_write(&f->gmem, header_at(n), &header, sizeof header));
	assert_true(gmem_write(&f->gmem, status_at(n), &untouched, 1));
	count = append(parts, 0, header_at(n), 16, request->piece, false);
	count = append(parts, count, request->data, request->bytes, request->piece, in);
	count = append(parts, count, status_at(n), 1, 0, true);
	/* In tables, so that each takes one descriptor of the ring. */
	driver_offer(
	    queue, driver_chain(queue, parts, count, TABLES + 0x1000 * (uint64_t)(n % (SIZE + 1))));
	return n;
}

unsigned offer(struct fixture *f, const struct request *request)
{
	unsigned n = prepare(f, request);

	driver_publish(&f->queues[request->queue]);
	return n;
}

uint8_t status_of(const struct fixture *f, unsigned n)
{
	uint8_t status;

	assert_true(gmem_read(&f->gmem, status_at(n), &status, 1));
	return status;
}

/* Send it and wait for its status. */
uint8_t ask(struct fixture *f, const struct request *request, uint32_t *ret_written)
{
	struct driver_queue *queue = &f->queues[request->queue];
	unsigned n = offer(f, request);
	uint16_t head;
	uint32_t written;

	driver_ring(f->device, request->queue);
	transport_wait_used(&f->transport, queue, (uint16_t)(queue->used + 1));
	assert_true(driver_collect(queue, &head, &written));
	if (ret_written != NULL)
		*ret_written = written;
	return status_of(f, n);
}

void fill(struct fixture *f, uint64_t at, uint32_t bytes, uint8_t seed)
{
	for (uint32_t i = 0; i < bytes; i++)
		f->gmem.host[at + i] = (uint8_t)(seed + i * 7 + (i >> 8));
}

uint8_t ask_range(
    struct fixture *f, uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	struct {
		struct le64 sector;
		struct le32 sectors, flags;
	} range = {le64(sector), le32(sectors), le32(flags)};

	assert_true(gmem_write(&f->gmem, DATA, &range, sizeof range));
	return ASK(.type = type, .data = DATA, .bytes = sizeof range, .piece = 5);
}
