/* SPDX-License-Identifier: Apache-2.0 */
/* passt.h - a network without rights: the program passt, started before the sandbox closes. */
#ifndef PAPRIKA_PASST_H
#define PAPRIKA_PASST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Start one passt, and return the socket to it; -1 with *err filled. It confines itself, and ends
 * when the socket is closed, that is, at the latest with this process. mtu is what it tells the
 * guest; 0: its own default. name is for messages. */
int passt_start(const char *name, uint16_t mtu, struct err *err);

/* Whether there is one on the user's PATH that starts: it is tried, and ended at once. If not, why,
 * and the remedy (static). */
bool passt_try(char *reason, size_t size, const char **ret_remedy);

#endif
