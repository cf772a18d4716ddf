/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine.h - the inside of struct spapr: a struct for each part, owned by the file of its name.
 * Only the files that join parts include this: RTAS services, hcalls, the device tree, and what is
 * called from outside this room.
 *
 * "lock" is the machine's one mutex. vCPU threads take it for RTAS calls that touch connectors,
 * events or other vCPUs, for H_SET_MODE (which also waits for the other vCPUs), and when they are
 * asked to attend to something. The operator's thread takes it in the functions of spapr.h.
 */
#ifndef PAPRIKA_SPAPR_MACHINE_H
#define PAPRIKA_SPAPR_MACHINE_H

#include "spapr/core.h"
#include "spapr/memory.h"
#include "spapr/phb.h"
#include "spapr/vty.h"

#define RTAS_BLOB_BYTES 0x10000u
#define FDT_MAX_BYTES (4u << 20) /* a core's node takes about 1 KiB */

struct spapr {
	/* Set at creation, constant since. */
	struct spapr_config config;
	struct kvm_vm *vm;
	struct gmem gmem;
	struct irqchip irqchip; /* its kind: constant */
	struct spapr_layout layout;

	/* Any thread. */
	struct news news;
	struct vty vty;
	struct phb phb; /* its slots: set before the first boot */
	struct log_limit limit_hcall, limit_rtas;

	pthread_mutex_t lock;
	/* Under lock. */
	struct cpus cpus;
	struct events events;
	struct fence fence;
	struct connectors connectors;
	struct devices devices;
	struct cores cores;
	struct memory memory;
	struct spapr_image image;
	bool memory_used; /* guest memory was loaded into */
	uint32_t event_log_id;
	int64_t clock_offset_s; /* the guest's time of day less the host's */
	char panic_text[256];
};

#endif
