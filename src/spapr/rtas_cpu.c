/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtas_cpu.c - starting and stopping processors (LoPAR, SMP support services).
 *
 * A core stays startable until the guest has made its connector unusable: Linux undoes a
 * failed removal by starting the threads again before it says so on the connector.
 */
#include "spapr/machine.h"
#include "spapr/rtas.h"

enum { CPU_STOPPED = 0, CPU_STOPPING = 1, CPU_NOT_STOPPED = 2 };

/* start-cpu: server number, address, value for r3. */
enum rtas_status rtas_start_cpu(struct rtas_call *call)
{
	struct vcpu *vcpu = cpu_find(call->machine, call->args[0]);
	struct op_evidence by = {
	    .source = OP_BY_GUEST, .call = "start-cpu", .vcpu = call->vcpu->id};
	const struct drc_row *row;

	if (vcpu == NULL)
		return RTAS_PARAMETER_ERROR;
	/* The table says whether the guest may, before anything is started. */
	row = drc_row_for(vcpu->core->type, &vcpu->core->drc, DRC_IN_START);
	if (row == NULL || row->status != RTAS_SUCCESS)
		return row != NULL ? row->status : RTAS_HARDWARE_ERROR;
	if (!cpu_start(vcpu, call->args[1], call->args[2]))
		return RTAS_HARDWARE_ERROR;
	return core_guest_input(call->machine, vcpu->core, DRC_IN_START, call->vcpu, &by);
}

/* stop-self. The status is never read: the vCPU does not go back to the guest. */
enum rtas_status rtas_stop_self(struct rtas_call *call)
{
	cpu_stop_self(call->vcpu);
	core_thread_stopped(call->machine, call->vcpu->core);
	return RTAS_SUCCESS;
}

/*
 * query-cpu-stopped-state: server number -> state. Linux polls it after stop-self without a
 * pause and for ever; so every vCPU this machine could have gets an answer, and one that is
 * not there is stopped.
 */
enum rtas_status rtas_query_cpu_stopped_state(struct rtas_call *call)
{
	const struct vcpu *vcpu = cpu_find(call->machine, call->args[0]);

	if (vcpu == NULL)
		return RTAS_PARAMETER_ERROR;
	switch (vcpu->state) {
	case SPAPR_VCPU_RUNNING: call->outputs[0] = CPU_NOT_STOPPED; break;
	case SPAPR_VCPU_STOPPING: call->outputs[0] = CPU_STOPPING; break;
	default: call->outputs[0] = CPU_STOPPED; break;
	}
	return RTAS_SUCCESS;
}
