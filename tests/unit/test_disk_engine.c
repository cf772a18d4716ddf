/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_disk_engine.c - the engines: each does the same with a file, whatever its system calls
 * return.
 *
 * The test stands in front of the system calls: `script` says what the next ones do. io_uring is
 * the host's, or a ring in which io_uring_submit() carries requests out by the same script.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/log.h"
#include "virtio/disk.h"

enum { FILE_BYTES = 1 << 20, DEPTH = 256, ALL = 0 };

/* --- Scripted system calls ----------------------------------------------------------------------
 */

/* Each step is for one call: ALL it asks for, at most so many bytes, or a negative errno. Behind
 * the last it is ALL. */
static struct {
	int steps[8];
	unsigned at, calls;
	int flags, mode;     /* of the last call */
	uint64_t misaligned; /* calls with memory that is not at a multiple of 4096 */
} script;

#define SCRIPT(...) memcpy(script.steps, (int[8]){__VA_ARGS__}, sizeof script.steps)

static int script_next(void)
{
	script.calls++;
	return script.at < 8 ? script.steps[script.at++] : ALL;
}

/* A result as of the kernel's: bytes, 0 or a negative errno. */
static long scripted_move(
    long call, int fd, const struct iovec *list, int count, off_t offset, int flags)
{
	int step = script_next();
	struct iovec cut[DEPTH];
	long result;

	script.flags = flags;
	assert_true(count <= DEPTH);
	for (int i = 0; i < count; i++)
		if (((uintptr_t)list[i].iov_base & 4095) != 0)
			script.misaligned++;
	if (step < 0)
		return step;
	memcpy(cut, list, sizeof *cut * (size_t)count);
	for (int i = 0; step > 0 && i < count; i++) {
		if (cut[i].iov_len > (size_t)step)
			cut[i].iov_len = (size_t)step;
		step -= (int)cut[i].iov_len;
		if (step == 0)
			count = i + 1;
	}
	result = syscall(call, fd, cut, count, offset, 0, flags);
	return result < 0 ? -errno : result;
}

static long scripted_change(int mode)
{
	script.mode = mode;
	return script_next() < 0 ? script.steps[script.at - 1] : 0;
}

static long as_libc(long result)
{
	if (result >= 0)
		return result;
	errno = (int)-result;
	return -1;
}

ssize_t preadv2(int fd, const struct iovec *list, int count, off_t offset, int flags)
{
	return as_libc(scripted_move(SYS_preadv2, fd, list, count, offset, flags));
}

ssize_t pwritev2(int fd, const struct iovec *list, int count, off_t offset, int flags)
{
	return as_libc(scripted_move(SYS_pwritev2, fd, list, count, offset, flags));
}

int fdatasync(int fd)
{
	return (int)as_libc(scripted_change(-1));
}

int fallocate(int fd, int mode, off_t offset, off_t length)
{
	return (int)as_libc(scripted_change(mode));
}

/* --- io_uring -----------------------------------------------------------------------------------
 */

static struct {
	bool real; /* the host's */
	unsigned sq_head, sq_tail, sq_flags, cq_head, cq_tail;
	struct io_uring_sqe sqes[DEPTH];
	struct io_uring_cqe cqes[2 * DEPTH];
	struct io_uring *ring; /* the last that was made, of either kind */
	unsigned step;         /* of the set-up, which fails at ... */
	unsigned fail_at;
	unsigned exits;
	int submits[4]; /* what the next return: 0: all, n: so many, or a negative errno */
	unsigned submit_at;
	int file, doorbell;
	bool restricted;
} fake;

static int set_up_step(void)
{
	return ++fake.step == fake.fail_at ? -EPERM : 0;
}

#define WRAP(type, name, ...)                                                                      \
	type __real_##name(__VA_ARGS__);                                                           \
	type __wrap_##name(__VA_ARGS__);                                                           \
	type __wrap_##name(__VA_ARGS__)

