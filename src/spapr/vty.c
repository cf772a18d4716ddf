/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vty.c - see vty.h.
 *
 * When the output ring is full the hcall answers H_BUSY and the guest tries again. That does not
 * last: the operator's side always empties the ring, and drops what nothing reads.
 */
#include "spapr/vty.h"

#include "spapr/irq.h"

void vty_init(struct vty *vty, struct news *news)
{
	vty->news = news;
	pthread_mutex_init(&vty->lock, NULL);
}

void vty_finish(struct vty *vty)
{
	pthread_mutex_destroy(&vty->lock);
}

bool vty_is(uint64_t unit)
{
	return unit == VTY_UNIT || unit == 0;
}

bool vty_put(struct vty *vty, const uint8_t *from, uint32_t length)
{
	bool was_empty, room;

	pthread_mutex_lock(&vty->lock);
	was_empty = vty->out_head == vty->out_tail;
	room = VTY_OUT_BYTES - (vty->out_head - vty->out_tail) >= length;
	for (uint32_t i = 0; room && i < length; i++)
		vty->out[vty->out_head++ % VTY_OUT_BYTES] = from[i];
	pthread_mutex_unlock(&vty->lock);
	if (room)
		news_count(vty->news, COUNT_CONSOLE_BYTES, length);
	if (was_empty && length > 0)
		news_tell(vty->news, SPAPR_NEWS_CONSOLE);
	return room;
}

uint32_t vty_get(struct vty *vty, uint8_t *to, uint32_t size)
{
	uint32_t length = 0;
	bool was_full;

	pthread_mutex_lock(&vty->lock);
	was_full = vty->in_head - vty->in_tail == VTY_IN_BYTES;
	while (length < size && vty->in_tail != vty->in_head)
		to[length++] = vty->in[vty->in_tail++ % VTY_IN_BYTES];
	pthread_mutex_unlock(&vty->lock);
	if (was_full)
		news_tell(vty->news, SPAPR_NEWS_CONSOLE);
	return length;
}

void vty_reset(struct vty *vty)
{
	pthread_mutex_lock(&vty->lock);
	vty->in_tail = vty->in_head;
	vty->out_reset = vty->out_head;
	vty->interrupt_owed = false;
	pthread_mutex_unlock(&vty->lock);
}

void vty_announce(struct vty *vty)
{
	bool typed;

	pthread_mutex_lock(&vty->lock);
	typed = vty->in_head != vty->in_tail;
	pthread_mutex_unlock(&vty->lock);
	if (typed)
		irqchip_pulse(vty->irqchip, IRQ_VTY);
}

bool vty_retry(struct vty *vty)
{
	if (vty->interrupt_owed)
		vty->interrupt_owed = irqchip_pulse(vty->irqchip, IRQ_VTY) < 0;
	return vty->interrupt_owed;
}

static uint8_t vty_out_byte(const struct vty *vty, uint32_t index)
{
	return vty->out[index % VTY_OUT_BYTES];
}

static bool vty_text_at(const struct vty *vty, uint32_t index, const char *text)
{
	for (size_t i = 0; text[i] != '\0'; i++)
		if (index + i == vty->out_head || vty_out_byte(vty, index + (uint32_t)i) != text[i])
			return false;
	return true;
}

bool vty_find_last(struct vty *vty, const char *text, char *ret_line, size_t size)
{
	uint32_t at, left;
	size_t length = 0;
	bool found = false;

	pthread_mutex_lock(&vty->lock);
	/* What has been read is still there, until something is printed over it. */
	at = vty->out_head;
	left = vty->out_head - vty->out_reset;
	for (left = left < VTY_OUT_BYTES ? left : VTY_OUT_BYTES; !found && left > 0; left--)
		found = vty_text_at(vty, --at, text);
	while (found && length < size - 1 && at != vty->out_head && vty_out_byte(vty, at) >= ' ')
		ret_line[length++] = (char)vty_out_byte(vty, at++);
	pthread_mutex_unlock(&vty->lock);
	ret_line[length] = '\0';
	return found;
}

size_t vty_read(struct vty *vty, uint8_t *to, size_t size)
{
	size_t length = 0;

	pthread_mutex_lock(&vty->lock);
	while (length < size && vty->out_tail != vty->out_head)
		to[length++] = vty->out[vty->out_tail++ % VTY_OUT_BYTES];
	pthread_mutex_unlock(&vty->lock);
	return length;
}

size_t vty_write(struct vty *vty, const uint8_t *from, size_t size)
{
	size_t length = 0;

	pthread_mutex_lock(&vty->lock);
	while (length < size && vty->in_head - vty->in_tail < VTY_IN_BYTES)
		vty->in[vty->in_head++ % VTY_IN_BYTES] = from[length++];
	pthread_mutex_unlock(&vty->lock);
	if (length > 0 && irqchip_pulse(vty->irqchip, IRQ_VTY) < 0) {
		vty->interrupt_owed = true;
		/* spapr_check_deadline(), called for this news, sends it again. */
		news_tell(vty->news, SPAPR_NEWS_OPERATION);
	}
	return length;
}
