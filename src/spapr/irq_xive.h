/* SPDX-License-Identifier: Apache-2.0 */
/*
 * irq_xive.h - XIVE as the guest sees it (LoPAR, "XIVE Virtual Interrupt Controller"): what the
 * H_INT_* calls do, their numbers checked (hcall_xive.c). See irq_xive.c.
 *
 * It has a lock of its own, a leaf. What takes a server is called with the machine's lock held too,
 * which keeps the server's core there. Nothing here allocates memory but its creation.
 */
#ifndef PAPRIKA_SPAPR_IRQ_XIVE_H
#define PAPRIKA_SPAPR_IRQ_XIVE_H

#include "spapr/irqchip.h"

/* Where things are in the guest's address space: above all memory (SPAPR_MAX_MEMORY), and below
 * what devices may get one day, 32 TiB. Of the presenter's pages a guest has that for operating
 * systems. At XIVE_END_ADDRESS there is nothing: no guest uses the pages of queues. */
#define XIVE_PAGE_BYTES UINT64_C(65536)
#define XIVE_ESB_ADDRESS (UINT64_C(16) << 40)
#define XIVE_TIMA_ADDRESS (UINT64_C(17) << 40)
#define XIVE_END_ADDRESS (UINT64_C(18) << 40)
enum { XIVE_TIMA_OS_PAGE = 2, XIVE_TIMA_USER_PAGE = 3 };

enum { XIVE_NEVER = 0xff }; /* the priority of a source that is aimed nowhere */

struct xive_source {
	/* As the guest has set it up. */
	uint32_t server, number;
	uint8_t priority; /* or XIVE_NEVER */
	bool masked;
	/* Where KVM has it aimed, if `aimed`. That is left when the guest aims it nowhere. */
	bool aimed;
	struct kvm_xive_target target;
	/* A source of the platform's: its state bits, P << 1 | Q; an edge that waits to be sent. */
	uint8_t pq;
	bool owed;
};

enum xive_result {
	XIVE_DONE,
	XIVE_NO_QUEUE, /* the source is aimed where none is set */
	XIVE_FULL,     /* ... or where sources have been aimed too often: KVM_XIVE_AIMS */
	XIVE_REFUSED,  /* by KVM */
};

/* A copy of a source; false: none has this number. */
bool xive_look(struct xive *xive, uint64_t number, struct xive_source *ret_source);

/* Is a source of this number managed by xive_load() and xive_store()? Else by loads and stores of
 * the guest's own, in its pages. */
bool xive_by_call(uint64_t number);

/* Sources that exist, servers, priorities below KVM_XIVE_PRIORITIES. Not masked: the queue must be
 * set. aim_nowhere is the guest's word for a source that it does not use. */
enum xive_result xive_aim(
    struct xive *xive, uint32_t irq, const struct kvm_xive_target *target, bool masked);
void xive_aim_nowhere(struct xive *xive, uint32_t irq);
bool xive_sync(struct xive *xive, uint32_t irq);

/* The address is aligned, and its KVM_XIVE_QUEUE_BYTES are memory. NULL: no queue. */
enum xive_result xive_set_queue(
    struct xive *xive, uint32_t server, uint32_t priority, const uint64_t *address);
bool xive_has_queue(struct xive *xive, uint32_t server, uint32_t priority);

/* A load from, and a store to the page that manages a source, at an offset in it. */
uint64_t xive_load(struct xive *xive, uint32_t irq, uint64_t offset);
void xive_store(struct xive *xive, uint32_t irq, uint64_t offset);

/* All that the guest has set up, with vCPUs running. */
bool xive_forget(struct xive *xive);

#endif
