/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_family.c - the table of the second family of connector (pair_device.h), enumerated to its
 * fixpoint. test_drc.c does this for the table of the program.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "pair_device.h"

static bool same_drc(const struct drc *a, const struct drc *b)
{
	return a->state == b->state && a->attached == b->attached && a->adding == b->adding &&
	       a->removing == b->removing && a->isolated_from == b->isolated_from;
}

static void the_second_family_has_an_answer_in_every_state(void **state)
{
	struct drc reached[64] = {{0}};
	size_t count = 1;

	(void)state;
	for (size_t i = 0; i < count; i++)
		for (enum drc_input input = 0; input < DRC_INPUT_LOGICAL; input++) {
			struct drc next = reached[i];
			size_t known = 0;

			assert_non_null(drc_row_for(&drc_type_half, &next, input));
			drc_step(&drc_type_half, &next, input);
			assert_true(drc_valid(&next));
			while (known < count && !same_drc(&reached[known], &next))
				known++;
			assert_true(known < 64);
			if (known == count)
				reached[count++] = next;
		}
	print_message("# %zu states\n", count);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_second_family_has_an_answer_in_every_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
