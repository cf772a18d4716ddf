/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree.c - reads the flattened device tree in place. It is assumed to be well-formed: a test of the
 * tree itself reads it as memory.
 */
#include "probe.h"

enum { BEGIN_NODE = 1, END_NODE = 2, PROPERTY = 3, NOP = 4 };

static const uint8_t *tree;

static uint32_t cell_at(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

void tree_set(const void *fdt)
{
	tree = fdt;
}

/* The rest of the path if its first part matches the node's name, else NULL. */
static const char *match(const char *path, const char *node)
{
	while (*path != '\0' && *path != '/' && *path == *node)
		path++, node++;
	if ((*path == '\0' || *path == '/') && (*node == '\0' || *node == '@'))
		return *path == '/' ? path + 1 : path;
	return NULL;
}

const uint8_t *tree_property(const char *path, const char *name, uint32_t *ret_length)
{
	const uint8_t *at = tree + cell_at(tree + 8);
	const char *strings = (const char *)tree + cell_at(tree + 12);
	const char *rest = path + 1;     /* part of the path not matched yet */
	uint32_t depth = 0, matched = 1; /* matched: depth of the innermost matching node */

	for (;;) {
		uint32_t tag = cell_at(at);

		at += 4;
		if (tag == BEGIN_NODE) {
			const char *node = (const char *)at, *left;

			at += (text_length(node) + 4) & ~(size_t)3;
			if (depth++ == matched && *rest != '\0' &&
			    (left = match(rest, node)) != NULL) {
				rest = left;
				matched = depth;
			}
		} else if (tag == END_NODE) {
			/* End of the matching node: the property does not exist. */
			if (depth-- == matched)
				return NULL;
		} else if (tag == PROPERTY) {
			uint32_t length = cell_at(at);

			if (depth == matched && *rest == '\0' &&
			    text_equal(strings + cell_at(at + 4), name)) {
				*ret_length = length;
				return at + 8;
			}
			at += 8 + ((length + 3) & ~3u);
		} else if (tag != NOP) {
			return NULL;
		}
	}
}

uint32_t tree_cell(const char *path, const char *name, uint32_t number, uint32_t otherwise)
{
	uint32_t length;
	const uint8_t *value = tree_property(path, name, &length);

	return value != NULL && length >= (number + 1) * 4 ? cell_at(value + number * 4)
	                                                   : otherwise;
}
