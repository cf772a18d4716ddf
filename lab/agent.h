// SPDX-License-Identifier: Apache-2.0
/* agent.h - what the two files of the lab agent share. */
#ifndef LAB_AGENT_H
#define LAB_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A byte queue: data[start .. start+len). Sessions are processes, so the buffers are static. */
struct queue {
	uint8_t *data;
	size_t size, start, len;
};

/* Room for `want` more bytes at the end, or NULL. */
static inline uint8_t *queue_room(struct queue *q, size_t want)
{
	if (q->start + q->len + want > q->size) {
		memmove(q->data, q->data + q->start, q->len);
		q->start = 0;
	}
	return q->len + want > q->size ? NULL : q->data + q->start + q->len;
}

/* Remove n bytes from the start. */
static inline void queue_drop(struct queue *q, size_t n)
{
	q->len -= n;
	q->start = q->len == 0 ? 0 : q->start + n;
}

/* Send a frame; ends the process if the client has disconnected. */
void reply(int fd, char type, const char *text);

/* Send an error frame and end the process. */
__attribute__((noreturn, format(printf, 2, 3))) void refuse(int fd, const char *format, ...);

/* Connect to a UNIX socket and forward bytes both ways until both have closed. */
__attribute__((noreturn)) void proxy_run(int client, const char *path);

#endif
