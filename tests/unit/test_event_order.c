/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_event_order.c - events and interrupts over long random sequences, compared with a model of
 * the queue and with what an interrupt controller makes of it; and when a kernel begins.
 */
#include "machine_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CORES 8

/* --- check-exception ------------------------------------------------------------------------- */

/* What an interrupt that was sent once more than there were events finds. */
static void expect_spare_event(uint32_t vcpu)
{
	expect_event(vcpu, 0, 1);
}

/* --- Long sequences -------------------------------------------------------------------------- */

/* The queue as it should be, and an edge interrupt as XICS keeps it: one is presented until
 * the guest is done with it, and at most one more waits meanwhile. */
struct model {
	struct fixture *f;
	uint32_t random;
	uint32_t queue[CORES];
	size_t queued;
	uint64_t pulses;
	bool spare;              /* an interrupt more may come than there are events */
	bool presented, waiting; /* P and Q */
	bool handling, fetched;  /* the guest is in its handler, before or after check-exception */
};

static uint32_t next_random(struct model *model, uint32_t below)
{
	model->random ^= model->random << 13;
	model->random ^= model->random >> 17;
	model->random ^= model->random << 5;
	return model->random % below;
}

/* The interrupts sent since the last time are those the model has seen coming. */
static void expect_pulses(struct model *model, uint64_t count)
{
	model->pulses += count;
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), model->pulses);
	for (uint64_t i = 0; i < count; i++) {
		model->waiting = model->presented;
		model->presented = true;
	}
}

static void expect_queued(struct model *model, uint32_t core_id)
{
	for (size_t i = 0; i < model->queued; i++)
		if (model->queue[i] == core_id) {
			model->spare = true;
			expect_pulses(model, 1);
			return;
		}
	model->queue[model->queued++] = core_id;
	expect_pulses(model, 1);
}

/* The operator adds, removes or cancels. */
static void operate(struct model *model)
{
	struct fixture *f = model->f;
	uint32_t core_id = 1 + next_random(model, CORES - 1);
	struct spapr_core_info before = core_info(f, core_id);
	struct err err = {0};

	if (!before.connector.drc.attached) {
		add(f, core_id);
		expect_queued(model, core_id);
	} else if (next_random(model, 3) == 0) {
		spapr_operation_cancel(f->machine,
		    before.connector.remove_operation != 0 ? before.connector.remove_operation
		                                           : before.connector.add_operation,
		    &err);
		expect_pulses(model, 0);
	} else {
		take_away(f, core_id);
		/* What the guest does not have is taken without asking it. */
		if (before.connector.drc.state != DRC_UNUSABLE)
			expect_queued(model, core_id);
		else
			expect_pulses(model, 0);
	}
}

/* The guest does what moves a connector, whether it makes sense or not. */
static void move(struct model *model)
{
	uint32_t core_id = 1 + next_random(model, CORES - 1);

	switch (next_random(model, 6)) {
	case 0: isolate(0, core_id); break;
	case 1: unisolate(0, core_id); break;
	case 2: set_unusable(0, core_id); break;
	default: set_usable(0, core_id); break;
	}
	expect_pulses(model, 0);
}

/* The next event is the one the model has first, and means what is pending now. */
static void fetch(struct model *model)
{
	uint32_t core_id = model->queue[0];
	bool removing;

	if (model->queued == 0) {
		assert_true(model->spare);
		expect_spare_event(0);
		model->spare = false;
		expect_pulses(model, 0);
		return;
	}
	removing = core_info(model->f, core_id).connector.remove_operation != 0;
	expect_event(0, core_id, removing ? 2 : 1);
	model->queued--;
	memmove(model->queue, model->queue + 1, model->queued * sizeof model->queue[0]);
	expect_pulses(model, model->queued > 0);
}

/* One step of Linux' interrupt handler: it is entered, it fetches once, it is done. */
static void interrupt(struct model *model)
{
	if (!model->handling) {
		model->handling = model->presented;
	} else if (!model->fetched) {
		fetch(model);
		model->fetched = true;
	} else {
		model->handling = model->fetched = false;
		model->presented = model->waiting;
		model->waiting = false;
	}
}

static void start_model(struct model *model, struct fixture *f, uint32_t seed)
{
	*model = (struct model){.f = f, .random = seed};
	power_on_cpus(f, 1, CORES, 1);
}

static void interrupts_are_sent_exactly_for_what_is_queued(void **state)
{
	struct fixture *f = *state;
	struct model model;

	start_model(&model, f, 20240601);
	for (unsigned i = 0; i < 6000; i++) {
		uint32_t what = next_random(&model, 8);

		if (what < 4)
			operate(&model);
		else if (what < 6)
			move(&model);
		else if (model.queued > 0 || model.spare)
			fetch(&model);
		else
			expect_no_event(0);
		drop_reports(f);
	}
	while (model.queued > 0 || model.spare)
		fetch(&model);
	expect_no_event(0);
	expect_pulses(&model, 0);
	assert_true(model.pulses > 1000);
}

