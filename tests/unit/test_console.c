/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_console.c - the console between a machine of this file's own and each of its ends.
 *
 * The machine is two byte strings: what the guest has printed, and what was typed at it, the
 * latter with as much room as a test allows. The other end is really there: a pipe, a pty, a
 * socket, a file.
 */
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
#include "vmm/terminal.h"

#define RING_BYTES 65536u

static char directory[] = "/tmp/paprika-console-XXXXXX";
static char path[64];

static struct ev_loop *loop;
static struct options options;
static struct err err;
static int escapes;

/* --- The machine --------------------------------------------------------------------------- */

static uint8_t printed[256 * 1024];
static size_t printed_length, printed_taken;
static uint8_t typed[16384];
static size_t typed_length, typed_room;

size_t spapr_console_read(struct spapr *machine, void *to, size_t size)
{
	size_t length = printed_length - printed_taken;

	(void)machine;
	if (length > size)
		length = size;
	memcpy(to, printed + printed_taken, length);
	printed_taken += length;
	return length;
}

size_t spapr_console_write(struct spapr *machine, const void *from, size_t size)
{
	(void)machine;
	if (size > typed_room)
		size = typed_room;
	assert_true(typed_length + size <= sizeof typed);
	memcpy(typed + typed_length, from, size);
	typed_length += size;
	typed_room -= size;
	return size;
}

static void print(const char *text)
{
	memcpy(printed + printed_length, text, strlen(text));
	printed_length += strlen(text);
}

static void on_escape(void *context)
{
	assert_ptr_equal(context, &escapes);
	escapes++;
}

static struct console *create(enum console_kind kind, const char *console_path)
{
	memset(&options, 0, sizeof options);
	options.console = kind;
	snprintf(options.console_path, sizeof options.console_path, "%s", console_path);
	err = (struct err){0};
	return console_create(loop, &options, NULL, on_escape, &escapes, &err);
}

/* Run the loop until that much has been typed at the guest. */
static void run_until_typed(size_t length)
{
	while (typed_length < length)
		ev_run(loop, EVRUN_ONCE);
	assert_int_equal(typed_length, length);
}

static void run_pending(void)
{
	for (int i = 0; i < 16; i++)
		ev_run(loop, EVRUN_NOWAIT);
}

static void expect_read(int fd, const char *text)
{
	char buffer[256];
	size_t length = 0;

	while (length < strlen(text)) {
		ssize_t got = read(fd, buffer + length, strlen(text) - length);

		assert_true(got > 0);
		length += (size_t)got;
	}
	assert_memory_equal(buffer, text, length);
}

static void send_text(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* --- The escape ---------------------------------------------------------------------------- */

static void test_escape(void **state)
{
	(void)state;
	for (unsigned byte = 0; byte < 256; byte++) {
		bool escaped = false;
		enum terminal_escape result = terminal_escape_step(&escaped, (uint8_t)byte);

		assert_int_equal(result, byte == 1 ? TERMINAL_SWALLOW : TERMINAL_SEND);
		assert_int_equal(escaped, byte == 1);
		escaped = true;
		result = terminal_escape_step(&escaped, (uint8_t)byte);
		assert_false(escaped);
		if (byte == 1)
			assert_int_equal(result, TERMINAL_SEND);
		else if (byte == 'x' || byte == 'X')
			assert_int_equal(result, TERMINAL_QUIT);
		else if (byte == '?' || byte == 'h')
			assert_int_equal(result, TERMINAL_HELP);
		else
			assert_int_equal(result, TERMINAL_SWALLOW);
	}
}

/* --- none and file ------------------------------------------------------------------------- */

static void test_none(void **state)
{
	struct console *console = create(CONSOLE_NONE, "");

	(void)state;
	assert_non_null(console);
	printed_length = sizeof printed;
	console_poll(console);
	run_pending();
	assert_int_equal(printed_taken, printed_length);
	console_destroy(console);
	console_destroy(NULL);
}

static void test_file(void **state)
{
	struct stat status;
	int fd;

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct console *console = create(CONSOLE_FILE, path);

		assert_non_null(console);
		print(i == 0 ? "first\n" : "second\n");
		console_poll(console);
		print("last words\n");
		console_poll(console);
		console_destroy(console);
	}
	fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	expect_read(fd, "first\nlast words\nsecond\nlast words\n");
	close(fd);
}

static void test_file_errors(void **state)
{
	(void)state;
	assert_null(create(CONSOLE_FILE, directory));
	assert_int_equal(err.class, ERR_USAGE);
	assert_non_null(strstr(err.message, directory));
	assert_null(create(CONSOLE_FILE, "/nonexistent/console"));
	assert_non_null(strstr(err.message, "/nonexistent/console"));
	/* A FIFO that nobody reads. */
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_null(create(CONSOLE_FILE, path));
	assert_int_equal(err.class, ERR_USAGE);
}

