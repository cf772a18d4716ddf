/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctl.h - the three parts of paprikactl: the connection to a VMM (connection.c), printing for
 * people and for programs (print.c), and the commands (paprikactl.c).
 */
#ifndef PAPRIKA_CTL_H
#define PAPRIKA_CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct ctl {
	const char *socket_path;
	bool json, wait, follow, registers;
	int64_t timeout_ms; /* of --timeout; negative: none */
	int64_t deadline;   /* when that will have passed; negative: never */
	const char *device_id;
	/* What the command's arguments say, once they have been checked. */
	json_int_t number;
	json_t *request;
	int fd;
	/* What has been received: from start on it is not yet taken. Lines are of any length. */
	char *bytes;
	size_t start, used, size;
	json_t *events; /* that have arrived while something else was waited for */
};

/* A line on standard error, behind what has been printed. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- connection.c ------------------------------------------------------------------------- */

/* Milliseconds of the monotonic clock; what deadlines are given in. */
int64_t now_ms(void);

/* Disconnect, and free what came. */
void close_connection(struct ctl *ctl);

/* Connect, negotiate and subscribe; from then on events come. False after a complaint. */
bool open_connection(struct ctl *ctl);

/*
 * Send a request, stolen, and return the reply: a new reference to the object with "return" or
 * "error". NULL after a complaint. Events that come first are kept.
 */
json_t *exchange(struct ctl *ctl, json_t *request);

/* Complain about the error of a reply, with the remedy if there is one. */
void complain_error(const json_t *reply);

/* Execute a command; arguments (may be NULL) is stolen. The value it returns, or NULL after a
 * complaint. */
json_t *ask(struct ctl *ctl, const char *command, json_t *arguments);

enum received { RECEIVED, TIMED_OUT, HUNG_UP, NONSENSE };

/* The next event, of those kept or from the VMM; deadline is negative if there is none. */
enum received next_event(struct ctl *ctl, int64_t deadline, json_t **ret_event);

/* Complain about what came instead of what was waited for. */
void complain_received(const struct ctl *ctl, enum received received);

/* --- print.c ------------------------------------------------------------------------------ */

/* Members of an object: "", 0 or false if there is none of that type. */
const char *text_of(const json_t *object, const char *key);
int64_t number_of(const json_t *object, const char *key);
bool is_true(const json_t *object, const char *key);

/* Any value, on one line; or on many. */
void print_json(const json_t *value);
void print_json_indented(const json_t *value);

/* An operation, or an event, in the form asked for. */
void print_operation(const struct ctl *ctl, const json_t *operation);
void print_event(const struct ctl *ctl, const json_t *event);

/* Rows with aligned columns. What is written to `to` is a cell up to a tab, and a row up to a
 * newline. */
struct table {
	char *text;
	size_t size;
	FILE *to;
};

/* False after a complaint. */
bool table_init(struct table *table, const char *head);
void table_print(struct table *table);

#endif
