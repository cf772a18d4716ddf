/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block.h - the commands that bring disks: descriptors that a client has opened and passes over the
 * socket (add-fd), and block nodes made of them (blockdev-add). The program can open nothing by
 * then.
 */
#ifndef PAPRIKA_BLOCK_H
#define PAPRIKA_BLOCK_H

#include "control/command.h"

json_t *run_add_fd(struct call *call);
json_t *run_remove_fd(struct call *call);
json_t *query_fdsets(struct call *call);
json_t *run_blockdev_add(struct call *call);
json_t *run_blockdev_del(struct call *call);
json_t *query_named_block_nodes(struct call *call);

/* A connection has ended: forget the descriptors that it has passed, and that no node has taken. */
void blocks_forget_session(struct blocks *blocks, const struct session *session);

/* The node of this name; NULL if there is none. */
struct block_node *block_find(struct blocks *blocks, const char *name);

/* A device that the machine has uses it. */
bool block_is_used(struct spapr *machine, const struct block_node *node);

/* Forget the devices that nodes were used for, and that have left: another may take the name. */
void blocks_forget_devices(const struct guest *guest);

#endif
