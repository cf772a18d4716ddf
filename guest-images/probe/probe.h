/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe.h - the functions that the files of the probe guest share. README.md describes the guest
 * and its commands.
 *
 * The first vCPU reads commands and prints. The others wait in H_CEDE until they get work
 * (cpu_call()); meanwhile the first one waits. So no locks are needed.
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

/* Cut the next word off *line, which is modified; NULL if there is none. */
char *text_word(char **line);

/* A hexadecimal number, with or without 0x. */
bool text_number(const char *word, uint64_t *ret_value);

/* The next `count` words of *line as numbers. */
bool text_numbers(char **line, uint64_t *values, size_t count);

/* Append to the output line. */
void put_text(const char *text);
void put_hex(uint64_t value);
void put_decimal(int64_t value);

/* Discard the line, or print it on the terminal `console_unit`. */
extern uint64_t console_unit;
void put_nothing(void);
void put_line(void);

/* --- call.c: the hypervisor and RTAS ------------------------------------------------------- */

enum { H_GET_TERM_CHAR = 0x54, H_PUT_TERM_CHAR = 0x58, H_EOI = 0x64, H_CPPR = 0x68 };
enum { H_IPI = 0x6c, H_XIRR = 0x74, H_CEDE = 0xe0, H_PROD = 0xe8, H_RTAS = 0xf000, H_CAS = 0xf002 };
enum { H_INT_SET_SOURCE_CONFIG = 0x3ac, H_INT_SET_QUEUE_CONFIG = 0x3b8, H_INT_ESB = 0x3c8 };

/* r4 to r12 in and out; returns r3. */
int64_t hcall_raw(uint64_t number, uint64_t registers[9]);
int64_t hcall(uint64_t number, uint64_t r4, uint64_t r5, uint64_t r6, uint64_t r7);

/* An RTAS argument block in memory: big-endian. */
struct rtas_block {
	uint32_t token, nargs, nret;
	uint32_t words[RTAS_WORDS_MAX];
};

struct rtas_request {
	uint32_t token, nargs, nret;
	uint32_t args[RTAS_WORDS_MAX];
};

/* Make the call with the calling vCPU's block; returns r3 of H_RTAS. `results` has room for nret.
 */
int64_t rtas_request(const struct rtas_request *request, uint32_t *results);

/* The same by name, with up to three arguments and one result; INT32_MIN if there is no such
 * service or the hypervisor call failed. */
int32_t rtas_simple(const char *name, uint32_t nargs, uint32_t a, uint32_t b, uint32_t c);

/* The same with two results, the second of them in *ret_value. */
int32_t rtas_ask(const char *name, uint32_t nargs, uint32_t a, uint32_t b, uint32_t *ret_value);

/*
 * Parse "NAME|TOKEN NRET [ARGUMENT ...]" up to "|" or the end. In *ret_areas, a bit per argument
 * that is "@": rtas_fill_areas() replaces it by the address of the calling vCPU's work area.
 */
bool rtas_parse(char **line, struct rtas_request *request, uint64_t *ret_areas);
void rtas_fill_areas(struct rtas_request *request, uint64_t areas);

/* Enter RTAS through its code in memory, with the block at that address; returns r3. */
uint64_t rtas_enter(uint64_t block, uint64_t entry);

uint32_t be32(uint32_t value);
uint64_t be64(uint64_t value);

/* --- tree.c: the flattened device tree ------------------------------------------------------ */

void tree_set(const void *fdt);

/* A property by the path of its node, such as "/rtas". A unit address in a node's name need not be
 * given. NULL if there is none. */
const uint8_t *tree_property(const char *path, const char *name, uint32_t *ret_length);

/* Cell `number` of the property, or `otherwise`. */
uint32_t tree_cell(const char *path, const char *name, uint32_t number, uint32_t otherwise);

/* --- cpu.c: vCPUs, faults, interrupts ------------------------------------------------------- */

struct cpu {
	uint64_t stack_top; /* first member: read by start.S */
	uint32_t id;
	bool alive;          /* started and not stopped */
	bool stop_when_done; /* call stop-self when the present work has ended */
	int32_t stop_status; /* if stop-self returned */
	bool faulted;        /* the work ended in a fault, described below */
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
struct cpu *cpu_get(uint64_t id); /* NULL if the id is too large */

/* start-cpu, and wait until the vCPU runs; RTAS status. */
int32_t cpu_start(struct cpu *cpu);

/* Run work(argument) on a vCPU, which may be the calling one, and wait for its end. False: the vCPU
 * is not alive, or the work did not end or ended in a fault. */
bool cpu_call(struct cpu *cpu, void (*work)(void *), void *argument);

/* The two halves of cpu_call(), for several vCPUs at once. */
bool cpu_give(struct cpu *cpu, void (*work)(void *), void *argument);
bool cpu_wait(struct cpu *cpu);

/* stop-self on that vCPU, and wait until query-cpu-stopped-state reports it; RTAS status. */
int32_t cpu_stop(struct cpu *cpu);

enum interrupt { INTERRUPT_VTY, INTERRUPT_HOTPLUG, INTERRUPT_EPOW, INTERRUPT_OTHER, INTERRUPTS };
extern uint32_t interrupt_counts[INTERRUPTS];
extern uint32_t interrupt_numbers[INTERRUPTS];

void interrupts_init(void);

/* Accept pending interrupts of the first vCPU. `interrupts_hotplug` counts those for plan.c. */
void interrupts_take(void);
extern uint32_t interrupts_hotplug;

/* H_CEDE: wait for an interrupt or H_PROD. */
void cpu_nap(void);
uint64_t timebase(void);

/* --- plan.c: how the guest answers hot-plug events ------------------------------------------ */

/* Follow the plan for each hot-plug interrupt accepted. */
void plan_follow(void);

/* "plan add|remove|memory-add|memory-remove|fence STEP..." and "plan fetch|ignore"; false: not
 * understood. */
bool plan_set(char *line);

/* Run steps on a connector and put each result into the line; false: not understood. */
bool plan_do(uint32_t index, char *steps);

/* check-exception: put status, action, index and kind into the line. */
void plan_fetch(void);

/* --- touch.c: one access to memory --------------------------------------------------------- */

/* "SIZE ADDRESS", "SIZE ADDRESS VALUE", "ADDRESS", "ADDRESS BYTE", "ADDRESS"; false: not
 * understood. */
bool touch_load(char *line);
bool touch_store(char *line);
bool touch_load_vector(char *line);
bool touch_store_vector(char *line);
bool touch_jump(char *line);

/* --- command.c ------------------------------------------------------------------------------ */

void command_run(char *line);

/* --- crowd.c -------------------------------------------------------------------------------- */

/* "ROUNDS MASK CALL | CALL ...": counts of each call and status into the line. */
bool crowd_run(char *line);

#endif
