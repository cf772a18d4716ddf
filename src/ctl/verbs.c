/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verbs.c - the commands of paprikactl, one row each in the table `verbs`.
 */
#include "ctl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- Commands ----------------------------------------------------------------------------- */

/* Send a command and print only its error or, with --json, the reply. */
static enum exit_code verb_ask(struct ctl *ctl, const char *command, json_t *arguments)
{
	json_t *value = connection_ask(ctl, command, arguments);

	if (value == NULL)
		return CTL_ERROR;
	if (ctl->json)
		value_print(value);
	json_decref(value);
	return CTL_OK;
}

/* A non-negative decimal number; false after a complaint. */
static bool verb_parse_number(const char *text, const char *what, json_int_t *ret_number)
{
	char *end;
	long long number;

	errno = 0;
	number = strtoll(text, &end, 10);
	if (end == text || *end != '\0' || errno != 0 || number < 0) {
		complain("%s must be a number of 0 or more, not \"%s\"", what, text);
		return false;
	}
	*ret_number = number;
	return true;
}

/* The checks below run before the connection is made. */
static bool verb_check_core_id(struct ctl *ctl, char **arguments)
{
	return verb_parse_number(arguments[0], "CORE-ID", &ctl->number);
}

static bool verb_check_cores(struct ctl *ctl, char **arguments)
{
	return verb_parse_number(arguments[0], "N", &ctl->number);
}

static bool verb_check_operation_id(struct ctl *ctl, char **arguments)
{
	return arguments[0] == NULL || verb_parse_number(arguments[0], "ID", &ctl->number);
}

static bool verb_check_request(struct ctl *ctl, char **arguments)
{
	json_error_t error;

	if (arguments[0][strspn(arguments[0], " \t\r\n")] == '{')
		ctl->request = json_loads(arguments[0], JSON_REJECT_DUPLICATES, &error);
	else
		ctl->request = json_pack_ex(&error, 0, "{s:s}", "execute", arguments[0]);
	if (ctl->request == NULL)
		complain("%s: %s (give a command's name, or one JSON object in quotes)",
		    arguments[0], error.text);
	return ctl->request != NULL;
}

static enum exit_code verb_status(struct ctl *ctl, char **arguments)
{
	static const struct {
		const char *key, *command;
	} parts[] = {{"status", "query-status"}, {"name", "query-name"},
	    {"version", "query-version"}, {"cpus", "query-cpus-fast"}};
	json_t *all = json_object(), *operations;

	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		json_t *value = connection_ask(ctl, parts[i].command, NULL);

		if (value == NULL) {
			json_decref(all);
			return CTL_ERROR;
		}
		json_object_set_new(all, parts[i].key, value);
	}
	operations = connection_ask(ctl, "query-operations", NULL);
	json_object_set_new(all, "operations", operations);
	if (operations != NULL && ctl->json)
		value_print(all);
	else if (operations != NULL)
		status_print(ctl, all);
	json_decref(all);
	return operations != NULL ? CTL_OK : CTL_ERROR;
}

/* Ask for a list and print it, as JSON or by `print`. */
static enum exit_code verb_list(
    struct ctl *ctl, const char *command, json_t *arguments, bool (*print)(const json_t *list))
{
	json_t *list = connection_ask(ctl, command, arguments);
	bool good = list != NULL;

	if (good && ctl->json)
		value_print(list);
	else if (good)
		good = print(list);
	json_decref(list);
	return good ? CTL_OK : CTL_ERROR;
}

static enum exit_code verb_cpu_list(struct ctl *ctl, char **arguments)
{
	if (ctl->registers)
		return verb_list(ctl, "query-registers", NULL, registers_print);
	if (ctl->json)
		return verb_list(ctl, "query-hotpluggable-cpus", NULL, cores_print);
	return verb_list(
	    ctl, "query-connectors", json_pack("{s:s}", "resource", "core"), cores_print);
}

static enum exit_code verb_connectors(struct ctl *ctl, char **arguments)
{
	return verb_list(ctl, "query-connectors", NULL, connectors_print);
}

static enum exit_code verb_disk_list(struct ctl *ctl, char **arguments)
{
	return verb_list(
	    ctl, "query-connectors", json_pack("{s:s}", "resource", "pci"), disks_print);
}

static enum exit_code verb_cpu_add(struct ctl *ctl, char **arguments)
{
	return operation_begin(ctl, "device_add",
	    json_pack("{s:s, s:I, s:s*}", "driver", "host-spapr-cpu-core", "core-id", ctl->number,
	        "id", ctl->device_id));
}

static enum exit_code verb_cpu_remove(struct ctl *ctl, char **arguments)
{
	return operation_begin(ctl, "device_del", json_pack("{s:s}", "id", arguments[0]));
}

/* One operation in full: its sentence and its steps. */
static enum exit_code verb_show_operation(struct ctl *ctl)
{
	json_t *list, *step;
	size_t i;

