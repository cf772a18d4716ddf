/* SPDX-License-Identifier: Apache-2.0 */
/*
 * option_disk.c - the option --disk: file=PATH and what else there is to say of a disk, separated
 * by commas. Two commas stand for one in a value, as QEMU's users know it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drc/operation.h"
#include "vmm/option_row.h"

#define HINT "write --disk file=PATH,id=NAME,readonly,serial=TEXT,queues=N,direct"

bool option_next_item(const char **text, char *item, size_t size)
{
	const char *at = *text;
	size_t length = 0;

	for (; *at != '\0' && (at[0] != ',' || at[1] == ','); at += at[0] == ',' ? 2 : 1) {
		if (length + 1 >= size)
			return false;
		item[length++] = *at;
	}
	item[length] = '\0';
	*text = *at == ',' ? at + 1 : NULL;
	return true;
}

static bool disk_copy(
    char *to, size_t size, const char *key, const char *value, const char *hint, struct err *err)
{
	if (to[0] != '\0')
		return err_set(err, ERR_USAGE, HINT, "--disk names %s twice", key);
	if (value[0] == '\0' || strlen(value) >= size)
		return err_set(err, ERR_USAGE, hint, "--disk %s cannot be \"%.64s\"", key, value);
	strcpy(to, value);
	return true;
}

static bool option_has_id(const struct options *options, const char *id)
{
	for (size_t i = 0; i < options->disk_count; i++)
		if (strcmp(options->disks[i].id, id) == 0)
			return true;
	for (size_t i = 0; i < options->net_count; i++)
		if (strcmp(options->nets[i].id, id) == 0)
			return true;
	return false;
}

bool option_set_id(const struct options *options, const struct option_row *row, char id[64],
    const char *value, struct err *err)
{
	if (id[0] != '\0')
		return err_set(err, ERR_USAGE, "give it one id", "--%s names id twice", row->name);
	if (!op_is_device_name(value))
		return err_set(err, ERR_USAGE,
		    "give a letter followed by letters, digits, '-', '.' and '_', at most 63",
		    "--%s id cannot be \"%.64s\"", row->name, value);
	if (option_has_id(options, value))
		return err_set(err, ERR_USAGE, "give each its own id",
		    "there are two devices with the id \"%s\"", value);
	strcpy(id, value);
	return true;
}

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

/* By itself, or on or off. */
static bool disk_set_switch(bool *field, const char *key, const char *value, struct err *err)
{
	*field = value == NULL || strcmp(value, "on") == 0;
	return *field || strcmp(value, "off") == 0 ||
	       err_set(err, ERR_USAGE, "give on or off, or no value",
	           "--disk %s cannot be \"%.64s\"", key, value);
}

static bool disk_set_item(const struct options *options, const struct option_row *row,
    struct option_disk *disk, char *item, struct err *err)
{
	char *value = strchr(item, '=');

	if (value != NULL)
		*value++ = '\0';
	if (strcmp(item, "readonly") == 0)
		return disk_set_switch(&disk->readonly, item, value, err);
	if (strcmp(item, "direct") == 0)
		return disk_set_switch(&disk->direct, item, value, err);
	if (value == NULL)
		return err_set(err, ERR_USAGE, HINT, "--disk does not know \"%.64s\"", item);
	if (strcmp(item, "file") == 0)
		return disk_copy(disk->file, sizeof disk->file, item, value, HINT, err);
	if (strcmp(item, "id") == 0)
		return option_set_id(options, row, disk->id, value, err);
	if (strcmp(item, "serial") == 0)
		return disk_copy(disk->serial, sizeof disk->serial, item, value,
		    "give at most 20 characters", err);
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
	if (disk->file[0] == '\0')
		return err_set(err, ERR_USAGE, HINT, "--disk names no file");
	if (disk->id[0] == '\0') {
		char id[sizeof disk->id];

		snprintf(id, sizeof id, "disk%zu", options->disk_count);
		if (!option_set_id(options, row, disk->id, id, err))
			return false;
	}
	options->disk_count++;
	return true;
}
