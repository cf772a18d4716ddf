# SPDX-License-Identifier: Apache-2.0
"""The probe guest (guest-images/probe): its commands, and named ways to answer hot-plug events.

A `Probe` uses a connected socket of any machine; `ProbeGuest` is one in paprika. Every wait is for a
line, with a deadline that only turns a hang into a failure.
"""

from __future__ import annotations

import re
import select
import socket
import time
from typing import Any

from guest import DEADLINE, Guest
from host_api import Host

CPU = 0x10000000  # a CPU connector's index, less the core-id
LMB = 0x80000000  # a memory block's, less the block's number
BLOCK = 0x10000000  # bytes of a block
ISOLATION, ALLOCATION, ENTITY_SENSE = 9001, 9003, 9003
RAM = 0x2000000  # the probe does not use memory from here on

# Answers to hot-plug events: (to an add, to a removal). A step is a call on the event's connector.
# "linux" is what a kernel from 5.13 on does without errors.
TAKE = "sense usable unisolate configure start"
GIVE = "sense stop isolate unusable"
PARTS = {
    "linux": (TAKE, GIVE),
    # A kernel before 5.13 that cannot release the core makes no call.
    "silent": ("", ""),
    # A removal refused at once, after the threads have stopped, after isolation.
    "refuses": (TAKE, "sense unisolate"),
    "refuses-stopped": (TAKE, "sense stop start unisolate"),
    "refuses-isolated": (TAKE, "sense stop isolate unisolate"),
    # An add refused at different points.
    "declines-usable": ("sense usable unusable", GIVE),
    "declines-unisolated": ("sense usable unisolate isolate unusable", GIVE),
    "declines-half-read": ("sense usable unisolate configure:3 isolate unusable", GIVE),
    # Out of order, and incomplete.
    "backwards": ("configure unisolate usable", "unusable isolate unisolate"),
    "takes-half": ("sense usable unisolate configure:3", "sense isolate"),
}

# The same for memory. A kernel without errors; one that says nothing about what it cannot do; one
# that has to put back what it had taken out; one that cannot put to use what it has taken.
TAKE_MEMORY = "sense usable unisolate configure"
GIVE_MEMORY = "sense isolate unusable"
MEMORY_PARTS = {
    "linux": (TAKE_MEMORY, GIVE_MEMORY),
    "silent": ("", ""),
    "rolls-back": (TAKE_MEMORY, "sense unisolate configure"),
    "rolls-back-old": (TAKE_MEMORY, "configure"),  # before 5.14
    "returns": (TAKE_MEMORY + " " + GIVE_MEMORY, GIVE_MEMORY),
    "takes-half": ("sense usable unisolate configure:3", "sense isolate"),
}


class ProbeError(Exception):
    """An error answer of the probe."""


