/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm.h - the running guest as a whole: its run state, what an operator may do to it, what is
 * reported of it, and how it ends. run.c makes it and runs its loop. Loop thread only.
 */
#ifndef PAPRIKA_VMM_H
#define PAPRIKA_VMM_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/complain.h"
#include "base/err.h"
#include "base/log.h"
#include "control/bus.h"
#include "control/guest.h"
#include "vmm/console.h"
#include "vmm/notify.h"
#include "vmm/plug.h"

struct vmm {
	struct ev_loop *loop;
	struct spapr *machine;
	struct console *console;
	struct bus bus;
	struct backends backends;
	struct blocks blocks;
	struct chardevs chardevs;
	struct netdevs netdevs;
	struct plug plug;
	struct notify notify;
	struct guest guest; /* all this, for the control socket */
	bool no_reboot;
	enum run_state state;
	/* A reset that waits for the devices to come to rest: its reason; NULL: none. */
	const char *reset_waits;
	bool reset_by_guest;
	ev_timer report_timer; /* the next deadline, or reports that had to wait */
	struct log_limit limit_report;
	uint64_t guest_made_since_ms; /* the second that guest_made_reports counts in */
	unsigned guest_made_reports;
	/* How it ends; set once, by vmm_end(). */
	bool ending;
	enum exit_code exit_code;
	bool ended_by_guest;
	const char *end_reason; /* of the event SHUTDOWN */
};

/* vmm is zeroed. name is kept. machine, console, plug and notify are the caller's to fill in. */
void vmm_init(struct vmm *vmm, struct ev_loop *loop, const char *name, bool no_reboot);
void vmm_finish(struct vmm *vmm);

/* Report steps of operations to the log and the bus, as many as one turn may, and arm the timer for
 * the rest. */
void vmm_report(struct vmm *vmm);

/* Handle SPAPR_NEWS_* that concern the guest as a whole. */
void vmm_handle_news(struct vmm *vmm, unsigned news);

/* Leave the loop after the present callbacks, so that a command's reply still gets queued. The
 * first reason counts. */
void vmm_end(struct vmm *vmm, enum exit_code code, bool guest, const char *reason);

/* After the loop: settle and report what is pending; SHUTDOWN. */
void vmm_say_farewell(struct vmm *vmm);

#endif
