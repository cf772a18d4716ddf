/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.c - see memory.h.
 *
 * A block's slot is made before the operation begins, so that what may fail is the operator's plain
 * error, and a guest that puts a block to use before it has said so does no harm. It is deleted
 * after the guest has released the block, before its pages are given back, and before the operation
 * ends: device_type.release.
 */
#include "spapr/memory.h"

#include <stdio.h>

#include "base/log.h"

static struct memory *memory_of(const struct device *device)
{
	return device->context;
}

void memory_init(struct memory *memory, struct gmem *gmem, struct devices *devices,
    uint64_t boot_bytes, uint64_t max_bytes)
{
	memory->gmem = gmem;
	memory->devices = devices;
	memory->boot_blocks = (uint32_t)(boot_bytes / GMEM_BLOCK_BYTES);
	memory->blocks = (uint32_t)(max_bytes / GMEM_BLOCK_BYTES);
	connectors_add_range(devices->connectors, &drc_type_lmb, memory->boot_blocks, 1,
	    memory->blocks - memory->boot_blocks);
}

/* --- Adding -------------------------------------------------------------------------------- */

/* NULL if no device has the block. */
static struct device *memory_device_of(const struct memory *memory, uint32_t block)
{
	struct connector *connector =
	    connector_find(memory->devices->connectors, drc_index(&drc_type_lmb, block));

	return connector != NULL ? connector->device : NULL;
}

static bool memory_is_free(const struct memory *memory, uint32_t block)
{
	return block >= memory->boot_blocks && block < memory->blocks &&
	       memory_device_of(memory, block) == NULL;
}

/* The first of count free blocks in a row, from `from` on; memory->blocks if there are none. */
static uint32_t memory_find_room(const struct memory *memory, uint32_t from, uint32_t count)
{
	uint32_t first = from;

	for (uint32_t block = from; block < memory->blocks; block++) {
		if (!memory_is_free(memory, block))
			first = block + 1;
		else if (block + 1 - first == count)
			return first;
	}
	return memory->blocks;
}

static bool memory_refuse_place(
    const struct memory *memory, uint64_t address, uint64_t bytes, struct err *err)
{
	if (memory->blocks == memory->boot_blocks)
		return err_set(err, ERR_STATE, "start the guest with --memory size=SIZE,max=SIZE",
		    "no memory can be added: this machine has no room for it");
	if (address == SPAPR_ANYWHERE)
		return err_set(err, ERR_STATE, "query-memory-devices lists what is taken",
		    "there is no room for %llu MiB in a row: the machine has at most %llu MiB",
		    (unsigned long long)(bytes >> 20),
		    (unsigned long long)(memory->blocks * (GMEM_BLOCK_BYTES >> 20)));
	return err_set(err, ERR_STATE, "query-memory-devices lists what is taken",
	    "%llu MiB at address 0x%llx are taken, or beyond the %llu MiB of this machine",
	    (unsigned long long)(bytes >> 20), (unsigned long long)address,
	    (unsigned long long)(memory->blocks * (GMEM_BLOCK_BYTES >> 20)));
}

bool memory_add(struct memory *memory, uint64_t address, uint64_t bytes, const char *name,
    uint64_t *ret_operation, struct err *err)
{
	uint32_t count = (uint32_t)(bytes / GMEM_BLOCK_BYTES), first;
	struct device *device;

	if (bytes == 0 || bytes % GMEM_BLOCK_BYTES != 0)
		return err_set(
		    err, ERR_STATE, NULL, "Hotplugged memory size must be a multiple of 256 MB");
	if (address != SPAPR_ANYWHERE && address % GMEM_BLOCK_BYTES != 0)
		return err_set(err, ERR_STATE, NULL, "address 0x%llx is not a multiple of 256 MiB",
		    (unsigned long long)address);
	if (bytes / GMEM_BLOCK_BYTES > memory->blocks ||
	    (address != SPAPR_ANYWHERE && address / GMEM_BLOCK_BYTES >= memory->blocks))
		return memory_refuse_place(memory, address, bytes, err);
	first = address == SPAPR_ANYWHERE ? memory->boot_blocks
	                                  : (uint32_t)(address / GMEM_BLOCK_BYTES);
	first = memory_find_room(memory, first, count);
	if (first == memory->blocks ||
	    (address != SPAPR_ANYWHERE && first != address / GMEM_BLOCK_BYTES))
		return memory_refuse_place(memory, address, bytes, err);
	device = device_create(memory->devices, &device_type_memory, memory, first, first, count);
	if (device == NULL) /* there are as many places as blocks */
		return memory_refuse_place(memory, address, bytes, err);
	if (device_add(memory->devices, device, name, ret_operation, err))
		return true;
	device_destroy(device);
	return false;
}

