/* SPDX-License-Identifier: Apache-2.0 */
/* vmm.c - see vmm.h. */
#include "vmm/vmm.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "control/json_out.h"
#include "control/query.h"
#include "virtio/net.h"

/* --- Reports ------------------------------------------------------------------------------- */

/* A removal that the guest has refused, with the evidence. */
static void report_log_rejection(const struct operation *operation)
{
	const struct op_evidence *evidence = &operation->evidence;
	char call[96] = "";

	if (evidence->source == OP_BY_GUEST && evidence->call != NULL)
		snprintf(call, sizeof call, "%s indicator %u value %u from vCPU %u, ",
		    evidence->call, evidence->indicator, evidence->value, evidence->vcpu);
	log_line(LOG_WARN,
	    "Device hotunplug rejected by the guest for device %s "
	    "(%sphase %s, after %llu ms, %u of %u %s, operation %llu%s%s)",
	    operation->device, call, op_step_name(evidence->phase),
	    (unsigned long long)evidence->elapsed_ms, evidence->parts_used, evidence->parts,
	    op_parts(operation)->text, (unsigned long long)operation->id,
	    evidence->inferred != NULL ? "; inferred: " : "",
	    evidence->inferred != NULL ? evidence->inferred : "");
}

static void report_log(struct vmm *vmm, const struct operation *operation, enum op_step step)
{
	const char *detail = "";
	char line[512], stuck[OP_STUCK_MAX];

	if (step == OP_ENDED && operation->kind == OP_REMOVE && operation->outcome == OP_REJECTED) {
		report_log_rejection(operation);
		return;
	}
	if (step == OP_ENDED)
		detail = op_outcome_name(operation->outcome);
	else if (step == OP_UNRESOLVED)
		detail = op_stuck_text(operation, stuck);
	snprintf(line, sizeof line, "operation %llu: %s of %s (%s %u): %s%s%s",
	    (unsigned long long)operation->id, op_kind_name(operation->kind), operation->device,
	    operation->noun, operation->unit, op_step_name(step), detail[0] != '\0' ? ", " : "",
	    detail);
	/* The guest can repeat these without limit. */
	if (op_is_guest_made(operation->kind))
		log_guest(&vmm->limit_report, LOG_INFO, "%s", line);
	else
		log_line(step == OP_UNRESOLVED ? LOG_WARN : LOG_INFO, "%s", line);
}

/*
 * A guest can make steps and operations as fast as they are reported. So one turn of the loop
 * reports at most REPORTS_PER_TURN steps, and one second at most GUEST_MADE_PER_S steps of
 * operations that the guest makes unasked. What is left waits in the machine, which merges what
 * repeats.
 */
#define REPORTS_PER_TURN 32
#define GUEST_MADE_PER_S 32

/* Milliseconds until a step of a guest-made operation may be reported; 0: now. */
static int64_t report_wait_ms(struct vmm *vmm)
{
	uint64_t now_ms = clock_ms();

	if (now_ms - vmm->guest_made_since_ms >= 1000) {
		vmm->guest_made_since_ms = now_ms;
		vmm->guest_made_reports = 0;
	}
	if (vmm->guest_made_reports < GUEST_MADE_PER_S)
		return 0;
	return (int64_t)(vmm->guest_made_since_ms + 1000 - now_ms);
}

/* Report up to max steps. Returns the milliseconds until there may be more to report, or -1. */
static int64_t report_steps(struct vmm *vmm, unsigned max)
{
	struct operation operation;
	enum op_step step;
	int64_t wait_ms = 0;

	for (unsigned i = 0; i < max; i++) {
		wait_ms = report_wait_ms(vmm);
		if (!spapr_next_report(
		        vmm->machine, wait_ms == 0 || vmm->ending, &operation, &step))
			return wait_ms > 0 ? wait_ms : -1;
		vmm->guest_made_reports += op_is_guest_made(operation.kind);
		report_log(vmm, &operation, step);
		bus_report(&vmm->bus, &operation, step);
	}
	return 0;
}

static const char *disk_operation_name(enum disk_operation operation)
{
	static const char *const names[] = {[DISK_READ] = "read",
	    [DISK_WRITE] = "write",
	    [DISK_FLUSH] = "flush",
	    [DISK_DISCARD] = "discard",
	    [DISK_ZERO] = "write zeroes"};

	return names[operation];
}

