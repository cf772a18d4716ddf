/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_resources.c - the commands for memory, and those that set a size or a number as a target.
 */
#include "control_fixture.h"

#include <stdio.h>
#include <string.h>

#include "control/devices.h"

#define GIB (UINT64_C(1) << 30)
#define OBJECT(arguments) "{'execute': 'object-add', 'arguments': {" arguments "}}"
#define ADD(arguments) "{'execute': 'device_add', 'arguments': {" arguments "}}"
#define RAM "'qom-type': 'memory-backend-ram'"
#define DIMM "'driver': 'pc-dimm'"
#define CORE "'driver': 'host-spapr-cpu-core', 'core-id': 2"

static void make_backend(struct peer *peer, const char *id)
{
	char text[160];

	snprintf(text, sizeof text, OBJECT(RAM ", 'id': '%s', 'size': 268435456"), id);
	expect_json(value(peer, text), "{}");
}

static void delete_backend(struct peer *peer, const char *id)
{
	char text[160];

	snprintf(text, sizeof text, "{'execute': 'object-del', 'arguments': {'id': '%s'}}", id);
	say(peer, text);
}

/* None of these has an effect. */
static void test_refused_requests_for_memory(void **state)
{
	/* clang-format off */
	static const struct {
		const char *text, *class, *desc;
	} rows[] = {
	{OBJECT("'id': 'm', 'size': 1"), "GenericError",
		"Parameter 'qom-type' is missing"},
	{OBJECT("'qom-type': 'memory-backend-file', 'id': 'm', 'size': 1"), "GenericError",
		"Parameter 'qom-type' does not accept value 'memory-backend-file'"},
	{OBJECT(RAM ", 'size': 1"), "GenericError",
		"Parameter 'id' is missing"},
	{OBJECT(RAM ", 'id': '1m', 'size': 1"), "GenericError",
		"Parameter 'id' expects an identifier"},
	{OBJECT(RAM ", 'id': 'm'"), "GenericError",
		"Parameter 'size' is missing"},
	{OBJECT(RAM ", 'id': 'm', 'size': '1'"), "GenericError",
		"Invalid parameter type for 'size', expected: integer"},
	{OBJECT(RAM ", 'id': 'm', 'size': 0"), "GenericError",
		"property 'size' of memory-backend-ram doesn't take value '0'"},
	{OBJECT(RAM ", 'id': 'm', 'size': -268435456"), "GenericError",
		"property 'size' of memory-backend-ram doesn't take value '-268435456'"},
	{OBJECT(RAM ", 'id': 'here', 'size': 1"), "GenericError",
		"attempt to add duplicate property 'here' to object (type 'container')"},
	{"{'execute': 'object-del', 'arguments': {'id': 'm'}}", "GenericError",
		"object 'm' not found"},
	{ADD(DIMM), "GenericError",
		"'memdev' property is not set"},
	{ADD(DIMM ", 'memdev': 'm'"), "DeviceNotFound",
		"Device 'm' not found"},
	{ADD(DIMM ", 'memdev': 'here', 'addr': -1"), "GenericError",
		"addr -1 out of range"},
	{ADD(DIMM ", 'memdev': 'here', 'addr': 'x'"), "GenericError",
		"Parameter 'addr' expects integer"},
	{ADD(DIMM ", 'memdev': 'here', 'id': '1d'"), "GenericError",
		"Parameter 'id' expects an identifier"},
	{ADD(DIMM ", 'memdev': 'here', 'core-id': 2"), "GenericError",
		"Property 'pc-dimm.core-id' not found"},
	{ADD(DIMM ", 'memdev': 'here', 'nr-threads': 2"), "GenericError",
		"Property 'pc-dimm.nr-threads' not found"},
	{ADD(CORE ", 'memdev': 'here'"), "GenericError",
		"Property 'spapr-cpu-core.memdev' not found"},
	{ADD(CORE ", 'addr': 0"), "GenericError",
		"Property 'spapr-cpu-core.addr' not found"},
	{ADD(CORE ", 'addr': false"), "GenericError",
		"Parameter 'addr' expects integer"},
	{"{'execute': 'set-memory'}", "GenericError",
		"Parameter 'size' is missing"},
	{"{'execute': 'set-memory', 'arguments': {'size': '1G'}}", "GenericError",
		"Invalid parameter type for 'size', expected: integer"},
	{"{'execute': 'set-cores'}", "GenericError",
		"Parameter 'count' is missing"},
	{"{'execute': 'query-connectors', 'arguments': {'resource': 'disk'}}", "GenericError",
		"Parameter 'resource' does not accept value 'disk'"},
	};
	/* clang-format on */
	struct peer *peer = peer_create_negotiated(*state);

	make_backend(peer, "here");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		say(peer, rows[i].text);
		expect_error(peer, rows[i].class, rows[i].desc);
	}
	assert_int_equal(peer->fixture->vmm.machine.calls, 0);
	peer_destroy(peer);
}

