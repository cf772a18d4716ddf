# SPDX-License-Identifier: Apache-2.0
"""Memory blocks and a guest that takes, refuses, gives back and touches them in every way."""

from __future__ import annotations

from typing import Any

import pytest

from probe import (ALLOCATION, BLOCK, GIVE_MEMORY, ISOLATION, LMB, TAKE_MEMORY, ProbeError,
                   ProbeGuest)
from test_parts import evidence, guest_operation, steps

FIRST = 2  # the first block that is not there from the start
HERE = FIRST * BLOCK
H_REGISTER_VPA, REGISTER, DEREGISTER = 0xdc, 1 << 45, 5 << 45
H_RTAS = 0xf000


@pytest.fixture
def guest(start_probe) -> ProbeGuest:
    """Two blocks from the start, room for four more; a kernel without errors."""
    started: ProbeGuest = start_probe(cpus="boot=2,max=2", memory="size=512M,max=1536M")
    started.probe.play("linux")
    started.probe.play_memory("linux")
    return started


def add(guest: ProbeGuest, blocks: int = 1) -> list[dict[str, Any]]:
    """Add blocks behind those of the start; all are taken."""
    ended = guest.set_memory(FIRST + blocks)
    assert [operation["outcome"] for operation in ended] == ["done"] * blocks, ended
    return ended


def remove(guest: ProbeGuest) -> dict[str, Any]:
    """Ask for block 2, the only one that was added."""
    [ended] = guest.set_memory(FIRST)
    return ended


def works(guest: ProbeGuest) -> None:
    """The next requests work as usual."""
    guest.probe.play_memory("linux")
    if guest.control.block(FIRST) is None:
        add(guest)
    assert remove(guest)["outcome"] == "done"
    add(guest)
    assert guest.probe.same(HERE, 4096, 0)


def stray(guest: ProbeGuest) -> int:
    return int(guest.control.execute("query-metrics")["stray-accesses"])


# --- taking and giving back ---------------------------------------------------------------------


def test_a_block_comes_and_goes(guest: ProbeGuest) -> None:
    [added] = add(guest)
    assert evidence(added)[:2] == ("fence", "get-sensor-state")
    assert added["evidence"]["blocks-in-use"] == 1
    assert f"add {LMB + FIRST:x} memory sense=2 usable=0 unisolate=0 configure=0" in \
        guest.probe.wait_note("hotplug add [0-9a-f]+ memory")
    assert guest.probe.do_block(FIRST, "sense") == {"sense": 1}
    guest.probe.fill(HERE, 0x10000, 0x5a)
    assert guest.probe.same(HERE, 0x10000, 0x5a)
    removed = remove(guest)
    assert removed["outcome"] == "done"
    assert evidence(removed) == ("guest", "set-indicator", ALLOCATION, 0, "released")
    assert steps(removed) == ["requested", "notified", "fetched", "isolated", "released", "ended"]
    assert guest.control.wait_event("DEVICE_DELETED")["device"] == f"memory{FIRST}"
    assert guest.control.block(FIRST) is None
    assert guest.probe.do_block(FIRST, "sense usable") == {"sense": 2, "usable": -3}
    # What was in it is gone.
    add(guest)
    assert guest.probe.same(HERE, 0x10000, 0)


def test_the_description_of_a_block(guest: ProbeGuest) -> None:
    guest.probe.play_memory("silent")
    guest.probe.answer_fences("")
    guest.ask_memory(FIRST + 1)
    guest.probe.wait_note("hotplug add [0-9a-f]+ memory")
    assert guest.probe.do_block(FIRST, "sense usable unisolate") == {
        "sense": 2, "usable": 0, "unisolate": 0}
    status, node = guest.probe.walk(LMB + FIRST)
    assert status == 0
    assert node["device_type"] == b"memory\0"
    assert node["reg"] == HERE.to_bytes(8, "big") + BLOCK.to_bytes(8, "big")
    # Linux looks this up in a table, and needs it to add the block.
    associativity = node["ibm,associativity"]
    table = bytes.fromhex(guest.probe.run(
        "tree /ibm,dynamic-reconfiguration-memory ibm,associativity-lookup-arrays"))
    assert associativity[:4] == table[4:8]
    assert associativity[4:] == table[8:8 + len(associativity) - 4]


