/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_script.c - a guest whose kernel image is a script, one step per line, for the vCPUs of the
 * fake KVM. Tests of the whole program (tests/clients, tests/sandbox) use it to play a guest. A
 * kernel that does not begin with the line "play" does nothing. tests/clients/play.py writes one.
 *
 *   put TEXT         print up to 14 characters (no spaces) and a line end
 *   rtas NAME [N...] call the service with these arguments; NAME:N if it has N results, not one
 *   fetch INDEX      read hot-plug events until one is about this connector
 *   retry N NAME ... call the service, with one result, until its status is N
 *   walk INDEX       read the description of this connector's device to its end
 *   hcall NR [N...]  make any other hypervisor call
 *   panic TEXT       call ibm,os-term
 *   store ADDRESS [BYTES VALUE]
 *                    store to an address that is no memory: a doorbell rings, else an exit
 *   poke ADDRESS BYTES VALUE
 *                    store to memory, little-endian
 *   until ADDRESS BYTES VALUE
 *                    go on when somebody else has stored this there
 *   fail             make KVM_RUN fail
 *   wait             wait for an interrupt
 *   only ID LINE     run LINE, but only as this vCPU
 *   later LINE       run LINE, but not before the first reset
 *   again            go back to the first line
 *
 * At the end of the script, and at an unknown line, a vCPU stays idle. Numbers are in C's notation.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/be.h"
#include "fake_kvm.h"
#include "spapr/event_log.h"
#include "spapr/rtas.h"

enum {
	VCPUS = 16,
	SCRIPT_BYTES = 16384,
	BLOCKS = 0x100000, /* RTAS blocks, each followed by a text */
	BLOCK_BYTES = 0x1000,
	TEXT = 0x800,
	WORK = 0x140000, /* of ibm,configure-connector, for vCPU 0 */
	LOG = 0x150000,  /* of check-exception, for the vCPU that fetches */
	H_RTAS = 0xf000,
	H_GET_TERM_CHAR = 0x54,
	H_PUT_TERM_CHAR = 0x58,
};

/* Progress of each vCPU. */
static struct {
	size_t at;
	uint64_t interrupts; /* seen */
	unsigned lives;
	bool rests, waits;
	bool stays;   /* `at` is not moved on */
	bool walks;   /* the last call was one of a walk */
	bool retries; /* ... or one that may be made again */
} vcpus[VCPUS];

static size_t script_numbers(const char *text, uint64_t *numbers, size_t max)
{
	size_t count = 0;
	char *end;

	for (; count < max; text = end, count++) {
		numbers[count] = strtoull(text, &end, 0);
		if (end == text)
			break;
	}
	return count;
}

static struct be32 *script_block(const struct gmem *memory, uint32_t id)
{
	return (void *)((char *)memory->host + BLOCKS + id * BLOCK_BYTES);
}

static bool script_rtas(
    const struct gmem *memory, uint32_t id, const char *line, struct kvm_hcall *hcall)
{
	struct be32 *block = script_block(memory, id);
	uint64_t args[8] = {0};
	unsigned results = 1;
	char name[64] = "";
	int used = 0;
	size_t count;

	sscanf(line, "%63[^ :]%n:%u%n", name, &used, &results, &used);
	count = script_numbers(line + used, args, 8);
	block[0] = be32(rtas_token_of(name));
	block[1] = be32((uint32_t)count);
	block[2] = be32(results);
	for (size_t i = 0; i < count; i++)
		block[3 + i] = be32((uint32_t)args[i]);
	hcall->nr = H_RTAS;
	hcall->args[0] = BLOCKS + id * BLOCK_BYTES;
	return true;
}

static bool script_retry(
    const struct gmem *memory, uint32_t id, const char *text, struct kvm_hcall *hcall)
{
	const struct be32 *block = script_block(memory, id);
	char *service;
	long wanted = strtol(text, &service, 0);

	if (vcpus[id].retries && (int32_t)from_be32(block[3 + from_be32(block[1])]) == wanted) {
		vcpus[id].retries = false;
		return false;
	}
	vcpus[id].retries = true;
	vcpus[id].stays = true;
	return script_rtas(memory, id, service + strspn(service, " "), hcall);
}

