/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rules.h - the table of system calls, as sandbox.c and the tests see it.
 */
#ifndef PAPRIKA_RULES_H
#define PAPRIKA_RULES_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Which threads, a bit each. The loop's may do whatever another may, see sandbox.h. */
enum sandbox_who {
	SANDBOX_LOOP = 1,
	SANDBOX_VCPU = 2,
	SANDBOX_IO = 4, /* of a queue of a device */
	SANDBOX_EVERY = SANDBOX_LOOP | SANDBOX_VCPU | SANDBOX_IO,
};

/* What a guest can be started with that needs rows of its own, a bit each. */
enum sandbox_feature {
	SANDBOX_PCI = 1,
	SANDBOX_NET = 2,
	SANDBOX_VHOST = 4, /* devices whose queues somebody else serves, now or later */
};

enum sandbox_test {
	SANDBOX_ANY,     /* no condition */
	SANDBOX_EQUAL,   /* the argument is value */
	SANDBOX_CLEAR,   /* none of the bits of value is set in it */
	SANDBOX_SELF,    /* it is our process id */
	SANDBOX_WAKE_FD, /* it is the descriptor that wakes the loop */
};

struct sandbox_condition {
	enum sandbox_test test;
	unsigned argument; /* 0 to 5 */
	uint64_t value;
};

enum { SANDBOX_CONDITIONS = 2 };

struct sandbox_rule {
	unsigned who;     /* enum sandbox_who */
	unsigned with;    /* enum sandbox_feature: it is left out without them */
	const char *call; /* one that the architecture does not have is left out */
	struct sandbox_condition conditions[SANDBOX_CONDITIONS];
	const char *reason;
	int refuse; /* if not 0: the call fails with this errno */
};

/* What the conditions compare with. */
struct sandbox_values {
	uint64_t self;
	uint64_t wake_fd;
	unsigned features; /* enum sandbox_feature */
};

/* Is it in the filter of this kind of thread, with these features? */
bool sandbox_rule_holds(
    const struct sandbox_rule *rule, enum sandbox_who who, const struct sandbox_values *values);

/* Rule number n of all, those of KVM's requests included; false if there are fewer. */
bool sandbox_rule(size_t n, struct sandbox_rule *ret_rule);

/* The value a condition compares with. */
uint64_t sandbox_value(
    const struct sandbox_condition *condition, const struct sandbox_values *values);

/* The filter for one kind of thread. Its instructions are allocated; free() them. */
bool sandbox_program(enum sandbox_who who, const struct sandbox_values *values,
    struct sock_fprog *ret_program, struct err *err);

#endif
