/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_loader.c - kernels and initrds, good ones and all kinds of broken ones.
 *
 * The rule for a broken file: refused with words that name it, or loaded within the bounds of
 * guest memory; never anything else. The sanitizers watch over the "never".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <elf.h>
#include <endian.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "elf_sample.h"
#include "vmm/loader.h"

#define MEMORY_BYTES (UINT64_C(12) << 20)
#define FDT_ADDRESS (UINT64_C(6) << 20)
#define HIGH_ADDRESS (UINT64_C(8) << 20)
#define PIE_ADDRESS UINT64_C(0x400000)

static char directory[] = "/tmp/paprika-loader-XXXXXX";
static char kernel_path[64], initrd_path[64];

static struct gmem gmem;
static struct spapr_layout layout = {.fdt = FDT_ADDRESS,
    .rtas = HIGH_ADDRESS - (64 << 10),
    .high = HIGH_ADDRESS,
    .low_end = UINT64_C(2) << 30,
    .hcall_instruction = 0x44000022};
static struct spapr_image image;
static struct err err;

static void write_file(const char *path, const void *bytes, size_t length)
{
	/* Written over in place: cutting a file off and writing it anew makes some file systems
	 * wait for the disk, some thousand times here. */
	FILE *file = fopen(path, "a");

	assert_non_null(file);
	assert_int_equal(fclose(file), 0);
	file = fopen(path, "r+");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, length, file), length);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(truncate(path, (off_t)length), 0);
}

/* Open and load what is in the two files. */
static bool try(bool initrd)
{
	struct loader *loader;
	bool good;

	err = (struct err){0};
	image = (struct spapr_image){0};
	assert_true(gmem_clear(&gmem, &err));
	loader = loader_create(kernel_path, initrd ? initrd_path : NULL, &err);
	good = loader != NULL && loader_load(loader, &gmem, &layout, &image, &err);
	loader_destroy(loader);
	assert_int_equal(good, err.class == ERR_NONE);
	return good;
}

static bool try_sample(const struct sample *sample, bool big)
{
	struct sample swapped = in_file_order(*sample, big);

	write_file(kernel_path, &swapped, sizeof swapped);
	return try(false);
}

static void refuses_kernel(const char *word)
{
	assert_false(try(false));
	assert_int_equal(err.class, ERR_USAGE);
	assert_non_null(strstr(err.message, word));
	assert_non_null(strstr(err.message, kernel_path));
	assert_string_not_equal(err.hint, "");
}

static void refuses_sample(const struct sample *sample, const char *word)
{
	for (int big = 0; big < 2; big++) {
		struct sample swapped = in_file_order(*sample, big != 0);

		write_file(kernel_path, &swapped, sizeof swapped);
		refuses_kernel(word);
	}
}

/* Whatever was loaded lies below the device tree, which nothing has touched. */
static void check_bounds(void)
{
	uint8_t end[4096];

	assert_true(image.end <= FDT_ADDRESS);
	assert_true(image.entry < image.end);
	assert_true(gmem_read(&gmem, FDT_ADDRESS, end, sizeof end));
	for (size_t i = 0; i < sizeof end; i++)
		assert_int_equal(end[i], 0);
}

static void test_good(void **state)
{
	(void)state;
	for (int big = 0; big < 2; big++) {
		struct sample sample = good_sample();
		uint8_t byte;

		assert_true(try_sample(&sample, big != 0));
		assert_int_equal(image.entry, 8);
		assert_int_equal(image.end, DATA_PHYSICAL + DATA_BYTES + BSS_BYTES);
		assert_int_equal(image.initrd_start, image.initrd_end);
		assert_true(gmem_read(&gmem, TEXT_BYTES - 1, &byte, 1));
		assert_int_equal(byte, 0x11);
		assert_true(gmem_read(&gmem, TEXT_BYTES, &byte, 1));
		assert_int_equal(byte, 0);
		assert_true(gmem_read(&gmem, DATA_PHYSICAL, &byte, 1));
		assert_int_equal(byte, 0x22);
		assert_true(gmem_read(&gmem, DATA_PHYSICAL + DATA_BYTES, &byte, 1));
		assert_int_equal(byte, 0);
		/* The entry is found where its segment lies, not by cutting off address bits. */
		sample.header.e_entry = KERNEL_BASE + DATA_PHYSICAL + 16;
		sample.segments[1].p_paddr = 0x20000;
		assert_true(try_sample(&sample, big != 0));
		assert_int_equal(image.entry, 0x20010);
		sample.header.e_type = ET_DYN;
		assert_true(try_sample(&sample, big != 0));
	}
}

