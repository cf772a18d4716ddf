/* SPDX-License-Identifier: Apache-2.0 */
/*
 * paprikactl.c - what a person types, or a script runs, to handle a running guest: the commands.
 *
 * It knows the protocol of the control socket (docs/protocol.md) and nothing else of the VMM.
 * Each command is a row of the table `verbs`, from which the help text comes, too. Operations
 * end in different ways, and so does this program: see the exit codes.
 */
#include "ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SOCKET_DEFAULT "/run/paprika.sock"

enum exit_code {
	CTL_OK = 0,
	CTL_ERROR = 1,
	CTL_USAGE = 2,
	CTL_REJECTED = 3,
	CTL_UNRESOLVED = 4,
	CTL_SUPERSEDED = 5,
	CTL_CANCELLED = 6,
};

/* --- Waiting for an operation ------------------------------------------------------------- */

/* An outcome this program does not know is not taken for success. */
static enum exit_code code_of_outcome(const json_t *operation)
{
	static const struct {
		const char *outcome;
		enum exit_code code;
	} rows[] = {{"done", CTL_OK}, {"rejected", CTL_REJECTED}, {"superseded", CTL_SUPERSEDED},
	    {"cancelled", CTL_CANCELLED}, {"pending", CTL_UNRESOLVED}};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (strcmp(rows[i].outcome, text_of(operation, "outcome")) == 0)
			return rows[i].code;
	return CTL_ERROR;
}

/* How long after --timeout a VMM may take to say where the operation is stuck. */
#define LAST_WORD_MS 2000

/* --timeout has passed: say where the operation is stuck, and leave it alone. */
static enum exit_code give_up_waiting(struct ctl *ctl, json_int_t id)
{
	json_t *list, *operation;
	enum exit_code code = CTL_UNRESOLVED; /* as far as can be known */

	ctl->deadline = now_ms() + LAST_WORD_MS;
	list = ask(ctl, "query-operations", json_pack("{s:I}", "id", id));
	operation = json_array_get(list, 0);
	if (operation != NULL) {
		/* It may have ended just now. */
		code = code_of_outcome(operation);
		print_operation(ctl, operation);
	}
	json_decref(list);
	return code;
}

static enum exit_code wait_for(struct ctl *ctl, json_int_t id)
{
	for (;;) {
		json_t *event = NULL, *data, *operation;
		enum received received = next_event(ctl, ctl->deadline, &event);
		enum exit_code code = CTL_UNRESOLVED;

		if (received == TIMED_OUT)
			return give_up_waiting(ctl, id);
		if (received != RECEIVED) {
			json_decref(event);
			complain("the VMM has gone while operation %" PRId64 " was pending",
			    (int64_t)id);
			return CTL_ERROR;
		}
		data = json_object_get(event, "data");
		operation = json_object_get(data, "operation");
		if (json_is_object(operation) && number_of(operation, "id") == id) {
			code = code_of_outcome(operation);
			if (code != CTL_UNRESOLVED)
				print_operation(ctl, operation);
			else if (strcmp(text_of(data, "step"), "unresolved") == 0)
				complain("%s: still waiting: %s", text_of(operation, "device"),
				    text_of(operation, "stuck"));
		}
		json_decref(event);
		if (code != CTL_UNRESOLVED)
			return code;
		/* However many other events there are. */
		if (ctl->deadline >= 0 && now_ms() >= ctl->deadline)
			return give_up_waiting(ctl, id);
	}
}

/* --- Commands ----------------------------------------------------------------------------- */

/* Ask, and print nothing but errors (or, with --json, the reply). */
static enum exit_code just_ask(struct ctl *ctl, const char *command, json_t *arguments)
{
	json_t *value = ask(ctl, command, arguments);

	if (value == NULL)
		return CTL_ERROR;
	if (ctl->json)
		print_json(value);
	json_decref(value);
	return CTL_OK;
}

/* A non-negative decimal number; false after a complaint. */
static bool parse_number(const char *text, const char *what, json_int_t *ret_number)
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

/* What is wrong with arguments is said before anything is asked. */
static bool check_core_id(struct ctl *ctl, char **arguments)
{
	return parse_number(arguments[0], "CORE-ID", &ctl->number);
}

