/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plug.h - what stands behind the guest's devices on the host: opened before the sandbox closes,
 * and plugged into a machine that has not booted yet.
 */
#ifndef PAPRIKA_PLUG_H
#define PAPRIKA_PLUG_H

#include "base/err.h"
#include "vmm/options.h"

/* Plug in all devices that the options name. */
bool plug_devices(struct spapr *machine, const struct options *options, struct err *err);

#endif
