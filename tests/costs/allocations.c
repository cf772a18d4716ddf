/* SPDX-License-Identifier: Apache-2.0 */
/*
 * allocations.c - preloaded into paprika-plain: counts the allocations of its first thread and
 * those of all others, and prints both at the end. A line for standard error is what the sandbox
 * lets it write.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static _Atomic unsigned long first, others;
static __thread bool in_first;

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);

static void count_one(void)
{
	atomic_fetch_add_explicit(in_first ? &first : &others, 1, memory_order_relaxed);
}

void *malloc(size_t bytes)
{
	count_one();
	return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
	count_one();
	return __libc_calloc(count, bytes);
}

void *realloc(void *old, size_t bytes)
{
	count_one();
	return __libc_realloc(old, bytes);
}

static void __attribute__((constructor)) allocations_begin(void)
{
	in_first = true;
}

static void __attribute__((destructor)) allocations_end(void)
{
	char line[96];
	int length = snprintf(line, sizeof line, "allocations: first thread %lu, others %lu\n",
	    atomic_load(&first), atomic_load(&others));

	if (write(STDERR_FILENO, line, (size_t)length) < 0)
		_exit(1);
}
