/* SPDX-License-Identifier: Apache-2.0 */
/* complain.c - see complain.h. */
#include "base/complain.h"

#include <stdio.h>

#include "base/log.h"

enum exit_code exit_code_of(const struct err *err)
{
	switch (err->class) {
	case ERR_NONE: return EXIT_POWERED_OFF;
	case ERR_USAGE: return EXIT_USAGE;
	case ERR_HOST: return EXIT_HOST_LACKS;
	case ERR_SYSTEM:
	case ERR_NOT_FOUND:
	case ERR_STATE: break;
	}
	return EXIT_VMM_ERROR;
}

void complain_error(const struct err *err)
{
	char line[sizeof err->message + sizeof err->hint + 32];
	int length = snprintf(line, sizeof line, "paprika: %s%s%s", err->message,
	    err->hint[0] != '\0' ? "; " : "", err->hint);

	/* Names come from the operator and may contain anything. */
	for (int i = 0; i < length; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
	line[length++] = '\n';
	/* It may be the last line, and the one that matters. */
	log_settle();
	log_write(line, (size_t)length);
	log_settle();
}
