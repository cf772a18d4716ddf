/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_mode.c - which kinds of guests which hosts can run, and how their processors are described.
 *
 * The hosts are those whose capabilities were read from emulated machines, and POWER8, whose are
 * known from Linux' source. Each wish has one answer, or one refusal that names the remedy.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kvm/kvm.h"

enum { K4 = 4096, K64 = 65536 };

enum host {
	NESTED_P9,
	NESTED_P10,
	NESTED_P9_4K,
	BARE_P8,
	BARE_P9_OLD, /* DD2.0 */
	BARE_P9,
	BARE_P9_HASH,
	BARE_P10,
	BARE_P10_4K,
	BARE_P11,
	PR_P8,
	PR_P9,
	PR_P10,
	PR_BARE_P8,
	PR_BARE_P9,
	HOSTS
};

static const struct kvm_facts hosts[HOSTS] = {
    [NESTED_P9] = {.hv = true, .radix = true, .nested = true, .page_bytes = K64, .level = 2},
    [NESTED_P10] = {.hv = true, .radix = true, .nested = true, .page_bytes = K64, .level = 3},
    [NESTED_P9_4K] = {.hv = true, .radix = true, .nested = true, .page_bytes = K4, .level = 2},
    [BARE_P8] = {.hv = true, .hash = true, .bare_metal = true, .page_bytes = K64, .level = 1},
    [BARE_P9_OLD] = {.hv = true,
        .radix = true,
        .xive = true,
        .bare_metal = true,
        .page_bytes = K64,
        .level = 2},
    [BARE_P9] = {.hv = true,
        .radix = true,
        .hash = true,
        .xive = true,
        .bare_metal = true,
        .page_bytes = K64,
        .level = 2},
    [BARE_P9_HASH] =
        {.hv = true, .hash = true, .xive = true, .bare_metal = true, .page_bytes = K64, .level = 2},
    [BARE_P10] = {.hv = true,
        .radix = true,
        .hash = true,
        .xive = true,
        .bare_metal = true,
        .page_bytes = K64,
        .level = 3},
    [BARE_P10_4K] = {.hv = true,
        .radix = true,
        .hash = true,
        .xive = true,
        .bare_metal = true,
        .page_bytes = K4,
        .level = 3},
    [BARE_P11] = {.hv = true,
        .radix = true,
        .hash = true,
        .xive = true,
        .bare_metal = true,
        .page_bytes = K64,
        .level = 4},
    [PR_P8] = {.hash = true, .page_bytes = K64, .level = 1},
    [PR_P9] = {.hash = true, .page_bytes = K64, .level = 2},
    [PR_P10] = {.hash = true, .page_bytes = K64, .level = 3},
    [PR_BARE_P8] = {.hash = true, .bare_metal = true, .page_bytes = K64, .level = 1},
    [PR_BARE_P9] = {.hash = true, .bare_metal = true, .page_bytes = K64, .level = 2},
};

#define ANY                                                                                        \
	{                                                                                          \
		KVM_ACCEL_AUTO                                                                     \
	}

struct row {
	enum host host;
	struct kvm_mode wish;
	const char *answer; /* "accel mmu irqchip cpu", or the beginning of a refusal */
	const char *remedy; /* of a refusal */
};

#define RADIX .mmu = KVM_MMU_RADIX
#define HASH .mmu = KVM_MMU_HASH
#define XICS .irqchip = KVM_IRQCHIP_XICS
#define XIVE .irqchip = KVM_IRQCHIP_XIVE
#define CPU(n) .cpu = KVM_CPU_POWER##n
#define NO_RADIX "this host's KVM runs no radix guests", "use --mmu hash, or leave it out"
#define NO_RADIX_8 "a POWER8 has no radix MMU", "use --mmu hash, or leave it out"
#define NO_RADIX_8_NOR_HASH                                                                        \
	"a POWER8 has no radix MMU",                                                               \
	    "leave --cpu power8 out: it needs hash, which this host has not"
