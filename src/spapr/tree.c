/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree.c - the flattened device tree: what a pseries Linux needs (LoPAR, device tree properties),
 * in the order it stands in the tree.
 *
 * There is no firmware to negotiate with (ibm,client-architecture-support), so what would have
 * been the result stands in /chosen/ibm,architecture-vec-5: radix, guest translation shootdown,
 * the dedicated hot-plug event source. A core's node is written by one function for both the
 * boot tree and ibm,configure-connector. From the host comes only what its processor is like,
 * never which machine it is.
 */
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "spapr/hcall.h"
#include "spapr/machine.h"
#include "spapr/rtas.h"

/* A tree being written. The first failure sticks, so writing needs no checks in between. */
struct writer {
	void *fdt;
	int error;
};

static void keep(struct writer *w, int result)
{
	if (w->error == 0 && result < 0)
		w->error = result;
}

static void begin(struct writer *w, const char *name)
{
	keep(w, fdt_begin_node(w->fdt, name));
}

static void end(struct writer *w)
{
	keep(w, fdt_end_node(w->fdt));
}

static void bytes(struct writer *w, const char *name, const void *value, size_t length)
{
	keep(w, fdt_property(w->fdt, name, value, (int)length));
}

static void flag(struct writer *w, const char *name)
{
	bytes(w, name, NULL, 0);
}

static void text(struct writer *w, const char *name, const char *value)
{
	bytes(w, name, value, strlen(value) + 1);
}

static void cell(struct writer *w, const char *name, uint32_t value)
{
	keep(w, fdt_property_u32(w->fdt, name, value));
}

static void cell64(struct writer *w, const char *name, uint64_t value)
{
	keep(w, fdt_property_u64(w->fdt, name, value));
}

#define CELLS_MAX 16
static void cells(struct writer *w, const char *name, size_t count, const uint32_t *values)
{
	struct be32 be[CELLS_MAX];

	for (size_t i = 0; i < count && i < CELLS_MAX; i++)
		be[i] = be32(values[i]);
	bytes(w, name, be, count * sizeof be[0]);
}
#define CELLS(w, name, ...)                                                                        \
	cells(w, name, sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t),                       \
	    (uint32_t[]){__VA_ARGS__})

/* --- A core -------------------------------------------------------------------------------- */

static void write_cache(
    struct writer *w, char kind, uint32_t size, uint32_t line, uint32_t block, uint32_t sets)
{
	const struct {
		const char *suffix;
		uint32_t value;
	} parts[] = {{"size", size}, {"line-size", line}, {"block-size", block}, {"sets", sets}};

	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		char name[32];

		snprintf(name, sizeof name, "%c-cache-%s", kind, parts[i].suffix);
		if (parts[i].value != 0)
			cell(w, name, parts[i].value);
	}
}

/* ibm,pa-features as the host's processor has it, less transactional memory, which KVM does
 * not offer to a guest of ours. Without a host's word it is left out: Linux then goes by the
 * processor version, while a covered bit that is wrongly 0 would take a feature away. */
static void write_pa_features(struct writer *w, const struct kvm_facts *facts)
{
	enum { TM_BYTE = 2 + 22, TM_BIT = 0x80 };
	uint8_t features[sizeof facts->pa_features];

	/* length, type 0, then that many bytes */
	if (facts->pa_features_len < 3 || facts->pa_features[1] != 0 ||
	    facts->pa_features_len != (uint32_t)facts->pa_features[0] + 2)
		return;
	memcpy(features, facts->pa_features, sizeof features);
	features[TM_BYTE] &= (uint8_t)~TM_BIT;
	bytes(w, "ibm,pa-features", features, facts->pa_features_len);
}

static void write_mmu(struct writer *w, const struct kvm_facts *facts)
{
	uint32_t count = 0;

	while (count < KVM_AP_ENCODINGS && facts->ap_encodings[count] != 0)
		count++;
	if (count > 0)
		cells(w, "ibm,processor-radix-AP-encodings", count, facts->ap_encodings);
	if (facts->slb_size != 0)
		cell(w, "ibm,slb-size", facts->slb_size);
}

/* Linux takes 125 MHz if the tree does not say; POWER's timebase has been 512 MHz since
 * POWER6, so that is the guess if the host does not say. */
