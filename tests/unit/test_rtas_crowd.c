/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_rtas_crowd.c - several vCPUs make random RTAS calls, while the operator adds, removes,
 * cancels and resets.
 */
#include "machine_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/be.h"

#define RAM (256 * MIB)
#define HEAD_BYTES 12
#define TOKEN_END (rtas_token(0) + (uint32_t)rtas_table_rows)

/* --- Whatever comes to their minds ----------------------------------------------------------- */

#define VCPUS 4
#ifdef __SANITIZE_THREAD__
#define CALLS 30000 /* each takes much longer */
#else
#define CALLS 100000
#endif

/* xorshift; the seeds are fixed. */
static uint32_t next_random(uint32_t *random)
{
	*random ^= *random << 13;
	*random ^= *random >> 17;
	*random ^= *random << 5;
	return *random;
}

static uint32_t pick(uint32_t *random, const uint32_t *from, size_t count)
{
	return from[next_random(random) % count];
}
#define PICK(random, ...)                                                                          \
	pick(random, (uint32_t[]){__VA_ARGS__}, sizeof((uint32_t[]){__VA_ARGS__}) / 4)

struct crowd {
	_Atomic uint32_t calls, answered;
	_Atomic bool over;
	_Atomic int living;
};

struct guest {
	struct crowd *crowd;
	uint32_t id, random;
};

/* An address in the guest's own pages, at the end of RAM, or beyond. */
static uint32_t some_address(struct guest *guest)
{
	uint32_t own = (uint32_t)AREA(guest->id) + next_random(&guest->random) % 0x8000;

	return PICK(&guest->random, own, own, own, own, RAM, UINT32_MAX, 0x80000000 + own, RAM - 4);
}

static uint32_t some_word(struct guest *guest)
{
	uint32_t core = next_random(&guest->random) % VCPUS;

	return PICK(&guest->random, core, DRC(core), DRC(core), DRC(core), 0, 1, 9001, 9003, 9003,
	    some_address(guest), MASK_HOTPLUG, UINT32_MAX, next_random(&guest->random));
}

/* Calls that mean something are more likely than noise; those that end everything are not. */
static void put_rtas(struct guest *guest)
{
	static const char *const likely[] = {"set-indicator", "set-indicator", "set-indicator",
	    "ibm,configure-connector", "ibm,configure-connector", "check-exception",
	    "get-sensor-state", "start-cpu", "start-cpu", "start-cpu", "query-cpu-stopped-state"};
	uint32_t *random = &guest->random, args[RTAS_WORDS], row, nargs, nret;
	struct be32 work[2] = {
	    be32(DRC(next_random(random) % VCPUS)), be32(next_random(random) % 2)};

	for (row = 0; row < rtas_table_rows; row++)
		if (strcmp(rtas_table[row].name, likely[next_random(random) % 11]) == 0)
			break;
	if (row == rtas_table_rows || next_random(random) % 16 == 0)
		row = next_random(random) % (uint32_t)rtas_table_rows;
	nargs = rtas_table[row].max_args;
	nret = rtas_table[row].nret;
	for (uint32_t i = 0; i < RTAS_WORDS; i++)
		args[i] = some_word(guest);
	if (strcmp(rtas_table[row].name, "set-indicator") == 0) {
		args[0] = PICK(random, 9001, 9003);
		args[1] = DRC(next_random(random) % VCPUS);
		args[2] = next_random(random) % 2;
	} else if (strcmp(rtas_table[row].name, "ibm,configure-connector") == 0) {
		args[0] = PICK(random, (uint32_t)WORK(guest->id), some_address(guest));
	} else if (next_random(random) % 64 != 0 &&
	           (strcmp(rtas_table[row].name, "power-off") == 0 ||
	               strcmp(rtas_table[row].name, "system-reboot") == 0 ||
	               strcmp(rtas_table[row].name, "ibm,os-term") == 0 ||
	               strcmp(rtas_table[row].name, "stop-self") == 0)) {
		nargs = next_random(random) % 17;
	}
	if (next_random(random) % 32 == 0)
		nret = PICK(random, 0, 1, 2, 16, UINT32_MAX, next_random(random));
	poke(WORK(guest->id), work, sizeof work);
	put_block(BLOCK(guest->id), rtas_token(row), nargs, nret, args);
}

static void call_something(struct guest *guest)
{
	static const uint32_t hcalls[] = {0x54, 0x58, 0x58, 0x1c8, 0x31c, 0x31c, 0x37c, 0x398, 4};
	uint32_t *random = &guest->random;
	uint64_t nr = HCALL_RTAS, args[9] = {BLOCK(guest->id)};
	int64_t r3;

	put_rtas(guest);
	if (next_random(random) % 8 == 0)
		args[0] = some_address(guest);
	if (next_random(random) % 8 == 0) {
		nr = pick(random, hcalls, sizeof hcalls / sizeof hcalls[0]);
		for (size_t i = 0; i < 4; i++)
			args[i] = PICK(random, 0, 1, 3, 4, 16, 0x1d, 0x71000000, some_word(guest));
	}
	guest->crowd->answered += fake_try_hcall(guest->id, nr, args, NULL, &r3);
}

