/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host.c - what the guest's device tree takes from the host: the processor's version, page
 * sizes and speculation behaviour from KVM, caches and clocks from the host's own device
 * tree. Only properties of the processor's kind are read; nothing that tells which machine
 * this is (serial numbers, names, locations) is looked at.
 */
#include "kvm/internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define HOST_CPUS "/proc/device-tree/cpus"

static const struct {
	uint32_t pvr, mask;
	enum kvm_cpu level;
	const char *name;
} processors[] = {
    {0x004e0000, 0xffff0000, KVM_CPU_POWER9, "POWER9"},
    {0x00800000, 0xffff0000, KVM_CPU_POWER10, "POWER10"},
    {0x00820000, 0xffff0000, KVM_CPU_POWER11, "POWER11"},
    {0x004b0000, 0xffff0000, KVM_CPU_POWER8, "POWER8"},
    {0x004c0000, 0xffff0000, KVM_CPU_POWER8, "POWER8"},
    {0x004d0000, 0xffff0000, KVM_CPU_POWER8, "POWER8"},
    /* Architecture levels that a hypervisor may hold its host to. */
    {0x0f000004, 0xffffffff, KVM_CPU_POWER8, "POWER8"},
    {0x0f000005, 0xffffffff, KVM_CPU_POWER9, "POWER9"},
    {0x0f000006, 0xffffffff, KVM_CPU_POWER10, "POWER10"},
    {0x0f000007, 0xffffffff, KVM_CPU_POWER11, "POWER11"},
};

