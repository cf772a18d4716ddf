/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core.h - CPU cores as devices: one row of device_type, whose resources are the vCPUs of the
 * core's threads. All functions are called with the machine's lock held.
 */
#ifndef PAPRIKA_SPAPR_CORE_H
#define PAPRIKA_SPAPR_CORE_H

#include "spapr/cpu.h"
#include "spapr/device.h"

struct cores {
	struct cpus *cpus;
	struct devices *devices;
	struct device *list; /* in core-id order */
	uint32_t count;
	uint32_t threads; /* of each */
};

extern const struct device_type device_type_core;

/* Make a device of each core the machine can have, unattached. */
void cores_init(struct cores *cores, struct cpus *cpus, struct devices *devices, uint32_t threads);

/* Attach the first count of them for the first boot. */
bool cores_boot(struct cores *cores, uint32_t count, struct err *err);

/* The core with this core-id: an error if there can be none. */
struct device *core_with_id(struct cores *cores, uint32_t core_id, struct err *err);

/* spapr_set_cores(). */
size_t cores_set(
    struct cores *cores, uint32_t count, uint64_t *ret_operations, size_t max, struct err *err);

/* The core of a vCPU. */
struct device *core_of(struct cores *cores, const struct vcpu *vcpu);

/* core_node.c: write its device tree node. */
void core_describe(const struct device *core, const struct connector *connector, bool named,
    struct node_writer *writer);

#endif
