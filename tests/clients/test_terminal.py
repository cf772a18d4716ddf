# SPDX-License-Identifier: Apache-2.0
"""The operator's terminal: raw while a guest has it, and its old self again after every way out.

A shell stays when the program on its terminal ends, and so does the one who stands for it here:
a terminal whose session leader goes is hung up, and would look restored whatever had happened.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import resource
import select
import signal
import socket
import struct
import subprocess
import termios
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import FAKE, Vmm
from guest import DEADLINE, Control, elf


class Shell:
    """Runs one command on a new terminal, as a shell would, and keeps the terminal afterwards."""

    def __init__(self, argv: list[str], background: bool = False,
                 complains_there: bool = False) -> None:
        """complains_there: its standard error is the terminal as well, not what wait_log() reads."""
        self.master, self.slave = pty.openpty()
        # Nothing a program would come back to by chance.
        settings = termios.tcgetattr(self.slave)
        settings[0] |= termios.IXANY | termios.ISTRIP
        settings[3] &= ~termios.ECHOE
        settings[6][termios.VERASE] = b"\x15"
        termios.tcsetattr(self.slave, termios.TCSANOW, settings)
        self.before = self.settings()
        self.log, log = os.pipe()
        self.news, news = os.pipe()
        hold, self.hold = os.pipe()
        self.leader = os.fork()
        if self.leader == 0:
            try:
                for fd in (self.master, self.log, self.news, self.hold):
                    os.close(fd)
                if complains_there:
                    os.dup2(self.slave, log)
                self._lead(argv, background, log, news, hold)
            except BaseException:
                os.write(log, traceback.format_exc().encode())
            finally:
                os._exit(0)
        for fd in (log, news, hold):
            os.close(fd)
        self.said = ""
        self.status: int | None = None
        self.pid = self._number()

    def _lead(self, argv: list[str], background: bool, log: int, news: int, hold: int) -> None:
        """What the shell does, in a process of its own."""
        # When its terminal is gone a shell says so to what it has started. (A signal with a handler
        # has its default effect in what is executed.)
        signal.signal(signal.SIGHUP, lambda *_: os.kill(process.pid, signal.SIGHUP))
        os.login_tty(self.slave)
        # Some of the ways out would leave a core file.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        process = subprocess.Popen(argv, stderr=log, process_group=0 if background else None)
        os.close(log)
        os.write(news, struct.pack("i", process.pid))
        os.write(news, struct.pack("i", process.wait()))
        os.read(hold, 1)

    def _number(self) -> int:
        assert select.select([self.news], [], [], DEADLINE)[0], f"no end; it said {self.said!r}"
        data = os.read(self.news, 4)
        assert data, f"not started: {os.read(self.log, 65536).decode()}"
        return struct.unpack("i", data)[0]

    def settings(self) -> tuple[list, int]:
        """All there is to restore: the terminal's modes, and the flags of its open file, which
        everyone who has the terminal shares."""
        return termios.tcgetattr(self.slave), fcntl.fcntl(self.slave, fcntl.F_GETFL)

    def wait_log(self, text: str) -> None:
        deadline = time.monotonic() + DEADLINE
        while text not in self.said:
            left = max(0.0, deadline - time.monotonic())
            assert select.select([self.log], [], [], left)[0], f"no {text!r} in {self.said!r}"
            data = os.read(self.log, 65536)
            assert data, f"ended without {text!r}: {self.said!r}"
            self.said += data.decode()

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def hang_up(self) -> None:
        """The terminal is gone for good."""
        os.close(self.master)
        self.master = -1

    def wait(self) -> int:
        """The command's exit status, or minus the signal number."""
        if self.status is None:
            self.status = self._number()
            while data := os.read(self.log, 65536):
                self.said += data.decode()
        return self.status

    def close(self) -> None:
        """End the command if need be, and then the shell."""
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.wait()
        os.close(self.hold)
        os.waitpid(self.leader, 0)
        for fd in (self.master, self.slave, self.log, self.news):
            if fd >= 0:
                os.close(fd)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Shell]]:
    """Start paprika with its console on a terminal."""
    kernel = tmp_path / "silent"
    kernel.write_bytes(elf([0x48000000]))
    shells: list[Shell] = []

    def run_paprika(control: str, background: bool = False) -> Shell:
        shells.append(Shell(
            [*FAKE, "--kernel", str(kernel), "--control", control,
             "--console", "stdio", "--cpus", "boot=2,max=4", "--log-level", "info"], background))
        return shells[-1]

    yield run_paprika
    for shell in shells:
        shell.close()
        # Neither it nor anything it may have started.
        with pytest.raises(ProcessLookupError):
            os.kill(shell.pid, 0)
        with pytest.raises(ProcessLookupError):
            os.killpg(shell.leader, 0)