/* A disk without room is no reason to stop, nor to keep what nobody takes. */
static void test_file_full(void **state)
{
	struct console *console = create(CONSOLE_FILE, "/dev/full");

	(void)state;
	assert_non_null(console);
	printed_length = sizeof printed;
	console_poll(console);
	run_pending();
	assert_int_equal(printed_taken, printed_length);
	console_destroy(console);
}

/* --- unix ---------------------------------------------------------------------------------- */

static int connect_client(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, path);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
	run_pending();
	return fd;
}

static void test_unix(void **state)
{
	struct console *console = create(CONSOLE_UNIX, path);
	struct stat status;
	int first, second;
	char byte;

	(void)state;
	assert_non_null(console);
	assert_int_equal(lstat(path, &status), 0);
	assert_int_equal(status.st_mode, S_IFSOCK | 0600);
	print("before ");
	console_poll(console);
	first = connect_client();
	expect_read(first, "before ");
	print("while");
	console_poll(console);
	expect_read(first, "while");
	/* No escapes here: a program may send anything. */
	send_text(first, "ls\n\001x");
	run_until_typed(5);
	assert_memory_equal(typed, "ls\n\001x", 5);
	assert_int_equal(escapes, 0);
	second = connect_client();
	expect_read(second, "paprika: the console is in use");
	close(second);
	/* Half closed is not gone, but makes way. */
	assert_int_equal(shutdown(first, SHUT_WR), 0);
	run_pending();
	print("half");
	console_poll(console);
	expect_read(first, "half");
	second = connect_client();
	assert_int_equal(read(first, &byte, 1), 0);
	close(first);
	print("new");
	console_poll(console);
	expect_read(second, "new");
	/* Gone without a word. */
	close(second);
	run_pending();
	print("kept");
	console_poll(console);
	second = connect_client();
	expect_read(second, "kept");
	console_destroy(console);
	assert_int_equal(read(second, &byte, 1), 0);
	close(second);
	assert_int_equal(lstat(path, &status), -1);
}

/* What the guest has no room for waits, and its sender with it. */
static void test_unix_backpressure(void **state)
{
	struct console *console = create(CONSOLE_UNIX, path);
	char block[8000];
	int client, other;

	(void)state;
	for (size_t i = 0; i < sizeof block; i++)
		block[i] = (char)('a' + i % 23);
	typed_room = 0;
	client = connect_client();
	assert_int_equal(write(client, block, sizeof block), sizeof block);
	run_pending();
	assert_int_equal(typed_length, 0);
	typed_room = 100;
	console_poll(console);
	run_pending();
	assert_int_equal(typed_length, 100);
	/* A client that left while nothing is read of it does not lock others out. */
	close(client);
	other = connect_client();
	print("hello");
	console_poll(console);
	expect_read(other, "hello");
	/* What had been read of the first is still delivered, in order. */
	typed_room = 924;
	console_poll(console);
	run_pending();
	assert_int_equal(typed_length, 1024);
	assert_memory_equal(typed, block, 1024);
	typed_room = 4096;
	send_text(other, "more");
	run_until_typed(1028);
	close(other);
	console_destroy(console);
}

/* The newest 64 KiB are what a late reader gets. */
static void test_unix_overflow(void **state)
{
	struct console *console = create(CONSOLE_UNIX, path);
	static uint8_t got[RING_BYTES];
	size_t length = 0;
	int client;

	(void)state;
	for (size_t i = 0; i < sizeof printed; i++)
		printed[i] = (uint8_t)(i * 7 + i / 1000);
	printed_length = sizeof printed - 12345;
	console_poll(console);
	run_pending();
	assert_int_equal(printed_taken, printed_length);
	client = connect_client();
	while (length < sizeof got) {
		ssize_t part = recv(client, got + length, sizeof got - length, MSG_DONTWAIT);

		run_pending();
		if (part > 0)
			length += (size_t)part;
	}
	assert_memory_equal(got, printed + printed_length - sizeof got, sizeof got);
	assert_int_equal(recv(client, got, 1, MSG_DONTWAIT), -1);
	close(client);
	console_destroy(console);
}

/* A client that never reads costs no more than the ring, and its end is survived. */
static void test_unix_slow(void **state)
{
	struct console *console = create(CONSOLE_UNIX, path);
	int client = connect_client();

	(void)state;
	for (int i = 0; i < 64; i++) {
		printed_length = sizeof printed;
		printed_taken = 0;
		console_poll(console);
		run_pending();
		assert_int_equal(printed_taken, printed_length);
	}
	close(client);
	run_pending();
	printed_length = 10;
	printed_taken = 0;
	console_poll(console);
	console_destroy(console);
}

