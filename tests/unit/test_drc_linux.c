/* SPDX-License-Identifier: Apache-2.0 */
/* test_drc_linux.c - the connector, with the calls that Linux makes, in its order. */
#include "drc_spots.h"

/* --- Linux ----------------------------------------------------------------------------------- */

/* A guest with Linux' order of calls (dlpar.c, hotplug-cpu.c), and what came of them. */
struct guest {
	struct drc drc;
	unsigned effects; /* since they were last taken */
	unsigned calls;   /* RTAS calls that change something, made so far */
};

static bool make(struct guest *guest, enum drc_input input)
{
	struct answer result = step(&guest->drc, input);

	guest->effects |= result.effects;
	guest->calls += of_guest(input);
	assert_true(drc_valid(&guest->drc));
	return result.status == RTAS_SUCCESS && result.refusal == DRC_ACCEPTED;
}

static unsigned take_effects(struct guest *guest)
{
	unsigned effects = guest->effects;

	guest->effects = 0;
	return effects;
}

static bool linux_acquire(struct guest *guest)
{
	if (CPU->sense(&guest->drc) != DRC_SENSE_UNUSABLE)
		return false;
	if (!make(guest, DRC_IN_USABLE))
		return false;
	if (make(guest, DRC_IN_UNISOLATE))
		return true;
	make(guest, DRC_IN_UNUSABLE);
	return false;
}

static bool linux_configure(struct guest *guest)
{
	for (unsigned i = 0; i < 30; i++) /* about as many properties as a core has */
		if (!make(guest, DRC_IN_CONFIGURE))
			return false;
	return make(guest, DRC_IN_CONFIGURE_END);
}

static bool linux_release(struct guest *guest)
{
	if (CPU->sense(&guest->drc) != DRC_SENSE_PRESENT)
		return false;
	if (!make(guest, DRC_IN_ISOLATE))
		return false;
	if (make(guest, DRC_IN_UNUSABLE))
		return true;
	make(guest, DRC_IN_UNISOLATE);
	return false;
}

/* dlpar_unisolate_drc: how Linux since 5.13 says that a removal failed. */
static void linux_say_no(struct guest *guest)
{
	if (CPU->sense(&guest->drc) == DRC_SENSE_PRESENT)
		make(guest, DRC_IN_UNISOLATE);
}

static struct guest guest_at(enum spot spot)
{
	return (struct guest){.drc = spots[spot]};
}

static void assert_at(const struct guest *guest, enum spot spot)
{
	assert_int_equal(spot_of(&guest->drc), spot);
}

static void linux_adds_a_core(void **state)
{
	struct guest guest = guest_at(EMPTY);

	(void)state;
	assert_true(make(&guest, DRC_IN_ATTACH));
	assert_int_equal(take_effects(&guest), FX(ATTACH) | FX(NOTIFY));
	assert_true(linux_acquire(&guest));
	assert_int_equal(take_effects(&guest), FX(REWIND));
	assert_true(linux_configure(&guest));
	assert_int_equal(take_effects(&guest), FX(REWIND));
	assert_at(&guest, CON_ADD);
	assert_true(make(&guest, DRC_IN_START));
	assert_int_equal(take_effects(&guest), FX(ADD_DONE));
	assert_at(&guest, CON);
}

static void linux_refuses_an_add_without_a_call_and_it_stays_cancellable(void **state)
{
	struct guest guest = guest_at(EMPTY);

	(void)state;
	make(&guest, DRC_IN_ATTACH);
	take_effects(&guest);
	assert_at(&guest, PLUGGED);
	assert_true(make(&guest, DRC_IN_CANCEL_ADD));
	assert_int_equal(take_effects(&guest), FX(DETACH) | FX(ADD_CANCELLED));
	/* It reads the event only now: the connector is empty, and harmless. */
	assert_false(linux_acquire(&guest));
	assert_int_equal(take_effects(&guest), 0);
	assert_at(&guest, EMPTY);
}

static void linux_does_not_acquire_what_it_owns(void **state)
{
	struct guest guest = guest_at(CON);

	(void)state;
	assert_false(linux_acquire(&guest));
	assert_int_equal(guest.calls, 0);
}

