/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.c - see log.h.
 *
 * A line is formatted first and written under a lock that is held for no longer than a write that
 * does not wait. A terminal or a socket may take a part of a line: what is left of it is kept, and
 * goes before the next line. So there is room for one line that has not been taken; while it is
 * there, further lines are only counted.
 */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 250

/* What poll() calls writable takes at least this much without waiting. (A pipe takes a page.) */
#define PIECE_BYTES 64

enum log_level log_level = LOG_WARN;

static const char *const level_names[] = {"error", "warn", "info", "debug"};

uint64_t clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

bool log_level_from_name(const char *name, enum log_level *ret_level)
{
	for (unsigned i = 0; i < sizeof level_names / sizeof level_names[0]; i++) {
		if (strcmp(name, level_names[i]) == 0) {
			*ret_level = (enum log_level)i;
			return true;
		}
	}
	return false;
}

/* How standard error is written to. */
enum way {
	PLAIN,     /* with write(): before log_never_wait(); later, what does not wait by itself */
	BY_SEND,   /* a socket: MSG_DONTWAIT */
	BY_ASKING, /* what cannot be opened anew: a piece at a time, if poll() says it is taken */
};

static struct {
	pthread_mutex_t lock; /* guards the rest; no other lock is taken while it is held */
	enum way way;         /* these two are constant once there are threads */
	size_t piece_bytes;
	bool has_reader; /* log_never_wait() was called, and it is not a file */
	char rest[LOG_LINE_MAX];
	size_t rest_length;   /* not written yet */
	uint64_t rest_lines;  /* how many lines are lost if the rest is */
	uint64_t dropped;     /* lines lost and not reported yet */
	uint64_t patience_ms; /* of log_settle(), which one thread calls */
} out = {.lock = PTHREAD_MUTEX_INITIALIZER, .patience_ms = PATIENCE_MS};

/* How many bytes were written; -1 with errno EAGAIN if it would have to wait. */
static ssize_t log_write_some(const char *from, size_t length)
{
	struct pollfd end = {.fd = STDERR_FILENO, .events = POLLOUT};

	if (out.way == BY_SEND)
		return send(STDERR_FILENO, from, length, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (out.way == BY_ASKING) {
		if (poll(&end, 1, 0) <= 0) {
			errno = EAGAIN;
			return -1;
		}
		length = length < out.piece_bytes ? length : out.piece_bytes;
	}
	return write(STDERR_FILENO, from, length);
}

/* True if the rest is written. After any error but EAGAIN it is lost. */
static bool log_write_rest(void)
{
	while (out.rest_length > 0) {
		ssize_t written = log_write_some(out.rest, out.rest_length);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0 && errno != EAGAIN) {
			out.dropped += out.rest_lines;
			out.rest_length = 0;
			return false;
		}
		if (written <= 0)
			return false;
		out.rest_length -= (size_t)written;
		memmove(out.rest, out.rest + written, out.rest_length);
	}
	return true;
}

/* Make a line with the count of lost lines the rest, which is empty. */
static void log_queue_dropped(void)
{
	uint64_t now = clock_ms();
	int length = snprintf(out.rest, sizeof out.rest,
	    "paprika: warn [%llu.%03u] log: standard error was not read, lines lost: %llu\n",
	    (unsigned long long)(now / 1000), (unsigned)(now % 1000),
	    (unsigned long long)out.dropped);

	out.rest_length = (size_t)length;
	out.rest_lines = out.dropped;
	out.dropped = 0;
}

/* True if all that was to be written is. */
static bool log_flush(void)
{
	if (!log_write_rest())
		return false;
	if (out.dropped == 0)
		return true;
	log_queue_dropped();
	return log_write_rest();
}

void log_write(const char *line, size_t length)
{
	pthread_mutex_lock(&out.lock);
	if (log_flush()) {
		if (length > sizeof out.rest)
			length = sizeof out.rest;
		memcpy(out.rest, line, length);
		out.rest[length - 1] = '\n';
		out.rest_length = length;
		out.rest_lines = 1;
		log_write_rest();
	} else {
		out.dropped++;
	}
	pthread_mutex_unlock(&out.lock);
}

