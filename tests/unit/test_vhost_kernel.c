/* SPDX-License-Identifier: Apache-2.0 */
/* test_vhost_kernel.c - a vsock that the host's kernel serves, with an ioctl() that the test stands
 * in front of. */
#include <linux/vhost.h>
/* Numbers of bits there, bits here. */
#undef VIRTIO_F_VERSION_1
#undef VIRTIO_F_EVENT_IDX
#undef VIRTIO_F_INDIRECT_DESC

#include "virtio_driver.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/log.h"
#include "virtio/vhost_devices.h"

#define MIB (UINT64_C(1) << 20)

enum { SIZE = 16, CID = 77, QUEUES = 3, LONG_MS = 60000 };

/* What the kernel has been asked, and which request it refuses. */
static struct {
	unsigned long refused;
	uint64_t features, cid;
	_Atomic int running; /* -1: never */
	struct vhost_memory_region region;
	struct vhost_vring_addr addresses[QUEUES];
	int kicks[QUEUES], calls[QUEUES];
	_Atomic unsigned asked;
} kernel;

int ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;
	void *argument;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	assert_true(fd >= 0);
	kernel.asked++;
	if (request == kernel.refused) {
		errno = EBUSY;
		return -1;
	}
	switch (request) {
	case VHOST_GET_FEATURES:
		*(uint64_t *)argument = VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | 2 | 1 << 26;
		return 0;
	case VHOST_SET_FEATURES: kernel.features = *(uint64_t *)argument; return 0;
	case VHOST_VSOCK_SET_GUEST_CID: kernel.cid = *(uint64_t *)argument; return 0;
	case VHOST_VSOCK_SET_RUNNING: kernel.running = *(int *)argument; return 0;
	case VHOST_SET_MEM_TABLE:
		assert_int_equal(((struct vhost_memory *)argument)->nregions, 1);
		memcpy(&kernel.region, (uint8_t *)argument + sizeof(struct vhost_memory),
		    sizeof kernel.region);
		return 0;
	case VHOST_SET_VRING_NUM:
		assert_int_equal(((struct vhost_vring_state *)argument)->num, SIZE);
		return 0;
	case VHOST_SET_VRING_BASE:
		assert_int_equal(((struct vhost_vring_state *)argument)->num, 0);
		return 0;
	case VHOST_SET_VRING_ADDR: {
		const struct vhost_vring_addr *address = argument;

		kernel.addresses[address->index] = *address;
		return 0;
	}
	case VHOST_SET_VRING_KICK:
		kernel.kicks[((struct vhost_vring_file *)argument)->index] =
		    ((struct vhost_vring_file *)argument)->fd;
		return 0;
	case VHOST_SET_VRING_CALL:
		kernel.calls[((struct vhost_vring_file *)argument)->index] =
		    ((struct vhost_vring_file *)argument)->fd;
		return 0;
	default: return 0;
	}
}

struct fixture {
	struct gmem gmem;
	struct virtio_device *device;
	struct driver_transport transport;
	struct driver_queue queues[QUEUES];
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct err err = {0};

	log_level = LOG_ERROR;
	memset(&kernel, 0, sizeof kernel);
	kernel.running = -1;
	*state = f;
	return f != NULL && gmem_init(&f->gmem, 4 * MIB, 4 * MIB, &err) ? 0 : -1;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	gmem_finish(&f->gmem);
	free(f);
	return 0;
}

static bool make(struct fixture *f, struct err *err)
{
	const struct vhost_device_config config = {
	    .name = "vsock0", .ask_ms = LONG_MS, .answer_ms = LONG_MS};

	f->device =
	    vhost_vsock_create(&config, open("/dev/null", O_RDWR | O_CLOEXEC), CID, &f->gmem, err);
	if (f->device != NULL)
		transport_init(&f->transport, f->device);
	return f->device != NULL;
}

static void unmake(struct fixture *f)
{
	virtio_destroy(f->device);
	transport_finish(&f->transport);
}

static bool begin(struct fixture *f)
{
	struct virtio_rings rings[QUEUES];

	for (unsigned i = 0; i < QUEUES; i++) {
		driver_init(&f->queues[i], &f->gmem, 0x10000 + 0x10000 * i, SIZE);
		rings[i] = f->queues[i].rings;
	}
	return virtio_start(f->device, VIRTIO_F_VERSION_1, rings);
}

static void the_kernel_serves_two_of_three_queues(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};
	uint64_t cid = 0;

	assert_true(make(f, &err));
	assert_int_equal(kernel.cid, CID);
	assert_int_equal(virtio_kind(f->device)->id, 19);
	assert_int_equal(virtio_queues(f->device), QUEUES);
	assert_int_equal(virtio_features(f->device), VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | 2);
	virtio_read_config(f->device, 0, &cid, sizeof cid);
	assert_int_equal(le64toh(cid), CID);
	for (unsigned round = 1; round <= 3; round++) {
		assert_true(begin(f));
		virtio_stop(f->device);
		transport_wait_at_rest(&f->transport, round);
		assert_true(kernel.running <= 0);
	}
	assert_true(begin(f));
	while (kernel.running != 1)
		sched_yield();
	assert_int_equal(kernel.features, VIRTIO_F_VERSION_1);
	assert_int_equal(kernel.region.memory_size, 4 * MIB);
	assert_int_equal(kernel.region.userspace_addr, (uintptr_t)f->gmem.host);
	assert_int_equal(kernel.addresses[1].desc_user_addr,
	    (uintptr_t)f->gmem.host + f->queues[1].rings.descriptors);
	assert_int_equal(kernel.kicks[0], virtio_doorbell(f->device, 0));
	assert_int_equal(kernel.kicks[2], 0);
	assert_int_equal(kernel.calls[0], -1); /* this transport has no vectors */
	virtio_stop(f->device);
	transport_wait_at_rest(&f->transport, 4);
	assert_int_equal(kernel.running, 0);
	unmake(f);
}

static void what_the_kernel_refuses_is_said(void **state)
{
	static const unsigned long at_making[] = {
	    VHOST_SET_OWNER, VHOST_GET_FEATURES, VHOST_VSOCK_SET_GUEST_CID};
	static const unsigned long at_start[] = {VHOST_SET_FEATURES, VHOST_SET_MEM_TABLE,
	    VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE, VHOST_SET_VRING_ADDR, VHOST_SET_VRING_CALL,
	    VHOST_SET_VRING_KICK, VHOST_VSOCK_SET_RUNNING};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof at_making / sizeof at_making[0]; i++) {
		struct err err = {0};

		kernel.refused = at_making[i];
		assert_false(make(f, &err));
		assert_string_not_equal(err.message, "");
	}
	for (size_t i = 0; i < sizeof at_start / sizeof at_start[0]; i++) {
		struct err err = {0};
		unsigned asked;

		kernel.refused = 0;
		assert_true(make(f, &err));
		kernel.refused = at_start[i];
		assert_true(begin(f));
		transport_wait_broken(&f->transport, 1);
		assert_true(vhost_is_lost(f->device));
		asked = kernel.asked;
		virtio_stop(f->device);
		transport_wait_at_rest(&f->transport, 1);
		assert_false(begin(f));
		assert_int_equal(kernel.asked, asked);
		unmake(f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
	        the_kernel_serves_two_of_three_queues, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(what_the_kernel_refuses_is_said, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("vhost_kernel", tests, NULL, NULL);
}
