/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_control.c - the control socket from a client's end of the wire: negotiation, framing,
 * limits, clients that do not behave, and the socket file. What the commands mean is tested in
 * test_command.c.
 */
#include "control_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

/* --- Negotiation ---------------------------------------------------------------------------- */

static void test_greeting(void **state)
{
	struct fixture *fixture = *state;
	struct peer *peer = peer_connect(fixture);

	expect(peer, "{'QMP': {'version': {'qemu': {'major': 6, 'minor': 2, 'micro': 0},"
	             "'package': 'paprika " PAPRIKA_VERSION "'}, 'capabilities': []}}");
	peer_destroy(peer);
}

static void test_negotiation(void **state)
{
	struct peer *peer = peer_create(*state);

	say(peer, "{'execute': 'query-status'}\n");
	expect_error(
	    peer, "CommandNotFound", "Expecting capabilities negotiation with 'qmp_capabilities'");
	say(peer, "{'execute': 'no-such'}\n");
	expect_error(peer, "CommandNotFound", "Expecting capabilities negotiation");
	say(peer, "{'execute': 'qmp_capabilities', 'arguments': {'enable': ['oob']}}\n");
	expect_error(peer, "GenericError", "Capability 'oob' is not available");
	say(peer, "{'execute': 'qmp_capabilities', 'arguments': {'enable': 1}}\n");
	expect_error(peer, "GenericError", "Invalid parameter type for 'enable', expected: array");
	say(peer, "{'execute': 'qmp_capabilities', 'arguments': {'enable': []}}\n");
	expect(peer, "{'return': {}}");
	say(peer, "{'execute': 'qmp_capabilities'}\n");
	expect_error(peer, "CommandNotFound",
	    "Capabilities negotiation is already complete, command ignored");
	expect_alive(peer);
	peer_destroy(peer);
}

/* Whatever follows the reply to the negotiation comes in a later turn, but it does come. */
static void test_negotiation_reply_comes_alone(void **state)
{
	struct fixture *fixture = *state;
	struct peer *peer = peer_create(fixture);
	static const char requests[] = "{'execute': 'qmp_capabilities'}\n"
	                               "{'execute': 'stop'}\n"
	                               "{'execute': 'query-name'}\n";

	say_at_once(peer, requests);
	while (peer->used == 0) {
		turn(fixture);
		peer_receive(peer);
	}
	assert_int_equal(peer->used, strlen("{'return': {}}\r\n"));
	expect(peer, "{'return': {}}");
	expect(peer, "{'return': {}}");
	json_decref(receive(peer)); /* STOP */
	expect(peer, "{'return': {'name': 'test'}}");
	peer_destroy(peer);
}

static void test_events_after_negotiation_only(void **state)
{
	struct fixture *fixture = *state;
	struct peer *early = peer_create(fixture), *peer = peer_create_negotiated(fixture);
	json_t *event, *timestamp;

	bus_publish(&fixture->vmm.bus, "RESET",
	    json_pack("{s:b, s:s}", "guest", 1, "reason", "guest-reset"));
	bus_publish(&fixture->vmm.bus, "STOP", json_object());
	event = receive(peer);
	timestamp = json_object_get(event, "timestamp");
	assert_true(json_is_integer(json_object_get(timestamp, "seconds")));
	assert_true(json_is_integer(json_object_get(timestamp, "microseconds")));
	json_object_del(event, "timestamp");
	expect_json(event, "{'event': 'RESET', 'data': {'guest': true, 'reason': 'guest-reset'}}");
	event = receive(peer);
	json_object_del(event, "timestamp");
	expect_json(event, "{'event': 'STOP'}");
	expect_silence(early);
	peer_destroy(early);
	peer_destroy(peer);
	bus_publish(&(struct bus){0}, "STOP", json_object());
}

/* --- Framing -------------------------------------------------------------------------------- */

