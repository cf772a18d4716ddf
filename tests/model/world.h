/* SPDX-License-Identifier: Apache-2.0 */
/*
 * world.h - the machine as the explorer sees it: a state that can be kept and brought back, and
 * the moves that lead from one state to the next.
 *
 * The code is the program's own: all of src/spapr but the device tree, and src/drc. Only what it
 * stands on is replaced. KVM is a few functions that succeed, or fail when a move says so. Time
 * stands still. Threads are moves: a vCPU thread does what is asked of it (cpu_attend() in
 * src/spapr/cpu.c) when the explorer chooses, so every order of it with all other moves is tried.
 * Locks are not: each move runs to its end. What may happen between two lines of a function is
 * the matter of locking.pml and hammer.c.
 *
 * How many calls a vCPU can still make after it was asked to leave the guest: one, namely the one
 * it had already left the guest with. `may_call` keeps that.
 */
#ifndef PAPRIKA_MODEL_WORLD_H
#define PAPRIKA_MODEL_WORLD_H

#include "spapr/event_log.h"
#include "spapr/machine.h"

enum { WORLD_CORES = 3, WORLD_THREADS = 2, WORLD_VCPUS = WORLD_CORES * WORLD_THREADS };
enum { WORLD_EVENTS = WORLD_CORES + 1 }; /* with the fence */
enum { WORLD_SLOTS = 4 };

/* What is explored; explore.c has the table of them. */
struct world_config {
	const char *name;
	uint32_t cores, threads;
	uint32_t first_core; /* the guest and the operator act on the cores from here on */
	uint32_t slots;      /* operations remembered: few, so that they run out */
	bool starts;         /* the guest starts and stops vCPUs of the cores acted on */
	bool boot_starts;    /* ... and of the others */
	bool any_caller;     /* each vCPU makes the guest's calls, not only the first that can */
	bool late_reports;   /* reports are a move of their own, not part of each */
	bool steps;          /* tell states apart by the steps their operations have passed */
	bool faults;         /* KVM may refuse things */
	bool halts;          /* stop, cont, power-off, power button, the guest's end */
	uint32_t group;      /* instead of cores: devices of so many memory blocks */
	bool late_release;   /* resources of what left are released by a move of its own */
	bool offers;         /* a reset offers blocks by an event */
	bool whole_walks;    /* the guest reads a description to its end in one move */
	bool fences;         /* time passes, so that fences are sent; the guest answers, or lies */
};

enum move_kind {
	/* The guest, by vCPU `vcpu`. */
	GUEST_INDICATOR, /* argument: a row of world_indicators */
	GUEST_SENSE,
	GUEST_CONFIGURE_FIRST,
	GUEST_CONFIGURE_NEXT,
	GUEST_CONFIGURE_BAD, /* the work area is not in RAM */
	GUEST_START,         /* argument: thread of the core */
	GUEST_QUERY,         /* argument: thread of the core */
	GUEST_STOP_SELF,
	GUEST_FETCH,
	GUEST_FETCH_BAD, /* the buffer is not in RAM */
	GUEST_FETCH_SHUTDOWN,
	GUEST_POWER_OFF,
	GUEST_FENCE,      /* get-sensor-state of a boot block; argument: enum world_block */
	GUEST_NEW_KERNEL, /* by kexec */
	/* A vCPU's thread does what is asked of it; the same, and KVM refuses. */
	VCPU_ATTEND,
	VCPU_ATTEND_FAILS,
	/* The operator. argument of CANCEL and DEADLINE: 0 the add, 1 the removal. */
	OPERATOR_ADD,
	OPERATOR_ADD_TWIN,  /* under the name of another core */
	OPERATOR_ADD_FAILS, /* KVM refuses the vCPU */
	OPERATOR_REMOVE,
	OPERATOR_REMOVE_NOTHING, /* an unknown device */
	OPERATOR_CANCEL,
	OPERATOR_CANCEL_ENDED,
	OPERATOR_RESET,
	OPERATOR_RESET_FAILS, /* the kernel cannot be loaded */
	OPERATOR_POWERDOWN,
	OPERATOR_STOP,
	OPERATOR_CONT,
	OPERATOR_REPORT,  /* all reports are fetched */
	OPERATOR_RELEASE, /* the resources of what left are released */
	OPERATOR_SETTLE,  /* the end of the program: leads nowhere */
	/* Time and KVM. */
	DEADLINE_PASSES,
	TIME_PASSES, /* argument: enum world_delay */
	KVM_REFUSES, /* the next interrupt */
	MOVE_KINDS
};

struct move {
	uint8_t kind, vcpu, core, argument;
};

/* What the guest senses of the blocks it boots with. */
enum world_block { BLOCK_OF_FENCE, BLOCK_OTHER };

/* How much later the fence is looked at: at once, a second, until a fence may be lost. */
enum world_delay { DELAY_NONE, DELAY_SECOND, DELAY_LOST };

/* What the guest has done with the last event of a connector on which something is pending. */
enum heard {
	HEARD_NOT,    /* not fetched, or nothing is pending */
	HEARD_ALONE,  /* fetched; no fence was fetched after it that may still be answered */
	HEARD_FENCED, /* ... and one was, and is not answered */
	HEARD_PROVEN, /* ... and was answered */
};