/* The guest is told by the request; here the operator is. QMP knows reads and writes. */
static void report_disk_error(struct vmm *vmm, const struct device_report *report, const char *path)
{
	const struct virtio_blk_error *last = &report->last;

	log_line(LOG_WARN,
	    "disk %s: %s of %llu bytes at sector %llu fails: %s (%llu since the last report)",
	    report->device, disk_operation_name(last->operation), (unsigned long long)last->bytes,
	    (unsigned long long)last->sector, strerror(last->error),
	    (unsigned long long)report->errors);
	bus_publish(&vmm->bus, "BLOCK_IO_ERROR",
	    json_pack("{s:s, s:s, s:s, s:s, s:b, s:s}", "qom-path", path, "device", report->device,
	        "operation", last->operation == DISK_READ ? "read" : "write", "action", "report",
	        "nospace", (int)(last->error == ENOSPC), "reason", strerror(last->error)));
}

/* The guest sees the link. QMP knows the end of a stream, by its netdev. */
static void report_link_lost(struct vmm *vmm, const struct device_report *report)
{
	log_line(
	    LOG_WARN, "net %s: the link is down for good: %s", report->device, report->link_lost);
	bus_publish(&vmm->bus, "NET_LINK_LOST",
	    json_pack("{s:s, s:s}", "device", report->device, "reason", report->link_lost));
	if (report->netdev[0] != '\0')
		bus_publish(&vmm->bus, "NETDEV_STREAM_DISCONNECTED",
		    json_pack("{s:s}", "netdev-id", report->netdev));
}

/* Returns the milliseconds until there may be more, or -1. */
static int64_t report_devices(struct vmm *vmm)
{
	struct device_report report;
	int64_t wait_ms;

	while (device_reports_take(&vmm->plug.reports, clock_ms(), &report, &wait_ms)) {
		char path[sizeof JSON_DEVICE_PATH + OP_DEVICE_MAX];

		snprintf(path, sizeof path, JSON_DEVICE_PATH "%s", report.device);
		/* The line in the log is vhost.c's. */
		if (report.lost[0] != '\0')
			bus_publish(&vmm->bus, "DEVICE_BACKEND_LOST",
			    json_pack("{s:s, s:s, s:s}", "path", path, "device", report.device,
			        "reason", report.lost));
		if (report.link_lost != NULL)
			report_link_lost(vmm, &report);
		if (report.errors > 0)
			report_disk_error(vmm, &report, path);
	}
	return wait_ms;
}

/* Report what has become of operations, and arm the timer for the next deadline. */
static void report_up_to(struct vmm *vmm, unsigned max)
{
	int64_t due_ms = spapr_check_deadline(vmm->machine);
	int64_t more_ms = report_steps(vmm, max);
	int64_t devices_ms = report_devices(vmm);

	if (more_ms >= 0 && (due_ms < 0 || more_ms < due_ms))
		due_ms = more_ms;
	if (devices_ms >= 0 && (due_ms < 0 || devices_ms < due_ms))
		due_ms = devices_ms;
	ev_timer_stop(vmm->loop, &vmm->report_timer);
	if (due_ms < 0 || vmm->ending)
		return;
	ev_now_update(vmm->loop);
	ev_timer_set(&vmm->report_timer, (double)due_ms / 1000, 0.);
	ev_timer_start(vmm->loop, &vmm->report_timer);
}

void vmm_report(struct vmm *vmm)
{
	report_up_to(vmm, REPORTS_PER_TURN);
}

/* Report everything, before an event that comes after it. */
static void report_all(struct vmm *vmm)
{
	report_up_to(vmm, SPAPR_OPERATIONS * OP_STEP_COUNT);
}

static void publish_with_reason(struct vmm *vmm, const char *event, bool guest, const char *reason)
{
	bus_publish(
	    &vmm->bus, event, json_pack("{s:b, s:s}", "guest", (int)guest, "reason", reason));
}

/* --- The end ------------------------------------------------------------------------------- */

void vmm_end(struct vmm *vmm, enum exit_code code, bool guest, const char *reason)
{
	if (vmm->ending)
		return;
	vmm->ending = true;
	vmm->exit_code = code;
	vmm->ended_by_guest = guest;
	vmm->end_reason = reason;
	ev_break(vmm->loop, EVBREAK_ALL);
}

