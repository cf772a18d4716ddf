/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drc_lmb.c - logical memory blocks: connectors like those of drc_logical.c, but for the rows here
 * (LoPAR 13.7).
 *
 *  - UNUSABLE is accepted in every state. Linux has given the block up before it calls, and ignores
 *    the status: a refusal would leave memory that nobody has.
 *  - A block is added when the guest has put it to use, for which it makes no call. It calls only
 * if it fails. So an add that has been configured ends at a fence.
 *  - Linux refuses the removal of a group of blocks by configuring those again that it has taken
 *    offline already; before 5.13 without UNISOLATE.
 */
#include "drc_rows.h"

/* clang-format off */
static const struct drc_row lmb_rows[] = {
/*    states     input          when                 next        status            step        add         removal   effects */
GUEST(UNI | CON, UNUSABLE,      REMOVING | ADDING,   UNUSABLE,   SUCCESS,          RELEASED,   REJECTED,   DONE,     FX(DETACH)),
GUEST(UNI | CON, UNUSABLE,      REMOVING,            UNUSABLE,   SUCCESS,          RELEASED,   ,           DONE,     FX(DETACH)),
GUEST(UNI | CON, UNUSABLE,      ADDING,              UNUSABLE,   SUCCESS,          ,           REJECTED,   ,         FX(DETACH)),
GUEST(UNI | CON, UNUSABLE,      0,                   UNUSABLE,   SUCCESS,          ,           ,           ,         FX(GIVEN)),
GUEST(CON,       RECONFIGURE,   REMOVING,            STAY,       SUCCESS,          ,           ,           REJECTED, 0),
GUEST(UNI,       CONFIGURE_END, ADDING,              CONFIGURED, SUCCESS,          CONFIGURED, ,           ,         FX(REWIND) | FX(FENCE)),
GUEST(OWNED,     START,         0,                   STAY,       PARAMETER_ERROR,  ,           ,           ,         0),
};
/* clang-format on */

/* Resource type 2 of the hot-plug event section is memory. */
const struct drc_type drc_type_lmb = {.name = "MEM",
    .name_prefix = "LMB ",
    .index_type = 8,
    .hotplug_type = 2,
    .id_kind = DRC_ID_INDEX,
    .rows = lmb_rows,
    .row_count = sizeof lmb_rows / sizeof lmb_rows[0],
    .rest = &drc_type_cpu,
    .sense = drc_logical_sense};
