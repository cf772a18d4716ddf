/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inside.c - enters the sandbox as the loop's thread does, and says what is left of the file
 * system: with Landlock, removing a file beside the socket, and nothing elsewhere.
 *
 * usage: sandbox_inside SOCKET-PATH FILE-ELSEWHERE [CALL]; removes both if it can, and says so.
 * With CALL on a kernel that does not have that system call.
 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/sandbox.h"

/* As on a kernel without this call. */
static bool take_away(const char *call)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int number = seccomp_syscall_resolve_name(call);
	bool good = filter != NULL && number >= 0 &&
	            seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), number, 0) == 0 &&
	            seccomp_load(filter) == 0;

	seccomp_release(filter);
	return good;
}

static void report(const char *what, int result)
{
	char line[128];
	int length = snprintf(
	    line, sizeof line, "%s: %s\n", what, result == 0 ? "done" : strerrorname_np(errno));

	if (write(STDOUT_FILENO, line, (size_t)length) < 0)
		_exit(1);
}

int main(int argc, char **argv)
{
	const char *const removable[] = {argc > 2 ? argv[1] : "", ""};
	bool landlock;
	int wake;
	struct err err = {0};
	struct sandbox *sandbox;

	if (argc > 3 && !take_away(argv[3]))
		return 2;
	landlock = syscall(SYS_landlock_create_ruleset, NULL, 0, 1) > 0;
	sandbox = sandbox_create(NULL, 0, &err);
	wake = eventfd(0, EFD_CLOEXEC);
	if (argc < 3 || sandbox == NULL || wake < 0 ||
	    !sandbox_enter(
	        sandbox, 4, removable, 2, wake, SANDBOX_PCI | SANDBOX_NET | SANDBOX_VHOST, &err)) {
		fprintf(stderr, "%s\n", err.message);
		return 1;
	}
	report(landlock ? "with Landlock" : "without Landlock", 0);
	report("elsewhere", unlink(argv[2]));
	report("beside", unlink(argv[1]));
	sandbox_destroy(sandbox);
	_exit(0);
}
