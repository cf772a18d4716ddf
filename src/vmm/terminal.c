/* SPDX-License-Identifier: Apache-2.0 */
/* terminal.c - see terminal.h. */
#include "vmm/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/log.h"

#define ESCAPE 0x01 /* Ctrl-A */

/* What has to be put back. Static, because a fatal signal's handler is given nothing. */
static struct {
	volatile sig_atomic_t raw;
	struct termios saved;
	volatile sig_atomic_t flags_changed[2]; /* of standard input and output */
	int saved_flags[2];
} terminal;

bool terminal_in_foreground(int fd)
{
	pid_t group = tcgetpgrp(fd);

	return group < 0 || group == getpgrp();
}

int terminal_open_standard(int fd, int access, bool *ret_own)
{
	struct stat status;
	char name[32];
	int flags, own;

	*ret_own = false;
	if (fstat(fd, &status) < 0)
		return -1;
	if (!S_ISCHR(status.st_mode) && !S_ISFIFO(status.st_mode))
		return fd;
	snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
	own = open(name, access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (own >= 0) {
		*ret_own = true;
		return own;
	}
	flags = fcntl(fd, F_GETFL);
	if (flags >= 0 && (flags & O_NONBLOCK) == 0) {
		terminal.saved_flags[fd] = flags;
		terminal.flags_changed[fd] = 1;
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	}
	return fd;
}

/* Output processing stays: our own lines need it. */
void terminal_make_raw(void)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &terminal.saved) < 0) {
		log_line(
		    LOG_WARN, "console: cannot read the terminal's modes: %s", strerror(errno));
		return;
	}
	raw = terminal.saved;
	raw.c_iflag &= ~(tcflag_t)(BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
	raw.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	terminal.raw = 1;
	if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0) {
		log_line(LOG_WARN, "console: the terminal stays as it is: %s", strerror(errno));
		terminal.raw = 0;
	}
}

void terminal_restore(void)
{
	for (int fd = 0; fd < 2; fd++) {
		if (!terminal.flags_changed[fd])
			continue;
		terminal.flags_changed[fd] = 0;
		fcntl(fd, F_SETFL, terminal.saved_flags[fd]);
	}
	if (!terminal.raw)
		return;
	terminal.raw = 0;
	if (terminal_in_foreground(STDIN_FILENO))
		tcsetattr(STDIN_FILENO, TCSANOW, &terminal.saved);
}

enum terminal_escape terminal_escape_step(bool *escaped, unsigned char byte)
{
	if (!*escaped) {
		*escaped = byte == ESCAPE;
		return *escaped ? TERMINAL_SWALLOW : TERMINAL_SEND;
	}
	*escaped = false;
	switch (byte) {
	case ESCAPE: return TERMINAL_SEND;
	case 'x':
	case 'X': return TERMINAL_QUIT;
	case '?':
	case 'h': return TERMINAL_HELP;
	default: return TERMINAL_SWALLOW;
	}
}
