# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the endurance test: the lab host, and where lab/guest.py is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lab"))
from host_api import Host  # noqa: E402


@pytest.fixture(scope="session")
def host() -> Host:
    return Host.open()
