/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.h - one line per message on standard error: level, seconds of the monotonic clock, text.
 *
 * Whatever a guest can cause to be logged goes through log_guest() with a limiter of its own,
 * so that no guest can fill a disk: after the first lines only a count is kept, which the next
 * line that gets through reports.
 *
 * After log_never_wait() no line waits for a reader, in any thread: what standard error does not
 * take is dropped and counted, and the count is a line of its own as soon as one is taken again.
 */
#ifndef PAPRIKA_LOG_H
#define PAPRIKA_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Lines above this level are not written. */
extern enum log_level log_level;

/* Parse "error", "warn", "info" or "debug"; false if the name is unknown. */
bool log_level_from_name(const char *name, enum log_level *ret_level);

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* At most LOG_GUEST_BURST lines, and then one a second; any thread. Zero-initialised. */
#define LOG_GUEST_BURST 8
struct log_limit {
	_Atomic uint32_t lines;
	_Atomic uint32_t suppressed;
	_Atomic uint64_t last_ms;
};

void log_guest(struct log_limit *limit, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A line for the operator whatever the log's level is: "paprika: " and the text. */
void log_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Write one line, at most LOG_LINE_MAX bytes with its newline; what is longer is cut. Any thread.
 */
#define LOG_LINE_MAX 1024
void log_write(const char *line, size_t length);

/*
 * From now on nothing here waits for standard error. Opens standard error anew if it can
 * block, because O_NONBLOCK would affect every process that shares the present description.
 * Before threads are made, and before the sandbox closes: it needs /proc.
 */
void log_never_wait(void);

/* True if lines are left to be written: then log_catch_up() is to be called when standard error can
 * be written to. Never true if it is a file. */
bool log_is_behind(void);
void log_catch_up(void);

/* Before a last line, and at the end: let a slow reader take what is left. Waits for at most a
 * quarter of a second, all calls together. */
void log_settle(void);

/* For a signal handler that is about to end the process: write without waiting or locking. */
void log_write_dying(const char *line, size_t length);

/* Milliseconds of the monotonic clock, the only clock operations are timed with. */
uint64_t clock_ms(void);

#endif
