/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gmem.h - guest memory: a bounds-checked copy in and out.
 *
 * Guest RAM starts at guest-physical 0 and is one mapping, populated as the guest touches it.
 * Outside the loader all accesses copy through these functions. They check the whole range without
 * overflow and copy nothing if it is not RAM. No pointer into guest RAM is handed out, so no value
 * is read twice with different results, and nothing is written past the end.
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

/* Zero all of it, and give its pages back to the host. */
bool gmem_clear(struct gmem *gmem, struct err *err);

/* True if [address, address + length) lies in RAM. */
bool gmem_contains(const struct gmem *gmem, uint64_t address, uint64_t length) GMEM_CHECKED;

bool gmem_read(const struct gmem *gmem, uint64_t address, void *to, size_t length) GMEM_CHECKED;
bool gmem_write(
    const struct gmem *gmem, uint64_t address, const void *from, size_t length) GMEM_CHECKED;

/* For the loader alone, which reads files straight into RAM: NULL if out of range. */
uint8_t *gmem_window(const struct gmem *gmem, uint64_t address, uint64_t length) GMEM_CHECKED;

#endif