#define TIMEBASE_DEFAULT_HZ 512000000u

static void write_core(struct writer *w, struct spapr *machine, const struct core *core, bool name)
{
	const struct kvm_facts *facts = kvm_vm_facts(machine->vm);
	uint32_t servers[SPAPR_MAX_THREADS], gservers[2 * SPAPR_MAX_THREADS];
	char unit[40];

	snprintf(unit, sizeof unit, "PowerPC,%s@%x", facts->cpu_name, core->id);
	begin(w, unit);
	/* A tree from ibm,configure-connector has no names of its own; Linux wants the property. */
	if (name)
		text(w, "name", unit);
	text(w, "device_type", "cpu");
	text(w, "status", "okay");
	cell(w, "reg", core->id);
	for (uint32_t i = 0; i < machine->config.threads; i++) {
		servers[i] = gservers[2 * i] = gservers[2 * i + 1] = core->vcpus[i].id;
	}
	cells(w, "ibm,ppc-interrupt-server#s", machine->config.threads, servers);
	/* The group server is the thread itself: 0 would send every interrupt to server 0. */
	cells(w, "ibm,ppc-interrupt-gserver#s", 2 * machine->config.threads, gservers);
	cell(w, "ibm,my-drc-index", core->drc_index);
	cell(w, "cpu-version", facts->pvr);
	cell(w, "timebase-frequency",
	    facts->timebase_hz ? (uint32_t)facts->timebase_hz : TIMEBASE_DEFAULT_HZ);
	if (facts->clock_hz != 0 && facts->clock_hz <= UINT32_MAX)
		cell(w, "clock-frequency", (uint32_t)facts->clock_hz);
	write_cache(w, 'd', facts->dcache.size, facts->dcache.line_size, facts->dcache.block_size,
	    facts->dcache.sets);
	write_cache(w, 'i', facts->icache.size, facts->icache.line_size, facts->icache.block_size,
	    facts->icache.sets);
	write_mmu(w, facts);
	write_pa_features(w, facts);
	/* 2: VMX and VSX. Without it user space compiled for ppc64le dies at its first line. */
	cell(w, "ibm,vmx", 2);
	cell(w, "ibm,dfp", 1);
	cell(w, "ibm,purr", 1);
	cell(w, "ibm,spurr", 1);
	flag(w, "64-bit");
	end(w);
}

static bool report(struct err *err, int error)
{
	return error >= 0 || err_set(err, ERR_SYSTEM, "use fewer --cpus",
	                         "cannot build the device tree: %s", fdt_strerror(error));
}

bool tree_build_core(struct spapr *machine, struct core *core, struct err *err)
{
	struct writer w = {.fdt = core->node};

	keep(&w, fdt_create(core->node, sizeof core->node));
	keep(&w, fdt_finish_reservemap(core->node));
	begin(&w, "");
	write_core(&w, machine, core, true);
	end(&w);
	keep(&w, fdt_finish(core->node));
	core->node_offset = core->node_depth = 0;
	return report(err, w.error);
}

/* --- The rest of the tree ------------------------------------------------------------------ */

static void write_drc_strings(
    struct writer *w, struct spapr *machine, const char *name, const char *prefix, bool numbered)
{
	size_t at = sizeof(struct be32);
	struct be32 count = be32(machine->core_count);
	/* "CPU 4294967295" and its NUL at most. */
	char *value = calloc(machine->core_count + 1, 24);

	if (value == NULL) {
		keep(w, -FDT_ERR_NOSPACE);
		return;
	}
	memcpy(value, &count, sizeof count);
	for (uint32_t i = 0; i < machine->core_count; i++)
		at += 1 + (size_t)(numbered
		                       ? sprintf(value + at, "%s%u", prefix, machine->cores[i].id)
		                       : sprintf(value + at, "%s", prefix));
	bytes(w, name, value, at);
	free(value);
}

