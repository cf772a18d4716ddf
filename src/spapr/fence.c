/* SPDX-License-Identifier: Apache-2.0 */
/* fence.c - see fence.h. */
#include "spapr/fence.h"

#include "drc/drc.h"

void fence_init(struct fence *fence, struct events *events, uint32_t blocks)
{
	*fence = (struct fence){
	    .events = events,
	    .first_index = drc_index(&drc_type_lmb, 0),
	    .blocks = blocks,
	    .index = drc_index(&drc_type_lmb, 0),
	};
}

void fence_send(struct fence *fence)
{
	if (fence->state == FENCE_QUEUED)
		return;
	fence->state = FENCE_QUEUED;
	fence->index = fence->first_index + (fence->index - fence->first_index + 1) % fence->blocks;
	news_count(fence->events->news, COUNT_FENCES_SENT, 1);
	event_queue_fence(fence->events);
}

uint32_t fence_fetched(struct fence *fence, uint64_t now_ms)
{
	fence->state = FENCE_FETCHED;
	fence->fetched = fence->events->fetched;
	fence->fetched_ms = now_ms;
	return fence->index;
}

bool fence_has_index(const struct fence *fence, uint32_t drc_index)
{
	return drc_index - fence->first_index < fence->blocks;
}

bool fence_answered(struct fence *fence, uint32_t drc_index)
{
	if (fence->state != FENCE_FETCHED || drc_index != fence->index)
		return false;
	fence->state = FENCE_IDLE;
	fence->proven = fence->fetched;
	fence->answers = true;
	news_count(fence->events->news, COUNT_FENCES_ANSWERED, 1);
	return true;
}

void fence_forget(struct fence *fence)
{
	if (!fence->events->queued[fence->events->fence])
		fence->state = FENCE_IDLE;
	fence->answers = false;
}