/* Fences come in between, if the test is slow. */
static bool script_fetch(
    const struct gmem *memory, uint32_t id, const char *index, struct kvm_hcall *hcall)
{
	const struct be32 *block = script_block(memory, id);
	const struct event_log *log = (void *)((char *)memory->host + LOG);
	char call[64];

	if (vcpus[id].retries && from_be32(block[3 + from_be32(block[1])]) == 0 &&
	    from_be32(log->body.hotplug.drc_index) == strtoul(index, NULL, 0)) {
		vcpus[id].retries = false;
		return false;
	}
	vcpus[id].retries = true;
	vcpus[id].stays = true;
	snprintf(call, sizeof call, "check-exception 0x500 0x1001 0x10000000 0 %#x %zu",
	    (unsigned)LOG, sizeof *log);
	return script_rtas(memory, id, call, hcall);
}

/* The status of ibm,configure-connector is positive while there is more. */
static bool script_walk(
    const struct gmem *memory, uint32_t id, const char *index, struct kvm_hcall *hcall)
{
	struct be32 head[2] = {be32((uint32_t)strtoul(index, NULL, 0)), be32(0)};
	int32_t status = (int32_t)from_be32(script_block(memory, id)[5]);
	char call[64];

	if (vcpus[id].walks && status <= 0) {
		vcpus[id].walks = false;
		return false;
	}
	memcpy((char *)memory->host + WORK, head, vcpus[id].walks ? sizeof head[0] : sizeof head);
	vcpus[id].walks = true;
	vcpus[id].stays = true;
	snprintf(call, sizeof call, "ibm,configure-connector %#x 0", (unsigned)WORK);
	return script_rtas(memory, id, call, hcall);
}

/* Bytes of guest memory as a number, or a number into them. */
static bool script_memory(
    const struct gmem *memory, uint32_t id, const char *rest, bool store, struct kvm_hcall *hcall)
{
	uint64_t numbers[3] = {0}, value = 0;
	uint8_t *bytes;

	script_numbers(rest, numbers, 3);
	bytes = (uint8_t *)memory->host + numbers[0];
	for (uint64_t i = 0; i < numbers[1] && i < 8; i++) {
		if (store)
			bytes[i] = (uint8_t)(numbers[2] >> (8 * i));
		value |= (uint64_t)((volatile uint8_t *)bytes)[i] << (8 * i);
	}
	if (value == numbers[2])
		return false;
	/* Any call will do: others get the lock meanwhile. */
	vcpus[id].stays = true;
	*hcall = (struct kvm_hcall){.nr = H_GET_TERM_CHAR};
	return true;
}

static bool script_panic(
    const struct gmem *memory, uint32_t id, const char *text, struct kvm_hcall *hcall)
{
	unsigned address = BLOCKS + id * BLOCK_BYTES + TEXT;
	char line[64];

	strcpy((char *)memory->host + address, text);
	snprintf(line, sizeof line, "ibm,os-term %#x", address);
	return script_rtas(memory, id, line, hcall);
}

static bool script_put(const char *text, struct kvm_hcall *hcall)
{
	char bytes[16] = "";
	size_t length = strlen(text) < 14 ? strlen(text) : 14;

	memcpy(bytes, text, length);
	memcpy(bytes + length, "\r\n", 2);
	*hcall = (struct kvm_hcall){.nr = H_PUT_TERM_CHAR, .args = {0, length + 2}};
	for (size_t i = 0; i < sizeof bytes; i++)
		hcall->args[2 + i / 8] |= (uint64_t)(uint8_t)bytes[i] << (56 - i % 8 * 8);
	return true;
}

static bool script_line(
    const struct gmem *memory, uint32_t id, const char *line, struct kvm_hcall *hcall);

