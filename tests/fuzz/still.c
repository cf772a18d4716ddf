/* SPDX-License-Identifier: Apache-2.0 */
/*
 * still.c - see still.h. The first part is cpu.c without threads, the second watches what is
 * written to guest memory, the third says what must hold, the last is a guest that does its
 * part.
 */
#include <pthread.h>
#include <sys/prctl.h>

#include "still.h"

#include "base/be.h"
#include "fake_kvm.h"
#include "spapr/hcall.h"
#include "spapr/rtas.h"
#include "spapr/tree.h"

/* --- cpu.c without threads ------------------------------------------------------------------ */

static int still_create(
    pthread_t *thread, const pthread_attr_t *attributes, void *(*function)(void *), void *vcpu);
static int still_wait(pthread_cond_t *changed, pthread_mutex_t *lock);
static int still_join(pthread_t thread, void **ret_result);

#define pthread_create still_create
#define pthread_cond_wait still_wait
#define pthread_join still_join
#include "../../src/spapr/cpu.c"
#undef pthread_create
#undef pthread_cond_wait
#undef pthread_join

bool still_has_pci;
uint32_t still_ports;
static struct spapr *machine;
static unsigned waits; /* since something last happened */

/* One turn of the loop in cpu_attend(), with the lock held. */
static void take_turn(struct vcpu *vcpu)
{
	struct err err = {0};
	bool run;

	atomic_store(&vcpu->in_guest, false);
	kvm_vcpu_unkick(vcpu->kvm);
	atomic_store(&vcpu->attention, false);
	if (!cpu_prepare(vcpu, &err))
		cpu_give_up(vcpu, &err);
	run = vcpu->state == SPAPR_VCPU_RUNNING && !cpus_held(vcpu->cpus);
	vcpu->waiting = !run;
	atomic_store(&vcpu->in_guest, run);
}

static int still_create(
    pthread_t *thread, const pthread_attr_t *attributes, void *(*function)(void *), void *argument)
{
	struct vcpu *vcpu = argument;

	(void)attributes;
	(void)function;
	*thread = (pthread_t)vcpu; /* what still_join() knows it by */
	vcpu->kvm = kvm_vcpu_create(vcpu->cpus->vm, vcpu->id, &vcpu->create_error);
	if (vcpu->kvm != NULL)
		take_turn(vcpu);
	return 0;
}

static int still_join(pthread_t thread, void **ret_result)
{
	struct vcpu *vcpu = (struct vcpu *)thread;

	(void)ret_result;
	if (vcpu->kvm != NULL)
		kvm_vcpu_destroy(vcpu->kvm);
	vcpu->kvm = NULL;
	return 0;
}

/* Whoever waits, waits for vCPUs. That each has had its turn a few times is all there can be
 * to wait for. */
static int still_wait(pthread_cond_t *changed, pthread_mutex_t *lock)
{
	(void)changed;
	(void)lock;
	FUZZ_CHECK(++waits < 4 * STILL_VCPUS && "somebody waits for ever");
	for (uint32_t i = 0; i < STILL_VCPUS; i++)
		if (machine->cpus.list[i].kvm != NULL)
			take_turn(&machine->cpus.list[i]);
	return 0;
}

void still_attend(uint32_t id)
{
	struct vcpu *vcpu = &machine->cpus.list[id];

	pthread_mutex_lock(&machine->lock);
	if (vcpu->kvm != NULL && atomic_load(&vcpu->attention))
		take_turn(vcpu);
	pthread_mutex_unlock(&machine->lock);
	still_check();
}

/* --- What may be written -------------------------------------------------------------------- */

struct range {
	uint64_t start, length;
};

static struct {
	bool watching;
	struct range results, buffer; /* of the call being made */
	bool results_written, buffer_written;
} memory;

bool __real_gmem_write(const struct gmem *gmem, uint64_t address, const void *from, size_t length);
bool __wrap_gmem_write(const struct gmem *gmem, uint64_t address, const void *from, size_t length);

