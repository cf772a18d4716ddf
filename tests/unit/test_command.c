/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_command.c - what the commands of the control socket do, and how they refuse: error classes
 * and texts, and that a request that is refused has changed nothing.
 */
#include "control_fixture.h"

#include <stdio.h>

static void test_not_a_request(void **state)
{
	/* clang-format off */
	static const struct {
		const char *text, *desc;
	} rows[] = {
	{"5", "QMP input must be a JSON object"},
	{"null", "QMP input must be a JSON object"},
	{"'stop'", "QMP input must be a JSON object"},
	{"[{'execute': 'stop'}]", "QMP input must be a JSON object"},
	{"{}", "QMP input lacks member 'execute'"},
	{"{'arguments': {}}", "QMP input lacks member 'execute'"},
	{"{'execute': 5}", "QMP input member 'execute' must be a string"},
	{"{'execute': 'stop', 'arguments': []}", "QMP input member 'arguments' must be an object"},
	{"{'execute': 'stop', 'arguments': null}", "QMP input member 'arguments' must be an object"},
	{"{'execute': 'stop', 'control': {}}", "QMP input member 'control' is unexpected"},
	{"{'exec-oob': 'stop'}", "QMP input member 'exec-oob' is unexpected"},
	};
	/* clang-format on */
	struct peer *peer = peer_create_negotiated(*state);

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		say(peer, rows[i].text);
		say(peer, "\n");
		expect_error(peer, "GenericError", rows[i].desc);
	}
	assert_int_equal(peer->fixture->vmm.calls, 0);
	peer_destroy(peer);
}

static void test_id_of_every_type(void **state)
{
	/* clang-format off */
	static const struct {
		const char *sent, *echoed;
	} beyond[] = {
	{"9223372036854775808", "9223372036854775808.0"}, {"-9223372036854775809", "-9223372036854775809.0"},
	{"99999999999999999999", "1e20"}, {"[18446744073709551616]", "[18446744073709551616.0]"},
	{"1e999", "1e308"}, {"-1e999", "-1e308"},
	};
	/* clang-format on */
	static const char *const ids[] = {"null", "true", "false", "0", "-1", "9223372036854775807",
	    "1.5", "-2e30", "''", "'__qmp#00001'", "'\\u20ac \\ud834\\udd1e \\n'", "[]",
	    "[1, [2, {'a': null}]]", "{}", "{'execute': 'stop', 'b': [true]}"};
	struct peer *peer = peer_create_negotiated(*state);
	char text[256];
	json_t *object;

	for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
		snprintf(text, sizeof text, "{'execute': 'query-name', 'id': %s}\n", ids[i]);
		say(peer, text);
		snprintf(text, sizeof text, "{'return': {'name': 'test'}, 'id': %s}", ids[i]);
		expect(peer, text);
		snprintf(text, sizeof text, "{'execute': 'no-such', 'id': %s}\n", ids[i]);
		say(peer, text);
		snprintf(text, sizeof text,
		    "{'error': {'class': 'CommandNotFound', 'desc': 'The command no-such "
		    "has not been found'}, 'id': %s}",
		    ids[i]);
		expect(peer, text);
	}
	for (size_t i = 0; i < sizeof beyond / sizeof beyond[0]; i++) {
		snprintf(
		    text, sizeof text, "{'execute': 'query-name', 'id': %s}\n", beyond[i].sent);
		say(peer, text);
		snprintf(
		    text, sizeof text, "{'return': {'name': 'test'}, 'id': %s}", beyond[i].echoed);
		expect(peer, text);
	}
	send_text(peer, "{'execute': 'query-name', 'id': 'a\\u0000\"\\'b'}");
	object = receive(peer);
	assert_int_equal(json_string_length(json_object_get(object, "id")), 5);
	assert_memory_equal(json_string_value(json_object_get(object, "id")), "a\0\"'b", 5);
	json_decref(object);
	peer_destroy(peer);
}

