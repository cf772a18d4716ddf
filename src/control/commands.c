/* SPDX-License-Identifier: Apache-2.0 */
/*
 * commands.c - the commands of the control socket: a row each, and the function that carries it
 * out. To add a command, add a row and a function.
 */
#include <stdio.h>
#include <string.h>

#include "control/block.h"
#include "control/chardev.h"
#include "control/devices.h"
#include "control/netdev.h"
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
  .returns = "{running, singlestep, status, reset-waits: [device]}",
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
	{"driver", ARGUMENT_STRING, true, "host-spapr-cpu-core, pc-dimm, virtio-blk-pci, virtio-net-pci, virtio-rng-pci, vhost-user-blk-pci, "
	"vhost-user-fs-pci or vhost-vsock-pci"},
	{"core-id", ARGUMENT_INTEGER, false, "of a core: the place; see query-hotpluggable-cpus"},
	{"id", ARGUMENT_STRING, false, "name of the device; if not given core<core-id>, or memdev"},
	{"nr-threads", ARGUMENT_INTEGER, false, "of a core: must be what the machine has"},
	{"memdev", ARGUMENT_STRING, false, "of pc-dimm: the backend, made by object-add"},
	{"addr", ARGUMENT_INTEGER, false, "of pc-dimm: where it begins; if not given where it fits"},
	{"drive", ARGUMENT_STRING, false, "of virtio-blk-pci: the block node, made by blockdev-add"},
	{"serial", ARGUMENT_STRING, false, "... its serial number, at most 20 characters"},
	{"num-queues", ARGUMENT_INTEGER, false, "... how many queues it has (1); of vhost-user-blk-pci, too"},
	{"netdev", ARGUMENT_STRING, false, "of virtio-net-pci: the netdev, made by netdev_add"},
	{"mac", ARGUMENT_STRING, false, "... its address; if not given one that depends on its name"},
	{"mq", ARGUMENT_BOOLEAN, false, "... ignored: it has as many queues as its netdev"},
	{"host_mtu", ARGUMENT_INTEGER, false, "... the MTU that the guest is told"},
	{"chardev", ARGUMENT_STRING, false, "of vhost-user-*: the back end's socket, made by chardev-add"},
	{"tag", ARGUMENT_STRING, false, "of vhost-user-fs-pci: what the guest mounts, at most 36 characters"},
	{"guest-cid", ARGUMENT_INTEGER, false, "of vhost-vsock-pci: the guest's address"},
	{"vhostfd", ARGUMENT_STRING, false, "... the name of a descriptor of /dev/vhost-vsock, passed by getfd"}},
  .returns = "{operation}",
  .doc = "Add a core, memory or a PCI device. The reply means that this has begun." },
{ .name = "add-fd", .run = run_add_fd,
  .arguments = {
	{"fdset-id", ARGUMENT_INTEGER, false, "number of the set; if not given the first free one"},
	{"opaque", ARGUMENT_STRING, false, "ignored"}},
  .returns = "{fdset-id, fd}",
  .doc = "Take the descriptor that came with this request (SCM_RIGHTS)." },
{ .name = "remove-fd", .run = run_remove_fd,
  .arguments = {
	{"fdset-id", ARGUMENT_INTEGER, true, "number of the set"},
	{"fd", ARGUMENT_INTEGER, false, "the descriptor in it"}},
  .returns = "{}",
  .doc = "Forget a descriptor. A block node that was made of it keeps it." },
{ .name = "query-fdsets", .run = query_fdsets,
  .returns = "[{fdset-id, fds: [{fd}]}]",
  .doc = "The descriptors that were passed." },
{ .name = "chardev-add", .run = run_chardev_add,
  .arguments = {
	{"id", ARGUMENT_STRING, true, "its name"},
	{"backend", ARGUMENT_OBJECT, true, "{type: socket, data: {addr: {type: fd, data: {str: NAME}}}}"}},
  .returns = "{}",
  .doc = "Make a back end's socket, passed by getfd, known under a name, for one device to have." },
{ .name = "chardev-remove", .run = run_chardev_remove,
  .arguments = {{"id", ARGUMENT_STRING, true, "its name"}},
  .returns = "{}",
  .doc = "Forget a chardev that no device has." },
{ .name = "query-chardev", .run = query_chardev,
  .returns = "[{label, filename, frontend-open}]",
  .doc = "The chardevs; frontend-open: a device has it." },
{ .name = "blockdev-add", .run = run_blockdev_add,
  .arguments = {
	{"driver", ARGUMENT_STRING, true, "raw, file or host_device"},
	{"node-name", ARGUMENT_STRING, true, "its name"},
	{"filename", ARGUMENT_STRING, false, "/dev/fdset/ID"},
	{"file", ARGUMENT_OBJECT, false, "of raw: {driver, filename}"},
	{"read-only", ARGUMENT_BOOLEAN, false, "nothing is written to it"}},
  .returns = "{}",
  .doc = "Make a block node, for a virtio-blk-pci to have, of a descriptor." },
{ .name = "blockdev-del", .run = run_blockdev_del,
  .arguments = {{"node-name", ARGUMENT_STRING, true, "its name"}},
  .returns = "{}",
  .doc = "Close a block node that no device has." },
{ .name = "query-named-block-nodes", .run = query_named_block_nodes,
  .returns = "[{node-name, drv, ro}]",
  .doc = "The block nodes." },
{ .name = "getfd", .run = run_getfd,
  .arguments = {{"fdname", ARGUMENT_STRING, true, "its name"}},
  .returns = "{}",
  .doc = "Take the descriptor that came with this request (SCM_RIGHTS), under a name." },
{ .name = "closefd", .run = run_closefd,
  .arguments = {{"fdname", ARGUMENT_STRING, true, "its name"}},
  .returns = "{}",
  .doc = "Close a descriptor that no netdev has been made of." },
{ .name = "netdev_add", .run = run_netdev_add, .as_options = true,
  .arguments = {
	{"type", ARGUMENT_STRING, true, "stream or tap"},
	{"id", ARGUMENT_STRING, true, "its name"},
	{"addr", ARGUMENT_OBJECT, false, "of stream: {type: fd, str}, the name of a descriptor"},
	{"server", ARGUMENT_BOOLEAN, false, "... ignored"},
	{"fd", ARGUMENT_STRING, false, "of tap: the name of a descriptor"},
	{"fds", ARGUMENT_STRING, false, "... or names with colons between them, one for each pair of queues"},
	{"vhost", ARGUMENT_BOOLEAN, false, "... ignored"}},
  .returns = "{}",
  .doc = "Make what a virtio-net-pci is connected to, of descriptors passed with getfd." },
{ .name = "netdev_del", .run = run_netdev_del,
  .arguments = {{"id", ARGUMENT_STRING, true, "its name"}},
  .returns = "{}",
  .doc = "Close a netdev that no device has." },
{ .name = "set_link", .run = run_set_link,
  .arguments = {
	{"name", ARGUMENT_STRING, true, "of a network device, or its netdev"},
	{"up", ARGUMENT_BOOLEAN, true, "whether its link is up"}},
  .returns = "{}",
  .doc = "Take the link of a network device down or up." },
{ .name = "query-netdevs", .run = query_netdevs,
  .returns = "[{id, type, device}]",
  .doc = "The netdevs, and the devices that have them." },
{ .name = "device_del", .run = run_device_del,
  .arguments = {
	{"id", ARGUMENT_STRING, true, "name of the device, or its qom-path"},
	{"force", ARGUMENT_BOOLEAN, false, "answer the guest's requests to this PCI device with an I/O error; it "
	"goes when no driver of the guest's uses it any more"}},
  .returns = "{operation}",
  .doc = "Ask the guest for a device back. The reply means that this has begun. Asked again "
	"while that is pending, the guest is notified again." },
{ .name = "device-reconnect", .run = run_device_reconnect,
  .arguments = {
	{"id", ARGUMENT_STRING, true, "name of a device whose back end is lost"},
	{"fd", ARGUMENT_STRING, true, "a socket that is connected to another one, passed by getfd"}},
  .returns = "{resumes}",
  .doc = "Go on with another back end. resumes: the driver's requests are served, those in flight too; "
	"else it has to reset the device first." },
{ .name = "object-add", .run = run_object_add,
  .arguments = {
	{"qom-type", ARGUMENT_STRING, true, "memory-backend-ram"},
	{"id", ARGUMENT_STRING, true, "its name"},
	{"size", ARGUMENT_INTEGER, true, "in bytes"}},
  .returns = "{}",
  .doc = "Name a size, for a pc-dimm to have. Nothing is allocated." },
{ .name = "object-del", .run = run_object_del,
  .arguments = {{"id", ARGUMENT_STRING, true, "its name"}},
  .returns = "{}",
  .doc = "Forget a backend that no device has." },
{ .name = "set-memory", .run = run_set_memory,
  .arguments = {{"size", ARGUMENT_INTEGER, true, "of all memory, in bytes"}},
  .returns = "{operations: [id], incomplete}",
  .doc = "Add memory blocks, or ask for the highest back, so that this size is reached." },
{ .name = "set-cores", .run = run_set_cores,
  .arguments = {{"count", ARGUMENT_INTEGER, true, "of all cores"}},
  .returns = "{operations: [id], incomplete}",
  .doc = "Add cores, or ask for the highest back, so that there are so many." },
{ .name = "query-memory-devices", .run = query_memory_devices,
  .returns = "[{type, data: {id, addr, size, slot, node, memdev, hotplugged, hotpluggable}}]",
  .doc = "The memory that was added." },
{ .name = "query-memory-size-summary", .run = query_memory_size_summary,
  .returns = "{base-memory, plugged-memory, max-memory}",
  .doc = "How much memory the guest booted with, how much was added, and how much there can be." },
{ .name = "query-connectors", .run = query_connectors,
  .arguments = {
	{"resource", ARGUMENT_STRING, false, "core, memory or pci: only these"}, START("unit"), AT_MOST},
  .returns = "[{resource, unit, core-id, blocks, blocks-in-use, drc-index, name, state, attached, device, adding, add-operation, "
	"removing, remove-operation, vcpus: [{id, state}], driver, device-status, requests, requests-in-flight, "
	"history: [{ms-ago, call, vcpu, status}]}]",
  .doc = "The connector of each core and of added memory, and the guest's last calls on it, "
	"newest first." },
{ .name = "query-operations", .run = query_operations,
  .arguments = {{"id", ARGUMENT_INTEGER, false, "only this one"}, START("id"), AT_MOST},
  .returns = "[{id, kind, device, resource, unit, core-id, drc-index, outcome, phase, unresolved, "
	"notifications, forced, requests-refused, stuck, elapsed-ms, steps: [{step, at-ms}], evidence}]",
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