WRAP(int, io_uring_queue_init_params, unsigned entries, struct io_uring *ring,
    struct io_uring_params *params)
{
	assert_int_equal(entries, DEPTH);
	assert_int_equal(params->flags, IORING_SETUP_R_DISABLED);
	fake.ring = ring;
	if (fake.real)
		return __real_io_uring_queue_init_params(entries, ring, params);
	*ring = (struct io_uring){
	    .sq = {.khead = &fake.sq_head,
	        .ktail = &fake.sq_tail,
	        .kflags = &fake.sq_flags,
	        .sqes = fake.sqes,
	        .ring_mask = DEPTH - 1,
	        .ring_entries = DEPTH},
	    .cq = {.khead = &fake.cq_head,
	        .ktail = &fake.cq_tail,
	        .cqes = fake.cqes,
	        .ring_mask = 2 * DEPTH - 1,
	        .ring_entries = 2 * DEPTH},
	};
	return set_up_step();
}

WRAP(int, io_uring_register_files, struct io_uring *ring, const int *files, unsigned count)
{
	assert_int_equal(count, 1);
	assert_int_equal(files[0], -1);
	return fake.real ? __real_io_uring_register_files(ring, files, count) : set_up_step();
}

WRAP(int, io_uring_register_files_update, struct io_uring *ring, unsigned at, const int *files,
    unsigned count)
{
	int result = fake.real ? __real_io_uring_register_files_update(ring, at, files, count)
	                       : set_up_step();

	assert_int_equal(at, 0);
	assert_int_equal(count, 1);
	if (result >= 0)
		fake.file = files[0];
	return result < 0 ? result : 1;
}

WRAP(int, io_uring_register_eventfd, struct io_uring *ring, int fd)
{
	fake.doorbell = fd;
	return fake.real ? __real_io_uring_register_eventfd(ring, fd) : set_up_step();
}

WRAP(int, io_uring_unregister_eventfd, struct io_uring *ring)
{
	fake.doorbell = -1;
	return fake.real ? __real_io_uring_unregister_eventfd(ring) : set_up_step();
}

WRAP(int, io_uring_register_restrictions, struct io_uring *ring, struct io_uring_restriction *rules,
    unsigned count)
{
	fake.restricted = true;
	return fake.real ? __real_io_uring_register_restrictions(ring, rules, count)
	                 : set_up_step();
}

WRAP(int, io_uring_enable_rings, struct io_uring *ring)
{
	assert_true(fake.restricted);
	return fake.real ? __real_io_uring_enable_rings(ring) : set_up_step();
}

WRAP(void, io_uring_queue_exit, struct io_uring *ring)
{
	fake.exits++;
	if (fake.real)
		__real_io_uring_queue_exit(ring);
}

static long fake_execute(const struct io_uring_sqe *sqe)
{
	const struct iovec *list = (const struct iovec *)(uintptr_t)sqe->addr;

	assert_int_equal(sqe->fd, 0);
	assert_int_equal(sqe->flags, IOSQE_FIXED_FILE);
	switch (sqe->opcode) {
	case IORING_OP_READV:
		return scripted_move(
		    SYS_preadv2, fake.file, list, (int)sqe->len, (off_t)sqe->off, sqe->rw_flags);
	case IORING_OP_WRITEV:
		return scripted_move(
		    SYS_pwritev2, fake.file, list, (int)sqe->len, (off_t)sqe->off, sqe->rw_flags);
	case IORING_OP_FSYNC:
		assert_int_equal(sqe->fsync_flags, IORING_FSYNC_DATASYNC);
		return scripted_change(-1);
	case IORING_OP_FALLOCATE: return scripted_change((int)sqe->len);
	default: fail(); return 0;
	}
}

WRAP(int, io_uring_submit, struct io_uring *ring)
{
	int limit = fake.submit_at < 4 ? fake.submits[fake.submit_at++] : 0;
	int taken = 0;

	if (fake.real)
		return __real_io_uring_submit(ring);
	if (limit < 0)
		return limit;
	while (fake.sq_head != ring->sq.sqe_tail && (limit == 0 || taken < limit)) {
		const struct io_uring_sqe *sqe = &fake.sqes[fake.sq_head % DEPTH];

		fake.cqes[fake.cq_tail % (2 * DEPTH)] = (struct io_uring_cqe){
		    .user_data = sqe->user_data, .res = (int)fake_execute(sqe)};
		fake.cq_tail++;
		fake.sq_head++;
		taken++;
	}
	return taken;
}

