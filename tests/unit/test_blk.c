/* SPDX-License-Identifier: Apache-2.0 */
/* test_blk.c - the block device: what a driver can ask, and what it is told. */
#include "blk_fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- What the driver is told ------------------------------------------------------------------ */

static uint64_t config(const struct fixture *f, uint32_t offset, unsigned length)
{
	uint8_t bytes[8] = {0};
	uint64_t value = 0;

	virtio_read_config(f->device, offset, bytes, length);
	for (unsigned i = length; i-- > 0;)
		value = value << 8 | bytes[i];
	return value;
}

static void the_configuration_tells_what_the_disk_is(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};
	uint64_t base = VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC |
	                VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_BLK_SIZE | VIRTIO_BLK_F_FLUSH |
	                VIRTIO_BLK_F_MQ;

	f->device = make(f, (struct disk){.block_bytes = 4096, .discard = true, .zero = true}, 4,
	    &disk_engine_sync, &err);
	assert_non_null(f->device);
	assert_int_equal(virtio_kind(f->device)->id, 2);
	assert_int_equal(virtio_queues(f->device), 4);
	assert_int_equal(
	    virtio_features(f->device), base | VIRTIO_BLK_F_DISCARD | VIRTIO_BLK_F_WRITE_ZEROES);
	assert_int_equal(config(f, 0, 8), SECTORS);
	assert_int_equal(config(f, 8, 4), 0);     /* size_max */
	assert_int_equal(config(f, 12, 4), 128);  /* seg_max */
	assert_int_equal(config(f, 20, 4), 4096); /* blk_size */
	assert_int_equal(config(f, 34, 2), 4);    /* num_queues */
	assert_int_equal(config(f, 36, 4), 1 << 21);
	assert_int_equal(config(f, 40, 4), 1);
	assert_int_equal(config(f, 44, 4), 8); /* discard_sector_alignment */
	assert_int_equal(config(f, 48, 4), 1 << 21);
	assert_int_equal(config(f, 52, 4), 1);
	assert_int_equal(config(f, 56, 1), 1); /* write_zeroes_may_unmap */
	assert_int_equal(config(f, 57, 8), 0);
	virtio_destroy(f->device);
	f->device = make(f, (struct disk){.readonly = true}, 1, &disk_engine_sync, &err);
	assert_int_equal(virtio_features(f->device), base | VIRTIO_BLK_F_RO);
	assert_int_equal(config(f, 20, 4), 512);
	assert_int_equal(config(f, 36, 8), 0);
	assert_int_equal(config(f, 48, 8), 0);
	assert_int_equal(config(f, 56, 1), 0);
	virtio_destroy(f->device);
	f->device = NULL;
}

static void the_serial_is_zero_padded(void **state)
{
	static const struct {
		uint32_t bytes, written;
	} cases[] = {{20, 21}, {64, 20}, {5, 6}, {0, 1}};
	struct fixture *f = *state;

	begin(f, (struct disk){0}, &disk_engine_sync);
	for (size_t i = 0; i < 4; i++) {
		uint32_t written;

		memset(f->gmem.host + DATA, 0x55, 64);
		assert_int_equal(
		    ask(f,
		        &(struct request){
		            .type = GET_ID, .data = DATA, .bytes = cases[i].bytes, .piece = 3},
		        &written),
		    OK);
		assert_int_equal(written, cases[i].written);
		assert_memory_equal(f->gmem.host + DATA, "SERIAL-1\0\0\0\0\0\0\0\0\0\0\0\0\x55",
		    cases[i].bytes > 21 ? 21 : cases[i].bytes);
	}
}

/* --- Data ------------------------------------------------------------------------------------- */

static void what_is_written_is_read_back_whatever_the_pieces(void **state)
{
	static const struct {
		uint64_t sector;
		uint32_t bytes, piece;
	} cases[] = {{0, 512, 0}, {1, 512, 16}, {7, 4096, 0}, {100, 4096, 61},
	    {SECTORS - 1, 512, 5}, {8, 131072, 1024}, {9, 1024, 7}, {0, SECTORS * 512, 0}};
	struct fixture *f = *state;

	begin(f, (struct disk){0}, &disk_engine_sync);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct request request = {.type = OUT,
		    .sector = cases[i].sector,
		    .data = DATA,
		    .bytes = cases[i].bytes,
		    .piece = cases[i].piece};
		uint8_t *file = malloc(cases[i].bytes);
		uint32_t written;

		fill(f, DATA, cases[i].bytes, (uint8_t)i);
		assert_int_equal(ask(f, &request, &written), OK);
		assert_int_equal(written, 1);
		assert_int_equal(pread(f->fd, file, cases[i].bytes, (off_t)cases[i].sector * 512),
		    cases[i].bytes);
		assert_memory_equal(file, f->gmem.host + DATA, cases[i].bytes);
		request.type = IN;
		request.data = DATA + 0x400001; /* any address will do */
		assert_int_equal(ask(f, &request, &written), OK);
		assert_int_equal(written, cases[i].bytes + 1);
		assert_memory_equal(file, f->gmem.host + DATA + 0x400001, cases[i].bytes);
		free(file);
	}
	assert_int_equal(virtio_progress(f->device).done, 16);
}

