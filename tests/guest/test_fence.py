# SPDX-License-Identifier: Apache-2.0
"""The fence with stock kernels: what they do not answer ends `rejected`, with the fence as evidence;
what they are at work on stays pending; and nothing else in the guest looks like its answer.

PAPRIKA_REFUSALS is the number of refusals in a row, PAPRIKA_FENCE_TURNS that of the cores added and
removed while root in the guest makes requests of its own."""

from __future__ import annotations

import os
from typing import Any

import guest_memory
from guest import Guest, state_of
from guest_memory import KERNEL_ZONE, MOVABLE

REFUSALS = int(os.environ.get("PAPRIKA_REFUSALS", "5"))
TURNS = int(os.environ.get("PAPRIKA_FENCE_TURNS", "6"))
QUIET = "console=hvc0 quiet loglevel=1"
EBUSY, ENOMEM = -16, -12


def memory_guest(start, policy: str, *options: str, size: str = "size=512M,max=2G") -> Guest:
    guest: Guest = start(*options, memory=size, append=f"{QUIET} {policy}")
    guest.wait_ready()
    return guest


def outcome(operation: dict[str, Any]) -> tuple[str, str]:
    return operation["outcome"], operation["evidence"]["source"]


def fences(guest: Guest) -> tuple[int, int]:
    metrics = guest.control.execute("query-metrics")
    return metrics["fences-sent"], metrics["fences-answered"]


def test_memory_that_cannot_go_offline(start) -> None:
    guest = memory_guest(start, MOVABLE)
    assert [outcome(op)[0] for op in guest.set_memory(3)] == ["done"]
    total = guest_memory.total_kib(guest)
    for turn in range(REFUSALS):
        guest_memory.inject(guest, "MEM_GOING_OFFLINE", EBUSY)
        [refused] = guest.set_memory(2)
        # The kernel says nothing about it.
        assert outcome(refused) == ("rejected", "fence"), refused
        assert refused["evidence"]["phase"] == "fetched"
        assert not refused["unresolved"]
        assert guest_memory.online(guest) == [0, 1, 2]
        assert guest_memory.total_kib(guest) == total
        # Once the fault is lifted, the same works.
        guest_memory.inject(guest, "MEM_GOING_OFFLINE", 0)
        [removed] = guest.set_memory(2)
        assert outcome(removed) == ("done", "guest"), removed
        assert [outcome(op)[0] for op in guest.set_memory(3)] == ["done"]
        print(f"refusal {turn + 1} of {REFUSALS}: {refused['evidence']['elapsed-ms']} ms")
    sent, answered = fences(guest)
    assert sent == answered >= REFUSALS


def test_memory_that_cannot_come_online(start) -> None:
    guest = memory_guest(start, MOVABLE)
    guest_memory.inject(guest, "MEM_GOING_ONLINE", ENOMEM)
    [refused] = guest.set_memory(3)
    # Here the kernel gives the block back.
    assert outcome(refused) == ("rejected", "guest"), refused
    assert guest.control.block(2) is None
    guest_memory.inject(guest, "MEM_GOING_ONLINE", 0)
    assert [outcome(op)[0] for op in guest.set_memory(3)] == ["done"]
    assert guest_memory.online(guest) == [0, 1, 2]


def test_memory_with_pages_of_the_kernel(start) -> None:
    guest = memory_guest(start, KERNEL_ZONE)
    guest.set_memory(3)
    filling = guest_memory.fill(guest, "kernel", 2, 2)
    [refused] = guest.set_memory(2)
    assert outcome(refused) == ("rejected", "fence"), refused
    assert guest_memory.online(guest) == [0, 1, 2]
    guest_memory.give_back(guest, filling)


def test_a_dimm_of_which_one_block_cannot_go(start) -> None:
    guest = memory_guest(start, KERNEL_ZONE)
    guest.control.execute("object-add", **{"qom-type": "memory-backend-ram"}, id="m1",
                          size=2 << 28)
    reply = guest.control.execute("device_add", driver="pc-dimm", id="dimm1", memdev="m1")
    assert outcome(guest.control.wait_end(reply["operation"]))[0] == "done"
    # The highest goes first; the other one stays, so the first is taken back.
    guest_memory.set_block(guest, 3, "offline")
    guest_memory.set_block(guest, 3, "online_movable")
    filling = guest_memory.fill(guest, "kernel", 2, 2)
    reply = guest.control.execute("device_del", id="dimm1")
    refused = guest.control.wait_end(reply["operation"])
    assert outcome(refused) == ("rejected", "fence"), refused
    guest.sh("until [ $(cat /sys/devices/system/memory/memory3/state) = online ]; "
             "do usleep 10000; done")
    assert guest_memory.online(guest) == [0, 1, 2, 3]
    assert guest.control.execute("query-memory-size-summary")["plugged-memory"] == 2 << 28
    guest_memory.give_back(guest, filling)


