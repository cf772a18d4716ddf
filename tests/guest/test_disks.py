# SPDX-License-Identifier: Apache-2.0
"""Disks of real guests: from the root disk to the end of the VMM in the middle of writes.

The guest's program `churn` (guest-images/linux/churn.c) writes blocks that tell what they are, and
looks at the image on the host afterwards.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from guest import DEADLINE, Guest, initrd_of
from guest_disks import (KIB, ROOT, TROUBLE, churned, end_churn, make, start_churn, troubles)
from host_api import Host, is_direct
from test_cli import complain

Starter = Callable[..., Guest]
READY = re.compile(rb"PAPRIKA-GUEST-READY cpus=\S+\r*\n")
WRITE = "dd if=/dev/zero of=/dev/%s bs=64k count=%d conv=fsync"


def fetch(host: Host, image: str, tmp_path: Path) -> str:
    """A copy of an image of the host."""
    packed = host.run(["gzip", "-1", "-c", image], timeout=300, check=True).stdout
    (tmp_path / "image").write_bytes(gzip.decompress(packed))
    return str(tmp_path / "image")


def check_file_system(image: str) -> None:
    """It was unmounted, and has no faults."""
    found = subprocess.run(["/sbin/e2fsck", "-fn", image], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
    state = subprocess.run(["/sbin/dumpe2fs", "-h", image], capture_output=True, text=True).stdout
    assert "needs_recovery" not in state and re.search(r"Filesystem state: +clean", state), state


def file_in(image: str, path: str) -> bytes:
    """A file of the file system in an image."""
    return subprocess.run(["/sbin/debugfs", "-R", f"cat {path}", image], capture_output=True,
                          check=True).stdout


def power_off(guest: Guest) -> None:
    guest.type("poweroff")
    assert guest.wait_exit() == 0


# --- The plainest guest ---------------------------------------------------------------------------


def test_root_disk_from_the_plainest_command_line(
        host: Host, scratch: str, root_disk: Callable[[str], str], tmp_path: Path) -> None:
    """Boot from it, write, power off: the file system is whole, and has what was written."""
    image = root_disk(scratch)
    kernel = os.environ.get("PAPRIKA_TEST_KERNEL") or host.path + "/vmlinux"
    with host.popen([host.path + "/bin/paprika", "run", "--kernel", kernel, "--initrd",
                     initrd_of(host), "--append", ROOT, "--disk", "file=" + image]) as process:
        process.stdout.read_until(READY, DEADLINE)
        process.write(b"mount | grep ' / '; dmesg -r; head -c 3000000 /dev/urandom > /root/noise; "
                      b"sha256sum /root/noise; poweroff\n", DEADLINE)
        assert process.wait(DEADLINE) == 0
        said = process.stdout.read(DEADLINE).decode(errors="replace")
        complaints = process.stderr.peek().decode()
    assert "/dev/vda on / type ext4 (rw" in said, said
    assert [line for line in said.splitlines() if TROUBLE.search(line)] == []
    assert complaints == ""
    digest = re.search(r"([0-9a-f]{64})  /root/noise", said)
    assert digest, said
    copy = fetch(host, image, tmp_path)
    check_file_system(copy)
    assert hashlib.sha256(file_in(copy, "/root/noise")).hexdigest() == digest[1]


# --- What the guest sees --------------------------------------------------------------------------


def test_a_bus_without_devices(start: Starter) -> None:
    guest: Guest = start("--pci")
    guest.wait_ready()
    assert guest.sh("ls -d /proc/device-tree/pci@* | wc -l; ls /sys/bus/pci/devices | wc -l").split() \
        == ["1", "0"]
    assert troubles(guest) == []
    power_off(guest)


@pytest.mark.long
def test_31_disks(start: Starter, host: Host, scratch: str) -> None:
    options = []
    for number in range(31):
        image = make(host, scratch, f"{number}.img", (number + 1) << 20)
        options += ["--disk", f"file={image},id=d{number},serial=S{number}"]
    guest: Guest = start(*options)
    guest.wait_ready()
    found = guest.sh("cd /sys/block; for d in vd*; do echo $(cat $d/serial) $(cat $d/size); done; cd")
    assert sorted(line.split() for line in found.splitlines()) == sorted(
        [f"S{number}", str((number + 1) * 2048)] for number in range(31))
    # Each is written.
    guest.sh("for d in /dev/vd*; do echo $d > $d; done; sync")
    said = host.run(["sh", "-c", f"for n in $(seq 0 30); do head -n 1 {scratch}/$n.img; done"],
                    check=True).stdout.decode().split()
    assert sorted(said) == guest.sh("echo /dev/vd*").split()
    assert troubles(guest) == []
    # There is no slot for one more.
    rc, line = complain(host, scratch, "--kernel", guest.kernel, "--console", "none",
                        *options, "--disk", "file=" + make(host, scratch, "31.img", "1M"))
    assert rc == 2 and "31 disks" in line
    power_off(guest)


def test_disks_of_all_sorts(start: Starter, host: Host, scratch: str) -> None:
    """Several queues, read-only, discard, zeroes, and no exit of a vCPU for a request."""
    many = make(host, scratch, "many.img", "8M")
    fixed = make(host, scratch, "fixed.img", "3M")
    plain = make(host, scratch, "plain.img", KIB << 10)
    host.run(["sh", "-c", f"echo fixed | dd of={fixed} conv=notrunc"], check=True)
    guest: Guest = start(
        "--disk", f"file={many},id=many,queues=4,serial=MANY-20-CHARACTERS-X",
        "--disk", f"file={fixed},id=fixed,readonly,serial=F", "--disk", f"file={plain}",
        cpus="boot=4,max=4")
    guest.wait_ready()
    assert guest.sh("for d in vda vdb; do echo $(cat /sys/block/$d/serial); done").split() == ["MANY-20-CHARACTERS-X", "F"]
    assert guest.sh("cat /sys/block/vd?/ro").split() == ["0", "1", "0"]

    # A queue for each CPU, with an interrupt of its own.
    assert guest.sh("ls /sys/block/vda/mq").split() == ["0", "1", "2", "3"]
    guest.sh("for c in 0 1 2 3; do taskset -c $c dd if=/dev/vda of=/dev/null bs=64k count=8 "
             "iflag=direct 2>/dev/null; done")
    counts = [line.split()[1:5] for line in
              guest.sh("grep virtio0-req /proc/interrupts").splitlines()]
    assert len(counts) == 4 and all(sum(map(int, count)) >= 8 for count in counts), counts

    # A disk that cannot be written to.
    assert guest.sh("head -n 1 /dev/vdb") == "fixed"
    assert "Operation not permitted" in guest.sh("! dd if=/dev/zero of=/dev/vdb count=1") \
        or "Read-only" in guest.sh("! dd if=/dev/zero of=/dev/vdb count=1")
    guest.sh("head -n 1 /dev/vdb")

    # Load, and how often the vCPUs left the guest for it.
    count_exits(guest)

    # What is discarded needs no place on the host any more, and reads as zeros.
    assert churned(host, plain)["written"] > 0
    guest.sh("blkdiscard /dev/vdc")
    assert host.run(["stat", "-c", "%b", plain], check=True).stdout == b"0\n"
    assert churned(host, plain)["written"] == 0
    start_churn(guest, "/dev/vdc")
    assert end_churn(guest)["wrong"] == 0
    guest.sh(f"churn zero /dev/vdc {KIB}")
    assert churned(host, plain)["written"] == 0
    assert troubles(guest) == []
    power_off(guest)


def count_exits(guest: Guest) -> None:
    """The guest's exits do not grow with its requests: they are those of the same time without any.

    Counted in each time: the exits of all vCPUs to the VMM, among them those for the end of `sleep` on
    the console; and the disk's requests, by the guest."""

    def during_sleep() -> tuple[int, int]:
        requests = guest.sh("cat /sys/block/vdc/stat").split()
        before = guest.control.execute("query-metrics")["guest-exits"]
        guest.sh("sleep 3")
        exits = guest.control.execute("query-metrics")["guest-exits"] - before
        now = guest.sh("cat /sys/block/vdc/stat").split()
        return exits, sum(int(now[i]) - int(requests[i]) for i in (0, 4))  # reads, writes

    start_churn(guest, "/dev/vdc", 8)
    busy = during_sleep()
    done = end_churn(guest)
    idle = during_sleep()
    print(f"exits and requests: {busy} with load, {idle} without")
    assert (done["errors"], done["wrong"], idle[1]) == (0, 0, 0)
    assert busy[0] <= idle[0] + busy[1] // 10 and busy[1] >= 100


