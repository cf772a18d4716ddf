/* SPDX-License-Identifier: Apache-2.0 */
/*
 * event.c - events to the guest (LoPAR, error and event notification, and the
 * platform event log format).
 *
 * A hot-plug event says "look at connector X". The queue holds connectors, each at most once,
 * and whether it is an add or a removal is decided when the guest fetches it, from what is
 * then pending: so the queue is bounded by the number of connectors, repeats coalesce, and no
 * event can be out of date when it is read.
 *
 * No interrupt finds nothing: Linux does not look at check-exception's status, and on an
 * interrupt with no event behind it carries out its last event again. So there is one for each
 * queued event, and a queued event is never taken back; if nothing is pending any more it reads
 * as an add, which a guest that has the core, or that finds it gone, refuses by itself.
 *
 * An interrupt can get lost: a kernel started by kexec takes it before it knows the source, and
 * drops it. So when a kernel begins, the sources are reset, and what is pending is queued again and
 * interrupts once more (events_announce). Asking again interrupts again, too, though the first
 * may still arrive. The one that is then too many finds a spare event: an add of core 0, which
 * every guest has.
 */
#include <string.h>
#include <time.h>

#include "base/be.h"
#include "spapr/machine.h"

static bool pulse(struct spapr *machine, uint32_t irq)
{
	int result = kvm_irq_pulse(machine->vm, irq);

	if (result < 0)
		log_guest(&machine->limit_event, LOG_ERROR, "KVM refuses interrupt %#x: error %d",
		    irq, -result);
	return result == 0;
}

static void enqueue(struct spapr *machine, struct core *core)
{
	if (!core->event_queued)
		machine->events[machine->event_count++] = core->number;
	core->event_queued = true;
}

void event_queue_core(struct spapr *machine, struct core *core)
{
	bool announced = core->event_queued && !machine->interrupt_owed;
	bool pulsed;

	enqueue(machine, core);
	pulsed = pulse(machine, IRQ_HOTPLUG);
	/* One interrupt is enough for all that are queued: each fetch sends the next. */
	if (announced)
		machine->event_spare = machine->event_spare || pulsed;
	else
		machine->interrupt_owed = !pulsed;
}

void event_queue_shutdown(struct spapr *machine)
{
	/* Again if it is queued already, for the same reason. No spare event: what Linux would
	 * carry out again is the same shutdown. */
	bool announced = machine->epow_queued && !machine->epow_owed;

	machine->epow_queued = true;
	machine->epow_owed = !pulse(machine, IRQ_EPOW) && !announced;
}

void events_announce(struct spapr *machine)
{
	/* An event that the kernel before has fetched, and not answered, may have gone with it. */
	for (uint32_t i = 0; i < machine->core_count; i++)
		if (machine->cores[i].add_operation != 0 || machine->cores[i].remove_operation != 0)
			enqueue(machine, &machine->cores[i]);
	machine->event_spare = false;
	machine->interrupt_owed = machine->event_count > 0 && !pulse(machine, IRQ_HOTPLUG);
	machine->epow_owed = machine->epow_queued && !pulse(machine, IRQ_EPOW);
}

bool events_retry(struct spapr *machine)
{
	if (machine->interrupt_owed)
		machine->interrupt_owed = !pulse(machine, IRQ_HOTPLUG);
	if (machine->epow_owed)
		machine->epow_owed = !pulse(machine, IRQ_EPOW);
	if (machine->vty_owed)
		machine->vty_owed = !pulse(machine, IRQ_VTY);
	return machine->interrupt_owed || machine->epow_owed || machine->vty_owed;
}

void events_reset(struct spapr *machine)
{
	for (uint32_t i = 0; i < machine->event_count; i++)
		machine->cores[machine->events[i]].event_queued = false;
	machine->event_count = 0;
	machine->interrupt_owed = false;
	machine->event_spare = false;
	machine->epow_queued = machine->epow_owed = machine->vty_owed = false;
}

/* The error log, version 6: fixed header, extended header, then sections. All that any event
 * of ours has in common is here; offsets are those of the standard. */
enum {
	LOG_VERSION = 6,
	LOG_TYPE_EPOW = 0x40,
	LOG_TYPE_HOTPLUG = 0xe5,
	LOG_INITIATOR_HOTPLUG = 6,
	LOG_LAST_SECTION = 96,
	HOTPLUG_ADD = 1,
	HOTPLUG_REMOVE = 2,
	HOTPLUG_ID_INDEX = 2, /* the only kind by which Linux answers with a refusal */
	EPOW_SYSTEM_SHUTDOWN = 3,
	EPOW_NORMAL_SHUTDOWN = 1,
};

