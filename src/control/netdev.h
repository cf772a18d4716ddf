/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netdev.h - the commands that bring networks: descriptors with names (getfd), and netdevs made of
 * them (netdev_add), which a virtio-net-pci is connected to.
 */
#ifndef PAPRIKA_NETDEV_H
#define PAPRIKA_NETDEV_H

#include "control/command.h"

json_t *run_getfd(struct call *call);
json_t *run_closefd(struct call *call);
json_t *run_netdev_add(struct call *call);
json_t *run_netdev_del(struct call *call);
json_t *run_set_link(struct call *call);
json_t *query_netdevs(struct call *call);

/* The descriptor of this name, which is the caller's from then on; -1, and an error, if there is
 * none. */
int named_fd_take(struct call *call, const char *name);

/* A connection has ended: close what it has passed by getfd, and nothing has taken. */
void named_fds_forget_session(struct netdevs *netdevs, const struct session *session);

/* The netdev of this id; NULL if there is none. */
struct netdev *netdev_find(struct netdevs *netdevs, const char *id);

/* A device that the machine has uses it. */
bool netdev_is_used(struct spapr *machine, const struct netdev *netdev);

/* Forget the devices that have left: another may take the name. */
void netdevs_forget_devices(const struct guest *guest);

#endif
