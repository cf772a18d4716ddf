/* SPDX-License-Identifier: Apache-2.0 */
/* virtiofsd.h - the program that serves a directory to the guest, started by us. */
#ifndef PAPRIKA_VIRTIOFSD_H
#define PAPRIKA_VIRTIOFSD_H

#include <stdbool.h>

#include "base/err.h"

/* The program's file; NULL: there is none. *ret_limit: what it cannot do for this
 * user, in words; NULL: nothing. */
const char *virtiofsd_path(const char **ret_limit);

/* Start one, before the sandbox closes: a socket that it will answer on, or -1 with *err filled. It
 * ends when the socket is closed, and with this process. What it has to say goes to standard error.
 */
int virtiofsd_start(const char *directory, bool readonly, struct err *err);

#endif
