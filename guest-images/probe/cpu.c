/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpu.c - vCPUs, faults and interrupts.
 *
 * A started vCPU waits for work in H_CEDE. The first vCPU gives it work and wakes it with H_PROD,
 * which also works for a vCPU that is about to cede. A fault ends the current work and is reported
 * with its result.
 *
 * The vectors' code (start.S) only ends H_CEDE; interrupts_take() asks the interrupt controller for
 * the source. So an interrupt may arrive at any time. The decrementer ends each H_CEDE within about
 * a second, so that waits can time out. With XIVE nothing interrupts: the first vCPU looks at the
 * console, and at a queue of events from the platform, every few milliseconds.
 */
#include "probe.h"

enum { VECTOR_EXTERNAL = 0x500, VECTOR_DECREMENTER = 0x900, VECTOR_BYTES = 0x80 };
enum { PATIENCE_S = 20, SOURCE_IPI = 2 };

void secondary_main(void);
void cpu_fault(uint64_t srr0, uint64_t srr1, uint64_t vector);
int context_save(uint64_t context[24]) __attribute__((returns_twice));
_Noreturn void context_restore(uint64_t context[24]);
extern const char secondary_start[];
extern const uint32_t vector_resume[], vector_resume_end[];
extern const uint32_t vector_fault[], vector_fault_end[];

static struct cpu cpus[CPUS_MAX];

uint32_t interrupt_counts[INTERRUPTS];
uint32_t interrupt_numbers[INTERRUPTS];
uint32_t interrupts_hotplug;
static bool without_interrupts; /* the controller is not XICS */

uint64_t timebase(void)
{
	uint64_t value;

	__asm__ volatile("mftb %0" : "=r"(value));
	return value;
}

static uint64_t patience(void)
{
	return timebase() + PATIENCE_S * UINT64_C(512000000);
}

struct cpu *cpu_self(void)
{
	struct cpu *cpu;

	__asm__ volatile("mfsprg %0, 1" : "=r"(cpu));
	return cpu;
}

struct cpu *cpu_get(uint64_t id)
{
	return id < CPUS_MAX ? &cpus[id] : NULL;
}

/* --- Vectors -------------------------------------------------------------------------------- */

static uint32_t as_little(uint32_t word)
{
	return __builtin_bswap32(be32(word));
}

/* The code of a vector exists in both byte orders. Its first word is "trap never" in one order and
 * a branch over the code for that order in the other. */
static void install_vector(uint32_t vector, const uint32_t *code, uint32_t words)
{
	volatile uint32_t *at = (volatile uint32_t *)(uintptr_t)vector;
	uint32_t patched[16];

	for (uint32_t i = 0; i < words; i++)
		patched[i] = code[i];
	if (code == vector_fault)
		patched[0] |= vector;
	at[0] = be32(0x08000048);
	at[1] = be32(0x48000000 | (4 + 4 * words));
	for (uint32_t i = 0; i < words; i++) {
		at[2 + i] = as_little(patched[i]);
		at[2 + words + i] = be32(patched[i]);
	}
	for (uintptr_t line = vector; line < vector + VECTOR_BYTES; line += 32)
		__asm__ volatile("dcbst 0, %0; sync; icbi 0, %0; isync" ::"r"(line) : "memory");
}

static void install_vectors(void)
{
	static const uint16_t faults[] = {0x100, 0x200, 0x300, 0x380, 0x400, 0x480, 0x600, 0x700,
	    0x800, 0xa00, 0xb00, 0xc00, 0xd00};

	for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
		install_vector(
		    faults[i], vector_fault, (uint32_t)(vector_fault_end - vector_fault));
	install_vector(
	    VECTOR_EXTERNAL, vector_resume, (uint32_t)(vector_resume_end - vector_resume));
	install_vector(
	    VECTOR_DECREMENTER, vector_resume, (uint32_t)(vector_resume_end - vector_resume));
}

