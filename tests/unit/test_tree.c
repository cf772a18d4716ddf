/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_tree.c - the device tree, property by property, against what Linux reads of one. Nothing may
 * be in it that is not expected here: what a guest can see, it comes to rely on.
 */
#include "machine_fixture.h"

#include <libfdt.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/be.h"

#define RAM (256 * MIB)
#define CPUS_MAX 8

extern char **environ;

/* --- Reading a tree -------------------------------------------------------------------------- */

/* A node whose properties are expected one after the other. */
struct node {
	const void *fdt;
	const char *path;
	int offset;
	uint32_t properties;
};

static struct node open_node(const void *fdt, const char *path)
{
	struct node node = {fdt, path, fdt_path_offset(fdt, path), 0};

	if (node.offset < 0)
		fail_msg("there is no node %s", path);
	return node;
}

static void has_bytes(struct node *node, const char *name, const void *value, size_t length)
{
	int got;
	const void *property = fdt_getprop(node->fdt, node->offset, name, &got);

	if (property == NULL)
		fail_msg("%s has no %s", node->path, name);
	if ((size_t)got != length || (length > 0 && memcmp(property, value, length) != 0))
		fail_msg("%s: %s (%d bytes) is not what it should be", node->path, name, got);
	node->properties++;
}

static void has_text(struct node *node, const char *name, const char *value)
{
	has_bytes(node, name, value, strlen(value) + 1);
}

static void has_flag(struct node *node, const char *name)
{
	has_bytes(node, name, NULL, 0);
}

static void has_cells(struct node *node, const char *name, size_t count, const uint32_t *values)
{
	struct be32 cells[64];

	assert_true(count <= 64);
	for (size_t i = 0; i < count; i++)
		cells[i] = be32(values[i]);
	has_bytes(node, name, cells, count * sizeof cells[0]);
}
#define HAS_CELLS(node, name, ...)                                                                 \
	has_cells(node, name, sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t),                \
	    (uint32_t[]){__VA_ARGS__})

/* A property of this length, whatever is in it. */
static void has_length(struct node *node, const char *name, int length)
{
	int got = -1;

	assert_non_null(fdt_getprop(node->fdt, node->offset, name, &got));
	assert_int_equal(got, length);
	node->properties++;
}

static uint32_t count_properties(const void *fdt, int offset)
{
	uint32_t count = 0;
	int property;

	fdt_for_each_property_offset(property, fdt, offset) count++;
	return count;
}

static void has_nothing_else(const struct node *node, int children)
{
	int child;

	if (count_properties(node->fdt, node->offset) != node->properties)
		fail_msg("%s has properties that are not expected", node->path);
	fdt_for_each_subnode(child, node->fdt, node->offset) children--;
	if (children != 0)
		fail_msg("%s has nodes that are not expected", node->path);
}

/* --- The nodes, each with all of its properties ---------------------------------------------- */

/* Different on purpose, where a real processor has the same twice. */
static void set_facts(void)
{
	struct kvm_facts *facts = fake_facts();

	facts->dcache.size = 32768;
	facts->dcache.line_size = 128;
	facts->dcache.block_size = 64;
	facts->dcache.sets = 32;
	facts->icache.size = 65536;
	facts->icache.line_size = 256;
	facts->icache.block_size = 16;
	facts->icache.sets = 8;
	facts->clock_hz = 3800000001;
	facts->pa_features[2 + 22] = 0xc0; /* with transactional memory */
}

