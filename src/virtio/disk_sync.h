/* SPDX-License-Identifier: Apache-2.0 */
/* disk_sync.h - what engines have in common: a request carried out in the calling thread. */
#ifndef PAPRIKA_VIRTIO_DISK_SYNC_H
#define PAPRIKA_VIRTIO_DISK_SYNC_H

#include "virtio/disk.h"

/* Where data goes through whose place direct I/O does not take. */
enum { DISK_BOUNCE_BYTES = 128 << 10 };

/* NULL for a disk that takes any place, and with *err filled if memory is out; free() it. */
bool disk_bounce_create(const struct disk *disk, void **ret_bounce, struct err *err);

/* Does the disk take the request's buffers where they are? */
bool disk_takes(const struct disk *disk, const struct disk_request *request);

/* Carry out what is left of a request, and set its error. */
void disk_execute(const struct disk *disk, struct disk_request *request, void *bounce);

/* How DISK_DISCARD and DISK_ZERO are asked of fallocate(). */
int disk_fallocate_mode(const struct disk_request *request);

#endif
