/* SPDX-License-Identifier: Apache-2.0 */
/* virtio_pci.c - see virtio_pci.h. */
#include "pci/virtio_pci.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "pci/msix.h"
#include "pci/virtio_registers.h"

/* The BAR: where each part begins. A page of 4 KiB each, so that none is found in another's. */
enum {
	BAR_COMMON = 0x0000,
	BAR_ISR = 0x1000,
	BAR_DEVICE = 0x2000,
	BAR_NOTIFY = 0x3000,
	BAR_TABLE = 0x8000,
	BAR_PENDING = 0xc000,
	PART_BYTES = 0x1000,
	NOTIFY_BYTES = 4, /* of one queue */
};

enum { ISR_QUEUE = 1, ISR_CONFIG = 2 };

/* The capabilities that tell where the parts are (4.1.4), and offsets in them. */
enum { CAP_COMMON = 1, CAP_NOTIFY, CAP_ISR, CAP_DEVICE, CAP_ACCESS };
enum { CAP_LENGTH = 2, CAP_TYPE = 3, CAP_OFFSET = 8, CAP_SIZE = 12, CAP_DATA = 16 };

struct virtio_pci {
	pthread_mutex_t lock;
	struct kvm_vm *vm;
	struct virtio_device *device;
	struct pci_identity identity;
	void (*news)(void *context);
	void *context;
	_Atomic uint64_t bar; /* where it is; 0: nowhere */
	_Atomic uint8_t isr;
	struct msix msix;
	/* Under lock. */
	struct virtio_registers registers;
	struct pci_config config, fresh_config;
	uint8_t access;     /* offset of the capability by which the BAR is accessed from here */
	uint64_t doorbells; /* the BAR they have been joined for; 0: none are */
};

/* --- Told by the device -------------------------------------------------------------------------
 */

static void transport_interrupt(void *context, unsigned queue)
{
	struct virtio_pci *function = context;

	atomic_fetch_or(&function->isr, ISR_QUEUE);
	msix_signal(&function->msix, atomic_load(&function->registers.queues[queue].vector));
}

static int transport_call(void *context, unsigned queue)
{
	const struct virtio_pci *function = context;

	return msix_eventfd(
	    &function->msix, atomic_load(&function->registers.queues[queue].vector));
}

static void transport_interrupt_config(struct virtio_pci *function)
{
	atomic_fetch_or(&function->isr, ISR_CONFIG);
	msix_signal(&function->msix, atomic_load(&function->registers.config_vector));
}

static void transport_changed(void *context)
{
	transport_interrupt_config(context);
}

static void transport_broken(void *context)
{
	struct virtio_pci *function = context;

	pthread_mutex_lock(&function->lock);
	function->registers.status |= VIRTIO_STATUS_NEEDS_RESET;
	pthread_mutex_unlock(&function->lock);
	transport_interrupt_config(function);
}

static void transport_at_rest(void *context)
{
	struct virtio_pci *function = context;

	function->news(function->context);
}

static bool transport_is_master(const struct virtio_pci *function)
{
	return (pci_config_get(&function->config, PCI_COMMAND, 2) & PCI_COMMAND_MASTER) != 0;
}

/* Doorbells are joined where the BAR is, while the driver may ring them: not while the function
 * must not access memory by itself. If KVM has no place for one, its stores come here. */
static void transport_place_doorbells(struct virtio_pci *function)
{
	bool rings = virtio_registers_live(&function->registers) && transport_is_master(function);
	uint64_t bar = rings ? pci_config_bar(&function->config) : 0;

	if (bar == function->doorbells)
		return;
	for (unsigned i = 0; i < virtio_queues(function->device); i++) {
		uint64_t offset = BAR_NOTIFY + i * (uint64_t)NOTIFY_BYTES;
		int doorbell = virtio_doorbell(function->device, i);

		if (function->doorbells != 0)
			kvm_part_doorbell(function->vm, function->doorbells + offset, doorbell);
		if (bar != 0)
			kvm_join_doorbell(function->vm, bar + offset, doorbell);
	}
	function->doorbells = bar;
}