	list = connection_ask(ctl, "query-operations", json_pack("{s:I}", "id", ctl->number));
	if (list == NULL)
		return CTL_ERROR;
	operation_print(ctl, json_array_get(list, 0));
	json_array_foreach (json_object_get(json_array_get(list, 0), "steps"), i, step) {
		if (!ctl->json)
			printf("%8" PRId64 " ms  %s\n", member_number(step, "at-ms"),
			    member_text(step, "step"));
	}
	json_decref(list);
	return CTL_OK;
}

static enum exit_code verb_operations(struct ctl *ctl, char **arguments)
{
	return arguments[0] != NULL ? verb_show_operation(ctl)
	                            : verb_list(ctl, "query-operations", NULL, operations_print);
}

static enum exit_code verb_cancel(struct ctl *ctl, char **arguments)
{
	return verb_ask(ctl, "operation-cancel", json_pack("{s:I}", "id", ctl->number));
}

static enum exit_code verb_events(struct ctl *ctl, char **arguments)
{
	do {
		json_t *event = NULL;
		enum received received = connection_next_event(ctl, ctl->deadline, &event);

		if (received == TIMED_OUT && ctl->follow)
			return CTL_OK; /* --timeout bounds --follow */
		if (received == TIMED_OUT) {
			complain("no event within %g s", (double)ctl->timeout_ms / 1000);
			return CTL_UNRESOLVED;
		}
		if (received != RECEIVED) {
			connection_complain(ctl, received);
			json_decref(event);
			return CTL_ERROR;
		}
		event_print(ctl, event);
		json_decref(event);
	} while (ctl->follow);
	return CTL_OK;
}

static enum exit_code verb_execute(struct ctl *ctl, char **arguments)
{
	json_t *reply = connection_exchange(ctl, json_incref(ctl->request)), *value;

	value = json_object_get(reply, "return");
	if (value != NULL && ctl->json)
		value_print(value);
	else if (value != NULL)
		value_print_indented(value);
	else if (reply != NULL)
		reply_complain(ctl, reply);
	json_decref(reply);
	return value != NULL ? CTL_OK : CTL_ERROR;
}

/* --- The table ---------------------------------------------------------------------------- */

static const struct verb {
	const char *words; /* one or two */
	const char *arguments;
	int min, max;                                     /* number of arguments */
	bool (*check)(struct ctl *ctl, char **arguments); /* false after a complaint; or NULL */
	/* Arguments are NULL-terminated. NULL if the verb is one `request` without arguments. */
	enum exit_code (*run)(struct ctl *ctl, char **arguments);
	const char *request; /* command of the protocol */
	const char *doc;
} verbs[] = {
    /* clang-format off */
    {"status", "", 0, 0, NULL, verb_status, NULL, "whether the guest runs, and what is pending"},
    {"cpu list", "[--registers]", 0, 0, NULL, verb_cpu_list, NULL, "the cores, and the places for more"},
    {"cpu add", "CORE-ID [--id NAME] [--wait] [--timeout S]", 1, 1, verb_check_core_id, verb_cpu_add, NULL,
	"add a core"},
    {"cpu remove", "DEVICE [--wait] [--timeout S]", 1, 1, NULL, verb_cpu_remove, NULL,
	"ask the guest for a core back"},
    {"cpu set", "N [--wait] [--timeout S]", 1, 1, verb_check_cores, verb_cpu_set, NULL,
	"have N cores"},
    {"memory list", "", 0, 0, NULL, verb_memory_list, NULL, "the memory that was added, and the sum"},
    {"memory add", "SIZE [--id NAME] [--wait] [--timeout S]", 1, 1, verb_check_size, verb_memory_add, NULL,
	"add memory as one device"},
    {"memory remove", "DEVICE [--wait] [--timeout S]", 1, 1, NULL, verb_memory_remove, NULL,
	"ask the guest for a device back"},
    {"memory set", "SIZE [--wait] [--timeout S]", 1, 1, verb_check_size, verb_memory_set, NULL,
	"have SIZE of memory in all"},
    {"disk list", "", 0, 0, NULL, verb_disk_list, NULL, "the PCI devices"},
    {"disk add", "FILE [--id NAME] [--readonly] [--wait] [--timeout S]", 1, 1, verb_check_file, verb_disk_add, NULL,
	"add a disk: a raw image or a block device"},
    {"disk reconnect", "DEVICE SOCKET", 2, 2, verb_check_second_socket, verb_reconnect, NULL,
	"give a disk that has lost its program another one"},
    {"disk remove", "DEVICE [--force] [--wait] [--timeout S]", 1, 1, NULL, verb_disk_remove, NULL,
	"ask the guest for a PCI device back"},
    {"net list", "", 0, 0, NULL, verb_disk_list, NULL, "the same"},
    {"net add", "unix=PATH|tap=NAME [--id NAME] [--wait] [--timeout S]", 1, 1, verb_check_net, verb_net_add, NULL,
	"add a network device"},
    {"net remove", "DEVICE [--force] [--wait] [--timeout S]", 1, 1, NULL, verb_net_remove, NULL,
	"ask the guest for a PCI device back"},
    {"share list", "", 0, 0, NULL, verb_disk_list, NULL, "the PCI devices"},
    {"share add", "SOCKET TAG [--id NAME] [--wait] [--timeout S]", 2, 2, verb_check_socket, verb_share_add, NULL,
	"add a shared directory: a virtiofsd's socket"},
    {"share reconnect", "DEVICE SOCKET", 2, 2, verb_check_second_socket, verb_reconnect, NULL,
	"give a share that has lost its program another one"},
    {"share remove", "DEVICE [--force] [--wait] [--timeout S]", 1, 1, NULL, verb_disk_remove, NULL,
	"ask the guest for it back"},
    {"connectors", "", 0, 0, NULL, verb_connectors, NULL, "what the guest has done with each device"},
    {"operations", "[ID]", 0, 1, verb_check_operation_id, verb_operations, NULL,
	"what was asked, and how it ended"},
    {"cancel", "ID", 1, 1, verb_check_operation_id, verb_cancel, NULL, "give a pending operation up"},
    {"events", "[--follow]", 0, 0, NULL, verb_events, NULL, "the next event, or all to come"},
    {"stop", "", 0, 0, NULL, NULL, "stop", "keep all vCPUs out of the guest"},
    {"cont", "", 0, 0, NULL, NULL, "cont", "let them in again"},
    {"reset", "", 0, 0, NULL, NULL, "system_reset", "start the guest from the beginning"},
    {"powerdown", "", 0, 0, NULL, NULL, "system_powerdown", "ask the guest to shut down"},
    {"quit", "", 0, 0, NULL, NULL, "quit", "end the guest and its VMM"},
    {"execute", "JSON|NAME", 1, 1, verb_check_request, verb_execute, NULL, "any command of the protocol"},
    /* clang-format on */
};