static void linux_fails_between_allocating_and_unisolating(void **state)
{
	struct guest guest = guest_at(EMPTY);

	(void)state;
	make(&guest, DRC_IN_ATTACH);
	take_effects(&guest);
	make(&guest, DRC_IN_USABLE);
	make(&guest, DRC_IN_UNUSABLE);
	assert_int_equal(take_effects(&guest), FX(DETACH) | FX(ADD_REJECTED));
	assert_at(&guest, EMPTY);
}

static void linux_fails_to_configure_and_gives_the_core_back(void **state)
{
	(void)state;
	for (unsigned items = 0; items < 3; items++) {
		struct guest guest = guest_at(EMPTY);

		make(&guest, DRC_IN_ATTACH);
		assert_true(linux_acquire(&guest));
		for (unsigned i = 0; i < items; i++)
			make(&guest, DRC_IN_CONFIGURE);
		take_effects(&guest);
		assert_true(linux_release(&guest));
		assert_int_equal(take_effects(&guest), FX(DETACH) | FX(ADD_REJECTED));
		assert_at(&guest, EMPTY);
		/* The connector is not wedged: the same add works now. */
		assert_true(make(&guest, DRC_IN_ATTACH));
		assert_true(
		    linux_acquire(&guest) && linux_configure(&guest) && make(&guest, DRC_IN_START));
		assert_true(take_effects(&guest) & FX(ADD_DONE));
	}
}

/* Linux with nr_cpus=2 and its third core: configured, and given back. */
static void linux_fails_to_attach_what_it_has_configured(void **state)
{
	struct guest guest = guest_at(EMPTY);

	(void)state;
	make(&guest, DRC_IN_ATTACH);
	assert_true(linux_acquire(&guest) && linux_configure(&guest));
	take_effects(&guest);
	assert_true(linux_release(&guest));
	assert_int_equal(take_effects(&guest), FX(DETACH) | FX(ADD_REJECTED));
	assert_at(&guest, EMPTY);
}

static void linux_gives_back_what_it_has_started(void **state)
{
	struct guest guest = guest_at(EMPTY);

	(void)state;
	make(&guest, DRC_IN_ATTACH);
	assert_true(linux_acquire(&guest) && linux_configure(&guest) && make(&guest, DRC_IN_START));
	take_effects(&guest);
	assert_true(linux_release(&guest));
	assert_int_equal(take_effects(&guest), FX(GIVEN));
	assert_at(&guest, GIVEN);
}

static void linux_removes_a_core(void **state)
{
	struct guest guest = guest_at(CON);

	(void)state;
	assert_true(make(&guest, DRC_IN_REMOVE));
	assert_int_equal(take_effects(&guest), FX(NOTIFY));
	assert_true(linux_release(&guest));
	assert_int_equal(take_effects(&guest), FX(DETACH) | FX(REMOVE_DONE));
	assert_at(&guest, EMPTY);
}

/* Row 0: no node of that index. Row 1: a thread cannot be taken offline. To us the same. */
static void linux_cannot_give_the_core_up(void **state)
{
	static const enum spot taken[] = {UNI, UNI_ADD, CON};

	(void)state;
	for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
		struct guest guest = guest_at(taken[i]);

		make(&guest, DRC_IN_REMOVE);
		take_effects(&guest);
		linux_say_no(&guest);
		assert_int_equal(guest.calls, 1);
		assert_int_equal(take_effects(&guest), FX(REMOVE_REJECTED));
		assert_at(&guest, taken[i]);
		/* And the retry works. */
		assert_true(make(&guest, DRC_IN_REMOVE));
		assert_true(linux_release(&guest));
		assert_true(take_effects(&guest) & FX(REMOVE_DONE));
	}
}

/* Row 0 again, for a core it never acquired: Linux makes no call; we need none. */
static void linux_is_not_asked_for_what_it_never_took(void **state)
{
	struct guest guest = guest_at(PLUGGED);

	(void)state;
	make(&guest, DRC_IN_REMOVE);
	assert_int_equal(take_effects(&guest), FX(DETACH) | FX(REMOVE_DONE) | FX(ADD_CANCELLED));
	linux_say_no(&guest);
	assert_int_equal(guest.calls, 0);
	assert_at(&guest, EMPTY);
}

