/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vm.c - the virtual machine as KVM sees it: capabilities, memory, threads per core.
 *
 * What differs between kinds of guests is decided once, by mode.h, and done by the two sets of
 * operations for the MMU and the interrupt controller that are chosen here.
 */
#include "kvm/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

int kvm_extension(int fd, int capability)
{
	int value = ioctl(fd, KVM_CHECK_EXTENSION, (long)capability);

	return value < 0 ? 0 : value;
}

/* The second watchpoint of POWER10 has to be asked for. */
static bool vm_enable_dawr1(int fd)
{
	struct kvm_enable_cap cap = {.cap = KVM_CAP_PPC_DAWR1, .args = {1}};

	return kvm_extension(fd, KVM_CAP_PPC_DAWR1) != 0 && ioctl(fd, KVM_ENABLE_CAP, &cap) == 0;
}

void kvm_read_capabilities(struct kvm_vm *vm)
{
	struct kvm_facts *facts = &vm->facts;
	/* Several of these depend on the kind of VM, so it is the VM that is asked. */
	int fd = vm->vm_fd;

	/* kvm-pr alone tells user space how to patch a guest (QEMU takes the same as the sign). */
	facts->hv = kvm_extension(fd, KVM_CAP_PPC_GET_PVINFO) == 0;
	facts->radix = kvm_extension(fd, KVM_CAP_PPC_MMU_RADIX) != 0;
	facts->xics = kvm_extension(fd, KVM_CAP_IRQ_XICS) != 0;
	facts->xive = kvm_extension(fd, KVM_CAP_PPC_IRQ_XIVE) != 0;
	facts->dawr1 = vm_enable_dawr1(fd);
	facts->ail3 = kvm_extension(fd, KVM_CAP_PPC_AIL_MODE_3) != 0;
	facts->papr = kvm_extension(fd, KVM_CAP_PPC_PAPR) != 0;
	facts->rtas_tokens = kvm_extension(fd, KVM_CAP_PPC_RTAS) != 0;
	facts->enable_hcall = kvm_extension(fd, KVM_CAP_PPC_ENABLE_HCALL) != 0;
	facts->immediate_exit = kvm_extension(fd, KVM_CAP_IMMEDIATE_EXIT) != 0;
	facts->one_reg = kvm_extension(fd, KVM_CAP_ONE_REG) != 0;
	facts->cpu_char = kvm_extension(fd, KVM_CAP_PPC_GET_CPU_CHAR) != 0;
	facts->sync_mmu = kvm_extension(fd, KVM_CAP_SYNC_MMU) != 0;
	facts->smt_modes = (uint32_t)kvm_extension(fd, KVM_CAP_PPC_SMT_POSSIBLE);
	facts->memory_slots = (uint32_t)kvm_extension(fd, KVM_CAP_NR_MEMSLOTS);
	facts->max_vcpus = (uint32_t)kvm_extension(fd, KVM_CAP_MAX_VCPUS);
	facts->max_vcpu_id = (uint32_t)kvm_extension(fd, KVM_CAP_MAX_VCPU_ID);
	facts->recommended_vcpus = (uint32_t)kvm_extension(fd, KVM_CAP_NR_VCPUS);
	kvm_read_page_sizes(vm);
	/* A hash host runs hash guests. A radix host has a capability for it, but from ISA 3.0 on.
	 */
	facts->hash =
	    !facts->hv ||
	    (!facts->nested && (!facts->radix || kvm_extension(fd, KVM_CAP_PPC_MMU_HASH_V3) != 0));
}

static void vm_ignore_signal(int number)
{
	(void)number; /* its arrival is what interrupts KVM_RUN */
}

static bool vm_require(bool present, struct err *err, const char *what, const char *hint)
{
	return present || err_set(err, ERR_HOST, hint, "this host's KVM offers no %s", what);
}

static bool vm_check_requirements(const struct kvm_facts *facts, struct err *err)
{
	return vm_require(facts->papr, err, "PAPR mode (KVM_CAP_PPC_PAPR)",
	           "load kvm_hv or kvm_pr, and run `paprika check`") &&
	       vm_require(facts->xics, err, "in-kernel interrupt controller (KVM_CAP_IRQ_XICS)",
	           "use a kernel with CONFIG_KVM_XICS") &&
	       vm_require(facts->rtas_tokens, err, "in-kernel RTAS services (KVM_CAP_PPC_RTAS)",
	           "use a kernel with CONFIG_KVM_XICS") &&
	       vm_require(facts->enable_hcall, err, "KVM_CAP_PPC_ENABLE_HCALL",
	           "use Linux 3.17 or later") &&
	       vm_require(
	           facts->immediate_exit, err, "KVM_CAP_IMMEDIATE_EXIT", "use Linux 4.12 or later");
}

