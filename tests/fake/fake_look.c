/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_look.c - what a test can read of the fake KVM's state.
 */
#include "internal.h"

/* A getter: the value of an expression under the lock. */
#define LOOK(type, expression)                                                                     \
	type value;                                                                                \
	pthread_mutex_lock(&fake.lock);                                                            \
	value = (expression);                                                                      \
	pthread_mutex_unlock(&fake.lock);                                                          \
	return value

bool fake_vcpu_created(uint32_t id)
{
	LOOK(bool, record_find(id) != NULL);
}

bool fake_vcpu_running(uint32_t id)
{
	LOOK(bool, record_find(id) != NULL && record_is_running(record_find(id), 0));
}

bool fake_vcpu_parked(uint32_t id)
{
	LOOK(bool, record_find(id) != NULL && record_find(id)->parked);
}

uint64_t fake_vcpu_enters(uint32_t id)
{
	LOOK(uint64_t, record_find(id) != NULL ? record_find(id)->enters : 0);
}

uint64_t fake_vcpu_parks(uint32_t id)
{
	LOOK(uint64_t, record_find(id) != NULL ? record_find(id)->parks : 0);
}

uint64_t fake_vcpu_kicks(uint32_t id)
{
	LOOK(uint64_t, record_find(id) != NULL ? record_find(id)->kicks : 0);
}

size_t fake_vcpu_stack_bytes(uint32_t id)
{
	pthread_attr_t attributes;
	size_t bytes = 0;
	pthread_t thread;

	pthread_mutex_lock(&fake.lock);
	thread = record_get(id)->thread;
	pthread_mutex_unlock(&fake.lock);
	if (pthread_getattr_np(thread, &attributes) != 0 ||
	    pthread_attr_getstacksize(&attributes, &bytes) != 0)
		fake_die("the thread of vCPU %u has no stack", id);
	pthread_attr_destroy(&attributes);
	return bytes;
}

static struct record *record_get_entered(uint32_t id)
{
	if (record_get(id)->enters == 0)
		fake_die("vCPU %u never had its registers set", id);
	return record_get(id);
}

uint64_t fake_vcpu_pc(uint32_t id)
{
	LOOK(uint64_t, record_get_entered(id)->pc);
}

uint64_t fake_vcpu_r3(uint32_t id)
{
	LOOK(uint64_t, record_get_entered(id)->r3);
}

struct kvm_modes fake_vcpu_modes(uint32_t id)
{
	LOOK(struct kvm_modes, record_get_entered(id)->modes);
}

int64_t fake_vcpu_timebase_offset(uint32_t id)
{
	LOOK(int64_t, record_get_entered(id)->timebase_offset);
}

void fake_set_timebase(uint64_t ticks)
{
	atomic_store(&fake.timebase, ticks);
}

uint64_t fake_vcpu_sprg0(uint32_t id)
{
	LOOK(uint64_t, record_get_entered(id)->sprg0);
}

uint32_t fake_parked_count(void)
{
	uint32_t parked = 0;

	pthread_mutex_lock(&fake.lock);
	for (uint32_t id = 0; id < VCPU_IDS; id++)
		parked += record_find(id) != NULL && record_find(id)->parked;
	pthread_mutex_unlock(&fake.lock);
	return parked;
}

/* An interrupt that was never reset has zero counts. */
static struct irq irq_or_none(uint32_t number)
{
	const struct irq *irq = irq_find(fake_vm(), number);

	return irq != NULL ? *irq : (struct irq){.number = number};
}

uint64_t fake_irq_pulses(uint32_t number)
{
	LOOK(uint64_t, irq_or_none(number).pulses);
}

uint64_t fake_irq_resets(uint32_t number)
{
	LOOK(uint64_t, irq_or_none(number).resets);
}

uint32_t fake_irq_server(uint32_t number)
{
	LOOK(uint32_t, irq_or_none(number).server);
}

uint64_t fake_process_table(void)
{
	LOOK(uint64_t, fake_vm()->process_table);
}

bool fake_process_table_gtse(void)
{
	LOOK(bool, fake_vm()->gtse);
}

uint32_t fake_threads(void)
{
	LOOK(uint32_t, fake_vm()->threads);
}

uint32_t fake_servers(void)
{
	LOOK(uint32_t, fake_vm()->servers);
}

struct kvm_xics_tokens fake_xics_tokens(void)
{
	LOOK(struct kvm_xics_tokens, fake_vm()->irqchip.tokens);
}

bool fake_hcall_enabled(uint64_t nr)
{
	LOOK(bool, nr % 4 == 0 && nr < HCALL_MAX && fake_vm()->hcalls[nr / 4]);
}

const struct gmem *fake_memory(void)
{
	LOOK(const struct gmem *, fake.vm != NULL ? fake.vm->memory : NULL);
}

uint32_t fake_live_vms(void)
{
	LOOK(uint32_t, fake.live_vms);
}

uint32_t fake_live_vcpus(void)
{
	LOOK(uint32_t, fake.live_vcpus);
}

void fake_set_hpt(uint64_t index, uint64_t first, uint64_t second)
{
	pthread_mutex_lock(&fake.lock);
	fake_vm()->hpt[index][0] = first;
	fake_vm()->hpt[index][1] = second;
	pthread_mutex_unlock(&fake.lock);
}
