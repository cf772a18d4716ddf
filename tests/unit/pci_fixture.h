/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pci_fixture.h - virtio devices on the PCI bus of a machine above the fake KVM, and their driver.
 *
 * The device is a toy: it keeps each request that has something to read until the test lets it
 * answer, so that a request can be in flight as long as a test wants. Its queues have real threads.
 * The driver is vCPU 0, which makes Linux' calls, loads and stores.
 */
#ifndef PAPRIKA_PCI_FIXTURE_H
#define PAPRIKA_PCI_FIXTURE_H

#include "machine_fixture.h"
#include "virtio_driver.h"

#include "pci/virtio_pci.h"
#include "virtio/model.h"

/* As the device tree tells the guest. */
#define PHB_WINDOW_ADDRESS (UINT64_C(32) << 40)
#define PHB_WINDOW_BYTES (UINT64_C(64) << 30)
#define PHB_BUID UINT64_C(0x800000020000000)

enum { TOY_REFUSED = 11 }; /* bytes that are said to be written */
enum { TOY_ID = 42, TOY_QUEUES = 2, TOY_VECTORS = TOY_QUEUES + 1, RING_SIZE = 8 };

/* Places in the BAR. */
enum {
	AT_ISR = 0x1000,
	AT_CONFIG = 0x2000,
	AT_NOTIFY = 0x3000,
	AT_TABLE = 0x8000,
	AT_PENDING = 0xc000
};
/* Registers of the transport. */
enum {
	REG_DEVICE_SELECT = 0,
	REG_DEVICE_FEATURES = 4,
	REG_DRIVER_SELECT = 8,
	REG_DRIVER_FEATURES = 12,
	REG_CONFIG_VECTOR = 16,
	REG_QUEUES = 18,
	REG_STATUS = 20,
	REG_QUEUE_SELECT = 22,
	REG_QUEUE_SIZE = 24,
	REG_QUEUE_VECTOR = 26,
	REG_QUEUE_ENABLE = 28,
	REG_QUEUE_NOTIFY = 30,
	REG_QUEUE_DESC = 32,
	REG_QUEUE_DRIVER = 40,
	REG_QUEUE_DEVICE = 48,
};
enum {
	ACKNOWLEDGE = 1,
	DRIVER = 2,
	DRIVER_OK = 4,
	FEATURES_OK = 8,
	NEEDS_RESET = 0x40,
	FAILED = 0x80
};
enum { UP = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK };

#define SLOT_DRC(slot) (0x40000000u + (slot))
#define BAR(slot) (PHB_WINDOW_ADDRESS + (uint64_t)(slot)*VIRTIO_PCI_BAR_BYTES)
#define RING(slot, queue) (16 * MIB + ((slot)*TOY_QUEUES + (queue)) * (uint64_t)0x10000)

struct toy;

/* How many have been made and not destroyed. */
extern _Atomic unsigned toys;

/* Of the one destroyed last: how many more descriptors there were than before it was made, its own
 * being closed. */
extern int toy_descriptors_left;

/* A device; on the bus before the first boot, by which the machine has booted; added to a machine
 * that runs, which begins an operation. */
struct toy *toy_make(struct fixture *fixture);
struct toy *toy_boot(struct fixture *fixture, unsigned boot_cpus);
struct toy *toy_add(struct fixture *fixture, const char *name, uint64_t *ret_operation);
/* It cannot be added: the message begins like this. */
void toy_add_fails(struct fixture *fixture, const char *name, const char *text);

/* Let all requests that are held be answered. */
void toy_release(struct toy *toy);
/* Wait until so many are held. */
void toy_wait_held(struct toy *toy, unsigned count);

/* --- The operator ---------------------------------------------------------------------------- */

/* What the loop of the program does when it is woken. */
void operate(struct fixture *fixture);
uint64_t ask_back(struct fixture *fixture, const char *name);
/* The slot's device; it must be there. */
struct spapr_pci_info slot_info(struct fixture *fixture, uint32_t slot);
bool slot_filled(struct fixture *fixture, uint32_t slot);
/* All steps of the operation so far, as expect_steps(), after operate(). */
void expect_passed(struct fixture *fixture, uint64_t id, const char *steps);

