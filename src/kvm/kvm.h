/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvm.h - KVM on POWER: a virtual machine, its vCPUs, its interrupt sources.
 *
 * No KVM constant or struct appears here, so all rooms above build and run on any machine with a
 * fake behind these functions (tests/fake).
 *
 * Threads: a vCPU is created, run and set up by one thread, its own; kvm_vcpu_kick() may be
 * called by any. The functions that take a struct kvm_vm may be called by any thread.
 */
#ifndef PAPRIKA_KVM_H
#define PAPRIKA_KVM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "kvm/mode.h"
#include "mem/gmem.h"

enum { KVM_AP_ENCODINGS = 8, KVM_PAGE_SIZES = 8 };

/* What the host offers; kvm_vm_facts(). */
struct kvm_facts {
	int api_version;
	bool hv;    /* kvm-hv (else kvm-pr) */
	bool radix; /* KVM_CAP_PPC_MMU_RADIX: the truth. KVM_CAP_PPC_ALLOC_HTAB lies when nested. */
	bool hash;  /* can run hash guests; KVM_CAP_PPC_MMU_HASH_V3 tells of some hosts only */
	bool nested;           /* kvm-hv on another hypervisor */
	bool bare_metal;       /* the host runs on none */
	uint32_t host_threads; /* of a core of the host; 0: not known */
	bool xics;             /* in-kernel XICS */
	bool xive;             /* in-kernel XIVE native device */
	bool ail3;             /* interrupts with translation on (H_SET_MODE AIL 3) */
	bool dawr1;            /* a second data watchpoint */
	bool papr, rtas_tokens, enable_hcall, immediate_exit, one_reg, cpu_char, sync_mmu;
	uint32_t smt_modes; /* bit set: 1, 2, 4, 8 threads per core possible */
	uint32_t max_vcpus, max_vcpu_id, recommended_vcpus;
	uint32_t memory_slots;
	uint32_t page_bytes; /* of the host */

	uint32_t pvr;
	enum kvm_cpu level;                      /* of the host's processor; never HOST */
	uint32_t architecture;                   /* that the host itself is held to, or 0 */
	const char *cpu_name;                    /* "POWER9"; static */
	uint32_t ap_encodings[KVM_AP_ENCODINGS]; /* ibm,processor-radix-AP-encodings; 0 ends */
	uint64_t cpu_character, cpu_behaviour;   /* H_GET_CPU_CHARACTERISTICS */
	/* From the host's own device tree; 0 or length 0 where it does not say. */
	uint64_t timebase_hz, clock_hz;
	struct {
		uint32_t size, line_size, block_size, sets;
	} dcache, icache;
	uint32_t slb_size;
	/* KVM_PPC_GET_SMMU_INFO: page sizes of a hash guest; shift 0 stands for none. */
	struct {
		bool real_sizes;        /* a guest's page is no larger than the host's behind it */
		bool terabyte_segments; /* beside those of 256 MiB */
		uint32_t slb_size;
		struct {
			uint32_t shift, encoding; /* of the base size, in the SLB */
			struct {
				uint32_t shift, encoding; /* of a page, in the page table */
			} pages[KVM_PAGE_SIZES];
		} sizes[KVM_PAGE_SIZES];
	} smmu;
	uint8_t pa_features[KVM_PA_FEATURES_BYTES]; /* ibm,pa-features as the host has it */
	uint32_t pa_features_len;
};

struct kvm_vm;
struct kvm_vcpu;

/* One line of `paprika check`. */
enum kvm_check_result { KVM_CHECK_OK, KVM_CHECK_WARN, KVM_CHECK_FAIL };
struct kvm_check {
	const char *name; /* static */
	enum kvm_check_result result;
	char value[96];
	const char *remedy; /* static; NULL if ok */
};

/* Fill up to max lines about this host; returns how many. Never fails: it reports. */
size_t kvm_check(struct kvm_check *lines, size_t max);

