// SPDX-License-Identifier: Apache-2.0
/*
 * churn.c - writes to a disk in a way that shows afterwards whether it kept what was written, and
 * looks at a disk or an image. A block is 4 KiB; each 512 bytes of it say which block it is and how
 * often it was written (its generation). A block that was never written is zero.
 *
 *   run      WORKERS processes write and read at random, past the page cache, each in its own part,
 * and compare what they read; until SIGTERM. Prints when all have begun, and what was done:
 *            "started", "writes=10 reads=9 errors=0 wrong=0". FILE gets the generation that each
 * block has: that of the last write that the disk has answered, or none, if a write failed or there
 * was none
 *   verify   compares each block whose generation FILE has: "verified=7 wrong=0"
 *   promise  writes one block after the other, round and round, and flushes each; then prints its
 *            generation, which counts from 1: what is printed has to be there after a crash
 *   check    looks at each block. Prints "written=3 newest=7 torn=0 lost=0"; lost are those that
 * are older than what `promise` had promised when it printed PROMISED
 *
 * usage: churn run PATH KIB WORKERS [FILE] | verify PATH KIB FILE | promise PATH KIB |
 *              check PATH KIB [PROMISED] | zero PATH KIB
 */
#ifndef _GNU_SOURCE // the build of paprika defines it
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCK_BYTES = 4096, SECTOR_BYTES = 512, SECTORS = BLOCK_BYTES / SECTOR_BYTES };
enum { WORDS = SECTOR_BYTES / 8, RUN_BLOCKS = 16 };
static const uint64_t magic = 0x706170726b636e01;

struct counts {
	uint64_t started, writes, reads, errors, wrong;
};

static volatile sig_atomic_t ending;

static void end(int number)
{
	(void)number;
	ending = 1;
}

