/* SPDX-License-Identifier: Apache-2.0 */
/*
 * start.S - the parts that need assembly: the first instructions of a vCPU, the hypervisor call, entry
 * into RTAS and return, the code of the interrupt vectors, and saving and restoring a context.
 *
 * A vCPU starts in real mode and big-endian, in 64-bit or 32-bit mode, whatever the image's byte order
 * is. It stays in real mode.
 */

/* A big-endian instruction in an image of either kind. */
#ifdef __LITTLE_ENDIAN__
#define BE(word) .long (((word) & 0xff) << 24 | ((word) & 0xff00) << 8 | \
	((word) >> 8 & 0xff00) | ((word) >> 24 & 0xff))
#define MSR_IMAGE 1 /* the LE bit */
#else
#define BE(word) .long (word)
#define MSR_IMAGE 0
#endif

/* Enter 64-bit mode and the image's byte order, and go on. Uses r10 to r12 and LR. */
.macro ENTER
	BE(0x429f0005)			/* bcl 20,31,.+4 */
	BE(0x7d4802a6)			/* mflr r10: the address of this instruction */
	BE(0x394a0024)			/* addi r10,r10,36: behind the rfid */
	BE(0x7d6000a6)			/* mfmsr r11 */
	BE(0x616b0000 | MSR_IMAGE)	/* ori r11,r11,LE */
	BE(0x39800001)			/* li r12,1 */
	BE(0x798bf80e)			/* rldimi r11,r12,63,0: SF */
	BE(0x7d5a03a6)			/* mtsrr0 r10 */
	BE(0x7d7b03a6)			/* mtsrr1 r11 */
	BE(0x4c000024)			/* rfid */
.endm

.macro LOAD_ADDRESS register, symbol	/* below 4 GiB */
	lis	\register, \symbol@h
	ori	\register, \register, \symbol@l
.endm

	.section .head, "ax"
	.globl	_start
_start:
	ENTER
	b	1f

	/* The vectors follow. */
	.text

	/* Entry of start-cpu; r3 is the vCPU's struct cpu. */
	.globl	secondary_start
secondary_start:
	ENTER
	mtsprg	1, 3
	LOAD_ADDRESS 2, .TOC.
	ld	1, 0(3)
	bl	secondary_main
	b	.

	/* If loaded elsewhere: copy the image to its link address, and go on there. */
1:	bcl	20, 31, 2f
2:	mflr	8
	addi	8, 8, _start - 2b
	cmpdi	8, 0
	beq	4f
	LOAD_ADDRESS 9, image_end
	srdi	9, 9, 3
	mtctr	9
	li	10, -8
	addi	8, 8, -8
3:	ldu	11, 8(8)
	stdu	11, 8(10)
	bdnz	3b
4:	LOAD_ADDRESS 9, memory_end
	LOAD_ADDRESS 10, image_end
	sub	9, 9, 10
	srdi	9, 9, 3
	mtctr	9
	addi	10, 10, -8
	li	11, 0
5:	stdu	11, 8(10)
	bdnz	5b
	LOAD_ADDRESS 12, first_main
	/* Make the copy visible to instruction fetch. */
	LOAD_ADDRESS 9, image_end
	srdi	9, 9, 7
	mtctr	9
	li	10, 0
6:	dcbst	0, 10
	icbi	0, 10
	addi	10, 10, 128
	bdnz	6b
	sync
	isync
	LOAD_ADDRESS 1, first_stack_top
	LOAD_ADDRESS 2, .TOC.
	mtctr	12
	bctrl				/* first_main(fdt, r4, client interface) */
	b	.

	/* vector_fault continues here: r3 SRR0, r4 SRR1, r5 vector. The stack is reset. */
	.globl	fault_start
fault_start:
	mfsprg	9, 1
	LOAD_ADDRESS 2, .TOC.
	ld	1, 0(9)
	bl	cpu_fault
	b	.