static void test_add_a_dimm(void **state)
{
	struct peer *peer = peer_create_subscribed(*state), *plain;
	struct spapr *machine = &peer->fixture->vmm.machine;

	make_backend(peer, "mem1");
	make_backend(peer, "mem2");
	expect_json(value(peer, ADD(DIMM ", 'memdev': 'mem1', 'id': 'd1'")), "{'operation': 9}");
	assert_string_equal(machine->memory[0].connector.device, "d1");
	assert_int_equal(machine->memory[0].bytes, 1 << 28);
	assert_int_equal(machine->memory[0].address, GIB);
	plain = peer_create_negotiated(*state);
	/* Without a name it has that of its backend; an argument that is null is not given. */
	expect_json(
	    value(plain, ADD(DIMM ", 'memdev': 'mem2', 'addr': '0x50000000', 'core-id': null")),
	    "{}");
	assert_string_equal(machine->memory[1].connector.device, "mem2");
	assert_int_equal(machine->memory[1].address, 0x50000000);
	peer_destroy(plain);
	peer_destroy(peer);
}

/* From its device's add until the device has left, a backend is in use. */
static void test_life_of_a_backend(void **state)
{
	struct peer *peer = peer_create_negotiated(*state);
	struct spapr *machine = &peer->fixture->vmm.machine;

	make_backend(peer, "mem");
	expect_json(value(peer, ADD(DIMM ", 'memdev': 'mem', 'id': 'd'")), "{}");
	delete_backend(peer, "mem");
	expect_error(peer, "GenericError", "object 'mem' is in use, can not be deleted");
	say(peer, ADD(DIMM ", 'memdev': 'mem', 'id': 'e'"));
	expect_error(peer, "GenericError", "can't use already busy memdev: mem");
	machine->memory_count = 0;
	/* The next device of this name has another. */
	make_backend(peer, "other");
	expect_json(value(peer, ADD(DIMM ", 'memdev': 'other', 'id': 'd'")), "{}");
	delete_backend(peer, "mem");
	expect(peer, "{'return': {}}");
	delete_backend(peer, "mem");
	expect_error(peer, "GenericError", "object 'mem' not found");
	delete_backend(peer, "other");
	expect_error(peer, "GenericError", "object 'other' is in use");
	peer_destroy(peer);
}

/* What the machine refuses leaves the backend free. */
static void test_a_dimm_that_is_refused(void **state)
{
	struct peer *peer = peer_create_negotiated(*state);
	struct spapr *machine = &peer->fixture->vmm.machine;

	for (uint32_t i = 0; i < MEMORIES; i++)
		machine->memory[i] = (struct spapr_memory_info){
		    .address = (4 + i) * (GIB / 4), .bytes = GIB / 4, .connector.device = "d"};
	machine->memory_count = MEMORIES;
	make_backend(peer, "mem");
	say(peer, ADD(DIMM ", 'memdev': 'mem'"));
	expect_error(peer, "GenericError", "there is no room");
	delete_backend(peer, "mem");
	expect(peer, "{'return': {}}");
	peer_destroy(peer);
}

static void test_as_many_backends_as_there_can_be(void **state)
{
	struct peer *peer = peer_create_subscribed(*state);
	char id[16];

	for (int i = 0; i < BACKENDS_MAX; i++) {
		snprintf(id, sizeof id, "m%d", i);
		make_backend(peer, id);
	}
	say(peer, OBJECT(RAM ", 'id': 'one-more', 'size': 268435456"));
	expect(peer, "{'error': {'class': 'GenericError', "
	             "'desc': 'there can be no more than 64 memory backends', "
	             "'hint': 'set-memory needs no backends; or use object-del'}}");
	delete_backend(peer, "m7");
	expect(peer, "{'return': {}}");
	make_backend(peer, "one-more");
	peer_destroy(peer);
}

