/* SPDX-License-Identifier: Apache-2.0 */
/*
 * devices.c - the commands that add and remove: devices one by one, and sizes and counts as
 * targets.
 *
 * A driver is a row of `drivers`: the name that device_add knows it by, and the function that reads
 * its arguments.
 */
#include "control/devices.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mac.h"
#include "control/block.h"
#include "control/chardev.h"
#include "control/json_out.h"
#include "control/netdev.h"

static bool check_id(struct call *call, const char *id)
{
	return id == NULL || op_is_device_name(id) ||
	       err_set(&call->err, ERR_USAGE,
	           "an identifier is a letter followed by letters, digits, '-', '.' and '_', at "
	           "most 63 in all",
	           "Parameter 'id' expects an identifier");
}

/* The reply to a request that has begun an operation. QMP's is empty. */
static json_t *operation_reply(const struct call *call, uint64_t operation)
{
	return call->session->subscribed ? json_pack("{s:I}", "operation", (json_int_t)operation)
	                                 : json_object();
}

/* --- The drivers ----------------------------------------------------------------------------- */

static bool add_core(struct call *call, const char *id, uint64_t *ret_operation)
{
	uint32_t threads = spapr_get_config(call->guest->machine)->threads;
	json_int_t core_id, nr_threads;
	char device[OP_DEVICE_MAX];

	if (!call_integer(call, "core-id", &core_id))
		return call_fail(call, NULL, "Parameter 'core-id' is missing");
	if (core_id < 0 || core_id > INT32_MAX)
		return call_fail(call, NULL, "core id %lld out of range", (long long)core_id);
	if (call_integer(call, "nr-threads", &nr_threads) && nr_threads != (json_int_t)threads)
		return call_fail(call, NULL, "invalid nr-threads %lld, must be %u",
		    (long long)nr_threads, (unsigned)threads);
	snprintf(device, sizeof device, "core%u", (unsigned)core_id);
	return spapr_core_add(call->guest->machine, (uint32_t)core_id, id != NULL ? id : device,
	    ret_operation, &call->err);
}

static bool add_memory(struct call *call, const char *id, uint64_t *ret_operation)
{
	const char *memdev = call_string(call, "memdev");
	struct backend *backend =
	    memdev != NULL ? backend_find(call->guest->backends, memdev) : NULL;
	json_int_t address;
	bool placed = call_integer(call, "addr", &address);
	char device[OP_DEVICE_MAX];

	if (memdev == NULL)
		return call_fail(call, NULL, "'memdev' property is not set");
	if (backend == NULL)
		return call_fail(call, "DeviceNotFound", "Device '%s' not found", memdev);
	if (backend_is_used(call->guest->machine, backend))
		return call_fail(call, NULL, "can't use already busy memdev: %s", memdev);
	if (placed && address < 0)
		return call_fail(call, NULL, "addr %lld out of range", (long long)address);
	snprintf(device, sizeof device, "%s", id != NULL ? id : memdev);
	if (!spapr_memory_add(call->guest->machine, placed ? (uint64_t)address : SPAPR_ANYWHERE,
	        backend->bytes, device, ret_operation, &call->err))
		return false;
	backend_use(call->guest->backends, backend, device);
	return true;
}

