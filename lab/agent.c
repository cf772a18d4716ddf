// SPDX-License-Identifier: Apache-2.0
/*
 * The lab agent: runs commands inside the emulated POWER host for lab/host_api.py. It is not part
 * of the VMM.
 *
 * The host's init script executes it last, so it is process 1 there. It listens on one TCP port.
 * Each connection is a session, served by a forked process. A session either runs a command with
 * separate standard streams, or forwards bytes to and from a UNIX stream socket (agent_proxy.c).
 *
 * Wire format. Both sides send frames: one type byte, a 32-bit big-endian length, the payload.
 * The client opens with 'K' (the key that the host was given at boot), then sends either
 *
 *   'U' path             connect; answered by 'k' or 'e'; then raw bytes, no frames
 *
 * or, to run a command,
 *
 *   'A' argument         repeated
 *   'E' NAME=VALUE       repeated
 *   'C' directory
 *   'P' rows, columns    two 16-bit numbers: use a terminal instead of pipes
 *   'X'                  start; answered by 'k' or 'e' (text of the error)
 *
 * and, while it runs, 'I' (standard input; empty: end of input) and 'S' (one byte: a signal for
 * the process group). The agent sends
 *
 *   'o', 'r'             standard output, standard error
 *   'w' count            32 bits: input bytes consumed
 *   'x' status           one byte: the command has exited; end of the session
 *   's' signal           one byte: the command was killed; end of the session
 *
 * The client may have INPUT_WINDOW bytes of input outstanding that no 'w' has acknowledged. So the
 * agent can always read the socket, and a signal never waits behind input that is not consumed.
 *
 * When the command ends or the client disconnects, the rest of the command's process group gets
 * SIGTERM and, GRACE_MS later, SIGKILL. A process that is to survive leaves the group with setsid.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum {
	HEADER_BYTES = 5,
	FRAME_MAX = 16384,      /* largest payload, either way */
	INPUT_WINDOW = 262144,  /* unacknowledged input, see above */
	OUTPUT_BYTES = 262144,  /* queued frames for the client */
	REQUEST_STRINGS = 1024, /* arguments of one command */
	REQUEST_SECONDS = 10,   /* time for a client to make its request */
	GRACE_MS = 2000,        /* from SIGTERM to SIGKILL */
	GIVE_UP_MS = 8000,      /* from SIGTERM to giving up on a process */
};

/* One running command. A file descriptor is -1 once closed. */
struct session {
	int client, in, out, err, signals;
	pid_t leader;      /* also the process group's id */
	bool group_gone;   /* the group is known to be empty */
	bool input_ended;  /* close `in` when `input` is empty */
	bool leader_ended; /* wait_status is valid */
	int wait_status;
	int64_t term_at_ms; /* when SIGTERM was sent, 0 if not yet */
	bool kill_sent;
	struct queue input, output, request;
};

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static uint32_t get_be32(const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof v);
	return ntohl(v);
}

static void put_header(uint8_t *p, char type, size_t len)
{
	uint32_t v = htonl((uint32_t)len);
	p[0] = (uint8_t)type;
	memcpy(p + 1, &v, sizeof v);
}

/* ---- the request: blocking reads and replies ---- */

static bool read_all(int fd, void *buf, size_t len)
{
	for (size_t got = 0; got < len;) {
		ssize_t n = read(fd, (uint8_t *)buf + got, len - got);
		if (n <= 0 && !(n < 0 && errno == EINTR))
			return false;
		got += n > 0 ? (size_t)n : 0;
	}
	return true;
}

void reply(int fd, char type, const char *text)
{
	uint8_t frame[HEADER_BYTES + 512];
	size_t len = strnlen(text, 512);
	put_header(frame, type, len);
	memcpy(frame + HEADER_BYTES, text, len);
	if (write(fd, frame, HEADER_BYTES + len) < 0)
		_exit(1); /* the client has disconnected */
}

void refuse(int fd, const char *format, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, format);
	vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	reply(fd, 'e', text);
	_exit(1);
}

/* Read one frame; the payload is allocated, NUL-terminated and never freed. */
static char read_frame(int fd, char **payload, size_t *len)
{
	uint8_t header[HEADER_BYTES];
	if (!read_all(fd, header, sizeof header))
		_exit(1);
	*len = get_be32(header + 1);
	if (*len > 8 * FRAME_MAX)
		refuse(fd, "request too long");
	*payload = calloc(1, *len + 1);
	if (!*payload || !read_all(fd, *payload, *len))
		_exit(1);
	return (char)header[0];
}

