/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_vm.c - the fake KVM's VM: facts, memory, interrupt controller and sources; and the state of
 * the fake as a whole.
 */
#include "internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fake fake = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* --- State ------------------------------------------------------------------------------- */

void __attribute__((noreturn, format(printf, 1, 2))) fake_die(const char *format, ...)
{
	va_list args;

	fputs("fake_kvm: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	abort();
}

static void facts_set_defaults(void)
{
	static const uint8_t pa_head[] = {66, 0, 0xf6, 0x1f, 0xc7, 0xc0, 0x00, 0xf0, 0x80};

	fake.facts = (struct kvm_facts){
	    .api_version = 12,
	    .hv = true,
	    .radix = true,
	    .xics = true,
	    .papr = true,
	    .rtas_tokens = true,
	    .enable_hcall = true,
	    .immediate_exit = true,
	    .one_reg = true,
	    .cpu_char = true,
	    .sync_mmu = true,
	    .ail3 = true,
	    .smt_modes = 1 | 2 | 4 | 8,
	    .memory_slots = FAKE_SLOTS,
	    .max_vcpus = 2048,
	    .max_vcpu_id = VCPU_IDS,
	    .recommended_vcpus = 2,
	    .page_bytes = 65536,
	    .pvr = 0x004e1202,
	    .level = KVM_CPU_POWER9,
	    .smmu = {.real_sizes = true,
	        .terabyte_segments = true,
	        .slb_size = 32,
	        .sizes = {{12, 0, {{12, 0}, {24, 0x38}}}, {16, 0x110, {{16, 1}, {24, 8}}},
	            {24, 0x100, {{24, 0}}}}},
	    .cpu_name = "POWER9",
	    .ap_encodings = {0x0000000c, 0xa0000010, 0x20000015, 0x4000001e},
	    .cpu_character = 0xbc40000000000000,
	    .cpu_behaviour = 0xe400000000000000,
	    .timebase_hz = 512000000,
	    .clock_hz = 3800000000,
	    .dcache = {.size = 32768, .line_size = 128, .block_size = 128, .sets = 32},
	    .icache = {.size = 32768, .line_size = 128, .block_size = 128, .sets = 32},
	    .slb_size = 32,
	    .pa_features_len = 68,
	};
	memcpy(fake.facts.pa_features, pa_head, sizeof pa_head);
	/* Vector, vector-scalar, radix and others: every other byte from attribute byte 16. */
	for (size_t i = 2 + 16; i < fake.facts.pa_features_len; i += 2)
		fake.facts.pa_features[i] = 0x80;
	fake.facts.pa_features[2 + 22] = 0; /* no transactional memory */
}

/* No static initialiser can select the monotonic clock for a condition. */
static void __attribute__((constructor)) fake_start(void)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&fake.changed, &attributes);
	pthread_condattr_destroy(&attributes);
	facts_set_defaults();
}

struct timespec fake_deadline(void)
{
	struct timespec deadline;

	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += FAKE_DEADLINE_S;
	return deadline;
}

struct record *record_find(uint32_t id)
{
	return fake.vm != NULL && id < VCPU_IDS ? fake.vm->records[id] : NULL;
}

struct kvm_vm *fake_vm(void)
{
	if (fake.vm == NULL)
		fake_die("there is no VM to look at");
	return fake.vm;
}

struct record *record_get(uint32_t id)
{
	struct record *record = record_find(id);

	if (record == NULL)
		fake_die("vCPU %u was never created", id);
	return record;
}

struct irq *irq_find(struct kvm_vm *vm, uint32_t number)
{
	for (size_t i = 0; i < vm->irq_count; i++)
		if (vm->irqs[i].number == number)
			return &vm->irqs[i];
	return NULL;
}

void fake_reset(void)
{
	pthread_mutex_lock(&fake.lock);
	fake.vm = NULL; /* not freed: threads may still use it */
	fake.live_vms = fake.live_vcpus = 0;
	memset(fake.failures, 0, sizeof fake.failures);
	fake.fault = NULL;
	fake.guest = NULL;
	atomic_store(&fake.timebase, 0);
	facts_set_defaults();
	pthread_mutex_unlock(&fake.lock);
}

struct kvm_facts *fake_facts(void)
{
	return &fake.facts;
}

/* --- kvm.h: the VM ----------------------------------------------------------------------- */

size_t kvm_check(struct kvm_check *lines, size_t max)
{
	if (max == 0)
		return 0;
	lines[0] = (struct kvm_check){
	    .name = "fake", .result = KVM_CHECK_OK, .value = "no KVM, and no guest ever runs"};
	return 1;
}

struct kvm_vm *kvm_vm_create(int kvm_fd, const struct kvm_mode *wish, struct err *err)
{
	struct kvm_vm *vm = NULL;
	struct kvm_mode mode;

