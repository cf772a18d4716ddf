/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_kvm.c - see fake_kvm.h.
 *
 * One lock guards all of it, and one condition tells that something has changed: simple before
 * fast. The lock is taken last, so code under test may call in with locks of its own held. An
 * exit a test asks for passes three phases: QUEUED until the vCPU's thread comes for it, TAKEN
 * while the code under test works on it, and IDLE again when the answer is carried back.
 *
 * What kvm.h says about threads and order is checked, not assumed: a vCPU belongs to the thread
 * that created it, its registers are set before it runs, memory and interrupt controller are
 * made once and in time.
 */
#include "fake_kvm.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { VCPU_IDS = 16384, IRQS = 16, HCALL_MAX = 0x480 };

enum phase { PHASE_IDLE, PHASE_QUEUED, PHASE_TAKEN };

/* What there is to know of a vCPU id; it outlives the vCPU, as the id does. */
struct record {
	bool alive;
	bool aside; /* kvm_vcpu_set_aside() */
	pthread_t thread;
	bool kicked; /* until kvm_vcpu_unkick() */
	bool inside; /* its thread is in kvm_vcpu_run() */
	bool entered, parked;
	uint64_t pc, r3, sprg0;
	struct kvm_modes modes;
	int64_t timebase_offset;
	uint64_t enters, parks;

	bool busy; /* some fake_hcall() or the like is at it */
	enum phase phase;
	enum kvm_exit exit;
	struct kvm_exit_info info; /* of the exit; then, of an hcall, the answer */
	bool taken, dropped;       /* it was handed out; it will never be answered */

	bool fresh;             /* set up since the guest that acts by itself was asked */
	bool calling;           /* that guest waits for an answer */
	struct kvm_hcall hcall; /* its last one */
};

struct irq {
	uint32_t number, server;
	uint64_t resets, pulses;
};

struct kvm_vm {
	struct kvm_facts facts;
	const struct gmem *memory;
	uint32_t threads, servers, vcpus;
	struct kvm_xics_tokens tokens;
	uint64_t process_table;
	bool gtse;
	bool hcalls[HCALL_MAX / 4];
	struct irq irqs[IRQS];
	size_t irq_count;
	struct record *records[VCPU_IDS]; /* NULL: never created */
};

struct kvm_vcpu {
	struct kvm_vm *vm;
	struct record *record;
	uint32_t id;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static struct kvm_vm *current;
static _Atomic uint64_t timebase;
static struct kvm_facts next_facts;
static uint32_t live_vms, live_vcpus;
static struct {
	uint32_t skip, count;
} failures[FAKE_CALL_COUNT];
static fake_fault *ask_fault;
static fake_guest *guest;

/* --- Basics ------------------------------------------------------------------------------ */

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...)
{
	va_list args;

	fputs("fake_kvm: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	abort();
}

static void set_default_facts(void)
{
	static const uint8_t pa_head[] = {66, 0, 0xf6, 0x1f, 0xc7, 0xc0, 0x00, 0xf0, 0x80};

	next_facts = (struct kvm_facts){
	    .api_version = 12,
	    .hv = true,
	    .radix = true,
	    .xics = true,
	    .papr = true,
	    .rtas_tokens = true,
	    .enable_hcall = true,
	    .immediate_exit = true,
	    .one_reg = true,
	    .cpu_char = true,
	    .sync_mmu = true,
	    .ail3 = true,
	    .smt_modes = 1 | 2 | 4 | 8,
	    .max_vcpus = 2048,
	    .max_vcpu_id = VCPU_IDS,
	    .recommended_vcpus = 2,
	    .page_bytes = 65536,
	    .pvr = 0x004e1202,
	    .cpu_name = "POWER9",
	    .ap_encodings = {0x0000000c, 0xa0000010, 0x20000015, 0x4000001e},
	    .cpu_character = 0xbc40000000000000,
	    .cpu_behaviour = 0xe400000000000000,
	    .timebase_hz = 512000000,
	    .clock_hz = 3800000000,
	    .dcache = {.size = 32768, .line_size = 128, .block_size = 128, .sets = 32},
	    .icache = {.size = 32768, .line_size = 128, .block_size = 128, .sets = 32},
	    .slb_size = 32,
	    .pa_features_len = 68,
	};
	memcpy(next_facts.pa_features, pa_head, sizeof pa_head);
	/* Vector, vector-scalar, radix and the rest: one byte in two, from attribute byte 16. */
	for (size_t i = 2 + 16; i < next_facts.pa_features_len; i += 2)
		next_facts.pa_features[i] = 0x80;
	next_facts.pa_features[2 + 22] = 0; /* no transactional memory */
}

/* The condition is timed with the monotonic clock, which no static initialiser can say. */
static void __attribute__((constructor)) start(void)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&changed, &attributes);
	pthread_condattr_destroy(&attributes);
	set_default_facts();
}

