/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listen.h - a listening UNIX socket with a name in the file system, for the control socket
 * and the console: only its owner may connect, a file left behind by a dead process is
 * replaced, a live one is not, and only our own file is removed at the end.
 */
#ifndef PAPRIKA_LISTEN_H
#define PAPRIKA_LISTEN_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* The name that stands for a socket passed by systemd, and its descriptor (sd_listen_fds(3)). */
#define LISTEN_SYSTEMD "systemd"
#define LISTEN_FD 3

/* The file that was made; all zero: none. */
struct listen_identity {
	dev_t device;
	ino_t inode;
};

/*
 * Create a non-blocking listening stream socket at path, mode 0600. `what` names its purpose
 * in errors ("control socket"). Returns the descriptor, or -1 with *err filled.
 */
int listen_unix(
    const char *path, const char *what, struct listen_identity *ret_identity, struct err *err);

/* The listening stream socket that systemd, or a program with the same protocol, passed to this
 * process. Removes the variables of that protocol from the environment, so that no child uses
 * them. Returns the descriptor, or -1 with *err filled. */
int listen_passed(const char *what, struct err *err);

/* Remove the file at path if it is still the one that was made. */
void listen_unlink(const char *path, const struct listen_identity *identity);

/* True if the process at the other end runs as our own user, or as root. */
bool listen_peer_allowed(int fd);

#endif