#define NESTED_HASH "nested KVM runs radix guests only", "use --mmu radix, or leave it out"
#define NESTED_8                                                                                   \
	"a POWER8 needs hash, and nested KVM runs radix guests only",                              \
	    "use --cpu power9 or later, or leave it out"
#define NO_XIVE "guests have XIVE on bare-metal hosts only", "use --irqchip xics, or leave it out"
#define NO_XIVE_8 "a POWER8 has no XIVE", "use --irqchip xics, or leave it out"
#define NO_XIVE_4K                                                                                 \
	"XIVE needs a host kernel with pages of 64 KiB", "use --irqchip xics, or leave it out"

static const struct row rows[] = {
    /* What a guest is if nothing is said. */
    {NESTED_P9, ANY, "hv radix xics host", NULL},
    {NESTED_P10, ANY, "hv radix xics host", NULL},
    {NESTED_P9_4K, ANY, "hv radix xics host", NULL},
    {BARE_P8, ANY, "hv hash xics host", NULL},
    {BARE_P9_OLD, ANY, "hv radix xics host", NULL},
    {BARE_P9, ANY, "hv radix xics host", NULL},
    {BARE_P9_HASH, ANY, "hv hash xics host", NULL},
    {BARE_P10, ANY, "hv radix xics host", NULL},
    {BARE_P11, ANY, "hv radix xics host", NULL},
    {PR_P8, ANY, "pr hash xics host", NULL},
    {PR_P9, ANY, "pr hash xics host", NULL},
    {PR_P10, ANY, "pr hash xics power9", NULL},
    {PR_BARE_P8, ANY, "pr hash xics host", NULL},
    {PR_BARE_P9, ANY, "kvm-pr runs no guests on bare-metal", "modprobe kvm_hv, and use --accel hv"},
    /* The MMU. */
    {NESTED_P9, {RADIX}, "hv radix xics host", NULL},
    {NESTED_P9, {HASH}, NESTED_HASH},
    {BARE_P8, {RADIX}, NO_RADIX_8},
    {BARE_P8, {HASH}, "hv hash xics host", NULL},
    {BARE_P9_OLD, {HASH}, "this POWER9 is too old to run hash guests on a radix host",
        "use --mmu radix, or boot the host with disable_radix"},
    {BARE_P9, {HASH}, "hv hash xics host", NULL},
    {BARE_P9_HASH, {RADIX}, NO_RADIX},
    {BARE_P10, {HASH}, "hv hash xics host", NULL},
    {PR_P8, {RADIX}, NO_RADIX_8},
    {PR_P9, {RADIX}, NO_RADIX},
    {PR_P9, {HASH}, "pr hash xics host", NULL},
    /* The interrupt controller. */
    {NESTED_P9, {XICS}, "hv radix xics host", NULL},
    {NESTED_P9, {XIVE}, NO_XIVE},
    {BARE_P8, {XIVE}, NO_XIVE_8},
    {BARE_P9_OLD, {XIVE}, "hv radix xive host", NULL},
    {BARE_P9, {HASH, XIVE}, "hv hash xive host", NULL},
    {BARE_P9_HASH, {XIVE}, "hv hash xive host", NULL},
    {BARE_P10, {XICS}, "hv radix xics host", NULL},
    {BARE_P10, {RADIX, XIVE}, "hv radix xive host", NULL},
    {BARE_P10_4K, {XIVE}, NO_XIVE_4K},
    {PR_P8, {XIVE}, NO_XIVE_8},
    {PR_P9, {XIVE}, NO_XIVE},
    /* The processor. */
    {NESTED_P9, {CPU(9)}, "hv radix xics host", NULL},
    {NESTED_P10, {CPU(9)}, "hv radix xics power9", NULL},
    {NESTED_P10, {CPU(8)}, NESTED_8},
    {NESTED_P10, {CPU(8), HASH}, NESTED_8},
    {NESTED_P10, {CPU(8), RADIX}, NO_RADIX_8_NOR_HASH},
    {NESTED_P9, {CPU(10)}, "a guest on this POWER9 host can be no POWER10",
        "use --cpu host or --cpu power9"},
    {BARE_P8, {CPU(8)}, "hv hash xics host", NULL},
    {BARE_P8, {CPU(9)}, "a guest on this POWER8 host can be no POWER9",
        "use --cpu host or --cpu power8"},
    {BARE_P9_OLD, {CPU(8)}, "this POWER9 is too old to run hash guests on a radix host",
        "use --cpu power9, or boot the host with disable_radix"},
    {BARE_P10, {CPU(8)}, "hv hash xics power8", NULL},
    {BARE_P10, {CPU(8), XIVE}, NO_XIVE_8},
    {BARE_P10, {CPU(8), RADIX}, NO_RADIX_8},
    {BARE_P10, {CPU(9)}, "hv radix xics power9", NULL},
    {BARE_P10, {CPU(9), HASH, XIVE}, "hv hash xive power9", NULL},
    {BARE_P10, {CPU(10)}, "hv radix xics host", NULL},
    {BARE_P10, {CPU(11)}, "a guest on this POWER10 host can be no POWER11",
        "use --cpu host or --cpu power10"},
    {BARE_P11, {CPU(10)}, "hv radix xics power10", NULL},
    {PR_P9, {CPU(8)}, "pr hash xics power8", NULL},
    {PR_P10, {CPU(9)}, "pr hash xics power9", NULL},
    {PR_P10, {CPU(10)}, "kvm-pr runs no POWER10", "use --cpu power9, or leave it out"},
    /* The flavour. */
    {NESTED_P9, {.accel = KVM_ACCEL_HV}, "hv radix xics host", NULL},
    {NESTED_P9, {.accel = KVM_ACCEL_PR}, "this host offers no kvm-pr",
        "modprobe kvm_pr, or use --accel hv"},
    {PR_P9, {.accel = KVM_ACCEL_HV}, "this host offers no kvm-hv",
        "modprobe kvm_hv, or use --accel pr"},
    {PR_P9, {.accel = KVM_ACCEL_PR}, "pr hash xics host", NULL},
};

