/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run.c - `paprika run`: one guest from its start to its end.
 *
 * Everything that happens, happens in the loop of this thread: vCPU threads only wake it, and
 * on_wake() asks the machine what kind of news there is. Whatever ends the program (the
 * guest's power-off or panic, quit, a signal, a broken vCPU) takes the same way: it notes why
 * with end_with() and leaves the loop. What is left to do is then done once, in order, by
 * say_farewell() and tear_down(): drain the console, settle and report what was pending, say
 * SHUTDOWN, let clients have what they will take, give the terminal and the socket back.
 */
#include "vmm/vmm.h"

#include <errno.h>
#include <ev.h>
#include <jansson.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "vmm/console.h"
#include "vmm/control.h"
#include "vmm/listen.h"
#include "vmm/loader.h"
#include "vmm/loop.h"
#include "vmm/options.h"
#include "vmm/sandbox.h"

/* Requests to end in good order, and faults after which only the terminal can be saved. */
static const int end_signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
static const int fault_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* What a handler of end_signals leaves for the loop. Static, because a handler is given nothing. */
static volatile sig_atomic_t end_signal;
static const ev_io *end_signal_wake;

/* How many descriptors clients may need: the control socket's, one that is turned away, and two
 * at the console. */
#define CLIENT_FILES (CONTROL_CLIENTS_MAX + 1 + 2)

struct vmm {
	const struct options *options;
	struct sandbox *sandbox; /* NULL with --no-sandbox */
	struct ev_loop *loop;
	struct loader *loader;
	struct spapr *machine;
	struct console *console;
	struct control *control; /* NULL without --control */
	ev_io wake;
	ev_timer deadline;      /* of operations; also when reports go on that had to wait */
	ev_timer console_pause; /* running: the console was served a moment ago */
	bool console_waits;     /* ... and has had news since */
	ev_prepare turn;        /* these two: standard error was not read, see on_turn() */
	ev_io log_writable;
	enum vmm_status status;
	struct log_limit limit_report;
	uint64_t guest_made_since_ms; /* the second that guest_made_reports counts in */
	unsigned guest_made_reports;
	/* How it ends; set once. */
	bool ending;
	enum exit_code exit_code;
	bool ended_by_guest;
	const char *end_reason; /* of the event SHUTDOWN */
};

/* --- Errors -------------------------------------------------------------------------------- */

enum exit_code exit_code_of(const struct err *err)
{
	switch (err->class) {
	case ERR_NONE: return EXIT_POWERED_OFF;
	case ERR_USAGE: return EXIT_USAGE;
	case ERR_HOST: return EXIT_HOST_LACKS;
	case ERR_SYSTEM:
	case ERR_NOT_FOUND:
	case ERR_STATE: break;
	}
	return EXIT_VMM_ERROR;
}

void complain_error(const struct err *err)
{
	char line[sizeof err->message + sizeof err->hint + 32];
	int length = snprintf(line, sizeof line, "paprika: %s%s%s", err->message,
	    err->hint[0] != '\0' ? "; " : "", err->hint);

	/* Names come from the operator and may contain anything. */
	for (int i = 0; i < length; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
	line[length++] = '\n';
	/* It may be the last line, and the one that matters. */
	log_settle();
	log_write(line, (size_t)length);
	log_settle();
}

/* --- Reports ------------------------------------------------------------------------------- */

/* The guest's "no", with what it rests on. */
static void log_rejection(const struct operation *operation)
{
	const struct op_evidence *evidence = &operation->evidence;
	char call[96] = "";

	if (evidence->source == OP_BY_GUEST && evidence->call != NULL)
		snprintf(call, sizeof call, "%s indicator %u value %u from vCPU %u, ",
		    evidence->call, evidence->indicator, evidence->value, evidence->vcpu);
	log_line(LOG_WARN,
	    "Device hotunplug rejected by the guest for device %s "
	    "(%sphase %s, after %llu ms, %u of %u threads running, operation %llu%s%s)",
	    operation->device, call, op_step_name(evidence->phase),
	    (unsigned long long)evidence->elapsed_ms, evidence->threads_running, evidence->threads,
	    (unsigned long long)operation->id, evidence->inferred != NULL ? "; inferred: " : "",
	    evidence->inferred != NULL ? evidence->inferred : "");
}

static void log_report(struct vmm *vmm, const struct operation *operation, enum op_step step)
{
	const char *detail = "";
	char line[256];

	if (step == OP_ENDED && operation->kind == OP_REMOVE && operation->outcome == OP_REJECTED) {
		log_rejection(operation);
		return;
	}
	if (step == OP_ENDED)
		detail = op_outcome_name(operation->outcome);
	else if (step == OP_UNRESOLVED)
		detail = op_stuck_text(operation);
	snprintf(line, sizeof line, "operation %llu: %s of %s (core %u): %s%s%s",
	    (unsigned long long)operation->id, op_kind_name(operation->kind), operation->device,
	    operation->core_id, op_step_name(step), detail[0] != '\0' ? ", " : "", detail);
	/* What the guest does unasked, it can do for ever. */
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
static int64_t guest_made_wait_ms(struct vmm *vmm)
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
		wait_ms = guest_made_wait_ms(vmm);
		if (!spapr_next_report(
		        vmm->machine, wait_ms == 0 || vmm->ending, &operation, &step))
			return wait_ms > 0 ? wait_ms : -1;
		vmm->guest_made_reports += op_is_guest_made(operation.kind);
		log_report(vmm, &operation, step);
		control_report(vmm->control, &operation, step);
	}
	return 0;
}

/* Tell everyone what has become of operations, and arm the timer for the next deadline. */
static void report_up_to(struct vmm *vmm, unsigned max)
{
	int64_t due_ms = spapr_check_deadline(vmm->machine);
	int64_t more_ms = report_steps(vmm, max);

	if (more_ms >= 0 && (due_ms < 0 || more_ms < due_ms))
		due_ms = more_ms;
	ev_timer_stop(vmm->loop, &vmm->deadline);
	if (due_ms < 0 || vmm->ending)
		return;
	ev_now_update(vmm->loop);
	ev_timer_set(&vmm->deadline, (double)due_ms / 1000, 0.);
	ev_timer_start(vmm->loop, &vmm->deadline);
}

static void report(struct vmm *vmm)
{
	report_up_to(vmm, REPORTS_PER_TURN);
}

/* All that there is to report at this moment: before an event that comes after it. */
static void report_all(struct vmm *vmm)
{
	report_up_to(vmm, SPAPR_OPERATIONS * OP_STEP_COUNT);
}

static void event_with_reason(struct vmm *vmm, const char *event, bool guest, const char *reason)
{
	if (vmm->control == NULL)
		return;
	control_event(
	    vmm->control, event, json_pack("{s:b, s:s}", "guest", (int)guest, "reason", reason));
}

/* --- The end ------------------------------------------------------------------------------- */

/* The first reason counts; the loop is left after the present round of callbacks, so that a
 * command's reply still gets queued. */
static void end_with(struct vmm *vmm, enum exit_code code, bool guest, const char *reason)
{
	if (vmm->ending)
		return;
	vmm->ending = true;
	vmm->exit_code = code;
	vmm->ended_by_guest = guest;
	vmm->end_reason = reason;
	ev_break(vmm->loop, EVBREAK_ALL);
}

static void say_farewell(struct vmm *vmm)
{
	spapr_stop(vmm->machine);
	console_poll(vmm->console);
	spapr_settle(vmm->machine);
	report_all(vmm);
	event_with_reason(vmm, "SHUTDOWN", vmm->ended_by_guest, vmm->end_reason);
}

/* How the program ends is decided: one more signal, as when a service manager and a person both end
 * it, must not cut that short. Only this thread is left. */
static void ignore_end_signals(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	for (size_t i = 0; i < COUNT_OF(end_signals); i++)
		sigaddset(&signals, end_signals[i]);
	sigprocmask(SIG_BLOCK, &signals, NULL);
}

/* NULL-safe all the way: also for a start that failed half-way. */
static void tear_down(struct vmm *vmm)
{
	control_destroy(vmm->control);
	console_destroy(vmm->console);
	spapr_destroy(vmm->machine);
	loader_destroy(vmm->loader);
	ignore_end_signals();
	ev_timer_stop(vmm->loop, &vmm->deadline);
	ev_timer_stop(vmm->loop, &vmm->console_pause);
	ev_prepare_stop(vmm->loop, &vmm->turn);
	ev_io_stop(vmm->loop, &vmm->log_writable);
	loop_destroy(vmm->loop, &vmm->wake);
	sandbox_destroy(vmm->sandbox);
}

/* --- News from the guest ------------------------------------------------------------------- */

static void on_guest_failed(struct vmm *vmm)
{
	struct err err = {0};

	spapr_failure(vmm->machine, &err);
	complain_error(&err);
	vmm->status = VMM_FAILED;
	end_with(vmm, EXIT_VMM_ERROR, false, "host-error");
}

static void on_guest_panic(struct vmm *vmm)
{
	char text[256];

	spapr_panic_text(vmm->machine, text, sizeof text);
	for (char *at = text; *at != '\0'; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			*at = ' ';
	log_line(LOG_WARN, "the guest panicked: %s", text);
	vmm->status = VMM_PANICKED;
	if (vmm->control != NULL)
		control_event(
		    vmm->control, "GUEST_PANICKED", json_pack("{s:s}", "action", "poweroff"));
	end_with(vmm, EXIT_GUEST_PANIC, true, "guest-panic");
}

/* Start again from the beginning. A machine that cannot is stopped, and stays unfit until a
 * reset succeeds. */
static bool reboot(struct vmm *vmm, bool guest, const char *reason, struct err *err)
{
	bool good;

	/* What the guest said last would be thrown away with the rest of it. */
	console_poll(vmm->console);
	good = spapr_boot(vmm->machine, err);
	report_all(vmm);
	if (!good) {
		spapr_stop(vmm->machine);
		vmm->status = VMM_FAILED;
		return false;
	}
	if (vmm->status != VMM_RUNNING)
		vmm->status = VMM_PAUSED;
	event_with_reason(vmm, "RESET", guest, reason);
	return true;
}

static void on_guest_reset(struct vmm *vmm)
{
	struct err err = {0};

	if (vmm->options->no_reboot) {
		vmm->status = VMM_SHUTDOWN;
		end_with(vmm, EXIT_GUEST_RESET, true, "guest-reset");
		return;
	}
	log_line(LOG_INFO, "the guest asks to be started again");
	if (!reboot(vmm, true, "guest-reset", &err)) {
		complain_error(&err);
		end_with(vmm, exit_code_of(&err), false, "host-error");
	}
}

/*
 * A guest prints a few bytes at a time. Serving the first at once and then what has gathered
 * every few milliseconds costs no echo that a person would notice, and saves waking up and
 * writing for every few bytes: while news is not taken, vCPU threads do not even ring.
 */
#define CONSOLE_PAUSE_S 0.004

static void serve_console(struct vmm *vmm)
{
	if (ev_is_active(&vmm->console_pause)) {
		vmm->console_waits = true;
		return;
	}
	vmm->console_waits = false;
	console_poll(vmm->console);
	ev_timer_set(&vmm->console_pause, CONSOLE_PAUSE_S, 0.);
	ev_timer_start(vmm->loop, &vmm->console_pause);
}

static void on_console_pause(struct ev_loop *loop, ev_timer *watcher, int events)
{
	struct vmm *vmm = watcher->data;

	(void)loop;
	(void)events;
	if (vmm->console_waits)
		serve_console(vmm);
}

static void on_wake(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct vmm *vmm = watcher->data;
	unsigned news;

	(void)loop;
	if ((events & EV_ERROR) != 0)
		return; /* loop_create() reports it */
	loop_woken(watcher);
	if (end_signal != 0 && !vmm->ending) {
		log_line(LOG_INFO, "ended by signal %d", end_signal);
		end_with(vmm, EXIT_POWERED_OFF, false, "host-signal");
	}
	news = spapr_take_news(vmm->machine);
	if (news & SPAPR_NEWS_CONSOLE)
		serve_console(vmm);
	report(vmm);
	if (vmm->ending)
		return;
	if (news & SPAPR_NEWS_FAILED) {
		on_guest_failed(vmm);
	} else if (news & SPAPR_NEWS_PANIC) {
		on_guest_panic(vmm);
	} else if (news & SPAPR_NEWS_POWER_OFF) {
		vmm->status = VMM_SHUTDOWN;
		end_with(vmm, EXIT_POWERED_OFF, true, "guest-shutdown");
	} else if (news & SPAPR_NEWS_RESET) {
		on_guest_reset(vmm);
	}
}

/* Lines that standard error has not taken: go on when it takes something again. */
static void on_turn(struct ev_loop *loop, ev_prepare *watcher, int events)
{
	struct vmm *vmm = watcher->data;

	(void)events;
	if (log_is_behind())
		ev_io_start(loop, &vmm->log_writable);
}

static void on_log_writable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct vmm *vmm = watcher->data;

	log_catch_up();
	if ((events & EV_ERROR) != 0)
		ev_prepare_stop(loop, &vmm->turn); /* it cannot be watched: the next line will do */
	if (!log_is_behind())
		ev_io_stop(loop, watcher);
}

static void on_deadline(struct ev_loop *loop, ev_timer *watcher, int events)
{
	(void)loop;
	(void)events;
	report(watcher->data);
}

/* In any thread. */
static void on_end_signal(int number)
{
	end_signal = number;
	loop_wake(end_signal_wake);
}

/* The person typed Ctrl-A x. */
static void on_escape(void *context)
{
	end_with(context, EXIT_POWERED_OFF, false, "host-ui");
}

static void wake(void *context)
{
	struct vmm *vmm = context;

	loop_wake(&vmm->wake);
}

/* What the machine calls, it calls with its one context; the loader has its own. */
static bool load(void *context, const struct gmem *gmem, const struct spapr_layout *layout,
    struct spapr_image *ret_image, struct err *err)
{
	struct vmm *vmm = context;

	return loader_load(vmm->loader, gmem, layout, ret_image, err);
}

/* --- What an operator may do --------------------------------------------------------------- */

struct spapr *vmm_machine(const struct vmm *vmm)
{
	return vmm->machine;
}

const struct options *vmm_options(const struct vmm *vmm)
{
	return vmm->options;
}

enum vmm_status vmm_status(const struct vmm *vmm)
{
	return vmm->status;
}

void vmm_stop(struct vmm *vmm)
{
	if (vmm->status != VMM_RUNNING)
		return;
	spapr_stop(vmm->machine);
	vmm->status = VMM_PAUSED;
	control_event(vmm->control, "STOP", json_object());
}

bool vmm_cont(struct vmm *vmm, struct err *err)
{
	if (vmm->status == VMM_RUNNING)
		return true;
	if (vmm->status != VMM_PAUSED)
		return err_set(err, ERR_STATE, "use system_reset",
		    "Resetting the Virtual Machine is required");
	spapr_cont(vmm->machine);
	report(vmm); /* deadlines run again */
	vmm->status = VMM_RUNNING;
	control_event(vmm->control, "RESUME", json_object());
	return true;
}

bool vmm_reset(struct vmm *vmm, struct err *err)
{
	return reboot(vmm, false, "host-qmp-system-reset", err);
}

void vmm_powerdown(struct vmm *vmm)
{
	spapr_powerdown(vmm->machine);
	report(vmm);
	control_event(vmm->control, "POWERDOWN", json_object());
}

void vmm_quit(struct vmm *vmm)
{
	end_with(vmm, EXIT_POWERED_OFF, false, "host-qmp-quit");
}

/* --- The beginning ------------------------------------------------------------------------- */

/* Of any thread. vCPU threads may not touch the terminal: it stays as it is if one of them fails.
 */
static void on_fault(int number, siginfo_t *info, void *registers)
{
	(void)registers;
	if (getpid() == gettid())
		console_restore_terminal();
	sandbox_explain(info);
	/* The handler is gone (SA_RESETHAND): this time it ends the program. */
	raise(number);
}

/* The loop's thread may have used up its stack. A sanitizer may have given it another one. */
static void set_fault_stack(void)
{
	static uint8_t bytes[32 << 10];
	stack_t stack;

	if (sigaltstack(NULL, &stack) == 0 && (stack.ss_flags & SS_DISABLE) != 0)
		sigaltstack(&(stack_t){.ss_sp = bytes, .ss_size = sizeof bytes}, NULL);
}

/* nohup(1) has it ignored for a guest that is to outlive its terminal. */
static bool outlives_terminal(int number)
{
	struct sigaction present;

	return number == SIGHUP && sigaction(number, NULL, &present) == 0 &&
	       present.sa_handler == SIG_IGN;
}

static void start_signals(struct vmm *vmm)
{
	struct sigaction fault = {.sa_sigaction = on_fault,
	    .sa_flags = (int)(SA_SIGINFO | SA_RESETHAND | SA_NODEFER | SA_ONSTACK)};
	struct sigaction end = {.sa_handler = on_end_signal, .sa_flags = SA_RESTART};

	end_signal = 0;
	set_fault_stack();
	end_signal_wake = &vmm->wake;
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < COUNT_OF(fault_signals); i++)
		sigaction(fault_signals[i], &fault, NULL);
	for (size_t i = 0; i < COUNT_OF(end_signals); i++)
		if (!outlives_terminal(end_signals[i]))
			sigaction(end_signals[i], &end, NULL);
}

