/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine.h - the inside of struct spapr, shared by the files of this room.
 *
 * Who may touch what is written beside each part. "lock" is the machine's one mutex. vCPU
 * threads take it for RTAS calls that touch connectors, events or other vCPUs, for H_SET_MODE
 * (which also waits for the other vCPUs), and when they are asked to attend to something; the
 * operator's thread takes it in every function of spapr.h. The console has its own small lock, so
 * that a printing guest disturbs nobody.
 */
#ifndef PAPRIKA_SPAPR_MACHINE_H
#define PAPRIKA_SPAPR_MACHINE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/log.h"
#include "spapr/event.h"
#include "spapr/event_log.h"
#include "spapr/news.h"
#include "spapr/spapr.h"

/* The vty's unit address, and what H_PUT_TERM_CHAR calls it; 0 means the first one too. */
#define VTY_UNIT 0x71000000u

#define RTAS_BLOB_BYTES 0x10000u
#define FDT_MAX_BYTES (4u << 20) /* a core's node takes about 1 KiB */

/* A core's node as ibm,configure-connector hands it out. */
#define CORE_NODE_MAX 4096

struct core;

struct vcpu {
	struct spapr *machine;
	struct core *core;
	uint32_t id; /* KVM's vCPU id, the XICS server and the device tree's server number */
	/* Its own thread only. */
	struct kvm_vcpu *kvm;
	struct kvm_exit_info exit;
	/* Under lock. */
	pthread_t thread;
	bool has_thread;
	bool confined;    /* its thread has called config.confine_vcpu */
	bool waiting;     /* its thread is in cpu_attend(), out of the guest and of any handler */
	bool park_needed; /* registers and areas of its last life are still set */
	bool entry_set;   /* start at entry_pc with entry_r3 */
	/* Asked for by cpu_registers(), answered by the vCPU's thread. */
	bool registers_wanted, registers_known;
	struct kvm_registers registers;
	uint64_t entry_pc, entry_r3;
	uint32_t modes_version;  /* of the modes its LPCR has */
	int64_t timebase_offset; /* that KVM has for it */
	int host_thread;
	enum spapr_vcpu_state state;
	struct err create_error;
	pthread_cond_t changed; /* its thread waits here, and who waits for its creation */
	/* Any thread. */
	_Atomic bool attention; /* leave the guest and attend */
	_Atomic bool in_guest;
};

struct core {
	const struct drc_type *type;
	uint32_t number; /* index into spapr.cores */
	uint32_t id;     /* core-id: number * threads; the id of its first vCPU */
	uint32_t drc_index;
	struct drc drc;
	char device[OP_DEVICE_MAX];
	uint64_t add_operation, remove_operation; /* pending, or 0 */
	struct vcpu *vcpus;                       /* config.threads of them */
	/* ibm,configure-connector */
	uint8_t node[CORE_NODE_MAX]; /* flattened tree with this core's node alone */
	int node_offset;             /* where the walk stands; 0: before the first node */
	int node_depth;
	/* The last guest calls, a ring. */
	struct spapr_guest_call history[SPAPR_HISTORY];
	uint64_t history_next;
};

#define VTY_OUT_BYTES 65536u
#define VTY_IN_BYTES 4096u

/* Byte ring; indices count up and wrap by themselves. */
struct vty {
	pthread_mutex_t lock;
	uint32_t out_head, out_tail;
	uint32_t in_head, in_tail;
	uint32_t out_reset; /* where out_head was at the last reset */
	uint8_t out[VTY_OUT_BYTES];
	uint8_t in[VTY_IN_BYTES];
};

struct spapr {
	/* Set at creation, constant since. */
	struct spapr_config config;
	struct kvm_vm *vm;
	struct gmem gmem;
	struct spapr_layout layout;
	uint32_t core_count;
	struct core *cores;
	struct vcpu *vcpus;  /* all of them, in id order */
	uint8_t *fdt_buffer; /* FDT_MAX_BYTES; operator's thread */

