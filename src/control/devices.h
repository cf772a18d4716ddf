/* SPDX-License-Identifier: Apache-2.0 */
/*
 * devices.h - the commands that add and remove. The functions are those of rows (command.h).
 *
 * In QMP a memory device is added in two steps: object-add makes a backend, device_add a device
 * that uses it. A backend is a name and a size here.
 */
#ifndef PAPRIKA_DEVICES_H
#define PAPRIKA_DEVICES_H

#include "control/command.h"

json_t *run_device_add(struct call *call);
json_t *run_device_del(struct call *call);
json_t *run_set_memory(struct call *call);
json_t *run_set_cores(struct call *call);
json_t *run_object_add(struct call *call);
json_t *run_object_del(struct call *call);

/* NULL if there is no backend of this name. */
struct backend *backend_find(struct backends *backends, const char *id);

/* The device that it was used for is there. */
bool backend_is_used(struct spapr *machine, const struct backend *backend);

void backend_use(struct backends *backends, struct backend *backend, const char *device);

/* The backend that a device was made with, or the device's name if it needed none. */
const char *backend_of_device(const struct backends *backends, const char *device);

#endif
