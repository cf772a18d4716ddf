# SPDX-License-Identifier: Apache-2.0
"""XIVE on a real KVM: what a hostile guest can do to the pages and the calls, and the way of an
interrupt from its source into the guest's queue. Only on hosts that have XIVE for guests."""

from __future__ import annotations

import re

import pytest

from host_api import Host
from probe import RAM, ProbeError, ProbeGuest

GET_SOURCE_INFO, SET_SOURCE_CONFIG, GET_SOURCE_CONFIG = 0x3a8, 0x3ac, 0x3b0
GET_QUEUE_INFO, SET_QUEUE_CONFIG, ESB, SYNC, RESET = 0x3b4, 0x3b8, 0x3c8, 0x3cc, 0x3d0
H_SUCCESS, H_PARAMETER, H_P2, H_P3, H_P4, H_P5 = 0, -4, -55, -56, -57, -58
CALLS = (GET_SOURCE_INFO, SET_SOURCE_CONFIG, GET_SOURCE_CONFIG, GET_QUEUE_INFO, SET_QUEUE_CONFIG,
         ESB, SYNC, RESET)
EPOW, HOTPLUG, VTY = 0x1000, 0x1001, 0x1002
PRIORITY, NEVER = 6, 0xff
QUEUE = RAM + 0x100000
PAGE = 0x10000
CPUS = 4
ALL = (1 << 64) - 1
# Loads from the page that manages a source; a store to the page before it triggers the source.
GET, SET_00, SET_01 = 0x800, 0xc00, 0xd00


@pytest.fixture
def start_xive(host: Host, start_probe):
    check = host.run([host.path + "/bin/paprika", "check"]).stdout.decode()
    found = re.search(r"guest: radix, xive +(.*)", check)
    if found is None or not found[1].startswith("yes"):
        pytest.skip("this host has no XIVE for guests: " + (found[1] if found else "paprika check "
                                                            "does not mention it"))
    before = host.run(["dmesg"]).stdout

    def start(*options: str, **settings: str) -> ProbeGuest:
        guest = start_probe("--irqchip", "xive", *options, cpus=f"boot=2,max={CPUS}", **settings)
        # The probe has set up what it needs to hear of events.
        assert guest.probe.hcall(RESET, 0)[0] == H_SUCCESS
        return guest

    yield start
    # Nothing that a guest does makes the host complain.
    said = host.run(["dmesg"]).stdout
    new = said[said.find(before[-200:]) + 200:].decode(errors="replace")
    assert not re.search(r"WARNING|BUG|Oops|xive|KVM:|invalid|Failed", new), new


def load(guest: ProbeGuest, size: int, address: int) -> int:
    return int(guest.probe.run(f"load {size:x} {address:x}"), 16)


def store(guest: ProbeGuest, size: int, address: int, value: int) -> None:
    guest.probe.run(f"store {size:x} {address:x} {value:x}")


def pages(guest: ProbeGuest, source: int) -> tuple[int, int]:
    """Those that manage the source, and trigger it."""
    status, out = guest.probe.hcall(GET_SOURCE_INFO, 0, source)
    assert (status, out[0], out[3]) == (H_SUCCESS, 0, 16)
    return out[1], out[2]


def set_queue(guest: ProbeGuest, cpu: int = 0) -> int:
    address = QUEUE + cpu * PAGE
    guest.probe.fill(address, PAGE, 0)
    assert guest.probe.hcall(SET_QUEUE_CONFIG, 1, cpu, PRIORITY, address, 16)[0] == H_SUCCESS
    return address


def aim(guest: ProbeGuest, source: int, cpu: int, number: int) -> None:
    assert guest.probe.hcall(SET_SOURCE_CONFIG, 2, source, cpu, PRIORITY, number)[0] == H_SUCCESS


def entries(guest: ProbeGuest, queue: int, source: int, count: int) -> list[int]:
    """The first entries of a queue that has not been around, when what the source has sent is there."""
    assert guest.probe.hcall(SYNC, 0, source)[0] == H_SUCCESS
    data = guest.probe.read(queue, 4 * count)
    return [int.from_bytes(data[at:at + 4], "big") for at in range(0, len(data), 4)]


@pytest.mark.parametrize("endian", ["le", "be"])
def test_an_interrupt_between_processors_reaches_the_queue(start_xive, endian: str) -> None:
    guest: ProbeGuest = start_xive(endian=endian)
    for source, cpu in ((0, 0), (3, 1)):
        manage, trigger = pages(guest, source)
        queue = set_queue(guest, cpu)
        aim(guest, source, cpu, 0x1234 + source)
        # Masked: it is lost, as the hardware has it.
        assert load(guest, 8, manage + GET) in (1, 1 << 56)
        store(guest, 8, trigger, 0)
        assert entries(guest, queue, source, 1) == [0]
        load(guest, 8, manage + SET_00)
        store(guest, 8, trigger, 0)
        assert entries(guest, queue, source, 2) == [0x80001234 + source, 0]
        # It waits for the end of the one before.
        store(guest, 8, trigger, 0)
        assert entries(guest, queue, source, 2) == [0x80001234 + source, 0]
        assert load(guest, 8, manage + SET_00) in (3, 3 << 56)
        store(guest, 8, trigger, 0)
        assert entries(guest, queue, source, 3) == [0x80001234 + source] * 2 + [0]