static struct kvm_facts facts_of(enum host host)
{
	static const char *const names[] = {"", "POWER8", "POWER9", "POWER10", "POWER11"};
	struct kvm_facts facts = hosts[host];

	facts.cpu_name = names[facts.level];
	facts.pvr = 0x004e1202;
	return facts;
}

static void each_wish_has_its_answer(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct row *row = &rows[i];
		struct kvm_facts facts = facts_of(row->host);
		struct kvm_mode mode = {KVM_ACCEL_AUTO};
		struct err err = {0};
		char got[400];

		if (kvm_mode_choose(&facts, &row->wish, &mode, &err))
			snprintf(got, sizeof got, "%s %s %s %s", kvm_accel_name(mode.accel),
			    kvm_mmu_name(mode.mmu), kvm_irqchip_name(mode.irqchip),
			    kvm_cpu_name(mode.cpu));
		else
			snprintf(got, sizeof got, "%s", err.message);
		if (strncmp(got, row->answer, strlen(row->answer)) != 0)
			fail_msg("row %zu: %s, and not %s", i, got, row->answer);
		assert_int_equal(err.class, row->remedy != NULL ? ERR_HOST : ERR_NONE);
		assert_string_equal(err.hint, row->remedy != NULL ? row->remedy : "");
	}
}

