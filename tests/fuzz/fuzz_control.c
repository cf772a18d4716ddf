/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_control.c - bytes from a client of the control socket, in pieces of any size.
 *
 * The socket, the loop, the commands and the machine behind them are real. Each input is sent
 * twice: in pieces, and at once. Both times the machine begins anew, and both times the replies
 * must be the same: where a read ends must not matter. Whatever was sent, the request that
 * follows is answered, by one line of JSON like any other. All that comes back is of the types in
 * tests/qmp/types.json.
 *
 * Input: flags (the client reads nothing before it has sent all; it has negotiated already; a
 * long row of one byte comes in between); 3 bytes with the sizes of pieces, used in turn; with the
 * last flag, which byte, where, and 2 bytes that say how many; what is sent.
 */
#include "still.h"

#include <errno.h>
#include <ev.h>
#include <jansson.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/bus.h"
#include "control/control.h"
#include "control/guest.h"
#include "control/parse.h"
#include "qmp_types.h"

enum { READS_LATE = 1, NEGOTIATED = 2, LONG = 4, LONG_BITS = 0x1c }; /* LONG alone of its bits */
enum { TURNS_MAX = 100000, PIECES = 3, SENT_MAX = 8192 };

static const char negotiation[] = "{\"execute\": \"qmp_capabilities\"}\n";
/* In front of it is what ends whatever has been begun. */
static const char ending[] = "\n\xff\n";
static const char probe[] = "\n\xff\n{\"execute\": \"query-name\", \"id\": \"the end of it\"}\n";

struct vmm {
	struct spapr *machine;
	struct backends backends;
	struct blocks blocks;
	struct netdevs netdevs;
	struct chardevs chardevs;
	struct guest guest;
	struct bus bus;
	struct control *control;
	enum run_state state;
};

static struct vmm vmm;
static struct ev_loop *loop;
static char directory[256], path[300];

/* What came back: all that has not been a whole line yet, and the replies in short. */
struct answers {
	int fd;
	size_t used, lines, replies;
	bool probe_answered, too_long, ended;
	char bytes[16 * CONTROL_REQUEST_MAX];
	size_t digest_used;
	char digest[1 << 21];
};

/* --- The program around the socket --------------------------------------------------------------
 */

static enum run_state vmm_run_state(const struct vmm *of)
{
	return of->state;
}

static void vmm_stop(struct vmm *of)
{
	spapr_stop(of->machine);
	of->state = RUN_STATE_PAUSED;
	bus_publish(&of->bus, "STOP", json_object());
}

static bool vmm_cont(struct vmm *of, struct err *err)
{
	(void)err;
	spapr_cont(of->machine);
	of->state = RUN_STATE_RUNNING;
	bus_publish(&of->bus, "RESUME", json_object());
	return true;
}

static bool vmm_reset(struct vmm *of, struct err *err)
{
	bool booted;

	still_check(); /* between requests of one turn of the loop, since a reset hides what was */
	bus_publish(&of->bus, "RESET",
	    json_pack("{s:b, s:s}", "guest", 0, "reason", "host-qmp-system-reset"));
	booted = spapr_boot(of->machine, err);
	still_check();
	return booted;
}

static void vmm_powerdown(struct vmm *of)
{
	spapr_powerdown(of->machine);
}

static void vmm_quit(struct vmm *of)
{
	bus_publish(
	    &of->bus, "SHUTDOWN", json_pack("{s:b, s:s}", "guest", 0, "reason", "host-qmp-quit"));
}

/* No descriptor comes with the bytes: there is nothing to make another device of. */
static bool vmm_add(
    struct vmm *of, const struct guest_device *device, uint64_t *ret_operation, struct err *err)
{
	(void)of;
	(void)ret_operation;
	FUZZ_CHECK(device->kind == GUEST_RNG);
	return err_set(err, ERR_STATE, NULL, "this machine has no PCI bus");
}

static bool vmm_reset_waits(const struct vmm *of)
{
	(void)of;
	return false;
}

