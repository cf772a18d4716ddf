/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.c - the command line and the config file, from one table.
 *
 * A row says what an option is called, which commands know it, how its text is understood and
 * where it is stored. A config file is the same options as one JSON object: its values are
 * turned into the text a person would have typed and go the same way, so that the two cannot
 * come to mean different things. What a machine can be is spapr_check_config()'s to say; here
 * it is syntax that is judged, and what is best said in the words that were typed.
 */
#include "vmm/options.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/parse.h"

#define CONFIG_BYTES_MAX (1 << 20)
#define DEADLINE_S_MAX 86400

/* The JSON types a value may have in a config file. */
enum { AS_STRING = 1, AS_INTEGER = 2, AS_REAL = 4, AS_BOOLEAN = 8, AS_CPUS = 16 };

struct option_row {
	const char *name;
	const char *value; /* what --help calls the value; NULL: a switch */
	char letter;       /* short form, or 0 */
	unsigned commands;
	unsigned json; /* 0: not in a config file */
	bool (*set)(struct options *options, const struct option_row *row, const char *text,
	    struct err *err);
	size_t offset, size; /* the field, for the general set functions */
	const char *help;
};

/* --- Values ------------------------------------------------------------------------------ */

/* A plain decimal number of the length given; false if it is anything else, or above max. */
static bool parse_number(const char *text, size_t length, uint64_t max, uint64_t *ret_number)
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

struct spapr_config options_machine(const struct options *options)
{
	return (struct spapr_config){
	    .memory_bytes = options->memory_bytes,
	    .threads = options->threads,
	    .boot_cpus = options->boot_cpus,
	    .max_cpus = options->max_cpus,
	    .bootargs = options->append,
	    .name = options->name,
	    .unplug_deadline_ms = options->unplug_deadline_ms,
	    .kvm_fd = options->kvm_fd,
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
	if (!parse_number(text, length, UINT64_MAX >> shift, &number))
		return err_set(err, ERR_USAGE, hint, "--memory %.64s is too large", text);
	*ret_bytes = number << shift;
	return true;
}

/* Text that may be empty. */
static bool set_text(
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

static bool empty_value(const struct option_row *row, struct err *err)
{
	char hint[96];

	snprintf(hint, sizeof hint, "write --%s %s, or leave it out if it is not needed", row->name,
	    row->value);
	return err_set(err, ERR_USAGE, hint, "the value of --%s is empty", row->name);
}

/* A path or a name. An empty one is a variable of a script that was never set: as if the option
 * had not been given would be the opposite of what was meant. */
static bool set_name(
    struct options *options, const struct option_row *row, const char *text, struct err *err)
{
	if (text[0] == '\0')
		return empty_value(row, err);
	return set_text(options, row, text, err);
}

static bool set_switch(
    struct options *options, const struct option_row *row, const char *text, struct err *err)
{
	bool *field = (bool *)((char *)options + row->offset);

	(void)err;
	*field = strcmp(text, "true") == 0;
	return true;
}

/* One item of --cpus: key=number, or a number alone, which means boot. */
static bool set_cpus_item(const char *item, size_t length, uint64_t numbers[3], struct err *err)
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
	if (!parse_number(value, length - (size_t)(value - item), UINT32_MAX, &numbers[which]) ||
	    numbers[which] == 0)
		return err_set(err, ERR_USAGE, "write --cpus boot=2,max=8,threads=1",
		    "--cpus %s must be a positive number, not \"%.*s\"", keys[which],
		    (int)(length > 64 ? 64 : length), item);
	return true;
}

static bool set_cpus(
    struct options *options, const struct option_row *row, const char *text, struct err *err)
{
	uint64_t numbers[3] = {0, 0, 0};

