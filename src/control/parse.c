/* SPDX-License-Identifier: Apache-2.0 */
/* parse.c - see parse.h. */
#include "control/parse.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* The text that needs most memory is [{},{},...]: about 200 bytes for three of text. An array or a
 * buffer exists twice while it grows. */
#define PARSE_BYTES(length) ((size_t)16384 + 128 * (length))

/* jansson 2.14 continues with a part of a token when it gets no memory for all of it, and then
 * reads and writes beyond its buffers. So first try whether there is enough memory for the whole
 * text. */
static bool parse_has_memory(size_t bytes)
{
	void *volatile memory = malloc(bytes);
	bool good = memory != NULL;

	free(memory);
	return good;
}

json_t *parse_json(const char *text, size_t length, size_t flags, json_error_t *error)
{
	if (parse_has_memory(PARSE_BYTES(length)))
		return json_loadb(text, length, flags, error);
	*error = (json_error_t){.line = -1, .column = -1, .text = "out of memory"};
	error->text[JSON_ERROR_TEXT_LENGTH - 1] = json_error_out_of_memory; /* json_error_code() */
	return NULL;
}

/* --- QMP's JSON ----------------------------------------------------------------------------- */

/* A text that is rewritten: what is still to be read, and what has been written. */
struct rewriting {
	const char *in, *end;
	char *out;
};

static bool is_number_part(char c)
{
	return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

/* A number, or what looks like one. Each form that is written is at most twice as long as what
 * was read: a number beyond 64 bits has 19 digits or more, one beyond a double 5 characters. */
static void rewrite_number(struct rewriting *text)
{
	char *start = text->out;
	bool whole = true;

	while (text->in < text->end && is_number_part(*text->in)) {
		whole = whole && *text->in != '.' && *text->in != 'e' && *text->in != 'E';
		*text->out++ = *text->in++;
	}
	*text->out = '\0';
	if (isinf(strtod(start, NULL))) {
		text->out = stpcpy(start, *start == '-' ? "-1e308" : "1e308");
	} else if (whole) {
		errno = 0;
		if (strtoll(start, NULL, 10) != 0 && errno == ERANGE)
			text->out = stpcpy(text->out, ".0");
	}
}

/* A string, or what there is of one. */
static void rewrite_string(struct rewriting *text)
{
	char quote = *text->in++;

	*text->out++ = '"';
	while (text->in < text->end && *text->in != quote) {
		bool escape = *text->in == '\\' && text->end - text->in > 1;

		if (escape && text->in[1] == '\'') {
			text->in++;
		} else if (escape || *text->in == '"') {
			*text->out++ = '\\';
			text->in += escape;
		}
		*text->out++ = *text->in++;
	}
	if (text->in < text->end) {
		*text->out++ = '"';
		text->in++;
	}
}

size_t parse_qmp_text(const char *text, size_t length, char *ret_text)
{
	struct rewriting rewriting = {.in = text, .end = text + length, .out = ret_text};

	while (rewriting.in < rewriting.end) {
		char c = *rewriting.in;

		if (c == '"' || c == '\'')
			rewrite_string(&rewriting);
		else if (c == '-' || (c >= '0' && c <= '9'))
			rewrite_number(&rewriting);
		else
			*rewriting.out++ = *rewriting.in++;
	}
	return (size_t)(rewriting.out - ret_text);
}
