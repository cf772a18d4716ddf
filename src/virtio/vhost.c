/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost.c - see vhost.h: the device, and its control thread.
 *
 * As in device.c the state says who owns the rings: at rest the thread that calls virtio_start(),
 * else the control thread.
 */
#include "virtio/vhost.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "virtio/backing.h"
#include "virtio/thread.h"

enum vhost_state { VHOST_AT_REST, VHOST_RUNNING, VHOST_STOPPING, VHOST_ENDING };

struct vhost {
	struct virtio_device base;
	/* Constant. */
	struct vhost_config config;
	char name[32];
	uint8_t space[VHOST_CONFIG_MAX];
	const struct gmem *gmem;
	int mailbox; /* an eventfd, not blocking */
	int doorbells[VIRTIO_QUEUES_MAX];
	struct device_thread thread;
	_Atomic int state; /* enum vhost_state */
	atomic_bool lost;
	atomic_bool told_broken; /* since it was started; set by the control thread */
	void *_Atomic fresh;     /* a back end in place of the lost one, for the control thread */
	/* Of the owner. */
	uint64_t accepted;
	struct vhost_ring rings[VIRTIO_QUEUES_MAX];
	/* Of the control thread. */
	bool serving;
	bool resumable; /* lost, and the next back end can go on */
	bool resumes;   /* the next start is that */
};

static struct vhost *vhost_of(struct virtio_device *base)
{
	return (struct vhost *)base;
}

static const struct vhost *vhost_look(const struct virtio_device *base)
{
	return (const struct vhost *)base;
}

static void vhost_ring(struct vhost *vhost)
{
	eventfd_write(vhost->mailbox, 1);
}

/* --- The control thread ----------------------------------------------------------------------- */

/* Has the ring more than the back end has answered? */
static bool vhost_ring_waits(const struct vhost *vhost, const struct virtio_rings *rings)
{
	struct le16 available, used;

	return rings->enabled && gmem_load16(vhost->gmem, rings->driver + 2, &available) &&
	       gmem_load16(vhost->gmem, rings->device + 2, &used) && available.raw != used.raw;
}

/* Can another back end go on with the rings? The record of one that leaves none is the rings
 * themselves, if it had answered all, and will touch them no more. */
static bool vhost_can_resume(const struct vhost *vhost)
{
	const struct vhost_ops *ops = vhost->config.ops;

	/* At rest the rings are not ours. */
	if (atomic_load(&vhost->state) != VHOST_RUNNING || ops->inherit == NULL)
		return false;
	if (ops->tracks(vhost->config.backend))
		return true;
	for (unsigned i = 0; i < vhost->config.served; i++)
		if (vhost_ring_waits(vhost, &vhost->rings[i].rings))
			return false;
	return ops->gone(vhost->config.backend);
}

/* The driver can reset the device, and finds that it has no features while it is lost. */
static void vhost_tell_broken(struct vhost *vhost)
{
	const struct virtio_listener *listener = &vhost->base.listener;

	if (atomic_load(&vhost->state) != VHOST_RUNNING ||
	    atomic_exchange(&vhost->told_broken, true))
		return;
	if (listener->broken != NULL)
		listener->broken(listener->context);
}

static void vhost_lose(struct vhost *vhost, const struct err *err)
{
	if (atomic_load(&vhost->lost))
		return;
	vhost->resumable = vhost_can_resume(vhost);
	vhost->config.ops->cut(vhost->config.backend);
	vhost->serving = false;
	atomic_store(&vhost->lost, true);
	if (!vhost->resumable)
		vhost_tell_broken(vhost);
	log_line(LOG_WARN, "%s: the back end is lost: %s", vhost->name, err->message);
	if (vhost->config.lost != NULL)
		vhost->config.lost(vhost->config.context, err->message);
}

static uint64_t vhost_deadline(const struct vhost *vhost)
{
	return clock_ms() + vhost->config.answer_ms;
}

/* A back end that goes on begins behind what has been answered. (One with a record knows of that,
 * too.) */
static void vhost_set_bases(struct vhost *vhost)
{
	for (unsigned i = 0; i < vhost->config.served; i++) {
		struct vhost_ring *ring = &vhost->rings[i];
		struct le16 used;

		ring->base = 0;
		if (vhost->resumes && ring->rings.enabled &&
		    gmem_load16(vhost->gmem, ring->rings.device + 2, &used))
			ring->base = from_le16(used);
	}
}

