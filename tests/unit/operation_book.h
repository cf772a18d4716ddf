/* SPDX-License-Identifier: Apache-2.0 */
/*
 * operation_book.h - a book of operations for tests, one guest's evidence, and what is expected to
 * be reported next.
 */
#ifndef PAPRIKA_OPERATION_BOOK_H
#define PAPRIKA_OPERATION_BOOK_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "drc/operation.h"

#define SLOTS 16
#define INDEX 0x10000008u
#define DEADLINE_MS 15000

struct book {
	struct ops ops;
	struct operation slots[SLOTS];
};

static inline int open_book(void **state)
{
	static struct book book;

	book = (struct book){.ops = {.count = 0}};
	ops_init(&book.ops, book.slots, SLOTS);
	*state = &book;
	return 0;
}

static const struct op_evidence by_guest = {.source = OP_BY_GUEST,
    .call = "set-indicator",
    .indicator = 9001,
    .value = 1,
    .vcpu = 3,
    .parts_used = 2,
    .parts = 4};
static const struct op_evidence by_reset = {.source = OP_BY_RESET};

static inline struct operation *begin(struct book *book, enum op_kind kind, uint64_t now_ms)
{
	return ops_begin(&book->ops, kind, &(struct op_subject){INDEX, "core", 8, "core1"}, now_ms);
}

/* The next report must be this step of this operation. */
static inline void expect_report(struct book *book, uint64_t id, enum op_step step)
{
	struct operation op;
	enum op_step reported;

	assert_true(ops_next_report(&book->ops, true, &op, &reported));
	assert_int_equal(op.id, id);
	assert_string_equal(op_step_name(reported), op_step_name(step));
}

static inline void expect_no_report(struct book *book)
{
	struct operation op;
	enum op_step step;

	assert_false(ops_next_report(&book->ops, true, &op, &step));
}

static inline void report_all(struct book *book)
{
	struct operation op;
	enum op_step step;

	while (ops_next_report(&book->ops, true, &op, &step))
		;
}

#endif