/* --- A size as a target ---------------------------------------------------------------------- */

uint32_t memory_attached(const struct memory *memory, uint32_t *ret_staying)
{
	const struct devices *devices = memory->devices;
	uint32_t attached = 0;

	*ret_staying = 0;
	for (uint32_t i = 0; i < devices->count; i++) {
		const struct device *device = &devices->list[i];

		if (device->type != &device_type_memory)
			continue;
		attached += device->attached;
		if (device->remove.operation == 0)
			*ret_staying += device->attached;
	}
	return attached;
}

struct device *memory_lowest(const struct memory *memory, uint64_t from)
{
	for (uint64_t block = from / GMEM_BLOCK_BYTES + (from % GMEM_BLOCK_BYTES != 0);
	     block < memory->blocks; block++) {
		struct device *device = memory_device_of(memory, (uint32_t)block);

		if (device != NULL && device->unit == block)
			return device;
	}
	return NULL;
}

/* One device for each block, in the lowest free blocks. */
static size_t memory_grow(
    struct memory *memory, uint32_t blocks, uint64_t *ret_operations, size_t max, struct err *err)
{
	uint32_t first = memory->boot_blocks;
	size_t count = 0;

	while (count < blocks && count < max) {
		char name[OP_DEVICE_MAX];

		first = memory_find_room(memory, first, 1);
		if (first == memory->blocks) {
			err_set(err, ERR_STATE, "ask again when the pending removals have ended",
			    "there is no free block: those being removed do not count");
			break;
		}
		snprintf(name, sizeof name, "memory%u", first);
		if (!memory_add(memory, first * GMEM_BLOCK_BYTES, GMEM_BLOCK_BYTES, name,
		        &ret_operations[count], err))
			break;
		count++;
	}
	return count;
}

/* asked: of the devices that have been asked back already; else of the others. The device with the
 * highest address below the block `below` that has been attached and has at most `most` blocks
 * left: a removal may have got some of them already. */
static struct device *memory_highest(
    const struct memory *memory, bool asked, uint32_t below, uint32_t most)
{
	for (uint32_t block = below; block-- > memory->boot_blocks;) {
		struct device *device = memory_device_of(memory, block);

		if (device == NULL)
			continue;
		if (device->attached > 0 && device->attached <= most &&
		    (device->remove.operation != 0) == asked)
			return device;
		block = device->unit;
	}
	return NULL;
}

/* Whole devices, the highest first. */
static size_t memory_shrink(struct memory *memory, bool asked, uint32_t blocks,
    uint64_t *ret_operations, size_t max, struct err *err)
{
	uint32_t below = memory->blocks;
	struct device *device;
	size_t count = 0;

	while (count < max && blocks > 0 &&
	       (device = memory_highest(memory, asked, below, blocks)) != NULL) {
		/* One that the guest has not taken leaves at once. */
		below = device->unit;
		blocks -= device->attached;
		if (!device_remove(memory->devices, device->name, &ret_operations[count], err))
			break;
		count++;
	}
	return count;
}

/* The smallest excess over the target that whole devices leave. */
static uint32_t memory_left_over(const struct memory *memory, uint32_t blocks)
{
	const struct device *device;
	uint32_t below = memory->blocks;

	while (blocks > 0 && (device = memory_highest(memory, false, below, blocks)) != NULL) {
		below = device->unit;
		blocks -= device->attached;
	}
	return blocks;
}

size_t memory_set(
    struct memory *memory, uint64_t bytes, uint64_t *ret_operations, size_t max, struct err *err)
{
	uint64_t blocks = bytes / GMEM_BLOCK_BYTES;
	uint32_t staying, attached = memory_attached(memory, &staying);
	uint32_t left_over;
	size_t again;

