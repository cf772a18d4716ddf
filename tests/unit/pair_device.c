/* SPDX-License-Identifier: Apache-2.0 */
/* pair_device.c - see pair_device.h. */
#include "pair_device.h"

#include "drc/drc_rows.h"

#define ROW(in_states, drc_input, if_all, to, ...)                                                 \
	{                                                                                          \
		.states = in_states, .input = DRC_IN_##drc_input, .when = if_all, .next = to,      \
		__VA_ARGS__                                                                        \
	}

/* Unlike a core's, a half is added as soon as it is configured, cannot be started, and cannot be
 * isolated unless it was asked for. */
static const struct drc_row half_rows[] = {
    ROW(UNU | AVA, ISOLATE, 0, DRC_STAY, .step = OP_ISOLATED),
    ROW(UNI | CON, ISOLATE, REMOVING, DRC_TO_AVAILABLE, .step = OP_ISOLATED),
    ROW(UNI | CON, ISOLATE, 0, DRC_STAY, .status = RTAS_HARDWARE_ERROR),
    ROW(UNU, UNISOLATE, 0, DRC_STAY, .status = RTAS_PARAMETER_ERROR),
    ROW(AVA, UNISOLATE, REMOVING | ISOLATED, DRC_BACK, .remove = OP_REJECTED),
    ROW(AVA, UNISOLATE, 0, DRC_TO_UNISOLATED, .step = OP_UNISOLATED, .effects = DRC_FX_REWIND),
    ROW(UNI | CON, UNISOLATE, REMOVING, DRC_STAY, .remove = OP_REJECTED),
    ROW(UNI | CON, UNISOLATE, 0, DRC_STAY),

    ROW(UNU, UNUSABLE, 0, DRC_STAY),
    ROW(AVA, UNUSABLE, REMOVING | ADDING, DRC_TO_UNUSABLE, .step = OP_RELEASED, .add = OP_REJECTED,
        .remove = OP_DONE, .effects = DRC_FX_DETACH),
    ROW(AVA, UNUSABLE, REMOVING, DRC_TO_UNUSABLE, .step = OP_RELEASED, .remove = OP_DONE,
        .effects = DRC_FX_DETACH),
    ROW(AVA, UNUSABLE, ADDING, DRC_TO_UNUSABLE, .add = OP_REJECTED, .effects = DRC_FX_DETACH),
    ROW(AVA, UNUSABLE, 0, DRC_TO_UNUSABLE, .effects = DRC_FX_GIVEN),
    ROW(UNI | CON, UNUSABLE, 0, DRC_STAY, .status = RTAS_PARAMETER_ERROR),
    ROW(UNU, USABLE, ATTACHED, DRC_TO_AVAILABLE, .step = OP_ALLOCATED),
    ROW(UNU, USABLE, 0, DRC_STAY, .status = RTAS_PARAMETER_ERROR),
    ROW(OWNED, USABLE, 0, DRC_STAY),

    ROW(UNU | AVA, CONFIGURE, 0, DRC_STAY, .status = RTAS_NOT_CONFIGURABLE),
    ROW(UNI | CON, CONFIGURE, 0, DRC_STAY),
    ROW(UNU | AVA, RECONFIGURE, 0, DRC_STAY, .status = RTAS_NOT_CONFIGURABLE),
    ROW(UNI | CON, RECONFIGURE, 0, DRC_STAY),
    ROW(UNU | AVA, CONFIGURE_END, 0, DRC_STAY, .status = RTAS_NOT_CONFIGURABLE),
    ROW(UNI, CONFIGURE_END, ADDING, DRC_TO_CONFIGURED, .step = OP_CONFIGURED, .add = OP_DONE,
        .effects = DRC_FX_REWIND),
    ROW(UNI, CONFIGURE_END, 0, DRC_TO_CONFIGURED, .effects = DRC_FX_REWIND | DRC_FX_TAKEN),
    ROW(CON, CONFIGURE_END, 0, DRC_STAY, .effects = DRC_FX_REWIND),
    ROW(ANY, START, 0, DRC_STAY, .status = RTAS_PARAMETER_ERROR),
    ROW(UNI | CON, FENCE, REMOVING, DRC_STAY, .remove = OP_REJECTED),
    ROW(AVA, FENCE, REMOVING, DRC_STAY, .remove = OP_REJECTED),
    ROW(UNU, FENCE, ADDING, DRC_STAY, .add = OP_REJECTED, .effects = DRC_FX_DETACH),
    ROW(ANY, FENCE, 0, DRC_STAY),

    ROW(ANY, ATTACH, ATTACHED, DRC_STAY, .refusal = DRC_OCCUPIED),
    ROW(UNU, ATTACH, 0, DRC_STAY, .effects = DRC_FX_ATTACH | DRC_FX_NOTIFY),
    ROW(UNU, REMOVE, ADDING, DRC_STAY, .add = OP_CANCELLED, .remove = OP_DONE,
        .effects = DRC_FX_DETACH),
    ROW(UNU, REMOVE, ATTACHED, DRC_STAY, .remove = OP_DONE, .effects = DRC_FX_DETACH),
    ROW(UNU, REMOVE, 0, DRC_STAY, .refusal = DRC_EMPTY),
    ROW(OWNED, REMOVE, 0, DRC_STAY, .effects = DRC_FX_NOTIFY),
    ROW(UNU, CANCEL_ADD, ADDING, DRC_STAY, .add = OP_CANCELLED, .effects = DRC_FX_DETACH),
    ROW(OWNED, CANCEL_ADD, ADDING, DRC_STAY, .refusal = DRC_GUEST_OWNS),
    ROW(ANY, CANCEL_ADD, 0, DRC_STAY, .refusal = DRC_NOTHING),
    ROW(OWNED, CANCEL_REMOVE, REMOVING, DRC_STAY, .remove = OP_CANCELLED),
    ROW(ANY, CANCEL_REMOVE, 0, DRC_STAY, .refusal = DRC_NOTHING),

    ROW(OWNED, RESET, REMOVING | ADDING, DRC_TO_UNUSABLE, .add = OP_SUPERSEDED,
        .remove = OP_SUPERSEDED, .effects = DRC_FX_REWIND | DRC_FX_DETACH),
    ROW(OWNED, RESET, REMOVING, DRC_TO_UNUSABLE, .remove = OP_SUPERSEDED,
        .effects = DRC_FX_REWIND | DRC_FX_DETACH),
    ROW(ANY, RESET, ADDING, DRC_TO_CONFIGURED, .add = OP_SUPERSEDED, .effects = DRC_FX_REWIND),
    ROW(ANY, RESET, ATTACHED, DRC_TO_CONFIGURED, .effects = DRC_FX_REWIND),
    ROW(UNU, RESET, 0, DRC_STAY, .effects = DRC_FX_REWIND),
    ROW(ANY, RESET_OFFER, 0, DRC_STAY, .refusal = DRC_NOTHING),
};