static void test_broken_json(void **state)
{
	static const char *const broken[] = {"}", "[\xff", "]", "{\"execute\": }",
	    "{\"execute\" \"stop\"}", "{\"execute\": 'stop\"}", "{\"execute\": \"stop}",
	    "{\"execute\": \"st\\qop\"}", "{\"execute\": \"stop\",}", "{\"execute\": \"stop\"]",
	    "{\"a\": ]} {\"execute\": \"stop\"}", "execute", "nul", "\"", "\\",
	    "{\"execute\": \"stop\", \"execute\": \"cont\"}", "{\"execute\": \"\xc0\xfe\"}",
	    "{\"execute\": \"\xc3\"}", "{\"id\": \"\\ud800\"}", "{\"\\u0000\": 1}", "{\"id\": 1e}",
	    "{\"id\": 099999999999999999999}", "{\"id\": 01}", "{\"id\": \"\\\"}",
	    "{\"execute\": \xff", "{\"execute\": \"\xff", "{\"id\": \"a\tb\"}", "\x01", "\x7f\x80",
	    "{\"a\": /* no */ 1}", "5 {\"execute\": \"stop\"}", "x {\"execute\": \"stop\"}"};
	struct peer *peer = peer_create_negotiated(*state);

	for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
		send_text(peer, broken[i]);
		send_text(peer, "\n");
		expect_error(peer, "GenericError", "JSON parse error, ");
		expect_alive(peer);
	}
	assert_int_equal(peer->fixture->vmm.calls, 0);
	peer_destroy(peer);
}

static void test_nul_bytes(void **state)
{
	struct peer *peer = peer_create_negotiated(*state);

	send_bytes(peer, "\0\n", 2);
	expect_error(peer, "GenericError", "JSON parse error, ");
	send_bytes(peer, "{\"execute\": \"st\0op\"}\n", 21);
	expect_error(peer, "GenericError", "JSON parse error, ");
	send_bytes(peer, "{\"execute\": \"stop\"\0}\n", 21);
	expect_error(peer, "GenericError", "JSON parse error, ");
	expect_alive(peer);
	assert_int_equal(peer->fixture->vmm.calls, 0);
	peer_destroy(peer);
}

static void test_split_and_joined(void **state)
{
	static const char request[] = "{\"execute\": \"query-name\", \"id\": \"]}\\\"{[\"}";
	static const char reply[] = "{'return': {'name': 'test'}, 'id': ']}\\'{['}";
	struct peer *peer = peer_create_negotiated(*state);
	char joined[4 * sizeof request];

	/* Byte for byte. */
	for (size_t i = 0; i < sizeof request - 1; i++)
		send_bytes(peer, request + i, 1);
	send_text(peer, "\r\n");
	expect(peer, reply);
	/* Several in one write, with every kind of end, and empty lines between. */
	snprintf(joined, sizeof joined, "\n \t\r\n%s\n\n%s\r\n \n%s\n", request, request, request);
	send_text(peer, joined);
	for (int i = 0; i < 3; i++)
		expect(peer, reply);
	/* Several on a line, and the last without an end: the bracket is enough. */
	snprintf(joined, sizeof joined, "%s%s  %s", request, request, request);
	send_text(peer, joined);
	for (int i = 0; i < 3; i++)
		expect(peer, reply);
	expect_silence(peer);
	peer_destroy(peer);
}

static void test_unfinished_request_waits(void **state)
{
	struct peer *peer = peer_create_negotiated(*state);

	say(peer, "{'execute': 'query-name'");
	expect_silence(peer);
	say(peer, "}");
	expect(peer, "{'return': {'name': 'test'}}");
	/* At the end of input it is dropped. */
	say(peer, "{'execute': 'stop'");
	shutdown(peer->fd, SHUT_WR);
	expect_end(peer);
	assert_int_equal(peer->fixture->vmm.calls, 0);
	peer_destroy(peer);
}

