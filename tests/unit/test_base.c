/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_base.c - what everything else stands on: errors, the log's limiter, big-endian numbers,
 * and the one door to guest memory, whose checks are what keeps a guest out of the process.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/be.h"
#include "base/err.h"
#include "base/le.h"
#include "base/log.h"
#include "mem/gmem.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

/* --- Errors ------------------------------------------------------------------------------ */

static void the_first_to_notice_an_error_describes_it(void **state)
{
	struct err err = {0};

	(void)state;
	assert_false(err_set(&err, ERR_USAGE, "use 4", "threads %d cannot be", 3));
	assert_false(err_set(&err, ERR_HOST, "buy a new one", "something else"));
	assert_false(err_system(&err, ENOMEM, NULL, "no memory"));
	assert_int_equal(err.class, ERR_USAGE);
	assert_string_equal(err.message, "threads 3 cannot be");
	assert_string_equal(err.hint, "use 4");
}

static void a_failed_system_call_says_why(void **state)
{
	struct err err = {0};

	(void)state;
	assert_false(err_system(&err, ENOENT, NULL, "cannot open %s", "vmlinux"));
	assert_int_equal(err.class, ERR_SYSTEM);
	assert_string_equal(err.message, "cannot open vmlinux: No such file or directory");
	assert_string_equal(err.hint, "");
}

static void long_errors_are_cut_and_terminated(void **state)
{
	struct err err = {0}, other = {0};
	char text[2000];

	(void)state;
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	err_set(&err, ERR_STATE, text, "%s", text);
	assert_int_equal(strnlen(err.message, sizeof err.message), sizeof err.message - 1);
	assert_int_equal(strnlen(err.hint, sizeof err.hint), sizeof err.hint - 1);
	err_system(&other, ENOENT, text, "%s", text);
	assert_int_equal(strnlen(other.message, sizeof other.message), sizeof other.message - 1);
}

/* --- The log ----------------------------------------------------------------------------- */

/* Standard error goes to a file while a test of the log runs. */
struct capture {
	FILE *file;
	int saved;
};

static int begin_capture(void **state)
{
	struct capture *capture = calloc(1, sizeof *capture);

	if (capture == NULL || (capture->file = tmpfile()) == NULL)
		return -1;
	capture->saved = dup(STDERR_FILENO);
	log_level = LOG_WARN;
	*state = capture;
	return dup2(fileno(capture->file), STDERR_FILENO) < 0 ? -1 : 0;
}

static int end_capture(void **state)
{
	struct capture *capture = *state;

	dup2(capture->saved, STDERR_FILENO);
	close(capture->saved);
	fclose(capture->file);
	free(capture);
	return 0;
}

/* Lines written so far, and how many lines those say were not shown. */
struct written {
	uint64_t lines, not_shown;
	char last[2048];
};

static struct written read_capture(struct capture *capture)
{
	struct written written = {0};

	rewind(capture->file);
	while (fgets(written.last, sizeof written.last, capture->file) != NULL) {
		const char *count = strstr(written.last, " (");
		unsigned value = 0;

		assert_ptr_equal(strstr(written.last, "paprika: "), written.last);
		assert_int_equal(written.last[strlen(written.last) - 1], '\n');
		written.lines++;
		if (count != NULL && sscanf(count, " (%u more like this", &value) == 1)
			written.not_shown += value;
	}
	return written;
}

static void a_flood_is_cut_to_a_burst_and_counted(void **state)
{
	struct log_limit limit = {0};
	uint64_t begin_ms = clock_ms(), seconds;
	struct written written;

	for (unsigned i = 0; i < 5000; i++)
		log_guest(&limit, LOG_WARN, "vCPU %u does it again", 3u);
	seconds = (clock_ms() - begin_ms) / 1000;
	written = read_capture(*state);
	assert_true(written.lines >= LOG_GUEST_BURST);
	assert_true(written.lines <= LOG_GUEST_BURST + 1 + seconds);
	assert_int_equal(written.lines + written.not_shown + limit.suppressed, 5000);
}

