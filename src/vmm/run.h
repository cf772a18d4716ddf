/* SPDX-License-Identifier: Apache-2.0 */
/* run.h - `paprika run`. */
#ifndef PAPRIKA_RUN_H
#define PAPRIKA_RUN_H

#include "base/complain.h"
#include "vmm/options.h"

/* Run a guest to its end; returns the exit code. Errors have been printed. */
enum exit_code vmm_run(const struct options *options);

/* Each vCPU takes a descriptor, also those added later; the usual soft limit is for programs
 * that call select(), which we do not. */
void raise_file_limit(void);

#endif
