/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run.c - `paprika run`: one guest from its start to its end.
 *
 * Everything happens in the loop of this thread. vCPU threads and signal handlers only wake it, and
 * run_on_wake() asks the machine what kind of news there is. Whatever ends the program (the guest's
 * power-off or panic, quit, a signal, a broken vCPU) calls vmm_end(), which leaves the loop. What
 * is left to do is then done once, in this order: drain the console, settle and report what is
 * pending, send SHUTDOWN, let clients read what they will, restore the terminal, remove the socket.
 */
#include "vmm/run.h"

#include <errno.h>
#include <ev.h>
#include <jansson.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "control/control.h"
#include "control/listen.h"
#include "sandbox/sandbox.h"
#include "vmm/console.h"
#include "vmm/loader.h"
#include "vmm/loop.h"
#include "vmm/plug.h"
#include "vmm/terminal.h"
#include "vmm/vmm.h"

/* How many descriptors clients may need: the control socket's, one that is turned away, and two
 * at the console. */
#define CLIENT_FILES (CONTROL_CLIENTS_MAX + 1 + 2)

/* Rings of io_uring for the queues of disks that are added. The kernel has two pages for each. */
enum { LATER_RINGS = 8 };

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

struct run {
	const struct options *options;
	struct vmm vmm;
	struct sandbox *sandbox; /* NULL with --no-sandbox */
	struct loader *loader;
	struct control *control; /* NULL without --control */
	ev_io wake;
	ev_timer console_pause; /* active: the console was served a moment ago */
	bool console_waits;     /* ... and there is news since */
	ev_prepare turn;        /* these two: see run_on_turn() */
	ev_io log_writable;
};

/* --- Signals -------------------------------------------------------------------------------- */

/* Signals that end the guest in good order, and faults, after which only the terminal is restored.
 */
static const int end_signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
static const int fault_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS};

/* What a handler of end_signals leaves for the loop. Static, because a handler is given nothing. */
static _Atomic int end_signal;
static const ev_io *end_signal_wake;

/* In any thread. */
static void on_end_signal(int number)
{
	end_signal = number;
	loop_wake(end_signal_wake);
}

/* In any thread. The sandbox keeps vCPU threads from the terminal: it stays raw if one fails. */
static void on_fault(int number, siginfo_t *info, void *registers)
{
	if (getpid() == gettid())
		terminal_restore();
	sandbox_explain(info);
	/* The default action is back (SA_RESETHAND), and ends the program. */
	raise(number);
}

/* The loop's thread may have used up its stack. A sanitizer may have given it another one. */
static void signals_set_stack(void)
{
	static uint8_t bytes[32 << 10];
	stack_t stack;

	if (sigaltstack(NULL, &stack) == 0 && (stack.ss_flags & SS_DISABLE) != 0)
		sigaltstack(&(stack_t){.ss_sp = bytes, .ss_size = sizeof bytes}, NULL);
}

/* nohup(1) has SIGHUP ignored. */
static bool outlives_terminal(int number)
{
	struct sigaction present;

	return number == SIGHUP && sigaction(number, NULL, &present) == 0 &&
	       present.sa_handler == SIG_IGN;
}

static void signals_start(struct run *run)
{
	struct sigaction fault = {.sa_sigaction = on_fault,
	    .sa_flags = (int)(SA_SIGINFO | SA_RESETHAND | SA_NODEFER | SA_ONSTACK)};
	struct sigaction end = {.sa_handler = on_end_signal, .sa_flags = SA_RESTART};

	end_signal = 0;
	signals_set_stack();
	end_signal_wake = &run->wake;
	signal(SIGPIPE, SIG_IGN); /* the write says it, too: EPIPE */
	for (size_t i = 0; i < COUNT_OF(fault_signals); i++)
		sigaction(fault_signals[i], &fault, NULL);
	for (size_t i = 0; i < COUNT_OF(end_signals); i++)
		if (!outlives_terminal(end_signals[i]))
			sigaction(end_signals[i], &end, NULL);
}

