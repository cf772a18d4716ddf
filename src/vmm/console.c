/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console.c - passes console output and input between the machine and one of five ends.
 *
 * Each direction has a buffer of fixed size. The output buffer is a ring that drops its oldest
 * bytes when it is not read, so that a guest can always print and the newest output is kept. Input
 * is not lost: when the machine has no room, reading stops until there is room again. A terminal is
 * the exception, because Ctrl-A x must be noticed even if the guest takes no input: it is always
 * read, and what does not fit is dropped.
 *
 * No descriptor ever blocks the loop; terminal.h tells how.
 */
#include "vmm/console.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/log.h"
#include "control/listen.h"
#include "control/watch.h"
#include "vmm/terminal.h"

#define OUTPUT_BYTES 65536u
#define INPUT_BYTES 4096u
#define POLL_ROUNDS 32
#define LAST_WORDS_MS 250

struct console {
	struct ev_loop *loop;
	struct watch watch;
	struct spapr *machine;
	enum console_kind kind;
	void (*on_escape)(void *context);
	void *context;

	int in_fd, out_fd; /* -1: none (yet, or any more); both the same for pty and unix */
	int listen_fd;     /* unix */
	int slave_fd;      /* pty: held open, or the master would report a hangup */
	char path[OPTION_TEXT_MAX];
	struct listen_identity identity;
	bool own_in, own_out; /* close them */
	bool is_terminal;     /* input never pauses, see above */
	bool is_socket;       /* standard input is */
	bool in_ended;        /* end of file: the other end may still listen */
	bool discard;         /* there is no end for output, and there will be none */
	bool escaped;

	ev_io in_watch, out_watch, accept_watch;
	ev_timer again; /* more to fetch; or listening failed and is to be tried again */

	size_t out_start, out_length; /* a ring */
	uint64_t dropped;             /* bytes of output, because a reader was too slow */
	uint64_t told;                /* how many of them have been logged */
	size_t in_length;
	uint8_t out[OUTPUT_BYTES];
	uint8_t in[INPUT_BYTES];
	struct log_limit limit_dropped, limit_error;
};

/* --- Output -------------------------------------------------------------------------------- */

static void console_close_peer(struct console *console);

static void console_drop_oldest(struct console *console, size_t length)
{
	console->out_start = (console->out_start + length) % OUTPUT_BYTES;
	console->out_length -= length;
}

/* length is at most OUTPUT_BYTES. */
static void console_put(struct console *console, const void *from, size_t length)
{
	size_t end, first;

	if (console->discard)
		return;
	if (length > OUTPUT_BYTES - console->out_length) {
		size_t excess = length - (OUTPUT_BYTES - console->out_length);

		console_drop_oldest(console, excess);
		/* Without a client that is normal, and not counted. */
		if (console->out_fd >= 0) {
			console->dropped += excess;
			log_guest(&console->limit_dropped, LOG_WARN,
			    "console: output is not read, %llu bytes dropped so far",
			    (unsigned long long)console->dropped);
		}
	}
	end = (console->out_start + console->out_length) % OUTPUT_BYTES;
	first = length < OUTPUT_BYTES - end ? length : OUTPUT_BYTES - end;
	memcpy(console->out + end, from, first);
	memcpy(console->out, (const uint8_t *)from + first, length - first);
	console->out_length += length;
}

static ssize_t console_write(int fd, const void *from, size_t length)
{
	ssize_t written = send(fd, from, length, MSG_DONTWAIT | MSG_NOSIGNAL);

	return written < 0 && errno == ENOTSOCK ? write(fd, from, length) : written;
}

/* The end that output goes to has failed. */
static void console_output_failed(struct console *console, int error_number)
{
	if (console->kind == CONSOLE_UNIX) {
		console_close_peer(console);
		return;
	}
	log_guest(
	    &console->limit_error, LOG_WARN, "console: cannot write: %s", strerror(error_number));
	console->out_length = 0;
	/* A full disk may have room later. A closed pipe stays closed. */
	console->discard = error_number == EPIPE || error_number == EIO || error_number == EBADF;
	ev_io_stop(console->loop, &console->out_watch);
}