static void test_text_beyond_ascii(void **state)
{
	struct peer *peer = peer_create_negotiated(*state);
	char long_name[4 * 300 + 64];
	size_t used;

	say(peer, "{'execute': 'caf\xc3\xa9 \xf0\x9d\x84\x9e', 'id': '\xe2\x82\xac'}\n");
	expect(peer, "{'error': {'class': 'CommandNotFound', 'desc': 'The command caf\\u00e9 "
	             "\\ud834\\udd1e has not been found'}, 'id': '\\u20ac'}");
	/* A text cut in the middle of a character is still an answer, whichever byte it is. */
	for (int shift = 0; shift < 4; shift++) {
		used = (size_t)sprintf(long_name, "{'execute': '%.*s", shift, "abc");
		for (int i = 0; i < 300; i++)
			used += (size_t)sprintf(long_name + used, "\xf0\x9d\x84\x9e");
		sprintf(long_name + used, "'}\n");
		say(peer, long_name);
		expect_error(peer, "CommandNotFound", "The command ");
	}
	peer_destroy(peer);
}

#define GENERIC "GenericError"
#define ADD(arguments) "{'execute': 'device_add', 'arguments': {" arguments "}}"
#define CORE "'driver': 'host-spapr-cpu-core'"

static void test_refused_requests(void **state)
{
	/* clang-format off */
	static const struct {
		const char *text, *class, *desc;
	} rows[] = {
	{"{'execute': 'no-such'}", "CommandNotFound",
		"The command no-such has not been found"},
	{"{'execute': ''}", "CommandNotFound",
		"The command  has not been found"},
	{"{'execute': 'stop', 'arguments': {'now': true}}", GENERIC,
		"Parameter 'now' is unexpected"},
	{ADD(""), GENERIC,
		"Parameter 'driver' is missing"},
	{ADD("'driver': 'host-spapr-cpu-core'"), GENERIC,
		"Parameter 'core-id' is missing"},
	{ADD("'driver': 1, 'core-id': 2"), GENERIC,
		"Parameter 'driver' expects a device model name"},
	{ADD(CORE ", 'core-id': '2x'"), GENERIC,
		"Parameter 'core-id' expects integer"},
	{ADD(CORE ", 'core-id': '2 '"), GENERIC,
		"Parameter 'core-id' expects integer"},
	{ADD(CORE ", 'core-id': ''"), GENERIC,
		"Parameter 'core-id' expects integer"},
	{ADD(CORE ", 'core-id': true"), GENERIC,
		"Parameter 'core-id' expects integer"},
	{ADD(CORE ", 'core-id': 2.5"), GENERIC,
		"Parameter 'core-id' expects integer"},
	{ADD(CORE ", 'core-id': 99999999999999999999"), GENERIC,
		"Parameter 'core-id' expects integer"},
	{ADD(CORE ", 'core-id': '99999999999999999999'"), GENERIC,
		"Parameter 'core-id' expects integer"},
	{ADD(CORE ", 'core-id': '2\\u0000'"), GENERIC,
		"Parameter 'core-id' must not contain a NUL"},
	{ADD(CORE ", 'core-id': null"), GENERIC,
		"Parameter 'core-id' is missing"},
	{ADD(CORE ", 'core-id': [2]"), GENERIC,
		"Parameter 'core-id' is missing"},
	{ADD("'driver': null, 'core-id': 2"), GENERIC,
		"Parameter 'driver' is missing"},
	{ADD(CORE ", 'core-id': '-2'"), GENERIC,
		"core id -2 out of range"},
	{ADD(CORE ", 'core-id': 2, 'nr-threads': '1'"), GENERIC,
		"invalid nr-threads 1, must be 2"},
	{ADD(CORE ", 'core-id': 2, 'socket-id': '0'"), GENERIC,
		"Parameter 'socket-id' is unexpected"},
	{"{'execute': 'st\\u0000op'}", "CommandNotFound",
		"The command st"},
	{"{'execute': 'stop\\u0000'}", "CommandNotFound",
		"The command stop has not been found"},
	{"{'execute': 'device_del', 'arguments': {'id': 'core1\\u0000'}}", GENERIC,
		"Parameter 'id' must not contain a NUL"},
	{"{'execute': 'device_del', 'arguments': {'id': 1}}", GENERIC,
		"Invalid parameter type for 'id', expected: string"},
	{"{'execute': 'operation-cancel', 'arguments': {'id': '1'}}", GENERIC,
		"Invalid parameter type for 'id', expected: integer"},
	{"{'execute': 'operation-cancel', 'arguments': {'id': 1.0}}", GENERIC,
		"Invalid parameter type for 'id', expected: integer"},
	{"{'execute': 'operation-cancel', 'arguments': {'id': 99999999999999999999}}", GENERIC,
		"Invalid parameter type for 'id', expected: integer"},
	{"{'execute': 'operation-cancel', 'arguments': {'id': -1e999}}", GENERIC,
		"Invalid parameter type for 'id', expected: integer"},
	{"{'execute': 'events-subscribe', 'arguments': {'events': []}}", GENERIC,
		"Parameter 'events' is unexpected"},
	{ADD(CORE ", 'core-id': 2, 'socket-id': 0"), GENERIC,
		"Parameter 'socket-id' is unexpected"},
	{ADD("'driver': 'e1000', 'core-id': 2"), GENERIC,
		"'e1000' is not a valid device model name"},
	{ADD(CORE ", 'core-id': 2, 'id': '1a'"), GENERIC,
		"Parameter 'id' expects an identifier"},
	{ADD(CORE ", 'core-id': 2, 'id': ''"), GENERIC,
		"Parameter 'id' expects an identifier"},
	{ADD(CORE ", 'core-id': 2, 'id': 'a b'"), GENERIC,
		"Parameter 'id' expects an identifier"},
	{ADD(CORE ", 'core-id': 2, 'id': 'a23456789-123456789-123456789-123456789-123456789-123456789-1234'"), GENERIC,
		"Parameter 'id' expects an identifier"},
	{ADD(CORE ", 'core-id': -2"), GENERIC,
		"core id -2 out of range"},
	{ADD(CORE ", 'core-id': 4294967298"), GENERIC,
		"core id 4294967298 out of range"},
	{ADD(CORE ", 'core-id': 2, 'nr-threads': 1"), GENERIC,
		"invalid nr-threads 1, must be 2"},
	{"{'execute': 'device_del'}", GENERIC,
		"Parameter 'id' is missing"},
	{"{'execute': 'device_del', 'arguments': {'id': 'no/such'}}", "DeviceNotFound",
		"Device 'no/such' not found"},
	{"{'execute': 'query-operations', 'arguments': {'id': 5}}", GENERIC,
		"operation 5 not found"},
	{"{'execute': 'query-operations', 'arguments': {'id': -1}}", GENERIC,
		"operation -1 not found"},
	{"{'execute': 'operation-cancel'}", GENERIC,
		"Parameter 'id' is missing"},
	};
	/* clang-format on */
	struct peer *peer = peer_create_negotiated(*state);

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		say(peer, rows[i].text);
		say(peer, "\n");
		expect_error(peer, rows[i].class, rows[i].desc);
	}
	/* None of them has reached the machine. */
	assert_int_equal(peer->fixture->vmm.calls, 0);
	assert_int_equal(peer->fixture->vmm.machine.calls, 0);
	peer_destroy(peer);
}

