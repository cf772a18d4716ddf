/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client.c - see client.h.
 *
 * The framer cuts a client's bytes into requests. client_request() parses one and has command.c
 * carry it out. The reply goes to the client's output, which the socket takes as fast as the client
 * reads.
 *
 * A client whose connection breaks while it is in use is only closed; clients_reap() frees it when
 * no function that uses it is on the stack.
 */
#include "control/client.h"

#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/block.h"
#include "control/command.h"
#include "control/framer.h"
#include "control/json_out.h"
#include "control/netdev.h"
#include "control/output.h"

/* Deepest nesting of a request; checked before parsing, so that no parser need recurse deeper. */
#define DEPTH_MAX 64

/* How much is done for a client in one turn of the loop, in bytes of replies; a request counts as
 * REQUEST_COST besides. */
#define TURN_COST_MAX CONTROL_REQUEST_MAX
#define REQUEST_COST 1024

/* At most this much free memory is kept in the heap between two turns. It is twice what malloc
 * extends the heap by (M_TOP_PAD): with less, each request would shrink and extend the heap. */
#define FREE_BYTES_MAX ((size_t)256 << 10)

struct client {
	ev_io reading, writing;
	struct clients *clients;
	int process; /* its pid, for the log */
	struct session session;
	bool input_closed; /* it will send no more */
	bool yielded;      /* has used up its turn; clients_turn() goes on with it */
	bool closing;      /* to be closed once its output is sent */
	bool closed;
	struct framer input;
	struct output output;
};

/* Whom the bus makes events for. */
static void clients_count_listeners(struct clients *clients)
{
	struct bus *bus = clients->bus;

	bus->listeners = bus->subscribers = 0;
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		const struct client *client = clients->slots[i];

		if (client == NULL || client->closed || !client->session.negotiated)
			continue;
		bus->listeners++;
		bus->subscribers += client->session.subscribed;
	}
}

static void client_close(struct client *client)
{
	if (client->closed)
		return;
	ev_io_stop(client->clients->watch.loop, &client->reading);
	ev_io_stop(client->clients->watch.loop, &client->writing);
	close(client->reading.fd);
	if (client->session.passed_fd != 0)
		close(client->session.passed_fd);
	blocks_forget_session(client->clients->guest->blocks, &client->session);
	named_fds_forget_session(client->clients->guest->netdevs, &client->session);
	client->closed = true;
	clients_count_listeners(client->clients);
}

/* Close the connection of a client that would miss an event or a reply. */
static void client_drop(struct client *client, const char *reason)
{
	if (client->closed)
		return;
	log_guest(&client->clients->limit_dropped, LOG_WARN,
	    "control: client with pid %d disconnected: %s", client->process, reason);
	client_close(client);
}

/* --- Output -------------------------------------------------------------------------------- */

static void client_flush(struct client *client)
{
	if (!client->closed && !output_send(&client->output, client->writing.fd))
		client_close(client);
}

/* Queue an event; a client that has left too much unread is disconnected instead. */
static void client_queue_event(struct client *client, const char *text, size_t length)
{
	struct output *output = &client->output;

	if (output_events(output) + length + 2 > CONTROL_BACKLOG_MAX)
		client_flush(client);
	if (client->closed)
		return;
	if (output_events(output) + length + 2 > CONTROL_BACKLOG_MAX)
		client_drop(client, "it does not read");
	else if (!output_put(output, text, length) || !output_put_text(output, "\r\n"))
		client_drop(client, "out of memory");
}

/* The end of a reply or the greeting; good: there was memory for it. */
static void client_end_line(struct client *client, bool good)
{
	struct output *output = &client->output;

	if (good && output_put_text(output, "\r\n"))
		output->reply_left = output_left(output);
	else
		client_drop(client, "out of memory");
}

/* Queue an object, which is stolen. */
static void client_queue_json(struct client *client, json_t *object)
{
	client_end_line(client, output_put_json(&client->output, object));
	json_decref(object);
}

static void client_queue_error(struct client *client, const char *desc)
{
	client_queue_json(client, json_out_error("GenericError", desc, NULL));
}

/* Start and stop the watchers: writing if the socket has not taken all output, reading if a request
 * would be served. */
static void client_watch(struct client *client)
{
	struct watch *watch = &client->clients->watch;
	size_t left = output_left(&client->output);

	if (client->closed)
		return;
	if (left > 0 && client->output.allowed > 0)
		watch_start(watch, &client->writing);
	else
		ev_io_stop(watch->loop, &client->writing);
	if (!client->closing && !client->input_closed && left < CONTROL_REQUEST_MAX &&
	    client->input.scan == client->input.end)
		watch_start(watch, &client->reading);
	else
		ev_io_stop(watch->loop, &client->reading);
}

/* --- Events -------------------------------------------------------------------------------- */

