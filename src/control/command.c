/* SPDX-License-Identifier: Apache-2.0 */
/* command.c - see command.h. */
#include "control/command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/bus.h"
#include "control/json_out.h"
#include "control/query.h"

static const char *const type_names[] = {[ARGUMENT_STRING] = "string",
    [ARGUMENT_INTEGER] = "integer",
    [ARGUMENT_BOOLEAN] = "boolean",
    [ARGUMENT_ARRAY] = "array",
    [ARGUMENT_OBJECT] = "object"};

/* --- For the functions of the rows ---------------------------------------------------------- */

bool call_fail(struct call *call, const char *class, const char *format, ...)
{
	char text[sizeof call->err.message];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	call->class = class;
	return err_set(&call->err, ERR_USAGE, NULL, "%s", text);
}

void call_item(struct call *call, json_t *item)
{
	const char *before = call->items++ == 0 ? "{\"return\": [" : ", ";

	if (!output_put_text(call->output, before) || !output_put_json(call->output, item))
		call->no_memory = true;
	json_decref(item);
}

const char *call_string(const struct call *call, const char *name)
{
	return json_string_value(json_object_get(call->arguments, name));
}

/* A whole number; or, as an option may be written, a text like "5" or "0x5", or 5.0. */
static bool argument_to_integer(const json_t *value, json_int_t *ret_value)
{
	const char *text = json_string_value(value);
	char number[32], *end;

	if (json_is_integer(value)) {
		*ret_value = json_integer_value(value);
		return true;
	}
	if (json_is_real(value)) {
		snprintf(number, sizeof number, "%.17g", json_real_value(value));
		text = number;
	}
	if (text == NULL)
		return false;
	errno = 0;
	*ret_value = strtoll(text, &end, 0);
	return end != text && *end == '\0' && errno == 0;
}

bool call_integer(const struct call *call, const char *name, json_int_t *ret_value)
{
	*ret_value = 0;
	return argument_to_integer(json_object_get(call->arguments, name), ret_value);
}

uint64_t call_selection(const struct call *call, const char *name, uint64_t otherwise)
{
	json_int_t value;

	if (!call_integer(call, name, &value))
		return otherwise;
	return value > 0 ? (uint64_t)value : 0;
}

/* --- The schema ----------------------------------------------------------------------------- */

json_t *query_commands(struct call *call)
{
	json_t *list = json_array();

	for (size_t i = 0; i < command_count; i++)
		list = json_out_append(list, json_pack("{s:s}", "name", commands[i].name));
	return list;
}

static json_t *command_arguments(const struct command *command)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ARGUMENTS_MAX && command->arguments[i].name != NULL; i++) {
		const struct argument *argument = &command->arguments[i];

		list =
		    json_out_append(list, json_pack("{s:s, s:s, s:b, s:s}", "name", argument->name,
		                              "type", type_names[argument->type], "required",
		                              argument->required, "doc", argument->doc));
	}
	return list;
}

json_t *query_schema(struct call *call)
{
	json_t *list = json_array();

	for (size_t i = 0; i < command_count; i++)
		list = json_out_append(
		    list, json_pack("{s:s, s:s, s:o, s:s}", "name", commands[i].name, "doc",
		              commands[i].doc, "arguments", command_arguments(&commands[i]),
		              "returns", commands[i].returns));
	return json_pack("{s:o, s:o}", "commands", list, "events", bus_schema());
}

/* --- Checking and dispatch ------------------------------------------------------------------ */

static bool argument_has_type(const json_t *value, enum argument_type type)
{
	switch (type) {
	case ARGUMENT_STRING: return json_is_string(value);
	case ARGUMENT_INTEGER: return json_is_integer(value);
	case ARGUMENT_BOOLEAN: return json_is_boolean(value);
	case ARGUMENT_ARRAY: return json_is_array(value);
	case ARGUMENT_OBJECT: return json_is_object(value);
	}
	return false;
}

/* No argument may contain a NUL: functions that compare texts would stop there. */
static bool text_has_nul(const json_t *value)
{
	return json_is_string(value) &&
	       strlen(json_string_value(value)) != json_string_length(value);
}

/* The argument of this name as the command takes it; NULL if there is none. Where QMP
 * converts all values to texts, a value that cannot be converted counts as not given, and so does
 * an id that is no text.
 */
static json_t *argument_given(const struct command *command, const char *name, json_t *value)
{
	bool dropped = json_is_null(value) || json_is_array(value) || json_is_object(value) ||
	               (strcmp(name, "id") == 0 && !json_is_string(value));

	return command->as_options && dropped ? NULL : value;
}

