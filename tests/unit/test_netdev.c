/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_netdev.c - the commands that bring networks to a machine that runs: descriptors with names,
 * netdevs made of them, and devices that use these.
 */
#include "control_fixture.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define GETFD(name) "{'execute': 'getfd', 'arguments': {'fdname': '" name "'}}"
#define CLOSEFD(name) "{'execute': 'closefd', 'arguments': {'fdname': '" name "'}}"
#define NETDEV(arguments) "{'execute': 'netdev_add', 'arguments': {" arguments "}}"
#define STREAM(id, fd)                                                                             \
	NETDEV("'type': 'stream', 'id': '" id "', 'addr': {'type': 'fd', 'str': '" fd "'}")
#define DELETE(id) "{'execute': 'netdev_del', 'arguments': {'id': '" id "'}}"
#define DEVICE(arguments)                                                                          \
	"{'execute': 'device_add', 'arguments': {'driver': 'virtio-net-pci', " arguments "}}"
#define LINK(name, up) "{'execute': 'set_link', 'arguments': {'name': '" name "', 'up': " up "}}"
#define LIST "{'execute': 'query-netdevs'}"

/* Pass the write end of a new pipe under a name: the read end. */
static int pass(struct peer *peer, const char *name)
{
	int write_end, read_end = pipe_in(&write_end);
	char text[100];

	snprintf(text, sizeof text, GETFD("%s"), name);
	say_with(peer, text, &write_end, 1);
	close(write_end);
	expect(peer, "{'return': {}}");
	assert_false(is_closed(read_end));
	return read_end;
}

static void a_descriptor_has_a_name(void **state)
{
	struct peer *peer = peer_create_negotiated(*state);
	int first = pass(peer, "a"), second;

	say(peer, GETFD("b"));
	expect_error(peer, "GenericError", "No file descriptor supplied via SCM_RIGHTS");
	/* A second one takes its place. */
	second = pass(peer, "a");
	assert_true(is_closed(first));
	expect_json(value(peer, CLOSEFD("a")), "{}");
	assert_true(is_closed(second));
	say(peer, CLOSEFD("a"));
	expect_error(peer, "GenericError", "File descriptor named 'a' not found");
	say(peer, CLOSEFD(""));
	expect_error(peer, "GenericError", "File descriptor named '' not found");
	close(first);
	close(second);
	first = pipe_in(&second);
	say_with(peer, GETFD("1"), &second, 1);
	close(second);
	expect_error(
	    peer, "GenericError", "Parameter 'fdname' expects a name not starting with a digit");
	peer_destroy(peer);
	turn(*state);
	turn(*state);
	assert_true(is_closed(first));
	close(first);
}

static void descriptors_go_with_their_connection(void **state)
{
	struct peer *peer = peer_create_negotiated(*state), *other = peer_create_negotiated(*state);
	int taken = pass(peer, "a"), left = pass(peer, "b"), of_other = pass(other, "b");

	assert_false(is_closed(left)); /* each has names of its own */
	expect_json(value(peer, STREAM("n", "a")), "{}");
	say(other, STREAM("m", "a"));
	expect_error(other, "GenericError", "File descriptor named 'a' has not been found");
	peer_destroy(peer);
	turn(*state);
	turn(*state);
	assert_true(is_closed(left));
	assert_false(is_closed(of_other) || is_closed(taken));
	expect_json(value(other, DELETE("n")), "{}");
	assert_true(is_closed(taken));
	peer_destroy(other);
	turn(*state);
	turn(*state);
	assert_true(is_closed(of_other));
	close(taken);
	close(left);
	close(of_other);
}

static void there_are_so_many(void **state)
{
	struct peer *peer = peer_create_negotiated(*state);
	int ends[NETDEVS_MAX], fd, end;
	char text[160];

	for (int i = 0; i < NETDEVS_MAX; i++) {
		snprintf(text, sizeof text, "fd%d", i);
		ends[i] = pass(peer, text);
	}
	end = pipe_in(&fd);
	say_with(peer, GETFD("more"), &fd, 1);
	close(fd);
	expect_error(peer, "GenericError", "there can be no more than 32 descriptors");
	for (int i = 0; i < NETDEVS_MAX; i++) {
		snprintf(text, sizeof text, STREAM("n%d", "fd%d"), i, i);
		expect_json(value(peer, text), "{}");
	}
	expect_json(value(peer, GETFD("more")), "{}"); /* the one that has waited */
	say(peer, STREAM("more", "more"));
	expect_error(peer, "GenericError", "there can be no more than 32 netdevs");
	for (int i = 0; i < NETDEVS_MAX; i++) {
		snprintf(text, sizeof text, DELETE("n%d"), i);
		expect_json(value(peer, text), "{}");
		assert_true(is_closed(ends[i]));
		close(ends[i]);
	}
	expect_json(value(peer, LIST), "[]");
	expect_json(value(peer, CLOSEFD("more")), "{}");
	assert_true(is_closed(end));
	close(end);
	peer_destroy(peer);
}