/* --- Fixture ------------------------------------------------------------------------------------
 */

struct fixture {
	const struct disk_engine *engine;
	struct disk disk;
	void *lane;
	int doorbell;
	uint8_t content[FILE_BYTES]; /* of the file, at the start */
	uint8_t *memory;             /* at a multiple of 4096 */
};

static bool fixture_open(struct fixture *f, struct err *err)
{
	f->lane = f->engine->open(&f->disk, f->doorbell, err);
	return f->lane != NULL;
}

static int fixture_begin(void **state, const struct disk_engine *engine, bool real)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct err err = {0};

	if (f == NULL)
		return -1;
	*state = f;
	memset(&script, 0, sizeof script);
	memset(&fake, 0, sizeof fake);
	fake.real = real;
	f->engine = engine;
	f->memory = aligned_alloc(4096, FILE_BYTES);
	f->doorbell = eventfd(0, EFD_NONBLOCK);
	f->disk =
	    (struct disk){.fd = memfd_create("disk", 0), .bytes = FILE_BYTES, .block_bytes = 512};
	for (unsigned i = 0; i < FILE_BYTES; i++)
		f->content[i] = (uint8_t)(i * 13 + (i >> 9));
	if (pwrite(f->disk.fd, f->content, FILE_BYTES, 0) != FILE_BYTES)
		return -1;
	if (!fixture_open(f, &err))
		print_message("not run: %s\n", err.message);
	return 0;
}

static int with_sync(void **state)
{
	return fixture_begin(state, &disk_engine_sync, false);
}

static int with_fake_uring(void **state)
{
	return fixture_begin(state, &disk_engine_uring, false);
}

static int with_uring(void **state)
{
	return fixture_begin(state, &disk_engine_uring, true);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	if (f->lane != NULL)
		f->engine->close(f->lane);
	if (f->lane != NULL && f->engine == &disk_engine_uring)
		assert_int_equal(fake.exits, 1);
	disk_close(&f->disk);
	close(f->doorbell);
	free(f->memory);
	free(f);
	return 0;
}

/* The same lane, for a disk that only takes aligned memory. */
static void make_direct(struct fixture *f)
{
	struct err err = {0};

	f->engine->close(f->lane);
	memset(&fake, 0, offsetof(typeof(fake), sqes));
	fake.step = fake.exits = 0;
	f->disk.direct = true;
	f->disk.memory_align = 4096;
	f->disk.block_bytes = 4096;
	assert_true(fixture_open(f, &err));
}

/* Begin it, and wait for the one that ends. */
static struct disk_request *run(struct fixture *f, struct disk_request *request)
{
	struct disk_request *ended;
	struct pollfd doorbell = {.fd = f->doorbell, .events = POLLIN};

	f->engine->begin(f->lane, request);
	f->engine->submit(f->lane);
	while ((ended = f->engine->collect(f->lane)) == NULL) {
		uint64_t rings;

		assert_int_equal(poll(&doorbell, 1, -1), 1);
		assert_int_equal(read(f->doorbell, &rings, sizeof rings), sizeof rings);
	}
	return ended;
}

static void move(struct fixture *f, enum disk_operation operation, uint64_t offset,
    struct iovec *list, unsigned count, struct disk_request *request)
{
	*request = (struct disk_request){
	    .operation = operation, .offset = offset, .data = {.list = list, .count = count}};
	for (unsigned i = 0; i < count; i++)
		request->data.bytes += list[i].iov_len;
	assert_ptr_equal(run(f, request), request);
	assert_null(f->engine->collect(f->lane));
}

/* Read 8000 bytes at 512 into three pieces of memory that is aligned or not. */
static void read_pieces(struct fixture *f, struct disk_request *request)
{
	struct iovec list[] = {
	    {f->memory + 1, 100}, {f->memory + 5000, 4096}, {f->memory + 20000, 3804}};

	memset(f->memory, 0, FILE_BYTES);
	move(f, DISK_READ, 512, list, 3, request);
}

