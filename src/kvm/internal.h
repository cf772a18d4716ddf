/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h - what the files of this room share; no other room includes it. */
#ifndef PAPRIKA_KVM_INTERNAL_H
#define PAPRIKA_KVM_INTERNAL_H

#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>

#include "kvm/kvm.h"

/* Interrupts KVM_RUN; has a handler that does nothing. */
#define KICK_SIGNAL SIGUSR1

/* Pages of a device, mapped; host NULL: not yet. */
struct kvm_area {
	uint8_t *host;
	size_t bytes;
};

struct kvm_vm {
	int kvm_fd, vm_fd;
	int irqchip_fd;              /* -1 until the irqchip is made */
	int tce_fd;                  /* -1: no table of translations for DMA */
	struct kvm_vcpu *unfinished; /* see kvm_vcpu_create() */
	size_t run_bytes;            /* size of the area a vCPU shares with the kernel */
	struct kvm_facts facts;
	struct kvm_mode mode;
	const struct kvm_mmu_ops *mmu;         /* of the mode */
	const struct kvm_irqchip_ops *irqchip; /* of the mode */
	struct kvm_processor processor;
	uint32_t hpt_order; /* log2 of the bytes of the hash page table; 0: none yet */
	uint8_t *hpt;       /* where kvm-pr has it: in our own memory */
	/* XIVE: pages of presenters, and of all sources. */
	struct kvm_area tima, esb;
};

struct kvm_vcpu {
	struct kvm_vcpu *next; /* of vm->unfinished */
	struct kvm_vm *vm;
	int fd;
	uint32_t id;
	pthread_t thread;
	struct kvm_run *run;
	/* The exit that waits for its answer to be carried back; 0 if none does. */
	uint32_t reply_pending;
	bool connected; /* to the interrupt controller, which KVM does only once */
};

/* What a kind of MMU does otherwise than others, one row per kind (mmu_radix.c, mmu_hash.c,
 * flavour_pr.c). All may be called again after a failure. */
struct kvm_mmu_ops {
	/* kvm_vm_create_mmu(), kvm_vm_reset_mmu() and kvm_vm_set_process_table(). */
	bool (*create)(struct kvm_vm *vm, uint64_t memory_bytes, struct err *err);
	bool (*reset)(struct kvm_vm *vm, struct err *err);
	int (*set_process_table)(struct kvm_vm *vm, uint64_t table, bool gtse);
	void (*destroy)(struct kvm_vm *vm); /* NULL: nothing to give back */
	/* Of a vCPU: when it is made, before it starts at an address, when it parks. */
	bool (*begin_vcpu)(struct kvm_vcpu *vcpu, struct err *err); /* NULL: nothing to do */
	bool (*enter_vcpu)(struct kvm_vcpu *vcpu, struct err *err); /* NULL: nothing to do */
	bool (*park_vcpu)(struct kvm_vcpu *vcpu, struct err *err);
};
extern const struct kvm_mmu_ops kvm_mmu_radix, kvm_mmu_hash, kvm_mmu_pr;

/* The same for interrupt controllers (irq_xics.c, irq_xive.c). */
struct kvm_irqchip_ops {
	/* kvm_vm_create_irqchip(), kvm_irqchip_reset(), kvm_irq_reset() and kvm_irq_pulse(). */
	bool (*create)(struct kvm_vm *vm, const struct kvm_irqchip_config *config, struct err *err);
	void (*destroy)(struct kvm_vm *vm);                /* NULL: nothing to give back */
	bool (*reset)(struct kvm_vm *vm, struct err *err); /* NULL: nothing to do */
	bool (*reset_source)(struct kvm_vm *vm, uint32_t irq, uint32_t server, struct err *err);
	int (*pulse)(struct kvm_vm *vm, uint32_t irq);
	/* Of a vCPU: KVM's capability that connects it, and the reset of its presenter. */
	uint32_t connect_cap;
	bool (*park_vcpu)(struct kvm_vcpu *vcpu, struct err *err);
};
extern const struct kvm_irqchip_ops kvm_irqchip_xics, kvm_irqchip_xive;

/* KVM_SET_DEVICE_ATTR of the interrupt controller, and one edge by KVM_IRQ_LINE_STATUS: negative
 * errno on failure (vm.c). */
int kvm_irqchip_set_attr(struct kvm_vm *vm, uint32_t group, uint64_t number, const void *value);
int kvm_irqchip_send_edge(struct kvm_vm *vm, uint32_t irq);

/* KVM_SET_ONE_REG and KVM_GET_ONE_REG; false, and errno, on failure. */
bool kvm_vcpu_set_reg(struct kvm_vcpu *vcpu, uint64_t id, const void *value);
bool kvm_vcpu_get_reg(struct kvm_vcpu *vcpu, uint64_t id, void *value);

/* Forget the areas of guest memory that kvm-hv writes to: VPA, SLB shadow and trace log. */
bool kvm_vcpu_forget_areas(struct kvm_vcpu *vcpu, struct err *err);

/* Choose the mode for a VM whose capabilities have been read, and the sets of operations for it. */
bool kvm_choose_ops(struct kvm_vm *vm, const struct kvm_mode *wish, struct err *err);

/* KVM_CHECK_EXTENSION on a VM or system fd; 0 if absent. */
int kvm_extension(int fd, int capability);

/* Give back the vCPUs that kvm_vcpu_create() could not finish (vcpu.c). */
void kvm_destroy_unfinished(struct kvm_vm *vm);

/* Fill what the host's device tree and the VM can tell about its processors (host.c). */
void kvm_read_host(struct kvm_vm *vm);

/* What page sizes a hash guest can have (host.c): kvm-pr knows when its first vCPU is there. */
void kvm_read_page_sizes(struct kvm_vm *vm);

/* KVM_CREATE_VM of the type that a wish asks for; negative errno. */
int kvm_create_vm_fd(int kvm_fd, enum kvm_accel accel);

/* Give back all that it has, but not its own memory. */
void kvm_vm_close(struct kvm_vm *vm);

/* The capabilities of the VM (vm.c), for kvm_check. */
void kvm_read_capabilities(struct kvm_vm *vm);

#endif