static void expect_cpu(const void *fdt, uint32_t core_id, uint32_t threads)
{
	uint32_t servers[8], gservers[16];
	uint8_t pa_features[68];
	char path[64];
	struct node node;

	snprintf(path, sizeof path, "/cpus/PowerPC,POWER9@%x", core_id);
	node = open_node(fdt, path);
	for (uint32_t i = 0; i < threads; i++)
		servers[i] = gservers[2 * i] = gservers[2 * i + 1] = core_id + i;
	has_text(&node, "device_type", "cpu");
	has_text(&node, "status", "okay");
	HAS_CELLS(&node, "reg", core_id);
	has_cells(&node, "ibm,ppc-interrupt-server#s", threads, servers);
	has_cells(&node, "ibm,ppc-interrupt-gserver#s", 2 * threads, gservers);
	HAS_CELLS(&node, "ibm,my-drc-index", 0x10000000 + core_id);
	HAS_CELLS(&node, "cpu-version", 0x004e1202);
	HAS_CELLS(&node, "timebase-frequency", 512000000);
	HAS_CELLS(&node, "clock-frequency", 3800000001);
	HAS_CELLS(&node, "d-cache-size", 32768);
	HAS_CELLS(&node, "d-cache-line-size", 128);
	HAS_CELLS(&node, "d-cache-block-size", 64);
	HAS_CELLS(&node, "d-cache-sets", 32);
	HAS_CELLS(&node, "i-cache-size", 65536);
	HAS_CELLS(&node, "i-cache-line-size", 256);
	HAS_CELLS(&node, "i-cache-block-size", 16);
	HAS_CELLS(&node, "i-cache-sets", 8);
	HAS_CELLS(&node, "ibm,processor-radix-AP-encodings", 0x0000000c, 0xa0000010, 0x20000015,
	    0x4000001e);
	HAS_CELLS(&node, "ibm,slb-size", 32);
	memcpy(pa_features, fake_facts()->pa_features, sizeof pa_features);
	pa_features[2 + 22] = 0x40;
	pa_features[2 + 64] = 0; /* KVM has no second watchpoint */
	has_bytes(&node, "ibm,pa-features", pa_features, sizeof pa_features);
	has_bytes(&node, "ibm,pi-features", "\1\0\10", 3);
	HAS_CELLS(&node, "ibm,vmx", 2);
	HAS_CELLS(&node, "ibm,dfp", 1);
	HAS_CELLS(&node, "ibm,purr", 1);
	HAS_CELLS(&node, "ibm,spurr", 1);
	has_flag(&node, "64-bit");
	has_nothing_else(&node, 0);
}

/* The strings of a drc property follow each other behind their count. */
static void has_drc_strings(struct node *node, const char *name, uint32_t cores, uint32_t threads)
{
	struct be32 count = be32(cores);
	uint8_t value[256];
	size_t at = sizeof count;

	memcpy(value, &count, sizeof count);
	for (uint32_t i = 0; i < cores; i++) {
		char *text = (char *)value + at;

		if (strcmp(name, "ibm,drc-names") == 0)
			at += 1 + (size_t)snprintf(text, 16, "CPU %u", i * threads);
		else
			at += 1 + (size_t)snprintf(text, 16, "CPU");
	}
	has_bytes(node, name, value, at);
}

static void expect_cpus(const void *fdt, uint32_t boot, uint32_t threads)
{
	struct node node = open_node(fdt, "/cpus");
	uint32_t cores = CPUS_MAX / threads, indexes[CPUS_MAX + 1] = {cores};
	uint32_t domains[CPUS_MAX + 1] = {cores};

	for (uint32_t i = 0; i < cores; i++) {
		indexes[i + 1] = 0x10000000 + i * threads;
		domains[i + 1] = UINT32_MAX;
	}
	HAS_CELLS(&node, "#address-cells", 1);
	HAS_CELLS(&node, "#size-cells", 0);
	has_cells(&node, "ibm,drc-indexes", cores + 1, indexes);
	has_cells(&node, "ibm,drc-power-domains", cores + 1, domains);
	has_drc_strings(&node, "ibm,drc-names", cores, threads);
	has_drc_strings(&node, "ibm,drc-types", cores, threads);
	has_nothing_else(&node, (int)(boot / threads));
	for (uint32_t core_id = 0; core_id < boot; core_id += threads)
		expect_cpu(fdt, core_id, threads);
}