/* ---- running a command ---- */

static void send_frame(struct session *s, char type, const void *payload, size_t len)
{
	if (s->client < 0)
		return;
	uint8_t *p = queue_room(&s->output, HEADER_BYTES + len);
	if (!p) { /* cannot happen: callers check for room */
		close_fd(&s->client);
		return;
	}
	put_header(p, type, len);
	memcpy(p + HEADER_BYTES, payload, len);
	s->output.len += HEADER_BYTES + len;
}

static bool output_has_room(const struct session *s)
{
	return s->client < 0 || s->output.len < OUTPUT_BYTES - 4 * (HEADER_BYTES + FRAME_MAX);
}

/* Begin to end the session: SIGTERM to the process group. */
static void end_group(struct session *s)
{
	if (s->term_at_ms || s->group_gone)
		return;
	s->term_at_ms = now_ms();
	kill(-s->leader, SIGTERM);
	kill(-s->leader, SIGCONT);
}

static void client_gone(struct session *s)
{
	close_fd(&s->client);
	close_fd(&s->in);
	end_group(s);
}

static void acknowledge_input(struct session *s, size_t n)
{
	uint32_t v = htonl((uint32_t)n);
	send_frame(s, 'w', &v, sizeof v);
}

/* Handle a frame received while the command runs; false if it is invalid. */
static bool take_frame(struct session *s, char type, const uint8_t *payload, size_t len)
{
	if (type == 'S' && len == 1) {
		if (!s->group_gone && !s->leader_ended)
			kill(-s->leader, payload[0]);
		return true;
	}
	if (type != 'I')
		return false;
	if (len == 0) {
		s->input_ended = true;
	} else if (s->in < 0) {
		acknowledge_input(s, len); /* standard input is closed: discard */
	} else {
		uint8_t *p = queue_room(&s->input, len);
		if (!p)
			return false;
		memcpy(p, payload, len);
		s->input.len += len;
	}
	return true;
}

static void read_client(struct session *s)
{
	struct queue *q = &s->request;
	uint8_t *p = queue_room(q, 1);
	ssize_t n = read(s->client, p, q->size - q->start - q->len);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_gone(s);
		return;
	}
	q->len += (size_t)n;
	while (q->len >= HEADER_BYTES) {
		const uint8_t *frame = q->data + q->start;
		size_t len = get_be32(frame + 1);
		if (len > FRAME_MAX) {
			client_gone(s);
			return;
		}
		if (q->len < HEADER_BYTES + len)
			break;
		if (!take_frame(s, (char)frame[0], frame + HEADER_BYTES, len)) {
			client_gone(s);
			return;
		}
		queue_drop(q, HEADER_BYTES + len);
	}
}

static void write_client(struct session *s)
{
	ssize_t n = write(s->client, s->output.data + s->output.start, s->output.len);
	if (n > 0)
		queue_drop(&s->output, (size_t)n);
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		client_gone(s);
}

static void write_input(struct session *s)
{
	ssize_t n = write(s->in, s->input.data + s->input.start, s->input.len);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		n = (ssize_t)s->input.len;
		close_fd(&s->in);
	}
	queue_drop(&s->input, (size_t)n);
	acknowledge_input(s, (size_t)n);
}

/* Forward output of the command to the client; true if there may be more. */
static bool read_output(struct session *s, int *fd, char type)
{
	uint8_t chunk[FRAME_MAX];
	ssize_t n = read(*fd, chunk, sizeof chunk);
	if (n > 0) {
		send_frame(s, type, chunk, (size_t)n);
		return true;
	}
	if (n == 0 || (errno != EAGAIN && errno != EINTR)) /* a terminal's end of output is EIO */
		close_fd(fd);
	return false;
}

static bool drain_output(struct session *s)
{
	return (s->out >= 0 && read_output(s, &s->out, 'o')) ||
	       (s->err >= 0 && read_output(s, &s->err, 'r'));
}

static void reap(struct session *s)
{
	struct signalfd_siginfo info;
	while (read(s->signals, &info, sizeof info) > 0)
		;
	int status;
	/* As a subreaper, also reap orphans of the command. */
	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
		if (pid == s->leader) {
			s->leader_ended = true;
			s->wait_status = status;
		}
	}
}

