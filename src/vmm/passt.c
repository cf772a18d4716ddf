/* SPDX-License-Identifier: Apache-2.0 */
/*
 * passt.c - see passt.h. passt goes into the background when it is ready: its first process ends
 * then, and says by its status whether all is well. What it wrote until then is the reason.
 */
#include "vmm/passt.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define REMEDY_INSTALL "install it (Debian: apt install passt), or use --net tap=NAME or unix=PATH"
#define REMEDY_START "see what it says; passt --foreground shows it, too"

/* The number of the socket's descriptor in passt. */
enum { PASST_FD = 3 };

/* 0, or an errno. */
static int passt_spawn(int socket, int errors, uint16_t mtu, pid_t *ret_pid)
{
	char fd[8], bytes[8];
	char *arguments[] = {
	    "passt", "--quiet", "--fd", fd, mtu != 0 ? "--mtu" : NULL, bytes, NULL};
	char *environment[] = {"PATH=/usr/bin:/bin", NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, all;
	int error;

	snprintf(fd, sizeof fd, "%d", PASST_FD);
	snprintf(bytes, sizeof bytes, "%u", mtu);
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	error = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDWR, 0);
	if (error == 0)
		error = posix_spawn_file_actions_adddup2(&actions, STDIN_FILENO, STDOUT_FILENO);
	if (error == 0)
		error = posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
	if (error == 0)
		error = posix_spawn_file_actions_adddup2(&actions, socket, PASST_FD);
	if (error == 0)
		error = posix_spawn_file_actions_addclosefrom_np(&actions, PASST_FD + 1);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	if (error == 0)
		error =
		    posix_spawnp(ret_pid, "passt", &actions, &attributes, arguments, environment);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return error;
}

/* The last line that is not about the system's log, which may not be there. */
static void passt_read_reason(int errors, char *reason, size_t size)
{
	char text[1024];
	size_t used = 0;
	ssize_t more;

	reason[0] = '\0';
	do {
		char *line = text, *end;

		more = read(errors, text + used, sizeof text - 1 - used);
		if (more < 0 && errno == EINTR)
			continue;
		used += more > 0 ? (size_t)more : 0;
		text[used] = '\0';
		/* At the end, and of a line that is too long, what there is. */
		while ((end = strchr(line, '\n')) != NULL ||
		       (line[0] != '\0' && (more <= 0 || line + sizeof text - 1 == text + used))) {
			size_t length = strcspn(line, "\n");

			if (length > 0 && strncmp(line, "Failed to send", 14) != 0)
				snprintf(reason, size, "%.*s", (int)length, line);
			line += length + (end != NULL);
		}
		used -= (size_t)(line - text);
		memmove(text, line, used);
	} while (more > 0 || (more < 0 && errno == EINTR));
}

static void passt_wait(pid_t pid, int errors, const char *name, struct err *err)
{
	char reason[160];
	int status = 0;

	passt_read_reason(errors, reason, sizeof reason);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		err_set(err, ERR_HOST, REMEDY_START, "net %s: passt has not started: %s", name,
		    reason[0] != '\0' ? reason : "it does not say why");
}

int passt_start(const char *name, uint16_t mtu, struct err *err)
{
	static const struct sigaction usual = {.sa_handler = SIG_DFL};
	int sockets[2] = {-1, -1}, errors[2] = {-1, -1}, error = 0;
	struct sigaction before;
	pid_t pid;

	/* Where the signal is ignored, by who started us or for virtiofsd, a status gets lost. */
	sigaction(SIGCHLD, &usual, &before);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0 ||
	    pipe2(errors, O_CLOEXEC) < 0)
		err_system(err, errno, "raise ulimit -n", "net %s: cannot make a socket", name);
	else if ((error = passt_spawn(sockets[1], errors[1], mtu, &pid)) != 0)
		err_set(err, ERR_HOST, REMEDY_INSTALL, "net %s: cannot start passt: %s", name,
		    strerror(error));
	if (sockets[1] >= 0)
		close(sockets[1]);
	if (errors[1] >= 0)
		close(errors[1]);
	if (err->class == ERR_NONE)
		passt_wait(pid, errors[0], name, err);
	sigaction(SIGCHLD, &before, NULL);
	if (errors[0] >= 0)
		close(errors[0]);
	if (err->class == ERR_NONE)
		return sockets[0];
	if (sockets[0] >= 0)
		close(sockets[0]);
	return -1;
}

bool passt_try(char *reason, size_t size, const char **ret_remedy)
{
	static const char prefix[] = "net check: ";
	struct err err = {0};
	int socket = passt_start("check", 0, &err);

	if (socket >= 0) {
		close(socket);
		return true;
	}
	*ret_remedy = strcmp(err.hint, REMEDY_INSTALL) == 0 ? REMEDY_INSTALL : REMEDY_START;
	snprintf(reason, size, "%s",
	    err.message +
	        (strncmp(err.message, prefix, sizeof prefix - 1) == 0 ? sizeof prefix - 1 : 0));
	return false;
}
