# SPDX-License-Identifier: Apache-2.0
"""Drivers that break the rules of PCI and virtio, one class of fault after the other in one guest: the
answer is that of the standard, guest memory is unchanged except what the device may write, and
afterwards the same device serves an honest driver. What a fault is, is told in virtio 1.2 by section.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator

import pytest

from guest import scratch_directory
from host_api import Host
from probe import ISOLATION, RAM, ProbeGuest
from test_hostile import process_of
from virtio_probe import (ACCEPTED, ACKNOWLEDGE, BAR0, BAR_BYTES, CAPABILITIES, COMMAND, CONFIG,
                          CONFIG_VECTOR, DESC, DRIVER, DRIVER_OK, DRIVING, ENABLE, FAILED,
                          GENERATION, INDIRECT, IS_INDIRECT, ISR, MASTER, MEMORY,
                          NEEDS_RESET, NEXT, NOTIFY, PENDING, QUEUES, REGISTERS, SELECT, SIZE,
                          SLOT_DRC, STATUS, TABLE, UP, VECTOR, VERSION_1, WINDOW, WRITE, VirtioProbe)

MEMORY_BYTES = 512 << 20
SECTORS = 2048
IN, OUT, FLUSH, GET_ID, DISCARD = 0, 1, 4, 8, 11
OK, IOERR, UNSUPP = 0, 1, 2
NO_VECTOR = 0xffff
PATTERN = 0x5a


@pytest.fixture(scope="module")
def scratch(host: Host) -> Iterator[str]:
    with scratch_directory(host) as directory:
        yield directory


@pytest.fixture
def guest(start_probe, host: Host, scratch: str) -> ProbeGuest:
    """A disk whose sectors begin with their number, and one that is read-only; with a queue each."""
    content = b"".join(number.to_bytes(4, "little").ljust(512, b"\xd5") for number in range(SECTORS))
    for name in ("disk", "fixed"):
        host.run(["sh", "-c", f"cat > {scratch}/{name}.img"], input=content, check=True)
    return start_probe("--disk", f"file={scratch}/disk.img,id=disk,serial=S",
                       "--disk", f"file={scratch}/fixed.img,id=fixed,readonly",
                       endian="le", cpus="boot=1,max=1")


class World:
    """The device under test, and what must hold after each fault."""

    def __init__(self, guest: ProbeGuest) -> None:
        self.guest, self.disk = guest, VirtioProbe(guest.probe, 1)
        self.disk.place(self.disk.bar)
        # What nothing may write to, before and behind the driver's things.
        self.guards = [(RAM, 0x100000), (self.disk.at + 0x10000, 0x10000),
                       (MEMORY_BYTES // 2, 0x1000)]
        for start, length in self.guards:
            guest.probe.fill(start, length, PATTERN)

    def serves(self) -> None:
        """An honest driver reads a sector."""
        disk = self.disk
        disk.up()
        for sector in (7, SECTORS - 1):
            disk.fill(disk.data, 512, 0)
            assert disk.request(IN, sector, 512) == OK
            assert disk.probe.read(disk.data, 5) == sector.to_bytes(4, "little") + b"\xd5"
        for start, length in self.guards:
            assert disk.probe.same(start, length, PATTERN), hex(start)
        assert self.guest.control.execute("query-status")["status"] == "running"


def status_in_the_wrong_order(world: World) -> None:
    """Section 3.1.1, 2.1."""
    disk = world.disk
    for first in (UP, DRIVER_OK, ACKNOWLEDGE | DRIVER_OK):
        disk.reset()
        disk.set(STATUS, first)
        assert disk.get(STATUS) & NEEDS_RESET, first
    # Features that the device does not have, or without VERSION_1: the bit stays clear.
    for features in (0, VERSION_1 | 1 << 60, 1 << 5, (1 << 64) - 1):
        disk.begin(features)
        assert disk.get(STATUS) == ACKNOWLEDGE | DRIVING, hex(features)
    # Bits cannot be taken back, nor is one set that is the device's.
    disk.up()
    for value in (ACKNOWLEDGE, NEEDS_RESET, DRIVER_OK):
        disk.set(STATUS, value)
        assert disk.get(STATUS) == UP
    disk.set(STATUS, FAILED)
    assert disk.get(STATUS) == UP | FAILED


def queues_that_are_nowhere(world: World) -> None:
    """Section 2.7: 16, 2 and 4 bytes aligned, in memory."""
    disk = world.disk
    wrong = [MEMORY_BYTES, MEMORY_BYTES - 16, (1 << 64) - 16, 1 << 63, WINDOW, WINDOW + BAR_BYTES,
             0xfffffff0, RAM + 1]
    for part in ("desc", "avail", "used"):
        for address in wrong:
            disk.begin()
            disk.queue(**{part: address})
            disk.set(STATUS, UP)
            assert disk.get(STATUS) & NEEDS_RESET, (part, hex(address))
            assert disk.load(ISR, 1) & 2


def queues_of_a_wrong_size(world: World) -> None:
    disk = world.disk
    for size in (0, 3, 6, 255, 257, 512, 0x8000, 0xffff):
        disk.begin()
        disk.queue(size=size)
        disk.set(STATUS, UP)
        assert disk.get(STATUS) & NEEDS_RESET, size


def queues_that_are_changed_while_they_run(world: World) -> None:
    disk = world.disk
    disk.up()
    for register, value in ((SIZE, 256), (ENABLE, 0), ((DESC, 4), 0xfff0), ((DRIVER, 4), 0),
                            ((DESC + 4, 4), 0xff), ((12, 4), 0xffffffff)):
        before = disk.get(register)
        disk.set(register, value)
        assert disk.get(register) == before, register
    assert disk.request(IN, 1, 512) == OK
    # A queue that is not there has no size, and cannot be made.
    disk.begin()
    for queue in (1, 2, 15, 16, 17, 64, 0xffff):
        disk.set(SELECT, queue)
        assert disk.get(SELECT) == queue and disk.get(SIZE) == 0
        disk.set(SIZE, 8)
        disk.set(ENABLE, 1)
        disk.set_address(DESC, RAM)
        disk.set(VECTOR, 0)
        assert (disk.get(SIZE), disk.get(ENABLE), disk.load(DESC, 4)) == (0, 0, 0)


def descriptors(world: World) -> None:
    """Sections 2.7.4, 2.7.5: chains that are no chains; the device stops at each."""
    disk, table = world.disk, world.disk.at + 0x3000
    far = MEMORY_BYTES

    def chain(*entries: tuple[int, int, int, int], at: int | None = None) -> None:
        for index, (address, length, flags, following) in enumerate(entries):
            disk.describe(index, address, length, flags, following, table=at)

    def indirect(*entries: tuple[int, int, int, int], length: int | None = None,
                 address: int = table, flags: int = IS_INDIRECT) -> None:
        chain(*entries, at=table)
        disk.describe(0, address, 16 * len(entries) if length is None else length, flags)

    header, status = (disk.header, 16, NEXT, 1), (disk.header + 16, 1, WRITE, 0)
    faults = {
        "a loop": lambda: chain((disk.data, 16, NEXT, 1), (disk.data, 16, NEXT, 0)),
        "itself": lambda: chain((disk.data, 16, NEXT, 0)),
        "of nothing, for ever": lambda: chain((disk.data, 0, NEXT, 0)),
        "next outside": lambda: chain((disk.data, 16, NEXT, 8)),
        "far outside": lambda: chain((disk.data, 16, NEXT, 0xffff)),
        "not in memory": lambda: chain(header, (far, 512, NEXT | WRITE, 2), status),
        "across the end": lambda: chain(header, (far - 256, 512, NEXT | WRITE, 2), status),
        "wraps": lambda: chain(header, ((1 << 64) - 256, 512, NEXT | WRITE, 2), status),
        "a device's": lambda: chain(header, (WINDOW, 512, NEXT | WRITE, 2), status),
        "too long": lambda: chain(header, (disk.data, 0xffffffff, NEXT | WRITE, 2), status),
        "readable behind": lambda: chain((disk.data, 16, NEXT | WRITE, 1), (disk.data, 16, 0, 0)),
        "no status": lambda: chain((disk.header, 16, 0, 0)),
        "half a header": lambda: chain((disk.header, 8, NEXT, 1), status),
        "nothing": lambda: chain((0, 0, 0, 0)),
        "indirect loop": lambda: indirect((disk.data, 16, NEXT, 1), (disk.data, 16, NEXT, 0)),
        "indirect outside": lambda: indirect((disk.data, 16, NEXT, 1)),
        "indirect nested": lambda: indirect((table, 16, IS_INDIRECT, 0)),
        "indirect of itself": lambda: indirect((table, 16, IS_INDIRECT | NEXT, 0)),
        "indirect empty": lambda: indirect(length=0),
        "indirect odd": lambda: indirect(header, status, length=24),
        "indirect huge": lambda: indirect(header, status, length=0xfffffff0),
        "indirect elsewhere": lambda: indirect(header, status, address=far - 16),
        "indirect with next": lambda: indirect(header, status, flags=IS_INDIRECT | NEXT),
    }
    for name, make in faults.items():
        disk.up(VERSION_1 | INDIRECT)
        make()
        disk.offer(0)
        disk.notify()
        try:
            disk.broken()
        except AssertionError as wrong:
            raise AssertionError(f"{name}: {wrong}") from wrong
        # What was taken has been given back, with nothing written.
        if disk.used_index():
            assert disk.probe.read(disk.used + 8, 4) == bytes(4), name
        # It takes nothing more before it is reset.
        used = disk.used_index()
        disk.block(IN, 0, 512, index=3)
        disk.offer(3)
        disk.notify()
        assert disk.get(STATUS) == UP | NEEDS_RESET and disk.used_index() == used, name
    # An indirect table that was not accepted; one that is right.
    disk.up()
    disk.block(IN, 5, 512)
    indirect((disk.header, 16, NEXT, 1), (disk.data, 512, NEXT | WRITE, 2), status)
    disk.offer(0)
    disk.notify()
    disk.broken()
    disk.up(VERSION_1 | INDIRECT)
    indirect((disk.header, 16, NEXT, 1), (disk.data, 512, NEXT | WRITE, 2), status)
    disk.offer(0)
    disk.notify()
    assert disk.answer() == (0, 513)


def available_rings(world: World) -> None:
    disk = world.disk
    for index, head in ((9, 0), (0x8000, 0), (0xffff, 0), (1, 8), (1, 0xffff)):
        disk.up()
        disk.block(IN, 0, 512)
        disk.write(disk.avail + 4, struct.pack("<H", head))
        disk.write(disk.avail + 2, struct.pack("<H", index))
        disk.notify()
        disk.broken()
        assert disk.used_index() == 0, (index, head)


def requests_of_disks(world: World) -> None:
    """Section 5.2.6: what is asked wrongly is answered; the content is as it was."""
    disk, fixed = world.disk, VirtioProbe(world.guest.probe, 2)
    disk.up()
    for kind, sector, length, status in (
            (IN, SECTORS, 512, IOERR), (IN, SECTORS - 1, 1024, IOERR), (IN, (1 << 64) - 1, 512, IOERR),
            (IN, 1 << 55, 512, IOERR), (IN, (1 << 63) + 1, 512, IOERR), (IN, 0, 511, IOERR),
            (IN, 0, 1, IOERR), (OUT, SECTORS, 512, IOERR), (OUT, (1 << 64) - 1, 1024, IOERR),
            (OUT, 3, 513, IOERR), (2, 0, 512, UNSUPP), (0xffffffff, 0, 512, UNSUPP),
            (1 << 31, 0, 512, UNSUPP), (DISCARD, 0, 8, IOERR), (FLUSH, (1 << 64) - 1, 512, OK)):
        assert disk.request(kind, sector, length) == status, (kind, hex(sector), length)
    disk.write(disk.data, struct.pack("<QII", (1 << 64) - 8, 16, 0))
    assert disk.request(DISCARD, 0, 16) in (IOERR, UNSUPP)  # by what the host's file system can
    disk.write(disk.data, struct.pack("<QII", 0, 8, 0xffffffff))
    assert disk.request(DISCARD, 0, 16) == UNSUPP
    # No more than the buffer is written.
    disk.fill(disk.data, 64, PATTERN)
    assert disk.request(GET_ID, 0, 3) == OK
    assert disk.probe.same(disk.data + 3, 61, PATTERN)
    fixed.place(fixed.bar)
    fixed.up()
    assert [fixed.request(kind, 0, 512) for kind in (OUT, DISCARD, FLUSH, IN)] == [
        IOERR, IOERR, OK, OK]
    fixed.reset()


def notifications_of_what_is_not_there(world: World) -> None:
    disk = world.disk
    disk.up()
    disk.block(IN, 2, 512)
    disk.offer(0)
    for offset in (4, 8, 64, 0xffc):
        for size in (1, 2, 4, 8):
            if offset % size == 0:
                disk.store(NOTIFY + offset, size, 0)
    assert disk.used_index() == 0 and disk.get(STATUS) == UP
    # Any width and value rings the one that is there.
    for size, value in ((1, 0xff), (2, 0xffff), (4, 0xffffffff), (8, 0)):
        disk.store(NOTIFY, size, value)
        assert disk.answer()[0] == 0
        disk.offer(0)
    disk.notify()
    disk.answer()
    assert [disk.load(NOTIFY, size) for size in (1, 2, 4, 8)] == [0] * 4
    # Before the device runs nothing is served.
    disk.begin()
    disk.notify()
    assert disk.get(STATUS) == ACCEPTED


def accesses_of_a_wrong_width(world: World) -> None:
    """Section 4.1.3.1: a driver uses the width of each field; the others do nothing here."""
    disk = world.disk
    disk.up()
    for offset, width in ((0, 4), (4, 4), (16, 2), (18, 2), (20, 1), (24, 2), (32, 4), (48, 4)):
        for size in (1, 2, 4, 8):
            if size != width:
                assert disk.load(offset, size) == 0, (offset, size)
                disk.store(offset, size, 0)
    assert disk.get(STATUS) == UP and disk.get(QUEUES) == 1 and disk.get(SIZE) == 8
    # Not aligned, across two registers, behind the last one, and across the end of a part.
    for offset, size in ((1, 4), (2, 4), (17, 2), (22, 8), (52, 8), (56, 4), (60, 8), (0xffc, 8),
                         (0xfff, 1)):
        disk.store(offset, size, 0xffffffff)
        assert disk.load(offset, size) == 0, (offset, size)
    # 16 bytes at once, all over.
    for offset in (0, 16, 32, ISR, CONFIG, NOTIFY, TABLE, PENDING, BAR_BYTES - 16):
        disk.probe.run(f"vload {disk.bar + offset:x}")
    # The configuration of the device can be read in any width, and ends; it cannot be written.
    assert disk.load(CONFIG, 8) == SECTORS
    assert disk.load(CONFIG + 1, 1) == SECTORS >> 8
    disk.store(CONFIG, 8, 0)
    assert disk.load(CONFIG, 4) == SECTORS
    assert disk.load(CONFIG + 0xff8, 8) == 0
    for offset in range(REGISTERS, 0x1000, 0x2f0):
        assert disk.load(offset & ~7, 8) == 0
    assert disk.get(GENERATION) == 0


def interrupts(world: World) -> None:
    """PCI 3.0, 6.8.2; virtio 4.1.5.1.2: garbage in MSI-X, and vectors that are not there."""
    disk = world.disk
    assert disk.change_msi(4, 2)[:2] == [0, 2]
    msix = disk.capability(0x11)
    disk.write_config(msix + 2, 2, 0xffff)
    for offset in range(0, 2 * 16, 4):
        disk.store(TABLE + offset, 4, 0xffffffff)
    for offset, size in ((0, 1), (2, 2), (3, 1), (0xd, 1), (0xe, 2), (6, 4), (12, 8)):
        disk.store(TABLE + offset, size, 0)
    assert disk.load(TABLE + 12, 4) == 1 and disk.load(TABLE, 8) == (1 << 64) - 1
    for offset in (2 * 16, 0x1f0, 0x3ff8, PENDING - TABLE - 8):
        disk.store(TABLE + offset, 8, (1 << 64) - 1)
        assert disk.load(TABLE + offset, 8) == 0
    for offset in (0, 4, 8, 0x3ff8):
        disk.store(PENDING + offset, 4, 0xffffffff)
        assert disk.load(PENDING + offset, 4) == 0
    disk.begin()
    for register in (CONFIG_VECTOR, VECTOR):
        for vector in (2, 3, 31, 0x7fff, 0xfffe, NO_VECTOR):
            disk.set(register, vector)
            assert disk.get(register) == NO_VECTOR, vector
        disk.set(register, 1)
        assert disk.get(register) == 1
    disk.queue()
    disk.set(STATUS, UP)
    disk.set(VECTOR, 0)
    assert disk.get(VECTOR) == 1  # that of a queue is settled then
    for function, count in ((4, 3), (4, 0x7fffffff), (4, 0xffffffff), (3, 1), (0, 0), (7, 0),
                            (0xffffffff, 1)):
        status, granted = disk.change_msi(function, count)[:2]
        assert status != 0 or granted == 2, (function, count)
    assert disk.source(0)[0] == 0 and disk.source(1)[0] == 0
    assert [disk.source(vector)[0] for vector in (2, 31, 32, 0xffffffff)] == [-3] * 4
    for _ in range(3):
        assert disk.change_msi(4, 2)[0] == 0
        assert disk.change_msi(3, 0)[0] == 0
    assert disk.source(0)[0] == -3
    disk.write_config(msix + 2, 2, 0)


def configuration_spaces(world: World) -> None:
    """LoPAR 7.3.4; PCI 3.0, 6.1."""
    disk, probe = world.disk, world.guest.probe
    space = [disk.read_config(offset, 4) for offset in range(0, 256, 4)]
    for offset, size in itertools.product((0, 1, 2, 3, 0x3f, 0xfd, 0xfe, 0xff, 0x100, 0xffc),
                                          (0, 1, 2, 3, 4, 8, 0xffffffff)):
        good = size in (1, 2, 4) and offset % size == 0 and offset < 256
        address = disk.address(offset)
        buid = (0x08000000, 0x20000000)
        assert (probe.rtas("ibm,read-pci-config", 2, address, *buid, size)[0] == 0) == good
        if not good:
            assert probe.rtas("ibm,write-pci-config", 1, address, *buid, size, 0xffffffff) != [0]
    for slot, buid in ((0, 0), (3, 0), (31, 0), (1, 1)):
        address = slot << 11
        status, value = probe.rtas("ibm,read-pci-config", 2, address, 0x08000000,
                                   0x20000000 + buid, 4)
        assert status != 0 and value & 0xffffffff == 0xffffffff
    for other in (1 << 16, 0xff << 16, 1 << 8, 7 << 8):  # bus, function
        assert probe.rtas("ibm,read-pci-config", 2, 1 << 11 | other, 0x08000000, 0x20000000,
                          4)[0] != 0
    # All ones to all of it: what is constant stays so, the BAR's size is read.
    for offset in range(0, 256, 4):
        disk.write_config(offset, 4, 0xffffffff)
    changed = [offset for offset in range(0, 256, 4)
               if disk.read_config(offset, 4) != space[offset // 4]]
    assert disk.read_config(0, 4) == space[0] and disk.read_config(CAPABILITIES, 1) == space[13] & 0xff
    assert disk.read_config(BAR0, 4) == 0xffff0004 and disk.read_config(BAR0 + 4, 4) == 0xffffffff
    window = disk.capability(9, 5)
    assert set(changed) <= {COMMAND, 0x0c, BAR0, BAR0 + 4, 0x3c, disk.capability(0x11),
                            *range(window & ~3, window + 20, 4)}, changed
    disk.write_config(disk.capability(0x11) + 2, 2, 0)
    # Section 4.1.4.9: the BAR by way of the configuration space, and garbage there.
    for bar, offset, length in ((1, 0, 4), (0, BAR_BYTES, 4), (0, 0xffffffff, 4), (0, 0, 3),
                                (0, 0, 0), (0, 0, 0xffffffff), (0, 1, 2), (0, BAR_BYTES - 2, 4)):
        disk.write_config(window + 4, 1, bar)
        disk.write_config(window + 8, 4, offset)
        disk.write_config(window + 12, 4, length)
        disk.write_config(window + 16, 4, 0xffffffff)
        disk.read_config(window + 16, 4)
    disk.place(disk.bar)
    disk.up()
    disk.write_config(window + 4, 1, 0)
    disk.write_config(window + 8, 4, STATUS[0])
    disk.write_config(window + 12, 4, 1)
    assert disk.read_config(window + 16, 1) == UP


def bus_mastering_off(world: World) -> None:
    """PCI 3.0, 6.2.2: it takes no notifications; what came meanwhile is served afterwards."""
    disk = world.disk
    disk.up()
    assert disk.request(IN, 1, 512) == OK
    disk.write_config(COMMAND, 2, MEMORY)
    disk.block(IN, 9, 512)
    disk.offer(0)
    disk.notify()
    assert disk.get(STATUS) == UP and disk.used_index() == 1
    disk.write_config(COMMAND, 2, MEMORY | MASTER)
    disk.answer()
    assert disk.probe.read(disk.data, 4) == (9).to_bytes(4, "little")


def bars_that_move(world: World) -> None:
    """In the middle of requests: to another place, away, over another device, and back."""
    disk, home, window = world.disk, world.disk.bar, 64 << 30
    disk.up()
    for turn, place in enumerate((home + 5 * BAR_BYTES, WINDOW + window - BAR_BYTES, home)):
        old = disk.bar
        disk.block(IN, turn, 512)
        disk.offer(0)
        disk.notify()
        disk.place(place)
        disk.answer()
        assert disk.get(STATUS) == UP
        # A device that has gone reads 0, so that nothing waits for it for ever.
        disk.bar = old
        assert [disk.load(offset, 4) for offset in (0, 4, STATUS[0], CONFIG, TABLE)] == [0] * 5
        disk.store(STATUS[0], 1, 0)
        disk.notify()
        disk.bar = place
        assert disk.get(STATUS) == UP
        assert disk.request(IN, 20 + turn, 512) == OK
    # Memory accesses off, and nowhere: behind the window, in memory, at the end of all addresses.
    for place in (None, WINDOW + window, RAM, (1 << 64) - BAR_BYTES, 0):
        disk.block(IN, 3, 512)
        disk.offer(0)
        disk.notify()
        if place is None:
            disk.write_config(COMMAND, 2, MASTER)
        else:
            disk.place(place)
            disk.bar = home
        disk.answer()
        assert disk.load(STATUS[0], 1) == 0 and disk.load(TABLE, 8) == 0
        disk.place(home)
        assert disk.request(IN, 4, 512) == OK


def resets_with_requests_in_flight(world: World) -> None:
    """Section 2.1: when the status reads 0, the device is done with memory."""
    disk = world.disk
    big = VirtioProbe(world.guest.probe, 1, size=64)
    for turn in range(3):
        big.up()
        big.write(big.header, struct.pack("<IIQ", IN, 0, 0))
        for index in range(0, 63, 3):
            big.describe(index, big.header, 16, NEXT, index + 1)
            big.describe(index + 1, big.data, 0x8000, NEXT | WRITE, index + 2)
            big.describe(index + 2, big.header + 16 + index, 1, WRITE)
        big.offer(*range(0, 63, 3))
        big.notify()
        big.reset()
        used = big.used_index()
        assert used <= 21
        big.fill(big.data, 0x8000, 0xee)
        heads = [struct.unpack("<I", big.probe.read(big.used + 4 + 8 * i, 4))[0]
                 for i in range(used)]
        assert len(set(heads)) == used and all(head % 3 == 0 for head in heads)
        # What another driver does comes after all that.
        disk.data = disk.at + 0xe000
        disk.up()
        assert disk.request(IN, turn, 512) == OK
        assert big.probe.same(big.data, 0x8000, 0xee)


def a_device_that_leaves_in_use(world: World) -> None:
    """Isolated while its driver runs: it is alive until the driver lets go, and then reads 0."""
    disk, guest = world.disk, world.guest
    disk.up()
    operation = guest.control.execute("device_del", id="disk")["operation"]
    assert guest.probe.set_indicator(9002, SLOT_DRC + 1, 1) == 0
    assert guest.probe.set_indicator(ISOLATION, SLOT_DRC + 1, 0) == 0
    assert guest.control.operation(operation)["outcome"] == "pending"
    assert disk.request(IN, 12, 512) == OK
    disk.set(STATUS, 0)
    disk.until(lambda: disk.get(STATUS) == 0, "the device is reset")
    assert guest.control.operation(operation)["outcome"] == "pending"
    assert disk.read_config(0, 4) == 0x10421af4
    disk.write_config(COMMAND, 2, 0)
    ended = guest.control.wait_end(operation)
    assert (ended["outcome"], ended["evidence"]["source"]) == ("done", "driver")
    assert [disk.load(offset, 4) for offset in (0, STATUS[0], CONFIG)] == [0] * 3
    disk.store(STATUS[0], 1, UP)
    disk.notify()
    assert guest.probe.rtas("ibm,read-pci-config", 2, 1 << 11, 0x08000000, 0x20000000, 4)[0] != 0
    assert guest.probe.set_indicator(ISOLATION, SLOT_DRC + 1, 1) == -3


FAULTS = [status_in_the_wrong_order, queues_that_are_nowhere, queues_of_a_wrong_size,
          queues_that_are_changed_while_they_run, descriptors, available_rings, requests_of_disks,
          notifications_of_what_is_not_there, accesses_of_a_wrong_width, interrupts,
          configuration_spaces, bus_mastering_off, bars_that_move, resets_with_requests_in_flight]


def test_faults_of_drivers(guest: ProbeGuest, host: Host, scratch: str) -> None:
    world = World(guest)
    world.serves()
    before = process_of(host)
    for fault in FAULTS:
        try:
            fault(world)
            world.serves()
        except AssertionError as wrong:
            raise AssertionError(f"{fault.__name__}: {wrong}") from wrong
        print(fault.__name__)
    after = process_of(host)
    # Not its threads: io_uring's come and go.
    assert after["descriptors"] == before["descriptors"]
    assert after["data"] - before["data"] < 1024, (before, after)
    a_device_that_leaves_in_use(world)
    assert guest.probe.run("echo alive") == "alive"
    # The disks' content is as it was.
    host.run(["cmp", f"{scratch}/disk.img", f"{scratch}/fixed.img"], check=True)