/* Queue an event for clients that have subscribed, or for those that have not. NULL: it is lost.
 * The end of the turn sends what is queued. */
static void clients_queue_event(struct clients *clients, const json_t *event, bool subscribed)
{
	size_t length = 0;
	bool written = event == NULL; /* by the first client who gets it */

	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct client *client = clients->slots[i];

		if (client == NULL || client->closed || !client->session.negotiated ||
		    client->session.subscribed != subscribed)
			continue;
		if (!written)
			length = json_dumpb(
			    event, clients->scratch, sizeof clients->scratch, JSON_ENSURE_ASCII);
		written = true;
		/* A client that stays connected has missed no event. */
		if (length > 0 && length <= sizeof clients->scratch)
			client_queue_event(client, clients->scratch, length);
		else
			client_drop(client, "an event could not be sent");
	}
}

static void clients_queue_events(struct clients *clients)
{
	bool lost;
	json_t *events = bus_take(clients->bus, &lost), *event;
	size_t i;

	json_array_foreach (events, i, event) {
		clients_queue_event(clients, event, true);
		if (bus_reduce(event))
			clients_queue_event(clients, event, false);
	}
	json_decref(events);
	if (lost) {
		clients_queue_event(clients, NULL, true);
		clients_queue_event(clients, NULL, false);
	}
}

/* --- Requests ------------------------------------------------------------------------------ */

static void client_execute(struct client *client, json_t *request)
{
	bool before = client->session.negotiated;

	clients_queue_events(client->clients);
	if (client->closed)
		return;
	client_end_line(client,
	    command_execute(client->clients->guest, request, &client->session, &client->output));
	/* Some clients replace their reader after the reply to the negotiation, and lose what
	 * arrives together with it. So the rest is sent in the next turn of the loop. */
	if (client->session.negotiated && !before)
		client->output.allowed = output_left(&client->output);
	clients_count_listeners(client->clients);
	clients_queue_events(client->clients);
}

static void client_request(struct client *client, const struct request *request)
{
	char desc[JSON_ERROR_TEXT_LENGTH + 32];
	char *text = client->clients->scratch;
	json_error_t error;
	json_t *object = NULL;
	size_t length;

	client->clients->worked = true;
	length = parse_qmp_text(request->text, request->length, text);
	if (request->deepest > DEPTH_MAX)
		snprintf(desc, sizeof desc, "JSON parse error, nested deeper than %d", DEPTH_MAX);
	else if ((object = parse_json(text, length,
	              JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &error)) == NULL)
		snprintf(desc, sizeof desc, "JSON parse error, %s", error.text);

	if (object == NULL && request->deepest <= DEPTH_MAX &&
	    json_error_code(&error) == json_error_out_of_memory) {
		client_drop(client, "out of memory");
		return;
	}
	if (object == NULL) {
		/* Where the next request begins is unknown until the line ends. */
		client->input.skipping = request->line_lost;
		client_queue_error(client, desc);
	} else if (!json_is_object(object)) {
		client_queue_error(client, "QMP input must be a JSON object");
	} else {
		client_execute(client, object);
	}
	json_decref(object);
}

/* Carry out the requests received, as long as the client reads the replies. */
static void client_work(struct client *client)
{
	struct framer *input = &client->input;
	struct request request;
	size_t cost = 0, before, after;

	client->yielded = false;
	while (!client->closed && !client->closing) {
		if (output_left(&client->output) >= CONTROL_REQUEST_MAX)
			client_flush(client);
		if (output_left(&client->output) >= CONTROL_REQUEST_MAX)
			return; /* client_run() is called again when some of it is sent */
		if (cost >= TURN_COST_MAX) {
			client->yielded = true;
			watch_hurry(&client->clients->watch);
			break;
		}
		if (framer_next(input, &request)) {
			before = output_left(&client->output);
			client_request(client, &request);
			after = output_left(&client->output);
			cost += REQUEST_COST + (after > before ? after - before : 0);
			continue;
		}
		if (input->end - input->start == sizeof input->bytes) {
			client_queue_error(client, "The request is longer than 65536 bytes");
			client->closing = true;
			/* Events would delay the end. */
			client->session.negotiated = false;
			clients_count_listeners(client->clients);
		}
		break;
	}
	client_flush(client);
}

/* Continue with a client after input, output or a new turn. */
static void client_run(struct client *client)
{
	bool last;

	client_work(client);
	last = client->input_closed && client->input.scan == client->input.end;
	if (output_left(&client->output) == 0 && (client->closing || last))
		client_close(client);
	client_watch(client);
}

/* epoll has refused the descriptor: no event of this client would be noticed. */
static bool client_refused(struct client *client, int events)
{
	if ((events & EV_ERROR) == 0)
		return false;
	client_drop(client, "it cannot be watched");
	return true;
}