/* Take over an open /dev/kvm, so that this process needs no permission to open it. */
static bool vm_adopt_kvm(struct kvm_vm *vm, int fd, struct err *err)
{
	static const char hint[] =
	    "have /dev/kvm opened for reading and writing as that descriptor";
	struct stat status;

	if (fstat(fd, &status) < 0)
		return err_set(err, ERR_USAGE, hint, "descriptor %d of --kvm-fd is not open", fd);
	/* Another kind of file could understand the request as one of its own. */
	if (!S_ISCHR(status.st_mode) || ioctl(fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return err_set(
		    err, ERR_USAGE, hint, "descriptor %d of --kvm-fd is not /dev/kvm", fd);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	vm->kvm_fd = fd;
	return true;
}

static bool vm_open_kvm(struct kvm_vm *vm, struct err *err)
{
	const char *hint = "load the kvm_hv module on a POWER host; `paprika check` tells more";

	vm->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm_fd >= 0)
		return true;
	if (errno == EACCES || errno == EPERM)
		hint = "become a member of the group that owns /dev/kvm, or root";
	else if (errno == EMFILE || errno == ENFILE)
		hint = "close some files, or raise ulimit -Hn";
	err_system(err, errno, hint, "cannot open /dev/kvm");
	err->class = ERR_HOST;
	return false;
}

int kvm_create_vm_fd(int kvm_fd, enum kvm_accel accel)
{
	/* Type 0 lets KVM choose: kvm-hv if it is loaded, else kvm-pr. */
	static const long types[] = {[KVM_ACCEL_AUTO] = 0, [KVM_ACCEL_HV] = 1, [KVM_ACCEL_PR] = 2};
	int fd = ioctl(kvm_fd, KVM_CREATE_VM, types[accel]);

	return fd < 0 ? -errno : fd;
}

static bool vm_create_fd(struct kvm_vm *vm, enum kvm_accel accel, struct err *err)
{
	int run_bytes = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);

	vm->vm_fd = kvm_create_vm_fd(vm->kvm_fd, accel);
	if (vm->vm_fd >= 0 && run_bytes >= (int)sizeof(struct kvm_run)) {
		vm->run_bytes = (size_t)run_bytes;
		return true;
	}
	/* KVM says so of a type whose module is not loaded. */
	if (vm->vm_fd == -EINVAL && accel != KVM_ACCEL_AUTO)
		return err_set(err, ERR_HOST,
		    accel == KVM_ACCEL_PR ? "modprobe kvm_pr, or use --accel hv"
		                          : "modprobe kvm_hv, or use --accel pr",
		    "this host offers no kvm-%s", kvm_accel_name(accel));
	err_system(err, vm->vm_fd < 0 ? -vm->vm_fd : EINVAL, "run `paprika check`",
	    "KVM cannot create a virtual machine");
	err->class = ERR_HOST;
	return false;
}

bool kvm_choose_ops(struct kvm_vm *vm, const struct kvm_mode *wish, struct err *err)
{
	if (!kvm_mode_choose(&vm->facts, wish, &vm->mode, err))
		return false;
	vm->mmu = vm->mode.mmu == KVM_MMU_RADIX    ? &kvm_mmu_radix
	          : vm->mode.accel == KVM_ACCEL_PR ? &kvm_mmu_pr
	                                           : &kvm_mmu_hash;
	vm->irqchip = vm->mode.irqchip == KVM_IRQCHIP_XIVE ? &kvm_irqchip_xive : &kvm_irqchip_xics;
	kvm_mode_describe(&vm->facts, &vm->mode, vm->hpt_order, &vm->processor);
	return true;
}

struct kvm_vm *kvm_vm_create(int kvm_fd, const struct kvm_mode *wish, struct err *err)
{
	struct sigaction kick = {.sa_handler = vm_ignore_signal};
	struct kvm_vm *vm = calloc(1, sizeof *vm);

	if (vm == NULL) {
		err_system(err, ENOMEM, NULL, "cannot create the virtual machine");
		return NULL;
	}
	*vm = (struct kvm_vm){.kvm_fd = -1, .vm_fd = -1, .irqchip_fd = -1, .tce_fd = -1};
	if (!(kvm_fd > 0 ? vm_adopt_kvm(vm, kvm_fd, err) : vm_open_kvm(vm, err)) ||
	    !vm_create_fd(vm, wish->accel, err))
		goto failed;
	vm->facts.api_version = ioctl(vm->kvm_fd, KVM_GET_API_VERSION, 0);
	kvm_read_capabilities(vm);
	kvm_read_host(vm);
	if (!vm_check_requirements(&vm->facts, err) || !kvm_choose_ops(vm, wish, err))
		goto failed;
	/* Without SA_RESTART, so that KVM_RUN returns. Without a handler the signal would end the
	 * process. */
	if (sigaction(KICK_SIGNAL, &kick, NULL) < 0) {
		err_system(err, errno, NULL, "cannot set up the signal that stops vCPUs");
		goto failed;
	}
	return vm;
failed:
	kvm_vm_destroy(vm);
	return NULL;
}

void kvm_vm_close(struct kvm_vm *vm)
{
	kvm_destroy_unfinished(vm);
	if (vm->mmu != NULL && vm->mmu->destroy != NULL)
		vm->mmu->destroy(vm);
	if (vm->irqchip != NULL && vm->irqchip->destroy != NULL)
		vm->irqchip->destroy(vm);
	if (vm->tce_fd >= 0)
		close(vm->tce_fd);
	if (vm->irqchip_fd >= 0)
		close(vm->irqchip_fd);
	if (vm->vm_fd >= 0)
		close(vm->vm_fd);
	if (vm->kvm_fd >= 0)
		close(vm->kvm_fd);
}