/* The lost one may have taken a notification, and answered without an interrupt. */
static void vhost_wake_both(const struct vhost *vhost)
{
	for (unsigned i = 0; i < vhost->config.served; i++) {
		const struct vhost_ring *ring = &vhost->rings[i];

		if (!ring->rings.enabled)
			continue;
		eventfd_write(ring->kick, 1);
		if (ring->call >= 0)
			eventfd_write(ring->call, 1);
	}
}

static void vhost_begin(struct vhost *vhost)
{
	const struct vhost_config *config = &vhost->config;
	struct err err = {0};

	vhost_set_bases(vhost);
	vhost->serving = config->ops->start(config->backend, vhost->gmem, vhost->accepted,
	    vhost->rings, config->served, vhost_deadline(vhost), &err);
	if (!vhost->serving)
		vhost_lose(vhost, &err);
	else if (vhost->resumes)
		vhost_wake_both(vhost);
	vhost->resumes = false;
}

static void vhost_serve(struct vhost *vhost)
{
	/* It may have been lost after the driver asked. */
	if (atomic_load(&vhost->lost) && !vhost->resumable)
		vhost_tell_broken(vhost);
	else if (!atomic_load(&vhost->lost) && !vhost->serving && !atomic_load(&vhost->told_broken))
		vhost_begin(vhost);
}

/* Another back end has come. The driver, if it has not been told to reset the device, notices
 * nothing. */
static void vhost_take_fresh(struct vhost *vhost)
{
	const struct vhost_ops *ops = vhost->config.ops;
	void *fresh = atomic_exchange(&vhost->fresh, NULL);

	if (fresh == NULL)
		return;
	vhost->resumes = vhost->resumable && atomic_load(&vhost->state) == VHOST_RUNNING;
	if (vhost->resumes)
		ops->inherit(fresh, vhost->config.backend);
	ops->destroy(vhost->config.backend);
	vhost->config.backend = fresh;
	vhost->resumable = false;
	atomic_store(&vhost->lost, false);
	log_line(LOG_INFO, "%s: has another back end", vhost->name);
}

/* What the driver has put into the rings is answered, also if it has not notified the back end. The
 * eventfds of interrupts are the transport's, so there is nothing to wait for but the rings. */
static bool vhost_drain(struct vhost *vhost, uint64_t deadline_ms, struct err *err)
{
	enum { ROUND_MS = 2 };
	const struct vhost_config *config = &vhost->config;
	bool waits = true;

	for (unsigned i = 0; i < config->served; i++)
		if (vhost_ring_waits(vhost, &vhost->rings[i].rings))
			eventfd_write(vhost->doorbells[i], 1);
	while (waits) {
		struct pollfd watched = {
		    .fd = config->ops->watch(config->backend), .events = POLLIN};

		waits = false;
		for (unsigned i = 0; i < config->served; i++)
			waits = waits || vhost_ring_waits(vhost, &vhost->rings[i].rings);
		if (waits && clock_ms() >= deadline_ms)
			return err_set(err, ERR_STATE, "look at its log, and start it again",
			    "%s: the back end does not end its requests in time", vhost->name);
		if (waits && poll(&watched, 1, ROUND_MS) > 0 &&
		    !config->ops->alive(config->backend, err))
			return false;
	}
	return true;
}

static bool vhost_end_serving(struct vhost *vhost, struct err *err)
{
	const struct vhost_config *config = &vhost->config;
	uint64_t deadline_ms = vhost_deadline(vhost);

	return (!config->drains || vhost_drain(vhost, deadline_ms, err)) &&
	       config->ops->stop(config->backend, vhost->rings, config->served, deadline_ms, err);
}

/* The rings are handed back with the last access to them. */
static void vhost_rest(struct vhost *vhost)
{
	const struct virtio_listener listener = vhost->base.listener;
	int stopping = VHOST_STOPPING;
	struct err err = {0};

	if (vhost->serving && !vhost_end_serving(vhost, &err))
		vhost_lose(vhost, &err);
	vhost->serving = vhost->resumable = vhost->resumes = false;
	atomic_store(&vhost->told_broken, false);
	/* It may have been told to end meanwhile. */
	if (atomic_compare_exchange_strong(&vhost->state, &stopping, VHOST_AT_REST) &&
	    listener.at_rest != NULL)
		listener.at_rest(listener.context);
}

