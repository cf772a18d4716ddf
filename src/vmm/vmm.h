/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm.h - the running program: one guest, its loop, and what an operator may do to it as a
 * whole. run.c implements it; the control socket's commands call it.
 *
 * All of this belongs to the loop thread.
 */
#ifndef PAPRIKA_VMM_H
#define PAPRIKA_VMM_H

#include <stdbool.h>

#include "base/err.h"
#include "spapr/spapr.h"

/* What the process ends with; documented in README.md and the manual. */
enum exit_code {
	EXIT_POWERED_OFF = 0,
	EXIT_VMM_ERROR = 1,
	EXIT_USAGE = 2,
	EXIT_GUEST_PANIC = 3,
	EXIT_GUEST_RESET = 4, /* under --no-reboot */
	EXIT_HOST_LACKS = 5,
};

/* The exit code an error stands for. */
enum exit_code exit_code_of(const struct err *err);

/* "paprika: message; hint" on standard error, in one line whatever the texts contain. */
void complain_error(const struct err *err);

/* Each vCPU takes a descriptor, also those added later; the usual soft limit is for programs
 * that call select(), which we do not. */
void raise_file_limit(void);

struct options;
struct vmm;

/* Run a guest to its end; returns the exit code. Errors have been printed. */
enum exit_code vmm_run(const struct options *options);

struct spapr *vmm_machine(const struct vmm *vmm);
const struct options *vmm_options(const struct vmm *vmm);

/* QMP's run states, as query-status names them. */
enum vmm_status { VMM_RUNNING, VMM_PAUSED, VMM_SHUTDOWN, VMM_PANICKED, VMM_FAILED };
enum vmm_status vmm_status(const struct vmm *vmm);

/* stop and cont: STOP and RESUME are sent when something changes. */
void vmm_stop(struct vmm *vmm);
bool vmm_cont(struct vmm *vmm, struct err *err);

/* A reset from outside; sends RESET. */
bool vmm_reset(struct vmm *vmm, struct err *err);
void vmm_powerdown(struct vmm *vmm);

/* End the program with exit code 0 once the replies are out; sends SHUTDOWN. */
void vmm_quit(struct vmm *vmm);

#endif
