/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtas_cpu.c - starting and stopping processors (LoPAR, SMP support services).
 *
 * A core can be started until the guest has made its connector unusable: Linux undoes a failed
 * removal by starting the threads again, and only then unisolates the connector.
 */
#include "spapr/machine.h"
#include "spapr/rtas.h"

enum { CPU_STOPPED = 0, CPU_STOPPING = 1, CPU_NOT_STOPPED = 2 };

/* start-cpu: server number, address, value for r3. */
enum rtas_status rtas_start_cpu(struct rtas_call *call)
{
	struct spapr *machine = call->machine;
	struct vcpu *vcpu = cpu_find(&machine->cpus, call->args[0]);
	struct op_evidence by = {
	    .source = OP_BY_GUEST, .call = "start-cpu", .vcpu = call->vcpu->id};
	struct connector *connector;
	const struct drc_row *row;

	if (vcpu == NULL)
		return RTAS_PARAMETER_ERROR;
	/* The table says whether the guest may, before anything is started. */
	connector = core_of(&machine->cores, vcpu)->connectors;
	row = drc_row_for(connector->type, &connector->drc, DRC_IN_START);
	if (row == NULL || row->status != RTAS_SUCCESS)
		return row != NULL ? row->status : RTAS_HARDWARE_ERROR;
	if (!cpu_start(vcpu, call->args[1], call->args[2]))
		return RTAS_HARDWARE_ERROR;
	return device_guest_input(&machine->devices, connector, DRC_IN_START, &by);
}

/* stop-self. The status is never read: the vCPU does not go back to the guest. */
enum rtas_status rtas_stop_self(struct rtas_call *call)
{
	struct cores *cores = &call->machine->cores;
	const struct device *core = core_of(cores, call->vcpu);

	cpu_stop_self(call->vcpu);
	if (cpus_running(cores->cpus, core->unit, cores->threads) == 0)
		device_pass(cores->devices, core, OP_STOPPED);
	return RTAS_SUCCESS;
}

/*
 * query-cpu-stopped-state: server number -> state. After stop-self Linux polls it without a limit.
 * So it succeeds for every vCPU this machine can have; one that is absent is stopped.
 */
enum rtas_status rtas_query_cpu_stopped_state(struct rtas_call *call)
{
	const struct vcpu *vcpu = cpu_find(&call->machine->cpus, call->args[0]);

	if (vcpu == NULL)
		return RTAS_PARAMETER_ERROR;
	switch (vcpu->state) {
	case SPAPR_VCPU_RUNNING: call->outputs[0] = CPU_NOT_STOPPED; break;
	case SPAPR_VCPU_STOPPING: call->outputs[0] = CPU_STOPPING; break;
	default: call->outputs[0] = CPU_STOPPED; break;
	}
	return RTAS_SUCCESS;
}
