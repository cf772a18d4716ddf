/* SPDX-License-Identifier: Apache-2.0 */
/* test_options.c - what a person may type, and what the answer is if it makes no sense. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "vmm/options.h"

static char directory[] = "/tmp/paprika-options-XXXXXX";
static char config_path[64];

static struct options options;
static struct err err;

/* Parse up to six words for a command, from defaults. */
static bool parse(enum option_command command, const char *a, const char *b, const char *c,
    const char *d, const char *e, const char *f)
{
	const char *words[8] = {"paprika", a, b, c, d, e, f, NULL};
	int count = 1;

	while (words[count] != NULL)
		count++;
	options_defaults(&options);
	err = (struct err){0};
	return options_parse(&options, command, count, (char **)words, &err);
}

static bool run_with(const char *a, const char *b)
{
	return parse(COMMAND_RUN, "--kernel", "k", a, b, NULL, NULL);
}

static void refuses(const char *a, const char *b, const char *word)
{
	assert_false(run_with(a, b));
	assert_int_equal(err.class, ERR_USAGE);
	assert_non_null(strstr(err.message, word));
	assert_string_not_equal(err.hint, "");
}

static void write_config(const char *text)
{
	FILE *file = fopen(config_path, "w");

	assert_non_null(file);
	assert_int_equal(fputs(text, file) >= 0, 1);
	assert_int_equal(fclose(file), 0);
}

static bool config_with(const char *text)
{
	write_config(text);
	return run_with("--config", config_path);
}

static void config_refuses(const char *text, const char *word)
{
	write_config(text);
	refuses("--config", config_path, word);
	assert_non_null(strstr(err.message, config_path));
}

static void test_defaults(void **state)
{
	(void)state;
	assert_true(run_with(NULL, NULL));
	assert_string_equal(options.kernel, "k");
	assert_string_equal(options.initrd, "");
	assert_string_equal(options.append, "console=hvc0");
	assert_int_equal(options.boot_cpus, 1);
	assert_int_equal(options.max_cpus, 1);
	assert_int_equal(options.threads, 1);
	assert_int_equal(options.memory_bytes, UINT64_C(512) << 20);
	assert_string_equal(options.control, "");
	assert_int_equal(options.console, CONSOLE_STDIO);
	assert_int_equal(options.unplug_deadline_ms, 15000);
	assert_false(options.no_reboot);
	assert_int_equal(options.log_level, LOG_WARN);
}

static void test_texts(void **state)
{
	(void)state;
	assert_true(run_with("--initrd", "i"));
	assert_string_equal(options.initrd, "i");
	assert_true(run_with("--append", "root=/dev/vda quiet"));
	assert_string_equal(options.append, "root=/dev/vda quiet");
	assert_true(run_with("--append=", NULL));
	assert_string_equal(options.append, "");
	assert_true(run_with("--append=a=b", NULL));
	assert_string_equal(options.append, "a=b");
	assert_true(run_with("--control", "c.sock"));
	assert_string_equal(options.control, "c.sock");
	assert_true(run_with("--name", "n"));
	assert_string_equal(options.name, "n");
	assert_true(run_with("--uuid", "00112233-4455-6677-8899-AABBCCddeeff"));
	assert_string_equal(options.uuid, "00112233-4455-6677-8899-aabbccddeeff");
	refuses("--uuid", "00112233-4455-6677-8899-aabbccddeef", "--uuid");
	refuses("--uuid", "00112233-4455-6677-8899-aabbccddeeff0", "--uuid");
	refuses("--uuid", "0011223344556677-8899-aabbccddeeff0-", "--uuid");
	refuses("--uuid", "00112233-4455-6677-8899-aabbccddeefg", "--uuid");
	assert_true(run_with("--no-reboot", NULL));
	assert_true(options.no_reboot);
	assert_true(run_with("--log-level", "debug"));
	assert_int_equal(options.log_level, LOG_DEBUG);
	refuses("--log-level", "loud", "loud");
	/* What comes later wins. */
	assert_true(run_with("--kernel=other", NULL));
	assert_string_equal(options.kernel, "other");
}

