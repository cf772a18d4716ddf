# SPDX-License-Identifier: Apache-2.0
"""Output without a reader: the machine goes on and does what its operator asks, SIGTERM ends it
with 0, and what was dropped is told as soon as somebody reads again. The guest prints, makes calls
that are refused and touches what is not there, as fast as it can, and everything is logged.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import socket
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from test_ends import PROGRAM  # it also says where the next two are

from guest import DEADLINE, Control
from play import play

TALKS = play("put 0123456789", "hcall 0x9998", "store 0x7000000000", "rtas no-such-service",
             "again")
LOST = re.compile(rb"paprika: warn \[[0-9.]+\] log: standard error was not read, lines lost: (\d+)\n")
DROPPED = re.compile(rb"console: output is not read, (\d+) bytes dropped")
# A shell without /proc: what cannot be opened anew.
HIDDEN = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh")


class End(NamedTuple):
    """One descriptor for the program, and how it comes to be read again."""

    theirs: int
    ours: int

    def read_again(self) -> None:
        if os.isatty(self.theirs):
            termios.tcflow(self.theirs, termios.TCOON)

    def close(self) -> None:
        os.close(self.theirs)
        os.close(self.ours)


def fill(fd: int) -> None:
    """Until it takes no more."""
    os.set_blocking(fd, False)
    for size in (4096, 1):
        try:
            while True:
                os.write(fd, b"x" * size)
        except BlockingIOError:
            pass
    os.set_blocking(fd, True)


def pipe() -> End:
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    fill(theirs)
    return End(theirs, ours)


def terminal(stopped: bool) -> End:
    """One that Ctrl-S has stopped, or that is not read."""
    ours, theirs = pty.openpty()
    if stopped:
        termios.tcflow(theirs, termios.TCOOFF)
    else:
        fill(theirs)
    return End(theirs, ours)


def stream() -> End:
    ours, theirs = (end.detach() for end in socket.socketpair())
    fill(theirs)
    return End(theirs, ours)


ENDS: dict[str, Callable[[], End]] = {
    "pipe": pipe, "stopped terminal": lambda: terminal(True),
    "unread terminal": lambda: terminal(False), "socket": stream}


class Talker:
    """The program with that guest."""

    def __init__(self, directory: Path, *options: str, prefix: tuple[str, ...] = (),
                 **streams: int) -> None:
        (directory / "kernel").write_bytes(TALKS)
        self.control_path = str(directory / "control")
        self.process = subprocess.Popen(
            [*prefix, PROGRAM, "run", "--kernel", str(directory / "kernel"), "--cpus",
             "boot=2,max=4", "--control", self.control_path, "--log-level", "debug", *options],
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL,
               "stderr": subprocess.DEVNULL, **streams})
        self.control = Control(self.connect(self.control_path))

    def connect(self, path: str) -> socket.socket:
        deadline = time.monotonic() + DEADLINE
        while self.process.poll() is None and time.monotonic() < deadline:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(path)
                return connection
            except (FileNotFoundError, ConnectionRefusedError):
                connection.close()
                os.sched_yield()
        raise AssertionError("it does not listen")

    def goes_on(self) -> None:
        """Its guest is in and out, and what the operator asks is done; each leaves lines."""
        exits = self.control.execute("query-metrics")["guest-exits"]
        while self.control.execute("query-metrics")["guest-exits"] == exits:
            pass
        for _ in range(40):
            self.control.execute("device_add", driver="host-spapr-cpu-core", core_id=2, id="core2")
            self.control.execute("device_del", id="core2")

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(DEADLINE) == 0
        assert not os.path.exists(self.control_path)


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Callable[..., Talker]]:
    talkers: list[Talker] = []

    def start(*options: str, **more: object) -> Talker:
        talkers.append(Talker(tmp_path, *options, **more))  # type: ignore[arg-type]
        return talkers[-1]

    yield start
    for talker in talkers:
        talker.process.kill()
        talker.process.wait()
        talker.control.close()


@pytest.fixture(params=ENDS)
def end(request: pytest.FixtureRequest) -> Iterator[End]:
    made = ENDS[request.param]()
    yield made
    made.close()


def read_until(fd: int, pattern: re.Pattern[bytes]) -> re.Match[bytes]:
    said = b""
    while not (match := pattern.search(said.replace(b"\r", b""))):
        assert select.select([fd], [], [], DEADLINE)[0], said[-2000:]
        said += os.read(fd, 65536)
    return match


def test_nobody_reads_standard_error(talk: Callable[..., Talker], end: End) -> None:
    before = fcntl.fcntl(end.theirs, fcntl.F_GETFL)
    talker = talk("--console", "none", stderr=end.theirs)
    talker.goes_on()
    assert fcntl.fcntl(end.theirs, fcntl.F_GETFL) == before
    end.read_again()
    # Without a further line: the guest is stopped, so only what is owed is said.
    talker.control.execute("stop")
    assert int(read_until(end.ours, LOST)[1]) > 40
    talker.control.execute("cont")
    talker.goes_on()
    talker.end()


def test_it_ends_while_nobody_reads_standard_error(talk: Callable[..., Talker], end: End) -> None:
    talker = talk("--console", "none", stderr=end.theirs)
    talker.goes_on()
    talker.end()


@pytest.mark.parametrize("kind", ["pipe", "stopped terminal", "unread terminal"])
def test_what_cannot_be_opened_anew(talk: Callable[..., Talker], kind: str) -> None:
    if subprocess.run([*HIDDEN, "true"], capture_output=True).returncode != 0:
        pytest.skip("this user may not mount anything")
    end = ENDS[kind]()
    try:
        talker = talk("--console", "none", "--no-sandbox", prefix=HIDDEN, stderr=end.theirs)
        talker.goes_on()
        end.read_again()
        assert int(read_until(end.ours, LOST)[1]) > 40
        talker.goes_on()
        talker.end()
    finally:
        end.close()


def test_nobody_reads_the_console(talk: Callable[..., Talker], end: End, tmp_path: Path) -> None:
    before = fcntl.fcntl(end.theirs, fcntl.F_GETFL)
    with (tmp_path / "log").open("w+b") as log:
        talker = talk("--console", "stdio", stdout=end.theirs, stderr=log.fileno())
        talker.goes_on()
        assert fcntl.fcntl(end.theirs, fcntl.F_GETFL) == before
        talker.end()
        log.seek(0)
        assert DROPPED.search(log.read())


@pytest.mark.parametrize("kind", ["pty", "unix"])
def test_nobody_reads_a_console_of_its_own(talk: Callable[..., Talker], tmp_path: Path,
                                           kind: str) -> None:
    path = str(tmp_path / "console")
    with (tmp_path / "log").open("w+b") as log:
        talker = talk("--console", kind if kind == "pty" else "unix:" + path, stderr=log.fileno())
        client = talker.connect(path) if kind == "unix" else None
        talker.goes_on()
        while not DROPPED.search((tmp_path / "log").read_bytes()):
            talker.control.execute("query-status")
        talker.end()
    if client is not None:
        client.close()


def test_everything_at_once(talk: Callable[..., Talker]) -> None:
    """Console and log on one pipe, and a client that sends and does not read."""
    end = pipe()
    try:
        talker = talk("--console", "stdio", stdout=end.theirs, stderr=end.theirs)
        stalled = talker.connect(talker.control_path)
        stalled.setblocking(False)
        with pytest.raises((BlockingIOError, BrokenPipeError, ConnectionResetError)):
            while True:
                stalled.send(b'{"execute": "qmp_capabilities"}{"execute": "query-schema"}' * 20)
        talker.goes_on()
        talker.end()
        stalled.close()
    finally:
        end.close()
