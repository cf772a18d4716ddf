/* SPDX-License-Identifier: Apache-2.0 */
/* complain.h - how an error ends a program: one line on standard error, and an exit code. */
#ifndef PAPRIKA_COMPLAIN_H
#define PAPRIKA_COMPLAIN_H

#include "base/err.h"

/* What the process ends with; documented in the manual. */
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

#endif
