/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_confine.c - each vCPU thread gives up its rights once, by itself, before it enters the
 * guest: the boot cores' on the way to the first boot, the others when they are made. One that
 * cannot does not run.
 */
#include "machine_fixture.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define THREADS_MAX 8

/* What confine() was called by; under the machine's lock. */
static struct {
	long threads[THREADS_MAX];
	unsigned count;
	uint64_t enters[THREADS_MAX]; /* of vCPUs 0 to 7, at each call */
	_Atomic bool fails;           /* read by vCPU threads */
} seen;

static bool confine(void *context, struct err *err)
{
	(void)context;
	if (seen.fails)
		return err_set(err, ERR_HOST, "use another", "cannot confine");
	if (seen.count < THREADS_MAX) {
		seen.enters[seen.count] = fake_vcpu_enters(seen.count);
		seen.threads[seen.count++] = syscall(SYS_gettid);
	}
	return true;
}

static void prepare(struct fixture *f, uint32_t boot, uint32_t max)
{
	struct err err = {0};

	memset(&seen, 0, sizeof seen);
	f->config.confine_vcpu = confine;
	f->config.boot_cpus = boot;
	f->config.max_cpus = max;
	f->machine = spapr_create(&f->config, &err);
	assert_non_null(f->machine);
}

static bool was_confined(struct fixture *f, uint32_t core_id)
{
	for (unsigned i = 0; i < seen.count; i++)
		if (seen.threads[i] == core_info(f, core_id).vcpus[0].host_thread)
			return true;
	return false;
}

static void boot_threads_are_confined_by_the_first_boot(void **state)
{
	struct fixture *f = *state;

	prepare(f, 2, 4);
	/* Not before: what confines them is not ready yet. */
	spapr_stop(f->machine);
	spapr_cont(f->machine);
	assert_int_equal(seen.count, 0);
	reset(f);
	spapr_stop(f->machine);
	assert_int_equal(seen.count, 2);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(seen.enters[i], 0);
		assert_true(was_confined(f, i));
	}
	spapr_cont(f->machine);
	/* Once is enough. */
	reset(f);
	spapr_stop(f->machine);
	assert_int_equal(seen.count, 2);
}

static void an_added_thread_is_confined_when_it_is_made(void **state)
{
	struct fixture *f = *state;

	prepare(f, 1, 4);
	reset(f);
	add(f, 1);
	assert_int_equal(seen.count, 2);
	assert_true(was_confined(f, 1));
	linux_take(0, 1);
	linux_online(f, 0, 1);
	take_away(f, 1);
	linux_remove(f, 0, 1);
	add_in_use(f, 1);
	assert_int_equal(seen.count, 2);
}

static void a_thread_that_cannot_be_confined_does_not_run(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};

	prepare(f, 1, 4);
	seen.fails = true;
	assert_false(spapr_boot(f->machine, &err));
	assert_string_equal(err.message, "cannot confine");
	assert_int_equal(fake_vcpu_enters(0), 0);
	seen.fails = false;
	reset(f);
	assert_true(was_confined(f, 0));

	/* The core is not added; the guest goes on. */
	spapr_stop(f->machine);
	seen.fails = true;
	add_fails(f, 1, "core1", "cannot confine");
	expect_core(f, 1, DRC_UNUSABLE, SPAPR_VCPU_ABSENT);
	assert_int_equal(fake_live_vcpus(), 1);
	seen.fails = false;
	spapr_cont(f->machine);
	fake_wait_running(0);
	add_in_use(f, 2);
	/* KVM has its vCPU still, and makes no other with this id. */
	add_in_use(f, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(boot_threads_are_confined_by_the_first_boot),
	    TEST(an_added_thread_is_confined_when_it_is_made),
	    TEST(a_thread_that_cannot_be_confined_does_not_run),
	};

	return cmocka_run_group_tests_name("confine", tests, NULL, NULL);
}
