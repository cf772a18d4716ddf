/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loader.c - from files to guest memory.
 *
 * Nothing in a kernel file is trusted: headers are copied, each number is checked against the
 * file's size and against overflow before it is used, and an error names what is wrong and what to
 * give instead. Headers are read again at every reset together with the contents, so that a file
 * that has changed meanwhile is checked again.
 *
 * A vmlinux is linked at 0xc000000000000000 with p_paddr 0. It is entered in real mode, so its
 * entry is the physical address of e_entry.
 *
 * A static PIE (ET_DYN, virtual and physical addresses equal) can be loaded anywhere and
 * relocates itself. Linked at 0 it would cover the interrupt vectors, which it fills in later.
 */
#include "vmm/loader.h"

#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

#define SEGMENTS_MAX 16
#define PROGRAM_HEADERS_MAX 64
#define READ_CHUNK_BYTES (UINT64_C(4) << 20)
#define INITRD_ALIGN_BYTES UINT64_C(65536)

/* Where an image goes that can be loaded anywhere. QEMU loads kernels there, so programs written
 * for it expect low memory to be free. */
#define PIE_ADDRESS UINT64_C(0x400000)

#define GIVE_VMLINUX "give an uncompressed ppc64 vmlinux"
#define BEHIND_LAST_ADDRESS "has a segment that ends behind the last address"

struct file {
	const char *what; /* "kernel" or "initrd" */
	char *path;
	int fd;          /* -1: none */
	struct err *err; /* of the present call of loader.h */
};

struct loader {
	struct file kernel;
	struct file initrd;
};

struct segment {
	uint64_t offset, file_bytes; /* in the file */
	uint64_t virtual, physical, memory_bytes;
	bool executable;
};

/* What a kernel file says. */
struct image {
	const struct file *file;
	uint64_t size;
	Elf64_Ehdr header; /* the fields that are used are native */
	bool big_endian;
	uint64_t entry; /* physical */
	uint64_t end;   /* first byte after the last segment */
	unsigned count;
	struct segment segments[SEGMENTS_MAX];
};

/* --- Files --------------------------------------------------------------------------------- */

/* The operator named the file, and can correct it. */
static bool file_refuse(const struct file *file, const char *hint, const char *text)
{
	return err_set(file->err, ERR_USAGE, hint, "%s %.200s %s", file->what, file->path, text);
}

static bool file_open(struct file *file, const char *path)
{
	struct stat status;

	file->path = strdup(path);
	if (file->path == NULL)
		return err_system(file->err, ENOMEM, NULL, "cannot open %s", file->what);
	/* Non-blocking, or opening a FIFO would wait for a writer. */
	file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (file->fd < 0 || fstat(file->fd, &status) < 0) {
		err_system(file->err, errno,
		    file->fd < 0 ? "give the path of a readable file" : NULL,
		    "%s %.200s cannot be %s", file->what, path,
		    file->fd < 0 ? "opened" : "examined");
		file->err->class = ERR_USAGE;
		return false;
	}
	if (!S_ISREG(status.st_mode))
		return file_refuse(file, "give the path of a regular file",
		    S_ISDIR(status.st_mode) ? "is a directory" : "is not a regular file");
	return true;
}

static void file_close(struct file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	free(file->path);
}

static bool file_size(const struct file *file, uint64_t *ret_bytes)
{
	struct stat status;

	if (fstat(file->fd, &status) < 0)
		return err_system(
		    file->err, errno, NULL, "cannot examine %s %.200s", file->what, file->path);
	*ret_bytes = status.st_size < 0 ? 0 : (uint64_t)status.st_size;
	return true;
}

/* The caller has checked the range against the file's size, so an early end means that it
 * has shrunk. */