static __attribute__((noreturn)) void fail(const char *what)
{
	fprintf(stderr, "churn: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t mix(uint64_t value)
{
	value += 0x9e3779b97f4a7c15;
	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
	value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
	return value ^ (value >> 31);
}

static void fill(uint64_t *to, uint64_t block, uint64_t generation)
{
	for (uint64_t sector = 0; sector < SECTORS; sector++, to += WORDS) {
		uint64_t seed = mix(block * SECTORS + sector) ^ generation;

		to[0] = magic;
		to[1] = block * SECTORS + sector;
		to[2] = generation;
		for (unsigned i = 3; i < WORDS; i++)
			to[i] = seed * (2 * i + 1);
	}
}

/* A block's generation; 0 if it is zero, UINT64_MAX if it is neither. */
static uint64_t generation_of(const uint64_t *block_words, uint64_t block)
{
	static const uint8_t zero[BLOCK_BYTES];
	uint64_t expected[BLOCK_BYTES / 8];

	if (memcmp(block_words, zero, BLOCK_BYTES) == 0)
		return 0;
	fill(expected, block, block_words[2]);
	return memcmp(block_words, expected, BLOCK_BYTES) == 0 ? block_words[2] : UINT64_MAX;
}

/* --- run -------------------------------------------------------------------------------------- */

struct worker {
	int fd;
	uint64_t first, blocks, random, generation;
	uint64_t *known; /* generation of each; UINT64_MAX: none was written, or a write failed */
	uint64_t *buffer;
	struct counts *counts;
};

static uint64_t below(struct worker *worker, uint64_t limit)
{
	worker->random++;
	return mix(worker->random) % limit;
}

static void turn(struct worker *worker)
{
	uint64_t count = 1 + below(worker, RUN_BLOCKS);
	uint64_t at = below(worker, worker->blocks - count + 1);
	bool write = below(worker, 2) != 0;
	size_t length = count * BLOCK_BYTES;
	off_t offset = (off_t)((worker->first + at) * BLOCK_BYTES);
	ssize_t done;

	if (write) {
		worker->generation++;
		for (uint64_t i = 0; i < count; i++)
			fill(worker->buffer + i * BLOCK_BYTES / 8, worker->first + at + i,
			    worker->generation);
		done = pwrite(worker->fd, worker->buffer, length, offset);
		for (uint64_t i = 0; i < count; i++)
			worker->known[at + i] =
			    done == (ssize_t)length ? worker->generation : UINT64_MAX;
		worker->counts->writes++;
	} else {
		done = pread(worker->fd, worker->buffer, length, offset);
		for (uint64_t i = 0; done == (ssize_t)length && i < count; i++) {
			uint64_t known = worker->known[at + i];

			if (known != UINT64_MAX &&
			    generation_of(worker->buffer + i * BLOCK_BYTES / 8,
			        worker->first + at + i) != known)
				worker->counts->wrong++;
		}
		worker->counts->reads++;
	}
	if (done != (ssize_t)length)
		worker->counts->errors++;
}

/* A disk that has been removed has no bytes; an image is always there. What was written to it fails
 * from then on, without having been asked of the disk. */
static bool gone(int fd)
{
	uint64_t bytes = 0;

	return ioctl(fd, BLKGETSIZE64, &bytes) != 0 ? errno != ENOTTY : bytes == 0;
}

static void work(struct worker *worker)
{
	if (posix_memalign((void **)&worker->buffer, 65536, RUN_BLOCKS * BLOCK_BYTES) != 0)
		fail("no memory");
	for (unsigned turns = 0; !ending; turns++) {
		uint64_t errors = worker->counts->errors;

		turn(worker);
		worker->counts->started = turns > 0;
		while (worker->counts->errors != errors && !ending && gone(worker->fd))
			usleep(10000);
	}
}

/* Memory that the processes share. */
static void *share(size_t bytes)
{
	void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED)
		fail("no memory");
	return map;
}

static void save(const char *path, const uint64_t *known, uint64_t blocks)
{
	FILE *file = fopen(path, "w");

	if (file == NULL || fwrite(known, sizeof *known, blocks, file) != blocks ||
	    fclose(file) != 0)
		fail(path);
}

static void run(const char *path, uint64_t blocks, unsigned workers, const char *file)
{
	struct counts *counts = share(workers * sizeof *counts);
	uint64_t *known = share(blocks * sizeof *known);
	struct counts sum = {0};
	pid_t children[64];
	sigset_t set;
	int number;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL); /* for sigwait() */
	if (workers > 64 || blocks / workers < RUN_BLOCKS)
		fail("cannot begin");
	/* What an earlier run has left is not known. */
	memset(known, 0xff, blocks * sizeof *known);
	for (unsigned i = 0; i < workers; i++) {
		struct worker worker = {.fd = open(path, O_RDWR | O_DIRECT),
		    .first = i * (blocks / workers),
		    .blocks = blocks / workers,
		    .random = (uint64_t)i << 32,
		    .known = known + i * (blocks / workers),
		    .counts = &counts[i]};

		if (worker.fd < 0)
			fail(path);
		children[i] = fork();
		if (children[i] == 0) {
			sigprocmask(SIG_UNBLOCK, &set, NULL);
			work(&worker);
			exit(0);
		}
		close(worker.fd);
	}
	for (unsigned i = 0; i < workers; i++)
		while (((volatile struct counts *)counts)[i].started == 0)
			usleep(1000);
	puts("started");
	fflush(stdout);
	sigwait(&set, &number);
	for (unsigned i = 0; i < workers; i++)
		kill(children[i], SIGTERM);
	while (wait(NULL) > 0)
		;
	if (file != NULL)
		save(file, known, blocks);
	for (unsigned i = 0; i < workers; i++) {
		sum.writes += counts[i].writes;
		sum.reads += counts[i].reads;
		sum.errors += counts[i].errors;
		sum.wrong += counts[i].wrong;
	}
	printf("writes=%llu reads=%llu errors=%llu wrong=%llu\n", (unsigned long long)sum.writes,
	    (unsigned long long)sum.reads, (unsigned long long)sum.errors,
	    (unsigned long long)sum.wrong);
}

