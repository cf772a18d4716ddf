/* SPDX-License-Identifier: Apache-2.0 */
/*
 * framer.h - where a request of the control socket begins and ends.
 */
#ifndef PAPRIKA_FRAMER_H
#define PAPRIKA_FRAMER_H

#include <stdbool.h>
#include <stddef.h>

/* The longest request. A framer that is full without a complete request holds a longer one. */
#define REQUEST_BYTES_MAX 65536

/* What a client has sent and what has not been carried out yet. */
struct framer {
	size_t start; /* of the request being read */
	size_t scan;  /* the first byte that has not been examined */
	size_t end;   /* of the bytes received */
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
