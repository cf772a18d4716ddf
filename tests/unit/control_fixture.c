/* SPDX-License-Identifier: Apache-2.0 */
/* control_fixture.c - see control_fixture.h. */
#include "control_fixture.h"

#include <fcntl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "qmp_types.h"

/* --- The machine behind the socket -------------------------------------------------------- */

static enum run_state vmm_run_state(const struct vmm *vmm)
{
	return vmm->state;
}

static void vmm_stop(struct vmm *vmm)
{
	vmm->calls++;
	vmm->state = RUN_STATE_PAUSED;
	bus_publish(&vmm->bus, "STOP", json_object());
}

static bool vmm_cont(struct vmm *vmm, struct err *err)
{
	vmm->calls++;
	if (vmm->may_not_cont)
		return err_set(err, ERR_STATE, "system_reset starts it again",
		    "Resetting the Virtual Machine is required");
	vmm->state = RUN_STATE_RUNNING;
	bus_publish(&vmm->bus, "RESUME", json_object());
	return true;
}

static bool vmm_reset(struct vmm *vmm, struct err *err)
{
	(void)err;
	vmm->calls++;
	bus_publish(&vmm->bus, "RESET",
	    json_pack("{s:b, s:s}", "guest", 0, "reason", "host-qmp-system-reset"));
	return true;
}

static void vmm_powerdown(struct vmm *vmm)
{
	vmm->calls++;
}

static void vmm_quit(struct vmm *vmm)
{
	vmm->calls++;
	bus_publish(
	    &vmm->bus, "SHUTDOWN", json_pack("{s:b, s:s}", "guest", 0, "reason", "host-qmp-quit"));
}

static bool vmm_add(
    struct vmm *vmm, const struct guest_device *device, uint64_t *ret_operation, struct err *err)
{
	struct spapr *machine = &vmm->machine;

	vmm->calls++;
	machine->added = *device;
	snprintf(machine->serial, sizeof machine->serial, "%s",
	    device->serial != NULL ? device->serial : "");
	snprintf(machine->tag, sizeof machine->tag, "%s", device->tag != NULL ? device->tag : "");
	for (unsigned i = 0; i < device->fd_count; i++)
		machine->fds[i] = device->fds[i];
	if (device->kind == GUEST_VHOST_DISK || device->kind == GUEST_SHARE ||
	    device->kind == GUEST_VSOCK)
		close(device->fds[0]);
	for (size_t i = 0; i < sizeof machine->devices / sizeof machine->devices[0]; i++) {
		if (machine->devices[i][0] != '\0')
			continue;
		snprintf(machine->devices[i], OP_DEVICE_MAX, "%s", device->name);
		*ret_operation = 11;
		return true;
	}
	return err_set(err, ERR_STATE, NULL, "there is no slot");
}

static bool vmm_reset_waits(const struct vmm *vmm)
{
	return vmm->machine.busy_device[0] != '\0';
}

static bool vmm_set_link(struct vmm *vmm, const char *device, bool up, struct err *err)
{
	if (!spapr_has_device(&vmm->machine, device))
		return err_set(err, ERR_NOT_FOUND, NULL, "Device '%s' not found", device);
	snprintf(vmm->machine.link, sizeof vmm->machine.link, "%s", device);
	vmm->machine.link_up = up;
	return true;
}

static const struct guest_ops vmm_ops = {.run_state = vmm_run_state,
    .reset_waits = vmm_reset_waits,
    .add = vmm_add,
    .set_link = vmm_set_link,
    .stop = vmm_stop,
    .cont = vmm_cont,
    .reset = vmm_reset,
    .powerdown = vmm_powerdown,
    .quit = vmm_quit};

const struct spapr_config *spapr_get_config(const struct spapr *machine)
{
	return &machine->config;
}

uint32_t spapr_core_count(const struct spapr *machine)
{
	return machine->core_count;
}

void spapr_core_info(struct spapr *machine, uint32_t number, struct spapr_core_info *ret_info)
{
	*ret_info = machine->cores[number];
}