static struct timespec deadline_from_now(void)
{
	struct timespec deadline;

	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += FAKE_DEADLINE_S;
	return deadline;
}

static struct record *find(uint32_t id)
{
	return current != NULL && id < VCPU_IDS ? current->records[id] : NULL;
}

static struct kvm_vm *the_vm(void)
{
	if (current == NULL)
		die("there is no VM to look at");
	return current;
}

static struct record *the_record(uint32_t id)
{
	struct record *record = find(id);

	if (record == NULL)
		die("vCPU %u was never created", id);
	return record;
}

/* True once per failure asked for. */
static bool fails(enum fake_call call)
{
	if (ask_fault != NULL && ask_fault(call))
		return true;
	if (failures[call].count == 0)
		return false;
	if (failures[call].skip > 0) {
		failures[call].skip--;
		return false;
	}
	failures[call].count--;
	return true;
}

static bool fail_with(struct err *err, int error_number, const char *what)
{
	return err_system(err, error_number, NULL, "fake KVM: %s", what);
}

static struct irq *find_irq(struct kvm_vm *vm, uint32_t number)
{
	for (size_t i = 0; i < vm->irq_count; i++)
		if (vm->irqs[i].number == number)
			return &vm->irqs[i];
	return NULL;
}

/* --- kvm.h: the VM ----------------------------------------------------------------------- */

size_t kvm_check(struct kvm_check *lines, size_t max)
{
	if (max == 0)
		return 0;
	lines[0] = (struct kvm_check){
	    .name = "fake", .result = KVM_CHECK_OK, .value = "no KVM, and no guest ever runs"};
	return 1;
}

struct kvm_vm *kvm_vm_create(int kvm_fd, struct err *err)
{
	struct kvm_vm *vm = NULL;

	(void)kvm_fd; /* nothing is opened here either */
	pthread_mutex_lock(&lock);
	if (current != NULL)
		die("a second VM is created while there is one");
	if (fails(FAKE_VM_CREATE)) {
		fail_with(err, ENOMEM, "cannot create a VM");
		err->class = ERR_HOST;
	} else if ((vm = calloc(1, sizeof *vm)) == NULL) {
		fail_with(err, ENOMEM, "cannot create a VM");
	} else {
		vm->facts = next_facts;
		vm->threads = 1;
		vm->gtse = true;
		current = vm;
		live_vms++;
	}
	pthread_mutex_unlock(&lock);
	return vm;
}

void kvm_vm_destroy(struct kvm_vm *vm)
{
	if (vm == NULL)
		return;
	pthread_mutex_lock(&lock);
	for (uint32_t id = 0; id < VCPU_IDS; id++) {
		if (vm->records[id] == NULL)
			continue;
		if (vm->records[id]->alive)
			die("the VM is destroyed, and vCPU %u is not", id);
		if (vm->records[id]->busy)
			die("the VM is destroyed while vCPU %u makes an hcall", id);
		free(vm->records[id]);
	}
	if (vm == current) {
		current = NULL;
		live_vms--;
	}
	free(vm);
	pthread_mutex_unlock(&lock);
}

const struct kvm_facts *kvm_vm_facts(const struct kvm_vm *vm)
{
	return &vm->facts; /* constant since creation */
}

bool kvm_vm_set_memory(struct kvm_vm *vm, const struct gmem *gmem, struct err *err)
{
	bool done = true;

	pthread_mutex_lock(&lock);
	if (fails(FAKE_SET_MEMORY))
		done = fail_with(err, EINVAL, "cannot set the memory");
	else if (vm->memory != NULL)
		die("the memory is set twice");
	else
		vm->memory = gmem;
	pthread_mutex_unlock(&lock);
	return done;
}

