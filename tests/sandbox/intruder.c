/* SPDX-License-Identifier: Apache-2.0 */
/*
 * intruder.c - stands for a guest or client that has got into the process: preloaded, it makes a
 * socket whenever one kind of thread (PAPRIKA_INTRUDER=loop or vcpu) does something it does
 * all the time. Before the sandbox is entered that works, and has no effect. With
 * PAPRIKA_INTRUDER=deep-loop or deep-vcpu it stands for a fault instead: the thread's stack
 * overflows, the loop's once the terminal has been taken over, a vCPU's once its guest has run for
 * a while.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

static unsigned __attribute__((noinline)) sink(unsigned depth)
{
	volatile unsigned char frame[1024];

	frame[0] = (unsigned char)depth;
	return depth == 0 ? 0 : sink(depth - 1) + frame[0];
}

static int is_raw(void)
{
	struct termios modes;

	return tcgetattr(STDIN_FILENO, &modes) == 0 && (modes.c_lflag & ICANON) == 0;
}

int pthread_cond_broadcast(pthread_cond_t *condition)
{
	static int (*real)(pthread_cond_t *);
	static _Thread_local unsigned calls;
	static const char *who;

	if (real == NULL) {
		who = getenv("PAPRIKA_INTRUDER");
		*(void **)&real = dlsym(RTLD_NEXT, "pthread_cond_broadcast");
	}
	if (who != NULL && strcmp(who, getpid() == gettid() ? "loop" : "vcpu") == 0)
		close(socket(AF_INET, SOCK_STREAM, 0));
	if (who != NULL && strcmp(who, getpid() == gettid() ? "deep-loop" : "deep-vcpu") == 0 &&
	    (getpid() == gettid() ? is_raw() : ++calls > 1000))
		sink(1u << 20);
	return real(condition);
}
