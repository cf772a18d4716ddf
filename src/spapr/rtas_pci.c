/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtas_pci.c - the RTAS services of PCI: the configuration space (LoPAR 7.3.4), interrupts
 * (7.3.10.5), and those of enhanced I/O error handling (EEH), which say that there is none.
 *
 * Linux uses EEH's tokens to tell a platform that has no errors to handle from one that forgot
 * them: without the tokens it warns when a bridge is added.
 */
#include "spapr/machine.h"
#include "spapr/rtas.h"

/* Functions of ibm,change-msi. */
enum { CHANGE_MSI_FIRST = 1, CHANGE_MSI = 3, CHANGE_MSI_X = 4, CHANGE_MSI_X_32 = 6 };
enum { TYPE_MSI = 1, TYPE_MSI_X = 2, TRIGGER_EDGE = 1 };

static uint64_t pci_buid(const struct rtas_call *call)
{
	return (uint64_t)call->args[1] << 32 | call->args[2];
}

/* The function that the first three arguments name: config_addr, bus unit id. */
static struct virtio_pci *pci_function(struct rtas_call *call, uint32_t *ret_offset)
{
	return phb_function(&call->machine->phb, pci_buid(call), call->args[0], ret_offset);
}

/* The port that they name. */
static struct pci_port *pci_port(struct rtas_call *call, uint32_t *ret_offset)
{
	return phb_port(&call->machine->phb, pci_buid(call), call->args[0], ret_offset);
}

/* ibm,read-pci-config: config_addr, bus unit id, size -> value. */
enum rtas_status rtas_read_pci_config(struct rtas_call *call)
{
	uint32_t offset;
	struct virtio_pci *function = pci_function(call, &offset);
	const struct pci_port *port = pci_port(call, &offset);

	/* As a bus does it: nothing there is all ones. */
	call->outputs[0] = UINT32_MAX;
	if (!pci_config_has(offset, call->args[3]))
		return RTAS_PARAMETER_ERROR;
	if (port != NULL)
		call->outputs[0] = pci_port_read(port, offset, call->args[3]);
	if (port != NULL)
		return RTAS_SUCCESS;
	/* Linux looks for the interrupt pin of the device that it makes of an empty place, and
	 * prints an error if it cannot read that there is none. */
	if (function == NULL && offset >= PCI_INTERRUPT_LINE && offset < PCI_CAPABILITIES &&
	    phb_has_place(&call->machine->phb, pci_buid(call), call->args[0])) {
		call->outputs[0] = 0;
		return RTAS_SUCCESS;
	}
	if (function == NULL)
		return RTAS_HARDWARE_ERROR;
	call->outputs[0] = virtio_pci_read_config(function, offset, call->args[3]);
	return RTAS_SUCCESS;
}

/* ibm,write-pci-config: config_addr, bus unit id, size, value. */
enum rtas_status rtas_write_pci_config(struct rtas_call *call)
{
	uint32_t offset;
	struct virtio_pci *function = pci_function(call, &offset);
	struct pci_port *port = pci_port(call, &offset);

	if (!pci_config_has(offset, call->args[3]))
		return RTAS_PARAMETER_ERROR;
	if (port != NULL)
		phb_write_port(&call->machine->phb, port, offset, call->args[3], call->args[4],
		    call->vcpu->id);
	if (port != NULL)
		return RTAS_SUCCESS;
	if (function == NULL)
		return RTAS_HARDWARE_ERROR;
	virtio_pci_write_config(function, offset, call->args[3], call->args[4]);
	devices_look_at_drivers(&call->machine->devices);
	return RTAS_SUCCESS;
}

/* A port has one MSI, which is always there. */
static enum rtas_status pci_change_port_msi(struct rtas_call *call, const struct pci_port *port)
{
	uint32_t kind = call->args[3], wanted = call->args[4];

	if (wanted > 0 && kind != CHANGE_MSI_FIRST && kind != CHANGE_MSI)
		return RTAS_PARAMETER_ERROR;
	if (!phb_reset_port_irq(&call->machine->phb, port))
		return RTAS_HARDWARE_ERROR;
	call->outputs[0] = wanted > 0 ? 1 : 0;
	call->outputs[1] = call->args[5] + 1;
	call->outputs[2] = TYPE_MSI;
	return RTAS_SUCCESS;
}

/* ibm,change-msi: config_addr, bus unit id, function, number wanted, sequence -> number granted,
 * next sequence, type. More than the function has: none, and how many there are. */
enum rtas_status rtas_change_msi(struct rtas_call *call)
{
	uint32_t offset, kind = call->args[3], wanted = call->args[4], most;
	struct virtio_pci *function = pci_function(call, &offset);
	const struct pci_port *port = pci_port(call, &offset);

	if (port != NULL)
		return pci_change_port_msi(call, port);
	if (function == NULL)
		return RTAS_PARAMETER_ERROR;
	if (wanted > 0 && kind != CHANGE_MSI_X && kind != CHANGE_MSI_X_32)
		return RTAS_PARAMETER_ERROR;
	if (kind < CHANGE_MSI_FIRST || kind > CHANGE_MSI_X_32)
		return RTAS_PARAMETER_ERROR;
	most = virtio_pci_vectors(function);
	if (wanted <= most && !phb_set_irqs(&call->machine->phb, function, wanted))
		return RTAS_HARDWARE_ERROR;
	devices_look_at_drivers(&call->machine->devices);
	call->outputs[0] = wanted <= most ? wanted : most;
	call->outputs[1] = call->args[5] + 1;
	call->outputs[2] = TYPE_MSI_X;
	return RTAS_SUCCESS;
}

/* ibm,query-interrupt-source-number: config_addr, bus unit id, vector -> source, trigger. */
enum rtas_status rtas_query_interrupt_source_number(struct rtas_call *call)
{
	uint32_t offset, irq;
	struct virtio_pci *function = pci_function(call, &offset);
	const struct pci_port *port = pci_port(call, &offset);

	if (port != NULL && call->args[3] == 0)
		irq = phb_port_irq(&call->machine->phb, port);
	else if (function == NULL || !phb_irq(&call->machine->phb, function, call->args[3], &irq))
		return RTAS_PARAMETER_ERROR;
	call->outputs[0] = irq;
	call->outputs[1] = TRIGGER_EDGE;
	return RTAS_SUCCESS;
}

/* The services of EEH: no function has it. */
enum rtas_status rtas_no_eeh(struct rtas_call *call)
{
	return RTAS_PARAMETER_ERROR;
}
