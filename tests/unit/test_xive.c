/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_xive.c - XIVE as the guest sees it: each H_INT_* call with each wrong argument, events that
 * come before the guest listens, and what a reset, a kexec and cores that come and go leave.
 *
 * The fake ends the test for what would make KVM print a warning to the host's log.
 */
#include "machine_fixture.h"

#include <libfdt.h>
#include <stdlib.h>
#include <string.h>

#include "base/be.h"

enum {
	GET_SOURCE_INFO = 0x3a8,
	SET_SOURCE_CONFIG = 0x3ac,
	GET_SOURCE_CONFIG = 0x3b0,
	GET_QUEUE_INFO = 0x3b4,
	SET_QUEUE_CONFIG = 0x3b8,
	GET_QUEUE_CONFIG = 0x3bc,
	ESB = 0x3c8,
	SYNC = 0x3cc,
	RESET = 0x3d0,
	PROC_TABLE = 0x37c,
};

/* Offsets of H_INT_ESB. */
enum {
	END = 0,
	STORE_END = 0x400,
	GET = 0x800,
	SET_00 = 0xc00,
	SET_01 = 0xd00,
	SET_10 = 0xe00,
	SET_11 = 0xf00
};

#define PRIORITY 6
#define NEVER 0xff
#define QUEUE(vcpu) (16 * MIB + (uint64_t)(vcpu)*0x10000)
#define TIB (UINT64_C(1) << 40)

static uint64_t result[9];

static int64_t call(
    uint32_t vcpu, uint64_t number, uint64_t r4, uint64_t r5, uint64_t r6, uint64_t r7, uint64_t r8)
{
	const uint64_t args[9] = {r4, r5, r6, r7, r8};

	return fake_hcall(vcpu, number, args, result);
}

static int xive_setup(void **state)
{
	struct fixture *fixture;
	int failed = fixture_setup(state);

	fixture = *state;
	fake_facts()->xive = fake_facts()->bare_metal = true;
	fixture->config.mode.irqchip = KVM_IRQCHIP_XIVE;
	return failed;
}
#define XIVE_TEST(name) cmocka_unit_test_setup_teardown(name, xive_setup, fixture_teardown)

/* --- A guest, as Linux does it -------------------------------------------------------------------
 */

static void set_queue(uint32_t caller, uint32_t vcpu)
{
	assert_int_equal(call(caller, GET_QUEUE_INFO, 0, vcpu, PRIORITY, 0, 0), H_SUCCESS);
	assert_int_equal(
	    call(caller, SET_QUEUE_CONFIG, 1, vcpu, PRIORITY, QUEUE(vcpu), 16), H_SUCCESS);
}

static void aim(uint32_t caller, uint64_t source, uint64_t vcpu, uint64_t number)
{
	assert_int_equal(
	    call(caller, SET_SOURCE_CONFIG, 2, source, vcpu, PRIORITY, number), H_SUCCESS);
}

static uint64_t esb(uint64_t source, uint64_t offset)
{
	assert_int_equal(call(0, ESB, 0, source, offset, 0, 0), H_SUCCESS);
	return result[0];
}

/* Map a source, then request its interrupt. */
static void listen_to(uint64_t source, uint64_t vcpu)
{
	esb(source, SET_01);
	aim(0, source, vcpu, source & 0xff);
	esb(source, SET_00);
}

static void stop_listening(uint64_t source)
{
	esb(source, SET_01);
	assert_int_equal(call(0, SET_SOURCE_CONFIG, 2, source, 0, NEVER, 0), H_SUCCESS);
}

/* --- Arguments -----------------------------------------------------------------------------------
 */

static void sources_have_pages_or_are_managed_by_call(void **state)
{
	struct fixture *fixture = *state;

	power_on(fixture);
	for (uint64_t source = 0; source < 4; source++) {
		assert_int_equal(call(0, GET_SOURCE_INFO, 0, source, 0, 0, 0), H_SUCCESS);
		assert_int_equal(result[0], 0);
		assert_true(result[1] == 16 * TIB + (2 * source + 1) * 0x10000);
		assert_true(result[2] == 16 * TIB + 2 * source * 0x10000);
		assert_int_equal(result[3], 16);
	}
	for (uint64_t source = IRQ_EPOW; source <= IRQ_VTY; source++) {
		assert_int_equal(call(0, GET_SOURCE_INFO, 0, source, 0, 0, 0), H_SUCCESS);
		assert_int_equal(result[0], 8);
		assert_true(result[1] == UINT64_MAX && result[2] == UINT64_MAX);
	}
	assert_int_equal(call(0, GET_SOURCE_INFO, 1, 0, 0, 0, 0), H_PARAMETER);
	/* KVM gets the place of both, and the pages are those of the sources between processors. */
	assert_true(fake_irqchip().esb_address == 16 * TIB);
	assert_true(fake_irqchip().tima_address == 17 * TIB + 2 * 0x10000);
	assert_int_equal(fake_irqchip().servers, 4);
	assert_int_equal(fake_irqchip().sources_end, IRQ_VTY + 1);
}

