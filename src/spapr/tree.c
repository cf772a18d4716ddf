/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree.c - see tree.h. The nodes are in the order in which they stand in the tree.
 *
 * There is no firmware to negotiate with (ibm,client-architecture-support), so what would have
 * been the result stands in /chosen/ibm,architecture-vec-5: the kind of MMU and of interrupt
 * controller, and the dedicated hot-plug event source. The nodes of devices are written by their
 * types. Nothing here tells which host this is.
 */
#include "spapr/tree.h"

#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/be.h"
#include "spapr/hcall.h"
#include "spapr/machine.h"
#include "spapr/rtas.h"

/* --- Connectors and devices ------------------------------------------------------------------ */

/* "ibm,drc-names" or "ibm,drc-types": a count, then strings one behind the other. */
static void tree_write_drc_strings(
    struct node_writer *w, const struct connector_range *range, bool names)
{
	enum { STRING_MAX = 32 };
	struct be32 head = be32(range->count);
	size_t at = sizeof head;
	char *value = malloc(at + range->count * STRING_MAX);

	if (value == NULL) {
		node_note(w, -FDT_ERR_NOSPACE);
		return;
	}
	memcpy(value, &head, sizeof head);
	for (uint32_t i = 0; i < range->count; i++)
		at +=
		    1 + (size_t)(names ? snprintf(value + at, STRING_MAX, "%s%u",
		                             range->type->name_prefix, connector_range_id(range, i))
		                       : snprintf(value + at, STRING_MAX, "%s", range->type->name));
	node_bytes(w, names ? "ibm,drc-names" : "ibm,drc-types", value, at);
	free(value);
}

/* The connectors of a type that its node lists, in the four arrays that belong together (LoPAR
 * 13.5.2), and the nodes of what is plugged in there. */
static void tree_write_devices(
    struct node_writer *w, const struct connectors *connectors, const struct drc_type *type)
{
	const struct connector_range *range = connectors->ranges;
	struct be32 *values;

	while (range->type != type)
		range++;
	values = malloc((range->count + 1) * sizeof *values);
	if (values == NULL) {
		node_note(w, -FDT_ERR_NOSPACE);
		return;
	}
	values[0] = be32(range->count);
	for (uint32_t i = 0; i < range->count; i++)
		values[i + 1] = be32(drc_index(type, connector_range_id(range, i)));
	node_bytes(w, "ibm,drc-indexes", values, (range->count + 1) * sizeof *values);
	for (uint32_t i = 0; i < range->count; i++)
		values[i + 1] = be32(UINT32_MAX); /* live insertion: no power domain */
	node_bytes(w, "ibm,drc-power-domains", values, (range->count + 1) * sizeof *values);
	free(values);
	tree_write_drc_strings(w, range, true);
	tree_write_drc_strings(w, range, false);
	for (uint32_t i = 0; i < range->count; i++) {
		const struct connector *connector = &connectors->list[range->first_number + i];

		if (connector->drc.attached)
			connector->device->type->describe(connector->device, connector, false, w);
	}
}

static void tree_write_cpus(struct node_writer *w, struct spapr *machine)
{
	node_begin(w, "cpus");
	node_cell(w, "#address-cells", 1);
	node_cell(w, "#size-cells", 0);
	tree_write_devices(w, &machine->connectors, &drc_type_cpu);
	node_end(w);
}

static void tree_write_pci(struct node_writer *w, struct spapr *machine)
{
	if (!machine->phb.present)
		return;
	phb_begin_node(w);
	tree_write_devices(w, &machine->connectors, &drc_type_pci);
	phb_write_empty_ports(&machine->phb, w);
	node_end(w);
}

/* --- The rest of the tree -------------------------------------------------------------------- */

static void tree_write_hypertas_functions(struct node_writer *w, const struct kvm_mode *mode)
{
	char list[512];
	size_t used = 0;

	for (size_t i = 0; i < hcall_table_rows; i++) {
		const char *feature = hcall_table[i].feature;
		bool listed = !kvm_mode_has(mode, hcall_table[i].modes);

		for (size_t at = 0; feature != NULL && at < used; at += strlen(list + at) + 1)
			listed = listed || strcmp(list + at, feature) == 0;
		if (feature == NULL || listed || used + strlen(feature) + 1 > sizeof list)
			continue;
		memcpy(list + used, feature, strlen(feature) + 1);
		used += strlen(feature) + 1;
	}
	node_bytes(w, "ibm,hypertas-functions", list, used);
}