/* Row 2: isolating fails; threads come back; one UNISOLATE. */
static void linux_cannot_isolate(void **state)
{
	struct guest guest = guest_at(CON);

	(void)state;
	make(&guest, DRC_IN_REMOVE);
	take_effects(&guest);
	linux_say_no(&guest);
	assert_int_equal(take_effects(&guest), FX(REMOVE_REJECTED));
	assert_at(&guest, CON);
}

/* Row 2: isolated, but freeing fails: UNISOLATE at once, and a second one as the notice. */
static void linux_cannot_free_what_it_has_isolated(void **state)
{
	struct guest guest = guest_at(CON);

	(void)state;
	make(&guest, DRC_IN_REMOVE);
	make(&guest, DRC_IN_ISOLATE);
	take_effects(&guest);
	make(&guest, DRC_IN_UNISOLATE);
	assert_int_equal(take_effects(&guest), FX(REMOVE_REJECTED));
	assert_at(&guest, CON);
	linux_say_no(&guest);
	assert_int_equal(take_effects(&guest), 0);
	assert_at(&guest, CON);
}

/* Row 3: the core has left, then detaching the node fails and Linux wants it back. */
static void linux_cannot_detach_the_node_of_a_core_that_left(void **state)
{
	struct guest guest = guest_at(CON);

	(void)state;
	make(&guest, DRC_IN_REMOVE);
	assert_true(linux_release(&guest));
	take_effects(&guest);
	assert_false(linux_acquire(&guest));
	linux_say_no(&guest);
	assert_int_equal(take_effects(&guest), 0);
	assert_at(&guest, EMPTY);
}

/* Before 5.13 a failure is silent; nothing but another event can move things on. */
static void old_linux_stays_silent_and_may_be_asked_again(void **state)
{
	struct guest guest = guest_at(CON);

	(void)state;
	make(&guest, DRC_IN_REMOVE);
	take_effects(&guest);
	for (unsigned i = 0; i < 5; i++) {
		assert_true(make(&guest, DRC_IN_REMOVE));
		assert_int_equal(take_effects(&guest), FX(NOTIFY));
		assert_at(&guest, CON_REM);
	}
	assert_true(linux_release(&guest));
	assert_int_equal(take_effects(&guest), FX(DETACH) | FX(REMOVE_DONE));
}

static void linux_gives_a_core_back_and_takes_it_again(void **state)
{
	struct guest guest = guest_at(CON);

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		assert_true(linux_release(&guest));
		assert_int_equal(take_effects(&guest), FX(GIVEN));
		assert_at(&guest, GIVEN);
		assert_false(linux_release(&guest));
		assert_true(linux_acquire(&guest));
		assert_true(linux_configure(&guest));
		assert_int_equal(take_effects(&guest), FX(REWIND) | FX(TAKEN));
		assert_at(&guest, CON);
	}
}

static void what_linux_gave_back_is_removed_at_once(void **state)
{
	struct guest guest = guest_at(CON);

	(void)state;
	assert_true(linux_release(&guest));
	take_effects(&guest);
	assert_true(make(&guest, DRC_IN_REMOVE));
	assert_int_equal(take_effects(&guest), FX(DETACH) | FX(REMOVE_DONE));
	assert_at(&guest, EMPTY);
}

/* Linux works events off one after the other: first the add to its end, then the removal. */
static void linux_is_asked_for_a_core_it_is_still_taking(void **state)
{
	(void)state;
	for (unsigned asked_after = 1; asked_after <= 3; asked_after++) {
		struct guest guest = guest_at(PLUGGED);
		unsigned step = 0;

		assert_true(make(&guest, DRC_IN_USABLE));
		if (++step == asked_after)
			make(&guest, DRC_IN_REMOVE);
		assert_true(make(&guest, DRC_IN_UNISOLATE));
		if (++step == asked_after)
			make(&guest, DRC_IN_REMOVE);
		make(&guest, DRC_IN_CONFIGURE);
		if (++step == asked_after)
			make(&guest, DRC_IN_REMOVE);
		assert_int_equal(take_effects(&guest), FX(NOTIFY) | FX(REWIND));
		assert_true(linux_configure(&guest));
		assert_int_equal(take_effects(&guest), FX(REWIND));
		assert_true(make(&guest, DRC_IN_START));
		assert_int_equal(take_effects(&guest), FX(ADD_DONE));
		assert_at(&guest, CON_REM);
		assert_true(linux_release(&guest));
		assert_int_equal(take_effects(&guest), FX(DETACH) | FX(REMOVE_DONE));
		assert_at(&guest, EMPTY);
	}
}

