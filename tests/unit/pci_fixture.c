/* SPDX-License-Identifier: Apache-2.0 */
/* pci_fixture.c - see pci_fixture.h. */
#include "pci_fixture.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

_Atomic unsigned toys;
int toy_descriptors_left;

static int descriptors(void)
{
	DIR *list = opendir("/proc/self/fd");
	int count = 0;

	assert_non_null(list);
	while (readdir(list) != NULL)
		count++;
	closedir(list);
	return count;
}

/* --- The device ------------------------------------------------------------------------------ */

struct toy_lane {
	struct toy *toy;
	struct virtio_worker *worker;
	struct virtio_chain chain;
	uint16_t held[RING_SIZE];
	_Atomic unsigned held_count;
	_Atomic bool release;
	int doorbell;
};

struct toy {
	struct virtio_device *device;
	unsigned opened;
	struct toy_lane lanes[TOY_QUEUES];
	uint8_t config[5];
	int descriptors; /* before it was made */
};

static void *toy_open(void *model, struct virtio_worker *worker, int doorbell, struct err *err)
{
	struct toy *toy = model;
	struct toy_lane *lane = &toy->lanes[toy->opened++];

	(void)err;
	lane->toy = toy;
	lane->worker = worker;
	lane->doorbell = doorbell;
	return lane;
}

static void toy_close(void *lane)
{
	(void)lane;
}

static void toy_destroy(void *model)
{
	toys--;
	toy_descriptors_left = descriptors() - ((struct toy *)model)->descriptors;
	free(model);
}

static struct virtio_chain *toy_room(void *lane)
{
	return &((struct toy_lane *)lane)->chain;
}

static void toy_request(void *to, struct virtio_chain *chain)
{
	struct toy_lane *lane = to;

	if (chain->readable.count > 0)
		lane->held[lane->held_count++] = chain->head;
	else
		virtio_answer(lane->worker, chain->head, 7);
}

static void toy_refuse(void *to, struct virtio_chain *chain)
{
	struct toy_lane *lane = to;

	virtio_answer(lane->worker, chain->head, TOY_REFUSED);
}

static void toy_collect(void *from)
{
	struct toy_lane *lane = from;

	if (!atomic_exchange(&lane->release, false))
		return;
	while (lane->held_count > 0)
		virtio_answer(lane->worker, lane->held[--lane->held_count], 9);
}

static const struct virtio_model_ops toy_ops = {
    .kind = {.id = TOY_ID, .driver = "toy-pci", .pci_class = 0xff00, .of_class = "toy"},
    .open = toy_open,
    .close = toy_close,
    .destroy = toy_destroy,
    .room = toy_room,
    .request = toy_request,
    .refuse = toy_refuse,
    .collect = toy_collect};

struct toy *toy_make(struct fixture *fixture)
{
	struct toy *toy = calloc(1, sizeof *toy);
	struct err err = {0};

	assert_non_null(toy);
	toys++;
	toy->descriptors = descriptors();
	memcpy(toy->config, (uint8_t[]){1, 2, 3, 4, 5}, sizeof toy->config);
	toy->device = virtio_create(&(struct virtio_model){.ops = &toy_ops,
	                                .self = toy,
	                                .name = "toy",
	                                .features = 3,
	                                .queues = TOY_QUEUES,
	                                .config = toy->config,
	                                .config_bytes = sizeof toy->config},
	    spapr_memory(fixture->machine), &err);
	if (toy->device == NULL)
		fail_msg("%s", err.message);
	return toy;
}

struct toy *toy_boot(struct fixture *fixture, unsigned boot_cpus)
{
	struct err err = {0};
	struct toy *toy;

	fixture->config.pci = true;
	fixture->config.boot_cpus = fixture->config.max_cpus = boot_cpus;
	fixture->machine = spapr_create(&fixture->config, &err);
	if (fixture->machine == NULL)
		fail_msg("%s", err.message);
	toy = toy_make(fixture);
	if (!spapr_plug(fixture->machine, "toy", toy->device, &err))
		fail_msg("%s", err.message);
	reset(fixture);
	return toy;
}

struct toy *toy_add(struct fixture *fixture, const char *name, uint64_t *ret_operation)
{
	struct toy *toy = toy_make(fixture);
	struct err err = {0};

	if (!spapr_pci_add(fixture->machine, name, toy->device, ret_operation, &err))
		fail_msg("%s", err.message);
	return toy;
}

void toy_add_fails(struct fixture *fixture, const char *name, const char *text)
{
	struct toy *toy = toy_make(fixture);
	struct err err = {0};
	uint64_t id;

	assert_false(spapr_pci_add(fixture->machine, name, toy->device, &id, &err));
	if (strncmp(err.message, text, strlen(text)) != 0)
		fail_msg("got '%s', expected '%s'", err.message, text);
	virtio_destroy(toy->device);
}

