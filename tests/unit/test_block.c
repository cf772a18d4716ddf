/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_block.c - the commands that bring disks to a machine that runs: descriptors passed over the
 * socket, block nodes made of them, and devices that use these.
 */
#include "control_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define ADD_FD "{'execute': 'add-fd'}"
#define NODE(arguments) "{'execute': 'blockdev-add', 'arguments': {" arguments "}}"
#define DEVICE(arguments) "{'execute': 'device_add', 'arguments': {" arguments "}}"
#define DISK "'driver': 'virtio-blk-pci'"
#define DELETE(name) "{'execute': 'blockdev-del', 'arguments': {'node-name': '" name "'}}"
#define FORGET(id) "{'execute': 'remove-fd', 'arguments': {'fdset-id': " #id "}}"

/* Pass the write end of a new pipe: the read end. Its set's number must be this. */
static int pass(struct peer *peer, int id)
{
	int write_end, read_end = pipe_in(&write_end);
	json_t *reply;

	say_with(peer, ADD_FD, &write_end, 1);
	close(write_end);
	reply = receive(peer);
	assert_int_equal(
	    json_integer_value(json_object_get(json_object_get(reply, "return"), "fdset-id")), id);
	json_decref(reply);
	assert_false(is_closed(read_end));
	return read_end;
}

static void make_node(struct peer *peer, const char *name, int id)
{
	char text[200];

	snprintf(text, sizeof text,
	    NODE("'driver': 'file', 'node-name': '%s', 'filename': '/dev/fdset/%d'"), name, id);
	expect_json(value(peer, text), "{}");
}

/* --- Descriptors ----------------------------------------------------------------------------- */

static void a_descriptor_is_kept_until_it_is_forgotten(void **state)
{
	struct peer *peer = peer_create_negotiated(*state);
	int end = pass(peer, 0), other = pass(peer, 1);
	char text[100];
	int fd = ((struct fixture *)*state)->vmm.blocks.sets[0].fd;

	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	snprintf(text, sizeof text,
	    "{'execute': 'remove-fd', 'arguments': {'fdset-id': 0, 'fd': %d}}", fd + 1000);
	say(peer, text);
	expect_error(peer, "GenericError", "File descriptor named 'fdset-id:0' not found");
	assert_false(is_closed(end));
	expect_json(value(peer, FORGET(0)), "{}");
	assert_true(is_closed(end));
	assert_false(is_closed(other));
	say(peer, FORGET(0));
	expect_error(peer, "GenericError", "File descriptor named 'fdset-id:0' not found");
	say(peer, FORGET(-1));
	expect_error(peer, "GenericError", "File descriptor named 'fdset-id:-1' not found");
	close(end);
	end = pass(peer, 0); /* the first free number */
	expect_json(value(peer, FORGET(0)), "{}");
	expect_json(value(peer, FORGET(1)), "{}");
	expect_json(value(peer, "{'execute': 'query-fdsets'}"), "[]");
	assert_true(is_closed(end) && is_closed(other));
	close(end);
	close(other);
	peer_destroy(peer);
}

static bool fdset_is(const struct fixture *fixture, size_t place)
{
	return fixture->vmm.blocks.sets[place].present;
}

static void a_descriptor_that_no_command_takes_is_closed(void **state)
{
	struct peer *peer = peer_create_negotiated(*state);
	int fds[4], ends[4];

	say(peer, ADD_FD);
	expect_error(peer, "GenericError", "No file descriptor supplied via SCM_RIGHTS");
	for (size_t i = 0; i < 4; i++)
		ends[i] = pipe_in(&fds[i]);
	/* Of several the first counts. */
	say_with(peer, "{'execute': 'query-fdsets'}", fds, 2);
	expect(peer, "{'return': []}");
	/* One that comes later takes its place; the command that is refused leaves it. */
	say_with(peer, "{'execute': 'add-fd', 'arguments': {'fdset-id': -3}}", &fds[2], 1);
	expect_error(peer, "GenericError", "Parameter 'fdset-id' expects a non-negative value");
	for (size_t i = 0; i < 3; i++)
		close(fds[i]);
	assert_true(is_closed(ends[0]) && is_closed(ends[1]));
	assert_false(is_closed(ends[2]));
	json_decref(value(peer, "{'execute': 'add-fd', 'arguments': {'fdset-id': 7}}"));
	/* A client that goes takes with it what it has not given away. */
	say_with(peer, "{'execute': 'query-fdsets'}", &fds[3], 1);
	json_decref(receive(peer));
	close(fds[3]);
	say(peer, "{'execute': 'add-fd', 'arguments': {'fdset-id': 7}}");
	expect_error(peer, "GenericError", "fdset 7 has a descriptor already");
	peer_destroy(peer);
	turn(*state);
	turn(*state);
	assert_true(is_closed(ends[3]));
	/* And what no node has taken. */
	assert_true(is_closed(ends[2]));
	for (size_t i = 0; i < 4; i++)
		close(ends[i]);
}

