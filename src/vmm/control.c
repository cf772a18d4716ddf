/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.c - the control socket: who may connect, what is sent to whom, and what happens to
 * clients that do not behave.
 *
 * A client's bytes go through three stations. The framer (parse.c) cuts them into requests.
 * client_request() parses one and lets command.c answer. The answer goes to the client's output,
 * which the socket takes as fast as the client reads.
 *
 * No client can cost more than its share. Requests, nesting, clients and unread output are
 * bounded. An answer is as long as what it tells, but while a client does not read its answers
 * we read no more of its requests, so only events pile up behind the last; whoever leaves
 * CONTROL_BACKLOG_MAX of them is disconnected.
 *
 * A client found dead in the middle of something is only marked and closed; control_reap()
 * frees it at the next turn of the loop, when nobody can be holding it.
 */
#include "control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "vmm/command.h"
#include "vmm/listen.h"

/* Deepest nesting of a request; checked before parsing, so that no parser need recurse deeper. */
#define DEPTH_MAX 64

/* What may be done for a client before others have their turn: in bytes of replies, with so many
 * for each request. */
#define TURN_COST_MAX CONTROL_REQUEST_MAX
#define REQUEST_COST 1024

/* How long not to accept anybody when the process has no descriptor left. */
#define ACCEPT_PAUSE_S 0.5

struct output {
	char *bytes;
	size_t start, end, size;
	/* Up to the end of the last reply: events that are waiting do not count that. */
	size_t reply_left;
	/* How many bytes may be sent before the next turn of the loop. */
	size_t allowed;
};

struct client {
	ev_io reading, writing;
	struct control *control;
	int process; /* its pid, for the log */
	struct session session;
	bool input_closed; /* will send no more */
	bool yielded;      /* in favour of others; control->turn goes on with it */
	bool closing;      /* to be closed once its output is sent */
	bool closed;       /* is; control_reap() frees it */
	struct framer input;
	struct output output;
};

struct control {
	struct ev_loop *loop;
	struct vmm *vmm;
	ev_io listening;
	ev_timer accept_pause;
	ev_timer soon; /* see do_not_wait() */
	ev_prepare turn;
	struct client *clients[CONTROL_CLIENTS_MAX];
	/* Events of the request being carried out: they follow its reply. */
	json_t *held_events;
	struct log_limit limit_accept, limit_turned_away, limit_dropped;
	bool event_missed; /* one of these, because memory was out */
	bool executing;
	/* The last core reported gone, until it is added again: when an add and a removal of
	 * one core end together, DEVICE_DELETED is sent once. */
	uint32_t gone_drc_index;
	bool gone;
	struct listen_identity identity;
	char path[sizeof((struct sockaddr_un *)NULL)->sun_path];
	/* A request that is being parsed, or an event that is being sent. */
	char scratch[PARSE_QMP_TEXT_MAX(CONTROL_REQUEST_MAX)];
};

/* --- Output ------------------------------------------------------------------------------- */

static size_t output_left(const struct output *output)
{
	return output->end - output->start;
}

/* Room for length more bytes; false if memory is out. */
static bool output_reserve(struct output *output, size_t length)
{
	size_t size = output->size > 0 ? output->size : 4096;
	char *bytes;

	if (output->start > 0 && output->end + length > output->size) {
		memmove(output->bytes, output->bytes + output->start, output_left(output));
		output->end -= output->start;
		output->start = 0;
	}
	while (size < output->end + length)
		size *= 2;
	if (size == output->size)
		return true;
	bytes = realloc(output->bytes, size);
	if (bytes == NULL)
		return false;
	output->bytes = bytes;
	output->size = size;
	return true;
}

/* Append bytes; false if memory is out. */
static bool output_put(struct output *output, const char *text, size_t length)
{
	if (!output_reserve(output, length))
		return false;
	memcpy(output->bytes + output->end, text, length);
	output->end += length;
	return true;
}