/* Numbers of sources that do not exist, in every call that takes one. */
static void there_are_no_other_sources(void **state)
{
	static const uint64_t none[] = {4, 5, IRQ_EPOW - 1, IRQ_VTY + 1, 0x100000, UINT32_MAX,
	    UINT64_C(1) << 32, (UINT64_C(1) << 32) | IRQ_EPOW, UINT64_MAX};

	power_on(*state);
	set_queue(0, 0);
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
		assert_int_equal(call(0, GET_SOURCE_INFO, 0, none[i], 0, 0, 0), H_P2);
		assert_int_equal(call(0, SET_SOURCE_CONFIG, 2, none[i], 0, PRIORITY, 1), H_P2);
		assert_int_equal(call(0, SET_SOURCE_CONFIG, 2, none[i], 0, NEVER, 1), H_P2);
		assert_int_equal(call(0, GET_SOURCE_CONFIG, 0, none[i], 0, 0, 0), H_P2);
		assert_int_equal(call(0, ESB, 0, none[i], GET, 0, 0), H_P2);
		assert_int_equal(call(0, ESB, 1, none[i], STORE_END, 0, 0), H_P2);
		assert_int_equal(call(0, SYNC, 0, none[i], 0, 0, 0), H_P2);
	}
}

static void a_source_is_aimed_at_a_queue_that_is_set(void **state)
{
	static const uint64_t servers[] = {1, 3, 4, UINT32_MAX, UINT64_C(1) << 32, UINT64_MAX};
	struct kvm_xive_target target;

	power_on(*state);
	/* Server 0 is there, and has no queue. */
	assert_int_equal(call(0, SET_SOURCE_CONFIG, 2, 0, 0, PRIORITY, 5), H_P3);
	assert_int_equal(call(0, SET_SOURCE_CONFIG, 3, 0, 0, PRIORITY, 5), H_P3);
	assert_false(fake_xive_target(0, &target));
	set_queue(0, 0);
	for (size_t i = 0; i < sizeof servers / sizeof servers[0]; i++)
		assert_int_equal(call(0, SET_SOURCE_CONFIG, 2, 0, servers[i], PRIORITY, 5), H_P3);
	assert_int_equal(call(0, SET_SOURCE_CONFIG, 4, 0, 0, PRIORITY, 5), H_PARAMETER);
	assert_int_equal(call(0, SET_SOURCE_CONFIG, UINT64_MAX, 0, 0, PRIORITY, 5), H_PARAMETER);
	assert_int_equal(call(0, SET_SOURCE_CONFIG, 2, 0, 0, 7, 5), H_P4);
	assert_int_equal(call(0, SET_SOURCE_CONFIG, 2, 0, 0, 0x106, 5), H_P4);
	assert_int_equal(call(0, SET_SOURCE_CONFIG, 2, 0, 0, UINT64_MAX, 5), H_P4);
	assert_int_equal(call(0, SET_SOURCE_CONFIG, 2, 0, 0, 5, 5), H_P3); /* not this priority */
	assert_int_equal(call(0, SET_SOURCE_CONFIG, 2, 0, 0, PRIORITY, UINT64_C(1) << 31), H_P5);
	assert_false(fake_xive_target(0, &target));
	aim(0, 0, 0, 0x7fffffff);
	assert_true(fake_xive_target(0, &target));
	assert_int_equal(target.server, 0);
	assert_int_equal(target.priority, PRIORITY);
	assert_int_equal(target.number, 0x7fffffff);
	/* Without the flag the number stays. */
	assert_int_equal(call(0, SET_SOURCE_CONFIG, 0, 0, 0, PRIORITY, 1), H_SUCCESS);
	assert_int_equal(call(0, GET_SOURCE_CONFIG, 0, 0, 0, 0, 0), H_SUCCESS);
	assert_int_equal(result[0], 0);
	assert_int_equal(result[1], PRIORITY);
	assert_int_equal(result[2], 0x7fffffff);
	/* Masked, and not. */
	assert_int_equal(call(0, SET_SOURCE_CONFIG, 1, 0, 0, PRIORITY, 1), H_SUCCESS);
	assert_false(fake_xive_target(0, &target));
	assert_int_equal(call(0, GET_SOURCE_CONFIG, 0, 0, 0, 0, 0), H_SUCCESS);
	assert_int_equal(result[1], NEVER);
	assert_int_equal(call(0, SET_SOURCE_CONFIG, 0, 0, 0, PRIORITY, 1), H_SUCCESS);
	assert_true(fake_xive_target(0, &target));
	assert_int_equal(call(0, GET_SOURCE_CONFIG, 1, 0, 0, 0, 0), H_PARAMETER);
}