#define VERBS (sizeof verbs / sizeof verbs[0])

void verbs_print_help(void)
{
	for (size_t i = 0; i < VERBS; i++) {
		char usage[80];

		snprintf(usage, sizeof usage, "%s %s", verbs[i].words, verbs[i].arguments);
		printf("  %-54s%s\n", usage, verbs[i].doc);
	}
}

/* The command at the start of `words`; *ret_used is the number of words in its name. */
static const struct verb *verb_find(char **words, int count, int *ret_used)
{
	char two[64];

	if (count == 0)
		return NULL;
	snprintf(two, sizeof two, "%s %s", words[0], count > 1 ? words[1] : "");
	for (size_t i = 0; i < VERBS; i++) {
		*ret_used = strcmp(verbs[i].words, two) == 0 ? 2 : 1;
		if (*ret_used == 2 || strcmp(verbs[i].words, words[0]) == 0)
			return &verbs[i];
	}
	return NULL;
}

/* Suggest the commands with the same first word, else with the same first letter. */
static void verb_complain_unknown(char **words, int count)
{
	char typed[64], near[256] = "";
	size_t used = 0, same = 1;

	if (count == 0) {
		complain("no command (see paprikactl help)");
		return;
	}
	snprintf(typed, sizeof typed, "%s%s%s", words[0], count > 1 ? " " : "",
	    count > 1 ? words[1] : "");
	if (strcmp(words[0], "cpu") == 0 || strcmp(words[0], "memory") == 0 ||
	    strcmp(words[0], "disk") == 0 || strcmp(words[0], "net") == 0 ||
	    strcmp(words[0], "share") == 0)
		same = strlen(words[0]);
	for (size_t i = 0; i < VERBS && used < sizeof near; i++) {
		if (strncmp(verbs[i].words, typed, same) == 0)
			used += (size_t)snprintf(near + used, sizeof near - used, "%s%s",
			    used > 0 ? ", " : "", verbs[i].words);
	}
	complain("no such command: %s (%s%s)", typed, used > 0 ? "did you mean one of these: " : "",
	    used > 0 ? near : "see paprikactl help");
}

enum exit_code verb_run(struct ctl *ctl, int count, char **words)
{
	int used = 0;
	enum exit_code code = CTL_ERROR;
	const struct verb *verb = verb_find(words, count, &used);

	if (verb == NULL) {
		verb_complain_unknown(words, count);
		return CTL_USAGE;
	}
	if (count - used < verb->min || count - used > verb->max) {
		complain("usage: paprikactl %s %s", verb->words, verb->arguments);
		return CTL_USAGE;
	}
	if (verb->check != NULL && !verb->check(ctl, words + used))
		return CTL_USAGE;
	ctl->events = json_array();
	if (connection_open(ctl))
		code = verb->run != NULL ? verb->run(ctl, words + used)
		                         : verb_ask(ctl, verb->request, NULL);
	json_decref(ctl->request);
	if (ctl->file_fd > 0)
		close(ctl->file_fd);
	connection_close(ctl);
	return code;
}
