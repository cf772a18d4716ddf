/* SPDX-License-Identifier: Apache-2.0 */
/* irqchip.c - see irqchip.h. */
#include "spapr/irqchip.h"

#include "spapr/irq.h"
#include "spapr/irq_xive.h"

bool irqchip_create(struct irqchip *irqchip, struct kvm_vm *vm, uint32_t servers, bool devices,
    const struct kvm_xics_tokens *tokens, struct err *err)
{
	static const struct irqchip_ops *const kinds[] = {
	    [KVM_IRQCHIP_XICS] = &irqchip_xics, [KVM_IRQCHIP_XIVE] = &irqchip_xive};
	const struct kvm_irqchip_config config = {.servers = servers,
	    .tokens = *tokens,
	    .sources_end = devices ? IRQ_DEVICES + IRQ_DEVICES_ALL : IRQ_FIRST + IRQ_COUNT,
	    .device_first = IRQ_DEVICES,
	    .device_count = devices ? IRQ_DEVICES_ALL : 0,
	    .esb_address = XIVE_ESB_ADDRESS,
	    .tima_address = XIVE_TIMA_ADDRESS + XIVE_TIMA_OS_PAGE * XIVE_PAGE_BYTES};

	if (servers > IRQ_FIRST)
		return err_set(err, ERR_USAGE, "use --cpus with a smaller max",
		    "%u CPUs are more than the %u there are interrupts for", servers, IRQ_FIRST);
	if (!kvm_vm_create_irqchip(vm, &config, err))
		return false;
	*irqchip = (struct irqchip){.vm = vm,
	    .servers = servers,
	    .devices = devices,
	    .ops = kinds[kvm_vm_mode(vm)->irqchip]};
	return irqchip->ops->create == NULL || irqchip->ops->create(irqchip, err);
}

void irqchip_destroy(struct irqchip *irqchip)
{
	if (irqchip->ops != NULL && irqchip->ops->destroy != NULL)
		irqchip->ops->destroy(irqchip);
}

bool irqchip_reset(struct irqchip *irqchip, struct err *err)
{
	return irqchip->ops->reset(irqchip, err);
}

bool irqchip_reset_source(struct irqchip *irqchip, uint32_t irq, struct err *err)
{
	return irqchip->ops->reset_source(irqchip, irq, err);
}

bool irqchip_begin(struct irqchip *irqchip, struct err *err)
{
	return irqchip->ops->begin(irqchip, err);
}

int irqchip_pulse(struct irqchip *irqchip, uint32_t irq)
{
	return irqchip->ops->pulse(irqchip, irq);
}

void irqchip_detach(struct irqchip *irqchip, uint32_t first, uint32_t count)
{
	if (irqchip->ops->detach != NULL)
		irqchip->ops->detach(irqchip, first, count);
}

void irqchip_write_root(const struct irqchip *irqchip, struct node_writer *w)
{
	if (irqchip->ops->write_root != NULL)
		irqchip->ops->write_root(irqchip, w);
}

void irqchip_write_node(const struct irqchip *irqchip, struct node_writer *w)
{
	irqchip->ops->write_node(irqchip, w);
}
