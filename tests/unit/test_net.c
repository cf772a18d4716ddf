/* SPDX-License-Identifier: Apache-2.0 */
/* test_net.c - the network device above a stream socket, whose other end the test has, and above a
 * port of the test's own, with several pairs of queues. */
#include "virtio_driver.h"

#include <linux/sockios.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/be.h"
#include "base/log.h"
#include "virtio/net.h"

#define MIB (UINT64_C(1) << 20)

enum { SIZE = 16, DATA = 0x100000, HEADER = 12, CLASSIC = 1514 };
enum { RX, TX };

/* What the device has told. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t news;
	char reason[80]; /* of the port's end */
	unsigned ends;
	unsigned pairs[4], pair_calls; /* asked of the test's port */
	uint64_t features;
} told = {.lock = PTHREAD_MUTEX_INITIALIZER, .news = PTHREAD_COND_INITIALIZER};

struct fixture {
	struct gmem gmem;
	struct virtio_device *device;
	struct driver_transport transport;
	struct driver_queue queues[VIRTIO_QUEUES_MAX];
	int peer;
	int quiet[NET_PAIRS_MAX]; /* other ends of the test's own port; 0: none */
};

static void on_end(void *context, const char *reason)
{
	pthread_mutex_lock(&told.lock);
	told.ends++;
	snprintf(told.reason, sizeof told.reason, "%s", reason);
	pthread_cond_signal(&told.news);
	pthread_mutex_unlock(&told.lock);
}

static void begin(struct fixture *f, const struct net_port *port)
{
	struct virtio_net_config config = {
	    .port = *port, .name = "net0", .mac = {2, 1, 2, 3, 4, 5}, .mtu = 1400, .ended = on_end};
	struct err err = {0};

	told.reason[0] = '\0';
	told.ends = told.pair_calls = 0;
	assert_true(gmem_init(&f->gmem, 4 * MIB, 4 * MIB, &err));
	f->device = virtio_net_create(&config, &f->gmem, &err);
	assert_non_null(f->device);
	transport_init(&f->transport, f->device);
}

static bool start(struct fixture *f, uint64_t features)
{
	struct virtio_rings rings[VIRTIO_QUEUES_MAX] = {0};

	for (unsigned i = 0; i < virtio_queues(f->device); i++) {
		driver_init(&f->queues[i], &f->gmem, 0x10000 * (i + 1), SIZE);
		rings[i] = f->queues[i].rings;
	}
	return virtio_start(f->device, VIRTIO_F_VERSION_1 | features, rings);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct net_port port;
	struct err err = {0};
	int ends[2];

	log_level = LOG_ERROR;
	if (f == NULL || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0 ||
	    !net_stream_take(&port, ends[0], "net0", false, &err))
		return -1;
	f->peer = ends[1];
	begin(f, &port);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	transport_stop(&f->transport, f->device);
	virtio_destroy(f->device);
	transport_finish(&f->transport);
	gmem_finish(&f->gmem);
	if (f->peer >= 0)
		close(f->peer);
	for (unsigned i = 0; i < NET_PAIRS_MAX; i++)
		if (f->quiet[i] != 0)
			close(f->quiet[i]);
	free(f);
	return 0;
}

/* --- The other end ---------------------------------------------------------------------------- */

static void peer_write(struct fixture *f, const void *bytes, size_t length)
{
	assert_int_equal(write(f->peer, bytes, length), length);
}

/* A frame of so many bytes, all of them `fill`. */
static void peer_send(struct fixture *f, uint8_t fill, uint32_t length)
{
	struct be32 before = be32(length);
	uint8_t *bytes = malloc(length);

	memset(bytes, fill, length);
	peer_write(f, &before, sizeof before);
	peer_write(f, bytes, length);
	free(bytes);
}

static void peer_read(struct fixture *f, void *to, size_t length)
{
	for (size_t have = 0; have < length;) {
		ssize_t more = read(f->peer, (uint8_t *)to + have, length - have);

		assert_true(more > 0);
		have += (size_t)more;
	}
}

/* The next frame is so long, and is filled with this. */
static void peer_expect(struct fixture *f, uint8_t fill, uint32_t length)
{
	uint8_t *bytes = malloc(length);
	struct be32 before;

	peer_read(f, &before, sizeof before);
	assert_int_equal(from_be32(before), length);
	peer_read(f, bytes, length);
	for (uint32_t i = 0; i < length; i++)
		assert_int_equal(bytes[i], fill);
	free(bytes);
}