static void a_queue_is_a_page_of_memory(void **state)
{
	static const uint64_t places[] = {1, 0x8000, 256 * MIB, 256 * MIB - 0x8000, 16 * TIB,
	    17 * TIB, UINT64_MAX, UINT64_MAX - 0xffff, ~UINT64_C(0xffff)};
	static const uint64_t sizes[] = {1, 12, 15, 17, 21, 24, 64, UINT64_MAX};
	static const uint64_t servers[] = {1, 4, UINT64_C(1) << 32, UINT64_MAX};

	power_on(*state);
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
		assert_int_equal(call(0, SET_QUEUE_CONFIG, 1, 0, PRIORITY, places[i], 16), H_P4);
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
		assert_int_equal(
		    call(0, SET_QUEUE_CONFIG, 1, 0, PRIORITY, QUEUE(0), sizes[i]), H_P5);
	for (size_t i = 0; i < sizeof servers / sizeof servers[0]; i++) {
		assert_int_equal(
		    call(0, SET_QUEUE_CONFIG, 1, servers[i], PRIORITY, QUEUE(0), 16), H_P2);
		assert_int_equal(call(0, SET_QUEUE_CONFIG, 0, servers[i], PRIORITY, 0, 0), H_P2);
		assert_int_equal(call(0, GET_QUEUE_INFO, 0, servers[i], PRIORITY, 0, 0), H_P2);
	}
	assert_int_equal(call(0, SET_QUEUE_CONFIG, 2, 0, PRIORITY, QUEUE(0), 16), H_PARAMETER);
	assert_int_equal(call(0, SET_QUEUE_CONFIG, 0, 0, PRIORITY, QUEUE(0), 16), H_PARAMETER);
	assert_int_equal(call(0, SET_QUEUE_CONFIG, 1, 0, 7, QUEUE(0), 16), H_P3);
	assert_int_equal(call(0, SET_QUEUE_CONFIG, 1, 0, UINT64_MAX, QUEUE(0), 16), H_P3);
	assert_int_equal(call(0, GET_QUEUE_INFO, 1, 0, PRIORITY, 0, 0), H_PARAMETER);
	assert_int_equal(call(0, GET_QUEUE_INFO, 0, 0, 7, 0, 0), H_P3);
	assert_int_equal(call(0, GET_QUEUE_INFO, 0, 0, PRIORITY, 0, 0), H_SUCCESS);
	assert_int_equal(result[1], 0);
	assert_true(fake_xive_queue(0, PRIORITY) == UINT64_MAX);
	/* To turn off what is not on is no error. */
	assert_int_equal(call(0, SET_QUEUE_CONFIG, 0, 0, PRIORITY, 0, 0), H_SUCCESS);
	/* The last page; then at 0, which is memory too. */
	assert_int_equal(
	    call(0, SET_QUEUE_CONFIG, 1, 0, PRIORITY, 256 * MIB - 0x10000, 16), H_SUCCESS);
	assert_true(fake_xive_queue(0, PRIORITY) == 256 * MIB - 0x10000);
	assert_int_equal(call(0, SET_QUEUE_CONFIG, 1, 0, 0, 0, 16), H_SUCCESS);
	assert_true(fake_xive_queue(0, 0) == 0);
	assert_int_equal(call(0, GET_QUEUE_INFO, 0, 0, PRIORITY, 0, 0), H_SUCCESS);
	assert_int_equal(result[1], 16);
	assert_int_equal(call(0, SET_QUEUE_CONFIG, 0, 0, PRIORITY, 0, 0), H_SUCCESS);
	assert_true(fake_xive_queue(0, PRIORITY) == UINT64_MAX);
	/* Nothing can be aimed there now. */
	assert_int_equal(call(0, SET_SOURCE_CONFIG, 2, 0, 0, PRIORITY, 5), H_P3);
}

static void an_offset_lies_in_the_page(void **state)
{
	power_on(*state);
	assert_int_equal(call(0, ESB, 2, IRQ_VTY, GET, 0, 0), H_PARAMETER);
	assert_int_equal(call(0, ESB, 0, IRQ_VTY, 0x10000, 0, 0), H_P3);
	assert_int_equal(call(0, ESB, 0, IRQ_VTY, UINT64_MAX, 0, 0), H_P3);
	assert_int_equal(call(0, ESB, 1, 0, 0x10000, 0, 0), H_P3);
	assert_int_equal(esb(IRQ_VTY, GET), 1);
	/* With the hint about order; beyond the first 4 KiB; and what has no meaning. */
	assert_int_equal(esb(IRQ_VTY, GET | 0x40), 1);
	assert_int_equal(esb(IRQ_VTY, 0xf000 | GET), 1);
	assert_true(esb(IRQ_VTY, 0x400) == UINT64_MAX);
	assert_true(esb(0, 0x900) == UINT64_MAX);
	/* A source with pages: the load that the guest could make itself, at an offset of its own.
	 */
	assert_int_equal(esb(3, SET_01 | 0x7f), SET_01);
	assert_int_equal(fake_xive_loads(3), 1);
	assert_int_equal(call(0, ESB, 1, 3, 0, 0, 0), H_SUCCESS);
	assert_true(result[0] == UINT64_MAX);
	assert_int_equal(fake_xive_loads(3), 1);
}