/* Locks tell other programs, not two descriptors of one open file. */
static bool is_same_disk(int a, int b)
{
	struct stat first, second;

	if (fstat(a, &first) != 0 || fstat(b, &second) != 0)
		return false;
	if (S_ISBLK(first.st_mode) && S_ISBLK(second.st_mode))
		return first.st_rdev == second.st_rdev;
	return first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

static bool check_other_disks(struct call *call, const struct block_node *node)
{
	const struct block_node *nodes = call->guest->blocks->nodes;

	for (size_t i = 0; i < BLOCKS_MAX; i++)
		if (nodes[i].name[0] != '\0' && &nodes[i] != node &&
		    !(nodes[i].readonly && node->readonly) && is_same_disk(nodes[i].fd, node->fd) &&
		    block_is_used(call->guest->machine, &nodes[i]))
			return err_set(&call->err, ERR_STATE, "remove that, or make both read-only",
			    "Drive '%s' is the same disk as '%s'", node->name, nodes[i].name);
	return true;
}

static bool add_device(
    struct call *call, const struct guest_device *device, uint64_t *ret_operation)
{
	return call->guest->ops->add(call->guest->vmm, device, ret_operation, &call->err);
}

/* Before anything is taken for it, or done with what another device of that name has. */
static bool check_free_name(struct call *call, const char *name)
{
	return !spapr_has_device(call->guest->machine, name) ||
	       call_fail(call, NULL, "Duplicate device ID '%s'", name);
}

static bool read_queues(struct call *call, unsigned *ret_queues)
{
	json_int_t queues;

	if (!call_integer(call, "num-queues", &queues))
		queues = 1;
	*ret_queues = (unsigned)queues;
	return (queues >= 1 && queues <= 16) ||
	       call_fail(call, NULL, "num-queues %lld out of range: 1 to 16", (long long)queues);
}

static bool add_disk(struct call *call, const char *id, uint64_t *ret_operation)
{
	const char *drive = call_string(call, "drive"), *serial = call_string(call, "serial");
	struct block_node *node = drive != NULL ? block_find(call->guest->blocks, drive) : NULL;
	struct guest_device disk = {.kind = GUEST_DISK,
	    .name = id != NULL ? id : drive,
	    .fd_count = 1,
	    .serial = serial != NULL ? serial : ""};

	if (drive == NULL)
		return call_fail(call, NULL, "'drive' property is not set");
	if (node == NULL)
		return call_fail(
		    call, NULL, "Property 'virtio-blk-device.drive' can't find value '%s'", drive);
	if (block_is_used(call->guest->machine, node))
		return call_fail(
		    call, NULL, "Drive '%s' is already in use by '%s'", drive, node->device);
	if (!check_other_disks(call, node))
		return false;
	if (strlen(disk.serial) > 20)
		return call_fail(call, NULL, "serial '%.64s' is longer than 20 characters", serial);
	if (!read_queues(call, &disk.queues) || !check_free_name(call, disk.name))
		return false;
	disk.fds = &node->fd;
	disk.readonly = node->readonly;
	if (!add_device(call, &disk, ret_operation))
		return false;
	snprintf(node->device, sizeof node->device, "%s", disk.name);
	return true;
}

static bool add_net(struct call *call, const char *id, uint64_t *ret_operation)
{
	const char *name = call_string(call, "netdev"), *mac = call_string(call, "mac");
	struct netdev *netdev = name != NULL ? netdev_find(call->guest->netdevs, name) : NULL;
	struct guest_device net = {.kind = GUEST_NET,
	    .name = id != NULL ? id : name,
	    .netdev = name,
	    .has_mac = mac != NULL};
	json_int_t mtu;

	if (name == NULL)
		return call_fail(call, NULL, "'netdev' property is not set");
	if (name[0] == '\0' || netdev == NULL)
		return call_fail(
		    call, NULL, "Property 'virtio-net-device.netdev' can't find value '%s'", name);
	if (netdev_is_used(call->guest->machine, netdev))
		return call_fail(call, NULL,
		    "Property 'virtio-net-device.netdev' can't take value '%s', it's in use", name);
	if (mac != NULL && !mac_parse(mac, net.mac))
		return call_fail(
		    call, NULL, "Property 'virtio-net-device.mac' doesn't take value '%.64s'", mac);
	if (!call_integer(call, "host_mtu", &mtu))
		mtu = 0;
	if (mtu != 0 && (mtu < 68 || mtu > 65520))
		return call_fail(
		    call, NULL, "host_mtu %lld out of range: 68 to 65520", (long long)mtu);
	if (!check_free_name(call, net.name))
		return false;
	net.fds = netdev->fds;
	net.fd_count = netdev->fd_count;
	net.mtu = (uint16_t)mtu;
	if (!add_device(call, &net, ret_operation))
		return false;
	snprintf(netdev->device, sizeof netdev->device, "%s", net.name);
	return true;
}

static bool add_rng(struct call *call, const char *id, uint64_t *ret_operation)
{
	const struct guest_device rng = {.kind = GUEST_RNG, .name = id != NULL ? id : "rng0"};

	return add_device(call, &rng, ret_operation);
}

/* The connection is the device's from then on, or lost if the device cannot be made. */
static bool add_vhost(
    struct call *call, struct guest_device *vhost, int fd, uint64_t *ret_operation)
{
	vhost->fds = &fd;
	vhost->fd_count = 1;
	return fd >= 0 && add_device(call, vhost, ret_operation);
}

static bool add_vhost_disk(struct call *call, const char *id, uint64_t *ret_operation)
{
	const char *chardev = call_string(call, "chardev");
	struct guest_device disk = {.kind = GUEST_VHOST_DISK, .name = id != NULL ? id : chardev};

	if (chardev == NULL)
		return call_fail(call, NULL, "chardev is mandatory");
	return read_queues(call, &disk.queues) && check_free_name(call, disk.name) &&
	       add_vhost(call, &disk, chardev_take(call, chardev, disk.name), ret_operation);
}

static bool add_share(struct call *call, const char *id, uint64_t *ret_operation)
{
	const char *chardev = call_string(call, "chardev"), *tag = call_string(call, "tag");
	struct guest_device share = {
	    .kind = GUEST_SHARE, .name = id != NULL ? id : chardev, .tag = tag};

	if (chardev == NULL)
		return call_fail(call, NULL, "missing chardev");
	if (tag == NULL || tag[0] == '\0')
		return call_fail(call, NULL, "missing tag property");
	if (strlen(tag) > 36)
		return call_fail(call, NULL, "tag property must be 36 bytes or less");
	return check_free_name(call, share.name) &&
	       add_vhost(call, &share, chardev_take(call, chardev, share.name), ret_operation);
}

static bool add_vsock(struct call *call, const char *id, uint64_t *ret_operation)
{
	const char *fd = call_string(call, "vhostfd");
	struct guest_device vsock = {.kind = GUEST_VSOCK, .name = id != NULL ? id : "vsock0"};
	json_int_t cid;

	if (!call_integer(call, "guest-cid", &cid) || cid < 3)
		return call_fail(call, NULL, "guest-cid property must be greater than 2");
	if (cid >= UINT32_MAX)
		return call_fail(call, NULL, "guest-cid property must be a 32-bit number");
	if (fd == NULL)
		return call_fail(call, NULL, "'vhostfd' property is not set");
	vsock.cid = (uint32_t)cid;
	return check_free_name(call, vsock.name) &&
	       add_vhost(call, &vsock, named_fd_take(call, fd), ret_operation);
}

/* What ends a driver's name decides: names of a core begin with a processor, and clients made for
 * other machines use theirs. */
enum { DRIVER_ARGUMENTS = 5 };
static const struct {
	const char *name;
	bool (*add)(struct call *call, const char *id, uint64_t *ret_operation);
	const char *arguments[DRIVER_ARGUMENTS]; /* that it takes, besides driver and id */
} drivers[] = {
    {"spapr-cpu-core", add_core, {"core-id", "nr-threads"}},
    {"pc-dimm", add_memory, {"memdev", "addr"}},
    {"virtio-blk-pci", add_disk, {"drive", "serial", "num-queues"}},
    {"virtio-net-pci", add_net, {"netdev", "mac", "mq", "host_mtu"}},
    {"virtio-rng-pci", add_rng, {NULL}},
    {"vhost-user-blk-pci", add_vhost_disk, {"chardev", "num-queues"}},
    {"vhost-user-fs-pci", add_share, {"chardev", "tag"}},
    {"vhost-vsock-pci", add_vsock, {"guest-cid", "vhostfd"}},
};

#define DRIVERS (sizeof drivers / sizeof drivers[0])

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text), end_length = strlen(end);

	return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

