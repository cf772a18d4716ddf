/* SPDX-License-Identifier: Apache-2.0 */
/*
 * operator.c - the operator of a run: says on the control socket and types on the console what
 * the scenario wants, and insists on a right answer whatever fails behind it.
 *
 * A request may be answered with an error, or the connection may be lost; then something must
 * have failed, an error must have left everything as it was, and the same request must do when
 * asked again. If all of a kind of calls fail from some moment on, the operator may give up: a
 * signal then has to end the program.
 */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "operator.h"

/* How long to wait for what may well not come, because calls fail for good. Too short is no harm:
 * the operator gives up before it would have had to. */
#define SHORT_MS 60

bool is_over(const struct person *person)
{
	return atomic_load(&person->run->ended);
}

bool has_fired(const struct person *person)
{
	return person->run->report.fired != NULL;
}

int attempts(const struct person *person)
{
	return person->run->mode == FAULT_FOR_GOOD && has_fired(person) ? 1 : ATTEMPTS;
}

static int patience_ms(const struct person *person)
{
	return person->run->mode == FAULT_FOR_GOOD && has_fired(person) ? SHORT_MS : DEADLINE_MS;
}

/* Until fd can be read or the program has ended; false if it has, or if it takes for ever. */
static bool wait_for(struct person *person, int fd, const char *what)
{
	struct pollfd fds[] = {
	    {.fd = fd, .events = POLLIN}, {.fd = person->run->over, .events = POLLIN}};
	int ready = poll(fds, 2, patience_ms(person));

	/* If calls fail for good, there may be no answer; see ends_by_itself(). */
	if (ready == 0 && person->run->mode != FAULT_FOR_GOOD)
		complain(person->run, "%s: nothing happens", what);
	return ready > 0 && fds[0].revents != 0;
}

/* A program that cannot be spoken to is likely to end. Only if calls fail for good it may be
 * necessary to help. */
static bool ends_by_itself(const struct person *person)
{
	struct pollfd over = {.fd = person->run->over, .events = POLLIN};

	return poll(&over, 1, patience_ms(person)) == 1;
}

/* --- The control socket ------------------------------------------------------------------ */

static void hang_up(struct person *person)
{
	if (person->control >= 0)
		close(person->control);
	person->control = -1;
	person->have = 0;
}

/* The next message; NULL if the connection is lost. */
static json_t *read_message(struct person *person, const char *what)
{
	json_t *message = NULL;
	char *end;

	while ((end = memchr(person->line, '\n', person->have)) == NULL) {
		ssize_t got = -1;

		if (wait_for(person, person->control, what) || is_over(person))
			got = recv(person->control, person->line + person->have,
			    sizeof person->line - person->have, MSG_DONTWAIT);
		if (got <= 0) {
			hang_up(person);
			return NULL;
		}
		person->have += (size_t)got;
	}
	message = json_loadb(person->line, (size_t)(end - person->line), 0, NULL);
	if (message == NULL)
		complain(person->run, "%s: not JSON: %.*s", what, (int)(end - person->line),
		    person->line);
	person->have -= (size_t)(end + 1 - person->line);
	memmove(person->line, end + 1, person->have);
	return message;
}

/* With a descriptor, if there is one to pass. */
static bool send_request(const struct person *person, const char *request)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.bytes = {0}};
	struct iovec part = {(void *)(uintptr_t)request, strlen(request)};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

	if (person->pass >= 0) {
		control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)),
		    .cmsg_level = SOL_SOCKET,
		    .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(&control.header), &person->pass, sizeof(int));
		message.msg_control = &control;
		message.msg_controllen = sizeof control.bytes;
	}
	return sendmsg(person->control, &message, MSG_NOSIGNAL) >= 0;
}

json_t *ask_once(struct person *person, const char *request)
{
	json_t *message;

	if (!send_request(person, request)) {
		hang_up(person);
		return NULL;
	}
	while ((message = read_message(person, request)) != NULL) {
		if (json_object_get(message, "event") == NULL)
			return message;
		json_array_append_new(person->events, message);
	}
	return NULL;
}

