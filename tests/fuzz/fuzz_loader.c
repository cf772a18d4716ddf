/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_loader.c - kernel and initrd files of any content, put into a small guest's memory.
 *
 * Input: flags (an initrd is given; the kernel file is cut short, or grows, between being
 * opened and being loaded), the initrd's length in 2 bytes, the initrd, the kernel.
 */
#include "fuzz.h"

#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "vmm/loader.h"

enum { WITH_INITRD = 1, SHRINKS = 2, GROWS = 4 };

/* The kernel may use what lies below LIMIT, the initrd also what lies from HIGH on; between them
 * is a mine to be stepped on. A PIE is moved to 4 MiB. */
#define MEMORY_BYTES (UINT64_C(8) << 20)
#define LIMIT (UINT64_C(5) << 20)
#define HIGH (MEMORY_BYTES - (128 << 10))
#define MINE_BYTES 4096

static struct gmem gmem;
static uint8_t mine[MINE_BYTES];

static void put(int fd, const uint8_t *bytes, size_t length)
{
	FUZZ_CHECK(ftruncate(fd, 0) == 0);
	FUZZ_CHECK(pwrite(fd, bytes, length, 0) == (ssize_t)length);
}

static void check_loaded(const struct spapr_image *image, const uint8_t *initrd, size_t length)
{
	uint8_t *loaded;

	FUZZ_CHECK(image->entry < image->end && image->entry % 4 == 0);
	FUZZ_CHECK(image->end <= LIMIT);
	FUZZ_CHECK(image->initrd_end - image->initrd_start == length);
	if (length == 0)
		return;
	FUZZ_CHECK(image->initrd_start >= image->end);
	FUZZ_CHECK(image->initrd_end <= LIMIT ||
	           (image->initrd_start >= HIGH && image->initrd_end <= MEMORY_BYTES));
	FUZZ_CHECK(image->initrd_start % 65536 == 0);
	loaded = gmem_window(&gmem, image->initrd_start, length);
	FUZZ_CHECK(loaded != NULL && memcmp(loaded, initrd, length) == 0);
}

/* Refused with words that say what of, or loaded within bounds. */
static void load(struct loader *loader, const uint8_t *initrd, size_t length)
{
	const struct spapr_layout layout = {.fdt = LIMIT,
	    .rtas = LIMIT + (2 << 20),
	    .high = HIGH,
	    .low_end = HIGH,
	    .hcall_instruction = 0x44000022};
	struct spapr_image image = {0};
	struct err err = {0};
	uint8_t *behind;

	FUZZ_CHECK(gmem_clear(&gmem, &err));
	FUZZ_CHECK(gmem_write(&gmem, LIMIT, mine, sizeof mine));
	if (loader_load(loader, &gmem, &layout, &image, &err))
		check_loaded(&image, initrd, length);
	else
		FUZZ_CHECK(err.class == ERR_USAGE && err.message[0] != '\0');
	behind = gmem_window(&gmem, LIMIT, sizeof mine);
	FUZZ_CHECK(behind != NULL && memcmp(behind, mine, sizeof mine) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int kernel_fd = -1, initrd_fd = -1;
	static char kernel[32], initrd[32];
	struct input input = {data, size};
	unsigned flags = (unsigned)input_take(&input, 1);
	size_t length = input_take(&input, 2);
	struct err err = {0};
	const uint8_t *initrd_bytes = input.bytes;
	struct loader *loader;

	if (kernel_fd < 0) {
		prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
		memset(mine, 0xa5, sizeof mine);
		FUZZ_CHECK(gmem_init(&gmem, MEMORY_BYTES, MEMORY_BYTES, &err));
		kernel_fd = memfd_create("kernel", MFD_CLOEXEC);
		initrd_fd = memfd_create("initrd", MFD_CLOEXEC);
		snprintf(kernel, sizeof kernel, "/proc/self/fd/%d", kernel_fd);
		snprintf(initrd, sizeof initrd, "/proc/self/fd/%d", initrd_fd);
	}
	if ((flags & WITH_INITRD) == 0)
		length = 0;
	if (length > input.left)
		length = input.left;
	put(initrd_fd, initrd_bytes, length);
	put(kernel_fd, input.bytes + length, input.left - length);

	loader = loader_create(kernel, (flags & WITH_INITRD) != 0 ? initrd : NULL, &err);
	if (loader == NULL) {
		FUZZ_CHECK(err.class == ERR_USAGE && err.message[0] != '\0');
		return 0;
	}
	if (flags & SHRINKS)
		FUZZ_CHECK(ftruncate(kernel_fd, (off_t)((input.left - length) * 3 / 4)) == 0);
	if (flags & GROWS)
		FUZZ_CHECK(ftruncate(kernel_fd, (off_t)(input.left - length) + 70000) == 0);
	load(loader, initrd_bytes, length);
	loader_destroy(loader);
	return 0;
}