static void test_long_texts(void **state)
{
	char text[OPTION_TEXT_MAX + 16];

	(void)state;
	memset(text, 'x', sizeof text);
	text[2047] = '\0';
	assert_true(run_with("--append", text));
	text[2047] = 'x';
	text[2048] = '\0';
	refuses("--append", text, "--append");
	text[2048] = 'x';
	text[OPTION_TEXT_MAX] = '\0';
	refuses("--initrd", text, "--initrd");
	refuses(text, NULL, "unexpected argument");
	memcpy(text, "--", 2);
	refuses(text, NULL, "unknown option");
	memcpy(text, "unix:", 5);
	text[OPTION_TEXT_MAX] = 'x';
	text[sizeof text - 1] = '\0';
	refuses("--console", text, "--console");
	refuses("--cpus", text, "--cpus");
	refuses("--memory", text, "--memory");
	text[64] = '\0';
	refuses("--name", text, "--name");
}

static void test_sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
	    {"0", 0},
	    {"1048576", 1048576},
	    {"1K", 1024},
	    {"512M", UINT64_C(512) << 20},
	    {"2G", UINT64_C(2) << 30},
	    {"2g", UINT64_C(2) << 30},
	    {"3T", UINT64_C(3) << 40},
	    {"18446744073709551615", UINT64_MAX},
	    {"16777215T", UINT64_C(16777215) << 40},
	};
	static const char *const bad[] = {"", "M", "-1", "+1", " 1", "1 ", "1.5G", "0x10", "1X",
	    "1MM", "G1", "18446744073709551616", "16777216T", "99999999999999999999999999K",
	    "1\xc3"};

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		struct err e = {0};
		uint64_t bytes = 1;

		assert_true(parse_size(good[i].text, &bytes, &e));
		assert_int_equal(bytes, good[i].bytes);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct err e = {0};
		uint64_t bytes = 1;

		assert_false(parse_size(bad[i], &bytes, &e));
		assert_int_equal(e.class, ERR_USAGE);
		assert_int_equal(bytes, 1);
	}
	assert_true(run_with("--memory", "2G"));
	assert_int_equal(options.memory_bytes, UINT64_C(2) << 30);
	refuses("--memory", "lots", "lots");
	/* In the words that were typed, with sizes that will do. */
	refuses("--memory", "300M", "--memory 300M");
	assert_string_equal(err.hint, "give --memory 256M or 512M");
	assert_true(run_with("--memory", "256M"));
	refuses("--memory", "1073741825", "--memory 1073741825");
	assert_string_equal(err.hint, "give --memory 1024M or 1280M");
	refuses("--memory", "1K", "--memory 1K");
	assert_string_equal(err.hint, "give --memory 256M or more");
	refuses("--memory", "0", "--memory 0");
}

static void check_memory(const char *text, uint64_t mib, uint64_t max_mib, bool by_event)
{
	assert_true(run_with("--memory", text));
	assert_int_equal(options.memory_bytes, mib << 20);
	assert_int_equal(options.max_memory_bytes, max_mib << 20);
	assert_int_equal(options.memory_by_event, by_event);
}

static void refuses_memory(const char *text, const char *message, const char *hint)
{
	refuses("--memory", text, "");
	assert_string_equal(err.message, message);
	assert_string_equal(err.hint, hint);
}

static void test_memory(void **state)
{
	static const char once[] = "write --memory size=2G,max=16G";
	static const char keys[] = "the keys are size, max, reset and shared";
	static const char unit[] =
	    "give a whole number with K, M, G or T behind it, like 512M or 2G";
	static const char reset[] = "give reset=boot or reset=event";

	(void)state;
	check_memory("1G", 1024, 0, false);
	check_memory("size=1G", 1024, 0, false);
	check_memory("1G,max=16G", 1024, 16384, false);
	check_memory("reset=event,max=4T,size=256M", 256, 4 << 20, true);
	check_memory("reset=boot,max=1G", 512, 1024, false);
	refuses_memory("1G,size=2G", "--memory names size twice; a size alone is size", once);
	refuses_memory("max=1G,max=1G", "--memory names max twice; a size alone is size", once);
	refuses_memory(
	    "reset=boot,reset=boot", "--memory names reset twice; a size alone is size", once);
	refuses_memory("slots=4", "--memory does not know \"slots=4\"", keys);
	refuses_memory("1G,=2G", "--memory does not know \"=2G\"", keys);
	refuses_memory("reset=never", "--memory reset cannot be \"never\"", reset);
	refuses_memory("reset=", "--memory reset cannot be \"\"", reset);
	refuses_memory("1G,max=300M", "--memory max=300M is not a multiple of 256M",
	    "give --memory max=256M or max=512M");
	refuses_memory("size=1K", "--memory size=1K is not a multiple of 256M",
	    "give --memory size=256M or more");
	refuses_memory("1G,", "--memory \"1G,\" has an empty item", once);
	refuses_memory("1G,,max=2G", "--memory \"1G,,max=2G\" has an empty item", once);
	refuses("--memory", "1G,max=", "");
	assert_string_equal(err.hint, unit);
	/* The last one counts, and for all that it leaves out. */
	assert_true(parse(COMMAND_RUN, "--kernel=k", "--memory", "2G,max=4G,reset=event",
	    "--memory=max=1G", NULL, NULL));
	assert_int_equal(options.memory_bytes, 512 << 20);
	assert_int_equal(options.max_memory_bytes, 1 << 30);
	assert_false(options.memory_by_event);
	assert_true(config_with("{\"memory\": \"size=1G,max=2G,reset=event\"}"));
	assert_int_equal(options.max_memory_bytes, UINT64_C(2) << 30);
	assert_true(options.memory_by_event);
	config_refuses("{\"memory\": {\"size\": \"1G\"}}", "memory");
}

