/* SPDX-License-Identifier: Apache-2.0 */
/* kernel.h - files for a guest: an ELF kernel around code for a ppc64 in big-endian mode. */
#ifndef PAPRIKA_FAULTS_KERNEL_H
#define PAPRIKA_FAULTS_KERNEL_H

#include <stddef.h>

/* Write `directory`/name; a failure ends the program. */
void write_file(const char *directory, const char *name, const void *from, size_t length);

/* A kernel that lies at 0 and is entered at its first byte. */
void write_kernel(const char *directory, const void *code, size_t length);

/* Remove `directory`/name. */
void remove_file(const char *directory, const char *name);

#endif