static void the_next_line_that_gets_through_tells_the_count(void **state)
{
	struct log_limit limit = {.lines = LOG_GUEST_BURST, .suppressed = 41, .last_ms = 0};
	struct written written;

	/* It was long ago that the last one got through. */
	log_guest(&limit, LOG_WARN, "again");
	written = read_capture(*state);
	assert_int_equal(written.lines, 1);
	assert_int_equal(written.not_shown, 41);
	assert_int_equal(limit.suppressed, 0);
	assert_non_null(strstr(written.last, "paprika: warn ["));
	assert_non_null(strstr(written.last, "] again (41 more like this not shown)\n"));
}

static void what_the_level_hides_is_not_counted(void **state)
{
	struct log_limit limit = {0};

	for (unsigned i = 0; i < 100; i++)
		log_guest(&limit, LOG_DEBUG, "hidden");
	log_line(LOG_INFO, "hidden too");
	assert_int_equal(read_capture(*state).lines, 0);
	assert_int_equal(limit.lines, 0);
	assert_int_equal(limit.suppressed, 0);
}

static void *flood(void *limit)
{
	for (unsigned i = 0; i < 500; i++)
		log_guest(limit, LOG_WARN, "one of many");
	return NULL;
}

static void several_threads_lose_no_count_and_mix_no_lines(void **state)
{
	struct log_limit limit = {0};
	struct written written;
	pthread_t threads[4];

	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, flood, &limit), 0);
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	written = read_capture(*state);
	assert_int_equal(written.lines + written.not_shown + limit.suppressed, 4 * 500);
}

static void an_endless_message_is_one_line(void **state)
{
	struct log_limit limit = {.lines = LOG_GUEST_BURST, .suppressed = 4000000000};
	char text[5000];
	struct written written;

	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	log_guest(&limit, LOG_WARN, "%s", text);
	written = read_capture(*state);
	assert_int_equal(written.lines, 1);
	assert_true(strlen(written.last) <= 1024);
	assert_int_equal(written.not_shown, 4000000000);
}

static void levels_are_known_by_name(void **state)
{
	enum log_level level = LOG_ERROR;

	(void)state;
	assert_true(log_level_from_name("debug", &level));
	assert_int_equal(level, LOG_DEBUG);
	assert_true(log_level_from_name("error", &level));
	assert_int_equal(level, LOG_ERROR);
	assert_false(log_level_from_name("loud", &level));
	assert_false(log_level_from_name("", &level));
	assert_int_equal(level, LOG_ERROR);
}

/* --- Big-endian numbers ------------------------------------------------------------------ */

static void the_first_byte_is_the_highest(void **state)
{
	static const uint8_t bytes[] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};
	struct be16 two = be16(0x0123);
	struct be32 four = be32(0x01234567);
	struct be64 eight = be64(0x0123456789abcdef);

	(void)state;
	assert_int_equal(sizeof two, 2);
	assert_int_equal(sizeof four, 4);
	assert_int_equal(sizeof eight, 8);
	assert_memory_equal(&two, bytes, sizeof two);
	assert_memory_equal(&four, bytes, sizeof four);
	assert_memory_equal(&eight, bytes, sizeof eight);
	assert_int_equal(from_be32(four), 0x01234567);
	assert_true(from_be64(eight) == 0x0123456789abcdef);
}

static void the_first_byte_is_the_lowest(void **state)
{
	static const uint8_t bytes[8] = {8, 7, 6, 5, 4, 3, 2, 1};
	struct le16 two = le16(0x0708);
	struct le32 four = le32(0x05060708);
	struct le64 eight = le64(UINT64_C(0x0102030405060708));

	(void)state;
	assert_memory_equal(&two, bytes, sizeof two);
	assert_memory_equal(&four, bytes, sizeof four);
	assert_memory_equal(&eight, bytes, sizeof eight);
	assert_int_equal(from_le16(two), 0x0708);
	assert_int_equal(from_le32(four), 0x05060708);
	assert_int_equal(from_le64(eight), UINT64_C(0x0102030405060708));
}

