/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine.c - the machine as a whole: created, booted and reset, stopped, destroyed, and what the
 * operator asks of it. What the operator can look at is in query.c.
 */
#include "spapr/machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spapr/device_fence.h"
#include "spapr/hcall.h"
#include "spapr/rtas.h"
#include "spapr/tree.h"

/* How long to wait until KVM is asked again for an interrupt it has refused. */
#define INTERRUPT_RETRY_MS 100

/* --- Creation -------------------------------------------------------------------------------- */

static bool is_power_of_two(uint32_t value)
{
	return value != 0 && (value & (value - 1)) == 0;
}

static bool machine_check_cpus(
    const struct spapr_config *config, const struct kvm_facts *facts, struct err *err)
{
	uint32_t most =
	    facts != NULL && facts->max_vcpus < UINT16_MAX ? facts->max_vcpus : UINT16_MAX;
	char hint[64];

	if (!is_power_of_two(config->threads) || config->threads > SPAPR_MAX_THREADS)
		return err_set(err, ERR_USAGE, "use --cpus with threads=1, 2, 4 or 8",
		    "%u threads per core are not possible", config->threads);
	if (config->boot_cpus == 0 || config->boot_cpus > config->max_cpus)
		return err_set(err, ERR_USAGE, "use --cpus boot=N,max=M with M no less than N",
		    "cannot boot %u of %u CPUs", config->boot_cpus, config->max_cpus);
	if (config->boot_cpus % config->threads != 0 || config->max_cpus % config->threads != 0)
		return err_set(err, ERR_USAGE, "use multiples of the threads per core",
		    "--cpus boot=%u,max=%u are no whole cores of %u threads", config->boot_cpus,
		    config->max_cpus, config->threads);
	/* XICS and the kernel's own tables know servers by 16 bits. */
	if (facts == NULL && config->max_cpus > most)
		return err_set(err, ERR_USAGE,
		    "use no more than `paprika check` says this host has (max vCPUs)",
		    "%u CPUs are more than the %u a guest can number", config->max_cpus, most);
	if (config->max_cpus > most) {
		snprintf(hint, sizeof hint, "use --cpus with no more than %u",
		    most / config->threads * config->threads);
		return err_set(err, ERR_USAGE, hint,
		    "%u CPUs are more than the %u this host's KVM allows", config->max_cpus, most);
	}
	return true;
}

static uint64_t machine_max_memory(const struct spapr_config *config)
{
	return config->max_memory_bytes != 0 ? config->max_memory_bytes : config->memory_bytes;
}

/* A slot of KVM's for the boot memory, and one for each block that can be added. The last ones are
 * not for memory. */
static bool machine_check_max_memory(
    const struct spapr_config *config, const struct kvm_facts *facts, struct err *err)
{
	uint64_t max = machine_max_memory(config);
	uint64_t slots = 1 + (max - config->memory_bytes) / SPAPR_LMB_BYTES + KVM_OWN_SLOTS;

	/* Above are the pages of XIVE. */
	if (max > SPAPR_MAX_MEMORY)
		return err_set(err, ERR_USAGE, "use --memory with no more than 4T",
		    "room for %llu MiB of memory is more than a guest can have here",
		    (unsigned long long)(max >> 20));
	if (max == config->memory_bytes)
		return true;
	if (max % SPAPR_LMB_BYTES != 0 || max < config->memory_bytes)
		return err_set(err, ERR_USAGE,
		    "use --memory size=2G,max=16G, max no less than size",
		    "cannot boot %llu MiB of at most %llu MiB of memory",
		    (unsigned long long)(config->memory_bytes >> 20),
		    (unsigned long long)(max >> 20));
	if (facts != NULL && slots > facts->memory_slots)
		return err_set(err, ERR_USAGE, "use --memory with a smaller max",
		    "room for %llu MiB of memory needs %llu memory slots, this host's KVM has %u",
		    (unsigned long long)(max >> 20), (unsigned long long)slots,
		    facts->memory_slots);
	return true;
}

bool spapr_check_config(
    const struct spapr_config *config, const struct kvm_facts *facts, struct err *err)
{
	if (config->memory_bytes == 0 || config->memory_bytes % SPAPR_LMB_BYTES != 0)
		return err_set(err, ERR_USAGE, "use a multiple, such as --memory 512M",
		    "memory of %llu bytes is not a multiple of 256 MiB",
		    (unsigned long long)config->memory_bytes);
	return machine_check_max_memory(config, facts, err) &&
	       machine_check_cpus(config, facts, err);
}