bool kvm_vm_set_threads(struct kvm_vm *vm, uint32_t threads, struct err *err)
{
	bool done = true;

	pthread_mutex_lock(&lock);
	if (vm->vcpus > 0)
		die("threads per core are set after a vCPU was created");
	if (fails(FAKE_SET_THREADS) || (threads & (threads - 1)) != 0 ||
	    (threads & vm->facts.smt_modes) == 0)
		done = fail_with(err, EINVAL, "cannot have that many threads per core");
	else
		vm->threads = threads;
	pthread_mutex_unlock(&lock);
	return done;
}

bool kvm_vm_create_irqchip(
    struct kvm_vm *vm, uint32_t servers, const struct kvm_xics_tokens *tokens, struct err *err)
{
	bool done = true;

	pthread_mutex_lock(&lock);
	if (vm->vcpus > 0 || vm->servers > 0)
		die("the interrupt controller is created twice, or after a vCPU");
	if (fails(FAKE_CREATE_IRQCHIP) || servers == 0) {
		done = fail_with(err, ENODEV, "cannot create the interrupt controller");
	} else {
		vm->servers = servers;
		vm->tokens = *tokens;
	}
	pthread_mutex_unlock(&lock);
	return done;
}

bool kvm_vm_enable_hcall(struct kvm_vm *vm, uint64_t nr)
{
	bool enabled;

	pthread_mutex_lock(&lock);
	enabled = !fails(FAKE_ENABLE_HCALL) && nr % 4 == 0 && nr < HCALL_MAX;
	if (enabled)
		vm->hcalls[nr / 4] = true;
	pthread_mutex_unlock(&lock);
	return enabled;
}

bool kvm_irq_reset(struct kvm_vm *vm, uint32_t number, uint32_t server, struct err *err)
{
	struct irq *irq;
	bool done = true;

	pthread_mutex_lock(&lock);
	irq = find_irq(vm, number);
	if (vm->servers == 0)
		die("interrupt %#x is reset before there is a controller", number);
	if (irq == NULL && vm->irq_count == IRQS)
		die("more than %d interrupts", IRQS);
	if (irq == NULL)
		irq = &vm->irqs[vm->irq_count++];
	irq->number = number;
	if (fails(FAKE_IRQ_RESET) || server >= vm->servers) {
		done = fail_with(err, EINVAL, "cannot reset the interrupt");
	} else {
		irq->server = server;
		irq->resets++;
	}
	pthread_mutex_unlock(&lock);
	return done;
}

int kvm_irq_pulse(struct kvm_vm *vm, uint32_t number)
{
	struct irq *irq;
	int result = 0;

	pthread_mutex_lock(&lock);
	irq = find_irq(vm, number);
	if (fails(FAKE_IRQ_PULSE) || irq == NULL || irq->resets == 0)
		result = -EINVAL;
	else
		irq->pulses++;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	return result;
}

int kvm_vm_set_process_table(struct kvm_vm *vm, uint64_t table, bool gtse)
{
	int result = 0;

	pthread_mutex_lock(&lock);
	if (fails(FAKE_SET_PROCESS_TABLE)) {
		result = -EINVAL;
	} else {
		vm->process_table = table;
		vm->gtse = gtse;
	}
	pthread_mutex_unlock(&lock);
	return result;
}

/* --- kvm.h: vCPUs ------------------------------------------------------------------------ */

static struct record *create_record(struct kvm_vm *vm, uint32_t id, struct err *err)
{
	struct record *record;

	if (fails(FAKE_VCPU_CREATE)) {
		fail_with(err, ENOMEM, "cannot create the vCPU");
		return NULL;
	}
	if (id >= vm->facts.max_vcpu_id || id >= VCPU_IDS || vm->vcpus >= vm->facts.max_vcpus) {
		fail_with(err, EINVAL, "no vCPU can have this id");
		return NULL;
	}
	if (vm->records[id] != NULL && vm->records[id]->aside) {
		vm->records[id]->aside = false;
		return vm->records[id];
	}
	if (vm->records[id] != NULL) {
		fail_with(err, EEXIST, "there was a vCPU with this id already");
		return NULL;
	}
	record = vm->records[id] = calloc(1, sizeof *record);
	if (record == NULL) {
		fail_with(err, ENOMEM, "cannot create the vCPU");
		return NULL;
	}
	vm->vcpus++; /* its id is gone for good, even if it cannot be connected */
	if (id >= vm->servers) {
		fail_with(err, EINVAL, "the interrupt controller has no such server");
		return NULL;
	}
	return record;
}