/* Header, data and status in direct descriptors, the last two in one. */
static void the_status_is_the_last_byte_of_whatever_buffer(void **state)
{
	struct fixture *f = *state;
	struct driver_part parts[] = {{HEADERS, 16, false}, {DATA, 513, true}};
	uint16_t head;
	uint32_t written;

	begin(f, (struct disk){0}, &disk_engine_sync);
	assert_int_equal(pwrite(f->fd, "on the disk", 11, 5 * 512), 11);
	memset(f->gmem.host + DATA, UNTOUCHED, 514);
	memcpy(f->gmem.host + HEADERS, "\0\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0", 16);
	driver_offer(&f->queues[0], driver_chain(&f->queues[0], parts, 2, 0));
	driver_publish(&f->queues[0]);
	driver_ring(f->device, 0);
	transport_wait_used(&f->transport, &f->queues[0], 1);
	assert_true(driver_collect(&f->queues[0], &head, &written));
	assert_int_equal(written, 513);
	assert_string_equal(f->gmem.host + DATA, "on the disk");
	assert_int_equal(f->gmem.host[DATA + 512], OK);
	assert_int_equal(f->gmem.host[DATA + 513], UNTOUCHED);
}

static void nothing_beyond_the_disk_is_touched(void **state)
{
	static const struct {
		uint64_t sector;
		uint32_t bytes;
		uint8_t status;
	} cases[] = {
	    {SECTORS - 1, 512, OK},
	    {SECTORS - 1, 1024, IOERR},
	    {SECTORS, 512, IOERR},
	    {SECTORS, 0, OK},
	    {SECTORS + 1, 0, IOERR},
	    {0, SECTORS * 512 + 512, IOERR},
	    {UINT64_MAX, 512, IOERR},
	    {UINT64_MAX / 512 + 1, 512, IOERR}, /* sector * 512 is 0 */
	    {UINT64_MAX - 3, 4096, IOERR},
	    {0, 511, IOERR},
	    {0, 513, IOERR},
	    {0, 0, OK},
	};
	struct fixture *f = *state;

	begin(f, (struct disk){0}, &fake_engine);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		unsigned before = fake.begun;

		for (uint32_t type = IN; type <= OUT; type++)
			assert_int_equal(ASK(.type = type, .sector = cases[i].sector, .data = DATA,
			                     .bytes = cases[i].bytes),
			    cases[i].status);
		assert_int_equal(
		    fake.begun - before, cases[i].status == OK && cases[i].bytes > 0 ? 2 : 0);
	}
	assert_int_equal(f->errors, 0); /* they are the driver's */
}

static void direct_io_takes_whole_blocks(void **state)
{
	struct fixture *f = *state;

	begin(f, (struct disk){.block_bytes = 4096, .direct = true}, &fake_engine);
	assert_int_equal(ASK(.type = IN, .sector = 8, .data = DATA, .bytes = 4096), OK);
	assert_int_equal(ASK(.type = IN, .sector = 8, .data = DATA, .bytes = 512), IOERR);
	assert_int_equal(ASK(.type = IN, .sector = 1, .data = DATA, .bytes = 4096), IOERR);
	assert_int_equal(fake.begun, 1);
}

static void unknown_requests_are_not_supported(void **state)
{
	static const uint32_t types[] = {2, 3, 5, 6, 7, 9, 10, 12, 14, 99, UINT32_MAX};
	struct fixture *f = *state;

	begin(f, (struct disk){0}, &fake_engine);
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
		assert_int_equal(ASK(.type = types[i], .data = DATA, .bytes = 512), UNSUPP);
	assert_int_equal(fake.begun, 0);
}

static void a_read_only_disk_is_not_written_to(void **state)
{
	struct fixture *f = *state;

	begin(f, (struct disk){.readonly = true}, &fake_engine);
	assert_int_equal(ASK(.type = OUT, .data = DATA, .bytes = 512), IOERR);
	assert_int_equal(ASK(.type = DISCARD, .data = DATA, .bytes = 16), IOERR);
	assert_int_equal(ASK(.type = ZEROES, .data = DATA, .bytes = 16), IOERR);
	assert_int_equal(ASK(.type = FLUSH), OK);
	assert_int_equal(fake.begun, 0);
	assert_int_equal(ASK(.type = IN, .data = DATA, .bytes = 512), OK);
}

