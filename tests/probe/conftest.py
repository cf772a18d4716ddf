# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the probe tests: the lab host, and a function to start probe guests on it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lab"))
from guest_fixtures import host, nothing_left, starter  # noqa: E402, F401
from host_api import Host  # noqa: E402
from probe import ProbeGuest  # noqa: E402


@pytest.fixture
def start_probe(host: Host) -> Iterator[Callable[..., ProbeGuest]]:  # noqa: F811
    """Start probe guests that end with the test."""
    yield from starter(host, ProbeGuest)
