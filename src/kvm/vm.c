/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vm.c - the virtual machine as KVM sees it: capabilities, memory, MMU mode, interrupts.
 *
 * Differences between hosts are decided here, by capability. One combination is supported so far:
 * kvm-hv with a radix guest and the in-kernel XICS, the only one that a nested host offers.
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

void kvm_read_capabilities(struct kvm_vm *vm)
{
	struct kvm_facts *facts = &vm->facts;
	/* Several of these depend on the kind of VM, so it is the VM that is asked. */
	int fd = vm->vm_fd;

	/* kvm-pr alone tells user space how to patch a guest (QEMU takes the same as the sign). */
	facts->hv = kvm_extension(fd, KVM_CAP_PPC_GET_PVINFO) == 0;
	facts->radix = kvm_extension(fd, KVM_CAP_PPC_MMU_RADIX) != 0;
	facts->hash = kvm_extension(fd, KVM_CAP_PPC_MMU_HASH_V3) != 0 || !facts->hv;
	facts->xics = kvm_extension(fd, KVM_CAP_IRQ_XICS) != 0;
	facts->xive = kvm_extension(fd, KVM_CAP_PPC_IRQ_XIVE) != 0;
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
	           "load kvm_hv, and run `paprika check`") &&
	       vm_require(facts->radix, err, "radix guests (KVM_CAP_PPC_MMU_RADIX)",
	           "use a POWER9 or later host in radix mode with kvm_hv; hash guests and kvm-pr "
	           "are "
	           "not supported yet") &&
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

struct kvm_vm *kvm_vm_create(int kvm_fd, struct err *err)
{
	struct sigaction kick = {.sa_handler = vm_ignore_signal};
	struct kvm_vm *vm = calloc(1, sizeof *vm);
	int run_bytes;

	if (vm == NULL) {
		err_system(err, ENOMEM, NULL, "cannot create the virtual machine");
		return NULL;
	}
	*vm = (struct kvm_vm){.kvm_fd = -1, .vm_fd = -1, .xics_fd = -1};
	if (!(kvm_fd > 0 ? vm_adopt_kvm(vm, kvm_fd, err) : vm_open_kvm(vm, err)))
		goto failed;
	vm->facts.api_version = ioctl(vm->kvm_fd, KVM_GET_API_VERSION, 0);
	run_bytes = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	/* Type 0 lets KVM choose: kvm-hv if it is loaded, else kvm-pr. */
	vm->vm_fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, 0L);
	if (vm->vm_fd < 0 || run_bytes < (int)sizeof(struct kvm_run)) {
		err_system(
		    err, errno, "run `paprika check`", "KVM cannot create a virtual machine");
		err->class = ERR_HOST;
		goto failed;
	}
	vm->run_bytes = (size_t)run_bytes;
	kvm_read_capabilities(vm);
	kvm_read_host(vm);
	if (!vm_check_requirements(&vm->facts, err))
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

void kvm_vm_destroy(struct kvm_vm *vm)
{
	if (vm == NULL)
		return;
	kvm_destroy_unfinished(vm);
	if (vm->xics_fd >= 0)
		close(vm->xics_fd);
	if (vm->vm_fd >= 0)
		close(vm->vm_fd);
	if (vm->kvm_fd >= 0)
		close(vm->kvm_fd);
	free(vm);
}

const struct kvm_facts *kvm_vm_facts(const struct kvm_vm *vm)
{
	return &vm->facts;
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

	if (threads == 1)
		return true;
	/* Without this, msgsndp between threads of a core is dropped and the guest hangs. */
	if ((vm->facts.smt_modes & threads) == 0 || ioctl(vm->vm_fd, KVM_ENABLE_CAP, &cap) < 0)
		return err_set(err, ERR_HOST, "use --cpus ...,threads=1",
		    "this host's KVM cannot run %u threads per core", threads);
	return true;
}

