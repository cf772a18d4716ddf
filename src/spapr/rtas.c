/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtas.c - the table of RTAS services, and their dispatch: copy the argument block in, check it,
 * call, copy the results out.
 *
 * To add a service: a row in the table, and its function in the rtas_*.c it belongs to. Its
 * token and its property in the device tree come with the row.
 */
#include "spapr/rtas.h"

#include <string.h>

#include "base/be.h"
#include "spapr/machine.h"

/* mr r4,r3; lis r3,0; ori r3,r3,HCALL_RTAS; sc 1; blr. Big-endian: RTAS is entered so. */
const uint32_t rtas_blob[RTAS_BLOB_WORDS] = {
    0x7c641b78, 0x3c600000, 0x60630000 | HCALL_RTAS, 0x44000022, 0x4e800020};

/* clang-format off */
const struct rtas_row rtas_table[] = {
    /* name,                     section,    args,  nret, lock,  function,                     modes,         about */
    {"start-cpu",                "-",        3, 3,  1,    true,  rtas_start_cpu,               0,             "start a stopped processor"},
    {"stop-self",                "-",        0, 0,  1,    true,  rtas_stop_self,               0,             "stop the calling processor"},
    {"query-cpu-stopped-state",  "-",        1, 1,  2,    true,  rtas_query_cpu_stopped_state, 0,             "tell whether a processor is stopped"},
    {"set-indicator",            "13.5.3.4", 3, 3,  1,    true,  rtas_set_indicator,           0,             "isolation and allocation of a connector"},
    {"get-sensor-state",         "-",        2, 2,  2,    true,  rtas_get_sensor_state,        0,             "entity sense of a connector; EPOW"},
    {"ibm,configure-connector",  "13.5.3.5", 2, 2,  1,    true,  rtas_configure_connector,     0,             "read the description of what is plugged in"},
    {"set-power-level",          "-",        2, 2,  2,    false, rtas_set_power_level,         0,             "power of a connector: it is always on"},
    {"get-power-level",          "-",        1, 1,  2,    false, rtas_get_power_level,         0,             "the same"},
    {"check-exception",          "-",        6, 7,  1,    true,  rtas_check_exception,         0,             "fetch an event"},
    {"event-scan",               "-",        4, 4,  1,    false, rtas_event_scan,              0,             "fetch an event: there is never one"},
    {"get-time-of-day",          "-",        0, 0,  8,    true,  rtas_get_time_of_day,         0,             "read the clock, UTC"},
    {"set-time-of-day",          "-",        7, 7,  1,    true,  rtas_set_time_of_day,         0,             "set the guest's clock"},
    {"power-off",                "-",        2, 2,  1,    true,  rtas_power_off,               0,             "end the guest"},
    {"system-reboot",            "-",        0, 0,  1,    true,  rtas_system_reboot,           0,             "reset the machine"},
    {"ibm,os-term",              "-",        1, 1,  1,    true,  rtas_os_term,                 0,             "report a panic"},
    {"ibm,get-system-parameter", "7.3.16",   3, 3,  1,    false, rtas_get_system_parameter,    0,             "read a parameter: limits and name of the partition"},
    {"ibm,set-system-parameter", "7.3.16",   2, 2,  1,    false, rtas_set_system_parameter,    0,             "set a parameter: none can be"},
    {"ibm,read-pci-config",    "7.3.4",      4, 4,  2,    true,  rtas_read_pci_config,         0,             "read the configuration space of a PCI function"},
    {"ibm,write-pci-config",   "7.3.4",      5, 5,  1,    true,  rtas_write_pci_config,        0,             "write it"},
    {"ibm,change-msi",         "7.3.10.5.1", 6, 6,  4,    true,  rtas_change_msi,              0,             "get interrupts for a PCI function, or give them back"},
    {"ibm,query-interrupt-source-number", "7.3.10.5.2", 4, 4, 3, true, rtas_query_interrupt_source_number, 0, "the interrupt source of a vector"},
    {"ibm,set-eeh-option",     "-",          4, 4,  1,    false, rtas_no_eeh,                  0,             "EEH: there is none"},
    {"ibm,set-slot-reset",     "-",          4, 4,  1,    false, rtas_no_eeh,                  0,             "the same"},
    {"ibm,read-slot-reset-state2", "-",      3, 3,  4,    false, rtas_no_eeh,                  0,             "the same"},
    {"ibm,get-config-addr-info2", "-",       4, 4,  2,    false, rtas_no_eeh,                  0,             "the same"},
    {"ibm,configure-pe",       "-",          3, 3,  1,    false, rtas_no_eeh,                  0,             "the same"},
    {"ibm,slot-error-detail",  "-",          8, 8,  1,    false, rtas_no_eeh,                  0,             "the same"},
    {"ibm,set-xive",             "-",        3, 3,  1,    false, NULL,                         KVM_MODE_XICS, "set server and priority of an interrupt source"},
    {"ibm,get-xive",             "-",        1, 1,  3,    false, NULL,                         KVM_MODE_XICS, "read server and priority"},
    {"ibm,int-off",              "-",        1, 1,  1,    false, NULL,                         KVM_MODE_XICS, "mask an interrupt source"},
    {"ibm,int-on",               "-",        1, 1,  1,    false, NULL,                         KVM_MODE_XICS, "unmask an interrupt source"},
};
/* clang-format on */

