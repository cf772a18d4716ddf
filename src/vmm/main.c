/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - the command line's first word, and the two short answers: --help and --version.
 *
 * `run` is in run.c, `check` in check.c. `dtb` is here: it makes the machine `run` would make,
 * keeps it stopped, and writes out the tree instead of entering the guest.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/complain.h"
#include "base/log.h"
#include "vmm/check.h"
#include "vmm/loader.h"
#include "vmm/options.h"
#include "vmm/plug.h"
#include "vmm/run.h"

#define CANNOT_WRITE_HINT "choose another place for the output"

static enum exit_code fail_with(const struct err *err)
{
	complain_error(err);
	return exit_code_of(err);
}

/* --- dtb ----------------------------------------------------------------------------------- */

static bool write_all(int fd, const uint8_t *from, size_t length)
{
	while (length > 0) {
		ssize_t written = write(fd, from, length);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return false;
		from += written;
		length -= (size_t)written;
	}
	return true;
}

static bool write_output(const char *path, const void *blob, size_t length, struct err *err)
{
	bool standard = strcmp(path, "-") == 0;
	int fd = standard ? STDOUT_FILENO
	                  : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0644);
	struct stat status;
	bool good, regular;

	if (fd < 0) {
		err_system(
		    err, errno, "give a path that can be written", "cannot open %.200s", path);
		err->class = ERR_USAGE;
		return false;
	}
	if (standard)
		path = "to standard output";
	good = write_all(fd, blob, length) ||
	       err_system(err, errno, CANNOT_WRITE_HINT, "cannot write %.200s", path);
	if (standard)
		return good;
	regular = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
	if (close(fd) < 0)
		good = err_system(err, errno, CANNOT_WRITE_HINT, "cannot write %.200s", path);
	/* Leave no incomplete file; but do not remove what is no regular file. */
	if (!good && regular)
		unlink(path);
	return good;
}

/* A machine that never runs has no news. */
static void ignore_wake(void *context)
{
}

static bool make_tree(const struct options *options, struct loader *loader, void **ret_blob,
    size_t *ret_length, struct err *err)
{
	struct spapr_config config = options_machine(options);
	struct spapr *machine;
	bool good;

	config.load = loader_load;
	config.wake = ignore_wake;
	config.context = loader;
	if (!spapr_check_config(&config, NULL, err))
		return false;
	machine = spapr_create(&config, err);
	if (machine == NULL)
		return false;
	good = plug_likenesses(machine, options, err);
	/* With a kernel the tree also tells where the initrd is. */
	spapr_stop(machine);
	if (good && loader != NULL)
		good = spapr_boot(machine, err);
	good = good && spapr_device_tree(machine, ret_blob, ret_length, err);
	spapr_destroy(machine);
	return good;
}

static enum exit_code dump_tree(const struct options *options)
{
	struct err err = {0};
	struct loader *loader = NULL;
	void *blob = NULL;
	size_t length = 0;
	bool good = true;

	signal(SIGPIPE, SIG_IGN);
	raise_file_limit();
	if (options->kernel[0] != '\0') {
		loader = loader_create(options->kernel, options->initrd, &err);
		good = loader != NULL;
	}
	good = good && make_tree(options, loader, &blob, &length, &err) &&
	       write_output(options->output, blob, length, &err);
	free(blob);
	loader_destroy(loader);
	return good ? EXIT_POWERED_OFF : fail_with(&err);
}

/* --- Commands ------------------------------------------------------------------------------ */

static enum exit_code run_check(const struct options *options)
{
	return options->papr ? check_print_papr(stdout) : check_run(stdout, options->json);
}

static const struct command {
	const char *name;
	enum option_command command;
	enum exit_code (*run)(const struct options *options);
	const char *usage, *help;
} commands[] = {
    {"run", COMMAND_RUN, vmm_run, "paprika run --kernel FILE [OPTION...]",
        "run a guest to its end"},
    {"check", COMMAND_CHECK, run_check, "paprika check [--json | --papr]",
        "tell what this host offers, and what it lacks"},
    {"dtb", COMMAND_DTB, dump_tree, "paprika dtb -o FILE [OPTION...]",
        "write the device tree a guest would be given"},
};