static bool vm_define_token(struct kvm_vm *vm, const char *name, uint32_t token, struct err *err)
{
	struct kvm_rtas_token_args args = {.token = token};

	strncpy(args.name, name, sizeof args.name - 1);
	if (ioctl(vm->vm_fd, KVM_PPC_RTAS_DEFINE_TOKEN, &args) < 0)
		return err_system(err, errno, NULL, "KVM refuses the RTAS service %s", name);
	return true;
}

bool kvm_vm_create_irqchip(
    struct kvm_vm *vm, uint32_t servers, const struct kvm_xics_tokens *tokens, struct err *err)
{
	struct kvm_create_device device = {.type = KVM_DEV_TYPE_XICS};
	struct kvm_device_attr attr = {.group = KVM_DEV_XICS_GRP_CTRL,
	    .attr = KVM_DEV_XICS_NR_SERVERS,
	    .addr = (uintptr_t)&servers};

	/* The tokens make KVM look into hcall 0xf000, and only that one. */
	if (!vm_define_token(vm, "ibm,set-xive", tokens->set_xive, err) ||
	    !vm_define_token(vm, "ibm,get-xive", tokens->get_xive, err) ||
	    !vm_define_token(vm, "ibm,int-off", tokens->int_off, err) ||
	    !vm_define_token(vm, "ibm,int-on", tokens->int_on, err))
		return false;
	if (ioctl(vm->vm_fd, KVM_CREATE_DEVICE, &device) < 0)
		return err_system(err, errno, NULL, "KVM cannot create the interrupt controller");
	vm->xics_fd = (int)device.fd;
	/* Only the flavour that sits on a host XIVE has this attribute. */
	if (ioctl(vm->xics_fd, KVM_HAS_DEVICE_ATTR, &attr) == 0 &&
	    ioctl(vm->xics_fd, KVM_SET_DEVICE_ATTR, &attr) < 0)
		return err_system(err, errno, "use --cpus with a smaller max",
		    "KVM refuses %u interrupt servers", servers);
	return true;
}

bool kvm_vm_enable_hcall(struct kvm_vm *vm, uint64_t nr)
{
	struct kvm_enable_cap cap = {.cap = KVM_CAP_PPC_ENABLE_HCALL, .args = {nr, 1}};

	return ioctl(vm->vm_fd, KVM_ENABLE_CAP, &cap) == 0;
}

bool kvm_irq_reset(struct kvm_vm *vm, uint32_t irq, uint32_t server, struct err *err)
{
	/* Priority 0xff is "never". The server has to exist: an interrupt for one that does not
	 * would be dropped with the source left presented, and then stay silent for ever. */
	uint64_t state = (uint64_t)server << KVM_XICS_DESTINATION_SHIFT |
	                 (uint64_t)0xff << KVM_XICS_PRIORITY_SHIFT | KVM_XICS_MASKED;
	struct kvm_device_attr attr = {
	    .group = KVM_DEV_XICS_GRP_SOURCES, .attr = irq, .addr = (uintptr_t)&state};

	if (ioctl(vm->xics_fd, KVM_SET_DEVICE_ATTR, &attr) < 0)
		return err_system(err, errno, NULL, "KVM refuses interrupt source %#x", irq);
	return true;
}

int kvm_irq_pulse(struct kvm_vm *vm, uint32_t irq)
{
	/* The plain KVM_IRQ_LINE returns success for a source that was never set. */
	struct kvm_irq_level line = {.irq = irq, .level = 1};

	return ioctl(vm->vm_fd, KVM_IRQ_LINE_STATUS, &line) < 0 ? -errno : 0;
}

int kvm_vm_set_process_table(struct kvm_vm *vm, uint64_t table, bool gtse)
{
	/* Bit 63 (PATE1[GR]) says radix; KVM refuses a radix configuration without it. */
	struct kvm_ppc_mmuv3_cfg config = {
	    .flags = KVM_PPC_MMUV3_RADIX | (gtse ? KVM_PPC_MMUV3_GTSE : 0),
	    .process_table = UINT64_C(1) << 63 | table,
	};

	return ioctl(vm->vm_fd, KVM_PPC_CONFIGURE_V3_MMU, &config) < 0 ? -errno : 0;
}