/* A request goes on over lines until its bracket closes. */
static void test_requests_over_lines(void **state)
{
	static const char *const requests[] = {
	    "{'execute':\n'query-name',\r\n\t'id'\n\n:\n7}",
	    "{\n  'execute': 'query-name',\n  'id': 7\n}\n",
	    "{\n'execute': 'query-name', 'arguments':\n{\n}\n, 'id':\n7}\n\n",
	};
	struct peer *peer = peer_create_negotiated(*state);

	for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
		say(peer, requests[i]);
		expect(peer, "{'return': {'name': 'test'}, 'id': 7}");
	}
	say(peer, "{'execute': 'query-name', 'id': [\n[\n{\n},\n{\n}\n]\n]\n}");
	expect(peer, "{'return': {'name': 'test'}, 'id': [[{}, {}]]}");
	expect_silence(peer);
	peer_destroy(peer);
}

/* What was not finished costs itself; what is finished and wrong, the rest of its line. */
static void test_where_it_goes_on(void **state)
{
	struct peer *peer = peer_create_negotiated(*state);

	/* A line that begins where no value may be. */
	say(peer, "{'execute': 'stop'\n{'execute': 'query-name', 'id': 1}\n");
	expect_error(peer, "GenericError", "JSON parse error, ");
	expect(peer, "{'return': {'name': 'test'}, 'id': 1}");
	say(peer, "{\n [1, [2]\n {'execute': 'query-name', 'id': 2}\n");
	expect_error(peer, "GenericError", "JSON parse error, ");
	expect_error(peer, "GenericError", "JSON parse error, ");
	expect(peer, "{'return': {'name': 'test'}, 'id': 2}");
	/* In the middle of a line it is not taken for a request. */
	say(peer, "{'execute' {'execute': 'stop'}}\n");
	expect_error(peer, "GenericError", "JSON parse error, ");
	/* A string ends with its line at the latest. */
	say(peer, "{'execute': 'query-name', 'id': 'x\n{'execute': 'query-name', 'id': 3}\n");
	expect_error(peer, "GenericError", "JSON parse error, ");
	expect(peer, "{'return': {'name': 'test'}, 'id': 3}");
	/* 0xff breaks off anything, and begins anew at once. */
	send_text(peer, "{\"id\": [[\xff{\"execute\": \"query-name\", \"id\": 4}\n");
	expect_error(peer, "GenericError", "JSON parse error, ");
	expect(peer, "{'return': {'name': 'test'}, 'id': 4}");
	/* A bracket too many is told at once, and not with the end of its line. */
	say(peer, "{'execute': 'query-name', 'id': 5}}");
	expect(peer, "{'return': {'name': 'test'}, 'id': 5}");
	expect_error(peer, "GenericError", "JSON parse error, ");
	send_text(peer, " lost {\"execute\": \"stop\"}\n");
	expect_alive(peer);
	assert_int_equal(peer->fixture->vmm.calls, 0);
	peer_destroy(peer);
}

/* {"execute": "query-name", "id": "xxx..."} of this length in all, without newline */
static char *long_request(size_t length)
{
	static const char head[] = "{\"execute\": \"query-name\", \"id\": \"";
	char *text = malloc(length + 1);

	assert_non_null(text);
	memset(text, 'x', length);
	memcpy(text, head, sizeof head - 1);
	memcpy(text + length - 2, "\"}", 3);
	return text;
}

static void test_long_lines(void **state)
{
	struct peer *peer = peer_create_negotiated(*state);
	char *text = long_request(CONTROL_REQUEST_MAX), *blanks;
	json_t *object;

	/* Exactly as long as allowed. The reply, which carries the id, may be longer. */
	send_text(peer, text);
	object = receive(peer);
	assert_int_equal(json_string_length(json_object_get(object, "id")),
	    CONTROL_REQUEST_MAX - strlen("{\"execute\": \"query-name\", \"id\": \"\"}"));
	assert_non_null(json_object_get(object, "return"));
	json_decref(object);
	free(text);
	/* Blanks before a request are not part of it. */
	blanks = malloc(3 * CONTROL_REQUEST_MAX);
	assert_non_null(blanks);
	memset(blanks, ' ', 3 * CONTROL_REQUEST_MAX);
	send_bytes(peer, blanks, 3 * CONTROL_REQUEST_MAX);
	free(blanks);
	expect_alive(peer);
	/* One byte more is the end of the connection. */
	text = long_request(CONTROL_REQUEST_MAX + 1);
	send_text(peer, text);
	free(text);
	expect_error(peer, "GenericError", "The request is longer than 65536 bytes");
	expect_end(peer);
	peer_destroy(peer);
}