static void netdevs_that_cannot_be_are_refused(void **state)
{
	/* clang-format off */
	static const struct {
		const char *text, *desc;
	} rows[] = {
	{NETDEV("'id': 'n'"), "Parameter 'type' is missing"},
	{NETDEV("'type': 'stream'"), "Parameter 'id' is missing"},
	{NETDEV("'type': 'user', 'id': 'n'"), "Parameter 'type' does not accept value 'user'"},
	{NETDEV("'type': 'stream', 'id': 'n'"), "Parameter 'addr' is not that of a descriptor"},
	{NETDEV("'type': 'stream', 'id': 'n', 'addr': {'type': 'unix', 'path': '/p'}"), "Parameter 'addr' is not that of a descriptor"},
	{NETDEV("'type': 'stream', 'id': 'n', 'addr': {'type': 'fd'}"), "Parameter 'addr' is not that of a descriptor"},
	{STREAM("n", "none"), "File descriptor named 'none' has not been found"},
	{STREAM("n", ""), "File descriptor named '' has not been found"},
	{STREAM("1", "fd"), "Parameter 'id' expects an identifier"},
	{STREAM("", "fd"), "Parameter 'id' expects an identifier"},
	{STREAM("here", "fd"), "Duplicate ID 'here' for netdev"},
	{STREAM("n", "fd:more"), "a stream has one descriptor"},
	{NETDEV("'type': 'tap', 'id': 'n'"), "Parameter 'fd' is missing"},
	{NETDEV("'type': 'tap', 'id': 'n', 'ifname': 'tap0'"), "Parameter 'ifname' is unexpected"},
	{NETDEV("'type': 'tap', 'id': 'n', 'fds': 'fd:fd'"), "File descriptor named 'fd' has not been found"},
	{NETDEV("'type': 'tap', 'id': 'n', 'fds': 'fd:'"), "File descriptor named '' has not been found"},
	{NETDEV("'type': 'tap', 'id': 'n', 'fds': 'fd:more:1:2:3:4:5:6'"), "File descriptor named '1:2:3:4:5:6' has not been found"},
	};
	/* clang-format on */
	struct peer *peer = peer_create_negotiated(*state);
	int here = pass(peer, "fd"), fd, more;

	expect_json(value(peer, STREAM("here", "fd")), "{}");
	fd = pass(peer, "fd");
	more = pass(peer, "more");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		say(peer, rows[i].text);
		expect_error(peer, "GenericError", rows[i].desc);
	}
	say(peer, DELETE("n"));
	expect_error(peer, "DeviceNotFound", "Device 'n' not found");
	say(peer, DELETE(""));
	expect_error(peer, "DeviceNotFound", "Device '' not found");
	/* None of these has taken a descriptor. */
	expect_json(
	    value(peer, NETDEV("'type': 'tap', 'id': 'n', 'fds': 'fd:more', 'vhost': false")),
	    "{}");
	expect_json(
	    value(peer, LIST), "[{'id': 'here', 'type': 'stream'}, {'id': 'n', 'type': 'tap'}]");
	expect_json(value(peer, DELETE("n")), "{}");
	expect_json(value(peer, DELETE("here")), "{}");
	assert_true(is_closed(here) && is_closed(fd) && is_closed(more));
	close(here);
	close(fd);
	close(more);
	peer_destroy(peer);
}

