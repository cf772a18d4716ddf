/* SPDX-License-Identifier: Apache-2.0 */
/*
 * query.h - the commands that only ask: the state of the guest in the shapes of docs/protocol.md;
 * where QMP has a shape for the same thing, it is QMP's. Members that do not apply are left out
 * rather than null. The functions are those of rows (command.h).
 */
#ifndef PAPRIKA_QUERY_H
#define PAPRIKA_QUERY_H

#include "control/command.h"

json_t *query_version(struct call *call);
json_t *query_status(struct call *call);
json_t *query_name(struct call *call);
json_t *query_uuid(struct call *call);
json_t *query_kvm(struct call *call);
json_t *query_metrics(struct call *call);
json_t *query_cpus_fast(struct call *call);
json_t *query_registers(struct call *call);
json_t *query_hotpluggable_cpus(struct call *call);
json_t *query_connectors(struct call *call);
json_t *query_memory_devices(struct call *call);
json_t *query_memory_size_summary(struct call *call);
json_t *query_operations(struct call *call);

/* As query-status names it. */
const char *run_state_name(enum run_state state);

/* These two are in command.c. */
json_t *query_commands(struct call *call);
json_t *query_schema(struct call *call);

#endif
