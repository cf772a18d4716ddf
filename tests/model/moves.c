/* SPDX-License-Identifier: Apache-2.0 */
/* moves.c - see world.h: what guest, operator, vCPU threads, time and KVM may do next, and doing
 * it. A guest's call goes the whole way, from an argument block in guest memory to its results. */
#include <stdio.h>
#include <string.h>

#include "base/be.h"
#include "spapr/hcall.h"
#include "spapr/rtas.h"
#include "world.h"

#define BLOCK 0x1000u
#define BUFFER 0x2000u
#define WORK 0x3000u
#define NOT_IN_RAM 0xffff0000u

#define H_REGISTER_PROC_TBL 0x37c
#define PROC_TABLE_NEW_RADIX 0x1c

enum { BEYOND = 64 }; /* the index of no connector, by so much beyond a core's */

const struct world_indicator world_indicators[] = {
    {9001, 0, 0, DRC_IN_ISOLATE},
    {9001, 1, 0, DRC_IN_UNISOLATE},
    {9003, 0, 0, DRC_IN_UNUSABLE},
    {9003, 1, 0, DRC_IN_USABLE},
    {9001, 2, 0, -1},
    {9003, 2, 0, -1}, /* exchange: not for logical connectors */
    {9002, 1, 0, -1}, /* dr-indicator */
    {9001, 0, BEYOND, -1},
};
const size_t world_indicator_count = sizeof world_indicators / sizeof world_indicators[0];

static const char *const move_names[MOVE_KINDS] = {
    [GUEST_INDICATOR] = "set-indicator",
    [GUEST_SENSE] = "get-sensor-state",
    [GUEST_CONFIGURE_FIRST] = "configure-connector, from the start",
    [GUEST_CONFIGURE_NEXT] = "configure-connector, next",
    [GUEST_CONFIGURE_BAD] = "configure-connector, no work area",
    [GUEST_START] = "start-cpu",
    [GUEST_QUERY] = "query-cpu-stopped-state",
    [GUEST_STOP_SELF] = "stop-self",
    [GUEST_FETCH] = "check-exception",
    [GUEST_FETCH_BAD] = "check-exception, no buffer",
    [GUEST_FETCH_SHUTDOWN] = "check-exception for EPOW",
    [GUEST_POWER_OFF] = "power-off",
    [GUEST_FENCE] = "get-sensor-state of a boot block",
    [GUEST_NEW_KERNEL] = "a kernel begins",
    [VCPU_ATTEND] = "the thread attends",
    [VCPU_ATTEND_FAILS] = "the thread attends, KVM fails",
    [OPERATOR_ADD] = "device_add",
    [OPERATOR_ADD_TWIN] = "device_add under another's name",
    [OPERATOR_ADD_FAILS] = "device_add, KVM makes no vCPU",
    [OPERATOR_REMOVE] = "device_del",
    [OPERATOR_REMOVE_NOTHING] = "device_del of nothing",
    [OPERATOR_CANCEL] = "operation-cancel",
    [OPERATOR_CANCEL_ENDED] = "operation-cancel of one that has ended",
    [OPERATOR_RESET] = "system_reset",
    [OPERATOR_RESET_FAILS] = "system_reset, no kernel",
    [OPERATOR_POWERDOWN] = "system_powerdown",
    [OPERATOR_STOP] = "stop",
    [OPERATOR_CONT] = "cont",
    [OPERATOR_REPORT] = "reports are fetched",
    [OPERATOR_RELEASE] = "what left is released",
    [OPERATOR_SETTLE] = "quit",
    [DEADLINE_PASSES] = "the deadline passes",
    [TIME_PASSES] = "time passes",
    [KVM_REFUSES] = "KVM will refuse the next interrupt",
};

void world_describe(struct move move, char *to, size_t size)
{
	const struct world_indicator *row = &world_indicators[move.argument];

	if (move.kind == GUEST_INDICATOR)
		snprintf(to, size, "vCPU %u: set-indicator %u = %u, core %u%s", move.vcpu,
		    row->indicator, row->value, move.core,
		    row->index_offset ? " and far beyond" : "");
	else if (move.kind <= VCPU_ATTEND_FAILS)
		snprintf(to, size, "vCPU %u: %s, core %u, argument %u", move.vcpu,
		    move_names[move.kind], move.core, move.argument);
	else
		snprintf(to, size, "%s, core %u, argument %u", move_names[move.kind], move.core,
		    move.argument);
}