static void transport_write_register(
    struct virtio_pci *function, uint32_t offset, uint32_t length, uint64_t value)
{
	bool was_live = virtio_registers_live(&function->registers);
	uint8_t status = function->registers.status;

	if (virtio_registers_write(&function->registers, offset, length, value))
		transport_interrupt_config(function);
	transport_place_doorbells(function);
	/* A driver that never started the device lets go of it by its status, too. */
	if (virtio_registers_live(&function->registers) != was_live ||
	    function->registers.status != status)
		function->news(function->context);
}

/* --- The BAR ------------------------------------------------------------------------------------
 */

static bool bar_is_word_access(uint32_t offset, uint32_t length)
{
	return (length == 4 || length == 8) && offset % length == 0;
}

static uint64_t bar_read(struct virtio_pci *function, uint32_t offset, uint32_t length)
{
	uint8_t bytes[8] = {0};

	if (offset < PART_BYTES)
		return virtio_registers_read(&function->registers, offset, length);
	/* Reading it clears it. */
	if (offset == BAR_ISR)
		return atomic_exchange(&function->isr, 0);
	if (offset >= BAR_DEVICE && offset < BAR_DEVICE + PART_BYTES) {
		virtio_read_config(function->device, offset - BAR_DEVICE, bytes, length);
		return le_load(bytes, length);
	}
	if (offset >= BAR_TABLE && offset < BAR_PENDING && bar_is_word_access(offset, length))
		return msix_read_table(&function->msix, offset - BAR_TABLE, length);
	if (offset >= BAR_PENDING && offset < BAR_PENDING + MSIX_PENDING_BYTES &&
	    bar_is_word_access(offset, length))
		return msix_read_pending(&function->msix) >> (8 * (offset - BAR_PENDING));
	return 0;
}

static void bar_write(struct virtio_pci *function, uint32_t offset, uint32_t length, uint64_t value)
{
	if (offset < PART_BYTES) {
		transport_write_register(function, offset, length, value);
	} else if (offset >= BAR_NOTIFY && offset < BAR_NOTIFY + PART_BYTES) {
		uint32_t queue = (offset - BAR_NOTIFY) / NOTIFY_BYTES;

		if (queue < virtio_queues(function->device) && transport_is_master(function))
			eventfd_write(virtio_doorbell(function->device, queue), 1);
	} else if (offset >= BAR_TABLE && offset < BAR_PENDING &&
	           bar_is_word_access(offset, length)) {
		msix_write_table(&function->msix, offset - BAR_TABLE, length, value);
	}
}

bool virtio_pci_access(
    struct virtio_pci *function, uint64_t address, uint8_t *data, uint32_t length, bool write)
{
	uint64_t bar = atomic_load(&function->bar);

	if (bar == 0 || address < bar || address - bar > VIRTIO_PCI_BAR_BYTES - length)
		return false;
	pthread_mutex_lock(&function->lock);
	virtio_registers_settle(&function->registers);
	if (write)
		bar_write(function, (uint32_t)(address - bar), length, le_load(data, length));
	else
		le_store(data, length, bar_read(function, (uint32_t)(address - bar), length));
	pthread_mutex_unlock(&function->lock);
	return true;
}

/* --- The configuration space --------------------------------------------------------------------
 */

/* The BAR, accessed from the configuration space (4.1.4.9). False: the guest has not set up one. */
static bool config_bar_access(
    const struct virtio_pci *function, uint32_t *ret_offset, uint32_t *ret_length)
{
	*ret_offset = pci_config_get(&function->config, function->access + (uint32_t)CAP_OFFSET, 4);
	*ret_length = pci_config_get(&function->config, function->access + CAP_SIZE, 4);
	return function->config.bytes[function->access + 4] == 0 &&
	       (*ret_length == 1 || *ret_length == 2 || *ret_length == 4) &&
	       *ret_offset % *ret_length == 0 && *ret_offset < VIRTIO_PCI_BAR_BYTES;
}

