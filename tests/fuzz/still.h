/* SPDX-License-Identifier: Apache-2.0 */
/*
 * still.h - a machine without threads, for fuzzing: all of src/spapr above the fake KVM, but a
 * vCPU is where the target last left it, and makes a call when the target says so.
 *
 * cpu.c is used as it is, with the thread taken out of it: making a thread makes the vCPU, and
 * whoever waits for a thread gives each vCPU a turn of cpu_attend() instead. So an input always
 * leads the same way, thousands of times a second, and the order in which vCPUs notice what is
 * wanted of them is the input's to choose.
 *
 * Each call is watched. Guest memory may be written only where the call names a buffer, and
 * after it all that is promised of connectors, operations and events must hold.
 */
#ifndef PAPRIKA_STILL_H
#define PAPRIKA_STILL_H

#include "fuzz.h"
#include "spapr/machine.h"

/* Four cores of two threads, 256 MiB; one core at boot, its first vCPU running. */
enum { STILL_CORES = 4, STILL_THREADS = 2, STILL_VCPUS = STILL_CORES * STILL_THREADS };
/* Fewer than the machine remembers otherwise, so that an input can fill them. */
enum { STILL_OPERATIONS = 32 };
/* Memory blocks there can be; one boots. */
#define STILL_BLOCKS 4
#define STILL_MEMORY_BYTES (UINT64_C(256) << 20)

/* The machine has a PCI bus, with so many hot-plug ports: set before it is first made. */
extern bool still_has_pci;
extern uint32_t still_ports;

/* The machine, as it is right after its first boot. */
struct spapr *still_fresh(void);

/* vCPU id makes an hcall; false if it is not in the guest, and nothing has happened. */
bool still_call(uint32_t id, struct kvm_hcall *call);

/* vCPU id, or the first one that can, makes an RTAS call with these arguments, through a block
 * at still_block(id). Returns the status, and the other results if ret_results is not NULL. */
int32_t still_rtas(uint32_t id, const char *service, const uint32_t *args, uint32_t nargs,
    uint32_t nret, uint32_t *ret_results);

/* vCPU id loads from an address where there is no RAM, or stores to it; false if it is not in the
 * guest, and nothing has happened. The bytes are in the guest's order of addresses. */
bool still_access(uint32_t id, uint64_t address, uint8_t *data, uint32_t length, bool write);

/* Let vCPU id do what is wanted of it, if anything is. */
void still_attend(uint32_t id);

/* What must hold between any two calls, of whichever party. still_call() does it by itself;
 * the operator's calls are followed by it. */
void still_check(void);

/* After anything that has happened: a reset ends all that is pending, and then a core can be
 * added and taken away by a guest that does its part. */
void still_prove_alive(void);

#endif
