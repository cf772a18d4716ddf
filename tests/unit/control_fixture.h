/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control_fixture.h - a control socket to test: a machine of canned answers behind it, and a
 * client in front of it.
 *
 * The control room is real, and so are the socket and the loop, which is turned by
 * hand: a test that waits for an answer turns it until the answer is there, and fails if it has
 * not come after TURNS_MAX turns. Nothing sleeps, and nothing looks at a clock.
 *
 * Where a function takes JSON to write or to compare with, ' may stand for ".
 */
#ifndef PAPRIKA_CONTROL_FIXTURE_H
#define PAPRIKA_CONTROL_FIXTURE_H

#include <ev.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/bus.h"
#include "control/control.h"
#include "control/guest.h"
#include "spapr/spapr.h"

#define TURNS_MAX 20000
#define CORES_MAX 2048
#define MEMORIES 4

struct spapr {
	struct spapr_config config;
	struct spapr_core_info cores[CORES_MAX];
	uint32_t core_count;
	struct operation operations[SPAPR_OPERATIONS];
	size_t operation_count;
	/* What was asked of it: how often, and what last. */
	unsigned calls;
	uint32_t added_core;
	char added_device[OP_DEVICE_MAX];
	char removed_device[OP_DEVICE_MAX];
	bool forced; /* a removal */
	uint64_t cancelled, memory_target, core_target;
	struct spapr_memory_info memory[MEMORIES];
	uint32_t memory_count;
	/* What a request for a target is answered with. */
	size_t begins;
	const char *target_error;
	/* PCI devices that were added, by name, and what the last one was to be; its texts and
	 * descriptors are copied. */
	char devices[4][OP_DEVICE_MAX];
	struct guest_device added;
	char serial[32], tag[48];
	int fds[GUEST_DEVICE_FDS];
	char busy_device[OP_DEVICE_MAX]; /* a reset waits for it */
	char link[OP_DEVICE_MAX];        /* the last that was set */
	bool link_up;
};

struct vmm {
	struct spapr machine;
	struct backends backends;
	struct blocks blocks;
	struct netdevs netdevs;
	struct chardevs chardevs;
	struct guest guest;
	struct bus bus;
	struct control *control;
	enum run_state state;
	bool may_not_cont;
	unsigned calls;
};

struct fixture {
	struct ev_loop *loop;
	struct vmm vmm;
	char directory[32];
	char path[64];
};

/* A client. All that it receives has to be of the types in tests/qmp/types.json. */
struct peer {
	struct fixture *fixture;
	int fd;
	bool ended; /* the server has hung up */
	bool subscribed;
	size_t used;
	char bytes[4 << 20];
};

/* Each test gets a fixture of its own: four cores of two threads, the first core attached. */
int fixture_setup(void **state);
int fixture_teardown(void **state);
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

/* Give the machine this many cores of two threads. */
void make_machine(struct spapr *machine, uint32_t count);

/* Let the loop handle what there is. */
void turn(struct fixture *fixture);

int connect_to(const char *path);

/* Connected, nothing received; greeted; negotiated; subscribed. */
struct peer *peer_connect(struct fixture *fixture);
struct peer *peer_create(struct fixture *fixture);
struct peer *peer_create_negotiated(struct fixture *fixture);
struct peer *peer_create_subscribed(struct fixture *fixture);
void peer_destroy(struct peer *peer);

/* Take what has been sent so far. */
void peer_receive(struct peer *peer);

/* Send, turning the loop; say() takes JSON, the others bytes as they are. */
void send_bytes(struct peer *peer, const char *bytes, size_t length);
void send_text(struct peer *peer, const char *text);
void say(struct peer *peer, const char *json);

/* Send JSON before the loop has turned. */
void say_at_once(struct peer *peer, const char *json);

/* The next object the server sends, its line being checked; NULL if it closes the connection first.
 */
json_t *receive(struct peer *peer);

/* Say something; what it returns. Anything but what the command returns is a failure. */
json_t *value(struct peer *peer, const char *json);

/* Compare; the object is freed. */
void expect_json(json_t *object, const char *json);

/* The next object is this; an event, whatever its time; an event of this name; or an error of
 * this class, without id, whose text begins like this. */
void expect(struct peer *peer, const char *json);
void expect_event(struct peer *peer, const char *json);
void expect_event_named(struct peer *peer, const char *name);
void expect_error(struct peer *peer, const char *class, const char *desc);

/* Nothing comes; the next line is answered; the connection ends, after a whole line. */
void expect_silence(struct peer *peer);
void expect_alive(struct peer *peer);
void expect_end(struct peer *peer);

/* A pipe of the test's: the write end is passed, and the read end tells when it is open nowhere. */
int pipe_in(int *ret_write);
bool is_closed(int read_end);

/* Say something with descriptors. */
void say_with(struct peer *peer, const char *json, const int *fds, size_t count);

#endif
