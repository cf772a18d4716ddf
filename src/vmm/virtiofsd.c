/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtiofsd.c - see virtiofsd.h.
 *
 * There are two programs of this name: one in C, which came with QEMU until 7.2 (Debian 12) and
 * serves root only, and its successor in Rust, which serves ordinary users, too. Both want a socket
 * that listens. It has a name that the kernel makes up, and is connected to before they begin: they
 * accept one connection, the first.
 */
#include "vmm/virtiofsd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Where distributions have them. */
static const struct {
	const char *path;
	bool rust;
} programs[] = {{"/usr/libexec/virtiofsd", true}, {"/usr/lib/virtiofsd", true},
    {"/usr/bin/virtiofsd", true}, {"/usr/lib/qemu/virtiofsd", false}};

#define PROGRAMS (sizeof programs / sizeof programs[0])

/* Listening, and connected to; -1, or 0. */
static int virtiofsd_make_sockets(int *ret_listening, int *ret_connected, struct err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t length = sizeof address;

	*ret_listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	*ret_connected = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*ret_listening >= 0 && *ret_connected >= 0 &&
	    bind(*ret_listening, (struct sockaddr *)&address, sizeof address.sun_family) == 0 &&
	    listen(*ret_listening, 1) == 0 &&
	    getsockname(*ret_listening, (struct sockaddr *)&address, &length) == 0 &&
	    connect(*ret_connected, (struct sockaddr *)&address, length) == 0)
		return 0;
	err_system(err, errno, NULL, "cannot make a socket for virtiofsd");
	return -1;
}

/* In the new process: only what may be done behind fork(). */
static void __attribute__((noreturn))
virtiofsd_execute(size_t program, const char *directory, bool readonly, int listening)
{
	char fd[32], source[PATH_MAX + 32];
	const char *rust[] = {"virtiofsd", fd, source, "--sandbox",
	    geteuid() == 0 ? "namespace" : "none", "--log-level", "warn",
	    readonly ? "--readonly" : NULL, NULL};
	const char *c[] = {"virtiofsd", fd, "-o", source, "-o", "log_level=warn", NULL};

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	signal(SIGCHLD, SIG_DFL);
	signal(SIGXFSZ, SIG_DFL);
	fcntl(listening, F_SETFD, 0);
	snprintf(fd, sizeof fd, "--fd=%d", listening);
	snprintf(source, sizeof source, programs[program].rust ? "--shared-dir=%s" : "source=%s",
	    directory);
	execv(programs[program].path, (char **)(uintptr_t)(programs[program].rust ? rust : c));
	_exit(127);
}

static size_t virtiofsd_find(void)
{
	size_t program = 0;

	while (program < PROGRAMS && access(programs[program].path, X_OK) != 0)
		program++;
	return program;
}

const char *virtiofsd_path(const char **ret_limit)
{
	size_t program = virtiofsd_find();

	*ret_limit = NULL;
	if (program == PROGRAMS)
		return NULL;
	if (!programs[program].rust)
		*ret_limit = geteuid() == 0 ? "cannot share read-only" : "serves root only";
	return programs[program].path;
}

static bool virtiofsd_check(
    const char *directory, bool readonly, size_t *ret_program, struct err *err)
{
	struct stat stat_of;

	if (stat(directory, &stat_of) != 0)
		return err_system(err, errno, NULL, "cannot share %.160s", directory);
	if (!S_ISDIR(stat_of.st_mode))
		return err_set(err, ERR_USAGE, "name a directory",
		    "cannot share %.160s: it is none", directory);
	*ret_program = virtiofsd_find();
	if (*ret_program == PROGRAMS)
		return err_set(err, ERR_HOST,
		    "install virtiofsd (Debian 12: qemu-system-common), or start one by hand and "
		    "use --share socket=PATH",
		    "there is no virtiofsd on this host");
	if (programs[*ret_program].rust)
		return true;
	if (readonly)
		return err_set(err, ERR_HOST,
		    "install the later virtiofsd, or share a read-only mount",
		    "%s cannot share a directory read-only", programs[*ret_program].path);
	return geteuid() == 0 ||
	       err_set(err, ERR_HOST,
	           "install the later virtiofsd, or have root start this one and use "
	           "--share socket=PATH",
	           "%s serves root only", programs[*ret_program].path);
}

int virtiofsd_start(const char *directory, bool readonly, struct err *err)
{
	int listening = -1, connected = -1;
	size_t program = 0;
	pid_t child = -1;

	if (!virtiofsd_check(directory, readonly, &program, err))
		return -1;
	if (virtiofsd_make_sockets(&listening, &connected, err) == 0) {
		/* Nobody waits for it: that it has ended is seen by its socket. */
		signal(SIGCHLD, SIG_IGN);
		child = fork();
		if (child == 0)
			virtiofsd_execute(program, directory, readonly, listening);
		if (child < 0)
			err_system(err, errno, NULL, "cannot start virtiofsd");
	}
	if (listening >= 0)
		close(listening);
	if (child < 0 && connected >= 0)
		close(connected);
	return child < 0 ? -1 : connected;
}
