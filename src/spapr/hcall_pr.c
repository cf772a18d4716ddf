/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hcall_pr.c - hypervisor calls that kvm-hv answers in the kernel and kvm-pr does not:
 * per-processor areas, giving the processor away, reading the hash page table.
 *
 * The areas are for a hypervisor to write to. Nothing here does, so registering one only means that
 * it must be unregistered in the right order, as LoPAR has it.
 */
#include "spapr/hcall_pr.h"

#include "base/be.h"
#include "spapr/machine.h"

/* --- H_REGISTER_VPA ------------------------------------------------------------------------------
 */

/* The function, in bits 16 to 18 of the flags; 4 more unregisters. */
enum { AREA_FUNCTION_SHIFT = 45, AREA_UNREGISTER = 4 };

enum { AREA_LENGTH = 4 };

static const struct pr_area {
	uint32_t length_bytes; /* of the word that has its length, at AREA_LENGTH */
	uint32_t least, align;
} pr_areas[] = {
    [VPA_AREA] = {2, 640, 128},
    [VPA_TRACE_LOG] = {4, 48, 1},
    [VPA_SLB_SHADOW] = {4, 8, 1},
};

static enum hcall_status pr_check_area(
    const struct gmem *gmem, const struct pr_area *area, uint64_t address)
{
	enum { PAGE = 4096 };
	uint8_t bytes[8];
	uint32_t length = 0;

	if (address == 0 || address % area->align != 0 ||
	    !gmem_read(gmem, address, bytes, sizeof bytes))
		return H_PARAMETER;
	for (uint32_t i = 0; i < area->length_bytes; i++)
		length = length << 8 | bytes[AREA_LENGTH + i];
	if (length < area->least || !gmem_contains(gmem, address, length))
		return H_PARAMETER;
	/* It may not cross a page. */
	if (area->align > 1 && address % PAGE + length > PAGE)
		return H_PARAMETER;
	return H_SUCCESS;
}

static enum hcall_status pr_register(
    struct spapr *machine, struct vcpu *vcpu, unsigned which, uint64_t address)
{
	enum hcall_status status = pr_check_area(&machine->gmem, &pr_areas[which], address);

	if (status == H_SUCCESS && which != VPA_AREA && (vcpu->areas & 1u << VPA_AREA) == 0)
		return H_RESOURCE;
	if (status == H_SUCCESS)
		vcpu->areas |= 1u << which;
	return status;
}

static enum hcall_status pr_unregister(struct vcpu *vcpu, unsigned which)
{
	/* The other two belong to the first. */
	if (which == VPA_AREA && (vcpu->areas & ~(1u << VPA_AREA)) != 0)
		return H_RESOURCE;
	vcpu->areas &= ~(1u << which);
	return H_SUCCESS;
}

enum hcall_status h_pr_register_vpa(struct vcpu *caller, uint64_t args[9])
{
	struct spapr *machine = caller->machine;
	unsigned function = args[0] >> AREA_FUNCTION_SHIFT & 7;
	unsigned which = function & ~(unsigned)AREA_UNREGISTER;
	enum hcall_status status = H_PARAMETER;
	struct vcpu *vcpu;

	pthread_mutex_lock(&machine->lock);
	vcpu = cpu_find_present(&machine->cpus, args[1]);
	if (vcpu != NULL && which >= VPA_AREA && which <= VPA_SLB_SHADOW)
		status = (function & AREA_UNREGISTER) != 0
		             ? pr_unregister(vcpu, which)
		             : pr_register(machine, vcpu, which, args[2]);
	pthread_mutex_unlock(&machine->lock);
	return status;
}

/* --- Giving the processor away -------------------------------------------------------------------
 */

/* The caller has left the guest, so the host's scheduler has had its chance. */
enum hcall_status h_pr_confer(struct vcpu *caller, uint64_t args[9])
{
	struct spapr *machine = caller->machine;
	bool there = (int64_t)args[0] == -1; /* to all */

	pthread_mutex_lock(&machine->lock);
	there = there || cpu_find_present(&machine->cpus, args[0]) != NULL;
	pthread_mutex_unlock(&machine->lock);
	return there ? H_SUCCESS : H_PARAMETER;
}

/* KVM answers H_CEDE, and a kick ends it. A prod that comes before the cede is lost: a guest whose
 * processors are not shared, as its VPAs say, does neither. */
enum hcall_status h_pr_prod(struct vcpu *caller, uint64_t args[9])
{
	struct spapr *machine = caller->machine;
	struct vcpu *vcpu;

	pthread_mutex_lock(&machine->lock);
	vcpu = cpu_find_present(&machine->cpus, args[0]);
	if (vcpu != NULL)
		cpu_prod(vcpu);
	pthread_mutex_unlock(&machine->lock);
	return vcpu != NULL ? H_SUCCESS : H_PARAMETER;
}

/* --- H_READ --------------------------------------------------------------------------------------
 */

enum hcall_status h_pr_read(struct vcpu *caller, uint64_t args[9])
{
	const uint64_t four = UINT64_C(1) << 37;
	uint64_t count = (args[0] & four) != 0 ? 4 : 1;
	uint64_t index = args[1] & ~(count - 1), entry[2];

	for (uint64_t i = 0; i < count; i++) {
		if (!kvm_hpt_read(caller->machine->vm, index + i, entry))
			return H_PARAMETER;
		args[2 * i] = entry[0];
		args[2 * i + 1] = entry[1];
	}
	return H_SUCCESS;
}
