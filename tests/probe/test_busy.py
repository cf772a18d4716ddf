# SPDX-License-Identifier: Apache-2.0
"""A guest whose vCPUs call without pause does not block the operator: the number of reports in a
second is bounded, every request is answered, deadlines and signals work. The time of answers is
printed (`pytest -s`) and not tested."""

from __future__ import annotations

import signal
import statistics
import time

import pytest

from guest import DEADLINE, Control
from probe import ALLOCATION, CPU, ISOLATION, ProbeGuest

GUEST_MADE_PER_S = 32  # src/vmm/vmm.c: steps that are reported of what a guest makes unasked

FLIP = (f"set-indicator 1 {ALLOCATION:x} {CPU + 3:x} 0 | "
        f"set-indicator 1 {ALLOCATION:x} {CPU + 3:x} 1")
WORST = {
    "flip": FLIP,
    "isolate": f"set-indicator 1 {ISOLATION:x} {CPU + 3:x} 0 | "
               f"set-indicator 1 {ISOLATION:x} {CPU + 3:x} 1 | {FLIP}",
    "console": "hcall 58 0 10 2e2e2e2e2e2e2e2e 2e2e2e2e2e2e2e2e",
    "unknown": "hcall 5fc | 1fff 1",
    "rtas": "get-time-of-day 8 | get-sensor-state 2 232b 10000001",
    "all": f"{FLIP} | hcall 58 0 10 2e2e2e2e2e2e2e2e 2e2e2e2e2e2e2e2e | hcall 5fc | 1fff 1 | "
           "get-time-of-day 8 | hcall 31c 3 3",
}


def median_ms(control: Control, seconds: float) -> float:
    """The median time of query-status, repeated without a pause for that long."""
    times = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        before = time.monotonic()
        assert control.execute("query-status")["running"]
        times.append((time.monotonic() - before) * 1000)
    return statistics.median(times)


@pytest.mark.parametrize("what", WORST)
def test_a_busy_guest_does_not_slow_the_operator_down(start_probe, what: str) -> None:
    guest: ProbeGuest = start_probe("--unplug-deadline", "1", cpus="boot=4,max=5")
    for core_id in (1, 2, 3):
        assert guest.probe.do(core_id, "start") == {"start": 0}
    # Core 3 is released unasked, while its vCPU runs, so that its connector can be flipped.
    assert guest.probe.do(3, "isolate") == {"isolate": 0}
    guest.probe.run("plan ignore")
    idle = median_ms(guest.control, 2.0)
    guest.control.events.clear()
    began = time.monotonic()
    guest.probe.send(f"crowd 7fffffff 7 {WORST[what]}")
    busy = median_ms(guest.control, 4.0)
    # The deadline of a request that the guest ignores is still reported.
    operation = guest.ask_add(4)
    reported = [e["data"] for e in guest.control.events if e["event"] == "OPERATION"]
    assert guest.control.wait_step(operation, "unresolved")["outcome"] == "pending"
    took = time.monotonic() - began
    made = [data for data in reported if data["operation"]["kind"].startswith("guest-")]
    assert len(made) <= GUEST_MADE_PER_S * (took + 1), f"{len(made)} in {took:.1f} s"
    if what in ("flip", "isolate", "all"):
        assert made, "nothing was flipped"
        assert len({data["operation"]["id"] for data in made}) <= 2
        assert max(data["operation"]["times"] for data in made) > 10
    print(f"{what}: query-status idle {idle:.2f} ms, busy {busy:.2f} ms ({busy / idle:.1f} times)")
    guest.process.send_signal(signal.SIGTERM)
    assert guest.wait_exit(DEADLINE) == 0


def test_a_guest_that_accesses_nothing_does_not_either(start_probe) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=4,max=4")
    idle = median_ms(guest.control, 2.0)
    for core_id in (1, 2, 3):
        assert guest.probe.do(core_id, "start") == {"start": 0}
        spin_on_vectors(guest, core_id)
    busy = median_ms(guest.control, 4.0)
    print(f"stray: query-status idle {idle:.2f} ms, busy {busy:.2f} ms ({busy / idle:.1f} times)")
    guest.process.send_signal(signal.SIGTERM)
    assert guest.wait_exit(DEADLINE) == 0


# li r4,1; sldi r4,r4,40 (unmapped); then a loop of 16-byte loads and stores, each several MMIO
# exits of KVM: lxvd2x, stxvd2x, lxvw4x, stxvw4x, lvx, stvx.
VECTORS = [0x38800001, 0x788445c6, 0x7c002698, 0x7c002798, 0x7c002618, 0x7c002718,
           0x7c0020ce, 0x7c0021ce, 0x4bffffe8]
MSR_SF, MSR_VEC, MSR_VSX, MSR_FP, MSR_ME, MSR_LE = 1 << 63, 1 << 25, 1 << 23, 1 << 13, 1 << 12, 1


def spin_on_vectors(guest: ProbeGuest, core_id: int) -> None:
    """Make a vCPU loop over vector accesses to an unmapped address, and wait until it has begun."""
    code = 0x2000000 + 0x10000 * core_id
    guest.probe.write(code, b"".join(word.to_bytes(4, "little") for word in VECTORS))
    before = guest.control.execute("query-metrics")["stray-accesses"]
    guest.probe.run(f"leave {core_id:x} {code:x} "
                    f"{MSR_SF | MSR_VEC | MSR_VSX | MSR_FP | MSR_ME | MSR_LE:x}")
    deadline = time.monotonic() + DEADLINE
    while guest.control.execute("query-metrics")["stray-accesses"] < before + 12:
        assert time.monotonic() < deadline, "it makes no accesses"


@pytest.mark.parametrize("turns", [20, pytest.param(200, marks=pytest.mark.long)])
def test_vector_accesses_to_nowhere_survive_stops_resets_and_removals(start_probe,
                                                                      turns: int) -> None:
    guest: ProbeGuest = start_probe(cpus="boot=2,max=3")
    for turn in range(turns):
        assert guest.probe.do(1, "start") == {"start": 0}
        spin_on_vectors(guest, 1)
        guest.control.execute("stop")
        guest.control.execute("cont")
        if turn % 2:
            # A core is removed while its vCPU is in the middle of an access.
            guest.probe.run("plan add usable unisolate configure start")
            guest.probe.run("plan remove isolate unusable")
            assert guest.add(2)["outcome"] == "done"
            spin_on_vectors(guest, 2)
            assert guest.remove(2)["outcome"] == "done"
        guest.control.execute("system_reset")
        guest.probe.wait_note(r"probe ready")
    assert guest.control.execute("query-status")["status"] == "running"
