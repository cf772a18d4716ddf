/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vcpu.c - one vCPU: creating it, running it, and putting it into a known state.
 *
 * Two facts shape this file. KVM applies the answer to an hcall when the vCPU is entered the
 * next time, over whatever registers were set in between; so before registers are set, the
 * pending answer is flushed by a KVM_RUN that does not enter (vcpu_finish_reply). And kvm-hv can
 * come back with the caller's floating-point and vector registers replaced by the guest's; so
 * the ioctl has a function of its own that tells the compiler (vcpu_run_ioctl).
 */
#include "kvm/internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define MSR_SF (UINT64_C(1) << 63)
#define MSR_ME (UINT64_C(1) << 12)

#define LPCR_ILE UINT64_C(0x02000000)
#define LPCR_AIL UINT64_C(0x01800000)
#define LPCR_AIL_SHIFT 23

bool kvm_vcpu_set_reg(struct kvm_vcpu *vcpu, uint64_t id, const void *value)
{
	struct kvm_one_reg reg = {.id = id, .addr = (uintptr_t)value};

	return ioctl(vcpu->fd, KVM_SET_ONE_REG, &reg) == 0;
}

bool kvm_vcpu_get_reg(struct kvm_vcpu *vcpu, uint64_t id, void *value)
{
	struct kvm_one_reg reg = {.id = id, .addr = (uintptr_t)value};

	return ioctl(vcpu->fd, KVM_GET_ONE_REG, &reg) == 0;
}

static bool vcpu_enable_cap(int fd, uint32_t capability, uint64_t arg0, uint64_t arg1)
{
	struct kvm_enable_cap cap = {.cap = capability, .args = {arg0, arg1}};

	return ioctl(fd, KVM_ENABLE_CAP, &cap) == 0;
}

/* The vCPU with this id, not yet set up: one that could not be completed before, or a new one. */
static struct kvm_vcpu *vcpu_begin(struct kvm_vm *vm, uint32_t id, struct err *err)
{
	struct kvm_vcpu **link = &vm->unfinished, *vcpu;

	while (*link != NULL && (*link)->id != id)
		link = &(*link)->next;
	vcpu = *link;
	if (vcpu != NULL) {
		*link = vcpu->next;
		return vcpu;
	}
	vcpu = calloc(1, sizeof *vcpu);
	if (vcpu == NULL) {
		err_system(err, ENOMEM, NULL, "cannot create vCPU %u", id);
		return NULL;
	}
	*vcpu = (struct kvm_vcpu){.vm = vm, .id = id, .run = MAP_FAILED};
	vcpu->fd = ioctl(vm->vm_fd, KVM_CREATE_VCPU, (long)id);
	if (vcpu->fd >= 0)
		return vcpu;
	err_system(err, errno,
	    errno == EMFILE ? "each vCPU takes a file: raise ulimit -Hn, or use fewer --cpus"
	                    : "use fewer --cpus",
	    "KVM cannot create vCPU %u", id);
	free(vcpu);
	return NULL;
}

/* Hold the processor to a level of the architecture. KVM keeps it per core, so each vCPU says it.
 */
static bool vcpu_set_level(struct kvm_vcpu *vcpu, struct err *err)
{
	const struct kvm_processor *processor = &vcpu->vm->processor;

	if (processor->architecture == 0 ||
	    kvm_vcpu_set_reg(vcpu, KVM_REG_PPC_ARCH_COMPAT, &processor->architecture))
		return true;
	err_system(err, errno, "use --cpu host, or a newer host kernel",
	    "this host's KVM makes no vCPU %u a %s", vcpu->id, processor->name);
	err->class = ERR_HOST;
	return false;
}

/* The rest of the set-up. May be repeated after a failure. */
static bool vcpu_complete(struct kvm_vcpu *vcpu, struct err *err)
{
	struct kvm_vm *vm = vcpu->vm;

	if (vcpu->run == MAP_FAILED)
		vcpu->run =
		    mmap(NULL, vm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED)
		return err_system(err, errno, NULL, "cannot map the run area of vCPU %u", vcpu->id);
	if (!vcpu_set_level(vcpu, err) ||
	    (vm->mmu->begin_vcpu != NULL && !vm->mmu->begin_vcpu(vcpu, err)))
		return false;
	if (!vcpu_enable_cap(vcpu->fd, KVM_CAP_PPC_PAPR, 0, 0))
		return err_system(err, errno, NULL, "cannot put vCPU %u into PAPR mode", vcpu->id);
	vcpu->connected = vcpu->connected || vcpu_enable_cap(vcpu->fd, vm->irqchip->connect_cap,
	                                         (uint64_t)vm->irqchip_fd, vcpu->id);
	return vcpu->connected ||
	       err_system(err, errno, NULL, "cannot connect vCPU %u to the interrupt controller",
	           vcpu->id);
}