static bool connect_once(struct person *person)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "control"};
	json_t *reply = NULL;

	person->control = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(person->control, (struct sockaddr *)&address, sizeof address) == 0) {
		json_decref(read_message(person, "the greeting"));
		if (person->control >= 0)
			reply = ask_once(person, "{\"execute\": \"qmp_capabilities\"}\n");
		if (json_object_get(reply, "return") != NULL) {
			json_decref(reply);
			reply = ask_once(person, "{\"execute\": \"events-subscribe\"}\n");
		}
		if (person->named >= 0 && json_object_get(reply, "return") != NULL) {
			int passed = person->pass;

			json_decref(reply);
			person->pass = person->named;
			reply = ask_once(person, GETFD);
			person->pass = passed;
		}
	}
	if (json_object_get(reply, "return") == NULL)
		hang_up(person);
	json_decref(reply);
	return person->control >= 0;
}

bool reach(struct person *person)
{
	for (int i = 0; i < attempts(person) && person->control < 0 && !is_over(person); i++)
		if (!connect_once(person) && !has_fired(person) && !is_over(person))
			complain(person->run, "the control socket cannot be reached");
	return person->control >= 0;
}

/* What is not the same twice. */
static void strip_times(json_t *value)
{
	const char *key;
	json_t *member;
	size_t i;

	json_object_del(value, "ms-ago");
	json_object_del(value, "elapsed-ms");
	json_object_foreach (value, key, member) {
		strip_times(member);
	}
	json_array_foreach (value, i, member) {
		strip_times(member);
	}
}

/* All that a failed request must leave alone; NULL if it cannot be found out. */
static json_t *snapshot(struct person *person)
{
	static const char *const queries[] = {"{\"execute\": \"query-connectors\"}\n",
	    "{\"execute\": \"query-operations\"}\n", "{\"execute\": \"query-status\"}\n",
	    "{\"execute\": \"query-netdevs\"}\n"};
	json_t *list = json_array(), *reply;
	int passed = person->pass;

	person->pass = -1;
	fault_pause(true);
	for (size_t i = 0; list != NULL && i < sizeof queries / sizeof queries[0]; i++) {
		reply = reach(person) ? ask_once(person, queries[i]) : NULL;
		strip_times(reply);
		if (reply == NULL || json_array_append_new(list, reply) != 0) {
			json_decref(list);
			list = NULL;
		}
	}
	fault_pause(false);
	person->pass = passed;
	return list;
}

/* What an error reply says; empty if it is none. */
static const char *error_text(const json_t *reply)
{
	const char *text =
	    json_string_value(json_object_get(json_object_get(reply, "error"), "desc"));

	return text != NULL ? text : "";
}

static void check_unchanged(
    struct person *person, const char *request, const json_t *before, const json_t *reply)
{
	json_t *after;
	char *was, *is;

	if (before == NULL || person->run->mode != FAULT_ONCE)
		return;
	after = snapshot(person);
	if (after != NULL && !json_equal(before, after)) {
		was = json_dumps(before, JSON_SORT_KEYS);
		is = json_dumps(after, JSON_SORT_KEYS);
		complain(person->run, "%s: answered with an error (%s), and it has changed\n%s\n%s",
		    request, error_text(reply), was, is);
		free(was);
		free(is);
	}
	json_decref(after);
}

/* Ask until it is answered well: what it returns; NULL if it will not be. When the connection
 * was lost and a change had been made, JSON's null. */
