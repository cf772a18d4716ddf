/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_parse.c - QMP's JSON made jansson's. Where requests begin and end is tested through the
 * socket, in test_control.c.
 */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/parse.h"

/* The result, in memory that is not a byte larger than it may need. */
static char *rewritten(const char *text, size_t length)
{
	char *copy = malloc(length > 0 ? length : 1), *result;
	size_t got;

	assert_non_null(copy);
	memcpy(copy, text, length);
	result = malloc(PARSE_QMP_TEXT_MAX(length));
	assert_non_null(result);
	got = parse_qmp_text(copy, length, result);
	assert_true(got < PARSE_QMP_TEXT_MAX(length));
	result[got] = '\0';
	free(copy);
	return result;
}

static void test_what_is_rewritten(void **state)
{
	/* clang-format off */
	static const char *const rows[][2] = {
	{"", ""},
	{"{\"a\": [1, -2.5e3, true, null]}\r\n", "{\"a\": [1, -2.5e3, true, null]}\r\n"},
	{"{'a': 'b'}", "{\"a\": \"b\"}"},
	{"'say \"it\\'s\" \\\\'", "\"say \\\"it's\\\" \\\\\""},
	{"\"it\\'s \\\"'\\\"\"", "\"it's \\\"'\\\"\""},
	{"'\\u00e9\\n\\\"'", "\"\\u00e9\\n\\\"\""},
	/* Broken texts stay so. */
	{"'", "\""}, {"'\\", "\"\\"}, {"\"a\\", "\"a\\"}, {"'a\\'", "\"a'"}, {"-", "-"}, {"1e+", "1e+"},
	/* Numbers at the edges of 64 bits and of floating-point. */
	{"9223372036854775807", "9223372036854775807"},
	{"9223372036854775808", "9223372036854775808.0"},
	{"-9223372036854775808", "-9223372036854775808"},
	{"[-9223372036854775809]", "[-9223372036854775809.0]"},
	{"18446744073709551616,", "18446744073709551616.0,"},
	{"1e308", "1e308"}, {"1e309", "1e308"}, {"-1E+999", "-1e308"}, {"1e-999", "1e-999"},
	{"\"99999999999999999999\"", "\"99999999999999999999\""},
	{"'99999999999999999999'", "\"99999999999999999999\""},
	};
	/* clang-format on */

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char *result = rewritten(rows[i][0], strlen(rows[i][0]));

		assert_string_equal(result, rows[i][1]);
		free(result);
	}
}

/* The costliest text of each length fits. */
static void test_the_longest(void **state)
{
	static const char costly[] = "\"'\\19e.-";
	char text[64];
	uint64_t seed = 1;

	(void)state;
	for (size_t length = 0; length < sizeof text; length++) {
		memset(text, '"', sizeof text);
		text[0] = '\'';
		free(rewritten(text, length));
		memset(text, '9', sizeof text);
		free(rewritten(text, length));
		text[0] = '-';
		free(rewritten(text, length));
	}
	for (int i = 0; i < 100000; i++) {
		for (size_t j = 0; j < sizeof text; j++) {
			seed = seed * UINT64_C(6364136223846793005) + 1;
			text[j] = costly[(seed >> 40) % (sizeof costly - 1)];
		}
		free(rewritten(text, (seed >> 33) % sizeof text));
	}
}

/* What was JSON means the same afterwards. */
static void test_json_stays(void **state)
{
	static const char text[] =
	    "{\"a\": [1, -1, 0.5, -1e-7, \"'\\\\'\", \"\\\"\", {}, [], true, null, 12345678901]}";
	char *result = rewritten(text, strlen(text));
	json_t *before = json_loads(text, 0, NULL), *after = json_loads(result, 0, NULL);

	(void)state;
	assert_non_null(before);
	assert_true(json_equal(before, after));
	json_decref(before);
	json_decref(after);
	free(result);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_is_rewritten),
	    cmocka_unit_test(test_the_longest),
	    cmocka_unit_test(test_json_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