/* What a request for a target begins: machine->begins operations, of those at most max. */
static size_t control_target(
    struct spapr *machine, uint64_t *ret_operations, size_t max, struct err *err)
{
	size_t count = machine->begins < max ? machine->begins : max;

	for (size_t i = 0; i < count; i++)
		ret_operations[i] = 20 + i;
	if (machine->target_error != NULL)
		err_set(err, ERR_STATE, NULL, "%s", machine->target_error);
	return count;
}

bool spapr_core_add(struct spapr *machine, uint32_t core_id, const char *device,
    uint64_t *ret_operation, struct err *err)
{
	machine->calls++;
	if (core_id / machine->config.threads >= machine->core_count)
		return err_set(err, ERR_USAGE, NULL, "core id %u out of range", core_id);
	if (machine->cores[core_id / machine->config.threads].connector.drc.attached)
		return err_set(err, ERR_STATE, NULL, "core %u already populated", core_id);
	machine->added_core = core_id;
	snprintf(machine->added_device, sizeof machine->added_device, "%s", device);
	*ret_operation = 7;
	return true;
}

bool spapr_device_remove(
    struct spapr *machine, const char *device, uint64_t *ret_operation, struct err *err)
{
	machine->calls++;
	for (uint32_t i = 0; i < machine->core_count; i++) {
		if (strcmp(machine->cores[i].connector.device, device) != 0)
			continue;
		if (i == 0)
			return err_set(err, ERR_STATE, NULL, "Boot CPU core may not be unplugged");
		snprintf(machine->removed_device, sizeof machine->removed_device, "%s", device);
		*ret_operation = 8;
		return true;
	}
	return err_set(err, ERR_NOT_FOUND, NULL, "Device '%s' not found", device);
}

bool spapr_device_force(
    struct spapr *machine, const char *device, uint64_t *ret_operation, struct err *err)
{
	machine->forced = true;
	return spapr_device_remove(machine, device, ret_operation, err);
}

bool spapr_memory_add(struct spapr *machine, uint64_t address, uint64_t bytes, const char *device,
    uint64_t *ret_operation, struct err *err)
{
	struct spapr_memory_info *memory = &machine->memory[machine->memory_count];

	machine->calls++;
	if (machine->memory_count == MEMORIES)
		return err_set(err, ERR_STATE, NULL, "there is no room");
	*memory = (struct spapr_memory_info){.bytes = bytes,
	    .address = address != SPAPR_ANYWHERE ? address : UINT64_C(1) << 30,
	    .connector.drc_index = 0x80000004,
	    .block = 4,
	    .blocks = 1};
	snprintf(memory->connector.device, sizeof memory->connector.device, "%s", device);
	machine->memory_count++;
	*ret_operation = 9;
	return true;
}

size_t spapr_set_memory(
    struct spapr *machine, uint64_t bytes, uint64_t *ret_operations, size_t max, struct err *err)
{
	machine->calls++;
	machine->memory_target = bytes;
	return control_target(machine, ret_operations, max, err);
}

size_t spapr_set_cores(
    struct spapr *machine, uint32_t count, uint64_t *ret_operations, size_t max, struct err *err)
{
	machine->calls++;
	machine->core_target = count;
	return control_target(machine, ret_operations, max, err);
}

bool spapr_memory_info(struct spapr *machine, uint64_t from, struct spapr_memory_info *ret_info)
{
	for (uint32_t i = 0; i < machine->memory_count; i++) {
		*ret_info = machine->memory[i];
		if (ret_info->address >= from)
			return true;
	}
	return false;
}

bool spapr_pci_info(struct spapr *machine, uint32_t from, struct spapr_pci_info *ret_info)
{
	/* One that is at rest, and one that is not, if there is one. */
	if (machine->busy_device[0] == '\0' || from > 2)
		return false;
	*ret_info = (struct spapr_pci_info){.slot = from < 2 ? 1 : 2, .at_rest = from < 2};
	snprintf(ret_info->connector.device, sizeof ret_info->connector.device, "%s",
	    from < 2 ? "idle" : machine->busy_device);
	return true;
}

