/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_pci.c - sequences of what a guest does with a PCI bus: its configuration spaces, BARs and
 * interrupts, the devices' registers and rings, the connectors of the slots; and of what the
 * operator does meanwhile: devices come and go, the machine is reset, the host refuses.
 *
 * Input: a byte that says whether there is a device at boot, and whether all is checked after each
 * step; then, as of fuzz_calls.c, a step is a byte that chooses a row of `steps` and a byte with
 * what it is about; more bytes where a step wants them. What must hold is in bus.h.
 */
#include "bus.h"
#include "toys.h"

#include "fake_kvm.h"
#include "spapr/irq.h"
#include "spapr/rtas.h"

enum { STEPS_MAX = 200, SLOTS = 3 };

static struct spapr *machine;

static uint32_t slot_of(uint8_t about)
{
	return 1 + about % SLOTS;
}

/* --- Steps: the guest ---------------------------------------------------------------------------
 */

/* Any access, of any width, or of something that is not there. */
static void try_config(struct input *input, uint8_t about)
{
	static const char *const services[] = {"ibm,read-pci-config", "ibm,write-pci-config"};
	uint32_t address = (uint32_t)input_take(input, 1) | slot_of(about) << 11;
	uint32_t size = (uint32_t)input_take(input, 1) % 9, value = (uint32_t)input_take(input, 4);
	unsigned write = about / 4 % 2;

	if (about / 8 % 4 == 3)
		address ^= value;
	{
		const uint32_t args[] = {address, (uint32_t)(PHB_BUID >> 32),
		    (uint32_t)PHB_BUID ^ (about == 255), size, value};

		still_rtas(about / 64, services[write], args, 4 + write, 2 - write, NULL);
	}
}

static void command(struct input *input, uint8_t about)
{
	bus_write(slot_of(about), PCI_COMMAND, 2, about / SLOTS % 8);
}

static void move(struct input *input, uint8_t about)
{
	bus_move_bar(slot_of(about), about / SLOTS % (2 * BUS_PLACES));
}

static void msi(struct input *input, uint8_t about)
{
	uint32_t ret[3] = {0};

	if (bus_call("ibm,change-msi", slot_of(about), 0, about / SLOTS % 8,
	        (uint32_t)input_take(input, 1), 6, 4, ret) == 0)
		FUZZ_CHECK(ret[0] <= TOY_QUEUES + 1);
}

static void source(struct input *input, uint8_t about)
{
	uint32_t first = IRQ_DEVICES + IRQ_DEVICE_MAX * slot_of(about), ret[2] = {0};

	if (bus_call("ibm,query-interrupt-source-number", slot_of(about), 0, about / SLOTS % 5, 0,
	        4, 3, ret) == 0)
		FUZZ_CHECK(ret[0] >= first && ret[0] <= first + TOY_QUEUES && ret[1] == 1);
}

/* Anywhere in a BAR, or behind it. */
static void access_bar(struct input *input, uint8_t about)
{
	uint64_t address = bus_bar(slot_of(about)) + input_take(input, 2);
	uint32_t length = 1u << about / SLOTS % 4;

	if (about >= 248)
		address = PHB_WINDOW_ADDRESS + PHB_WINDOW_BYTES - input_take(input, 2);
	if (about / 12 % 2)
		bus_store(address, length, input_take(input, length));
	else
		bus_load(address, length);
}

static void access_register(struct input *input, uint8_t about)
{
	static const uint8_t registers[][2] = {{0, 4}, {4, 4}, {8, 4}, {12, 4}, {16, 2}, {18, 2},
	    {20, 1}, {21, 1}, {22, 2}, {24, 2}, {26, 2}, {28, 2}, {30, 2}, {32, 4}, {36, 4},
	    {40, 4}, {44, 4}, {48, 4}, {52, 4}};
	const uint8_t *one = registers[about / SLOTS % (sizeof registers / sizeof registers[0])];

	if (about >= 128)
		bus_set(slot_of(about), one[0], one[1], input_take(input, 2));
	else
		bus_load(bus_bar(slot_of(about)) + one[0], one[1]);
}

static void status(struct input *input, uint8_t about)
{
	static const uint8_t values[] = {0, 1, 3, 11, 15, 4, 0x80, 0x4f};

	bus_set(slot_of(about), BUS_STATUS, 1, values[about / SLOTS % 8]);
}

static void mask(struct input *input, uint8_t about)
{
	uint32_t slot = slot_of(about);

	if (about >= 128)
		bus_write(slot, bus_msix(slot) + 2, 2, (uint32_t)about << 9);
	else
		bus_set(slot, BUS_TABLE + 16u * (about / SLOTS % 4) + 12, 4, about / 64);
}