static void verify(const char *path, uint64_t blocks, const char *file)
{
	int fd = open(path, O_RDONLY | O_DIRECT);
	FILE *expected = fopen(file, "r");
	uint64_t *buffer, verified = 0, wrong = 0;

	if (fd < 0 || expected == NULL || posix_memalign((void **)&buffer, 65536, BLOCK_BYTES) != 0)
		fail("cannot begin");
	for (uint64_t block = 0; block < blocks; block++) {
		uint64_t known;

		if (fread(&known, sizeof known, 1, expected) != 1)
			fail(file);
		if (known == UINT64_MAX)
			continue;
		if (pread(fd, buffer, BLOCK_BYTES, (off_t)(block * BLOCK_BYTES)) != BLOCK_BYTES)
			fail("not read");
		verified++;
		wrong += generation_of(buffer, block) != known;
	}
	printf(
	    "verified=%llu wrong=%llu\n", (unsigned long long)verified, (unsigned long long)wrong);
}

/* --- promise and check ------------------------------------------------------------------------ */

/* Every other block goes through the page cache. */
static void promise(const char *path, uint64_t blocks)
{
	int fds[2] = {open(path, O_RDWR), open(path, O_RDWR | O_DIRECT)};
	uint64_t *buffer;

	if (fds[0] < 0 || fds[1] < 0 || posix_memalign((void **)&buffer, 65536, BLOCK_BYTES) != 0)
		fail(path);
	for (uint64_t generation = 1; !ending; generation++) {
		uint64_t block = (generation - 1) % blocks;
		int fd = fds[block % 2];

		fill(buffer, block, generation);
		if (pwrite(fd, buffer, BLOCK_BYTES, (off_t)(block * BLOCK_BYTES)) != BLOCK_BYTES ||
		    fdatasync(fd) != 0)
			fail("not written");
		printf("%llu\n", (unsigned long long)generation);
		fflush(stdout);
	}
}

static void check(const char *path, uint64_t blocks, uint64_t promised)
{
	int fd = open(path, O_RDONLY);
	uint64_t buffer[BLOCK_BYTES / 8];
	uint64_t written = 0, newest = 0, torn = 0, lost = 0;

	if (fd < 0)
		fail(path);
	for (uint64_t block = 0; block < blocks; block++) {
		/* The last time that it was this block's turn. */
		uint64_t due = promised > block ? promised - (promised - block - 1) % blocks : 0;
		uint64_t found;

		if (pread(fd, buffer, BLOCK_BYTES, (off_t)(block * BLOCK_BYTES)) != BLOCK_BYTES)
			fail("not read");
		found = generation_of(buffer, block);
		written += found != 0;
		torn += found == UINT64_MAX;
		lost += found < due;
		if (found != UINT64_MAX && found > newest)
			newest = found;
	}
	printf("written=%llu newest=%llu torn=%llu lost=%llu\n", (unsigned long long)written,
	    (unsigned long long)newest, (unsigned long long)torn, (unsigned long long)lost);
}

static void zero(const char *path, uint64_t blocks)
{
	uint64_t range[2] = {0, blocks * BLOCK_BYTES};
	int fd = open(path, O_RDWR);

	if (fd < 0 || ioctl(fd, BLKZEROOUT, range) != 0)
		fail(path);
}

int main(int argc, char **argv)
{
	const char *command = argc > 3 ? argv[1] : "";
	uint64_t blocks = argc > 3 ? strtoull(argv[3], NULL, 10) / 4 : 0;

	if (blocks == 0)
		command = "";
	signal(SIGTERM, end);
	if (strcmp(command, "run") == 0 && argc >= 5 && argc <= 6)
		run(argv[2], blocks, (unsigned)atoi(argv[4]), argc == 6 ? argv[5] : NULL);
	else if (strcmp(command, "verify") == 0 && argc == 5)
		verify(argv[2], blocks, argv[4]);
	else if (strcmp(command, "promise") == 0 && argc == 4)
		promise(argv[2], blocks);
	else if (strcmp(command, "check") == 0 && argc <= 5)
		check(argv[2], blocks, argc == 5 ? strtoull(argv[4], NULL, 10) : 0);
	else if (strcmp(command, "zero") == 0 && argc == 4)
		zero(argv[2], blocks);
	else {
		fputs("usage: churn run PATH KIB WORKERS [FILE] | verify PATH KIB FILE | "
		      "promise PATH KIB | check PATH KIB [PROMISED] | zero PATH KIB\n",
		    stderr);
		return 2;
	}
	return 0;
}