struct kvm_vcpu *kvm_vcpu_create(struct kvm_vm *vm, uint32_t id, struct err *err)
{
	struct kvm_vcpu *vcpu = calloc(1, sizeof *vcpu);
	struct record *record = NULL;

	pthread_mutex_lock(&lock);
	if (vcpu == NULL)
		fail_with(err, ENOMEM, "cannot create the vCPU");
	else
		record = create_record(vm, id, err);
	if (record != NULL) {
		*vcpu = (struct kvm_vcpu){.vm = vm, .record = record, .id = id};
		record->alive = true;
		record->thread = pthread_self();
		live_vcpus += vm == current;
	} else {
		free(vcpu);
		vcpu = NULL;
	}
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	return vcpu;
}

/* The guest will never see an answer to what it stopped for. */
static void drop_exit(struct record *record)
{
	record->calling = false;
	if (record->phase == PHASE_IDLE)
		return;
	record->phase = PHASE_IDLE;
	record->dropped = true;
}

void kvm_vcpu_destroy(struct kvm_vcpu *vcpu)
{
	if (vcpu == NULL)
		return;
	pthread_mutex_lock(&lock);
	if (vcpu->record->inside)
		die("vCPU %u is destroyed while it runs", vcpu->id);
	drop_exit(vcpu->record);
	vcpu->record->alive = false;
	live_vcpus -= vcpu->vm == current;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	free(vcpu);
}

void kvm_vcpu_set_aside(struct kvm_vcpu *vcpu)
{
	struct record *record = vcpu->record;

	kvm_vcpu_destroy(vcpu);
	pthread_mutex_lock(&lock);
	record->aside = true;
	pthread_mutex_unlock(&lock);
}

static void require_own_thread(const struct kvm_vcpu *vcpu, const char *call)
{
	if (!pthread_equal(pthread_self(), vcpu->record->thread))
		die("%s for vCPU %u on a thread that is not its own", call, vcpu->id);
}

static void carry_answer(struct record *record, const struct kvm_exit_info *exit)
{
	if (record->calling)
		record->hcall = exit->hcall;
	record->calling = false;
	if (record->phase != PHASE_TAKEN)
		return;
	record->info.hcall = exit->hcall;
	record->phase = PHASE_IDLE;
}

/* What the guest that acts by itself does next, if there is one and it does anything. */
static bool ask_guest(const struct kvm_vcpu *vcpu, struct record *record)
{
	uint64_t interrupts = 0;

	if (guest == NULL || record->kicked || record->phase == PHASE_QUEUED)
		return false;
	for (size_t i = 0; i < vcpu->vm->irq_count; i++)
		interrupts += vcpu->vm->irqs[i].pulses;
	record->calling =
	    guest(vcpu->vm->memory, vcpu->id, record->fresh, interrupts, &record->hcall);
	record->fresh = false;
	return record->calling;
}

/* What the guest that acts by itself leaves the guest with. */
static enum kvm_exit make_exit(const struct record *record, struct kvm_exit_info *exit)
{
	exit->hcall = record->hcall;
	exit->hcall.ret = 0;
	if (record->hcall.nr == FAKE_NR_STORE) {
		exit->mmio.address = record->hcall.args[0];
		exit->mmio.length = 4;
		exit->mmio.write = true;
		return KVM_RAN_MMIO;
	}
	if (record->hcall.nr == FAKE_NR_FAIL) {
		snprintf(exit->failure, sizeof exit->failure, "fake KVM: it cannot go on");
		return KVM_RAN_FAILED;
	}
	return KVM_RAN_HCALL;
}

/* Wait for a kick or an exit to make; the exit is handed out in *exit. */
static enum kvm_exit wait_for_exit(
    const struct kvm_vcpu *vcpu, struct record *record, struct kvm_exit_info *exit)
{
	while (!record->kicked && record->phase != PHASE_QUEUED && !ask_guest(vcpu, record))
		pthread_cond_wait(&changed, &lock);
	if (record->kicked)
		return KVM_RAN_INTERRUPTED;
	if (record->calling)
		return make_exit(record, exit);
	record->phase = record->exit == KVM_RAN_FAILED ? PHASE_IDLE : PHASE_TAKEN;
	record->taken = true;
	*exit = record->info;
	exit->hcall.ret = 0;
	return record->exit;
}