/* Carry out one line; true if the vCPU leaves the guest with *hcall. */
static bool script_step(const struct gmem *memory, uint32_t id, const char *verb, const char *rest,
    struct kvm_hcall *hcall)
{
	if (strcmp(verb, "put") == 0)
		return script_put(rest, hcall);
	if (strcmp(verb, "rtas") == 0)
		return script_rtas(memory, id, rest, hcall);
	if (strcmp(verb, "panic") == 0)
		return script_panic(memory, id, rest, hcall);
	if (strcmp(verb, "retry") == 0)
		return script_retry(memory, id, rest, hcall);
	if (strcmp(verb, "fetch") == 0)
		return script_fetch(memory, id, rest, hcall);
	if (strcmp(verb, "walk") == 0)
		return script_walk(memory, id, rest, hcall);
	if (strcmp(verb, "poke") == 0 || strcmp(verb, "until") == 0)
		return script_memory(memory, id, rest, verb[0] == 'p', hcall);
	if (strcmp(verb, "hcall") == 0) {
		uint64_t numbers[10] = {0};

		script_numbers(rest, numbers, 10);
		hcall->nr = numbers[0];
		memcpy(hcall->args, numbers + 1, sizeof hcall->args);
		return true;
	}
	if (strcmp(verb, "store") == 0 || strcmp(verb, "fail") == 0) {
		uint64_t numbers[3] = {0, 4, UINT64_MAX};

		script_numbers(rest, numbers, 3);
		hcall->nr = verb[0] == 's' ? FAKE_NR_STORE : FAKE_NR_FAIL;
		memcpy(hcall->args, numbers, sizeof numbers);
		return true;
	}
	if (strcmp(verb, "only") == 0) {
		char *line;

		return strtoul(rest, &line, 0) == id && script_line(memory, id, line, hcall);
	}
	if (strcmp(verb, "later") == 0)
		return vcpus[id].lives > 1 && script_line(memory, id, rest, hcall);
	if (strcmp(verb, "again") == 0)
		vcpus[id].at = 0, vcpus[id].stays = true;
	else if (strcmp(verb, "wait") == 0)
		vcpus[id].waits = true;
	else if (strcmp(verb, "play") != 0)
		vcpus[id].rests = true;
	return false;
}

static bool script_line(
    const struct gmem *memory, uint32_t id, const char *line, struct kvm_hcall *hcall)
{
	char verb[16] = "";
	int used = 0;

	sscanf(line, " %15s %n", verb, &used);
	return script_step(memory, id, verb, line + used, hcall);
}

bool fake_script(const struct gmem *memory, uint32_t id, bool fresh, uint64_t interrupts,
    struct kvm_hcall *hcall)
{
	char script[SCRIPT_BYTES + 1];
	bool leaves;

	if (id >= VCPUS)
		return false;
	if (fresh) {
		unsigned lives = vcpus[id].lives;

		memset(&vcpus[id], 0, sizeof vcpus[id]);
		vcpus[id].lives = lives + 1;
		vcpus[id].interrupts = interrupts;
	}
	memcpy(script, memory->host, SCRIPT_BYTES);
	script[SCRIPT_BYTES] = '\0';
	vcpus[id].rests = vcpus[id].rests || strncmp(script, "play\n", 5) != 0;
	while (!vcpus[id].rests) {
		const char *line = script + vcpus[id].at;
		size_t length = strcspn(line, "\n");
		char text[128] = "";

		/* One that came before the wait is pending, as on hardware. */
		if (vcpus[id].waits && interrupts == vcpus[id].interrupts)
			return false;
		if (vcpus[id].waits)
			vcpus[id].interrupts = interrupts;
		vcpus[id].waits = false;
		memcpy(text, line, length < sizeof text - 1 ? length : sizeof text - 1);
		vcpus[id].stays = false;
		leaves = script_line(memory, id, text, hcall);
		if (!vcpus[id].stays)
			vcpus[id].at += length + (line[length] == '\n');
		if (leaves)
			return true;
	}
	return false;
}

/* A program that links this file has no other guest. */
static void __attribute__((constructor)) script_start(void)
{
	fake_set_guest(fake_script);
}
