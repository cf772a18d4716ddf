// SPDX-License-Identifier: Apache-2.0
/*
 * fill.c - takes memory of the test guest in a way that decides whether a block of memory can be
 * removed, and holds it until the process is killed:
 *
 *   movable  pages of a memory file; Linux moves them out of the way
 *   pinned   buffers registered with io_uring; in a block that is not in the movable zone, Linux
 *            tries to move them again and again, and succeeds only when they are given back
 *   kernel   rings of packet sockets, which are the kernel's own pages; Linux refuses at once
 *
 * With a block, memory is taken until MIB MiB of it are in that block; what is elsewhere is given
 * back, except for pages in the same piece of 1 MiB. A block is a number in
 * /sys/devices/system/memory.
 *
 * The program returns when the memory is taken, and a child holds it. It prints the child's PID and
 * the number of KiB in each block: "pid=123 0=1024 5=8192".
 *
 * usage: fill movable|pinned|kernel MIB [BLOCK]
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/if_packet.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PIECE_BYTES = 1 << 20, PIECES_MAX = 4096, BLOCKS_MAX = 4096, PINS_MAX = 1024 };
enum { SPARE_KIB = 48 << 10 }; /* memory left to the guest */
enum kind { MOVABLE, PINNED, KERNEL, KINDS };

struct piece {
	uint8_t *at; /* NULL: given back */
	int file;
};

static struct piece pieces[PIECES_MAX];
static size_t pieces_count;
static unsigned long kib_in[BLOCKS_MAX];
static size_t page_bytes;
static uint64_t block_bytes;
static int pagemap;

static __attribute__((noreturn, format(printf, 1, 2))) void fail(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	fputs("fill: ", stderr);
	vfprintf(stderr, format, list);
	fputc('\n', stderr);
	va_end(list);
	exit(1);
}

/* The number behind `name` in a file of proc or sysfs; `name` "" is the file's beginning. */
static uint64_t number_in(const char *path, const char *name, int base)
{
	char text[8192];
	int file = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = file < 0 ? -1 : read(file, text, sizeof text - 1);
	const char *found;

	if (length < 0)
		fail("%s: %s", path, strerror(errno));
	close(file);
	text[length] = '\0';
	found = strstr(text, name);
	if (found == NULL)
		fail("%s has no %s", path, name);
	return strtoull(found + strlen(name), NULL, base);
}

/* Add the piece's pages to the sum of each block, or subtract them. Returns KiB in that block. */
static unsigned long piece_count(const struct piece *piece, uint64_t block, bool add)
{
	const unsigned long page_kib = page_bytes / 1024;
	unsigned long in_block = 0;

	for (size_t at = 0; at < PIECE_BYTES; at += page_bytes) {
		uint64_t entry = 0, of;
		uintptr_t page = (uintptr_t)(piece->at + at) / page_bytes;

		if (pread(pagemap, &entry, sizeof entry, (off_t)(page * sizeof entry)) !=
		        (ssize_t)sizeof entry ||
		    (entry >> 63) == 0)
			fail("a page is not present");
		of = (entry & ((UINT64_C(1) << 55) - 1)) * page_bytes / block_bytes;
		if (of >= BLOCKS_MAX)
			fail("a page is in block %llu", (unsigned long long)of);
		kib_in[of] += add ? page_kib : -page_kib;
		if (of == block)
			in_block += page_kib;
	}
	return in_block;
}

/* The ring of a socket that receives nothing. Of the kernel's memory that a process can map, it is
 * such that /proc/self/pagemap tells where it is, in old kernels and new ones. */
static void piece_take_kernel(struct piece *piece)
{
	const unsigned pages = (unsigned)(PIECE_BYTES / page_bytes);
	const struct tpacket_req ring = {
	    .tp_block_size = (unsigned)page_bytes,
	    .tp_block_nr = pages,
	    .tp_frame_size = (unsigned)page_bytes,
	    .tp_frame_nr = pages,
	};

	piece->file = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (piece->file < 0 ||
	    setsockopt(piece->file, SOL_PACKET, PACKET_RX_RING, &ring, sizeof ring) != 0)
		fail("packet socket: %s", strerror(errno));
	piece->at = mmap(NULL, PIECE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, piece->file, 0);
}