enum kvm_exit kvm_vcpu_run(struct kvm_vcpu *vcpu, struct kvm_exit_info *exit)
{
	struct record *record = vcpu->record;
	enum kvm_exit result;

	pthread_mutex_lock(&lock);
	require_own_thread(vcpu, "kvm_vcpu_run");
	if (!record->entered)
		die("vCPU %u runs, and its registers were not set", vcpu->id);
	carry_answer(record, exit);
	record->inside = true;
	pthread_cond_broadcast(&changed);
	if (fails(FAKE_VCPU_RUN)) {
		snprintf(exit->failure, sizeof exit->failure, "fake KVM: told to fail");
		result = KVM_RAN_FAILED;
	} else {
		result = wait_for_exit(vcpu, record, exit);
	}
	record->inside = false;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	return result;
}

void kvm_vcpu_kick(struct kvm_vcpu *vcpu)
{
	pthread_mutex_lock(&lock);
	vcpu->record->kicked = true;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

void kvm_vcpu_unkick(struct kvm_vcpu *vcpu)
{
	pthread_mutex_lock(&lock);
	require_own_thread(vcpu, "kvm_vcpu_unkick");
	vcpu->record->kicked = false;
	pthread_mutex_unlock(&lock);
}

bool kvm_vcpu_enter_at(
    struct kvm_vcpu *vcpu, uint64_t pc, uint64_t r3, const struct kvm_modes *modes, struct err *err)
{
	struct record *record = vcpu->record;
	bool done = true;

	pthread_mutex_lock(&lock);
	require_own_thread(vcpu, "kvm_vcpu_enter_at");
	drop_exit(record);
	if (fails(FAKE_ENTER_AT)) {
		done = fail_with(err, EIO, "cannot set registers");
	} else {
		record->pc = pc;
		record->r3 = r3;
		record->modes = *modes;
		record->entered = record->fresh = true;
		record->parked = false;
		record->enters++;
	}
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	return done;
}

bool kvm_vcpu_park(struct kvm_vcpu *vcpu, struct err *err)
{
	struct record *record = vcpu->record;
	bool done = true;

	pthread_mutex_lock(&lock);
	require_own_thread(vcpu, "kvm_vcpu_park");
	drop_exit(record);
	if (fails(FAKE_PARK)) {
		done = fail_with(err, EIO, "cannot park");
	} else {
		record->entered = false;
		record->parked = true;
		record->parks++;
	}
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	return done;
}

bool kvm_vcpu_set_modes(struct kvm_vcpu *vcpu, const struct kvm_modes *modes, struct err *err)
{
	bool done = true;

	pthread_mutex_lock(&lock);
	require_own_thread(vcpu, "kvm_vcpu_set_modes");
	if (fails(FAKE_SET_MODES))
		done = fail_with(err, EIO, "cannot set LPCR");
	else
		vcpu->record->modes = *modes;
	pthread_mutex_unlock(&lock);
	return done;
}

uint64_t kvm_timebase(void)
{
	return atomic_load(&timebase);
}

bool kvm_vcpu_set_timebase_offset(struct kvm_vcpu *vcpu, int64_t offset, struct err *err)
{
	bool done = true;

	pthread_mutex_lock(&lock);
	require_own_thread(vcpu, "kvm_vcpu_set_timebase_offset");
	if (fails(FAKE_SET_TIMEBASE))
		done = fail_with(err, EINVAL, "cannot set the timebase");
	else
		vcpu->record->timebase_offset = offset;
	pthread_mutex_unlock(&lock);
	return done;
}

/* --- fake_kvm.h: waiting ----------------------------------------------------------------- */

bool kvm_vcpu_set_sprg0(struct kvm_vcpu *vcpu, uint64_t value)
{
	bool set;

	pthread_mutex_lock(&lock);
	require_own_thread(vcpu, "kvm_vcpu_set_sprg0");
	set = !fails(FAKE_SET_SPRG0);
	if (set)
		vcpu->record->sprg0 = value;
	pthread_mutex_unlock(&lock);
	return set;
}

bool kvm_vcpu_registers(struct kvm_vcpu *vcpu, struct kvm_registers *ret_registers)
{
	const struct record *record = vcpu->record;
	bool known;

	pthread_mutex_lock(&lock);
	require_own_thread(vcpu, "kvm_vcpu_registers");
	known = !fails(FAKE_REGISTERS);
	/* Its program counter, and what tells that a register is not another one. */
	*ret_registers = (struct kvm_registers){
	    .pc = record->pc, .msr = UINT64_C(1) << 63, .lr = record->pc + 4, .ctr = vcpu->id};
	pthread_mutex_unlock(&lock);
	return known;
}

typedef bool condition(const struct record *record, uint64_t count);

static bool is_free(const struct record *record, uint64_t count)
{
	(void)count;
	return record->alive && !record->busy && record->phase == PHASE_IDLE;
}

static bool is_answered(const struct record *record, uint64_t count)
{
	(void)count;
	return record->phase == PHASE_IDLE;
}

static bool is_taken(const struct record *record, uint64_t count)
{
	(void)count;
	return record->phase != PHASE_QUEUED;
}

static bool is_running(const struct record *record, uint64_t count)
{
	(void)count;
	return record->inside && !record->kicked && record->phase == PHASE_IDLE;
}

static bool has_entered(const struct record *record, uint64_t count)
{
	return record->enters >= count;
}

static bool has_parked(const struct record *record, uint64_t count)
{
	return record->parks >= count;
}

/* With the lock held. The record is looked up each time: the vCPU may be yet to come. */
static struct record *wait_for(uint32_t id, condition *holds, uint64_t count, const char *what)
{
	struct timespec deadline = deadline_from_now();

	for (;;) {
		struct record *record = find(id);

		if (record != NULL && holds(record, count))
			return record;
		if (pthread_cond_timedwait(&changed, &lock, &deadline) == ETIMEDOUT)
			die("vCPU %u does not %s in %d s", id, what, FAKE_DEADLINE_S);
	}
}

static void wait_alone(uint32_t id, condition *holds, uint64_t count, const char *what)
{
	pthread_mutex_lock(&lock);
	wait_for(id, holds, count, what);
	pthread_mutex_unlock(&lock);
}

void fake_wait_running(uint32_t id)
{
	wait_alone(id, is_running, 0, "enter the guest");
}

void fake_wait_enters(uint32_t id, uint64_t count)
{
	wait_alone(id, has_entered, count, "get its registers set");
}

void fake_wait_parks(uint32_t id, uint64_t count)
{
	wait_alone(id, has_parked, count, "park");
}

void fake_wait_irq_pulses(uint32_t number, uint64_t count)
{
	struct timespec deadline = deadline_from_now();

	pthread_mutex_lock(&lock);
	for (;;) {
		const struct irq *irq = find_irq(the_vm(), number);

		if (irq != NULL && irq->pulses >= count)
			break;
		if (pthread_cond_timedwait(&changed, &lock, &deadline) == ETIMEDOUT)
			die("interrupt %#x is not sent in %d s", number, FAKE_DEADLINE_S);
	}
	pthread_mutex_unlock(&lock);
}

void fake_wait_until(bool (*holds)(void *context), void *context, const char *what)
{
	struct timespec deadline = deadline_from_now(), now;

	while (!holds(context)) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec > deadline.tv_sec)
			die("%s: not in %d s", what, FAKE_DEADLINE_S);
		sched_yield();
	}
}

