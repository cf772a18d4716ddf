/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest.c - see guest.h. It uses no library, because it is also compiled as the kernel of a real
 * guest (guest_start.S), big-endian and alone in its memory.
 */
#include "guest.h"

#include <stdarg.h>
#include <stddef.h>

enum {
	H_GET_TERM_CHAR = 0x54,
	H_PUT_TERM_CHAR = 0x58,
	H_RTAS = 0xf000,
	BLOCKS = 0x100000, /* one of 64 KiB for each vCPU: arguments, buffer, work area */
	BLOCK_BYTES = 0x10000,
	BUFFER = 0x1000,
	WORK = 0x2000,
	MASK_HOTPLUG = 0x10000000,
	ISOLATION = 9001,
	ALLOCATION = 9003,
	LOG_ACTION = 105, /* of the event's log: what is to be done, and with which connector */
	LOG_INDEX = 108,
	ACTION_ADD = 1,
	LOG_BYTES = 116,
};

/* What it waits the answer of. */
enum phase {
	HELLO,
	LOOK,
	LOOKED,
	TYPED,
	USABLE,
	UNISOLATED,
	CONFIGURING,
	STARTED,
	STOPPING,
	ISOLATED,
	RELEASED,
};

static void put32(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 24);
	at[1] = (uint8_t)(value >> 16);
	at[2] = (uint8_t)(value >> 8);
	at[3] = (uint8_t)value;
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint8_t *block(const struct guest *guest, uint32_t cpu)
{
	return guest->ram + BLOCKS + (size_t)cpu * BLOCK_BYTES;
}

/* The result with this number of the last call, which had so many arguments. */
static uint32_t result(const struct guest *guest, uint32_t cpu, uint32_t number)
{
	const uint8_t *at = block(guest, cpu);

	return get32(at + (3 + get32(at + 4) + number) * 4);
}

static bool rtas(struct guest *guest, uint32_t cpu, struct guest_hcall *call,
    enum guest_service service, uint32_t nret, uint32_t nargs, ...)
{
	uint8_t *at = block(guest, cpu);
	va_list args;

	put32(at, guest->tokens[service]);
	put32(at + 4, nargs);
	put32(at + 8, nret);
	va_start(args, nargs);
	for (uint32_t i = 0; i < nargs; i++)
		put32(at + (3 + i) * 4, va_arg(args, uint32_t));
	va_end(args);
	for (uint32_t i = 0; i < nret; i++)
		put32(at + (3 + nargs + i) * 4, UINT32_MAX);
	call->nr = H_RTAS;
	call->args[0] = BLOCKS + cpu * BLOCK_BYTES;
	return true;
}

static bool indicate(struct guest *guest, struct guest_hcall *call, uint32_t indicator,
    uint32_t value, enum phase next)
{
	guest->phase = next;
	return rtas(guest, 0, call, GUEST_SET_INDICATOR, 1, 3, indicator, guest->core, value);
}

static bool look(struct guest *guest, struct guest_hcall *call)
{
	guest->phase = LOOKED;
	return rtas(guest, 0, call, GUEST_CHECK_EXCEPTION, 1, 6, 0x500u, 0x1001u,
	    (uint32_t)MASK_HOTPLUG, 0u, (uint32_t)(BLOCKS + BUFFER), (uint32_t)LOG_BYTES);
}

static bool configure(struct guest *guest, struct guest_hcall *call)
{
	guest->phase = CONFIGURING;
	return rtas(guest, 0, call, GUEST_CONFIGURE_CONNECTOR, 1, 2, (uint32_t)(BLOCKS + WORK), 0u);
}

static bool ask_stopped(struct guest *guest, struct guest_hcall *call)
{
	return rtas(guest, 0, call, GUEST_STOPPED_STATE, 2, 1, guest->core & 0xffffffu);
}

/* An event, or what was typed. */
static bool looked(struct guest *guest, struct guest_hcall *call)
{
	const uint8_t *log = guest->ram + BLOCKS + BUFFER;

	if (result(guest, 0, 0) != 0) {
		guest->phase = TYPED;
		call->nr = H_GET_TERM_CHAR;
		call->args[0] = 0;
		return true;
	}
	guest->core = get32(log + LOG_INDEX);
	if (log[LOG_ACTION] == ACTION_ADD)
		return indicate(guest, call, ALLOCATION, 1, USABLE);
	guest->stop_wanted = 0;
	guest->phase = STOPPING;
	return ask_stopped(guest, call);
}

static bool typed(struct guest *guest, struct guest_hcall *call)
{
	guest->phase = LOOK;
	if (call->ret != 0 || call->args[0] == 0)
		return false;
	/* H_PUT_TERM_CHAR takes what H_GET_TERM_CHAR gives, behind the terminal's address. */
	call->nr = H_PUT_TERM_CHAR;
	call->args[3] = call->args[2] & ~UINT64_C(0x2020202020202020);
	call->args[2] = call->args[1] & ~UINT64_C(0x2020202020202020);
	call->args[1] = call->args[0];
	call->args[0] = 0;
	return true;
}

static bool boot_cpu(struct guest *guest, struct guest_hcall *call)
{
	uint32_t status =
	    guest->phase == CONFIGURING || guest->phase == STOPPING ? result(guest, 0, 0) : 0;

	switch ((enum phase)guest->phase) {
	case HELLO:
		guest->phase = LOOK;
		call->nr = H_PUT_TERM_CHAR;
		call->args[0] = 0;
		call->args[1] = 1;
		call->args[2] = (uint64_t)'!' << 56;
		return true;
	case LOOKED: return looked(guest, call);
	case TYPED: return typed(guest, call);
	case USABLE: return indicate(guest, call, ISOLATION, 1, UNISOLATED);
	case UNISOLATED:
		put32(guest->ram + BLOCKS + WORK, guest->core);
		put32(guest->ram + BLOCKS + WORK + 4, 0);
		return configure(guest, call);
	case CONFIGURING:
		if (status != 0 && status < 0x80000000)
			return configure(guest, call);
		guest->phase = STARTED;
		guest->stop_wanted = 0;
		return rtas(guest, 0, call, GUEST_START_CPU, 1, 3, guest->core & 0xffffffu,
		    (uint32_t)guest->secondary, guest->core & 0xffffffu);
	case STOPPING:
		if (status != 0 || result(guest, 0, 1) == 0)
			return indicate(guest, call, ISOLATION, 0, ISOLATED);
		if (guest->stop_wanted == 1)
			return false; /* the other vCPU has not heard of it */
		if (guest->stop_wanted == 0)
			guest->stop_wanted = 1;
		return ask_stopped(guest, call);
	case ISOLATED: return indicate(guest, call, ALLOCATION, 0, RELEASED);
	case LOOK:
	case STARTED:
	case RELEASED: break;
	}
	return look(guest, call);
}

void guest_restart(struct guest *guest)
{
	guest->phase = HELLO;
	guest->stop_wanted = 0;
}

bool guest_is_idle(const struct guest *guest)
{
	return guest->phase == LOOK;
}

bool guest_step(struct guest *guest, uint32_t cpu, struct guest_hcall *call)
{
	if (cpu == 0)
		return boot_cpu(guest, call);
	if (guest->stop_wanted != 1)
		return false;
	guest->stop_wanted = 2; /* this vCPU does */
	return rtas(guest, cpu, call, GUEST_STOP_SELF, 1, 0);
}