static bool argument_check(struct call *call, const struct command *command,
    const struct argument *argument, json_t *value)
{
	json_int_t number;

	if (text_has_nul(value))
		return call_fail(
		    call, NULL, "Parameter '%s' must not contain a NUL", argument->name);
	if (command->as_options && argument->type == ARGUMENT_INTEGER &&
	    !argument_to_integer(value, &number))
		return call_fail(call, NULL, "Parameter '%s' expects integer", argument->name);
	if (!command->as_options && !argument_has_type(value, argument->type))
		return call_fail(call, NULL, "Invalid parameter type for '%s', expected: %s",
		    argument->name, type_names[argument->type]);
	return true;
}

static const struct argument *command_find_argument(const struct command *command, const char *name)
{
	for (size_t i = 0; i < ARGUMENTS_MAX && command->arguments[i].name != NULL; i++)
		if (strcmp(command->arguments[i].name, name) == 0)
			return &command->arguments[i];
	return NULL;
}

/* The arguments against the command's row. Those given are looked at in the row's order, so
 * that the answer to a request does not depend on how the client sorts its members. */
static bool command_check_arguments(struct call *call, const struct command *command)
{
	const char *name;
	json_t *value;

	for (size_t i = 0; i < ARGUMENTS_MAX && command->arguments[i].name != NULL; i++) {
		const struct argument *argument = &command->arguments[i];

		value = argument_given(
		    command, argument->name, json_object_get(call->arguments, argument->name));
		if (value == NULL && argument->required)
			return call_fail(call, NULL, "Parameter '%s' is missing", argument->name);
		if (value != NULL && !argument_check(call, command, argument, value))
			return false;
	}
	json_object_foreach (call->arguments, name, value) {
		if (command_find_argument(command, name) == NULL &&
		    argument_given(command, name, value) != NULL)
			return call_fail(call, NULL, "Parameter '%s' is unexpected", name);
	}
	return true;
}

/* The members a request may have. */
static bool command_check_request(struct call *call, json_t *request)
{
	json_t *execute = json_object_get(request, "execute");
	json_t *arguments = json_object_get(request, "arguments");
	const char *name;
	json_t *value;

	json_object_foreach (request, name, value) {
		if (strcmp(name, "execute") != 0 && strcmp(name, "arguments") != 0 &&
		    strcmp(name, "id") != 0)
			return call_fail(call, NULL, "QMP input member '%s' is unexpected", name);
	}
	if (execute == NULL)
		return call_fail(call, NULL, "QMP input lacks member 'execute'");
	if (!json_is_string(execute))
		return call_fail(call, NULL, "QMP input member 'execute' must be a string");
	if (arguments != NULL && !json_is_object(arguments))
		return call_fail(call, NULL, "QMP input member 'arguments' must be an object");
	call->arguments = arguments;
	return true;
}

static const struct command *command_find(struct call *call, const json_t *execute)
{
	const char *name = json_string_value(execute);
	const struct command *command = NULL;

	for (size_t i = 0; i < command_count; i++)
		if (strcmp(commands[i].name, name) == 0 && !text_has_nul(execute))
			command = &commands[i];
	if (!call->session->negotiated && (command == NULL || !command->before_negotiation))
		call_fail(call, "CommandNotFound",
		    "Expecting capabilities negotiation with 'qmp_capabilities'");
	else if (command == NULL)
		call_fail(call, "CommandNotFound", "The command %s has not been found", name);
	else if (call->session->negotiated && command->before_negotiation)
		call_fail(call, "CommandNotFound",
		    "Capabilities negotiation is already complete, command ignored");
	else
		return command;
	return NULL;
}

static json_t *call_run(struct call *call, json_t *request)
{
	const struct command *command;

	if (!command_check_request(call, request))
		return NULL;
	command = command_find(call, json_object_get(request, "execute"));
	if (command == NULL || !command_check_arguments(call, command))
		return NULL;
	return command->run(call);
}

/* The end of a reply whose list items have been written. */
static bool call_end_list(struct call *call, const json_t *id)
{
	return !call->no_memory && output_put_text(call->output, "]") &&
	       (id == NULL || (output_put_text(call->output, ", \"id\": ") &&
	                          output_put_json(call->output, id))) &&
	       output_put_text(call->output, "}");
}

bool command_execute(
    const struct guest *guest, json_t *request, struct session *session, struct output *output)
{
	struct call call = {.guest = guest, .session = session, .output = output};
	json_t *id = json_object_get(request, "id"), *reply = call_run(&call, request);
	bool good;

	if (call.items > 0) {
		json_decref(reply);
		return reply != NULL && call_end_list(&call, id);
	}
	if (reply != NULL)
		reply = json_pack("{s:o}", "return", reply);
	else if (call.err.class != ERR_NONE)
		reply = json_out_error(call.class != NULL ? call.class : "GenericError",
		    call.err.message, session->subscribed ? call.err.hint : NULL);
	good = reply != NULL && (id == NULL || json_object_set(reply, "id", id) == 0) &&
	       output_put_json(output, reply);
	json_decref(reply);
	return good;
}
