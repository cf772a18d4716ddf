// SPDX-License-Identifier: Apache-2.0
/*
 * agent_proxy.c - the lab agent's sessions that forward a UNIX socket.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* One direction: bytes read from one socket and not yet written to the other. */
struct lane {
	int from, to;
	bool ended;  /* end of input on `from` */
	bool closed; /* `to` has been shut down after that */
	bool broken; /* `to` has hung up: further input is discarded */
	struct queue q;
};

/* Forward as much as possible. A peer may send data before it hangs up, so a broken lane does not
 * end the other one. It is read to its end: TCP discards sent data if received data is left unread.
 */
static void lane_move(struct lane *lane, bool readable, bool writable)
{
	if (readable && !lane->ended && lane->q.len == 0) {
		ssize_t n = read(lane->from, lane->q.data, lane->q.size);
		if (n > 0)
			lane->q.len = (size_t)n;
		else if (n == 0 || (errno != EAGAIN && errno != EINTR))
			lane->ended = true;
		writable = true;
	}
	if (writable && lane->q.len > 0) {
		ssize_t n = write(lane->to, lane->q.data + lane->q.start, lane->q.len);
		lane->broken |= n < 0 && errno != EAGAIN && errno != EINTR;
		queue_drop(&lane->q, lane->broken ? lane->q.len : n > 0 ? (size_t)n : 0);
	}
	if (lane->ended && !lane->closed && lane->q.len == 0) {
		shutdown(lane->to, SHUT_WR);
		lane->closed = true;
	}
}

static short lane_wants(const struct lane *lane, short event)
{
	if (lane->q.len > 0)
		return event & POLLOUT;
	return lane->ended ? 0 : event & POLLIN;
}

void proxy_run(int client, const char *path)
{
	static uint8_t up_bytes[65536], down_bytes[65536];
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof addr.sun_path)
		refuse(client, "%s: path too long for a socket", path);
	strcpy(addr.sun_path, path);
	int target = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (target < 0 || connect(target, (struct sockaddr *)&addr, sizeof addr) < 0)
		refuse(client, "%s: %s", path, strerror(errno));
	reply(client, 'k', "");
	fcntl(client, F_SETFL, O_NONBLOCK);
	fcntl(target, F_SETFL, O_NONBLOCK);
	struct lane up = {.from = client, .to = target};
	struct lane down = {.from = target, .to = client};
	up.q = (struct queue){.data = up_bytes, .size = sizeof up_bytes};
	down.q = (struct queue){.data = down_bytes, .size = sizeof down_bytes};
	while (!(up.closed && (down.closed || down.broken))) {
		short client_events = lane_wants(&up, POLLIN) | lane_wants(&down, POLLOUT);
		short target_events = lane_wants(&down, POLLIN) | lane_wants(&up, POLLOUT);
		/* Leave out a socket without wanted events: poll() would return at once for
		 * POLLHUP. */
		struct pollfd p[2] = {
		    {client_events ? client : -1, client_events, 0},
		    {target_events ? target : -1, target_events, 0},
		};
		if (poll(p, 2, -1) < 0)
			continue;
		lane_move(&up, p[0].revents != 0, p[1].revents != 0);
		lane_move(&down, p[1].revents != 0, p[0].revents != 0);
	}
	_exit(0);
}