/* Whatever is asked for: an answer without AUTO that obeys the rules, or a refusal. */
static void every_wish_on_every_host(void **state)
{
	unsigned possible = 0;

	(void)state;
	for (unsigned n = 0; n < HOSTS * 3 * 3 * 3 * 5; n++) {
		struct kvm_facts facts = facts_of(n % HOSTS);
		const struct kvm_mode wish = {
		    n / HOSTS % 3, n / HOSTS / 3 % 3, n / HOSTS / 9 % 3, n / HOSTS / 27};
		struct kvm_mode mode = {KVM_ACCEL_AUTO}, again;
		struct err err = {0};
		unsigned level, bits;

		if (!kvm_mode_choose(&facts, &wish, &mode, &err)) {
			assert_true(err.class == ERR_HOST && err.hint[0] != '\0');
			assert_true(mode.accel == KVM_ACCEL_AUTO);
			continue;
		}
		possible++;
		level = mode.cpu == KVM_CPU_HOST ? facts.level : mode.cpu;
		assert_true(wish.accel == KVM_ACCEL_AUTO || wish.accel == mode.accel);
		assert_true(wish.mmu == KVM_MMU_AUTO || wish.mmu == mode.mmu);
		assert_true(wish.irqchip == KVM_IRQCHIP_AUTO || wish.irqchip == mode.irqchip);
		assert_true(wish.cpu == KVM_CPU_HOST || wish.cpu == level);
		assert_true(mode.mmu == KVM_MMU_RADIX ? facts.radix && level >= 2 : facts.hash);
		assert_true(mode.irqchip == KVM_IRQCHIP_XICS || (facts.xive && level >= 2));
		assert_true(level <= facts.level);
		bits = kvm_mode_bits(&mode);
		assert_int_equal(__builtin_popcount(bits), 3);
		/* What was chosen can be asked for. */
		assert_true(kvm_mode_choose(&facts, &mode, &again, &err));
		assert_memory_equal(&again, &mode, sizeof mode);
	}
	assert_true(possible > HOSTS);
}