/* Where a guest makes hypervisor calls with another instruction, its kernel's are replaced: in its
 * code, in the file's byte order, at multiples of four. */
static void test_hcalls(void **state)
{
	enum { SC_1 = 0x44000022, OTHER = 0x7c000268 };
	struct sample sample = good_sample();
	uint8_t none[2][TEXT_BYTES];

	(void)state;
	for (int big = 0; big < 2; big++) {
		uint32_t call = order32(SC_1, big != 0), other = order32(OTHER, big != 0);
		uint8_t text[TEXT_BYTES], data[DATA_BYTES];

		sample = good_sample();
		sample.segments[0].p_flags = PF_X | PF_R;
		sample.segments[1].p_flags = PF_R | PF_W;
		memcpy(sample.text, &call, sizeof call);
		memcpy(sample.text + 102, &call, sizeof call); /* no instruction is there */
		memcpy(sample.text + TEXT_BYTES - 4, &call, sizeof call);
		memcpy(sample.data, &call, sizeof call);
		layout.hcall_instruction = OTHER;
		for (int round = 0; round < 2; round++) {
			assert_true(try_sample(&sample, big != 0));
			assert_true(gmem_read(&gmem, 0, text, sizeof text));
			assert_true(gmem_read(&gmem, DATA_PHYSICAL, data, sizeof data));
			assert_memory_equal(text, &other, 4);
			assert_memory_equal(text + 102, &call, 4);
			assert_memory_equal(text + TEXT_BYTES - 4, &other, 4);
			assert_memory_equal(data, &call, 4);
		}
		layout.hcall_instruction = SC_1;
		assert_true(try_sample(&sample, big != 0));
		assert_true(gmem_read(&gmem, 0, none[big], TEXT_BYTES));
		assert_memory_equal(none[big], sample.text, TEXT_BYTES);
	}
	/* A kernel without any would not get far. */
	sample = good_sample();
	sample.segments[0].p_flags = PF_X | PF_R;
	layout.hcall_instruction = OTHER;
	refuses_sample(&sample, "makes no hypervisor calls");
	layout.hcall_instruction = SC_1;
}

