/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block.c - see block.h.
 *
 * A set holds one descriptor. The node that names it takes the descriptor over, so that the set can
 * be removed at once, as with QEMU, which duplicates it. The node keeps it until blockdev-del. Sets
 * end with their connection: a client that has died would leave them for ever.
 */
#include "control/block.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/json_out.h"

#define FDSET_PATH "/dev/fdset/"

/* --- Descriptors ----------------------------------------------------------------------------- */

static struct fdset *fdset_find(struct blocks *blocks, uint64_t id)
{
	for (size_t i = 0; i < BLOCKS_MAX; i++)
		if (blocks->sets[i].present && blocks->sets[i].id == id)
			return &blocks->sets[i];
	return NULL;
}

static struct fdset *fdset_free_place(struct blocks *blocks)
{
	for (size_t i = 0; i < BLOCKS_MAX; i++)
		if (!blocks->sets[i].present)
			return &blocks->sets[i];
	return NULL;
}

static void fdset_remove(struct fdset *set)
{
	if (!set->taken)
		close(set->fd);
	*set = (struct fdset){0};
}

json_t *run_add_fd(struct call *call)
{
	struct blocks *blocks = call->guest->blocks;
	struct fdset *set = fdset_free_place(blocks);
	json_int_t id = 0;
	bool chosen = call_integer(call, "fdset-id", &id);

	if (call->session->passed_fd == 0)
		call_fail(call, NULL, "No file descriptor supplied via SCM_RIGHTS");
	else if (id < 0)
		call_fail(call, NULL, "Parameter 'fdset-id' expects a non-negative value");
	else if (chosen && fdset_find(blocks, (uint64_t)id) != NULL)
		call_fail(call, NULL, "fdset %lld has a descriptor already", (long long)id);
	else if (set == NULL)
		call_fail(call, NULL, "there can be no more than %d descriptors", BLOCKS_MAX);
	if (call->err.class != ERR_NONE)
		return NULL;
	while (!chosen && fdset_find(blocks, (uint64_t)id) != NULL)
		id++;
	*set = (struct fdset){.present = true,
	    .id = (uint64_t)id,
	    .fd = call->session->passed_fd,
	    .owner = call->session};
	call->session->passed_fd = 0;
	return json_pack("{s:I, s:i}", "fdset-id", id, "fd", set->fd);
}

json_t *run_remove_fd(struct call *call)
{
	struct fdset *set;
	json_int_t id, fd;

	call_integer(call, "fdset-id", &id);
	set = id < 0 ? NULL : fdset_find(call->guest->blocks, (uint64_t)id);
	if (set == NULL || (call_integer(call, "fd", &fd) && fd != set->fd)) {
		call_fail(
		    call, NULL, "File descriptor named 'fdset-id:%lld' not found", (long long)id);
		return NULL;
	}
	fdset_remove(set);
	return json_object();
}

void blocks_forget_session(struct blocks *blocks, const struct session *session)
{
	for (size_t i = 0; i < BLOCKS_MAX; i++)
		if (blocks->sets[i].present && blocks->sets[i].owner == session)
			fdset_remove(&blocks->sets[i]);
}

json_t *query_fdsets(struct call *call)
{
	const struct blocks *blocks = call->guest->blocks;
	json_t *list = json_array();

	for (size_t i = 0; i < BLOCKS_MAX; i++)
		if (blocks->sets[i].present)
			list = json_out_append(list,
			    json_pack("{s:I, s:[{s:i}]}", "fdset-id",
			        (json_int_t)blocks->sets[i].id, "fds", "fd", blocks->sets[i].fd));
	return list;
}

/* The set that a file name means; NULL, and an error, if it is none. */
static struct fdset *fdset_of_name(struct call *call, const char *name)
{
	struct fdset *set = NULL;
	char *end = NULL;

	if (strncmp(name, FDSET_PATH, sizeof FDSET_PATH - 1) == 0) {
		const char *digits = name + sizeof FDSET_PATH - 1;
		unsigned long long id = strtoull(digits, &end, 10);

		/* Signs and spaces are not digits. */
		if (*digits >= '0' && *digits <= '9' && *end == '\0')
			set = fdset_find(call->guest->blocks, id);
	}
	if (set != NULL && !set->taken)
		return set;
	if (set != NULL)
		err_set(&call->err, ERR_STATE, "pass it again with add-fd",
		    "the descriptor of '%.64s' is in use", name);
	else
		err_set(&call->err, ERR_STATE,
		    "a running guest's files cannot be opened any more: open it, pass the "
		    "descriptor with add-fd, and name it " FDSET_PATH "ID",
		    "Could not open '%.64s'", name);
	return NULL;
}