bool spapr_has_device(struct spapr *machine, const char *name)
{
	for (size_t i = 0; i < sizeof machine->devices / sizeof machine->devices[0]; i++)
		if (strcmp(machine->devices[i], name) == 0)
			return true;
	return false;
}

uint64_t spapr_memory_added(struct spapr *machine)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < machine->memory_count; i++)
		bytes += machine->memory[i].bytes;
	return bytes;
}

bool spapr_operation_cancel(struct spapr *machine, uint64_t id, struct err *err)
{
	machine->calls++;
	machine->cancelled = id;
	if (id == 0 || id > machine->operation_count)
		return err_set(
		    err, ERR_NOT_FOUND, NULL, "operation %llu not found", (unsigned long long)id);
	return true;
}

bool spapr_vcpu_registers(struct spapr *machine, uint32_t vcpu, struct kvm_registers *ret_registers)
{
	(void)machine;
	*ret_registers = (struct kvm_registers){.pc = UINT64_C(0xc000000000000100),
	    .msr = UINT64_C(1) << 63,
	    .lr = 4,
	    .ctr = vcpu,
	    .srr0 = 8};
	return vcpu == 0;
}

size_t spapr_operations(struct spapr *machine, struct operation *ret_operations, size_t max)
{
	size_t count = machine->operation_count < max ? machine->operation_count : max;

	memcpy(ret_operations, machine->operations, count * sizeof *ret_operations);
	return count;
}

size_t spapr_counters(struct spapr *machine, struct spapr_counter *ret_counters, size_t max)
{
	(void)machine;
	assert_true(max >= 2);
	ret_counters[0] = (struct spapr_counter){"hcalls", 12};
	ret_counters[1] = (struct spapr_counter){"rtas-calls", UINT64_C(1) << 40};
	return 2;
}

void make_machine(struct spapr *machine, uint32_t count)
{
	machine->config.threads = 2;
	machine->core_count = count;
	for (uint32_t i = 0; i < count; i++) {
		struct spapr_core_info *core = &machine->cores[i];

		*core = (struct spapr_core_info){
		    .core_id = i * 2, .connector.drc_index = drc_index(&drc_type_cpu, i * 2)};
		core->vcpus[0].id = i * 2;
		core->vcpus[1].id = i * 2 + 1;
	}
	machine->cores[0].connector.drc = (struct drc){.state = DRC_CONFIGURED, .attached = true};
	machine->cores[0].vcpus[0].state = SPAPR_VCPU_RUNNING;
	machine->cores[0].vcpus[0].host_thread = 4711;
	machine->cores[0].vcpus[1].state = SPAPR_VCPU_STOPPED;
	snprintf(machine->cores[0].connector.device, OP_DEVICE_MAX, "core0");
}

/* --- The fixture ------------------------------------------------------------------------------ */

void turn(struct fixture *fixture)
{
	ev_run(fixture->loop, EVRUN_NOWAIT);
}

int fixture_setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof *fixture);
	struct err err = {0};

	log_level = LOG_ERROR;
	assert_non_null(fixture);
	snprintf(fixture->directory, sizeof fixture->directory, "/tmp/test_control.XXXXXX");
	assert_non_null(mkdtemp(fixture->directory));
	snprintf(fixture->path, sizeof fixture->path, "%s/control", fixture->directory);
	fixture->loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
	make_machine(&fixture->vmm.machine, 4);
	fixture->vmm.guest = (struct guest){.ops = &vmm_ops,
	    .vmm = &fixture->vmm,
	    .backends = &fixture->vmm.backends,
	    .blocks = &fixture->vmm.blocks,
	    .netdevs = &fixture->vmm.netdevs,
	    .chardevs = &fixture->vmm.chardevs,
	    .machine = &fixture->vmm.machine,
	    .name = "test"};
	fixture->vmm.control = control_create(
	    fixture->loop, fixture->path, &fixture->vmm.guest, &fixture->vmm.bus, &err);
	assert_non_null(fixture->vmm.control);
	*state = fixture;
	return 0;
}

