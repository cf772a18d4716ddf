/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_stream.c - what the other end of a network device's stream may send.
 *
 * Input: pieces, each a byte that says how long it is, and its bytes; the other end writes one, the
 * port receives what there is, and so on. What must hold: the frames are those of all bytes
 * together, read in the plainest way; the first length that no frame has ends the port, and so does
 * the end.
 */
#include "fuzz.h"

#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "virtio/net_port.h"

/* Long frames cost a few bytes of input: a piece of this length is so many bytes of one value. */
enum { LONG_PIECE = 0xff, LONG_BYTES = 40000, SENT_MAX = 1 << 20 };

static struct net_buffer buffer;
static uint8_t sent[SENT_MAX];
static size_t sent_bytes, read_bytes;

static size_t sent_length(void)
{
	const uint8_t *at = sent + read_bytes;

	return (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
}

/* False: the port has ended. */
static bool receive_all(const struct net_port *port)
{
	for (;;) {
		struct net_frame frame = {.length = 0};
		const char *reason = NULL;
		enum net_result result = port->ops->receive(port->fds[0], &buffer, &frame, &reason);
		size_t there = sent_bytes - read_bytes;
		size_t length = there >= 4 ? sent_length() : NET_FRAME_MIN;
		bool is_wrong = length < NET_FRAME_MIN || length > NET_FRAME_MAX;

		FUZZ_CHECK(buffer.from <= buffer.to && buffer.to <= sizeof buffer.bytes);
		FUZZ_CHECK((result == NET_ENDED) == is_wrong);
		FUZZ_CHECK((result == NET_ENDED) == (reason != NULL));
		if (result != NET_DONE) {
			FUZZ_CHECK(is_wrong || there < 4 + length);
			return result != NET_ENDED;
		}
		FUZZ_CHECK(there >= 4 + length && frame.length == length);
		FUZZ_CHECK(memcmp(frame.data, sent + read_bytes + 4, length) == 0);
		read_bytes += 4 + length;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct net_port port;
	struct err err = {0};
	int ends[2];
	bool open = true;

	log_level = LOG_ERROR;
	sent_bytes = read_bytes = buffer.from = buffer.to = 0;
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	FUZZ_CHECK(net_stream_take(&port, ends[0], "fuzz", false, &err));
	for (size_t at = 0; open && at + 1 < size && sent_bytes + LONG_BYTES <= SENT_MAX;) {
		size_t length = data[at++], from = sent_bytes;

		if (length == LONG_PIECE) {
			memset(sent + from, data[at++], LONG_BYTES);
			sent_bytes += LONG_BYTES;
		} else {
			length = length < size - at ? length : size - at;
			memcpy(sent + from, data + at, length);
			at += length;
			sent_bytes += length;
		}
		FUZZ_CHECK(
		    write(ends[1], sent + from, sent_bytes - from) == (ssize_t)(sent_bytes - from));
		open = receive_all(&port);
	}
	close(ends[1]);
	if (open) {
		struct net_frame frame = {.length = 0};
		const char *reason = NULL;

		FUZZ_CHECK(port.ops->receive(port.fds[0], &buffer, &frame, &reason) == NET_ENDED);
		FUZZ_CHECK(reason != NULL && frame.length == 0);
	}
	net_port_close(&port);
	return 0;
}
