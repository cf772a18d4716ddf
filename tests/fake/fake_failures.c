/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_failures.c - which calls of the fake KVM fail: chosen by count, or by a function of the
 * test.
 */
#include "internal.h"

bool fake_call_fails(enum fake_call call)
{
	if (fake.fault != NULL && fake.fault(call))
		return true;
	if (fake.failures[call].count == 0)
		return false;
	if (fake.failures[call].skip > 0) {
		fake.failures[call].skip--;
		return false;
	}
	fake.failures[call].count--;
	return true;
}

bool fake_call_fail(struct err *err, int error_number, const char *what)
{
	return err_system(err, error_number, NULL, "fake KVM: %s", what);
}

void fake_set_fault(fake_fault *fault)
{
	pthread_mutex_lock(&fake.lock);
	fake.fault = fault;
	pthread_mutex_unlock(&fake.lock);
}

void fake_fail_next(enum fake_call call, uint32_t count)
{
	fake_fail_after(call, 0, count);
}

void fake_fail_after(enum fake_call call, uint32_t skip, uint32_t count)
{
	pthread_mutex_lock(&fake.lock);
	fake.failures[call].skip = skip;
	fake.failures[call].count = count;
	pthread_mutex_unlock(&fake.lock);
}
