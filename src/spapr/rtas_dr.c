/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtas_dr.c - the RTAS services of dynamic reconfiguration (LoPAR chapter 13): set-indicator,
 * get-sensor-state and ibm,configure-connector become inputs to a connector.
 */
#include "spapr/device_fence.h"
#include "spapr/machine.h"
#include "spapr/rtas.h"

enum { SENSOR_EPOW = 9, SENSOR_ENTITY_SENSE = 9003 };

/* The connector's input for each indicator and value. */
static const struct {
	uint32_t indicator, value;
	enum drc_input input;
} indicator_inputs[] = {
    {DRC_ISOLATION_STATE, 0, DRC_IN_ISOLATE},
    {DRC_ISOLATION_STATE, 1, DRC_IN_UNISOLATE},
    {DRC_DR_INDICATOR, 0, DRC_IN_TOOL_STOPS},  /* off */
    {DRC_DR_INDICATOR, 1, DRC_IN_TOOL_BEGINS}, /* on */
    {DRC_DR_INDICATOR, 2, DRC_IN_TOOL_BEGINS}, /* identify */
    {DRC_DR_INDICATOR, 3, DRC_IN_TOOL_BEGINS}, /* action */
    {DRC_ALLOCATION_STATE, 0, DRC_IN_UNUSABLE},
    {DRC_ALLOCATION_STATE, 1, DRC_IN_USABLE},
};

/* set-indicator: indicator, index, value. Only connectors have indicators; Linux tries those of an
 * operator panel at boot. */
enum rtas_status rtas_set_indicator(struct rtas_call *call)
{
	struct spapr *machine = call->machine;
	struct connector *connector = connector_find(&machine->connectors, call->args[1]);
	struct op_evidence by = {.source = OP_BY_GUEST,
	    .call = "set-indicator",
	    .indicator = call->args[0],
	    .value = call->args[2],
	    .vcpu = call->vcpu->id};

	phb_note_act(
	    &machine->phb, call->args[1], call->args[0] == DRC_DR_INDICATOR && call->args[2] != 0);
	for (size_t i = 0; i < sizeof indicator_inputs / sizeof indicator_inputs[0]; i++)
		if (connector != NULL && indicator_inputs[i].indicator == call->args[0] &&
		    indicator_inputs[i].value == call->args[2] &&
		    (indicator_inputs[i].input < DRC_INPUT_LOGICAL || connector->type->physical))
			return device_guest_input(
			    &machine->devices, connector, indicator_inputs[i].input, &by);
	return RTAS_PARAMETER_ERROR;
}

/* get-sensor-state: sensor, index -> state. */
enum rtas_status rtas_get_sensor_state(struct rtas_call *call)
{
	struct spapr *machine = call->machine;
	uint32_t index = call->args[1];
	enum drc_sense sense = DRC_SENSE_PRESENT;

	/* Linux reads the EPOW sensor in its EPOW handler; 0 says that nothing is urgent. */
	if (call->args[0] == SENSOR_EPOW && call->args[1] == 0)
		return RTAS_SUCCESS;
	if (call->args[0] != SENSOR_ENTITY_SENSE)
		return RTAS_PARAMETER_ERROR;
	/* The memory that the guest boots with stays present, and cannot be removed. */
	if (fence_has_index(&machine->fence, index)) {
		if (fence_answered(&machine->fence, index))
			devices_fence_answered(&machine->devices, call->vcpu->id);
	} else if (!connector_sense(&machine->connectors, index, &sense)) {
		return RTAS_PARAMETER_ERROR;
	}
	call->outputs[0] = (uint32_t)sense;
	return RTAS_SUCCESS;
}

enum { POWER_LIVE_INSERTION = UINT32_MAX, POWER_FULL = 100 };

/* set-power-level, get-power-level: domain, level -> level. A connector here is always powered: its
 * domain is that of live insertion. */
enum rtas_status rtas_set_power_level(struct rtas_call *call)
{
	if (call->args[0] != POWER_LIVE_INSERTION || call->args[1] > POWER_FULL)
		return RTAS_PARAMETER_ERROR;
	call->outputs[0] = call->args[1];
	return RTAS_SUCCESS;
}

enum rtas_status rtas_get_power_level(struct rtas_call *call)
{
	call->args[1] = POWER_FULL;
	return rtas_set_power_level(call);
}

/* ibm,configure-connector: work area, another page or 0. */
enum rtas_status rtas_configure_connector(struct rtas_call *call)
{
	struct spapr *machine = call->machine;
	struct work_area area;
	struct op_evidence by = {
	    .source = OP_BY_GUEST, .call = "ibm,configure-connector", .vcpu = call->vcpu->id};
	struct connector *connector;
	struct err err;
	enum drc_input input = DRC_IN_CONFIGURE;
	enum rtas_status status;
	enum configure_answer answer;
	size_t used = 0;

	if (!gmem_contains(&machine->gmem, call->args[0], sizeof area) ||
	    !gmem_read(&machine->gmem, call->args[0], &area, WORK_DATA))
		return RTAS_PARAMETER_ERROR;
	connector = connector_find(&machine->connectors, from_be32(area.index));
	if (connector == NULL)
		return RTAS_PARAMETER_ERROR;
	if (from_be32(area.walking) == 0 && connector->drc.removing &&
	    device_has_heard(&machine->devices, connector))
		input = DRC_IN_RECONFIGURE;
	status = device_guest_input(&machine->devices, connector, input, &by);
	if (status != RTAS_SUCCESS)
		return status;
	if (from_be32(area.walking) == 0)
		connector_rewind(connector);
	if (!device_describe(&machine->connectors, connector, &err))
		return RTAS_HARDWARE_ERROR;
	answer = connector_walk(connector, machine->connectors.node, &area, &used);
	area.walking = be32(1);
	if (!gmem_write(&machine->gmem, call->args[0] + offsetof(struct work_area, walking),
	        &area.walking, WORK_DATA - offsetof(struct work_area, walking) + used))
		return RTAS_PARAMETER_ERROR;
	if (answer == CONFIGURE_COMPLETE)
		return device_guest_input(&machine->devices, connector, DRC_IN_CONFIGURE_END, &by);
	return (enum rtas_status)answer;
}
