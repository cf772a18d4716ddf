/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gmem.h - guest memory, through one door.
 *
 * Guest RAM starts at guest-physical 0 and is one mapping, populated as the guest touches it.
 * Every access from outside the loader copies in or out through these functions, which check
 * the whole range without overflow; no pointer into guest RAM is handed out, so nothing can
 * be read twice with a different answer, or written past the end. On false nothing was copied.
 */
#ifndef PAPRIKA_GMEM_H
#define PAPRIKA_GMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/be.h"
#include "base/err.h"

#define GMEM_CHECKED __attribute__((warn_unused_result))

struct gmem {
	uint8_t *host; /* for KVM to map; others use the functions below */
	uint64_t size_bytes;
};

/* Map size_bytes of zeroed memory, none of it populated. */
bool gmem_init(struct gmem *gmem, uint64_t size_bytes, struct err *err);
void gmem_finish(struct gmem *gmem);

/* Throw all contents away; the memory reads as zero again and is given back to the host. */
bool gmem_clear(struct gmem *gmem, struct err *err);

/* True if [address, address + length) lies in RAM. */
bool gmem_contains(const struct gmem *gmem, uint64_t address, uint64_t length) GMEM_CHECKED;

bool gmem_read(const struct gmem *gmem, uint64_t address, void *to, size_t length) GMEM_CHECKED;
bool gmem_write(
    const struct gmem *gmem, uint64_t address, const void *from, size_t length) GMEM_CHECKED;

/* For the loader alone, which reads files straight into RAM: NULL if out of range. */
uint8_t *gmem_window(const struct gmem *gmem, uint64_t address, uint64_t length) GMEM_CHECKED;

#endif
