# SPDX-License-Identifier: Apache-2.0
"""The fence: a guest that makes no call about a request it could not carry out is found out, as soon
as it handles the event behind that. Nothing is concluded from a fence that does not prove it."""

from __future__ import annotations

import re

import pytest

from guest import state_of
from probe import CPU, GIVE, LMB, ProbeGuest
from test_parts import ends_well, evidence, guest_operation, steps

BOOT_BLOCKS = 2  # 512 MiB


def fence_of(note: str) -> int:
    """The index of the fence in a note or an answer."""
    match = re.search(r"add ([0-9a-f]+) fence", note)
    assert match, note
    return int(match[1], 16)


def fence_left_open(guest: ProbeGuest) -> int:
    """Wait until the guest has fetched a fence, which it does not answer."""
    return fence_of(guest.probe.wait_note("hotplug add [0-9a-f]+ fence"))


def next_event(guest: ProbeGuest) -> str:
    """Wait for an event, which the guest has not fetched by itself. An interrupt may come twice."""
    while (said := guest.probe.run("fetch")) == "1":
        guest.probe.wait_note("hotplug ignored")
    return said


def fences(guest: ProbeGuest) -> tuple[int, int]:
    metrics = guest.control.execute("query-metrics")
    return metrics["fences-sent"], metrics["fences-answered"]


def test_boot_blocks_can_only_be_sensed(start_probe) -> None:
    guest: ProbeGuest = start_probe()
    for block in range(BOOT_BLOCKS):
        assert guest.probe.do_block(
            block, "sense usable unusable isolate unisolate configure") == {
            "sense": 1, "usable": -3, "unusable": -3, "isolate": -3, "unisolate": -3,
            "configure": -3}
    assert guest.probe.do_block(BOOT_BLOCKS, "sense") == {"sense": -3}
    assert fences(guest) == (0, 0)


@pytest.mark.parametrize("endian", ["le", "be"])
def test_a_removal_that_a_kernel_before_5_13_cannot_carry_out(start_probe, endian: str) -> None:
    guest: ProbeGuest = start_probe(endian=endian, cpus="boot=2,max=3")
    guest.probe.play("silent")
    for _ in range(2):
        before = state_of(guest, 1)
        ended = guest.remove(1)
        assert ended["outcome"] == "rejected"
        assert evidence(ended) == ("fence", "get-sensor-state", None, None, "fetched")
        assert ended["evidence"]["vcpu"] == 0
        assert "without releasing" in ended["evidence"]["inferred"]
        error = guest.control.wait_event("DEVICE_UNPLUG_GUEST_ERROR")
        assert (error["device"], error["operation"]) == ("core1", ended["id"])
        assert state_of(guest, 1) == before
    assert fences(guest) == (2, 2)
    ends_well(guest, 1)


