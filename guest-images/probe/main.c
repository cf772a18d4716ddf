/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - the first vCPU: finds the device tree, prints that it is ready, and reads commands from
 * the console, accepting interrupts in between.
 *
 * A machine that boots kernels directly passes the tree in r3. A machine with firmware passes the
 * client interface in r5 instead; QEMU's pseries then returns a tree from a private hypervisor call
 * that negotiates the options which paprika assumes.
 */
#include "probe.h"

enum { LINE_MAX = 8192, TREE_MAGIC = (int32_t)0xd00dfeed, TREE_BYTES = 0x100000 };

void first_main(const uint8_t *fdt, uint64_t r4, uint64_t client_interface);

/* The argument of ibm,client-architecture-support (LoPAR B.6.2.3): a list of accepted processors
 * (any) and option vectors 1 to 5. Vector 5 asks for hot-plug events, radix and GTSE. */
static const uint8_t capabilities[] = {0, 0, 0, 0, 0, 0, 0, 0, /* mask, value: any processor */
    0xff, 0xff, 0, 0, 0, 0x4e, 0, 0,                           /* POWER9 */
    0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,                        /* the end */
    4,                                                         /* vectors, less 1 */
    2, 0, 0, 0x80,                                             /* 1: ISA 3.00 */
    0, 0x80, 0, 0x80, 0, 0x80,                                 /* 2 to 4: none */
    25, 0, 0, 0, 0, 0, 0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0x40};

/* Above the image, and above where a boot loader may have loaded it first. */
static uint8_t *const tree_buffer = (uint8_t *)0x800000;

static const uint8_t *find_tree(const uint8_t *fdt, uint64_t client_interface)
{
	if (client_interface == 0)
		return fdt;
	hcall(H_CAS, (uintptr_t)capabilities, (uintptr_t)tree_buffer, TREE_BYTES, 0);
	return tree_buffer + 4; /* a version number precedes it */
}

static void announce(const char *machine)
{
	uint32_t length = 0;
	const uint8_t *model = tree_property("/", "model", &length);

	/* A reset may have truncated the last line. */
	put_text("\n* probe ready ");
#ifdef __LITTLE_ENDIAN__
	put_text("le ");
#else
	put_text("be ");
#endif
	put_text(machine);
	put_text(" memory=");
	put_hex(
	    (uint64_t)tree_cell("/memory", "reg", 2, 0) << 32 | tree_cell("/memory", "reg", 3, 0));
	put_text(" model=");
	if (model != NULL)
		put_text((const char *)model);
	put_line();
}

/* Read a line from the console. */
static char *read_line(void)
{
	static char line[LINE_MAX];
	static uint8_t typed[16];
	static uint64_t have, at;
	size_t length = 0;

	for (;;) {
		uint64_t registers[9] = {console_unit};

		while (at < have) {
			char c = (char)typed[at++];

			if (c == '\n' || c == '\r') {
				line[length] = '\0';
				return line;
			}
			if (length < sizeof line - 1)
				line[length++] = c;
		}
		interrupts_take();
		plan_follow();
		hcall_raw(H_GET_TERM_CHAR, registers);
		have = registers[0] <= sizeof typed ? registers[0] : 0;
		at = 0;
		for (uint32_t i = 0; i < 16; i++)
			typed[i] = (uint8_t)(registers[1 + i / 8] >> (56 - 8 * (i % 8)));
		if (have == 0)
			cpu_nap();
	}
}

void first_main(const uint8_t *fdt, uint64_t r4, uint64_t client_interface)
{
	(void)r4;
	cpus_init();
	tree_set(find_tree(fdt, client_interface));
	console_unit = tree_cell("/vdevice/vty", "reg", 0, 0);
	interrupts_init();
	announce(client_interface == 0 ? "direct" : "firmware");
	for (;;) {
		char *line = read_line();

		if (*line != '\0')
			command_run(line);
	}
}
