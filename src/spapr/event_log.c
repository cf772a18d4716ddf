/* SPDX-License-Identifier: Apache-2.0 */
/* event_log.c - see event_log.h. */
#include "spapr/event_log.h"

static struct event_section event_section(const char id[2], uint16_t length, uint8_t version)
{
	return (struct event_section){
	    .id = {(uint8_t)id[0], (uint8_t)id[1]}, .length = be16(length), .version = version};
}

static uint32_t bcd(int value)
{
	return (uint32_t)(value / 10 % 10 << 4 | value % 10);
}

static void event_log_begin(struct event_log *log, uint32_t log_id, const struct tm *now)
{
	*log = (struct event_log){
	    .version = 6,
	    .severity = 1 << 5 | 2 << 3 | 1 << 2, /* event, not recovered, extended log follows */
	    /* Exact, or Linux does not look any further. */
	    .extended_length = be32(sizeof *log - offsetof(struct event_log, state)),
	    .state = 0x80 | 0x04 | 0x02, /* valid, new, big-endian */
	    .format = 0x80 | 14,         /* PowerPC format, platform event log */
	    .company = {'I', 'B', 'M'},
	    .private_header = event_section("PH", 48, 0),
	    .date = be32(bcd((now->tm_year + 1900) / 100) << 24 | bcd(now->tm_year % 100) << 16 |
	                 bcd(now->tm_mon + 1) << 8 | bcd(now->tm_mday)),
	    .time = be32(bcd(now->tm_hour) << 24 | bcd(now->tm_min) << 16 | bcd(now->tm_sec) << 8),
	    .creator = 'H', /* the hypervisor */
	    .section_count = 3,
	    .log_id = be32(log_id),
	    .user_header = event_section("UH", 24, 0),
	};
}

void event_log_shutdown(struct event_log *log, uint32_t log_id, const struct tm *now)
{
	event_log_begin(log, log_id, now);
	log->type = 0x40;          /* EPOW */
	log->subsystem = 0xa0;     /* external environment */
	log->event_subtype = 0xd0; /* normal shutdown */
	log->section = event_section("EP", 20, 2);
	log->body.epow.sensor_value = 3;      /* system shutdown */
	log->body.epow.modifier = 1;          /* normal shutdown */
	log->body.epow.extended_modifier = 1; /* of this partition only */
}

void event_log_hotplug(struct event_log *log, uint32_t log_id, const struct tm *now,
    const struct drc_type *type, uint32_t drc_index, bool removal)
{
	event_log_begin(log, log_id, now);
	log->initiator = 6 << 4; /* hot-plug */
	log->type = 0xe5;        /* hot-plug */
	log->subsystem = 0x80;
	log->section = event_section("HP", 20, 1);
	log->body.hotplug.type = type->hotplug_type;
	log->body.hotplug.action = removal ? 2 : 1;
	log->body.hotplug.id_kind = type->id_kind;
	log->body.hotplug.drc_index = be32(drc_index);
}
