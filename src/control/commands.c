/* SPDX-License-Identifier: Apache-2.0 */
/*
 * commands.c - the commands of the control socket: a row each, and the function that carries it
 * out. To add a command, add a row and a function.
 */
#include <stdio.h>
#include <string.h>

#include "control/json_out.h"
#include "control/query.h"
#include "spapr/spapr.h"

/* --- The connection, and the protocol itself ------------------------------------------------ */

static json_t *run_qmp_capabilities(struct call *call)
{
	json_t *enable = json_object_get(call->arguments, "enable");

	if (json_array_size(enable) > 0) {
		const char *name = json_string_value(json_array_get(enable, 0));

		call_fail(
		    call, NULL, "Capability '%s' is not available", name != NULL ? name : "?");
		return NULL;
	}
	call->session->negotiated = true;
	return json_object();
}

static json_t *run_events_subscribe(struct call *call)
{
	call->session->subscribed = true;
	return json_object();
}

/* --- The machine as a whole ----------------------------------------------------------------- */

static json_t *run_stop(struct call *call)
{
	call->guest->ops->stop(call->guest->vmm);
	return json_object();
}

static json_t *run_cont(struct call *call)
{
	return call->guest->ops->cont(call->guest->vmm, &call->err) ? json_object() : NULL;
}

static json_t *run_system_reset(struct call *call)
{
	return call->guest->ops->reset(call->guest->vmm, &call->err) ? json_object() : NULL;
}

static json_t *run_system_powerdown(struct call *call)
{
	call->guest->ops->powerdown(call->guest->vmm);
	return json_object();
}

static json_t *run_quit(struct call *call)
{
	call->guest->ops->quit(call->guest->vmm);
	return json_object();
}

/* --- Cores ---------------------------------------------------------------------------------- */

#define CORE_DRIVER_SUFFIX "spapr-cpu-core"

