/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_vcpu.c - the fake KVM's vCPUs: they wait in kvm_vcpu_run() for a kick, for an exit that a
 * test has queued (fake_guest.c), or for an hcall of the callback given to fake_set_guest().
 */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static struct record *record_create(struct kvm_vm *vm, uint32_t id, struct err *err)
{
	struct record *record;

	if (fake_call_fails(FAKE_VCPU_CREATE)) {
		fake_call_fail(err, ENOMEM, "cannot create the vCPU");
		return NULL;
	}
	if (id >= vm->facts.max_vcpu_id || id >= VCPU_IDS || vm->vcpus >= vm->facts.max_vcpus) {
		fake_call_fail(err, EINVAL, "no vCPU can have this id");
		return NULL;
	}
	if (vm->records[id] != NULL && vm->records[id]->aside) {
		vm->records[id]->aside = false;
		return vm->records[id];
	}
	if (vm->records[id] != NULL) {
		fake_call_fail(err, EEXIST, "there was a vCPU with this id already");
		return NULL;
	}
	record = vm->records[id] = calloc(1, sizeof *record);
	if (record == NULL) {
		fake_call_fail(err, ENOMEM, "cannot create the vCPU");
		return NULL;
	}
	vm->vcpus++; /* the id stays used, even if connecting the vCPU fails */
	if (id >= vm->servers) {
		fake_call_fail(err, EINVAL, "the interrupt controller has no such server");
		return NULL;
	}
	return record;
}

struct kvm_vcpu *kvm_vcpu_create(struct kvm_vm *vm, uint32_t id, struct err *err)
{
	struct kvm_vcpu *vcpu = calloc(1, sizeof *vcpu);
	struct record *record = NULL;

	pthread_mutex_lock(&fake.lock);
	if (vcpu == NULL)
		fake_call_fail(err, ENOMEM, "cannot create the vCPU");
	else
		record = record_create(vm, id, err);
	if (record != NULL) {
		*vcpu = (struct kvm_vcpu){.vm = vm, .record = record, .id = id};
		record->alive = true;
		record->thread = pthread_self();
		fake.live_vcpus += vm == fake.vm;
	} else {
		free(vcpu);
		vcpu = NULL;
	}
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.lock);
	return vcpu;
}

/* Discard a pending exit: the guest will never see its result. */
static void record_drop_exit(struct record *record)
{
	record->calling = false;
	if (record->phase == PHASE_IDLE)
		return;
	record->phase = PHASE_IDLE;
	record->dropped = true;
}

void kvm_vcpu_destroy(struct kvm_vcpu *vcpu)
{
	if (vcpu == NULL)
		return;
	pthread_mutex_lock(&fake.lock);
	if (vcpu->record->inside)
		fake_die("vCPU %u is destroyed while it runs", vcpu->id);
	record_drop_exit(vcpu->record);
	vcpu->record->alive = false;
	fake.live_vcpus -= vcpu->vm == fake.vm;
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.lock);
	free(vcpu);
}

void kvm_vcpu_set_aside(struct kvm_vcpu *vcpu)
{
	struct record *record = vcpu->record;

	kvm_vcpu_destroy(vcpu);
	pthread_mutex_lock(&fake.lock);
	record->aside = true;
	pthread_mutex_unlock(&fake.lock);
}

static void vcpu_require_own_thread(const struct kvm_vcpu *vcpu, const char *call)
{
	if (!pthread_equal(pthread_self(), vcpu->record->thread))
		fake_die("%s for vCPU %u on a thread that is not its own", call, vcpu->id);
}

static void record_carry_answer(struct record *record, const struct kvm_exit_info *exit)
{
	if (record->calling)
		record->hcall = exit->hcall;
	record->calling = false;
	if (record->phase != PHASE_TAKEN)
		return;
	record->info.hcall = exit->hcall;
	record->info.mmio = exit->mmio;
	record->phase = PHASE_IDLE;
}

