/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rules.c - what each kind of thread may ask of the kernel, and why.
 *
 * Every row has a reason. tests/sandbox executes each of them, with right and with wrong arguments,
 * and every call that has no row. To find out what a change needs, run it: the last line of the
 * process names the call.
 *
 * Refusal is SIGSYS (SECCOMP_RET_TRAP) and not SECCOMP_RET_KILL_PROCESS, because the handler in
 * run.c prints a line and, in the loop's thread, restores the terminal; the kernel has not carried
 * out the call, the handler ends by raising the same signal without a handler, and no row allows to
 * install another handler for SIGSYS. Calls of another architecture kill the process at once.
 */
#include "sandbox/rules.h"

#include <asm/termbits.h> /* the size of the kernel's struct termios is part of TCSETS */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <linux/if_tun.h>
#include <linux/seccomp.h>
#include <linux/vhost.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kvm/kvm.h"

/* The flags with which glibc makes a thread. A new process would lack CLONE_THREAD. */
#define THREAD_FLAGS                                                                               \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_SIGHAND | CLONE_THREAD |        \
	    CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

/* Newer than the oldest headers that this is built with. */
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

/* clang-format off */
#define IS(argument, value) {SANDBOX_EQUAL, argument, value}
#define WITHOUT(argument, bits) {SANDBOX_CLEAR, argument, bits}
#define OURSELVES(argument) {SANDBOX_SELF, argument, 0}
#define WAKE_FD(argument) {SANDBOX_WAKE_FD, argument, 0}

#define EVERY(name, why, ...)                                                                      \
	{.who = SANDBOX_EVERY, .call = name, .reason = why, .conditions = {__VA_ARGS__}}
#define LOOP(name, why, ...)                                                                       \
	{.who = SANDBOX_LOOP, .call = name, .reason = why, .conditions = {__VA_ARGS__}}
/* Calls for the sake of devices; `kind` as above. */
#define DEVICES(kind, name, why, ...)                                                              \
	{.who = SANDBOX_##kind,                                                                    \
	    .with = SANDBOX_PCI,                                                                   \
	    .call = name,                                                                          \
	    .reason = why,                                                                         \
	    .conditions = {__VA_ARGS__}}
#define NETS(kind, name, why, ...)                                                                 \
	{.who = SANDBOX_##kind,                                                                    \
	    .with = SANDBOX_PCI | SANDBOX_NET,                                                     \
	    .call = name,                                                                          \
	    .reason = why,                                                                         \
	    .conditions = {__VA_ARGS__}}
#define VHOST(name, why, ...)                                                                      \
	{.who = SANDBOX_IO,                                                                        \
	    .with = SANDBOX_VHOST,                                                                 \
	    .call = name,                                                                          \
	    .reason = why,                                                                         \
	    .conditions = {__VA_ARGS__}}
/* Calls that a C library tries and can do without. */
#define REFUSE(kind, name, error, why, ...)                                                        \
	{.who = SANDBOX_##kind, .call = name, .reason = why, .refuse = error,                      \
	    .conditions = {__VA_ARGS__}}