	(void)kvm_fd;
	if (!kvm_mode_choose(&fake.facts, wish, &mode, err))
		return NULL;
	pthread_mutex_lock(&fake.lock);
	if (fake.vm != NULL)
		fake_die("a second VM is created while there is one");
	if (fake_call_fails(FAKE_VM_CREATE)) {
		fake_call_fail(err, ENOMEM, "cannot create a VM");
		err->class = ERR_HOST;
	} else if ((vm = calloc(1, sizeof *vm)) == NULL) {
		fake_call_fail(err, ENOMEM, "cannot create a VM");
	} else {
		vm->facts = fake.facts;
		vm->mode = mode;
		vm->threads = 1;
		vm->gtse = true;
		fake.vm = vm;
		fake.live_vms++;
	}
	pthread_mutex_unlock(&fake.lock);
	return vm;
}

void kvm_vm_destroy(struct kvm_vm *vm)
{
	if (vm == NULL)
		return;
	pthread_mutex_lock(&fake.lock);
	for (uint32_t id = 0; id < VCPU_IDS; id++) {
		if (vm->records[id] == NULL)
			continue;
		if (vm->records[id]->alive)
			fake_die("the VM is destroyed, and vCPU %u is not", id);
		if (vm->records[id]->busy)
			fake_die("the VM is destroyed while vCPU %u makes an hcall", id);
		free(vm->records[id]);
	}
	if (vm == fake.vm) {
		fake.vm = NULL;
		fake.live_vms--;
	}
	free(vm);
	pthread_mutex_unlock(&fake.lock);
}

const struct kvm_facts *kvm_vm_facts(const struct kvm_vm *vm)
{
	return &vm->facts; /* constant since creation */
}

const struct kvm_mode *kvm_vm_mode(const struct kvm_vm *vm)
{
	return &vm->mode;
}

const struct kvm_processor *kvm_vm_processor(const struct kvm_vm *vm)
{
	return &vm->processor;
}

bool kvm_vm_create_mmu(struct kvm_vm *vm, uint64_t memory_bytes, struct err *err)
{
	bool done;

	pthread_mutex_lock(&fake.lock);
	if (vm->vcpus > 0 || vm->hpt_order != 0 || vm->memory == NULL)
		fake_die("the MMU is made twice, before the memory, or after a vCPU");
	done = !fake_call_fails(FAKE_CREATE_MMU) || fake_call_fail(err, ENOMEM, "cannot make it");
	if (done) {
		vm->hpt_order = kvm_mode_hpt_order(&vm->facts, memory_bytes);
		kvm_mode_describe(&vm->facts, &vm->mode, vm->hpt_order, &vm->processor);
	}
	pthread_mutex_unlock(&fake.lock);
	return done;
}

bool kvm_vm_reset_mmu(struct kvm_vm *vm, struct err *err)
{
	int result = kvm_vm_set_process_table(vm, 0, true);

	pthread_mutex_lock(&fake.lock);
	vm->mmu_resets++;
	memset(vm->hpt, 0, sizeof vm->hpt);
	pthread_mutex_unlock(&fake.lock);
	return result == 0 || err_system(err, -result, NULL, "cannot reset the MMU");
}

bool kvm_hpt_read(const struct kvm_vm *vm, uint64_t index, uint64_t ret_entry[2])
{
	if (vm->mode.accel != KVM_ACCEL_PR || index >= FAKE_HPT_ENTRIES)
		return false;
	memcpy(ret_entry, vm->hpt[index], sizeof vm->hpt[index]);
	return true;
}

/* Slot 0 is the memory that the guest boots with. */
bool kvm_vm_add_memory(struct kvm_vm *vm, uint32_t slot, const struct gmem *gmem, uint64_t address,
    uint64_t bytes, struct err *err)
{
	bool done = true;

	pthread_mutex_lock(&fake.lock);
	if (slot >= FAKE_SLOTS)
		fake_die("there is no such memory slot");
	if (fake_call_fails(FAKE_ADD_MEMORY))
		done = fake_call_fail(err, EINVAL, "cannot set the memory");
	else if (vm->slots[slot] == (bytes | SLOT_STUCK))
		vm->slots[slot] = bytes; /* as it was */
	else if (vm->slots[slot] != 0)
		fake_die("a memory slot is set twice");
	else if (!gmem_contains(gmem, address, bytes) || (slot == 0) != (address == 0))
		fake_die("a memory slot is not guest memory");
	else
		vm->slots[slot] = bytes;
	if (done)
		vm->memory = gmem;
	pthread_mutex_unlock(&fake.lock);
	return done;
}

