/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_query.c - the shape of every query's reply, and what is reported of operations.
 */
#include "control_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void test_simple_queries(void **state)
{
	struct peer *peer = peer_create_negotiated(*state);
	struct vmm *vmm = &peer->fixture->vmm;

	expect_json(value(peer, "{'execute': 'query-status'}\n"),
	    "{'running': true, 'singlestep': false, 'status': 'running'}");
	vmm->state = RUN_STATE_PANICKED;
	expect_json(value(peer, "{'execute': 'query-status'}\n"),
	    "{'running': false, 'singlestep': false, 'status': 'guest-panicked'}");
	vmm->guest.name = "";
	expect_json(value(peer, "{'execute': 'query-name'}\n"), "{}");
	vmm->guest.name = "a\xff\xc3\xa9";
	expect_json(value(peer, "{'execute': 'query-name'}\n"), "{'name': 'a?\\u00e9'}");
	expect_json(value(peer, "{'execute': 'query-uuid'}\n"),
	    "{'UUID': '00000000-0000-0000-0000-000000000000'}");
	vmm->machine.config.uuid = "00112233-4455-6677-8899-aabbccddeeff";
	expect_json(value(peer, "{'execute': 'query-uuid'}\n"),
	    "{'UUID': '00112233-4455-6677-8899-aabbccddeeff'}");
	expect_json(
	    value(peer, "{'execute': 'query-kvm'}\n"), "{'enabled': true, 'present': true}");
	expect_json(value(peer, "{'execute': 'query-metrics'}\n"),
	    "{'hcalls': 12, 'rtas-calls': 1099511627776}");
	peer_destroy(peer);
}

/* Every command is in the schema; and every command without required arguments answers. */
static void test_commands_and_schema(void **state)
{
	struct peer *peer = peer_create_negotiated(*state);
	json_t *names = value(peer, "{'execute': 'query-commands'}\n");
	json_t *schema = value(peer, "{'execute': 'query-schema'}\n");
	json_t *commands = json_object_get(schema, "commands"), *command;
	size_t i, required;

	assert_int_equal(json_array_size(names), json_array_size(commands));
	peer->fixture->vmm.state =
	    RUN_STATE_PAUSED; /* registers are those of a guest that stands */
	assert_true(json_array_size(json_object_get(schema, "events")) >= 9);
	json_array_foreach (commands, i, command) {
		const char *name = json_string_value(json_object_get(command, "name"));
		json_t *arguments = json_object_get(command, "arguments"), *argument, *reply;
		char text[128];
		size_t a;

		assert_string_equal(
		    name, json_string_value(json_object_get(json_array_get(names, i), "name")));
		required = 0;
		json_array_foreach (arguments, a, argument) {
			required += json_is_true(json_object_get(argument, "required"));
		}
		if (strncmp(name, "query-", 6) != 0)
			continue;
		assert_int_equal(required, 0);
		snprintf(text, sizeof text, "{'execute': '%s'}\n", name);
		reply = value(peer, text);
		json_decref(reply);
	}
	json_decref(names);
	json_decref(schema);
	peer_destroy(peer);
}

static void test_registers(void **state)
{
	struct peer *peer = peer_create_subscribed(*state);

	peer->fixture->vmm.machine.core_count = 1;
	say(peer, "{'execute': 'query-registers'}\n");
	expect(peer, "{'error': {'class': 'GenericError', 'desc': 'registers can be read only "
	             "while the guest does not run', 'hint': 'stop the guest first, and let it go "
	             "on with cont'}}");
	peer->fixture->vmm.state = RUN_STATE_PAUSED;
	expect_json(value(peer, "{'execute': 'query-registers'}\n"),
	    "[{'cpu-index': 0, 'state': 'running', 'pc': '0xc000000000000100', "
	    "'msr': '0x8000000000000000', 'lr': '0x0000000000000004', "
	    "'ctr': '0x0000000000000000', 'srr0': '0x0000000000000008', "
	    "'srr1': '0x0000000000000000'}, {'cpu-index': 1, 'state': 'stopped'}]");
	peer_destroy(peer);
}

