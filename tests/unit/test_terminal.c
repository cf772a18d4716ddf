/* SPDX-License-Identifier: Apache-2.0 */
/* test_terminal.c - the console on stdio and on a pty. */
#include "console_fixture.h"

#include "vmm/terminal.h"

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

/* --- stdio and pty ------------------------------------------------------------------------- */

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
	/* Without a reader nothing blocks, and nothing is read back as input. */
	printed_length = sizeof printed;
	console_poll(console);
	run_pending();
	assert_int_equal(printed_taken, printed_length);
	assert_int_equal(typed_length, 5);
	console_destroy(console);
	close(error[0]);
	close(error[1]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    TEST(test_escape),
	    TEST(test_stdio_pipes),
	    TEST(test_stdio_broken),
	    TEST(test_stdio_slow),
	    TEST(test_stdio_terminal),
	    TEST(test_restore),
	    TEST(test_pty),
	};

	return cmocka_run_group_tests_name("terminal", tests, make_directory, remove_directory);
}
