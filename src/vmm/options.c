/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.c - the command line, from one table.
 *
 * A row says what an option is called, which commands know it, how its text is parsed and where it
 * is stored. A config file (config.c) uses the same rows. Here syntax is checked, and what is
 * best reported in the words that were typed; spapr_check_config() checks the machine.
 */
#include "vmm/options.h"

#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm/option_row.h"

#define DEADLINE_S_MAX 86400

/* --- Values ------------------------------------------------------------------------------ */

/* A plain decimal number of the length given; false if it is anything else, or above max. */
static bool option_parse_number(const char *text, size_t length, uint64_t max, uint64_t *ret_number)
{
	uint64_t number = 0;

	if (length == 0)
		return false;
	for (size_t i = 0; i < length; i++) {
		uint64_t digit = (uint64_t)(unsigned char)text[i] - '0';

		if (digit > 9 || number > (max - digit) / 10)
			return false;
		number = number * 10 + digit;
	}
	*ret_number = number;
	return true;
}

bool options_have_pci(const struct options *options)
{
	return options->pci || options->rng || options->disk_count > 0 ||
	       options->hotplug_ports > 0 || options->net_count > 0 || options->share_count > 0 ||
	       options->vsock_cid != 0 || options->memory_shared;
}

bool options_have_net(const struct options *options)
{
	return options->pci || options->hotplug_ports > 0 || options->net_count > 0;
}

struct spapr_config options_machine(const struct options *options)
{
	return (struct spapr_config){
	    .memory_bytes = options->memory_bytes,
	    .max_memory_bytes = options->max_memory_bytes,
	    .memory_by_event = options->memory_by_event,
	    .shared_memory = options_share_memory(options),
	    .threads = options->threads,
	    .boot_cpus = options->boot_cpus,
	    .max_cpus = options->max_cpus,
	    .bootargs = options->append,
	    .name = options->name,
	    .uuid = options->uuid,
	    .unplug_deadline_ms = options->unplug_deadline_ms,
	    .pci = options_have_pci(options),
	    .pci_ports = options->hotplug_ports,
	    .kvm_fd = options->kvm_fd,
	    .mode = options->mode,
	};
}

bool parse_size(const char *text, uint64_t *ret_bytes, struct err *err)
{
	static const char units[] = "KMGT";
	static const char hint[] =
	    "give a whole number with K, M, G or T behind it, like 512M or 2G";
	size_t length = strlen(text);
	unsigned shift = 0;
	uint64_t number;

	if (length > 0 && (text[length - 1] < '0' || text[length - 1] > '9')) {
		const char *unit = strchr(units, text[length - 1] & ~0x20);

		if (unit == NULL || *unit == '\0')
			return err_set(err, ERR_USAGE, hint, "--memory cannot be \"%.64s\"", text);
		shift = 10 * (unsigned)(unit - units + 1);
		length--;
	}
	if (length == 0 || strspn(text, "0123456789") != length)
		return err_set(err, ERR_USAGE, hint, "--memory cannot be \"%.64s\"", text);
	if (!option_parse_number(text, length, UINT64_MAX >> shift, &number))
		return err_set(err, ERR_USAGE, hint, "--memory %.64s is too large", text);
	*ret_bytes = number << shift;
	return true;
}

/* Text that may be empty. */
static bool option_set_text(
    struct options *options, const struct option_row *row, const char *text, struct err *err)
{
	size_t length = strlen(text);

	if (length >= row->size)
		return err_set(err, ERR_USAGE, "give a shorter one",
		    "the value of --%s is %zu bytes long, the limit is %zu", row->name, length,
		    row->size - 1);
	memcpy((char *)options + row->offset, text, length + 1);
	return true;
}

static bool option_empty(const struct option_row *row, struct err *err)
{
	char hint[96];

	snprintf(hint, sizeof hint, "write --%s %s, or leave it out if it is not needed", row->name,
	    row->value);
	return err_set(err, ERR_USAGE, hint, "the value of --%s is empty", row->name);
}

/* A path or a name. An empty one usually comes from an unset variable of a script; to treat it as
 * if the option had not been given would be wrong. */
static bool option_set_name(
    struct options *options, const struct option_row *row, const char *text, struct err *err)
{
	if (text[0] == '\0')
		return option_empty(row, err);
	return option_set_text(options, row, text, err);
}

static bool option_set_switch(
    struct options *options, const struct option_row *row, const char *text, struct err *err)
{
	bool *field = (bool *)((char *)options + row->offset);

	*field = strcmp(text, "true") == 0;
	return true;
}