static void expect_pieces(const struct fixture *f, size_t bytes)
{
	uint8_t got[8000];

	memcpy(got, f->memory + 1, 100);
	memcpy(got + 100, f->memory + 5000, 4096);
	memcpy(got + 4196, f->memory + 20000, 3804);
	assert_memory_equal(got, f->content + 512, bytes);
	for (size_t i = bytes; i < sizeof got; i++)
		assert_int_equal(got[i], 0);
}

/* Write them back to 65536, changed, and look at the file. */
static void write_pieces(struct fixture *f, struct disk_request *request)
{
	struct iovec list[] = {
	    {f->memory + 1, 100}, {f->memory + 5000, 4096}, {f->memory + 20000, 3804}};

	for (unsigned i = 0; i < FILE_BYTES; i++)
		f->memory[i] = (uint8_t)(i * 7 + 3);
	move(f, DISK_WRITE, 65536, list, 3, request);
}

static void expect_written(const struct fixture *f, size_t bytes)
{
	uint8_t file[8192], want[8192];

	memcpy(want, f->content + 65536, sizeof want);
	for (size_t i = 0; i < bytes; i++) {
		size_t at = i < 100 ? 1 + i : i < 4196 ? 5000 + i - 100 : 20000 + i - 4196;

		want[i] = (uint8_t)(at * 7 + 3);
	}
	assert_int_equal(syscall(SYS_pread64, f->disk.fd, file, sizeof file, 65536), sizeof file);
	assert_memory_equal(file, want, sizeof want);
}

/* --- Tests of each engine -----------------------------------------------------------------------
 */

static void data_arrives_whatever_the_calls_return(void **state)
{
	static const int scripts[][8] = {{ALL}, {1, ALL}, {100, ALL}, {99, 1, 1, 4096, 1, ALL},
	    {-EINTR, ALL}, {-EINTR, -EINTR, 300, -EINTR, 5000, -EINTR, ALL},
	    {4196, -EINTR, 1, ALL}};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
		struct disk_request request;

		memcpy(script.steps, scripts[i], sizeof script.steps);
		script.at = 0;
		read_pieces(f, &request);
		assert_int_equal(request.error, 0);
		assert_int_equal(request.data.bytes, 0);
		expect_pieces(f, 8000);
		script.at = 0;
		write_pieces(f, &request);
		assert_int_equal(request.error, 0);
		assert_int_equal(script.flags, 0);
		expect_written(f, 8000);
	}
}

static void an_error_says_how_far_it_came(void **state)
{
	static const int errors[] = {EIO, ENOSPC, EDQUOT, EFBIG};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
		struct disk_request request;

		SCRIPT(1024, -EINTR, 2048, -errors[i]);
		script.at = 0;
		read_pieces(f, &request);
		assert_int_equal(request.error, errors[i]);
		assert_int_equal(request.data.bytes, 8000 - 3072);
		assert_int_equal(request.offset, 512 + 3072);
		expect_pieces(f, 3072);
		script.at = 0;
		write_pieces(f, &request);
		assert_int_equal(request.error, errors[i]);
		assert_int_equal(request.offset, 65536 + 3072);
		expect_written(f, 3072);
	}
}

static void a_file_that_has_become_shorter_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct disk_request request;

	assert_int_equal(ftruncate(f->disk.fd, 1000), 0);
	read_pieces(f, &request);
	assert_int_equal(request.error, EIO);
	assert_int_equal(request.offset, 1000);
	expect_pieces(f, 488);
}

static void a_write_can_be_durable(void **state)
{
	struct fixture *f = *state;
	struct iovec part = {f->memory, 512};
	struct disk_request request = {.operation = DISK_WRITE,
	    .durable = true,
	    .data = {.list = &part, .count = 1, .bytes = 512}};

	run(f, &request);
	assert_int_equal(request.error, 0);
	assert_int_equal(script.flags, RWF_DSYNC);
}