static void peer_close(struct fixture *f)
{
	close(f->peer);
	f->peer = -1;
}

/* --- The driver ------------------------------------------------------------------------------- */

static uint16_t give(
    struct fixture *f, unsigned queue, const struct driver_part *parts, unsigned count)
{
	uint16_t head = driver_chain(&f->queues[queue], parts, count, 0);

	driver_offer(&f->queues[queue], head);
	driver_publish(&f->queues[queue]);
	driver_ring(f->device, queue);
	return head;
}

static void give_room(struct fixture *f, uint64_t address, uint32_t length)
{
	give(f, RX, &(struct driver_part){address, length, true}, 1);
}

/* The next answer of the queue: how many bytes were written. */
static uint32_t answer(struct fixture *f, unsigned queue)
{
	struct driver_queue *q = &f->queues[queue];
	uint16_t head;
	uint32_t written;

	transport_wait_used(&f->transport, q, (uint16_t)(q->used + 1));
	assert_true(driver_collect(q, &head, &written));
	return written;
}

static void send_frame(struct fixture *f, uint8_t fill, uint32_t length)
{
	memset(f->gmem.host + DATA, 0, HEADER);
	memset(f->gmem.host + DATA + HEADER, fill, length);
	give(f, TX, &(struct driver_part){DATA, HEADER + length, false}, 1);
}

static void assert_filled(struct fixture *f, uint64_t address, uint8_t fill, uint32_t length)
{
	for (uint32_t i = 0; i < length; i++)
		assert_int_equal(f->gmem.host[address + i], fill);
}

static unsigned num_buffers(struct fixture *f, uint64_t header)
{
	return f->gmem.host[header + 10] + 256u * f->gmem.host[header + 11];
}

static unsigned link_status(struct fixture *f)
{
	uint8_t bytes[2];

	virtio_read_config(f->device, 6, bytes, sizeof bytes);
	return (unsigned)(bytes[0] | bytes[1] << 8);
}

static void assert_ended(struct fixture *f, const char *reason)
{
	transport_wait_changed(&f->transport, 1);
	assert_int_equal(link_status(f), 0);
	/* It is told behind the change. */
	pthread_mutex_lock(&told.lock);
	while (told.ends == 0)
		pthread_cond_wait(&told.news, &told.lock);
	assert_int_equal(told.ends, 1);
	assert_string_equal(told.reason, reason);
	pthread_mutex_unlock(&told.lock);
}

/* --- What it is ------------------------------------------------------------------------------- */

static void it_is_a_network_device(void **state)
{
	static const uint8_t expected[] = {2, 1, 2, 3, 4, 5, 1, 0, 1, 0, 1400 & 0xff, 1400 >> 8, 0};
	struct fixture *f = *state;
	uint8_t config[sizeof expected];

	assert_int_equal(virtio_kind(f->device)->id, 1);
	assert_int_equal(virtio_queues(f->device), 2);
	assert_int_equal(virtio_features(f->device),
	    VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC | VIRTIO_NET_F_MAC |
	        VIRTIO_NET_F_STATUS | VIRTIO_NET_F_MRG_RXBUF | VIRTIO_NET_F_MTU);
	virtio_read_config(f->device, 0, config, sizeof config);
	assert_memory_equal(config, expected, sizeof expected);
	assert_true(start(f, 0));
}

/* --- Frames ----------------------------------------------------------------------------------- */

static void frames_are_sent(void **state)
{
	struct fixture *f = *state;

	assert_true(start(f, 0));
	send_frame(f, 0x11, CLASSIC);
	peer_expect(f, 0x11, CLASSIC);
	assert_int_equal(answer(f, TX), 0);
	/* Header and data cut anywhere. */
	memset(f->gmem.host + DATA, 0x22, 200);
	give(f, TX,
	    (struct driver_part[]){
	        {DATA, 5, false}, {DATA, 8, false}, {DATA, 1, false}, {DATA, 98, false}},
	    4);
	peer_expect(f, 0x22, 100);
	assert_int_equal(answer(f, TX), 0);
}

