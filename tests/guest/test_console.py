# SPDX-License-Identifier: Apache-2.0
"""A guest's console with each of the five back ends, and input that is faster than the guest."""

from __future__ import annotations

import hashlib
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from guest import DEADLINE, Control, Guest
from host_api import Host, Process, is_direct

READY = re.compile(rb"PAPRIKA-GUEST-READY cpus=\S+\r*\n")  # a terminal adds a CR to each line
LINE = b"#" * 63 + b"\n"  # as a command of the shell it does nothing
# Bytes buffered for a guest that does not read: the machine's buffer, and the one before it.
HELD_BYTES = 4096 + 4096


@pytest.fixture
def stdio(host: Host, scratch: str) -> Iterator[Callable[[], tuple[Process, Control]]]:
    """Start a guest with its console on a terminal of the host."""
    started: list[Process] = []

    def start_stdio() -> tuple[Process, Control]:
        control = scratch + "/control"
        process = host.popen(
            [host.path + "/bin/paprika", "run", "--kernel", host.path + "/vmlinux", "--initrd",
             host.path + "/initrd", "--append", "console=hvc0 quiet", "--memory", "512M",
             "--console", "stdio", "--control", control], terminal=(24, 80))
        started.append(process)
        process.stdout.read_until(READY, DEADLINE)
        return process, Control(host.connect_unix(control))

    yield start_stdio
    for process in started:
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE)
        process.close()


def answered(process: Process, typed: bytes, line: bytes) -> None:
    """Type, and wait for a line with that end, however many CRs a terminal puts before its LF."""
    process.write(typed, DEADLINE)
    process.stdout.read_until(re.compile(re.escape(line) + rb"\r*\n"), DEADLINE)


def test_stdio(stdio: Callable[[], tuple[Process, Control]]) -> None:
    process, control = stdio()
    answered(process, b"echo typ''ed\n", b"typed")
    # Every key goes to the guest, also the one that would end a local program; Ctrl-A is typed
    # twice for one.
    answered(process, b"stty -isig; echo rea''dy; head -c 5 | "
             b"hexdump -v -e '5/1 \"%02x \" \"\\n\"'; stty isig\n", b"ready")
    answered(process, b"\x01\x01\x03ab\n", b"01 03 61 62 0a")
    answered(process, b"\x01?", b"this help")
    process.write(b"\x01x", DEADLINE)
    assert control.wait_event("SHUTDOWN") == {"guest": False, "reason": "host-ui"}
    assert process.wait(DEADLINE) == 0


def test_file(start: Callable[..., Guest], host: Host, scratch: str) -> None:
    path = scratch + "/log"
    host.run(["sh", "-c", f"echo what was there > {path}"], check=True)
    guest = start("--console", "file:" + path, console=False, append="console=hvc0")
    with host.popen(["tail", "-n", "+1", "-f", path]) as follower:
        said = follower.stdout.read_until(READY, DEADLINE)
    assert said.startswith(b"what was there\n") and b"Linux version" in said
    guest.control.execute("system_powerdown")
    assert guest.wait_exit() == 0
    # All output, to the last line.
    whole = host.run(["cat", path], check=True).stdout
    assert whole.startswith(said) and b"reboot: Power down" in whole


def test_pty(start: Callable[..., Guest], host: Host) -> None:
    guest = start("--console", "pty", console=False)
    announced = re.search(rb"paprika: the console is at (/dev/pts/\d+)\n", guest.log)
    assert announced, guest.log
    path = announced[1].decode()
    # Output from before the first reader is kept, and readers may follow each other.
    # Not with cat: a pipe that a terminal is spliced to is locked until there is more to read.
    host.run(["grep", "-m", "1", "PAPRIKA-GUEST-READY", path], timeout=DEADLINE, check=True)
    for number in range(2):
        # The shell is a session's leader: its terminal is hung up when it goes.
        script = f"exec 3<>{path}; echo \"echo ty''ped {number}\" >&3; head -n 1 <&3"
        answer = host.run(["sh", "-c", script], timeout=DEADLINE, check=True).stdout
        assert answer == b"typed %d\r\n" % number
    guest.control.execute("quit")
    assert guest.wait_exit() == 0


