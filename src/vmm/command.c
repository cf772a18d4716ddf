/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command.c - what an operator may say on the control socket: one row per command.
 *
 * A row names the command, its arguments with their types, and the function that carries it
 * out. The dispatcher checks a request against the row completely - missing, unexpected and
 * mistyped arguments - before that function runs, so a request that is refused has changed
 * nothing. query-commands and query-schema print the rows. To add a command, add a row and a
 * function; control.c need not know.
 *
 * Error classes and texts follow QMP where QMP has them: clients match the classes, and test
 * suites the texts.
 */
#include "command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spapr/spapr.h"
#include "vmm/options.h"
#include "vmm/vmm.h"

enum type { TYPE_STRING, TYPE_INTEGER, TYPE_ARRAY };

struct argument {
	const char *name;
	enum type type;
	bool required;
	const char *doc;
};

/* A request on its way through: its checked arguments in, an error out if there is one. */
struct call {
	struct vmm *vmm;
	json_t *arguments; /* NULL if the request had none */
	struct session *session;
	struct listing *listing; /* for those who return one: they return list() */
	struct err err;
	const char *class; /* of the protocol; NULL: GenericError */
};

#define ARGUMENTS_MAX 4

struct command {
	const char *name;
	struct argument arguments[ARGUMENTS_MAX]; /* the first without a name ends the list */
	const char *returns;
	const char *doc;
	json_t *(*run)(struct call *call); /* NULL: see call->err; if that is empty, no memory */
	bool before_negotiation;           /* allowed then, and only then */
	bool as_options;                   /* QMP takes the arguments as texts: see given() */
};

/* What is sent unasked. */
struct event {
	const char *name;
	const char *data; /* for query-schema */
	const char *doc;
	bool ours;            /* not QMP's; nor are */
	const char *extra[2]; /* these members of its data */
};

/* --- Text and errors --------------------------------------------------------------------- */

/* The length of the UTF-8 character at text, or 0 if there is none. jansson takes exactly the
 * valid ones, so it is asked. */
static size_t character_length(const char *text)
{
	for (size_t length = 1; length <= 4 && text[length - 1] != '\0'; length++) {
		json_t *character = json_stringn(text, length);

		if (character != NULL) {
			json_decref(character);
			return length;
		}
	}
	return 0;
}

json_t *command_text(const char *text)
{
	char clean[1024];
	size_t used = 0;
	json_t *string = json_string(text);

	if (string != NULL)
		return string;
	while (*text != '\0' && used + 4 < sizeof clean) {
		size_t length = character_length(text);

		if (length > 0)
			memcpy(clean + used, text, length);
		else
			clean[used] = '?';
		length = length > 0 ? length : 1;
		used += length;
		text += length;
	}
	return json_stringn(clean, used);
}

/* Add the request's id, borrowed, to a reply. */
static json_t *with_id(json_t *reply, json_t *id)
{
	if (reply == NULL || id == NULL || json_object_set(reply, "id", id) == 0)
		return reply;
	json_decref(reply);
	return NULL;
}

json_t *command_error(const char *class, const char *desc, const char *hint, json_t *id)
{
	bool hinted = hint != NULL && hint[0] != '\0';

	return with_id(json_pack("{s:{s:s, s:o, s:o*}}", "error", "class", class, "desc",
	                   command_text(desc), "hint", hinted ? command_text(hint) : NULL),
	    id);
}