FUZZ_UNSEEN static bool within(const struct range *range, uint64_t address, size_t length)
{
	return address >= range->start && address - range->start <= range->length &&
	       length <= range->length - (address - range->start);
}

/* The only way into guest memory while a guest runs. */
bool __wrap_gmem_write(const struct gmem *gmem, uint64_t address, const void *from, size_t length)
{
	if (memory.watching && length > 0) {
		bool results = within(&memory.results, address, length);

		FUZZ_CHECK(results || within(&memory.buffer, address, length));
		memory.results_written |= results;
		memory.buffer_written |= !results;
	}
	return __real_gmem_write(gmem, address, from, length);
}

static uint32_t word_at(uint64_t address)
{
	struct be32 word;

	return gmem_read(&machine->gmem, address, &word, sizeof word) ? from_be32(word) : 0;
}

/* What the guest says its RTAS call may write, read from its memory as the standard lays it
 * out: LoPAR, RTAS argument call buffer; ibm,configure-connector; check-exception. */
static void expect_writes(uint64_t block)
{
	uint32_t token = word_at(block), nargs = word_at(block + 4), nret = word_at(block + 8);
	uint64_t args = block + 12;

	if (nargs > RTAS_WORDS || nret > RTAS_WORDS - nargs)
		return;
	memory.results = (struct range){args + 4 * nargs, 4 * nret};
	if (token == rtas_token_of("ibm,configure-connector") && nargs == 2)
		memory.buffer = (struct range){(uint64_t)word_at(args) + 4, 4096 - 4};
	if (token == rtas_token_of("check-exception") && (nargs == 6 || nargs == 7))
		memory.buffer = (struct range){word_at(args + 16), word_at(args + 20)};
	if (token == rtas_token_of("ibm,get-system-parameter") && nargs == 3)
		memory.buffer = (struct range){word_at(args + 4), word_at(args + 8)};
}

/* --- What must hold -------------------------------------------------------------------------- */

/* What was seen of operations and events when it was last looked. */
enum { SEEN_MAX = 4096 };
static struct {
	uint8_t outcomes[SEEN_MAX]; /* by operation id */
	uint64_t last_id;
	uint64_t pulses;
	uint32_t queued;
	bool owed, spare;
} seen;

FUZZ_UNSEEN static void check_operation(uint64_t id, enum op_kind kind, const struct device *device)
{
	const struct operation *op = ops_find(&machine->devices.ops, id);

	FUZZ_CHECK(id == 0 || (op != NULL && op->outcome == OP_PENDING && op->kind == kind &&
	                          op->drc_index == device->connectors->drc_index));
}

/* Of any type. */
FUZZ_UNSEEN static void check_devices(void)
{
	uint32_t leaving = 0;

	for (uint32_t i = 0; i < machine->devices.count; i++) {
		const struct device *device = &machine->devices.list[i];
		uint32_t attached = 0, left = 0;

		for (uint32_t c = 0; c < device->count; c++) {
			const struct connector *connector = &device->connectors[c];

			FUZZ_CHECK(drc_valid(&connector->drc));
			FUZZ_CHECK(connector->device == device);
			FUZZ_CHECK(connector->node_depth >= 0 && connector->node_depth < 8);
			FUZZ_CHECK(connector->node_offset >= 0 &&
			           connector->node_offset <= CONNECTOR_NODE_MAX);
			attached += connector->drc.attached;
			left += connector->leaving;
		}
		FUZZ_CHECK(attached == device->attached && left == device->leaving);
		leaving += left > 0;
		if (device->type == NULL)
			continue;
		check_operation(device->add.operation, OP_ADD, device);
		check_operation(device->remove.operation, OP_REMOVE, device);
		FUZZ_CHECK((attached + left > 0) == (device->name[0] != '\0'));
	}
	FUZZ_CHECK(leaving == machine->devices.leaving);
}

