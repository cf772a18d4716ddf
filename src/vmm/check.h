/* SPDX-License-Identifier: Apache-2.0 */
/* check.h - `paprika check`: what this host offers, line by line, with the remedies. */
#ifndef PAPRIKA_CHECK_H
#define PAPRIKA_CHECK_H

#include <stdbool.h>
#include <stdio.h>

#include "base/complain.h"

/* Print the findings as lines for people, or as a JSON array. EXIT_POWERED_OFF (0) if a guest
 * could run, EXIT_HOST_LACKS if not. A write error stays with the stream. */
enum exit_code check_run(FILE *to, bool json);

/* Print the hypervisor calls and RTAS services that a guest finds as a Markdown page, docs/papr.md.
 * It needs no KVM. Returns EXIT_POWERED_OFF (0); a write error stays with the stream. */
enum exit_code check_print_papr(FILE *to);

#endif
