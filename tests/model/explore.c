/* SPDX-License-Identifier: Apache-2.0 */
/*
 * explore.c - every state that guest, operator, time and KVM can bring the machine into, and every
 * move in each: walked to the end, every state and every move judged by oracle.c.
 *
 *   explore NAME        one of the configurations below; prints how many states and transitions
 *   explore --mutants   breaks one row of the transition table, or one line of glue, at a time,
 *                       and expects each to be found: that the judge can say no
 *
 * Breadth first, so that the way to what is wrong is as short as it can be; it is printed.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "world.h"

/* clang-format off */
static const struct world_config configs[] = {
    /* One core beside the boot core: the whole of it. The mutants are tried on the first two. */
    {"core",    .cores = 2, .threads = 1, .first_core = 1, .slots = 4, .starts = true, .boot_starts = true},
    /* ... with time that passes, so that fences are sent. */
    {"fence",   .cores = 2, .threads = 1, .first_core = 1, .slots = 2, .starts = true, .boot_starts = true, .fences = true},
    /* ... with each vCPU as the one that calls; with the steps of operations. */
    {"callers", .cores = 2, .threads = 1, .first_core = 1, .slots = 4, .starts = true, .boot_starts = true, .any_caller = true},
    {"steps",   .cores = 2, .threads = 1, .first_core = 1, .slots = 2, .starts = true, .boot_starts = true, .steps = true},
    /* ... with reports that come late; with all that may fail, or halt the machine. */
    {"reports", .cores = 2, .threads = 1, .first_core = 1, .slots = 2, .late_reports = true, .steps = true},
    {"faults",  .cores = 2, .threads = 1, .first_core = 1, .slots = 2, .starts = true, .boot_starts = true, .faults = true},
    {"halts",   .cores = 2, .threads = 1, .first_core = 1, .slots = 2, .starts = true, .fences = true, .halts = true},
    /* The boot core too, which cannot be removed but can be given back. */
    {"boot",    .cores = 2, .threads = 1, .first_core = 0, .slots = 2, .fences = true},
    /* Two threads to a core; two cores beside the boot core, also with fences. */
    {"threads", .cores = 2, .threads = 2, .first_core = 1, .slots = 2, .starts = true},
    {"cores",   .cores = 3, .threads = 1, .first_core = 1, .slots = 2},
    {"order",   .cores = 3, .threads = 1, .first_core = 1, .slots = 2, .fences = true, .whole_walks = true},
    /* Memory: a block; one that a reset offers by an event; two devices; a device of two blocks, whose
     * resources are released later, or at once. */
    {"block",   .cores = 2, .threads = 1, .first_core = 1, .slots = 4, .fences = true, .group = 1},
    {"offer",   .cores = 2, .threads = 1, .first_core = 1, .slots = 2, .fences = true, .group = 1, .offers = true, .whole_walks = true},
    {"blocks",  .cores = 3, .threads = 1, .first_core = 1, .slots = 2, .fences = true, .group = 1, .whole_walks = true},
    {"group",   .cores = 3, .threads = 1, .first_core = 1, .slots = 2, .fences = true, .group = 2, .late_release = true, .whole_walks = true},
};
/* clang-format on */

enum { TWINS_MAX = 10000, TWIN_EVERY = 97 };

struct node {
	uint32_t parent;
	struct move move; /* that led here */
	uint32_t key_at, key_length;
	void *snapshot; /* until it has been expanded */
};

static struct {
	struct node *nodes;
	uint32_t count, room;
	uint8_t *keys;
	size_t keys_used, keys_room;
	uint32_t *table; /* of node numbers + 1 */
	uint32_t table_size;
	uint64_t transitions;
	/* Machines that differ from the first of their state only in what the key leaves out. */
	struct node *twins;
	uint32_t twin_count;
	uint32_t depth_end;
	unsigned depth;
} found;

/* Where the explorer is, for a trace. */
static uint32_t current;
static struct move current_move;
static bool quiet, walked;
static uint8_t rows_seen[128];