static void what_is_no_frame_is_not_sent(void **state)
{
	struct fixture *f = *state;

	assert_true(start(f, 0));
	send_frame(f, 0x11, 13);
	assert_int_equal(answer(f, TX), 0);
	give(f, TX, &(struct driver_part){DATA, HEADER + 65536 + 18 + 1, false}, 1);
	assert_int_equal(answer(f, TX), 0);
	send_frame(f, 0x33, 14);
	assert_int_equal(answer(f, TX), 0);
	peer_expect(f, 0x33, 14);
	send_frame(f, 0x44, 65536 + 18);
	peer_expect(f, 0x44, 65536 + 18);
	assert_int_equal(answer(f, TX), 0);
	assert_int_equal(f->transport.broken, 0);
}

static void a_frame_without_its_header_breaks_the_queue(void **state)
{
	struct fixture *f = *state;

	assert_true(start(f, 0));
	give(f, TX, &(struct driver_part){DATA, HEADER - 1, false}, 1);
	transport_wait_broken(&f->transport, 1);
	assert_int_equal(answer(f, TX), 0);
	assert_int_equal(link_status(f), 1);
}

static void frames_are_received(void **state)
{
	struct fixture *f = *state;

	assert_true(start(f, 0));
	give_room(f, DATA, 2048);
	peer_send(f, 0x55, CLASSIC);
	assert_int_equal(answer(f, RX), HEADER + CLASSIC);
	assert_int_equal(num_buffers(f, DATA), 1);
	assert_filled(f, DATA, 0, 10);
	assert_filled(f, DATA + HEADER, 0x55, CLASSIC);
	assert_int_equal(f->gmem.host[DATA + HEADER + CLASSIC], 0);
	/* They wait for room. */
	peer_send(f, 0x66, 60);
	peer_send(f, 0x77, 61);
	give_room(f, DATA, 2048);
	assert_int_equal(answer(f, RX), HEADER + 60);
	assert_filled(f, DATA + HEADER, 0x66, 60);
	give_room(f, DATA, 2048);
	assert_int_equal(answer(f, RX), HEADER + 61);
	assert_filled(f, DATA + HEADER, 0x77, 61);
}

static void a_frame_may_come_byte_by_byte(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[4 + 60];

	assert_true(start(f, 0));
	give_room(f, DATA, 2048);
	memset(bytes, 0x88, sizeof bytes);
	memcpy(bytes, (uint8_t[]){0, 0, 0, 60}, 4);
	for (size_t i = 0; i < sizeof bytes; i++)
		peer_write(f, bytes + i, 1);
	assert_int_equal(answer(f, RX), HEADER + 60);
	assert_filled(f, DATA + HEADER, 0x88, 60);
}

/* More than a buffer holds, so that the rest of it moves. */
static void many_frames_are_received_in_order(void **state)
{
	struct fixture *f = *state;

	assert_true(start(f, 0));
	for (unsigned round = 0; round < 100; round++) {
		for (unsigned i = 0; i < 4; i++)
			peer_send(f, (uint8_t)(round + i), 9000 + round);
		for (unsigned i = 0; i < 4; i++) {
			give_room(f, DATA, 0x10000);
			assert_int_equal(answer(f, RX), HEADER + 9000 + round);
			assert_filled(f, DATA + HEADER, (uint8_t)(round + i), 9000 + round);
		}
	}
}

static void a_frame_is_spread_over_buffers(void **state)
{
	struct fixture *f = *state;

	assert_true(start(f, VIRTIO_NET_F_MRG_RXBUF));
	peer_send(f, 0x99, 250);
	/* The number of buffers lies in two of them. */
	give(f, RX,
	    (struct driver_part[]){{DATA, 11, true}, {DATA + 11, 1, true}, {DATA + 12, 100, true}},
	    3);
	give_room(f, DATA + 0x1000, 100);
	assert_int_equal(driver_used_index(&f->queues[RX]), 0);
	give_room(f, DATA + 0x2000, 100);
	assert_int_equal(answer(f, RX), HEADER + 100);
	assert_int_equal(answer(f, RX), 100);
	assert_int_equal(answer(f, RX), 50);
	assert_int_equal(num_buffers(f, DATA), 3);
	assert_filled(f, DATA + HEADER, 0x99, 100);
	assert_filled(f, DATA + 0x1000, 0x99, 100);
	assert_filled(f, DATA + 0x2000, 0x99, 50);
	assert_int_equal(f->gmem.host[DATA + 0x2000 + 50], 0);
}

