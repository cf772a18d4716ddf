/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wait.c - waiting for the end of operations, one or many.
 */
#include "ctl.h"

#include <inttypes.h>
#include <string.h>

/* An unknown outcome is an error, not success. */
enum exit_code outcome_exit_code(const json_t *operation)
{
	static const struct {
		const char *outcome;
		enum exit_code code;
	} rows[] = {{"done", CTL_OK}, {"rejected", CTL_REJECTED}, {"superseded", CTL_SUPERSEDED},
	    {"cancelled", CTL_CANCELLED}, {"pending", CTL_UNRESOLVED}};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (strcmp(rows[i].outcome, member_text(operation, "outcome")) == 0)
			return rows[i].code;
	return CTL_ERROR;
}

/* How long after --timeout a VMM may take to say where the operations are stuck. */
#define LAST_WORD_MS 2000

/* --timeout has passed: ask where the operations are stuck, and leave them pending. Some may have
 * ended just now. */
static void operations_wait_timed_out(struct ctl *ctl, json_t *ids, json_t *results)
{
	ctl->deadline = clock_now_ms() + LAST_WORD_MS;
	while (json_array_size(ids) > 0) {
		json_t *list = connection_ask(
		    ctl, "query-operations", json_pack("{s:O}", "id", json_array_get(ids, 0)));

		if (list == NULL)
			return;
		json_array_append(results, json_array_get(list, 0));
		json_array_remove(ids, 0);
		json_decref(list);
	}
}

/* An event of one of the operations: note its end, or tell that it takes long. */
static void operations_note_event(json_t *ids, json_t *results, const json_t *event)
{
	const json_t *data = json_object_get(event, "data");
	json_t *operation = json_object_get(data, "operation"), *id;
	size_t i;

	if (!json_is_object(operation))
		return;
	json_array_foreach (ids, i, id) {
		if (json_integer_value(id) != member_number(operation, "id"))
			continue;
		if (outcome_exit_code(operation) != CTL_UNRESOLVED) {
			json_array_append(results, operation);
			json_array_remove(ids, i);
		} else if (strcmp(member_text(data, "step"), "unresolved") == 0) {
			complain("%s: still waiting: %s", member_text(operation, "device"),
			    member_text(operation, "stuck"));
		}
		return;
	}
}

bool operations_wait(struct ctl *ctl, json_t *ids, json_t *results)
{
	while (json_array_size(ids) > 0) {
		json_t *event = NULL;
		enum received received = connection_next_event(ctl, ctl->deadline, &event);

		if (received == RECEIVED)
			operations_note_event(ids, results, event);
		json_decref(event);
		if (received != RECEIVED && received != TIMED_OUT) {
			complain("the VMM has gone while operation %" PRId64 " was pending",
			    (int64_t)json_integer_value(json_array_get(ids, 0)));
			ctl->lost = true;
			return false;
		}
		/* A stream of other events must not extend the wait. */
		if (received == TIMED_OUT ||
		    (ctl->deadline >= 0 && clock_now_ms() >= ctl->deadline)) {
			operations_wait_timed_out(ctl, ids, results);
			break;
		}
	}
	return true;
}

enum exit_code operation_wait(struct ctl *ctl, json_int_t id)
{
	json_t *ids = json_pack("[I]", id), *results = json_array();
	enum exit_code code = CTL_ERROR;

	if (operations_wait(ctl, ids, results)) {
		/* Without a result the VMM did not answer in time. */
		code = CTL_UNRESOLVED;
		if (json_array_size(results) > 0) {
			code = outcome_exit_code(json_array_get(results, 0));
			operation_print(ctl, json_array_get(results, 0));
		}
	}
	json_decref(ids);
	json_decref(results);
	return code;
}

bool operation_ask(struct ctl *ctl, const char *command, json_t *arguments, json_int_t *ret_id)
{
	json_t *value = connection_ask(ctl, command, arguments);

	*ret_id = member_number(value, "operation");
	if (value != NULL && !ctl->wait) {
		if (ctl->json)
			value_print(value);
		else
			printf("operation %" PRId64 "\n", (int64_t)*ret_id);
	}
	json_decref(value);
	return value != NULL;
}

enum exit_code operation_begin(struct ctl *ctl, const char *command, json_t *arguments)
{
	json_int_t id;

	if (!operation_ask(ctl, command, arguments, &id))
		return CTL_ERROR;
	return ctl->wait ? operation_wait(ctl, id) : CTL_OK;
}