/* Keep the first of the descriptors that came with a message: for the command that takes it. The
 * one before it was not taken. */
static void client_take_fd(struct client *client, int fd)
{
	if (client->session.passed_fd != 0)
		close(client->session.passed_fd);
	client->session.passed_fd = fd;
}

static ssize_t client_receive(struct client *client, char *to, size_t room)
{
	enum { FDS_MAX = 4 };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control;
	struct iovec into = {to, room};
	struct msghdr message = {.msg_iov = &into,
	    .msg_iovlen = 1,
	    .msg_control = control.bytes,
	    .msg_controllen = sizeof control.bytes};
	ssize_t received = recvmsg(client->reading.fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	const struct cmsghdr *header = received < 0 ? NULL : CMSG_FIRSTHDR(&message);
	int fds[FDS_MAX];
	size_t count;

	if (header == NULL || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
		return received;
	count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	memcpy(fds, CMSG_DATA(header), count * sizeof(int));
	for (size_t i = 1; i < count; i++)
		close(fds[i]);
	if (count > 0)
		client_take_fd(client, fds[0]);
	return received;
}

static void client_on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct client *client = watcher->data;
	struct framer *input = &client->input;
	size_t room = framer_room(input);
	ssize_t received;

	if (client_refused(client, events))
		return;
	received = client_receive(client, input->bytes + input->end, room);
	if (received < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
		return;
	if (received < 0) {
		client_close(client);
		return;
	}
	input->end += (size_t)received;
	client->input_closed = received == 0;
	client_run(client);
}

static void client_on_writable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct client *client = watcher->data;

	if (!client_refused(client, events))
		client_run(client);
}

/* --- All clients --------------------------------------------------------------------------- */

static void client_destroy(struct client *client)
{
	client_close(client);
	free(client->output.bytes);
	free(client);
}

int client_process(int fd)
{
	struct ucred peer = {0};
	socklen_t length = sizeof peer;

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 ? peer.pid : 0;
}

static void clients_reap(struct clients *clients)
{
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		if (clients->slots[i] != NULL && clients->slots[i]->closed) {
			client_destroy(clients->slots[i]);
			clients->slots[i] = NULL;
			clients->worked = true;
		}
	}
}

/* One small block in use at the end of the heap keeps malloc from returning what a long request or
 * reply took, for as long as that block lives. */
static void clients_give_memory_back(struct clients *clients)
{
	if (clients->worked && mallinfo2().fordblks > FREE_BYTES_MAX)
		malloc_trim(0);
	clients->worked = false;
}

bool clients_add(struct clients *clients, int fd)
{
	struct client *client, **slot = clients->slots;

	clients_reap(clients);
	while (slot < clients->slots + CONTROL_CLIENTS_MAX && *slot != NULL)
		slot++;
	if (slot == clients->slots + CONTROL_CLIENTS_MAX)
		return false;
	client = calloc(1, sizeof *client);
	if (client == NULL) {
		log_guest(&clients->limit_memory, LOG_ERROR,
		    "control: out of memory, a client is turned away");
		close(fd);
		return true;
	}
	*slot = client;
	client->clients = clients;
	client->process = client_process(fd);
	client->output.allowed = SIZE_MAX;
	ev_io_init(&client->reading, client_on_readable, fd, EV_READ);
	ev_io_init(&client->writing, client_on_writable, fd, EV_WRITE);
	client->reading.data = client->writing.data = client;
	client_queue_json(client, json_pack("{s:{s:o, s:[]}}", "QMP", "version",
	                              json_out_version(false), "capabilities"));
	client_run(client);
	return true;
}

/* It has used up its last turn, or something is to be sent that does not wait for the socket. */
static bool client_has_work(const struct client *client)
{
	return client->yielded ||
	       (output_left(&client->output) > 0 && !ev_is_active(&client->writing));
}

void clients_turn(struct clients *clients)
{
	clients_queue_events(clients);
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct client *client = clients->slots[i];

		if (client == NULL || client->closed || !client_has_work(client))
			continue;
		if (client->output.allowed == 0)
			client->output.allowed = SIZE_MAX;
		client_run(client);
	}
	clients_reap(clients);
	clients_give_memory_back(clients);
}

void clients_init(
    struct clients *clients, struct ev_loop *loop, const struct guest *guest, struct bus *bus)
{
	watch_init(&clients->watch, loop);
	clients->guest = guest;
	clients->bus = bus;
}

void clients_finish(struct clients *clients)
{
	clients_queue_events(clients);
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		if (clients->slots[i] == NULL)
			continue;
		clients->slots[i]->output.allowed = SIZE_MAX;
		client_flush(clients->slots[i]);
		client_destroy(clients->slots[i]);
		clients->slots[i] = NULL;
	}
	watch_finish(&clients->watch);
}
