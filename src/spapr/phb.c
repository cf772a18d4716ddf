/* SPDX-License-Identifier: Apache-2.0 */
/* phb.c - see phb.h. */
#include "spapr/phb.h"

#include <string.h>

#include "spapr/irq.h"
#include "virtio/vhost.h"

/* config_addr: register bits 11..8 in 31..28, bus in 23..16, slot in 15..11, function in 10..8,
 * register bits 7..0. */
enum { ADDR_HIGH_SHIFT = 28, ADDR_BUS_SHIFT = 16, ADDR_SLOT_SHIFT = 11, ADDR_FUNCTION = 0x700 };
enum { ADDR_DEVICE = 0xffff00 }; /* all that is not a register */

static void phb_on_news(void *context)
{
	struct phb *phb = context;

	news_tell(phb->news, SPAPR_NEWS_DRIVER);
}

bool phb_init(struct phb *phb, struct kvm_vm *vm, struct irqchip *irqchip, struct devices *devices,
    uint32_t ports, struct err *err)
{
	*phb = (struct phb){.vm = vm,
	    .irqchip = irqchip,
	    .devices = devices,
	    .news = devices->news,
	    .present = true,
	    .ports = ports};
	pthread_rwlock_init(&phb->lock, NULL);
	connectors_add_range(
	    devices->connectors, &drc_type_pci, PHB_FIRST_SLOT, 1, PHB_SLOTS - PHB_FIRST_SLOT);
	return kvm_vm_create_tce_table(vm, PHB_LIOBN, PHB_DMA_WINDOW_BYTES, err);
}

void phb_finish(struct phb *phb)
{
	if (!phb->present)
		return;
	for (unsigned i = 0; i < PHB_SLOTS; i++) {
		/* In this order: until its threads have ended the device tells the function. */
		virtio_destroy(phb->slots[i].device);
		virtio_pci_destroy(phb->slots[i].function);
	}
	pthread_rwlock_destroy(&phb->lock);
	*phb = (struct phb){0};
}

/* --- The device type --------------------------------------------------------------------------
 */

static struct phb_slot *phb_slot(const struct device *device)
{
	struct phb *phb = device->context;

	return &phb->slots[device->unit];
}

static void phb_describe(const struct device *device, const struct connector *connector, bool named,
    struct node_writer *w)
{
	phb_write_slot(device->context, connector, named, w);
}

static bool phb_check_remove(const struct device *device, struct err *err)
{
	struct phb_slot *slot = phb_slot(device);

	slot->done_before = virtio_progress(slot->device).done;
	return true;
}

static void phb_set_slot(
    struct device *device, struct virtio_pci *function, struct virtio_device *virtio)
{
	struct phb *phb = device->context;

	pthread_rwlock_wrlock(&phb->lock);
	phb_slot(device)->function = function;
	phb_slot(device)->device = virtio;
	phb_slot(device)->in_tree = false;
	pthread_rwlock_unlock(&phb->lock);
}

/* In the operator's thread: the device's threads end. */
static void phb_release(struct device *device, struct connector *connector)
{
	struct phb_slot slot = *phb_slot(device);

	phb_set_slot(device, NULL, NULL);
	/* Its last thread may still be telling the function that the device is at rest. */
	virtio_destroy(slot.device);
	virtio_pci_destroy(slot.function);
}

static bool phb_in_use(const struct device *device, const struct connector *connector)
{
	return virtio_pci_use(phb_slot(device)->function).running;
}

static bool phb_held(const struct device *device)
{
	return virtio_pci_use(phb_slot(device)->function).held;
}

static bool phb_take(struct device *device)
{
	return virtio_pci_take(phb_slot(device)->function);
}

/* What is isolated cannot be reached: its BAR is nowhere, and its configuration space is not there
 * (phb_function). */
static void phb_changed(struct device *device, struct connector *connector)
{
	if (connector->drc.state == DRC_UNUSABLE)
		virtio_pci_reset(phb_slot(device)->function);
}

static void phb_detach(struct device *device, struct connector *connector)
{
	phb_eject(device->context, connector);
}

static void phb_notify(struct device *device, const struct connector *connector)
{
	phb_tell_port(device->context, connector);
}

static void phb_fetched(struct device *device)
{
	phb_slot(device)->orders++;
}

static void phb_force(struct device *device, bool forced)
{
	virtio_cut_off(phb_slot(device)->device, forced);
}

