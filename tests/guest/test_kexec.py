# SPDX-License-Identifier: Apache-2.0
"""A guest that starts its next kernel by kexec.

The machine is not reset, so the next kernel finds the state that the last one has set up. Nor is
the machine told, so a request may be made to one kernel and answered by the other.

Only one CPU runs during kexec: a second one may be missing from the next kernel. The next kernel is
placed away from the memory that the running one uses (docs/known-problems.md has both).

PAPRIKA_KEXECS is the number of kexecs in the long test.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from guest import Guest, initrd_of, scratch_directory
from host_api import LAB, Host
from test_disks import KIB, churned, end_churn, make, start_churn, troubles

TIMES = int(os.environ.get("PAPRIKA_KEXECS", "2"))
# The old kernel copies 100 MB, on an emulated and perhaps busy machine.
PATIENCE = 180
# The next kernel gets the same initramfs, so that it can kexec again. Without --mem-min the segments
# would follow the running kernel's image, where its first tasks are.
LOAD = ("cd / && { find bin etc init lib lib64 next root sbin usr; echo dev; echo proc; echo sys; "
        "echo tmp; } | cpio -o -H newc > /tmp/initrd && "
        "kexec --no-checks --mem-min=0x20000000 -l /next/vmlinux --initrd=/tmp/initrd "
        "--command-line=\"$(cat /proc/cmdline)\"; rm /tmp/initrd")


@pytest.fixture(scope="module")
def initrd(host: Host) -> Iterator[str]:
    """The test guest's initramfs, preceded by kexec and the kernel to start."""
    kernel = os.environ.get("PAPRIKA_TEST_KERNEL") or host.path + "/vmlinux"
    # Made on the host, where the large parts are.
    script = ('cd "$1" && mkdir next && cp "$2" next/vmlinux && '
              "find next | cpio -o -H newc > next.cpio && "
              'cat "$4" next.cpio "$3" > initrd && rm -r next next.cpio')
    with scratch_directory(host) as directory:
        kexec = host.put(LAB / "guest-kexec", directory + "/kexec")
        host.run(["sh", "-c", script, "put", directory, kernel, initrd_of(host), kexec],
                 timeout=300, check=True)
        yield directory + "/initrd"


def load(guest: Guest) -> None:
    """The next kernel's device tree is made at this point."""
    guest.sh(LOAD, PATIENCE)


def ready(guest: Guest) -> str:
    """Wait for the next kernel's shell; on a timeout fail with the registers of the CPUs."""
    try:
        return guest.read_console(r"PAPRIKA-GUEST-READY cpus=(\S+)\r?\n", PATIENCE)[1].decode()
    except AssertionError as silence:
        seen = []
        for _ in range(3):
            guest.control.execute("stop")
            seen.append(guest.control.execute("query-registers"))
            guest.control.execute("cont")
        raise AssertionError(f"{seen}, {guest.control.execute('query-metrics')}") from silence


@pytest.fixture
def loaded(start: Callable[..., Guest], initrd: str) -> Callable[..., Guest]:
    """Start a guest with core 0 that has loaded its next kernel."""

    def start_and_load(*options: str, cores: int = 1) -> Guest:
        guest: Guest = start("--initrd", initrd, *options, cpus="boot=1,max=4", memory="1G",
                             append="console=hvc0", initrd=False)
        assert ready(guest) == "0"
        if cores == 2:
            assert guest.add(1)["outcome"] == "done"
            guest.wait_online("0-1")
        load(guest)
        return guest

    return start_and_load


def refuse_once(guest: Guest) -> None:
    """With cores 0, 1 and 2: the guest refuses to release the last CPU that is online."""
    guest.set_online(0, False)
    guest.set_online(2, False)
    refused = guest.remove(1)
    assert refused["outcome"] == "rejected"
    assert (refused["evidence"]["source"], refused["evidence"]["vcpu"]) == ("guest", 1)
    guest.set_online(0, True)
    guest.set_online(2, True)


def power_off(guest: Guest) -> None:
    guest.type("poweroff")
    assert guest.wait_exit() == 0


def test_cores_come_and_go_from_kernel_to_kernel(loaded: Callable[..., Guest]) -> None:
    guest = loaded()
    for turn in range(TIMES):
        if turn > 0:
            load(guest)
        guest.type("kexec -e")
        assert ready(guest) == "0"
        # The guest did all of it; there was no reset.
        metrics = guest.control.execute("query-metrics")
        assert (metrics["boots"], metrics["stray-accesses"]) == (1, 0)
        assert guest.add(1)["outcome"] == "done"
        assert guest.add(2)["outcome"] == "done"
        guest.wait_online("0-2")
        refuse_once(guest)
        assert guest.remove(2)["outcome"] == "done"
        assert guest.remove(1)["outcome"] == "done"
        assert guest.online() == "0"
        print(f"kexec {turn + 1} of {TIMES}")
    power_off(guest)


