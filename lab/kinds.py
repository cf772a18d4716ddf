# SPDX-License-Identifier: Apache-2.0
"""The kinds of emulated host that `lab/host up --kind NAME` starts: a table, and the QEMU command line
of a row. To add a kind, add a row.

As a program it answers lab/setup: `kinds.py NAME` prints what has to be fetched for a kind, as shell
assignments.
"""
from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

PSERIES = "x-vof=on,cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-ccf-assist=off"


class Kind(NamedTuple):
    """A row. The machine's name decides how console and network are attached (see `command`)."""

    machine: str  # QEMU's -machine, without its memory
    cpu: str
    # QEMU: "system" is what is installed, else the Debian suite whose QEMU lab/setup unpacks.
    qemu: str = "system"
    # The host's kernel: "" is the one of the guests, which PAPRIKA_KERNEL chooses; "pr" what
    # lab/pr-kernel builds; else SUITE/PACKAGE. The initramfs has its modules; host-init loads them all.
    kernel: str = ""
    # Whether it has a disk with a Debian, in which the agent and its commands run (lab/debian-disk), and
    # may connect to the network.
    disk: bool = False
    append: str = "quiet"
    cpus: int = 2
    memory: str = "8G"
    timeout: float = 90  # seconds until the agent answers
    # Seconds without a word on the console after which the host counts as hung while it boots; it is
    # then ended, and started once more. 0: wait for `timeout`. Such kinds boot without "quiet".
    silence: float = 0
    # Options of paprika for which lab/matrix runs the kind once each; "" is the host's defaults.
    modes: tuple[str, ...] = ("",)
    # Checks of lab/matrix that are left out on this kind, and why.
    left_out: dict[str, str] = {}
    notes: str = ""


BARE_METAL = ("", "--irqchip xive", "--mmu hash", "--mmu hash --irqchip xive")

KINDS = {
    "nested": Kind(
        f"pseries,cap-nested-hv=on,cap-htm=off,{PSERIES}", "POWER9",
        notes="kvm-hv as a guest of a hypervisor: radix guests, XICS; what CI uses"),
    "nested-4k": Kind(
        f"pseries,cap-nested-hv=on,cap-htm=off,{PSERIES}", "POWER9",
        kernel="bookworm-backports/linux-image-powerpc64le", notes="the same, with pages of 4 KiB on the host"),
    "nested-power10": Kind(
        f"pseries,cap-nested-hv=on,cap-htm=off,{PSERIES}", "POWER10", notes="the same on a POWER10"),
    "nested-v2": Kind(
        f"pseries,cap-nested-papr=on,cap-htm=off,{PSERIES}", "POWER10", qemu="trixie",
        kernel="bookworm-backports/linux-image-powerpc64le-64k", cpus=1, append="", silence=60, timeout=180,
        left_out=dict.fromkeys(
            ("SMP", "add, remove", "refuse, retry", "memory", "reset", "kexec", "soak"),
            "a guest of more than one CPU stalls for seconds at a time in this emulation, which knows "
            "neither H_RPT_INVALIDATE nor H_TLB_INVALIDATE for this interface"),
        notes="the nested interface of PAPR; in this emulation only guests of one CPU run"),
    "powernv9": Kind(
        "powernv9", "POWER9", qemu="sid", append="", silence=45, timeout=120, modes=BARE_METAL,
        notes="bare metal: radix and hash guests, XICS and XIVE"),
    # Not sid's QEMU 11.1: it wakes waiting vCPUs wrongly there (docs/known-problems.md).
    "powernv10": Kind(
        "powernv10", "POWER10", qemu="trixie", append="", silence=45, timeout=120, modes=BARE_METAL,
        notes="bare metal: radix and hash guests, XICS and XIVE"),
    "powernv9-hash": Kind(
        "powernv9", "POWER9", qemu="sid", append="disable_radix", silence=45, timeout=120,
        notes="bare metal that has a hash MMU itself: hash guests only"),
}

PR = f"pseries,cap-htm=off,{PSERIES}"
PR_LEFT_OUT = {"kexec": "the next kernel's hypercalls are not patched for kvm-pr",
               "panic": "the small kernel that guests have there cannot be told to panic"}
KINDS |= {
    "pr-power8": Kind(PR, "POWER8", kernel="pr", left_out=PR_LEFT_OUT,
                      notes="kvm-pr: hash guests, run without help of the processor"),
    "pr-power9": Kind(PR, "POWER9", kernel="pr", left_out=PR_LEFT_OUT, notes="the same on a POWER9"),
}
KINDS["debian"] = KINDS["nested"]._replace(
    disk=True, append="quiet lab_disk=1", timeout=180,
    notes="the nested host with a Debian on a disk, for README's section \"On a POWER host\"")


class Paths(NamedTuple):
    """What a command line refers to, besides the row."""

    qemu: str
    kernel: Path
    initrd: Path
    pidfile: Path
    console: int  # file descriptors of QEMU's ends of the two sockets
    monitor: int
    disk: str = ""  # QEMU's description of the image


def command(kind: Kind, name: str, paths: Paths, cpus: int, memory: str) -> list[str]:
    """The QEMU command of a host. The agent's port is QEMU's choice."""
    start = [
        paths.qemu, "-name", name, "-machine", f"{kind.machine},memory-backend=ram",
        # Reserve nothing: memory is allocated when the host touches it.
        "-object", f"memory-backend-ram,id=ram,size={memory},reserve=off",
        "-m", memory, "-cpu", kind.cpu, "-smp", str(cpus), "-accel", "tcg,thread=multi"]
    middle = [
        "-display", "none", "-no-reboot", "-pidfile", str(paths.pidfile),
        "-chardev", f"socket,id=console,fd={paths.console},logfile=console.log"]
    network = "virtio-net-pci,netdev=net,romfile="
    if kind.machine.startswith("powernv"):
        # -nodefaults would take the PCI host bridges away; each of them has room for one device.
        start += ["-vga", "none", "-parallel", "none"]
        middle += ["-serial", "chardev:console"]
        network += ",bus=pcie.0"
    else:
        start += ["-nodefaults"]
        middle += ["-device", "spapr-vty,chardev=console"]
    if kind.disk:
        middle += ["-drive", f"if=none,id=disk,format=raw,{paths.disk}", "-device", "virtio-blk-pci,drive=disk"]
    # No connections out of the host, unless it has a Debian, and none into it from other machines.
    user = "user,id=net," + ("" if kind.disk else "restrict=on,")
    return start + middle + [
        "-chardev", f"socket,id=monitor,fd={paths.monitor}", "-mon", "monitor,mode=control",
        "-netdev", user + "hostfwd=tcp:127.0.0.1:0-10.0.2.15:7000",
        "-device", network,
        "-kernel", str(paths.kernel), "-initrd", str(paths.initrd),
        "-append", f"console=hvc0 panic=-1 {kind.append}".strip(),
    ]


def kernel_name(kind: Kind) -> str:
    """The suffix of the files host-vmlinux and host-initrd in .lab; empty for the guests' kernel."""
    return ("-" + kind.kernel.replace("/", "-") if kind.kernel else "") + ("-disk" if kind.disk else "")


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1] not in KINDS:
        sys.exit(f"usage: kinds.py {'|'.join(KINDS)}")
    kind = KINDS[sys.argv[1]]
    print(f"kind_qemu={kind.qemu} kind_kernel={kind.kernel} kind_suffix={kernel_name(kind)} "
          f"kind_disk={'yes' if kind.disk else ''}")


if __name__ == "__main__":
    main()