/* --- Guest memory ------------------------------------------------------------------------ */

static struct gmem make_gmem(uint64_t size_bytes)
{
	struct gmem gmem;
	struct err err = {0};

	assert_true(gmem_init(&gmem, size_bytes, size_bytes, &err));
	assert_int_equal(gmem.size_bytes, size_bytes);
	return gmem;
}

static void only_ranges_inside_ram_are_contained(void **state)
{
	static const uint64_t size = 4 * MIB;
	struct gmem gmem = make_gmem(size);
	const struct {
		uint64_t address, length;
		bool inside;
	} ranges[] = {
	    {0, 0, true}, {0, 1, true}, {0, size, true}, {0, size + 1, false}, {size - 8, 8, true},
	    {size - 7, 8, false}, {size, 0, true}, {size, 1, false}, {size + 1, 0, false},
	    {1, UINT64_MAX, false}, {0, UINT64_MAX, false}, {size - 1, UINT64_MAX, false},
	    {UINT64_MAX, 0, false}, {UINT64_MAX, 1, false}, {UINT64_MAX, 2, false},
	    {UINT64_MAX, UINT64_MAX, false}, {UINT64_MAX - 7, 8, false},
	    {UINT64_MAX - 7, 16, false}, {UINT64_C(1) << 63, UINT64_C(1) << 63, false},
	    {UINT64_C(0xc000000000000000), 8, false}, /* Linux' own address for its first byte */
	};

	(void)state;
	for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
		bool inside = gmem_contains(&gmem, ranges[i].address, ranges[i].length);
		uint8_t *window = gmem_window(&gmem, ranges[i].address, ranges[i].length);

		if (inside != ranges[i].inside)
			print_error("# %#llx + %#llx\n", (unsigned long long)ranges[i].address,
			    (unsigned long long)ranges[i].length);
		assert_int_equal(inside, ranges[i].inside);
		assert_ptr_equal(window, inside ? gmem.host + ranges[i].address : NULL);
	}
	gmem_finish(&gmem);
}

static void what_was_written_is_read_to_the_last_byte(void **state)
{
	struct gmem gmem = make_gmem(2 * MIB);
	uint8_t in[16] = "0123456789abcde", out[16];

	(void)state;
	assert_true(gmem_write(&gmem, 2 * MIB - sizeof in, in, sizeof in));
	assert_true(gmem_read(&gmem, 2 * MIB - sizeof out, out, sizeof out));
	assert_memory_equal(in, out, sizeof in);
	assert_true(gmem_write(&gmem, 2 * MIB, in, 0));
	assert_true(gmem_read(&gmem, 2 * MIB, out, 0));
	gmem_finish(&gmem);
}

static void numbers_of_16_bits_lie_at_even_addresses_in_ram(void **state)
{
	static const uint64_t wrong[] = {1, 2 * MIB - 1, 2 * MIB, 2 * MIB + 2, UINT64_MAX - 1};
	struct gmem gmem = make_gmem(2 * MIB);
	struct le16 value = {0};
	uint8_t bytes[2];

	(void)state;
	assert_true(gmem_store16(&gmem, 2 * MIB - 2, le16(0x1234)));
	assert_true(gmem_read(&gmem, 2 * MIB - 2, bytes, 2));
	assert_true(bytes[0] == 0x34 && bytes[1] == 0x12);
	assert_true(gmem_load16(&gmem, 2 * MIB - 2, &value));
	assert_int_equal(from_le16(value), 0x1234);
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		assert_false(gmem_load16(&gmem, wrong[i], &value));
		assert_false(gmem_store16(&gmem, wrong[i], le16(0)));
	}
	assert_int_equal(from_le16(value), 0x1234);
	gmem_finish(&gmem);
}