static void the_rest_of_the_calls(void **state)
{
	power_on(*state);
	assert_int_equal(call(0, SYNC, 0, 0, 0, 0, 0), H_SUCCESS);
	assert_int_equal(call(0, SYNC, 0, IRQ_HOTPLUG, 0, 0, 0), H_SUCCESS);
	assert_int_equal(call(0, SYNC, 1, 0, 0, 0, 0), H_PARAMETER);
	fake_fail_next(FAKE_XIVE_SYNC, 1);
	assert_int_equal(call(0, SYNC, 0, 0, 0, 0, 0), H_HARDWARE);
	assert_int_equal(call(0, RESET, 1, 0, 0, 0, 0), H_PARAMETER);
	assert_int_equal(call(0, GET_QUEUE_CONFIG, 0, 0, PRIORITY, 0, 0), H_FUNCTION);
	/* Calls of XICS are no calls. */
	assert_int_equal(call(0, 0x74, 0, 0, 0, 0, 0), H_FUNCTION);
}

static void what_kvm_refuses_has_not_happened(void **state)
{
	struct kvm_xive_target target;

	power_on(*state);
	fake_fail_next(FAKE_XIVE_QUEUE, 1);
	assert_int_equal(call(0, SET_QUEUE_CONFIG, 1, 0, PRIORITY, QUEUE(0), 16), H_HARDWARE);
	assert_int_equal(call(0, SET_SOURCE_CONFIG, 2, 0, 0, PRIORITY, 5), H_P3);
	set_queue(0, 0);
	fake_fail_next(FAKE_XIVE_AIM, 1);
	assert_int_equal(call(0, SET_SOURCE_CONFIG, 2, 0, 0, PRIORITY, 5), H_HARDWARE);
	assert_int_equal(call(0, GET_SOURCE_CONFIG, 0, 0, 0, 0, 0), H_SUCCESS);
	assert_int_equal(result[1], NEVER);
	aim(0, 0, 0, 5);
	fake_fail_next(FAKE_XIVE_MASK, 1);
	assert_int_equal(call(0, SET_SOURCE_CONFIG, 1, 0, 0, PRIORITY, 5), H_HARDWARE);
	assert_true(fake_xive_target(0, &target));
	fake_fail_next(FAKE_IRQ_RESET, 1);
	assert_int_equal(call(0, RESET, 0, 0, 0, 0, 0), H_HARDWARE);
}

/* What KVM may still have is turned off by the next call that asks for it. */
static void a_queue_that_kvm_did_not_turn_off_is_turned_off_later(void **state)
{
	struct fixture *fixture = *state;

	power_on(fixture);
	set_queue(0, 0);
	fake_fail_next(FAKE_XIVE_QUEUE, 1);
	assert_int_equal(call(0, SET_QUEUE_CONFIG, 0, 0, PRIORITY, 0, 0), H_HARDWARE);
	assert_true(fake_xive_queue(0, PRIORITY) == QUEUE(0));
	/* For the guest there is none. */
	assert_int_equal(call(0, SET_SOURCE_CONFIG, 2, 0, 0, PRIORITY, 5), H_P3);
	assert_int_equal(call(0, SET_QUEUE_CONFIG, 0, 0, PRIORITY, 0, 0), H_SUCCESS);
	assert_true(fake_xive_queue(0, PRIORITY) == UINT64_MAX);
	/* The same where one was to be replaced; and then H_INT_RESET turns it off. */
	set_queue(0, 0);
	fake_fail_next(FAKE_XIVE_QUEUE, 1);
	assert_int_equal(call(0, SET_QUEUE_CONFIG, 1, 0, PRIORITY, QUEUE(1), 16), H_HARDWARE);
	assert_int_equal(call(0, RESET, 0, 0, 0, 0, 0), H_SUCCESS);
	assert_true(fake_xive_queue(0, PRIORITY) == UINT64_MAX);
}

/* --- Events
 * --------------------------------------------------------------------------------------- */

static void what_is_typed_before_the_guest_listens_interrupts_when_it_does(void **state)
{
	struct fixture *fixture = *state;

	power_on(fixture);
	set_queue(0, 0);
	assert_int_equal(spapr_console_write(fixture->machine, (const uint8_t *)"ab", 2), 2);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 0);
	esb(IRQ_VTY, SET_01);
	aim(0, IRQ_VTY, 0, 2);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 0);
	assert_int_equal(esb(IRQ_VTY, SET_00), 1);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 1);
	/* Once. */
	assert_int_equal(esb(IRQ_VTY, GET), 2);
	assert_int_equal(esb(IRQ_VTY, SET_00), 2);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 1);
}

