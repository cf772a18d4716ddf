/* SPDX-License-Identifier: Apache-2.0 */
/* net_ends.c - see net_ends.h. */
#include "vmm/net_ends.h"

#include <stdio.h>
#include <string.h>

void net_ends_init(struct net_ends *ends, void (*wake)(void *context), void *context)
{
	pthread_mutex_init(&ends->lock, NULL);
	ends->wake = wake;
	ends->context = context;
}

struct net_end *net_ends_place(struct net_ends *ends, const char *device, const char *netdev,
    bool (*gone)(void *context, const char *device), void *context)
{
	struct net_end *place = NULL;

	for (size_t i = 0; i < OPTION_NETS_MAX && place == NULL; i++)
		if (strcmp(ends->list[i].device, device) == 0)
			place = &ends->list[i];
	for (size_t i = 0; i < OPTION_NETS_MAX && place == NULL; i++)
		if (ends->list[i].device[0] == '\0' || gone(context, ends->list[i].device))
			place = &ends->list[i];
	if (place == NULL)
		return NULL;
	pthread_mutex_lock(&ends->lock);
	*place = (struct net_end){.all = ends};
	snprintf(place->device, sizeof place->device, "%s", device);
	snprintf(place->netdev, sizeof place->netdev, "%s", netdev);
	pthread_mutex_unlock(&ends->lock);
	return place;
}

void net_ends_note(void *context, const char *reason)
{
	struct net_end *place = context;
	struct net_ends *ends = place->all;

	pthread_mutex_lock(&ends->lock);
	place->reason = reason;
	pthread_mutex_unlock(&ends->lock);
	ends->wake(ends->context);
}

bool net_ends_take(struct net_ends *ends, struct net_end *ret_end)
{
	bool taken = false;

	pthread_mutex_lock(&ends->lock);
	for (size_t i = 0; i < OPTION_NETS_MAX && !taken; i++) {
		struct net_end *place = &ends->list[i];

		if (place->reason == NULL)
			continue;
		*ret_end = *place;
		place->reason = NULL;
		taken = true;
	}
	pthread_mutex_unlock(&ends->lock);
	return taken;
}