static bool output_put_text(struct output *output, const char *text)
{
	return output_put(output, text, strlen(text));
}

/* Append any value; false if memory is out. (jansson's own buffers leave out what they have no
 * memory for.) */
static bool output_put_json(struct output *output, const json_t *value)
{
	size_t length = 1024, room;

	do {
		if (value == NULL || !output_reserve(output, length))
			return false;
		room = output->size - output->end;
		length = json_dumpb(
		    value, output->bytes + output->end, room, JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
		if (length == 0)
			return false;
	} while (length > room);
	output->end += length;
	return true;
}

static void client_close(struct client *client)
{
	if (client->closed)
		return;
	ev_io_stop(client->control->loop, &client->reading);
	ev_io_stop(client->control->loop, &client->writing);
	close(client->reading.fd);
	client->closed = true;
}

/* Send what the client takes without waiting. */
static void client_flush(struct client *client)
{
	struct output *output = &client->output;

	while (!client->closed && output_left(output) > 0 && output->allowed > 0) {
		size_t length = output_left(output);
		ssize_t sent;

		if (length > output->allowed)
			length = output->allowed;
		sent = send(client->writing.fd, output->bytes + output->start, length,
		    MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
			client_close(client);
		if (sent < 0)
			return;
		output->start += (size_t)sent;
		output->reply_left -=
		    (size_t)sent < output->reply_left ? (size_t)sent : output->reply_left;
		if (output->allowed != SIZE_MAX)
			output->allowed -= (size_t)sent;
	}
	/* Who has taken everything has no buffer: those who stay would hold on to the largest they
	 * ever needed. */
	if (output_left(output) == 0) {
		free(output->bytes);
		output->bytes = NULL;
		output->start = output->end = output->size = 0;
	}
}

/* One that is to know that it has missed something. */
static void drop_client(struct client *client, const char *reason)
{
	if (client->closed)
		return;
	log_guest(&client->control->limit_dropped, LOG_WARN,
	    "control: client with pid %d disconnected: %s", client->process, reason);
	client_close(client);
}

/* Queue an event; a client that has left too much unread is disconnected instead. */
static void client_queue_event(struct client *client, const char *text, size_t length)
{
	struct output *output = &client->output;

	if (output_left(output) - output->reply_left + length + 2 > CONTROL_BACKLOG_MAX)
		client_flush(client);
	if (client->closed)
		return;
	if (output_left(output) - output->reply_left + length + 2 > CONTROL_BACKLOG_MAX)
		drop_client(client, "it does not read");
	else if (!output_put(output, text, length) || !output_put_text(output, "\r\n"))
		drop_client(client, "out of memory");
}

static void client_end_line(struct client *client, bool good)
{
	struct output *output = &client->output;

	if (good && output_put_text(output, "\r\n"))
		output->reply_left = output_left(output);
	else
		drop_client(client, "out of memory"); /* not even an error could be sent */
}

/* Queue an object, which is stolen: a reply, or a greeting. */
static void client_queue_json(struct client *client, json_t *object)
{
	client_end_line(client, output_put_json(&client->output, object));
	json_decref(object);
}

static void client_queue_error(struct client *client, const char *desc)
{
	client_queue_json(client, command_error("GenericError", desc, NULL, NULL));
}

/* Append the items of a list, with what goes between them. */
static bool put_items(struct output *output, struct listing *listing)
{
	uint64_t written = 0;
	bool good = true;

	for (size_t i = 0; good && i < listing->count && written < listing->most; i++) {
		json_t *item = listing->item(listing, i);

		if (json_is_null(item))
			continue;
		good = (written++ == 0 || output_put_text(output, ", ")) &&
		       output_put_json(output, item);
		json_decref(item);
	}
	return good;
}

/* Queue a reply that returns a list. Its text alone is kept, of its items only one is there. */
static void client_queue_listing(struct client *client, struct listing *listing, const json_t *id)
{
	struct output *output = &client->output;
	bool good = output_put_text(output, "{\"return\": [") && put_items(output, listing) &&
	            output_put_text(output, "]");

	if (good && id != NULL)
		good = output_put_text(output, ", \"id\": ") && output_put_json(output, id);
	client_end_line(client, good && output_put_text(output, "}"));
}

/* Do not wait in the next round of the loop. */
static void do_not_wait(struct control *control)
{
	ev_timer_stop(control->loop, &control->soon);
	ev_timer_set(&control->soon, 0., 0.);
	ev_timer_start(control->loop, &control->soon);
}

/* If epoll refuses a descriptor, libev says so only after it has waited for all others. */
static void watch(struct control *control, ev_io *watcher, bool wanted)
{
	if (!wanted) {
		ev_io_stop(control->loop, watcher);
	} else if (!ev_is_active(watcher)) {
		ev_io_start(control->loop, watcher);
		do_not_wait(control);
	}
}

static void on_soon(struct ev_loop *loop, ev_timer *watcher, int events)
{
	(void)loop;
	(void)watcher;
	(void)events;
}

/* Decide what to wait for next. */
static void client_watch(struct client *client)
{
	struct control *control = client->control;
	size_t left = output_left(&client->output);

	if (client->closed)
		return;
	watch(control, &client->writing, left > 0 && client->output.allowed > 0);
	watch(control, &client->reading,
	    !client->closing && !client->input_closed && left < CONTROL_REQUEST_MAX &&
	        client->input.scan == client->input.end);
}

/* --- Requests ----------------------------------------------------------------------------- */

static void broadcast(struct control *control, json_t *event);

/* Send the events a request has caused, after its reply. */
static void release_events(struct control *control)
{
	json_t *held = control->held_events, *event;
	size_t i;

	control->held_events = NULL;
	json_array_foreach (held, i, event) {
		broadcast(control, event);
	}
	json_decref(held);
	if (control->event_missed)
		broadcast(control, NULL);
	control->event_missed = false;
}

static void client_execute(struct client *client, json_t *request)
{
	struct control *control = client->control;
	bool before = client->session.negotiated;
	struct listing listing;
	json_t *reply;

	control->executing = true;
	reply = command_execute(control->vmm, request, &client->session, &listing);
	control->executing = false;
	if (reply != NULL && listing.item != NULL)
		client_queue_listing(client, &listing, json_object_get(request, "id"));
	else
		client_queue_json(client, json_incref(reply));
	json_decref(reply);
	listing_finish(&listing);
	/* Some clients change their reader behind the reply to the negotiation, and lose what
	 * comes with it. So nothing does: the rest waits for the next turn of the loop. */
	if (client->session.negotiated && !before)
		client->output.allowed = output_left(&client->output);
	release_events(control);
}

static void client_request(struct client *client, const struct request *request)
{
	char desc[JSON_ERROR_TEXT_LENGTH + 32];
	char *text = client->control->scratch;
	json_error_t error;
	json_t *object = NULL;
	size_t length;

	length = parse_qmp_text(request->text, request->length, text);
	if (request->deepest > DEPTH_MAX)
		snprintf(desc, sizeof desc, "JSON parse error, nested deeper than %d", DEPTH_MAX);
	else if ((object = parse_json(text, length,
	              JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &error)) == NULL)
		snprintf(desc, sizeof desc, "JSON parse error, %s", error.text);

	if (object == NULL) {
		/* Where the next request begins is anybody's guess, until the line ends. */
		client->input.skipping = request->line_lost;
		client_queue_error(client, desc);
	} else if (!json_is_object(object)) {
		client_queue_error(client, "QMP input must be a JSON object");
	} else {
		client_execute(client, object);
	}
	json_decref(object);
}

/* One request of a client; what it has cost. */
static size_t client_work_once(struct client *client, const struct request *request)
{
	size_t before = output_left(&client->output), after;

	client_request(client, request);
	after = output_left(&client->output);
	return REQUEST_COST + (after > before ? after - before : 0);
}

/* Carry out what has been read, as long as the answers are read, too. */
static void client_work(struct client *client)
{
	struct framer *input = &client->input;
	struct request request;
	size_t cost = 0;

	client->yielded = false;
	while (!client->closed && !client->closing) {
		if (output_left(&client->output) >= CONTROL_REQUEST_MAX)
			client_flush(client);
		if (output_left(&client->output) >= CONTROL_REQUEST_MAX)
			return; /* client_run() comes again when some of it is sent */
		if (cost >= TURN_COST_MAX) {
			client->yielded = true;
			do_not_wait(client->control);
			break;
		}
		if (framer_next(input, &request)) {
			cost += client_work_once(client, &request);
			continue;
		}
		if (input->end - input->start == sizeof input->bytes) {
			client_queue_error(client, "The request is longer than 65536 bytes");
			client->closing = true;
			client->session.negotiated = false; /* or events would put the end off */
		}
		break;
	}
	client_flush(client);
}

/* Go on with a client after something has happened to it. */
static void client_run(struct client *client)
{
	bool last;

	client_work(client);
	last = client->input_closed && client->input.scan == client->input.end;
	if (output_left(&client->output) == 0 && (client->closing || last))
		client_close(client);
	client_watch(client);
}

/* The loop has no room for one more descriptor: we would not hear of this client again. */
static bool cannot_watch(struct client *client, int events)
{
	if ((events & EV_ERROR) == 0)
		return false;
	drop_client(client, "it cannot be watched");
	return true;
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct client *client = watcher->data;
	struct framer *input = &client->input;
	size_t room = framer_room(input);
	ssize_t received;

	(void)loop;
	if (cannot_watch(client, events))
		return;
	received = recv(watcher->fd, input->bytes + input->end, room, MSG_DONTWAIT);
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

static void on_writable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct client *client = watcher->data;

	(void)loop;
	if (!cannot_watch(client, events))
		client_run(client);
}

/* --- Clients ------------------------------------------------------------------------------ */

static void client_destroy(struct client *client)
{
	if (client == NULL)
		return;
	client_close(client);
	free(client->output.bytes);
	free(client);
}

/* For the log, which is to name who misbehaves. */
static int process_of(int fd)
{
	struct ucred peer = {0};
	socklen_t length = sizeof peer;

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 ? peer.pid : 0;
}

static void client_create(struct control *control, int fd, struct client **ret_slot)
{
	struct client *client = calloc(1, sizeof *client);

	if (client == NULL) {
		log_guest(&control->limit_turned_away, LOG_ERROR,
		    "control: out of memory, a client is turned away");
		close(fd);
		return;
	}
	client->control = control;
	client->process = process_of(fd);
	client->output.allowed = SIZE_MAX;
	ev_io_init(&client->reading, on_readable, fd, EV_READ);
	ev_io_init(&client->writing, on_writable, fd, EV_WRITE);
	client->reading.data = client->writing.data = client;
	*ret_slot = client;
	client_queue_json(client, json_pack("{s:{s:o, s:[]}}", "QMP", "version",
	                              command_version_json(false), "capabilities"));
	client_run(client);
}

/* Free the clients that are gone. Only where no client's function is on the stack. */
static void control_reap(struct control *control)
{
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		if (control->clients[i] != NULL && control->clients[i]->closed) {
			client_destroy(control->clients[i]);
			control->clients[i] = NULL;
		}
	}
}

/* Before the loop waits again: free the dead, let go of what was held back for this turn. */
static void on_turn(struct ev_loop *loop, ev_prepare *watcher, int events)
{
	struct control *control = watcher->data;

	(void)loop;
	(void)events;
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct client *client = control->clients[i];

		if (client == NULL || client->closed ||
		    (client->output.allowed > 0 && !client->yielded))
			continue;
		if (client->output.allowed == 0)
			client->output.allowed = SIZE_MAX;
		client_run(client);
	}
	control_reap(control);
}

