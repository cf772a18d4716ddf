# SPDX-License-Identifier: Apache-2.0
"""The memory of a Linux guest, as root in the guest sees it: its blocks, what holds them, requests of
its own to the kernel, and errors of the kernel's notifiers. The guest's programs `fill` and `inject`
are in guest-images/linux."""

from __future__ import annotations

import re
from dataclasses import dataclass

from guest import DEADLINE, Guest

# For the kernel's command line: memory that comes later can be removed again.
MOVABLE = "memhp_default_state=online_movable"
# It comes into a zone in which the kernel's own pages may be.
KERNEL_ZONE = "memhp_default_state=online_kernel"
BLOCKS = "/sys/devices/system/memory"
DLPAR = "/sys/kernel/dlpar"


@dataclass(frozen=True)
class Block:
    """A block of memory in the guest's sysfs."""

    number: int
    state: str  # online, offline, going-offline
    zone: str  # Normal, Movable; none if it is offline
    removable: bool


@dataclass(frozen=True)
class Filling:
    """Memory that a process of the guest holds."""

    pid: int
    kib: dict[int, int]  # in each block


def blocks(guest: Guest) -> dict[int, Block]:
    """The guest's blocks by number."""
    lines = guest.sh(f"cd {BLOCKS} && for b in memory*; do echo $b $(cat $b/state $b/removable) "
                     "$(cat $b/valid_zones); done; cd - > /dev/null")
    found = {}
    for line in lines.splitlines():
        name, state, removable, *zones = line.split()
        # Of a block that is offline, valid_zones lists those that it may get.
        zone = zones[0] if zones and state == "online" else "none"
        number = int(name.removeprefix("memory"))
        found[number] = Block(number, state, zone, removable == "1")
    return found


def online(guest: Guest) -> list[int]:
    """The numbers of the blocks that are online."""
    return sorted(n for n, block in blocks(guest).items() if block.state == "online")


def block_bytes(guest: Guest) -> int:
    return int(guest.sh(f"cat {BLOCKS}/block_size_bytes"), 16)


def total_kib(guest: Guest) -> int:
    """MemTotal."""
    match = re.search(r"MemTotal:\s+(\d+) kB", guest.sh("grep MemTotal /proc/meminfo"))
    assert match
    return int(match[1])


def set_block(guest: Guest, number: int, state: str) -> None:
    """Take a block online or offline: "offline", "online_movable", "online_kernel"."""
    guest.sh(f"echo {state} > {BLOCKS}/memory{number}/state")


def dlpar(guest: Guest, request: str) -> bool:
    """Root's own request to the kernel, such as "memory add count 1"; whether it succeeded."""
    return guest.sh(f"echo '{request}' 2> /dev/null > {DLPAR} && echo yes || echo no") == "yes"


def inject(guest: Guest, action: str, error: int) -> None:
    """Let the memory notifiers fail: MEM_GOING_OFFLINE or MEM_GOING_ONLINE; error 0 ends it."""
    guest.sh(f"inject {action} {error}")


def fill(guest: Guest, kind: str, mib: int, block: int | None = None,
         timeout: float = DEADLINE) -> Filling:
    """Let a process of the guest take memory and hold it: movable, pinned, or the kernel's own. With
    a block, that many MiB are in it."""
    line = guest.sh(f"fill {kind} {mib}" + (f" {block}" if block is not None else ""), timeout)
    match = re.fullmatch(r"pid=(\d+)((?: \d+=\d+)+)", line)
    assert match, line
    parts = (part.split("=") for part in match[2].split())
    return Filling(int(match[1]), {int(number): int(kib) for number, kib in parts})


def give_back(guest: Guest, filling: Filling) -> None:
    """End the process, and wait until it is gone."""
    guest.sh(f"kill {filling.pid} && while [ -e /proc/{filling.pid} ]; do usleep 10000; done")
