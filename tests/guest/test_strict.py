# SPDX-License-Identifier: Apache-2.0
"""A QMP client that knows QEMU's types and ends at anything else, with a real guest: it adds and
removes cores and receives a refusal, and gets nothing that QMP does not have."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from guest import Control, Guest


@pytest.fixture
def guest(start) -> Guest:
    running: Guest = start(cpus="boot=1,max=4")
    running.wait_ready()
    return running


@pytest.fixture
def strict(guest: Guest) -> Iterator[Control]:
    client = Control(guest.host.connect_unix(guest.control_path), subscribe=False)
    yield client
    client.close()


def add_as_kata_does(strict: Control, name: str) -> int:
    """The number of the first free core, as text."""
    place = next(place for place in reversed(strict.execute("query-hotpluggable-cpus"))
                 if "qom-path" not in place)
    core = place["props"]["core-id"]
    assert strict.execute("device_add", driver=place["type"], id=name, core_id=str(core)) == {}
    return core


def test_a_strict_client_adds_and_removes_cores(guest: Guest, strict: Control) -> None:
    for _ in range(2):
        assert [add_as_kata_does(strict, name) for name in ("one", "two")] == [1, 2]
        guest.wait_online("0-2")
        assert [cpu["cpu-index"] for cpu in strict.execute("query-cpus-fast")] == [0, 1, 2]
        for name in ("one", "two"):
            assert strict.execute("device_del", id=name) == {}
            assert strict.wait_event("DEVICE_DELETED") == {
                "device": name, "path": f"/machine/peripheral/{name}"}
        assert guest.online() == "0"


def test_a_strict_client_is_told_of_a_refusal(guest: Guest, strict: Control) -> None:
    assert add_as_kata_does(strict, "one") == 1
    guest.wait_online("0-1")
    guest.set_online(0, False)
    assert strict.execute("device_del", id="one") == {}
    assert strict.wait_event("DEVICE_UNPLUG_GUEST_ERROR") == {
        "device": "one", "path": "/machine/peripheral/one"}
    guest.set_online(0, True)
    assert strict.execute("device_del", id="/machine/peripheral/one") == {}
    strict.wait_event("DEVICE_DELETED")
    for command, event in (("stop", "STOP"), ("cont", "RESUME"), ("system_reset", "RESET"),
                           ("quit", "SHUTDOWN")):
        assert strict.execute(command) == {}
        strict.wait_event(event)
    assert guest.wait_exit() == 0