	if (bytes % GMEM_BLOCK_BYTES != 0 || blocks < memory->boot_blocks ||
	    blocks > memory->blocks) {
		err_set(err, ERR_STATE, NULL,
		    "size must be a multiple of 256 MiB, from %llu to %llu MiB",
		    (unsigned long long)(memory->boot_blocks * (GMEM_BLOCK_BYTES >> 20)),
		    (unsigned long long)(memory->blocks * (GMEM_BLOCK_BYTES >> 20)));
		return 0;
	}
	blocks -= memory->boot_blocks;
	if (blocks > staying)
		return memory_grow(memory, (uint32_t)blocks - staying, ret_operations, max, err);
	left_over = memory_left_over(memory, staying - (uint32_t)blocks);
	if (left_over > 0) {
		err_set(err, ERR_STATE, "use device_del for a device",
		    "this size cannot be reached exactly: a device of several blocks comes and "
		    "goes as a whole");
		return 0;
	}
	/* What has been asked back already is asked again, and leads there in part. */
	again = memory_shrink(memory, true, attached - staying, ret_operations, max, err);
	return again + memory_shrink(memory, false, staying - (uint32_t)blocks,
	                   ret_operations + again, max - again, err);
}

/* --- The device type ---------------------------------------------------------------------- */

static uint32_t memory_slot(const struct device *device, const struct connector *connector)
{
	return 1 + connector->id - memory_of(device)->boot_blocks;
}

/* The slot goes before the pages: KVM must not populate them again. */
static void memory_release_block(struct device *device, struct connector *connector)
{
	struct memory *memory = memory_of(device);
	int result = kvm_vm_remove_memory(memory->vm, memory_slot(device, connector));

	/* The guest can go on using it, and an add of the block finds the slot. */
	if (result < 0)
		log_guest(&memory->limit, LOG_ERROR,
		    "KVM does not take memory block %u away: error %d", connector->id, -result);
	gmem_remove_block(memory->gmem, connector->id * GMEM_BLOCK_BYTES);
}

static bool memory_attach_block(
    struct memory *memory, struct device *device, uint32_t n, struct err *err)
{
	uint64_t address = device->connectors[n].id * GMEM_BLOCK_BYTES;

	if (!gmem_add_block(memory->gmem, address, err))
		return false;
	if (kvm_vm_add_memory(memory->vm, memory_slot(device, &device->connectors[n]), memory->gmem,
	        address, GMEM_BLOCK_BYTES, err))
		return true;
	gmem_remove_block(memory->gmem, address);
	return false;
}

static bool memory_attach(struct device *device, struct err *err)
{
	for (uint32_t n = 0; n < device->count; n++) {
		if (memory_attach_block(memory_of(device), device, n, err))
			continue;
		while (n-- > 0)
			memory_release_block(device, &device->connectors[n]);
		return false;
	}
	return true;
}

static bool memory_by_event(const struct device *device)
{
	return memory_of(device)->by_event;
}

static void memory_evidence(const struct device *device, struct op_evidence *evidence)
{
	evidence->parts = device->count;
	evidence->parts_used = 0;
	for (uint32_t n = 0; n < device->count; n++)
		evidence->parts_used += device->connectors[n].drc.state == DRC_CONFIGURED;
}

static const char *memory_infer(const struct device *device, const struct connector *connector,
    const struct operation *op, enum op_source source)
{
	if (op->kind == OP_REMOVE && source == OP_BY_FENCE)
		return "the guest finished handling the request without releasing the block: it "
		       "could not take it offline, most often because a page in it cannot move";
	if (op->kind == OP_REMOVE)
		return "the guest took back what it had begun to remove";
	if (source == OP_BY_FENCE)
		return connector->drc.state == DRC_CONFIGURED
		           ? NULL
		           : "the guest finished handling the request without taking the block";
	return op->steps[OP_CONFIGURED].order != 0
	           ? "the guest gave the block back: it could not bring it online"
	           : "the guest gave the block back without having configured it";
}

const struct device_type device_type_memory = {
    .noun = "memory",
    .connector = &drc_type_lmb,
    .made_on_demand = true,
    .one_by_one = true,
    .attach = memory_attach,
    .by_event = memory_by_event,
    .describe = memory_describe,
    .release = memory_release_block,
    .evidence = memory_evidence,
    .infer = memory_infer,
};
