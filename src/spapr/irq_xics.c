/* SPDX-License-Identifier: Apache-2.0 */
/* irq_xics.c - the interrupt controller of processors before POWER9: KVM has all of it, the guest's
 * calls included. */
#include "spapr/irq.h"
#include "spapr/irqchip.h"

static bool guest_xics_reset(struct irqchip *irqchip, struct err *err)
{
	for (uint32_t irq = IRQ_FIRST; irq < IRQ_FIRST + IRQ_COUNT; irq++)
		if (!kvm_irq_reset(irqchip->vm, irq, 0, err))
			return false;
	return true;
}

static bool guest_xics_reset_source(struct irqchip *irqchip, uint32_t irq, struct err *err)
{
	return kvm_irq_reset(irqchip->vm, irq, 0, err);
}

static int guest_xics_pulse(struct irqchip *irqchip, uint32_t irq)
{
	return kvm_irq_pulse(irqchip->vm, irq);
}

static void guest_xics_write_node(const struct irqchip *irqchip, struct node_writer *w)
{
	node_begin(w, "interrupt-controller");
	node_text(w, "device_type", "PowerPC-External-Interrupt-Presentation");
	node_text(w, "compatible", "IBM,ppc-xicp");
	node_flag(w, "interrupt-controller");
	node_cell(w, "#interrupt-cells", 2);
	node_cell(w, "#address-cells", 0);
	NODE_CELLS(w, "ibm,interrupt-server-ranges", 0, irqchip->servers);
	node_cell(w, "phandle", 1);
	node_end(w);
}

const struct irqchip_ops irqchip_xics = {
    .reset = guest_xics_reset,
    .reset_source = guest_xics_reset_source,
    .begin = guest_xics_reset,
    .pulse = guest_xics_pulse,
    .write_node = guest_xics_write_node,
};