static void smt_is_off_if_only_first_threads_are_in_use(void **state)
{
	static const struct {
		const char *online;
		uint32_t threads;
		bool off;
	} lists[] = {
	    {"0,8,16,24\n", 8, true},
	    {"0\n", 8, true},
	    {"8-8\n", 8, true},
	    {"0-7\n", 8, false},
	    {"0,8-9\n", 8, false},
	    {"0,4\n", 8, false},
	    {"0,4\n", 4, true},
	    {"0-127\n", 1, true},
	    {"0-3\n", 0, true}, /* not known */
	    {"", 8, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
		assert_int_equal(
		    kvm_mode_smt_is_off(lists[i].online, lists[i].threads), lists[i].off);
}

/* --- The processor -----------------------------------------------------------------------------
 */

static struct kvm_facts described_facts(void)
{
	struct kvm_facts facts = {
	    .hv = true,
	    .radix = true,
	    .hash = true,
	    .xive = true,
	    .dawr1 = true,
	    .page_bytes = K64,
	    .level = KVM_CPU_POWER10,
	    .cpu_name = "POWER10",
	    .pvr = 0x00801200,
	    .ap_encodings = {0xc, 0xa0000010},
	    .slb_size = 32,
	    .smmu = {.real_sizes = true,
	        .terabyte_segments = true,
	        .slb_size = 32,
	        .sizes = {{12, 0, {{12, 0}, {24, 0x38}}}, {16, 0x110, {{16, 1}, {24, 8}}},
	            {24, 0x100, {{24, 0}}}}},
	    .pa_features_len = 76,
	};

	memset(facts.pa_features, 0xff, sizeof facts.pa_features);
	facts.pa_features[0] = 74;
	facts.pa_features[1] = 0;
	return facts;
}

static struct kvm_processor describe(const struct kvm_facts *facts, const struct kvm_mode *mode)
{
	struct kvm_processor processor;

	kvm_mode_describe(facts, mode, mode->mmu == KVM_MMU_HASH ? 24 : 0, &processor);
	return processor;
}

static void has_property(
    const struct kvm_processor *processor, const char *name, size_t count, const uint32_t *cells)
{
	for (size_t i = 0; i < processor->property_count; i++) {
		const struct kvm_property *property = &processor->properties[i];

		if (strcmp(property->name, name) != 0)
			continue;
		assert_non_null(cells);
		assert_int_equal(property->count, count);
		assert_memory_equal(property->cells, cells, count * sizeof cells[0]);
		return;
	}
	assert_null(cells);
}
#define HAS(processor, name, ...)                                                                  \
	has_property(processor, name, sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t),        \
	    (uint32_t[]){__VA_ARGS__})
#define HAS_NO(processor, name) has_property(processor, name, 0, NULL)

static void a_radix_guest_is_told_of_its_page_sizes(void **state)
{
	const struct kvm_mode mode = {KVM_ACCEL_HV, KVM_MMU_RADIX, KVM_IRQCHIP_XICS, KVM_CPU_HOST};
	struct kvm_facts facts = described_facts();
	struct kvm_processor processor = describe(&facts, &mode);

	(void)state;
	assert_string_equal(processor.name, "POWER10");
	assert_int_equal(processor.version, 0x00801200);
	assert_int_equal(processor.architecture, 0);
	HAS(&processor, "ibm,processor-radix-AP-encodings", 0xc, 0xa0000010);
	HAS(&processor, "ibm,slb-size", 32);
	HAS_NO(&processor, "ibm,pft-size");
	HAS_NO(&processor, "ibm,segment-page-sizes");
	assert_int_equal(processor.vector5[23], 0);
	assert_int_equal(processor.vector5[24], 0x40);
	assert_int_equal(processor.vector5[26], 0x40);
	assert_int_equal(processor.table_type, 4);
	assert_true(processor.low_memory_end == UINT64_C(2) << 30);
	assert_int_equal(processor.hcall_instruction, 0x44000022);
}

static void a_hash_guest_is_told_of_its_table_and_segments(void **state)
{
	const struct kvm_mode mode = {KVM_ACCEL_HV, KVM_MMU_HASH, KVM_IRQCHIP_XIVE, KVM_CPU_HOST};
	struct kvm_facts facts = described_facts();
	struct kvm_processor processor = describe(&facts, &mode);

	(void)state;
	HAS(&processor, "ibm,pft-size", 0, 24);
	HAS(&processor, "ibm,segment-page-sizes", 12, 0, 1, 12, 0, 16, 0x110, 1, 16, 1);
	HAS(&processor, "ibm,processor-segment-sizes", 28, 40, UINT32_MAX, UINT32_MAX);
	HAS(&processor, "slb-size", 32);
	HAS(&processor, "ibm,slb-size", 32);
	HAS_NO(&processor, "ibm,processor-radix-AP-encodings");
	assert_int_equal(processor.vector5[23], 0x40);
	assert_int_equal(processor.vector5[24], 0);
	assert_int_equal(processor.vector5[26], 0);
	assert_int_equal(processor.table_type, 0);
	assert_true(processor.low_memory_end == UINT64_C(1) << 30);
	/* A host's page is no larger than this, so neither is a guest's. */
	facts.page_bytes = K4;
	processor = describe(&facts, &mode);
	HAS(&processor, "ibm,segment-page-sizes", 12, 0, 1, 12, 0);
	/* kvm-pr has no such limit. */
	facts.smmu.real_sizes = false;
	facts.smmu.terabyte_segments = false;
	processor = describe(&facts, &mode);
	HAS(&processor, "ibm,segment-page-sizes", 12, 0, 2, 12, 0, 24, 0x38, 16, 0x110, 2, 16, 1,
	    24, 8, 24, 0x100, 1, 24, 0);
	HAS(&processor, "ibm,processor-segment-sizes", 28, UINT32_MAX, UINT32_MAX, UINT32_MAX);
}

static void a_level_has_its_name_version_and_features(void **state)
{
	static const struct {
		enum kvm_cpu cpu;
		const char *name;
		uint32_t architecture, pvr;
		uint8_t features;
	} levels[] = {
	    {KVM_CPU_POWER8, "POWER8", 0x0f000004, 0x004d0200, 24},
	    {KVM_CPU_POWER9, "POWER9", 0x0f000005, 0x004e1202, 66},
	    {KVM_CPU_POWER10, "POWER10", 0x0f000006, 0x00801200, 74},
	    {KVM_CPU_POWER11, "POWER11", 0x0f000007, 0x00821200, 74},
	};
	struct kvm_facts facts = described_facts();

	(void)state;
	for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
		struct kvm_mode mode = {
		    KVM_ACCEL_HV, KVM_MMU_HASH, KVM_IRQCHIP_XICS, levels[i].cpu};
		struct kvm_processor processor = describe(&facts, &mode);

		assert_string_equal(processor.name, levels[i].name);
		assert_int_equal(processor.version, levels[i].architecture);
		assert_int_equal(processor.architecture, levels[i].architecture);
		assert_int_equal(processor.pa_features[0], levels[i].features);
		assert_int_equal(processor.pa_features_len, levels[i].features + 2);
		for (size_t at = processor.pa_features_len; at < sizeof processor.pa_features; at++)
			assert_true(at >= facts.pa_features_len || processor.pa_features[at] == 0);
		mode.accel = KVM_ACCEL_PR;
		processor = describe(&facts, &mode);
		assert_int_equal(processor.version, levels[i].pvr);
		assert_int_equal(processor.architecture, 0);
		assert_int_equal(processor.hcall_instruction, 0x7c000268);
	}
}