void vmm_say_farewell(struct vmm *vmm)
{
	notify_stopping(&vmm->notify);
	spapr_stop(vmm->machine);
	console_poll(vmm->console);
	spapr_settle(vmm->machine);
	report_all(vmm);
	publish_with_reason(vmm, "SHUTDOWN", vmm->ended_by_guest, vmm->end_reason);
}

/* --- The run state ------------------------------------------------------------------------- */

static void vmm_set_state(struct vmm *vmm, enum run_state state)
{
	vmm->state = state;
	notify_state(&vmm->notify, run_state_name(state));
}

/* --- News from the guest ------------------------------------------------------------------- */

static void vmm_on_failure(struct vmm *vmm)
{
	struct err err = {0};

	spapr_failure(vmm->machine, &err);
	complain_error(&err);
	vmm_set_state(vmm, RUN_STATE_FAILED);
	vmm_end(vmm, EXIT_VMM_ERROR, false, "host-error");
}

static void vmm_on_panic(struct vmm *vmm)
{
	char text[256];

	spapr_panic_text(vmm->machine, text, sizeof text);
	log_line(LOG_WARN, "the guest panicked: %s", text);
	vmm_set_state(vmm, RUN_STATE_PANICKED);
	bus_publish(&vmm->bus, "GUEST_PANICKED", json_pack("{s:s}", "action", "poweroff"));
	vmm_end(vmm, EXIT_GUEST_PANIC, true, "guest-panic");
}

/* query-status has the devices, too. */
static void vmm_log_waiting(const struct vmm *vmm)
{
	struct spapr_pci_info pci;

	for (uint64_t from = 0; spapr_pci_info(vmm->machine, (uint32_t)from, &pci);
	     from = pci.slot + 1)
		if (!pci.at_rest)
			log_line(LOG_WARN,
			    "a reset waits for the requests of %s that the host has begun: %llu",
			    pci.connector.device, (unsigned long long)pci.in_flight);
}

/* Start again from the beginning. If that fails, the machine stays stopped until a reset succeeds.
 * While a device still has requests in flight, that has to wait: they would write into the memory
 * of the guest that is about to begin. */
static bool vmm_reboot(struct vmm *vmm, bool guest, const char *reason, struct err *err)
{
	bool good;

	if (!spapr_quiesce(vmm->machine)) {
		if (vmm->reset_waits == NULL)
			vmm_log_waiting(vmm);
		vmm->reset_waits = reason;
		vmm->reset_by_guest = guest;
		return true;
	}
	vmm->reset_waits = NULL;
	/* The last output of the guest would be lost with its memory. */
	console_poll(vmm->console);
	good = spapr_boot(vmm->machine, err);
	report_all(vmm);
	if (!good) {
		spapr_stop(vmm->machine);
		vmm_set_state(vmm, RUN_STATE_FAILED);
		return false;
	}
	if (vmm->state != RUN_STATE_RUNNING)
		vmm_set_state(vmm, RUN_STATE_PAUSED);
	publish_with_reason(vmm, "RESET", guest, reason);
	return true;
}

static void vmm_on_reset(struct vmm *vmm)
{
	struct err err = {0};

	if (vmm->no_reboot) {
		vmm_set_state(vmm, RUN_STATE_SHUTDOWN);
		vmm_end(vmm, EXIT_GUEST_RESET, true, "guest-reset");
		return;
	}
	log_line(LOG_INFO, "the guest asks to be started again");
	if (!vmm_reboot(vmm, true, "guest-reset", &err)) {
		complain_error(&err);
		vmm_end(vmm, exit_code_of(&err), false, "host-error");
	}
}

/* A device has come to rest, and a reset may have waited for it. */
static void vmm_on_rest(struct vmm *vmm)
{
	struct err err = {0};

	if (vmm->reset_waits != NULL &&
	    !vmm_reboot(vmm, vmm->reset_by_guest, vmm->reset_waits, &err)) {
		complain_error(&err);
		vmm_end(vmm, exit_code_of(&err), false, "host-error");
	}
}

void vmm_handle_news(struct vmm *vmm, unsigned news)
{
	if (vmm->ending)
		return;
	if (news & SPAPR_NEWS_FAILED) {
		vmm_on_failure(vmm);
	} else if (news & SPAPR_NEWS_PANIC) {
		vmm_on_panic(vmm);
	} else if (news & SPAPR_NEWS_POWER_OFF) {
		vmm_set_state(vmm, RUN_STATE_SHUTDOWN);
		vmm_end(vmm, EXIT_POWERED_OFF, true, "guest-shutdown");
	} else if (news & SPAPR_NEWS_RESET) {
		vmm_on_reset(vmm);
	} else if (news & SPAPR_NEWS_DRIVER) {
		vmm_on_rest(vmm);
	}
}

