/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rows.c - executes the sandbox's table of system calls, for each kind of thread: every row with
 * the right arguments, with each condition broken, and every call that has no row; then what newer
 * C libraries than this one call. Each probe is a process of its own under the real filter; what
 * counts is whether the filter let it through. Arguments without a condition are all ones, so that
 * the call itself can do nothing.
 *
 * Needs no library but the sandbox's own, so that it runs on the lab host as well. Prints each
 * problem and then one line. With an argument it does something for people instead: "list" prints
 * the table, "cost" what a vCPU's entry into the guest pays for the filters.
 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/seccomp.h>

#include "kvm/kvm.h"
#include "sandbox/rules.h"

/* More than any architecture has, without those that belong to another ABI of it. */
#define CALLS 512
#define PROBE_SECONDS 60

enum verdict { ALLOWED, REFUSED, KILLED, BROKEN };

static const enum sandbox_who kinds[] = {SANDBOX_LOOP, SANDBOX_VCPU, SANDBOX_IO};
#define KINDS (sizeof kinds / sizeof kinds[0])

static const char *const who_names[] = {
    [SANDBOX_LOOP] = "loop", [SANDBOX_VCPU] = "vCPU", [SANDBOX_IO] = "device"};

static struct sandbox_values values;
static struct sock_fprog programs[SANDBOX_IO + 1];
static char *names[CALLS];
static unsigned probes, problems;

static int number_of(const char *name)
{
	for (int i = 0; i < CALLS; i++)
		if (names[i] != NULL && strcmp(names[i], name) == 0)
			return i;
	return -1;
}

static bool holds_for(const struct sandbox_rule *rule, enum sandbox_who who)
{
	return sandbox_rule_holds(rule, who, &values);
}

/* The row that lets the call through whatever its arguments are, if there is one. */
static bool unconditional(const char *name, enum sandbox_who who, struct sandbox_rule *ret_rule)
{
	for (size_t i = 0; sandbox_rule(i, ret_rule); i++)
		if (holds_for(ret_rule, who) && strcmp(ret_rule->call, name) == 0 &&
		    ret_rule->conditions[0].test == SANDBOX_ANY)
			return true;
	return false;
}

static bool lets_through(const struct sandbox_rule *rule, const uint64_t *args)
{
	for (int i = 0; i < SANDBOX_CONDITIONS; i++) {
		const struct sandbox_condition *condition = &rule->conditions[i];
		uint64_t value = sandbox_value(condition, &values);

		if (condition->test == SANDBOX_CLEAR && (args[condition->argument] & value) != 0)
			return false;
		if (condition->test != SANDBOX_CLEAR && condition->test != SANDBOX_ANY &&
		    args[condition->argument] != value)
			return false;
	}
	return true;
}

/* What the table as a whole makes of a call. */
static bool permitted(const char *name, enum sandbox_who who, const uint64_t *args)
{
	struct sandbox_rule rule;

	for (size_t i = 0; sandbox_rule(i, &rule); i++)
		if (holds_for(&rule, who) && strcmp(rule.call, name) == 0 &&
		    lets_through(&rule, args))
			return true;
	return false;
}

static void __attribute__((noreturn))
make_call(enum sandbox_who who, int call, const uint64_t *args, int refuse)
{
	const struct rlimit none = {0, 0};
	long result;

	setrlimit(RLIMIT_CORE, &none);
	alarm(PROBE_SECONDS);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &programs[who]) < 0)
		_exit(100);
	errno = 0;
	result = syscall(call, args[0], args[1], args[2], args[3], args[4], args[5]);
	for (;;)
		syscall(SYS_exit, result < 0 && refuse != 0 && errno == refuse ? 1 : 0);
}

static enum verdict probe(enum sandbox_who who, int call, const uint64_t *args, int refuse)
{
	int status;
	pid_t child = fork();

	if (child == 0)
		make_call(who, call, args, refuse);
	probes++;
	if (child < 0 || waitpid(child, &status, 0) != child)
		return BROKEN;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		return KILLED;
	/* Anything else that ends it is the call's own work. */
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGALRM ? BROKEN : ALLOWED;
	return WEXITSTATUS(status) == 100 ? BROKEN : WEXITSTATUS(status) == 1 ? REFUSED : ALLOWED;
}

static void expect(enum verdict expected, enum sandbox_who who, int call, const uint64_t *args,
    int refuse, const char *what)
{
	static const char *const verdicts[] = {"allowed", "refused", "killed", "broken"};
	enum verdict verdict = probe(who, call, args, refuse);

	if (verdict == expected)
		return;
	problems++;
	printf("%s: %s(%#llx, %#llx, %#llx, ...) %s: %s instead of %s\n", who_names[who],
	    names[call], (unsigned long long)args[0], (unsigned long long)args[1],
	    (unsigned long long)args[2], what, verdicts[verdict], verdicts[expected]);
}