/* Read one property; its length, or 0. */
static size_t host_read_property(int node, const char *name, void *to, size_t max)
{
	int fd = openat(node, name, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return 0;
	got = read(fd, to, max);
	close(fd);
	return got < 0 ? 0 : (size_t)got;
}

/* A number of one or two cells; 0 if absent. */
static uint64_t host_read_number(int node, const char *name)
{
	struct be32 cells[2];
	size_t length = host_read_property(node, name, cells, sizeof cells);

	if (length == sizeof cells[0])
		return from_be32(cells[0]);
	if (length == sizeof cells)
		return (uint64_t)from_be32(cells[0]) << 32 | from_be32(cells[1]);
	return 0;
}

/* The directory of the first node of type cpu, or -1. */
static int host_open_cpu_node(void)
{
	DIR *cpus = opendir(HOST_CPUS);
	struct dirent *entry;
	int node = -1;

	if (cpus == NULL)
		return -1;
	while (node < 0 && (entry = readdir(cpus)) != NULL) {
		char type[8] = "";

		if (strchr(entry->d_name, '@') == NULL)
			continue;
		node = openat(dirfd(cpus), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (node >= 0 && (host_read_property(node, "device_type", type, sizeof type) == 0 ||
		                     strncmp(type, "cpu", sizeof type) != 0)) {
			close(node);
			node = -1;
		}
	}
	closedir(cpus);
	return node;
}

static void host_read_device_tree(struct kvm_facts *facts)
{
	int node = host_open_cpu_node();
	struct be32 servers[8];

	if (node < 0)
		return;
	facts->host_threads = (uint32_t)(host_read_property(node, "ibm,ppc-interrupt-server#s",
	                                     servers, sizeof servers) /
	                                 sizeof servers[0]);
	facts->timebase_hz = host_read_number(node, "ibm,extended-timebase-frequency");
	if (facts->timebase_hz == 0)
		facts->timebase_hz = host_read_number(node, "timebase-frequency");
	facts->clock_hz = host_read_number(node, "ibm,extended-clock-frequency");
	if (facts->clock_hz == 0)
		facts->clock_hz = host_read_number(node, "clock-frequency");
	facts->dcache.size = (uint32_t)host_read_number(node, "d-cache-size");
	facts->dcache.line_size = (uint32_t)host_read_number(node, "d-cache-line-size");
	facts->dcache.block_size = (uint32_t)host_read_number(node, "d-cache-block-size");
	facts->dcache.sets = (uint32_t)host_read_number(node, "d-cache-sets");
	facts->icache.size = (uint32_t)host_read_number(node, "i-cache-size");
	facts->icache.line_size = (uint32_t)host_read_number(node, "i-cache-line-size");
	facts->icache.block_size = (uint32_t)host_read_number(node, "i-cache-block-size");
	facts->icache.sets = (uint32_t)host_read_number(node, "i-cache-sets");
	facts->slb_size = (uint32_t)host_read_number(node, "ibm,slb-size");
	facts->architecture = (uint32_t)host_read_number(node, "cpu-version");
	if (facts->architecture >> 24 != 0x0f)
		facts->architecture = 0; /* it is the processor's own version */
	facts->pa_features_len = (uint32_t)host_read_property(
	    node, "ibm,pa-features", facts->pa_features, sizeof facts->pa_features);
	close(node);
}

static bool host_is_bare_metal(void)
{
	int root = open("/proc/device-tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	static const char wanted[] = "ibm,powernv";
	char list[256];
	size_t length;
	bool found;

	if (root < 0)
		return false;
	/* Strings, one behind the other. */
	length = host_read_property(root, "compatible", list, sizeof list);
	found = memmem(list, length, wanted, sizeof wanted) != NULL;
	close(root);
	return found;
}

void kvm_read_page_sizes(struct kvm_vm *vm)
{
	struct kvm_facts *facts = &vm->facts;
	struct kvm_ppc_smmu_info info = {0};

	if (ioctl(vm->vm_fd, KVM_PPC_GET_SMMU_INFO, &info) < 0)
		return;
	facts->nested = (info.flags & KVM_PPC_NO_HASH) != 0;
	facts->smmu.real_sizes = (info.flags & KVM_PPC_PAGE_SIZES_REAL) != 0;
	facts->smmu.terabyte_segments = (info.flags & KVM_PPC_1T_SEGMENTS) != 0;
	facts->smmu.slb_size = info.slb_size;
	for (size_t i = 0; i < KVM_PAGE_SIZES; i++) {
		facts->smmu.sizes[i].shift = info.sps[i].page_shift;
		facts->smmu.sizes[i].encoding = info.sps[i].slb_enc;
		for (size_t j = 0; j < KVM_PAGE_SIZES; j++) {
			facts->smmu.sizes[i].pages[j].shift = info.sps[i].enc[j].page_shift;
			facts->smmu.sizes[i].pages[j].encoding = info.sps[i].enc[j].pte_enc;
		}
	}
}

static void host_read_vm(struct kvm_vm *vm)
{
	struct kvm_facts *facts = &vm->facts;
	struct kvm_ppc_rmmu_info rmmu = {0};
	struct kvm_ppc_cpu_char character = {0};

	if (facts->radix && ioctl(vm->vm_fd, KVM_PPC_GET_RMMU_INFO, &rmmu) == 0)
		for (size_t i = 0; i < KVM_AP_ENCODINGS; i++)
			facts->ap_encodings[i] = rmmu.ap_encodings[i];
	/* Only the bits that KVM says are valid; the others stay at the worst case. */
	if (facts->cpu_char && ioctl(vm->vm_fd, KVM_PPC_GET_CPU_CHAR, &character) == 0) {
		facts->cpu_character = character.character & character.character_mask;
		facts->cpu_behaviour = character.behaviour & character.behaviour_mask;
	}
}

static void host_name_processor(struct kvm_facts *facts)
{
	uint32_t version = facts->architecture != 0 ? facts->architecture : facts->pvr;

	facts->cpu_name = "POWER9";
	facts->level = KVM_CPU_POWER9;
	for (size_t i = 0; i < sizeof processors / sizeof processors[0]; i++)
		if ((version & processors[i].mask) == processors[i].pvr) {
			facts->cpu_name = processors[i].name;
			facts->level = processors[i].level;
		}
}

void kvm_read_host(struct kvm_vm *vm)
{
	struct kvm_facts *facts = &vm->facts;

	facts->page_bytes = (uint32_t)sysconf(_SC_PAGESIZE);
	facts->bare_metal = host_is_bare_metal();
#ifdef __powerpc64__
	__asm__("mfspr %0, 287" : "=r"(facts->pvr));
#endif
	host_read_device_tree(facts);
	host_name_processor(facts);
	host_read_vm(vm);
}
