/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_loop.c - the memory that libev is given: it never ends beyond what was set aside, however
 * little is left. The file itself is included, because its allocator is its own.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../src/vmm/loop.c"

void complain_error(const struct err *err)
{
	fail_msg("%s", err->message);
}

static void begin(size_t used)
{
	memory.bytes = malloc(MEMORY_BYTES);
	memory.used = used;
	assert_non_null(memory.bytes);
}

static void end(void)
{
	free(memory.bytes);
	memory.bytes = NULL;
}

/* With each number of bytes left, the sanitizer sees what is written beyond them. */
static void what_is_left_is_enough_or_refused(void **state)
{
	(void)state;
	for (size_t left = 0; left <= 8 * ALIGN_BYTES; left += ALIGN_BYTES) {
		for (long size = 1; size <= (long)(8 * ALIGN_BYTES); size++) {
			size_t needed = sizeof(struct block) + ((size_t)size + ALIGN_BYTES - 1) /
			                                           ALIGN_BYTES * ALIGN_BYTES;
			unsigned char *taken;

			begin(MEMORY_BYTES - left);
			taken = take(NULL, size);
			assert_int_equal(taken != NULL, needed <= left);
			if (taken != NULL)
				memset(taken, 0xff, (size_t)size);
			assert_int_equal(memory.used, MEMORY_BYTES - left + (taken ? needed : 0));
			end();
		}
	}
}

static void a_block_that_grows_keeps_its_content(void **state)
{
	unsigned char *before, *after;

	(void)state;
	begin(0);
	before = take(NULL, 16);
	memset(before, 0x5a, 16);
	assert_ptr_equal(take(before, 8), before);
	after = take(before, 64);
	assert_ptr_not_equal(after, before);
	for (int i = 0; i < 16; i++)
		assert_int_equal(after[i], 0x5a);
	assert_null(take(after, 0));
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_left_is_enough_or_refused),
	    cmocka_unit_test(a_block_that_grows_keeps_its_content),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
