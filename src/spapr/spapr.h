/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spapr.h - one PAPR guest, as the operator handles it: memory, cores and their connectors,
 * console, events. Create it, boot it, stop and continue it, add and remove cores, read and write
 * its console, and ask what happened.
 *
 * Threads: one thread, called the operator's, makes all the calls below. Each vCPU has a thread of
 * its own, made here. State that both touch is guarded by the machine's lock, which these functions
 * take themselves. A vCPU thread that has news calls config.wake; the operator's thread then asks
 * spapr_take_news() which kinds there are.
 */
#ifndef PAPRIKA_SPAPR_H
#define PAPRIKA_SPAPR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "drc/drc.h"
#include "drc/operation.h"
#include "kvm/kvm.h"
#include "mem/gmem.h"

/* Memory comes in logical memory blocks of this size (ibm,lmb-size). */
#define SPAPR_LMB_BYTES GMEM_BLOCK_BYTES

/* The most memory a machine can have room for. */
#define SPAPR_MAX_MEMORY (UINT64_C(4) << 40)

/* Slots of the PCI bus, and the most descriptors that a device in one needs for itself: a doorbell
 * and an interrupt for each queue, one more interrupt, and a ring for each queue. */
enum { SPAPR_PCI_SLOTS = 31, SPAPR_PCI_FILES = 3 * 16 + 1 };

struct spapr;
struct virtio_device;

/* Where the loader put what it loaded; guest-physical addresses. */
struct spapr_image {
	uint64_t entry;        /* first instruction */
	uint64_t end;          /* first byte after the kernel, its bss included */
	uint64_t initrd_start; /* equal to initrd_end if there is none */
	uint64_t initrd_end;
};

/* Guest-physical places the machine keeps for itself. The loader may use what is below fdt, and
 * from high on; only an initrd may lie there. */
struct spapr_layout {
	uint64_t fdt;     /* room for the device tree, which ends at the blob */
	uint64_t rtas;    /* RTAS blob */
	uint64_t high;    /* first byte after both; in a small machine the end of its memory */
	uint64_t low_end; /* the highest that `high` can be, with more memory */
	/* What a guest makes hypervisor calls with: `sc 1`, or what has to stand in its place. */
	uint32_t hcall_instruction;
};

struct spapr_config {
	uint64_t memory_bytes; /* at boot: multiple of SPAPR_LMB_BYTES, not 0 */
	/* With what can be added: the same, no less, at most SPAPR_MAX_MEMORY. 0: none. */
	uint64_t max_memory_bytes;
	/* After a reset, added memory is offered by events; else it is in the device tree. */
	bool memory_by_event;
	bool shared_memory;   /* a file, for back ends in other processes */
	uint32_t threads;     /* per core: a power of two */
	uint32_t boot_cpus;   /* multiple of threads */
	uint32_t max_cpus;    /* multiple of threads, >= boot_cpus */
	const char *bootargs; /* the caller keeps it */
	const char *name; /* of the partition, for the guest; may be NULL; the caller keeps it */
	const char *uuid; /* of the machine, for the guest; NULL or empty: none; kept as name is */
	uint64_t unplug_deadline_ms;
	bool pci;             /* a PCI host bridge */
	uint32_t pci_ports;   /* its first slots, 0 to 31, with a hot-plug port (pci/port.h) */
	int kvm_fd;           /* an open /dev/kvm; 0: open it */
	struct kvm_mode mode; /* the kind of guest that is wanted */

	/* Called at boot and at each reset, with cleared memory: load kernel and initrd. */
	bool (*load)(void *context, const struct gmem *gmem, const struct spapr_layout *layout,
	    struct spapr_image *ret_image, struct err *err);
	/* Called from any thread when there is news, possibly with the lock held: must only
	 * wake the operator's thread. */
	void (*wake)(void *context);
	/* Called once by each vCPU thread, with the lock held, after the first spapr_boot() began
	 * and before it enters the guest: put the thread into the sandbox. May be NULL. */
	bool (*confine_vcpu)(void *context, struct err *err);
	void *context;
};

/* Check a configuration against what this host's KVM can do (facts may be NULL: only the
 * rules that hold everywhere). */
bool spapr_check_config(
    const struct spapr_config *config, const struct kvm_facts *facts, struct err *err);

/* Create the machine, its VM and the threads of its boot cores; nothing runs yet. */
struct spapr *spapr_create(const struct spapr_config *config, struct err *err);

/* Stop everything, join all threads, give all memory back. NULL is allowed. */
void spapr_destroy(struct spapr *machine);

/* The guest's memory, for devices. */
const struct gmem *spapr_memory(struct spapr *machine);

/* Before the first boot: put a virtio device on the PCI bus, under a name, and take it over. Only
 * with config.pci. */
bool spapr_plug(
    struct spapr *machine, const char *name, struct virtio_device *device, struct err *err);

/* The same of a machine that has booted: begins an operation. On failure the device stays the
 * caller's. */
bool spapr_pci_add(struct spapr *machine, const char *name, struct virtio_device *device,
    uint64_t *ret_operation, struct err *err);

