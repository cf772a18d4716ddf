# SPDX-License-Identifier: Apache-2.0
"""Calls that no kernel makes: the machine answers, guest memory is unchanged except what the call
may write, and the process neither ends nor grows."""

from __future__ import annotations

import re

import pytest

from guest import DEADLINE, CommandError
from host_api import Host
from probe import ALLOCATION, CPU, ENTITY_SENSE, ISOLATION, RAM, ProbeError, ProbeGuest, block

H_RTAS, H_SUCCESS, H_PARAMETER, H_FUNCTION = 0xf000, 0, -4, -2
MEMORY = 512 << 20
AREA = 0x4000  # bytes compared before and behind each block
PATTERN = 0x5a
VTY = 0x71000000


def word(data: bytes, at: int) -> int:
    """A word of a block as a signed number."""
    return int.from_bytes(data[4 * at:4 * at + 4], "big", signed=True)


def make_call(guest: ProbeGuest, address: int, data: bytes, results: int) -> tuple[int, bytes]:
    """H_RTAS with that block at that address, in memory filled with a pattern. Returns r3 and the
    results; the bytes around the block must be unchanged."""
    probe = guest.probe
    start, end = address - AREA, min(MEMORY, address + AREA)
    probe.fill(start, end - start, PATTERN)
    room = min(results * 4, MEMORY - address - len(data))
    probe.write(address, data)
    status, _ = probe.hcall(H_RTAS, address)
    behind = address + len(data)
    after = probe.read(behind, room) if room > 0 else b""
    assert probe.read(address, len(data)) == data
    assert probe.same(start, address - start, PATTERN)
    assert probe.same(behind + room, end - behind - room, PATTERN)
    return status, after


PLACES = {
    "plain": RAM + 0x10000,
    "odd": RAM + 0x10001,
    "across 4 KiB": RAM + 0x11000 - 10,
    "across 64 KiB": RAM + 0x20000 - 14,
    "across a block of memory": RAM + 0x100000 - 16,
}


@pytest.mark.parametrize("endian", ["le", "be"])
def test_blocks_anywhere_in_memory(start_probe, endian: str) -> None:
    guest: ProbeGuest = start_probe(endian=endian, cpus="boot=2,max=2")
    sense = guest.probe.token("get-sensor-state")
    for name, address in PLACES.items():
        data = block(sense, [ENTITY_SENSE, CPU + 1], 2)
        status, results = make_call(guest, address, data, 2)
        assert (status, word(results, 0), word(results, 1)) == (H_SUCCESS, 0, 1), name


