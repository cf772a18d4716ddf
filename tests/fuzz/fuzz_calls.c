/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_calls.c - sequences: what the guest's vCPUs call, what the operator asks for, and what
 * the host refuses, in any order.
 *
 * Input: a step is a byte that chooses a row of `steps` and a byte with what it is about; more
 * bytes where a step wants them. Behind the last step the machine must still be able to do its
 * work: still_prove_alive().
 */
#include "spapr/device_fence.h"
#include "still.h"

#include "base/be.h"
#include "fake_kvm.h"
#include "spapr/hcall.h"
#include "spapr/rtas.h"

enum { STEPS_MAX = 200, WORK_AREA = 0xb000, LOG_BUFFER = 0x9000 };

static struct spapr *machine;

static struct device *core_about(uint8_t about)
{
	return &machine->devices.list[about % STILL_CORES];
}

static uint32_t vcpu_of(uint8_t about)
{
	return about / STILL_CORES % STILL_VCPUS;
}

/* --- The guest ------------------------------------------------------------------------------ */

static void set_indicator(struct input *input, uint8_t about)
{
	static const uint32_t pairs[][2] = {{9001, 0}, {9001, 1}, {9003, 0}, {9003, 1}, {9002, 1}};
	const uint32_t *pair = pairs[input_take(input, 1) % 5];
	const uint32_t args[] = {pair[0], core_about(about)->connectors->drc_index, pair[1]};

	still_rtas(vcpu_of(about), "set-indicator", args, 3, 1, NULL);
}

static void get_sensor(struct input *input, uint8_t about)
{
	const uint32_t args[] = {9003, core_about(about)->connectors->drc_index};
	uint32_t state = 0;

	(void)input;
	if (still_rtas(vcpu_of(about), "get-sensor-state", args, 2, 2, &state) == RTAS_SUCCESS)
		FUZZ_CHECK(
		    state == (uint32_t)drc_type_cpu.sense(&core_about(about)->connectors->drc));
}

/* One step of a walk, or all of it: which must end. */
static void configure(struct input *input, uint8_t about)
{
	uint32_t area = WORK_AREA + about % STILL_CORES * 4096u;
	const uint32_t args[] = {area, 0};
	uint8_t how = (uint8_t)input_take(input, 1);
	struct be32 head[2] = {be32(core_about(about)->connectors->drc_index), be32(0)};
	int32_t answer = 1;
	unsigned calls = 0;

	/* From the start, or on with whatever there is. */
	FUZZ_CHECK(gmem_write(&machine->gmem, area, head, how & 1 ? 4 : 8));
	do
		answer = still_rtas(vcpu_of(about), "ibm,configure-connector", args, 2, 1, NULL);
	while ((how & 2) != 0 && answer > 0 && ++calls < 100);
	FUZZ_CHECK(calls < 100);
}

static void start_cpu(struct input *input, uint8_t about)
{
	const uint32_t args[] = {(uint32_t)input_take(input, 1) % (STILL_VCPUS + 1), 0x60, 7};

	still_rtas(vcpu_of(about), "start-cpu", args, 3, 1, NULL);
}

static void stop_self(struct input *input, uint8_t about)
{
	(void)input;
	still_rtas(vcpu_of(about), "stop-self", NULL, 0, 1, NULL);
}

static void query_stopped(struct input *input, uint8_t about)
{
	const uint32_t args[] = {(uint32_t)input_take(input, 1) % (STILL_VCPUS + 1)};
	uint32_t state = 0;

	if (still_rtas(vcpu_of(about), "query-cpu-stopped-state", args, 1, 2, &state) == 0)
		FUZZ_CHECK(state <= 2);
}

static void check_exception(struct input *input, uint8_t about)
{
	const uint32_t args[] = {0x500, IRQ_HOTPLUG, (uint32_t)about << 24, 1, LOG_BUFFER,
	    (uint32_t)input_take(input, 1)};

	still_rtas(0, "check-exception", args, 6, 1, NULL);
}

static void end_run(struct input *input, uint8_t about)
{
	const uint32_t args[] = {LOG_BUFFER, 0};

	(void)input;
	if (about % 3 == 0)
		still_rtas(0, "power-off", args, 2, 1, NULL);
	else if (about % 3 == 1)
		still_rtas(0, "system-reboot", NULL, 0, 1, NULL);
	else
		still_rtas(0, "ibm,os-term", args, 1, 1, NULL);
}

static void other_service(struct input *input, uint8_t about)
{
	size_t row = about % rtas_table_rows;
	uint32_t args[RTAS_WORDS];

	for (size_t i = 0; i < rtas_table[row].max_args; i++)
		args[i] = (uint32_t)input_take(input, 2);
	still_rtas(
	    0, rtas_table[row].name, args, rtas_table[row].max_args, rtas_table[row].nret, NULL);
}