static void flushes_and_ranges_are_one_call_each(void **state)
{
	static const struct {
		enum disk_operation operation;
		bool unmap;
		int mode;
	} cases[] = {
	    {DISK_FLUSH, false, -1},
	    {DISK_DISCARD, false, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE},
	    {DISK_ZERO, false, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE},
	    {DISK_ZERO, true, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE},
	};
	static const int errors[] = {0, EIO, EOPNOTSUPP, ENOSPC};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		for (size_t e = 0; e < sizeof errors / sizeof errors[0]; e++) {
			struct disk_request request = {.operation = cases[i].operation,
			    .unmap = cases[i].unmap,
			    .offset = 4096,
			    .data.bytes = cases[i].operation == DISK_FLUSH ? 0 : 8192};

			SCRIPT(-EINTR, -EINTR, -errors[e]);
			script.at = script.calls = 0;
			run(f, &request);
			assert_int_equal(request.error, errors[e]);
			assert_int_equal(script.mode, cases[i].mode);
			assert_int_equal(script.calls, 3);
		}
	}
}

/* Direct I/O takes buffers at certain addresses; others go through one that is. */
static void memory_that_direct_io_does_not_take_is_copied(void **state)
{
	static const int scripts[][8] = {
	    {ALL}, {4096, ALL}, {-EINTR, 8192, 4096, -EINTR, ALL}, {131072, 4096, ALL}};
	enum { BYTES = 300 << 10 };
	struct fixture *f = *state;

	make_direct(f);
	for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
		struct iovec to[] = {{f->memory + 3, 5000}, {f->memory + 8192, BYTES - 5000}};
		struct iovec from[] = {{f->memory + 512, BYTES}};
		struct disk_request request;
		uint8_t *file = malloc(BYTES);

		memset(f->memory, 0, FILE_BYTES);
		memcpy(script.steps, scripts[i], sizeof script.steps);
		script.at = 0;
		script.misaligned = 0;
		move(f, DISK_READ, 4096, to, 2, &request);
		assert_int_equal(request.error, 0);
		assert_memory_equal(f->memory + 3, f->content + 4096, 5000);
		assert_memory_equal(f->memory + 8192, f->content + 4096 + 5000, BYTES - 5000);
		assert_int_equal(f->memory[2] + f->memory[5003], 0);
		script.at = 0;
		for (unsigned b = 0; b < BYTES; b++)
			f->memory[512 + b] = (uint8_t)(b * 5 + i);
		move(f, DISK_WRITE, 512 << 10, from, 1, &request);
		assert_int_equal(request.error, 0);
		assert_int_equal(syscall(SYS_pread64, f->disk.fd, file, BYTES, 512 << 10), BYTES);
		assert_memory_equal(file, f->memory + 512, BYTES);
		assert_int_equal(script.misaligned, 0);
		free(file);
	}
	{
		struct iovec aligned = {f->memory, 8192};
		struct iovec wrong = {f->memory + 1, 8192};
		struct disk_request request;

		SCRIPT(4096, -ENOSPC);
		script.at = script.calls = 0;
		move(f, DISK_WRITE, 0, &wrong, 1, &request);
		assert_int_equal(request.error, ENOSPC);
		assert_int_equal(request.offset, 4096);
		assert_int_equal(request.data.bytes, 4096);
		wrong = (struct iovec){f->memory + 1, 8192};
		SCRIPT(-EIO);
		script.at = 0;
		move(f, DISK_READ, 0, &wrong, 1, &request);
		assert_int_equal(request.error, EIO);
		script.calls = 0;
		SCRIPT(ALL);
		move(f, DISK_READ, 0, &aligned, 1, &request);
		assert_int_equal(request.error, 0);
		assert_int_equal(script.calls, 1);
	}
}

/* --- io_uring only ------------------------------------------------------------------------------
 */

static void what_must_wait_is_done_by_the_thread(void **state)
{
	struct fixture *f = *state;
	struct disk_request request;

	SCRIPT(-EAGAIN, 100, ALL);
	read_pieces(f, &request);
	assert_int_equal(request.error, 0);
	assert_int_equal(script.calls, 3);
	expect_pieces(f, 8000);
}