static void io_vectors_lie_in_ram(void **state)
{
	struct gmem gmem = make_gmem(2 * MIB);
	struct iovec vector = {NULL, 77};

	(void)state;
	assert_false(gmem_iovec(&gmem, 2 * MIB - 15, 16, &vector));
	assert_false(gmem_iovec(&gmem, UINT64_MAX, 2, &vector));
	assert_true(vector.iov_base == NULL && vector.iov_len == 77);
	assert_true(gmem_iovec(&gmem, 2 * MIB - 16, 16, &vector));
	assert_ptr_equal(vector.iov_base, gmem.host + 2 * MIB - 16);
	assert_int_equal(vector.iov_len, 16);
	gmem_finish(&gmem);
}

static void out_of_range_nothing_is_copied_not_even_in_part(void **state)
{
	struct gmem gmem = make_gmem(2 * MIB);
	uint8_t in[16], out[16], tail[15];

	(void)state;
	memset(in, 0xaa, sizeof in);
	memset(out, 0x55, sizeof out);
	assert_false(gmem_write(&gmem, 2 * MIB - 15, in, sizeof in));
	assert_true(gmem_read(&gmem, 2 * MIB - 15, tail, sizeof tail));
	for (size_t i = 0; i < sizeof tail; i++)
		assert_int_equal(tail[i], 0);
	assert_false(gmem_read(&gmem, 2 * MIB - 15, out, sizeof out));
	assert_false(gmem_read(&gmem, UINT64_MAX - 3, out, sizeof out));
	assert_false(gmem_read(&gmem, 0, out, SIZE_MAX));
	for (size_t i = 0; i < sizeof out; i++)
		assert_int_equal(out[i], 0x55);
	gmem_finish(&gmem);
}

static uint64_t populated_bytes(const struct gmem *gmem)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = gmem->size_bytes / page;
	unsigned char *present = malloc(pages);
	uint64_t bytes = 0;

	assert_non_null(present);
	assert_int_equal(mincore(gmem->host, gmem->size_bytes, present), 0);
	for (size_t i = 0; i < pages; i++)
		bytes += present[i] & 1 ? page : 0;
	free(present);
	return bytes;
}

static void memory_comes_as_it_is_touched(void **state)
{
	struct gmem gmem = make_gmem(5 * GIB);
	uint64_t value = 1;

	(void)state;
	assert_int_equal(populated_bytes(&gmem), 0);
	assert_true(gmem_write(&gmem, 5 * GIB - sizeof value, &value, sizeof value));
	assert_true(gmem_write(&gmem, 3 * GIB, &value, sizeof value));
	assert_true(populated_bytes(&gmem) > 0);
	assert_true(populated_bytes(&gmem) <= 4 * MIB); /* two huge pages at most */
	gmem_finish(&gmem);
}

static void cleared_memory_is_zero_and_given_back(void **state)
{
	struct gmem gmem = make_gmem(GIB);
	struct err err = {0};
	uint64_t value = 0x1122334455667788;

	(void)state;
	for (uint64_t address = 0; address < GIB; address += 64 * MIB)
		assert_true(gmem_write(&gmem, address, &value, sizeof value));
	assert_true(gmem_clear(&gmem, &err));
	assert_int_equal(populated_bytes(&gmem), 0);
	for (uint64_t address = 0; address < GIB; address += 64 * MIB) {
		assert_true(gmem_read(&gmem, address, &value, sizeof value));
		assert_int_equal(value, 0);
	}
	assert_true(gmem_write(&gmem, 0, &value, sizeof value)); /* and usable */
	gmem_finish(&gmem);
}

/* The file has what guest memory has, and can be made neither longer nor shorter. What stops being
 * memory leaves nothing in it. */