void raise_file_limit(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files); /* if refused, the soft limit is what there is */
	}
}

/* The vCPU's own thread, before it enters the guest. */
static bool confine_vcpu(void *context, struct err *err)
{
	struct vmm *vmm = context;

	return vmm->sandbox == NULL || sandbox_enter_vcpu(vmm->sandbox, err);
}

/*
 * What a library needs of the kernel at its first use, it needs before the sandbox closes, also on
 * the ways that are only taken at the end. ARCHITECTURE.md ("Into the sandbox") has what each
 * library does; glibc's time zone is sandbox.c's.
 */
static void use_libraries(void)
{
	json_object_seed(0);
}

static bool enter_sandbox(struct vmm *vmm, struct err *err)
{
	const struct options *options = vmm->options;
	const char *const sockets[] = {
	    strcmp(options->control, LISTEN_SYSTEMD) == 0 ? "" : options->control,
	    options->console == CONSOLE_UNIX ? options->console_path : ""};

	use_libraries();
	if (vmm->sandbox != NULL)
		return sandbox_enter(vmm->sandbox,
		    options->max_cpus - options->boot_cpus + CLIENT_FILES, sockets,
		    COUNT_OF(sockets), vmm->wake.fd, err);
	log_line(LOG_WARN, "--no-sandbox: a guest that breaks into this process has all rights of "
	                   "the user who started it");
	return true;
}

