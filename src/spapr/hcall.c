/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hcall.c - the table of hypervisor calls, and those that reach user space. kvm-hv answers most of
 * them in the kernel: these are rows without a function, for their feature strings in the device
 * tree.
 *
 * To add one: a row in the table, and its function above it.
 */
#include "spapr/hcall.h"

#include <string.h>

#include "base/be.h"
#include "spapr/hcall_pr.h"
#include "spapr/hcall_xive.h"
#include "spapr/machine.h"
#include "spapr/rtas.h"

/* H_SET_SPRG0: r4 value. */
static enum hcall_status h_set_sprg0(struct vcpu *vcpu, uint64_t args[9])
{
	return kvm_vcpu_set_sprg0(vcpu->kvm, args[0]) ? H_SUCCESS : H_HARDWARE;
}

/* H_GET_TERM_CHAR: r4 unit -> r4 length, r5 r6 up to 16 characters, the first in the most
 * significant byte whatever the guest's endianness (LoPAR, vterm hcalls). */
static enum hcall_status h_get_term_char(struct vcpu *vcpu, uint64_t args[9])
{
	struct be64 words[2] = {{0}, {0}};

	if (!vty_is(args[0]))
		return H_PARAMETER;
	args[0] = vty_get(&vcpu->machine->vty, (uint8_t *)words, sizeof words);
	args[1] = from_be64(words[0]);
	args[2] = from_be64(words[1]);
	return H_SUCCESS;
}

/* H_PUT_TERM_CHAR: r4 unit, r5 length, r6 r7 characters. */
static enum hcall_status h_put_term_char(struct vcpu *vcpu, uint64_t args[9])
{
	struct be64 words[2] = {be64(args[2]), be64(args[3])};

	if (!vty_is(args[0]) || args[1] > sizeof words)
		return H_PARAMETER;
	return vty_put(&vcpu->machine->vty, (const uint8_t *)words, (uint32_t)args[1]) ? H_SUCCESS
	                                                                               : H_BUSY;
}

/* H_GET_CPU_CHARACTERISTICS: -> r4 character, r5 behaviour: the bits that KVM says are valid. */
static enum hcall_status h_get_cpu_characteristics(struct vcpu *vcpu, uint64_t args[9])
{
	const struct kvm_facts *facts = kvm_vm_facts(vcpu->machine->vm);

	if (!facts->cpu_char)
		return H_FUNCTION;
	args[0] = facts->cpu_character;
	args[1] = facts->cpu_behaviour;
	return H_SUCCESS;
}

/* H_HOME_NODE_ASSOCIATIVITY: r4 1 for a virtual processor, r5 its number -> r4 .. r9 its domains,
 * 16 bits each. All ones end them, and it has none: neither does the tree name any. */
static enum hcall_status h_home_node_associativity(struct vcpu *vcpu, uint64_t args[9])
{
	enum { VIRTUAL_PROCESSOR = 1, DOMAIN_REGISTERS = 6 };
	struct spapr *machine = vcpu->machine;
	bool there;

	if (args[0] != VIRTUAL_PROCESSOR)
		return H_FUNCTION;
	pthread_mutex_lock(&machine->lock);
	there = cpu_find_present(&machine->cpus, args[1]) != NULL;
	pthread_mutex_unlock(&machine->lock);
	if (!there)
		return H_P2;
	for (size_t i = 0; i < DOMAIN_REGISTERS; i++)
		args[i] = UINT64_MAX;
	return H_SUCCESS;
}

/* A kernel has begun, perhaps by kexec: interrupt sources as after a reset, and an interrupt for
 * all that is queued. */
static void hcall_kernel_begins(struct spapr *machine)
{
	struct err err = {0};

	pthread_mutex_lock(&machine->lock);
	if (!irqchip_begin(&machine->irqchip, &err))
		log_guest(&machine->events.limit, LOG_ERROR, "%s", err.message);
	devices_announce(&machine->devices);
	phb_begin_kernel(&machine->phb);
	vty_announce(&machine->vty);
	pthread_mutex_unlock(&machine->lock);
}

/* H_SET_MODE resources that concern the whole partition; the per-thread ones (CIABR, DAWR)
 * are KVM's. r4 flags, r5 resource, r6 r7 values (LoPAR, H_SET_MODE). */
enum { SET_MODE_AIL = 3, SET_MODE_LE = 4 };

