/* SPDX-License-Identifier: Apache-2.0 */
/* make_tap.c - makes a tap that stays, with several queues if wished; the lab host has no tool for
 * it. */
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

int main(int argc, char **argv)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd = open("/dev/net/tun", O_RDWR);

	if (argc != 3 || strlen(argv[1]) >= sizeof request.ifr_name) {
		fprintf(stderr, "usage: make_tap NAME QUEUES\n");
		return 2;
	}
	strcpy(request.ifr_name, argv[1]);
	if (strcmp(argv[2], "1") != 0)
		request.ifr_flags |= IFF_MULTI_QUEUE;
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0 || ioctl(fd, TUNSETPERSIST, 1) < 0) {
		perror("make_tap");
		return 1;
	}
	return 0;
}