void cpu_fault(uint64_t srr0, uint64_t srr1, uint64_t vector)
{
	struct cpu *cpu = cpu_self();

	cpu->faulted = true;
	cpu->fault_srr0 = srr0;
	cpu->fault_srr1 = srr1;
	cpu->fault_vector = vector;
	__asm__ volatile("mfdar %0" : "=r"(cpu->fault_dar));
	context_restore(cpu->context);
}

/* --- Work ----------------------------------------------------------------------------------- */

static void wind_decrementer(void)
{
	__asm__ volatile("mtdec %0" ::"r"(0x20000000UL));
}

void cpus_init(void)
{
	for (uint32_t i = 0; i < CPUS_MAX; i++) {
		cpus[i].id = i;
		/* Room above the stack pointer for the first function's save area. */
		cpus[i].stack_top = (uintptr_t)(cpus[i].stack + sizeof cpus[i].stack - 128);
	}
	cpus[0].alive = true;
	__asm__ volatile("mtsprg 1, %0" ::"r"(&cpus[0]));
	install_vectors();
	wind_decrementer();
}

/* Not inlined: what is live across context_save() must not be in registers that change. */
static __attribute__((noinline)) void run_work(struct cpu *cpu)
{
	cpu->faulted = false;
	if (context_save(cpu->context) == 0)
		cpu->work(cpu->work_argument);
}

static void finish_work(struct cpu *cpu)
{
	__asm__ volatile("sync" ::: "memory");
	cpu->work = NULL;
}

void cpu_nap(void)
{
	/* Then the decrementer alone ends it. */
	if (without_interrupts)
		__asm__ volatile("mtdec %0" ::"r"(0x100000UL));
	hcall(H_CEDE, 0, 0, 0, 0);
}

void secondary_main(void)
{
	struct cpu *cpu = cpu_self();

	wind_decrementer();
	cpu->alive = true;
	hcall(H_PROD, 0, 0, 0, 0);
	for (;;) {
		while (cpu->work == NULL)
			cpu_nap();
		run_work(cpu);
		if (cpu->stop_when_done) {
			cpu->stop_when_done = false;
			cpu->alive = false;
			finish_work(cpu);
			hcall(H_PROD, 0, 0, 0, 0);
			cpu->stop_status = rtas_simple("stop-self", 0, 0, 0, 0);
			cpu->alive = true;
		}
		finish_work(cpu);
		hcall(H_PROD, 0, 0, 0, 0);
	}
}

bool cpu_give(struct cpu *cpu, void (*work)(void *), void *argument)
{
	if (!cpu->alive || cpu->work != NULL)
		return false;
	cpu->work_argument = argument;
	__asm__ volatile("sync" ::: "memory");
	cpu->work = work;
	if (cpu != cpu_self())
		hcall(H_PROD, cpu->id, 0, 0, 0);
	return true;
}

bool cpu_wait(struct cpu *cpu)
{
	uint64_t until = patience();

	if (cpu == cpu_self()) {
		run_work(cpu);
		finish_work(cpu);
		return !cpu->faulted;
	}
	while (cpu->work != NULL && timebase() < until) {
		interrupts_take();
		cpu_nap();
	}
	return cpu->work == NULL && !cpu->faulted;
}

bool cpu_call(struct cpu *cpu, void (*work)(void *), void *argument)
{
	return cpu_give(cpu, work, argument) && cpu_wait(cpu);
}

int32_t cpu_start(struct cpu *cpu)
{
	uint64_t until = patience();
	int32_t status;

	cpu->alive = false;
	cpu->work = NULL;
	status = rtas_simple("start-cpu", 3, cpu->id, (uint32_t)(uintptr_t)secondary_start,
	    (uint32_t)(uintptr_t)cpu);
	while (status == 0 && !*(volatile bool *)&cpu->alive && timebase() < until)
		cpu_nap();
	return status;
}

static void stop_work(void *argument)
{
	((struct cpu *)argument)->stop_when_done = true;
}

