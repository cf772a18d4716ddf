/* SPDX-License-Identifier: Apache-2.0 */
/* world.c - see world.h: building the machine, keeping its state, and telling states apart. What
 * it stands on is replaced at the end of the file; the moves are in moves.c. */
#include "world.h"

#include <errno.h>
#include <libfdt.h>
#include <stdlib.h>
#include <string.h>

#include "spapr/rtas.h"
#include "spapr/tree.h"

struct world world;
enum fault world_fault;

static bool load(void *context, const struct gmem *gmem, const struct spapr_layout *layout,
    struct spapr_image *ret_image, struct err *err)
{
	(void)context;
	(void)gmem;
	(void)layout;
	*ret_image = (struct spapr_image){.entry = 0x400, .end = 0x10000};
	return !world.load_fails || err_set(err, ERR_USAGE, NULL, "no kernel");
}

static void wake(void *context)
{
	(void)context;
}

void world_create(const struct world_config *config)
{
	struct spapr_config machine = {.memory_bytes = 2 * SPAPR_LMB_BYTES, /* two fences differ */
	    .threads = config->threads,
	    .boot_cpus = config->threads,
	    .max_cpus = config->threads * config->cores,
	    .bootargs = "",
	    .unplug_deadline_ms = 100000, /* longer than any move takes: world_delay */
	    .load = load,
	    .wake = wake};
	struct err err = {0};

	world = (struct world){.config = config};
	world.machine = spapr_create(&machine, &err);
	if (world.machine == NULL)
		broken("cannot create the machine: %s", err.message);
	if (config->group != 0)
		world_make_blocks();
	/* Few slots: that they run out has to be in reach. */
	ops_init(&world.machine->devices.ops, world.machine->devices.operations, config->slots);
	if (!spapr_boot(world.machine, &err))
		broken("cannot boot the machine: %s", err.message);
	spapr_take_news(world.machine);
}

/* --- Keeping a state ------------------------------------------------------------------------ */

/* The parts of the machine that moves can change. What is left out is told beside the gaps. */
struct part {
	void *at;
	size_t length;
};

#define SPAN(object, from, to)                                                                     \
	((struct part){                                                                            \
	    &(object)->from, offsetof(typeof(*(object)), to) - offsetof(typeof(*(object)), from)})
#define PART(object) ((struct part){&(object), sizeof(object)})

static size_t parts(struct part *list)
{
	struct spapr *machine = world.machine;
	size_t count = 0;

	/* Not: image, which is the same after each boot; the console; counters. */
	list[count++] = SPAN(&machine->cpus, stopped, failure);
	list[count++] = PART(machine->cpus.failure.class);
	list[count++] = PART(machine->devices.ops);
	list[count++] = (struct part){machine->devices.operations,
	    world.config->slots * sizeof machine->devices.operations[0]};
	list[count++] =
	    (struct part){machine->events.queue, WORLD_EVENTS * sizeof machine->events.queue[0]};
	list[count++] =
	    (struct part){machine->events.queued, WORLD_EVENTS * sizeof machine->events.queued[0]};
	list[count++] = SPAN(&machine->fence, state, answers);
	list[count++] = PART(machine->fence.answers);
	list[count++] = SPAN(&machine->events, count, limit);
	list[count++] = PART(machine->vty.interrupt_owed);
	list[count++] = PART(machine->news.bits);
	list[count++] = PART(world.ghost);
	list[count++] = PART(machine->devices.leaving);
	for (uint32_t i = 0; i < world.config->cores; i++) {
		struct connector *connector = &machine->connectors.list[i];
		struct device *core = connector->device;

		/* Not: the history. */
		list[count++] = SPAN(connector, drc, history);
		list[count++] = PART(core->leaving);
		list[count++] = PART(core->attached);
		list[count++] = PART(core->name);
		list[count++] = PART(core->add);
		list[count++] = PART(core->remove);
	}
	for (uint32_t i = 0; i < machine->config.max_cpus; i++) {
		struct vcpu *vcpu = &machine->cpus.list[i];

		list[count++] = PART(vcpu->kvm);
		list[count++] = SPAN(vcpu, present, create_error);
		list[count++] = SPAN(vcpu, attention, in_guest);
	}
	return count;
}