static void test_cpu_queries(void **state)
{
	struct peer *peer = peer_create_subscribed(*state), *plain;
	struct spapr *machine = &peer->fixture->vmm.machine;

	machine->core_count = 2;
	expect_json(value(peer, "{'execute': 'query-hotpluggable-cpus'}\n"),
	    "[{'props': {'core-id': 2}, 'vcpus-count': 2, 'type': "
	    "'host-spapr-cpu-core'},"
	    " {'props': {'core-id': 0}, 'vcpus-count': 2, 'type': "
	    "'host-spapr-cpu-core', 'qom-path': '/machine/peripheral/core0'}]");
	expect_json(value(peer, "{'execute': 'query-cpus-fast'}\n"),
	    "[{'cpu-index': 0, 'qom-path': '/machine/peripheral/core0/thread[0]',"
	    "  'thread-id': 4711, 'props': {'core-id': 0}, 'target': 'ppc64',"
	    "  'state': 'running'},"
	    " {'cpu-index': 1, 'qom-path': '/machine/peripheral/core0/thread[1]',"
	    "  'thread-id': 0, 'props': {'core-id': 0}, 'target': 'ppc64',"
	    "  'state': 'stopped'}]");
	plain = peer_create_negotiated(*state);
	expect_json(value(plain, "{'execute': 'query-cpus-fast'}\n"),
	    "[{'cpu-index': 0, 'qom-path': '/machine/peripheral/core0/thread[0]',"
	    "  'thread-id': 4711, 'props': {'core-id': 0}, 'target': 'ppc64'},"
	    " {'cpu-index': 1, 'qom-path': '/machine/peripheral/core0/thread[1]',"
	    "  'thread-id': 0, 'props': {'core-id': 0}, 'target': 'ppc64'}]");
	peer_destroy(plain);
	peer_destroy(peer);
}

static void test_query_connectors(void **state)
{
	struct peer *peer = peer_create_negotiated(*state);
	struct spapr_core_info *core = &peer->fixture->vmm.machine.cores[1];
	json_t *list, *entry;

	core->connector.drc =
	    (struct drc){.state = DRC_CONFIGURED, .attached = true, .removing = true};
	core->connector.remove_operation = 3;
	snprintf(core->connector.device, OP_DEVICE_MAX, "one");
	core->connector.history_count = 1;
	core->connector.history[0].input = DRC_IN_CONFIGURE_END;
	core->connector.history[0].status = RTAS_NOT_CONFIGURABLE;
	core->connector.history[0].vcpu = 1;
	list =
	    value(peer, "{'execute': 'query-connectors', 'arguments': {'start': 1, 'count': 1}}\n");
	assert_int_equal(json_array_size(list), 1);
	entry = json_array_get(list, 0);
	assert_true(json_is_integer(
	    json_object_get(json_array_get(json_object_get(entry, "history"), 0), "ms-ago")));
	json_object_del(json_array_get(json_object_get(entry, "history"), 0), "ms-ago");
	expect_json(json_incref(entry),
	    "{'resource': 'core', 'unit': 2, 'core-id': 2, 'drc-index': 268435458, 'name': 'CPU 2',"
	    " 'state': 'configured', 'attached': true, 'device': 'one',"
	    " 'adding': false, 'removing': true, 'remove-operation': 3,"
	    " 'vcpus': [{'id': 2, 'state': 'absent'}, {'id': 3, 'state': 'absent'}],"
	    " 'history': [{'call': 'configure-end', 'vcpu': 1, 'status': -9003}]}");
	json_decref(list);
	list = value(
	    peer, "{'execute': 'query-connectors', 'arguments': {'start': -5, 'count': -1}}\n");
	assert_int_equal(json_array_size(list), 0);
	json_decref(list);
	peer_destroy(peer);
}

/* --- Operations ----------------------------------------------------------------------------- */