def test_all_blocks_and_none(guest: ProbeGuest) -> None:
    added = add(guest, 4)
    assert [operation["unit"] for operation in added] == [2, 3, 4, 5]
    for block in range(2, 6):
        guest.probe.write(block * BLOCK + BLOCK - 16, bytes([block] * 16))
    for block in range(2, 6):
        assert guest.probe.read(block * BLOCK + BLOCK - 16, 16) == bytes([block] * 16)
    removed = guest.set_memory(FIRST)
    assert [(op["unit"], op["outcome"]) for op in removed] == [
        (5, "done"), (4, "done"), (3, "done"), (2, "done")]


def test_a_removal_that_the_guest_says_nothing_about(guest: ProbeGuest) -> None:
    add(guest)
    guest.probe.fill(HERE, 4096, 0xa5)
    guest.probe.play_memory("silent")
    before = guest.control.block(FIRST)
    removed = remove(guest)
    assert removed["outcome"] == "rejected"
    assert evidence(removed) == ("fence", "get-sensor-state", None, None, "fetched")
    after = guest.control.block(FIRST)
    assert before and after and before["state"] == after["state"] == "configured"
    assert after["attached"] and not after["removing"]
    assert guest.probe.same(HERE, 4096, 0xa5)
    works(guest)


def test_an_add_that_the_guest_says_nothing_about(guest: ProbeGuest) -> None:
    guest.probe.play_memory("silent")
    [added] = guest.set_memory(FIRST + 1)
    assert (added["outcome"], added["evidence"]["source"]) == ("rejected", "fence")
    assert guest.control.block(FIRST) is None
    works(guest)


@pytest.mark.parametrize("part, call", [
    ("rolls-back", ("guest", "set-indicator", ISOLATION, 1)),
    ("rolls-back-old", ("guest", "ibm,configure-connector", None, None)),
])
def test_a_guest_that_puts_back_what_it_had_taken_out(guest: ProbeGuest, part: str,
                                                      call: tuple[Any, ...]) -> None:
    add(guest)
    guest.probe.fill(HERE, 4096, 0xa5)
    guest.probe.play_memory(part)
    for _ in range(2):
        removed = remove(guest)
        assert removed["outcome"] == "rejected"
        assert evidence(removed)[:4] == call
        # The description is read once more, to the end.
        assert "configure=0" in guest.probe.wait_note("hotplug remove")
    block = guest.control.block(FIRST)
    assert block and (block["state"], block["removing"]) == ("configured", False)
    assert guest.probe.same(HERE, 4096, 0xa5)
    works(guest)


def test_a_guest_that_cannot_use_what_it_has_taken(guest: ProbeGuest) -> None:
    guest.probe.play_memory("returns")
    [added] = guest.set_memory(FIRST + 1)
    assert added["outcome"] == "rejected"
    assert evidence(added)[:4] == ("guest", "set-indicator", ALLOCATION, 0)
    assert guest.control.block(FIRST) is None
    works(guest)


def test_a_block_given_back_unasked(guest: ProbeGuest) -> None:
    add(guest)
    assert guest.probe.do_block(FIRST, "isolate unusable sense") == {
        "isolate": 0, "unusable": 0, "sense": 2}
    given = guest_operation(guest)
    assert (given["kind"], given["outcome"]) == ("guest-release", "done")
    block = guest.control.block(FIRST)
    assert block and (block["state"], block["attached"]) == ("unusable", True)
    assert guest.probe.do_block(FIRST, TAKE_MEMORY)["configure"] == 0
    assert guest_operation(guest)["kind"] == "guest-take"
    # In one step, without isolating it.
    assert guest.probe.do_block(FIRST, "unusable") == {"unusable": 0}
    assert guest.probe.do_block(FIRST, TAKE_MEMORY)["configure"] == 0
    works(guest)


# --- a dimm of several blocks --------------------------------------------------------------------


def dimm(guest: ProbeGuest, blocks: int) -> dict[str, Any]:
    guest.control.execute("object-add", **{"qom-type": "memory-backend-ram"}, id="m1",
                          size=blocks * BLOCK)
    reply = guest.control.execute("device_add", driver="pc-dimm", id="dimm1", memdev="m1")
    return guest.control.wait_end(reply["operation"])


