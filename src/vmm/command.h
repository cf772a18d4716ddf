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

/* What a connection has asked for. Without `subscribed` it sees QMP, and nothing that QMP's
 * documentation does not name. */
struct session {
	bool negotiated; /* qmp_capabilities: gets events */
	bool subscribed; /* events-subscribe: gets ours, too */
};

/* A list that a reply returns. It may be long, so it is made while it is written, item by item:
 * item() makes the one with this index below count, or none, which takes no place (JSON's null);
 * NULL if memory is out. */
struct listing {
	json_t *(*item)(struct listing *listing, size_t index);
	size_t count;
	struct spapr *machine;
	struct operation *operations;
	uint64_t start, most; /* only from this core-id or operation id on, and so many */
	uint64_t now_ms;
	bool with_state;
};

void listing_finish(struct listing *listing);

/*
 * Carry out one request, an object that has been parsed. Returns the reply to send (a new
 * reference): {"return": ...} or {"error": {...}}, with the request's id; NULL if memory is
 * out. If ret_listing->item is set then, it makes the items of the array in "return", which is
 * empty. *session is the connection's state, which some commands change.
 */
json_t *command_execute(
    struct vmm *vmm, json_t *request, struct session *session, struct listing *ret_listing);

/* {"error": {"class", "desc", "hint"}}, with id (borrowed). hint and id may be NULL; desc and hint
 * may hold any bytes. */
json_t *command_error(const char *class, const char *desc, const char *hint, json_t *id);

/* Make of an event what QMP's documentation says of it; false if QMP has no such event. Takes no
 * memory. */
bool command_reduce_event(json_t *event);

/* Append value (stolen) to array, which is returned; on failure it is freed, and NULL returned. */
json_t *command_append(json_t *array, json_t *value);

/* A JSON string of any bytes: what is not UTF-8 is replaced by question marks. */
json_t *command_text(const char *text);

/* An operation as query-operations and the event OPERATION show it. */
json_t *command_operation_json(const struct operation *operation);

/* The evidence of an operation that has ended: a part of the above. */
json_t *command_evidence_json(const struct operation *operation);

/* What query-version returns and the greeting holds. */
json_t *command_version_json(bool subscribed);

/* The replies of the commands of the same names; NULL if memory is out. */
json_t *query_status(const struct vmm *vmm);
json_t *query_name(const struct vmm *vmm);
json_t *query_metrics(struct spapr *machine);

/* The same for those that return a list; false if memory is out. start and most have been set. */
bool list_cpus_fast(struct listing *listing);
bool list_registers(struct listing *listing); /* the guest must not run */
bool list_hotpluggable_cpus(struct listing *listing);
bool list_connectors(struct listing *listing);
bool list_operations(struct listing *listing);

#endif