/* --- fake_kvm.h: playing the guest ------------------------------------------------------- */

/* Queue an exit, with the lock held; the record is the caller's until release(). */
static struct record *queue(uint32_t id, enum kvm_exit exit, const struct kvm_exit_info *info)
{
	struct record *record = wait_for(id, is_free, 0, "become free to stop for something new");

	record->busy = true;
	record->phase = PHASE_QUEUED;
	record->taken = record->dropped = false;
	record->exit = exit;
	record->info = *info;
	pthread_cond_broadcast(&changed);
	return record;
}

static void release(struct record *record)
{
	record->busy = false;
	pthread_cond_broadcast(&changed);
}

static struct kvm_exit_info hcall_info(uint64_t nr, const uint64_t args[9])
{
	struct kvm_exit_info info = {.hcall = {.nr = nr}};

	if (args != NULL)
		memcpy(info.hcall.args, args, sizeof info.hcall.args);
	return info;
}

bool fake_try_hcall(
    uint32_t id, uint64_t nr, const uint64_t args[9], uint64_t ret_args[9], int64_t *ret_r3)
{
	struct kvm_exit_info info = hcall_info(nr, args);
	struct record *record;
	bool answered;

	pthread_mutex_lock(&lock);
	record = queue(id, KVM_RAN_HCALL, &info);
	wait_for(id, is_answered, 0, "return from an hcall");
	answered = !record->dropped;
	if (answered) {
		*ret_r3 = (int64_t)record->info.hcall.ret;
		if (ret_args != NULL)
			memcpy(ret_args, record->info.hcall.args, sizeof record->info.hcall.args);
	}
	release(record);
	pthread_mutex_unlock(&lock);
	return answered;
}

