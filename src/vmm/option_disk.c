/* SPDX-License-Identifier: Apache-2.0 */
/*
 * option_disk.c - the option --disk: file=PATH, or vhost=SOCKET, and what else there is to say of a
 * disk.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drc/operation.h"
#include "vmm/option_row.h"

#define HINT "write --disk file=PATH,id=NAME,readonly,serial=TEXT,queues=N,direct"

static bool disk_set_queues(struct option_disk *disk, const char *value, struct err *err)
{
	char *end;
	unsigned long number = strtoul(value, &end, 10);

	if (value[0] < '1' || value[0] > '9' || *end != '\0' || number > OPTION_DISK_QUEUES_MAX)
		return err_set(err, ERR_USAGE, "give a number from 1 to 16",
		    "--disk queues cannot be \"%.64s\"", value);
	disk->queues = (unsigned)number;
	return true;
}

static bool disk_set_item(const struct options *options, const struct option_row *row,
    struct option_disk *disk, char *item, struct err *err)
{
	char *value = strchr(item, '=');

	if (value != NULL)
		*value++ = '\0';
	if (strcmp(item, "readonly") == 0)
		return option_item_switch("disk", &disk->readonly, item, value, err);
	if (strcmp(item, "direct") == 0)
		return option_item_switch("disk", &disk->direct, item, value, err);
	if (value == NULL)
		return err_set(err, ERR_USAGE, HINT, "--disk does not know \"%.64s\"", item);
	if (strcmp(item, "file") == 0)
		return option_item_text(
		    "disk", disk->file, sizeof disk->file, item, value, HINT, HINT, err);
	if (strcmp(item, "vhost") == 0)
		return option_item_text(
		    "disk", disk->vhost, sizeof disk->vhost, item, value, HINT, HINT, err);
	if (strcmp(item, "id") == 0)
		return option_set_id(options, row, disk->id, value, err);
	if (strcmp(item, "serial") == 0)
		return option_item_text("disk", disk->serial, sizeof disk->serial, item, value,
		    "give at most 20 characters", HINT, err);
	if (strcmp(item, "queues") == 0)
		return disk_set_queues(disk, value, err);
	/* Said, for those who like to; nothing else is known, and nothing is guessed. */
	if (strcmp(item, "format") == 0 && strcmp(value, "raw") == 0)
		return true;
	if (strcmp(item, "format") == 0)
		return err_set(err, ERR_USAGE,
		    "convert it with qemu-img convert -O raw, or export it with "
		    "qemu-storage-daemon",
		    "--disk knows no format but raw, not \"%.64s\"", value);
	return err_set(err, ERR_USAGE, HINT, "--disk does not know \"%.64s\"", item);
}

/* What is behind a vhost socket knows by itself what a disk is like. */
static bool disk_check(const struct options *options, const struct option_row *row,
    struct option_disk *disk, struct err *err)
{
	if (disk->file[0] == '\0' && disk->vhost[0] == '\0')
		return err_set(err, ERR_USAGE, HINT, "--disk names no file");
	if (disk->file[0] != '\0' && disk->vhost[0] != '\0')
		return err_set(
		    err, ERR_USAGE, "leave one out", "--disk names both a file and a vhost socket");
	if (disk->vhost[0] != '\0' && (disk->readonly || disk->direct || disk->serial[0] != '\0'))
		return err_set(err, ERR_USAGE, "tell the program behind the socket",
		    "--disk readonly, direct and serial are for file");
	return disk->id[0] != '\0' ||
	       option_number_id(options, row, disk->id, options->disk_count, err);
}

bool option_set_disk(
    struct options *options, const struct option_row *row, const char *text, struct err *err)
{
	struct option_disk *disk = &options->disks[options->disk_count];
	char item[OPTION_TEXT_MAX];

	if (options->disk_count == OPTION_DISKS_MAX)
		return err_set(err, ERR_USAGE, "leave some out",
		    "there are more than the %d disks that a guest can have", OPTION_DISKS_MAX);
	*disk = (struct option_disk){.queues = 1};
	do {
		if (!option_next_item(&text, item, sizeof item))
			return err_set(
			    err, ERR_USAGE, "give a shorter path", "a value of --disk is too long");
		if (!disk_set_item(options, row, disk, item, err))
			return false;
	} while (text != NULL);
	if (!disk_check(options, row, disk, err))
		return false;
	options->disk_count++;
	return true;
}