static void *checked(void *memory)
{
	if (memory == NULL) {
		fprintf(stderr, "explore: out of memory\n");
		exit(2);
	}
	return memory;
}

static void print_way(uint32_t node)
{
	char text[128];

	if (node == 0)
		return;
	print_way(found.nodes[node].parent);
	world_describe(found.nodes[node].move, text, sizeof text);
	printf("  %s\n", text);
}

void broken(const char *format, ...)
{
	char text[128];
	va_list arguments;

	if (quiet)
		_exit(1);
	va_start(arguments, format);
	printf("%s: broken: ", world.config->name);
	vprintf(format, arguments);
	va_end(arguments);
	printf("\nthe way there, from the first boot:\n");
	print_way(current);
	world_describe(current_move, text, sizeof text);
	printf("  %s\n", text);
	fflush(stdout);
	_exit(1);
}

/* --- The states seen ------------------------------------------------------------------------ */

static uint64_t hash(const uint8_t *key, size_t length)
{
	uint64_t value = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < length; i++)
		value = (value ^ key[i]) * UINT64_C(0x100000001b3);
	return value ^ value >> 29;
}

static uint32_t *slot_of(const uint8_t *key, size_t length)
{
	uint32_t at = (uint32_t)hash(key, length) & (found.table_size - 1);

	while (found.table[at] != 0) {
		const struct node *node = &found.nodes[found.table[at] - 1];

		if (node->key_length == length &&
		    memcmp(found.keys + node->key_at, key, length) == 0)
			break;
		at = (at + 1) & (found.table_size - 1);
	}
	return &found.table[at];
}

static void grow_table(void)
{
	found.table_size = found.table_size == 0 ? 1u << 16 : found.table_size * 2;
	free(found.table);
	found.table = checked(calloc(found.table_size, sizeof *found.table));
	for (uint32_t i = 0; i < found.count; i++)
		*slot_of(found.keys + found.nodes[i].key_at, found.nodes[i].key_length) = i + 1;
}

static void grow(size_t key_length)
{
	if (found.count * 2 >= found.table_size)
		grow_table();
	if (found.count == found.room) {
		found.room = found.room == 0 ? 1024 : found.room * 2;
		found.nodes = checked(realloc(found.nodes, found.room * sizeof *found.nodes));
	}
	while (found.keys_used + key_length > found.keys_room) {
		found.keys_room = found.keys_room == 0 ? 1 << 16 : found.keys_room * 2;
		found.keys = checked(realloc(found.keys, found.keys_room));
	}
}

static void *snapshot_now(void)
{
	static uint8_t buffer[WORLD_SNAPSHOT_MAX];
	size_t size = world_save(buffer);

	return memcpy(checked(malloc(size)), buffer, size);
}

/* One in so many of those that come to a state others have come to. */
static void keep_twin(void)
{
	static unsigned met;

	if (++met % TWIN_EVERY != 0 || found.twin_count == TWINS_MAX || walked)
		return;
	if (found.twins == NULL)
		found.twins = checked(calloc(TWINS_MAX, sizeof *found.twins));
	found.twins[found.twin_count++] =
	    (struct node){.parent = current, .move = current_move, .snapshot = snapshot_now()};
}

/* The state the world is in, if it is new. */
static void note_state(void)
{
	uint8_t key[WORLD_KEY_MAX];
	size_t length = world_key(key);
	uint32_t *slot;

	grow(length);
	slot = slot_of(key, length);
	if (*slot != 0) {
		keep_twin();
		return;
	}
	if (walked)
		broken("two machines are taken for one state, and lead to different ones");
	found.nodes[found.count] = (struct node){.parent = current,
	    .move = current_move,
	    .key_at = (uint32_t)found.keys_used,
	    .key_length = (uint32_t)length,
	    .snapshot = snapshot_now()};
	memcpy(found.keys + found.keys_used, key, length);
	found.keys_used += length;
	*slot = ++found.count;
}

/* --- Walking -------------------------------------------------------------------------------- */

