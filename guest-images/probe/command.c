/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command.c - the commands. One line in, one line out: "= ..." is the result, "! ..." means that
 * the command was not understood or failed. Numbers are hexadecimal, statuses are signed decimal.
 * README.md lists the commands.
 *
 * To add one: a row in the table, its function, a row in README.md.
 */
#include "probe.h"

enum { DUMP_MAX = 0x4000 };

/* --- Calls ---------------------------------------------------------------------------------- */

static void put_registers(int64_t status, const uint64_t registers[9])
{
	put_text(" ");
	put_decimal(status);
	for (uint32_t i = 0; i < 9; i++) {
		put_text(" ");
		put_hex(registers[i]);
	}
}

/* hcall NUMBER [r4 ... r12] */
static bool run_hcall(char *line)
{
	uint64_t registers[9] = {0}, number;
	int64_t status;

	if (!text_number(text_word(&line), &number))
		return false;
	for (uint32_t i = 0; i < 9; i++) {
		char *word = text_word(&line);

		if (word != NULL && !text_number(word, &registers[i]))
			return false;
	}
	status = hcall_raw(number, registers);
	put_registers(status, registers);
	return true;
}

/* sweep FIRST LAST STEP SKIP,SKIP,... [r4 ... r12]: hcalls not answered H_FUNCTION. */
static bool run_sweep(char *line)
{
	uint64_t range[3], given[9] = {0}, unknown = 0;
	char *skip;

	if (!text_numbers(&line, range, 3) || range[2] == 0 || (skip = text_word(&line)) == NULL)
		return false;
	for (uint32_t i = 0; i < 9; i++) {
		char *word = text_word(&line);

		if (word != NULL && !text_number(word, &given[i]))
			return false;
	}
	for (uint64_t number = range[0]; number <= range[1]; number += range[2]) {
		uint64_t registers[9];
		int64_t status;
		bool skipped = false;

		for (char *at = skip; *at != '\0';) {
			char *end = at;
			uint64_t value = 0;
			char stop;

			while (*end != ',' && *end != '\0')
				end++;
			stop = *end;
			*end = '\0';
			skipped = skipped || (text_number(at, &value) && value == number);
			*end = stop;
			at = stop == '\0' ? end : end + 1;
		}
		if (skipped)
			continue;
		for (uint32_t i = 0; i < 9; i++)
			registers[i] = given[i];
		status = hcall_raw(number, registers);
		if (status == -2) {
			unknown++;
			continue;
		}
		put_text(" ");
		put_hex(number);
		put_text("=");
		put_decimal(status);
	}
	put_text(" unknown=");
	put_decimal((int64_t)unknown);
	return true;
}

/* rtas NAME|TOKEN NRET [ARGUMENT ...]: r3 of H_RTAS, then the results. */
static bool run_rtas(char *line)
{
	struct rtas_request request;
	uint32_t results[RTAS_WORDS_MAX];
	uint64_t areas;
	int64_t status;

	if (!rtas_parse(&line, &request, &areas))
		return false;
	rtas_fill_areas(&request, areas);
	status = rtas_request(&request, results);
	put_text(" ");
	put_decimal(status);
	for (uint32_t i = 0; i < request.nret; i++) {
		put_text(" ");
		put_decimal((int32_t)results[i]);
	}
	return true;
}

/* blob BLOCK: enter RTAS through its code in memory, with the block at that address. */
static bool run_blob(char *line)
{
	uint32_t entry = tree_cell("/rtas", "linux,rtas-entry", 0, 0);
	uint64_t block;

	if (entry == 0 || !text_numbers(&line, &block, 1))
		return false;
	put_text(" ");
	put_decimal((int64_t)rtas_enter(block, entry));
	return true;
}

/* token NAME */
static bool run_token(char *line)
{
	char *name = text_word(&line);

	if (name == NULL)
		return false;
	put_text(" ");
	put_hex(tree_cell("/rtas", name, 0, 0));
	return true;
}