/* Ask fake.guest for the next hcall; false if there is none. */
static bool record_ask_guest(const struct kvm_vcpu *vcpu, struct record *record)
{
	uint64_t interrupts = 0, before = 0;
	bool fresh;

	if (fake.guest == NULL || record->kicked || record->phase == PHASE_QUEUED)
		return false;
	for (size_t i = 0; i < vcpu->vm->irq_count; i++) {
		interrupts += vcpu->vm->irqs[i].pulses;
		before += vcpu->vm->irqs[i].pulses_before;
	}
	do {
		/* One that is sent after the reset, and before the vCPU's first step, is pending.
		 */
		fresh = record->fresh;
		record->fresh = false;
		record->calling = fake.guest(
		    vcpu->vm->memory, vcpu->id, fresh, fresh ? before : interrupts, &record->hcall);
	} while (
	    (fresh && !record->calling) || (record->calling && record->hcall.nr == FAKE_NR_STORE &&
	                                       doorbell_ring(vcpu->vm, record->hcall.args[0])));
	return record->calling;
}

/* The exit for the last hcall of fake.guest. */
static enum kvm_exit record_make_exit(const struct record *record, struct kvm_exit_info *exit)
{
	exit->hcall = record->hcall;
	exit->hcall.ret = 0;
	if (record->hcall.nr == FAKE_NR_STORE) {
		exit->mmio.address = record->hcall.args[0];
		exit->mmio.length = (uint32_t)record->hcall.args[1];
		exit->mmio.write = true;
		for (uint32_t i = 0; i < sizeof exit->mmio.data; i++)
			exit->mmio.data[i] = (uint8_t)(record->hcall.args[2] >> (8 * i));
		return KVM_RAN_MMIO;
	}
	if (record->hcall.nr == FAKE_NR_FAIL) {
		snprintf(exit->failure, sizeof exit->failure, "fake KVM: it cannot go on");
		return KVM_RAN_FAILED;
	}
	return KVM_RAN_HCALL;
}

/* Wait for a kick or an exit; the exit is stored in *exit. */
static enum kvm_exit record_wait_exit(
    const struct kvm_vcpu *vcpu, struct record *record, struct kvm_exit_info *exit)
{
	while (!record->kicked && record->phase != PHASE_QUEUED && !record_ask_guest(vcpu, record))
		pthread_cond_wait(&fake.changed, &fake.lock);
	if (record->kicked)
		return KVM_RAN_INTERRUPTED;
	if (record->calling)
		return record_make_exit(record, exit);
	record->phase = record->exit == KVM_RAN_FAILED ? PHASE_IDLE : PHASE_TAKEN;
	record->taken = true;
	*exit = record->info;
	exit->hcall.ret = 0;
	return record->exit;
}

enum kvm_exit kvm_vcpu_run(struct kvm_vcpu *vcpu, struct kvm_exit_info *exit)
{
	struct record *record = vcpu->record;
	enum kvm_exit result;

	pthread_mutex_lock(&fake.lock);
	vcpu_require_own_thread(vcpu, "kvm_vcpu_run");
	if (!record->entered)
		fake_die("vCPU %u runs, and its registers were not set", vcpu->id);
	record_carry_answer(record, exit);
	record->inside = true;
	pthread_cond_broadcast(&fake.changed);
	if (fake_call_fails(FAKE_VCPU_RUN)) {
		snprintf(exit->failure, sizeof exit->failure, "fake KVM: told to fail");
		result = KVM_RAN_FAILED;
	} else {
		result = record_wait_exit(vcpu, record, exit);
	}
	record->inside = false;
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.lock);
	return result;
}

void kvm_vcpu_kick(struct kvm_vcpu *vcpu)
{
	pthread_mutex_lock(&fake.lock);
	vcpu->record->kicked = true;
	vcpu->record->kicks++;
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.lock);
}