static enum hcall_status h_set_mode(struct vcpu *vcpu, uint64_t args[9])
{
	struct spapr *machine = vcpu->machine;
	struct kvm_modes modes;

	if (args[1] != SET_MODE_AIL && args[1] != SET_MODE_LE)
		return H_P2;
	if (args[2] != 0)
		return H_P3;
	if (args[3] != 0)
		return H_P4;
	pthread_mutex_lock(&machine->lock);
	modes = machine->cpus.modes;
	if (args[1] == SET_MODE_LE && args[0] <= 1) {
		modes.little_endian_interrupts = args[0] == 1;
	} else if (args[1] == SET_MODE_AIL &&
	           (args[0] == 0 || (args[0] == 3 && kvm_vm_facts(machine->vm)->ail3))) {
		modes.ail = (uint8_t)args[0];
	} else {
		pthread_mutex_unlock(&machine->lock);
		return H_UNSUPPORTED_FLAG;
	}
	cpus_set_modes(&machine->cpus, &modes, vcpu);
	pthread_mutex_unlock(&machine->lock);
	/* A little-endian kernel asks for it once. Before ISA 3.0 it is the only sign of one. */
	if (modes.little_endian_interrupts && args[1] == SET_MODE_LE &&
	    !kvm_vm_processor(machine->vm)->registers_table)
		hcall_kernel_begins(machine);
	return H_SUCCESS;
}

/* H_REGISTER_PROC_TBL: r4 flags, r5 base, r6 page size, r7 log2 of the size in bytes less 12. */
enum {
	PROC_TABLE_OPERATION = 0x18,
	PROC_TABLE_KEEP = 0x00,
	PROC_TABLE_DEREGISTER = 0x10,
	PROC_TABLE_NEW = 0x18,
	PROC_TABLE_TYPE = 0x06,
	PROC_TABLE_GTSE = 0x01,
	PROC_TABLE_SIZE_MAX = 24,
};

static enum hcall_status h_register_proc_tbl(struct vcpu *vcpu, uint64_t args[9])
{
	struct spapr *machine = vcpu->machine;
	uint64_t flags = args[0], base = args[1], size = args[3], table = 0;
	uint64_t operation = flags & PROC_TABLE_OPERATION;
	uint64_t wanted = kvm_vm_processor(machine->vm)->table_type;
	int result;

	if ((flags & ~(uint64_t)0x1f) != 0)
		return H_PARAMETER;
	/* A guest with tables registers one. A guest without keeps what there is, none. */
	if (operation == PROC_TABLE_NEW) {
		if (wanted == 0 || (flags & PROC_TABLE_TYPE) != wanted)
			return H_PARAMETER;
		if (size > PROC_TABLE_SIZE_MAX)
			return H_P4;
		if ((base & 0xfff) != 0 ||
		    !gmem_contains(&machine->gmem, base, UINT64_C(1) << (size + 12)))
			return H_P2;
		table = base | size;
	} else if (operation == PROC_TABLE_KEEP) {
		if (wanted != 0 || (flags & PROC_TABLE_TYPE) != 0)
			return H_PARAMETER;
	} else if (operation != PROC_TABLE_DEREGISTER) {
		return H_PARAMETER;
	}
	result = kvm_vm_set_process_table(machine->vm, table, (flags & PROC_TABLE_GTSE) != 0);
	if (result != 0)
		return H_PARAMETER;
	/* A kernel does this once, before it enables interrupts. From ISA 3.0 on it is the only
	 * sign that a kernel has been started by another one (kexec). */
	if (operation != PROC_TABLE_DEREGISTER)
		hcall_kernel_begins(machine);
	return H_SUCCESS;
}

static enum hcall_status h_rtas(struct vcpu *vcpu, uint64_t args[9])
{
	/* The guest is in 32-bit mode here, but the upper half of r4 may carry anything. */
	return rtas_dispatch(vcpu, args[0] & UINT32_MAX) ? H_SUCCESS : H_PARAMETER;
}

/* KVM answers these for the table that there is. What comes here names another one, or an address
 * that is no memory. */
static enum hcall_status h_tce(struct vcpu *vcpu, uint64_t args[9])
{
	return H_PARAMETER;
}

#define MODE_HASH_HV (KVM_MODE_HASH | KVM_MODE_HV)