static void expect_rtas(const void *fdt, uint64_t memory_bytes, uint32_t threads)
{
	static const char *const functions[] = {"hcall-dabr", "hcall-interrupt", "hcall-set-mode",
	    "hcall-multi-tce", "hcall-splpar", "hcall-sprg0", "hcall-tce", "hcall-term",
	    "hcall-vphn"};
	struct node node = open_node(fdt, "/rtas");
	uint32_t base = (uint32_t)((memory_bytes < 2 * GIB ? memory_bytes : 2 * GIB) - 0x10000);

	HAS_CELLS(&node, "linux,rtas-base", base);
	HAS_CELLS(&node, "linux,rtas-entry", base);
	HAS_CELLS(&node, "rtas-size", 0x10000);
	HAS_CELLS(&node, "rtas-error-log-max", 2048);
	HAS_CELLS(&node, "rtas-event-scan-rate", 1);
	has_flag(&node, "ibm,extended-os-term");
	assert_int_equal(fdt_stringlist_count(fdt, node.offset, "ibm,hypertas-functions"), 9);
	for (size_t i = 0; i < 9; i++)
		assert_true(fdt_stringlist_search(
		                fdt, node.offset, "ibm,hypertas-functions", functions[i]) >= 0);
	node.properties++;
	for (size_t i = 0; i < rtas_table_rows; i++)
		HAS_CELLS(&node, rtas_table[i].name, rtas_token(i));
	/* Cores, not threads: Linux multiplies by itself. */
	HAS_CELLS(&node, "ibm,lrdr-capacity", (uint32_t)(memory_bytes >> 32),
	    (uint32_t)memory_bytes, 0, 256 << 20, CPUS_MAX / threads);
	has_nothing_else(&node, 0);
	assert_int_equal(fdt_num_mem_rsv(fdt), 1);
}

static void expect_chosen(const void *fdt, bool initrd)
{
	struct node node = open_node(fdt, "/chosen");
	uint8_t vector[27] = {26, [6] = 0x04, [24] = 0x40, [26] = 0x40};

	has_text(&node, "bootargs", "console=hvc0");
	has_text(&node, "stdout-path", "/vdevice/vty@71000000");
	has_text(&node, "linux,stdout-path", "/vdevice/vty@71000000");
	has_bytes(&node, "ibm,architecture-vec-5", vector, sizeof vector);
	has_length(&node, "rng-seed", 32);
	if (initrd) {
		HAS_CELLS(&node, "linux,initrd-start", 0, 0x4000000);
		HAS_CELLS(&node, "linux,initrd-end", 0, 0x5432100);
	}
	has_nothing_else(&node, 0);
}

/* Boot memory is listed, but reserved: /memory@0 has it. */
static void expect_all_memory(const void *fdt, uint64_t memory_bytes)
{
	struct node node = open_node(fdt, "/memory@0");

	has_text(&node, "device_type", "memory");
	HAS_CELLS(&node, "reg", 0, 0, (uint32_t)(memory_bytes >> 32), (uint32_t)memory_bytes);
	has_nothing_else(&node, 0);
	node = open_node(fdt, "/ibm,dynamic-reconfiguration-memory");
	HAS_CELLS(&node, "ibm,lmb-size", 0, 256 << 20);
	HAS_CELLS(&node, "ibm,memory-flags-mask", 0xff);
	HAS_CELLS(&node, "ibm,memory-preservation-time", 0);
	HAS_CELLS(&node, "ibm,dynamic-memory-v2", 1, (uint32_t)(memory_bytes / (256 * MIB)), 0, 0,
	    0x80000000, UINT32_MAX, 0x88);
	HAS_CELLS(&node, "ibm,associativity-lookup-arrays", 1, 4, 0, 0, 0, 0);
	has_nothing_else(&node, 0);
}

