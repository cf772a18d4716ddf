/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_disk.c - opening and locking what is behind a block device. Block devices are files that
 * this program's fstat() and ioctl() show as such.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "virtio/disk.h"

/* --- In front of the C library ------------------------------------------------------------------
 */

static struct {
	mode_t mode; /* that files have; 0: their own */
	uint64_t bytes;
	int block_bytes;
	int open_flags; /* of the last open() of a block device */
	int open_error, lock_error, size_error, punch_error;
	bool tmpfs;
	struct statx align; /* if stx_mask */
} fake;

static int show(int result, struct stat *status)
{
	if (result == 0 && fake.mode != 0)
		status->st_mode = (status->st_mode & ~(mode_t)S_IFMT) | fake.mode;
	return result;
}

int fstat(int fd, struct stat *status)
{
	return show(fstatat(fd, "", status, AT_EMPTY_PATH), status);
}

int stat(const char *restrict path, struct stat *restrict status)
{
	return show(fstatat(AT_FDCWD, path, status, 0), status);
}

int statx(
    int fd, const char *restrict path, int flags, unsigned mask, struct statx *restrict status)
{
	assert_int_equal(flags, AT_EMPTY_PATH);
	*status = fake.align;
	return 0;
}

int open(const char *path, int flags, ...)
{
	fake.open_flags = flags;
	if (fake.open_error != 0) {
		errno = fake.open_error;
		return -1;
	}
	/* O_EXCL means something else for a file. */
	return openat(AT_FDCWD, path, flags & ~O_EXCL);
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;
	void *to;

	va_start(arguments, request);
	to = va_arg(arguments, void *);
	va_end(arguments);
	if (fake.size_error != 0) {
		errno = fake.size_error;
		return -1;
	}
	if (request == BLKGETSIZE64)
		*(uint64_t *)to = fake.bytes;
	else if (request == BLKSSZGET)
		*(int *)to = fake.block_bytes;
	else
		fail();
	return 0;
}

int fallocate(int fd, int mode, off_t offset, off_t length)
{
	struct stat status;

	/* Only to ask, and behind the end. */
	assert_int_equal(fstatat(fd, "", &status, AT_EMPTY_PATH), 0);
	assert_true(offset >= status.st_size && length > 0);
	/* Anything else would take space there. */
	assert_int_equal(mode, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	errno = fake.punch_error;
	return errno != 0 ? -1 : 0;
}

int fstatfs(int fd, struct statfs *ret_status)
{
	(void)fd;
	*ret_status = (struct statfs){.f_type = fake.tmpfs ? TMPFS_MAGIC : EXT4_SUPER_MAGIC};
	return 0;
}

/* The name that fcntl() has with offsets of 64 bits. */
int __real_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...)
{
	va_list arguments;
	void *argument;

	va_start(arguments, command);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (command == F_OFD_SETLK && fake.lock_error != 0) {
		errno = fake.lock_error;
		return -1;
	}
	return __real_fcntl64(fd, command, argument);
}

/* --- Fixture ------------------------------------------------------------------------------------
 */

static char directory[64], path[128];

static void make_file(off_t bytes)
{
	int fd = openat(AT_FDCWD, path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, bytes), 0);
	close(fd);
}

static int set_up(void **state)
{
	memset(&fake, 0, sizeof fake);
	snprintf(directory, sizeof directory, "/tmp/paprika-disk-XXXXXX");
	if (mkdtemp(directory) == NULL)
		return -1;
	snprintf(path, sizeof path, "%s/disk", directory);
	make_file(1 << 20);
	return 0;
}

static int tear_down(void **state)
{
	unlink(path);
	return rmdir(directory);
}

