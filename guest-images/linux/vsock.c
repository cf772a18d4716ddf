/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock.c - both ends of a connection between guest and host, for tests (vsock(7)).
 *
 * usage: vsock listen PORT              take one connection, send back what comes, until it ends
 *        vsock connect CID PORT BYTES   send so many bytes, and compare what comes back
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

enum { BLOCK = 16384 };

static void fail(const char *what)
{
	fprintf(stderr, "vsock: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int vsock_open(void)
{
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

	if (fd < 0)
		fail("socket");
	return fd;
}

static void write_all(int fd, const char *from, ssize_t length)
{
	for (ssize_t done = 0, more; done < length; done += more) {
		more = write(fd, from + done, (size_t)(length - done));
		if (more <= 0)
			fail("write");
	}
}

static int vsock_listen(unsigned port)
{
	struct sockaddr_vm address = {
	    .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};
	char block[BLOCK];
	int fd = vsock_open(), one;
	ssize_t length;

	if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 1) != 0)
		fail("listen");
	printf("listening\n");
	fflush(stdout);
	one = accept(fd, NULL, NULL);
	if (one < 0)
		fail("accept");
	while ((length = read(one, block, sizeof block)) > 0)
		write_all(one, block, length);
	return length < 0;
}

static int vsock_connect(unsigned cid, unsigned port, long bytes)
{
	struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
	char block[BLOCK], back[BLOCK];
	int fd = vsock_open();

	if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
		fail("connect");
	for (long done = 0; done < bytes; done += BLOCK) {
		for (unsigned i = 0; i < BLOCK; i++)
			block[i] = (char)(done / BLOCK + (long)i * 7);
		write_all(fd, block, BLOCK);
		for (ssize_t have = 0, more; have < BLOCK; have += more) {
			more = read(fd, back + have, (size_t)(BLOCK - have));
			if (more <= 0)
				fail("read");
		}
		if (memcmp(block, back, BLOCK) != 0) {
			fprintf(stderr, "vsock: something else came back\n");
			return 1;
		}
	}
	printf("the same\n");
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "listen") == 0)
		return vsock_listen((unsigned)atoi(argv[2]));
	if (argc == 5 && strcmp(argv[1], "connect") == 0)
		return vsock_connect(
		    (unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]), atol(argv[4]));
	fprintf(stderr, "usage: vsock listen PORT | vsock connect CID PORT BYTES\n");
	return 2;
}