/* Until there is a wish, or the back end stirs. */
static void vhost_wait(struct vhost *vhost)
{
	const struct vhost_config *config = &vhost->config;
	int watched = atomic_load(&vhost->lost) ? -1 : config->ops->watch(config->backend);
	struct pollfd fds[2] = {
	    {.fd = vhost->mailbox, .events = POLLIN}, {.fd = watched, .events = POLLIN}};
	struct err err = {0};
	eventfd_t wishes;

	while (poll(fds, 2, -1) < 0 && errno == EINTR)
		;
	eventfd_read(vhost->mailbox, &wishes);
	if (fds[1].revents != 0 && !config->ops->alive(config->backend, &err))
		vhost_lose(vhost, &err);
}

static void *vhost_main(void *argument)
{
	struct vhost *vhost = argument;
	char name[16];

	snprintf(name, sizeof name, "%.15s", vhost->name);
	pthread_setname_np(pthread_self(), name);
	for (;;) {
		vhost_wait(vhost);
		device_thread_heed(&vhost->thread);
		vhost_take_fresh(vhost);
		switch (atomic_load(&vhost->state)) {
		case VHOST_AT_REST: break;
		case VHOST_RUNNING: vhost_serve(vhost); break;
		case VHOST_STOPPING: vhost_rest(vhost); break;
		case VHOST_ENDING: return NULL;
		}
	}
}

/* --- The driver's acts ------------------------------------------------------------------------ */

/* Rings in the guest's memory, of which section 2.7 says where each part lies. */
static bool vhost_check_rings(const struct vhost *vhost, const struct virtio_rings *rings)
{
	struct virtqueue queue;

	return !rings->enabled || virtqueue_start(&queue, vhost->gmem, VIRTIO_F_VERSION_1, rings);
}

static bool vhost_start(
    struct virtio_device *base, uint64_t features, const struct virtio_rings *rings)
{
	struct vhost *vhost = vhost_of(base);
	const struct virtio_listener *listener = &base->listener;

	if (atomic_load(&vhost->lost))
		return false;
	for (unsigned i = 0; i < base->queues; i++)
		if (!vhost_check_rings(vhost, &rings[i]))
			return false;
	for (unsigned i = 0; i < base->queues; i++)
		vhost->rings[i] = (struct vhost_ring){.rings = rings[i],
		    .kick = vhost->doorbells[i],
		    .call = listener->call != NULL ? listener->call(listener->context, i) : -1};
	vhost->accepted = features;
	atomic_store(&vhost->state, VHOST_RUNNING);
	vhost_ring(vhost);
	return true;
}

static void vhost_stop(struct virtio_device *base)
{
	struct vhost *vhost = vhost_of(base);
	int running = VHOST_RUNNING;

	if (atomic_compare_exchange_strong(&vhost->state, &running, VHOST_STOPPING))
		vhost_ring(vhost);
}

static bool vhost_at_rest(const struct virtio_device *base)
{
	return atomic_load(&vhost_look(base)->state) == VHOST_AT_REST;
}

/* Only what the rings show: how many are answered is known to 16 bits. */
static struct virtio_progress vhost_progress(const struct virtio_device *base)
{
	const struct vhost *vhost = vhost_look(base);
	struct virtio_progress progress = {0};

	if (atomic_load(&vhost->state) == VHOST_AT_REST)
		return progress;
	for (unsigned i = 0; i < vhost->config.served; i++) {
		const struct virtio_rings *rings = &vhost->rings[i].rings;
		struct le16 available, used;

		if (!rings->enabled || !gmem_load16(vhost->gmem, rings->driver + 2, &available) ||
		    !gmem_load16(vhost->gmem, rings->device + 2, &used))
			continue;
		progress.done += from_le16(used);
		progress.in_flight += (uint16_t)(from_le16(available) - from_le16(used));
	}
	return progress;
}

static uint64_t vhost_features(const struct virtio_device *base)
{
	const struct vhost *vhost = vhost_look(base);

	return atomic_load(&vhost->lost) ? 0 : vhost->config.features;
}

static int vhost_doorbell(const struct virtio_device *base, unsigned queue)
{
	return vhost_look(base)->doorbells[queue];
}

/* --- Making and ending ------------------------------------------------------------------------ */

static bool vhost_confine(struct virtio_device *base,
    bool (*confine)(void *context, struct err *err), void *context, struct err *err)
{
	struct vhost *vhost = vhost_of(base);

	device_thread_ask_confine(&vhost->thread, confine, context);
	vhost_ring(vhost);
	return device_thread_wait_confined(&vhost->thread, err);
}