static void linux_never_takes_an_interrupt_without_an_event_and_misses_none(void **state)
{
	struct fixture *f = *state;
	struct model model;

	start_model(&model, f, 987654321);
	for (unsigned i = 0; i < 6000; i++) {
		uint32_t what = next_random(&model, 8);

		if (what < 3)
			operate(&model);
		else if (what < 5)
			move(&model);
		else
			interrupt(&model);
		if (next_random(&model, 500) == 0) {
			reset(f);
			model.queued = 0;
			model.spare = false;
			model.presented = model.waiting = model.handling = model.fetched = false;
		}
		drop_reports(f);
	}
	while (model.presented)
		interrupt(&model);
	assert_int_equal(model.queued, 0);
	if (model.spare)
		fetch(&model);
	expect_no_event(0);
}

/* --- A kernel that begins -------------------------------------------------------------------- */

static int64_t begin_kernel(void)
{
	return fake_hcall(0, 0x37c, (uint64_t[9]){0x1d, 0x20000, 0, 4}, NULL);
}

static void a_kernel_that_begins_finds_the_sources_reset_and_what_is_queued(void **state)
{
	struct fixture *f = *state;
	uint8_t log[EVENT_BYTES];

	power_on(f);
	add(f, 1);
	add(f, 2);
	spapr_powerdown(f->machine);
	assert_int_equal(spapr_console_write(f->machine, "x", 1), 1);
	assert_int_equal(fake_irq_resets(IRQ_HOTPLUG), 1);
	assert_int_equal(begin_kernel(), 0);
	for (uint32_t irq = IRQ_EPOW; irq <= IRQ_VTY; irq++)
		assert_int_equal(fake_irq_resets(irq), 2);
	/* One for the class, whatever has been sent before. */
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), 2 + 1);
	assert_int_equal(fake_irq_pulses(IRQ_EPOW), 1 + 1);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 1 + 1);
	assert_true(fetch_event(0, MASK_EPOW, log));
	expect_event(0, 1, 1);
	expect_event(0, 2, 1);
	expect_no_event(0);
}

static void a_kernel_that_begins_with_nothing_queued_is_not_interrupted(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	assert_int_equal(begin_kernel(), 0);
	for (uint32_t irq = IRQ_EPOW; irq <= IRQ_VTY; irq++) {
		assert_int_equal(fake_irq_resets(irq), 2);
		assert_int_equal(fake_irq_pulses(irq), 0);
	}
	/* Nor by one that only takes its table away. */
	assert_int_equal(fake_hcall(0, 0x37c, (uint64_t[9]){0x10, 0, 0, 0}, NULL), 0);
	assert_int_equal(fake_irq_resets(IRQ_HOTPLUG), 2);
}

static void what_the_last_kernel_fetched_and_did_not_answer_is_asked_again(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	add_in_use(f, 1);
	take_away(f, 1);
	expect_event(0, 1, 2);
	expect_no_event(0);
	assert_int_equal(begin_kernel(), 0);
	expect_event(0, 1, 2);
	expect_no_event(0);
}

static void a_second_interrupt_for_one_event_ends_with_the_kernel_it_was_for(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	add_in_use(f, 1);
	take_away(f, 1);
	take_away(f, 1); /* now a spare event would be found */
	assert_int_equal(begin_kernel(), 0);
	expect_event(0, 1, 2);
	expect_no_event(0);
}

static void interrupts_that_kvm_refuses_as_a_kernel_begins_are_sent_later(void **state)
{
	struct fixture *f = *state;
	uint64_t pulses;

	power_on(f);
	add(f, 1);
	spapr_powerdown(f->machine);
	fake_fail_next(FAKE_IRQ_PULSE, 2);
	fake_fail_next(FAKE_IRQ_RESET, 1);
	spapr_take_news(f->machine);
	assert_int_equal(begin_kernel(), 0);
	/* The operator's thread is woken, because it sends them. */
	assert_true(spapr_take_news(f->machine) & SPAPR_NEWS_OPERATION);
	pulses = fake_irq_pulses(IRQ_HOTPLUG);
	spapr_check_deadline(f->machine);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), pulses + 1);
	expect_event(0, 1, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(interrupts_are_sent_exactly_for_what_is_queued),
	    TEST(linux_never_takes_an_interrupt_without_an_event_and_misses_none),
	    TEST(a_kernel_that_begins_finds_the_sources_reset_and_what_is_queued),
	    TEST(a_kernel_that_begins_with_nothing_queued_is_not_interrupted),
	    TEST(what_the_last_kernel_fetched_and_did_not_answer_is_asked_again),
	    TEST(a_second_interrupt_for_one_event_ends_with_the_kernel_it_was_for),
	    TEST(interrupts_that_kvm_refuses_as_a_kernel_begins_are_sent_later),
	};

	return cmocka_run_group_tests_name("event", tests, NULL, NULL);
}
