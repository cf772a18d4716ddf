# SPDX-License-Identifier: Apache-2.0
"""The machine as a whole: all vCPUs busy or all stopped, and stop, reset and end by the operator in
the middle of calls."""

from __future__ import annotations

import time

from guest import DEADLINE
from probe import CPU, ISOLATION, RAM, ProbeGuest

# Conflicting and slow calls: modes of all vCPUs, the process table, events, the clock.
BUSY = " | ".join([
    "hcall 31c 3 3", "hcall 31c 0 3", "hcall 37c 1d 2000000 0 4", "hcall 37c 10",
    "check-exception 1 500 0 f0000000 1 @ 800", "get-time-of-day 8",
    f"set-indicator 1 {ISOLATION:x} {CPU + 1:x} 1", "hcall e4 ffffffffffffffff 0",
])


def busy(guest: ProbeGuest, rounds: int, calls: str = BUSY) -> None:
    """Make all four vCPUs call, and wait until they have begun: the console is slower than the
    control socket."""
    before = guest.control.execute("query-metrics")["rtas-calls"]
    guest.probe.send(f"crowd {rounds:x} f {calls}")
    deadline = time.monotonic() + DEADLINE
    while guest.control.execute("query-metrics")["rtas-calls"] < before + 50:
        assert time.monotonic() < deadline


def start_all(guest: ProbeGuest, count: int) -> None:
    for core_id in range(1, count):
        assert guest.probe.do(core_id, "start") == {"start": 0}


def test_modes_changed_by_all_at_once(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=4,max=4")
    start_all(guest, 4)
    answer = guest.probe.run(f"crowd 80 f {BUSY}")
    counts = dict(item.split("=") for item in answer.split())
    assert sum(map(int, counts.values())) == 0x80 * 4
    for call in range(4):
        assert int(counts[f"{call}:0"]) == 0x80 * 4 // 8, answer
    assert guest.probe.run("on 3 echo alive") == "alive"


def test_stopped_and_continued_in_the_middle(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=4,max=4")
    start_all(guest, 4)
    busy(guest, 0x80)
    turns = 0
    while not guest.probe.answered():
        guest.control.execute("stop")
        assert guest.control.execute("query-status")["status"] == "paused"
        guest.control.execute("cont")
        turns += 1
    answer = guest.probe.answer()
    assert sum(int(item.partition("=")[2]) for item in answer.split()) == 0x80 * 4
    assert turns > 0
    assert guest.control.execute("query-status")["status"] == "running"


def test_reset_in_the_middle(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=4,max=5")
    for _ in range(5):
        start_all(guest, 4)
        busy(guest, 0x100000)
        operation = guest.ask_remove(2)
        guest.control.execute("system_reset")
        guest.probe.wait_note("probe ready")
        assert guest.control.wait_end(operation)["outcome"] in ("superseded", "rejected")
        guest.probe.play("linux")
        if not guest.control.connector(2)["attached"]:
            assert guest.add(2)["outcome"] == "done"
            guest.probe.do(2, "stop")
        guest.probe.play("silent")
    assert guest.probe.run("echo alive") == "alive"


def test_ended_in_the_middle(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=4,max=4")
    start_all(guest, 4)
    busy(guest, 0x100000)
    guest.control.execute("quit")
    assert guest.wait_exit() == 0


def test_all_power_off_and_reboot_at_once(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=4,max=4")
    start_all(guest, 4)
    guest.probe.send("crowd 10 f power-off 1 0 0 | system-reboot 1")
    # Depending on the order, the machine has ended or been reset.
    event = next_of(guest, ("SHUTDOWN", "RESET"))
    if event == "SHUTDOWN":
        assert guest.wait_exit() == 0
    else:
        guest.probe.wait_note("probe ready")
        assert guest.probe.run("echo alive") == "alive"


def next_of(guest: ProbeGuest, names: tuple[str, ...]) -> str:
    """The name of the first of these events, received or to come; the connection may end with it."""
    while True:
        seen = [event["event"] for event in guest.control.events if event["event"] in names]
        if seen:
            return seen[0]
        try:
            guest.control.execute("query-version")
        except EOFError:
            assert any(event["event"] in names for event in guest.control.events)


def states_become(guest: ProbeGuest, expected: list[str]) -> bool:
    """Query until the vCPUs are in those states."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        if [cpu["state"] for cpu in guest.control.execute("query-cpus-fast")] == expected:
            return True
    return False


def test_a_guest_without_a_running_vcpu(start_probe) -> None:
    """All vCPUs have called stop-self, and none can be started. The operator's requests work."""
    guest: ProbeGuest = start_probe("--unplug-deadline", "1", cpus="boot=2,max=3")
    guest.probe.send("rtas stop-self 1")
    assert states_become(guest, ["stopped", "stopped"])
    operation = guest.ask_remove(1)
    assert guest.control.wait_step(operation, "unresolved")["phase"] == "notified"
    added = guest.ask_add(2)
    guest.control.execute("operation-cancel", id=added)
    assert guest.control.wait_end(added)["outcome"] == "cancelled"
    assert states_become(guest, ["stopped", "stopped"])
    guest.control.execute("system_reset")
    guest.probe.wait_note("probe ready")
    assert guest.control.wait_end(operation)["outcome"] == "superseded"
    assert guest.probe.run("echo alive") == "alive"


def test_a_parked_vcpu_writes_no_memory(start_probe) -> None:
    """KVM does not write to areas that a vCPU had registered (VPA, dispatch log, SLB shadow) after
    its core is removed, nor when the vCPU is started again."""
    guest: ProbeGuest = start_probe(cpus="boot=2,max=2")
    probe = guest.probe
    probe.do(1, "start")
    probe.fill(RAM, 0x3000, 0)
    vpa, shadow, log = RAM, RAM + 0x1000, RAM + 0x2000
    for address, size in ((vpa, 0x280), (shadow, 0x80), (log, 0x300)):
        probe.write(address + 4, size.to_bytes(2 if address == vpa else 4, "big"))
    # H_REGISTER_VPA: the flags select the area.
    for flags, address in ((1, vpa), (3, shadow), (2, log)):
        assert probe.hcall(0xdc, flags << 45, 1, address, on=1)[0] == 0
    assert probe.run("on 1 echo alive") == "alive"
    probe.play("linux")
    assert guest.remove(1)["outcome"] == "done"
    probe.fill(RAM, 0x3000, 0x5a)
    assert guest.add(1)["outcome"] == "done"
    assert probe.run("on 1 echo alive") == "alive"
    assert probe.same(RAM, 0x3000, 0x5a)