class Probe:
    """A connection to a probe guest's console."""

    def __init__(self, tty: socket.socket) -> None:
        self.tty = tty
        self.buffer = b""
        self.notes: list[str] = []  # lines that are not answers, oldest first
        self.posted = 0  # commands whose answers nobody has waited for
        self.greeting = self.wait_note(r"probe ready")

    # --- lines -------------------------------------------------------------------------------

    def _line(self, deadline: float) -> str:
        while b"\n" not in self.buffer:
            self.tty.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                data = self.tty.recv(65536)
            except TimeoutError as late:
                raise AssertionError(f"the probe says nothing; {self.buffer!r}") from late
            if not data:
                raise EOFError("the probe's console was closed")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode(errors="replace").rstrip("\r")

    def wait_note(self, pattern: str, timeout: float = DEADLINE) -> str:
        """The first line that matches and is not an answer. Removes it and earlier ones."""
        deadline = time.monotonic() + timeout
        while True:
            while self.notes:
                note = self.notes.pop(0)
                if re.search(pattern, note):
                    return note
            line = self._line(deadline)
            if line.startswith("* "):
                self.notes.append(line[2:])

    def send(self, command: str) -> None:
        self.tty.sendall(command.encode() + b"\n")

    def answer(self, timeout: float = DEADLINE) -> str:
        deadline = time.monotonic() + timeout
        while True:
            line = self._line(deadline)
            if line.startswith("* "):
                self.notes.append(line[2:])
            elif line.startswith("="):
                return line[1:].strip()
            elif line.startswith("!"):
                raise ProbeError(line[1:].strip())

    def run(self, command: str, timeout: float = DEADLINE) -> str:
        """Send a command and return the answer."""
        self.send(command)
        while self.posted:
            self.posted -= 1
            self.answer(timeout)
        return self.answer(timeout)

    def post(self, command: str) -> None:
        """Send a command that has no result. The next one that waits fails if this one did."""
        self.send(command)
        self.posted += 1

    def answered(self) -> bool:
        """Whether the answer to the last command has arrived; does not wait."""
        if select.select([self.tty], [], [], 0)[0]:
            self.buffer += self.tty.recv(65536)
        return re.search(rb"^[=!][^\n]*\n", self.buffer, re.M) is not None

    # --- calls -------------------------------------------------------------------------------

    def hcall(self, number: int, *registers: int, on: int = 0) -> tuple[int, list[int]]:
        """A hypervisor call: r3, and r4 to r12."""
        words = self.run(f"on {on:x} hcall {number:x} " + " ".join(f"{r:x}" for r in registers))
        status, *rest = words.split()
        return int(status), [int(word, 16) for word in rest]

    def rtas(self, name: str | int, nret: int, *args: int, on: int = 0) -> list[int]:
        """An RTAS call, by name or token; its results, the status first."""
        called = name if isinstance(name, str) else f"{name:x}"
        words = self.run(f"on {on:x} rtas {called} {nret:x} " + " ".join(f"{a:x}" for a in args))
        status, *results = words.split()
        assert status == "0", f"H_RTAS answers {status} to {name}"
        return [int(word) for word in results]

    def set_indicator(self, indicator: int, index: int, value: int, on: int = 0) -> int:
        return self.rtas("set-indicator", 1, indicator, index, value, on=on)[0]

    def sense(self, index: int) -> list[int]:
        return self.rtas("get-sensor-state", 2, ENTITY_SENSE, index)

    def token(self, name: str) -> int:
        return int(self.run(f"token {name}"), 16)

    def has_hash_table(self) -> bool:
        """Whether the guest is told that its MMU is of that kind (LoPAR, ibm,architecture-vec-5)."""
        vector = bytes.fromhex(self.run("tree /chosen ibm,architecture-vec-5"))
        return vector[24] & 0xc0 == 0

    # --- memory ------------------------------------------------------------------------------

    def read(self, address: int, length: int) -> bytes:
        return bytes.fromhex(self.run(f"read {address:x} {length:x}"))

    def write(self, address: int, data: bytes) -> None:
        for at in range(0, len(data), 1024):
            self.run(f"write {address + at:x} {data[at:at + 1024].hex()}")

    def fill(self, address: int, length: int, byte: int) -> None:
        self.run(f"fill {address:x} {length:x} {byte:x}")

    def same(self, address: int, length: int, byte: int) -> bool:
        """Whether all those bytes have that value."""
        return self.run(f"same {address:x} {length:x} {byte:x}") == "yes"

    # --- hot-plug ----------------------------------------------------------------------------

    def play(self, part: str) -> None:
        """Answer hot-plug events with that part from now on."""
        add, remove = PARTS[part]
        self.run(f"plan add {add}")
        self.run(f"plan remove {remove}")
        self.run("plan fetch")

    def play_memory(self, part: str) -> None:
        add, remove = MEMORY_PARTS[part]
        self.run(f"plan memory-add {add}")
        self.run(f"plan memory-remove {remove}")
        self.run("plan fetch")

    def answer_fences(self, steps: str = "sense") -> None:
        """Answer fences with these steps from now on: as Linux does, or not at all ("")."""
        self.run(f"plan fence {steps}")

    def do(self, core_id: int, steps: str) -> dict[str, int]:
        """Run steps on a core's connector; returns the result of each."""
        return self.results(self.run(f"do {CPU + core_id:x} {steps}"))

    def do_block(self, block: int, steps: str) -> dict[str, int]:
        """The same on a memory block's."""
        return self.results(self.run(f"do {LMB + block:x} {steps}"))

    def walk(self, index: int, area: int = RAM) -> tuple[int, dict[str, bytes]]:
        """ibm,configure-connector to the end, with the work area at that address: the last status,
        and the properties of the node that it describes."""
        self.write(area, index.to_bytes(4, "big") + bytes(4092))
        properties: dict[str, bytes] = {}
        while (status := self.rtas("ibm,configure-connector", 1, area, 0)[0]) > 0:
            if status != 3:  # next property
                continue
            words = self.read(area, 24)
            name, length, value = (int.from_bytes(words[at:at + 4], "big") for at in (8, 12, 16))
            text = self.read(area + name, 64).split(b"\0")[0].decode()
            properties[text] = self.read(area + value, length)
        return status, properties

    @staticmethod
    def results(line: str) -> dict[str, int]:
        """The results of steps; the last one of a step that was run twice."""
        return {name: int(value) for name, _, value in
                (word.partition("=") for word in line.split()) if value}


class ProbeGuest(Guest):
    """A paprika process with a probe guest."""

    def __init__(self, host: Host, *options: str, endian: str = "le", **settings: Any) -> None:
        super().__init__(host, *options, kernel=f"{host.path}/probe-{endian}", initrd=False,
                         append="", **settings)
        try:
            assert self.tty is not None
            self.probe = Probe(self.tty)
        except BaseException:
            self.close()
            raise


def block(token: int, args: list[int], nret: int, nargs: int | None = None) -> bytes:
    """An RTAS argument block without the results; the counts may be wrong."""
    words = [token, len(args) if nargs is None else nargs, nret, *args]
    return b"".join((word & 0xffffffff).to_bytes(4, "big") for word in words)
