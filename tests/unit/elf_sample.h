/* SPDX-License-Identifier: Apache-2.0 */
/* elf_sample.h - a small ELF kernel, for test_loader.c to break. */
#ifndef PAPRIKA_ELF_SAMPLE_H
#define PAPRIKA_ELF_SAMPLE_H

#include <elf.h>
#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define KERNEL_BASE UINT64_C(0xc000000000000000)

/* The two segments of the sample kernel: text at 0, data with some bss behind it. */
#define TEXT_BYTES 512u
#define DATA_BYTES 256u
#define DATA_PHYSICAL 0x10000u
#define BSS_BYTES 0x2345u
#define FILE_BYTES (sizeof(Elf64_Ehdr) + 2 * sizeof(Elf64_Phdr) + TEXT_BYTES + DATA_BYTES)

struct sample {
	Elf64_Ehdr header;
	Elf64_Phdr segments[2];
	uint8_t text[TEXT_BYTES];
	uint8_t data[DATA_BYTES];
};

/* A good kernel, fields in this machine's order; swap() gives them the file's. */
static struct sample good_sample(void)
{
	struct sample sample = {
	    .header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
	        .e_type = ET_EXEC,
	        .e_machine = EM_PPC64,
	        .e_version = EV_CURRENT,
	        .e_entry = KERNEL_BASE + 8,
	        .e_phoff = sizeof(Elf64_Ehdr),
	        .e_ehsize = sizeof(Elf64_Ehdr),
	        .e_phentsize = sizeof(Elf64_Phdr),
	        .e_phnum = 2},
	    .segments = {{.p_type = PT_LOAD,
	                     .p_offset = offsetof(struct sample, text),
	                     .p_vaddr = KERNEL_BASE,
	                     .p_filesz = TEXT_BYTES,
	                     .p_memsz = TEXT_BYTES},
	        {.p_type = PT_LOAD,
	            .p_offset = offsetof(struct sample, data),
	            .p_vaddr = KERNEL_BASE + DATA_PHYSICAL,
	            .p_paddr = DATA_PHYSICAL,
	            .p_filesz = DATA_BYTES,
	            .p_memsz = DATA_BYTES + BSS_BYTES}},
	};

	memset(sample.text, 0x11, sizeof sample.text);
	memset(sample.data, 0x22, sizeof sample.data);
	return sample;
}

static uint16_t order16(uint16_t value, bool big)
{
	return big ? htobe16(value) : htole16(value);
}

static uint32_t order32(uint32_t value, bool big)
{
	return big ? htobe32(value) : htole32(value);
}

static uint64_t order64(uint64_t value, bool big)
{
	return big ? htobe64(value) : htole64(value);
}

static struct sample in_file_order(struct sample sample, bool big)
{
	sample.header.e_ident[EI_DATA] = big ? ELFDATA2MSB : ELFDATA2LSB;
	sample.header.e_type = order16(sample.header.e_type, big);
	sample.header.e_machine = order16(sample.header.e_machine, big);
	sample.header.e_version = order32(sample.header.e_version, big);
	sample.header.e_entry = order64(sample.header.e_entry, big);
	sample.header.e_phoff = order64(sample.header.e_phoff, big);
	sample.header.e_phentsize = order16(sample.header.e_phentsize, big);
	sample.header.e_phnum = order16(sample.header.e_phnum, big);
	for (int i = 0; i < 2; i++) {
		Elf64_Phdr *segment = &sample.segments[i];

		segment->p_type = order32(segment->p_type, big);
		segment->p_flags = order32(segment->p_flags, big);
		segment->p_offset = order64(segment->p_offset, big);
		segment->p_vaddr = order64(segment->p_vaddr, big);
		segment->p_paddr = order64(segment->p_paddr, big);
		segment->p_filesz = order64(segment->p_filesz, big);
		segment->p_memsz = order64(segment->p_memsz, big);
	}
	return sample;
}

#endif