/* Write what the end takes now; the watcher tells when it takes more. */
static void console_flush(struct console *console)
{
	while (console->out_length > 0 && console->out_fd >= 0) {
		size_t chunk = OUTPUT_BYTES - console->out_start;
		ssize_t written;

		if (chunk > console->out_length)
			chunk = console->out_length;
		written = console_write(console->out_fd, console->out + console->out_start, chunk);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0 && errno != EAGAIN) {
			console_output_failed(console, errno);
			return;
		}
		if (written <= 0) {
			watch_start(&console->watch, &console->out_watch);
			return;
		}
		console_drop_oldest(console, (size_t)written);
	}
	ev_io_stop(console->loop, &console->out_watch);
	if (console->dropped == console->told)
		return;
	console->told = console->dropped;
	log_guest(&console->limit_dropped, LOG_WARN,
	    "console: output is read again, %llu bytes were dropped",
	    (unsigned long long)console->dropped);
}

static void console_poll_later(struct console *console, double seconds)
{
	ev_timer_stop(console->loop, &console->again);
	ev_timer_set(&console->again, seconds, 0.);
	ev_timer_start(console->loop, &console->again);
}

/* epoll has refused the descriptor, and libev has stopped its watchers. */
static bool console_refused(struct console *console, ev_io *watcher, int events)
{
	if ((events & EV_ERROR) == 0)
		return false;
	/* Otherwise libev takes it as still watched when the watcher is started again. */
	ev_io_set(watcher, watcher->fd, watcher->events & (EV_READ | EV_WRITE));
	log_guest(&console->limit_error, LOG_WARN, "console: cannot be watched: %s, trying again",
	    strerror(errno));
	console_poll_later(console, 1.);
	return true;
}

static void console_on_writable(struct ev_loop *loop, ev_io *watcher, int events)
{
	if (!console_refused(watcher->data, watcher, events))
		console_flush(watcher->data);
}

/* --- Input --------------------------------------------------------------------------------- */

/* Pass on what the machine has room for, and continue to read if that was all. */
static void console_push_input(struct console *console)
{
	if (console->in_length > 0) {
		size_t taken =
		    spapr_console_write(console->machine, console->in, console->in_length);

		console->in_length -= taken;
		memmove(console->in, console->in + taken, console->in_length);
	}
	if (console->in_fd < 0 || console->in_ended)
		return;
	if (console->in_length == 0 || console->is_terminal)
		watch_start(&console->watch, &console->in_watch);
	else
		ev_io_stop(console->loop, &console->in_watch);
}

/* True if Ctrl-A x was typed. */
static bool console_take_typed(struct console *console, const uint8_t *typed, size_t length)
{
	static const char help[] = "\r\nCtrl-A x       end paprika and the guest\r\n"
	                           "Ctrl-A Ctrl-A  send Ctrl-A\r\n"
	                           "Ctrl-A ?       this help\r\n";

	for (size_t i = 0; i < length; i++) {
		switch (terminal_escape_step(&console->escaped, typed[i])) {
		case TERMINAL_SEND:
			if (console->in_length < INPUT_BYTES)
				console->in[console->in_length++] = typed[i];
			break;
		case TERMINAL_HELP: console_put(console, help, sizeof help - 1); break;
		case TERMINAL_QUIT: return true;
		case TERMINAL_SWALLOW: break;
		}
	}
	return false;
}

static void console_input_ended(struct console *console)
{
	console->in_ended = true;
	ev_io_stop(console->loop, &console->in_watch);
}

static void console_on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct console *console = watcher->data;
	uint8_t typed[1024];
	ssize_t got;

	if (console_refused(console, watcher, events))
		return;
	/* Another process may have read it already. */
	got = console->is_socket ? recv(console->in_fd, typed, sizeof typed, MSG_DONTWAIT)
	                         : read(console->in_fd, typed, sizeof typed);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		/* A UNIX client may close its writing half and still want to read. */
		if (got < 0 && console->kind == CONSOLE_UNIX) {
			console_close_peer(console);
			return;
		}
		if (got < 0)
			log_line(LOG_WARN, "console: cannot read, there is no more input: %s",
			    strerror(errno));
		console_input_ended(console);
		return;
	}
	if (console->kind == CONSOLE_STDIO) {
		if (console_take_typed(console, typed, (size_t)got)) {
			console->on_escape(console->context);
			return;
		}
		console_flush(console);
	} else {
		/* Reading goes on only when in[] is empty. */
		memcpy(console->in, typed, (size_t)got);
		console->in_length = (size_t)got;
	}
	console_push_input(console);
}

