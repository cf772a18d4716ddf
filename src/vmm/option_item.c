/* SPDX-License-Identifier: Apache-2.0 */
/* option_item.c - what options have in common whose value is a list of items; see option_row.h. */
#include <stdio.h>
#include <string.h>

#include "drc/operation.h"
#include "vmm/option_row.h"

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

bool option_item_text(const char *option, char *to, size_t size, const char *key, const char *value,
    const char *limit, const char *hint, struct err *err)
{
	if (to[0] != '\0')
		return err_set(err, ERR_USAGE, hint, "--%s names %s twice", option, key);
	if (value[0] == '\0' || strlen(value) >= size)
		return err_set(
		    err, ERR_USAGE, limit, "--%s %s cannot be \"%.64s\"", option, key, value);
	strcpy(to, value);
	return true;
}

bool option_item_switch(
    const char *option, bool *field, const char *key, const char *value, struct err *err)
{
	*field = value == NULL || strcmp(value, "on") == 0;
	return *field || strcmp(value, "off") == 0 ||
	       err_set(err, ERR_USAGE, "give on or off, or no value", "--%s %s cannot be \"%.64s\"",
	           option, key, value);
}

static bool option_has_id(const struct options *options, const char *id)
{
	for (size_t i = 0; i < options->disk_count; i++)
		if (strcmp(options->disks[i].id, id) == 0)
			return true;
	for (size_t i = 0; i < options->net_count; i++)
		if (strcmp(options->nets[i].id, id) == 0)
			return true;
	for (size_t i = 0; i < options->share_count; i++)
		if (strcmp(options->shares[i].id, id) == 0)
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

bool option_number_id(const struct options *options, const struct option_row *row, char id[64],
    size_t number, struct err *err)
{
	char text[OP_DEVICE_MAX];

	snprintf(text, sizeof text, "%s%zu", row->name, number);
	return option_set_id(options, row, id, text, err);
}
