/* SPDX-License-Identifier: Apache-2.0 */
/*
 * locking.pml - how the operator's thread and the vCPU threads agree, line by line, for Spin.
 *
 * explore.c tries every order of whole calls. This tries every order of the steps within them: who
 * holds the lock, who waits on which condition, who has been woken, what is written before what is
 * read. Each piece names the function it stands for. What is not about threads is left out: one
 * core can be removed, its vCPU is number 1, and a removal is pending or it is not.
 *
 * What must hold:
 *   - nobody waits for ever. Where all threads stand still and the operator is not in its loop,
 *     Spin reports an invalid end state. Where they stand still and he is, the `timeout` branch
 *     looks for a vCPU that could run, or news that have not been told.
 *   - while the machine is held, no vCPU is in the guest or in a handler
 *   - H_SET_MODE returns when no other vCPU runs with the old modes
 *   - each operation ends once, and its end is told once; time ends none
 *
 * tests/model/check_locking runs it, and again with one thing wrong at a time (-D...): each of
 * those has to be found.
 */
#define VCPUS 2 /* with a third, change hold() and broadcast_quiet() */
#define REMOVABLE 1 /* the vCPU whose core comes and goes */
#ifndef CALLS
#define CALLS 2 /* of each vCPU, until it only computes */
#endif
#ifndef REQUESTS
#define REQUESTS 4 /* of the operator, in all */
#endif
#define IDS (REQUESTS + 1)

mtype = {ABSENT, STOPPED, RUNNING, STOPPING};

/* struct spapr, under machine->lock */
bool lock;
bool stopped, booting, ending;
byte modes;
byte last_id, pending; /* the removal: its id, or 0 */
bool unresolved;
bool ended[IDS], told[IDS]; /* OP_ENDED passed; reported */
byte untold;                /* how many have ended and are not reported */
bool attached = true;

/* struct vcpu, under the lock */
mtype state[VCPUS];
bool waiting[VCPUS], park_needed[VCPUS];
byte has_modes[VCPUS];

/* ... of any thread: atomics */
bool attention[VCPUS], in_guest[VCPUS];
bool news, wake;

/* KVM: immediate_exit and the signal, in one: it stays until the vCPU's thread takes it back. */
bool kicked[VCPUS];

/* Conditions: who sleeps. `changed` of each vCPU, for its thread; `quiet`, for whoever waits for
 * vCPUs: each of them (H_SET_MODE), and the operator (number VCPUS). */
bool sleeps_changed[VCPUS], sleeps_quiet[VCPUS + 1];

/* For the assertions: where threads really are. */
bool inside[VCPUS], handles[VCPUS], standing;

bool inside_then; /* local to want_attention(), which is called with the lock held */

#define HELD (stopped || booting)

inline acquire() { atomic { !lock -> lock = true } }
inline release() { lock = false }

/* pthread_cond_wait(), pthread_cond_broadcast() */
inline wait_changed(v)
{
	atomic { sleeps_changed[v] = true; lock = false }
	atomic { !sleeps_changed[v] && !lock -> lock = true }
}
inline wait_quiet(who)
{
	atomic { sleeps_quiet[who] = true; lock = false }
	atomic { !sleeps_quiet[who] && !lock -> lock = true }
}
inline broadcast_quiet()
{
	d_step { sleeps_quiet[0] = false; sleeps_quiet[1] = false; sleeps_quiet[2] = false }
}

/* want_attention() in cpu.c; the lock is held */
inline want_attention(v)
{
#ifdef KICK_LATE
	inside_then = in_guest[v];
	attention[v] = true;
#else
	attention[v] = true;
	inside_then = in_guest[v];
#endif
#ifndef NO_KICK
	if
	:: inside_then -> kicked[v] = true
	:: else
	fi;
#endif
	sleeps_changed[v] = false
}

/* news_tell() in news.c: two steps, with or without the lock */
inline tell()
{
	atomic { old = news; news = true }
	if
	:: !old -> wake = true
	:: else
	fi
}

/* op_end() in operation.c; the lock is held */
inline end_operation()
{
	assert(!ended[pending]); /* once */
	ended[pending] = true;
	untold++;
	pending = 0;
	unresolved = false
}