/* A removal that was notified and fetched, and may have been refused since. */
static struct operation make_removal(uint64_t id, enum op_outcome outcome)
{
	struct ops ops;
	struct operation slot = {0};
	struct op_evidence evidence = {
	    .source = OP_BY_GUEST,
	    .call = "set-indicator",
	    .indicator = 9001,
	    .value = 1,
	    .vcpu = 0,
	    .parts_used = 1,
	    .parts = 2,
	    .inferred = "last running core",
	};

	ops_init(&ops, &slot, 1);
	ops.last_id = id - 1;
	ops_begin(&ops, OP_REMOVE, &(struct op_subject){0x10000002, "core", 2, "one"}, 1000);
	op_pass(&ops, &slot, OP_NOTIFIED, 1001);
	op_pass(&ops, &slot, OP_FETCHED, 1004);
	if (outcome != OP_PENDING)
		op_end(&ops, &slot, outcome, &evidence, 1012);
	return slot;
}

#define REJECTED_EVIDENCE                                                                          \
	"{'source': 'guest', 'call': 'set-indicator', 'indicator': 9001, "                         \
	"'indicator-name': 'isolation-state', 'value': 1, 'vcpu': 0, "                             \
	"'phase': 'fetched', 'elapsed-ms': 12, 'threads-running': 1, 'threads': 2, "               \
	"'inferred': 'last running core'}"

#define REJECTED_REMOVAL                                                                           \
	"{'id': 1, 'kind': 'remove', 'device': 'one', 'resource': 'core', "                        \
	"'unit': 2, 'core-id': 2, "                                                                \
	"'drc-index': 268435458, 'outcome': 'rejected', 'phase': 'fetched', "                      \
	"'unresolved': false, 'notifications': 1, 'elapsed-ms': 12, "                              \
	"'steps': [{'step': 'requested', 'at-ms': 0}, "                                            \
	"{'step': 'notified', 'at-ms': 1}, {'step': 'fetched', 'at-ms': 4}, "                      \
	"{'step': 'ended', 'at-ms': 12}], 'evidence': " REJECTED_EVIDENCE "}"

static void test_query_operations(void **state)
{
	struct peer *peer = peer_create_negotiated(*state);
	struct spapr *machine = &peer->fixture->vmm.machine;
	json_t *list, *pending;

	machine->operations[0] = make_removal(1, OP_REJECTED);
	machine->operations[1] = make_removal(2, OP_PENDING);
	machine->operation_count = 2;
	list = value(peer, "{'execute': 'query-operations'}\n");
	assert_int_equal(json_array_size(list), 2);
	pending = json_array_get(list, 1);
	assert_null(json_object_get(pending, "evidence"));
	assert_string_equal(
	    json_string_value(json_object_get(pending, "stuck")), "event fetched, no answer since");
	json_decref(list);
	expect_json(value(peer, "{'execute': 'query-operations', 'arguments': {'id': 1}}\n"),
	    "[" REJECTED_REMOVAL "]");
	list =
	    value(peer, "{'execute': 'query-operations', 'arguments': {'start': 2, 'count': 5}}\n");
	assert_int_equal(json_array_size(list), 1);
	json_decref(list);
	expect_json(value(peer, "{'execute': 'operation-cancel', 'arguments': {'id': 2}}\n"), "{}");
	assert_int_equal(machine->cancelled, 2);
	say(peer, "{'execute': 'operation-cancel', 'arguments': {'id': -2}}\n");
	expect_error(peer, "GenericError", "operation 0 not found");
	peer_destroy(peer);
}