static void phb_taken_away(struct device *device)
{
	phb_slot(device)->known = true;
}

static void phb_look(const struct device *device, struct operation *copy)
{
	const struct phb_slot *slot = phb_slot(device);
	const struct drc *drc = &device->connectors[0].drc;
	struct virtio_progress progress = virtio_progress(slot->device);
	bool held = phb_held(device);

	if (copy->kind == OP_REMOVE)
		copy->requests = progress.done - slot->done_before;
	copy->in_flight = progress.in_flight;
	copy->evidence.refused = progress.refused;
	if (vhost_is_lost(slot->device) && held)
		copy->stuck = "the device's back end is lost, and the guest's driver, which "
		              "waits for its answers, still uses the device";
	else if (copy->phase == OP_FETCHED)
		copy->stuck =
		    device->connectors[0].without_events
		        ? "the guest's kernel has heard of it, and has not begun to act on it"
		        : "event fetched, no tool in the guest has acted on it";
	else if (copy->kind == OP_ADD && copy->phase == OP_CONFIGURED)
		copy->stuck = "connector configured, no driver has started the device";
	else if (drc->state == DRC_AVAILABLE)
		copy->stuck = "connector isolated, but the guest's driver still uses the device";
	else if (copy->phase == OP_ANSWERED || (copy->phase == OP_STOPPED && held))
		copy->stuck =
		    "a tool in the guest is at work, and its driver still uses the device";
	else if (copy->phase == OP_STOPPED)
		copy->stuck = "the guest's driver has let go of the device, connector not isolated";
}

static void phb_evidence(const struct device *device, struct op_evidence *evidence)
{
	evidence->parts = 1;
	evidence->parts_used = phb_held(device);
	evidence->refused = virtio_progress(phb_slot(device)->device).refused;
}

static const char *phb_infer(const struct device *device, const struct connector *connector,
    const struct operation *op, enum op_source source)
{
	if (op->kind == OP_ADD)
		return op->steps[OP_CONFIGURED].order != 0
		           ? "the guest gave the device back: no driver could use it"
		           : "the guest gave the device back without having configured it";
	return op->steps[OP_ISOLATED].order != 0
	           ? "the guest took the device back"
	           : "a tool in the guest looked for the device, and did not remove it: it is in "
	             "use, or not in the guest's device tree as a device of this slot";
}

static const struct device_type device_type_pci = {
    .noun = "pci",
    .connector = &drc_type_pci,
    .made_on_demand = true,
    .check_remove = phb_check_remove,
    .describe = phb_describe,
    .detach = phb_detach,
    .notify = phb_notify,
    .release = phb_release,
    .in_use = phb_in_use,
    .held = phb_held,
    .take = phb_take,
    .changed = phb_changed,
    .force = phb_force,
    .taken_away = phb_taken_away,
    .fetched = phb_fetched,
    .look = phb_look,
    .evidence = phb_evidence,
    .infer = phb_infer,
};

/* --- Slots ------------------------------------------------------------------------------------
 */

/* The first empty slot; not one for which the guest may still act on an old event, or whose last
 * device it still has in its tree. */
static unsigned phb_find_slot(const struct phb *phb, struct err *err)
{
	bool ordered = false;

	for (unsigned number = PHB_FIRST_SLOT; number < PHB_SLOTS; number++) {
		const struct phb_slot *slot = &phb->slots[number];

		if (slot->function == NULL && slot->orders == 0 && !slot->known)
			return number;
		ordered = ordered || slot->function == NULL;
	}
	if (ordered)
		err_set(err, ERR_STATE, "have a tool in the guest work them off, or reset it",
		    "the guest has not acted on earlier events for the PCI slots that are free");
	else
		err_set(err, ERR_STATE, "leave one out, or remove one",
		    "there are more devices than the %d that the PCI bus has slots for",
		    PHB_SLOTS - PHB_FIRST_SLOT);
	return 0;
}

/* The device of a slot that has been filled, not attached yet; NULL with *err filled. */
static struct device *phb_fill_slot(struct phb *phb, struct virtio_device *virtio, struct err *err)
{
	struct virtio_pci *function;
	struct device *device;
	unsigned number;

