# SPDX-License-Identifier: Apache-2.0
"""Every way to end, with each kind of console, with and without what else an operator may give:
the exit code of the manual, and nothing left behind. In the sandbox, because what a library does
at its first use may happen on one of these ways only; the guest is played (play.py).

Left out: `quit` without a control socket, Ctrl-A x and a terminal that goes away without a
terminal. What a real guest's ends lead to is in tests/guest/test_ends.py.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "lab"), str(ROOT / "tests/clients")]
from guest import DEADLINE, Control  # noqa: E402
from play import play  # noqa: E402
from test_terminal import Shell  # noqa: E402

PROGRAM = os.environ["PAPRIKA_SANDBOX_BUILD"] + "/paprika-plain"

# In a session that nohup began, what is started here would ignore it, too. What has a handler has
# its default effect in a new program.
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)

HELLO = "put hello"
EXTRAS = {
    "plain": (),
    "control": ("--control", "control"),
    "control, name, debug": ("--control", "control", "--name", "guest", "--log-level", "debug"),
    "name, debug": ("--name", "guest", "--log-level", "debug"),
}


class Run:
    """The program with one kind of console, in a directory of its own."""

    def __init__(self, directory: Path, console: str, kernel: bytes, *options: str,
                 prefix: tuple[str, ...] = ()) -> None:
        self.directory, self.console, self.options = directory, console, options
        (directory / "kernel").write_bytes(kernel)
        kind = {"file": "file:said", "pty": "pty", "unix": "unix:console", "none": "none"}
        argv = ["env", "-C", str(directory), *prefix, PROGRAM, "run", "--kernel", "kernel",
                *(("--console", kind[console]) if console in kind else ()), *options]
        self.shell: Shell | None = None
        self.streams: list[int] = []
        if console == "terminal":
            self.shell = Shell(argv, complains_there=True)
            self.pid = self.shell.pid
            return
        if console == "closed":
            argv = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *argv]
        stdin = stdout = stderr = subprocess.DEVNULL
        if console == "pipe":
            # Both ends are kept: the flags of this end are those the program has, too.
            self.streams = [*os.pipe(), *os.pipe()]
            stdin, stdout = self.streams[0], self.streams[3]
        if console not in ("null", "closed"):
            stderr = subprocess.PIPE
        self.process = subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=stderr)
        self.pid = self.process.pid

    def wait_running(self) -> None:
        """Until its guest is about to run, or it has ended: the vCPU's thread has its filter."""
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            try:
                status = [(task / "status").read_text()
                          for task in Path(f"/proc/{self.pid}/task").iterdir()]
            except (FileNotFoundError, ProcessLookupError):
                continue
            named = {match[1]: text for text in status if (match := re.match("Name:\t(.*)", text))}
            if any("State:\tZ" in text for text in status) or (
                    "vcpu0" in named and filters(named["vcpu0"]) > filters(OWN)):
                return
            os.sched_yield()
        raise AssertionError("it does not start")

    def read(self, pattern: str) -> None:
        """Read the terminal up to a match."""
        said = b""
        while not re.search(pattern.encode(), said):
            assert select.select([self.shell.master], [], [], DEADLINE)[0], said
            said += os.read(self.shell.master, 65536)

    def wait(self) -> int:
        if self.shell is not None:
            return self.shell.wait()
        self.said = self.process.communicate(timeout=DEADLINE)[1] or b""
        return self.process.returncode

    def printed(self) -> bytes | None:
        """What has come of what the guest printed; None where that does not stay."""
        if self.console == "file":
            return (self.directory / "said").read_bytes()
        end = self.shell.master if self.shell else self.streams[2] if self.streams else -1
        if end < 0:
            return None
        # On a busy machine the kernel passes a terminal's output on only after the program's end.
        text = b""
        while select.select([end], [], [], 0.1 if self.shell else 0)[0]:
            text += os.read(end, 65536)
        return text

    def assert_nothing_left(self) -> None:
        left = {path.name for path in self.directory.iterdir()}
        assert left == {"kernel"} | ({"said"} if self.console == "file" else set())
        with pytest.raises(ProcessLookupError):
            os.kill(self.pid, 0)
        if self.shell is not None and self.shell.master >= 0:
            assert self.shell.settings() == self.shell.before
        assert not any(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK for fd in self.streams)

    def close(self) -> None:
        if self.shell is not None:
            self.shell.close()
        else:
            self.process.kill()
            self.process.communicate()
        for fd in self.streams:
            os.close(fd)


OWN = Path("/proc/self/status").read_text()


def filters(status: str) -> int:
    match = re.search(r"^Seccomp_filters:\t(\d+)$", status, re.M)
    assert match
    return int(match[1])


def send(number: int) -> Callable[[Run], None]:
    return lambda run: os.kill(run.pid, number)


def press_escape(run: Run) -> None:
    run.shell.type(b"\x01x")