/* Everything that tear_down() touches is given a shape first. */
static bool set_up_loop(struct vmm *vmm, struct err *err)
{
	ev_init(&vmm->wake, on_wake);
	vmm->wake.data = vmm;
	ev_timer_init(&vmm->deadline, on_deadline, 0., 0.);
	vmm->deadline.data = vmm;
	ev_timer_init(&vmm->console_pause, on_console_pause, 0., 0.);
	vmm->console_pause.data = vmm;
	ev_prepare_init(&vmm->turn, on_turn);
	ev_io_init(&vmm->log_writable, on_log_writable, STDERR_FILENO, EV_WRITE);
	vmm->turn.data = vmm->log_writable.data = vmm;
	vmm->loop = loop_create(&vmm->wake, err);
	return vmm->loop != NULL;
}

/* What can be wrong with the request comes first, then what can be wrong with the host, and
 * only then anything that others can see. */
static bool set_up(struct vmm *vmm, struct err *err)
{
	const struct options *options = vmm->options;
	struct spapr_config config = options_machine(options);

	config.load = load;
	config.wake = wake;
	config.context = vmm;
	config.confine_vcpu = confine_vcpu;
	vmm->loader = loader_create(options->kernel, options->initrd, err);
	if (vmm->loader == NULL || !spapr_check_config(&config, NULL, err))
		return false;
	raise_file_limit();
	/* malloc would raise this with the largest block it saw, and keep megabytes once they are
	 * free. Fixed, what a client needs goes back to the system with it. */
	mallopt(M_MMAP_THRESHOLD, 64 << 10);
	vmm->machine = spapr_create(&config, err);
	if (vmm->machine == NULL)
		return false;
	start_signals(vmm);
	vmm->console = console_create(vmm->loop, options, vmm->machine, on_escape, vmm, err);
	if (vmm->console == NULL)
		return false;
	if (options->control[0] != '\0') {
		vmm->control = control_create(vmm->loop, options->control, vmm, err);
		if (vmm->control == NULL)
			return false;
	}
	return enter_sandbox(vmm, err) && spapr_boot(vmm->machine, err);
}