/* A client that ends before it has removed its set would leave it for ever. */
static void descriptors_go_with_their_connection(void **state)
{
	struct peer *peer = peer_create_negotiated(*state), *other = peer_create_negotiated(*state);
	int taken = pass(peer, 0), left = pass(peer, 1), of_other = pass(other, 2);

	make_node(other, "node", 0); /* any client may use it */
	peer_destroy(peer);
	turn(*state);
	turn(*state);
	assert_true(is_closed(left));
	assert_false(is_closed(of_other) || is_closed(taken));
	assert_false(fdset_is(*state, 0) || fdset_is(*state, 1));
	assert_true(fdset_is(*state, 2));
	expect_json(value(other, DELETE("node")), "{}");
	assert_true(is_closed(taken));
	peer_destroy(other);
	turn(*state);
	turn(*state);
	assert_true(is_closed(of_other));
	close(taken);
	close(left);
	close(of_other);
}

static void there_are_so_many_descriptors_and_nodes(void **state)
{
	struct peer *peer = peer_create_negotiated(*state);
	int ends[BLOCKS_MAX], fd, end;
	char name[16];

	for (int i = 0; i < BLOCKS_MAX; i++)
		ends[i] = pass(peer, i);
	end = pipe_in(&fd);
	say_with(peer, ADD_FD, &fd, 1);
	close(fd);
	expect_error(peer, "GenericError", "there can be no more than 64 descriptors");
	for (int i = 0; i < BLOCKS_MAX; i++) {
		snprintf(name, sizeof name, "node%d", i);
		make_node(peer, name, i);
	}
	expect_json(value(peer, FORGET(0)), "{}");
	assert_false(is_closed(ends[0])); /* the node has it */
	json_decref(value(peer, ADD_FD)); /* of the one that has waited */
	say(peer, NODE("'driver': 'file', 'node-name': 'more', 'filename': '/dev/fdset/0'"));
	expect_error(peer, "GenericError", "there can be no more than 64 block nodes");
	expect_json(value(peer, DELETE("node0")), "{}");
	assert_true(is_closed(ends[0]));
	make_node(peer, "more", 0);
	expect_json(value(peer, DELETE("more")), "{}");
	assert_true(is_closed(end));
	for (int i = 1; i < BLOCKS_MAX; i++) {
		char text[100];

		snprintf(text, sizeof text,
		    "{'execute': 'blockdev-del', 'arguments': {'node-name': 'node%d'}}", i);
		expect_json(value(peer, text), "{}");
		assert_true(is_closed(ends[i]));
		close(ends[i]);
	}
	close(ends[0]);
	close(end);
	peer_destroy(peer);
}

/* --- Nodes ----------------------------------------------------------------------------------- */