static void a_frame_that_does_not_fit_is_dropped(void **state)
{
	struct fixture *f = *state;

	assert_true(start(f, 0));
	peer_send(f, 0xaa, 250);
	give_room(f, DATA, 100);
	assert_int_equal(answer(f, RX), 0);
	peer_send(f, 0xbb, 60);
	give_room(f, DATA, 100);
	assert_int_equal(answer(f, RX), HEADER + 60);
	transport_stop(&f->transport, f->device);
	/* Nor does it fit into all buffers that there can be. */
	assert_true(start(f, VIRTIO_NET_F_MRG_RXBUF));
	peer_send(f, 0xcc, 1000);
	for (unsigned i = 0; i < SIZE; i++)
		give_room(f, DATA + 0x1000 * i, 50);
	for (unsigned i = 0; i < SIZE; i++)
		assert_int_equal(answer(f, RX), 0);
	peer_send(f, 0xdd, 60);
	give_room(f, DATA, 100);
	assert_int_equal(answer(f, RX), HEADER + 60);
}

static void room_without_a_header_breaks_the_queue(void **state)
{
	struct fixture *f = *state;

	assert_true(start(f, VIRTIO_NET_F_MRG_RXBUF));
	peer_send(f, 0xee, 60);
	give_room(f, DATA, HEADER - 1);
	transport_wait_broken(&f->transport, 1);
	assert_int_equal(answer(f, RX), 0);
	/* The frame waits for a driver that keeps the rules. */
	transport_stop(&f->transport, f->device);
	assert_true(start(f, 0));
	give_room(f, DATA, 100);
	assert_int_equal(answer(f, RX), HEADER + 60);
}

/* --- Resets ----------------------------------------------------------------------------------- */

static void a_reset_gives_back_a_half_placed_frame(void **state)
{
	struct fixture *f = *state;

	assert_true(start(f, VIRTIO_NET_F_MRG_RXBUF));
	peer_send(f, 0x12, 250);
	give_room(f, DATA, 100);
	while (virtio_progress(f->device).in_flight == 0)
		sched_yield();
	transport_stop(&f->transport, f->device);
	assert_int_equal(answer(f, RX), 0);
}

static void a_reset_does_not_wait_for_a_peer_that_does_not_read(void **state)
{
	struct fixture *f = *state;
	uint64_t sent;

	assert_true(start(f, 0));
	/* Until the socket is full: the rest of a frame is kept, and no more are taken. */
	memset(f->gmem.host + DATA, 0x34, HEADER + 60000);
	for (sent = 0; sent < SIZE; sent++)
		give(f, TX, &(struct driver_part){DATA, HEADER + 60000, false}, 1);
	assert_int_equal(answer(f, TX), 0);
	transport_stop(&f->transport, f->device);
	sent = virtio_progress(f->device).done;
	assert_true(sent < SIZE);
	/* Frames are not cut by it. */
	assert_true(start(f, 0));
	for (uint64_t i = 0; i < sent; i++)
		peer_expect(f, 0x34, 60000);
	send_frame(f, 0x35, 60);
	peer_expect(f, 0x35, 60);
}

static void a_peer_that_reads_again_gets_what_waits(void **state)
{
	struct fixture *f = *state;

	assert_true(start(f, 0));
	memset(f->gmem.host + DATA, 0x36, HEADER + 60000);
	for (unsigned i = 0; i < SIZE; i++)
		give(f, TX, &(struct driver_part){DATA, HEADER + 60000, false}, 1);
	for (unsigned i = 0; i < SIZE; i++)
		peer_expect(f, 0x36, 60000);
	for (unsigned i = 0; i < SIZE; i++)
		assert_int_equal(answer(f, TX), 0);
}

/* --- A bad end -------------------------------------------------------------------------------- */

static void a_closed_peer_takes_the_link_down(void **state)
{
	struct fixture *f = *state;
	uint8_t generation = virtio_config_generation(f->device);

	assert_true(start(f, VIRTIO_NET_F_STATUS));
	give_room(f, DATA, 2048);
	peer_send(f, 0x37, 60);
	assert_int_equal(answer(f, RX), HEADER + 60);
	peer_close(f);
	assert_ended(f, "its other end has been closed");
	assert_int_not_equal(virtio_config_generation(f->device), generation);
	/* The driver goes on. */
	send_frame(f, 0x38, 60);
	assert_int_equal(answer(f, TX), 0);
	transport_stop(&f->transport, f->device);
	assert_true(start(f, 0));
	send_frame(f, 0x38, 60);
	assert_int_equal(answer(f, TX), 0);
	assert_int_equal(link_status(f), 0);
}