/* What is reported at once is no state of its own. */
static void judge(struct move move, const struct view *before, const struct answer *answer)
{
	oracle_check_move(move, before, answer);
	oracle_check_state();
	if (!world.config->late_reports)
		oracle_report();
}

static bool repeatable(struct move move)
{
	/* Each fetch is another event; a walk that begins anew is judged by its answers. */
	return move.kind != GUEST_FETCH && move.kind < VCPU_ATTEND
	           ? move.kind != GUEST_STOP_SELF
	           : move.kind == OPERATOR_ADD || move.kind == OPERATOR_REMOVE ||
	                 move.kind == OPERATOR_RESET || move.kind == OPERATOR_STOP ||
	                 move.kind == OPERATOR_CONT || move.kind == OPERATOR_POWERDOWN;
}

static void make(struct move move, const void *snapshot)
{
	struct view before, between;
	struct answer answer;

	world_restore(snapshot);
	current_move = move;
	oracle_look(&before);
	answer = world_make(move);
	judge(move, &before, &answer);
	found.transitions++;
	if (move.kind == OPERATOR_SETTLE)
		return;
	note_state();
	if (!repeatable(move) || !world_possible(move))
		return;
	oracle_look(&between);
	answer = world_make(move);
	oracle_check_repeat(move, &before, &between);
	judge(move, &between, &answer);
}

static void expand(void *snapshot)
{
	struct move moves[WORLD_MOVES_MAX];
	size_t count;

	world_restore(snapshot);
	count = world_moves(moves);
	for (size_t i = 0; i < count; i++)
		make(moves[i], snapshot);
	free(snapshot);
}

static void explore(const struct world_config *config)
{

	world_create(config);
	oracle_check_state();
	note_state();
	for (uint32_t i = 0; i < found.count; i++) {
		if (i == found.depth_end) {
			found.depth_end = found.count;
			found.depth++;
		}
		current = i;
		expand(found.nodes[i].snapshot);
		found.nodes[i].snapshot = NULL;
	}
}

/* Is what the key leaves out of no consequence? Twins must lead to nothing new. */
static void check_twins(void)
{
	walked = true;
	for (uint32_t i = 0; i < found.twin_count; i++) {
		current = found.twins[i].parent;
		expand(found.twins[i].snapshot);
	}
}

/* The family that is explored, and where its rows are: its own, then those of the family it rests
 * on. */
static const struct drc_type *family(void)
{
	return world.config->group != 0 ? &drc_type_lmb : &drc_type_cpu;
}

enum { ROWS_MAX = 128 };

static size_t row_count(void)
{
	return family()->row_count + (family()->rest != NULL ? family()->rest->row_count : 0);
}

static const struct drc_row *row_at(size_t number)
{
	return number < family()->row_count ? &family()->rows[number]
	                                    : &family()->rest->rows[number - family()->row_count];
}

static size_t number_of(const struct drc_row *row)
{
	for (size_t i = 0; i < row_count(); i++)
		if (row_at(i) == row)
			return i;
	return ROWS_MAX - 1; /* the boot core's */
}

/* Of the logical rows: a block's own rows come first. */
static bool shadowed(const struct drc_row *row)
{
	return world.config->group != 0 && number_of(row) >= drc_type_lmb.row_count &&
	       ((row->input == DRC_IN_UNUSABLE && row->status != RTAS_SUCCESS) ||
	           row->input == DRC_IN_START ||
	           (row->input == DRC_IN_CONFIGURE_END && row->when == DRC_IF_ADDING));
}

/* What the machine refuses before it asks the connector: an add where something is, a removal and a
 * cancellation of nothing, the end of a walk that could not begin, the start of what the guest does
 * not own; starts, where no guest makes any; resets of the other kind. */
