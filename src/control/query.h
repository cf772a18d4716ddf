/* SPDX-License-Identifier: Apache-2.0 */
/*
 * query.h - the state of the guest as JSON: what the commands query-* return, in the shapes of
 * docs/protocol.md; where QMP has a shape for the same thing, it is QMP's. Nothing here changes
 * anything. Members that do not apply are left out rather than null.
 */
#ifndef PAPRIKA_QUERY_H
#define PAPRIKA_QUERY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/guest.h"

/*
 * A list that a reply returns. It may be long, so its items are made one by one while it is
 * written: item() makes the one with this index below count. JSON's null means that there is none,
 * and takes no place in the list; NULL, that memory is out.
 */
struct listing {
	json_t *(*item)(struct listing *listing, size_t index);
	size_t count;
	struct spapr *machine;
	struct operation *operations;
	uint64_t start, most; /* only from this core-id or operation id on, and so many */
	uint64_t now_ms;
	bool with_state;
};

void listing_finish(struct listing *listing);

/* Objects; NULL if memory is out. */
json_t *query_status(const struct guest *guest);
json_t *query_name(const struct guest *guest);
json_t *query_metrics(struct spapr *machine);

/* Lists: fill in item and what it needs. machine, start and most have been set. False if memory is
 * out. */
bool query_cpus_fast(struct listing *listing);
bool query_registers(struct listing *listing); /* the guest must not run */
bool query_hotpluggable_cpus(struct listing *listing);
bool query_connectors(struct listing *listing);
bool query_operations(struct listing *listing);

#endif