FUZZ_UNSEEN static void check_cores(void)
{
	for (uint32_t i = 0; i < STILL_CORES; i++) {
		const struct device *core = &machine->devices.list[i];

		FUZZ_CHECK(core->connectors->drc.adding == (core->add.operation != 0));
		FUZZ_CHECK(core->connectors->drc.removing == (core->remove.operation != 0));
		for (uint32_t t = 0; t < STILL_THREADS; t++) {
			enum spapr_vcpu_state state = machine->cpus.list[core->unit + t].state;
			bool here = state == SPAPR_VCPU_STOPPED || state == SPAPR_VCPU_RUNNING;

			FUZZ_CHECK(!here || core->connectors->drc.attached);
			FUZZ_CHECK(state != SPAPR_VCPU_ABSENT || !core->connectors->drc.attached);
		}
	}
}

/* Each operation is pending, and some device's, or has ended, once and for good. */
FUZZ_UNSEEN static void check_operations(void)
{
	uint32_t of_guest = 0, pending = 0, held_by_devices = 0;

	for (uint32_t i = 0; i < machine->devices.count; i++)
		held_by_devices += (machine->devices.list[i].add.operation != 0 ? 1u : 0u) +
		                   (machine->devices.list[i].remove.operation != 0 ? 1u : 0u);
	for (size_t i = 0; i < STILL_OPERATIONS; i++) {
		const struct operation *op = &machine->devices.operations[i];

		if (op->id == 0)
			continue;
		of_guest += op->kind == OP_RELEASE || op->kind == OP_TAKE;
		pending += op->outcome == OP_PENDING;
		FUZZ_CHECK((op->outcome == OP_PENDING) == (op->steps[OP_ENDED].order == 0));
		FUZZ_CHECK((op->outcome == OP_PENDING) == (op->evidence.source == OP_BY_NOBODY));
		if (op->id >= SEEN_MAX)
			continue;
		FUZZ_CHECK(
		    seen.outcomes[op->id] == OP_PENDING || seen.outcomes[op->id] == op->outcome);
		seen.outcomes[op->id] = (uint8_t)op->outcome;
	}
	FUZZ_CHECK(pending == held_by_devices);
	FUZZ_CHECK(of_guest <= STILL_OPERATIONS / 4);
	FUZZ_CHECK(machine->devices.ops.last_id >= seen.last_id);
	seen.last_id = machine->devices.ops.last_id;
}

/* Each connector is queued at most once. What is new at the head of the queue has its interrupt,
 * unless KVM has refused it; and there is none for nothing. One for what is not new, but asked for
 * again, has a spare event. */
FUZZ_UNSEEN static void check_events(void)
{
	uint64_t pulses = fake_irq_pulses(IRQ_HOTPLUG);
	uint32_t flagged = 0;

	for (uint32_t i = 0; i <= machine->events.fence; i++)
		flagged += machine->events.queued[i];
	FUZZ_CHECK(flagged == machine->events.count);
	for (uint32_t i = 0; i < machine->events.count; i++)
		FUZZ_CHECK(machine->events.queued[machine->events.queue[i]]);
	if (pulses != seen.pulses)
		FUZZ_CHECK(machine->events.count > 0 && (machine->events.count != seen.queued ||
		                                            seen.owed || machine->events.spare));
	if (machine->events.spare && !seen.spare)
		FUZZ_CHECK(machine->events.count > 0 && pulses > seen.pulses);
	if (machine->events.count > 0 && !machine->events.interrupt_owed &&
	    (seen.queued == 0 || machine->events.count < seen.queued))
		FUZZ_CHECK(pulses > seen.pulses);
	seen.pulses = pulses;
	seen.queued = machine->events.count;
	seen.owed = machine->events.interrupt_owed;
	seen.spare = machine->events.spare;
}

FUZZ_UNSEEN void still_check(void)
{
	waits = 0;
	FUZZ_CHECK(pthread_mutex_trylock(&machine->lock) == 0); /* nobody has kept it */
	check_devices();
	check_cores();
	check_operations();
	check_events();
	FUZZ_CHECK(machine->cpus.failure.class == ERR_NONE || machine->cpus.finished);
	pthread_mutex_unlock(&machine->lock);
}

