/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console_fixture.h - the console between a machine of its own and each of its ends.
 *
 * The machine is two byte strings: what the guest has printed, and what was typed at it, the
 * latter with as much room as a test allows. The other end is really there: a pipe, a pty, a
 * socket, a file. Every test begins with a new loop and an empty machine.
 */
#ifndef PAPRIKA_CONSOLE_FIXTURE_H
#define PAPRIKA_CONSOLE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>
#include <cmocka.h>

#include "vmm/console.h"

#define RING_BYTES 65536u

extern char directory[32], path[64]; /* of the end, in a directory of the test */
extern struct ev_loop *loop;
extern struct err err;
extern int escapes;
extern uint8_t printed[256 * 1024];
extern size_t printed_length, printed_taken;
extern uint8_t typed[16384];
extern size_t typed_length, typed_room;

/* The guest prints. */
void print(const char *text);

struct console *create(enum console_kind kind, const char *console_path);

/* Run the loop until that much has been typed at the guest. */
void run_until_typed(size_t length);
void run_pending(void);

void expect_read(int fd, const char *text);
void send_text(int fd, const char *text);

/* Standard files of the test's own; -1: as it is. */
void replace_standard(int in, int out, int error);
void restore_standard(void);

int set_up(void **state);
int take_down(void **state);
int make_directory(void **state);
int remove_directory(void **state);

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, take_down)

#endif