static void check_cpus(const char *text, uint32_t boot, uint32_t max, uint32_t threads)
{
	assert_true(run_with("--cpus", text));
	assert_int_equal(options.boot_cpus, boot);
	assert_int_equal(options.max_cpus, max);
	assert_int_equal(options.threads, threads);
}

static void test_cpus(void **state)
{
	(void)state;
	check_cpus("4", 4, 4, 1);
	check_cpus("boot=2", 2, 2, 1);
	check_cpus("boot=2,max=8", 2, 8, 1);
	check_cpus("threads=4,max=16,boot=8", 8, 16, 4);
	check_cpus("threads=8", 8, 8, 8);
	check_cpus("max=4", 1, 4, 1);
	check_cpus("boot=4294967295", UINT32_MAX, UINT32_MAX, 1);
	refuses("--cpus", "", "boot");
	refuses("--cpus", "0", "boot");
	refuses("--cpus", "boot=0", "boot");
	refuses("--cpus", "boot=2,", "boot");
	refuses("--cpus", "boot=2,boot=3", "twice");
	refuses("--cpus", "boot=-1", "boot");
	refuses("--cpus", "max=4294967296", "max");
	refuses("--cpus", "max=x", "max");
	refuses("--cpus", "cores=2", "cores");
	refuses("--cpus", "=2", "does not know");
}

static void test_console(void **state)
{
	(void)state;
	assert_true(run_with("--console", "none"));
	assert_int_equal(options.console, CONSOLE_NONE);
	assert_true(run_with("--console", "pty"));
	assert_int_equal(options.console, CONSOLE_PTY);
	assert_true(run_with("--console", "stdio"));
	assert_int_equal(options.console, CONSOLE_STDIO);
	assert_true(run_with("--console", "file:/tmp/a:b"));
	assert_int_equal(options.console, CONSOLE_FILE);
	assert_string_equal(options.console_path, "/tmp/a:b");
	assert_true(run_with("--console", "unix:s"));
	assert_int_equal(options.console, CONSOLE_UNIX);
	assert_string_equal(options.console_path, "s");
	refuses("--console", "file:", "path");
	refuses("--console", "file", "file");
	refuses("--console", "tcp:1", "tcp:1");
	refuses("--console", "ptyx", "ptyx");
}

static void test_deadline(void **state)
{
	static const char *const bad[] = {"0", "0.000", "", ".", "1.", "1.0001", "-1", "86401",
	    "86400.001", "1e3", "1.-1", "1.5s"};

	(void)state;
	assert_true(run_with("--unplug-deadline", "3"));
	assert_int_equal(options.unplug_deadline_ms, 3000);
	assert_true(run_with("--unplug-deadline", "0.5"));
	assert_int_equal(options.unplug_deadline_ms, 500);
	assert_true(run_with("--unplug-deadline", "1.25"));
	assert_int_equal(options.unplug_deadline_ms, 1250);
	assert_true(run_with("--unplug-deadline", "86400.000"));
	assert_int_equal(options.unplug_deadline_ms, 86400000);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		refuses("--unplug-deadline", bad[i], "--unplug-deadline");
}

