/* SPDX-License-Identifier: Apache-2.0 */
/*
 * irq_xive.c - XIVE, the interrupt controller of POWER9 and later, in the hands of the guest: it
 * reads event queues in its own memory, and reaches its presenter (TIMA) and the pages of its
 * inter-processor sources (ESB) by loads and stores that do not leave the guest. KVM has the queues
 * and the sources; the guest sets them up by hypervisor calls, whose tables are in
 * spapr/irq_xive.c.
 *
 * KVM gives the pages to us to map, and what we map can be a memory slot. It has no page behind a
 * source that does not exist, and a vCPU that touches such a hole does not come back: so the slots
 * span the sources of all servers, and those of devices, and these always exist. Other sources have
 * no page that a guest can reach. KVM prints an error for most values that it refuses, and a
 * warning with a stack for a source that is aimed where no queue is: callers check first.
 */
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "kvm/internal.h"

enum {
	TIMA_PAGES = 4,
	TIMA_OS_PAGE = 2,      /* of those, the only one that KVM has for guests */
	ESB_PAGES = 2,         /* per source: to trigger it, then to manage it */
	ESB_SET_PQ_00 = 0xc00, /* a load there: ready to be triggered */
	QUEUE_SHIFT = 16,      /* log2 of the only size of a queue */
	EISN_BITS = 31,
};

static bool native_map(
    struct kvm_vm *vm, struct kvm_area *area, uint64_t page, size_t pages, struct err *err)
{
	size_t size = vm->facts.page_bytes;

	area->bytes = pages * size;
	area->host = mmap(NULL, area->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vm->irqchip_fd,
	    (off_t)(page * size));
	if (area->host != MAP_FAILED)
		return true;
	area->host = NULL;
	return err_system(err, errno, "use --irqchip xics, or --cpus with a smaller max",
	    "cannot map the interrupt controller");
}

static bool native_set_slot(struct kvm_vm *vm, uint32_t number, const uint8_t *host,
    uint64_t address, uint64_t bytes, struct err *err)
{
	struct kvm_userspace_memory_region region = {
	    .slot = vm->facts.memory_slots - KVM_OWN_SLOTS + number,
	    .guest_phys_addr = address,
	    .memory_size = bytes,
	    .userspace_addr = (uintptr_t)host};

	return ioctl(vm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) == 0 ||
	       err_system(err, errno, "use --irqchip xics",
	           "KVM refuses to map the interrupt controller for the guest");
}

static bool native_reset_source(struct kvm_vm *vm, uint32_t irq, uint32_t server, struct err *err);

/* The sources of devices, and their pages for the guest. */
static bool native_create_devices(
    struct kvm_vm *vm, const struct kvm_irqchip_config *config, struct err *err)
{
	uint64_t offset = ESB_PAGES * (uint64_t)vm->facts.page_bytes * config->device_first;

	for (uint32_t i = 0; i < config->device_count; i++)
		if (!native_reset_source(vm, config->device_first + i, 0, err))
			return false;
	return config->device_count == 0 ||
	       native_set_slot(vm, 2, vm->esb.host + offset, config->esb_address + offset,
	           ESB_PAGES * (uint64_t)vm->facts.page_bytes * config->device_count, err);
}

static bool native_create(
    struct kvm_vm *vm, const struct kvm_irqchip_config *config, struct err *err)
{
	struct kvm_create_device device = {.type = KVM_DEV_TYPE_XIVE};
	uint64_t page = vm->facts.page_bytes;
	int result;

	if (ioctl(vm->vm_fd, KVM_CREATE_DEVICE, &device) < 0)
		return err_system(
		    err, errno, "use --irqchip xics", "KVM cannot create the interrupt controller");
	vm->irqchip_fd = (int)device.fd;
	/* Without this KVM takes as many as there can be from what all guests of the host share. */
	result = kvm_irqchip_set_attr(
	    vm, KVM_DEV_XIVE_GRP_CTRL, KVM_DEV_XIVE_NR_SERVERS, &config->servers);
	if (result < 0)
		return err_system(err, -result, "use --cpus with a smaller max",
		    "KVM refuses %u interrupt servers", config->servers);
	return native_map(vm, &vm->tima, KVM_XIVE_TIMA_PAGE_OFFSET, TIMA_PAGES, err) &&
	       native_map(vm, &vm->esb, KVM_XIVE_ESB_PAGE_OFFSET,
	           (size_t)ESB_PAGES * config->sources_end, err) &&
	       native_set_slot(
	           vm, 0, vm->tima.host + TIMA_OS_PAGE * page, config->tima_address, page, err) &&
	       native_set_slot(vm, 1, vm->esb.host, config->esb_address,
	           ESB_PAGES * page * config->servers, err) &&
	       native_create_devices(vm, config, err);
}

static void native_destroy(struct kvm_vm *vm)
{
	if (vm->tima.host != NULL)
		munmap(vm->tima.host, vm->tima.bytes);
	if (vm->esb.host != NULL)
		munmap(vm->esb.host, vm->esb.bytes);
}