def test_unix_has_one_client_at_a_time(start: Callable[..., Guest], host: Host) -> None:
    guest: Guest = start()
    guest.wait_ready()
    busy = b"paprika: the console is in use by another client\r\n"

    def refusal() -> bytes:
        """What a second client receives, up to the end of its connection."""
        second = host.connect_unix(guest.console_path)
        second.settimeout(DEADLINE)
        told = b""
        while data := second.recv(4096):
            told += data
        second.close()
        return told

    assert refusal() == busy
    # The first is not disturbed.
    assert guest.sh("echo still here") == "still here"
    # When it has left, another one may connect. The VMM may notice the first's end a moment later.
    assert guest.tty is not None
    guest.tty.close()
    deadline = time.monotonic() + DEADLINE
    while True:
        guest.tty = host.connect_unix(guest.console_path)
        guest.type("echo ag''ain")
        match = guest.read_console("again|in use by another client")
        if match[0] == b"again":
            break
        guest.tty.close()
        assert time.monotonic() < deadline
    assert guest.sh("echo served") == "served"
    assert refusal() == busy


def test_none(start: Callable[..., Guest]) -> None:
    guest: Guest = start(console=False)
    deadline = time.monotonic() + DEADLINE
    # The guest prints, and nothing reads it.
    for _ in range(2):
        before = guest.control.execute("query-metrics")["console-bytes"]
        while guest.control.execute("query-metrics")["console-bytes"] == before:
            assert time.monotonic() < deadline
    guest.control.execute("system_powerdown")
    assert guest.wait_exit() == 0


def test_a_stopped_guest_gets_all_that_a_client_typed(start: Callable[..., Guest]) -> None:
    guest: Guest = start()
    guest.wait_ready()
    typed = b"".join(b"%08d %s" % (number, LINE[9:]) for number in range(1600))
    guest.type(f"echo rea''dy; head -c {len(typed)} | md5sum")
    guest.read_console("ready\r?\n")
    guest.control.execute("stop")
    assert guest.tty is not None
    guest.tty.settimeout(DEADLINE)
    writer = threading.Thread(target=guest.tty.sendall, args=(typed,))
    writer.start()
    before = guest.control.execute("query-metrics")["hcalls"]
    for _ in range(20):
        assert guest.control.execute("query-status")["status"] == "paused"
    assert guest.control.execute("query-metrics")["hcalls"] == before
    guest.control.execute("cont")
    # Nothing is lost: paprika does not read while there is no room.
    guest.read_console(hashlib.md5(typed).hexdigest() + r"  -\r?\n")
    writer.join()
    assert guest.sh("echo on") == "on"


@pytest.mark.skipif(is_direct(), reason="needs a terminal on the host")
def test_a_stopped_guest_gets_what_fits_of_what_a_person_typed(
        stdio: Callable[[], tuple[Process, Control]]) -> None:
    process, control = stdio()
    typed = b"".join(b"#%08d %s" % (number, LINE[10:]) for number in range(320))
    answered(process, b"echo rea''dy; head -c %d | md5sum\n" % HELD_BYTES, b"ready")
    control.execute("stop")
    # A terminal is read even if there is no room, so that escapes work.
    answered(process, typed + b"\x01?", b"this help")
    assert control.execute("query-status")["status"] == "paused"
    control.execute("cont")
    digest = hashlib.md5(typed[:HELD_BYTES]).hexdigest().encode()
    process.stdout.read_until(digest, DEADLINE)
    # The rest is dropped, and the next line is complete again.
    answered(process, b"echo nex''t\n", b"next")
    control.execute("stop")
    answered(process, typed + b"\x01?", b"this help")
    process.write(b"\x01x", DEADLINE)
    assert control.wait_event("SHUTDOWN")["reason"] == "host-ui"
    assert process.wait(DEADLINE) == 0
