/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connection.c - one connection to a VMM: requests, replies and events, one JSON object per line.
 *
 * An event may arrive between a request and its reply. It is kept in ctl->events for
 * connection_next_event(), so that the end of an operation is seen even if it came before the reply
 * that named the operation.
 */
#include "ctl.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* Longest wait for a reply. --timeout may be shorter. */
#define REPLY_TIMEOUT_MS 30000

/* Bytes received at a time. */
#define PIECE 65536

void complain(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fputs("paprikactl: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

int64_t clock_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Deadline of a reply: REPLY_TIMEOUT_MS, or --timeout if that ends earlier. */
static int64_t connection_deadline(const struct ctl *ctl)
{
	int64_t deadline = clock_now_ms() + REPLY_TIMEOUT_MS;

	return ctl->deadline >= 0 && ctl->deadline < deadline ? ctl->deadline : deadline;
}

/* Wait until the socket is ready. False when the deadline (negative: none) has passed. */
static bool connection_wait(struct ctl *ctl, short events, int64_t deadline)
{
	for (;;) {
		struct pollfd poll_fd = {.fd = ctl->fd, .events = events};
		int64_t left = deadline < 0 ? -1 : deadline - clock_now_ms();
		int ready;

		if (deadline >= 0 && left < 0)
			left = 0;
		/* poll() takes an int. */
		ready = poll(&poll_fd, 1, left > 1000000 ? 1000000 : (int)left);
		if (ready > 0 || (ready < 0 && errno != EINTR))
			return true;
		if (deadline >= 0 && clock_now_ms() >= deadline)
			return false;
	}
}

/* Discard parsed bytes and make room for PIECE more. */
static bool connection_make_room(struct ctl *ctl)
{
	size_t size = ctl->size > 0 ? ctl->size : PIECE;
	char *bytes;

	if (ctl->start > 0)
		memmove(ctl->bytes, ctl->bytes + ctl->start, ctl->used - ctl->start);
	ctl->used -= ctl->start;
	ctl->start = 0;
	while (size - ctl->used < PIECE)
		size *= 2;
	if (size == ctl->size)
		return true;
	bytes = realloc(ctl->bytes, size);
	if (bytes == NULL)
		return false;
	ctl->bytes = bytes;
	ctl->size = size;
	return true;
}

/* The next object from the VMM. */
static enum received connection_receive(struct ctl *ctl, int64_t deadline, json_t **ret_object)
{
	size_t looked = ctl->start; /* no newline before this offset */

	for (;;) {
		const char *line = ctl->bytes + ctl->start, *end = NULL;
		ssize_t got;

		if (ctl->used > looked)
			end = memchr(ctl->bytes + looked, '\n', ctl->used - looked);
		if (end != NULL) {
			*ret_object = json_loadb(line, (size_t)(end - line) + 1, 0, NULL);
			ctl->start += (size_t)(end - line) + 1;
			return json_is_object(*ret_object) ? RECEIVED : NONSENSE;
		}
		if (!connection_make_room(ctl)) {
			complain("out of memory");
			return HUNG_UP;
		}
		looked = ctl->used;
		if (!connection_wait(ctl, POLLIN, deadline))
			return TIMED_OUT;
		got = recv(ctl->fd, ctl->bytes + ctl->used, ctl->size - ctl->used, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return HUNG_UP;
		ctl->used += (size_t)got;
	}
}

/* Send bytes, with ctl->pass_fd if there is one. */
static ssize_t connection_send_some(struct ctl *ctl, char *bytes, size_t length)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.bytes = {0}};
	struct iovec from = {bytes, length};
	struct msghdr message = {.msg_iov = &from, .msg_iovlen = 1};
	ssize_t sent;

	if (ctl->pass_fd > 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = sizeof control.bytes;
		*CMSG_FIRSTHDR(&message) = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
		    .cmsg_type = SCM_RIGHTS,
		    .cmsg_len = CMSG_LEN(sizeof(int))};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), &ctl->pass_fd, sizeof(int));
	}
	sent = sendmsg(ctl->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent > 0)
		ctl->pass_fd = 0;
	return sent;
}

/* Send the whole object; RECEIVED means success. */
static enum received connection_send(struct ctl *ctl, const json_t *object, int64_t deadline)
{
	char *text = json_dumps(object, JSON_ENSURE_ASCII | JSON_COMPACT);
	size_t length = text != NULL ? strlen(text) : 0, sent = 0;
	enum received result = text != NULL ? RECEIVED : NONSENSE;

