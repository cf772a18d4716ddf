/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mode.h - which kind of guest a host can run: from what its KVM offers and what was asked for to
 * one mode, or a refusal that names the remedy; and what the guest's processor then looks like.
 *
 * All of it is computed from its arguments, with no request to KVM, so it can be tested anywhere.
 */
#ifndef PAPRIKA_KVM_MODE_H
#define PAPRIKA_KVM_MODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* The values of --accel, --mmu, --irqchip and --cpu, in the order of their words there. */
enum kvm_accel { KVM_ACCEL_AUTO, KVM_ACCEL_HV, KVM_ACCEL_PR };
enum kvm_mmu { KVM_MMU_AUTO, KVM_MMU_RADIX, KVM_MMU_HASH };
enum kvm_irqchip_kind { KVM_IRQCHIP_AUTO, KVM_IRQCHIP_XICS, KVM_IRQCHIP_XIVE };
enum kvm_cpu { KVM_CPU_HOST, KVM_CPU_POWER8, KVM_CPU_POWER9, KVM_CPU_POWER10, KVM_CPU_POWER11 };

/* What is asked for, or what was chosen; then nothing is AUTO, and cpu is HOST unless the guest's
 * processor has another level than the host's. */
struct kvm_mode {
	enum kvm_accel accel;
	enum kvm_mmu mmu;
	enum kvm_irqchip_kind irqchip;
	enum kvm_cpu cpu;
};

struct kvm_facts;

/* Fill *ret_mode with the mode for a wish on a host; false: it cannot be had, err says why and
 * what can. */
bool kvm_mode_choose(const struct kvm_facts *facts, const struct kvm_mode *wish,
    struct kvm_mode *ret_mode, struct err *err);

/* The words of --accel, --mmu, --irqchip and --cpu. */
const char *kvm_accel_name(enum kvm_accel accel);
const char *kvm_mmu_name(enum kvm_mmu mmu);
const char *kvm_irqchip_name(enum kvm_irqchip_kind irqchip);
const char *kvm_cpu_name(enum kvm_cpu cpu);

/* Is only the first thread of each core in use? A POWER8 host runs guests only then. online: as in
 * /sys/devices/system/cpu/online; threads: of a core. */
bool kvm_mode_smt_is_off(const char *online, uint32_t threads);

/* A chosen mode as bits, for tables whose rows hold in some modes only. */
enum kvm_mode_bit {
	KVM_MODE_HV = 1 << 0,
	KVM_MODE_PR = 1 << 1,
	KVM_MODE_RADIX = 1 << 2,
	KVM_MODE_HASH = 1 << 3,
	KVM_MODE_XICS = 1 << 4,
	KVM_MODE_XIVE = 1 << 5,
};
unsigned kvm_mode_bits(const struct kvm_mode *mode);

/* Do all of these bits hold? */
bool kvm_mode_has(const struct kvm_mode *mode, unsigned bits);

/* A property of a processor's node: cells, in the processor's own byte order. */
enum { KVM_PROPERTY_CELLS = 32 };
struct kvm_property {
	const char *name; /* static */
	uint32_t count;   /* 0: without a value */
	uint32_t cells[KVM_PROPERTY_CELLS];
};

/* How a guest's processor is described to it (LoPAR, "CPU Node Properties"), as far as that depends
 * on the mode. */
enum { KVM_PROCESSOR_PROPERTIES = 8, KVM_VECTOR5_BYTES = 27, KVM_PA_FEATURES_BYTES = 128 };
struct kvm_processor {
	const char *name;      /* "POWER9"; static */
	uint32_t version;      /* cpu-version: a processor's, or an architecture's (0x0f......) */
	uint32_t architecture; /* the latter, if it differs from the host's; else 0 */
	struct kvm_property properties[KVM_PROCESSOR_PROPERTIES];
	size_t property_count;
	uint8_t pa_features[KVM_PA_FEATURES_BYTES];
	uint32_t pa_features_len; /* 0: not known */
	/* ibm,pi-features; all 0: there is none. */
	uint8_t pi_features[3];
	/* ibm,architecture-vec-5, byte n at n: the MMU's and the interrupt controller's. */
	uint8_t vector5[KVM_VECTOR5_BYTES];
	/* H_REGISTER_PROC_TBL: bits of its flags that name the kind of table. */
	uint64_t table_type;
	bool registers_table; /* makes that call: each kernel once, even one without a table */
	/* The guest reads its device tree and calls RTAS below this address. */
	uint64_t low_memory_end;
	/* The instruction a guest makes hypervisor calls with: `sc 1`, or what kvm-pr takes for it.
	 */
	uint32_t hcall_instruction;
};

/* hpt_order: log2 of the bytes of the hash page table; 0 with radix. */
void kvm_mode_describe(const struct kvm_facts *facts, const struct kvm_mode *mode,
    uint32_t hpt_order, struct kvm_processor *ret_processor);

/* log2 of the bytes of a hash page table for so much memory. */
uint32_t kvm_mode_hpt_order(const struct kvm_facts *facts, uint64_t memory_bytes);

#endif
