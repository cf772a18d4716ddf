# SPDX-License-Identifier: Apache-2.0
"""The guest's part of PCI devices that come and go, in lines for tests/fake/fake_script.c: a tool that
takes and gives back what is in a slot, and a virtio driver with rings in guest memory."""

from __future__ import annotations

import struct

# What the device tree tells the guest, and places in a function's BAR and configuration space.
WINDOW, BUS = 32 << 40, (0x8000000, 0x20000000)
BAR_BYTES = 0x10000
COMMAND, BAR0, MSIX_CONTROL = 4, 0x10, 0x9a
NOTIFY, TABLE = 0x3000, 0x8000
STATUS = 20
RING_SIZE = 8
FEATURES = 1 << 32  # VIRTIO_F_VERSION_1
WRITE, NEXT = 2, 1

# A part of a request: address, length, and whether the device writes to it.
Part = tuple[int, int, bool]


class Slot:
    """One device's life in a slot. `number` is a device's of its own, for places in memory."""

    def __init__(self, number: int, slot: int = 1, queues: int = 1) -> None:
        self.slot, self.queues = slot, queues
        self.connector = 0x40000000 + slot
        self.bar = WINDOW + slot * BAR_BYTES
        self.memory = 0x400000 + number * 0x100000
        self.offered = [0] * queues

    def data(self, offset: int = 0) -> int:
        return self.memory + 0x80000 + offset

    def ring(self, queue: int) -> int:
        return self.memory + queue * 0x10000

    # --- The tool ----------------------------------------------------------------------------

    def event(self) -> list[str]:
        return ["wait", "rtas check-exception 0x500 0x1001 0x10000000 0 0x180000 2048"]

    def set_indicator(self, indicator: int, value: int) -> str:
        return f"rtas set-indicator {indicator} {self.connector:#x} {value}"

    def take(self) -> list[str]:
        return [*self.event(), self.set_indicator(9001, 1), f"walk {self.connector:#x}"]

    def give_back(self) -> list[str]:
        return [*self.event(), *self.let_go()]

    def let_go(self) -> list[str]:
        return [self.set_indicator(9002, 1), *self.down(), self.set_indicator(9001, 0)]

    # --- The driver --------------------------------------------------------------------------

    def config(self, offset: int, size: int, value: int) -> str:
        return (f"rtas ibm,write-pci-config {self.slot << 11 | offset:#x} {BUS[0]:#x} {BUS[1]:#x} "
                f"{size} {value:#x}")

    def change_msi(self, function: int, count: int) -> str:
        return (f"rtas ibm,change-msi:4 {self.slot << 11:#x} {BUS[0]:#x} {BUS[1]:#x} {function} "
                f"{count} 1")

    def store(self, offset: int, size: int, value: int) -> str:
        return f"store {self.bar + offset:#x} {size} {value:#x}"

    def up(self) -> list[str]:
        lines = [self.config(BAR0, 4, self.bar & 0xffffffff), self.config(BAR0 + 4, 4, self.bar >> 32),
                 self.config(COMMAND, 2, 6), self.store(STATUS, 1, 1), self.store(STATUS, 1, 3)]
        for half in (0, 1):
            lines += [self.store(8, 4, half), self.store(12, 4, FEATURES >> 32 * half & 0xffffffff)]
        lines += [self.store(STATUS, 1, 11), self.change_msi(4, self.queues + 1)]
        lines += [self.store(TABLE + 16 * vector + 12, 4, 0) for vector in range(self.queues + 1)]
        lines += [self.config(MSIX_CONTROL, 2, 0x8000), self.store(16, 2, 0)]
        for queue in range(self.queues):
            ring = self.ring(queue)
            lines += [self.store(22, 2, queue), self.store(24, 2, RING_SIZE),
                      self.store(26, 2, queue + 1)]
            for at, address in ((32, ring), (40, ring + 0x4000), (48, ring + 0x8000)):
                lines += [self.store(at, 4, address), self.store(at + 4, 4, 0)]
            lines.append(self.store(28, 2, 1))
        return [*lines, self.store(STATUS, 1, 15)]

    def down(self) -> list[str]:
        """The vectors are masked first, as Linux does; so what comes now is pending."""
        return [*(self.store(TABLE + 16 * vector + 12, 4, 1) for vector in range(self.queues + 1)),
                self.store(STATUS, 1, 0), self.config(MSIX_CONTROL, 2, 0), self.change_msi(3, 0),
                self.config(COMMAND, 2, 2)]

    def request(self, queue: int, *parts: Part) -> list[str]:
        """Offer a chain of its own descriptors, and notify the device."""
        ring, lines = self.ring(queue), []
        first = 3 * self.offered[queue]
        for number, (address, length, written) in enumerate(parts, first):
            last = number == first + len(parts) - 1
            flags = (WRITE if written else 0) | (0 if last else NEXT)
            words = struct.unpack("<QQ", struct.pack("<QIHH", address, length, flags, number + 1))
            lines += [f"poke {ring + 16 * number + 8 * half:#x} 8 {word:#x}"
                      for half, word in enumerate(words)]
        lines.append(f"poke {ring + 0x4004 + 2 * self.offered[queue]:#x} 2 {first}")
        self.offered[queue] += 1
        return [*lines, f"poke {ring + 0x4002:#x} 2 {self.offered[queue]}",
                self.store(NOTIFY + 4 * queue, 2, queue)]

    def answered(self, queue: int) -> str:
        return f"until {self.ring(queue) + 0x8002:#x} 2 {self.offered[queue]}"
