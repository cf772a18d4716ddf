# SPDX-License-Identifier: Apache-2.0
"""Counts of the program above the fake KVM, each with a ceiling in ceilings.py. PAPRIKA_PLAIN is
that program and PAPRIKA_ALLOCATIONS what counts its allocations (lab/test costs sets both).
`pytest -s` prints the figures."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "lab"), str(ROOT / "tests/clients")]
from ceilings import check  # noqa: E402
from guest import DEADLINE, Control  # noqa: E402
from play import play  # noqa: E402

PLAIN = os.environ["PAPRIKA_PLAIN"]
# The time zone is no file, so that the machine's setting makes no difference.
ENVIRONMENT = {**os.environ, "TZ": "UTC0", "LC_ALL": "C"}
CORE1 = 0x10000001

# What Linux does to take core 1 and to give it back, again and again: vCPU 0 carries it out, and
# vCPU 1, while it runs, makes one hypervisor call after the other.
CYCLES = play(
    f"only 0 fetch {CORE1}",
    f"only 0 rtas set-indicator 9003 {CORE1} 1", f"only 0 rtas set-indicator 9001 {CORE1} 1",
    f"only 0 walk {CORE1}", "only 0 poke 0x400000 4 0", "only 0 retry 0 start-cpu 1 0 0",
    "only 1 until 0x400000 4 1", "only 1 rtas stop-self",
    f"only 0 fetch {CORE1}", "only 0 poke 0x400000 4 1",
    f"only 0 retry 0 set-indicator 9001 {CORE1} 0", f"only 0 rtas set-indicator 9003 {CORE1} 0",
    "only 0 again")


running: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    while running:
        process = running.pop()
        if process.poll() is None:
            # strace, too, whose program would live on.
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


class Program:
    """The program, from its start until its guest has started."""

    def __init__(self, directory: Path, *options: str, kernel: bytes = play(), cpus: str = "boot=1,max=4",
                 prefix: tuple[str, ...] = (), preload: str = "") -> None:
        (directory / "kernel").write_bytes(kernel)
        self.path = directory / "control"
        self.said = ""
        self.process = subprocess.Popen(
            [*prefix, PLAIN, "run", "--kernel", str(directory / "kernel"), "--console", "none",
             "--control", str(self.path), "--cpus", cpus, "--log-level", "info", *options],
            env={**ENVIRONMENT, **({"LD_PRELOAD": preload} if preload else {})},
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)
        running.append(self.process)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said += line
            if re.search("guest .*\" started", line):
                return
        raise AssertionError(f"it did not start: {self.said}")

    def connect(self) -> Control:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self.path))
        return Control(connection)

    def cycles(self, count: int) -> None:
        """Add core 1 and remove it."""
        control = self.connect()
        for _ in range(count):
            added = control.execute("device_add", driver="host-spapr-cpu-core", core_id=1, id="core1")
            assert control.wait_end(added["operation"])["outcome"] == "done"
            removed = control.execute("device_del", id="core1")
            assert control.wait_end(removed["operation"])["outcome"] == "done"
            control.wait_event("DEVICE_DELETED")
        control.close()

    def end(self) -> str:
        """Everything that it said."""
        self.process.send_signal(signal.SIGTERM)
        self.said += self.process.communicate(timeout=DEADLINE)[1]
        assert self.process.returncode == 0, self.said
        return self.said


# --- System calls ----------------------------------------------------------------------------


@dataclass
class Call:
    thread: str
    name: str
    text: str


class Trace:
    """The system calls of a program, in the order in which they began, by strace. Those of futex
    are left out: how often a thread has to wait for another is a matter of chance."""

    def __init__(self, path: Path) -> None:
        self.calls: list[Call] = []
        for line in path.read_text().splitlines():
            thread, text = line.split(None, 1)
            if match := re.match(r"(\w+)\(", text):
                self.calls.append(Call(thread, match[1], text))
            elif text.startswith("<..."):
                next(call for call in reversed(self.calls) if call.thread == thread).text += text
        # What the loader does depends on the C library; the first thing main() does is this.
        first = next(i for i, call in enumerate(self.calls) if '"/dev/null"' in call.text)
        self.calls = [call for call in self.calls[first:] if call.name != "futex"]

    def until(self, text: str) -> list[Call]:
        return self.calls[: next(i for i, call in enumerate(self.calls) if text in call.text)]


def but_for_the_log(calls: list[Call]) -> int:
    return sum(not call.text.startswith("write(2, ") for call in calls)


def traced(directory: Path, cpus: str, cycles: int = 0, kernel: bytes = play()) -> Trace:
    path = directory / "trace"
    program = Program(directory, kernel=kernel, cpus=cpus,
                      prefix=("strace", "-f", "-s", "256", "-o", str(path)))
    if cycles:
        program.cycles(cycles)
    # strace hands no signal on: it ends with its program.
    control = program.connect()
    control.execute("quit")
    control.close()
    program.process.communicate(timeout=DEADLINE)
    return Trace(path)


def test_start(tmp_path: Path) -> None:
    one = traced(tmp_path, "boot=1,max=4").until("started")
    four = traced(tmp_path, "boot=4,max=4").until("started")
    check("start-calls", but_for_the_log(one))
    check("start-calls-per-vcpu", (len(four) - len(one) + 2) // 3)


def test_cycle(tmp_path: Path) -> None:
    trace = traced(tmp_path, "boot=1,max=4", cycles=10, kernel=CYCLES)
    loop = [call for call in trace.calls if call.thread == trace.calls[0].thread]
    begins = [i for i, call in enumerate(loop) if call.name == "recvmsg" and "device_add" in call.text]
    assert len(begins) == 10
    cycles = loop[begins[0]:begins[-1]]
    turns = [i for i, call in enumerate(cycles) if call.name == "epoll_wait"]
    check("turn-calls", max(but_for_the_log(cycles[first:next_first])
                            for first, next_first in zip(turns, turns[1:])))
    check("cycle-epoll-ctl", sum(call.name == "epoll_ctl" for call in cycles))
    # Before the tenth: each has the calls up to the next.
    check("cycle-calls", max(but_for_the_log(loop[first:next_first])
                             for first, next_first in zip(begins, begins[1:])))


# --- Memory ----------------------------------------------------------------------------------


def anonymous_kib(pid: int) -> int:
    """Private memory, but for the guest's, which is the one mapping that is not dumped."""
    total = size = 0
    text = Path(f"/proc/{pid}/smaps").read_text()
    for line in text.splitlines():
        if line.startswith("Anonymous:"):
            size = int(line.split()[1])
        elif line.startswith("VmFlags:"):
            total += 0 if " dd" in line else size
    return total


