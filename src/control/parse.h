/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parse.h - from text to JSON: jansson's parser, and what QMP accepts that JSON has not.
 */
#ifndef PAPRIKA_PARSE_H
#define PAPRIKA_PARSE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* As json_loadb(), but safe when memory is short: see parse.c. */
json_t *parse_json(const char *text, size_t length, size_t flags, json_error_t *error);

/* How long parse_qmp_text()'s result can be. */
#define PARSE_QMP_TEXT_MAX(length) (2 * (length) + 1)

/*
 * What QMP takes and jansson does not, rewritten: strings in single quotes, the escape \', and
 * numbers beyond 64 bits, which QMP takes as floating-point (what is beyond that, too, becomes
 * 1e308). All else is copied as it is. Returns the length of the result, which has no NUL at
 * its end; ret_text holds PARSE_QMP_TEXT_MAX(length).
 */
size_t parse_qmp_text(const char *text, size_t length, char *ret_text);

#endif