static void queue(struct input *input, uint8_t about)
{
	static const uint16_t sizes[] = {BUS_RING_SIZE, BUS_RING_SIZE, 4, 1, 256, 512, 0, 6};

	driver_queue(slot_of(about), about / SLOTS % (TOY_QUEUES + 1) % TOY_QUEUES,
	    sizes[about / 9 % 8], about >= 216 ? (uint32_t)input_take(input, 2) : 0);
}

static void up(struct input *input, uint8_t about)
{
	driver_up(slot_of(about), (about & 8u) << 25 | (about & 16u) << 25);
}

static void down(struct input *input, uint8_t about)
{
	driver_down(slot_of(about), about & 4);
}

static void one_descriptor(struct input *input, uint8_t about)
{
	uint64_t address = input_take(input, 2);

	driver_describe(slot_of(about), about / SLOTS % TOY_QUEUES, about / 8,
	    address >= 0xff00 ? ~(0xffff - address) : BUS_BUFFERS + address,
	    (uint32_t)input_take(input, 2), (unsigned)input_take(input, 1) % 8,
	    (unsigned)input_take(input, 1) % (BUS_RING_SIZE + 1));
}

/* A request that is answered at once or kept; then any head. */
static void request(struct input *input, uint8_t about)
{
	uint32_t slot = slot_of(about);
	unsigned queue = about / SLOTS % TOY_QUEUES, index = about / 8 % BUS_RING_SIZE;

	driver_describe(slot, queue, index, BUS_BUFFERS, 16, about / 64 % 2 ? 2 : 0, 0);
	driver_offer(slot, queue, (uint16_t)index);
	if (about >= 128)
		driver_notify(slot, queue);
}

static void any_head(struct input *input, uint8_t about)
{
	driver_offer(slot_of(about), about / SLOTS % TOY_QUEUES, about / 8 % (BUS_RING_SIZE + 2));
}

static void ring(struct input *input, uint8_t about)
{
	driver_notify(slot_of(about), about / SLOTS % (TOY_QUEUES + 1));
}

/* The BAR by way of the configuration space. */
static void indirect_access(struct input *input, uint8_t about)
{
	uint32_t slot = slot_of(about), at = bus_read(slot, PCI_CAPABILITY_POINTER, 1);

	for (unsigned i = 0; i < 8 && bus_read(slot, at + 3, 1) != 5; i++)
		at = bus_read(slot, at + 1, 1) & 0xfc;
	at &= 0xfc;
	bus_write(slot, at + 4, 1, about == 255);
	bus_write(slot, at + 8, 4, (uint32_t)input_take(input, 2));
	bus_write(slot, at + 12, 4, (uint32_t)input_take(input, 1));
	if (about / SLOTS % 2)
		bus_write(slot, at + 16, 4, (uint32_t)input_take(input, 2));
	else
		bus_read(slot, at + 16, 1u << about / 6 % 3);
}

static void indicator(struct input *input, uint8_t about)
{
	static const uint32_t pairs[][2] = {
	    {9001, 0}, {9001, 1}, {9002, 0}, {9002, 1}, {9003, 0}, {9003, 1}, {9001, 2}, {9002, 3}};
	const uint32_t *pair = pairs[about / SLOTS % 8];

	bus_indicate(pair[0], slot_of(about), pair[1]);
}

static void sense(struct input *input, uint8_t about)
{
	const uint32_t args[] = {9003, drc_index(&drc_type_pci, about % PHB_SLOTS)};
	uint32_t state = 0;

	if (still_rtas(0, "get-sensor-state", args, 2, 2, &state) == RTAS_SUCCESS)
		FUZZ_CHECK(state <= 1);
}

static void configure_some(struct input *input, uint8_t about)
{
	tool_configure(slot_of(about), about & 64, about / SLOTS % 40);
}

static void events(struct input *input, uint8_t about)
{
	bus_fetch(about % 4 == 0 ? (uint32_t)input_take(input, 1) : 2048);
}

/* The registers of a port: as pciehp uses them, and any. Slot 1 has one. */
static void port(struct input *input, uint8_t about)
{
	static const uint16_t controls[] = {0x1131, 0x1231, 0x1331, 0x1031, 0x0300, 0x0020};

	switch (about % 4) {
	case 0: bus_write(1 | BUS_PORT, 0x58, 2, controls[about / 4 % 6]); break;
	case 1: tool_hears(1); break;
	case 2:
		bus_write(1 | BUS_PORT, (uint32_t)input_take(input, 1), 1u << about / 4 % 3,
		    (uint32_t)input_take(input, 4));
		break;
	default:
		bus_call("ibm,change-msi", 1 | BUS_PORT, 0, about / 4 % 8,
		    (uint32_t)input_take(input, 1), 6, 4, NULL);
		bus_call("ibm,query-interrupt-source-number", 1 | BUS_PORT, 0, about / 4 % 3, 0, 4,
		    3, NULL);
		break;
	}
}

