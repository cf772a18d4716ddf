/* SPDX-License-Identifier: Apache-2.0 */
/*
 * irq_xics.c - the XICS interrupt controller in the kernel. Guests reach it by hypervisor calls and
 * four RTAS services, which KVM answers itself.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm/internal.h"

/* Interrupt presenter: CPPR 0 (nothing gets through), no IPI requested, nothing pending. */
#define ICP_RESET_STATE UINT64_C(0x00000000ffff0000)

static bool xics_define_token(struct kvm_vm *vm, const char *name, uint32_t token, struct err *err)
{
	struct kvm_rtas_token_args args = {.token = token};

	strncpy(args.name, name, sizeof args.name - 1);
	if (ioctl(vm->vm_fd, KVM_PPC_RTAS_DEFINE_TOKEN, &args) < 0)
		return err_system(err, errno, NULL, "KVM refuses the RTAS service %s", name);
	return true;
}

static bool xics_create(struct kvm_vm *vm, const struct kvm_irqchip_config *config, struct err *err)
{
	const struct kvm_xics_tokens *tokens = &config->tokens;
	uint32_t servers = config->servers;
	struct kvm_create_device device = {.type = KVM_DEV_TYPE_XICS};
	struct kvm_device_attr attr = {.group = KVM_DEV_XICS_GRP_CTRL,
	    .attr = KVM_DEV_XICS_NR_SERVERS,
	    .addr = (uintptr_t)&servers};

	/* The tokens make KVM look into hcall 0xf000, and only that one. */
	if (!xics_define_token(vm, "ibm,set-xive", tokens->set_xive, err) ||
	    !xics_define_token(vm, "ibm,get-xive", tokens->get_xive, err) ||
	    !xics_define_token(vm, "ibm,int-off", tokens->int_off, err) ||
	    !xics_define_token(vm, "ibm,int-on", tokens->int_on, err))
		return false;
	if (ioctl(vm->vm_fd, KVM_CREATE_DEVICE, &device) < 0)
		return err_system(err, errno, NULL, "KVM cannot create the interrupt controller");
	vm->irqchip_fd = (int)device.fd;
	/* Only the flavour that sits on a host XIVE has this attribute. */
	if (ioctl(vm->irqchip_fd, KVM_HAS_DEVICE_ATTR, &attr) == 0 &&
	    ioctl(vm->irqchip_fd, KVM_SET_DEVICE_ATTR, &attr) < 0)
		return err_system(err, errno, "use --cpus with a smaller max",
		    "KVM refuses %u interrupt servers", servers);
	return true;
}

static bool xics_reset_source(struct kvm_vm *vm, uint32_t irq, uint32_t server, struct err *err)
{
	/* Priority 0xff is "never". The server has to exist: an interrupt for one that does not
	 * would be dropped with the source left presented, and then stay silent for ever. */
	uint64_t state = (uint64_t)server << KVM_XICS_DESTINATION_SHIFT |
	                 (uint64_t)0xff << KVM_XICS_PRIORITY_SHIFT | KVM_XICS_MASKED;
	int result = kvm_irqchip_set_attr(vm, KVM_DEV_XICS_GRP_SOURCES, irq, &state);

	return result == 0 ||
	       err_system(err, -result, NULL, "KVM refuses interrupt source %#x", irq);
}

static bool xics_park_vcpu(struct kvm_vcpu *vcpu, struct err *err)
{
	uint64_t presenter = ICP_RESET_STATE;

	return kvm_vcpu_set_reg(vcpu, KVM_REG_PPC_ICP_STATE, &presenter) ||
	       err_system(
	           err, errno, NULL, "cannot reset the interrupt presenter of vCPU %u", vcpu->id);
}

const struct kvm_irqchip_ops kvm_irqchip_xics = {
    .create = xics_create,
    .reset_source = xics_reset_source,
    .pulse = kvm_irqchip_send_edge,
    .connect_cap = KVM_CAP_IRQ_XICS,
    .park_vcpu = xics_park_vcpu,
};
