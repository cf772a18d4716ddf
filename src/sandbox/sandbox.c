/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sandbox.c - see sandbox.h. Here are the steps, in their order; the table of system calls is in
 * rules.c.
 *
 * Limits that are not set, and why. RLIMIT_FSIZE: what may be written to was opened for the
 * operator (--console file:, or standard error in a file), and nothing else can be opened.
 * RLIMIT_AS and _DATA: stacks of vCPUs to come would have to be guessed, and with a wrong guess
 * a core cannot be added; what a guest and clients can make grow is bounded where it grows, and a
 * cgroup (docs/paprika@.service.in) bounds the whole. RLIMIT_NPROC: counts what other
 * processes of the user do, and no process can be made. RLIMIT_MEMLOCK: KVM may count guest
 * memory in it.
 */
#include "sandbox/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "sandbox/rules.h"

#define LEAVE_OUT "find out why, or start with --no-sandbox"

/* Landlock's rights to files, by the version that brought the last of them. Headers may be older
 * than the kernel. */
#define RIGHTS_1 ((UINT64_C(1) << 13) - 1)
#define RIGHTS_2 (RIGHTS_1 | UINT64_C(1) << 13)
#define RIGHTS_3 (RIGHTS_2 | UINT64_C(1) << 14)
#define RIGHTS_5 (RIGHTS_3 | UINT64_C(1) << 15)

#define CALLS_MAX 512

/* si_code: SYS_SECCOMP, which glibc does not know. */
#define BY_SECCOMP 1

struct sandbox {
	struct sock_fprog vcpu, io;
};

/* Names of system calls, for the handler of SIGSYS. It must not call libseccomp, because the
 * refused call may be malloc's own. NULL: unknown. */
static char *call_names[CALLS_MAX];

/* The kind of this thread, for the same handler. */
static __thread const char *thread_kind = " of the loop";

static bool sandbox_cannot(struct err *err, const char *what)
{
	return err_system(err, errno, LEAVE_OUT, "sandbox: cannot %s", what);
}

/* --- Descriptors --------------------------------------------------------------------------- */

static bool is_kept(int fd, const int *keep, size_t keep_count)
{
	for (size_t i = 0; i < keep_count; i++)
		if (keep[i] == fd)
			return true;
	return fd <= STDERR_FILENO;
}

/* The next open descriptor in /proc/self/fd, except the directory's own. -1 at the end, with errno
 * 0, or on an error. */
static int sandbox_next_file(DIR *directory)
{
	const struct dirent *entry;
	int fd;

	do {
		errno = 0;
		entry = readdir(directory);
		fd = entry == NULL || entry->d_name[0] == '.' ? -1 : atoi(entry->d_name);
	} while (entry != NULL && (fd < 0 || fd == dirfd(directory)));
	return fd;
}

/* Close what a shell or a supervisor has left open: it could be of use to an intruder. */
static bool sandbox_close_inherited(const int *keep, size_t keep_count, struct err *err)
{
	static const char remedy[] = "mount /proc, or start with --no-sandbox";
	DIR *directory = opendir("/proc/self/fd");
	int fd;

	if (directory == NULL)
		return err_system(err, errno, remedy, "sandbox: cannot list what is open");
	while ((fd = sandbox_next_file(directory)) >= 0)
		if (!is_kept(fd, keep, keep_count))
			close(fd);
	if (errno != 0)
		err_system(err, errno, remedy, "sandbox: cannot list what is open");
	closedir(directory);
	return err->class == ERR_NONE;
}

static bool sandbox_find_highest_file(int *ret_highest, struct err *err)
{
	DIR *directory = opendir("/proc/self/fd");
	int fd;

	*ret_highest = -1;
	if (directory == NULL)
		return sandbox_cannot(err, "list what is open");
	while ((fd = sandbox_next_file(directory)) >= 0)
		if (fd > *ret_highest)
			*ret_highest = fd;
	if (errno != 0)
		sandbox_cannot(err, "list what is open");
	closedir(directory);
	return err->class == ERR_NONE;
}

