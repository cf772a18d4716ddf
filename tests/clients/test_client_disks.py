# SPDX-License-Identifier: Apache-2.0
"""Disks of a guest that never runs: what paprikactl says of those that cannot be added and of removals by
force, what the device tree tells of them, and descriptors of clients that have died."""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import re
import signal
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import FAKE, Vmm
from guest import elf
from test_messages import CTL, run

F_OFD_SETLK, LOCK_OF_WRITERS = 37, 101


def image(directory: Path, name: str, size: int = 1 << 20) -> str:
    path = directory / name
    path.touch()
    os.truncate(path, size)
    return str(path)


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Vmm]:
    """With one disk."""
    running = Vmm(tmp_path, options=("--disk", f"file={image(tmp_path, 'boot.img')},id=boot"))
    yield running
    running.end()


def host_has_io_uring() -> bool:
    io_uring_setup = 425
    ring = ctypes.CDLL(None).syscall(io_uring_setup, 1, ctypes.create_string_buffer(120))
    if ring >= 0:
        os.close(ring)
    return ring >= 0


def ctl(guest: Vmm, *words: str) -> tuple[int, str, str]:
    return run(CTL, "-s", guest.path, *words)


def test_files_that_cannot_be_added_are_named(guest: Vmm, tmp_path: Path) -> None:
    small = image(tmp_path, "small.img", 100)
    status, _, text = ctl(guest, "disk", "add", small, "--id", "data")
    assert status == 1 and small in text and "512" in text, text
    boot = str(tmp_path / "boot.img")
    status, _, text = ctl(guest, "disk", "add", boot)
    assert status == 1 and boot in text and "it is this guest's own disk 'boot'" in text, text
    other = image(tmp_path, "other.img")
    with open(other, "r+b") as file:
        fcntl.fcntl(file, F_OFD_SETLK,
                    struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, LOCK_OF_WRITERS, 1, 0))
        status, _, text = ctl(guest, "disk", "add", other)
        assert status == 1 and other in text and "in use by another program" in text, text
    # Nothing is left of them.
    status, text, _ = ctl(guest, "execute", "query-named-block-nodes")
    assert status == 0 and json.loads(text) == []
    assert ctl(guest, "disk", "add", other)[0] == 0


def test_the_same_file_twice_in_one_command(tmp_path: Path) -> None:
    both = ("--disk", f"file={image(tmp_path, 'one.img')},id=a") + \
        ("--disk", f"file={tmp_path / 'one.img'},id=b")
    kernel = tmp_path / "kernel"
    kernel.write_bytes(elf([0x48000000]))
    status, _, text = run(*FAKE, "--kernel", str(kernel), "--console", "none", *both)
    assert status == 2 and "it is this guest's own disk 'a'" in text, text


def test_removal_by_force(guest: Vmm) -> None:
    """No driver of this guest's uses the disk."""
    status, text, _ = ctl(guest, "disk", "remove", "boot", "--force", "--wait")
    assert status == 0 and "boot: removed by force after" in text, text
    status, text, _ = ctl(guest, "--json", "operations")
    operation = json.loads(text)[-1]
    assert (operation["forced"], operation["requests-refused"], operation["outcome"]) == \
        (True, 0, "done"), operation
    request = json.dumps({"execute": "device_del", "arguments": {"id": "core1", "force": True}})
    status, _, text = ctl(guest, "execute", request)
    assert status == 1 and "cannot be removed by force" in text and "without force" in text, text


def test_a_client_that_dies_leaves_no_descriptor(guest: Vmm, tmp_path: Path) -> None:
    with open(image(tmp_path, "data.img"), "r+b") as file:
        for _ in range(70):  # there is room for 64
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(guest.path)
                client.sendall(b'{"execute": "qmp_capabilities"}')
                socket.send_fds(client, [b'{"execute": "add-fd"}'], [file.fileno()])
                said = b""
                while b"fdset-id" not in said:
                    received = client.recv(4096)
                    assert received, said
                    said += received
    # A later client's requests come after the end of those.
    status, text, _ = ctl(guest, "execute", "query-fdsets")
    assert status == 0 and json.loads(text) == []


def test_the_device_tree_has_the_devices(tmp_path: Path) -> None:
    """What is behind them is not opened: no image, no socket, no tap."""
    tree = tmp_path / "tree"
    # dtb takes the options that run takes.
    options = [word for word in FAKE[2:] if word != "--no-sandbox"]
    assert run(FAKE[0], "dtb", "-o", str(tree), *options, "--disk", "file=/no/such.img,id=a", "--disk",
               "file=b.img,queues=4", "--disk", "vhost=/no/such.socket,queues=2", "--net", "passt", "--net",
               "tap=nosuch,queues=2", "--share", "dir=/no/such,tag=data", "--vsock", "cid=3",
               "--rng") == (0, "", "")
    source = subprocess.run(["dtc", "-q", "-I", "dtb", "-O", "dts", str(tree)], check=True,
                            capture_output=True, text=True).stdout
    bus = source[source.index("pci@800000020000000 {"):]
    found = re.findall(r"([\w-]+@\d+) {[^{}]*ibm,req#msi-x = <(0x\d+)>", bus)
    # An interrupt for each queue, and one for a change of the configuration.
    assert found == [
        ("scsi@1", "0x02"), ("scsi@2", "0x05"), ("scsi@3", "0x03"), ("ethernet@4", "0x03"),
        ("ethernet@5", "0x06"), ("mass-storage@6", "0x03"), ("legacy-device@7", "0x04"),
        ("legacy-device@8", "0x02")], found


def test_io_uring_is_set_up_for_eight_queues_of_disks_to_come(tmp_path: Path) -> None:
    """In the sandbox no ring can be made; eight were made before it closed."""
    guest = Vmm(tmp_path, options=("--pci", "--disk", f"file={image(tmp_path, 'boot.img')},id=boot"))
    for number in range(9):
        status, _, text = ctl(guest, "disk", "add", image(tmp_path, f"{number}.img"))
        assert status == 0, text
    guest.process.send_signal(signal.SIGTERM)
    said = guest.process.communicate()[1]
    assert guest.process.returncode == 0, said
    if host_has_io_uring():
        assert said.count("its requests are done one after the other") == 1, said
    else:
        print("io_uring is forbidden here: only looked at whether disks can be added")
