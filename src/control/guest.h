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

enum guest_device_kind {
	GUEST_DISK,
	GUEST_NET,
	GUEST_RNG,
	GUEST_VHOST_DISK, /* these are served by somebody else */
	GUEST_SHARE,
	GUEST_VSOCK,
};

/* A PCI device that is to be added: what its kind needs of this. */
enum { GUEST_DEVICE_FDS = 7 };
struct guest_device {
	enum guest_device_kind kind;
	const char *name;
	/* One for a disk; for a network device one for each pair of queues: they stay open, and the
	 * caller's, as long as the device is there. A back end's socket, or /dev/vhost-vsock, is
	 * taken over in any case. */
	const int *fds;
	unsigned fd_count;
	unsigned queues;    /* disks */
	bool readonly;      /* a disk */
	const char *serial; /* a disk's; empty: none */
	const char *netdev; /* what a network device is made of */
	bool has_mac;
	uint8_t mac[6];
	uint16_t mtu;    /* 0: the guest is told none */
	const char *tag; /* a share's */
	uint32_t cid;    /* a vsock's */
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
	bool (*add)(struct vmm *vmm, const struct guest_device *device, uint64_t *ret_operation,
	    struct err *err);
	/* Give a device whose back end is lost the one that fd, which is taken over, is connected
	 * to. *ret_resumes: the driver's requests are served without that it resets the device. */
	bool (*reconnect)(
	    struct vmm *vmm, const char *device, int fd, bool *ret_resumes, struct err *err);
	bool (*set_link)(struct vmm *vmm, const char *device, bool up, struct err *err);
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
		const void *owner; /* the connection that has passed it, and takes it along */
		int fd;
	} fds[NETDEVS_MAX];
	struct netdev {
		char id[OP_DEVICE_MAX]; /* empty: free */
		const char *type;
		int fds[GUEST_DEVICE_FDS];
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
