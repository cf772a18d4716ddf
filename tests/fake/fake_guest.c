/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_guest.c - a test plays the guest: it waits for a state of a vCPU, and makes it leave the
 * guest with an hcall, an MMIO access or a failure.
 */
#include "internal.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

/* --- Waiting ----------------------------------------------------------------------------- */

typedef bool condition(const struct record *record, uint64_t count);

static bool record_is_free(const struct record *record, uint64_t count)
{
	(void)count;
	return record->alive && !record->busy && record->phase == PHASE_IDLE;
}

static bool record_is_answered(const struct record *record, uint64_t count)
{
	(void)count;
	return record->phase == PHASE_IDLE;
}

static bool record_is_taken(const struct record *record, uint64_t count)
{
	(void)count;
	return record->phase != PHASE_QUEUED;
}

bool record_is_running(const struct record *record, uint64_t count)
{
	(void)count;
	return record->inside && !record->kicked && record->phase == PHASE_IDLE;
}

static bool record_has_entered(const struct record *record, uint64_t count)
{
	return record->enters >= count;
}

static bool record_has_parked(const struct record *record, uint64_t count)
{
	return record->parks >= count;
}

/* With the lock held. Look the record up each time: the vCPU may not be created yet. */
static struct record *record_wait(uint32_t id, condition *holds, uint64_t count, const char *what)
{
	struct timespec deadline = fake_deadline();

	for (;;) {
		struct record *record = record_find(id);

		if (record != NULL && holds(record, count))
			return record;
		if (pthread_cond_timedwait(&fake.changed, &fake.lock, &deadline) == ETIMEDOUT)
			fake_die("vCPU %u does not %s in %d s", id, what, FAKE_DEADLINE_S);
	}
}

static void record_wait_locked(uint32_t id, condition *holds, uint64_t count, const char *what)
{
	pthread_mutex_lock(&fake.lock);
	record_wait(id, holds, count, what);
	pthread_mutex_unlock(&fake.lock);
}

void fake_wait_running(uint32_t id)
{
	record_wait_locked(id, record_is_running, 0, "enter the guest");
}

void fake_wait_enters(uint32_t id, uint64_t count)
{
	record_wait_locked(id, record_has_entered, count, "get its registers set");
}

void fake_wait_parks(uint32_t id, uint64_t count)
{
	record_wait_locked(id, record_has_parked, count, "park");
}

void fake_wait_irq_pulses(uint32_t number, uint64_t count)
{
	struct timespec deadline = fake_deadline();

	pthread_mutex_lock(&fake.lock);
	for (;;) {
		const struct irq *irq = irq_find(fake_vm(), number);

		if (irq != NULL && irq->pulses >= count)
			break;
		if (pthread_cond_timedwait(&fake.changed, &fake.lock, &deadline) == ETIMEDOUT)
			fake_die("interrupt %#x is not sent in %d s", number, FAKE_DEADLINE_S);
	}
	pthread_mutex_unlock(&fake.lock);
}

void fake_wait_until(bool (*holds)(void *context), void *context, const char *what)
{
	struct timespec deadline = fake_deadline(), now;

	while (!holds(context)) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec > deadline.tv_sec)
			fake_die("%s: not in %d s", what, FAKE_DEADLINE_S);
		sched_yield();
	}
}

/* --- Playing the guest ------------------------------------------------------------------- */

/* Queue an exit, with the lock held; the record is the caller's until record_release(). */
static struct record *record_queue(
    uint32_t id, enum kvm_exit exit, const struct kvm_exit_info *info)
{
	struct record *record =
	    record_wait(id, record_is_free, 0, "become free to stop for something new");

	record->busy = true;
	record->phase = PHASE_QUEUED;
	record->taken = record->dropped = false;
	record->exit = exit;
	record->info = *info;
	pthread_cond_broadcast(&fake.changed);
	return record;
}

static void record_release(struct record *record)
{
	record->busy = false;
	pthread_cond_broadcast(&fake.changed);
}