static bool driver_takes(size_t driver, const char *name)
{
	for (size_t i = 0; i < DRIVER_ARGUMENTS && drivers[driver].arguments[i] != NULL; i++)
		if (strcmp(drivers[driver].arguments[i], name) == 0)
			return true;
	return false;
}

/* An argument of another driver. One without a text counts as not given, as in QMP. */
static bool check_driver_arguments(struct call *call, size_t driver)
{
	for (size_t other = 0; other < DRIVERS; other++)
		for (size_t i = 0; i < DRIVER_ARGUMENTS && drivers[other].arguments[i] != NULL;
		     i++) {
			const char *name = drivers[other].arguments[i];
			json_t *given = json_object_get(call->arguments, name);

			if (!driver_takes(driver, name) &&
			    (json_is_string(given) || json_is_number(given) ||
			        json_is_boolean(given)))
				return call_fail(call, NULL, "Property '%s.%s' not found",
				    drivers[driver].name, name);
		}
	return true;
}

json_t *run_device_add(struct call *call)
{
	const char *driver = call_string(call, "driver"), *id = call_string(call, "id");
	uint64_t operation = 0;

	if (driver == NULL) {
		call_fail(call, NULL, "Parameter 'driver' expects a device model name");
		return NULL;
	}
	blocks_forget_devices(call->guest);
	netdevs_forget_devices(call->guest);
	for (size_t i = 0; i < DRIVERS; i++)
		if (ends_with(driver, drivers[i].name))
			return check_id(call, id) && check_driver_arguments(call, i) &&
			               drivers[i].add(call, id, &operation)
			           ? operation_reply(call, operation)
			           : NULL;
	call_fail(call, NULL, "'%s' is not a valid device model name", driver);
	return NULL;
}