static void set_mode(struct input *input, uint8_t about)
{
	struct kvm_hcall call = {.nr = 0x31c, .args = {input_take(input, 1) % 4, 3 + about % 2}};

	still_call(vcpu_of(about), &call);
}

static void term_char(struct input *input, uint8_t about)
{
	struct kvm_hcall call = {.nr = about & 64 ? 0x54 : 0x58, .args = {0, about % 20}};

	call.args[2] = input_take(input, 8);
	call.args[3] = call.args[2] << 3;
	still_call(vcpu_of(about), &call);
}

/* --- The operator ----------------------------------------------------------------------------- */

static void add(struct input *input, uint8_t about)
{
	char device[8] = "core0";
	struct err err = {0};
	uint64_t id = 0;
	bool added;

	(void)input;
	device[4] = (char)('0' + about / STILL_CORES % 8);
	added = spapr_core_add(machine, core_about(about)->unit + about / 128, device, &id, &err);
	FUZZ_CHECK(added == (err.class == ERR_NONE) && added == (id != 0));
	still_check();
}

static void take_away(struct input *input, uint8_t about)
{
	struct err err = {0};
	uint64_t id = 0;
	bool accepted = spapr_device_remove(machine, core_about(about)->name, &id, &err);

	(void)input;
	FUZZ_CHECK(accepted == (err.class == ERR_NONE) && accepted == (id != 0));
	still_check();
}

static void cancel(struct input *input, uint8_t about)
{
	uint64_t last = machine->devices.ops.last_id;
	struct err err = {0};
	bool cancelled = spapr_operation_cancel(machine, last - about % 8u, &err);

	(void)input;
	FUZZ_CHECK(cancelled == (err.class == ERR_NONE));
	still_check();
}

/* A reset that fails leaves a machine that only a reset can help: so it must be held. */
static void reset(struct input *input, uint8_t about)
{
	struct err err = {0};

	(void)input;
	(void)about;
	FUZZ_CHECK(spapr_boot(machine, &err) || machine->cpus.finished);
	still_check();
}

static void hold(struct input *input, uint8_t about)
{
	(void)input;
	if (about % 2 == 0)
		spapr_stop(machine);
	else
		spapr_cont(machine);
	still_check();
}

/* The deadline passes: what is pending is reported, interrupts that KVM has refused are sent, and
 * nothing else changes. It comes again only for those that are refused again. */
static void deadline(struct input *input, uint8_t about)
{
	bool comes_again;

	(void)input;
	(void)about;
	machine->config.unplug_deadline_ms = 0;
	comes_again = spapr_check_deadline(machine) != -1;
	FUZZ_CHECK(
	    comes_again ==
	    (machine->events.interrupt_owed || machine->events.shutdown_owed ||
	        machine->vty.interrupt_owed ||
	        (!machine->cpus.stopped && devices_check_fence(&machine->devices, 0) != -1)));
	machine->config.unplug_deadline_ms = 3600 * 1000;
	still_check();
}

static void powerdown(struct input *input, uint8_t about)
{
	(void)input;
	(void)about;
	spapr_powerdown(machine);
	still_check();
}

static void report(struct input *input, uint8_t about)
{
	struct operation op;
	enum op_step step;

	(void)input;
	for (unsigned i = 0; i <= about && spapr_next_report(machine, true, &op, &step); i++)
		FUZZ_CHECK(op.id != 0 && step < OP_STEP_COUNT &&
		           op_stuck_text(&op, (char[OP_STUCK_MAX]){0}) != NULL);
	still_check();
}

static void look(struct input *input, uint8_t about)
{
	static struct operation operations[SPAPR_OPERATIONS];
	struct spapr_core_info info;
	struct spapr_counter counters[16];
	size_t count = spapr_operations(machine, operations, about);

	(void)input;
	for (size_t i = 1; i < count; i++)
		FUZZ_CHECK(operations[i].id > operations[i - 1].id);
	spapr_core_info(machine, about % STILL_CORES, &info);
	FUZZ_CHECK(info.connector.history_count <= SPAPR_HISTORY);
	spapr_counters(machine, counters, about % 16);
	still_check();
}

static void type(struct input *input, uint8_t about)
{
	uint64_t text[32] = {input_take(input, 8)};

	spapr_console_write(machine, text, about);
	spapr_console_read(machine, text, about);
	still_check();
}

/* --- The host, and time ------------------------------------------------------------------------
 */

static void attend(struct input *input, uint8_t about)
{
	(void)input;
	still_attend(about % STILL_VCPUS);
}

