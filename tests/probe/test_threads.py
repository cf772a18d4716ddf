# SPDX-License-Identifier: Apache-2.0
"""Cores of several threads: the guest starts and stops each thread, and a core is added and removed
with all of them.

A Linux guest with such cores needs msgsndp, which the emulated host does not have
(docs/known-problems.md); the probe does not use it."""

from __future__ import annotations

import pytest

from guest import CommandError, state_of
from probe import CPU, TAKE, ProbeGuest

H_EOI, H_CPPR, H_IPI, H_XIRR = 0x64, 0x68, 0x6c, 0x74
IPI = 2  # the source number of IPIs

CORES = pytest.mark.parametrize("threads, endian", [(2, "le"), (4, "be"), (8, "le")])


def start_cores(start_probe, threads: int, endian: str) -> ProbeGuest:
    """Core 0 with its first thread running, and two more places; the guest takes added cores."""
    guest: ProbeGuest = start_probe(cpus=f"boot={threads},max={3 * threads},threads={threads}",
                                    endian=endian)
    guest.probe.play("linux")
    return guest


def threads_of(guest: ProbeGuest, first: int) -> list[tuple[int, str]]:
    return [(vcpu["id"], vcpu["state"]) for vcpu in guest.control.connector(first)["vcpus"]]


def all_are(state: str, first: int, threads: int) -> list[tuple[int, str]]:
    return [(thread, state) for thread in range(first, first + threads)]


def start_threads(guest: ProbeGuest, threads: range) -> None:
    for thread in threads:
        assert guest.probe.do(thread, "start query") == {"start": 0, "query": 2}


def check_works(guest: ProbeGuest, thread: int) -> None:
    """The thread runs commands, and is interrupted by its own number only."""
    probe = guest.probe
    assert probe.run(f"on {thread:x} echo {thread}") == str(thread)
    assert probe.hcall(H_CPPR, 0xff, on=thread)[0] == 0
    assert probe.hcall(H_XIRR, on=thread)[1][0] & 0xffffff == 0
    assert probe.hcall(H_IPI, thread, 4)[0] == 0
    xirr = probe.hcall(H_XIRR, on=thread)[1][0]
    assert xirr & 0xffffff == IPI
    assert probe.hcall(H_IPI, thread, 0xff)[0] == 0
    assert probe.hcall(H_EOI, xirr, on=thread)[0] == 0
    assert probe.hcall(H_XIRR, on=thread)[1][0] & 0xffffff == 0


def stop_part(first: int, threads: range) -> str:
    """Release the core, after stopping the threads in that range."""
    stops = " ".join(f"@{CPU + thread:x} stop" for thread in threads)
    return f"sense {stops} @{CPU + first:x} isolate unusable"


@CORES
def test_added_started_refused_released_and_added_again(start_probe, threads: int,
                                                        endian: str) -> None:
    guest = start_cores(start_probe, threads, endian)
    first = threads  # a core's id is that of its first thread
    start_threads(guest, range(1, threads))
    assert threads_of(guest, 0) == all_are("running", 0, threads)
    for _ in range(2):
        assert guest.add(first)["outcome"] == "done"
        # The probe starts the first thread at once, the others later.
        assert threads_of(guest, first) == [(first, "running")] + all_are(
            "stopped", first + 1, threads - 1)
        start_threads(guest, range(first + 1, first + threads))
        assert threads_of(guest, first) == all_are("running", first, threads)
        for thread in range(first, first + threads):
            check_works(guest, thread)
        # All run, and the guest refuses to release them.
        guest.probe.play("refuses")
        before = state_of(guest, first)
        refused = guest.remove(first)
        assert refused["outcome"] == "rejected"
        assert refused["evidence"]["threads-running"] == threads
        assert refused["evidence"]["threads"] == threads
        assert state_of(guest, first) == before
        for thread in range(first, first + threads):
            assert guest.probe.run(f"on {thread:x} echo {thread}") == str(thread)
        # It stops them one after the other, and releases the core.
        guest.probe.play("linux")
        guest.probe.run("plan remove " + stop_part(first, range(first, first + threads)))
        removed = guest.remove(first)
        assert (removed["outcome"], removed["evidence"]["threads-running"]) == ("done", 0)
        guest.probe.wait_note("hotplug remove")
        assert threads_of(guest, first) == all_are("absent", first, threads)
        for thread in range(first, first + threads):
            assert guest.probe.do(thread, "start") == {"start": -3}
    # The other core is not affected.
    assert threads_of(guest, 0) == all_are("running", 0, threads)
    for thread in range(1, threads):
        check_works(guest, thread)


@CORES
def test_released_with_some_threads_running(start_probe, threads: int, endian: str) -> None:
    guest = start_cores(start_probe, threads, endian)
    first = threads
    assert guest.add(first)["outcome"] == "done"
    start_threads(guest, range(first + 1, first + threads))
    # The guest has released the core, so its other threads are stopped.
    guest.probe.run("plan remove " + stop_part(first, range(first, first + 1)))
    removed = guest.remove(first)
    assert (removed["outcome"], removed["evidence"]["threads-running"]) == ("done", threads - 1)
    assert guest.add(first)["outcome"] == "done"
    assert threads_of(guest, first)[1:] == all_are("stopped", first + 1, threads - 1)
    start_threads(guest, range(first + 1, first + threads))
    for thread in range(first, first + threads):
        check_works(guest, thread)


@CORES
def test_reset_with_all_threads_running(start_probe, threads: int, endian: str) -> None:
    guest = start_cores(start_probe, threads, endian)
    first = threads
    start_threads(guest, range(1, threads))
    assert guest.add(first)["outcome"] == "done"
    start_threads(guest, range(first + 1, first + threads))
    for _ in range(2):
        guest.control.execute("system_reset")
        guest.probe.wait_note("probe ready")
        # An added core stays; one thread of the machine runs.
        assert threads_of(guest, 0) == [(0, "running")] + all_are("stopped", 1, threads - 1)
        assert threads_of(guest, first) == all_are("stopped", first, threads)
        start_threads(guest, range(1, 2 * threads))
        check_works(guest, 2 * threads - 1)


def test_only_a_first_thread_is_a_cores_name(start_probe) -> None:
    guest = start_cores(start_probe, 4, "le")
    for core_id in (1, 5, 6, 7):
        with pytest.raises(CommandError, match="multiple of 4"):
            guest.ask_add(core_id)
    # Nor do the others have connectors.
    assert guest.probe.do(5, TAKE.replace("start", "query"))["usable"] == -3
    assert guest.add(4)["outcome"] == "done"


def test_two_cores_of_four_threads_at_work(start_probe) -> None:
    """Each thread interrupts another, then all call at once."""
    guest: ProbeGuest = start_probe(cpus="boot=8,max=8,threads=4")
    start_threads(guest, range(1, 8))
    probe = guest.probe
    for thread in range(1, 8):
        check_works(guest, thread)
    for sender in range(8):
        receiver = sender % 7 + 1
        assert probe.hcall(H_IPI, receiver, 4, on=sender)[0] == 0
        xirr = probe.hcall(H_XIRR, on=receiver)[1][0]
        assert xirr & 0xffffff == IPI
        probe.hcall(H_IPI, receiver, 0xff, on=receiver)
        probe.hcall(H_EOI, xirr, on=receiver)
    answer = probe.run("crowd 40 ff get-time-of-day 8 | hcall 31c 0 3")
    assert sum(int(item.partition("=")[2]) for item in answer.split()) == 0x40 * 8
