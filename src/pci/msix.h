/* SPDX-License-Identifier: Apache-2.0 */
/*
 * msix.h - MSI-X of one PCI function (PCI Local Bus 3.0, 6.8.2): the capability, the table and the
 * pending bits, and an eventfd for each vector, which is joined to an interrupt source of the
 * guest.
 *
 * The platform assigns the sources (ibm,change-msi), so the messages in the table are never used.
 * The mask bits count: while a vector is masked KVM does not have its eventfd, and what is written
 * to it stays there: the counter is the pending bit. KVM looks at the counter when it gets the
 * eventfd, and injects what is in it. So whoever has a vector's eventfd can send its interrupts,
 * another process, too. The caller has a lock, but for msix_signal() and msix_eventfd().
 */
#ifndef PAPRIKA_PCI_MSIX_H
#define PAPRIKA_PCI_MSIX_H

#include "base/err.h"
#include "base/log.h"
#include "kvm/kvm.h"
#include "pci/config.h"

enum { MSIX_VECTORS_MAX = 32, MSIX_ENTRY_BYTES = 16, MSIX_PENDING_BYTES = 8 };

struct msix_vector {
	int eventfd;
	uint32_t words[MSIX_ENTRY_BYTES / 4]; /* address low and high, data, control */
	bool joined;                          /* KVM has the eventfd */
};

struct msix {
	struct kvm_vm *vm;
	struct msix_vector vectors[MSIX_VECTORS_MAX];
	uint32_t count;
	uint8_t capability; /* its offset in the configuration space */
	bool on;            /* enabled, and not masked as a whole */
	uint32_t first_irq; /* of the sources that are assigned */
	uint32_t assigned;  /* how many vectors have one: ibm,change-msi */
	struct log_limit limit;
};

/* For so many vectors, with the capability in the configuration space: table and pending bits are
 * in BAR 0 at these offsets. finish also after a failed init. */
bool msix_init(struct msix *msix, struct kvm_vm *vm, uint32_t count, struct pci_config *config,
    uint32_t table_offset, uint32_t pending_offset, struct err *err);
void msix_finish(struct msix *msix);

/* As after a reset of the function: all masked, nothing pending. What is assigned stays so. */
void msix_reset(struct msix *msix);

/* The capability has been written. */
void msix_update(struct msix *msix, const struct pci_config *config);

/* The guest's accesses: 4 or 8 bytes, aligned, in the table or in the pending bits. Offsets are
 * from their start. */
uint64_t msix_read_table(const struct msix *msix, uint32_t offset, uint32_t size);
void msix_write_table(struct msix *msix, uint32_t offset, uint32_t size, uint64_t value);
uint64_t msix_read_pending(const struct msix *msix);

/* Give vector i source first_irq + i, for count of them; none have one. Then take them all back.
 * Negative errno: none have one. */
int msix_assign(struct msix *msix, uint32_t first_irq, uint32_t count);
void msix_unassign(struct msix *msix);

/* Any thread. Vectors that do not exist are ignored. */
void msix_signal(struct msix *msix, uint32_t vector);

/* Where to write to, to signal it; it is not blocking, and lives as long as the function. -1: there
 * is no such vector. Any thread. */
int msix_eventfd(const struct msix *msix, uint32_t vector);

#endif