static void expect_interrupts(const void *fdt)
{
	struct node node = open_node(fdt, "/interrupt-controller");

	has_text(&node, "device_type", "PowerPC-External-Interrupt-Presentation");
	has_text(&node, "compatible", "IBM,ppc-xicp");
	has_flag(&node, "interrupt-controller");
	HAS_CELLS(&node, "#interrupt-cells", 2);
	HAS_CELLS(&node, "#address-cells", 0);
	HAS_CELLS(&node, "ibm,interrupt-server-ranges", 0, CPUS_MAX);
	HAS_CELLS(&node, "phandle", 1);
	has_nothing_else(&node, 0);
	node = open_node(fdt, "/event-sources");
	has_flag(&node, "interrupt-controller");
	HAS_CELLS(&node, "#interrupt-cells", 2);
	HAS_CELLS(&node, "interrupt-ranges", 0x1000, 1, 0x1001, 1);
	has_nothing_else(&node, 2);
	node = open_node(fdt, "/event-sources/epow-events");
	HAS_CELLS(&node, "interrupts", 0x1000, 0);
	has_nothing_else(&node, 0);
	node = open_node(fdt, "/event-sources/hot-plug-events");
	HAS_CELLS(&node, "interrupts", 0x1001, 0);
	has_nothing_else(&node, 0);
}

static void expect_console(const void *fdt)
{
	struct node node = open_node(fdt, "/vdevice");

	has_text(&node, "device_type", "vdevice");
	has_text(&node, "compatible", "IBM,vdevice");
	HAS_CELLS(&node, "#address-cells", 1);
	HAS_CELLS(&node, "#size-cells", 0);
	has_flag(&node, "interrupt-controller");
	HAS_CELLS(&node, "#interrupt-cells", 2);
	has_nothing_else(&node, 1);
	node = open_node(fdt, "/vdevice/vty@71000000");
	has_text(&node, "device_type", "serial");
	has_text(&node, "compatible", "hvterm1");
	HAS_CELLS(&node, "reg", 0x71000000);
	HAS_CELLS(&node, "interrupts", 0x1002, 0);
	has_nothing_else(&node, 0);
}

/* Nothing of the host's identity: neither serial numbers nor a model nor names. */
static void expect_root(const void *fdt)
{
	struct node node = open_node(fdt, "/");
	static const char compatible[] = "paprika,pseries\0qemu,pseries";

	has_text(&node, "device_type", "chrp");
	has_text(&node, "model", "paprika, compatible with IBM pSeries (emulated by qemu)");
	has_bytes(&node, "compatible", compatible, sizeof compatible);
	HAS_CELLS(&node, "#address-cells", 2);
	HAS_CELLS(&node, "#size-cells", 2);
	has_nothing_else(&node, 9);
	node = open_node(fdt, "/hypervisor");
	has_text(&node, "compatible", "linux,kvm");
	has_nothing_else(&node, 0);
}

static void expect_tree(
    const void *fdt, uint64_t memory_bytes, uint32_t boot, uint32_t threads, bool initrd)
{
	uint64_t address, size;

	expect_root(fdt);
	expect_all_memory(fdt, memory_bytes);
	expect_chosen(fdt, initrd);
	expect_cpus(fdt, boot, threads);
	expect_rtas(fdt, memory_bytes, threads);
	expect_interrupts(fdt);
	expect_console(fdt);
	assert_int_equal(fdt_boot_cpuid_phys(fdt), 0);
	/* The kernel keeps RTAS only if it is told to. */
	assert_int_equal(fdt_get_mem_rsv(fdt, 0, &address, &size), 0);
	assert_int_equal(address, (memory_bytes < 2 * GIB ? memory_bytes : 2 * GIB) - 0x10000);
	assert_int_equal(size, 0x10000);
}

/* --- The tree as a whole --------------------------------------------------------------------- */

