/* SPDX-License-Identifier: Apache-2.0 */
/*
 * thread.h - a thread of a device, made and ended by the operator's thread, and told once to
 * confine itself. How it is woken is its owner's business.
 */
#ifndef PAPRIKA_VIRTIO_THREAD_H
#define PAPRIKA_VIRTIO_THREAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/err.h"

struct device_thread {
	pthread_t id;
	bool started;
	/* Confinement: the wish, and under lock what has become of it. */
	atomic_bool wanted;
	bool (*confine)(void *context, struct err *err);
	void *context;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool done;
	struct err error;
};

/* Have it call main(argument); *thread is zeroed before. name is the device's, for the message.
 * False with *err filled: there is none. */
bool device_thread_start(struct device_thread *thread, const char *name,
    void *(*main)(void *argument), void *argument, struct err *err);

/* Wait for its end, which the owner has told it of. Also for one that has not been started. */
void device_thread_join(struct device_thread *thread);

/* The wish that it call confine(context); the owner wakes it then. */
void device_thread_ask_confine(
    struct device_thread *thread, bool (*confine)(void *context, struct err *err), void *context);
/* Wait until it has. False with *err filled: confine() has failed. */
bool device_thread_wait_confined(struct device_thread *thread, struct err *err);

/* By the thread, each time it is woken. */
void device_thread_heed(struct device_thread *thread);

#endif