static void set_right(const struct sandbox_rule *rule, uint64_t *args)
{
	for (int i = 0; i < 6; i++)
		args[i] = UINT64_MAX;
	for (int i = 0; i < SANDBOX_CONDITIONS; i++) {
		const struct sandbox_condition *condition = &rule->conditions[i];

		if (condition->test == SANDBOX_CLEAR)
			args[condition->argument] = 0;
		else if (condition->test != SANDBOX_ANY)
			args[condition->argument] = sandbox_value(condition, &values);
	}
}

/* Break one condition after the other, also above the 32 bits that some calls look at. */
static void probe_wrong(const struct sandbox_rule *rule, enum sandbox_who who, int call)
{
	uint64_t args[6];

	for (int i = 0; i < SANDBOX_CONDITIONS; i++) {
		const struct sandbox_condition *condition = &rule->conditions[i];

		if (condition->test == SANDBOX_ANY)
			continue;
		set_right(rule, args);
		args[condition->argument] ^=
		    condition->test == SANDBOX_CLEAR ? condition->value : UINT64_C(0x40000000);
		/* Another row may let it through: a message to any descriptor, but to no address.
		 */
		expect(permitted(rule->call, who, args) ? ALLOWED : KILLED, who, call, args, 0,
		    "with a wrong argument");
		if (condition->test == SANDBOX_CLEAR)
			continue;
		set_right(rule, args);
		args[condition->argument] |= UINT64_C(1) << 32;
		expect(permitted(rule->call, who, args) ? ALLOWED : KILLED, who, call, args, 0,
		    "with a wrong upper half");
	}
}

static void probe_row(const struct sandbox_rule *rule, enum sandbox_who who, bool *ret_absent)
{
	int call = number_of(rule->call);
	struct sandbox_rule any;
	uint64_t args[6];

	if (call < 0) {
		*ret_absent = true;
		return;
	}
	set_right(rule, args);
	if (!holds_for(rule, who)) {
		/* Another row may let it through: `write` to the log. */
		if (!unconditional(rule->call, who, &any))
			expect(permitted(rule->call, who, args) ? ALLOWED : KILLED, who, call, args,
			    0, "of the other kind of thread");
		return;
	}
	expect(rule->refuse != 0 ? REFUSED : ALLOWED, who, call, args, rule->refuse,
	    "as its row says");
	if (!unconditional(rule->call, who, &any))
		probe_wrong(rule, who, call);
}

/* All there is, with arguments that no condition likes. */
static void probe_all(enum sandbox_who who)
{
	static const uint64_t ones[6] = {
	    UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
	struct sandbox_rule rule;

	for (int call = 0; call < CALLS; call++) {
		if (names[call] == NULL)
			continue;
		if (!unconditional(names[call], who, &rule))
			expect(KILLED, who, call, ones, 0, "that has no row");
		else
			expect(rule.refuse != 0 ? REFUSED : ALLOWED, who, call, ones, rule.refuse,
			    "that has a row");
	}
}

/* What C libraries call behind our back, as seen with glibc 2.36 to 2.43. Each must come back from
 * it: done, or with the error after which the library goes on. The others' own test is to build
 * with them and to run (tests/sandbox/README.md). */
static void probe_libraries(void)
{
	enum {
		MADVISE_HUGE = 14,
		MADVISE_NOT_HUGE = 15,
		MADVISE_GUARD = 102,
		SET_VMA = 0x53564d41
	};
	static const struct {
		enum sandbox_who who;
		const char *name;
		int argument;
		uint64_t value;
		int refuse;
	} calls[] = {
	    {SANDBOX_LOOP, "clone3", 0, UINT64_MAX, ENOSYS},
	    {SANDBOX_LOOP, "fstat", 0, UINT64_MAX, 0},
	    {SANDBOX_LOOP, "newfstatat", 0, UINT64_MAX, 0},
	    {SANDBOX_LOOP, "madvise", 2, MADVISE_GUARD, EINVAL},
	    {SANDBOX_LOOP, "madvise", 2, MADVISE_HUGE, EINVAL},
	    {SANDBOX_LOOP, "madvise", 2, MADVISE_NOT_HUGE, 0},
	    {SANDBOX_LOOP, "prctl", 0, SET_VMA, EINVAL},
	    {SANDBOX_VCPU, "prctl", 0, SET_VMA, EINVAL},
	    {SANDBOX_IO, "prctl", 0, SET_VMA, EINVAL},
	};

	for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
		uint64_t args[6] = {
		    UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};

		args[calls[i].argument] = calls[i].value;
		expect(calls[i].refuse != 0 ? REFUSED : ALLOWED, calls[i].who,
		    number_of(calls[i].name), args, calls[i].refuse, "of a C library");
	}
}

