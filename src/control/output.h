/* SPDX-License-Identifier: Apache-2.0 */
/*
 * output.h - what is to be sent to one client: a buffer that grows with what is put into it, and is
 * freed when all of it is sent.
 */
#ifndef PAPRIKA_OUTPUT_H
#define PAPRIKA_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct output {
	char *bytes;
	size_t start, end, size;
	size_t reply_left; /* up to the end of the last reply; what follows are events */
	size_t allowed;    /* bytes that may be sent before the next turn of the loop */
};

/* How many bytes wait; how many of them are events behind the last reply. */
size_t output_left(const struct output *output);
size_t output_events(const struct output *output);

/* Append. All return false if memory is out; then a part may have been appended. */
bool output_put(struct output *output, const char *bytes, size_t length);
bool output_put_text(struct output *output, const char *text);
bool output_put_json(struct output *output, const json_t *value); /* false for NULL, too */

/* Send what the socket takes without waiting. False if the connection is broken. */
bool output_send(struct output *output, int fd);

#endif
