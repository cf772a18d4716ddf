/* SPDX-License-Identifier: Apache-2.0 */
/*
 * touch.c - commands that access memory once: a load or store of an integer or of a vector, and an
 * instruction fetch. Where no memory is, such an access may end in a fault, which is the answer
 * then, or not end at all: then it is a command for another vCPU than the first ("on 1 jump ...").
 */
#include "probe.h"

enum { VECTOR_BYTES = 16, MSR_VEC = 0x2000000 };

/* load SIZE ADDRESS: one load of 1, 2, 4 or 8 bytes, in the image's byte order. */
bool touch_load(char *line)
{
	uint64_t v[2], value;

	if (!text_numbers(&line, v, 2))
		return false;
	switch (v[0]) {
	case 1: value = *(const volatile uint8_t *)v[1]; break;
	case 2: value = *(const volatile uint16_t *)v[1]; break;
	case 4: value = *(const volatile uint32_t *)v[1]; break;
	case 8: value = *(const volatile uint64_t *)v[1]; break;
	default: return false;
	}
	put_text(" ");
	put_hex(value);
	return true;
}

/* store SIZE ADDRESS VALUE */
bool touch_store(char *line)
{
	uint64_t v[3];

	if (!text_numbers(&line, v, 3))
		return false;
	switch (v[0]) {
	case 1: *(volatile uint8_t *)v[1] = (uint8_t)v[2]; break;
	case 2: *(volatile uint16_t *)v[1] = (uint16_t)v[2]; break;
	case 4: *(volatile uint32_t *)v[1] = (uint32_t)v[2]; break;
	case 8: *(volatile uint64_t *)v[1] = v[2]; break;
	default: return false;
	}
	return true;
}

/* Vectors are on for this access only. The compiler uses none, so no register has to be kept. */
static uint64_t vectors_on(void)
{
	uint64_t msr;

	__asm__ volatile("mfmsr %0" : "=r"(msr));
	__asm__ volatile("mtmsrd %0; isync" ::"r"(msr | MSR_VEC) : "memory");
	return msr;
}

static void vectors_off(uint64_t msr)
{
	__asm__ volatile("mtmsrd %0; isync" ::"r"(msr) : "memory");
}

/* vload ADDRESS: one load of 16 bytes. */
bool touch_load_vector(char *line)
{
	uint8_t bytes[VECTOR_BYTES] __attribute__((aligned(VECTOR_BYTES)));
	uint64_t address, msr;

	if (!text_numbers(&line, &address, 1))
		return false;
	msr = vectors_on();
	__asm__ volatile(
	    ".machine push; .machine power8; lvx 0, 0, %0; stvx 0, 0, %1; .machine pop" ::"r"(
	        address),
	    "r"(bytes)
	    : "memory");
	vectors_off(msr);
	put_text(" ");
	for (uint32_t i = 0; i < VECTOR_BYTES; i++) {
		put_hex(bytes[i] >> 4);
		put_hex(bytes[i] & 0xf);
	}
	return true;
}

/* vstore ADDRESS BYTE: one store of 16 times that byte. */
bool touch_store_vector(char *line)
{
	uint8_t bytes[VECTOR_BYTES] __attribute__((aligned(VECTOR_BYTES)));
	uint64_t v[2], msr;

	if (!text_numbers(&line, v, 2))
		return false;
	for (uint32_t i = 0; i < VECTOR_BYTES; i++)
		bytes[i] = (uint8_t)v[1];
	msr = vectors_on();
	__asm__ volatile(
	    ".machine push; .machine power8; lvx 0, 0, %1; stvx 0, 0, %0; .machine pop" ::"r"(v[0]),
	    "r"(bytes)
	    : "memory");
	vectors_off(msr);
	return true;
}

/* jump ADDRESS: call the code there. */
bool touch_jump(char *line)
{
	uint64_t address;

	if (!text_numbers(&line, &address, 1))
		return false;
	__asm__ volatile("sync; isync; mtctr %0; bctrl" ::"r"(address)
	                 : "lr", "ctr", "memory", "cr0");
	return true;
}
