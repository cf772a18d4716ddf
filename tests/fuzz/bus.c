/* SPDX-License-Identifier: Apache-2.0 */
/* bus.c - see bus.h. */
#include "bus.h"
#include "still.h"
#include "toys.h"

#include <dirent.h>

#include "base/be.h"
#include "base/le.h"
#include "fake_kvm.h"
#include "spapr/irq.h"
#include "spapr/rtas.h"

enum { WORK_AREA = 0xb000, LOG_BUFFER = 0x9000, RINGS = 0x20000 };
enum { NOTIFY = 0x3000 };
/* What Linux' pciehp does with the registers of a port. */
enum {
	SLOT_CONTROL = 0x58,
	SLOT_STATUS = 0x5a,
	PORT_EVENTS = 0x101, /* the button, and the link */
	PORT_LISTENS = 0x1031,
	PORT_ON = 0x100,
	PORT_BLINKS = 0x200,
	PORT_OFF = 0x300,
};
enum { SELECT = 22, SIZE = 24, VECTOR = 26, ENABLE = 28, DESC = 32, DRIVER = 40, DEVICE = 48 };
enum { ACKNOWLEDGED = 1, DRIVING = 3, ACCEPTED = 11, RUNNING = 15, DRIVER_OK = 4 };

static struct spapr *machine;
static uint16_t available[PHB_SLOTS][TOY_QUEUES];
static uint8_t places[PHB_SLOTS]; /* where the guest thinks that the BARs are */

static unsigned descriptors_before;

bool bus_refused;

static unsigned descriptors(void)
{
	DIR *list = opendir("/proc/self/fd");
	unsigned count = 0;

	FUZZ_CHECK(list != NULL);
	while (readdir(list) != NULL)
		count++;
	closedir(list);
	return count;
}

struct spapr *bus_fresh(bool plugged, uint32_t ports)
{
	struct err err = {0};

	still_has_pci = true;
	still_ports = ports;
	machine = still_fresh();
	/* Counted anew for each input: between two, libFuzzer may start a symbolizer. */
	descriptors_before = descriptors();
	bus_refused = false;
	memset(available, 0, sizeof available);
	memset(places, 0, sizeof places);
	if (plugged)
		FUZZ_CHECK(spapr_plug(machine, "toy0", toy_make(&machine->gmem), &err));
	return machine;
}

/* --- What must hold ----------------------------------------------------------------------------
 */

FUZZ_UNSEEN static bool has_doorbells(struct virtio_pci *function)
{
	uint64_t bar = (uint64_t)virtio_pci_read_config(function, PCI_BAR0 + 4, 4) << 32 |
	               (virtio_pci_read_config(function, PCI_BAR0, 4) & ~0xfu);

	return bar != 0 && (~virtio_pci_read_config(function, PCI_COMMAND, 2) &
	                       (PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)) == 0;
}

void bus_check(void)
{
	size_t least = 0, most = 0, irqs = 0, devices = 0;

	for (uint32_t slot = 1; slot < PHB_SLOTS; slot++) {
		const struct phb_slot *at = &machine->phb.slots[slot];
		const struct connector *connector =
		    connector_find(&machine->connectors, drc_index(&drc_type_pci, slot));
		struct virtio_pci_use use;

		FUZZ_CHECK((at->function == NULL) == (at->device == NULL));
		FUZZ_CHECK((at->function == NULL) == (connector == NULL));
		if (at->function == NULL)
			continue;
		use = virtio_pci_use(at->function);
		devices++;
		irqs += use.irqs;
		least += use.running && has_doorbells(at->function) ? TOY_QUEUES : 0;
		most +=
		    (use.status & DRIVER_OK) != 0 && has_doorbells(at->function) ? TOY_QUEUES : 0;
		if (connector->drc.state == DRC_UNUSABLE)
			FUZZ_CHECK(!use.held && use.status == 0 && !has_doorbells(at->function) &&
			           virtio_at_rest(at->device));
		FUZZ_CHECK(connector->drc.attached || connector->leaving);
	}
	FUZZ_CHECK(devices == toys_alive());
	FUZZ_CHECK(fake_joined_irqs() <= irqs); /* those that are masked are not */
	FUZZ_CHECK(fake_doorbells() <= most && (bus_refused || fake_doorbells() >= least));
}

/* --- Calls --------------------------------------------------------------------------------------
 */

int32_t bus_call(const char *service, uint32_t slot, uint32_t offset, uint32_t a, uint32_t b,
    uint32_t nargs, uint32_t nret, uint32_t *ret)
{
	bool below = slot <= still_ports;
	uint32_t place = below ? slot << 16 : (slot & ~(uint32_t)BUS_PORT) << 11;
	const uint32_t args[] = {(offset >> 8) << 28 | place | (offset & 0xff),
	    (uint32_t)(PHB_BUID >> 32), (uint32_t)PHB_BUID, a, b, 1};

	return still_rtas(0, service, args, nargs, nret, ret);
}