static void test_queries_of_memory(void **state)
{
	struct peer *peer = peer_create_subscribed(*state), *plain;
	struct spapr *machine = &peer->fixture->vmm.machine;

	machine->config.memory_bytes = GIB;
	expect_json(value(peer, "{'execute': 'query-memory-devices'}"), "[]");
	expect_json(value(peer, "{'execute': 'query-memory-size-summary'}"),
	    "{'base-memory': 1073741824, 'plugged-memory': 0, 'max-memory': 1073741824}");
	machine->config.max_memory_bytes = 4 * GIB;
	make_backend(peer, "mem");
	expect_json(value(peer, ADD(DIMM ", 'memdev': 'mem', 'id': 'd'")), "{'operation': 9}");
	/* One of set-memory: it has no backend, and is its own. */
	machine->memory[1] = (struct spapr_memory_info){
	    .address = 2 * GIB, .bytes = 1 << 28, .block = 8, .connector.device = "memory8"};
	machine->memory_count = 2;
	plain = peer_create_negotiated(*state);
	expect_json(value(plain, "{'execute': 'query-memory-devices'}"),
	    "[{'type': 'dimm', 'data': {'id': 'd', 'addr': 1073741824, 'size': 268435456, "
	    "'slot': 4, 'node': 0, 'memdev': '/objects/mem', 'hotplugged': true, "
	    "'hotpluggable': true}}, "
	    "{'type': 'dimm', 'data': {'id': 'memory8', 'addr': 2147483648, 'size': 268435456, "
	    "'slot': 8, 'node': 0, 'memdev': '/objects/memory8', 'hotplugged': true, "
	    "'hotpluggable': true}}]");
	expect_json(value(plain, "{'execute': 'query-memory-size-summary'}"),
	    "{'base-memory': 1073741824, 'plugged-memory': 536870912}");
	expect_json(value(peer, "{'execute': 'query-memory-size-summary'}"),
	    "{'base-memory': 1073741824, 'plugged-memory': 536870912, 'max-memory': 4294967296}");
	peer_destroy(plain);
	peer_destroy(peer);
}

static size_t count_connectors(struct peer *peer, const char *arguments)
{
	char text[160];
	json_t *list;
	size_t count;

	snprintf(
	    text, sizeof text, "{'execute': 'query-connectors', 'arguments': {%s}}", arguments);
	list = value(peer, text);
	count = json_array_size(list);
	json_decref(list);
	return count;
}

static void test_connectors_of_memory(void **state)
{
	struct peer *peer = peer_create_negotiated(*state);
	struct spapr *machine = &peer->fixture->vmm.machine;

	for (uint32_t i = 0; i < 2; i++)
		machine->memory[i] = (struct spapr_memory_info){.address = (4 + i) << 28,
		    .bytes = 1 << 28,
		    .block = 4 + i,
		    .blocks = 2,
		    .blocks_in_use = 1,
		    .connector.device = "d",
		    .connector.drc_index = 0x80000004 + i,
		    .connector.remove_operation = 5,
		    .connector.drc = {.state = DRC_CONFIGURED, .attached = true, .removing = true}};
	machine->memory_count = 2;
	assert_int_equal(count_connectors(peer, ""), 6);
	assert_int_equal(count_connectors(peer, "'resource': 'core'"), 4);
	assert_int_equal(count_connectors(peer, "'resource': 'memory'"), 2);
	assert_int_equal(count_connectors(peer, "'count': 5"), 5);
	assert_int_equal(count_connectors(peer, "'resource': 'memory', 'start': 6"), 0);
	/* Of cores those from core-id 5 on, and so with blocks. */
	assert_int_equal(count_connectors(peer, "'start': 5"), 2);
	expect_json(value(peer, "{'execute': 'query-connectors', 'arguments': "
	                        "{'resource': 'memory', 'start': 5, 'count': 1}}"),
	    "[{'resource': 'memory', 'unit': 5, 'blocks': 2, 'blocks-in-use': 1, "
	    "'drc-index': 2147483653, 'name': 'LMB 5', 'state': 'configured', 'attached': true, "
	    "'device': 'd', 'adding': false, 'removing': true, 'remove-operation': 5, "
	    "'history': []}]");
	peer_destroy(peer);
}

