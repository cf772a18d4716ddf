/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_listen.c - the control socket's file: its mode, and what may be in its place.
 */
#include "control_fixture.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* --- The socket file ------------------------------------------------------------------------ */

static void test_socket_mode(void **state)
{
	struct fixture *fixture = *state;
	struct stat status;

	assert_int_equal(stat(fixture->path, &status), 0);
	assert_true(S_ISSOCK(status.st_mode));
	assert_int_equal(status.st_mode & 0777, 0600);
}

static void expect_refused(struct fixture *fixture, const char *path, const char *part)
{
	struct err err = {0};

	assert_null(
	    control_create(fixture->loop, path, &fixture->vmm.guest, &fixture->vmm.bus, &err));
	assert_int_not_equal(err.class, ERR_NONE);
	if (strstr(err.message, part) == NULL)
		fail_msg("got '%s', expected '%s'", err.message, part);
}

static void test_path_is_served(void **state)
{
	struct fixture *fixture = *state;

	expect_refused(fixture, fixture->path, "is in use");
	peer_destroy(peer_create_negotiated(fixture));
}

static void test_path_that_cannot_be(void **state)
{
	struct fixture *fixture = *state;
	char path[256];

	expect_refused(fixture, "", "has 0 bytes");
	memset(path, 'p', sizeof path - 1);
	path[sizeof path - 1] = '\0';
	path[0] = '/';
	expect_refused(fixture, path, "has 255 bytes");
	path[108] = '\0';
	expect_refused(fixture, path, "has 108 bytes");
	snprintf(path, sizeof path, "%s/none/control", fixture->directory);
	expect_refused(fixture, path, "No such file or directory");
	expect_refused(fixture, fixture->directory, "not a socket");
}

static void test_path_is_a_file(void **state)
{
	struct fixture *fixture = *state;
	char path[80];
	FILE *file;

	snprintf(path, sizeof path, "%s/file", fixture->directory);
	file = fopen(path, "w");
	assert_non_null(file);
	fclose(file);
	expect_refused(fixture, path, "not a socket");
	assert_int_equal(unlink(path), 0);
	/* Nor is a link followed, even to a socket. */
	assert_int_equal(symlink(fixture->path, path), 0);
	expect_refused(fixture, path, "not a socket");
	assert_int_equal(unlink(path), 0);
}

static void test_stale_socket(void **state)
{
	struct fixture *fixture = *state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct control *control;
	struct err err = {0};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof address.sun_path, "%s/stale", fixture->directory);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	close(fd);
	control = control_create(
	    fixture->loop, address.sun_path, &fixture->vmm.guest, &fixture->vmm.bus, &err);
	assert_non_null(control);
	close(connect_to(address.sun_path));
	control_destroy(control);
	assert_int_equal(access(address.sun_path, F_OK), -1);
}

/* What is at the path when we go, but is not ours, stays. */
static void test_replaced_socket_stays(void **state)
{
	struct fixture *fixture = *state;
	char path[80];
	struct control *first, *second;
	struct err err = {0};

	snprintf(path, sizeof path, "%s/other", fixture->directory);
	first = control_create(fixture->loop, path, &fixture->vmm.guest, &fixture->vmm.bus, &err);
	assert_non_null(first);
	assert_int_equal(unlink(path), 0);
	second = control_create(fixture->loop, path, &fixture->vmm.guest, &fixture->vmm.bus, &err);
	assert_non_null(second);
	control_destroy(first);
	assert_int_equal(access(path, F_OK), 0);
	control_destroy(second);
	assert_int_equal(access(path, F_OK), -1);
	control_destroy(NULL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    TEST(test_socket_mode),
	    TEST(test_path_is_served),
	    TEST(test_path_that_cannot_be),
	    TEST(test_path_is_a_file),
	    TEST(test_stale_socket),
	    TEST(test_replaced_socket_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
