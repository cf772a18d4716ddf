# SPDX-License-Identifier: Apache-2.0
"""Disks behind which is a block device of the host, one that hangs, or one that fails; removals by force;
and resets while a disk is being removed.

`host_disk` (host_disk.c) serves an image as a network block device of the host, and stops answering when
it is told to."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from guest import DEADLINE, Guest
from guest_disks import (KIB, ROOT, add, churned, ctl, end_churn, last, make, remove, slots, start_churn,
                         steps, troubles, wait_disk)
from host_api import Host, Process
from test_disks import Starter, fetch, file_in, power_off

NBD = "/dev/nbd0"


@contextlib.contextmanager
def host_disk(host: Host, image: str) -> Iterator[Process]:
    """NBD, with that image."""
    if host.run(["test", "-b", NBD]).rc != 0:
        pytest.skip("the host has no network block devices (module nbd)")
    with host.popen(["host_disk", NBD, image]) as server:
        server.stdout.read_until(b"ready", DEADLINE)
        try:
            yield server
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(DEADLINE)


def hangs(guest: Guest, name: str) -> dict[str, Any]:
    """Wait until its requests are not answered any more."""
    before = slots(guest)[name]
    deadline = time.monotonic() + DEADLINE
    while True:
        assert time.monotonic() < deadline, f"{name} does not hang: {before}"
        guest.host.run(["usleep", "300000"], check=True)
        now = slots(guest)[name]
        if now["requests-in-flight"] > 0 and now["requests"] == before["requests"]:
            return now
        before = now


# --- Block devices --------------------------------------------------------------------------------


@pytest.mark.long
def test_block_devices_past_the_host_s_page_cache_and_through_it(
        start: Starter, host: Host, scratch: str) -> None:
    """What churn is told is written is in the image behind the device, with io_uring and without."""
    images = [make(host, scratch, f"{n}.img", KIB << 10) for n in range(3)]
    loops = []
    try:
        for image in images[:2]:
            ran = host.run(["sh", "-c", 'd=$(losetup -f) && losetup "$d" "$1" && echo "$d"', "sh", image])
            if ran.rc != 0:
                pytest.skip("the host has no loop devices (module loop)")
            loops.append(ran.stdout.decode().strip())
        with host_disk(host, images[2]):
            disks = ("--disk", f"file={loops[0]},id=plain", "--disk", f"file={loops[1]},id=direct,direct",
                     "--disk", f"file={NBD},id=net,direct,queues=2")
            for prefix in ((), ("no_uring",)):
                guest: Guest = start(*disks, prefix=prefix)
                guest.wait_ready()
                assert guest.sh("cat /sys/block/vd?/size").split() == [str(KIB * 2)] * 3
                for device in ("vda", "vdb", "vdc"):
                    start_churn(guest, f"/dev/{device}")
                    done = end_churn(guest)
                    assert (done["errors"], done["wrong"]) == (0, 0) and done["writes"] > 0, done
                    guest.sh(f"churn verify /dev/{device} {KIB} /tmp/known > /tmp/verified; "
                             "grep -q 'wrong=0' /tmp/verified; sync")
                # Requests that are not aligned as direct I/O wants it.
                guest.sh("dd if=/dev/vdb of=/tmp/odd bs=512 skip=3 count=5 iflag=direct 2>/dev/null && "
                         "dd if=/tmp/odd of=/dev/vdb bs=512 seek=3 count=5 oflag=direct 2>/dev/null")
                assert troubles(guest) == []
                power_off(guest)
        host.run(["sync"], check=True)
        for image in images:
            found = churned(host, image)
            assert found["written"] > 0 and found["torn"] == 0, (image, found)
    finally:
        for device in loops:
            host.run(["losetup", "-d", device], check=True)


# --- By force -------------------------------------------------------------------------------------


@pytest.mark.long
def test_removals_of_disks_that_hang_and_by_force(
        start: Starter, host: Host, scratch: str, root_disk: Callable[[str], str], tmp_path: Path) -> None:
    """One guest, to which all of this is done one after the other."""
    image = make(host, scratch, "data.img", KIB << 10)
    behind = make(host, scratch, "behind.img", KIB << 10)
    guest: Guest = start("--disk", f"file={root_disk(scratch)},id=root", "--unplug-deadline", "3",
                         append=ROOT)
    guest.wait_ready()
    leaves_by_force_mounted_and_under_load(guest, host, image, tmp_path)
    ends_by_resets(guest, image)
    with host_disk(host, behind) as server:
        hangs_and_is_reset(guest, server)
    with host_disk(host, behind) as server:
        hangs_and_fails(guest, server)
    assert churned(host, behind)["torn"] == 0
    # The guest is well, and the next disk too.
    add(guest, image)
    guest.sh("dmesg -c > /dev/null; dd if=/dev/vdb of=/dev/null bs=64k iflag=direct 2>/dev/null")
    remove(guest)
    assert troubles(guest) == []


def leaves_by_force_mounted_and_under_load(guest: Guest, host: Host, image: str, tmp_path: Path) -> None:
    """What was flushed is there; what was not is lost, and the file system can be mended."""
    add(guest, image)
    guest.sh("/sbin/mke2fs -q -t ext4 -F /dev/vdb && mount /dev/vdb /mnt && echo kept > /mnt/kept && sync; "
             "(while dd if=/dev/zero of=/mnt/x bs=64k count=60; do :; done > /dev/null 2>&1) & true")
    said = ctl(guest, "disk", "remove", "data", "--force", "--wait")
    print(said)
    removed = last(guest, "remove", "data")
    assert (removed["outcome"], removed["forced"]) == ("done", True), removed
    assert removed["evidence"]["drivers-active"] == 0, removed
    assert "answered with an I/O error from now on" in said and "removed by force" in said, said
    assert "data" not in slots(guest)
    wait_disk(guest, "vdb", False)
    guest.sh("killall dd; until umount /mnt 2> /dev/null; do usleep 10000; done; dmesg -c > /dev/null")
    copy = fetch(host, image, tmp_path)
    subprocess.run(["/sbin/e2fsck", "-fy", copy], capture_output=True)
    assert subprocess.run(["/sbin/e2fsck", "-fn", copy], capture_output=True).returncode == 0
    assert file_in(copy, "/kept") == b"kept\n"
    host.run(["sh", "-c", f": > {image} && truncate -s {KIB << 10} {image}"], check=True)


def ends_by_resets(guest: Guest, image: str) -> None:
    """A removal that the guest has not heard of, and one whose disk no driver uses any more."""
    for step in ("notified", "stopped"):
        add(guest, image)
        if step == "notified":
            guest.control.execute("stop")
        removal = guest.control.execute("device_del", id="data")["operation"]
        guest.control.wait_step(removal, step)
        guest.control.execute("system_reset")
        ended = guest.control.wait_end(removal)
        assert (ended["outcome"], ended["evidence"]["source"]) == ("superseded", "reset"), ended
        assert step in steps(ended) and "isolated" not in steps(ended), ended
        assert "data" not in slots(guest)
        if step == "notified":
            guest.control.execute("cont")
        guest.wait_ready()
        assert guest.sh("echo /sys/block/vd*") == "/sys/block/vda"
        guest.control.execute("blockdev-del", node_name="data")


def forced_and_stuck(guest: Guest, server: Process) -> int:
    """A removal that is pending by force: its operation. Its disk hangs."""
    add(guest, NBD)
    start_churn(guest, "/dev/vdb", 2)
    server.send_signal(signal.SIGUSR1)
    hangs(guest, "data")
    removal = guest.control.execute("device_del", id="data")["operation"]
    said = guest.control.wait_step(removal, "unresolved")
    assert said["outcome"] == "pending" and "forced" not in said, said
    assert "still uses the device" in said["stuck"] or "no tool" in said["stuck"], said
    said = ctl(guest, "disk", "remove", "data", "--force")
    print(said)
    assert "that had been begun end as the host ends them" in said, said
    said = guest.control.wait_step(removal, "unresolved")
    assert said["outcome"] == "pending" and said["forced"], said
    assert "begun that wait for the host" in said["stuck"], said
    assert slots(guest)["data"]["device-status"] not in (0, 1)
    return removal


def hangs_and_is_reset(guest: Guest, server: Process) -> None:
    """The reset waits, and says for what. Until then nothing of the guest's memory is used again."""
    removal = forced_and_stuck(guest, server)
    assert "reset-waits" not in guest.control.execute("query-status")
    guest.control.execute("system_reset")
    assert guest.control.execute("query-status")["reset-waits"] == ["data"]
    assert "waits for requests of data" in ctl(guest, "status")
    assert guest.control.operation(removal)["outcome"] == "pending"
    server.send_signal(signal.SIGUSR2)
    ended = guest.control.wait_end(removal)
    assert (ended["outcome"], ended["evidence"]["source"]) == ("superseded", "reset"), ended
    assert "reset-waits" not in guest.control.execute("query-status")
    guest.wait_ready()
    assert guest.sh("echo /sys/block/vd*") == "/sys/block/vda"
    guest.control.execute("blockdev-del", node_name="data")


