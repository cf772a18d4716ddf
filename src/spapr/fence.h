/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fence.h - the fence: an event that proves that the guest has handled all events before it.
 *
 * Linux handles hot-plug events one after the other, in the order in which it has fetched them, and
 * makes no call for many that fail. A fence is an event that asks to add a memory block which the
 * guest has had since it started. Linux asks for the state of that block's connector with
 * get-sensor-state, finds that it has it, and makes no other call. So when that call arrives, all
 * that was fetched before the fence has been handled to the end: what is still pending then was
 * refused. docs/fence.md has the limits.
 *
 * At most one fence is on its way. Each uses the next block's index, because an event that Linux
 * repeats, or one from before a kexec, must not count. All functions are called with the machine's
 * lock held.
 */
#ifndef PAPRIKA_SPAPR_FENCE_H
#define PAPRIKA_SPAPR_FENCE_H

#include "spapr/event.h"

enum fence_state {
	FENCE_IDLE,
	FENCE_QUEUED,  /* not fetched by the guest */
	FENCE_FETCHED, /* not answered */
};

struct fence {
	struct events *events;
	uint32_t first_index, blocks; /* drc indexes of the blocks the guest boots with */
	enum fence_state state;
	uint32_t index;   /* of the last fence */
	uint64_t fetched; /* FETCHED: its place among the fetched events: events->fetched */
	uint64_t fetched_ms;
	uint64_t proven; /* all events that were fetched before this place have been handled */
	bool answers;    /* the kernel that runs has answered one */
};

/* blocks: at least 1. */
void fence_init(struct fence *fence, struct events *events, uint32_t blocks);

/* Queue a fence, unless one is queued. One that has been fetched does not count any more. */
void fence_send(struct fence *fence);

/* The guest has fetched it: the drc index for its event. */
uint32_t fence_fetched(struct fence *fence, uint64_t now_ms);

/* The guest asks for the state of a block that it boots with. */
bool fence_has_index(const struct fence *fence, uint32_t drc_index);

/* The guest has asked for the state of this block. True if that answers the fence; fence->proven is
 * then up to date. */
bool fence_answered(struct fence *fence, uint32_t drc_index);

/* A kernel begins: a fence that its predecessor has fetched is not going to be answered. */
void fence_forget(struct fence *fence);

#endif