void kvm_vm_destroy(struct kvm_vm *vm)
{
	if (vm == NULL)
		return;
	kvm_vm_close(vm);
	free(vm);
}

const struct kvm_facts *kvm_vm_facts(const struct kvm_vm *vm)
{
	return &vm->facts;
}

const struct kvm_mode *kvm_vm_mode(const struct kvm_vm *vm)
{
	return &vm->mode;
}

const struct kvm_processor *kvm_vm_processor(const struct kvm_vm *vm)
{
	return &vm->processor;
}

bool kvm_vm_add_memory(struct kvm_vm *vm, uint32_t slot, const struct gmem *gmem, uint64_t address,
    uint64_t bytes, struct err *err)
{
	struct kvm_userspace_memory_region region = {.slot = slot,
	    .guest_phys_addr = address,
	    .memory_size = bytes,
	    .userspace_addr = (uintptr_t)gmem->host + address};

	if (ioctl(vm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) == 0)
		return true;
	/* It keeps a word for each page of it, which have to fit the host's own memory. */
	err_system(err, errno, slot == 0 ? "use a smaller --memory" : "free memory of the host",
	    "KVM refuses %llu MiB of guest memory", (unsigned long long)(bytes >> 20));
	if (slot == 0)
		err->class = ERR_USAGE;
	return false;
}

int kvm_vm_remove_memory(struct kvm_vm *vm, uint32_t slot)
{
	struct kvm_userspace_memory_region region = {.slot = slot};

	return ioctl(vm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) == 0 ? 0 : -errno;
}

bool kvm_vm_set_threads(struct kvm_vm *vm, uint32_t threads, struct err *err)
{
	struct kvm_enable_cap cap = {.cap = KVM_CAP_PPC_SMT, .args = {threads, 0}};

	/* A POWER8 would put eight vCPUs into one core. */
	if (threads == 1 && (vm->facts.level >= KVM_CPU_POWER9 || !vm->facts.hv))
		return true;
	/* Without this, msgsndp between threads of a core is dropped and the guest hangs. */
	if ((vm->facts.smt_modes & threads) == 0 || ioctl(vm->vm_fd, KVM_ENABLE_CAP, &cap) < 0)
		return err_set(err, ERR_HOST,
		    threads == 1 ? "look at the end of dmesg" : "use --cpus ...,threads=1",
		    "this host's KVM cannot run %u threads per core", threads);
	return true;
}

bool kvm_vm_create_mmu(struct kvm_vm *vm, uint64_t memory_bytes, struct err *err)
{
	if (!vm->mmu->create(vm, memory_bytes, err))
		return false;
	kvm_mode_describe(&vm->facts, &vm->mode, vm->hpt_order, &vm->processor);
	return true;
}

bool kvm_vm_reset_mmu(struct kvm_vm *vm, struct err *err)
{
	return vm->mmu->reset(vm, err);
}

int kvm_vm_set_process_table(struct kvm_vm *vm, uint64_t table, bool gtse)
{
	return vm->mmu->set_process_table(vm, table, gtse);
}

int kvm_irqchip_set_attr(struct kvm_vm *vm, uint32_t group, uint64_t number, const void *value)
{
	struct kvm_device_attr attr = {.group = group, .attr = number, .addr = (uintptr_t)value};

	return ioctl(vm->irqchip_fd, KVM_SET_DEVICE_ATTR, &attr) < 0 ? -errno : 0;
}

int kvm_irqchip_send_edge(struct kvm_vm *vm, uint32_t irq)
{
	/* The plain KVM_IRQ_LINE returns success for a source that was never set. */
	struct kvm_irq_level line = {.irq = irq, .level = 1};

	return ioctl(vm->vm_fd, KVM_IRQ_LINE_STATUS, &line) < 0 ? -errno : 0;
}

bool kvm_vm_create_irqchip(
    struct kvm_vm *vm, const struct kvm_irqchip_config *config, struct err *err)
{
	return vm->irqchip->create(vm, config, err);
}

bool kvm_irqchip_reset(struct kvm_vm *vm, struct err *err)
{
	return vm->irqchip->reset == NULL || vm->irqchip->reset(vm, err);
}

bool kvm_irq_reset(struct kvm_vm *vm, uint32_t irq, uint32_t server, struct err *err)
{
	return vm->irqchip->reset_source(vm, irq, server, err);
}

int kvm_irq_pulse(struct kvm_vm *vm, uint32_t irq)
{
	return vm->irqchip->pulse(vm, irq);
}

bool kvm_vm_enable_hcall(struct kvm_vm *vm, uint64_t nr)
{
	struct kvm_enable_cap cap = {.cap = KVM_CAP_PPC_ENABLE_HCALL, .args = {nr, 1}};

	return ioctl(vm->vm_fd, KVM_ENABLE_CAP, &cap) == 0;
}
