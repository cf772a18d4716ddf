/* SPDX-License-Identifier: Apache-2.0 */
/* hammer_client.c - see hammer.h. */
#include "hammer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "fake_kvm.h"

static bool try_connect(void *context)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval deadline = {.tv_sec = DEADLINE_S};
	struct client *client = context;

	client->start = client->end = 0;
	client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	strcpy(address.sun_path, socket_path);
	setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
	if (connect(client->fd, (struct sockaddr *)&address, sizeof address) == 0)
		return true;
	close(client->fd);
	return false;
}

char *next_line(struct client *client)
{
	for (;;) {
		char *from = client->bytes + client->start;
		char *end = memchr(from, '\n', client->end - client->start);
		ssize_t got;

		if (end != NULL) {
			*end = '\0';
			client->start = (size_t)(end + 1 - client->bytes);
			return from;
		}
		memmove(client->bytes, from, client->end - client->start);
		client->end -= client->start;
		client->start = 0;
		got = recv(
		    client->fd, client->bytes + client->end, sizeof client->bytes - client->end, 0);
		if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			fail("no answer in %d s", DEADLINE_S);
		if (got <= 0)
			return NULL;
		client->end += (size_t)got;
	}
}

void say(struct client *client, const char *text)
{
	size_t length = strlen(text);

	if (send(client->fd, text, length, MSG_NOSIGNAL) != (ssize_t)length)
		fail("cannot send: %s", strerror(errno));
}

bool ask(struct client *client, const char *text)
{
	const char *line;

	say(client, text);
	do {
		line = next_line(client);
		if (line == NULL)
			fail("the connection ends before the answer to %s", text);
	} while (strncmp(line, "{\"return\"", 9) != 0 && strncmp(line, "{\"error\"", 8) != 0);
	requests_answered++;
	return strncmp(line, "{\"return\"", 9) == 0;
}

struct client *client_create(void)
{
	struct client *client = malloc(sizeof *client);

	if (client == NULL)
		fail("out of memory");
	fake_wait_until(try_connect, client, "the control socket is there");
	if (next_line(client) == NULL)
		fail("no greeting");
	ask(client, "{\"execute\": \"qmp_capabilities\"}\n");
	ask(client, "{\"execute\": \"events-subscribe\"}\n");
	return client;
}

void client_destroy(struct client *client)
{
	close(client->fd);
	free(client);
}