static bool check_operation_id(struct ctl *ctl, char **arguments)
{
	return arguments[0] == NULL || parse_number(arguments[0], "ID", &ctl->number);
}

static bool check_request(struct ctl *ctl, char **arguments)
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

static const char *or_dash(const char *text)
{
	return text[0] != '\0' ? text : "-";
}

static void print_status(const struct ctl *ctl, const json_t *all)
{
	const json_t *cpus = json_object_get(all, "cpus"), *operation, *cpu;
	size_t i, running = 0;

	json_array_foreach (cpus, i, cpu) {
		running += strcmp(text_of(cpu, "state"), "running") == 0;
	}
	printf("guest    %s\n", or_dash(text_of(json_object_get(all, "name"), "name")));
	printf("status   %s\n", text_of(json_object_get(all, "status"), "status"));
	printf("vcpus    %zu, %zu of them running\n", json_array_size(cpus), running);
	printf("version  %s\n", text_of(json_object_get(all, "version"), "package"));
	json_array_foreach (json_object_get(all, "operations"), i, operation) {
		if (strcmp(text_of(operation, "outcome"), "pending") == 0)
			print_operation(ctl, operation);
	}
}

static enum exit_code run_status(struct ctl *ctl, char **arguments)
{
	static const struct {
		const char *key, *command;
	} parts[] = {{"status", "query-status"}, {"name", "query-name"},
	    {"version", "query-version"}, {"cpus", "query-cpus-fast"}};
	json_t *all = json_object(), *operations;

	(void)arguments;
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		json_t *value = ask(ctl, parts[i].command, NULL);

		if (value == NULL) {
			json_decref(all);
			return CTL_ERROR;
		}
		json_object_set_new(all, parts[i].key, value);
	}
	operations = ask(ctl, "query-operations", NULL);
	json_object_set_new(all, "operations", operations);
	if (operations != NULL && ctl->json)
		print_json(all);
	else if (operations != NULL)
		print_status(ctl, all);
	json_decref(all);
	return operations != NULL ? CTL_OK : CTL_ERROR;
}

/* The states of a core's threads: "running" if all agree, else each. */
static void vcpu_states(FILE *to, const json_t *vcpus)
{
	const char *first = text_of(json_array_get(vcpus, 0), "state");
	json_t *vcpu;
	size_t i;
	bool same = true;

	json_array_foreach (vcpus, i, vcpu) {
		same = same && strcmp(text_of(vcpu, "state"), first) == 0;
	}
	json_array_foreach (vcpus, i, vcpu) {
		if (i == 0 || !same)
			fprintf(to, "%s%s", i > 0 ? "," : "", text_of(vcpu, "state"));
	}
}

/* "remove (operation 7)" */
static void pending_of(FILE *to, const json_t *connector)
{
	bool adding = is_true(connector, "adding"), removing = is_true(connector, "removing");

	if (adding)
		fprintf(to, "add (operation %" PRId64 ")", number_of(connector, "add-operation"));
	if (removing)
		fprintf(to, "%sremove (operation %" PRId64 ")", adding ? ", " : "",
		    number_of(connector, "remove-operation"));
	if (!adding && !removing)
		fputc('-', to);
}

/* Where each vCPU of a stopped guest is. */
static enum exit_code list_registers(struct ctl *ctl)
{
	static const char *const names[] = {"pc", "msr", "lr", "ctr", "srr0", "srr1"};
	json_t *vcpus, *vcpu;
	struct table table;
	size_t i;

	if (ctl->json)
		return just_ask(ctl, "query-registers", NULL);
	vcpus = ask(ctl, "query-registers", NULL);
	if (vcpus == NULL || !table_init(&table, "VCPU\tSTATE\tPC\tMSR\tLR\tCTR\tSRR0\tSRR1\n")) {
		json_decref(vcpus);
		return CTL_ERROR;
	}
	json_array_foreach (vcpus, i, vcpu) {
		fprintf(table.to, "%" PRId64 "\t%s", number_of(vcpu, "cpu-index"),
		    text_of(vcpu, "state"));
		for (size_t r = 0; r < sizeof names / sizeof names[0]; r++)
			fprintf(table.to, "\t%s", or_dash(text_of(vcpu, names[r])));
		fputc('\n', table.to);
	}
	table_print(&table);
	json_decref(vcpus);
	return CTL_OK;
}