/* What QEMU of this dialect takes, where device_add's arguments are what -device has as text. */
static void test_device_add_takes_what_qmp_takes(void **state)
{
	/* clang-format off */
	static const struct {
		const char *arguments, *device;
		uint32_t core;
	} rows[] = {
	{CORE ", 'core-id': 2, 'id': 'a'", "a", 2},
	{CORE ", 'core-id': '4', 'id': 'b'", "b", 4},
	{CORE ", 'core-id': '0x6', 'id': 'c'", "c", 6},
	{CORE ", 'core-id': ' 02'", "core2", 2},
	{CORE ", 'core-id': 2.0, 'nr-threads': '2'", "core2", 2},
	{CORE ", 'core-id': 4, 'nr-threads': null, 'id': null", "core4", 4},
	{CORE ", 'core-id': 4, 'id': 5", "core4", 4},
	{CORE ", 'core-id': 6, 'socket-id': null, 'node-id': {}, 'x': []", "core6", 6},
	};
	/* clang-format on */
	struct peer *peer = peer_create_negotiated(*state);
	struct spapr *machine = &peer->fixture->vmm.machine;
	char text[256];

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		snprintf(text, sizeof text, "{'execute': 'device_add', 'arguments': {%s}}",
		    rows[i].arguments);
		expect_json(value(peer, text), "{}");
		assert_int_equal(machine->added_core, rows[i].core);
		assert_string_equal(machine->added_device, rows[i].device);
	}
	peer_destroy(peer);
}