/* --- What is possible ----------------------------------------------------------------------- */

struct list {
	struct move *moves;
	size_t count;
};

static void offer(
    struct list *list, enum move_kind kind, uint32_t vcpu, uint32_t core, uint32_t argument)
{
	list->moves[list->count++] =
	    (struct move){(uint8_t)kind, (uint8_t)vcpu, (uint8_t)core, (uint8_t)argument};
}

static uint64_t pending(const struct device *core, uint32_t argument)
{
	return argument == 0 ? core->add.operation : core->remove.operation;
}

static bool starts(uint32_t core)
{
	return core < world.config->first_core ? world.config->boot_starts : world.config->starts;
}

static void offer_guest(struct list *list, uint32_t vcpu)
{
	const struct world_config *config = world.config;

	for (uint32_t core = config->first_core; core < config->cores; core++) {
		for (uint32_t i = 0; i < world_indicator_count; i++)
			offer(list, GUEST_INDICATOR, vcpu, core, i);
		offer(list, GUEST_SENSE, vcpu, core, 0);
		offer(list, GUEST_CONFIGURE_FIRST, vcpu, core, 0);
		if (!config->whole_walks)
			offer(list, GUEST_CONFIGURE_NEXT, vcpu, core, 0);
		offer(list, GUEST_CONFIGURE_BAD, vcpu, core, 0);
	}
	for (uint32_t core = 0; core < config->cores; core++)
		for (uint32_t thread = 0; starts(core) && thread < config->threads; thread++) {
			offer(list, GUEST_START, vcpu, core, thread);
			offer(list, GUEST_QUERY, vcpu, core, thread);
		}
	offer(list, GUEST_FETCH, vcpu, 0, 0);
	offer(list, GUEST_FETCH_BAD, vcpu, 0, 0);
	if (config->fences) {
		offer(list, GUEST_FENCE, vcpu, 0, BLOCK_OF_FENCE);
		offer(list, GUEST_FENCE, vcpu, 0, BLOCK_OTHER);
		offer(list, GUEST_NEW_KERNEL, vcpu, 0, 0);
	}
	if (config->halts)
		offer(list, GUEST_FETCH_SHUTDOWN, vcpu, 0, 0);
	if (config->halts)
		offer(list, GUEST_POWER_OFF, vcpu, 0, 0);
}

static void offer_operator(struct list *list)
{
	const struct world_config *config = world.config;

	for (uint32_t i = config->first_core;
	     i<config->cores; i += config->group> 1 ? config->group : 1) {
		const struct device *core = world.machine->connectors.list[i].device;

		offer(list, OPERATOR_ADD, 0, i, 0);
		offer(list, OPERATOR_ADD_TWIN, 0, i, 0);
		if (config->faults && !world.machine->cpus.list[core->unit].has_thread)
			offer(list, OPERATOR_ADD_FAILS, 0, i, 0);
		offer(list, OPERATOR_REMOVE, 0, i, 0);
		for (uint32_t which = 0; which < 2; which++) {
			uint64_t id = pending(core, which);

			if (id != 0)
				offer(list, OPERATOR_CANCEL, 0, i, which);
			if (id != 0 && !ops_find(&world.machine->devices.ops, id)->unresolved)
				offer(list, DEADLINE_PASSES, 0, i, which);
		}
	}
	if (config->late_release)
		offer(list, OPERATOR_RELEASE, 0, 0, 0);
	for (uint32_t delay = config->group != 0 ? DELAY_NONE : DELAY_SECOND;
	     config->fences && delay <= DELAY_LOST; delay++)
		offer(list, TIME_PASSES, 0, 0, delay);
	offer(list, OPERATOR_REMOVE_NOTHING, 0, 0, 0);
	offer(list, OPERATOR_CANCEL_ENDED, 0, 0, 0);
	offer(list, OPERATOR_RESET, 0, 0, 0);
	offer(list, OPERATOR_SETTLE, 0, 0, 0);
	if (config->faults)
		offer(list, OPERATOR_RESET_FAILS, 0, 0, 0);
	if (config->halts) {
		offer(list, OPERATOR_POWERDOWN, 0, 0, 0);
		offer(list, OPERATOR_STOP, 0, 0, 0);
		offer(list, OPERATOR_CONT, 0, 0, 0);
	}
	if (config->late_reports)
		offer(list, OPERATOR_REPORT, 0, 0, 0);
	if (config->faults && !world.ghost.kvm_refuses)
		offer(list, KVM_REFUSES, 0, 0, 0);
}