/* As many of each as there may be, each as long as it may be. */
static void make_longest(struct spapr *machine)
{
	machine->core_count = CORES_MAX;
	machine->config.threads = 1;
	machine->operation_count = SPAPR_OPERATIONS;
	for (uint32_t i = 0; i < CORES_MAX; i++) {
		struct spapr_core_info *core = &machine->cores[i];

		*core = (struct spapr_core_info){.core_id = i, .connector.drc_index = 0x1fffffff};
		memset(core->connector.device, 'x', sizeof core->connector.device - 1);
		core->connector.drc =
		    (struct drc){DRC_CONFIGURED, true, true, true, DRC_UNUSABLE, true};
		core->connector.add_operation = core->connector.remove_operation = UINT64_C(1)
		                                                                   << 60;
		core->vcpus[0].id = i;
		core->vcpus[0].state = SPAPR_VCPU_RUNNING;
		core->connector.history_count = 8;
		for (size_t h = 0; h < 8; h++) {
			core->connector.history[h].input = DRC_IN_CONFIGURE_END;
			core->connector.history[h].status = RTAS_NOT_CONFIGURABLE;
			core->connector.history[h].vcpu = UINT32_MAX;
		}
	}
	for (size_t i = 0; i < SPAPR_OPERATIONS; i++) {
		struct operation *op = &machine->operations[i];

		*op = make_removal(i + 1, OP_SUPERSEDED);
		memset(op->device, 'x', sizeof op->device - 1);
		for (size_t step = 0; step < OP_STEP_COUNT; step++)
			op->steps[step].order = step + 1;
	}
}

/* A reply is as long as its content. */
static void test_longest_lists(void **state)
{
	static const struct {
		const char *request;
		size_t items;
	} rows[] = {
	    {"{'execute': 'query-cpus-fast'}", CORES_MAX},
	    {"{'execute': 'query-hotpluggable-cpus'}", CORES_MAX},
	    {"{'execute': 'query-connectors'}", CORES_MAX},
	    {"{'execute': 'query-connectors', 'arguments': {'start': 2000}}", CORES_MAX - 2000},
	    {"{'execute': 'query-connectors', 'arguments': {'start': 7, 'count': 1000}}", 1000},
	    {"{'execute': 'query-operations'}", SPAPR_OPERATIONS},
	    {"{'execute': 'query-operations', 'arguments': {'start': 200, 'count': 500}}", 57},
	    {"{'execute': 'query-operations', 'arguments': {'id': 17}}", 1},
	};
	struct peer *peer = peer_create_negotiated(*state);
	json_t *list;

	make_longest(&peer->fixture->vmm.machine);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		list = value(peer, rows[i].request);
		assert_int_equal(json_array_size(list), rows[i].items);
		json_decref(list);
	}
	peer_destroy(peer);
}

/* Each is there, once, in order; and the id is, however long. */
static void test_2048_vcpus(void **state)
{
	struct peer *peer = peer_create_negotiated(*state);
	char *request = malloc(CONTROL_REQUEST_MAX), *id;
	json_t *reply, *list, *cpu;
	size_t i;

	make_longest(&peer->fixture->vmm.machine);
	assert_non_null(request);
	id = stpcpy(request, "{\"execute\": \"query-cpus-fast\", \"id\": \"");
	memset(id, 0xc3, 60000);
	for (i = 1; i < 60000; i += 2)
		id[i] = (char)0xa9;
	strcpy(id + 60000, "\"}");
	send_text(peer, request);
	reply = receive(peer);
	assert_int_equal(json_string_length(json_object_get(reply, "id")), 60000);
	list = json_object_get(reply, "return");
	assert_int_equal(json_array_size(list), 2048);
	json_array_foreach (list, i, cpu) {
		assert_int_equal(json_integer_value(json_object_get(cpu, "cpu-index")), i);
	}
	json_decref(reply);
	free(request);
	peer_destroy(peer);
}

/* A client of QEMU's protocol is told of no steps, and one that has not negotiated of nothing. */
static void test_events_are_made_for_who_gets_them(void **state)
{
	struct fixture *fixture = *state;
	struct bus *bus = &fixture->vmm.bus;
	const struct operation refused = make_removal(1, OP_REJECTED);
	struct peer *early = peer_create(fixture), *plain, *subscriber;

	bus_report(bus, &refused, OP_ENDED);
	assert_null(bus->queue);
	plain = peer_create_negotiated(fixture);
	bus_report(bus, &refused, OP_FETCHED);
	assert_null(bus->queue);
	bus_report(bus, &refused, OP_ENDED);
	assert_int_equal(json_array_size(bus->queue), 1);
	expect_event_named(plain, "DEVICE_UNPLUG_GUEST_ERROR");
	subscriber = peer_create_subscribed(fixture);
	bus_report(bus, &refused, OP_FETCHED);
	expect_event_named(subscriber, "OPERATION");
	peer_destroy(subscriber);
	expect_alive(plain);
	bus_report(bus, &refused, OP_FETCHED);
	assert_null(bus->queue);
	peer_destroy(early);
	peer_destroy(plain);
}

