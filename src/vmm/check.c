/* SPDX-License-Identifier: Apache-2.0 */
/* check.c - see check.h. src/kvm/check.c and sandbox.c find out what there is; the calls are rows
 * of spapr. This file only prints. */
#include "vmm/check.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kvm/kvm.h"
#include "sandbox/sandbox.h"
#include "spapr/spapr.h"
#include "vmm/passt.h"
#include "vmm/virtiofsd.h"

#define LINES_MAX 64

static const char *check_result_name(enum kvm_check_result result)
{
	switch (result) {
	case KVM_CHECK_OK: return "ok";
	case KVM_CHECK_WARN: return "warn";
	case KVM_CHECK_FAIL: break;
	}
	return "fail";
}

static void check_print_text(FILE *to, const struct kvm_check *lines, size_t count)
{
	int name_width = 0;

	for (size_t i = 0; i < count; i++)
		if ((int)strlen(lines[i].name) > name_width)
			name_width = (int)strlen(lines[i].name);
	for (size_t i = 0; i < count; i++) {
		fprintf(to, "%-4s  %-*s  %s", check_result_name(lines[i].result), name_width,
		    lines[i].name, lines[i].value);
		if (lines[i].remedy != NULL)
			fprintf(to, "  (%s)", lines[i].remedy);
		putc('\n', to);
	}
}

static bool check_print_json(FILE *to, const struct kvm_check *lines, size_t count)
{
	json_t *array = json_array();
	bool good;

	for (size_t i = 0; i < count; i++)
		json_array_append_new(
		    array, json_pack("{s:s, s:s, s:s, s:s*}", "name", lines[i].name, "result",
		               check_result_name(lines[i].result), "value", lines[i].value,
		               "remedy", lines[i].remedy));
	/* A failure to write stays with the stream, for the caller to find. */
	good = json_array_size(array) == count &&
	       (json_dumpf(array, to, JSON_INDENT(2)) == 0 || ferror(to));
	putc('\n', to);
	json_decref(array);
	return good;
}

static enum exit_code check_out_of_memory(void)
{
	struct err err = {0};

	err_system(&err, ENOMEM, NULL, "cannot write the answer in JSON");
	complain_error(&err);
	return exit_code_of(&err);
}

/* --- What devices of guests need that want it: none of it is needed otherwise ------------------
 */

static struct kvm_check check_virtiofsd(void)
{
	struct kvm_check line = {.name = "virtiofsd for --share dir", .result = KVM_CHECK_WARN};
	const char *limit, *path = virtiofsd_path(&limit);

	if (path == NULL) {
		line.remedy = "install virtiofsd, for shared directories only";
	} else if (limit != NULL) {
		line.remedy = "install the later virtiofsd, if you need that";
	} else {
		line.result = KVM_CHECK_OK;
	}
	snprintf(line.value, sizeof line.value, "%s%s%s", path != NULL ? path : "no",
	    limit != NULL ? ", which " : "", limit != NULL ? limit : "");
	return line;
}

static struct kvm_check check_passt(void)
{
	struct kvm_check line = {
	    .name = "passt for --net passt", .result = KVM_CHECK_OK, .value = "yes"};

	if (!passt_try(line.value, sizeof line.value, &line.remedy))
		line.result = KVM_CHECK_WARN;
	return line;
}

static struct kvm_check check_tap(void)
{
	struct kvm_check line = {.name = "/dev/net/tun for --net tap", .result = KVM_CHECK_OK};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		line.result = KVM_CHECK_WARN;
		line.remedy = errno == ENOENT ? "load the module tun, for taps only"
		                              : "let the user open it, for taps only";
	}
	snprintf(line.value, sizeof line.value, "%s", fd >= 0 ? "yes" : strerror(errno));
	if (fd >= 0)
		close(fd);
	return line;
}

static struct kvm_check check_vsock(void)
{
	struct kvm_check line = {
	    .name = "/dev/vhost-vsock for --vsock", .result = KVM_CHECK_OK, .value = "yes"};

	if (access("/dev/vhost-vsock", R_OK | W_OK) != 0) {
		line.result = KVM_CHECK_WARN;
		line.remedy = "load the module vhost_vsock, and let the user write to the file";
		snprintf(line.value, sizeof line.value, "no");
	}
	return line;
}

static size_t check_backends(struct kvm_check *lines, size_t max)
{
	static struct kvm_check (*const checks[])(void) = {
	    check_virtiofsd, check_passt, check_tap, check_vsock};
	size_t count = 0;

	for (; count < max && count < sizeof checks / sizeof checks[0]; count++)
		lines[count] = checks[count]();
	return count;
}

enum exit_code check_run(FILE *to, bool json)
{
	struct kvm_check lines[LINES_MAX];
	size_t count = kvm_check(lines, LINES_MAX);

	count += sandbox_check(lines + count, LINES_MAX - count);
	count += check_backends(lines + count, LINES_MAX - count);
	if (!json)
		check_print_text(to, lines, count);
	else if (!check_print_json(to, lines, count))
		return check_out_of_memory();
	for (size_t i = 0; i < count; i++)
		if (lines[i].result == KVM_CHECK_FAIL)
			return EXIT_HOST_LACKS;
	return EXIT_POWERED_OFF;
}

/* Which guests have a call: all, or those of some modes. */
static const char *check_modes_text(unsigned modes)
{
	static const struct {
		unsigned bits;
		const char *text;
	} names[] = {
	    {KVM_MODE_HASH | KVM_MODE_HV, "kvm-hv, hash"},
	    {KVM_MODE_HV, "kvm-hv"},
	    {KVM_MODE_PR, "kvm-pr"},
	    {KVM_MODE_HASH, "hash"},
	    {KVM_MODE_XICS, "XICS"},
	    {KVM_MODE_XIVE, "XIVE"},
	};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (names[i].bits == modes)
			return names[i].text;
	return "all";
}

static void check_print_calls(FILE *to, bool rtas)
{
	struct spapr_call call;

	fprintf(to, "\n## %s\n\n", rtas ? "RTAS services" : "Hypervisor calls");
	fprintf(to, "| %s | name | section | answered by | guests | |\n|---|---|---|---|---|---|\n",
	    rtas ? "token" : "number");
	for (size_t i = 0; spapr_call_info(i, &call); i++)
		if (call.rtas == rtas)
			fprintf(to, "| %#x | %s | %s | %s | %s | %s |\n", call.number, call.name,
			    call.section, call.answerer, check_modes_text(call.modes), call.about);
}

enum exit_code check_print_papr(FILE *to)
{
	fputs("# What a guest can call\n\n"
	      "Printed by `paprika check --papr`. The section is that of LoPAPR 1.1, where it is "
	      "known;\n"
	      "calls answered by KVM do not reach paprika. Some are there for some kinds of guests "
	      "only.\n",
	    to);
	check_print_calls(to, false);
	check_print_calls(to, true);
	return EXIT_POWERED_OFF;
}