/* Fill the call's error; returns false, or NULL for a function that returns a reply. */
static bool fail(struct call *call, const char *class, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool fail(struct call *call, const char *class, const char *format, ...)
{
	char text[sizeof call->err.message];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	call->class = class;
	return err_set(&call->err, ERR_USAGE, NULL, "%s", text);
}

/* What is returned is a list, which begin() makes ready. */
static json_t *list(struct call *call, bool (*begin)(struct listing *listing))
{
	call->listing->machine = vmm_machine(call->vmm);
	return begin(call->listing) ? json_array() : NULL;
}

/* --- Arguments, after they have been checked ------------------------------------------------ */

static const char *string_argument(const struct call *call, const char *name)
{
	return json_string_value(json_object_get(call->arguments, name));
}

/* A whole number; or, as an option may be written, a text like "5" or "0x5", or 5.0. */
static bool to_integer(const json_t *value, json_int_t *ret_value)
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

static bool integer_argument(const struct call *call, const char *name, json_int_t *ret_value)
{
	*ret_value = 0;
	return to_integer(json_object_get(call->arguments, name), ret_value);
}

/* An argument that selects by number: negative numbers select like 0. */
static uint64_t selection(const struct call *call, const char *name, uint64_t otherwise)
{
	json_int_t value;

	if (!integer_argument(call, name, &value))
		return otherwise;
	return value > 0 ? (uint64_t)value : 0;
}

/* --- The connection, and the protocol itself ------------------------------------------------ */

static json_t *run_qmp_capabilities(struct call *call)
{
	json_t *enable = json_object_get(call->arguments, "enable");

	if (json_array_size(enable) > 0) {
		const char *name = json_string_value(json_array_get(enable, 0));

		fail(call, NULL, "Capability '%s' is not available", name != NULL ? name : "?");
		return NULL;
	}
	call->session->negotiated = true;
	return json_object();
}

static json_t *run_events_subscribe(struct call *call)
{
	call->session->subscribed = true;
	return json_object();
}

static json_t *run_query_version(struct call *call)
{
	return command_version_json(call->session->subscribed);
}

static json_t *run_query_commands(struct call *call);
static json_t *run_query_schema(struct call *call);

/* --- The machine as a whole ----------------------------------------------------------------- */

static json_t *run_query_status(struct call *call)
{
	return query_status(call->vmm);
}

static json_t *run_query_name(struct call *call)
{
	return query_name(call->vmm);
}

static json_t *run_query_kvm(struct call *call)
{
	(void)call;
	return json_pack("{s:b, s:b}", "enabled", 1, "present", 1);
}

static json_t *run_query_metrics(struct call *call)
{
	return query_metrics(vmm_machine(call->vmm));
}

static json_t *run_stop(struct call *call)
{
	vmm_stop(call->vmm);
	return json_object();
}

static json_t *run_cont(struct call *call)
{
	return vmm_cont(call->vmm, &call->err) ? json_object() : NULL;
}

static json_t *run_system_reset(struct call *call)
{
	return vmm_reset(call->vmm, &call->err) ? json_object() : NULL;
}

static json_t *run_system_powerdown(struct call *call)
{
	vmm_powerdown(call->vmm);
	return json_object();
}

static json_t *run_quit(struct call *call)
{
	vmm_quit(call->vmm);
	return json_object();
}

/* --- Cores ---------------------------------------------------------------------------------- */

#define CORE_DRIVER_SUFFIX "spapr-cpu-core"

/* "host-spapr-cpu-core"; those of other machines name a CPU model first, and mean the same. */
static bool is_core_driver(const char *driver)
{
	size_t length = strlen(driver), suffix = strlen(CORE_DRIVER_SUFFIX);

	return length >= suffix && strcmp(driver + length - suffix, CORE_DRIVER_SUFFIX) == 0;
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_device_id(const char *id)
{
	size_t length = strlen(id);

	if (!is_letter(id[0]) || length >= OP_DEVICE_MAX)
		return false;
	for (size_t i = 1; i < length; i++)
		if (!is_letter(id[i]) && !(id[i] >= '0' && id[i] <= '9') &&
		    strchr("-._", id[i]) == NULL)
			return false;
	return true;
}

/* The core-id, the number of threads and the device id of a device_add. */
static bool check_device_add(struct call *call, uint32_t *ret_core_id, char device[OP_DEVICE_MAX])
{
	const char *driver = string_argument(call, "driver"), *id = string_argument(call, "id");
	uint32_t threads = spapr_get_config(vmm_machine(call->vmm))->threads;
	json_int_t core_id, nr_threads;

	if (driver == NULL)
		return fail(call, NULL, "Parameter 'driver' expects a device model name");
	if (!is_core_driver(driver))
		return fail(call, NULL, "'%s' is not a valid device model name", driver);
	if (id != NULL && !is_device_id(id)) {
		return err_set(&call->err, ERR_USAGE,
		    "an identifier is a letter followed by letters, digits, '-', '.' and '_', at "
		    "most 63 in all",
		    "Parameter 'id' expects an identifier");
	}
	integer_argument(call, "core-id", &core_id);
	if (core_id < 0 || core_id > INT32_MAX)
		return fail(call, NULL, "core id %lld out of range", (long long)core_id);
	if (integer_argument(call, "nr-threads", &nr_threads) && nr_threads != (json_int_t)threads)
		return fail(call, NULL, "invalid nr-threads %lld, must be %u",
		    (long long)nr_threads, (unsigned)threads);
	*ret_core_id = (uint32_t)core_id;
	if (id != NULL)
		snprintf(device, OP_DEVICE_MAX, "%s", id);
	else
		snprintf(device, OP_DEVICE_MAX, "core%u", (unsigned)*ret_core_id);
	return true;
}

/* The reply to a request that has begun an operation. QMP's is empty. */
static json_t *operation_reply(const struct call *call, uint64_t operation)
{
	return call->session->subscribed ? json_pack("{s:I}", "operation", (json_int_t)operation)
	                                 : json_object();
}

static json_t *run_device_add(struct call *call)
{
	char device[OP_DEVICE_MAX];
	uint32_t core_id = 0;
	uint64_t operation = 0;

	if (!check_device_add(call, &core_id, device) ||
	    !spapr_core_add(vmm_machine(call->vmm), core_id, device, &operation, &call->err))
		return NULL;
	return operation_reply(call, operation);
}

static json_t *run_device_del(struct call *call)
{
	static const char path[] = "/machine/peripheral/";
	const char *id = string_argument(call, "id");
	uint64_t operation = 0;

	if (strncmp(id, path, sizeof path - 1) == 0)
		id += sizeof path - 1;
	if (!is_device_id(id)) {
		fail(call, "DeviceNotFound", "Device '%s' not found", id);
		return NULL;
	}
	if (spapr_core_remove(vmm_machine(call->vmm), id, &operation, &call->err))
		return operation_reply(call, operation);
	if (call->err.class == ERR_NOT_FOUND)
		call->class = "DeviceNotFound";
	return NULL;
}

static json_t *run_query_cpus_fast(struct call *call)
{
	call->listing->with_state = call->session->subscribed;
	return list(call, list_cpus_fast);
}

static json_t *run_query_hotpluggable_cpus(struct call *call)
{
	return list(call, list_hotpluggable_cpus);
}

static json_t *run_query_registers(struct call *call)
{
	if (vmm_status(call->vmm) == VMM_RUNNING) {
		err_set(&call->err, ERR_STATE, "stop the guest first, and let it go on with cont",
		    "registers can be read only while the guest does not run");
		return NULL;
	}
	return list(call, list_registers);
}

static json_t *run_query_connectors(struct call *call)
{
	return list(call, list_connectors);
}

/* --- Operations ----------------------------------------------------------------------------- */

static bool has_operation(const struct listing *listing, json_int_t id)
{
	for (size_t i = 0; i < listing->count; i++)
		if (id > 0 && listing->operations[i].id == (uint64_t)id)
			return true;
	return false;
}

static json_t *run_query_operations(struct call *call)
{
	json_t *found = list(call, list_operations);
	json_int_t id;

	if (found == NULL || !integer_argument(call, "id", &id))
		return found;
	if (has_operation(call->listing, id)) {
		call->listing->start = (uint64_t)id;
		call->listing->most = 1;
		return found;
	}
	json_decref(found);
	err_set(&call->err, ERR_NOT_FOUND, "query-operations without id lists those remembered",
	    "operation %lld not found", (long long)id);
	return NULL;
}

static json_t *run_operation_cancel(struct call *call)
{
	uint64_t id = selection(call, "id", 0);

	return spapr_operation_cancel(vmm_machine(call->vmm), id, &call->err) ? json_object()
	                                                                      : NULL;
}

/* --- The tables ----------------------------------------------------------------------------- */

/* clang-format off */
#define START(what) {"start", TYPE_INTEGER, false, "only those with a " what " of at least this"}
#define AT_MOST {"count", TYPE_INTEGER, false, "at most this many"}

static const struct command commands[] = {
{ .name = "qmp_capabilities", .run = run_qmp_capabilities, .before_negotiation = true,
  .arguments = {
	{"enable", TYPE_ARRAY, false, "capabilities to use; none is offered"}},
  .returns = "{}",
  .doc = "Open the connection: the only command allowed before, and not allowed again." },
{ .name = "events-subscribe", .run = run_events_subscribe,
  .returns = "{}",
  .doc = "From now on this connection sees what is not of QMP: OPERATION, members, hints." },
{ .name = "query-version", .run = run_query_version,
  .returns = "{qemu: {major, minor, micro}, package, paprika: {version, protocol}}",
  .doc = "The dialect of the protocol, and what speaks it." },
{ .name = "query-commands", .run = run_query_commands,
  .returns = "[{name}]",
  .doc = "The names of all commands." },
{ .name = "query-schema", .run = run_query_schema,
  .returns = "{commands: [{name, doc, arguments: [{name, type, required, doc}], returns}], "
	"events: [{name, doc, data}]}",
  .doc = "All commands with their arguments, and all events." },
{ .name = "query-status", .run = run_query_status,
  .returns = "{running, singlestep, status}",
  .doc = "Whether the guest runs, and if not, why." },
{ .name = "query-name", .run = run_query_name,
  .returns = "{name}",
  .doc = "The name the guest was started with, if it was given one." },
{ .name = "query-kvm", .run = run_query_kvm,
  .returns = "{enabled, present}",
  .doc = "Always true: guests run under KVM only." },
{ .name = "query-cpus-fast", .run = run_query_cpus_fast,
  .returns = "[{cpu-index, qom-path, thread-id, props: {core-id}, target, state}]",
  .doc = "The vCPUs of all cores the machine has." },
{ .name = "query-registers", .run = run_query_registers,
  .returns = "[{cpu-index, state, pc, msr, lr, ctr, srr0, srr1}]",
  .doc = "Where each vCPU is, while the guest is stopped; registers only of those that run." },
{ .name = "query-hotpluggable-cpus", .run = run_query_hotpluggable_cpus,
  .returns = "[{props: {core-id}, vcpus-count, qom-path, type}]",
  .doc = "All places for a core, the highest first; qom-path only where there is one." },
{ .name = "device_add", .run = run_device_add, .as_options = true,
  .arguments = {
	{"driver", TYPE_STRING, true, "host-spapr-cpu-core"},
	{"core-id", TYPE_INTEGER, true, "the place; see query-hotpluggable-cpus"},
	{"id", TYPE_STRING, false, "name of the device; core<core-id> if not given"},
	{"nr-threads", TYPE_INTEGER, false, "must be what the machine has"}},
  .returns = "{operation}",
  .doc = "Add a core. The reply means that this has begun." },
{ .name = "device_del", .run = run_device_del,
  .arguments = {
	{"id", TYPE_STRING, true, "name of the device, or its qom-path"}},
  .returns = "{operation}",
  .doc = "Ask the guest for a core back. The reply means that this has begun. Asked again "
	"while that is pending, the guest is notified again." },
{ .name = "query-connectors", .run = run_query_connectors,
  .arguments = {START("core-id"), AT_MOST},
  .returns = "[{core-id, drc-index, name, state, attached, device, adding, add-operation, "
	"removing, remove-operation, vcpus: [{id, state}], "
	"history: [{ms-ago, call, vcpu, status}]}]",
  .doc = "The connector of each core, and the guest's last calls on it, newest first." },
{ .name = "query-operations", .run = run_query_operations,
  .arguments = {{"id", TYPE_INTEGER, false, "only this one"}, START("id"), AT_MOST},
  .returns = "[{id, kind, device, core-id, drc-index, outcome, phase, unresolved, "
	"notifications, stuck, elapsed-ms, steps: [{step, at-ms}], evidence}]",
  .doc = "The operations remembered, oldest first." },
{ .name = "operation-cancel", .run = run_operation_cancel,
  .arguments = {
	{"id", TYPE_INTEGER, true, "the operation"}},
  .returns = "{}",
  .doc = "Give a pending operation up." },
{ .name = "query-metrics", .run = run_query_metrics,
  .returns = "{<name>: <number>, ...}",
  .doc = "Counters since the start." },
{ .name = "stop", .run = run_stop,
  .returns = "{}",
  .doc = "Keep all vCPUs out of the guest." },
{ .name = "cont", .run = run_cont,
  .returns = "{}",
  .doc = "Let them in again." },
{ .name = "system_reset", .run = run_system_reset,
  .returns = "{}",
  .doc = "Start the guest from the beginning; what is pending is superseded." },
{ .name = "system_powerdown", .run = run_system_powerdown,
  .returns = "{}",
  .doc = "Ask the guest to shut down." },
{ .name = "quit", .run = run_quit,
  .returns = "{}",
  .doc = "End the guest and the program." },
};

static const struct event events[] = {
{ .name = "OPERATION", .data = "{operation, step}", .ours = true,
  .doc = "An operation passed a step; 'ended' tells how it ended." },
{ .name = "DEVICE_DELETED", .data = "{device, path}",
  .doc = "A core has left the machine." },
{ .name = "DEVICE_UNPLUG_GUEST_ERROR", .data = "{device, path, operation, evidence}",
  .extra = {"operation", "evidence"},
  .doc = "The guest refused to give a core back." },
{ .name = "STOP", .data = "", .doc = "The vCPUs have stopped." },
{ .name = "RESUME", .data = "", .doc = "The vCPUs run again." },
{ .name = "RESET", .data = "{guest, reason}", .doc = "The guest starts from the beginning." },
{ .name = "POWERDOWN", .data = "", .doc = "The guest has been asked to shut down." },
{ .name = "SHUTDOWN", .data = "{guest, reason}",
  .doc = "The guest has shut down, or is being ended." },
{ .name = "GUEST_PANICKED", .data = "{action}", .doc = "The guest has crashed and says so." },
};
/* clang-format on */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const type_names[] = {
    [TYPE_STRING] = "string", [TYPE_INTEGER] = "integer", [TYPE_ARRAY] = "array"};

static json_t *run_query_commands(struct call *call)
{
	json_t *list = json_array();

	(void)call;
	for (size_t i = 0; list != NULL && i < COUNT(commands); i++)
		list = command_append(list, json_pack("{s:s}", "name", commands[i].name));
	return list;
}

static json_t *arguments_schema(const struct command *command)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ARGUMENTS_MAX && command->arguments[i].name != NULL; i++) {
		const struct argument *argument = &command->arguments[i];

		if (list == NULL)
			return NULL;
		list =
		    command_append(list, json_pack("{s:s, s:s, s:b, s:s}", "name", argument->name,
		                             "type", type_names[argument->type], "required",
		                             argument->required, "doc", argument->doc));
	}
	return list;
}