	if (text != NULL)
		text[length++] = '\n'; /* in place of the NUL */
	while (result == RECEIVED && sent < length) {
		ssize_t n = connection_send_some(ctl, text + sent, length - sent);

		if (n >= 0)
			sent += (size_t)n;
		else if (errno == EAGAIN && !connection_wait(ctl, POLLOUT, deadline))
			result = TIMED_OUT;
		else if (errno != EAGAIN && errno != EINTR)
			result = HUNG_UP;
	}
	free(text);
	return result;
}

/* The process at the other end, or 0; *ret_stopped if a signal has stopped it. */
static long connection_listener(const struct ctl *ctl, bool *ret_stopped)
{
	struct ucred peer = {0};
	socklen_t length = sizeof peer;
	char path[64], state = 0;
	FILE *file;

	*ret_stopped = false;
	if (getsockopt(ctl->fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0 || peer.pid <= 1)
		return 0; /* in another PID namespace, or passed by systemd */
	snprintf(path, sizeof path, "/proc/%ld/stat", (long)peer.pid);
	file = fopen(path, "re");
	if (file != NULL) {
		/* "PID (NAME) STATE ..."; with a ")" in NAME the state stays unknown. */
		if (fscanf(file, "%*d (%*[^\n)]) %c", &state) == 1)
			*ret_stopped = state == 'T' || state == 't';
		fclose(file);
	}
	return (long)peer.pid;
}

static void connection_complain_silent(const struct ctl *ctl)
{
	bool stopped;
	long process = connection_listener(ctl, &stopped);
	int64_t waited_ms = ctl->timeout_ms >= 0 && ctl->timeout_ms < REPLY_TIMEOUT_MS
	                        ? ctl->timeout_ms
	                        : REPLY_TIMEOUT_MS;
	char who[96] = "";

	if (process != 0)
		snprintf(who, sizeof who,
		    stopped ? "process %ld is stopped: kill -CONT %ld lets it go on"
		            : "process %ld listens there: try again, or end it with kill %ld",
		    process, process);
	complain("no answer from the VMM at %s within %g s (%s)", ctl->socket_path,
	    (double)waited_ms / 1000,
	    process != 0 ? who : "if its process is stopped, kill -CONT lets it go on");
}

void connection_complain(const struct ctl *ctl, enum received received)
{
	switch (received) {
	case TIMED_OUT: connection_complain_silent(ctl); break;
	case NONSENSE:
		complain("what %s says is not QMP (name the socket of paprika run --control)",
		    ctl->socket_path);
		break;
	case HUNG_UP:
	case RECEIVED: complain("the VMM has closed the connection"); break;
	}
}

/* Without a reply the request may still have been carried out. */
static void connection_complain_request(const struct ctl *ctl, enum received received)
{
	connection_complain(ctl, received);
	if (received == TIMED_OUT)
		complain("the request may be carried out yet; `paprikactl operations` tells");
}

json_t *connection_exchange(struct ctl *ctl, json_t *request)
{
	int64_t deadline = connection_deadline(ctl);
	json_t *object = NULL;
	/* If sending fails, bytes already received may give the reason. */
	enum received sent = request != NULL ? connection_send(ctl, request, deadline) : NONSENSE;

	json_decref(request);
	for (;;) {
		enum received received = connection_receive(ctl, deadline, &object);

		if (received != RECEIVED) {
			if (sent == RECEIVED)
				connection_complain_request(ctl, received);
			else
				connection_complain(ctl, sent == TIMED_OUT ? TIMED_OUT : HUNG_UP);
			json_decref(object);
			ctl->lost = true;
			return NULL;
		}
		if (json_object_get(object, "event") == NULL)
			return object;
		json_array_append_new(ctl->events, object);
		object = NULL;
	}
}

void reply_complain(const struct ctl *ctl, const json_t *reply)
{
	const json_t *error = json_object_get(reply, "error");
	const char *desc = json_string_value(json_object_get(error, "desc"));
	const char *hint = json_string_value(json_object_get(error, "hint"));

	complain("%s%s%s%s%s%s", ctl->subject != NULL ? ctl->subject : "",
	    ctl->subject != NULL ? ": " : "",
	    desc != NULL ? desc : "the VMM's answer makes no sense", hint != NULL ? " (" : "",
	    hint != NULL ? hint : "", hint != NULL ? ")" : "");
}

json_t *connection_ask(struct ctl *ctl, const char *command, json_t *arguments)
{
	json_t *reply = connection_exchange(
	    ctl, json_pack("{s:s, s:o*}", "execute", command, "arguments", arguments));
	json_t *value = json_incref(json_object_get(reply, "return"));

	if (reply != NULL && value == NULL)
		reply_complain(ctl, reply);
	json_decref(reply);
	return value;
}

static const char *connection_hint(int error_number)
{
	switch (error_number) {
	case ENOENT:
	case ECONNREFUSED:
		return " (no guest runs there; name its socket with --socket or PAPRIKA_SOCKET)";
	case EACCES: return " (only the user who runs the guest, and root, may)";
	case EPROTOTYPE:
		return " (it is another kind of socket; name that of paprika run --control)";
	default: return "";
	}
}

/* connect() blocks once the backlog of a stopped process is full: bound it like a reply. */
static bool connection_connect(struct ctl *ctl)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int64_t left = connection_deadline(ctl) - clock_now_ms();
	struct timeval limit;

	if (left < 1)
		left = 1;
	limit = (struct timeval){.tv_sec = left / 1000, .tv_usec = left % 1000 * 1000};
	if (strlen(ctl->socket_path) >= sizeof address.sun_path) {
		complain("socket path is too long, the limit is %zu bytes: %s (use a relative one)",
		    sizeof address.sun_path - 1, ctl->socket_path);
		return false;
	}
	snprintf(address.sun_path, sizeof address.sun_path, "%s", ctl->socket_path);
	ctl->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (ctl->fd >= 0 &&
	    setsockopt(ctl->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0 &&
	    connect(ctl->fd, (struct sockaddr *)&address, sizeof address) == 0)
		return true;
	if (errno == EAGAIN)
		connection_complain_silent(ctl);
	else
		complain("cannot connect to %s: %s%s", ctl->socket_path, strerror(errno),
		    connection_hint(errno));
	return false;
}

/* Subscribe to events that QMP does not have. An older paprika without the command sends them to
 * every client. */
static bool connection_subscribe(struct ctl *ctl, const json_t *version)
{
	json_t *reply = connection_exchange(ctl, json_pack("{s:s}", "execute", "events-subscribe"));
	const json_t *error = json_object_get(reply, "error");
	const json_t *qemu = json_object_get(version, "qemu");
	bool unknown = strcmp(member_text(error, "class"), "CommandNotFound") == 0;
	bool old = unknown && json_object_get(version, "paprika") != NULL;
	bool good = old || json_object_get(reply, "return") != NULL;

	if (unknown && !old)
		complain("%s is not a guest of paprika, but of something that speaks QMP %" PRId64
		         ".%" PRId64 " (%s)",
		    ctl->socket_path, member_number(qemu, "major"), member_number(qemu, "minor"),
		    member_text(error, "desc"));
	else if (reply != NULL && !good)
		reply_complain(ctl, reply);
	json_decref(reply);
	return good;
}

bool connection_open(struct ctl *ctl)
{
	json_t *object = NULL, *greeting, *returned = NULL;
	enum received received;
	bool good = false;

	if (!connection_connect(ctl))
		return false;
	received = connection_receive(ctl, connection_deadline(ctl), &object);
	greeting = json_object_get(object, "QMP");
	if (received != RECEIVED)
		connection_complain(ctl, received);
	else if (greeting == NULL && json_object_get(object, "error") != NULL)
		reply_complain(ctl, object);
	else if (greeting == NULL)
		connection_complain(ctl, NONSENSE);
	else
		returned = connection_ask(ctl, "qmp_capabilities", NULL);
	if (returned != NULL)
		good = connection_subscribe(ctl, json_object_get(greeting, "version"));
	json_decref(returned);
	json_decref(object);
	return good;
}

void connection_close(struct ctl *ctl)
{
	if (ctl->fd >= 0)
		close(ctl->fd);
	free(ctl->bytes);
	json_decref(ctl->events);
}

enum received connection_next_event(struct ctl *ctl, int64_t deadline, json_t **ret_event)
{
	enum received received;

	if (json_array_size(ctl->events) > 0) {
		*ret_event = json_incref(json_array_get(ctl->events, 0));
		json_array_remove(ctl->events, 0);
		return RECEIVED;
	}
	for (;;) {
		received = connection_receive(ctl, deadline, ret_event);
		if (received != RECEIVED || json_object_get(*ret_event, "event") != NULL)
			return received;
		json_decref(*ret_event);
	}
}