/* cpus_detach() in cpu.c, for the one core */
inline detach()
{
	attached = false;
	if
	:: state[REMOVABLE] == STOPPED -> state[REMOVABLE] = ABSENT
	:: state[REMOVABLE] == RUNNING -> state[REMOVABLE] = STOPPING
	:: else
	fi;
	park_needed[REMOVABLE] = true;
	want_attention(REMOVABLE)
}

#define AT_REST(v) ((v == REMOVABLE && !attached) -> ABSENT : STOPPED)

/* --- A guest's call: hcall_dispatch(), on the vCPU's thread --------------------------------- */

/* cpus_set_modes(): all are told first, then waited for */
inline set_mode()
{
	acquire();
	modes++;
	other = 1 - self;
	if
	:: state[other] == RUNNING -> want_attention(other)
	:: else
	fi;
	if
	:: state[self] == RUNNING -> want_attention(self)
	:: else
	fi;
#ifndef NO_WAIT
	do
	:: has_modes[other] != modes && in_guest[other] -> wait_quiet(self)
	:: else -> break
	od;
#endif
	assert(!(inside[other] && has_modes[other] != modes));
	release()
}

/* set-indicator: the guest gives the core up, or says no. device_guest_input() in device.c. The answer
 * to a fence is a "no" too: devices_fence_answered(). */
inline answer_removal(gives)
{
	acquire();
	if
	:: pending != 0 ->
#ifdef NEVER_LATE
		assert(!(gives && unresolved)); /* to be violated: a late release is honoured */
#endif
		end_operation();
		if
		:: gives -> detach()
		:: else
		fi;
		tell()
	:: else
	fi;
	release()
}

/* stop-self, start-cpu */
inline stop_self()
{
	acquire();
	state[self] = STOPPING;
	park_needed[self] = true;
	want_attention(self);
	release()
}
inline start_other()
{
	acquire();
	other = 1 - self;
	if
	:: state[other] == STOPPED -> state[other] = RUNNING; want_attention(other)
	:: else
	fi;
	release()
}

inline handle_call()
{
	assert(!standing);
	handles[self] = true;
	if
	:: set_mode()
	:: answer_removal(true)
	:: answer_removal(false)
	:: stop_self()
	:: start_other()
	fi;
	handles[self] = false
}

/* --- A vCPU's thread: cpu_main() in cpu.c -------------------------------------------------- */

/* prepare(): what was asked for, between two guest instructions */
inline prepare()
{
	if
	:: park_needed[self] ->
		park_needed[self] = false;
		if
		:: state[self] == STOPPING -> state[self] = AT_REST(self)
		:: else
		fi
	:: else
	fi;
	if
	:: state[self] == RUNNING && !HELD -> has_modes[self] = modes
	:: else
	fi
}

proctype vcpu(byte self)
{
	byte calls = CALLS, other;
	bool old, call;

attend: /* cpu_attend() */
	acquire();
	do
	:: ending -> release(); goto over
	:: else ->
		kicked[self] = false;
		attention[self] = false;
		prepare();
		waiting[self] = !(state[self] == RUNNING && !HELD);
#ifndef NO_BROADCAST
		broadcast_quiet();
#endif
		if
		:: !waiting[self] -> release(); break
		:: else -> wait_changed(self)
		fi
	od;

guest: /* cpu_run_guest() */
	if
	:: attention[self] -> goto attend
	:: else
	fi;
	in_guest[self] = true;
	if
	:: attention[self] -> in_guest[self] = false; goto attend
	:: else
	fi;
	/* kvm_vcpu_run() */
	call = false;
	if
	:: kicked[self]
	:: atomic { !kicked[self] ->
			assert(!standing);
			inside[self] = true
		}
		if
		:: atomic { kicked[self] -> inside[self] = false }
		:: atomic { calls > 0 -> calls--; call = true; inside[self] = false }
		fi
	fi;
	in_guest[self] = false;
	if
	:: attention[self] -> acquire(); broadcast_quiet(); release()
	:: else
	fi;
	if
	:: call -> handle_call()
	:: else
	fi;
	goto guest;
over:
	skip
}