static void test_initrd(void **state)
{
	struct sample sample = in_file_order(good_sample(), false);
	uint8_t bytes[100], back[100];
	uint64_t start = 0x20000; /* the first 64 KiB boundary behind the bss */

	(void)state;
	write_file(kernel_path, &sample, sizeof sample);
	memset(bytes, 0x33, sizeof bytes);
	write_file(initrd_path, bytes, sizeof bytes);
	assert_true(try(true));
	assert_int_equal(image.initrd_start, start);
	assert_int_equal(image.initrd_end, start + sizeof bytes);
	assert_true(gmem_read(&gmem, start, back, sizeof back));
	assert_memory_equal(back, bytes, sizeof back);
	/* Up to the last byte there is room for, and not one further. */
	assert_int_equal(truncate(initrd_path, (off_t)(FDT_ADDRESS - start)), 0);
	assert_true(try(true));
	check_bounds();
	assert_int_equal(image.initrd_end, FDT_ADDRESS);
	assert_int_equal(truncate(initrd_path, (off_t)(FDT_ADDRESS - start + 1)), 0);
	assert_false(try(true));
	assert_int_equal(err.class, ERR_USAGE);
	assert_non_null(strstr(err.message, initrd_path));
	assert_non_null(strstr(err.hint, "--memory"));
	/* Above what the machine keeps, if there is no room below. */
	sample = good_sample();
	sample.segments[1].p_memsz = FDT_ADDRESS - DATA_PHYSICAL;
	sample = in_file_order(sample, false);
	write_file(kernel_path, &sample, sizeof sample);
	write_file(initrd_path, bytes, sizeof bytes);
	assert_true(try(true));
	check_bounds();
	assert_int_equal(image.initrd_start, HIGH_ADDRESS);
	assert_true(gmem_read(&gmem, HIGH_ADDRESS, back, sizeof back));
	assert_memory_equal(back, bytes, sizeof back);
	assert_int_equal(truncate(initrd_path, (off_t)(MEMORY_BYTES - HIGH_ADDRESS)), 0);
	assert_true(try(true));
	assert_int_equal(image.initrd_end, MEMORY_BYTES);
	assert_int_equal(truncate(initrd_path, (off_t)(MEMORY_BYTES - HIGH_ADDRESS + 1)), 0);
	assert_false(try(true));
	/* Sparse and absurd. */
	assert_int_equal(truncate(initrd_path, (off_t)1 << 42), 0);
	assert_false(try(true));
	assert_int_equal(err.class, ERR_USAGE);
	assert_int_equal(truncate(initrd_path, 0), 0);
	assert_false(try(true));
	assert_non_null(strstr(err.message, "empty"));
	unlink(initrd_path);
	assert_false(try(true));
	assert_non_null(strstr(err.message, initrd_path));
	assert_int_equal(err.class, ERR_USAGE);
}

/* A static PIE linked at 0 would cover the interrupt vectors: it goes 4 MiB up, as a whole. */
static void test_pie(void **state)
{
	(void)state;
	for (int big = 0; big < 2; big++) {
		struct sample sample = good_sample();
		uint8_t byte;

		sample.header.e_type = ET_DYN;
		sample.header.e_entry = 8;
		sample.segments[0].p_vaddr = 0;
		sample.segments[1].p_vaddr = DATA_PHYSICAL;
		assert_true(try_sample(&sample, big != 0));
		assert_int_equal(image.entry, PIE_ADDRESS + 8);
		assert_int_equal(image.end, PIE_ADDRESS + DATA_PHYSICAL + DATA_BYTES + BSS_BYTES);
		assert_true(gmem_read(&gmem, PIE_ADDRESS + DATA_PHYSICAL, &byte, 1));
		assert_int_equal(byte, 0x22);
		assert_true(gmem_read(&gmem, 0, &byte, 1));
		assert_int_equal(byte, 0);
		check_bounds();
		/* One that is linked there already stays. */
		sample.header.e_entry += PIE_ADDRESS;
		for (int i = 0; i < 2; i++) {
			sample.segments[i].p_vaddr += PIE_ADDRESS;
			sample.segments[i].p_paddr += PIE_ADDRESS;
		}
		assert_true(try_sample(&sample, big != 0));
		assert_int_equal(image.entry, PIE_ADDRESS + 8);
		/* What is linked at 0 to lie there, does. */
		sample = good_sample();
		sample.header.e_entry = 8;
		sample.segments[0].p_vaddr = 0;
		sample.segments[1].p_vaddr = DATA_PHYSICAL;
		assert_true(try_sample(&sample, big != 0));
		assert_int_equal(image.entry, 8);
		/* Moved, it may be too high, or past the last address. */
		sample.header.e_type = ET_DYN;
		sample.segments[1].p_memsz = FDT_ADDRESS - PIE_ADDRESS - DATA_PHYSICAL;
		assert_true(try_sample(&sample, big != 0));
		sample.segments[1].p_memsz++;
		refuses_sample(&sample, "needs memory up to");
		sample.segments[1].p_memsz = UINT64_MAX - DATA_PHYSICAL;
		refuses_sample(&sample, "last address");
	}
}

