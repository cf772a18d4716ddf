/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resize.c - the commands that set a number of cores or a size of memory as a target, and those
 * that add and remove memory.
 */
#include "ctl.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* "512M", "2G", "1T", "262144K", or bytes. */
bool verb_check_size(struct ctl *ctl, char **arguments)
{
	static const char units[] = "KMGT";
	const char *text = arguments[0], *unit = NULL;
	char *end;
	long long number;
	unsigned shift = 0;

	errno = 0;
	number = strtoll(text, &end, 10);
	if (end != text && *end != '\0')
		unit = strchr(units, toupper((unsigned char)*end));
	if (unit != NULL) {
		shift = 10 * (unsigned)(unit - units + 1);
		end++;
	}
	/* strtoll() takes spaces and signs. */
	if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0 || number <= 0 ||
	    number > INT64_MAX >> shift) {
		complain("SIZE must be a size like 2G or 512M, not \"%s\"", text);
		return false;
	}
	ctl->number = number << shift;
	return true;
}

/* --- Targets ------------------------------------------------------------------------------ */

/* A target that takes several operations to reach. */
struct resize {
	const char *unit; /* what is counted */
	json_t *parts;    /* how many of it a device has that was there before; else it has one */
	json_t *results;  /* by device: its last operation */
};

/* Note the operations of one round; print those that did not succeed (with --json, all). Returns
 * how many are done. */
static size_t resize_note(const struct ctl *ctl, struct resize *resize, const json_t *operations)
{
	json_t *operation;
	size_t i, done = 0;

	json_array_foreach (operations, i, operation) {
		bool good = outcome_exit_code(operation) == CTL_OK;

		done += good;
		if (ctl->json || !good)
			operation_print(ctl, operation);
		json_object_set(resize->results, member_text(operation, "device"), operation);
	}
	return done;
}

static void resize_put_devices(const struct resize *resize, const char *outcome, const char *word)
{
	const char *device, *before = "; ", *after = ": ";
	json_t *operation;

	json_object_foreach (resize->results, device, operation) {
		if (strcmp(member_text(operation, "outcome"), outcome) != 0)
			continue;
		printf("%s%s%s%s", before, word, after, device);
		before = ", ";
		after = word = "";
	}
}

/* "asked for 8 blocks fewer, got 5; refused: memory12, memory11, memory9" */
static void resize_put_summary(const struct resize *resize)
{
	const char *device, *direction = "fewer";
	json_t *operation;
	int64_t asked = 0, got = 0;

	json_object_foreach (resize->results, device, operation) {
		const json_t *parts = json_object_get(resize->parts, device);
		int64_t count = parts != NULL ? json_integer_value(parts) : 1;

		asked += count;
		got += outcome_exit_code(operation) == CTL_OK ? count : 0;
		if (strcmp(member_text(operation, "kind"), "add") == 0)
			direction = "more";
	}
	printf("asked for %" PRId64 " %s%s %s, got %" PRId64, asked, resize->unit,
	    asked == 1 ? "" : "s", direction, got);
	resize_put_devices(resize, "rejected", "refused");
	resize_put_devices(resize, "pending", "pending");
	resize_put_devices(resize, "superseded", "superseded by a reset");
	resize_put_devices(resize, "cancelled", "cancelled");
	putchar('\n');
}

/* Of several outcomes the first in this list counts. */
static enum exit_code resize_exit_code(const struct resize *resize, enum exit_code otherwise)
{
	static const enum exit_code order[] = {
	    CTL_REJECTED, CTL_UNRESOLVED, CTL_SUPERSEDED, CTL_CANCELLED, CTL_ERROR};
	const char *device;
	json_t *operation;

	for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
		json_object_foreach (resize->results, device, operation) {
			if (outcome_exit_code(operation) == order[i])
				return order[i];
		}
	return otherwise;
}

/*
 * Ask, and wait for what that has begun; again as long as the VMM could not begin all of it at once
 * and some of it succeeds. What was refused is then asked again, too: the target wants it.
 */
