# SPDX-License-Identifier: Apache-2.0
"""Each command that adds and removes a device, with a guest that does its part: it takes the device, a
driver uses it, and lets go of it. In the sandbox (lab/test sandbox) a system call that has no row ends
the process here, and not only on a machine with a real guest."""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Vmm
from guest import DEADLINE, CommandError, Control
from play import play
from played_devices import Slot
from test_client_disks import image
from vhost_toy import Backend

HEADER = 12  # virtio-net's, before each frame
FRAME = bytes(range(60))


class Played:
    """A guest that plays these lines, and a client that is subscribed."""

    def __init__(self, directory: Path, *lines: str, options: tuple[str, ...] = ()) -> None:
        self.vmm = Vmm(directory, cpus="boot=1,max=2", memory="size=256M,max=1G,shared",
                       options=("--pci", *options), image=play(*lines))
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self.vmm.path)
        self.control = Control(connection)

    def execute(self, command: str, **arguments: Any) -> Any:
        return self.control.execute(command, **arguments)

    def pass_on(self, fd: int, command: str, **arguments: Any) -> Any:
        """With a descriptor, which comes before the request."""
        socket.send_fds(self.control.socket, [b"\n"], [fd])
        return self.execute(command, **arguments)

    def add(self, **arguments: Any) -> dict[str, Any]:
        """A device, which the guest takes and uses."""
        operation = self.control.wait_end(self.execute("device_add", **arguments)["operation"])
        assert operation["outcome"] == "done", operation
        return operation

    def remove(self, name: str, **arguments: Any) -> dict[str, Any]:
        operation = self.execute("device_del", id=name, **arguments)["operation"]
        ended = self.control.wait_end(operation)
        assert ended["outcome"] == "done", ended
        self.control.wait_event("DEVICE_DELETED", lambda data: data["device"] == name)
        return ended

    def end(self) -> None:
        self.control.close()
        self.vmm.end()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Played]]:
    running: list[Played] = []

    def begin(*lines: str, options: tuple[str, ...] = ()) -> Played:
        running.append(Played(tmp_path, *lines, options=options))
        return running[-1]

    yield begin
    for played in running:
        played.end()


def read_sector(life: Slot) -> list[str]:
    """A request of a disk: 16 zeros are a header that asks for the first sector."""
    return life.request(0, (life.data(), 16, False), (life.data(0x1000), 512, True),
                        (life.data(0x2000), 1, True))


def add_disk(played: Played, path: str, name: str) -> None:
    with open(path, "r+b") as file:
        added = played.pass_on(file.fileno(), "add-fd")
    assert [fdset["fdset-id"] for fdset in played.execute("query-fdsets")] == [added["fdset-id"]]
    played.execute("blockdev-add", driver="file", node_name=name,
                   filename=f"/dev/fdset/{added['fdset-id']}")
    played.execute("remove-fd", fdset_id=added["fdset-id"])
    played.add(driver="virtio-blk-pci", id=name, drive=name)


@pytest.mark.parametrize("force", [False, True])
def test_a_disk(start: Callable[..., Played], tmp_path: Path, force: bool) -> None:
    life = Slot(0)
    played = start(*life.take(), *life.up(), *read_sector(life), life.answered(0),
                   *life.give_back())
    add_disk(played, image(tmp_path, "data.img"), "data")
    arguments = {"force": True} if force else {}
    operation = played.remove("data", **arguments)
    assert operation.get("forced", False) == force
    played.execute("blockdev-del", node_name="data")
    assert played.execute("query-named-block-nodes") == []


def test_a_source_of_random_numbers(start: Callable[..., Played]) -> None:
    life = Slot(0)
    played = start(*life.take(), *life.up(), *life.request(0, (life.data(), 64, True)),
                   life.answered(0), *life.give_back())
    played.add(driver="virtio-rng-pci", id="rng1")
    played.remove("rng1")


def test_a_network_device(start: Callable[..., Played]) -> None:
    """A frame in, one out, and the link down and up meanwhile."""
    life = Slot(0, queues=2)
    played = start(
        *life.take(), *life.up(), *life.request(0, (life.data(0x4000), 2048, True)), life.answered(0),
        *(f"poke {life.data(HEADER + at):#x} 4 {struct.unpack_from('<I', FRAME, at)[0]:#x}"
          for at in range(0, len(FRAME), 4)),
        *life.request(1, (life.data(), HEADER + len(FRAME), False)), life.answered(1),
        *life.give_back())
    ours, theirs = socket.socketpair()
    with ours, theirs:
        played.pass_on(theirs.fileno(), "getfd", fdname="unused")
        played.execute("closefd", fdname="unused")
        played.pass_on(theirs.fileno(), "getfd", fdname="lan")
        played.execute("netdev_add", type="stream", id="lan", addr={"type": "fd", "str": "lan"})
        ours.sendall(struct.pack(">I", len(FRAME)) + FRAME)
        played.add(driver="virtio-net-pci", id="net1", netdev="lan", mac="52:54:00:12:34:56")
        assert ours.recv(4 + len(FRAME), socket.MSG_WAITALL) == struct.pack(">I", len(FRAME)) + FRAME
        played.execute("set_link", name="net1", up=False)
        played.execute("set_link", name="lan", up=True)
        assert played.execute("query-netdevs")[0]["device"] == "net1"
        played.remove("net1")
        played.execute("netdev_del", id="lan")
    # No tap, no vhost-vsock: looked at, and refused.
    with open(os.devnull, "r+b") as other:
        played.pass_on(other.fileno(), "getfd", fdname="other")
        played.execute("netdev_add", type="tap", id="tap", fd="other")
        with pytest.raises(CommandError):
            played.execute("device_add", driver="virtio-net-pci", netdev="tap", id="net2")
        played.pass_on(other.fileno(), "getfd", fdname="other")
        with pytest.raises(CommandError):
            played.execute("device_add", driver="vhost-vsock-pci", guest_cid=3, vhostfd="other")


