/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fake.c - the fake KVM itself, on which the other tests rest: what a guest's call finds
 * is what was answered, a kick is not lost, a vCPU's id is used up by its first creation, and
 * what shall fail fails as often as it was told to.
 */
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <cmocka.h>

#include "fake_kvm.h"

#define CPUS 8
#define IRQ 0x1000

/* The hcalls of this test's "hypervisor": one is answered, after one the vCPU starts anew. */
enum { HCALL_ADD = 100, HCALL_RESTART = 4 };

struct cpu {
	struct kvm_vm *vm;
	uint32_t id;
	pthread_t thread;
	struct kvm_vcpu *_Atomic kvm;
	_Atomic bool stop, failed;
	_Atomic uint64_t interruptions;
};

static const struct kvm_modes modes = {.ail = 3};

static void answer(struct cpu *cpu, struct kvm_exit_info *exit)
{
	struct err err = {0};

	if (exit->hcall.nr == HCALL_RESTART) {
		kvm_vcpu_park(cpu->kvm, &err);
		kvm_vcpu_enter_at(cpu->kvm, 0x500, 9, &modes, &err);
		return;
	}
	exit->hcall.ret = exit->hcall.nr + exit->hcall.args[0];
	exit->hcall.args[8] = 42;
}

static void *cpu_main(void *argument)
{
	struct cpu *cpu = argument;
	struct err err = {0};
	struct kvm_vcpu *kvm = kvm_vcpu_create(cpu->vm, cpu->id, &err);
	struct kvm_exit_info exit = {.failure = ""};

	if (kvm == NULL) {
		cpu->failed = true;
		return NULL;
	}
	cpu->kvm = kvm;
	kvm_vcpu_enter_at(kvm, 0x100 + cpu->id, 7, &modes, &err);
	while (!cpu->stop) {
		switch (kvm_vcpu_run(kvm, &exit)) {
		case KVM_RAN_HCALL: answer(cpu, &exit); break;
		case KVM_RAN_MMIO: break;
		case KVM_RAN_INTERRUPTED:
			cpu->interruptions++;
			kvm_vcpu_unkick(kvm);
			break;
		case KVM_RAN_FAILED: cpu->failed = cpu->stop = true; break;
		}
	}
	cpu->kvm = NULL;
	kvm_vcpu_destroy(kvm);
	return NULL;
}

static int setup(void **state)
{
	(void)state;
	fake_reset();
	return 0;
}

static struct kvm_vm *create_vm(void)
{
	const struct kvm_irqchip_config config = {
	    .servers = CPUS, .tokens = {1, 2, 3, 4}, .sources_end = IRQ + 1};
	struct err err = {0};
	struct kvm_vm *vm = kvm_vm_create(0, &(struct kvm_mode){KVM_ACCEL_AUTO}, &err);

	assert_non_null(vm);
	assert_true(kvm_vm_set_threads(vm, 4, &err));
	assert_true(kvm_vm_create_irqchip(vm, &config, &err));
	assert_int_equal(fake_threads(), 4);
	assert_int_equal(fake_servers(), CPUS);
	assert_int_equal(fake_xics_tokens().int_on, 4);
	return vm;
}

static void start(struct cpu *cpu, struct kvm_vm *vm, uint32_t id)
{
	memset(cpu, 0, sizeof *cpu);
	cpu->vm = vm;
	cpu->id = id;
	assert_int_equal(pthread_create(&cpu->thread, NULL, cpu_main, cpu), 0);
}

static void start_all(struct cpu cpus[CPUS], struct kvm_vm *vm)
{
	for (uint32_t i = 0; i < CPUS; i++)
		start(&cpus[i], vm, i);
	for (uint32_t i = 0; i < CPUS; i++)
		fake_wait_running(i);
}

/* Its thread takes the kick, which is the only one by then, sees `stop` and ends. */
static void end(struct cpu *cpu)
{
	fake_wait_running(cpu->id);
	cpu->stop = true;
	kvm_vcpu_kick(cpu->kvm);
	pthread_join(cpu->thread, NULL);
}

static void destroy(struct kvm_vm *vm)
{
	assert_int_equal(fake_live_vcpus(), 0);
	kvm_vm_destroy(vm);
	assert_int_equal(fake_live_vms(), 0);
}

static void a_call_finds_what_was_answered(void **state)
{
	struct kvm_vm *vm = create_vm();
	struct cpu cpus[CPUS];

	(void)state;
	start_all(cpus, vm);
	for (uint32_t i = 0; i < CPUS; i++) {
		assert_int_equal(fake_vcpu_pc(i), 0x100 + i);
		assert_int_equal(fake_vcpu_r3(i), 7);
		assert_int_equal(fake_vcpu_modes(i).ail, 3);
	}
	for (uint64_t k = 0; k < 200; k++) {
		uint64_t args[9] = {k}, ret[9];

		assert_int_equal(fake_hcall(k % CPUS, HCALL_ADD, args, ret), HCALL_ADD + k);
		assert_int_equal(ret[0], k);
		assert_int_equal(ret[8], 42);
	}
	fake_mmio(3, 0x1234, 4, false);
	for (uint32_t i = 0; i < CPUS; i++)
		end(&cpus[i]);
	destroy(vm);
}

