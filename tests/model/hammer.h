/* SPDX-License-Identifier: Apache-2.0 */
/* hammer.h - a client of the control socket, for hammer.c. Whatever goes wrong ends the program. */
#ifndef PAPRIKA_HAMMER_H
#define PAPRIKA_HAMMER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DEADLINE_S = 120 }; /* only turns a hang into a failure */

extern char socket_path[64];
extern _Atomic uint64_t requests_answered;

void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

struct client {
	int fd;
	size_t start, end;
	char bytes[1 << 20];
};

struct client *client_create(void);
void client_destroy(struct client *client);

/* The next line, without its end; NULL if the connection ends. */
char *next_line(struct client *client);

void say(struct client *client, const char *text);

/* One request, one reply, whatever events lie between. True if it was carried out. */
bool ask(struct client *client, const char *text);

#endif
