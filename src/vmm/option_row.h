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

/* --memory (option_memory.c), --disk (option_disk.c), --net (option_net.c), --share and --vsock
 * (option_share.c). */
bool option_set_memory(
    struct options *options, const struct option_row *row, const char *text, struct err *err);
bool option_set_disk(
    struct options *options, const struct option_row *row, const char *text, struct err *err);
bool option_set_net(
    struct options *options, const struct option_row *row, const char *text, struct err *err);
bool option_set_share(
    struct options *options, const struct option_row *row, const char *text, struct err *err);
bool option_set_vsock(
    struct options *options, const struct option_row *row, const char *text, struct err *err);

/* Items of such options (option_item.c): key=value, separated by commas; two commas stand for one
 * in a value, as QEMU's users know it. `option` is the option's name, hint says how to write it. */
/* Copy the next item, and go behind its comma; *text is NULL behind the last. False: it is too
 * long. */
bool option_next_item(const char **text, char *item, size_t size);
/* A text, given once and not empty; limit says how long it may be. */
bool option_item_text(const char *option, char *to, size_t size, const char *key, const char *value,
    const char *limit, const char *hint, struct err *err);
/* By itself (value NULL), or on or off. */
bool option_item_switch(
    const char *option, bool *field, const char *key, const char *value, struct err *err);
/* A device's id, which no other one has; the second: the option's name and its number. */
bool option_set_id(const struct options *options, const struct option_row *row, char id[64],
    const char *value, struct err *err);
bool option_number_id(const struct options *options, const struct option_row *row, char id[64],
    size_t number, struct err *err);

/* Always false: err says that this option is not known, and what there is instead. */
bool option_refuse(const char *typed, enum option_command command, struct err *err);

/* Set the options of a config file: one JSON object whose keys are long names. */
bool config_read(struct options *options, const char *path, struct err *err);

#endif
