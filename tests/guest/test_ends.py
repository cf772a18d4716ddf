# SPDX-License-Identifier: Apache-2.0
"""The shortest command line, a kernel and an initial RAM disk, to each way to end.

No control socket, no name, no command line for the kernel: on a terminal and on pipes the exit code
of the manual and no unexpected output. tests/sandbox/test_ends.py has all other combinations, with a
simulated guest.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator

import pytest

from guest import DEADLINE
from host_api import Host, Process, is_direct

READY = re.compile(rb"PAPRIKA-GUEST-READY cpus=0\r*\n")
FIRST = re.compile(rb"Linux version \S+")  # from here on a kernel runs
TERMINAL = (24, 80)
Starter = Callable[..., Process]


@pytest.fixture
def run(host: Host) -> Iterator[Starter]:
    """Start the program, and wait until its guest has printed `until`."""
    started: list[Process] = []

    def run_until(until: re.Pattern[bytes], *options: str, on_terminal: bool = False) -> Process:
        kernel = os.environ.get("PAPRIKA_TEST_KERNEL") or host.path + "/vmlinux"
        process = host.popen([host.path + "/bin/paprika", "run", "--kernel", kernel, "--initrd",
                              host.path + "/initrd", *options],
                             terminal=TERMINAL if on_terminal else None)
        started.append(process)
        process.stdout.read_until(until, DEADLINE)
        return process

    yield run_until
    for process in started:
        process.close()


@pytest.fixture(params=["pipes", "terminal"])
def on_terminal(request: pytest.FixtureRequest) -> bool:
    if request.param == "terminal" and is_direct():
        pytest.skip("needs a terminal on the host")
    return request.param == "terminal"


@pytest.mark.skipif(is_direct(), reason="needs a terminal on the host")
def test_power_off_on_a_terminal(run: Starter) -> None:
    process = run(READY, on_terminal=True)
    process.write(b"poweroff\n", DEADLINE)
    assert process.wait(DEADLINE) == 0
    assert process.stderr.peek() == b""


def test_panic(run: Starter) -> None:
    process = run(READY)
    process.write(b"echo c > /proc/sysrq-trigger\n", DEADLINE)
    assert process.wait(DEADLINE) == 3
    said = process.stderr.peek()
    # Newer kernels do not tell it by RTAS; it is then what they print last.
    assert re.fullmatch(rb"paprika: warn \[\S+\] the guest panicked: "
                        rb"(OS panic|Kernel panic - not syncing): sysrq triggered crash\n", said), said


def test_reboot_without_a_reboot(run: Starter) -> None:
    process = run(READY, "--no-reboot")
    process.write(b"reboot\n", DEADLINE)
    assert process.wait(DEADLINE) == 4
    assert process.stderr.peek() == b""


def test_reboot_then_power_off(run: Starter) -> None:
    process = run(READY)
    process.write(b"reboot\n", DEADLINE)
    process.stdout.read_until(READY, DEADLINE)
    process.write(b"poweroff\n", DEADLINE)
    assert process.wait(DEADLINE) == 0
    assert process.stderr.peek() == b""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT],
                         ids=lambda number: number.name)
def test_signal(run: Starter, on_terminal: bool, number: signal.Signals) -> None:
    process = run(FIRST, on_terminal=on_terminal)
    process.send_signal(number)
    assert process.wait(DEADLINE) == 0
    assert process.stderr.peek() == b""


@pytest.mark.skipif(is_direct(), reason="needs a terminal on the host")
def test_escape(run: Starter) -> None:
    process = run(FIRST, on_terminal=True)
    process.write(b"\x01x", DEADLINE)
    assert process.wait(DEADLINE) == 0


def test_standard_input_at_its_end(run: Starter) -> None:
    """There is no more input; the guest goes on."""
    process = run(FIRST)
    process.close_stdin()
    process.stdout.read_until(READY, DEADLINE)
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE) == 0
    assert process.stderr.peek() == b""