/* Update the state of the process group; returns ms until the next call, -1: none needed. */
static int supervise(struct session *s)
{
	if (s->leader_ended) {
		if (kill(-s->leader, 0) < 0 && errno == ESRCH)
			s->group_gone = true;
		else
			end_group(s);
	}
	if (!s->term_at_ms || s->group_gone)
		return -1;
	int64_t elapsed = now_ms() - s->term_at_ms;
	if (elapsed >= GRACE_MS && !s->kill_sent) {
		kill(-s->leader, SIGKILL);
		s->kill_sent = true;
	}
	if (elapsed >= GIVE_UP_MS)
		s->group_gone = true;
	return (int)((s->kill_sent ? GIVE_UP_MS : GRACE_MS) - elapsed) + 1;
}

static void wait_for_events(struct session *s, int timeout_ms)
{
	enum { CLIENT, SIGNALS, IN, OUT, ERR, COUNT };
	bool room = output_has_room(s);
	bool write_in = s->in >= 0 && s->input.len > 0 && room;
	struct pollfd p[COUNT];
	p[CLIENT] = (struct pollfd){s->client, POLLIN, 0};
	if (s->output.len > 0)
		p[CLIENT].events |= POLLOUT;
	p[SIGNALS] = (struct pollfd){s->signals, POLLIN, 0};
	p[IN] = (struct pollfd){write_in ? s->in : -1, POLLOUT, 0};
	p[OUT] = (struct pollfd){room ? s->out : -1, POLLIN, 0};
	p[ERR] = (struct pollfd){room ? s->err : -1, POLLIN, 0};
	if (poll(p, COUNT, timeout_ms) < 0)
		return;
	if (p[SIGNALS].revents)
		reap(s);
	if (p[OUT].revents)
		read_output(s, &s->out, 'o');
	if (p[ERR].revents)
		read_output(s, &s->err, 'r');
	if (p[IN].revents)
		write_input(s);
	if (p[CLIENT].revents & (POLLIN | POLLHUP | POLLERR))
		read_client(s);
	if (s->client >= 0 && s->output.len > 0)
		write_client(s);
}

/* Closing with unread input would send a TCP reset, which may overtake the exit status. So wait,
 * for a bounded time, until the client has closed. */
static void linger(int client)
{
	struct pollfd p = {client, POLLIN, 0};
	uint8_t unread[4096];

	if (client < 0)
		return;
	shutdown(client, SHUT_WR);
	while (poll(&p, 1, 2000) > 0 && read(client, unread, sizeof unread) > 0)
		;
}

__attribute__((noreturn)) static void supervise_session(struct session *s)
{
	for (;;) {
		int timeout_ms = supervise(s);
		if (s->group_gone) {
			/* A process outside the group may hold the pipes open: do not wait for
			 * their end. */
			while (output_has_room(s) && drain_output(s))
				;
			if (output_has_room(s))
				break;
		}
		if (s->in >= 0 && s->input_ended && s->input.len == 0)
			close_fd(&s->in);
		wait_for_events(s, timeout_ms);
	}
	if (s->client < 0)
		_exit(0);
	char type = 'x';
	uint8_t code = 255; /* if SIGKILL did not end the leader */
	if (s->leader_ended && WIFSIGNALED(s->wait_status)) {
		type = 's';
		code = (uint8_t)WTERMSIG(s->wait_status);
	} else if (s->leader_ended) {
		code = (uint8_t)WEXITSTATUS(s->wait_status);
	}
	send_frame(s, type, &code, 1);
	fcntl(s->client, F_SETFL, 0);
	while (s->client >= 0 && s->output.len > 0)
		write_client(s);
	linger(s->client);
	_exit(0);
}

/* Open a terminal for the command; returns the master and the name of the slave. */
static int open_terminal(const uint8_t size[4], char *name, size_t name_bytes)
{
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || grantpt(fd) < 0 || unlockpt(fd) < 0 || ptsname_r(fd, name, name_bytes) != 0)
		return -1;
	struct winsize w = {0};
	w.ws_row = (unsigned short)(size[0] << 8 | size[1]);
	w.ws_col = (unsigned short)(size[2] << 8 | size[3]);
	ioctl(fd, TIOCSWINSZ, &w);
	return fd;
}

