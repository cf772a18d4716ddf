# SPDX-License-Identifier: Apache-2.0
"""What tests of memory rely on in the guest: the programs that hold memory, and the errors injected
into the kernel. Only the guest itself takes blocks offline here; the machine is not asked."""

from __future__ import annotations

import guest_memory
from guest import Guest
from guest_memory import MOVABLE

BLOCK_MIB = 256


def guest_with_a_block(start, policy: str) -> Guest:
    """A guest with two blocks from its start and a third, added now: block 2."""
    guest: Guest = start(memory="size=512M,max=1G", append=f"console=hvc0 quiet {policy}")
    guest.wait_ready()
    assert guest_memory.block_bytes(guest) == BLOCK_MIB << 20
    reply = guest.control.execute("set-memory", size=3 * BLOCK_MIB << 20)
    assert [guest.control.wait_end(op)["outcome"] for op in reply["operations"]] == ["done"]
    return guest


def may_go_offline(guest: Guest, number: int) -> bool:
    """Whether the guest can take the block offline; it is online again afterwards."""
    path = f"/sys/devices/system/memory/memory{number}/state"
    was = guest_memory.blocks(guest)[number]
    went = guest.sh(f"echo offline 2> /dev/null > {path} && echo yes || echo no") == "yes"
    if went:
        assert guest_memory.blocks(guest)[number].state == "offline"
        guest_memory.set_block(
            guest, number, "online_movable" if was.zone == "Movable" else "online_kernel")
    assert guest_memory.blocks(guest)[number] == was
    return went


def test_injected_errors_and_their_end(start) -> None:
    guest = guest_with_a_block(start, MOVABLE)
    assert guest_memory.blocks(guest)[2].zone == "Movable"
    assert may_go_offline(guest, 2)
    guest_memory.inject(guest, "MEM_GOING_OFFLINE", -16)
    assert not may_go_offline(guest, 2)
    guest_memory.inject(guest, "MEM_GOING_OFFLINE", 0)
    assert may_go_offline(guest, 2)
    # And for a block that is to come online.
    guest_memory.set_block(guest, 2, "offline")
    guest_memory.inject(guest, "MEM_GOING_ONLINE", -12)
    assert guest.sh("echo online_movable 2> /dev/null > /sys/devices/system/memory/memory2/state "
                    "&& echo yes || echo no") == "no"
    guest_memory.inject(guest, "MEM_GOING_ONLINE", 0)
    guest_memory.set_block(guest, 2, "online_movable")
    assert guest_memory.online(guest) == [0, 1, 2]


def test_movable_memory_moves_out_of_the_way(start) -> None:
    guest = guest_with_a_block(start, MOVABLE)
    filling = guest_memory.fill(guest, "movable", 64, 2)
    assert filling.kib[2] >= 64 << 10
    assert may_go_offline(guest, 2)
    guest_memory.give_back(guest, filling)
    # Without a block: that much, anywhere.
    filling = guest_memory.fill(guest, "movable", 16)
    assert sum(filling.kib.values()) == 16 << 10
    guest_memory.give_back(guest, filling)


def test_pages_of_the_kernel_keep_a_block(start) -> None:
    guest = guest_with_a_block(start, guest_memory.KERNEL_ZONE)
    assert guest_memory.blocks(guest)[2].zone == "Normal"
    filling = guest_memory.fill(guest, "kernel", 4, 2)
    assert filling.kib[2] >= 4 << 10
    # Refused at once, not tried again and again.
    assert not may_go_offline(guest, 2)
    assert "unmovable page" in guest.sh("dmesg | tail -n 40")
    guest_memory.give_back(guest, filling)


def test_a_pinned_page_keeps_a_block_until_it_is_given_back(start) -> None:
    guest = guest_with_a_block(start, guest_memory.KERNEL_ZONE)
    filling = guest_memory.fill(guest, "pinned", 1, 2)
    assert filling.kib[2] >= 1 << 10
    # Linux tries for ever, until the pages are given back.
    guest.sh("(echo offline > /sys/devices/system/memory/memory2/state &); "
             "until dmesg | grep -q 'migrating pfn'; do usleep 10000; done")
    assert guest_memory.blocks(guest)[2].state == "going-offline"
    guest_memory.give_back(guest, filling)
    guest.sh("cd /sys/devices/system/memory/memory2 && "
             "until [ $(cat state) = offline ]; do usleep 10000; done; cd - > /dev/null")


def test_roots_own_requests(start) -> None:
    guest = guest_with_a_block(start, MOVABLE)
    before = guest_memory.total_kib(guest)
    assert not guest_memory.dlpar(guest, "memory remove index 0x80000000")
    assert guest_memory.dlpar(guest, "memory remove index 0x80000002")
    assert guest_memory.online(guest) == [0, 1]
    assert before - guest_memory.total_kib(guest) == BLOCK_MIB << 10
    assert guest_memory.dlpar(guest, "memory add count 1")
    assert guest_memory.online(guest) == [0, 1, 2]
    assert guest_memory.total_kib(guest) == before
