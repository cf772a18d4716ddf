/* SPDX-License-Identifier: Apache-2.0 */
/*
 * setup_walk.c - the sandbox is entered again and again, and each time another call of the C
 * library fails: the first, the second, and so on until all succeed. Whatever fails, entering says
 * so, names what could not be done, and leaves no descriptor open; or the sandbox holds all the
 * same, because the call was of no consequence. One that could not be made and does not say so
 * would be worse than none.
 *
 * The walks of tests/faults leave the sandbox out, because its rules would end a process that is
 * being looked at; here each try is a process of its own that does nothing else. What libseccomp
 * does within itself is not made to fail: version 2.5.4 crashes when it gets no memory.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faults/faults.h"
#include "sandbox/sandbox.h"

enum { TRIES_MAX = 10000, FILES = 64 };
enum ending { COMPLETE, REFUSED, SILENT, LEAKING, HOLDING };

static struct shared {
	struct fault_report report;
	struct err err;
} * shared;

static unsigned open_files(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < FILES; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static enum ending enter(uint32_t number)
{
	static const char *const removable[] = {"./control"};
	struct err *err = &shared->err;
	struct sandbox *sandbox;
	int wake = eventfd(0, EFD_CLOEXEC);
	unsigned files;
	bool entered;

	if (wake < 0)
		return SILENT;
	files = open_files();
	fault_arm(FAULT_ONCE, number, &shared->report);
	/* The eventfd is among those kept. */
	sandbox = sandbox_create((const int[]){3, 4, 5, 6, 7}, 5, err);
	entered = sandbox != NULL && sandbox_enter(sandbox, 4, removable, 1, wake,
	                                 SANDBOX_PCI | SANDBOX_NET | SANDBOX_VHOST, err);
	if (entered && !sandbox_enter_vcpu(sandbox, err))
		return err->message[0] != '\0' ? REFUSED : SILENT; /* it may look no more */
	fault_disarm();
	if (entered && shared->report.fired == NULL)
		return COMPLETE;
	if (entered)
		syscall(SYS_getppid); /* ends the process, if the filters are there */
	sandbox_destroy(sandbox);
	if (open_files() > files)
		return LEAKING;
	return err->class != ERR_NONE && err->message[0] != '\0' ? REFUSED : SILENT;
}

static int enter_in_child(uint32_t number)
{
	int status;
	pid_t child;

	memset(shared, 0, sizeof *shared);
	child = fork();
	/* The end of a thread is all that a vCPU's may call. */
	if (child == 0)
		syscall(SYS_exit, enter(number));
	if (child < 0 || waitpid(child, &status, 0) != child)
		return -1;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		return HOLDING;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int main(void)
{
	unsigned refused = 0, holding = 0;

	shared =
	    mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return 1;
	for (uint32_t number = 1; number < TRIES_MAX; number++) {
		int ending = enter_in_child(number);

		if (ending == COMPLETE) {
			printf("%u calls: %u refusals, %u of no consequence\n",
			    (unsigned)shared->report.count, refused, holding);
			return refused > 20 ? 0 : 1;
		}
		holding += ending == HOLDING;
		if (ending == HOLDING)
			continue;
		if (ending != REFUSED) {
			printf("call %u, %s: %s; \"%s\"\n", number,
			    shared->report.fired != NULL ? shared->report.fired : "none",
			    ending == LEAKING  ? "a descriptor is left open"
			    : ending == SILENT ? "nobody is told"
			                       : "the process dies",
			    shared->err.message);
			return 1;
		}
		refused++;
	}
	return 1;
}
