/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.c - options from a file: one JSON object whose keys are the long names of options. A value
 * is turned into the text a person would have typed and is set by the option's row, so that file
 * and command line have the same meaning.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/parse.h"
#include "vmm/option_row.h"

#define CONFIG_BYTES_MAX (1 << 20)

/* Read up to size bytes or the end of the file; -1 on failure. */
static ssize_t config_read_bytes(int fd, char *to, size_t size)
{
	size_t length = 0;
	ssize_t got;

	do {
		got = read(fd, to + length, size - length);
		if (got > 0)
			length += (size_t)got;
	} while (got > 0 || (got < 0 && errno == EINTR));
	return got < 0 ? -1 : (ssize_t)length;
}

static json_t *config_load(const char *path, struct err *err)
{
	/* Non-blocking, or opening a FIFO would wait for a writer. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat status;
	json_error_t error;
	json_t *config = NULL;
	char *text = NULL;
	ssize_t got;

	if (fd < 0 || fstat(fd, &status) < 0) {
		err_system(err, errno, "give a readable JSON file", "config file %.200s", path);
		goto done;
	}
	if (!S_ISREG(status.st_mode) || status.st_size > CONFIG_BYTES_MAX) {
		err_set(err, ERR_USAGE, "give a regular JSON file of at most 1 MiB",
		    "config file %.200s is not one", path);
		goto done;
	}
	text = malloc((size_t)status.st_size + 1);
	got = text == NULL ? -1 : config_read_bytes(fd, text, (size_t)status.st_size);
	if (got < 0) {
		err_system(err, errno, NULL, "cannot read config file %.200s", path);
		goto done;
	}
	config = parse_json(text, (size_t)got, JSON_REJECT_DUPLICATES, &error);
	if (config == NULL)
		err_set(err, ERR_USAGE, "write one JSON object, like {\"kernel\": \"vmlinux\"}",
		    "config file %.160s, line %d: %.120s", path, error.line, error.text);
	else if (!json_is_object(config))
		err_set(err, ERR_USAGE, "write one JSON object, like {\"kernel\": \"vmlinux\"}",
		    "config file %.200s holds no JSON object", path);
done:
	/* Whatever is wrong with the file, the operator can correct it. */
	if (err->class != ERR_NONE) {
		err->class = ERR_USAGE;
		json_decref(config);
		config = NULL;
	}
	free(text);
	if (fd >= 0)
		close(fd);
	return config;
}

/* {"boot": 2, "max": 8} as the text boot=2,max=8. */
static bool config_cpus_text(const json_t *object, char *text, size_t size, struct err *err)
{
	size_t used = 0;
	const char *key;
	json_t *value;

	text[0] = '\0';
	json_object_foreach ((json_t *)object, key, value) {
		if (strcmp(key, "boot") != 0 && strcmp(key, "max") != 0 &&
		    strcmp(key, "threads") != 0)
			return err_set(err, ERR_USAGE, "the keys are boot, max and threads",
			    "unknown key \"cpus.%.64s\"", key);
		if (!json_is_integer(value))
			return err_set(err, ERR_USAGE, "give a positive integer",
			    "key \"cpus.%s\" is not an integer", key);
		/* Three short keys and three numbers always fit. */
		used += (size_t)snprintf(text + used, size - used, "%s%s=%lld", used > 0 ? "," : "",
		    key, (long long)json_integer_value(value));
	}
	return used > 0 ||
	       err_set(err, ERR_USAGE, "name boot, max or threads", "key \"cpus\" is empty");
}

static bool config_wrong_type(const struct option_row *row, struct err *err)
{
	static const struct {
		unsigned json;
		const char *hint;
	} hints[] = {
	    {AS_CPUS, "give a string like \"boot=2,max=8\" or an object {\"boot\", \"max\", "
	              "\"threads\"}"},
	    {AS_LIST, "give a string, or a list of strings"},
	    {AS_BOOLEAN, "give true or false"},
	    {AS_REAL, "give a number"},
	    {AS_INTEGER, "give a string like \"2G\" or a number of bytes"},
	    {AS_STRING, "give a string"},
	};
	size_t i = 0;

	while ((row->json & hints[i].json) == 0)
		i++;
	return err_set(
	    err, ERR_USAGE, hints[i].hint, "key \"%s\" has a value of the wrong type", row->name);
}

/* One key of a config file: as if its value had been typed. */
static bool config_set(
    struct options *options, const struct option_row *row, const json_t *value, struct err *err)
{
	char text[400]; /* a double can have 309 digits before the point */

	if (json_is_string(value) && (row->json & AS_STRING) != 0)
		return row->set(options, row, json_string_value(value), err);
	if (json_is_object(value) && (row->json & AS_CPUS) != 0) {
		if (!config_cpus_text(value, text, sizeof text, err))
			return false;
	} else if (json_is_integer(value) && (row->json & AS_INTEGER) != 0) {
		snprintf(text, sizeof text, "%lld", (long long)json_integer_value(value));
	} else if (json_is_real(value) && (row->json & AS_REAL) != 0) {
		snprintf(text, sizeof text, "%.3f", json_real_value(value));
	} else if (json_is_boolean(value) && (row->json & AS_BOOLEAN) != 0) {
		snprintf(text, sizeof text, "%s", json_is_true(value) ? "true" : "false");
	} else {
		return config_wrong_type(row, err);
	}
	return row->set(options, row, text, err);
}

/* A key that may have several values, each as if it had been typed. */
static bool config_set_list(
    struct options *options, const struct option_row *row, const json_t *value, struct err *err)
{
	const json_t *one;
	size_t i;

	if (!json_is_array(value) || (row->json & AS_LIST) == 0)
		return config_set(options, row, value, err);
	json_array_foreach (value, i, one)
		if (!config_set(options, row, one, err))
			return false;
	return true;
}

bool config_read(struct options *options, const char *path, struct err *err)
{
	struct err inner = {0};
	const char *key;
	json_t *config = config_load(path, err), *value;

	if (config == NULL)
		return false;
	json_object_foreach (config, key, value) {
		/* A file made for `run` serves `dtb` too: every key is known to both. */
		const struct option_row *row = option_find(key, strlen(key), ~0u);

		if (row == NULL || row->json == 0)
			err_set(&inner, ERR_USAGE,
			    "the keys are the long option names of `paprika run`",
			    "unknown key \"%.64s\"", key);
		else
			config_set_list(options, row, value, &inner);
		if (inner.class != ERR_NONE)
			break;
	}
	json_decref(config);
	if (inner.class == ERR_NONE)
		return true;
	return err_set(
	    err, inner.class, inner.hint, "config file %.160s: %.200s", path, inner.message);
}