static bool vmm_set_link(struct vmm *of, const char *device, bool up, struct err *err)
{
	(void)of;
	(void)up;
	return err_set(err, ERR_NOT_FOUND, NULL, "Device '%s' not found", device);
}

static const struct guest_ops vmm_ops = {.run_state = vmm_run_state,
    .reset_waits = vmm_reset_waits,
    .stop = vmm_stop,
    .cont = vmm_cont,
    .reset = vmm_reset,
    .powerdown = vmm_powerdown,
    .add = vmm_add,
    .set_link = vmm_set_link,
    .quit = vmm_quit};

static void clean_up(void)
{
	control_destroy(vmm.control);
	bus_finish(&vmm.bus);
	rmdir(directory);
}

static void start(void)
{
	const char *place = getenv("TMPDIR");

	snprintf(directory, sizeof directory, "%s/fuzz_control.XXXXXX", place ? place : "/tmp");
	FUZZ_CHECK(mkdtemp(directory) != NULL);
	snprintf(path, sizeof path, "%s/control", directory);
	loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
	vmm.guest = (struct guest){.ops = &vmm_ops,
	    .vmm = &vmm,
	    .backends = &vmm.backends,
	    .blocks = &vmm.blocks,
	    .netdevs = &vmm.netdevs,
	    .chardevs = &vmm.chardevs,
	    .name = "fuzz"};
	atexit(clean_up);
}

/* The machine and the socket as at the start of the program. */
static void start_anew(void)
{
	struct err err = {0};

	control_destroy(vmm.control);
	bus_finish(&vmm.bus);
	vmm.bus = (struct bus){0};
	vmm.machine = vmm.guest.machine = still_fresh();
	vmm.state = RUN_STATE_RUNNING;
	vmm.control = control_create(loop, path, &vmm.guest, &vmm.bus, &err);
	FUZZ_CHECK(vmm.control != NULL);
}

static void turn(void)
{
	struct operation operation;
	enum op_step step;

	ev_run(loop, EVRUN_NOWAIT);
	while (spapr_next_report(vmm.machine, true, &operation, &step))
		bus_report(&vmm.bus, &operation, step);
	still_check();
}

/* --- The client ---------------------------------------------------------------------------------
 */

static void note(struct answers *answers, const json_t *line)
{
	json_t *error = json_object_get(line, "error");
	json_t *brief = json_pack("{s:O?, s:O?, s:O?}", "id", json_object_get(line, "id"), "class",
	    json_object_get(error, "class"), "desc", json_object_get(error, "desc"));
	char *text = json_dumps(brief, JSON_SORT_KEYS);
	size_t length;

	FUZZ_CHECK(text != NULL);
	length = strlen(text);
	FUZZ_CHECK(length < sizeof answers->digest - answers->digest_used);
	memcpy(answers->digest + answers->digest_used, text, length + 1);
	answers->digest_used += length;
	free(text);
	json_decref(brief);
}

static bool is_too_long(const json_t *line)
{
	const char *desc =
	    json_string_value(json_object_get(json_object_get(line, "error"), "desc"));

	return desc != NULL && strcmp(desc, "The request is longer than 65536 bytes") == 0;
}

/* Each line is one object of one of four kinds, in ASCII. */
FUZZ_UNSEEN static void take_line(struct answers *answers, size_t length)
{
	char reason[256];
	json_t *line;
	const char *id;
	int kinds;

	FUZZ_CHECK(length > 2 && answers->bytes[length - 2] == '\r');
	for (size_t i = 0; i < length - 2; i++)
		FUZZ_CHECK((unsigned char)answers->bytes[i] - 0x20u < 0x60);
	line = json_loadb(answers->bytes, length, JSON_ALLOW_NUL, NULL);
	/* Whether it has subscribed by now, the client itself may not know. */
	FUZZ_CHECK(qmp_types_accept(line, false, NULL, reason, sizeof reason) ||
	           qmp_types_accept(line, true, NULL, reason, sizeof reason));
	kinds = (json_object_get(line, "return") != NULL) +
	        (json_object_get(line, "error") != NULL) +
	        (json_object_get(line, "event") != NULL) + (json_object_get(line, "QMP") != NULL);
	FUZZ_CHECK(kinds == 1);
	FUZZ_CHECK((json_object_get(line, "QMP") != NULL) == (answers->lines == 0));
	answers->lines++;
	if (json_object_get(line, "return") != NULL || json_object_get(line, "error") != NULL) {
		answers->replies++;
		note(answers, line);
		answers->too_long = is_too_long(line);
		id = json_string_value(json_object_get(line, "id"));
		answers->probe_answered = id != NULL && strcmp(id, "the end of it") == 0;
	}
	json_decref(line);
	answers->used -= length;
	memmove(answers->bytes, answers->bytes + length, answers->used);
}