struct world_indicator {
	uint32_t indicator, value, index_offset;
	int input; /* enum drc_input, or -1 if there is no such indicator */
};
extern const struct world_indicator world_indicators[];
extern const size_t world_indicator_count;

/* What a move was answered with. */
struct answer {
	int32_t status;      /* of a guest's call */
	uint32_t output;     /* its second result */
	bool accepted;       /* an operator's request */
	uint64_t operation;  /* ... and its operation */
	struct err err;      /* ... or why not */
	uint32_t event_core; /* what was fetched: core, and 1 add, 2 remove */
	uint32_t event_action;
};

/* What the oracle keeps of the past, part of the state. Its author is oracle.c, but for the first
 * four, which are about the world itself. */
struct ghost {
	bool may_call[WORLD_VCPUS];      /* in the guest, or out of it with a call in hand */
	bool used[WORLD_VCPUS];          /* has run since it was parked */
	bool kvm_refuses;                /* the next interrupt */
	bool signalled;                  /* a hot-plug interrupt since the last fetch */
	bool spare;                      /* an interrupt more than there were events was sent */
	uint8_t asked_from[WORLD_CORES]; /* enum drc_state a rejection has to restore */
	uint8_t heard[WORLD_CORES];      /* enum heard */
	uint8_t fence;                   /* enum fence_state */
	bool present[WORLD_CORES];       /* a block's resources are there: world_block.c */
	bool due[WORLD_CORES];           /* a fence is due at once behind its event */
	bool answers;                    /* this kernel has answered a fence */
};

struct world {
	const struct world_config *config;
	struct spapr *machine;
	struct ghost ghost;
	/* Within a move. */
	unsigned pulses; /* hot-plug interrupts sent */
	bool kvm_fails;  /* calls on vCPUs fail */
	bool load_fails;
	uint64_t later_ms; /* the clock shows so much more */
	uint8_t log[EVENT_LOG_BYTES];
};

extern struct world world;

/* Build the machine and boot it. */
void world_create(const struct world_config *config);

/* Every move that is possible now; returns how many. */
#define WORLD_MOVES_MAX 256
size_t world_moves(struct move moves[WORLD_MOVES_MAX]);
bool world_possible(struct move move);

/* Make it. */
struct answer world_make(struct move move);

/* Keep the state, and bring it back: WORLD_SNAPSHOT_MAX bytes at most. */
#define WORLD_SNAPSHOT_MAX 16384
size_t world_save(void *to);
void world_restore(const void *from);

/* What tells states apart: numbers that only count (ids, times, orders) are left out, or replaced
 * by their order. Returns the length. */
#define WORLD_KEY_MAX 512
size_t world_key(uint8_t key[WORLD_KEY_MAX]);

/* world_block.c: put devices of memory blocks in the place of cores. */
void world_make_blocks(void);

/* What the machine itself says of this. */
enum heard world_heard(const struct connector *connector);

/* A move in words, for a trace. */
void world_describe(struct move move, char *to, size_t size);

/* explore.c: what was found wrong; prints the way that led here and ends the process. */
void broken(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* attend.c: the thread of a vCPU does what is asked of it, until it waits or enters the guest. */
void world_attend(struct vcpu *vcpu);

/* --- oracle.c: what has to hold ------------------------------------------------------------ */

/* What is compared before and after. */
struct view {
	struct {
		struct drc drc;
		char device[OP_DEVICE_MAX];
		uint64_t add, remove;
		uint32_t walk; /* where ibm,configure-connector stands */
	} cores[WORLD_CORES];
	enum spapr_vcpu_state vcpus[WORLD_VCPUS];
	struct operation operations[WORLD_SLOTS];
	uint64_t last_id;
	uint32_t events[WORLD_EVENTS], event_count;
	bool epow_queued, interrupt_owed;
	struct ghost ghost;
};

void oracle_look(struct view *view);
/* Whatever the move, this holds in every state. */
void oracle_check_state(void);
/* This move led from there to here, with this answer. */
void oracle_check_move(struct move move, const struct view *before, const struct answer *answer);
/* The same move was made twice in a row; between is what the first led to. */
void oracle_check_repeat(struct move move, const struct view *before, const struct view *between);
/* Fetch all reports; each must be due. */
void oracle_report(void);

/* Faults to be found, of mutants: drawn by explore.c, carried out by stand-ins of world.c. */
enum fault {
	FAULT_NONE,
	FAULT_END_LOST,      /* an operation's rejection is not noted */
	FAULT_EVENT_LOST,    /* no event is queued for a removal */
	FAULT_DETACH_LOST,   /* threads of a core that left run on */
	FAULT_NEWS_LOST,     /* the operator is not told */
	FAULT_STEP_UNDATED,  /* fetching is not noted */
	FAULT_ENDS_TWICE,    /* an ended operation ends again, as done */
	FAULT_START_REFUSED, /* threads of a core cannot be started again */
	FAULT_EVENTS_KEPT,   /* events survive a reset */
	FAULT_COUNT
};
extern enum fault world_fault;

#endif