int64_t fake_hcall(uint32_t id, uint64_t nr, const uint64_t args[9], uint64_t ret_args[9])
{
	int64_t r3 = 0;

	if (!fake_try_hcall(id, nr, args, ret_args, &r3))
		die("hcall %#llx of vCPU %u did not return to the guest", (unsigned long long)nr,
		    id);
	return r3;
}

static void queue_until_taken(uint32_t id, enum kvm_exit exit, const struct kvm_exit_info *info)
{
	struct record *record;

	pthread_mutex_lock(&lock);
	record = queue(id, exit, info);
	wait_for(id, is_taken, 0, "leave the guest");
	if (!record->taken)
		die("vCPU %u was set up anew before it could stop", id);
	release(record);
	pthread_mutex_unlock(&lock);
}

void fake_hcall_noreturn(uint32_t id, uint64_t nr, const uint64_t args[9])
{
	struct kvm_exit_info info = hcall_info(nr, args);

	queue_until_taken(id, KVM_RAN_HCALL, &info);
}

void fake_mmio(uint32_t id, uint64_t address, uint32_t length, bool write)
{
	struct kvm_exit_info info = {
	    .mmio = {.address = address, .length = length, .write = write}};
	struct record *record;

	pthread_mutex_lock(&lock);
	record = queue(id, KVM_RAN_MMIO, &info);
	wait_for(id, is_answered, 0, "go on after a memory access");
	if (record->dropped)
		die("vCPU %u did not go on after a memory access", id);
	release(record);
	pthread_mutex_unlock(&lock);
}

void fake_run_failure(uint32_t id, const char *failure)
{
	struct kvm_exit_info info = {.failure = ""};

	snprintf(info.failure, sizeof info.failure, "%s", failure);
	queue_until_taken(id, KVM_RAN_FAILED, &info);
}

/* --- fake_kvm.h: looking ----------------------------------------------------------------- */

/* A getter: the value of an expression under the lock. */
#define LOOK(type, expression)                                                                     \
	type value;                                                                                \
	pthread_mutex_lock(&lock);                                                                 \
	value = (expression);                                                                      \
	pthread_mutex_unlock(&lock);                                                               \
	return value

bool fake_vcpu_created(uint32_t id)
{
	LOOK(bool, find(id) != NULL);
}

bool fake_vcpu_running(uint32_t id)
{
	LOOK(bool, find(id) != NULL && is_running(find(id), 0));
}

bool fake_vcpu_parked(uint32_t id)
{
	LOOK(bool, find(id) != NULL && find(id)->parked);
}

uint64_t fake_vcpu_enters(uint32_t id)
{
	LOOK(uint64_t, find(id) != NULL ? find(id)->enters : 0);
}

uint64_t fake_vcpu_parks(uint32_t id)
{
	LOOK(uint64_t, find(id) != NULL ? find(id)->parks : 0);
}

size_t fake_vcpu_stack_bytes(uint32_t id)
{
	pthread_attr_t attributes;
	size_t bytes = 0;
	pthread_t thread;

	pthread_mutex_lock(&lock);
	thread = the_record(id)->thread;
	pthread_mutex_unlock(&lock);
	if (pthread_getattr_np(thread, &attributes) != 0 ||
	    pthread_attr_getstacksize(&attributes, &bytes) != 0)
		die("the thread of vCPU %u has no stack", id);
	pthread_attr_destroy(&attributes);
	return bytes;
}

