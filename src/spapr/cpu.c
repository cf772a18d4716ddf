/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpu.c - see cpu.h. A vCPU's thread is in one of three places:
 *
 *   in the guest     KVM_RUN; `in_guest` is set
 *   in a handler     dispatching what the guest stopped for
 *   attending        cpu_attend(): it holds the lock, or waits for its condition
 *
 * What another thread wants of a vCPU it writes down under the lock; then it sets `attention` and
 * kicks the vCPU. The vCPU's thread carries it out in cpu_attend(), so that every ioctl on a vCPU
 * is made by its own thread, between two guest instructions. That includes parking: what a vCPU
 * had registered in its last life is undone before anything else happens to it.
 */
#include "spapr/cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

bool cpus_init(struct cpus *cpus, uint32_t count, struct spapr *machine)
{
	pthread_cond_init(&cpus->quiet, NULL);
	cpus->booting = true; /* nothing runs before the first boot */
	cpus->machine = machine;
	cpus->list = calloc(count, sizeof *cpus->list);
	cpus->count = cpus->list != NULL ? count : 0;
	return cpus->list != NULL;
}

void cpus_finish(struct cpus *cpus)
{
	pthread_mutex_lock(cpus->lock);
	cpus->ending = true;
	cpus_release(cpus);
	pthread_mutex_unlock(cpus->lock);
	for (uint32_t i = 0; i < cpus->count; i++) {
		if (cpus->list[i].has_thread)
			pthread_join(cpus->list[i].thread, NULL);
		if (cpus->list[i].cpus != NULL)
			pthread_cond_destroy(&cpus->list[i].changed);
	}
	free(cpus->list);
	pthread_cond_destroy(&cpus->quiet);
}

static void cpu_want_attention(struct vcpu *vcpu)
{
	atomic_store(&vcpu->attention, true);
	/* Its thread writes and reads these in the other order: cpu_run_guest(). */
	if (atomic_load(&vcpu->in_guest))
		kvm_vcpu_kick(vcpu->kvm);
	pthread_cond_broadcast(&vcpu->changed);
}

/* The state of a vCPU that does not run, as the guest sees it. */
static enum spapr_vcpu_state cpu_idle_state(const struct vcpu *vcpu)
{
	return vcpu->present ? SPAPR_VCPU_STOPPED : SPAPR_VCPU_ABSENT;
}

void cpus_end_guest(struct cpus *cpus, enum spapr_news news)
{
	cpus->finished = true;
	cpus_release(cpus); /* they leave the guest, and find that they may not go back */
	news_tell(cpus->news, news);
}

/* The vCPU cannot go on. The others stop too, because half a machine is worse than none. */
static void cpu_give_up(struct vcpu *vcpu, const struct err *err)
{
	if (vcpu->cpus->failure.class == ERR_NONE)
		vcpu->cpus->failure = *err;
	vcpu->state = cpu_idle_state(vcpu);
	vcpu->entry_set = false;
	cpus_end_guest(vcpu->cpus, SPAPR_NEWS_FAILED);
}

static bool cpus_held(const struct cpus *cpus)
{
	return cpus->stopped || cpus->booting || cpus->finished;
}

static bool cpu_is_confined(const struct vcpu *vcpu)
{
	return vcpu->confined || vcpu->cpus->confine == NULL;
}

/* Enter the sandbox. The threads of the boot cores are made before the sandbox closes, and do this
 * on the way to the first boot; the others as soon as they have made their vCPU. */
static bool cpu_confine(struct vcpu *vcpu, struct err *err)
{
	const struct cpus *cpus = vcpu->cpus;

	if (cpu_is_confined(vcpu) || !cpus->booted)
		return true;
	vcpu->confined = cpus->confine(cpus->context, err);
	return vcpu->confined;
}

/* Hide the time for which the machine was stopped. If KVM refuses, the guest sees its CPUs stalled
 * for as long, and goes on. */
static void cpu_set_timebase(struct vcpu *vcpu)
{
	struct cpus *cpus = vcpu->cpus;
	struct err err = {0};

	if (vcpu->timebase_offset == cpus->timebase_offset)
		return;
	if (!kvm_vcpu_set_timebase_offset(vcpu->kvm, cpus->timebase_offset, &err))
		log_guest(&cpus->limit_timebase, LOG_WARN, "%s", err.message);
	vcpu->timebase_offset = cpus->timebase_offset;
}