/* tree PATH PROPERTY: its bytes. */
static bool run_tree(char *line)
{
	char *path = text_word(&line), *name = text_word(&line);
	uint32_t length = 0;
	const uint8_t *value;

	if (path == NULL || name == NULL)
		return false;
	value = tree_property(path, name, &length);
	if (value == NULL)
		return false;
	put_text(" ");
	for (uint32_t i = 0; i < length; i++) {
		put_hex(value[i] >> 4);
		put_hex(value[i] & 0xf);
	}
	return true;
}

/* --- Memory --------------------------------------------------------------------------------- */

/* read ADDRESS LENGTH */
static bool run_read(char *line)
{
	uint64_t range[2];

	if (!text_numbers(&line, range, 2) || range[1] > DUMP_MAX)
		return false;
	put_text(" ");
	for (uint64_t i = 0; i < range[1]; i++) {
		uint8_t byte = *(const volatile uint8_t *)(range[0] + i);

		put_hex(byte >> 4);
		put_hex(byte & 0xf);
	}
	return true;
}

/* write ADDRESS BYTES: two digits each. */
static bool run_write(char *line)
{
	uint64_t address;
	char *bytes;

	if (!text_numbers(&line, &address, 1) || (bytes = text_word(&line)) == NULL)
		return false;
	for (; bytes[0] != '\0' && bytes[1] != '\0'; bytes += 2) {
		char pair[3] = {bytes[0], bytes[1], '\0'};
		uint64_t value;

		if (!text_number(pair, &value))
			return false;
		*(volatile uint8_t *)address++ = (uint8_t)value;
	}
	return bytes[0] == '\0';
}

/* fill ADDRESS LENGTH BYTE */
static bool run_fill(char *line)
{
	uint64_t v[3];

	if (!text_numbers(&line, v, 3))
		return false;
	for (uint64_t i = 0; i < v[1]; i++)
		*(volatile uint8_t *)(v[0] + i) = (uint8_t)v[2];
	return true;
}

/* same ADDRESS LENGTH BYTE: whether all bytes are BYTE; else the first address that differs. */
static bool run_same(char *line)
{
	uint64_t v[3];

	if (!text_numbers(&line, v, 3))
		return false;
	for (uint64_t i = 0; i < v[1]; i++)
		if (*(const volatile uint8_t *)(v[0] + i) != (uint8_t)v[2]) {
			put_text(" no ");
			put_hex(v[0] + i);
			return true;
		}
	put_text(" yes");
	return true;
}

/* --- vCPUs ---------------------------------------------------------------------------------- */

/* start ID: start-cpu's status. */
static bool run_start(char *line)
{
	struct cpu *cpu;
	uint64_t id;

	if (!text_numbers(&line, &id, 1) || (cpu = cpu_get(id)) == NULL || cpu == cpu_self())
		return false;
	put_text(" ");
	put_decimal(cpu_start(cpu));
	return true;
}

/* stop ID: stop-self on that vCPU; status of query-cpu-stopped-state when it reports stopped. */
static bool run_stop(char *line)
{
	struct cpu *cpu;
	uint64_t id;

	if (!text_numbers(&line, &id, 1) || (cpu = cpu_get(id)) == NULL || cpu == cpu_self())
		return false;
	put_text(" ");
	put_decimal(cpu_stop(cpu));
	return true;
}

/* --- Hot-plug and others -------------------------------------------------------------------- */

/* do INDEX STEP ... */
static bool run_do(char *line)
{
	uint64_t index;

	return text_numbers(&line, &index, 1) && plan_do((uint32_t)index, line);
}

static bool run_fetch(char *line)
{
	(void)line;
	plan_fetch();
	return true;
}

static bool run_interrupts(char *line)
{
	static const char *const names[INTERRUPTS] = {" vty=", " hotplug=", " epow=", " other="};

	(void)line;
	for (uint32_t i = 0; i < INTERRUPTS; i++) {
		put_text(names[i]);
		put_decimal(interrupt_counts[i]);
	}
	return true;
}

/* echo TEXT: marks a place in the output. */
static bool run_echo(char *line)
{
	put_text(" ");
	put_text(line);
	return true;
}

/* sprg0: the value of the register. */
static bool run_sprg0(char *line)
{
	uint64_t value;

	(void)line;
	__asm__ volatile("mfsprg %0, 0" : "=r"(value));
	put_text(" ");
	put_hex(value);
	return true;
}