/* One connector for each core there can be, in the four arrays that belong together. */
static void write_connectors(struct writer *w, struct spapr *machine)
{
	size_t length = (machine->core_count + 1) * sizeof(struct be32);
	struct be32 *values = malloc(length);

	if (values == NULL) {
		keep(w, -FDT_ERR_NOSPACE);
		return;
	}
	values[0] = be32(machine->core_count);
	for (uint32_t i = 0; i < machine->core_count; i++)
		values[i + 1] = be32(machine->cores[i].drc_index);
	bytes(w, "ibm,drc-indexes", values, length);
	for (uint32_t i = 0; i < machine->core_count; i++)
		values[i + 1] = be32(UINT32_MAX); /* live insertion: no power domain */
	bytes(w, "ibm,drc-power-domains", values, length);
	free(values);
	write_drc_strings(w, machine, "ibm,drc-names", drc_type_cpu.name_prefix, true);
	write_drc_strings(w, machine, "ibm,drc-types", drc_type_cpu.name, false);
}

static void write_cpus(struct writer *w, struct spapr *machine)
{
	begin(w, "cpus");
	cell(w, "#address-cells", 1);
	cell(w, "#size-cells", 0);
	write_connectors(w, machine);
	for (uint32_t i = 0; i < machine->core_count; i++)
		if (machine->cores[i].drc.attached)
			write_core(w, machine, &machine->cores[i], false);
	end(w);
}

static void write_hypertas_functions(struct writer *w)
{
	char list[256];
	size_t used = 0;

	for (size_t i = 0; i < hcall_table_rows; i++) {
		const char *feature = hcall_table[i].feature;
		bool listed = false;

		for (size_t at = 0; feature != NULL && at < used; at += strlen(list + at) + 1)
			listed = listed || strcmp(list + at, feature) == 0;
		if (feature == NULL || listed || used + strlen(feature) + 1 > sizeof list)
			continue;
		memcpy(list + used, feature, strlen(feature) + 1);
		used += strlen(feature) + 1;
	}
	bytes(w, "ibm,hypertas-functions", list, used);
}

static void write_rtas(struct writer *w, struct spapr *machine)
{
	uint64_t memory = machine->config.memory_bytes;

	begin(w, "rtas");
	cell(w, "linux,rtas-base", (uint32_t)machine->layout.rtas);
	cell(w, "linux,rtas-entry", (uint32_t)machine->layout.rtas);
	cell(w, "rtas-size", RTAS_BLOB_BYTES);
	cell(w, "rtas-error-log-max", 2048);
	/* event-scan has nothing to report. But with a rate of 0 Linux makes no
	 * /proc/powerpc/rtas/error_log, where rtas_errd reads what check-exception has reported.
	 * 1 is the least: a call every 30 s. */
	cell(w, "rtas-event-scan-rate", 1);
	flag(w, "ibm,extended-os-term");
	write_hypertas_functions(w);
	for (size_t i = 0; i < rtas_table_rows; i++)
		cell(w, rtas_table[i].name, rtas_token(i));
	/* Highest address, block size, and the most cores (not threads) there can be: what Linux
	 * sizes its possible CPUs by. */
	CELLS(w, "ibm,lrdr-capacity", (uint32_t)(memory >> 32), (uint32_t)memory,
	    (uint32_t)(SPAPR_LMB_BYTES >> 32), (uint32_t)SPAPR_LMB_BYTES, machine->core_count);
	end(w);
}

/* Option vector 5 as the property has it: index n is byte n. */
static void write_architecture_vector(struct writer *w)
{
	uint8_t vector[27] = {0};

	vector[0] = sizeof vector - 1;
	vector[6] = 0x04;  /* dedicated hot-plug event source */
	vector[24] = 0x40; /* radix */
	vector[26] = 0x40; /* the guest shoots down its own translations */
	bytes(w, "ibm,architecture-vec-5", vector, sizeof vector);
}

static void write_chosen(struct writer *w, struct spapr *machine)
{
	uint8_t seed[32];
	char path[40];

	snprintf(path, sizeof path, "/vdevice/vty@%x", VTY_UNIT);
	begin(w, "chosen");
	text(w, "bootargs", machine->config.bootargs);
	text(w, "stdout-path", path);
	text(w, "linux,stdout-path", path);
	if (machine->image.initrd_end > machine->image.initrd_start) {
		cell64(w, "linux,initrd-start", machine->image.initrd_start);
		cell64(w, "linux,initrd-end", machine->image.initrd_end);
	}
	write_architecture_vector(w);
	/* The guest wipes it after use, and each boot gets another. */
	if (getrandom(seed, sizeof seed, GRND_NONBLOCK) == (ssize_t)sizeof seed)
		bytes(w, "rng-seed", seed, sizeof seed);
	end(w);
}