/* What helps is said, or that nothing does: the machine keeps what lies below 2 GiB. */
static void test_memory_hints(void **state)
{
	struct sample sample = good_sample();

	(void)state;
	sample.segments[1].p_memsz = UINT64_C(300) << 20;
	refuses_sample(&sample, "needs memory up to 301 MiB");
	assert_string_equal(err.hint, "give --memory 512M or more, or a smaller kernel");
	sample.segments[1].p_memsz = UINT64_C(2) << 30;
	refuses_sample(&sample, "needs memory up to 2049 MiB");
	assert_null(strstr(err.hint, "--memory"));
	sample = good_sample();
	sample.segments[1].p_paddr = KERNEL_BASE;
	refuses_sample(&sample, "needs memory");
	assert_null(strstr(err.hint, "--memory"));
	sample = in_file_order(good_sample(), false);
	write_file(kernel_path, &sample, sizeof sample);
	write_file(initrd_path, "x", 1);
	assert_int_equal(truncate(initrd_path, (off_t)600 << 20), 0);
	assert_false(try(true));
	assert_string_equal(err.hint, "give --memory 768M or more, or a smaller initrd");
	assert_int_equal(truncate(initrd_path, (off_t)5 << 30), 0);
	assert_false(try(true));
	assert_string_equal(err.hint, "give --memory 7168M or more, or a smaller initrd");
}

static void test_truncated(void **state)
{
	struct sample sample = in_file_order(good_sample(), false);

	(void)state;
	assert_int_equal(sizeof sample, FILE_BYTES);
	for (size_t length = 0; length < sizeof sample; length++) {
		write_file(kernel_path, &sample, length);
		refuses_kernel(length == 0 ? "empty" : length < 4 ? "not an ELF" : "truncated");
	}
}

