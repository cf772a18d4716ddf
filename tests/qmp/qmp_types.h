/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qmp_types.h - judges what the control socket sends by the types in types.json, as a client
 * would that knows these and ends at anything else. lab/qmp_types.py does the same for tests in
 * Python.
 */
#ifndef PAPRIKA_QMP_TYPES_H
#define PAPRIKA_QMP_TYPES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * True if this is a greeting, reply or event that a client takes which has subscribed, or has
 * not. command is the one a reply answers; if NULL, what any command returns will do. If false,
 * ret_reason says what is wrong. Aborts if types.json cannot be read.
 */
bool qmp_types_accept(const json_t *message, bool subscribed, const char *command, char *ret_reason,
    size_t reason_size);

#endif
