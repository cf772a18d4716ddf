/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node.h - writes nodes and properties of a flattened device tree. The first failure sticks, so
 * that calls need no checks in between; look at `error` at the end.
 */
#ifndef PAPRIKA_SPAPR_NODE_H
#define PAPRIKA_SPAPR_NODE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct node_writer {
	void *fdt;
	int error; /* 0, or libfdt's negative error */
};

/* Begin a tree in size bytes at to; its memory reservations may be added before node_begin(). */
void node_create(struct node_writer *writer, void *to, size_t size);
void node_reserve(struct node_writer *writer, uint64_t address, uint64_t size);
/* The reservations are complete: the root node begins. */
void node_begin_root(struct node_writer *writer);
/* The root node, and with it the tree, ends. */
void node_finish(struct node_writer *writer);

void node_begin(struct node_writer *writer, const char *name);
void node_end(struct node_writer *writer);

void node_bytes(struct node_writer *writer, const char *name, const void *value, size_t length);
void node_flag(struct node_writer *writer, const char *name);
void node_text(struct node_writer *writer, const char *name, const char *value);
void node_cell(struct node_writer *writer, const char *name, uint32_t value);
void node_cell64(struct node_writer *writer, const char *name, uint64_t value);

/* True if nothing has failed. */
bool node_check(const struct node_writer *writer, struct err *err);

/* Note a failure of the caller's own. */
void node_fail(struct node_writer *writer, int error);

/* At most NODE_CELLS_MAX cells. */
#define NODE_CELLS_MAX 16
void node_cells(struct node_writer *writer, const char *name, size_t count, const uint32_t *values);
#define NODE_CELLS(writer, name, ...)                                                              \
	node_cells(writer, name, sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t),             \
	    (uint32_t[]){__VA_ARGS__})

#endif