/* RTAS is 32-bit, and the tree is read before the MMU is on: both lie low. */
static void machine_place_low(struct spapr *machine)
{
	const struct kvm_processor *processor = kvm_vm_processor(machine->vm);
	uint64_t end = processor->low_memory_end;

	machine->layout.low_end = end;
	machine->layout.hcall_instruction = processor->hcall_instruction;
	if (end > machine->config.memory_bytes)
		end = machine->config.memory_bytes;

	machine->layout.high = end;
	machine->layout.rtas = end - RTAS_BLOB_BYTES;
	machine->layout.fdt = machine->layout.rtas - FDT_MAX_BYTES;
}

static bool machine_create_vm(struct spapr *machine, struct err *err)
{
	const struct kvm_xics_tokens tokens = {.set_xive = rtas_token_of("ibm,set-xive"),
	    .get_xive = rtas_token_of("ibm,get-xive"),
	    .int_off = rtas_token_of("ibm,int-off"),
	    .int_on = rtas_token_of("ibm,int-on")};
	const struct spapr_config *config = &machine->config;
	const struct kvm_mode *mode;

	machine->vm = kvm_vm_create(config->kvm_fd, &config->mode, err);
	machine->cpus.vm = machine->memory.vm = machine->vm;
	if (machine->vm == NULL || !spapr_check_config(config, kvm_vm_facts(machine->vm), err) ||
	    !kvm_vm_set_threads(machine->vm, config->threads, err) ||
	    !gmem_init_as(&machine->gmem, config->shared_memory, config->memory_bytes,
	        machine_max_memory(config), err) ||
	    !kvm_vm_add_memory(machine->vm, 0, &machine->gmem, 0, config->memory_bytes, err) ||
	    !kvm_vm_create_mmu(machine->vm, machine_max_memory(config), err) ||
	    !irqchip_create(
	        &machine->irqchip, machine->vm, config->max_cpus, config->pci, &tokens, err))
		return false;
	mode = kvm_vm_mode(machine->vm);
	log_line(LOG_INFO, "guest of kvm-%s, %s, %s, processor %s", kvm_accel_name(mode->accel),
	    kvm_mmu_name(mode->mmu), kvm_irqchip_name(mode->irqchip),
	    kvm_vm_processor(machine->vm)->name);
	machine_place_low(machine);
	hcalls_enable(machine);
	return true;
}

static bool machine_create_phb(struct spapr *machine, struct err *err)
{
	return !machine->config.pci || phb_init(&machine->phb, machine->vm, &machine->irqchip,
	                                   &machine->devices, machine->config.pci_ports, err);
}

static bool machine_access(
    struct vcpu *vcpu, uint64_t address, uint8_t *data, uint32_t length, bool write)
{
	return phb_access(&vcpu->machine->phb, address, data, length, write);
}

/* Everything that needs neither KVM nor guest memory. */
static bool machine_create_parts(struct spapr *machine)
{
	const struct spapr_config *config = &machine->config;
	uint32_t boot_blocks = (uint32_t)(config->memory_bytes / SPAPR_LMB_BYTES);
	uint32_t devices = config->max_cpus / config->threads +
	                   (uint32_t)(machine_max_memory(config) / SPAPR_LMB_BYTES) - boot_blocks +
	                   (config->pci ? PHB_SLOTS - PHB_FIRST_SLOT : 0);

	pthread_mutex_init(&machine->lock, NULL);
	news_init(&machine->news, config->wake, config->context);
	vty_init(&machine->vty, &machine->news);
	machine->events.irqchip = machine->vty.irqchip = machine->cpus.irqchip = &machine->irqchip;
	machine->cpus.lock = &machine->lock;
	machine->cpus.news = &machine->news;
	machine->cpus.on_hcall = hcall_dispatch;
	machine->cpus.on_mmio = machine_access;
	machine->cpus.confine = config->confine_vcpu;
	machine->cpus.context = config->context;
	fence_init(&machine->fence, &machine->events, boot_blocks);
	machine->memory.by_event = config->memory_by_event;
	return cpus_init(&machine->cpus, config->max_cpus, machine) &&
	       events_init(&machine->events, devices, &machine->news) &&
	       connectors_init(&machine->connectors, devices, &machine->events) &&
	       devices_init(&machine->devices, devices, &machine->connectors, &machine->fence,
	           &machine->news);
}

static bool machine_create_cores(struct spapr *machine, struct err *err)
{
	const struct spapr_config *config = &machine->config;
	bool created;

	cores_init(&machine->cores, &machine->cpus, &machine->devices, config->threads);
	memory_init(&machine->memory, &machine->gmem, &machine->devices, config->memory_bytes,
	    machine_max_memory(config));
	pthread_mutex_lock(&machine->lock);
	created = cores_boot(&machine->cores, config->boot_cpus / config->threads, err);
	pthread_mutex_unlock(&machine->lock);
	return created;
}