/* Start argv with its streams on pipes or, if size is not NULL, on a terminal. */
static void start_command(struct session *s, char **argv, const char *size)
{
	int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1};
	posix_spawn_file_actions_t files;
	posix_spawn_file_actions_init(&files);
	if (size) {
		char name[64];
		out[0] = open_terminal((const uint8_t *)size, name, sizeof name);
		in[1] = fcntl(out[0], F_DUPFD_CLOEXEC, 3);
		if (out[0] < 0 || in[1] < 0)
			refuse(s->client, "cannot open a terminal: %s", strerror(errno));
		/* Opened by a new session leader, it becomes the controlling terminal. */
		posix_spawn_file_actions_addopen(&files, 0, name, O_RDWR, 0);
		posix_spawn_file_actions_adddup2(&files, 0, 1);
		posix_spawn_file_actions_adddup2(&files, 0, 2);
	} else {
		if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
			refuse(s->client, "cannot make pipes: %s", strerror(errno));
		posix_spawn_file_actions_adddup2(&files, in[0], 0);
		posix_spawn_file_actions_adddup2(&files, out[1], 1);
		posix_spawn_file_actions_adddup2(&files, err[1], 2);
	}

	/* The agent reads SIGCHLD from a signalfd; the command starts with default signals. */
	sigset_t child, none, all;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	signal(SIGCHLD, SIG_DFL);
	s->signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	prctl(PR_SET_CHILD_SUBREAPER, 1);

	posix_spawnattr_t attr;
	posix_spawnattr_init(&attr);
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	const short flags = POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
	posix_spawnattr_setflags(&attr, flags);
	int error = posix_spawnp(&s->leader, argv[0], &files, &attr, argv, environ);
	if (error)
		refuse(s->client, "%s: %s", argv[0], strerror(error));
	reply(s->client, 'k', "");
	close_fd(&in[0]);
	close_fd(&out[1]);
	close_fd(&err[1]);
	s->in = in[1];
	s->out = out[0];
	s->err = err[0];
	const int fds[] = {s->client, s->in, s->out, s->err};
	for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
		if (fds[i] >= 0)
			fcntl(fds[i], F_SETFL, O_NONBLOCK);
	}
}

/* ---- sessions ---- */

__attribute__((noreturn)) static void serve(int client, const char *key)
{
	static uint8_t input[INPUT_WINDOW], output[OUTPUT_BYTES], request[4 * FRAME_MAX];
	static char *argv[REQUEST_STRINGS + 1];
	struct session s = {.client = client, .in = -1, .out = -1, .err = -1, .signals = -1};
	s.input = (struct queue){.data = input, .size = sizeof input};
	s.output = (struct queue){.data = output, .size = sizeof output};
	s.request = (struct queue){.data = request, .size = sizeof request};
	const char *terminal_size = NULL;
	size_t args = 0;
	alarm(REQUEST_SECONDS);
	for (bool known = false;;) {
		char *payload;
		size_t len;
		char type = read_frame(client, &payload, &len);
		if (!known) {
			known = type == 'K' && strcmp(payload, key) == 0;
			if (!known)
				refuse(client, "wrong key");
		} else if (type == 'A' && args < REQUEST_STRINGS) {
			argv[args++] = payload;
		} else if (type == 'E' && strchr(payload, '=')) {
			putenv(payload);
		} else if (type == 'C') {
			if (chdir(payload) < 0)
				refuse(client, "%s: %s", payload, strerror(errno));
		} else if (type == 'P' && len == 4) {
			terminal_size = payload;
		} else if (type == 'U') {
			alarm(0);
			proxy_run(client, payload);
		} else if (type == 'X' && args > 0) {
			break;
		} else {
			refuse(client, "bad request (frame '%c')", type);
		}
	}
	alarm(0);
	start_command(&s, argv, terminal_size);
	supervise_session(&s);
}

int main(int argc, char **argv)
{
	const char *key = argc == 4 ? getenv("LAB_KEY") : NULL;
	if (!key || !*key) {
		fprintf(stderr, "usage: LAB_KEY=... agent PORT DIRECTORY READY-MESSAGE\n");
		return 2;
	}
	key = strdup(key);
	unsetenv("LAB_KEY");
	signal(SIGPIPE, SIG_IGN);
	/* Sessions and orphans leave no zombies. */
	signal(SIGCHLD, SIG_IGN);
	if (chdir(argv[2]) < 0) {
		perror(argv[2]);
		return 1;
	}
	struct sockaddr_in addr = {.sin_family = AF_INET};
	addr.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;
	if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
	    bind(listener, (struct sockaddr *)&addr, sizeof addr) < 0 || listen(listener, 64) < 0) {
		perror("agent: cannot listen");
		return 1;
	}
	puts(argv[3]);
	fflush(stdout);
	for (;;) {
		int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (client < 0)
			continue;
		setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		if (fork() == 0) {
			close(listener);
			serve(client, key);
		}
		close(client);
	}
}