	if (!phb->present) {
		err_set(err, ERR_STATE, "start the guest with --pci or with a device",
		    "this machine has no PCI bus");
		return NULL;
	}
	number = phb_find_slot(phb, err);
	if (number == 0)
		return NULL;
	function = virtio_pci_create(virtio, phb->vm, phb_on_news, phb, err);
	if (function == NULL)
		return NULL;
	/* There are as many places as slots. */
	device = device_create(phb->devices, &device_type_pci, phb, number, number, 1);
	device->connectors[0].without_events = number <= phb->ports;
	phb_set_slot(device, function, virtio);
	return device;
}

/* The virtio device stays the caller's. */
static void phb_empty_slot(struct device *device)
{
	struct virtio_pci *function = phb_slot(device)->function;

	phb_set_slot(device, NULL, NULL);
	virtio_pci_destroy(function);
	device_destroy(device);
}

bool phb_plug(struct phb *phb, const char *name, struct virtio_device *virtio, struct err *err)
{
	struct device *device = phb_fill_slot(phb, virtio, err);

	if (device == NULL)
		return false;
	if (device_boot(phb->devices, device, name, err))
		return true;
	phb_empty_slot(device);
	return false;
}

bool phb_add(struct phb *phb, const char *name, struct virtio_device *virtio,
    uint64_t *ret_operation, struct err *err)
{
	struct device *device = phb_fill_slot(phb, virtio, err);

	if (device == NULL)
		return false;
	if (device_add(phb->devices, device, name, ret_operation, err))
		return true;
	phb_empty_slot(device);
	return false;
}

const struct device *phb_device(const struct phb *phb, uint32_t from)
{
	for (uint32_t number = from; phb->present && number < PHB_SLOTS; number++) {
		const struct connector *connector =
		    connector_find(phb->devices->connectors, drc_index(&drc_type_pci, number));

		if (connector != NULL && phb->slots[number].function != NULL)
			return connector->device;
	}
	return NULL;
}

void phb_describe_use(const struct phb *phb, uint32_t slot, struct spapr_pci_info *info)
{
	struct virtio_progress progress = virtio_progress(phb->slots[slot].device);

	info->driver = virtio_kind(phb->slots[slot].device)->driver;
	info->status = virtio_pci_use(phb->slots[slot].function).status;
	info->requests = progress.done;
	info->in_flight = progress.in_flight;
	info->at_rest = virtio_at_rest(phb->slots[slot].device);
	info->lost = vhost_is_lost(phb->slots[slot].device);
}

bool phb_confine(struct phb *phb, bool (*confine)(void *context, struct err *err), void *context,
    struct err *err)
{
	for (unsigned i = PHB_FIRST_SLOT; i < PHB_SLOTS; i++)
		if (phb->slots[i].device != NULL &&
		    !virtio_confine(phb->slots[i].device, confine, context, err))
			return false;
	return true;
}

struct virtio_pci *phb_function(
    struct phb *phb, uint64_t buid, uint32_t config_addr, uint32_t *ret_offset)
{
	uint32_t bus = config_addr >> ADDR_BUS_SHIFT & 0xff;
	uint32_t slot = config_addr >> ADDR_SLOT_SHIFT & (PHB_SLOTS - 1);
	const struct connector *connector;

	*ret_offset = (config_addr >> ADDR_HIGH_SHIFT) << 8 | (config_addr & 0xff);
	if (!phb->present || buid != PHB_BUID || (config_addr & ADDR_FUNCTION) != 0)
		return NULL;
	if (bus == 0 ? slot <= phb->ports : slot != 0 || bus > phb->ports)
		return NULL;
	slot = bus == 0 ? slot : bus;
	connector = connector_find(phb->devices->connectors, drc_index(&drc_type_pci, slot));
	if (connector == NULL || !connector->drc.attached || connector->drc.state == DRC_UNUSABLE)
		return NULL;
	return phb->slots[slot].function;
}

bool phb_has_place(const struct phb *phb, uint64_t buid, uint32_t config_addr)
{
	uint32_t place = (config_addr & ADDR_DEVICE) >> ADDR_BUS_SHIFT;

	return phb->present && buid == PHB_BUID && place >= PHB_FIRST_SLOT && place <= phb->ports &&
	       (config_addr & ADDR_DEVICE) == place << ADDR_BUS_SHIFT;
}

struct pci_port *phb_port(
    struct phb *phb, uint64_t buid, uint32_t config_addr, uint32_t *ret_offset)
{
	uint32_t slot = (config_addr & ADDR_DEVICE) >> ADDR_SLOT_SHIFT;

