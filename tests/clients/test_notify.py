# SPDX-License-Identifier: Apache-2.0
"""What a service manager is told (sd_notify(3)), and the units that ask for it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import FAKE, Vmm
from test_clients import socat

DOCS = Path(__file__).resolve().parents[2] / "docs"


def requests(*commands: str) -> str:
    return "".join(f'{{"execute": "{command}"}}\n' for command in ("qmp_capabilities", *commands))


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A service manager's end, named in the environment."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@paprika-test-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(name.replace("@", "\0"))
        end.settimeout(30)
        yield end


def test_what_the_manager_is_told(manager: socket.socket, tmp_path: Path) -> None:
    vmm = Vmm(tmp_path)
    assert manager.recv(200) == b"READY=1\nSTATUS=running"
    socat(vmm.path, requests("stop", "cont"))
    assert [manager.recv(200), manager.recv(200)] == [b"STATUS=paused", b"STATUS=running"]
    vmm.end()
    assert manager.recv(200) == b"STOPPING=1"


def test_the_watchdog(manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    vmm = Vmm(tmp_path)
    assert [manager.recv(200) for _ in range(3)] == [b"READY=1\nSTATUS=running", b"WATCHDOG=1", b"WATCHDOG=1"]
    vmm.end()


def test_another_processs_watchdog(manager: socket.socket, tmp_path: Path,
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "1000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    vmm = Vmm(tmp_path)
    vmm.end()
    assert [manager.recv(200), manager.recv(200)] == [b"READY=1\nSTATUS=running", b"STOPPING=1"]


def test_a_manager_that_does_not_read(manager: socket.socket, tmp_path: Path) -> None:
    """What it misses it misses; nobody waits for it."""
    vmm = Vmm(tmp_path)
    answers = socat(vmm.path, requests(*["stop", "cont"] * 1000))
    assert sum("return" in answer for answer in answers) == 2001
    vmm.end()


@pytest.mark.parametrize("name, word", [
    ("nowhere", "is not the name of a socket"),
    ("/", "cannot connect"),
    ("/nonexistent/notify", "cannot connect"),
    ("/" + 200 * "x", "is not the name of a socket"),
])
def test_a_manager_that_is_not_there(tmp_path: Path, name: str, word: str) -> None:
    kernel = tmp_path / "kernel"
    kernel.write_bytes(b"")
    run = subprocess.run([*FAKE, "--kernel", str(kernel), "--console", "none"], stderr=subprocess.PIPE,
                         text=True, timeout=60, env={**os.environ, "NOTIFY_SOCKET": name}, check=False)
    assert run.returncode in (1, 2)
    assert "NOTIFY_SOCKET" in run.stderr and word in run.stderr and "unset it" in run.stderr


def test_the_units_are_valid(tmp_path: Path) -> None:
    """As systemd reads them, with a program that is there."""
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("no systemd-analyze on this machine")
    text = (DOCS / "paprika@.service.in").read_text().replace("@bindir@/paprika", shutil.which("true") or "")
    (tmp_path / "paprika@.service").write_text(text)
    shutil.copy(DOCS / "paprika@.socket", tmp_path)
    for unit in ("paprika@web.service", "paprika@web.socket"):
        run = subprocess.run([verify, "verify", "--man=no", str(tmp_path / unit)], capture_output=True,
                             text=True, timeout=60, check=False)
        assert (run.returncode, run.stderr) == (0, "")
