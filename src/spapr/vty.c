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
		spapr_count(machine, COUNT_CONSOLE_BYTES, length);
	if (was_empty && length > 0)
		spapr_tell(machine, SPAPR_NEWS_CONSOLE);
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
		spapr_tell(machine, SPAPR_NEWS_CONSOLE);
	return length;
}

void vty_reset(struct spapr *machine)
{
	pthread_mutex_lock(&machine->vty.lock);
	/* What was printed before the reset is still to be read; what was typed is not. */
	machine->vty.in_tail = machine->vty.in_head;
	pthread_mutex_unlock(&machine->vty.lock);
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
		spapr_tell(machine, SPAPR_NEWS_OPERATION);
	}
	return length;
}
