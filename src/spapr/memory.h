/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.h - memory that comes and goes: one row of device_type, whose connectors are the logical
 * memory blocks (LMBs) of a device. Each block has a memory slot of KVM's and pages of its own.
 *
 * The blocks that the guest boots with are no device: they are always there. A block's number is
 * its address in blocks, which is also the id of its connector, its slot less the one of the boot
 * memory, and Linux's name for it (/sys/devices/system/memory/memoryN). All functions are called
 * with the machine's lock held, in the operator's thread.
 */
#ifndef PAPRIKA_SPAPR_MEMORY_H
#define PAPRIKA_SPAPR_MEMORY_H

#include "mem/gmem.h"
#include "spapr/device.h"

struct memory {
	struct gmem *gmem;
	struct kvm_vm *vm;
	struct devices *devices;
	uint32_t boot_blocks; /* the first blocks: they boot */
	uint32_t blocks;      /* all there can be */
	struct log_limit limit;
	bool by_event; /* after a reset it is offered by events: spapr_config */
};

extern const struct device_type device_type_memory;

/* Make the connectors of all blocks behind the boot memory. */
void memory_init(struct memory *memory, struct gmem *gmem, struct devices *devices,
    uint64_t boot_bytes, uint64_t max_bytes);

/* Add bytes at address (SPAPR_ANYWHERE: where there is room first) as one device. */
bool memory_add(struct memory *memory, uint64_t address, uint64_t bytes, const char *name,
    uint64_t *ret_operation, struct err *err);

/* The first block of the memory that a device is, and how many there are. */
static inline uint64_t memory_address(const struct device *device)
{
	return device->unit * GMEM_BLOCK_BYTES;
}

/* Blocks that are attached, and those of them that are not asked back. */
uint32_t memory_attached(const struct memory *memory, uint32_t *ret_staying);

/* The attached device with the lowest address of all from `from` on; NULL if there is none. */
struct device *memory_lowest(const struct memory *memory, uint64_t from);

/* spapr_set_memory(). */
size_t memory_set(
    struct memory *memory, uint64_t bytes, uint64_t *ret_operations, size_t max, struct err *err);

/* memory_node.c: the node of one block, and /ibm,dynamic-reconfiguration-memory (LoPAR, "Dynamic
 * Reconfiguration Memory"). */
void memory_describe(const struct device *device, const struct connector *connector, bool named,
    struct node_writer *writer);
void memory_write_list(const struct memory *memory, struct node_writer *writer);

#endif
