/* SPDX-License-Identifier: Apache-2.0 */
/* gmem.c - see gmem.h. The only file that turns a guest address into a host pointer. */
#include "mem/gmem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Large pages of a radix guest are 2 MiB; aligned to them, the host can back RAM with huge pages.
 */
#define ALIGN_BYTES (UINT64_C(2) << 20)

/* Nobody reads the content of guest memory from a core dump of this process. Both are wishes. */
static void gmem_advise(uint8_t *host, uint64_t size_bytes)
{
	madvise(host, size_bytes, MADV_HUGEPAGE);
	madvise(host, size_bytes, MADV_DONTDUMP);
}

/* max_bytes of addresses, aligned; NULL if there are not so many. */
static uint8_t *gmem_reserve(uint64_t max_bytes)
{
	uint8_t *map = MAP_FAILED;
	uint64_t skip;

	errno = ENOMEM;
	/* NORESERVE: a guest may be larger than what is free now; pages come as they are touched.
	 */
	if (max_bytes <= SIZE_MAX - ALIGN_BYTES)
		map = mmap(NULL, max_bytes + ALIGN_BYTES, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED)
		return NULL;
	skip = (ALIGN_BYTES - ((uintptr_t)map & (ALIGN_BYTES - 1))) & (ALIGN_BYTES - 1);
	if (skip > 0)
		munmap(map, skip);
	munmap(map + skip + max_bytes, ALIGN_BYTES - skip);
	gmem_advise(map + skip, max_bytes);
	return map + skip;
}

static bool gmem_map(struct gmem *gmem)
{
	bool good;

	gmem->host = gmem_reserve(gmem->max_bytes);
	good = gmem->host != NULL &&
	       (!gmem->shared ||
	           mmap(gmem->host, gmem->max_bytes, PROT_NONE,
	               MAP_SHARED | MAP_FIXED | MAP_NORESERVE, gmem->fd, 0) != MAP_FAILED) &&
	       mprotect(gmem->host, gmem->size_bytes, PROT_READ | PROT_WRITE) == 0;
	if (good && gmem->shared)
		gmem_advise(gmem->host, gmem->max_bytes);
	if (good && gmem->max_bytes > gmem->size_bytes) {
		gmem->present = calloc(gmem->max_bytes / GMEM_BLOCK_BYTES, sizeof *gmem->present);
		good = gmem->present != NULL;
	}
	return good;
}

static bool gmem_map_or_finish(struct gmem *gmem, struct err *err)
{
	if (gmem_map(gmem))
		return true;
	err_system(err, errno, "use a smaller --memory, or raise ulimit -v if it is set",
	    "cannot map %llu MiB of guest memory", (unsigned long long)(gmem->max_bytes >> 20));
	err->class = ERR_USAGE;
	gmem_finish(gmem);
	return false;
}

bool gmem_init(struct gmem *gmem, uint64_t size_bytes, uint64_t max_bytes, struct err *err)
{
	*gmem = (struct gmem){.size_bytes = size_bytes, .max_bytes = max_bytes};
	return gmem_map_or_finish(gmem, err);
}

