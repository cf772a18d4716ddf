/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hammer.c - the whole program but main(), above the fake KVM, under the thread sanitizer, while
 * all threads and clients make all requests at once.
 *
 * A guest's four vCPUs, a thread each, make RTAS calls and hcalls. Clients add, remove, cancel,
 * stop, continue, ask, send what is no request, and disconnect in the middle. One of them starts
 * the machine again and again, so that a vCPU the others have stopped or taken away comes back. The
 * clients make so many requests, the guest goes on until they have; nothing goes by time. A watcher
 * reads the events from the first to the last and holds the program to its promise: ids count up,
 * and each operation that begins ends, once.
 */
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/be.h"
#include "fake_kvm.h"
#include "hammer.h"
#include "spapr/hcall.h"
#include "spapr/rtas.h"
#include "vmm/options.h"
#include "vmm/run.h"

enum { VCPUS = 4, CLIENTS = 4, REQUESTS = 2000, CONTS = 20, OPERATIONS_MAX = 1 << 20 };
enum { KERNEL_BYTES = 0x2000 };

static char directory[] = "/tmp/paprika-hammer-XXXXXX";
char socket_path[64];
static char kernel_path[64];
static _Atomic unsigned guests_left = VCPUS, clients_left = CLIENTS;
static _Atomic uint64_t last_operation, calls_answered, resets;
_Atomic uint64_t requests_answered;

void fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("hammer: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	unlink(socket_path);
	unlink(kernel_path);
	rmdir(directory);
	_exit(1);
}

/* xorshift: the same numbers in each run, whatever the threads make of them. */
static uint32_t draw(uint32_t *state, uint32_t below)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state % below;
}

/* --- The guest ------------------------------------------------------------------------------ */

#define AREA(vcpu) (0x100000u + (vcpu)*0x10000u)

static void put_words(uint32_t address, const uint32_t *words, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct be32 word = be32(words[i]);

		if (!gmem_write(fake_memory(), address + i * 4, &word, sizeof word))
			fail("%#x is not in RAM", address);
	}
}

/* How often each kind of call and request was made, and how often it was carried out. One that is
 * refused every time was not hammered. */
struct tally {
	const char *name;
	bool refused; /* always, as it has to be */
	_Atomic uint64_t asked, accepted;
};

static void count(struct tally *tally, bool accepted)
{
	tally->asked++;
	tally->accepted += accepted;
}

static void check_tally(const struct tally *tally)
{
	if (tally->asked == 0)
		fail("%s was never asked for", tally->name);
	if (tally->accepted == 0 && !tally->refused)
		fail("%s was refused each of %llu times", tally->name,
		    (unsigned long long)tally->asked);
	if (tally->accepted > 0 && tally->refused)
		fail("%s was accepted", tally->name);
}

/* What guests ask, with how many arguments and results; D a connector's index, C a vCPU, R 0, 1 or
 * now and then something else, W and B its work area and buffer. */
static const struct {
	const char *service, *arguments;
	uint32_t nret;
} services[] = {
    {"set-indicator", "iDR", 1},
    {"set-indicator", "aDR", 1},
    {"set-indicator", "iDR", 1},
    {"set-indicator", "aDR", 1},
    {"ibm,configure-connector", "W0", 1},
    {"ibm,configure-connector", "W0", 1},
    {"get-sensor-state", "aD", 2},
    {"check-exception", "00m0Bl", 1},
    {"start-cpu", "C00", 1},
    {"start-cpu", "C00", 1},
    {"query-cpu-stopped-state", "C", 2},
    {"stop-self", "", 1},
    {"get-time-of-day", "", 8},
    {"system-reboot", "", 1},
    {"no-such-service", "0", 1},
};
#define SERVICES (sizeof services / sizeof services[0])

static struct tally of_services[SERVICES];

