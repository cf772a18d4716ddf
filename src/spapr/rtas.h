/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtas.h - run-time abstraction services (LoPAR chapter 7): one table row per service, from which
 * the tokens in the device tree, the argument checks and the dispatch follow.
 *
 * A service function gets its arguments and results as arrays of host-endian words, never their
 * address. Buffers that the guest names are accessed through gmem.
 */
#ifndef PAPRIKA_RTAS_H
#define PAPRIKA_RTAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "drc/drc.h"

struct vcpu;
struct spapr;

/* The hcall number by which the RTAS blob in guest memory enters; KVM listens there too. */
#define HCALL_RTAS 0xf000

/* An argument block holds this many words for arguments and results together. */
#define RTAS_WORDS 16

struct rtas_call {
	struct spapr *machine;
	struct vcpu *vcpu;
	uint32_t args[RTAS_WORDS];
	uint32_t nargs, nret;
	uint32_t outputs[RTAS_WORDS]; /* results after the status word; zero if not set */
};

struct rtas_row {
	const char *name;    /* property in /rtas */
	const char *section; /* of LoPAPR 1.1; "-" where it is not known */
	uint8_t min_args, max_args;
	uint8_t nret; /* status word included */
	bool lock;    /* called with the machine's lock held */
	/* NULL: KVM's XICS answers it */
	enum rtas_status (*function)(struct rtas_call *call);
	unsigned modes;    /* enum kvm_mode_bit: all of these have to hold; 0: always */
	const char *about; /* one line */
};

extern const struct rtas_row rtas_table[];
extern const size_t rtas_table_rows;

/* A row's token: what the guest calls it by. Positive, as Linux 6.12 wants it. */
uint32_t rtas_token(size_t row);

/* The token of a named service; it exists. */
uint32_t rtas_token_of(const char *name);

/* Make the call whose argument block is at guest address block; false if that is not a block
 * in RAM below 4 GiB, or claims more words than a block has. */
bool rtas_dispatch(struct vcpu *vcpu, uint64_t block);

/* The instructions of the RTAS blob, RTAS_BLOB_WORDS of them. RTAS_BLOB_HCALL is the one that makes
 * the hypervisor call, which is another one in some modes. */
#define RTAS_BLOB_WORDS 5
#define RTAS_BLOB_HCALL 3
extern const uint32_t rtas_blob[RTAS_BLOB_WORDS];

/* rtas_cpu.c */
enum rtas_status rtas_start_cpu(struct rtas_call *call);
enum rtas_status rtas_stop_self(struct rtas_call *call);
enum rtas_status rtas_query_cpu_stopped_state(struct rtas_call *call);
/* rtas_dr.c */
enum rtas_status rtas_set_indicator(struct rtas_call *call);
enum rtas_status rtas_get_sensor_state(struct rtas_call *call);
enum rtas_status rtas_configure_connector(struct rtas_call *call);
enum rtas_status rtas_set_power_level(struct rtas_call *call);
enum rtas_status rtas_get_power_level(struct rtas_call *call);
/* rtas_pci.c */
enum rtas_status rtas_read_pci_config(struct rtas_call *call);
enum rtas_status rtas_write_pci_config(struct rtas_call *call);
enum rtas_status rtas_change_msi(struct rtas_call *call);
enum rtas_status rtas_query_interrupt_source_number(struct rtas_call *call);
enum rtas_status rtas_no_eeh(struct rtas_call *call);
/* rtas_system.c */
enum rtas_status rtas_check_exception(struct rtas_call *call);
enum rtas_status rtas_event_scan(struct rtas_call *call);
enum rtas_status rtas_get_time_of_day(struct rtas_call *call);
enum rtas_status rtas_set_time_of_day(struct rtas_call *call);
enum rtas_status rtas_power_off(struct rtas_call *call);
enum rtas_status rtas_system_reboot(struct rtas_call *call);
enum rtas_status rtas_os_term(struct rtas_call *call);
enum rtas_status rtas_get_system_parameter(struct rtas_call *call);
enum rtas_status rtas_set_system_parameter(struct rtas_call *call);

#endif
