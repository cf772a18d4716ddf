/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus.h - the PCI bus of a still machine (still.h) with toys (toys.h) in its slots: what a guest
 * does with it, as calls of vCPU 0, and what the operator does. Used to search and to explore.
 *
 * What must hold, besides what still.h and toys.h say: what KVM has been told of doorbells and
 * interrupts is what the devices use; a slot that is isolated uses nothing. In the end the devices
 * come to rest, the machine boots, and all devices that there are can be removed; another one is
 * added, serves its driver and leaves; after which everything is as it was before the first.
 */
#ifndef PAPRIKA_BUS_H
#define PAPRIKA_BUS_H

#include "still.h"

/* Places of BARs in the window; rings, and where buffers are. */
enum { BUS_PLACES = 4, BUS_RING_SIZE = 8, BUS_BUFFERS = 0x30000 };
/* A slot's port, where a slot is named whose function is below one. */
enum { BUS_PORT = 0x100 };
/* In a BAR: the status, the table of MSI-X. */
enum { BUS_STATUS = 20, BUS_TABLE = 0x8000 };

/* KVM has been told to refuse something: doorbells may be missing. */
extern bool bus_refused;

/* A fresh machine, with toy0 in slot 1 as it boots, or without. The number of slots with a port is
 * the same for all of a process. */
struct spapr *bus_fresh(bool plugged, uint32_t ports);

/* What must hold between any two steps; and in the end. */
void bus_check(void);
void bus_end(void);

/* --- The guest -------------------------------------------------------------------------------- */

/* A service that begins with config_addr and bus unit id, for the function in a slot. */
int32_t bus_call(const char *service, uint32_t slot, uint32_t offset, uint32_t a, uint32_t b,
    uint32_t nargs, uint32_t nret, uint32_t *ret);
uint32_t bus_read(uint32_t slot, uint32_t offset, uint32_t size);
int32_t bus_write(uint32_t slot, uint32_t offset, uint32_t size, uint32_t value);
uint32_t bus_msix(uint32_t slot); /* where MSI-X is in the configuration space */

/* Where the guest has put the BAR; a place beyond BUS_PLACES is at the end of the window, behind
 * it, in RAM, or at the end of all addresses. */
void bus_move_bar(uint32_t slot, uint32_t place);
uint64_t bus_bar(uint32_t slot);
uint64_t bus_load(uint64_t address, uint32_t length);
void bus_store(uint64_t address, uint32_t length, uint64_t value);
void bus_set(uint32_t slot, uint32_t offset, uint32_t length, uint64_t value); /* in its BAR */

/* set-indicator and check-exception; the status. */
int32_t bus_indicate(uint32_t indicator, uint32_t slot, uint32_t value);
int32_t bus_fetch(uint32_t length);

/* All that a driver does until DRIVER_OK, with the BAR where it is. Then as Linux does when a
 * driver leaves; a patient one waits until the device has come to rest. */
void driver_up(uint32_t slot, uint32_t features);
void driver_down(uint32_t slot, bool patient);
void driver_queue(uint32_t slot, unsigned queue, uint16_t size, uint32_t off);
uint32_t driver_ring(uint32_t slot, unsigned queue);
void driver_describe(uint32_t slot, unsigned queue, unsigned index, uint64_t address,
    uint32_t length, unsigned flags, unsigned next);
void driver_offer(uint32_t slot, unsigned queue, uint16_t head);
void driver_notify(uint32_t slot, unsigned queue);

/* A walk of ibm,configure-connector of at most so many calls. Then what a tool does, or the kernel
 * for a slot with a port: hear of an event, add behind it, up to the driver and after it, and
 * remove. The status of the last call. */
int32_t tool_configure(uint32_t slot, bool first, unsigned calls);
int32_t tool_hears(uint32_t slot);
int32_t tool_takes(uint32_t slot);
int32_t tool_ends(uint32_t slot);
int32_t tool_gives(uint32_t slot, bool patient);

/* --- The operator ----------------------------------------------------------------------------- */

/* The turn of the program's loop. */
void operator_looks(void);
/* The operation; 0 if it was refused. */
uint64_t operator_adds(const char *name);
uint64_t operator_removes(const char *name);
uint64_t operator_forces(const char *name);

#endif
