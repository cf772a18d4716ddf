/* SPDX-License-Identifier: Apache-2.0 */
/* option_row.h - a row of the table of options, for options.c and config.c. */
#ifndef PAPRIKA_OPTION_ROW_H
#define PAPRIKA_OPTION_ROW_H

#include "vmm/options.h"

/* The JSON types a value may have in a config file. */
enum { AS_STRING = 1, AS_INTEGER = 2, AS_REAL = 4, AS_BOOLEAN = 8, AS_CPUS = 16, AS_LIST = 32 };

struct option_row {
	const char *name;
	const char *value; /* what --help calls the value; NULL: a switch */
	char letter;       /* short form, or 0 */
	unsigned commands; /* of enum option_command: those that know it */
	unsigned json;     /* 0: not in a config file */
	bool (*set)(struct options *options, const struct option_row *row, const char *text,
	    struct err *err);
	size_t offset, size; /* the field, for the general set functions */
	const char *help;
};

/* The row of an option that one of these commands knows; NULL if there is none. */
const struct option_row *option_find(const char *name, size_t length, unsigned commands);

/* --disk (option_disk.c), --net (option_net.c). */
bool option_set_disk(
    struct options *options, const struct option_row *row, const char *text, struct err *err);
bool option_set_net(
    struct options *options, const struct option_row *row, const char *text, struct err *err);

/* For these two. Copy the next item of a list with commas, and go behind its comma; *text is NULL
 * behind the last. False: it is too long. */
bool option_next_item(const char **text, char *item, size_t size);

/* A device's id, which no other one has. */
bool option_set_id(const struct options *options, const struct option_row *row, char id[64],
    const char *value, struct err *err);

/* Always false: err says that this option is not known, and what there is instead. */
bool option_refuse(const char *typed, enum option_command command, struct err *err);

/* Set the options of a config file: one JSON object whose keys are long names. */
bool config_read(struct options *options, const char *path, struct err *err);

#endif
