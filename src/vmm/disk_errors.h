/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_errors.h - the guest's disks as the loop knows them: what file each has, and its I/O errors
 * on their way from the threads of queues to the loop.
 *
 * A guest can cause errors as fast as it asks. So of each disk the last error is kept, and how many
 * there were, and they are reported at most once in DISK_ERROR_PERIOD_MS.
 */
#ifndef PAPRIKA_DISK_ERRORS_H
#define PAPRIKA_DISK_ERRORS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "virtio/blk.h"
#include "vmm/options.h"

enum { DISK_ERROR_PERIOD_MS = 1000 };

struct disk_errors;

struct disk_error {
	struct disk_errors *all;
	char device[OP_DEVICE_MAX]; /* empty: free */
	uint64_t count;             /* not reported yet */
	struct virtio_blk_error last;
	uint64_t reported_ms;
	/* Which file or block device it is, and whether the guest only reads it. */
	struct disk_identity {
		uint64_t host, file; /* a file: its device and inode; a device: 0 and its number */
		bool readonly;
	} identity;
	char lost[160]; /* its back end is, for this reason; not reported yet */
};

struct disk_errors {
	pthread_mutex_t lock;
	struct disk_error list[OPTION_DISKS_MAX];
	void (*wake)(void *context); /* the loop; any thread */
	void *context;
};

void disk_errors_init(struct disk_errors *errors, void (*wake)(void *context), void *context);

/* For virtio_blk_config: what disk_errors_note() gets for a disk of this name. The loop's thread. A
 * place is taken from a disk that the machine has no more, as `gone` says. NULL: there is none. */
struct disk_error *disk_errors_place(struct disk_errors *errors, const char *device,
    const struct disk_identity *identity, bool (*gone)(void *context, const char *device),
    void *context);

/* Which file this is. */
struct disk_identity disk_identity_of(const struct stat *status, bool readonly);

/* The name of the guest's disk that has this file, if not both only read it; NULL: none. `gone` as
 * in disk_errors_place(). */
const char *disk_errors_owner(struct disk_errors *errors, const struct disk_identity *identity,
    bool (*gone)(void *context, const char *device), void *context);

/* A request has failed. A queue's thread. */
void disk_errors_note(void *place, const struct virtio_blk_error *error);

/* The back end of the device is lost: its control thread (vhost.h). */
void disk_errors_note_lost(void *place, const char *reason);

/* Take what is to be reported of one disk at now_ms. False: nothing is, for *ret_wait_ms
 * milliseconds
 * (-1: until disk_errors_note() wakes the loop). */
bool disk_errors_take(struct disk_errors *errors, uint64_t now_ms, struct disk_error *ret_error,
    int64_t *ret_wait_ms);

#endif