/* Code of the vectors. cpu.c copies it there in both byte orders, because an interrupt may be taken in
 * either. */

	/* An interrupt only ends H_CEDE: return with interrupts disabled. */
	.globl	vector_resume, vector_resume_end
vector_resume:
	mtsprg	2, 3
	lis	3, 0x2000
	mtdec	3
	mfsrr1	3
	rldicl	3, 3, 48, 1		/* clear EE */
	rotldi	3, 3, 16
	mtsrr1	3
	mfsprg	3, 2
	rfid
vector_resume_end:

	.globl	vector_fault, vector_fault_end
vector_fault:
	li	5, 0			/* cpu.c puts the vector here */
	mfsrr0	3
	mfsrr1	4
	LOAD_ADDRESS 6, fault_start
	mtsrr0	6
	mfmsr	7
	clrrdi	7, 7, 1
	ori	7, 7, MSR_IMAGE
	mtsrr1	7
	rfid
vector_fault_end:

	/* uint64_t hcall_raw(uint64_t number, uint64_t registers[9]): r4 to r12 in and out. */
	.globl	hcall_raw
hcall_raw:
	mflr	0
	std	0, 16(1)
	stdu	1, -64(1)
	std	4, 40(1)
	mr	12, 4
	ld	4, 0(12)
	ld	5, 8(12)
	ld	6, 16(12)
	ld	7, 24(12)
	ld	8, 32(12)
	ld	9, 40(12)
	ld	10, 48(12)
	ld	11, 56(12)
	ld	12, 64(12)
	sc	1
	ld	0, 40(1)
	mtctr	0			/* every other register is an output */
	std	12, 48(1)
	mfctr	12
	std	4, 0(12)
	std	5, 8(12)
	std	6, 16(12)
	std	7, 24(12)
	std	8, 32(12)
	std	9, 40(12)
	std	10, 48(12)
	std	11, 56(12)
	ld	4, 48(1)
	std	4, 64(12)
	/* H_CEDE has turned interrupts on; MSR[RI] alone. */
	li	5, 2
	mtmsrd	5, 1
	addi	1, 1, 64
	ld	0, 16(1)
	mtlr	0
	blr

	/* uint64_t rtas_enter(uint64_t block, uint64_t entry): as an operating system calls RTAS,
	 * big-endian and in 32-bit mode. Returns r3. */
	.globl	rtas_enter
rtas_enter:
	mflr	0
	std	0, 16(1)
	std	30, -16(1)
	std	31, -8(1)
	stdu	1, -80(1)
	LOAD_ADDRESS 30, 2f
	mfmsr	31
	LOAD_ADDRESS 0, 1f
	mtlr	0
	mtsrr0	4
	mr	5, 31
	clrrdi	5, 5, 1			/* LE */
	rldicl	5, 5, 0, 1		/* SF */
	mtsrr1	5
	rfid
1:	BE(0x7ffb03a6)			/* mtsrr1 r31 */
	BE(0x7fda03a6)			/* mtsrr0 r30 */
	BE(0x4c000024)			/* rfid */
2:	addi	1, 1, 80
	ld	31, -8(1)
	ld	30, -16(1)
	ld	0, 16(1)
	mtlr	0
	blr

	/* int context_save(uint64_t context[24]): 0, and once more 1 after context_restore(). */
	.globl	context_save
context_save:
	mflr	0
	mfcr	4
	std	0, 0(3)
	std	1, 8(3)
	std	4, 16(3)
	.set	i, 14
	.rept	18
	std	i, (i - 11) * 8(3)
	.set	i, i + 1
	.endr
	li	3, 0
	blr

	.globl	context_restore
context_restore:
	ld	0, 0(3)
	mtlr	0
	ld	1, 8(3)
	ld	4, 16(3)
	mtcr	4
	.set	i, 14
	.rept	18
	ld	i, (i - 11) * 8(3)
	.set	i, i + 1
	.endr
	li	3, 1
	blr

	.bss
	.balign	16
	.space	16384
	.globl	first_stack_top
first_stack_top:
	.space	64