static void test_unknown(void **state)
{
	(void)state;
	refuses("--kernal", "x", "--kernal");
	assert_non_null(strstr(err.hint, "--help"));
	refuses("--mem", "1G", "--mem");
	refuses("--unplug-dedline=3", NULL, "--unplug-dedline");
	refuses("--nmae", "x", "--nmae");
	refuses("--zzzzzzzzz", NULL, "--zzzzzzzzz");
	assert_null(strstr(err.hint, "did you mean"));
	refuses("--", NULL, "--");
	refuses("-", NULL, "-");
	refuses("-x", NULL, "-x");
	refuses("vmlinux", NULL, "vmlinux");
	refuses("--json", NULL, "--json");
	assert_non_null(strstr(err.hint, "another command"));
	refuses("--no-reboot=yes", NULL, "--no-reboot");
	refuses("--memory", NULL, "--memory");
}

/* An empty value is a mistake, but for a command line, which may be empty. */
static void test_empty(void **state)
{
	static const char *const names[] = {"--initrd", "--control", "--name", "--uuid", "--config",
	    "--console", "--cpus", "--memory", "--unplug-deadline", "--log-level", "--kvm-fd",
	    "--hotplug-ports"};

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		refuses(names[i], "", names[i]);
	assert_false(parse(COMMAND_RUN, "--kernel=", NULL, NULL, NULL, NULL, NULL));
	assert_non_null(strstr(err.message, "--kernel"));
	assert_false(parse(COMMAND_DTB, "-o", "", NULL, NULL, NULL, NULL));
	assert_non_null(strstr(err.message, "--output"));
	config_refuses("{\"control\": \"\"}", "--control");
	assert_true(run_with("--append", ""));
	assert_string_equal(options.append, "");
}

static void test_ports(void **state)
{
	(void)state;
	assert_true(run_with("--pci", NULL));
	assert_int_equal(options_machine(&options).pci_ports, 0);
	assert_true(run_with("--hotplug-ports", "31"));
	assert_int_equal(options_machine(&options).pci_ports, 31);
	assert_true(options_machine(&options).pci);
	refuses("--hotplug-ports", "32", "--hotplug-ports");
	refuses("--hotplug-ports", "-1", "--hotplug-ports");
	config_refuses("{\"hotplug-ports\": 32}", "--hotplug-ports");
}

/* The kind of guest: each option is one of the words that --help shows. */
static void test_mode(void **state)
{
	static const char *const options_of[] = {"--accel", "--mmu", "--irqchip", "--cpu"};

	(void)state;
	assert_true(run_with("--mmu", "hash"));
	assert_int_equal(options.mode.mmu, KVM_MMU_HASH);
	assert_int_equal(options.mode.irqchip, KVM_IRQCHIP_AUTO);
	assert_true(run_with("--mmu", "auto"));
	assert_int_equal(options.mode.mmu, KVM_MMU_AUTO);
	assert_true(run_with("--irqchip", "xive"));
	assert_int_equal(options.mode.irqchip, KVM_IRQCHIP_XIVE);
	assert_true(run_with("--accel", "pr"));
	assert_int_equal(options.mode.accel, KVM_ACCEL_PR);
	assert_true(run_with("--cpu", "power11"));
	assert_int_equal(options.mode.cpu, KVM_CPU_POWER11);
	for (size_t i = 0; i < sizeof options_of / sizeof options_of[0]; i++) {
		static const char *const bad[] = {"radi", "hashx", "HASH", "|", "x|y", "power1"};

		for (size_t j = 0; j < sizeof bad / sizeof bad[0]; j++) {
			refuses(options_of[i], bad[j], options_of[i]);
			assert_non_null(strstr(err.hint, "give one of "));
		}
	}
}