static void shared_memory_is_a_file(void **state)
{
	const uint64_t block = GMEM_BLOCK_BYTES;
	uint64_t value = 0x1122334455667788, seen = 0;
	struct gmem gmem;
	struct err err = {0};
	struct stat file;

	(void)state;
	assert_true(gmem_init_shared(&gmem, block, 2 * block, &err));
	assert_true(gmem.shared);
	assert_int_equal(fstat(gmem.fd, &file), 0);
	assert_int_equal(file.st_size, 2 * block);
	assert_int_equal(file.st_blocks, 0);
	assert_true(gmem_write(&gmem, 4096, &value, sizeof value));
	assert_int_equal(pread(gmem.fd, &seen, sizeof seen, 4096), sizeof seen);
	assert_int_equal(seen, value);
	assert_int_equal(ftruncate(gmem.fd, 0), -1);
	assert_int_equal(ftruncate(gmem.fd, (off_t)(3 * block)), -1);
	assert_false(gmem_contains(&gmem, block, 1));
	for (unsigned round = 0; round < 2; round++) {
		/* Somebody else has written where there was no memory. */
		assert_int_equal(pwrite(gmem.fd, &value, sizeof value, (off_t)block), sizeof value);
		assert_true(gmem_add_block(&gmem, block, &err));
		assert_true(gmem_read(&gmem, block, &seen, sizeof seen));
		assert_int_equal(seen, 0);
		assert_true(gmem_write(&gmem, 2 * block - 8, &value, sizeof value));
		gmem_remove_block(&gmem, block);
		assert_int_equal(
		    pread(gmem.fd, &seen, sizeof seen, (off_t)(2 * block - 8)), sizeof seen);
		assert_int_equal(seen, 0);
	}
	assert_true(gmem_clear(&gmem, &err));
	assert_true(gmem_read(&gmem, 4096, &seen, sizeof seen));
	assert_int_equal(seen, 0);
	assert_int_equal(fstat(gmem.fd, &file), 0);
	gmem_finish(&gmem);
	gmem_finish(&gmem);
	assert_false(gmem_init_shared(&gmem, UINT64_C(1) << 60, UINT64_C(1) << 60, &err));
}

static void more_than_an_address_space_is_an_error(void **state)
{
	struct gmem gmem = {.host = NULL};
	struct err err = {0};

	(void)state;
	assert_false(gmem_init(&gmem, UINT64_C(1) << 60, UINT64_C(1) << 60, &err));
	assert_int_equal(err.class, ERR_USAGE);
	assert_non_null(strstr(err.message, "1099511627776 MiB"));
	assert_string_not_equal(err.hint, "");
}

static void memory_that_never_was_can_be_finished(void **state)
{
	struct gmem gmem = {.host = NULL};

	(void)state;
	gmem_finish(&gmem);
	gmem = make_gmem(2 * MIB);
	gmem_finish(&gmem);
	gmem_finish(&gmem);
	assert_false(gmem_contains(&gmem, 0, 1));
	assert_null(gmem.host);
}

#define CAPTURED(name) cmocka_unit_test_setup_teardown(name, begin_capture, end_capture)

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_first_to_notice_an_error_describes_it),
	    cmocka_unit_test(a_failed_system_call_says_why),
	    cmocka_unit_test(long_errors_are_cut_and_terminated),
	    CAPTURED(a_flood_is_cut_to_a_burst_and_counted),
	    CAPTURED(the_next_line_that_gets_through_tells_the_count),
	    CAPTURED(what_the_level_hides_is_not_counted),
	    CAPTURED(several_threads_lose_no_count_and_mix_no_lines),
	    CAPTURED(an_endless_message_is_one_line),
	    cmocka_unit_test(levels_are_known_by_name),
	    cmocka_unit_test(the_first_byte_is_the_highest),
	    cmocka_unit_test(the_first_byte_is_the_lowest),
	    cmocka_unit_test(only_ranges_inside_ram_are_contained),
	    cmocka_unit_test(what_was_written_is_read_to_the_last_byte),
	    cmocka_unit_test(out_of_range_nothing_is_copied_not_even_in_part),
	    cmocka_unit_test(numbers_of_16_bits_lie_at_even_addresses_in_ram),
	    cmocka_unit_test(io_vectors_lie_in_ram),
	    cmocka_unit_test(memory_comes_as_it_is_touched),
	    cmocka_unit_test(cleared_memory_is_zero_and_given_back),
	    cmocka_unit_test(shared_memory_is_a_file),
	    cmocka_unit_test(more_than_an_address_space_is_an_error),
	    cmocka_unit_test(memory_that_never_was_can_be_finished),
	};

	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
