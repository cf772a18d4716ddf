/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.h - one line per message on standard error: level, seconds of the monotonic clock, text.
 *
 * Whatever a guest can cause to be logged goes through log_guest() with a limiter of its own,
 * so that no guest can fill a disk: after the first lines only a count is kept, which the next
 * line that gets through reports.
 */
#ifndef PAPRIKA_LOG_H
#define PAPRIKA_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* The only global of the program. */
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

/* Write text to standard error, also if it is interrupted or goes in pieces. If standard error is
 * gone, there is nothing to be done. */
void log_write(const char *text, size_t length);

/* Milliseconds of the monotonic clock, the only clock operations are timed with. */
uint64_t clock_ms(void);

#endif