/* Create a VM for a mode, with kvm_fd, an open /dev/kvm that is taken over, or if that is 0 with
 * one opened here. An error if it is something else (ERR_USAGE), or if the host lacks what such a
 * guest needs. */
struct kvm_vm *kvm_vm_create(int kvm_fd, const struct kvm_mode *wish, struct err *err);
void kvm_vm_destroy(struct kvm_vm *vm);
const struct kvm_facts *kvm_vm_facts(const struct kvm_vm *vm);
const struct kvm_mode *kvm_vm_mode(const struct kvm_vm *vm); /* the one that was chosen */

/* The guest's processor; complete when the first vCPU has been made. */
const struct kvm_processor *kvm_vm_processor(const struct kvm_vm *vm);

/* Put bytes of guest memory at this guest-physical address, as memory slot number `slot`. Then take
 * the slot away again: no vCPU reaches it after that. Negative errno; it is there then. */
bool kvm_vm_add_memory(struct kvm_vm *vm, uint32_t slot, const struct gmem *gmem, uint64_t address,
    uint64_t bytes, struct err *err);
int kvm_vm_remove_memory(struct kvm_vm *vm, uint32_t slot);

/* threads per core, before any vCPU; 1 needs nothing. */
bool kvm_vm_set_threads(struct kvm_vm *vm, uint32_t threads, struct err *err);

/* The MMU's own memory, once, behind the boot memory and before any vCPU. memory_bytes: of all that
 * the guest can get. */
bool kvm_vm_create_mmu(struct kvm_vm *vm, uint64_t memory_bytes, struct err *err);

/* Forget the guest's translations: at boot and reset, with no vCPU in the guest. */
bool kvm_vm_reset_mmu(struct kvm_vm *vm, struct err *err);

/* Memory slots that this room keeps for itself, the last of them. */
enum { KVM_OWN_SLOTS = 3 };

/* The in-kernel interrupt controller for servers 0 .. servers-1; once, before any vCPU. */
struct kvm_xics_tokens {
	uint32_t set_xive, get_xive, int_off, int_on;
};
struct kvm_irqchip_config {
	uint32_t servers;
	struct kvm_xics_tokens tokens; /* XICS: its RTAS services are called by these */
	/* XIVE: sources 0 .. servers-1 are for interrupts between processors, and device_count of
	 * them (or none) from device_first on for devices. Each has two pages of the host's size,
	 * at esb_address + 2 * its number pages: to trigger it, and to manage it. Other sources
	 * have none. The page of a vCPU's own presenter is at tima_address. No source has the
	 * number sources_end, or a higher one. */
	uint32_t sources_end, device_first, device_count;
	uint64_t esb_address, tima_address;
};
bool kvm_vm_create_irqchip(
    struct kvm_vm *vm, const struct kvm_irqchip_config *config, struct err *err);

/* Forget what the guest has set up there, as far as kvm_irq_reset() does not: with all vCPUs out of
 * the guest. */
bool kvm_irqchip_reset(struct kvm_vm *vm, struct err *err);

/* Let KVM answer hcall nr itself; false if this KVM cannot (no error: user space answers). */
bool kvm_vm_enable_hcall(struct kvm_vm *vm, uint64_t nr);

/* (Re)set an edge interrupt source: masked, nothing pending, aimed at server. */
bool kvm_irq_reset(struct kvm_vm *vm, uint32_t irq, uint32_t server, struct err *err);

/* Send one edge on an interrupt source; negative errno on failure. XIVE: whether or not the guest
 * has ended the one before. */
int kvm_irq_pulse(struct kvm_vm *vm, uint32_t irq);

/* Interrupts and notifications of devices that pass paprika by; negative errno on failure. While it
 * is joined, a write to the eventfd sends one edge on the interrupt source. A store of the guest's
 * to this address, of any length and value, makes the eventfd readable and causes no exit. */