def test_a_request_that_the_kernel_is_at_work_on(start) -> None:
    guest = memory_guest(start, KERNEL_ZONE, "--unplug-deadline", "3")
    assert [outcome(op)[0] for op in guest.set_memory(3)] == ["done"]
    assert outcome(guest.add(1))[0] == "done"
    guest.wait_online("0-1")
    filling = guest_memory.fill(guest, "pinned", 1, 2)
    [removal] = guest.ask_memory(2)
    unresolved = guest.control.wait_step(removal, "unresolved")
    assert unresolved["outcome"] == "pending"
    assert unresolved["stuck"] == "event fetched, no answer since; the guest is still at work on it"
    assert guest_memory.blocks(guest)[2].state == "going-offline"
    # There is one queue in the guest: this waits for the other.
    core = guest.ask_remove(1)
    unresolved = guest.control.wait_step(core, "unresolved")
    assert unresolved["outcome"] == "pending"
    assert f"behind operation {removal}, which it handles first" in unresolved["stuck"]
    guest_memory.give_back(guest, filling)
    assert outcome(guest.control.wait_end(removal)) == ("done", "guest")
    assert outcome(guest.control.wait_end(core)) == ("done", "guest")
    assert guest.online() == "0"
    assert guest_memory.online(guest) == [0, 1]


def test_roots_own_additions_sense_no_block_of_the_start(start) -> None:
    # The kernel senses each block that it might add. If it sensed those of the start, a fence would
    # be answered before its time.
    guest = memory_guest(start, MOVABLE, size="size=512M,max=1280M")
    free, turns = 3, 20
    before = guest.control.execute("query-metrics")["rtas-calls"]
    for _ in range(turns):
        assert not guest_memory.dlpar(guest, "memory add count 1")
    calls = guest.control.execute("query-metrics")["rtas-calls"] - before
    # Sense, and try to take. The guest makes a few calls of other kinds, by the clock.
    assert turns * free * 2 <= calls < turns * (free * 2 + 1)


def test_roots_own_requests_beside_the_operators(start) -> None:
    guest = memory_guest(start, MOVABLE)
    guest.set_memory(3)
    guest.sh("({ while [ ! -e /tmp/enough ]; do for request in add remove; do "
             "echo \"memory $request count 1\" 2> /dev/null > /sys/kernel/dlpar; done; "
             "echo >> /tmp/turns; done; touch /tmp/ended; } &)")
    for turn in range(TURNS):
        core = 1 + turn % 3
        added = guest.add(core)
        assert added["outcome"] == "done", added
        assert guest.control.connector(core)["state"] == "configured"
        removed = guest.remove(core)
        assert outcome(removed) == ("done", "guest"), removed
    guest.sh("touch /tmp/enough; until [ -e /tmp/ended ]; do usleep 10000; done")
    assert int(guest.sh("wc -l < /tmp/turns").split()[-1]) > 0
    assert guest.online() == "0"
    # Nothing came after an end that contradicts it.
    made = [op["kind"] for op in guest.control.execute("query-operations")
            if op["resource"] == "core"]
    assert "guest-release" not in made and "guest-take" not in made
    sent, answered = fences(guest)
    assert answered == sent


def test_requests_before_the_kernel_is_up(start) -> None:
    guest: Guest = start(memory="size=512M,max=1G", append=f"{QUIET} {MOVABLE}")
    adds = [guest.ask_add(1), *guest.ask_memory(4)]
    guest.wait_ready()
    for number in adds:
        if guest.control.operation(number)["outcome"] == "pending":
            guest.control.wait_end(number)
        assert guest.control.operation(number)["outcome"] == "done"
    guest.wait_online("0-1")
    assert guest_memory.online(guest) == [0, 1, 2, 3]
    sent, answered = fences(guest)
    assert sent == answered


def test_a_reset_in_a_burst_of_requests(start) -> None:
    guest = memory_guest(start, MOVABLE)
    asked = [guest.ask_add(1), guest.ask_add(2), *guest.ask_memory(5)]
    guest.control.wait_step(asked[0], "fetched")
    guest.control.execute("system_reset")
    guest.wait_ready()
    for number in asked:
        operation = guest.control.operation(number)
        assert operation["outcome"] in ("done", "superseded"), operation
    # All of it is there now, whichever it was.
    guest.wait_online("0-2")
    assert guest_memory.online(guest) == [0, 1, 2, 3, 4]
    # The fence works with this kernel, and judges nothing wrongly.
    [block] = guest.set_memory(6)
    assert outcome(block) == ("done", "fence"), block
    assert outcome(guest.set_memory(5)[0]) == ("done", "guest")
    for core in (1, 2):
        assert outcome(guest.remove(core)) == ("done", "guest")
    assert guest.online() == "0"


def test_a_core_refused_by_the_kernel_needs_no_fence(start) -> None:
    guest: Guest = start(cpus="boot=2,max=2", append=QUIET)
    guest.wait_ready()
    guest.set_online(0, False)
    before = state_of(guest, 1)
    refused = guest.remove(1)
    assert outcome(refused) == ("rejected", "guest")
    assert state_of(guest, 1) == before
    assert fences(guest) == (0, 0)