/* The remainder of a line that was not JSON may be of any length. */
static void test_long_garbage(void **state)
{
	struct peer *peer = peer_create_negotiated(*state);
	char *text = malloc(4 * CONTROL_REQUEST_MAX);

	assert_non_null(text);
	memset(text, '{', 4 * CONTROL_REQUEST_MAX);
	memcpy(text, "{]", 2);
	text[4 * CONTROL_REQUEST_MAX - 1] = '\n';
	send_bytes(peer, text, 4 * CONTROL_REQUEST_MAX);
	free(text);
	expect_error(peer, "GenericError", "JSON parse error, ");
	expect_alive(peer);
	peer_destroy(peer);
}

/* "id" nested so that the request is this deep */
static void send_deep(struct peer *peer, size_t depth)
{
	send_text(peer, "{\"execute\": \"query-name\", \"id\": ");
	for (size_t i = 1; i < depth; i++)
		send_text(peer, "[");
	for (size_t i = 1; i < depth; i++)
		send_text(peer, "]");
	send_text(peer, "}\n");
}

static void test_depth(void **state)
{
	struct peer *peer = peer_create_negotiated(*state);
	json_t *object;

	send_deep(peer, 64);
	object = receive(peer);
	assert_non_null(json_object_get(object, "return"));
	json_decref(object);
	send_deep(peer, 65);
	expect_error(peer, "GenericError", "JSON parse error, nested deeper than 64");
	send_deep(peer, 5000);
	expect_error(peer, "GenericError", "JSON parse error, nested deeper than 64");
	expect_alive(peer);
	/* Brackets in strings are text. */
	send_text(peer, "{\"execute\": \"query-name\", \"id\": \"");
	for (size_t i = 0; i < 200; i++)
		send_text(peer, "[{");
	send_text(peer, "\"}\n");
	object = receive(peer);
	assert_non_null(json_object_get(object, "return"));
	json_decref(object);
	peer_destroy(peer);
}

/* --- Clients that do not behave ------------------------------------------------------------- */

static void test_slow_reader(void **state)
{
	struct fixture *fixture = *state;
	struct peer *slow = peer_create_negotiated(fixture);
	struct peer *other = peer_create_negotiated(fixture);
	unsigned events = 0;
	json_t *event;

	for (unsigned i = 0; i < 4000; i++) {
		char filler[1000];

		memset(filler, 'x', sizeof filler);
		bus_publish(&fixture->vmm.bus, "DEVICE_DELETED",
		    json_pack("{s:s#}", "path", filler, (int)sizeof filler));
		expect_event_named(other, "DEVICE_DELETED");
	}
	/* What was sent before is there, and then the end, anywhere in a line. */
	while ((event = receive(slow)) != NULL) {
		assert_non_null(json_object_get(event, "event"));
		json_decref(event);
		events++;
	}
	assert_true(events > 0 && events < 4000);
	expect_alive(other);
	peer_destroy(slow);
	peer_destroy(other);
}

/* Let everybody be told so many times something of a thousand bytes. */
static void tell(struct fixture *fixture, unsigned times)
{
	char filler[1000];

	memset(filler, 'x', sizeof filler);
	for (unsigned i = 0; i < times; i++)
		bus_publish(&fixture->vmm.bus, "DEVICE_DELETED",
		    json_pack("{s:s#}", "path", filler, (int)sizeof filler));
}

