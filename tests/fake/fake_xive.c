/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_xive.c - the fake KVM's XIVE, and the reset of interrupt controllers. What makes a real KVM
 * print something to the host's log ends the test.
 */
#include "internal.h"

#include <errno.h>

bool kvm_irqchip_reset(struct kvm_vm *vm, struct err *err)
{
	bool done = true;

	pthread_mutex_lock(&fake.lock);
	if (fake_call_fails(FAKE_IRQCHIP_RESET)) {
		done = fake_call_fail(err, EIO, "cannot reset the interrupt controller");
	} else {
		vm->irqchip_resets++;
		for (size_t i = 0; i < vm->irq_count; i++)
			vm->irqs[i].aimed = false;
		for (uint32_t server = 0; server < XIVE_SERVERS; server++)
			for (uint32_t priority = 0; priority < KVM_XIVE_PRIORITIES; priority++)
				vm->queues[server][priority] = 0;
	}
	pthread_mutex_unlock(&fake.lock);
	return done;
}

static struct irq *xive_source(struct kvm_vm *vm, uint32_t number)
{
	struct irq *irq = irq_find(vm, number);

	if (vm->mode.irqchip != KVM_IRQCHIP_XIVE)
		fake_die("a call for XIVE, and there is none");
	if (irq == NULL)
		fake_die("there is no interrupt source %#x", number);
	return irq;
}

static uint64_t *xive_queue(struct kvm_vm *vm, uint32_t server, uint32_t priority)
{
	if (server >= XIVE_SERVERS || server >= vm->servers || vm->records[server] == NULL)
		fake_die("there is no server %u", server);
	if (priority >= KVM_XIVE_PRIORITIES)
		fake_die("there is no priority %u", priority);
	return &vm->queues[server][priority];
}

int kvm_xive_aim(struct kvm_vm *vm, uint32_t number, const struct kvm_xive_target *target)
{
	struct irq *irq;
	int result = 0;

	pthread_mutex_lock(&fake.lock);
	irq = xive_source(vm, number);
	if (*xive_queue(vm, target->server, target->priority) == 0)
		fake_die("interrupt %#x is aimed where no queue is", number);
	if (target->number >> 31 != 0)
		fake_die("a number in a queue has 31 bits");
	if (fake_call_fails(FAKE_XIVE_AIM)) {
		result = -EIO;
	} else {
		irq->aimed = true;
		irq->target = *target;
		irq->aims++;
	}
	pthread_mutex_unlock(&fake.lock);
	return result;
}

int kvm_xive_mask(struct kvm_vm *vm, uint32_t number, const struct kvm_xive_target *target)
{
	struct irq *irq;
	int result = 0;

	pthread_mutex_lock(&fake.lock);
	irq = xive_source(vm, number);
	if (!irq->aimed || irq->target.server != target->server ||
	    irq->target.priority != target->priority || irq->target.number != target->number)
		fake_die("interrupt %#x is not aimed there", number);
	if (fake_call_fails(FAKE_XIVE_MASK))
		result = -EIO;
	else
		irq->aimed = false;
	pthread_mutex_unlock(&fake.lock);
	return result;
}

int kvm_xive_set_queue(
    struct kvm_vm *vm, uint32_t server, uint32_t priority, const uint64_t *address)
{
	uint64_t *queue;
	int result = 0;

	pthread_mutex_lock(&fake.lock);
	queue = xive_queue(vm, server, priority);
	if (address != NULL && (*address % KVM_XIVE_QUEUE_BYTES != 0 ||
	                           !gmem_contains(vm->memory, *address, KVM_XIVE_QUEUE_BYTES)))
		fake_die("a queue is not in memory");
	if (fake_call_fails(FAKE_XIVE_QUEUE))
		result = -EIO;
	else
		*queue = address != NULL ? *address | 1 : 0;
	pthread_mutex_unlock(&fake.lock);
	return result;
}

int kvm_xive_sync(struct kvm_vm *vm, uint32_t number)
{
	int result;

	pthread_mutex_lock(&fake.lock);
	xive_source(vm, number);
	result = fake_call_fails(FAKE_XIVE_SYNC) ? -EIO : 0;
	pthread_mutex_unlock(&fake.lock);
	return result;
}

/* What is loaded is the offset, so that a test knows it again. */
uint64_t kvm_xive_load(const struct kvm_vm *vm, uint32_t number, uint32_t offset)
{
	pthread_mutex_lock(&fake.lock);
	if (number >= vm->servers)
		fake_die("source %#x has no page that a guest may reach", number);
	if (offset != 0 && offset != 0x800 &&
	    (offset < 0xc00 || offset > 0xf00 || offset % 0x100 != 0))
		fake_die("a load at %#x, which has no meaning", offset);
	xive_source((struct kvm_vm *)(uintptr_t)vm, number)->loads++;
	pthread_mutex_unlock(&fake.lock);
	return offset;
}

/* --- Looking ------------------------------------------------------------------------------------
 */

bool fake_xive_target(uint32_t irq, struct kvm_xive_target *ret_target)
{
	const struct irq *found;
	bool aimed;

	pthread_mutex_lock(&fake.lock);
	found = xive_source(fake_vm(), irq);
	*ret_target = found->target;
	aimed = found->aimed;
	pthread_mutex_unlock(&fake.lock);
	return aimed;
}

uint64_t fake_xive_queue(uint32_t server, uint32_t priority)
{
	uint64_t queue;

	pthread_mutex_lock(&fake.lock);
	queue = *xive_queue(fake_vm(), server, priority);
	pthread_mutex_unlock(&fake.lock);
	return queue == 0 ? UINT64_MAX : queue & ~UINT64_C(1);
}

uint64_t fake_xive_aims(uint32_t irq)
{
	uint64_t aims;

	pthread_mutex_lock(&fake.lock);
	aims = xive_source(fake_vm(), irq)->aims;
	pthread_mutex_unlock(&fake.lock);
	return aims;
}

uint64_t fake_xive_loads(uint32_t irq)
{
	uint64_t loads;

	pthread_mutex_lock(&fake.lock);
	loads = xive_source(fake_vm(), irq)->loads;
	pthread_mutex_unlock(&fake.lock);
	return loads;
}

uint64_t fake_irqchip_resets(void)
{
	uint64_t resets;

	pthread_mutex_lock(&fake.lock);
	resets = fake_vm()->irqchip_resets;
	pthread_mutex_unlock(&fake.lock);
	return resets;
}

struct kvm_irqchip_config fake_irqchip(void)
{
	struct kvm_irqchip_config config;

	pthread_mutex_lock(&fake.lock);
	config = fake_vm()->irqchip;
	pthread_mutex_unlock(&fake.lock);
	return config;
}