	*ret_offset = (config_addr >> ADDR_HIGH_SHIFT) << 8 | (config_addr & 0xff);
	if (!phb->present || buid != PHB_BUID || (config_addr & ADDR_FUNCTION) != 0 ||
	    slot < PHB_FIRST_SLOT || slot > phb->ports)
		return NULL;
	return &phb->slots[slot].port;
}

static uint32_t phb_first_irq(const struct phb *phb, const struct virtio_pci *function)
{
	uint32_t slot = 0;

	while (phb->slots[slot].function != function)
		slot++;
	return IRQ_DEVICES + slot * IRQ_DEVICE_MAX;
}

/* What KVM or the guest's last driver has left of the sources goes: of those that the function
 * gives back, too, which could be presented to somebody who knows nothing of them. */
static bool phb_change_irqs(
    struct phb *phb, struct virtio_pci *function, uint32_t count, struct err *err)
{
	uint32_t first = phb_first_irq(phb, function);
	uint32_t had = virtio_pci_use(function).irqs;

	virtio_pci_set_irqs(function, 0, 0);
	for (uint32_t i = 0; i < had || i < count; i++)
		if (!irqchip_reset_source(phb->irqchip, first + i, err))
			return false;
	return virtio_pci_set_irqs(function, first, count) == 0;
}

bool phb_set_irqs(struct phb *phb, struct virtio_pci *function, uint32_t count)
{
	struct err err = {0};

	return phb_change_irqs(phb, function, count, &err);
}

bool phb_irq(struct phb *phb, struct virtio_pci *function, uint32_t vector, uint32_t *ret_irq)
{
	*ret_irq = phb_first_irq(phb, function) + vector;
	return vector < virtio_pci_use(function).irqs;
}

/* Nothing a guest stores to, or loads from, is behind the lock for long. */
bool phb_access(struct phb *phb, uint64_t address, uint8_t *data, uint32_t length, bool write)
{
	bool answered = false;

	if (!phb->present || address < PHB_WINDOW_ADDRESS ||
	    address - PHB_WINDOW_ADDRESS >= PHB_WINDOW_BYTES)
		return false;
	pthread_rwlock_rdlock(&phb->lock);
	for (unsigned i = PHB_FIRST_SLOT; !answered && i < PHB_SLOTS; i++)
		answered = phb->slots[i].function != NULL &&
		           virtio_pci_access(phb->slots[i].function, address, data, length, write);
	pthread_rwlock_unlock(&phb->lock);
	if (!answered && !write)
		memset(data, 0, length);
	return true;
}

bool phb_at_rest(const struct phb *phb)
{
	for (unsigned i = PHB_FIRST_SLOT; i < PHB_SLOTS; i++)
		if (phb->slots[i].device != NULL && !virtio_at_rest(phb->slots[i].device))
			return false;
	return true;
}

bool phb_stop(struct phb *phb)
{
	bool at_rest = true;

	for (unsigned i = PHB_FIRST_SLOT; i < PHB_SLOTS; i++)
		if (phb->slots[i].function != NULL)
			at_rest = virtio_pci_stop(phb->slots[i].function) && at_rest;
	return at_rest;
}

static void phb_forget_orders(struct phb *phb)
{
	for (unsigned i = PHB_FIRST_SLOT; i < PHB_SLOTS; i++)
		phb->slots[i].orders = 0;
}

bool phb_reset(struct phb *phb, struct err *err)
{
	phb_forget_orders(phb);
	for (unsigned i = PHB_FIRST_SLOT; i < PHB_SLOTS; i++) {
		struct virtio_pci *function = phb->slots[i].function;

		phb->slots[i].known = false;
		if (function == NULL)
			continue;
		if (!phb_change_irqs(phb, function, 0, err))
			return false;
		virtio_pci_reset(function);
	}
	return phb_reset_ports(phb);
}

/* A tool begins with the dr-indicator, or finds out by its first call that the slot is empty. */
void phb_note_act(struct phb *phb, uint32_t index, bool tool_begins)
{
	uint32_t number = index - drc_index(&drc_type_pci, 0);
	struct phb_slot *slot = number < PHB_SLOTS ? &phb->slots[number] : NULL;

	if (slot != NULL && slot->orders > 0 && (tool_begins || slot->function == NULL))
		slot->orders--;
}

void phb_begin_kernel(struct phb *phb)
{
	phb_forget_orders(phb);
	phb_begin_ports(phb);
}