static void expect_dtc_reads(const void *blob, size_t length)
{
	char path[] = "/tmp/test_tree.XXXXXX";
	char *arguments[] = {"dtc", "-q", "-I", "dtb", "-O", "dts", "-o", "/dev/null", path, NULL};
	int file = mkstemp(path), status = -1;
	pid_t pid;

	assert_true(file >= 0);
	assert_int_equal(write(file, blob, length), length);
	close(file);
	assert_int_equal(posix_spawnp(&pid, "dtc", NULL, NULL, arguments, environ), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	unlink(path);
	assert_int_equal(status, 0);
}

static void check_tree(uint32_t boot, uint32_t threads)
{
	struct fixture *f;
	void *state = NULL, *blob;
	size_t length;

	fixture_setup(&state);
	f = state;
	set_facts();
	power_on_cpus(f, boot, CPUS_MAX, threads);
	blob = device_tree(f, &length);
	expect_dtc_reads(blob, length);
	expect_tree(blob, RAM, boot, threads, false);
	free(blob);
	assert_int_equal(fake_threads(), threads);
	assert_int_equal(fake_servers(), CPUS_MAX);
	fixture_teardown(&state);
}

static void the_tree_says_what_there_is_and_nothing_else(void **state)
{
	static const uint32_t machines[][2] = {{1, 1}, {2, 1}, {4, 1}, {2, 2}, {4, 2}, {4, 4}};

	(void)state;
	for (size_t i = 0; i < sizeof machines / sizeof machines[0]; i++)
		check_tree(machines[i][0], machines[i][1]);
}

static void a_name_and_a_uuid_are_what_the_operator_gave(void **state)
{
	static const char uuid[] = "00112233-4455-6677-8899-aabbccddeeff";
	struct fixture *f = *state;
	struct node root;
	size_t length;
	void *blob;

	f->config.name = "web1";
	f->config.uuid = uuid;
	power_on(f);
	blob = device_tree(f, &length);
	root = open_node(blob, "/");
	has_text(&root, "ibm,partition-name", "web1");
	has_text(&root, "vm,uuid", uuid);
	has_text(&root, "system-id", uuid);
	free(blob);
}

/* What the guest finds where r3 points: right below RTAS, and below 2 GiB. */
static const void *handed_over(void)
{
	uint64_t ram = fake_memory()->size_bytes, at = fake_vcpu_r3(0);
	uint64_t end = (ram < 2 * GIB ? ram : 2 * GIB) - 0x10000;
	const void *fdt;

	assert_true(at % 8 == 0 && at < end && at >= end - 16 * MIB);
	fdt = gmem_window(fake_memory(), at, end - at);
	assert_non_null(fdt);
	assert_true(end - at - fdt_totalsize(fdt) < 8);
	assert_int_equal(fdt_check_full(fdt, end - at), 0);
	return fdt;
}

static void the_boot_cpu_starts_at_the_kernel_with_the_tree(void **state)
{
	struct fixture *f = *state;

	set_facts();
	f->image.entry = 0x12340;
	f->image.initrd_start = 0x4000000;
	f->image.initrd_end = 0x5432100;
	power_on_cpus(f, 2, CPUS_MAX, 2);
	assert_int_equal(fake_vcpu_pc(0), 0x12340);
	expect_tree(handed_over(), RAM, 2, 2, true);
	assert_false(fake_vcpu_running(1));
}

static void with_much_memory_tree_and_rtas_stay_low(void **state)
{
	struct fixture *f = *state;

	set_facts();
	f->config.memory_bytes = 5 * GIB;
	power_on_cpus(f, 1, CPUS_MAX, 1);
	expect_tree(handed_over(), 5 * GIB, 1, 1, false);
}

static void each_boot_has_a_seed_of_its_own(void **state)
{
	struct fixture *f = *state;
	uint8_t seed[32];
	const void *fdt;

	power_on(f);
	fdt = handed_over();
	memcpy(seed, fdt_getprop(fdt, fdt_path_offset(fdt, "/chosen"), "rng-seed", NULL), 32);
	reset(f);
	fdt = handed_over();
	assert_memory_not_equal(
	    seed, fdt_getprop(fdt, fdt_path_offset(fdt, "/chosen"), "rng-seed", NULL), 32);
}

static bool in_tree(struct fixture *f, const char *path)
{
	size_t length;
	void *blob = device_tree(f, &length);
	bool found = fdt_path_offset(blob, path) >= 0;

	free(blob);
	return found;
}

static void the_tree_follows_the_cores(void **state)
{
	struct fixture *f = *state;

	power_on(f);
	assert_false(in_tree(f, "/cpus/PowerPC,POWER9@2"));
	add_in_use(f, 2);
	assert_true(in_tree(f, "/cpus/PowerPC,POWER9@2"));
	reset(f);
	assert_true(fdt_path_offset(handed_over(), "/cpus/PowerPC,POWER9@2") >= 0);
	take_away(f, 2);
	assert_true(in_tree(f, "/cpus/PowerPC,POWER9@2"));
	linux_release(0, 2);
	assert_false(in_tree(f, "/cpus/PowerPC,POWER9@2"));
	reset(f);
	assert_true(fdt_path_offset(handed_over(), "/cpus/PowerPC,POWER9@2") < 0);
}

static void expect_absent(const void *fdt, const char *name)
{
	int cpu = fdt_path_offset(fdt, "/cpus/PowerPC,POWER9@0");

	assert_true(cpu >= 0);
	if (fdt_getprop(fdt, cpu, name, NULL) != NULL)
		fail_msg("%s is there", name);
}

static void what_the_host_does_not_say_is_not_made_up(void **state)
{
	static const char *const absent[] = {"clock-frequency", "d-cache-size", "i-cache-sets",
	    "d-cache-line-size", "ibm,slb-size", "ibm,pa-features",
	    "ibm,processor-radix-AP-encodings"};
	struct fixture *f = *state;
	struct kvm_facts *facts = fake_facts();
	struct node node;

	facts->timebase_hz = facts->clock_hz = 0;
	facts->slb_size = facts->pa_features_len = facts->ap_encodings[0] = 0;
	memset(&facts->dcache, 0, sizeof facts->dcache);
	memset(&facts->icache, 0, sizeof facts->icache);
	power_on(f);
	for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++)
		expect_absent(handed_over(), absent[i]);
	/* But for this one, of which Linux would make up a wrong value by itself. */
	node = open_node(handed_over(), "/cpus/PowerPC,POWER9@0");
	HAS_CELLS(&node, "timebase-frequency", 512000000);
}

