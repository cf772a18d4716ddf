/* SPDX-License-Identifier: Apache-2.0 */
/*
 * event_log.h - an event as check-exception hands it to the guest: an RTAS error log of version 6
 * with a platform event log behind it (LoPAR, "Error Log Format"). Pure: no clock, no state.
 */
#ifndef PAPRIKA_SPAPR_EVENT_LOG_H
#define PAPRIKA_SPAPR_EVENT_LOG_H

#include <stdint.h>
#include <time.h>

#include "base/be.h"
#include "drc/drc.h"

/* The first bytes of each section of the platform event log. */
struct event_section {
	uint8_t id[2];
	struct be16 length; /* this header included */
	uint8_t version, subtype;
	uint8_t creator[2];
};

/* What is not named here is 0. */
struct event_log {
	/* RTAS error log: the fixed part, then the extended header. */
	uint8_t version;
	uint8_t severity; /* and disposition, and whether an extended log follows */
	uint8_t initiator;
	uint8_t type;
	struct be32 extended_length;
	uint8_t state; /* valid, new, big-endian */
	uint8_t reserved_9;
	uint8_t format;
	uint8_t reserved_11[9];
	uint8_t company[4];
	/* "PH", the private header. */
	struct event_section private_header;
	struct be32 date, time; /* in BCD: year and month and day; hour, minute, second, 1/100 */
	uint8_t reserved_40[8];
	uint8_t creator;
	uint8_t reserved_49[2];
	uint8_t section_count;
	uint8_t reserved_52[12]; /* of the platform itself, and of its creator's subsystem */
	struct be32 log_id;
	uint8_t reserved_68[4];
	/* "UH", the user header. */
	struct event_section user_header;
	uint8_t subsystem;
	uint8_t reserved_81;
	uint8_t event_severity;
	uint8_t event_subtype;
	uint8_t reserved_84[12];
	/* "EP" or "HP". */
	struct event_section section;
	union {
		struct {
			uint8_t sensor_value, modifier, extended_modifier, reserved;
			uint8_t reason[8];
		} epow;
		struct {
			uint8_t type, action, id_kind, reserved;
			struct be32 drc_index;
			uint8_t reserved_112[4];
		} hotplug;
	} body;
};

#define EVENT_LOG_BYTES 116
_Static_assert(sizeof(struct event_log) == EVENT_LOG_BYTES, "no padding");

/* An event that asks for a shutdown. now: UTC. */
void event_log_shutdown(struct event_log *log, uint32_t log_id, const struct tm *now);

/* An event that tells the guest to look at a connector, for an add or for a removal. */
void event_log_hotplug(struct event_log *log, uint32_t log_id, const struct tm *now,
    const struct drc_type *type, uint32_t drc_index, bool removal);

#endif