json_t *run_device_del(struct call *call)
{
	static const char path[] = JSON_DEVICE_PATH;
	const char *id = call_string(call, "id");
	bool force = json_is_true(json_object_get(call->arguments, "force"));
	uint64_t operation = 0;

	if (strncmp(id, path, sizeof path - 1) == 0)
		id += sizeof path - 1;
	if (!op_is_device_name(id)) {
		call_fail(call, "DeviceNotFound", "Device '%s' not found", id);
		return NULL;
	}
	if ((force ? spapr_device_force : spapr_device_remove)(
	        call->guest->machine, id, &operation, &call->err))
		return operation_reply(call, operation);
	if (call->err.class == ERR_NOT_FOUND)
		call->class = "DeviceNotFound";
	return NULL;
}

/* --- Targets --------------------------------------------------------------------------------- */

/* Operations that one request may begin: there is room for twice as many. */
enum { TARGET_OPERATIONS = SPAPR_OPERATIONS / 2 };

static json_t *target_reply(struct call *call, const uint64_t *operations, size_t count)
{
	json_t *list = json_array();
	const char *incomplete = NULL;

	if (count == 0 && call->err.message[0] != '\0') {
		json_decref(list);
		return NULL;
	}
	for (size_t i = 0; i < count; i++)
		list = json_out_append(list, json_out_integer(operations[i]));
	if (call->err.message[0] != '\0')
		incomplete = call->err.message;
	else if (count == TARGET_OPERATIONS)
		incomplete = "ask again when these have ended: no more can be pending at once";
	return json_pack("{s:o, s:o*}", "operations", list, "incomplete",
	    incomplete != NULL ? json_out_text(incomplete) : NULL);
}

json_t *run_set_memory(struct call *call)
{
	uint64_t operations[TARGET_OPERATIONS];
	json_int_t size;

	call_integer(call, "size", &size);
	return target_reply(call, operations,
	    spapr_set_memory(call->guest->machine, size < 0 ? 0 : (uint64_t)size, operations,
	        TARGET_OPERATIONS, &call->err));
}

