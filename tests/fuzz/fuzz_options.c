/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_options.c - the command line, and the config file it may name.
 *
 * Input: the command; words, each a line; behind a NUL the bytes of the config file, which the
 * word CONFIG stands for. No other file can be read.
 */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/options.h"

enum { WORDS_MAX = 64, WORD_MAX = 8192 };

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);

static char config_path[32];

int __wrap_open(const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
	va_end(args);
	/* Options are only read. A build that counts coverage writes what it has counted. */
	if ((flags & O_ACCMODE) != O_RDONLY || strcmp(path, config_path) == 0)
		return __real_open(path, flags, mode);
	errno = ENOENT;
	return -1;
}

/* The config file: it exists in memory only, and is the same one for all inputs. */
static void put_config(const uint8_t *bytes, size_t length)
{
	static int fd = -1;

	if (fd < 0)
		fd = memfd_create("config", MFD_CLOEXEC);
	snprintf(config_path, sizeof config_path, "/proc/self/fd/%d", fd);
	FUZZ_CHECK(ftruncate(fd, 0) == 0);
	FUZZ_CHECK(pwrite(fd, bytes, length, 0) == (ssize_t)length);
}

static int split(char *text, char *words[WORDS_MAX + 1])
{
	int count = 0;

	words[count++] = (char *)(uintptr_t) "paprika";
	for (char *word = strtok(text, "\n"); word != NULL && count < WORDS_MAX;
	     word = strtok(NULL, "\n"))
		words[count++] = strcmp(word, "CONFIG") == 0 ? config_path : word;
	words[count] = NULL;
	return count;
}

/* What can be said of any options that were accepted. */
static void check_accepted(const struct options *options, const struct err *err)
{
	struct spapr_config config = options_machine(options);

	FUZZ_CHECK(err->class == ERR_NONE && err->message[0] == '\0');
	FUZZ_CHECK(memchr(options->kernel, '\0', sizeof options->kernel) != NULL);
	FUZZ_CHECK(memchr(options->initrd, '\0', sizeof options->initrd) != NULL);
	FUZZ_CHECK(memchr(options->append, '\0', sizeof options->append) != NULL);
	FUZZ_CHECK(memchr(options->control, '\0', sizeof options->control) != NULL);
	FUZZ_CHECK(memchr(options->console_path, '\0', sizeof options->console_path) != NULL);
	FUZZ_CHECK(memchr(options->name, '\0', sizeof options->name) != NULL);
	FUZZ_CHECK(memchr(options->output, '\0', sizeof options->output) != NULL);
	FUZZ_CHECK(options->console <= CONSOLE_NONE && options->log_level <= LOG_DEBUG);
	FUZZ_CHECK(options->boot_cpus > 0 && options->max_cpus > 0 && options->threads > 0);
	FUZZ_CHECK(options->unplug_deadline_ms > 0);
	FUZZ_CHECK(options->unplug_deadline_ms <= UINT64_C(86400) * 1000); /* as --help says */
	FUZZ_CHECK(config.bootargs == options->append);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum option_command commands[] = {COMMAND_RUN, COMMAND_CHECK, COMMAND_DTB};
	static struct options options, again;
	struct input input = {data, size};
	enum option_command command = commands[input_take(&input, 1) % 3];
	const uint8_t *end = input.left > 0 ? memchr(input.bytes, '\0', input.left) : NULL;
	size_t length = end != NULL ? (size_t)(end - input.bytes) : input.left;
	char text[WORD_MAX + 1];
	char *words[WORDS_MAX + 1];
	struct err err = {0};
	bool accepted;
	int count;

	if (length > WORD_MAX)
		length = WORD_MAX;
	memcpy(text, input.bytes, length);
	text[length] = '\0';
	put_config(end != NULL ? end + 1 : data, end != NULL ? (size_t)(data + size - end) - 1 : 0);
	count = split(text, words);

	options_defaults(&options);
	accepted = options_parse(&options, command, count, words, &err);
	if (!accepted) {
		/* A refusal names the option, and has the class of an operator's error. */
		FUZZ_CHECK(err.class == ERR_USAGE && err.message[0] != '\0');
		return 0;
	}
	check_accepted(&options, &err);
	/* What was said decides, not what was there before. */
	options_defaults(&again);
	FUZZ_CHECK(options_parse(&again, command, count, words, &err));
	FUZZ_CHECK(memcmp(&options, &again, sizeof options) == 0);
	return 0;
}