static void list(void)
{
	static const char *const tests[] = {"", "= ", "without ", "= our pid", "= the wake-up fd"};
	struct sandbox_rule rule;

	for (size_t i = 0; sandbox_rule(i, &rule); i++) {
		printf(
		    "%-7s %s(", rule.who == SANDBOX_EVERY ? "all" : who_names[rule.who], rule.call);
		for (int c = 0; c < SANDBOX_CONDITIONS; c++) {
			const struct sandbox_condition *condition = &rule.conditions[c];

			if (condition->test == SANDBOX_ANY)
				continue;
			printf("%sargument %u %s", c > 0 ? ", " : "", condition->argument,
			    tests[condition->test]);
			if (condition->test == SANDBOX_EQUAL || condition->test == SANDBOX_CLEAR)
				printf("%#llx", (unsigned long long)condition->value);
		}
		printf(")%s: %s\n", rule.refuse != 0 ? " fails" : "", rule.reason);
	}
}

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* An entry into the guest without a vCPU, which fails at once: what is left is the way in and out,
 * and the filters. The best of many rounds, because others want the processor, too. */
static void time_entries(const char *what)
{
	enum { ROUNDS = 200, ENTRIES = 1000 };
	struct sandbox_rule run;
	double best = 1e12;
	char line[80];
	int length;

	sandbox_rule(0, &run);
	for (int round = 0; round < ROUNDS; round++) {
		double start = now_ns(), took;

		for (int i = 0; i < ENTRIES; i++)
			ioctl(-1, run.conditions[0].value, 0);
		took = (now_ns() - start) / ENTRIES;
		best = took < best ? took : best;
	}
	length = snprintf(line, sizeof line, "%-20s %5.0f ns\n", what, best);
	if (write(STDERR_FILENO, line, (size_t)length) < 0)
		problems++;
}

/* A vCPU thread cannot install a second filter, so its own comes last here as well. */
static void cost(void)
{
	bool good = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;

	for (int round = 0; round < 2; round++) {
		pid_t child = fork();

		if (child == 0) {
			time_entries("no filter");
			if (round == 1 && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0,
			                      &programs[SANDBOX_LOOP]) == 0)
				time_entries("the loop's filter");
			if (good && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0,
			                &programs[SANDBOX_VCPU]) == 0)
				time_entries(round == 1 ? "and a vCPU's" : "a vCPU's filter");
			for (;;)
				syscall(SYS_exit, 0);
		}
		waitpid(child, NULL, 0);
	}
}

static bool make_programs(void)
{
	struct err err = {0};

	for (size_t i = 0; i < KINDS; i++) {
		free(programs[kinds[i]].filter);
		if (!sandbox_program(kinds[i], &values, &programs[kinds[i]], &err)) {
			printf("%s\n", err.message);
			return false;
		}
	}
	return true;
}

/* Rows for features that the guest does not have. */
static void probe_features(void)
{
	struct sandbox_rule rule;
	bool absent;

	for (size_t row = 0; sandbox_rule(row, &rule); row++)
		for (size_t i = 0; rule.with != 0 && i < KINDS; i++)
			probe_row(&rule, kinds[i], &absent);
}

int main(int argc, char **argv)
{
	struct sandbox_rule rule;
	unsigned rows = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1 && strcmp(argv[1], "list") == 0) {
		list();
		return 0;
	}
	values = (struct sandbox_values){.self = (uint64_t)getpid(), .wake_fd = 99};
	for (int i = 0; i < CALLS; i++)
		names[i] = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, i);
	if (!make_programs())
		return 1;
	if (argc > 1 && strcmp(argv[1], "cost") == 0) {
		cost();
		return 0;
	}
	/* A guest without devices, and one without those that somebody else serves; then the
	 * filters of one with them, in full. */
	probe_features();
	values.features = SANDBOX_PCI | SANDBOX_NET;
	if (!make_programs())
		return 1;
	probe_features();
	values.features |= SANDBOX_VHOST;
	if (!make_programs())
		return 1;
	for (; sandbox_rule(rows, &rule); rows++) {
		bool absent = false;

		for (size_t i = 0; i < KINDS; i++)
			probe_row(&rule, kinds[i], &absent);
		if (absent)
			printf("%s: not a call of this processor\n", rule.call);
	}
	for (size_t i = 0; i < KINDS; i++)
		probe_all(kinds[i]);
	probe_libraries();
	printf("%u rows, %u, %u and %u instructions, %u probes, %u problems\n", rows,
	    programs[SANDBOX_LOOP].len, programs[SANDBOX_VCPU].len, programs[SANDBOX_IO].len,
	    probes, problems);
	return problems != 0 || probes < rows;
}