static void test_unix_paths(void **state)
{
	struct console *console = create(CONSOLE_UNIX, path);
	char long_path[200];
	struct stat status;
	FILE *file;

	(void)state;
	assert_non_null(console);
	/* Somebody listens. */
	assert_null(create(CONSOLE_UNIX, path));
	assert_int_equal(err.class, ERR_USAGE);
	assert_non_null(strstr(err.message, "in use"));
	run_pending();
	/* Another file took the name: it is not ours to remove. */
	unlink(path);
	file = fopen(path, "w");
	assert_non_null(file);
	fclose(file);
	console_destroy(console);
	assert_int_equal(lstat(path, &status), 0);
	assert_null(create(CONSOLE_UNIX, path));
	assert_non_null(strstr(err.message, "not a socket"));
	unlink(path);
	/* Left behind by the dead. */
	{
		struct sockaddr_un address = {.sun_family = AF_UNIX};
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);

		strcpy(address.sun_path, path);
		assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
		close(fd);
	}
	console = create(CONSOLE_UNIX, path);
	assert_non_null(console);
	console_destroy(console);
	memset(long_path, 'x', sizeof long_path);
	long_path[sizeof long_path - 1] = '\0';
	assert_null(create(CONSOLE_UNIX, long_path));
	assert_non_null(strstr(err.message, "199 bytes"));
	assert_null(create(CONSOLE_UNIX, "/nonexistent/socket"));
	assert_non_null(strstr(err.message, "/nonexistent/socket"));
}

/* --- stdio and pty, with standard files of the test's own ---------------------------------- */

static int saved_files[3];

static void replace_standard(int in, int out, int error)
{
	const int files[] = {in, out, error};

	fflush(stdout);
	for (int fd = 0; fd < 3; fd++) {
		saved_files[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 10);
		if (files[fd] >= 0)
			dup2(files[fd], fd);
	}
}

static void restore_standard(void)
{
	for (int fd = 0; fd < 3; fd++) {
		if (saved_files[fd] < 0)
			continue;
		dup2(saved_files[fd], fd);
		close(saved_files[fd]);
		saved_files[fd] = -1;
	}
}

static void test_stdio_pipes(void **state)
{
	struct console *console;
	int in[2], out[2];
	int flags;

	(void)state;
	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	replace_standard(in[0], out[1], -1);
	flags = fcntl(STDOUT_FILENO, F_GETFL);
	console = create(CONSOLE_STDIO, "");
	print("output");
	console_poll(console);
	send_text(in[1], "a\001\001b\001zc\001?");
	run_until_typed(4);
	/* What is shared with other processes is as it was. */
	assert_int_equal(fcntl(STDOUT_FILENO, F_GETFL), flags);
	send_text(in[1], "\001");
	run_pending();
	assert_int_equal(escapes, 0);
	send_text(in[1], "xd");
	while (escapes == 0)
		ev_run(loop, EVRUN_ONCE);
	close(in[1]);
	run_pending();
	print("last");
	console_poll(console);
	console_destroy(console);
	restore_standard();
	assert_memory_equal(typed, "a\001bc", 4);
	assert_int_equal(escapes, 1);
	expect_read(out[0], "output\r\nCtrl-A x ");
	close(in[0]);
	close(out[0]);
	close(out[1]);
}

/* The reader of standard output is gone, the guest is not. */
static void test_stdio_broken(void **state)
{
	struct console *console;
	int out[2], null = open("/dev/null", O_RDWR);

	(void)state;
	assert_int_equal(pipe(out), 0);
	replace_standard(null, out[1], null);
	close(out[0]);
	console = create(CONSOLE_STDIO, "");
	for (int i = 0; i < 3; i++) {
		print("into the void");
		console_poll(console);
		run_pending();
	}
	console_destroy(console);
	restore_standard();
	assert_int_equal(printed_taken, printed_length);
	close(out[1]);
	close(null);
}

/* A reader that is only slow: the loop goes on, and the last words come at once. */
static void test_stdio_slow(void **state)
{
	struct console *console;
	int out[2], null = open("/dev/null", O_RDWR);

	(void)state;
	assert_int_equal(pipe(out), 0);
	replace_standard(null, out[1], null);
	console = create(CONSOLE_STDIO, "");
	printed_length = sizeof printed;
	console_poll(console);
	run_pending();
	console_destroy(console);
	restore_standard();
	assert_int_equal(printed_taken, printed_length);
	close(out[0]);
	close(out[1]);
	close(null);
}

static int open_terminal(int *ret_slave)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

	assert_true(master >= 0);
	assert_int_equal(grantpt(master), 0);
	assert_int_equal(unlockpt(master), 0);
	*ret_slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(*ret_slave >= 0);
	return master;
}