/* Say why, if the client takes it at once, and hang up. */
static void turn_away(int fd)
{
	static const char line[] =
	    "{\"error\": {\"class\": \"GenericError\", \"desc\": \"Too many clients\"}}\r\n";

	if (send(fd, line, sizeof line - 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		log_line(LOG_DEBUG, "control: a client too many left before it was told");
	close(fd);
}

/* Clients wait meanwhile, in the socket's queue. */
static void pause_listening(struct control *control)
{
	log_guest(&control->limit_accept, LOG_WARN, "control: cannot accept: %s", strerror(errno));
	ev_io_stop(control->loop, &control->listening);
	ev_timer_start(control->loop, &control->accept_pause);
}

static void on_connection(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct control *control = watcher->data;
	int fd;

	(void)loop;
	if (events & EV_ERROR) {
		pause_listening(control);
		return;
	}
	fd = accept4(watcher->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		/* The connection stays readable while we cannot take it: do not spin on it. */
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			pause_listening(control);
		return;
	}
	/* Our own user and root may come in: they could stop the process anyway. */
	if (!listen_peer_allowed(fd)) {
		log_guest(&control->limit_turned_away, LOG_WARN,
		    "control: pid %d of another user is turned away", process_of(fd));
		close(fd);
		return;
	}
	control_reap(control);
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		if (control->clients[i] == NULL) {
			client_create(control, fd, &control->clients[i]);
			return;
		}
	}
	turn_away(fd);
}

static void on_accept_pause(struct ev_loop *loop, ev_timer *watcher, int events)
{
	struct control *control = watcher->data;

	(void)loop;
	(void)events;
	ev_timer_set(watcher, ACCEPT_PAUSE_S, 0.);
	watch(control, &control->listening, true);
}

/* --- Events ------------------------------------------------------------------------------- */

static bool is_listening(const struct client *client, bool subscribed)
{
	return client != NULL && !client->closed && client->session.negotiated &&
	       client->session.subscribed == subscribed;
}

static bool is_anybody_listening(const struct control *control, bool subscribed)
{
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		if (is_listening(control->clients[i], subscribed))
			return true;
	return false;
}

/* Send an event to those who have subscribed, or to those who have not. It is NULL if memory is
 * out. */
static void broadcast_to(struct control *control, const json_t *event, bool subscribed)
{
	size_t length = event != NULL ? json_dumpb(event, control->scratch, sizeof control->scratch,
	                                    JSON_ENSURE_ASCII)
	                              : 0;

	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct client *client = control->clients[i];

		if (!is_listening(client, subscribed))
			continue;
		/* One that is still there has missed nothing. */
		if (length > 0 && length <= sizeof control->scratch)
			client_queue_event(client, control->scratch, length);
		else
			drop_client(client, "an event could not be sent");
		client_watch(client);
	}
}

