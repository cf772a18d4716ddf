/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parse.h - text in, JSON out: where a request of the control socket begins and ends, what QMP
 * takes that JSON has not, and jansson's parser.
 */
#ifndef PAPRIKA_PARSE_H
#define PAPRIKA_PARSE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* As json_loadb(), but safe when memory is short: see parse.c. */
json_t *parse_json(const char *text, size_t length, size_t flags, json_error_t *error);

/* How long parse_qmp_text()'s result can be. */
#define PARSE_QMP_TEXT_MAX(length) (2 * (length) + 1)

/*
 * What QMP takes and jansson does not, rewritten: strings in single quotes, the escape \', and
 * numbers beyond 64 bits, which QMP takes as floating-point (what is beyond that, too, becomes
 * 1e308). All else is copied as it is. Returns the length of the result, which has no NUL at
 * its end; ret_text holds PARSE_QMP_TEXT_MAX(length).
 */
size_t parse_qmp_text(const char *text, size_t length, char *ret_text);

/* The longest request; a framer that is full and has no request in it holds one that is longer. */
#define REQUEST_BYTES_MAX 65536

/* What a client has sent and nobody has carried out yet. */
struct framer {
	size_t start; /* of the request being read, */
	size_t scan;  /* up to where it has been looked at, */
	size_t end;   /* and up to where there are bytes */
	size_t depth, deepest;
	char quote;      /* that the string being read began with; NUL outside of strings */
	char last;       /* the last character outside of strings that was no blank */
	bool escaped;    /* the one before was a backslash in a string */
	bool line_began; /* there are only blanks since the line began */
	bool skipping;   /* the rest of a line that was not JSON */
	char bytes[REQUEST_BYTES_MAX];
};

struct request {
	const char *text;
	size_t length;
	size_t deepest; /* nesting */
	bool line_lost; /* if it is not JSON, so is what follows on its line */
};

/*
 * The next complete request, whose text stays valid until more is read; false if there is none.
 *
 * A request ends with the bracket that closes it; without brackets, or within a string, with its
 * line; and with a byte 0xff, which is in no JSON, wherever it is. A line that begins with a
 * bracket where no value may be is not part of the request before it.
 */
bool framer_next(struct framer *input, struct request *ret_request);

/* Make room behind what has not been carried out yet; returns how much there is. */
size_t framer_room(struct framer *input);

#endif
