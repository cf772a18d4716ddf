/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mmu_hash.c - hash guests on kvm-hv. The hash page table is KVM's own memory; the guest fills it
 * by H_ENTER and its like, which KVM answers. Asking for the table also makes a VM of a radix host
 * a hash guest.
 */
#include <errno.h>
#include <sys/ioctl.h>

#include "kvm/internal.h"

/* An empty table of this size: a new one, or the one that is there, cleared. */
static bool hash_allocate(struct kvm_vm *vm, struct err *err)
{
	uint32_t order = vm->hpt_order;

	if (ioctl(vm->vm_fd, KVM_PPC_ALLOCATE_HTAB, &order) == 0)
		return true;
	err_system(err, errno,
	    vm->facts.radix ? "use --memory with a smaller max, or --mmu radix"
	                    : "use --memory with a smaller max",
	    "KVM cannot make a hash page table of %u KiB", 1u << (vm->hpt_order - 10));
	err->class = ERR_HOST;
	return false;
}

static bool hash_create(struct kvm_vm *vm, uint64_t memory_bytes, struct err *err)
{
	vm->hpt_order = kvm_mode_hpt_order(&vm->facts, memory_bytes);
	return hash_allocate(vm, err);
}

static int hash_set_process_table(struct kvm_vm *vm, uint64_t table, bool gtse)
{
	struct kvm_ppc_mmuv3_cfg config = {.flags = 0, .process_table = 0};

	/* Processors before ISA 3.0 have nothing to configure. */
	if (table != 0 || ioctl(vm->vm_fd, KVM_PPC_CONFIGURE_V3_MMU, &config) == 0)
		return table != 0 ? -EINVAL : 0;
	return errno == ENODEV ? 0 : -errno;
}

static bool hash_reset(struct kvm_vm *vm, struct err *err)
{
	int result;

	if (!hash_allocate(vm, err))
		return false;
	result = hash_set_process_table(vm, 0, false);
	return result == 0 || err_system(err, -result, NULL, "KVM refuses hash mode");
}

/* KVM takes it for how much of the processor the vCPU gets; not every kernel knows it. */
static void hash_set_online(struct kvm_vcpu *vcpu, uint32_t online)
{
	kvm_vcpu_set_reg(vcpu, KVM_REG_PPC_ONLINE, &online);
}

/* The segments of a former life. */
static bool hash_enter_vcpu(struct kvm_vcpu *vcpu, struct err *err)
{
	struct kvm_sregs sregs = {.pvr = vcpu->vm->facts.pvr};

	hash_set_online(vcpu, 1);
	return ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) == 0 ||
	       err_system(err, errno, NULL, "cannot clear the segments of vCPU %u", vcpu->id);
}

static bool hash_park_vcpu(struct kvm_vcpu *vcpu, struct err *err)
{
	hash_set_online(vcpu, 0);
	return kvm_vcpu_forget_areas(vcpu, err);
}

const struct kvm_mmu_ops kvm_mmu_hash = {
    .create = hash_create,
    .reset = hash_reset,
    .set_process_table = hash_set_process_table,
    .enter_vcpu = hash_enter_vcpu,
    .park_vcpu = hash_park_vcpu,
};