/* A reply may be longer than what events a client may leave unread, and does not count as them. */
static void test_slow_reader_of_a_long_reply(void **state)
{
	struct fixture *fixture = *state;
	struct peer *peer = peer_create_negotiated(fixture);
	json_t *reply;

	make_machine(&fixture->vmm.machine, CORES_MAX);
	for (uint32_t i = 0; i < CORES_MAX; i++)
		fixture->vmm.machine.cores[i].history_count = 8;
	say(peer, "{'execute': 'query-connectors', 'id': 1}{'execute': 'query-name', 'id': 2}");
	tell(fixture, 900);
	/* The second request waits until most of the first reply has been read. */
	reply = receive(peer);
	assert_int_equal(json_integer_value(json_object_get(reply, "id")), 1);
	assert_int_equal(json_array_size(json_object_get(reply, "return")), CORES_MAX);
	json_decref(reply);
	for (unsigned i = 0; i < 900; i++)
		expect_event_named(peer, "DEVICE_DELETED");
	expect(peer, "{'return': {'name': 'test'}, 'id': 2}");
	/* What does count is counted behind a long reply, too. */
	say(peer, "{'execute': 'query-connectors', 'id': 3}");
	tell(fixture, 2000);
	while ((reply = receive(peer)) != NULL)
		json_decref(reply);
	peer_destroy(peer);
}

/* --- What can be logged by whoever connects ------------------------------------------------- */

/* Standard error into a pipe, whose other end is returned. */
static int divert_log(int *ret_before)
{
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	*ret_before = dup(STDERR_FILENO);
	assert_true(*ret_before >= 0);
	assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
	close(ends[1]);
	log_level = LOG_WARN;
	return ends[0];
}

/* And back; how many lines have been written. It is fewer than a pipe holds, or nothing ends. */
static size_t count_logged(int log, int before)
{
	size_t lines = 0;
	char bytes[4096];
	ssize_t got;

	dup2(before, STDERR_FILENO);
	close(before);
	while ((got = read(log, bytes, sizeof bytes)) > 0)
		for (ssize_t i = 0; i < got; i++)
			lines += bytes[i] == '\n';
	close(log);
	return lines;
}

static void test_log_of_cut_off_clients(void **state)
{
	struct fixture *fixture = *state;
	struct peer *peers[CONTROL_CLIENTS_MAX];
	int before, log = divert_log(&before);
	size_t lines;

	/* Some at once, and then one in a second: no machine is so slow that all are logged. */
	for (int round = 0; round < 10; round++) {
		for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
			peers[i] = peer_create_negotiated(fixture);
		tell(fixture, 1500);
		for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
			peer_destroy(peers[i]);
	}
	lines = count_logged(log, before);
	assert_true(lines > 0);
	assert_true(lines < 10 * CONTROL_CLIENTS_MAX);
}

/* Where the socket lets everybody connect, as one that systemd makes may. */
static void test_log_of_strangers(void **state)
{
	struct fixture *fixture = *state;
	int before, log;
	size_t lines;

	if (geteuid() != 0) {
		print_message("skipped: only root can connect as another user\n");
		skip();
	}
	assert_int_equal(chmod(fixture->directory, 0711), 0);
	assert_int_equal(chmod(fixture->path, 0666), 0);
	log = divert_log(&before);
	for (int i = 0; i < 200; i++) {
		struct peer *peer;

		assert_int_equal(seteuid(65534), 0);
		peer = peer_connect(fixture);
		assert_int_equal(seteuid(0), 0);
		expect_end(peer);
		peer_destroy(peer);
	}
	lines = count_logged(log, before);
	assert_true(lines > 0);
	assert_true(lines < 200);
}

/* Many events at once are no reason to cut off a client that reads. */
static void test_burst_of_events(void **state)
{
	struct fixture *fixture = *state;
	struct peer *peer = peer_create_negotiated(fixture);

	for (unsigned i = 0; i < 8000; i++)
		bus_publish(&fixture->vmm.bus, "STOP", json_object());
	for (unsigned i = 0; i < 8000; i++)
		expect_event_named(peer, "STOP");
	peer_destroy(peer);
}

