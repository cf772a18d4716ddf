/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_chardev.c - the commands that bring devices which somebody else serves to a machine that
 * runs: descriptors with names, chardevs made of them, and devices that take these.
 */
#include "control_fixture.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define GETFD(name) "{'execute': 'getfd', 'arguments': {'fdname': '" name "'}}"
#define CLOSEFD(name) "{'execute': 'closefd', 'arguments': {'fdname': '" name "'}}"
#define ADD(id, name)                                                                              \
	"{'execute': 'chardev-add', 'arguments': {'id': '" id "', 'backend': {'type': 'socket', "  \
	"'data': {'addr': {'type': 'fd', 'data': {'str': '" name "'}}, 'server': false}}}}"
#define REMOVE(id) "{'execute': 'chardev-remove', 'arguments': {'id': '" id "'}}"
#define DEVICE(arguments) "{'execute': 'device_add', 'arguments': {" arguments "}}"
#define QUERY "{'execute': 'query-chardev'}"

/* Pass the write end of a new pipe under a name: the read end. */
static int pass(struct peer *peer, const char *request)
{
	int write_end, read_end = pipe_in(&write_end);

	say_with(peer, request, &write_end, 1);
	close(write_end);
	expect(peer, "{'return': {}}");
	assert_false(is_closed(read_end));
	return read_end;
}

static void a_name_stands_for_the_last_descriptor(void **state)
{
	struct peer *peer = peer_create_negotiated(*state);
	int first = pass(peer, GETFD("a")), other = pass(peer, GETFD("b"));
	int second = pass(peer, GETFD("a")), write_end;

	assert_true(is_closed(first));
	expect_json(value(peer, CLOSEFD("a")), "{}");
	assert_true(is_closed(second));
	say(peer, CLOSEFD("a"));
	expect_error(peer, "GenericError", "File descriptor named 'a' not found");
	say(peer, CLOSEFD(""));
	expect_error(peer, "GenericError", "File descriptor named '' not found");
	say(peer, GETFD("c"));
	expect_error(peer, "GenericError", "No file descriptor supplied via SCM_RIGHTS");
	close(first);
	first = pipe_in(&write_end);
	say_with(peer, GETFD("1"), &write_end, 1);
	close(write_end);
	expect_error(
	    peer, "GenericError", "Parameter 'fdname' expects a name not starting with a digit");
	assert_false(is_closed(other));
	expect_json(value(peer, CLOSEFD("b")), "{}");
	close(first);
	close(second);
	close(other);
	peer_destroy(peer);
}

static void a_chardev_is_made_of_a_descriptor(void **state)
{
	struct peer *peer = peer_create_negotiated(*state);
	int end = pass(peer, GETFD("a"));

	say(peer, ADD("c", "b"));
	expect_error(peer, "GenericError", "File descriptor named 'b' not found");
	say(peer, ADD("-", "a"));
	expect_error(peer, "GenericError", "Parameter 'id' expects an identifier");
	expect_json(value(peer, ADD("c", "a")), "{}");
	say(peer, CLOSEFD("a"));
	expect_error(peer, "GenericError", "File descriptor named 'a' not found");
	expect_json(
	    value(peer, QUERY), "[{'label': 'c', 'filename': 'fd', 'frontend-open': false}]");
	close(pass(peer, GETFD("a")));
	say(peer, ADD("c", "a"));
	expect_error(peer, "GenericError", "Chardev with id 'c' already exists");
	assert_false(is_closed(end));
	expect_json(value(peer, REMOVE("c")), "{}");
	assert_true(is_closed(end));
	say(peer, REMOVE("c"));
	expect_error(peer, "GenericError", "Chardev 'c' not found");
	expect_json(value(peer, CLOSEFD("a")), "{}");
	close(end);
	peer_destroy(peer);
}

static void other_backends_are_refused(void **state)
{
	static const char *const wrong[] = {"{}", "{'type': 'null'}",
	    "{'type': 'socket', 'data': {}}", "{'type': 'socket', 'data': {'addr': 3}}",
	    "{'type': 'socket', 'data': {'addr': {'type': 'unix', 'data': {'path': '/s'}}}}",
	    "{'type': 'socket', 'data': {'addr': {'type': 'fd', 'data': {'str': 7}}}}"};
	struct peer *peer = peer_create_negotiated(*state);

	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		char text[300];

		snprintf(text, sizeof text,
		    "{'execute': 'chardev-add', 'arguments': {'id': 'c', 'backend': %s}}",
		    wrong[i]);
		say(peer, text);
		expect_error(peer, "GenericError",
		    i < 2 ? "Parameter 'backend' does not accept this type"
		          : "Parameter 'addr' does not accept this address");
	}
	expect_json(value(peer, QUERY), "[]");
	peer_destroy(peer);
}

