/* SPDX-License-Identifier: Apache-2.0 */
/* event_log.c - see event_log.h. */
#include "spapr/event_log.h"

#include <string.h>

enum {
	LOG_VERSION = 6,
	LOG_SEVERITY_EVENT = 1 << 5,
	LOG_NOT_RECOVERED = 2 << 3,
	LOG_EXTENDED = 1 << 2,
	LOG_INITIATOR_HOTPLUG = 6 << 4,
	LOG_TYPE_EPOW = 0x40,
	LOG_TYPE_HOTPLUG = 0xe5,
	LOG_VALID = 0x80,
	LOG_NEW = 0x04,
	LOG_BIG_ENDIAN = 0x02,
	LOG_POWERPC_FORMAT = 0x80,
	LOG_PLATFORM_EVENT = 14,
	SUBSYSTEM_HOTPLUG = 0x80,
	SUBSYSTEM_ENVIRONMENT = 0xa0,
	EVENT_NORMAL_SHUTDOWN = 0xd0,
	HOTPLUG_ADD = 1,
	HOTPLUG_REMOVE = 2,
	EPOW_SYSTEM_SHUTDOWN = 3,
	EPOW_NORMAL_SHUTDOWN = 1,
	EPOW_THIS_PARTITION = 1,
};

static void event_log_section(
    struct event_section *section, const char id[2], uint16_t length, uint8_t version)
{
	memcpy(section->id, id, 2);
	section->length = be16(length);
	section->version = version;
}

static uint32_t bcd(int value)
{
	return (uint32_t)(value / 10 % 10 << 4 | value % 10);
}

static void event_log_begin(
    struct event_log *log, uint8_t type, uint8_t initiator, uint32_t log_id, const struct tm *now)
{
	memset(log, 0, sizeof *log);
	log->version = LOG_VERSION;
	log->severity = LOG_SEVERITY_EVENT | LOG_NOT_RECOVERED | LOG_EXTENDED;
	log->initiator = initiator;
	log->type = type;
	/* Exact, or Linux does not look any further. */
	log->extended_length = be32(sizeof *log - offsetof(struct event_log, state));
	log->state = LOG_VALID | LOG_NEW | LOG_BIG_ENDIAN;
	log->format = LOG_POWERPC_FORMAT | LOG_PLATFORM_EVENT;
	memcpy(log->company, "IBM", 4);
	event_log_section(&log->private_header, "PH", 48, 0);
	log->date = be32(bcd((now->tm_year + 1900) / 100) << 24 | bcd(now->tm_year % 100) << 16 |
	                 bcd(now->tm_mon + 1) << 8 | bcd(now->tm_mday));
	log->time = be32(bcd(now->tm_hour) << 24 | bcd(now->tm_min) << 16 | bcd(now->tm_sec) << 8);
	log->creator = 'H'; /* the hypervisor */
	log->section_count = 3;
	log->log_id = be32(log_id);
	event_log_section(&log->user_header, "UH", 24, 0);
}

void event_log_shutdown(struct event_log *log, uint32_t log_id, const struct tm *now)
{
	event_log_begin(log, LOG_TYPE_EPOW, 0, log_id, now);
	log->subsystem = SUBSYSTEM_ENVIRONMENT;
	log->event_subtype = EVENT_NORMAL_SHUTDOWN;
	event_log_section(&log->section, "EP", 20, 2);
	log->body.epow.sensor_value = EPOW_SYSTEM_SHUTDOWN;
	log->body.epow.modifier = EPOW_NORMAL_SHUTDOWN;
	log->body.epow.extended_modifier = EPOW_THIS_PARTITION;
}

void event_log_hotplug(struct event_log *log, uint32_t log_id, const struct tm *now,
    const struct drc_type *type, uint32_t drc_index, bool removal)
{
	event_log_begin(log, LOG_TYPE_HOTPLUG, LOG_INITIATOR_HOTPLUG, log_id, now);
	log->subsystem = SUBSYSTEM_HOTPLUG;
	event_log_section(&log->section, "HP", 20, 1);
	log->body.hotplug.type = type->hotplug_type;
	log->body.hotplug.action = removal ? HOTPLUG_REMOVE : HOTPLUG_ADD;
	log->body.hotplug.id_kind = type->id_kind;
	log->body.hotplug.drc_index = be32(drc_index);
}