static bool file_read(const struct file *file, uint64_t offset, void *to, uint64_t length)
{
	uint8_t *at = to;

	while (length > 0) {
		size_t chunk = (size_t)(length < READ_CHUNK_BYTES ? length : READ_CHUNK_BYTES);
		ssize_t got = pread(file->fd, at, chunk, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_system(file->err, errno, NULL, "cannot read %s %.200s",
			    file->what, file->path);
		if (got == 0)
			return file_refuse(
			    file, "do not change it while it is in use", "became shorter");
		at += got;
		offset += (uint64_t)got;
		length -= (uint64_t)got;
	}
	return true;
}

/* --- Files of other kinds ------------------------------------------------------------------- */

/* Refuse a file that is no ELF, and name what it is. */
static bool file_is_no_elf(const struct file *file, const uint8_t *start, size_t length)
{
	static const struct {
		uint8_t magic[6];
		size_t length;
		const char *text, *hint;
	} others[] = {
	    {{0x1f, 0x8b}, 2, "is compressed with gzip", "decompress it: zcat FILE > vmlinux"},
	    {{0xfd, '7', 'z', 'X', 'Z', 0}, 6, "is compressed with xz",
	        "decompress it: xzcat FILE > vmlinux"},
	    {{0x28, 0xb5, 0x2f, 0xfd}, 4, "is compressed with zstd",
	        "decompress it: zstdcat FILE > vmlinux"},
	    {{'B', 'Z', 'h'}, 3, "is compressed with bzip2", "decompress it: bzcat FILE > vmlinux"},
	    {{0x04, 0x22, 0x4d, 0x18}, 4, "is compressed with lz4",
	        "decompress it: lz4cat FILE > vmlinux"},
	    {{0x02, 0x21, 0x4c, 0x18}, 4, "is compressed with lz4",
	        "decompress it: lz4cat FILE > vmlinux"},
	    {{0x27, 0x05, 0x19, 0x56}, 4, "is a U-Boot image", GIVE_VMLINUX},
	    {{'M', 'Z'}, 2, "is a PE (EFI) image of another architecture", GIVE_VMLINUX},
	    {{'#', '!'}, 2, "is a script", GIVE_VMLINUX},
	};

	if (length == 0)
		return file_refuse(file, GIVE_VMLINUX, "is empty");
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
		if (length >= others[i].length &&
		    memcmp(start, others[i].magic, others[i].length) == 0)
			return file_refuse(file, others[i].hint, others[i].text);
	return file_refuse(file, GIVE_VMLINUX, "is not an ELF file");
}

static bool file_is_of_other_machine(const struct file *file, unsigned machine)
{
	static const struct {
		unsigned machine;
		const char *name;
	} names[] = {
	    {EM_X86_64, "an x86-64"},
	    {EM_386, "an i386"},
	    {EM_AARCH64, "an AArch64"},
	    {EM_ARM, "an ARM"},
	    {EM_PPC, "a 32-bit PowerPC"},
	    {EM_S390, "an s390"},
	    {EM_RISCV, "a RISC-V"},
	    {EM_MIPS, "a MIPS"},
	    {EM_SPARCV9, "a SPARC"},
	    {258, "a LoongArch"},
	    {EM_IA_64, "an IA-64"},
	};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (names[i].machine == machine)
			return err_set(file->err, ERR_USAGE, "give a ppc64 vmlinux",
			    "%s %.200s is %s ELF", file->what, file->path, names[i].name);
	return err_set(file->err, ERR_USAGE, "give a ppc64 vmlinux",
	    "%s %.200s is an ELF for another processor (machine %u)", file->what, file->path,
	    machine);
}

/* --- ELF ----------------------------------------------------------------------------------- */

static uint16_t field16(uint16_t value, bool big)
{
	return big ? be16toh(value) : le16toh(value);
}

static uint32_t field32(uint32_t value, bool big)
{
	return big ? be32toh(value) : le32toh(value);
}

static uint64_t field64(uint64_t value, bool big)
{
	return big ? be64toh(value) : le64toh(value);
}

static bool image_read_header(struct image *image)
{
	const struct file *file = image->file;
	Elf64_Ehdr *header = &image->header;
	size_t length = image->size < sizeof *header ? (size_t)image->size : sizeof *header;
	const uint8_t *ident = header->e_ident;
	bool big;

	if (!file_read(file, 0, header, length))
		return false;
	if (length < SELFMAG || memcmp(ident, ELFMAG, SELFMAG) != 0)
		return file_is_no_elf(file, ident, length);
	if (length > EI_CLASS && ident[EI_CLASS] == ELFCLASS32)
		return file_refuse(file, "give the plain vmlinux, not a zImage",
		    "is a 32-bit ELF (a boot wrapper?)");
	if (length < sizeof *header)
		return file_refuse(
		    file, "get the whole file", "is truncated: its ELF header is not complete");
	if (ident[EI_CLASS] != ELFCLASS64 || ident[EI_VERSION] != EV_CURRENT ||
	    (ident[EI_DATA] != ELFDATA2LSB && ident[EI_DATA] != ELFDATA2MSB))
		return file_refuse(file, GIVE_VMLINUX, "has a damaged ELF header");
	image->big_endian = big = ident[EI_DATA] == ELFDATA2MSB;
	header->e_type = field16(header->e_type, big);
	header->e_machine = field16(header->e_machine, big);
	header->e_entry = field64(header->e_entry, big);
	header->e_phoff = field64(header->e_phoff, big);
	header->e_phentsize = field16(header->e_phentsize, big);
	header->e_phnum = field16(header->e_phnum, big);
	return true;
}

static bool image_check_header(const struct image *image)
{
	const struct file *file = image->file;
	const Elf64_Ehdr *header = &image->header;
	uint64_t table_bytes = (uint64_t)header->e_phnum * sizeof(Elf64_Phdr);

	if (header->e_machine != EM_PPC64)
		return file_is_of_other_machine(file, header->e_machine);
	if (header->e_type != ET_EXEC && header->e_type != ET_DYN)
		return file_refuse(file, GIVE_VMLINUX,
		    header->e_type == ET_REL ? "is an object file or module, not a kernel"
		                             : "is an ELF file that cannot be run");
	if (header->e_phnum == 0)
		return file_refuse(file, GIVE_VMLINUX, "has no program headers");
	if (header->e_phnum > PROGRAM_HEADERS_MAX)
		return file_refuse(file, GIVE_VMLINUX, "has more than 64 program headers");
	if (header->e_phentsize != sizeof(Elf64_Phdr))
		return file_refuse(file, GIVE_VMLINUX, "has program headers of an odd size");
	if (header->e_phoff > image->size || table_bytes > image->size - header->e_phoff)
		return file_refuse(
		    file, "get the whole file", "is truncated: its program headers are not there");
	return true;
}

/* Check one loadable segment and keep it, unless its size is zero. */
static bool image_add_segment(struct image *image, const struct segment *segment)
{
	const struct file *file = image->file;
	uint64_t end;

	if (segment->offset > image->size || segment->file_bytes > image->size - segment->offset)
		return file_refuse(
		    file, "get the whole file", "is truncated: a segment ends behind its end");
	if (segment->file_bytes > segment->memory_bytes)
		return file_refuse(
		    file, GIVE_VMLINUX, "has a segment larger in the file than in memory");
	if (__builtin_add_overflow(segment->physical, segment->memory_bytes, &end) ||
	    segment->virtual > UINT64_MAX - segment->memory_bytes)
		return file_refuse(file, GIVE_VMLINUX, BEHIND_LAST_ADDRESS);
	if (segment->memory_bytes == 0)
		return true;
	if (image->count == SEGMENTS_MAX)
		return file_refuse(file, GIVE_VMLINUX, "has more than 16 loadable segments");
	image->segments[image->count++] = *segment;
	if (end > image->end)
		image->end = end;
	return true;
}

static bool image_read_segments(struct image *image)
{
	const struct file *file = image->file;
	bool big = image->big_endian;

	for (unsigned i = 0; i < image->header.e_phnum; i++) {
		struct segment segment;
		Elf64_Phdr entry;
		uint32_t type;

		if (!file_read(
		        file, image->header.e_phoff + i * sizeof entry, &entry, sizeof entry))
			return false;
		type = field32(entry.p_type, big);
		/* Interpreters and thread-local storage belong to programs of an operating system.
		 */
		if (type == PT_INTERP || type == PT_TLS)
			return file_refuse(file, GIVE_VMLINUX, "is a program, not a kernel");
		if (type != PT_LOAD)
			continue;
		segment = (struct segment){
		    .offset = field64(entry.p_offset, big),
		    .file_bytes = field64(entry.p_filesz, big),
		    .virtual = field64(entry.p_vaddr, big),
		    .physical = field64(entry.p_paddr, big),
		    .memory_bytes = field64(entry.p_memsz, big),
		    .executable = (field32(entry.p_flags, big) & PF_X) != 0,
		};
		if (!image_add_segment(image, &segment))
			return false;
	}
	return image->count > 0 || file_refuse(file, GIVE_VMLINUX, "has nothing to load");
}

/* Move a static PIE that is linked below PIE_ADDRESS up by PIE_ADDRESS. */
static bool image_place_pie(struct image *image)
{
	uint64_t lowest = UINT64_MAX;

	for (unsigned i = 0; i < image->count; i++) {
		const struct segment *segment = &image->segments[i];

		if (segment->virtual != segment->physical)
			return true;
		if (segment->physical < lowest)
			lowest = segment->physical;
	}
	if (lowest >= PIE_ADDRESS)
		return true;
	if (image->end > UINT64_MAX - PIE_ADDRESS)
		return file_refuse(image->file, GIVE_VMLINUX, BEHIND_LAST_ADDRESS);
	for (unsigned i = 0; i < image->count; i++)
		image->segments[i].physical += PIE_ADDRESS;
	image->end += PIE_ADDRESS;
	return true;
}

static bool image_find_entry(struct image *image)
{
	uint64_t entry = image->header.e_entry;

	for (unsigned i = 0; i < image->count; i++) {
		const struct segment *segment = &image->segments[i];
		uint64_t into = entry - segment->virtual;

		if (entry < segment->virtual || into >= segment->file_bytes)
			continue;
		image->entry = segment->physical + into;
		if (image->entry % 4 != 0)
			break; /* no instruction can start there */
		return true;
	}
	return file_refuse(
	    image->file, GIVE_VMLINUX, "has its entry point outside of what it loads");
}

static bool image_read(struct image *image, const struct file *file)
{
	*image = (struct image){.file = file};
	return file_size(file, &image->size) && image_read_header(image) &&
	       image_check_header(image) && image_read_segments(image) &&
	       (image->header.e_type != ET_DYN || image_place_pie(image)) &&
	       image_find_entry(image);
}

/* --- Into memory --------------------------------------------------------------------------- */

static unsigned long long mib(uint64_t bytes)
{
	return (bytes >> 20) + ((bytes & ((1 << 20) - 1)) != 0);
}

/* "give --memory NM", where memory_bytes is the least that would do. */
static const char *memory_hint(char hint[128], uint64_t memory_bytes, const char *or_else)
{
	const uint64_t blocks =
	    memory_bytes / SPAPR_LMB_BYTES + (memory_bytes % SPAPR_LMB_BYTES != 0);

	snprintf(hint, 128, "give --memory %lluM or more, or %s",
	    (unsigned long long)(blocks * (SPAPR_LMB_BYTES >> 20)), or_else);
	return hint;
}

static bool kernel_too_high(const struct image *image, const struct spapr_layout *layout)
{
	uint64_t reserve = layout->high - layout->fdt;
	char hint[128] = "give a kernel that is linked lower, as a vmlinux is";

	/* More memory is of use up to a certain size only. */
	if (image->end <= layout->low_end - reserve)
		memory_hint(hint, image->end + reserve, "a smaller kernel");
	return err_set(image->file->err, ERR_USAGE, hint,
	    "kernel %.200s needs memory up to %llu MiB, and has to end below %llu MiB",
	    image->file->path, mib(image->end), (unsigned long long)(layout->fdt >> 20));
}

#define SC_1 UINT32_C(0x44000022)

/* Replace each `sc 1` of a segment, so that the guest reaches this hypervisor and not the one above
 * it. Debian's kernels have nine, all in code, and no other word of that value. */
static unsigned segment_replace_hcalls(
    const struct image *image, uint8_t *at, uint64_t bytes, uint32_t instruction)
{
	uint32_t from = image->big_endian ? htobe32(SC_1) : htole32(SC_1);
	uint32_t to = image->big_endian ? htobe32(instruction) : htole32(instruction);
	unsigned count = 0;

	for (uint64_t i = 0; i + sizeof from <= bytes; i += sizeof from)
		if (memcmp(at + i, &from, sizeof from) == 0) {
			memcpy(at + i, &to, sizeof to);
			count++;
		}
	return count;
}

static bool load_kernel(const struct file *file, const struct gmem *gmem,
    const struct spapr_layout *layout, struct image *image)
{
	unsigned replaced = 0;

	if (!image_read(image, file))
		return false;
	if (image->end > layout->fdt)
		return kernel_too_high(image, layout);
	for (unsigned i = 0; i < image->count; i++) {
		const struct segment *segment = &image->segments[i];
		bool replace = segment->executable && layout->hcall_instruction != SC_1;
		uint8_t *to = gmem_window(gmem, segment->physical, segment->file_bytes);

		if (to == NULL)
			return file_refuse(file, GIVE_VMLINUX, "does not fit into memory");
		/* What follows up to memory_bytes is zero already: memory was cleared. */
		if (!file_read(file, segment->offset, to, segment->file_bytes))
			return false;
		if (replace)
			replaced += segment_replace_hcalls(
			    image, to, segment->file_bytes, layout->hcall_instruction);
	}
	if (layout->hcall_instruction == SC_1)
		return true;
	log_line(LOG_INFO, "replaced %u hypervisor calls in the kernel", replaced);
	return replaced > 0 || file_refuse(file, "give a kernel for pseries",
	                           "makes no hypervisor calls, and kvm-pr runs no other");
}

static uint64_t round_up(uint64_t address)
{
	return (address + INITRD_ALIGN_BYTES - 1) & ~(INITRD_ALIGN_BYTES - 1);
}

static bool initrd_size(const struct file *file, uint64_t *ret_bytes)
{
	return file_size(file, ret_bytes) &&
	       (*ret_bytes > 0 ||
	           file_refuse(file, "give a cpio archive, or leave --initrd out", "is empty"));
}

/* More memory always helps: from layout->low_end on there is room for any initrd. */
static bool initrd_too_large(const struct file *file, const struct gmem *gmem,
    const struct spapr_layout *layout, uint64_t low, uint64_t size)
{
	uint64_t reserve = layout->high - layout->fdt;
	uint64_t below = low < layout->fdt ? layout->fdt - low : 0;
	uint64_t above = gmem->size_bytes - layout->high;
	uint64_t needed = layout->low_end + size;
	char hint[128];

	if (low + reserve <= layout->low_end && size <= layout->low_end - reserve - low)
		needed = low + size + reserve;
	memory_hint(hint, needed, "a smaller initrd");
	return err_set(file->err, ERR_USAGE, hint,
	    "initrd %.200s has %llu MiB, and there are %llu MiB of memory for it", file->path,
	    mib(size), (unsigned long long)((below > above ? below : above) >> 20));
}

/* Behind the kernel if there is room for it, else above what the machine keeps. */
static bool load_initrd(const struct file *file, const struct gmem *gmem,
    const struct spapr_layout *layout, struct spapr_image *image)
{
	/* The kernel ends at or below layout->fdt, so these cannot overflow. */
	uint64_t low = round_up(image->end), high = round_up(layout->high);
	uint64_t start = low, size;
	uint8_t *to;

	if (!initrd_size(file, &size))
		return false;
	if (low > layout->fdt || size > layout->fdt - low) {
		if (high > gmem->size_bytes || size > gmem->size_bytes - high)
			return initrd_too_large(file, gmem, layout, low, size);
		start = high;
	}
	to = gmem_window(gmem, start, size);
	if (to == NULL)
		return file_refuse(file, "give a smaller one", "does not fit into memory");
	image->initrd_start = start;
	image->initrd_end = start + size;
	return file_read(file, 0, to, size);
}

bool loader_load(void *context, const struct gmem *gmem, const struct spapr_layout *layout,
    struct spapr_image *ret_image, struct err *err)
{
	struct loader *loader = context;
	struct spapr_image result;
	struct image image;

	loader->kernel.err = loader->initrd.err = err;
	if (!load_kernel(&loader->kernel, gmem, layout, &image))
		return false;
	result = (struct spapr_image){.entry = image.entry, .end = image.end};
	if (loader->initrd.fd >= 0 && !load_initrd(&loader->initrd, gmem, layout, &result))
		return false;
	*ret_image = result;
	return true;
}

struct loader *loader_create(const char *kernel, const char *initrd, struct err *err)
{
	struct loader *loader = calloc(1, sizeof *loader);
	struct image image;
	uint64_t size;

	if (loader == NULL) {
		err_system(err, ENOMEM, NULL, "cannot create the loader");
		return NULL;
	}
	loader->kernel = (struct file){.what = "kernel", .fd = -1, .err = err};
	loader->initrd = (struct file){.what = "initrd", .fd = -1, .err = err};
	if (file_open(&loader->kernel, kernel) && image_read(&image, &loader->kernel) &&
	    (initrd == NULL || initrd[0] == '\0' ||
	        (file_open(&loader->initrd, initrd) && initrd_size(&loader->initrd, &size))))
		return loader;
	loader_destroy(loader);
	return NULL;
}

void loader_destroy(struct loader *loader)
{
	if (loader == NULL)
		return;
	file_close(&loader->kernel);
	file_close(&loader->initrd);
	free(loader);
}