static void a_device_takes_the_connection(void **state)
{
	struct fixture *fixture = *state;
	struct peer *peer = peer_create_negotiated(fixture);
	int end = pass(peer, GETFD("a"));

	expect_json(value(peer, ADD("c", "a")), "{}");
	say(peer, DEVICE("'driver': 'vhost-user-fs-pci', 'chardev': 'c'"));
	expect_error(peer, "GenericError", "missing tag property");
	say(peer, DEVICE("'driver': 'vhost-user-fs-pci', 'tag': 'x'"));
	expect_error(peer, "GenericError", "missing chardev");
	say(peer, DEVICE("'driver': 'vhost-user-fs-pci', 'chardev': 'd', 'tag': 'x'"));
	expect_error(peer, "GenericError", "Property 'chardev' can't find value 'd'");
	say(peer, DEVICE("'driver': 'vhost-user-fs-pci', 'chardev': 'c', 'tag': "
	                 "'1234567890123456789012345678901234567'"));
	expect_error(peer, "GenericError", "tag property must be 36 bytes or less");
	assert_false(is_closed(end));
	expect_json(value(peer, DEVICE("'driver': 'vhost-user-fs-pci', 'chardev': 'c', 'tag': "
	                               "'x', 'id': 'files'")),
	    "{}");
	assert_true(is_closed(end)); /* the fixture's vmm closes what it gets */
	assert_int_equal(fixture->vmm.machine.added.kind, GUEST_SHARE);
	assert_string_equal(fixture->vmm.machine.tag, "x");
	expect_json(
	    value(peer, QUERY), "[{'label': 'c', 'filename': 'fd', 'frontend-open': true}]");
	say(peer, REMOVE("c"));
	expect_error(peer, "GenericError", "Chardev 'c' is busy");
	say(peer, DEVICE("'driver': 'vhost-user-blk-pci', 'chardev': 'c', 'id': 'other'"));
	expect_error(peer, "GenericError", "Property 'chardev' can't take value 'c', it's in use");
	close(end);
	peer_destroy(peer);
}

static void disks_and_vsock_have_arguments_of_their_own(void **state)
{
	struct fixture *fixture = *state;
	struct peer *peer = peer_create_negotiated(fixture);
	int disk = pass(peer, GETFD("a")), vsock = pass(peer, GETFD("v"));

	expect_json(value(peer, ADD("c", "a")), "{}");
	say(peer, DEVICE("'driver': 'vhost-user-blk-pci'"));
	expect_error(peer, "GenericError", "chardev is mandatory");
	say(peer, DEVICE("'driver': 'vhost-user-blk-pci', 'chardev': 'c', 'num-queues': 17"));
	expect_error(peer, "GenericError", "num-queues 17 out of range: 1 to 16");
	say(peer, DEVICE("'driver': 'vhost-user-blk-pci', 'chardev': 'c', 'tag': 'x'"));
	expect_error(peer, "GenericError", "Property 'vhost-user-blk-pci.tag' not found");
	expect_json(value(peer, DEVICE("'driver': 'vhost-user-blk-pci', 'chardev': 'c', "
	                               "'num-queues': 4")),
	    "{}");
	assert_int_equal(fixture->vmm.machine.added.kind, GUEST_VHOST_DISK);
	assert_int_equal(fixture->vmm.machine.added.queues, 4);
	say(peer, DEVICE("'driver': 'vhost-vsock-pci', 'guest-cid': 2, 'vhostfd': 'v'"));
	expect_error(peer, "GenericError", "guest-cid property must be greater than 2");
	say(peer, DEVICE("'driver': 'vhost-vsock-pci', 'guest-cid': 4294967295, 'vhostfd': 'v'"));
	expect_error(peer, "GenericError", "guest-cid property must be a 32-bit number");
	say(peer, DEVICE("'driver': 'vhost-vsock-pci', 'guest-cid': 5"));
	expect_error(peer, "GenericError", "'vhostfd' property is not set");
	say(peer, DEVICE("'driver': 'vhost-vsock-pci', 'guest-cid': 5, 'vhostfd': 'w'"));
	expect_error(peer, "GenericError", "File descriptor named 'w' not found");
	assert_false(is_closed(vsock));
	expect_json(
	    value(peer, DEVICE("'driver': 'vhost-vsock-pci', 'guest-cid': 5, 'vhostfd': 'v'")),
	    "{}");
	assert_int_equal(fixture->vmm.machine.added.cid, 5);
	assert_true(is_closed(disk) && is_closed(vsock));
	close(disk);
	close(vsock);
	peer_destroy(peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_name_stands_for_the_last_descriptor),
	    TEST(a_chardev_is_made_of_a_descriptor),
	    TEST(other_backends_are_refused),
	    TEST(a_device_takes_the_connection),
	    TEST(disks_and_vsock_have_arguments_of_their_own),
	};

	return cmocka_run_group_tests_name("chardev", tests, NULL, NULL);
}