json_t *run_set_cores(struct call *call)
{
	uint64_t operations[TARGET_OPERATIONS];
	json_int_t count;

	call_integer(call, "count", &count);
	return target_reply(call, operations,
	    spapr_set_cores(call->guest->machine,
	        count < 0 || count > UINT32_MAX ? 0 : (uint32_t)count, operations,
	        TARGET_OPERATIONS, &call->err));
}

/* --- Memory backends, which QMP's clients make before the device ---------------------------- */

struct backend *backend_find(struct backends *backends, const char *id)
{
	for (size_t i = 0; i < BACKENDS_MAX; i++)
		if (backends->list[i].bytes != 0 && strcmp(backends->list[i].id, id) == 0)
			return &backends->list[i];
	return NULL;
}

bool backend_is_used(struct spapr *machine, const struct backend *backend)
{
	struct spapr_memory_info memory;

	for (uint64_t from = 0; spapr_memory_info(machine, from, &memory);
	     from = memory.address + memory.bytes)
		if (backend->device[0] != '\0' &&
		    strcmp(memory.connector.device, backend->device) == 0)
			return true;
	return false;
}

void backend_use(struct backends *backends, struct backend *backend, const char *device)
{
	/* The last device of this name has left. */
	for (size_t i = 0; i < BACKENDS_MAX; i++)
		if (strcmp(backends->list[i].device, device) == 0)
			backends->list[i].device[0] = '\0';
	snprintf(backend->device, sizeof backend->device, "%s", device);
}

const char *backend_of_device(const struct backends *backends, const char *device)
{
	for (size_t i = 0; i < BACKENDS_MAX; i++)
		if (backends->list[i].bytes != 0 && strcmp(backends->list[i].device, device) == 0)
			return backends->list[i].id;
	return device;
}

static bool check_object(struct call *call, const char *id, json_int_t size)
{
	const char *type = call_string(call, "qom-type");

	if (type == NULL || strcmp(type, "memory-backend-ram") != 0)
		return call_fail(call, NULL, "Parameter 'qom-type' does not accept value '%s'",
		    type != NULL ? type : "?");
	if (!check_id(call, id))
		return false;
	if (size <= 0)
		return call_fail(call, NULL,
		    "property 'size' of memory-backend-ram doesn't take "
		    "value '%lld'",
		    (long long)size);
	if (backend_find(call->guest->backends, id) != NULL)
		return call_fail(call, NULL,
		    "attempt to add duplicate property '%s' to object (type 'container')", id);
	return true;
}

json_t *run_object_add(struct call *call)
{
	struct backends *backends = call->guest->backends;
	const char *id = call_string(call, "id");
	json_int_t size;

	call_integer(call, "size", &size);
	if (!check_object(call, id, size))
		return NULL;
	for (size_t i = 0; i < BACKENDS_MAX; i++) {
		if (backends->list[i].bytes != 0)
			continue;
		backends->list[i] = (struct backend){.bytes = (uint64_t)size};
		snprintf(backends->list[i].id, sizeof backends->list[i].id, "%s", id);
		return json_object();
	}
	err_set(&call->err, ERR_STATE, "set-memory needs no backends; or use object-del",
	    "there can be no more than %u memory backends", (unsigned)BACKENDS_MAX);
	return NULL;
}

json_t *run_object_del(struct call *call)
{
	const char *id = call_string(call, "id");
	struct backend *backend = backend_find(call->guest->backends, id);

	if (backend == NULL)
		call_fail(call, NULL, "object '%s' not found", id);
	else if (backend_is_used(call->guest->machine, backend))
		call_fail(call, NULL, "object '%s' is in use, can not be deleted", id);
	else
		*backend = (struct backend){0};
	return call->err.message[0] == '\0' ? json_object() : NULL;
}
