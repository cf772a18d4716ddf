// SPDX-License-Identifier: Apache-2.0
/*
 * disk_load.c - lab/bench's load of a disk, in the guest: requests of 4 KiB past the page cache,
 * DEPTH at once, in order or at random, for some milliseconds. With a depth of 1 a request is a
 * pread() or pwrite(); else requests are submitted and awaited by Linux's AIO, and what has ended
 * is asked again in one call.
 *
 * Prints "requests=N ns=N p50=N p99=N max=N": how many have ended, in what time, and how long one
 * took.
 *
 * usage: disk_load DEVICE read|write seq|rand DEPTH MILLISECONDS
 */
#ifndef _GNU_SOURCE // the build of paprika defines it
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK_BYTES = 4096, DEPTH_MAX = 256, SAMPLES_MAX = 1 << 18 };

struct load {
	int fd;
	bool write, random;
	uint64_t blocks, next, state;
	uint64_t samples; /* all; the first SAMPLES_MAX of their times are kept */
	uint64_t times[SAMPLES_MAX];
};

static __attribute__((noreturn)) void fail(const char *what)
{
	fprintf(stderr, "disk_load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static int64_t next_offset(struct load *load)
{
	uint64_t block = load->next++ % load->blocks;

	if (load->random) {
		load->state = load->state * 6364136223846793005u + 1442695040888963407u;
		block = (load->state >> 33) % load->blocks;
	}
	return (int64_t)(block * BLOCK_BYTES);
}

static void sample(struct load *load, uint64_t time)
{
	if (load->samples < SAMPLES_MAX)
		load->times[load->samples] = time;
	load->samples++;
}

static void *new_buffers(unsigned count)
{
	void *buffers;

	if (posix_memalign(&buffers, 65536, (size_t)count * BLOCK_BYTES) != 0)
		fail("no memory");
	memset(buffers, 0x5a, (size_t)count * BLOCK_BYTES);
	return buffers;
}

static void run_one(struct load *load, uint64_t end)
{
	void *buffer = new_buffers(1);

	for (uint64_t begun = now_ns(), ended; begun < end; begun = ended) {
		int64_t offset = next_offset(load);
		ssize_t done = load->write ? pwrite(load->fd, buffer, BLOCK_BYTES, offset)
		                           : pread(load->fd, buffer, BLOCK_BYTES, offset);

		if (done != BLOCK_BYTES)
			fail("a request failed");
		ended = now_ns();
		sample(load, ended - begun);
	}
}

static void run_many(struct load *load, unsigned depth, uint64_t end)
{
	static struct iocb blocks[DEPTH_MAX];
	static struct iocb *submitted[DEPTH_MAX];
	static struct io_event events[DEPTH_MAX];
	static uint64_t begun[DEPTH_MAX];
	uint8_t *buffers = new_buffers(depth);
	aio_context_t context = 0;
	unsigned count = depth, in_flight = 0;

	if (syscall(SYS_io_setup, depth, &context) != 0)
		fail("io_setup");
	for (unsigned i = 0; i < depth; i++) {
		blocks[i] = (struct iocb){.aio_data = i,
		    .aio_lio_opcode = load->write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
		    .aio_fildes = (uint32_t)load->fd,
		    .aio_buf = (uintptr_t)(buffers + (size_t)i * BLOCK_BYTES),
		    .aio_nbytes = BLOCK_BYTES};
		submitted[i] = &blocks[i];
	}
	for (uint64_t now = now_ns(); in_flight > 0 || now < end; now = now_ns()) {
		long ended;

		for (unsigned i = 0; now < end && i < count; i++) {
			submitted[i]->aio_offset = next_offset(load);
			begun[submitted[i]->aio_data] = now;
		}
		if (now < end &&
		    syscall(SYS_io_submit, context, (long)count, submitted) != (long)count)
			fail("io_submit");
		in_flight += now < end ? count : 0;
		ended = syscall(SYS_io_getevents, context, 1L, (long)depth, events, NULL);
		if (ended < 1)
			fail("io_getevents");
		count = (unsigned)ended;
		in_flight -= count;
		now = now_ns();
		for (unsigned i = 0; i < count; i++) {
			if (events[i].res != BLOCK_BYTES)
				fail("a request failed");
			submitted[i] = &blocks[events[i].data];
			sample(load, now - begun[events[i].data]);
		}
	}
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void report(struct load *load, uint64_t taken)
{
	uint64_t kept = load->samples < SAMPLES_MAX ? load->samples : SAMPLES_MAX;

	if (kept == 0)
		fail("nothing was done");
	qsort(load->times, kept, sizeof load->times[0], compare);
	printf("requests=%llu ns=%llu p50=%llu p99=%llu max=%llu\n",
	    (unsigned long long)load->samples, (unsigned long long)taken,
	    (unsigned long long)load->times[kept / 2],
	    (unsigned long long)load->times[kept * 99 / 100],
	    (unsigned long long)load->times[kept - 1]);
}

int main(int argc, char **argv)
{
	static struct load load;
	unsigned depth = argc == 6 ? (unsigned)atoi(argv[4]) : 0;
	uint64_t begun;
	off_t bytes;

	if (depth == 0 || depth > DEPTH_MAX) {
		fputs("usage: disk_load DEVICE read|write seq|rand DEPTH MILLISECONDS\n", stderr);
		return 2;
	}
	load.state = 1;
	load.write = strcmp(argv[2], "write") == 0;
	load.random = strcmp(argv[3], "rand") == 0;
	load.fd = open(argv[1], (load.write ? O_RDWR : O_RDONLY) | O_DIRECT);
	if (load.fd < 0)
		fail(argv[1]);
	bytes = lseek(load.fd, 0, SEEK_END);
	load.blocks = bytes > 0 ? (uint64_t)bytes / BLOCK_BYTES : 0;
	if (load.blocks == 0)
		fail("the device is empty");
	begun = now_ns();
	if (depth == 1)
		run_one(&load, begun + strtoull(argv[5], NULL, 10) * 1000000);
	else
		run_many(&load, depth, begun + strtoull(argv[5], NULL, 10) * 1000000);
	report(&load, now_ns() - begun);
	return 0;
}
