/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vty.h - the hvc console: two bounded byte rings between the guest's H_PUT_TERM_CHAR and
 * H_GET_TERM_CHAR and the operator, with an interrupt when there is something to read.
 *
 * It has a lock of its own, so that a printing guest waits for nothing else. The lock may be taken
 * with the machine's lock held, never the other way round. Any thread may call these functions.
 */
#ifndef PAPRIKA_SPAPR_VTY_H
#define PAPRIKA_SPAPR_VTY_H

#include <pthread.h>

#include "spapr/irqchip.h"
#include "spapr/news.h"

/* The unit address in H_PUT_TERM_CHAR and in the device tree. 0 means the first vty too. */
#define VTY_UNIT 0x71000000u

#define VTY_OUT_BYTES 65536u
#define VTY_IN_BYTES 4096u

/* The indices of the rings count up and wrap by themselves. */
struct vty {
	struct irqchip *irqchip;
	struct news *news;
	pthread_mutex_t lock;
	uint32_t out_head, out_tail;
	uint32_t in_head, in_tail;
	uint32_t out_reset;          /* out_head at the last reset */
	_Atomic bool interrupt_owed; /* something was typed, and KVM refused its interrupt */
	uint8_t out[VTY_OUT_BYTES];
	uint8_t in[VTY_IN_BYTES];
};

void vty_init(struct vty *vty, struct news *news);
void vty_finish(struct vty *vty);

/* True if this is the unit address of the console. */
bool vty_is(uint64_t unit);

/* The guest prints: false, and nothing is taken, if there is no room for all of it. */
bool vty_put(struct vty *vty, const uint8_t *from, uint32_t length);
/* The guest reads up to size bytes; returns how many. */
uint32_t vty_get(struct vty *vty, uint8_t *to, uint32_t size);

/* The operator's side of the same. */
size_t vty_read(struct vty *vty, uint8_t *to, size_t size);
size_t vty_write(struct vty *vty, const uint8_t *from, size_t size);

/* Drop what was typed. What was printed is still to be read. */
void vty_reset(struct vty *vty);

/* Interrupt the guest if there is something to read. */
void vty_announce(struct vty *vty);

/* Send an interrupt that KVM has refused; true if it still refuses it. */
bool vty_retry(struct vty *vty);

/* The last line since the reset that contains text, from there on; false if there is none. */
bool vty_find_last(struct vty *vty, const char *text, char *ret_line, size_t size);

#endif