static struct kvm_exit_info hcall_info(uint64_t nr, const uint64_t args[9])
{
	struct kvm_exit_info info = {.hcall = {.nr = nr}};

	if (args != NULL)
		memcpy(info.hcall.args, args, sizeof info.hcall.args);
	return info;
}

bool fake_try_hcall(
    uint32_t id, uint64_t nr, const uint64_t args[9], uint64_t ret_args[9], int64_t *ret_r3)
{
	struct kvm_exit_info info = hcall_info(nr, args);
	struct record *record;
	bool answered;

	pthread_mutex_lock(&fake.lock);
	record = record_queue(id, KVM_RAN_HCALL, &info);
	record_wait(id, record_is_answered, 0, "return from an hcall");
	answered = !record->dropped;
	if (answered) {
		*ret_r3 = (int64_t)record->info.hcall.ret;
		if (ret_args != NULL)
			memcpy(ret_args, record->info.hcall.args, sizeof record->info.hcall.args);
	}
	record_release(record);
	pthread_mutex_unlock(&fake.lock);
	return answered;
}

int64_t fake_hcall(uint32_t id, uint64_t nr, const uint64_t args[9], uint64_t ret_args[9])
{
	int64_t r3 = 0;

	if (!fake_try_hcall(id, nr, args, ret_args, &r3))
		fake_die("hcall %#llx of vCPU %u did not return to the guest",
		    (unsigned long long)nr, id);
	return r3;
}

static void record_queue_until_taken(
    uint32_t id, enum kvm_exit exit, const struct kvm_exit_info *info)
{
	struct record *record;

	pthread_mutex_lock(&fake.lock);
	record = record_queue(id, exit, info);
	record_wait(id, record_is_taken, 0, "leave the guest");
	if (!record->taken)
		fake_die("vCPU %u was set up anew before it could stop", id);
	record_release(record);
	pthread_mutex_unlock(&fake.lock);
}

void fake_hcall_noreturn(uint32_t id, uint64_t nr, const uint64_t args[9])
{
	struct kvm_exit_info info = hcall_info(nr, args);

	record_queue_until_taken(id, KVM_RAN_HCALL, &info);
}

static uint64_t fake_access(
    uint32_t id, uint64_t address, uint32_t length, bool write, uint64_t value)
{
	struct kvm_exit_info info = {
	    .mmio = {.address = address, .length = length, .write = write}};
	struct record *record;
	uint64_t loaded = 0;

	memset(info.mmio.data, 0xff, sizeof info.mmio.data);
	for (uint32_t i = 0; write && i < length; i++)
		info.mmio.data[i] = (uint8_t)(value >> (8 * i));

	pthread_mutex_lock(&fake.lock);
	record = record_queue(id, KVM_RAN_MMIO, &info);
	record_wait(id, record_is_answered, 0, "go on after a memory access");
	if (record->dropped)
		fake_die("vCPU %u did not go on after a memory access", id);
	for (uint32_t i = 0; i < length; i++)
		loaded |= (uint64_t)record->info.mmio.data[i] << (8 * i);
	record_release(record);
	pthread_mutex_unlock(&fake.lock);
	return loaded;
}

void fake_mmio(uint32_t id, uint64_t address, uint32_t length, bool write)
{
	fake_access(id, address, length, write, 0);
}

uint64_t fake_load(uint32_t id, uint64_t address, uint32_t length)
{
	return fake_access(id, address, length, false, 0);
}

void fake_store(uint32_t id, uint64_t address, uint32_t length, uint64_t value)
{
	fake_access(id, address, length, true, value);
}

void fake_run_failure(uint32_t id, const char *failure)
{
	struct kvm_exit_info info = {.failure = ""};

	snprintf(info.failure, sizeof info.failure, "%s", failure);
	record_queue_until_taken(id, KVM_RAN_FAILED, &info);
}

void fake_set_guest(fake_guest *guest)
{
	pthread_mutex_lock(&fake.lock);
	fake.guest = guest;
	pthread_mutex_unlock(&fake.lock);
}
