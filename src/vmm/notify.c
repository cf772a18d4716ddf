/* SPDX-License-Identifier: Apache-2.0 */
/* notify.c - see notify.h. */
#include "vmm/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void notify_say(const struct notify *notify, const char *text)
{
	if (notify->fd > 0)
		send(notify->fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void notify_on_watchdog(struct ev_loop *loop, ev_timer *watcher, int events)
{
	notify_say(watcher->data, "WATCHDOG=1");
}

/* In seconds; 0: none is set, or it is another process's. */
static double notify_read_watchdog(void)
{
	const char *period = getenv("WATCHDOG_USEC"), *process = getenv("WATCHDOG_PID");

	if (period == NULL || (process != NULL && strtol(process, NULL, 10) != getpid()))
		return 0;
	return (double)strtoull(period, NULL, 10) / 1e6;
}

/* A path, or with '@' a name of the abstract kind. */
static bool notify_connect(struct notify *notify, const char *path, struct err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = strlen(path);
	socklen_t bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);

	if ((path[0] != '/' && path[0] != '@') || length >= sizeof address.sun_path)
		return err_set(err, ERR_USAGE, "unset it, if no service manager has started us",
		    "NOTIFY_SOCKET \"%.64s\" is not the name of a socket", path);
	memcpy(address.sun_path, path, length);
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (notify->fd >= 0 && connect(notify->fd, (struct sockaddr *)&address, bytes) == 0)
		return true;
	return err_system(err, errno, "unset it, if no service manager has started us",
	    "cannot connect to NOTIFY_SOCKET %s", path);
}

bool notify_open(struct notify *notify, struct err *err)
{
	const char *path = getenv("NOTIFY_SOCKET");
	bool good = path == NULL || path[0] == '\0' || notify_connect(notify, path, err);

	notify->watchdog_s = notify_read_watchdog();
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	return good;
}

void notify_ready(struct notify *notify, struct ev_loop *loop)
{
	notify_say(notify, "READY=1\nSTATUS=running");
	if (notify->fd <= 0 || notify->watchdog_s <= 0)
		return;
	/* Twice as often as is asked for, as the protocol recommends. */
	notify->loop = loop;
	ev_timer_init(&notify->watchdog, notify_on_watchdog, 0., notify->watchdog_s / 2);
	notify->watchdog.data = notify;
	ev_timer_again(loop, &notify->watchdog);
}

void notify_state(const struct notify *notify, const char *state)
{
	char text[64];

	snprintf(text, sizeof text, "STATUS=%s", state);
	notify_say(notify, text);
}

void notify_stopping(const struct notify *notify)
{
	notify_say(notify, "STOPPING=1");
}

void notify_close(struct notify *notify)
{
	if (notify->loop != NULL)
		ev_timer_stop(notify->loop, &notify->watchdog);
	if (notify->fd > 0)
		close(notify->fd);
}