void console_poll(struct console *console)
{
	uint8_t printed[4096];
	int round = 0;

	console_push_input(console);
	console_flush(console);
	if (console->listen_fd >= 0)
		watch_start(&console->watch, &console->accept_watch);
	for (; round < POLL_ROUNDS; round++) {
		size_t length = spapr_console_read(console->machine, printed, sizeof printed);

		if (length == 0)
			break;
		console_put(console, printed, length);
		console_flush(console);
	}
	/* A guest may print as fast as it is read: serve other watchers first. */
	if (round == POLL_ROUNDS)
		console_poll_later(console, 0.);
}

static void console_on_again(struct ev_loop *loop, ev_timer *watcher, int events)
{
	console_poll(watcher->data);
}

/* --- One client on a UNIX socket ----------------------------------------------------------- */

static void console_attach(struct console *console, int in_fd, int out_fd)
{
	console->in_fd = in_fd;
	console->out_fd = out_fd;
	console->in_ended = in_fd < 0;
	if (in_fd >= 0)
		ev_io_set(&console->in_watch, in_fd, EV_READ);
	if (out_fd >= 0)
		ev_io_set(&console->out_watch, out_fd, EV_WRITE);
	console_push_input(console);
	console_flush(console);
}

static void console_close_peer(struct console *console)
{
	ev_io_stop(console->loop, &console->in_watch);
	ev_io_stop(console->loop, &console->out_watch);
	if (console->out_fd >= 0)
		close(console->out_fd);
	console->in_fd = console->out_fd = -1;
}

/* Reading may be paused, so ask whether the present client is still there. */
static bool console_peer_gone(const struct console *console)
{
	struct pollfd peer = {.fd = console->out_fd, .events = POLLRDHUP};

	return console->in_ended || poll(&peer, 1, 0) > 0;
}

static void console_on_client(struct ev_loop *loop, ev_io *watcher, int events)
{
	static const char busy[] = "paprika: the console is in use by another client\r\n";
	struct console *console = watcher->data;
	int fd;

	if (console_refused(console, watcher, events))
		return;
	fd = accept4(console->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return;
		/* Most likely out of descriptors; the client stays in the queue meanwhile. */
		log_guest(&console->limit_error, LOG_WARN, "console: cannot accept a client: %s",
		    strerror(errno));
		ev_io_stop(loop, watcher);
		console_poll_later(console, 1.);
		return;
	}
	if (console->out_fd >= 0 && console_peer_gone(console))
		console_close_peer(console);
	if (console->out_fd >= 0 || !listen_peer_allowed(fd)) {
		if (console->out_fd >= 0)
			(void)console_write(fd, busy, sizeof busy - 1);
		close(fd);
		return;
	}
	console_attach(console, fd, fd);
}

/* --- The five ends ------------------------------------------------------------------------- */

static bool is_socket(int fd)
{
	struct stat status;

	return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
}

static bool console_open_stdio(struct console *console, struct err *err)
{
	int out_fd = terminal_open_standard(STDOUT_FILENO, O_WRONLY, &console->own_out);
	int in_fd = -1;

	if (out_fd < 0)
		return err_system(
		    err, errno, "use another --console", "standard output is not open");
	/* In the background there is no input from a terminal. */
	if (!isatty(STDIN_FILENO) || terminal_in_foreground(STDIN_FILENO)) {
		in_fd = terminal_open_standard(STDIN_FILENO, O_RDONLY, &console->own_in);
		console->out_fd = out_fd; /* to be closed if this fails */
		if (in_fd < 0)
			return err_system(
			    err, errno, "use another --console", "cannot use standard input");
		console->is_terminal = isatty(STDIN_FILENO) != 0;
		console->is_socket = is_socket(in_fd);
		if (console->is_terminal) {
			log_say("Ctrl-A x ends the guest, Ctrl-A ? tells more");
			terminal_make_raw();
		}
	} else {
		log_line(LOG_WARN, "console: in the background, so there is no input");
	}
	console_attach(console, in_fd, out_fd);
	return true;
}

static bool console_open_file(struct console *console, struct err *err)
{
	int fd = open(
	    console->path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);

	if (fd < 0) {
		err_system(err, errno, "choose a file you may write to",
		    "console file %.200s cannot be opened", console->path);
		err->class = ERR_USAGE;
		return false;
	}
	console->own_out = true;
	console_attach(console, -1, fd);
	return true;
}