static void a_vcpu_that_starts_anew_never_sees_the_answer(void **state)
{
	struct kvm_vm *vm = create_vm();
	struct cpu cpu;
	int64_t r3 = 0;

	(void)state;
	start(&cpu, vm, 2);
	fake_wait_running(2);
	fake_hcall_noreturn(2, HCALL_RESTART, NULL);
	fake_wait_enters(2, 2);
	assert_int_equal(fake_vcpu_pc(2), 0x500);
	assert_int_equal(fake_vcpu_parks(2), 1);
	assert_false(fake_vcpu_parked(2));
	assert_false(fake_try_hcall(2, HCALL_RESTART, NULL, NULL, &r3));
	fake_wait_enters(2, 3);
	fake_wait_running(2);
	assert_true(fake_vcpu_running(2));
	end(&cpu);
	destroy(vm);
}

static void a_kick_before_the_guest_is_entered_is_not_lost(void **state)
{
	struct kvm_vm *vm = create_vm();
	struct cpu cpu;

	(void)state;
	start(&cpu, vm, 0);
	for (unsigned i = 0; i < 100; i++) {
		uint64_t before;

		fake_wait_running(0);
		before = cpu.interruptions;
		kvm_vcpu_kick(cpu.kvm);
		fake_wait_running(0);
		assert_true(cpu.interruptions > before);
	}
	end(&cpu);
	destroy(vm);
}

static void the_id_of_a_vcpu_is_used_once(void **state)
{
	struct kvm_vm *vm = create_vm();
	struct cpu cpu;

	(void)state;
	assert_false(fake_vcpu_created(1));
	start(&cpu, vm, 1);
	fake_wait_running(1);
	assert_true(fake_vcpu_created(1));
	assert_int_equal(fake_live_vcpus(), 1);
	end(&cpu);
	assert_true(fake_vcpu_created(1));
	start(&cpu, vm, 1);
	pthread_join(cpu.thread, NULL);
	assert_true(cpu.failed);
	destroy(vm);
}

static void an_interrupt_is_sent_only_once_it_is_set_up(void **state)
{
	struct kvm_vm *vm = create_vm();
	struct err err = {0};

	(void)state;
	assert_int_equal(kvm_irq_pulse(vm, IRQ), -EINVAL);
	assert_int_equal(fake_irq_pulses(IRQ), 0);
	assert_false(kvm_irq_reset(vm, IRQ, CPUS, &err));
	assert_true(kvm_irq_reset(vm, IRQ, 5, &err));
	assert_int_equal(kvm_irq_pulse(vm, IRQ), 0);
	fake_wait_irq_pulses(IRQ, 1);
	assert_int_equal(fake_irq_pulses(IRQ), 1);
	assert_int_equal(fake_irq_server(IRQ), 5);
	assert_int_equal(fake_irq_resets(IRQ), 1);
	destroy(vm);
}

static void what_shall_fail_fails_as_often_as_it_was_told_to(void **state)
{
	struct err err = {0};
	struct cpu cpus[2];
	struct kvm_vm *vm;

	(void)state;
	fake_fail_next(FAKE_VM_CREATE, 1);
	assert_null(kvm_vm_create(0, &(struct kvm_mode){KVM_ACCEL_AUTO}, &err));
	assert_int_equal(err.class, ERR_HOST);
	vm = create_vm();
	fake_fail_after(FAKE_VCPU_CREATE, 1, 1);
	start(&cpus[0], vm, 0);
	fake_wait_running(0);
	start(&cpus[1], vm, 1);
	pthread_join(cpus[1].thread, NULL);
	assert_true(cpus[1].failed);
	start(&cpus[1], vm, 1);
	fake_wait_running(1);
	fake_run_failure(1, "boom");
	pthread_join(cpus[1].thread, NULL);
	assert_true(cpus[1].failed);
	end(&cpus[0]);
	destroy(vm);
}

struct guest {
	uint32_t id;
	bool good;
};

static void *guest_main(void *argument)
{
	struct guest *guest = argument;

	guest->good = true;
	for (uint64_t k = 0; k < 500; k++) {
		uint64_t args[9] = {k};

		guest->good &=
		    fake_hcall(guest->id, HCALL_ADD, args, NULL) == (int64_t)(HCALL_ADD + k);
	}
	return NULL;
}

/* Two threads play each vCPU, and another kicks them all. */
static void guests_can_be_played_by_threads(void **state)
{
	struct kvm_vm *vm = create_vm();
	struct cpu cpus[CPUS];
	pthread_t threads[2 * CPUS];
	struct guest guests[2 * CPUS];

	(void)state;
	start_all(cpus, vm);
	for (uint32_t i = 0; i < 2 * CPUS; i++) {
		guests[i].id = i % CPUS;
		assert_int_equal(pthread_create(&threads[i], NULL, guest_main, &guests[i]), 0);
	}
	for (unsigned k = 0; k < 200; k++)
		for (uint32_t i = 0; i < CPUS; i++)
			kvm_vcpu_kick(cpus[i].kvm);
	for (uint32_t i = 0; i < 2 * CPUS; i++) {
		pthread_join(threads[i], NULL);
		assert_true(guests[i].good);
	}
	for (uint32_t i = 0; i < CPUS; i++)
		end(&cpus[i]);
	destroy(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(a_call_finds_what_was_answered, setup),
	    cmocka_unit_test_setup(a_vcpu_that_starts_anew_never_sees_the_answer, setup),
	    cmocka_unit_test_setup(a_kick_before_the_guest_is_entered_is_not_lost, setup),
	    cmocka_unit_test_setup(the_id_of_a_vcpu_is_used_once, setup),
	    cmocka_unit_test_setup(an_interrupt_is_sent_only_once_it_is_set_up, setup),
	    cmocka_unit_test_setup(what_shall_fail_fails_as_often_as_it_was_told_to, setup),
	    cmocka_unit_test_setup(guests_can_be_played_by_threads, setup),
	};

	return cmocka_run_group_tests_name("fake", tests, NULL, NULL);
}