static json_t *ask(struct person *person, enum kind kind, const char *request)
{
	json_t *reply = NULL, *value = NULL, *before = NULL;

	for (int i = 0; i < attempts(person) && value == NULL && reach(person); i++) {
		json_decref(before);
		json_decref(reply);
		reply = NULL;
		before = kind == CHANGES ? snapshot(person) : NULL;
		if (!reach(person))
			break;
		reply = ask_once(person, request);
		value = json_object_get(reply, "return");
		if (value != NULL)
			break;
		if (!has_fired(person) && !is_over(person))
			complain(person->run, "%s: fails, and nothing has failed: %s", request,
			    reply != NULL ? json_dumps(reply, 0) : "the connection is lost");
		/* Every request here is JSON: if there is no memory to parse it, the connection is
		 * closed. */
		if (strstr(error_text(reply), "JSON parse error") != NULL)
			complain(person->run, "%s: %s", request, error_text(reply));
		if (reply != NULL) {
			check_unchanged(person, request, before, reply);
		} else if (kind == CHANGES && before != NULL) {
			json_t *after = snapshot(person);

			if (after != NULL && !json_equal(before, after))
				value = json_null();
			json_decref(after);
		}
	}
	if (value == NULL && !ends_by_itself(person) && person->run->mode != FAULT_FOR_GOOD)
		complain(person->run, "%s: no success in %d attempts", request, ATTEMPTS);
	json_incref(value);
	json_decref(reply);
	json_decref(before);
	return value;
}

bool do_ask(struct person *person, enum kind kind, const char *request)
{
	json_t *value = ask(person, kind, request);

	json_decref(value);
	return value != NULL;
}

/* --- Operations -------------------------------------------------------------------------- */

static json_t *find_operation(struct person *person, json_int_t id)
{
	char request[128];
	json_t *list, *found;

	if (id > 0)
		snprintf(request, sizeof request,
		    "{\"execute\": \"query-operations\", \"arguments\": {\"id\": %d}}\n", (int)id);
	else
		snprintf(request, sizeof request, "{\"execute\": \"query-operations\"}\n");
	list = ask(person, LOOKS, request);
	found = json_incref(json_array_get(list, json_array_size(list) - 1));
	json_decref(list);
	return found;
}

/* How an operation ended, from its event; NULL if the connection is lost before. That there
 * is no event while it is not, is a complaint of wait_for(). The caller frees it. */
static char *wait_outcome(struct person *person, json_int_t id)
{
	for (;;) {
		json_t *event, *data, *operation;
		char *outcome = NULL;

		while (json_array_size(person->events) == 0) {
			event = person->control >= 0
			            ? read_message(person, "the end of an operation")
			            : NULL;
			if (event == NULL)
				return NULL;
			json_array_append_new(person->events, event);
		}
		data = json_object_get(json_array_get(person->events, 0), "data");
		operation = json_object_get(data, "operation");
		if (json_integer_value(json_object_get(operation, "id")) == id &&
		    strcmp(json_string_value(json_object_get(data, "step")), "ended") == 0)
			outcome = strdup(json_string_value(json_object_get(operation, "outcome")));
		json_array_remove(person->events, 0);
		if (outcome != NULL)
			return outcome;
	}
}

/* A request that begins an operation, and its end, which must be good. */
bool operate(struct person *person, const char *request)
{
	json_t *value = ask(person, CHANGES, request), *operation;
	json_int_t id = json_integer_value(json_object_get(value, "operation"));
	bool lost = id == 0, begun = value != NULL;
	char *outcome = NULL;

	json_decref(value);
	while (begun && outcome == NULL) {
		if (!lost)
			outcome = wait_outcome(person, id);
		lost = false;
		if (outcome != NULL)
			break;
		/* A reply that was lost named it; it is the last. */
		fault_pause(true);
		operation = find_operation(person, id);
		fault_pause(false);
		if (operation == NULL)
			return false;
		id = json_integer_value(json_object_get(operation, "id"));
		outcome = strdup(json_string_value(json_object_get(operation, "outcome")));
		json_decref(operation);
		if (strcmp(outcome, "pending") == 0) {
			free(outcome);
			outcome = NULL;
		}
	}
	/* Superseded is how the program settles what is pending when it ends. */
	if (outcome != NULL && strcmp(outcome, "superseded") == 0 && has_fired(person))
		begun = false;
	else if (outcome != NULL && strcmp(outcome, "done") != 0)
		complain(person->run, "%s: ended %s", request, outcome);
	free(outcome);
	return begun;
}

/* --- The console ------------------------------------------------------------------------- */

