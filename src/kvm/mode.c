/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mode.c - see mode.h.
 *
 * A guest's kind is a choice of four: the flavour of KVM, its MMU, its interrupt controller and the
 * level of its processor. Which combinations exist follows from few rules. kvm-pr and processors
 * below ISA 3.0 know the hash MMU only, nested KVM knows radix only, XIVE needs kvm-hv on bare
 * metal and ISA 3.0. Each rule is a refusal in one of the functions below.
 */
#include "kvm/mode.h"

#include <stdio.h>
#include <string.h>

#include "kvm/kvm.h"

/* --- Names and levels --------------------------------------------------------------------------
 */

/* By enum kvm_cpu. */
static const struct {
	const char *word, *name;
	uint32_t architecture; /* logical processor version: PVR of an architecture level */
	uint32_t pvr;          /* of a processor of this level, for kvm-pr */
	uint32_t features;     /* bytes of ibm,pa-features that this level defines */
} levels[] = {
    [KVM_CPU_HOST] = {"host", "POWER9", 0, 0, KVM_PA_FEATURES_BYTES},
    [KVM_CPU_POWER8] = {"power8", "POWER8", 0x0f000004, 0x004d0200, 24},
    [KVM_CPU_POWER9] = {"power9", "POWER9", 0x0f000005, 0x004e1202, 66},
    [KVM_CPU_POWER10] = {"power10", "POWER10", 0x0f000006, 0x00801200, 74},
    [KVM_CPU_POWER11] = {"power11", "POWER11", 0x0f000007, 0x00821200, 74},
};

const char *kvm_accel_name(enum kvm_accel accel)
{
	static const char *const names[] = {"auto", "hv", "pr"};

	return names[accel];
}

const char *kvm_mmu_name(enum kvm_mmu mmu)
{
	static const char *const names[] = {"auto", "radix", "hash"};

	return names[mmu];
}

const char *kvm_irqchip_name(enum kvm_irqchip_kind irqchip)
{
	static const char *const names[] = {"auto", "xics", "xive"};

	return names[irqchip];
}

const char *kvm_cpu_name(enum kvm_cpu cpu)
{
	return levels[cpu].word;
}

unsigned kvm_mode_bits(const struct kvm_mode *mode)
{
	return (mode->accel == KVM_ACCEL_PR ? KVM_MODE_PR : KVM_MODE_HV) |
	       (mode->mmu == KVM_MMU_HASH ? KVM_MODE_HASH : KVM_MODE_RADIX) |
	       (mode->irqchip == KVM_IRQCHIP_XIVE ? KVM_MODE_XIVE : KVM_MODE_XICS);
}

bool kvm_mode_has(const struct kvm_mode *mode, unsigned bits)
{
	return (bits & ~kvm_mode_bits(mode)) == 0;
}

bool kvm_mode_smt_is_off(const char *online, uint32_t threads)
{
	unsigned first, last;
	int used;

	/* Numbers and ranges, separated by commas. */
	for (; sscanf(online, "%u%n", &first, &used) == 1; online += *online == ',') {
		online += used;
		last = first;
		if (sscanf(online, "-%u%n", &last, &used) == 1)
			online += used;
		if (threads > 1 && (first != last || first % threads != 0))
			return false;
	}
	return true;
}

/* --- The choice --------------------------------------------------------------------------------
 */

static bool mode_choose_accel(
    const struct kvm_facts *facts, enum kvm_accel wish, enum kvm_accel *ret_accel, struct err *err)
{
	*ret_accel = facts->hv ? KVM_ACCEL_HV : KVM_ACCEL_PR;
	if (wish != KVM_ACCEL_AUTO && wish != *ret_accel)
		return err_set(err, ERR_HOST,
		    wish == KVM_ACCEL_PR ? "modprobe kvm_pr, or use --accel hv"
		                         : "modprobe kvm_hv, or use --accel pr",
		    "this host offers no kvm-%s", kvm_accel_name(wish));
	/* Its interrupt controller needs what only kvm-hv gives it there. */
	if (!facts->hv && facts->bare_metal && facts->level >= KVM_CPU_POWER9)
		return err_set(err, ERR_HOST, "modprobe kvm_hv, and use --accel hv",
		    "kvm-pr runs no guests on bare-metal %s", facts->cpu_name);
	return true;
}