/* Those of KVM's requests come before these, from kvm/ioctls.c: sandbox_rule(). */
static const struct sandbox_rule rows[] = {
	/* What a guest's call can lead to. */
	EVERY("futex", "locks and conditions"),
	EVERY("write", "wake the loop", WAKE_FD(0)),
	EVERY("write", "a line of the log", IS(0, STDERR_FILENO)),
	EVERY("send", "the same, if that is a socket (ppc64)", IS(0, STDERR_FILENO)),
	EVERY("sendto", "the same (other processors)", IS(0, STDERR_FILENO), IS(4, 0)),
	EVERY("poll", "does standard error take a line? does the console's end? has it left?"),
	EVERY("clock_gettime", "the time, where the vDSO does not tell it"),
	/* Kicks, and faults. */
	EVERY("rt_sigreturn", "come back from a kick"),
	EVERY("tgkill", "kick another vCPU; a fault's second signal", OURSELVES(0)),
	EVERY("getpid", "pthread_kill and raise ask for it"),
	EVERY("gettid", "raise asks for it; a new vCPU's thread, for the operator"),
	EVERY("rt_sigprocmask", "pthread_kill and raise block signals meanwhile"),
	/* The end of a thread. */
	EVERY("munmap", "a vCPU's run area; stacks; large blocks"),
	EVERY("close", "a vCPU's descriptor; clients that leave"),
	EVERY("madvise", "stacks of ended threads; clear memory at a reset", IS(2, MADV_DONTNEED)),
	EVERY("brk", "malloc and free"),
	EVERY("exit", "the end of a thread"),
	REFUSE(EVERY, "prctl", EINVAL, "glibc 2.39 names memory, if so tuned", IS(0, PR_SET_VMA)),

	/* Devices. An eventfd is written to in 8 bytes; which descriptors are eventfds is not known
	 * when the filter is made. */
	DEVICES(EVERY, "write", "ring a queue's doorbell; send an interrupt", IS(2, 8)),
	DEVICES(VCPU, "read", "forget what a masked interrupt has kept: an eventfd", IS(2, 8)),
	DEVICES(IO, "read", "wait for the doorbell"),
	DEVICES(IO, "preadv2", "read from a disk"),
	DEVICES(IO, "pwritev2", "write to it"),
	DEVICES(IO, "io_uring_enter", "the same by a ring that was made, and limited, before"),
	DEVICES(IO, "fdatasync", "flush it"),
	DEVICES(IO, "fallocate", "discard, write zeroes"),
	DEVICES(IO, "getrandom", "random numbers for the guest"),
	/* A device is added: of a descriptor that a client passes. */
	DEVICES(LOOP, "eventfd2", "doorbells, interrupts"),
	DEVICES(LOOP, "fcntl", "how was it opened?", IS(1, F_GETFL)),
	DEVICES(LOOP, "fcntl", "lock it", IS(1, F_OFD_SETLK)),
	DEVICES(LOOP, "fcntl", "is it locked?", IS(1, F_OFD_GETLK)),
	DEVICES(LOOP, "ioctl", "how large is the block device?", IS(1, BLKGETSIZE64)),
	DEVICES(LOOP, "ioctl", "the size of its blocks", IS(1, BLKSSZGET)),
	DEVICES(LOOP, "statx", "alignment for direct I/O"),
	DEVICES(LOOP, "io_uring_register", "the file of a ring that was made, and limited, before",
	    IS(1, IORING_REGISTER_FILES_UPDATE)),
	DEVICES(LOOP, "io_uring_register", "its doorbell", IS(1, IORING_REGISTER_EVENTFD)),
	DEVICES(LOOP, "io_uring_register", "none", IS(1, IORING_UNREGISTER_EVENTFD)),
	DEVICES(LOOP, "fstatfs", "can the file system zero ranges?"),
	DEVICES(LOOP, "fstatfs64", "the same (ppc64)"),

	/* Network devices. */
	NETS(IO, "recv", "frames of a stream (ppc64)"),
	NETS(IO, "recvfrom", "the same (other processors)", IS(4, 0)),
	NETS(IO, "sendmsg", "frames to it", IS(2, MSG_DONTWAIT | MSG_NOSIGNAL)),
	NETS(IO, "writev", "frames to a tap"),
	NETS(IO, "ioctl", "checksums are left to the driver", IS(1, TUNSETOFFLOAD)),
	NETS(IO, "ioctl", "queues that the driver serves", IS(1, TUNSETQUEUE)),
	/* One is added: of descriptors that a client passes. */
	NETS(LOOP, "getsockopt", "is it a stream?", IS(1, SOL_SOCKET), IS(2, SO_TYPE)),
	NETS(LOOP, "ioctl", "is it a tap?", IS(1, TUNGETIFF)),
	NETS(LOOP, "ioctl", "the header of its frames", IS(1, TUNSETVNETHDRSZ)),
	NETS(LOOP, "ioctl", "the header's endianness", IS(1, TUNSETVNETLE)),
	NETS(LOOP, "fcntl", "a tap must not wait", IS(1, F_SETFL)),
	/* Devices that somebody else serves: messages to a back end, and requests to the kernel. */
	VHOST("sendmsg", "requests to a back end, and descriptors with them",
	    IS(2, MSG_DONTWAIT | MSG_NOSIGNAL)),
	VHOST("recvmsg", "a back end's record of requests in flight", IS(2, MSG_CMSG_CLOEXEC)),
	VHOST("ioctl", "the driver's features", IS(1, VHOST_SET_FEATURES)),
	VHOST("ioctl", "the guest's memory", IS(1, VHOST_SET_MEM_TABLE)),
	VHOST("ioctl", "the size of a ring", IS(1, VHOST_SET_VRING_NUM)),
	VHOST("ioctl", "where it begins", IS(1, VHOST_SET_VRING_BASE)),
	VHOST("ioctl", "where it is", IS(1, VHOST_SET_VRING_ADDR)),
	VHOST("ioctl", "its notifications", IS(1, VHOST_SET_VRING_KICK)),
	VHOST("ioctl", "its interrupts", IS(1, VHOST_SET_VRING_CALL)),
	VHOST("ioctl", "begin and end to serve a vsock", IS(1, VHOST_VSOCK_SET_RUNNING)),

	{.who = SANDBOX_LOOP, .with = SANDBOX_VHOST, .call = "ioctl", .reason = "a vsock is added",
	    .conditions = {IS(1, VHOST_SET_OWNER)}},
	{.who = SANDBOX_LOOP, .with = SANDBOX_VHOST, .call = "ioctl", .reason = "what it can",
	    .conditions = {IS(1, VHOST_GET_FEATURES)}},
	{.who = SANDBOX_LOOP, .with = SANDBOX_VHOST, .call = "ioctl", .reason = "its address",
	    .conditions = {IS(1, VHOST_VSOCK_SET_GUEST_CID)}},

	/* The loop. */
	LOOP("epoll_wait", "wait for what happens"),
	LOOP("gettimeofday", "libev's clock, where the vDSO does not tell it"),
	LOOP("epoll_ctl", "for clients that come and go"),
	LOOP("timerfd_settime", "hear of it when the wall clock is set"),
	LOOP("read", "typed input, the descriptor that wakes the loop"),
	LOOP("write", "the console's end"),
	LOOP("restart_syscall", "a poll, after the process was stopped and continued"),
	/* Clients. */
	LOOP("accept4", "clients of the control socket and the console's"),
	LOOP("getsockopt", "whose client it is", IS(1, SOL_SOCKET), IS(2, SO_PEERCRED)),
	LOOP("geteuid", "is it ours?"),
	LOOP("recvmsg", "requests, and descriptors with them"),
	LOOP("recv", "the console's clients (ppc64)"),
	LOOP("recvfrom", "the same (other processors)", IS(4, 0)),
	LOOP("send", "replies and events (ppc64)"),
	LOOP("sendto", "replies and events (other processors)", IS(4, 0)),
	/* A reset loads the files again, from descriptors that stayed open. */
	LOOP("pread64", "kernel and initrd"),
	LOOP("newfstatat", "their sizes; is a socket's file still ours?"),
	LOOP("fstat", "their sizes, as glibc 2.39 and later ask"),
	LOOP("getrandom", "the guest's random seed"),
	/* A core is added: a thread, which makes the vCPU before it is confined further. */
	LOOP("clone", "a thread, never a process", IS(0, THREAD_FLAGS)),
	REFUSE(LOOP, "clone3", ENOSYS, "its flags cannot be looked at; glibc takes clone then"),
	LOOP("mmap", "stacks, a vCPU's run area, large blocks", WITHOUT(2, PROT_EXEC)),
	LOOP("mprotect", "all of a stack but its guard", WITHOUT(2, PROT_EXEC)),
	REFUSE(LOOP, "madvise", EINVAL, "a stack's guard, from glibc 2.42 on; it takes mprotect then",
	    IS(2, MADV_GUARD_INSTALL)),
	REFUSE(LOOP, "madvise", EINVAL, "malloc, if so tuned; only advice", IS(2, MADV_HUGEPAGE)),
	LOOP("madvise", "stacks, if so tuned: no thread without it", IS(2, MADV_NOHUGEPAGE)),
	LOOP("mremap", "large blocks that grow"),
	LOOP("set_robust_list", "each new thread does it"),
	LOOP("rseq", "each new thread does it"),
	LOOP("prctl", "its name", IS(0, PR_SET_NAME)),
	LOOP("seccomp", "confine it further", IS(0, SECCOMP_SET_MODE_FILTER), IS(1, 0)),
	/* The end. */
	/* At a fault and at the end: terminal_restore(). */
	LOOP("fcntl", "flags of standard input", IS(0, STDIN_FILENO), IS(1, F_SETFL)),
	LOOP("fcntl", "flags of standard output", IS(0, STDOUT_FILENO), IS(1, F_SETFL)),
	LOOP("getpgrp", "is the terminal ours?"),
	LOOP("ioctl", "is the terminal ours?", IS(0, STDIN_FILENO), IS(1, TIOCGPGRP)),
	LOOP("ioctl", "put the terminal back", IS(0, STDIN_FILENO), IS(1, TCSETS)),
	LOOP("ioctl", "tcsetattr looks whether it worked", IS(0, STDIN_FILENO), IS(1, TCGETS)),
	LOOP("unlink", "the sockets' files; Landlock says where"),
	LOOP("exit_group", "the end of the process"),
};
/* clang-format on */