static void expect_refused(bool readonly, bool direct, const char *message, const char *hint)
{
	struct disk disk = {.fd = -7};
	struct err err = {0};
	int next = openat(AT_FDCWD, "/", O_PATH);
	int again;

	close(next);
	assert_false(disk_open(&disk, path, readonly, direct, &err));
	assert_int_equal(err.class, ERR_USAGE);
	if (strstr(err.message, message) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", message, err.message);
	if (strstr(err.message, path) == NULL)
		fail_msg("\"%s\" does not name the disk", err.message);
	assert_string_equal(err.hint, hint);
	assert_int_equal(disk.fd, -7);
	again = openat(AT_FDCWD, "/", O_PATH);
	assert_int_equal(again, next); /* nothing is left open */
	close(again);
}

static struct disk expect_opened(bool readonly)
{
	struct disk disk;
	struct err err = {0};

	if (!disk_open(&disk, path, readonly, false, &err))
		fail_msg("%s", err.message);
	return disk;
}

/* --- What it is ---------------------------------------------------------------------------------
 */

static void a_file_has_its_size_and_what_its_file_system_can(void **state)
{
	struct disk disk = expect_opened(false);

	(void)state;
	assert_int_equal(disk.bytes, 1 << 20);
	assert_int_equal(disk.block_bytes, 512);
	assert_false(disk.readonly || disk.direct);
	assert_true(disk.discard && disk.zero);
	disk_close(&disk);
	assert_int_equal(disk.fd, -1);
	disk_close(&disk); /* again */
	fake.punch_error = EOPNOTSUPP;
	disk = expect_opened(false);
	assert_false(disk.discard || disk.zero);
	disk_close(&disk);
	fake.punch_error = 0;
	fake.tmpfs = true;
	disk = expect_opened(false);
	assert_true(disk.discard && !disk.zero);
	disk_close(&disk);
	fake.tmpfs = false;
	disk = expect_opened(true);
	assert_true(disk.readonly && !disk.discard && !disk.zero);
	disk_close(&disk);
}

static void what_is_no_disk_is_refused(void **state)
{
	struct disk disk;

	(void)state;
	make_file(0);
	expect_refused(false, false, "is empty", "make it larger: truncate -s 10G FILE");
	make_file(513);
	expect_refused(false, false, "513 bytes, is no multiple of 512",
	    "make it a multiple: truncate -s %512 FILE");
	make_file(512);
	disk = expect_opened(false);
	disk_close(&disk);
	unlink(path);
	expect_refused(false, false, "No such file", "make one: truncate -s 10G FILE");
	assert_int_equal(mkfifo(path, 0600), 0);
	expect_refused(false, false, "neither a file nor a block device",
	    "take a raw image or a block device");
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	expect_refused(
	    true, false, "neither a file nor a block device", "take a raw image or a block device");
	rmdir(path);
}

static void what_cannot_be_opened_is_said_with_the_remedy(void **state)
{
	static const struct {
		int error;
		bool readonly, direct;
		const char *hint;
	} cases[] = {
	    {EACCES, false, false, "change its owner or mode, or add readonly"},
	    {EACCES, true, false, "change its owner or mode"},
	    {EPERM, false, false, "change its owner or mode, or add readonly"},
	    {EROFS, false, false, "change its owner or mode, or add readonly"},
	    {EINVAL, false, true, "leave out direct: this file system does not have it"},
	    {EINVAL, false, false, ""},
	    {EBUSY, false, false, "unmount it on this host, or add readonly"},
	    {EIO, false, false, ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		fake.open_error = cases[i].error;
		expect_refused(
		    cases[i].readonly, cases[i].direct, strerror(cases[i].error), cases[i].hint);
	}
}

static void a_descriptor_must_be_open_for_what_is_wanted(void **state)
{
	static const struct {
		int flags;
		bool readonly, good;
	} cases[] = {{O_RDWR, false, true}, {O_RDWR, true, true}, {O_RDONLY, true, true},
	    {O_RDONLY, false, false}, {O_WRONLY, false, false}, {O_WRONLY, true, false}};
	struct disk disk;
	int pipes[2];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int fd = openat(AT_FDCWD, path, cases[i].flags);
		struct err err = {0};

		assert_int_equal(
		    disk_take(&disk, fd, "name", cases[i].readonly, &err), cases[i].good);
		if (cases[i].good)
			assert_int_equal(disk.fd, fd);
		else
			assert_string_equal(
			    err.hint, "open it for reading and writing, or add readonly");
		close(fd);
	}
	for (int i = 0; i < 2; i++) {
		struct err err = {0};

		assert_int_equal(pipe(pipes), 0);
		if (i == 1)
			close(pipes[0]);
		assert_false(disk_take(&disk, pipes[0], "name", true, &err));
		assert_string_equal(
		    err.message, i == 0 ? "disk name is neither a file nor a block device"
		                        : "disk name: cannot look at it: Bad file descriptor");
		close(pipes[1]);
		if (i == 0)
			close(pipes[0]);
	}
}

static void a_block_device_says_its_size_and_blocks(void **state)
{
	struct disk disk;

	(void)state;
	fake.mode = S_IFBLK;
	fake.bytes = 40960;
	fake.block_bytes = 4096;
	fake.punch_error = EINVAL; /* it is not asked */
	disk = expect_opened(false);
	assert_true((fake.open_flags & O_EXCL) != 0); /* nobody has mounted it */
	assert_int_equal(disk.bytes, 40960);
	assert_int_equal(disk.block_bytes, 4096);
	assert_true(disk.discard && disk.zero);
	disk_close(&disk);
	disk = expect_opened(true);
	assert_true((fake.open_flags & O_EXCL) == 0);
	assert_false(disk.discard || disk.zero);
	disk_close(&disk);
	fake.bytes = 0;
	expect_refused(false, false, "is empty", "make it larger: truncate -s 10G FILE");
	fake.size_error = ENOTTY;
	{
		struct err err = {0};

		assert_false(disk_open(&disk, path, false, false, &err));
		assert_non_null(strstr(err.message, "cannot get its size"));
	}
}

static void direct_io_says_what_it_takes(void **state)
{
	static const struct {
		unsigned mask, memory, offset; /* of statx() */
		int device_block;              /* 0: a file */
		uint32_t block_bytes, memory_align;
	} cases[] = {
	    {0, 0, 0, 0, 4096, 4096},                    /* a kernel that does not say */
	    {STATX_DIOALIGN, 0, 0, 0, 4096, 4096},       /* or does not know */
	    {STATX_DIOALIGN, 4, 512, 0, 512, 4},         /* */
	    {STATX_DIOALIGN, 512, 4096, 0, 4096, 512},   /* */
	    {STATX_DIOALIGN, 512, 512, 4096, 4096, 512}, /* the device's own block is larger */
	    {0, 0, 0, 4096, 4096, 4096},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct disk disk;
		struct err err = {0};
		int fd = openat(AT_FDCWD, path, O_RDWR | O_DIRECT);

		if (fd < 0) {
			print_message("not run: %s has no direct I/O\n", directory);
			skip();
		}
		memset(&fake, 0, sizeof fake);
		fake.align.stx_mask = cases[i].mask;
		fake.align.stx_dio_mem_align = cases[i].memory;
		fake.align.stx_dio_offset_align = cases[i].offset;
		fake.mode = cases[i].device_block != 0 ? S_IFBLK : 0;
		fake.bytes = 1 << 20;
		fake.block_bytes = cases[i].device_block;
		assert_true(disk_take(&disk, fd, "name", false, &err));
		assert_true(disk.direct);
		assert_int_equal(disk.block_bytes, cases[i].block_bytes);
		assert_int_equal(disk.memory_align, cases[i].memory_align);
		disk_close(&disk);
	}
	make_file(4096 + 512);
	memset(&fake, 0, sizeof fake);
	expect_refused(false, true, "4608 bytes, is no multiple of 4096",
	    "leave out direct, or make it a multiple: truncate -s %4096 FILE");
}

/* --- Locks --------------------------------------------------------------------------------------
 */

#define WRITER_REMEDY "end the program that has it, or add readonly"
#define READER_REMEDY "end the program that has it open for writing first"

static void there_is_one_writer_or_there_are_readers(void **state)
{
	struct disk first, second;

	(void)state;
	first = expect_opened(false);
	expect_refused(false, false, "is in use", READER_REMEDY);
	expect_refused(true, false, "is in use", READER_REMEDY);
	/* The attempts left no lock. */
	disk_close(&first);
	first = expect_opened(true);
	second = expect_opened(true);
	expect_refused(false, false, "is in use", WRITER_REMEDY);
	disk_close(&first);
	expect_refused(false, false, "is in use", WRITER_REMEDY);
	disk_close(&second);
	first = expect_opened(false);
	disk_close(&first);
}

/* What QEMU 7.2 locks: for a disk, for one that is read-only, and for qemu-img while it converts
 * from it. */
static void qemu_and_paprika_keep_each_other_off(void **state)
{
	static const struct {
		int bytes[4];
		bool writer_may, reader_may;
	} cases[] = {
	    {{100, 101, 201, 203}, false, false}, {{100, 201, 203}, false, true},
	    {{100}, true, true}, /* it shares everything: qemu-img -U */
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int fd = openat(AT_FDCWD, path, O_RDWR);
		struct disk disk;

		for (unsigned b = 0; b < 4 && cases[i].bytes[b] != 0; b++) {
			struct flock lock = {.l_type = F_RDLCK,
			    .l_whence = SEEK_SET,
			    .l_start = cases[i].bytes[b],
			    .l_len = 1};

			assert_int_equal(__real_fcntl64(fd, F_OFD_SETLK, &lock), 0);
		}
		for (int readonly = 0; readonly < 2; readonly++) {
			if (readonly ? cases[i].reader_may : cases[i].writer_may) {
				disk = expect_opened(readonly);
				disk_close(&disk);
			} else {
				expect_refused(readonly, false, "is in use",
				    i == 0 ? READER_REMEDY : WRITER_REMEDY);
			}
		}
		close(fd);
	}
}

/* What it would look for: rights that somebody has or refuses. */
static bool is_held(int byte)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
	int fd = openat(AT_FDCWD, path, O_RDWR);

	assert_int_equal(__real_fcntl64(fd, F_OFD_GETLK, &lock), 0);
	close(fd);
	return lock.l_type != F_UNLCK;
}