uint32_t bus_read(uint32_t slot, uint32_t offset, uint32_t size)
{
	uint32_t value = 0;

	bus_call("ibm,read-pci-config", slot, offset, size, 0, 4, 2, &value);
	return value;
}

int32_t bus_write(uint32_t slot, uint32_t offset, uint32_t size, uint32_t value)
{
	return bus_call("ibm,write-pci-config", slot, offset, size, value, 5, 1, NULL);
}

static uint64_t bar_at(uint32_t place)
{
	return PHB_WINDOW_ADDRESS + place * (uint64_t)VIRTIO_PCI_BAR_BYTES;
}

/* Where the guest's BARs can be: places in the window, which two devices may share; its end, past
 * its end, in RAM, at the end of all addresses. */
void bus_move_bar(uint32_t slot, uint32_t place)
{
	static const uint64_t odd[] = {PHB_WINDOW_ADDRESS + PHB_WINDOW_BYTES - VIRTIO_PCI_BAR_BYTES,
	    PHB_WINDOW_ADDRESS + PHB_WINDOW_BYTES, 0x10000, ~(uint64_t)0};
	uint64_t address = place < BUS_PLACES ? bar_at(place) : odd[place % 4];

	places[slot] = (uint8_t)(place % BUS_PLACES);
	bus_write(slot, PCI_BAR0, 4, (uint32_t)address);
	bus_write(slot, PCI_BAR0 + 4, 4, (uint32_t)(address >> 32));
}

uint64_t bus_load(uint64_t address, uint32_t length)
{
	uint8_t data[8] = {0};

	still_access(0, address, data, length, false);
	return le_load(data, length);
}

void bus_store(uint64_t address, uint32_t length, uint64_t value)
{
	uint8_t data[8];

	le_store(data, length, value);
	still_access(0, address, data, length, true);
}

uint64_t bus_bar(uint32_t slot)
{
	return bar_at(places[slot]);
}

void bus_set(uint32_t slot, uint32_t offset, uint32_t length, uint64_t value)
{
	bus_store(bus_bar(slot) + offset, length, value);
}

int32_t bus_indicate(uint32_t indicator, uint32_t slot, uint32_t value)
{
	const uint32_t args[] = {indicator, drc_index(&drc_type_pci, slot), value};

	return still_rtas(0, "set-indicator", args, 3, 1, NULL);
}

int32_t bus_fetch(uint32_t length)
{
	const uint32_t args[] = {0x500, IRQ_HOTPLUG, EVENT_MASK_HOTPLUG, 1, LOG_BUFFER, length};

	return still_rtas(0, "check-exception", args, 6, 1, NULL);
}

/* --- A driver -----------------------------------------------------------------------------------
 */

uint32_t driver_ring(uint32_t slot, unsigned queue)
{
	return RINGS + ((slot - 1) * TOY_QUEUES + queue) * 0x1000u;
}

static void guest_put(uint64_t at, uint64_t value, unsigned length)
{
	uint8_t bytes[8];

	le_store(bytes, length, value);
	FUZZ_CHECK(gmem_write(&machine->gmem, at, bytes, length));
}

void driver_queue(uint32_t slot, unsigned queue, uint16_t size, uint32_t off)
{
	uint32_t ring = driver_ring(slot, queue) + off;

	bus_set(slot, SELECT, 2, queue);
	bus_set(slot, SIZE, 2, size);
	bus_set(slot, VECTOR, 2, queue + 1);
	bus_set(slot, DESC, 4, ring);
	bus_set(slot, DRIVER, 4, ring + 0x100);
	bus_set(slot, DEVICE, 4, ring + 0x200);
	bus_set(slot, ENABLE, 2, 1);
	available[slot][queue] = 0;
	guest_put(driver_ring(slot, queue) + 0x102, 0, 2);
	guest_put(driver_ring(slot, queue) + 0x202, 0, 2);
}

static void accept_features(uint32_t slot, uint32_t low, uint32_t high)
{
	bus_set(slot, 8, 4, 0);
	bus_set(slot, 12, 4, low);
	bus_set(slot, 8, 4, 1);
	bus_set(slot, 12, 4, high);
}

uint32_t bus_msix(uint32_t slot)
{
	uint32_t at = bus_read(slot, PCI_CAPABILITY_POINTER, 1);

	for (unsigned i = 0; i < 8 && bus_read(slot, at, 1) != PCI_CAP_MSIX; i++)
		at = bus_read(slot, at + 1, 1) & 0xfc;
	return at & 0xfc;
}