/* How the program ends is decided: one more signal, as when a service manager and a person both end
 * it, must not cut that short. Only this thread is left. */
static void signals_block(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	for (size_t i = 0; i < COUNT_OF(end_signals); i++)
		sigaddset(&signals, end_signals[i]);
	sigprocmask(SIG_BLOCK, &signals, NULL);
}

/* --- News from the guest, and the console --------------------------------------------------- */

/*
 * A guest prints a few bytes at a time. The first are passed on at once, and then what has
 * accumulated every few milliseconds: no person notices the delay, and it saves a wake-up and a
 * write for every few bytes. While news is not taken, vCPU threads do not wake the loop again.
 */
#define CONSOLE_PAUSE_S 0.004

static void run_serve_console(struct run *run)
{
	if (ev_is_active(&run->console_pause)) {
		run->console_waits = true;
		return;
	}
	run->console_waits = false;
	console_poll(run->vmm.console);
	ev_timer_set(&run->console_pause, CONSOLE_PAUSE_S, 0.);
	ev_timer_start(run->vmm.loop, &run->console_pause);
}

static void run_on_console_pause(struct ev_loop *loop, ev_timer *watcher, int events)
{
	struct run *run = watcher->data;

	if (run->console_waits)
		run_serve_console(run);
}

static void run_on_wake(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct run *run = watcher->data;
	unsigned news;

	if ((events & EV_ERROR) != 0)
		return; /* loop_create() reports it */
	loop_woken(watcher);
	if (end_signal != 0 && !run->vmm.ending) {
		log_line(LOG_INFO, "ended by signal %d", end_signal);
		vmm_end(&run->vmm, EXIT_POWERED_OFF, false, "host-signal");
	}
	news = spapr_take_news(run->vmm.machine);
	if (news & SPAPR_NEWS_CONSOLE)
		run_serve_console(run);
	if (news & SPAPR_NEWS_DRIVER)
		spapr_look_at_drivers(run->vmm.machine);
	vmm_report(&run->vmm);
	vmm_handle_news(&run->vmm, news);
}

/* If standard error has not taken all lines, continue when it can be written to. */
static void run_on_turn(struct ev_loop *loop, ev_prepare *watcher, int events)
{
	struct run *run = watcher->data;

	if (log_is_behind())
		ev_io_start(loop, &run->log_writable);
}

static void run_on_log_writable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct run *run = watcher->data;

	log_catch_up();
	if ((events & EV_ERROR) != 0)
		ev_prepare_stop(
		    loop, &run->turn); /* it cannot be watched: the next line tries again */
	if (!log_is_behind())
		ev_io_stop(loop, watcher);
}

/* Ctrl-A x was typed. */
static void run_on_escape(void *context)
{
	vmm_end(context, EXIT_POWERED_OFF, false, "host-ui");
}

/* --- What the machine calls ----------------------------------------------------------------- */

static void run_on_machine_news(void *context)
{
	struct run *run = context;

	loop_wake(&run->wake);
}

static bool run_on_load(void *context, const struct gmem *gmem, const struct spapr_layout *layout,
    struct spapr_image *ret_image, struct err *err)
{
	struct run *run = context;

	return loader_load(run->loader, gmem, layout, ret_image, err);
}

/* In the vCPU's own thread, before it enters the guest. */
static bool run_on_confine_vcpu(void *context, struct err *err)
{
	struct run *run = context;

	return run->sandbox == NULL || sandbox_enter_vcpu(run->sandbox, err);
}

/* In the thread of a device's queue, before the guest begins. */
static bool run_on_confine_io(void *context, struct err *err)
{
	struct run *run = context;

	return run->sandbox == NULL || sandbox_enter_io(run->sandbox, err);
}

/* --- Start and end -------------------------------------------------------------------------- */

void raise_file_limit(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files); /* if refused, the soft limit is what there is */
	}
}

