/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command.h - the commands of the control socket as one table: name, arguments with types,
 * handler. Dispatch, argument checks, query-commands and query-schema all come from the rows.
 *
 * command.c has the table, the dispatcher and the commands that change something;
 * command_query.c puts what there is into JSON, without changing anything.
 */
#ifndef PAPRIKA_COMMAND_H
#define PAPRIKA_COMMAND_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct operation;
struct spapr;
struct vmm;

/*
 * Carry out one request, an object that has been parsed. Returns the reply to send (a new
 * reference): {"return": ...} or {"error": {...}}, with the request's id; NULL if memory is
 * out. *negotiated is the connection's state, which qmp_capabilities changes.
 */
json_t *command_execute(struct vmm *vmm, json_t *request, bool *negotiated);

/* {"error": {"class", "desc", "hint"}}, with id (borrowed). hint and id may be NULL; desc and hint
 * may hold any bytes. */
json_t *command_error(const char *class, const char *desc, const char *hint, json_t *id);

/* Append value (stolen) to array, which is returned; on failure it is freed, and NULL returned. */
json_t *command_append(json_t *array, json_t *value);

/* A JSON string of any bytes: what is not UTF-8 is replaced by question marks. */
json_t *command_text(const char *text);

/* An operation as query-operations and the event OPERATION show it. */
json_t *command_operation_json(const struct operation *operation);

/* The evidence of an operation that has ended: a part of the above. */
json_t *command_evidence_json(const struct operation *operation);

/* What query-version returns and the greeting holds. */
json_t *command_version_json(void);

/*
 * The replies of the commands of the same names; NULL if memory is out. Where there may be
 * more than a line holds, the caller asks for `count` at most, from the core-id or operation
 * id `start` on.
 */
json_t *query_status(const struct vmm *vmm);
json_t *query_name(const struct vmm *vmm);
json_t *query_cpus_fast(struct spapr *machine);
json_t *query_hotpluggable_cpus(struct spapr *machine);
json_t *query_connectors(struct spapr *machine, uint64_t start, uint64_t count);
json_t *query_operations(struct spapr *machine, uint64_t start, uint64_t count);
json_t *query_metrics(struct spapr *machine);

#endif
