/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parse.h - JSON text in, value out, also when memory is short. jansson's parser (2.14) goes on
 * with half a token when it has no memory for all of it, and reads beyond its buffer; so memory
 * for it is set aside first, and what it had to make of that is thrown away again.
 */
#ifndef PAPRIKA_PARSE_H
#define PAPRIKA_PARSE_H

#include <jansson.h>
#include <stddef.h>

/* As json_loadb(). Loop thread only. */
json_t *parse_json(const char *text, size_t length, size_t flags, json_error_t *error);

#endif
