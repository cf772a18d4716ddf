/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drc_rows.h - short names for the columns of a transition table, so that a row fits a line. Only
 * for files that hold such a table.
 */
#ifndef PAPRIKA_DRC_ROWS_H
#define PAPRIKA_DRC_ROWS_H

#include "drc.h"

#define IN(state) (uint8_t)(1u << (state))
#define UNU IN(DRC_UNUSABLE)
#define AVA IN(DRC_AVAILABLE)
#define UNI IN(DRC_UNISOLATED)
#define CON IN(DRC_CONFIGURED)
#define OWNED (AVA | UNI | CON)
#define ANY (UNU | OWNED)

#define ATTACHED DRC_IF_ATTACHED
#define ADDING DRC_IF_ADDING
#define REMOVING DRC_IF_REMOVING
#define ISOLATED DRC_IF_ISOLATED_SINCE

#endif