/* Bring the vCPU's registers to where its state says they should be; false on failure. */
static bool cpu_prepare(struct vcpu *vcpu, struct err *err)
{
	struct cpus *cpus = vcpu->cpus;

	if (vcpu->registers_wanted) {
		vcpu->registers_wanted = false;
		vcpu->registers_known = kvm_vcpu_registers(vcpu->kvm, &vcpu->registers);
	}
	if (vcpu->park_needed) {
		vcpu->park_needed = false;
		vcpu->areas = 0;
		if (!kvm_vcpu_park(vcpu->kvm, err))
			return false;
		if (vcpu->state == SPAPR_VCPU_STOPPING)
			vcpu->state = cpu_idle_state(vcpu);
	}
	if (!cpu_confine(vcpu, err))
		return false;
	if (vcpu->state != SPAPR_VCPU_RUNNING || cpus_held(cpus))
		return true;
	cpu_set_timebase(vcpu);
	if (vcpu->entry_set) {
		vcpu->entry_set = false;
		if (!kvm_vcpu_enter_at(
		        vcpu->kvm, vcpu->entry_pc, vcpu->entry_r3, &cpus->modes, err))
			return false;
	} else if (vcpu->modes_version != cpus->modes_version &&
	           !kvm_vcpu_set_modes(vcpu->kvm, &cpus->modes, err)) {
		return false;
	}
	vcpu->modes_version = cpus->modes_version;
	return true;
}

/* Do what has been asked for and wait until the vCPU may run; false: the machine goes away. */
static bool cpu_attend(struct vcpu *vcpu)
{
	struct cpus *cpus = vcpu->cpus;
	bool run = false;

	pthread_mutex_lock(cpus->lock);
	while (!cpus->ending) {
		struct err err = {0};

		kvm_vcpu_unkick(vcpu->kvm);
		atomic_store(&vcpu->attention, false);
		if (!cpu_prepare(vcpu, &err))
			cpu_give_up(vcpu, &err);
		run = vcpu->state == SPAPR_VCPU_RUNNING && !cpus_held(cpus);
		/* cpus_hold(), cpus_reset() and cpus_set_modes() wait for this. */
		vcpu->waiting = !run;
		pthread_cond_broadcast(&cpus->quiet);
		if (run)
			break;
		pthread_cond_wait(&vcpu->changed, cpus->lock);
	}
	pthread_mutex_unlock(cpus->lock);
	return run;
}

static void cpu_handle_failure(struct vcpu *vcpu)
{
	struct err err = {0};

	err_set(&err, ERR_SYSTEM, "the host's kernel log may tell more", "vCPU %u: %s", vcpu->id,
	    vcpu->exit.failure);
	pthread_mutex_lock(vcpu->cpus->lock);
	cpu_give_up(vcpu, &err);
	pthread_mutex_unlock(vcpu->cpus->lock);
}

static void cpu_handle_mmio(struct vcpu *vcpu)
{
	struct cpus *cpus = vcpu->cpus;

	if (cpus->on_mmio(vcpu, vcpu->exit.mmio.address, vcpu->exit.mmio.data,
	        vcpu->exit.mmio.length, vcpu->exit.mmio.write))
		return;
	/* There is no device: loads read all ones, stores are dropped, the guest goes on. */
	news_count(cpus->news, COUNT_STRAY_ACCESSES, 1);
	log_guest(&cpus->limit_stray, LOG_WARN, "vCPU %u: %u-byte %s at %#llx, where nothing is",
	    vcpu->id, vcpu->exit.mmio.length, vcpu->exit.mmio.write ? "store" : "load",
	    (unsigned long long)vcpu->exit.mmio.address);
}

/* Run until something wants this thread's attention. */
static void cpu_run_guest(struct vcpu *vcpu)
{
	while (!atomic_load(&vcpu->attention)) {
		enum kvm_exit exit;

		/* cpu_want_attention() and cpus_set_modes() set attention, then read in_guest. Here
		 * the order is reversed, so at least one of the two sees the other. */
		atomic_store(&vcpu->in_guest, true);
		if (atomic_load(&vcpu->attention)) {
			atomic_store(&vcpu->in_guest, false);
			break;
		}
		exit = kvm_vcpu_run(vcpu->kvm, &vcpu->exit);
		atomic_store(&vcpu->in_guest, false);
		news_count(vcpu->cpus->news, COUNT_GUEST_EXITS, 1);
		if (atomic_load(&vcpu->attention)) {
			pthread_mutex_lock(vcpu->cpus->lock);
			pthread_cond_broadcast(&vcpu->cpus->quiet);
			pthread_mutex_unlock(vcpu->cpus->lock);
		}
		switch (exit) {
		case KVM_RAN_HCALL: vcpu->cpus->on_hcall(vcpu, &vcpu->exit.hcall); break;
		case KVM_RAN_MMIO: cpu_handle_mmio(vcpu); break;
		case KVM_RAN_INTERRUPTED: break;
		case KVM_RAN_FAILED: cpu_handle_failure(vcpu); break;
		}
	}
}