/* Changes the event. It is NULL if memory is out. */
static void broadcast(struct control *control, json_t *event)
{
	if (is_anybody_listening(control, true))
		broadcast_to(control, event, true);
	if (event != NULL && !command_reduce_event(event))
		return;
	if (is_anybody_listening(control, false))
		broadcast_to(control, event, false);
}

/* {"timestamp", "event", "data"}; data is stolen, and left out if it is empty. NULL if memory is
 * out. */
static json_t *event_json(const char *name, json_t *data)
{
	struct timespec now;
	json_t *event = NULL;

	clock_gettime(CLOCK_REALTIME, &now);
	if (data != NULL)
		event = json_pack("{s:{s:I, s:I}, s:s, s:O*}", "timestamp", "seconds",
		    (json_int_t)now.tv_sec, "microseconds", (json_int_t)(now.tv_nsec / 1000),
		    "event", name, "data", json_object_size(data) > 0 ? data : NULL);
	json_decref(data);
	return event;
}

/* Keep an event for after the reply of the request that is being carried out. */
static void hold_event(struct control *control, json_t *event)
{
	if (control->held_events == NULL)
		control->held_events = json_array();
	/* event is NULL if memory was out even before. */
	if (json_array_append(control->held_events, event) < 0)
		control->event_missed = true;
}