size_t world_moves(struct move moves[WORLD_MOVES_MAX])
{
	bool held = world.machine->cpus.stopped || world.machine->cpus.finished;
	struct list list = {moves, 0};
	bool offered = false;

	for (uint32_t i = 0; i < world.machine->config.max_cpus; i++) {
		const struct vcpu *vcpu = &world.machine->cpus.list[i];

		if (world.ghost.may_call[i]) {
			if (!offered || world.config->any_caller)
				offer_guest(&list, i);
			offered = true;
			if (starts(vcpu->id / world.config->threads))
				offer(
				    &list, GUEST_STOP_SELF, i, vcpu->id / world.config->threads, 0);
		}
		if (vcpu->has_thread && vcpu->attention)
			offer(&list, VCPU_ATTEND, i, vcpu->id / world.config->threads, 0);
		if (vcpu->has_thread && world.config->faults && vcpu->attention &&
		    (vcpu->park_needed || (vcpu->entry_set && !held)))
			offer(&list, VCPU_ATTEND_FAILS, i, vcpu->id / world.config->threads, 0);
	}
	offer_operator(&list);
	return list.count;
}

bool world_possible(struct move move)
{
	struct move moves[WORLD_MOVES_MAX];
	size_t count = world_moves(moves);

	for (size_t i = 0; i < count; i++)
		if (memcmp(&moves[i], &move, sizeof move) == 0)
			return true;
	return false;
}

/* --- The guest ------------------------------------------------------------------------------ */

static void poke(uint64_t address, const void *from, size_t length)
{
	if (!gmem_write(&world.machine->gmem, address, from, length))
		broken("%#llx is not in RAM", (unsigned long long)address);
}

static void peek(uint64_t address, void *to, size_t length)
{
	if (!gmem_read(&world.machine->gmem, address, to, length))
		broken("%#llx is not in RAM", (unsigned long long)address);
}

static void call(struct answer *answer, uint32_t vcpu, const char *service, uint32_t nargs,
    const uint32_t *args, uint32_t nret)
{
	struct be32 words[3 + RTAS_WORDS] = {be32(rtas_token_of(service)), be32(nargs), be32(nret)};
	struct kvm_hcall hcall = {.nr = HCALL_RTAS, .args = {BLOCK}};

	for (uint32_t i = 0; i < nargs; i++)
		words[3 + i] = be32(args[i]);
	poke(BLOCK, words, sizeof words);
	hcall_dispatch(&world.machine->cpus.list[vcpu], &hcall);
	if (hcall.ret != H_SUCCESS)
		broken("the RTAS call itself is refused");
	peek(BLOCK, words, sizeof words);
	answer->status = (int32_t)from_be32(words[3 + nargs]);
	answer->output = nret > 1 ? from_be32(words[3 + nargs + 1]) : 0;
	/* It was asked to leave meanwhile, or by this call: this was its last for now. */
	world.ghost.may_call[vcpu] = !world.machine->cpus.list[vcpu].attention;
}

#define CALL(answer, vcpu, service, nret, ...)                                                     \
	call(answer, vcpu, service, sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t),          \
	    (uint32_t[]){__VA_ARGS__}, nret)

static void configure(struct answer *answer, struct move move)
{
	struct be32 head[2] = {be32(world.machine->connectors.list[move.core].drc_index),
	    be32(move.kind == GUEST_CONFIGURE_NEXT)};

	poke(WORK, head, sizeof head);
	CALL(answer, move.vcpu, "ibm,configure-connector", 1,
	    move.kind == GUEST_CONFIGURE_BAD ? NOT_IN_RAM : WORK, 0);
	while (world.config->whole_walks && answer->status > 0)
		CALL(answer, move.vcpu, "ibm,configure-connector", 1, WORK, 0);
}