/* One item of --cpus: key=number, or a number alone, which means boot. */
static bool option_set_cpus_item(
    const char *item, size_t length, uint64_t numbers[3], struct err *err)
{
	static const char *const keys[] = {"boot", "max", "threads"};
	const char *equals = memchr(item, '=', length);
	size_t key_length = equals == NULL ? 0 : (size_t)(equals - item);
	const char *value = equals == NULL ? item : equals + 1;
	size_t which = 0;

	if (equals != NULL)
		for (which = 0; which < 3; which++)
			if (strlen(keys[which]) == key_length &&
			    memcmp(keys[which], item, key_length) == 0)
				break;
	if (which == 3)
		return err_set(err, ERR_USAGE, "the keys are boot, max and threads",
		    "--cpus does not know \"%.*s\"", (int)(key_length > 64 ? 64 : key_length),
		    item);
	if (numbers[which] != 0)
		return err_set(err, ERR_USAGE, "write --cpus boot=2,max=8,threads=1",
		    "--cpus names %s twice; a number alone is boot", keys[which]);
	if (!option_parse_number(
	        value, length - (size_t)(value - item), UINT32_MAX, &numbers[which]) ||
	    numbers[which] == 0)
		return err_set(err, ERR_USAGE, "write --cpus boot=2,max=8,threads=1",
		    "--cpus %s must be a positive number, not \"%.*s\"", keys[which],
		    (int)(length > 64 ? 64 : length), item);
	return true;
}

static bool option_set_cpus(
    struct options *options, const struct option_row *row, const char *text, struct err *err)
{
	uint64_t numbers[3] = {0, 0, 0};

	for (const char *item = text;; item++) {
		size_t length = strcspn(item, ",");

		if (!option_set_cpus_item(item, length, numbers, err))
			return false;
		item += length;
		if (*item == '\0')
			break;
	}
	options->threads = numbers[2] != 0 ? (uint32_t)numbers[2] : 1;
	options->boot_cpus = numbers[0] != 0 ? (uint32_t)numbers[0] : options->threads;
	options->max_cpus = numbers[1] != 0 ? (uint32_t)numbers[1] : options->boot_cpus;
	return true;
}

static bool option_set_console(
    struct options *options, const struct option_row *row, const char *text, struct err *err)
{
	static const struct {
		const char *word;
		enum console_kind kind;
		bool path;
	} kinds[] = {{"stdio", CONSOLE_STDIO, false}, {"file:", CONSOLE_FILE, true},
	    {"pty", CONSOLE_PTY, false}, {"unix:", CONSOLE_UNIX, true},
	    {"none", CONSOLE_NONE, false}};

	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		size_t length = strlen(kinds[i].word);

		if (strncmp(text, kinds[i].word, kinds[i].path ? length : length + 1) != 0)
			continue;
		if (kinds[i].path && text[length] == '\0')
			return err_set(err, ERR_USAGE, "give a path behind the colon",
			    "--console %s lacks its path", kinds[i].word);
		if (strlen(text + length) >= sizeof options->console_path)
			return err_set(err, ERR_USAGE, "give a shorter one",
			    "the path of --%s is too long", row->name);
		options->console = kinds[i].kind;
		strcpy(options->console_path, text + length);
		return true;
	}
	return err_set(err, ERR_USAGE, "use stdio, file:PATH, pty, unix:PATH or none",
	    "--console does not know \"%.64s\"", text);
}

/* Seconds, with up to three digits behind the point. */
static bool option_set_deadline(
    struct options *options, const struct option_row *row, const char *text, struct err *err)
{
	size_t length = strcspn(text, ".");
	uint64_t seconds = 0, thousandths = 0;
	bool good = option_parse_number(text, length, DEADLINE_S_MAX, &seconds);

	if (good && text[length] == '.') {
		const char *digits = text + length + 1;
		size_t count = strlen(digits);

		good = count <= 3 && option_parse_number(digits, count, 999, &thousandths);
		for (; count < 3; count++)
			thousandths *= 10;
	}
	if (!good || seconds * 1000 + thousandths == 0 ||
	    seconds * 1000 + thousandths > DEADLINE_S_MAX * 1000)
		return err_set(err, ERR_USAGE,
		    "give seconds above 0 and up to 86400, like 15 or 0.5",
		    "--%s cannot be \"%.64s\"", row->name, text);
	options->unplug_deadline_ms = seconds * 1000 + thousandths;
	return true;
}

/* As uuidgen prints it (RFC 4122, 3), in either case. */
static bool option_set_uuid(
    struct options *options, const struct option_row *row, const char *text, struct err *err)
{
	static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	size_t at = 0;