static enum exit_code run_cpu_list(struct ctl *ctl, char **arguments)
{
	json_t *cores, *core;
	struct table table;
	size_t i;

	(void)arguments;
	if (ctl->registers)
		return list_registers(ctl);
	if (ctl->json)
		return just_ask(ctl, "query-hotpluggable-cpus", NULL);
	cores = ask(ctl, "query-connectors", NULL);
	if (cores == NULL || !table_init(&table, "CORE\tDEVICE\tVCPUS\tSTATE\tPENDING\n")) {
		json_decref(cores);
		return CTL_ERROR;
	}
	json_array_foreach (cores, i, core) {
		const json_t *vcpus = json_object_get(core, "vcpus");
		size_t threads = json_array_size(vcpus);

		fprintf(table.to, "%" PRId64 "\t%s\t%" PRId64, number_of(core, "core-id"),
		    or_dash(text_of(core, "device")), number_of(json_array_get(vcpus, 0), "id"));
		if (threads > 1)
			fprintf(table.to, "-%" PRId64,
			    number_of(json_array_get(vcpus, threads - 1), "id"));
		fputc('\t', table.to);
		vcpu_states(table.to, vcpus);
		fputc('\t', table.to);
		pending_of(table.to, core);
		fputc('\n', table.to);
	}
	table_print(&table);
	json_decref(cores);
	return CTL_OK;
}

/* device_add or device_del, and what --wait asks for. */
static enum exit_code begin(struct ctl *ctl, const char *command, json_t *arguments)
{
	json_t *value = ask(ctl, command, arguments);
	json_int_t id = number_of(value, "operation");

	if (value != NULL && !ctl->wait) {
		if (ctl->json)
			print_json(value);
		else
			printf("operation %" PRId64 "\n", (int64_t)id);
	}
	json_decref(value);
	if (value == NULL)
		return CTL_ERROR;
	return ctl->wait ? wait_for(ctl, id) : CTL_OK;
}

static enum exit_code run_cpu_add(struct ctl *ctl, char **arguments)
{
	(void)arguments;
	return begin(ctl, "device_add",
	    json_pack("{s:s, s:I, s:s*}", "driver", "host-spapr-cpu-core", "core-id", ctl->number,
	        "id", ctl->device_id));
}

static enum exit_code run_cpu_remove(struct ctl *ctl, char **arguments)
{
	return begin(ctl, "device_del", json_pack("{s:s}", "id", arguments[0]));
}

/* "unisolate=0, set-usable=0": the newest first, three at most. */
static void last_calls(FILE *to, const json_t *history)
{
	json_t *call;
	size_t i;

	json_array_foreach (history, i, call) {
		if (i < 3)
			fprintf(to, "%s%s=%" PRId64, i > 0 ? ", " : "", text_of(call, "call"),
			    number_of(call, "status"));
	}
	if (json_array_size(history) == 0)
		fputc('-', to);
}

static enum exit_code run_connectors(struct ctl *ctl, char **arguments)
{
	json_t *list = ask(ctl, "query-connectors", NULL), *entry;
	struct table table;
	size_t i;

	(void)arguments;
	if (list == NULL)
		return CTL_ERROR;
	if (ctl->json) {
		print_json(list);
	} else if (table_init(&table, "CONNECTOR\tINDEX\tSTATE\tDEVICE\tPENDING\tLAST CALLS\n")) {
		json_array_foreach (list, i, entry) {
			fprintf(table.to, "%s\t0x%08" PRIx64 "\t%s\t%s\t", text_of(entry, "name"),
			    (uint64_t)number_of(entry, "drc-index"), text_of(entry, "state"),
			    or_dash(text_of(entry, "device")));
			pending_of(table.to, entry);
			fputc('\t', table.to);
			last_calls(table.to, json_object_get(entry, "history"));
			fputc('\n', table.to);
		}
		table_print(&table);
	}
	json_decref(list);
	return CTL_OK;
}

/* One operation in full: its sentence, and the steps it passed. */
static enum exit_code show_operation(struct ctl *ctl)
{
	json_t *list, *step;
	size_t i;

