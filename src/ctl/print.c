/* SPDX-License-Identifier: Apache-2.0 */
/*
 * print.c - what paprikactl prints: JSON on a line for programs; tables, and a sentence for
 * how an operation stands or ended, for people.
 */
#include "ctl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "";
}

int64_t number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

bool is_true(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

void print_json(const json_t *value)
{
	json_dumpf(value, stdout, JSON_ENCODE_ANY);
	putchar('\n');
	fflush(stdout);
}

void print_json_indented(const json_t *value)
{
	json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	putchar('\n');
}

bool table_init(struct table *table, const char *head)
{
	table->to = open_memstream(&table->text, &table->size);
	if (table->to == NULL) {
		complain("out of memory");
		return false;
	}
	fputs(head, table->to);
	return true;
}

#define COLUMNS_MAX 8

void table_print(struct table *table)
{
	size_t widths[COLUMNS_MAX] = {0}, column = 0;

	fclose(table->to);
	for (const char *cell = table->text; *cell != '\0';) {
		size_t width = strcspn(cell, "\t\n");

		if (column < COLUMNS_MAX && width > widths[column])
			widths[column] = width;
		column = cell[width] == '\n' ? 0 : column + 1;
		cell += width + 1;
	}
	for (const char *cell = table->text; *cell != '\0';) {
		size_t width = strcspn(cell, "\t\n");
		bool last = cell[width] == '\n';

		printf("%.*s%*s", (int)width, cell,
		    last || column >= COLUMNS_MAX ? 0 : (int)(widths[column] - width + 2), "");
		if (last)
			putchar('\n');
		column = last ? 0 : column + 1;
		cell += width + 1;
	}
	free(table->text);
}

/* What a DR indicator was set to, in PAPR's words. */
static const char *indicator_value(const char *indicator, int64_t value)
{
	if (strcmp(indicator, "isolation-state") == 0)
		return value == 0 ? " (isolate)" : value == 1 ? " (unisolate)" : "";
	if (strcmp(indicator, "allocation-state") == 0)
		return value == 0 ? " (unusable)" : value == 1 ? " (usable)" : "";
	return "";
}

/* ": RTAS set-indicator isolation-state=1 (unisolate) from vCPU 0 while "fetched"; ..." */
static void print_evidence(const json_t *evidence)
{
	const char *call = text_of(evidence, "call"), *inferred = text_of(evidence, "inferred");
	const char *indicator = text_of(evidence, "indicator-name");
	const char *source = text_of(evidence, "source");

	if (strcmp(source, "operator") == 0)
		printf(": the operator's request was enough");
	else if (strcmp(source, "reset") == 0)
		printf(": the machine was reset or ended");
	if (call[0] != '\0') {
		printf(": RTAS %s", call);
		if (indicator[0] != '\0')
			printf(" %s=%" PRId64 "%s", indicator, number_of(evidence, "value"),
			    indicator_value(indicator, number_of(evidence, "value")));
		printf(" from vCPU %" PRId64 " while \"%s\"; %" PRId64 " of %" PRId64
		       " threads running",
		    number_of(evidence, "vcpu"), text_of(evidence, "phase"),
		    number_of(evidence, "threads-running"), number_of(evidence, "threads"));
	}
	if (inferred[0] != '\0')
		printf(" (inferred: %s)", inferred);
}

/* "core1: removal rejected by the guest after 12 ms: ..." */
static void print_ended(const json_t *operation)
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
	const char *kind = text_of(operation, "kind"), *outcome = text_of(operation, "outcome");
	const char *text = outcome;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (strcmp(rows[i].kind, kind) == 0 && strcmp(rows[i].outcome, outcome) == 0)
			text = rows[i].text;
	printf("%s: %s after %" PRId64 " ms", text_of(operation, "device"), text,
	    number_of(operation, "elapsed-ms"));
	print_evidence(json_object_get(operation, "evidence"));
	putchar('\n');
}

static void print_pending(const json_t *operation)
{
	bool add = strcmp(text_of(operation, "kind"), "add") == 0;

	printf("%s: %s pending as operation %" PRId64 " for %" PRId64 " ms: %s\n",
	    text_of(operation, "device"), add ? "add" : "removal", number_of(operation, "id"),
	    number_of(operation, "elapsed-ms"), text_of(operation, "stuck"));
}

void print_operation(const struct ctl *ctl, const json_t *operation)
{
	if (ctl->json)
		print_json(operation);
	else if (strcmp(text_of(operation, "outcome"), "pending") == 0)
		print_pending(operation);
	else
		print_ended(operation);
	fflush(stdout);
}

void print_event(const struct ctl *ctl, const json_t *event)
{
	const json_t *timestamp = json_object_get(event, "timestamp");
	const json_t *data = json_object_get(event, "data");
	const json_t *operation = json_object_get(data, "operation");
	const char *name = text_of(event, "event");
	time_t seconds = (time_t)number_of(timestamp, "seconds");
	struct tm local;
	char clock[16];

	if (ctl->json) {
		print_json(event);
		return;
	}
	if (localtime_r(&seconds, &local) == NULL ||
	    strftime(clock, sizeof clock, "%H:%M:%S", &local) == 0)
		clock[0] = '\0';
	printf("%s.%03" PRId64 "  %s", clock, number_of(timestamp, "microseconds") / 1000, name);
	if (json_is_object(operation)) {
		printf("  %" PRId64 " %s %s: %s", number_of(operation, "id"),
		    text_of(operation, "kind"), text_of(operation, "device"),
		    text_of(data, "step"));
		if (strcmp(text_of(data, "step"), "ended") == 0) {
			printf(", %s", text_of(operation, "outcome"));
			print_evidence(json_object_get(operation, "evidence"));
		}
		putchar('\n');
	} else if (data != NULL) {
		printf("  ");
		print_json(data);
	} else {
		putchar('\n');
	}
	fflush(stdout);
}
