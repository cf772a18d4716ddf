/* SPDX-License-Identifier: Apache-2.0 */
/* hcall_pr.h - the hypervisor calls that reach user space under kvm-pr only; rows of hcall.c. */
#ifndef PAPRIKA_HCALL_PR_H
#define PAPRIKA_HCALL_PR_H

#include "spapr/hcall.h"

/* H_REGISTER_VPA: r4 flags, r5 server, r6 address of the area. */
enum hcall_status h_pr_register_vpa(struct vcpu *vcpu, uint64_t args[9]);

/* H_CONFER: r4 server, or all ones for any. */
enum hcall_status h_pr_confer(struct vcpu *vcpu, uint64_t args[9]);

/* H_PROD: r4 server. */
enum hcall_status h_pr_prod(struct vcpu *vcpu, uint64_t args[9]);

/* H_READ: r4 flags, r5 index -> one entry of the hash page table in r4 r5, or four in r4 .. r11. */
enum hcall_status h_pr_read(struct vcpu *vcpu, uint64_t args[9]);

#endif