void control_event(struct control *control, const char *name, json_t *data)
{
	json_t *event;

	if (control == NULL) {
		json_decref(data);
		return;
	}
	event = event_json(name, data);
	if (control->executing)
		hold_event(control, event);
	else
		broadcast(control, event);
	json_decref(event);
}

/* The core has left the machine, by whatever way the operation ended. */
static bool is_gone(const struct operation *operation)
{
	if (operation->kind == OP_REMOVE)
		return operation->outcome == OP_DONE || operation->outcome == OP_SUPERSEDED;
	return operation->kind == OP_ADD &&
	       (operation->outcome == OP_REJECTED || operation->outcome == OP_CANCELLED);
}

static void report_gone(struct control *control, const struct operation *operation, json_t *data)
{
	if (control->gone && control->gone_drc_index == operation->drc_index) {
		json_decref(data);
		return;
	}
	control->gone = true;
	control->gone_drc_index = operation->drc_index;
	control_event(control, "DEVICE_DELETED", data);
}

void control_report(struct control *control, const struct operation *operation, enum op_step step)
{
	char path[sizeof "/machine/peripheral/" + OP_DEVICE_MAX];

	if (control == NULL)
		return;
	if (is_anybody_listening(control, true))
		control_event(control, "OPERATION",
		    json_pack("{s:o, s:s}", "operation", command_operation_json(operation), "step",
		        op_step_name(step)));
	if (step == OP_REQUESTED && operation->kind == OP_ADD &&
	    operation->drc_index == control->gone_drc_index)
		control->gone = false;
	if (step != OP_ENDED)
		return;

	snprintf(path, sizeof path, "/machine/peripheral/%s", operation->device);
	if (is_gone(operation))
		report_gone(control, operation,
		    json_pack("{s:s, s:s}", "device", operation->device, "path", path));
	else if (operation->kind == OP_REMOVE && operation->outcome == OP_REJECTED)
		control_event(control, "DEVICE_UNPLUG_GUEST_ERROR",
		    json_pack("{s:s, s:s, s:I, s:o}", "device", operation->device, "path", path,
		        "operation", (json_int_t)operation->id, "evidence",
		        command_evidence_json(operation)));
}