	pthread_mutex_t lock;
	pthread_cond_t quiet; /* some vCPU thread has come to wait, or left the guest */
	/* Under lock. */
	bool stopped;              /* by the operator, ... */
	uint64_t stopped_ms;       /* ... since then: the monotonic clock, */
	uint64_t stopped_timebase; /* ... and the host's timebase */
	int64_t timebase_offset; /* of the guest, which does not see the time it was stopped for */
	bool booting;            /* spapr_boot() is at work */
	bool booted;             /* ... or has been */
	bool ending;             /* threads shall return */
	bool finished; /* the guest is over: power-off or panic; nothing runs again but by reset */
	struct kvm_modes modes;
	uint32_t modes_version;
	struct spapr_image image;
	struct ops ops;
	struct operation operations[SPAPR_OPERATIONS];
	struct events events;
	bool vty_owed; /* something was typed; its interrupt was refused */
	uint32_t event_log_id;
	int64_t clock_offset_s; /* guest's time of day less the host's */
	char panic_text[256];
	struct err failure;

	struct vty vty;

	/* Any thread. */
	struct news news;
	struct log_limit limit_hcall, limit_rtas, limit_stray, limit_timebase;
};

/* machine.c: a kernel has begun, perhaps by kexec: interrupt sources as after a reset, and an
 * interrupt for all that is queued. Without the lock. */
void spapr_kernel_begins(struct spapr *machine);

/* --- cpu.c: vCPU threads. All but cpu_init/finish with the lock held. ------------------- */

void cpu_init(struct spapr *machine, struct vcpu *vcpu, struct core *core, uint32_t id);
void cpu_finish(struct vcpu *vcpu);

/* Make the threads of a core and their KVM vCPUs, those that do not exist yet. */
bool cpus_create(struct spapr *machine, struct core *core, struct err *err);

/* Start a stopped vCPU; false if it is not stopped. */
bool cpu_start(struct vcpu *vcpu, uint64_t pc, uint64_t r3);

/* stop-self, on the vCPU's own thread. */
void cpu_stop_self(struct vcpu *vcpu);

/* The core left: make its vCPUs leave the guest and park. */
void cpus_detach(struct spapr *machine, struct core *core);

/* Wait until no vCPU thread is in the guest or in a handler, after machine->stopped or
 * machine->booting was set. All are signalled first, then waited for. */
void cpus_hold(struct spapr *machine);

/* Let the threads look again at what they may do. */
void cpus_release(struct spapr *machine);

/* All held: every vCPU stopped or absent, nothing of its last life left. */
void cpus_reset(struct spapr *machine);

/* machine->modes changed: have every running vCPU take them before it runs on; returns when
 * no vCPU but the caller's runs with the old ones. caller may be NULL. */
void cpus_apply_modes(struct spapr *machine, struct vcpu *caller);

/* Where a vCPU that the guest runs is, while the machine is held; else false. */
bool cpu_registers(struct vcpu *vcpu, struct kvm_registers *ret_registers);

struct vcpu *cpu_find(struct spapr *machine, uint32_t id);
uint32_t cpus_running(const struct spapr *machine, const struct core *core);

/* --- core.c: connectors and operations. With the lock held. ------------------------------ */

void core_init(struct spapr *machine, struct core *core, uint32_t number);
struct core *core_find(struct spapr *machine, uint32_t drc_index);

/* A guest's input on a connector; by names the call. Of DRC_IN_START: the thread runs already. */
enum rtas_status core_guest_input(struct spapr *machine, struct core *core, enum drc_input input,
    const struct vcpu *vcpu, const struct op_evidence *by);

/* The guest stopped one of the core's threads. */
void core_thread_stopped(struct spapr *machine, struct core *core);

/* The guest has read the event for this core; true if it is to be a removal. */
bool core_event_fetched(struct spapr *machine, struct core *core);

/* Settle every connector: what is pending ends as superseded. */
void cores_reset(struct spapr *machine);

/* --- tree.c ------------------------------------------------------------------------------- */

/* Build the device tree for the cores now present into machine->fdt_buffer. */
bool tree_build(struct spapr *machine, size_t *ret_length, struct err *err);

/* Build core->node. */
bool tree_build_core(struct spapr *machine, struct core *core, struct err *err);

/* --- vty.c -------------------------------------------------------------------------------- */

bool vty_is(uint64_t unit);
bool vty_put(struct spapr *machine, const uint8_t *from, uint32_t length); /* false: no room */
uint32_t vty_get(struct spapr *machine, uint8_t *to, uint32_t size);
void vty_reset(struct spapr *machine);
void vty_announce(struct spapr *machine); /* interrupt if there is something to read */

/* The last line since the reset that has this in it, from there on; false if there is none. */
bool vty_find_last(struct spapr *machine, const char *text, char *ret_line, size_t size);

#endif
