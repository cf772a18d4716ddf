/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz.h - what every fuzz target has in common: the entry point, a reader of the input's bytes,
 * and the check that ends the process.
 *
 * A target is one file fuzz_NAME.c with LLVMFuzzerTestOneInput(). The same file is linked to
 * libFuzzer (or AFL++'s driver) to look for inputs, and to main.c to run the inputs that are
 * kept. Crashes and bad memory accesses are for the sanitizers to notice; what else must hold
 * after any input, each target checks with FUZZ_CHECK().
 *
 * An input decides all: a target keeps nothing from one to the next.
 */
#ifndef PAPRIKA_FUZZ_H
#define PAPRIKA_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The process ends where something that must hold does not: that is a finding. */
#define FUZZ_CHECK(condition)                                                                      \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(                                                                   \
			    stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* For checks that run all the time: the fuzzer need not see which way they went. */
#ifdef __clang__
#define FUZZ_UNSEEN __attribute__((no_sanitize("coverage"), noinline))
#else
#define FUZZ_UNSEEN
#endif

/* The input's bytes, taken from the front. Behind the end there are zeros. */
struct input {
	const uint8_t *bytes;
	size_t left;
};

static inline uint64_t input_take(struct input *input, size_t length)
{
	uint64_t value = 0;

	for (size_t i = 0; i < length && input->left > 0; i++, input->left--)
		value |= (uint64_t)*input->bytes++ << 8 * i;
	return value;
}

#endif
