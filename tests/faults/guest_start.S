/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest_start.S - guest.c as the kernel of a real guest: where vCPUs start, the call to the
 * hypervisor, and the place where the walk writes the tokens.
 */
	.section .start, "ax"
	.globl _start
_start:				/* vCPU 0, at 0, in real mode */
	b	first
	.org	0x20
second:				/* started by start-cpu: r3 is its number */
	b	1f
	.org	0x40
	.space	64		/* tokens: written by world_host.c */
first:
	li	3, 0
1:	lis	1, 0x20		/* a stack for each vCPU */
	sldi	4, 3, 16
	add	1, 1, 4
	addi	1, 1, -256
	bl	guest_main
2:	b	2b

	.globl guest_hypervisor	/* (struct guest_hcall *): number; r4 .. r7 in and out; r3 */
guest_hypervisor:
	mr	11, 3
	std	11, -8(1)
	ld	3, 0(11)
	ld	4, 8(11)
	ld	5, 16(11)
	ld	6, 24(11)
	ld	7, 32(11)
	.long	0x44000022	/* sc 1 */
	ld	11, -8(1)
	std	3, 80(11)
	std	4, 8(11)
	std	5, 16(11)
	std	6, 24(11)
	blr