uint32_t virtio_pci_read_config(struct virtio_pci *function, uint32_t offset, uint32_t size)
{
	uint32_t value, bar_offset, length;

	pthread_mutex_lock(&function->lock);
	virtio_registers_settle(&function->registers);
	if (offset == function->access + (uint32_t)CAP_DATA &&
	    config_bar_access(function, &bar_offset, &length))
		pci_config_set(
		    &function->config, offset, 4, (uint32_t)bar_read(function, bar_offset, length));
	value = pci_config_get(&function->config, offset, size);
	pthread_mutex_unlock(&function->lock);
	return value;
}

void virtio_pci_write_config(
    struct virtio_pci *function, uint32_t offset, uint32_t size, uint32_t value)
{
	uint32_t bar_offset, length;
	bool was_master;

	pthread_mutex_lock(&function->lock);
	virtio_registers_settle(&function->registers);
	was_master = transport_is_master(function);
	pci_config_write(&function->config, offset, size, value);
	if (offset == function->access + (uint32_t)CAP_DATA &&
	    config_bar_access(function, &bar_offset, &length))
		bar_write(function, bar_offset, length,
		    pci_config_get(&function->config, offset, length));
	atomic_store(&function->bar, pci_config_bar(&function->config));
	transport_place_doorbells(function);
	/* Requests that were made available meanwhile. */
	for (unsigned i = 0; !was_master && i < virtio_queues(function->device); i++)
		if (transport_is_master(function))
			eventfd_write(virtio_doorbell(function->device, i), 1);
	msix_update(&function->msix, &function->config);
	pthread_mutex_unlock(&function->lock);
}

/* --- Made, stopped, reset -----------------------------------------------------------------------
 */

/* A vendor capability that tells where a part of the device is; extra bytes follow it. */
static uint8_t config_add_part(
    struct pci_config *config, uint8_t type, uint8_t extra, uint32_t offset, uint32_t length)
{
	uint8_t bytes = (uint8_t)(CAP_DATA + extra);
	uint8_t at = pci_config_add_capability(config, PCI_CAP_VENDOR, bytes);

	config->bytes[at + CAP_LENGTH] = bytes;
	config->bytes[at + CAP_TYPE] = type;
	pci_config_set(config, at + CAP_OFFSET, 4, offset);
	pci_config_set(config, at + CAP_SIZE, 4, length);
	return at;
}

static void config_add_parts(struct virtio_pci *function)
{
	struct pci_config *config = &function->config;
	uint8_t at;

	config_add_part(config, CAP_COMMON, 0, BAR_COMMON, VIRTIO_REGISTERS_BYTES);
	config_add_part(config, CAP_ISR, 0, BAR_ISR, 4);
	config_add_part(config, CAP_DEVICE, 0, BAR_DEVICE, PART_BYTES);
	at = config_add_part(
	    config, CAP_NOTIFY, 4, BAR_NOTIFY, virtio_queues(function->device) * NOTIFY_BYTES);
	pci_config_set(config, at + CAP_DATA, 4, NOTIFY_BYTES);
	function->access = config_add_part(config, CAP_ACCESS, 4, 0, 0);
	config->writable[function->access + 4] = 0xff; /* the number of the BAR */
	for (unsigned i = CAP_OFFSET; i < CAP_DATA + 4; i++)
		config->writable[function->access + i] = 0xff;
}

