/* SPDX-License-Identifier: Apache-2.0 */
/* disk.c - see disk.h: opening, looking at, and locking what is behind a block device. */
#include "virtio/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

/* --- Locks ------------------------------------------------------------------------------------ */

/*
 * QEMU's protocol, which its users rely on: a byte for each right that an opener has, from 100 on,
 * and for each right that it does not grant to others, from 200 on, locked shared; so what counts
 * is only whether somebody else holds a byte. An opener takes its bytes first and then looks at
 * those of others, so of two at once at least one is refused.
 */
enum { LOCK_HAS = 100, LOCK_REFUSES = 200, RIGHT_READ = 0, RIGHT_WRITE = 1 };

static bool disk_lock_byte(int fd, off_t byte)
{
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

	return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

static void disk_unlock(int fd)
{
	struct flock lock = {
	    .l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = LOCK_HAS, .l_len = 200};

	fcntl(fd, F_OFD_SETLK, &lock);
}

/* Does another hold the byte? */
static bool disk_byte_is_held(int fd, off_t byte)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

	return fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

/* Everybody reads, and nobody lets another one write. */
static bool disk_take_locks(const struct disk *disk)
{
	return disk_lock_byte(disk->fd, LOCK_HAS + RIGHT_READ) &&
	       (disk->readonly || disk_lock_byte(disk->fd, LOCK_HAS + RIGHT_WRITE)) &&
	       disk_lock_byte(disk->fd, LOCK_REFUSES + RIGHT_WRITE);
}

static bool disk_lock(const struct disk *disk, const char *name, struct err *err)
{
	const char *remedy = NULL;

	if (!disk_take_locks(disk)) {
		err_system(err, errno, "put it on a file system with locks",
		    "disk %s: cannot lock it", name);
		disk_unlock(disk->fd);
		return false;
	}
	if (disk_byte_is_held(disk->fd, LOCK_HAS + RIGHT_WRITE) ||
	    disk_byte_is_held(disk->fd, LOCK_REFUSES + RIGHT_READ))
		remedy = "end the program that has it open for writing first";
	else if (!disk->readonly && disk_byte_is_held(disk->fd, LOCK_REFUSES + RIGHT_WRITE))
		remedy = "end the program that has it, or add readonly";
	if (remedy == NULL)
		return true;
	disk_unlock(disk->fd);
	return err_set(err, ERR_USAGE, remedy, "disk %s is in use by another program", name);
}

/* --- What it is ------------------------------------------------------------------------------- */

/* A hole behind the end changes nothing; a file system that cannot make holes says so nevertheless.
 * Zeroes there would take space for good. So they are offered wherever there are holes, but on
 * tmpfs, which is known not to have them; a request elsewhere is answered "unsupported". */
static void disk_look_at_file(struct disk *disk, const struct stat *status)
{
	struct statfs where = {0};

	disk->bytes = (uint64_t)status->st_size;
	disk->block_bytes = DISK_SECTOR_BYTES;
	disk->discard =
	    !disk->readonly && fallocate(disk->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	                           (off_t)disk->bytes, 4096) == 0;
	disk->zero = disk->discard && fstatfs(disk->fd, &where) == 0 &&
	             (uint32_t)where.f_type != TMPFS_MAGIC;
}

/* What a block device can do shows when it is asked to: it is answered "unsupported" then. */
static bool disk_look_at_device(struct disk *disk, const char *name, struct err *err)
{
	int block_bytes = 0;

	if (ioctl(disk->fd, BLKGETSIZE64, &disk->bytes) != 0 ||
	    ioctl(disk->fd, BLKSSZGET, &block_bytes) != 0 || block_bytes < DISK_SECTOR_BYTES)
		return err_system(err, errno, NULL, "disk %s: cannot get its size", name);
	disk->block_bytes = (uint32_t)block_bytes;
	disk->discard = disk->zero = !disk->readonly;
	return true;
}

/* Direct I/O may want more than the block size; what it wants is known from Linux 6.1 on. */
static void disk_look_at_alignment(struct disk *disk)
{
	uint32_t align = 4096;
	uint32_t offset_align = disk->block_bytes > DISK_SECTOR_BYTES ? disk->block_bytes : 4096;
#ifdef STATX_DIOALIGN
	struct statx status = {0};

	if (statx(disk->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) == 0 &&
	    (status.stx_mask & STATX_DIOALIGN) != 0 && status.stx_dio_mem_align > 0) {
		align = status.stx_dio_mem_align;
		offset_align = status.stx_dio_offset_align;
	}
#endif
	disk->memory_align = align;
	if (offset_align > disk->block_bytes)
		disk->block_bytes = offset_align;
}

static bool disk_check_size(const struct disk *disk, const char *name, struct err *err)
{
	if (disk->bytes == 0)
		return err_set(err, ERR_USAGE, "make it larger: truncate -s 10G FILE",
		    "disk %s is empty", name);
	if (disk->bytes % disk->block_bytes == 0)
		return true;
	return err_set(err, ERR_USAGE,
	    disk->block_bytes > DISK_SECTOR_BYTES
	        ? "leave out direct, or make it a multiple: truncate -s %4096 FILE"
	        : "make it a multiple: truncate -s %512 FILE",
	    "disk %s: its size, %llu bytes, is no multiple of %u", name,
	    (unsigned long long)disk->bytes, disk->block_bytes);
}

/* --- Opening ---------------------------------------------------------------------------------- */

bool disk_take(struct disk *ret_disk, int fd, const char *name, bool readonly, struct err *err)
{
	struct disk disk = {.fd = fd, .readonly = readonly};
	int flags = fcntl(fd, F_GETFL);
	struct stat status;

	if (flags < 0 || fstat(fd, &status) != 0)
		return err_system(err, errno, NULL, "disk %s: cannot look at it", name);
	if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
		return err_set(err, ERR_USAGE, "take a raw image or a block device",
		    "disk %s is neither a file nor a block device", name);
	if ((flags & O_ACCMODE) == O_WRONLY || (!readonly && (flags & O_ACCMODE) != O_RDWR))
		return err_set(err, ERR_USAGE, "open it for reading and writing, or add readonly",
		    "disk %s is not open for %s", name, readonly ? "reading" : "writing");
	disk.direct = (flags & O_DIRECT) != 0;
	if (S_ISREG(status.st_mode))
		disk_look_at_file(&disk, &status);
	else if (!disk_look_at_device(&disk, name, err))
		return false;
	if (disk.direct)
		disk_look_at_alignment(&disk);
	if (!disk_check_size(&disk, name, err) || !disk_lock(&disk, name, err))
		return false;
	*ret_disk = disk;
	return true;
}

static const char *disk_open_hint(int error, bool readonly, bool direct)
{
	switch (error) {
	case ENOENT: return "make one: truncate -s 10G FILE";
	case EINVAL: return direct ? "leave out direct: this file system does not have it" : NULL;
	case EROFS:
	case EPERM:
	case EACCES:
		return readonly ? "change its owner or mode"
		                : "change its owner or mode, or add readonly";
	case EBUSY: return "unmount it on this host, or add readonly";
	default: return NULL;
	}
}

bool disk_open(struct disk *ret_disk, const char *path, bool readonly, bool direct, struct err *err)
{
	int flags = O_CLOEXEC | O_NOCTTY | (readonly ? O_RDONLY : O_RDWR) | (direct ? O_DIRECT : 0);
	struct stat status = {0};
	int fd;

	/* A FIFO is not opened, because that would wait. What is not there, open() says. */
	if (stat(path, &status) == 0 && !S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
		return err_set(err, ERR_USAGE, "take a raw image or a block device",
		    "disk %s is neither a file nor a block device", path);
	/* A block device that this host has mounted is not written to. */
	if (S_ISBLK(status.st_mode) && !readonly)
		flags |= O_EXCL;
	fd = open(path, flags);
	if (fd < 0) {
		err_system(err, errno, disk_open_hint(errno, readonly, direct),
		    "cannot open disk %s", path);
		err->class = ERR_USAGE;
		return false;
	}
	if (disk_take(ret_disk, fd, path, readonly, err))
		return true;
	close(fd);
	return false;
}

/* The lock goes at once: an io_uring that has had the file gives it back some time after its end.
 * (If the process is killed the lock lasts that long, as do its writes.) */
void disk_close(struct disk *disk)
{
	if (disk->fd < 0)
		return;
	disk_unlock(disk->fd);
	if (!disk->lent)
		close(disk->fd);
	disk->fd = -1;
}