/* "host-spapr-cpu-core"; names of other machines begin with a CPU model and are accepted, too. */
static bool is_core_driver(const char *driver)
{
	size_t length = strlen(driver), suffix = strlen(CORE_DRIVER_SUFFIX);

	return length >= suffix && strcmp(driver + length - suffix, CORE_DRIVER_SUFFIX) == 0;
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_device_id(const char *id)
{
	size_t length = strlen(id);

	if (!is_letter(id[0]) || length >= OP_DEVICE_MAX)
		return false;
	for (size_t i = 1; i < length; i++)
		if (!is_letter(id[i]) && !(id[i] >= '0' && id[i] <= '9') &&
		    strchr("-._", id[i]) == NULL)
			return false;
	return true;
}

/* The core-id, the number of threads and the device id of a device_add. */
static bool check_device_add(struct call *call, uint32_t *ret_core_id, char device[OP_DEVICE_MAX])
{
	const char *driver = call_string(call, "driver"), *id = call_string(call, "id");
	uint32_t threads = spapr_get_config(call->guest->machine)->threads;
	json_int_t core_id, nr_threads;

	if (driver == NULL)
		return call_fail(call, NULL, "Parameter 'driver' expects a device model name");
	if (!is_core_driver(driver))
		return call_fail(call, NULL, "'%s' is not a valid device model name", driver);
	if (id != NULL && !is_device_id(id)) {
		return err_set(&call->err, ERR_USAGE,
		    "an identifier is a letter followed by letters, digits, '-', '.' and '_', at "
		    "most 63 in all",
		    "Parameter 'id' expects an identifier");
	}
	call_integer(call, "core-id", &core_id);
	if (core_id < 0 || core_id > INT32_MAX)
		return call_fail(call, NULL, "core id %lld out of range", (long long)core_id);
	if (call_integer(call, "nr-threads", &nr_threads) && nr_threads != (json_int_t)threads)
		return call_fail(call, NULL, "invalid nr-threads %lld, must be %u",
		    (long long)nr_threads, (unsigned)threads);
	*ret_core_id = (uint32_t)core_id;
	if (id != NULL)
		snprintf(device, OP_DEVICE_MAX, "%s", id);
	else
		snprintf(device, OP_DEVICE_MAX, "core%u", (unsigned)*ret_core_id);
	return true;
}

/* The reply to a request that has begun an operation. QMP's is empty. */
static json_t *operation_reply(const struct call *call, uint64_t operation)
{
	return call->session->subscribed ? json_pack("{s:I}", "operation", (json_int_t)operation)
	                                 : json_object();
}

static json_t *run_device_add(struct call *call)
{
	char device[OP_DEVICE_MAX];
	uint32_t core_id = 0;
	uint64_t operation = 0;

	if (!check_device_add(call, &core_id, device) ||
	    !spapr_core_add(call->guest->machine, core_id, device, &operation, &call->err))
		return NULL;
	return operation_reply(call, operation);
}

static json_t *run_device_del(struct call *call)
{
	static const char path[] = JSON_DEVICE_PATH;
	const char *id = call_string(call, "id");
	uint64_t operation = 0;

	if (strncmp(id, path, sizeof path - 1) == 0)
		id += sizeof path - 1;
	if (!is_device_id(id)) {
		call_fail(call, "DeviceNotFound", "Device '%s' not found", id);
		return NULL;
	}
	if (spapr_core_remove(call->guest->machine, id, &operation, &call->err))
		return operation_reply(call, operation);
	if (call->err.class == ERR_NOT_FOUND)
		call->class = "DeviceNotFound";
	return NULL;
}

/* --- Operations ----------------------------------------------------------------------------- */

static json_t *run_operation_cancel(struct call *call)
{
	uint64_t id = call_selection(call, "id", 0);

	return spapr_operation_cancel(call->guest->machine, id, &call->err) ? json_object() : NULL;
}

/* --- The table ------------------------------------------------------------------------------ */

/* clang-format off */
#define START(what)                                                                                \
	{"start", ARGUMENT_INTEGER, false, "only those with a " what " of at least this"}
#define AT_MOST {"count", ARGUMENT_INTEGER, false, "at most this many"}

const struct command commands[] = {
{ .name = "qmp_capabilities", .run = run_qmp_capabilities, .before_negotiation = true,
  .arguments = {
	{"enable", ARGUMENT_ARRAY, false, "capabilities to use; none is offered"}},
  .returns = "{}",
  .doc = "Open the connection: the only command allowed before, and not allowed again." },
{ .name = "events-subscribe", .run = run_events_subscribe,
  .returns = "{}",
  .doc = "From now on this connection sees what is not of QMP: OPERATION, members, hints." },
{ .name = "query-version", .run = query_version,
  .returns = "{qemu: {major, minor, micro}, package, paprika: {version, protocol}}",
  .doc = "The dialect of the protocol, and what speaks it." },
{ .name = "query-commands", .run = query_commands,
  .returns = "[{name}]",
  .doc = "The names of all commands." },
{ .name = "query-schema", .run = query_schema,
  .returns = "{commands: [{name, doc, arguments: [{name, type, required, doc}], returns}], "
	"events: [{name, doc, data}]}",
  .doc = "All commands with their arguments, and all events." },
{ .name = "query-status", .run = query_status,
  .returns = "{running, singlestep, status}",
  .doc = "Whether the guest runs, and if not, why." },
{ .name = "query-name", .run = query_name,
  .returns = "{name}",
  .doc = "The name the guest was started with, if it was given one." },
{ .name = "query-uuid", .run = query_uuid,
  .returns = "{UUID}",
  .doc = "The UUID the guest was started with; all zeros if it was given none." },
{ .name = "query-kvm", .run = query_kvm,
  .returns = "{enabled, present}",
  .doc = "Always true: guests run under KVM only." },
{ .name = "query-cpus-fast", .run = query_cpus_fast,
  .returns = "[{cpu-index, qom-path, thread-id, props: {core-id}, target, state}]",
  .doc = "The vCPUs of all cores the machine has." },
{ .name = "query-registers", .run = query_registers,
  .returns = "[{cpu-index, state, pc, msr, lr, ctr, srr0, srr1}]",
  .doc = "Where each vCPU is, while the guest is stopped; registers only of those that run." },
{ .name = "query-hotpluggable-cpus", .run = query_hotpluggable_cpus,
  .returns = "[{props: {core-id}, vcpus-count, qom-path, type}]",
  .doc = "All places for a core, the highest first; qom-path only where there is one." },
{ .name = "device_add", .run = run_device_add, .as_options = true,
  .arguments = {
	{"driver", ARGUMENT_STRING, true, "host-spapr-cpu-core"},
	{"core-id", ARGUMENT_INTEGER, true, "the place; see query-hotpluggable-cpus"},
	{"id", ARGUMENT_STRING, false, "name of the device; core<core-id> if not given"},
	{"nr-threads", ARGUMENT_INTEGER, false, "must be what the machine has"}},
  .returns = "{operation}",
  .doc = "Add a core. The reply means that this has begun." },
{ .name = "device_del", .run = run_device_del,
  .arguments = {
	{"id", ARGUMENT_STRING, true, "name of the device, or its qom-path"}},
  .returns = "{operation}",
  .doc = "Ask the guest for a core back. The reply means that this has begun. Asked again "
	"while that is pending, the guest is notified again." },
{ .name = "query-connectors", .run = query_connectors,
  .arguments = {START("core-id"), AT_MOST},
  .returns = "[{core-id, drc-index, name, state, attached, device, adding, add-operation, "
	"removing, remove-operation, vcpus: [{id, state}], "
	"history: [{ms-ago, call, vcpu, status}]}]",
  .doc = "The connector of each core, and the guest's last calls on it, newest first." },
{ .name = "query-operations", .run = query_operations,
  .arguments = {{"id", ARGUMENT_INTEGER, false, "only this one"}, START("id"), AT_MOST},
  .returns = "[{id, kind, device, core-id, drc-index, outcome, phase, unresolved, "
	"notifications, stuck, elapsed-ms, steps: [{step, at-ms}], evidence}]",
  .doc = "The operations remembered, oldest first." },
{ .name = "operation-cancel", .run = run_operation_cancel,
  .arguments = {
	{"id", ARGUMENT_INTEGER, true, "the operation"}},
  .returns = "{}",
  .doc = "Give a pending operation up." },
{ .name = "query-metrics", .run = query_metrics,
  .returns = "{<name>: <number>, ...}",
  .doc = "Counters since the start." },
{ .name = "stop", .run = run_stop,
  .returns = "{}",
  .doc = "Keep all vCPUs out of the guest." },
{ .name = "cont", .run = run_cont,
  .returns = "{}",
  .doc = "Let them in again." },
{ .name = "system_reset", .run = run_system_reset,
  .returns = "{}",
  .doc = "Start the guest from the beginning; what is pending is superseded." },
{ .name = "system_powerdown", .run = run_system_powerdown,
  .returns = "{}",
  .doc = "Ask the guest to shut down." },
{ .name = "quit", .run = run_quit,
  .returns = "{}",
  .doc = "End the guest and the program." },
};
/* clang-format on */

const size_t command_count = sizeof commands / sizeof commands[0];
