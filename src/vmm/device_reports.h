/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device_reports.h - what goes wrong behind the guest's devices, on its way from their threads to
 * the loop: I/O errors of disks, back ends that are lost, links that are down for good. And what
 * file each disk has.
 *
 * A guest can cause I/O errors as fast as it asks. So of each disk the last one is kept, and how
 * many there were, and they are reported at most once in DISK_ERROR_PERIOD_MS.
 */
#ifndef PAPRIKA_DEVICE_REPORTS_H
#define PAPRIKA_DEVICE_REPORTS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "virtio/blk.h"
#include "vmm/options.h"

enum { DISK_ERROR_PERIOD_MS = 1000 };

struct device_reports;

/* Which file or block device a disk is, and whether the guest only reads it. All zeros: unknown. */
struct disk_identity {
	uint64_t host, file; /* a file: its device and inode; a device: 0 and its number */
	bool readonly;
};

struct device_report {
	struct device_reports *all;
	char device[OP_DEVICE_MAX]; /* empty: free */
	/* The operator's thread sets these two. */
	struct disk_identity identity; /* of a disk */
	char netdev[OP_DEVICE_MAX];    /* of a network's stream: QMP has an event for its end */
	/* Not reported yet. */
	uint64_t errors; /* of I/O; the last one: */
	struct virtio_blk_error last;
	char lost[160];        /* the back end is, for this reason */
	const char *link_lost; /* the link is down for good, for this reason */
	uint64_t reported_ms;
};

struct device_reports {
	pthread_mutex_t lock;
	struct device_report list[OPTION_DISKS_MAX]; /* as many as slots of the bus */
	void (*wake)(void *context);                 /* the loop; any thread */
	void *context;
};

void device_reports_init(
    struct device_reports *reports, void (*wake)(void *context), void *context);

/* The place of a device of this name: what the functions below get. The loop's thread. A place is
 * taken from a device that the machine has no more, as `gone` says. NULL: there is none. */
struct device_report *device_reports_place(struct device_reports *reports, const char *device,
    bool (*gone)(void *context, const char *device), void *context);

/* Which file this is. */
struct disk_identity disk_identity_of(const struct stat *status, bool readonly);

/* The name of the guest's disk that has this file, if not both only read it; NULL: none. `gone` as
 * in device_reports_place(). */
const char *device_reports_owner(struct device_reports *reports,
    const struct disk_identity *identity, bool (*gone)(void *context, const char *device),
    void *context);

/* By the device's threads: a request has failed; the back end is lost; the port has ended, for a
 * reason that is constant. */
void device_reports_error(void *place, const struct virtio_blk_error *error);
void device_reports_lost(void *place, const char *reason);
void device_reports_link_lost(void *place, const char *reason);

/* Take what is to be reported of one device at now_ms. False: nothing is, for *ret_wait_ms
 * milliseconds (-1: until one of the above wakes the loop). */
bool device_reports_take(struct device_reports *reports, uint64_t now_ms,
    struct device_report *ret_report, int64_t *ret_wait_ms);

#endif