/* The console may have lost what was to be written, or its terminal, and has said so. */
static bool is_excused(const struct person *person)
{
	static const char *const names[] = {
	    "write", "read", "isatty", "tcgetattr", "tcsetattr", "tcgetpgrp"};

	for (size_t i = 0; has_fired(person) && i < sizeof names / sizeof names[0]; i++)
		if (strcmp(person->run->report.fired, names[i]) == 0)
			return true;
	return false;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* True if what there is to read has this letter in it. */
static bool hears(int fd, char said)
{
	char text[256];
	ssize_t got = read(fd, text, sizeof text);

	return got > 0 && memchr(text, said, (size_t)got) != NULL;
}

/* Type a letter until the guest has said the other. What a failure has lost is typed again. */
static bool converse(struct person *person, int fd, char typed, char said)
{
	int64_t until = now_ms() + patience_ms(person), again = 0;

	while (!is_excused(person) && !is_over(person) && now_ms() < until) {
		struct pollfd fds[] = {
		    {.fd = fd, .events = POLLIN}, {.fd = person->run->over, .events = POLLIN}};

		if (typed != '\0' && now_ms() >= again) {
			if (write(fd, &typed, 1) != 1)
				return false;
			again = has_fired(person) ? now_ms() + 100 : until;
		}
		if (poll(fds, 2, 100) > 0 && fds[0].revents != 0) {
			if (hears(fd, said))
				return true;
			if ((fds[0].revents & POLLIN) == 0)
				return false; /* hung up */
		}
		if (has_fired(person) && again == until)
			again = 0;
	}
	if (!is_excused(person) && !is_over(person) && person->run->mode != FAULT_FOR_GOOD)
		complain(person->run, "the guest does not say '%c'", said);
	return is_excused(person);
}

/* --- Scenarios --------------------------------------------------------------------------- */

bool begin(struct person *person, struct run *run)
{
	*person = (struct person){
	    .run = run, .control = -1, .pass = -1, .named = -1, .events = json_array()};
	/* The control socket is the last. */
	for (unsigned i = 0; i < run->scenario->sockets; i++) {
		uint64_t one;

		if (!wait_for(person, run->listening, "listening") || is_over(person) ||
		    read(run->listening, &one, sizeof one) != sizeof one)
			return false;
	}
	return reach(person);
}

void finish(struct person *person, bool complete)
{
	/* The reply to this one may be lost with everything else. */
	person->run->complete = complete && (do_ask(person, LOOKS, "{\"execute\": \"quit\"}\n") ||
	                                        (is_over(person) && person->run->code == 0));
	if (!person->run->complete && !is_over(person) && !ends_by_itself(person)) {
		person->run->gave_up = true;
		kill(getpid(), SIGTERM);
	}
	if (poll(&(struct pollfd){.fd = person->run->over, .events = POLLIN}, 1, DEADLINE_MS) == 0)
		complain(person->run, "it does not end");
	hang_up(person);
	json_decref(person->events);
}

#define ADD                                                                                        \
	"{\"execute\": \"device_add\", \"arguments\": {\"driver\": \"host-spapr-cpu-core\", "      \
	"\"core-id\": 1, \"id\": \"core1\"}}\n"
#define DEL "{\"execute\": \"device_del\", \"arguments\": {\"id\": \"core1\"}}\n"

static void operate_life(struct run *run)
{
	static struct person person;
	bool good = begin(&person, run);

	good = good && converse(&person, run->terminal, '\0', '!');
	good = good && converse(&person, run->terminal, 'q', 'Q');
	good = good && operate(&person, ADD);
	good = good && do_ask(&person, LOOKS, PLAIN("system_reset"));
	/* After a reset that failed, the next one leaves it paused. */
	good = good && do_ask(&person, LOOKS, PLAIN("cont"));
	good = good && converse(&person, run->terminal, 'r', 'R');
	good = good && do_ask(&person, CHANGES, PLAIN("stop"));
	good = good && do_ask(&person, CHANGES, PLAIN("cont"));
	good = good && operate(&person, DEL);
	finish(&person, good);
}

static void operate_queries(struct run *run)
{
	static const char *const requests[] = {PLAIN("query-version"), PLAIN("query-commands"),
	    PLAIN("query-status"), PLAIN("query-name"), PLAIN("query-uuid"), PLAIN("query-kvm"),
	    PLAIN("query-cpus-fast"), PLAIN("query-hotpluggable-cpus"), PLAIN("query-connectors"),
	    PLAIN("query-operations"), PLAIN("query-metrics"), PLAIN("query-schema"),
	    PLAIN("system_powerdown")};
	static struct person person;
	bool good = begin(&person, run);

	for (size_t i = 0; good && i < sizeof requests / sizeof requests[0]; i++)
		good = do_ask(&person, LOOKS, requests[i]);
	finish(&person, good);
}

/* Start and end, for what differs in consoles and options. */
static void operate_nothing(struct run *run)
{
	static struct person person;

	finish(&person, begin(&person, run));
}

static void operate_unix(struct run *run)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "console"};
	static struct person person;
	bool good = begin(&person, run), said = false;

	for (int i = 0; good && !said && i < attempts(&person) && !is_over(&person); i++) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		said = connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
		       converse(&person, fd, 'q', 'Q');
		close(fd);
	}
	finish(&person, good && said);
}