static void *cpu_main(void *argument)
{
	struct vcpu *vcpu = argument;
	struct cpus *cpus = vcpu->cpus;
	struct err err = {0};
	struct kvm_vcpu *kvm = kvm_vcpu_create(cpus->vm, vcpu->id, &err);
	char name[16];

	snprintf(name, sizeof name, "vcpu%u", vcpu->id);
	pthread_setname_np(pthread_self(), name);
	pthread_mutex_lock(cpus->lock);
	vcpu->confined = false;
	if (kvm != NULL && !cpu_confine(vcpu, &err)) {
		kvm_vcpu_set_aside(kvm);
		kvm = NULL;
	}
	vcpu->kvm = kvm;
	vcpu->timebase_offset = 0;
	vcpu->create_error = err;
	vcpu->host_thread = (int)syscall(SYS_gettid);
	pthread_cond_broadcast(&vcpu->changed);
	pthread_mutex_unlock(cpus->lock);
	if (kvm == NULL)
		return NULL;
	while (cpu_attend(vcpu))
		cpu_run_guest(vcpu);
	pthread_mutex_lock(cpus->lock);
	vcpu->kvm = NULL;
	pthread_mutex_unlock(cpus->lock);
	kvm_vcpu_destroy(kvm);
	return NULL;
}

/* More than a thread needs, and less than a huge page. */
#define STACK_BYTES (512u << 10)

static int cpu_start_thread(struct vcpu *vcpu)
{
	pthread_attr_t attributes;
	int error = pthread_attr_init(&attributes);

	if (error != 0)
		return error;
	error = pthread_attr_setstacksize(&attributes, STACK_BYTES);
	if (error == 0)
		error = pthread_create(&vcpu->thread, &attributes, cpu_main, vcpu);
	pthread_attr_destroy(&attributes);
	return error;
}

static bool cpu_begin(struct cpus *cpus, uint32_t id, struct err *err)
{
	struct vcpu *vcpu = &cpus->list[id];
	int error;

	if (vcpu->has_thread)
		return true;
	if (vcpu->cpus == NULL) {
		*vcpu = (struct vcpu){.cpus = cpus, .machine = cpus->machine, .id = id};
		pthread_cond_init(&vcpu->changed, NULL);
	}
	vcpu->create_error = (struct err){0};
	error = cpu_start_thread(vcpu);
	if (error != 0)
		return err_system(err, error, NULL, "cannot make a thread for vCPU %u", vcpu->id);
	vcpu->has_thread = true;
	return true;
}

/* Wait until its thread has made the vCPU; err is set if it is not yet. */
static bool cpu_await(struct vcpu *vcpu, struct err *err)
{
	struct cpus *cpus = vcpu->cpus;

	while (vcpu->kvm == NULL && vcpu->create_error.class == ERR_NONE)
		pthread_cond_wait(&vcpu->changed, cpus->lock);
	if (vcpu->kvm != NULL)
		return true;
	/* The next attempt starts with a new thread. */
	pthread_mutex_unlock(cpus->lock);
	pthread_join(vcpu->thread, NULL);
	pthread_mutex_lock(cpus->lock);
	vcpu->has_thread = false;
	if (err->class == ERR_NONE)
		*err = vcpu->create_error;
	return false;
}

bool cpus_create(struct cpus *cpus, uint32_t first, uint32_t count, struct err *err)
{
	bool created;
	uint32_t begun = 0;

	/* Side by side: KVM takes some time for each. */
	while (begun < count && cpu_begin(cpus, first + begun, err))
		begun++;
	created = begun == count;
	for (uint32_t i = 0; i < begun; i++)
		created = cpu_await(&cpus->list[first + i], err) && created;
	return created;
}

void cpus_attach(struct cpus *cpus, uint32_t first, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct vcpu *vcpu = &cpus->list[first + i];

		vcpu->present = true;
		if (vcpu->state == SPAPR_VCPU_ABSENT)
			vcpu->state = SPAPR_VCPU_STOPPED;
	}
}

bool cpu_start(struct vcpu *vcpu, uint64_t pc, uint64_t r3)
{
	if (vcpu->state != SPAPR_VCPU_STOPPED)
		return false;
	vcpu->cpus->used = true;
	vcpu->entry_pc = pc;
	vcpu->entry_r3 = r3;
	vcpu->entry_set = true;
	vcpu->state = SPAPR_VCPU_RUNNING;
	cpu_want_attention(vcpu);
	return true;
}

void cpu_prod(struct vcpu *vcpu)
{
	cpu_want_attention(vcpu);
}

void cpu_stop_self(struct vcpu *vcpu)
{
	/* The guest may reuse its memory once the vCPU is reported stopped. Until it has parked,
	 * KVM writes to the areas it has registered, and the status of this call is written too. */
	vcpu->state = SPAPR_VCPU_STOPPING;
	vcpu->park_needed = true;
	cpu_want_attention(vcpu);
}