void toy_release(struct toy *toy)
{
	for (unsigned i = 0; i < TOY_QUEUES; i++) {
		toy->lanes[i].release = true;
		eventfd_write(toy->lanes[i].doorbell, 1);
	}
}

struct holding {
	const struct toy *toy;
	unsigned count;
};

static bool toy_holds(void *context)
{
	const struct holding *holding = context;
	unsigned count = 0;

	for (unsigned i = 0; i < TOY_QUEUES; i++)
		count += holding->toy->lanes[i].held_count;
	return count == holding->count;
}

void toy_wait_held(struct toy *toy, unsigned count)
{
	fake_wait_until(toy_holds, &(struct holding){toy, count}, "the device has requests");
}

/* --- The operator ---------------------------------------------------------------------------- */

void operate(struct fixture *fixture)
{
	if (spapr_take_news(fixture->machine) & SPAPR_NEWS_DRIVER)
		spapr_look_at_drivers(fixture->machine);
	spapr_check_deadline(fixture->machine);
}

uint64_t ask_back(struct fixture *fixture, const char *name)
{
	struct err err = {0};
	uint64_t id = 0;

	if (!spapr_device_remove(fixture->machine, name, &id, &err))
		fail_msg("%s", err.message);
	return id;
}

bool slot_filled(struct fixture *fixture, uint32_t slot)
{
	struct spapr_pci_info info;

	spapr_has_device(fixture->machine, "releases what has left");
	return spapr_pci_info(fixture->machine, slot, &info) && info.slot == slot;
}

struct spapr_pci_info slot_info(struct fixture *fixture, uint32_t slot)
{
	struct spapr_pci_info info;

	assert_true(spapr_pci_info(fixture->machine, slot, &info));
	assert_int_equal(info.slot, slot);
	assert_true(drc_valid(&info.connector.drc));
	return info;
}

void expect_passed(struct fixture *fixture, uint64_t id, const char *steps)
{
	operate(fixture);
	expect_steps(fixture, id, steps);
}

/* --- The configuration space ----------------------------------------------------------------- */

#define BUID_CELLS (uint32_t)(PHB_BUID >> 32), (uint32_t)PHB_BUID

uint32_t config_addr(uint32_t slot, uint32_t offset)
{
	uint32_t place = (slot & BELOW) != 0 ? (slot & 0x1f) << 16 : slot << 11;

	return (offset >> 8) << 28 | place | (offset & 0xff);
}

int32_t config_try(uint32_t address, uint64_t buid, uint32_t size, uint32_t *ret_value)
{
	return rtas(0, "ibm,read-pci-config", 4,
	    (uint32_t[]){address, (uint32_t)(buid >> 32), (uint32_t)buid, size}, 2, ret_value);
}

uint32_t config_read(uint32_t slot, uint32_t offset, uint32_t size)
{
	uint32_t value;

	assert_int_equal(config_try(config_addr(slot, offset), PHB_BUID, size, &value), 0);
	return value;
}

void config_write(uint32_t slot, uint32_t offset, uint32_t size, uint32_t value)
{
	assert_int_equal(
	    RTAS(0, "ibm,write-pci-config", config_addr(slot, offset), BUID_CELLS, size, value), 0);
}

int32_t change_msi(uint32_t slot, uint32_t function, uint32_t count, uint32_t ret[3])
{
	return rtas(0, "ibm,change-msi", 6,
	    (uint32_t[]){config_addr(slot, 0), BUID_CELLS, function, count, 1}, 4, ret);
}

int32_t query_source(uint32_t slot, uint32_t vector, uint32_t ret[2])
{
	return rtas(0, "ibm,query-interrupt-source-number", 4,
	    (uint32_t[]){config_addr(slot, 0), BUID_CELLS, vector}, 3, ret);
}

uint32_t msix_capability(uint32_t slot)
{
	uint32_t at = config_read(slot, PCI_CAPABILITY_POINTER, 1);

	while (at != 0 && config_read(slot, at, 1) != PCI_CAP_MSIX)
		at = config_read(slot, at + 1, 1);
	assert_int_not_equal(at, 0);
	return at;
}

void open_vectors(uint32_t slot)
{
	for (unsigned vector = 0; vector < TOY_VECTORS; vector++)
		set_reg(slot, AT_TABLE + 16 * vector + 12, 4, 0);
	config_write(slot, msix_capability(slot) + 2, 2, 0x8000);
}