/* Without a control socket. */
static void operate_alone(struct run *run)
{
	struct pollfd over = {.fd = run->over, .events = POLLIN};

	if (poll(&over, 1, DEADLINE_MS) != 1)
		complain(run, "it does not end");
	run->complete = run->code == 0;
}

/* The sandbox would stand between a call and its failing; it has tests of its own. */
#define RUN "run", "--no-sandbox", "--kernel", "../kernel", "--memory", "256M"

const struct scenario scenarios[] = {
    {.name = "life",
        .is_long = true,
        .operate = operate_life,
        .has_terminal = true,
        .sockets = 1,
        .arguments = {RUN, "--initrd", "../kernel", "--cpus", "boot=1,max=2", "--control",
            "control"}},
    {.name = "queries",
        .is_long = true,
        .operate = operate_queries,
        .sockets = 1,
        .arguments = {RUN, "--console", "none", "--control", "control", "--name", "guest"}},
    {.name = "disk",
        .is_long = true,
        .operate = operate_nothing,
        .sockets = 1,
        .arguments = {RUN, "--console", "none", "--control", "control", "--disk",
            "file=../disk,id=root,readonly,queues=2"}},
    {.name = "net",
        .is_long = true,
        .operate = operate_net,
        .sockets = 1,
        .stream = 50,
        .arguments = {RUN, "--console", "none", "--control", "control", "--pci", "--net", "fd=50"}},
    {.name = "vhost",
        .is_long = true,
        .operate = operate_vhost,
        .sockets = 1,
        .arguments = {RUN ",shared", "--console", "none", "--control", "control", "--pci"}},
    {.name = "pty",
        .is_long = true,
        .operate = operate_nothing,
        .sockets = 1,
        .arguments = {RUN, "--console", "pty", "--control", "control"}},
    {.name = "file",
        .is_long = true,
        .operate = operate_nothing,
        .output = "log",
        .sockets = 1,
        .arguments = {RUN, "--console", "file:log", "--control", "control"}},
    {.name = "unix",
        .operate = operate_unix,
        .sockets = 2,
        .arguments = {RUN, "--console", "unix:console", "--control", "control"}},
    {.name = "dtb",
        .operate = operate_alone,
        .output = "tree",
        .arguments = {"dtb", "-o", "tree", "--kernel", "../kernel", "--cpus", "boot=2,max=4"}},
    {.name = "config",
        .operate = operate_alone,
        .arguments = {"dtb", "-o", "-", "--config", "../config"}},
    {.name = "check", .operate = operate_alone, .finds = true, .arguments = {"check", "--json"}},
    {.name = "help", .operate = operate_alone, .arguments = {"--help"}},
};
const size_t scenario_count = sizeof scenarios / sizeof scenarios[0];