static void nodes_are_made_in_these_ways(void **state)
{
	static const char *const ways[] = {
	    NODE("'driver': 'file', 'node-name': 'n', 'filename': '/dev/fdset/0'"),
	    NODE("'driver': 'host_device', 'node-name': 'n', 'filename': '/dev/fdset/0', "
	         "'read-only': false"),
	    NODE("'driver': 'raw', 'node-name': 'n', 'file': {'driver': 'file', "
	         "'filename': '/dev/fdset/0'}"),
	    NODE("'driver': 'raw', 'node-name': 'n', 'read-only': true, 'file': {'driver': "
	         "'host_device', 'filename': '/dev/fdset/0'}"),
	};
	struct peer *peer = peer_create_negotiated(*state);

	for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
		int end = pass(peer, 0);

		expect_json(value(peer, ways[i]), "{}");
		/* The descriptor is the node's: the set can go, and be made again. */
		say(peer, NODE("'driver': 'file', 'node-name': 'm', 'filename': '/dev/fdset/0'"));
		expect_error(peer, "GenericError", "the descriptor of '/dev/fdset/0' is in use");
		expect_json(value(peer, FORGET(0)), "{}");
		assert_false(is_closed(end));
		expect_json(value(peer, "{'execute': 'query-named-block-nodes'}"),
		    i == 3 ? "[{'node-name': 'n', 'drv': 'raw', 'ro': true}]"
		           : "[{'node-name': 'n', 'drv': 'raw', 'ro': false}]");
		expect_json(value(peer, DELETE("n")), "{}");
		assert_true(is_closed(end));
		close(end);
	}
	peer_destroy(peer);
}

static void nodes_that_cannot_be_are_refused(void **state)
{
	/* clang-format off */
	static const struct {
		const char *text, *desc;
	} rows[] = {
	{NODE("'node-name': 'n', 'filename': '/dev/fdset/0'"), "Parameter 'driver' is missing"},
	{NODE("'driver': 'file', 'filename': '/dev/fdset/0'"), "Parameter 'node-name' is missing"},
	{NODE("'driver': 'file', 'node-name': 'n'"), "Parameter 'filename' is missing"},
	{NODE("'driver': 'qcow2', 'node-name': 'n', 'filename': '/dev/fdset/0'"), "Unknown driver 'qcow2'"},
	{NODE("'driver': 'raw', 'node-name': 'n', 'filename': '/dev/fdset/0'"), "Unknown driver '?'"},
	{NODE("'driver': 'raw', 'node-name': 'n', 'file': {'filename': '/dev/fdset/0'}"), "Unknown driver '?'"},
	{NODE("'driver': 'raw', 'node-name': 'n', 'file': {'driver': 'nbd'}"), "Unknown driver 'nbd'"},
	{NODE("'driver': 'raw', 'node-name': 'n', 'file': {'driver': 'raw'}"), "Unknown driver 'raw'"},
	{NODE("'driver': 'raw', 'node-name': 'n', 'file': {'driver': 'file'}"), "Parameter 'filename' is missing"},
	{NODE("'driver': 'raw', 'node-name': 'n', 'file': {'driver': 'file', 'filename': 3}"), "Parameter 'filename' is missing"},
	{NODE("'driver': 'raw', 'node-name': 'n', 'file': '/dev/fdset/0'"), "Invalid parameter type for 'file', expected: object"},
	{NODE("'driver': 'file', 'node-name': 'n', 'filename': '/dev/fdset/1'"), "Could not open '/dev/fdset/1'"},
	{NODE("'driver': 'file', 'node-name': 'n', 'filename': '/dev/fdset/'"), "Could not open '/dev/fdset/'"},
	{NODE("'driver': 'file', 'node-name': 'n', 'filename': '/dev/fdset/0x'"), "Could not open '/dev/fdset/0x'"},
	{NODE("'driver': 'file', 'node-name': 'n', 'filename': '/dev/fdset/-0'"), "Could not open '/dev/fdset/-0'"},
	{NODE("'driver': 'file', 'node-name': 'n', 'filename': '/dev/fdset/ 0'"), "Could not open '/dev/fdset/ 0'"},
	{NODE("'driver': 'file', 'node-name': 'n', 'filename': '/etc/passwd'"), "Could not open '/etc/passwd'"},
	{NODE("'driver': 'file', 'node-name': '0', 'filename': '/dev/fdset/0'"), "Invalid node-name: '0'"},
	{NODE("'driver': 'file', 'node-name': '', 'filename': '/dev/fdset/0'"), "Invalid node-name: ''"},
	{NODE("'driver': 'file', 'node-name': 'here', 'filename': '/dev/fdset/0'"), "Duplicate nodes with node-name='here'"},
	{DELETE("n"), "Failed to find node with node-name='n'"},
	{DELETE(""), "Failed to find node with node-name=''"},
	};
	/* clang-format on */
	struct peer *peer = peer_create_negotiated(*state);
	int here = pass(peer, 0), end;

	make_node(peer, "here", 0);
	expect_json(value(peer, FORGET(0)), "{}");
	end = pass(peer, 0);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		say(peer, rows[i].text);
		expect_error(peer, "GenericError", rows[i].desc);
	}
	expect_json(value(peer, "{'execute': 'query-named-block-nodes'}"),
	    "[{'node-name': 'here', 'drv': 'raw', 'ro': false}]");
	/* None of these has taken the descriptor. */
	make_node(peer, "n", 0);
	expect_json(value(peer, DELETE("n")), "{}");
	expect_json(value(peer, DELETE("here")), "{}");
	assert_true(is_closed(here) && is_closed(end));
	close(here);
	close(end);
	peer_destroy(peer);
}