/* It takes as long as the back end may take for its answer: only if that has a request just now. */
static void vhost_destroy(struct virtio_device *base)
{
	struct vhost *vhost = vhost_of(base);

	if (vhost->thread.started) {
		atomic_store(&vhost->state, VHOST_ENDING);
		vhost_ring(vhost);
	}
	device_thread_join(&vhost->thread);
	vhost->config.ops->destroy(vhost->config.backend);
	if (vhost->fresh != NULL)
		vhost->config.ops->destroy(vhost->fresh);
	for (unsigned i = 0; i < base->queues; i++)
		if (vhost->doorbells[i] >= 0)
			close(vhost->doorbells[i]);
	if (vhost->mailbox >= 0)
		close(vhost->mailbox);
	pthread_mutex_destroy(&vhost->base.lock);
	free(vhost);
}

static const struct virtio_backing vhost_backing = {
    .destroy = vhost_destroy,
    .confine = vhost_confine,
    .features = vhost_features,
    .doorbell = vhost_doorbell,
    .start = vhost_start,
    .stop = vhost_stop,
    .at_rest = vhost_at_rest,
    .progress = vhost_progress,
};

static bool vhost_make_eventfds(struct vhost *vhost, struct err *err)
{
	bool good = true;

	for (unsigned i = 0; i < vhost->base.queues; i++) {
		vhost->doorbells[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		good = good && vhost->doorbells[i] >= 0;
	}
	vhost->mailbox = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return (good && vhost->mailbox >= 0) ||
	       err_system(err, errno, "raise ulimit -n", "%s: cannot make an eventfd", vhost->name);
}

struct virtio_device *vhost_create(
    const struct vhost_config *config, const struct gmem *gmem, struct err *err)
{
	struct vhost *vhost = calloc(1, sizeof *vhost);

	if (vhost == NULL) {
		config->ops->destroy(config->backend);
		err_system(err, ENOMEM, NULL, "%s: cannot make the device", config->name);
		return NULL;
	}
	memcpy(vhost->space, config->config, config->config_bytes);
	vhost->base = (struct virtio_device){.backing = &vhost_backing,
	    .kind = config->kind,
	    .queues = config->queues,
	    .config = vhost->space,
	    .config_bytes = config->config_bytes};
	vhost->config = *config;
	snprintf(vhost->name, sizeof vhost->name, "%s", config->name);
	vhost->gmem = gmem;
	pthread_mutex_init(&vhost->base.lock, NULL);
	if (vhost_make_eventfds(vhost, err) &&
	    device_thread_start(&vhost->thread, vhost->name, vhost_main, vhost, err))
		return &vhost->base;
	vhost_destroy(&vhost->base);
	return NULL;
}

bool vhost_is_lost(const struct virtio_device *device)
{
	return device->backing == &vhost_backing && atomic_load(&vhost_look(device)->lost);
}

/* The driver knows what the device was like, and the lost back end's record has to be read. */
static bool vhost_check_offer(
    const struct vhost *vhost, const struct vhost_offer *offer, struct err *err)
{
	static const char hint[] = "start it as the one before was started";

	if ((vhost->config.features & ~offer->features) != 0)
		return err_set(err, ERR_STATE, hint,
		    "%s: the new back end lacks features that the device has", vhost->name);
	if (memcmp(offer->config, vhost->space, offer->config_bytes) != 0)
		return err_set(err, ERR_STATE, hint,
		    "%s: the new back end has another device: its configuration differs",
		    vhost->name);
	return !vhost->config.tracks || offer->tracks ||
	       err_set(err, ERR_STATE, hint,
	           "%s: the new back end cannot go on with requests of the one before",
	           vhost->name);
}

bool vhost_reconnect(struct virtio_device *device, const struct vhost_offer *offer,
    bool *ret_resumes, struct err *err)
{
	struct vhost *vhost = vhost_of(device);
	void *none = NULL;

	if (!vhost_is_lost(device))
		return err_set(err, ERR_STATE, NULL, "the device has its back end");
	if (!vhost_check_offer(vhost, offer, err))
		return false;
	*ret_resumes = !atomic_load(&vhost->told_broken);
	if (!atomic_compare_exchange_strong(&vhost->fresh, &none, offer->backend))
		return err_set(
		    err, ERR_STATE, "wait a moment", "%s: it is getting one", vhost->name);
	vhost_ring(vhost);
	return true;
}
