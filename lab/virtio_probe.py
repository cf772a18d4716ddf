# SPDX-License-Identifier: Apache-2.0
"""A virtio driver in the probe guest (lab/probe.py), which can do everything wrong.

Each access of the driver is a command to the probe: an RTAS call, one load or store of any width, or
bytes written to its memory. What has no result is not waited for. Numbers are little-endian, as the probe is (endian="le").
"""

from __future__ import annotations

import struct
import time

from guest import DEADLINE
from probe import RAM, Probe

BUID = 0x08000000, 0x20000000
WINDOW, BAR_BYTES = 32 << 40, 0x10000
SLOT_DRC = 0x40000000  # a slot's connector's index, less the slot

# The configuration space.
COMMAND, BAR0, CAPABILITIES = 0x04, 0x10, 0x34
MEMORY, MASTER = 2, 4
# The BAR.
ISR, CONFIG, NOTIFY, TABLE, PENDING = 0x1000, 0x2000, 0x3000, 0x8000, 0xc000
# Registers, and their widths.
DEVICE_SELECT, DEVICE_FEATURES, DRIVER_SELECT, DRIVER_FEATURES = (0, 4), (4, 4), (8, 4), (12, 4)
CONFIG_VECTOR, QUEUES, STATUS, GENERATION, SELECT = (16, 2), (18, 2), (20, 1), (21, 1), (22, 2)
SIZE, VECTOR, ENABLE, NOTIFY_OFFSET = (24, 2), (26, 2), (28, 2), (30, 2)
DESC, DRIVER, DEVICE = 32, 40, 48
REGISTERS = 56
# The status.
ACKNOWLEDGE, DRIVING, DRIVER_OK, FEATURES_OK, NEEDS_RESET, FAILED = 1, 2, 4, 8, 0x40, 0x80
ACCEPTED = ACKNOWLEDGE | DRIVING | FEATURES_OK
UP = ACCEPTED | DRIVER_OK
# Features.
VERSION_1, INDIRECT = 1 << 32, 1 << 28
# Descriptors.
NEXT, WRITE, IS_INDIRECT = 1, 2, 4