/* --- Devices --------------------------------------------------------------------------------- */

static void a_node_is_busy_as_long_as_its_device_is_there(void **state)
{
	struct fixture *fixture = *state;
	struct peer *peer = peer_create_subscribed(fixture);
	struct spapr *machine = &fixture->vmm.machine;
	int end = pass(peer, 0);

	make_node(peer, "n", 0);
	expect_json(value(peer, DEVICE(DISK ", 'drive': 'n', 'id': 'data', 'serial': 'S1', "
	                                    "'num-queues': 3")),
	    "{'operation': 11}");
	assert_string_equal(machine->devices[0], "data");
	assert_string_equal(machine->serial, "S1");
	assert_int_equal(machine->added.queues, 3);
	assert_false(machine->added.readonly);
	assert_int_equal(machine->fds[0], fixture->vmm.blocks.nodes[0].fd);
	say(peer, DELETE("n"));
	expect_error(peer, "GenericError", "Node 'n' is busy: node is used as backend of 'data'");
	say(peer, DEVICE(DISK ", 'drive': 'n', 'id': 'again'"));
	expect_error(peer, "GenericError", "Drive 'n' is already in use by 'data'");
	assert_false(is_closed(end));
	/* It has left: the node can have another, and can go. */
	machine->devices[0][0] = '\0';
	expect_json(value(peer, DEVICE(DISK ", 'drive': 'n'")), "{'operation': 11}");
	assert_string_equal(machine->devices[0], "n");
	assert_string_equal(machine->serial, "");
	assert_int_equal(machine->added.queues, 1);
	machine->devices[0][0] = '\0';
	expect_json(value(peer, DELETE("n")), "{}");
	assert_true(is_closed(end));
	close(end);
	peer_destroy(peer);
}

/* It would report in the other's place. */
static void a_name_that_another_device_has_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct peer *peer = peer_create_subscribed(fixture);
	int first = pass(peer, 0), second = pass(peer, 1);
	unsigned calls;

	make_node(peer, "first", 0);
	make_node(peer, "second", 1);
	json_decref(value(peer, DEVICE(DISK ", 'drive': 'first', 'id': 'data'")));
	calls = fixture->vmm.calls;
	say(peer, DEVICE(DISK ", 'drive': 'second', 'id': 'data'"));
	expect_error(peer, "GenericError", "Duplicate device ID 'data'");
	assert_int_equal(fixture->vmm.calls, calls);
	close(first);
	close(second);
	peer_destroy(peer);
}

/* A name that another device has by now is no use of the node. */
static void a_node_is_not_busy_with_another_device_of_the_same_name(void **state)
{
	struct fixture *fixture = *state;
	struct peer *peer = peer_create_subscribed(fixture);
	int first = pass(peer, 0), second = pass(peer, 1);

	make_node(peer, "first", 0);
	make_node(peer, "second", 1);
	json_decref(value(peer, DEVICE(DISK ", 'drive': 'first', 'id': 'data'")));
	fixture->vmm.machine.devices[0][0] = '\0';
	json_decref(value(peer, DEVICE(DISK ", 'drive': 'second', 'id': 'data'")));
	expect_json(value(peer, DELETE("first")), "{}");
	assert_true(is_closed(first));
	say(peer, DELETE("second"));
	expect_error(peer, "GenericError", "Node 'second' is busy");
	fixture->vmm.machine.devices[0][0] = '\0';
	json_decref(value(peer, DEVICE("'driver': 'virtio-rng-pci', 'id': 'data'")));
	expect_json(value(peer, DELETE("second")), "{}");
	assert_true(is_closed(second));
	close(first);
	close(second);
	peer_destroy(peer);
}