/* HOST is kept unless it has to differ. */
static bool mode_choose_cpu(
    const struct kvm_facts *facts, enum kvm_cpu wish, enum kvm_cpu *ret_cpu, struct err *err)
{
	char hint[64];

	*ret_cpu = wish == facts->level ? KVM_CPU_HOST : wish;
	/* kvm-pr has the page sizes of the processors it knows, and POWER9 is the last of them. */
	if (!facts->hv && facts->level > KVM_CPU_POWER9 && wish == KVM_CPU_HOST)
		*ret_cpu = KVM_CPU_POWER9;
	if (!facts->hv && wish > KVM_CPU_POWER9)
		return err_set(err, ERR_HOST, "use --cpu power9, or leave it out",
		    "kvm-pr runs no %s", levels[wish].name);
	if (wish <= facts->level)
		return true;
	snprintf(hint, sizeof hint, "use --cpu host or --cpu %s", levels[facts->level].word);
	return err_set(err, ERR_HOST, hint, "a guest on this %s host can be no %s",
	    levels[facts->level].name, levels[wish].name);
}

static enum kvm_cpu mode_level(const struct kvm_facts *facts, enum kvm_cpu cpu)
{
	return cpu == KVM_CPU_HOST ? facts->level : cpu;
}

static bool mode_choose_radix(const struct kvm_facts *facts, enum kvm_cpu cpu, struct err *err)
{
	if (mode_level(facts, cpu) < KVM_CPU_POWER9)
		return err_set(err, ERR_HOST,
		    facts->hash ? "use --mmu hash, or leave it out"
		                : "leave --cpu power8 out: it needs hash, which this host has not",
		    "a POWER8 has no radix MMU");
	return facts->radix || err_set(err, ERR_HOST, "use --mmu hash, or leave it out",
	                           "this host's KVM runs no radix guests");
}

static bool mode_choose_hash(const struct kvm_facts *facts, enum kvm_cpu cpu, struct err *err)
{
	bool old = mode_level(facts, cpu) < KVM_CPU_POWER9;

	if (facts->hash)
		return true;
	if (facts->nested)
		return err_set(err, ERR_HOST,
		    old ? "use --cpu power9 or later, or leave it out"
		        : "use --mmu radix, or leave it out",
		    "%snested KVM runs radix guests only", old ? "a POWER8 needs hash, and " : "");
	return err_set(err, ERR_HOST,
	    old ? "use --cpu power9, or boot the host with disable_radix"
	        : "use --mmu radix, or boot the host with disable_radix",
	    "this POWER9 is too old to run hash guests on a radix host");
}

static bool mode_choose_xive(
    const struct kvm_facts *facts, const struct kvm_mode *mode, struct err *err)
{
	static const char hint[] = "use --irqchip xics, or leave it out";

	if (mode_level(facts, mode->cpu) < KVM_CPU_POWER9)
		return err_set(err, ERR_HOST, hint, "a POWER8 has no XIVE");
	if (!facts->xive)
		return err_set(err, ERR_HOST, hint,
		    facts->bare_metal
		        ? "this host has no XIVE, or its firmware is older than skiboot 6.3"
		        : "guests have XIVE on bare-metal hosts only");
	/* Its event queues are of 64 KiB, and each has to be in one page of the host. */
	return facts->page_bytes >= 65536 ||
	       err_set(err, ERR_HOST, hint, "XIVE needs a host kernel with pages of 64 KiB");
}

bool kvm_mode_choose(const struct kvm_facts *facts, const struct kvm_mode *wish,
    struct kvm_mode *ret_mode, struct err *err)
{
	struct kvm_mode mode;

	if (!mode_choose_accel(facts, wish->accel, &mode.accel, err) ||
	    !mode_choose_cpu(facts, wish->cpu, &mode.cpu, err))
		return false;
	mode.mmu = wish->mmu;
	if (mode.mmu == KVM_MMU_AUTO)
		mode.mmu = facts->radix && mode_level(facts, mode.cpu) >= KVM_CPU_POWER9
		               ? KVM_MMU_RADIX
		               : KVM_MMU_HASH;
	if (!(mode.mmu == KVM_MMU_RADIX ? mode_choose_radix(facts, mode.cpu, err)
	                                : mode_choose_hash(facts, mode.cpu, err)))
		return false;
	mode.irqchip = wish->irqchip == KVM_IRQCHIP_AUTO ? KVM_IRQCHIP_XICS : wish->irqchip;
	if (mode.irqchip == KVM_IRQCHIP_XIVE && !mode_choose_xive(facts, &mode, err))
		return false;
	*ret_mode = mode;
	return true;
}