#define COMMANDS (sizeof commands / sizeof commands[0])

static const char exit_codes_help[] =
    "Exit codes:\n"
    "  0  the guest powered itself off, or the end was asked for (quit, Ctrl-A x, a signal)\n"
    "  1  paprika failed\n"
    "  2  the request cannot be carried out as it was made\n"
    "  3  the guest panicked\n"
    "  4  the guest rebooted under --no-reboot\n"
    "  5  this host lacks something; `paprika check` tells what\n";

static void print_command_help(const struct command *command)
{
	printf("usage: %s\n%c%s.\n\n", command->usage, command->help[0] & ~0x20, command->help + 1);
	options_help(stdout, command->command);
}

static void print_help(void)
{
	printf(
	    "paprika %s - a small virtual machine monitor for POWER\n\nusage:\n", PAPRIKA_VERSION);
	for (size_t i = 0; i < COMMANDS; i++)
		printf("  %-40s  %s\n", commands[i].usage, commands[i].help);
	printf("  %-40s  %s\n", "paprika --version | --help | help [COMMAND]", "say that and exit");
	for (size_t i = 0; i < COMMANDS; i++) {
		printf("\npaprika %s:\n", commands[i].name);
		options_help(stdout, commands[i].command);
	}
	printf("\n%s", exit_codes_help);
}

/* Make sure that descriptors 0 to 2 are open, so that no other file gets these numbers. */
static void open_standard_files(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_NOCTTY);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static enum exit_code run_command(const struct command *command, int argc, char **argv)
{
	/* About 20 KiB, used until the end. */
	struct options *options = malloc(sizeof *options);
	struct err err = {0};
	enum exit_code code;

	if (options == NULL) {
		err_system(&err, ENOMEM, NULL, "cannot start");
		return fail_with(&err);
	}
	options_defaults(options);
	if (!options_parse(options, command->command, argc, argv, &err)) {
		code = fail_with(&err);
	} else if (options->help) {
		print_command_help(command);
		code = EXIT_POWERED_OFF;
	} else {
		log_level = options->log_level;
		code = command->run(options);
	}
	free(options);
	return code;
}

/* Output that could not be written is an error. */
static enum exit_code finish_output(enum exit_code code)
{
	struct err err = {0};

	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	err_system(&err, errno, CANNOT_WRITE_HINT, "cannot write to standard output");
	return fail_with(&err);
}

static const struct command *find_command(const char *word)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (strcmp(word, commands[i].name) == 0)
			return &commands[i];
	return NULL;
}

static enum exit_code no_command(const char *word)
{
	static const char hint[] =
	    "use run, check or dtb, like paprika run --kernel FILE; `paprika "
	    "help` tells more";
	struct err err = {0};

	if (word[0] == '\0')
		err_set(&err, ERR_USAGE, hint, "no command given");
	else
		err_set(&err, ERR_USAGE, hint,
		    word[0] == '-' ? "there is no command before %.64s"
		                   : "there is no command \"%.64s\"",
		    word);
	return fail_with(&err);
}

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "";
	const struct command *command = find_command(word);
	bool wants_help =
	    strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0;

	open_standard_files();
	if (command != NULL)
		return (int)finish_output(run_command(command, argc - 1, argv + 1));
	if (wants_help && argc > 2)
		word = argv[2];
	command = wants_help ? find_command(word) : NULL;
	if (command != NULL)
		print_command_help(command);
	else if (wants_help && argc <= 2)
		print_help();
	else if (strcmp(word, "--version") == 0)
		printf("paprika %s\n", PAPRIKA_VERSION);
	else
		return (int)no_command(word);
	return (int)finish_output(EXIT_POWERED_OFF);
}