static void tree_write_rtas(struct node_writer *w, struct spapr *machine)
{
	const struct kvm_mode *mode = kvm_vm_mode(machine->vm);
	uint64_t memory = machine->gmem.max_bytes;

	node_begin(w, "rtas");
	node_cell(w, "linux,rtas-base", (uint32_t)machine->layout.rtas);
	node_cell(w, "linux,rtas-entry", (uint32_t)machine->layout.rtas);
	node_cell(w, "rtas-size", RTAS_BLOB_BYTES);
	node_cell(w, "rtas-error-log-max", 2048);
	/* event-scan has nothing to report. But with a rate of 0 Linux makes no
	 * /proc/powerpc/rtas/error_log, where rtas_errd reads what check-exception has reported.
	 * 1 is the least: a call every 30 s. */
	node_cell(w, "rtas-event-scan-rate", 1);
	node_flag(w, "ibm,extended-os-term");
	tree_write_hypertas_functions(w, mode);
	for (size_t i = 0; i < rtas_table_rows; i++)
		if (kvm_mode_has(mode, rtas_table[i].modes))
			node_cell(w, rtas_table[i].name, rtas_token(i));
	/* Highest address, block size, and the most cores (not threads) there can be: what Linux
	 * sizes its possible CPUs by. */
	NODE_CELLS(w, "ibm,lrdr-capacity", (uint32_t)(memory >> 32), (uint32_t)memory,
	    (uint32_t)(SPAPR_LMB_BYTES >> 32), (uint32_t)SPAPR_LMB_BYTES, machine->cores.count);
	node_end(w);
}

/* Option vector 5 as the property has it: index n is byte n. */
static void tree_write_architecture_vector(struct node_writer *w, struct spapr *machine)
{
	uint8_t vector[KVM_VECTOR5_BYTES];

	memcpy(vector, kvm_vm_processor(machine->vm)->vector5, sizeof vector);
	vector[0] = sizeof vector - 1;
	vector[6] |= 0x04; /* dedicated hot-plug event source */
	node_bytes(w, "ibm,architecture-vec-5", vector, sizeof vector);
}

static void tree_write_chosen(struct node_writer *w, struct spapr *machine)
{
	uint8_t seed[32];
	char path[40];

	snprintf(path, sizeof path, "/vdevice/vty@%x", VTY_UNIT);
	node_begin(w, "chosen");
	node_text(w, "bootargs", machine->config.bootargs);
	node_text(w, "stdout-path", path);
	node_text(w, "linux,stdout-path", path);
	if (machine->image.initrd_end > machine->image.initrd_start) {
		node_cell64(w, "linux,initrd-start", machine->image.initrd_start);
		node_cell64(w, "linux,initrd-end", machine->image.initrd_end);
	}
	tree_write_architecture_vector(w, machine);
	phb_write_chosen(&machine->phb, w);
	/* The guest erases it after use, and each boot gets another. */
	if (getrandom(seed, sizeof seed, GRND_NONBLOCK) == (ssize_t)sizeof seed)
		node_bytes(w, "rng-seed", seed, sizeof seed);
	node_end(w);
}

/* A node without reg or parent: Linux resolves its interrupts against /event-sources, which is
 * an interrupt controller by name, and the machine's claims the number. Second cell 0: edge. */
static void tree_write_event_source(struct node_writer *w, const char *name, uint32_t irq)
{
	node_begin(w, name);
	NODE_CELLS(w, "interrupts", irq, 0);
	node_end(w);
}