/* The same, if it switches the source on before it aims it. */
static void or_when_the_guest_has_aimed_the_source(void **state)
{
	struct fixture *fixture = *state;

	power_on(fixture);
	set_queue(0, 0);
	esb(IRQ_VTY, SET_00);
	spapr_console_write(fixture->machine, (const uint8_t *)"a", 1);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 0);
	assert_int_equal(call(0, SET_SOURCE_CONFIG, 3, IRQ_VTY, 0, PRIORITY, 2), H_SUCCESS);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 0);
	aim(0, IRQ_VTY, 0, 2);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 1);
}

static void an_interrupt_that_comes_during_another_is_sent_at_its_end(void **state)
{
	struct fixture *fixture = *state;

	power_on(fixture);
	set_queue(0, 0);
	listen_to(IRQ_VTY, 0);
	spapr_console_write(fixture->machine, (const uint8_t *)"a", 1);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 1);
	spapr_console_write(fixture->machine, (const uint8_t *)"b", 1);
	spapr_console_write(fixture->machine, (const uint8_t *)"c", 1);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 1);
	assert_int_equal(esb(IRQ_VTY, GET), 3);
	/* Linux' way to end one. */
	assert_int_equal(esb(IRQ_VTY, SET_00), 3);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 2);
	assert_int_equal(esb(IRQ_VTY, SET_00), 2);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 2);
	/* The other ways. */
	spapr_console_write(fixture->machine, (const uint8_t *)"d", 1);
	spapr_console_write(fixture->machine, (const uint8_t *)"e", 1);
	assert_int_equal(esb(IRQ_VTY, END), 1);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 4);
	assert_int_equal(esb(IRQ_VTY, END), 0);
	spapr_console_write(fixture->machine, (const uint8_t *)"f", 1);
	spapr_console_write(fixture->machine, (const uint8_t *)"g", 1);
	assert_int_equal(call(0, ESB, 1, IRQ_VTY, STORE_END, 0, 0), H_SUCCESS);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 6);
	assert_int_equal(call(0, ESB, 1, IRQ_VTY, STORE_END, 0, 0), H_SUCCESS);
	assert_int_equal(esb(IRQ_VTY, GET), 0);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 6);
}

/* Linux masks by 01, remembers P, and unmasks by 10 or 00. */
static void nothing_is_lost_while_the_guest_masks(void **state)
{
	struct fixture *fixture = *state;

	power_on(fixture);
	set_queue(0, 0);
	listen_to(IRQ_VTY, 0);
	assert_int_equal(esb(IRQ_VTY, SET_01), 0);
	spapr_console_write(fixture->machine, (const uint8_t *)"a", 1);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 0);
	assert_int_equal(esb(IRQ_VTY, END), 0); /* off stays off */
	assert_int_equal(esb(IRQ_VTY, SET_00), 1);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 1);
	/* Masked while one is being handled, and another has come: the first is still its own. */
	spapr_console_write(fixture->machine, (const uint8_t *)"b", 1);
	assert_int_equal(esb(IRQ_VTY, SET_01), 3);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 1);
	assert_int_equal(esb(IRQ_VTY, SET_10), 1);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 1);
	assert_int_equal(esb(IRQ_VTY, GET), 3);
	assert_int_equal(esb(IRQ_VTY, SET_00), 3);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 2);
	assert_int_equal(esb(IRQ_VTY, SET_00), 2);
	/* Linux makes one come again. */
	assert_int_equal(esb(IRQ_VTY, SET_11), 0);
	assert_int_equal(esb(IRQ_VTY, SET_00), 3);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 3);
}

static void a_hotplug_event_waits_for_the_guest(void **state)
{
	struct fixture *fixture = *state;

	power_on(fixture);
	set_queue(0, 0);
	add(fixture, 1);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), 0);
	listen_to(IRQ_HOTPLUG, 0);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), 1);
	linux_add(fixture, 0, 1);
	assert_int_equal(esb(IRQ_HOTPLUG, SET_00), 2);
	expect_no_event(0);
	spapr_powerdown(fixture->machine);
	assert_int_equal(fake_irq_pulses(IRQ_EPOW), 0);
	listen_to(IRQ_EPOW, 0);
	assert_int_equal(fake_irq_pulses(IRQ_EPOW), 1);
}

static void an_interrupt_that_kvm_refuses_is_sent_again(void **state)
{
	struct fixture *fixture = *state;

	power_on(fixture);
	set_queue(0, 0);
	listen_to(IRQ_HOTPLUG, 0);
	fake_fail_next(FAKE_IRQ_PULSE, 1);
	add(fixture, 1);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), 0);
	assert_int_equal(esb(IRQ_HOTPLUG, GET), 0);
	spapr_check_deadline(fixture->machine);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), 1);
	/* The same where the guest's call was to send it. */
	stop_listening(IRQ_VTY);
	spapr_console_write(fixture->machine, (const uint8_t *)"a", 1);
	aim(0, IRQ_VTY, 0, 2);
	fake_fail_next(FAKE_IRQ_PULSE, 1);
	esb(IRQ_VTY, SET_00);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 0);
	esb(IRQ_VTY, SET_00);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 1);
}

