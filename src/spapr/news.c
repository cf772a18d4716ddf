/* SPDX-License-Identifier: Apache-2.0 */
/* news.c - see news.h. */
#include "spapr/news.h"

void news_init(struct news *news, void (*wake)(void *context), void *context)
{
	news->wake = wake;
	news->context = context;
}

void news_tell(struct news *news, unsigned bits)
{
	if ((atomic_fetch_or(&news->bits, bits) & bits) != bits)
		news->wake(news->context);
}

unsigned news_take(struct news *news)
{
	return atomic_exchange(&news->bits, 0);
}

void news_drop(struct news *news, unsigned bits)
{
	atomic_fetch_and(&news->bits, ~bits);
}

size_t news_counters(const struct news *news, struct spapr_counter *ret_counters, size_t max)
{
	static const char *const names[COUNT_COUNTERS] = {
	    [COUNT_GUEST_EXITS] = "guest-exits",
	    [COUNT_HCALLS] = "hcalls",
	    [COUNT_HCALLS_UNKNOWN] = "hcalls-unknown",
	    [COUNT_RTAS_CALLS] = "rtas-calls",
	    [COUNT_RTAS_REFUSED] = "rtas-calls-refused",
	    [COUNT_STRAY_ACCESSES] = "stray-accesses",
	    [COUNT_EVENTS_FETCHED] = "events-fetched",
	    [COUNT_CONSOLE_BYTES] = "console-bytes",
	    [COUNT_OPERATIONS_DROPPED] = "guest-operations-dropped",
	    [COUNT_RESETS] = "boots",
	    [COUNT_FENCES_SENT] = "fences-sent",
	    [COUNT_FENCES_ANSWERED] = "fences-answered",
	};
	size_t count = 0;

	for (; count < COUNT_COUNTERS && count < max; count++)
		ret_counters[count] =
		    (struct spapr_counter){names[count], atomic_load(&news->counts[count])};
	return count;
}