int kvm_join_irq(struct kvm_vm *vm, uint32_t irq, int eventfd);
int kvm_part_irq(struct kvm_vm *vm, uint32_t irq, int eventfd);
int kvm_join_doorbell(struct kvm_vm *vm, uint64_t address, int eventfd);
int kvm_part_doorbell(struct kvm_vm *vm, uint64_t address, int eventfd);

/* A table of translations for DMA in pages of 4 KiB, which the guest fills by hypervisor calls that
 * KVM answers; once. */
bool kvm_vm_create_tce_table(
    struct kvm_vm *vm, uint32_t liobn, uint64_t window_bytes, struct err *err);

/* XIVE, for what a guest asks for by hypervisor calls; negative errno. All numbers have been
 * checked: the source exists, the server's vCPU is connected, the priority is one of 0 .. 6. */
enum { KVM_XIVE_PRIORITIES = 7, KVM_XIVE_QUEUE_BYTES = 65536 };
struct kvm_xive_target {
	uint32_t server, priority; /* whose queue; it is set */
	uint32_t number;           /* that the guest finds there: 31 bits */
};
/* Aim a source at a queue. KVM keeps count of how often that has been done to a queue, by another
 * source or with another number, and after this many times takes another queue. */
enum { KVM_XIVE_AIMS = KVM_XIVE_QUEUE_BYTES / 4 - 2 };
int kvm_xive_aim(struct kvm_vm *vm, uint32_t irq, const struct kvm_xive_target *target);
/* Aim it nowhere; target is where it is aimed now. */
int kvm_xive_mask(struct kvm_vm *vm, uint32_t irq, const struct kvm_xive_target *target);
/* A queue of KVM_XIVE_QUEUE_BYTES in guest memory, aligned; NULL: none. After a failure there is
 * none, or the one before. */
int kvm_xive_set_queue(
    struct kvm_vm *vm, uint32_t server, uint32_t priority, const uint64_t *address);
/* Return when what the source has sent has reached the queue. */
int kvm_xive_sync(struct kvm_vm *vm, uint32_t irq);
/* A load from the page that manages the source, at 0, 0x800, 0xc00, 0xd00, 0xe00 or 0xf00. */
uint64_t kvm_xive_load(const struct kvm_vm *vm, uint32_t irq, uint32_t offset);

/* H_REGISTER_PROC_TBL: table is base | log2 size - 12, gtse as asked for. table 0: none, which is
 * all that a hash guest can have. Negative errno. */
int kvm_vm_set_process_table(struct kvm_vm *vm, uint64_t table, bool gtse);

/* An entry of a hash page table that KVM leaves to user space (kvm-pr). False: no such entry. Any
 * thread; the guest may write to it meanwhile. */
bool kvm_hpt_read(const struct kvm_vm *vm, uint64_t index, uint64_t ret_entry[2]);

/* Create the vCPU with this id, connected to the irqchip. KVM cannot delete one: keep it. After a
 * failure it may be tried again. One at a time. */
struct kvm_vcpu *kvm_vcpu_create(struct kvm_vm *vm, uint32_t id, struct err *err);
void kvm_vcpu_destroy(struct kvm_vcpu *vcpu); /* its memory, not its id */

/* Keep a vCPU that cannot be used now: the next kvm_vcpu_create() with its id returns it. KVM
 * would not make another. Not at the same time as kvm_vcpu_create(). */
void kvm_vcpu_set_aside(struct kvm_vcpu *vcpu);

enum kvm_exit {
	KVM_RAN_HCALL,       /* exit->hcall; the reply goes back with the next run */
	KVM_RAN_MMIO,        /* exit->mmio: an access to an address without RAM */
	KVM_RAN_INTERRUPTED, /* kicked, or a signal */
	KVM_RAN_FAILED,      /* exit->failure tells; the vCPU cannot go on */
};

enum { KVM_MMIO_BYTES = 8 };

