/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drc_pci.c - slots of a PCI bus, which are physical connectors. Reading a description and what the
 * operator asks are as in drc_logical.c; the rows here are what differs (LoPAR 13.4 and 13.6).
 *
 *  - There is no allocation: what is plugged in is the guest's once it is not isolated.
 *  - ISOLATE permits the removal; it does not prove that the guest has let go of the device. While
 *    its driver uses the device the connector waits, AVAILABLE, for the driver to let go (LET_GO),
 *    and the device stays alive: a guest whose device is taken away in use hangs.
 *  - Linux' tools cannot refuse a removal. One "no" can be told: a tool that finds no such device
 *    in its tree switches the dr-indicator on and off again, and isolates nothing (drmgr).
 *  - UNISOLATE while a removal is pending is what the tools do when they add: no answer to the
 *    request, unless the guest has isolated the connector since. If it had isolated it before, it
 *    has not been told of the removal, and is told now.
 *  - The kernel only passes the event on to a tool. So a fence proves nothing here.
 *  - An add is done when a driver has started the device.
 *  - A removal that is forced needs no ISOLATE: what no driver uses is taken away (TAKE_AWAY).
 */
#include "drc_rows.h"

#define HERE (UNI | CON)

/* clang-format off */
static const struct drc_row pci_rows[] = {
/* The guest: set-indicator isolation-state.
 *    states        input          when                 next        status            step        add         removal   effects */
GUEST(UNU,          ISOLATE,       0,                   STAY,       SUCCESS,          ,           ,           ,         0),
GUEST(OWNED,        ISOLATE,       REMOVING | ADDING,   UNUSABLE,   SUCCESS,          ISOLATED,   REJECTED,   DONE,     FX(DETACH)),
GUEST(OWNED,        ISOLATE,       REMOVING,            UNUSABLE,   SUCCESS,          ISOLATED,   ,           DONE,     FX(DETACH)),
GUEST(OWNED,        ISOLATE,       ADDING,              UNUSABLE,   SUCCESS,          ,           REJECTED,   ,         FX(DETACH)),
GUEST(OWNED,        ISOLATE,       0,                   UNUSABLE,   SUCCESS,          ,           ,           ,         FX(GIVEN)),
GUEST(UNU | AVA,    ISOLATE_USED,  0,                   STAY,       SUCCESS,          ,           ,           ,         0),
GUEST(HERE,         ISOLATE_USED,  0,                   AVAILABLE,  SUCCESS,          ISOLATED,   ,           ,         0),
GUEST(UNU,          UNISOLATE,     ATTACHED,            UNISOLATED, SUCCESS,          UNISOLATED, ,           ,         FX(REWIND)),
GUEST(UNU,          UNISOLATE,     0,                   STAY,       PARAMETER_ERROR,  ,           ,           ,         0),
GUEST(AVA,          UNISOLATE,     REMOVING | ISOLATED, BACK,       SUCCESS,          ,           ,           REJECTED, 0),
GUEST(AVA,          UNISOLATE,     REMOVING,            UNISOLATED, SUCCESS,          ,           ,           ,         FX(REWIND) | FX(NOTIFY)),
GUEST(AVA,          UNISOLATE,     0,                   UNISOLATED, SUCCESS,          ,           ,           ,         FX(REWIND)),
GUEST(HERE,         UNISOLATE,     0,                   STAY,       SUCCESS,          ,           ,           ,         0),

/* ... allocation-state, which a physical connector does not have. */
GUEST(ANY,          UNUSABLE,      0,                   STAY,       PARAMETER_ERROR,  ,           ,           ,         0),
GUEST(ANY,          USABLE,        0,                   STAY,       PARAMETER_ERROR,  ,           ,           ,         0),

/* ... dr-indicator. */
GUEST(ANY,          TOOL_BEGINS,   REMOVING,            STAY,       SUCCESS,          ANSWERED,   ,           ,         0),
GUEST(ANY,          TOOL_BEGINS,   0,                   STAY,       SUCCESS,          ,           ,           ,         0),
GUEST(HERE,         TOOL_STOPS,    REMOVING | ANSWERED, STAY,       SUCCESS,          ,           ,           REJECTED, 0),
GUEST(ANY,          TOOL_STOPS,    0,                   STAY,       SUCCESS,          ,           ,           ,         0),

/* The guest's driver starts the device, and lets go of it. */
GUEST(CON,          START,         ADDING,              STAY,       SUCCESS,          STARTED,    DONE,       ,         0),
GUEST(ANY,          START,         0,                   STAY,       SUCCESS,          ,           ,           ,         0),
GUEST(AVA,          LET_GO,        REMOVING | ADDING,   UNUSABLE,   SUCCESS,          RELEASED,   REJECTED,   DONE,     FX(DETACH)),
GUEST(AVA,          LET_GO,        REMOVING,            UNUSABLE,   SUCCESS,          RELEASED,   ,           DONE,     FX(DETACH)),
GUEST(AVA,          LET_GO,        ADDING,              UNUSABLE,   SUCCESS,          ,           REJECTED,   ,         FX(DETACH)),
GUEST(AVA,          LET_GO,        0,                   UNUSABLE,   SUCCESS,          ,           ,           ,         FX(GIVEN)),
GUEST(HERE,         LET_GO,        REMOVING,            STAY,       SUCCESS,          STOPPED,    ,           ,         0),
GUEST(ANY,          LET_GO,        0,                   STAY,       SUCCESS,          ,           ,           ,         0),
GUEST(HERE,         TAKE_AWAY,     REMOVING | ADDING,   UNUSABLE,   SUCCESS,          RELEASED,   REJECTED,   DONE,     FX(DETACH)),
GUEST(HERE,         TAKE_AWAY,     REMOVING,            UNUSABLE,   SUCCESS,          RELEASED,   ,           DONE,     FX(DETACH)),
GUEST(ANY,          TAKE_AWAY,     0,                   STAY,       SUCCESS,          ,           ,           ,         0),
GUEST(ANY,          FENCE,         0,                   STAY,       SUCCESS,          ,           ,           ,         0),

/* The operator. What is isolated already needs no event: the guest has done its part.
 *       states     input          when                 next        refusal     add         removal     effects */
OPERATOR(AVA,       REMOVE,        0,                   STAY,       ACCEPTED,   ,           ,           0),
};
/* clang-format on */

/* A tool adds only what the sensor says is there. */
static enum drc_sense drc_pci_sense(const struct drc *drc)
{
	return drc->attached ? DRC_SENSE_PRESENT : DRC_SENSE_EMPTY;
}

/* 28 is a PCI slot that can be changed while it has power. Resource type 5 of the hot-plug event
 * section is a PCI device. */
const struct drc_type drc_type_pci = {.name = "28",
    .name_prefix = "C",
    .physical = true,
    .index_type = 4,
    .hotplug_type = 5,
    .id_kind = DRC_ID_INDEX,
    .rows = pci_rows,
    .row_count = sizeof pci_rows / sizeof pci_rows[0],
    .rest = &drc_type_cpu,
    .sense = drc_pci_sense};
