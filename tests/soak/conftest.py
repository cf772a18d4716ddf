# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the endurance tests: the lab host, and where lab/guest.py is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lab"))
from guest import scratch_directory  # noqa: E402
from guest_fixtures import host, root_disk, start  # noqa: E402, F401
from host_api import Host  # noqa: E402


@pytest.fixture
def scratch(host: Host) -> Iterator[str]:  # noqa: F811
    """A directory on the host, removed after the test."""
    with scratch_directory(host) as directory:
        yield directory
