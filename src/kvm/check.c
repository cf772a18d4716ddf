/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check.c - `paprika check`: try what a guest will need, in the order it will need it, and say
 * of each thing whether it is there and what to do if not.
 *
 * Capabilities are asked of a VM, because some depend on the kind of VM; and one vCPU is
 * really made, because a capability is only a promise. Everything is given back at the end.
 */
#include "kvm/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define NEW_KERNEL "use a newer host kernel"

struct report {
	struct kvm_check *lines;
	size_t count, max;
};

/* Add a line, unless the caller's array is full. An OK line has no remedy. */
static void __attribute__((format(printf, 5, 6))) check_add(struct report *report, const char *name,
    enum kvm_check_result result, const char *remedy, const char *format, ...)
{
	struct kvm_check *line = &report->lines[report->count];
	va_list args;

	if (report->count == report->max)
		return;
	report->count++;
	line->name = name;
	line->result = result;
	line->remedy = result == KVM_CHECK_OK ? NULL : remedy;
	va_start(args, format);
	vsnprintf(line->value, sizeof line->value, format, args);
	va_end(args);
}

/* Required: no guest runs without it. */
static void check_need(struct report *report, const char *name, bool present, const char *remedy)
{
	check_add(report, name, present ? KVM_CHECK_OK : KVM_CHECK_FAIL, remedy, "%s",
	    present ? "yes" : "no");
}

/* Optional: guests run without it, slower. */
static void check_want(struct report *report, const char *name, bool present, const char *remedy)
{
	check_add(report, name, present ? KVM_CHECK_OK : KVM_CHECK_WARN, remedy, "%s",
	    present ? "yes" : "no");
}

static bool check_device(struct report *report, struct kvm_vm *vm)
{
	vm->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm_fd >= 0) {
		check_add(report, "/dev/kvm", KVM_CHECK_OK, NULL, "can be opened");
		return true;
	}
	check_add(report, "/dev/kvm", KVM_CHECK_FAIL,
	    errno == EACCES || errno == EPERM
	        ? "become a member of the group that owns it, or root"
	        : "on a POWER host: modprobe kvm_hv; in a guest, the hypervisor above must allow "
	          "nested KVM",
	    "%s", strerror(errno));
	return false;
}

static bool check_create_vm(struct report *report, struct kvm_vm *vm)
{
	int version = ioctl(vm->kvm_fd, KVM_GET_API_VERSION, 0);
	int run_bytes = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);

	vm->facts.api_version = version;
	check_add(report, "KVM API", version == KVM_API_VERSION ? KVM_CHECK_OK : KVM_CHECK_FAIL,
	    NEW_KERNEL, "version %d", version);
	vm->vm_fd = kvm_create_vm_fd(vm->kvm_fd, KVM_ACCEL_AUTO);
	if (vm->vm_fd < 0 || run_bytes < (int)sizeof(struct kvm_run)) {
		check_add(report, "virtual machine", KVM_CHECK_FAIL,
		    "modprobe kvm_hv, and look at the end of dmesg", "%s", strerror(errno));
		return false;
	}
	vm->run_bytes = (size_t)run_bytes;
	check_add(report, "virtual machine", KVM_CHECK_OK, NULL, "can be created");
	kvm_read_capabilities(vm);
	kvm_read_host(vm);
	return true;
}

/* A wish for a guest: can it be had, and if not, why? What is not the default is no failure. */
static void check_wish(struct report *report, const struct kvm_facts *facts, const char *name,
    const struct kvm_mode *wish, const struct kvm_mode *usual)
{
	struct kvm_mode mode;
	struct err err = {0};

	if (kvm_mode_choose(facts, wish, &mode, &err))
		check_add(report, name, KVM_CHECK_OK, NULL, "yes%s",
		    memcmp(&mode, usual, sizeof mode) == 0 ? ", the default" : "");
	else
		check_add(report, name, KVM_CHECK_OK, NULL, "no: %.80s", err.message);
}

