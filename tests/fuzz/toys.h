/* SPDX-License-Identifier: Apache-2.0 */
/*
 * toys.h - virtio devices for fuzzing, whose queues' threads run only when they are told to.
 *
 * A toy has two queues. It answers a request that has nothing to read at once, and keeps any other
 * until it is told to answer. Making a thread keeps its function; toys_turn() calls it, and it
 * returns when its doorbell does not ring any more.
 *
 * Each pop and push of a queue is watched: a popped head is pushed exactly once, its buffers lie in
 * RAM, and a queue is not started again, or ended, with heads that were popped and not pushed.
 */
#ifndef PAPRIKA_TOYS_H
#define PAPRIKA_TOYS_H

#include "fuzz.h"
#include "virtio/device.h"

enum { TOY_QUEUES = 2, TOYS_MAX = 6, TOY_WORKERS = TOYS_MAX * TOY_QUEUES };

struct virtio_device *toy_make(const struct gmem *gmem);

/* Made and not destroyed. */
unsigned toys_alive(void);

/* The thread with this number has its turn, if there is one. Then all threads, until nothing rings.
 */
void toys_turn(unsigned worker);
void toys_work(void);

/* Have all toys answer what they keep when their threads have a turn. */
void toys_release(void);

/* Requests taken and not answered. */
unsigned toys_in_flight(void);

#endif
