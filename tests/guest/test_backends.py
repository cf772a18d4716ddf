# SPDX-License-Identifier: Apache-2.0
"""Devices whose queues a program of Debian's serves, or the host's kernel: qemu-storage-daemon,
virtiofsd, vhost-vsock. Guests use them, and outlive their ends.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest

from guest import DEADLINE, Guest
from guest_disks import ROOT, ctl, slots, troubles
from host_api import Host, Process

pytestmark = pytest.mark.usefixtures("backends")
Starter = Callable[..., Guest]
# What both sides write, and read: a megabyte of something.
MAKE = "dd if=/dev/urandom bs=64k count=16 of=%s 2> /dev/null"


@pytest.fixture
def programs(host: Host) -> Iterator[Callable[..., Process]]:
    """Start programs on the host that end with the test."""
    running: list[Process] = []

    def start_program(*argv: str) -> Process:
        running.append(host.popen(list(argv)))
        return running[-1]

    yield start_program
    for process in running:
        process.send_signal(signal.SIGKILL)
        process.wait(DEADLINE)
        process.close()


def wait_path(host: Host, path: str) -> None:
    """Until a program has made its socket."""
    host.run(["sh", "-c", 'until [ -e "$1" ]; do usleep 10000; done', "wait", path],
             timeout=DEADLINE, check=True)


def serve_disk(host: Host, programs: Callable[..., Process], scratch: str,
               file: str = "disk.qcow2") -> tuple[Process, str]:
    path = f"{scratch}/disk.socket"
    process = programs(
        "qemu-storage-daemon", "--blockdev", f"qcow2,node-name=disk,file.driver=file,file.filename={scratch}/{file}",
        "--export", f"vhost-user-blk,id=export,node-name=disk,writable=on,addr.type=unix,addr.path={path}")
    wait_path(host, path)
    return process, path


def md5(host: Host, path: str) -> str:
    return host.run(["md5sum", path], check=True).stdout.decode().split()[0]


@pytest.mark.long
def test_a_qcow2_disk_of_the_storage_daemon(
        host: Host, start: Starter, scratch: str, programs: Callable[..., Process]) -> None:
    """A format that paprika does not know: it is read and written, also behind a reset; and the
    guest outlives the daemon."""
    host.run(["qemu-img", "create", "-f", "qcow2", f"{scratch}/disk.qcow2", "256M"], check=True)
    daemon, path = serve_disk(host, programs, scratch)
    guest = start("--disk", f"vhost={path},id=data")
    guest.wait_ready()
    assert guest.sh("cat /sys/block/vda/size") == str(256 << 11)
    guest.sh(MAKE % "/tmp/data")
    guest.sh("dd if=/tmp/data of=/dev/vda bs=64k conv=fsync; echo 3 > /proc/sys/vm/drop_caches")
    wrote = guest.sh("md5sum < /tmp/data")
    assert guest.sh("head -c 1048576 /dev/vda | md5sum") == wrote
    assert troubles(guest) == []
    exits = guest.control.execute("query-metrics")
    guest.sh("dd if=/dev/vda of=/dev/null bs=4k count=2000 iflag=direct")
    after = guest.control.execute("query-metrics")
    print("guest exits for 2000 requests:", {
        name: after[name] - value for name, value in exits.items()
        if isinstance(value, int) and "exit" in name})
    guest.control.execute("system_reset")
    guest.control.wait_event("RESET")
    guest.wait_ready()
    assert guest.sh("head -c 1048576 /dev/vda | md5sum") == wrote

    guest.sh("dd if=/dev/zero of=/dev/vda bs=64k count=2000 oflag=direct > /dev/null 2>&1 & echo begun")
    daemon.send_signal(signal.SIGKILL)
    lost = guest.control.wait_event("DEVICE_BACKEND_LOST")
    assert lost["device"] == "data"
    assert "closed the connection" in lost["reason"]
    assert guest.sh("echo alive") == "alive"
    guest.control.execute("system_reset")
    guest.control.wait_event("RESET")
    guest.wait_ready()
    assert guest.sh("ls /dev/vda 2>&1 || true") == "ls: /dev/vda: No such file or directory"


@pytest.mark.long
def test_a_disk_gets_another_daemon(
        host: Host, start: Starter, scratch: str, programs: Callable[..., Process]) -> None:
    """Killed while nothing is in flight: what the guest asks meanwhile waits, and is done by the next
    daemon. Killed under load: this daemon keeps no record of what it has begun, so the guest has to
    boot, and finds its disk."""
    host.run(["qemu-img", "create", "-f", "qcow2", f"{scratch}/disk.qcow2", "64M"], check=True)
    daemon, path = serve_disk(host, programs, scratch)
    guest = start("--disk", f"vhost={path},id=data")
    guest.wait_ready()
    guest.sh(MAKE % "/tmp/data")
    # The daemon keeps tables of the format in its memory until it is asked to flush.
    guest.sh("dd if=/tmp/data of=/dev/vda bs=64k oflag=direct conv=fsync 2> /dev/null")
    wrote = guest.sh("md5sum < /tmp/data")
    for under_load in (False, True):
        if under_load:
            guest.sh("(dd if=/dev/zero of=/dev/vda bs=64k seek=32 count=900 oflag=direct 2> /dev/null &)")
        daemon.send_signal(signal.SIGKILL)
        assert guest.control.wait_event("DEVICE_BACKEND_LOST")["device"] == "data"
        if not under_load:
            guest.sh("(dd if=/dev/vda bs=64k count=16 iflag=direct 2> /dev/null | md5sum > /tmp/read &)")
        host.run(["rm", path], check=True)
        daemon, path = serve_disk(host, programs, scratch)
        said = ctl(guest, "disk", "reconnect", "data", path)
        print(said)
        if under_load:
            assert "served again" in said or "has to reset" in said, said
            guest.control.execute("system_reset")
            guest.control.wait_event("RESET")
            guest.wait_ready()
        else:
            assert "served again" in said, said
            assert guest.sh("until [ -s /tmp/read ]; do usleep 10000; done; cat /tmp/read") == wrote
        assert guest.sh("dd if=/dev/vda bs=64k count=16 iflag=direct 2> /dev/null | md5sum") == wrote
        assert troubles(guest) == []


@pytest.mark.long
def test_a_directory_is_shared(host: Host, start: Starter, scratch: str) -> None:
    """By a virtiofsd that paprika starts: what one side writes the other reads. It is killed in use."""
    host.run(["mkdir", f"{scratch}/share"], check=True)
    host.run(["sh", "-c", MAKE % f"{scratch}/share/from-host"], check=True)
    guest = start("--share", f"dir={scratch}/share,tag=files")
    guest.wait_ready()
    guest.sh("mkdir /mnt; mount -t virtiofs files /mnt")
    assert guest.sh("md5sum < /mnt/from-host").split()[0] == md5(host, f"{scratch}/share/from-host")
    guest.sh(MAKE % "/mnt/from-guest" + "; sync")
    assert guest.sh("md5sum < /mnt/from-guest").split()[0] == md5(host, f"{scratch}/share/from-guest")
    guest.sh("mkdir /mnt/d; mv /mnt/from-guest /mnt/d/moved; rm /mnt/from-host")
    assert host.run(["ls", "-R", f"{scratch}/share"], check=True).stdout.decode().split() == [
        f"{scratch}/share:", "d", f"{scratch}/share/d:", "moved"]
    assert troubles(guest) == []
    host.run(["killall", "-KILL", "virtiofsd"], check=True)
    lost = guest.control.wait_event("DEVICE_BACKEND_LOST")
    assert lost["device"] == "share0"
    assert guest.sh("echo alive") == "alive"


def test_a_program_behind_a_socket_shares_a_directory(
        host: Host, start: Starter, scratch: str, programs: Callable[..., Process]) -> None:
    """With memory that comes and goes while the share is mounted, and is used for it."""
    host.run(["mkdir", f"{scratch}/share"], check=True)
    programs("/usr/lib/qemu/virtiofsd", f"--socket-path={scratch}/socket", "-o",
             f"source={scratch}/share")
    wait_path(host, f"{scratch}/socket")
    guest = start("--share", f"socket={scratch}/socket,tag=files", memory="size=512M,max=1G")
    guest.wait_ready()
    guest.sh("mkdir /mnt; mount -t virtiofs files /mnt")
    for blocks in (4, 2):
        guest.set_memory(blocks)
        guest.sh("dd if=/dev/urandom bs=64k count=160 of=/mnt/numbers 2> /dev/null", 2 * DEADLINE)
        assert guest.sh("md5sum < /mnt/numbers").split()[0] == md5(host, f"{scratch}/share/numbers")
    assert troubles(guest) == []


@pytest.mark.long
def test_they_come_and_go(host: Host, start: Starter, scratch: str, root_disk: Callable[[str], str],
                          programs: Callable[..., Process]) -> None:
    """Added to a running guest by paprikactl, used, and removed, with the guest's tools; the programs
    end when their connections do."""
    host.run(["mkdir", f"{scratch}/share"], check=True)
    host.run(["sh", "-c", MAKE % f"{scratch}/share/file"], check=True)
    host.run(["qemu-img", "create", "-f", "qcow2", f"{scratch}/disk.qcow2", "64M"], check=True)
    _, disk = serve_disk(host, programs, scratch)
    guest = start("--disk", f"file={root_disk(scratch)},id=root", append=ROOT, memory="size=512M,shared")
    guest.wait_ready()
    for _ in range(2):
        fs = programs("/usr/lib/qemu/virtiofsd", f"--socket-path={scratch}/socket", "-o",
                      f"source={scratch}/share")
        wait_path(host, f"{scratch}/socket")
        ctl(guest, "share", "add", f"{scratch}/socket", "files", "--id", "files", "--wait")
        ctl(guest, "disk", "add", disk, "--id", "data", "--wait")
        assert {name: slots(guest)[name]["driver"] for name in ("files", "data")} == {
            "files": "vhost-user-fs-pci", "data": "vhost-user-blk-pci"}
        guest.sh("mkdir -p /tmp/m; mount -t virtiofs files /tmp/m")
        assert guest.sh("md5sum < /tmp/m/file").split()[0] == md5(host, f"{scratch}/share/file")
        guest.sh("umount /tmp/m; dd if=/dev/zero of=/dev/vdb bs=64k count=100 oflag=direct 2>/dev/null")
        ctl(guest, "share", "remove", "files", "--wait")
        ctl(guest, "disk", "remove", "data", "--wait")
        assert set(slots(guest)) == {"root"}
        assert fs.wait(DEADLINE) == 0
    assert guest.control.execute("query-chardev") == []
    assert troubles(guest) == []


@pytest.mark.long
def test_vsock(host: Host, start: Starter, programs: Callable[..., Process]) -> None:
    """A connection from each side, with a megabyte and back; and another after a reset."""
    guest = start("--vsock", "cid=77")
    for boots in range(2):
        guest.wait_ready()
        echo = programs("vsock", "listen", str(1000 + boots))
        echo.stdout.read_until(b"listening", DEADLINE)
        assert guest.sh(f"vsock connect 2 {1000 + boots} 1048576") == "the same"
        assert echo.wait(DEADLINE) == 0
        guest.sh("vsock listen 2000 > /tmp/log & until grep -q listening /tmp/log; do usleep 10000; done")
        assert host.run(["vsock", "connect", "77", "2000", "1048576"], check=True).stdout == b"the same\n"
        assert troubles(guest) == []
        if boots == 0:
            guest.control.execute("system_reset")
            guest.control.wait_event("RESET")