static void what_is_locked_is_what_qemu_looks_for(void **state)
{
	struct disk disk = expect_opened(false);

	(void)state;
	assert_true(is_held(100) && is_held(101) && !is_held(200) && is_held(201));
	disk_close(&disk);
	disk = expect_opened(true);
	assert_true(is_held(100) && !is_held(101) && !is_held(200) && is_held(201));
	disk_close(&disk);
	assert_false(is_held(100) || is_held(101) || is_held(201));
}

static void a_descriptor_that_is_refused_is_not_locked(void **state)
{
	struct disk writer, disk;
	struct err err = {0};
	int fd = openat(AT_FDCWD, path, O_RDWR);

	(void)state;
	writer = expect_opened(true);
	assert_false(disk_take(&disk, fd, "name", false, &err));
	disk_close(&writer);
	writer = expect_opened(false); /* while the descriptor is still open */
	disk_close(&writer);
	close(fd);
}

/* As by an io_uring, which has the file for some time after its end. */
static void a_closed_disk_is_free_whoever_has_its_file(void **state)
{
	struct disk disk = expect_opened(false);
	int held = dup(disk.fd);

	(void)state;
	disk_close(&disk);
	disk = expect_opened(false);
	disk_close(&disk);
	close(held);
}

static void without_locks_there_is_no_disk(void **state)
{
	struct disk disk;
	struct err err = {0};

	(void)state;
	fake.lock_error = ENOLCK;
	assert_false(disk_open(&disk, path, false, false, &err));
	assert_non_null(strstr(err.message, "cannot lock it: No locks available"));
	assert_string_equal(err.hint, "put it on a file system with locks");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_file_has_its_size_and_what_its_file_system_can),
	    TEST(what_is_no_disk_is_refused),
	    TEST(what_cannot_be_opened_is_said_with_the_remedy),
	    TEST(a_descriptor_must_be_open_for_what_is_wanted),
	    TEST(a_block_device_says_its_size_and_blocks),
	    TEST(direct_io_says_what_it_takes),
	    TEST(there_is_one_writer_or_there_are_readers),
	    TEST(qemu_and_paprika_keep_each_other_off),
	    TEST(what_is_locked_is_what_qemu_looks_for),
	    TEST(a_descriptor_that_is_refused_is_not_locked),
	    TEST(a_closed_disk_is_free_whoever_has_its_file),
	    TEST(without_locks_there_is_no_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
