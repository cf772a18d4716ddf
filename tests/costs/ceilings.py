# SPDX-License-Identifier: Apache-2.0
"""What paprika may cost, in counts that do not depend on the machine: the one table of ceilings.

A ceiling is what was counted when its row was last changed; a slack is named in the row, with its
reason. So growth is a decision: somebody changes this table. A gain lowers it, too."""

from __future__ import annotations

from typing import NamedTuple


class Cost(NamedTuple):
    name: str
    ceiling: int
    how: str


CEILINGS = {cost.name: cost for cost in (
    # test_costs.py: above the fake KVM, so without KVM's own requests, and on any machine.
    Cost("start-calls", 121, "system calls from main() to the first entry, all threads, but for futex and the log"),
    Cost("start-calls-per-vcpu", 12, "the same, of each further boot vCPU"),
    Cost("start-anonymous-kib", 830, "private memory beyond the guest's, once it runs; 10 % for the C library"),
    Cost("place-bytes", 690, "private memory for each core that is not there, of 2,047; 10 % for rounding"),
    Cost("tree-bytes", 4310, "the device tree of a guest with one core and room for four"),
    Cost("tree-bytes-per-place", 19, "each core that is not there"),
    Cost("tree-bytes-per-core", 524, "each core that is"),
    Cost("turn-calls", 8, "system calls of one turn of the loop in which it is woken and asked, but for futex and the log; "
         "6, and two for the heap"),
    Cost("cycle-epoll-ctl", 0, "changes of what the loop waits for, in nine cycles of add and remove"),
    Cost("cycle-calls", 64, "system calls of the loop's thread for one add and one remove of a core that a client asks "
         "for; the most of nine, which is up to 52, and 12 for four more turns"),
    Cost("cycle-allocations", 2100, "allocations of the same thread; 10 % for turns of the loop that vary"),
    Cost("guest-allocations", 0, "allocations of vCPUs' threads while a guest runs"),

    # tests/guest/test_costs.py: on POWER.
    Cost("boot-exits", 90, "returns from KVM_RUN until the shell of a quiet Linux, one vCPU; 68 to 74, and 16 for how the "
         "console is cut up"),
    Cost("binary-bytes", 1982464, "the static binary, stripped; a page for another compiler of the same suite"),
)}


def check(name: str, count: int) -> None:
    """Print a count, and fail if it is above its ceiling."""
    cost = CEILINGS[name]
    print(f"{name}: {count} of {cost.ceiling} ({cost.how})")
    assert count <= cost.ceiling, f"{name} is {count}, more than {cost.ceiling}: {cost.how}"
