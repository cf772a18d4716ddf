/* SPDX-License-Identifier: Apache-2.0 */
/* gmem.c - see gmem.h. The only file that turns a guest address into a host pointer. */
#include "mem/gmem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

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

bool gmem_init(struct gmem *gmem, uint64_t size_bytes, uint64_t max_bytes, struct err *err)
{
	bool good;

	*gmem = (struct gmem){
	    .host = gmem_reserve(max_bytes), .size_bytes = size_bytes, .max_bytes = max_bytes};
	good = gmem->host != NULL && mprotect(gmem->host, size_bytes, PROT_READ | PROT_WRITE) == 0;
	if (good && max_bytes > size_bytes) {
		gmem->present = calloc(max_bytes / GMEM_BLOCK_BYTES, sizeof *gmem->present);
		good = gmem->present != NULL;
	}
	if (good)
		return true;
	err_system(err, errno, "use a smaller --memory, or raise ulimit -v if it is set",
	    "cannot map %llu MiB of guest memory", (unsigned long long)(max_bytes >> 20));
	err->class = ERR_USAGE;
	gmem_finish(gmem);
	return false;
}

void gmem_finish(struct gmem *gmem)
{
	if (gmem->host != NULL)
		munmap(gmem->host, gmem->max_bytes);
	free(gmem->present);
	*gmem = (struct gmem){0};
}

/* What is reserved becomes accessible with the first use, and stays so: a copy may be under way. */
bool gmem_add_block(struct gmem *gmem, uint64_t address, struct err *err)
{
	uint8_t *host = gmem->host + address;

	if (mprotect(host, GMEM_BLOCK_BYTES, PROT_READ | PROT_WRITE) != 0 ||
	    madvise(host, GMEM_BLOCK_BYTES, MADV_DONTNEED) != 0)
		return err_system(err, errno, "add less, or free memory of the host",
		    "cannot map %llu MiB of guest memory",
		    (unsigned long long)(GMEM_BLOCK_BYTES >> 20));
	atomic_store(&gmem->present[address / GMEM_BLOCK_BYTES], true);
	return true;
}

void gmem_remove_block(struct gmem *gmem, uint64_t address)
{
	atomic_store(&gmem->present[address / GMEM_BLOCK_BYTES], false);
	madvise(gmem->host + address, GMEM_BLOCK_BYTES, MADV_DONTNEED);
}

bool gmem_clear(struct gmem *gmem, struct err *err)
{
	if (madvise(gmem->host, gmem->max_bytes, MADV_DONTNEED) != 0)
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