static void tree_write_event_sources(struct node_writer *w)
{
	node_begin(w, "event-sources");
	node_flag(w, "interrupt-controller");
	node_cell(w, "#interrupt-cells", 2);
	NODE_CELLS(w, "interrupt-ranges", IRQ_EPOW, 1, IRQ_HOTPLUG, 1);
	tree_write_event_source(w, "epow-events", IRQ_EPOW);
	tree_write_event_source(w, "hot-plug-events", IRQ_HOTPLUG);
	node_end(w);
}

static void tree_write_vdevice(struct node_writer *w)
{
	char unit[24];

	snprintf(unit, sizeof unit, "vty@%x", VTY_UNIT);
	node_begin(w, "vdevice");
	node_text(w, "device_type", "vdevice");
	node_text(w, "compatible", "IBM,vdevice");
	node_cell(w, "#address-cells", 1);
	node_cell(w, "#size-cells", 0);
	node_flag(w, "interrupt-controller");
	node_cell(w, "#interrupt-cells", 2);
	node_begin(w, unit);
	node_text(w, "device_type", "serial");
	node_text(w, "compatible", "hvterm1");
	node_cell(w, "reg", VTY_UNIT);
	NODE_CELLS(w, "interrupts", IRQ_VTY, 0);
	node_end(w);
	node_end(w);
}

static void tree_write_root(struct node_writer *w, struct spapr *machine)
{
	node_text(w, "device_type", "chrp");
	/* powerpc-utils and others take a guest whose model does not end so for a PowerVM
	 * partition.
	 */
	node_text(w, "model", "paprika, compatible with IBM pSeries (emulated by qemu)");
	/* lscpu, lshw and others recognise a KVM guest by the second. */
	node_bytes(w, "compatible", "paprika,pseries\0qemu,pseries",
	    sizeof "paprika,pseries\0qemu,pseries");
	if (machine->config.name != NULL && machine->config.name[0] != '\0')
		node_text(w, "ibm,partition-name", machine->config.name);
	/* systemd and cloud-init read the first; lparstat takes the second for a serial number. */
	if (machine->config.uuid != NULL && machine->config.uuid[0] != '\0') {
		node_text(w, "vm,uuid", machine->config.uuid);
		node_text(w, "system-id", machine->config.uuid);
	}
	node_cell(w, "#address-cells", 2);
	node_cell(w, "#size-cells", 2);
	irqchip_write_root(&machine->irqchip, w);
	tree_write_chosen(w, machine);
	node_begin(w, "memory@0");
	node_text(w, "device_type", "memory");
	NODE_CELLS(w, "reg", 0, 0, (uint32_t)(machine->config.memory_bytes >> 32),
	    (uint32_t)machine->config.memory_bytes);
	node_end(w);
	memory_write_list(&machine->memory, w);
	tree_write_cpus(w, machine);
	tree_write_rtas(w, machine);
	irqchip_write_node(&machine->irqchip, w);
	tree_write_event_sources(w);
	tree_write_vdevice(w);
	tree_write_pci(w, machine);
	node_begin(w, "hypervisor");
	node_text(w, "compatible", "linux,kvm");
	node_end(w);
}

/* Enough for a few cores and room for hundreds. */
#define TREE_FIRST_BYTES (16u << 10)

void *tree_build(struct spapr *machine, size_t *ret_length, struct err *err)
{
	struct node_writer w = {.error = -FDT_ERR_NOSPACE};
	void *blob = NULL;

	/* libfdt clears what it is given, and cannot tell how much it will need. */
	for (size_t size = TREE_FIRST_BYTES; w.error == -FDT_ERR_NOSPACE && size <= FDT_MAX_BYTES;
	     size *= 2) {
		free(blob);
		blob = malloc(size);
		if (blob == NULL) {
			err_system(err, ENOMEM, NULL, "cannot build the device tree");
			return NULL;
		}
		/* The kernel reserves RTAS only if it is told to. */
		node_begin_tree(&w, blob, size, machine->layout.rtas, RTAS_BLOB_BYTES);
		tree_write_root(&w, machine);
		node_end_tree(&w);
	}
	if (!node_check(&w, err)) {
		free(blob);
		return NULL;
	}
	/* Core 0 always boots. */
	fdt_set_boot_cpuid_phys(blob, 0);
	*ret_length = fdt_totalsize(blob);
	return blob;
}
