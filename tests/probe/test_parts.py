# SPDX-License-Identifier: Apache-2.0
"""Guests that refuse, do not answer, answer late, in the wrong order or without being asked: each
operation ends with the right outcome, or stays pending and reports its phase."""

from __future__ import annotations

from typing import Any

import pytest

from guest import CommandError, state_of
from probe import ALLOCATION, CPU, GIVE, ISOLATION, TAKE, ProbeGuest


def steps(operation: dict[str, Any]) -> list[str]:
    return [step["step"] for step in operation["steps"]]


def evidence(operation: dict[str, Any]) -> tuple[Any, ...]:
    found = operation["evidence"]
    return tuple(found.get(key) for key in ("source", "call", "indicator", "value", "phase"))


def guest_operation(guest: ProbeGuest) -> dict[str, Any]:
    """The operation for an act of the guest, once it is reported."""
    return guest.control.wait_event("OPERATION", lambda data: data["step"] == "ended")["operation"]


def ends_well(guest: ProbeGuest, core_id: int) -> None:
    """The next requests of the operator work as usual."""
    guest.probe.play("linux")
    if not guest.control.connector(core_id)["attached"]:
        assert guest.add(core_id)["outcome"] == "done"
    assert guest.remove(core_id)["outcome"] == "done"
    assert guest.add(core_id)["outcome"] == "done"
    connector = guest.control.connector(core_id)
    assert (connector["state"], connector["attached"]) == ("configured", True)
    assert not connector["adding"] and not connector["removing"]


@pytest.mark.parametrize("endian", ["le", "be"])
def test_a_guest_that_does_all_right(start_probe, endian: str) -> None:
    guest: ProbeGuest = start_probe(endian=endian)
    guest.probe.play("linux")
    added = guest.add(1)
    assert added["outcome"] == "done"
    assert evidence(added) == ("guest", "start-cpu", None, None, "started")
    note = guest.probe.wait_note("hotplug add")
    assert "sense=2 usable=0 unisolate=0 configure=0 start=0" in note
    assert steps(guest.control.operation(added["id"])) == [
        "requested", "notified", "fetched", "allocated", "unisolated", "configured", "started",
        "ended"]
    removed = guest.remove(1)
    assert removed["outcome"] == "done"
    assert evidence(removed) == ("guest", "set-indicator", ALLOCATION, 0, "released")
    assert steps(removed) == ["requested", "notified", "fetched", "stopped", "isolated", "released",
                              "ended"]
    assert guest.control.wait_event("DEVICE_DELETED")["device"] == "core1"
    assert "sense=1 stop=0 isolate=0 unusable=0" in guest.probe.wait_note("hotplug remove")
    assert guest.control.connector(1)["state"] == "unusable"
    assert guest.probe.sense(CPU + 1) == [0, 2]


def test_silence_is_reported_and_a_late_release_counts(start_probe) -> None:
    guest: ProbeGuest = start_probe("--unplug-deadline", "1", cpus="boot=2,max=2")
    guest.probe.play("silent")
    guest.probe.answer_fences("")
    operation = guest.ask_remove(1)
    unresolved = guest.control.wait_step(operation, "unresolved")
    assert (unresolved["outcome"], unresolved["unresolved"]) == ("pending", True)
    assert unresolved["stuck"].startswith("event fetched, no answer since")
    assert guest.control.connector(1)["removing"] is True
    # Later, and without another event.
    assert guest.probe.do(1, "isolate unusable") == {"isolate": 0, "unusable": 0}
    ended = guest.control.wait_end(operation)
    assert ended["outcome"] == "done"
    assert evidence(ended) == ("guest", "set-indicator", ALLOCATION, 0, "released")
    assert guest.control.wait_event("DEVICE_DELETED")["device"] == "core1"
    ends_well(guest, 1)


def test_an_event_never_fetched(start_probe) -> None:
    guest: ProbeGuest = start_probe("--unplug-deadline", "1", cpus="boot=2,max=2")
    guest.probe.run("plan ignore")
    operation = guest.ask_remove(1)
    guest.probe.wait_note("hotplug ignored")
    unresolved = guest.control.wait_step(operation, "unresolved")
    assert (unresolved["outcome"], unresolved["phase"]) == ("pending", "notified")
    assert unresolved["stuck"] == "event never fetched by the guest: it does not hear events"
    # Asked again while the event is queued: the same operation and event. The guest gets a second
    # interrupt, and for that an event that requires nothing.
    assert guest.ask_remove(1) == operation
    guest.probe.wait_note("hotplug ignored")
    guest.control.wait_step(operation, "unresolved")
    # The guest handles events again.
    assert guest.probe.run("fetch") == f"0 remove {CPU + 1:x}"
    assert guest.probe.run("fetch") == f"0 add {CPU:x}"
    assert guest.probe.run("fetch") == "1"
    assert guest.control.operation(operation)["phase"] == "fetched"
    guest.probe.do(1, GIVE)
    assert guest.control.wait_end(operation)["outcome"] == "done"
    ends_well(guest, 1)


