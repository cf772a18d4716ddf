/* SPDX-License-Identifier: Apache-2.0 */
/* err.c - see err.h. Nothing here allocates, so an error can always be reported. */
#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool err_fill(struct err *err, enum err_class class, const char *hint, int error_number,
    const char *format, va_list args)
{
	if (err->class != ERR_NONE)
		return false;
	err->class = class;
	vsnprintf(err->message, sizeof err->message, format, args);
	if (error_number != 0) {
		char reason[128];
		size_t used = strlen(err->message);

		/* The GNU strerror_r may return a static string and leave the buffer alone. */
		snprintf(err->message + used, sizeof err->message - used, ": %s",
		    strerror_r(error_number, reason, sizeof reason));
	}
	snprintf(err->hint, sizeof err->hint, "%s", hint ? hint : "");
	return false;
}

bool err_set(struct err *err, enum err_class class, const char *hint, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	err_fill(err, class, hint, 0, format, args);
	va_end(args);
	return false;
}

bool err_system(struct err *err, int error_number, const char *hint, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	err_fill(err, ERR_SYSTEM, hint, error_number, format, args);
	va_end(args);
	return false;
}
