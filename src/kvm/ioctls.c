/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ioctls.c - every KVM request this program makes, when it makes it, and what for.
 *
 * The sandbox (src/sandbox/sandbox.h) turns the rows into rules, so a request without a row works
 * until the guest starts, and ends the process afterwards. tests/sandbox compares the table
 * with what the sources of this room call.
 */
#include "kvm/internal.h"

#define ROW(request, when, reason)                                                                 \
	{                                                                                          \
#request, request, when, reason                                                    \
	}

const struct kvm_ioctl_use kvm_ioctls[] = {
    /* First the one that is made all the time: `sandbox_rows cost` measures it. */
    ROW(KVM_RUN, KVM_BY_VCPU, "enter the guest"),
    ROW(KVM_SET_ONE_REG, KVM_BY_VCPU, "park a vCPU, start it, give it its modes"),
    ROW(KVM_GET_ONE_REG, KVM_BY_VCPU, "read LPCR before its modes are changed"),
    ROW(KVM_SET_REGS, KVM_BY_VCPU, "start a vCPU at an address; H_SET_SPRG0"),
    ROW(KVM_GET_REGS, KVM_BY_VCPU, "H_SET_SPRG0; tell the operator where a stopped vCPU is"),
    ROW(KVM_SET_SREGS, KVM_BY_VCPU, "start a vCPU of a hash guest without segments"),
    ROW(KVM_IRQ_LINE_STATUS, KVM_BY_VCPU, "tell the guest of events and of typed input"),
    ROW(KVM_PPC_CONFIGURE_V3_MMU, KVM_BY_VCPU, "H_REGISTER_PROC_TBL, and its end at a reset"),
    ROW(KVM_SET_DEVICE_ATTR, KVM_BY_VCPU,
        "reset the interrupt sources, for a kernel that begins; H_INT_* calls"),

    ROW(KVM_IRQFD, KVM_FOR_DEVICES, "interrupts of a PCI device, as its driver sets them up"),
    ROW(KVM_IOEVENTFD, KVM_FOR_DEVICES, "notifications of its queues, wherever its driver puts it"),

    ROW(KVM_CREATE_VCPU, KVM_BY_OPERATOR, "make the vCPUs of a core that is added"),
    ROW(KVM_ENABLE_CAP, KVM_BY_OPERATOR,
        "put such a vCPU into PAPR mode, connect it to interrupts"),
    ROW(KVM_SET_USER_MEMORY_REGION, KVM_BY_OPERATOR, "memory blocks that come and go"),

    ROW(KVM_PPC_ALLOCATE_HTAB, KVM_BY_OPERATOR,
        "make the hash page table, and clear it at a reset"),

    ROW(KVM_GET_API_VERSION, KVM_AT_SETUP, "is this /dev/kvm?"),
    ROW(KVM_GET_VCPU_MMAP_SIZE, KVM_AT_SETUP, "how large a vCPU's run area is"),
    ROW(KVM_CREATE_VM, KVM_AT_SETUP, "make the machine"),
    ROW(KVM_CHECK_EXTENSION, KVM_AT_SETUP, "what the host offers"),
    ROW(KVM_PPC_GET_RMMU_INFO, KVM_AT_SETUP, "page sizes of a radix guest"),
    ROW(KVM_PPC_GET_SMMU_INFO, KVM_AT_SETUP, "page sizes of a hash guest"),
    ROW(KVM_PPC_GET_CPU_CHAR, KVM_AT_SETUP, "what the processor leaks, for the guest to know"),
    ROW(KVM_PPC_RTAS_DEFINE_TOKEN, KVM_AT_SETUP, "RTAS services that KVM answers"),
    ROW(KVM_CREATE_DEVICE, KVM_AT_SETUP, "make the interrupt controller"),
    ROW(KVM_CREATE_SPAPR_TCE_64, KVM_AT_SETUP, "translations for DMA, filled by hcalls"),
    ROW(KVM_HAS_DEVICE_ATTR, KVM_AT_SETUP, "can its number of servers be set?"),
};

const size_t kvm_ioctl_count = sizeof kvm_ioctls / sizeof kvm_ioctls[0];