static void linux_fails_an_add_that_was_already_asked_back(void **state)
{
	struct guest guest = guest_at(PLUGGED);

	(void)state;
	assert_true(linux_acquire(&guest));
	make(&guest, DRC_IN_REMOVE);
	take_effects(&guest);
	assert_true(linux_release(&guest));
	assert_int_equal(take_effects(&guest), FX(DETACH) | FX(REMOVE_DONE) | FX(ADD_REJECTED));
	/* The removal's event comes next, and finds nothing. */
	linux_say_no(&guest);
	assert_int_equal(take_effects(&guest), 0);
	assert_at(&guest, EMPTY);
}

static void release_after_a_cancel_is_a_gift(void **state)
{
	struct guest guest = guest_at(CON);

	(void)state;
	make(&guest, DRC_IN_REMOVE);
	assert_true(make(&guest, DRC_IN_CANCEL_REMOVE));
	assert_int_equal(take_effects(&guest), FX(NOTIFY) | FX(REMOVE_CANCELLED));
	assert_true(linux_release(&guest));
	assert_int_equal(take_effects(&guest), FX(GIVEN));
	assert_true(make(&guest, DRC_IN_REMOVE));
	assert_int_equal(take_effects(&guest), FX(DETACH) | FX(REMOVE_DONE));
}

static void refusal_after_a_cancel_changes_nothing(void **state)
{
	struct guest guest = guest_at(CON);

	(void)state;
	make(&guest, DRC_IN_REMOVE);
	make(&guest, DRC_IN_CANCEL_REMOVE);
	take_effects(&guest);
	linux_say_no(&guest);
	assert_int_equal(take_effects(&guest), 0);
	assert_at(&guest, CON);
}

static void reset_in_the_middle_of_a_removal_completes_it(void **state)
{
	struct guest guest = guest_at(CON);

	(void)state;
	make(&guest, DRC_IN_REMOVE);
	make(&guest, DRC_IN_ISOLATE);
	take_effects(&guest);
	make(&guest, DRC_IN_RESET);
	assert_int_equal(take_effects(&guest), FX(REWIND) | FX(DETACH) | FX(REMOVE_SUPERSEDED));
	assert_at(&guest, EMPTY);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(linux_adds_a_core),
	    cmocka_unit_test(linux_refuses_an_add_without_a_call_and_it_stays_cancellable),
	    cmocka_unit_test(linux_does_not_acquire_what_it_owns),
	    cmocka_unit_test(linux_fails_between_allocating_and_unisolating),
	    cmocka_unit_test(linux_fails_to_configure_and_gives_the_core_back),
	    cmocka_unit_test(linux_fails_to_attach_what_it_has_configured),
	    cmocka_unit_test(linux_gives_back_what_it_has_started),
	    cmocka_unit_test(linux_removes_a_core),
	    cmocka_unit_test(linux_cannot_give_the_core_up),
	    cmocka_unit_test(linux_is_not_asked_for_what_it_never_took),
	    cmocka_unit_test(linux_cannot_isolate),
	    cmocka_unit_test(linux_cannot_free_what_it_has_isolated),
	    cmocka_unit_test(linux_cannot_detach_the_node_of_a_core_that_left),
	    cmocka_unit_test(old_linux_stays_silent_and_may_be_asked_again),
	    cmocka_unit_test(linux_gives_a_core_back_and_takes_it_again),
	    cmocka_unit_test(what_linux_gave_back_is_removed_at_once),
	    cmocka_unit_test(linux_is_asked_for_a_core_it_is_still_taking),
	    cmocka_unit_test(linux_fails_an_add_that_was_already_asked_back),
	    cmocka_unit_test(release_after_a_cancel_is_a_gift),
	    cmocka_unit_test(refusal_after_a_cancel_changes_nothing),
	    cmocka_unit_test(reset_in_the_middle_of_a_removal_completes_it),
	};

	return cmocka_run_group_tests_name("drc", tests, NULL, NULL);
}
