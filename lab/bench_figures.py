# SPDX-License-Identifier: Apache-2.0
"""What lab/bench measures: a row in FIGURES and a function for each figure.

A function yields values as they are measured: name of the case, unit, whether more is better, VMM, value.
It interleaves the VMMs, so that the n-th values of a case are neighbours in time and make a pair.
"""
from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from bench_vmm import IOCTL, SYSCALLS, VMMS, BenchGuest, Calls, Disk, Vmm, make_image, slow_disk
from host_api import Host


class Value(NamedTuple):
    case: str
    unit: str
    more_is_better: bool
    vmm: str
    value: float


Values = Iterator[Value]
DISK_MIB = 48
CASE_MS = 700
COMMAND_BYTES = 48  # of what is typed for a load
# Of a disk: a file in the host's page cache, and a device of a known latency past it.
MODES = {"file": "vda", "device": "vdb"}
LOADS = [(mode, order, access, depth) for mode in MODES for access in ("read", "write")
         for order in ("seq", "rand") for depth in (1, 32)]


def chosen(names: Sequence[str]) -> list[Vmm]:
    return [vmm for vmm in VMMS if not names or vmm.name in names]


# --- disk ---------------------------------------------------------------------------------------


def load_command(mode: str, order: str, access: str, depth: int) -> str:
    return f"disk_load /dev/{MODES[mode]} {access} {order} {depth} {CASE_MS}".ljust(COMMAND_BYTES)


def numbers(text: str) -> dict[str, int]:
    return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", text)}


@contextlib.contextmanager
def disk_guests(host: Host, names: Sequence[str]) -> Iterator[list[BenchGuest]]:
    """A guest below each VMM, with a disk of each of MODES."""
    with contextlib.ExitStack() as stack:
        guests = []
        for vmm in chosen(names):
            disks = [Disk(make_image(host, vmm.name, DISK_MIB), direct=False),
                     Disk(slow_disk(host, vmm), direct=True)]
            guest = stack.enter_context(BenchGuest(host, vmm, disks))
            guest.ready()
            # No merging of neighbours: a request of the program's is one of the device's.
            guest.sh("for d in vda vdb; do echo 2 > /sys/block/$d/queue/nomerges; "
                     "echo none > /sys/block/$d/queue/scheduler; done")
            guests.append(guest)
            print(f"bench: {vmm.name} is up", file=sys.stderr)
        yield guests


def disk(host: Host, runs: int, names: Sequence[str]) -> Values:
    """4 KiB requests to a disk: throughput, latency, processor time of the VMM"""
    with disk_guests(host, names) as guests:
        for run in range(runs):
            print(f"bench: run {run + 1} of {runs}", file=sys.stderr)
            for case in LOADS:
                # Each begins as often as the others.
                for guest in guests[run % len(guests):] + guests[:run % len(guests)]:
                    yield from disk_times(guest, case)


def disk_calls(host: Host, _runs: int, names: Sequence[str]) -> Values:
    """The same load, counted once: returns from KVM_RUN, system calls and exits for a request"""
    with disk_guests(host, names) as guests:
        for case in LOADS:
            for guest in guests:
                yield from disk_counts(host, guest, case)


def disk_times(guest: BenchGuest, case: tuple[str, str, str, int]) -> Values:
    mode, order, access, depth = case
    name = f"{mode} {order} {access} {depth}"
    before = guest.threads()
    result = numbers(guest.sh(load_command(*case)))
    after = guest.threads()
    vcpus = guest.vcpus()
    spent = sum(ns - before.get(tid, ("", 0))[1] for tid, (_, ns) in after.items() if tid not in vcpus)
    yield Value(name + ": requests", "1/s", True, guest.vmm.name, result["requests"] * 1e9 / result["ns"])
    yield Value(name + ": latency, median", "us", False, guest.vmm.name, result["p50"] / 1000)
    yield Value(name + ": latency, 99 %", "us", False, guest.vmm.name, result["p99"] / 1000)
    yield Value(name + ": CPU outside the guest", "us/request", False, guest.vmm.name,
                spent / 1000 / result["requests"])


def disk_counts(host: Host, guest: BenchGuest, case: tuple[str, str, str, int]) -> Values:
    """A load with system calls counted. Of the vCPU's thread an idle time is taken off that is as long, and whose
    command and output are: each 16 bytes of the console are a call of the guest's."""
    mode, order, access, depth = case
    vcpus, name = guest.vcpus(), f"{mode} {order} {access} {depth}"
    with Calls(host) as calls:
        threads = guest.threads().keys()
        exits = guest.exits()
        first = calls.read()
        text = guest.sh(load_command(*case))
        second = calls.read()
        exits_after = guest.exits()
        threads |= guest.threads().keys()
        guest.sh(f"usleep {CASE_MS * 1000}; printf %0{len(text)}d 0".ljust(COMMAND_BYTES))
        third = calls.read()
    result = numbers(text)
    by_call: dict[str, float] = {}
    runs = 0
    for (tid, number), count in second.items():
        if tid not in threads:
            continue
        busy = count - first.get((tid, number), 0)
        if tid in vcpus and number == IOCTL:
            idle = third.get((tid, number), 0) - count
            runs += busy - idle
        call = SYSCALLS.get(number, str(number))
        if tid in vcpus:
            call = "vCPU " + call
        by_call[call] = by_call.get(call, 0) + busy / result["requests"]
    yield Value(name + ": requests counted", "", True, guest.vmm.name, result["requests"])
    yield Value(name + ": returns from KVM_RUN beyond an idle guest's", "", False, guest.vmm.name, runs)
    for call, share in sorted(by_call.items()):
        if share >= 0.01:
            yield Value(f"{name}: calls, {call}", "1/request", False, guest.vmm.name, share)
    for kind, count in exits_after.items():
        if (share := (count - exits.get(kind, 0)) / result["requests"]) >= 0.01:
            yield Value(f"{name}: KVM {kind}", "1/request", False, guest.vmm.name, share)


# --- memory of a disk -----------------------------------------------------------------------------


def disk_memory(host: Host, runs: int, names: Sequence[str]) -> Values:
    """What each further disk takes beyond guest memory: at rest, and after 32 requests at once on it"""
    images = [make_image(host, f"memory-{i}", 4) for i in range(9)]
    for _ in range(runs):
        for vmm in chosen(names):
            sums: dict[tuple[int, str], dict[str, int]] = {}
            for count in (1, 9):
                with BenchGuest(host, vmm, [Disk(image, False) for image in images[:count]]) as guest:
                    guest.ready()
                    sums[count, "at rest"] = guest.memory()
                    guest.sh("for d in /dev/vd?; do disk_load $d read rand 32 200; done")
                    sums[count, "after requests"] = guest.memory()
            for when in ("at rest", "after requests"):
                for kind in ("rss", "anonymous"):
                    yield Value(f"per disk, {when}: {kind}", "KiB", False, vmm.name,
                                (sums[9, when][kind] - sums[1, when][kind]) / 8)


# --- start ----------------------------------------------------------------------------------------


def start(host: Host, runs: int, names: Sequence[str]) -> Values:
    """From exec to the shell of a guest with one disk"""
    image = make_image(host, "start", 4)
    for _ in range(runs):
        for vmm in chosen(names):
            with BenchGuest(host, vmm, [Disk(image, False)]) as guest:
                yield Value("exec to shell", "s", False, vmm.name, guest.ready())


FIGURES: dict[str, Callable[[Host, int, Sequence[str]], Values]] = {
    "disk": disk, "disk-calls": disk_calls, "disk-memory": disk_memory, "start": start}
