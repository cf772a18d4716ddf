/* SPDX-License-Identifier: Apache-2.0 */
/* fake_ioctls.c - the KVM requests of a fake KVM: none, but what tests need as an example. The
 * real ones are not known to the headers of other processors. */
#include "kvm/kvm.h"

const struct kvm_ioctl_use kvm_ioctls[] = {
    {"KVM_RUN", 0xae80, KVM_BY_VCPU, "an example of the vCPUs' requests"},
    {"KVM_CREATE_VCPU", 0xae41, KVM_BY_OPERATOR, "an example of the operator's"},
    {"KVM_CREATE_VM", 0xae01, KVM_AT_SETUP, "an example of what is over by then"},
};

const size_t kvm_ioctl_count = sizeof kvm_ioctls / sizeof kvm_ioctls[0];
