# SPDX-License-Identifier: Apache-2.0
"""Memory is added, removed, refused, released by the guest and asked for again; each request has a
definite outcome, and a refusal changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from guest import CommandError, Guest

MIB = 1 << 20
BLOCK = 256 * MIB
MOVABLE = "memhp_default_state=online_movable"


def set_memory(guest: Guest, size: int) -> list[dict[str, Any]]:
    """Ask for a size of all memory, and wait for the ends of what that takes."""
    reply = guest.control.execute("set-memory", size=size)
    assert "incomplete" not in reply, reply
    return guest.control.wait_ends(reply["operations"])


def outcomes(operations: list[dict[str, Any]]) -> list[str]:
    return [operation["outcome"] for operation in operations]


def blocks_online(guest: Guest) -> int:
    return int(guest.sh("grep -l online /sys/devices/system/memory/memory*/state | wc -l"))


def test_blocks_come_and_go(start) -> None:
    guest: Guest = start(memory="size=512M,max=2G", append=f"console=hvc0 quiet {MOVABLE}")
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
    guest: Guest = start(memory="size=512M,max=2G", append=f"console=hvc0 quiet {MOVABLE}")
    guest.wait_ready()
    guest.control.execute("object-add", **{"qom-type": "memory-backend-ram"}, id="m1",
                          size=4 * BLOCK)
    reply = guest.control.execute("device_add", driver="pc-dimm", id="dimm1", memdev="m1")
    added = guest.control.wait_end(reply["operation"])
    assert (added["outcome"], added["evidence"]["blocks-in-use"]) == ("done", 4), added
    assert guest.control.execute("query-memory-size-summary") == {
        "base-memory": 512 * MIB, "plugged-memory": 4 * BLOCK}
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
