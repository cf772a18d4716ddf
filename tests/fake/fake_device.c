/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_device.c - the fake KVM's part of devices: eventfds that are joined with interrupt sources
 * and with addresses, and the table for DMA.
 */
#include "internal.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

static struct joint *joint_find(struct joint *joints, uint64_t what, int eventfd)
{
	for (size_t i = 0; i < JOINTS; i++)
		if (joints[i].used && joints[i].what == what && joints[i].eventfd == eventfd)
			return &joints[i];
	return NULL;
}

static int joint_add(struct joint *joints, uint64_t what, int eventfd, enum fake_call call)
{
	int result = -ENOSPC;
	bool fails;

	pthread_mutex_lock(&fake.lock);
	fails = fake_call_fails(call);
	if (joint_find(joints, what, eventfd) != NULL)
		fake_die("%#llx is joined a second time", (unsigned long long)what);
	for (size_t i = 0; !fails && i < JOINTS && result != 0; i++)
		if (!joints[i].used) {
			joints[i] = (struct joint){.used = true, .what = what, .eventfd = eventfd};
			result = 0;
		}
	pthread_mutex_unlock(&fake.lock);
	return result;
}

static int joint_remove(struct joint *joints, uint64_t what, int eventfd)
{
	struct joint *joint;

	pthread_mutex_lock(&fake.lock);
	joint = joint_find(joints, what, eventfd);
	if (joint != NULL)
		*joint = (struct joint){0};
	pthread_mutex_unlock(&fake.lock);
	return joint != NULL ? 0 : -ENOENT;
}

int kvm_join_irq(struct kvm_vm *vm, uint32_t irq, int eventfd)
{
	if (irq_find(vm, irq) == NULL)
		fake_die("source %#x is joined, and was never reset", irq);
	return joint_add(vm->joined_irqs, irq, eventfd, FAKE_JOIN_IRQ);
}

int kvm_part_irq(struct kvm_vm *vm, uint32_t irq, int eventfd)
{
	return joint_remove(vm->joined_irqs, irq, eventfd);
}

int kvm_join_doorbell(struct kvm_vm *vm, uint64_t address, int eventfd)
{
	return joint_add(vm->doorbells, address, eventfd, FAKE_JOIN_DOORBELL);
}

int kvm_part_doorbell(struct kvm_vm *vm, uint64_t address, int eventfd)
{
	return joint_remove(vm->doorbells, address, eventfd);
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

static size_t joint_count(const struct joint *joints)
{
	size_t count = 0;

	for (size_t i = 0; i < JOINTS; i++)
		count += joints[i].used;
	return count;
}

size_t fake_joined_irqs(void)
{
	return joint_count(fake_vm()->joined_irqs);
}

size_t fake_doorbells(void)
{
	return joint_count(fake_vm()->doorbells);
}

bool fake_ring(uint64_t address)
{
	bool rung = false;

	pthread_mutex_lock(&fake.lock);
	for (size_t i = 0; i < JOINTS; i++) {
		const struct joint *joint = &fake_vm()->doorbells[i];

		if (joint->used && joint->what == address)
			rung = eventfd_write(joint->eventfd, 1) == 0;
	}
	pthread_mutex_unlock(&fake.lock);
	return rung;
}

uint64_t fake_take_edges(uint32_t irq)
{
	uint64_t edges = 0;

	pthread_mutex_lock(&fake.lock);
	for (size_t i = 0; i < JOINTS; i++) {
		const struct joint *joint = &fake_vm()->joined_irqs[i];
		eventfd_t value = 0;

		if (joint->used && joint->what == irq && eventfd_read(joint->eventfd, &value) == 0)
			edges += value;
	}
	pthread_mutex_unlock(&fake.lock);
	return edges;
}
