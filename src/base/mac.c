/* SPDX-License-Identifier: Apache-2.0 */
/* mac.c - see mac.h. */
#include "base/mac.h"

#include <string.h>

bool mac_parse(const char *text, uint8_t ret_mac[6])
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	uint8_t any = 0;

	for (unsigned i = 0; i < 6; i++, text += 3) {
		const char *high = text[0] == '\0' ? NULL : strchr(digits, text[0]);
		const char *low = high == NULL || text[1] == '\0' ? NULL : strchr(digits, text[1]);

		if (low == NULL || text[2] != (i < 5 ? ':' : '\0'))
			return false;
		ret_mac[i] = (uint8_t)((high - digits) % 16 * 16 + (low - digits) % 16);
		any |= ret_mac[i];
	}
	/* Neither a group nor nobody. */
	return any != 0 && (ret_mac[0] & 1) == 0;
}
