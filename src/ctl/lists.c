/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lists.c - replies of the VMM laid out for people: the status of a guest, and tables of cores,
 * memory, registers, connectors and operations.
 */
#include "ctl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Rows with aligned columns: in `to`, a cell ends with a tab and a row with a newline. */
struct table {
	char *text;
	size_t size;
	FILE *to;
};

#define COLUMNS_MAX 8

/* False after a complaint. */
static bool table_init(struct table *table, const char *head)
{
	table->to = open_memstream(&table->text, &table->size);
	if (table->to == NULL) {
		complain("out of memory");
		return false;
	}
	fputs(head, table->to);
	return true;
}

/* Print the table and free it. */
static void table_print(struct table *table)
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

static const char *text_or_dash(const char *text)
{
	return text[0] != '\0' ? text : "-";
}

void status_print(const struct ctl *ctl, const json_t *all)
{
	const json_t *cpus = json_object_get(all, "cpus"), *operation, *cpu, *device;
	size_t i, running = 0;

	json_array_foreach (cpus, i, cpu) {
		running += strcmp(member_text(cpu, "state"), "running") == 0;
	}
	printf("guest    %s\n", text_or_dash(member_text(json_object_get(all, "name"), "name")));
	printf("status   %s\n", member_text(json_object_get(all, "status"), "status"));
	json_array_foreach (
	    json_object_get(json_object_get(all, "status"), "reset-waits"), i, device) {
		printf("reset    waits for requests of %s that the host has begun\n",
		    json_string_value(device));
	}
	printf("vcpus    %zu, %zu of them running\n", json_array_size(cpus), running);
	printf("version  %s\n", member_text(json_object_get(all, "version"), "package"));
	json_array_foreach (json_object_get(all, "operations"), i, operation) {
		if (strcmp(member_text(operation, "outcome"), "pending") == 0)
			operation_print(ctl, operation);
	}
}

/* The states of a core's threads: "running" if all agree, else each. */
static void core_put_states(FILE *to, const json_t *vcpus)
{
	const char *first = member_text(json_array_get(vcpus, 0), "state");
	json_t *vcpu;
	size_t i;
	bool same = true;

	json_array_foreach (vcpus, i, vcpu) {
		same = same && strcmp(member_text(vcpu, "state"), first) == 0;
	}
	json_array_foreach (vcpus, i, vcpu) {
		if (i == 0 || !same)
			fprintf(to, "%s%s", i > 0 ? "," : "", member_text(vcpu, "state"));
	}
}

/* "remove (operation 7)" */
static void connector_put_pending(FILE *to, const json_t *connector)
{
	bool adding = member_true(connector, "adding");
	bool removing = member_true(connector, "removing");

	if (adding)
		fprintf(
		    to, "add (operation %" PRId64 ")", member_number(connector, "add-operation"));
	if (removing)
		fprintf(to, "%sremove (operation %" PRId64 ")", adding ? ", " : "",
		    member_number(connector, "remove-operation"));
	if (!adding && !removing)
		fputc('-', to);
}

/* "unisolate=0, set-usable=0": the newest first, three at most. */
static void connector_put_calls(FILE *to, const json_t *history)
{
	json_t *call;
	size_t i;

	json_array_foreach (history, i, call) {
		if (i < 3)
			fprintf(to, "%s%s=%" PRId64, i > 0 ? ", " : "", member_text(call, "call"),
			    member_number(call, "status"));
	}
	if (json_array_size(history) == 0)
		fputc('-', to);
}

bool cores_print(const json_t *connectors)
{
	struct table table;
	json_t *core;
	size_t i;

	if (!table_init(&table, "CORE\tDEVICE\tVCPUS\tSTATE\tPENDING\n"))
		return false;
	json_array_foreach (connectors, i, core) {
		const json_t *vcpus = json_object_get(core, "vcpus");
		size_t threads = json_array_size(vcpus);

		fprintf(table.to, "%" PRId64 "\t%s\t%" PRId64, member_number(core, "core-id"),
		    text_or_dash(member_text(core, "device")),
		    member_number(json_array_get(vcpus, 0), "id"));
		if (threads > 1)
			fprintf(table.to, "-%" PRId64,
			    member_number(json_array_get(vcpus, threads - 1), "id"));
		fputc('\t', table.to);
		core_put_states(table.to, vcpus);
		fputc('\t', table.to);
		connector_put_pending(table.to, core);
		fputc('\n', table.to);
	}
	table_print(&table);
	return true;
}