def test_blocks_at_and_behind_the_end_of_memory(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=2,max=2")
    probe = guest.probe
    sense = probe.token("get-sensor-state")
    data = block(sense, [ENTITY_SENSE, CPU + 1], 2)
    # RTAS code is at the end of memory; the guest may overwrite it.
    status, results = make_call(guest, MEMORY - len(data) - 8, data, 2)
    assert (status, word(results, 0), word(results, 1)) == (H_SUCCESS, 0, 1)
    # One word of the results, some arguments, or the counts are beyond the end of memory.
    for short in (4, 8, 12, 16, 20, 24):
        part = data[:short - 4]
        status, _ = make_call(guest, MEMORY - len(part), part, 0)
        assert status == H_PARAMETER, short
    for address in (MEMORY, MEMORY + 0x1000, 0x7fffffff, 0xfffffffc, 0xffffffff):
        assert probe.hcall(H_RTAS, address)[0] == H_PARAMETER, hex(address)


def test_blocks_above_4_gib_and_at_addresses_that_wrap(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=2,max=2")
    probe = guest.probe
    sense = probe.token("get-sensor-state")
    probe.write(RAM, block(sense, [ENTITY_SENSE, CPU + 1], 2))
    # RTAS is 32-bit: only the lower half of the address counts.
    for upper in (1, 0x80000000, 0xffffffff):
        probe.write(RAM + 20, b"\xff" * 8)
        assert probe.hcall(H_RTAS, upper << 32 | RAM)[0] == H_SUCCESS
        assert probe.read(RAM + 20, 8) == (0).to_bytes(4, "big") + (1).to_bytes(4, "big")
    for address in (0xffffffffffffffff, 0xfffffffffffffff0, 0xffffffff_fffff000, 0x1_fffffffc):
        assert probe.hcall(H_RTAS, address)[0] == H_PARAMETER


LIES = [(0xffffffff, 1), (1, 0xffffffff), (0xffffffff, 0xffffffff), (0x80000000, 0x80000000),
        (0x40000000, 0xc0000000), (0xfffffffe, 3), (16, 1), (1, 16), (17, 0), (0, 17),
        (0x55555555, 2)]


def test_counts_that_are_lies(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=2,max=2")
    for nargs, nret in LIES:
        for name in ("get-sensor-state", "check-exception"):
            data = block(guest.probe.token(name), [0x11, 0x22, 0x33, 0x44], nret, nargs)
            status, _ = make_call(guest, RAM + 0x10000, data, 0)
            assert status == H_PARAMETER, (name, nargs, nret)
        # KVM handles these: it stores -3 in the first result, wherever that is.
        for name in ("ibm,set-xive", "ibm,get-xive"):
            data = block(guest.probe.token(name), [0x11] * min(nargs, 16), nret, nargs)
            status, results = make_call(guest, RAM + 0x10000, data, 1)
            assert status == H_PARAMETER or word(results, 0) == -3, (name, nargs, nret)


def test_counts_a_service_does_not_have(start_probe) -> None:
    """Any number of arguments and results that fits a block is answered in the first result, if
    there is one, and nothing is written behind the results."""
    guest: ProbeGuest = start_probe(cpus="boot=2,max=2")
    for name, nargs, nret in (("set-indicator", 3, 1), ("get-sensor-state", 2, 2),
                              ("ibm,configure-connector", 2, 1), ("start-cpu", 3, 1),
                              ("query-cpu-stopped-state", 1, 2), ("check-exception", 6, 1)):
        token = guest.probe.token(name)
        for wrong_args, wrong_ret in ((nargs - 1, nret), (nargs + 2, nret), (nargs, nret + 1),
                                      (nargs, 0), (0, 1), (0, 0)):
            args = [ISOLATION, CPU + 1, 0, 0, 0, 0, 0, 0][:wrong_args]
            status, results = make_call(
                guest, RAM + 0x10000, block(token, args, wrong_ret), wrong_ret)
            assert status == H_SUCCESS
            assert wrong_ret == 0 or word(results, 0) == -3, (name, wrong_args, wrong_ret)
    assert guest.control.connector(1)["history"] == []
    for token in (0, 1, 0x1fff, 0x2013, 0x7fffffff, 0x80000000, 0xffffffff):
        status, results = make_call(guest, RAM + 0x10000, block(token, [1, 2], 1), 1)
        assert (status, word(results, 0)) == (H_SUCCESS, -3), hex(token)


def test_blocks_that_overlap_what_the_call_writes(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=2,max=2")
    probe = guest.probe
    at = RAM + 0x10000
    # The work area of configure-connector is the block itself: its first word is the token, which
    # is not a connector's index.
    configure = probe.token("ibm,configure-connector")
    probe.write(at, block(configure, [at, 0], 1))
    assert probe.hcall(H_RTAS, at)[0] == H_SUCCESS
    assert word(probe.read(at + 20, 4), 0) == -3
    # The work area begins inside the block, so that the index is an argument and the call overwrites
    # its arguments and results; the status is written last.
    probe.write(at, block(configure, [at + 16, CPU + 1], 1))
    probe.write(at + 16, (CPU + 1).to_bytes(4, "big") + bytes(4096))
    assert probe.hcall(H_RTAS, at)[0] == H_SUCCESS
    assert word(probe.read(at + 20, 4), 0) == 2  # next child
    # An event is fetched into the block of the call.
    probe.run("plan ignore")
    operation = guest.ask_remove(1)
    probe.wait_note("hotplug ignored")
    probe.write(at, block(probe.token("check-exception"), [0x500, 0, 0x10000000, 1, at, 2048], 1))
    assert probe.hcall(H_RTAS, at)[0] == H_SUCCESS
    log = probe.read(at, 116)
    assert (log[0], log[105], log[36:40]) == (6, 2, bytes(4))  # version; removal; the status
    assert guest.control.operation(operation)["phase"] == "fetched"
    assert probe.run("echo alive") == "alive"


def test_buffers_that_are_not_in_memory(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=2,max=2")
    probe = guest.probe
    probe.run("plan ignore")
    operation = guest.ask_remove(1)
    probe.wait_note("hotplug ignored")
    for address in (MEMORY - 100, MEMORY, 0xfffffff0, 0xffffffff):
        # The event is not lost.
        assert probe.rtas("check-exception", 1, 0x500, 0, 0x10000000, 1, address, 116) == [-3]
        assert probe.rtas("ibm,configure-connector", 1, address, 0) == [-3]
    assert guest.control.operation(operation)["phase"] == "notified"
    # No more is written than the buffer's length.
    probe.fill(RAM, 256, PATTERN)
    assert probe.rtas("check-exception", 1, 0x500, 0, 0x10000000, 1, RAM, 9) == [0]
    assert probe.read(RAM, 1) == b"\x06"
    assert probe.same(RAM + 9, 247, PATTERN)
    assert guest.control.operation(operation)["phase"] == "fetched"


def test_indexes_indicators_and_values_that_do_not_exist(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=2,max=3")
    probe = guest.probe
    for index in (0, 1, CPU - 1, CPU + 3, 0x1fffffff, 0x20000001, 0x90000001, 0xffffffff):
        for indicator, value in ((ISOLATION, 0), (ISOLATION, 1), (ALLOCATION, 0)):
            assert probe.set_indicator(indicator, index, value) == -3
        assert probe.sense(index)[0] == -3
        probe.write(RAM, index.to_bytes(4, "big") + bytes(4092))
        assert probe.rtas("ibm,configure-connector", 1, RAM, 0) == [-3]
    for indicator, value in ((ISOLATION, 2), (ISOLATION, 0xffffffff), (ALLOCATION, 2),
                             (9002, 1), (0, 0), (0xffffffff, 0)):
        assert probe.set_indicator(indicator, CPU + 1, value) == -3
    assert guest.control.connector(1)["state"] == "configured"
    for server in (3, 0x10000, 0xffffffff):
        assert probe.rtas("start-cpu", 1, server, 0, 0) == [-3]
        assert probe.rtas("query-cpu-stopped-state", 2, server)[0] == -3


def take_back_and_add(guest: ProbeGuest) -> None:
    """Remove core 1, whose vCPU may be anywhere, and add it again, configured and not started."""
    removal = guest.ask_remove(1)
    guest.control.wait_step(removal, "fetched")
    guest.probe.do(1, "isolate unusable")
    assert guest.control.wait_end(removal)["outcome"] == "done"
    added = guest.ask_add(1)
    guest.control.wait_step(added, "fetched")
    guest.probe.do(1, "usable unisolate configure")
    # The add is done when the core is started.
    guest.control.wait_step(added, "configured")


def test_a_vcpu_started_at_nonsense_harms_nobody_else(start_probe) -> None:
    """Started outside memory, at an odd address, in data: the vCPU's behaviour is undefined, but it
    can be stopped by removing its core, and used again."""
    guest: ProbeGuest = start_probe(cpus="boot=2,max=2")
    guest.probe.play("silent")
    guest.probe.answer_fences("")
    # A branch to itself, then zeros.
    guest.probe.write(RAM, bytes.fromhex("48000000"))
    for address in (RAM, RAM + 0x100, RAM + 1, MEMORY - 4, MEMORY, 0xfffffffc):
        assert guest.probe.rtas("start-cpu", 1, 1, address, 0) == [0]
        assert guest.probe.rtas("start-cpu", 1, 1, address, 0) == [-1]
        assert guest.probe.run("echo alive") == "alive"
        take_back_and_add(guest)
    assert guest.probe.do(1, "start") == {"start": 0}
    assert guest.probe.run("on 1 echo alive") == "alive"


# Instructions that no kernel runs, or not in these states; each followed by more of the same or by
# invalid ones.
CODE = {
    "nothing": "00000000", "round in circles": "4800000044000022", "system calls": "44000002",
    "hypervisor calls": "440000224bfffffc", "naps": "386000e0440000224bfffff8",
    "stop": "4c0002e44bfffffc", "attention": "00000200", "return of the hypervisor": "4c000224",
    "transaction": "7c00051d48000000", "doorbell": "7c00199c48000000",
    "translations shot down": "7c001a6448000000", "no time left": "386000007c7603a64bfffff8",
}
MSR_SF, MSR_ALL = 1 << 63, (1 << 64) - 1
STATES = {
    "32-bit": 0x1000, "user, translation on": MSR_SF | 0xd032, "little-endian": MSR_SF | 0x1001,
    "all bits": MSR_ALL,
}


def test_vcpus_in_states_no_kernel_puts_them(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=2,max=2")
    guest.probe.play("silent")
    guest.probe.answer_fences("")
    for code in CODE.values():
        guest.probe.write(RAM, bytes.fromhex(code))
        for msr in STATES.values():
            assert guest.probe.do(1, "start") == {"start": 0}
            guest.probe.run(f"leave 1 {RAM:x} {msr:x}")
            assert guest.probe.run("echo alive") == "alive"
            take_back_and_add(guest)
    assert guest.probe.do(1, "start") == {"start": 0}
    assert guest.probe.run("on 1 echo alive") == "alive"


def test_loads_and_stores_where_nothing_is(start_probe) -> None:
    guest: ProbeGuest = start_probe()
    probe = guest.probe
    before = guest.control.execute("query-metrics")["stray-accesses"]
    answered = 0
    for size in (1, 2, 4, 8):
        # Real mode with a hash table has 1 TiB; above, it is the same again.
        for address in (MEMORY, MEMORY + 1, 0xfffffff8, 1 << 39):
            for command, answer in ((f"store {size} {address:x} {0x1122334455667788:x}", ""),
                                    (f"load {size} {address:x}", "f" * (2 * size))):
                try:
                    assert probe.run(command) == answer
                    answered += 1
                except ProbeError as fault:
                    # With kvm-hv and a hash table, in real mode too what is not mapped is the guest's.
                    assert probe.has_hash_table() and str(fault).startswith("fault 300 "), fault
    assert answered in (0, 32) and (answered == 32 or probe.has_hash_table())
    assert guest.control.execute("query-metrics")["stray-accesses"] == before + answered
    assert probe.run("echo alive") == "alive"


def process_of(host: Host) -> dict[str, int]:
    """Descriptors, threads and memory (KiB) of the only VMM on the host."""
    script = ("p=$(pidof paprika); ls /proc/$p/fd | wc -l; "
              "awk '/^(Threads|VmData|VmRSS):/ {print $2}' /proc/$p/status")
    values = host.run(["sh", "-c", script], check=True).stdout.split()
    # In the order of /proc/PID/status.
    return dict(zip(("descriptors", "resident", "data", "threads"), map(int, values)))


# Calls that stop or move the caller: H_CEDE, H_CONFER, H_JOIN, H_SIGNAL_SYS_RESET.
SKIPPED = "e0,e4,298,380"
PATTERNS = {
    "zeros": [0] * 9,
    "ones": [0xffffffffffffffff] * 9,
    "memory": [RAM + 0x1000 * i for i in range(9)],
    "behind memory": [MEMORY + 0x1000 * i for i in range(9)],
    "wrapping": [0xfffffffffffff000, 0x1000, 0xffffffffffffffff, 1, 1 << 63, 1 << 63, 7, 8, 9],
    "small": list(range(1, 10)),
    "terminal": [VTY, 16, 0x0a0a0a0a0a0a0a0a, 0x0a0a0a0a0a0a0a0a, 0, 0, 0, 0, 0],
}


@pytest.mark.parametrize("endian, patterns", [("le", list(PATTERNS)), ("be", ["ones", "memory"])])
def test_every_hypervisor_call_with_wild_registers(start_probe, host: Host, endian: str,
                                                   patterns: list[str]) -> None:
    guest: ProbeGuest = start_probe(endian=endian, cpus="boot=2,max=2")
    guest.probe.do(1, "start")
    before: dict[str, int] = {}
    # The first round may allocate things that are made once; the second must not add to them.
    for _ in range(2):
        for name in patterns:
            registers = PATTERNS[name]
            for first, last in ((0, 0x600), (0xef00, 0xef20), (0xf000, 0xf040), (0xf800, 0xf820)):
                words = " ".join(f"{r:x}" for r in registers)
                # It leaves interrupts off (H_CPPR): what turns them on again has to be there already, or
                # the probe looks for it when its decrementer has run down. The sweep itself reads up to
                # 16 bytes of what is typed; so first there are empty lines.
                guest.probe.send(f"sweep {first:x} {last:x} 4 {SKIPPED} {words}" + "\n" * 32 + "hcall 68 ff")
                answer = guest.probe.answer(DEADLINE)
                assert "unknown=" in answer, (name, answer)
                guest.probe.answer(DEADLINE)
        now = process_of(host)
        before = before or now
        assert now["descriptors"] == before["descriptors"]
        assert now["threads"] == before["threads"]
        assert now["data"] <= before["data"] + 64
        assert now["resident"] <= before["resident"] + 1024
    assert guest.probe.run("on 1 echo alive") == "alive"
    assert guest.control.execute("query-status")["status"] == "running"


def test_rtas_through_its_code_in_memory(start_probe) -> None:
    """RTAS entered as by an operating system: big-endian and 32-bit, from either byte order."""
    for endian in ("le", "be"):
        guest: ProbeGuest = start_probe(endian=endian, cpus="boot=2,max=2")
        sense = guest.probe.token("get-sensor-state")
        guest.probe.write(RAM, block(sense, [ENTITY_SENSE, CPU + 1], 2) + b"\xff" * 8)
        assert guest.probe.run(f"blob {RAM:x}") == "0"
        assert guest.probe.read(RAM + 20, 8) == bytes(7) + b"\x01"
        guest.probe.write(RAM + 4, b"\xff" * 8)
        assert guest.probe.run(f"blob {RAM:x}") == str(H_PARAMETER)
        guest.close()


def test_panic_text_that_runs_into_the_end_of_memory(start_probe) -> None:
    guest: ProbeGuest = start_probe()
    guest.probe.fill(MEMORY - 16, 16, ord("x"))
    guest.probe.send(f"rtas ibm,os-term 1 {MEMORY - 16:x}")
    guest.control.wait_event("GUEST_PANICKED")
    assert b"x" * 16 in guest.process.stderr.read_until(b"xxxxxxxxxxxxxxxx", DEADLINE)
    assert guest.wait_exit() == 3


CROWD = [
    f"set-indicator 1 {ISOLATION:x} {{0}} 0", f"set-indicator 1 {ISOLATION:x} {{0}} 1",
    f"set-indicator 1 {ALLOCATION:x} {{0}} 0", f"set-indicator 1 {ALLOCATION:x} {{0}} 1",
    "ibm,configure-connector 1 @ 0", "start-cpu 1 4 2000000 0", "query-cpu-stopped-state 2 4",
    f"get-sensor-state 2 {ENTITY_SENSE:x} {{0}}",
]


def test_many_vcpus_at_once_while_the_operator_adds_and_removes(start_probe, host: Host) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=4,max=6", memory="512M")
    probe, control = guest.probe, guest.control
    for core_id in (1, 2, 3):
        assert probe.do(core_id, "start") == {"start": 0}
    probe.write(RAM, bytes.fromhex("48000000"))  # entry of a started vCPU 4: an endless loop
    before = process_of(host)
    calls = " | ".join(call.format(f"{CPU + 4:x}") for call in CROWD)
    probe.send(f"crowd 400 f {calls}")
    requests = 0
    # The operator sends requests without a pause until the crowd is done.
    while not probe.answered():
        try:
            if control.connector(4)["attached"]:
                guest.ask_remove(4)
            else:
                guest.ask_add(4)
            requests += 1
        except CommandError as error:
            # The state has changed between the query and the request.
            assert re.search("not found|already populated", error.desc), error
    answer = probe.answer()
    counts = [int(item.partition("=")[2]) for item in answer.split()]
    assert sum(counts) == 0x400 * 4, answer
    assert requests > 10
    # Every answer is in the documented set of its call.
    statuses = {item.partition("=")[0] for item in answer.split()}
    allowed = {0: {0}, 1: {0, -3}, 2: {0, -3}, 3: {0, -3}, 4: {0, 2, 3, 4, -3, -9003},
               5: {0, -1, -3}, 6: {0}, 7: {0}}
    for status in statuses:
        call, _, value = status.partition(":")
        assert int(value) in allowed[int(call)], answer
    # All pending operations can be ended, and the machine works.
    probe.play("linux")
    probe.do(4, "usable unisolate configure isolate unusable")
    if control.connector(4)["attached"]:
        assert guest.remove(4)["outcome"] == "done"
    pending = [op for op in control.execute("query-operations", count=32)
               if op["outcome"] == "pending"]
    assert pending == []
    assert process_of(host)["threads"] <= before["threads"] + 1  # of vCPU 4
    assert guest.add(4)["outcome"] == "done"
    assert guest.remove(4)["outcome"] == "done"
