/* SPDX-License-Identifier: Apache-2.0 */
/* mac.h - Ethernet addresses as people write them. */
#ifndef PAPRIKA_MAC_H
#define PAPRIKA_MAC_H

#include <stdbool.h>
#include <stdint.h>

/* "52:54:00:12:34:56", of one device; false if it is not: of a group, or all zeros. */
bool mac_parse(const char *text, uint8_t ret_mac[6]);

#endif
