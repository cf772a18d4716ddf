/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_ends.h - the ends of network devices' ports, on their way from the threads of queues to the
 * loop. A port ends once, so there is no more than one for each device.
 */
#ifndef PAPRIKA_NET_ENDS_H
#define PAPRIKA_NET_ENDS_H

#include <pthread.h>
#include <stdbool.h>

#include "vmm/options.h"

struct net_ends;

struct net_end {
	struct net_ends *all;
	char device[OP_DEVICE_MAX]; /* empty: free */
	char netdev[OP_DEVICE_MAX]; /* of a stream: QMP has an event for its end */
	const char *reason;         /* not reported yet; NULL: it has not ended */
};

struct net_ends {
	pthread_mutex_t lock;
	struct net_end list[OPTION_NETS_MAX];
	void (*wake)(void *context); /* the loop; any thread */
	void *context;
};

void net_ends_init(struct net_ends *ends, void (*wake)(void *context), void *context);

/* For virtio_net_config: what net_ends_note() gets for a device of this name; netdev is empty if it
 * is no stream. The loop's thread. A
 * place is taken from a device that the machine has no more, as `gone` says. NULL: there is none.
 */
struct net_end *net_ends_place(struct net_ends *ends, const char *device, const char *netdev,
    bool (*gone)(void *context, const char *device), void *context);

/* The port has ended. A queue's thread. */
void net_ends_note(void *place, const char *reason);

/* Take one that is to be reported; false: there is none. */
bool net_ends_take(struct net_ends *ends, struct net_end *ret_end);

#endif