static void a_host_that_is_held_to_a_level_holds_its_guests_to_it(void **state)
{
	const struct kvm_mode mode = {KVM_ACCEL_HV, KVM_MMU_RADIX, KVM_IRQCHIP_XICS, KVM_CPU_HOST};
	struct kvm_facts facts = described_facts();
	struct kvm_processor processor;

	(void)state;
	facts.architecture = 0x0f000005;
	processor = describe(&facts, &mode);
	assert_int_equal(processor.version, 0x0f000005);
	assert_int_equal(processor.architecture, 0x0f000005);
}

/* A POWER10 that its hypervisor holds to POWER9: kvm-pr has no page sizes for the former. */
static void kvm_pr_on_a_host_that_is_held_to_a_level_has_a_processor_of_it(void **state)
{
	const struct kvm_mode mode = {KVM_ACCEL_PR, KVM_MMU_HASH, KVM_IRQCHIP_XICS, KVM_CPU_HOST};
	struct kvm_facts facts = described_facts();
	struct kvm_processor processor;

	(void)state;
	facts.hv = facts.radix = false;
	facts.level = KVM_CPU_POWER9;
	facts.pvr = 0x00800200;
	facts.architecture = 0x0f000005;
	processor = describe(&facts, &mode);
	assert_int_equal(processor.version, 0x004e1202);
	assert_int_equal(processor.architecture, 0);
}

static void features_that_kvm_does_not_offer_are_taken_away(void **state)
{
	struct kvm_mode mode = {KVM_ACCEL_HV, KVM_MMU_RADIX, KVM_IRQCHIP_XICS, KVM_CPU_HOST};
	struct kvm_facts facts = described_facts();
	struct kvm_processor processor = describe(&facts, &mode);

	(void)state;
	assert_int_equal(processor.pa_features[2 + 22], 0x7f); /* transactional memory */
	assert_int_equal(processor.pa_features[2 + 40], 0xff); /* radix */
	assert_int_equal(processor.pa_features[2 + 64], 0xff); /* a second watchpoint */
	assert_int_equal(processor.pa_features[2 + 1], 0xff);
	facts.dawr1 = false;
	mode.mmu = KVM_MMU_HASH;
	facts.page_bytes = K4;
	processor = describe(&facts, &mode);
	assert_int_equal(processor.pa_features[2 + 40], 0x7f);
	assert_int_equal(processor.pa_features[2 + 64], 0x7f);
	assert_int_equal(processor.pa_features[2 + 1], 0xdf); /* uncached pages of 64 KiB */
	facts.page_bytes = K64;
	facts.pa_features[2 + 1] = 0;
	assert_int_equal(describe(&facts, &mode).pa_features[2 + 1], 0x20);
}