/* --- Ends and beginnings
 * -------------------------------------------------------------------------- */

static void a_reset_forgets_all(void **state)
{
	struct fixture *fixture = *state;
	struct kvm_xive_target target;
	uint64_t resets;

	power_on_cpus(fixture, 2, 4, 1);
	set_queue(0, 0);
	set_queue(0, 1);
	aim(0, 0, 0, 16);
	aim(0, 1, 1, 16);
	listen_to(IRQ_VTY, 1);
	listen_to(IRQ_HOTPLUG, 1);
	stop_listening(IRQ_HOTPLUG);
	spapr_console_write(fixture->machine, (const uint8_t *)"a", 1);
	spapr_console_write(fixture->machine, (const uint8_t *)"b", 1);
	resets = fake_irq_resets(3);
	reset(fixture);
	assert_int_equal(fake_irqchip_resets(), 3); /* made, booted, reset */
	assert_int_equal(fake_irq_resets(3), resets + 1);
	for (uint32_t irq = 0; irq < 2; irq++)
		assert_false(fake_xive_target(irq, &target));
	assert_false(fake_xive_target(IRQ_VTY, &target));
	assert_int_equal(call(0, GET_SOURCE_CONFIG, 0, 1, 0, 0, 0), H_SUCCESS);
	assert_int_equal(result[1], NEVER);
	assert_int_equal(result[2], 1);
	assert_int_equal(call(0, GET_QUEUE_INFO, 0, 1, PRIORITY, 0, 0), H_SUCCESS);
	assert_int_equal(result[1], 0);
	assert_int_equal(esb(IRQ_VTY, GET), 1);
	assert_int_equal(call(0, SET_SOURCE_CONFIG, 2, 1, 1, PRIORITY, 16), H_P3);
	set_queue(0, 0);
	listen_to(IRQ_VTY, 0);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 1);
	fake_fail_next(FAKE_IRQCHIP_RESET, 1);
	assert_false(spapr_boot(fixture->machine, &(struct err){0}));
	reset(fixture);
}

/* The old kernel resets XIVE, the new one announces itself, and hears of what is pending. */
static void a_kernel_that_begins_hears_of_what_is_pending(void **state)
{
	struct fixture *fixture = *state;
	struct kvm_xive_target target;

	power_on_cpus(fixture, 2, 4, 1);
	set_queue(0, 0);
	set_queue(0, 1);
	aim(0, 0, 0, 16);
	aim(0, 1, 1, 16);
	listen_to(IRQ_HOTPLUG, 0);
	add(fixture, 2);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), 1);
	assert_int_equal(call(0, RESET, 0, 0, 0, 0, 0), H_SUCCESS);
	/* KVM's own reset is for when no vCPU runs. */
	assert_int_equal(fake_irqchip_resets(), 2);
	assert_false(fake_xive_target(0, &target));
	assert_false(fake_xive_target(1, &target));
	assert_false(fake_xive_target(IRQ_HOTPLUG, &target));
	assert_true(fake_xive_queue(0, PRIORITY) == UINT64_MAX);
	assert_true(fake_xive_queue(1, PRIORITY) == UINT64_MAX);
	assert_int_equal(esb(IRQ_HOTPLUG, GET), 1);
	assert_int_equal(call(0, PROC_TABLE, 0x1d, 0x10000, 0, 0, 0), H_SUCCESS);
	set_queue(0, 0);
	listen_to(IRQ_HOTPLUG, 0);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), 2);
	linux_add(fixture, 0, 2);
}

/* A guest that resets XIVE and goes on: what it has not got yet comes when it listens again. */
static void what_is_owed_outlives_the_guests_reset(void **state)
{
	struct fixture *fixture = *state;

	power_on(fixture);
	add(fixture, 1);
	set_queue(0, 0);
	listen_to(IRQ_VTY, 0);
	spapr_console_write(fixture->machine, (const uint8_t *)"a", 1);
	spapr_console_write(fixture->machine, (const uint8_t *)"b", 1);
	assert_int_equal(esb(IRQ_VTY, GET), 3);
	assert_int_equal(call(0, RESET, 0, 0, 0, 0, 0), H_SUCCESS);
	assert_int_equal(esb(IRQ_VTY, GET), 1);
	set_queue(0, 0);
	listen_to(IRQ_VTY, 0);
	listen_to(IRQ_HOTPLUG, 0);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 2);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), 1);
	linux_add(fixture, 0, 1);
	/* Nothing is owed for an interrupt that the guest has got. */
	assert_int_equal(call(0, RESET, 0, 0, 0, 0, 0), H_SUCCESS);
	set_queue(0, 0);
	listen_to(IRQ_VTY, 0);
	listen_to(IRQ_HOTPLUG, 0);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 2);
	assert_int_equal(fake_irq_pulses(IRQ_HOTPLUG), 1);
}

