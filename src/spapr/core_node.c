/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core_node.c - a core's device tree node, for the boot tree and for ibm,configure-connector
 * (LoPAR, "CPU Node Properties"). Only what its processor is like comes from the host.
 */
#include <stdio.h>
#include <string.h>

#include "spapr/core.h"

static void core_write_cache(
    struct node_writer *w, char kind, uint32_t size, uint32_t line, uint32_t block, uint32_t sets)
{
	const struct {
		const char *suffix;
		uint32_t value;
	} parts[] = {{"size", size}, {"line-size", line}, {"block-size", block}, {"sets", sets}};

	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		char name[32];

		snprintf(name, sizeof name, "%c-cache-%s", kind, parts[i].suffix);
		if (parts[i].value != 0)
			node_cell(w, name, parts[i].value);
	}
}

/* What depends on the kind of guest. */
static void core_write_mode(struct node_writer *w, const struct kvm_processor *processor)
{
	for (size_t i = 0; i < processor->property_count; i++)
		node_cells(w, processor->properties[i].name, processor->properties[i].count,
		    processor->properties[i].cells);
	if (processor->pi_features[0] != 0)
		node_bytes(
		    w, "ibm,pi-features", processor->pi_features, sizeof processor->pi_features);
	if (processor->pa_features_len > 0)
		node_bytes(
		    w, "ibm,pa-features", processor->pa_features, processor->pa_features_len);
}

/* If the host does not tell: POWER's timebase has been 512 MHz since POWER6. Without the property
 * Linux would take 125 MHz. */
#define TIMEBASE_DEFAULT_HZ 512000000u

void core_describe(
    const struct device *core, const struct connector *connector, bool named, struct node_writer *w)
{
	const struct cores *cores = core->context;
	const struct kvm_facts *facts = kvm_vm_facts(cores->cpus->vm);
	const struct kvm_processor *processor = kvm_vm_processor(cores->cpus->vm);
	uint32_t servers[SPAPR_MAX_THREADS], gservers[2 * SPAPR_MAX_THREADS];
	char unit[40];

	snprintf(unit, sizeof unit, "PowerPC,%s@%x", processor->name, core->unit);
	node_begin(w, unit);
	/* Linux expects the name as a property in what ibm,configure-connector returns. */
	if (named)
		node_text(w, "name", unit);
	node_text(w, "device_type", "cpu");
	node_text(w, "status", "okay");
	node_cell(w, "reg", core->unit);
	for (uint32_t i = 0; i < cores->threads; i++)
		servers[i] = gservers[2 * i] = gservers[2 * i + 1] = core->unit + i;
	node_cells(w, "ibm,ppc-interrupt-server#s", cores->threads, servers);
	/* The group server is the thread itself: 0 would send every interrupt to server 0. */
	node_cells(w, "ibm,ppc-interrupt-gserver#s", 2 * cores->threads, gservers);
	node_cell(w, "ibm,my-drc-index", connector->drc_index);
	node_cell(w, "cpu-version", processor->version);
	node_cell(w, "timebase-frequency",
	    facts->timebase_hz ? (uint32_t)facts->timebase_hz : TIMEBASE_DEFAULT_HZ);
	if (facts->clock_hz != 0 && facts->clock_hz <= UINT32_MAX)
		node_cell(w, "clock-frequency", (uint32_t)facts->clock_hz);
	core_write_cache(w, 'd', facts->dcache.size, facts->dcache.line_size,
	    facts->dcache.block_size, facts->dcache.sets);
	core_write_cache(w, 'i', facts->icache.size, facts->icache.line_size,
	    facts->icache.block_size, facts->icache.sets);
	core_write_mode(w, processor);
	/* 2: VMX and VSX. User space for ppc64le does not run without them. */
	node_cell(w, "ibm,vmx", 2);
	node_cell(w, "ibm,dfp", 1);
	node_cell(w, "ibm,purr", 1);
	node_cell(w, "ibm,spurr", 1);
	node_flag(w, "64-bit");
	node_end(w);
}