static void *guest_main(void *argument)
{
	struct guest *guest = argument;

	while (!guest->crowd->over) {
		call_something(guest);
		guest->crowd->calls++;
	}
	guest->crowd->living--;
	return NULL;
}

static void check_everything(struct fixture *f)
{
	for (uint32_t core = 0; core < VCPUS; core++) {
		struct spapr_core_info info = core_info(f, core); /* drc_valid() is seen to there */

		assert_int_equal(info.connector.drc.adding, info.connector.add_operation != 0);
		assert_int_equal(info.connector.drc.removing, info.connector.remove_operation != 0);
		assert_int_equal(info.connector.drc.attached, info.connector.device[0] != '\0');
		if (info.connector.drc.attached)
			assert_int_not_equal(info.vcpus[0].state, SPAPR_VCPU_ABSENT);
		else
			assert_true(info.vcpus[0].state == SPAPR_VCPU_ABSENT ||
			            info.vcpus[0].state == SPAPR_VCPU_STOPPING);
	}
}

/* The operator does something; what is refused is fine. */
static void operate(struct fixture *f, uint32_t *random)
{
	static struct operation operations[SPAPR_OPERATIONS];
	struct err err = {0};
	uint64_t id;
	char bytes[512], device[OP_DEVICE_MAX];
	uint32_t core = next_random(random) % (VCPUS + 1);
	size_t count;

	snprintf(device, sizeof device, "core%u", core);
	switch (next_random(random) % 16) {
	case 0:
	case 1:
	case 2:
	case 3: spapr_core_add(f->machine, core, device, &id, &err); break;
	case 4:
	case 5:
	case 6:
	case 7: spapr_device_remove(f->machine, device, &id, &err); break;
	case 8:
		count = spapr_operations(f->machine, operations, SPAPR_OPERATIONS);
		if (count > 0)
			spapr_operation_cancel(
			    f->machine, operations[next_random(random) % count].id, &err);
		break;
	case 9:
		spapr_stop(f->machine);
		check_everything(f);
		spapr_cont(f->machine);
		break;
	case 10: spapr_powerdown(f->machine); break;
	case 11: spapr_console_write(f->machine, "typed", 5); break;
	default: check_everything(f); break;
	}
	while (spapr_console_read(f->machine, bytes, sizeof bytes) > 0)
		;
	drop_reports(f);
	spapr_check_deadline(f->machine);
	assert_int_equal(spapr_take_news(f->machine) & SPAPR_NEWS_FAILED, 0);
}

/* Until CALLS have been made. A reset when nothing moves: all vCPUs may be stopped by then. */
static void operate_a_crowd(struct fixture *f, struct crowd *crowd)
{
	uint32_t random = 4711, seen = 0, still = 0;
	struct err err = {0};

	while (crowd->calls < CALLS) {
		operate(f, &random);
		for (unsigned i = 0; i < 20; i++)
			sched_yield();
		still = crowd->calls == seen ? still + 1 : 0;
		seen = crowd->calls;
		if (still > 20 || next_random(&random) % 200 == 0)
			assert_true(spapr_boot(f->machine, &err));
	}
	crowd->over = true;
	while (crowd->living > 0)
		assert_true(spapr_boot(f->machine, &err));
}

static void no_guest_can_break_the_machine(void **state)
{
	struct fixture *f = *state;
	struct crowd crowd = {.living = VCPUS};
	struct guest guests[VCPUS];
	pthread_t threads[VCPUS];

	power_on_cpus(f, 2, VCPUS, 1);
	for (uint32_t core = 2; core < VCPUS; core++)
		add(f, core); /* so that there are vCPUs to play */
	for (uint32_t i = 0; i < VCPUS; i++) {
		guests[i] = (struct guest){.crowd = &crowd, .id = i, .random = 12345 + i};
		assert_int_equal(pthread_create(&threads[i], NULL, guest_main, &guests[i]), 0);
	}
	operate_a_crowd(f, &crowd);
	for (uint32_t i = 0; i < VCPUS; i++)
		pthread_join(threads[i], NULL);
	assert_true(crowd.answered > CALLS / 2);
	/* And it works as before. */
	reset(f);
	check_everything(f);
	for (uint32_t core = 1; core < VCPUS; core++) {
		if (core_info(f, core).connector.drc.attached)
			continue;
		add_in_use(f, core);
		take_away(f, core);
		linux_remove(f, 0, core);
		expect_core(f, core, DRC_UNUSABLE, SPAPR_VCPU_ABSENT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(no_guest_can_break_the_machine),
	};

	return cmocka_run_group_tests_name("rtas", tests, NULL, NULL);
}
