/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_backend.h - a vhost-user back end for tests, in a thread of its own: it serves one device
 * well, or does one thing wrong at one request. It answers each request of the driver with 0
 * written bytes.
 */
#ifndef PAPRIKA_VHOST_BACKEND_H
#define PAPRIKA_VHOST_BACKEND_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtio/vhost_user.h"

enum backend_fault {
	BACKEND_GOOD,
	BACKEND_CLOSES,       /* instead of an answer */
	BACKEND_SILENT,       /* never answers again, and does not close */
	BACKEND_REFUSES,      /* says that it failed */
	BACKEND_OTHER,        /* the answer to another request */
	BACKEND_NO_REPLY_BIT, /* the flag that says that it is an answer */
	BACKEND_VERSION,      /* of the protocol */
	BACKEND_SHORT,        /* the size is less than what is due */
	BACKEND_LONG,         /* it is more */
	BACKEND_HUGE,         /* it is 4 GiB */
	BACKEND_CUT,          /* closes in the middle of the answer */
	BACKEND_TWICE,        /* answers a second time, which is not due */
	BACKEND_INDEX,        /* answers for another ring */
	BACKEND_FAULTS,
};

enum { BACKEND_QUEUES = 4 };

struct backend {
	/* The test's, before backend_begin(). */
	enum backend_fault fault;
	uint32_t at;                 /* the request it is done at; 0: none */
	uint64_t features, protocol; /* defaults if 0 */
	bool hangs;                  /* takes no requests of the driver */
	uint32_t keeps;              /* begins these requests, by head, and answers them never */
	uint64_t sectors;            /* of the disk; default if 0 */
	/* Its own. */
	int socket;
	pthread_t thread;
	uint8_t *memory;
	uint64_t memory_bytes, acked;
	bool silent;
	struct backend_ring {
		uint32_t size;
		uint64_t descriptors, used, available;
		uint16_t next;
		int kick, call;
		bool enabled;
	} rings[BACKEND_QUEUES];
	_Atomic uint32_t requests[64]; /* of each kind, so many */
	_Atomic uint32_t served, begun;
	/* Which heads of each ring are in flight, in memory that the next back end gets, too. */
	uint8_t *record;
	_Atomic uint16_t base; /* where the last ring was begun */
};

/* Begin, and return the front end's socket. Then end: the front end's has been closed. */
int backend_begin(struct backend *backend);
void backend_end(struct backend *backend);

#endif