/* The kinds of guests, see mode.h. */
static void check_guests(struct report *report, const struct kvm_facts *facts)
{
	static const struct {
		const char *name;
		struct kvm_mode wish;
	} guests[] = {
	    {"guest: radix, xics", {.mmu = KVM_MMU_RADIX, .irqchip = KVM_IRQCHIP_XICS}},
	    {"guest: radix, xive", {.mmu = KVM_MMU_RADIX, .irqchip = KVM_IRQCHIP_XIVE}},
	    {"guest: hash, xics", {.mmu = KVM_MMU_HASH, .irqchip = KVM_IRQCHIP_XICS}},
	    {"guest: hash, xive", {.mmu = KVM_MMU_HASH, .irqchip = KVM_IRQCHIP_XIVE}},
	    {"guest: power8", {.cpu = KVM_CPU_POWER8}},
	    {"guest: power9", {.cpu = KVM_CPU_POWER9}},
	    {"guest: power10", {.cpu = KVM_CPU_POWER10}},
	    {"guest: power11", {.cpu = KVM_CPU_POWER11}},
	};
	const struct kvm_mode any = {KVM_ACCEL_AUTO};
	struct kvm_mode usual = any;
	struct err err = {0};

	if (kvm_mode_choose(facts, &any, &usual, &err))
		check_add(report, "guest", KVM_CHECK_OK, NULL, "kvm-%s, %s, %s, %s",
		    kvm_accel_name(usual.accel), kvm_mmu_name(usual.mmu),
		    kvm_irqchip_name(usual.irqchip), kvm_cpu_name(usual.cpu));
	else
		check_add(report, "guest", KVM_CHECK_FAIL, "modprobe kvm_hv", "%.90s", err.message);
	for (size_t i = 0; i < sizeof guests / sizeof guests[0]; i++)
		check_wish(report, facts, guests[i].name, &guests[i].wish, &usual);
}

/* Can a VM of this flavour be made? */
static bool check_flavour(const struct kvm_vm *vm, enum kvm_accel accel)
{
	int fd = kvm_create_vm_fd(vm->kvm_fd, accel);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* kvm-hv runs a guest on all threads of a POWER8 core, so the host may use one of each only. */
static void check_smt(struct report *report, const struct kvm_facts *facts)
{
	char online[256] = "";
	int fd = open("/sys/devices/system/cpu/online", O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && read(fd, online, sizeof online - 1) < 0)
		online[0] = '\0';
	if (fd >= 0)
		close(fd);
	check_add(report, "host SMT",
	    kvm_mode_smt_is_off(online, facts->host_threads) ? KVM_CHECK_OK : KVM_CHECK_FAIL,
	    "ppc64_cpu --smt=off", "%u threads per core, in use: %.60s", facts->host_threads,
	    strtok(online, "\n") != NULL ? online : "not known");
}

static void check_modes(struct report *report, const struct kvm_vm *vm)
{
	const struct kvm_facts *facts = &vm->facts;

	check_add(report, "processor", KVM_CHECK_OK, NULL, "%s, PVR %#010x, pages of %u KiB",
	    facts->cpu_name, facts->pvr, facts->page_bytes / 1024);
	check_add(report, "host", KVM_CHECK_OK, NULL, "%s",
	    facts->bare_metal ? "bare metal"
	    : !facts->nested  ? "runs on a hypervisor"
	    : kvm_extension(vm->vm_fd, KVM_CAP_PPC_NESTED_HV) != 0
	        ? "runs on a hypervisor, nested KVM"
	        : "runs on a hypervisor, nested KVM by PAPR (v2), or without nesting of its own");
	if (facts->hv && facts->level == KVM_CPU_POWER8)
		check_smt(report, facts);
	check_add(report, "kvm-hv", KVM_CHECK_OK, NULL, "%s",
	    check_flavour(vm, KVM_ACCEL_HV) ? "yes" : "no");
	check_add(report, "kvm-pr", KVM_CHECK_OK, NULL, "%s",
	    check_flavour(vm, KVM_ACCEL_PR)
	        ? "yes; while such a guest runs, interrupts of this host cost more"
	        : "no");
	check_guests(report, facts);
	check_need(
	    report, "interrupts XICS", facts->xics, "use a host kernel with CONFIG_KVM_XICS");
}

static void check_capabilities(struct report *report, const struct kvm_facts *facts)
{
	check_need(report, "PAPR mode", facts->papr, "modprobe kvm_hv");
	check_need(
	    report, "RTAS services", facts->rtas_tokens, "use a host kernel with CONFIG_KVM_XICS");
	check_need(
	    report, "enable-hcall", facts->enable_hcall, "use Linux 3.17 or later on the host");
	check_need(
	    report, "immediate exit", facts->immediate_exit, "use Linux 4.12 or later on the host");
	check_need(report, "one-register access", facts->one_reg, NEW_KERNEL);
	check_want(report, "memory on demand", facts->sync_mmu, NEW_KERNEL);
	check_want(report, "AIL 3", facts->ail3,
	    "guests work, but each of their interrupts costs more; use a newer host kernel");
	check_want(report, "CPU characteristics", facts->cpu_char,
	    "guests assume the worst about speculation; use a newer host kernel or firmware");
}

static void check_limits(struct report *report, const struct kvm_facts *facts)
{
	struct rlimit files;
	char modes[32] = "";
	size_t used = 0;

	for (uint32_t threads = 1; threads <= 8; threads *= 2)
		if (threads == 1 || (facts->smt_modes & threads) != 0)
			used += (size_t)snprintf(modes + used, sizeof modes - used, "%s%u",
			    used > 0 ? ", " : "", threads);
	check_add(report, "threads per core", facts->smt_modes > 1 ? KVM_CHECK_OK : KVM_CHECK_WARN,
	    "guests get one thread per core; turn SMT on in the host if there is need of more",
	    "%s", modes);
	check_add(report, "max vCPUs", facts->max_vcpus > 0 ? KVM_CHECK_OK : KVM_CHECK_FAIL,
	    NEW_KERNEL, "%u (%u recommended)", facts->max_vcpus, facts->recommended_vcpus);
	check_add(report, "max vCPU id", facts->max_vcpu_id > 0 ? KVM_CHECK_OK : KVM_CHECK_FAIL,
	    NEW_KERNEL, "%u", facts->max_vcpu_id);
	/* Each vCPU takes one, the rest of the program a few dozen. */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0)
		check_add(report, "open files",
		    files.rlim_max >= 1024 ? KVM_CHECK_OK : KVM_CHECK_WARN,
		    "each vCPU takes one; as root, raise the hard limit: ulimit -Hn, or "
		    "LimitNOFILE= of a "
		    "service",
		    "%llu", (unsigned long long)files.rlim_max);
}