static void receive(struct answers *answers)
{
	for (;;) {
		char *end = memchr(answers->bytes, '\n', answers->used);
		ssize_t got;

		if (end != NULL) {
			take_line(answers, (size_t)(end - answers->bytes) + 1);
			continue;
		}
		got = recv(answers->fd, answers->bytes + answers->used,
		    sizeof answers->bytes - answers->used, MSG_DONTWAIT);
		if (got == 0 || (got < 0 && errno == ECONNRESET)) {
			/* The only reason to close a connection, and its last line. */
			FUZZ_CHECK(answers->too_long && answers->used == 0);
			answers->ended = true;
		}
		if (got <= 0)
			return;
		answers->used += (size_t)got;
	}
}

static void send_all(struct answers *answers, const void *bytes, size_t length, bool read)
{
	const char *at = bytes;

	for (unsigned turns = 0; length > 0 && !answers->ended; turns++) {
		ssize_t sent = send(answers->fd, at, length, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent > 0) {
			at += sent;
			length -= (size_t)sent;
		}
		FUZZ_CHECK(turns < TURNS_MAX);
		turn();
		if (read || sent <= 0)
			receive(answers);
	}
}

static void connect_to(struct answers *answers)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	answers->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	FUZZ_CHECK(strlen(path) < sizeof address.sun_path);
	strcpy(address.sun_path, path);
	FUZZ_CHECK(answers->fd >= 0);
	FUZZ_CHECK(connect(answers->fd, (struct sockaddr *)&address, sizeof address) == 0);
	turn();
}

enum end { UNFINISHED, BY_BRACKET, BY_LINE, BY_BREAK, BY_NEXT };

/* Where the request at the beginning of a text ends, as docs/protocol.md has it, and by what. */
FUZZ_UNSEEN static enum end end_of_request(
    const char *text, size_t length, size_t *ret_length, size_t *ret_deepest)
{
	size_t depth = 0, i;
	bool line_began = false;
	char quote = 0, last = 0;

	*ret_deepest = 0;
	for (i = 0; i < length; i++) {
		char c = text[i];
		bool opens = quote == 0 && (c == '{' || c == '[');
		bool closes = quote == 0 && (c == '}' || c == ']');

		*ret_length = i;
		if (c == '\n' && (quote != 0 || depth == 0))
			return BY_LINE;
		if (opens && depth > 0 && line_began && last != ',' && last != ':' && last != '[')
			return BY_NEXT;
		*ret_length = i + 1;
		if (c == '\xff')
			return BY_BREAK;
		if (closes && depth <= 1)
			return BY_BRACKET;
		depth = depth + opens - closes;
		*ret_deepest = depth > *ret_deepest ? depth : *ret_deepest;
		line_began = c == '\n' || (line_began && strchr(" \t\r", c) != NULL && c != 0);
		if (quote == 0 && (c == 0 || strchr(" \t\r\n", c) == NULL))
			last = c;
		if (quote != 0 && c == '\\' && i + 1 < length && text[i + 1] != '\n' &&
		    text[i + 1] != '\xff')
			i++;
		else if (quote == 0 && (c == '"' || c == '\''))
			quote = c;
		else if (c == quote)
			quote = 0;
	}
	*ret_length = length;
	return UNFINISHED;
}

