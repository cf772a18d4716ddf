/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node.h - writes nodes and properties of a flattened device tree. The first failure sticks, so
 * that calls need no checks in between; node_check() tells at the end.
 */
#ifndef PAPRIKA_SPAPR_NODE_H
#define PAPRIKA_SPAPR_NODE_H

#include <libfdt.h>
#include <string.h>

#include "base/err.h"

struct node_writer {
	void *fdt;
	int error; /* 0, or libfdt's negative error */
};

/* Note the result of a libfdt function. */
static inline void node_note(struct node_writer *writer, int result)
{
	if (writer->error == 0 && result < 0)
		writer->error = result;
}

/* True if nothing has failed. */
bool node_check(const struct node_writer *writer, struct err *err);

/* Begin a tree in size bytes at to, whose root node is the current node; reserved (length 0: none)
 * is memory that the kernel must not use. Then end both. */
void node_begin_tree(
    struct node_writer *writer, void *to, size_t size, uint64_t reserved, uint64_t reserved_bytes);
void node_end_tree(struct node_writer *writer);

static inline void node_begin(struct node_writer *writer, const char *name)
{
	node_note(writer, fdt_begin_node(writer->fdt, name));
}

static inline void node_end(struct node_writer *writer)
{
	node_note(writer, fdt_end_node(writer->fdt));
}

static inline void node_bytes(
    struct node_writer *writer, const char *name, const void *value, size_t length)
{
	node_note(writer, fdt_property(writer->fdt, name, value, (int)length));
}

static inline void node_flag(struct node_writer *writer, const char *name)
{
	node_bytes(writer, name, NULL, 0);
}

static inline void node_text(struct node_writer *writer, const char *name, const char *value)
{
	node_bytes(writer, name, value, strlen(value) + 1);
}

static inline void node_cell(struct node_writer *writer, const char *name, uint32_t value)
{
	node_note(writer, fdt_property_u32(writer->fdt, name, value));
}

static inline void node_cell64(struct node_writer *writer, const char *name, uint64_t value)
{
	node_note(writer, fdt_property_u64(writer->fdt, name, value));
}

/* At most NODE_CELLS_MAX cells. */
#define NODE_CELLS_MAX 16
void node_cells(struct node_writer *writer, const char *name, size_t count, const uint32_t *values);
#define NODE_CELLS(writer, name, ...)                                                              \
	node_cells(writer, name, sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t),             \
	    (uint32_t[]){__VA_ARGS__})

#endif