/* --- The guest's processor ---------------------------------------------------------------------
 */

static struct kvm_property *mode_add_property(struct kvm_processor *processor, const char *name)
{
	struct kvm_property *property = &processor->properties[processor->property_count++];

	*property = (struct kvm_property){.name = name};
	return property;
}

static void mode_add_cell(struct kvm_property *property, uint32_t cell)
{
	if (property->count < KVM_PROPERTY_CELLS)
		property->cells[property->count++] = cell;
}

static void mode_describe_radix(const struct kvm_facts *facts, struct kvm_processor *processor)
{
	struct kvm_property *encodings;

	if (facts->ap_encodings[0] != 0) {
		encodings = mode_add_property(processor, "ibm,processor-radix-AP-encodings");
		for (size_t i = 0; i < KVM_AP_ENCODINGS && facts->ap_encodings[i] != 0; i++)
			mode_add_cell(encodings, facts->ap_encodings[i]);
	}
	if (facts->slb_size != 0)
		mode_add_cell(mode_add_property(processor, "ibm,slb-size"), facts->slb_size);
	processor->vector5[24] = 0x40; /* radix */
	processor->vector5[26] = 0x40; /* the guest shoots down its own translations */
	processor->table_type = 0x04;
	processor->low_memory_end = UINT64_C(2) << 30;
}

/* Can a guest have pages of this size? kvm-hv maps a guest's page to one of the host, no smaller.
 */
static bool mode_has_page(const struct kvm_facts *facts, uint32_t shift)
{
	return shift != 0 && (!facts->smmu.real_sizes || UINT64_C(1) << shift <= facts->page_bytes);
}

/* ibm,segment-page-sizes: of each base size its log2, its encoding in the SLB, how many sizes a
 * page in such a segment can have, and of each the log2 and the encoding in the page table. */
static void mode_add_page_sizes(const struct kvm_facts *facts, struct kvm_processor *processor)
{
	struct kvm_property *sizes = mode_add_property(processor, "ibm,segment-page-sizes");

	for (size_t i = 0; i < KVM_PAGE_SIZES; i++) {
		uint32_t count = 0;

		if (!mode_has_page(facts, facts->smmu.sizes[i].shift))
			continue;
		for (size_t j = 0; j < KVM_PAGE_SIZES; j++)
			count += mode_has_page(facts, facts->smmu.sizes[i].pages[j].shift);
		mode_add_cell(sizes, facts->smmu.sizes[i].shift);
		mode_add_cell(sizes, facts->smmu.sizes[i].encoding);
		mode_add_cell(sizes, count);
		for (size_t j = 0; j < KVM_PAGE_SIZES; j++) {
			if (!mode_has_page(facts, facts->smmu.sizes[i].pages[j].shift))
				continue;
			mode_add_cell(sizes, facts->smmu.sizes[i].pages[j].shift);
			mode_add_cell(sizes, facts->smmu.sizes[i].pages[j].encoding);
		}
	}
}

static void mode_describe_hash(
    const struct kvm_facts *facts, uint32_t hpt_order, struct kvm_processor *processor)
{
	struct kvm_property *property = mode_add_property(processor, "ibm,pft-size");

	mode_add_cell(property, 0); /* NUMA node */
	mode_add_cell(property, hpt_order);
	mode_add_page_sizes(facts, processor);
	/* Segments of 256 MiB, and of 1 TiB; all ones stand for a size that there is not. */
	property = mode_add_property(processor, "ibm,processor-segment-sizes");
	mode_add_cell(property, 28);
	mode_add_cell(property, facts->smmu.terabyte_segments ? 40 : UINT32_MAX);
	mode_add_cell(property, UINT32_MAX);
	mode_add_cell(property, UINT32_MAX);
	mode_add_cell(mode_add_property(processor, "slb-size"), facts->smmu.slb_size);
	mode_add_cell(mode_add_property(processor, "ibm,slb-size"), facts->smmu.slb_size);
	/* Linux keeps below 1 GiB what it uses before the MMU is on. */
	processor->low_memory_end = UINT64_C(1) << 30;
}

/* ibm,pa-features of the host's processor, without what the level of the guest's does not define,
 * and without what KVM does not offer. Left out if the host does not have it: Linux then goes by
 * the processor version, while a bit that is wrongly 0 would take a feature away. */
