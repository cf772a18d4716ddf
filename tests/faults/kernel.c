/* SPDX-License-Identifier: Apache-2.0 */
/* kernel.c - see kernel.h. */
#include "kernel.h"

#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CODE_AT = 4096, KERNEL_MAX = 65536 };

static void path_of(char path[256], const char *directory, const char *name)
{
	snprintf(path, 256, "%s/%s", directory, name);
}

void write_file(const char *directory, const char *name, const void *from, size_t length)
{
	char path[256];
	FILE *file;

	path_of(path, directory, name);
	file = fopen(path, "w");
	if (file == NULL || fwrite(from, 1, length, file) != length || fclose(file) != 0) {
		fprintf(stderr, "walk: %s: %s\n", path, strerror(errno));
		exit(2);
	}
}

void remove_file(const char *directory, const char *name)
{
	char path[256];

	path_of(path, directory, name);
	unlink(path);
}

void write_kernel(const char *directory, const void *code, size_t length)
{
	static unsigned char file[CODE_AT + KERNEL_MAX];
	Elf64_Ehdr header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2MSB, EV_CURRENT},
	    .e_type = htobe16(ET_EXEC),
	    .e_machine = htobe16(EM_PPC64),
	    .e_version = htobe32(EV_CURRENT),
	    .e_phoff = htobe64(sizeof header),
	    .e_ehsize = htobe16(sizeof header),
	    .e_phentsize = htobe16(sizeof(Elf64_Phdr)),
	    .e_phnum = htobe16(1)};
	Elf64_Phdr segment = {.p_type = htobe32(PT_LOAD),
	    .p_flags = htobe32(PF_R | PF_W | PF_X),
	    .p_offset = htobe64(CODE_AT),
	    .p_filesz = htobe64(length),
	    .p_memsz = htobe64(KERNEL_MAX)};

	memcpy(file, &header, sizeof header);
	memcpy(file + sizeof header, &segment, sizeof segment);
	memcpy(file + CODE_AT, code, length < KERNEL_MAX ? length : KERNEL_MAX);
	write_file(directory, "kernel", file, CODE_AT + length);
}