class VirtioProbe:
    """The device in a slot, and a queue of it in the probe's memory: rings at `at`, each part in a page
    of its own, buffers behind them."""

    PAGES = 0x10000

    def __init__(self, probe: Probe, slot: int, size: int = 8) -> None:
        self.probe, self.slot, self.size = probe, slot, size
        self.bar = WINDOW + slot * BAR_BYTES
        self.at = RAM + 0x100000 + slot * 4 * self.PAGES
        self.desc, self.avail, self.used = (self.at + page * 0x1000 for page in (0, 1, 2))
        self.header, self.data = self.at + 0x4000, self.at + 0x5000
        self.offered = 0

    # --- the configuration space -------------------------------------------------------------

    def address(self, offset: int) -> int:
        return (offset >> 8) << 28 | self.slot << 11 | offset & 0xff

    def read_config(self, offset: int, size: int) -> int:
        status, value = self.probe.rtas("ibm,read-pci-config", 2, self.address(offset), *BUID, size)
        assert status == 0, status
        return value & 0xffffffff

    def write_config(self, offset: int, size: int, value: int) -> None:
        assert self.probe.rtas("ibm,write-pci-config", 1, self.address(offset), *BUID, size,
                               value) == [0]

    def capability(self, kind: int, virtio: int | None = None) -> int:
        """Where the capability of that kind is; of virtio's, the one of that type."""
        at = self.read_config(CAPABILITIES, 1)
        while at:
            if self.read_config(at, 1) == kind and (
                    virtio is None or self.read_config(at + 3, 1) == virtio):
                return at
            at = self.read_config(at + 1, 1)
        raise AssertionError(f"no capability {kind:#x} {virtio}")

    def place(self, bar: int) -> None:
        self.bar = bar
        self.write_config(BAR0, 4, bar & 0xffffffff)
        self.write_config(BAR0 + 4, 4, bar >> 32)
        self.write_config(COMMAND, 2, MEMORY | MASTER)

    def change_msi(self, function: int, count: int) -> list[int]:
        return self.probe.rtas("ibm,change-msi", 4, self.address(0), *BUID, function, count, 1)

    def source(self, vector: int) -> list[int]:
        return self.probe.rtas("ibm,query-interrupt-source-number", 3, self.address(0), *BUID,
                               vector)

    # --- registers ---------------------------------------------------------------------------

    def load(self, offset: int, size: int) -> int:
        return int(self.probe.run(f"load {size:x} {self.bar + offset:x}"), 16)

    def store(self, offset: int, size: int, value: int) -> None:
        self.probe.post(f"store {size:x} {self.bar + offset:x} {value:x}")

    def get(self, register: tuple[int, int]) -> int:
        return self.load(*register)

    def set(self, register: tuple[int, int], value: int) -> None:
        self.store(*register, value)

    def set_address(self, register: int, address: int) -> None:
        self.store(register, 4, address & 0xffffffff)
        self.store(register + 4, 4, address >> 32 & 0xffffffff)

    # --- memory ------------------------------------------------------------------------------

    def write(self, address: int, data: bytes) -> None:
        for at in range(0, len(data), 256):
            self.probe.post(f"write {address + at:x} {data[at:at + 256].hex()}")

    def fill(self, address: int, length: int, byte: int) -> None:
        self.probe.post(f"fill {address:x} {length:x} {byte:x}")

    # --- the driver --------------------------------------------------------------------------

    def reset(self) -> None:
        self.set(STATUS, 0)
        self.until(lambda: self.get(STATUS) == 0, "the device is reset")

    @staticmethod
    def until(holds, what: str) -> None:
        deadline = time.monotonic() + DEADLINE
        while not holds():
            assert time.monotonic() < deadline, f"not within {DEADLINE} s: {what}"

    def begin(self, features: int = VERSION_1) -> None:
        """From a reset to FEATURES_OK, with the rings in memory cleared."""
        self.reset()
        self.set(STATUS, ACKNOWLEDGE)
        self.set(STATUS, ACKNOWLEDGE | DRIVING)
        for half in (0, 1):
            self.set(DRIVER_SELECT, half)
            self.set(DRIVER_FEATURES, features >> 32 * half & 0xffffffff)
        self.set(STATUS, ACCEPTED)
        self.fill(self.at, 0x4000, 0)
        self.offered = 0

    def queue(self, size: int | None = None, desc: int | None = None, avail: int | None = None,
              used: int | None = None) -> None:
        self.set(SELECT, 0)
        self.set(SIZE, self.size if size is None else size)
        self.set_address(DESC, self.desc if desc is None else desc)
        self.set_address(DRIVER, self.avail if avail is None else avail)
        self.set_address(DEVICE, self.used if used is None else used)
        self.set(ENABLE, 1)

    def up(self, features: int = VERSION_1) -> None:
        self.begin(features)
        self.queue()
        self.set(STATUS, UP)
        assert self.get(STATUS) == UP

    # --- requests ----------------------------------------------------------------------------

    def describe(self, index: int, address: int, length: int, flags: int, following: int = 0,
                 table: int | None = None) -> None:
        self.write((self.desc if table is None else table) + 16 * index, struct.pack(
            "<QIHH", address & (1 << 64) - 1, length, flags, following))

    def offer(self, *heads: int) -> None:
        for head in heads:
            self.write(self.avail + 4 + 2 * (self.offered % self.size),
                             struct.pack("<H", head))
            self.offered += 1
        self.write(self.avail + 2, struct.pack("<H", self.offered & 0xffff))

    def notify(self, queue: int = 0) -> None:
        self.store(NOTIFY + 4 * queue, 2, queue)

    def used_index(self) -> int:
        return int.from_bytes(self.probe.read(self.used + 2, 2), "little")

    def answer(self) -> tuple[int, int]:
        """Wait until all that was offered is used; head and length of the last."""
        self.until(lambda: self.used_index() == self.offered & 0xffff, "requests are answered")
        at = self.used + 4 + 8 * ((self.offered - 1) % self.size)
        head, length = struct.unpack("<II", self.probe.read(at, 8))
        return head, length

    def block(self, kind: int, sector: int, length: int, index: int = 0) -> None:
        """Describe a request of a disk, of three descriptors from `index` on."""
        self.write(self.header, struct.pack("<IIQ", kind, 0, sector & (1 << 64) - 1))
        self.write(self.header + 16, b"\xff")
        self.describe(index, self.header, 16, NEXT, index + 1)
        self.describe(index + 1, self.data, length, NEXT | (WRITE if kind in (0, 8) else 0),
                      index + 2)
        self.describe(index + 2, self.header + 16, 1, WRITE)

    def request(self, kind: int, sector: int, length: int) -> int:
        """A request, and its status."""
        self.block(kind, sector, length)
        self.offer(0)
        self.notify()
        assert self.answer()[0] == 0
        return self.probe.read(self.header + 16, 1)[0]

    def broken(self) -> None:
        """The device says that it needs a reset, and that its configuration has changed."""
        self.until(lambda: self.get(STATUS) & NEEDS_RESET, "the device needs a reset")
        self.until(lambda: self.load(ISR, 1) & 2, "the driver is told")
        assert self.load(ISR, 1) == 0  # reading it clears it
