/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gmem.h - guest memory: a bounds-checked copy in and out.
 *
 * Guest RAM starts at guest-physical 0 and is one mapping, populated as the guest touches it.
 * Behind what is always there, blocks of GMEM_BLOCK_BYTES come and go: in the operator's thread,
 * while others copy. Host addresses are reserved for all of them. A copy that has been checked when
 * its block goes still finds memory there; what it writes is gone when the block comes again.
 *
 * Outside the loader and the requests of virtqueues all accesses copy through these functions. They
 * check the whole range without overflow and copy nothing if it is not RAM. No other pointer into
 * guest RAM is handed out, so no value is read twice with different results, and nothing is written
 * past the end.
 */
#ifndef PAPRIKA_GMEM_H
#define PAPRIKA_GMEM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/be.h"
#include "base/err.h"
#include "base/le.h"

#define GMEM_CHECKED __attribute__((warn_unused_result))

#define GMEM_BLOCK_BYTES (UINT64_C(256) << 20)

struct gmem {
	uint8_t *host;        /* for KVM to map; others use the functions below */
	uint64_t size_bytes;  /* always there */
	uint64_t max_bytes;   /* reserved */
	atomic_bool *present; /* by block; NULL if there can be none */
	bool shared;          /* it is a file: */
	int fd;
};

/* Map size_bytes of zeroed memory, none of it populated, and reserve addresses up to max_bytes (at
 * least size_bytes). If they differ both are multiples of GMEM_BLOCK_BYTES. */
bool gmem_init(struct gmem *gmem, uint64_t size_bytes, uint64_t max_bytes, struct err *err);
/* The same, of a file without a name (memfd) whose descriptor other processes can be given. They
 * then have all of max_bytes, what is not there included; its size cannot be changed. */
bool gmem_init_shared(struct gmem *gmem, uint64_t size_bytes, uint64_t max_bytes, struct err *err);
/* One of the two. */
bool gmem_init_as(
    struct gmem *gmem, bool shared, uint64_t size_bytes, uint64_t max_bytes, struct err *err);
void gmem_finish(struct gmem *gmem);

/* The block, which begins at a multiple of its size from size_bytes on, becomes memory, zeroed and
 * not populated. Then it stops being memory, and its pages go back to the host: no one maps it any
 * more. Only the operator's thread. */
bool gmem_add_block(struct gmem *gmem, uint64_t address, struct err *err);
void gmem_remove_block(struct gmem *gmem, uint64_t address);

/* Zero all of it, and give its pages back to the host. */
bool gmem_clear(struct gmem *gmem, struct err *err);

/* True if [address, address + length) lies in RAM. */
bool gmem_contains(const struct gmem *gmem, uint64_t address, uint64_t length) GMEM_CHECKED;

bool gmem_read(const struct gmem *gmem, uint64_t address, void *to, size_t length) GMEM_CHECKED;
bool gmem_write(
    const struct gmem *gmem, uint64_t address, const void *from, size_t length) GMEM_CHECKED;

/* One number that the guest's CPUs read and write at the same time, at an even address; false if it
 * is not RAM or odd. Sequentially consistent: a load sees all that the guest wrote before the value
 * it finds, a store comes after all written here before it, and a load after a store is not moved
 * in front of it. */
bool gmem_load16(const struct gmem *gmem, uint64_t address, struct le16 *ret_value) GMEM_CHECKED;
bool gmem_store16(const struct gmem *gmem, uint64_t address, struct le16 value) GMEM_CHECKED;

/* Where a request's data lies, for the host's kernel to read or write; false if it is not RAM. Only
 * for virtqueues: it is forgotten when the request is answered. The addresses stay valid until
 * gmem_finish(), even if the block is taken away meanwhile. */
bool gmem_iovec(const struct gmem *gmem, uint64_t address, uint64_t length,
    struct iovec *ret_iovec) GMEM_CHECKED;

/* For the loader alone, which reads files straight into RAM: NULL if out of range. */
uint8_t *gmem_window(const struct gmem *gmem, uint64_t address, uint64_t length) GMEM_CHECKED;

#endif
