/* SPDX-License-Identifier: Apache-2.0 */
/* hcall_xive.h - hypervisor calls by which a guest sets XIVE up: rows of hcall_table. */
#ifndef PAPRIKA_SPAPR_HCALL_XIVE_H
#define PAPRIKA_SPAPR_HCALL_XIVE_H

#include "spapr/hcall.h"

enum hcall_status h_int_get_source_info(struct vcpu *caller, uint64_t args[9]);
enum hcall_status h_int_set_source_config(struct vcpu *caller, uint64_t args[9]);
enum hcall_status h_int_get_source_config(struct vcpu *caller, uint64_t args[9]);
enum hcall_status h_int_get_queue_info(struct vcpu *caller, uint64_t args[9]);
enum hcall_status h_int_set_queue_config(struct vcpu *caller, uint64_t args[9]);
enum hcall_status h_int_esb(struct vcpu *caller, uint64_t args[9]);
enum hcall_status h_int_sync(struct vcpu *caller, uint64_t args[9]);
enum hcall_status h_int_reset(struct vcpu *caller, uint64_t args[9]);

#endif