struct kvm_vcpu *kvm_vcpu_create(struct kvm_vm *vm, uint32_t id, struct err *err)
{
	struct kvm_vcpu *vcpu = vcpu_begin(vm, id, err);

	if (vcpu == NULL)
		return NULL;
	vcpu->thread = pthread_self();
	if (vcpu_complete(vcpu, err))
		return vcpu;
	kvm_vcpu_set_aside(vcpu);
	return NULL;
}

void kvm_vcpu_set_aside(struct kvm_vcpu *vcpu)
{
	vcpu->next = vcpu->vm->unfinished;
	vcpu->vm->unfinished = vcpu;
}

void kvm_destroy_unfinished(struct kvm_vm *vm)
{
	while (vm->unfinished != NULL) {
		struct kvm_vcpu *vcpu = vm->unfinished;

		vm->unfinished = vcpu->next;
		kvm_vcpu_destroy(vcpu);
	}
}

void kvm_vcpu_destroy(struct kvm_vcpu *vcpu)
{
	if (vcpu == NULL)
		return;
	if (vcpu->run != MAP_FAILED)
		munmap(vcpu->run, vcpu->vm->run_bytes);
	if (vcpu->fd >= 0)
		close(vcpu->fd);
	free(vcpu);
}

/*
 * The one place that makes the ioctl. If the thread is scheduled out while inside KVM_RUN,
 * kvm-hv returns with the guest's FP, VMX and VSX registers live in the caller (measured on
 * Linux 6.1, 6.12 and 7.2). Declaring the non-volatile ones clobbered makes the compiler save
 * and restore them around this function; the volatile ones do not survive a call anyway.
 * noinline, or the clobbers would have to hold for a whole run loop.
 */
static __attribute__((noinline)) int vcpu_run_ioctl(int fd)
{
	int result = ioctl(fd, KVM_RUN, 0);

#ifdef __powerpc64__
	__asm__ volatile("" ::
	                     : "fr14", "fr15", "fr16", "fr17", "fr18", "fr19", "fr20", "fr21",
	                 "fr22", "fr23", "fr24", "fr25", "fr26", "fr27", "fr28", "fr29", "fr30",
	                 "fr31", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28",
	                 "v29", "v30", "v31", "memory");
#endif
	return result < 0 ? -errno : 0;
}

static enum kvm_exit vcpu_failed(struct kvm_exit_info *exit, const char *what, uint64_t detail)
{
	snprintf(
	    exit->failure, sizeof exit->failure, "%s (%#llx)", what, (unsigned long long)detail);
	return KVM_RAN_FAILED;
}

static void vcpu_carry_reply(struct kvm_vcpu *vcpu, const struct kvm_exit_info *exit)
{
	struct kvm_run *run = vcpu->run;

	if (vcpu->reply_pending == KVM_EXIT_PAPR_HCALL) {
		run->papr_hcall.ret = exit->hcall.ret;
		memcpy(run->papr_hcall.args, exit->hcall.args, sizeof exit->hcall.args);
	} else if (vcpu->reply_pending == KVM_EXIT_MMIO && !exit->mmio.write) {
		memcpy(run->mmio.data, exit->mmio.data, sizeof run->mmio.data);
	}
	vcpu->reply_pending = 0;
}

static enum kvm_exit vcpu_take_hcall(struct kvm_vcpu *vcpu, struct kvm_exit_info *exit)
{
	vcpu->reply_pending = KVM_EXIT_PAPR_HCALL;
	exit->hcall.nr = vcpu->run->papr_hcall.nr;
	exit->hcall.ret = 0;
	memcpy(exit->hcall.args, vcpu->run->papr_hcall.args, sizeof exit->hcall.args);
	return KVM_RAN_HCALL;
}

static enum kvm_exit vcpu_take_mmio(struct kvm_vcpu *vcpu, struct kvm_exit_info *exit)
{
	const struct kvm_run *run = vcpu->run;

	vcpu->reply_pending = KVM_EXIT_MMIO;
	exit->mmio.address = run->mmio.phys_addr;
	exit->mmio.length = run->mmio.len < KVM_MMIO_BYTES ? run->mmio.len : KVM_MMIO_BYTES;
	exit->mmio.write = run->mmio.is_write != 0;
	if (exit->mmio.write)
		memcpy(exit->mmio.data, run->mmio.data, sizeof exit->mmio.data);
	else
		memset(exit->mmio.data, 0xff, sizeof exit->mmio.data);
	return KVM_RAN_MMIO;
}