/* --- Nodes ----------------------------------------------------------------------------------- */

struct block_node *block_find(struct blocks *blocks, const char *name)
{
	for (size_t i = 0; i < BLOCKS_MAX; i++)
		if (blocks->nodes[i].name[0] != '\0' && strcmp(blocks->nodes[i].name, name) == 0)
			return &blocks->nodes[i];
	return NULL;
}

bool block_is_used(struct spapr *machine, const struct block_node *node)
{
	return node->device[0] != '\0' && spapr_has_device(machine, node->device);
}

void blocks_forget_devices(const struct guest *guest)
{
	for (size_t i = 0; i < BLOCKS_MAX; i++)
		if (!block_is_used(guest->machine, &guest->blocks->nodes[i]))
			guest->blocks->nodes[i].device[0] = '\0';
}

/* A text member of an object, or NULL. */
static const char *member_text(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

/* "file" or "host_device", by itself or below "raw": the file name, or NULL and an error. */
static const char *block_file_name(struct call *call)
{
	const char *driver = call_string(call, "driver");
	const json_t *from = call->arguments;
	const char *name;

	if (strcmp(driver, "raw") == 0) {
		from = json_object_get(call->arguments, "file");
		driver = from != NULL ? member_text(from, "driver") : NULL;
	}
	if (driver == NULL || (strcmp(driver, "file") != 0 && strcmp(driver, "host_device") != 0)) {
		call_fail(call, NULL, "Unknown driver '%s'", driver != NULL ? driver : "?");
		return NULL;
	}
	name = member_text(from, "filename");
	if (name == NULL)
		call_fail(call, NULL, "Parameter 'filename' is missing");
	return name;
}

json_t *run_blockdev_add(struct call *call)
{
	struct blocks *blocks = call->guest->blocks;
	const char *name = call_string(call, "node-name"), *file = block_file_name(call);
	struct fdset *set = file != NULL ? fdset_of_name(call, file) : NULL;
	struct block_node *node = NULL;

	if (set == NULL)
		return NULL;
	if (!op_is_device_name(name)) {
		call_fail(call, NULL, "Invalid node-name: '%s'", name);
		return NULL;
	}
	if (block_find(blocks, name) != NULL) {
		call_fail(call, NULL, "Duplicate nodes with node-name='%s'", name);
		return NULL;
	}
	for (size_t i = 0; i < BLOCKS_MAX && node == NULL; i++)
		if (blocks->nodes[i].name[0] == '\0')
			node = &blocks->nodes[i];
	if (node == NULL) {
		call_fail(call, NULL, "there can be no more than %d block nodes", BLOCKS_MAX);
		return NULL;
	}
	*node = (struct block_node){
	    .fd = set->fd, .readonly = json_is_true(json_object_get(call->arguments, "read-only"))};
	snprintf(node->name, sizeof node->name, "%s", name);
	set->taken = true;
	return json_object();
}

json_t *run_blockdev_del(struct call *call)
{
	const char *name = call_string(call, "node-name");
	struct block_node *node = block_find(call->guest->blocks, name);

	if (node == NULL) {
		call_fail(call, NULL, "Failed to find node with node-name='%s'", name);
		return NULL;
	}
	if (block_is_used(call->guest->machine, node)) {
		err_set(&call->err, ERR_STATE, "remove the device with device_del first",
		    "Node '%s' is busy: node is used as backend of '%s'", name, node->device);
		return NULL;
	}
	close(node->fd);
	*node = (struct block_node){0};
	return json_object();
}

json_t *query_named_block_nodes(struct call *call)
{
	const struct blocks *blocks = call->guest->blocks;
	json_t *list = json_array();

	for (size_t i = 0; i < BLOCKS_MAX; i++) {
		const struct block_node *node = &blocks->nodes[i];

		if (node->name[0] != '\0')
			list = json_out_append(
			    list, json_pack("{s:s, s:s, s:b}", "node-name", node->name, "drv",
			              "raw", "ro", (int)node->readonly));
	}
	return list;
}