void log_write_dying(const char *line, size_t length)
{
	while (length > 0) {
		ssize_t written = log_write_some(line, length);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return; /* nothing can be done, nor said */
		line += written;
		length -= (size_t)written;
	}
}

bool log_is_behind(void)
{
	bool behind;

	pthread_mutex_lock(&out.lock);
	behind = out.has_reader && (out.rest_length > 0 || out.dropped > 0);
	pthread_mutex_unlock(&out.lock);
	return behind;
}

void log_catch_up(void)
{
	pthread_mutex_lock(&out.lock);
	/* A reader that has closed its end does not return. */
	if (!log_flush() && out.rest_length == 0)
		out.has_reader = false;
	pthread_mutex_unlock(&out.lock);
}

void log_settle(void)
{
	struct pollfd end = {.fd = STDERR_FILENO, .events = POLLOUT};
	uint64_t now_ms = clock_ms(), until_ms = now_ms + out.patience_ms;
	bool waits = true;

	while (waits && now_ms < until_ms) {
		pthread_mutex_lock(&out.lock);
		waits = !log_flush() && out.rest_length > 0;
		pthread_mutex_unlock(&out.lock);
		if (waits)
			poll(&end, 1, (int)(until_ms - now_ms));
		now_ms = clock_ms();
	}
	out.patience_ms = now_ms < until_ms ? until_ms - now_ms : 0;
}

/* Replace standard error by an open file description of our own. */
static bool log_reopen(void)
{
	int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	bool good = fd >= 0 && dup2(fd, STDERR_FILENO) >= 0;

	if (fd >= 0)
		close(fd);
	return good;
}

void log_never_wait(void)
{
	struct stat status;

	if (fstat(STDERR_FILENO, &status) < 0)
		return;
	out.has_reader = !S_ISREG(status.st_mode);
	out.piece_bytes = S_ISFIFO(status.st_mode) ? LOG_LINE_MAX : PIECE_BYTES;
	if (S_ISSOCK(status.st_mode))
		out.way = BY_SEND;
	else if ((S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode)) && !log_reopen())
		out.way = BY_ASKING;
}

static void log_format(enum log_level level, uint32_t suppressed, const char *format, va_list args)
{
	char line[LOG_LINE_MAX];
	uint64_t now = clock_ms();
	int used = snprintf(line, sizeof line, "paprika: %s [%llu.%03u] ", level_names[level],
	    (unsigned long long)(now / 1000), (unsigned)(now % 1000));

	used += vsnprintf(line + used, sizeof line - (size_t)used, format, args);
	if (used > (int)sizeof line - 64)
		used = (int)sizeof line - 64;
	if (suppressed > 0)
		used += snprintf(
		    line + used, 62, " (%u more like this not shown)", (unsigned)suppressed);
	line[used++] = '\n';
	log_write(line, (size_t)used);
}

void log_say(const char *format, ...)
{
	char line[LOG_LINE_MAX] = "paprika: ";
	size_t used = strlen(line);
	va_list args;

	va_start(args, format);
	vsnprintf(line + used, sizeof line - used - 1, format, args);
	va_end(args);
	strcat(line, "\n");
	log_write(line, strlen(line));
}

void log_line(enum log_level level, const char *format, ...)
{
	va_list args;

	if (level > log_level)
		return;
	va_start(args, format);
	log_format(level, 0, format, args);
	va_end(args);
}

void log_guest(struct log_limit *limit, enum log_level level, const char *format, ...)
{
	va_list args;

	if (level > log_level)
		return;
	if (atomic_fetch_add(&limit->lines, 1) >= LOG_GUEST_BURST) {
		uint64_t now = clock_ms(), last = atomic_load(&limit->last_ms);

		atomic_store(&limit->lines, LOG_GUEST_BURST);
		if (now - last < 1000 ||
		    !atomic_compare_exchange_strong(&limit->last_ms, &last, now)) {
			atomic_fetch_add(&limit->suppressed, 1);
			return;
		}
	}
	va_start(args, format);
	log_format(level, atomic_exchange(&limit->suppressed, 0), format, args);
	va_end(args);
}