/* Whoever gets the descriptor could make the file shorter, and us fault. */
static int gmem_make_file(uint64_t max_bytes)
{
	int fd = memfd_create("guest memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int error;

	if (fd < 0)
		return -1;
	if (ftruncate(fd, (off_t)max_bytes) == 0 &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

bool gmem_init_shared(struct gmem *gmem, uint64_t size_bytes, uint64_t max_bytes, struct err *err)
{
	*gmem = (struct gmem){
	    .size_bytes = size_bytes, .max_bytes = max_bytes, .fd = gmem_make_file(max_bytes)};
	gmem->shared = gmem->fd >= 0;
	return gmem->shared ? gmem_map_or_finish(gmem, err)
	                    : err_system(err, errno, "raise ulimit -f or ulimit -n if they are set",
	                          "cannot make a file of guest memory");
}

bool gmem_init_as(
    struct gmem *gmem, bool shared, uint64_t size_bytes, uint64_t max_bytes, struct err *err)
{
	return shared ? gmem_init_shared(gmem, size_bytes, max_bytes, err)
	              : gmem_init(gmem, size_bytes, max_bytes, err);
}

void gmem_finish(struct gmem *gmem)
{
	if (gmem->host != NULL)
		munmap(gmem->host, gmem->max_bytes);
	free(gmem->present);
	if (gmem->shared)
		close(gmem->fd);
	*gmem = (struct gmem){0};
}

/* Zeroes, and the pages back to the host: of a file they have to be taken, it would keep them. */
static bool gmem_empty(const struct gmem *gmem, uint64_t address, uint64_t length)
{
	int result;

	if (gmem->shared) {
		do
			result = fallocate(gmem->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			    (off_t)address, (off_t)length);
		while (result < 0 && errno == EINTR);
		return result == 0;
	}
	return madvise(gmem->host + address, length, MADV_DONTNEED) == 0;
}

/* What is reserved becomes accessible with the first use, and stays so: a copy may be under way. */
bool gmem_add_block(struct gmem *gmem, uint64_t address, struct err *err)
{
	uint8_t *host = gmem->host + address;

	if (mprotect(host, GMEM_BLOCK_BYTES, PROT_READ | PROT_WRITE) != 0 ||
	    !gmem_empty(gmem, address, GMEM_BLOCK_BYTES))
		return err_system(err, errno, "add less, or free memory of the host",
		    "cannot map %llu MiB of guest memory",
		    (unsigned long long)(GMEM_BLOCK_BYTES >> 20));
	atomic_store(&gmem->present[address / GMEM_BLOCK_BYTES], true);
	return true;
}

void gmem_remove_block(struct gmem *gmem, uint64_t address)
{
	atomic_store(&gmem->present[address / GMEM_BLOCK_BYTES], false);
	gmem_empty(gmem, address, GMEM_BLOCK_BYTES);
}

bool gmem_clear(struct gmem *gmem, struct err *err)
{
	if (!gmem_empty(gmem, 0, gmem->max_bytes))
		return err_system(err, errno, NULL, "cannot clear guest memory");
	return true;
}

static bool gmem_has(const struct gmem *gmem, uint64_t address)
{
	return address < gmem->size_bytes ||
	       (address < gmem->max_bytes &&
	           atomic_load(&gmem->present[address / GMEM_BLOCK_BYTES]));
}

bool gmem_contains(const struct gmem *gmem, uint64_t address, uint64_t length)
{
	if (address <= gmem->size_bytes && length <= gmem->size_bytes - address)
		return true;
	if (gmem->present == NULL || address > gmem->max_bytes ||
	    length > gmem->max_bytes - address || length > GMEM_BLOCK_BYTES)
		return false;
	/* It begins and ends in one block or in two. */
	return gmem_has(gmem, address) && gmem_has(gmem, address + length - (length > 0));
}

bool gmem_read(const struct gmem *gmem, uint64_t address, void *to, size_t length)
{
	if (!gmem_contains(gmem, address, length))
		return false;
	memcpy(to, gmem->host + address, length);
	return true;
}

bool gmem_write(const struct gmem *gmem, uint64_t address, const void *from, size_t length)
{
	if (!gmem_contains(gmem, address, length))
		return false;
	memcpy(gmem->host + address, from, length);
	return true;
}

static uint16_t *gmem_number(const struct gmem *gmem, uint64_t address)
{
	if (address % 2 != 0 || !gmem_contains(gmem, address, 2))
		return NULL;
	return (uint16_t *)(void *)(gmem->host + address);
}

bool gmem_load16(const struct gmem *gmem, uint64_t address, struct le16 *ret_value)
{
	const uint16_t *number = gmem_number(gmem, address);

	if (number == NULL)
		return false;
	ret_value->raw = __atomic_load_n(number, __ATOMIC_SEQ_CST);
	return true;
}

bool gmem_store16(const struct gmem *gmem, uint64_t address, struct le16 value)
{
	uint16_t *number = gmem_number(gmem, address);

	if (number == NULL)
		return false;
	__atomic_store_n(number, value.raw, __ATOMIC_SEQ_CST);
	return true;
}

bool gmem_iovec(const struct gmem *gmem, uint64_t address, uint64_t length, struct iovec *ret_iovec)
{
	if (!gmem_contains(gmem, address, length))
		return false;
	*ret_iovec = (struct iovec){.iov_base = gmem->host + address, .iov_len = length};
	return true;
}

uint8_t *gmem_window(const struct gmem *gmem, uint64_t address, uint64_t length)
{
	return gmem_contains(gmem, address, length) ? gmem->host + address : NULL;
}