static void devices_that_cannot_be_are_refused(void **state)
{
	/* clang-format off */
	static const struct {
		const char *text, *desc;
	} rows[] = {
	{DEVICE("'id': 'd'"), "'netdev' property is not set"},
	{DEVICE("'netdev': 'm'"), "Property 'virtio-net-device.netdev' can't find value 'm'"},
	{DEVICE("'netdev': ''"), "Property 'virtio-net-device.netdev' can't find value ''"},
	{DEVICE("'netdev': 'n', 'mac': '1'"), "Property 'virtio-net-device.mac' doesn't take value '1'"},
	{DEVICE("'netdev': 'n', 'mac': '01:00:00:00:00:00'"), "Property 'virtio-net-device.mac' doesn't take value '01:00:00:00:00:00'"},
	{DEVICE("'netdev': 'n', 'mac': '00:00:00:00:00:00'"), "Property 'virtio-net-device.mac' doesn't take value '00:00:00:00:00:00'"},
	{DEVICE("'netdev': 'n', 'mac': '02:00:00:00:00:0x'"), "Property 'virtio-net-device.mac' doesn't take value '02:00:00:00:00:0x'"},
	{DEVICE("'netdev': 'n', 'mac': '2:0:0:0:0:0:::::::'"), "Property 'virtio-net-device.mac' doesn't take value '2:0:0:0:0:0:::::::'"},
	{DEVICE("'netdev': 'n', 'host_mtu': 67"), "host_mtu 67 out of range: 68 to 65520"},
	{DEVICE("'netdev': 'n', 'host_mtu': 65521"), "host_mtu 65521 out of range: 68 to 65520"},
	{DEVICE("'netdev': 'n', 'drive': 'x'"), "Property 'virtio-net-pci.drive' not found"},
	};
	/* clang-format on */
	struct peer *peer = peer_create_negotiated(*state);
	int end = pass(peer, "fd");

	expect_json(value(peer, STREAM("n", "fd")), "{}");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		say(peer, rows[i].text);
		expect_error(peer, "GenericError", rows[i].desc);
	}
	expect_json(value(peer, DELETE("n")), "{}");
	close(end);
	peer_destroy(peer);
}

static void a_netdev_is_busy_as_long_as_its_device_is_there(void **state)
{
	static const uint8_t mac[] = {0x52, 0x54, 0, 0x12, 0xab, 0xcd};
	struct fixture *fixture = *state;
	struct spapr *machine = &fixture->vmm.machine;
	struct peer *peer = peer_create_subscribed(fixture);
	int end = pass(peer, "fd"), other;

	expect_json(value(peer, STREAM("n", "fd")), "{}");
	expect_json(
	    value(peer, DEVICE("'netdev': 'n', 'id': 'lan', 'mq': true, 'host_mtu': '1400', "
	                       "'mac': '52:54:00:12:ab:CD'")),
	    "{'operation': 11}");
	assert_string_equal(machine->devices[0], "lan");
	assert_true(machine->added.has_mac);
	assert_memory_equal(machine->added.mac, mac, sizeof mac);
	assert_int_equal(machine->added.mtu, 1400);
	assert_int_equal(machine->added.fd_count, 1);
	assert_int_equal(machine->fds[0], fixture->vmm.netdevs.list[0].fds[0]);
	expect_json(value(peer, LIST), "[{'id': 'n', 'type': 'stream', 'device': 'lan'}]");
	say(peer, DELETE("n"));
	expect_error(peer, "GenericError", "Device 'n' is in use by 'lan'");
	other = pass(peer, "other");
	expect_json(value(peer, STREAM("m", "other")), "{}");
	say(peer, DEVICE("'netdev': 'm', 'id': 'lan'"));
	expect_error(peer, "GenericError", "Duplicate device ID 'lan'");
	expect_json(value(peer, DELETE("m")), "{}");
	close(other);
	say(peer, DEVICE("'netdev': 'n', 'id': 'again'"));
	expect_error(peer, "GenericError",
	    "Property 'virtio-net-device.netdev' can't take value 'n', it's in use");
	/* The link, by either name. */
	expect_json(value(peer, LINK("n", "false")), "{}");
	assert_string_equal(machine->link, "lan");
	assert_false(machine->link_up);
	expect_json(value(peer, LINK("lan", "true")), "{}");
	assert_true(machine->link_up);
	/* It has left. */
	machine->devices[0][0] = '\0';
	say(peer, LINK("n", "true"));
	expect_error(peer, "DeviceNotFound", "Device 'n' not found");
	expect_json(value(peer, LIST), "[{'id': 'n', 'type': 'stream'}]");
	expect_json(value(peer, DEVICE("'netdev': 'n'")), "{'operation': 11}");
	assert_string_equal(machine->devices[0], "n");
	assert_false(machine->added.has_mac);
	machine->devices[0][0] = '\0';
	assert_false(is_closed(end));
	expect_json(value(peer, DELETE("n")), "{}");
	assert_true(is_closed(end));
	close(end);
	peer_destroy(peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_descriptor_has_a_name),
	    TEST(descriptors_go_with_their_connection),
	    TEST(there_are_so_many),
	    TEST(netdevs_that_cannot_be_are_refused),
	    TEST(devices_that_cannot_be_are_refused),
	    TEST(a_netdev_is_busy_as_long_as_its_device_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
