/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plug.h - the guest's devices that have something behind them on the host: those of the options,
 * which are opened before the sandbox closes, and those that are added to a running machine.
 */
#ifndef PAPRIKA_PLUG_H
#define PAPRIKA_PLUG_H

#include "base/err.h"
#include "control/guest.h"
#include "virtio/disk.h"
#include "vmm/disk_errors.h"
#include "vmm/net_ends.h"
#include "vmm/options.h"

struct virtio_device;

/* Plug in all devices that the options name: a machine that has not booted. */
bool plug_devices(struct spapr *machine, const struct options *options, struct disk_errors *errors,
    struct net_ends *ends, struct err *err);

/* The same for a machine that never runs, whose device tree is wanted: no file is opened. */
bool plug_likenesses(struct spapr *machine, const struct options *options, struct err *err);

/* A device that has not been plugged in yet; NULL with *err filled. A disk's requests are done by
 * the rings, NULL if there are none: the sandbox has closed. */
struct virtio_device *plug_make_disk(struct spapr *machine, const struct guest_disk *disk,
    struct disk_rings *rings, struct disk_errors *errors, struct err *err);
struct virtio_device *plug_make_net(struct spapr *machine, const struct options *options,
    const struct guest_net *net, struct net_ends *ends, struct err *err);
struct virtio_device *plug_make_vhost(struct spapr *machine, const struct guest_vhost *vhost,
    struct disk_errors *errors, struct err *err);
struct virtio_device *plug_make_rng(struct spapr *machine, const char *name, struct err *err);

/* Add it, if there is one, to a machine that has booted, its threads confined. It is taken over in
 * any case. */
bool plug_add(struct spapr *machine, const char *name, struct virtio_device *device,
    bool (*confine)(void *context, struct err *err), void *context, uint64_t *ret_operation,
    struct err *err);

#endif