static void features_in_another_form_are_left_out(void **state)
{
	struct fixture *f = *state;
	struct kvm_facts *facts = fake_facts();

	facts->pa_features[0]--; /* would be followed by something else */
	facts->clock_hz = UINT64_C(1) << 32;
	power_on(f);
	expect_absent(handed_over(), "ibm,pa-features");
	expect_absent(handed_over(), "clock-frequency");
	fixture_teardown(state);
	fixture_setup(state);
	f = *state;
	facts->pa_features[1] = 1;
	power_on(f);
	expect_absent(handed_over(), "ibm,pa-features");
}

static void a_tree_that_grows_too_large_is_an_error(void **state)
{
	struct fixture *f = *state;
	const size_t length = 64 * MIB;
	char *bootargs = malloc(length);
	struct err err = {0};

	assert_non_null(bootargs);
	memset(bootargs, 'x', length - 1);
	bootargs[length - 1] = '\0';
	f->config.bootargs = bootargs;
	f->machine = spapr_create(&f->config, &err);
	assert_non_null(f->machine);
	assert_false(spapr_boot(f->machine, &err));
	assert_non_null(strstr(err.message, "cannot build the device tree"));
	assert_string_not_equal(err.hint, "");
	free(bootargs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_tree_says_what_there_is_and_nothing_else),
	    TEST(a_name_and_a_uuid_are_what_the_operator_gave),
	    TEST(the_boot_cpu_starts_at_the_kernel_with_the_tree),
	    TEST(with_much_memory_tree_and_rtas_stay_low),
	    TEST(each_boot_has_a_seed_of_its_own),
	    TEST(the_tree_follows_the_cores),
	    TEST(what_the_host_does_not_say_is_not_made_up),
	    TEST(features_in_another_form_are_left_out),
	    TEST(a_tree_that_grows_too_large_is_an_error),
	};

	return cmocka_run_group_tests_name("tree", tests, NULL, NULL);
}