static json_t *run_query_schema(struct call *call)
{
	json_t *command_list = json_array(), *event_list = json_array();

	(void)call;
	for (size_t i = 0; command_list != NULL && i < COUNT(commands); i++)
		command_list = command_append(
		    command_list, json_pack("{s:s, s:s, s:o, s:s}", "name", commands[i].name, "doc",
		                      commands[i].doc, "arguments", arguments_schema(&commands[i]),
		                      "returns", commands[i].returns));
	for (size_t i = 0; event_list != NULL && i < COUNT(events); i++)
		event_list =
		    command_append(event_list, json_pack("{s:s, s:s, s:s}", "name", events[i].name,
		                                   "doc", events[i].doc, "data", events[i].data));
	return json_pack("{s:o, s:o}", "commands", command_list, "events", event_list);
}

bool command_reduce_event(json_t *event)
{
	const char *name = json_string_value(json_object_get(event, "event"));
	json_t *data = json_object_get(event, "data");

	for (size_t i = 0; name != NULL && i < COUNT(events); i++) {
		if (strcmp(events[i].name, name) != 0)
			continue;
		for (size_t j = 0; j < COUNT(events[i].extra) && events[i].extra[j] != NULL; j++)
			json_object_del(data, events[i].extra[j]);
		return !events[i].ours;
	}
	return false;
}