def test_what_is_typed_reaches_the_queue_once_the_guest_listens(start_xive) -> None:
    guest: ProbeGuest = start_xive()
    probe = guest.probe
    queue = set_queue(guest)
    assert probe.hcall(GET_SOURCE_INFO, 0, VTY)[1][:3] == [8, ALL, ALL]
    aim(guest, VTY, 0, 7)
    # All commands were typed while the source was off: that is one edge.
    assert probe.hcall(ESB, 0, VTY, SET_00, 0)[1][0] == 1
    assert entries(guest, queue, VTY, 2) == [0x80000007, 0]
    # So are the commands since.
    assert probe.hcall(ESB, 0, VTY, SET_00, 0)[1][0] == 3
    assert entries(guest, queue, VTY, 3) == [0x80000007, 0x80000007, 0]


def test_a_hotplug_event_reaches_the_queue_once_the_guest_listens(start_xive) -> None:
    guest: ProbeGuest = start_xive()
    probe = guest.probe
    queue = set_queue(guest)
    operation = guest.ask_add(2)
    aim(guest, HOTPLUG, 0, 9)
    assert entries(guest, queue, HOTPLUG, 1) == [0]
    probe.hcall(ESB, 0, HOTPLUG, SET_00, 0)
    assert entries(guest, queue, HOTPLUG, 2) == [0x80000009, 0]
    assert probe.run("fetch").split()[:2] == ["0", "add"]
    probe.do(2, "usable unisolate configure start")
    assert guest.control.wait_end(operation)["outcome"] == "done"
    # The new CPU has a queue of its own, and takes it along.
    manage, trigger = pages(guest, 2)
    its_queue = set_queue(guest, 2)
    aim(guest, 2, 2, 5)
    load(guest, 8, manage + SET_00)
    store(guest, 8, trigger, 0)
    assert entries(guest, its_queue, 2, 2) == [0x80000005, 0]
    operation = guest.ask_remove(2)
    probe.do(2, "stop isolate unusable")
    assert guest.control.wait_end(operation)["outcome"] == "done"
    assert probe.hcall(GET_QUEUE_INFO, 0, 2, PRIORITY)[0] == H_P2
    assert probe.hcall(GET_SOURCE_CONFIG, 0, 2)[1][1] == NEVER
    load(guest, 8, manage + SET_00)
    store(guest, 8, trigger, 0)
    assert entries(guest, its_queue, 2, 2) == [0x80000005, 0]


def test_pages_and_what_lies_around_them(start_xive) -> None:
    guest: ProbeGuest = start_xive()
    first = pages(guest, 0)[1]
    last = pages(guest, CPUS - 1)[0]
    presenter = int.from_bytes(
        bytes.fromhex(guest.probe.run("tree /interrupt-controller reg"))[16:24], "big")
    for source in range(CPUS):
        for page in pages(guest, source):
            for at in (0, 8, 0x7f8, 0xff8, 0x1000, PAGE - 8):
                load(guest, 8, page + at)
    for place in (first - 8, first - PAGE, last + PAGE, last + 2 * PAGE, last + PAGE + 0xff8,
                  presenter - 8, presenter - PAGE, presenter - 2 * PAGE, presenter + PAGE,
                  presenter + 2 * PAGE):
        # Nothing is there.
        assert load(guest, 8, place) == ALL, hex(place)
        store(guest, 8, place, 0)
    for size in (1, 2, 4, 8):
        for at in (0x10, 0x11, 0x12, 0x14, 0x18, 0x1c, 0x20, 0x800, 0x810, 0xc00, 0xc10, 0xc38,
                   0x1000, PAGE - size):
            if at % size == 0:
                load(guest, size, presenter + at)
    # Sizes that a page of sources does not have: the guest may get a machine check, nobody else.
    odd = [(size, at) for size in (1, 2, 4) for at in (first, last + PAGE - size)]
    # Across the end.
    odd += [(8, at) for at in (last + PAGE - 4, presenter + PAGE - 4, first - 4)]
    for size, at in odd:
        try:
            load(guest, size, at)
        except ProbeError as fault:
            assert "fault" in str(fault)
    assert guest.probe.run("echo alive") == "alive"