void cpus_detach(struct cpus *cpus, uint32_t first, uint32_t count)
{
	irqchip_detach(cpus->irqchip, first, count);
	for (uint32_t i = 0; i < count; i++) {
		struct vcpu *vcpu = &cpus->list[first + i];

		vcpu->present = false;
		if (vcpu->state == SPAPR_VCPU_STOPPED)
			vcpu->state = SPAPR_VCPU_ABSENT;
		if (vcpu->state == SPAPR_VCPU_RUNNING)
			vcpu->state = SPAPR_VCPU_STOPPING;
		vcpu->entry_set = false;
		vcpu->park_needed = vcpu->has_thread;
		cpu_want_attention(vcpu);
	}
}

void cpus_release(struct cpus *cpus)
{
	for (uint32_t i = 0; i < cpus->count; i++)
		if (cpus->list[i].has_thread)
			cpu_want_attention(&cpus->list[i]);
}

void cpus_hold(struct cpus *cpus)
{
	cpus_release(cpus); /* now they may not */
	for (uint32_t i = 0; i < cpus->count; i++)
		while (cpus->list[i].has_thread && !cpus->list[i].waiting)
			pthread_cond_wait(&cpus->quiet, cpus->lock);
}

/* The first boot waits until the threads of the boot cores are confined. */
static bool cpu_reset_is_due(const struct vcpu *vcpu)
{
	return vcpu->has_thread &&
	       (vcpu->park_needed ||
	           (!cpu_is_confined(vcpu) && vcpu->cpus->failure.class == ERR_NONE));
}

bool cpus_reset(struct cpus *cpus, struct err *err)
{
	cpus->modes = (struct kvm_modes){0};
	cpus->modes_version++;
	cpus->failure = (struct err){0};
	for (uint32_t i = 0; i < cpus->count; i++) {
		struct vcpu *vcpu = &cpus->list[i];

		if (!vcpu->has_thread)
			continue;
		vcpu->state = cpu_idle_state(vcpu);
		vcpu->entry_set = false;
		/* What no guest has touched is as KVM made it. */
		vcpu->park_needed = cpus->used;
		if (cpu_reset_is_due(vcpu))
			cpu_want_attention(vcpu);
	}
	for (uint32_t i = 0; i < cpus->count; i++)
		while (cpu_reset_is_due(&cpus->list[i]))
			pthread_cond_wait(&cpus->quiet, cpus->lock);
	*err = cpus->failure;
	cpus->used = cpus->used && err->class != ERR_NONE;
	return err->class == ERR_NONE;
}

bool cpu_registers(struct vcpu *vcpu, struct kvm_registers *ret_registers)
{
	struct cpus *cpus = vcpu->cpus;

	/* Before its first instruction a vCPU has no registers yet. */
	if (vcpu->state != SPAPR_VCPU_RUNNING || vcpu->entry_set || !cpus_held(cpus))
		return false;
	vcpu->registers_wanted = true;
	cpu_want_attention(vcpu);
	while (vcpu->registers_wanted)
		pthread_cond_wait(&cpus->quiet, cpus->lock);
	*ret_registers = vcpu->registers;
	return vcpu->registers_known;
}

static bool cpu_runs_with_old_modes(const struct vcpu *vcpu)
{
	return atomic_load(&vcpu->in_guest) && vcpu->modes_version != vcpu->cpus->modes_version;
}

void cpus_set_modes(struct cpus *cpus, const struct kvm_modes *modes, struct vcpu *caller)
{
	cpus->modes = *modes;
	cpus->modes_version++;
	for (uint32_t i = 0; i < cpus->count; i++)
		if (cpus->list[i].state == SPAPR_VCPU_RUNNING)
			cpu_want_attention(&cpus->list[i]);
	for (uint32_t i = 0; i < cpus->count; i++)
		while (&cpus->list[i] != caller && cpu_runs_with_old_modes(&cpus->list[i]))
			pthread_cond_wait(&cpus->quiet, cpus->lock);
}

struct vcpu *cpu_find(struct cpus *cpus, uint32_t id)
{
	return id < cpus->count ? &cpus->list[id] : NULL;
}

struct vcpu *cpu_find_present(struct cpus *cpus, uint64_t id)
{
	struct vcpu *vcpu = id <= UINT32_MAX ? cpu_find(cpus, (uint32_t)id) : NULL;

	return vcpu != NULL && vcpu->present ? vcpu : NULL;
}

uint32_t cpus_running(const struct cpus *cpus, uint32_t first, uint32_t count)
{
	uint32_t running = 0;

	for (uint32_t i = 0; i < count; i++)
		running += cpus->list[first + i].state == SPAPR_VCPU_RUNNING;
	return running;
}