enum kvm_exit kvm_vcpu_run(struct kvm_vcpu *vcpu, struct kvm_exit_info *exit)
{
	struct kvm_run *run = vcpu->run;
	int result;

	vcpu_carry_reply(vcpu, exit);
	run->exit_reason = KVM_EXIT_UNKNOWN;
	result = vcpu_run_ioctl(vcpu->fd);
	if (result == -EINTR || result == -EAGAIN)
		return KVM_RAN_INTERRUPTED;
	/* KVM looks at an RTAS block first, for its own four services. If it cannot read the block,
	 * or finds it malformed, KVM_RUN fails and leaves the hcall unanswered. It is answered
	 * here, so that such a block does not end the machine. */
	if (result < 0 && run->exit_reason == KVM_EXIT_PAPR_HCALL)
		return vcpu_take_hcall(vcpu, exit);
	/* kvm-hv runs a guest on all threads of a POWER8 core, or not at all. */
	if (result == -EBUSY)
		return vcpu_failed(exit,
		    "KVM finds threads of the host's cores in use; on the host: ppc64_cpu "
		    "--smt=off",
		    EBUSY);
	if (result < 0)
		return vcpu_failed(exit, "KVM_RUN fails", (uint64_t)-result);
	switch (run->exit_reason) {
	case KVM_EXIT_PAPR_HCALL: return vcpu_take_hcall(vcpu, exit);
	case KVM_EXIT_MMIO: return vcpu_take_mmio(vcpu, exit);
	case KVM_EXIT_INTR: return KVM_RAN_INTERRUPTED;
	case KVM_EXIT_FAIL_ENTRY:
		return vcpu_failed(exit, "KVM cannot enter the guest",
		    run->fail_entry.hardware_entry_failure_reason);
	case KVM_EXIT_INTERNAL_ERROR:
		return vcpu_failed(exit, "KVM internal error", run->internal.suberror);
	case KVM_EXIT_UNKNOWN:
		return vcpu_failed(
		    exit, "KVM does not know why the guest stopped", run->hw.hardware_exit_reason);
	default: return vcpu_failed(exit, "unexpected exit from KVM", run->exit_reason);
	}
}

void kvm_vcpu_kick(struct kvm_vcpu *vcpu)
{
	/* The flag is for a thread about to enter, the signal for one that is inside. */
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	pthread_kill(vcpu->thread, KICK_SIGNAL);
}

void kvm_vcpu_unkick(struct kvm_vcpu *vcpu)
{
	__atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
}

/* A vector access of 16 bytes is at most 16 accesses to KVM. Many more are a fault. */
#define FINISH_ROUNDS_MAX 64

/*
 * Let KVM take an answer of zeros for an exit that is abandoned. An instruction that makes
 * several accesses exits for each: KVM_RUN then returns 0 for the next one, in spite of
 * immediate_exit, which it looks at only when the instruction is complete.
 */
static bool vcpu_finish_reply(struct kvm_vcpu *vcpu, struct err *err)
{
	struct kvm_exit_info nothing = {.hcall = {.ret = 0}};
	int result = -EINTR;

	for (int round = 0; vcpu->reply_pending != 0 && round < FINISH_ROUNDS_MAX; round++) {
		vcpu_carry_reply(vcpu, &nothing);
		vcpu->run->exit_reason = KVM_EXIT_UNKNOWN;
		vcpu->run->immediate_exit = 1;
		result = vcpu_run_ioctl(vcpu->fd);
		if (result == 0 && vcpu->run->exit_reason == KVM_EXIT_MMIO)
			vcpu->reply_pending = KVM_EXIT_MMIO;
	}
	/* immediate_exit, if left set, would keep the vCPU out of the guest. */
	kvm_vcpu_unkick(vcpu);
	if (result == -EINTR && vcpu->reply_pending == 0)
		return true;
	return err_system(err, result < 0 ? -result : EIO, NULL,
	    "vCPU %u did not finish what it left the guest for (exit %u)", vcpu->id,
	    vcpu->run->exit_reason);
}

bool kvm_vcpu_set_modes(struct kvm_vcpu *vcpu, const struct kvm_modes *modes, struct err *err)
{
	uint64_t lpcr = 0;

	/* Each vCPU has its own LPCR here, and one that is created later starts with KVM's
	 * default, while the guest sets the modes only once at boot. */
	if (!kvm_vcpu_get_reg(vcpu, KVM_REG_PPC_LPCR_64, &lpcr))
		return err_system(err, errno, NULL, "cannot read LPCR of vCPU %u", vcpu->id);
	lpcr &= ~(LPCR_ILE | LPCR_AIL);
	lpcr |= (modes->little_endian_interrupts ? LPCR_ILE : 0) | (uint64_t)modes->ail
	                                                               << LPCR_AIL_SHIFT;
	if (!kvm_vcpu_set_reg(vcpu, KVM_REG_PPC_LPCR_64, &lpcr))
		return err_system(err, errno, NULL, "cannot set LPCR of vCPU %u", vcpu->id);
	return true;
}