static void reads_of_sectors(
    struct fixture *f, struct disk_request *requests, struct iovec *parts, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		parts[i] = (struct iovec){f->memory + 512 * i, 512};
		requests[i] = (struct disk_request){.operation = DISK_READ,
		    .offset = 512 * i,
		    .data = {.list = &parts[i], .count = 1, .bytes = 512}};
		f->engine->begin(f->lane, &requests[i]);
	}
	f->engine->submit(f->lane);
}

/* Each once, and the data is there. */
static void expect_all(struct fixture *f, struct disk_request *requests, unsigned count)
{
	struct pollfd doorbell = {.fd = f->doorbell, .events = POLLIN};
	bool seen[DEPTH] = {0};

	for (unsigned left = count; left > 0;) {
		struct disk_request *ended = f->engine->collect(f->lane);
		uint64_t rings;

		if (ended == NULL) {
			assert_int_equal(poll(&doorbell, 1, -1), 1);
			assert_int_equal(read(f->doorbell, &rings, sizeof rings), sizeof rings);
			continue;
		}
		assert_false(seen[ended - requests]);
		seen[ended - requests] = true;
		assert_int_equal(ended->error, 0);
		left--;
	}
	assert_null(f->engine->collect(f->lane));
	assert_memory_equal(f->memory, f->content, 512 * count);
}

static void a_ring_that_takes_no_more_is_not_used_again(void **state)
{
	static const int submits[][4] = {
	    {-EINTR, 0}, {3, 1, 0}, {-EBUSY}, {2, -EAGAIN}, {1, 1, 1, -ENOMEM}};
	struct disk_request requests[8];
	struct iovec parts[8];
	struct fixture *f = *state;
	struct err err = {0};

	log_level = LOG_ERROR;
	for (size_t i = 0; i < sizeof submits / sizeof submits[0]; i++) {
		bool fails = i >= 2;
		unsigned head, tail;

		memcpy(fake.submits, submits[i], sizeof fake.submits);
		fake.submit_at = 0;
		memset(f->memory, 0, 4096);
		reads_of_sectors(f, requests, parts, 8);
		expect_all(f, requests, 8);
		fake.submit_at = 4;
		head = fake.sq_head;
		tail = fake.ring->sq.sqe_tail;
		reads_of_sectors(f, requests, parts, 8);
		expect_all(f, requests, 8);
		assert_int_equal(fake.sq_head - head, fails ? 0 : 8);
		assert_int_equal(fake.ring->sq.sqe_tail - tail, fails ? 0 : 8);
		f->engine->close(f->lane);
		fake.sq_head = fake.sq_tail = fake.cq_head = fake.cq_tail = 0;
		fake.exits = 0;
		assert_true(fixture_open(f, &err));
	}
}

static void each_step_of_the_set_up_can_fail(void **state)
{
	struct fixture *f = *state;
	struct err none = {0};

	assert_int_equal(fake.step, 6);
	assert_int_equal(fake.file, f->disk.fd);
	assert_int_equal(fake.doorbell, f->doorbell);
	f->engine->close(f->lane);
	for (unsigned n = 1; n <= 6; n++) {
		struct err err = {0};

		fake.step = fake.exits = 0;
		fake.fail_at = n;
		assert_false(fixture_open(f, &err));
		assert_int_equal(err.class, ERR_HOST);
		assert_string_equal(err.message, "cannot use io_uring: Operation not permitted");
		assert_int_equal(fake.exits, n > 1);
	}
	fake.fail_at = fake.exits = 0;
	assert_true(fixture_open(f, &none));
}

