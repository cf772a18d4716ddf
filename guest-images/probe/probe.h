/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe.h - the probe guest in one page: what its files offer each other. README.md tells what the
 * guest is for and how to talk to it.
 *
 * One vCPU, the first, reads commands and prints. The others nap (H_CEDE) until they are given a
 * piece of work (cpu_call), during which the first one naps. So nothing here needs a lock.
 */
#ifndef PROBE_H
#define PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CPUS_MAX = 64, RTAS_WORDS_MAX = 64, WORK_AREA_BYTES = 4096 };

/* --- text.c: words in, one line out -------------------------------------------------------- */

size_t text_length(const char *text);
bool text_equal(const char *a, const char *b);
bool text_begins(const char *text, const char *start);

/* Cut the next word off *line (it is changed); NULL if there is none. */
char *text_word(char **line);

/* A hexadecimal number, with or without 0x. */
bool text_number(const char *word, uint64_t *ret_value);

/* Append to the line that is being made. */
void put_text(const char *text);
void put_hex(uint64_t value);
void put_decimal(int64_t value);

/* Throw the line away, or print it on the terminal of that unit. */
extern uint64_t console_unit;
void put_nothing(void);
void put_line(void);

/* --- call.c: the hypervisor and RTAS ------------------------------------------------------- */

enum { H_GET_TERM_CHAR = 0x54, H_PUT_TERM_CHAR = 0x58, H_EOI = 0x64, H_CPPR = 0x68 };
enum { H_IPI = 0x6c, H_XIRR = 0x74, H_CEDE = 0xe0, H_PROD = 0xe8, H_RTAS = 0xf000, H_CAS = 0xf002 };

/* r4 to r12 in and out; returns r3. */
int64_t hcall_raw(uint64_t number, uint64_t registers[9]);
int64_t hcall(uint64_t number, uint64_t r4, uint64_t r5, uint64_t r6, uint64_t r7);

/* An RTAS argument block, as the guest's memory has it: big-endian. */
struct rtas_block {
	uint32_t token, nargs, nret;
	uint32_t words[RTAS_WORDS_MAX];
};

struct rtas_request {
	uint32_t token, nargs, nret;
	uint32_t args[RTAS_WORDS_MAX];
};

/* Make that call with a block of the calling vCPU's own; returns r3 of H_RTAS. The results are in
 * `results`, which has room for nret of them. */
int64_t rtas_request(const struct rtas_request *request, uint32_t *results);

/* The same for three arguments and one result, by name; INT32_MIN if there is no such service or
 * the hypervisor call failed. */
int32_t rtas_simple(const char *name, uint32_t nargs, uint32_t a, uint32_t b, uint32_t c);

/* One argument, two results, the second of them through a pointer. */
int32_t rtas_ask(const char *name, uint32_t nargs, uint32_t a, uint32_t b, uint32_t *ret_value);

/* Through the RTAS code in memory instead, with the block at that address. */
uint64_t rtas_enter(uint64_t block, uint64_t entry);

uint32_t be32(uint32_t value);
uint64_t be64(uint64_t value);

/* --- tree.c: the flattened device tree ------------------------------------------------------ */

void tree_set(const void *fdt);

/* A property by the path of its node ("/rtas"; a part of the path also matches what follows an @);
 * NULL if it is not there. */
const uint8_t *tree_property(const char *path, const char *name, uint32_t *ret_length);

/* Its cell of that number, or `otherwise`. */
uint32_t tree_cell(const char *path, const char *name, uint32_t number, uint32_t otherwise);

/* --- cpu.c: vCPUs, faults, interrupts ------------------------------------------------------- */

struct cpu {
	uint64_t stack_top; /* first: start.S loads it from here */
	uint32_t id;
	bool alive;          /* it has come to life and not been told to stop */
	bool stop_when_done; /* stop-self once the present work is reported done */
	int32_t stop_status; /* if stop-self came back */
	bool faulted;        /* the work ended in a fault, described by the rest */
	uint64_t fault_srr0, fault_srr1, fault_vector, fault_dar;
	void (*volatile work)(void *);
	void *work_argument;
	uint64_t context[24];
	struct rtas_block block __attribute__((aligned(64)));
	uint8_t work_area[WORK_AREA_BYTES] __attribute__((aligned(4096)));
	uint8_t stack[8192] __attribute__((aligned(16)));
};

void cpus_init(void);
struct cpu *cpu_self(void);
struct cpu *cpu_get(uint64_t id); /* NULL if there is no such place */

/* start-cpu, and wait until it runs here; RTAS status. */
int32_t cpu_start(struct cpu *cpu);

/* Run work(argument) on that vCPU and wait for its end, also on the calling one. False: it is not
 * alive, did not come to an end, or ended in a fault. */
bool cpu_call(struct cpu *cpu, void (*work)(void *), void *argument);

/* The halves of cpu_call(), for several at once. */
bool cpu_give(struct cpu *cpu, void (*work)(void *), void *argument);
bool cpu_wait(struct cpu *cpu);

/* stop-self there, and wait until query-cpu-stopped-state says so; RTAS status. */
int32_t cpu_stop(struct cpu *cpu);

enum interrupt { INTERRUPT_VTY, INTERRUPT_HOTPLUG, INTERRUPT_EPOW, INTERRUPT_OTHER, INTERRUPTS };
extern uint32_t interrupt_counts[INTERRUPTS];
extern uint32_t interrupt_numbers[INTERRUPTS];

void interrupts_init(void);

/* Take what waits, of the first vCPU; a hot-plug interrupt is counted and left in
 * `interrupts_hotplug` for plan.c. */
void interrupts_take(void);
extern uint32_t interrupts_hotplug;

/* Nap until something happens. */
void cpu_nap(void);
uint64_t timebase(void);

/* --- plan.c: the guest's part in hot-plug --------------------------------------------------- */

/* Do what the plan says about each hot-plug interrupt taken. */
void plan_follow(void);

/* "plan add|remove STEP..." and "plan fetch|ignore"; false: not understood. */
bool plan_set(char *line);

/* Carry out steps on a connector now, reporting each into the line; false: not understood. */
bool plan_do(uint32_t index, char *steps);

/* check-exception: the status, action and index into the line. */
void plan_fetch(void);

/* --- command.c ------------------------------------------------------------------------------ */

void command_run(char *line);

#endif