int kvm_vm_remove_memory(struct kvm_vm *vm, uint32_t slot)
{
	int result = 0;

	pthread_mutex_lock(&fake.lock);
	if (slot == 0 || slot >= FAKE_SLOTS || vm->slots[slot] == 0)
		fake_die("a memory slot that is not set is taken away");
	if (fake_call_fails(FAKE_REMOVE_MEMORY))
		result = -ENOMEM, vm->slots[slot] |= SLOT_STUCK;
	else
		vm->slots[slot] = 0;
	pthread_mutex_unlock(&fake.lock);
	return result;
}

uint32_t fake_memory_slots(void)
{
	uint32_t count = 0;

	pthread_mutex_lock(&fake.lock);
	for (uint32_t slot = 0; slot < FAKE_SLOTS; slot++)
		count += fake.vm != NULL && fake.vm->slots[slot] != 0;
	pthread_mutex_unlock(&fake.lock);
	return count;
}

bool kvm_vm_set_threads(struct kvm_vm *vm, uint32_t threads, struct err *err)
{
	bool done = true;

	pthread_mutex_lock(&fake.lock);
	if (vm->vcpus > 0)
		fake_die("threads per core are set after a vCPU was created");
	if (fake_call_fails(FAKE_SET_THREADS) || (threads & (threads - 1)) != 0 ||
	    (threads & vm->facts.smt_modes) == 0)
		done = fake_call_fail(err, EINVAL, "cannot have that many threads per core");
	else
		vm->threads = threads;
	pthread_mutex_unlock(&fake.lock);
	return done;
}

bool kvm_vm_create_irqchip(
    struct kvm_vm *vm, const struct kvm_irqchip_config *config, struct err *err)
{
	bool done = true;

	pthread_mutex_lock(&fake.lock);
	if (vm->vcpus > 0 || vm->servers > 0)
		fake_die("the interrupt controller is created twice, or after a vCPU");
	if (fake_call_fails(FAKE_CREATE_IRQCHIP) || config->servers == 0) {
		done = fake_call_fail(err, ENODEV, "cannot create the interrupt controller");
	} else {
		vm->servers = config->servers;
		vm->irqchip = *config;
	}
	pthread_mutex_unlock(&fake.lock);
	return done;
}

bool kvm_vm_enable_hcall(struct kvm_vm *vm, uint64_t nr)
{
	bool enabled;

	pthread_mutex_lock(&fake.lock);
	enabled = !fake_call_fails(FAKE_ENABLE_HCALL) && nr % 4 == 0 && nr < HCALL_MAX;
	if (enabled)
		vm->hcalls[nr / 4] = true;
	pthread_mutex_unlock(&fake.lock);
	return enabled;
}

bool kvm_irq_reset(struct kvm_vm *vm, uint32_t number, uint32_t server, struct err *err)
{
	struct irq *irq;
	bool done = true;

	pthread_mutex_lock(&fake.lock);
	irq = irq_find(vm, number);
	if (vm->servers == 0)
		fake_die("interrupt %#x is reset before there is a controller", number);
	if (number >= vm->irqchip.sources_end && vm->mode.irqchip == KVM_IRQCHIP_XIVE)
		fake_die("interrupt %#x has no page", number);
	if (irq == NULL && vm->irq_count == IRQS)
		fake_die("more than %d interrupts", IRQS);
	if (irq == NULL)
		irq = &vm->irqs[vm->irq_count++];
	irq->number = number;
	if (fake_call_fails(FAKE_IRQ_RESET) || server >= vm->servers) {
		done = fake_call_fail(err, EINVAL, "cannot reset the interrupt");
	} else {
		irq->server = server;
		irq->aimed = false;
		irq->resets++;
		irq->pulses_before = irq->pulses;
	}
	pthread_mutex_unlock(&fake.lock);
	return done;
}

int kvm_irq_pulse(struct kvm_vm *vm, uint32_t number)
{
	struct irq *irq;
	int result = 0;

	pthread_mutex_lock(&fake.lock);
	irq = irq_find(vm, number);
	if (fake_call_fails(FAKE_IRQ_PULSE) || irq == NULL || irq->resets == 0)
		result = -EINVAL;
	else if (vm->mode.irqchip == KVM_IRQCHIP_XIVE && !irq->aimed)
		fake_die("interrupt %#x is sent, and aimed nowhere", number);
	else
		irq->pulses++;
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.lock);
	return result;
}

int kvm_vm_set_process_table(struct kvm_vm *vm, uint64_t table, bool gtse)
{
	int result = 0;

	pthread_mutex_lock(&fake.lock);
	if (fake_call_fails(FAKE_SET_PROCESS_TABLE)) {
		result = -EINVAL;
	} else {
		vm->process_table = table;
		vm->gtse = gtse;
	}
	pthread_mutex_unlock(&fake.lock);
	return result;
}