static void test_report_of_a_refusal(void **state)
{
	struct fixture *fixture = *state;
	struct peer *peer = peer_create_subscribed(fixture);
	struct peer *plain = peer_create_negotiated(fixture);
	struct operation operation = make_removal(1, OP_REJECTED);

	bus_report(&(struct bus){0}, &operation, OP_ENDED);
	bus_report(&fixture->vmm.bus, &operation, OP_FETCHED);
	expect_event(peer, "{'event': 'OPERATION', 'data': {'step': 'fetched', "
	                   "'operation': " REJECTED_REMOVAL "}}");
	bus_report(&fixture->vmm.bus, &operation, OP_ENDED);
	expect_event(peer, "{'event': 'OPERATION', 'data': {'step': 'ended', "
	                   "'operation': " REJECTED_REMOVAL "}}");
	expect_event(peer, "{'event': 'DEVICE_UNPLUG_GUEST_ERROR', 'data': {'device': 'one', "
	                   "'path': '/machine/peripheral/one', 'operation': 1, "
	                   "'evidence': " REJECTED_EVIDENCE "}}");
	expect_silence(peer);
	/* QMP has the last of them, and two members of it. */
	expect_event(plain, "{'event': 'DEVICE_UNPLUG_GUEST_ERROR', 'data': {'device': 'one', "
	                    "'path': '/machine/peripheral/one'}}");
	expect_silence(plain);
	peer_destroy(plain);
	peer_destroy(peer);
}

/* Which ends of which operations mean that the core is gone. */
static void test_report_of_a_deletion(void **state)
{
	static const struct {
		enum op_kind kind;
		enum op_outcome outcome;
		bool gone;
	} rows[] = {
	    {OP_REMOVE, OP_DONE, true},
	    {OP_REMOVE, OP_SUPERSEDED, true},
	    {OP_REMOVE, OP_CANCELLED, false},
	    {OP_ADD, OP_DONE, false},
	    {OP_ADD, OP_SUPERSEDED, false},
	    {OP_ADD, OP_REJECTED, true},
	    {OP_ADD, OP_CANCELLED, true},
	    {OP_RELEASE, OP_DONE, false},
	    {OP_TAKE, OP_DONE, false},
	};
	struct fixture *fixture = *state;
	struct peer *peer = peer_create_subscribed(fixture);
	struct peer *plain = peer_create_negotiated(fixture);

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct operation operation = make_removal(1, rows[i].outcome);

		operation.kind = OP_ADD;
		bus_report(&fixture->vmm.bus, &operation, OP_REQUESTED);
		expect_event_named(peer, "OPERATION");
		operation.kind = rows[i].kind;
		operation.device_left = rows[i].gone;
		bus_report(&fixture->vmm.bus, &operation, OP_ENDED);
		expect_event_named(peer, "OPERATION");
		if (rows[i].gone)
			expect_event(plain, "{'event': 'DEVICE_DELETED', 'data': {'device': 'one', "
			                    "'path': '/machine/peripheral/one'}}");
		if (rows[i].gone)
			expect_event(peer, "{'event': 'DEVICE_DELETED', 'data': {'device': 'one', "
			                   "'path': '/machine/peripheral/one'}}");
		expect_silence(peer);
		expect_silence(plain);
	}
	peer_destroy(plain);
	peer_destroy(peer);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    TEST(test_simple_queries),
	    TEST(test_commands_and_schema),
	    TEST(test_registers),
	    TEST(test_cpu_queries),
	    TEST(test_query_connectors),
	    TEST(test_query_operations),
	    TEST(test_longest_lists),
	    TEST(test_2048_vcpus),
	    TEST(test_report_of_a_refusal),
	    TEST(test_events_are_made_for_who_gets_them),
	    TEST(test_report_of_a_deletion),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
