/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net.c - the commands for network devices. A running VMM can open nothing: the socket is connected
 * here, or the tap opened, and the descriptor passed over the control socket.
 */
#include "ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define NET_ID_MAX 64

static bool net_connect(struct ctl *ctl, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof address.sun_path) {
		complain("the path of the socket is too long (at most 107 bytes)");
		return false;
	}
	strcpy(address.sun_path, path);
	ctl->file_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (ctl->file_fd >= 0 &&
	    connect(ctl->file_fd, (struct sockaddr *)&address, sizeof address) == 0)
		return true;
	complain("cannot connect to %s: %s (start what listens there: passt --socket %s)", path,
	    strerror(errno), path);
	return false;
}

static bool net_open_tap(struct ctl *ctl, const char *name)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};

	if (if_nametoindex(name) == 0 || strlen(name) >= sizeof request.ifr_name) {
		complain(
		    "there is no network interface %s (make it: ip tuntap add %s mode tap user "
		    "USER vnet_hdr)",
		    name, name);
		return false;
	}
	strcpy(request.ifr_name, name);
	ctl->file_fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (ctl->file_fd >= 0 && ioctl(ctl->file_fd, TUNSETIFF, &request) == 0)
		return true;
	complain("cannot open the tap %s: %s (make it for you: ip tuntap add %s mode tap user USER "
	         "vnet_hdr)",
	    name, strerror(errno), name);
	return false;
}

bool verb_check_net(struct ctl *ctl, char **arguments)
{
	const char *to = arguments[0];

	ctl->net_is_tap = strncmp(to, "tap=", 4) == 0;
	if (ctl->net_is_tap)
		return net_open_tap(ctl, to + 4);
	if (strncmp(to, "unix=", 5) == 0)
		return net_connect(ctl, to + 5);
	complain(
	    "give unix=PATH or tap=NAME, not \"%s\" (a passt is started by hand: passt --socket "
	    "PATH)",
	    to);
	return false;
}

/* --id, or the first of net0, net1, ... that neither a device nor a netdev has. */
static bool net_choose_id(struct ctl *ctl, char id[NET_ID_MAX])
{
	json_t *netdevs = connection_ask(ctl, "query-netdevs", NULL);
	json_t *devices = netdevs == NULL ? NULL
	                                  : connection_ask(ctl, "query-connectors",
	                                        json_pack("{s:s}", "resource", "pci"));
	bool good = netdevs != NULL && devices != NULL;

	snprintf(id, NET_ID_MAX, "%s", ctl->device_id != NULL ? ctl->device_id : "net0");
	for (unsigned n = 1; good && ctl->device_id == NULL &&
	                     (list_has(netdevs, "id", id) || list_has(devices, "device", id));
	     n++)
		snprintf(id, NET_ID_MAX, "net%u", n);
	/* A netdev that was left by a device that has gone. */
	if (good && list_has(netdevs, "id", id) && !list_has(devices, "device", id))
		good = connection_tell(ctl, "netdev_del", json_pack("{s:s}", "id", id));
	json_decref(netdevs);
	json_decref(devices);
	return good;
}

/* Pass the descriptor, and make a netdev of it. */
static bool net_make_netdev(struct ctl *ctl, const char *id)
{
	json_t *arguments = ctl->net_is_tap
	                        ? json_pack("{s:s, s:s, s:s}", "type", "tap", "id", id, "fd", id)
	                        : json_pack("{s:s, s:s, s:{s:s, s:s}}", "type", "stream", "id", id,
	                              "addr", "type", "fd", "str", id);

	ctl->pass_fd = ctl->file_fd;
	if (!connection_tell(ctl, "getfd", json_pack("{s:s}", "fdname", id))) {
		json_decref(arguments);
		return false;
	}
	if (connection_tell(ctl, "netdev_add", arguments))
		return true;
	connection_tell(ctl, "closefd", json_pack("{s:s}", "fdname", id));
	return false;
}

enum exit_code verb_net_add(struct ctl *ctl, char **arguments)
{
	char id[NET_ID_MAX];
	enum exit_code code;

	if (!net_choose_id(ctl, id) || !net_make_netdev(ctl, id))
		return CTL_ERROR;
	code = operation_begin(ctl, "device_add",
	    json_pack("{s:s, s:s, s:s}", "driver", "virtio-net-pci", "id", id, "netdev", id));
	if (code == CTL_ERROR || code == CTL_REJECTED || code == CTL_CANCELLED)
		connection_tell(ctl, "netdev_del", json_pack("{s:s}", "id", id));
	return code;
}

enum exit_code verb_net_remove(struct ctl *ctl, char **arguments)
{
	enum exit_code code = pci_remove(ctl, arguments[0]);
	json_t *netdevs;

	/* Without --wait the netdev is closed when another device takes its name. */
	if (code != CTL_OK || !ctl->wait)
		return code;
	netdevs = connection_ask(ctl, "query-netdevs", NULL);
	if (list_has(netdevs, "id", arguments[0]))
		connection_tell(ctl, "netdev_del", json_pack("{s:s}", "id", arguments[0]));
	json_decref(netdevs);
	return code;
}