def test_a_dimm_of_which_one_block_stays(guest: ProbeGuest) -> None:
    added = dimm(guest, 2)
    assert (added["outcome"], added["evidence"]["blocks-in-use"]) == ("done", 2)
    guest.probe.run("plan ignore")
    removal = guest.control.execute("device_del", id="dimm1")["operation"]
    guest.probe.wait_note("hotplug ignored")
    # One after the other, the highest first.
    assert guest.probe.run("fetch") == f"0 remove {LMB + FIRST + 1:x} memory"
    guest.probe.do_block(FIRST + 1, GIVE_MEMORY)
    guest.probe.wait_note("hotplug ignored")
    assert guest.probe.run("fetch") == f"0 remove {LMB + FIRST:x} memory"
    # It keeps this one, and says nothing. Then the other one is offered again.
    guest.probe.run("plan fetch")
    assert guest.probe.wait_note("hotplug add [0-9a-f]+ fence")
    note = guest.probe.wait_note("hotplug add [0-9a-f]+ memory")
    assert f"add {LMB + FIRST + 1:x} memory sense=2 usable=0 unisolate=0 configure=0" in note
    ended = guest.control.wait_end(removal)
    assert (ended["outcome"], ended["evidence"]["source"]) == ("rejected", "fence")
    for block in (FIRST, FIRST + 1):
        guest.probe.fill(block * BLOCK, 4096, block)
        assert guest.probe.same(block * BLOCK, 4096, block)
    # And as a whole, later.
    guest.probe.play_memory("linux")
    removal = guest.control.execute("device_del", id="dimm1")["operation"]
    assert guest.control.wait_end(removal)["outcome"] == "done"


# --- memory that is gone -------------------------------------------------------------------------


@pytest.fixture
def gone(guest: ProbeGuest) -> ProbeGuest:
    """The guest has had block 2, and has given it back."""
    add(guest)
    guest.probe.fill(HERE, 4096, 0x11)
    assert remove(guest)["outcome"] == "done"
    assert stray(guest) == 0
    return guest


def lives(guest: ProbeGuest) -> None:
    """The guest and the machine go on, and the block can come back."""
    assert guest.probe.run("echo here") == "here"
    works(guest)


def answer(guest: ProbeGuest, command: str) -> str:
    """The answer, or the fault that the access ended in."""
    try:
        return guest.probe.run(command)
    except ProbeError as error:
        return str(error)


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_loads_and_stores_to_memory_that_is_gone(gone: ProbeGuest, size: int) -> None:
    assert gone.probe.run(f"load {size:x} {HERE + 64:x}") == "ff" * size
    gone.probe.run(f"store {size:x} {HERE + 64:x} 12")
    assert gone.probe.run(f"load {size:x} {HERE + 64:x}") == "ff" * size
    assert stray(gone) == 3
    lives(gone)


def test_vectors_to_memory_that_is_gone(gone: ProbeGuest) -> None:
    # KVM emulates them, or lets the guest take a fault.
    assert answer(gone, f"vload {HERE:x}") in ("ff" * 16, f"fault 300 dar {HERE:x}") or \
        answer(gone, f"vload {HERE:x}").startswith("fault 300")
    said = answer(gone, f"vstore {HERE:x} 12")
    assert said == "" or said.startswith("fault 300"), said
    lives(gone)


def test_vectors_to_memory_that_is_there(guest: ProbeGuest) -> None:
    add(guest)
    guest.probe.run(f"vstore {HERE:x} 12")
    assert guest.probe.run(f"vload {HERE:x}") == "12" * 16
    assert guest.probe.read(HERE, 17) == b"\x12" * 16 + b"\0"
    assert stray(guest) == 0


