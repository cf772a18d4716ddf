/* SPDX-License-Identifier: Apache-2.0 */
/* mmu_radix.c - radix guests on kvm-hv. The guest has a table of its processes' tables in its own
 * memory, and tells where by H_REGISTER_PROC_TBL. */
#include <errno.h>
#include <sys/ioctl.h>

#include "kvm/internal.h"

static bool radix_create(struct kvm_vm *vm, uint64_t memory_bytes, struct err *err)
{
	return true; /* KVM makes its own tables as they are needed */
}

static int radix_set_process_table(struct kvm_vm *vm, uint64_t table, bool gtse)
{
	/* Bit 63 (PATE1[GR]) says radix; KVM refuses a radix configuration without it. */
	struct kvm_ppc_mmuv3_cfg config = {
	    .flags = KVM_PPC_MMUV3_RADIX | (gtse ? KVM_PPC_MMUV3_GTSE : 0),
	    .process_table = UINT64_C(1) << 63 | table,
	};

	return ioctl(vm->vm_fd, KVM_PPC_CONFIGURE_V3_MMU, &config) < 0 ? -errno : 0;
}

static bool radix_reset(struct kvm_vm *vm, struct err *err)
{
	int result = radix_set_process_table(vm, 0, true);

	return result == 0 || err_system(err, -result, NULL, "KVM refuses radix mode");
}

const struct kvm_mmu_ops kvm_mmu_radix = {
    .create = radix_create,
    .reset = radix_reset,
    .set_process_table = radix_set_process_table,
    .park_vcpu = kvm_vcpu_forget_areas,
};