def test_requests_between_two_kernels_are_carried_out_by_the_second(
        loaded: Callable[..., Guest]) -> None:
    guest = loaded()
    guest.type("kexec -e")
    # Between two kernels no handler exists, and no request may get lost.
    guest.read_console("I'm in purgatory", PATIENCE)
    additions = [guest.ask_add(1), guest.ask_add(2)]
    ready(guest)
    for addition in additions:
        if guest.control.operation(addition)["outcome"] == "pending":
            guest.control.wait_end(addition)
        ended = guest.control.operation(addition)
        # Each was requested once.
        assert (ended["outcome"], ended["notifications"]) == ("done", 1)
    guest.wait_online("0-2")
    power_off(guest)


def test_shutdown_between_two_kernels(loaded: Callable[..., Guest]) -> None:
    guest = loaded()
    guest.type("kexec -e")
    guest.read_console("I'm in purgatory", PATIENCE)
    guest.control.execute("system_powerdown")
    assert guest.wait_exit(PATIENCE) == 0


def test_addition_while_a_kernel_goes(loaded: Callable[..., Guest]) -> None:
    guest = loaded()
    guest.type("kexec -e")
    guest.read_console("Starting new kernel", PATIENCE)
    addition = guest.ask_add(1)
    ready(guest)
    # The old kernel may or may not have fetched the event; then the next one is asked. Or it has
    # begun to take the core, and the next kernel finds the core half taken.
    operation = guest.control.operation(addition)
    if operation["outcome"] == "pending" and operation["phase"] in ("notified", "fetched"):
        operation = guest.control.wait_end(addition)
    if operation["outcome"] == "done":
        assert guest.control.connector(1)["attached"]
    assert guest.add(2)["outcome"] == "done"
    assert guest.remove(2)["outcome"] == "done"
    power_off(guest)


def test_a_burst_of_requests_while_a_kernel_goes(loaded: Callable[..., Guest]) -> None:
    guest = loaded("--memory", "size=1G,max=2G")
    guest.type("kexec -e")
    guest.read_console("Starting new kernel", PATIENCE)
    # Each is carried out by one of the kernels, or the next one finds it half done. A fence that the
    # old kernel has taken with it proves nothing.
    asked = [guest.ask_add(1), guest.ask_add(2), *guest.ask_memory(6)]
    ready(guest)
    for number in asked:
        operation = guest.control.operation(number)
        if operation["outcome"] == "pending" and operation["phase"] in ("notified", "fetched"):
            operation = guest.control.wait_end(number, PATIENCE)
        assert operation["outcome"] in ("done", "pending", "rejected"), operation
        if operation["outcome"] == "done" and operation["resource"] == "core":
            assert guest.control.connector(operation["unit"])["attached"]
    # The next requests, and their fences, work.
    for number in guest.ask_memory(7):
        assert guest.control.wait_end(number, PATIENCE)["outcome"] == "done"
    added = guest.add(3)
    assert added["outcome"] == "done"
    power_off(guest)


def test_core_that_only_the_next_kernels_tree_still_has(loaded: Callable[..., Guest]) -> None:
    guest = loaded(cores=2)
    assert guest.remove(1)["outcome"] == "done"
    guest.type("kexec -e")
    # The core cannot be started, and the guest goes on without it.
    assert ready(guest) == "0"
    # The guest believes that it has this core, and reports it in its log only. The fence tells.
    refused = guest.add(1)
    assert (refused["outcome"], refused["evidence"]["source"]) == ("rejected", "fence"), refused
    assert refused["evidence"]["phase"] == "fetched"
    assert "already exists" in guest.sh("dmesg | grep 'drc index 10000001'")
    assert not guest.control.connector(1)["attached"]
    assert guest.add(2)["outcome"] == "done"
    guest.wait_online("0,2")
    power_off(guest)


def test_disk_that_the_next_kernel_takes_over(loaded: Callable[..., Guest], host: Host, scratch: str) -> None:
    """The old kernel goes in the middle of its requests, and the next one finds a device in use."""
    image = make(host, scratch, "disk.img", KIB << 10)
    guest = loaded("--disk", f"file={image},serial=DISK")
    start_churn(guest, "/dev/vda", 8)
    guest.type("kexec -e")
    assert ready(guest) == "0"
    assert churned(host, image)["torn"] == 0
    assert guest.sh("cat /sys/block/vda/serial") == "DISK"
    start_churn(guest, "/dev/vda")
    done = end_churn(guest)
    assert (done["errors"], done["wrong"]) == (0, 0)
    assert troubles(guest) == []
    power_off(guest)