/* One that keeps the file of a disk that has gone is worse than none. */
static void a_ring_that_keeps_its_file_is_ended(void **state)
{
	struct fixture *f = *state;
	struct disk_request requests[8];
	struct iovec parts[8];
	struct err err = {0};

	f->engine->close(f->lane);
	f->disk.rings = disk_rings_create(2);
	for (unsigned n = 1; n <= 2; n++) {
		assert_true(fixture_open(f, &err));
		fake.step = fake.exits = 0;
		fake.fail_at = n;
		f->engine->close(f->lane);
		assert_int_equal(fake.exits, 1);
		fake.fail_at = 0;
	}
	assert_false(fixture_open(f, &err));
	disk_rings_destroy(f->disk.rings);
	/* Nor is one used again with requests in it that the kernel has not taken. */
	fake.step = fake.exits = 0;
	f->disk.rings = disk_rings_create(1);
	assert_true(fixture_open(f, &err));
	fake.submit_at = 0;
	fake.submits[0] = -EBUSY;
	reads_of_sectors(f, requests, parts, 8);
	expect_all(f, requests, 8);
	f->engine->close(f->lane);
	assert_int_equal(fake.exits, 1);
	assert_false(fixture_open(f, &err));
	disk_rings_destroy(f->disk.rings);
	disk_rings_destroy(NULL);
	fake.fail_at = 1;
	fake.step = 0;
	assert_null(disk_rings_create(2));
}

/* Whether the host lets us; else the test has not been run, and has said so. */
#define NEEDS_RING(f)                                                                              \
	do {                                                                                       \
		if ((f)->lane == NULL)                                                             \
			skip();                                                                    \
	} while (0)

/* Rings that were made before: taken and given back, with no step of making one. */
static void rings_can_be_made_before(void **state)
{
	enum { RINGS = 2 };
	struct fixture *f = *state;
	struct disk_request requests[8];
	struct iovec parts[8];
	struct err err = {0};
	void *lanes[RINGS];

	NEEDS_RING(f);
	f->engine->close(f->lane);
	f->disk.rings = disk_rings_create(RINGS);
	assert_non_null(f->disk.rings);
	fake.exits = 0;
	for (unsigned turn = 0; turn < 3; turn++) {
		for (unsigned i = 0; i < RINGS; i++) {
			fake.ring = NULL;
			lanes[i] = f->engine->open(&f->disk, f->doorbell, &err);
			assert_non_null(lanes[i]);
			assert_null(fake.ring);
			assert_int_equal(fake.file, f->disk.fd);
			assert_int_equal(fake.doorbell, f->doorbell);
			f->lane = lanes[i];
			memset(f->memory, 0, 512 * 8);
			if (fake.real) {
				reads_of_sectors(f, requests, parts, 8);
				expect_all(f, requests, 8);
			}
		}
		assert_null(f->engine->open(&f->disk, f->doorbell, &err));
		assert_string_equal(
		    err.message, "cannot use io_uring: Resource temporarily unavailable");
		for (unsigned i = 0; i < RINGS; i++)
			f->engine->close(lanes[i]);
		assert_int_equal(fake.file, -1);
		assert_int_equal(fake.doorbell, -1);
	}
	f->lane = NULL;
	assert_int_equal(fake.exits, 0);
	disk_rings_destroy(f->disk.rings);
	assert_int_equal(fake.exits, RINGS);
}

static void the_host_carries_a_whole_queue(void **state)
{
	struct disk_request requests[DEPTH];
	struct iovec parts[DEPTH];
	struct fixture *f = *state;

	NEEDS_RING(f);
	for (int turn = 0; turn < 5; turn++) {
		memset(f->memory, 0, FILE_BYTES);
		reads_of_sectors(f, requests, parts, DEPTH);
		expect_all(f, requests, DEPTH);
	}
	assert_int_equal(script.calls, 0); /* none of them was done by this thread */
}