/* Does the machine have a device of this name? */
bool spapr_has_device(struct spapr *machine, const char *name);

/* Call act with the virtio device of this name on the PCI bus, the machine's lock held. False if
 * there is none, or act returns it. */
bool spapr_with_pci_device(struct spapr *machine, const char *name,
    bool (*act)(struct virtio_device *device, void *context), void *context);

/* Notice what drivers have done with devices. */
void spapr_look_at_drivers(struct spapr *machine);

/* Have each thread of the devices call confine, before the first boot. */
bool spapr_confine_devices(struct spapr *machine, bool (*confine)(void *context, struct err *err),
    void *context, struct err *err);

/* Before a reset, or the end: keep the vCPUs out of the guest, and have the devices come to rest.
 * False if one has not yet; SPAPR_NEWS_DRIVER follows. */
bool spapr_quiesce(struct spapr *machine);

/*
 * Start from the beginning, with all devices at rest: settle what is pending, load the image, build
 * the device tree, start the boot CPU. For the first boot and for every reset. A stopped machine
 * stays stopped.
 */
bool spapr_boot(struct spapr *machine, struct err *err);

/* Keep all vCPUs out of the guest, or let them in again. Idempotent. Meanwhile neither the guest's
 * timebase runs nor the deadlines of operations. */
void spapr_stop(struct spapr *machine);
void spapr_cont(struct spapr *machine);

/* Ask the guest to shut down: an EPOW event. */
void spapr_powerdown(struct spapr *machine);

/* The machine is about to be destroyed: end what is pending as superseded, for it to be reported.
 */
void spapr_settle(struct spapr *machine);

/*
 * Add the core with this core-id (multiple of threads) under a device name. On success
 * *ret_operation is the id of the operation, which has begun, not ended.
 */
bool spapr_core_add(struct spapr *machine, uint32_t core_id, const char *device,
    uint64_t *ret_operation, struct err *err);

/*
 * Add memory: bytes (a multiple of SPAPR_LMB_BYTES) at an address (the same), or where there is
 * room first, as one device. All of it comes, or none.
 */
#define SPAPR_ANYWHERE UINT64_MAX
bool spapr_memory_add(struct spapr *machine, uint64_t address, uint64_t bytes, const char *device,
    uint64_t *ret_operation, struct err *err);

/* Ask for a device back. If that is already pending, notify the guest again: same operation. */
bool spapr_device_remove(
    struct spapr *machine, const char *device, uint64_t *ret_operation, struct err *err);

/*
 * The same by force, of a PCI device, or force the removal that is pending. From now on the guest's
 * requests are answered with an I/O error; those that the device has begun end as the host ends
 * them. The device goes as soon as no driver of the guest's uses it: never before, and without that
 * the guest gives its connector back, unless a tool in the guest is at work on that. Forced again,
 * the tool is not waited for either. Given up, the device serves the guest as before.
 */
bool spapr_device_force(
    struct spapr *machine, const char *device, uint64_t *ret_operation, struct err *err);

/*
 * Add or ask for as many devices as lead to this size of all memory, or to this number of cores:
 * the highest that can be removed first. What is being removed does not count, so the same request
 * again asks for what is missing. At most max operations; returns how many. If those do not lead to
 * the target, err is set: 0 and no error means that there is nothing to do.
 */
size_t spapr_set_memory(
    struct spapr *machine, uint64_t bytes, uint64_t *ret_operations, size_t max, struct err *err);
size_t spapr_set_cores(
    struct spapr *machine, uint32_t count, uint64_t *ret_operations, size_t max, struct err *err);

/* Cancel a pending operation. */
bool spapr_operation_cancel(struct spapr *machine, uint64_t id, struct err *err);

/* --- What there is --------------------------------------------------------------------- */

enum spapr_vcpu_state {
	SPAPR_VCPU_ABSENT,  /* its core is not attached; the vCPU may exist, parked */
	SPAPR_VCPU_STOPPED, /* waits for start-cpu */
	SPAPR_VCPU_RUNNING,
	SPAPR_VCPU_STOPPING, /* told to leave the guest, and has not parked yet */
};

#define SPAPR_MAX_THREADS 8

/* A guest's call on a connector, as it is remembered. */
#define SPAPR_HISTORY 8
struct spapr_guest_call {
	uint64_t at_ms;
	uint32_t vcpu;
	enum drc_input input;
	enum rtas_status status;
};

/* A connector, and what concerns it of the device behind it. */
struct spapr_connector_info {
	uint32_t drc_index;
	struct drc drc;
	char device[OP_DEVICE_MAX];               /* empty if not attached */
	uint64_t add_operation, remove_operation; /* pending ones, or 0 */
	/* The last guest calls on it, newest first. */
	struct spapr_guest_call history[SPAPR_HISTORY];
	uint32_t history_count;
};

struct spapr_core_info {
	uint32_t core_id;
	struct spapr_connector_info connector;
	struct {
		uint32_t id;
		enum spapr_vcpu_state state;
		int host_thread; /* kernel thread id, or 0 */
	} vcpus[SPAPR_MAX_THREADS];
};