	(void)row;
	for (const char *item = text;; item++) {
		size_t length = strcspn(item, ",");

		if (!set_cpus_item(item, length, numbers, err))
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

static bool set_memory(
    struct options *options, const struct option_row *row, const char *text, struct err *err)
{
	uint64_t bytes = 0, blocks;
	char hint[96];

	if (!parse_size(text, &bytes, err))
		return false;
	blocks = bytes / SPAPR_LMB_BYTES;
	if (bytes == 0 || bytes % SPAPR_LMB_BYTES != 0) {
		/* In M, the blocks below and above it. */
		if (blocks == 0)
			snprintf(hint, sizeof hint, "give --memory 256M or more");
		else
			snprintf(hint, sizeof hint, "give --memory %lluM or %lluM",
			    (unsigned long long)(blocks * (SPAPR_LMB_BYTES >> 20)),
			    (unsigned long long)((blocks + 1) * (SPAPR_LMB_BYTES >> 20)));
		return err_set(
		    err, ERR_USAGE, hint, "--%s %.64s is not a multiple of 256M", row->name, text);
	}
	options->memory_bytes = bytes;
	return true;
}

static bool set_console(
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
static bool set_deadline(
    struct options *options, const struct option_row *row, const char *text, struct err *err)
{
	size_t length = strcspn(text, ".");
	uint64_t seconds = 0, thousandths = 0;
	bool good = parse_number(text, length, DEADLINE_S_MAX, &seconds);

	if (good && text[length] == '.') {
		const char *digits = text + length + 1;
		size_t count = strlen(digits);

		good = count <= 3 && parse_number(digits, count, 999, &thousandths);
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

static bool set_log_level(
    struct options *options, const struct option_row *row, const char *text, struct err *err)
{
	(void)row;
	return log_level_from_name(text, &options->log_level) ||
	       err_set(err, ERR_USAGE, "use error, warn, info or debug",
	           "--log-level does not know \"%.64s\"", text);
}

/* The standard ones are never it, and 0 stands for none. */
static bool set_kvm_fd(
    struct options *options, const struct option_row *row, const char *text, struct err *err)
{
	uint64_t number = 0;

	if (!parse_number(text, strlen(text), INT_MAX, &number) || number <= STDERR_FILENO)
		return err_set(err, ERR_USAGE, "give the number of an open descriptor, 3 or more",
		    "--%s cannot be \"%.64s\"", row->name, text);
	options->kvm_fd = (int)number;
	return true;
}

static bool set_config(
    struct options *options, const struct option_row *row, const char *text, struct err *err);

/* --- The table --------------------------------------------------------------------------- */

#define FIELD(field) offsetof(struct options, field), sizeof(((struct options *)0)->field)
#define MACHINE (COMMAND_RUN | COMMAND_DTB)
#define EVERY (COMMAND_RUN | COMMAND_CHECK | COMMAND_DTB)

static const struct option_row rows[] = {
    {"kernel", "FILE", 0, MACHINE, AS_STRING, set_name, FIELD(kernel),
        "the guest's kernel: an uncompressed ppc64 ELF, such as a vmlinux"},
    {"initrd", "FILE", 0, MACHINE, AS_STRING, set_name, FIELD(initrd), "its initial RAM disk"},
    {"append", "S", 0, MACHINE, AS_STRING, set_text, FIELD(append),
        "its command line (console=hvc0)"},
    {"cpus", "boot=N,max=M,threads=T", 0, MACHINE, AS_STRING | AS_INTEGER | AS_CPUS, set_cpus, 0, 0,
        "vCPUs at boot (one core), at most (as at boot), and per core (1)"},
    {"memory", "SIZE", 0, MACHINE, AS_STRING | AS_INTEGER, set_memory, 0, 0,
        "memory, a multiple of 256M (512M)"},
    {"control", "PATH", 0, COMMAND_RUN, AS_STRING, set_name, FIELD(control),
        "listen on a UNIX socket for paprikactl and other clients; systemd: one passed by it"},
    {"console", "KIND", 0, COMMAND_RUN, AS_STRING, set_console, 0, 0,
        "stdio, file:PATH, pty, unix:PATH or none (stdio; Ctrl-A x ends it)"},
    {"unplug-deadline", "S", 0, COMMAND_RUN, AS_STRING | AS_INTEGER | AS_REAL, set_deadline, 0, 0,
        "report an add or removal as unresolved after S seconds (15)"},
    {"no-reboot", NULL, 0, COMMAND_RUN, AS_BOOLEAN, set_switch, FIELD(no_reboot),
        "end when the guest reboots, with exit code 4"},
    {"name", "N", 0, COMMAND_RUN, AS_STRING, set_name, FIELD(name), "a name for the guest"},
    {"kvm-fd", "N", 0, MACHINE, AS_STRING | AS_INTEGER | AS_REAL, set_kvm_fd, 0, 0,
        "use this open descriptor of /dev/kvm"},
    {"no-sandbox", NULL, 0, COMMAND_RUN, AS_BOOLEAN, set_switch, FIELD(no_sandbox),
        "keep all rights while the guest runs; to find faults only"},
    {"output", "FILE", 'o', COMMAND_DTB, 0, set_name, FIELD(output),
        "where the device tree goes; - is standard output"},
    {"json", NULL, 0, COMMAND_CHECK, 0, set_switch, FIELD(json), "answer in JSON"},
    {"log-level", "L", 0, EVERY, AS_STRING, set_log_level, 0, 0,
        "error, warn, info or debug (warn)"},
    {"config", "FILE", 0, MACHINE, 0, set_config, 0, 0,
        "read options from a JSON object whose keys are their long names"},
    {"help", NULL, 'h', EVERY, 0, set_switch, FIELD(help), "say this and exit"},
};

#define ROWS (sizeof rows / sizeof rows[0])

static const struct option_row *find_row(const char *name, size_t length, unsigned commands)
{
	for (size_t i = 0; i < ROWS; i++)
		if ((rows[i].commands & commands) != 0 && strlen(rows[i].name) == length &&
		    memcmp(rows[i].name, name, length) == 0)
			return &rows[i];
	return NULL;
}

/* --- Names that are not known ------------------------------------------------------------- */

/* What QEMU and other programs call what is here, too, or what is not here: names, each between
 * spaces, and what to do instead. Names that are ours as well, like kernel, need no row. */
static const struct {
	const char *names, *hint;
} others[] = {
    {" smp vcpus ", "use --cpus boot=N,max=M,threads=T"},
    {" cpu ", "leave it out: the guest has the host's processor; --cpus sets how many"},
    {" m ram maxmem ", "use --memory SIZE, like --memory 2G"},
    {" initramfs ramdisk ", "use --initrd FILE"},
    {" cmdline params ", "use --append S"},
    {" M machine accel enable-kvm ", "leave it out: there is one machine, and it runs under KVM"},
    {" qmp mon monitor socket api-sock ",
        "use --control PATH: a UNIX socket that speaks QMP, and paprikactl"},
    {" serial chardev nographic curses ",
        "leave it out: the console is on the terminal; --console puts it elsewhere"},
    {" display vga vnc spice usb audio ", "leave it out: a guest has a console and nothing else"},
    {" drive blockdev hda hdb cdrom disk boot ",
        "leave it out: there are no disks; put what the guest needs into its --initrd"},
    {" netdev net nic tap ", "leave it out: there is no network"},
    {" device object ", "leave it out: cores are all there is; `paprikactl cpu add` adds one"},
    {" bios L rtc nodefaults no-user-config no-shutdown ",
        "leave it out: there is no firmware, and nothing but what was asked for"},
    {" S daemonize pidfile incoming ", "leave it out: there is nothing like it"},
    {" d D trace ", "use --log-level info or debug; the log goes to standard error"},
    {" version V ", "use paprika --version"},
};

static const char *other_hint(const char *typed, size_t length)
{
	char name[32];

	if (length == 0 || length > sizeof name - 3 || memchr(typed, ' ', length) != NULL)
		return NULL;
	snprintf(name, sizeof name, " %.*s ", (int)length, typed);
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
		if (strstr(others[i].names, name) != NULL)
			return others[i].hint;
	return NULL;
}

/* typed has its dashes, and perhaps a value behind an equals sign. */
static bool unknown_option(const char *typed, enum option_command command, struct err *err)
{
	const char *name = typed + strspn(typed, "-");
	size_t length = strcspn(name, "=");
	const struct option_row *row = find_row(name, length, command);
	const char *other = other_hint(name, length);
	char hint[128] = "--help lists what there is";

	if (other != NULL)
		snprintf(hint, sizeof hint, "%s", other);
	else if (row != NULL)
		snprintf(hint, sizeof hint, "did you mean --%s?", row->name);
	else if (find_row(name, length, EVERY) != NULL)
		snprintf(hint, sizeof hint,
		    "it belongs to another command; `paprika --help` lists them");
	length += (size_t)(name - typed);
	return err_set(
	    err, ERR_USAGE, hint, "unknown option %.*s", (int)(length > 66 ? 66 : length), typed);
}

/* --- Config file --------------------------------------------------------------------------- */

/* As much as there is, up to size; -1 on failure. */
static ssize_t read_all(int fd, char *to, size_t size)
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

static json_t *read_config(const char *path, struct err *err)
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
	got = text == NULL ? -1 : read_all(fd, text, (size_t)status.st_size);
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
	/* Whatever is wrong with the file, it is the operator's to put right. */
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
static bool cpus_text(const json_t *object, char *text, size_t size, struct err *err)
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

static bool wrong_type(const struct option_row *row, struct err *err)
{
	static const struct {
		unsigned json;
		const char *hint;
	} hints[] = {
	    {AS_CPUS, "give a string like \"boot=2,max=8\" or an object {\"boot\", \"max\", "
	              "\"threads\"}"},
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
static bool set_from_json(
    struct options *options, const struct option_row *row, const json_t *value, struct err *err)
{
	char text[400]; /* a double can have 309 digits before the point */

	if (json_is_string(value) && (row->json & AS_STRING) != 0)
		return row->set(options, row, json_string_value(value), err);
	if (json_is_object(value) && (row->json & AS_CPUS) != 0) {
		if (!cpus_text(value, text, sizeof text, err))
			return false;
	} else if (json_is_integer(value) && (row->json & AS_INTEGER) != 0) {
		snprintf(text, sizeof text, "%lld", (long long)json_integer_value(value));
	} else if (json_is_real(value) && (row->json & AS_REAL) != 0) {
		snprintf(text, sizeof text, "%.3f", json_real_value(value));
	} else if (json_is_boolean(value) && (row->json & AS_BOOLEAN) != 0) {
		snprintf(text, sizeof text, "%s", json_is_true(value) ? "true" : "false");
	} else {
		return wrong_type(row, err);
	}
	return row->set(options, row, text, err);
}

/* A file made for `run` serves `dtb` too, so every key is known to both. */
static bool set_config(
    struct options *options, const struct option_row *row, const char *text, struct err *err)
{
	struct err inner = {0};
	const char *key;
	json_t *config, *value;

	if (text[0] == '\0')
		return empty_value(row, err);
	config = read_config(text, err);
	if (config == NULL)
		return false;
	json_object_foreach (config, key, value) {
		const struct option_row *known = find_row(key, strlen(key), EVERY);

		if (known != NULL && known->json != 0) {
			if (!set_from_json(options, known, value, &inner))
				break;
			continue;
		}
		err_set(&inner, ERR_USAGE, "the keys are the long option names of `paprika run`",
		    "unknown key \"%.64s\"", key);
		break;
	}
	json_decref(config);
	if (inner.class == ERR_NONE)
		return true;
	return err_set(
	    err, inner.class, inner.hint, "config file %.160s: %.200s", text, inner.message);
}

/* --- Command line -------------------------------------------------------------------------- */

void options_defaults(struct options *options)
{
	*options = (struct options){
	    .append = "console=hvc0",
	    .boot_cpus = 1,
	    .max_cpus = 1,
	    .threads = 1,
	    .memory_bytes = UINT64_C(512) << 20,
	    .console = CONSOLE_STDIO,
	    .unplug_deadline_ms = 15000,
	    .name = "paprika",
	    .log_level = LOG_WARN,
	};
}

/* What one word of the command line says: the row, and the value if it is in the same word. */
static const struct option_row *read_word(
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
		row = find_row(word + 2, length - 2, command);
		if (row != NULL && word[length] == '=')
			*ret_value = word + length + 1;
	} else if (find_row(word + 1, length - 1, EVERY) == NULL) {
		/* -output is --output with a dash too few, and not -o utput. */
		for (size_t i = 0; i < ROWS && row == NULL; i++)
			if (rows[i].letter == word[1] && (rows[i].commands & command) != 0)
				row = &rows[i];
		if (row != NULL && word[2] != '\0')
			*ret_value = word + 2;
	}
	if (row == NULL)
		unknown_option(word, command, err);
	return row;
}

/* The word behind an option, which must not be the next option. */
static const char *read_value(
    const struct option_row *row, int argc, char **argv, int *at, struct err *err)
{
	const char *word = *at + 1 < argc ? argv[++*at] : NULL;
	char hint[64];

	if (word != NULL && (strncmp(word, "--", 2) != 0 ||
	                        find_row(word + 2, strcspn(word + 2, "="), EVERY) == NULL))
		return word;
	snprintf(hint, sizeof hint, "write --%s %s", row->name, row->value);
	err_set(err, ERR_USAGE, hint, "--%s needs a value%s%.64s", row->name,
	    word != NULL ? ", and not " : "", word != NULL ? word : "");
	return NULL;
}

static bool check_complete(
    const struct options *options, enum option_command command, struct err *err)
{
	if (command == COMMAND_RUN && options->kernel[0] == '\0')
		return err_set(err, ERR_USAGE, "give --kernel FILE, a ppc64 ELF vmlinux",
		    "there is no kernel to run");
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
		const struct option_row *row = read_word(argv[i], command, &value, err);

		if (row == NULL)
			return false;
		if (row->value == NULL) {
			if (value != NULL)
				return err_set(err, ERR_USAGE, "leave the value out",
				    "--%s takes no value", row->name);
			value = "true";
		} else if (value == NULL) {
			value = read_value(row, argc, argv, &i, err);
			if (value == NULL)
				return false;
		}
		if (!row->set(options, row, value, err))
			return false;
		if (options->help)
			return true;
	}
	return check_complete(options, command, err);
}

void options_help(FILE *to, enum option_command command)
{
	for (size_t i = 0; i < ROWS; i++) {
		char left[64];

		if ((rows[i].commands & command) == 0)
			continue;
		snprintf(left, sizeof left, "%c%c%s --%s%s%s", rows[i].letter ? '-' : ' ',
		    rows[i].letter ? rows[i].letter : ' ', rows[i].letter ? "," : " ", rows[i].name,
		    rows[i].value ? " " : "", rows[i].value ? rows[i].value : "");
		fprintf(to, "  %-34s  %s\n", left, rows[i].help);
	}
}
