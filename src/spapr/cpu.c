/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpu.c - vCPU threads: one per vCPU, made when its core is first attached and kept for good,
 * because KVM cannot delete a vCPU. A thread is in one of three places:
 *
 *   in the guest     KVM_RUN; `in_guest` is set
 *   in a handler     dispatching what the guest stopped for (hcall.c)
 *   attending        cpu_attend(): the lock is held, or it waits for its condition
 *
 * Whoever wants something of a vCPU writes it down under the lock, sets `attention` and kicks
 * it. The thread carries it out itself in cpu_attend(), so that every ioctl on a vCPU is made
 * by its own thread, and between two guest instructions. That includes parking: what a vCPU
 * had registered in its last life is undone before anything else happens to it.
 */
#include "spapr/machine.h"

#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "spapr/hcall.h"

void cpu_init(struct spapr *machine, struct vcpu *vcpu, struct core *core, uint32_t id)
{
	*vcpu =
	    (struct vcpu){.machine = machine, .core = core, .id = id, .state = SPAPR_VCPU_ABSENT};
	pthread_cond_init(&vcpu->changed, NULL);
}

void cpu_finish(struct vcpu *vcpu)
{
	if (vcpu->has_thread)
		pthread_join(vcpu->thread, NULL);
	pthread_cond_destroy(&vcpu->changed);
}

static void want_attention(struct vcpu *vcpu)
{
	atomic_store(&vcpu->attention, true);
	if (vcpu->kvm != NULL)
		kvm_vcpu_kick(vcpu->kvm);
	pthread_cond_broadcast(&vcpu->changed);
}

/* What a vCPU that does not run is to the guest. */
static enum spapr_vcpu_state at_rest(const struct vcpu *vcpu)
{
	return vcpu->core->drc.attached ? SPAPR_VCPU_STOPPED : SPAPR_VCPU_ABSENT;
}

/* The vCPU cannot go on. No other may either: half a machine would be worse than none. The
 * operator is told why. */
static void give_up(struct vcpu *vcpu, const struct err *err)
{
	struct spapr *machine = vcpu->machine;

	if (machine->failure.class == ERR_NONE)
		machine->failure = *err;
	machine->finished = true;
	vcpu->state = at_rest(vcpu);
	vcpu->entry_set = false;
	cpus_release(machine); /* out of the guest; they find that they may not go back */
	news_tell(&machine->news, SPAPR_NEWS_FAILED);
}

static bool held(const struct spapr *machine)
{
	return machine->stopped || machine->booting || machine->finished;
}

/* Give up what a vCPU thread does not need. The threads of the boot cores are older than what
 * confines them, and do it on their way to the first boot; the others as soon as they have
 * made their vCPU. */
static bool confine(struct vcpu *vcpu, struct err *err)
{
	const struct spapr *machine = vcpu->machine;

	if (vcpu->confined || !machine->booted || machine->config.confine_vcpu == NULL)
		return true;
	vcpu->confined = machine->config.confine_vcpu(machine->config.context, err);
	return vcpu->confined;
}

/* Without it the guest finds that its CPUs stood still for as long as it was stopped, and goes on.
 */
static void set_timebase(struct vcpu *vcpu)
{
	struct spapr *machine = vcpu->machine;
	struct err err = {0};

	if (vcpu->timebase_offset == machine->timebase_offset)
		return;
	if (!kvm_vcpu_set_timebase_offset(vcpu->kvm, machine->timebase_offset, &err))
		log_guest(&machine->limit_timebase, LOG_WARN, "%s", err.message);
	vcpu->timebase_offset = machine->timebase_offset;
}

