/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slot.c - every state that guest, driver, tool and operator can bring a slot of the PCI bus into,
 * and every move in each, walked to the end: explore.c for a device that is made on demand, has a
 * driver with a life of its own, and for which events that were read stay orders.
 *
 *   explore_slot         all but force
 *   explore_slot force   removals by force, and in their place no driver that breaks the rules or
 *                        gives up, and one order at most
 *
 * The machine is that of the fuzz targets (tests/fuzz/bus.h): the whole of the program's bus, with
 * the real functions and virtio devices, above the fake KVM, and without threads. A state is not
 * kept, but made again by its moves from the first boot on. There is one slot: the others count as
 * waiting for tools. The operator's loop comes at once.
 *
 * Each move is judged by `struct slot`, written from docs/connector-states.md: it foretells the
 * connector, the orders, what is pending and how that ends. In each state a machine has to be in
 * order (bus_check()), and has to have a way on: what is asked back leaves when tool and driver do
 * their part, and at times all of bus_end() is gone through.
 */
#include "bus.h"
#include "toys.h"

#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include "fake_kvm.h"
#include "spapr/rtas.h"

enum { SLOT = 1, DEPTH_MAX = 64, STATES_MAX = 1 << 20, END_EVERY = 61 };
enum { ACKNOWLEDGE = 1, DRIVER_OK = 4, BROKEN = 0x40, FAILED = 0x80 };

enum move {
	/* A tool of the guest, or its kernel. */
	ISOLATE,
	UNISOLATE,
	LED_ON,
	LED_OFF,
	ALLOCATE,
	SENSE,
	WALK,
	FETCH,
	/* Its driver. */
	HOLD,  /* ACKNOWLEDGE and DRIVER, bus mastering on */
	START, /* all that it takes, DRIVER_OK */
	REQUEST,
	BREAK,   /* a descriptor that there is not */
	GIVE_UP, /* FAILED */
	RESET,
	GIVE_IRQS,
	GIVE_MASTER,
	/* The device's threads; the back end answers. */
	TURN,
	ANSWER,
	/* The operator. */
	ADD,
	REMOVE,
	FORCE,
	CANCEL_ADD,
	CANCEL_REMOVE,
	REBOOT,
	MOVES
};

static const char *const move_names[MOVES] = {[ISOLATE] = "set-indicator 9001 = 0",
    [UNISOLATE] = "set-indicator 9001 = 1",
    [LED_ON] = "set-indicator 9002 = 1",
    [LED_OFF] = "set-indicator 9002 = 0",
    [ALLOCATE] = "set-indicator 9003 = 1",
    [SENSE] = "get-sensor-state",
    [WALK] = "configure-connector, to the end",
    [FETCH] = "check-exception",
    [HOLD] = "a driver begins",
    [START] = "a driver starts the device",
    [REQUEST] = "a request that takes long",
    [BREAK] = "the driver breaks the rules",
    [GIVE_UP] = "the driver gives the device up",
    [RESET] = "the driver resets the device",
    [GIVE_IRQS] = "the driver gives its interrupts back",
    [GIVE_MASTER] = "the driver switches bus mastering off",
    [TURN] = "the device's threads have their turn",
    [ANSWER] = "requests are answered",
    [ADD] = "device_add",
    [REMOVE] = "device_del",
    [FORCE] = "device_del by force",
    [CANCEL_ADD] = "operation-cancel of the add",
    [CANCEL_REMOVE] = "operation-cancel of the removal",
    [REBOOT] = "system_reset"};

/* What has to be. */
static struct slot {
	bool there, adding, removing;
	enum drc_state state, isolated_from; /* DRC_UNUSABLE: not since the request */
	bool answered, queued, known; /* known: taken by force, the guest has it in its tree */
	uint8_t orders, forced;
	/* The driver's. */
	uint8_t status;
	bool irqs, master, in_flight, resetting;
} want;

/* Which world it is. */
static bool with_force;
static unsigned orders_max = 2;