int32_t cpu_stop(struct cpu *cpu)
{
	uint64_t until = patience();
	uint32_t state = 2;
	int32_t status;

	if (cpu == &cpus[0] || !cpu_call(cpu, stop_work, cpu))
		return INT32_MIN;
	do
		status = rtas_ask("query-cpu-stopped-state", 1, cpu->id, 0, &state);
	while (status == 0 && state != 0 && timebase() < until);
	return state == 0 ? status : -1;
}

/* --- Interrupts ----------------------------------------------------------------------------- */

/* XIVE: a queue that is looked at. It is not where tests have theirs, nor of their priority. */
enum { QUEUE_PRIORITY = 0, QUEUE_SHIFT = 16, QUEUE_ENTRIES = 1 << (QUEUE_SHIFT - 2) };
enum { ALWAYS_NOTIFY = 1, SET_NUMBER = 2, ESB_READY = 0xc00 };

static uint32_t *const queue = (uint32_t *)0x1000000;
static uint32_t queue_at, queue_generation = 1; /* bit 31 of the entries of this round */

static void queue_listen(enum interrupt which)
{
	uint64_t number = interrupt_numbers[which];
	uint64_t aim[9] = {SET_NUMBER, number, 0, QUEUE_PRIORITY, which};

	if (number == 0)
		return;
	hcall_raw(H_INT_SET_SOURCE_CONFIG, aim);
	hcall(H_INT_ESB, 0, number, ESB_READY, 0);
}

static void queue_init(void)
{
	uint64_t set[9] = {ALWAYS_NOTIFY, 0, QUEUE_PRIORITY, (uintptr_t)queue, QUEUE_SHIFT};

	for (uint32_t i = 0; i < QUEUE_ENTRIES; i++)
		queue[i] = 0;
	if (hcall_raw(H_INT_SET_QUEUE_CONFIG, set) != 0)
		return;
	queue_listen(INTERRUPT_HOTPLUG);
	queue_listen(INTERRUPT_EPOW);
}

static uint32_t queue_entry(void)
{
	return be32(((volatile const uint32_t *)queue)[queue_at]);
}

static void queue_take(void)
{
	while (queue_entry() >> 31 == queue_generation) {
		uint32_t which = queue_entry() & 0x7fffffff;

		queue_at = (queue_at + 1) % QUEUE_ENTRIES;
		if (queue_at == 0)
			queue_generation ^= 1;
		if (which >= INTERRUPT_OTHER)
			continue;
		interrupt_counts[which]++;
		if (which == INTERRUPT_HOTPLUG)
			interrupts_hotplug++;
		hcall(H_INT_ESB, 0, interrupt_numbers[which], ESB_READY, 0);
	}
}

void interrupts_init(void)
{
	static const char *const paths[] = {
	    "/vdevice/vty", "/event-sources/hot-plug-events", "/event-sources/epow-events"};

	for (uint32_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
		uint32_t number = tree_cell(paths[i], "interrupts", 0, 0);

		interrupt_numbers[i] = number;
		if (number == 0)
			continue;
		rtas_simple("ibm,set-xive", 3, number, 0, 5);
		rtas_simple("ibm,int-on", 1, number, 0, 0);
	}
	without_interrupts = hcall(H_CPPR, 0xff, 0, 0, 0) != 0;
	if (without_interrupts)
		queue_init();
}

void interrupts_take(void)
{
	if (without_interrupts) {
		queue_take();
		return;
	}
	for (;;) {
		uint64_t registers[9] = {0};
		uint32_t source, which = 0;

		hcall_raw(H_XIRR, registers);
		source = registers[0] & 0xffffff;
		if (source == 0)
			return;
		while (which < INTERRUPT_OTHER && interrupt_numbers[which] != source)
			which++;
		interrupt_counts[which]++;
		if (which == INTERRUPT_HOTPLUG)
			interrupts_hotplug++;
		/* An IPI stays pending until the MFRR is set back. */
		if (source == SOURCE_IPI)
			hcall(H_IPI, cpu_self()->id, 0xff, 0, 0);
		hcall(H_EOI, registers[0], 0, 0, 0);
	}
}