static void write_interrupt_controller(struct writer *w, struct spapr *machine)
{
	begin(w, "interrupt-controller");
	text(w, "device_type", "PowerPC-External-Interrupt-Presentation");
	text(w, "compatible", "IBM,ppc-xicp");
	flag(w, "interrupt-controller");
	cell(w, "#interrupt-cells", 2);
	cell(w, "#address-cells", 0);
	CELLS(w, "ibm,interrupt-server-ranges", 0, machine->core_count * machine->config.threads);
	cell(w, "phandle", 1);
	end(w);
}

/* A node without reg or parent: Linux resolves its interrupts against /event-sources, which is
 * an interrupt controller by name, and XICS claims the number. Second cell 0: edge. */
static void write_event_source(struct writer *w, const char *name, uint32_t irq)
{
	begin(w, name);
	CELLS(w, "interrupts", irq, 0);
	end(w);
}

static void write_event_sources(struct writer *w)
{
	begin(w, "event-sources");
	flag(w, "interrupt-controller");
	cell(w, "#interrupt-cells", 2);
	CELLS(w, "interrupt-ranges", IRQ_EPOW, 1, IRQ_HOTPLUG, 1);
	write_event_source(w, "epow-events", IRQ_EPOW);
	write_event_source(w, "hot-plug-events", IRQ_HOTPLUG);
	end(w);
}

static void write_vdevice(struct writer *w)
{
	char unit[24];

	snprintf(unit, sizeof unit, "vty@%x", VTY_UNIT);
	begin(w, "vdevice");
	text(w, "device_type", "vdevice");
	text(w, "compatible", "IBM,vdevice");
	cell(w, "#address-cells", 1);
	cell(w, "#size-cells", 0);
	flag(w, "interrupt-controller");
	cell(w, "#interrupt-cells", 2);
	begin(w, unit);
	text(w, "device_type", "serial");
	text(w, "compatible", "hvterm1");
	cell(w, "reg", VTY_UNIT);
	CELLS(w, "interrupts", IRQ_VTY, 0);
	end(w);
	end(w);
}

static void write_root(struct writer *w, struct spapr *machine)
{
	begin(w, "");
	text(w, "device_type", "chrp");
	/* powerpc-utils and others look for the words from "IBM" on, and take a guest without them
	 * for a partition of PowerVM. */
	text(w, "model", "paprika, compatible with IBM pSeries (emulated by qemu)");
	/* lscpu, lshw and others recognise a KVM guest by the second. */
	bytes(w, "compatible", "paprika,pseries\0qemu,pseries",
	    sizeof "paprika,pseries\0qemu,pseries");
	if (machine->config.name != NULL && machine->config.name[0] != '\0')
		text(w, "ibm,partition-name", machine->config.name);
	cell(w, "#address-cells", 2);
	cell(w, "#size-cells", 2);
	write_chosen(w, machine);
	begin(w, "memory@0");
	text(w, "device_type", "memory");
	CELLS(w, "reg", 0, 0, (uint32_t)(machine->config.memory_bytes >> 32),
	    (uint32_t)machine->config.memory_bytes);
	end(w);
	write_cpus(w, machine);
	write_rtas(w, machine);
	write_interrupt_controller(w, machine);
	write_event_sources(w);
	write_vdevice(w);
	begin(w, "hypervisor");
	text(w, "compatible", "linux,kvm");
	end(w);
	end(w);
}

bool tree_build(struct spapr *machine, size_t *ret_length, struct err *err)
{
	struct writer w = {.fdt = machine->fdt_buffer};

	keep(&w, fdt_create(w.fdt, FDT_MAX_BYTES));
	/* The kernel does not keep RTAS for itself unless it is told to. */
	keep(&w, fdt_add_reservemap_entry(w.fdt, machine->layout.rtas, RTAS_BLOB_BYTES));
	keep(&w, fdt_finish_reservemap(w.fdt));
	write_root(&w, machine);
	keep(&w, fdt_finish(w.fdt));
	if (!report(err, w.error))
		return false;
	/* Core 0 always boots. */
	fdt_set_boot_cpuid_phys(w.fdt, machine->cores[0].id);
	*ret_length = fdt_totalsize(w.fdt);
	return true;
}
