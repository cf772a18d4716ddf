# SPDX-License-Identifier: Apache-2.0
"""Endurance: a stock Linux guest whose cores and memory are added and removed many times, and an idle
guest.

A cycle is one core added and removed. A round is two cycles at the same time: both cores, and in every
other round a block of memory, are requested before any has answered. In every fifth round, so in every tenth cycle, the guest has its
CPU 0 offline when both cores are removed: it releases one and must refuse the other, which has its
last CPU. Meanwhile clients connect to the control socket and die on it (rude_clients.c).

After the 100th cycle, every 200 cycles from there, and after the last, the resources of the process
are sampled while no request is pending and no other client is connected. They must not change:
Sample.flat_with().

PAPRIKA_SOAK_CYCLES is the number of cycles, default 300.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

import guest_memory
from guest import DEADLINE, Guest, state_of
from host_api import Host

CYCLES = int(os.environ.get("PAPRIKA_SOAK_CYCLES") or 300)
PER_ROUND = 2
REFUSED_EVERY = 10  # cycles
SAMPLE_FIRST, SAMPLE_EVERY = 100, 200  # cycles: 100, 300, 500, ... and the last
# Longer than the longest known polling period: Linux's event-scan, libev's check of the clock (59.7 s).
IDLE_SECONDS = 70
# Linux calls event-scan with this period, on each CPU in turn. An idle guest makes no other call.
SCAN_SECONDS = 30
MEMORY = "size=512M,max=1G"
BLOCK = 2  # the first behind the boot memory
GUEST_RAM_KB = 512 << 10
HEAP_TOP_KB = 128 + 128
REMEMBERED_MAX = 256  # operations; docs/protocol.md


# --- Samples ------------------------------------------------------------------------------


@dataclass
class Sample:
    cycle: int
    seconds: float
    descriptors: int
    threads: int
    resident_kb: int  # all but the guest's RAM, and its hash table
    anonymous_kb: int
    pending: int
    remembered: int
    mappings: dict[str, int]  # KiB resident, by the first line of each in smaps

    HEAD = ("  cycle  seconds  descriptors  threads  resident KiB  of it anonymous  pending  "
            "remembered")

    def flat_with(self, first: Sample) -> bool:
        """Equal, except for memory that malloc may keep at the top of the heap: it releases that only
        above 128 KiB, and requests 128 KiB more than it needs. (A leak of 300 bytes a cycle fails
        1,000 cycles, one of 30 bytes 10,000.)"""
        return (self.descriptors, self.threads, self.pending) == (
            first.descriptors, first.threads, 0) and (
            self.resident_kb <= first.resident_kb + HEAP_TOP_KB) and (
            self.remembered <= REMEMBERED_MAX)

    def grown_since(self, first: Sample) -> str:
        """The mappings that differ, for the message of a failure."""
        return "\n".join(f"{name}: {first.mappings.get(name, 0)} -> {self.mappings.get(name, 0)}"
                         for name in sorted(first.mappings | self.mappings)
                         if first.mappings.get(name) != self.mappings.get(name))

    def __str__(self) -> str:
        return (f"{self.cycle:7} {self.seconds:8.0f} {self.descriptors:12} {self.threads:8} "
                f"{self.resident_kb:13} {self.anonymous_kb:16} {self.pending:8} "
                f"{self.remembered:11}")


def process_id(guest: Guest) -> int:
    """The process id, found by the control socket in the command line."""
    found = guest.host.run(["sh", "-c", f"grep -l {guest.control_path} /proc/[0-9]*/cmdline"])
    for name in found.stdout.decode().split():
        pid = int(name.split("/")[2])
        comm = guest.host.run(["cat", f"/proc/{pid}/comm"]).stdout.strip()
        if comm == b"paprika":
            return pid
    raise AssertionError("no paprika with that control socket")


def all_operations(guest: Guest) -> list[dict[str, Any]]:
    """All operations, in several requests."""
    found: list[dict[str, Any]] = []
    while page := guest.control.execute(
            "query-operations", start=found[-1]["id"] + 1 if found else 1, count=32):
        found += page
    return found


def hash_table_kb(guest: Guest) -> int:
    """The size of the guest's hash page table, 0 if it has none. With kvm-pr it is memory of the process,
    aligned to its size, which the guest fills as it likes."""
    size = guest.sh("cat /proc/device-tree/cpus/*/ibm,pft-size 2> /dev/null | "
                    "hexdump -v -n 8 -e '8/1 \"%02x\"'")
    return 1 << int(size, 16) >> 10 if size else 0


def take_sample(guest: Guest, pid: int, cycle: int, seconds: float, table_kb: int) -> Sample:
    # Each answer is one turn of the server's loop, in which it also notices closed connections.
    guest.control.execute("query-status")
    operations = all_operations(guest)
    text = guest.host.run(
        ["sh", "-c", "cd /proc/$0 && ls fd | wc -l && ls task | wc -l && cat smaps", str(pid)],
        check=True).stdout.decode()
    descriptors, threads, smaps = text.split("\n", 2)
    resident = anonymous = 0
    mappings: dict[str, int] = {}
    for mapping in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", smaps, flags=re.MULTILINE):
        kb = {name: int(value) for name, value in re.findall(r"^(\w+): +(\d+) kB", mapping, re.M)}
        is_table = table_kb and kb and (kb["Size"], int(mapping.split("-")[0], 16) % (table_kb << 10)) == (
            table_kb, 0)
        # With a block that has been there, the guest's RAM is one larger mapping.
        if kb and kb["Size"] < GUEST_RAM_KB and not is_table:
            resident += kb["Rss"]
            anonymous += kb["Anonymous"]
            mappings[mapping.split("\n", 1)[0]] = kb["Rss"]
    return Sample(cycle, seconds, int(descriptors), int(threads), resident, anonymous,
                  sum(op["outcome"] == "pending" for op in operations), len(operations), mappings)


# --- Requests and outcomes -----------------------------------------------------------------


@dataclass
class Books:
    """Checks every event."""

    guest: Guest
    last_id: int = 0
    asked: dict[int, tuple[str, str]] = field(default_factory=dict)  # not ended: kind, device
    ended: dict[int, dict[str, Any]] = field(default_factory=dict)  # not fetched by end_of()
    deleted: list[str] = field(default_factory=list)  # DEVICE_DELETED received, not yet settled
    refused: list[str] = field(default_factory=list)
    outcomes: dict[tuple[str, str], int] = field(default_factory=dict)
    unresolved: int = 0

    def ask(self, kind: str, core_id: int) -> int:
        number = (self.guest.ask_add if kind == "add" else self.guest.ask_remove)(core_id)
        assert number > self.last_id, f"operation {number} after {self.last_id}"
        self.last_id = number
        self.asked[number] = (kind, f"core{core_id}")
        return number

    def ask_memory(self, kind: str) -> int:
        [number] = self.guest.ask_memory(BLOCK + (kind == "add"))
        assert number > self.last_id, f"operation {number} after {self.last_id}"
        self.last_id = number
        self.asked[number] = (kind, f"memory{BLOCK}")
        return number

    def read(self) -> None:
        event = self.guest.control.next_event()
        name, data = event["event"], event["data"]
        if name == "DEVICE_DELETED":
            self.deleted.append(data["device"])
        elif name == "DEVICE_UNPLUG_GUEST_ERROR":
            self.refused.append(data["device"])
        else:
            assert name == "OPERATION", event
            self.step(data["step"], data["operation"])

    def step(self, step: str, operation: dict[str, Any]) -> None:
        number = operation["id"]
        if step == "started":  # the CPU of an add runs; may come after the end
            return
        # This also excludes a step after the end and a second end.
        assert self.asked.get(number) == (operation["kind"], operation["device"]), operation
        self.unresolved += step == "unresolved"
        if step == "ended":
            del self.asked[number]
            self.ended[number] = operation
            what = (operation["kind"], operation["outcome"])
            self.outcomes[what] = self.outcomes.get(what, 0) + 1

    def end_of(self, number: int) -> str:
        """Wait for the end, and for the QMP event that belongs to it."""
        while number not in self.ended:
            self.read()
        operation = self.ended.pop(number)
        told = {("remove", "done"): self.deleted, ("remove", "rejected"): self.refused}.get(
            (operation["kind"], operation["outcome"]))
        if told is not None:
            while operation["device"] not in told:
                self.read()
            told.remove(operation["device"])
        return operation["outcome"]

    def all(self, kind: str, order: tuple[int, int], memory: bool = False) -> list[str]:
        """Request both cores, and the block, then wait; returns the outcomes."""
        numbers = [self.ask(kind, core_id) for core_id in order]
        if memory:
            numbers.append(self.ask_memory(kind))
        return [self.end_of(number) for number in numbers]

    def summary(self) -> str:
        return ", ".join(f"{kind} {outcome}: {count}"
                         for (kind, outcome), count in sorted(self.outcomes.items())
                         ) + f"; reported unresolved meanwhile: {self.unresolved}"

    def settled(self) -> None:
        assert (self.asked, self.ended, self.deleted, self.refused) == ({}, {}, [], [])
        assert self.guest.control.events == []


def plain_round(books: Books, order: tuple[int, int]) -> None:
    assert books.all("add", order) == ["done"] * 2
    assert books.all("remove", order) == ["done"] * 2


def memory_round(books: Books, order: tuple[int, int]) -> None:
    assert books.all("add", order, memory=True) == ["done"] * 3
    assert books.all("remove", order, memory=True) == ["done"] * 3


def refused_round(books: Books, order: tuple[int, int]) -> None:
    guest = books.guest
    assert books.all("add", order) == ["done"] * 2
    guest.wait_online("0-2")
    guest.set_online(0, False)
    before = {core_id: state_of(guest, core_id) for core_id in order}
    outcomes = books.all("remove", order)
    assert sorted(outcomes) == ["done", "rejected"], outcomes
    kept = order[outcomes.index("rejected")]
    assert state_of(guest, kept) == before[kept]
    guest.set_online(0, True)
    assert books.end_of(books.ask("remove", kept)) == "done"


# --- The idle guest ------------------------------------------------------------------------


@dataclass
class Wakes:
    """Context switches of each thread, as counted by the host."""

    loop: int
    vcpus: int
    uptime: float

    @staticmethod
    def of(guest: Guest, pid: int) -> Wakes:
        text = guest.host.run(
            ["sh", "-c", "cat /proc/uptime; cd /proc/$0/task; for task in *; do cat $task/comm; "
             "grep ctxt_switches $task/status; done", str(pid)], check=True).stdout.decode()
        switches = {"loop": 0, "vcpu": 0}
        for name, voluntary, other in re.findall(
                r"^(\S+)\nvoluntary\S+\s+(\d+)\nnonvoluntary\S+\s+(\d+)$", text, re.M):
            kind = "vcpu" if re.fullmatch(r"vcpu\d+", name) else "loop"
            switches[kind] += int(voluntary) + int(other)
        assert all(switches.values()), text
        return Wakes(switches["loop"], switches["vcpu"], float(text.split()[0]))


@dataclass
class Idle:
    """An idle guest, and its counts when it became idle."""

    guest: Guest
    pid: int
    guest_uptime: float
    exits: int
    calls: int
    wakes: Wakes

    @staticmethod
    def begin(guest: Guest) -> Idle:
        guest.wait_ready()
        pid, uptime = process_id(guest), guest_uptime(guest)
        # Wait until the start has settled; a query of the exits wakes the loop, too.
        at_rest(guest, lambda: metric(guest, "guest-exits"))
        exits, calls = metric(guest, "guest-exits"), metric(guest, "rtas-calls")
        at_rest(guest, lambda: Wakes.of(guest, pid).loop)
        return Idle(guest, pid, uptime, exits, calls, Wakes.of(guest, pid))


def at_rest(guest: Guest, count: Callable[[], int]) -> int:
    """A count that has not changed for a second."""
    last = count()
    for _ in range(int(DEADLINE)):
        guest.host.run(["sleep", "1"], check=True)
        before, last = last, count()
        if last == before:
            return last
    raise AssertionError(f"never at rest: {last}")


def guest_uptime(guest: Guest) -> float:
    return float(guest.sh("cat /proc/uptime").split()[0])


def metric(guest: Guest, name: str) -> int:
    return guest.control.execute("query-metrics")[name]


# --- The tests -----------------------------------------------------------------------------


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Callable[[object], None]:
    """Print, also without a failure: the measurements are results of this test."""
    def show_line(line: object) -> None:
        with capsys.disabled():
            print(line, flush=True)
    return show_line


@pytest.fixture(scope="module")
def idle(host: Host) -> Iterator[Idle]:
    """The guest is idle while the other test runs, which takes minutes."""
    with Guest(host, cpus="boot=2,max=3", memory="256M") as guest:
        yield Idle.begin(guest)


def test_cycles(host: Host, idle: Idle, show: Callable[[object], None]) -> None:
    assert CYCLES % SAMPLE_FIRST == 0 and CYCLES > SAMPLE_FIRST, "cycles come in hundreds"
    samples: list[Sample] = []
    blocks = 0  # added and removed
    with (Guest(host, cpus="boot=1,max=3", memory=MEMORY,
                append=f"console=hvc0 quiet {guest_memory.MOVABLE}") as guest,
          host.popen(["rude_clients", guest.control_path]) as rude):
        guest.wait_ready()
        pid, books, begin = process_id(guest), Books(guest), time.monotonic()
        table_kb = hash_table_kb(guest)
        show(f"\n{Sample.HEAD}")
        for cycle in range(PER_ROUND, CYCLES + 1, PER_ROUND):
            rude.write(b"g")
            order = (1, 2) if cycle % (2 * PER_ROUND) else (2, 1)
            rounds = memory_round if cycle % (2 * PER_ROUND) else plain_round
            (rounds if cycle % REFUSED_EVERY else refused_round)(books, order)
            blocks += cycle % REFUSED_EVERY > 0 and cycle % (2 * PER_ROUND) > 0
            books.settled()
            if cycle % SAMPLE_EVERY == SAMPLE_FIRST or cycle == CYCLES:
                rude.write(b"q")
                clients = rude.stdout.readline(DEADLINE).decode().strip()
                samples.append(take_sample(guest, pid, cycle, time.monotonic() - begin, table_kb))
                show(samples[-1])
        show(f"operations: {books.summary()}")
        show(f"other clients: {clients}")
        connections, killed, cut_off = map(int, re.findall(r"\d+", clients))
        assert connections > CYCLES and killed > CYCLES // 10 and cut_off >= len(samples) - 2
        assert books.outcomes == {("add", "done"): CYCLES + blocks,
                                  ("remove", "done"): CYCLES + blocks,
                                  ("remove", "rejected"): CYCLES // REFUSED_EVERY}
        for sample in samples:
            assert sample.flat_with(samples[0]), f"{sample}\n{sample.grown_since(samples[0])}"
        assert guest.online() == "0"
        guest.control.execute("quit")
        assert (guest.wait_exit(), guest.left_behind()) == (0, [])


def test_idle(idle: Idle, show: Callable[[object], None]) -> None:
    guest = idle.guest
    passed = Wakes.of(guest, idle.pid).uptime - idle.wakes.uptime
    if passed < IDLE_SECONDS:
        guest.host.run(["sleep", str(int(IDLE_SECONDS - passed) + 1)], timeout=2 * IDLE_SECONDS)
    wakes = Wakes.of(guest, idle.pid)
    exits = metric(guest, "guest-exits") - idle.exits
    calls = metric(guest, "rtas-calls") - idle.calls
    seconds, loop = wakes.uptime - idle.wakes.uptime, wakes.loop - idle.wakes.loop
    lived = guest_uptime(guest) - idle.guest_uptime
    show(f"\nidle for {seconds:.0f} s (the guest says {lived:.0f}): the loop woke {loop} times, "
         f"the vCPUs left the guest {exits} times, {calls} of them for event-scan; inside KVM they slept and woke "
         f"{wakes.vcpus - idle.wakes.vcpus} times for the guest's own timers")
    assert lived >= seconds >= IDLE_SECONDS
    assert wakes.vcpus > idle.wakes.vcpus  # it was not stopped
    assert loop == 0
    # Only event-scan, and not more often than its period.
    assert exits == calls <= seconds // SCAN_SECONDS + 1
