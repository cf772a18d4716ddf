# SPDX-License-Identifier: Apache-2.0
"""Disks are added to a running guest, and removed: with Linux' own tools (rtas_errd and drmgr, on the
guest's root disk), in the middle of its use, and with a guest that has no tools."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from guest import CommandError, Guest
from guest_disks import (KIB, ROOT, add, churned, ctl, cycle_under_load, descriptors, end_churn, last,
                         make, remove, slots, start_churn, steps, troubles, wait_disk)
from host_api import Host
from test_disks import Starter, fetch, file_in, power_off

ADDED = ["requested", "notified", "fetched", "unisolated", "configured", "started", "ended"]
REMOVED = ["requested", "notified", "fetched", "answered", "stopped", "isolated", "ended"]
CYCLES = 4  # of some 7 s each: the tool sleeps for 3 s in each removal


# --- With the tools -------------------------------------------------------------------------------


def test_disks_come_and_go(start: Starter, host: Host, scratch: str,
                           root_disk: Callable[[str], str], tmp_path: Path) -> None:
    """One guest, to which all of this is done one after the other."""
    image = make(host, scratch, "data.img", KIB << 10)
    guest: Guest = start("--disk", f"file={root_disk(scratch)},id=root", "--unplug-deadline", "10",
                         append=ROOT)
    guest.wait_ready()
    before = descriptors(guest)
    comes_and_goes_twice(guest, image)
    leaves_under_direct_io(guest, host, image)
    leaves_mounted_and_dirty(guest, host, image, tmp_path)
    leaves_without_a_driver(guest, image)
    comes_and_goes_under_load(guest, image)
    assert descriptors(guest) == before
    ends_by_a_reset(guest, image)
    assert troubles(guest) == []
    leaves_with_the_root(guest)


def comes_and_goes_twice(guest: Guest, image: str) -> None:
    for round in (1, 2):
        added = add(guest, image)
        assert steps(added) == ADDED, added
        evidence = added["evidence"]
        assert (evidence["source"], evidence["phase"]) == ("driver", "started"), evidence
        assert (evidence["drivers-active"], evidence["drivers"]) == (1, 1), evidence
        slot = slots(guest)["data"]
        assert (slot["state"], slot["device-status"], slot["unit"]) == ("configured", 0xf, 2), slot
        guest.sh(f"echo round {round} | dd of=/dev/vdb conv=sync,fsync oflag=direct bs=4k 2>/dev/null")
        removed = remove(guest)
        assert steps(removed) == REMOVED, removed
        evidence = removed["evidence"]
        assert (evidence["source"], evidence["call"], evidence["indicator-name"],
                evidence["value"], evidence["phase"]) == \
            ("guest", "set-indicator", "isolation-state", 0, "isolated"), evidence
        assert evidence["drivers-active"] == 0, evidence
        wait_disk(guest, "vdb", False)
        said = guest.host.run(["head", "-n", "1", image], check=True).stdout
        assert said == f"round {round}\n".encode()


def leaves_under_direct_io(guest: Guest, host: Host, image: str) -> None:
    """Requests in flight are answered, each once, and what follows fails: nothing is torn, and nothing
    that was read was wrong."""
    host.run(["sh", "-c", f": > {image} && truncate -s {KIB << 10} {image}"], check=True)
    add(guest, image)
    start_churn(guest, "/dev/vdb", 2)
    guest.sh("sleep 1")
    removed = remove(guest)
    assert steps(removed) == REMOVED, removed
    # It has had errors since.
    done = end_churn(guest)
    print("churn", done)
    assert done["writes"] > 0 and done["errors"] > 0 and done["wrong"] == 0, done
    found = churned(host, image)
    assert found["torn"] == 0 and found["written"] > 0, found


def leaves_mounted_and_dirty(guest: Guest, host: Host, image: str, tmp_path: Path) -> None:
    """The kernel writes out what is dirty before the disk goes."""
    add(guest, image)
    guest.sh("/sbin/mke2fs -q -t ext4 -F /dev/vdb && mount /dev/vdb /mnt && sync && "
             "dd if=/dev/zero of=/mnt/dirty bs=64k count=20 2>/dev/null && echo kept > /mnt/kept")
    removed = remove(guest)
    assert steps(removed) == REMOVED, removed
    wait_disk(guest, "vdb", False)
    guest.sh("umount /mnt; true")
    copy = fetch(host, image, tmp_path)
    subprocess.run(["/sbin/e2fsck", "-fy", copy], capture_output=True)
    assert subprocess.run(["/sbin/e2fsck", "-fn", copy], capture_output=True).returncode == 0
    assert file_in(copy, "/kept") == b"kept\n"
    # What a removal in the middle of all that is complained about is expected.
    guest.sh("dmesg -c > /dev/null")


def leaves_without_a_driver(guest: Guest, image: str) -> None:
    add(guest, image)
    guest.sh("for d in /sys/bus/virtio/drivers/virtio_blk/virtio*; do "
             "[ -e $d/block/vdb ] && echo ${d##*/} > ${d%/*}/unbind; done; true")
    wait_disk(guest, "vdb", False)
    removed = remove(guest)
    # The bus has kept the device on until the tool has it removed.
    assert set(steps(removed)) >= {"fetched", "answered", "isolated", "ended"}, removed
    assert removed["evidence"]["call"] == "set-indicator", removed


def comes_and_goes_under_load(guest: Guest, image: str) -> None:
    """Again and again, in the middle of requests; lab/test disks does it 200 times. What was told to be
    written is found in the next cycle."""
    # The disk has been a file system since the last load.
    guest.sh("rm -f /tmp/known")
    for cycle in range(CYCLES):
        done = cycle_under_load(guest, image)
        assert done["verified"] > 0 or cycle == 0, done
    guest.sh("dmesg -c > /dev/null")


def ends_by_a_reset(guest: Guest, image: str) -> None:
    """Of a removal that is pending, and of an add: the tool is kept from acting."""
    add(guest, image)
    guest.sh("killall -STOP rtas_errd")
    removal = guest.control.execute("device_del", id="data")["operation"]
    guest.control.wait_step(removal, "fetched")
    guest.control.execute("system_reset")
    ended = guest.control.wait_end(removal)
    assert (ended["outcome"], ended["evidence"]["source"]) == ("superseded", "reset"), ended
    assert "data" not in slots(guest)
    guest.wait_ready()
    assert guest.sh("ls -d /sys/block/vd*") == "/sys/block/vda"
    guest.sh("killall -STOP rtas_errd")
    ctl(guest, "disk", "add", image, "--id", "data")
    adding = last(guest, "add", "data")["id"]
    guest.control.wait_step(adding, "fetched")
    guest.control.execute("system_reset")
    ended = guest.control.wait_end(adding)
    assert (ended["outcome"], ended["evidence"]["source"]) == ("superseded", "reset"), ended
    guest.wait_ready()
    # It is in the new tree.
    assert guest.sh("echo /sys/block/vd*") == "/sys/block/vda /sys/block/vdb"
    assert slots(guest)["data"]["state"] == "configured"
    remove(guest)


def leaves_with_the_root(guest: Guest) -> None:
    """The disk that the tool itself runs from. Whatever comes of it, what is said is true: it is done and
    the device has gone, or it is unresolved and what is said of it agrees with the device."""
    removal = guest.control.execute("device_del", id="root")["operation"]
    said = guest.control.wait_event(
        "OPERATION", lambda data: data["operation"]["id"] == removal and
        data["step"] in ("ended", "unresolved"))["operation"]
    print(f"root disk: {said['outcome']}, {steps(said)}, {said.get('stuck')}")
    now = slots(guest)
    if said["outcome"] == "done":
        assert "root" not in now and said["evidence"]["drivers-active"] == 0, said
        return
    assert said["outcome"] == "pending" and said["unresolved"], said
    assert now["root"]["state"] in ("configured", "releasing"), now
    assert ("still uses the device" in said["stuck"]) == (now["root"]["device-status"] not in (0, 1)), \
        (said, now)
    guest.control.execute("operation-cancel", id=removal)
    assert guest.control.operation(removal)["outcome"] == "cancelled"


# --- With guest-tools/pci-hotplug -----------------------------------------------------------------


@pytest.mark.long
def test_disks_come_and_go_without_the_tools(start: Starter, host: Host, scratch: str,
                                             root_disk: Callable[[str], str]) -> None:
    """The guest has a script instead of rtas_errd and drmgr, as one of Debian 13 would."""
    image = make(host, scratch, "data.img", KIB << 10)
    guest: Guest = start("--disk", f"file={root_disk(scratch)},id=root", "--unplug-deadline", "10",
                         append=ROOT + " paprika.hotplug=pci-hotplug")
    guest.wait_ready()
    if "dt" not in guest.sh("cat /sys/kernel/dlpar").strip().split(","):
        # 6.1: it says so. What comes of a request then is tested below.
        guest.sh("while pidof perl > /dev/null; do usleep 10000; done")
        assert "Linux 6.12 or later is needed" in guest.sh("cat /run/hotplug.log")
        power_off(guest)
        return
    for _ in range(2):
        added = add(guest, image)
        assert steps(added) == ADDED, added
        guest.sh("dd if=/dev/zero of=/dev/vdb bs=64k oflag=direct count=4 2>/dev/null")
        removed = remove(guest)
        assert steps(removed) == REMOVED, removed
        assert removed["evidence"]["indicator-name"] == "isolation-state", removed
        wait_disk(guest, "vdb", False)
    add(guest, image)
    start_churn(guest, "/dev/vdb", 2)
    assert steps(remove(guest)) == REMOVED
    assert end_churn(guest)["wrong"] == 0

    # It says no, and nothing has changed.
    add(guest, image)
    guest.sh("/sbin/mke2fs -q -t ext4 -F /dev/vdb && mount /dev/vdb /mnt && dmesg -c > /dev/null")
    ran = host.run([host.path + "/bin/paprikactl", "-s", guest.control_path, "disk", "remove", "data",
                    "--wait"], timeout=DEADLINE)
    refused = last(guest, "remove", "data")
    assert ran.rc == 3 and refused["outcome"] == "rejected", (ran, refused)
    evidence = refused["evidence"]
    assert (evidence["call"], evidence["indicator"], evidence["value"], evidence["drivers-active"]) == \
        ("set-indicator", 9002, 0, 1), evidence
    assert "pci-hotplug: not removed: vdb is mounted" in guest.sh("dmesg")
    guest.sh("dd if=/dev/zero of=/mnt/file bs=64k count=4 conv=fsync 2>/dev/null && umount /mnt")
    assert steps(remove(guest)) == REMOVED

    # An order that has been given up, and is carried out late, finds nothing.
    guest.sh("killall -STOP perl")
    ctl(guest, "disk", "add", image, "--id", "late")
    late = last(guest, "add", "late")
    assert "no tool in the guest" in guest.control.wait_step(late["id"], "unresolved")["stuck"]
    guest.control.execute("operation-cancel", id=late["id"])
    guest.control.execute("blockdev-del", node_name="late")
    guest.sh("killall -CONT perl; until dmesg | grep -q 'status -3'; do usleep 10000; done")
    assert add(guest, image)["unit"] == late["unit"]
    remove(guest)
    assert troubles(guest) == []
    power_off(guest)


# --- Below ports: the kernel alone ----------------------------------------------------------------


def port_add(guest: Guest, image: str) -> dict[str, Any]:
    ctl(guest, "disk", "add", image, "--id", "data", "--wait")
    added = last(guest, "add", "data")
    print("add", [(passed["step"], passed["at-ms"]) for passed in added["steps"]])
    assert added["outcome"] == "done" and steps(added) == ADDED, added
    wait_disk(guest, "vda")
    return added


def port_remove(guest: Guest) -> dict[str, Any]:
    removed = remove(guest)
    assert steps(removed) == REMOVED, removed
    assert (removed["evidence"]["call"], removed["evidence"]["drivers-active"]) == \
        ("ibm,write-pci-config", 0), removed
    wait_disk(guest, "vda", False)
    return removed


def test_disks_come_and_go_below_ports(start: Starter, host: Host, scratch: str) -> None:
    """The guest is an initramfs: nothing in it knows of hot-plug but its kernel."""
    image = make(host, scratch, "data.img", KIB << 10)
    guest: Guest = start("--hotplug-ports", "2", "--unplug-deadline", "60")
    guest.wait_ready()
    assert guest.sh("ls /sys/bus/pci/slots; ls /sys/bus/pci/devices").split() == \
        ["1", "2", "0000:00:01.0", "0000:00:02.0"]
    assert troubles(guest) == []
    before = descriptors(guest)
    for number in (1, 2):
        assert port_add(guest, image)["unit"] == 1
        guest.sh(f"echo round {number} | dd of=/dev/vda conv=sync,fsync oflag=direct bs=4k 2>/dev/null")
        port_remove(guest)
        said = host.run(["head", "-n", "1", image], check=True).stdout
        assert said == f"round {number}\n".encode()

    # In the middle of requests; and asked twice, which is not a second press of the button.
    host.run(["sh", "-c", f": > {image} && truncate -s {KIB << 10} {image}"], check=True)
    port_add(guest, image)
    start_churn(guest, "/dev/vda", 2)
    removal = guest.control.execute("device_del", id="data")["operation"]
    assert guest.control.execute("device_del", id="data")["operation"] == removal
    assert guest.control.wait_end(removal)["outcome"] == "done"
    done = end_churn(guest)
    assert done["writes"] > 0 and done["wrong"] == 0, done
    assert churned(host, image)["torn"] == 0
    guest.control.execute("blockdev-del", node_name="data")
    assert descriptors(guest) == before
    guest.sh("dmesg -c > /dev/null")

    # The guest lets go of it by itself, and takes it again; so does a reset.
    port_add(guest, image)
    guest.sh("echo 0 > /sys/bus/pci/slots/1/power")
    wait_disk(guest, "vda", False)
    assert slots(guest)["data"]["state"] == "isolated"
    guest.sh("echo 1 > /sys/bus/pci/slots/1/power")
    wait_disk(guest, "vda")
    assert slots(guest)["data"]["state"] == "configured"
    guest.control.execute("system_reset")
    guest.wait_ready()
    wait_disk(guest, "vda")
    port_remove(guest)
    assert troubles(guest) == []
    power_off(guest)


def test_a_guest_that_does_not_listen(start: Starter, host: Host, scratch: str) -> None:
    """Without the kernel's driver for such ports nothing is heard, and that is what is said."""
    image = make(host, scratch, "data.img", "1M")
    guest: Guest = start("--hotplug-ports", "1", "--unplug-deadline", "1",
                         append="console=hvc0 quiet pcie_ports=compat")
    guest.wait_ready()
    ctl(guest, "disk", "add", image, "--id", "data")
    adding = last(guest, "add", "data")["id"]
    said = guest.control.wait_step(adding, "unresolved")
    assert said["phase"] == "notified" and "never fetched" in said["stuck"], said
    guest.control.execute("operation-cancel", id=adding)
    assert guest.control.wait_end(adding)["outcome"] == "cancelled"
    assert troubles(guest) == []
    power_off(guest)