uint32_t irq_of(uint32_t slot, uint32_t vector)
{
	uint32_t ret[2];

	assert_int_equal(query_source(slot, vector, ret), 0);
	return ret[0];
}

void place_bar(uint32_t slot)
{
	config_write(slot, PCI_BAR0, 4, (uint32_t)BAR(slot));
	config_write(slot, PCI_BAR0 + 4, 4, (uint32_t)(BAR(slot) >> 32));
	config_write(slot, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

/* --- The registers --------------------------------------------------------------------------- */

uint64_t reg(uint32_t slot, uint32_t offset, uint32_t size)
{
	return fake_load(0, BAR(slot) + offset, size);
}

void set_reg(uint32_t slot, uint32_t offset, uint32_t size, uint64_t value)
{
	fake_store(0, BAR(slot) + offset, size, value);
}

uint8_t status_of(uint32_t slot)
{
	return (uint8_t)reg(slot, REG_STATUS, 1);
}

void set_status(uint32_t slot, uint8_t status)
{
	set_reg(slot, REG_STATUS, 1, status);
}

void accept_features(uint32_t slot, uint64_t features)
{
	for (unsigned half = 0; half < 2; half++) {
		set_reg(slot, REG_DRIVER_SELECT, 4, half);
		set_reg(slot, REG_DRIVER_FEATURES, 4, (uint32_t)(features >> (32 * half)));
	}
}

static void set_address(uint32_t slot, uint32_t offset, uint64_t address)
{
	set_reg(slot, offset, 4, (uint32_t)address);
	set_reg(slot, offset + 4, 4, (uint32_t)(address >> 32));
}

void set_up_queue(
    struct fixture *fixture, uint32_t slot, unsigned queue, struct driver_queue *rings)
{
	/* The driver writes to the guest's memory, as the guest does. */
	driver_init(rings, (struct gmem *)(uintptr_t)spapr_memory(fixture->machine),
	    RING(slot, queue), RING_SIZE);
	set_reg(slot, REG_QUEUE_SELECT, 2, queue);
	set_reg(slot, REG_QUEUE_SIZE, 2, RING_SIZE);
	set_reg(slot, REG_QUEUE_VECTOR, 2, queue + 1);
	set_address(slot, REG_QUEUE_DESC, rings->rings.descriptors);
	set_address(slot, REG_QUEUE_DRIVER, rings->rings.driver);
	set_address(slot, REG_QUEUE_DEVICE, rings->rings.device);
	set_reg(slot, REG_QUEUE_ENABLE, 2, 1);
}

void driver_up(struct fixture *fixture, uint32_t slot, struct driver_queue rings[TOY_QUEUES])
{
	uint32_t ret[3];

	place_bar(slot);
	set_status(slot, ACKNOWLEDGE);
	set_status(slot, ACKNOWLEDGE | DRIVER);
	accept_features(slot, VIRTIO_F_VERSION_1);
	set_status(slot, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	assert_int_equal(status_of(slot), ACKNOWLEDGE | DRIVER | FEATURES_OK);
	assert_int_equal(change_msi(slot, 4, TOY_VECTORS, ret), 0);
	assert_int_equal(ret[0], TOY_VECTORS);
	open_vectors(slot);
	set_reg(slot, REG_CONFIG_VECTOR, 2, 0);
	for (unsigned queue = 0; queue < TOY_QUEUES; queue++)
		set_up_queue(fixture, slot, queue, &rings[queue]);
	set_status(slot, UP);
	assert_int_equal(status_of(slot), UP);
}

static bool status_is_0(void *context)
{
	return status_of(*(uint32_t *)context) == 0;
}

void driver_reset(uint32_t slot)
{
	set_status(slot, 0);
	fake_wait_until(status_is_0, &slot, "the device has been reset");
}

void driver_leave(uint32_t slot)
{
	uint32_t ret[3];

	set_status(slot, ACKNOWLEDGE);
	config_write(slot, msix_capability(slot) + 2, 2, 0);
	assert_int_equal(change_msi(slot, 3, 0, ret), 0);
	config_write(slot, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
}

void driver_down(uint32_t slot)
{
	driver_reset(slot);
	driver_leave(slot);
}

void request(struct driver_queue *rings, uint32_t slot, unsigned queue, bool held)
{
	uint64_t notify = BAR(slot) + AT_NOTIFY + queue * (uint64_t)4;
	const struct driver_part part = {24 * MIB, 16, !held};

	driver_offer(rings, driver_chain(rings, &part, 1, 0));
	driver_publish(rings);
	/* Where KVM has no doorbell there, the vCPU leaves the guest. */
	if (!fake_ring(notify))
		fake_store(0, notify, 2, queue);
}

struct used {
	const struct driver_queue *rings;
	uint16_t index;
};

static bool is_used(void *context)
{
	const struct used *used = context;

	return driver_used_index(used->rings) == used->index;
}

void wait_used(struct driver_queue *rings, uint16_t index)
{
	fake_wait_until(is_used, &(struct used){rings, index}, "requests are answered");
}

/* --- The guest's tools ----------------------------------------------------------------------- */

int32_t indicate(uint32_t indicator, uint32_t slot, uint32_t value)
{
	return RTAS(0, "set-indicator", indicator, SLOT_DRC(slot), value);
}

static void set_power(uint32_t level)
{
	uint32_t got;

	assert_int_equal(
	    rtas(0, "set-power-level", 2, (uint32_t[]){UINT32_MAX, level}, 2, &got), 0);
	assert_int_equal(got, level);
}

uint32_t slot_sense(uint32_t slot)
{
	uint32_t sense = UINT32_MAX;

	assert_int_equal(
	    rtas(0, "get-sensor-state", 2, (uint32_t[]){9003, SLOT_DRC(slot)}, 2, &sense), 0);
	return sense;
}

void expect_slot_event(uint32_t slot, uint8_t action)
{
	uint8_t log[EVENT_BYTES];
	struct be32 index;

	assert_true(fetch_event(0, MASK_HOTPLUG, log));
	memcpy(&index, log + 108, sizeof index);
	assert_int_equal(from_be32(index), SLOT_DRC(slot));
	assert_int_equal(log[105], action);
}

static int32_t tool_configures_once(uint32_t slot, bool first)
{
	struct be32 head[2] = {be32(SLOT_DRC(slot)), be32(0)};

	poke(WORK(0), head, first ? sizeof head : sizeof head[0]);
	return RTAS(0, "ibm,configure-connector", (uint32_t)WORK(0), 0);
}

void tool_takes(uint32_t slot)
{
	int32_t status;

	assert_int_equal(indicate(9001, slot, 0), 0);
	set_power(0);
	assert_int_equal(indicate(9002, slot, 1), 0);
	assert_int_equal(slot_sense(slot), DRC_SENSE_PRESENT);
	set_power(100);
	assert_int_equal(indicate(9001, slot, 1), 0);
	status = tool_configures_once(slot, true);
	assert_int_equal(status, 2);
	while (status > 0)
		status = tool_configures_once(slot, false);
	assert_int_equal(status, 0);
}

void guest_adds(struct fixture *fixture, uint32_t slot, struct driver_queue rings[TOY_QUEUES])
{
	expect_slot_event(slot, 1);
	tool_takes(slot);
	driver_up(fixture, slot, rings);
	operate(fixture);
}

void guest_removes(uint32_t slot)
{
	expect_slot_event(slot, 2);
	assert_int_equal(indicate(9002, slot, 1), 0);
	driver_down(slot);
	assert_int_equal(indicate(9001, slot, 0), 0);
	set_power(0);
}

/* --- A device that comes and goes ---------------------------------------------------------------
 */

enum { SLOT = 2 };

struct toy *toy_in_use(struct fixture *fixture, struct driver_queue rings[TOY_QUEUES])
{
	struct toy *toy;
	uint64_t id;

	toy_boot(fixture, 3);
	toy = toy_add(fixture, "data", &id);
	guest_adds(fixture, SLOT, rings);
	expect_end(fixture, id, OP_DONE, OP_BY_DRIVER, OP_STARTED);
	drop_reports(fixture);
	return toy;
}

void expect_stuck(struct fixture *fixture, uint64_t id, const char *text)
{
	struct operation op = operation_of(fixture, id);
	char got[OP_STUCK_MAX];

	op_stuck_text(&op, got);
	if (strstr(got, text) == NULL)
		fail_msg("got '%s', expected '%s'", got, text);
}

void expect_gone(struct fixture *fixture)
{
	uint32_t value;

	assert_false(slot_filled(fixture, SLOT));
	assert_int_equal(config_try(config_addr(SLOT, 0), PHB_BUID, 4, &value), -1);
	assert_int_equal(value, UINT32_MAX);
	assert_int_equal(reg(SLOT, REG_STATUS, 1), 0);
	assert_int_equal(reg(SLOT, REG_QUEUES, 2), 0);
	assert_false(fake_ring(BAR(SLOT) + AT_NOTIFY));
	assert_int_equal(slot_sense(SLOT), DRC_SENSE_EMPTY);
	assert_int_equal(toys, 1);
}

void expect_works(struct driver_queue *rings)
{
	uint16_t used = driver_used_index(&rings[0]);

	request(&rings[0], SLOT, 0, false);
	wait_used(&rings[0], (uint16_t)(used + 1));
}