def assert_raw(shell: Shell) -> None:
    (iflag, oflag, _, lflag, *_), flags = shell.settings()
    assert lflag & (termios.ECHO | termios.ICANON | termios.ISIG | termios.IEXTEN) == 0
    assert iflag & (termios.ICRNL | termios.IXON | termios.ISTRIP) == 0
    # Lines of the program's own still have to come out well.
    assert oflag & termios.OPOST == shell.before[0][1] & termios.OPOST != 0
    # Other processes with this terminal do not expect it to stop blocking.
    assert flags == shell.before[1]


def press_escape(shell: Shell, _: str) -> None:
    # On a raw terminal, the keys before it are the guest's and stop or end nothing.
    shell.type(b"\x03\x1c\x1a\x04\x01\x01\x01x")


def quit_by_control(_: Shell, control: str) -> None:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(control)
    client = Control(connection)
    client.execute("quit")
    client.close()


def send(number: int) -> Callable[[Shell, str], None]:
    return lambda shell, _: os.kill(shell.pid, number)


@pytest.mark.parametrize("leave, status, reason", [
    pytest.param(press_escape, 0, None, id="ctrl-a x"),
    pytest.param(quit_by_control, 0, None, id="quit"),
    *(pytest.param(send(number), 0, f"signal {int(number)}\n", id=number.name) for number in (
        signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)),
    *(pytest.param(send(number), -number, None, id=number.name) for number in (
        signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE,
        signal.SIGSYS)),
])
def test_terminal_is_restored(run: Callable[..., Shell], tmp_path: Path,
                              leave: Callable[[Shell, str], None], status: int,
                              reason: str | None) -> None:
    control = str(tmp_path / "control")
    shell = run(control)
    shell.wait_log(" started\n")
    assert_raw(shell)
    leave(shell, control)
    assert shell.wait() == status, shell.said
    assert shell.settings() == shell.before
    # It ended for this reason, and not because the terminal made a signal of a key.
    assert ("ended by signal" in shell.said) == (reason is not None), shell.said
    assert (reason or "") in shell.said
    assert os.path.exists(control) == (status < 0)


def test_terminal_is_restored_after_a_start_that_fails_late(
        run: Callable[..., Shell], vmm: Vmm) -> None:
    shell = run(vmm.path)
    assert shell.wait() == 2, shell.said
    # The terminal had been taken over by then.
    *said, error = shell.said.splitlines()
    assert "paprika: Ctrl-A x ends the guest, Ctrl-A ? tells more" in said
    assert "in use" in error and vmm.path in error
    assert shell.settings() == shell.before


def test_terminal_is_left_alone_from_the_background(run: Callable[..., Shell],
                                                    tmp_path: Path) -> None:
    shell = run(str(tmp_path / "control"), background=True)
    shell.wait_log(" started\n")
    assert shell.settings() == shell.before
    # Typed for the process in the foreground.
    shell.type(b"\x01x")
    os.kill(shell.pid, signal.SIGTERM)
    assert shell.wait() == 0, shell.said
    assert "ended by signal" in shell.said
    assert shell.settings() == shell.before