/* trap: a program interrupt, to test the report of faults. */
static bool run_trap(char *line)
{
	(void)line;
	__asm__ volatile("trap");
	return true;
}

static uint64_t leave_for[2];

static void leave_work(void *argument)
{
	(void)argument;
	__asm__ volatile("mtsrr0 %0; mtsrr1 %1; rfid" ::"r"(leave_for[0]), "r"(leave_for[1]));
}

/* leave ID ADDRESS MSR: that vCPU jumps to ADDRESS with that MSR, and does not return. */
static bool run_leave(char *line)
{
	struct cpu *cpu;
	uint64_t v[3];

	if (!text_numbers(&line, v, 3) || (cpu = cpu_get(v[0])) == NULL || cpu == cpu_self())
		return false;
	leave_for[0] = v[1];
	leave_for[1] = v[2];
	return cpu_give(cpu, leave_work, NULL);
}

static bool run_on(char *line);

static const struct {
	const char *name;
	bool (*function)(char *line);
	bool first; /* on the first vCPU only */
} commands[] = {
    {"hcall", run_hcall, false},
    {"sweep", run_sweep, false},
    {"rtas", run_rtas, false},
    {"blob", run_blob, false},
    {"token", run_token, false},
    {"tree", run_tree, false},
    {"read", run_read, false},
    {"write", run_write, false},
    {"fill", run_fill, false},
    {"same", run_same, false},
    {"load", touch_load, false},
    {"store", touch_store, false},
    {"vload", touch_load_vector, false},
    {"vstore", touch_store_vector, false},
    {"jump", touch_jump, false},
    {"do", run_do, true},
    {"fetch", run_fetch, true},
    {"plan", plan_set, true},
    {"start", run_start, true},
    {"stop", run_stop, true},
    {"crowd", crowd_run, true},
    {"on", run_on, true},
    {"interrupts", run_interrupts, true},
    {"sprg0", run_sprg0, false},
    {"echo", run_echo, false},
    {"trap", run_trap, false},
    {"leave", run_leave, true},
};

struct job {
	bool (*function)(char *line);
	char *line;
	bool understood;
};

static void run_job(void *argument)
{
	struct job *job = argument;

	job->understood = job->function(job->line);
}

static void put_fault(const struct cpu *cpu)
{
	put_text("! fault ");
	put_hex(cpu->fault_vector);
	put_text(" at ");
	put_hex(cpu->fault_srr0);
	put_text(" msr ");
	put_hex(cpu->fault_srr1);
	put_text(" dar ");
	put_hex(cpu->fault_dar);
}

/* Run a command on that vCPU and put its result into the line. */
static void run_at(struct cpu *cpu, char *line)
{
	char *name = text_word(&line);
	struct job job = {.line = line};

	for (size_t i = 0; name != NULL && i < sizeof commands / sizeof commands[0]; i++)
		if (text_equal(commands[i].name, name) && (cpu == cpu_get(0) || !commands[i].first))
			job.function = commands[i].function;
	if (job.function == NULL) {
		put_nothing();
		put_text("! no such command");
	} else if (!cpu->alive) {
		put_nothing();
		put_text("! not running");
	} else if (job.function == run_on) {
		/* It puts its own result. */
		job.function(job.line);
	} else if (cpu == cpu_self() && job.function == crowd_run) {
		/* It gives work to this vCPU, too. */
		job.understood = job.function(job.line);
		if (!job.understood) {
			put_nothing();
			put_text("! failed");
		}
	} else if (!cpu_call(cpu, run_job, &job)) {
		put_nothing();
		if (cpu->faulted)
			put_fault(cpu);
		else
			put_text("! no end");
	} else if (!job.understood) {
		put_nothing();
		put_text("! not understood");
	}
}

/* on ID COMMAND ... */
static bool run_on(char *line)
{
	uint64_t id;
	struct cpu *cpu;

	if (!text_numbers(&line, &id, 1) || (cpu = cpu_get(id)) == NULL) {
		put_nothing();
		put_text("! not understood");
		return false;
	}
	run_at(cpu, line);
	return true;
}

void command_run(char *line)
{
	put_text("=");
	run_at(cpu_self(), line);
	put_line();
}
