# SPDX-License-Identifier: Apache-2.0
"""Kinds of guests: each that `paprika check` says this host can run boots, and its cores come, go and
are refused; each other is refused before it starts, for the reason that `paprika check` gives.

If PAPRIKA_DEFAULT_KIND is "elsewhere", as in lab/test, the host's default only boots: the other files
test it."""

from __future__ import annotations

import json
import os

import pytest

from guest import Guest
from host_api import Host

# What check calls it, the options for it, and what the guest's kernel then says: its MMU, its
# interrupt controller, its processor. None: whatever the host's default is.
KINDS = {
    "guest: radix, xics": ("--mmu radix --irqchip xics", "Radix", "XICS", None),
    "guest: radix, xive": ("--mmu radix --irqchip xive", "Radix", "XIVE", None),
    "guest: hash, xics": ("--mmu hash --irqchip xics", "Hash", "XICS", None),
    "guest: hash, xive": ("--mmu hash --irqchip xive", "Hash", "XIVE", None),
    "guest: power8": ("--cpu power8", "Hash", "XICS", "POWER8"),
    "guest: power9": ("--cpu power9", None, None, "POWER9"),
    "guest: power10": ("--cpu power10", None, None, "POWER10"),
    "guest: power11": ("--cpu power11", None, None, "POWER11"),
}


@pytest.fixture(scope="module")
def offered(host: Host) -> dict[str, str]:
    lines = json.loads(host.run(["paprika", "check", "--json"], check=True).stdout)
    return {line["name"]: line["value"] for line in lines}


@pytest.mark.parametrize("kind", KINDS)
def test_kind(kind: str, offered: dict[str, str], host: Host, start) -> None:
    options, mmu, irqchip, processor = KINDS[kind]
    if not offered[kind].startswith("yes"):
        result = host.run(["paprika", "run", "--kernel", "vmlinux", *options.split()])
        said = result.stderr.decode()
        assert result.rc == 5 and offered[kind].removeprefix("no: ") in said and ";" in said, said
        return
    default = offered[kind] == "yes, the default"
    elsewhere = default and os.environ.get("PAPRIKA_DEFAULT_KIND") == "elsewhere"
    if elsewhere and processor is not None:  # the same guest as one of the first four
        host.run(["paprika", "dtb", "-o", "/dev/null", *options.split()], check=True)
        return
    if elsewhere:
        [processor] = [KINDS[name][3] for name, value in offered.items()
                       if name in KINDS and KINDS[name][3] and value == "yes, the default"]
    guest: Guest = start(*options.split(), cpus="boot=1,max=3")
    guest.wait_ready()
    says = guest.sh("cat /proc/cpuinfo /proc/interrupts")
    for wanted, word in ((mmu, f"MMU\t\t: {mmu}"), (irqchip, irqchip), (processor, processor)):
        assert wanted is None or word in says, says
    if elsewhere or default and processor is not None:
        return
    for _ in range(2):
        assert guest.add(1)["outcome"] == "done"
        guest.wait_online("0-1")
        guest.runs_on(1)
        assert guest.remove(1)["outcome"] == "done"
    assert guest.add(2)["outcome"] == "done"
    guest.wait_online("0-1")
    guest.set_online(0, False)
    assert guest.remove(2)["outcome"] == "rejected"
    guest.set_online(0, True)
    assert guest.remove(2)["outcome"] == "done"
    # The hash table, the interrupt sources and the vCPUs start from the beginning.
    guest.control.execute("system_reset")
    guest.wait_ready()
    assert guest.add(1)["outcome"] == "done"
    guest.wait_online("0-1")
    guest.type("poweroff -f")
    assert guest.wait_exit() == 0