# --- Resets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("resets", [(False,), pytest.param((True, False), marks=pytest.mark.long)],
                         ids=["by the operator", "by both"])
def test_resets_in_the_middle_of_requests(start: Starter, host: Host, scratch: str,
                                          resets: tuple[bool, ...]) -> None:
    """By the guest and by the operator: nothing is torn, no interrupt comes late, and the disk works."""
    image = make(host, scratch, "disk.img", KIB << 10)
    guest: Guest = start("--disk", f"file={image},queues=2", cpus="boot=2,max=2")
    assert guest.wait_ready() == "0-1"
    for by_guest in resets:
        start_churn(guest, "/dev/vda", 8)
        if by_guest:
            guest.type("reboot -f")
        else:
            guest.control.execute("system_reset")
        assert guest.control.wait_event("RESET")["guest"] is by_guest
        assert guest.wait_ready() == "0-1"
        assert churned(host, image)["torn"] == 0
        assert troubles(guest) == []
    start_churn(guest, "/dev/vda")
    done = end_churn(guest)
    assert (done["errors"], done["wrong"]) == (0, 0)
    power_off(guest)


# --- What was promised ----------------------------------------------------------------------------


def test_what_was_flushed_is_there_after_a_kill(
        start: Starter, host: Host, scratch: str, root_disk: Callable[[str], str]) -> None:
    image, root = make(host, scratch, "disk.img", KIB << 10), root_disk(scratch)
    disks = ("--disk", f"file={root},id=root", "--disk", f"file={image},id=data")
    with Guest(host, *disks, append=ROOT) as guest:
        guest.wait_ready()
        guest.type(f"(while :; do cp /bin/busybox /root/x; rm /root/x; done) & "
                   f"churn promise /dev/vdb {KIB}")
        guest.read_console(r"\b100\r?\n")
        guest.process.send_signal(signal.SIGKILL)
        assert guest.wait_exit() == -signal.SIGKILL
        # What came until then was said, too.
        assert guest.tty is not None
        while data := guest.tty.recv(65536):
            guest.output += data
        said = re.findall(rb"^(\d+)\r?\n", guest.output, re.MULTILINE)
        promised = max([100, *map(int, said)])
    found = churned(host, image, promised)
    assert (found["torn"], found["lost"]) == (0, 0) and found["newest"] >= promised
    # The lock went with the process, and the file system recovers.
    again: Guest = start(*disks, append=ROOT, prefix=("no_uring",))
    again.wait_ready()
    assert "recovery complete" in again.sh("dmesg")
    # And without io_uring.
    start_churn(again, "/dev/vdb")
    done = end_churn(again)
    assert (done["errors"], done["wrong"]) == (0, 0)
    assert troubles(again) == []
    # The end by a signal in the middle of requests is an end like any other.
    start_churn(again, "/dev/vdb")
    again.process.send_signal(signal.SIGTERM)
    assert again.wait_exit() == 0