enum { PARTS_MAX = 13 + 6 * WORLD_CORES + 3 * WORLD_VCPUS };

size_t world_save(void *to)
{
	struct part list[PARTS_MAX];
	size_t count = parts(list);
	uint8_t *at = to;

	for (size_t i = 0; i < count; i++) {
		memcpy(at, list[i].at, list[i].length);
		at += list[i].length;
	}
	return (size_t)(at - (uint8_t *)to);
}

void world_restore(const void *from)
{
	struct part list[PARTS_MAX];
	size_t count = parts(list);
	const uint8_t *at = from;

	for (size_t i = 0; i < count; i++) {
		memcpy(list[i].at, at, list[i].length);
		at += list[i].length;
	}
}

/* --- Telling states apart ------------------------------------------------------------------- */

/* Where each core stands in the key. */
static uint8_t place[WORLD_EVENTS];

static uint8_t *put(uint8_t *at, unsigned value)
{
	*at = (uint8_t)value;
	return at + 1;
}

static uint8_t *put_core(uint8_t *at, const struct connector *connector)
{
	const struct device *core = connector->device;
	const struct drc *drc = &connector->drc;

	at = put(at, (unsigned)drc->state | (unsigned)drc->isolated_from << 2 |
	                 (unsigned)drc->attached << 4 | (unsigned)drc->adding << 5 |
	                 (unsigned)drc->removing << 6 |
	                 (unsigned)world.machine->events.queued[connector->number] << 7);
	at = put(at, (unsigned)connector->node_offset);
	at = put(at, (unsigned)connector->node_depth | (unsigned)(core->name[0] != '\0') << 4 |
	                 (unsigned)world_heard(connector) << 5);
	/* What a core's connector does not say by itself already. */
	if (world.config->group != 0) {
		at = put(at, connector->awaited | (unsigned)connector->leaving << 3 |
		                 (unsigned)(world_heard(connector) == HEARD_ALONE &&
		                            connector->fence_due_ms <= clock_ms())
		                     << 4);
		at = put(at, (unsigned)core->add.outcome |
		                 (unsigned)(world_heard(connector) == HEARD_ALONE &&
		                            world.ghost.due[connector->number])
		                     << 3 |
		                 (unsigned)core->remove.outcome << 4);
	}
	return put(at, world.ghost.asked_from[connector->number]);
}

static uint8_t *put_vcpu(uint8_t *at, const struct vcpu *vcpu)
{
	at = put(at, (unsigned)vcpu->state | (unsigned)vcpu->has_thread << 2 |
	                 (unsigned)vcpu->waiting << 3 | (unsigned)vcpu->park_needed << 4 |
	                 (unsigned)vcpu->entry_set << 5 | (unsigned)vcpu->attention << 6 |
	                 (unsigned)(vcpu->kvm != NULL) << 7);
	return put(at,
	    (unsigned)world.ghost.may_call[vcpu->id] | (unsigned)world.ghost.used[vcpu->id] << 1);
}

/* How many steps of all operations that wait to be reported come before this one. */
static unsigned rank(uint64_t order)
{
	const struct ops *ops = &world.machine->devices.ops;
	unsigned before = 0;

	for (size_t i = 0; i < ops->count; i++)
		for (size_t s = 0; ops->slots[i].id != 0 && s < OP_STEP_COUNT; s++)
			before += ops->slots[i].steps[s].order != 0 &&
			          !ops->slots[i].steps[s].reported &&
			          ops->slots[i].steps[s].order < order;
	return before;
}