def test_an_add_whose_event_is_never_fetched(start_probe) -> None:
    guest: ProbeGuest = start_probe("--unplug-deadline", "1", cpus="boot=1,max=2")
    guest.probe.run("plan ignore")
    operation = guest.ask_add(1)
    unresolved = guest.control.wait_step(operation, "unresolved")
    assert unresolved["stuck"] == "event never fetched by the guest: it does not hear events"
    # It takes the core without fetching the event.
    assert guest.probe.do(1, TAKE)["start"] == 0
    assert guest.control.wait_end(operation)["outcome"] == "done"
    # Nothing is pending any more, so the queued event reads as an add.
    assert guest.probe.run("fetch") == f"0 add {CPU + 1:x}"
    assert guest.control.connector(1)["state"] == "configured"
    ends_well(guest, 1)


@pytest.mark.parametrize("part, phase", [
    ("refuses", "fetched"),
    ("refuses-stopped", "stopped"),
    ("refuses-isolated", "isolated"),
])
def test_a_removal_refused_at_each_step_leaves_all_as_it_was(start_probe, part: str,
                                                             phase: str) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=1,max=2")
    guest.probe.play("linux")
    guest.add(1)
    guest.probe.play(part)
    for _ in range(3):
        before = state_of(guest, 1)
        ended = guest.remove(1)
        assert ended["outcome"] == "rejected"
        assert evidence(ended) == ("guest", "set-indicator", ISOLATION, 1, phase)
        error = guest.control.wait_event("DEVICE_UNPLUG_GUEST_ERROR")
        assert (error["device"], error["operation"]) == ("core1", ended["id"])
        guest.probe.wait_note("hotplug remove")
        if part == "refuses-isolated":
            guest.probe.do(1, "start")  # the one call that this part leaves out
        assert state_of(guest, 1) == before
    ends_well(guest, 1)


@pytest.mark.parametrize("part, furthest", [
    ("declines-usable", "allocated"),
    ("declines-unisolated", "unisolated"),
    ("declines-half-read", "unisolated"),
])
def test_an_add_declined_at_each_step(start_probe, part: str, furthest: str) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=1,max=2")
    guest.probe.play(part)
    before = state_of(guest, 1)
    for _ in range(3):
        ended = guest.add(1)
        assert ended["outcome"] == "rejected"
        assert evidence(ended)[:4] == ("guest", "set-indicator", ALLOCATION, 0)
        assert steps(ended)[-2:] == [furthest, "ended"]
        assert guest.control.wait_event("DEVICE_DELETED")["device"] == "core1"
        guest.probe.wait_note("hotplug add")
        assert state_of(guest, 1) == before
    ends_well(guest, 1)


