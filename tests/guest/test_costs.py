# SPDX-License-Identifier: Apache-2.0
"""Counts for POWER, each with a ceiling in tests/costs/ceilings.py."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from guest import Guest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/costs"))
from ceilings import check  # noqa: E402


def test_quiet_boot(start) -> None:
    guest: Guest = start(cpus="boot=1,max=4")
    guest.wait_ready()
    check("boot-exits", guest.control.execute("query-metrics")["guest-exits"])


@pytest.mark.skipif(os.environ.get("PAPRIKA_SUITE", "bookworm") != "bookworm",
                    reason="the ceiling is for one suite's C library")
def test_size(tmp_path: Path) -> None:
    """Of the static binary, as cross-built."""
    binary = ROOT / ".lab/build-ppc64le/src/vmm/paprika"
    if not binary.exists():
        pytest.skip("there is no static build on a POWER machine")
    strip = shutil.which("powerpc64le-linux-gnu-strip")
    assert strip
    subprocess.run([strip, "-o", tmp_path / "paprika", binary], check=True)
    check("binary-bytes", (tmp_path / "paprika").stat().st_size)