/* Whoever sends many requests before it reads waits, and gets every answer in order. */
static void test_many_requests_at_once(void **state)
{
	struct fixture *fixture = *state;
	struct peer *peer = peer_create_negotiated(fixture);
	char request[64];
	unsigned sent = 0;
	size_t length, partial = 0;

	for (;;) {
		ssize_t written;

		length = (size_t)snprintf(
		    request, sizeof request, "{\"execute\": \"query-schema\", \"id\": %u}\n", sent);
		written = send(peer->fd, request + partial, length - partial, 0);
		if (written < 0)
			break; /* the server has stopped reading */
		partial += (size_t)written;
		sent += partial == length;
		partial = partial == length ? 0 : partial;
		turn(fixture);
	}
	assert_true(sent > 300);
	for (unsigned i = 0; i < sent; i++) {
		json_t *object = receive(peer);

		assert_int_equal(json_integer_value(json_object_get(object, "id")), i);
		assert_non_null(json_object_get(object, "return"));
		json_decref(object);
	}
	if (partial > 0) {
		send_bytes(peer, request + partial, length - partial);
		json_decref(receive(peer));
	}
	expect_alive(peer);
	peer_destroy(peer);
}

/* One that has sent many requests does not keep others waiting until all are done. */
static void test_clients_take_turns(void **state)
{
	struct fixture *fixture = *state;
	struct peer *busy = peer_create_negotiated(fixture);
	struct peer *other = peer_create_negotiated(fixture);
	static const char request[] = "{'execute': 'query-name'}";
	static char requests[1000 * sizeof request];
	unsigned answered = 0;

	for (char *end = requests; end < requests + 1000 * (sizeof request - 1);)
		end = stpcpy(end, request);
	say_at_once(busy, requests);
	say_at_once(other, "{'execute': 'query-name'}");
	while (other->used == 0) {
		turn(fixture);
		peer_receive(other);
	}
	peer_receive(busy);
	for (size_t i = 0; i < busy->used; i++)
		answered += busy->bytes[i] == '\n';
	assert_true(answered < 500);
	for (int i = 0; i < 1000; i++)
		expect(busy, "{'return': {'name': 'test'}}");
	expect(other, "{'return': {'name': 'test'}}");
	/* Nor is the loop kept busy when there is no more to do. */
	expect_silence(busy);
	peer_destroy(other);
	peer_destroy(busy);
}

static void test_too_many_clients(void **state)
{
	struct fixture *fixture = *state;
	struct peer *peers[CONTROL_CLIENTS_MAX], *extra;

	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		peers[i] = peer_create_negotiated(fixture);
	extra = peer_connect(fixture);
	expect_error(extra, "GenericError", "Too many clients");
	expect_end(extra);
	peer_destroy(extra);
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		expect_alive(peers[i]);
	/* One goes, one comes. */
	peer_destroy(peers[3]);
	peers[3] = peer_create_negotiated(fixture);
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		peer_destroy(peers[i]);
}

static void test_half_close(void **state)
{
	struct peer *peer = peer_create(*state);
	static const char requests[] = "{'execute': 'qmp_capabilities'}\n"
	                               "{'execute': 'query-schema'}\n"
	                               "{'execute': 'query-name'}\n";

	/* All before the server has had a turn. */
	say_at_once(peer, requests);
	shutdown(peer->fd, SHUT_WR);
	expect(peer, "{'return': {}}");
	json_decref(receive(peer));
	expect(peer, "{'return': {'name': 'test'}}");
	expect_end(peer);
	peer_destroy(peer);
}

