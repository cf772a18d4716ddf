/* SPDX-License-Identifier: Apache-2.0 */
/* control.c - see control.h. Here connections are accepted; client.c serves them. */
#include "control/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "control/client.h"
#include "control/listen.h"

/* How long to accept no client when the process has no descriptor left. */
#define ACCEPT_PAUSE_S 0.5

struct control {
	struct ev_loop *loop;
	ev_io listening;
	ev_timer accept_pause;
	ev_prepare turn;
	struct log_limit limit_accept, limit_turned_away;
	struct listen_identity identity;
	char path[sizeof((struct sockaddr_un *)NULL)->sun_path];
	struct clients clients;
};

/* Before the loop waits again. */
static void control_on_turn(struct ev_loop *loop, ev_prepare *watcher, int events)
{
	struct control *control = watcher->data;

	clients_turn(&control->clients);
}

/* Send the reason, if the client takes it without waiting, and close. */
static void control_turn_away(int fd)
{
	static const char line[] =
	    "{\"error\": {\"class\": \"GenericError\", \"desc\": \"Too many clients\"}}\r\n";

	if (send(fd, line, sizeof line - 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		log_line(LOG_DEBUG, "control: a client too many left before it was told");
	close(fd);
}

/* Clients wait meanwhile, in the socket's queue. */
static void control_pause(struct control *control)
{
	log_guest(&control->limit_accept, LOG_WARN, "control: cannot accept: %s", strerror(errno));
	ev_io_stop(control->loop, &control->listening);
	ev_timer_start(control->loop, &control->accept_pause);
}

static void control_on_connection(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct control *control = watcher->data;
	int fd;

	if (events & EV_ERROR) {
		control_pause(control);
		return;
	}
	fd = accept4(watcher->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		/* The connection stays readable while it cannot be accepted: do not spin on it. */
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			control_pause(control);
		return;
	}
	/* Our own user and root may come in: they could stop the process anyway. */
	if (!listen_peer_allowed(fd)) {
		log_guest(&control->limit_turned_away, LOG_WARN,
		    "control: pid %d of another user is turned away", client_process(fd));
		close(fd);
		return;
	}
	if (!clients_add(&control->clients, fd))
		control_turn_away(fd);
}

static void control_on_pause_end(struct ev_loop *loop, ev_timer *watcher, int events)
{
	struct control *control = watcher->data;

	ev_timer_set(watcher, ACCEPT_PAUSE_S, 0.);
	watch_start(&control->clients.watch, &control->listening);
}

struct control *control_create(struct ev_loop *loop, const char *path, const struct guest *guest,
    struct bus *bus, struct err *err)
{
	struct control *control = calloc(1, sizeof *control);
	int fd;

	if (control == NULL) {
		err_system(err, ENOMEM, NULL, "control socket");
		return NULL;
	}
	fd = strcmp(path, LISTEN_SYSTEMD) == 0
	         ? listen_passed("control socket", err)
	         : listen_unix(path, "control socket", &control->identity, err);
	if (fd < 0) {
		free(control);
		return NULL;
	}
	snprintf(control->path, sizeof control->path, "%s", path);
	control->loop = loop;
	clients_init(&control->clients, loop, guest, bus);
	ev_io_init(&control->listening, control_on_connection, fd, EV_READ);
	ev_timer_init(&control->accept_pause, control_on_pause_end, ACCEPT_PAUSE_S, 0.);
	ev_prepare_init(&control->turn, control_on_turn);
	control->listening.data = control->accept_pause.data = control->turn.data = control;
	watch_start(&control->clients.watch, &control->listening);
	ev_prepare_start(loop, &control->turn);
	return control;
}

void control_destroy(struct control *control)
{
	if (control == NULL)
		return;
	clients_finish(&control->clients);
	ev_io_stop(control->loop, &control->listening);
	ev_timer_stop(control->loop, &control->accept_pause);
	ev_prepare_stop(control->loop, &control->turn);
	close(control->listening.fd);
	listen_unlink(control->path, &control->identity);
	free(control);
}

void control_close_files(const struct guest *guest)
{
	for (size_t i = 0; i < BLOCKS_MAX; i++) {
		const struct fdset *set = &guest->blocks->sets[i];

		if (set->present && !set->taken)
			close(set->fd);
		if (guest->blocks->nodes[i].name[0] != '\0')
			close(guest->blocks->nodes[i].fd);
	}
	for (size_t i = 0; i < NETDEVS_MAX; i++) {
		const struct netdev *netdev = &guest->netdevs->list[i];

		if (guest->netdevs->fds[i].name[0] != '\0')
			close(guest->netdevs->fds[i].fd);
		for (unsigned j = 0; netdev->id[0] != '\0' && j < netdev->fd_count; j++)
			close(netdev->fds[j]);
	}
	for (size_t i = 0; i < CHARDEVS_MAX; i++)
		if (guest->chardevs->list[i].id[0] != '\0' && guest->chardevs->list[i].fd >= 0)
			close(guest->chardevs->list[i].fd);
}
