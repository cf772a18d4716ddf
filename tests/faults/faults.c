/* SPDX-License-Identifier: Apache-2.0 */
/*
 * faults.c - see faults.h. One row per function that can be made to fail: its type, how it
 * tells a failure, and with which error. The build takes the names for the linker from the
 * lines that begin with CALL or VARIADIC, so a row is all it takes; tests/faults/test_faults.py
 * looks for calls that have neither a row nor a reason to have none.
 *
 * A row's error is one that the call can really meet: out of memory, descriptors, or space; a
 * peer or a terminal that went. Where a caller treats several alike, one stands for all.
 */
#include "faults.h"

#include <errno.h>
#include <jansson.h>
#include <liburing.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <dirent.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { ALLOCATIONS_MAX = 65536, DESCRIPTORS_MAX = 1024 };

/* What a row may say besides. */
enum {
	PLAIN = 0,
	INTERRUPTIBLE = 1, /* may return EINTR */
	PASSING = 2,       /* fails now and then, never for good */
};

static struct {
	_Atomic bool armed, paused;
	enum fault_mode mode;
	uint32_t number;
	struct fault_report *report;
	void (*listening)(void);
	const char *const *only;        /* names that count; NULL: all */
	bool is_event[DESCRIPTORS_MAX]; /* of eventfd(): these do not fail */
} plan;

static struct {
	pthread_mutex_t lock;
	size_t count;
	struct {
		void *memory, *caller;
	} live[ALLOCATIONS_MAX];
} allocations = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local bool exempt;
/* Functions whose last call on this thread was interrupted. */
static _Thread_local const char *interrupted[8];

/* --- Counting ---------------------------------------------------------------------------- */

void fault_arm(enum fault_mode mode, uint32_t number, struct fault_report *report)
{
	plan.mode = mode;
	plan.number = number;
	plan.report = report;
	plan.armed = true;
}

void fault_disarm(void)
{
	plan.armed = false;
}

void fault_exempt_thread(void)
{
	exempt = true;
}

void fault_on_listen(void (*listening)(void))
{
	plan.listening = listening;
}

void fault_pause(bool paused)
{
	plan.paused = paused;
}

void fault_only(const char *const *names)
{
	plan.only = names;
}

static bool is_wanted(const char *name)
{
	const char *const *only = plan.only;

	while (only != NULL && *only != NULL && strcmp(*only, name) != 0)
		only++;
	return only == NULL || *only != NULL;
}

static bool counts(void)
{
	return plan.armed && !exempt;
}

/* True for every other call of a function. */
static bool interrupts(const char *name)
{
	const char **slot = interrupted;

	while (slot < &interrupted[7] && *slot != name && *slot != NULL)
		slot++;
	*slot = *slot == NULL ? name : NULL;
	errno = EINTR;
	return *slot != NULL;
}

/* True if this call is to fail; errno is set then. */
static bool fails(const char *name, int error_number, unsigned flags, void *caller)
{
	const char *fired;
	uint32_t number;
	bool hit;

	if (!counts() || plan.paused || !is_wanted(name))
		return false;
	number = ++plan.report->count;
	if (plan.mode == FAULT_INTERRUPT && (flags & INTERRUPTIBLE) != 0)
		return interrupts(name);
	fired = plan.report->fired;
	hit = (plan.mode == FAULT_ONCE || plan.mode == FAULT_FOR_GOOD) && number == plan.number;
	if (hit && fired == NULL) {
		plan.report->caller = caller;
		plan.report->fired = name;
	}
	/* The same string for the same row, so its address will do. */
	if (plan.mode == FAULT_FOR_GOOD && fired == name && (flags & PASSING) == 0)
		hit = true;
	if (hit)
		errno = error_number;
	return hit;
}

bool fault_hits(const char *name)
{
	return fails(name, EIO, 0, __builtin_return_address(0));
}

static size_t shortened(size_t length)
{
	return counts() && plan.mode == FAULT_SHORT && length > 1 ? 1 : length;
}

/* --- Memory ------------------------------------------------------------------------------ */