/* Bring the vCPU's registers to where its state says they should be; false on failure. */
static bool prepare(struct vcpu *vcpu, struct err *err)
{
	struct spapr *machine = vcpu->machine;

	if (vcpu->registers_wanted) {
		vcpu->registers_wanted = false;
		vcpu->registers_known = kvm_vcpu_registers(vcpu->kvm, &vcpu->registers);
	}
	if (vcpu->park_needed) {
		vcpu->park_needed = false;
		if (!kvm_vcpu_park(vcpu->kvm, err))
			return false;
		if (vcpu->state == SPAPR_VCPU_STOPPING)
			vcpu->state = at_rest(vcpu);
	}
	/* After what others wait for. */
	if (!confine(vcpu, err))
		return false;
	if (vcpu->state != SPAPR_VCPU_RUNNING || held(machine))
		return true;
	set_timebase(vcpu);
	if (vcpu->entry_set) {
		vcpu->entry_set = false;
		if (!kvm_vcpu_enter_at(
		        vcpu->kvm, vcpu->entry_pc, vcpu->entry_r3, &machine->modes, err))
			return false;
	} else if (vcpu->modes_version != machine->modes_version &&
	           !kvm_vcpu_set_modes(vcpu->kvm, &machine->modes, err)) {
		return false;
	}
	vcpu->modes_version = machine->modes_version;
	return true;
}

/* Do what has been asked for and wait until the vCPU may run; false: the machine goes away. */
static bool cpu_attend(struct vcpu *vcpu)
{
	struct spapr *machine = vcpu->machine;
	bool run = false;

	pthread_mutex_lock(&machine->lock);
	while (!machine->ending) {
		struct err err = {0};

		kvm_vcpu_unkick(vcpu->kvm);
		atomic_store(&vcpu->attention, false);
		if (!prepare(vcpu, &err))
			give_up(vcpu, &err);
		run = vcpu->state == SPAPR_VCPU_RUNNING && !held(machine);
		/* Whoever holds the machine, resets it or changes its modes waits for this. */
		vcpu->waiting = !run;
		pthread_cond_broadcast(&machine->quiet);
		if (run)
			break;
		pthread_cond_wait(&vcpu->changed, &machine->lock);
	}
	pthread_mutex_unlock(&machine->lock);
	return run;
}

static void handle_failure(struct vcpu *vcpu)
{
	struct err err = {0};

	err_set(&err, ERR_SYSTEM, "the host's kernel log may tell more", "vCPU %u: %s", vcpu->id,
	    vcpu->exit.failure);
	pthread_mutex_lock(&vcpu->machine->lock);
	give_up(vcpu, &err);
	pthread_mutex_unlock(&vcpu->machine->lock);
}

static void handle_mmio(struct vcpu *vcpu)
{
	struct spapr *machine = vcpu->machine;

	/* Nothing is there: loads read all ones, stores vanish, the guest goes on. */
	news_count(&machine->news, COUNT_STRAY_ACCESSES, 1);
	log_guest(&machine->limit_stray, LOG_WARN, "vCPU %u: %u-byte %s at %#llx, where nothing is",
	    vcpu->id, vcpu->exit.mmio.length, vcpu->exit.mmio.write ? "store" : "load",
	    (unsigned long long)vcpu->exit.mmio.address);
}

/* Run until something wants this thread's attention. */
static void run_guest(struct vcpu *vcpu)
{
	while (!atomic_load(&vcpu->attention)) {
		enum kvm_exit exit;

		/* cpus_apply_modes() reads in_guest after it has set attention; here the order is
		 * the other way round, so one of the two sees the other. */
		atomic_store(&vcpu->in_guest, true);
		if (atomic_load(&vcpu->attention)) {
			atomic_store(&vcpu->in_guest, false);
			break;
		}
		exit = kvm_vcpu_run(vcpu->kvm, &vcpu->exit);
		atomic_store(&vcpu->in_guest, false);
		news_count(&vcpu->machine->news, COUNT_GUEST_EXITS, 1);
		if (atomic_load(&vcpu->attention)) {
			pthread_mutex_lock(&vcpu->machine->lock);
			pthread_cond_broadcast(&vcpu->machine->quiet);
			pthread_mutex_unlock(&vcpu->machine->lock);
		}
		switch (exit) {
		case KVM_RAN_HCALL: hcall_dispatch(vcpu, &vcpu->exit.hcall); break;
		case KVM_RAN_MMIO: handle_mmio(vcpu); break;
		case KVM_RAN_INTERRUPTED: break;
		case KVM_RAN_FAILED: handle_failure(vcpu); break;
		}
	}
}

