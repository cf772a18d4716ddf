/* SPDX-License-Identifier: Apache-2.0 */
/* world_block.c - a made-up device of memory blocks, in the place of the cores beside the boot
 * core: the family of connectors is the program's own, and the resources of a block are a flag. */
#include <string.h>

#include "world.h"

static bool block_attach(struct device *device, struct err *err)
{
	(void)err;
	for (uint32_t i = 0; i < device->count; i++)
		world.ghost.present[device->connectors[i].number] = true;
	return true;
}

static bool block_by_event(const struct device *device)
{
	(void)device;
	return world.config->offers;
}

static void block_describe(const struct device *device, const struct connector *connector,
    bool named, struct node_writer *writer)
{
	(void)named;
	(void)connector;
	node_begin(writer, "block");
	node_cell(writer, "reg", device->unit);
	node_end(writer);
}

static void block_attached(struct device *device, struct connector *connector)
{
	(void)device;
	if (!world.ghost.present[connector->number])
		broken("block %u is attached, and its resources are gone", connector->number);
}

static void block_release(struct device *device, struct connector *connector)
{
	if (device->add.left > 0 || device->remove.left > 0)
		broken("block %u is released while its device is waited for", connector->number);
	if (connector->drc.attached)
		broken("block %u is released, and is attached", connector->number);
	world.ghost.present[connector->number] = false;
}

static void block_evidence(const struct device *device, struct op_evidence *evidence)
{
	evidence->parts = device->count;
}

static const char *block_infer(const struct device *device, const struct connector *connector,
    const struct operation *op, enum op_source source)
{
	(void)device;
	(void)connector;
	(void)op;
	(void)source;
	return "a conclusion";
}

static const struct device_type device_type_block = {
    .noun = "block",
    .connector = &drc_type_lmb,
    .attach = block_attach,
    .by_event = block_by_event,
    .describe = block_describe,
    .attached = block_attached,
    .release = block_release,
    .evidence = block_evidence,
    .infer = block_infer,
};

enum { FIRST_BLOCK = 16 }; /* beyond those that the guest boots with */

void world_make_blocks(void)
{
	struct spapr *machine = world.machine;
	struct connectors *connectors = &machine->connectors;
	uint32_t group = world.config->group, count = world.config->cores - 1;

	machine->cores.count = machine->devices.count = 1;
	connectors->count = connectors->ranges[0].count = 1;
	memset(&connectors->list[1], 0, count * sizeof connectors->list[0]);
	connectors_add_range(connectors, &drc_type_lmb, FIRST_BLOCK, 1, count);
	/* A device is numbered by its first connector. */
	for (uint32_t i = 0; i < count; i += group)
		device_create(
		    &machine->devices, &device_type_block, NULL, i + 1, FIRST_BLOCK + i, group);
}