static enum exit_code resize_rounds(
    struct ctl *ctl, struct resize *resize, const char *command, json_t *arguments)
{
	enum exit_code code = CTL_OK;
	bool again = true;

	while (again && code == CTL_OK) {
		json_t *reply = connection_ask(ctl, command, json_incref(arguments));
		json_t *ids = json_object_get(reply, "operations"), *results = json_array();
		const char *incomplete = member_text(reply, "incomplete");
		size_t done;

		if (reply == NULL || !operations_wait(ctl, ids, results))
			code = CTL_ERROR;
		else if (json_array_size(ids) > 0)
			code = CTL_UNRESOLVED; /* the VMM does not answer */
		done = resize_note(ctl, resize, results);
		again = incomplete[0] != '\0' && done > 0 &&
		        (ctl->deadline < 0 || clock_now_ms() < ctl->deadline);
		if (incomplete[0] != '\0' && !again) {
			complain("incomplete: %s", incomplete);
			code = code == CTL_OK ? CTL_ERROR : code;
		}
		json_decref(results);
		json_decref(reply);
	}
	return code;
}

/* How many blocks each device has; none after a complaint. */
static json_t *resize_blocks(struct ctl *ctl)
{
	json_t *blocks = json_object(), *connector;
	json_t *list =
	    connection_ask(ctl, "query-connectors", json_pack("{s:s}", "resource", "memory"));
	size_t i;

	json_array_foreach (list, i, connector) {
		json_object_set(
		    blocks, member_text(connector, "device"), json_object_get(connector, "blocks"));
	}
	json_decref(list);
	return blocks;
}

/* Without --wait: say what has begun. */
static enum exit_code resize_begin(struct ctl *ctl, const char *command, json_t *arguments)
{
	json_t *reply = connection_ask(ctl, command, json_incref(arguments)), *id;
	const char *incomplete = member_text(reply, "incomplete"), *before = "operations ";
	size_t i;

	if (reply == NULL)
		return CTL_ERROR;
	if (ctl->json) {
		value_print(reply);
	} else {
		json_array_foreach (json_object_get(reply, "operations"), i, id) {
			printf("%s%" PRId64, before, (int64_t)json_integer_value(id));
			before = ", ";
		}
		printf("%s\n", i == 0 ? "nothing to do" : "");
	}
	if (incomplete[0] != '\0')
		complain("incomplete: %s", incomplete);
	json_decref(reply);
	return CTL_OK;
}

static enum exit_code resize_run(
    struct ctl *ctl, const char *command, const char *argument, const char *unit)
{
	json_t *arguments = json_pack("{s:I}", argument, ctl->number);
	struct resize resize = {.unit = unit};
	enum exit_code code;

	if (!ctl->wait) {
		code = resize_begin(ctl, command, arguments);
		json_decref(arguments);
		return code;
	}
	resize.parts = strcmp(command, "set-memory") == 0 ? resize_blocks(ctl) : NULL;
	resize.results = json_object();
	code = ctl->lost ? CTL_ERROR : resize_rounds(ctl, &resize, command, arguments);
	if (!ctl->json && json_object_size(resize.results) > 0)
		resize_put_summary(&resize);
	else if (!ctl->json && code == CTL_OK)
		printf("nothing to do\n");
	code = resize_exit_code(&resize, code);
	json_decref(resize.results);
	json_decref(resize.parts);
	json_decref(arguments);
	return code;
}

enum exit_code verb_cpu_set(struct ctl *ctl, char **arguments)
{
	return resize_run(ctl, "set-cores", "count", "core");
}

enum exit_code verb_memory_set(struct ctl *ctl, char **arguments)
{
	return resize_run(ctl, "set-memory", "size", "block");
}

/* --- Memory as devices -------------------------------------------------------------------- */