/* --- Calls ------------------------------------------------------------------------------------ */

/* Statuses with which a service has done something; all others write nothing but themselves. */
static bool may_have_written(int32_t status)
{
	return status >= 0 && status <= 5;
}

static void return_to_guest(struct vcpu *vcpu)
{
	atomic_store(&vcpu->in_guest, true);
	pthread_mutex_lock(&machine->lock);
	if (atomic_load(&vcpu->attention))
		take_turn(vcpu);
	pthread_mutex_unlock(&machine->lock);
	still_check();
}

bool still_call(uint32_t id, struct kvm_hcall *call)
{
	struct vcpu *vcpu = &machine->cpus.list[id % STILL_VCPUS];
	bool rtas = call->nr == HCALL_RTAS;

	if (vcpu->kvm == NULL || vcpu->waiting)
		return false;
	atomic_store(&vcpu->in_guest, false);
	memset(&memory, 0, sizeof memory);
	if (rtas)
		expect_writes(call->args[0] & UINT32_MAX);
	memory.watching = true;
	hcall_dispatch(vcpu, call);
	memory.watching = false;
	FUZZ_CHECK(rtas || !memory.results_written);
	FUZZ_CHECK(call->ret == (uint64_t)H_SUCCESS || !memory.buffer_written);
	if (memory.buffer_written && memory.results.length > 0)
		FUZZ_CHECK(may_have_written((int32_t)word_at(memory.results.start)));
	return_to_guest(vcpu);
	return true;
}

bool still_access(uint32_t id, uint64_t address, uint8_t *data, uint32_t length, bool write)
{
	struct vcpu *vcpu = &machine->cpus.list[id % STILL_VCPUS];

	if (vcpu->kvm == NULL || vcpu->waiting)
		return false;
	atomic_store(&vcpu->in_guest, false);
	memset(&memory, 0, sizeof memory);
	vcpu->exit.mmio.address = address;
	vcpu->exit.mmio.length = length, vcpu->exit.mmio.write = write;
	memcpy(vcpu->exit.mmio.data, data, length);
	memory.watching = true; /* it writes nothing */
	cpu_handle_mmio(vcpu);
	memory.watching = false;
	memcpy(data, vcpu->exit.mmio.data, length);
	return_to_guest(vcpu);
	return true;
}

#define BLOCK_BASE 0x8000u
#define BLOCK_BYTES 0x100u

int32_t still_rtas(uint32_t id, const char *service, const uint32_t *args, uint32_t nargs,
    uint32_t nret, uint32_t *ret_results)
{
	uint32_t block = BLOCK_BASE + id % STILL_VCPUS * BLOCK_BYTES;
	struct kvm_hcall call = {.nr = HCALL_RTAS, .args = {block}};
	struct be32 words[3 + RTAS_WORDS] = {be32(rtas_token_of(service)), be32(nargs), be32(nret)};
	bool made = false;

	for (uint32_t i = 0; i < nargs; i++)
		words[3 + i] = be32(args[i]);
	FUZZ_CHECK(gmem_write(&machine->gmem, block, words, sizeof words));
	for (uint32_t i = 0; i < STILL_VCPUS && !made; i++)
		made = still_call(id + i, &call);
	if (!made)
		return RTAS_HARDWARE_ERROR;
	FUZZ_CHECK(call.ret == (uint64_t)H_SUCCESS);
	for (uint32_t i = 1; ret_results != NULL && i < nret; i++)
		ret_results[i - 1] = word_at(block + 12 + 4 * (nargs + i));
	return (int32_t)word_at(block + 12 + 4 * nargs);
}

/* --- The device tree, built once ---------------------------------------------------------------
 *
 * It is most of the work of a boot, and nothing a guest or a client says goes into it. So the first
 * is used again; which cores it names is for tests/unit/test_tree.c to judge.
 */

void *__real_tree_build(struct spapr *of, size_t *ret_length, struct err *err);
void *__wrap_tree_build(struct spapr *of, size_t *ret_length, struct err *err);

