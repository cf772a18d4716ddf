/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_control.c - the control socket from a client's end of the wire: negotiation, and where
 * requests begin and end. Clients that do not behave are in test_clients.c, the socket file in
 * test_listen.c; what the commands mean is tested in test_command.c and test_query.c.
 */
#include "control_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

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
	/* A surplus bracket is reported at once, and not at the end of its line. */
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
	    TEST(test_random_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
