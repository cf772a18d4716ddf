/* SPDX-License-Identifier: Apache-2.0 */
/* listen.c - see listen.h. Nothing here waits for anyone. */
#include "control/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 16

/* An error about a path the operator chose. */
static bool listen_refuse(const char *path, const char *what, int error_number, const char *hint,
    const char *text, struct err *err)
{
	if (error_number == 0)
		return err_set(err, ERR_USAGE, hint, "%s %.200s %s", what, path, text);
	err_system(err, error_number, hint, "%s %.200s %s", what, path, text);
	err->class = ERR_USAGE;
	return false;
}

/* Remove a socket that no process listens on any more; refuse everything else. */
static bool listen_clear_path(
    const char *path, const char *what, const struct sockaddr_un *address, struct err *err)
{
	struct stat status;
	int fd, result;

	if (lstat(path, &status) < 0)
		return errno == ENOENT || listen_refuse(path, what, errno,
		                              "choose a path in a directory you may write to",
		                              "cannot be created", err);
	if (!S_ISSOCK(status.st_mode))
		return listen_refuse(path, what, 0, "choose another path",
		    "is the name of a file that is not a socket", err);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_system(err, errno, NULL, "cannot create the %s", what);
	result = connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ? 0 : errno;
	close(fd);
	/* EAGAIN: its queue is full, so a process does listen. */
	if (result == 0 || result == EAGAIN)
		return listen_refuse(path, what, 0,
		    "choose another path, or end the process that has it",
		    "is in use by a running process", err);
	if (result != ECONNREFUSED && result != ENOENT)
		return listen_refuse(path, what, result, "choose another path, or remove the file",
		    "cannot be replaced", err);
	if (unlink(path) < 0 && errno != ENOENT)
		return listen_refuse(path, what, errno, "choose another path, or remove the file",
		    "is left over and cannot be removed", err);
	return true;
}

int listen_unix(
    const char *path, const char *what, struct listen_identity *ret_identity, struct err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct stat status;
	int fd;

	if (strlen(path) >= sizeof address.sun_path || path[0] == '\0') {
		err_set(err, ERR_USAGE, "use a path of 1 to 107 bytes, perhaps a relative one",
		    "the path of the %s has %zu bytes: %.200s", what, strlen(path), path);
		return -1;
	}
	strcpy(address.sun_path, path);
	if (!listen_clear_path(path, what, &address, err))
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		err_system(err, errno, NULL, "cannot create the %s", what);
		return -1;
	}
	/* Before bind, the mode of the descriptor becomes that of the file: others can
	 * never connect, not even for a moment. */
	if (fchmod(fd, 0600) < 0 ||
	    bind(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
		listen_refuse(path, what, errno, "choose a path in a directory you may write to",
		    "cannot be created", err);
		close(fd);
		return -1;
	}
	if (listen(fd, BACKLOG) < 0 || lstat(path, &status) < 0) {
		listen_refuse(
		    path, what, errno, "choose another path", "cannot be listened on", err);
		unlink(path);
		close(fd);
		return -1;
	}
	*ret_identity = (struct listen_identity){.device = status.st_dev, .inode = status.st_ino};
	return fd;
}

static bool is_number(const char *text, long number)
{
	char expected[24];

	snprintf(expected, sizeof expected, "%ld", number);
	return text != NULL && strcmp(text, expected) == 0;
}

/* The value of a socket option, or -1. */
static int socket_option(int fd, int option)
{
	int value = -1;
	socklen_t length = sizeof value;

	return getsockopt(fd, SOL_SOCKET, option, &value, &length) == 0 ? value : -1;
}

int listen_passed(const char *what, struct err *err)
{
	static const char hint[] = "start it from a systemd service with one ListenStream=/PATH, "
	                           "or give a path (./systemd for a file of that name)";
	/* LISTEN_PID is of this process, or it was not meant for us. */
	bool passed = is_number(getenv("LISTEN_PID"), getpid());
	bool one = is_number(getenv("LISTEN_FDS"), 1);
	int flags = fcntl(LISTEN_FD, F_GETFL);

	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	if (!passed || !one) {
		err_set(err, ERR_USAGE, hint, "%s: systemd passed %s", what,
		    passed ? "not one socket but another number" : "no socket");
		return -1;
	}
	if (flags < 0 || socket_option(LISTEN_FD, SO_DOMAIN) != AF_UNIX ||
	    socket_option(LISTEN_FD, SO_TYPE) != SOCK_STREAM ||
	    socket_option(LISTEN_FD, SO_ACCEPTCONN) != 1) {
		err_set(err, ERR_USAGE, hint,
		    "%s: what systemd passed is not a listening UNIX stream socket", what);
		return -1;
	}
	if (fcntl(LISTEN_FD, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    fcntl(LISTEN_FD, F_SETFD, FD_CLOEXEC) < 0) {
		err_system(err, errno, NULL, "%s: cannot use what systemd passed", what);
		return -1;
	}
	return LISTEN_FD;
}

void listen_unlink(const char *path, const struct listen_identity *identity)
{
	struct stat status;

	if (identity->inode != 0 && lstat(path, &status) == 0 &&
	    status.st_dev == identity->device && status.st_ino == identity->inode)
		unlink(path);
}

bool listen_peer_allowed(int fd)
{
	struct ucred peer;
	socklen_t length = sizeof peer;

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 &&
	       (peer.uid == geteuid() || peer.uid == 0);
}