struct spapr *spapr_create(const struct spapr_config *config, struct err *err)
{
	struct spapr *machine;

	if (!spapr_check_config(config, NULL, err))
		return NULL;
	machine = calloc(1, sizeof *machine);
	if (machine == NULL) {
		err_system(err, ENOMEM, NULL, "cannot create the machine");
		return NULL;
	}
	machine->config = *config;
	if (!machine_create_parts(machine))
		err_system(err, ENOMEM, NULL, "cannot create the machine");
	else if (machine_create_vm(machine, err) && machine_create_cores(machine, err) &&
	         machine_create_phb(machine, err))
		return machine;
	spapr_destroy(machine);
	return NULL;
}

void spapr_destroy(struct spapr *machine)
{
	if (machine == NULL)
		return;
	cpus_finish(&machine->cpus);
	phb_finish(&machine->phb);
	irqchip_destroy(&machine->irqchip);
	kvm_vm_destroy(machine->vm);
	gmem_finish(&machine->gmem);
	devices_finish(&machine->devices);
	connectors_finish(&machine->connectors);
	events_finish(&machine->events);
	vty_finish(&machine->vty);
	pthread_mutex_destroy(&machine->lock);
	free(machine);
}

/* --- Boot and reset -------------------------------------------------------------------------- */

#define FDT_ALIGNMENT 8u /* Devicetree Specification 5.6 */

/* Write the RTAS blob, and right below it the tree, so that both take one page of the host if that
 * is a large one. *ret_fdt is where the tree is. */
static bool machine_write_low(struct spapr *machine, uint64_t *ret_fdt, struct err *err)
{
	struct be32 blob[RTAS_BLOB_WORDS];
	size_t length = 0;
	void *tree = tree_build(machine, &length, err);
	bool written;

	if (tree == NULL)
		return false;
	for (size_t i = 0; i < RTAS_BLOB_WORDS; i++)
		blob[i] = be32(rtas_blob[i]);
	blob[RTAS_BLOB_HCALL] = be32(machine->layout.hcall_instruction);
	*ret_fdt = (machine->layout.rtas - length) & ~(uint64_t)(FDT_ALIGNMENT - 1);
	written = gmem_write(&machine->gmem, machine->layout.rtas, blob, sizeof blob) &&
	          gmem_write(&machine->gmem, *ret_fdt, tree, length);
	free(tree);
	return written || err_set(err, ERR_SYSTEM, NULL, "the device tree does not fit the memory");
}

/* What is pending ends as superseded. */
static bool machine_reset_devices(struct spapr *machine, struct err *err)
{
	devices_reset(&machine->devices);
	return true;
}

static bool machine_reset_cpus(struct spapr *machine, struct err *err)
{
	return cpus_reset(&machine->cpus, err);
}

/* Queued events, typed input, and how the last run ended. */
static bool machine_reset_events(struct spapr *machine, struct err *err)
{
	events_reset(&machine->events);
	fence_forget(&machine->fence);
	vty_reset(&machine->vty);
	machine->cpus.finished = false;
	news_drop(&machine->news,
	    SPAPR_NEWS_POWER_OFF | SPAPR_NEWS_RESET | SPAPR_NEWS_PANIC | SPAPR_NEWS_FAILED);
	return true;
}

static bool machine_reset_mmu(struct spapr *machine, struct err *err)
{
	return kvm_vm_reset_mmu(machine->vm, err);
}

static bool machine_reset_interrupts(struct spapr *machine, struct err *err)
{
	if (!irqchip_reset(&machine->irqchip, err))
		return false;
	/* Behind that, which would drop the interrupt. */
	devices_offer(&machine->devices);
	return true;
}

static bool machine_reset_phb(struct spapr *machine, struct err *err)
{
	return phb_reset(&machine->phb, err);
}

/* At the first boot it is as the host gave it. */
static bool machine_reset_memory(struct spapr *machine, struct err *err)
{
	bool used = machine->memory_used;

	machine->memory_used = true;
	return !used || gmem_clear(&machine->gmem, err);
}

/* What a reset must forget, in this order, with all vCPU threads out of the guest and of every
 * handler. If a part fails the reset has failed. */
static bool (*const machine_reset_parts[])(struct spapr *machine, struct err *err) = {
    machine_reset_devices,
    machine_reset_cpus,
    machine_reset_events,
    machine_reset_mmu,
    machine_reset_phb,
    machine_reset_interrupts,
    machine_reset_memory,
};

