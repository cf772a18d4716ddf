/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_out.h - parts of replies and events as JSON. All functions return a new reference, or NULL
 * if memory is out; json_pack() and the _new functions of jansson pass such a NULL on.
 */
#ifndef PAPRIKA_JSON_OUT_H
#define PAPRIKA_JSON_OUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "drc/operation.h"

#define JSON_DEVICE_PATH "/machine/peripheral/"

/* A string of any bytes: what is not UTF-8 is replaced by question marks. */
json_t *json_out_text(const char *text);

json_t *json_out_integer(uint64_t value);

/* Append value (stolen) to array, which is returned; on failure it is freed. */
json_t *json_out_append(json_t *array, json_t *value);

/* {"error": {"class", "desc", "hint"}}. hint may be NULL or empty; desc and hint may hold any
 * bytes. */
json_t *json_out_error(const char *class, const char *desc, const char *hint);

/* What query-version returns, and, without our own members, the greeting. */
json_t *json_out_version(bool subscribed);

/* An operation as query-operations and the event OPERATION show it, and its evidence alone. */
json_t *json_out_operation(const struct operation *op);
json_t *json_out_evidence(const struct operation *op);

#endif