/* --- Limits -------------------------------------------------------------------------------- */

static bool sandbox_set_limits(int highest, uint32_t more_files, struct err *err)
{
	const struct rlimit none = {0, 0};
	struct rlimit files;

	if (setrlimit(RLIMIT_CORE, &none) < 0 || getrlimit(RLIMIT_NOFILE, &files) < 0)
		return sandbox_cannot(err, "set limits");
	if (files.rlim_max > (rlim_t)highest + 1 + more_files)
		files.rlim_max = (rlim_t)highest + 1 + more_files;
	files.rlim_cur = files.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &files) == 0 || sandbox_cannot(err, "set limits");
}

/* --- Files --------------------------------------------------------------------------------- */

/* Allow to remove what is in the directory of path. */
static bool landlock_allow_removal(int ruleset, const char *path, struct err *err)
{
	struct landlock_path_beneath_attr beneath = {
	    .allowed_access = LANDLOCK_ACCESS_FS_REMOVE_FILE};
	const char *slash = strrchr(path, '/');
	char directory[4096] = ".";
	long result;

	if (slash != NULL)
		snprintf(directory, sizeof directory, "%.*s",
		    slash == path ? 1 : (int)(slash - path), path);
	beneath.parent_fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (beneath.parent_fd < 0)
		return sandbox_cannot(err, "open the directory of a socket");
	result = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0);
	if (result < 0)
		sandbox_cannot(err, "make a Landlock rule");
	close(beneath.parent_fd);
	return result == 0;
}

/* 0 or less: there is none. */
static long landlock_version(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

/* No file can be opened, made or changed any more, by any name; a few can be removed. */
static bool landlock_enter(const char *const *removable, size_t removable_count, struct err *err)
{
	struct landlock_ruleset_attr attr = {0};
	long version = landlock_version();
	bool good = true;
	int ruleset;

	if (version < 1) {
		log_line(LOG_INFO, "sandbox: this kernel has no Landlock, or it is not enabled");
		return true;
	}
	attr.handled_access_fs = version >= 5   ? RIGHTS_5
	                         : version >= 3 ? RIGHTS_3
	                         : version >= 2 ? RIGHTS_2
	                                        : RIGHTS_1;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
	if (ruleset < 0)
		return sandbox_cannot(err, "make a Landlock ruleset");
	for (size_t i = 0; good && i < removable_count; i++)
		good =
		    removable[i][0] == '\0' || landlock_allow_removal(ruleset, removable[i], err);
	if (good && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		good = sandbox_cannot(err, "enforce Landlock");
	close(ruleset);
	return good;
}

/* --- System calls -------------------------------------------------------------------------- */

static bool seccomp_install(const struct sock_fprog *program, struct err *err)
{
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, program) == 0)
		return true;
	err_system(err, errno, "use a kernel with CONFIG_SECCOMP_FILTER, or --no-sandbox",
	    "sandbox: cannot limit system calls");
	err->class = ERR_HOST;
	return false;
}

static void sandbox_learn_names(void)
{
	for (int i = 0; i < CALLS_MAX; i++)
		if (call_names[i] == NULL)
			call_names[i] = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, i);
}

static size_t append(char *line, size_t used, const char *text)
{
	size_t length = strlen(text);

	memcpy(line + used, text, length);
	return used + length;
}

void sandbox_explain(const siginfo_t *info)
{
	int call = info->si_syscall;
	char line[192] = "", digits[12] = "";
	char *digit = digits + sizeof digits - 1;
	const char *name = NULL;
	size_t used;

	if (info->si_signo != SIGSYS || info->si_code != BY_SECCOMP)
		return;
	for (int rest = call; rest > 0; rest /= 10)
		*--digit = (char)('0' + rest % 10);
	if (call >= 0 && call < CALLS_MAX)
		name = call_names[call];
	/* Names have at most 30 letters. */
	used = append(line, 0, "paprika: the sandbox refused the system call ");
	used = append(line, used, name != NULL ? name : digit);
	used = append(line, used, thread_kind);
	used = append(line, used, "; report it, or start with --no-sandbox\n");
	log_write_dying(line, used);
}

