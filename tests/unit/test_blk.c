/* SPDX-License-Identifier: Apache-2.0 */
/* test_blk.c - the block device, from the driver's side. */
#include "virtio_driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "virtio/blk.h"

#define MIB (UINT64_C(1) << 20)

static void a_sector_is_written_and_read_back(void **state)
{
	struct gmem gmem;
	struct err err = {0};
	struct disk disk;
	struct driver_queue queue;
	struct driver_transport transport;
	struct virtio_device *device;
	int fd = memfd_create("disk", 0);
	struct {
		struct le32 type, reserved;
		struct le64 sector;
	} header = {.type = le32(1), .sector = le64(3)};
	struct driver_part parts[] = {
	    {0x20000, 16, false}, {0x21000, 512, false}, {0x22000, 1, true}};
	char data[512] = "hello, disk", back[512];
	uint16_t head;
	uint32_t written;
	uint8_t status = 0xff;

	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	assert_true(gmem_init(&gmem, MIB, MIB, &err));
	assert_true(disk_take(&disk, fd, "test", false, &err));
	device = virtio_blk_create(
	    &(struct virtio_blk_config){
	        .disk = disk, .name = "test", .queues = 1, .engine = &disk_engine_sync},
	    &gmem, &err);
	assert_non_null(device);
	transport_init(&transport, device);
	driver_init(&queue, &gmem, 0x10000, 16);
	assert_true(
	    virtio_start(device, virtio_features(device) & ~VIRTIO_F_EVENT_IDX, &queue.rings));
	assert_true(gmem_write(&gmem, 0x20000, &header, sizeof header));
	assert_true(gmem_write(&gmem, 0x21000, data, sizeof data));
	assert_true(gmem_write(&gmem, 0x22000, &status, 1));
	driver_offer(&queue, driver_chain(&queue, parts, 3, 0));
	driver_publish(&queue);
	driver_ring(device, 0);
	transport_wait_used(&transport, &queue, 1);
	assert_true(driver_collect(&queue, &head, &written));
	assert_int_equal(written, 1);
	assert_true(gmem_read(&gmem, 0x22000, &status, 1));
	assert_int_equal(status, 0);
	assert_int_equal(pread(fd, back, 512, 3 * 512), 512);
	assert_memory_equal(back, data, 512);
	transport_stop(&transport, device);
	virtio_destroy(device);
	transport_finish(&transport);
	gmem_finish(&gmem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_sector_is_written_and_read_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