/* What proves the end of an operation of memory: its blocks, and a fence. */
static void test_operation_of_memory(void **state)
{
	static const struct op_evidence evidence = {
	    .source = OP_BY_FENCE, .parts_used = 1, .parts = 2, .inferred = "a page stays"};
	struct peer *peer = peer_create_negotiated(*state);
	struct spapr *machine = &peer->fixture->vmm.machine;
	struct ops ops;

	ops_init(&ops, machine->operations, SPAPR_OPERATIONS);
	ops_begin(&ops, OP_REMOVE, &(struct op_subject){0x80000004, "memory", 4, "d"}, 1000);
	op_end(&ops, &machine->operations[0], OP_REJECTED, &evidence, 1012);
	machine->operation_count = 1;
	expect_json(value(peer, "{'execute': 'query-operations'}"),
	    "[{'id': 1, 'kind': 'remove', 'device': 'd', 'resource': 'memory', 'unit': 4, "
	    "'drc-index': 2147483652, 'outcome': 'rejected', 'phase': 'requested', "
	    "'unresolved': false, 'notifications': 0, 'elapsed-ms': 12, "
	    "'steps': [{'step': 'requested', 'at-ms': 0}, {'step': 'ended', 'at-ms': 12}], "
	    "'evidence': {'source': 'fence', 'phase': 'requested', 'elapsed-ms': 12, "
	    "'blocks-in-use': 1, 'blocks': 2, 'inferred': 'a page stays'}}]");
	peer_destroy(peer);
}

static void test_targets(void **state)
{
	static const struct {
		const char *text;
		uint64_t memory, cores;
	} rows[] = {
	    {"{'execute': 'set-memory', 'arguments': {'size': 4294967296}}", 4 * GIB, 0},
	    {"{'execute': 'set-cores', 'arguments': {'count': 3}}", 0, 3},
	    /* The machine refuses 0 of each; what is no number of them becomes that. */
	    {"{'execute': 'set-memory', 'arguments': {'size': -1}}", 0, 0},
	    {"{'execute': 'set-cores', 'arguments': {'count': -1}}", 0, 0},
	    {"{'execute': 'set-cores', 'arguments': {'count': 4294967297}}", 0, 0},
	};
	struct peer *peer = peer_create_negotiated(*state);
	struct spapr *machine = &peer->fixture->vmm.machine;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		bool memory = strstr(rows[i].text, "set-memory") != NULL;

		machine->memory_target = machine->core_target = memory ? 1 : 2;
		machine->begins = 2;
		machine->target_error = NULL;
		expect_json(value(peer, rows[i].text), "{'operations': [20, 21]}");
		assert_int_equal(machine->memory_target, memory ? rows[i].memory : 2);
		assert_int_equal(machine->core_target, memory ? 1 : rows[i].cores);
		/* Reached already; not reached in full; not at all. */
		machine->begins = 0;
		expect_json(value(peer, rows[i].text), "{'operations': []}");
		machine->begins = 1;
		machine->target_error = "no more";
		expect_json(
		    value(peer, rows[i].text), "{'operations': [20], 'incomplete': 'no more'}");
		machine->begins = 0;
		say(peer, rows[i].text);
		expect_error(peer, "GenericError", "no more");
	}
	peer_destroy(peer);
}

/* No more than half of the operations that can be remembered begin at once. */
static void test_a_target_that_takes_several_requests(void **state)
{
	struct peer *peer = peer_create_negotiated(*state);
	json_t *reply;

	peer->fixture->vmm.machine.begins = 1000;
	reply = value(peer, "{'execute': 'set-memory', 'arguments': {'size': 4294967296}}");
	assert_int_equal(
	    json_array_size(json_object_get(reply, "operations")), SPAPR_OPERATIONS / 2);
	assert_string_equal(json_string_value(json_object_get(reply, "incomplete")),
	    "ask again when these have ended: no more can be pending at once");
	json_decref(reply);
	peer_destroy(peer);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    TEST(test_refused_requests_for_memory),
	    TEST(test_add_a_dimm),
	    TEST(test_life_of_a_backend),
	    TEST(test_a_dimm_that_is_refused),
	    TEST(test_as_many_backends_as_there_can_be),
	    TEST(test_queries_of_memory),
	    TEST(test_connectors_of_memory),
	    TEST(test_operation_of_memory),
	    TEST(test_targets),
	    TEST(test_a_target_that_takes_several_requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
