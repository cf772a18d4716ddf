/* SPDX-License-Identifier: Apache-2.0 */
/*
 * intruder.c - stands for a guest or client that has got into the process: preloaded, it makes a
 * socket whenever one kind of thread (PAPRIKA_INTRUDER=loop or vcpu) does something it does
 * all the time. Before the sandbox is entered that works, and nobody notices.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int pthread_cond_broadcast(pthread_cond_t *condition)
{
	static int (*real)(pthread_cond_t *);
	static const char *who;

	if (real == NULL) {
		who = getenv("PAPRIKA_INTRUDER");
		*(void **)&real = dlsym(RTLD_NEXT, "pthread_cond_broadcast");
	}
	if (who != NULL && strcmp(who, getpid() == gettid() ? "loop" : "vcpu") == 0)
		close(socket(AF_INET, SOCK_STREAM, 0));
	return real(condition);
}