static void forget(const void *memory)
{
	pthread_mutex_lock(&allocations.lock);
	for (size_t i = allocations.count; memory != NULL && i-- > 0;) {
		if (allocations.live[i].memory != memory)
			continue;
		memmove(&allocations.live[i], &allocations.live[i + 1],
		    (--allocations.count - i) * sizeof allocations.live[0]);
		break;
	}
	pthread_mutex_unlock(&allocations.lock);
}

static void *remember(void *memory, void *caller)
{
	pthread_mutex_lock(&allocations.lock);
	if (memory != NULL && counts() && plan.only == NULL &&
	    allocations.count < ALLOCATIONS_MAX) {
		allocations.live[allocations.count].memory = memory;
		allocations.live[allocations.count++].caller = caller;
	}
	pthread_mutex_unlock(&allocations.lock);
	return memory;
}

size_t fault_live_allocations(void **ret_caller)
{
	*ret_caller = allocations.count > 0 ? allocations.live[0].caller : NULL;
	return allocations.count;
}

#define CALLER __builtin_return_address(0)

/* clang-format off */
#define CALL(name, type, parameters, arguments, failure, error, flags)                             \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;                                                             \
	type __wrap_##name parameters                                                              \
	{                                                                                          \
		if (fails(#name, error, flags, CALLER))                                            \
			return failure;                                                            \
		return __real_##name arguments;                                                    \
	}

/* Those with one optional argument of type `more`. */
#define VARIADIC(name, parameters, arguments, last, more, error, flags)                            \
	int __real_##name parameters;                                                              \
	int __wrap_##name parameters;                                                              \
	int __wrap_##name parameters                                                               \
	{                                                                                          \
		va_list list;                                                                      \
		more argument;                                                                     \
		va_start(list, last);                                                              \
		argument = va_arg(list, more);                                                     \
		va_end(list);                                                                      \
		if (fails(#name, error, flags, CALLER))                                            \
			return -1;                                                                 \
		return __real_##name arguments;                                                    \
	}

/* Those that return new memory; old: what the memory was before, or NULL. */
#define MEMORY(name, type, parameters, arguments, old)                                             \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;                                                             \
	type __wrap_##name parameters                                                              \
	{                                                                                          \
		type memory;                                                                       \
		if (fails(#name, ENOMEM, PLAIN, CALLER))                                           \
			return NULL;                                                               \
		forget(old);                                                                       \
		memory = __real_##name arguments;                                                  \
		return remember(memory, CALLER);                                                   \
	}

MEMORY(malloc, void *, (size_t size), (size), NULL)
MEMORY(calloc, void *, (size_t count, size_t size), (count, size), NULL)
MEMORY(realloc, void *, (void *before, size_t size), (before, size), before)
CALL(posix_memalign, int, (void **ret, size_t align, size_t size), (ret, align, size), ENOMEM,
    ENOMEM, PLAIN)
MEMORY(strdup, char *, (const char *text), (text), NULL)

/* Files */
VARIADIC(open, (const char *path, int flags, ...), (path, flags, argument), flags, unsigned,
    EMFILE, PLAIN)
VARIADIC(open64, (const char *path, int flags, ...), (path, flags, argument), flags, unsigned,
    EMFILE, PLAIN)
VARIADIC(openat64, (int fd, const char *path, int flags, ...), (fd, path, flags, argument), flags,
    unsigned, EMFILE, PLAIN)
CALL(opendir, DIR *, (const char *path), (path), NULL, EMFILE, PLAIN)
CALL(readdir64, struct dirent64 *, (DIR *directory), (directory), NULL, EIO, PLAIN)
CALL(memfd_create, int, (const char *name, unsigned flags), (name, flags), -1, EMFILE, PLAIN)
CALL(ftruncate64, int, (int fd, off64_t length), (fd, length), -1, ENOSPC, PLAIN)
CALL(access, int, (const char *path, int mode), (path, mode), -1, EACCES, PLAIN)
CALL(dup2, int, (int from, int to), (from, to), -1, EMFILE, PLAIN)
CALL(lseek64, off64_t, (int fd, off64_t to, int from), (fd, to, from), -1, EIO, PLAIN)
CALL(fstat64, int, (int fd, struct stat64 *status), (fd, status), -1, EIO, PLAIN)
CALL(lstat64, int, (const char *path, struct stat64 *status), (path, status), -1, EACCES, PLAIN)
CALL(stat64, int, (const char *path, struct stat64 *status), (path, status), -1, EACCES, PLAIN)
CALL(statx, int, (int fd, const char *path, int flags, unsigned mask, struct statx *status),
    (fd, path, flags, mask, status), -1, EIO, PLAIN)
CALL(fstatfs64, int, (int fd, struct statfs64 *status), (fd, status), -1, EIO, PLAIN)
CALL(fallocate64, int, (int fd, int mode, off64_t offset, off64_t length),
    (fd, mode, offset, length), -1, EOPNOTSUPP, INTERRUPTIBLE)
CALL(fdatasync, int, (int fd), (fd), -1, EIO, INTERRUPTIBLE)
CALL(fchmod, int, (int fd, mode_t mode), (fd, mode), -1, EIO, PLAIN)
CALL(unlink, int, (const char *path), (path), -1, EACCES, PLAIN)
VARIADIC(fcntl64, (int fd, int command, ...), (fd, command, argument), command, long, EIO, PLAIN)
CALL(pread64, ssize_t, (int fd, void *to, size_t length, off64_t offset),
    (fd, to, shortened(length), offset), -1, EIO, INTERRUPTIBLE)
CALL(preadv64v2, ssize_t,
    (int fd, const struct iovec *list, int count, off64_t offset, int flags),
    (fd, list, count, offset, flags), -1, EIO, INTERRUPTIBLE)
CALL(pwritev64v2, ssize_t,
    (int fd, const struct iovec *list, int count, off64_t offset, int flags),
    (fd, list, count, offset, flags), -1, ENOSPC, INTERRUPTIBLE)
CALL(fflush, int, (FILE *file), (file), EOF, ENOSPC, PLAIN)
CALL(getrandom, ssize_t, (void *to, size_t length, unsigned flags), (to, length, flags), -1, EAGAIN,
    PLAIN)

/* Memory areas and limits */
CALL(mmap64, void *, (void *at, size_t length, int access, int flags, int fd, off64_t offset),
    (at, length, access, flags, fd, offset), MAP_FAILED, ENOMEM, PLAIN)
CALL(munmap, int, (void *at, size_t length), (at, length), -1, ENOMEM, PLAIN)
CALL(madvise, int, (void *at, size_t length, int advice), (at, length, advice), -1, EINVAL, PLAIN)
CALL(mprotect, int, (void *at, size_t length, int access), (at, length, access), -1, ENOMEM, PLAIN)
CALL(getrlimit64, int, (__rlimit_resource_t which, struct rlimit64 *limit), (which, limit), -1,
    EPERM, PLAIN)
CALL(setrlimit64, int, (__rlimit_resource_t which, const struct rlimit64 *limit), (which, limit),
    -1, EPERM, PLAIN)

/* Sockets */
CALL(socket, int, (int domain, int type, int protocol), (domain, type, protocol), -1, EMFILE, PLAIN)
CALL(bind, int, (int fd, const struct sockaddr *address, socklen_t length), (fd, address, length),
    -1, EACCES, PLAIN)
CALL(connect, int, (int fd, const struct sockaddr *address, socklen_t length),
    (fd, address, length), -1, EACCES, PLAIN)
CALL(accept4, int, (int fd, struct sockaddr *address, socklen_t *length, int flags),
    (fd, address, length, flags), -1, EMFILE, INTERRUPTIBLE)
CALL(getsockname, int, (int fd, struct sockaddr *address, socklen_t *length), (fd, address, length),
    -1, ENOBUFS, PLAIN)
CALL(sendmsg, ssize_t, (int fd, const struct msghdr *message, int flags), (fd, message, flags), -1,
    ECONNRESET, INTERRUPTIBLE)
CALL(getsockopt, int, (int fd, int level, int name, void *value, socklen_t *length),
    (fd, level, name, value, length), -1, ENOBUFS, PLAIN)
CALL(recv, ssize_t, (int fd, void *to, size_t length, int flags),
    (fd, to, shortened(length), flags), -1, ECONNRESET, INTERRUPTIBLE)
CALL(writev, ssize_t, (int fd, const struct iovec *list, int count), (fd, list, count), -1, EIO,
    INTERRUPTIBLE)
CALL(socketpair, int, (int domain, int type, int protocol, int fds[2]),
    (domain, type, protocol, fds), -1, EMFILE, PLAIN)
CALL(pipe2, int, (int fds[2], int flags), (fds, flags), -1, EMFILE, PLAIN)
CALL(if_nametoindex, unsigned, (const char *name), (name), 0, ENODEV, PLAIN)

/* Programs; these return the error. */
CALL(posix_spawnp, int,
    (pid_t *ret, const char *name, const posix_spawn_file_actions_t *actions,
        const posix_spawnattr_t *how, char *const words[], char *const environment[]),
    (ret, name, actions, how, words, environment), errno, ENOENT, PLAIN)
CALL(posix_spawn_file_actions_addopen, int,
    (posix_spawn_file_actions_t *actions, int fd, const char *path, int flags, mode_t mode),
    (actions, fd, path, flags, mode), errno, ENOMEM, PLAIN)
CALL(posix_spawn_file_actions_adddup2, int,
    (posix_spawn_file_actions_t *actions, int from, int to), (actions, from, to), errno, ENOMEM,
    PLAIN)
CALL(posix_spawn_file_actions_addclosefrom_np, int,
    (posix_spawn_file_actions_t *actions, int from), (actions, from), errno, ENOMEM, PLAIN)
CALL(waitpid, pid_t, (pid_t pid, int *status, int flags), (pid, status, flags), -1, EINTR,
    INTERRUPTIBLE | PASSING)

/* Terminals */
CALL(posix_openpt, int, (int flags), (flags), -1, ENOSPC, PLAIN)
CALL(grantpt, int, (int fd), (fd), -1, EACCES, PLAIN)
CALL(unlockpt, int, (int fd), (fd), -1, EINVAL, PLAIN)
CALL(ptsname_r, int, (int fd, char *name, size_t size), (fd, name, size), errno, ENOTTY, PLAIN)
CALL(isatty, int, (int fd), (fd), 0, EIO, PLAIN)
CALL(tcgetattr, int, (int fd, struct termios *ret), (fd, ret), -1, EIO, PLAIN)
CALL(tcsetattr, int, (int fd, int when, const struct termios *to), (fd, when, to), -1, EIO, PLAIN)
CALL(tcgetpgrp, pid_t, (int fd), (fd), -1, ENOTTY, PLAIN)

/* Threads, signals, and what the event loop is made of */
CALL(fork, pid_t, (void), (), -1, EAGAIN, PLAIN)
CALL(pthread_attr_init, int, (pthread_attr_t *how), (how), errno, ENOMEM, PLAIN)
CALL(pthread_attr_setstacksize, int, (pthread_attr_t *how, size_t size), (how, size), errno, EINVAL,
    PLAIN)
CALL(pthread_setname_np, int, (pthread_t thread, const char *name), (thread, name), errno, ERANGE,
    PLAIN)
/* These return the error. */
CALL(io_uring_queue_init_params, int,
    (unsigned entries, struct io_uring *ring, struct io_uring_params *params),
    (entries, ring, params), -EPERM, EPERM, PLAIN)
CALL(io_uring_register_files, int, (struct io_uring *ring, const int *files, unsigned count),
    (ring, files, count), -ENOMEM, ENOMEM, PLAIN)
CALL(io_uring_register_files_update, int,
    (struct io_uring *ring, unsigned at, const int *files, unsigned count),
    (ring, at, files, count), -ENOMEM, ENOMEM, PLAIN)
CALL(io_uring_register_eventfd, int, (struct io_uring *ring, int fd), (ring, fd), -ENOMEM, ENOMEM,
    PLAIN)
CALL(io_uring_unregister_eventfd, int, (struct io_uring *ring), (ring), -ENXIO, ENXIO, PLAIN)
CALL(io_uring_register_restrictions, int,
    (struct io_uring *ring, struct io_uring_restriction *rules, unsigned count),
    (ring, rules, count), -EINVAL, EINVAL, PLAIN)
CALL(io_uring_enable_rings, int, (struct io_uring *ring), (ring), -EACCES, EACCES, PLAIN)
CALL(io_uring_submit, int, (struct io_uring *ring), (ring), -EAGAIN, EAGAIN, PLAIN)
CALL(sigaction, int, (int number, const struct sigaction *to, struct sigaction *ret),
    (number, to, ret), -1, EINVAL, PLAIN)
CALL(epoll_create1, int, (int flags), (flags), -1, EMFILE, PLAIN)
CALL(epoll_create, int, (int size), (size), -1, EMFILE, PLAIN)
/* Not for good: libev may begin with a new epoll at any time, and if that takes nothing at all, not
 * even a signal is heard of any more. */
CALL(epoll_ctl, int, (int fd, int what, int of, struct epoll_event *event), (fd, what, of, event),
    -1, ENOSPC, PASSING)
/* With the arguments it is given, nothing but a signal can make these two fail. */
CALL(epoll_wait, int, (int fd, struct epoll_event *events, int max, int ms),
    (fd, events, max, ms), -1, EINTR, INTERRUPTIBLE | PASSING)
CALL(poll, int, (struct pollfd *fds, nfds_t count, int ms), (fds, count, ms), -1, EINTR,
    INTERRUPTIBLE | PASSING)
/* clang-format on */

/* --- Those that need more than a row; the lines above each are for the build -------------- */

/* CALL(free */
void __real_free(void *memory);
void __wrap_free(void *memory);
void __wrap_free(void *memory)
{
	forget(memory);
	__real_free(memory);
}

/* CALL(json_loadb: jansson's parser does not survive what parse_json() tries first, so it fails as
 * a whole. */
json_t *__real_json_loadb(const char *text, size_t length, size_t flags, json_error_t *error);
json_t *__wrap_json_loadb(const char *text, size_t length, size_t flags, json_error_t *error);
json_t *__wrap_json_loadb(const char *text, size_t length, size_t flags, json_error_t *error)
{
	bool was_exempt = exempt;
	json_t *value;

	if (fails("json_loadb", ENOMEM, PLAIN, CALLER)) {
		*error = (json_error_t){.line = -1, .text = "out of memory"};
		error->text[JSON_ERROR_TEXT_LENGTH - 1] = json_error_out_of_memory;
		return NULL;
	}
	exempt = true;
	value = __real_json_loadb(text, length, flags, error);
	exempt = was_exempt;
	return value;
}

/* CALL(listen: the operator waits for it. */
int __real_listen(int fd, int backlog);
int __wrap_listen(int fd, int backlog);
int __wrap_listen(int fd, int backlog)
{
	int result;

	if (fails("listen", EADDRINUSE, PLAIN, CALLER))
		return -1;
	result = __real_listen(fd, backlog);
	if (result == 0 && plan.listening != NULL)
		plan.listening();
	return result;
}

/* CALL(recvmsg: into one buffer, which is shortened like that of recv(). */
ssize_t __real_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags)
{
	size_t length = message->msg_iov[0].iov_len;
	ssize_t result;

	if (fails("recvmsg", ECONNRESET, INTERRUPTIBLE, CALLER))
		return -1;
	message->msg_iov[0].iov_len = shortened(length);
	result = __real_recvmsg(fd, message, flags);
	message->msg_iov[0].iov_len = length;
	return result;
}

/* CALL(pthread_create: what a thread without calls that fail makes is no part of the program. */
#define THREAD pthread_t *ret, const pthread_attr_t *how, void *(*run)(void *), void *with
struct exempt_start {
	void *(*run)(void *);
	void *with;
};

static void *exempt_main(void *argument)
{
	struct exempt_start start = *(struct exempt_start *)argument;

	exempt = true;
	free(argument);
	return start.run(start.with);
}

int __real_pthread_create(THREAD);
int __wrap_pthread_create(THREAD);
int __wrap_pthread_create(THREAD)
{
	struct exempt_start *start;

	if (fails("pthread_create", EAGAIN, PLAIN, CALLER))
		return errno;
	if (!exempt || (start = malloc(sizeof *start)) == NULL)
		return __real_pthread_create(ret, how, run, with);
	*start = (struct exempt_start){run, with};
	return __real_pthread_create(ret, how, exempt_main, start);
}

/* CALL(eventfd: what is written to one or read from it cannot fail. */
int __real_eventfd(unsigned value, int flags);
int __wrap_eventfd(unsigned value, int flags);
int __wrap_eventfd(unsigned value, int flags)
{
	int fd;

	if (fails("eventfd", EMFILE, PLAIN, CALLER))
		return -1;
	fd = __real_eventfd(value, flags);
	if (fd >= 0 && fd < DESCRIPTORS_MAX)
		plan.is_event[fd] = true;
	return fd;
}

static bool is_event(int fd)
{
	return fd >= 0 && fd < DESCRIPTORS_MAX && plan.is_event[fd];
}

/* CALL(read */
ssize_t __real_read(int fd, void *to, size_t length);
ssize_t __wrap_read(int fd, void *to, size_t length);
ssize_t __wrap_read(int fd, void *to, size_t length)
{
	if (is_event(fd))
		return __real_read(fd, to, length);
	if (fails("read", EIO, INTERRUPTIBLE, CALLER))
		return -1;
	return __real_read(fd, to, shortened(length));
}

/* CALL(write */
ssize_t __real_write(int fd, const void *from, size_t length);
ssize_t __wrap_write(int fd, const void *from, size_t length);
ssize_t __wrap_write(int fd, const void *from, size_t length)
{
	if (is_event(fd))
		return __real_write(fd, from, length);
	if (fails("write", ENOSPC, INTERRUPTIBLE, CALLER))
		return -1;
	return __real_write(fd, from, shortened(length));
}

/* CALL(send: on what is no socket it fails as it does. */
ssize_t __real_send(int fd, const void *from, size_t length, int flags);
ssize_t __wrap_send(int fd, const void *from, size_t length, int flags);
ssize_t __wrap_send(int fd, const void *from, size_t length, int flags)
{
	struct stat64 status;

	if (__real_fstat64(fd, &status) == 0 && S_ISSOCK(status.st_mode) &&
	    fails("send", ECONNRESET, INTERRUPTIBLE, CALLER))
		return -1;
	return __real_send(fd, from, shortened(length), flags);
}

/* CALL(ioctl: a guest leaves KVM_RUN too often to fail each of them. */
int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
	enum { RUNS = 12 };
	static _Atomic unsigned runs;
	void *argument;
	va_list list;

	va_start(list, request);
	argument = va_arg(list, void *);
	va_end(list);
	if ((request != _IO(0xae, 0x80) || runs++ < RUNS) && fails("ioctl", EIO, PLAIN, CALLER))
		return -1;
	return __real_ioctl(fd, request, argument);
}

/* CALL(prctl */
int __real_prctl(int option, ...);
int __wrap_prctl(int option, ...);
int __wrap_prctl(int option, ...)
{
	unsigned long more[4];
	va_list list;

	va_start(list, option);
	for (size_t i = 0; i < 4; i++)
		more[i] = va_arg(list, unsigned long);
	va_end(list);
	if (fails("prctl", EINVAL, PLAIN, CALLER))
		return -1;
	return __real_prctl(option, more[0], more[1], more[2], more[3]);
}

/* CALL(syscall: a thread's own number is always to be had. */
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
	unsigned long more[4];
	va_list list;

	va_start(list, number);
	for (size_t i = 0; i < 4; i++)
		more[i] = va_arg(list, unsigned long);
	va_end(list);
	if (number != SYS_gettid && fails("syscall", ENOSYS, PLAIN, CALLER))
		return -1;
	return __real_syscall(number, more[0], more[1], more[2], more[3]);
}

/* CALL(close: the descriptor is gone even so. */
int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
	int result = __real_close(fd);

	if (fd >= 0 && fd < DESCRIPTORS_MAX)
		plan.is_event[fd] = false;
	return fails("close", EIO, PLAIN, CALLER) ? -1 : result;
}
