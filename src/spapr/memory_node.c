/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory_node.c - memory in the device tree: the node of a block that ibm,configure-connector
 * returns, and the list of all blocks there can be.
 *
 * The list has the second form (ibm,dynamic-memory-v2), in which neighbours that are alike are one
 * set: its length does not depend on how much memory there can be. No hole is left between sets,
 * because Linux merges neighbours when it writes the list anew.
 */
#include <stdio.h>

#include "spapr/memory.h"

/* Flags of a block in the list. */
enum {
	LMB_ASSIGNED = 0x8,
	LMB_RESERVED = 0x80,
	LMB_HOTREMOVABLE = 0x100,
	/* Reserved: Linux does not boot it twice (/memory@0 has it), and does not remove it.
	 * Assigned: a search for free blocks passes it by, so that only a fence asks for it. */
	LMB_BOOT = LMB_RESERVED | LMB_ASSIGNED,
};

/* One domain: where all memory and all cores are. */
#define LMB_DOMAIN 0, 0, 0, 0
#define LMB_NO_DOMAIN UINT32_MAX

void memory_describe(const struct device *device, const struct connector *connector, bool named,
    struct node_writer *w)
{
	uint64_t address = connector->id * GMEM_BLOCK_BYTES;
	char unit[32];

	snprintf(unit, sizeof unit, "memory@%llx", (unsigned long long)address);
	node_begin(w, unit);
	if (named)
		node_text(w, "name", unit);
	node_text(w, "device_type", "memory");
	NODE_CELLS(w, "reg", (uint32_t)(address >> 32), (uint32_t)address,
	    (uint32_t)(GMEM_BLOCK_BYTES >> 32), (uint32_t)GMEM_BLOCK_BYTES);
	/* Linux looks it up in ibm,associativity-lookup-arrays. */
	NODE_CELLS(w, "ibm,associativity", 4, LMB_DOMAIN);
	node_end(w);
}

/* A block that is attached, and in the tree, is in use from the start. */
static uint32_t memory_flags(const struct memory *memory, uint32_t block)
{
	const struct connector *connector;

	if (block < memory->boot_blocks)
		return LMB_BOOT;
	connector = connector_find(memory->devices->connectors, drc_index(&drc_type_lmb, block));
	return connector != NULL && connector->drc.state == DRC_CONFIGURED
	           ? LMB_ASSIGNED | LMB_HOTREMOVABLE
	           : 0;
}

/* The first block from `block` on with other flags. */
static uint32_t memory_set_end(const struct memory *memory, uint32_t block)
{
	uint32_t flags = memory_flags(memory, block);

	while (block < memory->blocks && memory_flags(memory, block) == flags)
		block++;
	return block;
}

/* A count of sets, then the sets: blocks, address, first drc index, domain, flags. */
static void memory_write_sets(const struct memory *memory, struct node_writer *w)
{
	enum { SET_BYTES = 24 };
	uint32_t sets = 0;
	void *value = NULL;
	struct be32 *at;

	for (uint32_t block = 0; block < memory->blocks; block = memory_set_end(memory, block))
		sets++;
	node_note(w, fdt_property_placeholder(w->fdt, "ibm,dynamic-memory-v2",
	                 (int)(sizeof *at + sets * SET_BYTES), &value));
	if (w->error != 0)
		return;
	at = value;
	*at++ = be32(sets);
	for (uint32_t block = 0, end; block < memory->blocks; block = end) {
		uint64_t address = block * GMEM_BLOCK_BYTES;
		uint32_t flags = memory_flags(memory, block);

		end = memory_set_end(memory, block);
		*at++ = be32(end - block);
		*at++ = be32((uint32_t)(address >> 32));
		*at++ = be32((uint32_t)address);
		*at++ = be32(drc_index(&drc_type_lmb, block));
		*at++ = be32(flags & LMB_HOTREMOVABLE ? 0 : LMB_NO_DOMAIN);
		*at++ = be32(flags);
	}
}

void memory_write_list(const struct memory *memory, struct node_writer *w)
{
	node_begin(w, "ibm,dynamic-reconfiguration-memory");
	node_cell64(w, "ibm,lmb-size", GMEM_BLOCK_BYTES);
	node_cell(w, "ibm,memory-flags-mask", 0xff);
	node_cell(w, "ibm,memory-preservation-time", 0);
	memory_write_sets(memory, w);
	/* One array of four cells. */
	NODE_CELLS(w, "ibm,associativity-lookup-arrays", 1, 4, LMB_DOMAIN);
	node_end(w);
}
