# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the guest tests: the lab host, and a function to start guests on it."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lab"))
from guest import elf, put_kernel  # noqa: E402
from guest_fixtures import host, nothing_left, start  # noqa: E402, F401
from host_api import Host  # noqa: E402


@pytest.fixture(scope="session")
def silent_kernel(host: Host) -> Iterator[str]:  # noqa: F811
    """A guest that does nothing: one instruction, a branch to itself."""
    directory = f"/tmp/paprika-test-silent-{uuid.uuid4().hex[:12]}"
    yield put_kernel(host, directory, "silent", elf([0x48000000]))
    host.run(["rm", "-rf", directory], check=True)