	for (; form[at] != '\0'; at++) {
		bool fits = form[at] == '-'
		                ? text[at] == '-'
		                : text[at] != '\0' && strchr("0123456789abcdefABCDEF", text[at]);

		if (!fits)
			break;
		options->uuid[at] = text[at] >= 'A' && text[at] <= 'F' ? text[at] | 0x20 : text[at];
	}
	options->uuid[at] = '\0';
	return (form[at] == '\0' && text[at] == '\0') ||
	       err_set(err, ERR_USAGE, "give one as uuidgen prints it, or leave it out",
	           "--%s cannot be \"%.64s\"", row->name, text);
}

static bool option_set_log_level(
    struct options *options, const struct option_row *row, const char *text, struct err *err)
{
	return log_level_from_name(text, &options->log_level) ||
	       err_set(err, ERR_USAGE, "use error, warn, info or debug",
	           "--log-level does not know \"%.64s\"", text);
}

/* Not one of the standard descriptors; 0 stands for none. */
static bool option_set_kvm_fd(
    struct options *options, const struct option_row *row, const char *text, struct err *err)
{
	uint64_t number = 0;

	if (!option_parse_number(text, strlen(text), INT_MAX, &number) || number <= STDERR_FILENO)
		return err_set(err, ERR_USAGE, "give the number of an open descriptor, 3 or more",
		    "--%s cannot be \"%.64s\"", row->name, text);
	options->kvm_fd = (int)number;
	return true;
}

static bool option_set_ports(
    struct options *options, const struct option_row *row, const char *text, struct err *err)
{
	enum { PORTS_MAX = 31 };
	uint64_t number;

	if (!option_parse_number(text, strlen(text), PORTS_MAX, &number))
		return err_set(err, ERR_USAGE, "give a number from 0 to 31",
		    "--%s cannot be \"%.64s\"", row->name, text);
	options->hotplug_ports = (uint32_t)number;
	return true;
}

/* One of the words that --help shows as the value; the field, an enum, counts them from 0. */
static bool option_set_word(
    struct options *options, const struct option_row *row, const char *text, struct err *err)
{
	unsigned *field = (unsigned *)((char *)options + row->offset), number = 0;
	const char *word = row->value;
	size_t length = strlen(text);
	char hint[64];

	for (;; word++, number++) {
		size_t end = strcspn(word, "|");

		if (length == end && memcmp(word, text, end) == 0) {
			*field = number;
			return true;
		}
		word += end;
		if (*word == '\0')
			break;
	}
	snprintf(hint, sizeof hint, "give one of %s", row->value);
	return err_set(err, ERR_USAGE, hint, "--%s cannot be \"%.64s\"", row->name, text);
}

static bool option_set_config(
    struct options *options, const struct option_row *row, const char *text, struct err *err)
{
	return text[0] == '\0' ? option_empty(row, err) : config_read(options, text, err);
}

/* --- The table --------------------------------------------------------------------------- */

#define FIELD(field) offsetof(struct options, field), sizeof(((struct options *)0)->field)
#define MACHINE (COMMAND_RUN | COMMAND_DTB)
#define EVERY (COMMAND_RUN | COMMAND_CHECK | COMMAND_DTB)

