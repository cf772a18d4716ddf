/* SPDX-License-Identifier: Apache-2.0 */
/* option_unknown.c - what to say of an option that does not exist: what to write in its place. */
#include <stdio.h>
#include <string.h>

#include "vmm/option_row.h"

/* Names of options of QEMU and other programs, each between spaces, and what to do instead. Names
 * that this program has as well, like kernel, need no row. */
static const struct {
	const char *names, *hint;
} others[] = {
    {" smp vcpus ", "use --cpus boot=N,max=M,threads=T"},
    {" m ram maxmem ", "use --memory SIZE or --memory SIZE,max=SIZE, like --memory 2G,max=8G"},
    {" initramfs ramdisk ", "use --initrd FILE"},
    {" cmdline params ", "use --append S"},
    {" M machine enable-kvm ", "leave it out: there is one machine, and it runs under KVM"},
    {" qmp mon monitor socket api-sock ",
        "use --control PATH: a UNIX socket that speaks QMP, and paprikactl"},
    {" serial chardev nographic curses ",
        "leave it out: the console is on the terminal; --console puts it elsewhere"},
    {" display vga vnc spice usb audio ", "leave it out: a guest has a console and nothing else"},
    {" drive blockdev hda hdb cdrom ", "use --disk file=PATH"},
    {" disk net rng pci ", "use it with run and dtb"},
    {" boot ", "leave it out: the guest begins with --kernel"},
    {" netdev nic tap passt ", "use --net passt, --net tap=NAME or --net unix=PATH"},
    {" device object ", "use --disk, --net or --rng; `paprikactl` adds cores, memory and devices"},
    {" bios L rtc nodefaults no-user-config no-shutdown ",
        "leave it out: there is no firmware, and nothing but what was asked for"},
    {" S daemonize pidfile incoming ", "leave it out: there is nothing like it"},
    {" d D trace ", "use --log-level info or debug; the log goes to standard error"},
    {" version V ", "use paprika --version"},
};

static const char *option_other_hint(const char *typed, size_t length)
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
bool option_refuse(const char *typed, enum option_command command, struct err *err)
{
	const char *name = typed + strspn(typed, "-");
	size_t length = strcspn(name, "=");
	const struct option_row *row = option_find(name, length, command);
	const char *other = option_other_hint(name, length);
	char hint[128] = "--help lists what there is";

	if (other != NULL)
		snprintf(hint, sizeof hint, "%s", other);
	else if (row != NULL)
		snprintf(hint, sizeof hint, "did you mean --%s?", row->name);
	else if (option_find(name, length, COMMAND_RUN | COMMAND_CHECK | COMMAND_DTB) != NULL)
		snprintf(hint, sizeof hint,
		    "it belongs to another command; `paprika --help` lists them");
	length += (size_t)(name - typed);
	return err_set(
	    err, ERR_USAGE, hint, "unknown option %.*s", (int)(length > 66 ? 66 : length), typed);
}