static void tool(struct input *input, uint8_t about)
{
	if (about >= 128) {
		port(input, about);
		return;
	}
	if (about / SLOTS % 2)
		tool_takes(slot_of(about));
	else
		tool_gives(slot_of(about), about & 64);
}

/* Those of PCI and EEH among others, with any arguments. */
static void other_service(struct input *input, uint8_t about)
{
	size_t row = about % rtas_table_rows;
	uint32_t args[RTAS_WORDS];

	for (size_t i = 0; i < rtas_table[row].max_args; i++)
		args[i] = (uint32_t)input_take(input, 2);
	still_rtas(
	    0, rtas_table[row].name, args, rtas_table[row].max_args, rtas_table[row].nret, NULL);
}

static void tce(struct input *input, uint8_t about)
{
	static const uint64_t calls[] = {0x1c, 0x20, 0x138, 0x13c};
	struct kvm_hcall call = {.nr = calls[about % 4],
	    .args = {about & 64 ? PHB_LIOBN : about, input_take(input, 4), input_take(input, 4),
	        input_take(input, 2)}};

	still_call(0, &call);
}

/* --- Steps: the devices' threads, the operator, the host ----------------------------------------
 */

static void turn(struct input *input, uint8_t about)
{
	if (about >= 192)
		toys_release();
	if (about >= 128)
		toys_work();
	else
		toys_turn(about);
}

static void add(struct input *input, uint8_t about)
{
	char name[] = "toy0";

	name[3] = (char)('0' + about % 4);
	if (toys_alive() < SLOTS)
		operator_adds(name);
}

static void take_away(struct input *input, uint8_t about)
{
	char name[] = "toy0";

	name[3] = (char)('0' + about % 4);
	if (about >= 128)
		operator_forces(name);
	else
		operator_removes(name);
}

static void cancel(struct input *input, uint8_t about)
{
	struct err err = {0};

	spapr_operation_cancel(machine, machine->devices.ops.last_id - about % 8u, &err);
	still_check();
}

/* With the devices brought to rest first, or not: then it is refused. */
static void reset(struct input *input, uint8_t about)
{
	bool at_rest = spapr_quiesce(machine);
	struct err err = {0};

	FUZZ_CHECK(at_rest == phb_at_rest(&machine->phb));
	if (about & 1) {
		toys_release();
		toys_work();
		FUZZ_CHECK(phb_at_rest(&machine->phb));
	}
	at_rest = phb_at_rest(&machine->phb);
	if (about & 2)
		FUZZ_CHECK(spapr_boot(machine, &err) ? at_rest : machine->cpus.finished);
	still_check();
}

static void look(struct input *input, uint8_t about)
{
	struct operation op;
	struct spapr_pci_info info;
	enum op_step step;

	for (unsigned i = 0; i < about / 8u && spapr_next_report(machine, true, &op, &step); i++)
		FUZZ_CHECK(op.id != 0 && op_stuck_text(&op, (char[OP_STUCK_MAX]){0}) != NULL);
	if (spapr_pci_info(machine, about % 8, &info))
		FUZZ_CHECK(info.slot >= about % 8u && drc_valid(&info.connector.drc));
	operator_looks();
}

static void hold(struct input *input, uint8_t about)
{
	if (about & 1)
		spapr_stop(machine);
	else
		spapr_cont(machine);
	still_check();
}

static void refuse(struct input *input, uint8_t about)
{
	bus_refused = true;
	fake_fail_after((enum fake_call)(about % FAKE_CALL_COUNT), about / FAKE_CALL_COUNT % 4,
	    1 + (uint32_t)input_take(input, 1) % 4);
}

static void (*const steps[])(struct input *input, uint8_t about) = {try_config, command, move, msi,
    source, access_bar, access_register, status, mask, queue, up, down, one_descriptor, request,
    any_head, ring, indirect_access, indicator, sense, configure_some, events, tool, other_service,
    tce, turn, add, take_away, cancel, reset, look, hold, refuse};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	uint8_t first = (uint8_t)input_take(&input, 1);

	machine = bus_fresh(first & 1, 1);
	for (unsigned i = 0; i < STEPS_MAX && input.left > 0; i++) {
		size_t chosen = input_take(&input, 1) % (sizeof steps / sizeof steps[0]);

		steps[chosen](&input, (uint8_t)input_take(&input, 1));
		/* It looks at registers, which can complete a reset. */
		if (first & 2)
			bus_check();
	}
	bus_end();
	return 0;
}