/* --- The guest ------------------------------------------------------------------------------- */

/* With BELOW it is what is below the port in the slot: here, and wherever a slot is asked for. */
enum { BELOW = 0x100 };
uint32_t config_addr(uint32_t slot, uint32_t offset);
/* These must succeed. */
uint32_t config_read(uint32_t slot, uint32_t offset, uint32_t size);
void config_write(uint32_t slot, uint32_t offset, uint32_t size, uint32_t value);
/* The status of a read; *ret_value as it was returned. */
int32_t config_try(uint32_t config_addr, uint64_t buid, uint32_t size, uint32_t *ret_value);

/* ret: number, sequence, type. */
int32_t change_msi(uint32_t slot, uint32_t function, uint32_t count, uint32_t ret[3]);
int32_t query_source(uint32_t slot, uint32_t vector, uint32_t ret[2]);
/* Where MSI-X is in the configuration space. */
uint32_t msix_capability(uint32_t slot);
/* Switch MSI-X on, with no vector masked; the BAR has been placed. */
void open_vectors(uint32_t slot);
uint32_t irq_of(uint32_t slot, uint32_t vector);

/* The BAR of the slot to BAR(slot), memory accesses and DMA on. */
void place_bar(uint32_t slot);
/* Registers at BAR(slot), with the width they have. */
uint64_t reg(uint32_t slot, uint32_t offset, uint32_t size);
void set_reg(uint32_t slot, uint32_t offset, uint32_t size, uint64_t value);
uint8_t status_of(uint32_t slot);
void set_status(uint32_t slot, uint8_t status);
void accept_features(uint32_t slot, uint64_t features);

/* A queue's rings, zeroed, told to the device, and enabled; with vector queue + 1. */
void set_up_queue(
    struct fixture *fixture, uint32_t slot, unsigned queue, struct driver_queue *rings);
/* All that a driver does, up to DRIVER_OK, with all vectors unmasked. */
void driver_up(struct fixture *fixture, uint32_t slot, struct driver_queue rings[TOY_QUEUES]);
/* As Linux does when a driver leaves: reset, wait, ACKNOWLEDGE, interrupts back, DMA off. `down`
 * does not wait. */
void driver_reset(uint32_t slot);
void driver_leave(uint32_t slot);
void driver_down(uint32_t slot);

/* A request that is held, or answered at once, made available and the queue notified. */
void request(struct driver_queue *rings, uint32_t slot, unsigned queue, bool held);
/* Until the used index of the queue is this. */
void wait_used(struct driver_queue *rings, uint16_t index);

/* --- The guest's tools ----------------------------------------------------------------------- */

int32_t indicate(uint32_t indicator, uint32_t slot, uint32_t value);
uint32_t slot_sense(uint32_t slot);
/* The next event must be this: 1 add, 2 remove. */
void expect_slot_event(uint32_t slot, uint8_t action);
/* The calls of a tool that adds, up to the end of the description, after the event. */
void tool_takes(uint32_t slot);
/* All of an add: event, tool, driver. */
void guest_adds(struct fixture *fixture, uint32_t slot, struct driver_queue rings[TOY_QUEUES]);
/* All of a removal. */
void guest_removes(uint32_t slot);

/* --- A device that comes and goes ------------------------------------------------------------- */

/* The boot device is in slot 1; another is added, taken, and used: slot 2. */
struct toy *toy_in_use(struct fixture *fixture, struct driver_queue rings[TOY_QUEUES]);
/* Nothing of it can be reached. */
void expect_gone(struct fixture *fixture);
/* It works: its driver's requests are answered. */
void expect_works(struct driver_queue *rings);
/* Where a pending operation is, says this. */
void expect_stuck(struct fixture *fixture, uint64_t id, const char *text);

#endif