static void test_device_add(void **state)
{
	struct peer *peer = peer_create_subscribed(*state);
	struct spapr *machine = &peer->fixture->vmm.machine;

	expect_json(value(peer, ADD(CORE ", 'core-id': 2")), "{'operation': 7}");
	assert_int_equal(machine->added_core, 2);
	assert_string_equal(machine->added_device, "core2");
	expect_json(value(peer, ADD("'driver': 'power9_v2.0-spapr-cpu-core', 'core-id': 4, 'id': "
	                            "'a-1._', 'nr-threads': 2")),
	    "{'operation': 7}");
	assert_int_equal(machine->added_core, 4);
	assert_string_equal(machine->added_device, "a-1._");
	say(peer, ADD(CORE ", 'core-id': 0"));
	expect_error(peer, "GenericError", "core 0 already populated");
	peer_destroy(peer);
}

static void test_device_del(void **state)
{
	struct peer *peer = peer_create_subscribed(*state), *plain;
	struct spapr *machine = &peer->fixture->vmm.machine;

	snprintf(machine->cores[1].connector.device, OP_DEVICE_MAX, "one");
	expect_json(value(peer, "{'execute': 'device_del', 'arguments': {'id': 'one'}}\n"),
	    "{'operation': 8}");
	assert_string_equal(machine->removed_device, "one");
	machine->removed_device[0] = '\0';
	expect_json(value(peer, "{'execute': 'device_del', 'arguments': {'id': "
	                        "'/machine/peripheral/one'}}\n"),
	    "{'operation': 8}");
	assert_string_equal(machine->removed_device, "one");
	expect_json(value(peer, "{'execute': 'device_del', 'arguments': {'id': 'one', 'force': "
	                        "false}}\n"),
	    "{'operation': 8}");
	assert_false(machine->forced);
	expect_json(
	    value(peer, "{'execute': 'device_del', 'arguments': {'id': 'one', 'force': true}}\n"),
	    "{'operation': 8}");
	assert_true(machine->forced);
	say(peer, "{'execute': 'device_del', 'arguments': {'id': 'two'}}\n");
	expect_error(peer, "DeviceNotFound", "Device 'two' not found");
	say(peer, "{'execute': 'device_del', 'arguments': {'id': 'core0'}}\n");
	expect_error(peer, "GenericError", "Boot CPU core may not be unplugged");
	plain = peer_create_negotiated(*state);
	expect_json(value(plain, "{'execute': 'device_del', 'arguments': {'id': 'one'}}\n"), "{}");
	peer_destroy(plain);
	peer_destroy(peer);
}

