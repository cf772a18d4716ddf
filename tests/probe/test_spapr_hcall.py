# SPDX-License-Identifier: Apache-2.0
"""The calls of spapr_hcall in kvm-unit-tests, made by a guest of our own because Debian has no
package of it; in both byte orders."""

from __future__ import annotations

import struct
import time

import pytest

from guest import DEADLINE
from probe import RAM, ProbeGuest

H_SET_SPRG0, H_PAGE_INIT, H_RANDOM = 0x24, 0x2c, 0x300
H_FUNCTION, H_PARAMETER = -2, -4
ZERO, COPY = 1 << 15, 1 << 14  # bits 48 and 49 in the standard's numbering
MSR_SF, MSR_ME, MSR_LE = 1 << 63, 1 << 12, 1
PAGE = 4096

ENDIANS = pytest.mark.parametrize("endian", ["le", "be"])


def set_and_read_sprg0(values: int) -> list[int]:
    """For each value of a table at RAM: H_SET_SPRG0, then store r3 and SPRG0 behind the table. At
    the end store 1 behind it all, and loop."""
    code = [0x3e800000 | RAM >> 16]                         # lis r20,RAM
    for n in range(values):
        status = 8 * (values + 2 * n)
        code += [0xe8940000 | 8 * n, 0x38600000 | H_SET_SPRG0, 0x44000022,  # ld r4; li r3; sc 1
                 0xf8740000 | status,                       # std r3
                 0x7cb042a6, 0xf8b40000 | status + 8]       # mfsprg0 r5; std r5
    return code + [0x38c00001, 0xf8d40000 | 24 * values, 0x48000000]  # li r6,1; std r6; b .


@ENDIANS
def test_set_sprg0(start_probe, endian: str) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=2,max=2", endian=endian)
    order = "<" if endian == "le" else ">"
    values = [0xcafebabedeadbeef, 0xaaaaaaaa55555555, 0]
    code = set_and_read_sprg0(len(values))
    guest.probe.fill(RAM, PAGE, 0)
    guest.probe.write(RAM, struct.pack(f"{order}{len(values)}Q", *values))
    guest.probe.write(RAM + PAGE, struct.pack(f"{order}{len(code)}I", *code))
    assert guest.probe.do(1, "start") == {"start": 0}
    guest.probe.run(f"leave 1 {RAM + PAGE:x} {MSR_SF | MSR_ME | (MSR_LE if endian == 'le' else 0):x}")
    deadline = time.monotonic() + DEADLINE
    while guest.probe.same(RAM + 24 * len(values), 8, 0):
        assert time.monotonic() < deadline
    results = struct.unpack(f"{order}{2 * len(values)}Q",
                            guest.probe.read(RAM + 8 * len(values), 16 * len(values)))
    assert list(results) == [number for value in values for number in (0, value)]


@ENDIANS
def test_page_init(start_probe, endian: str) -> None:
    guest: ProbeGuest = start_probe(endian=endian)
    probe, target, source = guest.probe, RAM, RAM + PAGE
    probe.fill(target - PAGE, PAGE, 0x55)
    probe.fill(target, PAGE, 0xaa)
    probe.fill(source, PAGE, 0x77)
    assert probe.hcall(H_PAGE_INIT, ZERO, target, source)[0] == 0
    assert probe.same(target, PAGE, 0)
    for flags, byte in ((COPY, 0x33), (COPY | ZERO, 0xc4)):
        probe.fill(source, PAGE, byte)
        assert probe.hcall(H_PAGE_INIT, flags, target, source)[0] == 0
        assert probe.same(target, PAGE, byte) and probe.same(source, PAGE, byte)
    assert probe.hcall(H_PAGE_INIT, ZERO, target + 0x123, source)[0] == H_PARAMETER
    assert probe.hcall(H_PAGE_INIT, COPY, target, source + 0x123)[0] == H_PARAMETER
    assert probe.same(target, PAGE, 0xc4) and probe.same(target - PAGE, PAGE, 0x55)


@ENDIANS
def test_random(start_probe, endian: str) -> None:
    """The call may be missing (the emulated host has no generator); else no bit is stuck."""
    guest: ProbeGuest = start_probe(endian=endian)
    ones, zeros = 0, 0
    for _ in range(100):
        status, registers = guest.probe.hcall(H_RANDOM)
        assert status in (0, H_FUNCTION)
        if status == H_FUNCTION:
            return
        ones, zeros = ones | registers[0], zeros | ~registers[0]
    assert ones & (1 << 64) - 1 == zeros & (1 << 64) - 1 == (1 << 64) - 1
