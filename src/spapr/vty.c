/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vty.c - the hvc console: two bounded byte rings between H_PUT_TERM_CHAR / H_GET_TERM_CHAR
 * and the operator, with an interrupt when there is something to read.
 *
 * When the output ring is full the hcall answers H_BUSY and the guest tries again: the
 * operator's side always empties the ring (it drops what nobody reads), so that is short.
 */
#include "spapr/machine.h"

bool vty_is(uint64_t unit)
{
	return unit == VTY_UNIT || unit == 0;
}

bool vty_put(struct spapr *machine, const uint8_t *from, uint32_t length)
{
	struct vty *vty = &machine->vty;
	bool was_empty, room;

	pthread_mutex_lock(&vty->lock);
	was_empty = vty->out_head == vty->out_tail;
	room = VTY_OUT_BYTES - (vty->out_head - vty->out_tail) >= length;
	for (uint32_t i = 0; room && i < length; i++)
		vty->out[vty->out_head++ % VTY_OUT_BYTES] = from[i];
	pthread_mutex_unlock(&vty->lock);
	if (room)
		news_count(&machine->news, COUNT_CONSOLE_BYTES, length);
	if (was_empty && length > 0)
		news_tell(&machine->news, SPAPR_NEWS_CONSOLE);
	return room;
}

uint32_t vty_get(struct spapr *machine, uint8_t *to, uint32_t size)
{
	struct vty *vty = &machine->vty;
	uint32_t length = 0;
	bool was_full;

	pthread_mutex_lock(&vty->lock);
	was_full = vty->in_head - vty->in_tail == VTY_IN_BYTES;
	while (length < size && vty->in_tail != vty->in_head)
		to[length++] = vty->in[vty->in_tail++ % VTY_IN_BYTES];
	pthread_mutex_unlock(&vty->lock);
	if (was_full)
		news_tell(&machine->news, SPAPR_NEWS_CONSOLE);
	return length;
}

void vty_reset(struct spapr *machine)
{
	pthread_mutex_lock(&machine->vty.lock);
	/* What was printed before the reset is still to be read; what was typed is not. */
	machine->vty.in_tail = machine->vty.in_head;
	machine->vty.out_reset = machine->vty.out_head;
	pthread_mutex_unlock(&machine->vty.lock);
}

void vty_announce(struct spapr *machine)
{
	bool typed;

	pthread_mutex_lock(&machine->vty.lock);
	typed = machine->vty.in_head != machine->vty.in_tail;
	pthread_mutex_unlock(&machine->vty.lock);
	if (typed)
		kvm_irq_pulse(machine->vm, IRQ_VTY);
}

static uint8_t out_byte(const struct vty *vty, uint32_t index)
{
	return vty->out[index % VTY_OUT_BYTES];
}

static bool text_at(const struct vty *vty, uint32_t index, const char *text)
{
	for (size_t i = 0; text[i] != '\0'; i++)
		if (index + i == vty->out_head || out_byte(vty, index + (uint32_t)i) != text[i])
			return false;
	return true;
}

bool vty_find_last(struct spapr *machine, const char *text, char *ret_line, size_t size)
{
	struct vty *vty = &machine->vty;
	uint32_t at, left;
	size_t length = 0;
	bool found = false;

	pthread_mutex_lock(&vty->lock);
	/* What has been read is still there, until something is printed over it. */
	at = vty->out_head;
	left = vty->out_head - vty->out_reset;
	for (left = left < VTY_OUT_BYTES ? left : VTY_OUT_BYTES; !found && left > 0; left--)
		found = text_at(vty, --at, text);
	while (found && length < size - 1 && at != vty->out_head && out_byte(vty, at) >= ' ')
		ret_line[length++] = (char)out_byte(vty, at++);
	pthread_mutex_unlock(&vty->lock);
	ret_line[length] = '\0';
	return found;
}

size_t spapr_console_read(struct spapr *machine, void *to, size_t size)
{
	struct vty *vty = &machine->vty;
	uint8_t *bytes = to;
	size_t length = 0;

	pthread_mutex_lock(&vty->lock);
	while (length < size && vty->out_tail != vty->out_head)
		bytes[length++] = vty->out[vty->out_tail++ % VTY_OUT_BYTES];
	pthread_mutex_unlock(&vty->lock);
	return length;
}

size_t spapr_console_write(struct spapr *machine, const void *from, size_t size)
{
	struct vty *vty = &machine->vty;
	const uint8_t *bytes = from;
	size_t length = 0;

	pthread_mutex_lock(&vty->lock);
	while (length < size && vty->in_head - vty->in_tail < VTY_IN_BYTES)
		vty->in[vty->in_head++ % VTY_IN_BYTES] = bytes[length++];
	pthread_mutex_unlock(&vty->lock);
	if (length > 0 && kvm_irq_pulse(machine->vm, IRQ_VTY) < 0) {
		pthread_mutex_lock(&machine->lock);
		machine->vty_owed = true;
		pthread_mutex_unlock(&machine->lock);
		/* Whoever looks at the deadline sends it again. */
		news_tell(&machine->news, SPAPR_NEWS_OPERATION);
	}
	return length;
}
