# SPDX-License-Identifier: Apache-2.0
"""pytest fixtures shared by all tests with real guests; a conftest.py imports those it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from guest import Guest
from guest_disks import put_root
from host_api import LAB, Host

Kind = TypeVar("Kind", bound=Guest)


def starter(host: Host, kind: type[Kind]) -> Iterator[Callable[..., Kind]]:
    """For a fixture: a function that starts guests of that class; they end after the test."""
    guests: list[Kind] = []

    def start_guest(*options: str, **settings: object) -> Kind:
        guest = kind(host, *options, **settings)  # type: ignore[arg-type]
        guests.append(guest)
        return guest

    yield start_guest
    for guest in guests:
        guest.close()


@pytest.fixture(scope="session")
def host() -> Host:
    return Host.open()


@pytest.fixture(scope="session")
def root_disk(host: Host) -> Callable[[str], str]:
    """guest_disks.put_root()"""
    return lambda directory: put_root(host, directory)


@pytest.fixture(scope="session")
def backends(host: Host) -> None:
    """The programs that serve devices (guest-images/backends), where Debian has them."""
    packed = host.path + "/backends.tar.gz"
    host.sync({packed: LAB / "host-backends.tar.gz"})
    host.run(["sh", "-c", 'gzip -dc "$1" | tar -xf - -C /', "unpack", packed], check=True)


@pytest.fixture
def start(host: Host) -> Iterator[Callable[..., Guest]]:
    """Start guests that end with the test."""
    yield from starter(host, Guest)


@pytest.fixture(autouse=True)
def nothing_left(host: Host) -> Iterator[None]:
    """After each test, no VMM is left running on the host."""
    yield
    running = host.run(["sh", "-c", "ps -o pid,comm | grep ' paprika$' || true"], check=True)
    assert running.stdout == b"", f"left running: {running.stdout.decode()}"