static void an_end_is_noticed_without_a_driver(void **state)
{
	struct fixture *f = *state;

	peer_close(f);
	assert_ended(f, "its other end has been closed");
	virtio_net_set_link(f->device, true);
	assert_int_equal(link_status(f), 0);
}

static void an_end_while_frames_wait_is_noticed(void **state)
{
	struct fixture *f = *state;

	assert_true(start(f, 0));
	memset(f->gmem.host + DATA, 0x39, HEADER + 60000);
	for (unsigned i = 0; i < SIZE; i++)
		give(f, TX, &(struct driver_part){DATA, HEADER + 60000, false}, 1);
	assert_int_equal(answer(f, TX), 0);
	peer_close(f);
	for (unsigned i = 1; i < SIZE; i++)
		assert_int_equal(answer(f, TX), 0);
	transport_wait_changed(&f->transport, 1);
	assert_int_equal(link_status(f), 0);
}

static void half_a_frame_is_not_received(void **state)
{
	struct fixture *f = *state;

	assert_true(start(f, 0));
	give_room(f, DATA, 2048);
	peer_write(f, (uint8_t[]){0, 0, 0, 60, 1, 2, 3}, 7);
	peer_close(f);
	assert_ended(f, "its other end has been closed");
	assert_int_equal(driver_used_index(&f->queues[RX]), 0);
}

static void a_length_that_none_has_takes_the_link_down(void **state)
{
	static const uint8_t lengths[][4] = {
	    {0, 0, 0, 0}, {0, 0, 0, 13}, {0, 1, 0, 19}, {0xff, 0xff, 0xff, 0xff}, {0x7f, 0, 0, 0}};

	for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
		struct fixture *f = *state;

		assert_true(start(f, 0));
		give_room(f, DATA, 2048);
		peer_send(f, 0x41, 60);
		assert_int_equal(answer(f, RX), HEADER + 60);
		peer_write(f, lengths[i], 4);
		assert_ended(f, "it has sent what is no frame");
		tear_down(state);
		assert_int_equal(set_up(state), 0);
	}
}

/* --- The operator's link ---------------------------------------------------------------------- */

static void the_operator_takes_the_link_down_and_up(void **state)
{
	struct fixture *f = *state;

	assert_true(start(f, 0));
	give_room(f, DATA + 0x20000, 2048);
	virtio_net_set_link(f->device, false);
	assert_int_equal(f->transport.changed, 1);
	assert_int_equal(link_status(f), 0);
	virtio_net_set_link(f->device, false);
	assert_int_equal(f->transport.changed, 1);
	send_frame(f, 0x42, 60);
	assert_int_equal(answer(f, TX), 0);
	for (unsigned i = 0; i < 200; i++)
		peer_send(f, 0x43, 60);
	/* All of them are taken, and dropped. */
	for (int unread = 1; unread > 0; sched_yield())
		assert_int_equal(ioctl(f->peer, SIOCOUTQ, &unread), 0);
	virtio_net_set_link(f->device, true);
	assert_int_equal(f->transport.changed, 2);
	assert_int_equal(link_status(f), 1);
	send_frame(f, 0x44, 60);
	assert_int_equal(answer(f, TX), 0);
	peer_expect(f, 0x44, 60);
}

/* A removal that is forced: the driver waits for nobody, no frame goes either way; and all is as
 * before if it is given up. */
