/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_net_tap.c - a port that is a tap, in a network namespace of the test's own. The other end is
 * a packet socket on the interface.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "virtio/net_port.h"

enum { PROTOCOL = 0x88b5 /* for experiments */, FRAME = 200, QUEUES = 3 };

static struct net_buffer buffer;

/* A tap that stays, until remove_tap(). */
static void make_tap(const char *name, short flags)
{
	struct ifreq request = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | flags)};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC), other = socket(AF_INET, SOCK_DGRAM, 0);

	assert_true(fd >= 0 && other >= 0);
	strcpy(request.ifr_name, name);
	assert_int_equal(ioctl(fd, TUNSETIFF, &request), 0);
	assert_int_equal(ioctl(fd, TUNSETPERSIST, 1), 0);
	request.ifr_flags = IFF_UP;
	assert_int_equal(ioctl(other, SIOCSIFFLAGS, &request), 0);
	close(other);
	close(fd);
}

/* The interface goes with the last descriptor. */
static void remove_tap(const struct net_port *port)
{
	assert_int_equal(ioctl(port->fds[0], TUNSETPERSIST, 0), 0);
}

static int open_interface(const char *name)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET,
	    .sll_protocol = htons(PROTOCOL),
	    .sll_ifindex = (int)if_nametoindex(name)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(PROTOCOL));

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	return fd;
}

static void make_frame(uint8_t frame[FRAME], uint8_t fill)
{
	memset(frame, fill, FRAME);
	memset(frame, 0xff, 6);
	memset(frame + 6, 2, 6);
	frame[12] = PROTOCOL >> 8;
	frame[13] = PROTOCOL & 0xff;
}

/* The next frame of ours: others are the kernel's. */
static enum net_result receive(
    const struct net_port *port, unsigned queue, struct net_frame *ret_frame)
{
	for (;;) {
		struct pollfd readable = {.fd = port->fds[queue], .events = POLLIN};
		const char *reason = NULL;
		enum net_result result =
		    port->ops->receive(port->fds[queue], &buffer, ret_frame, &reason);

		if (result == NET_ENDED)
			assert_string_equal(reason, "the tap is gone");
		if (result == NET_ENDED || (result == NET_DONE && ret_frame->length == FRAME &&
		                               ret_frame->data[12] == PROTOCOL >> 8))
			return result;
		if (result == NET_AGAIN)
			assert_int_equal(poll(&readable, 1, -1), 1);
	}
}

static void frames_go_both_ways(void **state)
{
	static const struct net_header header;
	struct iovec list[4];
	struct net_buffer rest = {0};
	uint8_t sent[FRAME], got[FRAME + 1];
	struct net_frame frame;
	struct net_port port;
	struct err err = {0};
	int other;

	(void)state;
	make_tap("t0", IFF_VNET_HDR);
	assert_true(net_tap_open(&port, "t0", 1, &err));
	assert_int_equal(port.features, VIRTIO_NET_F_CSUM | VIRTIO_NET_F_GUEST_CSUM |
	                                    VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_HOST_TSO6 |
	                                    VIRTIO_NET_F_HOST_ECN | VIRTIO_NET_F_GUEST_TSO4 |
	                                    VIRTIO_NET_F_GUEST_TSO6 | VIRTIO_NET_F_GUEST_ECN);
	assert_false(port.is_stream);
	other = open_interface("t0");
	make_frame(sent, 0x11);
	assert_int_equal(write(other, sent, FRAME), FRAME);
	assert_int_equal(receive(&port, 0, &frame), NET_DONE);
	assert_memory_equal(frame.data, sent, FRAME);
	assert_int_equal(frame.header.flags, 0);
	/* The other way, in two parts. */
	make_frame(sent, 0x22);
	list[2] = (struct iovec){sent, 50};
	list[3] = (struct iovec){sent + 50, FRAME - 50};
	assert_int_equal(port.ops->send(port.fds[0], &header, list, 4, FRAME, &rest), NET_DONE);
	assert_int_equal(read(other, got, sizeof got), FRAME);
	assert_memory_equal(got, sent, FRAME);
	/* What was kept. */
	memcpy(rest.bytes, &header, sizeof header);
	memcpy(rest.bytes + sizeof header, sent, FRAME);
	rest.to = sizeof header + FRAME;
	assert_int_equal(port.ops->send_rest(port.fds[0], &rest), NET_DONE);
	assert_int_equal(read(other, got, sizeof got), FRAME);
	/* What the driver accepts is set, whatever it is. */
	for (uint64_t features = 0; features < 1024; features++)
		port.ops->set_features(&port, features);
	close(other);
	remove_tap(&port);
	net_port_close(&port);
	assert_int_equal(if_nametoindex("t0"), 0);
}