static const struct option_row option_rows[] = {
    {"kernel", "FILE", 0, MACHINE, AS_STRING, option_set_name, FIELD(kernel),
        "the guest's kernel: an uncompressed ppc64 ELF, such as a vmlinux"},
    {"initrd", "FILE", 0, MACHINE, AS_STRING, option_set_name, FIELD(initrd),
        "its initial RAM disk"},
    {"append", "S", 0, MACHINE, AS_STRING, option_set_text, FIELD(append),
        "its command line (console=hvc0)"},
    {"cpus", "boot=N,max=M,threads=T", 0, MACHINE, AS_STRING | AS_INTEGER | AS_CPUS,
        option_set_cpus, 0, 0, "vCPUs at boot (one core), at most (as at boot), and per core (1)"},
    {"memory", "size=SIZE,max=SIZE,reset=R,shared", 0, MACHINE, AS_STRING | AS_INTEGER,
        option_set_memory, 0, 0, "memory at boot, and at most; in 256M (512M)"},
    {"accel", "auto|hv|pr", 0, MACHINE, AS_STRING, option_set_word, FIELD(mode.accel),
        "the flavour of KVM (hv if there is one)"},
    {"cpu", "host|power8|power9|power10|power11", 0, MACHINE, AS_STRING, option_set_word,
        FIELD(mode.cpu), "what the guest's processor is like (host)"},
    {"mmu", "auto|radix|hash", 0, MACHINE, AS_STRING, option_set_word, FIELD(mode.mmu),
        "its MMU (radix where there is one)"},
    {"irqchip", "auto|xics|xive", 0, MACHINE, AS_STRING, option_set_word, FIELD(mode.irqchip),
        "its interrupt controller (xics)"},
    {"disk", "file=PATH,id=NAME,...", 0, MACHINE, AS_STRING | AS_LIST, option_set_disk, 0, 0,
        "a disk: a raw image or a block device, or vhost=SOCKET; readonly, serial=TEXT, queues=N, "
        "direct"},
    {"net", "passt|tap=NAME|fd=N|unix=PATH,...", 0, MACHINE, AS_STRING | AS_LIST, option_set_net, 0,
        0, "a network device, and where its frames go; mac=M, id=NAME, mtu=N, queues=N"},
    {"share", "dir=PATH,tag=NAME,...", 0, MACHINE, AS_STRING | AS_LIST, option_set_share, 0, 0,
        "a directory for the guest, by virtiofsd; readonly; socket=PATH: one that runs"},
    {"vsock", "cid=N", 0, MACHINE, AS_STRING, option_set_vsock, 0, 0,
        "sockets between host and guest (vsock)"},
    {"rng", NULL, 0, MACHINE, AS_BOOLEAN, option_set_switch, FIELD(rng),
        "a source of random numbers (virtio-rng)"},
    {"pci", NULL, 0, MACHINE, AS_BOOLEAN, option_set_switch, FIELD(pci),
        "a PCI bus even without a device on it"},
    {"hotplug-ports", "N", 0, MACHINE, AS_STRING | AS_INTEGER, option_set_ports, 0, 0,
        "so many PCI slots whose devices the guest's kernel adds and removes by itself (0)"},
    {"control", "PATH", 0, COMMAND_RUN, AS_STRING, option_set_name, FIELD(control),
        "listen on a UNIX socket for paprikactl and other clients; systemd: one passed by it"},
    {"console", "KIND", 0, COMMAND_RUN, AS_STRING, option_set_console, 0, 0,
        "stdio, file:PATH, pty, unix:PATH or none (stdio; Ctrl-A x ends it)"},
    {"unplug-deadline", "S", 0, COMMAND_RUN, AS_STRING | AS_INTEGER | AS_REAL, option_set_deadline,
        0, 0, "report an add or removal as unresolved after S seconds (15)"},
    {"no-reboot", NULL, 0, COMMAND_RUN, AS_BOOLEAN, option_set_switch, FIELD(no_reboot),
        "end when the guest reboots, with exit code 4"},
    {"name", "N", 0, COMMAND_RUN, AS_STRING, option_set_name, FIELD(name), "a name for the guest"},
    {"uuid", "U", 0, MACHINE, AS_STRING, option_set_uuid, 0, 0,
        "a UUID for the guest (vm,uuid); none by default"},
    {"kvm-fd", "N", 0, MACHINE, AS_STRING | AS_INTEGER | AS_REAL, option_set_kvm_fd, 0, 0,
        "use this open descriptor of /dev/kvm"},
    {"no-sandbox", NULL, 0, COMMAND_RUN, AS_BOOLEAN, option_set_switch, FIELD(no_sandbox),
        "keep all rights while the guest runs; to find faults only"},
    {"output", "FILE", 'o', COMMAND_DTB, 0, option_set_name, FIELD(output),
        "where the device tree goes; - is standard output"},
    {"json", NULL, 0, COMMAND_CHECK, 0, option_set_switch, FIELD(json), "answer in JSON"},
    {"papr", NULL, 0, COMMAND_CHECK, 0, option_set_switch, FIELD(papr),
        "list the hypervisor calls and RTAS services of a guest instead"},
    {"log-level", "L", 0, EVERY, AS_STRING, option_set_log_level, 0, 0,
        "error, warn, info or debug (warn)"},
    {"config", "FILE", 0, MACHINE, 0, option_set_config, 0, 0,
        "read options from a JSON object whose keys are their long names"},
    {"help", NULL, 'h', EVERY, 0, option_set_switch, FIELD(help), "say this and exit"},
};

#define ROWS (sizeof option_rows / sizeof option_rows[0])

const struct option_row *option_find(const char *name, size_t length, unsigned commands)
{
	for (size_t i = 0; i < ROWS; i++)
		if ((option_rows[i].commands & commands) != 0 &&
		    strlen(option_rows[i].name) == length &&
		    memcmp(option_rows[i].name, name, length) == 0)
			return &option_rows[i];
	return NULL;
}

/* --- Command line -------------------------------------------------------------------------- */