void *__wrap_tree_build(struct spapr *of, size_t *ret_length, struct err *err)
{
	static void *first;
	static size_t length;
	void *copy;

	if (first == NULL)
		first = __real_tree_build(of, &length, err);
	copy = malloc(length);
	FUZZ_CHECK(first != NULL && copy != NULL);
	*ret_length = length;
	return memcpy(copy, first, length);
}

/* --- The machine, and its way back to the start ------------------------------------------------
 */

static bool load(void *context, const struct gmem *gmem, const struct spapr_layout *layout,
    struct spapr_image *ret_image, struct err *err)
{
	(void)context;
	(void)gmem;
	(void)layout;
	(void)err;
	*ret_image = (struct spapr_image){.entry = 0x400, .end = 64 << 10};
	return true;
}

static void wake(void *context)
{
	(void)context;
}

static void create(void)
{
	const struct spapr_config config = {.memory_bytes = STILL_MEMORY_BYTES,
	    .max_memory_bytes = STILL_BLOCKS * SPAPR_LMB_BYTES,
	    .threads = STILL_THREADS,
	    .boot_cpus = STILL_THREADS,
	    .max_cpus = STILL_VCPUS,
	    .bootargs = "console=hvc0",
	    .unplug_deadline_ms = 3600 * 1000,
	    .pci = still_has_pci,
	    .pci_ports = still_ports,
	    .load = load,
	    .wake = wake};
	struct err err = {0};

	/* Each input touches a few pages: a huge one would be cleared for each. */
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	log_level = LOG_ERROR;
	machine = spapr_create(&config, &err);
	FUZZ_CHECK(machine != NULL);
}

static void forget_memory(struct device *device)
{
	for (uint32_t c = 0; c < device->count; c++)
		if (device->connectors[c].drc.attached || device->connectors[c].leaving)
			device->type->release(device, &device->connectors[c]);
	device_destroy(device);
}

/* What a reset leaves as it was, because it is to outlive one. */
static void forget(void)
{
	for (int i = 0; i < FAKE_CALL_COUNT; i++)
		fake_fail_next((enum fake_call)i, 0);
	machine->cpus.stopped = false;
	machine->cpus.timebase_offset = 0;
	for (uint32_t i = 0; i < STILL_CORES; i++) {
		struct device *core = &machine->devices.list[i];

		core->connectors->drc =
		    i == 0 ? (struct drc){.attached = true, .state = DRC_CONFIGURED}
		           : (struct drc){0};
		core->add = core->remove = (struct device_request){0};
		core->connectors->awaited = 0;
		core->connectors->leaving = false;
		core->connectors->fetched = core->connectors->fence_due_ms = 0;
		core->attached = i == 0;
		core->leaving = 0;
		for (uint32_t t = 0; t < STILL_THREADS; t++)
			machine->cpus.list[core->unit + t].present = i == 0;
		core->connectors->node_offset = core->connectors->node_depth = 0;
		core->connectors->history_next = 0;
		snprintf(core->name, sizeof core->name, "%s", i == 0 ? "core0" : "");
	}
	for (uint32_t i = STILL_CORES; i < machine->devices.count; i++)
		forget_memory(&machine->devices.list[i]);
	machine->devices.leaving = 0;
	machine->devices.count = STILL_CORES;
	memset(machine->devices.operations, 0,
	    STILL_OPERATIONS * sizeof machine->devices.operations[0]);
	ops_init(&machine->devices.ops, machine->devices.operations, STILL_OPERATIONS);
	machine->events.fetched = 0;
	fence_init(&machine->fence, &machine->events, machine->fence.blocks);
	machine->event_log_id = 0;
	machine->clock_offset_s = 0;
	machine->panic_text[0] = '\0';
	machine->vty.out_head = machine->vty.out_tail = 0;
	machine->vty.in_head = machine->vty.in_tail = 0;
	machine->config.unplug_deadline_ms = 3600 * 1000;
	for (size_t i = 0; i < COUNT_COUNTERS; i++)
		atomic_store(&machine->news.counts[i], 0);
	memset(&seen, 0, sizeof seen);
	seen.pulses = fake_irq_pulses(IRQ_HOTPLUG);
}

