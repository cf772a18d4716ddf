/* SPDX-License-Identifier: Apache-2.0 */
/* hcall.h - the table of hypervisor calls (LoPAR, "Hypervisor Call Functions"), and their dispatch.
 */
#ifndef PAPRIKA_HCALL_H
#define PAPRIKA_HCALL_H

#include "kvm/kvm.h"

struct vcpu;
struct spapr;

/* Return codes (LoPAR, hypervisor call return codes). */
enum hcall_status {
	H_SUCCESS = 0,
	H_BUSY = 1,
	H_HARDWARE = -1,
	H_FUNCTION = -2,
	H_PARAMETER = -4,
	H_RESOURCE = -16,
	H_P2 = -55,
	H_P3 = -56,
	H_P4 = -57,
	H_P5 = -58,
	H_UNSUPPORTED_FLAG = -256,
};

struct hcall_row {
	uint16_t number;
	const char *name;
	const char *section; /* of LoPAPR 1.1; "-" where it is not known */
	const char *feature; /* string in ibm,hypertas-functions; may be NULL */
	/* args: r4 .. r12 in, r4 .. out. NULL: KVM answers it; if it does not, H_FUNCTION. */
	enum hcall_status (*function)(struct vcpu *vcpu, uint64_t args[9]);
	bool enable;       /* KVM answers it once told to (KVM_CAP_PPC_ENABLE_HCALL) */
	unsigned modes;    /* enum kvm_mode_bit: all of these have to hold; 0: always. A number may
	                    * have a row for each of several modes. */
	const char *about; /* one line */
};

extern const struct hcall_row hcall_table[];
extern const size_t hcall_table_rows;

/* Answer one hcall: fills call->ret and the outputs. On the vCPU's own thread. */
void hcall_dispatch(struct vcpu *vcpu, struct kvm_hcall *call);

/* Ask KVM to answer what it can. */
void hcalls_enable(struct spapr *machine);

#endif
