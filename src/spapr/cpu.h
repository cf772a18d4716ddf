/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpu.h - vCPUs and their threads, and what holds them: stop, reset, the end of the guest.
 *
 * A vCPU's thread is made when its core is first attached, and kept until the machine goes away,
 * because KVM cannot delete a vCPU. All functions but init and finish are called with the
 * machine's lock held; those that wait release it meanwhile.
 */
#ifndef PAPRIKA_SPAPR_CPU_H
#define PAPRIKA_SPAPR_CPU_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/log.h"
#include "kvm/kvm.h"
#include "spapr/irqchip.h"
#include "spapr/news.h"

struct cpus;

/* The functions of H_REGISTER_VPA. */
enum vcpu_area { VPA_AREA = 1, VPA_TRACE_LOG, VPA_SLB_SHADOW };

/* All zero until its thread is made for the first time: a machine can have room for thousands. */
struct vcpu {
	struct cpus *cpus;
	struct spapr *machine; /* for the handlers of its exits */
	uint32_t id;           /* KVM's vCPU id, XICS server, server number in the device tree */
	/* Its own thread only. */
	struct kvm_vcpu *kvm;
	struct kvm_exit_info exit;
	/* Under lock. */
	pthread_t thread;
	bool present; /* its core is attached */
	bool has_thread;
	bool confined;    /* its thread has called cpus.confine */
	bool waiting;     /* its thread is in cpu_attend(), out of the guest and of any handler */
	bool park_needed; /* registers and areas of its last life are still set */
	bool entry_set;   /* start at entry_pc with entry_r3 */
	/* Areas that the guest has registered, where KVM does not keep them: bits 1 << enum. */
	unsigned areas;
	/* Asked for by cpu_registers(), answered by the vCPU's thread. */
	bool registers_wanted, registers_known;
	struct kvm_registers registers;
	uint64_t entry_pc, entry_r3;
	uint32_t modes_version;  /* of the modes its LPCR has */
	int64_t timebase_offset; /* that KVM has for it */
	int host_thread;
	enum spapr_vcpu_state state;
	struct err create_error;
	pthread_cond_t changed; /* its thread waits here, and whatever waits for its creation */
	/* Any thread. */
	_Atomic bool attention; /* leave the guest and attend */
	_Atomic bool in_guest;
};

struct cpus {
	/* Constant after creation. */
	struct kvm_vm *vm;
	struct irqchip *irqchip;
	struct news *news;
	pthread_mutex_t *lock; /* the machine's */
	struct spapr *machine; /* for its handlers */
	struct vcpu *list;     /* in id order; ids are dense */
	uint32_t count;
	/* Answers an hcall, on the vCPU's own thread without the lock. */
	void (*on_hcall)(struct vcpu *vcpu, struct kvm_hcall *call);
	/* A load or store where no memory is: the same. False: there is no device either. */
	bool (*on_mmio)(
	    struct vcpu *vcpu, uint64_t address, uint8_t *data, uint32_t length, bool write);
	/* Called once by each vCPU thread: see struct spapr_config. May be NULL. */
	bool (*confine)(void *context, struct err *err);
	void *context;
	pthread_cond_t quiet; /* a vCPU thread has come to wait, or left the guest */
	/* Under lock. */
	bool stopped;              /* by the operator, ... */
	uint64_t stopped_ms;       /* ... since then: the monotonic clock, */
	uint64_t stopped_timebase; /* ... and the host's timebase */
	int64_t timebase_offset;   /* of the guest: it does not see the time it was stopped for */
	bool booting;              /* a boot or reset is at work */
	bool booted;               /* ... or has been */
	bool used;                 /* a vCPU was started since the last reset, or the first boot */
	bool ending;               /* threads shall return */
	bool finished; /* the guest is over: power-off, panic or failure; only a reset goes on */
	struct kvm_modes modes;
	uint32_t modes_version;
	struct err failure; /* why a vCPU could not go on */
	struct log_limit limit_stray, limit_timebase;
};

/* For so many vCPUs; false if memory is out. finish joins the threads; also after a failed init. */
bool cpus_init(struct cpus *cpus, uint32_t count, struct spapr *machine);
void cpus_finish(struct cpus *cpus);

/* Make the threads of count vCPUs from id first on, and their KVM vCPUs, if they do not exist. Of
 * several errors the first is set; err has none before. */
bool cpus_create(struct cpus *cpus, uint32_t first, uint32_t count, struct err *err);

/* Their core is attached: they wait for start-cpu. */
void cpus_attach(struct cpus *cpus, uint32_t first, uint32_t count);
/* Their core has left: they leave the guest and park. */
void cpus_detach(struct cpus *cpus, uint32_t first, uint32_t count);

/* How many of them run. */
uint32_t cpus_running(const struct cpus *cpus, uint32_t first, uint32_t count);

/* NULL if there is no such vCPU. */
struct vcpu *cpu_find(struct cpus *cpus, uint32_t id);

/* The vCPU that a guest names in a register; NULL if there is none, or if its core is not attached.
 */
struct vcpu *cpu_find_present(struct cpus *cpus, uint64_t id);

/* Start a stopped vCPU; false if it is not stopped. */
bool cpu_start(struct vcpu *vcpu, uint64_t pc, uint64_t r3);

/* Let a vCPU leave the guest and go back: that ends its H_CEDE. */
void cpu_prod(struct vcpu *vcpu);

/* stop-self, on the vCPU's own thread. */
void cpu_stop_self(struct vcpu *vcpu);

/* Wait until no vCPU thread is in the guest or in a handler, after stopped, booting or finished
 * was set. All are signalled first, then waited for. */
void cpus_hold(struct cpus *cpus);

/* Let the threads look again at what they may do. */
void cpus_release(struct cpus *cpus);

/* The guest is over: no vCPU goes back into it before a reset. */
void cpus_end_guest(struct cpus *cpus, enum spapr_news news);

/* All held: every vCPU stopped or absent, default modes, nothing of its last life left. False if
 * one could not be parked. */
bool cpus_reset(struct cpus *cpus, struct err *err);

/* Set modes that concern the whole partition; returns when no vCPU but the caller's runs with the
 * old ones. caller may be NULL. */
void cpus_set_modes(struct cpus *cpus, const struct kvm_modes *modes, struct vcpu *caller);

/* Registers of a vCPU that the guest runs, while the machine is held; else false. */
bool cpu_registers(struct vcpu *vcpu, struct kvm_registers *ret_registers);

#endif
