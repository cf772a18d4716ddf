/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command.h - one request of the control socket: checked against the row of its command, carried
 * out, answered.
 *
 * A row (commands.c) names the command, its arguments with their types, and the function that
 * carries it out. The request is checked against the row completely before that function runs, so a
 * request that is refused has changed nothing. query-commands and query-schema print the rows.
 *
 * Error classes and texts follow QMP where QMP has them: clients match the classes, and test
 * suites the texts.
 */
#ifndef PAPRIKA_COMMAND_H
#define PAPRIKA_COMMAND_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "control/guest.h"
#include "control/output.h"

/* What a connection has asked for. Without `subscribed` it sees QMP, and nothing that QMP's
 * documentation does not name. */
struct session {
	bool negotiated; /* qmp_capabilities: gets events */
	bool subscribed; /* events-subscribe: gets ours, too */
	int passed_fd;   /* the last descriptor it has passed, and no command has taken; 0: none */
};

enum argument_type {
	ARGUMENT_STRING,
	ARGUMENT_INTEGER,
	ARGUMENT_BOOLEAN,
	ARGUMENT_ARRAY,
	ARGUMENT_OBJECT,
};

struct argument {
	const char *name;
	enum argument_type type;
	bool required;
	const char *doc;
};

/* A request on its way through: its checked arguments in, an error out if there is one. */
struct call {
	const struct guest *guest;
	json_t *arguments; /* NULL if the request had none */
	struct session *session;
	struct output *output;
	uint64_t items; /* of the list that is returned: see call_item() */
	bool no_memory; /* for one of them */
	struct err err;
	const char *class; /* the protocol's class of err; NULL: GenericError */
};

#define ARGUMENTS_MAX 20

struct command {
	const char *name;
	struct argument arguments[ARGUMENTS_MAX]; /* the first without a name ends the list */
	const char *returns;
	const char *doc;
	json_t *(*run)(struct call *call); /* NULL: see call->err; if that is empty, no memory */
	bool before_negotiation;           /* allowed then, and only then */
	bool as_options;                   /* QMP takes the arguments as texts */
};

/* The table: commands.c. */
extern const struct command commands[];
extern const size_t command_count;

/*
 * Carry out one request, an object that has been parsed. Appends the reply to output:
 * {"return": ...} or {"error": {...}}, with the request's id. False if memory is out; then a part
 * of it may have been appended. *session is the connection's state, which some commands change.
 */
bool command_execute(
    const struct guest *guest, json_t *request, struct session *session, struct output *output);

/* --- For the functions of the rows --- */

/* Fill call->err, with a class of the protocol (NULL: GenericError). Returns false. */
bool call_fail(struct call *call, const char *class, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Return a list: append an item (stolen). It is written to the output at once, because a list may
 * be long. In the end the function returns an empty array. */
void call_item(struct call *call, json_t *item);

/* An argument's text; NULL if it was not given. */
const char *call_string(const struct call *call, const char *name);

/* Its whole number, which may be written as a text or as 5.0; false, and 0, if it was not given. */
bool call_integer(const struct call *call, const char *name, json_int_t *ret_value);

/* The same for a number that selects: a negative one selects like 0. */
uint64_t call_selection(const struct call *call, const char *name, uint64_t otherwise);

#endif