def test_instructions_from_memory_that_is_there_and_gone(guest: ProbeGuest) -> None:
    add(guest)
    assert guest.probe.run("start 1") == "0"
    # blr in both byte orders; the first that is executed returns, the probe is little-endian.
    guest.probe.write(HERE, bytes.fromhex("2000804e"))
    assert guest.probe.run(f"on 1 jump {HERE:x}") == ""
    assert remove(guest)["outcome"] == "done"
    # It does not get anywhere, and the machine can still be stopped and asked.
    assert guest.probe.run(f"leave 1 {HERE:x} 8000000000000001") == ""
    for _ in range(3):
        guest.control.execute("stop")
        assert len(guest.control.execute("query-registers")) == 2
        guest.control.execute("cont")
    assert guest.probe.run("echo here") == "here"
    works(guest)
    guest.control.execute("system_reset")
    guest.probe.wait_note("probe ready")


def test_buffers_in_memory_that_is_gone(gone: ProbeGuest) -> None:
    # The argument block of an RTAS call, and a work area.
    assert gone.probe.hcall(H_RTAS, HERE)[0] != 0
    assert gone.probe.rtas("ibm,configure-connector", 1, HERE, 0) == [-3]
    # One that begins in memory and ends in none.
    assert gone.probe.rtas("ibm,configure-connector", 1, HERE - 0x800, 0) == [-3]
    # The area that a vCPU shares with the hypervisor.
    assert gone.probe.hcall(H_REGISTER_VPA, REGISTER, 1, HERE)[0] != 0
    lives(gone)


def test_a_vpa_in_a_block_that_goes(guest: ProbeGuest) -> None:
    add(guest)
    assert guest.probe.run("start 1") == "0"
    guest.probe.write(HERE, bytes(4) + (640).to_bytes(2, "big") + bytes(634))
    assert guest.probe.hcall(H_REGISTER_VPA, REGISTER, 1, HERE, on=1)[0] == 0
    assert remove(guest)["outcome"] == "done"
    # The vCPU runs on, and the hypervisor may write to the area.
    assert guest.probe.run("on 1 echo here") == "here"
    add(guest)
    assert guest.probe.run("on 1 echo here") == "here"
    assert guest.probe.hcall(H_REGISTER_VPA, DEREGISTER, 1, 0, on=1)[0] == 0
    works(guest)


def test_memory_beyond_all_that_there_can_be(guest: ProbeGuest) -> None:
    end = 6 * BLOCK
    assert guest.probe.do_block(6, "sense usable isolate unusable") == {
        "sense": -3, "usable": -3, "isolate": -3, "unusable": -3}
    assert guest.probe.run(f"load 4 {end:x}") == "ffffffff"
    assert guest.probe.rtas("ibm,configure-connector", 1, end, 0) == [-3]


# --- reset ---------------------------------------------------------------------------------------


def test_a_reset_hands_over_what_is_attached(guest: ProbeGuest) -> None:
    add(guest, 2)
    guest.probe.fill(HERE, 4096, 0x11)
    guest.control.execute("system_reset")
    guest.probe.wait_note("probe ready")
    # Sets of blocks, address, first index, domain, flags.
    data = bytes.fromhex(guest.probe.run(
        "tree /ibm,dynamic-reconfiguration-memory ibm,dynamic-memory-v2"))
    words = [int.from_bytes(data[at:at + 4], "big") for at in range(0, len(data), 4)]
    assert words[0] == 3
    sets = [words[at:at + 6] for at in range(1, len(words), 6)]
    assert [(blocks, (high << 32 | low) // BLOCK, index - LMB, flags)
            for blocks, high, low, index, _, flags in sets] == [
        (2, 0, 0, 0x88), (2, 2, 2, 0x108), (2, 4, 4, 0)]
    assert guest.probe.do_block(FIRST, "sense") == {"sense": 1}
    assert guest.probe.same(HERE, 4096, 0)
    guest.probe.play_memory("linux")
    assert [op["outcome"] for op in guest.set_memory(FIRST)] == ["done", "done"]


def test_a_reset_in_the_middle_of_both(guest: ProbeGuest) -> None:
    add(guest)
    guest.probe.play_memory("silent")
    guest.probe.answer_fences("")
    [removal] = guest.ask_memory(FIRST)
    guest.control.wait_step(removal, "fetched")
    guest.control.execute("system_reset")
    assert guest.control.wait_end(removal)["outcome"] == "superseded"
    guest.probe.wait_note("probe ready")
    assert guest.control.block(FIRST) is None
    assert guest.probe.run(f"load 4 {HERE:x}") == "ffffffff"
    works(guest)
