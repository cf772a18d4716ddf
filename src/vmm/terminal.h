/* SPDX-License-Identifier: Apache-2.0 */
/*
 * terminal.h - standard input and output as the console's end: without blocking the loop, and, if
 * they are a terminal, in raw mode until the end.
 */
#ifndef PAPRIKA_TERMINAL_H
#define PAPRIKA_TERMINAL_H

#include <stdbool.h>

/*
 * A non-blocking descriptor for standard input (O_RDONLY) or output (O_WRONLY). Both are shared
 * with other processes, and O_NONBLOCK belongs to what is shared; so terminals and pipes are opened
 * anew
 * (*ret_own is true then: the caller closes it), and only what refuses that gets the flag, until
 * terminal_restore(). Files do not block, and sockets are asked call by call (MSG_DONTWAIT). -1
 * with errno set if there is nothing usable.
 */
int terminal_open_standard(int fd, int access, bool *ret_own);

/* A process in the background would be stopped for touching its terminal. True if fd is no
 * controlling terminal. */
bool terminal_in_foreground(int fd);

/* Have every key sent as it is, if standard input is a terminal. */
void terminal_make_raw(void);

/* Put back what was changed. Async-signal-safe; called again, it does nothing. */
void terminal_restore(void);

/* What to do with a byte that was typed on stdio. */
enum terminal_escape {
	TERMINAL_SEND,    /* it is the guest's */
	TERMINAL_SWALLOW, /* it began or ended an escape that does nothing */
	TERMINAL_QUIT,    /* Ctrl-A x */
	TERMINAL_HELP,    /* Ctrl-A ? */
};

/* *escaped is the whole state: the byte before was Ctrl-A. Ctrl-A Ctrl-A sends one. */
enum terminal_escape terminal_escape_step(bool *escaped, unsigned char byte);

#endif
