/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.h - what a person may say on the command line or in a --config file, as one table:
 * parsing, the help text, the config file's keys and their checks all come from its rows.
 */
#ifndef PAPRIKA_OPTIONS_H
#define PAPRIKA_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/log.h"
#include "spapr/spapr.h"

#define OPTION_TEXT_MAX 4096
#define OPTION_MEMORY_BYTES (UINT64_C(512) << 20) /* the default */

enum console_kind { CONSOLE_STDIO, CONSOLE_FILE, CONSOLE_PTY, CONSOLE_UNIX, CONSOLE_NONE };

/* One disk. */
enum { OPTION_DISKS_MAX = 31, OPTION_DISK_QUEUES_MAX = 16 };
struct option_disk {
	char file[OPTION_TEXT_MAX];
	char vhost[OPTION_TEXT_MAX]; /* a socket, if there is no file */
	char id[64];
	char serial[21]; /* empty: none */
	unsigned queues;
	bool readonly, direct;
};

/* One network device. */
enum { OPTION_NETS_MAX = 31, OPTION_NET_QUEUES_MAX = 7 };
enum net_kind { NET_KIND_PASST = 1, NET_KIND_TAP, NET_KIND_FD, NET_KIND_UNIX };
struct option_net {
	enum net_kind kind;
	char path[108]; /* of a socket; or the name of a tap */
	int fds[OPTION_NET_QUEUES_MAX];
	unsigned fd_count, queues;
	char id[64];
	bool has_mac;
	uint8_t mac[6];
	uint16_t mtu; /* 0: none is told */
};

/* One directory: of ours, or behind a socket. */
enum { OPTION_SHARES_MAX = 8 };
struct option_share {
	char dir[OPTION_TEXT_MAX], socket[OPTION_TEXT_MAX];
	char tag[37];
	char id[64];
	bool readonly;
};

struct options {
	char kernel[OPTION_TEXT_MAX];
	char initrd[OPTION_TEXT_MAX]; /* empty: none */
	char append[2048];            /* Linux' COMMAND_LINE_SIZE, the NUL included */
	uint32_t boot_cpus, max_cpus, threads;
	uint64_t memory_bytes;
	uint64_t max_memory_bytes; /* 0: no more than that */
	bool memory_by_event, memory_shared;
	char control[OPTION_TEXT_MAX]; /* socket path; empty: none */
	enum console_kind console;
	char console_path[OPTION_TEXT_MAX];
	uint64_t unplug_deadline_ms;
	bool no_reboot;
	bool no_sandbox;
	int kvm_fd; /* 0: open /dev/kvm */
	struct kvm_mode mode;
	char name[64];
	char uuid[37]; /* lower case, with its hyphens; empty: none */
	enum log_level log_level;
	char output[OPTION_TEXT_MAX]; /* dtb -o */
	struct option_disk disks[OPTION_DISKS_MAX];
	size_t disk_count;
	struct option_net nets[OPTION_NETS_MAX];
	size_t net_count;
	struct option_share shares[OPTION_SHARES_MAX];
	size_t share_count;
	uint32_t vsock_cid; /* 0: none */
	bool rng, pci;
	uint32_t hotplug_ports; /* so many slots of the PCI bus that need no tool in the guest */
	bool json;              /* check --json */
	bool papr;              /* check --papr */
	bool help;              /* --help was met; the rest was not looked at */
};

enum option_command { COMMAND_RUN = 1, COMMAND_CHECK = 2, COMMAND_DTB = 4 };

/* Defaults: 1 CPU, max = boot, 1 thread, 512 MiB, console on stdio, 15 s, append console=hvc0. */
void options_defaults(struct options *options);

/*
 * Parse argv (argv[0] is ignored) for a command. A --config file is read at its place; what
 * comes later wins. On false *err has class ERR_USAGE and options is not to be used.
 */
bool options_parse(
    struct options *options, enum option_command command, int argc, char **argv, struct err *err);

/* The machine these options describe; load, wake and context are the caller's to fill in. It
 * points into *options. */
struct spapr_config options_machine(const struct options *options);

/* The guest's memory is shared with back ends. */
bool options_share_memory(const struct options *options);

/* It has devices whose queues somebody else serves, or can get some. */
bool options_have_vhost(const struct options *options);

/* The guest has a PCI bus; it has a network device on it, or may get one. */
bool options_have_pci(const struct options *options);
bool options_have_net(const struct options *options);

/* The address of a network device: the one that was given, or one that depends on the names of
 * guest and device alone. It is locally administered. */
void options_mac(const struct options *options, const char *id, uint8_t ret_mac[6]);

/* "512M", "2G", "1048576" (bytes); K, M, G, T are powers of 1024. */
bool parse_size(const char *text, uint64_t *ret_bytes, struct err *err);

/* The options of a command, a line each, for --help. */
void options_help(FILE *to, enum option_command command);

#endif