/* A device that is memory. */
struct spapr_memory_info {
	uint64_t address, bytes;
	uint32_t block;                 /* number of its first memory block */
	uint32_t blocks, blocks_in_use; /* of those: configured by the guest */
	/* Of its first block that is not configured, or else of the first. */
	struct spapr_connector_info connector;
};

/* Copy one that has an address from `from` on, the one with the lowest; false if there is none. */
bool spapr_memory_info(struct spapr *machine, uint64_t from, struct spapr_memory_info *ret_info);

/* A PCI slot with a device. */
struct spapr_pci_info {
	uint32_t slot;
	const char *driver; /* as QMP's device_add names it */
	uint8_t status;     /* of the device: 0 if no driver uses it */
	uint64_t requests;  /* answered since a driver started it */
	uint64_t in_flight; /* taken, not answered */
	bool at_rest;       /* a reset need not wait for it */
	bool lost;          /* who served its queues is */
	struct spapr_connector_info connector;
};

/* Copy the first with a device from this slot on; false if there is none. */
bool spapr_pci_info(struct spapr *machine, uint32_t from, struct spapr_pci_info *ret_info);

/* Bytes that are attached, without those the machine boots with. */
uint64_t spapr_memory_added(struct spapr *machine);

const struct spapr_config *spapr_get_config(const struct spapr *machine);

/* Cores are numbered 0 .. spapr_core_count()-1 in core-id order. */
uint32_t spapr_core_count(const struct spapr *machine);
void spapr_core_info(struct spapr *machine, uint32_t number, struct spapr_core_info *ret_info);

/* Registers of a vCPU. False unless the machine is held and the guest runs on this vCPU. */
bool spapr_vcpu_registers(
    struct spapr *machine, uint32_t vcpu, struct kvm_registers *ret_registers);

/* Copy the remembered operations, oldest first; returns how many (at most max). */
size_t spapr_operations(struct spapr *machine, struct operation *ret_operations, size_t max);
#define SPAPR_OPERATIONS 256

/* Counters, for people: a table of names and values. */
struct spapr_counter {
	const char *name; /* static */
	uint64_t value;
};
size_t spapr_counters(struct spapr *machine, struct spapr_counter *ret_counters, size_t max);

/* hcalls and RTAS services that a guest finds, in the order of their tables; needs no machine. */
struct spapr_call {
	bool rtas;            /* a service of RTAS, else an hcall */
	uint32_t number;      /* of an hcall; token of a service */
	const char *name;     /* these are static */
	const char *section;  /* of LoPAPR 1.1, or "-" */
	const char *answerer; /* "paprika" or "KVM" */
	unsigned modes;       /* enum kvm_mode_bit of the guests that have it; 0: all */
	const char *about;    /* one line */
};
/* False if there is no call with this index; they count from 0. */
bool spapr_call_info(size_t index, struct spapr_call *ret_call);

/* The device tree as it would be handed over now; caller frees. Works without a guest. */
bool spapr_device_tree(struct spapr *machine, void **ret_blob, size_t *ret_length, struct err *err);

/* --- News ------------------------------------------------------------------------------ */

enum spapr_news {
	SPAPR_NEWS_OPERATION = 1u << 0, /* spapr_next_report() */
	SPAPR_NEWS_CONSOLE = 1u << 1,   /* spapr_console_read() */
	SPAPR_NEWS_POWER_OFF = 1u << 2, /* the guest powered itself off */
	SPAPR_NEWS_RESET = 1u << 3,     /* the guest asks to be started again */
	SPAPR_NEWS_PANIC = 1u << 4,     /* ibm,os-term: spapr_panic_text() */
	SPAPR_NEWS_FAILED = 1u << 5,    /* a vCPU cannot go on: spapr_failure() */
	SPAPR_NEWS_DRIVER = 1u << 6,    /* a device has come to rest, or a driver has started one:
	                                 * spapr_look_at_drivers(), spapr_quiesce() */
};

/* What kinds of news there have been since the last call; bits of enum spapr_news. */
unsigned spapr_take_news(struct spapr *machine);

/* The next step of an operation that has not been reported; false if there is none. Without
 * guest_made, those of operations that the guest made unasked are left for later. */
bool spapr_next_report(struct spapr *machine, bool guest_made, struct operation *ret_operation,
    enum op_step *ret_step);

/* Mark what has been pending too long as unresolved, and send again the interrupts that KVM has
 * refused. Returns the milliseconds until the next call is due, or -1. */
int64_t spapr_check_deadline(struct spapr *machine);

/* The text the guest panicked with, or why a vCPU failed. */
void spapr_panic_text(struct spapr *machine, char *ret_text, size_t size);
void spapr_failure(struct spapr *machine, struct err *err);

/* --- Console ---------------------------------------------------------------------------- */

/* Take what the guest has printed, up to size bytes; 0 if nothing. */
size_t spapr_console_read(struct spapr *machine, void *to, size_t size);

/* Type at the guest; returns how many bytes were taken. */
size_t spapr_console_write(struct spapr *machine, const void *from, size_t size);

#endif
