/* SPDX-License-Identifier: Apache-2.0 */
/* test_device_reports.c - what devices report on its way to the operator: none is lost, and no
 * guest can make many reports of them. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/device_reports.h"

static struct device_reports reports;
static int woken;
static const char *there; /* the disk that the machine still has */

static void wake(void *context)
{
	(void)context;
	woken++;
}

static const struct disk_identity unknown;

static bool gone(void *context, const char *device)
{
	(void)context;
	return there == NULL || strcmp(device, there) != 0;
}

static bool none_gone(void *context, const char *device)
{
	(void)context;
	(void)device;
	return false;
}

static int set_up(void **state)
{
	(void)state;
	reports = (struct device_reports){.context = NULL};
	device_reports_init(&reports, wake, NULL);
	woken = 0;
	there = NULL;
	return 0;
}

static const struct virtio_blk_error full = {
    .operation = DISK_WRITE, .sector = 8, .bytes = 4096, .error = ENOSPC};

static void an_error_is_reported_once(void **state)
{
	struct device_report *place = device_reports_place(&reports, "data", none_gone, NULL);
	struct device_report error;
	int64_t wait_ms;

	(void)state;
	assert_false(device_reports_take(&reports, 5000, &error, &wait_ms));
	assert_int_equal(wait_ms, -1);
	device_reports_error(place, &full);
	assert_int_equal(woken, 1);
	assert_true(device_reports_take(&reports, 5000, &error, &wait_ms));
	assert_string_equal(error.device, "data");
	assert_int_equal(error.errors, 1);
	assert_int_equal(error.last.operation, DISK_WRITE);
	assert_int_equal(error.last.sector, 8);
	assert_int_equal(error.last.error, ENOSPC);
	assert_false(device_reports_take(&reports, 9000, &error, &wait_ms));
	assert_int_equal(wait_ms, -1);
}

static void many_are_one_report_in_a_second(void **state)
{
	struct device_report *place = device_reports_place(&reports, "data", none_gone, NULL);
	struct device_report error;
	int64_t wait_ms;

	(void)state;
	for (int i = 0; i < 1000; i++)
		device_reports_error(place, &full);
	assert_int_equal(woken, 1);
	assert_true(device_reports_take(&reports, 5000, &error, &wait_ms));
	assert_int_equal(error.errors, 1000);
	device_reports_error(place, &full);
	assert_int_equal(woken, 2);
	assert_false(device_reports_take(&reports, 5400, &error, &wait_ms));
	assert_int_equal(wait_ms, 600);
	assert_true(device_reports_take(&reports, 6000, &error, &wait_ms));
	assert_int_equal(error.errors, 1);
}

static void each_disk_has_its_own(void **state)
{
	struct device_report *first = device_reports_place(&reports, "first", none_gone, NULL);
	struct device_report *second = device_reports_place(&reports, "second", none_gone, NULL);
	struct device_report error;
	int64_t wait_ms;

	(void)state;
	device_reports_error(first, &full);
	assert_true(device_reports_take(&reports, 5000, &error, &wait_ms));
	device_reports_error(first, &full);
	device_reports_error(second, &full);
	assert_true(device_reports_take(&reports, 5001, &error, &wait_ms));
	assert_string_equal(error.device, "second");
	assert_false(device_reports_take(&reports, 5001, &error, &wait_ms));
	assert_int_equal(wait_ms, 999);
}

static void the_place_of_a_disk_that_has_left_is_used_again(void **state)
{
	struct device_report *places[OPTION_DISKS_MAX];
	char name[16];

	(void)state;
	for (int i = 0; i < OPTION_DISKS_MAX; i++) {
		snprintf(name, sizeof name, "disk%d", i);
		places[i] = device_reports_place(&reports, name, none_gone, NULL);
		assert_non_null(places[i]);
		assert_true(i == 0 || places[i] != places[i - 1]);
	}
	assert_null(device_reports_place(&reports, "more", none_gone, NULL));
	there = "disk0";
	assert_ptr_equal(device_reports_place(&reports, "more", gone, NULL), places[1]);
	/* The same name is the same place. */
	assert_ptr_equal(device_reports_place(&reports, "disk0", gone, NULL), places[0]);
}

static void *note_many(void *place)
{
	for (int i = 0; i < 10000; i++)
		device_reports_error(place, &full);
	return NULL;
}

static void no_error_of_several_threads_is_lost(void **state)
{
	struct device_report *place = device_reports_place(&reports, "data", none_gone, NULL);
	struct device_report error;
	pthread_t threads[2];
	uint64_t count = 0;
	int64_t wait_ms;

	(void)state;
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, note_many, place), 0);
	for (uint64_t now_ms = 5000; count < 20000; now_ms += DISK_ERROR_PERIOD_MS)
		if (device_reports_take(&reports, now_ms, &error, &wait_ms))
			count += error.errors;
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(count, 20000);
}

/* A file by its device and inode, a block device by its number; both only read is no conflict. */
static void a_file_that_the_guest_has_is_found(void **state)
{
	const struct stat file = {.st_mode = S_IFREG, .st_dev = 1, .st_ino = 7},
	                  other = {.st_mode = S_IFREG, .st_dev = 2, .st_ino = 7},
	                  device = {.st_mode = S_IFBLK, .st_dev = 1, .st_ino = 8, .st_rdev = 9},
	                  same_device = {
	                      .st_mode = S_IFBLK, .st_dev = 3, .st_ino = 1, .st_rdev = 9};
	struct disk_identity identity = disk_identity_of(&file, false);

	(void)state;
	assert_null(device_reports_owner(&reports, &identity, none_gone, NULL));
	device_reports_place(&reports, "unknown", none_gone, NULL);
	assert_null(device_reports_owner(&reports, &unknown, none_gone, NULL));
	device_reports_place(&reports, "data", none_gone, NULL)->identity = identity;
	identity = disk_identity_of(&device, true);
	device_reports_place(&reports, "device", none_gone, NULL)->identity = identity;
	identity = disk_identity_of(&file, true);
	assert_string_equal(device_reports_owner(&reports, &identity, none_gone, NULL), "data");
	identity = disk_identity_of(&other, false);
	assert_null(device_reports_owner(&reports, &identity, none_gone, NULL));
	identity = disk_identity_of(&same_device, false);
	assert_string_equal(device_reports_owner(&reports, &identity, none_gone, NULL), "device");
	identity = disk_identity_of(&same_device, true);
	assert_null(device_reports_owner(&reports, &identity, none_gone, NULL));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(an_error_is_reported_once, set_up),
	    cmocka_unit_test_setup(many_are_one_report_in_a_second, set_up),
	    cmocka_unit_test_setup(each_disk_has_its_own, set_up),
	    cmocka_unit_test_setup(the_place_of_a_disk_that_has_left_is_used_again, set_up),
	    cmocka_unit_test_setup(no_error_of_several_threads_is_lost, set_up),
	    cmocka_unit_test_setup(a_file_that_the_guest_has_is_found, set_up),
	};

	return cmocka_run_group_tests_name("device_reports", tests, NULL, NULL);
}
