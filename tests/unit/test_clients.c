/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_clients.c - clients of the control socket that do not behave: slow, many, greedy, gone.
 */
#include "control_fixture.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

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

/* Publish so many events of a thousand bytes. */
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
		fixture->vmm.machine.cores[i].connector.history_count = 8;
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

/* --- What clients can cause to be logged ---------------------------------------------------- */

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

/* A socket to which every user may connect, as one made by systemd may be. */
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

/* A client that sends many requests before it reads has to wait, and gets every answer in order. */
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
	assert_true(sent > 200); /* query-schema's reply is longer with each command */
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
	struct peer *peer = peer_create(fixture), *other = peer_create_negotiated(fixture);
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
	expect_event_named(other, "SHUTDOWN");
	expect_end(other);
	assert_int_equal(fixture->vmm.bus.listeners, 0);
	peer_destroy(peer);
	peer_destroy(other);
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
	/* The client does not connect again: the server accepts again. */
	while (peer->used == 0) {
		ev_run(fixture->loop, EVRUN_ONCE);
		peer_receive(peer);
	}
	json_decref(receive(peer));
	peer_destroy(peer);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