/* --- Checking and dispatch ------------------------------------------------------------------ */

static bool has_type(const json_t *value, enum type type)
{
	switch (type) {
	case TYPE_STRING: return json_is_string(value);
	case TYPE_INTEGER: return json_is_integer(value);
	case TYPE_ARRAY: return json_is_array(value);
	}
	return false;
}

/* No text here is meant to have one, and functions that compare texts end at it. */
static bool has_nul(const json_t *value)
{
	return json_is_string(value) &&
	       strlen(json_string_value(value)) != json_string_length(value);
}

/* The argument of this name as the command takes it; NULL if there is none. Where QMP makes texts
 * of all values, what it cannot make one of counts as not given, and as an id only a text counts.
 */
static json_t *given(const struct command *command, const char *name, json_t *value)
{
	bool dropped = json_is_null(value) || json_is_array(value) || json_is_object(value) ||
	               (strcmp(name, "id") == 0 && !json_is_string(value));

	return command->as_options && dropped ? NULL : value;
}

static bool check_type(struct call *call, const struct command *command,
    const struct argument *argument, json_t *value)
{
	json_int_t number;

	if (has_nul(value))
		return fail(call, NULL, "Parameter '%s' must not contain a NUL", argument->name);
	if (command->as_options && argument->type == TYPE_INTEGER && !to_integer(value, &number))
		return fail(call, NULL, "Parameter '%s' expects integer", argument->name);
	if (!command->as_options && !has_type(value, argument->type))
		return fail(call, NULL, "Invalid parameter type for '%s', expected: %s",
		    argument->name, type_names[argument->type]);
	return true;
}

