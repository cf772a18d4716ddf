/* SPDX-License-Identifier: Apache-2.0 */
/*
 * news.h - what vCPU threads tell the operator's thread: bits of pending news, and counters.
 *
 * Each kind of news is one bit. Setting a bit that is already set does nothing, so a guest cannot
 * make news pile up, and the operator's thread is woken at most once for each kind. All functions
 * may be called by any thread, with or without the machine's lock.
 */
#ifndef PAPRIKA_SPAPR_NEWS_H
#define PAPRIKA_SPAPR_NEWS_H

#include <stdatomic.h>

#include "spapr/spapr.h"

/* What is counted; the names are in news.c. */
enum news_counter {
	COUNT_GUEST_EXITS, /* returns from KVM_RUN, for any reason */
	COUNT_HCALLS,
	COUNT_HCALLS_UNKNOWN,
	COUNT_RTAS_CALLS,
	COUNT_RTAS_REFUSED,
	COUNT_STRAY_ACCESSES,
	COUNT_EVENTS_FETCHED,
	COUNT_CONSOLE_BYTES,
	COUNT_OPERATIONS_DROPPED, /* guest-made ones for which there was no slot */
	COUNT_RESETS,
	COUNT_FENCES_SENT,
	COUNT_FENCES_ANSWERED,
	COUNT_COUNTERS
};

struct news {
	_Atomic unsigned bits; /* enum spapr_news */
	_Atomic uint64_t counts[COUNT_COUNTERS];
	/* Wakes the operator's thread: see struct spapr_config. */
	void (*wake)(void *context);
	void *context;
};

void news_init(struct news *news, void (*wake)(void *context), void *context);

/* Set bits of enum spapr_news; wake the operator's thread if one of them was not set. */
void news_tell(struct news *news, unsigned bits);

/* The bits set since the last call. */
unsigned news_take(struct news *news);

/* Clear bits without looking at them. */
void news_drop(struct news *news, unsigned bits);

static inline void news_count(struct news *news, enum news_counter counter, uint64_t by)
{
	atomic_fetch_add_explicit(&news->counts[counter], by, memory_order_relaxed);
}

/* Names and values of at most max counters; returns how many. */
size_t news_counters(const struct news *news, struct spapr_counter *ret_counters, size_t max);

#endif
