/* SPDX-License-Identifier: Apache-2.0 */
/*
 * option_share.c - the options --share and --vsock: what somebody else serves. Values are written
 * as those of --disk.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drc/operation.h"
#include "vmm/option_row.h"

#define SHARE_HINT "write --share dir=PATH,tag=NAME,readonly or --share socket=PATH,tag=NAME"

static bool share_set_item(const struct options *options, const struct option_row *row,
    struct option_share *share, char *item, struct err *err)
{
	char *value = strchr(item, '=');

	if (value != NULL)
		*value++ = '\0';
	if (strcmp(item, "readonly") == 0)
		return option_item_switch("share", &share->readonly, item, value, err);
	if (value == NULL)
		return err_set(err, ERR_USAGE, SHARE_HINT, "--share does not know \"%.64s\"", item);
	if (strcmp(item, "dir") == 0)
		return option_item_text("share", share->dir, sizeof share->dir, item, value,
		    SHARE_HINT, SHARE_HINT, err);
	if (strcmp(item, "socket") == 0)
		return option_item_text("share", share->socket, sizeof share->socket, item, value,
		    SHARE_HINT, SHARE_HINT, err);
	if (strcmp(item, "tag") == 0)
		return option_item_text("share", share->tag, sizeof share->tag, item, value,
		    "give 1 to 36 characters", SHARE_HINT, err);
	if (strcmp(item, "id") == 0)
		return option_set_id(options, row, share->id, value, err);
	return err_set(err, ERR_USAGE, SHARE_HINT, "--share does not know \"%.64s\"", item);
}

static bool share_check(const struct options *options, const struct option_row *row,
    struct option_share *share, struct err *err)
{
	if ((share->dir[0] == '\0') == (share->socket[0] == '\0'))
		return err_set(
		    err, ERR_USAGE, SHARE_HINT, "--share needs either dir or socket, and not both");
	if (share->tag[0] == '\0')
		return err_set(err, ERR_USAGE, SHARE_HINT, "--share names no tag");
	if (share->readonly && share->socket[0] != '\0')
		return err_set(err, ERR_USAGE, "tell the program behind the socket",
		    "--share readonly is for dir");
	for (size_t i = 0; i < options->share_count; i++)
		if (strcmp(options->shares[i].tag, share->tag) == 0)
			return err_set(err, ERR_USAGE, "give each its own tag",
			    "there are two shares with the tag \"%s\"", share->tag);
	if (share->id[0] != '\0')
		return true;
	return option_number_id(options, row, share->id, options->share_count, err);
}

bool option_set_share(
    struct options *options, const struct option_row *row, const char *text, struct err *err)
{
	struct option_share *share = &options->shares[options->share_count];
	char item[OPTION_TEXT_MAX];

	if (options->share_count == OPTION_SHARES_MAX)
		return err_set(err, ERR_USAGE, "leave some out",
		    "there are more than the %d shares that a guest can have", OPTION_SHARES_MAX);
	*share = (struct option_share){.tag = ""};
	do {
		if (!option_next_item(&text, item, sizeof item))
			return err_set(err, ERR_USAGE, "give a shorter path",
			    "a value of --share is too long");
		if (!share_set_item(options, row, share, item, err))
			return false;
	} while (text != NULL);
	if (!share_check(options, row, share, err))
		return false;
	options->share_count++;
	return true;
}

/* An address of vsock(7) that a guest can have; those below 3 have a meaning of their own. */
bool option_set_vsock(
    struct options *options, const struct option_row *row, const char *text, struct err *err)
{
	const char *value = text + 4;
	char *end = NULL;
	unsigned long long number = 0;

	if (strncmp(text, "cid=", 4) == 0 && value[0] >= '1' && value[0] <= '9')
		number = strtoull(value, &end, 10);
	if (end == NULL || *end != '\0' || number < 3 || number >= UINT32_MAX)
		return err_set(err, ERR_USAGE, "write --vsock cid=N, with a number from 3 on",
		    "--vsock cannot be \"%.64s\"", text);
	options->vsock_cid = (uint32_t)number;
	return true;
}

bool options_share_memory(const struct options *options)
{
	bool shared = options->memory_shared || options->share_count > 0;

	for (size_t i = 0; i < options->disk_count; i++)
		shared = shared || options->disks[i].vhost[0] != '\0';
	return shared;
}

bool options_have_vhost(const struct options *options)
{
	return options_share_memory(options) || options->vsock_cid != 0;
}