/* Checksums are left to whoever reads the frame, if the driver takes that. */
static void queues_are_attached_as_the_driver_serves_them(void **state)
{
	struct net_port port, single;
	struct net_frame frame;
	uint8_t sent[FRAME];
	struct err err = {0};
	int other;

	(void)state;
	make_tap("t1", IFF_VNET_HDR | IFF_MULTI_QUEUE);
	assert_true(net_tap_open(&port, "t1", QUEUES, &err));
	assert_int_equal(port.pairs, QUEUES);
	other = open_interface("t1");
	/* With one pair all flows come there. */
	port.ops->set_pairs(&port, 1);
	for (uint8_t i = 0; i < 50; i++) {
		make_frame(sent, i);
		sent[11] = i;
		assert_int_equal(write(other, sent, FRAME), FRAME);
		assert_int_equal(receive(&port, 0, &frame), NET_DONE);
		assert_memory_equal(frame.data, sent, FRAME);
	}
	/* Attached again: a queue that was not would be in error. */
	port.ops->set_pairs(&port, QUEUES);
	port.ops->set_pairs(&port, QUEUES);
	for (unsigned i = 0; i < QUEUES; i++) {
		struct pollfd queue = {.fd = port.fds[i], .events = POLLOUT};

		assert_int_equal(poll(&queue, 1, 0), 1);
		assert_int_equal(queue.revents, POLLOUT);
	}
	/* One queue of such a tap. */
	net_port_close(&port);
	assert_true(net_tap_open(&single, "t1", 1, &err));
	close(other);
	remove_tap(&single);
	net_port_close(&single);
}

static void a_tap_that_is_deleted_has_ended(void **state)
{
	struct net_frame frame;
	struct net_port port;
	struct err err = {0};

	(void)state;
	make_tap("t2", IFF_VNET_HDR);
	assert_true(net_tap_open(&port, "t2", 1, &err));
	assert_int_equal(system("ip link del t2"), 0);
	assert_int_equal(receive(&port, 0, &frame), NET_ENDED);
	net_port_close(&port);
}

static void descriptors_are_what_they_are(void **state)
{
	struct net_port port, again;
	struct err err = {0};
	int ends[2], file, fds[1];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	assert_true(net_port_take(&port, ends, 1, "n", true, &err));
	assert_true(port.is_stream);
	net_port_close(&port); /* lent: it stays open */
	assert_int_equal(fcntl(ends[0], F_GETFD), FD_CLOEXEC);
	assert_false(net_port_take(&port, ends, 2, "n", true, &err));
	assert_non_null(strstr(err.message, "net n: cannot use the descriptor as a tap"));
	close(ends[0]);
	close(ends[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends), 0);
	err = (struct err){0};
	assert_false(net_port_take(&port, ends, 1, "n", true, &err));
	assert_non_null(strstr(err.message, "no stream socket"));
	close(ends[0]);
	close(ends[1]);
	file = open("/dev/null", O_RDWR | O_CLOEXEC);
	err = (struct err){0};
	assert_false(net_port_take(&port, &file, 1, "n", false, &err));
	assert_int_equal(fcntl(file, F_GETFD), -1); /* taken over, and closed */
	/* A tap, and one that has no header. */
	make_tap("t3", IFF_VNET_HDR);
	assert_true(net_tap_open(&port, "t3", 1, &err));
	assert_true(net_port_take(&again, port.fds, 1, "n", true, &err));
	assert_false(again.is_stream);
	remove_tap(&port);
	net_port_close(&port);
	make_tap("t4", 0);
	fds[0] = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	assert_int_equal(ioctl(fds[0], TUNSETIFF,
	                     &(struct ifreq){.ifr_name = "t4", .ifr_flags = IFF_TAP | IFF_NO_PI}),
	    0);
	assert_int_equal(ioctl(fds[0], TUNSETPERSIST, 0), 0);
	err = (struct err){0};
	assert_false(net_port_take(&port, fds, 1, "n", false, &err));
	assert_non_null(strstr(err.message, "without vnet_hdr"));
}

static void taps_that_cannot_be_opened(void **state)
{
	struct net_port port, user;
	struct err err = {0};

	(void)state;
	assert_false(net_tap_open(&port, "none", 1, &err));
	assert_int_equal(err.class, ERR_HOST);
	assert_string_equal(err.message, "there is no network interface none");
	err = (struct err){0};
	assert_false(net_tap_open(&port, "lo", 1, &err));
	assert_non_null(strstr(err.message, "cannot open the tap lo"));
	make_tap("t5", IFF_VNET_HDR);
	err = (struct err){0};
	assert_false(net_tap_open(&port, "t5", 2, &err));
	assert_non_null(strstr(err.hint, "multi_queue"));
	/* It is in use. */
	assert_true(net_tap_open(&user, "t5", 1, &err));
	err = (struct err){0};
	assert_false(net_tap_open(&port, "t5", 1, &err));
	assert_non_null(strstr(err.message, "cannot open the tap t5"));
	remove_tap(&user);
	net_port_close(&user);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(frames_go_both_ways),
	    cmocka_unit_test(queues_are_attached_as_the_driver_serves_them),
	    cmocka_unit_test(a_tap_that_is_deleted_has_ended),
	    cmocka_unit_test(descriptors_are_what_they_are),
	    cmocka_unit_test(taps_that_cannot_be_opened),
	};

	if (access("/dev/net/tun", R_OK | W_OK) != 0 ||
	    (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)) {
		printf(
		    "1..0 # skipped: there is no /dev/net/tun here, or no network namespaces: %s\n",
		    strerror(errno));
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
