/* SPDX-License-Identifier: Apache-2.0 */
/* node.c - see node.h. */
#include "spapr/node.h"

#include "base/be.h"

bool node_check(const struct node_writer *writer, struct err *err)
{
	return writer->error == 0 ||
	       err_set(err, ERR_SYSTEM, "use fewer --cpus", "cannot build the device tree: %s",
	           fdt_strerror(writer->error));
}

void node_begin_tree(
    struct node_writer *writer, void *to, size_t size, uint64_t reserved, uint64_t reserved_bytes)
{
	*writer = (struct node_writer){.fdt = to};
	node_note(writer, fdt_create(to, (int)size));
	if (reserved_bytes > 0)
		node_note(writer, fdt_add_reservemap_entry(to, reserved, reserved_bytes));
	node_note(writer, fdt_finish_reservemap(to));
	node_begin(writer, "");
}

void node_end_tree(struct node_writer *writer)
{
	node_end(writer);
	node_note(writer, fdt_finish(writer->fdt));
}

void node_cells(struct node_writer *writer, const char *name, size_t count, const uint32_t *values)
{
	struct be32 be[NODE_CELLS_MAX];

	for (size_t i = 0; i < count && i < NODE_CELLS_MAX; i++)
		be[i] = be32(values[i]);
	node_bytes(writer, name, be, count * sizeof be[0]);
}