void kvm_vcpu_unkick(struct kvm_vcpu *vcpu)
{
	pthread_mutex_lock(&fake.lock);
	vcpu_require_own_thread(vcpu, "kvm_vcpu_unkick");
	vcpu->record->kicked = false;
	pthread_mutex_unlock(&fake.lock);
}

bool kvm_vcpu_enter_at(
    struct kvm_vcpu *vcpu, uint64_t pc, uint64_t r3, const struct kvm_modes *modes, struct err *err)
{
	struct record *record = vcpu->record;
	bool done = true;

	pthread_mutex_lock(&fake.lock);
	vcpu_require_own_thread(vcpu, "kvm_vcpu_enter_at");
	record_drop_exit(record);
	if (fake_call_fails(FAKE_ENTER_AT)) {
		done = fake_call_fail(err, EIO, "cannot set registers");
	} else {
		record->pc = pc;
		record->r3 = r3;
		record->modes = *modes;
		record->entered = record->fresh = true;
		record->parked = false;
		record->enters++;
	}
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.lock);
	return done;
}

bool kvm_vcpu_park(struct kvm_vcpu *vcpu, struct err *err)
{
	struct record *record = vcpu->record;
	bool done = true;

	pthread_mutex_lock(&fake.lock);
	vcpu_require_own_thread(vcpu, "kvm_vcpu_park");
	record_drop_exit(record);
	if (fake_call_fails(FAKE_PARK)) {
		done = fake_call_fail(err, EIO, "cannot park");
	} else {
		record->entered = false;
		record->parked = true;
		record->parks++;
	}
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.lock);
	return done;
}

bool kvm_vcpu_set_modes(struct kvm_vcpu *vcpu, const struct kvm_modes *modes, struct err *err)
{
	bool done = true;

	pthread_mutex_lock(&fake.lock);
	vcpu_require_own_thread(vcpu, "kvm_vcpu_set_modes");
	if (fake_call_fails(FAKE_SET_MODES))
		done = fake_call_fail(err, EIO, "cannot set LPCR");
	else
		vcpu->record->modes = *modes;
	pthread_mutex_unlock(&fake.lock);
	return done;
}

uint64_t kvm_timebase(void)
{
	return atomic_load(&fake.timebase);
}

bool kvm_vcpu_set_timebase_offset(struct kvm_vcpu *vcpu, int64_t offset, struct err *err)
{
	bool done = true;

	pthread_mutex_lock(&fake.lock);
	vcpu_require_own_thread(vcpu, "kvm_vcpu_set_timebase_offset");
	if (fake_call_fails(FAKE_SET_TIMEBASE))
		done = fake_call_fail(err, EINVAL, "cannot set the timebase");
	else
		vcpu->record->timebase_offset = offset;
	pthread_mutex_unlock(&fake.lock);
	return done;
}

bool kvm_vcpu_set_sprg0(struct kvm_vcpu *vcpu, uint64_t value)
{
	bool set;

	pthread_mutex_lock(&fake.lock);
	vcpu_require_own_thread(vcpu, "kvm_vcpu_set_sprg0");
	set = !fake_call_fails(FAKE_SET_SPRG0);
	if (set)
		vcpu->record->sprg0 = value;
	pthread_mutex_unlock(&fake.lock);
	return set;
}

bool kvm_vcpu_registers(struct kvm_vcpu *vcpu, struct kvm_registers *ret_registers)
{
	const struct record *record = vcpu->record;
	bool known;

	pthread_mutex_lock(&fake.lock);
	vcpu_require_own_thread(vcpu, "kvm_vcpu_registers");
	known = !fake_call_fails(FAKE_REGISTERS);
	/* Distinct values, so that a test notices swapped registers. */
	*ret_registers = (struct kvm_registers){
	    .pc = record->pc, .msr = UINT64_C(1) << 63, .lr = record->pc + 4, .ctr = vcpu->id};
	pthread_mutex_unlock(&fake.lock);
	return known;
}
