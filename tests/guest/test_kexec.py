# SPDX-License-Identifier: Apache-2.0
"""A guest that starts its next kernel itself.

The machine is not reset, so whatever the kernel before has set up is what the next one finds; and
nobody tells the machine, so what was asked of the one may be answered by the other.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator

import pytest

from guest import Guest
from host_api import LAB, Host


@pytest.fixture(scope="module")
def initrd(host: Host) -> Iterator[str]:
    """The test guest's initramfs with, before it, kexec and what it is to start."""
    directory = f"/tmp/paprika-test-kexec-{uuid.uuid4().hex[:12]}"
    host.run(["mkdir", directory], check=True)
    kexec = host.put(LAB / "guest-kexec", directory + "/kexec")
    kernel = os.environ.get("PAPRIKA_TEST_KERNEL") or host.path + "/vmlinux"
    # Put together on the host, where the big pieces are already.
    script = ('cd "$1" && mkdir next && cp "$2" next/vmlinux && cp "$3" next/initrd && '
              "find next | cpio -o -H newc > next.cpio && "
              'cat "$4" next.cpio "$3" > initrd && rm -r next next.cpio')
    host.run(["sh", "-c", script, "put", directory, kernel, host.path + "/initrd", kexec],
             timeout=300, check=True)
    yield directory + "/initrd"
    host.run(["rm", "-rf", directory], check=True)


@pytest.fixture
def loaded(start: Callable[..., Guest], initrd: str) -> Callable[..., Guest]:
    """Start a guest with cores 0 and 1, the latter added later, that has its next kernel loaded."""

    def start_and_load(*options: str) -> Guest:
        guest: Guest = start("--initrd", initrd, *options, cpus="boot=1,max=4", memory="1G",
                             append="console=hvc0", initrd=False)
        assert guest.wait_ready() == "0"
        assert guest.add(1)["outcome"] == "done"
        guest.wait_online("0-1")
        # The device tree that the next kernel gets is put together now.
        guest.sh("kexec -l /next/vmlinux --initrd=/next/initrd "
                 "--command-line=\"$(cat /proc/cmdline)\"")
        return guest

    return start_and_load


def power_off(guest: Guest) -> None:
    guest.type("poweroff")
    assert guest.wait_exit() == 0


def test_cores_come_and_go_after_kexec(loaded: Callable[..., Guest]) -> None:
    guest = loaded()
    guest.type("kexec -e")
    assert guest.wait_ready() == "0-1"
    assert guest.sh("ls -d /next || true").endswith("No such file or directory")
    # All of it was the guest's own doing.
    assert guest.control.execute("query-metrics")["boots"] == 1
    assert guest.control.execute("query-metrics")["stray-accesses"] == 0
    for cpu in (0, 1):
        assert guest.sh(f"taskset -c {cpu} echo alive") == "alive"
    guest.sh("hwclock -r")

    assert guest.remove(1)["outcome"] == "done"
    assert guest.online() == "0"
    assert guest.add(1)["outcome"] == "done"
    assert guest.add(2)["outcome"] == "done"
    guest.wait_online("0-2")
    guest.set_online(0, False)
    guest.set_online(2, False)
    refused = guest.remove(1)
    assert refused["outcome"] == "rejected"
    assert (refused["evidence"]["source"], refused["evidence"]["vcpu"]) == ("guest", 1)
    guest.set_online(0, True)
    assert guest.remove(1)["outcome"] == "done"
    assert guest.online() == "0"
    power_off(guest)


def test_removal_asked_between_two_kernels_can_be_asked_again(
        loaded: Callable[..., Guest]) -> None:
    guest = loaded()
    guest.type("kexec -e")
    # One kernel is over, and the other has not begun: nobody listens, and the other drops the
    # interrupt of an event it does not know yet.
    guest.read_console("I'm in purgatory")
    removal = guest.ask_remove(1)
    guest.wait_ready()
    assert guest.control.operation(removal)["phase"] == "notified"
    assert guest.ask_remove(1) == removal
    assert guest.control.wait_end(removal)["outcome"] == "done"
    assert guest.online() == "0"
    # And no event is left over that would make the guest do it again.
    assert guest.add(1)["outcome"] == "done"
    assert guest.add(2)["outcome"] == "done"
    guest.wait_online("0-2")
    power_off(guest)


def test_shutdown_between_two_kernels_can_be_asked_again(loaded: Callable[..., Guest]) -> None:
    guest = loaded()
    guest.type("kexec -e")
    guest.read_console("I'm in purgatory")
    guest.control.execute("system_powerdown")
    guest.wait_ready()
    guest.control.execute("system_powerdown")
    assert guest.wait_exit() == 0
