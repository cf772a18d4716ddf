/* SPDX-License-Identifier: Apache-2.0 */
/* output.c - see output.h. */
#include "control/output.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

size_t output_left(const struct output *output)
{
	return output->end - output->start;
}

size_t output_events(const struct output *output)
{
	return output_left(output) - output->reply_left;
}

/* Room for length more bytes; false if memory is out. */
static bool output_reserve(struct output *output, size_t length)
{
	size_t size = output->size > 0 ? output->size : 4096;
	char *bytes;

	if (output->start > 0 && output->end + length > output->size) {
		memmove(output->bytes, output->bytes + output->start, output_left(output));
		output->end -= output->start;
		output->start = 0;
	}
	while (size < output->end + length)
		size *= 2;
	if (size == output->size)
		return true;
	bytes = realloc(output->bytes, size);
	if (bytes == NULL)
		return false;
	output->bytes = bytes;
	output->size = size;
	return true;
}

bool output_put(struct output *output, const char *bytes, size_t length)
{
	if (!output_reserve(output, length))
		return false;
	memcpy(output->bytes + output->end, bytes, length);
	output->end += length;
	return true;
}

bool output_put_text(struct output *output, const char *text)
{
	return output_put(output, text, strlen(text));
}

/* Not json_dumps(): jansson's own buffers leave out what they get no memory for. */
bool output_put_json(struct output *output, const json_t *value)
{
	size_t length = 1024, room;

	do {
		if (value == NULL || !output_reserve(output, length))
			return false;
		room = output->size - output->end;
		length = json_dumpb(
		    value, output->bytes + output->end, room, JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
		if (length == 0)
			return false;
	} while (length > room);
	output->end += length;
	return true;
}

bool output_send(struct output *output, int fd)
{
	while (output_left(output) > 0 && output->allowed > 0) {
		size_t length = output_left(output);
		ssize_t sent;

		if (length > output->allowed)
			length = output->allowed;
		sent = send(fd, output->bytes + output->start, length, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK;
		output->start += (size_t)sent;
		output->reply_left -=
		    (size_t)sent < output->reply_left ? (size_t)sent : output->reply_left;
		if (output->allowed != SIZE_MAX)
			output->allowed -= (size_t)sent;
	}
	/* Otherwise each client would keep the largest buffer it ever needed. */
	if (output_left(output) == 0) {
		free(output->bytes);
		output->bytes = NULL;
		output->start = output->end = output->size = 0;
	}
	return true;
}
