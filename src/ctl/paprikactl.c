/* SPDX-License-Identifier: Apache-2.0 */
/*
 * paprikactl.c - the client of the control socket for people and scripts: its options, help, start
 * and end. The commands are in verbs.c.
 */
#include "ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SOCKET_DEFAULT "/run/paprika.sock"

static void ctl_print_help(void)
{
	printf("Usage: paprikactl [--socket PATH] [--json] COMMAND\n\n"
	       "Handle a guest that paprika runs, through its control socket.\n\nCommands:\n");
	verbs_print_help();
	printf(
	    "\nOptions:\n"
	    "  -s, --socket PATH   control socket; else $PAPRIKA_SOCKET, else " SOCKET_DEFAULT "\n"
	    "  -j, --json          print replies, events and outcomes as JSON, one per line\n"
	    "  -i, --id NAME       name of the device to add; else core<CORE-ID>, dimm<N>, "
	    "disk<N>, net<N>\n"
	    "  -w, --wait          wait until the operation has ended, and say how\n"
	    "  -t, --timeout S     take at most so many seconds for all of it (implies --wait);\n"
	    "                      what is pending then stays pending\n"
	    "  -f, --follow        go on printing events\n"
	    "  -r, --registers     where each vCPU of a stopped guest is, instead\n"
	    "  -R, --readonly      a disk that is not written to\n"
	    "  -F, --force         cut the guest off from the disk, and take it when no driver "
	    "uses "
	    "it\n"
	    "  -V, --version       the version of this program\n"
	    "  -h, --help, help    this text\n"
	    "\nExit codes:\n"
	    "  0  done\n"
	    "  1  the VMM answered with an error, or cannot be reached\n"
	    "  2  usage\n"
	    "  3  rejected by the guest\n"
	    "  4  still pending, or no event, when --timeout had passed\n"
	    "  5  superseded by a reset\n"
	    "  6  cancelled\n");
}

static bool ctl_parse_timeout(struct ctl *ctl, const char *text)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end != '\0' || !(seconds >= 0.001 && seconds <= 1e9)) {
		complain("--timeout must be a number of seconds above 0, not \"%s\"", text);
		return false;
	}
	ctl->timeout_ms = (int64_t)(seconds * 1000);
	ctl->deadline = clock_now_ms() + ctl->timeout_ms;
	ctl->wait = true;
	return true;
}

static const struct option long_options[] = {{"socket", required_argument, NULL, 's'},
    {"json", no_argument, NULL, 'j'}, {"id", required_argument, NULL, 'i'},
    {"wait", no_argument, NULL, 'w'}, {"timeout", required_argument, NULL, 't'},
    {"follow", no_argument, NULL, 'f'}, {"registers", no_argument, NULL, 'r'},
    {"readonly", no_argument, NULL, 'R'}, {"force", no_argument, NULL, 'F'},
    {"version", no_argument, NULL, 'V'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};

static const char *ctl_option_name(int letter)
{
	const struct option *option = long_options;

	while (option->name != NULL && option->val != letter)
		option++;
	return option->name != NULL ? option->name : "?";
}

/* `word` is the last word that getopt_long() read; optopt is set. */
static void ctl_complain_option(const char *word, bool lacks_value)
{
	const struct option *near = long_options;

	if (lacks_value) {
		complain("--%s needs a value (see paprikactl help)", ctl_option_name(optopt));
	} else if (word[0] == '-' && word[1] >= '0' && word[1] <= '9') {
		complain("a number of 0 or more is wanted, not \"%s\"", word);
	} else if (strncmp(word, "--", 2) != 0) {
		complain("no such option: -%c (see paprikactl help)", optopt);
	} else if (optopt != 0) {
		complain("--%s takes no value (leave it out)", ctl_option_name(optopt));
	} else {
		while (near->name != NULL && near->name[0] != word[2])
			near++;
		if (near->name != NULL)
			complain("no such option: %s (did you mean --%s?)", word, near->name);
		else
			complain("no such option: %s (see paprikactl help)", word);
	}
}

/* An exit code, or a negative number to go on. */
static int ctl_parse_options(struct ctl *ctl, int argc, char **argv)
{
	int option;

	opterr = 0;
	for (;;) {
		/* Within a word of several letters optind does not move. */
		int before = optind;

		option = getopt_long(argc, argv, ":s:ji:wt:frRFVh", long_options, NULL);
		switch (option) {
		case -1: return -1;
		case 's': ctl->socket_path = optarg; break;
		case 'j': ctl->json = true; break;
		case 'i': ctl->device_id = optarg; break;
		case 'w': ctl->wait = true; break;
		case 'f': ctl->follow = true; break;
		case 'r': ctl->registers = true; break;
		case 'R': ctl->readonly = true; break;
		case 'F': ctl->force = true; break;
		case 't':
			if (!ctl_parse_timeout(ctl, optarg))
				return CTL_USAGE;
			break;
		case 'V': printf("paprikactl %s\n", PAPRIKA_VERSION); return CTL_OK;
		case 'h': ctl_print_help(); return CTL_OK;
		default:
			ctl_complain_option(
			    argv[optind > before ? optind - 1 : optind], option == ':');
			return CTL_USAGE;
		}
		if (ctl->socket_path[0] == '\0') {
			complain("the value of --socket is empty (write --socket PATH, or leave it "
			         "out)");
			return CTL_USAGE;
		}
	}
}

/* Open descriptors 0 to 2 if they are closed, so that the socket does not become one of them. */
static void ctl_fill_standard_files(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_NOCTTY | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	struct ctl ctl = {.timeout_ms = -1, .deadline = -1, .fd = -1};
	int code;

	ctl_fill_standard_files();
	ctl.socket_path = getenv("PAPRIKA_SOCKET");
	if (ctl.socket_path == NULL || ctl.socket_path[0] == '\0')
		ctl.socket_path = SOCKET_DEFAULT;
	code = ctl_parse_options(&ctl, argc, argv);
	if (code < 0 && optind < argc && strcmp(argv[optind], "help") == 0) {
		ctl_print_help();
		code = CTL_OK;
	} else if (code < 0) {
		code = (int)verb_run(&ctl, argc - optind, argv + optind);
	}
	if (fflush(stdout) != 0 || ferror(stdout)) {
		complain(
		    "cannot write the output: %s (choose another place for it)", strerror(errno));
		return CTL_ERROR;
	}
	return code;
}
