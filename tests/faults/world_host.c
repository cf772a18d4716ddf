/* SPDX-License-Identifier: Apache-2.0 */
/*
 * world_host.c - see world.h. The program above a host's KVM, with the guest of guest.c as a
 * real one. What has been failed above the fake is not failed again: here it is about the calls
 * that src/kvm makes.
 */
#include "world.h"

#include <endian.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "faults.h"
#include "guest.h"
#include "guest_image.h"
#include "kernel.h"
#include "spapr/rtas.h"

enum { TOKENS_AT = 0x40 }; /* guest_start.S */

void world_prepare(const char *directory)
{
	static const char disk[4096];
	static const char config[] = "{\"kernel\": \"../kernel\", \"memory\": \"256M\"}\n";
	static unsigned char image[sizeof guest_image];

	memcpy(image, guest_image, sizeof image);
	for (size_t i = 0; i < GUEST_SERVICES; i++) {
		uint32_t token = htobe32(rtas_token_of(guest_services[i]));

		memcpy(image + TOKENS_AT + i * sizeof token, &token, sizeof token);
	}
	write_kernel(directory, image, sizeof image);
	write_file(directory, "config", config, sizeof config - 1);
	write_file(directory, "disk", disk, sizeof disk);
}

void world_remove(const char *directory)
{
	remove_file(directory, "kernel");
	remove_file(directory, "config");
	remove_file(directory, "disk");
}

void world_begin(void)
{
	static const char *const names[] = {"ioctl", "open64", "openat64", "opendir", "mmap64",
	    "munmap", "madvise", "pthread_create", "pthread_setname_np", "sigaction", NULL};

	fault_only(names);
}

void world_explain(void *address)
{
	printf("    (addr2line -e walk %p)\n", address);
}
