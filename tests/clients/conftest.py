# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the client tests: paprika above a fake KVM, on this machine, with a real control
socket. PAPRIKA_FAKE and PAPRIKACTL name the two programs, PAPRIKA_FAKE_OPTIONS further options of
the first: a program with sanitizers in it needs --no-sandbox (lab/test builds and sets them)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lab"))
from guest import elf  # noqa: E402


FAKE = [os.environ["PAPRIKA_FAKE"], "run", *os.environ.get("PAPRIKA_FAKE_OPTIONS", "").split()]


class Vmm:
    """The program, until end() or the end of the test."""

    def __init__(self, directory: Path, cpus: str = "boot=2,max=4",
                 memory: str = "512M", options: Sequence[str] = (),
                 image: bytes = elf([0x48000000])) -> None:
        kernel = directory / "kernel"
        kernel.write_bytes(image)
        self.path = str(directory / "control")
        self.process = subprocess.Popen(
            [*FAKE, "--kernel", str(kernel), "--control", self.path,
             "--console", "none", "--cpus", cpus, "--memory", memory, "--log-level", "info", *options],
            stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if re.search("guest .* started", line):
                break

    def end(self) -> None:
        if self.process.returncode is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate()
        assert self.process.returncode == 0
        assert not os.path.exists(self.path)


@pytest.fixture
def vmm(tmp_path: Path) -> Iterator[Vmm]:
    running = Vmm(tmp_path)
    yield running
    running.end()


@pytest.fixture
def socket_path(vmm: Vmm) -> str:
    """The control socket of a guest that never runs."""
    return vmm.path