static bool never_reached(const struct drc_row *row)
{
	bool offers = world.config->offers;

	return shadowed(row) || (row->input == DRC_IN_RESET_OFFER && !offers) ||
	       (row->input == DRC_IN_RESET && offers && row->when != DRC_IF_ATTACHED) ||
	       (row->input == DRC_IN_FENCE && !world.config->fences) ||
	       row->refusal == DRC_OCCUPIED || row->refusal == DRC_EMPTY ||
	       row->refusal == DRC_NOTHING ||
	       (row->input == DRC_IN_CONFIGURE_END && row->status != RTAS_SUCCESS) ||
	       (row->input == DRC_IN_START &&
	           (row->status != RTAS_SUCCESS || !world.config->starts));
}

/* Every input of every connector goes through here (the linker sees to it): is there a row, and
 * which rows are used at all? */
struct drc_result __real_drc_step(
    const struct drc_type *type, struct drc *drc, enum drc_input input);
struct drc_result __wrap_drc_step(
    const struct drc_type *type, struct drc *drc, enum drc_input input);
struct drc_result __wrap_drc_step(
    const struct drc_type *type, struct drc *drc, enum drc_input input)
{
	const struct drc_row *row = drc_row_for(type, drc, input);

	if (row == NULL)
		broken("there is no row for %s in state %s", drc_input_name(input),
		    drc_state_name(&drc_type_cpu, drc->state));
	/* All connectors of a group are asked, of which some have settled. */
	if (never_reached(row) && (row->refusal != DRC_NOTHING || world.config->group < 2))
		broken("row %zu of the table is reached, and cannot be", number_of(row));
	rows_seen[number_of(row)] = 1;
	return __real_drc_step(type, drc, input);
}

/* --- Mutants -------------------------------------------------------------------------------- */

enum {
	MUTATE_NEXT,
	MUTATE_STATUS,
	MUTATE_REFUSAL,
	MUTATE_STEP,
	MUTATE_ADD,
	MUTATE_REMOVE,
	MUTATE_EFFECT
};

/* The table is constant: to its own program, not to this one. */
static struct drc_row *writable_row(size_t row)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t start = (uintptr_t)row_at(row) & ~(page - 1);
	uintptr_t end = (uintptr_t)(row_at(row) + 1);

	if (mprotect((void *)start, end - start, PROT_READ | PROT_WRITE) != 0)
		exit(2);
	return (struct drc_row *)(uintptr_t)row_at(row);
}

/* False if this row cannot be broken so. */
static bool mutate(size_t number, int how, unsigned effect)
{
	const struct drc_row *was = row_at(number);
	bool refuses = was->status != RTAS_SUCCESS || was->refusal != DRC_ACCEPTED;
	struct drc_row *row;

	/* A row that refuses is read no further than that. */
	if (never_reached(was) ||
	    (how == MUTATE_NEXT && (refuses || was->input == DRC_IN_ATTACH)) ||
	    (how == MUTATE_STATUS && was->input >= DRC_IN_ATTACH) ||
	    /* The fence's answer has no status of the connector: it only stops what follows. */
	    (how == MUTATE_STATUS && was->input == DRC_IN_FENCE && was->remove == OP_PENDING &&
	        was->add == OP_PENDING) ||
	    (how == MUTATE_REFUSAL && (was->input < DRC_IN_ATTACH || was->input == DRC_IN_RESET)) ||
	    (how == MUTATE_STEP && was->step == OP_REQUESTED) ||
	    (how == MUTATE_ADD && was->add == OP_PENDING) ||
	    (how == MUTATE_REMOVE && was->remove == OP_PENDING) ||
	    (how == MUTATE_EFFECT && (was->effects & effect) == 0))
		return false;
	row = writable_row(number);
	if (how == MUTATE_NEXT)
		row->next = was->next == DRC_STAY ? DRC_TO_UNISOLATED : DRC_STAY;
	if (how == MUTATE_STATUS)
		row->status = was->status == RTAS_SUCCESS ? RTAS_HARDWARE_ERROR : RTAS_SUCCESS;
	if (how == MUTATE_REFUSAL)
		row->refusal = was->refusal == DRC_ACCEPTED ? DRC_NOTHING : DRC_ACCEPTED;
	if (how == MUTATE_STEP)
		row->step = OP_REQUESTED;
	if (how == MUTATE_ADD)
		row->add = OP_PENDING;
	if (how == MUTATE_REMOVE)
		row->remove = OP_PENDING;
	if (how == MUTATE_EFFECT)
		row->effects &= ~effect;
	return true;
}