void driver_up(uint32_t slot, uint32_t features)
{
	uint32_t ret[3];

	bus_write(slot, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	bus_set(slot, BUS_STATUS, 1, ACKNOWLEDGED);
	bus_set(slot, BUS_STATUS, 1, DRIVING);
	accept_features(slot, features, 1);
	bus_set(slot, BUS_STATUS, 1, ACCEPTED);
	bus_call("ibm,change-msi", slot, 0, 4, TOY_QUEUES + 1, 6, 4, ret);
	for (unsigned i = 0; i <= TOY_QUEUES; i++)
		bus_set(slot, BUS_TABLE + 16 * i + 12, 4, 0);
	bus_write(slot, bus_msix(slot) + 2, 2, 0x8000);
	for (unsigned queue = 0; queue < TOY_QUEUES; queue++)
		driver_queue(slot, queue, BUS_RING_SIZE, 0);
	bus_set(slot, BUS_STATUS, 1, RUNNING);
}

/* As Linux does; it waits for the reset. */
void driver_down(uint32_t slot, bool patient)
{
	uint32_t ret[3];

	bus_set(slot, BUS_STATUS, 1, 0);
	if (patient) {
		toys_release();
		toys_work();
	}
	bus_set(slot, BUS_STATUS, 1, ACKNOWLEDGED);
	bus_call("ibm,change-msi", slot, 0, 3, 0, 6, 4, ret);
	bus_write(slot, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
}

void driver_describe(uint32_t slot, unsigned queue, unsigned index, uint64_t address,
    uint32_t length, unsigned flags, unsigned next)
{
	uint64_t at = driver_ring(slot, queue) + 16 * (uint64_t)(index % BUS_RING_SIZE);

	guest_put(at, address, 8);
	guest_put(at + 8, length, 4);
	guest_put(at + 12, flags, 2);
	guest_put(at + 14, next, 2);
}

void driver_offer(uint32_t slot, unsigned queue, uint16_t head)
{
	uint16_t *index = &available[slot][queue];
	uint64_t ring = driver_ring(slot, queue) + 0x100;

	guest_put(ring + 4 + 2 * (*index % BUS_RING_SIZE), head, 2);
	guest_put(ring + 2, ++*index, 2);
}

void driver_notify(uint32_t slot, unsigned queue)
{
	uint64_t address = bus_bar(slot) + NOTIFY + 4 * queue;

	if (!fake_ring(address))
		bus_store(address, 2, queue);
}

/* --- Tools of the guest, and the operator's part ------------------------------------------------
 */

int32_t tool_configure(uint32_t slot, bool first, unsigned calls)
{
	const uint32_t args[] = {WORK_AREA, 0};
	struct be32 head[2] = {be32(drc_index(&drc_type_pci, slot)), be32(0)};
	int32_t answer = 1;

	FUZZ_CHECK(gmem_write(&machine->gmem, WORK_AREA, head, first ? 8 : 4));
	while (answer > 0 && calls-- > 0)
		answer = still_rtas(0, "ibm,configure-connector", args, 2, 1, NULL);
	return answer;
}

static int32_t port_says(uint32_t slot, uint32_t indicator)
{
	return bus_write(slot | BUS_PORT, SLOT_CONTROL, 2, PORT_LISTENS | indicator);
}

/* A kernel that begins clears what there is before it listens, and is told again. */
static int32_t port_hears(uint32_t slot)
{
	uint32_t control = bus_read(slot | BUS_PORT, SLOT_CONTROL, 2), status;

	if ((control & PORT_LISTENS) != PORT_LISTENS) {
		bus_write(slot | BUS_PORT, SLOT_STATUS, 2, PORT_EVENTS);
		port_says(slot, control & PORT_OFF);
	}
	status = bus_read(slot | BUS_PORT, SLOT_STATUS, 2) & PORT_EVENTS;
	bus_write(slot | BUS_PORT, SLOT_STATUS, 2, status);
	return status != 0 ? RTAS_SUCCESS : RTAS_NO_ERRORS_FOUND;
}

int32_t tool_hears(uint32_t slot)
{
	return slot <= still_ports ? port_hears(slot) : bus_fetch(2048);
}

int32_t tool_takes(uint32_t slot)
{
	if (slot <= still_ports)
		return port_says(slot, PORT_BLINKS);
	bus_indicate(9001, slot, 0);
	bus_indicate(9002, slot, 1);
	bus_indicate(9001, slot, 1);
	return tool_configure(slot, true, 100);
}

int32_t tool_ends(uint32_t slot)
{
	return slot <= still_ports ? port_says(slot, PORT_ON) : RTAS_SUCCESS;
}

int32_t tool_gives(uint32_t slot, bool patient)
{
	if (slot <= still_ports)
		port_says(slot, PORT_BLINKS);
	else
		bus_indicate(9002, slot, 1);
	driver_down(slot, patient);
	if (slot <= still_ports)
		return port_says(slot, PORT_OFF);
	return bus_indicate(9001, slot, 0);
}

void operator_looks(void)
{
	if (spapr_take_news(machine) & SPAPR_NEWS_DRIVER)
		spapr_look_at_drivers(machine);
	spapr_check_deadline(machine);
	still_check();
}

uint64_t operator_adds(const char *name)
{
	struct virtio_device *device = toy_make(&machine->gmem);
	struct err err = {0};
	uint64_t id = 0;
	bool added = spapr_pci_add(machine, name, device, &id, &err);

	FUZZ_CHECK(added == (err.class == ERR_NONE) && added == (id != 0));
	if (!added)
		virtio_destroy(device);
	still_check();
	return id;
}

uint64_t operator_removes(const char *name)
{
	struct err err = {0};
	uint64_t id = 0;
	bool accepted = spapr_device_remove(machine, name, &id, &err);

	FUZZ_CHECK(accepted == (err.class == ERR_NONE) && accepted == (id != 0));
	still_check();
	return id;
}

uint64_t operator_forces(const char *name)
{
	struct err err = {0};
	uint64_t id = 0;
	bool accepted = spapr_device_force(machine, name, &id, &err);

	FUZZ_CHECK(accepted == (err.class == ERR_NONE) && accepted == (id != 0));
	still_check();
	return id;
}

/* --- The end ------------------------------------------------------------------------------------
 */

static void expect_done(uint64_t id)
{
	const struct operation *op = ops_find(&machine->devices.ops, id);

	FUZZ_CHECK(op != NULL && op->outcome == OP_DONE);
}

static void remove_honestly(const char *name, uint32_t slot)
{
	uint64_t id = operator_removes(name);

	FUZZ_CHECK(id != 0 && tool_hears(slot) == RTAS_SUCCESS);
	FUZZ_CHECK(tool_gives(slot, true) == RTAS_SUCCESS);
	FUZZ_CHECK(!spapr_has_device(machine, name));
	expect_done(id);
}

/* A device comes and serves its driver. */
static void use_honestly(const char *name, uint32_t slot)
{
	uint64_t id = operator_adds(name);
	struct spapr_pci_info info;

	FUZZ_CHECK(id != 0 && spapr_pci_info(machine, slot, &info) && info.slot == slot);
	FUZZ_CHECK(tool_hears(slot) == RTAS_SUCCESS && tool_takes(slot) == RTAS_SUCCESS);
	bus_move_bar(slot, slot);
	driver_up(slot, 0);
	FUZZ_CHECK(tool_ends(slot) == RTAS_SUCCESS);
	operator_looks();
	expect_done(id);
	for (unsigned i = 0; i < TOY_QUEUES; i++) {
		uint32_t irq = IRQ_DEVICES + IRQ_DEVICE_MAX * slot + 1 + i;
		struct le16 used;

		fake_take_edges(irq); /* of the slot's last device */
		driver_describe(slot, i, 0, BUS_BUFFERS, 16, 0, 0);
		driver_offer(slot, i, 0);
		driver_describe(slot, i, 1, BUS_BUFFERS, 16, 2, 0);
		driver_offer(slot, i, 1);
		driver_notify(slot, i);
		toys_work();
		FUZZ_CHECK(toys_in_flight() == 1);
		toys_release();
		toys_work();
		FUZZ_CHECK(gmem_read(&machine->gmem, driver_ring(slot, i) + 0x202, &used, 2));
		FUZZ_CHECK(from_le16(used) == 2);
		FUZZ_CHECK(fake_take_edges(irq) == 2);
	}
	bus_check();
}

void bus_end(void)
{
	struct spapr_pci_info info;

	for (int i = 0; i < FAKE_CALL_COUNT; i++)
		fake_fail_next((enum fake_call)i, 0);
	spapr_quiesce(machine);
	toys_release();
	toys_work();
	FUZZ_CHECK(phb_at_rest(&machine->phb) && toys_in_flight() == 0);
	still_prove_alive();
	bus_check();
	FUZZ_CHECK(fake_joined_irqs() == 0 && fake_doorbells() == 0);
	while (spapr_pci_info(machine, 0, &info))
		remove_honestly(info.connector.device, info.slot);
	/* The first slot may have a port. */
	use_honestly("last", 1);
	use_honestly("one more", 2);
	remove_honestly("last", 1);
	remove_honestly("one more", 2);
	FUZZ_CHECK(toys_alive() == 0 && fake_joined_irqs() == 0 && fake_doorbells() == 0);
	for (uint32_t i = STILL_CORES; i < machine->devices.count; i++)
		FUZZ_CHECK(machine->devices.list[i].type == NULL);
	FUZZ_CHECK(descriptors() == descriptors_before);
}