@pytest.mark.parametrize("arguments", [
    {"driver": "vhost-user-blk-pci"}, {"driver": "vhost-user-fs-pci", "tag": "data"}], ids=["blk", "fs"])
@pytest.mark.parametrize("dies", [False, True], ids=["lives", "dies"])
def test_a_device_that_a_program_serves(start: Callable[..., Played], arguments: dict[str, str],
                                        dies: bool) -> None:
    """The program may die while the guest uses the device."""
    life = Slot(0)
    played = start(*life.take(), *life.up(), *read_sector(life), life.answered(0), *life.give_back())
    backend = Backend()
    played.pass_on(backend.end.fileno(), "getfd", fdname="socket")
    played.execute("chardev-add", id="char", backend={
        "type": "socket", "data": {"addr": {"type": "fd", "data": {"str": "socket"}}}})
    assert [char["label"] for char in played.execute("query-chardev")] == ["char"]
    played.add(chardev="char", id="served", **arguments)
    assert backend.has_served.wait(DEADLINE)
    if dies:
        backend.die()
        played.control.wait_event("DEVICE_BACKEND_LOST", lambda data: data["device"] == "served")
    played.remove("served")
    played.execute("chardev-remove", id="char")
    backend.finish()


def connected(played: Played) -> Backend:
    """A new back end, whose socket has been passed as "socket"."""
    backend = Backend()
    played.pass_on(backend.end.fileno(), "getfd", fdname="socket")
    return backend


def test_another_back_end(start: Callable[..., Played]) -> None:
    """One dies between two requests of the guest's; the next answers the second."""
    life = Slot(0)
    played = start(*life.take(), *life.up(), *read_sector(life), life.answered(0),
                   *life.event(), *read_sector(life), life.answered(0), *life.let_go())
    first = connected(played)
    played.execute("chardev-add", id="char", backend={
        "type": "socket", "data": {"addr": {"type": "fd", "data": {"str": "socket"}}}})
    played.add(driver="vhost-user-blk-pci", chardev="char", id="served")
    assert first.has_served.wait(DEADLINE)
    second = connected(played)
    with pytest.raises(CommandError, match="lost no back end"):
        played.execute("device-reconnect", id="served", fd="socket")
    second.finish()
    first.finish()
    played.control.wait_event("DEVICE_BACKEND_LOST")
    second = connected(played)
    assert played.execute("device-reconnect", id="served", fd="socket") == {"resumes": True}
    with pytest.raises(CommandError, match="not found"):
        played.execute("device-reconnect", id="served", fd="socket")
    # The guest's second request comes with the next event.
    played.remove("served")
    assert second.served == 1 and second.begun[0] == 1
    second.finish()


def test_a_reset_and_a_stop_with_a_device_in_use(start: Callable[..., Played], tmp_path: Path) -> None:
    """The guest that begins anew finds the disk on its bus."""
    life = Slot(0)
    played = start(*life.take(), *life.up(), *read_sector(life), life.answered(0))
    add_disk(played, image(tmp_path, "data.img"), "data")
    played.execute("stop")
    played.control.wait_event("STOP")
    played.execute("cont")
    played.execute("system_reset")
    played.control.wait_event("RESET")
    assert [slot["state"] for slot in played.execute("query-connectors", resource="pci")] == ["configured"]


def test_memory_that_the_guest_has_not_taken(start: Callable[..., Played]) -> None:
    played = start("put rests", "wait", "wait")
    played.execute("object-add", qom_type="memory-backend-ram", id="mem1", size=256 << 20)
    added = played.execute("device_add", driver="pc-dimm", id="dimm1", memdev="mem1")["operation"]
    removed = played.execute("device_del", id="dimm1")["operation"]
    played.control.wait_event("DEVICE_DELETED", lambda data: data["device"] == "dimm1")
    assert [played.control.operation(number)["outcome"] for number in (added, removed)] == \
        ["cancelled", "done"]
    played.execute("object-del", id="mem1")


def test_no_command_is_left_out(start: Callable[..., Played]) -> None:
    """Whatever adds, removes or changes a device is executed in this file."""
    played = start("wait")
    text = Path(__file__).read_text()
    names = [command["name"] for command in played.execute("query-commands")]
    changes = [name for name in names if re.search(r"[-_](add|del|remove|reconnect)$|fd$|^set_link$", name)]
    assert len(changes) > 12
    assert [name for name in changes if f'"{name}"' not in text] == []