const size_t rtas_table_rows = sizeof rtas_table / sizeof rtas_table[0];

#define TOKEN_BASE 0x2000u

uint32_t rtas_token(size_t row)
{
	return TOKEN_BASE + (uint32_t)row;
}

uint32_t rtas_token_of(const char *name)
{
	for (size_t i = 0; i < rtas_table_rows; i++)
		if (strcmp(rtas_table[i].name, name) == 0)
			return rtas_token(i);
	return UINT32_MAX; /* "unknown service" */
}

static const struct rtas_row *rtas_find_row(uint32_t token)
{
	return token >= TOKEN_BASE && token - TOKEN_BASE < rtas_table_rows
	           ? &rtas_table[token - TOKEN_BASE]
	           : NULL;
}

static enum rtas_status rtas_call_row(const struct rtas_row *row, struct rtas_call *call)
{
	enum rtas_status status;

	if (row == NULL || row->function == NULL || call->nargs < row->min_args ||
	    call->nargs > row->max_args || call->nret != row->nret)
		return RTAS_PARAMETER_ERROR;
	if (!row->lock)
		return row->function(call);
	pthread_mutex_lock(&call->machine->lock);
	status = row->function(call);
	pthread_mutex_unlock(&call->machine->lock);
	return status;
}

/* The block: token, nargs, nret, then arguments and results one behind the other. */
struct block {
	struct be32 token, nargs, nret;
	struct be32 words[RTAS_WORDS];
};

static bool rtas_read_block(
    const struct gmem *gmem, uint64_t address, struct block *block, struct rtas_call *call)
{
	size_t head = offsetof(struct block, words);

	/* RTAS is 32-bit: a block that reaches beyond 4 GiB cannot be named by a guest. */
	if (address > UINT32_MAX - sizeof *block || !gmem_read(gmem, address, block, head))
		return false;
	call->nargs = from_be32(block->nargs);
	call->nret = from_be32(block->nret);
	if (call->nargs > RTAS_WORDS || call->nret > RTAS_WORDS - call->nargs)
		return false;
	if (!gmem_read(gmem, address + head, block->words,
	        (call->nargs + call->nret) * sizeof block->words[0]))
		return false;
	for (uint32_t i = 0; i < call->nargs; i++)
		call->args[i] = from_be32(block->words[i]);
	return true;
}

bool rtas_dispatch(struct vcpu *vcpu, uint64_t address)
{
	struct spapr *machine = vcpu->machine;
	struct rtas_call call = {.machine = machine, .vcpu = vcpu};
	struct block block;
	enum rtas_status status;
	size_t head = offsetof(struct block, words);

	if (!rtas_read_block(&machine->gmem, address, &block, &call))
		return false;
	news_count(&machine->news, COUNT_RTAS_CALLS, 1);
	status = rtas_call_row(rtas_find_row(from_be32(block.token)), &call);
	if (status == RTAS_PARAMETER_ERROR) {
		news_count(&machine->news, COUNT_RTAS_REFUSED, 1);
		log_guest(&machine->limit_rtas, LOG_DEBUG,
		    "vCPU %u: RTAS call %#x (%u arguments, %u results) refused", vcpu->id,
		    from_be32(block.token), call.nargs, call.nret);
	}
	/* Never past nret words: what follows is the guest's own. */
	for (uint32_t i = 0; i < call.nret; i++)
		block.words[i] = be32(i == 0 ? (uint32_t)status : call.outputs[i - 1]);
	return gmem_write(&machine->gmem, address + head + call.nargs * sizeof block.words[0],
	    block.words, call.nret * sizeof block.words[0]);
}