/* No queues, and sources as after native_reset_source(), but for those that were aimed nowhere. */
static bool native_reset(struct kvm_vm *vm, struct err *err)
{
	int result = kvm_irqchip_set_attr(vm, KVM_DEV_XIVE_GRP_CTRL, KVM_DEV_XIVE_RESET, NULL);

	return result == 0 ||
	       err_system(err, -result, NULL, "KVM cannot reset the interrupt controller");
}

/* Makes the source, if it is not there yet. */
static bool native_reset_source(struct kvm_vm *vm, uint32_t irq, uint32_t server, struct err *err)
{
	uint64_t edge = 0;
	int result = kvm_irqchip_set_attr(vm, KVM_DEV_XIVE_GRP_SOURCE, irq, &edge);

	(void)server; /* it is aimed nowhere */
	return result == 0 ||
	       err_system(err, -result, "use --cpus with a smaller max, or --irqchip xics",
	           "KVM refuses interrupt source %#x", irq);
}

static volatile uint64_t *native_manage(const struct kvm_vm *vm, uint32_t irq, uint32_t offset)
{
	size_t page = vm->facts.page_bytes;

	return (volatile uint64_t *)(vm->esb.host + (ESB_PAGES * (size_t)irq + 1) * page + offset);
}

uint64_t kvm_xive_load(const struct kvm_vm *vm, uint32_t irq, uint32_t offset)
{
	struct be64 value = {*native_manage(vm, irq, offset)};

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return from_be64(value);
}

static int native_pulse(struct kvm_vm *vm, uint32_t irq)
{
	/* The guest ends an interrupt by a call that does not reach the source. */
	kvm_xive_load(vm, irq, ESB_SET_PQ_00);
	return kvm_irqchip_send_edge(vm, irq);
}

static bool native_park_vcpu(struct kvm_vcpu *vcpu, struct err *err)
{
	/* The ring as KVM begins with it: nothing pending, and a priority that lets nothing
	 * through. */
	uint8_t state[16] = {[4] = 0xff};

	return kvm_vcpu_set_reg(vcpu, KVM_REG_PPC_VP_STATE, state) ||
	       err_system(
	           err, errno, NULL, "cannot reset the interrupt presenter of vCPU %u", vcpu->id);
}

const struct kvm_irqchip_ops kvm_irqchip_xive = {
    .create = native_create,
    .destroy = native_destroy,
    .reset = native_reset,
    .reset_source = native_reset_source,
    .pulse = native_pulse,
    .connect_cap = KVM_CAP_PPC_IRQ_XIVE,
    .park_vcpu = native_park_vcpu,
};

/* --- What a guest asks for ---------------------------------------------------------------------
 */

static int native_configure(
    struct kvm_vm *vm, uint32_t irq, const struct kvm_xive_target *target, bool masked)
{
	uint64_t value = (uint64_t)target->priority << KVM_XIVE_SOURCE_PRIORITY_SHIFT |
	                 (uint64_t)target->server << KVM_XIVE_SOURCE_SERVER_SHIFT |
	                 (uint64_t)masked << KVM_XIVE_SOURCE_MASKED_SHIFT |
	                 (uint64_t)target->number << KVM_XIVE_SOURCE_EISN_SHIFT;

	if (target->number >> EISN_BITS != 0)
		return -EINVAL;
	return kvm_irqchip_set_attr(vm, KVM_DEV_XIVE_GRP_SOURCE_CONFIG, irq, &value);
}

int kvm_xive_aim(struct kvm_vm *vm, uint32_t irq, const struct kvm_xive_target *target)
{
	return native_configure(vm, irq, target, false);
}

int kvm_xive_mask(struct kvm_vm *vm, uint32_t irq, const struct kvm_xive_target *target)
{
	/* KVM does nothing if all but the mask is what it has already. */
	struct kvm_xive_target other = {.priority = target->priority == 0};

	return native_configure(vm, irq, &other, true);
}

int kvm_xive_set_queue(
    struct kvm_vm *vm, uint32_t server, uint32_t priority, const uint64_t *address)
{
	struct kvm_ppc_xive_eq queue = {0};

	if (address != NULL)
		queue = (struct kvm_ppc_xive_eq){.flags = KVM_XIVE_EQ_ALWAYS_NOTIFY,
		    .qshift = QUEUE_SHIFT,
		    .qaddr = *address,
		    .qtoggle = 1};
	return kvm_irqchip_set_attr(vm, KVM_DEV_XIVE_GRP_EQ_CONFIG,
	    (uint64_t)priority << KVM_XIVE_EQ_PRIORITY_SHIFT | (uint64_t)server
	                                                           << KVM_XIVE_EQ_SERVER_SHIFT,
	    &queue);
}

int kvm_xive_sync(struct kvm_vm *vm, uint32_t irq)
{
	return kvm_irqchip_set_attr(vm, KVM_DEV_XIVE_GRP_SOURCE_SYNC, irq, NULL);
}