size_t sandbox_check(struct kvm_check *lines, size_t max)
{
	/* Without a filter it fails in any case; EFAULT shows that it would have read one. */
	bool filters =
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, NULL) < 0 && errno == EFAULT;
	long landlock = landlock_version();

	if (max < 2)
		return 0;
	lines[0] = (struct kvm_check){.name = "sandbox seccomp",
	    .result = filters ? KVM_CHECK_OK : KVM_CHECK_FAIL,
	    .remedy = filters ? NULL : "use a kernel with CONFIG_SECCOMP_FILTER, or --no-sandbox"};
	snprintf(lines[0].value, sizeof lines[0].value, "%s", filters ? "yes" : "no");
	lines[1] = (struct kvm_check){.name = "sandbox Landlock",
	    .result = landlock > 0 ? KVM_CHECK_OK : KVM_CHECK_WARN,
	    .remedy = landlock > 0
	                  ? NULL
	                  : "guests work, with less between them and the user's files; use Linux "
	                    "5.13 or later, with landlock in lsm="};
	if (landlock > 0)
		snprintf(lines[1].value, sizeof lines[1].value, "version %ld", landlock);
	else
		snprintf(lines[1].value, sizeof lines[1].value, "no");
	return 2;
}

/* --- In order ------------------------------------------------------------------------------ */

static bool sandbox_deny_privileges(struct err *err)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ||
	       sandbox_cannot(err, "set no_new_privs");
}

struct sandbox *sandbox_create(const int *keep, size_t keep_count, struct err *err)
{
	struct sandbox *sandbox = calloc(1, sizeof *sandbox);

	if (sandbox == NULL) {
		err_system(err, ENOMEM, NULL, "cannot make the sandbox");
		return NULL;
	}
	if (!sandbox_close_inherited(keep, keep_count, err) || !sandbox_deny_privileges(err)) {
		sandbox_destroy(sandbox);
		return NULL;
	}
	/* An arena for each thread would want more system calls, and 64 MiB of addresses. vCPU
	 * threads hardly allocate. */
	mallopt(M_ARENA_MAX, 1);
	return sandbox;
}

void sandbox_destroy(struct sandbox *sandbox)
{
	if (sandbox == NULL)
		return;
	free(sandbox->vcpu.filter);
	free(sandbox->io.filter);
	free(sandbox);
}

bool sandbox_enter(struct sandbox *sandbox, uint32_t more_files, const char *const *removable,
    size_t removable_count, int wake_fd, unsigned features, struct err *err)
{
	struct sandbox_values values = {
	    .self = (uint64_t)getpid(), .wake_fd = (uint64_t)wake_fd, .features = features};
	struct sock_fprog loop = {0};
	int highest;
	bool good;

	/* gmtime_r() would read this file when it is first called. */
	tzset();
	sandbox_learn_names();
	if (!sandbox_find_highest_file(&highest, err) ||
	    !sandbox_set_limits(highest, more_files, err))
		return false;
	/* No debugger of the same user, and no look at our memory through /proc. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return sandbox_cannot(err, "become undumpable");
	good = sandbox_program(SANDBOX_VCPU, &values, &sandbox->vcpu, err) &&
	       ((features & SANDBOX_PCI) == 0 ||
	           sandbox_program(SANDBOX_IO, &values, &sandbox->io, err)) &&
	       sandbox_program(SANDBOX_LOOP, &values, &loop, err) &&
	       landlock_enter(removable, removable_count, err) && seccomp_install(&loop, err);
	free(loop.filter);
	return good;
}

bool sandbox_enter_vcpu(const struct sandbox *sandbox, struct err *err)
{
	thread_kind = " of a vCPU";
	return seccomp_install(&sandbox->vcpu, err);
}

bool sandbox_enter_io(const struct sandbox *sandbox, struct err *err)
{
	thread_kind = " of a device";
	return seccomp_install(&sandbox->io, err);
}