/* How many requests there are in what is sent and the ending behind it. */
FUZZ_UNSEEN static size_t count_requests(const uint8_t *sent, size_t length)
{
	static char bytes[SENT_MAX + 2 * CONTROL_REQUEST_MAX + sizeof ending];
	static char text[PARSE_QMP_TEXT_MAX(sizeof bytes)];
	size_t count = 0, i = 0;

	memcpy(bytes, sent, length);
	memcpy(bytes + length, ending, sizeof ending - 1);
	length += sizeof ending - 1;
	while (i < length) {
		size_t request_length, deepest;
		json_t *request;
		enum end end;
		bool good;

		if (bytes[i] != 0 && strchr(" \t\r\n", bytes[i]) != NULL) {
			i++;
			continue;
		}
		count++;
		end = end_of_request(bytes + i, length - i, &request_length, &deepest);
		request = json_loadb(text, parse_qmp_text(bytes + i, request_length, text),
		    JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
		good = request != NULL && deepest <= 64;
		json_decref(request);
		i += request_length;
		while (end == BY_BRACKET && !good && i < length && bytes[i] != '\n')
			i++;
	}
	return count;
}

static void converse(
    struct answers *answers, const struct input *input, unsigned flags, const uint8_t *sizes)
{
	const uint8_t *at = input->bytes;
	size_t left = input->left;
	size_t requests = count_requests(at, left) + 1; /* and the probe */

	start_anew();
	answers->used = answers->lines = answers->replies = answers->digest_used = 0;
	answers->probe_answered = answers->too_long = answers->ended = false;
	answers->digest[0] = '\0';
	connect_to(answers);
	if (flags & NEGOTIATED) {
		send_all(answers, negotiation, sizeof negotiation - 1, true);
		requests++;
	}
	for (unsigned i = 0; left > 0; i++) {
		size_t piece = sizes == NULL || sizes[i % PIECES] == 0 ? left : sizes[i % PIECES];

		if ((flags & LONG_BITS) == LONG)
			piece *= 64;
		piece = piece < left ? piece : left;
		send_all(answers, at, piece, (flags & READS_LATE) == 0);
		at += piece;
		left -= piece;
	}
	send_all(answers, probe, sizeof probe - 1, true);
	for (unsigned turns = 0; !answers->probe_answered && !answers->ended; turns++) {
		FUZZ_CHECK(turns < TURNS_MAX);
		turn();
		receive(answers);
	}
	FUZZ_CHECK(answers->ended || answers->replies == requests);
	close(answers->fd);
	turn();
}

/* The rest of the input, with about a line's length of one byte put in between. */
static void lengthen(struct input *input)
{
	static uint8_t text[SENT_MAX + 2 * CONTROL_REQUEST_MAX];
	uint8_t byte = (uint8_t)input_take(input, 1);
	size_t where = input_take(input, 1);
	size_t count = CONTROL_REQUEST_MAX - SENT_MAX / 4 + input_take(input, 2) % SENT_MAX;

	/* Each of these is an answer: too many to compare. */
	if (byte == '\n' || byte == '}' || byte == ']' || byte == 0xff)
		byte = 'x';
	where = where < input->left ? where : input->left;
	memcpy(text, input->bytes, where);
	memset(text + where, byte, count);
	memcpy(text + where + count, input->bytes + where, input->left - where);
	input->bytes = text;
	input->left += count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct answers in_pieces, at_once;
	struct input input = {data, size < SENT_MAX ? size : SENT_MAX};
	unsigned flags = (unsigned)input_take(&input, 1);
	uint8_t sizes[PIECES];

	if (loop == NULL)
		start();
	for (int i = 0; i < PIECES; i++)
		sizes[i] = (uint8_t)input_take(&input, 1);
	if ((flags & LONG_BITS) == LONG)
		lengthen(&input);
	converse(&in_pieces, &input, flags, sizes);
	converse(&at_once, &input, flags & ~(unsigned)READS_LATE, NULL);
	FUZZ_CHECK(strcmp(in_pieces.digest, at_once.digest) == 0);
	return 0;
}
