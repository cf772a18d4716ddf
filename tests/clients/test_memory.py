# SPDX-License-Identifier: Apache-2.0
"""Memory and targets by paprikactl: above a fake KVM whose guest takes nothing, and with a server
that gives the answers of a guest that refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Vmm
from test_clients import OtherServer, ctl

PAPRIKA = {"qemu": {"major": 6, "minor": 2, "micro": 0}, "package": "paprika 0.1.0",
           "paprika": {"version": "0.1.0", "protocol": 3}}


@pytest.fixture
def path(tmp_path: Path) -> Iterator[str]:
    vmm = Vmm(tmp_path, memory="size=512M,max=2G")
    yield vmm.path
    vmm.end()


def listed(path: str) -> list[str]:
    status, text = ctl(path, "memory", "list")
    assert status == 0, text
    return [" ".join(line.split()) for line in text.splitlines()]


def backends_are_gone(path: str, *names: str) -> bool:
    return all(f"object '{name}' not found" in ctl(
        path, "execute", json.dumps({"execute": "object-del", "arguments": {"id": name}}))[1]
        for name in names)


def test_memory_is_listed_added_and_removed(path: str) -> None:
    assert listed(path) == ["DEVICE ADDRESS SIZE BLOCKS IN USE PENDING",
                            "at boot 512 MiB, added 0 GiB, at most 2 GiB"]
    assert ctl(path, "memory", "add", "512M") == (0, "operation 1\n")
    assert ctl(path, "memory", "add", "262144K", "--id", "extra") == (0, "operation 2\n")
    assert listed(path)[1:] == ["dimm1 0x20000000 512 MiB 0 of 2 add (operation 1)",
                                "extra 0x40000000 256 MiB 0 of 1 add (operation 2)",
                                "at boot 512 MiB, added 768 MiB, at most 2 GiB"]
    # What the guest has not taken leaves at once, and its backend with it.
    status, text = ctl(path, "memory", "remove", "dimm1", "--wait")
    assert status == 0 and text.startswith("dimm1: removed after "), text
    assert backends_are_gone(path, "dimm1")
    assert ctl(path, "memory", "remove", "extra")[1] == "operation 4\n"
    # Without --wait the backend stays, and keeps its name.
    assert ctl(path, "memory", "add", "256M", "--id", "extra") == (
        1, "paprikactl: attempt to add duplicate property 'extra' to object (type 'container')\n")
    assert listed(path)[1:] == ["at boot 512 MiB, added 0 GiB, at most 2 GiB"]


def test_a_name_that_is_free_is_found(path: str) -> None:
    for n in (1, 2):
        assert ctl(path, "memory", "add", "256M")[0] == 0
        assert ctl(path, "memory", "remove", f"dimm{n}")[0] == 0
    assert ctl(path, "memory", "add", "256M")[0] == 0
    assert listed(path)[1].startswith("dimm3 ")


def test_memory_that_cannot_be_added_leaves_no_backend(path: str) -> None:
    status, text = ctl(path, "memory", "add", "4G")
    assert status == 1 and len(text.splitlines()) == 1, text
    assert backends_are_gone(path, "dimm1")
    # It is not pc-dimm that refuses here.
    status, text = ctl(path, "memory", "add", "256M", "--id", "1st")
    assert status == 1 and "Parameter 'id' expects an identifier" in text


def test_only_memory_is_removed_as_memory(path: str) -> None:
    assert ctl(path, "memory", "remove", "core1") == (
        1, "paprikactl: no memory has the name core1 (paprikactl memory list shows the names)\n")


def test_targets_without_waiting(path: str) -> None:
    assert ctl(path, "memory", "set", "1G") == (0, "operations 1, 2\n")
    assert ctl(path, "memory", "set", "1G") == (0, "nothing to do\n")
    assert [line.split()[0] for line in listed(path)[1:3]] == ["memory2", "memory3"]
    assert ctl(path, "--json", "cpu", "set", "3") == (0, '{"operations": [3]}\n')
    status, text = ctl(path, "operations")
    assert [line.split()[:5] for line in text.splitlines()[1:]] == [
        ["1", "add", "memory2", "memory", "2"], ["2", "add", "memory3", "memory", "3"],
        ["3", "add", "core2", "core", "2"]]
    status, text = ctl(path, "connectors")
    assert "LMB" in text and "CPU" in text
    assert "memory" not in ctl(path, "cpu", "list")[1]
    status, text = ctl(path, "memory", "set", "300M")
    assert status == 1 and "multiple of 256 MiB" in text


def test_targets_that_are_reached(path: str) -> None:
    assert ctl(path, "memory", "set", "512M", "--wait") == (0, "nothing to do\n")
    assert ctl(path, "memory", "set", "1G")[0] == 0
    assert ctl(path, "memory", "add", "512M")[0] == 0
    # A device of two blocks counts as two.
    assert ctl(path, "memory", "set", "512M", "--wait") == (0, "asked for 4 blocks fewer, got 4\n")
    assert ctl(path, "cpu", "set", "4")[0] == 0
    assert ctl(path, "cpu", "set", "3", "--wait") == (0, "asked for 1 core fewer, got 1\n")


def test_a_target_that_is_waited_for_in_vain(path: str) -> None:
    status, text = ctl(path, "memory", "set", "1G", "--timeout", "0.3")
    lines = text.splitlines()
    assert status == 4 and len(lines) == 3, text
    assert lines[0].startswith("memory2: add pending as operation 1 for ")
    assert lines[2] == "asked for 2 blocks more, got 0; pending: memory2, memory3"


# --- Answers of a guest that refuses -------------------------------------------------------------

def ended(number: int, device: str, outcome: str, kind: str = "remove", resource: str = "memory",
          **evidence) -> dict:
    """The event of an operation that has ended."""
    return {"event": "OPERATION", "timestamp": {"seconds": 1, "microseconds": 0}, "data": {
        "step": "ended", "operation": {
            "id": number, "kind": kind, "device": device, "resource": resource, "unit": number,
            "outcome": outcome, "elapsed-ms": 12,
            "evidence": {"source": "guest", "phase": "fetched", **evidence}}}}


FENCE = {"source": "fence", "call": "get-sensor-state", "vcpu": 0, "blocks-in-use": 1,
         "blocks": 1, "inferred": "a page stays"}
NONE_LEFT = {"return": {"operations": []}}


def refused(number: int, device: str) -> dict:
    return ended(number, device, "rejected", **FENCE)


def begun(*numbers: int, incomplete: str | None = None) -> dict:
    reply: dict = {"operations": list(numbers)}
    if incomplete:
        reply["incomplete"] = incomplete
    return {"return": reply}


SET = [
    pytest.param([(begun(1, 2, 3), refused(1, "m9"), ended(2, "m8", "done"), refused(3, "m7"))],
                 3, "asked for 3 blocks fewer, got 1; refused: m9, m7", id="refused"),
    # The event of an operation that ends at once may come before the reply.
    pytest.param([(ended(1, "m9", "done"), begun(1))],
                 0, "asked for 1 block fewer, got 1", id="early"),
    # Not all can be pending at once: asked again until nothing is missing.
    pytest.param([(begun(1, 2, incomplete="ask again"), ended(1, "m9", "done"),
                   ended(2, "m8", "done")), (begun(3, incomplete="ask again"),
                                             ended(3, "m7", "done")), NONE_LEFT],
                 0, "asked for 3 blocks fewer, got 3", id="rounds"),
    # What was refused in the first round and goes in the second is not refused.
    pytest.param([(begun(1, 2, incomplete="ask again"), refused(1, "m9"), ended(2, "m8", "done")),
                  (begun(3), ended(3, "m9", "done"))],
                 0, "asked for 2 blocks fewer, got 2", id="second chance"),
    # No progress: not asked for ever.
    pytest.param([(begun(1, 2, incomplete="ask again"), refused(1, "m9"), refused(2, "m8"))],
                 3, "asked for 2 blocks fewer, got 0; refused: m9, m8", id="no progress"),
    pytest.param([(begun(1, 2), ended(1, "m9", "superseded"), ended(2, "m8", "cancelled"))],
                 5, "asked for 2 blocks fewer, got 0; superseded by a reset: m9; cancelled: m8",
                 id="settled"),
    pytest.param([(begun(1, incomplete="no room"), ended(1, "m9", "done", kind="add")),
                  {"error": {"class": "GenericError", "desc": "no room"}}],
                 1, "asked for 1 block more, got 1", id="no room"),
]


@pytest.mark.parametrize("answers, status, summary", SET)
def test_what_becomes_of_a_target(tmp_path: Path, answers: list, status: int,
                                  summary: str) -> None:
    rounds = len(answers)
    server = OtherServer(str(tmp_path / "socket"), PAPRIKA, {
        "qmp_capabilities": {"return": {}}, "events-subscribe": {"return": {}},
        "query-connectors": {"return": []}, "set-memory": answers})
    got, text = ctl(str(tmp_path / "socket"), "memory", "set", "1G", "--wait")
    server.end()
    lines = text.splitlines()
    assert (got, summary in lines) == (status, True), text
    assert server.asked.count("set-memory") == rounds
    for line in lines:
        if "rejected" in line:
            assert line.endswith("removal rejected by the guest after 12 ms: the guest has finished "
                                 "handling the request, as a fence proves; RTAS get-sensor-state "
                                 "from vCPU 0 while \"fetched\"; 1 of 1 blocks in use "
                                 "(inferred: a page stays)"), line


def test_cores_have_a_summary_of_their_own(tmp_path: Path) -> None:
    call = {"call": "set-indicator", "indicator-name": "isolation-state", "value": 1, "vcpu": 2,
            "threads-running": 1, "threads": 2}
    server = OtherServer(str(tmp_path / "socket"), PAPRIKA, {
        "qmp_capabilities": {"return": {}}, "events-subscribe": {"return": {}},
        "set-cores": (begun(1), ended(1, "core3", "rejected", resource="core", **call))})
    assert ctl(str(tmp_path / "socket"), "cpu", "set", "1", "--wait") == (
        3, "core3: removal rejected by the guest after 12 ms: RTAS set-indicator isolation-state=1 "
        "(unisolate) from vCPU 2 while \"fetched\"; 1 of 2 threads running\n"
        "asked for 1 core fewer, got 0; refused: core3\n")
    server.end()


@pytest.mark.parametrize("outcome, status, forgotten", [
    ("done", 0, False), ("rejected", 3, True), ("superseded", 5, True), ("cancelled", 6, True)])
def test_the_backend_of_memory_that_is_not_added(tmp_path: Path, outcome: str, status: int,
                                                 forgotten: bool) -> None:
    server = OtherServer(str(tmp_path / "socket"), PAPRIKA, {
        "qmp_capabilities": {"return": {}}, "events-subscribe": {"return": {}},
        "object-add": {"return": {}}, "object-del": {"return": {}},
        "device_add": ({"return": {"operation": 1}},
                       ended(1, "dimm1", outcome, kind="add", **FENCE))})
    got, text = ctl(str(tmp_path / "socket"), "memory", "add", "1G", "--wait")
    server.end()
    assert (got, "object-del" in server.asked) == (status, forgotten), text


def test_guest_made_operations_have_a_name(tmp_path: Path) -> None:
    operations = [{"id": n, "kind": "guest-release", "device": "", "outcome": "done",
                   "elapsed-ms": 0, "evidence": {"source": "guest"}, **what} for n, what in (
                       (1, {"resource": "memory", "unit": 12}), (2, {"resource": "core", "unit": 2}),
                       (3, {"core-id": 3}))]
    for operation, name in zip(operations, ("memory block 12", "core 2", "core 3")):
        server = OtherServer(str(tmp_path / name), PAPRIKA, {
            "qmp_capabilities": {"return": {}}, "events-subscribe": {"return": {}},
            "query-operations": {"return": [operation]}})
        assert ctl(str(tmp_path / name), "operations", "1") == (
            0, f"{name}: given back by the guest unasked after 0 ms\n")
        server.end()