static uint32_t argument(char kind, uint32_t vcpu, uint32_t *state)
{
	switch (kind) {
	case 'i': return 9001;
	case 'a': return 9003;
	case 'D': return 0x10000000u + draw(state, VCPUS);
	case 'R': return draw(state, 16) == 0 ? draw(state, 4) : draw(state, 2);
	case 'W': return AREA(vcpu) + 0x2000;
	case 'B': return AREA(vcpu) + 0x1000;
	case 'm': return draw(state, 2) ? 0x10000000 : 0x50000000;
	case 'l': return 2048;
	case 'C': return draw(state, VCPUS);
	default: return 0;
	}
}

/* One call of a service: its status, or LOST if the vCPU is started or parked instead. */
enum { LOST = -1000000 };

static int32_t call(
    uint32_t vcpu, const char *service, const uint32_t *args, uint32_t nargs, uint32_t nret)
{
	uint32_t block[3 + RTAS_WORDS] = {rtas_token_of(service), nargs, nret};
	struct be32 status;
	int64_t r3;

	memcpy(block + 3, args, nargs * sizeof args[0]);
	put_words(AREA(vcpu), block, 3 + nargs);
	if (!fake_try_hcall(vcpu, HCALL_RTAS, (uint64_t[9]){AREA(vcpu)}, NULL, &r3))
		return LOST;
	calls_answered++;
	if (!gmem_read(fake_memory(), AREA(vcpu) + (3 + nargs) * 4, &status, sizeof status))
		fail("%#x is not in RAM", AREA(vcpu));
	return (int32_t)from_be32(status);
}

#define CALL(vcpu, service, nret, ...)                                                             \
	call(vcpu, service, (uint32_t[]){__VA_ARGS__},                                             \
	    sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t), nret)

static int32_t configure(uint32_t vcpu, uint32_t index, bool first)
{
	uint32_t head[2] = {index, !first};

	put_words(AREA(vcpu) + 0x2000, head, 2);
	return CALL(vcpu, "ibm,configure-connector", 1, AREA(vcpu) + 0x2000, 0);
}

/* What Linux does with an event, whether it came or not, and whatever the others do meanwhile. */
static void take(uint32_t vcpu, uint32_t core)
{
	uint32_t index = 0x10000000u + core;
	int32_t status;

	CALL(vcpu, "set-indicator", 1, 9003, index, 1);
	CALL(vcpu, "set-indicator", 1, 9001, index, 0);
	CALL(vcpu, "set-indicator", 1, 9001, index, 1);
	status = configure(vcpu, index, true);
	while (status > 0)
		status = configure(vcpu, index, false);
	CALL(vcpu, "start-cpu", 1, core, 0x60, core);
}

static void give(uint32_t vcpu, uint32_t core)
{
	uint32_t index = 0x10000000u + core;

	CALL(vcpu, "set-indicator", 1, 9001, index, 0);
	CALL(vcpu, "set-indicator", 1, 9003, index, 0);
}

static void make_call(uint32_t vcpu, uint32_t *state)
{
	size_t row = draw(state, SERVICES);
	const char *kinds = services[row].arguments;
	uint32_t head[2] = {0x10000000u + draw(state, VCPUS), draw(state, 8) != 0};
	uint32_t args[RTAS_WORDS];
	int32_t status;

	/* These end a run or a life: now and then is enough. */
	if ((strcmp(services[row].service, "system-reboot") == 0 && draw(state, 32) != 0) ||
	    (strcmp(services[row].service, "stop-self") == 0 && draw(state, 4) != 0))
		return;
	for (uint32_t i = 0; kinds[i] != '\0'; i++)
		args[i] = argument(kinds[i], vcpu, state);
	put_words(AREA(vcpu) + 0x2000, head, 2);
	status =
	    call(vcpu, services[row].service, args, (uint32_t)strlen(kinds), services[row].nret);
	/* stop-self and system-reboot do not come back. */
	count(&of_services[row],
	    status == LOST ? services[row].nret == 1 && kinds[0] == '\0' : status >= 0);
}