/* clang-format off */
const struct hcall_row hcall_table[] = {
    /* number,   name,                        section, feature,           function,                  enable, modes,          about */
    {0x004,       "H_REMOVE",                  "-",     "hcall-pft",       NULL,                      false,  KVM_MODE_HASH,  "remove an entry of the hash page table"},
    {0x008,       "H_ENTER",                   "-",     "hcall-pft",       NULL,                      false,  KVM_MODE_HASH,  "enter one"},
    {0x00c,       "H_READ",                    "-",     "hcall-pft",       NULL,                      false,  MODE_HASH_HV,   "read one, or four"},
    {0x00c,       "H_READ",                    "-",     "hcall-pft",       h_pr_read,                 false,  KVM_MODE_PR,    "read one, or four"},
    {0x018,       "H_PROTECT",                 "-",     "hcall-pft",       NULL,                      false,  KVM_MODE_HASH,  "change the protection of one"},
    {0x01c,       "H_GET_TCE",                 "-",     "hcall-tce",       h_tce,                     false,  0,              "read a translation for DMA"},
    {0x020,       "H_PUT_TCE",                 "-",     "hcall-tce",       h_tce,                     false,  0,              "set one"},
    {0x024,       "H_SET_SPRG0",               "-",     "hcall-sprg0",     h_set_sprg0,               false,  0,              "set SPRG0"},
    {0x028,       "H_SET_DABR",                "-",     "hcall-dabr",      NULL,                      false,  KVM_MODE_HV,    "set the data breakpoint register"},
    {0x02c,       "H_PAGE_INIT",               "-",     NULL,              NULL,                      true,   KVM_MODE_HV,    "zero or copy a page"},
    {0x054,       "H_GET_TERM_CHAR",           "-",     "hcall-term",      h_get_term_char,           false,  0,              "read from the console"},
    {0x058,       "H_PUT_TERM_CHAR",           "-",     "hcall-term",      h_put_term_char,           false,  0,              "write to the console"},
    {0x064,       "H_EOI",                     "-",     "hcall-interrupt", NULL,                      false,  KVM_MODE_XICS,  "end of interrupt"},
    {0x068,       "H_CPPR",                    "-",     "hcall-interrupt", NULL,                      false,  KVM_MODE_XICS,  "set the processor priority"},
    {0x06c,       "H_IPI",                     "-",     "hcall-interrupt", NULL,                      false,  KVM_MODE_XICS,  "interrupt another processor"},
    {0x070,       "H_IPOLL",                   "-",     "hcall-interrupt", NULL,                      false,  KVM_MODE_XICS,  "look at a pending interrupt"},
    {0x074,       "H_XIRR",                    "-",     "hcall-interrupt", NULL,                      false,  KVM_MODE_XICS,  "accept an interrupt"},
    {0x0dc,       "H_REGISTER_VPA",            "-",     "hcall-splpar",    NULL,                      false,  KVM_MODE_HV,    "register the per-processor areas"},
    {0x0dc,       "H_REGISTER_VPA",            "-",     NULL,              h_pr_register_vpa,         false,  KVM_MODE_PR,    "register the per-processor areas"},
    {0x0e0,       "H_CEDE",                    "-",     "hcall-splpar",    NULL,                      false,  KVM_MODE_HV,    "wait for an interrupt"},
    {0x0e0,       "H_CEDE",                    "-",     NULL,              NULL,                      false,  KVM_MODE_PR,    "wait for an interrupt"},
    {0x0e4,       "H_CONFER",                  "-",     "hcall-splpar",    NULL,                      false,  KVM_MODE_HV,    "give the processor to another"},
    {0x0e4,       "H_CONFER",                  "-",     NULL,              h_pr_confer,               false,  KVM_MODE_PR,    "give the processor to another"},
    {0x0e8,       "H_PROD",                    "-",     "hcall-splpar",    NULL,                      false,  KVM_MODE_HV,    "wake a processor that has ceded"},
    {0x0e8,       "H_PROD",                    "-",     NULL,              h_pr_prod,                 false,  KVM_MODE_PR,    "wake a processor that has ceded"},
    {0x124,       "H_BULK_REMOVE",             "-",     "hcall-bulk",      NULL,                      false,  KVM_MODE_HASH,  "remove up to four"},
    {0x138,       "H_PUT_TCE_INDIRECT",        "-",     "hcall-multi-tce", h_tce,                     true,   0,              "set several, from a list"},
    {0x13c,       "H_STUFF_TCE",               "-",     "hcall-multi-tce", h_tce,                     true,   0,              "set several to the same"},
    {0x1c8,       "H_GET_CPU_CHARACTERISTICS", "-",     NULL,              h_get_cpu_characteristics, false,  0,              "speculation behaviour of the processor"},
    {0x2ec,       "H_HOME_NODE_ASSOCIATIVITY", "-",     "hcall-vphn",      h_home_node_associativity, false,  0,              "NUMA domains of a processor: none"},
    {0x31c,       "H_SET_MODE",                "-",     "hcall-set-mode",  h_set_mode,                true,   0,              "endianness and location of interrupts; KVM: CIABR, DAWR"},
    {0x37c,       "H_REGISTER_PROC_TBL",       "-",     NULL,              h_register_proc_tbl,       false,  0,              "register the process table of the MMU"},
    {0x3a8,       "H_INT_GET_SOURCE_INFO",     "-",     NULL,              h_int_get_source_info,     false,  KVM_MODE_XIVE,  "how an interrupt source is managed"},
    {0x3ac,       "H_INT_SET_SOURCE_CONFIG",   "-",     NULL,              h_int_set_source_config,   false,  KVM_MODE_XIVE,  "aim an interrupt source at a queue"},
    {0x3b0,       "H_INT_GET_SOURCE_CONFIG",   "-",     NULL,              h_int_get_source_config,   false,  KVM_MODE_XIVE,  "where it is aimed"},
    {0x3b4,       "H_INT_GET_QUEUE_INFO",      "-",     NULL,              h_int_get_queue_info,      false,  KVM_MODE_XIVE,  "tell whether an event queue is set"},
    {0x3b8,       "H_INT_SET_QUEUE_CONFIG",    "-",     NULL,              h_int_set_queue_config,    false,  KVM_MODE_XIVE,  "set the event queue of a processor and priority"},
    {0x3c8,       "H_INT_ESB",                 "-",     NULL,              h_int_esb,                 false,  KVM_MODE_XIVE,  "mask, unmask and end an interrupt"},
    {0x3cc,       "H_INT_SYNC",                "-",     NULL,              h_int_sync,                false,  KVM_MODE_XIVE,  "wait until what was sent is in the queue"},
    {0x3d0,       "H_INT_RESET",               "-",     NULL,              h_int_reset,               false,  KVM_MODE_XIVE,  "forget all that has been set up"},
    {HCALL_RTAS,  "H_RTAS",                    "-",     NULL,              h_rtas,                    false,  0,              "an RTAS call, from the blob in guest memory"},
};
/* clang-format on */

