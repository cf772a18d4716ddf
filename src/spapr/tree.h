/* SPDX-License-Identifier: Apache-2.0 */
/* tree.h - the flattened device tree that the kernel is handed: what a pseries Linux needs (LoPAR,
 * "Open Firmware Device Tree Structure"). */
#ifndef PAPRIKA_SPAPR_TREE_H
#define PAPRIKA_SPAPR_TREE_H

#include <stdbool.h>
#include <stddef.h>

struct spapr;
struct err;

/* The tree for the devices now attached, of at most FDT_MAX_BYTES; free() it. NULL if memory is out
 * or the tree is too large. With the lock held. */
void *tree_build(struct spapr *machine, size_t *ret_length, struct err *err);

#endif
