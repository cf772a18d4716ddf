/* SPDX-License-Identifier: Apache-2.0 */
/* node.c - see node.h. */
#include "spapr/node.h"

#include <libfdt.h>
#include <string.h>

#include "base/be.h"

void node_fail(struct node_writer *writer, int error)
{
	if (writer->error == 0 && error < 0)
		writer->error = error;
}

void node_create(struct node_writer *writer, void *to, size_t size)
{
	*writer = (struct node_writer){.fdt = to};
	node_fail(writer, fdt_create(to, (int)size));
}

void node_reserve(struct node_writer *writer, uint64_t address, uint64_t size)
{
	node_fail(writer, fdt_add_reservemap_entry(writer->fdt, address, size));
}

void node_begin_root(struct node_writer *writer)
{
	node_fail(writer, fdt_finish_reservemap(writer->fdt));
	node_begin(writer, "");
}

void node_finish(struct node_writer *writer)
{
	node_end(writer);
	node_fail(writer, fdt_finish(writer->fdt));
}

void node_begin(struct node_writer *writer, const char *name)
{
	node_fail(writer, fdt_begin_node(writer->fdt, name));
}

void node_end(struct node_writer *writer)
{
	node_fail(writer, fdt_end_node(writer->fdt));
}

void node_bytes(struct node_writer *writer, const char *name, const void *value, size_t length)
{
	node_fail(writer, fdt_property(writer->fdt, name, value, (int)length));
}

void node_flag(struct node_writer *writer, const char *name)
{
	node_bytes(writer, name, NULL, 0);
}

void node_text(struct node_writer *writer, const char *name, const char *value)
{
	node_bytes(writer, name, value, strlen(value) + 1);
}

void node_cell(struct node_writer *writer, const char *name, uint32_t value)
{
	node_fail(writer, fdt_property_u32(writer->fdt, name, value));
}

void node_cell64(struct node_writer *writer, const char *name, uint64_t value)
{
	node_fail(writer, fdt_property_u64(writer->fdt, name, value));
}

void node_cells(struct node_writer *writer, const char *name, size_t count, const uint32_t *values)
{
	struct be32 be[NODE_CELLS_MAX];

	for (size_t i = 0; i < count && i < NODE_CELLS_MAX; i++)
		be[i] = be32(values[i]);
	node_bytes(writer, name, be, count * sizeof be[0]);
}

bool node_check(const struct node_writer *writer, struct err *err)
{
	return writer->error == 0 ||
	       err_set(err, ERR_SYSTEM, "use fewer --cpus", "cannot build the device tree: %s",
	           fdt_strerror(writer->error));
}