const size_t hcall_table_rows = sizeof hcall_table / sizeof hcall_table[0];

static const struct hcall_row *hcall_find_row(uint64_t number, const struct kvm_mode *mode)
{
	for (size_t i = 0; i < hcall_table_rows; i++)
		if (hcall_table[i].number == number && kvm_mode_has(mode, hcall_table[i].modes))
			return &hcall_table[i];
	return NULL;
}

void hcall_dispatch(struct vcpu *vcpu, struct kvm_hcall *call)
{
	struct spapr *machine = vcpu->machine;
	const struct hcall_row *row = hcall_find_row(call->nr, kvm_vm_mode(machine->vm));

	news_count(&machine->news, COUNT_HCALLS, 1);
	if (row != NULL && row->function != NULL) {
		call->ret = (uint64_t)(int64_t)row->function(vcpu, call->args);
		return;
	}
	/* Linux probes a few that it does not need; H_FUNCTION is the answer it expects. */
	news_count(&machine->news, COUNT_HCALLS_UNKNOWN, 1);
	log_guest(&machine->limit_hcall, LOG_DEBUG, "vCPU %u: hcall %#llx answered H_FUNCTION",
	    vcpu->id, (unsigned long long)call->nr);
	call->ret = (uint64_t)(int64_t)H_FUNCTION;
}

void hcalls_enable(struct spapr *machine)
{
	for (size_t i = 0; i < hcall_table_rows; i++)
		if (hcall_table[i].enable &&
		    kvm_mode_has(kvm_vm_mode(machine->vm), hcall_table[i].modes) &&
		    !kvm_vm_enable_hcall(machine->vm, hcall_table[i].number))
			log_line(LOG_INFO, "KVM does not answer %s itself", hcall_table[i].name);
}