static struct spapr *machine;
static uint64_t add_id, remove_id;
static enum op_outcome add_ends, remove_ends; /* in this move */
static enum op_source ends_by;

static uint8_t path[DEPTH_MAX];
static unsigned depth;

static void broken(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void broken(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	printf("slot: broken: ");
	vprintf(format, arguments);
	va_end(arguments);
	printf("\nthe way there, from the first boot:\n");
	for (unsigned i = 0; i < depth; i++)
		printf("  %s\n", move_names[path[i]]);
	fflush(stdout);
	_exit(1);
}

/* --- What has to be: docs/connector-states.md, "PCI slots" --------------------------------------
 */

static bool running(void)
{
	return (want.status & DRIVER_OK) != 0 && (want.status & BROKEN) == 0 && !want.resetting;
}

static bool held(void)
{
	bool given_up = (want.status & FAILED) != 0 && (want.status & DRIVER_OK) == 0;

	return ((want.status & ~ACKNOWLEDGE) != 0 && !given_up) || want.irqs || want.master;
}

static void forget_driver(void)
{
	want.status = 0;
	want.irqs = want.master = want.in_flight = want.resetting = false;
}

static void leaves(void)
{
	want.there = want.adding = want.removing = want.answered = false;
	want.forced = 0;
	want.state = want.isolated_from = DRC_UNUSABLE;
	forget_driver();
}

/* The guest has isolated it, and its driver has let go. */
static void given(enum op_source by)
{
	ends_by = by;
	if (want.adding)
		add_ends = OP_REJECTED;
	if (want.removing)
		remove_ends = OP_DONE;
	want.state = DRC_UNUSABLE;
	forget_driver();
	if (want.adding || want.removing)
		leaves();
}

static void kept(enum drc_state state)
{
	ends_by = OP_BY_GUEST;
	remove_ends = OP_REJECTED;
	want.state = state;
	want.removing = want.answered = false;
	want.forced = 0;
	want.isolated_from = DRC_UNUSABLE;
}

static void unisolated(void)
{
	if (want.state == DRC_AVAILABLE && want.removing && want.isolated_from != DRC_UNUSABLE) {
		kept(want.isolated_from);
	} else if (want.state < DRC_UNISOLATED) {
		/* A removal that was asked for while it was isolated is told now. */
		want.queued = want.queued || (want.state == DRC_AVAILABLE && want.removing);
		want.state = DRC_UNISOLATED;
	}
}

static void isolated(void)
{
	if (want.state < DRC_UNISOLATED)
		return;
	if (!held()) {
		given(OP_BY_GUEST);
		return;
	}
	if (want.removing)
		want.isolated_from = want.state;
	want.state = DRC_AVAILABLE;
}

/* What follows from where the driver is. */
static void noticed(void)
{
	if (want.there && want.adding && want.state == DRC_CONFIGURED && running()) {
		ends_by = ends_by == OP_BY_NOBODY ? OP_BY_DRIVER : ends_by;
		add_ends = OP_DONE;
		want.adding = false;
	}
	if (want.there && want.state == DRC_AVAILABLE && !held())
		given(OP_BY_DRIVER);
	/* A tool that has begun is left to finish, unless it is forced once more. */
	if (want.there && want.removing && want.forced > (want.answered ? 1 : 0) && !held()) {
		given(OP_BY_DRIVER);
		want.known = true;
	}
}

static void foretell_operator(enum move move)
{
	switch (move) {
	case ADD:
		want.there = want.adding = want.queued = true;
		want.state = DRC_UNUSABLE;
		break;
	case REMOVE:
	case FORCE:
		if (want.state == DRC_UNUSABLE) {
			ends_by = OP_BY_OPERATOR;
			add_ends = want.adding ? OP_CANCELLED : OP_PENDING;
			remove_ends = OP_DONE;
			leaves();
			break;
		}
		/* What is pending already is not asked for again by force. */
		if (move == REMOVE || !want.removing)
			want.queued = want.queued || want.state >= DRC_UNISOLATED;
		want.removing = true;
		want.forced = (uint8_t)(want.forced + (move == FORCE));
		break;
	case CANCEL_ADD:
		ends_by = OP_BY_OPERATOR;
		add_ends = OP_CANCELLED;
		leaves();
		break;
	case CANCEL_REMOVE:
		ends_by = OP_BY_OPERATOR;
		remove_ends = OP_CANCELLED;
		want.removing = want.answered = false;
		want.forced = 0;
		want.isolated_from = DRC_UNUSABLE;
		break;
	default: /* REBOOT */
		ends_by = OP_BY_RESET;
		add_ends = want.adding ? OP_SUPERSEDED : OP_PENDING;
		remove_ends = want.removing ? OP_SUPERSEDED : OP_PENDING;
		if (want.removing)
			leaves();
		want.adding = want.queued = want.known = false;
		want.state = want.there ? DRC_CONFIGURED : DRC_UNUSABLE;
		want.orders = 0;
		forget_driver();
		break;
	}
}

static void foretell_driver(enum move move)
{
	switch (move) {
	case HOLD:
		want.status = 3;
		want.master = true;
		break;
	case START:
		want.status |= 15;
		want.master = want.irqs = true;
		break;
	case REQUEST: want.in_flight = want.forced == 0; break;
	case BREAK: want.status |= BROKEN; break;
	case GIVE_UP: want.status |= FAILED; break;
	case RESET:
		want.resetting = (want.status & DRIVER_OK) != 0;
		want.status = want.resetting ? want.status : 0;
		break;
	case GIVE_IRQS: want.irqs = false; break;
	case GIVE_MASTER: want.master = false; break;
	default:
		if (move == ANSWER)
			want.in_flight = false;
		if (want.resetting && !want.in_flight) {
			want.status = 0;
			want.resetting = false;
		}
		break;
	}
}

/* The tool acts on an event: an order less. One that finds an empty slot notices by any call. */
static void foretell_guest(enum move move)
{
	if (want.orders > 0 && (move == LED_ON || (move <= ALLOCATE && !want.there)))
		want.orders--;
	if (move == FETCH && want.queued) {
		want.queued = false;
		want.orders += want.there;
	}
	if (!want.there)
		return;
	switch (move) {
	case ISOLATE: isolated(); break;
	case UNISOLATE: unisolated(); break;
	case LED_ON: want.answered = want.answered || want.removing; break;
	case LED_OFF:
		if (want.removing && want.answered && want.state >= DRC_UNISOLATED)
			kept(want.state);
		break;
	case WALK:
		if (want.state == DRC_UNISOLATED)
			want.state = DRC_CONFIGURED;
		if (want.state == DRC_CONFIGURED && want.adding && running())
			ends_by = OP_BY_GUEST;
		break;
	default: break;
	}
}

static int32_t foretell_status(enum move move)
{
	if (move == ALLOCATE || (!want.there && move < SENSE) || (!want.there && move == WALK))
		return RTAS_PARAMETER_ERROR;
	return move == WALK && want.state < DRC_UNISOLATED ? RTAS_NOT_CONFIGURABLE : 0;
}

/* --- Moves --------------------------------------------------------------------------------------
 */

static bool possible(enum move move)
{
	bool reachable = want.there && want.state != DRC_UNUSABLE;

	switch (move) {
	case FETCH: return want.orders < orders_max;
	case FORCE: return with_force && want.forced < 2;
	case HOLD: return reachable && want.status == 0;
	case START:
		return reachable && (want.status & (DRIVER_OK | FAILED)) == 0 && !want.resetting;
	case REQUEST: return reachable && running() && want.master && !want.in_flight;
	case BREAK: return !with_force && reachable && running() && want.master;
	case GIVE_UP: return !with_force && reachable && want.status != 0 && !want.resetting;
	case RESET: return reachable && want.status != 0 && !want.resetting;
	case GIVE_IRQS: return reachable && want.irqs;
	case GIVE_MASTER: return reachable && want.master;
	case TURN: return want.resetting;
	case ANSWER: return want.in_flight;
	case CANCEL_ADD: return want.adding;
	case CANCEL_REMOVE: return want.removing;
	default: return true;
	}
}

/* The other slots are as good as full. */
static void fill_others(void)
{
	for (unsigned i = SLOT + 1; i < PHB_SLOTS; i++)
		machine->phb.slots[i].orders = 1;
}

static void reboot(void)
{
	struct err err = {0};

	spapr_quiesce(machine);
	toys_release();
	toys_work();
	if (!spapr_boot(machine, &err))
		broken("the machine does not boot: %s", err.message);
	fill_others();
	still_attend(0);
}

static void request(unsigned queue, unsigned head)
{
	driver_describe(SLOT, queue, 0, BUS_BUFFERS, 16, 0, 0);
	driver_offer(SLOT, queue, (uint16_t)head);
	driver_notify(SLOT, queue);
	toys_work();
}

static int32_t make_guest(enum move move)
{
	const uint32_t args[] = {9003, drc_index(&drc_type_pci, SLOT)};
	uint32_t sense = 7;
	int32_t status;

	switch (move) {
	case ISOLATE: return bus_indicate(9001, SLOT, 0);
	case UNISOLATE: return bus_indicate(9001, SLOT, 1);
	case LED_ON: return bus_indicate(9002, SLOT, 1);
	case LED_OFF: return bus_indicate(9002, SLOT, 0);
	case ALLOCATE: return bus_indicate(9003, SLOT, 1);
	case WALK: return tool_configure(SLOT, true, 100);
	case SENSE:
		status = still_rtas(0, "get-sensor-state", args, 2, 2, &sense);
		if (sense != want.there)
			broken("the sensor says %u", sense);
		return status;
	default: bus_fetch(2048); return 0;
	}
}

static void make_driver(enum move move)
{
	uint32_t ret[3];

	switch (move) {
	case HOLD:
		bus_move_bar(SLOT, 0);
		bus_write(SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
		bus_set(SLOT, BUS_STATUS, 1, 1);
		bus_set(SLOT, BUS_STATUS, 1, 3);
		break;
	case START:
		bus_move_bar(SLOT, 0);
		driver_up(SLOT, 0);
		break;
	case REQUEST: request(0, 0); break;
	case BREAK: request(1, BUS_RING_SIZE); break;
	case GIVE_UP: bus_set(SLOT, BUS_STATUS, 1, want.status | FAILED); break;
	case RESET: bus_set(SLOT, BUS_STATUS, 1, 0); break;
	case GIVE_IRQS: bus_call("ibm,change-msi", SLOT, 0, 3, 0, 6, 4, ret); break;
	case GIVE_MASTER: bus_write(SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY); break;
	case ANSWER: toys_release(); /* fall through */
	default: toys_work(); break;
	}
}

static void make_operator(enum move move)
{
	bool free = !want.there && want.orders == 0 && !want.known;
	struct err err = {0};
	uint64_t id;

	switch (move) {
	case ADD:
		id = operator_adds("toy");
		if ((id != 0) != free)
			broken("the device is %s", id != 0 ? "added" : "refused");
		add_id = id != 0 ? id : add_id;
		break;
	case REMOVE:
		id = operator_removes("toy");
		if ((id != 0) != want.there || (want.removing && id != remove_id))
			broken("the removal is operation %d", (int)id);
		remove_id = id != 0 ? id : remove_id;
		break;
	case FORCE:
		id = operator_forces("toy");
		if ((id != 0) != want.there || (want.removing && id != remove_id))
			broken("the removal by force is operation %d", (int)id);
		remove_id = id != 0 ? id : remove_id;
		break;
	case CANCEL_ADD:
		if (spapr_operation_cancel(machine, add_id, &err) != (want.state == DRC_UNUSABLE))
			broken("the add's cancelling: %s", err.message);
		break;
	case CANCEL_REMOVE:
		if (!spapr_operation_cancel(machine, remove_id, &err))
			broken("the removal's cancelling: %s", err.message);
		break;
	default: reboot(); break;
	}
}

/* Does it change anything at all? */
static bool accepted(enum move move)
{
	return move == ADD          ? !want.there && want.orders == 0 && !want.known
	       : move == REMOVE     ? want.there
	       : move == FORCE      ? want.there
	       : move == CANCEL_ADD ? want.state == DRC_UNUSABLE
	                            : true;
}

static void make(enum move move)
{
	int32_t status, foretold = foretell_status(move);

	add_ends = remove_ends = OP_PENDING;
	ends_by = OP_BY_NOBODY;
	if (move <= FETCH) {
		status = make_guest(move);
		if (status != foretold)
			broken("status %d, and has to be %d", status, foretold);
		foretell_guest(move);
	} else if (move < ADD) {
		make_driver(move);
		foretell_driver(move);
	} else {
		bool counts = accepted(move);

		make_operator(move);
		if (counts)
			foretell_operator(move);
	}
	noticed();
	operator_looks();
	/* The loop's turn releases what has left. */
	spapr_has_device(machine, "toy");
}

/* --- Judging ------------------------------------------------------------------------------------
 */

static void check_end(uint64_t id, bool pending, enum op_outcome ends, const char *which)
{
	const struct operation *op = ops_find(&machine->devices.ops, id);

	if (op == NULL) {
		if (pending || ends != OP_PENDING)
			broken("the %s is forgotten", which);
		return;
	}
	if ((op->outcome == OP_PENDING) != pending)
		broken("the %s is %s", which, op_outcome_name(op->outcome));
	if (ends != OP_PENDING && (op->outcome != ends || op->evidence.source != ends_by))
		broken("the %s ends as %s by %d, and has to as %s by %d", which,
		    op_outcome_name(op->outcome), op->evidence.source, op_outcome_name(ends),
		    ends_by);
	if (pending && op_stuck_text(op, (char[OP_STUCK_MAX]){0})[0] == '\0')
		broken("nothing to say about where the %s is stuck", which);
}

static void check(void)
{
	const struct phb_slot *slot = &machine->phb.slots[SLOT];
	const struct connector *connector =
	    connector_find(&machine->connectors, drc_index(&drc_type_pci, SLOT));
	struct virtio_pci_use use;

	if ((connector != NULL) != want.there || (slot->function != NULL) != want.there)
		broken("the device is %s", want.there ? "gone" : "still there");
	if (slot->orders != want.orders)
		broken("%u orders, and there have to be %u", slot->orders, want.orders);
	check_end(add_id, want.adding, add_ends, "add");
	check_end(remove_id, want.removing, remove_ends, "removal");
	if (toys_alive() != want.there)
		broken("%u devices are alive", toys_alive());
	if (!want.there)
		return;
	if (connector->drc.state != want.state)
		broken("the connector is %s, and has to be %s",
		    drc_state_name(&drc_type_pci, connector->drc.state),
		    drc_state_name(&drc_type_pci, want.state));
	if (connector->drc.adding != want.adding || connector->drc.removing != want.removing)
		broken("something else is pending than has to be");
	if (machine->events.queued[connector->number] != want.queued)
		broken("the event is%s queued", want.queued ? " not" : "");
	use = virtio_pci_use(slot->function);
	if (use.held != held() || use.running != running())
		broken("the driver is taken for another: status %#x", use.status);
	if (virtio_progress(slot->device).in_flight != want.in_flight)
		broken("another number of requests is in flight");
}

/* The way on: a tool and a driver that do their part end what is asked back. */
static void check_way_on(unsigned number)
{
	uint64_t id = remove_id;

	if (want.removing) {
		toys_release();
		toys_work();
		tool_gives(SLOT, true);
		operator_looks();
		if (spapr_has_device(machine, "toy"))
			broken("what is asked back does not leave");
		if (ops_find(&machine->devices.ops, id)->outcome != OP_DONE)
			broken("what has left is not done");
	} else if (number % END_EVERY == 0) {
		bus_end();
	}
}

/* --- The search ---------------------------------------------------------------------------------
 */

struct node {
	uint32_t parent;
	uint8_t move;
	struct slot slot;
	uint32_t machine; /* what the machine has besides */
};

static struct node *nodes;
static uint32_t count;
static uint32_t *table;

/* What the machine knows and `want` does not say: whether it was told that the driver let go. */
static uint32_t machine_key(void)
{
	const struct connector *connector =
	    connector_find(&machine->connectors, drc_index(&drc_type_pci, SLOT));

	return connector != NULL && connector->device->held;
}

static uint32_t hash(const struct node *node)
{
	const uint8_t *bytes = (const uint8_t *)&node->slot;
	uint32_t value = 2166136261u;

	for (size_t i = 0; i < sizeof node->slot; i++)
		value = (value ^ bytes[i]) * 16777619u;
	return (value ^ node->machine) * 16777619u;
}

static void note(uint32_t parent, enum move move)
{
	struct node *node = &nodes[count];
	uint32_t at;

	*node = (struct node){.parent = parent, .move = (uint8_t)move, .machine = machine_key()};
	memcpy(&node->slot, &want, sizeof want);
	for (at = hash(node) % (2 * STATES_MAX); table[at] != 0; at = (at + 1) % (2 * STATES_MAX))
		if (nodes[table[at] - 1].machine == node->machine &&
		    memcmp(&nodes[table[at] - 1].slot, &node->slot, sizeof want) == 0)
			return;
	if (count + 1 == STATES_MAX)
		broken("too many states");
	table[at] = ++count;
}

/* All its moves from the first boot on. */
static void make_again(uint32_t number)
{
	depth = 0;
	for (uint32_t i = number; i != 0; i = nodes[i].parent)
		depth++;
	if (depth + 1 >= DEPTH_MAX)
		broken("too deep");
	for (uint32_t i = number, at = depth; i != 0; i = nodes[i].parent)
		path[--at] = nodes[i].move;
	machine = bus_fresh(false, 0);
	fill_others();
	memset(&want, 0, sizeof want);
	add_id = remove_id = 0;
	for (unsigned i = 0; i < depth; i++)
		make((enum move)path[i]);
}

/* A machine that is left to the next one has no devices. */
static void clear(void)
{
	const uint32_t index = drc_index(&drc_type_pci, SLOT);
	struct connector *connector;

	spapr_quiesce(machine);
	toys_release();
	toys_work();
	devices_reset(&machine->devices);
	connector = connector_find(&machine->connectors, index);
	if (connector == NULL)
		return;
	connector->drc.state = DRC_UNUSABLE;
	if (operator_removes("toy") == 0 || toys_alive() != 0)
		broken("a device cannot be removed");
}

static uint64_t explore(void)
{
	uint64_t transitions = 0;

	nodes = calloc(STATES_MAX, sizeof *nodes);
	table = calloc(2 * STATES_MAX, sizeof *table);
	if (nodes == NULL || table == NULL)
		exit(2);
	make_again(0);
	note(0, ISOLATE);
	clear();
	for (uint32_t i = 0; i < count; i++) {
		struct slot before;

		make_again(i);
		before = want;
		bus_check();
		check_way_on(i);
		clear();
		for (enum move move = 0; move < MOVES; move++) {
			want = before;
			if (!possible(move))
				continue;
			make_again(i);
			path[depth++] = (uint8_t)move;
			make(move);
			check();
			note(i, move);
			clear();
			transitions++;
		}
	}
	return transitions;
}

int main(int argc, char **argv)
{
	uint64_t transitions;
	unsigned farthest = 0;

	with_force = argc == 2 && strcmp(argv[1], "force") == 0;
	if (argc > 2 || (argc == 2 && !with_force)) {
		fprintf(stderr, "usage: explore_slot [force]\n");
		return 2;
	}
	if (with_force)
		orders_max = 1;
	transitions = explore();

	for (uint32_t i = count - 1; i != 0; i = nodes[i].parent)
		farthest++;
	printf("slot%s: %u states, %llu transitions, %u moves from the boot to the farthest\n",
	    with_force ? "-force" : "", count, (unsigned long long)transitions, farthest);
	return 0;
}
