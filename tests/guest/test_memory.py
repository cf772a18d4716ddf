# SPDX-License-Identifier: Apache-2.0
"""Memory is added, removed, refused, released by the guest and asked for again; each request has a
definite outcome, and a refusal changes nothing."""

from __future__ import annotations

import re
from typing import Any

import pytest

import guest_memory
from guest import CommandError, Guest

MIB = 1 << 20
BLOCK = 256 * MIB
APPEND = f"console=hvc0 quiet {guest_memory.MOVABLE}"


def set_memory(guest: Guest, size: int) -> list[dict[str, Any]]:
    """Ask for a size of all memory, and wait for the ends of what that takes."""
    return guest.set_memory(size // BLOCK)


def outcomes(operations: list[dict[str, Any]]) -> list[str]:
    return [operation["outcome"] for operation in operations]


def blocks_online(guest: Guest) -> int:
    return len(guest_memory.online(guest))


def test_blocks_come_and_go(start) -> None:
    guest: Guest = start(memory="size=512M,max=2G", append=APPEND)
    guest.wait_ready()
    assert blocks_online(guest) == 2
    added = set_memory(guest, 2048 * MIB)
    assert outcomes(added) == ["done"] * 6, added
    assert [operation["device"] for operation in added] == [f"memory{n}" for n in range(2, 8)]
    assert blocks_online(guest) == 8
    removed = set_memory(guest, 512 * MIB)
    assert outcomes(removed) == ["done"] * 6, removed
    assert [operation["device"] for operation in removed] == [f"memory{n}" for n in range(7, 1, -1)]
    assert blocks_online(guest) == 2


def test_a_dimm_of_four_blocks(start) -> None:
    guest: Guest = start(memory="size=512M,max=2G", append=APPEND)
    guest.wait_ready()
    guest.control.execute("object-add", qom_type="memory-backend-ram", id="m1",
                          size=4 * BLOCK)
    reply = guest.control.execute("device_add", driver="pc-dimm", id="dimm1", memdev="m1")
    added = guest.control.wait_end(reply["operation"])
    assert (added["outcome"], added["evidence"]["blocks-in-use"]) == ("done", 4), added
    assert guest.control.execute("query-memory-size-summary") == {
        "base-memory": 512 * MIB, "plugged-memory": 4 * BLOCK, "max-memory": 2048 * MIB}
    [dimm] = guest.control.execute("query-memory-devices")
    assert dimm["data"]["memdev"] == "/objects/m1" and dimm["data"]["size"] == 4 * BLOCK
    assert blocks_online(guest) == 6
    with pytest.raises(CommandError, match="is in use, can not be deleted"):
        guest.control.execute("object-del", id="m1")
    reply = guest.control.execute("device_del", id="dimm1")
    removed = guest.control.wait_end(reply["operation"])
    assert removed["outcome"] == "done", removed
    assert guest.control.wait_event("DEVICE_DELETED")["device"] == "dimm1"
    assert blocks_online(guest) == 2
    guest.control.execute("object-del", id="m1")


def memory_devices(guest: Guest) -> list[dict[str, Any]]:
    return [device["data"] for device in guest.control.execute("query-memory-devices")]


@pytest.mark.parametrize("reset", ["boot", "event"])
def test_added_memory_survives_a_reset(start, reset: str) -> None:
    """It is in the new tree, or it is offered by an event."""
    guest: Guest = start(memory=f"size=512M,max=2G,reset={reset}",
                         append=APPEND)
    guest.wait_ready()
    assert outcomes(set_memory(guest, 1024 * MIB)) == ["done", "done"]
    devices = memory_devices(guest)
    total = guest_memory.total_kib(guest)
    guest.control.execute("system_reset")
    guest.wait_ready()
    if reset == "event":
        guest.control.wait_event("OPERATION", lambda data: (
            data["operation"]["kind"], data["operation"]["device"]) == ("guest-take", "memory3"))
    assert memory_devices(guest) == devices
    assert blocks_online(guest) == 4
    assert abs(guest_memory.total_kib(guest) - total) < 64 << 10
    if reset == "event":  # movable again
        assert outcomes(set_memory(guest, 512 * MIB)) == ["done", "done"]


def test_what_the_guest_releases_by_itself_stays_and_comes_back(start) -> None:
    guest: Guest = start(memory="size=512M,max=1G", append=APPEND)
    guest.wait_ready()
    assert outcomes(set_memory(guest, 768 * MIB)) == ["done"]
    guest.sh("echo 'memory remove count 1' >/sys/kernel/dlpar")
    given = guest.control.wait_event("OPERATION", lambda data: (
        data["operation"]["kind"] == "guest-release"))["operation"]
    assert (given["device"], given["outcome"]) == ("memory2", "done"), given
    assert blocks_online(guest) == 2
    assert [device["id"] for device in memory_devices(guest)] == ["memory2"]
    guest.sh("echo 'memory add count 1' >/sys/kernel/dlpar")
    taken = guest.control.wait_event("OPERATION", lambda data: (
        data["operation"]["kind"] == "guest-take"))["operation"]
    assert (taken["device"], taken["outcome"]) == ("memory2", "done"), taken
    assert blocks_online(guest) == 3
    # Released by the guest, it leaves as soon as it is asked for.
    guest.sh("echo 'memory remove count 1' >/sys/kernel/dlpar")
    [removed] = set_memory(guest, 512 * MIB)
    assert removed["outcome"] == "done", removed


@pytest.mark.parametrize("most", ["64G", "1T", "4T"])
def test_room_for_much_memory(start, most: str) -> None:
    """The last block there can be comes and goes."""
    try:
        guest: Guest = start(memory=f"size=512M,max={most}", append=APPEND)
    except AssertionError as refused:
        # It has to be in one piece of the host's memory.
        refusal = re.search(r"cannot make a hash page table of \d+ KiB: [^;]*; use --memory with a "
                            "smaller max", str(refused))
        if refusal is None:
            raise
        pytest.skip(f"the host is too small: {refusal[0]}")
    guest.wait_ready()
    last = int(most[:-1]) * (1 << 30 if most[-1] == "G" else 1 << 40) - BLOCK
    guest.control.execute("object-add", qom_type="memory-backend-ram", id="m1", size=BLOCK)
    reply = guest.control.execute("device_add", driver="pc-dimm", id="last", memdev="m1", addr=last)
    added = guest.control.wait_end(reply["operation"])
    assert added["outcome"] == "done", added
    assert blocks_online(guest) == 3
    reply = guest.control.execute("device_del", id="last")
    removed = guest.control.wait_end(reply["operation"])
    assert removed["outcome"] == "done", removed


def test_nothing_is_added_beyond_what_there_is_room_for(start) -> None:
    guest: Guest = start()
    guest.wait_ready()
    with pytest.raises(CommandError, match="size must be a multiple of 256 MiB, from 512 to 512"):
        guest.control.execute("set-memory", size=1024 * MIB)
    guest.control.execute("object-add", qom_type="memory-backend-ram", id="m1", size=BLOCK)
    with pytest.raises(CommandError, match="no memory can be added: this machine has no room"):
        guest.control.execute("device_add", driver="pc-dimm", id="d1", memdev="m1")
    assert blocks_online(guest) == 2
