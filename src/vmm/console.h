/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console.h - the operator's end of the guest's hvc console: standard input and output, a
 * file, a pty, a UNIX socket, or nowhere. Buffers are bounded, and the loop never blocks: output
 * that a slow reader does not take is dropped, oldest first, and counted.
 */
#ifndef PAPRIKA_CONSOLE_H
#define PAPRIKA_CONSOLE_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "spapr/spapr.h"
#include "vmm/options.h"

struct console;

/* on_escape is called when the person types Ctrl-A x on stdio. */
struct console *console_create(struct ev_loop *loop, const struct options *options,
    struct spapr *machine, void (*on_escape)(void *context), void *context, struct err *err);

/* Fetch what the guest printed and pass it on: on SPAPR_NEWS_CONSOLE, which also says that the
 * guest has made room for input. */
void console_poll(struct console *console);

/* Pass on what is left (waiting at most a quarter of a second for a reader that is slow),
 * restore the terminal, remove the socket. NULL is allowed. */
void console_destroy(struct console *console);

#endif
