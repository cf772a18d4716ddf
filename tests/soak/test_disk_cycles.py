# SPDX-License-Identifier: Apache-2.0
"""Endurance: a disk that is added and removed many times, each time in the middle of its use, by a guest
with Linux' own tools.

A cycle: paprikactl adds the disk; the guest finds on it what it was told is written in the cycle before;
two processes write and read at random past the page cache; the disk is removed while they do. Every
MOUNTED_EVERY-th time a file system is mounted on it instead, and written to.

What must hold: each operation is done; no request is lost (the processes end, and with them all that
they asked for) or answered twice (the guest's driver would say so); nothing is torn in the image; what
was answered is there; and the process has no more descriptors, threads or memory than after the first
cycles.

PAPRIKA_DISK_CYCLES is the number of cycles, default 200, which take some 40 minutes.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

import pytest

from guest import Guest
from guest_disks import (LOST_DISK, ROOT, KIB, add, churned, cycle_under_load, make, remove, troubles,
                         wait_disk)
from host_api import Host
from test_soak import process_id

CYCLES = int(os.environ.get("PAPRIKA_DISK_CYCLES") or 200)
SETTLED = 5  # cycles, after which the process must not grow
MOUNTED_EVERY = 10
WORKERS = 2
RESIDENT_KB = 256  # that malloc may keep, see test_soak.py


def resources(guest: Guest, pid: int) -> tuple[int, int, int]:
    """Descriptors, threads, and KiB that are not the guest's RAM. The threads that the host's kernel makes
    for io_uring come and go."""
    text = guest.host.run(
        ["sh", "-c", "cd /proc/$0 && ls fd | wc -l && cat task/*/comm | grep -vc iou-wrk && cat smaps",
         str(pid)],
        check=True).stdout.decode()
    descriptors, threads, smaps = text.split("\n", 2)
    resident, size = 0, 0
    for line in smaps.splitlines():
        name, _, value = line.partition(":")
        if name == "Size":
            size = int(value.split()[0])
        elif name == "Rss" and size < 512 << 10:
            resident += int(value.split()[0])
    return int(descriptors), int(threads), resident


def cycle_mounted(guest: Guest, image: str) -> dict[str, int]:
    """With a file system, which is written to, and is not unmounted before."""
    added = add(guest, image)
    guest.sh("/sbin/mke2fs -q -t ext4 -F /dev/vdb && mount /dev/vdb /mnt && sync && "
             "(while cp /bin/busybox /mnt/x && sync && rm /mnt/x; do :; done > /dev/null 2>&1 &) ; true")
    removed = remove(guest)
    wait_disk(guest, "vdb", False)
    # Nobody waits for the disk any more.
    guest.sh("until umount /mnt 2> /dev/null; do usleep 10000; done; rm -f /tmp/known")
    guest.host.run(["sh", "-c", f": > {image} && truncate -s {KIB << 10} {image}"], check=True)
    return {"add": added["evidence"]["elapsed-ms"], "remove": removed["evidence"]["elapsed-ms"]}


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Callable[[object], None]:
    """Print, also without a failure: the measurements are results of this test."""
    def show_line(line: object) -> None:
        with capsys.disabled():
            print(line, flush=True)
    return show_line


def test_disk_cycles(start: Callable[..., Guest], host: Host, scratch: str,
                     root_disk: Callable[[str], str], show: Callable[[object], None]) -> None:
    image = make(host, scratch, "data.img", KIB << 10)
    guest = start("--disk", f"file={root_disk(scratch)},id=root", append=ROOT)
    guest.wait_ready()
    pid, begin = process_id(guest), time.monotonic()
    times: dict[str, list[int]] = {"add": [], "remove": []}
    sums = dict.fromkeys(("writes", "reads", "errors", "verified", "mounted"), 0)
    settled = (0, 0, 0)
    for cycle in range(1, CYCLES + 1):
        if cycle % MOUNTED_EVERY == 0:
            done = cycle_mounted(guest, image) | {"mounted": 1}
        else:
            done = cycle_under_load(guest, image, WORKERS)
            found = churned(host, image)
            assert (found["torn"], found["written"] > 0) == (0, True), found
        for kind, of_kind in times.items():
            of_kind.append(done[kind])
        for name in sums:
            sums[name] += done.get(name, 0)
        said = [line for line in troubles(guest) if not LOST_DISK.search(line)]
        assert said == [], said
        guest.sh("dmesg -c > /dev/null")
        now = resources(guest, pid)
        if cycle == SETTLED:
            settled = now
        show(f"{cycle:4} {time.monotonic() - begin:6.0f} s: add {done['add']} ms, remove "
             f"{done['remove']} ms; {now[0]} descriptors, {now[1]} threads, {now[2]} KiB")
        if cycle > SETTLED:
            assert now[:2] == settled[:2] and now[2] <= settled[2] + RESIDENT_KB, (settled, now)
    for kind, of_kind in times.items():
        show(f"{kind}: {len(of_kind)} done; {min(of_kind)} ms at least, {statistics.median(of_kind):.0f} in "
             f"the middle, {max(of_kind)} at most")
    show(f"requests: {sums['writes']} writes and {sums['reads']} reads, of which {sums['errors']} found the "
         f"disk gone; 0 lost; {sums['verified']} blocks found again as written; {sums['mounted']} times a "
         "file system was mounted")
    assert sums["verified"] > 0 or CYCLES < 3