enum exit_code verb_memory_list(struct ctl *ctl, char **arguments)
{
	json_t *devices = connection_ask(ctl, "query-memory-devices", NULL);
	json_t *connectors = NULL, *summary = NULL, *all;

	if (devices != NULL)
		connectors = connection_ask(
		    ctl, "query-connectors", json_pack("{s:s}", "resource", "memory"));
	if (connectors != NULL)
		summary = connection_ask(ctl, "query-memory-size-summary", NULL);
	all = json_pack(
	    "{s:o*, s:o*, s:o*}", "devices", devices, "connectors", connectors, "summary", summary);
	if (summary != NULL && ctl->json)
		value_print(all);
	else if (summary != NULL && !memory_print(devices, connectors, summary))
		summary = NULL;
	json_decref(all);
	return summary != NULL ? CTL_OK : CTL_ERROR;
}

/* Names that paprikactl gives: dimm1, dimm2, ... */
#define DIMMS_MAX 1000

/* Make a backend of ctl->number bytes: with the name of --id, or with the first that is free. False
 * after a complaint. */
static bool dimm_make_backend(struct ctl *ctl, char *ret_name, size_t size)
{
	for (unsigned n = 1; n <= DIMMS_MAX; n++) {
		const char *desc;
		json_t *reply;
		bool good, taken;

		if (ctl->device_id != NULL)
			snprintf(ret_name, size, "%s", ctl->device_id);
		else
			snprintf(ret_name, size, "dimm%u", n);
		reply = connection_exchange(ctl,
		    json_pack("{s:s, s:{s:s, s:s, s:I}}", "execute", "object-add", "arguments",
		        "qom-type", "memory-backend-ram", "id", ret_name, "size", ctl->number));
		good = json_object_get(reply, "return") != NULL;
		desc = member_text(json_object_get(reply, "error"), "desc");
		taken = ctl->device_id == NULL && n < DIMMS_MAX &&
		        strstr(desc, "duplicate property") != NULL;
		if (reply != NULL && !good && !taken)
			reply_complain(ctl, reply);
		json_decref(reply);
		if (!taken)
			return good;
	}
	return false;
}

/* Its device has left. There may be none of this name: set-memory makes devices without. */
static void dimm_forget_backend(struct ctl *ctl, const char *name)
{
	if (!ctl->lost)
		json_decref(connection_exchange(ctl,
		    json_pack("{s:s, s:{s:s}}", "execute", "object-del", "arguments", "id", name)));
}

enum exit_code verb_memory_add(struct ctl *ctl, char **arguments)
{
	char name[256];
	enum exit_code code;

	if (!dimm_make_backend(ctl, name, sizeof name))
		return CTL_ERROR;
	code = operation_begin(ctl, "device_add",
	    json_pack("{s:s, s:s, s:s}", "driver", "pc-dimm", "id", name, "memdev", name));
	if (code != CTL_OK && code != CTL_UNRESOLVED)
		dimm_forget_backend(ctl, name);
	return code;
}

enum exit_code verb_memory_remove(struct ctl *ctl, char **arguments)
{
	static const char path[] = "/objects/";
	json_t *devices = connection_ask(ctl, "query-memory-devices", NULL), *device;
	const char *name = NULL;
	enum exit_code code = CTL_ERROR;
	size_t i;

	json_array_foreach (devices, i, device) {
		const json_t *data = json_object_get(device, "data");

		if (strcmp(member_text(data, "id"), arguments[0]) == 0)
			name = member_text(data, "memdev");
	}
	if (name != NULL) {
		code = operation_begin(ctl, "device_del", json_pack("{s:s}", "id", arguments[0]));
		if (ctl->wait && code == CTL_OK && strncmp(name, path, sizeof path - 1) == 0)
			dimm_forget_backend(ctl, name + sizeof path - 1);
	} else if (devices != NULL) {
		complain("no memory has the name %s (paprikactl memory list shows the names)",
		    arguments[0]);
	}
	json_decref(devices);
	return code;
}