bool registers_print(const json_t *vcpus)
{
	static const char *const names[] = {"pc", "msr", "lr", "ctr", "srr0", "srr1"};
	struct table table;
	json_t *vcpu;
	size_t i;

	if (!table_init(&table, "VCPU\tSTATE\tPC\tMSR\tLR\tCTR\tSRR0\tSRR1\n"))
		return false;
	json_array_foreach (vcpus, i, vcpu) {
		fprintf(table.to, "%" PRId64 "\t%s", member_number(vcpu, "cpu-index"),
		    member_text(vcpu, "state"));
		for (size_t r = 0; r < sizeof names / sizeof names[0]; r++)
			fprintf(table.to, "\t%s", text_or_dash(member_text(vcpu, names[r])));
		fputc('\n', table.to);
	}
	table_print(&table);
	return true;
}

bool connectors_print(const json_t *connectors)
{
	struct table table;
	json_t *connector;
	size_t i;

	if (!table_init(&table, "CONNECTOR\tINDEX\tSTATE\tDEVICE\tPENDING\tLAST CALLS\n"))
		return false;
	json_array_foreach (connectors, i, connector) {
		fprintf(table.to, "%s\t0x%08" PRIx64 "\t%s\t%s\t", member_text(connector, "name"),
		    (uint64_t)member_number(connector, "drc-index"),
		    member_text(connector, "state"),
		    text_or_dash(member_text(connector, "device")));
		connector_put_pending(table.to, connector);
		fputc('\t', table.to);
		connector_put_calls(table.to, json_object_get(connector, "history"));
		fputc('\n', table.to);
	}
	table_print(&table);
	return true;
}

bool disks_print(const json_t *connectors)
{
	struct table table;
	json_t *slot;
	size_t i;

	if (!table_init(&table, "DEVICE\tSLOT\tDRIVER\tIN USE\tREQUESTS\tIN FLIGHT\tPENDING\n"))
		return false;
	json_array_foreach (connectors, i, slot) {
		fprintf(table.to, "%s\t%" PRId64 "\t%s\t%s\t%" PRId64 "\t%" PRId64 "\t",
		    text_or_dash(member_text(slot, "device")), member_number(slot, "unit"),
		    member_text(slot, "driver"),
		    member_number(slot, "device-status") > 1 ? "yes" : "no",
		    member_number(slot, "requests"), member_number(slot, "requests-in-flight"));
		connector_put_pending(table.to, slot);
		fputc('\n', table.to);
	}
	table_print(&table);
	return true;
}

bool operations_print(const json_t *operations)
{
	struct table table;
	json_t *operation;
	size_t i;

	if (!table_init(&table, "ID\tKIND\tDEVICE\tWHAT\tOUTCOME\tPHASE\tELAPSED\n"))
		return false;
	json_array_foreach (operations, i, operation) {
		const char *outcome = member_text(operation, "outcome");
		char what[WHAT_MAX];

		fprintf(table.to, "%" PRId64 "\t%s\t%s\t%s\t%s\t%s\t%" PRId64 " ms\n",
		    member_number(operation, "id"), member_text(operation, "kind"),
		    text_or_dash(member_text(operation, "device")), what_text(operation, what),
		    member_true(operation, "unresolved") ? "unresolved" : outcome,
		    member_text(operation, "phase"), member_number(operation, "elapsed-ms"));
	}
	table_print(&table);
	return true;
}

/* "2 GiB", or in MiB: memory comes in blocks of 256 MiB. */
static void size_put(FILE *to, int64_t bytes)
{
	bool whole = bytes % (INT64_C(1) << 30) == 0;

	fprintf(to, "%" PRId64 " %s", bytes >> (whole ? 30 : 20), whole ? "GiB" : "MiB");
}

static const json_t *connector_of_device(const json_t *connectors, const char *device)
{
	json_t *connector;
	size_t i;

	json_array_foreach (connectors, i, connector) {
		if (strcmp(member_text(connector, "device"), device) == 0)
			return connector;
	}
	return NULL; /* it has left between the two requests */
}

bool memory_print(const json_t *devices, const json_t *connectors, const json_t *summary)
{
	struct table table;
	json_t *device;
	size_t i;

	if (!table_init(&table, "DEVICE\tADDRESS\tSIZE\tBLOCKS IN USE\tPENDING\n"))
		return false;
	json_array_foreach (devices, i, device) {
		const json_t *data = json_object_get(device, "data");
		const json_t *connector = connector_of_device(connectors, member_text(data, "id"));

		fprintf(table.to, "%s\t0x%" PRIx64 "\t", member_text(data, "id"),
		    (uint64_t)member_number(data, "addr"));
		size_put(table.to, member_number(data, "size"));
		fprintf(table.to, "\t%" PRId64 " of %" PRId64 "\t",
		    member_number(connector, "blocks-in-use"), member_number(connector, "blocks"));
		connector_put_pending(table.to, connector);
		fputc('\n', table.to);
	}
	table_print(&table);
	printf("at boot ");
	size_put(stdout, member_number(summary, "base-memory"));
	printf(", added ");
	size_put(stdout, member_number(summary, "plugged-memory"));
	printf(", at most ");
	size_put(stdout, member_number(summary, "max-memory"));
	putchar('\n');
	return true;
}