# --- Trouble on the host --------------------------------------------------------------------------


def test_no_room_on_the_host_and_a_file_made_shorter(start: Starter, host: Host, scratch: str) -> None:
    """The guest gets errors, and the VMM lives; when the trouble is over, so do the disks."""
    if host.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", scratch]).rc != 0:
        pytest.skip("needs the right to mount a file system on the host")
    try:
        full = make(host, scratch, "full.img", KIB << 10)
        short = make(host, scratch, "short.img", KIB << 10)
        long = make(host, "/tmp", os.path.basename(scratch) + ".img", KIB << 10)
        # Of files this process may write the first 4 MiB. A thread of its own would be told by a signal.
        limited = ("no_uring", "sh", "-c", 'ulimit -f 8192 && exec "$@"', "sh")
        guest: Guest = start("--disk", f"file={full},id=full", "--disk", f"file={short},id=short",
                             "--disk", f"file={long},id=long", prefix=limited)
        assert b"io_uring" in guest.log
        guest.wait_ready()
        guest.sh("dmesg -n 1")  # its console would be busy with errors
        guest.sh(WRITE % ("vdc", 64))
        guest.sh("! " + WRITE % ("vdc", KIB // 64))
        guest.sh("! " + WRITE % ("vda", KIB // 64))
        error = guest.control.wait_event("BLOCK_IO_ERROR", lambda data: data["device"] == "full")
        assert error["operation"] == "write" and error["reason"]  # no space, or the limit of files
        start_churn(guest, "/dev/vda")
        done = end_churn(guest)
        assert done["errors"] > 0 and done["wrong"] == 0
        guest.sh("blkdiscard /dev/vda")
        guest.sh(WRITE % ("vda", 16))

        host.run(["truncate", "-s", "1M", short], check=True)
        guest.sh("! dd if=/dev/vdb of=/dev/null bs=64k")
        error = guest.control.wait_event("BLOCK_IO_ERROR", lambda data: data["device"] == "short")
        assert error["operation"] == "read" and not error["nospace"]
        guest.sh("dd if=/dev/vdb of=/dev/null bs=64k count=16")
        host.run(["truncate", "-s", str(KIB << 10), short], check=True)
        guest.sh("dd if=/dev/vdb of=/dev/null bs=64k")
        assert guest.control.execute("query-status")["status"] == "running"
        power_off(guest)
    finally:
        host.run(["umount", "-l", scratch], check=True)
        host.run(["rm", "-f", f"/tmp/{os.path.basename(scratch)}.img"], check=True)


def test_disks_that_cannot_be_used(host: Host, scratch: str, silent_kernel: str) -> None:
    """One line with a remedy for each."""
    good = make(host, scratch, "good.img", "1M")
    secret = make(host, scratch, "secret.img", "1M")
    host.run(["chmod", "600", secret], check=True)
    host.run(["mkfifo", scratch + "/fifo"], check=True)
    run = ("--kernel", silent_kernel, "--console", "none")

    def refused(disk: str, *words: str, prefix: tuple[str, ...] = ()) -> None:
        rc, line = complain(host, scratch, *run, "--disk", disk, prefix=prefix)
        assert rc == 2 and all(word in line for word in words), line

    refused("file=" + make(host, scratch, "empty.img", 0), "empty.img", "truncate")
    refused("file=" + make(host, scratch, "tiny.img", 100), "tiny.img", "100", "512")
    refused("file=" + make(host, scratch, "odd.img", 1000000), "odd.img", "512")
    refused("file=" + make(host, scratch, "odd4k.img", 4608) + ",direct", "odd4k.img")
    refused(f"file={scratch}/none.img", "none.img", "truncate")
    refused(f"file={scratch}/no/folder.img", "folder.img")
    refused(f"file={scratch}", scratch, "neither")
    refused(f"file={scratch}/fifo", "fifo", "neither")
    refused("file=/dev/null", "/dev/null", "neither")
    refused(f"file={good},format=qcow2", "qcow2", "qemu-img")
    refused(f"file={good},queues=17", "17")
    refused(f"file={good},serial={'x' * 21}", "20")
    if not is_direct():
        nobody = ("unshare", "-m", "sh", "-c",
                  'mount -t tmpfs none /dev && mknod -m 666 /dev/kvm c 10 232 && '
                  'mknod -m 666 /dev/null c 1 3 && exec as_nobody "$@"', "sh")
        refused(f"file={secret}", "secret.img", "or add readonly", prefix=nobody)
        refused(f"file={secret},readonly", "secret.img", "mode", prefix=nobody)
    # Twice in one guest.
    rc, line = complain(host, scratch, *run, "--disk", "file=" + good, "--disk", "file=" + good)
    assert rc == 2 and "good.img" in line and "in use" in line
    # Locked by another one: for writing it is one's own, for reading it is everybody's.
    with host.popen([host.path + "/bin/paprika", "run", *run, "--log-level", "info", "--disk",
                     "file=" + good]) as other:
        other.stderr.read_until(b"started", DEADLINE)
        refused(f"file={good}", "good.img", "in use")
        refused(f"file={good},readonly", "good.img", "in use")
        other.send_signal(signal.SIGTERM)
        other.wait(DEADLINE)
    with host.popen([host.path + "/bin/paprika", "run", *run, "--log-level", "info", "--disk",
                     f"file={good},readonly"]) as other:
        other.stderr.read_until(b"started", DEADLINE)
        refused(f"file={good}", "good.img", "in use", "readonly")
        other.send_signal(signal.SIGTERM)
        other.wait(DEADLINE)
