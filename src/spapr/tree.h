/* SPDX-License-Identifier: Apache-2.0 */
/* tree.h - the flattened device tree that the kernel is handed: what a pseries Linux needs (LoPAR,
 * "Open Firmware Device Tree Structure"). */
#ifndef PAPRIKA_SPAPR_TREE_H
#define PAPRIKA_SPAPR_TREE_H

#include <stdbool.h>
#include <stddef.h>

struct spapr;
struct err;

/* Build the tree for the devices now attached into machine->fdt_buffer. With the lock held. */
bool tree_build(struct spapr *machine, size_t *ret_length, struct err *err);

#endif
