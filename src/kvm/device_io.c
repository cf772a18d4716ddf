/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device_io.c - what a device and the guest exchange without an exit: notifications and interrupts
 * by eventfds, and the table of translations for DMA.
 *
 * A doorbell has length 0: kvm-hv then completes the store from the page fault itself, without
 * reading the instruction, and no value is compared, whose byte order would be the host's.
 */
#include <errno.h>
#include <sys/ioctl.h>

#include "kvm/internal.h"

enum { TCE_PAGE_SHIFT = 12 };

static int device_set_irq(struct kvm_vm *vm, uint32_t irq, int eventfd, uint32_t flags)
{
	struct kvm_irqfd irqfd = {.fd = (uint32_t)eventfd, .gsi = irq, .flags = flags};

	return ioctl(vm->vm_fd, KVM_IRQFD, &irqfd) < 0 ? -errno : 0;
}

int kvm_join_irq(struct kvm_vm *vm, uint32_t irq, int eventfd)
{
	return device_set_irq(vm, irq, eventfd, 0);
}

int kvm_part_irq(struct kvm_vm *vm, uint32_t irq, int eventfd)
{
	return device_set_irq(vm, irq, eventfd, KVM_IRQFD_FLAG_DEASSIGN);
}

static int device_set_doorbell(struct kvm_vm *vm, uint64_t address, int eventfd, uint32_t flags)
{
	struct kvm_ioeventfd doorbell = {.addr = address, .fd = eventfd, .flags = flags};

	return ioctl(vm->vm_fd, KVM_IOEVENTFD, &doorbell) < 0 ? -errno : 0;
}

int kvm_join_doorbell(struct kvm_vm *vm, uint64_t address, int eventfd)
{
	return device_set_doorbell(vm, address, eventfd, 0);
}

int kvm_part_doorbell(struct kvm_vm *vm, uint64_t address, int eventfd)
{
	return device_set_doorbell(vm, address, eventfd, KVM_IOEVENTFD_FLAG_DEASSIGN);
}

bool kvm_vm_create_tce_table(
    struct kvm_vm *vm, uint32_t liobn, uint64_t window_bytes, struct err *err)
{
	struct kvm_create_spapr_tce_64 table = {
	    .liobn = liobn, .page_shift = TCE_PAGE_SHIFT, .size = window_bytes >> TCE_PAGE_SHIFT};

	/* It lives as long as this descriptor. It counts as locked memory. */
	vm->tce_fd = ioctl(vm->vm_fd, KVM_CREATE_SPAPR_TCE_64, &table);
	return vm->tce_fd >= 0 ||
	       err_system(err, errno, "use Linux 4.6 or later, and raise ulimit -l if it is set",
	           "KVM cannot create the table for DMA of the PCI host bridge");
}