/*
 * Library functions that make system calls when they are first used are used here, before the
 * sandbox closes, even if the program needs them only at its end: jansson's hash function reads
 * /dev/urandom for its seed. sandbox.c does the same for glibc's time zone.
 */
static void run_use_libraries(void)
{
	json_object_seed(0);
}

/* Descriptors that devices may need that are added, and clients pass for them. */
static uint32_t run_device_files(const struct options *options)
{
	return options_have_pci(options) ? SPAPR_PCI_SLOTS * SPAPR_PCI_FILES + 2 * BLOCKS_MAX +
	                                       NETDEVS_MAX * (1 + GUEST_DEVICE_FDS) + CHARDEVS_MAX
	                                 : 0;
}

static bool run_enter_sandbox(struct run *run, struct err *err)
{
	const struct options *options = run->options;
	const char *const sockets[] = {
	    strcmp(options->control, LISTEN_SYSTEMD) == 0 ? "" : options->control,
	    options->console == CONSOLE_UNIX ? options->console_path : ""};

	run_use_libraries();
	if (run->sandbox != NULL)
		return sandbox_enter(run->sandbox,
		    options->max_cpus - options->boot_cpus + CLIENT_FILES +
		        run_device_files(options),
		    sockets, COUNT_OF(sockets), run->wake.fd,
		    (options_have_pci(options) ? SANDBOX_PCI : 0) |
		        (options_have_net(options) ? SANDBOX_NET : 0) |
		        (options_have_vhost(options) ? SANDBOX_VHOST : 0),
		    err);
	log_line(LOG_WARN, "--no-sandbox: a guest that breaks into this process has all rights of "
	                   "the user who started it");
	return true;
}

/* Everything that run_finish() touches gets a value first. */
static bool run_set_up_loop(struct run *run, struct err *err)
{
	struct ev_loop *loop;

	ev_init(&run->wake, run_on_wake);
	ev_timer_init(&run->console_pause, run_on_console_pause, 0., 0.);
	ev_prepare_init(&run->turn, run_on_turn);
	ev_io_init(&run->log_writable, run_on_log_writable, STDERR_FILENO, EV_WRITE);
	run->wake.data = run->console_pause.data = run->turn.data = run->log_writable.data = run;
	loop = loop_create(&run->wake, err);
	vmm_init(&run->vmm, loop, run->options->name, run->options->no_reboot);
	return loop != NULL;
}

/* First what can be wrong with the options, then with the host, then what is visible outside. */
static bool run_set_up(struct run *run, struct err *err)
{
	const struct options *options = run->options;
	struct spapr_config config = options_machine(options);
	struct vmm *vmm = &run->vmm;

	vmm->plug = (struct plug){.options = options, .confine = run_on_confine_io, .context = run};
	device_reports_init(&vmm->plug.reports, run_on_machine_news, run);
	config.load = run_on_load;
	config.wake = run_on_machine_news;
	config.confine_vcpu = run_on_confine_vcpu;
	config.context = run;
	if (!notify_open(&vmm->notify, err))
		return false;
	run->loader = loader_create(options->kernel, options->initrd, err);
	if (run->loader == NULL || !spapr_check_config(&config, NULL, err))
		return false;
	raise_file_limit();
	/* The call says it, too: EFBIG, for memory, a disk or a log above ulimit -f. */
	signal(SIGXFSZ, SIG_IGN);
	/* malloc would raise this with the largest block it saw, and keep megabytes once they are
	 * free. Fixed, what a client needs goes back to the system with it. */
	mallopt(M_MMAP_THRESHOLD, 64 << 10);
	vmm->machine = vmm->guest.machine = vmm->plug.machine = spapr_create(&config, err);
	if (vmm->machine == NULL || !plug_devices(&vmm->plug, err))
		return false;
	if (options->pci)
		vmm->plug.rings = disk_rings_create(LATER_RINGS);
	signals_start(run);
	vmm->console = console_create(vmm->loop, options, vmm->machine, run_on_escape, vmm, err);
	if (vmm->console == NULL)
		return false;
	if (options->control[0] != '\0') {
		run->control =
		    control_create(vmm->loop, options->control, &vmm->guest, &vmm->bus, err);
		if (run->control == NULL)
			return false;
	}
	return run_enter_sandbox(run, err) &&
	       spapr_confine_devices(vmm->machine, run_on_confine_io, run, err) &&
	       spapr_boot(vmm->machine, err);
}