static void check_vcpu(struct report *report, struct kvm_vm *vm)
{
	/* Any numbers do: no guest will call them. */
	static const struct kvm_irqchip_config config = {.servers = 1,
	    .tokens = {0x2001, 0x2002, 0x2003, 0x2004},
	    .sources_end = 1,
	    .esb_address = UINT64_C(1) << 44,
	    .tima_address = UINT64_C(1) << 45};
	static const char remedy[] = "look at the end of dmesg, and at the failures above";
	struct kvm_vcpu *vcpu = NULL;
	struct err err = {0};

	/* No guest ever runs: the least memory for the MMU will do. */
	if (!kvm_choose_ops(vm, &(struct kvm_mode){KVM_ACCEL_AUTO}, &err))
		return; /* said above */
	if (!kvm_vm_create_mmu(vm, UINT64_C(256) << 20, &err) ||
	    !kvm_vm_create_irqchip(vm, &config, &err)) {
		check_add(
		    report, "interrupt controller", KVM_CHECK_FAIL, remedy, "%.90s", err.message);
		return;
	}
	check_add(report, "interrupt controller", KVM_CHECK_OK, NULL, "can be created");
	vcpu = kvm_vcpu_create(vm, 0, &err);
	check_add(report, "vCPU", vcpu != NULL ? KVM_CHECK_OK : KVM_CHECK_FAIL, remedy, "%.90s",
	    vcpu != NULL ? "can be created" : err.message);
	kvm_vcpu_destroy(vcpu);
}

size_t kvm_check(struct kvm_check *lines, size_t max)
{
	struct report report = {.lines = lines, .max = max};
	struct kvm_vm vm = {.kvm_fd = -1, .vm_fd = -1, .irqchip_fd = -1, .tce_fd = -1};

	if (check_device(&report, &vm) && check_create_vm(&report, &vm)) {
		check_modes(&report, &vm);
		check_capabilities(&report, &vm.facts);
		check_limits(&report, &vm.facts);
		check_vcpu(&report, &vm);
	}
	kvm_vm_close(&vm);
	return report.count;
}