static void the_host_does_all_operations(void **state)
{
	struct fixture *f = *state;
	struct disk_request request;
	uint8_t zeros[4096] = {0}, file[4096];

	NEEDS_RING(f);
	read_pieces(f, &request);
	assert_int_equal(request.error, 0);
	expect_pieces(f, 8000);
	write_pieces(f, &request);
	assert_int_equal(request.error, 0);
	expect_written(f, 8000);
	request = (struct disk_request){.operation = DISK_FLUSH};
	run(f, &request);
	assert_int_equal(request.error, 0);
	request =
	    (struct disk_request){.operation = DISK_DISCARD, .offset = 4096, .data.bytes = 4096};
	run(f, &request);
	assert_int_equal(request.error, 0);
	assert_int_equal(syscall(SYS_pread64, f->disk.fd, file, 4096, 4096), 4096);
	assert_memory_equal(file, zeros, 4096);
	/* A file in memory cannot zero and keep the space. */
	request = (struct disk_request){.operation = DISK_ZERO, .data.bytes = 4096};
	run(f, &request);
	assert_int_equal(request.error, EOPNOTSUPP);
	/* Behind the end of the file there is nothing to read. */
	assert_int_equal(ftruncate(f->disk.fd, 1000), 0);
	read_pieces(f, &request);
	assert_int_equal(request.error, EIO);
	assert_int_equal(request.offset, 1000);
}

static int result_of(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;
	int result;

	assert_int_equal(__real_io_uring_submit(ring), 1);
	assert_int_equal(io_uring_wait_cqe(ring, &cqe), 0);
	result = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return result;
}

/* The kernel refuses what is not needed: another operation, another file, another registration. */
static void a_ring_can_do_nothing_else(void **state)
{
	struct fixture *f = *state;
	struct io_uring *ring = fake.ring;
	char byte;
	struct iovec part = {&byte, 1};
	struct io_uring_sqe *sqe;

	NEEDS_RING(f);
	sqe = io_uring_get_sqe(ring);
	io_uring_prep_nop(sqe);
	assert_int_equal(result_of(ring), -EACCES);
	sqe = io_uring_get_sqe(ring);
	io_uring_prep_openat(sqe, AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
	assert_int_equal(result_of(ring), -EACCES);
	sqe = io_uring_get_sqe(ring);
	io_uring_prep_readv(sqe, f->disk.fd, &part, 1, 0); /* a descriptor of the process */
	assert_int_equal(result_of(ring), -EACCES);
	sqe = io_uring_get_sqe(ring);
	io_uring_prep_readv(sqe, 0, &part, 1, 0);
	sqe->flags |= IOSQE_FIXED_FILE | IOSQE_ASYNC;
	assert_int_equal(result_of(ring), -EACCES);
	sqe = io_uring_get_sqe(ring);
	io_uring_prep_readv(sqe, 1, &part, 1, 0); /* no such registered file */
	sqe->flags |= IOSQE_FIXED_FILE;
	assert_int_equal(result_of(ring), -EBADF);
	sqe = io_uring_get_sqe(ring);
	io_uring_prep_readv(sqe, 0, &part, 1, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	assert_int_equal(result_of(ring), 1);
	assert_true(__real_io_uring_register_files(ring, &f->doorbell, 1) < 0);
	assert_true(io_uring_register_buffers(ring, &part, 1) < 0);
	assert_true(io_uring_register_personality(ring) < 0);
	assert_true(io_uring_unregister_files(ring) < 0);
}

#define EACH(name)                                                                                 \
	{#name " (sync)", name, with_sync, tear_down, NULL},                                       \
	{                                                                                          \
#name " (io_uring)", name, with_fake_uring, tear_down, NULL                        \
	}
#define FAKE(name) cmocka_unit_test_setup_teardown(name, with_fake_uring, tear_down)
#define REAL(name) cmocka_unit_test_setup_teardown(name, with_uring, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    EACH(data_arrives_whatever_the_calls_return),
	    EACH(an_error_says_how_far_it_came),
	    EACH(a_file_that_has_become_shorter_is_an_error),
	    EACH(a_write_can_be_durable),
	    EACH(flushes_and_ranges_are_one_call_each),
	    EACH(memory_that_direct_io_does_not_take_is_copied),
	    FAKE(what_must_wait_is_done_by_the_thread),
	    FAKE(a_ring_that_takes_no_more_is_not_used_again),
	    FAKE(each_step_of_the_set_up_can_fail),
	    FAKE(rings_can_be_made_before),
	    FAKE(a_ring_that_keeps_its_file_is_ended),
	    REAL(rings_can_be_made_before),
	    REAL(the_host_carries_a_whole_queue),
	    REAL(the_host_does_all_operations),
	    REAL(a_ring_can_do_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