	list = ask(ctl, "query-operations", json_pack("{s:I}", "id", ctl->number));
	if (list == NULL)
		return CTL_ERROR;
	print_operation(ctl, json_array_get(list, 0));
	json_array_foreach (json_object_get(json_array_get(list, 0), "steps"), i, step) {
		if (!ctl->json)
			printf("%8" PRId64 " ms  %s\n", number_of(step, "at-ms"),
			    text_of(step, "step"));
	}
	json_decref(list);
	return CTL_OK;
}

static enum exit_code run_operations(struct ctl *ctl, char **arguments)
{
	json_t *list, *operation;
	struct table table;
	size_t i;

	if (arguments[0] != NULL)
		return show_operation(ctl);
	list = ask(ctl, "query-operations", NULL);
	if (list == NULL)
		return CTL_ERROR;
	if (ctl->json) {
		print_json(list);
	} else if (table_init(&table, "ID\tKIND\tDEVICE\tCORE\tOUTCOME\tPHASE\tELAPSED\n")) {
		json_array_foreach (list, i, operation) {
			const char *outcome = text_of(operation, "outcome");

			fprintf(table.to,
			    "%" PRId64 "\t%s\t%s\t%" PRId64 "\t%s\t%s\t%" PRId64 " ms\n",
			    number_of(operation, "id"), text_of(operation, "kind"),
			    or_dash(text_of(operation, "device")), number_of(operation, "core-id"),
			    is_true(operation, "unresolved") ? "unresolved" : outcome,
			    text_of(operation, "phase"), number_of(operation, "elapsed-ms"));
		}
		table_print(&table);
	}
	json_decref(list);
	return CTL_OK;
}

static enum exit_code run_cancel(struct ctl *ctl, char **arguments)
{
	(void)arguments;
	return just_ask(ctl, "operation-cancel", json_pack("{s:I}", "id", ctl->number));
}

static enum exit_code run_events(struct ctl *ctl, char **arguments)
{
	(void)arguments;
	do {
		json_t *event = NULL;
		enum received received = next_event(ctl, ctl->deadline, &event);

		if (received == TIMED_OUT && ctl->follow)
			return CTL_OK; /* as long as was asked for */
		if (received == TIMED_OUT) {
			complain("no event within %g s", (double)ctl->timeout_ms / 1000);
			return CTL_UNRESOLVED;
		}
		if (received != RECEIVED) {
			complain_received(ctl, received);
			json_decref(event);
			return CTL_ERROR;
		}
		print_event(ctl, event);
		json_decref(event);
	} while (ctl->follow);
	return CTL_OK;
}

static enum exit_code run_execute(struct ctl *ctl, char **arguments)
{
	json_t *reply = exchange(ctl, json_incref(ctl->request)), *value;

	(void)arguments;
	value = json_object_get(reply, "return");
	if (value != NULL && ctl->json)
		print_json(value);
	else if (value != NULL)
		print_json_indented(value);
	else if (reply != NULL)
		complain_error(reply);
	json_decref(reply);
	return value != NULL ? CTL_OK : CTL_ERROR;
}

static const struct verb {
	const char *words; /* one or two */
	const char *arguments;
	int min, max;                                     /* how many arguments */
	bool (*check)(struct ctl *ctl, char **arguments); /* false after a complaint; or NULL */
	enum exit_code (*run)(struct ctl *ctl, char **arguments); /* NULL-terminated; or NULL: */
	const char *request; /* the command of the protocol that is all there is to it */
	const char *doc;
} verbs[] = {
    /* clang-format off */
    {"status", "", 0, 0, NULL, run_status, NULL, "whether the guest runs, and what is pending"},
    {"cpu list", "[--registers]", 0, 0, NULL, run_cpu_list, NULL, "the cores, and the places for more"},
    {"cpu add", "CORE-ID [--id NAME] [--wait] [--timeout S]", 1, 1, check_core_id, run_cpu_add, NULL,
	"add a core"},
    {"cpu remove", "DEVICE [--wait] [--timeout S]", 1, 1, NULL, run_cpu_remove, NULL,
	"ask the guest for a core back"},
    {"connectors", "", 0, 0, NULL, run_connectors, NULL, "what the guest has done with each core"},
    {"operations", "[ID]", 0, 1, check_operation_id, run_operations, NULL,
	"what was asked, and how it ended"},
    {"cancel", "ID", 1, 1, check_operation_id, run_cancel, NULL, "give a pending operation up"},
    {"events", "[--follow]", 0, 0, NULL, run_events, NULL, "the next event, or all to come"},
    {"stop", "", 0, 0, NULL, NULL, "stop", "keep all vCPUs out of the guest"},
    {"cont", "", 0, 0, NULL, NULL, "cont", "let them in again"},
    {"reset", "", 0, 0, NULL, NULL, "system_reset", "start the guest from the beginning"},
    {"powerdown", "", 0, 0, NULL, NULL, "system_powerdown", "ask the guest to shut down"},
    {"quit", "", 0, 0, NULL, NULL, "quit", "end the guest and its VMM"},
    {"execute", "JSON|NAME", 1, 1, check_request, run_execute, NULL, "any command of the protocol"},
    /* clang-format on */
};