static void devices_that_cannot_be_are_refused(void **state)
{
	/* clang-format off */
	static const struct {
		const char *text, *desc;
	} rows[] = {
	{DEVICE(DISK), "'drive' property is not set"},
	{DEVICE(DISK ", 'drive': 'x'"), "Property 'virtio-blk-device.drive' can't find value 'x'"},
	{DEVICE(DISK ", 'drive': ''"), "Property 'virtio-blk-device.drive' can't find value ''"},
	{DEVICE(DISK ", 'drive': 'n', 'serial': '123456789012345678901'"),
	    "serial '123456789012345678901' is longer than 20 characters"},
	{DEVICE(DISK ", 'drive': 'n', 'num-queues': 0"), "num-queues 0 out of range: 1 to 16"},
	{DEVICE(DISK ", 'drive': 'n', 'num-queues': 17"), "num-queues 17 out of range: 1 to 16"},
	{DEVICE(DISK ", 'drive': 'n', 'id': '0'"), "Parameter 'id' expects an identifier"},
	{DEVICE(DISK ", 'drive': 'n', 'core-id': 2"), "Property 'virtio-blk-pci.core-id' not found"},
	{DEVICE("'driver': 'virtio-rng-pci', 'drive': 'n'"), "Property 'virtio-rng-pci.drive' not found"},
	};
	/* clang-format on */
	struct fixture *fixture = *state;
	struct peer *peer = peer_create_negotiated(fixture);
	int end = pass(peer, 0);

	make_node(peer, "n", 0);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		say(peer, rows[i].text);
		expect_error(peer, "GenericError", rows[i].desc);
	}
	assert_int_equal(fixture->vmm.calls, 0);
	/* The machine refuses: the node is not in use then. */
	for (size_t i = 0; i < 4; i++)
		snprintf(fixture->vmm.machine.devices[i], OP_DEVICE_MAX, "other%zu", i);
	say(peer, DEVICE(DISK ", 'drive': 'n', 'id': 'data'"));
	expect_error(peer, "GenericError", "there is no slot");
	expect_json(value(peer, DELETE("n")), "{}");
	assert_true(is_closed(end));
	close(end);
	peer_destroy(peer);
}

/* Two descriptors of one open file have one lock. */
static void one_disk_is_not_two(void **state)
{
	struct fixture *fixture = *state;
	struct peer *peer = peer_create_subscribed(fixture);
	int file = memfd_create("disk", MFD_CLOEXEC);

	for (int i = 0; i < 2; i++) {
		say_with(peer, "{'execute': 'add-fd'}", &file, 1);
		json_decref(receive(peer));
	}
	make_node(peer, "first", 0);
	make_node(peer, "second", 1);
	json_decref(value(peer, DEVICE(DISK ", 'drive': 'first', 'id': 'data'")));
	say(peer, DEVICE(DISK ", 'drive': 'second', 'id': 'more'"));
	expect_error(peer, "GenericError", "Drive 'second' is the same disk as 'first'");
	/* When the first has left it is free. */
	fixture->vmm.machine.devices[0][0] = '\0';
	json_decref(value(peer, DEVICE(DISK ", 'drive': 'second', 'id': 'more'")));
	close(file);
	peer_destroy(peer);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    TEST(a_descriptor_is_kept_until_it_is_forgotten),
	    TEST(a_descriptor_that_no_command_takes_is_closed),
	    TEST(descriptors_go_with_their_connection),
	    TEST(there_are_so_many_descriptors_and_nodes),
	    TEST(nodes_are_made_in_these_ways),
	    TEST(nodes_that_cannot_be_are_refused),
	    TEST(one_disk_is_not_two),
	    TEST(a_node_is_busy_as_long_as_its_device_is_there),
	    TEST(a_name_that_another_device_has_is_refused),
	    TEST(a_node_is_not_busy_with_another_device_of_the_same_name),
	    TEST(devices_that_cannot_be_are_refused),
	};

	return cmocka_run_group_tests_name("block", tests, NULL, NULL);
}