static void writes_last_if_the_driver_does_not_flush(void **state)
{
	struct fixture *f = *state;

	begin(f, (struct disk){0}, &fake_engine);
	assert_int_equal(ASK(.type = OUT, .data = DATA, .bytes = 512), OK);
	assert_false(fake.last.durable);
	assert_int_equal(ASK(.type = FLUSH), OK);
	assert_int_equal(fake.last.operation, DISK_FLUSH);
	transport_stop(&f->transport, f->device);
	start(f, VIRTIO_BLK_F_FLUSH);
	assert_int_equal(ASK(.type = OUT, .data = DATA, .bytes = 512), OK);
	assert_true(fake.last.durable);
	assert_int_equal(ASK(.type = IN, .data = DATA, .bytes = 512), OK);
	assert_false(fake.last.durable);
	assert_int_equal(ASK(.type = FLUSH), OK); /* it may nevertheless */
}

/* --- Discards --------------------------------------------------------------------------------- */

static void ranges_are_discarded_and_zeroed(void **state)
{
	struct fixture *f = *state;

	begin(f, (struct disk){.discard = true, .zero = true}, &fake_engine);
	assert_int_equal(ask_range(f, DISCARD, 8, 16, 0), OK);
	assert_int_equal(fake.last.operation, DISK_DISCARD);
	assert_int_equal(fake.last.offset, 4096);
	assert_int_equal(fake.last.data.bytes, 8192);
	assert_int_equal(ask_range(f, ZEROES, 0, SECTORS, 0), OK);
	assert_int_equal(fake.last.operation, DISK_ZERO);
	assert_int_equal(fake.last.data.bytes, SECTORS * 512);
	assert_false(fake.last.unmap);
	assert_int_equal(ask_range(f, ZEROES, SECTORS - 1, 1, 1), OK);
	assert_true(fake.last.unmap);
	/* What is wrong with a range. */
	assert_int_equal(ask_range(f, DISCARD, SECTORS, 1, 0), IOERR);
	assert_int_equal(ask_range(f, DISCARD, SECTORS - 1, 2, 0), IOERR);
	assert_int_equal(ask_range(f, DISCARD, UINT64_MAX, 1, 0), IOERR);
	assert_int_equal(ask_range(f, DISCARD, 0, 0, 0), IOERR);
	assert_int_equal(ask_range(f, ZEROES, 0, (1 << 21) + 1, 0), IOERR);
	assert_int_equal(ask_range(f, ZEROES, 0, UINT32_MAX, 0), IOERR);
	assert_int_equal(ask_range(f, DISCARD, 0, 8, 1), UNSUPP);
	assert_int_equal(ask_range(f, DISCARD, 0, 8, 2), UNSUPP);
	assert_int_equal(ask_range(f, ZEROES, 0, 8, 2), UNSUPP);
	assert_int_equal(ask_range(f, ZEROES, 0, 8, 0x80000001), UNSUPP);
	assert_int_equal(ASK(.type = DISCARD, .data = DATA, .bytes = 15), IOERR);
	assert_int_equal(ASK(.type = DISCARD, .data = DATA, .bytes = 32), IOERR);
	assert_int_equal(ASK(.type = DISCARD), IOERR);
	assert_int_equal(fake.begun, 3);
}

static void what_a_disk_cannot_do_is_not_supported(void **state)
{
	struct fixture *f = *state;

	begin(f, (struct disk){.zero = true}, &fake_engine);
	assert_int_equal(ask_range(f, DISCARD, 0, 8, 0), UNSUPP);
	assert_int_equal(fake.begun, 0);
	assert_int_equal(ask_range(f, ZEROES, 0, 8, 1), OK);
	assert_false(fake.last.unmap); /* without discards nothing is given back */
	fake.error = EOPNOTSUPP;       /* a block device tells when it is asked */
	assert_int_equal(ask_range(f, ZEROES, 0, 8, 0), UNSUPP);
	assert_int_equal(f->errors, 0);
	/* Of other requests it is an error. */
	assert_int_equal(ASK(.type = OUT, .data = DATA, .bytes = 512), IOERR);
	assert_int_equal(ASK(.type = IN, .data = DATA, .bytes = 512), IOERR);
	assert_int_equal(ASK(.type = FLUSH), IOERR);
	assert_int_equal(f->errors, 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(the_configuration_tells_what_the_disk_is),
	    TEST(the_serial_is_zero_padded),
	    TEST(what_is_written_is_read_back_whatever_the_pieces),
	    TEST(the_status_is_the_last_byte_of_whatever_buffer),
	    TEST(nothing_beyond_the_disk_is_touched),
	    TEST(direct_io_takes_whole_blocks),
	    TEST(unknown_requests_are_not_supported),
	    TEST(a_read_only_disk_is_not_written_to),
	    TEST(writes_last_if_the_driver_does_not_flush),
	    TEST(ranges_are_discarded_and_zeroed),
	    TEST(what_a_disk_cannot_do_is_not_supported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