def connect(run: Run) -> Control:
    connection = socket.socket(socket.AF_UNIX)
    # The name may be longer than an address has room for; a link to it is not.
    directory = os.open(run.directory, os.O_PATH)
    connection.connect(f"/proc/self/fd/{directory}/control")
    os.close(directory)
    return Control(connection)


def leave(run: Run) -> None:
    control = connect(run)
    control.execute("quit")
    control.close()


class End(NamedTuple):
    status: int
    script: tuple[str, ...]  # what the guest does
    options: tuple[str, ...] = ()
    act: Callable[[Run], None] | None = None  # what the operator does
    says: str = ""
    hellos: int = 1


RESTS = (HELLO,)
REBOOTS = (HELLO, "later rtas power-off 0 0", "rtas system-reboot")
ENDS = {
    "power-off": End(0, (HELLO, "rtas power-off 0 0")),
    "panic": End(3, (HELLO, "panic out of ideas"), says="guest panicked: out of ideas"),
    "reset, power-off": End(0, REBOOTS, hellos=2),
    "reset, --no-reboot": End(4, REBOOTS, ("--no-reboot",)),
    "the vCPU fails": End(1, (HELLO, "fail"), says="vCPU 0: fake KVM: it cannot go on; "),
    "quit": End(0, RESTS, act=leave),
    "ctrl-a x": End(0, RESTS, act=press_escape),
    "hangup": End(0, RESTS, act=lambda run: run.shell.hang_up()),
    **{number.name: End(0, RESTS, act=send(number)) for number in (
        signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)},
}
CONSOLES = ("terminal", "pipe", "null", "closed", "file", "pty", "unix", "none")
ON_TERMINAL_ONLY = ("ctrl-a x", "hangup")
# Whatever there is to say at these levels, it is said in lines like this.
LINE = re.compile(r"paprika: (?:(?:warn|info|debug) \[\d+\.\d{3}\] )?\S.*")


@pytest.fixture
def runs() -> Iterator[list[Run]]:
    started: list[Run] = []
    yield started
    for run in started:
        run.close()


@pytest.mark.parametrize("extra", EXTRAS)
@pytest.mark.parametrize("console", CONSOLES)
@pytest.mark.parametrize("end", ENDS)
def test_end(tmp_path: Path, runs: list[Run], end: str, console: str, extra: str) -> None:
    how, options = ENDS[end], EXTRAS[extra]
    if (end == "quit" and "control" not in options) or (
            end in ON_TERMINAL_ONLY and console != "terminal"):
        return  # see above
    run = Run(tmp_path, console, play(*how.script), *options, *how.options)
    runs.append(run)
    if how.act is not None:
        run.wait_running()
        how.act(run)
    status = run.wait()
    gone = run.shell is not None and run.shell.master < 0
    printed = None if gone else run.printed()
    said = (run.shell and printed or getattr(run, "said", b"")).decode()
    assert status == how.status, said
    if printed is not None and how.act is None:
        assert printed.count(b"hello\r") == how.hellos, printed
    if console not in ("null", "closed") and not gone:
        assert how.says in said
    if run.shell is None:
        assert all(LINE.fullmatch(line) for line in said.splitlines()), said
    run.assert_nothing_left()


def test_nohup(tmp_path: Path, runs: list[Run]) -> None:
    """Where SIGHUP was ignored from the start, the guest outlives its terminal."""
    prefix = ("sh", "-c", 'trap "" HUP; exec "$@"', "sh")
    run = Run(tmp_path, "terminal", play(HELLO, "wait", HELLO), "--control", "control",
              prefix=prefix)
    runs.append(run)
    run.wait_running()
    run.read("hello\r")
    run.shell.hang_up()
    os.kill(run.pid, signal.SIGHUP)
    control = connect(run)
    assert control.execute("query-status")["running"] is True
    control.close()
    os.kill(run.pid, signal.SIGTERM)
    assert run.wait() == 0
    run.assert_nothing_left()


@pytest.mark.parametrize("end, status", [("quit", 0), ("panic", 3)])
def test_further_signals_change_nothing(tmp_path: Path, runs: list[Run], end: str,
                                        status: int) -> None:
    """Once it is decided how it ends, signals neither change the exit code nor cut the end short,
    however many come until it is over."""
    run = Run(tmp_path, "pty", play(HELLO, "wait", "panic again"), "--control", "control",
              "--memory", "4G")
    runs.append(run)
    run.wait_running()
    control = connect(run)
    if end == "quit":
        control.execute("quit")
    else:
        announced = re.match(rb"paprika: the console is at (\S+)\n", run.process.stderr.readline())
        typist = os.open(announced[1], os.O_WRONLY | os.O_NOCTTY)
        os.write(typist, b"x")
        os.close(typist)
        control.wait_event("GUEST_PANICKED")
    with contextlib.suppress(ProcessLookupError):
        while run.process.poll() is None:
            os.kill(run.pid, signal.SIGTERM)
            os.kill(run.pid, signal.SIGINT)
    assert run.wait() == status, run.said
    run.assert_nothing_left()