struct virtio_pci *virtio_pci_create(struct virtio_device *device, struct kvm_vm *vm,
    void (*news)(void *context), void *context, struct err *err)
{
	/* The subsystem's id is free (4.1.2.1); other platforms have 0x1100 there, too. */
	enum { VENDOR = 0x1af4, FIRST_DEVICE = 0x1040, SUBSYSTEM = 0x1100 };
	const struct virtio_kind *kind = virtio_kind(device);
	struct virtio_pci *function = calloc(1, sizeof *function);

	if (function == NULL) {
		err_system(err, ENOMEM, NULL, "cannot create a device");
		return NULL;
	}
	pthread_mutex_init(&function->lock, NULL);
	function->vm = vm;
	function->device = device;
	function->news = news;
	function->context = context;
	function->identity = (struct pci_identity){.vendor = VENDOR,
	    .device = (uint16_t)(FIRST_DEVICE + kind->id),
	    .subsystem_vendor = VENDOR,
	    .subsystem = SUBSYSTEM,
	    .revision = 1,
	    .class_code = kind->pci_class,
	    .class_name = kind->of_class};
	pci_config_init(&function->config, &function->identity, VIRTIO_PCI_BAR_BYTES);
	config_add_parts(function);
	if (!msix_init(&function->msix, vm, virtio_queues(device) + 1, &function->config, BAR_TABLE,
	        BAR_PENDING, err)) {
		virtio_pci_destroy(function);
		return NULL;
	}
	function->fresh_config = function->config;
	virtio_registers_init(&function->registers, device, function->msix.count);
	virtio_listen(device, &(struct virtio_listener){.context = function,
	                          .interrupt = transport_interrupt,
	                          .broken = transport_broken,
	                          .call = transport_call,
	                          .at_rest = transport_at_rest,
	                          .changed = transport_changed});
	return function;
}

void virtio_pci_destroy(struct virtio_pci *function)
{
	if (function == NULL)
		return;
	msix_finish(&function->msix);
	pthread_mutex_destroy(&function->lock);
	free(function);
}

const struct pci_identity *virtio_pci_identity(const struct virtio_pci *function)
{
	return &function->identity;
}

uint32_t virtio_pci_vectors(const struct virtio_pci *function)
{
	return function->msix.count;
}

int virtio_pci_set_irqs(struct virtio_pci *function, uint32_t first_irq, uint32_t count)
{
	int result;

	pthread_mutex_lock(&function->lock);
	msix_unassign(&function->msix);
	result = msix_assign(&function->msix, first_irq, count);
	pthread_mutex_unlock(&function->lock);
	return result;
}

bool virtio_pci_stop(struct virtio_pci *function)
{
	bool at_rest;

	pthread_mutex_lock(&function->lock);
	virtio_registers_reset(&function->registers);
	transport_place_doorbells(function);
	at_rest = !function->registers.resetting;
	pthread_mutex_unlock(&function->lock);
	return at_rest;
}

static void transport_reset(struct virtio_pci *function)
{
	virtio_registers_reset(&function->registers);
	atomic_store(&function->isr, 0);
	function->config = function->fresh_config;
	atomic_store(&function->bar, 0);
	transport_place_doorbells(function);
	msix_unassign(&function->msix);
	msix_reset(&function->msix);
}

void virtio_pci_reset(struct virtio_pci *function)
{
	pthread_mutex_lock(&function->lock);
	transport_reset(function);
	pthread_mutex_unlock(&function->lock);
}

static struct virtio_pci_use transport_use(struct virtio_pci *function)
{
	uint32_t irqs = function->msix.assigned;
	uint8_t status;
	bool given_up;

	virtio_registers_settle(&function->registers);
	status = function->registers.status;
	given_up = (status & VIRTIO_STATUS_FAILED) != 0 && virtio_at_rest(function->device);
	return (struct virtio_pci_use){.status = status,
	    .running = virtio_registers_live(&function->registers) &&
	               (status & VIRTIO_STATUS_NEEDS_RESET) == 0,
	    .irqs = irqs,
	    .held = ((status & ~VIRTIO_STATUS_ACKNOWLEDGE) != 0 && !given_up) || irqs != 0 ||
	            transport_is_master(function)};
}

bool virtio_pci_take(struct virtio_pci *function)
{
	bool held;

	pthread_mutex_lock(&function->lock);
	held = transport_use(function).held;
	if (!held)
		transport_reset(function);
	pthread_mutex_unlock(&function->lock);
	return !held;
}

struct virtio_pci_use virtio_pci_use(struct virtio_pci *function)
{
	struct virtio_pci_use use;

	pthread_mutex_lock(&function->lock);
	use = transport_use(function);
	pthread_mutex_unlock(&function->lock);
	return use;
}
