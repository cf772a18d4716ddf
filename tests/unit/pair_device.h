/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pair_device.h - a second kind of device, which exists in tests only: a pair of two halves, each
 * with a connector of a second family. It shows what a kind of device needs: one row, one file.
 */
#ifndef PAPRIKA_PAIR_DEVICE_H
#define PAPRIKA_PAIR_DEVICE_H

#include "spapr/device.h"

enum { PAIR_HALVES = 2 };

/* A pair's context. */
struct pair {
	bool attach_fails;
	bool busy;              /* refuses to be removed */
	unsigned made;          /* calls of attach */
	bool here[PAIR_HALVES]; /* by what attached and detach have told */
};

extern const struct drc_type drc_type_half;
extern const struct device_type device_type_pair;

#endif
