/* SPDX-License-Identifier: Apache-2.0 */
/* gmem.c - see gmem.h. The only file that turns a guest address into a host pointer. */
#include "mem/gmem.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* Large pages of a radix guest are 2 MiB; aligned to them, the host can back RAM with huge pages.
 */
#define ALIGN_BYTES (UINT64_C(2) << 20)

bool gmem_init(struct gmem *gmem, uint64_t size_bytes, struct err *err)
{
	uint8_t *map = MAP_FAILED;
	uint64_t skip;

	errno = ENOMEM;
	/* NORESERVE: a guest may be larger than what is free now; pages come as they are touched.
	 */
	if (size_bytes <= SIZE_MAX - ALIGN_BYTES)
		map = mmap(NULL, size_bytes + ALIGN_BYTES, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED) {
		err_system(err, errno, "use a smaller --memory, or raise ulimit -v if it is set",
		    "cannot map %llu MiB of guest memory", (unsigned long long)(size_bytes >> 20));
		err->class = ERR_USAGE;
		return false;
	}
	skip = (ALIGN_BYTES - ((uintptr_t)map & (ALIGN_BYTES - 1))) & (ALIGN_BYTES - 1);
	if (skip > 0)
		munmap(map, skip);
	munmap(map + skip + size_bytes, ALIGN_BYTES - skip);
	madvise(map + skip, size_bytes, MADV_HUGEPAGE); /* a wish; no harm if refused */
	madvise(map + skip, size_bytes, MADV_DONTDUMP);
	*gmem = (struct gmem){.host = map + skip, .size_bytes = size_bytes};
	return true;
}

void gmem_finish(struct gmem *gmem)
{
	if (gmem->host != NULL)
		munmap(gmem->host, gmem->size_bytes);
	*gmem = (struct gmem){0};
}

bool gmem_clear(struct gmem *gmem, struct err *err)
{
	if (madvise(gmem->host, gmem->size_bytes, MADV_DONTNEED) != 0)
		return err_system(err, errno, NULL, "cannot clear guest memory");
	return true;
}

bool gmem_contains(const struct gmem *gmem, uint64_t address, uint64_t length)
{
	return address <= gmem->size_bytes && length <= gmem->size_bytes - address;
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

uint8_t *gmem_window(const struct gmem *gmem, uint64_t address, uint64_t length)
{
	return gmem_contains(gmem, address, length) ? gmem->host + address : NULL;
}