/* What other programs call it: ours is named, or it is said that there is none. */
static void test_others(void **state)
{
	static const struct {
		const char *typed, *hint;
	} rows[] = {
	    {"--smp", "--cpus"},
	    {"-smp", "--cpus"},
	    {"-m", "--memory"},
	    {"-kernel", "did you mean --kernel"},
	    {"-append", "did you mean --append"},
	    {"-initrd=x", "did you mean --initrd"},
	    {"-name", "did you mean --name"},
	    {"-cpu", "did you mean --cpu"},
	    {"-M", "one machine"},
	    {"-machine", "one machine"},
	    {"-accel", "did you mean --accel"},
	    {"-enable-kvm", "one machine"},
	    {"-qmp", "--control"},
	    {"-monitor", "--control"},
	    {"--socket", "--control"},
	    {"-serial", "--console"},
	    {"-nographic", "--console"},
	    {"-drive", "--disk"},
	    {"-netdev", "--net"},
	    {"-device", "cores"},
	    {"--version", "paprika --version"},
	    {"-help", "did you mean --help"},
	    {"-json", "another command"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		refuses(rows[i].typed, "x", "unknown option");
		assert_non_null(strstr(err.hint, rows[i].hint));
	}
	assert_false(parse(COMMAND_DTB, "-output", "x", NULL, NULL, NULL, NULL));
	assert_string_equal(err.hint, "did you mean --output?");
}

static void test_share(void **state)
{
	static const struct {
		const char *text, *message;
	} wrong[] = {
	    {"tag=a", "either dir or socket"},
	    {"dir=/a,socket=/b,tag=a", "either dir or socket"},
	    {"dir=/a", "names no tag"},
	    {"dir=,tag=a", "--share dir cannot be"},
	    {"dir=/a,tag=1234567890123456789012345678901234567", "--share tag cannot be"},
	    {"socket=/a,tag=a,readonly", "readonly is for dir"},
	    {"dir=/a,tag=a,readonly=maybe", "--share readonly cannot be"},
	    {"dir=/a,tag=a,dir=/b", "names dir twice"},
	    {"dir=/a,tag=a,id=-", "--share id cannot be"},
	    {"dir=/a,tag=a,other=1", "does not know"},
	    {"dir=/a,tag=a,other", "does not know"},
	};

	(void)state;
	assert_true(run_with("--share", "dir=/a,,b,tag=x,readonly"));
	assert_string_equal(options.shares[0].dir, "/a,b");
	assert_string_equal(options.shares[0].tag, "x");
	assert_string_equal(options.shares[0].id, "share0");
	assert_true(options.shares[0].readonly);
	assert_true(options_have_pci(&options));
	assert_true(options_share_memory(&options));
	assert_true(options_have_vhost(&options));
	assert_true(
	    run_with("--share", "socket=/s,tag=123456789012345678901234567890123456,id=files"));
	assert_string_equal(options.shares[0].socket, "/s");
	assert_string_equal(options.shares[0].id, "files");
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		refuses("--share", wrong[i].text, wrong[i].message);
}

static void test_vhost_disk(void **state)
{
	(void)state;
	assert_true(run_with("--disk", "vhost=/s,id=d,queues=2"));
	assert_string_equal(options.disks[0].vhost, "/s");
	assert_true(options_share_memory(&options));
	assert_true(run_with("--disk", "file=/s"));
	assert_false(options_share_memory(&options));
	refuses("--disk", "vhost=/s,file=/f", "both a file and a vhost socket");
	refuses("--disk", "vhost=/s,readonly", "are for file");
	refuses("--disk", "vhost=/s,direct", "are for file");
	refuses("--disk", "vhost=/s,serial=x", "are for file");
	refuses("--disk", "id=d", "names no file");
}

static void test_vsock(void **state)
{
	static const char *const wrong[] = {
	    "3", "cid=", "cid=2", "cid=4294967295", "cid=-5", "cid=7x", "cid= 7", "cid=0x10"};

	(void)state;
	assert_true(run_with("--vsock", "cid=3"));
	assert_int_equal(options.vsock_cid, 3);
	assert_true(options_have_pci(&options));
	assert_true(options_have_vhost(&options));
	assert_false(options_share_memory(&options));
	assert_true(run_with("--vsock", "cid=4294967294"));
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		refuses("--vsock", wrong[i], "--vsock cannot be");
	assert_true(run_with("--memory", "1G,shared"));
	assert_true(options_share_memory(&options));
	assert_int_equal(options.memory_bytes, UINT64_C(1) << 30);
	assert_true(options_have_pci(&options));
	refuses("--memory", "1G,shared,shared", "names shared twice");
}

/* The next option is no value. */
static void test_no_value(void **state)
{
	(void)state;
	refuses("--initrd", "--no-reboot", "--initrd needs a value, and not --no-reboot");
	assert_string_equal(err.hint, "write --initrd FILE");
	refuses("--initrd", NULL, "--initrd needs a value");
	assert_true(run_with("--append", "-- single"));
	assert_true(run_with("--append", "--verbose"));
	assert_true(run_with("--initrd=--no-reboot", NULL));
	assert_string_equal(options.initrd, "--no-reboot");
}

static void test_commands(void **state)
{
	(void)state;
	assert_false(parse(COMMAND_RUN, NULL, NULL, NULL, NULL, NULL, NULL));
	assert_non_null(strstr(err.message, "kernel"));
	assert_true(parse(COMMAND_CHECK, "--json", NULL, NULL, NULL, NULL, NULL));
	assert_true(options.json);
	assert_false(parse(COMMAND_CHECK, "--kernel", "k", NULL, NULL, NULL, NULL));
	assert_true(parse(COMMAND_DTB, "-o", "f", "--cpus", "2", NULL, NULL));
	assert_string_equal(options.output, "f");
	assert_int_equal(options.boot_cpus, 2);
	assert_true(parse(COMMAND_DTB, "-of", NULL, NULL, NULL, NULL, NULL));
	assert_string_equal(options.output, "f");
	assert_true(parse(COMMAND_DTB, "-o", "-", NULL, NULL, NULL, NULL));
	assert_string_equal(options.output, "-");
	assert_false(parse(COMMAND_DTB, NULL, NULL, NULL, NULL, NULL, NULL));
	assert_false(parse(COMMAND_DTB, "-o", "f", "--initrd", "i", NULL, NULL));
	assert_true(parse(COMMAND_RUN, "--help", "--nonsense", NULL, NULL, NULL, NULL));
	assert_true(options.help);
	assert_true(parse(COMMAND_DTB, "-h", NULL, NULL, NULL, NULL, NULL));
	assert_true(options.help);
}

static void test_config(void **state)
{
	(void)state;
	assert_true(config_with("{}"));
	assert_true(
	    config_with("{\"initrd\": \"i\", \"append\": \"a b\", \"cpus\": \"boot=2,max=4\","
	                " \"memory\": 1073741824, \"control\": \"c\", \"console\": \"file:x\","
	                " \"unplug-deadline\": 2.5, \"no-reboot\": true, \"name\": \"n\","
	                " \"log-level\": \"info\"}"));
	assert_string_equal(options.kernel, "k");
	assert_string_equal(options.initrd, "i");
	assert_string_equal(options.append, "a b");
	assert_int_equal(options.boot_cpus, 2);
	assert_int_equal(options.max_cpus, 4);
	assert_int_equal(options.memory_bytes, 1 << 30);
	assert_string_equal(options.control, "c");
	assert_int_equal(options.console, CONSOLE_FILE);
	assert_string_equal(options.console_path, "x");
	assert_int_equal(options.unplug_deadline_ms, 2500);
	assert_true(options.no_reboot);
	assert_string_equal(options.name, "n");
	assert_int_equal(options.log_level, LOG_INFO);
	assert_true(config_with("{\"cpus\": {\"boot\": 4, \"max\": 8, \"threads\": 4}}"));
	assert_int_equal(options.boot_cpus, 4);
	assert_int_equal(options.max_cpus, 8);
	assert_int_equal(options.threads, 4);
	assert_true(config_with("{\"memory\": \"1G\", \"cpus\": 3, \"unplug-deadline\": 7}"));
	assert_int_equal(options.memory_bytes, 1 << 30);
	assert_int_equal(options.boot_cpus, 3);
	assert_int_equal(options.unplug_deadline_ms, 7000);
}

static void test_config_order(void **state)
{
	(void)state;
	write_config("{\"kernel\": \"from-file\", \"no-reboot\": false}");
	assert_true(
	    parse(COMMAND_RUN, "--no-reboot", "--config", config_path, "--kernel", "later", NULL));
	assert_string_equal(options.kernel, "later");
	assert_false(options.no_reboot);
	assert_true(parse(COMMAND_RUN, "--config", config_path, NULL, NULL, NULL, NULL));
	assert_string_equal(options.kernel, "from-file");
	/* The same file serves another command. */
	write_config("{\"kernel\": \"k\", \"control\": \"c\"}");
	assert_true(parse(COMMAND_DTB, "-o", "f", "--config", config_path, NULL, NULL));
}

static void test_config_errors(void **state)
{
	(void)state;
	config_refuses("", "line");
	config_refuses("[]", "object");
	config_refuses("{\"kernel\": \"a\", \"kernel\": \"b\"}", "kernel");
	config_refuses("{\"kernel\": }", "line 1");
	config_refuses("{\"kernel\": \"a\\u0000b\"}", "line 1");
	config_refuses("{\"kernal\": \"a\"}", "kernal");
	assert_non_null(strstr(err.hint, "long option names"));
	config_refuses("{\"config\": \"other.json\"}", "config");
	config_refuses("{\"output\": \"x\"}", "output");
	config_refuses("{\"help\": true}", "help");
	config_refuses("{\"\": 1}", "unknown key");
	config_refuses("{\"kernel\": 1}", "kernel");
	config_refuses("{\"kernel\": null}", "kernel");
	config_refuses("{\"no-reboot\": \"yes\"}", "no-reboot");
	config_refuses("{\"memory\": true}", "memory");
	config_refuses("{\"memory\": 1.5}", "memory");
	config_refuses("{\"memory\": -1}", "-1");
	config_refuses("{\"memory\": 99999999999999999999}", "line 1");
	config_refuses("{\"cpus\": []}", "cpus");
	config_refuses("{\"cpus\": {}}", "cpus");
	config_refuses("{\"cpus\": {\"boot\": \"2\"}}", "cpus.boot");
	config_refuses("{\"cpus\": {\"boot\": -2}}", "boot");
	config_refuses("{\"cpus\": {\"cores\": 2}}", "cpus.cores");
	config_refuses("{\"cpus\": 0}", "boot");
	config_refuses("{\"unplug-deadline\": 1e308}", "--unplug-deadline");
	config_refuses("{\"unplug-deadline\": 0.0001}", "--unplug-deadline");
	config_refuses("{\"log-level\": \"loud\"}", "loud");
}

static void test_config_files(void **state)
{
	char fifo[64];

	(void)state;
	refuses("--config", "/nonexistent/file", "/nonexistent/file");
	refuses("--config", directory, directory);
	snprintf(fifo, sizeof fifo, "%s/fifo", directory);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	refuses("--config", fifo, fifo);
	unlink(fifo);
	/* Nested beyond reason. */
	{
		FILE *file = fopen(config_path, "w");

		assert_non_null(file);
		for (int i = 0; i < 100000; i++)
			putc('[', file);
		assert_int_equal(fclose(file), 0);
		refuses("--config", config_path, config_path);
		assert_int_equal(truncate(config_path, 2 << 20), 0);
		refuses("--config", config_path, config_path);
	}
}

static void test_help(void **state)
{
	char *text = NULL;
	size_t length = 0;
	FILE *file = open_memstream(&text, &length);

	(void)state;
	assert_non_null(file);
	options_help(file, COMMAND_RUN);
	assert_int_equal(fclose(file), 0);
	assert_non_null(strstr(text, "--kernel FILE"));
	assert_non_null(strstr(text, "--unplug-deadline S"));
	assert_non_null(strstr(text, "--config FILE"));
	assert_null(strstr(text, "--json"));
	free(text);
}

static int make_directory(void **state)
{
	(void)state;
	if (mkdtemp(directory) == NULL)
		return -1;
	snprintf(config_path, sizeof config_path, "%s/c.json", directory);
	return 0;
}

static void test_net(void **state)
{
	static const struct {
		const char *text, *word;
	} wrong[] = {
	    {"", "does not know"},
	    {"user", "\"user\""},
	    {"passt=1", "\"passt\""},
	    {"bridge=br0", "\"bridge\""},
	    {"tap=", "tap"},
	    {"tap=sixteen-letters-", "tap"},
	    {"unix=", "unix"},
	    {"fd=2", "fd"},
	    {"fd=x", "fd"},
	    {"fd=3:", "fd"},
	    {"fd=3:4:5:6:7:8:9:10", "too many"},
	    {"fd=3:4,queues=3", "queues=3"},
	    {"passt,queues=2", "queues=2"},
	    {"tap=t,queues=8", "queues"},
	    {"tap=t,queues=0", "queues"},
	    {"passt,mtu=67", "mtu"},
	    {"passt,mtu=65521", "mtu"},
	    {"passt,mtu", "mtu"},
	    {"passt,speed=1", "speed"},
	    {"passt,id=1", "id"},
	    {"passt,id=a,id=b", "id twice"},
	    {"passt,mac=52:54:00:12:34", "mac"},
	    {"passt,mac=52:54:00:12:34:5", "mac"},
	    {"passt,mac=52:54:00:12:34:567", "mac"},
	    {"passt,mac=52:54:00:12:34:5g", "mac"},
	    {"passt,mac=53:54:00:12:34:56", "mac"},
	    {"passt,mac=00:00:00:00:00:00", "mac"},
	};
	static const uint8_t mac[] = {0x52, 0x54, 0, 0x12, 0xab, 0xcd};
	uint8_t first[6], again[6];
	char path[200];

	(void)state;
	assert_true(parse(COMMAND_RUN, "--kernel", "k", "--net",
	    "passt,mac=52:54:00:12:aB:Cd,mtu=1400", "--net", "tap=tap0,queues=7,id=lan"));
	assert_int_equal(options.net_count, 2);
	assert_int_equal(options.nets[0].kind, NET_KIND_PASST);
	assert_memory_equal(options.nets[0].mac, mac, 6);
	assert_int_equal(options.nets[0].mtu, 1400);
	assert_string_equal(options.nets[0].id, "net0");
	assert_int_equal(options.nets[1].kind, NET_KIND_TAP);
	assert_string_equal(options.nets[1].path, "tap0");
	assert_int_equal(options.nets[1].queues, 7);
	assert_string_equal(options.nets[1].id, "lan");
	assert_true(run_with("--net", "unix=/a,,b"));
	assert_int_equal(options.nets[0].kind, NET_KIND_UNIX);
	assert_string_equal(options.nets[0].path, "/a,b");
	assert_true(options_have_pci(&options) && options_have_net(&options));
	assert_true(run_with("--net", "fd=3:40"));
	assert_int_equal(options.nets[0].fd_count, 2);
	assert_int_equal(options.nets[0].queues, 2);
	assert_int_equal(options.nets[0].fds[1], 40);
	assert_true(run_with("--disk", "file=f"));
	assert_false(options_have_net(&options));
	assert_true(run_with("--pci", NULL));
	assert_true(options_have_net(&options));
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		refuses("--net", wrong[i].text, wrong[i].word);
	snprintf(path, sizeof path, "unix=%0108d", 1);
	refuses("--net", path, "unix");
	assert_false(
	    parse(COMMAND_RUN, "--disk", "file=f,id=x", "--net", "passt,id=x", NULL, NULL));
	assert_non_null(strstr(err.message, "two devices"));
	/* Addresses that are not given: the same each time, others for others. */
	assert_true(parse(COMMAND_RUN, "--kernel", "k", "--name", "a", "--net", "passt"));
	options_mac(&options, "net0", first);
	options_mac(&options, "net0", again);
	assert_memory_equal(first, again, 6);
	assert_int_equal(first[0] & 3, 2);
	options_mac(&options, "net1", again);
	assert_memory_not_equal(first, again, 6);
	assert_true(parse(COMMAND_RUN, "--kernel", "k", "--name", "b", "--net", "passt"));
	options_mac(&options, "net0", again);
	assert_memory_not_equal(first, again, 6);
	/* In a file. */
	assert_true(config_with("{\"kernel\": \"k\", \"net\": [\"passt\", \"tap=t\"]}"));
	assert_int_equal(options.net_count, 2);
	assert_true(config_with("{\"kernel\": \"k\", \"net\": \"passt\"}"));
	assert_int_equal(options.net_count, 1);
}

static int remove_directory(void **state)
{
	(void)state;
	unlink(config_path);
	return rmdir(directory);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_defaults),
	    cmocka_unit_test(test_texts),
	    cmocka_unit_test(test_long_texts),
	    cmocka_unit_test(test_sizes),
	    cmocka_unit_test(test_memory),
	    cmocka_unit_test(test_cpus),
	    cmocka_unit_test(test_console),
	    cmocka_unit_test(test_deadline),
	    cmocka_unit_test(test_unknown),
	    cmocka_unit_test(test_empty),
	    cmocka_unit_test(test_ports),
	    cmocka_unit_test(test_mode),
	    cmocka_unit_test(test_others),
	    cmocka_unit_test(test_share),
	    cmocka_unit_test(test_vhost_disk),
	    cmocka_unit_test(test_vsock),
	    cmocka_unit_test(test_no_value),
	    cmocka_unit_test(test_commands),
	    cmocka_unit_test(test_config),
	    cmocka_unit_test(test_config_order),
	    cmocka_unit_test(test_config_errors),
	    cmocka_unit_test(test_config_files),
	    cmocka_unit_test(test_help),
	    cmocka_unit_test(test_net),
	};

	return cmocka_run_group_tests_name("options", tests, make_directory, remove_directory);
}