/* Only the last add of a core is asked for its steps after its end. */
static uint8_t *put_steps(uint8_t *at, const struct operation *op)
{
	unsigned passed = 0;

	for (unsigned s = 0; s < OP_STEP_COUNT; s++) {
		if (op->steps[s].order == 0)
			continue;
		passed |= 1u << s;
		if (op->steps[s].reported)
			continue;
		at = put(at, s | 0x80);
		at = put(at, rank(op->steps[s].order));
	}
	if (!world.config->steps && op->outcome == OP_PENDING)
		passed &= 1u << OP_UNRESOLVED;
	else if (op->outcome != OP_PENDING)
		passed = 0;
	at = put(at, passed & 0x7f);
	at = put(at, passed >> 7);
	return world.config->steps && op->outcome == OP_PENDING ? put(at, op->phase) : at;
}

static uint8_t *put_operation(uint8_t *at, const struct operation *op)
{
	const struct device *core =
	    connector_find(&world.machine->connectors, op->drc_index)->device;
	bool guest = op_is_guest_made(op->kind);
	bool reported = true;

	for (size_t s = 0; s < OP_STEP_COUNT; s++)
		reported = reported && (op->steps[s].order == 0 || op->steps[s].reported);
	at = put(at,
	    (unsigned)guest | (unsigned)(op->outcome == OP_PENDING) << 1 | (unsigned)reported << 3);
	/* The next of its kind is one with it, if the device has this name still. */
	if (guest)
		at = put(at, place[core->connectors->number] | (unsigned)op->kind << 2 |
		                 (unsigned)(strcmp(op->device, core->name) == 0) << 4);
	if (op->outcome != OP_PENDING && reported)
		return at;
	at = put(at, place[core->connectors->number] |
	                 (unsigned)(core->add.operation == op->id) << 2 |
	                 (unsigned)(core->remove.operation == op->id) << 3 |
	                 (unsigned)op->unresolved << 4 | (unsigned)op->kind << 5);
	return put_steps(at, op);
}

/* In the order in which they began; where they lie does not matter, how many there are does. */
static uint8_t *put_operations(uint8_t *at)
{
	const struct ops *ops = &world.machine->devices.ops;
	uint64_t last = 0;

	for (;;) {
		const struct operation *next = NULL;

		for (size_t i = 0; i < ops->count; i++)
			if (ops->slots[i].id > last &&
			    (next == NULL || ops->slots[i].id < next->id))
				next = &ops->slots[i];
		if (next == NULL)
			return put(at, 0xff);
		last = next->id;
		at = put_operation(at, next);
	}
}

/* With the cores in this order. */
static size_t key_in_order(uint8_t *key, const uint8_t *order)
{
	const struct spapr *machine = world.machine;
	uint32_t threads = machine->config.threads;
	uint8_t *at = key;

	for (uint8_t i = 0; i < world.config->cores; i++)
		place[order[i]] = i;
	place[machine->events.fence] = WORLD_CORES;
	at = put(at, (unsigned)machine->cpus.stopped | (unsigned)machine->cpus.finished << 1 |
	                 (unsigned)machine->cpus.booting << 2 |
	                 (unsigned)machine->events.interrupt_owed << 3 |
	                 (unsigned)machine->events.shutdown_queued << 4 |
	                 (unsigned)world.ghost.kvm_refuses << 5 |
	                 (unsigned)world.ghost.signalled << 6 |
	                 (unsigned)(machine->cpus.failure.class != ERR_NONE) << 7);
	at = put(at, (machine->news.bits & SPAPR_NEWS_OPERATION) |
	                 (unsigned)machine->events.shutdown_owed << 6 |
	                 (unsigned)machine->events.spare << 7);
	at = put(at, machine->events.count | (unsigned)machine->fence.state << 4);
	for (uint32_t i = 0; i < machine->events.count; i++)
		at = put(at, place[machine->events.queue[i]]);
	for (uint32_t i = 0; i < world.config->cores; i++)
		at = put_core(at, &machine->connectors.list[order[i]]);
	for (uint32_t i = 0; i < machine->config.max_cpus; i++)
		at = put_vcpu(at, &machine->cpus.list[order[i / threads] * threads + i % threads]);
	at = put_operations(at);
	return (size_t)(at - key);
}