/* --- Coming and going --------------------------------------------------------------------- */

struct control *control_create(
    struct ev_loop *loop, const char *path, struct vmm *vmm, struct err *err)
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
	control->vmm = vmm;
	ev_io_init(&control->listening, on_connection, fd, EV_READ);
	ev_timer_init(&control->accept_pause, on_accept_pause, ACCEPT_PAUSE_S, 0.);
	ev_timer_init(&control->soon, on_soon, 0., 0.);
	ev_prepare_init(&control->turn, on_turn);
	control->listening.data = control->accept_pause.data = control->turn.data = control;
	watch(control, &control->listening, true);
	ev_prepare_start(loop, &control->turn);
	return control;
}

void control_destroy(struct control *control)
{
	if (control == NULL)
		return;
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		if (control->clients[i] == NULL)
			continue;
		control->clients[i]->output.allowed = SIZE_MAX;
		client_flush(control->clients[i]);
		client_destroy(control->clients[i]);
	}
	ev_io_stop(control->loop, &control->listening);
	ev_timer_stop(control->loop, &control->accept_pause);
	ev_timer_stop(control->loop, &control->soon);
	ev_prepare_stop(control->loop, &control->turn);
	close(control->listening.fd);
	listen_unlink(control->path, &control->identity);
	free(control);
}
