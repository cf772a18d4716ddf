/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flavour_pr.c - guests on kvm-pr: their kernel runs in problem state, and KVM emulates what is
 * privileged. They have the hash MMU. Its table is memory of this program, which KVM reads and
 * writes in the vCPUs' threads; each vCPU is told where it is, as SDR1 once told a processor.
 */
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "base/be.h"
#include "kvm/internal.h"

#define HPT_ENTRY_BYTES 16

static uint64_t pr_hpt_bytes(const struct kvm_vm *vm)
{
	return UINT64_C(1) << vm->hpt_order;
}

/* KVM forms addresses in the table by OR, so it lies at a multiple of its size. */
static bool pr_create(struct kvm_vm *vm, uint64_t memory_bytes, struct err *err)
{
	uint64_t bytes, skip;
	uint8_t *area;

	vm->hpt_order = kvm_mode_hpt_order(&vm->facts, memory_bytes);
	bytes = pr_hpt_bytes(vm);
	area = mmap(NULL, 2 * bytes, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		return err_system(err, errno, "use --memory with a smaller max",
		    "cannot make a hash page table of %llu KiB", (unsigned long long)(bytes >> 10));
	skip = -(uintptr_t)area & (bytes - 1);
	vm->hpt = area + skip;
	if (skip != 0)
		munmap(area, skip);
	munmap(vm->hpt + bytes, bytes - skip);
	return true;
}

static void pr_destroy(struct kvm_vm *vm)
{
	if (vm->hpt != NULL)
		munmap(vm->hpt, pr_hpt_bytes(vm));
}

static bool pr_reset(struct kvm_vm *vm, struct err *err)
{
	return madvise(vm->hpt, pr_hpt_bytes(vm), MADV_DONTNEED) == 0 ||
	       err_system(err, errno, NULL, "cannot clear the hash page table");
}

static int pr_set_process_table(struct kvm_vm *vm, uint64_t table, bool gtse)
{
	return table != 0 ? -EINVAL : 0;
}

/* The processor's version, the table, and no segments; what KVM knows of translations is gone. */
static bool pr_enter_vcpu(struct kvm_vcpu *vcpu, struct err *err)
{
	struct kvm_vm *vm = vcpu->vm;
	struct kvm_sregs sregs = {.pvr = vm->processor.version};

	sregs.u.s.sdr1 = (uintptr_t)vm->hpt | (vm->hpt_order - 18);
	return ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) == 0 ||
	       err_system(err, errno, NULL, "cannot set up the MMU of vCPU %u", vcpu->id);
}

static bool pr_begin_vcpu(struct kvm_vcpu *vcpu, struct err *err)
{
	struct kvm_vm *vm = vcpu->vm;
	uint64_t hior = 0;

	if (!pr_enter_vcpu(vcpu, err))
		return false;
	/* Where interrupts go. KVM puts them into the last MiB until it is told. */
	if (!kvm_vcpu_set_reg(vcpu, KVM_REG_PPC_HIOR, &hior))
		return err_system(
		    err, errno, NULL, "cannot place the interrupts of vCPU %u", vcpu->id);
	/* What KVM says of page sizes is what the processor of the first vCPU has. */
	if (vcpu->id == 0) {
		kvm_read_page_sizes(vm);
		kvm_mode_describe(&vm->facts, &vm->mode, vm->hpt_order, &vm->processor);
	}
	return true;
}

static bool pr_park_vcpu(struct kvm_vcpu *vcpu, struct err *err)
{
	return true; /* it registers no areas with KVM */
}

const struct kvm_mmu_ops kvm_mmu_pr = {
    .create = pr_create,
    .reset = pr_reset,
    .set_process_table = pr_set_process_table,
    .destroy = pr_destroy,
    .begin_vcpu = pr_begin_vcpu,
    .enter_vcpu = pr_enter_vcpu,
    .park_vcpu = pr_park_vcpu,
};

bool kvm_hpt_read(const struct kvm_vm *vm, uint64_t index, uint64_t ret_entry[2])
{
	const struct be64 *entry;

	if (vm->hpt == NULL || index >= pr_hpt_bytes(vm) / HPT_ENTRY_BYTES)
		return false;
	entry = (const struct be64 *)(vm->hpt + index * HPT_ENTRY_BYTES);
	ret_entry[0] = from_be64(entry[0]);
	ret_entry[1] = from_be64(entry[1]);
	return true;
}
