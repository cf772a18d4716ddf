/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h - what the files of this room share; no other room includes it. */
#ifndef PAPRIKA_KVM_INTERNAL_H
#define PAPRIKA_KVM_INTERNAL_H

#include <linux/kvm.h>
#include <signal.h>

#include "kvm/kvm.h"

/* Interrupts KVM_RUN; has a handler that does nothing. */
#define KICK_SIGNAL SIGUSR1

struct kvm_vm {
	int kvm_fd, vm_fd;
	int xics_fd;                 /* -1 until the irqchip is made */
	struct kvm_vcpu *unfinished; /* see kvm_vcpu_create() */
	size_t run_bytes;            /* size of the area a vCPU shares with the kernel */
	struct kvm_facts facts;
};

/* KVM_CHECK_EXTENSION on a VM or system fd; 0 if absent. */
int kvm_extension(int fd, int capability);

/* Give back the vCPUs that kvm_vcpu_create() could not finish (vcpu.c). */
void kvm_destroy_unfinished(struct kvm_vm *vm);

/* Fill what the host's device tree and the VM can tell about its processors (host.c). */
void kvm_read_host(struct kvm_vm *vm);

/* The capabilities of the VM (vm.c), for kvm_check. */
void kvm_read_capabilities(struct kvm_vm *vm);

#endif