/* Change every byte of the headers in turn. */
static void test_flipped(void **state)
{
	static const uint8_t patterns[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
	const size_t headers = offsetof(struct sample, text);

	(void)state;
	for (int big = 0; big < 2; big++) {
		for (size_t at = 0; at < headers * (sizeof patterns + 1); at++) {
			struct sample sample = in_file_order(good_sample(), big != 0);
			uint8_t *byte = (uint8_t *)&sample + at % headers;

			if (at / headers < sizeof patterns)
				*byte = patterns[at / headers];
			else
				*byte ^= 0x55;
			write_file(kernel_path, &sample, sizeof sample);
			if (try(false)) {
				check_bounds();
			} else {
				assert_int_equal(err.class, ERR_USAGE);
				assert_non_null(strstr(err.message, kernel_path));
			}
		}
	}
}

/* Extreme values in every field of a program header, alone and in pairs. */
static void test_extreme_segments(void **state)
{
	static const uint64_t values[] = {0, 1, TEXT_BYTES + 1, FDT_ADDRESS - 1, FDT_ADDRESS,
	    MEMORY_BYTES, INT64_MAX, UINT64_C(1) << 63, UINT64_MAX - TEXT_BYTES, UINT64_MAX};
	const size_t count = sizeof values / sizeof values[0];

	(void)state;
	for (size_t n = 0; n < 5 * 5 * count * count; n++) {
		struct sample sample = good_sample();
		uint64_t *fields[] = {&sample.segments[1].p_offset, &sample.segments[1].p_vaddr,
		    &sample.segments[1].p_paddr, &sample.segments[1].p_filesz,
		    &sample.segments[1].p_memsz};

		*fields[n % 5] = values[n / 25 % count];
		*fields[n / 5 % 5] = values[n / 25 / count];
		if (try_sample(&sample, n % 2 != 0))
			check_bounds();
		else
			assert_int_equal(err.class, ERR_USAGE);
	}
}

static void test_headers(void **state)
{
	struct sample sample;

	(void)state;
	sample = good_sample();
	sample.header.e_phnum = 0xffff;
	refuses_sample(&sample, "64 program headers");
	sample.header.e_phnum = 0;
	refuses_sample(&sample, "no program headers");
	sample = good_sample();
	sample.header.e_phoff = UINT64_MAX - 8;
	refuses_sample(&sample, "truncated");
	sample = good_sample();
	sample.header.e_phentsize = 32;
	refuses_sample(&sample, "odd size");
	sample = good_sample();
	sample.header.e_type = ET_REL;
	refuses_sample(&sample, "object file");
	sample = good_sample();
	sample.header.e_type = ET_CORE;
	refuses_sample(&sample, "cannot be run");
	sample = good_sample();
	sample.header.e_entry = 0;
	refuses_sample(&sample, "entry point");
	sample.header.e_entry = KERNEL_BASE + TEXT_BYTES;
	refuses_sample(&sample, "entry point");
	sample.header.e_entry = KERNEL_BASE + 2;
	refuses_sample(&sample, "entry point");
	sample = good_sample();
	sample.header.e_ident[EI_CLASS] = ELFCLASS32;
	refuses_sample(&sample, "32-bit");
	sample = good_sample();
	sample.header.e_ident[EI_CLASS] = 7;
	refuses_sample(&sample, "damaged");
	sample = good_sample();
	sample.segments[0].p_type = sample.segments[1].p_type = PT_NOTE;
	refuses_sample(&sample, "nothing to load");
	sample.segments[0].p_type = PT_INTERP;
	refuses_sample(&sample, "program");
}

static void test_segments(void **state)
{
	struct sample sample;

	(void)state;
	sample = good_sample();
	sample.segments[1].p_memsz = DATA_BYTES - 1;
	refuses_sample(&sample, "larger in the file");
	sample.segments[1].p_memsz = UINT64_MAX - 1;
	refuses_sample(&sample, "last address");
	/* Two that overlap, and each alone is more than there is. */
	sample.segments[0].p_memsz = sample.segments[1].p_memsz = UINT64_C(1) << 40;
	refuses_sample(&sample, "memory up to");
	assert_null(strstr(err.hint, "--memory"));
	sample = good_sample();
	sample.segments[1].p_paddr = FDT_ADDRESS - DATA_BYTES - BSS_BYTES;
	assert_true(try_sample(&sample, true));
	check_bounds();
	sample.segments[1].p_paddr++;
	refuses_sample(&sample, "memory up to");
	sample = good_sample();
	sample.segments[1].p_memsz = sample.segments[1].p_filesz = 0;
	assert_true(try_sample(&sample, true));
	assert_int_equal(image.end, TEXT_BYTES);
	/* A layout beyond the memory there is does not help. */
	sample = good_sample();
	sample.segments[1].p_paddr = MEMORY_BYTES - 1;
	refuses_sample(&sample, "memory up to");
}

static void test_other_architectures(void **state)
{
	static const struct {
		uint16_t machine;
		const char *word;
	} others[] = {
	    {EM_X86_64, "x86-64"}, {EM_AARCH64, "AArch64"}, {EM_PPC, "32-bit"}, {0x1234, "4660"}};

	(void)state;
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		struct sample sample = good_sample();

		sample.header.e_machine = others[i].machine;
		refuses_sample(&sample, others[i].word);
		assert_non_null(strstr(err.hint, "ppc64"));
	}
}

