/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_rtas.c - one RTAS argument block, over a connector in each of its states.
 *
 * Input: where the guest stands with core 1 (an index into `stages`); where the block lies (in low
 * memory, in front of the end of RAM, or at an address of 4 bytes); the block itself, big-endian,
 * with the memory that follows it.
 */
#include "still.h"

#include "base/be.h"
#include "spapr/hcall.h"
#include "spapr/rtas.h"

enum { LOW = 0x100000, IMAGE_MAX = 8192 };

static struct spapr *machine;

static void indicator(uint32_t token, uint32_t value)
{
	const uint32_t args[] = {token, machine->connectors.list[1].drc_index, value};

	still_rtas(0, "set-indicator", args, 3, 1, NULL);
}

static void start_core(void)
{
	const uint32_t args[] = {machine->devices.list[1].unit, 0x60, 1};

	still_rtas(0, "start-cpu", args, 3, 1, NULL);
}

static void configure(unsigned calls)
{
	const uint32_t args[] = {0xa000, 0};
	struct be32 head[2] = {be32(machine->connectors.list[1].drc_index), be32(0)};
	int32_t answer = 1;

	FUZZ_CHECK(gmem_write(&machine->gmem, 0xa000, head, sizeof head));
	while (answer > 0 && calls-- > 0)
		answer = still_rtas(0, "ibm,configure-connector", args, 2, 1, NULL);
}

static void operate(bool add)
{
	struct err err = {0};
	uint64_t id = 0;

	FUZZ_CHECK(add ? spapr_core_add(machine, machine->devices.list[1].unit, "core", &id, &err)
	               : spapr_device_remove(machine, "core", &id, &err));
	still_check();
}

/* Each leads on from those before it. */
enum stage {
	EMPTY,
	ADDED,
	ALLOCATED,
	UNISOLATED,
	WALKING,
	CONFIGURED,
	STARTED,
	REMOVING,
	ISOLATED,
	STAGES
};

static void lead_to(enum stage stage)
{
	for (unsigned at = ADDED; at <= stage; at++) {
		switch (at) {
		case ADDED: operate(true); break;
		case ALLOCATED: indicator(9003, 1); break;
		case UNISOLATED: indicator(9001, 1); break;
		case WALKING: configure(3); break;
		case CONFIGURED: configure(64); break;
		case STARTED: start_core(); break;
		case REMOVING: operate(false); break;
		case ISOLATED: indicator(9001, 0); break;
		}
	}
}

static uint32_t take_address(struct input *input)
{
	uint8_t where = (uint8_t)input_take(input, 1);

	if (where < 128)
		return LOW + where;
	if (where < 255)
		return (uint32_t)STILL_MEMORY_BYTES - (where - 127u) * 4;
	return (uint32_t)input_take(input, 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	struct kvm_hcall call = {.nr = HCALL_RTAS};
	size_t room, length;

	machine = still_fresh();
	lead_to((enum stage)(input_take(&input, 1) % STAGES));
	call.args[0] = take_address(&input);
	length = input.left < IMAGE_MAX ? input.left : IMAGE_MAX;
	room = call.args[0] < STILL_MEMORY_BYTES ? STILL_MEMORY_BYTES - call.args[0] : 0;
	FUZZ_CHECK(gmem_write(&machine->gmem, call.args[0] < STILL_MEMORY_BYTES ? call.args[0] : 0,
	    input.bytes, length < room ? length : room));
	if (still_call(0, &call))
		still_call(STILL_THREADS, &call); /* core 1 may be there to make it, too */
	return 0;
}
