/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_hcall.c - one hypervisor call: any number, any arguments, over any guest memory.
 *
 * Input: vCPU; which call (a row of the table, or behind its end a number of 8 bytes); nine
 * arguments, each a byte that says how long it is and that many bytes; the rest is the guest's
 * memory from IMAGE on, and once more in front of the end of RAM, so that it can be met there.
 */
#include "still.h"

#include "spapr/hcall.h"

enum { IMAGE = 0x100000, IMAGE_MAX = 16384 };

static void put_image(const struct spapr *machine, const struct input *input)
{
	size_t length = input->left < IMAGE_MAX ? input->left : IMAGE_MAX;

	FUZZ_CHECK(gmem_write(&machine->gmem, IMAGE, input->bytes, length));
	FUZZ_CHECK(gmem_write(&machine->gmem, STILL_MEMORY_BYTES - length, input->bytes, length));
}

/* 0 to 7: a number of so many bytes; 8 and more: of 8 bytes, above all RAM; with 16 set an
 * address in the image, with 32 set one at the end of RAM. */
static uint64_t take_argument(struct input *input)
{
	uint8_t kind = (uint8_t)input_take(input, 1);
	uint64_t value = input_take(input, kind % 16 < 8 ? kind % 8u : 8);

	if (kind & 16)
		return IMAGE + value % IMAGE_MAX;
	if (kind & 32)
		return STILL_MEMORY_BYTES - value % 256;
	return value;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	struct spapr *machine = still_fresh();
	struct kvm_hcall call = {0};
	uint32_t id = (uint32_t)input_take(&input, 1);
	size_t row = input_take(&input, 1);

	call.nr = row < hcall_table_rows ? hcall_table[row].number : input_take(&input, 8);
	for (size_t i = 0; i < 9; i++)
		call.args[i] = take_argument(&input);
	put_image(machine, &input);
	/* Twice: what the first has set must not make the second do anything else. */
	if (still_call(id % 2 == 0 ? 0 : id, &call))
		still_call(0, &call);
	return 0;
}
