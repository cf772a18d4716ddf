# SPDX-License-Identifier: Apache-2.0
"""A guest takes its CPUs offline and online by itself. docs/known-problems.md names kernels that can
deadlock in it; lab/test changes those with lab/mend_kernel.py."""

from __future__ import annotations

from guest import Guest


def test_a_cpu_goes_offline_and_comes_back_50_times(start) -> None:
    guest: Guest = start(cpus="boot=2,max=2")
    guest.wait_ready()
    for cycle in range(50):
        guest.set_online(1, False)
        assert guest.control.connector(1)["vcpus"][0]["state"] == "stopped", cycle
        guest.set_online(1, True)
        assert guest.control.connector(1)["vcpus"][0]["state"] == "running", cycle
    assert guest.runs_on(1)
