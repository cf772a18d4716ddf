# SPDX-License-Identifier: Apache-2.0
"""A client made for QMP, that knows QEMU's types and ends at anything else (lab/qmp_types.py): it
adds and removes a core with nothing that QMP has not."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from conftest import Vmm
from guest import CommandError, Control


@pytest.fixture
def client(socket_path: str) -> Iterator[Control]:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(socket_path)
    strict = Control(connection, subscribe=False)
    yield strict
    strict.close()


def test_adds_and_removes_a_core(client: Control, socket_path: str) -> None:
    """The way kata does: the place is taken from the list, its number is sent as text."""
    place = next(place for place in reversed(client.execute("query-hotpluggable-cpus"))
                 if "qom-path" not in place)
    core = place["props"]["core-id"]
    added = client.execute("device_add", driver=place["type"], id="cpu-2", core_id=str(core))
    assert added == {}
    # Another client does more with this guest meanwhile, and has subscribed to more.
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(socket_path)
    other = Control(connection)
    assert other.execute("device_add", driver=place["type"], core_id=core + 1)["operation"] > 0
    assert [cpu["props"]["core-id"] for cpu in client.execute("query-cpus-fast")][-2:] == [
        core, core + 1]
    assert client.execute("device_del", id="cpu-2") == {}
    assert client.wait_event("DEVICE_DELETED") == {
        "device": "cpu-2", "path": "/machine/peripheral/cpu-2"}
    with pytest.raises(CommandError) as caught:
        client.execute("device_del", id="cpu-2")
    assert caught.value.error_class == "DeviceNotFound"
    other.wait_event("OPERATION", lambda data: data["operation"]["device"] == "cpu-2")
    other.close()


def test_does_all_else_that_qmp_has(client: Control, vmm: Vmm) -> None:
    for command in ("query-version", "query-commands", "query-status", "query-name", "query-kvm",
                    "stop", "cont", "system_reset", "system_powerdown"):
        client.execute(command)
    for event in ("STOP", "RESUME", "RESET", "POWERDOWN"):
        client.wait_event(event)
    with pytest.raises(CommandError, match="core 0 already populated"):
        client.execute("device_add", driver="host-spapr-cpu-core", core_id="0x0")
    client.execute("quit")
    client.wait_event("SHUTDOWN")
    vmm.process.communicate()
    assert vmm.process.returncode == 0


def test_writes_as_qmp_lets_it(client: Control) -> None:
    """Over lines, in single quotes; and each answer has the id of its request."""
    client.socket.sendall(
        b"{'execute':\n 'query-name',\r\n 'id': 'it\\'s'}"
        b'{"execute": "device_del", "arguments": {"id": 99999999999999999999}, "id": 1}\n'
        b'{"execute": "query-name", "id": 99999999999999999999}\n'
        b'{"execute": "query-name\\u0000", "id": 2}\n')
    lines = client.socket.makefile("r")
    replies = [json.loads(next(lines)) for _ in range(4)]
    assert [reply["id"] for reply in replies] == ["it's", 1, 1e20, 2]
    assert ["return" in reply for reply in replies] == [True, False, True, False]
    lines.close()
