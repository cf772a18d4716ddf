/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtas_system.c - RTAS services about the machine as a whole: events, clock, power, panic,
 * system parameters (LoPAR, "Call Function Definition").
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/be.h"
#include "spapr/event_log.h"
#include "spapr/machine.h"
#include "spapr/rtas.h"

/* The machine's time of day, which the guest may have set; UTC. */
static bool rtas_time_of_day(const struct spapr *machine, struct tm *ret_tm, long *ret_ns)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	now.tv_sec += machine->clock_offset_s;
	*ret_ns = now.tv_nsec;
	return gmtime_r(&now.tv_sec, ret_tm) != NULL;
}

/* Take an event of the classes in mask and write its log; false if there is none. */
static bool rtas_fetch_event(struct spapr *machine, uint32_t mask, struct event_log *ret_log)
{
	uint32_t number = 0;
	enum event_kind kind = event_fetch(&machine->events, mask, &number);
	const struct drc_type *type = &drc_type_lmb;
	struct tm now = {0};
	bool removal = false;
	uint32_t index;
	long ns;

	if (kind == EVENT_NONE)
		return false;
	rtas_time_of_day(machine, &now, &ns);
	if (kind == EVENT_SHUTDOWN) {
		event_log_shutdown(ret_log, ++machine->event_log_id, &now);
		return true;
	}
	if (kind == EVENT_FENCE) {
		index = fence_fetched(&machine->fence, clock_ms());
	} else {
		index = connector_index(&machine->connectors, number, &type);
		removal = device_event_fetched(&machine->devices, number);
	}
	event_log_hotplug(ret_log, ++machine->event_log_id, &now, type, index, removal);
	return true;
}

/* check-exception: vector, interrupt, event mask, time-critical, buffer, length. One event a
 * call, and never more of it than the guest has room for. */
enum rtas_status rtas_check_exception(struct rtas_call *call)
{
	uint32_t buffer = call->args[4], length = call->args[5];
	struct event_log log;

	if (length > sizeof log)
		length = sizeof log;
	/* Checked before the event is taken: a bad buffer must not lose it. */
	if (!gmem_contains(&call->machine->gmem, buffer, length))
		return RTAS_PARAMETER_ERROR;
	if (!rtas_fetch_event(call->machine, call->args[2], &log))
		return RTAS_NO_ERRORS_FOUND;
	return gmem_write(&call->machine->gmem, buffer, &log, length) ? RTAS_SUCCESS
	                                                              : RTAS_HARDWARE_ERROR;
}

/* event-scan reports nothing. Each event belongs to an interrupt; an event read here would leave
 * its interrupt without one, upon which Linux repeats its last event. */
enum rtas_status rtas_event_scan(struct rtas_call *call)
{
	return RTAS_NO_ERRORS_FOUND;
}

/* get-time-of-day: -> year, month, day, hour, minute, second, nanosecond; UTC. */
enum rtas_status rtas_get_time_of_day(struct rtas_call *call)
{
	struct tm tm;
	long ns;

	if (!rtas_time_of_day(call->machine, &tm, &ns))
		return RTAS_HARDWARE_ERROR;
	call->outputs[0] = (uint32_t)tm.tm_year + 1900;
	call->outputs[1] = (uint32_t)tm.tm_mon + 1;
	call->outputs[2] = (uint32_t)tm.tm_mday;
	call->outputs[3] = (uint32_t)tm.tm_hour;
	call->outputs[4] = (uint32_t)tm.tm_min;
	call->outputs[5] = (uint32_t)tm.tm_sec;
	call->outputs[6] = (uint32_t)ns;
	return RTAS_SUCCESS;
}

/* set-time-of-day: the same fields. It sets the guest's clock, not the host's. */
enum rtas_status rtas_set_time_of_day(struct rtas_call *call)
{
	const uint32_t *in = call->args;
	struct tm tm;
	struct timespec now;

	if (in[0] < 1970 || in[0] > 9999 || in[1] < 1 || in[1] > 12 || in[2] < 1 || in[2] > 31 ||
	    in[3] > 23 || in[4] > 59 || in[5] > 60)
		return RTAS_PARAMETER_ERROR;
	tm = (struct tm){.tm_year = (int)in[0] - 1900,
	    .tm_mon = (int)in[1] - 1,
	    .tm_mday = (int)in[2],
	    .tm_hour = (int)in[3],
	    .tm_min = (int)in[4],
	    .tm_sec = (int)in[5]};
	clock_gettime(CLOCK_REALTIME, &now);
	call->machine->clock_offset_s = (int64_t)timegm(&tm) - now.tv_sec;
	return RTAS_SUCCESS;
}

enum rtas_status rtas_power_off(struct rtas_call *call)
{
	cpus_end_guest(&call->machine->cpus, SPAPR_NEWS_POWER_OFF);
	return RTAS_SUCCESS;
}