#define ROWS (sizeof rows / sizeof rows[0])

bool sandbox_rule(size_t n, struct sandbox_rule *ret_rule)
{
	size_t past = 0;

	for (size_t i = 0; i < kvm_ioctl_count; i++) {
		const struct kvm_ioctl_use *use = &kvm_ioctls[i];

		if (use->when == KVM_AT_SETUP || past++ < n)
			continue;
		*ret_rule = (struct sandbox_rule){
		    .who = use->when == KVM_BY_OPERATOR ? SANDBOX_LOOP : SANDBOX_VCPU,
		    .with = use->when == KVM_FOR_DEVICES ? SANDBOX_PCI : 0,
		    .call = "ioctl",
		    .conditions = {{SANDBOX_EQUAL, 1, use->request}},
		    .reason = use->reason};
		return true;
	}
	if (n - past >= ROWS)
		return false;
	*ret_rule = rows[n - past];
	return true;
}

bool sandbox_rule_holds(
    const struct sandbox_rule *rule, enum sandbox_who who, const struct sandbox_values *values)
{
	return (who == SANDBOX_LOOP || (rule->who & who) != 0) &&
	       (rule->with & ~values->features) == 0;
}

uint64_t sandbox_value(
    const struct sandbox_condition *condition, const struct sandbox_values *values)
{
	switch (condition->test) {
	case SANDBOX_SELF: return values->self;
	case SANDBOX_WAKE_FD: return values->wake_fd;
	case SANDBOX_EQUAL:
	case SANDBOX_CLEAR:
	case SANDBOX_ANY: break;
	}
	return condition->value;
}