int fixture_teardown(void **state)
{
	struct fixture *fixture = *state;

	control_destroy(fixture->vmm.control);
	bus_finish(&fixture->vmm.bus);
	assert_int_equal(access(fixture->path, F_OK), -1);
	ev_loop_destroy(fixture->loop);
	assert_int_equal(rmdir(fixture->directory), 0);
	free(fixture);
	return 0;
}

/* --- The client's end ------------------------------------------------------------------------- */

int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
	return fd;
}

void peer_receive(struct peer *peer)
{
	while (!peer->ended && peer->used < sizeof peer->bytes) {
		ssize_t got = recv(peer->fd, peer->bytes + peer->used,
		    sizeof peer->bytes - peer->used, MSG_DONTWAIT);

		if (got < 0 && errno == EAGAIN)
			return;
		if (got <= 0)
			peer->ended = true;
		else
			peer->used += (size_t)got;
	}
}

/* As a client that knows no other types; command may be NULL. */
static void check_types(const struct peer *peer, const json_t *object, const char *command)
{
	char reason[256], *text;

	if (qmp_types_accept(object, peer->subscribed, command, reason, sizeof reason))
		return;
	text = json_dumps(object, 0);
	fail_msg("%s: %s", reason, text);
}

json_t *receive(struct peer *peer)
{
	for (unsigned turns = 0; turns < TURNS_MAX; turns++) {
		char *end = memchr(peer->bytes, '\n', peer->used);
		json_t *object;
		size_t length;

		if (end == NULL && peer->ended)
			return NULL;
		if (end == NULL) {
			turn(peer->fixture);
			peer_receive(peer);
			continue;
		}
		length = (size_t)(end - peer->bytes) + 1;
		assert_true(length > 2 && end[-1] == '\r');
		for (size_t i = 0; i + 2 < length; i++)
			assert_true((unsigned char)peer->bytes[i] - 0x20u < 0x60);
		object = json_loadb(peer->bytes, length, JSON_ALLOW_NUL, NULL);
		assert_non_null(object);
		check_types(peer, object, NULL);
		peer->used -= length;
		memmove(peer->bytes, end + 1, peer->used);
		return object;
	}
	fail_msg("no answer");
	return NULL;
}

void send_bytes(struct peer *peer, const char *bytes, size_t length)
{
	for (unsigned turns = 0; length > 0 && turns < TURNS_MAX; turns++) {
		ssize_t sent = send(peer->fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent > 0) {
			bytes += sent;
			length -= (size_t)sent;
		} else if (errno != EAGAIN) {
			return; /* the server has hung up */
		}
		turn(peer->fixture);
	}
	assert_int_equal(length, 0);
}

void send_text(struct peer *peer, const char *text)
{
	send_bytes(peer, text, strlen(text));
}

/* The text with " for '; freed by the caller. */
static char *quoted(const char *json)
{
	char *text = strdup(json);

	assert_non_null(text);
	for (char *c = strchr(text, '\''); c != NULL; c = strchr(c, '\''))
		*c = '"';
	return text;
}

void say(struct peer *peer, const char *json)
{
	char *text = quoted(json);

	send_text(peer, text);
	free(text);
}