static void test_other_formats(void **state)
{
	static const struct {
		const char *bytes;
		size_t length;
		const char *word;
	} others[] = {
	    {"\x1f\x8b\x08", 3, "gzip"},
	    {"\xfd"
	     "7zXZ\0",
	        6, "xz"},
	    {"\x28\xb5\x2f\xfd", 4, "zstd"},
	    {"BZh9", 4, "bzip2"},
	    {"\x04\x22\x4d\x18", 4, "lz4"},
	    {"\x02\x21\x4c\x18", 4, "lz4"},
	    {"\x27\x05\x19\x56", 4, "U-Boot"},
	    {"MZ\x90", 3, "PE"},
	    {"#!/bin/sh\n", 10, "script"},
	    {"hello", 5, "not an ELF"},
	    {"\x7f", 1, "not an ELF"},
	    {"\0", 1, "not an ELF"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		write_file(kernel_path, others[i].bytes, others[i].length);
		refuses_kernel(others[i].word);
	}
}

static void test_other_files(void **state)
{
	char saved[sizeof kernel_path];

	(void)state;
	unlink(kernel_path);
	refuses_kernel("No such file");
	assert_int_equal(mkfifo(kernel_path, 0600), 0);
	refuses_kernel("not a regular file");
	unlink(kernel_path);
	memcpy(saved, kernel_path, sizeof saved);
	strcpy(kernel_path, directory);
	refuses_kernel("is a directory");
	strcpy(kernel_path, "/dev/null");
	refuses_kernel("not a regular file");
	memcpy(kernel_path, saved, sizeof saved);
	/* Root may read everything. */
	if (geteuid() != 0) {
		write_file(kernel_path, "x", 1);
		assert_int_equal(chmod(kernel_path, 0), 0);
		refuses_kernel("Permission denied");
		unlink(kernel_path);
	}
}

/* The files are looked at again at every reset. */
static void test_changed(void **state)
{
	struct sample sample = in_file_order(good_sample(), false);
	struct loader *loader;

	(void)state;
	err = (struct err){0};
	write_file(kernel_path, &sample, sizeof sample);
	write_file(initrd_path, "initrd", 6);
	loader = loader_create(kernel_path, initrd_path, &err);
	assert_non_null(loader);
	assert_true(loader_load(loader, &gmem, &layout, &image, &err));
	assert_int_equal(image.initrd_end - image.initrd_start, 6);
	write_file(initrd_path, "longer initrd", 13);
	assert_true(loader_load(loader, &gmem, &layout, &image, &err));
	assert_int_equal(image.initrd_end - image.initrd_start, 13);
	/* Removed, but still held open. */
	unlink(initrd_path);
	assert_true(loader_load(loader, &gmem, &layout, &image, &err));
	assert_int_equal(truncate(kernel_path, sizeof sample - 1), 0);
	assert_false(loader_load(loader, &gmem, &layout, &image, &err));
	assert_non_null(strstr(err.message, "truncated"));
	loader_destroy(loader);
}

static int set_up(void **state)
{
	struct err e = {0};

	(void)state;
	if (mkdtemp(directory) == NULL)
		return -1;
	snprintf(kernel_path, sizeof kernel_path, "%s/vmlinux", directory);
	snprintf(initrd_path, sizeof initrd_path, "%s/initrd", directory);
	return gmem_init(&gmem, MEMORY_BYTES, MEMORY_BYTES, &e) ? 0 : -1;
}

static int take_down(void **state)
{
	(void)state;
	gmem_finish(&gmem);
	unlink(kernel_path);
	unlink(initrd_path);
	return rmdir(directory);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_good),
	    cmocka_unit_test(test_hcalls),
	    cmocka_unit_test(test_initrd),
	    cmocka_unit_test(test_pie),
	    cmocka_unit_test(test_memory_hints),
	    cmocka_unit_test(test_truncated),
	    cmocka_unit_test(test_flipped),
	    cmocka_unit_test(test_extreme_segments),
	    cmocka_unit_test(test_headers),
	    cmocka_unit_test(test_segments),
	    cmocka_unit_test(test_other_architectures),
	    cmocka_unit_test(test_other_formats),
	    cmocka_unit_test(test_other_files),
	    cmocka_unit_test(test_changed),
	};

	return cmocka_run_group_tests_name("loader", tests, set_up, take_down);
}