static void threads_of_a_core_are_told_not_to_send_messages(void **state)
{
	struct kvm_mode mode = {KVM_ACCEL_HV, KVM_MMU_HASH, KVM_IRQCHIP_XICS, KVM_CPU_HOST};
	struct kvm_facts facts = described_facts();

	(void)state;
	assert_memory_equal(describe(&facts, &mode).pi_features, "\1\0\10", 3);
	mode.cpu = KVM_CPU_POWER9;
	assert_memory_equal(describe(&facts, &mode).pi_features, "\1\0\10", 3);
	/* POWER8 has it in hardware, and kvm-pr has no threads. */
	mode.cpu = KVM_CPU_POWER8;
	assert_memory_equal(describe(&facts, &mode).pi_features, "\0\0\0", 3);
	mode.cpu = KVM_CPU_HOST;
	mode.accel = KVM_ACCEL_PR;
	assert_memory_equal(describe(&facts, &mode).pi_features, "\0\0\0", 3);
}

static void features_shorter_than_a_bit_s_place_stay_as_they_are(void **state)
{
	struct kvm_mode mode = {KVM_ACCEL_HV, KVM_MMU_HASH, KVM_IRQCHIP_XICS, KVM_CPU_HOST};
	struct kvm_facts facts = described_facts();
	struct kvm_processor processor;

	(void)state;
	facts.pa_features[0] = 1;
	facts.pa_features_len = 3;
	processor = describe(&facts, &mode);
	assert_int_equal(processor.pa_features_len, 3);
	assert_int_equal(processor.pa_features[2], 0xff);
}

static void a_hash_table_fits_the_memory(void **state)
{
	struct kvm_facts facts = {.page_bytes = K64};
	static const struct {
		uint64_t memory;
		uint32_t order, order_4k;
	} sizes[] = {
	    {UINT64_C(256) << 20, 21, 23},
	    {UINT64_C(512) << 20, 22, 24},
	    {UINT64_C(768) << 20, 23, 25},
	    {UINT64_C(4) << 40, 35, 37},
	    {1, 18, 18},
	    {UINT64_MAX, 46, 46},
	};

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		facts.page_bytes = K64;
		assert_int_equal(kvm_mode_hpt_order(&facts, sizes[i].memory), sizes[i].order);
		facts.page_bytes = K4;
		assert_int_equal(kvm_mode_hpt_order(&facts, sizes[i].memory), sizes[i].order_4k);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_wish_has_its_answer),
	    cmocka_unit_test(every_wish_on_every_host),
	    cmocka_unit_test(smt_is_off_if_only_first_threads_are_in_use),
	    cmocka_unit_test(a_radix_guest_is_told_of_its_page_sizes),
	    cmocka_unit_test(a_hash_guest_is_told_of_its_table_and_segments),
	    cmocka_unit_test(a_level_has_its_name_version_and_features),
	    cmocka_unit_test(a_host_that_is_held_to_a_level_holds_its_guests_to_it),
	    cmocka_unit_test(kvm_pr_on_a_host_that_is_held_to_a_level_has_a_processor_of_it),
	    cmocka_unit_test(features_that_kvm_does_not_offer_are_taken_away),
	    cmocka_unit_test(threads_of_a_core_are_told_not_to_send_messages),
	    cmocka_unit_test(features_shorter_than_a_bit_s_place_stay_as_they_are),
	    cmocka_unit_test(a_hash_table_fits_the_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
