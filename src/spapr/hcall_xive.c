/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hcall_xive.c - hypervisor calls by which a guest sets XIVE up (LoPAR, H_INT_*): their arguments
 * are checked here, what they do is in irq_xive.c. An event queue is a page of the guest's memory,
 * one for each server and priority.
 */
#include "spapr/hcall_xive.h"

#include "spapr/irq_xive.h"
#include "spapr/machine.h"

/* r4 of H_INT_GET_SOURCE_INFO. */
enum { SOURCE_BY_CALL = 8 };
/* r4 for H_INT_SET_SOURCE_CONFIG. */
enum { SOURCE_MASK = 1, SOURCE_SET_NUMBER = 2 };
/* r4 for H_INT_SET_QUEUE_CONFIG. */
enum { QUEUE_ALWAYS_NOTIFY = 1 };
/* r4 for H_INT_ESB. */
enum { ESB_STORE = 1 };

enum { PAGE_SHIFT = 16, QUEUE_SHIFT = 16, NUMBER_BITS = 31 };

static struct xive *hcall_xive(const struct vcpu *caller)
{
	return caller->machine->irqchip.xive;
}

/* H_INT_GET_SOURCE_INFO: r4 0, r5 source -> r4 flags, r5 page to manage it, r6 page to trigger it,
 * r7 log2 of their size. */
enum hcall_status h_int_get_source_info(struct vcpu *caller, uint64_t args[9])
{
	struct xive_source source;
	bool by_call = xive_by_call(args[1]);
	uint64_t trigger;

	if (args[0] != 0)
		return H_PARAMETER;
	if (!xive_look(hcall_xive(caller), args[1], &source))
		return H_P2;
	trigger = XIVE_ESB_ADDRESS + 2 * XIVE_PAGE_BYTES * args[1];
	args[0] = by_call ? SOURCE_BY_CALL : 0;
	args[1] = by_call ? UINT64_MAX : trigger + XIVE_PAGE_BYTES;
	args[2] = by_call ? UINT64_MAX : trigger;
	args[3] = PAGE_SHIFT;
	return H_SUCCESS;
}

static enum hcall_status hcall_of_result(enum xive_result result)
{
	switch (result) {
	case XIVE_DONE: return H_SUCCESS;
	case XIVE_NO_QUEUE: return H_P3;
	case XIVE_FULL: return H_RESOURCE;
	case XIVE_REFUSED: break;
	}
	return H_HARDWARE;
}

/* H_INT_SET_SOURCE_CONFIG: r4 flags, r5 source, r6 server, r7 priority, r8 what the queue is to
 * say. */
enum hcall_status h_int_set_source_config(struct vcpu *caller, uint64_t args[9])
{
	struct spapr *machine = caller->machine;
	struct kvm_xive_target target = {0};
	enum hcall_status status = H_P3;
	struct xive_source source;

	if ((args[0] & ~(uint64_t)(SOURCE_MASK | SOURCE_SET_NUMBER)) != 0)
		return H_PARAMETER;
	if (!xive_look(hcall_xive(caller), args[1], &source))
		return H_P2;
	if (args[3] == XIVE_NEVER) {
		xive_aim_nowhere(hcall_xive(caller), (uint32_t)args[1]);
		return H_SUCCESS;
	}
	if (args[3] >= KVM_XIVE_PRIORITIES)
		return H_P4;
	target.number = source.number;
	if ((args[0] & SOURCE_SET_NUMBER) != 0) {
		if (args[4] >> NUMBER_BITS != 0)
			return H_P5;
		target.number = (uint32_t)args[4];
	}
	target.priority = (uint32_t)args[3];
	pthread_mutex_lock(&machine->lock);
	if (cpu_find_present(&machine->cpus, args[2]) != NULL) {
		target.server = (uint32_t)args[2];
		status = hcall_of_result(xive_aim(
		    hcall_xive(caller), (uint32_t)args[1], &target, (args[0] & SOURCE_MASK) != 0));
	}
	pthread_mutex_unlock(&machine->lock);
	return status;
}

/* H_INT_GET_SOURCE_CONFIG: r4 0, r5 source -> r4 server, r5 priority, r6 what the queue will say.
 */
enum hcall_status h_int_get_source_config(struct vcpu *caller, uint64_t args[9])
{
	struct xive_source source;

	if (args[0] != 0)
		return H_PARAMETER;
	if (!xive_look(hcall_xive(caller), args[1], &source))
		return H_P2;
	args[0] = source.server;
	args[1] = source.masked ? XIVE_NEVER : source.priority;
	args[2] = source.number;
	return H_SUCCESS;
}