#define VERBS (sizeof verbs / sizeof verbs[0])

static void help(void)
{
	printf("Usage: paprikactl [--socket PATH] [--json] COMMAND\n\n"
	       "Handle a guest that paprika runs, through its control socket.\n\nCommands:\n");
	for (size_t i = 0; i < VERBS; i++) {
		char usage[80];

		snprintf(usage, sizeof usage, "%s %s", verbs[i].words, verbs[i].arguments);
		printf("  %-54s%s\n", usage, verbs[i].doc);
	}
	printf(
	    "\nOptions:\n"
	    "  -s, --socket PATH   control socket; else $PAPRIKA_SOCKET, else " SOCKET_DEFAULT "\n"
	    "  -j, --json          print replies, events and outcomes as JSON, one per line\n"
	    "  -i, --id NAME       name of the device to add; core<CORE-ID> if not given\n"
	    "  -w, --wait          wait until the operation has ended, and say how\n"
	    "  -t, --timeout S     take at most so many seconds for all of it (implies --wait);\n"
	    "                      what is pending then stays pending\n"
	    "  -f, --follow        go on printing events\n"
	    "  -r, --registers     where each vCPU of a stopped guest is, instead\n"
	    "  -V, --version       the version of this program\n"
	    "  -h, --help, help    this text\n"
	    "\nExit codes:\n"
	    "  0  done\n"
	    "  1  the VMM answered with an error, or cannot be reached\n"
	    "  2  usage\n"
	    "  3  rejected by the guest\n"
	    "  4  still pending, or no event, when --timeout had passed\n"
	    "  5  superseded by a reset\n"
	    "  6  cancelled\n");
}

/* The command that words begin with; *ret_used is how many of them name it. */
static const struct verb *find_verb(char **words, int count, int *ret_used)
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

/* Say what could have been meant: commands with the same first word, else first letter. */
static void complain_no_verb(char **words, int count)
{
	char typed[64], near[256] = "";
	size_t used = 0, same = 1;

	if (count == 0) {
		complain("no command (see paprikactl help)");
		return;
	}
	snprintf(typed, sizeof typed, "%s%s%s", words[0], count > 1 ? " " : "",
	    count > 1 ? words[1] : "");
	if (strcmp(words[0], "cpu") == 0)
		same = strlen("cpu ");
	for (size_t i = 0; i < VERBS && used < sizeof near; i++) {
		if (strncmp(verbs[i].words, same > 1 ? "cpu " : typed, same) == 0)
			used += (size_t)snprintf(near + used, sizeof near - used, "%s%s",
			    used > 0 ? ", " : "", verbs[i].words);
	}
	complain("no such command: %s (%s%s)", typed, used > 0 ? "did you mean one of these: " : "",
	    used > 0 ? near : "see paprikactl help");
}

static bool parse_timeout(struct ctl *ctl, const char *text)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end != '\0' || !(seconds >= 0.001 && seconds <= 1e9)) {
		complain("--timeout must be a number of seconds above 0, not \"%s\"", text);
		return false;
	}
	ctl->timeout_ms = (int64_t)(seconds * 1000);
	ctl->deadline = now_ms() + ctl->timeout_ms;
	ctl->wait = true;
	return true;
}

