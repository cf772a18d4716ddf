/* SPDX-License-Identifier: Apache-2.0 */
/* log.c - see log.h. A message is formatted first and written with one call, so that lines of
 * several threads do not mix. */
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

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

void log_write(const char *text, size_t length)
{
	while (length > 0) {
		ssize_t written = write(STDERR_FILENO, text, length);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return;
		text += written;
		length -= (size_t)written;
	}
}

static void write_line(enum log_level level, uint32_t suppressed, const char *format, va_list args)
{
	char line[1024];
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

void log_line(enum log_level level, const char *format, ...)
{
	va_list args;

	if (level > log_level)
		return;
	va_start(args, format);
	write_line(level, 0, format, args);
	va_end(args);
}

void log_guest(struct log_limit *limit, enum log_level level, const char *format, ...)
{
	va_list args;
	uint64_t now = clock_ms();

	if (level > log_level)
		return;
	if (atomic_fetch_add(&limit->lines, 1) >= LOG_GUEST_BURST) {
		uint64_t last = atomic_load(&limit->last_ms);

		atomic_store(&limit->lines, LOG_GUEST_BURST);
		if (now - last < 1000 ||
		    !atomic_compare_exchange_strong(&limit->last_ms, &last, now)) {
			atomic_fetch_add(&limit->suppressed, 1);
			return;
		}
	}
	va_start(args, format);
	write_line(level, atomic_exchange(&limit->suppressed, 0), format, args);
	va_end(args);
}
