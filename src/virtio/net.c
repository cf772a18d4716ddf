/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net.c - see net.h. Nothing of the guest's is held while the host's end is slow: what it does not
 * take at once is copied. So a reset never waits for it.
 */
#include "virtio/net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/net_lane.h"

enum { STATUS_LINK_UP = 1 };
/* Section 5.1.6.5: what the control queue is asked. */
enum { CTRL_MQ = 4, CTRL_MQ_PAIRS_SET = 0, CTRL_OK = 0, CTRL_ERR = 1 };

/* --- The link --------------------------------------------------------------------------------- */

/* If two threads do this at once, the last one to change it has looked after the other. */
static void net_show_link(struct net *net, struct virtio_device *device)
{
	bool up;

	do {
		struct le16 status;

		up = net_is_up(net);
		status = le16(up ? STATUS_LINK_UP : 0);
		virtio_set_config(
		    device, offsetof(struct net_space, status), &status, sizeof status);
	} while (up != net_is_up(net));
}

void net_end(struct net_lane *lane, const char *reason)
{
	struct net *net = lane->net;

	if (atomic_exchange(&net->is_ended, true))
		return;
	net_show_link(net, virtio_worker_device(lane->worker));
	if (net->ended != NULL)
		net->ended(net->context, reason);
}

void virtio_net_set_link(struct virtio_device *device, bool up)
{
	struct net *net = virtio_model(device);

	if (atomic_exchange(&net->is_off, !up) == up)
		net_show_link(net, device);
}

/* No frame goes either way from here on, and requests wait for nobody. */
static void net_cut_off(struct virtio_device *device, void *self, bool off)
{
	struct net *net = self;

	atomic_store(&net->is_cut, off);
	net_show_link(net, device);
	for (unsigned i = 0; i < net->lane_count; i++)
		virtio_wake(net->lanes[i]->worker);
}

/* --- Sending ---------------------------------------------------------------------------------- */

static bool tx_is_free(const struct net_lane *lane)
{
	return lane->buffer.from == lane->buffer.to || atomic_load(&lane->net->is_ended);
}

/* That the other end is gone is for the receiving lane to say: here a frame is lost. */
static void tx_check(struct net_lane *lane, enum net_result result)
{
	if (result != NET_AGAIN)
		lane->buffer.from = lane->buffer.to = 0;
}

static void tx_send(struct net_lane *lane, struct virtio_chain *chain)
{
	struct virtio_buffers *data = &chain->readable;
	struct net_header header;

	if (!virtio_buffers_read(data, &header, sizeof header)) {
		virtio_reject(lane->worker, chain->head, "a frame has no header");
		return;
	}
	/* Others are dropped, as a cable does it. */
	if (net_is_up(lane->net) && net_lane_is_active(lane) && data->bytes >= NET_FRAME_MIN &&
	    data->bytes <= NET_FRAME_MAX) {
		memcpy(lane->list + 2, data->list, data->count * sizeof *data->list);
		tx_check(lane, lane->net->port.ops->send(lane->fd, &header, lane->list,
		                   data->count + 2, (size_t)data->bytes, &lane->buffer));
	}
	virtio_answer(lane->worker, chain->head, 0);
}

/* --- Control ---------------------------------------------------------------------------------- */

/* What the port is detached from is not touched, and the other way round. */
static void net_set_pairs(struct net *net, unsigned pairs)
{
	bool more = pairs > atomic_load(&net->pairs);

	if (!more)
		atomic_store(&net->pairs, pairs);
	if (net->port.ops->set_pairs != NULL)
		net->port.ops->set_pairs(&net->port, pairs);
	atomic_store(&net->pairs, pairs);
	for (unsigned i = 0; more && i < net->lane_count; i++)
		virtio_wake(net->lanes[i]->worker);
}

static void ctrl_answer(struct net_lane *lane, struct virtio_chain *chain)
{
	struct net *net = lane->net;
	uint8_t *status = virtio_buffers_take_last(&chain->writable);
	struct {
		uint8_t class, command;
	} what;
	struct le16 pairs;

	if (status == NULL || !virtio_buffers_read(&chain->readable, &what, sizeof what)) {
		virtio_reject(lane->worker, chain->head,
		    "a control request has no room for its "
		    "answer, or no header");
		return;
	}
	*status = CTRL_ERR;
	if (what.class == CTRL_MQ && what.command == CTRL_MQ_PAIRS_SET &&
	    virtio_buffers_read(&chain->readable, &pairs, sizeof pairs) && from_le16(pairs) >= 1 &&
	    from_le16(pairs) <= net->port.pairs) {
		net_set_pairs(net, from_le16(pairs));
		*status = CTRL_OK;
	}
	virtio_answer(lane->worker, chain->head, 1);
}

/* --- A queue ---------------------------------------------------------------------------------- */