static struct record *entered_record(uint32_t id)
{
	if (the_record(id)->enters == 0)
		die("vCPU %u never had its registers set", id);
	return the_record(id);
}

uint64_t fake_vcpu_pc(uint32_t id)
{
	LOOK(uint64_t, entered_record(id)->pc);
}

uint64_t fake_vcpu_r3(uint32_t id)
{
	LOOK(uint64_t, entered_record(id)->r3);
}

struct kvm_modes fake_vcpu_modes(uint32_t id)
{
	LOOK(struct kvm_modes, entered_record(id)->modes);
}

int64_t fake_vcpu_timebase_offset(uint32_t id)
{
	LOOK(int64_t, entered_record(id)->timebase_offset);
}

void fake_set_timebase(uint64_t ticks)
{
	atomic_store(&timebase, ticks);
}

uint64_t fake_vcpu_sprg0(uint32_t id)
{
	LOOK(uint64_t, entered_record(id)->sprg0);
}

uint32_t fake_parked_count(void)
{
	uint32_t parked = 0;

	pthread_mutex_lock(&lock);
	for (uint32_t id = 0; id < VCPU_IDS; id++)
		parked += find(id) != NULL && find(id)->parked;
	pthread_mutex_unlock(&lock);
	return parked;
}

/* One that was never reset counts as nothing sent, nothing reset. */
static struct irq irq_or_none(uint32_t number)
{
	const struct irq *irq = find_irq(the_vm(), number);

	return irq != NULL ? *irq : (struct irq){.number = number};
}

uint64_t fake_irq_pulses(uint32_t number)
{
	LOOK(uint64_t, irq_or_none(number).pulses);
}

uint64_t fake_irq_resets(uint32_t number)
{
	LOOK(uint64_t, irq_or_none(number).resets);
}

uint32_t fake_irq_server(uint32_t number)
{
	LOOK(uint32_t, irq_or_none(number).server);
}

uint64_t fake_process_table(void)
{
	LOOK(uint64_t, the_vm()->process_table);
}

bool fake_process_table_gtse(void)
{
	LOOK(bool, the_vm()->gtse);
}

uint32_t fake_threads(void)
{
	LOOK(uint32_t, the_vm()->threads);
}

uint32_t fake_servers(void)
{
	LOOK(uint32_t, the_vm()->servers);
}

struct kvm_xics_tokens fake_xics_tokens(void)
{
	LOOK(struct kvm_xics_tokens, the_vm()->tokens);
}

bool fake_hcall_enabled(uint64_t nr)
{
	LOOK(bool, nr % 4 == 0 && nr < HCALL_MAX && the_vm()->hcalls[nr / 4]);
}

const struct gmem *fake_memory(void)
{
	LOOK(const struct gmem *, current != NULL ? current->memory : NULL);
}

uint32_t fake_live_vms(void)
{
	LOOK(uint32_t, live_vms);
}

uint32_t fake_live_vcpus(void)
{
	LOOK(uint32_t, live_vcpus);
}

/* --- fake_kvm.h: setting up -------------------------------------------------------------- */

void fake_reset(void)
{
	pthread_mutex_lock(&lock);
	current = NULL; /* not freed: threads may still be in it */
	live_vms = live_vcpus = 0;
	memset(failures, 0, sizeof failures);
	ask_fault = NULL;
	guest = NULL;
	atomic_store(&timebase, 0);
	set_default_facts();
	pthread_mutex_unlock(&lock);
}

struct kvm_facts *fake_facts(void)
{
	return &next_facts;
}

void fake_set_guest(fake_guest *new_guest)
{
	pthread_mutex_lock(&lock);
	guest = new_guest;
	pthread_mutex_unlock(&lock);
}

void fake_set_fault(fake_fault *fault)
{
	pthread_mutex_lock(&lock);
	ask_fault = fault;
	pthread_mutex_unlock(&lock);
}

void fake_fail_next(enum fake_call call, uint32_t count)
{
	fake_fail_after(call, 0, count);
}

void fake_fail_after(enum fake_call call, uint32_t skip, uint32_t count)
{
	pthread_mutex_lock(&lock);
	failures[call].skip = skip;
	failures[call].count = count;
	pthread_mutex_unlock(&lock);
}