/* If the old kernel did not, the platform's sources are as after a reset all the same. */
static void a_kernel_that_begins_finds_the_sources_off(void **state)
{
	struct kvm_xive_target target;

	power_on(*state);
	set_queue(0, 0);
	listen_to(IRQ_HOTPLUG, 0);
	assert_int_equal(call(0, PROC_TABLE, 0x1d, 0x10000, 0, 0, 0), H_SUCCESS);
	assert_false(fake_xive_target(IRQ_HOTPLUG, &target));
	assert_int_equal(esb(IRQ_HOTPLUG, GET), 1);
}

/* As Linux takes a CPU out and in: KVM keeps the source aimed, so that its count does not grow. */
static void a_core_comes_and_goes(void **state)
{
	struct fixture *fixture = *state;
	struct kvm_xive_target target;

	power_on(fixture);
	set_queue(0, 0);
	aim(0, 0, 0, 16);
	listen_to(IRQ_HOTPLUG, 0);
	/* Not before it is there. */
	assert_int_equal(call(0, SET_QUEUE_CONFIG, 1, 1, PRIORITY, QUEUE(1), 16), H_P2);
	for (unsigned i = 0; i < 3; i++) {
		add(fixture, 1);
		linux_take(0, 1);
		set_queue(0, 1);
		aim(0, 1, 1, 16);
		assert_int_equal(start_cpu(0, 1), 0);
		assert_true(fake_xive_target(1, &target));
		assert_int_equal(target.server, 1);
		assert_int_equal(fake_xive_aims(1), 1);
		take_away(fixture, 1);
		expect_event(0, 1, 2);
		stop_listening(1);
		assert_int_equal(call(1, SET_QUEUE_CONFIG, 0, 1, PRIORITY, 0, 0), H_SUCCESS);
		assert_true(fake_xive_queue(1, PRIORITY) == UINT64_MAX);
		linux_offline(fixture, 0, 1);
		linux_release(0, 1);
		assert_int_equal(call(0, GET_QUEUE_INFO, 0, 1, PRIORITY, 0, 0), H_P2);
	}
}

/* A guest that does not care: it aims sources at a core and releases it. */
static void a_core_that_leaves_takes_its_queues_along(void **state)
{
	struct fixture *fixture = *state;
	struct kvm_xive_target target;

	power_on_cpus(fixture, 1, 4, 1);
	set_queue(0, 0);
	add_in_use(fixture, 1);
	set_queue(0, 1);
	assert_int_equal(call(0, SET_QUEUE_CONFIG, 1, 1, 0, QUEUE(2), 16), H_SUCCESS);
	aim(0, 0, 1, 16);
	aim(0, 1, 1, 16);
	aim(0, 2, 0, 16);
	listen_to(IRQ_VTY, 1);
	spapr_console_write(fixture->machine, (const uint8_t *)"a", 1);
	spapr_console_write(fixture->machine, (const uint8_t *)"b", 1);
	take_away(fixture, 1);
	linux_remove(fixture, 0, 1);
	assert_true(fake_xive_queue(1, PRIORITY) == UINT64_MAX);
	assert_true(fake_xive_queue(1, 0) == UINT64_MAX);
	assert_true(fake_xive_queue(0, PRIORITY) == QUEUE(0));
	assert_false(fake_xive_target(0, &target));
	assert_false(fake_xive_target(1, &target));
	assert_false(fake_xive_target(IRQ_VTY, &target));
	assert_true(fake_xive_target(2, &target));
	assert_int_equal(call(0, GET_SOURCE_CONFIG, 0, 0, 0, 0, 0), H_SUCCESS);
	assert_int_equal(result[1], NEVER);
	assert_int_equal(call(0, SET_SOURCE_CONFIG, 2, 0, 1, PRIORITY, 16), H_P3);
	/* What came during the one that is lost comes when the source is aimed elsewhere. */
	aim(0, IRQ_VTY, 0, 2);
	esb(IRQ_VTY, SET_00);
	assert_int_equal(fake_irq_pulses(IRQ_VTY), 2);
}

/* KVM counts how often sources are aimed at a queue, and above a limit takes another queue. */
static void a_queue_can_be_aimed_at_so_often(void **state)
{
	struct fixture *fixture = *state;

	power_on(fixture);
	set_queue(0, 0);
	for (uint64_t i = 0; i < KVM_XIVE_AIMS; i++)
		aim(0, 0, 0, i & 1);
	assert_int_equal(fake_xive_aims(0), KVM_XIVE_AIMS);
	assert_int_equal(call(0, SET_SOURCE_CONFIG, 2, 0, 0, PRIORITY, 16), H_RESOURCE);
	assert_int_equal(call(0, SET_SOURCE_CONFIG, 2, 1, 0, PRIORITY, 16), H_RESOURCE);
	/* As it is: yes. */
	aim(0, 0, 0, 1);
	/* Of a reset KVM knows nothing. */
	reset(fixture);
	set_queue(0, 0);
	assert_int_equal(call(0, SET_SOURCE_CONFIG, 2, 0, 0, PRIORITY, 16), H_RESOURCE);
	assert_int_equal(call(0, SET_QUEUE_CONFIG, 1, 0, 5, QUEUE(0), 16), H_SUCCESS);
	assert_int_equal(call(0, SET_SOURCE_CONFIG, 2, 0, 0, 5, 16), H_SUCCESS);
}

