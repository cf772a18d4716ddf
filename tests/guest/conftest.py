# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the guest tests: the lab host, and a function to start guests on it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lab"))
from guest import elf, put_kernel, scratch_directory  # noqa: E402
from guest_fixtures import backends, host, nothing_left, root_disk, start  # noqa: E402, F401
from host_api import Host  # noqa: E402


@pytest.fixture(scope="session")
def silent_kernel(host: Host) -> Iterator[str]:  # noqa: F811
    """A guest that does nothing: one instruction, a branch to itself."""
    with scratch_directory(host) as directory:
        yield put_kernel(host, directory, "silent", elf([0x48000000]))


@pytest.fixture
def scratch(host: Host) -> Iterator[str]:  # noqa: F811
    """A directory on the host, removed after the test."""
    with scratch_directory(host) as directory:
        yield directory
