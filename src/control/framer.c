/* SPDX-License-Identifier: Apache-2.0 */
/* framer.c - see framer.h. */
#include "control/framer.h"

#include <string.h>

enum look {
	LOOK_WITHIN,      /* a request */
	LOOK_CLOSES,      /* the outermost bracket */
	LOOK_ENDS,        /* the request, which this byte is not part of */
	LOOK_BREAKS_OFF,  /* the request, by a byte that makes it wrong */
	LOOK_BEGINS_ANEW, /* it is the next request's */
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static enum look framer_look_in_string(struct framer *input, char c)
{
	if (c == '\n')
		return LOOK_ENDS;
	if (input->escaped) {
		input->escaped = false;
	} else if (c == '\\') {
		input->escaped = true;
	} else if (c == input->quote) {
		input->quote = '\0';
		input->last = c;
	}
	return LOOK_WITHIN;
}

static enum look framer_look_at_bracket(struct framer *input, char c)
{
	if (c == '}' || c == ']') {
		if (input->depth > 0)
			input->depth--;
		return input->depth == 0 ? LOOK_CLOSES : LOOK_WITHIN;
	}
	if (input->depth > 0 && input->line_began && input->last != ',' && input->last != ':' &&
	    input->last != '[')
		return LOOK_BEGINS_ANEW;
	if (++input->depth > input->deepest)
		input->deepest = input->depth;
	return LOOK_WITHIN;
}

static enum look framer_look(struct framer *input, char c)
{
	enum look look = LOOK_WITHIN;

	if (c == '\xff')
		return LOOK_BREAKS_OFF;
	if (input->quote != '\0')
		return framer_look_in_string(input, c);
	if (c == '\n') {
		input->line_began = true;
		return input->depth == 0 ? LOOK_ENDS : LOOK_WITHIN;
	}
	if (is_space(c))
		return LOOK_WITHIN;
	if (c == '"' || c == '\'')
		input->quote = c;
	else if (strchr("{}[]", c) != NULL && c != '\0')
		look = framer_look_at_bracket(input, c);
	input->last = c;
	input->line_began = false;
	return look;
}

/* The bytes up to scan are a request, but for the last `without` of them. */
static void framer_take(struct framer *input, size_t without, struct request *ret_request)
{
	*ret_request = (struct request){
	    .text = input->bytes + input->start,
	    .length = input->scan - input->start - without,
	    .deepest = input->deepest,
	};
	input->start = input->scan;
	input->depth = input->deepest = 0;
	input->quote = input->last = '\0';
	input->escaped = input->line_began = false;
}

bool framer_next(struct framer *input, struct request *ret_request)
{
	while (input->scan < input->end) {
		char c = input->bytes[input->scan];
		enum look look;

		if (input->skipping || (input->start == input->scan && is_space(c))) {
			input->start = ++input->scan;
			input->skipping = input->skipping && c != '\n';
			continue;
		}
		look = framer_look(input, c);
		input->scan += look != LOOK_BEGINS_ANEW;
		if (look != LOOK_WITHIN) {
			framer_take(input, look == LOOK_ENDS, ret_request);
			ret_request->line_lost = look == LOOK_CLOSES;
			return true;
		}
	}
	return false;
}

size_t framer_room(struct framer *input)
{
	memmove(input->bytes, input->bytes + input->start, input->end - input->start);
	input->end -= input->start;
	input->scan -= input->start;
	input->start = 0;
	return sizeof input->bytes - input->end;
}