static void sense_block(struct answer *answer, struct move move)
{
	const struct fence *fence = &world.machine->fence;
	uint32_t number = fence->index - fence->first_index;

	if (move.argument == BLOCK_OTHER)
		number = (number + 1) % fence->blocks;
	CALL(answer, move.vcpu, "get-sensor-state", 2, 9003, fence->first_index + number);
}

/* It registers its process table. */
static void begin_kernel(struct answer *answer, struct move move)
{
	struct kvm_hcall hcall = {
	    .nr = H_REGISTER_PROC_TBL, .args = {PROC_TABLE_NEW_RADIX, 0x10000}};

	hcall_dispatch(&world.machine->cpus.list[move.vcpu], &hcall);
	answer->status = (int32_t)hcall.ret;
	world.ghost.may_call[move.vcpu] = !world.machine->cpus.list[move.vcpu].attention;
}

static void fetch(struct answer *answer, struct move move)
{
	bool signalled = world.ghost.signalled;
	struct be32 index;

	world.ghost.signalled = false;
	CALL(answer, move.vcpu, "check-exception", 1, 0x500, IRQ_HOTPLUG,
	    move.kind == GUEST_FETCH_SHUTDOWN ? EVENT_MASK_EPOW : EVENT_MASK_HOTPLUG, 0,
	    move.kind == GUEST_FETCH_BAD ? NOT_IN_RAM : BUFFER, EVENT_LOG_BYTES);
	if (answer->status != 0 || move.kind == GUEST_FETCH_SHUTDOWN)
		world.ghost.signalled = signalled;
	peek(BUFFER, world.log, sizeof world.log);
	memcpy(&index, world.log + 108, sizeof index);
	answer->event_core = from_be32(index);
	answer->event_action = world.log[105];
}

static void make_guest_move(struct answer *answer, struct move move)
{
	const struct world_indicator *row = &world_indicators[move.argument];
	struct device *core = world.machine->connectors.list[move.core].device;
	uint32_t thread = core->unit + move.argument;

	switch ((enum move_kind)move.kind) {
	case GUEST_INDICATOR:
		CALL(answer, move.vcpu, "set-indicator", 1, row->indicator,
		    world.machine->connectors.list[move.core].drc_index + row->index_offset,
		    row->value);
		break;
	case GUEST_SENSE:
		CALL(answer, move.vcpu, "get-sensor-state", 2, 9003,
		    world.machine->connectors.list[move.core].drc_index);
		break;
	case GUEST_START: CALL(answer, move.vcpu, "start-cpu", 1, thread, 0x60, thread); break;
	case GUEST_QUERY: CALL(answer, move.vcpu, "query-cpu-stopped-state", 2, thread); break;
	case GUEST_STOP_SELF: call(answer, move.vcpu, "stop-self", 0, NULL, 1); break;
	case GUEST_POWER_OFF: CALL(answer, move.vcpu, "power-off", 1, 0, 0); break;
	case GUEST_FETCH:
	case GUEST_FETCH_BAD:
	case GUEST_FETCH_SHUTDOWN: fetch(answer, move); break;
	case GUEST_FENCE: sense_block(answer, move); break;
	case GUEST_NEW_KERNEL: begin_kernel(answer, move); break;
	default: configure(answer, move); break;
	}
}

/* --- The operator --------------------------------------------------------------------------- */

static const char *name_of(uint32_t core)
{
	static const char *const names[WORLD_CORES] = {"core0", "first", "second"};

	return names[core];
}

static void add(struct answer *answer, struct move move)
{
	uint32_t id = world.machine->connectors.list[move.core].device->unit;
	/* Core 0 is always there. */
	const char *name = move.kind == OPERATOR_ADD_TWIN ? "core0" : name_of(move.core);

	world.kvm_fails = move.kind == OPERATOR_ADD_FAILS;
	answer->accepted =
	    world.config->group != 0
	        ? device_add(&world.machine->devices,
	              world.machine->connectors.list[move.core].device, name, &answer->operation,
	              &answer->err)
	        : spapr_core_add(world.machine, id, name, &answer->operation, &answer->err);
}