static void piece_take(struct piece *piece, enum kind kind)
{
	piece->file = -1;
	if (kind == KERNEL) {
		piece_take_kernel(piece);
	} else if (kind == MOVABLE) {
		piece->file = memfd_create("fill", MFD_CLOEXEC);
		if (piece->file < 0 || ftruncate(piece->file, PIECE_BYTES) != 0)
			fail("memory file: %s", strerror(errno));
		piece->at =
		    mmap(NULL, PIECE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, piece->file, 0);
	} else {
		piece->at = mmap(
		    NULL, PIECE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	}
	if (piece->at == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	/* A memory file gets its page when it is written. The ring is not written to. */
	for (size_t at = 0; at < PIECE_BYTES; at += page_bytes)
		if (kind == KERNEL)
			(void)*(volatile uint8_t *)(piece->at + at);
		else
			*(volatile uint8_t *)(piece->at + at) = 1;
}

static void piece_give_back(struct piece *piece)
{
	piece_count(piece, UINT64_MAX, false);
	munmap(piece->at, PIECE_BYTES);
	if (piece->file >= 0)
		close(piece->file);
	piece->at = NULL;
}

/* Register what is held as buffers of a ring, whose descriptor stays open. */
static void pin_pieces(void)
{
	static struct iovec buffers[PINS_MAX];
	struct io_uring_params parameters = {0};
	unsigned count = 0;
	int ring;

	for (size_t i = 0; i < pieces_count; i++) {
		if (pieces[i].at == NULL)
			continue;
		if (count == PINS_MAX)
			fail("more than %d MiB cannot be pinned", PINS_MAX);
		buffers[count++] = (struct iovec){.iov_base = pieces[i].at, .iov_len = PIECE_BYTES};
	}
	ring = (int)syscall(SYS_io_uring_setup, 1, &parameters);
	if (ring < 0)
		fail("io_uring_setup: %s", strerror(errno));
	if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, buffers, count) != 0)
		fail("io_uring_register: %s", strerror(errno));
	/* The kernel may have moved pages to pin them. */
	memset(kib_in, 0, sizeof kib_in);
	for (size_t i = 0; i < pieces_count; i++)
		if (pieces[i].at != NULL)
			piece_count(&pieces[i], UINT64_MAX, true);
}

/* Take `wanted_kib`, in `block` unless that is UINT64_MAX. */
static void fill(enum kind kind, unsigned long wanted_kib, uint64_t block)
{
	unsigned long got_kib = 0;

	while (got_kib < wanted_kib) {
		struct piece *piece = &pieces[pieces_count];
		unsigned long in_block;

		if (pieces_count == PIECES_MAX ||
		    number_in("/proc/meminfo", "MemFree:", 10) < SPARE_KIB)
			fail("memory is full; got %lu KiB", got_kib);
		piece_take(piece, kind);
		pieces_count++;
		in_block = piece_count(piece, block, true);
		got_kib += block == UINT64_MAX ? PIECE_BYTES / 1024 : in_block;
	}
	for (size_t i = 0; block != UINT64_MAX && i < pieces_count; i++) {
		if (piece_count(&pieces[i], block, false) == 0) {
			piece_count(&pieces[i], block, true);
			piece_give_back(&pieces[i]);
		} else {
			piece_count(&pieces[i], block, true);
		}
	}
	if (kind == PINNED)
		pin_pieces();
}

static void hold(enum kind kind, unsigned long wanted_kib, uint64_t block)
{
	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (pagemap < 0)
		fail("pagemap: %s", strerror(errno));
	fill(kind, wanted_kib, block);
	printf("pid=%d", (int)getpid());
	for (size_t i = 0; i < BLOCKS_MAX; i++)
		if (kib_in[i] != 0)
			printf(" %zu=%lu", i, kib_in[i]);
	printf("\n");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static const char *const names[KINDS] = {"movable", "pinned", "kernel"};
	const struct rlimit files = {.rlim_cur = 2 * PIECES_MAX, .rlim_max = 2 * PIECES_MAX};
	enum kind kind = MOVABLE;
	int ready[2];
	char byte;

	while (argc > 1 && kind < KINDS && strcmp(names[kind], argv[1]) != 0)
		kind++;
	if (argc < 3 || argc > 4 || kind == KINDS) {
		fputs("usage: fill movable|pinned|kernel MIB [BLOCK]\n", stderr);
		return 2;
	}
	setrlimit(RLIMIT_NOFILE, &files);
	page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	block_bytes = number_in("/sys/devices/system/memory/block_size_bytes", "", 16);
	if (pipe2(ready, O_CLOEXEC) != 0)
		fail("pipe: %s", strerror(errno));
	switch (fork()) {
	case -1: fail("fork: %s", strerror(errno));
	case 0:
		close(ready[0]);
		setsid();
		hold(kind, strtoul(argv[2], NULL, 10) * 1024,
		    argc == 4 ? strtoull(argv[3], NULL, 10) : UINT64_MAX);
		if (write(ready[1], "", 1) != 1)
			return 1;
		close(ready[1]);
		for (;;)
			pause();
	default:
		/* The end of the file without a byte: the child has failed, and said why. */
		close(ready[1]);
		return read(ready[0], &byte, 1) == 1 ? 0 : 1;
	}
}