static void *vcpu_main(void *argument)
{
	struct vcpu *vcpu = argument;
	struct spapr *machine = vcpu->machine;
	struct err err = {0};
	struct kvm_vcpu *kvm = kvm_vcpu_create(machine->vm, vcpu->id, &err);
	char name[16];

	snprintf(name, sizeof name, "vcpu%u", vcpu->id);
	pthread_setname_np(pthread_self(), name);
	pthread_mutex_lock(&machine->lock);
	vcpu->confined = false;
	if (kvm != NULL && !confine(vcpu, &err)) {
		kvm_vcpu_set_aside(kvm);
		kvm = NULL;
	}
	vcpu->kvm = kvm;
	vcpu->timebase_offset = 0;
	vcpu->create_error = err;
	vcpu->host_thread = (int)syscall(SYS_gettid);
	pthread_cond_broadcast(&vcpu->changed);
	pthread_mutex_unlock(&machine->lock);
	if (kvm == NULL)
		return NULL;
	while (cpu_attend(vcpu))
		run_guest(vcpu);
	pthread_mutex_lock(&machine->lock);
	vcpu->kvm = NULL;
	pthread_mutex_unlock(&machine->lock);
	kvm_vcpu_destroy(kvm);
	return NULL;
}

/* Much more than it needs, and too little for the kernel to make a huge page of it. */
#define STACK_BYTES (512u << 10)

static int start_thread(struct vcpu *vcpu)
{
	pthread_attr_t attributes;
	int error = pthread_attr_init(&attributes);

	if (error != 0)
		return error;
	error = pthread_attr_setstacksize(&attributes, STACK_BYTES);
	if (error == 0)
		error = pthread_create(&vcpu->thread, &attributes, vcpu_main, vcpu);
	pthread_attr_destroy(&attributes);
	return error;
}

static bool cpu_create(struct spapr *machine, struct vcpu *vcpu, struct err *err)
{
	int error;

	if (vcpu->has_thread)
		return true;
	vcpu->create_error = (struct err){0};
	error = start_thread(vcpu);
	if (error != 0)
		return err_system(err, error, NULL, "cannot make a thread for vCPU %u", vcpu->id);
	vcpu->has_thread = true;
	while (vcpu->kvm == NULL && vcpu->create_error.class == ERR_NONE)
		pthread_cond_wait(&vcpu->changed, &machine->lock);
	if (vcpu->kvm != NULL)
		return true;
	/* The next attempt starts with a new thread. */
	pthread_mutex_unlock(&machine->lock);
	pthread_join(vcpu->thread, NULL);
	pthread_mutex_lock(&machine->lock);
	vcpu->has_thread = false;
	*err = vcpu->create_error;
	return false;
}

bool cpus_create(struct spapr *machine, struct core *core, struct err *err)
{
	for (uint32_t i = 0; i < machine->config.threads; i++)
		if (!cpu_create(machine, &core->vcpus[i], err))
			return false;
	return true;
}

bool cpu_start(struct vcpu *vcpu, uint64_t pc, uint64_t r3)
{
	if (vcpu->state != SPAPR_VCPU_STOPPED)
		return false;
	vcpu->entry_pc = pc;
	vcpu->entry_r3 = r3;
	vcpu->entry_set = true;
	vcpu->state = SPAPR_VCPU_RUNNING;
	want_attention(vcpu);
	return true;
}

void cpu_stop_self(struct vcpu *vcpu)
{
	/* Once it is reported stopped, its part of memory belongs to the guest again, and until it
	 * has parked KVM writes to areas there, as we write the status of this call. */
	vcpu->state = SPAPR_VCPU_STOPPING;
	vcpu->park_needed = true;
	want_attention(vcpu);
}