/* H_INT_GET_QUEUE_INFO: r4 0, r5 server, r6 priority -> r4 page to manage the queue, r5 log2 of the
 * queue's size, 0 if there is none. */
enum hcall_status h_int_get_queue_info(struct vcpu *caller, uint64_t args[9])
{
	struct spapr *machine = caller->machine;
	uint64_t server = args[1], priority = args[2];
	bool there;

	if (args[0] != 0)
		return H_PARAMETER;
	if (priority >= KVM_XIVE_PRIORITIES)
		return H_P3;
	pthread_mutex_lock(&machine->lock);
	there = cpu_find_present(&machine->cpus, server) != NULL;
	pthread_mutex_unlock(&machine->lock);
	if (!there)
		return H_P2;
	args[0] =
	    XIVE_END_ADDRESS + 2 * XIVE_PAGE_BYTES * (server * KVM_XIVE_PRIORITIES + priority);
	args[1] = xive_has_queue(hcall_xive(caller), (uint32_t)server, (uint32_t)priority)
	              ? QUEUE_SHIFT
	              : 0;
	return H_SUCCESS;
}

/* H_INT_SET_QUEUE_CONFIG: r4 flags, r5 server, r6 priority, r7 address, r8 log2 of the size, 0 for
 * none. With the machine's lock held, so that the memory stays there. */
static enum hcall_status hcall_set_queue(struct vcpu *caller, const uint64_t args[9])
{
	struct spapr *machine = caller->machine;
	bool none = args[4] == 0;

	if (cpu_find_present(&machine->cpus, args[1]) == NULL)
		return H_P2;
	if (!none && args[4] != QUEUE_SHIFT)
		return H_P5;
	if (!none && (args[3] % KVM_XIVE_QUEUE_BYTES != 0 ||
	                 !gmem_contains(&machine->gmem, args[3], KVM_XIVE_QUEUE_BYTES)))
		return H_P4;
	/* There is no other way to hear of what is in the queue. */
	if (!none && args[0] != QUEUE_ALWAYS_NOTIFY)
		return H_PARAMETER;
	return hcall_of_result(xive_set_queue(
	    hcall_xive(caller), (uint32_t)args[1], (uint32_t)args[2], none ? NULL : &args[3]));
}

enum hcall_status h_int_set_queue_config(struct vcpu *caller, uint64_t args[9])
{
	struct spapr *machine = caller->machine;
	enum hcall_status status;

	if ((args[0] & ~(uint64_t)QUEUE_ALWAYS_NOTIFY) != 0)
		return H_PARAMETER;
	if (args[2] >= KVM_XIVE_PRIORITIES)
		return H_P3;
	pthread_mutex_lock(&machine->lock);
	status = hcall_set_queue(caller, args);
	pthread_mutex_unlock(&machine->lock);
	return status;
}

/* H_INT_ESB: r4 flags, r5 source, r6 offset in its page, r7 what to store -> r4 what was loaded. */
enum hcall_status h_int_esb(struct vcpu *caller, uint64_t args[9])
{
	struct xive_source source;

	if ((args[0] & ~(uint64_t)ESB_STORE) != 0)
		return H_PARAMETER;
	if (!xive_look(hcall_xive(caller), args[1], &source))
		return H_P2;
	if (args[2] >= XIVE_PAGE_BYTES)
		return H_P3;
	if (args[0] == ESB_STORE) {
		xive_store(hcall_xive(caller), (uint32_t)args[1], args[2]);
		args[0] = UINT64_MAX;
	} else {
		args[0] = xive_load(hcall_xive(caller), (uint32_t)args[1], args[2]);
	}
	return H_SUCCESS;
}

/* H_INT_SYNC: r4 0, r5 source: what it has sent is in the queue. */
enum hcall_status h_int_sync(struct vcpu *caller, uint64_t args[9])
{
	struct xive_source source;

	if (args[0] != 0)
		return H_PARAMETER;
	if (!xive_look(hcall_xive(caller), args[1], &source))
		return H_P2;
	return xive_sync(hcall_xive(caller), (uint32_t)args[1]) ? H_SUCCESS : H_HARDWARE;
}

/* H_INT_RESET: r4 0: forget all that has been set up. */
enum hcall_status h_int_reset(struct vcpu *caller, uint64_t args[9])
{
	if (args[0] != 0)
		return H_PARAMETER;
	return xive_forget(hcall_xive(caller)) ? H_SUCCESS : H_HARDWARE;
}
