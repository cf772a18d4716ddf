/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine.c - the machine as a whole: made, booted and booted again, held, taken apart, and
 * what it tells its operator.
 */
#include "spapr/machine.h"

#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spapr/hcall.h"
#include "spapr/rtas.h"

/* How long to wait until KVM is asked again for an interrupt it has refused. */
#define INTERRUPT_RETRY_MS 100

unsigned spapr_take_news(struct spapr *machine)
{
	return news_take(&machine->news);
}

/* --- Making it ------------------------------------------------------------------------------ */

static bool power_of_two(uint32_t value)
{
	return value != 0 && (value & (value - 1)) == 0;
}

static bool check_cpus(
    const struct spapr_config *config, const struct kvm_facts *facts, struct err *err)
{
	uint32_t most =
	    facts != NULL && facts->max_vcpus < UINT16_MAX ? facts->max_vcpus : UINT16_MAX;
	char hint[64];

	if (!power_of_two(config->threads) || config->threads > SPAPR_MAX_THREADS)
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

bool spapr_check_config(
    const struct spapr_config *config, const struct kvm_facts *facts, struct err *err)
{
	if (config->memory_bytes == 0 || config->memory_bytes % SPAPR_LMB_BYTES != 0)
		return err_set(err, ERR_USAGE, "use a multiple, such as --memory 512M",
		    "memory of %llu bytes is not a multiple of 256 MiB",
		    (unsigned long long)config->memory_bytes);
	return check_cpus(config, facts, err);
}

static void place_low(struct spapr *machine)
{
	uint64_t end = machine->config.memory_bytes < SPAPR_LOW_MEMORY_END
	                   ? machine->config.memory_bytes
	                   : SPAPR_LOW_MEMORY_END;

	machine->layout.high = end;
	machine->layout.rtas = end - RTAS_BLOB_BYTES;
	machine->layout.fdt = machine->layout.rtas - FDT_MAX_BYTES;
}

static bool create_vm(struct spapr *machine, struct err *err)
{
	const struct kvm_xics_tokens tokens = {
	    .set_xive = rtas_token_of("ibm,set-xive"),
	    .get_xive = rtas_token_of("ibm,get-xive"),
	    .int_off = rtas_token_of("ibm,int-off"),
	    .int_on = rtas_token_of("ibm,int-on"),
	};

	machine->vm = machine->events.vm = kvm_vm_create(machine->config.kvm_fd, err);
	if (machine->vm == NULL ||
	    !spapr_check_config(&machine->config, kvm_vm_facts(machine->vm), err) ||
	    !kvm_vm_set_threads(machine->vm, machine->config.threads, err) ||
	    !gmem_init(&machine->gmem, machine->config.memory_bytes, err) ||
	    !kvm_vm_set_memory(machine->vm, &machine->gmem, err) ||
	    !kvm_vm_create_irqchip(machine->vm, machine->config.max_cpus, &tokens, err))
		return false;
	hcalls_enable(machine);
	return true;
}

static bool create_cores(struct spapr *machine, struct err *err)
{
	uint32_t boot_cores = machine->config.boot_cpus / machine->config.threads;
	bool created = true;

	for (uint32_t i = 0; i < machine->core_count; i++)
		core_init(machine, &machine->cores[i], i);
	pthread_mutex_lock(&machine->lock);
	for (uint32_t i = 0; created && i < boot_cores; i++) {
		struct core *core = &machine->cores[i];

		created = cpus_create(machine, core, err) && tree_build_core(machine, core, err);
		core->drc = (struct drc){.attached = true, .state = DRC_CONFIGURED};
		snprintf(core->device, sizeof core->device, "core%u", core->id);
	}
	pthread_mutex_unlock(&machine->lock);
	return created;
}

struct spapr *spapr_create(const struct spapr_config *config, struct err *err)
{
	struct spapr *machine;

	if (!spapr_check_config(config, NULL, err))
		return NULL;
	machine = calloc(1, sizeof *machine);
	if (machine == NULL)
		goto no_memory;
	machine->config = *config;
	news_init(&machine->news, config->wake, config->context);
	machine->core_count = config->max_cpus / config->threads;
	machine->booting = true; /* nothing runs before spapr_boot() */
	pthread_mutex_init(&machine->lock, NULL);
	pthread_mutex_init(&machine->vty.lock, NULL);
	pthread_cond_init(&machine->quiet, NULL);
	ops_init(&machine->ops, machine->operations, SPAPR_OPERATIONS);
	place_low(machine);
	machine->cores = calloc(machine->core_count, sizeof *machine->cores);
	machine->vcpus = calloc(config->max_cpus, sizeof *machine->vcpus);
	machine->fdt_buffer = malloc(FDT_MAX_BYTES);
	if (!events_init(&machine->events, machine->core_count, &machine->news) ||
	    machine->cores == NULL || machine->vcpus == NULL || machine->fdt_buffer == NULL)
		goto no_memory;
	if (!create_vm(machine, err) || !create_cores(machine, err)) {
		spapr_destroy(machine);
		return NULL;
	}
	return machine;
no_memory:
	err_system(err, ENOMEM, NULL, "cannot create the machine");
	spapr_destroy(machine);
	return NULL;
}

void spapr_destroy(struct spapr *machine)
{
	if (machine == NULL)
		return;
	pthread_mutex_lock(&machine->lock);
	machine->ending = true;
	if (machine->vcpus != NULL)
		cpus_release(machine);
	pthread_mutex_unlock(&machine->lock);
	for (uint32_t i = 0; machine->vcpus != NULL && i < machine->config.max_cpus; i++)
		if (machine->vcpus[i].machine != NULL)
			cpu_finish(&machine->vcpus[i]);
	kvm_vm_destroy(machine->vm);
	gmem_finish(&machine->gmem);
	free(machine->fdt_buffer);
	events_finish(&machine->events);
	free(machine->vcpus);
	free(machine->cores);
	pthread_cond_destroy(&machine->quiet);
	pthread_mutex_destroy(&machine->vty.lock);
	pthread_mutex_destroy(&machine->lock);
	free(machine);
}

/* --- Booting it ----------------------------------------------------------------------------- */

static bool write_low(struct spapr *machine, struct err *err)
{
	struct be32 blob[RTAS_BLOB_WORDS];
	size_t length;

	for (size_t i = 0; i < RTAS_BLOB_WORDS; i++)
		blob[i] = be32(rtas_blob[i]);
	if (!tree_build(machine, &length, err))
		return false;
	if (!gmem_write(&machine->gmem, machine->layout.rtas, blob, sizeof blob) ||
	    !gmem_write(&machine->gmem, machine->layout.fdt, machine->fdt_buffer, length))
		return err_set(err, ERR_SYSTEM, NULL, "the device tree does not fit the memory");
	return true;
}

void spapr_kernel_begins(struct spapr *machine)
{
	struct err err = {0};

	pthread_mutex_lock(&machine->lock);
	if (!events_reset_sources(&machine->events, machine->cores[0].id, &err))
		log_guest(&machine->events.limit, LOG_ERROR, "%s", err.message);
	/* An event that the kernel before has fetched, and not answered, may have gone with it. */
	for (uint32_t i = 0; i < machine->core_count; i++)
		if (machine->cores[i].add_operation != 0 || machine->cores[i].remove_operation != 0)
			event_requeue(&machine->events, i);
	events_announce(&machine->events);
	vty_announce(machine);
	pthread_mutex_unlock(&machine->lock);
}

/* With all vCPU threads out of the guest and of every handler. */
static bool boot_held(struct spapr *machine, struct err *err)
{
	int result;

	cores_reset(machine);
	machine->modes = (struct kvm_modes){0};
	machine->modes_version++;
	machine->failure = (struct err){0};
	cpus_reset(machine);
	if (machine->failure.class != ERR_NONE) {
		*err = machine->failure;
		return false;
	}
	events_reset(&machine->events);
	machine->vty_owed = false;
	vty_reset(machine);
	machine->finished = false;
	/* How the last run ended is no longer news. */
	news_drop(&machine->news,
	    SPAPR_NEWS_POWER_OFF | SPAPR_NEWS_RESET | SPAPR_NEWS_PANIC | SPAPR_NEWS_FAILED);
	result = kvm_vm_set_process_table(machine->vm, 0, true);
	if (result < 0)
		return err_system(err, -result, NULL, "KVM refuses radix mode");
	if (!events_reset_sources(&machine->events, machine->cores[0].id, err) ||
	    !gmem_clear(&machine->gmem, err))
		return false;
	machine->image = (struct spapr_image){0};
	if (!machine->config.load(
	        machine->config.context, &machine->gmem, &machine->layout, &machine->image, err) ||
	    !write_low(machine, err))
		return false;
	cpu_start(&machine->vcpus[0], machine->image.entry, machine->layout.fdt);
	return true;
}

bool spapr_boot(struct spapr *machine, struct err *err)
{
	bool booted;

	pthread_mutex_lock(&machine->lock);
	machine->booting = true;
	machine->booted = true;
	cpus_hold(machine);
	news_count(&machine->news, COUNT_RESETS, 1);
	booted = boot_held(machine, err);
	if (!booted) {
		machine->finished = true;
		/* The caller is told why, and may try again. */
		news_drop(&machine->news, SPAPR_NEWS_FAILED);
	}
	machine->booting = false;
	cpus_release(machine);
	pthread_mutex_unlock(&machine->lock);
	return booted;
}

void spapr_stop(struct spapr *machine)
{
	bool was_stopped;

	pthread_mutex_lock(&machine->lock);
	was_stopped = machine->stopped;
	machine->stopped = true;
	cpus_hold(machine);
	if (!was_stopped) {
		machine->stopped_ms = clock_ms();
		machine->stopped_timebase = kvm_timebase();
	}
	pthread_mutex_unlock(&machine->lock);
}

void spapr_cont(struct spapr *machine)
{
	pthread_mutex_lock(&machine->lock);
	if (machine->stopped) {
		uint64_t now_ms = clock_ms();

		machine->stopped = false;
		/* A guest that saw its timebase jump would find its CPUs stalled. */
		machine->timebase_offset -= (int64_t)(kvm_timebase() - machine->stopped_timebase);
		ops_stood_still(&machine->ops, now_ms - machine->stopped_ms, now_ms);
		cpus_release(machine);
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
	machine->finished = true;
	cpus_hold(machine);
	cores_reset(machine);
	pthread_mutex_unlock(&machine->lock);
}

/* --- What there is -------------------------------------------------------------------------- */

const struct spapr_config *spapr_get_config(const struct spapr *machine)
{
	return &machine->config;
}

const struct kvm_facts *spapr_get_facts(const struct spapr *machine)
{
	return kvm_vm_facts(machine->vm);
}

uint32_t spapr_core_count(const struct spapr *machine)
{
	return machine->core_count;
}

void spapr_core_info(struct spapr *machine, uint32_t number, struct spapr_core_info *ret_info)
{
	const struct core *core = &machine->cores[number];

	pthread_mutex_lock(&machine->lock);
	*ret_info = (struct spapr_core_info){.core_id = core->id,
	    .drc_index = core->drc_index,
	    .drc = core->drc,
	    .add_operation = core->add_operation,
	    .remove_operation = core->remove_operation};
	memcpy(ret_info->device, core->device, sizeof ret_info->device);
	for (uint32_t i = 0; i < machine->config.threads; i++) {
		ret_info->vcpus[i].id = core->vcpus[i].id;
		ret_info->vcpus[i].state = core->vcpus[i].state;
		ret_info->vcpus[i].host_thread = core->vcpus[i].host_thread;
	}
	for (uint32_t i = 0; i < SPAPR_HISTORY && i < core->history_next; i++) {
		uint32_t slot = (uint32_t)((core->history_next - 1 - i) % SPAPR_HISTORY);

		ret_info->history[i] = core->history[slot];
		ret_info->history_count = i + 1;
	}
	pthread_mutex_unlock(&machine->lock);
}

bool spapr_vcpu_registers(struct spapr *machine, uint32_t vcpu, struct kvm_registers *ret_registers)
{
	bool known;

	pthread_mutex_lock(&machine->lock);
	known =
	    vcpu < machine->config.max_cpus && cpu_registers(&machine->vcpus[vcpu], ret_registers);
	pthread_mutex_unlock(&machine->lock);
	return known;
}

size_t spapr_operations(struct spapr *machine, struct operation *ret_operations, size_t max)
{
	const struct operation *op = NULL;
	size_t count = 0;

	pthread_mutex_lock(&machine->lock);
	while (count < max && (op = ops_after(&machine->ops, op != NULL ? op->id : 0)) != NULL)
		ret_operations[count++] = *op;
	pthread_mutex_unlock(&machine->lock);
	return count;
}

size_t spapr_counters(struct spapr *machine, struct spapr_counter *ret_counters, size_t max)
{
	return news_counters(&machine->news, ret_counters, max);
}

bool spapr_device_tree(struct spapr *machine, void **ret_blob, size_t *ret_length, struct err *err)
{
	bool built;
	size_t length = 0;

	pthread_mutex_lock(&machine->lock);
	built = tree_build(machine, &length, err);
	pthread_mutex_unlock(&machine->lock);
	*ret_blob = built ? malloc(length) : NULL;
	if (*ret_blob == NULL)
		return built && err_system(err, ENOMEM, NULL, "cannot copy the device tree");
	memcpy(*ret_blob, machine->fdt_buffer, length);
	*ret_length = length;
	return true;
}

bool spapr_next_report(
    struct spapr *machine, bool guest_made, struct operation *ret_operation, enum op_step *ret_step)
{
	bool found;

	pthread_mutex_lock(&machine->lock);
	found = ops_next_report(&machine->ops, guest_made, ret_operation, ret_step);
	pthread_mutex_unlock(&machine->lock);
	return found;
}

int64_t spapr_check_deadline(struct spapr *machine)
{
	int64_t next;

	pthread_mutex_lock(&machine->lock);
	/* Time does not run for a guest that is stopped. */
	next = machine->stopped ? -1
	                        : ops_check_deadline(&machine->ops,
	                              machine->config.unplug_deadline_ms, clock_ms());
	/* Without its interrupt the guest would not hear of an event until the next one. */
	if (machine->vty_owed)
		machine->vty_owed = kvm_irq_pulse(machine->vm, IRQ_VTY) < 0;
	if ((events_retry(&machine->events) || machine->vty_owed) &&
	    (next < 0 || next > INTERRUPT_RETRY_MS))
		next = INTERRUPT_RETRY_MS;
	pthread_mutex_unlock(&machine->lock);
	return next;
}

void spapr_panic_text(struct spapr *machine, char *ret_text, size_t size)
{
	pthread_mutex_lock(&machine->lock);
	snprintf(ret_text, size, "%s", machine->panic_text);
	pthread_mutex_unlock(&machine->lock);
}

void spapr_failure(struct spapr *machine, struct err *err)
{
	pthread_mutex_lock(&machine->lock);
	*err = machine->failure;
	pthread_mutex_unlock(&machine->lock);
}