def test_an_add_that_is_declined_without_a_call(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=1,max=2")
    guest.probe.play("silent")
    before = state_of(guest, 1)
    ended = guest.add(1)
    assert ended["outcome"] == "rejected"
    assert evidence(ended)[:2] == ("fence", "get-sensor-state")
    assert "without taking" in ended["evidence"]["inferred"]
    assert guest.control.wait_event("DEVICE_DELETED")["device"] == "core1"
    assert state_of(guest, 1) == before
    ends_well(guest, 1)


def test_an_add_left_half_done_is_no_answer(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=1,max=2")
    guest.probe.play("takes-half")
    add = guest.ask_add(1)
    guest.probe.wait_note("fence sense=1")
    operation = guest.control.operation(add)
    assert operation["outcome"] == "pending"
    assert operation["stuck"] == ("connector unisolated, description not read to the end; "
                                  "the guest has finished handling the event")
    guest.probe.do(1, "configure start")
    assert guest.control.wait_end(add)["outcome"] == "done"


def test_a_removal_left_half_done_is_taken_back(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=2,max=2")
    guest.probe.play("takes-half")
    before = state_of(guest, 1)
    ended = guest.remove(1)
    assert (ended["outcome"], ended["evidence"]["source"]) == ("rejected", "fence")
    assert ended["evidence"]["phase"] == "isolated"
    assert state_of(guest, 1) == before
    ends_well(guest, 1)


def test_a_core_that_was_configured_and_not_started(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=1,max=2")
    guest.probe.run("plan add sense usable unisolate configure")
    ended = guest.add(1)
    assert (ended["outcome"], ended["evidence"]["source"]) == ("done", "fence")
    assert ended["evidence"]["threads-running"] == 0
    assert "started no thread" in ended["evidence"]["inferred"]


def test_a_guest_that_answers_no_fence(start_probe) -> None:
    guest: ProbeGuest = start_probe("--unplug-deadline", "2", cpus="boot=2,max=2")
    guest.probe.play("silent")
    guest.probe.answer_fences("")
    removal = guest.ask_remove(1)
    index = fence_left_open(guest)
    unresolved = guest.control.wait_step(removal, "unresolved")
    assert unresolved["outcome"] == "pending"
    assert unresolved["stuck"] == ("event fetched, no answer since; "
                                   "the guest has not answered the fence behind it either")
    # It does, later.
    assert guest.probe.sense(index) == [0, 1]
    ended = guest.control.wait_end(removal)
    assert (ended["outcome"], ended["evidence"]["source"]) == ("rejected", "fence")
    ends_well(guest, 1)


def test_a_guest_that_answers_fences_and_is_still_at_work(start_probe) -> None:
    guest: ProbeGuest = start_probe("--unplug-deadline", "2", cpus="boot=3,max=3")
    guest.probe.play("silent")
    assert guest.remove(1)["outcome"] == "rejected"
    guest.probe.wait_note("fence sense=1")
    guest.probe.answer_fences("")
    removal = guest.ask_remove(1)
    fence_left_open(guest)
    unresolved = guest.control.wait_step(removal, "unresolved")
    assert unresolved["stuck"] == "event fetched, no answer since; the guest is still at work on it"
    # What it fetches later it handles later.
    second = guest.ask_remove(2)
    unresolved = guest.control.wait_step(second, "unresolved")
    assert f"behind operation {removal}," in unresolved["stuck"]
    guest.probe.do(1, GIVE)
    assert guest.control.wait_end(removal)["outcome"] == "done"
    guest.probe.do(2, GIVE)
    assert guest.control.wait_end(second)["outcome"] == "done"


def test_only_the_index_of_the_fence_that_was_fetched_counts(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=2,max=2")
    guest.probe.play("silent")
    guest.probe.answer_fences("")
    removal = guest.ask_remove(1)
    index = fence_left_open(guest)
    assert guest.probe.sense(LMB + (index - LMB + 1) % BOOT_BLOCKS) == [0, 1]
    assert fences(guest) == (1, 0)
    assert guest.control.operation(removal)["outcome"] == "pending"
    # Another sensor of it is not what Linux asks for.
    assert guest.probe.rtas("get-sensor-state", 2, 9002, index)[0] == -3
    assert guest.control.operation(removal)["outcome"] == "pending"
    assert guest.probe.sense(index) == [0, 1]
    assert guest.control.wait_end(removal)["outcome"] == "rejected"
    assert fences(guest) == (1, 1)


def test_each_fence_has_the_next_index(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=2,max=2", memory="768M")
    guest.probe.play("silent")
    seen = []
    for _ in range(6):
        assert guest.remove(1)["outcome"] == "rejected"
        seen.append(fence_of(guest.probe.wait_note("fence sense=1")) - LMB)
    assert sorted(seen[:3]) == [0, 1, 2]
    assert seen[3:] == seen[:3]


def test_a_fence_does_not_judge_what_was_fetched_after_it(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=3,max=3")
    guest.probe.run("plan ignore")
    first = guest.ask_remove(1)
    guest.probe.wait_note("hotplug ignored")
    assert guest.probe.run("fetch") == f"0 remove {CPU + 1:x}"
    # The fence is queued behind it, and another request behind the fence.
    guest.probe.wait_note("hotplug ignored")
    second = guest.ask_remove(2)
    guest.probe.wait_note("hotplug ignored")
    index = fence_of(guest.probe.run("fetch"))
    assert guest.probe.run("fetch") == f"0 remove {CPU + 2:x}"
    assert guest.probe.sense(index) == [0, 1]
    assert guest.control.wait_end(first)["outcome"] == "rejected"
    assert guest.control.operation(second)["outcome"] == "pending"
    # That gets a fence of its own.
    assert guest.probe.sense(fence_of(next_event(guest))) == [0, 1]
    assert guest.control.wait_end(second)["outcome"] == "rejected"


def test_a_request_asked_again_is_judged_by_its_last_event(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=2,max=2")
    guest.probe.run("plan ignore")
    removal = guest.ask_remove(1)
    guest.probe.wait_note("hotplug ignored")
    assert guest.probe.run("fetch") == f"0 remove {CPU + 1:x}"
    guest.probe.wait_note("hotplug ignored")
    index = fence_of(guest.probe.run("fetch"))
    # The event is queued again: the guest may succeed now.
    assert guest.ask_remove(1) == removal
    guest.probe.wait_note("hotplug ignored")
    assert guest.probe.sense(index) == [0, 1]
    assert guest.control.operation(removal)["outcome"] == "pending"
    assert guest.probe.run("fetch") == f"0 remove {CPU + 1:x}"
    guest.probe.do(1, GIVE)
    assert guest.control.wait_end(removal)["outcome"] == "done"


def test_a_release_after_the_fence_is_honoured(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=2,max=2")
    guest.probe.play("silent")
    assert guest.remove(1)["outcome"] == "rejected"
    assert guest.probe.do(1, "isolate unusable") == {"isolate": 0, "unusable": 0}
    given = guest_operation(guest)
    assert (given["kind"], given["outcome"], given["device"]) == ("guest-release", "done", "core1")
    assert guest.control.connector(1)["attached"] is True


def test_an_answer_of_the_guests_own_comes_before_the_fence(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=2,max=2")
    guest.probe.play("silent")
    guest.probe.answer_fences("")
    removal = guest.ask_remove(1)
    index = fence_left_open(guest)
    guest.probe.do(1, GIVE)
    assert guest.control.wait_end(removal)["outcome"] == "done"
    # The fence comes late, and changes nothing.
    assert guest.probe.sense(index) == [0, 1]
    assert steps(guest.control.operation(removal))[-1] == "ended"
    assert guest.control.operation(removal)["evidence"]["source"] == "guest"
    ends_well(guest, 1)


def test_a_reset_forgets_the_fence(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=2,max=2")
    guest.probe.play("silent")
    guest.probe.answer_fences("")
    removal = guest.ask_remove(1)
    index = fence_left_open(guest)
    guest.control.execute("system_reset")
    assert guest.control.wait_end(removal)["outcome"] == "superseded"
    guest.probe.wait_note("probe ready")
    # A reset settles a removal by removing the core.
    assert guest.control.connector(1)["attached"] is False
    sent, answered = fences(guest)
    assert guest.probe.sense(index) == [0, 1]
    assert fences(guest) == (sent, answered)
    guest.probe.play("silent")
    ended = guest.add(1)
    assert (ended["outcome"], ended["evidence"]["source"]) == ("rejected", "fence")
    ends_well(guest, 1)


def test_one_fence_for_all_that_was_fetched_before(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=3,max=4")
    guest.probe.play("silent")
    asked = [guest.ask_remove(1), guest.ask_remove(2), guest.ask_add(3)]
    for operation in guest.control.wait_ends(asked):
        assert (operation["outcome"], operation["evidence"]["source"]) == ("rejected", "fence")
    sent, answered = fences(guest)
    assert 1 <= sent == answered <= 2
    ends_well(guest, 3)
