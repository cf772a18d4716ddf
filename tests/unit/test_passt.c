/* SPDX-License-Identifier: Apache-2.0 */
/* test_passt.c - starting passt, in whose place the test puts scripts. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "vmm/passt.h"

static char directory[] = "/tmp/paprika-passt-XXXXXX";
static char path[64];

static void write_script(const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fprintf(file, "#!/bin/sh\n%s\n", text);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, 0700), 0);
}

static void assert_nothing_left(void)
{
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void expect_words(uint16_t mtu, const char *words)
{
	char got[100] = "";
	struct err err = {0};
	int fd = passt_start("net0", mtu, &err);

	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(read(fd, got, sizeof got - 1), strlen(words));
	assert_string_equal(got, words);
	/* Nobody has the other end any more. */
	assert_int_equal(read(fd, got, 1), 0);
	close(fd);
	assert_nothing_left();
}

static void it_gets_a_socket(void **state)
{
	(void)state;
	write_script("echo \"$@\" >&3");
	expect_words(0, "--quiet --fd 3\n");
	expect_words(1400, "--quiet --fd 3 --mtu 1400\n");
}

/* What this process has opened, and how it handles signals, is none of its business. */
static void it_gets_nothing_else(void **state)
{
	int file = open("/dev/null", O_RDONLY);

	(void)state;
	assert_int_equal(dup2(file, 50), 50);
	signal(SIGPIPE, SIG_IGN);
	write_script("[ ! -e /proc/self/fd/50 ] && [ -z \"$PASST_TEST\" ] || exit 1\n"
	             "grep -q '^SigIgn:.*[13579bdf]...$' /proc/self/status && exit 1\n"
	             "echo good >&3");
	setenv("PASST_TEST", "x", 1);
	expect_words(0, "good\n");
	unsetenv("PASST_TEST");
	signal(SIGPIPE, SIG_DFL);
	close(50);
	close(file);
}

static void refused(const char *message, const char *hint)
{
	struct err err = {0};

	assert_int_equal(passt_start("net0", 0, &err), -1);
	assert_int_equal(err.class, ERR_HOST);
	assert_string_equal(err.message, message);
	assert_non_null(strstr(err.hint, hint));
	assert_nothing_left();
}

static void its_last_word_is_the_reason(void **state)
{
	(void)state;
	write_script("echo No interface with a default route >&2\n"
	             "echo >&2; echo Failed to send 9 bytes to syslog >&2; exit 1");
	refused("net net0: passt has not started: No interface with a default route",
	    "passt --foreground");
	write_script("kill -KILL $$");
	refused("net net0: passt has not started: it does not say why", "");
	/* More than is read does not hold it. */
	write_script("i=0; while [ $i -lt 300 ]; do echo $i 0123456789012345678901234567890 >&2; "
	             "i=$((i + 1)); done; printf last >&2; exit 2");
	refused("net net0: passt has not started: last", "");
}

/* As a parent may have left it. */
static void it_is_heard_of_where_children_are_not_waited_for(void **state)
{
	struct sigaction after;

	(void)state;
	signal(SIGCHLD, SIG_IGN);
	write_script("echo no >&2; exit 1");
	refused("net net0: passt has not started: no", "");
	sigaction(SIGCHLD, NULL, &after);
	assert_ptr_equal(after.sa_handler, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
}

static void there_may_be_none(void **state)
{
	(void)state;
	unlink(path);
	refused("net net0: cannot start passt: No such file or directory", "apt install passt");
}

static int set_up(void **state)
{
	(void)state;
	if (mkdtemp(directory) == NULL)
		return -1;
	snprintf(path, sizeof path, "%s/passt", directory);
	return setenv("PATH", directory, 1);
}

static int tear_down(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_gets_a_socket),
	    cmocka_unit_test(it_gets_nothing_else),
	    cmocka_unit_test(its_last_word_is_the_reason),
	    cmocka_unit_test(it_is_heard_of_where_children_are_not_waited_for),
	    cmocka_unit_test(there_may_be_none),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