/* Which of the two cores beside the boot core is which makes no difference: one key for both. */
size_t world_key(uint8_t key[WORLD_KEY_MAX])
{
	static const uint8_t straight[WORLD_CORES] = {0, 1, 2}, swapped[WORLD_CORES] = {0, 2, 1};
	uint8_t other[WORLD_KEY_MAX];
	size_t length = key_in_order(key, straight);

	if (world.config->cores == WORLD_CORES && world.config->group <= 1) {
		key_in_order(other, swapped); /* as long as the first */
		if (memcmp(other, key, length) < 0)
			memcpy(key, other, length);
	}
	return length;
}

/* --- What the machine stands on ------------------------------------------------------------- */

struct kvm_vm {
	struct kvm_facts facts;
	struct kvm_mode mode;
	struct kvm_processor processor;
};
struct kvm_vcpu {
	uint32_t id;
};

struct kvm_vm *kvm_vm_create(int kvm_fd, const struct kvm_mode *wish, struct err *err)
{
	static struct kvm_vm vm = {
	    .facts = {.max_vcpus = 64, .hv = true, .radix = true, .level = KVM_CPU_POWER9}};

	(void)kvm_fd;
	if (!kvm_mode_choose(&vm.facts, wish, &vm.mode, err))
		broken("no mode");
	kvm_mode_describe(&vm.facts, &vm.mode, 0, &vm.processor);
	return &vm;
}

