/* SPDX-License-Identifier: Apache-2.0 */
/*
 * option_net.c - the option --net: first where the device's frames go, then what else there is to
 * say of it, separated by commas.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mac.h"
#include "vmm/option_row.h"

#define HINT                                                                                       \
	"write --net passt, tap=NAME, fd=N or unix=PATH, and then ,mac=M,id=NAME,mtu=N,queues=N"

enum { MTU_MIN = 68, MTU_MAX = 65520, TAP_NAME_MAX = 15 };

/* FNV-1a. */
static uint64_t mac_hash(uint64_t hash, const char *text)
{
	for (; *text != '\0'; text++)
		hash = (hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
	return (hash ^ 0xff) * UINT64_C(0x100000001b3);
}

void options_mac(const struct options *options, const char *id, uint8_t ret_mac[6])
{
	uint64_t hash = mac_hash(UINT64_C(0xcbf29ce484222325), options->name);

	hash = mac_hash(mac_hash(hash, options->uuid), id);
	for (unsigned i = 0; i < 6; i++)
		ret_mac[i] = (uint8_t)(hash >> (8 * i));
	ret_mac[0] = (uint8_t)((ret_mac[0] & 0xfc) | 2);
	for (size_t i = 0; i < options->net_count; i++)
		if (strcmp(options->nets[i].id, id) == 0 && options->nets[i].has_mac)
			memcpy(ret_mac, options->nets[i].mac, 6);
}

static bool net_number(const char *key, const char *value, unsigned long min, unsigned long max,
    unsigned long *ret_number, struct err *err)
{
	char *end, hint[64];

	*ret_number = strtoul(value, &end, 10);
	if (value[0] >= '0' && value[0] <= '9' && *end == '\0' && *ret_number >= min &&
	    *ret_number <= max)
		return true;
	snprintf(hint, sizeof hint, "give a number from %lu to %lu", min, max);
	return err_set(err, ERR_USAGE, hint, "--net %s cannot be \"%.64s\"", key, value);
}

/* Numbers of descriptors, with colons between them: one for each pair of queues. */
static bool net_set_fds(struct option_net *net, const char *value, struct err *err)
{
	for (;;) {
		char one[16];
		size_t length = strcspn(value, ":");
		unsigned long fd;

		snprintf(one, sizeof one, "%.*s", length < sizeof one ? (int)length : 15, value);
		if (net->fd_count == OPTION_NET_QUEUES_MAX)
			return err_set(
			    err, ERR_USAGE, "give at most 7", "--net fd has too many descriptors");
		if (!net_number("fd", one, STDERR_FILENO + 1, INT_MAX, &fd, err))
			return false;
		net->fds[net->fd_count++] = (int)fd;
		value += length;
		if (*value++ == '\0')
			return true;
	}
}

/* The first item. */
static bool net_set_kind(struct option_net *net, const char *item, char *value, struct err *err)
{
	size_t max = sizeof net->path - 1;

	if (strcmp(item, "passt") == 0 && value == NULL) {
		net->kind = NET_KIND_PASST;
		return true;
	}
	if (value == NULL)
		return err_set(err, ERR_USAGE, HINT, "--net does not know \"%.64s\"", item);
	if (strcmp(item, "fd") == 0) {
		net->kind = NET_KIND_FD;
		return net_set_fds(net, value, err);
	}
	if (strcmp(item, "tap") == 0) {
		net->kind = NET_KIND_TAP;
		max = TAP_NAME_MAX;
	} else if (strcmp(item, "unix") == 0) {
		net->kind = NET_KIND_UNIX;
	} else {
		return err_set(err, ERR_USAGE, HINT, "--net does not know \"%.64s\"", item);
	}
	if (value[0] == '\0' || strlen(value) > max)
		return err_set(err, ERR_USAGE,
		    max == TAP_NAME_MAX ? "give the name of a tap, at most 15 characters"
		                        : "give a path of at most 107 bytes",
		    "--net %s cannot be \"%.120s\"", item, value);
	strcpy(net->path, value);
	return true;
}

static bool net_set_item(const struct options *options, const struct option_row *row,
    struct option_net *net, char *item, struct err *err)
{
	char *value = strchr(item, '=');
	unsigned long number;

	if (value != NULL)
		*value++ = '\0';
	if (net->kind == 0)
		return net_set_kind(net, item, value, err);
	if (value == NULL)
		return err_set(err, ERR_USAGE, HINT, "--net does not know \"%.64s\"", item);
	if (strcmp(item, "id") == 0)
		return option_set_id(options, row, net->id, value, err);
	if (strcmp(item, "mac") == 0) {
		net->has_mac = mac_parse(value, net->mac);
		return net->has_mac || err_set(err, ERR_USAGE,
		                           "give one like 52:54:00:12:34:56, with an even first "
		                           "number",
		                           "--net mac cannot be \"%.64s\"", value);
	}
	if (strcmp(item, "mtu") == 0) {
		if (!net_number(item, value, MTU_MIN, MTU_MAX, &number, err))
			return false;
		net->mtu = (uint16_t)number;
		return true;
	}
	if (strcmp(item, "queues") == 0) {
		if (!net_number(item, value, 1, OPTION_NET_QUEUES_MAX, &number, err))
			return false;
		net->queues = (unsigned)number;
		return true;
	}
	return err_set(err, ERR_USAGE, HINT, "--net does not know \"%.64s\"", item);
}

bool option_set_net(
    struct options *options, const struct option_row *row, const char *text, struct err *err)
{
	struct option_net *net = &options->nets[options->net_count];
	char item[OPTION_TEXT_MAX];

	if (options->net_count == OPTION_NETS_MAX)
		return err_set(err, ERR_USAGE, "leave some out",
		    "there are more than the %d network devices that a guest can have",
		    OPTION_NETS_MAX);
	*net = (struct option_net){0};
	do {
		if (!option_next_item(&text, item, sizeof item))
			return err_set(
			    err, ERR_USAGE, "give a shorter path", "a value of --net is too long");
		if (!net_set_item(options, row, net, item, err))
			return false;
	} while (text != NULL);
	if (net->queues == 0)
		net->queues = net->fd_count > 0 ? net->fd_count : 1;
	if (net->queues > 1 && net->kind != NET_KIND_TAP && net->queues != net->fd_count)
		return err_set(err, ERR_USAGE,
		    "give a tap, or as many descriptors: fd=3:4,queues=2",
		    "--net queues=%u needs as many descriptors", net->queues);
	if (net->id[0] == '\0') {
		char id[sizeof net->id];

		snprintf(id, sizeof id, "net%zu", options->net_count);
		if (!option_set_id(options, row, net->id, id, err))
			return false;
	}
	options->net_count++;
	return true;
}