void cpus_detach(struct spapr *machine, struct core *core)
{
	for (uint32_t i = 0; i < machine->config.threads; i++) {
		struct vcpu *vcpu = &core->vcpus[i];

		if (vcpu->state == SPAPR_VCPU_STOPPED)
			vcpu->state = SPAPR_VCPU_ABSENT;
		if (vcpu->state == SPAPR_VCPU_RUNNING)
			vcpu->state = SPAPR_VCPU_STOPPING;
		vcpu->entry_set = false;
		vcpu->park_needed = vcpu->has_thread;
		want_attention(vcpu);
	}
}

void cpus_hold(struct spapr *machine)
{
	uint32_t count = machine->core_count * machine->config.threads;

	for (uint32_t i = 0; i < count; i++)
		if (machine->vcpus[i].has_thread)
			want_attention(&machine->vcpus[i]);
	for (uint32_t i = 0; i < count; i++)
		while (machine->vcpus[i].has_thread && !machine->vcpus[i].waiting)
			pthread_cond_wait(&machine->quiet, &machine->lock);
}

void cpus_release(struct spapr *machine)
{
	for (uint32_t i = 0; i < machine->core_count * machine->config.threads; i++)
		if (machine->vcpus[i].has_thread)
			want_attention(&machine->vcpus[i]);
}

void cpus_reset(struct spapr *machine)
{
	uint32_t count = machine->core_count * machine->config.threads;

	for (uint32_t i = 0; i < count; i++) {
		struct vcpu *vcpu = &machine->vcpus[i];

		vcpu->state = at_rest(vcpu);
		vcpu->entry_set = false;
		vcpu->park_needed = vcpu->has_thread;
		if (vcpu->has_thread)
			want_attention(vcpu);
	}
	for (uint32_t i = 0; i < count; i++)
		while (machine->vcpus[i].park_needed)
			pthread_cond_wait(&machine->quiet, &machine->lock);
}

bool cpu_registers(struct vcpu *vcpu, struct kvm_registers *ret_registers)
{
	struct spapr *machine = vcpu->machine;

	/* One that waits for its first instruction has no registers yet. */
	if (!held(machine) || vcpu->state != SPAPR_VCPU_RUNNING || vcpu->entry_set)
		return false;
	vcpu->registers_wanted = true;
	want_attention(vcpu);
	while (vcpu->registers_wanted)
		pthread_cond_wait(&machine->quiet, &machine->lock);
	*ret_registers = vcpu->registers;
	return vcpu->registers_known;
}

static bool runs_with_old_modes(const struct vcpu *vcpu)
{
	return vcpu->modes_version != vcpu->machine->modes_version && atomic_load(&vcpu->in_guest);
}

void cpus_apply_modes(struct spapr *machine, struct vcpu *caller)
{
	uint32_t count = machine->core_count * machine->config.threads;

	machine->modes_version++;
	for (uint32_t i = 0; i < count; i++)
		if (machine->vcpus[i].state == SPAPR_VCPU_RUNNING)
			want_attention(&machine->vcpus[i]);
	for (uint32_t i = 0; i < count; i++)
		while (&machine->vcpus[i] != caller && runs_with_old_modes(&machine->vcpus[i]))
			pthread_cond_wait(&machine->quiet, &machine->lock);
}

struct vcpu *cpu_find(struct spapr *machine, uint32_t id)
{
	/* Ids are dense: core-id is number * threads, and a thread's id follows its core's. */
	return id < machine->core_count * machine->config.threads ? &machine->vcpus[id] : NULL;
}

uint32_t cpus_running(const struct spapr *machine, const struct core *core)
{
	uint32_t running = 0;

	for (uint32_t i = 0; i < machine->config.threads; i++)
		running += core->vcpus[i].state == SPAPR_VCPU_RUNNING;
	return running;
}
