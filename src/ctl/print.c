/* SPDX-License-Identifier: Apache-2.0 */
/*
 * print.c - single values, operations and events: one line of JSON for programs, or a sentence for
 * people.
 */
#include "ctl.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

const char *member_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "";
}

int64_t member_number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

bool member_true(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

const char *what_text(const json_t *object, char ret_text[WHAT_MAX])
{
	const char *resource = member_text(object, "resource");

	if (resource[0] != '\0')
		snprintf(
		    ret_text, WHAT_MAX, "%s %" PRId64, resource, member_number(object, "unit"));
	else
		snprintf(ret_text, WHAT_MAX, "core %" PRId64, member_number(object, "core-id"));
	return ret_text;
}

/* The subject of a sentence about an operation: its device, or what it is of if that has no name.
 */
static void operation_put_subject(const json_t *operation)
{
	bool memory = strcmp(member_text(operation, "resource"), "memory") == 0;
	const char *device = member_text(operation, "device");
	char what[WHAT_MAX];

	if (device[0] != '\0')
		printf("%s", device);
	else if (memory)
		printf("memory block %" PRId64, member_number(operation, "unit"));
	else
		printf("%s", what_text(operation, what));
}

void value_print(const json_t *value)
{
	json_dumpf(value, stdout, JSON_ENCODE_ANY);
	putchar('\n');
	fflush(stdout);
}

void value_print_indented(const json_t *value)
{
	json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	putchar('\n');
}

/* PAPR's word for the value of a DR indicator. */
static const char *evidence_value_word(const char *indicator, int64_t value)
{
	if (strcmp(indicator, "isolation-state") == 0)
		return value == 0 ? " (isolate)" : value == 1 ? " (unisolate)" : "";
	if (strcmp(indicator, "allocation-state") == 0)
		return value == 0 ? " (unusable)" : value == 1 ? " (usable)" : "";
	return "";
}

static void evidence_print_parts(const json_t *evidence)
{
	if (json_object_get(evidence, "drivers") != NULL)
		printf("; %s driver of the guest's uses it",
		    member_number(evidence, "drivers-active") > 0 ? "a" : "no");
	else if (json_object_get(evidence, "blocks") != NULL)
		printf("; %" PRId64 " of %" PRId64 " blocks in use",
		    member_number(evidence, "blocks-in-use"), member_number(evidence, "blocks"));
	else
		printf("; %" PRId64 " of %" PRId64 " threads running",
		    member_number(evidence, "threads-running"), member_number(evidence, "threads"));
}

/* ": RTAS set-indicator isolation-state=1 (unisolate) from vCPU 0 while "fetched"; ..." */
static void evidence_print(const json_t *evidence)
{
	const char *call = member_text(evidence, "call"),
	           *inferred = member_text(evidence, "inferred");
	const char *indicator = member_text(evidence, "indicator-name");
	const char *source = member_text(evidence, "source");

	if (strcmp(source, "operator") == 0)
		printf(": the operator's request was enough");
	else if (strcmp(source, "reset") == 0)
		printf(": the machine was reset or ended");
	else if (strcmp(source, "driver") == 0)
		printf(": the guest's driver has %s the device",
		    member_number(evidence, "drivers-active") > 0 ? "started" : "let go of");
	else if (strcmp(source, "fence") == 0)
		printf(": the guest has finished handling the request, as a fence proves");
	if (call[0] != '\0') {
		printf("%s RTAS %s", strcmp(source, "fence") == 0 ? ";" : ":", call);
		if (indicator[0] != '\0')
			printf(" %s=%" PRId64 "%s", indicator, member_number(evidence, "value"),
			    evidence_value_word(indicator, member_number(evidence, "value")));
		printf(" from vCPU %" PRId64 " while \"%s\"", member_number(evidence, "vcpu"),
		    member_text(evidence, "phase"));
		evidence_print_parts(evidence);
	}
	if (inferred[0] != '\0')
		printf(" (inferred: %s)", inferred);
}

/* "core1: removal rejected by the guest after 12 ms: ..." */
static void operation_print_ended(const json_t *operation)
{
	static const struct {
		const char *kind, *outcome, *text;
	} rows[] = {
	    {"add", "done", "added"},
	    {"add", "rejected", "not added, rejected by the guest"},
	    {"add", "superseded", "add settled by a reset"},
	    {"add", "cancelled", "add cancelled"},
	    {"remove", "done", "removed"},
	    {"remove", "rejected", "removal rejected by the guest"},
	    {"remove", "superseded", "removal settled by a reset"},
	    {"remove", "cancelled", "removal cancelled"},
	    {"guest-release", "done", "given back by the guest unasked"},
	    {"guest-take", "done", "taken by the guest unasked"},
	};
	const char *kind = member_text(operation, "kind"),
	           *outcome = member_text(operation, "outcome");
	const char *text = outcome;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (strcmp(rows[i].kind, kind) == 0 && strcmp(rows[i].outcome, outcome) == 0)
			text = rows[i].text;
	operation_put_subject(operation);
	printf(": %s%s after %" PRId64 " ms", text,
	    member_true(operation, "forced") ? " by force" : "",
	    member_number(operation, "elapsed-ms"));
	evidence_print(json_object_get(operation, "evidence"));
	if (member_true(operation, "forced"))
		printf("; requests answered with an I/O error: %" PRId64,
		    member_number(operation, "requests-refused"));
	putchar('\n');
}

static void operation_print_pending(const json_t *operation)
{
	bool add = strcmp(member_text(operation, "kind"), "add") == 0;

	operation_put_subject(operation);
	printf(": %s pending as operation %" PRId64 " for %" PRId64 " ms: %s\n",
	    add ? "add" : "removal", member_number(operation, "id"),
	    member_number(operation, "elapsed-ms"), member_text(operation, "stuck"));
}

void operation_print(const struct ctl *ctl, const json_t *operation)
{
	if (ctl->json)
		value_print(operation);
	else if (strcmp(member_text(operation, "outcome"), "pending") == 0)
		operation_print_pending(operation);
	else
		operation_print_ended(operation);
	fflush(stdout);
}

void event_print(const struct ctl *ctl, const json_t *event)
{
	const json_t *timestamp = json_object_get(event, "timestamp");
	const json_t *data = json_object_get(event, "data");
	const json_t *operation = json_object_get(data, "operation");
	const char *name = member_text(event, "event");
	time_t seconds = (time_t)member_number(timestamp, "seconds");
	struct tm local;
	char clock[16];

	if (ctl->json) {
		value_print(event);
		return;
	}
	if (localtime_r(&seconds, &local) == NULL ||
	    strftime(clock, sizeof clock, "%H:%M:%S", &local) == 0)
		clock[0] = '\0';
	printf(
	    "%s.%03" PRId64 "  %s", clock, member_number(timestamp, "microseconds") / 1000, name);
	if (json_is_object(operation)) {
		printf("  %" PRId64 " %s %s: %s", member_number(operation, "id"),
		    member_text(operation, "kind"), member_text(operation, "device"),
		    member_text(data, "step"));
		if (strcmp(member_text(data, "step"), "ended") == 0) {
			printf(", %s", member_text(operation, "outcome"));
			evidence_print(json_object_get(operation, "evidence"));
		}
		putchar('\n');
	} else if (data != NULL) {
		printf("  ");
		value_print(data);
	} else {
		putchar('\n');
	}
	fflush(stdout);
}