void options_defaults(struct options *options)
{
	*options = (struct options){
	    .append = "console=hvc0",
	    .boot_cpus = 1,
	    .max_cpus = 1,
	    .threads = 1,
	    .memory_bytes = OPTION_MEMORY_BYTES,
	    .console = CONSOLE_STDIO,
	    .unplug_deadline_ms = 15000,
	    .name = "paprika",
	    .log_level = LOG_WARN,
	};
}

/* The row that a word of the command line names, and the value if it is in the same word. */
static const struct option_row *option_read_word(
    const char *word, enum option_command command, const char **ret_value, struct err *err)
{
	const struct option_row *row = NULL;
	size_t length = strcspn(word, "=");

	*ret_value = NULL;
	if (word[0] != '-' || word[1] == '\0') {
		err_set(err, ERR_USAGE,
		    "options begin with --, like --kernel FILE; quote values that contain spaces",
		    "unexpected argument \"%.64s\"", word);
		return NULL;
	}
	if (word[1] == '-') {
		row = option_find(word + 2, length - 2, command);
		if (row != NULL && word[length] == '=')
			*ret_value = word + length + 1;
	} else if (option_find(word + 1, length - 1, EVERY) == NULL) {
		/* -output is --output with a dash too few, and not -o utput. */
		for (size_t i = 0; i < ROWS && row == NULL; i++)
			if (option_rows[i].letter == word[1] &&
			    (option_rows[i].commands & command) != 0)
				row = &option_rows[i];
		if (row != NULL && word[2] != '\0')
			*ret_value = word + 2;
	}
	if (row == NULL)
		option_refuse(word, command, err);
	return row;
}

/* The value in the word after an option; that must not be an option itself. */
static const char *option_read_value(
    const struct option_row *row, int argc, char **argv, int *at, struct err *err)
{
	const char *word = *at + 1 < argc ? argv[++*at] : NULL;
	char hint[64];

	if (word != NULL && (strncmp(word, "--", 2) != 0 ||
	                        option_find(word + 2, strcspn(word + 2, "="), EVERY) == NULL))
		return word;
	snprintf(hint, sizeof hint, "write --%s %s", row->name, row->value);
	err_set(err, ERR_USAGE, hint, "--%s needs a value%s%.64s", row->name,
	    word != NULL ? ", and not " : "", word != NULL ? word : "");
	return NULL;
}

static bool options_check_complete(
    const struct options *options, enum option_command command, struct err *err)
{
	if (command == COMMAND_RUN && options->kernel[0] == '\0')
		return err_set(err, ERR_USAGE, "give --kernel FILE, a ppc64 ELF vmlinux",
		    "there is no kernel to run");
	if (options->json && options->papr)
		return err_set(err, ERR_USAGE, "leave --json out", "--papr is a page for people");
	if (command == COMMAND_DTB && options->output[0] == '\0')
		return err_set(err, ERR_USAGE, "give -o FILE, or -o - for standard output",
		    "there is no place for the device tree");
	if (command == COMMAND_DTB && options->kernel[0] == '\0' && options->initrd[0] != '\0')
		return err_set(err, ERR_USAGE, "give --kernel too; the initrd is placed behind it",
		    "an initrd needs a kernel");
	return true;
}

bool options_parse(
    struct options *options, enum option_command command, int argc, char **argv, struct err *err)
{
	for (int i = 1; i < argc; i++) {
		const char *value;
		const struct option_row *row = option_read_word(argv[i], command, &value, err);

		if (row == NULL)
			return false;
		if (row->value == NULL) {
			if (value != NULL)
				return err_set(err, ERR_USAGE, "leave the value out",
				    "--%s takes no value", row->name);
			value = "true";
		} else if (value == NULL) {
			value = option_read_value(row, argc, argv, &i, err);
			if (value == NULL)
				return false;
		}
		if (!row->set(options, row, value, err))
			return false;
		if (options->help)
			return true;
	}
	return options_check_complete(options, command, err);
}

void options_help(FILE *to, enum option_command command)
{
	for (size_t i = 0; i < ROWS; i++) {
		char left[64];

		if ((option_rows[i].commands & command) == 0)
			continue;
		snprintf(left, sizeof left, "%c%c%s --%s%s%s", option_rows[i].letter ? '-' : ' ',
		    option_rows[i].letter ? option_rows[i].letter : ' ',
		    option_rows[i].letter ? "," : " ", option_rows[i].name,
		    option_rows[i].value ? " " : "",
		    option_rows[i].value ? option_rows[i].value : "");
		fprintf(to, "  %-34s  %s\n", left, option_rows[i].help);
	}
}
