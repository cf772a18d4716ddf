# SPDX-License-Identifier: Apache-2.0
"""Disks of real guests: images on the host, requests through paprikactl, and what the guest's program
`churn` (guest-images/linux/churn.c) writes to them and finds on them.

A disk that comes is "data", /dev/vdb; the guest has its root on /dev/vda, with the tools that add and
remove PCI devices."""

from __future__ import annotations

import re
from typing import Any

from guest import DEADLINE, Guest
from host_api import LAB, Host

ROOT = "console=hvc0 quiet paprika.root=/dev/vda"
KIB = 8192  # of a disk that churn writes to
# What a kernel says of trouble. Of a line's level, 0 to 3 are errors. The machine has neither NVRAM nor a
# store of keys, which Linux expects.
TROUBLE = re.compile(r"WARN|[Cc]all [Tt]race|BUG|Oops|I/O error|^<[0-3]>(?!.* (nvram|SED): )")
# What a disk that goes in the middle of its use is expected to make it say.
LOST_DISK = re.compile(r"I/O error|EXT4-fs|JBD2|Aborting journal")


def make(host: Host, directory: str, name: str, size: str | int) -> str:
    """An image of that size, with nothing in it."""
    path = f"{directory}/{name}"
    host.run(["truncate", "-s", str(size), path], check=True)
    return path


def put_root(host: Host, directory: str) -> str:
    """Put the test guest's disk (guest-images/disk) into a directory of the host: its name there. A guest
    boots from it with ROOT as its command line."""
    packed, image = host.path + "/disk.gz", directory + "/root.img"
    host.sync({packed: LAB / "guest-disk.gz"})
    host.run(["sh", "-c", 'gzip -dc "$1" > "$2"', "unpack", packed, image], timeout=DEADLINE,
             check=True)
    return image


def numbers(text: str) -> dict[str, int]:
    return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", text)}


def troubles(guest: Guest) -> list[str]:
    """Lines of the guest's kernel log that say of trouble."""
    return [line for line in guest.sh("dmesg -r").splitlines() if TROUBLE.search(line)]


# --- Writing and reading --------------------------------------------------------------------------


def churned(host: Host, image: str, promised: int = 0) -> dict[str, int]:
    """What churn finds in an image."""
    return numbers(host.run(["churn", "check", image, str(KIB), str(promised)],
                            check=True).stdout.decode())


def start_churn(guest: Guest, device: str, workers: int = 4) -> None:
    """In the background, until end_churn() or the end of the guest."""
    guest.sh(f"churn run {device} {KIB} {workers} /tmp/known > /tmp/churn & "
             "until grep -q started /tmp/churn; do usleep 10000; done", DEADLINE)


def end_churn(guest: Guest) -> dict[str, int]:
    """What it has done. It has ended, so each of its requests has been answered."""
    guest.sh("killall -TERM churn; while pidof churn > /dev/null; do usleep 10000; done")
    return numbers(guest.sh("cat /tmp/churn"))


def verify_churn(guest: Guest, device: str) -> dict[str, int]:
    """What it was told is written, it finds: {"verified", "wrong"}, in blocks."""
    return numbers(guest.sh(f"churn verify {device} {KIB} /tmp/known"))


# --- Coming and going -----------------------------------------------------------------------------


def ctl(guest: Guest, *words: str) -> str:
    """paprikactl on the host, which must succeed."""
    ran = guest.host.run([guest.host.path + "/bin/paprikactl", "-s", guest.control_path, *words],
                         timeout=DEADLINE)
    assert ran.rc == 0, (words, ran)
    return ran.stdout.decode()


def slots(guest: Guest) -> dict[str, dict[str, Any]]:
    """The PCI devices by name."""
    return {slot["device"]: slot
            for slot in guest.control.execute("query-connectors", resource="pci")}


def last(guest: Guest, kind: str, device: str) -> dict[str, Any]:
    """The last operation of this kind."""
    return [op for op in guest.control.execute("query-operations")
            if (op["kind"], op["device"]) == (kind, device)][-1]


def steps(operation: dict[str, Any]) -> list[str]:
    """Without that a deadline has passed: how fast a guest is does not matter."""
    return [passed["step"] for passed in operation["steps"] if passed["step"] != "unresolved"]


def wait_disk(guest: Guest, name: str, present: bool = True) -> None:
    guest.sh(f"until [ {'' if present else '!'} -e /sys/block/{name} ]; do usleep 10000; done")


def add(guest: Guest, image: str) -> dict[str, Any]:
    """The operation, which must be done."""
    ctl(guest, "disk", "add", image, "--id", "data", "--wait")
    added = last(guest, "add", "data")
    assert added["outcome"] == "done", added
    wait_disk(guest, "vdb")
    return added


def remove(guest: Guest, *options: str) -> dict[str, Any]:
    """The same, with options of paprikactl."""
    ctl(guest, "disk", "remove", "data", "--wait", *options)
    removed = last(guest, "remove", "data")
    assert removed["outcome"] == "done", removed
    assert "data" not in slots(guest)
    assert guest.control.execute("query-named-block-nodes") == []
    return removed


def descriptors(guest: Guest) -> int:
    """Open in the VMM."""
    pid = guest.host.run(["pidof", "paprika"], check=True).stdout.decode().split()
    assert len(pid) == 1
    return len(guest.host.run(["ls", f"/proc/{pid[0]}/fd"], check=True).stdout.split())


def cycle_under_load(guest: Guest, image: str, workers: int = 2) -> dict[str, int]:
    """Add the disk, find on it what the last cycle was told is written, write and read past the page
    cache, and remove it in the middle of that. Times of the two operations in ms, and counts."""
    added = add(guest, image)
    verified = {"verified": 0, "wrong": 0}
    if guest.sh("[ -e /tmp/known ] && echo known || true"):
        verified = verify_churn(guest, "/dev/vdb")
    start_churn(guest, "/dev/vdb", workers)
    removed = remove(guest)
    done = end_churn(guest)
    # It was used until it had gone, and has had errors since.
    assert done["writes"] > 0 and done["errors"] > 0, done
    assert (done["wrong"], verified["wrong"]) == (0, 0), (done, verified)
    return {"add": added["evidence"]["elapsed-ms"], "remove": removed["evidence"]["elapsed-ms"],
            "verified": verified["verified"], **done}