/* Before anything is opened. */
static bool start_sandbox(struct vmm *vmm, struct err *err)
{
	const struct options *options = vmm->options;
	const int keep[] = {
	    options->kvm_fd, strcmp(options->control, LISTEN_SYSTEMD) == 0 ? LISTEN_FD : -1};

	if (options->no_sandbox)
		return true;
	vmm->sandbox = sandbox_create(keep, COUNT_OF(keep), err);
	return vmm->sandbox != NULL;
}

enum exit_code vmm_run(const struct options *options)
{
	struct vmm *vmm = calloc(1, sizeof *vmm);
	struct err err = {0};
	enum exit_code code;

	if (vmm == NULL) {
		err_system(&err, ENOMEM, NULL, "cannot start");
		complain_error(&err);
		return EXIT_VMM_ERROR;
	}
	vmm->options = options;
	vmm->status = VMM_RUNNING;
	log_never_wait();
	if (!start_sandbox(vmm, &err) || !set_up_loop(vmm, &err)) {
		complain_error(&err);
		sandbox_destroy(vmm->sandbox);
		free(vmm);
		return exit_code_of(&err);
	}
	if (set_up(vmm, &err)) {
		log_line(LOG_INFO, "guest \"%s\" started", options->name);
		ev_prepare_start(vmm->loop, &vmm->turn);
		ev_run(vmm->loop, 0);
		say_farewell(vmm);
		code = vmm->exit_code;
	} else {
		code = exit_code_of(&err);
	}
	tear_down(vmm);
	/* The terminal is its old self again, so the line comes out well. */
	if (err.class != ERR_NONE)
		complain_error(&err);
	log_settle();
	free(vmm);
	return code;
}