void say_at_once(struct peer *peer, const char *json)
{
	char *text = quoted(json);

	assert_int_equal(send(peer->fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	free(text);
}

void expect_json(json_t *object, const char *json)
{
	char *text = quoted(json), *got;
	json_t *expected = json_loads(text, 0, NULL);

	assert_non_null(expected);
	if (!json_equal(object, expected)) {
		got = json_dumps(object, 0);
		fail_msg("got %s, expected %s", got, text);
	}
	free(text);
	json_decref(expected);
	json_decref(object);
}

void expect(struct peer *peer, const char *json)
{
	json_t *object = receive(peer);

	assert_non_null(object);
	expect_json(object, json);
}

void expect_event(struct peer *peer, const char *json)
{
	json_t *event = receive(peer);

	assert_non_null(event);
	json_object_del(event, "timestamp");
	expect_json(event, json);
}

void expect_event_named(struct peer *peer, const char *name)
{
	json_t *event = receive(peer);

	assert_string_equal(json_string_value(json_object_get(event, "event")), name);
	json_decref(event);
}

void expect_error(struct peer *peer, const char *class, const char *desc)
{
	json_t *object = receive(peer), *error = json_object_get(object, "error");
	const char *got = json_string_value(json_object_get(error, "desc"));

	assert_non_null(error);
	assert_string_equal(json_string_value(json_object_get(error, "class")), class);
	assert_non_null(got);
	if (strncmp(got, desc, strlen(desc)) != 0)
		fail_msg("got '%s', expected '%s'", got, desc);
	assert_null(json_object_get(object, "return"));
	assert_null(json_object_get(object, "id"));
	json_decref(object);
}

json_t *value(struct peer *peer, const char *json)
{
	json_t *object, *returned, *request;
	char *text = quoted(json);

	request = json_loads(text, 0, NULL);
	assert_non_null(request);
	say(peer, json);
	object = receive(peer);
	returned = json_incref(json_object_get(object, "return"));
	assert_non_null(returned);
	check_types(peer, object, json_string_value(json_object_get(request, "execute")));
	json_decref(object);
	json_decref(request);
	free(text);
	return returned;
}

void expect_silence(struct peer *peer)
{
	for (int i = 0; i < 20; i++)
		turn(peer->fixture);
	peer_receive(peer);
	assert_int_equal(peer->used, 0);
	assert_false(peer->ended);
}

void expect_alive(struct peer *peer)
{
	say(peer, "{'execute': 'query-name', 'id': 'alive'}\n");
	expect(peer, "{'return': {'name': 'test'}, 'id': 'alive'}");
}

void expect_end(struct peer *peer)
{
	assert_null(receive(peer));
	assert_int_equal(peer->used, 0);
}

struct peer *peer_connect(struct fixture *fixture)
{
	struct peer *peer = calloc(1, sizeof *peer);

	assert_non_null(peer);
	peer->fixture = fixture;
	peer->fd = connect_to(fixture->path);
	return peer;
}

struct peer *peer_create(struct fixture *fixture)
{
	struct peer *peer = peer_connect(fixture);
	json_t *greeting = receive(peer);

	assert_true(json_is_object(json_object_get(greeting, "QMP")));
	json_decref(greeting);
	return peer;
}

struct peer *peer_create_negotiated(struct fixture *fixture)
{
	struct peer *peer = peer_create(fixture);

	say(peer, "{'execute': 'qmp_capabilities'}\r\n");
	expect(peer, "{'return': {}}");
	return peer;
}

struct peer *peer_create_subscribed(struct fixture *fixture)
{
	struct peer *peer = peer_create_negotiated(fixture);

	expect_json(value(peer, "{'execute': 'events-subscribe'}\n"), "{}");
	peer->subscribed = true;
	return peer;
}

void peer_destroy(struct peer *peer)
{
	close(peer->fd);
	turn(peer->fixture);
	turn(peer->fixture);
	free(peer);
}

/* --- Descriptors ----------------------------------------------------------------------------- */

int pipe_in(int *ret_write)
{
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	*ret_write = ends[1];
	return ends[0];
}

bool is_closed(int read_end)
{
	char byte;

	return read(read_end, &byte, 1) == 0;
}

void say_with(struct peer *peer, const char *json, const int *fds, size_t count)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(8 * sizeof(int))];
	} control = {0};
	char *text = strdup(json);
	struct iovec from = {text, strlen(json)};
	struct msghdr message = {.msg_iov = &from,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = CMSG_SPACE(count * sizeof(int))};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	for (char *c = strchr(text, '\''); c != NULL; c = strchr(c, '\''))
		*c = '"';
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(header), fds, count * sizeof(int));
	assert_int_equal(sendmsg(peer->fd, &message, MSG_NOSIGNAL), strlen(json));
	free(text);
	turn(peer->fixture);
}