void kvm_vm_destroy(struct kvm_vm *vm)
{
	(void)vm;
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

bool kvm_vm_create_mmu(struct kvm_vm *vm, uint64_t memory_bytes, struct err *err)
{
	return vm != NULL && memory_bytes != 0 && err != NULL;
}

bool kvm_vm_reset_mmu(struct kvm_vm *vm, struct err *err)
{
	return vm != NULL && err != NULL;
}

bool kvm_hpt_read(const struct kvm_vm *vm, uint64_t index, uint64_t ret_entry[2])
{
	return false;
}

bool kvm_vm_add_memory(struct kvm_vm *vm, uint32_t slot, const struct gmem *gmem, uint64_t address,
    uint64_t bytes, struct err *err)
{
	return vm != NULL && gmem != NULL && err != NULL;
}

int kvm_vm_remove_memory(struct kvm_vm *vm, uint32_t slot)
{
	return 0;
}

bool kvm_vm_set_threads(struct kvm_vm *vm, uint32_t threads, struct err *err)
{
	return vm != NULL && threads != 0 && err != NULL;
}

bool kvm_vm_create_irqchip(
    struct kvm_vm *vm, const struct kvm_irqchip_config *config, struct err *err)
{
	return vm != NULL && config->servers != 0 && err != NULL;
}

/* The machines here have XICS. */
bool kvm_irqchip_reset(struct kvm_vm *vm, struct err *err)
{
	broken("XIVE is reset");
}

int kvm_xive_aim(struct kvm_vm *vm, uint32_t irq, const struct kvm_xive_target *target)
{
	broken("XIVE is used");
}

int kvm_xive_mask(struct kvm_vm *vm, uint32_t irq, const struct kvm_xive_target *target)
{
	broken("XIVE is used");
}

int kvm_xive_set_queue(
    struct kvm_vm *vm, uint32_t server, uint32_t priority, const uint64_t *address)
{
	broken("XIVE is used");
}

int kvm_xive_sync(struct kvm_vm *vm, uint32_t irq)
{
	broken("XIVE is used");
}

uint64_t kvm_xive_load(const struct kvm_vm *vm, uint32_t irq, uint32_t offset)
{
	broken("XIVE is used");
}

bool kvm_vm_enable_hcall(struct kvm_vm *vm, uint64_t nr)
{
	return vm != NULL && nr != 0;
}

bool kvm_irq_reset(struct kvm_vm *vm, uint32_t irq, uint32_t server, struct err *err)
{
	if (irq == IRQ_HOTPLUG)
		world.ghost.signalled = false;
	return vm != NULL && server == 0 && err != NULL;
}

/* The world has no PCI bus. */
int kvm_join_irq(struct kvm_vm *vm, uint32_t irq, int eventfd)
{
	return -ENOSYS;
}

int kvm_part_irq(struct kvm_vm *vm, uint32_t irq, int eventfd)
{
	return -ENOSYS;
}

int kvm_join_doorbell(struct kvm_vm *vm, uint64_t address, int eventfd)
{
	return -ENOSYS;
}

int kvm_part_doorbell(struct kvm_vm *vm, uint64_t address, int eventfd)
{
	return -ENOSYS;
}

bool kvm_vm_create_tce_table(
    struct kvm_vm *vm, uint32_t liobn, uint64_t window_bytes, struct err *err)
{
	return false;
}

int kvm_irq_pulse(struct kvm_vm *vm, uint32_t irq)
{
	(void)vm;
	if (irq == IRQ_HOTPLUG && world.machine->events.count == 0)
		broken("a hot-plug interrupt with no event behind it");
	if (world.ghost.kvm_refuses) {
		world.ghost.kvm_refuses = false;
		return -5;
	}
	if (irq == IRQ_HOTPLUG) {
		world.ghost.signalled = true;
		world.pulses++;
	}
	return 0;
}

int kvm_vm_set_process_table(struct kvm_vm *vm, uint64_t table, bool gtse)
{
	(void)vm;
	(void)table;
	(void)gtse;
	return 0;
}

struct kvm_vcpu *kvm_vcpu_create(struct kvm_vm *vm, uint32_t id, struct err *err)
{
	static struct kvm_vcpu vcpus[WORLD_VCPUS];

	(void)vm;
	if (world.kvm_fails) {
		err_set(err, ERR_SYSTEM, NULL, "no vCPU");
		return NULL;
	}
	vcpus[id].id = id;
	return &vcpus[id];
}

void kvm_vcpu_destroy(struct kvm_vcpu *vcpu)
{
	broken("vCPU %u is destroyed", vcpu->id);
}

void kvm_vcpu_set_aside(struct kvm_vcpu *vcpu)
{
	broken("vCPU %u is set aside", vcpu->id);
}

uint64_t kvm_timebase(void)
{
	return 0; /* time stands still */
}

bool kvm_vcpu_set_timebase_offset(struct kvm_vcpu *vcpu, int64_t offset, struct err *err)
{
	(void)offset;
	(void)err;
	broken("the timebase of vCPU %u is set", vcpu->id);
}

enum kvm_exit kvm_vcpu_run(struct kvm_vcpu *vcpu, struct kvm_exit_info *exit)
{
	(void)exit;
	broken("vCPU %u runs", vcpu->id); /* a move of its own, never a call */
}

void kvm_vcpu_kick(struct kvm_vcpu *vcpu)
{
	(void)vcpu;
}

void kvm_vcpu_unkick(struct kvm_vcpu *vcpu)
{
	(void)vcpu;
}

/* KVM writes to what a vCPU has registered in its last life until that has been undone. */
bool kvm_vcpu_enter_at(
    struct kvm_vcpu *vcpu, uint64_t pc, uint64_t r3, const struct kvm_modes *modes, struct err *err)
{
	(void)pc;
	(void)r3;
	(void)modes;
	if (world.kvm_fails)
		return err_set(err, ERR_SYSTEM, NULL, "vCPU %u cannot start", vcpu->id);
	if (world.ghost.used[vcpu->id])
		broken("vCPU %u starts, and was not parked since it last ran", vcpu->id);
	world.ghost.used[vcpu->id] = true;
	return true;
}

bool kvm_vcpu_park(struct kvm_vcpu *vcpu, struct err *err)
{
	if (world.kvm_fails)
		return err_set(err, ERR_SYSTEM, NULL, "vCPU %u cannot be parked", vcpu->id);
	world.ghost.used[vcpu->id] = false;
	return true;
}

bool kvm_vcpu_set_modes(struct kvm_vcpu *vcpu, const struct kvm_modes *modes, struct err *err)
{
	return vcpu != NULL && modes != NULL && err != NULL;
}

bool kvm_vcpu_set_sprg0(struct kvm_vcpu *vcpu, uint64_t value)
{
	(void)value;
	return vcpu != NULL;
}

bool kvm_vcpu_registers(struct kvm_vcpu *vcpu, struct kvm_registers *ret_registers)
{
	*ret_registers = (struct kvm_registers){0};
	return vcpu != NULL;
}

/* Stands in for the whole tree, which is not read here. */
void *tree_build(struct spapr *machine, size_t *ret_length, struct err *err)
{
	(void)machine;
	(void)err;
	*ret_length = 8;
	return calloc(1, *ret_length);
}

/* A node with one property, so that a walk has a first item, one in the middle and an end. */
void core_describe(const struct device *core, const struct connector *connector, bool named,
    struct node_writer *writer)
{
	(void)connector;
	(void)named;
	node_begin(writer, "cpu");
	node_cell(writer, "reg", core->unit);
	node_end(writer);
}

uint64_t clock_ms(void)
{
	return 1000000 + world.later_ms;
}

void log_guest(struct log_limit *limit, enum log_level level, const char *format, ...)
{
	(void)limit;
	(void)level;
	(void)format;
}

/* RAM is not part of the state: what the guest leaves there is written anew in each move. */
bool gmem_clear(struct gmem *gmem, struct err *err)
{
	return gmem != NULL && err != NULL;
}

int pthread_setname_np(pthread_t thread, const char *name)
{
	(void)thread;
	(void)name;
	return 0;
}

/* --- Faults to be found --------------------------------------------------------------------- */

/* The linker sends calls between files of the program through these (tests/meson.build). */
#define WRAPPED(type, name, ...)                                                                   \
	type __real_##name(__VA_ARGS__);                                                           \
	type __wrap_##name(__VA_ARGS__);                                                           \
	type __wrap_##name(__VA_ARGS__)

WRAPPED(void, op_end, struct ops *ops, struct operation *op, enum op_outcome outcome,
    const struct op_evidence *evidence, uint64_t now_ms)
{
	if (world_fault == FAULT_END_LOST && outcome == OP_REJECTED)
		return;
	if (world_fault == FAULT_ENDS_TWICE && op != NULL && outcome == OP_DONE)
		for (size_t i = 0; i < ops->count; i++)
			if (ops->slots[i].outcome == OP_REJECTED)
				ops->slots[i].outcome = OP_DONE;
	__real_op_end(ops, op, outcome, evidence, now_ms);
}

WRAPPED(bool, op_pass, struct ops *ops, struct operation *op, enum op_step step, uint64_t now_ms)
{
	return (world_fault != FAULT_STEP_UNDATED || step != OP_FETCHED) &&
	       __real_op_pass(ops, op, step, now_ms);
}

WRAPPED(void, event_queue, struct events *events, uint32_t connector)
{
	if (world_fault != FAULT_EVENT_LOST ||
	    !world.machine->connectors.list[connector].drc.removing)
		__real_event_queue(events, connector);
}

WRAPPED(void, cpus_detach, struct cpus *cpus, uint32_t first, uint32_t count)
{
	if (world_fault != FAULT_DETACH_LOST)
		__real_cpus_detach(cpus, first, count);
}

WRAPPED(void, news_tell, struct news *news, unsigned bits)
{
	if (world_fault != FAULT_NEWS_LOST)
		__real_news_tell(news, bits);
}

WRAPPED(bool, cpu_start, struct vcpu *vcpu, uint64_t pc, uint64_t r3)
{
	if (world_fault == FAULT_START_REFUSED &&
	    core_of(&world.machine->cores, vcpu)->connectors->drc.state == DRC_AVAILABLE)
		return false;
	return __real_cpu_start(vcpu, pc, r3);
}

WRAPPED(void, events_reset, struct events *events)
{
	if (world_fault != FAULT_EVENTS_KEPT)
		__real_events_reset(events);
}
