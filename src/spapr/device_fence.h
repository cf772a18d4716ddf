/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device_fence.h - when a fence is sent, and what its answer ends. All functions are called with
 * the machine's lock held.
 */
#ifndef PAPRIKA_SPAPR_DEVICE_FENCE_H
#define PAPRIKA_SPAPR_DEVICE_FENCE_H

#include "spapr/device.h"

/* Send a fence if one is due: behind an event that was fetched a second ago, and has ended nothing;
 * at once if the guest will make no other call. Returns the milliseconds until the next
 * call is due, or -1. */
int64_t devices_check_fence(struct devices *devices, uint64_t now_ms);

/* vcpu has answered the fence: end what is pending and was fetched before. */
void devices_fence_answered(struct devices *devices, uint32_t vcpu);

/* Fill in what is known of the guest in a copy of a pending operation: handling and behind. */
void device_look_into(struct devices *devices, struct operation *copy);

#endif
