/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plug.h - the guest's PCI devices with what is behind them on the host: those of the options,
 * which are opened before the sandbox closes, and those that are added to a running machine.
 */
#ifndef PAPRIKA_PLUG_H
#define PAPRIKA_PLUG_H

#include "base/err.h"
#include "control/guest.h"
#include "virtio/disk.h"
#include "vmm/device_reports.h"
#include "vmm/options.h"

/* Where devices go, and what all of them need. The caller fills in all but reports, for which
 * device_reports_init() is to be called. */
struct plug {
	struct spapr *machine;
	const struct options *options;
	struct disk_rings *rings; /* for disks that are added; NULL: none, the sandbox has closed */
	struct device_reports reports;
	/* Called by each thread of a device that is added. */
	bool (*confine)(void *context, struct err *err);
	void *context;
};

/* Plug in all devices that the options name: a machine that has not booted. */
bool plug_devices(struct plug *plug, struct err *err);

/* The same for a machine that never runs, whose device tree is wanted: no file is opened. */
bool plug_likenesses(struct spapr *machine, const struct options *options, struct err *err);

/* As guest_ops.add: a machine that has booted. No other device may have the name. */
bool plug_add(
    struct plug *plug, const struct guest_device *device, uint64_t *ret_operation, struct err *err);

/* As guest_ops.reconnect. */
bool plug_reconnect(
    struct plug *plug, const char *device, int fd, bool *ret_resumes, struct err *err);

#endif
