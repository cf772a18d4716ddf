# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the real-guest tests: the lab host, and a way to start guests on it."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lab"))
from guest import Guest, elf, put_kernel  # noqa: E402
from host_api import Host  # noqa: E402


@pytest.fixture(scope="session")
def host() -> Host:
    return Host.open()


@pytest.fixture
def start(host: Host) -> Iterator[Callable[..., Guest]]:
    """Start guests that end with the test."""
    guests: list[Guest] = []

    def start_guest(*options: str, **settings: object) -> Guest:
        guest = Guest(host, *options, **settings)  # type: ignore[arg-type]
        guests.append(guest)
        return guest

    yield start_guest
    for guest in guests:
        guest.close()


@pytest.fixture(scope="session")
def silent_kernel(host: Host) -> Iterator[str]:
    """A guest that never says anything: one instruction, a branch to itself."""
    directory = f"/tmp/paprika-test-silent-{uuid.uuid4().hex[:12]}"
    yield put_kernel(host, directory, "silent", elf([0x48000000]))
    host.run(["rm", "-rf", directory], check=True)


@pytest.fixture(autouse=True)
def nothing_left(host: Host) -> Iterator[None]:
    """After each test, no VMM runs on the host that did not run before it."""
    yield
    running = host.run(["sh", "-c", "ps -o pid,comm | grep ' paprika$' || true"], check=True)
    assert running.stdout == b"", f"left running: {running.stdout.decode()}"