static const struct argument *find_argument(const struct command *command, const char *name)
{
	for (size_t i = 0; i < ARGUMENTS_MAX && command->arguments[i].name != NULL; i++)
		if (strcmp(command->arguments[i].name, name) == 0)
			return &command->arguments[i];
	return NULL;
}

/* The arguments against the command's row. Those given are looked at in the row's order, so
 * that the answer to a request does not depend on how the client sorts its members. */
static bool check_arguments(struct call *call, const struct command *command)
{
	const char *name;
	json_t *value;

	for (size_t i = 0; i < ARGUMENTS_MAX && command->arguments[i].name != NULL; i++) {
		const struct argument *argument = &command->arguments[i];

		value = given(
		    command, argument->name, json_object_get(call->arguments, argument->name));
		if (value == NULL && argument->required)
			return fail(call, NULL, "Parameter '%s' is missing", argument->name);
		if (value != NULL && !check_type(call, command, argument, value))
			return false;
	}
	json_object_foreach (call->arguments, name, value) {
		if (find_argument(command, name) == NULL && given(command, name, value) != NULL)
			return fail(call, NULL, "Parameter '%s' is unexpected", name);
	}
	return true;
}

/* The members a request may have. */
static bool check_request(struct call *call, json_t *request)
{
	json_t *execute = json_object_get(request, "execute");
	json_t *arguments = json_object_get(request, "arguments");
	const char *name;
	json_t *value;

	json_object_foreach (request, name, value) {
		if (strcmp(name, "execute") != 0 && strcmp(name, "arguments") != 0 &&
		    strcmp(name, "id") != 0)
			return fail(call, NULL, "QMP input member '%s' is unexpected", name);
	}
	if (execute == NULL)
		return fail(call, NULL, "QMP input lacks member 'execute'");
	if (!json_is_string(execute))
		return fail(call, NULL, "QMP input member 'execute' must be a string");
	if (arguments != NULL && !json_is_object(arguments))
		return fail(call, NULL, "QMP input member 'arguments' must be an object");
	call->arguments = arguments;
	return true;
}