/* Without MQ the third queue is for control (5.1.2), and the device has one pair. */
static void net_started(void *context)
{
	struct net_lane *lane = context;
	struct net *net = lane->net;
	uint64_t accepted = virtio_accepted(lane->worker);
	bool multi = (accepted & VIRTIO_NET_F_MQ) != 0;
	unsigned control = multi ? 2 * net->port.pairs : 2;

	lane->role = lane->index == control ? NET_CTRL : lane->index % 2 == 0 ? NET_RX : NET_TX;
	if (lane->index == 0 && net->port.ops->set_features != NULL)
		net->port.ops->set_features(&net->port, accepted);
	if (lane->index == (multi ? control : 0))
		net_set_pairs(net, 1);
}

static struct pollfd net_wait(void *context, bool serves)
{
	const struct net_lane *lane = context;
	struct pollfd what = {.fd = lane->fd};

	if (!net_lane_is_active(lane) || lane->role == NET_CTRL)
		what.fd = -1;
	else if (lane->role == NET_RX && serves && lane->frame.length == 0)
		what.events = POLLIN;
	else if (lane->role == NET_TX && serves && !tx_is_free(lane))
		what.events = POLLOUT;
	else if (lane->role == NET_TX)
		what.fd = -1;
	return what;
}

static void net_woken(void *context, short events)
{
	struct net_lane *lane = context;

	if ((events & (POLLIN | POLLOUT)) != 0 || !net_lane_is_active(lane))
		return;
	if (lane->role == NET_RX)
		net_end(lane, "its other end has been closed");
	else
		tx_check(lane, NET_ENDED);
}

static struct virtio_chain *net_room(void *context)
{
	struct net_lane *lane = context;

	if ((lane->role == NET_RX && !net_rx_fetch(lane)) ||
	    (lane->role == NET_TX && !tx_is_free(lane) && !atomic_load(&lane->net->is_cut)))
		return NULL;
	return &lane->chain;
}

static void net_request(void *context, struct virtio_chain *chain)
{
	struct net_lane *lane = context;

	switch (lane->role) {
	case NET_RX: net_rx_place(lane, chain); break;
	case NET_TX: tx_send(lane, chain); break;
	case NET_CTRL: ctrl_answer(lane, chain); break;
	}
}

static void net_collect(void *context)
{
	struct net_lane *lane = context;

	if (virtio_is_stopping(lane->worker) && lane->part_count > 0)
		net_rx_drop(lane);
	if (lane->role == NET_TX && !tx_is_free(lane))
		tx_check(lane, lane->net->port.ops->send_rest(lane->fd, &lane->buffer));
}

/* --- Making and ending ------------------------------------------------------------------------ */

static void *net_open(void *model, struct virtio_worker *worker, int doorbell, struct err *err)
{
	struct net *net = model;
	struct net_lane *lane = calloc(1, sizeof *lane);

	if (lane == NULL) {
		err_system(err, ENOMEM, NULL, "cannot make a network device's queue");
		return NULL;
	}
	lane->net = net;
	lane->worker = worker;
	lane->index = net->lane_count;
	net->lanes[net->lane_count++] = lane;
	lane->role = lane->index == 2 * net->port.pairs ? NET_CTRL : lane->index % 2;
	lane->fd = net->port.fds[lane->index / 2 % net->port.pairs];
	return lane;
}

static void net_destroy(void *model)
{
	struct net *net = model;

	net_port_close(&net->port);
	free(net);
}

static const struct virtio_model_ops net_ops = {
    .kind = {.id = VIRTIO_NET_ID,
        .driver = "virtio-net-pci",
        .pci_class = 0x020000,
        .of_class = "ethernet"},
    .open = net_open,
    .close = free,
    .destroy = net_destroy,
    .started = net_started,
    .wait = net_wait,
    .woken = net_woken,
    .room = net_room,
    .request = net_request,
    .cut_off = net_cut_off,
    .collect = net_collect,
};

struct virtio_device *virtio_net_create(
    const struct virtio_net_config *config, const struct gmem *gmem, struct err *err)
{
	struct net *net = calloc(1, sizeof *net);
	unsigned pairs = config->port.pairs;
	struct net_port port = config->port;

	if (net == NULL) {
		net_port_close(&port);
		err_system(err, ENOMEM, NULL, "net %s: cannot make the device", config->name);
		return NULL;
	}
	net->port = port;
	net->pairs = pairs;
	net->ended = config->ended;
	net->context = config->context;
	net->space = (struct net_space){.status = le16(STATUS_LINK_UP),
	    .max_virtqueue_pairs = le16((uint16_t)pairs),
	    .mtu = le16(config->mtu)};
	memcpy(net->space.mac, config->mac, sizeof net->space.mac);
	return virtio_create(
	    &(struct virtio_model){.ops = &net_ops,
	        .self = net,
	        .name = config->name,
	        .features = port.features | VIRTIO_NET_F_MAC | VIRTIO_NET_F_STATUS |
	                    VIRTIO_NET_F_MRG_RXBUF | (config->mtu != 0 ? VIRTIO_NET_F_MTU : 0) |
	                    (pairs > 1 ? VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_MQ : 0),
	        .queues = 2 * pairs + (pairs > 1),
	        .config = &net->space,
	        .config_bytes = sizeof net->space},
	    gmem, err);
}
