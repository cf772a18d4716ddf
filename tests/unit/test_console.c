/* SPDX-License-Identifier: Apache-2.0 */
/* test_console.c - the console's ends none, file and unix. */
#include "console_fixture.h"

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
	/* A FIFO without a reader. */
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_null(create(CONSOLE_FILE, path));
	assert_int_equal(err.class, ERR_USAGE);
}

/* A full disk is no reason to stop, nor to keep what cannot be written. */
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
	/* A process listens there. */
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

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    TEST(test_none),
	    TEST(test_file),
	    TEST(test_file_errors),
	    TEST(test_file_full),
	    TEST(test_unix),
	    TEST(test_unix_backpressure),
	    TEST(test_unix_overflow),
	    TEST(test_unix_slow),
	    TEST(test_unix_paths),
	};

	return cmocka_run_group_tests_name("console", tests, make_directory, remove_directory);
}