static void the_guest_is_cut_off(void **state)
{
	struct fixture *f = *state;
	static uint8_t frame[60000];
	uint8_t length[4];

	assert_true(start(f, 0));
	give_room(f, DATA + 0x20000, 2048);
	give_room(f, DATA + 0x20000, 2048);
	memset(f->gmem.host + DATA + 0x40000, 0x34, HEADER + sizeof frame);
	for (unsigned i = 0; i < SIZE; i++)
		give(f, TX, &(struct driver_part){DATA + 0x40000, HEADER + sizeof frame, false}, 1);
	assert_int_equal(answer(f, TX), 0);
	virtio_cut_off(f->device, true);
	/* The peer reads nothing, and they are answered. */
	for (unsigned i = 1; i < SIZE; i++)
		assert_int_equal(answer(f, TX), 0);
	assert_int_equal(link_status(f), 0);
	peer_send(f, 0x43, 60);
	for (int unread = 1; unread > 0; sched_yield())
		assert_int_equal(ioctl(f->peer, SIOCOUTQ, &unread), 0);
	assert_int_equal(driver_used_index(&f->queues[RX]), 0);
	virtio_cut_off(f->device, true);
	virtio_cut_off(f->device, false);
	assert_int_equal(link_status(f), 1);
	send_frame(f, 0x35, 60);
	/* What had been begun is whole. */
	for (peer_read(f, length, 4); length[2] != 0 || length[3] != 60; peer_read(f, length, 4)) {
		peer_read(f, frame, sizeof frame);
		assert_int_equal(frame[0], 0x34);
		assert_memory_equal(frame, frame + 1, sizeof frame - 1);
	}
	peer_read(f, frame, 60);
	assert_int_equal(frame[0], 0x35);
	assert_int_equal(answer(f, TX), 0);
	peer_send(f, 0x44, 60);
	assert_int_equal(answer(f, RX), HEADER + 60);
	/* It may have been read before, and be looked at only now. */
	if (f->gmem.host[DATA + 0x20000 + HEADER] == 0x43)
		assert_int_equal(answer(f, RX), HEADER + 60);
	assert_filled(f, DATA + 0x20000 + HEADER, 0x44, 60);
}

/* --- Several pairs, and what a port can do ---------------------------------------------------- */

static enum net_result no_frames(
    int fd, struct net_buffer *buffer, struct net_frame *ret_frame, const char **ret_reason)
{
	return NET_AGAIN;
}

static enum net_result swallow(int fd, const struct net_header *header, struct iovec *list,
    unsigned count, size_t bytes, struct net_buffer *rest)
{
	return NET_DONE;
}

static enum net_result swallow_rest(int fd, struct net_buffer *rest)
{
	return NET_DONE;
}

static void note_features(const struct net_port *port, uint64_t features)
{
	pthread_mutex_lock(&told.lock);
	told.features = features;
	pthread_cond_signal(&told.news);
	pthread_mutex_unlock(&told.lock);
}

static void note_pairs(const struct net_port *port, unsigned pairs)
{
	pthread_mutex_lock(&told.lock);
	told.pairs[told.pair_calls++ % 4] = pairs;
	pthread_mutex_unlock(&told.lock);
}

static const struct net_port_ops test_ops = {.receive = no_frames,
    .send = swallow,
    .send_rest = swallow_rest,
    .set_features = note_features,
    .set_pairs = note_pairs};

static int set_up_pairs(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct net_port port = {
	    .ops = &test_ops, .pairs = 3, .features = VIRTIO_NET_F_CSUM | VIRTIO_NET_F_HOST_TSO4};

	if (f == NULL)
		return -1;
	for (unsigned i = 0; i < port.pairs; i++) {
		int ends[2];

		if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
			return -1;
		port.fds[i] = ends[0];
		f->quiet[i] = ends[1];
	}
	f->peer = -1;
	begin(f, &port);
	*state = f;
	return 0;
}

/* What the control queue answers: header {class, command}, pairs. */
static uint8_t control(struct fixture *f, unsigned queue, const uint8_t *request, uint32_t length)
{
	memcpy(f->gmem.host + DATA, request, length);
	f->gmem.host[DATA + 0x100] = 0xff;
	give(f, queue, (struct driver_part[]){{DATA, length, false}, {DATA + 0x100, 1, true}}, 2);
	assert_int_equal(answer(f, queue), 1);
	return f->gmem.host[DATA + 0x100];
}