static const struct world_config *config_named(const char *name)
{
	for (size_t i = 0; i < sizeof configs / sizeof configs[0]; i++)
		if (strcmp(configs[i].name, name) == 0)
			return &configs[i];
	return NULL;
}

/* In a process of its own: 1 found, 0 not found, -1 there is no such mutant. */
static int try_mutant_on(const char *name, size_t row, int how, unsigned effect, enum fault fault)
{
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		const struct world_config *config = config_named(name);

		quiet = true;
		world_fault = fault;
		world.config = config; /* never_reached() looks there */
		if (fault == FAULT_NONE && !mutate(row, how, effect))
			_exit(3);
		explore(config);
		_exit(0);
	}
	waitpid(child, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 3)
		return -1;
	return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

/* Fences take many states, and few mutants need them. */
static int try_mutant(size_t row, int how, unsigned effect, enum fault fault)
{
	int without, with;

	if (world.config->group != 0)
		return try_mutant_on("block", row, how, effect, fault);
	without = try_mutant_on("core", row, how, effect, fault);
	if (without > 0)
		return without;
	with = try_mutant_on("fence", row, how, effect, fault);
	return with >= 0 ? with : without;
}

static struct {
	unsigned tried, survived;
} mutants;

static void count_mutant(int result, size_t row, int how, unsigned effect, enum fault fault)
{
	if (result < 0)
		return;
	mutants.tried++;
	if (result == 0) {
		mutants.survived++;
		printf("not found: row %zu, how %d, effect %#x; fault %d\n", row, how, effect,
		    (int)fault);
	}
}

static void try_rows(const char *name, size_t count)
{
	world.config = config_named(name);
	for (size_t row = 0; row < count; row++) {
		for (int how = MUTATE_NEXT; how < MUTATE_EFFECT; how++)
			count_mutant(try_mutant(row, how, 0, FAULT_NONE), row, how, 0, FAULT_NONE);
		for (unsigned bit = 0; bit < 16; bit++)
			if (row_at(row)->effects & 1u << bit)
				count_mutant(try_mutant(row, MUTATE_EFFECT, 1u << bit, FAULT_NONE),
				    row, MUTATE_EFFECT, 1u << bit, FAULT_NONE);
	}
}

static int try_mutants(void)
{
	try_rows("block", drc_type_lmb.row_count);
	try_rows("core", drc_type_cpu.row_count);
	for (enum fault fault = FAULT_NONE + 1; fault < FAULT_COUNT; fault++)
		count_mutant(try_mutant(0, 0, 0, fault), 0, 0, 0, fault);
	printf("%u mutants, %u not found\n", mutants.tried, mutants.survived);
	return mutants.survived != 0 || mutants.tried == 0;
}

int main(int argc, char **argv)
{
	const struct world_config *config = argc == 2 ? config_named(argv[1]) : NULL;
	uint64_t transitions;
	unsigned rows = 0, states;

	if (argc == 2 && strcmp(argv[1], "--mutants") == 0)
		return try_mutants();
	if (config == NULL) {
		fprintf(stderr, "usage: explore NAME | --mutants\n");
		return 2;
	}
	explore(config);
	states = found.count;
	transitions = found.transitions;
	check_twins();
	for (size_t i = 0; i < row_count(); i++)
		rows += rows_seen[i] || never_reached(row_at(i));
	printf("%s: %u states, %llu transitions, %u moves from the boot to the farthest; "
	       "%u of %zu rows of the table accounted for; %u twins\n",
	    config->name, states, (unsigned long long)transitions, found.depth, rows, row_count(),
	    found.twin_count);
	return rows == row_count() ? 0 : 1;
}
