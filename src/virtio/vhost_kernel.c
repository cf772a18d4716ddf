/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_kernel.c - see vhost_kernel.h. The kernel reads and writes guest memory through this
 * process's mapping of it: one region, which has all that is there and that can be added.
 */
#include "virtio/vhost_kernel.h"

#include <errno.h>
#include <linux/vhost.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct vhost_kernel {
	int fd;
	uint64_t features;
};

static bool kernel_ask(
    const struct vhost_kernel *kernel, unsigned long request, void *argument, struct err *err)
{
	return ioctl(kernel->fd, request, argument) >= 0 ||
	       err_system(err, errno, NULL, "the host's kernel refuses to serve a device");
}

struct vhost_kernel *vhost_vsock_open(int fd, uint32_t cid, struct err *err)
{
	struct vhost_kernel *kernel = calloc(1, sizeof *kernel);
	uint64_t address = cid;

	if (kernel == NULL) {
		close(fd);
		err_system(err, ENOMEM, NULL, "cannot make a device");
		return NULL;
	}
	kernel->fd = fd;
	if (ioctl(fd, VHOST_SET_OWNER) < 0 || ioctl(fd, VHOST_GET_FEATURES, &kernel->features) < 0)
		err_system(err, errno, "give it /dev/vhost-vsock, which no other program uses",
		    "cannot use the host's vsock");
	else if (ioctl(fd, VHOST_VSOCK_SET_GUEST_CID, &address) < 0)
		err_system(err, errno, "give the guest another cid, from 3 on",
		    "the host refuses the vsock address %u", cid);
	else
		return kernel;
	close(fd);
	free(kernel);
	return NULL;
}

uint64_t vhost_kernel_features(const struct vhost_kernel *kernel)
{
	return kernel->features;
}

static bool kernel_start_ring(const struct vhost_kernel *kernel, const struct gmem *gmem,
    unsigned index, const struct vhost_ring *ring, struct err *err)
{
	struct vhost_vring_state size = {index, ring->rings.size}, base = {index, 0};
	struct vhost_vring_file kick = {index, ring->kick}, call = {index, ring->call};
	uint64_t host = (uintptr_t)gmem->host;
	struct vhost_vring_addr address = {.index = index,
	    .desc_user_addr = host + ring->rings.descriptors,
	    .avail_user_addr = host + ring->rings.driver,
	    .used_user_addr = host + ring->rings.device};

	return kernel_ask(kernel, VHOST_SET_VRING_NUM, &size, err) &&
	       kernel_ask(kernel, VHOST_SET_VRING_BASE, &base, err) &&
	       kernel_ask(kernel, VHOST_SET_VRING_ADDR, &address, err) &&
	       kernel_ask(kernel, VHOST_SET_VRING_CALL, &call, err) &&
	       kernel_ask(kernel, VHOST_SET_VRING_KICK, &kick, err);
}

static bool vsock_run(const struct vhost_kernel *kernel, int running, struct err *err)
{
	return kernel_ask(kernel, VHOST_VSOCK_SET_RUNNING, &running, err);
}

static bool vsock_start(void *backend, const struct gmem *gmem, uint64_t features,
    const struct vhost_ring *rings, unsigned count, uint64_t deadline_ms, struct err *err)
{
	const struct vhost_kernel *kernel = backend;
	union {
		struct vhost_memory memory;
		uint8_t bytes[sizeof(struct vhost_memory) + sizeof(struct vhost_memory_region)];
	} table = {.memory = {.nregions = 1}};
	struct vhost_memory_region region = {
	    .memory_size = gmem->max_bytes, .userspace_addr = (uintptr_t)gmem->host};

	memcpy(table.bytes + sizeof table.memory, &region, sizeof region);
	if (!kernel_ask(kernel, VHOST_SET_FEATURES, &features, err) ||
	    !kernel_ask(kernel, VHOST_SET_MEM_TABLE, &table, err))
		return false;
	for (unsigned i = 0; i < count; i++)
		if (rings[i].rings.enabled && !kernel_start_ring(kernel, gmem, i, &rings[i], err))
			return false;
	return vsock_run(kernel, 1, err);
}

/* When this is back, the kernel's thread has nothing of the rings any more. */
static bool vsock_stop(void *backend, const struct vhost_ring *rings, unsigned count,
    uint64_t deadline_ms, struct err *err)
{
	return vsock_run(backend, 0, err);
}

static int kernel_watch(const void *backend)
{
	return -1;
}

static bool kernel_alive(void *backend, struct err *err)
{
	return true;
}

/* Closed, it serves nothing. */
static void kernel_cut(void *backend)
{
	struct vhost_kernel *kernel = backend;

	if (kernel->fd >= 0)
		close(kernel->fd);
	kernel->fd = -1;
}

static void kernel_destroy(void *backend)
{
	kernel_cut(backend);
	free(backend);
}

const struct vhost_ops vhost_vsock_ops = {
    .start = vsock_start,
    .stop = vsock_stop,
    .watch = kernel_watch,
    .alive = kernel_alive,
    .cut = kernel_cut,
    .destroy = kernel_destroy,
};
