/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drc_logical.c - the transition table of logical connectors, which CPU cores have (LoPAR 13.4).
 *
 * Three places differ on purpose from what other machines answer:
 *
 *  - ISOLATE of an UNISOLATED connector is accepted. A guest whose add failed between
 *    UNISOLATE and the end of ibm,configure-connector gives the core back with ISOLATE and
 *    UNUSABLE. QEMU refuses the first, and the connector is then wedged until reset.
 *
 *  - UNISOLATE of an AVAILABLE connector whose removal is pending, and which the guest has
 *    isolated since it was asked, is a refusal too: Linux sends exactly that one call when
 *    freeing the connector fails. It restores the state the guest isolated it from, as if the
 *    removal had never been asked for. Moving on to UNISOLATED would leave the request pending
 *    and the core half taken.
 *
 *  - An add is done when the guest has configured the core and started a thread of it. Linux
 *    configures a core that it then has no CPU number for, and gives it back. So a guest that
 *    gives a core back before it has started a thread has refused the add: the core leaves
 *    again and the add is reported rejected.
 */
#include "drc_rows.h"

/* clang-format off */
static const struct drc_row logical_rows[] = {
/* The guest: set-indicator isolation-state, LoPAR 13.5.3.
 *    states     input          when                 next        status            step        add         removal   effects */
GUEST(UNU | AVA, ISOLATE,       0,                   STAY,       SUCCESS,          ISOLATED,   ,           ,         0),
GUEST(UNI | CON, ISOLATE,       0,                   AVAILABLE,  SUCCESS,          ISOLATED,   ,           ,         0),
GUEST(UNU,       UNISOLATE,     0,                   STAY,       PARAMETER_ERROR,  ,           ,           ,         0),
GUEST(AVA,       UNISOLATE,     REMOVING | ISOLATED, BACK,       SUCCESS,          ,           ,           REJECTED, 0),
GUEST(AVA,       UNISOLATE,     0,                   UNISOLATED, SUCCESS,          UNISOLATED, ,           ,         FX(REWIND)),
GUEST(UNI | CON, UNISOLATE,     REMOVING,            STAY,       SUCCESS,          ,           ,           REJECTED, 0),
GUEST(UNI | CON, UNISOLATE,     0,                   STAY,       SUCCESS,          ,           ,           ,         0),

/* The guest: set-indicator allocation-state. */
GUEST(UNU,       UNUSABLE,      0,                   STAY,       SUCCESS,          ,           ,           ,         0),
GUEST(AVA,       UNUSABLE,      REMOVING | ADDING,   UNUSABLE,   SUCCESS,          RELEASED,   REJECTED,   DONE,     FX(DETACH)),
GUEST(AVA,       UNUSABLE,      REMOVING,            UNUSABLE,   SUCCESS,          RELEASED,   ,           DONE,     FX(DETACH)),
GUEST(AVA,       UNUSABLE,      ADDING,              UNUSABLE,   SUCCESS,          ,           REJECTED,   ,         FX(DETACH)),
GUEST(AVA,       UNUSABLE,      0,                   UNUSABLE,   SUCCESS,          ,           ,           ,         FX(GIVEN)),
GUEST(UNI | CON, UNUSABLE,      0,                   STAY,       PARAMETER_ERROR,  ,           ,           ,         0),
GUEST(UNU,       USABLE,        ATTACHED,            AVAILABLE,  SUCCESS,          ALLOCATED,  ,           ,         0),
GUEST(UNU,       USABLE,        0,                   STAY,       PARAMETER_ERROR,  ,           ,           ,         0),
GUEST(OWNED,     USABLE,        0,                   STAY,       SUCCESS,          ,           ,           ,         0),

/* The guest: ibm,configure-connector. A configured one may be read again. */
GUEST(UNU | AVA, CONFIGURE,     0,                   STAY,       NOT_CONFIGURABLE, ,           ,           ,         0),
GUEST(UNI | CON, CONFIGURE,     0,                   STAY,       SUCCESS,          ,           ,           ,         0),
GUEST(UNU | AVA, RECONFIGURE,   0,                   STAY,       NOT_CONFIGURABLE, ,           ,           ,         0),
GUEST(UNI | CON, RECONFIGURE,   0,                   STAY,       SUCCESS,          ,           ,           ,         0),
GUEST(UNU | AVA, CONFIGURE_END, 0,                   STAY,       NOT_CONFIGURABLE, ,           ,           ,         0),
GUEST(UNI,       CONFIGURE_END, ADDING,              CONFIGURED, SUCCESS,          CONFIGURED, ,           ,         FX(REWIND)),
GUEST(UNI,       CONFIGURE_END, 0,                   CONFIGURED, SUCCESS,          ,           ,           ,         FX(REWIND) | FX(TAKEN)),
GUEST(CON,       CONFIGURE_END, 0,                   STAY,       SUCCESS,          ,           ,           ,         FX(REWIND)),

/* The guest: start-cpu for a thread of the core. A thread that is started before the core is
 * configured counts when it is: device_guest_input() makes this input then. */
GUEST(UNU,       START,         0,                   STAY,       PARAMETER_ERROR,  ,           ,           ,         0),
GUEST(CON,       START,         ADDING,              STAY,       SUCCESS,          STARTED,    DONE,       ,         0),
GUEST(OWNED,     START,         0,                   STAY,       SUCCESS,          STARTED,    ,           ,         0),

/* The guest has handled the event of the pending request to the end. */
GUEST(UNU,       FENCE,         ADDING,              STAY,       SUCCESS,          ,           REJECTED,   ,         FX(DETACH)),
GUEST(AVA,       FENCE,         REMOVING | ISOLATED, BACK,       SUCCESS,          ,           ,           REJECTED, 0),
GUEST(AVA | UNI, FENCE,         REMOVING,            STAY,       SUCCESS,          ,           ,           REJECTED, 0),
GUEST(CON,       FENCE,         REMOVING | ADDING,   STAY,       SUCCESS,          ,           DONE,       REJECTED, 0),
GUEST(CON,       FENCE,         REMOVING,            STAY,       SUCCESS,          ,           ,           REJECTED, 0),
GUEST(CON,       FENCE,         ADDING,              STAY,       SUCCESS,          ,           DONE,       ,         0),
GUEST(ANY,       FENCE,         0,                   STAY,       SUCCESS,          ,           ,           ,         0),

/* The operator.
 *       states     input          when                 next        refusal     add         removal     effects */
OPERATOR(ANY,       ATTACH,        ATTACHED,            STAY,       OCCUPIED,   ,           ,           0),
OPERATOR(UNU,       ATTACH,        0,                   STAY,       ACCEPTED,   ,           ,           FX(ATTACH) | FX(NOTIFY)),
OPERATOR(UNU,       REMOVE,        ADDING,              STAY,       ACCEPTED,   CANCELLED,  DONE,       FX(DETACH)),
OPERATOR(UNU,       REMOVE,        ATTACHED,            STAY,       ACCEPTED,   ,           DONE,       FX(DETACH)),
OPERATOR(UNU,       REMOVE,        0,                   STAY,       EMPTY,      ,           ,           0),
OPERATOR(OWNED,     REMOVE,        0,                   STAY,       ACCEPTED,   ,           ,           FX(NOTIFY)),
OPERATOR(UNU,       CANCEL_ADD,    ADDING,              STAY,       ACCEPTED,   CANCELLED,  ,           FX(DETACH)),
OPERATOR(OWNED,     CANCEL_ADD,    ADDING,              STAY,       GUEST_OWNS, ,           ,           0),
OPERATOR(ANY,       CANCEL_ADD,    0,                   STAY,       NOTHING,    ,           ,           0),
OPERATOR(OWNED,     CANCEL_REMOVE, REMOVING,            STAY,       ACCEPTED,   ,           CANCELLED,  0),
OPERATOR(ANY,       CANCEL_REMOVE, 0,                   STAY,       NOTHING,    ,           ,           0),

/* Reset: what was asked for is settled, what stays is handed over configured in the new tree. */
OPERATOR(OWNED,     RESET,         REMOVING | ADDING,   UNUSABLE,   ACCEPTED,   SUPERSEDED, SUPERSEDED, FX(REWIND) | FX(DETACH)),
OPERATOR(OWNED,     RESET,         REMOVING,            UNUSABLE,   ACCEPTED,   ,           SUPERSEDED, FX(REWIND) | FX(DETACH)),
OPERATOR(ANY,       RESET,         ADDING,              CONFIGURED, ACCEPTED,   SUPERSEDED, ,           FX(REWIND)),
OPERATOR(ANY,       RESET,         ATTACHED,            CONFIGURED, ACCEPTED,   ,           ,           FX(REWIND)),
OPERATOR(UNU,       RESET,         0,                   STAY,       ACCEPTED,   ,           ,           FX(REWIND)),

/* The same, but what stays is not in the new tree. */
OPERATOR(OWNED,     RESET_OFFER,   REMOVING | ADDING,   UNUSABLE,   ACCEPTED,   SUPERSEDED, SUPERSEDED, FX(REWIND) | FX(DETACH)),
OPERATOR(OWNED,     RESET_OFFER,   REMOVING,            UNUSABLE,   ACCEPTED,   ,           SUPERSEDED, FX(REWIND) | FX(DETACH)),
OPERATOR(ANY,       RESET_OFFER,   ADDING,              UNUSABLE,   ACCEPTED,   SUPERSEDED, ,           FX(REWIND)),
OPERATOR(ANY,       RESET_OFFER,   0,                   UNUSABLE,   ACCEPTED,   ,           ,           FX(REWIND)),
};
/* clang-format on */

/* A connector that is plugged but not yet acquired reads UNUSABLE: Linux acquires only those
 * (dlpar_acquire_drc). */
enum drc_sense drc_logical_sense(const struct drc *drc)
{
	return drc->state == DRC_UNUSABLE ? DRC_SENSE_UNUSABLE : DRC_SENSE_PRESENT;
}

/* The names are LoPAR's DR connector types. The index type is the one every pseries guest has seen
 * so far. Resource type 1 of the hot-plug event section is a processor. */
const struct drc_type drc_type_cpu = {.name = "CPU",
    .name_prefix = "CPU ",
    .index_type = 1,
    .hotplug_type = 1,
    .id_kind = DRC_ID_INDEX,
    .rows = logical_rows,
    .row_count = sizeof logical_rows / sizeof logical_rows[0],
    .sense = drc_logical_sense};
