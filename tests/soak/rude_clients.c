/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rude_clients.c - clients that connect to the control socket and disconnect in every bad way while
 * the endurance test runs. It runs on the lab host, so that hundreds of connections cost little.
 *
 * usage: rude_clients SOCKET, with one letter at a time on standard input:
 *
 *   g   go on: drop the clients whose time is up, and replace them by new ones, in turn from the
 *       table below
 *   q   quiet: drop all clients, then answer with one line of counts
 *
 * No client closes properly: it drops the connection in the middle of an exchange, and some are
 * processes that are killed. Nothing is random, and only connect() waits for the server.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PLACES 6 /* clients at any time, and one that never reads */
#define CROWD 20 /* more than the server accepts */

#define HELLO "{\"execute\": \"qmp_capabilities\"}\n{\"execute\": \"events-subscribe\"}\n"

struct manner {
	unsigned stays; /* number of turns */
	void (*act)(int fd);
};

struct place {
	const struct manner *manner; /* NULL: free */
	int fd;
	unsigned left; /* turns */
};

struct party {
	const char *path;
	struct place places[PLACES + 1];
	size_t next; /* row of the table */
	unsigned turns;
	unsigned long connections, killed;
	unsigned long cut_off; /* disconnected by the server for not reading */
};

/* Send what the socket accepts: a server that does not read must not block us. */
static void say(int fd, const char *text, size_t length)
{
	if (send(fd, text, length, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN &&
	    errno != EPIPE && errno != ECONNRESET)
		perror("rude_clients: send");
}

static void say_text(int fd, const char *text)
{
	say(fd, text, strlen(text));
}

static void nothing(int fd)
{
	(void)fd;
}

static void half_a_request(int fd)
{
	say_text(fd, HELLO "{\"execute\": \"query-sta");
}

static void half_a_string(int fd)
{
	say_text(fd, HELLO "{\"execute\": \"device_del\", \"arguments\": {\"id\": \"core1");
}

/* The connection is dropped with unread answers. */
static void ask_and_leave(int fd)
{
	say_text(
	    fd, HELLO "{\"execute\": \"query-connectors\"}\n{\"execute\": \"query-schema\"}\n");
}

static void leave_in_the_middle_of_an_answer(int fd)
{
	char bytes[512];

	say_text(fd, HELLO "{\"execute\": \"query-schema\"}\n");
	while (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
		;
}

static void half_open(int fd)
{
	say_text(fd, HELLO "{\"execute\": \"query-operations\"}\n");
	shutdown(fd, SHUT_WR);
}

static void deaf(int fd)
{
	shutdown(fd, SHUT_RD);
	say_text(fd, HELLO "{\"execute\": \"query-operations\"}\n");
}

/* Answers, then events, accumulate until the server disconnects. */
static void never_read(int fd)
{
	say_text(fd, HELLO);
	for (unsigned i = 0; i < 200; i++)
		say_text(fd, "{\"execute\": \"query-schema\"}\n");
}

static void noise(int fd)
{
	char bytes[4096];
	uint32_t state = 2463534242;

	for (size_t i = 0; i < sizeof bytes; i++) {
		state ^= state << 13;
		state ^= state >> 17;
		state ^= state << 5;
		bytes[i] = (char)state;
	}
	say(fd, bytes, sizeof bytes);
}

static void too_long(int fd)
{
	char bytes[1024];

	memset(bytes, ' ', sizeof bytes);
	say_text(fd, HELLO "{");
	for (unsigned i = 0; i < 80; i++)
		say(fd, bytes, sizeof bytes);
}

static const struct manner manners[] = {
    {0, nothing},
    {1, half_a_request},
    {0, ask_and_leave},
    {2, half_open},
    {1, noise},
    {0, half_a_request},
    {1, leave_in_the_middle_of_an_answer},
    {3, deaf},
    {1, too_long},
    {0, half_a_string},
    {5, ask_and_leave},
    {2, nothing},
};

#define MANNERS (sizeof manners / sizeof manners[0])

static const struct manner for_ever = {UINT_MAX, never_read};

static int come(struct party *party)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof address.sun_path, "%s", party->path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
		perror("rude_clients: connect");
		_exit(1);
	}
	party->connections++;
	return fd;
}

static bool hung_up(int fd)
{
	struct pollfd poll_fd = {.fd = fd};

	return poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & (POLLHUP | POLLERR)) != 0;
}

static void let_go(struct party *party, struct place *place)
{
	if (place->manner == NULL)
		return;
	if (place->manner == &for_ever && hung_up(place->fd))
		party->cut_off++;
	close(place->fd);
	place->manner = NULL;
}

/* A process that is killed with a request half sent. */
static void kill_one(struct party *party)
{
	int fd = come(party);
	pid_t pid = fork();

	if (pid == 0) {
		half_a_string(fd);
		raise(SIGKILL);
	}
	close(fd);
	if (pid < 0 || waitpid(pid, NULL, 0) != pid) {
		perror("rude_clients: fork");
		_exit(1);
	}
	party->killed++;
}

/* The server's places are full for a moment: some clients are refused. */
static void crowd(struct party *party)
{
	int fds[CROWD];

	for (size_t i = 0; i < CROWD; i++)
		fds[i] = come(party);
	for (size_t i = 0; i < CROWD; i++)
		close(fds[i]);
}

static void go_on(struct party *party)
{
	for (size_t i = 0; i <= PLACES; i++) {
		struct place *place = &party->places[i];

		if (place->manner != NULL && place->left > 0 && !hung_up(place->fd)) {
			place->left--;
			continue;
		}
		let_go(party, place);
		place->manner = i < PLACES ? &manners[party->next++ % MANNERS] : &for_ever;
		place->left = place->manner->stays;
		place->fd = come(party);
		place->manner->act(place->fd);
	}
	party->turns++;
	if (party->turns % 3 == 0)
		kill_one(party);
	if (party->turns % 20 == 0)
		crowd(party);
}

static void quiet(struct party *party)
{
	for (size_t i = 0; i <= PLACES; i++)
		let_go(party, &party->places[i]);
	printf("%lu connections, %lu killed, %lu cut off\n", party->connections, party->killed,
	    party->cut_off);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct party party = {.path = argv[1]};
	int letter;

	if (argc != 2) {
		fprintf(stderr, "usage: rude_clients SOCKET\n");
		return 2;
	}
	while ((letter = getchar()) != EOF) {
		if (letter == 'g')
			go_on(&party);
		else if (letter == 'q')
			quiet(&party);
	}
	return 0;
}