static void mode_describe_features(
    const struct kvm_facts *facts, const struct kvm_mode *mode, struct kvm_processor *processor)
{
	enum {
		HEAD = 2, /* length, and type 0 */
		LARGE_PAGE_CI = HEAD + 1,
		LARGE_PAGE_CI_BIT = 0x20,
		TM = HEAD + 22,
		RADIX = HEAD + 40,
		DAWR1 = HEAD + 64,
		FIRST_BIT = 0x80,
	};
	uint8_t *features = processor->pa_features;
	uint32_t length = facts->pa_features_len, most = HEAD + levels[mode->cpu].features;

	if (length < HEAD + 1 || facts->pa_features[1] != 0 ||
	    length != (uint32_t)facts->pa_features[0] + HEAD)
		return;
	memcpy(features, facts->pa_features, sizeof processor->pa_features);
	if (length > most)
		memset(features + most, 0, length - most), length = most;
	features[0] = (uint8_t)(length - HEAD);
	features[TM] &= (uint8_t)~FIRST_BIT;
	if (!facts->dawr1)
		features[DAWR1] &= (uint8_t)~FIRST_BIT;
	if (mode->mmu == KVM_MMU_HASH) {
		features[RADIX] &= (uint8_t)~FIRST_BIT;
		/* Cache-inhibited pages of 64 KiB. */
		features[LARGE_PAGE_CI] &= (uint8_t)~LARGE_PAGE_CI_BIT;
		if (facts->page_bytes >= 65536)
			features[LARGE_PAGE_CI] |= LARGE_PAGE_CI_BIT;
	}
	processor->pa_features_len = length;
}

/* ibm,pi-features: one byte of type 0, whose bit says that threads of a core should not send each
 * other messages: kvm-hv has to emulate the instruction. */
static void mode_describe_platform(
    const struct kvm_facts *facts, const struct kvm_mode *mode, struct kvm_processor *processor)
{
	if (mode->accel == KVM_ACCEL_PR || mode_level(facts, mode->cpu) < KVM_CPU_POWER9)
		return;
	processor->pi_features[0] = 1;
	processor->pi_features[2] = 0x08;
}

void kvm_mode_describe(const struct kvm_facts *facts, const struct kvm_mode *mode,
    uint32_t hpt_order, struct kvm_processor *ret_processor)
{
	enum { SC_1 = 0x44000022, SC_1_OF_PR = 0x7c000268 };
	bool pr = mode->accel == KVM_ACCEL_PR;
	/* kvm-pr knows processors, not levels. The host's own may be newer than what it is held to,
	 * and then be none that kvm-pr knows. */
	uint32_t held_to = pr ? levels[facts->level].pvr : facts->architecture;

	*ret_processor = (struct kvm_processor){
	    .name = mode->cpu == KVM_CPU_HOST ? facts->cpu_name : levels[mode->cpu].name,
	    .version = facts->architecture != 0 ? held_to : facts->pvr,
	    .architecture = pr ? 0 : facts->architecture,
	    .hcall_instruction = pr ? SC_1_OF_PR : SC_1,
	};
	if (mode->cpu != KVM_CPU_HOST) {
		ret_processor->architecture = pr ? 0 : levels[mode->cpu].architecture;
		ret_processor->version =
		    pr ? levels[mode->cpu].pvr : levels[mode->cpu].architecture;
	}
	if (mode->mmu == KVM_MMU_HASH)
		mode_describe_hash(facts, hpt_order, ret_processor);
	else
		mode_describe_radix(facts, ret_processor);
	mode_describe_features(facts, mode, ret_processor);
	mode_describe_platform(facts, mode, ret_processor);
	ret_processor->registers_table = mode_level(facts, mode->cpu) >= KVM_CPU_POWER9;
	if (mode->irqchip == KVM_IRQCHIP_XIVE)
		ret_processor->vector5[23] = 0x40;
}

uint32_t kvm_mode_hpt_order(const struct kvm_facts *facts, uint64_t memory_bytes)
{
	enum { LEAST = 18, MOST = 46 };
	/* A group of the table holds eight entries of 16 bytes. With small pages the guest's linear
	 * mapping alone takes many, and kvm-hv puts one entry into each group, for real mode. */
	uint32_t order = 0, less = facts->page_bytes >= 65536 ? 7 : 5;

	while (order < 64 && UINT64_C(1) << order < memory_bytes)
		order++;
	order = order > less ? order - less : 0;
	return order < LEAST ? LEAST : order > MOST ? MOST : order;
}