enum rtas_status rtas_system_reboot(struct rtas_call *call)
{
	cpus_end_guest(&call->machine->cpus, SPAPR_NEWS_RESET);
	return RTAS_SUCCESS;
}

static void rtas_read_panic_text(struct spapr *machine, uint32_t address)
{
	char *text = machine->panic_text;

	memset(text, 0, sizeof machine->panic_text);
	/* Byte by byte: the text may end where RAM ends. */
	for (size_t i = 0; address != 0 && i < sizeof machine->panic_text - 1; i++)
		if (!gmem_read(&machine->gmem, (uint64_t)address + i, &text[i], 1) ||
		    text[i] == '\0')
			break;
	/* Linux 6.12 and 7.2 pass address 0, by mistake (6.1 does not). They have printed the text
	 * before, behind these words. */
	if (text[0] == '\0' &&
	    !vty_find_last(&machine->vty, "Kernel panic", text, sizeof machine->panic_text))
		snprintf(text, sizeof machine->panic_text, "it gave no reason");
	for (size_t i = 0; text[i] != '\0'; i++)
		if (text[i] < ' ' || text[i] > '~')
			text[i] = '.';
}

/* ibm,os-term: address of a text. Linux calls it at the end of panic(). */
enum rtas_status rtas_os_term(struct rtas_call *call)
{
	rtas_read_panic_text(call->machine, call->args[0]);
	cpus_end_guest(&call->machine->cpus, SPAPR_NEWS_PANIC);
	return RTAS_SUCCESS;
}

/* System parameters, by LoPAR's numbers. */
enum {
	PARAMETER_SPLPAR = 20,      /* text: what the partition may have */
	PARAMETER_DIAGNOSTICS = 42, /* one byte: no processor diagnostics are run */
	PARAMETER_UUID = 48,        /* 16 bytes; length 0: the partition has none */
	PARAMETER_NAME = 55,        /* text */
};

/* The bytes of a UUID in text, which options.c has checked; returns how many. */
static int rtas_uuid_bytes(const char *uuid, char value[16])
{
	static const char digits[] = "0123456789abcdef";
	int nibbles = 0;

	for (; uuid != NULL && *uuid != '\0' && nibbles < 32; uuid++) {
		const char *digit = strchr(digits, *uuid);

		if (digit == NULL)
			continue;
		value[nibbles / 2] =
		    (char)((nibbles % 2 ? value[nibbles / 2] << 4 : 0) | (digit - digits));
		nibbles++;
	}
	return nibbles / 2;
}

/* Into value; returns the length, or a negative number if there is no such parameter. */
static int rtas_system_parameter(
    const struct spapr_config *config, uint32_t parameter, char value[256])
{
	value[0] = '\0';
	switch (parameter) {
	case PARAMETER_SPLPAR:
		return 1 + snprintf(value, 256,
		               "MaxEntCap=%u,DesMem=%llu,DesProcs=%u,MaxPlatProcs=%u",
		               config->max_cpus, (unsigned long long)(config->memory_bytes >> 20),
		               config->boot_cpus, config->max_cpus);
	case PARAMETER_DIAGNOSTICS: return 1;
	case PARAMETER_UUID: return rtas_uuid_bytes(config->uuid, value);
	case PARAMETER_NAME:
		if (config->name == NULL)
			return -1;
		return 1 + snprintf(value, 256, "%.63s", config->name);
	default: return -1;
	}
}

/* ibm,get-system-parameter: parameter, buffer, its length. The buffer gets a length of 16 bits,
 * then as much of the value as there is room for. */
enum rtas_status rtas_get_system_parameter(struct rtas_call *call)
{
	char value[256];
	int length = rtas_system_parameter(&call->machine->config, call->args[0], value);
	uint32_t buffer = call->args[1], room = call->args[2], count;
	struct be16 head;

	if (length < 0)
		return RTAS_PARAMETER_ERROR; /* "not supported" */
	if (room < sizeof head)
		return RTAS_BAD_PARAMETER_BUFFER;
	head = be16((uint16_t)length);
	count =
	    (uint32_t)length < room - sizeof head ? (uint32_t)length : room - (uint32_t)sizeof head;
	if (!gmem_contains(&call->machine->gmem, buffer, sizeof head + count))
		return RTAS_BAD_PARAMETER_BUFFER;
	return gmem_write(&call->machine->gmem, buffer, &head, sizeof head) &&
	               gmem_write(&call->machine->gmem, buffer + sizeof head, value, count)
	           ? RTAS_SUCCESS
	           : RTAS_HARDWARE_ERROR;
}

/* ibm,set-system-parameter: none can be set. */
enum rtas_status rtas_set_system_parameter(struct rtas_call *call)
{
	return RTAS_NOT_AUTHORIZED;
}