static void test_client_vanishes(void **state)
{
	struct fixture *fixture = *state;

	for (int i = 0; i < 200; i++) {
		struct peer *peer = peer_connect(fixture);

		for (int turns = i % 4; turns > 0; turns--)
			turn(fixture);
		say_at_once(peer, "{'execute': 'qmp_capabilities'}\n"
		                  "{'execute': 'query-schema'}\n"
		                  "{'execute': 'stop'}\n");
		for (int turns = i / 4 % 4; turns > 0; turns--)
			turn(fixture);
		bus_publish(&fixture->vmm.bus, "STOP", json_object());
		peer_destroy(peer);
	}
	peer_destroy(peer_create_negotiated(fixture));
}

/* The replies get out although the program ends, and then the line is cut. */
static void test_replies_before_the_end(void **state)
{
	struct fixture *fixture = *state;
	struct peer *peer = peer_create(fixture);
	static const char requests[] = "{'execute': 'qmp_capabilities'}\n{'execute': 'quit'}\n";
	struct err err = {0};

	say_at_once(peer, requests);
	while (fixture->vmm.calls == 0)
		turn(fixture);
	control_destroy(fixture->vmm.control);
	fixture->vmm.control = NULL;
	expect(peer, "{'return': {}}");
	expect(peer, "{'return': {}}");
	expect_event_named(peer, "SHUTDOWN");
	expect_end(peer);
	peer_destroy(peer);
	fixture->vmm.control = control_create(
	    fixture->loop, fixture->path, &fixture->vmm.guest, &fixture->vmm.bus, &err);
	assert_non_null(fixture->vmm.control);
}

static void test_no_descriptor_left(void **state)
{
	struct fixture *fixture = *state;
	struct peer *peer = peer_connect(fixture);
	struct rlimit before, low;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	low = before;
	low.rlim_cur = (rlim_t)peer->fd + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	expect_silence(peer);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	/* Nobody connects anew: it is the server that tries again. */
	while (peer->used == 0) {
		ev_run(fixture->loop, EVRUN_ONCE);
		peer_receive(peer);
	}
	json_decref(receive(peer));
	peer_destroy(peer);
}

/* Whatever is sent, a line that follows is answered. */
static void test_random_bytes(void **state)
{
	static const char likely[] =
	    "{}[]\",:\\ \n\r\t'e01-+.ntfu{}\"\"executearguments\x00\xc3\xa9";
	struct peer *peer = peer_create_negotiated(*state);
	uint64_t seed = UINT64_C(0x9e3779b97f4a7c15);

	for (unsigned round = 0; round < 10000; round++) {
		char bytes[260];
		size_t length;
		bool answered = false;

		seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		length = (seed >> 33) % 200;
		for (size_t i = 0; i < length; i++) {
			seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
			bytes[i] = round % 3 == 0 ? (char)(seed >> 40)
			                          : likely[(seed >> 40) % (sizeof likely - 1)];
		}
		/* The one byte that ends whatever has been begun. */
		length += (size_t)snprintf(bytes + length, sizeof bytes - length,
		    "\n\xff{\"execute\": \"query-kvm\", \"id\": %u}\n", round);
		send_bytes(peer, bytes, length);
		while (!answered) {
			json_t *object = receive(peer);

			assert_non_null(object);
			answered = json_integer_value(json_object_get(object, "id")) == round &&
			           json_object_get(object, "return") != NULL;
			json_decref(object);
		}
	}
	peer_destroy(peer);
}

/* --- The socket file ------------------------------------------------------------------------ */

static void test_socket_mode(void **state)
{
	struct fixture *fixture = *state;
	struct stat status;

	assert_int_equal(stat(fixture->path, &status), 0);
	assert_true(S_ISSOCK(status.st_mode));
	assert_int_equal(status.st_mode & 0777, 0600);
}

static void expect_refused(struct fixture *fixture, const char *path, const char *part)
{
	struct err err = {0};

	assert_null(
	    control_create(fixture->loop, path, &fixture->vmm.guest, &fixture->vmm.bus, &err));
	assert_int_not_equal(err.class, ERR_NONE);
	if (strstr(err.message, part) == NULL)
		fail_msg("got '%s', expected '%s'", err.message, part);
}

