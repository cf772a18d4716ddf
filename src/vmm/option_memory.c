/* SPDX-License-Identifier: Apache-2.0 */
/* option_memory.c - the option --memory. */
#include <stdio.h>
#include <string.h>

#include "vmm/option_row.h"

/* A size as part of --memory: a multiple of a block. */
static bool option_read_memory(
    const char *key, const char *text, uint64_t *ret_bytes, struct err *err)
{
	uint64_t bytes = 0, blocks;
	char hint[96];

	if (!parse_size(text, &bytes, err))
		return false;
	blocks = bytes / SPAPR_LMB_BYTES;
	if (bytes == 0 || bytes % SPAPR_LMB_BYTES != 0) {
		/* In M, the blocks below and above it. */
		if (blocks == 0)
			snprintf(hint, sizeof hint, "give --memory %s256M or more", key);
		else
			snprintf(hint, sizeof hint, "give --memory %s%lluM or %s%lluM", key,
			    (unsigned long long)(blocks * (SPAPR_LMB_BYTES >> 20)), key,
			    (unsigned long long)((blocks + 1) * (SPAPR_LMB_BYTES >> 20)));
		return err_set(
		    err, ERR_USAGE, hint, "--memory %s%.64s is not a multiple of 256M", key, text);
	}
	*ret_bytes = bytes;
	return true;
}

static bool option_set_memory_item(struct options *options, const char *item, struct err *err)
{
	const char *value = strchr(item, '=');

	if (strcmp(item, "shared") == 0)
		return options->memory_shared = true;
	if (value == NULL || strncmp(item, "size=", 5) == 0)
		return option_read_memory(value == NULL ? "" : "size=",
		    value == NULL ? item : value + 1, &options->memory_bytes, err);
	value++;
	if (strncmp(item, "max=", 4) == 0)
		return option_read_memory("max=", value, &options->max_memory_bytes, err);
	if (strncmp(item, "reset=", 6) != 0)
		return err_set(err, ERR_USAGE, "the keys are size, max, reset and shared",
		    "--memory does not know \"%.64s\"", item);
	if (strcmp(value, "boot") != 0 && strcmp(value, "event") != 0)
		return err_set(err, ERR_USAGE, "give reset=boot or reset=event",
		    "--memory reset cannot be \"%.64s\"", value);
	options->memory_by_event = strcmp(value, "event") == 0;
	return true;
}

/* Each key at most once; those that are left out have their defaults again. */
bool option_set_memory(
    struct options *options, const struct option_row *row, const char *text, struct err *err)
{
	char item[80];
	unsigned seen = 0;

	options->memory_bytes = OPTION_MEMORY_BYTES;
	options->max_memory_bytes = 0;
	options->memory_by_event = options->memory_shared = false;
	for (const char *at = text;; at++) {
		size_t length = strcspn(at, ",");
		unsigned key;

		if (length == 0)
			return err_set(err, ERR_USAGE, "write --memory size=2G,max=16G",
			    "--memory \"%.64s\" has an empty item", text);
		snprintf(item, sizeof item, "%.*s", (int)length, at);
		key = strncmp(item, "max=", 4) == 0     ? 2
		      : strncmp(item, "reset=", 6) == 0 ? 4
		      : strcmp(item, "shared") == 0     ? 8
		                                        : 1;
		if (!option_set_memory_item(options, item, err))
			return false;
		if (seen & key)
			return err_set(err, ERR_USAGE, "write --memory size=2G,max=16G",
			    "--memory names %s twice; a size alone is size",
			    key == 2   ? "max"
			    : key == 4 ? "reset"
			    : key == 8 ? "shared"
			               : "size");
		seen |= key;
		at += length;
		if (*at == '\0')
			return true;
	}
}
