/* SPDX-License-Identifier: Apache-2.0 */
/* thread.c - see thread.h. */
#include "virtio/thread.h"

/* More than a thread needs, and less than a huge page. */
#define STACK_BYTES (256u << 10)

bool device_thread_start(struct device_thread *thread, const char *name,
    void *(*main)(void *argument), void *argument, struct err *err)
{
	pthread_attr_t attributes;
	int error = pthread_attr_init(&attributes);

	pthread_mutex_init(&thread->lock, NULL);
	pthread_cond_init(&thread->changed, NULL);
	if (error == 0) {
		error = pthread_attr_setstacksize(&attributes, STACK_BYTES);
		if (error == 0)
			error = pthread_create(&thread->id, &attributes, main, argument);
		pthread_attr_destroy(&attributes);
	}
	thread->started = error == 0;
	return thread->started || err_system(err, error, NULL, "%s: cannot make a thread", name);
}

void device_thread_join(struct device_thread *thread)
{
	if (!thread->started)
		return;
	pthread_join(thread->id, NULL);
	pthread_cond_destroy(&thread->changed);
	pthread_mutex_destroy(&thread->lock);
}

void device_thread_ask_confine(
    struct device_thread *thread, bool (*confine)(void *context, struct err *err), void *context)
{
	thread->confine = confine;
	thread->context = context;
	atomic_store(&thread->wanted, true);
}

bool device_thread_wait_confined(struct device_thread *thread, struct err *err)
{
	pthread_mutex_lock(&thread->lock);
	while (!thread->done)
		pthread_cond_wait(&thread->changed, &thread->lock);
	pthread_mutex_unlock(&thread->lock);
	if (thread->error.class == ERR_NONE)
		return true;
	*err = thread->error;
	return false;
}

void device_thread_heed(struct device_thread *thread)
{
	struct err err = {0};

	if (!atomic_exchange(&thread->wanted, false))
		return;
	thread->confine(thread->context, &err);
	pthread_mutex_lock(&thread->lock);
	thread->error = err;
	thread->done = true;
	pthread_cond_signal(&thread->changed);
	pthread_mutex_unlock(&thread->lock);
}
