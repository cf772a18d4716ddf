/* SPDX-License-Identifier: Apache-2.0 */
/* world.h - what a walk stands on: the fake KVM (world_fake.c), or a host's (world_host.c). */
#ifndef PAPRIKA_FAULTS_WORLD_H
#define PAPRIKA_FAULTS_WORLD_H

/* Put the files that scenarios name into a directory, "kernel", "config" and "disk"; and remove
 * them. */
void world_prepare(const char *directory);
void world_remove(const char *directory);

/* In the process of a run, before it begins. */
void world_begin(void);

/* Print which line of the program that is, if it can be found out. */
void world_explain(void *address);

#endif
