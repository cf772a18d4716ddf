/* SPDX-License-Identifier: Apache-2.0 */
/* rng.c - see rng.h. A request is answered at once: getrandom() does not wait after the host's
 * boot. */
#include "virtio/rng.h"
#include "virtio/model.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

struct rng {
	struct virtio_worker *worker;
	struct virtio_chain chain;
};

/* How many bytes were filled; fewer than asked for only if getrandom() fails. */
static size_t rng_fill(uint8_t *to, size_t length)
{
	size_t filled = 0;

	while (filled < length) {
		ssize_t more = getrandom(to + filled, length - filled, 0);

		if (more > 0)
			filled += (size_t)more;
		else if (more == 0 || errno != EINTR)
			break;
	}
	return filled;
}

static void rng_request(void *lane, struct virtio_chain *chain)
{
	struct rng *rng = lane;
	uint32_t written = 0;

	for (unsigned i = 0; i < chain->writable.count; i++) {
		const struct iovec *buffer = &chain->writable.list[i];
		size_t left = VIRTIO_RNG_BYTES_MAX - written;
		size_t want = buffer->iov_len < left ? buffer->iov_len : left;
		size_t filled = rng_fill(buffer->iov_base, want);

		written += (uint32_t)filled;
		if (filled < buffer->iov_len)
			break;
	}
	virtio_answer(rng->worker, chain->head, written);
}

static struct virtio_chain *rng_room(void *lane)
{
	return &((struct rng *)lane)->chain;
}

/* There is one queue, so its lane is all of the model. */
static void *rng_open(void *model, struct virtio_worker *worker, int doorbell, struct err *err)
{
	struct rng *rng = model;

	rng->worker = worker;
	return rng;
}

static void rng_close(void *lane)
{
}

static const struct virtio_model_ops rng_ops = {
    .kind = {.id = VIRTIO_RNG_ID,
        .driver = "virtio-rng-pci",
        .pci_class = 0x00ff00,
        .of_class = "legacy-device"},
    .open = rng_open,
    .close = rng_close,
    .destroy = free,
    .room = rng_room,
    .request = rng_request,
};

struct virtio_device *virtio_rng_create(const char *name, const struct gmem *gmem, struct err *err)
{
	struct rng *rng = calloc(1, sizeof *rng);

	if (rng == NULL) {
		err_system(err, ENOMEM, NULL, "%s: cannot make the device", name);
		return NULL;
	}
	return virtio_create(
	    &(struct virtio_model){.ops = &rng_ops, .self = rng, .name = name, .queues = 1}, gmem,
	    err);
}