def test_cores_given_back_and_taken_without_being_asked(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=2,max=4")
    assert guest.probe.do(1, "isolate unusable sense") == {"isolate": 0, "unusable": 0, "sense": 2}
    given = guest_operation(guest)
    assert (given["kind"], given["outcome"], given["device"]) == ("guest-release", "done", "core1")
    assert guest.control.connector(1)["attached"] is True
    # Released once more: no effect, no event.
    assert guest.probe.do(1, "isolate unusable") == {"isolate": 0, "unusable": 0}
    assert guest.probe.do(1, TAKE)["start"] == 0
    taken = guest_operation(guest)
    assert (taken["kind"], taken["outcome"]) == ("guest-take", "done")
    assert [op["kind"] for op in guest.control.execute("query-operations")] == [
        "guest-release", "guest-take"]
    # A core that is not plugged in can neither be taken nor released.
    assert guest.probe.do(2, "sense usable unisolate configure unusable isolate start query") == {
        "sense": 2, "usable": -3, "unisolate": -3, "configure": -9003, "unusable": 0,
        "isolate": 0, "start": -3, "query": 0}
    assert guest.control.connector(2)["state"] == "unusable"
    # The guest may release core 0, too.
    guest.probe.do(0, "isolate unusable usable unisolate configure")
    assert guest.control.connector(0)["state"] == "configured"
    ends_well(guest, 1)


def test_a_release_on_another_connector_is_no_answer(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=3,max=3")
    guest.probe.play("silent")
    guest.probe.answer_fences("")
    operation = guest.ask_remove(1)
    guest.control.wait_step(operation, "fetched")
    assert guest.probe.do(2, "isolate unusable") == {"isolate": 0, "unusable": 0}
    assert guest.probe.do(0, "unisolate") == {"unisolate": 0}
    assert guest.control.operation(operation)["outcome"] == "pending"
    assert guest.control.connector(2)["attached"] is True
    guest.probe.do(1, "isolate unusable")
    assert guest.control.wait_end(operation)["outcome"] == "done"


def test_steps_out_of_order_get_the_documented_answers(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=1,max=2")
    guest.probe.play("backwards")
    add = guest.ask_add(1)
    # Only the last step is valid; the add continues from its state.
    assert "configure=-9003 unisolate=-3 usable=0" in guest.probe.wait_note("hotplug add")
    operation = guest.control.operation(add)
    assert (operation["outcome"], operation["phase"]) == ("pending", "allocated")
    assert guest.probe.do(1, "configure unisolate configure start") == {
        "configure": 0, "unisolate": 0, "start": 0}
    assert guest.control.wait_end(add)["outcome"] == "done"
    # Set-unusable is too early, isolate is valid, and unisolate then is a refusal.
    removed = guest.remove(1)
    assert "unusable=-3 isolate=0 unisolate=0" in guest.probe.wait_note("hotplug remove")
    assert (removed["outcome"], removed["evidence"]["phase"]) == ("rejected", "isolated")
    assert guest.control.connector(1)["state"] == "configured"
    ends_well(guest, 1)


def test_half_a_description_then_nothing_more(start_probe) -> None:
    guest: ProbeGuest = start_probe("--unplug-deadline", "1", cpus="boot=1,max=2")
    guest.probe.play("takes-half")
    guest.probe.answer_fences("")
    add = guest.ask_add(1)
    unresolved = guest.control.wait_step(add, "unresolved")
    assert unresolved["stuck"].startswith(
        "connector unisolated, description not read to the end")
    with pytest.raises(CommandError, match="already taken the core"):
        guest.control.execute("operation-cancel", id=add)
    # Removal requested during the add; isolated without being released.
    removal = guest.ask_remove(1)
    unresolved = guest.control.wait_step(removal, "unresolved")
    assert unresolved["stuck"].startswith("connector isolated, not released since")
    # Unisolate undoes that: the removal is refused, the add continues.
    assert guest.probe.do(1, "unisolate") == {"unisolate": 0}
    assert guest.control.wait_end(removal)["outcome"] == "rejected"
    assert guest.control.operation(add)["outcome"] == "pending"
    assert guest.control.connector(1)["state"] == "unisolated"
    # The walk can be continued or begun anew, with the same result.
    assert guest.probe.do(1, "configure start") == {"configure": 0, "start": 0}
    assert guest.control.wait_end(add)["outcome"] == "done"
    ends_well(guest, 1)


def test_a_removal_and_an_add_that_end_together(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=1,max=2")
    guest.probe.play("takes-half")
    guest.probe.answer_fences("")
    add = guest.ask_add(1)
    guest.control.wait_step(add, "unisolated")
    guest.probe.play("silent")
    guest.probe.answer_fences("")
    removal = guest.ask_remove(1)
    guest.control.wait_step(removal, "fetched")
    guest.probe.do(1, "isolate unusable")
    assert guest.control.wait_end(removal)["outcome"] == "done"
    assert guest.control.operation(add)["outcome"] == "rejected"
    assert guest.control.connector(1)["attached"] is False
    ends_well(guest, 1)


def test_a_cancelled_removal_that_the_guest_carries_out_after_all(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=2,max=2")
    guest.probe.play("silent")
    guest.probe.answer_fences("")
    operation = guest.ask_remove(1)
    guest.control.wait_step(operation, "fetched")
    guest.control.execute("operation-cancel", id=operation)
    assert guest.control.wait_end(operation)["outcome"] == "cancelled"
    # The core stays plugged in; the guest has released it unasked.
    guest.probe.do(1, "isolate unusable")
    data = guest_operation(guest)
    assert (data["kind"], data["outcome"]) == ("guest-release", "done")
    assert guest.control.connector(1)["attached"] is True
    assert guest.remove(1)["evidence"]["source"] == "operator"
    ends_well(guest, 1)


def test_a_running_core_given_back_with_its_threads_still_running(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=2,max=2")
    guest.probe.play("silent")
    guest.probe.answer_fences("")
    assert guest.probe.do(1, "start") == {"start": 0}
    operation = guest.ask_remove(1)
    guest.control.wait_step(operation, "fetched")
    # No stop-self. The guest has released the core, so its thread is stopped.
    guest.probe.do(1, "isolate unusable")
    ended = guest.control.wait_end(operation)
    assert ended["outcome"] == "done"
    assert ended["evidence"]["threads-running"] == 1
    assert guest.probe.do(1, "start") == {"start": -3}
    ends_well(guest, 1)


def test_a_vcpu_gives_back_the_core_it_runs_on(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=2,max=2")
    guest.probe.play("silent")
    guest.probe.answer_fences("")
    guest.probe.do(1, "start")
    operation = guest.ask_remove(1)
    guest.control.wait_step(operation, "fetched")
    assert guest.probe.set_indicator(ISOLATION, CPU + 1, 0, on=1) == 0
    # The call that releases the core does not return.
    guest.probe.send(f"on 1 rtas set-indicator 1 {ALLOCATION:x} {CPU + 1:x} 0")
    ended = guest.control.wait_end(operation)
    assert (ended["outcome"], ended["evidence"]["vcpu"]) == ("done", 1)
    assert guest.control.connector(1)["attached"] is False
    assert [vcpu["state"] for vcpu in guest.control.connector(1)["vcpus"]] == ["absent"]