/* Whether all requests of devices end within a second. If not, a disk of the host hangs: its thread
 * cannot be waited for, and all that it uses has to stay until the process has gone. */
static bool run_devices_end(struct spapr *machine)
{
	enum { ROUND_MS = 10, ROUNDS = 100 };

	for (int round = 0; machine != NULL && !spapr_quiesce(machine); round++) {
		if (round == ROUNDS) {
			log_line(LOG_WARN, "requests of a disk do not end; they are left behind");
			return false;
		}
		poll(NULL, 0, ROUND_MS);
	}
	return true;
}

/* Also after a start that failed: all of these functions take NULL. */
static void run_finish(struct run *run)
{
	struct ev_loop *loop = run->vmm.loop;

	control_destroy(run->control);
	console_destroy(run->vmm.console);
	if (run_devices_end(run->vmm.machine)) {
		spapr_destroy(run->vmm.machine);
		disk_rings_destroy(run->vmm.plug.rings);
		control_close_files(&run->vmm.guest);
	}
	loader_destroy(run->loader);
	signals_block();
	vmm_finish(&run->vmm);
	notify_close(&run->vmm.notify);
	ev_timer_stop(loop, &run->console_pause);
	ev_prepare_stop(loop, &run->turn);
	ev_io_stop(loop, &run->log_writable);
	loop_destroy(loop, &run->wake);
	sandbox_destroy(run->sandbox);
}

/* Before anything is opened. */
static bool run_create_sandbox(struct run *run, struct err *err)
{
	const struct options *options = run->options;
	int keep[2 + OPTION_NETS_MAX * OPTION_NET_QUEUES_MAX] = {
	    options->kvm_fd, strcmp(options->control, LISTEN_SYSTEMD) == 0 ? LISTEN_FD : -1};
	size_t count = 2;

	for (size_t i = 0; i < options->net_count; i++)
		for (unsigned j = 0; j < options->nets[i].fd_count; j++)
			keep[count++] = options->nets[i].fds[j];

	if (options->no_sandbox)
		return true;
	run->sandbox = sandbox_create(keep, count, err);
	return run->sandbox != NULL;
}

enum exit_code vmm_run(const struct options *options)
{
	struct run *run = calloc(1, sizeof *run);
	struct err err = {0};
	enum exit_code code;

	if (run == NULL) {
		err_system(&err, ENOMEM, NULL, "cannot start");
		complain_error(&err);
		return EXIT_VMM_ERROR;
	}
	run->options = options;
	log_never_wait();
	if (!run_create_sandbox(run, &err) || !run_set_up_loop(run, &err)) {
		complain_error(&err);
		sandbox_destroy(run->sandbox);
		free(run);
		return exit_code_of(&err);
	}
	if (run_set_up(run, &err)) {
		log_line(LOG_INFO, "guest \"%s\" started", options->name);
		ev_prepare_start(run->vmm.loop, &run->turn);
		notify_ready(&run->vmm.notify, run->vmm.loop);
		ev_run(run->vmm.loop, 0);
		vmm_say_farewell(&run->vmm);
		code = run->vmm.exit_code;
	} else {
		code = exit_code_of(&err);
	}
	run_finish(run);
	/* After the terminal has been restored, so that the line is readable. */
	if (err.class != ERR_NONE)
		complain_error(&err);
	log_settle();
	free(run);
	return code;
}