uint64_t kvm_timebase(void)
{
#ifdef __powerpc64__
	return __builtin_ppc_get_timebase();
#else
	return 0;
#endif
}

bool kvm_vcpu_set_timebase_offset(struct kvm_vcpu *vcpu, int64_t offset, struct err *err)
{
	return kvm_vcpu_set_reg(vcpu, KVM_REG_PPC_TB_OFFSET, &offset) ||
	       err_system(err, errno, NULL, "cannot set the timebase of vCPU %u", vcpu->id);
}

bool kvm_vcpu_set_sprg0(struct kvm_vcpu *vcpu, uint64_t value)
{
	struct kvm_regs regs;

	/* KVM puts the answer to the hcall over r3 to r12 at the next entry, as it would have. */
	if (ioctl(vcpu->fd, KVM_GET_REGS, &regs) < 0)
		return false;
	regs.sprg0 = value;
	return ioctl(vcpu->fd, KVM_SET_REGS, &regs) == 0;
}

bool kvm_vcpu_registers(struct kvm_vcpu *vcpu, struct kvm_registers *ret_registers)
{
	struct kvm_regs regs;

	if (ioctl(vcpu->fd, KVM_GET_REGS, &regs) < 0)
		return false;
	*ret_registers = (struct kvm_registers){.pc = regs.pc,
	    .msr = regs.msr,
	    .lr = regs.lr,
	    .ctr = regs.ctr,
	    .srr0 = regs.srr0,
	    .srr1 = regs.srr1};
	return true;
}

bool kvm_vcpu_enter_at(
    struct kvm_vcpu *vcpu, uint64_t pc, uint64_t r3, const struct kvm_modes *modes, struct err *err)
{
	struct kvm_regs regs = {.pc = pc, .msr = MSR_SF | MSR_ME};
	uint64_t zero = 0;
	/* What a previous life of the vCPU may have left on. Not every KVM knows each of them. */
	static const uint64_t cleared[] = {KVM_REG_PPC_PSSCR, KVM_REG_PPC_FSCR, KVM_REG_PPC_DSCR,
	    KVM_REG_PPC_AMR, KVM_REG_PPC_UAMOR, KVM_REG_PPC_IAMR, KVM_REG_PPC_CIABR,
	    KVM_REG_PPC_DAWR, KVM_REG_PPC_DAWRX, KVM_REG_PPC_PID, KVM_REG_PPC_MMCR0,
	    KVM_REG_PPC_MMCR1, KVM_REG_PPC_MMCR2, KVM_REG_PPC_MMCRA};

	if (!vcpu_finish_reply(vcpu, err))
		return false;
	for (size_t i = 0; i < sizeof cleared / sizeof cleared[0]; i++)
		kvm_vcpu_set_reg(vcpu, cleared[i], &zero);
	regs.gpr[3] = r3;
	if (vcpu->vm->mmu->enter_vcpu != NULL && !vcpu->vm->mmu->enter_vcpu(vcpu, err))
		return false;
	if (ioctl(vcpu->fd, KVM_SET_REGS, &regs) < 0)
		return err_system(err, errno, NULL, "cannot set registers of vCPU %u", vcpu->id);
	return kvm_vcpu_set_modes(vcpu, modes, err);
}

bool kvm_vcpu_forget_areas(struct kvm_vcpu *vcpu, struct err *err)
{
	struct {
		uint64_t address, length;
	} none = {0, 0};
	uint64_t zero = 0;

	/* KVM writes to these areas of guest memory as long as they are registered, and accepts
	 * unregistering the VPA only after the other two. */
	kvm_vcpu_set_reg(vcpu, KVM_REG_PPC_VPA_DTL, &none);
	kvm_vcpu_set_reg(vcpu, KVM_REG_PPC_VPA_SLB, &none);
	return kvm_vcpu_set_reg(vcpu, KVM_REG_PPC_VPA_ADDR, &zero) ||
	       err_system(err, errno, NULL, "cannot unregister the VPA of vCPU %u", vcpu->id);
}

bool kvm_vcpu_park(struct kvm_vcpu *vcpu, struct err *err)
{
	return vcpu_finish_reply(vcpu, err) && vcpu->vm->mmu->park_vcpu(vcpu, err) &&
	       vcpu->vm->irqchip->park_vcpu(vcpu, err);
}