static void put16(uint8_t *at, uint16_t value)
{
	struct be16 be = be16(value);

	memcpy(at, &be, sizeof be);
}

static void put32(uint8_t *at, uint32_t value)
{
	struct be32 be = be32(value);

	memcpy(at, &be, sizeof be);
}

/* id, length with this header, version; subtype and creator stay 0. */
static void put_section(uint8_t *at, const char id[2], uint16_t length, uint8_t version)
{
	memcpy(at, id, 2);
	put16(at + 2, length);
	at[4] = version;
}

static uint32_t bcd(int value)
{
	return (uint32_t)(value / 10 % 10 << 4 | value % 10);
}

static void put_header(struct spapr *machine, uint8_t *log, uint8_t type, uint8_t initiator)
{
	struct timespec now;
	struct tm tm = {0};

	clock_gettime(CLOCK_REALTIME, &now);
	now.tv_sec += machine->clock_offset_s;
	gmtime_r(&now.tv_sec, &tm);
	memset(log, 0, EVENT_LOG_BYTES);
	log[0] = LOG_VERSION;
	log[1] = 1 << 5 | 2 << 3 | 1 << 2; /* severity event, not recovered, extended log follows */
	log[2] = (uint8_t)(initiator << 4);
	log[3] = type;
	put32(log + 4, EVENT_LOG_BYTES - 8); /* exact, or Linux does not look further */
	log[8] = 0x80 | 0x04 | 0x02;         /* valid, new, big-endian */
	log[10] = 0x80 | 14;                 /* PowerPC format, platform event log */
	memcpy(log + 20, "IBM", 4);

	put_section(log + 24, "PH", 48, 0); /* private header */
	put32(log + 32, bcd((tm.tm_year + 1900) / 100) << 24 | bcd(tm.tm_year % 100) << 16 |
	                    bcd(tm.tm_mon + 1) << 8 | bcd(tm.tm_mday));
	put32(log + 36, bcd(tm.tm_hour) << 24 | bcd(tm.tm_min) << 16 | bcd(tm.tm_sec) << 8);
	log[48] = 'H'; /* created by the hypervisor */
	log[51] = 3;   /* sections */
	put32(log + 64, ++machine->event_log_id);

	put_section(log + 72, "UH", 24, 0); /* user header */
}

static void put_shutdown(struct spapr *machine, uint8_t *log)
{
	put_header(machine, log, LOG_TYPE_EPOW, 0);
	log[80] = 0xa0; /* subsystem: external environment */
	log[83] = 0xd0; /* normal shutdown */
	put_section(log + LOG_LAST_SECTION, "EP", 20, 2);
	log[104] = EPOW_SYSTEM_SHUTDOWN;
	log[105] = EPOW_NORMAL_SHUTDOWN;
	log[106] = 1; /* concerns this partition only */
}

static void put_hotplug(struct spapr *machine, uint8_t *log, const struct core *core, bool removal)
{
	put_header(machine, log, LOG_TYPE_HOTPLUG, LOG_INITIATOR_HOTPLUG);
	log[80] = 0x80;
	put_section(log + LOG_LAST_SECTION, "HP", 20, 1);
	log[104] = drc_type_cpu.hotplug_type;
	log[105] = removal ? HOTPLUG_REMOVE : HOTPLUG_ADD;
	log[106] = HOTPLUG_ID_INDEX;
	put32(log + 108, core->drc_index);
}

static void fetch_core(struct spapr *machine, uint8_t *log)
{
	struct core *core = &machine->cores[machine->events[0]];

	machine->event_count--;
	memmove(
	    machine->events, machine->events + 1, machine->event_count * sizeof machine->events[0]);
	core->event_queued = false;
	put_hotplug(machine, log, core, core_event_fetched(machine, core));
	machine->interrupt_owed = machine->event_count > 0 && !pulse(machine, IRQ_HOTPLUG);
}

bool event_fetch(struct spapr *machine, uint32_t mask, uint8_t ret_log[EVENT_LOG_BYTES])
{
	if ((mask & EVENT_MASK_EPOW) != 0 && machine->epow_queued) {
		machine->epow_queued = machine->epow_owed = false;
		put_shutdown(machine, ret_log);
	} else if ((mask & EVENT_MASK_HOTPLUG) != 0 && machine->event_count > 0) {
		fetch_core(machine, ret_log);
	} else if ((mask & EVENT_MASK_HOTPLUG) != 0 && machine->event_spare) {
		machine->event_spare = false;
		put_hotplug(machine, ret_log, &machine->cores[0], false);
	} else {
		return false;
	}
	news_count(&machine->news, COUNT_EVENTS_FETCHED, 1);
	return true;
}
