# SPDX-License-Identifier: Apache-2.0
"""What tools in a guest use to detect the hypervisor, and what the operator sees of a guest."""

from __future__ import annotations

import re
import time
from typing import Any

from guest import DEADLINE, Guest

TREE = "/proc/device-tree"


def test_tools_find_what_they_look_for(start) -> None:
    uuid = "00112233-4455-6677-8899-aabbccddeeff"
    guest = start("--name", "web1", "--uuid", uuid.upper(), append="console=hvc0")
    guest.wait_ready()
    # powerpc-utils looks for these words anywhere in a line.
    assert re.search(r"IBM pSeries \(emulated by qemu\)", guest.sh("cat /proc/cpuinfo"))
    # lscpu, systemd-detect-virt
    assert guest.sh(f"cat {TREE}/hypervisor/compatible | tr '\\0' '\\n'") == "linux,kvm"
    assert "qemu,pseries" in guest.sh(f"cat {TREE}/compatible | tr '\\0' '\\n'").split()
    assert guest.sh(f"cat {TREE}/ibm,partition-name | tr '\\0' '\\n'") == "web1"
    assert guest.sh(f"cat {TREE}/vm,uuid | tr '\\0' '\\n'") == uuid
    assert guest.sh(f"cat {TREE}/system-id | tr '\\0' '\\n'") == uuid
    assert guest.control.execute("query-uuid") == {"UUID": uuid}
    # rtas_errd ends without it.
    assert guest.sh("ls -l /proc/powerpc/rtas/error_log").startswith("-r")
    assert "scan rate is 0" not in guest.sh("dmesg")


def test_a_core_that_is_added_makes_linux_complain_of_nothing(start) -> None:
    """Not with `quiet`, which hides most of it."""
    guest = start(append="console=hvc0")
    guest.wait_ready()
    guest.sh("dmesg -c > /dev/null")
    assert guest.add(1)["outcome"] == "done"
    guest.wait_online("0-1")
    said = guest.sh("dmesg")
    assert "VPHN" not in said
    assert not re.search("unsupported|error|fail", said, re.I), said


def stop_when_idle(guest: Guest) -> list[dict[str, Any]]:
    """Stop the guest in its kernel; returns the registers. The shell may still run for a moment after
    its first line."""
    deadline = time.monotonic() + DEADLINE
    while True:
        guest.control.execute("stop")
        vcpus = guest.control.execute("query-registers")
        if all(vcpu["pc"].startswith("0xc0000") for vcpu in vcpus) or time.monotonic() > deadline:
            return vcpus
        guest.control.execute("cont")


def test_registers_of_a_guest_that_is_stopped(start) -> None:
    guest = start(cpus="boot=2,max=4")
    guest.wait_ready()
    first, second = stop_when_idle(guest)
    for index, vcpu in enumerate((first, second)):
        assert (vcpu["cpu-index"], vcpu["state"]) == (index, "running")
        # 64-bit, and in the kernel: the guest is idle.
        assert int(vcpu["msr"], 16) >> 63 == 1
        assert vcpu["pc"].startswith("0xc0000")
    table = guest.host.run([f"{guest.host.path}/bin/paprikactl", "-s", guest.control_path, "cpu",
                            "list", "--registers"], check=True).stdout.decode()
    assert [line.split()[2:] for line in table.splitlines()[1:]] == [
        [vcpu[name] for name in ("pc", "msr", "lr", "ctr", "srr0", "srr1")] for vcpu in (first, second)]
    guest.control.execute("cont")
    assert guest.sh("echo alive") == "alive"