static bool machine_boot_held(struct spapr *machine, struct err *err)
{
	const struct spapr_config *config = &machine->config;
	uint64_t fdt;

	for (size_t i = 0; i < sizeof machine_reset_parts / sizeof machine_reset_parts[0]; i++)
		if (!machine_reset_parts[i](machine, err))
			return false;
	machine->image = (struct spapr_image){0};
	if (!config->load(
	        config->context, &machine->gmem, &machine->layout, &machine->image, err) ||
	    !machine_write_low(machine, &fdt, err))
		return false;
	cpu_start(cpu_find(&machine->cpus, 0), machine->image.entry, fdt);
	return true;
}

const struct gmem *spapr_memory(struct spapr *machine)
{
	return &machine->gmem;
}

bool spapr_plug(
    struct spapr *machine, const char *name, struct virtio_device *device, struct err *err)
{
	bool plugged;

	pthread_mutex_lock(&machine->lock);
	plugged = phb_plug(&machine->phb, name, device, err);
	pthread_mutex_unlock(&machine->lock);
	return plugged;
}

bool spapr_pci_add(struct spapr *machine, const char *name, struct virtio_device *device,
    uint64_t *ret_operation, struct err *err)
{
	bool added;

	pthread_mutex_lock(&machine->lock);
	devices_release(&machine->devices);
	added = phb_add(&machine->phb, name, device, ret_operation, err);
	pthread_mutex_unlock(&machine->lock);
	return added;
}

bool spapr_has_device(struct spapr *machine, const char *name)
{
	bool here;

	pthread_mutex_lock(&machine->lock);
	devices_release(&machine->devices);
	here = device_find(&machine->devices, name) != NULL;
	pthread_mutex_unlock(&machine->lock);
	return here;
}

bool spapr_with_pci_device(struct spapr *machine, const char *name,
    bool (*act)(struct virtio_device *device, void *context), void *context)
{
	bool done = false;

	pthread_mutex_lock(&machine->lock);
	for (uint32_t from = 0; !done && from < PHB_SLOTS; from++) {
		const struct device *device = phb_device(&machine->phb, from);

		if (device == NULL)
			break;
		from = device->unit;
		done = strcmp(device->name, name) == 0 &&
		       act(machine->phb.slots[from].device, context);
	}
	pthread_mutex_unlock(&machine->lock);
	return done;
}

void spapr_look_at_drivers(struct spapr *machine)
{
	pthread_mutex_lock(&machine->lock);
	devices_look_at_drivers(&machine->devices);
	pthread_mutex_unlock(&machine->lock);
}

bool spapr_confine_devices(struct spapr *machine, bool (*confine)(void *context, struct err *err),
    void *context, struct err *err)
{
	return phb_confine(&machine->phb, confine, context, err);
}

bool spapr_quiesce(struct spapr *machine)
{
	bool at_rest;

	pthread_mutex_lock(&machine->lock);
	machine->cpus.finished = true;
	cpus_hold(&machine->cpus);
	at_rest = phb_stop(&machine->phb);
	pthread_mutex_unlock(&machine->lock);
	return at_rest;
}

bool spapr_boot(struct spapr *machine, struct err *err)
{
	bool booted;

	if (!phb_at_rest(&machine->phb))
		return err_set(err, ERR_STATE, "wait until they have ended",
		    "requests of a device are in flight");
	pthread_mutex_lock(&machine->lock);
	machine->cpus.booting = true;
	machine->cpus.booted = true;
	cpus_hold(&machine->cpus);
	news_count(&machine->news, COUNT_RESETS, 1);
	booted = machine_boot_held(machine, err);
	if (!booted) {
		machine->cpus.finished = true;
		/* The caller is told why, and may try again. */
		news_drop(&machine->news, SPAPR_NEWS_FAILED);
	}
	machine->cpus.booting = false;
	cpus_release(&machine->cpus);
	pthread_mutex_unlock(&machine->lock);
	return booted;
}

void spapr_stop(struct spapr *machine)
{
	bool was_stopped;

	pthread_mutex_lock(&machine->lock);
	was_stopped = machine->cpus.stopped;
	machine->cpus.stopped = true;
	cpus_hold(&machine->cpus);
	if (!was_stopped) {
		machine->cpus.stopped_ms = clock_ms();
		machine->cpus.stopped_timebase = kvm_timebase();
	}
	pthread_mutex_unlock(&machine->lock);
}