static enum drc_sense half_sense(const struct drc *drc)
{
	return drc->attached ? DRC_SENSE_PRESENT : DRC_SENSE_EMPTY;
}

const struct drc_type drc_type_half = {.name = "HALF",
    .name_prefix = "HALF ",
    .index_type = 9,
    .hotplug_type = 77,
    .id_kind = DRC_ID_INDEX,
    .rows = half_rows,
    .row_count = sizeof half_rows / sizeof half_rows[0],
    .sense = half_sense};

static bool pair_check_remove(const struct device *device, struct err *err)
{
	const struct pair *pair = device->context;

	return !pair->busy || err_set(err, ERR_STATE, NULL, "pair %u is busy", device->unit);
}

static bool pair_attach(struct device *device, struct err *err)
{
	struct pair *pair = device->context;

	pair->made++;
	return !pair->attach_fails || err_set(err, ERR_SYSTEM, NULL, "no pair today");
}

static void pair_describe(const struct device *device, const struct connector *connector,
    bool named, struct node_writer *writer)
{
	(void)named;
	node_begin(writer, "half");
	node_cell(writer, "pair", device->unit);
	node_cell(writer, "ibm,my-drc-index", connector->drc_index);
	node_end(writer);
}

static void pair_attached(struct device *device, struct connector *connector)
{
	((struct pair *)device->context)->here[connector - device->connectors] = true;
}

static void pair_detach(struct device *device, struct connector *connector)
{
	((struct pair *)device->context)->here[connector - device->connectors] = false;
}

static const char *pair_infer(const struct device *device, const struct connector *connector,
    const struct operation *op, enum op_source source)
{
	(void)op;
	(void)source;
	return connector == device->connectors ? "the first half" : "the second half";
}

const struct device_type device_type_pair = {
    .noun = "pair",
    .connector = &drc_type_half,
    .check_remove = pair_check_remove,
    .attach = pair_attach,
    .describe = pair_describe,
    .attached = pair_attached,
    .detach = pair_detach,
    .infer = pair_infer,
};