/* --- What an operator may do --------------------------------------------------------------- */

static enum run_state vmm_run_state(const struct vmm *vmm)
{
	return vmm->state;
}

static bool vmm_reset_waits(const struct vmm *vmm)
{
	return vmm->reset_waits != NULL;
}

static void vmm_stop(struct vmm *vmm)
{
	if (vmm->state != RUN_STATE_RUNNING)
		return;
	spapr_stop(vmm->machine);
	vmm_set_state(vmm, RUN_STATE_PAUSED);
	bus_publish(&vmm->bus, "STOP", json_object());
}

static bool vmm_cont(struct vmm *vmm, struct err *err)
{
	if (vmm->state == RUN_STATE_RUNNING)
		return true;
	if (vmm->state != RUN_STATE_PAUSED)
		return err_set(err, ERR_STATE, "use system_reset",
		    "Resetting the Virtual Machine is required");
	spapr_cont(vmm->machine);
	vmm_report(vmm); /* deadlines run again */
	vmm_set_state(vmm, RUN_STATE_RUNNING);
	bus_publish(&vmm->bus, "RESUME", json_object());
	return true;
}

static bool vmm_reset(struct vmm *vmm, struct err *err)
{
	return vmm_reboot(vmm, false, "host-qmp-system-reset", err);
}

static void vmm_powerdown(struct vmm *vmm)
{
	spapr_powerdown(vmm->machine);
	vmm_report(vmm);
	bus_publish(&vmm->bus, "POWERDOWN", json_object());
}

static bool vmm_add(
    struct vmm *vmm, const struct guest_device *device, uint64_t *ret_operation, struct err *err)
{
	return plug_add(&vmm->plug, device, ret_operation, err);
}

static bool vmm_reconnect(
    struct vmm *vmm, const char *device, int fd, bool *ret_resumes, struct err *err)
{
	return plug_reconnect(&vmm->plug, device, fd, ret_resumes, err);
}

/* With the machine's lock held. */
static bool vmm_set_device_link(struct virtio_device *device, void *up)
{
	if (virtio_kind(device)->id != VIRTIO_NET_ID)
		return false;
	virtio_net_set_link(device, *(const bool *)up);
	return true;
}

static bool vmm_set_link(struct vmm *vmm, const char *device, bool up, struct err *err)
{
	return spapr_with_pci_device(vmm->machine, device, vmm_set_device_link, &up) ||
	       err_set(err, ERR_NOT_FOUND, NULL, "Device '%s' not found", device);
}

static void vmm_quit(struct vmm *vmm)
{
	vmm_end(vmm, EXIT_POWERED_OFF, false, "host-qmp-quit");
}

static const struct guest_ops vmm_ops = {
    .run_state = vmm_run_state,
    .reset_waits = vmm_reset_waits,
    .stop = vmm_stop,
    .cont = vmm_cont,
    .reset = vmm_reset,
    .powerdown = vmm_powerdown,
    .add = vmm_add,
    .reconnect = vmm_reconnect,
    .set_link = vmm_set_link,
    .quit = vmm_quit,
};

static void on_report_timer(struct ev_loop *loop, ev_timer *watcher, int events)
{
	vmm_report(watcher->data);
}

void vmm_init(struct vmm *vmm, struct ev_loop *loop, const char *name, bool no_reboot)
{
	vmm->loop = loop;
	vmm->guest = (struct guest){.ops = &vmm_ops,
	    .vmm = vmm,
	    .backends = &vmm->backends,
	    .blocks = &vmm->blocks,
	    .netdevs = &vmm->netdevs,
	    .chardevs = &vmm->chardevs,
	    .name = name};
	vmm->no_reboot = no_reboot;
	vmm->state = RUN_STATE_RUNNING;
	ev_timer_init(&vmm->report_timer, on_report_timer, 0., 0.);
	vmm->report_timer.data = vmm;
}

void vmm_finish(struct vmm *vmm)
{
	ev_timer_stop(vmm->loop, &vmm->report_timer);
	bus_finish(&vmm->bus);
}