static void pairs_are_what_the_driver_asks_for(void **state)
{
	enum { CONTROL = 6 };
	struct fixture *f = *state;

	assert_int_equal(virtio_queues(f->device), 7);
	assert_int_equal(virtio_features(f->device) & (VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_MQ),
	    VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_MQ);
	assert_true(start(f, VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_MQ | VIRTIO_NET_F_CSUM));
	assert_int_equal(control(f, CONTROL, (uint8_t[]){4, 0, 3, 0}, 4), 0);
	assert_int_equal(told.pair_calls, 2);
	assert_int_equal(told.pairs[0], 1);
	assert_int_equal(told.pairs[1], 3);
	assert_int_equal(control(f, CONTROL, (uint8_t[]){4, 0, 2, 0}, 4), 0);
	assert_int_equal(told.pairs[2], 2);
	assert_int_equal(control(f, CONTROL, (uint8_t[]){4, 0, 0, 0}, 4), 1);
	assert_int_equal(control(f, CONTROL, (uint8_t[]){4, 0, 4, 0}, 4), 1);
	assert_int_equal(control(f, CONTROL, (uint8_t[]){4, 0, 1}, 3), 1);
	assert_int_equal(control(f, CONTROL, (uint8_t[]){4, 1, 1, 0}, 4), 1);
	assert_int_equal(control(f, CONTROL, (uint8_t[]){0, 0, 1, 0}, 4), 1);
	assert_int_equal(told.pair_calls, 3);
	/* The last pair, which is not served any more. */
	give(f, 5, &(struct driver_part){DATA, HEADER + 60, false}, 1);
	assert_int_equal(answer(f, 5), 0);
}

static void without_mq_the_third_queue_is_for_control(void **state)
{
	struct fixture *f = *state;

	assert_true(start(f, VIRTIO_NET_F_CTRL_VQ));
	assert_int_equal(control(f, 2, (uint8_t[]){4, 0, 1, 0}, 4), 0);
	transport_stop(&f->transport, f->device);
	assert_true(start(f, VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_MQ));
	give(f, 3, &(struct driver_part){DATA, HEADER + 60, false}, 1);
	assert_int_equal(answer(f, 3), 0);
}

static void a_control_request_without_an_answer_breaks_the_queue(void **state)
{
	struct fixture *f = *state;

	assert_true(start(f, VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_MQ));
	give(f, 6, &(struct driver_part){DATA, 4, false}, 1);
	transport_wait_broken(&f->transport, 1);
	transport_stop(&f->transport, f->device);
	assert_true(start(f, VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_MQ));
	give(f, 6, &(struct driver_part){DATA, 4, true}, 1);
	transport_wait_broken(&f->transport, 2);
}

static void the_port_learns_what_the_driver_has_accepted(void **state)
{
	struct fixture *f = *state;

	assert_true(start(f, VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_CSUM));
	/* Queue 0 is served when its buffer has been seen. */
	give_room(f, DATA, 2048);
	pthread_mutex_lock(&told.lock);
	while (told.features != (VIRTIO_F_VERSION_1 | VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_CSUM))
		pthread_cond_wait(&told.news, &told.lock);
	pthread_mutex_unlock(&told.lock);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_PAIRS(name) cmocka_unit_test_setup_teardown(name, set_up_pairs, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(it_is_a_network_device),
	    TEST(frames_are_sent),
	    TEST(what_is_no_frame_is_not_sent),
	    TEST(a_frame_without_its_header_breaks_the_queue),
	    TEST(frames_are_received),
	    TEST(a_frame_may_come_byte_by_byte),
	    TEST(many_frames_are_received_in_order),
	    TEST(a_frame_is_spread_over_buffers),
	    TEST(a_frame_that_does_not_fit_is_dropped),
	    TEST(room_without_a_header_breaks_the_queue),
	    TEST(a_reset_gives_back_a_half_placed_frame),
	    TEST(a_reset_does_not_wait_for_a_peer_that_does_not_read),
	    TEST(a_peer_that_reads_again_gets_what_waits),
	    TEST(a_closed_peer_takes_the_link_down),
	    TEST(an_end_is_noticed_without_a_driver),
	    TEST(an_end_while_frames_wait_is_noticed),
	    TEST(half_a_frame_is_not_received),
	    TEST(a_length_that_none_has_takes_the_link_down),
	    TEST(the_operator_takes_the_link_down_and_up),
	    TEST(the_guest_is_cut_off),
	    TEST_PAIRS(pairs_are_what_the_driver_asks_for),
	    TEST_PAIRS(without_mq_the_third_queue_is_for_control),
	    TEST_PAIRS(a_control_request_without_an_answer_breaks_the_queue),
	    TEST_PAIRS(the_port_learns_what_the_driver_has_accepted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