static void test_path_is_served(void **state)
{
	struct fixture *fixture = *state;

	expect_refused(fixture, fixture->path, "is in use");
	peer_destroy(peer_create_negotiated(fixture));
}

static void test_path_that_cannot_be(void **state)
{
	struct fixture *fixture = *state;
	char path[256];

	expect_refused(fixture, "", "has 0 bytes");
	memset(path, 'p', sizeof path - 1);
	path[sizeof path - 1] = '\0';
	path[0] = '/';
	expect_refused(fixture, path, "has 255 bytes");
	path[108] = '\0';
	expect_refused(fixture, path, "has 108 bytes");
	snprintf(path, sizeof path, "%s/none/control", fixture->directory);
	expect_refused(fixture, path, "No such file or directory");
	expect_refused(fixture, fixture->directory, "not a socket");
}

static void test_path_is_a_file(void **state)
{
	struct fixture *fixture = *state;
	char path[80];
	FILE *file;

	snprintf(path, sizeof path, "%s/file", fixture->directory);
	file = fopen(path, "w");
	assert_non_null(file);
	fclose(file);
	expect_refused(fixture, path, "not a socket");
	assert_int_equal(unlink(path), 0);
	/* Nor is a link followed, even to a socket. */
	assert_int_equal(symlink(fixture->path, path), 0);
	expect_refused(fixture, path, "not a socket");
	assert_int_equal(unlink(path), 0);
}

static void test_stale_socket(void **state)
{
	struct fixture *fixture = *state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct control *control;
	struct err err = {0};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof address.sun_path, "%s/stale", fixture->directory);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	close(fd);
	control = control_create(
	    fixture->loop, address.sun_path, &fixture->vmm.guest, &fixture->vmm.bus, &err);
	assert_non_null(control);
	close(connect_to(address.sun_path));
	control_destroy(control);
	assert_int_equal(access(address.sun_path, F_OK), -1);
}

/* What is at the path when we go, but is not ours, stays. */
static void test_replaced_socket_stays(void **state)
{
	struct fixture *fixture = *state;
	char path[80];
	struct control *first, *second;
	struct err err = {0};

	snprintf(path, sizeof path, "%s/other", fixture->directory);
	first = control_create(fixture->loop, path, &fixture->vmm.guest, &fixture->vmm.bus, &err);
	assert_non_null(first);
	assert_int_equal(unlink(path), 0);
	second = control_create(fixture->loop, path, &fixture->vmm.guest, &fixture->vmm.bus, &err);
	assert_non_null(second);
	control_destroy(first);
	assert_int_equal(access(path, F_OK), 0);
	control_destroy(second);
	assert_int_equal(access(path, F_OK), -1);
	control_destroy(NULL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    TEST(test_greeting),
	    TEST(test_negotiation),
	    TEST(test_negotiation_reply_comes_alone),
	    TEST(test_events_after_negotiation_only),
	    TEST(test_broken_json),
	    TEST(test_nul_bytes),
	    TEST(test_split_and_joined),
	    TEST(test_unfinished_request_waits),
	    TEST(test_requests_over_lines),
	    TEST(test_where_it_goes_on),
	    TEST(test_long_lines),
	    TEST(test_long_garbage),
	    TEST(test_depth),
	    TEST(test_slow_reader),
	    TEST(test_slow_reader_of_a_long_reply),
	    TEST(test_log_of_cut_off_clients),
	    TEST(test_log_of_strangers),
	    TEST(test_burst_of_events),
	    TEST(test_many_requests_at_once),
	    TEST(test_clients_take_turns),
	    TEST(test_too_many_clients),
	    TEST(test_half_close),
	    TEST(test_client_vanishes),
	    TEST(test_replies_before_the_end),
	    TEST(test_no_descriptor_left),
	    TEST(test_random_bytes),
	    TEST(test_socket_mode),
	    TEST(test_path_is_served),
	    TEST(test_path_that_cannot_be),
	    TEST(test_path_is_a_file),
	    TEST(test_stale_socket),
	    TEST(test_replaced_socket_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