def started_kib(directory: Path, cpus: str) -> int:
    # Without the sandbox, which makes /proc/PID/smaps root's.
    program = Program(directory, "--no-sandbox", cpus=cpus)
    kib = anonymous_kib(program.process.pid)
    program.end()
    return kib


def test_memory(tmp_path: Path) -> None:
    small = started_kib(tmp_path, "boot=1,max=1")
    large = started_kib(tmp_path, "boot=1,max=2048")
    check("start-anonymous-kib", small)
    check("place-bytes", (large - small) * 1024 // 2047)


def tree_bytes(directory: Path, cpus: str) -> int:
    path = directory / "tree"
    subprocess.run([PLAIN, "dtb", "-o", str(path), "--cpus", cpus], check=True, env=ENVIRONMENT,
                   stderr=subprocess.PIPE, timeout=DEADLINE)
    return path.stat().st_size


def test_tree(tmp_path: Path) -> None:
    few, room, many = (tree_bytes(tmp_path, cpus)
                       for cpus in ("boot=1,max=4", "boot=1,max=1004", "boot=1001,max=1004"))
    check("tree-bytes", few)
    check("tree-bytes-per-place", (room - few) // 1000)
    check("tree-bytes-per-core", (many - room) // 1000)


def allocations(directory: Path, cycles: int) -> tuple[int, int]:
    """Of the loop's thread, and of all others."""
    program = Program(directory, kernel=CYCLES, preload=os.environ["PAPRIKA_ALLOCATIONS"])
    program.cycles(cycles)
    match = re.search(r"allocations: first thread (\d+), others (\d+)", program.end())
    assert match
    return int(match[1]), int(match[2])


def test_allocations(tmp_path: Path) -> None:
    # A vCPU's thread allocates when it makes its vCPU: in the first cycle.
    few, many = allocations(tmp_path, 1), allocations(tmp_path, 11)
    check("cycle-allocations", (many[0] - few[0]) // 10)
    check("guest-allocations", many[1] - few[1])
