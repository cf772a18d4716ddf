# SPDX-License-Identifier: Apache-2.0
"""The probe guest boots in both byte orders, and its commands work."""

from __future__ import annotations

import pytest

from probe import CPU, RAM, ProbeError, ProbeGuest


@pytest.mark.parametrize("endian", ["le", "be"])
def test_it_does_what_it_is_told(start_probe, endian: str) -> None:
    guest: ProbeGuest = start_probe(endian=endian, cpus="boot=2,max=4")
    probe = guest.probe
    assert f"probe ready {endian} direct memory=20000000 model=paprika" in probe.greeting
    assert probe.run("echo some words") == "some words"
    with pytest.raises(ProbeError, match="no such command"):
        probe.run("nonsense")
    with pytest.raises(ProbeError, match="not understood"):
        probe.run("hcall zz")
    probe.write(RAM, b"paprika")
    assert probe.read(RAM, 8) == b"paprika\0"
    probe.fill(RAM, 64, 0xa5)
    assert probe.same(RAM, 64, 0xa5) and not probe.same(RAM, 65, 0xa5)
    # H_EOI without an interrupt, an unknown hcall, and RTAS by name and by token.
    assert probe.hcall(0xfffc)[0] == -2
    assert probe.sense(CPU + 1) == [0, 1]
    assert probe.rtas(probe.token("get-sensor-state"), 2, 9003, CPU + 1) == [0, 1]
    # The other vCPU: started, given work, stopped.
    with pytest.raises(ProbeError, match="not running"):
        probe.run("on 1 echo")
    assert probe.do(1, "query start") == {"query": 0, "start": 0}
    assert probe.run("on 1 echo from there") == "from there"
    assert probe.do(1, "query stop") == {"query": 2, "stop": 0}
    assert probe.do(1, "query") == {"query": 0}


def test_a_fault_of_the_probe_is_reported_and_survived(start_probe) -> None:
    probe = start_probe(cpus="boot=2,max=2").probe
    with pytest.raises(ProbeError, match="fault 700 at"):
        probe.run("trap")
    probe.do(1, "start")
    with pytest.raises(ProbeError, match="fault 700 at"):
        probe.run("on 1 trap")
    assert probe.run("on 1 echo alive") == "alive"