static void *guest_main(void *context)
{
	uint32_t vcpu = (uint32_t)(uintptr_t)context;
	uint32_t state = 0x9e3779b9u * (vcpu + 1);
	int64_t r3;

	while (clients_left > 0) {
		switch (draw(&state, 16)) {
		case 0: take(vcpu, draw(&state, VCPUS)); break;
		case 1: give(vcpu, draw(&state, VCPUS)); break;
		default: make_call(vcpu, &state);
		}
		if (draw(&state, 32) == 0) /* H_SET_MODE: waits for the other vCPUs */
			fake_try_hcall(vcpu, 0x31c, (uint64_t[9]){draw(&state, 2), 4}, NULL, &r3);
		if (draw(&state, 16) == 0) /* H_PUT_TERM_CHAR */
			fake_try_hcall(
			    vcpu, 0x58, (uint64_t[9]){0, 1, (uint64_t)'x' << 56}, NULL, &r3);
	}
	guests_left--;
	return NULL;
}

/* --- Clients -------------------------------------------------------------------------------- */

enum { ADD, REMOVE, CANCEL, MADE };
static struct tally of_made[MADE] = {
    [ADD] = {.name = "device_add"},
    [REMOVE] = {.name = "device_del"},
    [CANCEL] = {.name = "operation-cancel"},
};

static const char *const fixed[] = {
    "{\"execute\": \"query-operations\"}\n",
    "{\"execute\": \"query-connectors\"}\n",
    "{\"execute\": \"query-cpus-fast\"}\n",
    "{\"execute\": \"query-metrics\"}\n",
    "{\"execute\": \"query-status\"}\n",
    "{\"execute\": \"stop\"}\n",
    "{\"execute\": \"cont\"}\n",
    "{\"execute\": \"cont\"}\n",
    "{\"execute\": \"system_powerdown\"}\n",
    "{\"execute\": \"no-such-command\"}\n",
    "{\"execute\": \"device_del\", \"arguments\": {}}\n",
    "{\"execute\": \"device_del\", \"arguments\": {\"id\": 1}}\n",
    "this is not JSON\n",
    "{\"execute\": \"device_add\"\n}\n",
    "[]\n",
};
#define FIXED (sizeof fixed / sizeof fixed[0])
/* From here on each is refused. */
#define FIXED_REFUSED 9

static struct tally of_fixed[FIXED];

static void hammer(struct client *client, uint32_t *state)
{
	uint32_t core = draw(state, VCPUS + 1), recent = draw(state, 6);
	uint64_t id = last_operation > recent ? last_operation - recent : 1;
	size_t made = draw(state, MADE + 1), row = draw(state, FIXED);
	char text[256];

	switch (made) {
	case ADD:
		snprintf(text, sizeof text,
		    "{\"execute\": \"device_add\", \"arguments\": {\"driver\": "
		    "\"host-spapr-cpu-core\", \"core-id\": %u, \"id\": \"core%u\"}}\n",
		    core, core);
		break;
	case REMOVE:
		snprintf(text, sizeof text,
		    "{\"execute\": \"device_del\", \"arguments\": {\"id\": \"core%u\"}}\n", core);
		break;
	case CANCEL:
		snprintf(text, sizeof text,
		    "{\"execute\": \"operation-cancel\", \"arguments\": {\"id\": %llu}}\n",
		    (unsigned long long)id);
		break;
	default: count(&of_fixed[row], ask(client, fixed[row])); return;
	}
	count(&of_made[made], ask(client, text));
}

static void *client_main(void *context)
{
	uint32_t state = 0x85ebca6bu * ((uint32_t)(uintptr_t)context + 1);
	struct client *client = client_create();

	for (int i = 0; i < REQUESTS; i++) {
		hammer(client, &state);
		if (draw(&state, 32) != 0)
			continue;
		/* Hang up in the middle of a request. */
		say(client, "{\"execute\": \"device_del\", ");
		client_destroy(client);
		client = client_create();
	}
	client_destroy(client);
	clients_left--;
	return NULL;
}

/* --- The watcher ---------------------------------------------------------------------------- */

struct seen {
	uint64_t begun, ended, last_begun, outcomes[4];
	bool shutdown;
	uint8_t ends[OPERATIONS_MAX];
};