def hangs_and_fails(guest: Guest, server: Process) -> None:
    """When the host's disk has ended its requests, with errors, the removal goes on."""
    removal = forced_and_stuck(guest, server)
    server.send_signal(signal.SIGTERM)
    ended = guest.control.wait_end(removal)
    assert (ended["outcome"], ended["forced"]) == ("done", True), ended
    assert "data" not in slots(guest)
    guest.control.execute("blockdev-del", node_name="data")
    done = end_churn(guest)
    assert done["errors"] > 0 and done["wrong"] == 0, done
    guest.sh("dmesg -c > /dev/null")


def test_by_force_from_a_guest_without_tools(start: Starter, host: Host, scratch: str) -> None:
    """It is cut off, and keeps the disk until its driver has let go."""
    image = make(host, scratch, "data.img", "1M")
    guest: Guest = start("--disk", f"file={image},id=data", "--unplug-deadline", "1")
    guest.wait_ready()
    removal = guest.control.execute("device_del", id="data", force=True)["operation"]
    guest.sh("! dd if=/dev/vda of=/dev/null bs=64k iflag=direct 2>/dev/null")
    guest.sh("! dd if=/dev/zero of=/dev/vda bs=64k count=1 oflag=direct 2>/dev/null")
    said = guest.control.wait_step(removal, "unresolved")
    assert said["outcome"] == "pending" and said["requests-refused"] > 0, said
    assert "no tool in the guest has acted on it" in said["stuck"], said
    # It is given back, and works.
    guest.control.execute("operation-cancel", id=removal)
    guest.sh("dd if=/dev/vda of=/dev/null bs=64k iflag=direct 2>/dev/null")
    removal = guest.control.execute("device_del", id="data", force=True)["operation"]
    guest.sh("echo 0000:00:01.0 > /sys/bus/pci/drivers/virtio-pci/unbind")
    ended = guest.control.wait_end(removal)
    assert (ended["outcome"], ended["evidence"]["source"]) == ("done", "driver"), ended
    assert steps(ended)[-3:] == ["stopped", "released", "ended"], ended
    assert slots(guest) == {}
    # Its slot is not used before a reset: the guest has it in its tree.
    ctl(guest, "disk", "add", image, "--id", "data")
    assert last(guest, "add", "data")["unit"] == 2
    guest.control.execute("system_reset")
    guest.wait_ready()
    guest.sh("dd if=/dev/vda of=/dev/null bs=64k iflag=direct 2>/dev/null")
    assert troubles(guest) == []
    power_off(guest)
