/* SPDX-License-Identifier: Apache-2.0 */
/*
 * err.h - an error: its class, what is wrong, and what the operator can do about it.
 *
 * A function that can fail returns bool (or a pointer) and takes a struct err as its last
 * argument. The function that notices the error fills it, once; callers pass it on. The
 * class decides the exit code and the protocol's error class, the message names the thing
 * that is wrong, the hint says what to do about it.
 *
 * PAPR status codes are not errors in this sense: they are returned to the guest.
 */
#ifndef PAPRIKA_ERR_H
#define PAPRIKA_ERR_H

#include <stdbool.h>

enum err_class {
	ERR_NONE = 0,
	ERR_USAGE,     /* the operator asked for something that cannot be: exit code 2 */
	ERR_HOST,      /* the host lacks something we need: exit code 5 */
	ERR_SYSTEM,    /* a system call failed that should not have: exit code 1 */
	ERR_NOT_FOUND, /* a named device, operation or command does not exist */
	ERR_STATE,     /* the request does not fit the present state */
};

struct err {
	enum err_class class;
	char message[384]; /* names the thing; no trailing dot or newline */
	char hint[256];    /* the remedy; may be empty */
};

/*
 * Fill *err unless it already holds an error. hint may be NULL. Always returns false, so that
 * a caller can write: return err_set(err, ERR_USAGE, "use ...", "memory %s ...", text);
 */
bool err_set(struct err *err, enum err_class class, const char *hint, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The same for a failed system call: appends ": " and strerror(error_number). */
bool err_system(struct err *err, int error_number, const char *hint, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