# --- Without --------------------------------------------------------------------------------------


def test_a_guest_without_tools(start: Starter, host: Host, scratch: str) -> None:
    """It is reported that nothing acts on the request, which can be given up. The slot is not used again,
    as the guest may still do what it was asked."""
    image = make(host, scratch, "data.img", "1M")
    guest: Guest = start("--pci", "--unplug-deadline", "1")
    guest.wait_ready()

    def unresolved(operation: int) -> None:
        said = guest.control.wait_step(operation, "unresolved")
        assert said["outcome"] == "pending" and said["unresolved"], said
        assert "no tool in the guest has acted on it" in said["stuck"], said

    ctl(guest, "disk", "add", image, "--id", "data")
    adding = last(guest, "add", "data")
    unresolved(adding["id"])
    assert slots(guest)["data"]["state"] == "isolated"
    guest.control.execute("operation-cancel", id=adding["id"])
    assert guest.control.wait_end(adding["id"])["outcome"] == "cancelled"
    assert slots(guest) == {}
    guest.control.execute("blockdev-del", node_name="data")
    ctl(guest, "disk", "add", image, "--id", "data")
    again = last(guest, "add", "data")
    assert again["unit"] == adding["unit"] + 1, again
    unresolved(again["id"])
    # A reset puts it into the guest's tree, and its orders with the guest's memory are gone.
    guest.control.execute("system_reset")
    assert guest.control.wait_end(again["id"])["outcome"] == "superseded"
    guest.wait_ready()
    assert guest.sh("cat /sys/block/vda/size") == "2048"
    removal = guest.control.execute("device_del", id="data")["operation"]
    unresolved(removal)
    guest.sh("dd if=/dev/vda of=/dev/null bs=64k iflag=direct 2>/dev/null")
    guest.control.execute("operation-cancel", id=removal)
    assert guest.control.wait_end(removal)["outcome"] == "cancelled"
    with pytest.raises(CommandError, match="is busy"):
        guest.control.execute("blockdev-del", node_name="data")
    guest.sh("dd if=/dev/vda of=/dev/null bs=64k iflag=direct 2>/dev/null")
    assert troubles(guest) == []
    power_off(guest)
