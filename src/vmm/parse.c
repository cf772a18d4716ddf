/* SPDX-License-Identifier: Apache-2.0 */
/* parse.c - see parse.h. */
#include "vmm/parse.h"

#include <stdbool.h>
#include <stdio.h>
#include <stddef.h>
#include <stdlib.h>

#define ALIGN_BYTES sizeof(max_align_t)

/* The costliest text is [{},{},...]: some 200 bytes, three of text each; and while an array or a
 * buffer grows it is there twice. */
#define RESERVE_BYTES(length) ((size_t)16384 + 128 * (length))

/* Static, because jansson's allocation functions are given nothing. The loop thread's own: should
 * another thread use jansson meanwhile, it finds no reserve. */
static _Thread_local struct {
	unsigned char *bytes;
	size_t size, used; /* used > 0: memory is out */
} reserve;

static void *take(size_t size)
{
	size_t length = (size + ALIGN_BYTES - 1) & ~(ALIGN_BYTES - 1);
	void *block = malloc(size);

	if (block != NULL || length > reserve.size - reserve.used)
		return block;
	block = reserve.bytes + reserve.used;
	reserve.used += length;
	return block;
}

static void give_back(void *block)
{
	unsigned char *bytes = block;

	if (bytes < reserve.bytes || bytes >= reserve.bytes + reserve.size)
		free(block);
}

static void out_of_memory(json_error_t *error)
{
	*error = (json_error_t){.line = -1, .column = -1};
	snprintf(error->text, sizeof error->text, "out of memory");
}

json_t *parse_json(const char *text, size_t length, size_t flags, json_error_t *error)
{
	json_malloc_t usual_malloc;
	json_free_t usual_free;
	json_t *value;

	reserve.size = RESERVE_BYTES(length);
	reserve.used = 0;
	reserve.bytes = malloc(reserve.size);
	if (reserve.bytes == NULL) {
		out_of_memory(error);
		return NULL;
	}
	json_get_alloc_funcs(&usual_malloc, &usual_free);
	json_set_alloc_funcs(take, give_back);
	value = json_loadb(text, length, flags, error);
	if (reserve.used > 0) {
		json_decref(value);
		value = NULL;
		out_of_memory(error);
	}
	json_set_alloc_funcs(usual_malloc, usual_free);
	free(reserve.bytes);
	return value;
}
