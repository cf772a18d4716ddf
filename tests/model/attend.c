/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attend.c - src/spapr/cpu.c, with its threads made into moves.
 *
 * The file is included, not copied: the thread's own function, cpu_attend(), is static. Its calls
 * to pthread_*() come here (tests/meson.build renames them). A vCPU's thread that waits for its
 * condition has nothing to do until it is asked again, and begins its loop anew when it wakes up.
 * So waiting is leaving cpu_attend(), and waking up is calling it again.
 */
#include "../../src/spapr/cpu.c"

#include <setjmp.h>

#include "world.h"

/* The vCPU whose thread is in cpu_attend(), and the way out of it. */
static struct vcpu *attending;
static jmp_buf rest;

void world_attend(struct vcpu *vcpu)
{
	struct vcpu *outer = attending;

	attending = vcpu;
	if (setjmp(rest) == 0) {
		if (!cpu_attend(vcpu))
			broken("vCPU %u: its thread ends", vcpu->id);
		world.ghost.may_call[vcpu->id] = true;
	} else {
		world.ghost.may_call[vcpu->id] = false;
	}
	attending = outer;
	if (outer != NULL)
		broken("a vCPU's thread waits for another while it attends");
}

/* A new thread runs at once, until it waits. */
int pthread_create(
    pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
	(void)thread;
	(void)attributes;
	attending = argument;
	if (setjmp(rest) == 0)
		start(argument);
	attending = NULL;
	return 0;
}

int pthread_join(pthread_t thread, void **ret_value)
{
	(void)thread;
	(void)ret_value;
	return 0;
}

/* Any other thread that waits, waits for vCPU threads to do what they were asked. */
int pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *lock)
{
	bool progress = false;

	(void)lock;
	if (attending != NULL && condition == &attending->changed)
		longjmp(rest, 1);
	for (uint32_t i = 0; i < world.machine->config.max_cpus; i++) {
		struct vcpu *vcpu = &world.machine->cpus.list[i];

		if (!vcpu->has_thread || !vcpu->attention)
			continue;
		world_attend(vcpu);
		progress = true;
	}
	if (!progress)
		broken("deadlock: a thread waits, and no other has anything left to do");
	return 0;
}

int pthread_mutex_lock(pthread_mutex_t *lock)
{
	(void)lock;
	return 0;
}

int pthread_mutex_unlock(pthread_mutex_t *lock)
{
	(void)lock;
	return 0;
}
