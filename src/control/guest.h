/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest.h - the running guest as commands see it: the machine, its name, and what can be done to it
 * as a whole. The vmm room, which this one does not know, hands it in.
 */
#ifndef PAPRIKA_GUEST_H
#define PAPRIKA_GUEST_H

#include <stdbool.h>

#include "base/err.h"
#include "spapr/spapr.h"

/* QMP's RunState, as query-status names it. */
enum run_state {
	RUN_STATE_RUNNING,
	RUN_STATE_PAUSED,
	RUN_STATE_SHUTDOWN,
	RUN_STATE_PANICKED, /* guest-panicked */
	RUN_STATE_FAILED,   /* internal-error */
};

struct vmm;

/* A disk that a device is to be made of. */
struct guest_disk {
	const char *name; /* of the device */
	int fd;           /* stays open, and the caller's, as long as the device is there */
	bool readonly;
	const char *serial; /* empty: none */
	unsigned queues;
};

/* The same of a network device. */
enum { GUEST_NET_FDS = 7 };
struct guest_net {
	const char *name;   /* of the device */
	const char *netdev; /* what it is made of */
	const int *fds;     /* as above; one for each pair of queues */
	unsigned fd_count;
	bool has_mac;
	uint8_t mac[6];
	uint16_t mtu; /* 0: the guest is told none */
};

/* A device that somebody else serves. fd is taken over: a back end's socket, or of vhost-vsock. */
enum guest_vhost_kind { GUEST_VHOST_DISK, GUEST_VHOST_SHARE, GUEST_VHOST_VSOCK };
struct guest_vhost {
	enum guest_vhost_kind kind;
	const char *name; /* of the device */
	int fd;
	unsigned queues; /* of a disk */
	const char *tag; /* of a share */
	uint32_t cid;    /* of a vsock */
};

/* The commands stop, cont, system_reset, system_powerdown and quit. Each publishes its event. */
struct guest_ops {
	enum run_state (*run_state)(const struct vmm *vmm);
	/* A reset waits for devices to come to rest. */
	bool (*reset_waits)(const struct vmm *vmm);
	void (*stop)(struct vmm *vmm);
	bool (*cont)(struct vmm *vmm, struct err *err);
	bool (*reset)(struct vmm *vmm, struct err *err);
	void (*powerdown)(struct vmm *vmm);
	bool (*add_disk)(struct vmm *vmm, const struct guest_disk *disk, uint64_t *ret_operation,
	    struct err *err);
	bool (*add_rng)(
	    struct vmm *vmm, const char *name, uint64_t *ret_operation, struct err *err);
	bool (*add_net)(
	    struct vmm *vmm, const struct guest_net *net, uint64_t *ret_operation, struct err *err);
	bool (*set_link)(struct vmm *vmm, const char *device, bool up, struct err *err);
	bool (*add_vhost)(struct vmm *vmm, const struct guest_vhost *vhost, uint64_t *ret_operation,
	    struct err *err);
	void (*quit)(struct vmm *vmm); /* with exit code 0, once the replies are sent */
};

/* Sizes with names: devices.h. Their users know no other memory. */
#define BACKENDS_MAX 64
struct backends {
	struct backend {
		uint64_t bytes; /* 0: free */
		char id[OP_DEVICE_MAX];
		char device[OP_DEVICE_MAX]; /* the last that was added with it */
	} list[BACKENDS_MAX];
};

/* Descriptors that clients have passed, and block nodes: block.h. */
#define BLOCKS_MAX 64
struct blocks {
	struct fdset {
		bool present;
		bool taken;        /* by a node: the descriptor is the node's */
		const void *owner; /* the connection that has added it, and takes it along */
		uint64_t id;
		int fd;
	} sets[BLOCKS_MAX];
	struct block_node {
		char name[OP_DEVICE_MAX]; /* empty: free */
		int fd;
		bool readonly;
		char device[OP_DEVICE_MAX]; /* the last that was added with it */
	} nodes[BLOCKS_MAX];
};

/* Descriptors with names, and what network devices are made of: netdev.h. */
#define NETDEVS_MAX 32
struct netdevs {
	struct named_fd {
		char name[OP_DEVICE_MAX]; /* empty: free */
		int fd;
	} fds[NETDEVS_MAX];
	struct netdev {
		char id[OP_DEVICE_MAX]; /* empty: free */
		const char *type;
		int fds[GUEST_NET_FDS];
		unsigned fd_count;
		char device[OP_DEVICE_MAX]; /* the last that was added with it */
	} list[NETDEVS_MAX];
};

/* Sockets of back ends: chardev.h. */
#define CHARDEVS_MAX 32
struct chardevs {
	struct chardev {
		char id[OP_DEVICE_MAX]; /* empty: free */
		int fd;                 /* -1: a device has taken it */
		char device[OP_DEVICE_MAX];
	} list[CHARDEVS_MAX];
};

struct guest {
	const struct guest_ops *ops;
	struct vmm *vmm; /* the argument of ops */
	struct spapr *machine;
	struct backends *backends;
	struct blocks *blocks;
	struct netdevs *netdevs;
	struct chardevs *chardevs;
	const char *name; /* empty: none */
};

#endif