static const char *const outcomes[4] = {"done", "rejected", "superseded", "cancelled"};

static void count_outcome(struct seen *seen, const char *outcome)
{
	for (size_t i = 0; i < 4; i++)
		if (outcome != NULL && strcmp(outcome, outcomes[i]) == 0) {
			seen->outcomes[i]++;
			return;
		}
	fail("an operation ends without one of the four outcomes");
}

static void see_operation(struct seen *seen, json_t *data)
{
	const char *step = json_string_value(json_object_get(data, "step")), *kind;
	json_t *operation = json_object_get(data, "operation");
	bool by_guest;
	uint64_t id = (uint64_t)json_integer_value(json_object_get(operation, "id"));

	kind = json_string_value(json_object_get(operation, "kind"));
	if (step == NULL || kind == NULL || id == 0 || id >= OPERATIONS_MAX)
		fail("an event without step or operation");
	by_guest = strncmp(kind, "guest-", 6) == 0;
	if (strcmp(step, "requested") == 0) {
		/* What the guest makes unasked may have to wait, behind what was asked for later.
		 */
		if (id <= seen->last_begun && !by_guest)
			fail("operation %llu begins after %llu", (unsigned long long)id,
			    (unsigned long long)seen->last_begun);
		if (id > seen->last_begun)
			seen->last_begun = last_operation = id;
		seen->begun++;
	}
	/* What the guest makes unasked is one operation for all the times that it repeats it. */
	if (seen->ends[id] && !by_guest)
		fail("operation %llu: step %s after its end", (unsigned long long)id, step);
	if (strcmp(step, "ended") == 0) {
		seen->ended += !seen->ends[id];
		seen->ends[id] = 1;
		count_outcome(seen, json_string_value(json_object_get(operation, "outcome")));
	}
}

static void *watcher_main(void *context)
{
	static struct seen seen;
	struct client *client = context;
	char *line;

	while ((line = next_line(client)) != NULL) {
		json_t *event = json_loads(line, 0, NULL);
		const char *name = json_string_value(json_object_get(event, "event"));

		if (name == NULL)
			fail("no event: %s", line);
		if (strcmp(name, "OPERATION") == 0)
			see_operation(&seen, json_object_get(event, "data"));
		seen.shutdown |= strcmp(name, "SHUTDOWN") == 0;
		json_decref(event);
	}
	if (!seen.shutdown)
		fail("the watcher was cut off: it was too slow, or the program broke");
	if (seen.begun != seen.ended || seen.begun != seen.last_begun)
		fail("%llu operations began and %llu ended; the last id is %llu",
		    (unsigned long long)seen.begun, (unsigned long long)seen.ended,
		    (unsigned long long)seen.last_begun);
	if (seen.begun < VCPUS)
		fail("only %llu operations: nothing was hammered", (unsigned long long)seen.begun);
	client_destroy(client);
	return &seen;
}

/* --- All of it ------------------------------------------------------------------------------ */

/* Whoever waits for a vCPU that is not running gets on with the next start. In between the guest is
 * let in again, so that not each run is over before it has begun. */
static void *midwife_main(void *context)
{
	struct client *client = client_create();

	(void)context;
	while (guests_left > 0) {
		ask(client, "{\"execute\": \"system_reset\"}\n");
		resets++;
		for (int i = 0; i < CONTS && guests_left > 0; i++)
			ask(client, "{\"execute\": \"cont\"}\n");
	}
	client_destroy(client);
	return NULL;
}

/* Starts the others, waits for them, and asks the program to end. */
static void *conductor_main(void *context)
{
	pthread_t guests[VCPUS], clients[CLIENTS], midwife, watcher;
	struct client *first = client_create();
	void *seen = NULL;

	(void)context;
	pthread_create(&watcher, NULL, watcher_main, first);
	for (uintptr_t i = 0; i < VCPUS; i++)
		pthread_create(&guests[i], NULL, guest_main, (void *)i);
	pthread_create(&midwife, NULL, midwife_main, NULL);
	for (uintptr_t i = 0; i < CLIENTS; i++)
		pthread_create(&clients[i], NULL, client_main, (void *)i);
	for (size_t i = 0; i < CLIENTS; i++)
		pthread_join(clients[i], NULL);
	for (size_t i = 0; i < VCPUS; i++)
		pthread_join(guests[i], NULL);
	pthread_join(midwife, NULL);
	first = client_create();
	ask(first, "{\"execute\": \"quit\"}\n");
	client_destroy(first);
	pthread_join(watcher, &seen);
	return seen;
}

