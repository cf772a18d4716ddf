/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fp_probe.c - tests that kvm_vcpu_run() keeps its caller's floating-point and vector registers.
 *
 * kvm-hv may return from KVM_RUN with the guest's registers in place of the caller's, if the thread
 * was scheduled out meanwhile. This program runs a guest that only exits, next to threads that keep
 * the host's CPUs busy. It holds patterns in the non-volatile registers (fr14-31, v20-31) across
 * each call, and counts the calls after which one was wrong.
 *
 * Prints "N exits, M clobbered"; exit status 0 if M is 0. Runs on the lab host, with real KVM.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvm/kvm.h"

#define EXITS 20000
#define BUSY_THREADS 6
#define MEMORY_BYTES (UINT64_C(16) << 20)

static _Atomic bool stop;

static void *keep_busy(void *argument)
{
	while (!atomic_load(&stop))
		__asm__ volatile("" ::: "memory");
	return argument;
}

/* li r3,0x7c; sc 1; b back to the li. 0x7c is an hcall that KVM leaves to user space. */
static const uint32_t guest_code[] = {0x3860007c, 0x44000022, 0x4bfffff8};

struct registers {
	double fpr[18];
	__vector unsigned long long vr[12];
};

#define FPRS                                                                                       \
	"fr14", "fr15", "fr16", "fr17", "fr18", "fr19", "fr20", "fr21", "fr22", "fr23", "fr24",    \
	    "fr25", "fr26", "fr27", "fr28", "fr29", "fr30", "fr31"
#define VRS "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31"

static __attribute__((noinline)) enum kvm_exit run_with_patterns(struct kvm_vcpu *vcpu,
    struct kvm_exit_info *exit, const struct registers *patterns, struct registers *ret_after)
{
	enum kvm_exit reason;

	__asm__ volatile(".irp n,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
	                 "lfd \\n,(\\n-14)*8(%0)\n"
	                 ".endr\n"
	                 ".irp n,20,21,22,23,24,25,26,27,28,29,30,31\n"
	                 "li 10,(\\n-20)*16\n"
	                 "lvx \\n,10,%1\n"
	                 ".endr\n" ::"b"(patterns->fpr),
	                 "b"(patterns->vr)
	                 : "r10", "memory", FPRS, VRS);
	reason = kvm_vcpu_run(vcpu, exit);
	__asm__ volatile(".irp n,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
	                 "stfd \\n,(\\n-14)*8(%0)\n"
	                 ".endr\n"
	                 ".irp n,20,21,22,23,24,25,26,27,28,29,30,31\n"
	                 "li 10,(\\n-20)*16\n"
	                 "stvx \\n,10,%1\n"
	                 ".endr\n" ::"b"(ret_after->fpr),
	                 "b"(ret_after->vr)
	                 : "r10", "memory", FPRS, VRS);
	return reason;
}

static int fail(const struct err *err)
{
	printf("fp_probe: %s\n", err->message);
	return 2;
}

int main(void)
{
	static const struct kvm_irqchip_config config = {
	    .servers = 1, .tokens = {0x2000, 0x2001, 0x2002, 0x2003}};
	static const struct kvm_modes modes;
	struct registers patterns, after;
	struct kvm_exit_info exit;
	struct err err = {0};
	struct gmem gmem;
	struct kvm_vm *vm = kvm_vm_create(0, &(struct kvm_mode){KVM_ACCEL_AUTO}, &err);
	struct kvm_vcpu *vcpu;
	pthread_t busy[BUSY_THREADS];
	unsigned exits = 0, clobbered = 0;
	struct be32 code[3];

	if (vm == NULL || !gmem_init(&gmem, MEMORY_BYTES, MEMORY_BYTES, &err) ||
	    !kvm_vm_add_memory(vm, 0, &gmem, 0, MEMORY_BYTES, &err) ||
	    !kvm_vm_create_mmu(vm, MEMORY_BYTES, &err) || !kvm_vm_create_irqchip(vm, &config, &err))
		return fail(&err);
	if (!kvm_vm_reset_mmu(vm, &err))
		return fail(&err);
	for (size_t i = 0; i < 3; i++)
		code[i] = be32(i == 1 ? kvm_vm_processor(vm)->hcall_instruction : guest_code[i]);
	if (!gmem_write(&gmem, 0x1000, code, sizeof code))
		return 2;
	vcpu = kvm_vcpu_create(vm, 0, &err);
	if (vcpu == NULL || !kvm_vcpu_enter_at(vcpu, 0x1000, 0, &modes, &err))
		return fail(&err);
	for (size_t i = 0; i < BUSY_THREADS; i++)
		pthread_create(&busy[i], NULL, keep_busy, NULL);
	for (size_t i = 0; i < 18; i++)
		patterns.fpr[i] = 1000.0 + (double)i;
	for (size_t i = 0; i < 12; i++)
		patterns.vr[i] = (__vector unsigned long long){0x5555000000000000 + i, i};
	for (; exits < EXITS; exits++) {
		enum kvm_exit reason = run_with_patterns(vcpu, &exit, &patterns, &after);

		if (reason == KVM_RAN_FAILED) {
			printf("fp_probe: %s\n", exit.failure);
			return 2;
		}
		clobbered += memcmp(&after, &patterns, sizeof after) != 0;
	}
	atomic_store(&stop, true);
	for (size_t i = 0; i < BUSY_THREADS; i++)
		pthread_join(busy[i], NULL);
	printf("%u exits, %u clobbered\n", exits, clobbered);
	kvm_vcpu_destroy(vcpu);
	kvm_vm_destroy(vm);
	gmem_finish(&gmem);
	return clobbered != 0;
}
