/* SPDX-License-Identifier: Apache-2.0 */
/* irq.h - the platform's interrupt source numbers, all edge-triggered. XICS leaves 16 and up to the
 * platform; XIVE has a source below IRQ_FIRST for each processor. */
#ifndef PAPRIKA_SPAPR_IRQ_H
#define PAPRIKA_SPAPR_IRQ_H

enum spapr_irq { IRQ_EPOW = 0x1000, IRQ_HOTPLUG = 0x1001, IRQ_VTY = 0x1002 };
#define IRQ_FIRST IRQ_EPOW
#define IRQ_COUNT 3

/* Those of PCI devices: so many for each slot. */
#define IRQ_DEVICES 0x1100
#define IRQ_DEVICE_MAX 32
#define IRQ_DEVICE_SLOTS 32
#define IRQ_DEVICES_ALL (IRQ_DEVICE_MAX * IRQ_DEVICE_SLOTS)

#endif