static void test_stdio_terminal(void **state)
{
	struct termios before, during, after;
	struct console *console;
	int slave, master = open_terminal(&slave), null = open("/dev/null", O_RDWR);

	(void)state;
	assert_int_equal(tcgetattr(slave, &before), 0);
	assert_true(before.c_lflag & ECHO);
	replace_standard(slave, slave, null);
	console = create(CONSOLE_STDIO, "");
	tcgetattr(slave, &during);
	send_text(master, "\003\032\r");
	run_until_typed(3);
	/* A guest that takes nothing cannot keep its operator. */
	typed_room = 0;
	for (int i = 0; i < 100; i++) {
		char flood[100];

		memset(flood, 'y', sizeof flood);
		assert_int_equal(write(master, flood, sizeof flood), sizeof flood);
		run_pending();
	}
	send_text(master, "\001x");
	while (escapes == 0)
		ev_run(loop, EVRUN_ONCE);
	print("bye");
	console_poll(console);
	console_destroy(console);
	restore_standard();
	assert_memory_equal(typed, "\003\032\r", 3);
	assert_false(during.c_lflag & (ECHO | ICANON | ISIG));
	assert_true(during.c_oflag & OPOST);
	expect_read(master, "bye");
	tcgetattr(slave, &after);
	assert_int_equal(after.c_lflag, before.c_lflag);
	assert_int_equal(after.c_iflag, before.c_iflag);
	close(slave);
	close(master);
	close(null);
}

/* The way out of a fatal signal. */
static void test_restore(void **state)
{
	struct termios before, after;
	struct console *console;
	int slave, master = open_terminal(&slave), null = open("/dev/null", O_RDWR);

	(void)state;
	terminal_restore(); /* with nothing to restore */
	tcgetattr(slave, &before);
	replace_standard(slave, slave, null);
	console = create(CONSOLE_STDIO, "");
	terminal_restore();
	tcgetattr(slave, &after);
	console_destroy(console);
	restore_standard();
	assert_int_equal(after.c_lflag, before.c_lflag);
	close(slave);
	close(master);
	close(null);
}

static void test_pty(void **state)
{
	struct console *console;
	char line[128];
	int error[2], client;
	ssize_t got;

	(void)state;
	assert_int_equal(pipe(error), 0);
	replace_standard(-1, -1, error[1]);
	console = create(CONSOLE_PTY, "");
	restore_standard();
	assert_non_null(console);
	got = read(error[0], line, sizeof line - 1);
	assert_true(got > 0);
	line[got - 1] = '\0'; /* the newline */
	assert_non_null(strstr(line, " /dev/"));
	print("before");
	console_poll(console);
	run_pending();
	client = open(strstr(line, " /dev/") + 1, O_RDWR | O_NOCTTY);
	assert_true(client >= 0);
	expect_read(client, "before");
	send_text(client, "date\r");
	run_until_typed(5);
	assert_memory_equal(typed, "date\r", 5);
	close(client);
	run_pending();
	/* Nobody is attached: nothing blocks, nothing comes back as input. */
	printed_length = sizeof printed;
	console_poll(console);
	run_pending();
	assert_int_equal(printed_taken, printed_length);
	assert_int_equal(typed_length, 5);
	console_destroy(console);
	close(error[0]);
	close(error[1]);
}

/* --- Every test begins with a new loop and an empty machine -------------------------------- */

static int set_up(void **state)
{
	(void)state;
	printed_length = printed_taken = typed_length = 0;
	typed_room = sizeof typed;
	escapes = 0;
	saved_files[0] = saved_files[1] = saved_files[2] = -1;
	loop = ev_loop_new(EVFLAG_NOENV | EVBACKEND_EPOLL);
	return loop != NULL ? 0 : -1;
}

static int take_down(void **state)
{
	(void)state;
	restore_standard();
	ev_loop_destroy(loop);
	unlink(path);
	return 0;
}

static int make_directory(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	/* Not a measure of anything: a test that would wait for ever fails instead. */
	alarm(120);
	if (mkdtemp(directory) == NULL)
		return -1;
	snprintf(path, sizeof path, "%s/end", directory);
	return 0;
}

static int remove_directory(void **state)
{
	(void)state;
	return rmdir(directory);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, take_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_escape),
	    TEST(test_none),
	    TEST(test_file),
	    TEST(test_file_errors),
	    TEST(test_file_full),
	    TEST(test_unix),
	    TEST(test_unix_backpressure),
	    TEST(test_unix_overflow),
	    TEST(test_unix_slow),
	    TEST(test_unix_paths),
	    TEST(test_stdio_pipes),
	    TEST(test_stdio_broken),
	    TEST(test_stdio_slow),
	    TEST(test_stdio_terminal),
	    TEST(test_restore),
	    TEST(test_pty),
	};

	return cmocka_run_group_tests_name("console", tests, make_directory, remove_directory);
}