static bool console_open_pty(struct console *console, struct err *err)
{
	struct termios raw;
	char name[128];
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return err_system(
		    err, errno, "mount /dev/pts, or use another --console", "cannot create a pty");
	console->own_out = true;
	console->out_fd = fd;
	if (grantpt(fd) < 0 || unlockpt(fd) < 0 || ptsname_r(fd, name, sizeof name) != 0)
		return err_system(err, errno, "use another --console", "cannot set the pty up");
	console->slave_fd = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (console->slave_fd < 0 || tcgetattr(console->slave_fd, &raw) < 0)
		return err_system(err, errno, "use another --console", "cannot open %s", name);
	/* Until a program opens the pty, nothing may be echoed back to the guest. */
	cfmakeraw(&raw);
	tcsetattr(console->slave_fd, TCSANOW, &raw);
	log_say("the console is at %s", name);
	console_attach(console, fd, fd);
	return true;
}

static bool console_open_unix(struct console *console, struct err *err)
{
	console->listen_fd = listen_unix(console->path, "console socket", &console->identity, err);
	if (console->listen_fd < 0)
		return false;
	ev_io_set(&console->accept_watch, console->listen_fd, EV_READ);
	watch_start(&console->watch, &console->accept_watch);
	return true;
}

static bool console_open(struct console *console, struct err *err)
{
	switch (console->kind) {
	case CONSOLE_STDIO: return console_open_stdio(console, err);
	case CONSOLE_FILE: return console_open_file(console, err);
	case CONSOLE_PTY: return console_open_pty(console, err);
	case CONSOLE_UNIX: return console_open_unix(console, err);
	case CONSOLE_NONE: break;
	}
	console->discard = true;
	return true;
}

struct console *console_create(struct ev_loop *loop, const struct options *options,
    struct spapr *machine, void (*on_escape)(void *context), void *context, struct err *err)
{
	struct console *console = calloc(1, sizeof *console);

	if (console == NULL) {
		err_system(err, ENOMEM, NULL, "cannot create the console");
		return NULL;
	}
	console->loop = loop;
	watch_init(&console->watch, loop);
	console->machine = machine;
	console->kind = options->console;
	console->on_escape = on_escape;
	console->context = context;
	console->in_fd = console->out_fd = console->listen_fd = console->slave_fd = -1;
	snprintf(console->path, sizeof console->path, "%s", options->console_path);
	ev_init(&console->in_watch, console_on_readable);
	ev_init(&console->out_watch, console_on_writable);
	ev_init(&console->accept_watch, console_on_client);
	ev_timer_init(&console->again, console_on_again, 0., 0.);
	console->in_watch.data = console->out_watch.data = console;
	console->accept_watch.data = console->again.data = console;
	if (console_open(console, err))
		return console;
	console_destroy(console);
	return NULL;
}

/* The last lines of a guest show why it ended. */
static void console_drain(struct console *console)
{
	uint64_t now_ms = clock_ms(), until_ms = now_ms + LAST_WORDS_MS;

	console_flush(console);
	while (console->out_length > 0 && console->out_fd >= 0 && now_ms < until_ms) {
		struct pollfd end = {.fd = console->out_fd, .events = POLLOUT};

		poll(&end, 1, (int)(until_ms - now_ms));
		console_flush(console);
		now_ms = clock_ms();
	}
	if (console->out_length > 0 && console->out_fd >= 0)
		log_line(LOG_WARN, "console: output is not read, %llu bytes dropped",
		    (unsigned long long)console->dropped + console->out_length);
}

void console_destroy(struct console *console)
{
	if (console == NULL)
		return;
	/* A pty may have no reader at all. */
	if (console->kind != CONSOLE_PTY)
		console_drain(console);
	ev_timer_stop(console->loop, &console->again);
	watch_finish(&console->watch);
	ev_io_stop(console->loop, &console->accept_watch);
	ev_io_stop(console->loop, &console->in_watch);
	ev_io_stop(console->loop, &console->out_watch);
	terminal_restore();
	if (console->kind == CONSOLE_UNIX)
		console_close_peer(console);
	if (console->own_in && console->in_fd >= 0)
		close(console->in_fd);
	if (console->own_out && console->out_fd >= 0)
		close(console->out_fd);
	if (console->slave_fd >= 0)
		close(console->slave_fd);
	if (console->listen_fd >= 0)
		close(console->listen_fd);
	listen_unlink(console->path, &console->identity);
	free(console);
}