/* 0, or a negative errno. */
static int filter_add_rule(
    scmp_filter_ctx filter, const struct sandbox_rule *rule, const struct sandbox_values *values)
{
	struct scmp_arg_cmp compare[SANDBOX_CONDITIONS];
	uint32_t action =
	    rule->refuse != 0 ? SCMP_ACT_ERRNO((uint16_t)rule->refuse) : SCMP_ACT_ALLOW;
	int call = seccomp_syscall_resolve_name(rule->call);
	unsigned count = 0;

	if (call == __NR_SCMP_ERROR)
		return -ENOSYS;
	for (size_t i = 0; i < SANDBOX_CONDITIONS; i++) {
		const struct sandbox_condition *condition = &rule->conditions[i];
		uint64_t value = sandbox_value(condition, values);

		if (condition->test == SANDBOX_ANY)
			continue;
		compare[count++] =
		    condition->test == SANDBOX_CLEAR
		        ? (struct scmp_arg_cmp){.arg = condition->argument,
		              .op = SCMP_CMP_MASKED_EQ,
		              .datum_a = value}
		        : (struct scmp_arg_cmp){
		              .arg = condition->argument, .op = SCMP_CMP_EQ, .datum_a = value};
	}
	/* One that this architecture does not have is left out by libseccomp. */
	return seccomp_rule_add_array(filter, action, call, count, compare);
}

/* 0, or a negative errno. */
static int filter_add_rules(
    scmp_filter_ctx filter, enum sandbox_who who, const struct sandbox_values *values)
{
	struct sandbox_rule rule;
	int result;

	result = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	for (size_t i = 0; result == 0 && sandbox_rule(i, &rule); i++)
		if (sandbox_rule_holds(&rule, who, values))
			result = filter_add_rule(filter, &rule, values);
	/* Each entry into the guest passes the filter. (libseccomp must not be told so of a call
	 * that has no rule: it makes a filter that refuses everything.) */
	if (result == 0 && who != SANDBOX_IO)
		result = seccomp_syscall_priority(filter, SCMP_SYS(ioctl), UINT8_MAX);
	return result;
}

/* libseccomp exports a filter to a file only. 0, or a negative errno. */
static int filter_export(scmp_filter_ctx filter, struct sock_fprog *ret_program)
{
	int fd = memfd_create("filter", MFD_CLOEXEC);
	int result = fd < 0 ? -errno : seccomp_export_bpf(filter, fd);
	off_t bytes = result == 0 ? lseek(fd, 0, SEEK_END) : 0;
	struct sock_filter *instructions = NULL;

	if (result == 0 && (bytes <= 0 || bytes / (off_t)sizeof *instructions > BPF_MAXINSNS))
		result = -EINVAL;
	if (result == 0 && (instructions = malloc((size_t)bytes)) == NULL)
		result = -ENOMEM;
	if (result == 0 && pread(fd, instructions, (size_t)bytes, 0) != bytes)
		result = -EIO;
	if (fd >= 0)
		close(fd);
	if (result != 0) {
		free(instructions);
		return result;
	}
	*ret_program = (struct sock_fprog){
	    .len = (unsigned short)((size_t)bytes / sizeof *instructions), .filter = instructions};
	return 0;
}

bool sandbox_program(enum sandbox_who who, const struct sandbox_values *values,
    struct sock_fprog *ret_program, struct err *err)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_TRAP);
	int result = filter == NULL ? -ENOMEM : filter_add_rules(filter, who, values);

	if (result == 0)
		result = filter_export(filter, ret_program);
	if (filter != NULL)
		seccomp_release(filter);
	return result == 0 ||
	       err_system(err, -result, NULL, "cannot make the sandbox's table of system calls");
}