void spapr_cont(struct spapr *machine)
{
	pthread_mutex_lock(&machine->lock);
	if (machine->cpus.stopped) {
		uint64_t now_ms = clock_ms();

		machine->cpus.stopped = false;
		/* A guest that saw its timebase jump would find its CPUs stalled. */
		machine->cpus.timebase_offset -=
		    (int64_t)(kvm_timebase() - machine->cpus.stopped_timebase);
		ops_stood_still(&machine->devices.ops, now_ms - machine->cpus.stopped_ms, now_ms);
		cpus_release(&machine->cpus);
	}
	pthread_mutex_unlock(&machine->lock);
}

void spapr_powerdown(struct spapr *machine)
{
	pthread_mutex_lock(&machine->lock);
	event_queue_shutdown(&machine->events);
	pthread_mutex_unlock(&machine->lock);
}

void spapr_settle(struct spapr *machine)
{
	pthread_mutex_lock(&machine->lock);
	machine->cpus.finished = true;
	cpus_hold(&machine->cpus);
	devices_reset(&machine->devices);
	pthread_mutex_unlock(&machine->lock);
}

/* --- The operator's requests ------------------------------------------------------------------ */

bool spapr_core_add(struct spapr *machine, uint32_t core_id, const char *device,
    uint64_t *ret_operation, struct err *err)
{
	struct device *core;
	bool added;

	pthread_mutex_lock(&machine->lock);
	core = core_with_id(&machine->cores, core_id, err);
	added = core != NULL && device_add(&machine->devices, core, device, ret_operation, err);
	pthread_mutex_unlock(&machine->lock);
	return added;
}

bool spapr_memory_add(struct spapr *machine, uint64_t address, uint64_t bytes, const char *device,
    uint64_t *ret_operation, struct err *err)
{
	bool added;

	pthread_mutex_lock(&machine->lock);
	devices_release(&machine->devices);
	added = memory_add(&machine->memory, address, bytes, device, ret_operation, err);
	pthread_mutex_unlock(&machine->lock);
	return added;
}

size_t spapr_set_memory(
    struct spapr *machine, uint64_t bytes, uint64_t *ret_operations, size_t max, struct err *err)
{
	size_t count;

	pthread_mutex_lock(&machine->lock);
	devices_release(&machine->devices);
	count = memory_set(&machine->memory, bytes, ret_operations, max, err);
	devices_release(&machine->devices);
	pthread_mutex_unlock(&machine->lock);
	return count;
}

size_t spapr_set_cores(
    struct spapr *machine, uint32_t count, uint64_t *ret_operations, size_t max, struct err *err)
{
	size_t operations;

	pthread_mutex_lock(&machine->lock);
	operations = cores_set(&machine->cores, count, ret_operations, max, err);
	pthread_mutex_unlock(&machine->lock);
	return operations;
}

bool spapr_device_remove(
    struct spapr *machine, const char *device, uint64_t *ret_operation, struct err *err)
{
	bool accepted;

	pthread_mutex_lock(&machine->lock);
	accepted = device_remove(&machine->devices, device, ret_operation, err);
	devices_release(&machine->devices);
	pthread_mutex_unlock(&machine->lock);
	return accepted;
}

bool spapr_device_force(
    struct spapr *machine, const char *device, uint64_t *ret_operation, struct err *err)
{
	bool accepted;

	pthread_mutex_lock(&machine->lock);
	accepted = device_force(&machine->devices, device, ret_operation, err);
	devices_release(&machine->devices);
	pthread_mutex_unlock(&machine->lock);
	return accepted;
}

bool spapr_operation_cancel(struct spapr *machine, uint64_t id, struct err *err)
{
	bool cancelled;

	pthread_mutex_lock(&machine->lock);
	cancelled = device_cancel(&machine->devices, id, err);
	devices_release(&machine->devices);
	pthread_mutex_unlock(&machine->lock);
	return cancelled;
}

int64_t spapr_check_deadline(struct spapr *machine)
{
	int64_t next = -1, fence = -1;
	bool events_owed, vty_owed;

	pthread_mutex_lock(&machine->lock);
	/* Time does not run for a guest that is stopped. */
	if (!machine->cpus.stopped) {
		next = ops_check_deadline(
		    &machine->devices.ops, machine->config.unplug_deadline_ms, clock_ms());
		fence = devices_check_fence(&machine->devices, clock_ms());
	}
	if (fence >= 0 && (next < 0 || next > fence))
		next = fence;
	/* Without its interrupt the guest would not hear of an event until the next one. */
	events_owed = events_retry(&machine->events);
	vty_owed = vty_retry(&machine->vty);
	if ((events_owed || vty_owed) && (next < 0 || next > INTERRUPT_RETRY_MS))
		next = INTERRUPT_RETRY_MS;
	pthread_mutex_unlock(&machine->lock);
	return next;
}