/* This operation has been asked for so long ago, none other. The loop looks at deadlines and
 * reports what there is in one go (report_all() in src/vmm/vmm.c). */
static void pass_deadline(uint64_t id)
{
	struct operation *op = ops_find(&world.machine->devices.ops, id);
	uint64_t asked_ms = op->asked_ms;

	op->asked_ms -= world.machine->config.unplug_deadline_ms;
	spapr_check_deadline(world.machine);
	op->asked_ms = asked_ms;
	oracle_report();
}

/* The loop looks whether a fence is due, so much later. The next move is made at the old time. */
static void pass_time(enum world_delay delay)
{
	static const uint64_t later_ms[] = {
	    [DELAY_NONE] = 0, [DELAY_SECOND] = 1000, [DELAY_LOST] = 11000};

	world.later_ms = later_ms[delay];
	spapr_check_deadline(world.machine);
	world.later_ms = 0;
}

static uint64_t some_ended(void)
{
	for (size_t i = 0; i < world.machine->devices.ops.count; i++)
		if (world.machine->devices.operations[i].outcome != OP_PENDING)
			return world.machine->devices.operations[i].id;
	return world.machine->devices.ops.last_id + 1;
}

static void make_operator_move(struct answer *answer, struct move move)
{
	struct spapr *machine = world.machine;
	struct device *core = machine->connectors.list[move.core].device;

	answer->accepted = true;
	switch ((enum move_kind)move.kind) {
	case OPERATOR_ADD:
	case OPERATOR_ADD_TWIN:
	case OPERATOR_ADD_FAILS: add(answer, move); break;
	case OPERATOR_REMOVE:
		answer->accepted = spapr_device_remove(
		    machine, name_of(move.core), &answer->operation, &answer->err);
		break;
	case OPERATOR_REMOVE_NOTHING:
		answer->accepted =
		    spapr_device_remove(machine, "nothing", &answer->operation, &answer->err);
		break;
	case OPERATOR_CANCEL:
		answer->accepted =
		    spapr_operation_cancel(machine, pending(core, move.argument), &answer->err);
		break;
	case OPERATOR_CANCEL_ENDED:
		answer->accepted = spapr_operation_cancel(machine, some_ended(), &answer->err);
		break;
	case OPERATOR_RESET:
	case OPERATOR_RESET_FAILS:
		world.load_fails = move.kind == OPERATOR_RESET_FAILS;
		answer->accepted = spapr_boot(machine, &answer->err);
		break;
	case OPERATOR_POWERDOWN: spapr_powerdown(machine); break;
	case OPERATOR_STOP: spapr_stop(machine); break;
	case OPERATOR_CONT: spapr_cont(machine); break;
	case OPERATOR_SETTLE: spapr_settle(machine); break;
	case OPERATOR_RELEASE: devices_release(&machine->devices); break;
	case OPERATOR_REPORT: oracle_report(); break;
	case DEADLINE_PASSES: pass_deadline(pending(core, move.argument)); break;
	case TIME_PASSES: pass_time((enum world_delay)move.argument); break;
	case KVM_REFUSES: world.ghost.kvm_refuses = true; break;
	default: break;
	}
}

struct answer world_make(struct move move)
{
	struct answer answer = {0};

	world.pulses = 0;
	world.kvm_fails = move.kind == VCPU_ATTEND_FAILS;
	world.load_fails = false;
	if (move.kind == VCPU_ATTEND || move.kind == VCPU_ATTEND_FAILS)
		world_attend(&world.machine->cpus.list[move.vcpu]);
	else if (move.kind < VCPU_ATTEND)
		make_guest_move(&answer, move);
	else
		make_operator_move(&answer, move);
	/* The operator's thread comes at once. */
	if (world.config->group != 0 && !world.config->late_release)
		devices_release(&world.machine->devices);
	world.kvm_fails = world.load_fails = false;
	return answer;
}