static void there_are_sources_for_so_many_cpus(void **state)
{
	struct fixture *fixture = *state;
	struct err err = {0};

	fake_facts()->max_vcpus = 8192;
	fixture->config.max_cpus = 4097;
	assert_null(spapr_create(&fixture->config, &err));
	assert_string_equal(
	    err.message, "4097 CPUs are more than the 4096 there are interrupts for");
	fake_fail_next(FAKE_IRQ_RESET, 1);
	fixture->config.max_cpus = 4;
	assert_null(spapr_create(&fixture->config, &err));
}

/* --- The device tree
 * ------------------------------------------------------------------------------ */

static void expect_cells(
    const void *tree, int node, const char *name, size_t count, const uint32_t *cells)
{
	int length;
	const struct be32 *value = fdt_getprop(tree, node, name, &length);

	assert_non_null(value);
	assert_int_equal(length, count * sizeof *value);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(from_be32(value[i]), cells[i]);
}
#define CELLS(tree, node, name, ...)                                                               \
	expect_cells(tree, node, name, sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t),       \
	    (uint32_t[]){__VA_ARGS__})

static void the_tree_describes_it(void **state)
{
	size_t length;
	const uint8_t *vector;
	void *tree;
	int node, rtas, size;

	power_on(*state);
	tree = device_tree(*state, &length);
	node = fdt_path_offset(tree, "/interrupt-controller@110000030000");
	assert_true(node > 0);
	assert_string_equal(fdt_getprop(tree, node, "compatible", NULL), "ibm,power-ivpe");
	assert_string_equal(fdt_getprop(tree, node, "device_type", NULL), "power-ivpe");
	assert_non_null(fdt_getprop(tree, node, "interrupt-controller", NULL));
	CELLS(tree, node, "#interrupt-cells", 2);
	CELLS(tree, node, "reg", 0x1100, 0x30000, 0, 0x10000, 0x1100, 0x20000, 0, 0x10000);
	CELLS(tree, node, "ibm,xive-eq-sizes", 16);
	CELLS(tree, node, "ibm,xive-lisn-ranges", 0, 4);
	CELLS(tree, 0, "ibm,plat-res-int-priorities", 7, 0xf8);
	rtas = fdt_path_offset(tree, "/rtas");
	assert_null(fdt_getprop(tree, rtas, "ibm,set-xive", NULL));
	assert_null(fdt_getprop(tree, rtas, "ibm,int-on", NULL));
	assert_non_null(fdt_getprop(tree, rtas, "check-exception", NULL));
	vector =
	    fdt_getprop(tree, fdt_path_offset(tree, "/chosen"), "ibm,architecture-vec-5", &size);
	assert_true(size > 23);
	assert_int_equal(vector[23], 0x40);
	free(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    XIVE_TEST(sources_have_pages_or_are_managed_by_call),
	    XIVE_TEST(there_are_no_other_sources),
	    XIVE_TEST(a_source_is_aimed_at_a_queue_that_is_set),
	    XIVE_TEST(a_queue_is_a_page_of_memory),
	    XIVE_TEST(an_offset_lies_in_the_page),
	    XIVE_TEST(the_rest_of_the_calls),
	    XIVE_TEST(what_kvm_refuses_has_not_happened),
	    XIVE_TEST(a_queue_that_kvm_did_not_turn_off_is_turned_off_later),
	    XIVE_TEST(what_is_typed_before_the_guest_listens_interrupts_when_it_does),
	    XIVE_TEST(or_when_the_guest_has_aimed_the_source),
	    XIVE_TEST(an_interrupt_that_comes_during_another_is_sent_at_its_end),
	    XIVE_TEST(nothing_is_lost_while_the_guest_masks),
	    XIVE_TEST(a_hotplug_event_waits_for_the_guest),
	    XIVE_TEST(an_interrupt_that_kvm_refuses_is_sent_again),
	    XIVE_TEST(a_reset_forgets_all),
	    XIVE_TEST(a_kernel_that_begins_hears_of_what_is_pending),
	    XIVE_TEST(what_is_owed_outlives_the_guests_reset),
	    XIVE_TEST(a_kernel_that_begins_finds_the_sources_off),
	    XIVE_TEST(a_core_comes_and_goes),
	    XIVE_TEST(a_core_that_leaves_takes_its_queues_along),
	    XIVE_TEST(a_queue_can_be_aimed_at_so_often),
	    XIVE_TEST(there_are_sources_for_so_many_cpus),
	    XIVE_TEST(the_tree_describes_it),
	};

	return cmocka_run_group_tests_name("xive", tests, NULL, NULL);
}