/* --- The operator's thread: the loop of vmm/run.c, and spapr.h ------------------------------ */

/* cpus_hold(): all are told first, then waited for; the lock is held */
inline hold()
{
	want_attention(0);
	want_attention(1);
	do
	:: !waiting[0] || !waiting[1] -> wait_quiet(VCPUS)
	:: else -> break
	od;
	standing = true;
	assert(!inside[0] && !inside[1] && !handles[0] && !handles[1])
}

/* cpus_release() */
inline let_go()
{
	standing = HELD;
	want_attention(0);
	want_attention(1)
}

/* report_all(): deadlines, then whatever has not been reported */
inline report_all()
{
	acquire();
	if
	:: pending != 0 && !unresolved -> unresolved = true /* time: only said, nothing ended */
	:: true
	fi;
	release();
	do
	:: acquire();
		if
		:: untold == 0 -> release(); break
		:: else
		fi;
		id = 1;
		do
		:: ended[id] && !told[id] -> break
		:: else -> id++
		od;
		assert(!told[id]);
		told[id] = true;
		untold--;
		release()
	od
}

/* on_wake() */
inline on_wake()
{
	wake = false;
#ifdef REPORT_FIRST
	report_all();
	news = false
#else
	news = false; /* spapr_take_news() */
	report_all()
#endif
}

/* spapr_device_remove(), _add(), spapr_operation_cancel() */
inline remove_core()
{
	acquire();
	if
	:: attached && pending == 0 -> last_id++; pending = last_id; tell()
	:: else /* asked twice, or nothing there */
	fi;
	release()
}
inline add_core()
{
	acquire();
	if
	:: !attached ->
		attached = true;
		if
		:: state[REMOVABLE] == ABSENT -> state[REMOVABLE] = STOPPED
		:: else
		fi
	:: else
	fi;
	release()
}
inline cancel()
{
#ifdef CANCEL_UNLOCKED
	if
	:: pending != 0 -> id = pending; acquire(); pending = id; end_operation(); tell(); release()
	:: else
	fi
#else
	acquire();
	if
	:: pending != 0 -> end_operation(); tell()
	:: else
	fi;
	release()
#endif
}

/* spapr_boot(): hold, settle, cpus_reset(), start vCPU 0, let go */
inline boot()
{
	acquire();
	booting = true;
	hold();
	if
	:: pending != 0 -> end_operation(); detach(); tell()
	:: else
	fi;
	modes = 0;
	state[0] = STOPPED;
	state[REMOVABLE] = AT_REST(REMOVABLE);
	park_needed[0] = true;
	park_needed[1] = true;
	want_attention(0);
	want_attention(1);
	do
	:: park_needed[0] || park_needed[1] -> wait_quiet(VCPUS)
	:: else -> break
	od;
	state[0] = RUNNING;
	want_attention(0);
	booting = false;
	let_go();
	release()
}

inline stop()
{
	acquire();
	stopped = true;
	hold();
	release()
}
inline cont()
{
	acquire();
	stopped = false;
	let_go();
	release()
}

proctype operator()
{
	byte requests = REQUESTS, id;
	bool old;

	boot();
	do
	:: wake -> on_wake()
	:: requests > 0 -> requests--;
		if
		:: remove_core()
		:: add_core()
		:: cancel()
		:: boot()
		:: stop()
		:: cont()
		fi
	:: timeout -> /* nobody can do anything any more */
		assert(untold == 0);
		assert(!(waiting[0] && state[0] == RUNNING && !HELD));
		assert(!(waiting[1] && state[1] == RUNNING && !HELD));
		assert(state[0] != STOPPING && state[1] != STOPPING);
		break
	od;
	/* spapr_settle(), report_all(), spapr_destroy() */
	acquire();
	stopped = true;
	hold();
	if
	:: pending != 0 -> end_operation(); tell()
	:: else
	fi;
	release();
	report_all();
	acquire();
	assert(pending == 0 && untold == 0);
	ending = true;
	let_go();
	release()
}

init
{
	atomic {
		state[0] = STOPPED;
		state[1] = STOPPED;
		run vcpu(0);
		run vcpu(1);
		run operator()
	}
}