def test_wrong_arguments(start_xive) -> None:
    guest: ProbeGuest = start_xive()
    hcall = guest.probe.hcall
    for source in (CPUS, EPOW - 1, VTY + 1, 1 << 20, 1 << 32, ALL):
        for call in (GET_SOURCE_INFO, GET_SOURCE_CONFIG, ESB, SYNC):
            assert hcall(call, 0, source, GET)[0] == H_P2
        assert hcall(SET_SOURCE_CONFIG, 2, source, 0, PRIORITY, 1)[0] == H_P2
    # Before there is any queue: this must not reach KVM.
    for source in (0, 1, HOTPLUG):
        for priority in range(7):
            assert hcall(SET_SOURCE_CONFIG, 2, source, 0, priority, 1)[0] == H_P3
    for server in (2, 3, CPUS, 1 << 32, ALL):
        assert hcall(SET_SOURCE_CONFIG, 2, 0, server, PRIORITY, 1)[0] == H_P3
        assert hcall(SET_QUEUE_CONFIG, 1, server, PRIORITY, QUEUE, 16)[0] == H_P2
        assert hcall(GET_QUEUE_INFO, 0, server, PRIORITY)[0] == H_P2
    for priority in (7, 8, 0xfe, 0x100, ALL):
        assert hcall(SET_QUEUE_CONFIG, 1, 0, priority, QUEUE, 16)[0] == H_P3
        assert hcall(SET_SOURCE_CONFIG, 2, 0, 0, priority, 1)[0] == H_P4
    for place in (QUEUE + 8, 512 << 20, (512 << 20) - 0x8000, 16 << 40, ALL, ALL - 0xffff):
        assert hcall(SET_QUEUE_CONFIG, 1, 0, PRIORITY, place, 16)[0] == H_P4
    for size in (1, 12, 15, 17, 21, 24, ALL):
        assert hcall(SET_QUEUE_CONFIG, 1, 0, PRIORITY, QUEUE, size)[0] == H_P5
    for call in CALLS:
        assert hcall(call, 1 << 40)[0] == H_PARAMETER
    # The last page of memory, each priority, then off again.
    for priority in range(7):
        assert hcall(SET_QUEUE_CONFIG, 1, 0, priority, (512 << 20) - PAGE, 16)[0] == H_SUCCESS
        assert hcall(SET_SOURCE_CONFIG, 2, 0, 0, priority, 1)[0] == H_SUCCESS
        assert hcall(SET_QUEUE_CONFIG, 0, 0, priority, 0, 0)[0] == H_SUCCESS
        assert hcall(SET_SOURCE_CONFIG, 2, 0, 0, priority, 1)[0] == H_P3


def test_sweeps_of_arguments(start_xive) -> None:
    """Each call with each pattern of arguments that may lie at an edge: an answer, each time."""
    guest: ProbeGuest = start_xive()
    set_queue(guest, 0)
    for r4 in (0, 1, 2, ALL):
        for r5 in (0, CPUS, VTY, ALL):
            for r6 in (0, 1, 0xd00, ALL):
                for rest in (f"{PRIORITY:x} 1", f"{QUEUE + PAGE:x} 10"):
                    guest.probe.run(f"sweep {CALLS[0]:x} {CALLS[-1]:x} 4 0 {r4:x} {r5:x} {r6:x} {rest}")
    assert guest.probe.run("echo alive") == "alive"


def test_resets_while_processors_run(start_xive) -> None:
    """One CPU sets up and triggers while the other resets: KVM sees neither a queue that is gone nor an
    interrupt that is aimed nowhere."""
    guest: ProbeGuest = start_xive()
    probe = guest.probe
    rounds = 300
    assert probe.run("start 1") == "0"
    probe.run(f"crowd {rounds:x} 3 hcall {SET_QUEUE_CONFIG:x} 1 0 6 {QUEUE:x} 10 | "
              f"hcall {SET_SOURCE_CONFIG:x} 2 0 0 6 10 | hcall {RESET:x} 0 | "
              f"hcall {SET_SOURCE_CONFIG:x} 2 {VTY:x} 0 6 11 | hcall {ESB:x} 0 {VTY:x} c00")
    assert probe.hcall(RESET, 0)[0] == H_SUCCESS
    assert probe.hcall(GET_SOURCE_CONFIG, 0, 0)[1][1] == NEVER
    queue = set_queue(guest)
    aim(guest, 0, 0, 3)
    manage, trigger = pages(guest, 0)
    load(guest, 8, manage + SET_00)
    store(guest, 8, trigger, 0)
    assert entries(guest, queue, 0, 1) == [0x80000003]


def test_a_reset_of_the_machine_leaves_nothing(start_xive) -> None:
    guest: ProbeGuest = start_xive()
    set_queue(guest, 0)
    set_queue(guest, 1)
    aim(guest, 0, 0, 3)
    aim(guest, 1, 1, 3)
    aim(guest, VTY, 1, 4)
    guest.probe.hcall(ESB, 0, VTY, SET_00)
    guest.control.execute("system_reset")
    guest.probe.wait_note("probe ready")
    for source in (0, 1, VTY):
        assert guest.probe.hcall(GET_SOURCE_CONFIG, 0, source)[1][1] == NEVER
    for cpu in (0, 1):
        assert guest.probe.hcall(GET_QUEUE_INFO, 0, cpu, PRIORITY)[1][1] == 0
    manage, trigger = pages(guest, 0)
    assert load(guest, 8, manage + GET) in (1, 1 << 56)
    queue = set_queue(guest)
    store(guest, 8, trigger, 0)
    assert entries(guest, queue, 0, 1) == [0]
