/* SPDX-License-Identifier: Apache-2.0 */
/* disk_sync.h - what engines have in common: a request carried out in the calling thread. */
#ifndef PAPRIKA_VIRTIO_DISK_SYNC_H
#define PAPRIKA_VIRTIO_DISK_SYNC_H

#include "virtio/disk.h"

/* Carry out what is left of a request, and set its error. */
void disk_execute(const struct disk *disk, struct disk_request *request);

/* Some bytes of a read or write are done; at most request->bytes. */
void disk_advance(struct disk_request *request, uint64_t bytes);

/* How DISK_DISCARD and DISK_ZERO are asked of fallocate(). */
int disk_fallocate_mode(const struct disk_request *request);

#endif