/* What a reset waits for is told to those who know of it. */
static void test_a_reset_that_waits(void **state)
{
	struct peer *peer = peer_create_subscribed(*state), *plain = peer_create_negotiated(*state);
	struct spapr *machine = &peer->fixture->vmm.machine;

	expect_json(value(peer, "{'execute': 'query-status'}\n"),
	    "{'running': true, 'singlestep': false, 'status': 'running'}");
	snprintf(machine->busy_device, OP_DEVICE_MAX, "data");
	expect_json(value(peer, "{'execute': 'query-status'}\n"),
	    "{'running': true, 'singlestep': false, 'status': 'running', 'reset-waits': ['data']}");
	expect_json(value(plain, "{'execute': 'query-status'}\n"),
	    "{'running': true, 'singlestep': false, 'status': 'running'}");
	peer_destroy(plain);
	peer_destroy(peer);
}

/* A reply precedes the events it causes. */
static void test_machine_commands(void **state)
{
	struct peer *peer = peer_create_negotiated(*state);
	static const struct {
		const char *command, *event;
	} rows[] = {
	    {"stop", "STOP"}, {"cont", "RESUME"}, {"system_reset", "RESET"}, {"quit", "SHUTDOWN"}};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char text[64];
		json_t *event;

		snprintf(text, sizeof text, "{'execute': '%s'}\n", rows[i].command);
		say(peer, text);
		expect(peer, "{'return': {}}");
		event = receive(peer);
		assert_string_equal(
		    json_string_value(json_object_get(event, "event")), rows[i].event);
		json_decref(event);
	}
	say(peer, "{'execute': 'system_powerdown'}\n");
	expect(peer, "{'return': {}}");
	assert_int_equal(peer->fixture->vmm.calls, 5);
	peer->fixture->vmm.may_not_cont = true;
	say(peer, "{'execute': 'cont'}\n");
	expect(peer, "{'error': {'class': 'GenericError', 'desc': 'Resetting the Virtual Machine "
	             "is required'}}");
	peer_destroy(peer);
}

/* Each connection by itself; asked again, nothing changes. */
static void test_subscribing(void **state)
{
	struct fixture *fixture = *state;
	struct peer *plain = peer_create_negotiated(fixture);
	struct peer *peer = peer_create(fixture);

	say(peer, "{'execute': 'events-subscribe'}\n");
	expect_error(peer, "CommandNotFound", "Expecting capabilities negotiation");
	peer_destroy(peer);
	peer = peer_create_subscribed(fixture);
	expect_json(value(peer, "{'execute': 'events-subscribe'}\n"), "{}");
	fixture->vmm.may_not_cont = true;
	say(peer, "{'execute': 'cont'}\n");
	expect(peer, "{'error': {'class': 'GenericError', 'desc': 'Resetting the Virtual Machine "
	             "is required', 'hint': 'system_reset starts it again'}}");
	expect_json(value(peer, "{'execute': 'query-version'}"),
	    "{'qemu': {'major': 6, 'minor': 2, 'micro': 0},"
	    " 'package': 'paprika " PAPRIKA_VERSION "',"
	    " 'paprika': {'version': '" PAPRIKA_VERSION "', 'protocol': 3}}");
	expect_json(value(plain, "{'execute': 'query-version'}"),
	    "{'qemu': {'major': 6, 'minor': 2, 'micro': 0},"
	    " 'package': 'paprika " PAPRIKA_VERSION "'}");
	peer_destroy(plain);
	peer_destroy(peer);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    TEST(test_not_a_request),
	    TEST(test_id_of_every_type),
	    TEST(test_text_beyond_ascii),
	    TEST(test_refused_requests),
	    TEST(test_device_add_takes_what_qmp_takes),
	    TEST(test_device_add),
	    TEST(test_device_del),
	    TEST(test_a_reset_that_waits),
	    TEST(test_machine_commands),
	    TEST(test_subscribing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
