/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loader.h - puts a kernel (a ppc64 ELF) and an initrd into guest memory.
 *
 * The files are opened and checked once, when the machine is made; they are read again at each
 * reset, because a running kernel has patched its own text.
 */
#ifndef PAPRIKA_LOADER_H
#define PAPRIKA_LOADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "mem/gmem.h"
#include "spapr/spapr.h"

struct loader;

/* initrd may be NULL or empty. All that can be wrong with the files alone is reported here. */
struct loader *loader_create(const char *kernel, const char *initrd, struct err *err);
void loader_destroy(struct loader *loader);

/*
 * Load both; the signature is that of spapr_config.load, context being a struct loader.
 *
 * The kernel goes where p_paddr of its segments says: a vmlinux to physical 0. A static PIE (ET_DYN
 * with p_vaddr equal to p_paddr in all segments) that is linked below 4 MiB goes 4 MiB higher. It
 * must end below layout->fdt. The initrd goes to the next 64 KiB boundary behind the kernel's bss
 * if it ends below layout->fdt there, else to layout->high.
 */
bool loader_load(void *context, const struct gmem *gmem, const struct spapr_layout *layout,
    struct spapr_image *ret_image, struct err *err);

#endif
