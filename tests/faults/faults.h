/* SPDX-License-Identifier: Apache-2.0 */
/*
 * faults.h - calls of the C library that can be made to fail.
 *
 * The linker sends every call that the program, libev, jansson and libfdt make to a function of
 * faults.c's table through that table (-Wl,--wrap). There the calls are numbered in the order
 * they are made, the fake KVM's among them, and those that a plan asks for fail without having
 * been made. What is allocated is remembered until it is freed, so that a leak can be named.
 *
 * Nothing of this is in the program itself: the table is linked into the test only.
 */
#ifndef PAPRIKA_FAULTS_H
#define PAPRIKA_FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fault_mode {
	FAULT_NONE,      /* only count */
	FAULT_ONCE,      /* the call with the plan's number fails */
	FAULT_FOR_GOOD,  /* and all later calls of the same function, too */
	FAULT_INTERRUPT, /* each call that a signal can interrupt is interrupted first */
	FAULT_SHORT,     /* each transfer is one byte long */
};

/* What has happened; may lie in memory shared with another process. */
struct fault_report {
	_Atomic uint32_t count;    /* calls so far */
	const char *_Atomic fired; /* the function that failed first; NULL: none has */
	void *caller;              /* its return address */
};

/* Begin to count, in this process. Threads count unless they have exempted themselves. */
void fault_arm(enum fault_mode mode, uint32_t number, struct fault_report *report);
void fault_disarm(void);
void fault_exempt_thread(void);

/* Count calls of these functions only, up to a NULL. */
void fault_only(const char *const *names);

/* While a judge looks around: calls are not counted, and do not fail. */
void fault_pause(bool paused);

/* Count a call that is not the C library's; true if it is to fail. name is compared by address. */
bool fault_hits(const char *name);

/* Called for each socket that is listened on from now on, on the thread that does. */
void fault_on_listen(void (*listening)(void));

/* Allocations since fault_arm() that have not been freed; ret_caller: who made the oldest. */
size_t fault_live_allocations(void **ret_caller);

#endif