static void refuse(struct input *input, uint8_t about)
{
	fake_fail_after((enum fake_call)(about % FAKE_CALL_COUNT), about / FAKE_CALL_COUNT % 4,
	    1 + (uint32_t)input_take(input, 1) % 4);
}

/* Much later: a fence is sent if one is needed. */
static void wait_for_fence(struct input *input, uint8_t about)
{
	(void)input;
	(void)about;
	pthread_mutex_lock(&machine->lock);
	devices_check_fence(&machine->devices, clock_ms() + 1000000);
	pthread_mutex_unlock(&machine->lock);
	still_check();
}

/* --- Memory ---------------------------------------------------------------------------------- */

/* Of a block that boots, that can be there, or that cannot. */
static uint32_t block_about(uint8_t about)
{
	return drc_index(&drc_type_lmb, about % (STILL_BLOCKS + 1));
}

static void set_block_indicator(struct input *input, uint8_t about)
{
	const uint32_t args[] = {9001 + 2u * (about / 16 % 2), block_about(about), about / 8 % 2};

	(void)input;
	still_rtas(0, "set-indicator", args, 3, 1, NULL);
}

static void get_block_sensor(struct input *input, uint8_t about)
{
	const uint32_t args[] = {9003, block_about(about)};

	(void)input;
	still_rtas(0, "get-sensor-state", args, 2, 2, NULL);
}

static void configure_block(struct input *input, uint8_t about)
{
	const uint32_t args[] = {0xa000, 0};
	struct be32 head[2] = {be32(block_about(about)), be32(0)};
	int32_t answer = 1;

	FUZZ_CHECK(gmem_write(&machine->gmem, 0xa000, head, sizeof head));
	for (uint64_t calls = input_take(input, 1) % 16; answer > 0 && calls > 0; calls--)
		answer = still_rtas(0, "ibm,configure-connector", args, 2, 1, NULL);
}

static void add_memory(struct input *input, uint8_t about)
{
	char device[8] = "dimm0";
	struct err err = {0};
	uint64_t id = 0, address = about % 8 * SPAPR_LMB_BYTES;
	bool added;

	(void)input;
	device[4] = (char)('0' + about / 64);
	added = spapr_memory_add(machine, about % 8 == 7 ? SPAPR_ANYWHERE : address,
	    about / 8 % 4 * SPAPR_LMB_BYTES, device, &id, &err);
	FUZZ_CHECK(added == (err.class == ERR_NONE) && added == (id != 0));
	still_check();
}

static void take_memory_away(struct input *input, uint8_t about)
{
	struct spapr_memory_info info;
	struct err err = {0};
	uint64_t id = 0;

	(void)input;
	if (spapr_memory_info(machine, about % STILL_BLOCKS * SPAPR_LMB_BYTES, &info))
		FUZZ_CHECK(spapr_device_remove(machine, info.connector.device, &id, &err) ==
		           (err.class == ERR_NONE));
	still_check();
}

static void set_target(struct input *input, uint8_t about)
{
	uint64_t ids[8];
	struct err err = {0};

	(void)input;
	if (about % 2 == 0)
		spapr_set_memory(
		    machine, about / 2 % 6 * SPAPR_LMB_BYTES, ids, 1 + about / 16 % 8, &err);
	else
		spapr_set_cores(machine, about / 2 % 6, ids, 1 + about / 16 % 8, &err);
	still_check();
}

static void (*const steps[])(struct input *input, uint8_t about) = {
    set_indicator,
    set_indicator,
    get_sensor,
    configure,
    start_cpu,
    stop_self,
    query_stopped,
    check_exception,
    end_run,
    other_service,
    set_mode,
    term_char, /* the guest */
    add,
    take_away,
    cancel,
    reset,
    hold,
    deadline,
    powerdown,
    report,
    look,
    type,
    attend,
    refuse,
};

/* Chosen by the bytes that are left over, so that inputs kept from before mean what they meant. */
static void (*const more_steps[])(struct input *input, uint8_t about) = {
    wait_for_fence,
    set_block_indicator,
    get_block_sensor,
    configure_block,
    add_memory,
    take_memory_away,
    set_target,
    set_block_indicator,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};

	machine = still_fresh();
	for (unsigned i = 0; i < STEPS_MAX && input.left > 0; i++) {
		size_t chosen = input_take(&input, 1), rows = sizeof steps / sizeof steps[0];
		size_t more = sizeof more_steps / sizeof more_steps[0];
		uint8_t about = (uint8_t)input_take(&input, 1);

		if (chosen < 256 - 256 % rows)
			steps[chosen % rows](&input, about);
		else
			more_steps[chosen % more](&input, about);
	}
	still_prove_alive();
	return 0;
}