static const struct option long_options[] = {{"socket", required_argument, NULL, 's'},
    {"json", no_argument, NULL, 'j'}, {"id", required_argument, NULL, 'i'},
    {"wait", no_argument, NULL, 'w'}, {"timeout", required_argument, NULL, 't'},
    {"follow", no_argument, NULL, 'f'}, {"registers", no_argument, NULL, 'r'},
    {"version", no_argument, NULL, 'V'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};

static const char *long_name(int letter)
{
	const struct option *option = long_options;

	while (option->name != NULL && option->val != letter)
		option++;
	return option->name != NULL ? option->name : "?";
}

/* word is what getopt_long() has looked at last; it has set optopt. */
static void complain_option(const char *word, bool lacks_value)
{
	const struct option *near = long_options;

	if (lacks_value) {
		complain("--%s needs a value (see paprikactl help)", long_name(optopt));
	} else if (word[0] == '-' && word[1] >= '0' && word[1] <= '9') {
		complain("a number of 0 or more is wanted, not \"%s\"", word);
	} else if (strncmp(word, "--", 2) != 0) {
		complain("no such option: -%c (see paprikactl help)", optopt);
	} else if (optopt != 0) {
		complain("--%s takes no value (leave it out)", long_name(optopt));
	} else {
		while (near->name != NULL && near->name[0] != word[2])
			near++;
		if (near->name != NULL)
			complain("no such option: %s (did you mean --%s?)", word, near->name);
		else
			complain("no such option: %s (see paprikactl help)", word);
	}
}

/* Returns a negative number to go on, or the exit code. */
static int parse_options(struct ctl *ctl, int argc, char **argv)
{
	int option;

	opterr = 0;
	for (;;) {
		/* In a word of several letters optind stays at that word. */
		int before = optind;

		option = getopt_long(argc, argv, ":s:ji:wt:frVh", long_options, NULL);
		switch (option) {
		case -1: return -1;
		case 's': ctl->socket_path = optarg; break;
		case 'j': ctl->json = true; break;
		case 'i': ctl->device_id = optarg; break;
		case 'w': ctl->wait = true; break;
		case 'f': ctl->follow = true; break;
		case 'r': ctl->registers = true; break;
		case 't':
			if (!parse_timeout(ctl, optarg))
				return CTL_USAGE;
			break;
		case 'V': printf("paprikactl %s\n", PAPRIKA_VERSION); return CTL_OK;
		case 'h': help(); return CTL_OK;
		default:
			complain_option(argv[optind > before ? optind - 1 : optind], option == ':');
			return CTL_USAGE;
		}
		if (ctl->socket_path[0] == '\0') {
			complain("the value of --socket is empty (write --socket PATH, or leave it "
			         "out)");
			return CTL_USAGE;
		}
	}
}

/* Standard input, output and error exist, so that the socket does not take their place. */
static void fill_standard_files(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_NOCTTY | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static int run_verb(struct ctl *ctl, int count, char **words)
{
	int used = 0, code = CTL_ERROR;
	const struct verb *verb = find_verb(words, count, &used);

	if (verb == NULL && count > 0 && strcmp(words[0], "help") == 0) {
		help();
		return CTL_OK;
	}
	if (verb == NULL) {
		complain_no_verb(words, count);
		return CTL_USAGE;
	}
	if (count - used < verb->min || count - used > verb->max) {
		complain("usage: paprikactl %s %s", verb->words, verb->arguments);
		return CTL_USAGE;
	}
	if (verb->check != NULL && !verb->check(ctl, words + used))
		return CTL_USAGE;
	ctl->events = json_array();
	if (open_connection(ctl))
		code = verb->run != NULL ? (int)verb->run(ctl, words + used)
		                         : (int)just_ask(ctl, verb->request, NULL);
	json_decref(ctl->request);
	close_connection(ctl);
	return code;
}

int main(int argc, char **argv)
{
	struct ctl ctl = {.timeout_ms = -1, .deadline = -1, .fd = -1};
	int code;

	fill_standard_files();
	ctl.socket_path = getenv("PAPRIKA_SOCKET");
	if (ctl.socket_path == NULL || ctl.socket_path[0] == '\0')
		ctl.socket_path = SOCKET_DEFAULT;
	code = parse_options(&ctl, argc, argv);
	if (code < 0)
		code = run_verb(&ctl, argc - optind, argv + optind);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		complain(
		    "cannot write the output: %s (choose another place for it)", strerror(errno));
		return CTL_ERROR;
	}
	return code;
}
