/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_device.c - the fake KVM's part of devices: eventfds that are joined with interrupt sources
 * and with addresses, and the table for DMA.
 */
#include "internal.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

static size_t joint_find(const struct joints *joints, uint64_t what, int eventfd)
{
	size_t i = 0;

	while (i < joints->count &&
	       (joints->list[i].what != what || joints->list[i].eventfd != eventfd))
		i++;
	return i;
}

static int joint_add(struct joints *joints, uint64_t what, int eventfd, enum fake_call call)
{
	int result = -ENOSPC;

	pthread_mutex_lock(&fake.lock);
	if (joint_find(joints, what, eventfd) < joints->count)
		fake_die("%#llx is joined a second time", (unsigned long long)what);
	if (!fake_call_fails(call) && joints->count < JOINTS) {
		joints->list[joints->count].eventfd = eventfd;
		joints->list[joints->count++].what = what;
		result = 0;
	}
	pthread_mutex_unlock(&fake.lock);
	return result;
}

static int joint_remove(struct joints *joints, uint64_t what, int eventfd)
{
	int result = -ENOENT;
	size_t at;

	pthread_mutex_lock(&fake.lock);
	at = joint_find(joints, what, eventfd);
	if (at < joints->count) {
		joints->list[at] = joints->list[--joints->count];
		result = 0;
	}
	pthread_mutex_unlock(&fake.lock);
	return result;
}

/* What the counter holds is injected once. (KVM leaves it in the counter, to be read with the next
 * interrupt or when the eventfd is parted.) */
int kvm_join_irq(struct kvm_vm *vm, uint32_t irq, int eventfd)
{
	eventfd_t pending;
	int result;

	if (irq_find(vm, irq) == NULL)
		fake_die("source %#x is joined, and was never reset", irq);
	result = joint_add(&vm->joined_irqs, irq, eventfd, FAKE_JOIN_IRQ);
	if (result == 0 && eventfd_read(eventfd, &pending) == 0) {
		pthread_mutex_lock(&fake.lock);
		irq_find(vm, irq)->edges++;
		pthread_mutex_unlock(&fake.lock);
	}
	return result;
}

/* KVM has read the counter as it was written to. */
int kvm_part_irq(struct kvm_vm *vm, uint32_t irq, int eventfd)
{
	int result = joint_remove(&vm->joined_irqs, irq, eventfd);
	eventfd_t edges = 0;

	if (result == 0 && eventfd_read(eventfd, &edges) == 0) {
		pthread_mutex_lock(&fake.lock);
		irq_find(vm, irq)->edges += edges;
		pthread_mutex_unlock(&fake.lock);
	}
	return result;
}

int kvm_join_doorbell(struct kvm_vm *vm, uint64_t address, int eventfd)
{
	return joint_add(&vm->doorbells, address, eventfd, FAKE_JOIN_DOORBELL);
}

int kvm_part_doorbell(struct kvm_vm *vm, uint64_t address, int eventfd)
{
	return joint_remove(&vm->doorbells, address, eventfd);
}

bool kvm_vm_create_tce_table(
    struct kvm_vm *vm, uint32_t liobn, uint64_t window_bytes, struct err *err)
{
	bool fails;

	pthread_mutex_lock(&fake.lock);
	fails = fake_call_fails(FAKE_CREATE_TCE);
	pthread_mutex_unlock(&fake.lock);
	(void)liobn;
	(void)window_bytes;
	return !fails || fake_call_fail(err, ENOMEM, "cannot create a table for DMA");
}

/* --- For tests --------------------------------------------------------------------------- */

size_t fake_joined_irqs(void)
{
	return fake_vm()->joined_irqs.count;
}

size_t fake_doorbells(void)
{
	return fake_vm()->doorbells.count;
}

bool doorbell_ring(const struct kvm_vm *vm, uint64_t address)
{
	bool rung = false;

	for (size_t i = 0; i < vm->doorbells.count; i++)
		if (vm->doorbells.list[i].what == address)
			rung = eventfd_write(vm->doorbells.list[i].eventfd, 1) == 0;
	return rung;
}

bool fake_ring(uint64_t address)
{
	bool rung;

	pthread_mutex_lock(&fake.lock);
	rung = doorbell_ring(fake_vm(), address);
	pthread_mutex_unlock(&fake.lock);
	return rung;
}

uint64_t fake_take_edges(uint32_t irq)
{
	const struct joints *irqs = &fake_vm()->joined_irqs;
	uint64_t edges = 0;
	struct irq *source;

	pthread_mutex_lock(&fake.lock);
	source = irq_find(fake_vm(), irq);
	if (source != NULL) {
		edges = source->edges;
		source->edges = 0;
	}
	for (size_t i = 0; i < irqs->count; i++) {
		eventfd_t value = 0;

		if (irqs->list[i].what == irq && eventfd_read(irqs->list[i].eventfd, &value) == 0)
			edges += value;
	}
	pthread_mutex_unlock(&fake.lock);
	return edges;
}
