/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host_disk.c - a block device of the host that can hang, and fail: serves a file as a network
 * block device (nbd), to this host itself. SIGUSR1: answer no more requests; SIGUSR2: go on;
 * SIGTERM: end, by which those that have not been answered fail. Prints "ready" when the device is
 * there.
 *
 * usage: host_disk DEVICE FILE
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/nbd.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCK_BYTES = 4096, REQUEST_BYTES_MAX = 32 << 20 };

static volatile sig_atomic_t holding, ending;

static void on_signal(int number)
{
	if (number == SIGTERM)
		ending = 1;
	else
		holding = number == SIGUSR1;
}

static __attribute__((noreturn)) void fail(const char *what)
{
	fprintf(stderr, "host_disk: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* All of it; false at the end of the connection. */
static bool move_all(int fd, void *bytes, size_t length, bool write_it)
{
	for (size_t done = 0; done < length;) {
		char *at = (char *)bytes + done;
		ssize_t n = write_it ? write(fd, at, length - done) : read(fd, at, length - done);

		if (n == 0 || (n < 0 && errno != EINTR))
			return false;
		if (n > 0)
			done += (size_t)n;
	}
	return true;
}

/* One request of the kernel's. */
static bool serve(int connection, int file, void *data)
{
	struct nbd_request request;
	struct nbd_reply reply = {.magic = htobe32(NBD_REPLY_MAGIC)};
	uint32_t type, length;
	off_t offset;
	bool good = true;

	if (!move_all(connection, &request, sizeof request, false))
		return false;
	type = be32toh(request.type) & 0xffff;
	length = be32toh(request.len);
	offset = (off_t)be64toh(request.from);
	memcpy(reply.handle, request.handle, sizeof reply.handle);
	if (type == NBD_CMD_DISC || length > REQUEST_BYTES_MAX)
		return false;
	if (type == NBD_CMD_WRITE)
		good = move_all(connection, data, length, false) &&
		       pwrite(file, data, length, offset) == (ssize_t)length;
	else if (type == NBD_CMD_READ)
		good = pread(file, data, length, offset) == (ssize_t)length;
	else if (type == NBD_CMD_FLUSH)
		good = fdatasync(file) == 0;
	reply.error = htobe32(good ? 0 : EIO);
	return move_all(connection, &reply, sizeof reply, true) &&
	       (type != NBD_CMD_READ || move_all(connection, data, length, true));
}

static void wait_for_device(const char *device)
{
	const char *name = strrchr(device, '/');
	char path[64];

	snprintf(path, sizeof path, "/sys/block/%s/pid", name != NULL ? name + 1 : device);
	while (access(path, F_OK) != 0)
		usleep(10000);
	puts("ready");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_signal};
	int device, file, ends[2];
	struct stat status;
	sigset_t signals, before;
	void *data = malloc(REQUEST_BYTES_MAX);
	pid_t child;

	if (argc != 3 || data == NULL) {
		fputs("usage: host_disk DEVICE FILE\n", stderr);
		return 2;
	}
	device = open(argv[1], O_RDWR | O_CLOEXEC);
	file = open(argv[2], O_RDWR | O_CLOEXEC);
	if (device < 0 || file < 0 || fstat(file, &status) != 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
		fail(argv[device < 0 ? 1 : 2]);
	ioctl(device, NBD_CLEAR_SOCK);
	if (ioctl(device, NBD_SET_BLKSIZE, (unsigned long)BLOCK_BYTES) != 0 ||
	    ioctl(device, NBD_SET_SIZE_BLOCKS, (unsigned long)(status.st_size / BLOCK_BYTES)) !=
	        0 ||
	    ioctl(device, NBD_SET_FLAGS,
	        (unsigned long)(NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH)) != 0 ||
	    ioctl(device, NBD_SET_SOCK, (unsigned long)ends[0]) != 0)
		fail("cannot set up the device");
	child = fork();
	if (child == 0) {
		/* Until the connection ends. Signals may be sent to the group of processes, and the
		 * kernel ends the connection when this one has one.
		 */
		signal(SIGUSR1, SIG_IGN);
		signal(SIGUSR2, SIG_IGN);
		signal(SIGTERM, SIG_IGN);
		close(ends[1]);
		ioctl(device, NBD_DO_IT);
		ioctl(device, NBD_CLEAR_QUE);
		ioctl(device, NBD_CLEAR_SOCK);
		_exit(0);
	}
	close(ends[0]);
	/* Signals come while it waits only. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	sigaddset(&signals, SIGUSR2);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, &before);
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGUSR2, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	wait_for_device(argv[1]);
	while (!ending) {
		struct pollfd ready = {.fd = ends[1], .events = POLLIN};

		if (ppoll(&ready, holding ? 0 : 1, NULL, &before) > 0 &&
		    !serve(ends[1], file, data))
			break;
	}
	close(ends[1]);
	close(device);
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}