/* A ppc64 ELF that is never run: one segment of nothing, at 0. */
static void write_kernel(void)
{
	static const uint8_t header[64] = {[0] = 0x7f,
	    'E',
	    'L',
	    'F',
	    2,
	    2,
	    1,
	    [17] = 2,
	    [19] = 21,
	    [23] = 1,
	    [39] = 64,
	    [53] = 64,
	    [55] = 56,
	    [57] = 1};
	static const uint8_t segment[56] = {
	    [3] = 1, [7] = 7, [14] = 0x10, [38] = 0x10, [46] = 0x10, [54] = 0x10};
	uint8_t kernel[KERNEL_BYTES] = {0};
	FILE *file = fopen(kernel_path, "w");

	memcpy(kernel, header, sizeof header);
	memcpy(kernel + sizeof header, segment, sizeof segment);
	if (file == NULL || fwrite(kernel, sizeof kernel, 1, file) != 1 || fclose(file) != 0)
		fail("cannot write %s", kernel_path);
}

int main(void)
{
	struct options options;
	const struct seen *seen;
	pthread_t conductor;
	enum exit_code code;

	if (mkdtemp(directory) == NULL)
		fail("cannot make a directory");
	snprintf(socket_path, sizeof socket_path, "%s/control", directory);
	snprintf(kernel_path, sizeof kernel_path, "%s/kernel", directory);
	write_kernel();
	for (size_t i = 0; i < SERVICES; i++) {
		of_services[i].name = services[i].service;
		of_services[i].refused = strcmp(services[i].service, "no-such-service") == 0;
	}
	for (size_t i = 0; i < FIXED; i++) {
		of_fixed[i].name = fixed[i];
		of_fixed[i].refused = i >= FIXED_REFUSED;
	}
	options_defaults(&options);
	strcpy(options.kernel, kernel_path);
	strcpy(options.control, socket_path);
	options.console = CONSOLE_NONE;
	options.boot_cpus = options.max_cpus = VCPUS;
	options.memory_bytes = SPAPR_LMB_BYTES;
	options.unplug_deadline_ms = 1;
	options.log_level = log_level = LOG_ERROR;
	options.no_sandbox = true; /* the sanitizer needs more than it leaves */
	pthread_create(&conductor, NULL, conductor_main, NULL);
	code = vmm_run(&options);
	if (code != EXIT_POWERED_OFF)
		fail("the program ends with status %d", code);
	pthread_join(conductor, (void **)&seen);
	unlink(kernel_path);
	if (rmdir(directory) != 0)
		fail("something is left in %s", directory);
	if (fake_live_vms() != 0 || fake_live_vcpus() != 0)
		fail("something of the machine is left");
	for (size_t i = 0; i < SERVICES; i++)
		check_tally(&of_services[i]);
	for (size_t i = 0; i < MADE; i++)
		check_tally(&of_made[i]);
	for (size_t i = 0; i < FIXED; i++)
		check_tally(&of_fixed[i]);
	for (size_t i = 0; i < 4; i++)
		if (seen->outcomes[i] == 0)
			fail("no operation ended %s", outcomes[i]);
	printf("hammer: %llu guest calls answered, %llu requests, %llu resets; %llu operations "
	       "began and ended:",
	    (unsigned long long)calls_answered, (unsigned long long)requests_answered,
	    (unsigned long long)resets, (unsigned long long)seen->begun);
	for (size_t i = 0; i < 4; i++)
		printf(" %llu %s", (unsigned long long)seen->outcomes[i], outcomes[i]);
	printf("\n");
	return 0;
}