struct kvm_hcall {
	uint64_t nr;
	uint64_t args[9]; /* r4 .. r12; outputs are written over inputs */
	uint64_t ret;     /* r3 */
};

struct kvm_exit_info {
	struct kvm_hcall hcall;
	struct {
		uint64_t address;
		uint32_t length; /* at most KVM_MMIO_BYTES */
		bool write;
		/* As they stand in the guest's memory. Of a load: the answer, at first all ones. */
		uint8_t data[KVM_MMIO_BYTES];
	} mmio;
	char failure[160];
};

/*
 * Enter the guest until it exits to user space. The answer to the previous exit, exit->hcall.ret
 * and .args, or exit->mmio.data of a load, is carried back on entry.
 */
enum kvm_exit kvm_vcpu_run(struct kvm_vcpu *vcpu, struct kvm_exit_info *exit);

/* Make vcpu leave the guest, or not enter it, once. Any thread. */
void kvm_vcpu_kick(struct kvm_vcpu *vcpu);
/* Clear the effect of kicks so far: on the vCPU's own thread, before it looks for the reason. */
void kvm_vcpu_unkick(struct kvm_vcpu *vcpu);

/* The state of H_SET_MODE that belongs to the partition and has to be on every vCPU. */
struct kvm_modes {
	bool little_endian_interrupts; /* LPCR[ILE] */
	uint8_t ail;                   /* LPCR[AIL]: 0 or 3 */
};

/*
 * Finish the hcall the vCPU left the guest with, then set it up to start at pc in real mode,
 * 64-bit big-endian, with r3, the other general registers zero, and the given modes. Floating-
 * point and vector registers keep what they had. Like kvm_vcpu_park(), it undoes kicks so far.
 */
bool kvm_vcpu_enter_at(struct kvm_vcpu *vcpu, uint64_t pc, uint64_t r3,
    const struct kvm_modes *modes, struct err *err);

/* Finish the hcall, forget VPA, SLB shadow and trace log areas, reset the interrupt presenter:
 * for a vCPU that is parked, and at machine reset. */
bool kvm_vcpu_park(struct kvm_vcpu *vcpu, struct err *err);

bool kvm_vcpu_set_modes(struct kvm_vcpu *vcpu, const struct kvm_modes *modes, struct err *err);

/* The host's timebase, in ticks. */
uint64_t kvm_timebase(void);

/* Set what the guest's timebase is ahead of the host's, in ticks. KVM rounds up to a multiple of
 * 2^24 (33 ms at 512 MHz). The vCPU's own thread, out of the guest; the same for all vCPUs. */
bool kvm_vcpu_set_timebase_offset(struct kvm_vcpu *vcpu, int64_t offset, struct err *err);

/* H_SET_SPRG0: while the hcall waits for its answer, whose registers stay as they are. */
bool kvm_vcpu_set_sprg0(struct kvm_vcpu *vcpu, uint64_t value);

/* Registers for the operator: read by the vCPU's own thread, out of the guest. */
struct kvm_registers {
	uint64_t pc, msr, lr, ctr;
	uint64_t srr0, srr1; /* PC and MSR before the last interrupt */
};
bool kvm_vcpu_registers(struct kvm_vcpu *vcpu, struct kvm_registers *ret_registers);

/* All KVM requests of this program and which threads make them, for the sandbox. */
enum kvm_ioctl_when {
	KVM_AT_SETUP,    /* never again once the machine has been made */
	KVM_BY_OPERATOR, /* by the operator's thread, or one that makes its vCPU */
	KVM_BY_VCPU,     /* by a vCPU's thread too, once the vCPU is made */
	KVM_FOR_DEVICES, /* the same, if there is a PCI bus */
};
struct kvm_ioctl_use {
	const char *name;
	unsigned long request;
	enum kvm_ioctl_when when;
	const char *reason;
};
extern const struct kvm_ioctl_use kvm_ioctls[];
extern const size_t kvm_ioctl_count;

#endif