static const struct command *find_command(struct call *call, const json_t *execute)
{
	const char *name = json_string_value(execute);
	const struct command *command = NULL;

	for (size_t i = 0; i < COUNT(commands); i++)
		if (strcmp(commands[i].name, name) == 0 && !has_nul(execute))
			command = &commands[i];
	if (!call->session->negotiated && (command == NULL || !command->before_negotiation))
		fail(call, "CommandNotFound",
		    "Expecting capabilities negotiation with 'qmp_capabilities'");
	else if (command == NULL)
		fail(call, "CommandNotFound", "The command %s has not been found", name);
	else if (call->session->negotiated && command->before_negotiation)
		fail(call, "CommandNotFound",
		    "Capabilities negotiation is already complete, command ignored");
	else
		return command;
	return NULL;
}

static json_t *execute(struct call *call, json_t *request)
{
	const struct command *command;

	if (!check_request(call, request))
		return NULL;
	command = find_command(call, json_object_get(request, "execute"));
	if (command == NULL || !check_arguments(call, command))
		return NULL;
	call->listing->start = selection(call, "start", 0);
	call->listing->most = selection(call, "count", UINT64_MAX);
	return command->run(call);
}

json_t *command_execute(
    struct vmm *vmm, json_t *request, struct session *session, struct listing *ret_listing)
{
	struct call call = {.vmm = vmm, .session = session, .listing = ret_listing};
	json_t *id = json_object_get(request, "id"), *value;

	*ret_listing = (struct listing){.item = NULL};
	value = execute(&call, request);
	if (value != NULL)
		return with_id(json_pack("{s:o}", "return", value), id);
	listing_finish(ret_listing);
	ret_listing->item = NULL;
	if (call.err.class == ERR_NONE)
		return NULL;
	return command_error(call.class != NULL ? call.class : "GenericError", call.err.message,
	    session->subscribed ? call.err.hint : NULL, id);
}