struct spapr *still_fresh(void)
{
	struct err err = {0};

	if (machine == NULL)
		create();
	forget();
	waits = 0;
	FUZZ_CHECK(spapr_boot(machine, &err));
	still_attend(0);
	spapr_take_news(machine);
	return machine;
}

/* --- A guest that does its part ------------------------------------------------------------------
 */

static uint32_t set_indicator(uint32_t indicator, const struct device *core, uint32_t value)
{
	const uint32_t args[] = {indicator, core->connectors->drc_index, value};

	return (uint32_t)still_rtas(0, "set-indicator", args, 3, 1, NULL);
}

static void fetch_event(void)
{
	const uint32_t args[] = {0x500, IRQ_HOTPLUG, EVENT_MASK_HOTPLUG, 1, 0x9000, 2048};

	FUZZ_CHECK(still_rtas(0, "check-exception", args, 6, 1, NULL) == RTAS_SUCCESS);
}

static void configure(const struct device *core)
{
	const uint32_t args[] = {0xa000, 0};
	struct be32 head[2] = {be32(core->connectors->drc_index), be32(0)};
	int32_t answer = 1;

	FUZZ_CHECK(gmem_write(&machine->gmem, 0xa000, head, sizeof head));
	for (unsigned calls = 0; answer > 0 && calls < 64; calls++)
		answer = still_rtas(0, "ibm,configure-connector", args, 2, 1, NULL);
	FUZZ_CHECK(answer == 0);
}

static void start(const struct device *core)
{
	const uint32_t args[] = {core->unit, 0x60, core->unit};

	FUZZ_CHECK(still_rtas(0, "start-cpu", args, 3, 1, NULL) == RTAS_SUCCESS);
}

static enum op_outcome outcome_of(uint64_t id)
{
	const struct operation *op = ops_find(&machine->devices.ops, id);

	FUZZ_CHECK(op != NULL);
	return op->outcome;
}

FUZZ_UNSEEN static void drain(void)
{
	struct operation op;
	enum op_step step;
	uint64_t order = 0;

	while (spapr_next_report(machine, true, &op, &step)) {
		FUZZ_CHECK(op.steps[step].order > order);
		order = op.steps[step].order;
	}
}

void still_prove_alive(void)
{
	struct device *core = &machine->devices.list[STILL_CORES - 1];
	struct err err = {0};
	uint64_t id = 0;

	for (int i = 0; i < FAKE_CALL_COUNT; i++)
		fake_fail_next((enum fake_call)i, 0);
	spapr_cont(machine);
	FUZZ_CHECK(spapr_boot(machine, &err));
	seen.queued = 0;
	still_check();
	still_attend(0);
	drain();
	for (size_t i = 0; i < STILL_OPERATIONS; i++)
		FUZZ_CHECK(machine->devices.operations[i].id == 0 ||
		           machine->devices.operations[i].outcome != OP_PENDING);
	if (!core->connectors->drc.attached) {
		FUZZ_CHECK(spapr_core_add(machine, core->unit, "last", &id, &err));
		still_check();
		fetch_event();
		FUZZ_CHECK(set_indicator(9003, core, 1) == RTAS_SUCCESS);
		FUZZ_CHECK(set_indicator(9001, core, 1) == RTAS_SUCCESS);
		configure(core);
		FUZZ_CHECK(outcome_of(id) == OP_PENDING);
		start(core);
		FUZZ_CHECK(outcome_of(id) == OP_DONE);
		drain();
	}
	FUZZ_CHECK(spapr_device_remove(machine, core->name, &id, &err));
	still_check();
	fetch_event();
	FUZZ_CHECK(set_indicator(9001, core, 0) == RTAS_SUCCESS);
	FUZZ_CHECK(set_indicator(9003, core, 0) == RTAS_SUCCESS);
	FUZZ_CHECK(outcome_of(id) == OP_DONE && !core->connectors->drc.attached);
}
